"""Whole pipelines: trees and linear models behind encoders, scalers and imputers, from Arrow columns."""

import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import (
    ElasticNet,
    Lasso,
    LinearRegression,
    LogisticRegression,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    MaxAbsScaler,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    PowerTransformer,
    RobustScaler,
    StandardScaler,
)

from sparkml_lifecycle import package
from sparkml_lifecycle.errors import ScoringError
from sparkml_lifecycle.package import Description

NUMBERS, TEXTS = ["distance", "delay", "hour"], ["carrier", "dest"]


def flights(rng, rows, *, missing=True):
    frame = pd.DataFrame(
        {
            "distance": np.round(rng.gamma(2, 500, rows)),
            "delay": rng.normal(size=rows) * 30,
            "hour": rng.integers(0, 24, rows),
            "carrier": rng.choice(["UA", "AA", "DL", "B6", "a name of many letters"], rows),
            "dest": rng.choice([f"D{i:03}" for i in range(90)], rows),
        }
    )
    frame["delay"] = frame["delay"].astype(np.float32)
    if missing:
        frame.loc[rng.random(rows) < 0.1, ["distance"]] = np.nan
        frame.loc[rng.random(rows) < 0.1, ["delay"]] = np.nan
    return frame


def answer(frame):
    return (
        frame.distance.fillna(0) * 0.1
        + frame.delay.fillna(3)
        + frame.carrier.str.len() * 10
        + frame.dest.str[1:].astype(int)
    )


ENCODERS = {
    "one-hot": lambda: OneHotEncoder(handle_unknown="ignore", sparse_output=False),
    "one-hot, strict": lambda: OneHotEncoder(drop="first", sparse_output=False),
    "one-hot, rare": lambda: OneHotEncoder(min_frequency=15, handle_unknown="infrequent_if_exist", sparse_output=False),
    "ordinal": lambda: OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
}
SCALERS = {
    "standard": StandardScaler,
    "without mean": lambda: StandardScaler(with_mean=False),
    "min and max": MinMaxScaler,
    "robust": RobustScaler,
    "greatest": MaxAbsScaler,
    "none": lambda: "passthrough",
}
LAST = {
    "ridge": Ridge,
    "least squares": LinearRegression,
    "lasso": Lasso,
    "elastic": ElasticNet,
    "descent": lambda: SGDRegressor(random_state=0),
    "histogram": lambda: HistGradientBoostingRegressor(max_iter=8),
    "forest": lambda: RandomForestRegressor(5, random_state=0),
    "logistic": lambda: LogisticRegression(max_iter=20),
    "ridge classes": RidgeClassifier,
    "log descent": lambda: SGDClassifier(loss="log_loss", random_state=0),
    "boosted classes": lambda: GradientBoostingClassifier(n_estimators=4, random_state=0),
    "forest classes": lambda: RandomForestClassifier(5, max_depth=6, random_state=0),
}


def pipeline(encoder, scaler, last, *, fill=True):
    numbers = [SimpleImputer(strategy="median")] if fill else []
    numbers += [] if scaler == "passthrough" else [scaler]
    return make_pipeline(
        make_column_transformer((encoder, TEXTS), (make_pipeline(*numbers) if numbers else "passthrough", NUMBERS)),
        last,
    )


def saved(model, frame, directory):
    package.save(model, directory, Description(input_example=frame.head(5), allow_code=True))
    return package.read(directory, allow_code=True), package.read(directory, allow_code=True, evaluator="native")


def refusal(model, rows):
    with pytest.raises(ScoringError) as refused:
        model.predict(rows)
    return str(refused.value)


def assert_alike(fast, native, rows, exact):
    for method in fast.evaluator.scorer.methods:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found, expected = (np.asarray(model.predict(rows, predict_fn=method)) for model in (fast, native))
        if exact or found.dtype.kind != "f":
            np.testing.assert_array_equal(found, expected)
        else:
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-9)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.integers(0, 10**6),
    st.sampled_from(sorted(ENCODERS)),
    st.sampled_from(sorted(SCALERS)),
    st.sampled_from(sorted(LAST)),
)
def test_random_pipelines(tmp_path_factory, seed, encoder, scaler, last):
    rng = np.random.default_rng(seed)
    frame = flights(rng, 1500)
    model = pipeline(ENCODERS[encoder](), SCALERS[scaler](), LAST[last]())
    y = answer(frame)
    labels = np.array(["early", "in time", "late"])[np.digitize(y, np.quantile(y, [0.3, 0.7]))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(frame, labels if "class" in last or last in ("logistic", "log descent") else y)
        fast, native = saved(model, frame, tmp_path_factory.mktemp("m") / "m")
    assert fast.evaluator.scorer is not None, fast.evaluator
    rows = pa.Table.from_pandas(flights(rng, 3000), preserve_index=False)
    assert_alike(fast, native, rows, fast.evaluator.scorer.exact)


@pytest.mark.parametrize("scaler", sorted(SCALERS))
def test_every_scaler_before_a_linear_model(scaler, tmp_path):
    rng = np.random.default_rng(5)
    frame = flights(rng, 1500)
    model = pipeline(ENCODERS["one-hot"](), SCALERS[scaler](), Ridge()).fit(frame, answer(frame))
    fast, native = saved(model, frame, tmp_path / "m")
    assert fast.evaluator.name == "linear", fast.evaluator
    assert_alike(fast, native, pa.Table.from_pandas(frame, preserve_index=False), False)


@pytest.mark.parametrize("last", ["ridge", "histogram"])
def test_unknown_categories_missing_texts_and_infinities(last, tmp_path):
    rng = np.random.default_rng(1)
    frame = flights(rng, 1500)
    fast, native = saved(
        pipeline(ENCODERS["one-hot"](), StandardScaler(), LAST[last]()).fit(frame, answer(frame)), frame, tmp_path / "m"
    )
    odd = frame.head(9).copy()
    odd.loc[0, "carrier"] = "never seen"
    odd.loc[1, "dest"] = None
    odd.loc[2, ["distance", "delay"]] = np.nan
    rows = pa.Table.from_pandas(odd, preserve_index=False)
    assert_alike(fast, native, rows, fast.evaluator.scorer.exact)
    encoded = rows.set_column(3, "carrier", rows["carrier"].dictionary_encode())
    assert_alike(fast, native, encoded, fast.evaluator.scorer.exact)
    infinite = rows.slice(3, 2).set_column(0, "distance", pa.array([np.inf, 1.0]))
    assert refusal(fast, infinite) == refusal(native, infinite)


def test_a_strict_encoder_refuses_as_before(tmp_path):
    rng = np.random.default_rng(2)
    frame = flights(rng, 1500)
    model = pipeline(OneHotEncoder(), StandardScaler(), Ridge()).fit(frame, answer(frame))
    fast, native = saved(model, frame, tmp_path / "m")
    assert fast.evaluator.name == "linear"
    odd = frame.head(3).assign(carrier=["UA", "never seen", "AA"])
    assert refusal(fast, odd) == refusal(native, odd)


def test_numbers_without_an_imputer_refuse_missing_as_before(tmp_path):
    rng = np.random.default_rng(3)
    frame = flights(rng, 1500, missing=False)
    fast, native = saved(
        pipeline(ENCODERS["one-hot"](), StandardScaler(), Ridge(), fill=False).fit(frame, answer(frame)),
        frame,
        tmp_path / "m",
    )
    assert fast.evaluator.name == "linear"
    odd = frame.head(4).copy()
    odd.loc[1, "distance"] = np.nan
    found, expected = fast.predict(odd), native.predict(odd)
    assert np.isnan(found[1])
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (make_column_transformer((PowerTransformer(), NUMBERS)), "PowerTransformer"),
        (make_column_transformer((SimpleImputer(add_indicator=True), NUMBERS)), "adds or drops"),
        (make_column_transformer((MinMaxScaler(clip=True), ["hour"])), "clips"),
        (
            ColumnTransformer([("a", OneHotEncoder(sparse_output=False), ["hour"]), ("b", "passthrough", ["hour"])]),
            "several ways",
        ),
    ],
)
def test_what_is_not_known_is_said_and_the_framework_predicts(prepare, said, tmp_path):
    rng = np.random.default_rng(4)
    frame = flights(rng, 300)
    fast, native = saved(
        make_pipeline(prepare, HistGradientBoostingRegressor(max_iter=3)).fit(frame, answer(frame)),
        frame,
        tmp_path / "m",
    )
    assert fast.evaluator.name == "native"
    assert said in fast.evaluator.why
    np.testing.assert_array_equal(fast.predict(frame), native.predict(frame))


# -- what a hunt for faults has found ------------------------------------------------------------------------------------


def odd_frame(rng, rows=2000):
    return pd.DataFrame({"c": rng.choice([0.0, 1.0, 2.0, np.nan], rows), "x": rng.normal(size=rows)})


@pytest.mark.parametrize("last", [Ridge, lambda: HistGradientBoostingRegressor(max_iter=10)])
def test_a_scaler_before_an_encoder_is_left_to_the_framework(last, tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"c": rng.choice([0.0, 1.0, 2.0, 3.0], 500), "x": rng.normal(size=500)})
    inner = make_pipeline(MinMaxScaler(), OneHotEncoder(handle_unknown="ignore", sparse_output=False))
    model = make_pipeline(ColumnTransformer([("c", inner, ["c"])], remainder="passthrough"), last())
    fast, native = saved(model.fit(frame, frame.c * 3 + frame.x), frame, tmp_path / "m")
    np.testing.assert_array_equal(fast.predict(frame), native.predict(frame))
    assert "scaled before it is encoded" in fast.evaluator.why


@pytest.mark.parametrize("last", [Ridge, lambda: HistGradientBoostingRegressor(max_iter=10)])
@pytest.mark.parametrize(
    "encoder",
    [
        OneHotEncoder(handle_unknown="ignore", sparse_output=False),
        OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=9),
        None,
    ],
)
def test_numbers_as_categories_have_one_zero_and_nan_is_missing(encoder, last, tmp_path):
    frame = odd_frame(np.random.default_rng(0))
    y = frame.c.fillna(7) + frame.x
    if encoder is None:
        model = HistGradientBoostingRegressor(max_iter=10, categorical_features=[0]).fit(frame, y)
    else:
        model = make_pipeline(ColumnTransformer([("c", encoder, ["c"])], remainder="passthrough"), last()).fit(frame, y)
    fast, native = saved(model, frame, tmp_path / "m")
    assert fast.evaluator.scorer is not None, fast.evaluator
    odd = pa.array([float("nan"), None, 0.0, -0.0, 5.0, 0.5, 2.0, np.nextafter(2.0, 3)], from_pandas=False)
    assert odd.null_count == 1
    assert_alike(fast, native, pa.table({"c": odd, "x": np.zeros(len(odd))}), fast.evaluator.scorer.exact)


@pytest.mark.parametrize("center", [1.7e9, 1e12])
def test_scaled_numbers_keep_the_digits_of_the_framework(center, tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": center + rng.normal(size=1000) * 1000, "x": rng.normal(size=1000)})
    y = (frame.a - center) / 1000 * 3 + frame.x
    for number, last in enumerate([Ridge().fit, LogisticRegression().fit]):
        scaled = make_pipeline(StandardScaler(), last.__self__).fit(frame, y if number == 0 else y > 0)
        fast, native = saved(scaled, frame, tmp_path / str(number))
        assert fast.evaluator.name == "linear"
        method = ["predict", "predict_proba"][number]
        found, expected = (np.asarray(model.predict(frame, predict_fn=method)) for model in (fast, native))
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("last", [Ridge, lambda: HistGradientBoostingRegressor(max_iter=30)])
def test_narrow_numbers_for_a_model_without_a_signature(last, tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=1000) * 1000 + 5000, "b": rng.normal(size=1000)})
    model = make_pipeline(StandardScaler(), last()).fit(frame, frame.a / 1000 + frame.b)
    package.save(model, tmp_path / "m", Description(allow_code=True))
    fast, native = (package.read(tmp_path / "m", evaluator=one) for one in ("auto", "native"))
    assert fast.evaluator.scorer is not None
    narrow = frame.astype("float32")
    np.testing.assert_array_equal(fast.predict(narrow), native.predict(narrow))
    assert_alike(fast, native, frame, fast.evaluator.scorer.exact)


def test_numbers_that_are_too_large_behind_a_scaler_are_refused_by_the_framework(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=500), "x": rng.normal(size=500)})
    forest = make_pipeline(StandardScaler(), RandomForestRegressor(5, random_state=0)).fit(frame, frame.a)
    ridge = make_pipeline(StandardScaler(), Ridge()).fit(frame * 1e-12, frame.a)
    for name, model, number in (("forest", forest, 3.5e38), ("ridge", ridge, 1e300)):
        fast, native = saved(model, frame, tmp_path / name)
        assert fast.evaluator.scorer is not None, fast.evaluator
        rows = pa.table({"a": [number, 1.0], "x": [0.0, 0.0]})
        assert refusal(fast, rows) == refusal(native, rows)
        large = pa.table({"a": [1e30, -1e30, 1e10], "x": [0.0, -1e20, 0.0]})
        assert_alike(fast, native, large, fast.evaluator.scorer.exact)


def test_a_text_column_that_the_transformers_drop(tmp_path):
    frame = flights(np.random.default_rng(0), 500)
    model = make_pipeline(
        ColumnTransformer([("numbers", SimpleImputer(), NUMBERS)]), HistGradientBoostingRegressor(max_iter=5)
    )
    fast, native = saved(model.fit(frame, answer(frame)), frame, tmp_path / "m")
    assert fast.evaluator.name == "trees", fast.evaluator
    assert_alike(fast, native, frame, exact=True)


@pytest.mark.parametrize("last", [lambda: Ridge(solver="lsqr"), lambda: GradientBoostingRegressor(n_estimators=5)])
def test_thousands_of_categories(last, tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"t": rng.permutation(np.arange(6000) % 3000).astype(str), "x": rng.normal(size=6000)})
    model = make_pipeline(
        make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["t"]), remainder="passthrough"), last()
    )
    fast, native = saved(model.fit(frame, frame.t.astype(int) % 7 + frame.x), frame, tmp_path / "m")
    assert fast.evaluator.scorer is not None, fast.evaluator
    rows = pa.table({"t": [*frame.t, "unseen", None], "x": [*frame.x, 0.0, 1.0]})
    assert_alike(fast, native, rows, fast.evaluator.scorer.exact)


def test_a_thousand_columns_of_which_none_may_be_missing(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(1200, 1000)), columns=[f"c{i}" for i in range(1000)])
    model = make_pipeline(StandardScaler(), Ridge()).fit(frame, frame.c0)
    asked = []
    package.save(model, tmp_path / "m", Description(input_example=frame.head(3)))
    fast = package.read(tmp_path / "m")
    native = fast._native
    fast._native = lambda *given: asked.append(given) or native(*given)
    assert fast.evaluation.choice is not None
    assert len(asked) < 20  # each column alone would be a thousand
    found = fast.evaluator
    if found.scorer is not None:  # on some machines matrices are faster
        assert_alike(fast, package.read(tmp_path / "m", evaluator="native"), frame, exact=False)


def test_texts_that_a_model_does_not_tell(tmp_path):
    frame = flights(np.random.default_rng(0), 300, missing=False)[["carrier", "hour"]]
    model = make_pipeline(make_column_transformer((OneHotEncoder(), ["carrier"]), remainder="passthrough"), Ridge())
    package.save(model.fit(frame, frame.hour), tmp_path / "m", Description())
    assert "does not say of which type its column 'carrier' is" in package.read(tmp_path / "m").evaluator.why
