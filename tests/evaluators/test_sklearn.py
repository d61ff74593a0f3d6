"""scikit-learn's trees, to the last bit."""

import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from sklearn.ensemble import (
    AdaBoostRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LinearRegression
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeRegressor

from sparkml_lifecycle.evaluators.scorer import TreesScorer
from sparkml_lifecycle.evaluators.trees import sklearn as reader
from sparkml_lifecycle.evaluators.trees.answers import Unknown
from tests.evaluators.models import matrix, rows_for, scorer, shapes, table

QUICK = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
REGRESSORS = {
    "histogram": lambda leaves: HistGradientBoostingRegressor(max_iter=10, max_leaf_nodes=leaves, min_samples_leaf=1),
    "poisson": lambda leaves: HistGradientBoostingRegressor(loss="poisson", max_iter=5, max_leaf_nodes=leaves),
    "boosting": lambda leaves: GradientBoostingRegressor(n_estimators=8, max_leaf_nodes=leaves, random_state=0),
    "forest": lambda leaves: RandomForestRegressor(6, max_leaf_nodes=leaves, random_state=0),
    "full forest": lambda leaves: RandomForestRegressor(3, random_state=0),
    "extra": lambda leaves: ExtraTreesRegressor(6, max_leaf_nodes=leaves, random_state=0),
    "tree": lambda leaves: DecisionTreeRegressor(max_leaf_nodes=leaves, random_state=0),
    "extra tree": lambda leaves: ExtraTreeRegressor(max_leaf_nodes=leaves, random_state=0),
}
CLASSIFIERS = {
    "histogram": lambda: HistGradientBoostingClassifier(max_iter=5, min_samples_leaf=1),
    "boosting": lambda: GradientBoostingClassifier(n_estimators=5, random_state=0),
    "forest": lambda: RandomForestClassifier(7, random_state=0),
    "extra": lambda: ExtraTreesClassifier(7, max_depth=5, random_state=0),
    "tree": lambda: DecisionTreeClassifier(max_depth=4, random_state=0),
}


def read(model):
    return reader.read(model, {}, None)


def _can_be_learned(x):
    # scikit-learn's histograms refuse a column that has no value at all
    return not np.isnan(x).all(axis=0).any()


def assert_equal(model, columns, *, seed=0):
    found = read(model)
    rows, x = rows_for(found, columns, seed)
    fast = scorer(found, columns)
    for method in found.methods:
        for size in (len(x), 1, 513):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RuntimeWarning)  # log of zero
                expected = getattr(model, method)(x[:size])
                answers = fast.answer(rows.slice(0, size), method)
            assert answers.dtype == expected.dtype
            np.testing.assert_array_equal(answers, expected)


@QUICK
@pytest.mark.parametrize("kind", REGRESSORS)
@given(shape=shapes(), leaves=st.sampled_from([2, 3, 31, 200]), weights=st.booleans())
def test_random_regressors(kind, shape, leaves, weights):
    seed, rows, columns, missing, whole = shape
    rng = np.random.default_rng(seed)
    missing = missing and kind in ("histogram", "poisson", "forest", "tree")
    x = matrix(rng, rows + 1, columns, missing=missing, whole=whole)
    assume(_can_be_learned(x))
    y = rng.random(rows + 1) + 0.1
    model = REGRESSORS[kind](leaves).fit(x, y, sample_weight=rng.random(rows + 1) + 0.1 if weights else None)
    assert_equal(model, columns, seed=seed % 1000)


@QUICK
@pytest.mark.parametrize("kind", CLASSIFIERS)
@given(shape=shapes(), classes=st.integers(2, 5))
def test_random_classifiers(kind, shape, classes):
    seed, rows, columns, missing, whole = shape
    rng = np.random.default_rng(seed)
    missing = missing and kind in ("histogram", "forest", "tree")
    rows += 2 * classes
    x = matrix(rng, rows, columns, missing=missing, whole=whole)
    assume(_can_be_learned(x))
    y = np.concatenate([np.arange(2 * classes) % classes, rng.integers(0, classes, rows - 2 * classes)])
    labels = np.array([f"class {i}" for i in range(classes)])
    assert_equal(CLASSIFIERS[kind]().fit(x, labels[y]), columns, seed=seed % 1000)


def test_deep_trees_are_walked():
    rng = np.random.default_rng(0)
    x = matrix(rng, 6000, 5, missing=True)
    for model in (
        RandomForestRegressor(3, random_state=0),
        RandomForestClassifier(3, random_state=0),
        HistGradientBoostingRegressor(max_iter=3, max_leaf_nodes=2000, min_samples_leaf=1),
        DecisionTreeRegressor(),
    ):
        y = rng.normal(size=6000)
        model.fit(x, y > 0.5 if hasattr(model, "classes_") or "Classifier" in type(model).__name__ else y)
        assert_equal(model, 5)


@pytest.mark.parametrize("leaves", [31, 1500])
def test_categories_of_histogram_gradient_boosting(leaves):
    rng = np.random.default_rng(1)
    rows = 8000
    frame = pd.DataFrame(
        {
            "n": rng.normal(size=rows),
            "c": pd.Categorical(rng.choice([f"c{i:03}" for i in range(150)], rows)),
            "d": pd.Categorical(rng.choice(list("xyz"), rows)),
        }
    )
    frame.loc[rng.random(rows) < 0.1, ["n", "c"]] = None
    y = frame.c.cat.codes * 0.1 + frame.d.cat.codes + rng.normal(size=rows) + (frame.n > 0)
    model = HistGradientBoostingRegressor(
        categorical_features="from_dtype", max_iter=20, max_leaf_nodes=leaves, min_samples_leaf=1
    )
    model.fit(frame, y)
    found = read(model)
    levels = {position: pa.array(values) for position, values in found.levels.items()}
    assert sorted(levels) == [1, 2]
    odd = frame.head(2000).copy()
    odd["c"] = odd["c"].astype(object)
    odd.loc[odd.index[:50], "c"] = "never seen"
    odd["c"] = odd["c"].astype("category")
    fast = TreesScorer(found, levels, 3, takes_unknown=True)
    for rows_of in (frame, odd):
        for text in (pa.string(), pa.dictionary(pa.int32(), pa.string())):
            columns = pa.Table.from_pandas(rows_of, preserve_index=False)
            columns = pa.table(
                [columns["n"], columns["c"].cast(pa.string()).cast(text), columns["d"].cast(pa.string()).cast(text)],
                names=["n", "c", "d"],
            )
            np.testing.assert_array_equal(fast.answer(columns, "predict"), model.predict(rows_of))


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (AdaBoostRegressor(n_estimators=2), "AdaBoostRegressor"),
        (LinearRegression(), "LinearRegression"),
        (GradientBoostingRegressor(init=LinearRegression(), n_estimators=2), "init"),
    ],
)
def test_what_is_not_known_is_said(model, said):
    x = np.random.default_rng(0).normal(size=(50, 2))
    with pytest.raises(Unknown, match=said):
        read(model.fit(x, x[:, 0]))


def test_several_outputs_and_derived_classes_are_not_known():
    x = np.random.default_rng(0).normal(size=(50, 2))
    with pytest.raises(Unknown, match="several outputs"):
        read(RandomForestRegressor(2).fit(x, x))

    class Mine(RandomForestRegressor):
        pass

    with pytest.raises(Unknown, match="scikit-learn's own"):
        read(Mine(2).fit(x, x[:, 0]))


def test_missing_and_infinite_rows_are_left_to_estimators_that_refuse_them():
    x = np.random.default_rng(0).normal(size=(200, 2))
    boosting = read(GradientBoostingRegressor(n_estimators=3).fit(x, x[:, 0]))
    forest = read(RandomForestRegressor(3).fit(x, x[:, 0]))
    histogram = read(HistGradientBoostingRegressor(max_iter=3).fit(x, x[:, 0]))
    missing, infinite = table(np.array([[1.0, np.nan]])), table(np.array([[1.0, np.inf]]))
    assert scorer(boosting, 2).answer(missing, "predict") is None
    assert scorer(forest, 2).answer(missing, "predict") is not None
    assert scorer(boosting, 2).answer(infinite, "predict") is None
    assert scorer(forest, 2).answer(infinite, "predict") is None
    assert scorer(histogram, 2).answer(infinite, "predict") is not None
