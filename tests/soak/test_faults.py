"""The faults of tests/tracking/test_faults.py, many times: ``make soak``."""

import pytest

from tests.storage.conftest import s3_server
from tests.storage.lost_answers import lost_answers
from tests.tracking import faults

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]


@pytest.fixture
def uri(tmp_path):
    return str(tmp_path / "lake")


def test_twenty_killed_writers(uri):
    assert faults.killed_writers(uri, 20) > 0


def test_twenty_killed_compactions(uri):
    assert faults.killed_compactions(uri, 20) > 0


def test_twenty_killed_collections(uri):
    assert faults.killed_collections(uri, 20) > 0


def test_twenty_purges_by_two_processes_beside_three_writers(uri):
    faults.purged_side_by_side(uri, 10, writers=3)


def test_forty_answers_cut_off_after_the_commit(tmp_path):
    with s3_server("honour") as urls:
        lost_answers(urls, f"s3://bucket/{tmp_path.name}", rounds=40)


def test_four_upkeeps_that_keep_nothing_beside_four_writers(uri):
    faults.crowd(uri, 60, upkeep="maintain-for")


@pytest.mark.parametrize(("compactors", "writers", "runs"), [(4, 4, None), (0, 8, None), (0, 8, 1), (4, 8, 1)])
def test_a_crowd_for_half_a_minute(uri, compactors, writers, runs, capsys):
    points, commits = faults.crowd(uri, 30, compactors, writers, runs)
    with capsys.disabled():
        shared = "each its own run" if runs is None else "one run"
        print(
            f"\n{writers} writers, {compactors} compactors, {shared}: {points:,.0f} points/s, {commits:.1f} commits/s"
        )
