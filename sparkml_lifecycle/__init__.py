"""Spark-native model tracking, packaging and batch scoring on Delta tables.

``import sparkml_lifecycle as ml`` (or ``as mlflow``: the names are MLflow's). Everything is imported when it is first
used, so the import itself loads no pyspark, pandas or machine-learning library.
"""

import importlib as _importlib
import sys as _sys
from typing import Any as _Any

from sparkml_lifecycle.frameworks import Framework as _Framework

__version__ = "0.1.0"

_MODULES = (
    "artifacts",
    "card",
    "client",
    "data",
    "entities",
    "errors",
    "exceptions",
    "models",
    "promotion",
    "pyfunc",
    "scoring",
    "tracking",
    "transfer",
)
_CLIENT = ("LifecycleClient", "MlflowClient")
_FLUENT = (
    "active_run", "create_experiment", "delete_experiment", "delete_experiment_tag", "delete_run", "delete_tag",
    "end_run", "flush", "get_artifact_uri", "get_experiment", "get_experiment_by_name", "get_parent_run", "get_run",
    "get_tracking_uri", "is_tracking_uri_set", "last_active_run", "load_table", "log_artifact", "log_artifacts",
    "log_batch", "log_dict", "log_figure", "log_image", "log_input", "log_inputs", "log_metric", "log_metrics",
    "log_param", "log_params", "log_stream", "log_table", "log_text", "restore_experiment", "restore_run",
    "search_experiments", "search_runs", "set_experiment", "set_experiment_tag", "set_experiment_tags", "set_tag",
    "set_tags", "set_tracking_uri", "start_run",
)  # fmt: skip
_REGISTERED = (
    "get_registry_uri", "register_model", "search_model_versions", "search_registered_models", "set_model_version_tag",
    "set_registry_uri",
)  # fmt: skip
_SAVING = ("log_model", "save_model")
# each with what MLflow calls the model in its functions
_FRAMEWORKS = {"h2o": "h2o_model", "lightgbm": "lgb_model", "sklearn": "sk_model", "xgboost": "xgb_model"}

__all__ = sorted([*_MODULES, *_CLIENT, *_FLUENT, *_REGISTERED, *_SAVING, *_FRAMEWORKS])

# `import sparkml_lifecycle.sklearn` finds them there
for _name, _argument in _FRAMEWORKS.items():
    globals()[_name] = _sys.modules[f"{__name__}.{_name}"] = _Framework(f"{__name__}.{_name}", _name, _argument)


def __getattr__(name: str) -> _Any:
    if name in _MODULES:
        return _importlib.import_module(f"{__name__}.{name}")
    if name in _CLIENT:
        return _importlib.import_module(f"{__name__}.client").LifecycleClient
    if name in _FLUENT:
        # kept, so that the next call finds it at once
        globals()[name] = value = getattr(_importlib.import_module(f"{__name__}.fluent"), name)
        return value
    if name in _REGISTERED:
        return getattr(_importlib.import_module(f"{__name__}.registered"), name)
    if name in _SAVING:
        return getattr(_importlib.import_module(f"{__name__}.saving"), name)
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    raise AttributeError(_importlib.import_module(f"{__name__}.absent").explain(name, __all__))


def __dir__() -> list[str]:
    return sorted([*__all__, *(name for name in globals() if name.startswith("__"))])
