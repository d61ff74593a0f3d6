"""Other programs read the tables: DuckDB with its own Delta reader, delta-rs, Spark."""

from importlib.resources import files

import pytest
from deltalake import DeltaTable

from sparkml_lifecycle.lake import Lake
from tests.lake.points import Point, point

VALUES = [0.0, 1.0, float("nan"), 3.0, float("inf"), -2.0]


@pytest.fixture
def place(tmp_path):
    """A table with a checkpointed log, small files and one that compaction made of others."""
    table = Lake(tmp_path).table(Point)
    for number, value in enumerate(VALUES[:4]):
        table.append([point(f"p{number}", value)])
    table.compact()
    for number, value in enumerate(VALUES[4:], 4):
        table.append([point(f"p{number}", value)])
    return str(tmp_path / "points")


def test_duckdb_reads_the_tables(place):
    import duckdb

    connection = duckdb.connect()
    (extension,) = files("duckdb_extension_delta").joinpath("extensions").iterdir()
    connection.execute(f"load '{extension.joinpath('delta.duckdb_extension')}'")
    found = connection.execute("select key, value from delta_scan(?) order by key", [place]).fetchall()
    assert [(key, str(value)) for key, value in found] == [(f"p{n}", str(value)) for n, value in enumerate(VALUES)]
    # a filter leaves no file out by its statistics that holds NaN, which DuckDB has as the greatest number
    above = connection.execute("select key from delta_scan(?) where value > 2 order by key", [place]).fetchall()
    assert above == [("p2",), ("p3",), ("p4",)]


def test_delta_rs_reads_the_tables(place):
    found = DeltaTable(place).to_pyarrow_table(columns=["key", "value"]).sort_by("key").to_pylist()
    assert [(row["key"], str(row["value"])) for row in found] == [(f"p{n}", str(v)) for n, v in enumerate(VALUES)]


@pytest.mark.spark
def test_spark_reads_the_tables(spark, place):
    frame = spark.read.format("delta").load(place).orderBy("key")
    assert [(row.key, str(row.value)) for row in frame.collect()] == [(f"p{n}", str(v)) for n, v in enumerate(VALUES)]
    above = spark.read.format("delta").load(place).where("value > 2").orderBy("key")
    assert [row.key for row in above.collect()] == ["p2", "p3", "p4"]
