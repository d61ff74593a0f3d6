"""LightGBM's trees, to the last bit."""

import lightgbm
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st

from sparkml_lifecycle import package
from sparkml_lifecycle.evaluators.codes import Codes
from sparkml_lifecycle.evaluators.trees import lightgbm as reader
from sparkml_lifecycle.evaluators.trees.answers import Unknown
from sparkml_lifecycle.package import Description
from tests.evaluators.models import matrix, rows_for, scorer, shapes

QUICK = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
SMALL = {"min_child_samples": 1, "n_jobs": 1, "verbosity": -1, "min_data_in_bin": 1}
ZERO = float(np.float32(1e-35))
BOOSTINGS = {
    "gbdt": {},
    "dart": {"boosting_type": "dart", "drop_rate": 0.5},
    "rf": {"boosting_type": "rf", "subsample": 0.7, "subsample_freq": 1},
    "goss": {"data_sample_strategy": "goss"},
}


def schema_of(columns):
    return pa.schema([(str(i), pa.float64()) for i in range(columns)])


def assert_same(expected, answers):
    assert (answers.dtype, answers.shape) == (expected.dtype, expected.shape)
    np.testing.assert_array_equal(answers, expected)


def assert_equal(model, columns, *, seed=0, dense=True):
    """Against rows that hurt, and the numbers around what LightGBM takes for zero."""
    found = reader.read(model, {}, schema_of(columns))
    rows, x = rows_for(found, columns, seed)
    near = np.array([ZERO, -ZERO, np.nextafter(ZERO, 1), -np.nextafter(ZERO, 1), 1e-36, 5e-324, 0.0, -0.0])
    near = np.repeat(near[:, None], columns, axis=1) if dense else np.zeros((0, columns))
    more = [pa.array(np.concatenate([rows.column(i).to_numpy(), near[:, i]]), from_pandas=True) for i in range(columns)]
    rows, x = pa.table(more, names=rows.column_names), np.concatenate([x, near])
    assert np.isinf(x).any()
    fast = scorer(found, columns)
    for method in found.methods:
        for start, size in ((0, len(x)), (3, 1), (len(x) - 511, 511)):
            # matrices that lie row by row and a column alone are read by other code of LightGBM's
            expected = getattr(model, method)(pd.DataFrame(x[start : start + size]))
            assert_same(expected, fast.answer(rows.slice(start, size), method))


def trained(model, *data, **options):
    """LightGBM cannot train on everything."""
    try:
        return model.fit(*data, **options)
    except lightgbm.basic.LightGBMError:
        reject()


def targets(rng, rows, objective):
    if objective in ("binary", "cross_entropy"):
        return np.append(rng.integers(0, 2, rows - 2), [0, 1]) if rows > 2 else np.arange(rows) % 2
    y = rng.normal(size=rows)
    return np.abs(y) + 0.1 if objective in ("poisson", "gamma", "tweedie", "mape") else y


@QUICK
@given(
    shapes(),
    st.integers(2, 40),
    st.integers(1, 30),
    st.sampled_from(list(BOOSTINGS)),
    st.sampled_from(
        ["regression", "regression_l1", "huber", "fair", "quantile", "mape", "poisson", "gamma", "tweedie", "binary",
         "cross_entropy"]
    ),
)  # fmt: skip
def test_random_models_of_one_output(shape, leaves, trees, boosting, objective):
    seed, rows, columns, missing, whole = shape
    rows += 2
    rng = np.random.default_rng(seed)
    x = matrix(rng, rows, columns, missing=missing, whole=whole)
    model = lightgbm.LGBMRegressor(
        n_estimators=trees,
        num_leaves=leaves,
        objective=objective,
        random_state=seed % 1000,
        **SMALL,
        **BOOSTINGS[boosting],
    )
    trained(model, x, targets(rng, rows, objective), sample_weight=rng.random(rows) + 0.1)
    assert_equal(model, columns, seed=seed % 1000)
    assert_equal(model.booster_, columns, seed=seed % 1000)


@QUICK
@given(
    shapes(),
    st.integers(2, 5),
    st.integers(2, 20),
    st.sampled_from(list(BOOSTINGS)),
    st.sampled_from([None, "multiclassova", "cross_entropy"]),
    st.one_of(st.floats(0.1, 3), st.floats(1e-6, 200)),
)
def test_random_classifiers(shape, classes, leaves, boosting, objective, slope):
    seed, rows, columns, missing, whole = shape
    rng = np.random.default_rng(seed)
    rows += classes
    x = matrix(rng, rows, columns, missing=missing, whole=whole)
    names = np.array(["a", "b", "c", "d", "e"])
    y = names[np.concatenate([np.arange(classes), rng.integers(0, classes, rows - classes)])]
    objective = objective if (objective == "cross_entropy") == (classes == 2) else None
    model = lightgbm.LGBMClassifier(
        n_estimators=7, num_leaves=leaves, objective=objective, sigmoid=slope, **SMALL, **BOOSTINGS[boosting]
    )
    assert_equal(trained(model, x, y), columns, seed=seed % 1000)
    assert_equal(model.booster_, columns, seed=seed % 1000)


@QUICK
@given(shapes(), st.integers(2, 20), st.sampled_from(["gbdt", "rf"]))
def test_zero_may_be_missing(shape, leaves, boosting):
    seed, rows, columns, missing, whole = shape
    rng = np.random.default_rng(seed)
    x = matrix(rng, rows + 2, columns, missing=missing, whole=whole)
    x[rng.random(x.shape) < 0.3] = 0
    options = {"zero_as_missing": True, "n_estimators": 9, "num_leaves": leaves, **SMALL, **BOOSTINGS[boosting]}
    model = trained(lightgbm.LGBMRegressor(**options), x, rng.normal(size=rows + 2))
    found = reader.read(model, {}, schema_of(columns))
    assert {feature.nan for feature in found.ensemble.features} <= {"zero is missing", "zero"}
    rows, x = rows_for(found, columns, seed % 1000)
    assert_same(model.predict(x), scorer(found, columns).answer(rows, "predict"))


# -- categories ----------------------------------------------------------------------------------------------------------


def frame_of(rng, rows, levels, missing, ordered):
    names = [f"level {i}" for i in range(levels)]
    codes = rng.integers(-1 if missing else 0, levels, rows)
    return pd.DataFrame(
        {
            "s": pd.Categorical.from_codes(codes, names),
            "x": rng.normal(size=rows),
            "k": pd.Categorical(rng.integers(0, 5, rows), [0, 1, 2, 3, 4], ordered=ordered),
            "z": np.where(rng.random(rows) < 0.2, np.nan, rng.normal(size=rows)) if missing else rng.normal(size=rows),
        }
    )


def tried(model, frame, asked):
    """LightGBM's answers and ours to the rows of ``asked``."""
    schema = pa.schema([("s", pa.string()), ("x", pa.float64()), ("k", pa.int64()), ("z", pa.float64())])
    found = reader.read(model, {"s": 1, "k": 1}, schema)
    levels = {position: pa.array(list(known)) for position, known in found.levels.items()}
    fast = scorer_with(found, levels)
    table = pa.table(
        [
            pa.array(asked[name], from_pandas=True).cast(kind)
            for name, kind in zip(schema.names, schema.types, strict=True)
        ],
        schema=schema,
    )
    for method in found.methods:
        assert_same(getattr(model, method)(asked), fast.answer(table, method))


def scorer_with(found, levels):
    from sparkml_lifecycle.evaluators.scorer import TreesScorer

    return TreesScorer(found, levels, 4, takes_unknown=True)


@QUICK
@given(
    st.integers(0, 2**32 - 1), st.sampled_from([2, 3, 31, 33, 70, 200]), st.booleans(), st.booleans(), st.booleans(), st.integers(2, 40)
)  # fmt: skip
def test_categories_known_unknown_and_missing(seed, levels, missing, ordered, zero, leaves):
    rng = np.random.default_rng(seed)
    frame = frame_of(rng, 400, levels, missing, ordered)
    y = rng.normal(size=levels)[frame["s"].cat.codes] + frame["x"] + rng.normal(size=5)[frame["k"].cat.codes]
    options = {
        "n_estimators": 6,
        "num_leaves": leaves,
        "zero_as_missing": zero,
        "max_cat_to_onehot": 4,
        "min_data_per_group": 1,
        **SMALL,
    }
    model = trained(lightgbm.LGBMRegressor(**options), frame, y)
    asked = frame_of(np.random.default_rng(seed + 1), 700, levels, True, False)
    names = [*asked["s"].cat.categories, "never seen"]
    asked["s"] = pd.Categorical.from_codes(rng.integers(-1, levels + 1, 700), names)
    asked["k"] = pd.Categorical.from_codes(rng.integers(-1, 6, 700), [0, 1, 2, 3, 4, 77], ordered=ordered)
    tried(model, frame, asked)
    tried(model.booster_, frame, asked)
    tried(lightgbm.Booster(model_str=model.booster_.model_to_string()), frame, asked)


def test_the_whole_way_says_that_it_is_equal(tmp_path):
    rng = np.random.default_rng(0)
    frame = frame_of(rng, 3000, 40, True, False)
    y = np.digitize(frame["x"] + (frame["s"].cat.codes % 3), [0.0, 1.0])
    model = lightgbm.LGBMClassifier(n_estimators=60, **SMALL).fit(frame, y)
    package.save(model, tmp_path / "m", Description(input_example=frame.head()))
    loaded = package.read(tmp_path / "m", evaluator="fast")
    assert str(loaded.evaluator) == "trees: equal to the last bit on 8,192 rows of edge cases"
    np.testing.assert_array_equal(loaded.predict(frame), model.predict(frame))
    unseen = pa.table(
        {"s": ["never seen", None, "level 3"], "x": [0.1] * 3, "k": pa.array([9, None, 3], pa.int64()), "z": [0.5] * 3}
    )
    native = package.read(tmp_path / "m", evaluator="native")
    for method in ("predict", "predict_proba"):
        assert loaded.predict_columns(unseen, predict_fn=method) == native.predict_columns(unseen, predict_fn=method)


# -- what else there is --------------------------------------------------------------------------------------------------


def fitted(seed=0, rows=300, columns=3, *, y=None, **options):
    rng = np.random.default_rng(seed)
    x = matrix(rng, rows, columns, missing=options.pop("missing", True))
    y = rng.normal(size=rows) if y is None else y
    return lightgbm.train(
        {"num_threads": 1, "verbosity": -1, "min_data_in_leaf": 2, **options}, lightgbm.Dataset(x, y), 12
    ), x


def test_the_best_iteration_is_the_last_that_predicts():
    rng = np.random.default_rng(3)
    x = matrix(rng, 400, 4)
    y = np.sin(x[:, 1]) + 0.3 * rng.normal(size=400)
    data = lightgbm.Dataset(x[:200], y[:200], params={"verbosity": -1}, free_raw_data=False)
    stop = [lightgbm.early_stopping(2, verbose=False)]
    options = {"verbosity": -1, "num_threads": 1, "min_data_in_leaf": 2}
    valid = data.create_valid(x[200:], y[200:])
    booster = lightgbm.train(options, data, 100, valid_sets=[valid], callbacks=stop, keep_training_booster=True)
    assert 0 < booster.best_iteration < booster.current_iteration()
    assert_equal(booster, 4)
    model = lightgbm.LGBMRegressor(n_estimators=100, min_child_samples=5, n_jobs=1, verbosity=-1)
    model.fit(x[:200], y[:200], eval_X=x[200:], eval_y=y[200:], callbacks=stop)
    assert 0 < model.best_iteration_ < 100
    assert_equal(model, 4)


def test_a_tree_without_a_split_is_one_leaf():
    booster, _ = fitted(y=np.full(300, 3.25))
    assert "num_leaves=1\n" in booster.model_to_string()
    assert_equal(booster, 3)
    few, _ = fitted(min_data_in_leaf=200)
    assert_equal(few, 3)


@pytest.mark.parametrize("columns", [1, 2])
def test_cuts_at_zero(columns):
    rng = np.random.default_rng(0)
    x = np.where(rng.random((600, columns)) < 0.4, 0.0, rng.normal(size=(600, columns)))
    y = (x[:, 0] == 0) * 5.0 + (x[:, 0] > 0)
    booster = lightgbm.train({"verbosity": -1, "num_threads": 1}, lightgbm.Dataset(x, y), 5)
    assert str(ZERO)[:6] in booster.model_to_string()
    assert_equal(booster, columns)


def test_training_that_went_on_with_missing_values():
    first, x = fitted(missing=False)
    rng = np.random.default_rng(9)
    gaps = np.where(rng.random(x.shape) < 0.3, np.nan, x)
    data = lightgbm.Dataset(gaps, rng.normal(size=len(x)))
    more = lightgbm.train({"verbosity": -1, "num_threads": 1, "min_data_in_leaf": 2}, data, 9, init_model=first)
    found = reader.read(more, {}, schema_of(3))
    assert "missing" in {feature.nan for feature in found.ensemble.features}
    assert_equal(more, 3)
    zero = {"verbosity": -1, "num_threads": 1, "min_data_in_leaf": 2, "zero_as_missing": True}
    mixed = lightgbm.train(zero, lightgbm.Dataset(gaps, rng.normal(size=len(x))), 9, init_model=first)
    with pytest.raises(Unknown, match="zero is missing in some of the trees"):
        reader.read(mixed, {}, schema_of(3))


def test_rankers_square_roots_and_objectives_of_ones_own():
    rng = np.random.default_rng(5)
    x = matrix(rng, 300, 3)
    ranker = lightgbm.LGBMRanker(n_estimators=9, **SMALL).fit(x, rng.integers(0, 3, 300), group=[30] * 10)
    assert_equal(ranker, 3)
    assert_equal(fitted(reg_sqrt=True)[0], 3)

    def squared(true, guess):
        return guess - true, np.ones_like(true)

    assert_equal(lightgbm.LGBMRegressor(n_estimators=9, objective=squared, **SMALL).fit(x, rng.normal(size=300)), 3)


def test_large_trees_are_walked():
    booster, _ = fitted(rows=6000, num_leaves=1000, min_data_in_leaf=1)
    assert_equal(booster, 3)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"linear_tree": True, "missing": False}, "linear models"),
        ({"objective": "cross_entropy_lambda", "y": np.arange(300) % 2}, "its objective is cross_entropy_lambda"),
        ({"categorical_feature": [0]}, "column 0 holds whole numbers that are categories"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:categorical_feature")
def test_what_is_not_known_is_left_to_lightgbm(options, said, tmp_path):
    rng = np.random.default_rng(0)
    y = options.pop("y", None)
    gaps = options.pop("missing", True)
    x = pd.DataFrame(matrix(rng, 300, 3, missing=gaps), columns=["a", "b", "c"])
    x["a"] = rng.integers(0, 6, 300)
    y = (x["a"] % 2) + rng.normal(size=300) if y is None else y
    known = {"verbosity": -1, "num_threads": 1, **options}
    booster = lightgbm.train(known, lightgbm.Dataset(x, y, params=known), 5)
    with pytest.raises(Unknown, match=said):
        reader.read(booster, {}, pa.schema([(name, pa.float64()) for name in x]))
    package.save(booster, tmp_path / "m", Description(input_example=x.head()))
    loaded = package.read(tmp_path / "m")
    assert (loaded.evaluator.name, said in loaded.evaluator.why) == ("native", True)
    np.testing.assert_array_equal(loaded.predict(x), booster.predict(x))


def test_stopping_before_the_last_tree_is_not_known():
    x = np.arange(40.0)[:, None]
    model = lightgbm.LGBMClassifier(n_estimators=3, pred_early_stop=True, **SMALL).fit(x, x[:, 0] > 20)
    with pytest.raises(Unknown, match="pred_early_stop"):
        reader.read(model, {}, schema_of(1))


def test_columns_that_do_not_fit_are_not_known():
    booster, _ = fitted()
    with pytest.raises(Unknown, match="trained on 3 columns and is asked with 2"):
        reader.read(booster, {}, schema_of(2))
    with pytest.raises(Unknown, match="0 categorical columns, and 1 are known"):
        reader.read(booster, {"0": 4}, schema_of(3))


def test_codes_are_those_of_lightgbm():
    assert Codes(pa.array(["a", "b"])).of(pa.array(["b", None, "x"])).tolist() == [1, -1, 2]
