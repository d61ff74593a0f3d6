"""The faults of tests/scoring/test_faults.py, all of them and at any moment: ``make soak``."""

import random
import signal
import time

import pytest

from tests.scoring import faults
from tests.scoring.test_faults import DELETED, check_cluster, check_full, killed_and_run_again
from tests.scoring.test_large import check_shipped

ENGINES = ("direct", "dataframe", "column")
HARMS = ("kill the worker", "kill the executor", "raise")
TWINS = [f"{engine}:be slow" for engine in ENGINES]
RETRIED = [f"{engine}:{harm}" for engine in ENGINES for harm in HARMS]
pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]


@pytest.fixture
def folder(tmp_path):
    faults.make(tmp_path)
    return tmp_path


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("moment", faults.MOMENTS)
def test_a_driver_that_is_killed_at_each_moment_by_each_engine(folder, engine, moment):
    killed_and_run_again(folder, engine, moment)


def test_thirty_drivers_that_are_killed_at_any_moment(folder, capsys):
    began = time.monotonic()
    assert faults.started("driver", folder, "local", "").returncode == 0
    whole = time.monotonic() - began
    (folder / "target").rename(folder / "whole")
    rng, killed = random.Random(1), 0
    for _ in range(30):
        running = faults.started("driver", folder, "local", "", wait=False)
        # the start of Python is of no interest
        time.sleep(rng.uniform(whole * 0.4, whole))
        running.send_signal(signal.SIGKILL)
        running.communicate()
        killed += running.returncode == -9
    assert faults.started("driver", folder, "local", "").returncode == 0
    assert (faults.wrong_rows(folder), faults.versions(folder)) == ([], 1)
    assert killed > 0
    with capsys.disabled():
        print(f"\n{killed} of 30 drivers were killed before they ended")


def test_each_harm_on_a_local_cluster_and_on_a_standalone_master(folder):
    # its executors are on one host, so no task has a twin
    check_cluster(folder, "local-cluster[2,1,1024]", [*RETRIED, *DELETED])
    faults.make_source(folder)
    with faults.standalone(folder) as url:
        check_cluster(folder, url, [*RETRIED, *TWINS, *DELETED])


@pytest.mark.parametrize("engine", ["direct", "dataframe"])
def test_a_full_disk_is_told_and_leaves_nothing(folder, engine):
    check_full(folder, engine)


def test_a_model_of_a_gigabyte_is_shipped_once_to_an_executor_and_loaded_once_by_a_worker(tmp_path):
    check_shipped(tmp_path, 1024, *ENGINES)
