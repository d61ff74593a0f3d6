"""The faults of evaluators in a short form; ``make soak`` has the long one."""

import numpy as np
import pandas as pd
import pytest
import xgboost

from sparkml_lifecycle import package
from sparkml_lifecycle.package import Description
from tests.evaluators import faults


@pytest.fixture
def frame():
    rng = np.random.default_rng(0)
    return pd.DataFrame(rng.normal(size=(20_000, 3)), columns=list("abc"))


@pytest.fixture
def directory(frame, tmp_path):
    model = xgboost.XGBRegressor(n_estimators=30, n_jobs=1).fit(frame, frame.a * 3 + frame.b)
    package.save(model, tmp_path / "model", Description(input_example=frame.head(3)))
    return tmp_path / "model"


def test_compilers_that_are_killed_leave_nothing_that_harms(directory, tmp_path):
    assert faults.killed_compilers(directory, tmp_path, 1) > 0


def test_many_threads_with_one_model(directory, frame):
    assert faults.many_threads(directory, frame, 200) == 200


def test_some_of_all_pipelines(tmp_path):
    assert faults.all_pipelines(tmp_path, share=0.03) == 9
