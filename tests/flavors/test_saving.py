"""A model directory appears whole or not at all."""

import resource
import signal
import warnings
from contextlib import contextmanager

import pytest
import yaml

import sparkml_lifecycle as ml
from sparkml_lifecycle import errors, package
from sparkml_lifecycle.package import Description
from tests.flavors.models import CASES

SAVED = ["sklearn-pipeline", "sklearn-histogram", "xgboost-regressor", "function"]


@contextmanager
def disk_with(free: int):
    """Every write past the first ``free`` bytes of a file is refused by the system, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (free, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("free", [0, 600, 1500])
@pytest.mark.parametrize("name", SAVED)
def test_a_full_disk_leaves_no_half_model(name, free, tmp_path):
    case, target = CASES[name], tmp_path / "models" / "m"
    model = case.train()
    with disk_with(free), pytest.raises(errors.StorageError, match="cannot be saved at .*Nothing was left there"):
        package.save(model, target, Description(input_example=case.frame().head(3), allow_code=case.needs_consent))
    assert list(target.parent.iterdir()) == []
    package.save(model, target, Description(allow_code=case.needs_consent))
    assert package.read(target, allow_code=case.needs_consent)


def test_a_place_that_cannot_be_written_is_named(tmp_path, lake):
    model = CASES["sklearn-histogram"].train()
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(errors.StorageError, match=r"cannot be saved at '.*file/m'"):
        package.save(model, tmp_path / "file" / "m", Description())
    with ml.start_run() as run:
        artifacts = tmp_path / "lake" / "artifacts"
        assert run.info.artifact_uri.startswith(str(artifacts))
        artifacts.write_text("in the way")
        with pytest.raises(errors.StorageError, match="cannot be saved at"):
            ml.log_model(model, "model")
    assert artifacts.read_text() == "in the way"


def test_swapped_arguments_are_told(tmp_path, lake):
    model = CASES["sklearn-forest"].train()
    with pytest.raises(errors.InvalidInput, match=r"swapped: log_model\(model, 'model'\)"):
        ml.log_model("model", model)
    with pytest.raises(
        errors.InvalidInput, match=r"save_model\(model, 'dir'\).*RandomForestRegressor.*swapped: save_model"
    ):
        ml.save_model("dir", model)
    with pytest.raises(errors.InvalidInput, match="text or a path, found RandomForestRegressor"):
        ml.pyfunc.load_model(model)
    with pytest.raises(errors.InvalidInput, match="Are the arguments swapped"):
        ml.pyfunc.spark_udf("runs:/x/model", model)
    assert not lake_has_runs(lake)


def lake_has_runs(lake):
    return bool(len(ml.search_runs(search_all_experiments=True)))


def test_what_is_known_of_a_model_is_short_and_needs_no_loading(tmp_path, lake):
    case = CASES["sklearn-pipeline"]
    with ml.start_run() as run:
        logged = ml.log_model(
            case.train(), "model", input_example=case.frame().head(3), pip_requirements="scikit-learn"
        )
    assert repr(logged) == (
        f"ModelInfo('runs:/{run.info.run_id}/model', python_function sklearn, "
        "speed: double, gate: long, heat: double, carrier: string -> double)"
    )
    found = ml.models.get_model_info(logged.model_uri)
    assert (found.run_id, found.artifact_path, found.signature) == (run.info.run_id, "model", logged.signature)
    assert set(found.flavors) == {"python_function", "sklearn"}
    assert (ml.artifacts.load_text(f"{logged.model_uri}/requirements.txt")).splitlines() == ["scikit-learn"]


def test_a_misspelt_option_is_refused(tmp_path):
    model = CASES["sklearn-forest"].train()
    with pytest.raises(errors.InvalidInput, match=r"'singature'\. Did you mean 'signature'\?.*serialization_format"):
        ml.save_model(model, tmp_path / "m", singature=None or {})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../two", "/two", ""])
def test_an_artifact_stays_inside_the_model(name, tmp_path):
    (tmp_path / "f.txt").write_text("1")
    with pytest.raises(errors.InvalidInput, match="leads out of the model's directory"):
        ml.pyfunc.save_model(
            tmp_path / "m", python_model=abs, artifacts={name: str(tmp_path / "f.txt")}, allow_code=True
        )


@pytest.mark.parametrize(
    ("options", "file"), [({}, "model.skops"), ({"serialization_format": "cloudpickle"}, "model.pkl")]
)
@pytest.mark.parametrize("size", [0, 100])
def test_a_damaged_file_is_a_format_error(options, file, size, tmp_path):
    model = CASES["sklearn-forest"].train()
    package.save(model, tmp_path / "m", Description(allow_code=True, options=options))
    path = tmp_path / "m" / file
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(errors.FormatError, match="cannot be loaded; its files are damaged"):
        package.read(tmp_path / "m", allow_code=True)


def test_the_current_directory_and_a_link_are_places_like_any_other(tmp_path, monkeypatch):
    model = CASES["sklearn-forest"].train()
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there")
    monkeypatch.chdir(tmp_path / "here")
    for path, found in ((".", "here"), (tmp_path / "link", "there")):
        ml.save_model(model, path)
        assert package.read(path).predict(CASES["sklearn-forest"].frame()) is not None
        assert (tmp_path / found / "MLmodel").is_file()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["here", "link", "there"]


def test_a_flavor_without_a_loader_says_so(tmp_path):
    package.save(CASES["sklearn-forest"].train(), tmp_path / "m", Description())
    content = yaml.safe_load((tmp_path / "m" / "MLmodel").read_text())
    del content["flavors"]["python_function"]["loader_module"]
    (tmp_path / "m" / "MLmodel").write_text(yaml.safe_dump(content))
    with pytest.raises(errors.FormatError, match="names no loader_module"):
        package.read(tmp_path / "m")


def test_a_requirements_file_is_read(tmp_path):
    (tmp_path / "needs.txt").write_text("# why\nscikit-learn\n\nnumpy\n")
    model = CASES["sklearn-forest"].train()
    ml.save_model(model, tmp_path / "m", pip_requirements=str(tmp_path / "needs.txt"))
    assert (tmp_path / "m" / "requirements.txt").read_text().splitlines() == ["scikit-learn", "numpy"]


def test_another_version_of_the_framework_is_warned_about_once(tmp_path):
    package.save(CASES["sklearn-histogram"].train(), tmp_path / "of_another_version", Description())
    path = tmp_path / "of_another_version" / "MLmodel"
    content = yaml.safe_load(path.read_text())
    content["sparkml_lifecycle"]["versions"]["scikit-learn"] = "0.24.2"
    path.write_text(yaml.safe_dump(content))
    with pytest.warns(UserWarning, match=r"of_another_version was saved with scikit-learn 0\.24\.2 \(here 1\."):
        package.read(path.parent)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        package.read(path.parent)
