"""Codes of categories, as pyarrow finds them."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparkml_lifecycle.evaluators.codes import Codes

TEXTS = st.text(max_size=20) | st.sampled_from(
    ["", "a", "a\0", "\0", "12345678", "123456789", "1234567812345678", "12345678\0"]
)


@settings(deadline=None, max_examples=300)
@given(
    st.lists(TEXTS, min_size=1, max_size=60, unique=True), st.lists(TEXTS | st.none(), max_size=60), st.integers(0, 5)
)
def test_texts(levels, others, start):
    values = pa.array([*levels, *others, *reversed(levels)], pa.string()).slice(start)
    found = pc.index_in(values, value_set=pa.array(levels, pa.string())).to_pylist()
    expected = [
        -1 if value is None else len(levels) if code is None else code
        for value, code in zip(values.to_pylist(), found, strict=True)
    ]
    codes = Codes(pa.array(levels, pa.string()))
    assert codes.of(values).tolist() == expected
    assert codes.of(values.dictionary_encode()).tolist() == expected
    # the very end of a buffer of its own
    assert codes.of(pa.array(values.to_pylist()[-3:], pa.string())).tolist() == expected[-3:]


@pytest.mark.parametrize("kind", [pa.int32(), pa.float64(), pa.bool_()])
def test_numbers(kind):
    codes = Codes(pa.array([1, 0]).cast(kind))
    assert codes.of(pa.array([0, 1, None, 0]).cast(kind)).tolist() == [1, 0, -1, 1]


@settings(deadline=None, max_examples=100)
@given(st.lists(st.floats(allow_nan=False), min_size=1, max_size=20, unique=True), st.lists(st.floats() | st.none()))
def test_floats_have_one_zero_and_nan_is_missing(levels, others):
    values = pa.array([*levels, *others], pa.float64(), from_pandas=False)
    expected = [
        -1 if value is None or value != value else levels.index(value) if value in levels else len(levels)
        for value in [*levels, *others]
    ]
    assert Codes(pa.array(levels, pa.float64())).of(values).tolist() == expected


def test_types_that_cannot_be_compared():
    assert Codes(pa.array([1.5])).of(pa.array(["x"])) is None


def test_many_levels():
    levels = [f"level {i}" for i in range(5000)]
    rng = np.random.default_rng(0)
    wanted = rng.integers(0, 5000, 20_000)
    assert np.array_equal(Codes(pa.array(levels)).of(pa.array(levels).take(pa.array(wanted))), wanted)
