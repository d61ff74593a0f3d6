"""Makes a golden lake, and beside it what it must answer for ever: ``python tests/golden/make.py DIRECTORY [registry]``.

What is expected is what was logged, never what was read back. The script keeps to calls that every release has had, so
that it makes the lake of an older one too (``lake_1_first``: with PYTHONPATH at that release). A lake that is committed is
never made again: a new format gets a new directory, and the old one stays.
"""

import json
import math
import os
import shutil
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

START = 1_700_000_000_000
VALUES = {
    "auc": [0.5, 0.75, 0.9],
    "loss": [2.5, math.nan, 0.25, 0.5],
    "diverged": [1.0, math.nan],
    "huge": [math.inf, -math.inf, 1.7976931348623157e308],
    "tiny/one": [5e-324, -0.0],
    "with space": [1 / 3],
}
PARAMS = {"depth": "6", "text": 'it\'s "100%" – naïve\nsecond line', "empty": "", "none": "None"}
TAGS = {"team": "risk", "note": "日本 🙂", "nested/key": "v"}
ROWS = [[0.0, 1.0], [1.5, -2.0], [3.0, 0.25], [-1.0, 4.0]]


def plain(value: float) -> float | str:
    """A float as JSON can hold it."""
    return value if math.isfinite(value) else str(value)


def train():
    """Two small models, the rows that they are asked, and what they answer by themselves."""
    import numpy as np
    import pandas as pd
    from sklearn.linear_model import LinearRegression
    from xgboost import XGBRegressor

    frame = pd.DataFrame(ROWS, columns=["x", "y"])
    target = np.array([1.0, 2.0, 3.0, 5.0])
    linear = LinearRegression().fit(frame, target)
    trees = XGBRegressor(n_estimators=3, max_depth=2, n_jobs=1).fit(frame, target)
    return {"linear": linear, "trees": trees}, frame


def tidy(lake: Path) -> None:
    """Keep it small, and take out the place where it was made, which Delta notes in a table's first commit."""
    from deltalake import DeltaTable

    for name in ("metrics", "tags", "registry"):
        if not (lake / name).exists():
            continue
        table = DeltaTable(str(lake / name))
        table.vacuum(0, dry_run=False, enforce_retention_duration=False)
    for first in lake.glob("*/_delta_log/00000000000000000000.json"):
        first.write_text(first.read_text().replace(f"file://{lake.absolute()}", "file:///golden/lake"))


def make(directory: Path) -> None:
    """Fill an empty directory."""
    import sparkml_lifecycle as ml
    from sparkml_lifecycle.tracking.tables import MetricRow, TagRow

    models, frame = train()
    client = ml.LifecycleClient(directory / "lake")
    ml.set_tracking_uri(directory / "lake")
    churn = client.create_experiment("churn", tags={"team": "crm"})
    fraud = client.create_experiment("first name")
    gone = client.create_experiment("gone")
    client.rename_experiment(fraud, "fraud")
    client.delete_experiment(gone)

    first = client.create_run(churn, START, {"team": "crm", "dropped": "x"}, "first").info.run_id
    for key, values in VALUES.items():
        for step, value in enumerate(values):
            client.log_metric(first, key, value, timestamp=START + step, step=step)
    client.flush()
    time.sleep(0.01)
    then = datetime.now(UTC)
    time.sleep(0.01)
    client.log_metric(first, "auc", 0.95, timestamp=START + 9, step=9)
    for key, value in PARAMS.items():
        client.log_param(first, key, value)
    for key, value in TAGS.items():
        client.set_tag(first, key, value)
    client.delete_tag(first, "dropped")
    client.log_text(first, "a note – é", "notes/n.txt")
    client.log_dict(first, {"a": [1, None]}, "d.json")
    for name, model in models.items():
        ml.log_model(model, name, run_id=first, input_example=frame)
    inputs = []
    if hasattr(ml, "log_input"):
        dataset = ml.entities.Dataset(
            "train", "abc123", "delta", json.dumps({"path": "s3://b/t", "delta_table_version": 7})
        )
        ml.log_input(dataset, context="training", tags={"fold": "1"}, run_id=first)
        inputs = [["train", "abc123", {"mlflow.data.context": "training", "fold": "1"}, 7]]
    client.set_terminated(first, end_time=START + 60_000)
    # a compacted file (and its fold, where there is one), and small ones after it
    for row_type in (MetricRow, TagRow):
        client.store.lake.table(row_type).compact()
    second = client.create_run(churn, START + 1000, {"mlflow.parentRunId": first}, "to be renamed").info.run_id
    client.log_metric(second, "auc", 0.7, timestamp=START, step=0)
    client.set_terminated(second, "FAILED", end_time=START + 61_000)
    client.update_run(second, name="second")
    third = client.create_run(fraud, START + 2000, None, "third").info.run_id
    client.delete_run(third)
    client.close()
    tidy(directory / "lake")

    auc = [*VALUES["auc"], 0.95]
    history = {
        key: [[plain(value), START + (step if step < 3 or key != "auc" else 9), step if step < 3 or key != "auc" else 9]
              for step, value in enumerate(auc if key == "auc" else values)]
        for key, values in VALUES.items()
    }  # fmt: skip
    expected = {
        "experiments": {
            churn: ["churn", "active", {"team": "crm"}],
            fraud: ["fraud", "active", {}],
            gone: ["gone", "deleted", {}],
        },
        "runs": {
            first: {
                "name": "first", "experiment": churn, "status": "FINISHED", "stage": "active",
                "times": [START, START + 60_000], "metrics": {key: points[-1][0] for key, points in history.items()},
                "params": PARAMS, "tags": {"mlflow.runName": "first", **TAGS}, "inputs": inputs, "history": history,
            },
            second: {
                "name": "second", "experiment": churn, "status": "FAILED", "stage": "active",
                "times": [START + 1000, START + 61_000], "metrics": {"auc": 0.7}, "params": {},
                "tags": {"mlflow.runName": "second", "mlflow.parentRunId": first}, "inputs": [],
                "history": {"auc": [[0.7, START, 0]]},
            },
            third: {
                "name": "third", "experiment": fraud, "status": "RUNNING", "stage": "deleted",
                "times": [START + 2000, None], "metrics": {}, "params": {},
                "tags": {"mlflow.runName": "third"}, "inputs": [], "history": {},
            },
        },
        "extremes": {"auc": [0.5, 0.95], "loss": [0.25, 2.5], "diverged": [1.0, 1.0], "huge": ["-inf", "inf"]},
        "then": {"at": then.isoformat(), "auc": 0.9, "params": {}, "team": "crm"},
        "artifacts": {"notes/n.txt": "a note – é", "d.json": json.dumps({"a": [1, None]}, indent=2)},
        "predictions": {name: [float(one) for one in model.predict(frame)] for name, model in models.items()},
    }  # fmt: skip
    (directory / "expected.json").write_text(json.dumps(expected, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def make_registry(directory: Path) -> None:
    """Fill an empty directory with a lake of registered models."""
    import sparkml_lifecycle as ml

    models, frame = train()
    client = ml.LifecycleClient(directory / "lake")
    ml.set_tracking_uri(directory / "lake")
    run_id = client.create_run(client.create_experiment("churn"), START, None, "first").info.run_id
    for name, model in models.items():
        ml.log_model(model, name, run_id=run_id, input_example=frame)
    client.log_metric(run_id, "mae", 2.5, timestamp=START)
    client.set_terminated(run_id, end_time=START + 60_000)

    client.create_registered_model("leaver", {"team": "crm"}, "who leaves – é")
    for version, name in enumerate(("linear", "trees", "linear"), start=1):
        client.create_model_version("leaver", f"runs:/{run_id}/{name}", run_id, {"of": name}, description=f"v{version}")
    client.rename_registered_model("leaver", "churn")
    client.transition_model_version_stage("churn", 1, "Production", comment="first one live")
    client.set_registered_model_alias("churn", "champion", 1)
    client.create_model_version_comment("churn", 1, "日本 🙂")
    client.set_model_field("churn", "owner", "CRM")
    time.sleep(0.01)
    then = datetime.now(UTC)
    time.sleep(0.01)
    client.store.lake.table("registry").compact()
    client.set_registered_model_alias("churn", "champion", 2)
    client.transition_model_version_stage("churn", 2, "Production", archive_existing_versions=True, comment="better")
    client.request_transition("churn", 1, "Staging", comment="as a spare")
    client.set_model_version_tag("churn", 2, "note", 'it\'s "100%"')
    client.delete_model_version_tag("churn", 2, "of")
    client.delete_model_version("churn", 3, comment="twice the same")
    client.copy_model_version("models:/churn@champion", "other")
    client.create_registered_model("gone")
    client.delete_registered_model("gone")
    client.close()
    tidy(directory / "lake")

    expected = {
        "run": run_id,
        "then": then.isoformat(),
        "predictions": {name: [float(one) for one in model.predict(frame)] for name, model in models.items()},
        "versions": {
            "1": ["Archived", "linear", "v1", {"of": "linear"}, []],
            "2": ["Production", "trees", "v2", {"note": "it's \"100%\""}, ["champion"]],
        },
        "history": [
            ["model", None, "", None, "leaver", ""], ["description", None, "", None, "who leaves – é", ""],
            ["tag", None, "team", None, "crm", ""],
            *(
                line for number, name in (("1", "linear"), ("2", "trees"), ("3", "linear"))
                for line in (
                    ["version", number, "", None, "READY", ""], ["description", number, "", None, f"v{number}", ""],
                    ["tag", number, "of", None, name, ""],
                )
            ),
            ["model", None, "", "leaver", "churn", ""], ["stage", "1", "", None, "Production", "first one live"],
            ["alias", None, "champion", None, "1", ""], ["comment", "1", "1", None, "日本 🙂", ""],
            ["field", None, "owner", None, "CRM", ""], ["alias", None, "champion", "1", "2", ""],
            ["stage", "1", "", "Production", "Archived", "better"], ["stage", "2", "", None, "Production", "better"],
            ["request", "1", "Staging", None, "pending", "as a spare"], ["tag", "2", "note", None, "it's \"100%\"", ""],
            ["tag", "2", "of", "trees", None, ""], ["version", "3", "", "READY", None, "twice the same"],
        ],
    }  # fmt: skip
    (directory / "registry.json").write_text(json.dumps(expected, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    os.environ |= {"SPARKML_USER": "golden", "SPARKML_FLUSH_SECONDS": "3600"}
    place = Path(sys.argv[1])
    # what is committed says nothing of the machine that it was made on
    sys.argv[0] = "make.py"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    make_registry(place) if sys.argv[2:] == ["registry"] else make(place)
