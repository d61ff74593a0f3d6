import pytest

from sparkml_lifecycle.client import LifecycleClient
from sparkml_lifecycle.lake import Lake
from sparkml_lifecycle.settings import Settings
from sparkml_lifecycle.tracking.store import TrackingStore
from tests.client.conftest import client  # noqa: F401
from tests.registry.models import save_mean


@pytest.fixture
def source(tmp_path):
    """The directory of a small model."""
    return save_mean(tmp_path / "saved", 1.0)


@pytest.fixture
def somebody(tmp_path, monkeypatch):
    """A client of the same lake under another name."""

    def client_of(name):
        monkeypatch.setenv("SPARKML_USER", name)
        # a store of its own: clients of one lake in one process share one, and with it the name
        other = LifecycleClient.__new__(LifecycleClient)
        other._uri, other._store = str(tmp_path / "lake"), TrackingStore(Lake(tmp_path / "lake"))
        assert Settings.load().user == other._store.lake.writer.by == name
        return other

    return client_of
