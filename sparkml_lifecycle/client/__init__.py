"""The client of a lake, and the way from any URI to a local directory."""

from sparkml_lifecycle.client.lifecycle import LifecycleClient
from sparkml_lifecycle.client.resolve import find, resolve

MlflowClient = LifecycleClient

__all__ = ["LifecycleClient", "MlflowClient", "find", "resolve"]
