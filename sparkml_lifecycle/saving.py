"""``ml.save_model`` and ``ml.log_model``: any framework's model, one function each."""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparkml_lifecycle import current, fluent, package, uris
from sparkml_lifecycle.client import resolve
from sparkml_lifecycle.errors import InvalidInput
from sparkml_lifecycle.model import manifest
from sparkml_lifecycle.model.signature import Signature
from sparkml_lifecycle.package import Description
from sparkml_lifecycle.registry.names import check_model
from sparkml_lifecycle.tracking.names import several


@dataclass(frozen=True)
class ModelInfo:
    """A model that was saved or logged.

    Attributes
    ----------
    model_uri : str
        Loads it: ``runs:/<run_id>/<path>`` or a path.
    path : str
        Where its directory lies.
    flavors : tuple of str
    signature : Signature or None
    run_id : str or None
    artifact_path : str or None
    registered_model_version : str or None
        The version that it became, with ``registered_model_name``.
    """

    model_uri: str
    path: str
    flavors: tuple[str, ...]
    signature: Signature | None
    run_id: str | None = None
    artifact_path: str | None = None
    registered_model_version: str | None = None

    def __repr__(self) -> str:
        return (
            f"ModelInfo({self.model_uri!r}, {' '.join(self.flavors)}{f', {self.signature}' if self.signature else ''})"
        )


def get_model_info(model_uri: str | Path) -> ModelInfo:
    """What is known about a saved model, without loading it.

    Raises
    ------
    NotFound, FormatError
        If there is no readable model.
    """
    directory = resolve(model_uri)
    found = manifest.read(directory)
    where = found.others.get("artifact_path")
    return ModelInfo(str(model_uri), str(directory), tuple(found.flavors), found.signature, found.run_id, where)


def save_model(model: Any, path: str | Path, *, flavor: str | None = None, **description: Any) -> ModelInfo:
    """Save a model of any framework as a directory.

    Parameters
    ----------
    model : object
        Its type decides the flavor.
    path : str
        A new or empty directory.
    flavor : str, optional
        Names the flavor where the type does not.
    input_example : DataFrame, Arrow table, array, dict or list, optional
        A few rows; the signature is inferred from them and from the model's answers. MLflow's pair ``(rows, params)`` declares
        parameters with their defaults too.
    signature : Signature, optional
    pip_requirements : sequence of str, optional
        Replaces the inferred requirements.
    code_paths : sequence of path, optional
    metadata : mapping, optional
    allow_code : bool, optional
        Consent to a pickle, where the framework has no safer format for this model.
    **description
        Other names are options of the flavor (``serialization_format``, ``model_config`` …).

    Raises
    ------
    AlreadyExists, ConsentRequired, InvalidInput, StorageError
        As the sentences of their messages say; nothing is left behind.
    """
    _check_order("save_model", "dir", model, path)
    found = package.save(model, path, _describe(flavor, description))
    place = uris.normalise(path)
    return ModelInfo(place, place, tuple(found.flavors), found.signature)


def log_model(
    model: Any, name: str | None = None, *, flavor: str | None = None, run_id: str | None = None, **description: Any
) -> ModelInfo:
    """Save a model of any framework as an artifact of the active run.

    Parameters
    ----------
    model : object
    name : str
        The path below the run's artifacts (MLflow's older name ``artifact_path`` is taken too); ``model`` where it is not given.
    registered_model_name : str, optional
        Make it the next version of that registered model, which is made where it is not there.
    **description
        As for :func:`save_model`.
    """
    _check_order("log_model", "model", model, name)
    where = uris.check_relative(str(description.pop("artifact_path", None) or name or "model"))
    registered = description.pop("registered_model_name", None)
    if registered is not None:
        check_model(registered)
    run_id = run_id or current.active_run_id() or fluent.start_run().info.run_id
    client = fluent.client_of(run_id)
    run = client.get_run(run_id)
    described = _describe(flavor, description, run_id=run.info.run_id, artifact_path=where)
    storage = client.storage(run.info.artifact_uri)
    target = uris.join(run.info.artifact_uri, where)
    if storage.is_local:
        found = package.save(model, target, described)
    else:
        with tempfile.TemporaryDirectory() as folder:
            found = package.save(model, Path(folder) / "model", described)
            storage.upload(Path(folder) / "model", where)
    uri = f"runs:/{run.info.run_id}/{where}"
    version = client.register_model(uri, registered).version if registered is not None else None
    return ModelInfo(uri, target, tuple(found.flavors), found.signature, run.info.run_id, where, version)


def _check_order(function: str, example: str, model: Any, name: Any) -> None:
    if name is None or isinstance(name, (str, os.PathLike)):
        return
    swapped = isinstance(model, str) and not model.endswith(".py")
    advice = "The arguments are swapped" if swapped else "The form is"
    raise InvalidInput(
        f"{function}(model, {example!r}) takes the model first and a text after it, found {type(model).__name__} and "
        f"{type(name).__name__}. {advice}: {function}(model, {str(model) if swapped else example!r})."
    )


_SAID = ("signature", "input_example", "code_paths", "metadata", "allow_code")


def _describe(flavor: str | None, given: Mapping[str, Any], **known: Any) -> Description:
    said = {name: given[name] for name in _SAID if given.get(name) is not None}
    options = {
        name: value for name, value in given.items() if name not in (*_SAID, "pip_requirements") and value is not None
    }
    if "code_paths" in said:
        said["code_paths"] = several(said["code_paths"])
    requirements = _requirements(given.get("pip_requirements"))
    return Description(flavor=flavor, requirements=requirements, options=options, **said, **known)


def _requirements(given: Any) -> list[str] | None:
    """Requirement lines; a text is, as in MLflow, the path of a requirements file, or else one requirement."""
    if isinstance(given, (str, os.PathLike)) and Path(given).is_file():
        return [line for line in map(str.strip, Path(given).read_text().splitlines()) if line and line[0] != "#"]
    return None if given is None else several(given)
