"""The model registry beside MLflow 3.17 with SQLite, in one run: ``make bench-registry``.

Each figure is measured in a fresh process with its imports done; medians with the smallest and largest. Both have 1,000 models
with 10,000 versions (``BENCH_MODELS`` makes it shorter), filled by their own calls. A model of 300 trees of XGBoost is registered.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MODELS = int(os.environ.get("BENCH_MODELS", "1000"))
EACH = 10
TIMES = 60
ROOT = Path(__file__).parents[2]
NAME = "model 0000"


def client_of(which, place):
    """A client of a store; all that its calls import is imported."""
    if which == "ours":
        import pandas  # noqa: F401
        import pyarrow.compute
        import pyarrow.parquet  # noqa: F401
        from deltalake import QueryBuilder  # noqa: F401

        from sparkml_lifecycle.client import LifecycleClient

        return LifecycleClient(f"{place}/lake")
    import logging
    import warnings

    warnings.simplefilter("ignore")
    logging.disable(logging.INFO)
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{place}/mlflow.db")


def milliseconds(work, times):
    """Of each repetition."""
    found = []
    for number in range(times):
        began = time.perf_counter()
        work(number)
        found.append((time.perf_counter() - began) * 1000)
    return found


def fill(which, place):
    """1,000 models with ten versions each, tags, stages and an alias."""
    client = client_of(which, place)
    began = time.perf_counter()
    for number in range(MODELS):
        name = f"model {number:04}"
        client.create_registered_model(name, {"team": f"t{number % 7}"})
        for version in range(1, EACH + 1):
            client.create_model_version(name, f"{place}/model", tags={"n": str(version)})
        client.transition_model_version_stage(name, "1", "Production")
        client.set_registered_model_alias(name, "champion", "1")
    return [time.perf_counter() - began]


def register(which, place):
    """Milliseconds to register a directory that nobody has registered before."""
    client = client_of(which, place)
    client.create_model_version(NAME, f"{place}/model")
    return milliseconds(lambda n: client.create_model_version(NAME, f"{place}/{which}-{n}"), TIMES)


def register_of_run(which, place):
    """Milliseconds to register what a run has logged."""
    client = client_of(which, place)
    experiment = client.create_experiment("bench", artifact_location=f"{place}/artifacts-{which}")
    runs = [client.create_run(experiment).info.run_id for _ in range(TIMES + 1)]
    for run_id in runs:
        client.log_artifacts(run_id, f"{place}/model", "model")
        client.set_terminated(run_id)
    client.create_model_version(NAME, f"runs:/{runs[-1]}/model", runs[-1])
    return milliseconds(lambda n: client.create_model_version(NAME, f"runs:/{runs[n]}/model", runs[n]), TIMES)


def stage(which, place):
    """Milliseconds to move a stage, archiving what is there."""
    client = client_of(which, place)
    client.transition_model_version_stage(NAME, "3", "Production", archive_existing_versions=True)
    return milliseconds(
        lambda n: client.transition_model_version_stage(
            NAME, str(1 + n % 2), "Production", archive_existing_versions=True
        ),
        TIMES,
    )


def alias(which, place):
    """Milliseconds to move an alias."""
    client = client_of(which, place)
    client.set_registered_model_alias(NAME, "champion", "3")
    return milliseconds(lambda n: client.set_registered_model_alias(NAME, "champion", str(1 + n % 2)), TIMES)


def first_resolve(which, place):
    """Milliseconds until a new client knows which version an alias names."""
    client = client_of(which, place)
    return milliseconds(lambda _: client.get_model_version_by_alias(NAME, "champion"), 1)


def resolve(which, place):
    """Milliseconds to ask again."""
    client = client_of(which, place)
    client.get_model_version_by_alias(NAME, "champion")
    return milliseconds(lambda _: client.get_model_version_by_alias(NAME, "champion"), 50)


def resolve_while_written(which, place):
    """Milliseconds to ask again when somebody has registered a version since."""
    client, other = client_of(which, place), writer_of(which, place)
    client.get_model_version_by_alias(NAME, "champion")
    found = []
    for _ in range(20):
        other.create_model_version("model 0001", f"{place}/model")
        found += milliseconds(lambda _: client.get_model_version_by_alias(NAME, "champion"), 1)
    return found


def writer_of(which, place):
    """Another client, which shares nothing with the first."""
    if which != "ours":
        return client_of(which, place)
    from sparkml_lifecycle.client import LifecycleClient
    from sparkml_lifecycle.lake import Lake
    from sparkml_lifecycle.tracking.store import TrackingStore

    other = LifecycleClient(f"{place}/lake")
    other._store = TrackingStore(Lake(f"{place}/lake"))
    return other


def first_search(which, place):
    """Milliseconds until a new client has the first page of versions by a filter."""
    client = client_of(which, place)
    return milliseconds(lambda _: client.search_model_versions("tags.n = '3'", 100, ["name"]), 1)


def search(which, place):
    """Milliseconds for the first page again."""
    client = client_of(which, place)
    client.search_model_versions("name LIKE 'model%'", 100)
    return milliseconds(lambda _: client.search_model_versions("tags.n = '3'", 100, ["name"]), 10)


def first_models(which, place):
    """Milliseconds until a new client has the first page of models."""
    client = client_of(which, place)
    return milliseconds(lambda _: client.search_registered_models("tags.team = 't3'", 100), 1)


FRESH = 5
MEASURED = {
    register: ("register a version, out of a new directory", 1),
    register_of_run: ("register a version, out of a run", 1),
    stage: ("move a stage, archiving", 1),
    alias: ("move an alias", 1),
    first_resolve: ("`models:/name@alias`, a new client", FRESH),
    resolve: ("the same again", 1),
    resolve_while_written: ("again after somebody registered", 1),
    first_search: ("versions by a tag, first page of 100, a new client", FRESH),
    search: ("the same again", 1),
    first_models: ("models by a tag, first page of 100, a new client", FRESH),
}


def in_a_process(name, which, place):
    """What one of the functions finds in a process of its own."""
    command = [sys.executable, "-m", "tests.bench.registry", name, which, place]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{name} of {which} failed: {done.stderr[-3000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def shown(found):
    """Median with smallest and largest."""
    average = f", mean {statistics.mean(found):.1f}" if len(found) > FRESH else ""
    return f"{statistics.median(found):.1f} ({min(found):.1f} to {max(found):.1f}{average})"


def main():
    """Print the table."""
    place = tempfile.mkdtemp(prefix="bench-registry-")
    try:
        in_a_process("save", "ours", place)
        filled = {which: in_a_process("fill", which, place)[0] for which in ("ours", "mlflow")}
        print(
            f"filled with {MODELS:,} models, {MODELS * EACH:,} versions: {filled['ours']:.0f} s, MLflow {filled['mlflow']:.0f} s\n"
        )
        print("| ms | ours | MLflow, SQLite | ours is so many times as fast |\n|---|---|---|---|")
        for what, (said, processes) in MEASURED.items():
            found = {"ours": [], "mlflow": []}
            for _ in range(processes):
                for which, values in found.items():
                    values += in_a_process(what.__name__, which, place)
            ratio = statistics.median(found["mlflow"]) / statistics.median(found["ours"])
            print(f"| {said} | {shown(found['ours'])} | {shown(found['mlflow'])} | {ratio:.1f} |", flush=True)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def save(_, place):
    """A model that both register, and copies of it for each."""
    from tests.evaluators.models import save_booster, three_columns

    save_booster(three_columns(500), f"{place}/model", 300)
    for which in ("ours", "mlflow"):
        for number in range(TIMES):
            shutil.copytree(f"{place}/model", f"{place}/{which}-{number}")
    return [0.0]


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(globals()[sys.argv[1]](sys.argv[2], sys.argv[3])))
    else:
        main()
