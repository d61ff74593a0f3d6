"""Many small files into one, fenced: of two compactors at once one commits and the other starts again.

delta-rs' own ``optimize.compact`` doubles every row when two processes run it at once, so it is never used on a lake.
"""

import json
import random
import time
from collections.abc import Callable
from typing import Any

from sparkml_lifecycle.errors import StorageError
from sparkml_lifecycle.lake import forked
from sparkml_lifecycle.lake.files import SMALL_BYTES, files_of, name_of_new, read, small_files, statistics, write
from sparkml_lifecycle.lake.recent import Recent
from sparkml_lifecycle.lake.rows import Fold, Row, schema, stamped
from sparkml_lifecycle.lake.tail import Tail
from sparkml_lifecycle.storage import Storage

SumUp = Callable[[Any, str], bool]
IDENTIFIER = "compactor"
# what a pass holds in memory, in a process that may be training a model
_PASS_BYTES, _PASS_ROWS = 8 * SMALL_BYTES, 1_000_000
# how many times the rows beside it a file may have, to be rewritten with them in passing
_MUCH, _WORTH_IT = 4, 10


class Content:
    """What a rewrite reads: the end of a table's log, and the rows of its files.

    Parameters
    ----------
    storage : Storage
    row_type : type
    """

    def __init__(self, storage: Storage, row_type: type[Row]) -> None:
        self.storage, self.row_type = storage, row_type

    def end(self) -> Any:
        """The end of the log where a commit through it can replace files: delta-rs' would lose to a busy writer again and again."""
        from deltalake import DeltaTable

        tail = Tail.opened(self.storage, self.row_type) if self.storage.is_local else None
        if tail is not None and tail.knows_all:
            return tail
        handle = DeltaTable(self.storage.delta_uri, storage_options=self.storage.delta_options())
        tail = Tail.of(self.storage, self.row_type, handle)
        return tail if tail is not None and tail.knows_all else handle

    def rows(self, path: str, target: Any) -> Any:
        """The rows of a file with the columns of an Arrow schema."""
        return read(self.storage, path, target)

    def put_together(self, files: list[dict[str, Any]], path: str, rows: Any) -> None:
        """Told of the file that has taken the place of others, once it has."""


class Followed(Content):
    """What a process that writes the table has of it already: where its log ends and, in memory, the rows of its newest files.

    Parameters
    ----------
    follow : callable
        The end of the log as it is now, for the caller alone; None where the process does not follow it.
    recent : Recent
    """

    def __init__(
        self, storage: Storage, row_type: type[Row], follow: Callable[[], Tail | None], recent: Recent
    ) -> None:
        super().__init__(storage, row_type)
        self._follow, self._recent = follow, recent

    def end(self) -> Any:
        """As :meth:`Content.end`, without reading what is known."""
        tail = self._follow()
        if tail is None or not tail.knows_all:
            return super().end()
        # as it is now: what it is held against when the files are replaced
        tail.remember(IDENTIFIER)
        return tail

    def rows(self, path: str, target: Any) -> Any:
        """As :meth:`Content.rows`, out of memory where they are there."""
        known = self._recent.known(path)
        return known if known is not None and known.schema.equals(target) else super().rows(path, target)

    def put_together(self, files: list[dict[str, Any]], path: str, rows: Any) -> None:
        """Remember the rows of the new file in the place of the others'."""
        # a program that knows more columns may have written the others
        if path and rows.schema.equals(schema(self.row_type)):
            self._recent.replace([file["path"] for file in files], path, rows)


def no_summary() -> SumUp:
    """Of a table without summaries."""
    return lambda content, path: True


def compact(content: Content, summing: Callable[[], SumUp] = no_summary) -> int:
    """Rewrite the small files of a table, a million rows at a time, as one each; returns how many files were replaced.

    What a concurrent writer appends stays as it is. What a lost race wrote is never read and removed by maintenance.
    :func:`gather` does less and is done in passing.

    Parameters
    ----------
    content : Content
    summing : callable
        See :func:`rewrite`.
    """
    count = 0
    # a pass leaves fewer small files than it found, so this ends
    while replaced := rewrite(content, _of_one_pass, lambda rows: rows, summing):
        count += replaced
    return count


def gather(content: Content, summing: Callable[[], SumUp] = no_summary) -> int:
    """Rewrite the newest small files as one, and what earlier calls made of others only where it is not much beside them.

    So a row is rewritten as often as a tree of its table is high, not at every call.
    """
    return rewrite(content, _newest, lambda rows: rows, summing)


def rewrite(
    content: Content,
    choose: Callable[[Any], list[dict[str, Any]]],
    keep: Callable[[Any], Any],
    summing: Callable[[], SumUp],
    attempts: int = 20,
) -> int:
    """Put one file in the place of others, fenced: of two at once one commits and the other starts again.

    Parameters
    ----------
    content : Content
    choose : callable
        Of a handle, the files to replace; none ends it.
    keep : callable
        Of the files' rows, those that stay; where that is none, the files are only removed.
    summing : callable
        Called before anything is read; gives what sums up the content of the new file, by its path, before that is
        committed. False starts again: rows were erased since, and what was read may hold them.

    Returns
    -------
    int
        How many files were replaced.
    """
    if forked.is_forked():
        raise StorageError("A forked process cannot rewrite a table; use the parent, or a process that was spawned.")
    from deltalake.exceptions import DeltaError

    tried: dict[str, int] = {}
    for attempt in range(attempts):
        try:
            sum_up = summing()
            handle = content.end()
            there = {file["path"] for file in files_of(handle)}
            for path, number in tried.items():
                if path in there:
                    return number
            files = choose(handle)
            if not files:
                return 0
            rows = arranged(content.row_type, keep(_rows_of(content, handle, files)))
            path = name_of_new() if rows.num_rows else ""
            if path:
                if not sum_up(rows, path):
                    continue
                tried[path] = len(files)
            _replace(content, handle, files, path, rows)
            content.put_together(files, path, rows)
            return len(files)
        except (DeltaError, OSError, StorageError):
            # an error does not say whether the commit landed; the next round looks
            if attempt == attempts - 1:
                raise
            time.sleep(random.uniform(0.5, 1.0) * 0.04 * (attempt + 1))
    return 0


def arranged(row_type: type[Row], content: Any) -> Any:
    """The rows of a new file: a run's beside one another; of summaries one for each key."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if issubclass(row_type, Fold) and content.num_rows:
        markers = content.filter(pc.is_valid(content["covers"]))
        summary = row_type.summarise(content.filter(pc.is_null(content["covers"])))
        stamps = {"by": "", "writer": "", "at": pc.max(content["at"]).as_py(), "seq": pc.max(content["seq"]).as_py()}
        content = pa.concat_tables([stamped(row_type, summary, **stamps), markers.cast(schema(row_type))])
    by = row_type.SORTED_BY or row_type.KEY
    return content.sort_by([(name, "ascending") for name in by]) if by else content


def _newest(handle: Any) -> list[dict[str, Any]]:
    found = sorted(small_files(handle), key=lambda file: (file.get("max.seq") or 0, file["path"]), reverse=True)
    if len(found) < 2 * _WORTH_IT:
        # who lost the race against another compaction finds little left to do
        return []
    picked: list[dict[str, Any]] = []
    rows = 0
    for file in found:
        mine = file.get("num_records") or 0
        if rows + mine > _PASS_ROWS or (len(picked) >= _WORTH_IT and mine > _MUCH * rows):
            break
        picked.append(file)
        rows += mine
    return picked if len(picked) > 1 else []


def _of_one_pass(handle: Any) -> list[dict[str, Any]]:
    picked: list[dict[str, Any]] = []
    size = rows = 0
    for file in sorted(small_files(handle), key=lambda file: (file.get("min.seq") or 0, file["path"])):
        size, rows = size + file["size_bytes"], rows + (file.get("num_records") or 0)
        if len(picked) > 1 and (size > _PASS_BYTES or rows > _PASS_ROWS):
            break
        picked.append(file)
    return picked if len(picked) > 1 else []


def _rows_of(content: Content, handle: Any, files: list[dict[str, Any]]) -> Any:
    import pyarrow as pa

    target = schema(content.row_type) if isinstance(handle, Tail) else pa.schema(handle.schema().to_arrow())
    return pa.concat_tables([content.rows(file["path"], target) for file in files])


def _replace(content: Content, handle: Any, files: list[dict[str, Any]], path: str, rows: Any) -> None:
    from deltalake.transaction import AddAction, CommitProperties, RemoveAction, Transaction

    size = write(content.storage, path, rows) if path else 0
    if isinstance(handle, Tail):
        return handle.replace(files, path, size, rows, IDENTIFIER)
    generation = (handle.transaction_version(IDENTIFIER) or 0) + 1
    now = int(time.time() * 1000)
    actions: list[Any] = []
    if path:
        actions = [AddAction(path, size, {}, now, False, json.dumps(statistics(rows, content.row_type)))]
    actions += [RemoveAction(file["path"], False, now, file["size_bytes"], {}) for file in files]
    properties = CommitProperties(app_transactions=[Transaction(IDENTIFIER, generation)], max_commit_retries=100)
    handle.create_write_transaction(actions, "append", handle.schema(), commit_properties=properties)
