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
