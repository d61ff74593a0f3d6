"""What users import to save, load and score models: one way for every framework.

Examples
--------
>>> from sparkml_lifecycle import pyfunc
>>> model = pyfunc.load_model("runs:/<run_id>/model")        # doctest: +SKIP
>>> model.predict(frame)                                      # doctest: +SKIP
>>> udf = pyfunc.spark_udf(spark, "runs:/<run_id>/model")     # doctest: +SKIP
>>> df.withColumn("prediction", udf())                        # doctest: +SKIP
"""

import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from sparkml_lifecycle import package, saving
from sparkml_lifecycle.client import find, resolve
from sparkml_lifecycle.errors import InvalidInput
from sparkml_lifecycle.evaluators import choice
from sparkml_lifecycle.flavors.python_model import PythonModel, PythonModelContext
from sparkml_lifecycle.loaded import PyFuncModel
from sparkml_lifecycle.saving import ModelInfo
from sparkml_lifecycle.scoring.column import ModelUdf
from sparkml_lifecycle.settings import Settings

__all__ = [
    "PyFuncModel",
    "PythonModel",
    "PythonModelContext",
    "load_model",
    "log_model",
    "save_model",
    "spark_udf",
]


def load_model(
    model_uri: str | Path,
    *,
    allow_code: bool | None = None,
    evaluator: str = "auto",
    as_of: datetime | None = None,
) -> PyFuncModel:
    """Load a model of any framework, saved by this package or by MLflow.

    Parameters
    ----------
    model_uri : str
        A path, ``file:``, ``s3://`` (and the like), ``runs:/<run_id>/<path>``, a run's ``artifact_uri`` with a path, or
        ``models:/<name>/<version, stage or latest>`` and ``models:/<name>@<alias>``.
    allow_code : bool, optional
        Consent to run code out of the model directory (a pickle, ``code/``); ``SPARKML_ALLOW_CODE`` where it is None.
    evaluator : {"auto", "fast", "native"}
        What scores it: ``native`` is its framework; ``fast`` an evaluator that gives the same answers and was tried against the
        framework; ``auto`` takes the fast one where there is one (``model.evaluator`` says which, and why).
    as_of : datetime, optional
        What the stage or alias of a ``models:/`` URI named then, with a time zone.

    Raises
    ------
    NotFound
        If there is no model at the URI.
    FormatError
        If its ``MLmodel`` cannot be read, or names a loader that is not known.
    MissingLibrary
        If its framework is not installed; the message has the pip line.
    ConsentRequired
        If it would run code and nobody agreed to that.
    IntegrityError
        If the files of a registered model are not those that were registered.
    """
    found = find(model_uri, as_of=as_of)
    model = package.read(found.path, allow_code=allow_code, evaluator=evaluator)
    model.registered = found.registered
    return model


def save_model(
    path: str | Path, *, python_model: Any, artifacts: Mapping[str, str] | None = None, **description: Any
) -> ModelInfo:
    """Save a :class:`PythonModel`, a plain function or a ``.py`` file as a model directory.

    Parameters
    ----------
    path : str
        A new directory.
    python_model : PythonModel, function, or path of a source file
        A source file must name its model, by ``models.set_model(...)`` at its top level.
    artifacts : mapping of str to str, optional
        Name to URI of files the model needs; it finds them in ``context.artifacts``.
    **description
        ``signature``, ``input_example``, ``allow_code``, ``code_paths``, ``model_config``, ``metadata``, ``pip_requirements``:
        see :func:`sparkml_lifecycle.save_model`.
    """
    return saving.save_model(
        python_model, path, flavor="python_function", artifacts=artifacts, fetch=resolve, **description
    )


def log_model(
    name: str | None = None, *, python_model: Any, artifacts: Mapping[str, str] | None = None, **description: Any
) -> ModelInfo:
    """Save a :class:`PythonModel`, a plain function or a ``.py`` file as an artifact of the current run.

    Parameters
    ----------
    name : str
        The path below the run's artifacts; MLflow's older name ``artifact_path`` is taken as well.
    """
    return saving.log_model(
        python_model, name, flavor="python_function", artifacts=artifacts, fetch=resolve, **description
    )


def spark_udf(
    spark: Any,
    model_uri: str | Path,
    result_type: Any = None,
    predict_fn: str | None = None,
    evaluator: str = "auto",
    env_manager: str | None = "local",
    params: Mapping[str, Any] | None = None,
    *,
    allow_code: bool | None = None,
) -> ModelUdf:
    """A model as a Spark function of columns.

    The model travels to the executors by its content digest and is loaded once per worker process.

    Parameters
    ----------
    spark : SparkSession
    model_uri : str
        As for :func:`load_model`.
    result_type : Spark type or str, optional
        Any Spark type or DDL text. For an array, a row's numeric outputs in order; for a struct, the outputs by name; for a
        plain type, the leftmost output that can become it. From the model's signature where it is not given.
    predict_fn : str, optional
        The framework's method, such as ``predict_proba``.
    evaluator : {"auto", "fast", "native"}
        What scores the model: ``native`` is its framework; ``fast`` an evaluator that gives the same answers and was tried
        against the framework; ``auto`` takes the fast one where there is one.
    env_manager : {"local"}
        Workers use the environment they have.
    params : mapping, optional
        Parameters of the model's signature, the same for all rows.

    Returns
    -------
    ModelUdf
        Call it with columns, with one struct, or with nothing: then the columns are those of the signature.

    Notes
    -----
    A null in gives what the framework answers for a missing value, or null where it refuses one. Types are checked against
    the signature once per task, never against the values of a batch.
    """
    from sparkml_lifecycle.scoring import column
    from sparkml_lifecycle.scoring.ship import ship

    if not isinstance(model_uri, (str, os.PathLike)):
        raise InvalidInput(
            f"spark_udf(spark, model_uri): the model's URI is a text, found {type(model_uri).__name__}. Are the arguments swapped?"
        )
    choice.check(evaluator)
    if env_manager not in (None, "local"):
        raise InvalidInput(
            f"env_manager={env_manager!r} is not supported: workers use the environment they have ('local')."
        )
    consent = Settings.load().allow_code if allow_code is None else allow_code
    directory = resolve(model_uri)
    model = package.read(directory, allow_code=consent, evaluator=evaluator)
    result = column.output_type(model, result_type, predict_fn)
    model.check_method(predict_fn)
    known = model.checked_params(params)
    reference = ship(spark, directory, consent, evaluator=evaluator)
    return ModelUdf(reference, model.input_names, model.optional_names, result, predict_fn, known)
