"""Small real models of every flavor, and the rows they were trained on: what the contract suite runs over."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

ROWS = 200


def rows() -> pd.DataFrame:
    """Numbers with and without gaps, integers, strings; the same every time."""
    random = np.random.default_rng(7)
    return pd.DataFrame(
        {
            "speed": random.normal(10, 3, ROWS),
            "gate": random.integers(0, 9, ROWS),
            "carrier": random.choice(["AA", "DL", "UA"], ROWS),
            "heat": random.normal(0, 1, ROWS),
        }
    )


def target(frame: pd.DataFrame) -> np.ndarray:
    noise = np.random.default_rng(8).normal(0, 0.1, len(frame))
    return (frame["speed"] * 2 - frame["gate"] + (frame["carrier"] == "UA") * 3 + noise).to_numpy()


@dataclass(frozen=True)
class Case:
    """One model to hold to the contract."""

    flavor: str
    train: Callable[[], Any]
    columns: tuple[str, ...] = ("speed", "gate", "heat")
    categorical: bool = False
    exact: bool = True
    needs_consent: bool = False
    expected: Callable[[Any, pd.DataFrame], Any] = field(default=lambda model, frame: model.predict(frame))

    def frame(self) -> pd.DataFrame:
        found = rows()[list(self.columns)]
        return found.assign(carrier=found["carrier"].astype("category")) if self.categorical else found


NUMBERS = ["speed", "gate", "heat"]


def _pipeline() -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    features = ColumnTransformer(
        [("codes", OneHotEncoder(handle_unknown="ignore"), ["carrier"]), ("numbers", StandardScaler(), NUMBERS)]
    )
    frame = rows()
    return Pipeline([("features", features), ("ridge", Ridge())]).fit(frame[[*NUMBERS, "carrier"]], target(frame))


def _sklearn(kind: str, module: str, labels: bool = False, **options: Any) -> Callable[[], Any]:
    def train() -> Any:
        import importlib

        frame = rows()
        wanted = target(frame)
        estimator = getattr(importlib.import_module(f"sklearn.{module}"), kind)(**options)
        return estimator.fit(frame[NUMBERS], np.where(wanted > 16, "late", "early") if labels else wanted)

    return train


def _xgboost(kind: str, categorical: bool = False, early: bool = False) -> Callable[[], Any]:
    def train() -> Any:
        import xgboost

        frame = rows()
        wanted = target(frame)
        names = [*NUMBERS, "carrier"] if categorical else NUMBERS
        inputs = frame[names].assign(carrier=frame["carrier"].astype("category")) if categorical else frame[names]
        if kind == "Booster":
            return xgboost.train({"max_depth": 3, "nthread": 1}, xgboost.DMatrix(inputs, wanted), 12)
        options: dict[str, Any] = {"n_estimators": 15, "max_depth": 3, "n_jobs": 1, "enable_categorical": categorical}
        if kind == "XGBClassifier":
            return xgboost.XGBClassifier(**options).fit(inputs, (wanted > 16).astype(int))
        if kind == "XGBRanker":
            return xgboost.XGBRanker(**options).fit(inputs, (wanted > 16).astype(int), qid=np.repeat(np.arange(20), 10))
        if early:
            options |= {"early_stopping_rounds": 2, "n_estimators": 200, "learning_rate": 0.9}
            return xgboost.XGBRegressor(**options).fit(
                inputs[:100], wanted[:100], eval_set=[(inputs[100:], wanted[100:])], verbose=False
            )
        return xgboost.XGBRegressor(**options).fit(inputs, wanted)

    return train


def _lightgbm(kind: str, categorical: bool = False, early: bool = False) -> Callable[[], Any]:
    def train() -> Any:
        import lightgbm

        frame = rows()
        wanted = target(frame)
        names = [*NUMBERS, "carrier"] if categorical else NUMBERS
        inputs = frame[names].assign(carrier=frame["carrier"].astype("category")) if categorical else frame[names]
        if kind == "Booster":
            options = {"num_leaves": 8, "num_threads": 1, "verbosity": -1}
            return lightgbm.train(options, lightgbm.Dataset(inputs, wanted), 12)
        model = getattr(lightgbm, kind)(n_estimators=200 if early else 12, num_leaves=8, n_jobs=1, verbosity=-1)
        if kind == "LGBMClassifier":
            return model.fit(inputs, np.where(wanted > 16, "late", "early"))
        if kind == "LGBMRanker":
            return model.fit(inputs, (wanted > 16).astype(int), group=[10] * 20)
        if early:
            stop = lightgbm.early_stopping(2, verbose=False)
            return model.set_params(learning_rate=0.9).fit(
                inputs[:100], wanted[:100], eval_X=inputs[100:], eval_y=wanted[100:], callbacks=[stop]
            )
        return model.fit(inputs, wanted)

    return train


def double_speed(model_input: pd.DataFrame) -> pd.Series:
    return model_input["speed"] * 2


def _booster_answers(model: Any, frame: pd.DataFrame) -> Any:
    import xgboost

    return model.predict(xgboost.DMatrix(frame))


CASES = {
    "sklearn-pipeline": Case("sklearn", _pipeline, (*NUMBERS, "carrier"), exact=False),
    "sklearn-logistic": Case("sklearn", _sklearn("LogisticRegression", "linear_model", labels=True, max_iter=1000), exact=False),
    "sklearn-forest": Case("sklearn", _sklearn("RandomForestRegressor", "ensemble", n_estimators=8, random_state=1)),
    "sklearn-boosting": Case("sklearn", _sklearn("GradientBoostingRegressor", "ensemble", n_estimators=8)),
    "sklearn-histogram": Case("sklearn", _sklearn("HistGradientBoostingClassifier", "ensemble", labels=True, max_iter=8)),
    "xgboost-booster": Case("xgboost", _xgboost("Booster"), expected=_booster_answers),
    "xgboost-regressor": Case("xgboost", _xgboost("XGBRegressor")),
    "xgboost-early": Case("xgboost", _xgboost("XGBRegressor", early=True)),
    "xgboost-classifier": Case("xgboost", _xgboost("XGBClassifier")),
    "xgboost-ranker": Case("xgboost", _xgboost("XGBRanker")),
    "xgboost-categories": Case("xgboost", _xgboost("XGBRegressor", categorical=True), (*NUMBERS, "carrier"), categorical=True),
    "lightgbm-booster": Case("lightgbm", _lightgbm("Booster")),
    "lightgbm-early": Case("lightgbm", _lightgbm("LGBMRegressor", early=True)),
    "lightgbm-classifier": Case("lightgbm", _lightgbm("LGBMClassifier")),
    "lightgbm-ranker": Case("lightgbm", _lightgbm("LGBMRanker")),
    "lightgbm-categories": Case("lightgbm", _lightgbm("LGBMRegressor", categorical=True), (*NUMBERS, "carrier"), categorical=True),
    "function": Case("python_function", lambda: double_speed, needs_consent=True, expected=lambda model, frame: model(frame)),
}  # fmt: skip
