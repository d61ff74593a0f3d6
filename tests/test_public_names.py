import importlib.util
import re
import subprocess
import sys
import types

import pytest

import sparkml_lifecycle as ml
from sparkml_lifecycle.absent import ABSENT
from sparkml_lifecycle.flavors import FLAVORS


def test_dir_lists_exactly_the_public_names_once() -> None:
    assert [name for name in dir(ml) if not name.startswith("_")] == sorted(set(ml.__all__))
    # modules that some other import has loaded appear as attributes; they are public where they are listed
    held = {name for name, value in vars(ml).items() if not isinstance(value, types.ModuleType)}
    assert {name for name in held if not name.startswith("_")} <= set(ml.__all__)


def test_every_public_name_can_be_had() -> None:
    assert [name for name in ml.__all__ if getattr(ml, name, None) is None] == []


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(ml, "no_such_name")
    with pytest.raises(AttributeError, match="Did you mean 'log_metric'"):
        ml.log_metrik  # noqa: B018


@pytest.mark.parametrize("name", sorted(ABSENT))
def test_a_name_of_mlflows_that_is_not_here_says_what_to_do(name: str) -> None:
    assert name not in ml.__all__
    with pytest.raises(AttributeError, match=re.escape(ABSENT[name])):
        ml.__getattr__(name)


IMPORTS = """
import sparkml_lifecycle.lightgbm
import sparkml_lifecycle.sklearn
import sparkml_lifecycle.xgboost as x
from sparkml_lifecycle.h2o import log_model, save_model, load_model
from sparkml_lifecycle.models import ModelSignature, get_model_info, infer_signature
from sparkml_lifecycle.models.signature import infer_signature as same
from sparkml_lifecycle.exceptions import MlflowException
import sparkml_lifecycle as mlflow
assert same is infer_signature and x is mlflow.xgboost and callable(sparkml_lifecycle.sklearn.log_model)
try:
    mlflow.set_tracking_uri("")
except MlflowException:
    print("caught")
"""


def test_the_imports_with_which_classic_scripts_begin() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("caught\n", "")


def test_every_framework_has_its_names() -> None:
    assert sorted(ml._FRAMEWORKS) == sorted(set(FLAVORS) - {"python_function"})
    for name, argument in ml._FRAMEWORKS.items():
        assert importlib.util.find_spec(f"sparkml_lifecycle.{name}") is not None
        assert (getattr(ml, name).flavor, getattr(ml, name).model_argument) == (name, argument)
