"""An input example in any container is kept as it was, or refused by a sentence."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from sparkml_lifecycle import errors, package
from sparkml_lifecycle.package import Description


def whole(x):
    return [1.0] * len(x)


def saved(example, tmp_path, model=whole):
    found = package.save(model, tmp_path / "m", Description(input_example=example, allow_code=True))
    return found.signature, package.read(tmp_path / "m", allow_code=True)


@pytest.mark.parametrize(
    "example",
    [
        pa.table({"a": pa.array([1, None, 3])}),
        {"a": [1, None, 3]},
        pd.DataFrame({"a": pd.array([1, None, 3], dtype="Int64")}),
    ],
)
def test_integers_with_a_null_stay_integers(example, tmp_path):
    signature, _ = saved(example, tmp_path)
    assert (signature.columns[0].type, signature.columns[0].nullable) == (pa.int64(), True)


@pytest.mark.spark
def test_a_spark_example_with_a_null_is_kept(spark, tmp_path):
    signature, model = saved(spark.createDataFrame([(1, 2.0), (None, 3.0)], "a int, b double"), tmp_path)
    assert signature.columns[0].type == pa.int32()
    assert len(model.predict(pa.table({"a": pa.array([None, 2], pa.int32()), "b": [1.0, 2.0]}))) == 2


def test_decimals_take_more_digits_than_the_examples(tmp_path):
    _, model = saved(pd.DataFrame({"x": [Decimal("1.5")]}), tmp_path, lambda x: [str(v) for v in x["x"]])
    rows = pd.DataFrame({"x": [Decimal("22.25"), Decimal("12345.678")]})
    assert [Decimal(text) for text in model.predict(rows)] == [Decimal("22.25"), Decimal("12345.678")]
    assert list(model.predict(rows)) == [*model.predict(rows.head(1)), *model.predict(rows.tail(1))]


@pytest.mark.parametrize(
    ("example", "problem"),
    [
        (pd.DataFrame(np.zeros((2, 2)), columns=["a", "a"]), "Several columns .* 'a'"),
        (pd.DataFrame({"a": pd.Categorical(pd.to_datetime(["2024-01-01"]))}), "categories of column 'a'"),
        (pd.DataFrame({"a": np.array([2**63 + 1], dtype="uint64")}), "does not fit into bigint"),
        (pd.DataFrame({"a": [2**70]}), "64 bits"),
    ],
)
def test_an_example_that_has_no_columns_is_one_sentence(example, problem, tmp_path):
    with pytest.raises(errors.InvalidInput, match=problem):
        saved(example, tmp_path)


@pytest.mark.parametrize(
    "example", [pd.DataFrame({"a": [b"\xff\x00"]}), pd.DataFrame({"a": [1.0, 2.0]}).to_records(index=False)]
)
def test_bytes_and_records_are_kept(example, tmp_path):
    signature, _ = saved(example, tmp_path)
    assert signature.names == ["a"]


def test_an_example_for_a_model_of_names(tmp_path):
    from sklearn.linear_model import LinearRegression

    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(20, 2)), columns=["a", "b"])
    model = LinearRegression().fit(frame, frame["a"])
    with pytest.raises(errors.InvalidInput, match="trained on the columns a, b; the input example also has 'z'"):
        saved(frame.assign(z="q"), tmp_path, model)
    signature, loaded = saved([[1.0, 2.0], [3.0, 4.0]], tmp_path, model)
    assert signature.names == ["a", "b"]
    np.testing.assert_allclose(loaded.predict(frame), model.predict(frame), rtol=1e-12)


@pytest.mark.parametrize(
    "rows",
    [
        {"a": [1.0, 2.0], "b": [1.0]},
        np.array(1.0),
        pd.DataFrame({"a": [1 + 2j], "b": [1.0]}),
        pd.DataFrame({"a": [2**70], "b": [1.0]}),
        pd.DataFrame(np.zeros((2, 3)), columns=["a", "a", "b"]),
        {"a": [[1], [1, 2]], "b": [1.0, 2.0]},
        None,
        "abc",
    ],
)
def test_rows_that_are_no_table_are_one_sentence(rows, tmp_path):
    from sklearn.linear_model import LinearRegression

    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [1.0, 3.0]})
    _, model = saved(frame, tmp_path, LinearRegression().fit(frame, frame["a"]))
    with pytest.raises(errors.InvalidInput):
        model.predict(rows)


def test_sparse_rows_are_rows(tmp_path):
    import scipy.sparse
    from sklearn.linear_model import LinearRegression

    frame = pd.DataFrame({"a": [1.0, 0.0], "b": [0.0, 3.0]})
    model = LinearRegression().fit(frame, frame["a"])
    _, loaded = saved(frame, tmp_path, model)
    for rows in (scipy.sparse.csr_matrix(frame.to_numpy()), frame.astype(pd.SparseDtype("float64"))):
        np.testing.assert_allclose(loaded.predict(rows), model.predict(frame), rtol=1e-12)
