"""``ml.sklearn`` and its like take what scripts written for MLflow give them."""

import pytest

import sparkml_lifecycle as ml
from sparkml_lifecycle import errors
from tests.flavors.models import CASES


@pytest.mark.parametrize(
    ("name", "argument", "case"),
    [
        ("lightgbm", "lgb_model", "lightgbm-classifier"),
        ("sklearn", "sk_model", "sklearn-forest"),
        ("xgboost", "xgb_model", "xgboost-booster"),
    ],
)
def test_a_model_is_taken_under_mlflows_name_too(name, argument, case, tmp_path, lake):
    framework, model = getattr(ml, name), CASES[case].train()
    with ml.start_run():
        info = framework.log_model(**{argument: model}, name="model")
        older = framework.log_model(model, artifact_path="older")
    framework.save_model(**{argument: model}, path=tmp_path / "m")
    for uri in (info.model_uri, older.model_uri, tmp_path / "m"):
        assert type(framework.load_model(uri)) is type(model)
    with pytest.raises(errors.InvalidInput, match=f"Give the model once.*{argument}=model"):
        framework.log_model(model, **{argument: model})
    with pytest.raises(errors.InvalidInput, match="Give the model once"):
        framework.log_model(name="model")


def test_another_frameworks_model_is_refused_by_name(tmp_path):
    ml.xgboost.save_model(CASES["xgboost-booster"].train(), tmp_path / "m")
    with pytest.raises(errors.NotFound, match="no sklearn flavor. It has: python_function, xgboost"):
        ml.sklearn.load_model(tmp_path / "m")
