"""Keeping a table small and quick, and erasing rows that must really go; safe beside writers and beside others of its kind."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sparkml_lifecycle.errors import LifecycleError, StorageError
from sparkml_lifecycle.lake import compaction, log
from sparkml_lifecycle.lake.files import files_of, read
from sparkml_lifecycle.lake.table import Table
from sparkml_lifecycle.lake.tail import Tail
from sparkml_lifecycle.storage import Storage, said
from sparkml_lifecycle.storage.filesystem import is_part

RETENTION_HOURS = 168
_HALF_WRITTEN_HOURS = 1
_ATTEMPTS = 10


@dataclass(frozen=True)
class Upkeep:
    """What upkeep of one table did.

    Attributes
    ----------
    table : str
    live_before, live_after : int
        Files that the table consists of.
    log_before, log_after : int
        Files in its log.
    bytes_before, bytes_after : int
        All that lies in its directory.
    """

    table: str
    live_before: int
    live_after: int
    log_before: int
    log_after: int
    bytes_before: int
    bytes_after: int


def keep_up(table: Table[Any], retention_hours: int = RETENTION_HOURS) -> Upkeep | None:
    """Fold, compact, vacuum, checkpoint and shorten the log; None where the table is not there yet.

    Parameters
    ----------
    table : Table
    retention_hours : int
        How long files stay that no version needs any more, for readers that hold an older one.
    """
    before = _measure(table)
    if before is None:
        return None
    table.compact()
    if retention_hours < _HALF_WRITTEN_HOURS:
        vacuum(table, retention_hours, orphans=False)
    # a file that no version knows may be a commit under way
    vacuum(table, max(retention_hours, _HALF_WRITTEN_HOURS))
    # after the commits of the vacuum, so that nothing is left to do
    checkpoint(table)
    log.clean(table.storage, many=0)
    after = _measure(table) or before
    pairs = [number for pair in zip(before, after, strict=True) for number in pair]
    return Upkeep(table.row_type.TABLE, *pairs)


def checkpoint(table: Table[Any]) -> None:
    """Write the table's state as one file, so that opening it reads no long log."""

    def once() -> None:
        handle = table.snapshot(fresh=True).handle
        if handle is not None:
            handle.create_checkpoint()

    _insist(once)


def vacuum(table: Table[Any], retention_hours: int, orphans: bool = True) -> None:
    """Delete the files that no version within the retention time needs, and what killed writers left half written."""

    def once() -> None:
        handle = table.snapshot(fresh=True).handle
        if handle is None:
            return
        options: dict[str, Any] = {"enforce_retention_duration": False, "full": orphans}
        there = {file.path for file in table.storage.list()}
        # what is gone already stays in the log for a week, and each vacuum of it would be two commits
        if there.intersection(handle.vacuum(retention_hours, dry_run=True, **options)):
            handle.vacuum(retention_hours, dry_run=False, **options)

    _insist(once)
    _sweep(table.storage)


def erase(table: Table[Any], column: str, value: str, fenced: bool = True) -> int:
    """Take all rows with ``column = value`` out of a table, and out of the files and the log that remain on the storage.

    Readers of an older version have to begin again. What another process writes for that value at the same time may stay.
    Of a table with summaries first the table is erased from, then its fold.

    Parameters
    ----------
    table : Table
    column, value : str
    fenced : bool
        Whether summaries are refused that others make of rows which they read before; it takes a commit to the fold.

    Returns
    -------
    int
        How many rows there were.
    """
    import pyarrow.compute as pc

    count = 0

    def keep(content: Any) -> Any:
        nonlocal count
        stays = pc.invert(pc.fill_null(pc.equal(content[column], value), False))
        count = len(content) - (pc.sum(stays).as_py() or 0)
        return content.filter(stays)

    total = 0
    if table.snapshot(fresh=True).handle is None:
        return 0
    content = compaction.Content(table.storage, table.row_type)
    while compaction.rewrite(content, _holding(table.storage, column, value), keep, table.summing):
        total += count
    if fenced and table.fold is not None:
        # whoever read these rows before may be about to put down a summary of them
        table.fold.fence()
    # files replaced by earlier compactions held these rows too; and one that was killed here is finished by the next
    vacuum(table, 0, orphans=False)
    _drop_uncommitted(table, column, value)
    vacuum(table, _HALF_WRITTEN_HOURS)
    checkpoint(table)
    log.clean(table.storage, many=0, settled_seconds=0.0)
    return total


def _drop_uncommitted(table: Table[Any], column: str, value: str) -> None:
    """Delete files with such a row that no version knows, as a killed compaction leaves them; one under way has lost its race."""
    known = {file["path"] for file in files_of(table.snapshot(fresh=True).handle)}
    for file in table.storage.list():
        if file.path.endswith(".parquet") and file.path not in known:
            try:
                held = _holds(table.storage, file.path, column, value)
            except (OSError, ValueError, LifecycleError):
                # half written, or gone by now
                continue
            if held:
                table.storage.delete(file.path)


def _insist(work: Callable[[], None]) -> None:
    """Do it again where another process, at upkeep of the same table, took away what it stood on."""
    from deltalake.exceptions import DeltaError

    for _ in range(_ATTEMPTS - 1):
        try:
            return work()
        except (DeltaError, OSError):
            time.sleep(random.uniform(0.02, 0.1))
    try:
        work()
    except (DeltaError, OSError) as error:
        raise StorageError(f"The table cannot be kept up: {said(error)}") from None


def _holding(storage: Storage, column: str, value: str) -> Callable[[Any], list[dict[str, Any]]]:
    """Chooses one file that has such a row: by its statistics, then by its content."""

    def choose(handle: Any) -> list[dict[str, Any]]:
        import pyarrow as pa

        # with the bounds of all columns
        delta = handle.delta() if isinstance(handle, Tail) else handle
        for file in pa.table(delta.get_add_actions(flatten=True)).to_pylist():
            least, most = file.get(f"min.{column}"), file.get(f"max.{column}")
            if least is not None and most is not None and not least <= value <= most:
                continue
            if _holds(storage, file["path"], column, value):
                return [file]
        return []

    return choose


def _holds(storage: Storage, path: str, column: str, value: str) -> bool:
    import pyarrow as pa
    import pyarrow.compute as pc

    found = read(storage, path, pa.schema([pa.field(column, pa.string())]))[column]
    return bool(pc.any(pc.equal(found, value)).as_py())


def _measure(table: Table[Any]) -> tuple[int, int, int] | None:
    handle = table.snapshot(fresh=True).handle
    if handle is None:
        return None
    files = [file for file in table.storage.list(recursive=True) if not file.is_dir]
    logs = sum(file.path.startswith("_delta_log/") for file in files)
    return len(files_of(handle)), logs, sum(file.size or 0 for file in files)


def _sweep(storage: Storage) -> None:
    # a killed commit leaves `00….json#1`, a killed checkpoint `….checkpoint.parquet#1`
    before = time.time() - 3600 * _HALF_WRITTEN_HOURS
    for file in storage.list("_delta_log"):
        name = file.path.rpartition("/")[2]
        if ("#" in name or is_part(name)) and file.modified < before:
            storage.delete(file.path)
