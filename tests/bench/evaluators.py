"""One core: rows a second of the second evaluators beside each framework's own predict, and what a worker pays to begin.

``make bench-evaluators``, or ``python -m tests.bench.evaluators xgboost forest --rows 400000``. The rows are flights with
their weather. The framework gets what it takes fastest (a float matrix, a DataFrame for texts) and one thread, ours Arrow
columns and one thread; the repeats of both are interleaved, and each figure is the median (smallest to largest). All
answers are compared. *Cold* is a fresh process that loads the model and scores a thousand rows: ours with its code on disk,
by turns with the framework alone. ``--cpu znver2`` or another name of LLVM's compiles for that CPU.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

from tests.bench import scoring_data, scoring_ways  # noqa: E402
from tests.bench.scoring_data import NUMBERS, TEXTS  # noqa: E402

_COLD = """
import sys, time
import pyarrow.parquet as pq
from sparkml_lifecycle import package
rows = pq.read_table(sys.argv[2])
began = time.perf_counter()
model = package.read(sys.argv[1], evaluator=sys.argv[3], warn=False)
model.limit_threads(1)
model.predict(rows)
print(time.perf_counter() - began)
"""

_LLEAVES = """
import sys, time
import lleaves, numpy
model, rows = lleaves.Model(model_file=sys.argv[1]), numpy.load(sys.argv[2])
model.compile()
for line in sys.stdin:
    began = time.perf_counter()
    found = model.predict(rows, n_jobs=1)
    print(time.perf_counter() - began, found.sum(), flush=True)
"""


def _target(frame):
    return frame[scoring_data.flights.TARGET].to_numpy()


def _five(frame):
    import numpy as np

    values = _target(frame)
    return np.digitize(values, np.quantile(values, [0.2, 0.4, 0.6, 0.8]))


def trained(name, frame):
    """A model of the flights, the method that is timed, and its columns."""
    import lightgbm
    import xgboost
    from sklearn import ensemble
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers, target = frame[NUMBERS], _target(frame)
    part = numbers.index[:100_000]
    some, their = numbers.loc[part], target[: len(part)]
    if name == "xgboost":
        return xgboost.XGBRegressor(n_estimators=300, max_depth=6, n_jobs=2).fit(numbers, target), "predict", NUMBERS
    if name == "classes":
        model = xgboost.XGBClassifier(n_estimators=60, max_depth=6, n_jobs=2).fit(numbers, _five(frame))
        return model, "predict_proba", NUMBERS
    if name == "lightgbm":
        model = lightgbm.LGBMRegressor(n_estimators=300, num_leaves=31, n_jobs=2, verbosity=-1)
        return model.fit(numbers, target), "predict", NUMBERS
    if name == "onehot":
        prepare = make_column_transformer(
            (OneHotEncoder(handle_unknown="ignore"), TEXTS), (make_pipeline(SimpleImputer(), StandardScaler()), NUMBERS)
        )
        return make_pipeline(prepare, Ridge()).fit(frame[[*NUMBERS, *TEXTS]], target), "predict", [*NUMBERS, *TEXTS]
    models = {
        "histogram": lambda: ensemble.HistGradientBoostingRegressor(max_iter=200),
        "boosting": lambda: ensemble.GradientBoostingRegressor(n_estimators=100, max_depth=4),
        "forest": lambda: ensemble.RandomForestRegressor(100, max_depth=10, n_jobs=2, random_state=0),
        "forest-16": lambda: ensemble.RandomForestRegressor(50, max_depth=16, n_jobs=2, random_state=0),
        "forest-full": lambda: ensemble.RandomForestRegressor(30, n_jobs=2, random_state=0),
    }
    return models[name]().fit(some, their), "predict", NUMBERS


NAMES = (
    "xgboost", "lightgbm", "histogram", "boosting", "forest", "forest-16", "forest-full", "classes", "onehot", "h2o",
)  # fmt: skip


def saved(folder, name):
    """The model's directory and what is timed of it."""
    from sparkml_lifecycle import package
    from sparkml_lifecycle.package import Description

    if name == "h2o":
        scoring_data.make_model(folder, "h2o")
        return folder / "ours-h2o", "predict", NUMBERS
    frame = scoring_data.real_rows(folder)
    model, method, columns = trained(name, frame)
    place = Path(tempfile.mkdtemp(dir=folder)) / name
    package.save(model, place, Description(input_example=frame[columns].head(5)))
    return place, method, columns


def table_of(folder, columns, rows):
    """Flights as Arrow columns, repeated up to so many rows."""
    import numpy as np
    import pyarrow as pa

    real = pa.Table.from_pandas(scoring_data.real_rows(folder)[columns], preserve_index=False)
    return real.replace_schema_metadata(None).take(pa.array(np.arange(rows) % real.num_rows)).combine_chunks()


def theirs_of(model, table, method, name):
    """The framework's own predict on what it takes fastest."""
    import numpy as np

    if name == "h2o":
        return lambda: model.score(table)["predict"]
    if name == "onehot":
        frame = table.to_pandas()
        return lambda: getattr(model, method)(frame)
    matrix = np.column_stack([table.column(i).to_numpy() for i in range(table.num_columns)])
    if name == "xgboost":
        booster = model.get_booster()
        return lambda: booster.inplace_predict(matrix, validate_features=False)
    return lambda: getattr(model, method)(matrix)


def measured(folder, name, rows, repeats):
    """The line of one model."""
    import numpy as np

    from sparkml_lifecycle import package

    place, method, columns = saved(folder, name)
    table = table_of(folder, columns, rows)
    fast, native = (package.read(place, evaluator=one, warn=False) for one in ("fast", "native"))
    for model in (fast, native):
        model.limit_threads(1)
    scorer = fast.evaluator.scorer
    slow = theirs_of(native.unwrap(), table.slice(0, min(rows, 100_000)), method, name)
    ways = {"ours": (lambda: scorer.answer(table, method), rows), "theirs": (slow, min(rows, 100_000))}
    if name == "lightgbm":
        ways["lleaves"] = _lleaves(folder, native.unwrap(), table), rows
    spent = {way: [] for way in ways}
    for repeat in range(repeats + 1):
        for way, (call, count) in ways.items():
            began = time.perf_counter()
            found = call()
            if repeat:
                spent[way].append(count / (time.perf_counter() - began) / 1e6)
            elif way == "ours":
                answers = found
    expected = np.asarray(slow())
    found = np.asarray(answers if name != "h2o" else answers["predict"])[: len(expected)]
    equal = np.array_equal(found, expected)
    difference = 0.0 if equal else float(np.max(np.abs(found.astype(float) - expected)))
    ratio = statistics.median(a / b for a, b in zip(spent["ours"], spent["theirs"], strict=True))
    cold = _cold(folder, place, table)
    size = sum(
        path.stat().st_size
        for path in place.rglob("*")
        if path.is_file() and path.suffix in (".ubj", ".skops", ".lgb", ".zip")
    )
    memory = getattr(scorer, "nbytes", 0)
    beside = f"<br>lleaves {_shown(spent['lleaves'])}" if "lleaves" in spent else ""
    return (
        f"| {name} | {_shown(spent['theirs'])}{beside} | {_shown(spent['ours'])} | {ratio:.1f} | {difference:.1g} "
        f"| {_shown(cold)} | {memory / 2**20:.1f} ({size / 2**20:.1f}) |"
    )


def _lleaves(folder, model, table):
    """lleaves, compiled and on one thread, in an environment of its own."""
    import numpy as np

    text, rows = folder / "lightgbm.txt", folder / "lightgbm.npy"
    model.booster_.save_model(text)
    np.save(rows, np.column_stack([table.column(i).to_numpy() for i in range(table.num_columns)]))
    python = scoring_ways.environment_with(("lightgbm", "numpy", "pandas"), ("lleaves", "llvmlite<0.45"))
    running = subprocess.Popen(
        [python, "-c", _LLEAVES, str(text), str(rows)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )

    def call():
        print(file=running.stdin, flush=True)
        if not running.stdout.readline():
            raise RuntimeError("lleaves ended")

    return call


def _shown(figures):
    return f"{statistics.median(figures):.2f} ({min(figures):.2f} to {max(figures):.2f})"


def _cold(folder, place, table):
    """By how many seconds a fresh process of ours comes later than the framework's to have loaded and scored a thousand rows."""
    import pyarrow.parquet as pq

    rows = folder / "cold.parquet"
    pq.write_table(table.slice(0, 1000), rows)

    def seconds(evaluator):
        command = [sys.executable, "-c", _COLD, str(place), str(rows), evaluator]
        return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    return [seconds("fast") - seconds("native") for _ in range(7)]


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(NAMES), help=", ".join(NAMES))
    parser.add_argument("--rows", type=int, default=400_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="where data stay for the next time")
    parser.add_argument("--cpu", help="compile for this CPU of LLVM's instead of the machine's")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    if asked.cpu:
        os.environ.update(NUMBA_CPU_NAME=asked.cpu, NUMBA_CPU_FEATURES="")
    folder = (asked.folder or Path(tempfile.mkdtemp(prefix="bench-evaluators-"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    print(
        "| model | framework, M rows/s | ours | times | largest difference | cold, s more than the framework | memory, MB (its file) |"
    )
    print("|---|---|---|---|---|---|---|", flush=True)
    for name in asked.names:
        print(measured(folder, name, asked.rows, asked.repeats), flush=True)


if __name__ == "__main__":
    main()
