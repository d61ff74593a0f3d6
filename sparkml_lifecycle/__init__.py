"""Spark-native model tracking, packaging and batch scoring on Delta tables.

``import sparkml_lifecycle as ml`` (or ``as mlflow``: the names are MLflow's). Everything is imported when it is first
used, so the import itself loads no pyspark, pandas or machine-learning library.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_MODULES = ("artifacts", "client", "data", "entities", "errors", "models", "pyfunc", "scoring", "tracking")
_CLIENT = ("LifecycleClient", "MlflowClient")
_FLUENT = (
    "active_run", "create_experiment", "delete_experiment", "delete_experiment_tag", "delete_run", "delete_tag",
    "end_run", "flush", "get_artifact_uri", "get_experiment", "get_experiment_by_name", "get_parent_run", "get_run",
    "get_tracking_uri", "last_active_run", "load_table", "log_artifact", "log_artifacts", "log_batch", "log_dict",
    "log_figure", "log_image", "log_input", "log_inputs", "log_metric", "log_metrics", "log_param", "log_params",
    "log_stream", "log_table", "log_text", "restore_experiment", "restore_run", "search_experiments", "search_runs",
    "set_experiment", "set_experiment_tag", "set_experiment_tags", "set_tag", "set_tags", "set_tracking_uri",
    "start_run",
)  # fmt: skip
_SAVING = ("log_model", "save_model")
_FRAMEWORKS = ("h2o", "sklearn", "xgboost")

__all__ = sorted([*_MODULES, *_CLIENT, *_FLUENT, *_SAVING, *_FRAMEWORKS])


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _CLIENT:
        return importlib.import_module(f"{__name__}.client").LifecycleClient
    if name in _FLUENT:
        return getattr(importlib.import_module(f"{__name__}.fluent"), name)
    if name in _SAVING:
        return getattr(importlib.import_module(f"{__name__}.saving"), name)
    if name in _FRAMEWORKS:
        value = importlib.import_module(f"{__name__}.pyfunc").framework(name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
