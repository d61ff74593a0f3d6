import pytest

from sparkml_lifecycle import errors, exceptions
from sparkml_lifecycle.errors import did_you_mean, nearest, reason


def test_the_nearest_name_is_found_whatever_its_capitals():
    assert nearest("age", ["Age", "plan"]) == "Age"
    assert did_you_mean("AGE", ["age"]) == " Did you mean 'age'?"
    assert did_you_mean("zzz", ["age"]) == ""


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (OSError(28, "No space left on device"), "No space left on device"),
        (ValueError("first line.\nsecond"), "first line"),
        (KeyError(), "KeyError"),
    ],
)
def test_somebody_elses_error_fits_into_a_sentence(error, wanted):
    assert reason(error) == wanted


def test_scripts_written_for_mlflow_find_its_codes():
    assert exceptions.MlflowException("x").error_code == "INTERNAL_ERROR"
    codes = {
        kind.__name__: kind("x").error_code for kind in (errors.AlreadyExists, errors.NotFound, errors.FilterError)
    }
    assert codes == {
        "AlreadyExists": "RESOURCE_ALREADY_EXISTS",
        "NotFound": "RESOURCE_DOES_NOT_EXIST",
        "FilterError": "INVALID_PARAMETER_VALUE",
    }
