"""``ml.save_model`` and ``ml.log_model``: any framework's model, one function each."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparkml_lifecycle import current, fluent, package, uris
from sparkml_lifecycle.client import LifecycleClient
from sparkml_lifecycle.errors import InvalidInput
from sparkml_lifecycle.model.signature import Signature
from sparkml_lifecycle.package import Description


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
    """

    model_uri: str
    path: str
    flavors: tuple[str, ...]
    signature: Signature | None
    run_id: str | None = None
    artifact_path: str | None = None


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
        A few rows; the signature is inferred from them and from the model's answers.
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
    found = package.save(model, path, _describe(flavor, description))
    return ModelInfo(str(path), str(path), tuple(found.flavors), found.signature)


def log_model(
    model: Any, name: str | None = None, *, flavor: str | None = None, run_id: str | None = None, **description: Any
) -> ModelInfo:
    """Save a model of any framework as an artifact of the active run.

    Parameters
    ----------
    model : object
    name : str
        The path below the run's artifacts (MLflow's older name ``artifact_path`` is taken too); ``model`` where it is not given.
    **description
        As for :func:`save_model`.
    """
    where = uris.check_relative(str(description.pop("artifact_path", None) or name or "model"))
    if description.pop("registered_model_name", None):
        raise InvalidInput(
            "registered_model_name needs the registry, which this version does not have yet: leave it out."
        )
    client = LifecycleClient()
    run = client.get_run(run_id or current.active_run_id() or fluent.start_run().info.run_id)
    described = _describe(flavor, description, run_id=run.info.run_id, artifact_path=where)
    storage = client.storage(run.info.artifact_uri)
    target = uris.join(run.info.artifact_uri, where)
    if storage.is_local:
        found = package.save(model, target, described)
    else:
        with tempfile.TemporaryDirectory() as folder:
            found = package.save(model, Path(folder) / "model", described)
            storage.upload(Path(folder) / "model", where)
    return ModelInfo(
        f"runs:/{run.info.run_id}/{where}", target, tuple(found.flavors), found.signature, run.info.run_id, where
    )


_SAID = ("signature", "input_example", "code_paths", "metadata", "allow_code")


def _describe(flavor: str | None, given: Mapping[str, Any], **known: Any) -> Description:
    said = {name: given[name] for name in _SAID if given.get(name) is not None}
    options = {
        name: value for name, value in given.items() if name not in (*_SAID, "pip_requirements") and value is not None
    }
    return Description(flavor=flavor, requirements=given.get("pip_requirements"), options=options, **said, **known)
