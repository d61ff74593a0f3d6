"""One client over one lake, with MLflow's names."""

from sparkml_lifecycle.client.resolve import resolve
from sparkml_lifecycle.client.runs import LifecycleClient

__all__ = ["LifecycleClient", "resolve"]
