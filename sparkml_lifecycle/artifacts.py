"""Reading artifacts by a URI, or by a run's id and a path: MLflow's ``mlflow.artifacts``."""

import json
from pathlib import Path
from typing import Any

from sparkml_lifecycle import uris
from sparkml_lifecycle.client import LifecycleClient, resolve
from sparkml_lifecycle.client.artifacts import Artifacts
from sparkml_lifecycle.entities import FileInfo
from sparkml_lifecycle.errors import InvalidInput

__all__ = ["download_artifacts", "list_artifacts", "load_dict", "load_image", "load_text"]


def download_artifacts(
    artifact_uri: str | None = None,
    run_id: str | None = None,
    artifact_path: str | None = None,
    dst_path: str | Path | None = None,
    tracking_uri: str | None = None,
) -> str:
    """The local path of an artifact; copied where it is not on this machine or ``dst_path`` is given.

    Parameters
    ----------
    artifact_uri : str, optional
        A path, ``s3://`` and the like, or ``runs:/<run_id>/<path>``; else ``run_id`` and ``artifact_path``.

    Raises
    ------
    NotFound
        If there is nothing.
    """
    return str(resolve(_uri(artifact_uri, run_id, artifact_path), LifecycleClient(tracking_uri), dst_path))


def list_artifacts(
    artifact_uri: str | None = None,
    run_id: str | None = None,
    artifact_path: str | None = None,
    tracking_uri: str | None = None,
) -> list[FileInfo]:
    """What lies directly below a URI, or below a path of a run's artifacts."""
    client = LifecycleClient(tracking_uri)
    uri = uris.parse(_uri(artifact_uri, run_id, artifact_path))
    if isinstance(uri, uris.RunUri):
        return client.list_artifacts(uri.run_id, uri.path or None)
    place = resolve(str(artifact_uri), client) if isinstance(uri, uris.ModelUri) else uri.text
    return Artifacts(client.storage(place)).list()


def load_text(artifact_uri: str) -> str:
    """A text file's content."""
    return resolve(artifact_uri).read_text(encoding="utf-8")


def load_dict(artifact_uri: str) -> Any:
    """What a JSON or YAML file holds."""
    path = resolve(artifact_uri)
    if path.suffix in (".yml", ".yaml"):
        import yaml

        return yaml.safe_load(path.read_text(encoding="utf-8"))
    return json.loads(path.read_text(encoding="utf-8"))


def load_image(artifact_uri: str) -> Any:
    """An image, as Pillow's."""
    from sparkml_lifecycle.errors import MissingLibrary

    try:
        from PIL import Image
    except ImportError:
        raise MissingLibrary("Images need Pillow: pip install pillow.") from None
    with Image.open(resolve(artifact_uri)) as image:
        image.load()
        return image


def _uri(artifact_uri: str | None, run_id: str | None, artifact_path: str | None) -> str:
    if (artifact_uri is None) == (run_id is None):
        raise InvalidInput("Give either artifact_uri, or run_id with artifact_path.")
    return str(artifact_uri) if run_id is None else uris.join(f"runs:/{run_id}", artifact_path or "")
