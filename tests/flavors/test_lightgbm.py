"""What LightGBM's files hold, and what they do not."""

import json
import re
import zipfile

import lightgbm
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from sparkml_lifecycle import errors, package
from sparkml_lifecycle.flavors.lightgbm import LightGBMFlavor
from sparkml_lifecycle.package import Description
from tests.flavors.models import CASES

QUIET = {"n_estimators": 5, "n_jobs": 1, "verbosity": -1}


@pytest.fixture(scope="module")
def frame():
    random = np.random.default_rng(0)
    return pd.DataFrame({"s": pd.Categorical(random.choice(["a", "b", "b"], 200)), "x": random.normal(size=200)})


@pytest.fixture(scope="module")
def model(frame):
    return lightgbm.LGBMRegressor(**QUIET).fit(frame, (frame["s"] == "b") * 3.0 + frame["x"])


def test_a_class_that_overrides_something_is_refused(frame, tmp_path):
    class Hundredfold(lightgbm.LGBMRegressor):
        def predict(self, X, **options):
            return super().predict(X, **options) * 100

    for kind in (Hundredfold, lightgbm.LGBMModel):
        fitted = kind(objective="regression", **QUIET).fit(frame[["x"]], frame["x"])
        with pytest.raises(
            errors.InvalidInput, match=rf"{kind.__name__} is none of LightGBM's own.*pyfunc\.PythonModel"
        ):
            package.save(fitted, tmp_path / "m", Description())
    with pytest.raises(errors.InvalidInput, match="LGBMRegressor is not fitted"):
        package.save(lightgbm.LGBMRegressor(), tmp_path / "m", Description())


@pytest.mark.parametrize("known", ["all", "few", "none"])
@pytest.mark.parametrize("booster", [False, True])
def test_levels_are_those_of_the_model_whatever_the_example_holds(frame, model, known, booster, tmp_path):
    few = frame[frame["s"] == "b"].head(3)
    few = few.assign(s=pd.Categorical(few["s"].astype(str)))
    example = {"all": frame.head(), "few": few, "none": None}[known]
    package.save(model.booster_ if booster else model, tmp_path / "m", Description(input_example=example))
    found = package.read(tmp_path / "m")
    np.testing.assert_array_equal(found.predict(frame), model.predict(frame))
    texts = pa.table({"s": frame["s"].astype(str), "x": frame["x"]})
    np.testing.assert_array_equal(found.predict(texts), model.predict(frame))


@pytest.mark.parametrize("evaluator", ["auto", "native"])
def test_a_level_that_was_not_in_training_is_missing(frame, model, evaluator, tmp_path):
    package.save(model, tmp_path / "m", Description(input_example=frame.head()))
    table = pa.table({"s": ["zzz", "b", None], "x": [1.0, 1.0, 1.0]})
    rows = pd.DataFrame({"s": pd.Categorical(["zzz", "b", None]), "x": [1.0, 1.0, 1.0]})
    found = package.read(tmp_path / "m", evaluator=evaluator).predict_columns(table).column(0).to_pylist()
    assert found == model.predict(rows).tolist()
    assert found[0] == found[2] != found[1]


def test_columns_with_an_order_have_the_levels_of_the_example(frame, tmp_path):
    ordered = frame.assign(o=pd.Categorical(np.arange(200) % 3, [2, 0, 1], ordered=True), k=pd.Categorical([1] * 200))
    model = lightgbm.LGBMRegressor(**QUIET).fit(ordered, frame["x"] + ordered["o"].cat.codes)
    assert LightGBMFlavor().categories(model, {}) == {}
    package.save(model, tmp_path / "m", Description(input_example=ordered.head()))
    found = package.read(tmp_path / "m")
    np.testing.assert_array_equal(found.predict(ordered), model.predict(ordered))
    assert found.evaluator.why.startswith("equal to the last bit")


def test_a_booster_that_stopped_early_keeps_the_trees_that_predict(tmp_path):
    case = CASES["lightgbm-early"]
    frame = case.frame()
    data = lightgbm.Dataset(frame[:100], frame["speed"][:100], params={"verbosity": -1})
    booster = lightgbm.train(
        {"verbosity": -1, "num_threads": 1, "learning_rate": 0.9}, data, 90, keep_training_booster=True,
        valid_sets=[data.create_valid(frame[100:], frame["speed"][100:])],
        callbacks=[lightgbm.early_stopping(2, verbose=False)],
    )  # fmt: skip
    assert 0 < booster.best_iteration < booster.num_trees()
    package.save(booster, tmp_path / "b", Description())
    found = package.read(tmp_path / "b")
    assert found.unwrap().num_trees() == booster.best_iteration
    np.testing.assert_array_equal(found.predict(frame), booster.predict(frame))
    model = case.train()
    package.save(model, tmp_path / "m", Description())
    whole = package.read(tmp_path / "m").unwrap()
    assert (whole.best_iteration_, whole.get_params()) == (model.best_iteration_, model.get_params())


def test_probabilities_are_named_by_class(tmp_path):
    case = CASES["lightgbm-classifier"]
    model = case.train()
    package.save(model, tmp_path / "m", Description(input_example=case.frame().head(3)))
    found = package.read(tmp_path / "m").predict(case.frame(), predict_fn="predict_proba")
    assert list(found) == ["early", "late"]
    np.testing.assert_array_equal(found.to_numpy(), model.predict_proba(case.frame()))


def test_columns_in_another_order_than_in_training_are_not_taken(tmp_path):
    case = CASES["lightgbm-booster"]
    with pytest.raises(errors.InvalidInput, match="another order .*speed, gate, heat"):
        package.save(
            case.train(), tmp_path / "m", Description(input_example=case.frame().head(3)[["gate", "heat", "speed"]])
        )


def test_a_blank_in_a_name_is_taken(frame, tmp_path):
    blank = frame.rename(columns={"x": "the x"})
    model = lightgbm.LGBMRegressor(**QUIET).fit(blank, frame["x"])
    package.save(model, tmp_path / "m", Description(input_example=blank.head()))
    np.testing.assert_array_equal(package.read(tmp_path / "m").predict(blank), model.predict(blank))


def test_a_matrix_has_columns_without_names(tmp_path):
    x = np.random.default_rng(0).normal(size=(100, 3))
    model = lightgbm.LGBMRegressor(**QUIET).fit(x, x[:, 0])
    package.save(model, tmp_path / "m", Description(input_example=x[:3]))
    np.testing.assert_array_equal(package.read(tmp_path / "m").predict(x), model.predict(x))


def test_an_objective_of_ones_own_needs_consent(frame, tmp_path):
    def squared(true, guess):
        return guess - true, np.ones_like(true)

    model = lightgbm.LGBMRegressor(objective=squared, **QUIET).fit(frame[["x"]], frame["x"])
    with pytest.raises(errors.ConsentRequired, match=r"without a pickle.*or save model\.booster_"):
        package.save(model, tmp_path / "m", Description())
    package.save(model, tmp_path / "m", Description(allow_code=True))
    with pytest.raises(errors.ConsentRequired, match=r"model\.pkl is a pickle"):
        package.read(tmp_path / "m")
    found = package.read(tmp_path / "m", allow_code=True)
    np.testing.assert_array_equal(found.predict(frame[["x"]]), model.predict(frame[["x"]]))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", ["skops", "cloudpickle"])
def test_mlflows_skops_needs_no_consent_and_its_pickle_does(form, frame, model, tmp_path):
    import mlflow

    mlflow.lightgbm.save_model(model, str(tmp_path / "m"), serialization_format=form)
    if form == "cloudpickle":
        with pytest.raises(errors.ConsentRequired, match="is a pickle"):
            package.read(tmp_path / "m")
    found = package.read(tmp_path / "m", allow_code=form == "cloudpickle")
    np.testing.assert_array_equal(found.predict(frame), model.predict(frame))


@pytest.mark.parametrize("name", ["lightgbm-booster", "lightgbm-classifier", "lightgbm-ranker"])
def test_threads_are_held(name, tmp_path):
    package.save(CASES[name].train(), tmp_path / "m", Description())
    found = package.read(tmp_path / "m", evaluator="native")
    inside = found.unwrap()
    given = []
    booster = getattr(inside, "booster_", inside)
    real = booster.predict
    booster.predict = lambda rows, **options: given.append(options) or real(rows, **options)
    for threads in (1, 3):
        found.limit_threads(threads)
        found.predict(CASES[name].frame())
    assert [options["num_threads"] for options in given] == [1, 3]


def test_scoring_prints_nothing(frame, tmp_path, capfd):
    options = {"n_estimators": 5, "n_jobs": 1, "bagging_fraction": 0.7, "subsample": 0.6, "verbosity": 1}
    model = lightgbm.LGBMRegressor(**options).fit(frame, frame["x"])
    capfd.readouterr()
    model.predict(frame)
    assert "[Warning]" in capfd.readouterr().out
    package.save(model, tmp_path / "m", Description(input_example=frame.head()))
    package.read(tmp_path / "m", evaluator="native").predict(frame)
    assert capfd.readouterr() == ("", "")


# -- damage --------------------------------------------------------------------------------------------------------------


def damaged(text, how):
    """LightGBM ends the process over most of these, or follows them."""
    if how == "cut off":
        return text[: text.index("Tree=1") + 60]
    if how == "size":
        return re.sub(r"tree_sizes=(\d)", r"tree_sizes=1\1", text)
    if how == "child":
        return re.sub(r"left_child=(\d)", "left_child=0", text, count=1)
    if how == "leaf":
        return re.sub(r"(left_child=[^\n]*-)\d", r"\g<1>9", text, count=1)
    if how == "feature":
        return re.sub(r"split_feature=\d", "split_feature=9", text, count=1)
    if how == "category":
        return re.sub(r"cat_boundaries=0 1", "cat_boundaries=0 9", text)
    return "no model"


DAMAGE = ["cut off", "size", "child", "leaf", "feature", "category", "no model"]


@pytest.fixture(scope="module")
def grown(frame):
    model = lightgbm.LGBMRegressor(n_estimators=2, num_leaves=4, n_jobs=1, verbosity=-1)
    model.fit(frame, (frame["s"] == "b") * 2.0 + frame["x"])
    assert "cat_boundaries=0 1" in model.booster_.model_to_string()
    return model


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_text_is_refused(how, grown, tmp_path):
    package.save(grown.booster_, tmp_path / "m", Description())
    path = tmp_path / "m" / "model.lgb"
    text = path.read_text()
    path.write_text(damaged(text, how))
    assert path.read_text() != text
    with pytest.raises(errors.FormatError, match=r"model\.lgb is not a model.*or it is damaged"):
        package.read(tmp_path / "m")


@pytest.mark.parametrize("how", DAMAGE[:-1])
def test_a_damaged_text_inside_of_skops_is_refused(how, grown, tmp_path):
    package.save(grown, tmp_path / "m", Description())
    path = tmp_path / "m" / "model.skops"
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(parts["schema.json"])

    def changed(node):
        if isinstance(node, list):
            return [changed(inside) for inside in node]
        if not isinstance(node, dict):
            return node
        if node.get("__loader__") == "JsonNode" and "Tree=" in node["content"]:
            return {**node, "content": json.dumps(damaged(json.loads(node["content"]), how))}
        return {key: changed(value) for key, value in node.items()}

    assert changed(schema) != schema
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, json.dumps(changed(schema)) if name == "schema.json" else data)
    with pytest.raises(errors.FormatError, match=r"model\.skops cannot be read: it is damaged"):
        package.read(tmp_path / "m")


def test_a_file_that_is_gone_or_holds_something_else(grown, tmp_path):
    from sklearn.linear_model import Ridge

    from sparkml_lifecycle.flavors.sklearn import write_skops

    package.save(grown, tmp_path / "m", Description())
    path = tmp_path / "m" / "model.skops"
    write_skops(Ridge().fit([[1.0], [2.0]], [1.0, 2.0]), path)
    with pytest.raises(errors.FormatError, match="holds no fitted model of LightGBM's"):
        package.read(tmp_path / "m")
    path.write_bytes(b"PK nothing")
    with pytest.raises(errors.FormatError, match="it is damaged"):
        package.read(tmp_path / "m")
    path.unlink()
    with pytest.raises(errors.FormatError, match=r"'model\.skops', which is not in"):
        package.read(tmp_path / "m")
