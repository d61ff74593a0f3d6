"""What every flavor promises, over real models of each."""

import json
import re
from importlib.metadata import version

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from sparkml_lifecycle import errors, package
from sparkml_lifecycle.model import manifest
from sparkml_lifecycle.package import Description
from tests.flavors.models import CASES, Case


@pytest.fixture(scope="module", params=CASES)
def case(request):
    return CASES[request.param]


@pytest.fixture(scope="module")
def trained(case):
    return case.train()


@pytest.fixture(scope="module")
def directory(case, trained, tmp_path_factory):
    path = tmp_path_factory.mktemp("saved") / "model"
    package.save(trained, path, Description(input_example=case.frame().head(5), allow_code=case.needs_consent))
    return path


@pytest.fixture(scope="module", params=["auto", "native"])
def loaded(request, case, directory):
    return package.read(directory, allow_code=case.needs_consent, evaluator=request.param)


def agree(case: Case, found, wanted) -> None:
    found, wanted = np.asarray(found), np.asarray(wanted)
    if case.exact or found.dtype.kind not in "f":
        np.testing.assert_array_equal(found, wanted)
    else:
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


def test_a_loaded_model_answers_as_the_trained_one(case, trained, loaded):
    found, expected = loaded.predict(case.frame()), case.expected(trained, case.frame())
    if loaded.evaluator.name == "linear":
        agree(case, found, expected)
    else:
        np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))


def test_a_batch_answers_as_its_rows_one_by_one(case, loaded):
    frame = case.frame().head(12)
    one_by_one = np.concatenate([np.atleast_1d(np.asarray(loaded.predict(frame.iloc[[i]]))) for i in range(len(frame))])
    agree(case, one_by_one, loaded.predict(frame))


def test_reordered_and_extra_columns_change_nothing(case, loaded):
    frame = case.frame()
    shuffled = frame.assign(other=1.5)[["other", *reversed(frame.columns)]]
    np.testing.assert_array_equal(np.asarray(loaded.predict(shuffled)), np.asarray(loaded.predict(frame)))


def test_a_missing_column_is_named(case, loaded):
    with pytest.raises(errors.SchemaError, match="'speed' .* is missing"):
        loaded.predict(case.frame().drop(columns="speed"))


def test_a_mistyped_column_is_named_with_both_types(case, loaded):
    with pytest.raises(errors.SchemaError, match="'speed' is string, the model takes double"):
        loaded.predict(case.frame().assign(speed="fast"))


def test_a_null_answers_the_same_whatever_rows_are_beside_it(case, loaded):
    frame = case.frame().head(10)
    table = pa.Table.from_pandas(frame, preserve_index=False)
    gaps = table.set_column(0, "speed", pa.array([None, *frame["speed"][1:]], pa.float64()))
    together = loaded.predict_columns(gaps).column(0)
    alone = loaded.predict_columns(gaps.slice(0, 1)).column(0)
    without = loaded.predict_columns(gaps.slice(1)).column(0)
    assert together.slice(0, 1).to_pylist() == alone.to_pylist() or (alone[0].as_py() != alone[0].as_py())
    agree(case, together.slice(1).to_pandas(), without.to_pandas())


def test_no_rows_of_pandas_give_an_empty_answer(case, loaded):
    found = loaded.predict(case.frame().head(0))
    some = loaded.predict(case.frame().head(1))
    assert (len(found), type(found)) == (0, type(some))


def test_a_relative_directory_is_taken(case, trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    package.save(trained, "here", Description(allow_code=case.needs_consent))
    assert package.read("here", allow_code=case.needs_consent).flavor.name == case.flavor
    package.save(trained, "file:there", Description(allow_code=case.needs_consent))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "there"]


def test_no_rows_give_no_answers(case, loaded):
    assert loaded.predict_columns(pa.Table.from_pandas(case.frame().head(0), preserve_index=False)).num_rows == 0


def test_a_missing_library_gives_the_line_that_installs_it(case, directory, monkeypatch):
    from sparkml_lifecycle import flavors

    missing = flavors.Entry(
        flavors.FLAVORS[case.flavor].target, "no-such-library", case.flavor, flavors.FLAVORS[case.flavor].loaders
    )
    monkeypatch.setitem(flavors.FLAVORS, case.flavor, missing)
    with pytest.raises(errors.MissingLibrary, match="pip install no-such-library"):
        package.read(directory)


def test_the_manifest_names_versions_and_requirements(case, directory):
    found = manifest.read(directory)
    library = {"sklearn": "scikit-learn", "python_function": "cloudpickle"}.get(case.flavor, case.flavor)
    assert found.ours["versions"][library] == version(library)
    assert f"{library}=={version(library)}" in (directory / "requirements.txt").read_text().splitlines()


@pytest.mark.filterwarnings("ignore")
def test_mlflow_loads_what_we_save(case, directory, loaded):
    import mlflow

    found = mlflow.pyfunc.load_model(str(directory)).predict(case.frame())
    agree(case, found, loaded.predict(case.frame()))


@pytest.mark.filterwarnings("ignore")
def test_we_load_what_mlflow_saves(case, trained, tmp_path):
    import mlflow

    path = str(tmp_path / "theirs")
    if case.flavor == "python_function":
        mlflow.pyfunc.save_model(path, python_model=trained, pip_requirements=[])
    else:
        options = {
            "sklearn": {"serialization_format": "cloudpickle"},
            "lightgbm": {"skops_trusted_types": ["lightgbm.sklearn.LGBMRanker"]},
        }.get(case.flavor, {})
        signature = None if case.categorical else mlflow.models.infer_signature(case.frame())
        getattr(mlflow, case.flavor).save_model(trained, path, signature=signature, **options)
    found = package.read(path, allow_code=True).predict(case.frame())
    agree(case, found, case.expected(trained, case.frame()))


def test_a_pickle_is_not_loaded_without_consent(tmp_path):
    from sklearn.linear_model import Ridge

    model = Ridge(alpha=0).fit([[1.0], [2.0]], [1.0, 2.0])
    package.save(model, tmp_path / "m", Description(allow_code=True, options={"serialization_format": "cloudpickle"}))
    with pytest.raises(errors.ConsentRequired, match="allow_code=True"):
        package.read(tmp_path / "m")
    assert package.read(tmp_path / "m", allow_code=True).predict(np.array([[3.0]])) == pytest.approx([3.0])


def test_a_pickle_is_not_saved_without_consent(tmp_path):
    with pytest.raises(errors.ConsentRequired, match="pickle"):
        package.save(lambda frame: frame["a"], tmp_path / "m", Description())
    assert list(tmp_path.iterdir()) == []


def test_a_model_that_raises_names_itself_and_never_the_data(tmp_path):
    def picky(frame):
        raise ValueError(f"bad row {frame.iloc[0, 0]}")

    package.save(picky, tmp_path / "m", Description(allow_code=True))
    rows = pd.DataFrame({"a": ["secret-4711"]})
    with pytest.raises(errors.ScoringError, match=r"^The function 'picky' raised ValueError in predict\.") as caught:
        package.read(tmp_path / "m", allow_code=True).predict(rows)
    assert "secret-4711" not in str(caught.value)
    # in the user's own process the cause keeps its text
    assert str(caught.value.__cause__) == "bad row secret-4711"
    with pytest.raises(errors.ScoringError, match="left out because it may quote the data") as caught:
        package.read(tmp_path / "m", allow_code=True, hide_errors=True).predict(rows)
    assert "secret-4711" not in str(caught.value.__cause__)


def test_a_tree_with_an_index_outside_its_bounds_is_refused(tmp_path):
    import zipfile

    from sklearn.tree import DecisionTreeRegressor

    model = DecisionTreeRegressor(max_depth=3, random_state=0).fit(np.arange(20).reshape(-1, 1), np.arange(20))
    package.save(model, tmp_path / "m", Description())
    evil = tmp_path / "m" / "model.skops"
    with zipfile.ZipFile(evil) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    before = model.tree_.children_left.tobytes()
    nodes = model.tree_.__getstate__()["nodes"]
    bad = nodes.copy()
    bad["left_child"][0] = 10_000
    changed = {name: data.replace(nodes.tobytes(), bad.tobytes()) for name, data in parts.items()}
    assert changed != parts
    assert before
    with zipfile.ZipFile(evil, "w") as archive:
        for name, data in changed.items():
            archive.writestr(name, data)
    with pytest.raises(errors.FormatError, match="outside its bounds"):
        package.read(tmp_path / "m")


def test_probabilities_are_named_by_class(tmp_path):
    case = CASES["sklearn-histogram"]
    package.save(case.train(), tmp_path / "m", Description(input_example=case.frame().head(3)))
    found = package.read(tmp_path / "m").predict(case.frame(), predict_fn="predict_proba")
    assert isinstance(found, pd.DataFrame)
    assert list(found) == ["early", "late"]
    np.testing.assert_allclose(found["early"] + found["late"], 1.0)


def test_another_value_for_missing_is_kept(tmp_path):
    import xgboost

    frame = CASES["xgboost-regressor"].frame().drop(columns="gate")
    frame.iloc[::3, 0] = -999.0
    model = xgboost.XGBRegressor(n_estimators=5, missing=-999.0, n_jobs=1).fit(frame, frame["heat"])
    package.save(model, tmp_path / "m", Description(input_example=frame.head(3)))
    np.testing.assert_array_equal(package.read(tmp_path / "m").predict(frame), model.predict(frame))


def test_a_python_model_with_artifacts_and_params(tmp_path):
    from sparkml_lifecycle.flavors.python_model import PythonModel
    from sparkml_lifecycle.model.signature import infer_signature

    class Scaled(PythonModel):
        def load_context(self, context):
            self.factor = float(open(context.artifacts["factor"]).read())  # noqa: SIM115

        def predict(self, context, model_input, params=None):
            return model_input["x"] * self.factor + (params or {}).get("offset", 0.0)

    (tmp_path / "factor.txt").write_text("3")
    frame = pd.DataFrame({"x": [1.0, 2.0]})
    signature = infer_signature(frame, frame["x"], params={"offset": 1.0})
    description = Description(
        signature=signature, allow_code=True, options={"artifacts": {"factor": str(tmp_path / "factor.txt")}}
    )
    package.save(Scaled(), tmp_path / "m", description)
    model = package.read(tmp_path / "m", allow_code=True)
    assert list(model.predict(frame)) == [4.0, 7.0]
    assert list(model.predict(frame, params={"offset": 10.0})) == [13.0, 16.0]
    with pytest.raises(errors.SchemaError, match="no parameter 'ofset'.*Did you mean 'offset'"):
        model.predict(frame, params={"ofset": 1.0})


def test_an_example_with_params_declares_them(tmp_path):
    def shifted(model_input, params=None):
        return model_input["x"] + params["add"]

    frame = pd.DataFrame({"x": [1.0, 2.0]})
    found = package.save(shifted, tmp_path / "m", Description(input_example=(frame, {"add": 0}), allow_code=True))
    assert repr(found.signature) == "x: double; params add=0 -> double"
    model = package.read(tmp_path / "m", allow_code=True)
    assert list(model.predict(frame)) == [1.0, 2.0]
    assert list(model.predict(frame, params={"add": 5})) == [6.0, 7.0]
    stored = json.loads((tmp_path / "m" / "input_example.json").read_text())
    assert stored == {"inputs": {"columns": ["x"], "data": [[1.0], [2.0]]}, "params": {"add": 0}}


def test_a_framework_that_would_pickle_names_the_models_own(tmp_path):
    model = CASES["xgboost-classifier"].train()
    with pytest.raises(errors.ConsentRequired, match=r"needs no consent: ml\.log_model \(or ml\.xgboost\.log_model\)"):
        package.save(model, tmp_path / "m", Description(flavor="sklearn"))


def test_a_model_is_saved_on_this_machine(tmp_path):
    with pytest.raises(errors.InvalidInput, match=r"a directory on this machine, found 's3://b/m'.*ml\.log_model"):
        package.save(CASES["xgboost-booster"].train(), "s3://b/m", Description())


def test_a_model_from_a_source_file(tmp_path):
    source = tmp_path / "my_model.py"
    source.write_text(
        "from sparkml_lifecycle import models\n\ndef predict(model_input):\n    return model_input['x'] + 1\n\nmodels.set_model(predict)\n"
    )
    package.save(str(source), tmp_path / "m", Description(input_example=pd.DataFrame({"x": [1.0]}), allow_code=True))
    assert list(package.read(tmp_path / "m", allow_code=True).predict(pd.DataFrame({"x": [1.0, 5.0]}))) == [2.0, 6.0]
    with pytest.raises(errors.ConsentRequired):
        package.read(tmp_path / "m")


def test_an_unknown_type_prints_the_lines_to_write():
    with pytest.raises(errors.InvalidInput, match=re.escape("class MyModel(pyfunc.PythonModel)")):
        package.save(object(), "never", Description())
