"""One Delta table of the lake: append, read, claim.

Every rule here answers to something that went wrong when it was tried: a float's statistics turned NaN into 1.0, a lost
answer doubled a flush, a stale handle overwrote a claim, an unbounded log made appends slow.
"""

import os
import random
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from sparkml_lifecycle.errors import Conflict, StorageError
from sparkml_lifecycle.lake import rows as row_classes
from sparkml_lifecycle.lake.sql import literal
from sparkml_lifecycle.storage import Storage

_RETRIES = 60
_REOPEN_AFTER = 50
CONFIGURATION = {
    "delta.checkpointInterval": "50",
    "delta.logRetentionDuration": "interval 10 minutes",
    "delta.setTransactionRetentionDuration": "interval 7 days",
    "delta.enableExpiredLogCleanup": "true",
}


@dataclass(frozen=True)
class Writer:
    """Who writes: one per process and client.

    Attributes
    ----------
    id : str
        A uuid that no other writer has.
    by : str
        The person or service that is recorded.
    clock : callable
        Gives the time, UTC.
    """

    by: str
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)


class LakeTable:
    """A table of the lake, through one handle that is brought up to date before each use.

    Attributes
    ----------
    name : str
    row : type
        The frozen dataclass of its rows.
    """

    def __init__(self, storage: Storage, name: str, row: type) -> None:
        self.name = name
        self.row = row
        self._storage = storage.child(name)
        self._handle: Any = None
        self._uses = 0
        self._last_seq: dict[str, int] = {}
        self._lock = threading.RLock()

    def __repr__(self) -> str:
        return f"LakeTable({self.name!r} at {self._storage.uri!r})"

    @property
    def uri(self) -> str:
        """Where it lies."""
        return self._storage.uri

    # -- reading

    def open(self) -> Any:
        """delta-rs' handle, up to date, or None while there is no table."""
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError, TableNotFoundError

        with self._lock:
            if self._handle is not None and self._uses < _REOPEN_AFTER:
                try:
                    self._handle.update_incremental()
                    self._uses += 1
                    return self._handle
                except (DeltaError, OSError):
                    self._handle = None  # the log it stood on was cleaned away: a new handle starts at a checkpoint
            try:
                self._handle = DeltaTable(self.uri, storage_options=self._storage.delta_options or None)
            except TableNotFoundError:
                return None
            self._uses = 0
            return self._handle

    def query(self, sql: str, others: Sequence["LakeTable"] = ()) -> pa.Table:
        """The answer to a SELECT over this table (by its name) and others.

        A table that is not there yet is an empty one, and so is a column that it does not have yet.
        """
        return query([self, *others], sql)

    def to_arrow(self) -> pa.Table:
        """All rows."""
        return self.query(f"select * from {self.name}")

    def to_pandas(self) -> Any:
        """All rows as a DataFrame."""
        return self.to_arrow().to_pandas()

    # -- writing

    def append(self, rows: Sequence[Any], writer: Writer) -> int:
        """Append rows in one commit, exactly once; gives their ``seq``.

        After any error the table is opened anew and asked for the rows: an error does not mean that nothing was written.

        Raises
        ------
        StorageError
            If the storage refuses for good.
        """
        from deltalake import CommitProperties, Transaction

        with self._lock:
            handle = self._open_or_create()
            seq = self._next_seq(handle, writer)
            data = row_classes.to_table(rows, self.row, self._order(writer, seq))

            def commit(handle: Any) -> None:
                stamp = Transaction(writer.id, seq, int(writer.clock().timestamp() * 1000))
                self._write(handle, data, CommitProperties({"isBlindAppend": True}, 0, [stamp]))

            def landed() -> bool:
                return self._count(f"writer = {literal(writer.id)} and seq = {seq}") > 0

            self._until_landed(handle, commit, landed)
            self._last_seq[writer.id] = seq
            return seq

    def claim(self, identifiers: dict[str, int], rows: Sequence[Any], writer: Writer, token: str) -> None:
        """Append rows in one commit, if each identifier still stands at one less than its number (compare and swap).

        Parameters
        ----------
        identifiers : dict of str to int
            What is claimed: identifier to the number it gets.
        rows : sequence
            All rows of the change; each holds ``token`` in its ``claim`` column.

        Raises
        ------
        Conflict
            If somebody else has claimed one of them; nothing was written.
        """
        from deltalake import CommitProperties, Transaction

        with self._lock:
            self._open_or_create()
            self._handle = None
            handle = self.open()
            data = row_classes.to_table(rows, self.row, self._order(writer, self._next_seq(handle, writer)))

            def check(handle: Any) -> None:
                for name, number in identifiers.items():
                    if (handle.transaction_version(name) or 0) != number - 1:
                        raise Conflict(f"Somebody else has changed {name!r} in the meantime: read again and decide anew.")

            def commit(handle: Any) -> None:
                check(handle)
                stamps = [Transaction(name, number) for name, number in identifiers.items()]
                self._write(handle, data, CommitProperties({"isBlindAppend": True}, 0, stamps))

            self._until_landed(handle, commit, lambda: self._count(f"claim = {literal(token)}") > 0)

    def standing(self, identifier: str) -> int:
        """The number an identifier stands at; 0 if it was never claimed."""
        with self._lock:
            self._handle = None
            handle = self.open()
            return 0 if handle is None else (handle.transaction_version(identifier) or 0)

    def _until_landed(self, handle: Any, commit: Callable[[Any], None], landed: Callable[[], bool]) -> None:
        from deltalake.exceptions import DeltaError

        problem: Exception | None = None
        for attempt in range(_RETRIES):
            try:
                commit(handle)
                return
            except (DeltaError, OSError) as error:
                problem = error
            time.sleep(random.uniform(0, min(0.002 * 2**attempt, 0.25)))
            self._handle = None
            try:
                handle = self.open()
                if landed():
                    return
            except (DeltaError, OSError) as error:
                problem = error
            if attempt > 4 and isinstance(problem, OSError):
                break
        raise StorageError(f"The table {self.name!r} at {self.uri!r} could not be written: {type(problem).__name__}: {str(problem)[:300]}") from problem

    def _write(self, handle: Any, data: pa.Table, properties: Any) -> None:
        from deltalake import write_deltalake

        write_deltalake(handle, data, mode="append", schema_mode="merge", commit_properties=properties)

    def _count(self, condition: str) -> int:
        return int(self.query(f"select count(*) as n from {self.name} where {condition}").column("n")[0].as_py())

    def _order(self, writer: Writer, seq: int) -> dict[str, Any]:
        return {"at": writer.clock(), "by": writer.by, "writer": writer.id, "seq": seq}

    def _next_seq(self, handle: Any, writer: Writer) -> int:
        """One more than the handle's version, any ``seq`` in the files' statistics and the writer's own last."""
        actions = pa.table(handle.get_add_actions(flatten=True))
        seen = actions.column("max.seq").to_pylist() if "max.seq" in actions.column_names else []
        return 1 + max([handle.version(), self._last_seq.get(writer.id, 0), *(int(value) for value in seen if value is not None)])

    def _open_or_create(self) -> Any:
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError

        handle = self.open()
        attempt = 0
        while handle is None:
            schema = row_classes.schema_of(self.row)
            kept = [name for name in schema.names if name not in row_classes.float_columns(self.row)]
            configuration = {**CONFIGURATION, "delta.dataSkippingStatsColumns": ",".join(kept)}
            try:
                if self._storage.is_local:
                    os.makedirs(self.uri, exist_ok=True)
                DeltaTable.create(
                    self.uri, schema.remove_metadata(), mode="error", configuration=configuration, storage_options=self._storage.delta_options or None
                )
            except (DeltaError, OSError) as error:
                attempt += 1
                if attempt > 20:
                    raise StorageError(f"The table {self.name!r} cannot be created at {self.uri!r}: {type(error).__name__}: {str(error)[:300]}") from error
                time.sleep(random.uniform(0, 0.05))  # another process creates it at this moment, or the storage refuses
            handle = self.open()
        return handle


def query(tables: Sequence[LakeTable], sql: str) -> pa.Table:
    """The answer to a SELECT over several tables of a lake, each under its own name."""
    from deltalake import QueryBuilder
    from deltalake.exceptions import DeltaError

    for attempt in (0, 1, 2):
        builder, missing = QueryBuilder(), []
        for table in tables:
            handle = table.open()
            if handle is None:
                missing.append(table)
            else:
                builder.register(table.name, handle)
        try:
            return pa.table(builder.execute(_with_empty(sql, missing)).read_all())
        except (DeltaError, OSError):
            # files that a compaction or vacuum took away under this handle: a new handle sees the new ones
            if attempt == 2:
                raise
            for table in tables:
                table._handle = None
    raise AssertionError("unreachable")


def _with_empty(sql: str, missing: Sequence[LakeTable]) -> str:
    """The query with an empty relation for each table that is not there yet."""
    if not missing:
        return sql
    kinds = {pa.string(): "varchar", pa.int64(): "bigint", pa.float64(): "double", pa.bool_(): "boolean"}
    views = []
    for table in missing:
        columns = ", ".join(f"cast(null as {kinds.get(f.type, 'timestamp')}) as {f.name}" for f in row_classes.schema_of(table.row))
        views.append(f"{table.name} as (select * from (select {columns}) where false)")
    head = sql.lstrip()
    if head.lower().startswith("with "):
        return f"with {', '.join(views)}, {head[5:]}"
    return f"with {', '.join(views)} {sql}"
