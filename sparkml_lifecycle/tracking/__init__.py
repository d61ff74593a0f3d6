"""Experiments and runs over a lake; ``tracking.MlflowClient`` is the client, as in MLflow."""

from typing import Any

from sparkml_lifecycle.tracking.store import TrackingStore, open_store

__all__ = ["MlflowClient", "TrackingStore", "open_store"]


def __getattr__(name: str) -> Any:
    if name == "MlflowClient":
        # upward on purpose: MLflow's scripts say mlflow.tracking.MlflowClient
        from sparkml_lifecycle.client import LifecycleClient

        return LifecycleClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
