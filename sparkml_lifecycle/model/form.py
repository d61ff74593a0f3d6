"""The form of a batch: how Arrow columns, with their nulls, become what the framework was trained on.

Arrow has a null in every type, pandas and numpy have not: an integer column with a null becomes floats, a missing text is
None or NaN, a time is in nanoseconds or cannot be. Whoever decides that by looking at a batch makes a row's answer depend
on the rows beside it. So it is decided here, column by column and row by row, from the exact signature, the model and the
row itself:

* each column has a *first form*, which is what the framework's own code sees where nothing is missing: integers and
  booleans stay what they are, floats spell missing as NaN, times have the unit and zone of training (nanoseconds where it
  is not known), texts are objects, categories have the levels that the model knows;
* two kinds of values do not fit their first form: a null in an integer or boolean column, and a time outside of what
  nanoseconds reach. A row that holds one is scored in *another call*, in which such columns have their *second form*:
  float64 with NaN (pandas' ``Int64`` and ``boolean`` where the model's :class:`~sparkml_lifecycle.model.spelling.Spelling` says so), and microseconds;
* rows that the model refuses (see :mod:`sparkml_lifecycle.nulls`) are in no call and answer null.

Which call a row is in depends on that row alone; where the model looks at its columns one by one (``Spelling.apart``) only
those columns change their form in which this row has such a value, so that an identifier of 2**60 beside a missing number
keeps its digits.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sparkml_lifecycle.errors import SchemaError
from sparkml_lifecycle.model.batch import is_list
from sparkml_lifecycle.model.signature import Column, Tensor
from sparkml_lifecycle.model.spelling import Spelling

# what nanoseconds since 1970 in 64 bits reach, in microseconds
_FIRST_TIME, _LAST_TIME = -9_223_372_036_854_775, 9_223_372_036_854_775


@dataclass(frozen=True)
class Form:
    """The form of every column, decided once when a model is loaded.

    Attributes
    ----------
    kind : {"arrow", "numpy", "pandas"}
    columns : mapping of str to Column
        What is known of each column; one that is not known has the form that its Arrow type has.
    tensor : Tensor, optional
        The type and shape of a numpy batch, where they are known.
    spelling : Spelling
    labels : mapping of str to int
        Columns whose name in the DataFrame is a number.
    nameless : bool
        Whether a matrix will do for a DataFrame whose columns are floats of one type.
    """

    kind: Literal["arrow", "numpy", "pandas"]
    columns: Mapping[str, Column] = field(default_factory=dict)
    tensor: Tensor | None = None
    spelling: Spelling = field(default_factory=Spelling)
    labels: Mapping[str, int] = field(default_factory=dict)
    nameless: bool = False

    def calls(self, table: pa.Table, as_given: bool = False) -> Iterator[tuple[np.ndarray | None, Any]]:
        """The batch in the form of the model, as few calls as its rows need.

        Parameters
        ----------
        table : pyarrow.Table
        as_given : bool
            Whether the caller gave a DataFrame, whose times keep their unit and zone.

        Yields
        ------
        numpy.ndarray or None
            The positions of the rows of this call; None for all.
        pyarrow.Table, numpy.ndarray or pandas.DataFrame
        """
        if self.kind == "arrow":
            yield None, table
            return
        odd = self._odd(table, as_given)
        if not odd:
            yield None, self._made(table, frozenset(), as_given)
            return
        names = list(odd)
        patterns, which = np.unique(np.column_stack(list(odd.values())), axis=0, return_inverse=True)
        for number, pattern in enumerate(patterns):
            rows = np.flatnonzero(which.ravel() == number)
            second = frozenset(name for name, is_odd in zip(names, pattern, strict=True) if is_odd)
            yield rows, self._made(table.take(pa.array(rows)), second, as_given)

    def _odd(self, table: pa.Table, as_given: bool) -> dict[str, np.ndarray]:
        """For each column, or each kind of columns, a mask of the rows that do not fit its first form."""
        found: dict[str, np.ndarray] = {}
        for name, values in zip(table.column_names, table.columns, strict=True):
            family, mask = "", None
            if values.null_count and _is_whole(values.type) and self._keeps_whole(name, table):
                family, mask = "integers", values.is_null().to_numpy()
            elif self.kind == "numpy" and is_list(values.type) and self._keeps_whole(name, table):
                family, mask = "integers", _rows_with_null_items(values)
            elif (
                pa.types.is_timestamp(values.type)
                and self.kind == "pandas"
                and self._unit(name, values, as_given) == "ns"
            ):
                family, mask = "times", _outside_of_nanoseconds(values)
            if mask is not None and mask.any():
                key = name if self.spelling.apart else family
                found[key] = found[key] | mask if key in found else mask
        return found

    def _keeps_whole(self, name: str, table: pa.Table) -> bool:
        """Whether whole numbers of this column stay whole in the first form."""
        column = self.columns.get(name)
        if column is not None and column.categories is not None:
            return False
        return self.kind == "pandas" or self._matrix_dtype(table).kind != "f"

    def _made(self, table: pa.Table, second: frozenset[str], as_given: bool) -> Any:
        if self.kind == "numpy":
            return self._matrix(table, bool(second))
        return _block(table) if self.is_block(table) else self._data_frame(table, second, as_given)

    def is_block(self, table: pa.Table) -> bool:
        """Whether a matrix does for the batch; its nulls and NaN are the same."""
        kinds = set(table.schema.types)
        return self.nameless and len(kinds) == 1 and kinds <= {pa.float64(), pa.float32()}

    # -- pandas ----------------------------------------------------------------------------------------------------------

    def _data_frame(self, table: pa.Table, second: frozenset[str], as_given: bool) -> Any:
        import pandas as pd

        made: dict[Any, Any] = {}
        for name, values in zip(table.column_names, table.columns, strict=True):
            kind, column = values.type, self.columns.get(name)
            if pa.types.is_floating(kind):
                series: Any = values.to_numpy()
            elif column is not None and column.categories is not None:
                series = self._categorical(values, column)
            elif _is_whole(kind):
                series = self._whole(values, name in second or "integers" in second)
            elif pa.types.is_timestamp(kind):
                series = self._times(name, values, name in second or "times" in second, as_given)
            else:
                series = self._objects(name, values)
            made[self.labels.get(name, name)] = series
        return pd.DataFrame(made, index=pd.RangeIndex(table.num_rows), copy=False)

    def _whole(self, values: pa.ChunkedArray, second: bool) -> Any:
        if not second:
            return values.to_numpy()
        if not self.spelling.nullable_integers:
            return to_floats(values)
        import pandas as pd

        whole = values.cast(pa.int8()) if pa.types.is_boolean(values.type) else values
        missing = values.is_null().to_numpy()
        numbers = whole.fill_null(0).to_numpy().copy()
        if pa.types.is_boolean(values.type):
            return pd.arrays.BooleanArray(numbers.astype(bool), missing)
        return pd.arrays.IntegerArray(numbers, missing)

    def _unit(self, name: str, values: pa.ChunkedArray, as_given: bool) -> str:
        column = self.columns.get(name)
        known = column.unit if column is not None else None
        return str(values.type.unit) if as_given else known or "ns"

    def _times(self, name: str, values: pa.ChunkedArray, second: bool, as_given: bool) -> Any:
        column, zone = self.columns.get(name), values.type.tz
        if zone is not None and not as_given:
            zone = (column.zone if column is not None else None) or "UTC"
        unit = self._unit(name, values, as_given)
        # finer digits than the unit has are cut, as Spark does with nanoseconds
        return values.cast(pa.timestamp("us" if second else unit, tz=zone), safe=False).to_pandas()

    def _objects(self, name: str, values: pa.ChunkedArray) -> Any:
        series = values.to_pandas(date_as_object=True)
        if values.null_count and self.spelling.text == "nan" and name not in self.spelling.none_in:
            missing = values.is_null().to_numpy()
            series = series.astype(object)
            series[missing] = np.nan
        return series

    def _categorical(self, values: pa.ChunkedArray, column: Column) -> Any:
        import pandas as pd

        values, levels = _of_levels(values, column), levels_of(column)
        if self.spelling.unseen == "kept":
            unseen = pc.unique(values.filter(unseen_rows(values, column)))
            levels = pa.concat_arrays([levels, unseen.take(pc.sort_indices(unseen)).cast(levels.type)])
        codes = pc.index_in(values, value_set=levels).fill_null(-1).to_numpy().astype(np.int32)
        index = pd.Index(levels.to_pylist(), dtype=object if pa.types.is_string(levels.type) else None)
        return pd.Categorical.from_codes(codes, categories=index, ordered=column.ordered)

    # -- numpy -----------------------------------------------------------------------------------------------------------

    def _matrix_dtype(self, table: pa.Table) -> np.dtype[Any]:
        if self.tensor is not None:
            return np.dtype(self.tensor.dtype)
        kinds = [_item_type(f.type) for f in table.schema]
        if not all(
            _is_whole(k) or pa.types.is_floating(k) or pa.types.is_decimal(k) or pa.types.is_null(k) for k in kinds
        ):
            return np.dtype(object)
        whole = [np.dtype(bool if pa.types.is_boolean(k) else k.to_pandas_dtype()) for k in kinds if _is_whole(k)]
        # numbers of several kinds are float64, as pandas and numpy make it
        return np.result_type(*whole) if whole and len(whole) == len(kinds) else np.dtype(np.float64)

    def _matrix(self, table: pa.Table, second: bool) -> np.ndarray:
        dtype = self._matrix_dtype(table)
        if second and dtype.kind in "iub":
            dtype = np.dtype(np.float64)
        first = table.schema.field(0).type if table.num_columns else pa.null()
        if table.num_columns == 1 and is_list(first):
            return _from_lists(table.column(0), dtype, self.tensor)
        matrix = np.empty((table.num_rows, table.num_columns), dtype=dtype)
        for i, (name, values) in enumerate(zip(table.column_names, table.columns, strict=True)):
            if pa.types.is_floating(values.type):
                matrix[:, i] = values.to_numpy()
            elif dtype.kind == "O":
                matrix[:, i] = self._whole(values, second) if _is_whole(values.type) else self._objects(name, values)
            else:
                matrix[:, i] = to_floats(values) if dtype.kind == "f" else values.to_numpy()
        return matrix[:, 0] if self.tensor is not None and len(self.tensor.shape) == 1 else matrix


def _block(table: pa.Table) -> np.ndarray:
    """Columns of floats as a matrix whose columns lie one after the other, as those of a DataFrame do; nulls are NaN."""
    block = np.empty((table.num_columns, table.num_rows), table.schema.field(0).type.to_pandas_dtype())
    for row, values in zip(block, table.columns, strict=True):
        row[:] = values.to_numpy()
    return block.T


def levels_of(column: Column) -> pa.Array:
    """The levels of a categorical column, in the order of their codes."""
    return pa.array(column.categories, type=column.type).drop_null()


def unseen_rows(values: pa.ChunkedArray, column: Column) -> pa.ChunkedArray:
    """A mask of the rows whose category is not among the known levels; a null is none."""
    values = _of_levels(values, column)
    return pc.and_(pc.is_valid(values), pc.invert(pc.is_in(values, value_set=levels_of(column))))


def _of_levels(values: pa.ChunkedArray, column: Column) -> pa.ChunkedArray:
    return values if values.type == column.type else values.cast(column.type)


def to_floats(values: pa.ChunkedArray) -> np.ndarray:
    """Numbers, booleans or decimals as float64, nulls as NaN."""
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    floats: np.ndarray = values.cast(pa.float64(), safe=False).to_numpy()
    return floats


def _is_whole(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_boolean(kind))


def _item_type(kind: pa.DataType) -> pa.DataType:
    while is_list(kind):
        kind = kind.value_type
    return kind


def _outside_of_nanoseconds(values: pa.ChunkedArray) -> np.ndarray | None:
    if values.type.unit == "ns":
        return None
    per_second = {"s": 1, "ms": 1_000, "us": 1_000_000}[values.type.unit]
    first, last = (-(-_FIRST_TIME * per_second // 1_000_000), _LAST_TIME * per_second // 1_000_000)
    since = values.cast(pa.int64())
    mask: np.ndarray = pc.or_(pc.less(since, first), pc.greater(since, last)).fill_null(False).to_numpy()
    return mask


def _rows_with_null_items(values: pa.ChunkedArray) -> np.ndarray:
    mask = np.zeros(len(values), dtype=bool)
    flat = pc.list_flatten(values)
    if flat.null_count:
        rows = pc.list_parent_indices(values).to_numpy()
        mask[rows[flat.is_null().to_numpy()]] = True
    return mask


def _from_lists(values: pa.ChunkedArray, dtype: np.dtype[Any], tensor: Tensor | None) -> np.ndarray:
    """An array column as an array of the tensor's shape."""
    shape = tuple(tensor.shape[1:]) if tensor is not None else (-1,)
    if not len(values):
        return np.empty((0, *(max(size, 0) for size in shape)), dtype=dtype)
    if not is_list(values.type.value_type):
        lengths = pc.unique(pc.list_value_length(values)).to_pylist()
        _check_lengths(lengths, shape)
        flat = pc.list_flatten(values)
        numbers = to_floats(flat) if dtype.kind == "f" and not pa.types.is_floating(flat.type) else flat.to_numpy()
        return np.asarray(numbers, dtype=dtype).reshape(len(values), lengths[0] if -1 in shape else shape[0])
    try:
        return np.array(values.to_pylist(), dtype=dtype).reshape(len(values), *shape)
    except ValueError:
        raise SchemaError(
            f"The model takes arrays of the shape {list(shape)}; an array column holds others. Filter those rows out first."
        ) from None


def _check_lengths(lengths: Sequence[int], shape: Sequence[int]) -> None:
    wrong = [length for length in lengths if length != shape[0]] if shape[0] >= 0 else lengths[1:]
    if wrong:
        wanted = shape[0] if shape[0] >= 0 else f"one length (the first has {lengths[0]})"
        raise SchemaError(
            f"The model takes arrays of {wanted} values; the array column also holds arrays of {wrong[0]}. Filter those rows out first."
        )
