"""The JSON commits of a Delta table: what each added and removed, and what a job said of its own."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from sparkml_lifecycle.errors import NotFound
from sparkml_lifecycle.storage import Storage

# a commit of a job says under this name what it did
OURS = "sparkml_lifecycle"
# gives the text of a file below a table's directory, None where there is none
ReadText = Callable[[str], str | None]


def reader(storage: Storage) -> ReadText:
    """Reads the files below a table's directory without Spark."""

    def read_text(path: str) -> str | None:
        try:
            return storage.read_bytes(path).decode()
        except NotFound:
            return None

    return read_text


class Gap(Exception):
    """A commit is not in the log any more."""

    def __init__(self, version: int) -> None:
        super().__init__(version)
        self.version = version


@dataclass(frozen=True)
class Entry:
    """One commit, as far as rows changed.

    Attributes
    ----------
    version : int
    added : tuple of str
        The add actions that brought rows, as the log has them.
    removed : tuple of str
        The paths whose rows were taken away, for good or in another file.
    moved : tuple of str
        The paths whose rows are in another file now, as after a compaction.
    arrived : tuple of str
        The paths of those other files.
    said : mapping
        What a job of this package said of its commit; empty for another's.
    operation : str
        Delta's name for what was done.
    rows : int or None
        How many rows were written, where the commit says so.
    """

    version: int
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    moved: tuple[str, ...] = ()
    arrived: tuple[str, ...] = ()
    said: Mapping[str, Any] = field(default_factory=dict)
    operation: str = ""
    rows: int | None = None

    @property
    def changes_rows(self) -> bool:
        """Whether the table had other rows after it."""
        return bool(self.added or self.removed)


def entries(read: ReadText, first: int, last: int) -> list[Entry]:
    """The commits of the versions from ``first`` to ``last``.

    Raises
    ------
    Gap
        If one of them is not in the log any more; with the newest of those.
    """
    found = list(_backwards(read, first, last))
    if len(found) < last - first + 1:
        raise Gap(last - len(found))
    return found[::-1]


def latest(read: ReadText, first: int, last: int) -> list[Entry]:
    """As :func:`entries`, but only those after the newest that is missing."""
    return list(_backwards(read, first, last))[::-1]


def _backwards(read: ReadText, first: int, last: int) -> Iterator[Entry]:
    for version in range(last, first - 1, -1):
        text = read(f"_delta_log/{version:020}.json")
        if text is None:
            return
        yield parse(version, text)


def parse(version: int, text: str) -> Entry:
    """One commit out of its file's text."""
    added: list[str] = []
    removed: list[str] = []
    moved: list[str] = []
    arrived: list[str] = []
    info: dict[str, Any] = {}
    # only this ends a line of JSON: a text may hold what Python takes for one as well
    for line in text.split("\n"):
        if line.startswith('{"add"'):
            action = json.loads(line)["add"]
            if action.get("dataChange", True):
                added.append(line)
            else:
                arrived.append(unquote(action["path"]))
        elif line.startswith('{"remove"'):
            action = json.loads(line)["remove"]
            (removed if action.get("dataChange", True) else moved).append(unquote(action["path"]))
        elif line.startswith('{"commitInfo"'):
            info = json.loads(line)["commitInfo"]
    return Entry(
        version, tuple(added), tuple(removed), tuple(moved), tuple(arrived), said_by(info.get("userMetadata")),
        str(info.get("operation", "")), _rows(info.get("operationMetrics")),
    )  # fmt: skip


def said_by(metadata: Any) -> Mapping[str, Any]:
    """What a job of this package wrote as a commit's ``userMetadata``; empty for anything else."""
    try:
        said = json.loads(metadata)[OURS]
    except (TypeError, ValueError, KeyError):
        return {}
    return said if isinstance(said, dict) else {}


def path_of(add: str) -> str:
    """The path of an add action, decoded: relative to the table, or absolute."""
    return path_and_size(add)[0]


def path_and_size(add: str) -> tuple[str, int]:
    """The path of an add action, decoded, and its bytes."""
    action = json.loads(add)["add"]
    return unquote(action["path"]), int(action["size"])


def _rows(metrics: Any) -> int | None:
    try:
        return int(metrics["numOutputRows"])
    except (TypeError, KeyError, ValueError):
        return None
