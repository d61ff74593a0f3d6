import json
import os
import pickle
from functools import partialmethod

import pandas as pd
import pytest

from sparkml_lifecycle import tracking
from sparkml_lifecycle.client import LifecycleClient, MlflowClient
from sparkml_lifecycle.entities import Metric, MetricSummary, Param, RunTag, ViewType
from sparkml_lifecycle.errors import InvalidInput, NotFound, StorageError
from sparkml_lifecycle.tracking import finding


def test_mlflows_names_are_the_same_class():
    assert MlflowClient is LifecycleClient
    assert tracking.MlflowClient is LifecycleClient


def test_a_life_of_a_run(client, run_id):
    client.log_batch(
        run_id,
        metrics=[Metric("auc", 0.5, 1, 0), Metric("auc", 0.75, 2, 1, dataset_name="test", dataset_digest="d")],
        params=[Param("depth", "6")],
        tags=[RunTag("team", "crm")],
    )
    assert client.log_param(run_id, "rate", 0.1) == 0.1
    client.log_metric(run_id, "loss", 3)
    client.set_tag(run_id, "x", "y")
    client.delete_tag(run_id, "x")
    client.set_terminated(run_id, "FAILED", end_time=1_800_000_000_000)
    run = client.get_run(run_id)
    assert (run.info.status, run.info.end_time) == ("FAILED", 1_800_000_000_000)
    assert run.data.metrics == {"auc": 0.75, "loss": 3.0}
    assert run.data.params == {"depth": "6", "rate": "0.1"}
    assert run.data.tags["team"] == "crm"
    assert "x" not in run.data.tags
    history = client.get_metric_history(run_id, "auc")
    assert [(one.value, one.timestamp, one.step, one.dataset_name) for one in history] == [
        (0.5, 1, 0, None),
        (0.75, 2, 1, "test"),
    ]
    assert run.to_dictionary()["data"]["metrics"]["loss"] == 3.0
    client.update_run(run_id, name="new")
    assert client.get_run(run_id).info.run_name == "new"
    assert client.get_run(run_id).info.status == "FAILED"
    client.delete_run(run_id)
    assert client.search_runs(["1"]) == []
    assert len(client.search_runs(["1"], run_view_type=ViewType.ALL)) == 1
    client.restore_run(run_id)
    assert [one.info.run_id for one in client.search_runs("1", "metrics.auc > 0.7")] == [run_id]


def test_experiments_by_the_client(client):
    experiment_id = client.create_experiment("churn", tags={"team": "crm"})
    client.set_experiment_tag(experiment_id, "owner", "ada")
    assert client.get_experiment(experiment_id).tags == {"team": "crm", "owner": "ada"}
    client.rename_experiment(experiment_id, "churn 2")
    assert client.get_experiment_by_name("churn") is None
    assert client.get_experiment_by_name("churn 2").experiment_id == experiment_id
    client.delete_experiment(experiment_id)
    assert client.search_experiments() == []
    client.restore_experiment(experiment_id)
    assert [one.name for one in client.search_experiments(filter_string="name = 'churn 2'")] == ["churn 2"]
    with pytest.raises(NotFound, match="Did you mean 'churn 2'"):
        client.experiment_named("chrun 2")


def test_batches_have_mlflows_limits(client, run_id):
    with pytest.raises(InvalidInput, match="at most 1000 metrics"):
        client.log_batch(run_id, metrics=[Metric("m", 1.0, 1)] * 1001)
    with pytest.raises(InvalidInput, match="at most 100 params"):
        client.log_batch(run_id, params=[Param("p", "1")] * 101)


def test_parents(client, run_id):
    child = client.create_run("1", tags={"mlflow.parentRunId": run_id}, run_name="child")
    assert client.get_parent_run(child.info.run_id).info.run_id == run_id
    assert client.get_parent_run(run_id) is None


def test_files_are_logged_listed_and_found(client, run_id, tmp_path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "a.txt").write_text("a")
    (tmp_path / "in" / "deep" / "b.bin").write_bytes(b"\0b")
    client.log_artifact(run_id, tmp_path / "in" / "a.txt")
    client.log_artifact(run_id, tmp_path / "in" / "a.txt", "under")
    client.log_artifact(run_id, tmp_path / "in", "whole")
    client.log_artifacts(run_id, tmp_path / "in", "content")
    client.log_text(run_id, "text é", "notes/t.txt")
    client.log_dict(run_id, {"a": [1]}, "d.json")
    client.log_dict(run_id, {"a": [1]}, "d.yaml")
    client.log_table(run_id, {"x": [1, 2]}, "t.json")
    client.log_table(run_id, pd.DataFrame({"x": [1, 2]}), "t.parquet")
    listed = client.list_artifacts(run_id)
    assert [one.path for one in listed] == [
        "a.txt",
        "content",
        "d.json",
        "d.yaml",
        "notes",
        "t.json",
        "t.parquet",
        "under",
        "whole",
    ]
    assert [(one.path, one.is_dir, one.file_size) for one in client.list_artifacts(run_id, "whole/in")] == [
        ("whole/in/a.txt", False, 1),
        ("whole/in/deep", True, None),
    ]
    assert client.list_artifacts(run_id, "nothing") == []
    assert (
        client.download_artifacts(run_id, "content/deep/b.bin") == f"{client.artifact_uri(run_id)}/content/deep/b.bin"
    )
    copied = client.download_artifacts(run_id, "whole", tmp_path / "out")
    assert copied == str(tmp_path / "out" / "whole")
    assert (tmp_path / "out" / "whole" / "in" / "deep" / "b.bin").read_bytes() == b"\0b"
    base = client.artifact_uri(run_id)
    with open(f"{base}/d.json") as file:
        assert json.load(file) == {"a": [1]}
    with open(f"{base}/notes/t.txt", encoding="utf-8") as file:
        assert file.read() == "text é"
    assert pd.read_json(f"{base}/t.json", orient="split")["x"].tolist() == [1, 2]
    assert pd.read_parquet(f"{base}/t.parquet")["x"].tolist() == [1, 2]
    assert not [name for _, _, names in os.walk(base) for name in names if name.endswith(".part")]


def test_a_link_keeps_the_name_that_was_given(client, run_id, tmp_path, monkeypatch):
    (tmp_path / "epochs" / "3").mkdir(parents=True)
    (tmp_path / "epochs" / "3" / "weights").write_text("3")
    (tmp_path / "best").symlink_to("epochs/3")
    (tmp_path / "best.ckpt").symlink_to("epochs/3/weights")
    client.log_artifact(run_id, tmp_path / "best.ckpt")
    client.log_artifact(run_id, tmp_path / "best")
    monkeypatch.chdir(tmp_path / "epochs")
    client.log_artifact(run_id, ".", "here")
    client.log_artifact(run_id, "3/..", "above")
    for path in ("best.ckpt", "best/weights", "here/epochs/3/weights", "above/epochs/3/weights"):
        with open(client.download_artifacts(run_id, path)) as file:
            assert file.read() == "3"


def test_only_what_is_half_written_is_hidden(client, run_id, tmp_path):
    for name in ("data.part", ".model.part", "b"):
        (tmp_path / name).write_text("x")
        client.log_artifact(run_id, tmp_path / name)
    with open(f"{client.artifact_uri(run_id)}/.b.0123abcd.part", "w") as file:
        file.write("half")
    assert [one.path for one in client.list_artifacts(run_id)] == [".model.part", "b", "data.part"]


def test_a_name_with_a_backslash_is_no_directory(client, run_id, tmp_path):
    (tmp_path / "back\\slash").write_text("x")
    with pytest.raises(InvalidInput, match="backslash"):
        client.log_artifact(run_id, tmp_path / "back\\slash")
    assert client.list_artifacts(run_id) == []


def test_a_name_that_is_no_utf8_is_said(client, run_id, tmp_path):
    (tmp_path / "\udcff.bin").write_text("x")
    with pytest.raises(InvalidInput, match=r"'\\udcff\.bin' is no UTF-8.*Rename it"):
        client.log_artifact(run_id, tmp_path / "\udcff.bin")
    assert client.list_artifacts(run_id) == []
    client.log_text(run_id, "x", "deep/a.txt")
    (tmp_path / "\udcff.bin").rename(f"{client.artifact_uri(run_id)}/deep/\udcff.bin")
    with pytest.raises(StorageError, match=r"deep'.*'\\udcff\.bin' in it is no UTF-8"):
        client.list_artifacts(run_id, "deep")


def test_figures_and_images_are_files(client, run_id):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    client.log_figure(run_id, Figure(), "roc.png")
    client.log_image(run_id, [[0.0, 1.0], [0.5, 2.0]], "img.png")
    for name in ("roc.png", "img.png"):
        with open(client.download_artifacts(run_id, name), "rb") as file:
            assert file.read(8) == b"\x89PNG\r\n\x1a\n"
    with pytest.raises(InvalidInput, match="matplotlib"):
        client.log_figure(run_id, object(), "x.png")


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x", "", "a\0b"])
def test_artifacts_stay_in_their_run(client, run_id, path):
    with pytest.raises(InvalidInput):
        client.log_text(run_id, "x", path)
    if path:
        with pytest.raises(InvalidInput):
            client.list_artifacts(run_id, path)
        with pytest.raises(InvalidInput):
            client.download_artifacts(run_id, path)


def test_missing_files_are_said(client, run_id, tmp_path):
    with pytest.raises(NotFound, match="no file"):
        client.log_artifact(run_id, tmp_path / "nothing")
    with pytest.raises(NotFound, match="log_artifact"):
        client.log_artifacts(run_id, tmp_path / "nothing")
    with pytest.raises(NotFound, match="nothing at"):
        client.download_artifacts(run_id, "nothing")


def test_one_lake_for_runs_and_models(tmp_path):
    assert LifecycleClient(tmp_path, tmp_path).tracking_uri == str(tmp_path)
    with pytest.raises(InvalidInput, match="same lake"):
        LifecycleClient(tmp_path, tmp_path / "other")


def test_a_run_id_is_completed_from_its_beginning_or_end(client, run_id):
    other = client.create_run("1", run_name="other").info.run_id
    client.delete_run(other)
    assert client.complete_run_id(run_id[:31]) == run_id
    assert client.complete_run_id(f" {other[-8:].upper()}") == other
    # whether there is such a run is for whoever reads it
    assert client.complete_run_id("f" * 32) == "f" * 32
    with pytest.raises(InvalidInput, match=f"{other} .other.") as several:
        client.complete_run_id(run_id[:4])
    assert run_id in str(several.value)
    with pytest.raises(NotFound, match="begins or ends with 'ffff'"):
        client.complete_run_id("ffff")
    for wrong in ("", "abc", "gbm_model", "%%%%"):
        with pytest.raises(InvalidInput, match="run_name ="):
            client.complete_run_id(wrong)


def test_metrics_are_summed_up(client, run_id):
    for step, value in enumerate((0.5, float("nan"), 0.25, 0.75)):
        client.log_metric(run_id, "loss", value, step=step, timestamp=step)
    client.log_metric(run_id, "auc", float("nan"), timestamp=7)
    other = client.create_run("1").info.run_id
    client.log_metric(other, "loss", 0.0)
    auc, loss = client.get_metric_summaries(run_id)
    assert (auc.key, str(auc.last), auc.smallest, auc.largest) == ("auc", "nan", None, None)
    assert loss == MetricSummary("loss", last=0.75, step=3, timestamp=3, smallest=0.25, largest=0.75)
    assert client.get_metric_summaries(client.create_run("1").info.run_id) == []
    with pytest.raises(NotFound):
        client.get_metric_summaries("f" * 32)


def test_a_table_comes_in_pages_and_a_param_by_name_is_always_a_column(client, run_id, monkeypatch):
    monkeypatch.setattr(finding, "MAX_RESULTS", 2)
    client.log_param(run_id, "depth", 6)
    ids = [run_id, *(client.create_run("1").info.run_id for _ in range(4))]
    pages = list(
        client.search_table_pages(["1"], order_by=["start_time"], only=["params.depth", "tags.none"], max_results=4)
    )
    assert [page["run_id"].to_pylist() for page in pages] == [ids[:2], ids[2:4]]
    assert [page["params.depth"].to_pylist() for page in pages] == [["6", None], [None, None]]
    assert pages[0]["tags.none"].to_pylist() == [None, None]
    assert client.search_table(["1"], only=["params.depth"])["params.depth"].null_count == 4


def test_all_experiments_are_more_than_a_page(client, monkeypatch):
    names = [f"e{number}" for number in range(3)]
    for name in names:
        client.create_experiment(name)
    monkeypatch.setattr(
        LifecycleClient, "search_experiments", partialmethod(LifecycleClient.search_experiments, max_results=1)
    )
    assert sorted(one.name for one in client.all_experiments()) == names


def test_a_client_pickles_as_its_lake(tmp_path):
    client = LifecycleClient(str(tmp_path / "lake"))
    experiment_id = client.create_experiment("e")
    again = pickle.loads(pickle.dumps(client))
    assert again.get_experiment(experiment_id).name == "e"
