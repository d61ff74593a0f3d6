"""One table of a lake: append, compare and swap, read. Every row of the product reaches Delta through :func:`commit_rows`."""

import os
import random
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Generic

from sparkml_lifecycle.errors import LifecycleError, StorageError
from sparkml_lifecycle.lake import compaction, log, order, rows
from sparkml_lifecycle.lake.rows import ClaimedRow, R
from sparkml_lifecycle.lake.sql import latest, literal, name
from sparkml_lifecycle.storage import Storage, redacted

_REOPEN_EVERY = 50
_COMPACT_AT = 100
_COMMIT_RETRIES = 100
_ATTEMPTS = 12
_PROPERTIES = {
    "delta.checkpointInterval": "50",
    "delta.logRetentionDuration": "interval 10 minutes",
    "delta.setTransactionRetentionDuration": "interval 7 days",
}
_FORKED = "This process was forked from one that had used the lake, and cannot read it. Start it with 'spawn', or read in the parent."


@dataclass(frozen=True)
class Writer:
    """Who writes: a uuid of the writing process, a name, the clock, and the process that opened the lake (not a fork of it)."""

    id: str
    by: str
    clock: order.Clock = order.now
    pid: int = field(default_factory=os.getpid)


@dataclass
class Batch(Generic[R]):
    """The rows of one flush; it keeps its ``seq`` over all attempts, so that however often it is tried it counts once."""

    rows: Sequence[R]
    seq: int | None = None
    tried: bool = False


@dataclass(frozen=True)
class Change(Generic[R]):
    """What :meth:`Table.claim` is to commit: rows and the identifiers, each with the version that the change makes it."""

    rows: Sequence[R]
    identifiers: Mapping[str, int]


@dataclass(frozen=True)
class Snapshot:
    """A table at one version; ``handle`` is delta-rs' or None where the table is not there yet."""

    row_type: type[rows.Row]
    handle: Any = field(repr=False)

    def version_of(self, identifier: str) -> int:
        """How often something was claimed under that identifier."""
        return 0 if self.handle is None else self.handle.transaction_version(identifier) or 0

    def query(self, sql: str) -> Any:
        """An Arrow table of a query over this one table, by its name."""
        return query([self], sql)

    def as_view(self) -> str:
        """The columns that this program knows, as a common table expression; what an older writer left out is null."""
        view, source = name(self.row_type.TABLE), name(f"{self.row_type.TABLE} files")
        there = set() if self.handle is None else {column.name for column in self.handle.schema().fields}
        picked = []
        for column in rows.schema(self.row_type):
            if column.name in there:
                picked.append(name(column.name))
            else:
                picked.append(f"arrow_cast(null, '{_datafusion_type(column.type)}') as {name(column.name)}")
        return (
            f"{view} as (select {', '.join(picked)}{f' from {source}' if self.handle is not None else ' where false'})"
        )


def _datafusion_type(kind: Any) -> str:
    spelled = {"string": "Utf8", "int64": "Int64", "double": "Float64", "bool": "Boolean", "binary": "Binary"}
    return spelled.get(str(kind), 'Timestamp(Microsecond, Some("UTC"))')


def query(snapshots: Sequence[Snapshot], sql: str) -> Any:
    """An Arrow table of a query over tables by their names, each at one version; ``sql`` may begin with ``with``.

    Only DataFusion reads a lake table: delta-rs' own readers have lost rows and aborted the process at exit.
    """
    import pyarrow as pa
    from deltalake import QueryBuilder

    builder = QueryBuilder()
    for snapshot in snapshots:
        if snapshot.handle is not None:
            builder.register(f"{snapshot.row_type.TABLE} files", snapshot.handle)
    views = [snapshot.as_view() for snapshot in snapshots]
    body = sql.strip()
    text = ", ".join(views) + (f", {body[5:]}" if body.lower().startswith("with ") else f" {body}")
    try:
        found = pa.table(builder.execute(f"with {text}").read_all())
    except Exception as error:  # DataFusion's errors have no class of their own
        names = ", ".join(snapshot.row_type.TABLE for snapshot in snapshots)
        raise StorageError(f"Cannot read {names} of the lake: {redacted(str(error).splitlines()[0])[:300]}") from None
    plain = {pa.string_view(): pa.string(), pa.large_string(): pa.string(), pa.binary_view(): pa.binary()}
    return found.cast(pa.schema([pa.field(c.name, plain.get(c.type, c.type), c.nullable) for c in found.schema]))


def read_again(tables: "Sequence[Table[Any]]", sql: str) -> Any:
    """A query over tables as they are now; where files have gone since a handle was opened, once more through fresh ones."""
    try:
        return query([table.snapshot() for table in tables], sql)
    except StorageError:
        return query([table.snapshot(fresh=True) for table in tables], sql)


def commit_rows(handle: Any, data: Any, transactions: Sequence[Any]) -> None:
    """Append Arrow rows through ``handle`` in one commit; the only place where rows become Delta."""
    from deltalake import write_deltalake
    from deltalake.transaction import CommitProperties

    properties = CommitProperties(
        custom_metadata={"isBlindAppend": True}, max_commit_retries=_COMMIT_RETRIES, app_transactions=list(transactions)
    )
    write_deltalake(handle, data, mode="append", schema_mode="merge", commit_properties=properties)


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
    """

    def __init__(self, row_type: type[R], storage: Storage, writer: Writer, before_write: Callable[[], None]) -> None:
        rows.columns(row_type)
        self.row_type = row_type
        self.storage = storage
        self.writer = writer
        self._before_write = before_write
        self._lock = threading.RLock()
        self._handle: Any = None
        # a handle for each reading thread: one that moves while another thread's query begins would show it two versions
        self._reading = threading.local()
        self._commits = self._last_seq = 0
        self._compact_at = _COMPACT_AT + random.randrange(_COMPACT_AT // 2)
        self._pid = writer.pid

    # -- reading ---------------------------------------------------------------------------------------------------------

    def snapshot(self, fresh: bool = False) -> Snapshot:
        """The table as it is now, with ``fresh`` through a new handle; opening it writes nothing."""
        if os.getpid() != self._pid:
            raise StorageError(_FORKED)
        mine = self._reading
        mine.reads = getattr(mine, "reads", 0) + 1
        handle = getattr(mine, "handle", None) if mine.reads % _REOPEN_EVERY and not fresh else None
        if handle is not None:
            try:
                handle.update_incremental()
            except Exception:  # log cleaning may have taken what the handle stood on; a fresh one says what is wrong
                handle = None
        mine.handle = self._open() if handle is None else handle
        return Snapshot(self.row_type, mine.handle)

    def query(self, sql: str) -> Any:
        """An Arrow table of a query over this table, by its name."""
        return read_again([self], sql)

    def latest(self, key: str, where: str = "true") -> list[R]:
        """The latest row of each ``key`` among those that ``where`` (SQL) lets through."""
        names = [column.name for column in rows.columns(self.row_type)]
        sql = f"select {latest(names, key)} from {name(self.row_type.TABLE)} where {where} group by {key}"
        return rows.from_arrow(self.row_type, self.query(sql))

    def to_arrow(self) -> Any:
        """Every row, as an Arrow table with the columns that this program knows."""
        return self.query(f"select * from {name(self.row_type.TABLE)}").cast(rows.schema(self.row_type))

    def to_pandas(self) -> Any:
        """Every row, as a pandas frame."""
        return self.to_arrow().to_pandas()

    # -- writing ---------------------------------------------------------------------------------------------------------

    def append(self, new: Sequence[R]) -> None:
        """Commit rows, exactly once; returns when they are there.

        Raises
        ------
        StorageError
            If the storage refuses for good.
        """
        self.commit(Batch(new))

    def commit(self, batch: Batch[R]) -> None:
        """Commit a batch, exactly once, however often it is handed over."""
        from deltalake.transaction import Transaction

        if not batch.rows:
            return
        kept = rows.one_per_key(self.row_type, batch.rows)
        if os.getpid() != self._pid:
            from sparkml_lifecycle.lake.forked import append_elsewhere

            return append_elsewhere(self.storage, self.row_type, kept)

        def once(handle: Any) -> None:
            if batch.tried and self._count(
                handle, f"writer = {literal(self.writer.id)} and seq = {literal(batch.seq)}"
            ):
                return
            if batch.seq is None:
                batch.seq = self._last_seq = order.next_seq(handle, self._last_seq)
            batch.tried = True
            data = rows.to_arrow(self.row_type, kept, by=self.writer.by, writer=self.writer.id, seq=batch.seq)
            commit_rows(handle, data, [Transaction(self.writer.id, batch.seq, int(time.time() * 1000))])

        with self._lock:
            self._insist(once)
            self._after_commit()

    def claim(self, decide: Callable[[Snapshot], Change[R]]) -> list[R]:
        """Compare and swap: read, decide and commit through one handle; if a rival was first, read and decide again.

        Parameters
        ----------
        decide : callable
            Given the table at one version, the change to make; it may raise a :class:`LifecycleError` to give up. It is
            called again for each attempt.

        Returns
        -------
        list of rows
            What was committed.
        """
        from deltalake.transaction import Transaction

        if os.getpid() != self._pid:
            raise StorageError(_FORKED)
        claim = uuid.uuid4().hex
        landed = f"claim = {literal(claim)}"
        done: list[R] = []
        tried = False

        def once(handle: Any) -> None:
            nonlocal done, tried
            seen = Snapshot(self.row_type, handle)
            if tried and (found := self._rows(handle, landed)):
                done = found
                return
            change = decide(seen)
            seq = order.next_seq(handle, self._last_seq)
            stamps = {"by": self.writer.by, "writer": self.writer.id, "seq": seq, "claim": claim}
            done = [replace(row, **stamps) for row in change.rows]  # type: ignore[arg-type]
            tried = True
            # without last_updated, so that claims never expire
            commit_rows(
                handle, rows.to_arrow(self.row_type, done), [Transaction(k, v) for k, v in change.identifiers.items()]
            )
            self._last_seq = seq

        if not issubclass(self.row_type, ClaimedRow):
            raise TypeError(f"{self.row_type.__name__} is not a ClaimedRow.")
        with self._lock:
            self._insist(once)
            self._after_commit()
        return done

    def compact(self) -> int:
        """Rewrite the small files as one; returns how many there were."""
        return compaction.compact(self.storage, self.row_type) if self._open() is not None else 0

    def _insist(self, once: Callable[[Any], None]) -> None:
        # a storage that cannot hold a lake stays so: that is not tried again
        self._before_write()
        for attempt in range(_ATTEMPTS):
            try:
                return once(self._write_handle())
            except Exception as error:
                if isinstance(error, LifecycleError) and not isinstance(error, StorageError):
                    raise
                # whatever it says, the rows may be there: reopen, and `once` looks before it writes again
                self._handle = None
                if attempt == _ATTEMPTS - 1 or (attempt >= 3 and not _contention(error)):
                    if isinstance(error, StorageError):
                        raise
                    shown = (
                        f"{type(error).__name__}: {redacted(str(error).splitlines()[0])[:300] if str(error) else ''}"
                    )
                    raise StorageError(f"Cannot write to the table {self.storage.uri!r}: {shown}") from None
                time.sleep(random.uniform(0.2, 1.0) * min(2.0, 0.02 * 2**attempt))

    def _write_handle(self) -> Any:
        if self._handle is not None and self._commits % _REOPEN_EVERY:
            self._handle.update_incremental()
            return self._handle
        self._handle = self._open()
        if self._handle is None:
            self._handle = self._create()
        return self._handle

    def _open(self) -> Any:
        from deltalake import DeltaTable
        from deltalake.exceptions import TableNotFoundError

        try:
            return DeltaTable(self.storage.delta_uri, storage_options=self.storage.delta_options())
        except TableNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"Cannot open the table {self.storage.uri!r}: {type(error).__name__}.") from None

    def _create(self) -> Any:
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError

        statistics = ",".join(rows.statistics_columns(self.row_type))
        if self.storage.is_local:
            self.storage.local_path.mkdir(parents=True, exist_ok=True)
        try:
            return DeltaTable.create(
                self.storage.delta_uri,
                rows.schema(self.row_type),
                mode="error",
                storage_options=self.storage.delta_options(),
                configuration={**_PROPERTIES, "delta.dataSkippingStatsColumns": statistics},
            )
        except DeltaError:
            there = self._open()
            if there is None:
                raise
            return there

    def _after_commit(self) -> None:
        self._commits += 1
        if self._commits % 10 == 0 and self._handle is not None:
            small = len(compaction.small_files(self._handle))
            if small >= self._compact_at:
                self._tidy(self.compact)
        if self._commits % _REOPEN_EVERY == 0:
            self._tidy(lambda: log.clean(self.storage))

    def _tidy(self, work: Callable[[], Any]) -> None:
        from deltalake.exceptions import DeltaError

        try:
            work()
        except (DeltaError, LifecycleError, OSError):
            # tidying is a service to the next reader: the rows are there, and `sparkml maintain` does it again
            return

    def _rows(self, handle: Any, where: str) -> list[R]:
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


def _contention(error: Exception) -> bool:
    from deltalake.exceptions import CommitFailedError

    text = str(error)
    return isinstance(error, CommitFailedError) or "Invalid table version" in text or "etadata changed" in text
