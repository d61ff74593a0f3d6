"""Native thread pools are held to a worker's cores, and those of a user's own process are left alone."""

import subprocess
import sys

import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

import sparkml_lifecycle as ml

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
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [2.0, 1.0]})
    ml.sklearn.save_model(LinearRegression().fit(frame, [1, 2]), str(tmp_path / "m"), input_example=frame)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path / "m"), who], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == threads
