import time

import pytest

from sparkml_lifecycle.errors import InvalidInput
from sparkml_lifecycle.lake import Lake
from sparkml_lifecycle.tracking import params
from sparkml_lifecycle.tracking.params import Params
from sparkml_lifecycle.tracking.tables import ParamRow

RUN, OTHER = "a" * 32, "b" * 32


@pytest.fixture
def lake(tmp_path):
    return Lake(tmp_path / "lake")


def logged(lake, run_id, key, value):
    lake.table(ParamRow).append([ParamRow(at=lake.writer.clock(), run_id=run_id, key=key, value=value)])


def test_a_value_that_came_too_late_is_said_at_the_next_look(lake, caplog):
    known = Params(lake, 0.05, lambda: None)
    known.begin(RUN)
    known.add(RUN, known.new(RUN, [("depth", 7)]))
    logged(lake, RUN, "depth", "6")
    time.sleep(0.1)
    assert known.new(RUN, [("rate", 1)]) == {"rate": "1"}
    for part in ("'depth'", "'7'", "'6'", RUN):
        assert part in caplog.text
    with pytest.raises(InvalidInput, match="'6' and cannot become '7'"):
        known.new(RUN, [("depth", 7)])


def test_what_is_dropped_from_memory_is_read_again(lake, monkeypatch):
    monkeypatch.setattr(params, "_MOST_RUNS", 1)
    waiting = []
    known = Params(lake, 60.0, lambda: [logged(lake, *one) for one in waiting])
    known.begin(RUN)
    known.add(RUN, known.new(RUN, [("depth", 7)]))
    waiting.append((RUN, "depth", "7"))
    assert known.new(OTHER, [("depth", 1)]) == {"depth": "1"}
    assert known.new(RUN, [("depth", 7), ("new", 1)]) == {"new": "1"}
    with pytest.raises(InvalidInput, match="'7' and cannot become '8'"):
        known.new(RUN, [("depth", 8)])
