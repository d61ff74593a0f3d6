"""A table is a frozen dataclass: its fields are the columns, ``X | None`` the only nullable."""

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa

_TYPES: dict[Any, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    datetime: pa.timestamp("us", tz="UTC"),
}
# Every row of every table says when, by whom, by which process and in which order it was written.
ORDER = (
    pa.field("at", pa.timestamp("us", tz="UTC")),
    pa.field("by", pa.string()),
    pa.field("writer", pa.string()),
    pa.field("seq", pa.int64()),
)


def schema_of(row: type) -> pa.Schema:
    """The Arrow schema of a row class, with the columns of the order at its end.

    Raises
    ------
    TypeError
        For an annotation that is no column type, saying how to write it.
    """
    hints = typing.get_type_hints(row)
    fields = [_field(row, field.name, hints[field.name]) for field in dataclasses.fields(row)]
    return pa.schema([*fields, *ORDER])


def _field(row: type, name: str, hint: Any) -> pa.Field:
    kind, nullable = hint, False
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        options = [option for option in typing.get_args(hint) if option is not types.NoneType]
        kind, nullable = (options[0], True) if len(options) == 1 else (None, False)
    if kind not in _TYPES:
        allowed = ", ".join(t.__name__ for t in _TYPES)
        raise TypeError(f"{row.__name__}.{name}: {hint} is no column type. Write one of {allowed}, with '| None' where it may be missing.")
    # nullability is kept by the row classes: in the table every column is nullable, so that columns can be added
    return pa.field(name, _TYPES[kind], nullable=True, metadata={"nullable": str(nullable).lower()})


def to_table(rows: Sequence[Any], row: type, order: Mapping[str, Any]) -> pa.Table:
    """Rows of one class as an Arrow table with the columns of the order filled in."""
    schema = schema_of(row)
    names = [field.name for field in dataclasses.fields(row)]
    columns = [pa.array([getattr(item, name) for item in rows], type=schema.field(name).type) for name in names]
    columns += [pa.array([order[field.name]] * len(rows), type=field.type) for field in ORDER]
    return pa.table(columns, schema=schema.remove_metadata())


def float_columns(row: type) -> set[str]:
    """The columns that hold floats: no statistics are kept for them."""
    return {field.name for field in schema_of(row) if pa.types.is_floating(field.type)}
