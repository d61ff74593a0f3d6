"""A lake of 100,000 runs, 1 M latest metrics and 20 M points, written through the lake's own tables in some 100 commits.

``python -m tests.bench.big_lake DIRECTORY [RUNS]``
"""

import contextlib
import sqlite3
import sys
import time

import numpy as np
import pyarrow as pa

from sparkml_lifecycle.lake import Lake
from sparkml_lifecycle.lake.order import now, uuid7
from sparkml_lifecycle.lake.table import Batch
from sparkml_lifecycle.tracking.store import TrackingStore
from sparkml_lifecycle.tracking.tables import MetricRow, ParamRow, RunRow, TagRow

KEYS, POINTS, PARAMS, TAGS = 10, 20, 10, 3
CHUNK = 1000


def write(uri: str, runs: int = 100_000) -> str:
    """Write the lake; returns the id of its one experiment."""
    lake = Lake(uri)
    experiment_id = TrackingStore(lake).experiments.create("big")
    random = np.random.default_rng(1)
    for start in range(0, runs, CHUNK):
        ids = [uuid7() for _ in range(CHUNK)]
        for row_type, table in (
            (MetricRow, _metrics(ids, random)),
            (ParamRow, _pairs(ids, "run_id", "param", PARAMS, random)),
            (TagRow, _pairs(ids, "owner", "tag", TAGS, random)),
            (RunRow, _runs(ids, start, experiment_id, ended=False)),
            (RunRow, _runs(ids, start, experiment_id, ended=True)),
        ):
            lake.table(row_type).commit(Batch(table))
    return experiment_id


def fold(uri: str) -> None:
    """What ``sparkml maintain`` does first."""
    lake = Lake(uri)
    for row_type in (MetricRow, ParamRow, TagRow, RunRow):
        lake.table(row_type).compact()
        fold = lake.table(row_type).fold
        if fold is not None:
            fold.compact()


def write_mlflow(database: str, runs: int = 100_000) -> None:
    """The same runs in a SQLite database that MLflow has made, by SQL: its own calls would take an hour.

    The 20 M points of the history are left out, which no search of MLflow reads.
    """
    import mlflow

    mlflow.set_tracking_uri(f"sqlite:///{database}")
    experiment_id = mlflow.MlflowClient().create_experiment("big")
    random = np.random.default_rng(1)
    with contextlib.closing(sqlite3.connect(database)) as connection:
        for start in range(0, runs, CHUNK):
            ids = [uuid7() for _ in range(CHUNK)]
            places = [(one, f"{database}.artifacts/{one}/artifacts") for one in ids]
            connection.executemany(
                "insert into runs (run_uuid, name, source_type, source_name, entry_point_name, user_id, status, start_time, "
                "end_time, source_version, lifecycle_stage, artifact_uri, experiment_id) "
                "values (?, ?, 'LOCAL', '', '', 'somebody', ?, ?, ?, '', 'active', ?, ?)",
                [
                    (
                        one,
                        f"run-{start + i}",
                        _status(start + i),
                        1_700_000_000_000 + i,
                        1_700_000_001_000,
                        place,
                        experiment_id,
                    )
                    for i, (one, place) in enumerate(places)
                ],
            )
            connection.executemany(
                "insert into latest_metrics (run_uuid, key, value, timestamp, step, is_nan) values (?, ?, ?, ?, ?, 0)",
                [
                    (one, f"metric_{k}", random.random(), 1_700_000_000_000, POINTS - 1)
                    for one in ids for k in range(KEYS)
                ],
            )  # fmt: skip
            for table, name, count in (("params", "param", PARAMS), ("tags", "tag", TAGS)):
                connection.executemany(
                    f"insert into {table} (run_uuid, key, value) values (?, ?, ?)",
                    [(one, f"{name}_{k}", str(random.integers(0, 20))) for one in ids for k in range(count)],
                )
            connection.commit()


def _metrics(ids, random):
    count = len(ids) * KEYS * POINTS
    steps = np.tile(np.arange(POINTS), len(ids) * KEYS)
    return pa.table(
        {
            "run_id": np.repeat(ids, KEYS * POINTS),
            "key": np.tile(np.repeat([f"metric_{k}" for k in range(KEYS)], POINTS), len(ids)),
            "value": random.random(count),
            "timestamp": 1_700_000_000_000 + steps * 1000,
            "step": steps,
        }
    )


def _pairs(ids, owner, name, count, random):
    return pa.table(
        {
            owner: np.repeat(ids, count),
            "key": np.tile([f"{name}_{k}" for k in range(count)], len(ids)),
            "value": random.integers(0, 20, len(ids) * count).astype(str),
        }
    )


def _status(number):
    # one in ten has failed
    return "FAILED" if number % 10 == 0 else "FINISHED"


def _runs(ids, start, experiment_id, ended):
    over = [_status(start + i) for i in range(len(ids))]
    moment = now()
    return pa.table(
        {
            "run_id": ids,
            "experiment_id": [experiment_id] * len(ids),
            "name": [f"run-{start + i}" for i in range(len(ids))],
            "user_id": ["somebody"] * len(ids),
            "status": over if ended else ["RUNNING"] * len(ids),
            "start_time": pa.array([moment] * len(ids), pa.timestamp("us", "UTC")),
            "end_time": pa.array([moment if ended else None] * len(ids), pa.timestamp("us", "UTC")),
            "lifecycle_stage": ["active"] * len(ids),
            "location": [f"artifacts/{experiment_id}/{one}/artifacts" for one in ids],
        }
    )


if __name__ == "__main__":
    began = time.perf_counter()
    write(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 100_000)
    print(f"written in {time.perf_counter() - began:.0f} s")
    began = time.perf_counter()
    fold(sys.argv[1])
    print(f"folded and compacted in {time.perf_counter() - began:.0f} s")
