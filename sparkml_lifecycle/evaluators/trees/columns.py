"""Arrow columns as the memory that the kernel reads."""

from collections.abc import Collection, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from sparkml_lifecycle.evaluators.codes import Codes
from sparkml_lifecycle.evaluators.trees.evaluator import CODES, FLOAT32, FLOAT64, ColumnData

_WHOLE = 2**53  # up to here a float64 holds every whole number


def column_data(values: pa.Array, levels: Codes | None) -> ColumnData | None:
    """One column of a batch; None if its type, or a number in it, is left to the framework.

    Parameters
    ----------
    values : pyarrow.Array
    levels : Codes, optional
        The categories of the column.
    """
    if levels is not None:
        codes = levels.of(values)
        return None if codes is None else ColumnData(codes.ctypes.data, CODES, keep=codes)
    if pa.types.is_float64(values.type) or pa.types.is_float32(values.type):
        return _of_floats(values)
    if not (pa.types.is_integer(values.type) or pa.types.is_boolean(values.type)):
        return None
    if values.type.bit_width == 64 and len(values):
        ends = pc.min_max(values)
        least, most = ends["min"].as_py(), ends["max"].as_py()
        if least is not None and (least < -_WHOLE or most > _WHOLE):
            return None
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    return _of_floats(values.cast(pa.float64()))


def _of_floats(values: pa.Array) -> ColumnData:
    width = values.type.bit_width // 8
    validity, data = values.buffers()
    kind = FLOAT64 if width == 8 else FLOAT32
    has_nulls = values.null_count > 0 and validity is not None
    return ColumnData(
        (data.address if data is not None else 0) + width * values.offset,
        kind,
        validity.address if has_nulls else 0,
        values.offset if has_nulls else 0,
        keep=values,
    )


def batch_data(batch: pa.RecordBatch, asked: Collection[int], levels: Mapping[int, Codes]) -> list[ColumnData] | None:
    """The columns of a batch, or None. Of those that no tree asks for there is nothing, whatever they hold."""
    found = []
    for number in range(batch.num_columns):
        one = column_data(batch.column(number), levels.get(number)) if number in asked else ColumnData(0, FLOAT64)
        if one is None:
            return None
        found.append(one)
    return found
