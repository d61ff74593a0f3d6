"""A frozen dataclass is a table: its fields are the columns, ``X | None`` is the only nullable."""

import dataclasses
import functools
import operator
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Literal, Self, TypeVar

from sparkml_lifecycle.errors import InvalidInput

R = TypeVar("R", bound="Row")
_EPOCH, _MICROSECOND = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
_FIRST, _LAST = ((one.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND for one in (datetime.min, datetime.max))
_ALLOWED = (str, int, float, bool, bytes, datetime)
_REWRITE = {
    "list": "str holding JSON, or a row for each item",
    "dict": "str holding JSON, or a table of (key, value)",
    "date": "datetime (UTC)",
    "Decimal": "str",
    "Any": "the type that it holds",
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """What every row of a lake carries; a table is a subclass with ``TABLE`` and its own fields.

    Attributes
    ----------
    at : datetime
        When it happened by the writer's honest wall clock, UTC.
    by : str
        Who says so; a claim.
    writer : str
        A uuid of the writing process.
    seq : int
        Larger than that of every row that the writer could have read. The latest row is the largest (seq, at, writer).
    """

    TABLE: ClassVar[str] = ""
    KEY: ClassVar[tuple[str, ...]] = ()
    KEEP: ClassVar[Literal["every", "first", "last"]] = "every"
    # whether the earlier rows of a key in one flush are kept beside the last
    STEPS: ClassVar[bool] = False
    # the order of the rows in a compacted file, so that its statistics find a run
    SORTED_BY: ClassVar[tuple[str, ...]] = ()
    # so many small files are compacted in passing
    SMALL_FILES: ClassVar[int] = 50
    # the table of summaries that compaction keeps up to date
    FOLD: ClassVar["type[Fold] | None"] = None

    at: datetime
    by: str = ""
    writer: str = ""
    seq: int = 0

    @classmethod
    def of(cls, **fields: Any) -> Self:
        """A row of fields that are all given but those with a plain default; a frozen dataclass's own ``__init__`` takes five times as long."""
        row = object.__new__(cls)
        row.__dict__.update(fields)
        return row


@dataclass(frozen=True, kw_only=True)
class ClaimedRow(Row):
    """A row of a table whose changes are compared and swapped.

    Attributes
    ----------
    revision : int
        Counts the changes of one key; the largest is what counts.
    claim : str
        A uuid of the change, by which a writer finds out whether its commit landed.
    """

    revision: int = 1
    claim: str = ""

    def key_of(self) -> tuple[str, ...]:
        """The values of its key."""
        return tuple([getattr(self, name) for name in self.KEY])


@dataclass(frozen=True, kw_only=True)
class Fold(Row):
    """A row of a table of summaries, whose summaries are idempotent: latest, largest, smallest, never counts.

    Attributes
    ----------
    covers : str or None
        In a row of its own, with nothing else in it: the name of a file of the folded table that is summarised here.
    """

    covers: str | None = None

    @classmethod
    def summarise(cls, table: Any) -> Any:
        """One row for each key, as an Arrow table of this class's own columns, of rows of the folded table or of this one."""
        raise NotImplementedError

    @classmethod
    def covering(cls, path: str) -> Any:
        """The row that says that a file is summarised, as an Arrow table."""
        import pyarrow as pa

        carried = {column.name for column in columns(Row)}
        empty = {column.name: [""] for column in columns(cls) if not column.nullable and column.name not in carried}
        return pa.table({**empty, "covers": [path]})


@dataclass(frozen=True)
class Column:
    """One column: its name, the Python type and whether it may be null."""

    name: str
    type: type
    nullable: bool


def columns(row_type: type[Row]) -> tuple[Column, ...]:
    """The columns of a row class, in the order of its fields.

    Raises
    ------
    InvalidInput
        If a field has a type that no column can have; the message says how to rewrite it.
    """
    known = _columns.get(row_type)
    if known is None:
        known = _columns[row_type] = _read_columns(row_type)
    return known


_columns: dict[type[Row], tuple[Column, ...]] = {}


def _read_columns(row_type: type[Row]) -> tuple[Column, ...]:
    hints = typing.get_type_hints(row_type)
    return tuple(_column(row_type, field.name, hints[field.name]) for field in dataclasses.fields(row_type))


def _column(row_type: type[Row], name: str, hint: Any) -> Column:
    parts = (
        typing.get_args(hint)
        if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union
        else (hint,)
    )
    plain = [part for part in parts if part is not type(None)]
    if len(plain) == 1 and plain[0] in _ALLOWED:
        return Column(name, plain[0], len(parts) == 2)
    allowed = ", ".join(kind.__name__ for kind in _ALLOWED)
    if len(plain) > 1:
        rewrite = f"{plain[0].__name__} | None, one type and None at most"
    else:
        found = getattr(typing.get_origin(plain[0]) or plain[0], "__name__", str(plain[0]))
        rewrite = _REWRITE.get(found, f"one of {allowed}, with '| None' where it may be missing")
    raise InvalidInput(
        f"{row_type.__name__}.{name}: {hint} cannot be a column. Rewrite it as {name}: {rewrite}. Columns are {allowed}."
    )


def schema(row_type: type[Row]) -> Any:
    """The Arrow schema: integers and floats of 64 bits, times in microseconds UTC."""
    known = _schemas.get(row_type)
    if known is None:
        known = _schemas[row_type] = _made_schema(row_type)
    return known


_schemas: dict[type[Row], Any] = {}


def _made_schema(row_type: type[Row]) -> Any:
    import pyarrow as pa

    kinds = {
        str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_(), bytes: pa.binary(),
        datetime: pa.timestamp("us", "UTC"),
    }  # fmt: skip
    return pa.schema([pa.field(column.name, kinds[column.type], column.nullable) for column in columns(row_type)])


def row_type_of(name: str, arrow_schema: Any) -> type[Row]:
    """A row class for a table that is known by its name only."""
    import pyarrow as pa

    kinds = {"string": str, "int64": int, "double": float, "bool": bool, "binary": bytes}
    fields: list[tuple[str, Any, Any]] = []
    for field in pa.schema(arrow_schema):
        kind: Any = kinds.get(str(field.type), datetime)
        fields.append((field.name, kind | None if field.nullable else kind, dataclasses.field(kw_only=True)))
    namespace = {"TABLE": name}
    return dataclasses.make_dataclass(f"{name.title()}Row", fields, bases=(Row,), namespace=namespace, frozen=True)


def to_arrow(row_type: type[R], rows: Sequence[R], **replaced: Any) -> Any:
    """Rows as an Arrow table; ``replaced`` gives one value for a whole column, such as ``seq=7``."""
    import pyarrow as pa

    kept = schema(row_type)
    given = [field.name for field in kept if field.name not in replaced]
    # with one name attrgetter gives no tuple
    each = map(operator.attrgetter(*given, given[0]), rows)
    values = dict(zip(given, zip(*each, strict=True), strict=False)) if rows else {}
    arrays = []
    for field in kept:
        if field.name in replaced:
            arrays.append(_array(row_type, field, [replaced[field.name]] * len(rows)))
        else:
            arrays.append(_array(row_type, field, values.get(field.name, ())))
    return pa.Table.from_arrays(arrays, schema=kept)


def fitting(row_type: type[R], rows: Sequence[R]) -> tuple[list[R], list[str]]:
    """The rows that fit the columns of their class, and of the others why they do not."""
    fit, problems = [], []
    for row in rows:
        try:
            to_arrow(row_type, [row], by="", writer="", seq=0)
        except InvalidInput as error:
            problems.append(str(error))
        else:
            fit.append(row)
    return fit, problems


def stamped(row_type: type[Row], table: Any, **stamps: Any) -> Any:
    """An Arrow table with a row class's schema: its own columns, the stamps, and null for what it has not."""
    import pyarrow as pa

    arrays = []
    for field in schema(row_type):
        if field.name in stamps:
            arrays.append(pa.repeat(pa.scalar(stamps[field.name], field.type), table.num_rows))
        elif field.name in table.column_names:
            arrays.append(table[field.name].cast(field.type))
        else:
            arrays.append(pa.nulls(table.num_rows, field.type))
    return pa.Table.from_arrays(arrays, schema=schema(row_type))


def array(kind: Any, values: Sequence[Any]) -> Any:
    """Python values as an Arrow array of a column's type.

    pyarrow itself imports pandas, a third of a second, as soon as it is given a list.
    """
    import pyarrow as pa
    from arro3.core import Array

    if all(value is None for value in values):
        return pa.nulls(len(values), kind)
    if pa.types.is_timestamp(kind):
        values = [value if value is None else (value - _EPOCH) // _MICROSECOND for value in values]
        if any(value is not None and not _FIRST <= value <= _LAST for value in values):
            # in UTC it lies in the year 0 or 10000, and Python could not read it again
            raise OverflowError
        return pa.array(Array(values, _made_of(pa.int64()))).cast(kind)
    return pa.array(Array(values, _made_of(kind)))


@functools.cache
def _made_of(kind: Any) -> Any:
    """arro3's type of pyarrow's."""
    import pyarrow as pa
    from arro3.core import DataType

    return {
        pa.string(): DataType.utf8(), pa.int64(): DataType.int64(), pa.float64(): DataType.float64(),
        pa.bool_(): DataType.bool(), pa.binary(): DataType.binary(),
    }[kind]  # fmt: skip


def empty(arrow_schema: Any) -> Any:
    """An Arrow table without rows."""
    import pyarrow as pa

    return pa.Table.from_arrays([array(field.type, []) for field in arrow_schema], schema=arrow_schema)


def _array(row_type: type[Row], field: Any, values: Sequence[Any]) -> Any:
    import pyarrow as pa

    if pa.types.is_timestamp(field.type):
        given = [value for value in values if value is not None]
        if not all(isinstance(value, datetime) for value in given):
            raise InvalidInput(f"{row_type.__name__}.{field.name}: no time. Give datetime.now(UTC).")
        if None in {value.tzinfo for value in given}:
            raise InvalidInput(
                f"{row_type.__name__}.{field.name}: a time without a zone. Give datetime.now(UTC) or .astimezone(UTC)."
            )
    try:
        made = array(field.type, values)
    except (TypeError, OverflowError, UnicodeEncodeError) as error:
        raise InvalidInput(
            f"{row_type.__name__}.{field.name}: a value does not fit a column of {field.type} ({type(error).__name__})."
        ) from None
    if made.null_count and not field.nullable:
        raise InvalidInput(f"{row_type.__name__}.{field.name} is None, but its annotation has no '| None'.")
    return made


def from_arrow(row_type: type[R], table: Any) -> list[R]:
    """Rows out of an Arrow table that has at least the class's columns."""
    names = [column.name for column in columns(row_type)]
    values = [_values(table[name]) for name in names]
    return [row_type.of(**dict(zip(names, row, strict=True))) for row in zip(*values, strict=True)]


def _values(column: Any) -> list[Any]:
    import pyarrow as pa

    if not pa.types.is_timestamp(column.type):
        values: list[Any] = column.to_pylist()
        return values
    # pyarrow imports pandas for a time too
    return [value if value is None else moment_of(value) for value in column.cast(pa.int64()).to_pylist()]


def moment_of(microseconds: int) -> datetime:
    """Microseconds since 1970 as a time in UTC."""
    return _EPOCH + microseconds * _MICROSECOND


def one_per_key(row_type: type[R], rows: Sequence[R]) -> list[R]:
    """The rows of a flush, one for each key where the table keeps the first or last of them.

    Of a table with ``STEPS`` the earlier ones stay too, for as-of answers, if the clock has moved on since: within a flush
    it decides which is the last.
    """
    if row_type.KEEP == "every":
        return list(rows)
    kept: dict[tuple[Any, ...], R] = {}
    keys = [tuple(getattr(row, name) for name in row_type.KEY) for row in rows]
    for key, row in zip(keys, rows, strict=True):
        if row_type.KEEP == "last" or key not in kept:
            kept[key] = row
    if row_type.STEPS:
        return [row for key, row in zip(keys, rows, strict=True) if row is kept[key] or row.at < kept[key].at]
    return list(kept.values())


def statistics_columns(row_type: type[Row]) -> list[str]:
    """The columns with file statistics: never floats, because delta-rs leaves NaN out of them and DataFusion then reads 1.0 for NaN."""
    return [column.name for column in columns(row_type) if column.type is not float]
