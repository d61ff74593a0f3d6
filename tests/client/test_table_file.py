"""Tables of runs: what is logged comes back, and a second table goes below the first."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparkml_lifecycle.client import table_file
from sparkml_lifecycle.errors import FormatError, InvalidInput

FRAME = {
    "zip": ["00123", "00456"], "looks": ["1e5", "nan"], "date": ["2020-01", "x"], "f": [0.1234567890123456, 1e-320],
    "far": [math.inf, -math.inf], "whole": [2**60 + 1, -7], "small": [-0.0, 1.0], "yes": [True, False],
    "none": ["a", None], "deep": [[1.1234567890123457, None], {"x": math.inf}], "maybe": [True, None],
}  # fmt: skip


@pytest.fixture
def load(client, run_id):
    return lambda name: client.load_table("1", name, [run_id])


@pytest.mark.parametrize("kind", ["json", "parquet"])
def test_a_table_keeps_its_values_and_types(client, run_id, load, kind):
    frame = pd.DataFrame({name: values for name, values in FRAME.items() if kind == "json" or name != "deep"})
    client.log_table(run_id, frame, f"t.{kind}")
    pd.testing.assert_frame_equal(load(f"t.{kind}"), frame, check_exact=True)
    assert math.copysign(1, load(f"t.{kind}")["small"][0]) == -1


def test_missing_numbers_are_null_and_large_ones_stay_whole_beside_them(client, run_id, load):
    client.log_table(
        run_id, {"f": [1.5, math.nan], "i": pd.array([2**60 + 1, None], "Int64"), "n": [None, None]}, "t.json"
    )
    found = load("t.json")
    assert found["f"].tolist()[0] == 1.5
    assert found.isna().to_numpy().tolist() == [[False, False, True], [True, True, True]]
    assert found["i"][0] == 2**60 + 1
    assert load("t.json")["n"].dtype == float


def test_what_json_has_no_type_for_is_a_text(client, run_id, load):
    times = pd.to_datetime(["2026-01-02T03:04:05.123456789", None])
    client.log_table(
        run_id, {"t": times, "np": [np.float32(0.5), np.int8(3)], "d": [np.datetime64("2026-01-02"), b"x"]}, "t.json"
    )
    assert load("t.json").to_dict("list") == {
        "t": ["2026-01-02T03:04:05.123456789", None], "np": [0.5, 3.0], "d": ["2026-01-02T00:00:00", "x"],
    }  # fmt: skip


def test_the_file_is_json_that_mlflow_reads(client, run_id):
    client.log_table(run_id, {"s": ["a", "b"], "f": [math.inf, 0.1]}, "t.json")
    path = client.download_artifacts(run_id, "t.json")
    with open(path) as file:
        # NaN and Infinity are no JSON
        content = json.load(file, parse_constant=pytest.fail)
    assert content == {"columns": ["s", "f"], "data": [["a", math.inf], ["b", 0.1]]}
    # so MLflow's own load_table() reads it
    assert pd.read_json(path, orient="split").to_dict("list") == {"s": ["a", "b"], "f": [math.inf, 0.1]}


@pytest.mark.parametrize("kind", ["json", "parquet"])
def test_a_table_that_is_there_goes_on(client, run_id, load, kind):
    client.log_table(run_id, {"q": ["a"], "n": [2**60 + 1]}, f"deep/rows.{kind}")
    client.log_table(run_id, {"n": [2], "new": ["x"]}, f"deep/rows.{kind}")
    client.log_table(run_id, pd.DataFrame({"q": ["c"], "n": [3]}), f"deep/rows.{kind}")
    assert load(f"deep/rows.{kind}").to_dict("list") == {
        "q": ["a", None, "c"], "n": [2**60 + 1, 2, 3], "new": [None, "x", None],
    }  # fmt: skip


def test_a_table_that_mlflow_wrote_goes_on(client, run_id, load, tmp_path):
    pd.DataFrame({"q": ["a"], "f": [0.5]}).to_json(tmp_path / "rows.json", orient="split", index=False)
    client.log_artifact(run_id, tmp_path / "rows.json")
    client.log_table(run_id, {"q": ["b"], "f": [0.1]}, "rows.json")
    assert load("rows.json").to_dict("list") == {"q": ["a", "b"], "f": [0.5, 0.1]}


def test_columns_of_another_type_are_named_in_parquet(client, run_id, load):
    client.log_table(run_id, {"a": [1], "b": [None]}, "t.parquet")
    client.log_table(run_id, {"a": [0.5], "b": ["x"]}, "t.parquet")
    with pytest.raises(InvalidInput, match=r"a \(double, now string\).*another name"):
        client.log_table(run_id, {"a": ["secret"]}, "t.parquet")
    assert load("t.parquet").to_dict("list") == {"a": [1.0, 0.5], "b": [None, "x"]}


@pytest.mark.parametrize("name", ["t.json", "t.parquet"])
def test_a_file_that_is_no_table_is_said_and_stays(client, run_id, load, name):
    client.log_text(run_id, '{"columns": ["a"], "data": [[1, 2]]}', name)
    with pytest.raises(FormatError, match="another name"):
        client.log_table(run_id, {"a": [1]}, name)
    with pytest.raises(FormatError, match=name):
        load(name)


@pytest.mark.parametrize(
    "columns",
    [{"a": [2**70]}, {"a": ["\ud800"]}, {"a": [b"\xff"]}, pd.DataFrame([[1, 2]], columns=["a", "a"])],
    ids=["too great", "no Unicode", "bytes", "one name twice"],
)
def test_what_no_file_can_hold_is_refused(client, run_id, columns):
    with pytest.raises(InvalidInput, match=r"cannot be written as 't\.json'"):
        client.log_table(run_id, columns, "t.json")
    assert client.list_artifacts(run_id) == []


_VALUES = st.one_of(
    st.lists(st.floats(), min_size=1),
    st.lists(st.text(), min_size=1),
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1),
)


@settings(max_examples=200, deadline=None)
@given(values=_VALUES)
def test_any_numbers_and_texts_come_back(tmp_path_factory, values):
    path = tmp_path_factory.mktemp("table") / "t.json"
    frame = pd.DataFrame({"a": values})
    table_file.write(frame, path)
    pd.testing.assert_frame_equal(table_file.read(path), frame, check_exact=True)
