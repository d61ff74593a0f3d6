"""Rows on their way into a model: any container becomes an Arrow table, is matched to the signature, and is converted once.

Columns are matched by name and types are checked from the two schemas, never from the values, so a call does not fail or
change its answers because of which rows share a batch.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sparkml_lifecycle.errors import InvalidInput, SchemaError, nearest
from sparkml_lifecycle.model import types
from sparkml_lifecycle.model.signature import Column, Signature, Tensor

# The type of a column about which nothing is known: any type fits it.
UNKNOWN = pa.null()


def is_list(kind: pa.DataType) -> bool:
    """Whether a column of this type holds arrays."""
    return bool(pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind) or pa.types.is_large_list(kind))


def as_table(data: Any, names: Sequence[str] | None) -> pa.Table:
    """Rows in any container as an Arrow table.

    Parameters
    ----------
    data : pyarrow.Table, RecordBatch, pandas.DataFrame, Series, numpy array, dict of columns, list of dicts or of rows
    names : sequence of str, optional
        Column names for containers that have none, in order.

    Raises
    ------
    SchemaError
        If values have no column type, or columns differ in length or share a name.
    InvalidInput
        For any other container.
    """
    if isinstance(data, pa.Table):
        return data
    if isinstance(data, pa.RecordBatch):
        return pa.Table.from_batches([data])
    try:
        return _table(data, names)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        # pyarrow names the column last, where it knows it
        column = str(error.args[-1])[:200] if len(error.args) > 1 else ""
        raise SchemaError(
            f"A column mixes values of several types or of a type that no column has, or columns differ in length: {column} Convert it first."
        ) from None
    except (OverflowError, UnicodeError, TypeError, ValueError) as error:
        raise SchemaError(
            f"The rows ({type(data).__name__}) are no table: columns of one length, with numbers of at most 64 bits, texts, dates or lists ({type(error).__name__})."
        ) from None


def _table(data: Any, names: Sequence[str] | None) -> pa.Table:
    import pandas as pd

    if hasattr(data, "toarray"):
        data = data.toarray()
    if isinstance(data, np.ndarray) and data.dtype.names:
        data = pd.DataFrame.from_records(data)
    if isinstance(data, np.ndarray) and data.ndim:
        return _from_array(data, names)
    if isinstance(data, Mapping):
        return pa.table({str(name): _values(values) for name, values in data.items()})
    if isinstance(data, pd.Series):
        data = data.to_frame(data.name if data.name is not None else (names or ["0"])[0])
    if isinstance(data, list):
        data = (
            pd.DataFrame(data)
            if data and isinstance(data[0], Mapping)
            else pd.DataFrame(data, columns=_fitting(names, data))
        )
    if isinstance(data, pd.DataFrame):
        frame = data.rename(columns=str)
        if not frame.columns.is_unique:
            twice = sorted(set(frame.columns[frame.columns.duplicated()]))
            raise SchemaError(f"Several columns are called {', '.join(map(repr, twice))}: rename them.")
        for name in [name for name in frame.columns if isinstance(frame[name].dtype, pd.SparseDtype)]:
            frame[name] = np.asarray(frame[name])
        return pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata(None)
    raise InvalidInput(
        f"Rows cannot be taken from {type(data).__name__}: give a DataFrame, Arrow table, array, dict of columns or list of dicts."
    )


def _values(values: Any) -> pa.Array:
    # a list keeps its integers beside a None, numpy would make them floats or objects
    if isinstance(values, (list, tuple)):
        return pa.array(values, from_pandas=True)
    return pa.array(np.atleast_1d(values) if np.ndim(values) < 2 else list(values), from_pandas=True)


def _fitting(names: Sequence[str] | None, rows: list[Any]) -> list[str] | None:
    width = len(rows[0]) if rows and isinstance(rows[0], (list, tuple)) else 1
    return list(names) if names is not None and len(names) == width else None


def _from_array(data: np.ndarray, names: Sequence[str] | None) -> pa.Table:
    matrix = data.reshape(-1, 1) if data.ndim == 1 else data
    if matrix.ndim != 2:
        return pa.table({(names or ["0"])[0]: pa.array(matrix.tolist())})
    labels = (
        list(names) if names is not None and len(names) == matrix.shape[1] else [str(i) for i in range(matrix.shape[1])]
    )
    return pa.table([pa.array(matrix[:, i], from_pandas=True) for i in range(matrix.shape[1])], names=labels)


def is_pandas(data: Any) -> bool:
    """Whether rows are in a DataFrame or Series: their times keep unit and zone, and advice is given in pandas' words."""
    return type(data).__module__.partition(".")[0] == "pandas"


def conform(table: pa.Table, signature: Signature, *, in_pandas: bool = False) -> pa.Table:
    """``table`` with exactly the signature's columns, in its order and types.

    Parameters
    ----------
    table : pyarrow.Table
    signature : Signature
    in_pandas : bool
        Whether the caller holds a pandas DataFrame, and so reads how to cast a column there.

    Raises
    ------
    SchemaError
        For a missing column, a wrong number of unnamed columns, or a type that would lose values.
    """
    columns = signature.columns
    if columns is None:
        return (
            _conform_tensor(table, signature.inputs[0])
            if signature.inputs and isinstance(signature.inputs[0], Tensor)
            else table
        )
    if signature.names is None:
        if len(columns) != table.num_columns:
            raise SchemaError(
                f"The model takes {len(columns)} columns, found {table.num_columns}: {', '.join(table.column_names)}."
            )
        table = table.rename_columns([str(i) for i in range(len(columns))])
        columns = tuple(
            Column(str(i), c.type, c.required, c.nullable, c.categories, c.ordered) for i, c in enumerate(columns)
        )
    _check_columns(table.schema, columns, in_pandas)
    arrays, place_of = [], {name: place for place, name in enumerate(table.column_names)}
    for column in columns:
        place = place_of.get(str(column.name))
        arrays.append(
            pa.nulls(table.num_rows, column.type) if place is None else cast(table.column(place), column.type)
        )
    return pa.table(arrays, names=[str(c.name) for c in columns])


def check_schema(schema: pa.Schema, signature: Signature) -> None:
    """Compare a table's schema with the signature without touching a row.

    Raises
    ------
    SchemaError
        As :func:`conform`.
    """
    if signature.names is not None and signature.columns:
        _check_columns(schema, signature.columns)


def _check_columns(schema: pa.Schema, columns: Sequence[Column], in_pandas: bool = False) -> None:
    problems, names, kinds = [], schema.names, schema.types
    counts, kind_of = Counter(names), dict(zip(names, kinds, strict=True))
    for column in columns:
        count = counts[column.name]
        if count > 1:
            problems.append(f"column {column.name!r} is there {count} times")
        elif count == 0 and column.required:
            near = nearest(str(column.name), names)
            hint = f" (did you mean {near!r}?)" if near else ""
            problems.append(f"column {column.name!r} ({types.describe(column.type)}) is missing{hint}")
        elif count and not types.widens(found := _value_type(kind_of[column.name]), column.type):
            problems.append(
                f"column {column.name!r} is {types.describe(found)}, the model takes {types.describe(column.type)}: "
                f"{_how_to_cast(column, in_pandas)}"
            )
    if problems:
        raise SchemaError(f"The columns do not fit the model: {'; '.join(problems)}. Found: {', '.join(names)}.")


def _how_to_cast(column: Column, in_pandas: bool) -> str:
    if not in_pandas:
        return f"cast it, for example CAST({column.name} AS {types.describe(column.type)})"
    dtype = types.pandas_name(column.type)
    return f"cast it: df[{column.name!r}].astype({dtype!r})" if dtype else "convert it first"


def _value_type(found: pa.DataType) -> pa.DataType:
    return found if pa.types.is_null(found) else types.plain(found)


def _conform_tensor(table: pa.Table, tensor: Tensor) -> pa.Table:
    wanted = pa.from_numpy_dtype(np.dtype(tensor.dtype))
    width = tensor.shape[1] if len(tensor.shape) == 2 else 1
    if table.num_columns == 1 and len(tensor.shape) > 1 and pa.types.is_list(_value_type(table.schema.field(0).type)):
        found = table.schema.field(0).type.value_type
        count = table.num_columns
    else:
        found = next((f.type for f in table.schema if not types.widens(_value_type(f.type), wanted)), wanted)
        count = table.num_columns
        if width not in (-1, count) and len(tensor.shape) == 2:
            raise SchemaError(
                f"The model takes {width} columns of {tensor.dtype}, found {count}: {', '.join(table.column_names)}."
            )
    if not types.widens(_value_type(found), types.plain(wanted)):
        raise SchemaError(
            f"The model takes an array of {tensor.dtype}, found values of type {types.describe(_value_type(found))}: cast them first."
        )
    return table


def cast(values: pa.ChunkedArray | pa.Array, wanted: pa.DataType) -> pa.ChunkedArray | pa.Array:
    """Values in a type that :func:`types.widens` allows."""
    if values.type == wanted or pa.types.is_null(wanted):
        return values
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if pa.types.is_timestamp(wanted) and pa.types.is_timestamp(values.type):
        # unit and zone are the form's to decide; a time without a zone is read as UTC, as sessions of this package have it
        if (values.type.tz is None) == (wanted.tz is None):
            return values
        return (
            pc.assume_timezone(values, "UTC")
            if values.type.tz is None
            else pc.cast(values, pa.timestamp(values.type.unit, tz="UTC")).cast(pa.timestamp(values.type.unit))
        )
    try:
        return values.cast(wanted)
    except pa.ArrowInvalid:
        raise SchemaError(
            f"A value of a column of type {values.type} does not fit into {types.describe(wanted)}. Cast the column first."
        ) from None


def _may_have_nan(values: pa.ChunkedArray) -> bool:
    # a sum is NaN where an item is, and costs a fraction of looking at each
    with np.errstate(invalid="ignore", over="ignore"):
        return bool(np.isnan(values.to_numpy().sum()))


def null_rows(table: pa.Table, columns: Collection[str]) -> np.ndarray | None:
    """A mask of the rows that have a null in one of ``columns`` (NaN counts as one), or None if no row has."""
    mask = None
    for name in columns:
        values = table.column(name)
        if values.null_count or (pa.types.is_floating(values.type) and _may_have_nan(values)):
            nulls = pc.is_null(values, nan_is_null=True).to_numpy()
            mask = nulls if mask is None else mask | nulls
    return mask if mask is not None and mask.any() else None
