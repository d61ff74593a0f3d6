import math
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparkml_lifecycle.entities import LifecycleStage, Metric, ViewType
from sparkml_lifecycle.errors import AlreadyExists, InvalidInput, NotFound, StorageError
from sparkml_lifecycle.lake import Change
from sparkml_lifecycle.lake.order import uuid7
from sparkml_lifecycle.tracking.finding import Query
from sparkml_lifecycle.tracking.tables import ExperimentRow, MetricRow, RunRow

ROOT = Path(__file__).parents[2]


def in_a_process(what, uri, *arguments):
    command = [sys.executable, "-m", "tests.tracking.workers", what, str(uri), *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def names_found(store, text, order_by=("run_name asc",), **more):
    ids = [one.experiment_id for one in store.experiments.search(ViewType.ALL, None, (), 1000, None)]
    return [run.info.run_name for run in store.search_runs(Query(ids, text, order_by=order_by, **more))]


def test_what_a_run_logs_is_read_back_here_and_elsewhere(store, open_lake):
    experiment_id = store.experiments.create("churn")
    run = store.create_run(experiment_id, "gbm", {"team": "crm"})
    run_id = run.info.run_id
    store.log_params(run_id, {"depth": 6, "rate": 0.1}.items())
    for step, value in enumerate((0.5, 0.9, math.nan)):
        store.log_metric(run_id, "auc", value, step=step, timestamp=1_700_000_000_000 + step)
    store.log_metric(run_id, "loss", math.inf)
    store.update_run(run_id, "FINISHED")
    for one in (store, open_lake()):
        found = one.get_run(run_id)
        assert found.info.status == "FINISHED"
        assert found.info.end_time >= found.info.start_time > 1_700_000_000_000
        assert found.info.artifact_uri.endswith(f"/lake/artifacts/{experiment_id}/{run_id}/artifacts")
        assert found.data.params == {"depth": "6", "rate": "0.1"}
        assert found.data.tags == {"team": "crm", "mlflow.runName": "gbm"}
        assert math.isnan(found.data.metrics["auc"])
        assert found.data.metrics["loss"] == math.inf
        history = one.metric_history(run_id, "auc")
        assert [(m.step, m.timestamp) for m in history] == [(n, 1_700_000_000_000 + n) for n in range(3)]
        assert history[1].value == 0.9
        assert math.isnan(history[2].value)


def test_the_last_value_of_a_metric_has_the_largest_step_time_and_value(store):
    run_id = store.create_run(store.experiments.create("e")).info.run_id
    for value, timestamp, step in ((9.0, 9, 1), (1.0, 5, 2), (3.0, 4, 2), (2.0, 5, 2), (math.nan, 5, 2)):
        store.log_metric(run_id, "m", value, timestamp, step)
    assert store.get_run(run_id).data.metrics == {"m": 2.0}


def test_searches_find_what_they_say(store):
    experiment_id = store.experiments.create("e")
    for name, auc, depth in (
        ("a", 0.7, "6"),
        ("b", 0.9, "7"),
        ("c", math.nan, "6"),
        ("d", math.inf, None),
        ("e", None, "it's 100%"),
    ):
        run_id = store.create_run(experiment_id, name, {"team": name * 2}).info.run_id
        if auc is not None:
            store.log_metric(run_id, "auc", 0.0, step=0)
            store.log_metric(run_id, "auc", auc, step=1)
        if depth is not None:
            store.log_params(run_id, [("depth", depth)])
    store.update_run(run_id, "FINISHED")
    assert names_found(store, "metrics.auc > 0.5") == ["a", "b", "d"]
    assert names_found(store, "metrics.auc >= 0.9") == ["b", "d"]
    assert names_found(store, "metrics.auc < 0.9") == ["a"]
    assert names_found(store, "metrics.auc != 0.9") == ["a", "c", "d"]
    assert names_found(store, "metrics.auc IS NOT NULL") == ["a", "b", "c", "d"]
    assert names_found(store, "metrics.auc IS NULL") == ["e"]
    assert names_found(store, "params.depth = '6' and metrics.auc > 0") == ["a"]
    assert names_found(store, "params.depth != '6'") == ["b", "e"]
    assert names_found(store, "params.depth = 'it''s 100%'") == ["e"]
    assert names_found(store, "params.depth LIKE '%S 1%'") == []
    assert names_found(store, "params.depth ILIKE '%S 1%'") == ["e"]
    assert names_found(store, "tags.team IN ('aa', 'bb')") == ["a", "b"]
    assert names_found(store, "tags.team NOT IN ('aa', 'bb')") == ["c", "d", "e"]
    assert names_found(store, "status = 'FINISHED'") == ["e"]
    assert names_found(store, "run_name LIKE '_' and start_time > 1700000000000") == list("abcde")
    assert names_found(store, "end_time IS NULL") == list("abcd")
    assert names_found(store, "", order_by=["metrics.auc desc"]) == ["d", "b", "a", "e", "c"]
    assert names_found(store, "", order_by=["metrics.auc asc", "run_name"])[:3] == ["a", "b", "d"]
    assert names_found(store, "", order_by=()) == list("edcba")


def test_pages_give_every_run_once(store):
    experiment_id = store.experiments.create("e")
    for number in range(7):
        store.create_run(experiment_id, str(number))
    seen, token = [], None
    while True:
        page = store.search_runs(Query([experiment_id], max_results=3, page_token=token))
        seen += [run.info.run_name for run in page]
        token = page.token
        if token is None:
            break
    assert seen == list("6543210")
    first = store.search_runs(Query([experiment_id], max_results=3))
    with pytest.raises(InvalidInput, match="another search"):
        store.search_runs(Query([experiment_id], "status = 'FINISHED'", max_results=3, page_token=first.token))
    with pytest.raises(InvalidInput, match="not one"):
        store.search_runs(Query([experiment_id], page_token="abc"))
    with pytest.raises(InvalidInput, match="max_results"):
        store.search_runs(Query([experiment_id], max_results=0))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=40), number=st.floats(allow_nan=False))
def test_a_value_is_found_by_itself(store, text, number):
    experiment_id = store.experiments.create(uuid7())
    run_id = store.create_run(experiment_id, "it", {"k": text}).info.run_id
    store.create_run(experiment_id, "other", {"k": text + "!"})
    store.log_metric(run_id, "m", number)
    quoted = text.replace("'", "''")
    found = store.search_runs(Query([experiment_id], f"tags.k = '{quoted}' and metrics.m = {number!r}"))
    assert [run.info.run_name for run in found] == ["it"]
    assert found[0].data.tags["k"] == text
    assert found[0].data.metrics["m"] == number


def test_params_never_change(store, open_lake):
    run_id = store.create_run(store.experiments.create("e")).info.run_id
    store.log_params(run_id, [("depth", 6)])
    store.log_params(run_id, [("depth", "6")])
    with pytest.raises(InvalidInput, match="never change"):
        store.log_params(run_id, [("new", 1), ("depth", 7)])
    with pytest.raises(InvalidInput, match="never change"):
        store.log_params(run_id, [("twice", 1), ("twice", 2)])
    store.flush()
    with pytest.raises(InvalidInput, match="never change"):
        open_lake().log_params(run_id, [("depth", 8)])
    assert store.get_run(run_id).data.params == {"depth": "6"}


def test_a_param_that_another_process_logged_meanwhile_is_refused(open_lake):
    mine, other = open_lake(flush_seconds=0.05), open_lake()
    run_id = mine.create_run(mine.experiments.create("e")).info.run_id
    mine.log_params(run_id, [("a", 1)])
    mine.flush()
    other.log_params(run_id, [("rate", 0.1)], synchronous=True)
    time.sleep(0.1)
    with pytest.raises(InvalidInput, match=r"'rate' of run .* has the value '0.1' and cannot become '0.9'"):
        mine.log_params(run_id, [("new", 1), ("rate", 0.9)])
    assert mine.get_run(run_id).data.params == {"a": "1", "rate": "0.1"}


def test_a_lake_that_cannot_be_reached_holds_up_no_param(open_lake, tmp_path):
    store = open_lake(flush_seconds=0.05)
    run_id = store.create_run(store.experiments.create("e")).info.run_id
    store.log_params(run_id, [("a", 1)])
    store.flush()
    time.sleep(0.1)
    (tmp_path / "lake/params/_delta_log").rename(tmp_path / "away")
    (tmp_path / "lake/params/_delta_log").write_text("no directory")
    store.log_params(run_id, [("b", 2)])
    (tmp_path / "lake/params/_delta_log").unlink()
    (tmp_path / "away").rename(tmp_path / "lake/params/_delta_log")
    assert store.get_run(run_id).data.params == {"a": "1", "b": "2"}


@pytest.mark.parametrize("key", ["", "a" * 251, "../x", "/a", "a//b", "a/./b", "a\nb", "a'b", "x;y"])
def test_bad_keys_are_refused(store, key):
    run_id = store.create_run(store.experiments.create("e")).info.run_id
    for log in (
        lambda: store.log_metric(run_id, key, 1.0),
        lambda: store.log_params(run_id, [(key, 1)]),
        lambda: store.set_tags(run_id, [(key, 1)]),
    ):
        with pytest.raises(InvalidInput, match="key"):
            log()


def test_values_that_are_too_long_or_no_numbers_are_refused(store):
    run_id = store.create_run(store.experiments.create("e")).info.run_id
    store.log_params(run_id, [("p", "x" * 6000)])
    store.set_tags(run_id, [("t", "x" * 8000)])
    for bad in (
        lambda: store.log_params(run_id, [("q", "x" * 6001)]),
        lambda: store.set_tags(run_id, [("u", "x" * 8001)]),
        lambda: store.set_tags(run_id, [("u", "\ud800")]),
        lambda: store.set_tags(run_id, [("u", 1), ("mlflow.runName", "")]),
        lambda: store.log_metric(run_id, "m", "high"),
        lambda: store.log_metric(run_id, "m", 1.0, step=2**63),
        lambda: store.log_metric(run_id, "m", 1.0, timestamp="now"),
        lambda: store.experiments.create("x" * 501),
        lambda: store.experiments.create(" "),
        lambda: store.update_run(run_id, "DONE"),
    ):
        with pytest.raises(InvalidInput):
            bad()
    assert store.get_run(run_id).data.params == {"p": "x" * 6000}
    assert store.get_run(run_id).data.tags == {"t": "x" * 8000, "mlflow.runName": f"run-{run_id[-8:]}"}


def test_a_deleted_run_is_hidden_refuses_values_and_comes_back(store):
    experiment_id = store.experiments.create("e")
    run_id = store.create_run(experiment_id, "r").info.run_id
    store.update_run(run_id, stage="deleted")
    assert names_found(store, "") == []
    assert names_found(store, "", view=ViewType.DELETED_ONLY) == ["r"]
    assert names_found(store, "", view=ViewType.ALL) == ["r"]
    with pytest.raises(InvalidInput, match="deleted"):
        store.log_metric(run_id, "m", 1.0)
    store.update_run(run_id, stage="active")
    store.log_metric(run_id, "m", 1.0)
    assert names_found(store, "metrics.m = 1") == ["r"]


def test_tags_change_and_go(store):
    run_id = store.create_run(store.experiments.create("e"), "old").info.run_id
    store.set_tags(run_id, [("a", 1), ("a", 2), ("b", None)])
    assert store.get_run(run_id).data.tags == {"mlflow.runName": "old", "a": "2", "b": "None"}
    store.delete_tag(run_id, "a")
    store.set_tags(run_id, [("mlflow.runName", "new")])
    run = store.get_run(run_id)
    assert run.data.tags == {"mlflow.runName": "new", "b": "None"}
    assert run.info.run_name == "new"
    with pytest.raises(NotFound, match="no tag"):
        store.delete_tag(run_id, "a")


def test_what_another_process_said_about_a_run_is_kept(store, open_lake):
    other = open_lake()
    run_id = store.create_run(store.experiments.create("e"), "old").info.run_id
    store.flush()
    other.update_run(run_id, name="renamed elsewhere")
    store.update_run(run_id, "FINISHED")
    assert other.get_run(run_id).info.run_name == "renamed elsewhere"
    assert other.get_run(run_id).info.status == "FINISHED"


def test_a_run_that_another_process_deleted_takes_nothing_once_it_was_looked_at(store, open_lake):
    run_id = store.create_run(store.experiments.create("e")).info.run_id
    store.log_metric(run_id, "m", 1.0)
    store.flush()
    other = open_lake()
    other.update_run(run_id, stage="deleted")
    assert store.get_run(run_id).info.lifecycle_stage == "deleted"
    with pytest.raises(InvalidInput, match="is deleted"):
        store.log_metric(run_id, "m", 2.0)
    other.update_run(run_id, stage="active")
    store.get_run(run_id)
    store.log_metric(run_id, "m", 3.0)
    other.remove_runs([run_id])
    for call in (store.get_run, store.require_active):
        with pytest.raises(NotFound, match="removed for good"):
            call(run_id)


def test_a_store_remembers_so_many_runs_and_reads_the_others_again(open_lake, monkeypatch):
    from sparkml_lifecycle.tracking import store as module

    monkeypatch.setattr(module, "_MOST_RUNS", 6)
    store = open_lake(flush_seconds=60.0)
    experiment_id = store.experiments.create("e")
    live = [store.create_run(experiment_id).info.run_id for _ in range(3)]
    runs = [store.create_run(experiment_id, str(number)).info.run_id for number in range(10)]
    for run_id in runs:
        store.log_batch(run_id, [Metric("m", 1.0, 1, 1)], [("p", run_id)])
        store.update_run(run_id, "FINISHED", name=f"n{run_id}")
    assert list(store._runs) == live
    for run_id in runs:
        found = store.get_run(run_id)
        assert (found.info.status, found.info.run_name) == ("FINISHED", f"n{run_id}")
        assert found.data.params == {"p": run_id}
        with pytest.raises(InvalidInput, match="never change"):
            store.log_params(run_id, [("p", "other")])
    assert list(store._runs) == [*live, *runs[-3:]]


def test_a_run_begun_elsewhere_a_moment_ago_is_waited_for(store, open_lake):
    run_id = store.create_run(store.experiments.create("e")).info.run_id
    assert open_lake().get_run(run_id).info.run_id == run_id
    with pytest.raises(NotFound, match="no run"):
        store.get_run("0" * 32)
    with pytest.raises(InvalidInput, match="32 hex"):
        store.get_run("../../etc")


def test_many_values_are_committed_in_few_commits(store):
    run_id = store.create_run(store.experiments.create("e")).info.run_id
    for step in range(100_000):
        store.log_metric(run_id, "loss", step / 7, step=step)
    store.flush()
    table = store.lake.table(MetricRow)
    assert table.query("select count(*) as n, count(distinct step) as d from metrics").to_pylist() == [
        {"n": 100_000, "d": 100_000}
    ]
    assert table.snapshot().handle.version() < 200
    assert store.get_run(run_id).data.metrics["loss"] == 99_999 / 7


def test_values_logged_by_threads_are_there_once(store):
    run_id = store.create_run(store.experiments.create("e")).info.run_id

    def log(thread):
        for step in range(500):
            store.log_metric(run_id, f"m{thread}", step, step=step)

    threads = [threading.Thread(target=log, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(store.metric_history(run_id, f"m{n}")) for n in range(4)] == [500] * 4


def test_synchronous_values_are_in_the_lake_at_once(open_lake):
    store = open_lake(flush_seconds=3600.0)
    run_id = store.create_run(store.experiments.create("e")).info.run_id
    store.flush()
    time.sleep(0.5)  # the thread, which the new run has woken, goes back to sleep
    store.log_metric(run_id, "m", 1.0)
    assert open_lake().get_run(run_id).data.metrics == {}
    store.log_metric(run_id, "m", 2.0, step=1, synchronous=True)
    assert open_lake().get_run(run_id).data.metrics == {"m": 2.0}


def test_values_reach_the_lake_by_themselves(open_lake):
    store, other = open_lake(flush_seconds=0.05), open_lake()
    run_id = store.create_run(store.experiments.create("e")).info.run_id
    store.flush()
    time.sleep(0.3)
    store.log_metric(run_id, "m", 1.0)
    for _ in range(100):
        if other.get_run(run_id).data.metrics:
            break
        time.sleep(0.05)
    assert other.get_run(run_id).data.metrics == {"m": 1.0}


def test_a_failed_flush_keeps_its_rows_and_the_run_stays_open(open_lake, monkeypatch):
    from sparkml_lifecycle.lake import table as table_module

    store = open_lake(flush_seconds=3600.0)
    run_id = store.create_run(store.experiments.create("e")).info.run_id
    store.flush()
    commit = table_module.commit_rows

    def no_metrics(handle, data, transactions):
        if "step" in data.column_names:
            commit(handle, data, transactions)
            raise PermissionError("the answer was lost and the storage is gone")
        commit(handle, data, transactions)

    monkeypatch.setattr(table_module, "commit_rows", no_metrics)
    monkeypatch.setattr(table_module.Table, "_count", lambda *_: 1 / 0)
    store.log_metric(run_id, "m", 1.0)
    with pytest.raises(StorageError, match="kept and tried again"):
        store.update_run(run_id, "FINISHED")
    monkeypatch.undo()
    assert open_lake().get_run(run_id).info.status == "RUNNING"
    store.flush()
    found = open_lake().get_run(run_id)
    assert found.info.status == "FINISHED"
    assert len(store.metric_history(run_id, "m")) == 1


def test_a_process_that_just_ends_has_written_everything(store):
    experiment_id = store.experiments.create("e")
    process = in_a_process("log_and_leave", store.lake.uri, experiment_id)
    output, error = process.communicate(timeout=60)
    assert process.returncode == 0, error.decode()
    assert error == b""
    assert len(store.metric_history(output.decode().strip(), "loss")) == 2500


def test_two_processes_make_experiments_at_once(store):
    processes = [in_a_process("make_experiments", store.lake.uri, f"p{n}", 6) for n in range(2)]
    for process in processes:
        _, error = process.communicate(timeout=60)
        assert process.returncode == 0, error.decode()
    found = store.experiments.search(ViewType.ALL, None, (), 1000, None)
    assert sorted(int(one.experiment_id) for one in found) == list(range(1, 19))
    assert len({one.name for one in found}) == 18


def test_an_experiment_is_renamed_deleted_and_restored(store):
    experiments = store.experiments
    first, second = experiments.create("a"), experiments.create("b", artifact_location="s3a://bucket/b/")
    assert (first, second) == ("1", "2")
    assert experiments.get(second).artifact_location == "s3://bucket/b"
    with pytest.raises(AlreadyExists, match="id 1"):
        experiments.create("a")
    with pytest.raises(AlreadyExists):
        experiments.change(second, name="a")
    experiments.change(first, name="c")
    assert experiments.by_name("a") is None
    assert experiments.create("a") == "3"
    experiments.change(first, stage="deleted")
    with pytest.raises(AlreadyExists, match="deleted"):
        experiments.create("c")
    with pytest.raises(InvalidInput, match="deleted"):
        store.create_run(first)
    with pytest.raises(InvalidInput, match="Restore"):
        experiments.change(first, name="d")
    assert [one.name for one in experiments.search(ViewType.ACTIVE_ONLY, None, (), 10, None)] == ["a", "b"]
    assert [one.name for one in experiments.search(ViewType.DELETED_ONLY, None, (), 10, None)] == ["c"]
    experiments.change(first, stage="active")
    assert experiments.get(first).lifecycle_stage == "active"
    with pytest.raises(NotFound, match="no experiment"):
        experiments.get("77")
    with pytest.raises(NotFound):
        experiments.change("77", name="x")


def test_experiments_are_searched(store):
    experiments = store.experiments
    for name in ("churn", "churn v2", "fraud"):
        experiments.set_tag(experiments.create(name), "team", name[:2])
    experiments.set_tag("1", "team", "crm")
    assert experiments.get("1").tags == {"team": "crm"}

    def found(text, order_by=("name asc",)):
        return [one.name for one in experiments.search(ViewType.ALL, text, order_by, 10, None)]

    assert found("name LIKE 'churn%'") == ["churn", "churn v2"]
    assert found("name ILIKE 'FRAUD'") == ["fraud"]
    assert found("tags.team = 'crm'") == ["churn"]
    assert found("name in ('fraud', 'x') and creation_time > 1700000000000") == ["fraud"]
    assert found("tags.other IS NULL", ["name desc"]) == ["fraud", "churn v2", "churn"]
    page = experiments.search(ViewType.ALL, None, (), 2, None)
    assert [one.name for one in page] == ["fraud", "churn v2"]
    assert [one.name for one in experiments.search(ViewType.ALL, None, (), 2, page.token)] == ["churn"]


def test_the_default_experiment_has_mlflows_id(store):
    assert store.experiments.create("Default") == "0"
    assert store.experiments.create("next") == "1"


@pytest.mark.parametrize("change", [{"name": "renamed"}, {"stage": LifecycleStage.REMOVED}])
def test_another_default_experiment_has_an_id_of_its_own(store, change):
    store.experiments.create("Default")
    store.experiments.change("0", **change)
    assert store.experiments.create("Default") == "1"
    assert store.experiments.by_name("Default").experiment_id == "1"
    assert store.create_run("1").info.experiment_id == "1"


def test_a_copied_lake_works_where_it_is(store, open_lake, tmp_path):
    run_id = store.create_run(store.experiments.create("e"), "r").info.run_id
    store.log_metric(run_id, "m", 1.0)
    store.update_run(run_id, "FINISHED")
    store.close()
    shutil.copytree(tmp_path / "lake", tmp_path / "copy")
    shutil.rmtree(tmp_path / "lake")
    copy = open_lake(tmp_path / "copy")
    run = copy.get_run(run_id)
    assert run.info.artifact_uri == f"{tmp_path}/copy/artifacts/1/{run_id}/artifacts"
    assert copy.experiments.get("1").artifact_location == f"{tmp_path}/copy/artifacts/1"
    assert run.data.metrics == {"m": 1.0}
    copy.log_metric(run_id, "m", 2.0, step=1)
    assert copy.get_run(run_id).data.metrics == {"m": 2.0}
    assert copy.experiments.create("f") == "2"


def test_a_location_below_the_lake_that_an_older_version_stored_absolute_is_found(store, tmp_path):
    place, now = f"{tmp_path}/lake/mine", store.lake.writer.clock()
    old = ExperimentRow(at=now, experiment_id="1", name="e", location=place, created=now)
    store.lake.table(ExperimentRow).claim(lambda _: Change((old,), {"experiment:e": 1, "experiment_ids": 1}))
    assert store.experiments.get("1").artifact_location == place
    run = store.create_run("1")
    assert run.info.artifact_uri == f"{place}/{run.info.run_id}/artifacts"


def pages(read):
    """What each page gives."""
    token = None
    while True:
        page = read(token)
        yield list(page)
        token = page.token
        if token is None:
            return


def test_pages_of_experiments_skip_none_when_one_is_deleted_in_between(store):
    for number in range(6):
        store.experiments.create(f"e{number}")
    seen = []
    for page in pages(lambda token: store.experiments.search(ViewType.ACTIVE_ONLY, None, ("name",), 2, token)):
        seen += [one.name for one in page]
        if len(seen) < 6:
            store.experiments.change(page[-1].experiment_id, stage="deleted")
    assert seen == [f"e{number}" for number in range(6)]


def test_experiments_without_a_tag_come_last_and_ids_are_numbers(store):
    for number in range(11):
        store.experiments.create(f"e{number}", tags=[("t", number)] if number in (3, 4) else ())

    def names_by(*orders):
        return [
            one.name
            for page in pages(lambda token: store.experiments.search(ViewType.ALL, None, orders, 2, token))
            for one in page
        ]

    assert names_by("tags.t desc")[:3] == ["e4", "e3", "e10"]
    assert names_by("tags.t asc")[:3] == ["e3", "e4", "e10"]
    assert names_by("experiment_id desc")[:2] == ["e10", "e9"]
    assert names_by("tags.t", "name desc")[2:] == ["e9", "e8", "e7", "e6", "e5", "e2", "e10", "e1", "e0"]


def test_pages_of_a_history_repeat_no_point_when_earlier_ones_arrive_in_between(store):
    run_id = store.create_run(store.experiments.create("e")).info.run_id
    for value in range(60):
        store.log_metric(run_id, "m", math.nan if value % 7 == 0 else value, 1, 5)
    # a point that was logged twice in one call is two
    store.log_batch(run_id, [Metric("m", -1.0, 1, 5)] * 5)
    assert store.metric_history(run_id, "none") == store.metric_history(run_id, "none", 3) == []
    seen = []
    for page in pages(lambda token: store.metric_history(run_id, "m", 3, token)):
        seen += [point.value for point in page]
        store.log_metric(run_id, "m", -2.0, 0, -len(seen))
    assert [value for value in seen if value >= 0] == [value for value in range(60) if value % 7]
    assert len(seen) == 65
    assert seen.count(-1.0) == 5


def test_reading_an_empty_lake_writes_nothing(store, tmp_path):
    assert store.experiments.search(ViewType.ALL, None, (), 10, None) == []
    assert store.search_runs(Query(["1"], "metrics.a > 1 and tags.b = 'c'")) == []
    assert store.experiments.by_name("x") is None
    assert store.lake.table(RunRow).to_pandas().empty
    assert not (tmp_path / "lake").exists()
