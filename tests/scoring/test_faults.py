"""Faults while a job runs: what is committed holds each row of the source exactly once, or nothing is committed.

All engines, moments and masters are in tests/soak/test_jobs.py.
"""

import json

import pytest

from tests.scoring import faults

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path):
    faults.make(tmp_path)
    return tmp_path


@pytest.mark.parametrize("moment", faults.MOMENTS)
def test_a_driver_that_is_killed_without_spark_leaves_nothing_or_everything(folder, moment):
    killed_and_run_again(folder, "local", moment)


@pytest.mark.spark
def test_a_driver_that_is_killed_leaves_nothing_or_everything(folder):
    killed_and_run_again(folder, "direct", "scoring")


def killed_and_run_again(folder, engine, moment):
    """The second run does what the first had not done, and no more."""
    if moment == "scoring":
        (folder / "harm").write_text("kill the driver")
    assert faults.started("driver", folder, engine, moment).returncode == -9
    is_there = moment in ("after the commit", "before it is remembered")
    assert (folder / "target/_delta_log/00000000000000000000.json").exists() == is_there
    again = faults.started("driver", folder, engine, "")
    assert (again.returncode, again.stdout.strip()) == (0, "0" if is_there else str(faults.ROWS)), again.stderr[-2000:]
    assert (faults.wrong_rows(folder), faults.versions(folder)) == ([], 1)


def test_a_worker_that_is_killed_without_spark_is_told_and_leaves_nothing(folder):
    (folder / "harm").write_text("kill the worker")
    done = faults.started("driver", folder, "local", "")
    assert "ScoringError: The job 'default' failed and committed nothing: a worker process ended" in done.stderr
    assert not (folder / "target/_delta_log").exists()
    assert faults.started("driver", folder, "local", "").returncode == 0
    assert faults.wrong_rows(folder) == []


def test_a_full_disk_without_spark_is_told_and_leaves_nothing(folder):
    check_full(folder, "local")


def check_full(folder, engine):
    """The job that fills the disk fails in a line, and the next one does it all."""
    (folder / "harm").write_text("fill the disk")
    done = faults.started("driver", folder, engine, "")
    assert "failed and committed nothing" in done.stderr.splitlines()[-1], done.stderr[-2000:]
    assert "File too large" in done.stderr.splitlines()[-1]
    assert not (folder / "target/_delta_log").exists()
    assert faults.started("driver", folder, engine, "").returncode == 0
    assert faults.wrong_rows(folder) == []


DELETED = ["direct:delete the source"]


@pytest.mark.spark
def test_tasks_are_tried_again_on_a_local_cluster(folder):
    check_cluster(folder, "local-cluster[2,1,1024]", ["direct:kill the worker", "direct:kill the executor", *DELETED])


@pytest.mark.spark
def test_twins_and_lost_executors_on_a_standalone_master(folder):
    with faults.standalone(folder) as url:
        check_cluster(folder, url, ["direct:be slow", "direct:kill the executor"])


def check_cluster(folder, master, wanted):
    """Each job is right although its harm was done; where a source file is gone, it says so and commits nothing."""
    done = faults.started("cluster", folder, master, *wanted, timeout=240 + 60 * len(wanted))
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert [one["fault"] for one in found] == wanted, done.stderr[-3000:]
    for one in found:
        assert one["harmed"], one
        if one["fault"] in DELETED:
            assert "error" in one, one
            assert one["wrong"] == ["there is no target"]
        else:
            assert (one.get("rows"), one["wrong"]) == (faults.ROWS, []), one
            # its twin was not waited for
            assert not one["slept"], one
