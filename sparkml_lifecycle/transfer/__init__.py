"""Moving registered models between lakes, and out of an MLflow server, with their runs."""

from sparkml_lifecycle.transfer.copy import copy_version
from sparkml_lifecycle.transfer.mlflow import Imported, import_models

__all__ = ["Imported", "copy_version", "import_models"]
