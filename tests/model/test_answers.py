"""What a model gives becomes one asked type, whatever a batch happens to hold."""

import datetime as dt

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from sparkml_lifecycle import errors
from sparkml_lifecycle.model import answers
from sparkml_lifecycle.model.signature import Column

DOUBLE, TEXT = pa.float64(), pa.string()
NOTES = [None, "hi", "ho"]


def by_row(rows, wanted, outputs=None):
    """The answers of all rows together, which are those of each row alone."""

    def of(part):
        return answers.to_type(answers.read(part, len(part)), wanted, outputs).to_pylist()

    together = of(rows)
    assert together == [of(rows[i : i + 1])[0] for i in range(len(rows))]
    return together


def test_a_text_that_is_missing_is_not_the_leftmost_number():
    frame = pd.DataFrame({"note": NOTES, "score": [1.0, 2.0, 3.0]})
    assert by_row(frame, DOUBLE) == [1.0, 2.0, 3.0]
    assert by_row(frame, TEXT) == NOTES
    assert by_row(frame, pa.map_(TEXT, DOUBLE)) == [[("score", value)] for value in (1.0, 2.0, 3.0)]


def test_the_signature_says_what_a_missing_answer_is():
    frame = pd.DataFrame({"a": [None, 2.0], "b": [1.0, 2.0]}, dtype=object)
    outputs = (Column("a", DOUBLE), Column("b", DOUBLE))
    assert by_row(frame, DOUBLE, outputs) == [None, 2.0]
    assert by_row(frame, pa.list_(DOUBLE), outputs) == by_row(frame, pa.list_(DOUBLE)) == [[None, 1.0], [2.0, 2.0]]
    texts = pd.DataFrame({"note": NOTES, "score": [1.0, 2.0, 3.0]})
    outputs = (Column("note", TEXT), Column("score", DOUBLE))
    assert by_row(texts, pa.list_(DOUBLE), outputs) == [[1.0], [2.0], [3.0]]


def test_a_none_among_lists_is_a_null_and_among_dicts_a_row_without_an_answer():
    assert by_row([None, [1.0, 2.0]], pa.list_(DOUBLE)) == [None, [1.0, 2.0]]
    rows = [None, {"a": 1.0}, {"a": 2.0, "b": 3.0}, {"b": 1.0, "a": None}]
    struct = pa.struct([("a", DOUBLE), ("b", DOUBLE)])
    wanted = [None, {"a": 1.0, "b": None}, {"a": 2.0, "b": 3.0}, {"a": None, "b": 1.0}]
    assert by_row(rows, struct) == wanted
    assert by_row(rows, pa.map_(TEXT, DOUBLE)) == [
        None,
        [("a", 1.0)],
        [("a", 2.0), ("b", 3.0)],
        [("b", 1.0), ("a", None)],
    ]
    assert by_row(rows, pa.list_(DOUBLE)) == [None, [1.0], [2.0, 3.0], [1.0, None]]
    assert by_row(rows, DOUBLE) == [None, 1.0, 2.0, 1.0]


def test_a_dict_with_none_of_the_asked_names_is_refused():
    with pytest.raises(errors.SchemaError, match=r"\(a double\) cannot become struct<c:double>"):
        by_row([{"a": 1.0}], pa.struct([("c", DOUBLE)]))


def test_categories_and_nanoseconds_become_what_they_stand_for():
    assert by_row(pd.Series(pd.Categorical([10, 20])), pa.int64()) == [10, 20]
    times = pd.Series(pd.to_datetime(["2024-01-01 00:00:00.123456789"]))
    assert by_row(times, pa.timestamp("us")) == [dt.datetime(2024, 1, 1, 0, 0, 0, 123456)]


@pytest.mark.parametrize(
    "given",
    [
        None, 1.0, np.float64(1), np.array(1.0), "abc", b"abc", {1.0, 2.0, 3.0}, [1.0], {"a": 1.0}, {"a": [1.0, 2.0, 3.0], "b": [1.0]},
        [1, {"a": 1}, 2], [1, "a", 2.0], np.array([1j] * 3), [2**70] * 3, [object()] * 3,
        pd.DataFrame(np.zeros((3, 2)), columns=["a", "a"]),
    ],
)  # fmt: skip
def test_what_is_no_answer_for_each_row_is_one_sentence(given):
    with pytest.raises(errors.SchemaError, match=r"The model"):
        answers.to_columns(given, 3)
