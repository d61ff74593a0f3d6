"""Tracking over the lake. ``tracking.MlflowClient`` is here for scripts written for MLflow."""

from typing import Any


def __getattr__(name: str) -> Any:
    if name in ("MlflowClient", "LifecycleClient"):
        from sparkml_lifecycle.client import LifecycleClient

        return LifecycleClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
