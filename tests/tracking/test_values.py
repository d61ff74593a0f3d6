from datetime import UTC, datetime

import numpy as np
import pytest

from sparkml_lifecycle.errors import InvalidInput
from sparkml_lifecycle.tracking.values import metric_row

RUN = "0" * 32


@pytest.mark.parametrize("value", [np.array([0.5]), np.array([[0.5]]), np.float32(0.5), np.array(0.5), 0.5])
def test_a_number_or_an_array_of_one_is_a_metric(value):
    assert metric_row(datetime.now(UTC), RUN, "m", value, None, None).value == 0.5


@pytest.mark.parametrize(
    ("value", "found"),
    [(None, "NoneType"), ("abc", "str"), (np.array([1.0, 2.0]), r"ndarray of the shape \(2,\)"), ([1], "list")],
)
def test_what_is_no_number_is_not_told_to_pass_a_float(value, found):
    with pytest.raises(InvalidInput, match=f"'m' must be a number.*found {found}") as caught:
        metric_row(datetime.now(UTC), RUN, "m", value, None, None)
    assert "float(value)" not in str(caught.value)
