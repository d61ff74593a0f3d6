"""What goes wrong with a lake, as functions of how often: the tests do it a few times, ``make soak`` many.

``python -m tests.tracking.faults WHAT LAKE …`` is what the killed and the competing processes run.
"""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from sparkml_lifecycle.lake import Lake
from sparkml_lifecycle.settings import Settings
from sparkml_lifecycle.tracking.store import TrackingStore
from sparkml_lifecycle.tracking.tables import MetricRow, ParamRow, RunRow, TagRow

ROOT = Path(__file__).parents[2]
TABLES = (MetricRow, ParamRow, TagRow, RunRow)


def started(what, *arguments):
    """A process that does one of the things below; it prints ``ready`` first."""
    command = [sys.executable, "-m", "tests.tracking.faults", what, *map(str, arguments)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n", process.stderr.read()
    return process


def ended(processes):
    """What each process printed; it must have ended well."""
    said = []
    for process in processes:
        out, error = process.communicate(timeout=300)
        assert process.returncode == 0, error[-3000:]
        said.append(out.split())
    return said


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
    assert len(store.search_runs([experiment], "status = 'FINISHED'")) >= runs
    store.close()
    return runs


def killed_compactions(uri, rounds):
    """Compaction killed half way: every row is there once, and folds mislead nobody."""
    store = TrackingStore(Lake(uri))
    experiment = store.experiments.create("compacted")
    wanted = {}
    for number in range(rounds):
        for _ in range(12):
            run_id = store.create_run(experiment).info.run_id
            store.log_metric(run_id, "m", number, step=1)
            store.log_metric(run_id, "m", -number, step=0)
            wanted[run_id] = float(number)
            store.flush()
        process = started("compact", uri)
        time.sleep(random.uniform(0.0, 0.4))
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        check(uri, experiment, wanted)
    fresh = TrackingStore(Lake(uri))
    for row_type in TABLES:
        fresh.lake.table(row_type).compact()
    check(uri, experiment, wanted)
    store.close()


def check(uri, experiment, wanted):
    """The lake has exactly these runs, each with two points, of which the latest is this value."""
    store = TrackingStore(Lake(uri))
    found = store.search_runs([experiment], None, max_results=50_000)
    assert {run.info.run_id: run.data.metrics["m"] for run in found} == wanted
    points = store.lake.table(MetricRow).to_arrow()
    assert points.num_rows == 2 * len(wanted)
    smallest = store.search_runs([experiment], "metrics.m.min < -0.5", max_results=50_000)
    assert {run.info.run_id for run in smallest} == {run_id for run_id, value in wanted.items() if value > 0.5}
    store.close()


def crowd(uri, seconds, compactors=4, writers=4, runs=None):
    """Compactors and writers at once for some seconds: nothing is lost or doubled; returns points and commits a second.

    ``runs`` is the number of runs that the writers share; each its own where it is None.
    """
    store = TrackingStore(Lake(uri))
    experiment = store.experiments.create(f"crowd {random.random()}")
    shared = [store.create_run(experiment).info.run_id for _ in range(runs or writers)]
    store.flush()
    before = {row_type: version(uri, row_type) for row_type in TABLES}
    writing = [started("points", uri, shared[i % len(shared)], f"w{i}", seconds) for i in range(writers)]
    compacting = [started("compact-for", uri, seconds) for _ in range(compactors)]
    counts = [int(words[-1]) for words in ended(writing)]
    ended(compacting)
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
    print("ready", flush=True)
    while True:
        for row_type in TABLES:
            lake.table(row_type).compact()


def compact_for(uri, seconds):
    lake = Lake(uri)
    print("ready", flush=True)
    until = time.monotonic() + float(seconds)
    while time.monotonic() < until:
        for row_type in TABLES:
            lake.table(row_type).compact()


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
    what = {"write": write, "compact": compact, "compact-for": compact_for, "points": points}[sys.argv[1]]
    what(*sys.argv[2:])
    os._exit(0) if sys.argv[1] == "compact" else None
