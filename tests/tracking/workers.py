"""What other processes do to a lake in the tests."""

import contextlib
import sys

from sparkml_lifecycle.errors import AlreadyExists
from sparkml_lifecycle.lake import Lake
from sparkml_lifecycle.tracking.store import TrackingStore


def make_experiments(uri: str, name: str, count: int) -> None:
    experiments = TrackingStore(Lake(uri)).experiments
    for number in range(count):
        with contextlib.suppress(AlreadyExists):
            experiments.create(f"shared-{number}")
        experiments.create(f"{name}-{number}")


def log_and_leave(uri: str, experiment_id: str) -> None:
    store = TrackingStore(Lake(uri))
    run = store.create_run(experiment_id)
    for step in range(2500):
        store.log_metric(run.info.run_id, "loss", step, step=step)
    print(run.info.run_id, flush=True)


if __name__ == "__main__":
    what, uri, *rest = sys.argv[1:]
    globals()[what](uri, *(int(one) if what == "make_experiments" and one.isdigit() else one for one in rest))
