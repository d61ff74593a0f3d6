"""A run's files, wherever they lie; local ones appear whole or not at all."""

import atexit
import functools
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from sparkml_lifecycle import uris
from sparkml_lifecycle.entities import FileInfo
from sparkml_lifecycle.errors import InvalidInput, NotFound
from sparkml_lifecycle.storage import Storage, open_storage


class Artifacts:
    """The artifacts at one URI."""

    def __init__(self, uri: str) -> None:
        self._storage: Storage = open_storage(uri)

    def put(self, local_path: str | Path, artifact_path: str | None = None) -> None:
        """Copy a local file, or a directory under its name, below ``artifact_path``."""
        source = Path(local_path)
        name = source.resolve().name
        self._storage.upload(source, uris.join(uris.check_relative(artifact_path), name) if artifact_path else name)

    def put_content(self, local_dir: str | Path, artifact_path: str | None = None) -> None:
        """Copy what a local directory holds below ``artifact_path``."""
        if not Path(local_dir).is_dir():
            raise NotFound(f"There is no directory {str(local_dir)!r}. For a file: log_artifact().")
        self._storage.upload(local_dir, uris.check_relative(artifact_path) if artifact_path else "")

    def put_text(self, text: str, artifact_file: str) -> None:
        """Write a text file, UTF-8."""
        self._storage.write_bytes(uris.check_relative(artifact_file), text.encode())

    def put_dict(self, dictionary: Any, artifact_file: str) -> None:
        """Write JSON, or YAML where the file's name ends so."""
        if artifact_file.endswith((".yml", ".yaml")):
            import yaml

            return self.put_text(yaml.safe_dump(dictionary, sort_keys=False), artifact_file)
        self.put_text(json.dumps(dictionary, indent=2, default=str), artifact_file)

    def put_figure(self, figure: Any, artifact_file: str, **save: Any) -> None:
        """Write a matplotlib figure in the format of the file's name, or a Plotly figure as HTML."""
        if hasattr(figure, "savefig"):
            self._through_file(artifact_file, lambda path: figure.savefig(path, **save))
        elif hasattr(figure, "write_html"):
            self._through_file(artifact_file, lambda path: figure.write_html(path, **save))
        else:
            raise InvalidInput(f"A figure is matplotlib's or Plotly's, found {type(figure).__name__}.")

    def put_image(self, image: Any, artifact_file: str) -> None:
        """Write a PIL image, or an array of (height, width) or (height, width, 1, 3 or 4): floats in 0 to 1, or integers in 0 to 255."""
        if hasattr(image, "save"):
            return self._through_file(artifact_file, image.save)
        import numpy as np

        from sparkml_lifecycle.errors import MissingLibrary

        try:
            from PIL import Image
        except ImportError:
            raise MissingLibrary("Images need Pillow: pip install pillow.") from None
        pixels = np.asarray(image)
        if pixels.ndim == 3 and pixels.shape[2] == 1:
            pixels = pixels[:, :, 0]
        if pixels.ndim not in (2, 3):
            raise InvalidInput(
                f"An image has the shape (height, width) or (height, width, channels), found {pixels.shape}."
            )
        if pixels.dtype.kind == "f":
            pixels = np.clip(pixels, 0, 1) * 255
        self._through_file(artifact_file, Image.fromarray(pixels.astype("uint8")).save)

    def put_table(self, data: Any, artifact_file: str) -> None:
        """Write a frame or a dict of columns as JSON (``orient="split"``, as MLflow), or as Parquet where the name ends so."""
        import pandas as pd

        frame = data if isinstance(data, pd.DataFrame) else pd.DataFrame(data)
        if artifact_file.endswith(".parquet"):
            return self._through_file(artifact_file, lambda path: frame.to_parquet(path, index=False))
        if not artifact_file.endswith(".json"):
            raise InvalidInput(f"A table is written as .json or .parquet, found {artifact_file!r}.")
        self.put_text(frame.to_json(orient="split", index=False) or "", artifact_file)

    def put_stream(self, stream: Any, artifact_file: str) -> None:
        """Write what a binary file object gives, without holding it in memory."""
        self._through_file(artifact_file, lambda path: _copy(stream, path))

    def table(self, artifact_file: str) -> Any:
        """A table that :meth:`put_table` wrote, as a pandas frame; None where there is none."""
        import pandas as pd

        clean = uris.check_relative(artifact_file)
        if not self._storage.exists(clean):
            return None
        with tempfile.TemporaryDirectory(prefix="sparkml-") as directory:
            local = self._storage.download(clean, Path(directory) / Path(clean).name)
            return pd.read_parquet(local) if clean.endswith(".parquet") else pd.read_json(local, orient="split")

    def list(self, path: str | None = None) -> list[FileInfo]:
        """What lies directly below ``path``."""
        found = self._storage.list(uris.check_relative(path) if path else "")
        return [
            FileInfo(file.path, file.is_dir, file.size) for file in found if not Path(file.path).name.endswith(".part")
        ]

    def download(self, path: str, destination: str | Path | None) -> Path:
        """A local copy of a file or directory; without a destination the thing itself where it is on this machine."""
        return fetch(self._storage, uris.check_relative(path) if path else "", destination)

    def _through_file(self, artifact_file: str, write: Any) -> None:
        clean = uris.check_relative(artifact_file)
        with tempfile.TemporaryDirectory(prefix="sparkml-") as directory:
            local = Path(directory) / Path(clean).name
            write(str(local))
            self._storage.upload(local, clean)


def _copy(stream: Any, path: str) -> None:
    with open(path, "wb") as file:
        shutil.copyfileobj(stream, file, 4 * 1024 * 1024)


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
    return storage.download(path, base / name if path or destination is None else base)


@functools.cache
def _downloads() -> str:
    directory = tempfile.mkdtemp(prefix="sparkml-")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory
