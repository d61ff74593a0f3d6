"""Signatures: inferred from every container, and the same after a way through ``MLmodel``."""

import datetime as dt
import json
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparkml_lifecycle import errors
from sparkml_lifecycle.model import batch, manifest, types
from sparkml_lifecycle.model.manifest import Manifest
from sparkml_lifecycle.model.signature import Column, Signature, Tensor, infer_signature

PLAIN = st.sampled_from([
    pa.bool_(), pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.float32(), pa.float64(), pa.string(), pa.binary(), pa.date32(),
    pa.timestamp("us", tz="UTC"), pa.timestamp("us"), pa.decimal128(12, 3),
])  # fmt: skip
TYPES = st.recursive(
    PLAIN,
    lambda inner: st.one_of(
        inner.map(pa.list_),
        inner.map(lambda t: pa.map_(pa.string(), t)),
        st.lists(inner, min_size=1, max_size=3).map(lambda ts: pa.struct([(f"f{i}", t) for i, t in enumerate(ts)])),
    ),
    max_leaves=4,
)


@given(kind=TYPES, required=st.booleans(), nullable=st.booleans())
def test_every_spark_type_survives_the_manifest(kind, required, nullable):
    signature = Signature((Column("a", kind, required, nullable),), (Column(None, pa.float64()),))
    written = manifest.to_dict(Manifest({"python_function": {"loader_module": "x"}}, signature))
    assert manifest.from_dict(written).signature == signature


def test_pandas_types_become_columns():
    frame = pd.DataFrame(
        {
            "i": np.array([1, 2], dtype="int32"),
            "n": pd.array([1, None], dtype="Int64"),
            "s": ["x", None],
            "c": pd.Categorical(["b", "a"], categories=["b", "a", "z"]),
            "d": [dt.date(2020, 1, 1), dt.date(2021, 1, 1)],
            "t": pd.to_datetime(["2020-01-01", "2021-01-01"], utc=True),
            "m": [Decimal("1.50"), Decimal("2.25")],
            "l": [[1.0], [2.0, 3.0]],
        }
    )
    found = {column.name: column for column in infer_signature(frame).columns}
    assert found["i"].type == pa.int32()
    assert (found["n"].type, found["n"].nullable) == (pa.int64(), True)
    assert (found["s"].nullable, found["i"].nullable) == (True, False)
    assert found["c"].categories == ("b", "a", "z")
    assert found["d"].type == pa.date32()
    assert found["t"].type == pa.timestamp("us", tz="UTC")
    assert pa.types.is_decimal(found["m"].type)
    assert found["l"].type == pa.list_(pa.float64())


def test_numpy_becomes_a_tensor_and_arrow_its_schema():
    assert infer_signature(np.zeros((3, 4), dtype="float32")).inputs == (Tensor("float32", (-1, 4)),)
    table = pa.table({"a": pa.array([1], pa.int16()), "b": pa.array(["x"]).dictionary_encode()})
    assert [(c.name, c.type, c.categories) for c in infer_signature(table).columns] == [
        ("a", pa.int16(), None),
        ("b", pa.string(), ("x",)),
    ]


def test_a_column_of_mixed_types_is_named():
    with pytest.raises(errors.InvalidInput, match=r"'a' mixes values of the types (int, str|str, int)"):
        infer_signature(pd.DataFrame({"a": [1, "x"]}))


def test_unknown_keys_of_a_manifest_survive():
    content = {
        "flavors": {"python_function": {"loader_module": "x", "new": 1}},
        "prompts": None,
        "something": {"a": [1]},
        "run_id": "r",
    }
    written = manifest.to_dict(manifest.from_dict(content))
    assert {key: written[key] for key in content} == content


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: [", "not valid YAML"),
        ("- 1", "no 'flavors'"),
        ("flavors: {}\nsparkml_lifecycle: {format_version: 99}", "reads up to"),
        ("flavors: {}\nsignature: {inputs: '[{'}", "cannot be read"),
        ("flavors: {}\nsignature: {inputs: '[1]'}", "lists of columns"),
        ("flavors: {}\nsignature: {inputs: '{}', params: '[{}]'}", "cannot be read"),
        ("flavors: {}\nsignature: abc", "'signature' in .* must be a mapping"),
        ("flavors: {}\nsparkml_lifecycle: [1]", "'sparkml_lifecycle' in .* must be a mapping"),
        ("flavors: {}\nsparkml_lifecycle: {versions: x}", r"'sparkml_lifecycle\.versions' in .* must be a mapping"),
        ("flavors: {}\nsparkml_lifecycle: {signature: [1]}", r"'sparkml_lifecycle\.signature' in .* must be a mapping"),
        ("flavors: {}\nsparkml_lifecycle: {signature: {inputs: abc}}", "lists of columns"),
        ("flavors: {python_function: null}", r"'flavors\.python_function' in .* must be a mapping"),
        ("flavors: {sklearn: [1]}", r"'flavors\.sklearn' in .* must be a mapping"),
    ],
)
def test_a_broken_manifest_says_what_is_wrong(tmp_path, text, problem):
    (tmp_path / "MLmodel").write_text(text)
    with pytest.raises(errors.FormatError, match=problem):
        manifest.read(tmp_path)


def test_a_manifest_that_is_no_text_is_a_format_error(tmp_path):
    (tmp_path / "MLmodel").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(errors.FormatError, match="not a text file in UTF-8"):
        manifest.read(tmp_path)


def test_unknown_keys_inside_a_signature_survive_while_it_is_the_same():
    column = {"type": "double", "name": "a", "required": True, "newer": 1}
    content = {
        "flavors": {"python_function": {"loader_module": "x"}},
        "signature": {"inputs": json.dumps([column]), "outputs": None, "params": None, "newer": "2"},
        "sparkml_lifecycle": {"format_version": 1, "signature": {"inputs": [{**column, "nullable": True}], "newer": 3}},
    }
    read = manifest.from_dict(content)
    assert manifest.to_dict(read) == content
    changed = replace(read, signature=Signature((Column("b", pa.float64()),)))
    assert manifest.from_dict(manifest.to_dict(changed)).signature == changed.signature


def test_no_manifest_says_what_is_there(tmp_path):
    (tmp_path / "model.pkl").write_text("")
    with pytest.raises(errors.NotFound, match=r"holds model\.pkl"):
        manifest.read(tmp_path)


@pytest.mark.parametrize(
    ("found", "wanted", "fits"),
    [
        (pa.int32(), pa.int64(), True),
        (pa.int64(), pa.int32(), False),
        (pa.int64(), pa.float64(), True),
        (pa.float64(), pa.float32(), False),
        (pa.float32(), pa.float64(), True),
        (pa.float64(), pa.int64(), False),
        (pa.string(), pa.float64(), False),
        (pa.date32(), pa.timestamp("us", tz="UTC"), True),
        (pa.list_(pa.int32()), pa.list_(pa.float64()), True),
    ],
)
def test_only_what_loses_nothing_is_widened(found, wanted, fits):
    assert types.widens(found, wanted) is fits


def test_an_optional_column_that_is_absent_is_null():
    signature = Signature((Column("a", pa.int64()), Column("b", pa.string(), required=False)))
    assert batch.conform(pa.table({"a": [1]}), signature).to_pydict() == {"a": [1], "b": [None]}


def test_a_missing_column_gets_the_nearest_name_in_a_whole_sentence():
    signature = Signature((Column("age", pa.int64()),))
    with pytest.raises(errors.SchemaError) as caught:
        batch.conform(pa.table({"Age": [1]}), signature)
    assert str(caught.value) == (
        "The columns do not fit the model: column 'age' (bigint) is missing (did you mean 'Age'?). Found: Age."
    )


def test_advice_about_a_type_is_in_the_callers_words():
    signature = Signature((Column("age", pa.int64()), Column("plan", pa.string())))
    wrong = pa.table({"age": [1.5], "plan": [1]})
    with pytest.raises(errors.SchemaError, match=r"CAST\(age AS bigint\)"):
        batch.conform(wrong, signature)
    with pytest.raises(errors.SchemaError, match=r"df\['age'\]\.astype\('int64'\).*df\['plan'\]\.astype\('str'\)"):
        batch.conform(wrong, signature, in_pandas=True)


@pytest.mark.parametrize(
    "kind", [pa.int8(), pa.int64(), pa.float32(), pa.float64(), pa.bool_(), pa.string(), pa.timestamp("us", tz="UTC")]
)
def test_the_advice_for_pandas_is_a_dtype_that_fits(kind):
    column = pd.Series([1, 0]).astype(types.pandas_name(kind))
    assert types.widens(infer_signature(column).inputs[0].type, kind)


def test_a_signature_is_one_short_line():
    frame = pd.DataFrame({"plan": ["a"], "age": [1]})
    assert repr(infer_signature(frame, pd.Series([1]), {"add": 0})) == "plan: string, age: long; params add=0 -> long"
    assert repr(infer_signature(np.zeros((3, 4)))) == "float64[-1, 4] -> ?"
    assert repr(infer_signature(pd.DataFrame({f"c{i}": [1.0] for i in range(30)}))).endswith(
        "c7: double, … 22 more -> ?"
    )


def test_a_parameter_that_is_not_declared_says_how_it_would_be():
    with pytest.raises(errors.SchemaError, match=r"infer_signature\(X, y, params=\{'add': …\}\)"):
        Signature().with_params({"add": 1})
