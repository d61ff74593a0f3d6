"""Tracking beside MLflow 3.17 with SQLite, in the same run: ``make bench-tracking``.

Each figure is measured in a fresh process; where it is repeated, the median with the smallest and largest is shown. The
lake and the database lie in one temporary directory. ``BENCH_RUNS``, ``BENCH_SECONDS`` and ``BENCH_COMMITS`` make it
shorter (100000, 30 and 10000).
"""

import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNS = int(os.environ.get("BENCH_RUNS", "100000"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "30"))
COMMITS = int(os.environ.get("BENCH_COMMITS", "10000"))
ROOT = Path(__file__).parents[2]


def api(which, place):
    """The module under test and a client, both on an empty store."""
    if which == "ours":
        import sparkml_lifecycle as module

        module.set_tracking_uri(f"{place}/lake")
        return module, module.LifecycleClient()
    import logging
    import warnings

    warnings.simplefilter("ignore")
    logging.disable(logging.INFO)
    import mlflow as module

    module.set_tracking_uri(f"sqlite:///{place}/mlflow.db")
    return module, module.MlflowClient()


def timed(work, times=1):
    """Seconds of each repetition."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return found


def log_metric(which, place):
    """Milliseconds a call, the commits included."""
    module, _ = api(which, place)
    count = 20_000 if which == "ours" else 500
    with module.start_run():
        module.log_metric("warm", 0.0)

    def work():
        with module.start_run():
            for step in range(count):
                module.log_metric("loss", 1.0 / (step + 1), step=step)

    return [seconds * 1000 / count for seconds in timed(work, 5)]


def batch(which, place):
    """Seconds for 20,000 points in batches of 1,000."""
    module, client = api(which, place)
    from importlib import import_module

    Metric = import_module(f"{module.__name__}.entities").Metric
    run_id = client.create_run(module.create_experiment("batch")).info.run_id

    times = itertools.count()

    def work():
        # a point that is there already takes MLflow ten times as long
        at = next(times)
        for start in range(0, 20_000, 1000):
            client.log_batch(run_id, metrics=[Metric("m", float(i), at, i) for i in range(start, start + 1000)])
        if which == "ours":
            client.flush()

    return timed(work, 5)


def short_run(which, place):
    """Milliseconds for a run with 10 params, 10 metrics and 3 tags."""
    module, _ = api(which, place)

    def work():
        with module.start_run():
            module.log_params({f"p{i}": i for i in range(10)})
            module.log_metrics({f"m{i}": float(i) for i in range(10)})
            module.set_tags({f"t{i}": i for i in range(3)})

    work()
    return [seconds * 1000 for seconds in timed(work, 30)]


def fill(which, place):
    """1,000 runs with 10 params, 10 metrics and 3 tags."""
    module, client = api(which, place)
    from importlib import import_module

    entities = import_module(f"{module.__name__}.entities")
    experiment = module.create_experiment("thousand")
    for number in range(1000):
        run_id = client.create_run(experiment).info.run_id
        client.log_batch(
            run_id,
            metrics=[entities.Metric(f"m{i}", number / (i + 1), 1, 0) for i in range(10)],
            params=[entities.Param(f"p{i}", str(i)) for i in range(10)],
            tags=[entities.RunTag(f"t{i}", str(i)) for i in range(3)],
        )
        if which != "ours":
            client.set_terminated(run_id)
    if which == "ours":
        client.flush()
        for run in client.search_runs([experiment]):
            client.set_terminated(run.info.run_id)
    return [0.0]


def search(which, place):
    """Seconds to search 1,000 runs to pandas: a new client after the imports, then again."""
    module, client = api(which, place)
    import pandas
    import pyarrow.compute  # noqa: F401

    assert pandas
    if which == "ours":
        import deltalake  # noqa: F401
    else:
        client.search_experiments()
        client = module.MlflowClient()

    def work():
        found = module.search_runs(experiment_names=["thousand"], output_format="pandas")
        assert len(found) == 1000, len(found)

    return timed(work, 6)


def big(which, place):
    """Seconds of the search over 100,000 runs: a new client after the imports, then again."""
    module, _ = api(which, f"{place}/big")
    import pandas
    import pyarrow.compute  # noqa: F401

    assert pandas
    if which == "ours":
        import deltalake  # noqa: F401
    text = "metrics.metric_3 > 0.5 and params.param_2 = '7' and attributes.status = 'FINISHED'"

    def work():
        client = module.MlflowClient()
        found = client.search_runs(["1"], text, max_results=100, order_by=["metrics.metric_3 desc"])
        assert len(found) == 100 or RUNS < 20_000
        assert len(found[0].data.metrics) == len(found[0].data.params) == 10

    return timed(work, 6)


def first(which, place):
    """Seconds for the import and the first log_metric, in a fresh process."""
    began = time.perf_counter()
    module, _ = api(which, place)
    module.log_metric("m", 1.0)
    return [time.perf_counter() - began]


def growth(which, place):
    """Milliseconds to open and log, and to search, after 50 commits and after BENCH_COMMITS.

    The log is shortened where a checkpoint is a minute old, and 10,000 commits take less: so it waits for one, as any user would.
    """
    from sparkml_lifecycle.lake import Lake
    from sparkml_lifecycle.tracking.finding import Query
    from sparkml_lifecycle.tracking.store import TrackingStore

    uri = f"{place}/grown"
    store = TrackingStore(Lake(uri))
    run_id = store.create_run(store.experiments.create("e")).info.run_id
    figures = []
    done = 0
    for until in (50, COMMITS):
        while done < until:
            store.log_metric(run_id, "m", float(done), step=done)
            store.flush()
            done += 1
            if done == COMMITS - 100:
                time.sleep(61)

        def log():
            other = TrackingStore(Lake(uri))
            other.log_metric(run_id, "x", 1.0)
            other.flush()

        def find():
            assert TrackingStore(Lake(uri)).search_runs(Query(["1"], "metrics.m >= 0"))

        def again():
            store.log_metric(run_id, "y", 1.0)
            store.flush()

        for work in (log, find, again):
            figures.append(statistics.median(timed(work, 15)) * 1000)
    return figures


def crowd(which, place):
    """Points and commits a second of 8 processes: 8 runs, then one run."""
    from tests.tracking import faults

    return [
        *faults.crowd(f"{place}/eight", SECONDS, compactors=0, writers=8),
        *faults.crowd(f"{place}/one", SECONDS, compactors=0, writers=8, runs=1),
    ]


def in_a_process(what, which, place):
    """The figures of one measure."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PYTHONDONTWRITEBYTECODE": "",
    }
    command = [sys.executable, "-m", "tests.bench.tracking", what, which, str(place)]
    done = subprocess.run(command, cwd=place, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{what} {which}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def shown(figures, digits):
    """The median with the smallest and largest."""
    return f"{statistics.median(figures):.{digits}f} ({min(figures):.{digits}f} to {max(figures):.{digits}f})"


def main():
    """Print the table."""
    place = Path(tempfile.mkdtemp(prefix="bench-tracking-"))
    width = 58

    def line(name, ours, theirs="", reach=""):
        print(f"{name:<{width}}{ours:>30}{theirs:>30}  {reach}", flush=True)

    try:
        line("", "sparkml_lifecycle", "MLflow, SQLite", "to reach")
        for what, name, digits, reach in (
            (log_metric, "log_metric in a run, ms", 4, "0.05, and 50 times faster"),
            (batch, "20,000 points by log_batch, s", 3, "0.3"),
            (short_run, "a run: 10 params, 10 metrics, 3 tags, ms", 1, "under MLflow's"),
        ):
            ours, theirs = (in_a_process(what.__name__, which, place) for which in ("ours", "mlflow"))
            line(name, shown(ours, digits), shown(theirs, digits), reach)
        for which in ("ours", "mlflow"):
            in_a_process("fill", which, place)
        ours, theirs = ([in_a_process("search", which, place) for _ in range(3)] for which in ("ours", "mlflow"))
        for name, pick, reach in (
            ("search 1,000 runs to pandas, new client, s", lambda runs: [run[0] for run in runs], "0.25"),
            ("the same again, s", lambda runs: [one for run in runs for one in run[1:]], "0.1"),
        ):
            line(name, shown(pick(ours), 3), shown(pick(theirs), 3), reach)
        firsts = [[in_a_process("first", which, place)[0] for _ in range(5)] for which in ("ours", "mlflow")]
        line("import and first log_metric, s", shown(firsts[0], 2), shown(firsts[1], 2), "0.6")
        from tests.bench import big_lake

        big_lake.write(f"{place}/big/lake", RUNS)
        big_lake.fold(f"{place}/big/lake")
        big_lake.write_mlflow(f"{place}/big/mlflow.db", RUNS)
        ours, theirs = ([in_a_process("big", which, place) for _ in range(3)] for which in ("ours", "mlflow"))
        for name, pick, reach in (
            (f"search {RUNS:,} runs, 100 whole, new client, s", lambda runs: [run[0] for run in runs], "1"),
            ("the same again, s", lambda runs: [one for run in runs for one in run[1:]], "0.5"),
        ):
            line(name, shown(pick(ours), 3), shown(pick(theirs), 3), reach)
        found = in_a_process("growth", "ours", place)
        for name, few, many in zip(
            ("open, log and flush", "open and search", "log and flush, held open"), found[:3], found[3:], strict=True
        ):
            line(
                f"{name} after 50 and {COMMITS:,} commits, ms",
                f"{few:.1f}, {many:.1f}: {many / few:.2f} times",
                "",
                "1.5 times",
            )
        found = in_a_process("crowd", "ours", place)
        for name, points, commits in (("8 runs", *found[:2]), ("one run", *found[2:])):
            line(
                f"8 processes to {name}, {SECONDS:.0f} s, nothing lost",
                f"{points:,.0f} points/s, {commits:.0f} commits/s",
            )
    finally:
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        print(json.dumps(globals()[sys.argv[1]](*sys.argv[2:])))
