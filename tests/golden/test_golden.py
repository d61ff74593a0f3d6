"""Lakes of every format and of the first release: they open read-only, answer what was logged, and go on being written."""

import hashlib
import json
import math
import os
import shutil
from datetime import datetime
from pathlib import Path

import pytest

import sparkml_lifecycle as ml
from sparkml_lifecycle import maintenance
from sparkml_lifecycle.entities import ViewType
from sparkml_lifecycle.errors import FormatError
from tests.golden.make import ROWS

HERE = Path(__file__).parent
LAKES = sorted(path.parent.name for path in HERE.glob("*/expected.json"))


def content(lake):
    """Every file of a lake: its size, time and digest."""
    files = sorted(path for path in lake.rglob("*") if path.is_file())
    return {
        str(path.relative_to(lake)): (path.stat().st_mtime_ns, hashlib.sha256(path.read_bytes()).hexdigest())
        for path in files
    }


def permit(lake, writable):
    for path in [lake, *lake.rglob("*")]:
        path.chmod((0o755 if path.is_dir() else 0o644) if writable else (0o555 if path.is_dir() else 0o444))


@pytest.fixture(params=LAKES)
def golden(request, tmp_path):
    """A copy of a golden lake and what it must answer."""
    lake = tmp_path / "lake"
    shutil.copytree(HERE / request.param / "lake", lake)
    permit(lake, writable=False)
    yield lake, json.loads((HERE / request.param / "expected.json").read_text())
    permit(lake, writable=True)


def same(found, expected):
    """Floats to the bit; NaN and infinities are texts in the JSON."""
    wanted = float(expected)
    return (
        math.isnan(found)
        if math.isnan(wanted)
        else (found, math.copysign(1, found))
        == (
            wanted,
            math.copysign(1, wanted),
        )
    )


def check_run(client, run_id, expected):
    run = client.get_run(run_id)
    info = run.info
    assert (info.run_name, info.experiment_id, info.status, info.lifecycle_stage, info.user_id) == (
        expected["name"], expected["experiment"], expected["status"], expected["stage"], "golden",
    )  # fmt: skip
    assert [info.start_time, info.end_time] == expected["times"]
    assert info.artifact_uri == f"{client.tracking_uri}/artifacts/{info.experiment_id}/{run_id}/artifacts"
    assert run.data.params == expected["params"]
    assert run.data.tags == expected["tags"]
    assert set(run.data.metrics) == set(expected["metrics"])
    for key, value in expected["metrics"].items():
        assert same(run.data.metrics[key], value), key
    inputs = [(one.dataset.name, one.dataset.digest, {tag.key: tag.value for tag in one.tags}, version(one.dataset))
              for one in run.inputs.dataset_inputs]  # fmt: skip
    assert inputs == [tuple(one) for one in expected["inputs"]]
    for key, points in expected["history"].items():
        found = client.get_metric_history(run_id, key)
        assert [[point.timestamp, point.step] for point in found] == [point[1:] for point in points]
        assert all(same(point.value, wanted[0]) for point, wanted in zip(found, points, strict=True)), key


def version(dataset):
    return json.loads(dataset.source)["delta_table_version"]


def check(client, expected):
    """Everything that the lake was told, by every way of asking."""
    experiments = {one.experiment_id: [one.name, one.lifecycle_stage, dict(one.tags)]
                   for one in client.all_experiments(ViewType.ALL)}  # fmt: skip
    assert {key: experiments[key] for key in expected["experiments"]} == expected["experiments"]
    assert client.get_experiment_by_name("first name") is None
    for run_id, run in expected["runs"].items():
        check_run(client, run_id, run)
    ids = list(expected["experiments"])
    first = next(iter(expected["runs"]))

    def found(text, view=ViewType.ACTIVE_ONLY, **more):
        return [run.info.run_name for run in client.search_runs(ids, text, view, **more)]

    assert found("tags.team = 'risk' and params.depth = '6'") == ["first"]
    assert found("metrics.auc > 0.6 and metrics.auc < 0.95") == ["second"]
    assert found("metrics.diverged = nan") == ["first"]
    assert found("metrics.huge.max = inf and metrics.huge.min = -inf") == ["first"]
    assert found("params.text LIKE '%100!%%' or params.empty = ''") == ["first"]
    assert found("run_name LIKE '%r%'", ViewType.ALL) == ["third", "first"]
    assert found("", ViewType.DELETED_ONLY) == ["third"]
    summaries = {one.key: one for one in client.get_metric_summaries(first)}
    for key, (smallest, largest) in expected["extremes"].items():
        assert same(summaries[key].smallest, smallest), key
        assert same(summaries[key].largest, largest), key
    then = client.get_run(first, as_of=datetime.fromisoformat(expected["then"]["at"]))
    assert (then.info.status, then.data.metrics["auc"]) == ("RUNNING", expected["then"]["auc"])
    assert (then.data.params, then.data.tags["team"]) == (expected["then"]["params"], expected["then"]["team"])
    for path, text in expected["artifacts"].items():
        assert Path(client.download_artifacts(first, path)).read_text(encoding="utf-8") == text
    assert {one.path for one in client.list_artifacts(first)} == {"notes", "d.json", *expected["predictions"]}


def check_models(client, expected):
    import pandas as pd

    frame = pd.DataFrame(ROWS, columns=["x", "y"])
    first = next(iter(expected["runs"]))
    ml.set_tracking_uri(client.tracking_uri)
    for name, answers in expected["predictions"].items():
        for uri in (f"runs:/{first}/{name}", f"{client.artifact_uri(first)}/{name}"):
            assert ml.pyfunc.load_model(uri).predict(frame).tolist() == pytest.approx(answers, rel=1e-12), uri


def check_registry(client, expected):
    """The registered models, their files and their history."""
    import pandas as pd

    frame = pd.DataFrame(ROWS, columns=["x", "y"])
    ml.set_tracking_uri(client.tracking_uri)
    assert {one.name for one in client.search_registered_models()} == {"churn", "other"}
    model = client.get_registered_model("churn")
    assert (model.description, model.tags, model.aliases) == ("who leaves – é", {"team": "crm"}, {"champion": "2"})
    found = client.search_model_versions("name = 'churn'", order_by=["version_number"])
    assert [one.version for one in found] == list(expected["versions"])
    for one in found:
        stage, name, text, tags, aliases = expected["versions"][one.version]
        assert (one.current_stage, one.description, one.tags, one.aliases) == (stage, text, tags, aliases)
        assert (one.run_id, one.source) == (expected["run"], f"{client.artifact_uri(expected['run'])}/{name}")
        client.verify_model_version("churn", one.version)
    copied = client.get_model_version("other", 1)
    assert (copied.copied_from, copied.digest) == ("models:/churn/2", found[1].digest)
    assert [one.text for one in client.get_model_version_comments("churn", 1)] == ["日本 🙂"]
    assert client.get_model_fields("churn") == {"owner": "CRM"}
    assert [(one.name, one.version, one.stage) for one in client.get_transition_requests()] == [
        ("churn", "1", "Staging")
    ]
    told = [
        [one.what, one.version, one.key, one.before, one.after, one.comment]
        for one in client.get_model_history("churn")
    ]
    assert told[: len(expected["history"])] == expected["history"]
    assert {one.user_id for one in client.get_model_history("churn")[: len(expected["history"])]} == {"golden"}
    assert [one.after for one in client.get_model_history("gone")] == ["gone", None]
    then = datetime.fromisoformat(expected["then"])
    for uri, as_of, name in (
        ("models:/churn@champion", None, "trees"),
        ("models:/churn@champion", then, "linear"),
        ("models:/churn/Production", then, "linear"),
        ("models:/churn/latest", None, "trees"),
        ("models:/other/1", None, "trees"),
    ):
        model = ml.pyfunc.load_model(uri, as_of=as_of)
        assert model.predict(frame).tolist() == pytest.approx(expected["predictions"][name], rel=1e-12), (uri, as_of)


def test_registered_models_are_read_without_writing_and_go_on_being_written(tmp_path):
    lake = tmp_path / "lake"
    shutil.copytree(HERE / "registry_1/lake", lake)
    expected = json.loads((HERE / "registry_1/registry.json").read_text())
    permit(lake, writable=False)
    try:
        before = content(lake)
        check_registry(ml.LifecycleClient(lake), expected)
        assert content(lake) == before
    finally:
        permit(lake, writable=True)
    client = ml.LifecycleClient(lake)
    # a number is not used again, whoever wrote the deletion
    assert client.register_model(f"runs:/{expected['run']}/linear", "churn").version == "4"
    client.delete_model_version("churn", 4)
    check_registry(client, expected)
    maintenance.maintain(client.lake, retention_hours=0)
    check_registry(client, expected)
    check_registry(ml.LifecycleClient(lake), expected)


def test_there_is_a_lake_of_every_format():
    assert {"lake_1", "lake_1_first"} <= set(LAKES)
    assert {json.loads((HERE / name / "lake/lake.json").read_text())["format"] for name in LAKES} == {1}
    assert not (HERE / "lake_1_first/lake/latest_metrics").exists()


def test_the_files_are_small_and_say_nothing_of_the_machine_they_were_made_on():
    files = [path for name in (*LAKES, "registry_1") for path in (HERE / name).rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 500_000
    for path in files:
        for word in (b"/tmp", b"/home", b"/root", b"/work"):
            assert word not in path.read_bytes(), path


def test_it_is_read_without_writing_anything(golden):
    lake, expected = golden
    before = content(lake)
    assert not os.access(lake, os.W_OK) or os.getuid() == 0
    client = ml.LifecycleClient(lake)
    check(client, expected)
    check_models(client, expected)
    assert content(lake) == before


def test_it_goes_on_being_written_folded_and_compacted(golden):
    lake, expected = golden
    permit(lake, writable=True)
    client = ml.LifecycleClient(lake)
    assert client.create_experiment("fourth") == "4"
    run_id = client.create_run("1", run_name="new").info.run_id
    client.log_metric(run_id, "auc", 0.99)
    client.set_terminated(run_id)
    first = next(iter(expected["runs"]))
    client.log_metric(first, "later", 1.0, timestamp=1, step=1)
    expected["runs"][first]["metrics"]["later"] = 1.0
    check(client, expected)
    for _ in range(2):
        maintenance.maintain(client.lake, retention_hours=0)
        check(client, expected)
        assert [run.info.run_name for run in client.search_runs(["1"], "metrics.auc > 0.98")] == ["new"]
    points = client.lake.table("metrics").snapshot(fresh=True).handle
    assert len(points.file_uris()) == 1
    assert client.lake.table("latest_metrics").to_arrow().num_rows > 0
    check_models(client, expected)


def test_a_newer_format_is_refused_with_a_sentence(golden):
    lake, expected = golden
    permit(lake, writable=True)
    (lake / "lake.json").write_text(json.dumps({"format": 2, "min_reader": 1, "min_writer": 2}))
    client = ml.LifecycleClient(lake)
    check(client, expected)
    with pytest.raises(FormatError, match="can be written by programs of format 2 or newer; this one knows 1. Upgrade"):
        client.create_experiment("fourth")
    (lake / "lake.json").write_text(json.dumps({"format": 2, "min_reader": 2, "min_writer": 2}))
    shutil.copytree(lake, lake.parent / "unread")
    with pytest.raises(FormatError, match="can be read by programs of format 2 or newer; this one knows 1. Upgrade"):
        ml.LifecycleClient(lake.parent / "unread")
