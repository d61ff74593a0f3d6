"""Native thread pools are held to a worker's cores and GPUs to its task's; a user's own process is left alone."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

import sparkml_lifecycle as ml
from sparkml_lifecycle.scoring import worker

PROGRAM = """
import os, sys
os.environ.pop("OMP_NUM_THREADS", None)
from pathlib import Path
import numpy, threadpoolctl
from sparkml_lifecycle.scoring import worker
threadpoolctl.threadpool_limits(2)
if sys.argv[2] == "worker":
    worker.be_a_worker(1)
worker.model_of(worker.ModelReference("d", sys.argv[1]))
print({pool["num_threads"] for pool in threadpoolctl.threadpool_info()})
"""


@pytest.mark.parametrize(("who", "threads"), [("worker", "{1}"), ("owner", "{2}")])
def test_a_worker_holds_them_and_another_process_does_not(tmp_path, who, threads):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, saved(str(tmp_path / "m")), who], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == threads


def saved(place):
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [2.0, 1.0]})
    ml.sklearn.save_model(LinearRegression().fit(frame, [1, 2]), place, input_example=frame)
    return place


@pytest.mark.parametrize(("given", "seen"), [({"gpu": ["3", "5"]}, "3,5"), ({}, "0")])
def test_a_task_that_spark_gave_gpus_sees_those_alone(tmp_path, monkeypatch, given, seen):
    from pyspark import TaskContext

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    resources = {name: SimpleNamespace(name=name, addresses=places) for name, places in given.items()}
    # a machine without GPUs has no executors that could be given some
    task = SimpleNamespace(cpus=lambda: 1, resources=lambda: resources)
    monkeypatch.setattr(TaskContext, "get", lambda: task)
    monkeypatch.setattr(worker, "_hold_native_threads", lambda: None)
    monkeypatch.setattr(worker, "_keep_memory", lambda: None)
    worker.model_of(worker.ModelReference(f"gpu-{seen}", saved(str(tmp_path / "m"))))
    assert os.environ["CUDA_VISIBLE_DEVICES"] == seen
