"""What users import to save, load and score models: one way for every framework.

Examples
--------
>>> from sparkml_lifecycle import pyfunc
>>> model = pyfunc.load_model("runs:/<run_id>/model")        # doctest: +SKIP
>>> model.predict(frame)                                      # doctest: +SKIP
>>> udf = pyfunc.spark_udf(spark, "runs:/<run_id>/model")     # doctest: +SKIP
>>> df.withColumn("prediction", udf())                        # doctest: +SKIP
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sparkml_lifecycle import package, saving
from sparkml_lifecycle.client import resolve
from sparkml_lifecycle.errors import InvalidInput, NotFound
from sparkml_lifecycle.flavors import FLAVORS
from sparkml_lifecycle.flavors.python_model import PythonModel, PythonModelContext
from sparkml_lifecycle.model import manifest
from sparkml_lifecycle.package import PyFuncModel
from sparkml_lifecycle.saving import ModelInfo
from sparkml_lifecycle.scoring.column import ModelUdf
from sparkml_lifecycle.settings import Settings

__all__ = [
    "Framework",
    "PyFuncModel",
    "PythonModel",
    "PythonModelContext",
    "load_model",
    "log_model",
    "save_model",
    "spark_udf",
]


def load_model(model_uri: str | Path, *, allow_code: bool | None = None) -> PyFuncModel:
    """Load a model of any framework, saved by this package or by MLflow.

    Parameters
    ----------
    model_uri : str
        A path, ``file:``, ``s3://`` (and the like), ``runs:/<run_id>/<path>``, or a run's ``artifact_uri`` with a path.
    allow_code : bool, optional
        Consent to run code out of the model directory (a pickle, ``code/``); ``SPARKML_ALLOW_CODE`` where it is None.

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
    """
    return package.read(resolve(str(model_uri)), allow_code=allow_code)


def save_model(
    path: str | Path, *, python_model: Any, artifacts: Mapping[str, str] | None = None, **description: Any
) -> ModelInfo:
    """Save a :class:`PythonModel`, a plain function or a ``.py`` file as a model directory.

    Parameters
    ----------
    path : str
        A new directory.
    python_model : PythonModel, function, or path of a source file
        A source file names its model by ``models.set_model(...)``.
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
    evaluator : {"auto", "native"}
        Which code evaluates the model; both are the framework's own predict.
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

    if evaluator not in ("auto", "native"):
        raise InvalidInput(f"evaluator must be 'auto' or 'native', found {evaluator!r}.")
    if env_manager not in (None, "local"):
        raise InvalidInput(
            f"env_manager={env_manager!r} is not supported: workers use the environment they have ('local')."
        )
    consent = Settings.load().allow_code if allow_code is None else allow_code
    directory = resolve(str(model_uri))
    model = package.read(directory, allow_code=consent)
    result = column.output_type(model, result_type, predict_fn)
    model.check_method(predict_fn)
    known = (model.signature.with_params(params) if model.signature else dict(params or {})) if params else {}
    columns = model.signature.columns if model.signature else None
    optional = frozenset(str(c.name) for c in columns or () if not c.required)
    return ModelUdf(ship(spark, directory, consent), model.input_names, optional, result, predict_fn, known)


class Framework:
    """MLflow's per-framework names, ``ml.sklearn``, ``ml.xgboost`` …: the framework's own object in and out."""

    def __init__(self, flavor: str) -> None:
        self._flavor = flavor

    def __repr__(self) -> str:
        return f"<sparkml_lifecycle.{self._flavor}: save_model, log_model, load_model>"

    def save_model(self, model: Any, path: str | Path, **description: Any) -> ModelInfo:
        """Save a model of this framework; see :func:`sparkml_lifecycle.save_model`."""
        return saving.save_model(model, path, flavor=self._flavor, **description)

    def log_model(self, model: Any, name: str | None = None, **description: Any) -> ModelInfo:
        """Save a model of this framework in the current run; see :func:`sparkml_lifecycle.log_model`."""
        return saving.log_model(model, name, flavor=self._flavor, **description)

    def load_model(self, model_uri: str | Path, *, allow_code: bool | None = None) -> Any:
        """The framework's own object.

        Raises
        ------
        NotFound
            If the model has no such flavor.
        """
        directory = resolve(str(model_uri))
        found = manifest.read(directory)
        if self._flavor not in found.flavors:
            raise NotFound(
                f"The model at {str(model_uri)!r} has no {self._flavor} flavor. It has: {', '.join(found.flavors)}."
            )
        consent = Settings.load().allow_code if allow_code is None else allow_code
        from sparkml_lifecycle.flavors import by_name

        return package.load_native(directory, found, by_name(self._flavor), consent)


def framework(name: str) -> Framework | None:
    """The namespace of a flavor of the table, or None."""
    return Framework(name) if name in FLAVORS and name != manifest.PYTHON_FUNCTION else None
