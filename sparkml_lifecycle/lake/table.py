"""One table of a lake: append, compare and swap, read. Every row of the product reaches Delta through :func:`commit_rows`."""

import os
import random
import threading
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

from sparkml_lifecycle import uris
from sparkml_lifecycle.errors import LifecycleError, NotFound, StorageError
from sparkml_lifecycle.lake import compaction, forked, order, rows
from sparkml_lifecycle.lake.files import files_of, is_small, largest_seq, read
from sparkml_lifecycle.lake.groups import Group, Groups
from sparkml_lifecycle.lake.recent import Parts, Recent
from sparkml_lifecycle.lake.rows import ClaimedRow, R
from sparkml_lifecycle.lake.snapshot import Snapshot, query
from sparkml_lifecycle.lake.sql import literal, name
from sparkml_lifecycle.lake.tail import CHECKPOINT_EVERY, Overtaken, Tail
from sparkml_lifecycle.lake.tidying import Tidying
from sparkml_lifecycle.lake.where import Where
from sparkml_lifecycle.origin import readable
from sparkml_lifecycle.storage import Storage, said

T = TypeVar("T")
_REOPEN_EVERY = 50
_COMMIT_RETRIES = 100
_ATTEMPTS = 12
# how often a claim may lose to another one: eight processes that claim one name without a pause need some forty
_TURNS = 400
_OPENINGS = 5
_ERASER = "eraser"
LAKE_FILE = "lake.json"
_PROPERTIES = {
    "delta.checkpointInterval": str(CHECKPOINT_EVERY),
    "delta.logRetentionDuration": "interval 10 minutes",
    "delta.setTransactionRetentionDuration": "interval 7 days",
}


class Writer:
    """Who writes: a uuid of this lake in this process, a name, and the clock."""

    def __init__(self, by: str, clock: order.Clock = order.now) -> None:
        self.by, self.clock = readable(by), clock
        self._id, self._pid = uuid.uuid4().hex, os.getpid()

    @property
    def id(self) -> str:
        """The uuid; a forked child has its own."""
        if self._pid != os.getpid():
            self._id, self._pid = uuid.uuid4().hex, os.getpid()
        return self._id


@dataclass
class Batch(Generic[R]):
    """The rows of one flush; it keeps its ``seq`` over all attempts, so that however often it is tried it counts once.

    ``rows`` are dataclass rows, or an Arrow table with the columns of the row class beside those that every row carries.
    """

    rows: Any
    seq: int | None = None
    tried: bool = False


@dataclass(frozen=True)
class Fence:
    """A batch is committed only while an identifier is where it was seen, and moves it on."""

    identifier: str
    seen: int
    then: int


@dataclass(frozen=True)
class Change(Generic[R]):
    """What :meth:`Table.claim` is to commit: rows and the identifiers, each with the version that the change makes it."""

    rows: Sequence[R]
    identifiers: Mapping[str, int]


def read_again(tables: "Sequence[Table[Any]]", sql: str) -> Any:
    """A query over tables as they are now; where files have gone since a handle was opened, once more through fresh ones."""
    try:
        return query([table.snapshot() for table in tables], sql)
    except StorageError:
        return query([table.snapshot(fresh=True) for table in tables], sql)


def commit_rows(handle: Any, data: Any, transactions: Sequence[tuple[str, int, int | None]]) -> str | None:
    """Append Arrow rows through ``handle`` in one commit, under identifiers with versions and times; the only place where rows become Delta.

    Returns the path of the new file, where that is known.
    """
    if isinstance(handle, (forked.Handle, Tail)):
        return handle.append(data, transactions)
    from deltalake import write_deltalake
    from deltalake.transaction import CommitProperties, Transaction

    properties = CommitProperties(
        custom_metadata={"isBlindAppend": True},
        max_commit_retries=_COMMIT_RETRIES,
        app_transactions=[Transaction(*one) for one in transactions],
    )
    write_deltalake(handle, data, mode="append", schema_mode="merge", commit_properties=properties)
    return None


class Table(Generic[R]):
    """A table of a lake; safe to use from several threads, and beside any number of other processes.

    Parameters
    ----------
    row_type : type
        The dataclass that is the table.
    storage : Storage
        Where the table lies.
    writer : Writer
    before_write : callable
        Called before the first write; it prepares the lake.
    fold : Table, optional
        The table of summaries of this one.
    """

    def __init__(
        self,
        row_type: type[R],
        storage: Storage,
        writer: Writer,
        before_write: Callable[[], None],
        fold: "Table[Any] | None" = None,
    ) -> None:
        rows.columns(row_type)
        self.row_type = row_type
        self.storage = storage
        self.writer = writer
        self.fold = fold
        self._before_write = before_write
        self._lock = threading.RLock()
        self._handle: Any = None
        self._tail: Tail | None = None
        # a handle for each reading thread: one that moves while another thread's query begins would show it two versions
        self._reading = threading.local()
        self._ahead: list[Any] = []
        self._recent = Recent(row_type, storage)
        self._groups: Groups[Any] = Groups(row_type)
        self._answered: tuple[Parts | None, Any, Any] = (None, None, None)
        # the file of the lake, which never changes: it tells a lake from one that was put in its place
        self._marker = storage.local_path.parent / LAKE_FILE if storage.is_local else None
        self._seen: Any = None
        self._commits = self._last_seq = 0
        self._pid = os.getpid()
        self._left: list[Any] = []
        self._tidying = self._new_tidying()

    # -- reading ---------------------------------------------------------------------------------------------------------

    def snapshot(self, fresh: bool = False) -> Snapshot:
        """The table as it is now, with ``fresh`` through a new handle; opening it writes nothing."""
        self._settle()
        self._look()
        mine = self._reading
        mine.reads = getattr(mine, "reads", 0) + 1
        handle = getattr(mine, "handle", None) if mine.reads % _REOPEN_EVERY and not fresh else None
        if handle is None and not fresh and self._ahead:
            handle = self._taken_ahead()
        if handle is not None:
            try:
                handle.update_incremental()
            except Exception:  # log cleaning may have taken what the handle stood on; a fresh one says what is wrong
                handle = None
        mine.handle = self._open() if handle is None else handle
        return Snapshot(self.row_type, mine.handle)

    def look(self, read: Callable[[Snapshot], T]) -> T:
        """What ``read`` makes of the table as it is now; on this machine's disks that is known without opening it anew.

        Other threads wait meanwhile; it is called again where compaction has removed what it was about to read.
        """
        self._settle()
        with self._lock:
            try:
                return read(Snapshot(self.row_type, self._tip()))
            except (StorageError, FileNotFoundError):
                self._tail = self._handle = None
                return read(Snapshot(self.row_type, self._tip(fresh=True)))

    def group(self, column: str, value: str, seen: Snapshot) -> Group[Any]:
        """The rows with a value in a text column, as objects, within :meth:`look` or :meth:`claim`; asked for again they are not read again."""
        return self._groups.of(self.parts(seen), column, value, lambda where: self._rows_at(seen, where, None))

    def open_ahead(self) -> None:
        """Open the table and read its newest rows for a thread that is about to ask for its first :meth:`snapshot`."""
        if self._ahead or (handle := self._open()) is None:
            return
        self._recent.parts(handle)
        self._ahead.append(handle)

    @property
    def is_open(self) -> bool:
        """Whether this thread has read the table before."""
        return self._pid == os.getpid() and getattr(self._reading, "handle", None) is not None

    def _taken_ahead(self) -> Any:
        try:
            return self._ahead.pop()
        except IndexError:
            # another thread was faster
            return None

    def query(self, sql: str) -> Any:
        """An Arrow table of a query over this table, by its name."""
        return read_again([self], sql)

    def rows(self, where: Where, columns: Sequence[str] | None = None, snapshot: Snapshot | None = None) -> Any:
        """The rows that fit, as an Arrow table of ``columns`` (all where not given)."""
        if where.is_nothing:
            return rows.empty(rows.schema(self.row_type)).select(columns or rows.schema(self.row_type).names)
        if snapshot is not None:
            return self._rows_at(snapshot, where, columns)
        if (parts := self._in_memory()) is not None:
            return parts.fitting(where).select(list(columns or parts.schema.names))
        try:
            return self._rows_at(self.snapshot(), where, columns)
        except (StorageError, FileNotFoundError):
            # compaction may have removed what a handle of before stands on
            return self._rows_at(self.snapshot(fresh=True), where, columns)

    def latest(self, where: Where) -> list[R]:
        """The row of each key that counts, among those that fit."""
        return rows.from_arrow(self.row_type, self.counting(where))

    def counting(self, where: Where, columns: Sequence[str] | None = None) -> Any:
        """The rows that count, of each key the last or the first, as an Arrow table of ``columns`` (all where not given).

        ``where`` must let through all rows of a key or none, so it names columns that never change of a key, or a time.
        """
        kind = self.row_type
        wanted = [*dict.fromkeys([*kind.KEY, "seq", "at", "writer", *columns])] if columns is not None else None
        parts = None if where.is_nothing else self._in_memory()
        if parts is None:
            return order.latest(self.rows(where, wanted), kind.KEY, first=kind.KEEP == "first")
        # what is asked before a step is often asked again after it
        question = (tuple((column, tuple(values)) for column, values in where.among.items()), wanted)
        seen, asked, found = self._answered
        if seen is not parts or asked != question or where.as_of is not None:
            rows = parts.fitting(where).select(wanted or parts.schema.names)
            found = order.latest(rows, kind.KEY, first=kind.KEEP == "first")
            self._answered = (None, None, None) if where.as_of is not None else (parts, question, found)
        return found

    def parts(self, snapshot: Snapshot) -> Parts:
        """A snapshot in two parts: the newest rows, which are in memory, and how far the others go."""
        return self._recent.parts(snapshot.handle)

    def _in_memory(self) -> Parts | None:
        """The table as it is now, where this process writes to it and all of it is in memory: then no handle need be brought up to date."""
        self._settle()
        with self._lock:
            self._look()
            if self._tail is None or not self._tail.catch_up():
                return None
            try:
                parts = self._recent.parts(self._tail)
            except (StorageError, FileNotFoundError):
                return None
            return parts if parts.since is None else None

    def _rows_at(self, snapshot: Snapshot, where: Where, columns: Sequence[str] | None) -> Any:
        import pyarrow as pa

        names = list(columns or rows.schema(self.row_type).names)
        parts = self.parts(snapshot)
        found = [parts.fitting(where).select(names)]
        if parts.since is not None:
            picked = ", ".join(map(name, dict.fromkeys([*names, *where.columns])))
            sql = f"select {picked} from {name(self.row_type.TABLE)} where {where.sql()} and seq <= {parts.since}"
            older = self._recent.older(parts, sql, snapshot.query)
            found.append(where.of(older).select(names).cast(found[0].schema))
        return pa.concat_tables(found)

    def to_arrow(self, as_of: datetime | None = None) -> Any:
        """Every row, as an Arrow table with the columns that this program knows; with ``as_of`` those that were there then."""
        return self.rows(Where(as_of=as_of))

    def to_pandas(self, as_of: datetime | None = None) -> Any:
        """Every row, as a pandas frame; with ``as_of`` those that were there then."""
        return self.to_arrow(as_of).to_pandas()

    def to_spark(self, spark: Any, as_of: datetime | None = None) -> Any:
        """Every row, as a Spark DataFrame, read by Spark itself; with ``as_of`` those that were there then.

        Raises
        ------
        NotFound
            If nothing has been written to the table yet.
        """
        Where(as_of=as_of)  # checks it
        if self._open() is None:
            raise NotFound(f"The table {self.storage.uri!r} is not there yet: nothing was logged to it.")
        frame = spark.read.format("delta").load(uris.for_spark(self.storage.uri))
        return frame if as_of is None else frame.where(frame["at"] <= as_of)

    # -- writing ---------------------------------------------------------------------------------------------------------

    def append(self, new: Sequence[R]) -> None:
        """Commit rows, exactly once; returns when they are there.

        Raises
        ------
        StorageError
            If the storage refuses for good.
        """
        self.commit(Batch(new))

    def commit(self, batch: Batch[R], fence: Fence | None = None) -> bool:
        """Commit a batch, exactly once, however often it is handed over; returns whether the rows are there.

        With ``fence`` only while its identifier is where it was seen.
        """
        if not len(batch.rows):
            return True
        kept = batch.rows if hasattr(batch.rows, "schema") else rows.one_per_key(self.row_type, batch.rows)
        self._settle()

        quick = not batch.tried

        def once(end: Any) -> bool:
            if batch.tried and self._count(end, f"writer = {literal(self.writer.id)} and seq = {literal(batch.seq)}"):
                return True
            if fence is not None and fence.seen != Snapshot(self.row_type, end).version_of(fence.identifier):
                return False
            if batch.seq is None:
                batch.seq = self._last_seq = self._next_seq(end)
            batch.tried = True
            stamps: dict[str, Any] = {"by": self.writer.by, "writer": self.writer.id, "seq": batch.seq}
            if hasattr(kept, "schema"):
                data = rows.stamped(self.row_type, kept, at=self.now(), **stamps)
            else:
                data = rows.to_arrow(self.row_type, kept, **stamps)
            # who moves the identifier at the same time makes this fail, and then it is looked again
            fences = [] if fence is None else [(fence.identifier, fence.then, None)]
            commit_rows(end, data, [(self.writer.id, batch.seq, int(time.time() * 1000)), *fences])
            return True

        with self._lock:
            there = self._insist(once, quick)
            self._after_commit()
        return there

    def fence(self) -> None:
        """From now on no summary is put down here of rows that were read before."""

        def once(handle: Any) -> None:
            times = Snapshot(self.row_type, handle).version_of(_ERASER)
            commit_rows(handle, rows.empty(rows.schema(self.row_type)), [(_ERASER, times + 1, None)])

        with self._lock:
            self._insist(once)

    def claim(self, decide: Callable[[Snapshot], Change[R]]) -> list[R]:
        """Compare and swap: read, decide and commit through one handle; if a rival was first, read and decide again.

        Parameters
        ----------
        decide : callable
            Given the table at one version, the change to make; one without rows commits nothing, and it may raise a
            :class:`LifecycleError` to give up. It is called again for each attempt.

        Returns
        -------
        list of rows
            What was committed.
        """
        self._settle()
        claim = uuid.uuid4().hex
        landed = f"claim = {literal(claim)}"
        done: list[R] = []
        tried = False

        def once(handle: Any) -> None:
            nonlocal done, tried
            seen = Snapshot(self.row_type, handle)
            if tried and (found := self._written(handle, landed)):
                done = found
                return
            change = decide(seen)
            if not change.rows:
                done = []
                return
            seq = self._next_seq(handle)
            stamps = {"by": self.writer.by, "writer": self.writer.id, "seq": seq, "claim": claim}
            done = [replace(row, **stamps) for row in change.rows]  # type: ignore[arg-type]
            tried = True
            # without last_updated, so that claims never expire
            identifiers = [(name, version, None) for name, version in change.identifiers.items()]
            data = rows.to_arrow(self.row_type, done)
            try:
                path = commit_rows(handle, data, identifiers)
            except Overtaken:
                tried = False
                raise
            self._last_seq = seq
            if path is not None:
                self._recent.remember(path, data)
                self._groups.remember(path, done)

        if not issubclass(self.row_type, ClaimedRow):
            raise TypeError(f"{self.row_type.__name__} is not a ClaimedRow.")
        with self._lock:
            self._insist(once, quick=True)
            self._after_commit(aside=True)
        return done

    def compact(self, in_passing: bool = False) -> int:
        """Rewrite the small files as one, and sum up what no summary covers yet; returns how many small files there were.

        ``in_passing`` only the newest of them, see :func:`sparkml_lifecycle.lake.compaction.gather`.
        """
        if not in_passing and self._open() is None:
            return 0
        if in_passing:
            known = compaction.Followed(self.storage, self.row_type, self._twin, self._recent)
            count = compaction.gather(known, self.summing)
        else:
            count = compaction.compact(compaction.Content(self.storage, self.row_type), self.summing)
        if self.fold is not None:
            self._fold_the_rest()
        return count

    def uncovered(self, snapshot: Snapshot, covered: Collection[str]) -> list[dict[str, Any]]:
        """The files of a snapshot that no summary covers: their path, rows and smallest ``seq``."""
        return [file for file in files_of(snapshot.handle) if file["path"] not in covered]

    def covered(self, fold: Snapshot | None = None) -> set[str]:
        """The names of the files of this table that are summed up, by a snapshot of the fold or by the fold as it is now."""
        if self.fold is None:
            return set()
        sql = f"select covers from {self.fold.row_type.TABLE} where covers is not null"
        return set((self.fold if fold is None else fold).query(sql)["covers"].to_pylist())

    def summing(self) -> compaction.SumUp:
        """What sums a file up before it is put in the place of others, so that whoever sees it finds its summary.

        It is asked for before the rows are read, and says False where some were erased since.
        """
        import pyarrow as pa

        if self.fold is None:
            return compaction.no_summary()
        fold, kind = self.fold, self.fold.row_type
        erasures = fold.snapshot().version_of(_ERASER)

        def sum_up(content: Any, path: str) -> bool:
            summary = pa.concat_tables([kind.summarise(content), kind.covering(path)], promote_options="default")
            return fold.commit(Batch(summary), Fence(_ERASER, erasures, erasures))

        return sum_up

    def _fold_the_rest(self) -> None:
        """Sum up the files that are too large to be compacted, where they lie."""
        sum_up = self.summing()
        seen = self.snapshot(fresh=True)
        for file in self.uncovered(seen, self.covered()):
            if not is_small(file["size_bytes"]):
                sum_up(read(self.storage, file["path"], rows.schema(self.row_type)), file["path"])

    def _settle(self) -> None:
        """In a forked child, leave what belongs to the parent: its handles, which may not even be freed here, and its locks."""
        if self._pid == os.getpid():
            return
        self._pid = os.getpid()
        self._left += [self._handle, self._tail, self._reading, self._ahead]
        self._tidying = self._new_tidying()
        self._lock = threading.RLock()
        self._forget()
        self._commits = self._last_seq = 0

    def _insist(self, once: Callable[[Any], T], quick: bool = False) -> T:
        # a storage that cannot hold a lake stays so: that is not tried again
        self._before_write()
        attempt = 0
        while True:
            try:
                return once(self._end() if quick else self._write_handle())
            except Exception as error:
                if isinstance(error, LifecycleError) and not isinstance(error, StorageError):
                    raise
                quick = isinstance(error, Overtaken)
                if not quick:
                    # whatever it says, the rows may be there: reopen, and `once` looks before it writes again
                    self._handle = self._tail = None
                lost = quick or "Concurrent transaction failed" in str(error)
                if attempt == (_TURNS if lost else _ATTEMPTS) - 1 or (
                    attempt >= 3 and not lost and not _contention(error)
                ):
                    if isinstance(error, StorageError):
                        raise
                    shown = f"{type(error).__name__}: {said(error)}"
                    raise StorageError(f"Cannot write to the table {self.storage.uri!r}: {shown}") from None
                # who waits long after having lost to a rival would lose for ever to one that goes on at once
                longest = 0.2 if lost else 2.0
                time.sleep(random.uniform(0.2, 1.0) * min(longest, 0.02 * 2 ** min(attempt, 10)))
            attempt += 1

    def _new_tidying(self) -> Tidying:
        return Tidying(self.storage, self.row_type.SMALL_FILES, lambda: self.compact(in_passing=True), self._open)

    def _look(self) -> None:
        """Forget a table of this machine that was removed, or made anew, under this process: handles do not notice."""
        if not self.storage.is_local:
            return
        found = (_identity(self.storage.local_path / "_delta_log", times=False), _identity(self._marker, times=True))
        if self._seen not in (None, found):
            self._forget()
        self._seen = found

    def _forget(self) -> None:
        self._handle, self._tail, self._reading, self._ahead = None, None, threading.local(), []
        self._recent = Recent(self.row_type, self.storage)
        self._groups = Groups(self.row_type)
        self._answered = (None, None, None)

    def _next_seq(self, end: Any) -> int:
        """One more than whatever could have been read: the version, the ``seq`` of the table's rows and the writer's own last."""
        seq = end.largest_seq if isinstance(end, Tail) else largest_seq(files_of(end))
        return 1 + max(int(end.version()), seq, self._last_seq)

    def _end(self) -> Any:
        """What an append goes through: the tail of the log where there is one, else delta-rs' handle."""
        return self._followed() or self._tail_of(self._write_handle())

    def _tip(self, fresh: bool = False) -> Any:
        """What shows the table as it is now: the tail of the log where there is one, else a handle; None where there is no table."""
        if not self.storage.is_local or forked.is_forked():
            return self.snapshot(fresh).handle
        return self._followed() or self._tail_of(self._open())

    def _followed(self) -> Tail | None:
        self._look()
        if self._tail is not None and not self._tail.catch_up():
            self._tail = self._handle = None
        if self._tail is None and self.storage.is_local and not forked.is_forked():
            self._tail = Tail.opened(self.storage, self.row_type)
        return self._tail

    def _twin(self) -> Tail | None:
        with self._lock:
            return None if (tail := self._followed()) is None else tail.twin()

    def _tail_of(self, handle: Any) -> Any:
        if handle is not None and not forked.is_forked():
            self._tail = Tail.of(self.storage, self.row_type, handle)
        return self._tail or handle

    def _write_handle(self) -> Any:
        self._look()
        if self._handle is not None and self._commits % _REOPEN_EVERY:
            self._handle.update_incremental()
            return self._handle
        self._handle = self._open()
        if self._handle is None:
            self._handle = self._create()
        return self._handle

    def _open(self) -> Any:
        if forked.is_forked():
            return forked.Handle.open(self.storage.delta_uri, self.storage.delta_options())
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError, TableNotFoundError

        for attempt in range(_OPENINGS):
            try:
                return DeltaTable(self.storage.delta_uri, storage_options=self.storage.delta_options())
            except TableNotFoundError:
                return None
            except (DeltaError, OSError) as error:
                # log cleaning may have taken a file that was listed a moment ago
                if attempt == _OPENINGS - 1:
                    shown = said(error)
                    raise StorageError(
                        f"Cannot open the table {self.storage.uri!r}: {type(error).__name__}: {shown}"
                    ) from None
            time.sleep(random.uniform(0.5, 1.0) * 0.02 * 2**attempt)

    def _create(self) -> Any:
        from deltalake.exceptions import DeltaError

        statistics = ",".join(rows.statistics_columns(self.row_type))
        if self.storage.is_local:
            self.storage.local_path.mkdir(parents=True, exist_ok=True)
        try:
            return self._new(rows.schema(self.row_type), {**_PROPERTIES, "delta.dataSkippingStatsColumns": statistics})
        except DeltaError:
            there = self._open()
            if there is None:
                raise
            return there

    def _new(self, schema: Any, configuration: Mapping[str, str]) -> Any:
        uri, options = self.storage.delta_uri, self.storage.delta_options()
        if forked.is_forked():
            return forked.Handle.create(uri, schema, options, configuration)
        from deltalake import DeltaTable

        return DeltaTable.create(uri, schema, mode="error", storage_options=options, configuration=configuration)

    def _after_commit(self, aside: bool = False) -> None:
        self._commits += 1
        self._tidying.after(self._commits, self._tail or self._handle, aside)

    def _written(self, handle: Any, where: str) -> list[R]:
        return rows.from_arrow(
            self.row_type,
            Snapshot(self.row_type, handle).query(f"select * from {name(self.row_type.TABLE)} where {where}"),
        )

    def _count(self, handle: Any, where: str) -> int:
        found = Snapshot(self.row_type, handle).query(
            f"select count(*) as n from {name(self.row_type.TABLE)} where {where}"
        )
        return int(found["n"][0].as_py())

    def now(self) -> datetime:
        """The writer's clock."""
        return self.writer.clock()


def _identity(path: Path | None, times: bool) -> Any:
    try:
        found = os.stat(path) if path is not None else None
    except OSError:
        return None
    return found and (found.st_ino, found.st_ctime_ns if times else 0)


def _contention(error: Exception) -> bool:
    from deltalake.exceptions import CommitFailedError

    text = str(error)
    return isinstance(error, CommitFailedError) or "Invalid table version" in text or "etadata changed" in text
