"""A model's answers on their way out: whatever a framework returns becomes named Arrow columns, and those the asked type.

The type of an answer is decided once for a plan, never by what a batch happens to hold: which columns become it is read
from the signature's outputs where there are any. Where there are none, a column that holds nothing but None in this batch
is taken for text, except in an array, which keeps its length. So save a model whose answers may be None with an example.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sparkml_lifecycle.errors import SchemaError
from sparkml_lifecycle.model import types
from sparkml_lifecycle.model.signature import Column, Tensor


@dataclass(frozen=True)
class Answers:
    """Answers as columns.

    Attributes
    ----------
    table : pyarrow.Table
        One row per input row.
    dicts : list or None
        The rows themselves where they are dicts, whose keys may differ; a None is a row without an answer.
    """

    table: pa.Table
    dicts: list[dict[str, Any] | None] | None = None


def to_columns(answers: Any, rows: int, names: Sequence[str | None] | None = None) -> pa.Table:
    """Answers as a table with one row per input row.

    A single unnamed answer is the column ``prediction``; unnamed columns of a two-dimensional array are ``0``, ``1`` …
    unless the signature's ``names`` fit.

    Raises
    ------
    SchemaError
        If the number of answers is not the number of rows, or they have no Arrow type.
    """
    return read(answers, rows, names).table


def read(answers: Any, rows: int, names: Sequence[str | None] | None = None) -> Answers:
    """:func:`to_columns`, which also tells a row without an answer from one whose answers are all missing."""
    kind = type(answers).__name__
    if _is_single(answers):
        raise SchemaError(
            f"The model gave one {kind} to {rows} rows; it must give one answer per row: an array, a Series, a list or a DataFrame."
        )
    try:
        found = _columns(answers, names)
    except (
        pa.ArrowInvalid,
        pa.ArrowTypeError,
        pa.ArrowNotImplementedError,
        OverflowError,
        TypeError,
        ValueError,
    ) as error:
        raise SchemaError(
            f"The model's answers ({kind}) have no column type ({type(error).__name__}). A column holds numbers of at most "
            "64 bits, texts, dates, lists or dicts, all of one kind and of one length."
        ) from None
    if found.table.num_rows != rows:
        raise SchemaError(
            f"The model gave {found.table.num_rows} answers to {rows} rows; it must give one per row, in order."
        )
    return found


def _is_single(values: Any) -> bool:
    """Whether this is one value and not one for each row; a set has no order, so it is none for each row either."""
    if values is None or isinstance(values, (str, bytes, set, frozenset)) or getattr(values, "ndim", None) == 0:
        return True
    return not (hasattr(values, "__len__") or hasattr(values, "__iter__"))


def _columns(answers: Any, names: Sequence[str | None] | None) -> Answers:
    if isinstance(answers, pa.Table):
        return Answers(_decoded(answers))
    if isinstance(answers, pa.RecordBatch):
        return Answers(_decoded(pa.Table.from_batches([answers])))
    if isinstance(answers, Mapping):
        return Answers(pa.table({str(name): _array(values) for name, values in answers.items()}))
    if hasattr(answers, "columns") and hasattr(answers, "to_dict"):
        labels = [str(name) for name in answers.columns]
        if twice := sorted({name for name in labels if labels.count(name) > 1}):
            raise SchemaError(f"The model answers a DataFrame with several columns {', '.join(twice)}: rename them.")
        return Answers(pa.table([_array(answers.iloc[:, i]) for i in range(len(labels))], names=labels))
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
        return Answers(pa.table([_array(answers[:, i]) for i in range(answers.shape[1])], names=labels))
    name = str(names[0]) if names and len(names) == 1 and names[0] else "prediction"
    if isinstance(answers, np.ndarray) and answers.ndim > 2:
        answers = answers.tolist()
    if isinstance(answers, list) and any(isinstance(item, Mapping) for item in answers):
        return _from_dicts(answers)
    return Answers(pa.table({name: _array(answers)}))


def _from_dicts(rows: list[Any]) -> Answers:
    """The union of the keys as columns."""
    if any(row is not None and not isinstance(row, Mapping) for row in rows):
        raise TypeError("dicts and other values")
    dicts = [None if row is None else {str(key): value for key, value in row.items()} for row in rows]
    names = list(dict.fromkeys(name for row in dicts if row is not None for name in row))
    columns = {name: pa.array([(row or {}).get(name) for row in dicts], from_pandas=True) for name in names}
    return Answers(pa.table(columns), dicts)


def _array(values: Any) -> pa.Array:
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return _plain(values)
    if _is_single(values):
        raise TypeError("one value for all rows")
    if isinstance(values, np.ndarray) and values.dtype == object and values.ndim == 1:
        return pa.array(values.tolist(), from_pandas=True)
    if isinstance(values, np.ndarray) and values.ndim > 1:
        return pa.array(values.tolist())
    # a NaN that a model computed is an answer, not a missing one
    return _plain(pa.array(values, from_pandas=not (isinstance(values, np.ndarray) or _is_float_series(values))))


def _plain(values: Any) -> Any:
    return values.cast(values.type.value_type) if pa.types.is_dictionary(values.type) else values


def _decoded(table: pa.Table) -> pa.Table:
    return pa.table([_plain(column) for column in table.columns], names=table.column_names)


def _is_float_series(values: Any) -> bool:
    dtype = getattr(values, "dtype", None)
    return isinstance(dtype, np.dtype) and dtype.kind == "f"


def joined(pieces: Sequence[tuple[Any, pa.Table]], rows: int) -> pa.Table:
    """The columns of several calls as one table of ``rows`` rows; rows of no call are null.

    Parameters
    ----------
    pieces : sequence of (positions, table)
        Positions None, in a single piece, are all rows.
    """
    if len(pieces) == 1 and pieces[0][0] is None:
        return pieces[0][1]
    try:
        table = pa.concat_tables([part for _, part in pieces], promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise SchemaError(
            f"The model answers rows with a null in other types than rows without ({type(error).__name__})."
        ) from None
    indices = order_of([at for at, _ in pieces], rows)
    return pa.table([pc.take(column, indices) for column in table.columns], names=table.column_names)


def order_of(places: Sequence[np.ndarray], rows: int) -> pa.Array:
    """For each row where its answer lies in the calls' answers one after the other; null where it is in none."""
    order = np.full(rows, -1, dtype=np.int64)
    together = np.concatenate(places)
    order[together] = np.arange(len(together))
    return pa.array(order, mask=order < 0)


# -- the asked type ------------------------------------------------------------------------------------------------------


def to_type(
    answers: pa.Table | Answers, wanted: pa.DataType, outputs: Sequence[Column | Tensor] | None = None
) -> pa.Array:
    """The answers in the type that the caller asked for.

    * a plain type: the leftmost column that can become it (MLflow's rule);
    * an array: a row's numeric outputs in order (all outputs for an array of strings), or the one column that is an array;
    * a struct: the columns by name, or by position where neither side has names;
    * a map: names to values, for the columns that can become the value type.

    Parameters
    ----------
    answers : pyarrow.Table or Answers
    wanted : pyarrow.DataType
    outputs : sequence of Column, optional
        The signature's outputs, whose types decide which columns are taken.

    Raises
    ------
    SchemaError
        If no column can become the type; the message lists what the model answers.
    """
    found = answers if isinstance(answers, Answers) else Answers(answers)
    table = _described(found.table, outputs)
    if pa.types.is_struct(wanted):
        values = _to_struct(table, wanted, found.dicts is not None)
        absent = [row is None for row in found.dicts or ()]
        return values.take(pa.array(np.arange(len(values)), mask=np.array(absent))) if any(absent) else values
    if found.dicts is not None:
        return _from_keys(table, found.dicts, wanted)
    if pa.types.is_list(wanted):
        return _to_list(table, wanted)
    return _to_map(table, wanted) if pa.types.is_map(wanted) else _to_plain(table, wanted)


def _from_keys(table: pa.Table, dicts: list[dict[str, Any] | None], wanted: pa.DataType) -> pa.Array:
    """Each row's own keys in its own order, so that the keys of other rows change nothing."""
    is_list, is_map = pa.types.is_list(wanted), pa.types.is_map(wanted)
    item = wanted.value_type if is_list else wanted.item_type if is_map else wanted
    kinds = {f.name: f.type for f in table.schema}
    fits = {
        name: _cast(table.column(name), item).to_pylist()
        for name, kind in kinds.items()
        if _can_become(kind, item) and (not is_list or pa.types.is_string(item) or _is_number(kind))
    }
    if not fits and not all(pa.types.is_null(kind) for kind in kinds.values()):
        raise _cannot(table, wanted)

    def own(i: int, row: dict[str, Any]) -> dict[str, Any]:
        return {name: fits[name][i] if name in fits else None for name in row if name in fits or row[name] is None}

    rows = [None if row is None else own(i, row) for i, row in enumerate(dicts)]
    if is_list:
        return pa.array([None if row is None else list(row.values()) for row in rows], type=wanted)
    if is_map:
        return pa.array([None if row is None else list(row.items()) for row in rows], type=wanted)
    return pa.array([next((v for v in (row or {}).values() if v is not None), None) for row in rows], type=wanted)


def _described(table: pa.Table, outputs: Sequence[Column | Tensor] | None) -> pa.Table:
    """The columns that hold nothing in this batch get the type that the signature gives them."""
    described = {item.name or "prediction": item.type for item in outputs or () if isinstance(item, Column)}
    if not described:
        return table
    for i, name in enumerate(table.column_names):
        if name in described and pa.types.is_null(table.schema.field(i).type):
            table = table.set_column(i, name, pa.nulls(table.num_rows, described[name]))
    return table


def _to_plain(table: pa.Table, wanted: pa.DataType) -> pa.Array:
    for name in table.column_names:
        if _can_become(table.schema.field(name).type, wanted):
            return _cast(table.column(name), wanted)
    if all(pa.types.is_null(f.type) for f in table.schema):
        return pa.nulls(table.num_rows, wanted)
    raise _cannot(table, wanted)


def _cannot(table: pa.Table, wanted: pa.DataType) -> SchemaError:
    found = ", ".join(f"{f.name} {types.describe(f.type)}" for f in table.schema)
    hint = "Ask for another result_type, or leave it out."
    if pa.types.is_struct(wanted) and table.num_columns > 1:
        hint = f"Its fields go by the answers' names: {types.describe(pa.struct(list(table.schema)))}."
    return SchemaError(f"The model's answers ({found}) cannot become {types.describe(wanted)}. {hint}")


def _is_number(arrow: pa.DataType) -> bool:
    return bool(pa.types.is_integer(arrow) or pa.types.is_floating(arrow) or pa.types.is_decimal(arrow))


def _can_become(found: pa.DataType, wanted: pa.DataType) -> bool:
    """By type alone: numbers become numbers of their kind or wider kinds, anything plain becomes a string."""
    if found == wanted:
        return True
    if pa.types.is_string(wanted):
        return not pa.types.is_nested(found) and not pa.types.is_binary(found)
    if pa.types.is_null(found):
        return False
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
    if pa.types.is_timestamp(array.type):
        # Spark's times are microseconds: finer digits are cut
        array = array.cast(pa.timestamp("us", tz=array.type.tz), safe=False)
        if pa.types.is_timestamp(wanted) and (array.type.tz is None) != (wanted.tz is None):
            array = (
                pc.assume_timezone(array, "UTC")
                if array.type.tz is None
                else pc.cast(array, pa.timestamp("us", tz="UTC"))
            )
    try:
        # the width of an integer is checked by value, a float's digits are not
        return array.cast(wanted, safe=not pa.types.is_floating(wanted))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        # Arrow's own text may quote a value
        raise SchemaError(
            f"An answer of type {types.describe(types.plain(array.type))} does not fit into {types.describe(wanted)} "
            f"({type(error).__name__}). Ask for a wider result_type."
        ) from None


def _to_list(table: pa.Table, wanted: pa.ListType) -> pa.Array:
    if table.num_columns == 1 and pa.types.is_list(types.plain(table.schema.field(0).type)):
        return _cast(table.column(0), wanted)
    if table.num_columns == 1 and pa.types.is_null(table.schema.field(0).type):
        return pa.nulls(table.num_rows, wanted)
    textual = pa.types.is_string(wanted.value_type)
    kinds = {f.name: f.type for f in table.schema}
    chosen = [
        name for name, kind in kinds.items()
        if pa.types.is_null(kind) or ((textual or _is_number(kind)) and _can_become(kind, wanted.value_type))
    ]  # fmt: skip
    if not chosen:
        raise _cannot(table, wanted)
    width, rows = len(chosen), table.num_rows
    interleaved = np.arange(width * rows).reshape(width, rows).T.ravel()
    values = pa.concat_arrays([_cast(table.column(name), wanted.value_type) for name in chosen])
    offsets = pa.array(np.arange(rows + 1, dtype=np.int32) * width)
    return pa.ListArray.from_arrays(offsets, values.take(pa.array(interleaved))).cast(wanted)


def _to_struct(table: pa.Table, wanted: pa.StructType, keyed: bool) -> pa.Array:
    names = [f.name for f in wanted]
    if table.column_names == ["prediction"] and names != ["prediction"]:
        only = table.column(0)
        if pa.types.is_null(only.type):
            return pa.nulls(table.num_rows, wanted)
    if all(name in table.column_names for name in names):
        columns = [table.column(name) for name in names]
    elif table.num_columns == len(names) and table.column_names in (
        [str(i) for i in range(len(names))],
        ["prediction"],
    ):
        columns = list(table.columns)
    elif keyed and set(names) & set(table.column_names):
        # dicts of this batch that lack a key: it is missing, as it is in a batch in which another row has it
        columns = [
            table.column(name) if name in table.column_names else pa.chunked_array([pa.nulls(table.num_rows, kind)])
            for name, kind in ((f.name, f.type) for f in wanted)
        ]
    else:
        raise _cannot(table, wanted)
    for column, field in zip(columns, wanted, strict=True):
        if not pa.types.is_null(column.type) and not _can_become(column.type, field.type):
            raise _cannot(table, wanted)
    arrays = [_cast(column, field.type) for column, field in zip(columns, wanted, strict=True)]
    return pa.StructArray.from_arrays(arrays, fields=list(wanted))


def _to_map(table: pa.Table, wanted: pa.MapType) -> pa.Array:
    chosen = [name for name in table.column_names if _can_become(table.schema.field(name).type, wanted.item_type)]
    if not pa.types.is_string(wanted.key_type) or not (chosen or all(pa.types.is_null(f.type) for f in table.schema)):
        raise _cannot(table, wanted)
    width, rows = len(chosen), table.num_rows
    if not width:
        return pa.nulls(rows, wanted)
    interleaved = pa.array(np.arange(width * rows).reshape(width, rows).T.ravel())
    items = pa.concat_arrays([_cast(table.column(name), wanted.item_type) for name in chosen]).take(interleaved)
    keys = pa.array(chosen).take(pa.array(np.tile(np.arange(width), rows)))
    return pa.MapArray.from_arrays(np.arange(rows + 1, dtype=np.int32) * width, keys, items).cast(wanted)
