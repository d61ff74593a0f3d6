"""The faults of tests/evaluators/test_faults.py, many times: ``make soak``."""

import pytest

from tests.evaluators import faults
from tests.evaluators.test_faults import directory, frame  # noqa: F401

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]


def test_twenty_pairs_of_killed_compilers(directory, tmp_path):  # noqa: F811
    assert faults.killed_compilers(directory, tmp_path, 20) > 10


def test_five_thousand_pieces_by_eight_threads(directory, frame):  # noqa: F811
    assert faults.many_threads(directory, frame, 5000) == 5000


def test_every_pipeline(tmp_path):
    assert faults.all_pipelines(tmp_path) == 288
