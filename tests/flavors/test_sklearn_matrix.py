"""A matrix in place of a DataFrame: only where scikit-learn's answers are the same to the last bit."""

import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    VotingRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from sparkml_lifecycle import package
from sparkml_lifecycle.flavors.sklearn import SklearnFlavor
from sparkml_lifecycle.package import Description

NAMES = ["c", "a", "b"]


def frame(dtype="float64"):
    values = np.random.default_rng(1).normal(size=(500, 3)) * [1, 1e6, 1e-6]
    return pd.DataFrame(values.astype(dtype), columns=NAMES)


def target():
    return frame()["a"] * 1e-6 + frame()["b"] * 1e6


def loaded(model, tmp_path, dtype="float64"):
    package.save(model, tmp_path / "model", Description(input_example=frame(dtype).head(3)))
    return package.read(tmp_path / "model", evaluator="native")


MATRIX = {
    "regression": lambda x, y: LinearRegression().fit(x, y),
    "pipeline": lambda x, y: make_pipeline(StandardScaler(), PCA(2), LinearRegression()).fit(x, y),
    "classifier": lambda x, y: LogisticRegression().fit(StandardScaler().fit_transform(x), (y > 0).astype(int)),
    "named classifier": lambda x, y: make_pipeline(StandardScaler(), LogisticRegression()).fit(x, (y > 0).astype(int)),
    "forest": lambda x, y: RandomForestClassifier(5, random_state=1).fit(x, (y > 0).astype(int)),
    "boosting": lambda x, y: GradientBoostingRegressor(n_estimators=5).fit(x, y),
    "histograms": lambda x, y: HistGradientBoostingRegressor(max_iter=5).fit(x, y),
    "imputer": lambda x, y: make_pipeline(SimpleImputer(), LinearRegression()).fit(x, y),
    "clusters": lambda x, y: KMeans(3, n_init=1, random_state=1).fit(x),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", MATRIX)
def test_the_answers_are_those_to_a_data_frame_and_nothing_is_warned_about(tmp_path, name, dtype):
    model = loaded(MATRIX[name](frame(dtype), target()), tmp_path, dtype)
    rows = pa.Table.from_pandas(frame(dtype), preserve_index=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        given = model.predict_as(rows, pa.float64())
    assert name == "classifier" or model._form.nameless
    # the last bit depends on how a matrix lies in memory: columns of a table lie one after the other
    columns = pd.DataFrame({name: frame(dtype)[name].to_numpy(copy=True) for name in NAMES}, copy=False)
    expected = model.unwrap().predict(columns if name != "classifier" else columns.to_numpy())
    np.testing.assert_array_equal(given.to_numpy(zero_copy_only=False), np.asarray(expected, np.float64))


def test_nan_is_refused_or_answered_as_by_the_framework(tmp_path):
    rows = frame()
    rows.loc[[3, 499], "a"] = np.nan
    table = pa.Table.from_pandas(rows, preserve_index=False)
    refusing = loaded(MATRIX["pipeline"](frame(), target()), tmp_path / "refusing")
    whole = refusing.predict_as(pa.Table.from_pandas(frame(), preserve_index=False), pa.float64())
    for _ in range(2):
        given = refusing.predict_as(table, pa.float64())
        assert [i for i, one in enumerate(given.to_pylist()) if one is None] == [3, 499]
        assert given.slice(4, 100).equals(whole.slice(4, 100))
    answering = loaded(MATRIX["imputer"](frame(), target()), tmp_path / "answering")
    expected = answering.unwrap().predict(
        pd.DataFrame({name: rows[name].to_numpy(copy=True) for name in NAMES}, copy=False)
    )
    np.testing.assert_array_equal(answering.predict_as(table, pa.float64()).to_numpy(), expected)


class Own(Pipeline):
    """It may do anything."""


LOOKS = {
    "columns by name": lambda: make_pipeline(ColumnTransformer([("a", StandardScaler(), ["a"])]), LinearRegression()),
    "a function": lambda: make_pipeline(FunctionTransformer(np.abs), LinearRegression()),
    "a union": lambda: make_pipeline(FeatureUnion([("s", StandardScaler())]), LinearRegression()),
    "models inside": lambda: VotingRegressor([("l", LinearRegression())]),
    "a model inside": lambda: TransformedTargetRegressor(LinearRegression()),
    "a pipeline inside": lambda: make_pipeline(make_pipeline(StandardScaler()), LinearRegression()),
    "a class of somebody's own": lambda: Own([("s", StandardScaler()), ("l", LinearRegression())]),
    "frames between": lambda: make_pipeline(StandardScaler().set_output(transform="pandas"), LinearRegression()),
}


@pytest.mark.parametrize("name", LOOKS)
def test_a_model_that_may_look_at_names_gets_a_data_frame(name):
    assert SklearnFlavor().of_matrix(LOOKS[name]().fit(frame(), target())) is None


def test_boosted_trees_with_categories_get_a_data_frame():
    rows = frame().assign(c=pd.Categorical(["x", "y"] * 250))
    assert SklearnFlavor().of_matrix(HistGradientBoostingRegressor(max_iter=2).fit(rows, target())) is None


def test_columns_of_several_types_get_a_data_frame(tmp_path):
    rows = frame().assign(c=range(500))
    model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LinearRegression()).fit(rows, target())
    package.save(model, tmp_path / "model", Description(input_example=rows.head(3)))
    read = package.read(tmp_path / "model", evaluator="native")
    table = pa.Table.from_pandas(rows, preserve_index=False)
    assert not read._form.is_block(table)
    np.testing.assert_array_equal(read.predict_as(table, pa.float64()).to_numpy(), model.predict(rows))
