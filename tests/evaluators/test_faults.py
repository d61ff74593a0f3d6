"""The faults of evaluators in a short form; ``make soak`` has the long one."""

from tests.evaluators import faults


def test_compilers_that_are_killed_leave_nothing_that_harms(tmp_path):
    assert faults.killed_compilers(tmp_path, 1) > 0


def test_many_threads_with_one_model(tmp_path):
    assert faults.many_threads(tmp_path, 200) == 200


def test_some_of_all_pipelines(tmp_path):
    assert faults.all_pipelines(tmp_path, share=0.03) == 9
