"""The faults of tests/evaluators/test_faults.py, many times: ``make soak``."""

import pytest

from tests.evaluators import faults

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]


def test_twenty_pairs_of_killed_compilers(tmp_path):
    assert faults.killed_compilers(tmp_path, 20) > 10


def test_five_thousand_pieces_by_eight_threads(tmp_path):
    assert faults.many_threads(tmp_path, 5000) == 5000


def test_every_pipeline(tmp_path):
    assert faults.all_pipelines(tmp_path) == 288
