"""From any URI of a model or artifact to a local path."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sparkml_lifecycle import current, uris
from sparkml_lifecycle.client.artifacts import fetch
from sparkml_lifecycle.entities import ModelVersion
from sparkml_lifecycle.errors import InvalidInput
from sparkml_lifecycle.storage import open_storage

if TYPE_CHECKING:
    from sparkml_lifecycle.client.lifecycle import LifecycleClient


@dataclass(frozen=True)
class Found:
    """What a URI names: a path on this machine, and the version where it is a registered model's."""

    path: Path
    version: ModelVersion | None = None

    @property
    def registered(self) -> tuple[str, str] | None:
        """The name and version of the registered model."""
        return (self.version.name, self.version.version) if self.version else None


def resolve(
    uri: str | Path,
    client: "LifecycleClient | None" = None,
    destination: str | Path | None = None,
    as_of: datetime | None = None,
) -> Path:
    """The local directory or file that a URI names; a remote one is downloaded.

    Parameters
    ----------
    uri : str
        A path, ``file:``, ``s3://`` (and the like), ``runs:/<run_id>/<path>``, or ``models:/<name>/<version, stage or latest>`` and
        ``models:/<name>@<alias>``.
    client : LifecycleClient, optional
        Whose lake the runs and registered models are in; the current lake where it is not given.
    destination : path, optional
        Where to copy it to. Without it, what is on this machine is used where it lies, and a download goes to a directory
        that is removed at exit.
    as_of : datetime, optional
        What a stage or alias named then, with a time zone.

    Raises
    ------
    NotFound
        If there is no such run or registered model, or nothing at the URI.
    InvalidInput
        If the URI is not complete.
    IntegrityError
        If the files of a registered model are not those that were registered.
    """
    return find(uri, client, destination, as_of).path


def find(
    uri: str | Path,
    client: "LifecycleClient | None" = None,
    destination: str | Path | None = None,
    as_of: datetime | None = None,
) -> Found:
    """As :func:`resolve`, with the version of the registered model that the URI names."""
    parsed = uris.parse(uri)
    if isinstance(parsed, uris.ModelUri):
        client = _client(client)
        version = client.registry.version_of(parsed, as_of)
        return Found(client.fetch_version(version, destination), version)
    if as_of is not None:
        raise InvalidInput(f"as_of goes with models:/ URIs, found {str(uri)!r}.")
    return Found(_path_of(parsed, client, destination))


def _path_of(
    parsed: uris.RunUri | uris.StorageUri, client: "LifecycleClient | None", destination: str | Path | None
) -> Path:
    if isinstance(parsed, uris.RunUri):
        client = _client(client)
        return fetch(client.storage(client.artifact_uri(parsed.run_id)), parsed.path, destination)
    if client is not None:
        return fetch(client.storage(parsed.text), "", destination)
    here = open_storage(current.tracking_uri(), current.storage_options())
    return fetch(here.at(parsed.text), "", destination)


def _client(client: "LifecycleClient | None") -> "LifecycleClient":
    from sparkml_lifecycle.client.lifecycle import LifecycleClient

    return client or LifecycleClient()
