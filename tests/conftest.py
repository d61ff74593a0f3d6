"""What all tests share: one Spark session, and a process that looks the same whoever runs the tests."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sparkml_lifecycle import current

# set before anything starts a JVM or forks a worker
os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
os.environ["DO_NOT_TRACK"] = "true"
for _name in [
    name for name in os.environ if name.startswith(("SPARKML_", "MLFLOW_TRACKING", "MLFLOW_EXPERIMENT", "MLFLOW_RUN"))
]:
    del os.environ[_name]


@pytest.fixture(autouse=True)
def _no_ambient_state() -> Iterator[None]:
    """No test sees the lake, the experiment or the runs of the one before."""
    yield
    while current.own_runs():
        current.pop_run(current.own_runs()[-1])
    current.set_experiment_id(None)
    current.set_tracking_uri(None)
    # a test that sets them itself puts back what was exported in between
    for name in ("SPARKML_TRACKING_URI", "SPARKML_EXPERIMENT_ID"):
        os.environ.pop(name, None)


@pytest.fixture
def lake(tmp_path: Path) -> str:
    """The URI of an empty lake, made the current one."""
    uri = str(tmp_path / "lake")
    current.set_tracking_uri(uri)
    return uri


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The one Spark session of the test run."""
    from sparkml_lifecycle.testing import spark_session

    with spark_session(tmp_path_factory.mktemp("spark")) as session:
        yield session
