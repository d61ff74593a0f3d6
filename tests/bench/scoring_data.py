"""What ``tests.bench.scoring`` scores: flights with their weather, replicated as a Delta table, and models of the real rows."""

import itertools
import json
import os
import time
import warnings
from pathlib import Path

from sparkml_lifecycle.cli import flights

NUMBERS = ["month", *flights.NUMBERS]
TEXTS = flights.TEXTS
FILES = 64
MODELS = ("linear", "xgboost", "lightgbm", "histogram", "forest", "onehot", "h2o", "h2o-texts")
_WITH_TEXTS = ("onehot", "h2o-texts")


def columns_of(job):
    """The columns that a job's model takes."""
    return [*NUMBERS, *TEXTS] if job in _WITH_TEXTS else NUMBERS


def real_rows(folder):
    """The flights of which everything is known, so that every framework answers every row."""
    from deltalake import DeltaTable

    if not (folder / "flights").exists():
        flights.write_flights(folder / "flights")
    frame = DeltaTable(str(folder / "flights")).to_pyarrow_table().to_pandas()
    return frame.dropna(subset=[*NUMBERS, flights.TARGET])


def make_carriers(folder):
    """The table that the dataframe job joins."""
    import pyarrow as pa
    from deltalake import write_deltalake

    if not (folder / "carriers").exists():
        names = sorted(set(real_rows(folder)["carrier"]))
        write_deltalake(str(folder / "carriers"), pa.table({"carrier": names}))


def make_rows(folder, rows, files=FILES):
    """The Delta table ``rows-<rows>`` of so many files; gives its path."""
    import numpy as np
    import pyarrow as pa
    from deltalake import write_deltalake

    place = folder / f"rows-{rows}"
    if place.exists():
        return place
    real = real_rows(folder)[["flight_id", *NUMBERS, *TEXTS]]
    table = pa.Table.from_pandas(real, preserve_index=False).replace_schema_metadata(None)
    beside = folder / f"rows-{rows}.writing"
    ends = np.linspace(0, rows, files + 1).astype(int)
    for start, end in itertools.pairwise(ends):
        ids = np.arange(start, end)
        part = table.take(pa.array(ids % table.num_rows)).set_column(0, "flight_id", pa.array(ids))
        write_deltalake(str(beside), part, mode="append")
    beside.rename(place)
    return place


def paths_of(place):
    """The files of a Delta table."""
    from deltalake import DeltaTable

    return sorted(DeltaTable(str(place)).file_uris())


def make_model(folder, job):
    """Train, and save the model by this package and by MLflow: ``ours-<job>`` and ``theirs-<job>``."""
    if (folder / f"ours-{job}").exists():
        return
    warnings.simplefilter("ignore")
    frame = real_rows(folder)
    makers = {
        "linear": _linear, "xgboost": _xgboost, "lightgbm": _lightgbm, "histogram": _histogram, "forest": _forest,
        "onehot": _onehot,
    }  # fmt: skip
    if job in makers:
        makers[job](folder, frame)
    else:
        _h2o(folder, job, frame)


def _save(folder, job, model, frame, module=None):
    from sparkml_lifecycle import package
    from sparkml_lifecycle.package import Description

    example = frame[columns_of(job)].head(5)
    if module is not None:
        import importlib

        from mlflow.models import infer_signature

        saver = importlib.import_module(f"mlflow.{module}")
        # as skops it refuses histogram trees
        how = {"serialization_format": "cloudpickle"} if module == "sklearn" else {}
        saver.save_model(model, str(folder / f"theirs-{job}"), signature=infer_signature(example), **how)
    package.save(model, folder / f"ours-{job}", Description(input_example=example))


def _linear(folder, frame):
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LinearRegression()).fit(frame[NUMBERS], frame[flights.TARGET])
    scaler, linear = (step for _, step in model.steps)
    weights = linear.coef_ / scaler.scale_
    terms = {"weights": weights.tolist(), "constant": float(linear.intercept_ - weights @ scaler.mean_)}
    (folder / "linear.json").write_text(json.dumps(terms))
    _save(folder, "linear", model, frame, "sklearn")


def _onehot(folder, frame):
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    chosen = [("texts", OneHotEncoder(handle_unknown="ignore"), TEXTS), ("numbers", numbers, NUMBERS)]
    model = make_pipeline(ColumnTransformer(chosen), Ridge())
    _save(folder, "onehot", model.fit(frame[[*NUMBERS, *TEXTS]], frame[flights.TARGET]), frame, "sklearn")


# each is trained by two threads and saved for one: a worker of Spark has one core


def _xgboost(folder, frame):
    import xgboost

    model = xgboost.XGBRegressor(n_estimators=300, max_depth=6, n_jobs=2).fit(frame[NUMBERS], frame[flights.TARGET])
    model.set_params(n_jobs=1).save_model(folder / "xgboost.ubj")
    _save(folder, "xgboost", model, frame, "xgboost")


def _lightgbm(folder, frame):
    import lightgbm

    model = lightgbm.LGBMRegressor(n_estimators=300, num_leaves=31, n_jobs=2, verbosity=-1)
    model.fit(frame[NUMBERS], frame[flights.TARGET])
    _save(folder, "lightgbm", model.set_params(n_jobs=1), frame, "lightgbm")


def _histogram(folder, frame):
    from sklearn.ensemble import HistGradientBoostingRegressor

    model = HistGradientBoostingRegressor(max_iter=200).fit(frame[NUMBERS], frame[flights.TARGET])
    _save(folder, "histogram", model, frame, "sklearn")


def _forest(folder, frame):
    from sklearn.ensemble import RandomForestRegressor

    model = RandomForestRegressor(100, max_depth=10, n_jobs=2, random_state=0)
    model.fit(frame[NUMBERS], frame[flights.TARGET])
    _save(folder, "forest", model.set_params(n_jobs=1), frame, "sklearn")


def _h2o(folder, job, frame):
    import h2o
    from h2o.estimators import H2OGradientBoostingEstimator

    h2o.init(port=flights._free_port(), bind_to_localhost=True, nthreads=2, max_mem_size="2G", verbose=False)
    h2o.no_progress()
    model, columns = H2OGradientBoostingEstimator(ntrees=100, max_depth=5, seed=1), columns_of(job)
    known = h2o.H2OFrame(frame[[*columns, flights.TARGET]].sample(50_000, random_state=1))
    for name in columns[len(NUMBERS) :]:
        known[name] = known[name].asfactor()
    model.train(x=columns, y=flights.TARGET, training_frame=known)
    _save(folder, job, model, frame, "h2o")
    h2o.cluster().shutdown()


def part_of(place, folder, files):
    """A Delta table of the first ``files`` files of another, which are linked, not copied."""
    from deltalake import DeltaTable
    from deltalake.transaction import AddAction, create_table_with_add_actions

    handle = DeltaTable(str(place))
    part = folder / f"{Path(place).name}-{files}"
    if part.exists():
        return part
    part.mkdir()
    actions = []
    for name in sorted(handle.file_uris())[:files]:
        path = Path(name.removeprefix("file://"))
        os.link(path, part / path.name)
        actions.append(AddAction(path.name, path.stat().st_size, {}, int(time.time() * 1000), True, "{}"))
    create_table_with_add_actions(str(part), handle.schema(), actions, mode="error", partition_by=[])
    return part
