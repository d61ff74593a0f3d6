"""A table at one version, and queries over such snapshots by DataFusion: the only reader of a lake table."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sparkml_lifecycle.errors import StorageError
from sparkml_lifecycle.lake import forked, rows
from sparkml_lifecycle.lake.sql import name
from sparkml_lifecycle.lake.tail import Tail
from sparkml_lifecycle.storage import said


@dataclass(frozen=True)
class Snapshot:
    """A table at one version; ``handle`` is delta-rs' (or stands in its place), None where the table is not there yet."""

    row_type: type[rows.Row]
    handle: Any = field(repr=False)

    @property
    def version(self) -> int:
        """The version; -1 of a table that is not there yet."""
        return -1 if self.handle is None else int(self.handle.version())

    def version_of(self, identifier: str) -> int:
        """How often something was claimed under that identifier."""
        return 0 if self.handle is None else self.handle.transaction_version(identifier) or 0

    @cached_property
    def delta(self) -> Any:
        """What DataFusion can read; behind the end of a log a handle that is as new or newer."""
        return self.handle.delta() if isinstance(self.handle, Tail) else self.handle

    def query(self, sql: str) -> Any:
        """An Arrow table of a query over this one table, by its name."""
        return query([self], sql)

    def as_view(self) -> str:
        """The columns that this program knows, as a common table expression; what an older writer left out is null."""
        view, source = name(self.row_type.TABLE), name(f"{self.row_type.TABLE} files")
        there = set() if self.delta is None else {column.name for column in self.delta.schema().fields}
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

    handles = {f"{one.row_type.TABLE} files": one.delta for one in snapshots if one.handle is not None}
    views = [snapshot.as_view() for snapshot in snapshots]
    body = sql.strip()
    text = ", ".join(views) + (f", {body[5:]}" if body.lower().startswith("with ") else f" {body}")
    try:
        found = pa.table(_execute(handles, f"with {text}"))
    except Exception as error:  # DataFusion's errors have no class of their own
        names = ", ".join(snapshot.row_type.TABLE for snapshot in snapshots)
        raise StorageError(f"Cannot read {names} of the lake: {said(error)}") from None
    plain = {pa.string_view(): pa.string(), pa.large_string(): pa.string(), pa.binary_view(): pa.binary()}
    return found.cast(pa.schema([pa.field(c.name, plain.get(c.type, c.type), c.nullable) for c in found.schema]))


def _execute(handles: dict[str, Any], sql: str) -> Any:
    if forked.is_forked():
        return forked.query(handles, sql)
    from deltalake import QueryBuilder

    builder = QueryBuilder()
    for registered, handle in handles.items():
        builder.register(registered, handle)
    return builder.execute(sql).read_all()
