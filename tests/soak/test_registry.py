"""The registry for long: 8 processes on one name, killed registrations, two people who fight for one stage."""

import pytest

from tests.registry import faults
from tests.registry.models import save_mean

pytestmark = pytest.mark.soak


@pytest.fixture
def source(tmp_path):
    return save_mean(tmp_path / "saved", 1.0)


@pytest.mark.timeout(3600)
def test_eight_processes_register_fifty_versions_each(tmp_path, source):
    faults.many_registrations(tmp_path / "lake", source, processes=8, each=50)


@pytest.mark.timeout(3600)
def test_forty_killed_registrations(tmp_path, source):
    faults.killed_registrations(tmp_path / "lake", source, rounds=40)


@pytest.mark.timeout(3600)
def test_two_people_fight_for_a_stage(tmp_path, source):
    assert faults.two_people(tmp_path / "lake", source, rounds=150) > 20
