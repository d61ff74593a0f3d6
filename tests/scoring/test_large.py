"""Large things in little memory: row groups of any size, rows of any size, and a big model that is shipped and loaded once."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.linear_model import LinearRegression

import sparkml_lifecycle as ml
from sparkml_lifecycle.scoring.output import Output
from sparkml_lifecycle.scoring.partitions import PartitionedOutput
from sparkml_lifecycle.storage import open_storage
from tests.flavors.test_saving import disk_with

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
import pyarrow as pa
from sparkml_lifecycle import scoring
from sparkml_lifecycle.client import LifecycleClient
from sparkml_lifecycle.scoring import local
# one task, which this process does itself
local.split.task_count = lambda *given: 1
folder, source = sys.argv[1:]
report = scoring.score_table(
    None, f"{folder}/model", {"path": source, "format": "parquet"}, f"{source}-scored", client=LifecycleClient(f"{folder}/lake")
)
print(report.rows, pa.default_memory_pool().max_memory() / 2**20)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("large")
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [2.0, 1.0]})
    ml.sklearn.save_model(LinearRegression().fit(frame, [1, 2]), str(folder / "model"), input_example=frame)
    return folder


def peak(folder, source, rows):
    """How much Arrow holds at once while the file is scored, in MB."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(folder), str(source)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found, most = done.stdout.split()
    assert int(found) == rows
    return float(most)


def test_the_memory_of_a_job_does_not_follow_the_row_groups(folder):
    rng, rows = np.random.default_rng(1), 2_000_000
    table = pa.table({name: rng.normal(size=rows) for name in ("a", "b", "c", "d", "e", "f", "g", "h")})
    pq.write_table(table, folder / "many.parquet", row_group_size=rows // 16, use_dictionary=False)
    pq.write_table(table, folder / "one.parquet", row_group_size=rows, use_dictionary=False)
    few, all_at_once = (peak(folder, folder / f"{name}.parquet", rows) for name in ("many", "one"))
    assert table.nbytes / 2**20 > 120
    assert all_at_once < 64
    assert all_at_once < few * 1.5


def test_the_memory_of_a_job_does_not_follow_the_size_of_its_rows(folder):
    rng, rows = np.random.default_rng(1), 4000
    pictures = [rng.bytes(100_000) for _ in range(rows)]
    table = pa.table(
        {"a": rng.normal(size=rows), "b": rng.normal(size=rows), "picture": pa.array(pictures, pa.binary())}
    )
    pq.write_table(table, folder / "pictures.parquet", row_group_size=rows, use_dictionary=False, write_batch_size=8)
    assert table.nbytes / 2**20 > 380
    assert peak(folder, folder / "pictures.parquet", rows) < 192


@pytest.mark.parametrize("partition_by", [(), ("day",)])
@pytest.mark.parametrize("free", [0, 100, 3000])
def test_a_task_that_fills_the_disk_leaves_no_file(tmp_path, partition_by, free):
    schema = pa.schema([("id", pa.int64()), ("day", pa.int64()), ("p", pa.float64())])
    storage, rng = open_storage(tmp_path), np.random.default_rng(1)
    output = PartitionedOutput(storage, schema, {}, partition_by) if partition_by else Output(storage, schema, {})
    with disk_with(free), pytest.raises(OSError, match="too large"), output:
        output.write(
            {"id": pa.array(range(2000)), "day": pa.array([1, 2] * 1000), "p": pa.array(rng.normal(size=2000))}, 2000
        )
    assert [one for one in tmp_path.rglob("*") if one.is_file()] == []


@pytest.mark.slow
@pytest.mark.spark
def test_a_model_is_shipped_once_to_an_executor_and_loaded_once_by_a_worker(tmp_path):
    check_shipped(tmp_path, 16, "direct")


def check_shipped(folder, megabytes, *engines):
    """On two executors of one core, by a job of each of the engines; Spark may end a worker that idles, and another loads it then."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.scoring.large", str(folder), str(megabytes), *engines],
        capture_output=True, text=True, check=False, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    workers, sizes, places = zip(*found["loads"], strict=True)
    assert len(workers) == len(set(workers)) >= 2
    assert len(set(places)) == 2
    assert {int(size) for size in sizes} == {megabytes * 2**20}
    assert found["rows"] == [8000] * len(engines)
