"""A lake that is moved or copied is the same lake where it lies now, its models included."""

import shutil
import subprocess

import pandas as pd
import pytest

import sparkml_lifecycle as ml
from sparkml_lifecycle import maintenance
from sparkml_lifecycle.client import LifecycleClient


@pytest.fixture
def model_lake(tmp_path):
    """A lake with a model in a run, and what it predicts."""
    from sklearn.linear_model import LinearRegression

    frame = pd.DataFrame({"x": [0.0, 1.0, 2.0], "y": [1.0, 0.0, 5.0]})
    model = LinearRegression().fit(frame, [1.0, 2.0, 3.0])
    place = tmp_path / "a lake"
    ml.set_tracking_uri(place)
    with ml.start_run() as run:
        ml.log_metric("auc", 0.9)
        ml.log_text("a note", "notes/n.txt")
        ml.log_model(model, "model", input_example=frame)
    maintenance.maintain(LifecycleClient(place).lake)
    LifecycleClient(place).close()
    return place, run.info.run_id, frame, model.predict(frame).tolist()


def check(place, run_id, frame, answers):
    client = LifecycleClient(place)
    ml.set_tracking_uri(place)
    run = client.get_run(run_id)
    assert run.info.artifact_uri == f"{place}/artifacts/{run.info.experiment_id}/{run_id}/artifacts"
    assert client.get_experiment(run.info.experiment_id).artifact_location.startswith(f"{place}/")
    assert ml.artifacts.load_text(f"runs:/{run_id}/notes/n.txt") == "a note"
    for uri in (f"runs:/{run_id}/model", f"{run.info.artifact_uri}/model"):
        assert ml.pyfunc.load_model(uri).predict(frame).tolist() == answers
        assert ml.sklearn.load_model(uri).predict(frame).tolist() == answers
    quoted = run.info.artifact_uri.replace("'", "''")
    assert [one.info.run_id for one in client.search_runs(["0"], f"artifact_uri = '{quoted}'")] == [run_id]
    client.log_metric(run_id, "auc", 0.95, step=1)
    assert client.get_run(run_id).data.metrics == {"auc": 0.95}


@pytest.mark.parametrize("command", [["mv"], ["cp", "-r"]])
def test_every_model_loads_where_the_lake_lies_now(model_lake, tmp_path, command):
    place, run_id, frame, answers = model_lake
    there = tmp_path / "elsewhere" / "it's the lake"
    there.parent.mkdir()
    subprocess.run([*command, str(place), str(there)], check=True)
    shutil.rmtree(place, ignore_errors=True)
    check(there, run_id, frame, answers)
    assert not place.exists()
