"""Versions from one lake to another and back, with their runs and histories."""

import os
from pathlib import Path

import pytest

import sparkml_lifecycle as ml
from sparkml_lifecycle import maintenance, pyfunc, transfer
from sparkml_lifecycle.client import LifecycleClient
from sparkml_lifecycle.errors import IntegrityError, InvalidInput, NotFound
from sparkml_lifecycle.lake import Table
from sparkml_lifecycle.registry.store import Registry
from sparkml_lifecycle.tracking.tables import MetricRow
from tests.registry.models import FRAME, log_mean


@pytest.fixture
def production(tmp_path):
    client = LifecycleClient(tmp_path / "production lake")
    yield client
    client.close()


@pytest.fixture
def logged(client):
    """A version with a run, a tag, a stage and a field of its card; gives the run's id."""
    _, run_id = log_mean(client, 2.0, "flights", {"mae": 3.0}.items(), registered_model_name="churn")
    client.log_metric(run_id, "mae", 2.5, step=1)
    client.log_text(run_id, "a note", "notes/n.txt")
    client.set_model_version_tag("churn", 1, "k", "v")
    client.update_model_version("churn", 1, "the first")
    client.set_model_field("churn", "owner", "CRM")
    client.transition_model_version_stage("churn", 1, "Staging", comment="try it")
    client.flush()
    return run_id


def test_a_copy_has_its_run_its_history_and_its_digest(client, production, logged):
    made = transfer.copy_version(client, "churn", 1, production)
    original = client.get_model_version("churn", 1)
    assert (made.digest, made.model_digest, made.run_id) == (original.digest, original.model_digest, logged)
    assert (made.tags, made.description, made.current_stage) == ({"k": "v"}, "the first", "None")
    assert made.copied_from == f"{client.tracking_uri} models:/churn/1"
    assert made.source.startswith(production.tracking_uri)
    assert production.get_model_fields("churn", 1) == {"owner": "CRM"}
    run, before = production.get_run(logged), client.get_run(logged)
    assert (run.data.metrics, run.data.params, run.data.tags) == (
        before.data.metrics,
        before.data.params,
        before.data.tags,
    )
    assert [point.value for point in production.get_metric_history(logged, "mae")] == [3.0, 2.5]
    assert production.get_experiment(run.info.experiment_id).name == "flights"
    told = production.get_model_history("churn", 1)
    past = [(one.what, one.after, one.comment) for one in told if one.via == f"copy of {client.tracking_uri}"]
    assert past == [
        ("version", "READY", ""), ("tag", "v", ""), ("description", "the first", ""), ("stage", "Staging", "try it"),
    ]  # fmt: skip
    assert [one.via for one in told] == sorted([one.via for one in told], key=lambda via: via == "lake")
    ml.set_tracking_uri(production.tracking_uri)
    assert pyfunc.load_model("models:/churn/1").predict(FRAME).tolist() == [2.0, 2.0]
    with pytest.raises(NotFound):
        ml.artifacts.load_text(f"runs:/{logged}/notes/n.txt")
    # a deleted development lake takes nothing from production
    import shutil

    shutil.rmtree(client.tracking_uri)
    production.verify_model_version("churn", 1)


def test_a_new_model_is_told_of_as_at_home(client, production, logged):
    client.set_registered_model_tag("churn", "team", "crm")
    client.update_registered_model("churn", "who leaves")
    client.set_model_field("churn", "limits", "not for 2027", 1)
    transfer.copy_version(client, "churn", 1, production)
    model = production.get_registered_model("churn")
    assert (model.tags, model.description) == ({"team": "crm"}, "who leaves")
    assert production.get_model_fields("churn") == {"owner": "CRM"}
    assert production.get_model_fields("churn", 1) == {"owner": "CRM", "limits": "not for 2027"}
    told = [one.timestamp for one in production.get_model_history("churn")]
    assert told == sorted(told)


def test_a_copy_back_writes_no_file_that_is_there(client, production, logged):
    place = Path(client.get_model_version("churn", 1).source)
    before = {path.name: path.stat() for path in place.iterdir()}
    transfer.copy_version(client, "churn", 1, production)
    assert transfer.copy_version(production, "churn", 1, client, "back").source == str(place)
    assert {path.name: path.stat() for path in place.iterdir()} == before


def test_copied_again_it_is_the_one_that_is_there(client, production, logged):
    first = transfer.copy_version(client, "churn", 1, production, with_artifacts=True)
    assert transfer.copy_version(client, "churn", 1, production) == first
    assert [point.value for point in production.get_metric_history(logged, "mae")] == [3.0, 2.5]
    ml.set_tracking_uri(production.tracking_uri)
    assert ml.artifacts.load_text(f"runs:/{logged}/notes/n.txt") == "a note"
    assert transfer.copy_version(client, "churn", 1, production, "other").name == "other"


def test_and_back(client, production, logged):
    transfer.copy_version(client, "churn", 1, production)
    production.transition_model_version_stage("churn", 1, "Production", comment="live")
    back = transfer.copy_version(production, "churn", 1, client)
    assert (back.version, back.run_id) == ("2", logged)
    told = [(one.what, one.after) for one in client.get_model_history("churn", 2) if one.via.startswith("copy of")]
    assert ("stage", "Staging") in told
    assert ("stage", "Production") in told


def test_a_version_without_a_run_is_copied_by_its_digest(client, production, source):
    client.register_model(source, "churn")
    made = transfer.copy_version(client, "churn", 1, production, "renamed")
    assert (made.run_id, made.name) == (None, "renamed")
    assert made.source == f"{production.tracking_uri}/models/{made.digest}"
    production.verify_model_version("renamed", 1)
    # an empty directory may be a copy that has just begun
    (production.lake.storage.local_path / "models" / "aaa").mkdir()
    # files that no version needs go with a collection, once no copy can be under way
    assert maintenance.collect(production).models == 0
    production.delete_model_version("renamed", 1)
    assert maintenance.collect(production).models == 0
    place = production.lake.storage.local_path / "models" / made.digest
    for path in place.rglob("*"):
        os.utime(path, (0, 0))
    held = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
    assert maintenance.collect(production, dry_run=True) == maintenance.Removed(artifact_bytes=held, models=1)
    assert maintenance.collect(production).models == 1
    assert not place.exists()
    again = transfer.copy_version(client, "churn", 1, production, "renamed")
    for path in place.rglob("*"):
        os.utime(path, (0, 0))
    assert maintenance.collect(production).models == 0
    production.verify_model_version("renamed", again.version)


@pytest.mark.parametrize("when", ["before the version", "after it"])
def test_files_that_are_collected_while_they_are_registered_again(client, production, source, monkeypatch, when):
    client.register_model(source, "churn")
    made = transfer.copy_version(client, "churn", 1, production)
    for path in Path(made.source).rglob("*"):
        os.utime(path, (0, 0))
    create, times = Registry.create_version, [1]

    def collected(self, *arguments, **options):
        first = times and times.pop() and when == "before the version"
        if first:
            production.delete_model_version("churn", 1)
            assert maintenance.collect(production).models == 1
        version = create(self, *arguments, **options)
        if not first and when == "after it":
            production.delete_model_version("churn", 1)
            assert maintenance.collect(production).models == 0
        return version

    monkeypatch.setattr(Registry, "create_version", collected)
    if when == "after it":
        version = production.copy_model_version("models:/churn/1", "other")
        production.verify_model_version("other", version.version)
        return
    with pytest.raises(NotFound, match="were removed meanwhile"):
        production.copy_model_version("models:/churn/1", "other")
    assert production.search_model_versions("name = 'other'") == []


def test_a_changed_model_is_not_copied(client, production, source):
    client.register_model(source, "churn")
    (source / "more").write_text("x")
    with pytest.raises(IntegrityError, match="is not what was registered"):
        transfer.copy_version(client, "churn", 1, production)
    assert production.search_registered_models() == []


def test_one_that_was_killed_on_the_way_is_finished(client, production, logged, monkeypatch):
    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Registry, "create_version", killed)
        with pytest.raises(KeyboardInterrupt):
            transfer.copy_version(client, "churn", 1, production)
    assert production.search_registered_models() == []
    assert transfer.copy_version(client, "churn", 1, production).version == "1"
    assert [point.value for point in production.get_metric_history(logged, "mae")] == [3.0, 2.5]


def test_two_copies_at_once_of_one_run_write_its_metrics_once(client, production, logged, monkeypatch):
    rows, second = Table.rows, [transfer.copy_version]

    def looked(self, *arguments, **options):
        found = rows(self, *arguments, **options)
        if self.row_type is MetricRow and self.storage.uri.startswith(production.tracking_uri) and second:
            # the other has not written them yet either, and is quicker
            second.pop()(client, "churn", 1, production)
        return found

    monkeypatch.setattr(Table, "rows", looked)
    transfer.copy_version(client, "churn", 1, production)
    assert not second
    monkeypatch.undo()
    assert [point.value for point in production.get_metric_history(logged, "mae")] == [3.0, 2.5]
    assert [point.value for point in LifecycleClient(production.tracking_uri).get_metric_history(logged, "mae")] == [
        3.0,
        2.5,
    ]
    # a run that was erased can be copied again
    for one in production.search_model_versions():
        production.delete_model_version(one.name, one.version)
    maintenance.purge(production, [logged])
    transfer.copy_version(client, "churn", 1, production)
    assert [point.value for point in production.get_metric_history(logged, "mae")] == [3.0, 2.5]


def test_a_copy_of_a_copy_tells_where_each_thing_happened(client, production, logged, tmp_path):
    transfer.copy_version(client, "churn", 1, production)
    production.transition_model_version_stage("churn", 1, "Production", comment="live")
    third = LifecycleClient(tmp_path / "third")
    made = transfer.copy_version(production, "churn", 1, third)
    assert made.copied_from == f"{production.tracking_uri} models:/churn/1"
    told = {
        (one.what, one.after): (one.via, one.details.get("version_there"))
        for one in third.get_model_history("churn", 1)
    }
    assert told["stage", "Staging"] == (f"copy of {client.tracking_uri}", "1")
    assert told["stage", "Production"] == (f"copy of {production.tracking_uri}", "1")
    third.close()


def test_a_run_that_is_removed_during_the_copy_takes_the_version_with_it(client, production, logged, monkeypatch):
    create = Registry.create_version

    def removed_first(self, *arguments, **options):
        production.delete_run(logged)
        maintenance.collect(production)
        return create(self, *arguments, **options)

    monkeypatch.setattr(Registry, "create_version", removed_first)
    with pytest.raises(NotFound, match="was removed for good meanwhile"):
        transfer.copy_version(client, "churn", 1, production)
    assert production.search_model_versions() == []


def test_within_one_lake_it_is_another_call(client, source, tmp_path):
    client.register_model(source, "churn")
    (tmp_path / "link").symlink_to(client.tracking_uri)
    with pytest.raises(InvalidInput, match="copy_model_version"):
        transfer.copy_version(client, "churn", 1, LifecycleClient(tmp_path / "link"))


def test_a_copy_takes_no_files_from_a_version_that_is_there(client, production, logged):
    import shutil

    from tests.registry.models import mean

    transfer.copy_version(client, "churn", 1, production)
    production.transition_model_version_stage("churn", 1, "Production")
    # the run's model is saved anew at home, at the same path
    shutil.rmtree(client.resolve(f"runs:/{logged}/model"))
    ml.set_tracking_uri(client.tracking_uri)
    ml.log_model(mean(7.0), "model", run_id=logged, input_example=FRAME)
    client.register_model(f"runs:/{logged}/model", "churn")
    made = transfer.copy_version(client, "churn", 2, production)
    production.verify_model_version("churn", 1)
    assert made.source.endswith(f"/models/{made.digest}")
    ml.set_tracking_uri(production.tracking_uri)
    assert pyfunc.load_model("models:/churn/Production").predict(FRAME).tolist() == [2.0, 2.0]
    assert pyfunc.load_model("models:/churn/2").predict(FRAME).tolist() == [7.0, 7.0]
