"""XGBoost's trees, to the last bit."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import xgboost
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparkml_lifecycle.evaluators.trees import xgboost as reader
from sparkml_lifecycle.evaluators.trees.answers import Unknown
from tests.evaluators.models import matrix, rows_for, scorer, shapes

QUICK = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))


def read(model, columns):
    return reader.read(model, {}, pa.schema([(str(i), pa.float64()) for i in range(columns)]))


def assert_equal(model, columns, *, seed=0):
    found = read(model, columns)
    rows, x = rows_for(found, columns, seed)
    fast = scorer(found, columns)
    for method in found.methods:
        for size in (len(x), 1, 511):
            expected = getattr(model, method)(x[:size])
            answers = fast.answer(rows.slice(0, size), method)
            assert answers.dtype == expected.dtype
            np.testing.assert_array_equal(answers, expected)


@QUICK
@given(
    shapes(),
    st.integers(1, 9),
    st.integers(1, 30),
    st.sampled_from(["hist", "exact", "approx"]),
    st.sampled_from(["depthwise", "lossguide"]),
    st.integers(1, 3),
)
def test_random_regressors(shape, depth, trees, method, policy, parallel):
    seed, rows, columns, missing, whole = shape
    rng = np.random.default_rng(seed)
    x = matrix(rng, rows, columns, missing=missing, whole=whole)
    model = xgboost.XGBRegressor(
        n_estimators=trees, max_depth=depth, tree_method=method, num_parallel_tree=parallel, n_jobs=1,
        max_leaves=20 if policy == "lossguide" else 0, grow_policy="depthwise" if method == "exact" else policy,
        base_score=float(rng.normal()),
    )  # fmt: skip
    model.fit(x, rng.normal(size=rows), sample_weight=rng.random(rows) + 0.1)
    assert_equal(model, columns, seed=seed % 1000)


@QUICK
@given(
    shapes(),
    st.integers(2, 5),
    st.integers(1, 6),
    st.sampled_from(["default", "multi:softmax"]),
)
def test_random_classifiers(shape, classes, depth, objective):
    seed, rows, columns, missing, whole = shape
    rng = np.random.default_rng(seed)
    rows += classes
    x = matrix(rng, rows, columns, missing=missing, whole=whole)
    y = np.concatenate([np.arange(classes), rng.integers(0, classes, rows - classes)])
    options = {} if objective == "default" or classes == 2 else {"objective": objective}
    assert_equal(xgboost.XGBClassifier(n_estimators=7, max_depth=depth, n_jobs=1, **options).fit(x, y), columns)


@pytest.mark.parametrize(
    "objective",
    ["reg:logistic", "count:poisson", "reg:gamma", "reg:tweedie", "reg:absoluteerror", "reg:pseudohubererror", "binary:hinge",
     "reg:squaredlogerror", "binary:logitraw"],
)  # fmt: skip
def test_objectives(objective):
    rng = np.random.default_rng(1)
    x = matrix(rng, 500, 4, missing=True)
    y = rng.random(500) if not objective.startswith("binary") else rng.integers(0, 2, 500)
    assert_equal(xgboost.XGBRegressor(n_estimators=20, objective=objective, n_jobs=1).fit(x, y), 4)


def test_quantiles_have_an_output_each_and_rankers_one():
    rng = np.random.default_rng(2)
    x, y = matrix(rng, 500, 4), rng.normal(size=500)
    quantiles = xgboost.XGBRegressor(
        objective="reg:quantileerror", quantile_alpha=np.array([0.1, 0.5, 0.9]), n_estimators=9, n_jobs=1
    )
    assert_equal(quantiles.fit(x, y), 4)
    ranker = xgboost.XGBRanker(n_estimators=9, n_jobs=1).fit(
        x, rng.integers(0, 4, 500), qid=np.sort(rng.integers(0, 9, 500))
    )
    assert_equal(ranker, 4)
    several = xgboost.XGBRegressor(n_estimators=5, n_jobs=1).fit(x, rng.normal(size=(500, 2)))
    assert_equal(several, 4)


def test_a_value_that_means_missing():
    rng = np.random.default_rng(3)
    x = np.round(matrix(rng, 2000, 3))
    model = xgboost.XGBRegressor(n_estimators=20, missing=-1.0, n_jobs=1).fit(x, rng.normal(size=2000))
    found = read(model, 3)
    rows, tried = rows_for(found, 3)
    # the flavor gives it DataFrames, of which XGBoost looks for the value in float32
    expected = model.predict(pd.DataFrame(tried))
    np.testing.assert_array_equal(scorer(found, 3).answer(rows, "predict"), expected)
    with pytest.raises(Unknown, match="whole numbers"):
        reader.read(model, {}, pa.schema([("a", pa.int64()), ("b", pa.float64()), ("c", pa.float64())]))


def test_the_best_iteration_predicts():
    rng = np.random.default_rng(4)
    x, y = matrix(rng, 400, 3), rng.normal(size=400)
    model = xgboost.XGBRegressor(n_estimators=60, early_stopping_rounds=3, n_jobs=1)
    model.fit(x[:200], y[:200], eval_set=[(x[200:], y[200:])], verbose=False)
    assert model.best_iteration < 59
    assert_equal(model, 3)


def test_trees_of_every_depth_go_through_the_walk_too():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(6000, 4)).astype(np.float32)
    x[rng.random(x.shape) < 0.1] = np.nan
    model = xgboost.XGBRegressor(n_estimators=3, max_depth=14, n_jobs=1, tree_method="exact", min_child_weight=0)
    assert_equal(model.fit(x, rng.normal(size=6000)), 4)


def test_more_thresholds_than_a_byte_holds():
    rng = np.random.default_rng(6)
    x = rng.normal(size=(20_000, 1))
    model = xgboost.XGBRegressor(n_estimators=200, max_depth=5, max_bin=5000, n_jobs=1)
    model.fit(x, np.sin(x[:, 0] * 50) + rng.normal(size=20_000))
    found = read(model, 1)
    assert len(np.unique(found.ensemble.trees.cut[found.ensemble.trees.left >= 0])) > 1000
    assert_equal(model, 1)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"booster": "gblinear"}, "gblinear"),
        ({"booster": "dart"}, "dart"),
        ({"multi_strategy": "multi_output_tree"}, "vector"),
    ],
)
def test_what_is_not_known_is_said(options, said):
    rng = np.random.default_rng(7)
    x = rng.normal(size=(100, 3))
    y = rng.normal(size=(100, 2)) if "multi_strategy" in options else rng.normal(size=100)
    with pytest.raises(Unknown, match=said):
        read(xgboost.XGBRegressor(n_estimators=3, n_jobs=1, **options).fit(x, y), 3)


def test_infinities_are_left_to_the_framework():
    rng = np.random.default_rng(8)
    x = rng.normal(size=(100, 3))
    found = read(xgboost.XGBRegressor(n_estimators=3, n_jobs=1).fit(x, x[:, 0]), 3)
    rows = pa.table({"0": [1.0, np.inf], "1": [1.0, 1.0], "2": [1.0, 1.0]})
    assert scorer(found, 3).answer(rows, "predict") is None
    # as one that float32 does not hold
    assert scorer(found, 3).answer(pa.table({"0": [1e300], "1": [1.0], "2": [1.0]}), "predict") is None
    assert scorer(found, 3).answer(rows.slice(0, 1), "predict") is not None
