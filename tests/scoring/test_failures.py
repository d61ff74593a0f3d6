"""Rows for which a model raises: which are found, what the others answer, and how many calls that takes."""

import re

import numpy as np
import pyarrow as pa
import pytest

from sparkml_lifecycle import errors, package
from sparkml_lifecycle.models import infer_signature
from sparkml_lifecycle.package import Description
from sparkml_lifecycle.scoring.failures import Failures, check_sum


@pytest.fixture
def model(tmp_path):
    """A model out of a function of the column ``x``, as a worker loads it; it raises for -1 and quotes the row."""

    def made(function):
        frame = pa.table({"x": [1.0]}).to_pandas()
        signature = infer_signature(frame, frame["x"])
        place = tmp_path / function.__name__
        package.save(function, place, Description(signature=signature, allow_code=True))
        return package.read(place, allow_code=True, hide_errors=True)

    return made


@pytest.fixture
def calls(tmp_path):
    """How often the model was called, and with how many rows; a file, as a model that was saved keeps no variable of ours."""
    place = tmp_path / "calls"
    place.touch()
    return place


def values(bad, rows=1000):
    x = np.arange(rows, dtype=float)
    x[list(bad)] = -1
    return pa.table({"x": x})


def answer(model, rows, most=1000, kind=None):
    failures = Failures(most)
    found, reasons = failures.answer(model, rows, kind or pa.float64(), {}, None)
    return found, reasons, failures


@pytest.mark.parametrize("bad", [[], [0], [999], [3, 4, 5, 500], range(0, 1000, 7)])
def test_bad_rows_are_null_and_the_others_answer_as_without_them(model, bad):
    def double(frame):
        if (frame["x"] == -1).any():
            raise ValueError(f"the customer 4711 in {frame}")
        return frame["x"] * 2

    rows = values(bad)
    found, reasons, failures = answer(model(double), rows)
    is_bad = np.isin(np.arange(1000), list(bad))
    assert found.type == pa.float64()
    assert found.is_null().to_numpy(zero_copy_only=False).tolist() == is_bad.tolist()
    assert reasons.is_valid().to_numpy(zero_copy_only=False).tolist() == is_bad.tolist()
    assert found.drop_null().to_pylist() == (rows["x"].to_numpy()[~is_bad] * 2).tolist()
    assert failures.count == is_bad.sum()
    where = r"The function 'double' raised ValueError in predict \(test_failures\.py, line \d+\)\."
    assert all(re.fullmatch(where, one) for one in reasons.drop_null().to_pylist())


def test_a_bad_row_costs_the_calls_of_a_search_by_halves(model, calls):
    def noted(frame):
        with open(place, "a") as file:
            file.write(f"{len(frame)}\n")
        if (frame["x"] == -1).any():
            raise ValueError
        return frame["x"]

    place = str(calls)
    loaded = model(noted)
    answer(loaded, values([300]))
    # ten halvings of 1,000 rows, two calls each
    assert len(calls.read_text().split()) <= 21
    answer(loaded, values([]))
    assert calls.read_text().split()[-1] == "1000"


def test_a_model_with_state_is_asked_one_call_after_the_other_and_answers_of_a_call_that_raised_are_not_taken(model):
    class Counting:
        def __init__(self):
            self.calls = 0
            self.raised = set()

        def predict_as(self, rows, kind, params, predict_fn=None):
            self.calls += 1
            if -1.0 in rows["x"].to_pylist():
                self.raised.add(float(self.calls))
                raise errors.ScoringError("The model raised ValueError in predict. Its message is left out.")
            return pa.array([float(self.calls)] * rows.num_rows)

    counting = Counting()
    found, _, _ = answer(counting, values([10, 700]))
    taken = found.drop_null().to_pylist()
    assert not counting.raised & set(taken)
    # in the order of the rows, each run of rows from one call
    assert taken == sorted(taken)


def test_too_many_bad_rows_stop_at_the_limit_and_a_hopeless_model_after_few_calls(model, calls):
    def hopeless(frame):
        with open(place, "a") as file:
            file.write("x")
        raise ValueError("secret 4711")

    place = str(calls)
    loaded = model(hopeless)
    with pytest.raises(
        errors.ScoringError, match="each of 24 rows taken at random from 100,000.*raised ValueError"
    ) as told:
        answer(loaded, values([], 100_000))
    assert "4711" not in str(told.value)
    assert len(calls.read_text()) <= 26
    with pytest.raises(errors.ScoringError, match="more than 5 rows of one task, and max_errors is 5"):
        answer(loaded, values([], 10), most=5)
    found, reasons, failures = answer(loaded, values([], 10), most=10)
    assert found.null_count == failures.count == len(reasons) == 10
    with pytest.raises(errors.ScoringError, match="more than 10 rows"):
        failures.answer(loaded, values([], 1), pa.float64(), {}, None)


def test_what_is_no_fault_of_a_row_is_raised(model):
    def fewer(frame):
        return frame["x"][1:]

    def long_text(frame):
        return frame["x"].astype(str)

    with pytest.raises(errors.SchemaError, match="999 answers to 1000 rows"):
        answer(model(fewer), values([]))
    texts = model(long_text)
    for rows in (values([]), pa.table({"y": [1.0]})):
        with pytest.raises(errors.SchemaError):
            answer(texts, rows)


def test_a_struct_of_answers_is_null_as_a_whole(model):
    def two(frame):
        if (frame["x"] == -1).any():
            raise KeyError("4711")
        return frame.assign(y=frame["x"])

    kind = pa.struct([("x", pa.float64()), ("y", pa.float64())])
    found, reasons, _ = answer(model(two), values([1], 3), kind=kind)
    assert found.to_pylist() == [{"x": 0.0, "y": 0.0}, None, {"x": 2.0, "y": 2.0}]
    assert found.type == kind
    assert "KeyError" in reasons[1].as_py()


def test_the_sum_of_the_tasks_counts():
    check_sum(1000, 1000)
    with pytest.raises(
        errors.ScoringError, match="raised for 1,001 rows, and max_errors is 1,000; nothing was committed"
    ):
        check_sum(1001, 1000)
