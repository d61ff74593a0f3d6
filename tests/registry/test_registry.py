"""Registered models and their versions: MLflow's calls, and what becomes of a model's history."""

import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from sklearn.linear_model import LinearRegression

import sparkml_lifecycle as ml
from sparkml_lifecycle import maintenance, pyfunc
from sparkml_lifecycle.client import LifecycleClient
from sparkml_lifecycle.errors import AlreadyExists, IntegrityError, InvalidInput, NotAllowed, NotFound
from sparkml_lifecycle.lake import Lake, Where
from sparkml_lifecycle.registry.store import Registry
from sparkml_lifecycle.tracking.store import TrackingStore
from sparkml_lifecycle.tracking.tables import RunRow
from tests.registry.models import FRAME, log_mean, save_mean


def answers(uri, **how):
    return pyfunc.load_model(uri, **how).predict(FRAME).tolist()


def told(client, name, *attributes, **which):
    return [tuple(getattr(one, field) for field in attributes) for one in client.get_model_history(name, **which)]


# -- models and versions ---------------------------------------------------------------------------------------------------


def test_a_model_is_made_described_tagged_and_found(client):
    made = client.create_registered_model("churn", {"team": "crm", "n": 3}, "who leaves")
    assert (made.name, made.description, made.tags) == ("churn", "who leaves", {"team": "crm", "n": "3"})
    client.set_registered_model_tag("churn", "team", "sales")
    client.delete_registered_model_tag("churn", "n")
    changed = client.update_registered_model("churn", "who leaves next month")
    assert (changed.tags, changed.description) == ({"team": "sales"}, "who leaves next month")
    assert changed.last_updated_timestamp >= changed.creation_timestamp == made.creation_timestamp
    assert dict(changed)["name"] == "churn"
    assert changed.latest_versions == []
    assert changed.aliases == {}


def test_a_version_is_there_when_the_call_returns_with_its_run_tags_and_digest(client):
    uri, run_id = log_mean(client, 2.0)
    client.create_registered_model("churn")
    made = client.create_model_version(
        "churn", uri, tags={"data": "march"}, description="first", run_link="http://ci/7"
    )
    assert (made.version, made.status, made.current_stage) == ("1", "READY", "None")
    assert (made.run_id, made.tags, made.description, made.run_link) == (
        run_id,
        {"data": "march"},
        "first",
        "http://ci/7",
    )
    assert made.source == client.get_model_version_download_uri("churn", 1) == f"{client.artifact_uri(run_id)}/model"
    assert len(made.digest) == 64
    assert made.model_digest == pyfunc.load_model(uri).digest
    assert LifecycleClient(client.tracking_uri).get_model_version("churn", "1") == made
    assert client.create_model_version("churn", uri).version == "2"


def test_versions_come_from_a_run_a_path_and_another_version(client, source):
    uri, run_id = log_mean(client, 2.0)
    assert client.register_model(uri, "a").run_id == run_id
    assert client.register_model(source, "a").run_id is None
    # the run that a model names is its run, if it is in this lake
    assert client.register_model(client.get_model_version("a", 1).source, "a").run_id == run_id
    copied = client.copy_model_version("models:/a/1", "b")
    assert (copied.name, copied.version, copied.run_id, copied.copied_from) == ("b", "1", run_id, "models:/a/1")
    original = client.get_model_version("a", 1)
    assert (copied.source, copied.digest) == (original.source, original.digest)
    assert answers("models:/b/1") == answers(uri) == [2.0, 2.0]


def test_logging_registers_too(client):
    uri, run_id = log_mean(client, 4.0, registered_model_name="churn")
    assert client.get_model_version("churn", 1).run_id == run_id
    with ml.start_run():
        info = ml.log_model(mean_of(5.0), "model", input_example=FRAME, registered_model_name="churn")
    assert info.registered_model_version == "2"
    assert answers("models:/churn/latest") == [5.0, 5.0]
    assert ml.register_model(uri, "churn", tags={"k": "v"}).tags == {"k": "v"}


def mean_of(value):
    from tests.registry.models import mean

    return mean(value)


def test_numbers_are_not_used_twice(client, source):
    for expected in ("1", "2", "3"):
        assert client.register_model(source, "churn").version == expected
    client.delete_model_version("churn", 3)
    assert client.register_model(source, "churn").version == "4"
    with pytest.raises(NotFound, match=r"Version 3 of the model 'churn' was deleted on .* by"):
        client.get_model_version("churn", 3)
    assert [one.version for one in client.search_model_versions("name = 'churn'", order_by=["version_number"])] == [
        "1",
        "2",
        "4",
    ]


def test_a_renamed_model_keeps_everything(client, source):
    client.register_model(source, "churn")
    client.set_registered_model_alias("churn", "champion", 1)
    assert client.rename_registered_model("churn", "churn-eu").name == "churn-eu"
    with pytest.raises(NotFound, match="It is called 'churn-eu' now"):
        client.get_registered_model("churn")
    assert client.get_model_version_by_alias("churn-eu", "champion").name == "churn-eu"
    assert client.register_model(source, "churn-eu").version == "2"
    # its old name may be used by another one, and both keep their histories
    assert client.register_model(source, "churn").version == "1"
    assert client.get_registered_model("churn-eu").latest_versions[0].version == "2"
    with pytest.raises(AlreadyExists, match="'churn-eu' already"):
        client.rename_registered_model("churn", "churn-eu")
    client.rename_registered_model("churn", "other")
    assert client.rename_registered_model("churn-eu", "churn").aliases == {"champion": "1"}
    assert ("churn-eu", "model", "churn", "churn-eu") in told(client, "churn-eu", "name", "what", "before", "after")


def test_a_deleted_name_can_be_used_again_and_its_history_stays(client, source):
    client.register_model(source, "churn")
    client.set_model_version_tag("churn", 1, "k", "v")
    client.delete_registered_model("churn", comment="never used")
    for gone in (lambda: client.get_registered_model("churn"), lambda: client.get_model_version("churn", 1)):
        with pytest.raises(NotFound, match="It was deleted; its history is there"):
            gone()
    assert client.search_model_versions() == []
    assert client.search_registered_models() == []
    assert client.create_registered_model("churn").tags == {}
    assert client.register_model(source, "churn").version == "1"
    found = told(client, "churn", "what", "before", "after", "comment")
    assert found[0] == ("model", None, "churn", "")
    assert ("model", "churn", None, "never used") in found
    assert len([one for one in found if one[0] == "version"]) == 2


def test_a_model_in_use_is_not_deleted(client, source):
    client.register_model(source, "churn")
    client.transition_model_version_stage("churn", 1, "production")
    with pytest.raises(InvalidInput, match="version 1 is in Production. Move it to Archived"):
        client.delete_registered_model("churn")
    client.transition_model_version_stage("churn", 1, "Archived")
    client.delete_registered_model("churn")


# -- stages and aliases ----------------------------------------------------------------------------------------------------


def test_stages_move_and_archive_what_is_there(client, source):
    for _ in range(3):
        client.register_model(source, "churn")
    assert client.get_model_version_stages("churn", 1) == ["None", "Staging", "Production", "Archived"]
    assert client.transition_model_version_stage("churn", 1, "Production").current_stage == "Production"
    client.transition_model_version_stage("churn", 2, "Staging")
    moved = client.transition_model_version_stage(
        "churn", 2, "Production", archive_existing_versions=True, comment="better"
    )
    assert moved.current_stage == "Production"
    assert [(v.version, v.current_stage) for v in client.get_latest_versions("churn")] == [
        ("3", "None"),
        ("2", "Production"),
        ("1", "Archived"),
    ]
    assert [v.version for v in client.get_latest_versions("churn", ["Production", "none"])] == ["3", "2"]
    assert told(client, "churn", "version", "before", "after", "comment")[-2:] == [
        ("1", "Production", "Archived", "better"), ("2", "Staging", "Production", "better"),
    ]  # fmt: skip
    # without it two may be in one stage, and the newest counts
    client.transition_model_version_stage("churn", 1, "Production")
    assert client.get_version_of("models:/churn/Production").version == "2"
    client.set_model_version_tag("churn", key="k", value="v", stage="Production")
    assert client.get_model_version("churn", 2).tags == {"k": "v"}
    client.delete_model_version_tag("churn", key="k", stage="Production")
    assert client.get_model_version("churn", 2).tags == {}


def test_aliases_name_one_version_each(client, source):
    for _ in range(2):
        client.register_model(source, "churn")
    client.set_registered_model_alias("churn", "champion", 1)
    client.set_registered_model_alias("churn", "best", 1)
    assert client.get_model_version("churn", 1).aliases == ["best", "champion"]
    client.set_registered_model_alias("churn", "champion", "2")
    assert client.get_registered_model("churn").aliases == {"best": "1", "champion": "2"}
    assert client.get_model_version_by_alias("churn", "champion").version == "2"
    client.delete_registered_model_alias("churn", "best")
    with pytest.raises(NotFound, match=r"no alias 'champoin'. Its aliases: champion. Did you mean 'champion'"):
        client.get_model_version_by_alias("churn", "champoin")
    client.delete_model_version("churn", 2)
    assert client.get_registered_model("churn").aliases == {}
    assert told(client, "churn", "what", "key", "before", "after", version=2)[-2:] == [
        ("version", "", "READY", None), ("alias", "champion", "2", None),
    ]  # fmt: skip


def test_every_form_of_uri_loads(client, tmp_path):
    for value in (1.0, 2.0, 3.0):
        client.register_model(save_mean(tmp_path / str(value), value), "churn")
    ml.set_tracking_uri(client.tracking_uri)
    client.transition_model_version_stage("churn", 2, "Production")
    client.set_registered_model_alias("churn", "champion", 1)
    found = {
        one: answers(f"models:/churn{one}")[0]
        for one in ("/1", "/latest", "/Production", "/production", "@champion", "/None")
    }
    assert found == {"/1": 1.0, "/latest": 3.0, "/Production": 2.0, "/production": 2.0, "@champion": 1.0, "/None": 3.0}
    assert pyfunc.load_model("models:/churn@champion").registered == ("churn", "1")
    assert ml.sklearn.load_model("models:/churn/2").constant_.item() == 2.0
    assert ml.models.get_model_info("models:/churn/2").model_uri == "models:/churn/2"
    there = ml.artifacts.download_artifacts("models:/churn/3", dst_path=str(tmp_path / "copy"))
    assert pyfunc.load_model(there).predict(FRAME).tolist() == [3.0, 3.0]


# -- history ---------------------------------------------------------------------------------------------------------------


def test_what_was_in_production_then_is_known_and_loads(client, tmp_path):
    moments = []
    for number, value in enumerate((1.0, 2.0, 3.0), 1):
        client.register_model(save_mean(tmp_path / str(value), value), "churn")
        client.transition_model_version_stage("churn", number, "Production", archive_existing_versions=True)
        client.set_registered_model_alias("churn", "champion", number)
        moments.append(datetime.now(UTC))
    client.delete_model_version("churn", 2)
    ml.set_tracking_uri(client.tracking_uri)
    for number, moment in enumerate(moments, 1):
        assert client.get_version_of("models:/churn/Production", as_of=moment).version == str(number)
        assert client.get_model_version_by_alias("churn", "champion", as_of=moment).version == str(number)
        assert [v.version for v in client.get_latest_versions("churn", ["Production"], as_of=moment)] == [str(number)]
        assert answers("models:/churn/Production", as_of=moment) == [float(number)] * 2
    assert client.get_registered_model("churn", as_of=moments[0]).aliases == {"champion": "1"}
    before = datetime(2020, 3, 3, 12, tzinfo=UTC)
    with pytest.raises(NotFound, match="at 2020-03-03 12:00"):
        client.get_version_of("models:/churn/Production", as_of=before)
    with pytest.raises(InvalidInput, match="as_of goes with models:/"):
        pyfunc.load_model(tmp_path / "1.0", as_of=moments[0])
    with pytest.raises(InvalidInput, match="time zone"):
        client.get_registered_model("churn", as_of=datetime(2020, 3, 3))


def test_a_frameworks_own_model_of_then_is_loaded(client):
    ml.set_tracking_uri(client.tracking_uri)
    for slope in (1.0, 2.0):
        model = LinearRegression().fit([[0.0], [1.0]], [0.0, slope])
        ml.sklearn.log_model(model, f"model-{slope}", registered_model_name="line")
        version = client.get_registered_model("line").latest_versions[0].version
        client.set_registered_model_alias("line", "champion", version)
        if slope == 1.0:
            then = datetime.now(UTC)
            time.sleep(0.01)
    assert ml.sklearn.load_model("models:/line@champion").coef_.tolist() == pytest.approx([2.0])
    assert ml.sklearn.load_model("models:/line@champion", as_of=then).coef_.tolist() == pytest.approx([1.0])


def test_every_change_is_told_with_who_from_to_and_why(client, source, somebody):
    client.register_model(source, "churn")
    ann = somebody("ann")
    ann.transition_model_version_stage("churn", 1, "Staging", comment="try it")
    ann.update_model_version("churn", 1, "mean of march")
    ann.set_model_version_tag("churn", 1, "k", "v")
    ann.set_model_version_tag("churn", 1, "k", "w")
    ann.delete_model_version_tag("churn", 1, "k")
    found = told(client, "churn", "user_id", "what", "key", "before", "after", "comment", "via")[2:]
    assert found == [
        ("ann", "stage", "", None, "Staging", "try it", "lake"),
        ("ann", "description", "", None, "mean of march", "", "lake"),
        ("ann", "tag", "k", None, "v", "", "lake"),
        ("ann", "tag", "k", "v", "w", "", "lake"),
        ("ann", "tag", "k", "w", None, "", "lake"),
    ]
    moments = [one.timestamp for one in client.get_model_history("churn")]
    assert moments == sorted(moments)


def test_what_changes_nothing_is_no_entry(client, source):
    client.register_model(source, "churn")
    client.set_registered_model_alias("churn", "champion", 1)
    before = client.get_model_history("churn")
    client.set_registered_model_alias("churn", "champion", 1)
    client.rename_registered_model("churn", "churn")
    assert client.get_model_history("churn") == before


def test_comments_stand_in_order_and_belong_to_their_writers(client, source, somebody):
    client.register_model(source, "churn")
    first = client.create_model_version_comment("churn", 1, "too low in the south")
    ann = somebody("ann")
    second = ann.create_model_version_comment("churn", 1, "seen")
    client.update_model_version_comment("churn", 1, first.comment_id, "too low in the north")
    found = client.get_model_version_comments("churn", 1)
    assert [(one.comment_id, one.text) for one in found] == [("1", "too low in the north"), ("2", "seen")]
    assert found[1].user_id == "ann" == second.user_id
    with pytest.raises(NotAllowed, match="a person changes only their own"):
        ann.delete_model_version_comment("churn", 1, "1")
    client.delete_model_version_comment("churn", 1, "1")
    assert [one.text for one in client.get_model_version_comments("churn", 1)] == ["seen"]
    assert client.create_model_version_comment("churn", 1, "third").comment_id == "3"
    assert ("too low in the south", "too low in the north") in told(client, "churn", "before", "after")


# -- requests --------------------------------------------------------------------------------------------------------------


def test_a_request_is_approved_by_somebody_else(client, source, somebody):
    for _ in range(2):
        client.register_model(source, "churn")
    client.transition_model_version_stage("churn", 1, "Production")
    asked = client.request_transition("churn", 2, "Production", archive_existing_versions=True, comment="better")
    assert (asked.stage, asked.version, asked.comment) == ("Production", "2", "better")
    with pytest.raises(AlreadyExists, match="waits to be moved to Production already"):
        client.request_transition("churn", 2, "production")
    with pytest.raises(NotAllowed, match="somebody else approves it"):
        client.approve("churn", 2)
    assert client.get_transition_requests("churn") == [asked]
    client.register_model(source, "fraud")
    other = client.request_transition("fraud", 1, "Staging")
    assert client.get_transition_requests() == [asked, other]
    client.delete_registered_model("fraud")
    assert client.get_transition_requests() == [asked]
    ann = somebody("ann")
    assert ann.approve("churn", 2, comment="seen the report").current_stage == "Production"
    assert client.get_model_version("churn", 1).current_stage == "Archived"
    assert client.get_transition_requests("churn") == []
    last = [one for one in client.get_model_history("churn") if one.what in ("request", "stage")][-3:]
    assert [(one.user_id, one.what, one.before, one.after, one.comment) for one in last] == [
        ("ann", "request", "pending", "approved", "seen the report"),
        ("ann", "stage", "Production", "Archived", "seen the report"),
        ("ann", "stage", None, "Production", "seen the report"),
    ]
    assert last[0].details == {"answer": "approved", "asked_by": asked.user_id}
    with pytest.raises(NotFound, match="Nobody has asked to move version 1"):
        ann.approve("churn", 1)


def test_a_rejected_request_moves_nothing_and_may_be_asked_again(client, source, somebody):
    client.register_model(source, "churn")
    client.request_transition("churn", 1, "Staging")
    client.request_transition("churn", 1, "Production")
    ann = somebody("ann")
    with pytest.raises(InvalidInput, match="waits for Production and Staging: say which"):
        ann.reject("churn", 1)
    assert ann.reject("churn", 1, "Production", comment="not yet").current_stage == "None"
    assert [one.stage for one in client.get_transition_requests("churn", 1)] == ["Staging"]
    assert client.request_transition("churn", 1, "Production").stage == "Production"
    with pytest.raises(InvalidInput, match="is in None already"):
        client.request_transition("churn", 1, "None")


def test_a_request_is_closed_by_the_move_itself(client, source):
    client.register_model(source, "churn")
    client.request_transition("churn", 1, "Staging")
    client.request_transition("churn", 1, "Production")
    client.transition_model_version_stage("churn", 1, "Staging")
    assert [one.stage for one in client.get_transition_requests()] == ["Production"]
    [told] = [one for one in client.get_model_history("churn") if one.what == "request" and one.after != "pending"]
    assert (told.key, told.after) == ("Staging", "done")


def test_what_somebody_else_takes_back_at_once_is_answered_all_the_same(client, source, monkeypatch):
    client.register_model(source, "churn")
    change = Registry.change

    def taken_back(self, name, drafts):
        made = change(self, name, drafts)
        monkeypatch.undo()
        if made[0].what == "comment":
            client.delete_model_version_comment(name, 1, made[0].key)
        else:
            client.reject(name, 1)
        return made

    monkeypatch.setattr(Registry, "change", taken_back)
    assert client.create_model_version_comment("churn", 1, "hm").text == "hm"
    monkeypatch.setattr(Registry, "change", taken_back)
    assert client.request_transition("churn", 1, "Staging").stage == "Staging"
    assert client.get_model_version_comments("churn", 1) == client.get_transition_requests() == []


# -- integrity -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["changed", "added", "removed", "requirements", "gone"])
def test_a_changed_model_is_refused(client, source, change):
    client.register_model(source, "churn")
    ml.set_tracking_uri(client.tracking_uri)
    assert answers("models:/churn/1") == [1.0, 1.0]
    pyfunc.load_model("models:/churn/1")
    model = next(source.glob("model.*"))
    if change == "changed":
        model.write_bytes(model.read_bytes() + b" ")
    elif change == "added":
        (source / "more.txt").write_text("x")
    elif change == "removed":
        model.unlink()
    elif change == "requirements":
        (source / "requirements.txt").write_text("evil==1.0\n")
    else:
        source.rename(source.with_name("elsewhere"))
    expected = "nothing is there any more" if change == "gone" else "is not what was registered"
    for load in (
        answers,
        lambda uri: client.verify_model_version("churn", 1),
        lambda uri: client.copy_model_version(uri, "b"),
    ):
        with pytest.raises(IntegrityError, match=expected):
            load("models:/churn/1")
    # the path itself is nobody's promise
    assert change in ("removed", "gone") or pyfunc.load_model(source).predict(FRAME).tolist() == [1.0, 1.0]


def test_bytecode_and_a_download_change_no_digest(client, source, tmp_path):
    made = client.register_model(source, "churn")
    (source / "__pycache__").mkdir()
    (source / "__pycache__" / "x.pyc").write_bytes(b"1")
    (source / "registered_model_meta").write_text("x")
    client.verify_model_version("churn", 1)
    copy = client.fetch_version(made, tmp_path / "copy")
    assert client.register_model(copy, "churn").digest == made.digest


def test_bytecode_beside_a_models_code_is_not_run(client, tmp_path):
    import py_compile

    import numpy as np

    code = tmp_path / "helpers_of_z.py"
    code.write_text("def one(rows):\n    return [1.0] * len(rows)\n")
    (tmp_path / "model_z.py").write_text(
        "from sparkml_lifecycle import models\nfrom sparkml_lifecycle.pyfunc import PythonModel\n"
        "class Z(PythonModel):\n    def predict(self, context, model_input, params=None):\n"
        "        import helpers_of_z\n        return helpers_of_z.one(model_input)\n"
        "models.set_model(Z())\n"
    )
    pyfunc.save_model(tmp_path / "z", python_model=str(tmp_path / "model_z.py"), code_paths=[code], allow_code=True)
    client.register_model(tmp_path / "z", "z")
    ml.set_tracking_uri(client.tracking_uri)
    evil = tmp_path / "evil.py"
    evil.write_text("def one(rows):\n    return [6.0] * len(rows)\n")
    there = tmp_path / "z" / "code" / "helpers_of_z.py"
    (there.parent / "__pycache__").mkdir(exist_ok=True)
    import importlib.util

    cached = importlib.util.cache_from_source(str(there))
    py_compile.compile(str(evil), cached, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    model = pyfunc.load_model("models:/z/1", allow_code=True)
    assert np.asarray(model.predict(FRAME)).tolist() == [1.0, 1.0]


def test_a_version_of_a_name_that_was_used_before_has_its_own_history(client, source):
    client.register_model(source, "churn")
    client.set_registered_model_alias("churn", "champion", 1, comment="the old one")
    client.delete_registered_model("churn")
    client.register_model(source, "churn")
    assert [one.what for one in client.get_model_history("churn", 1)] == ["version"]
    assert "the old one" in [one.comment for one in client.get_model_history("churn")]


def test_a_clock_that_goes_wrong_keeps_the_order_of_changes(client, source, monkeypatch):
    from datetime import timedelta

    for _ in range(3):
        client.register_model(source, "churn")
    writer = client.store.lake.writer
    for version, minutes in ((1, 10), (2, 20), (3, 5)):
        monkeypatch.setattr(writer, "clock", lambda minutes=minutes: datetime.now(UTC) + timedelta(minutes=minutes))
        client.transition_model_version_stage("churn", version, "Production", archive_existing_versions=True)
    moments = [one.timestamp for one in client.get_model_history("churn")]
    assert moments == sorted(moments)
    for minutes in range(0, 30, 1):
        model = client.registry.find("churn", as_of=datetime.now(UTC) + timedelta(minutes=minutes))
        assert len(model.holders("Production")) <= 1


def test_a_download_goes_beside_what_is_there(client, source, tmp_path):
    client.register_model(source, "churn")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "other.txt").write_text("x")
    there = client.resolve("models:/churn/1", tmp_path / "full")
    assert (there / "other.txt").exists()
    assert (there / "MLmodel").exists()


def another(client):
    """A client as of another process."""
    other = LifecycleClient(client.tracking_uri)
    other._store = TrackingStore(Lake(client.tracking_uri))
    return other


@pytest.mark.parametrize("remove", [maintenance.collect, maintenance.purge])
def test_a_run_that_another_process_removed_for_good_is_said_to_be_so_and_registers_nothing(client, source, remove):
    _, run_id = log_mean(client, 2.0)
    other = another(client)
    other.delete_run(run_id)
    remove(other, *([[run_id]] if remove is maintenance.purge else []))
    client.create_registered_model("churn")
    for place, of_run in ((f"runs:/{run_id}/model", None), (f"runs:/{run_id}/model", run_id), (source, run_id)):
        with pytest.raises(NotFound, match=f"{run_id}.*removed for good|no run '{run_id}'"):
            client.create_model_version("churn", place, of_run)
    assert client.get_latest_versions("churn") == []


def test_a_run_that_was_brought_back_elsewhere_is_registered_from_there(client):
    _, run_id = log_mean(client, 2.0)
    other = another(client)
    runs = other._store.lake.table(RunRow)
    [row] = runs.latest(Where({"run_id": [run_id]}))
    elsewhere = other.create_experiment("elsewhere")
    maintenance.purge(other, [run_id])
    place = f"artifacts/{elsewhere}/{run_id}/artifacts"
    runs.append([replace(row, experiment_id=elsewhere, location=place)])
    save_mean(f"{client.tracking_uri}/{place}/model", 3.0)
    made = client.register_model(f"runs:/{run_id}/model", "churn")
    assert made.source == f"{client.tracking_uri}/{place}/model"
    assert answers("models:/churn/1") == [3.0, 3.0]
