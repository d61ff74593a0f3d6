"""A model's answers on their way out: whatever a framework returns becomes named Arrow columns, and those the asked type."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sparkml_lifecycle.errors import SchemaError
from sparkml_lifecycle.model import types


def to_columns(answers: Any, rows: int, names: Sequence[str | None] | None = None) -> pa.Table:
    """Answers as a table with one row per input row.

    A single unnamed answer is the column ``prediction``; unnamed columns of a two-dimensional array are ``0``, ``1`` …
    unless the signature's ``names`` fit.

    Raises
    ------
    SchemaError
        If the number of answers is not the number of rows, or they have no Arrow type.
    """
    try:
        table = _columns(answers, names)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise SchemaError(
            f"The model's answers ({type(answers).__name__}) have no column type ({type(error).__name__})."
        ) from error
    if table.num_rows != rows:
        raise SchemaError(
            f"The model gave {table.num_rows} answers to {rows} rows; it must give one per row, in order."
        )
    return table


def _columns(answers: Any, names: Sequence[str | None] | None) -> pa.Table:
    if isinstance(answers, pa.Table):
        return answers
    if isinstance(answers, pa.RecordBatch):
        return pa.Table.from_batches([answers])
    if isinstance(answers, Mapping):
        return pa.table({str(name): _array(values) for name, values in answers.items()})
    if hasattr(answers, "columns") and hasattr(answers, "to_dict"):
        return pa.table({str(name): _array(answers[name]) for name in answers.columns})
    if hasattr(answers, "toarray"):
        answers = answers.toarray()
    if isinstance(answers, np.ndarray) and answers.ndim == 2:
        labels = (
            [str(n) for n in names]
            if names and len(names) == answers.shape[1] and None not in names
            else [str(i) for i in range(answers.shape[1])]
        )
        if answers.shape[1] == 1 and not (names and names[0]):
            labels = ["prediction"]
        return pa.table([_array(answers[:, i]) for i in range(answers.shape[1])], names=labels)
    name = str(names[0]) if names and len(names) == 1 and names[0] else "prediction"
    if isinstance(answers, np.ndarray) and answers.ndim > 2:
        answers = answers.tolist()
    if isinstance(answers, list) and answers and isinstance(answers[0], Mapping):
        return pa.Table.from_pylist(answers)
    return pa.table({name: _array(answers)})


def _array(values: Any) -> pa.Array:
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return values
    if isinstance(values, np.ndarray) and values.dtype == object and values.ndim == 1:
        return pa.array(values.tolist(), from_pandas=True)
    if isinstance(values, np.ndarray) and values.ndim > 1:
        return pa.array(values.tolist())
    # a NaN that a model computed is an answer, not a missing one
    return pa.array(values, from_pandas=not (isinstance(values, np.ndarray) or _is_float_series(values)))


def _is_float_series(values: Any) -> bool:
    dtype = getattr(values, "dtype", None)
    return isinstance(dtype, np.dtype) and dtype.kind == "f"


def spread(table: pa.Table, left_out: np.ndarray | None) -> pa.Table:
    """The answers of the rows that were scored, with nulls at the rows that ``left_out`` marks."""
    if left_out is None:
        return table
    positions = np.cumsum(~left_out) - 1
    indices = pa.array(positions, mask=left_out)
    return pa.table([pc.take(column, indices) for column in table.columns], names=table.column_names)


def to_type(table: pa.Table, wanted: pa.DataType) -> pa.Array:
    """The answers in the type that the caller asked for.

    * a plain type: the leftmost column that can become it (MLflow's rule);
    * an array: a row's numeric outputs in order (all outputs for an array of strings), or the one column that is an array;
    * a struct: the columns by name, or by position where neither side has names;
    * a map: names to values, for the columns that can become the value type.

    Raises
    ------
    SchemaError
        If no column can become the type; the message lists what the model answers.
    """
    if pa.types.is_list(wanted):
        return _to_list(table, wanted)
    if pa.types.is_struct(wanted):
        return _to_struct(table, wanted)
    if pa.types.is_map(wanted):
        return _to_map(table, wanted)
    for name in table.column_names:
        if _can_become(table.schema.field(name).type, wanted):
            return _cast(table.column(name), wanted)
    raise _cannot(table, wanted)


def _cannot(table: pa.Table, wanted: pa.DataType) -> SchemaError:
    found = ", ".join(f"{f.name} {types.describe(f.type)}" for f in table.schema)
    return SchemaError(
        f"The model's answers ({found}) cannot become {types.describe(wanted)}. Ask for another result_type, or leave it out."
    )


def _is_number(arrow: pa.DataType) -> bool:
    return bool(pa.types.is_integer(arrow) or pa.types.is_floating(arrow) or pa.types.is_decimal(arrow))


def _can_become(found: pa.DataType, wanted: pa.DataType) -> bool:
    """By type alone: numbers become numbers of their kind or wider kinds, anything plain becomes a string."""
    if found == wanted or pa.types.is_null(found):
        return True
    if pa.types.is_string(wanted):
        return not pa.types.is_nested(found) and not pa.types.is_binary(found)
    if pa.types.is_floating(wanted):
        return _is_number(found)
    if pa.types.is_integer(wanted):
        return bool(pa.types.is_integer(found) or pa.types.is_boolean(found))
    if pa.types.is_boolean(wanted):
        return bool(pa.types.is_boolean(found))
    if pa.types.is_decimal(wanted):
        return _is_number(found)
    if pa.types.is_nested(wanted):
        return bool(pa.types.is_nested(found))
    return types.widens(types.plain(found), wanted) or (pa.types.is_timestamp(wanted) and pa.types.is_timestamp(found))


def _cast(values: pa.ChunkedArray, wanted: pa.DataType) -> pa.Array:
    array = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks else pa.array([], type=array.type)
    if array.type == wanted:
        return array
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if (
        pa.types.is_timestamp(wanted)
        and pa.types.is_timestamp(array.type)
        and (array.type.tz is None) != (wanted.tz is None)
    ):
        array = (
            pc.assume_timezone(array, "UTC") if array.type.tz is None else pc.cast(array, pa.timestamp("us", tz="UTC"))
        )
    try:
        # the width of an integer is checked by value, a float's digits are not
        return array.cast(wanted, safe=not pa.types.is_floating(wanted))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise SchemaError(
            f"An answer of type {types.describe(types.plain(array.type))} does not fit into {types.describe(wanted)}. Ask for a wider result_type."
        ) from error


def _to_list(table: pa.Table, wanted: pa.ListType) -> pa.Array:
    if table.num_columns == 1 and pa.types.is_list(types.plain(table.schema.field(0).type)):
        return _cast(table.column(0), wanted)
    textual = pa.types.is_string(wanted.value_type)
    chosen = [
        name for name in table.column_names
        if (textual or _is_number(table.schema.field(name).type)) and _can_become(table.schema.field(name).type, wanted.value_type)
    ]  # fmt: skip
    if not chosen:
        raise _cannot(table, wanted)
    columns = [_cast(table.column(name), wanted.value_type) for name in chosen]
    width, rows = len(columns), table.num_rows
    interleaved = np.arange(width * rows).reshape(width, rows).T.ravel()
    values = pa.concat_arrays(columns).take(pa.array(interleaved))
    # a row that was left out has no answers at all: a null, not an array of nulls
    missing = np.logical_and.reduce([c.is_null().to_numpy(zero_copy_only=False) for c in columns])
    offsets = pa.array(np.arange(rows + 1, dtype=np.int32) * width, mask=np.append(missing, False))
    return pa.ListArray.from_arrays(offsets, values).cast(wanted)


def _to_struct(table: pa.Table, wanted: pa.StructType) -> pa.Array:
    names = [f.name for f in wanted]
    if all(name in table.column_names for name in names):
        columns = [table.column(name) for name in names]
    elif table.num_columns == len(names) and table.column_names in (
        [str(i) for i in range(len(names))],
        ["prediction"],
    ):
        columns = list(table.columns)
    else:
        raise _cannot(table, wanted)
    for column, field in zip(columns, wanted, strict=True):
        if not _can_become(column.type, field.type):
            raise _cannot(table, wanted)
    arrays = [_cast(column, field.type) for column, field in zip(columns, wanted, strict=True)]
    return pa.StructArray.from_arrays(arrays, fields=list(wanted))


def _to_map(table: pa.Table, wanted: pa.MapType) -> pa.Array:
    chosen = [name for name in table.column_names if _can_become(table.schema.field(name).type, wanted.item_type)]
    if not chosen or not pa.types.is_string(wanted.key_type):
        raise _cannot(table, wanted)
    width, rows = len(chosen), table.num_rows
    interleaved = pa.array(np.arange(width * rows).reshape(width, rows).T.ravel())
    items = pa.concat_arrays([_cast(table.column(name), wanted.item_type) for name in chosen]).take(interleaved)
    keys = pa.array(chosen).take(pa.array(np.tile(np.arange(width), rows)))
    return pa.MapArray.from_arrays(np.arange(rows + 1, dtype=np.int32) * width, keys, items).cast(wanted)
