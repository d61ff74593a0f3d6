"""Faults, each in its short form; ``make soak`` does the same for longer."""

import os
import resource
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from sparkml_lifecycle import maintenance
from sparkml_lifecycle.client import LifecycleClient
from sparkml_lifecycle.errors import StorageError
from sparkml_lifecycle.lake import Lake
from sparkml_lifecycle.settings import Settings
from sparkml_lifecycle.tracking.finding import Query
from sparkml_lifecycle.tracking.store import TrackingStore
from sparkml_lifecycle.tracking.tables import MetricRow, RunRow
from tests.tracking import faults

ROOT = Path(__file__).parents[2]


@pytest.fixture
def uri(tmp_path):
    return str(tmp_path / "lake")


def test_what_a_killed_writer_acknowledged_is_there_once(uri):
    faults.killed_writers(uri, 3)


def test_a_compaction_killed_half_way_harms_nothing(uri):
    faults.killed_compactions(uri, 3)


def test_four_compactors_and_four_writers_keep_every_point_once(uri):
    faults.crowd(uri, 4)


def test_eight_processes_log_to_one_run(uri):
    faults.crowd(uri, 3, compactors=0, writers=8, runs=1)


def test_a_clock_that_jumps_back_decides_nothing(uri):
    times = [datetime(2026, 1, 1, 12, tzinfo=UTC)]
    store = TrackingStore(Lake(uri, clock=lambda: times[0]))
    run_id = store.create_run(store.experiments.create("e"), "first").info.run_id
    store.log_batch(run_id, tags=[("t", "old")])
    store.flush()
    for back in (timedelta(hours=1), timedelta(days=400)):
        times[0] -= back
        store.log_batch(run_id, tags=[("t", f"after {back}")])
        store.update_run(run_id, name=f"renamed after {back}")
        found = TrackingStore(Lake(uri)).get_run(run_id)
        assert (found.data.tags["t"], found.info.run_name) == (f"after {back}", f"renamed after {back}")
    store.update_run(run_id, "FINISHED")
    assert TrackingStore(Lake(uri)).get_run(run_id).info.status == "FINISHED"


def test_a_full_disk_loses_nothing_that_is_logged(uri):
    store = TrackingStore(Lake(uri), Settings(flush_seconds=30.0))
    run_id = store.create_run(store.experiments.create("e")).info.run_id
    store.log_metric(run_id, "m", 0.0, step=0)
    store.flush()
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        # the system refuses what goes past some bytes of a file: all of it, the log but not the rows, the rows' end
        for step, free in enumerate((0, 300, 900, 1500), start=1):
            resource.setrlimit(resource.RLIMIT_FSIZE, (free, before[1]))
            for number in range(40):
                store.log_metric(run_id, f"m{number}", float(step), step=step)
            with pytest.raises(StorageError, match="not written yet; they are kept and tried again"):
                store.flush()
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
            store.flush()
            fresh = TrackingStore(Lake(uri))
            for number in range(40):
                assert [p.step for p in fresh.metric_history(run_id, f"m{number}")] == list(range(1, step + 1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    store.update_run(run_id, "FINISHED")
    assert TrackingStore(Lake(uri)).get_run(run_id).info.status == "FINISHED"


READ_ONLY = """
import os, sys
import sparkml_lifecycle as ml
from sparkml_lifecycle.errors import StorageError
ml.set_tracking_uri(sys.argv[1] + " of root")
with ml.start_run():
    ml.log_metric("m", 1.0)
ml.search_runs()
if os.getuid() == 0:
    os.setuid(65534)  # root writes anywhere; what is imported by now need not be read again
lake, table = sys.argv[1], sys.argv[1] + "/metrics"
ml.set_tracking_uri(lake)
ml.set_experiment("e")
run = ml.start_run()
ml.log_metric("m", 1.0, step=1, synchronous=True)
for path in (table, table + "/_delta_log"):
    os.chmod(path, 0o555)
ml.log_metric("m", 2.0, step=2)
try:
    ml.flush()
except StorageError as error:
    assert "kept and tried again" in str(error), error
else:
    raise AssertionError("a read-only table was written")
for path in (table, table + "/_delta_log"):
    os.chmod(path, 0o755)
ml.end_run()
os.chmod(table + "/_delta_log", 0o555)
ml.log_metric("late", 3.0, run_id=run.info.run_id)
# the interpreter's end says that the last value is not in the lake
"""


def test_a_directory_made_read_only_is_said_and_tried_again(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    for path in (tmp_path, *tmp_path.parents[:3], home):
        path.chmod(0o777)
    uri = str(home / "lake")
    environment = {**os.environ, "HOME": str(home), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", READ_ONLY, uri],
        env=environment,
        cwd=home,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "not everything that was logged is in the lake" in done.stderr
    (home / "lake" / "metrics" / "_delta_log").chmod(0o755)
    store = TrackingStore(Lake(uri))
    run = store.search_runs(Query(["1"]))[0]
    assert (run.info.status, run.data.metrics) == ("FINISHED", {"m": 2.0})
    assert [point.step for point in store.metric_history(run.info.run_id, "m")] == [1, 2]


def test_a_reader_holds_an_old_version_through_a_vacuum(uri):
    client = LifecycleClient(uri)
    run_id = client.create_run(client.create_experiment("e")).info.run_id
    for step in range(30):
        client.log_metric(run_id, "m", step, step=step, synchronous=True)
    held = client.store.lake.table(MetricRow).snapshot(fresh=True)
    runs = client.store.lake.table(RunRow).snapshot(fresh=True)
    maintenance.maintain(client.lake)
    assert len(held.query("select step from metrics")) == 30
    assert len(runs.query("select run_id from runs")) == 1
    assert len(client.get_metric_history(run_id, "m")) == 30
