"""What goes wrong with a lake, as functions of how often: the tests do it a few times, ``make soak`` many.

``python -m tests.tracking.faults WHAT LAKE …`` is what the killed and the competing processes run.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

from sparkml_lifecycle import maintenance
from sparkml_lifecycle.client import LifecycleClient
from sparkml_lifecycle.entities import ViewType
from sparkml_lifecycle.lake import Lake, upkeep
from sparkml_lifecycle.settings import Settings
from sparkml_lifecycle.tracking.finding import Query
from sparkml_lifecycle.tracking.store import TrackingStore
from sparkml_lifecycle.tracking.tables import MetricRow, ParamRow, RunRow, TagRow
from tests import children

TABLES = (MetricRow, ParamRow, TagRow, RunRow)


def started(what, *arguments):
    """A process that does one of the things below."""
    return children.started("tests.tracking.faults", what, *arguments)


def killed_writers(uri, rounds):
    """Writers killed at random moments: what they acknowledged is there once, and the tables open."""
    experiment = TrackingStore(Lake(uri)).experiments.create("killed")
    runs = 0
    for _ in range(rounds):
        process = started("write", uri, experiment)
        time.sleep(random.uniform(0.05, 1.5))
        process.send_signal(signal.SIGKILL)
        words = process.communicate(timeout=60)[0].split()
        # the last word may be cut
        acknowledged = [tuple(word.split(":")) for word in words if word.endswith(";")]
        store = TrackingStore(Lake(uri))
        for run_id, count, kind in acknowledged:
            run = store.get_run(run_id)
            steps = [point.step for point in store.metric_history(run_id, "m")]
            assert steps[: int(count)] == list(range(int(count))), (run_id, count)
            assert len(steps) == len(set(steps))
            if kind == "ended;":
                assert run.info.status == "FINISHED"
                assert run.data.params == {"p": run_id}
        runs += len({run_id for run_id, _, kind in acknowledged if kind == "ended;"})
        store.close()
    store = TrackingStore(Lake(uri))
    assert len(store.search_runs(Query([experiment], "status = 'FINISHED'"))) >= runs
    store.close()
    return runs


def killed_compactions(uri, rounds):
    """Compaction killed half way: every row is there once, and folds mislead nobody; returns how many had begun and not ended."""
    store = TrackingStore(Lake(uri))
    experiment = store.experiments.create("compacted")
    wanted = {}
    half_way = 0
    for number in range(rounds):
        for _ in range(12):
            run_id = store.create_run(experiment).info.run_id
            store.log_metric(run_id, "m", number, step=1)
            store.log_metric(run_id, "m", -number, step=0)
            wanted[run_id] = float(number)
            store.flush()
        before = files(uri)
        process = started("compact", uri)
        time.sleep(random.uniform(0.0, 0.4))
        process.send_signal(signal.SIGKILL)
        said = process.communicate(timeout=60)[0]
        half_way += said == "" and before != files(uri)
        check(uri, experiment, wanted)
    fresh = TrackingStore(Lake(uri))
    for row_type in TABLES:
        fresh.lake.table(row_type).compact()
    check(uri, experiment, wanted)
    store.close()
    return half_way


def files(uri):
    """The files of all tables."""
    return {str(path) for path in Path(uri).glob("*/*.parquet")}


def check(uri, experiment, wanted):
    """The lake has exactly these runs, each with two points, of which the latest is this value."""
    store = TrackingStore(Lake(uri))
    found = store.search_runs(Query([experiment], None, max_results=50_000))
    assert {run.info.run_id: run.data.metrics["m"] for run in found} == wanted
    points = store.lake.table(MetricRow).to_arrow()
    assert points.num_rows == 2 * len(wanted)
    smallest = store.search_runs(Query([experiment], "metrics.m.min < -0.5", max_results=50_000))
    assert {run.info.run_id for run in smallest} == {run_id for run_id, value in wanted.items() if value > 0.5}
    store.close()


def killed_collections(uri, rounds, runs=20):
    """Collections killed half way: the next one finishes, and what is not deleted keeps all it has.

    Returns how many had begun and not ended.
    """
    client = LifecycleClient(uri)
    kept = client.create_run(client.create_experiment("kept")).info.run_id
    client.log_text(kept, "kept", "a.txt")
    half_way = 0
    for _ in range(rounds):
        experiment = client.create_experiment("again and again")
        inside = [client.create_run(experiment).info.run_id for _ in range(runs // 2)]
        alone = [client.create_run("1").info.run_id for _ in range(runs // 2)]
        for run_id in inside + alone:
            client.log_text(run_id, "gone", "deep/a.txt")
        for run_id in alone:
            client.delete_run(run_id)
        client.delete_experiment(experiment)
        client.flush()
        process = started("collect", uri)
        time.sleep(random.uniform(0.0, 0.15))
        process.send_signal(signal.SIGKILL)
        ended_before = process.communicate(timeout=60)[0] == "done\n"
        fresh = LifecycleClient(uri)
        untouched = fresh.search_runs([experiment, "1"], run_view_type=ViewType.DELETED_ONLY, max_results=1000)
        left = [file for file in client.storage(uri).list("artifacts", recursive=True) if not file.is_dir]
        half_way += not ended_before and (len(untouched) < len(alone) or len(left) < runs + 1)
        maintenance.collect(fresh)
        assert maintenance.collect(fresh) == maintenance.Removed()
        assert [run.info.run_id for run in fresh.search_runs(["1", experiment], run_view_type=ViewType.ALL)] == [kept]
        assert [one.name for one in fresh.search_experiments(ViewType.ALL)] == ["kept"]
        files = [file.path for file in client.storage(uri).list("artifacts", recursive=True) if not file.is_dir]
        assert files == [f"artifacts/1/{kept}/artifacts/a.txt"]
    return half_way


def purged_side_by_side(uri, rounds, writers=1):
    """Runs purged by two processes at once, beside writers: only they are gone."""
    client = LifecycleClient(uri)
    experiment = client.create_experiment("purged")
    wanted = {}
    writing = [client.create_run(experiment).info.run_id for _ in range(writers)]
    for number in range(2 * rounds + 4):
        run_id = client.create_run(experiment).info.run_id
        for step in range(3):
            client.log_metric(run_id, "m", number + step, step=step)
        client.log_param(run_id, "p", number)
        client.set_tag(run_id, "t", number)
        wanted[run_id] = number
        if number % 2:
            client.flush()
    for _ in range(rounds):
        pair = list(wanted)[:2]
        go = Path(f"{uri}-{pair[0]}")
        purges = [started("purge", uri, run_id, go) for run_id in pair]
        busy = [started("points", uri, run_id, "w", 2) for run_id in writing]
        go.touch()
        # three points, a parameter, two tags and the run; summaries come on top
        assert all(int(words[-1]) >= 7 for words in children.ended(purges))
        for run_id in pair:
            del wanted[run_id]
        counts = [int(words[-1]) for words in children.ended(busy)]
        fresh = LifecycleClient(uri)
        for run_id, count in zip(writing, counts, strict=True):
            steps = [point.step for point in fresh.get_metric_history(run_id, "w")]
            assert sorted(set(steps)) == list(range(max(steps) + 1))
            assert len(steps) >= count
        found = {run.info.run_id: run for run in fresh.search_runs([experiment])}
        assert set(found) == {*wanted, *writing}
        for run_id, number in wanted.items():
            data = found[run_id].data
            assert (data.metrics, data.params["p"], data.tags["t"]) == ({"m": number + 2.0}, str(number), str(number))
            assert len(fresh.get_metric_history(run_id, "m")) == 3


def crowd(uri, seconds, compactors=4, writers=4, runs=None, upkeep="compact-for"):
    """Compactors and writers at once for some seconds: nothing is lost or doubled; returns points and commits a second.

    ``runs`` is the number of runs that the writers share; each its own where it is None. ``upkeep="maintain-for"``
    does all of upkeep, and keeps no file that no version needs.
    """
    store = TrackingStore(Lake(uri))
    experiment = store.experiments.create(f"crowd {random.random()}")
    shared = [store.create_run(experiment).info.run_id for _ in range(runs or writers)]
    store.flush()
    before = {row_type: version(uri, row_type) for row_type in TABLES}
    writing = [started("points", uri, shared[i % len(shared)], f"w{i}", seconds) for i in range(writers)]
    compacting = [started(upkeep, uri, seconds) for _ in range(compactors)]
    counts = [int(words[-1]) for words in children.ended(writing)]
    children.ended(compacting)
    fresh = TrackingStore(Lake(uri))
    for i, count in enumerate(counts):
        steps = [point.step for point in fresh.metric_history(shared[i % len(shared)], f"w{i}")]
        assert steps == list(range(count)), (count, len(steps), len(set(steps)))
        assert fresh.get_run(shared[i % len(shared)]).data.metrics[f"w{i}"] == float(count - 1)
    commits = version(uri, MetricRow) - before[MetricRow]
    store.close()
    fresh.close()
    return sum(counts) / seconds, commits / seconds


def version(uri, row_type):
    """The version of a table's log."""
    handle = Lake(uri).table(row_type).snapshot().handle
    return handle.version() if handle is not None else 0


# -- what the other processes do -------------------------------------------------------------------------------------------


def write(uri, experiment):
    store = TrackingStore(Lake(uri), Settings(flush_seconds=0.05))
    print("ready", flush=True)
    while True:
        run_id = store.create_run(experiment).info.run_id
        store.log_params(run_id, [("p", run_id)])
        for step in range(60):
            store.log_metric(run_id, "m", step, step=step)
            if step % 20 == 19:
                store.flush()
                print(f"{run_id}:{step + 1}:flushed;", flush=True)
        store.update_run(run_id, "FINISHED")
        print(f"{run_id}:60:ended;", flush=True)


def compact(uri):
    lake = Lake(uri)
    for row_type in TABLES:
        # all is imported and opened before the clock runs
        upkeep.checkpoint(lake.table(row_type))
        lake.table(row_type).to_arrow()
    print("ready", flush=True)
    for row_type in TABLES:
        lake.table(row_type).compact()
    print("done", flush=True)


def compact_for(uri, seconds):
    lake = Lake(uri)
    print("ready", flush=True)
    until = time.monotonic() + float(seconds)
    while time.monotonic() < until:
        for row_type in TABLES:
            lake.table(row_type).compact()


def maintain_for(uri, seconds):
    lake = Lake(uri)
    print("ready", flush=True)
    until = time.monotonic() + float(seconds)
    while time.monotonic() < until:
        maintenance.maintain(lake, retention_hours=0)


def collect(uri):
    client = LifecycleClient(uri)
    # all is imported and opened before the clock runs
    maintenance.collect(client, dry_run=True)
    print("ready", flush=True)
    maintenance.collect(client)
    print("done", flush=True)


def purge(uri, run_id, go):
    client = LifecycleClient(uri)
    client.get_run(run_id)
    print("ready", flush=True)
    while not os.path.exists(go):
        time.sleep(0.001)
    print(maintenance.purge(client, [run_id]).rows, flush=True)


def points(uri, run_id, key, seconds):
    store = TrackingStore(Lake(uri), Settings(flush_seconds=0.05))
    store.get_run(run_id)
    print("ready", flush=True)
    until = time.monotonic() + float(seconds)
    count = 0
    while time.monotonic() < until:
        store.log_metric(run_id, key, count, step=count)
        count += 1
        if count % 100 == 0:
            time.sleep(0.01)
    store.flush()
    print(count, flush=True)


if __name__ == "__main__":
    known = {
        "write": write, "compact": compact, "compact-for": compact_for, "points": points, "maintain-for": maintain_for,
        "collect": collect, "purge": purge,
    }  # fmt: skip
    known[sys.argv[1]](*sys.argv[2:])
    os._exit(0) if sys.argv[1] == "compact" else None
