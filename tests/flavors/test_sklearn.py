"""scikit-learn's own idea of what is missing, and of what a model can do."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from sparkml_lifecycle import errors, package
from sparkml_lifecycle.model.signature import infer_signature
from sparkml_lifecycle.package import Description


@pytest.fixture(scope="module")
def frame():
    random = np.random.default_rng(0)
    return pd.DataFrame({"s": random.choice(["a", "b", "b", "b"], 200), "x": random.normal(size=200)})


def target(frame):
    return (frame["s"] == "b") * 3.0 + frame["x"]


def loaded(model, tmp_path, **description):
    package.save(model, tmp_path / "m", Description(allow_code=True, **description))
    return package.read(tmp_path / "m", allow_code=True)


def gaps(frame):
    return pa.Table.from_pandas(frame, preserve_index=False)


def encoder(*steps):
    return make_pipeline(*steps, OneHotEncoder(handle_unknown="ignore"))


@pytest.mark.parametrize("steps", [(), (SimpleImputer(strategy="most_frequent"),)])
@pytest.mark.parametrize("missing", [np.nan, None])
def test_a_missing_text_is_what_it_was_in_training(frame, steps, missing, tmp_path):
    if missing is None and steps:
        steps = (SimpleImputer(strategy="most_frequent", missing_values=None),)
    train = frame.assign(s=frame["s"].astype(object))
    train.loc[:9, "s"] = missing
    model = make_pipeline(
        make_column_transformer((encoder(*steps), ["s"]), remainder="passthrough"), LinearRegression()
    )
    model.fit(train, target(frame))
    found = loaded(model, tmp_path, input_example=train.tail())
    np.testing.assert_allclose(found.predict(gaps(train.head(20))), model.predict(train.head(20)), rtol=1e-12)


@pytest.mark.parametrize("known", ["nothing", "signature", "example", "an example with a null first"])
def test_which_columns_take_a_null_is_found_whatever_is_known(frame, known, tmp_path):
    frame = frame.assign(z=frame["x"] * 2)
    features = make_column_transformer((OneHotEncoder(), ["s"]), (SimpleImputer(), ["x"]), ("passthrough", ["z"]))
    model = make_pipeline(features, LinearRegression()).fit(frame, target(frame))
    example = frame.head(4).copy()
    if known == "an example with a null first":
        example.loc[0, "z"] = np.nan
    description = {
        "nothing": {},
        "signature": {"signature": infer_signature(frame)},
        "example": {"input_example": example},
    }.get(known, {"input_example": example})
    found = loaded(model, tmp_path, **description)
    rows = frame.head(4).copy()
    rows.loc[0, "x"] = np.nan
    rows.loc[1, "z"] = np.nan
    answers = found.predict(rows)
    assert np.isnan(answers[1])
    np.testing.assert_allclose(np.delete(answers, 1), model.predict(rows.drop(index=1)), rtol=1e-12)
    np.testing.assert_allclose(found.predict(rows.head(1)), model.predict(rows.head(1)), rtol=1e-12)


def test_a_model_that_refuses_every_row_we_know_of_is_asked_row_by_row(tmp_path):
    from sklearn.preprocessing import OrdinalEncoder

    frame = pd.DataFrame({"code": ["u", "v"] * 10, "x": np.arange(20.0)})
    features = make_column_transformer((OrdinalEncoder(), ["code"]), (SimpleImputer(), ["x"]))
    model = make_pipeline(features, LinearRegression()).fit(frame, frame["x"])
    found = loaded(model, tmp_path)
    del found._rule._levels  # nothing is known of the categories
    found._rule._levels = dict
    rows = pd.DataFrame({"code": ["u", None], "x": [np.nan, 1.0]})
    answers = found.predict(rows)
    np.testing.assert_allclose(answers[:1], model.predict(rows.head(1)), rtol=1e-12)
    assert np.isnan(answers[1])


def test_a_transformer_is_saved_with_an_example_and_answers_with_its_own_method(frame, tmp_path):
    numbers = frame[["x"]].assign(z=frame["x"])
    model = StandardScaler().fit(numbers)
    found = loaded(model, tmp_path, input_example=numbers.head())
    rows = numbers.head(2).copy()
    rows.iloc[0, 0] = np.nan
    assert found.default_method == "transform"
    np.testing.assert_array_equal(found.predict(rows), model.transform(rows))


def test_probabilities_of_several_outputs_are_named_by_output_and_class(frame, tmp_path):
    wanted = np.column_stack([frame["s"], np.where(frame["x"] > 0, "up", "down")])
    model = RandomForestClassifier(3, random_state=0).fit(frame[["x"]], wanted)
    found = loaded(model, tmp_path, input_example=frame[["x"]].head()).predict(frame[["x"]], predict_fn="predict_proba")
    assert list(found) == ["0_a", "0_b", "1_down", "1_up"]
    np.testing.assert_array_equal(np.asarray(found), np.hstack(model.predict_proba(frame[["x"]])))


def test_a_category_that_the_example_lacks_is_still_known_to_the_model(frame, tmp_path):
    from sklearn.ensemble import HistGradientBoostingRegressor

    levels = frame.assign(s=frame["s"].astype("category"))
    model = HistGradientBoostingRegressor(max_iter=3, categorical_features="from_dtype").fit(levels, target(frame))
    few = levels[levels["s"] == "b"].head(3)
    found = loaded(model, tmp_path, input_example=few.assign(s=pd.Categorical(few["s"].astype(str))))
    np.testing.assert_array_equal(found.predict(levels), model.predict(levels))


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(errors.InvalidInput, match="'json' is not known: 'skops'"):
        package.save(
            LinearRegression(), tmp_path / "m", Description(allow_code=True, options={"serialization_format": "json"})
        )
