"""A run's files, wherever they lie; local ones appear whole or not at all."""

import atexit
import functools
import json
import os
import shutil
import tempfile
from pathlib import Path, PurePath
from typing import Any

from sparkml_lifecycle import uris
from sparkml_lifecycle.client import table_file
from sparkml_lifecycle.entities import FileInfo
from sparkml_lifecycle.errors import InvalidInput, LifecycleError, NotFound, StorageError
from sparkml_lifecycle.storage import Storage, check_name, is_part
from sparkml_lifecycle.tracking import names


class Artifacts:
    """The artifacts in one storage."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def put(self, local_path: str | Path, artifact_path: str | None = None) -> None:
        """Copy a local file, or a directory under its name, below ``artifact_path``."""
        source = _local(local_path)
        # a link keeps the name that was given
        name = check_name(source.name if source.name not in ("", "..") else source.resolve().name)
        self._storage.upload(source, uris.join(_relative(artifact_path), name) if artifact_path else name)

    def put_content(self, local_dir: str | Path, artifact_path: str | None = None) -> None:
        """Copy what a local directory holds below ``artifact_path``."""
        if not _local(local_dir).is_dir():
            raise NotFound(f"There is no directory {str(local_dir)!r}. For a file: log_artifact().")
        self._storage.upload(local_dir, _relative(artifact_path) if artifact_path else "")

    def put_text(self, text: str, artifact_file: str) -> None:
        """Write a text file, UTF-8."""
        self._storage.write_bytes(_relative(artifact_file), names.check_text("content of a text file", text).encode())

    def put_dict(self, dictionary: Any, artifact_file: str) -> None:
        """Write JSON, or YAML where the file's name ends so."""
        clean = _relative(artifact_file)
        if clean.endswith((".yml", ".yaml")):
            import yaml

            try:
                text = yaml.safe_dump(dictionary, sort_keys=False)
            except yaml.YAMLError:
                raise InvalidInput(
                    f"The {type(dictionary).__name__} cannot be YAML: it holds something that is no plain value."
                ) from None
        else:
            try:
                text = json.dumps(dictionary, indent=2, default=str)
            except (TypeError, ValueError, RecursionError) as error:
                raise InvalidInput(f"The {type(dictionary).__name__} cannot be JSON: {_reason(error)}.") from None
        self.put_text(text, clean)

    def put_figure(self, figure: Any, artifact_file: str, **save: Any) -> None:
        """Write a matplotlib figure in the format of the file's name, or a Plotly figure as HTML."""
        if hasattr(figure, "savefig"):
            self._drawn(artifact_file, "figure", lambda path: figure.savefig(path, **save))
        elif hasattr(figure, "write_html"):
            self._drawn(artifact_file, "figure", lambda path: figure.write_html(path, **save))
        else:
            raise InvalidInput(f"A figure is matplotlib's or Plotly's, found {type(figure).__name__}.")

    def put_image(self, image: Any, artifact_file: str) -> None:
        """Write a PIL image, or an array of (height, width) or (height, width, 1, 3 or 4): floats in 0 to 1, or integers in 0 to 255."""
        if hasattr(image, "save"):
            return self._drawn(artifact_file, "image", image.save)
        import numpy as np

        from sparkml_lifecycle.errors import MissingLibrary

        try:
            from PIL import Image
        except ImportError:
            raise MissingLibrary("Images need Pillow: pip install pillow.") from None
        try:
            pixels = np.asarray(image)
        except ValueError:
            raise InvalidInput("An image's rows must be of one length.") from None
        if pixels.dtype.kind not in "fiub":
            raise InvalidInput(f"An image consists of numbers, found {pixels.dtype}.")
        if pixels.ndim == 3 and pixels.shape[2] == 1:
            pixels = pixels[:, :, 0]
        if pixels.ndim not in (2, 3) or pixels.shape[2:] not in ((), (3,), (4,)) or not pixels.size:
            raise InvalidInput(
                f"An image has the shape (height, width) or (height, width, 1, 3 or 4 channels), found {pixels.shape}."
            )
        if pixels.dtype.kind == "f":
            pixels = np.clip(np.nan_to_num(pixels), 0, 1) * 255
        elif pixels.dtype.kind == "b":
            pixels = pixels * 255
        elif pixels.min() < 0 or pixels.max() > 255:
            raise InvalidInput("An image of whole numbers has them in 0 to 255, one of floats in 0 to 1.")
        self._drawn(artifact_file, "image", Image.fromarray(pixels.astype("uint8")).save)

    def put_table(self, data: Any, artifact_file: str) -> None:
        """Write a frame or a dict of columns as ``.json`` or ``.parquet``, below the table that is there, if one is."""
        import pandas as pd

        clean = _relative(artifact_file)
        if not clean.endswith(table_file.KINDS):
            raise InvalidInput(f"A table is written as .json or .parquet, found {artifact_file!r}.")
        try:
            frame = data if isinstance(data, pd.DataFrame) else pd.DataFrame(data)
        except (TypeError, ValueError) as error:
            raise InvalidInput(
                f"A table is a frame or a dict of columns, found {type(data).__name__}: {_reason(error)}."
            ) from None
        there = self._storage.stat(clean)

        def written(path: str) -> None:
            local = Path(path)
            before = None
            if there is not None and not there.is_dir:
                before = self._storage.download(clean, local.with_name("before") / local.name)
            table_file.write(frame, local, before)

        self._through_file(clean, written)

    def put_stream(self, stream: Any, artifact_file: str) -> None:
        """Write what a binary file object gives, without holding it in memory."""
        if not hasattr(stream, "read"):
            raise InvalidInput(f"A stream is a binary file object, found {type(stream).__name__}.")
        self._through_file(artifact_file, lambda path: _copy(stream, path))

    def table(self, artifact_file: str) -> Any:
        """A table that :meth:`put_table` wrote, as a pandas frame; None where there is none."""
        clean = _relative(artifact_file)
        if not self._storage.exists(clean):
            return None
        with tempfile.TemporaryDirectory(prefix="sparkml-") as directory:
            return table_file.read(self._storage.download(clean, Path(directory) / Path(clean).name))

    def list(self, path: str | None = None) -> list[FileInfo]:
        """What lies directly below ``path``."""
        found = self._storage.list(_relative(path) if path else "")
        return [
            FileInfo(file.path, file.is_dir, file.size) for file in found if not is_part(file.path.rpartition("/")[2])
        ]

    def download(self, path: str, destination: str | Path | None) -> Path:
        """A local copy of a file or directory; without a destination the thing itself where it is on this machine."""
        return fetch(self._storage, _relative(path) if path else "", destination)

    def _drawn(self, artifact_file: str, what: str, write: Any) -> None:
        """As :meth:`_through_file`; what the library that writes it refuses is the caller's mistake."""

        def written(path: str) -> None:
            try:
                write(path)
            except Exception as error:
                if isinstance(error, OSError) and error.errno is not None:
                    raise StorageError(f"Cannot write the {what} to {path!r}: {error.strerror}.") from None
                raise InvalidInput(
                    f"The {what} cannot be written as {artifact_file!r}: {type(error).__name__}: {_reason(error)}."
                ) from None

        self._through_file(artifact_file, written)

    def _through_file(self, artifact_file: str, write: Any) -> None:
        clean = _relative(artifact_file)
        with tempfile.TemporaryDirectory(prefix="sparkml-") as directory:
            local = Path(directory) / Path(clean).name
            write(str(local))
            self._storage.upload(local, clean)


def _copy(stream: Any, path: str) -> None:
    with open(path, "wb") as file:
        while chunk := stream.read(4 * 1024 * 1024):
            if isinstance(chunk, str):
                raise InvalidInput("The stream gives text; open it as a binary one: open(path, 'rb').")
            file.write(chunk)


def _local(path: Any) -> Path:
    if not isinstance(path, str | os.PathLike):
        raise InvalidInput(f"A file or directory is named by a path, found {type(path).__name__}.")
    return Path(path)


def _relative(path: Any) -> str:
    text = path.as_posix() if isinstance(path, PurePath) else path
    return uris.check_relative(names.check_text("path of an artifact", text))


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300].rstrip(".")


def fetch(storage: Storage, path: str, destination: str | Path | None) -> Path:
    """The local file or directory of ``path`` in a storage, downloaded where it is not on this machine or a destination is given.

    Raises
    ------
    NotFound
        If there is nothing.
    """
    if not storage.exists(path):
        raise NotFound(f"There is nothing at {uris.join(storage.uri, path)!r}.")
    if storage.is_local and destination is None:
        return storage.local_path / path if path else storage.local_path
    base = (
        Path(destination).expanduser().absolute()
        if destination is not None
        else Path(tempfile.mkdtemp(dir=_downloads()))
    )
    name = Path(path or storage.uri).name
    try:
        return storage.download(path, base / name if path or destination is None else base)
    except OSError as error:
        if isinstance(error, LifecycleError):
            raise
        raise StorageError(f"Cannot write to {str(base)!r}: {error.strerror or type(error).__name__}.") from None


def copied(directory: Path, destination: str | Path) -> Path:
    """A local directory's files below another one, in which others may lie."""
    target = Path(destination).expanduser().absolute()
    try:
        shutil.copytree(directory, target, dirs_exist_ok=True)
    except (OSError, shutil.Error) as error:
        raise StorageError(f"Cannot write to {str(target)!r}: {_reason(error)}.") from None
    return target


@functools.cache
def _downloads() -> str:
    directory = tempfile.mkdtemp(prefix="sparkml-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory
