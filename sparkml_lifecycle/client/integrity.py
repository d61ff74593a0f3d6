"""The digests of a model's files: taken when a version is registered, held against them whenever it is loaded."""

import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sparkml_lifecycle.entities import ModelVersion
from sparkml_lifecycle.errors import IntegrityError, InvalidInput, NotFound
from sparkml_lifecycle.model import digest, manifest
from sparkml_lifecycle.storage import files_below

_SHOWN = 3


@dataclass(frozen=True)
class Taken:
    """What a model directory is: the digest of its files, its content digest, and the run that its ``MLmodel`` names."""

    files: str
    model: str
    run_id: str | None


def taken(directory: Path, place: str) -> Taken:
    """The digests of a model directory.

    Raises
    ------
    InvalidInput
        If it is no model.
    FormatError
        If its ``MLmodel`` cannot be read.
    """
    try:
        found = manifest.read(directory)
    except NotFound as error:
        raise InvalidInput(f"The source {place!r} is no model: {error}") from None
    files = _files(directory)
    return Taken(digest.over_all(files), digest.digest(directory, found, files), found.run_id)


def verified(fetch: Callable[[str], Path], version: ModelVersion) -> Path:
    """The directory of a version, if its files are those that were registered.

    Raises
    ------
    IntegrityError
        If they are not, or are gone.
    """
    known = f"Version {version.version} of the model {version.name!r}"
    try:
        directory = fetch(version.source)
    except NotFound:
        raise IntegrityError(f"{known} lies at {version.source!r}, and nothing is there any more.") from None
    now = digest.over_all(_files(directory))
    if now != version.digest:
        raise IntegrityError(
            f"{known} is not what was registered: its files at {version.source!r} had the digest {version.digest[:12]}… and have "
            f"{now[:12]}… now{_suspects(directory, version)}. Restore them, or register them as a new version."
        )
    return directory


def _suspects(directory: Path, version: ModelVersion) -> str:
    """Which files seem to be others, by their times; a download has only its own."""
    if str(directory) != version.source:
        return ""
    later = [
        name for name, path in files_below(directory) if path.stat().st_mtime * 1000 > version.creation_timestamp + 1000
    ]
    if not later:
        return " (a file is missing, or its times were set back)"
    when = datetime.fromtimestamp(version.creation_timestamp / 1000, UTC)
    more = f" and {len(later) - _SHOWN} more" if len(later) > _SHOWN else ""
    return f" (changed after {when:%Y-%m-%d %H:%M:%S} UTC: {', '.join(later[:_SHOWN])}{more})"


def _files(directory: Path) -> Mapping[str, str]:
    marks = []
    for name, path in files_below(directory):
        stat = os.stat(path)
        marks.append((name, path, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino))
    return _remembered(tuple(marks))


@functools.lru_cache(maxsize=256)
def _remembered(marks: tuple[tuple[Any, ...], ...]) -> Mapping[str, str]:
    # a stream asks for its model at every micro-batch; a file that was written since has other marks
    return digest.of_each((name, path) for name, path, *_ in marks)
