import pytest

from sparkml_lifecycle.lake import Lake
from sparkml_lifecycle.settings import Settings
from sparkml_lifecycle.tracking.store import TrackingStore


@pytest.fixture
def open_lake(tmp_path):
    """Opens stores as separate processes would: none shares anything with another."""
    stores = []

    def open_one(uri=None, **settings):
        stores.append(TrackingStore(Lake(uri or tmp_path / "lake"), Settings(**settings)))
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()


@pytest.fixture
def store(open_lake):
    return open_lake()
