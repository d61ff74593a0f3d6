"""Scoring jobs from and to every kind of storage: by the workers' own clients where they have one, else by Spark."""

import pandas as pd
import pyarrow as pa
import pytest
from sklearn.linear_model import LinearRegression

import sparkml_lifecycle as ml
from sparkml_lifecycle import errors, scoring
from sparkml_lifecycle.client import LifecycleClient
from sparkml_lifecycle.scoring import local, split
from sparkml_lifecycle.storage import open_storage
from tests.storage.conftest import SECRET

ROWS = 1000


@pytest.fixture
def model(tmp_path):
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [3.0, 1.0, 2.0]})
    ml.sklearn.save_model(LinearRegression().fit(frame, frame["a"] * 2), str(tmp_path / "model"), input_example=frame)
    return str(tmp_path / "model")


@pytest.fixture
def client(tmp_path):
    client = LifecycleClient(str(tmp_path / "lake"))
    yield client
    client.close()


def rows_from(start):
    ids = range(start, start + ROWS)
    return pa.table({"id": pa.array(ids, pa.int64()), "a": [one / 7 for one in ids], "b": [1.0] * ROWS})


def write(place, name, rows, mode="append"):
    from deltalake import write_deltalake

    storage = place.storage(name)
    write_deltalake(storage.delta_uri, rows, mode=mode, storage_options=storage.delta_options())


def table(place, name):
    from deltalake import DeltaTable

    storage = place.storage(name)
    return DeltaTable(storage.delta_uri, storage_options=storage.delta_options())


def check_rows(found, last):
    assert found["id"].to_pylist() == list(range(last))
    assert found["prediction"].to_pylist() == pytest.approx([one / 7 * 2 for one in range(last)])


def by_environment(monkeypatch, place):
    """Workers have the credentials of the machine: a job is given none."""
    names = {"access_key_id": "AWS_ACCESS_KEY_ID", "secret_access_key": "AWS_SECRET_ACCESS_KEY", "endpoint_url": "AWS_ENDPOINT_URL", "region": "AWS_REGION"}  # fmt: skip
    for option, value in place.options.items():
        monkeypatch.setenv(names[option], value)


def test_a_job_on_s3_by_several_processes(s3, tmp_path, monkeypatch, model, client):
    by_environment(monkeypatch, s3)
    monkeypatch.setattr(split, "_LEAST_BYTES", 1)
    monkeypatch.setattr(local.os, "cpu_count", lambda: 2)
    name = tmp_path.name
    source, target = (f"{s3.uri}/{name}/{what}" for what in ("source", "target"))
    write(s3, f"{name}/source", rows_from(0))
    write(s3, f"{name}/source", rows_from(ROWS))

    def score():
        return scoring.score_table(None, model, source, target, keep=["id"], client=client)

    assert (score().rows, score().rows) == (2 * ROWS, 0)
    write(s3, f"{name}/source", rows_from(2 * ROWS))
    report = score()
    assert (report.rows, report.engine) == (ROWS, "local")
    scored = table(s3, f"{name}/target")
    check_rows(scored.to_pyarrow_table().sort_by("id"), 3 * ROWS)
    # nothing is left beside what is committed and remembered
    storage = s3.storage(f"{name}/target")
    files = {one.path for one in storage.list(recursive=True) if not one.is_dir}
    assert {one.partition("/")[0] for one in files if "/" in one} == {"_delta_log", "_sparkml"}
    assert len([one for one in files if one.endswith(".parquet") and "/" not in one]) == len(scored.file_uris())
    for path in files:
        assert SECRET.encode() not in storage.read_bytes(path)


def test_a_bucket_that_is_not_there_is_told_and_nothing_is_written(s3, monkeypatch, model, client):
    by_environment(monkeypatch, s3)
    with pytest.raises(errors.LifecycleError, match="nobucket"):
        scoring.score_table(None, model, "s3://nobucket/source", "s3://nobucket/target", client=client)


@pytest.mark.slow
@pytest.mark.spark
def test_a_job_on_hdfs_by_spark(spark, hdfs, tmp_path, model, client):
    name = tmp_path.name
    source, target = (f"{hdfs.uri}/{name}/{what}" for what in ("source", "target"))

    def add(start):
        spark.createDataFrame(rows_from(start)).write.format("delta").mode("append").save(source)

    def score():
        return scoring.score_table(spark, model, source, target, keep=["id"], client=client)

    add(0)
    report = score()
    assert (report.rows, report.engine) == (ROWS, "column")
    assert "workers cannot" in report.why
    assert score().rows == 0
    add(ROWS)
    assert score().rows == ROWS
    found = spark.read.format("delta").load(target).toPandas().sort_values("id")
    check_rows(pa.Table.from_pandas(found, preserve_index=False), 2 * ROWS)
    assert open_storage(f"{target}/_sparkml/jobs", hdfs.options).list()[0].path == "default.json"
