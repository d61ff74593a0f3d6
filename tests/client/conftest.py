import pytest

from sparkml_lifecycle.client import LifecycleClient


@pytest.fixture
def client(tmp_path):
    client = LifecycleClient(tmp_path / "lake")
    yield client
    client.close()


@pytest.fixture
def run_id(client):
    return client.create_run(client.create_experiment("churn")).info.run_id
