import pickle

import pytest

from sparkml_lifecycle.entities import PagedList, Run, RunInfo, RunStatus, ViewType
from sparkml_lifecycle.errors import InvalidInput


def test_statuses_are_names_and_numbers():
    assert RunStatus.from_string("KILLED") is RunStatus.KILLED
    assert RunStatus.to_string(3) == "FINISHED"
    assert [RunStatus.is_terminated(one) for one in ("RUNNING", "FAILED", RunStatus.KILLED)] == [False, True, True]
    with pytest.raises(InvalidInput, match="Did you mean 'FINISHED'"):
        RunStatus.from_string("FINISH")


def test_views_see_their_stages():
    stages = ("active", "deleted")
    assert [[view.sees(stage) for stage in stages] for view in ViewType] == [[True, False], [False, True], [True, True]]


def test_a_run_is_a_value():
    run = Run(RunInfo("r", "n", "1", "u", "RUNNING", 1, None, "/a"))
    assert pickle.loads(pickle.dumps(run)) == run
    assert run.info.run_uuid == "r"
    assert run.to_dictionary()["info"]["experiment_id"] == "1"
    with pytest.raises(AttributeError):
        run.info.status = "FINISHED"


def test_a_page_is_a_list_with_a_token():
    page = PagedList([1, 2], "next")
    assert page == [1, 2]
    assert (page.token, type(page.to_list())) == ("next", list)
