"""Models out of a real MLflow server: numbers, stages, aliases, runs and files."""

import subprocess
import sys
from pathlib import Path

import pytest

import sparkml_lifecycle as ml
from sparkml_lifecycle import pyfunc, transfer
from sparkml_lifecycle.errors import InvalidInput, NotFound, StorageError
from tests.registry.models import FRAME

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def filled(mlflow_server):
    command = [sys.executable, "-m", "tests.transfer.mlflow_models", mlflow_server]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [line.split() for line in done.stdout.splitlines()]
    return mlflow_server, {words[1]: words[0] for words in lines if len(words) == 2 and len(words[0]) == 32}


def test_everything_of_a_model_comes(filled, client):
    address, run_ids = filled
    found = transfer.import_models(client, address, ["churn"])
    assert found == transfer.Imported(("churn/1", "churn/3", "churn/4"), (), {})
    model = client.get_registered_model("churn")
    assert (model.tags, model.description, model.aliases) == ({"team": "crm"}, "who leaves", {"champion": "3"})
    stages = {one.version: one.current_stage for one in client.search_model_versions("name = 'churn'")}
    assert stages == {"1": "Archived", "3": "Production", "4": "None"}
    one = client.get_model_version("churn", 3)
    assert (one.description, one.tags, one.run_id) == ("version 3", {"n": "3"}, run_ids["3"])
    assert one.copied_from == f"{address} models:/churn/3"
    run = client.get_run(run_ids["3"])
    assert (run.data.params, run.data.metrics, run.info.run_name) == ({"number": "3"}, {"mae": 5.0}, "run 3")
    assert run.data.tags["colour"] == "blue"
    assert run.inputs.dataset_inputs[0].dataset.name == "frame"
    assert [point.value for point in client.get_metric_history(run_ids["3"], "mae")] == [7.0, 6.0, 5.0]
    assert client.get_experiment(run.info.experiment_id).name == "old days"
    ml.set_tracking_uri(client.tracking_uri)
    assert pyfunc.load_model("models:/churn@champion").predict(FRAME).tolist() == [3.0, 3.0]
    first = client.get_model_history("churn", 3)[0]
    assert (first.what, first.via) == ("version", f"copy of {address}")
    # and once more: what is known is not brought twice, and what was changed here stays
    client.set_registered_model_alias("churn", "champion", 4)
    assert transfer.import_models(client, address, ["churn"]).known == ("churn/1", "churn/3", "churn/4")
    assert client.get_registered_model("churn").aliases == {"champion": "4"}
    assert client.register_model("models:/churn/1", "churn").version == "5"
    client.transition_model_version_stage("churn", 4, "Production", archive_existing_versions=True)
    different = (
        "churn/3: Archived here, Production there",
        "churn/4: Production here, None there",
        "churn@champion: 4 here, 3 there",
    )
    assert transfer.import_models(client, address, ["churn"]).different == different
    assert client.get_model_version("churn", 4).current_stage == "Production"
    assert transfer.import_models(client, address, ["churn"], follow=True).different == ()
    assert client.get_registered_model("churn").aliases == {"champion": "3"}
    stages = {one.version: one.current_stage for one in client.search_model_versions("name = 'churn'")}
    assert stages == {"1": "Archived", "3": "Production", "4": "None", "5": "None"}


def test_all_models_come_where_none_is_named(filled, client):
    found = transfer.import_models(client, filled[0])
    assert found.versions == ("churn/1", "churn/3", "churn/4", "fraud/1")
    assert found.failed == {}
    client.verify_model_version("fraud", 1)


def test_what_is_no_server_or_no_model_says_so(filled, client):
    with pytest.raises(NotFound, match="no registered model 'chrun'. Did you mean 'churn'"):
        transfer.import_models(client, filled[0], ["chrun"])
    with pytest.raises(InvalidInput, match="named by http"):
        transfer.import_models(client, "mlflow:5000")
    with pytest.raises(InvalidInput, match="not in the address"):
        transfer.import_models(client, "http://me:secret@mlflow:5000")
    with pytest.raises(StorageError, match="does not answer"):
        transfer.import_models(client, "http://127.0.0.1:1")
    assert client.search_registered_models() == []
