"""The same lake on every kind of storage: tables, artifacts, models, rivals."""

import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

import sparkml_lifecycle as ml
from sparkml_lifecycle import maintenance, pyfunc, transfer
from sparkml_lifecycle.client import LifecycleClient, resolve
from sparkml_lifecycle.errors import InvalidInput, StorageError
from sparkml_lifecycle.lake import Lake, probe
from sparkml_lifecycle.storage import open_storage
from sparkml_lifecycle.tracking.store import TrackingStore
from sparkml_lifecycle.tracking.tables import RunRow
from tests.lake.points import Point, point
from tests.storage.conftest import KINDS, SECRET, Place


@pytest.fixture(params=KINDS)
def lake(request, tmp_path):
    """Where a lake may be made."""
    if request.param == "local":
        return Place(str(tmp_path / "lake"))
    place = request.getfixturevalue(request.param)
    return Place(f"{place.uri}/{tmp_path.name}", place.options)


@pytest.fixture
def client(lake):
    client = LifecycleClient(lake.uri, storage_options=lake.options)
    yield client
    client.close()


def test_of_two_rival_commits_one_wins(lake):
    storage = open_storage(lake.uri, lake.options)
    assert probe.one_winner(storage)
    assert storage.list() == []


def test_runs_are_logged_found_and_read_again(lake, client):
    experiment_id = client.create_experiment("churn")
    runs = []
    for number in range(2):
        run = client.create_run(experiment_id, run_name=f"run {number}")
        client.log_param(run.info.run_id, "depth", number)
        client.log_metric(run.info.run_id, "auc", 0.5 + number / 10)
        client.set_terminated(run.info.run_id)
        runs.append(run.info.run_id)
    found = client.search_runs([experiment_id], "metrics.auc > 0.55")
    assert [run.info.run_id for run in found] == [runs[1]]
    fresh = Lake(lake.uri, lake.options)
    assert sorted(fresh.query("select distinct run_id from runs", RunRow)["run_id"].to_pylist()) == sorted(runs)


def test_artifacts_go_up_and_come_down(lake, client, tmp_path):
    run_id = client.create_run(client.create_experiment("e")).info.run_id
    (tmp_path / "out" / "deep").mkdir(parents=True)
    (tmp_path / "out" / "a b.txt").write_text("one")
    (tmp_path / "out" / "deep" / "c.bin").write_bytes(bytes(range(256)) * 40_000)
    client.log_artifacts(run_id, tmp_path / "out", "all")
    client.log_artifact(run_id, tmp_path / "out" / "a b.txt")
    assert [(file.path, file.is_dir) for file in client.list_artifacts(run_id)] == [("a b.txt", False), ("all", True)]
    assert [file.path for file in client.list_artifacts(run_id, "all")] == ["all/a b.txt", "all/deep"]
    down = resolve(f"runs:/{run_id}/all", client, tmp_path / "down")
    assert (down / "a b.txt").read_text() == "one"
    assert (down / "deep" / "c.bin").read_bytes() == bytes(range(256)) * 40_000


def test_a_file_has_nothing_in_it(lake, client):
    run_id = client.create_run(client.create_experiment("e")).info.run_id
    client.log_text(run_id, "one", "a/b.txt")
    assert client.list_artifacts(run_id, "a/b.txt") == []
    assert client.list_artifacts(run_id, "a/none.txt") == []


def test_a_model_is_logged_and_loaded(lake):
    ml.set_tracking_uri(lake.uri, storage_options=lake.options)
    x = np.arange(20.0).reshape(10, 2)
    model = LinearRegression().fit(x, x.sum(axis=1))
    with ml.start_run() as run:
        info = ml.log_model(model, "model", input_example=x[:2])
    for uri in (info.model_uri, f"{run.info.artifact_uri}/model"):
        assert np.allclose(pyfunc.load_model(uri).predict(x), x.sum(axis=1))


def test_models_are_registered_moved_verified_and_told(lake, client, tmp_path):
    ml.set_tracking_uri(lake.uri, storage_options=lake.options)
    x = np.arange(20.0).reshape(10, 2)
    model = LinearRegression().fit(x, x.sum(axis=1))
    with ml.start_run():
        first = ml.log_model(model, "model", input_example=x[:2], registered_model_name="sum")
    client.copy_model_version("models:/sum/1", "sum")
    client.set_registered_model_alias("sum", "champion", 1)
    for version in (1, 2):
        client.transition_model_version_stage("sum", version, "Production", archive_existing_versions=True)
    fresh = LifecycleClient(lake.uri, storage_options=lake.options)
    fresh._store = TrackingStore(Lake(lake.uri, lake.options))
    for one in (client, fresh):
        assert one.get_model_version_by_alias("sum", "champion").source == f"{client.artifact_uri(first.run_id)}/model"
        assert [version.current_stage for version in one.search_model_versions(order_by=["version_number"])] == [
            "Archived", "Production",
        ]  # fmt: skip
        assert [change.what for change in one.get_model_history("sum")][-3:] == ["stage"] * 3
        one.verify_model_version("sum", 2)
    # what another process changes is seen at the next call
    fresh.set_registered_model_alias("sum", "champion", 2)
    assert client.get_model_version_by_alias("sum", "champion").version == "2"
    assert np.allclose(pyfunc.load_model("models:/sum@champion").predict(x), x.sum(axis=1))
    client.delete_run(first.run_id)
    assert maintenance.collect(client).kept == {first.run_id: "models:/sum/1"}
    maintenance.maintain(client.lake, retention_hours=0)
    assert client.get_model_version_by_alias("sum", "champion") == fresh.get_model_version_by_alias("sum", "champion")
    other = LifecycleClient(tmp_path / "other lake")
    transfer.copy_version(client, "sum", 2, other)
    other.verify_model_version("sum", 1)
    assert transfer.copy_version(other, "sum", 1, client).version == "3"
    client.verify_model_version("sum", 3)
    other.close()


def test_small_files_are_compacted(lake):
    table = Lake(lake.uri, lake.options).table(Point)
    for number in range(4):
        table.append([point(f"p{number}")])
    assert table.compact() == 4
    fresh = Lake(lake.uri, lake.options).table(Point)
    assert sorted(fresh.to_arrow()["key"].to_pylist()) == [f"p{number}" for number in range(4)]


def test_three_processes_make_experiments_without_gap_or_double(lake, client):
    each = 3
    workers = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.storage.claims", f"w{number}", str(each)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        for number in range(3)
    ]  # fmt: skip
    for worker in workers:
        json.dump({"uri": lake.uri, "options": lake.options}, worker.stdin)
        worker.stdin.close()
        worker.stdin = None
    made = [json.loads(worker.communicate()[0]) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0, 0]
    ids = [int(one) for worker in made for one in worker.values()]
    assert sorted(ids) == list(range(1, 4 * each + 1))
    shared = [name for worker in made for name in worker if name.startswith("shared")]
    assert sorted(shared) == [f"shared-{number}" for number in range(each)]
    known = {one.name: one.experiment_id for one in client.search_experiments()}
    assert known == {name: number for worker in made for name, number in worker.items()}


def test_a_client_pickles_without_its_credentials(s3, tmp_path):
    client = LifecycleClient(s3.storage(tmp_path.name).uri, storage_options=s3.options)
    assert SECRET.encode() not in pickle.dumps(client)


def test_a_bucket_that_is_not_there_is_said(s3):
    with pytest.raises(StorageError, match=r"NoSuchBucket"):
        LifecycleClient("s3://nobucket/lake", storage_options=s3.options).create_experiment("x")


@pytest.mark.spark
@pytest.mark.slow
def test_spark_reads_a_lake_on_hdfs(spark, hdfs, tmp_path):
    storage = hdfs.storage(tmp_path.name).child("points")
    Lake(hdfs.storage(tmp_path.name).uri).table(Point).append([point("a"), point("b")])
    rows = spark.read.format("delta").options(**storage.spark_options()).load(storage.spark_uri)
    assert sorted(row["key"] for row in rows.collect()) == ["a", "b"]


@pytest.mark.parametrize("name", [" a b ", "100%", "a%zz?b#c", "a{b}*'c'\"d\"", "größe e\u0301", "a:b&c=d;e+f~`<g>"])
def test_a_lake_lives_in_a_directory_of_a_strange_name(tmp_path, name):
    client = LifecycleClient(tmp_path / name / "lake")
    run_id = client.create_run(client.create_experiment("churn")).info.run_id
    for step in range(4):
        client.log_metric(run_id, "auc", step / 4, step=step)
        client.flush()
    client.log_text(run_id, "hello", "deep/a[1]%20.txt")
    maintenance.maintain(client.lake)
    assert client.search_runs(["1"], "metrics.auc = 0.75")[0].info.run_id == run_id
    assert [point.value for point in client.get_metric_history(run_id, "auc")] == [0.0, 0.25, 0.5, 0.75]
    with open(client.download_artifacts(run_id, "deep/a[1]%20.txt")) as file:
        assert file.read() == "hello"
    client.close()
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.spark
def test_spark_reads_a_lake_in_a_directory_of_a_strange_name(spark, tmp_path):
    client = LifecycleClient(tmp_path / " a%zz?b#c{d}*é " / "lake")
    run_id = client.create_run(client.create_experiment("churn")).info.run_id
    client.flush()
    assert [row.run_id for row in client.lake.table(RunRow).to_spark(spark).collect()] == [run_id]
    client.close()


@pytest.mark.parametrize(
    "make", [LifecycleClient, lambda uri: Lake(uri).table(Point).append([point("a")]), ml.set_tracking_uri]
)
def test_a_directory_that_delta_rs_cannot_take_is_refused_before_anything_is_made(tmp_path, make):
    with pytest.raises(InvalidInput, match=r"'\['.*Rename the directory"):
        make(tmp_path / "a[1]" / "lake")
    assert list(tmp_path.iterdir()) == []
