"""Files by partitions: how values are spelled, how many files are open at once, and what an error leaves."""

import math
from datetime import UTC, date, datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sparkml_lifecycle.scoring import partitions
from sparkml_lifecycle.scoring.partitions import PartitionedOutput, directory, spelled
from sparkml_lifecycle.storage import open_storage


# as Spark 4.2 wrote them
@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, None), ("", None), ("__HIVE_DEFAULT_PARTITION__", None), ("a b", "a b"), (True, "true"), (-5, "-5"),
        (1.5, "1.5"), (100.0, "100.0"), (1e7, "1.0E7"), (12345678.9, "1.23456789E7"), (1e300, "1.0E300"), (1e-7, "1.0E-7"),
        (0.001, "0.001"), (-0.0, "-0.0"), (math.nan, "NaN"), (-math.inf, "-Infinity"), (Decimal("0E-10"), "0.0000000000"),
        (date(1, 1, 2), "0001-01-02"), (datetime(1969, 12, 31, 23, 59, 59, 500_000, UTC), "1969-12-31T23:59:59.500000Z"),
    ],
)  # fmt: skip
def test_values_are_spelled_as_spark_does(value, text):
    assert spelled(value) == text


def test_a_directory_is_named_as_spark_does_and_no_longer_than_a_disk_allows():
    odd = "+ -_.~!*'()\"#?&<>|\\{}[]^`;@$,"
    assert directory({"p": odd}) == "p=+ -_.~!%2A%27()%22%23%3F&<>|%5C%7B%7D%5B%5D%5E`;@$,/"
    assert directory({"p": "x/y=z:1%", "q": None}) == "p=x%2Fy%3Dz%3A1%25/q=__HIVE_DEFAULT_PARTITION__/"
    assert len(directory({"p": "é" * 300}).encode()) < 255


def written(place, keys, batch=7):
    table = pa.table({"k": keys, "x": np.arange(len(keys))})
    schema = pa.schema([*table.schema, ("m", pa.string())])
    with PartitionedOutput(open_storage(place), schema, {"m": "v"}, ("k",)) as output:
        for rows in table.to_batches(batch):
            output.write({name: rows[name] for name in ("k", "x")}, rows.num_rows)
            assert len(output._open) <= output._most_open
    return output.written


def test_only_some_files_are_open_and_no_row_is_lost(tmp_path, monkeypatch):
    monkeypatch.setattr(partitions, "_OPEN_LOCAL", 3)
    monkeypatch.setattr(partitions, "_GATHERED_ROWS", 20)
    keys = pa.array([None if i % 5 == 4 else i % 5 for i in range(100)], pa.int32())
    files = written(tmp_path, keys)
    assert sum(file.rows for file in files) == 100
    rows = {}
    for file in files:
        table = pq.ParquetFile(tmp_path / file.path).read()
        assert table.column_names == ["x", "m"]
        rows.setdefault(file.partition["k"], []).extend(table["x"].to_pylist())
    assert {key: sorted(values) for key, values in rows.items()} == {
        None if k == 4 else str(k): list(range(k, 100, 5)) for k in range(5)
    }
    # where all fit, a task makes one file of each
    monkeypatch.undo()
    assert len(written(tmp_path, keys)) == 5


def test_values_of_one_spelling_are_one_partition_and_those_of_two_are_two(tmp_path):
    assert [file.partition for file in written(tmp_path, pa.array(["", None, "__HIVE_DEFAULT_PARTITION__"]))] == [
        {"k": None}
    ]
    nan = np.array([0x7FF8000000000000, 0x7FF8000000000001, 0, 0], np.int64).view(np.float64)
    nan[3] = -0.0
    assert {file.partition["k"]: file.rows for file in written(tmp_path, nan)} == {"NaN": 2, "0.0": 1, "-0.0": 1}
    single = written(tmp_path, pa.array([0.1, 1e30], pa.float32()))
    assert {file.partition["k"] for file in single} == {"0.1", "1.0E30"}


def test_an_error_removes_the_files_of_all_partitions(tmp_path, monkeypatch):
    monkeypatch.setattr(partitions, "_OPEN_LOCAL", 2)
    monkeypatch.setattr(partitions, "_GATHERED_ROWS", 4)
    schema = pa.schema([("k", pa.int64()), ("x", pa.int64())])
    output = PartitionedOutput(open_storage(tmp_path), schema, {}, ("k",))
    output.write({"k": pa.array(range(5)), "x": pa.array(range(5))}, 5)
    assert len(list(tmp_path.rglob("*.parquet"))) == 5
    output.__exit__(ZeroDivisionError)
    assert not list(tmp_path.rglob("*.parquet"))
