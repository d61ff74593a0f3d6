"""MLflow's ``exceptions`` name; the whole tree is in :mod:`sparkml_lifecycle.errors`."""

from sparkml_lifecycle.errors import LifecycleError

MlflowException = LifecycleError

__all__ = ["MlflowException"]
