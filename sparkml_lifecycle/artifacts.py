"""Reading artifacts by a URI, or by a run's id and a path: MLflow's ``mlflow.artifacts``."""

import json
from pathlib import Path
from typing import Any

from sparkml_lifecycle import uris
from sparkml_lifecycle.client import LifecycleClient, resolve
from sparkml_lifecycle.client.artifacts import Artifacts
from sparkml_lifecycle.entities import FileInfo
from sparkml_lifecycle.errors import FormatError, InvalidInput, StorageError

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
    """A text file's content.

    Raises
    ------
    FormatError
        If it is no text in UTF-8.
    """
    return _text(resolve(artifact_uri), artifact_uri)


def load_dict(artifact_uri: str) -> Any:
    """What a JSON or YAML file holds.

    Raises
    ------
    FormatError
        If it is neither.
    """
    path = resolve(artifact_uri)
    text = _text(path, artifact_uri)
    if path.suffix in (".yml", ".yaml"):
        import yaml

        try:
            return yaml.safe_load(text)
        except yaml.YAMLError:
            raise FormatError(f"{artifact_uri!r} is no YAML.") from None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise FormatError(f"{artifact_uri!r} is no JSON.") from None


def load_image(artifact_uri: str) -> Any:
    """An image, as Pillow's.

    Raises
    ------
    FormatError
        If it is none that Pillow knows.
    """
    from sparkml_lifecycle.errors import MissingLibrary

    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise MissingLibrary("Images need Pillow: pip install pillow.") from None
    path = resolve(artifact_uri)
    try:
        with Image.open(path) as image:
            image.load()
            return image
    except UnidentifiedImageError:
        raise FormatError(f"{artifact_uri!r} is no image that Pillow knows.") from None
    except OSError as error:
        raise StorageError(f"Cannot read {artifact_uri!r}: {error.strerror or error}.") from None


def _text(path: Path, artifact_uri: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise FormatError(f"{artifact_uri!r} is no text in UTF-8.") from None
    except OSError as error:
        raise StorageError(f"Cannot read {artifact_uri!r}: {error.strerror or type(error).__name__}.") from None


def _uri(artifact_uri: str | None, run_id: str | None, artifact_path: str | None) -> str:
    if (artifact_uri is None) == (run_id is None):
        raise InvalidInput("Give either artifact_uri, or run_id with artifact_path.")
    return str(artifact_uri) if run_id is None else uris.join(f"runs:/{run_id}", artifact_path or "")
