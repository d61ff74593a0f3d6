"""Upkeep of a lake, removal and erasure: what goes, what stays, and what happens when they are killed or meet one another."""

import shutil
import time
from datetime import UTC, datetime, timedelta

import pyarrow.parquet as pq
import pytest

import sparkml_lifecycle as ml
from sparkml_lifecycle import maintenance, uris
from sparkml_lifecycle.client import LifecycleClient, integrity
from sparkml_lifecycle.entities import ViewType
from sparkml_lifecycle.errors import IntegrityError, InvalidInput, NotFound
from sparkml_lifecycle.lake import Lake, compaction
from sparkml_lifecycle.lake.files import small_files
from sparkml_lifecycle.maintenance import Removed
from sparkml_lifecycle.tracking.store import TrackingStore
from sparkml_lifecycle.tracking.tables import MetricRow
from tests.registry.models import FRAME, log_mean, save_mean
from tests.tracking import faults

SECRETS = ("zebrakey", "zebravalue", "zebratag", "zebrametric", "zebraname", "zebradata", "zebrafile", "zebradir")


@pytest.fixture
def client(tmp_path):
    client = LifecycleClient(tmp_path / "lake")
    yield client
    client.close()


def versions(client):
    handles = {kind.TABLE: client.lake.table(kind).snapshot(fresh=True).handle for kind in maintenance.TABLES}
    return {name: handle.version() for name, handle in handles.items() if handle is not None}


def run_with_points(client, experiment, name, count=3):
    run_id = client.create_run(experiment, run_name=name).info.run_id
    for step in range(count):
        client.log_metric(run_id, "m", float(step), step=step, synchronous=True)
    client.log_param(run_id, "name", name)
    client.log_text(run_id, name, "deep/note.txt")
    client.flush()
    return run_id


def holding(lake, *words):
    """The files of a lake that hold one of the words, with what Parquet compresses read out."""
    found = []
    for path in lake.rglob("*"):
        raw = str(path.relative_to(lake)).encode()
        if path.is_file():
            raw += path.read_bytes()
            if path.suffix == ".parquet":
                raw += str(pq.read_table(path).to_pydict()).encode()
        found += [(path, word) for word in words if word.encode() in raw]
    return found


# -- maintain --------------------------------------------------------------------------------------------------------------


def test_upkeep_says_what_each_table_gained_and_a_second_one_does_nothing(client):
    assert maintenance.maintain(client.lake) == []
    run_with_points(client, client.create_experiment("e"), "a", count=12)
    before = client.lake.table("metrics").to_arrow()
    first = {one.table: one for one in maintenance.maintain(client.lake, 0)}
    assert list(first) == ["experiments", "runs", "params", "tags", "metrics", "latest_metrics"]
    assert (first["metrics"].live_before, first["metrics"].live_after) == (12, 1)
    assert first["metrics"].bytes_before > 12 * 1000
    assert first["metrics"].log_before == 13
    at = versions(client)
    for one in maintenance.maintain(client.lake, 0):
        assert (one.live_after, one.log_after, one.bytes_after) == (one.live_before, one.log_before, one.bytes_before)
    assert versions(client) == at
    after = client.lake.table("metrics").to_arrow()
    assert after.sort_by("step").equals(before.sort_by("step"))


def test_upkeep_leaves_a_file_alone_that_a_writer_may_be_about_to_commit(client, tmp_path):
    run_with_points(client, client.create_experiment("e"), "a")
    under_way = tmp_path / "lake/metrics/part-00000-under-way.snappy.parquet"
    under_way.write_bytes(b"half")
    time.sleep(0.01)
    maintenance.maintain(client.lake, retention_hours=0)
    assert under_way.exists()
    assert len(list((tmp_path / "lake/metrics").glob("*.parquet"))) == 2


def test_two_upkeeps_at_once_beside_writers_lose_nothing(tmp_path):
    faults.crowd(str(tmp_path / "lake"), 4, compactors=2, writers=2, upkeep="maintain-for")


# -- collect ---------------------------------------------------------------------------------------------------------------


def test_only_what_is_deleted_for_long_enough_is_removed_and_a_dry_run_says_so(client, tmp_path):
    experiment = client.create_experiment("e")
    kept, gone = run_with_points(client, experiment, "kept"), run_with_points(client, experiment, "gone")
    client.delete_run(gone)
    at = versions(client)
    for age in (timedelta(hours=1), timedelta.max):
        assert maintenance.collect(client, older_than=age) == Removed()
    assert maintenance.collect(client, dry_run=True) == Removed((gone,), (), len("gone"))
    assert versions(client) == at
    assert client.get_run(gone).info.lifecycle_stage == "deleted"
    assert maintenance.collect(client) == Removed((gone,), (), len("gone"))
    assert not (tmp_path / f"lake/artifacts/1/{gone}").exists()
    for call in (client.get_run, client.restore_run, client.delete_run, client.artifact_uri):
        with pytest.raises(NotFound, match="removed for good"):
            call(gone)
    assert [run.info.run_id for run in client.search_runs([experiment], run_view_type=ViewType.ALL)] == [kept]
    assert client.list_artifacts(kept, "deep")[0].file_size == len("kept")
    assert maintenance.collect(client) == Removed()


def test_an_experiment_goes_with_its_runs_and_its_name_is_free_again(client, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    experiment = client.create_experiment("e", artifact_location=str(elsewhere))
    run_id = run_with_points(client, experiment, "a")
    assert list(elsewhere.rglob("note.txt"))
    client.delete_experiment(experiment)
    before = datetime.now(UTC)
    assert maintenance.collect(client) == Removed((run_id,), (experiment,), 1)
    assert not list(elsewhere.iterdir())
    with pytest.raises(NotFound):
        client.get_experiment(experiment)
    assert client.get_experiment_by_name("e") is None
    assert client.create_experiment("e") == "2"
    assert client.search_runs(["2"], run_view_type=ViewType.ALL) == []
    assert client.get_run(run_id, as_of=before).data.params == {"name": "a"}


@pytest.mark.parametrize("below", ["mine", "artifacts/mine/", ""])
def test_collecting_in_a_copy_leaves_the_originals_artifacts(client, tmp_path, below):
    experiment = client.create_experiment("e", artifact_location=f"{tmp_path}/lake/{below}")
    run_id = run_with_points(client, experiment, "a")
    client.delete_run(run_id)
    shutil.copytree(tmp_path / "lake", tmp_path / "copy")
    copy = LifecycleClient(tmp_path / "copy")
    assert copy.get_run(run_id).info.artifact_uri == uris.join(f"{tmp_path}/copy", below, run_id, "artifacts")
    assert maintenance.collect(copy) == Removed((run_id,), (), 1)
    assert not list((tmp_path / "copy").rglob("note.txt"))
    assert client.download_artifacts(run_id, "deep/note.txt").startswith(f"{tmp_path}/lake/")
    copy.close()


def test_a_run_that_was_restored_is_not_removed(client):
    run_id = run_with_points(client, client.create_experiment("e"), "a")
    client.delete_run(run_id)
    LifecycleClient(client.tracking_uri).restore_run(run_id)
    assert maintenance.collect(client) == Removed()
    assert client.get_run(run_id).data.metrics == {"m": 2.0}


def test_a_collection_killed_half_way_is_finished_by_the_next(tmp_path):
    faults.killed_collections(str(tmp_path / "lake"), 3)


# -- purge -----------------------------------------------------------------------------------------------------------------


def log_secrets(client, experiment):
    run_id = client.create_run(experiment, run_name="zebraname").info.run_id
    client.log_metric(run_id, "zebrametric", 1.0, synchronous=True)
    client.log_metric(run_id, "m", -100.0, synchronous=True)
    client.log_metric(run_id, "m", 100.0, step=1, synchronous=True)
    client.log_param(run_id, "zebrakey", "zebravalue")
    client.set_tag(run_id, "zebratag", "zebravalue")
    client.log_text(run_id, "zebravalue", "zebradir/zebrafile.txt")
    client.log_inputs(run_id, [ml.entities.DatasetInput(ml.entities.Dataset("zebradata", "1", "code", "{}"))])
    client.set_terminated(run_id)
    return run_id


def test_nothing_on_the_storage_says_anything_of_a_purged_run(client, tmp_path):
    lake = tmp_path / "lake"
    experiment = client.create_experiment("e")
    other = run_with_points(client, experiment, "other")
    run_id = log_secrets(client, experiment)
    before = datetime.now(UTC)
    client.log_metric(other, "m", 9.0, step=9)
    client.flush()
    maintenance.maintain(client.lake)
    client.log_metric(run_id, "zebrametric", 2.0, step=1, synchronous=True)
    # what a compaction leaves that was killed before its commit
    source = next(path for path, _ in holding(lake / "metrics", run_id) if path.suffix == ".parquet")
    leftover = source.with_name("part-00000-killed-c000.zstd.parquet")
    leftover.write_bytes(source.read_bytes())
    assert {word for _, word in holding(lake, run_id, *SECRETS)} == {run_id, *SECRETS}
    whole = client.get_run(other)

    erased = maintenance.purge(client, [run_id])
    assert (erased.runs, erased.artifact_bytes) == ((run_id,), len("zebravalue"))
    assert erased.rows >= 4 + 1 + 2 + 1 + 2
    assert holding(lake, run_id, *SECRETS) == []
    assert leftover.exists() is False

    for fresh in (client, LifecycleClient(lake)):
        with pytest.raises(NotFound):
            fresh.get_run(run_id)
        assert fresh.get_run(other) == whole
        assert [run.info.run_id for run in fresh.search_runs([experiment], run_view_type=ViewType.ALL)] == [other]
        assert fresh.search_runs([experiment], "metrics.m.min < 0 or metrics.m.max > 50") == []
        assert [(one.smallest, one.largest, one.last) for one in fresh.get_metric_summaries(other)] == [(0.0, 9.0, 9.0)]
        assert [point.step for point in fresh.get_metric_history(other, "m")] == [0, 1, 2, 9]
        then = fresh.search_runs([experiment], as_of=before)
        assert [(run.info.run_id, run.data.metrics) for run in then] == [(other, {"m": 2.0})]
    with pytest.raises(NotFound, match=f"nothing of {run_id}"):
        maintenance.purge(client, [run_id])
    client.log_metric(other, "m", 10.0, step=10)
    assert client.get_run(other).data.metrics == {"m": 10.0}


@pytest.mark.parametrize("folded", [False, True])
def test_a_compaction_that_had_read_a_run_when_it_was_purged_leaves_nothing_of_it(client, tmp_path, folded):
    run_id = log_secrets(client, client.create_experiment("e"))
    other = run_with_points(client, "1", "other")
    points = client.lake.table(MetricRow)
    if folded:
        points.compact()
        run_with_points(client, "1", "third")
    slow = []

    def keep(content):
        # another process purges the run while this one holds its rows
        if not slow:
            slow.append(maintenance.purge(client, [run_id]))
        return content

    compaction.rewrite(compaction.Content(points.storage, MetricRow), small_files, keep, points.summing)
    assert slow[0].runs == (run_id,)
    assert holding(tmp_path / "lake", run_id, *SECRETS) == []
    assert client.get_run(other).data.metrics == {"m": 2.0}
    assert not points.uncovered(points.snapshot(), points.covered())


def test_the_process_that_made_a_run_says_that_another_one_purged_it(client, tmp_path):
    store = TrackingStore(Lake(tmp_path / "lake"))
    run_id = store.create_run(store.experiments.create("e"), "a").info.run_id
    store.log_metric(run_id, "m", 1.0)
    store.flush()
    maintenance.purge(client, [run_id])
    calls = (store.get_run, store.metric_summaries, store.require_active, store.update_run)
    for call in (*calls, lambda run_id: store.metric_history(run_id, "m")):
        with pytest.raises(NotFound, match="There is no run"):
            call(run_id)
    store.close()


def test_several_runs_are_purged_and_one_that_is_named_twice_once(client, tmp_path):
    experiment = client.create_experiment("e")
    runs = [run_with_points(client, experiment, f"zebra{number}") for number in range(3)]
    client.delete_run(runs[0])
    maintenance.collect(client)
    erased = maintenance.purge(client, [*runs[:2], runs[0]])
    assert erased.runs == tuple(runs[:2])
    assert holding(tmp_path / "lake", *runs[:2], "zebra0", "zebra1") == []
    assert [run.info.run_name for run in client.search_runs([experiment])] == ["zebra2"]


def test_a_purge_finishes_what_a_killed_one_left(client, tmp_path, monkeypatch):
    run_id = log_secrets(client, client.create_experiment("e"))
    other = run_with_points(client, "1", "other")
    # killed when the rows are gone from the tables, and the files that held them are still there
    with monkeypatch.context() as killed:
        killed.setattr(maintenance.upkeep, "vacuum", lambda *_, **__: None)
        killed.setattr(maintenance.upkeep, "_drop_uncommitted", lambda *_: None)
        killed.setattr(maintenance.upkeep.log, "clean", lambda *_, **__: 0)
        maintenance.purge(client, [run_id])
    assert holding(tmp_path / "lake", run_id)
    with pytest.raises(NotFound):
        maintenance.purge(client, [run_id])
    assert holding(tmp_path / "lake", run_id, *SECRETS) == []
    assert client.get_run(other).data.metrics == {"m": 2.0}


def test_two_purges_at_once_beside_a_writer_take_their_runs_only(tmp_path):
    faults.purged_side_by_side(str(tmp_path / "lake"), 1)


# -- registered models -----------------------------------------------------------------------------------------------------


def registered(client, tmp_path):
    """A deleted run with a registered model and another file in it; gives the run's id and the version."""
    _, run_id = log_mean(client, 2.0, "pinned", registered_model_name="churn")
    client.log_text(run_id, "x" * 1000, "notes/n.txt")
    client.delete_run(run_id)
    return run_id, client.get_model_version("churn", 1)


def test_a_run_that_a_registered_version_came_from_stays_until_the_version_is_deleted(client, tmp_path):
    run_id, version = registered(client, tmp_path)
    experiment = client.get_run(run_id).info.experiment_id
    client.delete_experiment(experiment)
    other = run_with_points(client, client.create_experiment("other"), "gone")
    client.delete_run(other)
    dry = maintenance.collect(client, dry_run=True)
    removed = maintenance.collect(client)
    assert (removed.runs, removed.experiments, removed.kept) == ((other,), (), {run_id: "models:/churn/1"})
    assert dry == removed
    client.verify_model_version("churn", 1)
    ml.set_tracking_uri(client.tracking_uri)
    assert ml.pyfunc.load_model("models:/churn/1").predict(FRAME).tolist() == [2.0, 2.0]
    # with its params and metrics, which gates and cards ask for
    assert client.get_run(run_id).data.params == {"value": "2.0"}
    client.delete_model_version("churn", 1)
    assert maintenance.collect(client).runs == (run_id,)
    assert maintenance.collect(client).experiments == ()
    with pytest.raises(IntegrityError, match="nothing is there any more"):
        client.fetch_version(version)


@pytest.mark.parametrize("who", ["the version", "the purge"])
def test_who_registers_a_run_while_it_is_purged_is_refused_or_refuses(client, tmp_path, monkeypatch, who):
    _, run_id = log_mean(client, 2.0, "pinned")
    remove, refused = TrackingStore.remove_runs, []

    def registered_meanwhile(self, run_ids):
        if who == "the version":
            client.register_model(f"runs:/{run_id}/model", "churn")
        remove(self, run_ids)
        if who == "the purge":
            with pytest.raises(NotFound, match="removed for good"):
                client.register_model(f"runs:/{run_id}/model", "churn")
            refused.append(run_id)

    monkeypatch.setattr(TrackingStore, "remove_runs", registered_meanwhile)
    if who == "the version":
        with pytest.raises(InvalidInput, match="models:/churn/1 has its files in the run"):
            maintenance.purge(client, [run_id])
        monkeypatch.undo()
        assert client.get_run(run_id).info.lifecycle_stage == "active"
        client.verify_model_version("churn", 1)
    else:
        maintenance.purge(client, [run_id])
        assert refused
        assert client.search_model_versions() == []


def test_a_run_that_a_version_needs_is_not_purged(client, tmp_path):
    run_id, _ = registered(client, tmp_path)
    with pytest.raises(InvalidInput, match=f"models:/churn/1 has its files in the run {run_id}"):
        maintenance.purge(client, [run_id])
    client.verify_model_version("churn", 1)
    client.delete_registered_model("churn")
    assert maintenance.purge(client, [run_id]).runs == (run_id,)


def test_a_model_of_a_run_that_is_being_collected_is_not_registered(client, tmp_path, monkeypatch):
    uri, run_id = log_mean(client, 2.0, "pinned")
    client.delete_run(run_id)
    taken = integrity.taken

    def collected_meanwhile(*arguments):
        found = taken(*arguments)
        with monkeypatch.context() as patched:
            # its mark is there, and its files go a moment later
            patched.setattr(maintenance, "_delete", lambda *_: 0)
            maintenance.collect(client)
        return found

    monkeypatch.setattr(integrity, "taken", collected_meanwhile)
    with pytest.raises(NotFound, match="was removed"):
        client.register_model(uri, "churn")
    assert client.search_model_versions() == []


def test_the_registry_is_maintained_like_every_table(client, tmp_path):
    source = save_mean(tmp_path / "saved", 1.0)
    for number in range(12):
        client.register_model(source, "churn")
        client.set_registered_model_alias("churn", "champion", number + 1)
    before = client.get_model_history("churn")
    [done] = [one for one in maintenance.maintain(client.lake, 0) if one.table == "registry"]
    assert done.live_after == 1
    assert LifecycleClient(client.tracking_uri).get_model_history("churn") == before
    assert client.get_version_of("models:/churn@champion").version == "12"
