"""From any URI of a model or artifact to a local path."""

from pathlib import Path
from typing import TYPE_CHECKING

from sparkml_lifecycle import current, uris
from sparkml_lifecycle.client.artifacts import fetch
from sparkml_lifecycle.errors import InvalidInput
from sparkml_lifecycle.storage import open_storage

if TYPE_CHECKING:
    from sparkml_lifecycle.client.lifecycle import LifecycleClient


def resolve(uri: str | Path, client: "LifecycleClient | None" = None, destination: str | Path | None = None) -> Path:
    """The local directory or file that a URI names; a remote one is downloaded.

    Parameters
    ----------
    uri : str
        A path, ``file:``, ``s3://`` (and the like) or ``runs:/<run_id>/<path>``.
    client : LifecycleClient, optional
        Whose lake the runs are in; the current lake where it is not given.
    destination : path, optional
        Where to copy it to. Without it, what is on this machine is used where it lies, and a download goes to a directory
        that is removed at exit.

    Raises
    ------
    NotFound
        If there is no such run or nothing at the URI.
    InvalidInput
        If the URI is not complete, or names a registered model: the registry comes with a later version.
    """
    parsed = uris.parse(uri)
    if isinstance(parsed, uris.RunUri):
        client = _client(client)
        return fetch(client.storage(client.artifact_uri(parsed.run_id)), parsed.path, destination)
    if isinstance(parsed, uris.ModelUri):
        return _registered(parsed, client, destination)
    if client is not None:
        return fetch(client.storage(parsed.text), "", destination)
    here = open_storage(current.tracking_uri(), current.storage_options())
    return fetch(here.at(parsed.text), "", destination)


def _registered(uri: uris.ModelUri, client: "LifecycleClient | None", destination: str | Path | None) -> Path:
    raise InvalidInput(
        f"models:/{uri.name} names a registered model, and the registry comes with a later version. Use the model's path or runs:/<run_id>/<path>."
    )


def _client(client: "LifecycleClient | None") -> "LifecycleClient":
    from sparkml_lifecycle.client.lifecycle import LifecycleClient

    return client or LifecycleClient()
