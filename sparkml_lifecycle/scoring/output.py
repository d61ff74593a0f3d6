"""Writes scored rows as Parquet files of a Delta table, in a worker; nobody sees them before they are committed."""

import json
import re
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from sparkml_lifecycle.errors import LifecycleError
from sparkml_lifecycle.lake.files import spelled
from sparkml_lifecycle.storage import Storage

_ROW_GROUP = 131_072
_FILE_ROWS = 16 * 2**20
_FILE_BYTES = 256 * 2**20
# Delta gathers statistics of the first 32 columns; of texts their beginning
_STATISTICS_COLUMNS, _TEXT = 32, 32
_PACKED = (pa.int16(), pa.int32(), pa.int64(), pa.date32())


_NAME = re.compile(r"part-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.zstd\.parquet")


def is_output(name: str) -> bool:
    """Whether a worker has given a file this name; where no commit names it, a job was killed that wrote it."""
    return _NAME.fullmatch(name) is not None


@dataclass(frozen=True)
class Written:
    """A file that a worker has written.

    Attributes
    ----------
    path : str
        Relative to the table.
    size, rows : int
        Bytes and rows.
    statistics : str
        What Delta's log says of it, as JSON.
    errors : int
        Rows with a reason why they have no answer.
    partition : mapping
        The values of its partition as Delta's log spells them.
    differs : sequence of str
        Packages of which the worker has another version than the model was saved with.
    nulls : int
        Rows without an answer.
    evaluator : str
        What scored them, and why.
    """

    path: str
    size: int
    rows: int
    statistics: str
    errors: int = 0
    partition: Mapping[str, str | None] = field(default_factory=dict)
    differs: Sequence[str] = ()
    nulls: int = 0
    evaluator: str = ""


@dataclass
class _Bounds:
    """What is known of the values of one column of one file."""

    least: Any = None
    most: Any = None
    nulls: int = 0
    unknown: bool = False

    def add(self, column: pa.ChunkedArray) -> None:
        self.nulls += column.null_count
        if self.unknown or column.null_count == len(column):
            return
        if pa.types.is_floating(column.type) and np.isnan(_sum(column)):
            # NaN has no place between two bounds, and readers would skip it
            self.unknown = True
            return
        found = pc.min_max(column)
        low, high = found["min"], found["max"]
        # Python has no dates after the year 9999
        self.least = low if self.least is None or pc.less(low, self.least).as_py() else self.least
        self.most = high if self.most is None or pc.greater(high, self.most).as_py() else self.most


def _sum(column: pa.ChunkedArray) -> float:
    total = pc.sum(column).as_py()
    return 0.0 if total is None else float(total)


class Whole:
    """What is written inside a ``with``: ended at its end, and deleted where anything is raised, in ending it too."""

    def close(self) -> None:
        """End what is being written."""
        raise NotImplementedError

    def discard(self) -> None:
        """Delete what was written: nobody would ever read it, and it would wait for a vacuum."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        try:
            if kind is None:
                self.close()
        except BaseException:
            self.discard()
            raise
        if kind is not None:
            self.discard()


@dataclass
class Output(Whole):
    """Files of one task below a table's directory, each of at most some 256 MB.

    Parameters
    ----------
    storage : Storage
        The table's place.
    schema : pyarrow.Schema
        The columns of its files; those that are no partition columns.
    constant : mapping
        Columns that have one value in all rows, which cost next to nothing.
    error : str or None
        The column with the reasons of rows without an answer.
    partition : mapping
        The values of the files' partition as Delta's log spells them.
    directory : str
        Where the files are below the table, with a slash at its end.
    answer : str or None
        The column of which the nulls are counted.
    """

    storage: Storage
    schema: pa.Schema
    constant: Mapping[str, Any]
    error: str | None = None
    partition: Mapping[str, str | None] = field(default_factory=dict)
    directory: str = ""
    written: list[Written] = field(default_factory=list)
    answer: str | None = None

    def __post_init__(self) -> None:
        self._sink: Any = None
        self._writer: Any = None
        names = [one.name for one in self.schema]
        few = [one.name for one in self.schema if one.name in self.constant or _is_text(one.type)]
        packed = [one.name for one in self.schema if one.type in _PACKED and one.name not in few]
        self._options = {
            "compression": "zstd", "use_dictionary": few or False, "write_statistics": False,
            "column_encoding": {name: "DELTA_BINARY_PACKED" for name in packed} or None, "store_schema": False,
        }  # fmt: skip
        self._bounded = [name for name in names[:_STATISTICS_COLUMNS] if _has_bounds(self.schema.field(name).type)]

    def write(self, columns: Mapping[str, Any], rows: int) -> None:
        """Write rows; ``columns`` are those that are not constant, as Arrow arrays."""
        arrays = [
            _repeated(self.constant[one.name], one.type, rows) if one.name in self.constant else columns[one.name]
            for one in self.schema
        ]
        table = pa.table(arrays, names=self.schema.names)
        if self._sink is None:
            self._begin(table.schema)
        self._writer.write_table(table, row_group_size=_ROW_GROUP)
        self._rows += rows
        self._errors += rows - table[self.error].null_count if self.error else 0
        self._nulls += table[self.answer].null_count if self.answer else 0
        for name in self._bounded:
            if name not in self.constant:
                self._bounds[name].add(table[name])
        if self._rows >= _FILE_ROWS or self._sink.tell() >= _FILE_BYTES:
            self.close()

    def _begin(self, schema: pa.Schema) -> None:
        self._path = f"{self.directory}part-{uuid.uuid4()}.zstd.parquet"
        if self.storage.is_local:
            (self.storage.local_path / self.directory).mkdir(parents=True, exist_ok=True)
        filesystem, place = self.storage.arrow(self._path)
        self._sink, self._writer = filesystem.open_output_stream(place), None
        self._writer = pq.ParquetWriter(self._sink, schema, **self._options)
        self._rows = self._errors = self._nulls = 0
        self._bounds = {name: _Bounds() for name in self._bounded}

    def close(self) -> None:
        """End the file that is being written."""
        if self._sink is None:
            return
        self._writer.close()
        size = self._sink.tell()
        self._sink.close()
        self._sink = None
        said = json.dumps(self._statistics())
        self.written.append(
            Written(self._path, size, self._rows, said, self._errors, self.partition, nulls=self._nulls)
        )

    def discard(self) -> None:
        """Delete the files."""
        if self._sink is not None:
            # on a full disk neither can write what it still holds
            for one in (self._writer, self._sink):
                with suppress(OSError, pa.ArrowException):
                    if one is not None:
                        one.close()
            self.written.append(Written(self._path, 0, 0, ""))
        for one in self.written:
            with suppress(LifecycleError, OSError):
                self.storage.delete(one.path)

    def _statistics(self) -> dict[str, Any]:
        least, most, nulls = {}, {}, {}
        for name, bounds in self._bounds.items():
            kind = self.schema.field(name).type
            if name in self.constant:
                value = self.constant[name]
                bounds = (
                    _Bounds(nulls=self._rows)
                    if value is None
                    else _Bounds(pa.scalar(value, kind), pa.scalar(value, kind))
                )
            nulls[name] = bounds.nulls
            if bounds.unknown or bounds.least is None:
                continue
            low, high = _said(bounds.least, kind), _said(bounds.most, kind)
            if low is not None and high is not None:
                least[name], most[name] = low, high
        return {"numRecords": self._rows, "minValues": least, "maxValues": most, "nullCount": nulls}


def _repeated(value: Any, kind: pa.DataType, rows: int) -> pa.Array:
    if value is None:
        return pa.nulls(rows, kind)
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int8)), pa.array([value], kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_boolean(kind))


def _has_bounds(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_string(kind)
        or pa.types.is_date(kind)
        or pa.types.is_timestamp(kind)
    )


def _said(value: pa.Scalar, kind: pa.DataType) -> Any:
    """A bound as Delta's log spells it: times cut to milliseconds, and only short texts (a cut one is no upper bound)."""
    try:
        python = value.as_py()
    except (OverflowError, ValueError):
        return None
    if pa.types.is_timestamp(kind):
        return spelled(python)
    if pa.types.is_date(kind):
        return python.isoformat()
    if pa.types.is_string(kind):
        return python if len(python) <= _TEXT else None
    if isinstance(python, float) and not np.isfinite(python):
        return None
    return python


def to_batch(written: Sequence[Written]) -> pa.RecordBatch:
    """What a task has written, as the one row that it sends to the driver."""
    said = json.dumps([asdict(one) for one in written])
    return pa.RecordBatch.from_arrays([pa.array([said], pa.string())], names=["written"])


def from_rows(rows: Sequence[Any]) -> list[Written]:
    """What all tasks have written, out of the rows that they sent."""
    return [Written(**one) for row in rows for one in json.loads(row["written"])]


def as_actions(written: Sequence[Written], now: int) -> list[Any]:
    """What commits the files: delta-rs' add actions."""
    from deltalake.transaction import AddAction

    return [AddAction(one.path, one.size, one.partition, now, True, one.statistics) for one in written]
