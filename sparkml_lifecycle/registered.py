"""MLflow's module-level functions of the model registry, which lies in the current lake."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sparkml_lifecycle import current, uris
from sparkml_lifecycle.client import LifecycleClient
from sparkml_lifecycle.entities import ModelVersion, RegisteredModel
from sparkml_lifecycle.errors import InvalidInput

_PAGE = 1000


def register_model(
    model_uri: str | Path,
    name: str,
    await_registration_for: int | None = None,
    *,
    tags: Mapping[str, Any] | None = None,
) -> ModelVersion:
    """Make the next version of a registered model, which is made too where it is not there.

    Parameters
    ----------
    model_uri : str
        ``runs:/<run_id>/<path>``, ``models:/<name>/<version>`` or the place of a model directory.
    name : str
    await_registration_for : int, optional
        MLflow's argument; the version is there when the call returns.

    Raises
    ------
    NotFound, InvalidInput, FormatError
        If the source is no model.
    """
    return LifecycleClient().register_model(model_uri, name, tags)


def search_registered_models(
    max_results: int | None = None, filter_string: str | None = None, order_by: Sequence[str] | None = None
) -> list[RegisteredModel]:
    """The registered models that a filter lets through, by name."""
    return _all(LifecycleClient().search_registered_models, filter_string, max_results, order_by)


def search_model_versions(
    max_results: int | None = None, filter_string: str | None = None, order_by: Sequence[str] | None = None
) -> list[ModelVersion]:
    """The model versions that a filter lets through, the last changed first."""
    return _all(LifecycleClient().search_model_versions, filter_string, max_results, order_by)


def set_model_version_tag(
    name: str, version: str | int | None = None, key: str | None = None, value: Any = None
) -> None:
    """Set a tag of a model version."""
    LifecycleClient().set_model_version_tag(name, version, key, value)


def get_registry_uri() -> str:
    """The normal URI of the current lake, in which the registry lies."""
    return uris.lake(current.tracking_uri())


def set_registry_uri(uri: str | Path) -> None:
    """Taken where it names the current lake: runs and registered models lie in one.

    Raises
    ------
    InvalidInput
        If it names another; ``set_tracking_uri`` chooses that.
    """
    if uris.lake(uri) != get_registry_uri():
        raise InvalidInput(
            f"The registry lies in the same lake as the runs, {get_registry_uri()!r}; found {str(uri)!r}. Choose a lake by "
            "set_tracking_uri(), or use LifecycleClient(uri) for another one."
        )


def _all(search: Any, filter_string: str | None, most: int | None, order_by: Sequence[str] | None) -> list[Any]:
    found: list[Any] = []
    token: str | None = None
    while most is None or len(found) < most:
        page = search(filter_string, _PAGE if most is None else min(_PAGE, most - len(found)), order_by, token)
        found += page
        token = page.token
        if token is None:
            break
    return found
