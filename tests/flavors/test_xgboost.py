"""What XGBoost's file holds, and what it does not."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import xgboost

from sparkml_lifecycle import errors, package
from sparkml_lifecycle.package import Description


@pytest.fixture(scope="module")
def frame():
    random = np.random.default_rng(0)
    return pd.DataFrame({"s": pd.Categorical(random.choice(["a", "b", "b"], 200)), "x": random.normal(size=200)})


@pytest.fixture(scope="module")
def model(frame):
    options = {"n_estimators": 5, "n_jobs": 1, "enable_categorical": True}
    return xgboost.XGBRegressor(**options).fit(frame, (frame["s"] == "b") * 3.0 + frame["x"])


def test_a_class_that_overrides_something_is_refused(frame, tmp_path):
    class Hundredfold(xgboost.XGBRegressor):
        def predict(self, X, **options):
            return super().predict(X, **options) * 100

    with pytest.raises(
        errors.InvalidInput, match=r"Hundredfold derives from XGBoost's XGBRegressor.*pyfunc\.PythonModel"
    ):
        package.save(Hundredfold(n_estimators=1).fit(frame[["x"]], frame["x"]), tmp_path / "m", Description())


@pytest.mark.parametrize("known", ["all", "few", "none"])
@pytest.mark.parametrize("booster", [False, True])
def test_levels_are_those_of_the_model_whatever_the_example_holds(frame, model, known, booster, tmp_path):
    few = frame[frame["s"] == "b"].head(3)
    few = few.assign(s=pd.Categorical(few["s"].astype(str)))
    example = {"all": frame.head(), "few": few, "none": None}[known]
    package.save(model.get_booster() if booster else model, tmp_path / "m", Description(input_example=example))
    found = package.read(tmp_path / "m")
    np.testing.assert_array_equal(found.predict(frame), model.predict(frame))
    texts = pa.table({"s": frame["s"].astype(str), "x": frame["x"]})
    np.testing.assert_array_equal(found.predict(texts), model.predict(frame))


CITIES = ["Bern", "Köln", "Oslo", "São Paulo", "東京"]


@pytest.fixture(scope="module")
def cities():
    random = np.random.default_rng(0)
    names = random.choice(CITIES, 600)
    frame = pd.DataFrame({"city": pd.Categorical(names, CITIES[::-1]), "x": random.normal(size=600)})
    return frame, np.array([CITIES.index(name) for name in names]) + frame["x"].to_numpy()


@pytest.mark.parametrize("evaluator", ["native", "fast"])
def test_levels_beyond_ascii(cities, evaluator, tmp_path):
    frame, answer = cities
    model = xgboost.XGBRegressor(n_estimators=20, n_jobs=1, enable_categorical=True).fit(frame, answer)
    package.save(model, tmp_path / "m", Description(input_example=frame.head()))
    found, expected = package.read(tmp_path / "m", evaluator=evaluator), model.predict(frame)
    np.testing.assert_array_equal(found.predict(frame), expected)
    for number, city in enumerate(CITIES):  # each alone, with no other level beside it
        rows = np.flatnonzero(answer - frame["x"].to_numpy() == number)
        own = pa.table({"city": [city] * len(rows), "x": frame["x"].to_numpy()[rows]})
        np.testing.assert_array_equal(found.predict(own), expected[rows])
    assert len(np.unique(expected.round())) > 3


def test_levels_beyond_ascii_that_nothing_tells_are_refused(cities, tmp_path):
    frame, answer = cities
    options = {"n_estimators": 2, "n_jobs": 1, "enable_categorical": True}
    model = xgboost.XGBRegressor(**options).fit(frame, answer)
    few = frame.head(3).assign(city=pd.Categorical(frame["city"].head(3).astype(str)))
    with pytest.raises(errors.FormatError, match=r"'city'.*input_example"):
        package.save(model, tmp_path / "few", Description(input_example=few))
    with pytest.raises(errors.FormatError, match=r"'city'.*input_example"):
        package.save(model, tmp_path / "none", Description())
    arrow = xgboost.XGBRegressor(**options).fit(pa.Table.from_pandas(frame, preserve_index=False), answer)
    with pytest.raises(errors.FormatError, match="Train it on a DataFrame"):
        package.save(arrow, tmp_path / "arrow", Description(input_example=frame.head()))


def test_a_level_that_was_not_in_training_has_no_answer_and_a_null_one_has(frame, model, tmp_path):
    package.save(model, tmp_path / "m", Description(input_example=frame.head()))
    table = pa.table({"s": ["zzz", "b", None], "x": [1.0, 1.0, 1.0]})
    rows = pd.DataFrame({"s": pd.Categorical(["b", None], ["a", "b"]), "x": [1.0, 1.0]})
    found = package.read(tmp_path / "m").predict_columns(table).column(0).to_pylist()
    assert found == [None, *model.predict(rows).tolist()]


@pytest.mark.filterwarnings("ignore")
def test_mlflow_predicts_with_our_directory_of_a_categorical_model(frame, model, tmp_path):
    import mlflow

    package.save(model, tmp_path / "m", Description(input_example=frame.head()))
    np.testing.assert_array_equal(mlflow.pyfunc.load_model(str(tmp_path / "m")).predict(frame), model.predict(frame))
