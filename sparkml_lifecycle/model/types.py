"""Column types: Arrow types in memory, MLflow's JSON (and a few names more) on disk.

MLflow's names cover boolean, integer, long, float, double, string, binary, datetime, arrays, objects and maps
(MLflow, *Model signature*). Spark has more column types, so our own form adds ``byte``, ``short``, ``date``,
``timestamp_ntz`` and ``decimal(p,s)``; for MLflow each becomes the nearest type that it knows.
"""

import re
from typing import Any

import numpy as np
import pyarrow as pa

from sparkml_lifecycle.errors import FormatError, InvalidInput

_NAMES: dict[str, pa.DataType] = {
    "boolean": pa.bool_(),
    "byte": pa.int8(),
    "short": pa.int16(),
    "integer": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "string": pa.string(),
    "binary": pa.binary(),
    "date": pa.date32(),
    "datetime": pa.timestamp("us", tz="UTC"),
    "timestamp_ntz": pa.timestamp("us"),
}
_BY_TYPE = {arrow: name for name, arrow in _NAMES.items()}
_FOR_MLFLOW = {"byte": "integer", "short": "integer", "date": "datetime", "timestamp_ntz": "datetime"}
_DECIMAL = re.compile(r"decimal\((\d+), ?(-?\d+)\)")


def plain(arrow: pa.DataType) -> pa.DataType:
    """The one Spark column type that an Arrow type stands for: no unsigned, dictionary, large, view or nanosecond types.

    Raises
    ------
    InvalidInput
        For a type that no Spark column has (durations, times of day, unions).
    """
    if pa.types.is_dictionary(arrow):
        return plain(arrow.value_type)
    if pa.types.is_large_string(arrow) or pa.types.is_string_view(arrow):
        return pa.string()
    if pa.types.is_large_binary(arrow) or pa.types.is_binary_view(arrow) or pa.types.is_fixed_size_binary(arrow):
        return pa.binary()
    widened = {pa.uint8(): pa.int16(), pa.uint16(): pa.int32(), pa.uint32(): pa.int64(), pa.uint64(): pa.int64()}
    if arrow in widened:
        return widened[arrow]
    if pa.types.is_float16(arrow):
        return pa.float32()
    if pa.types.is_date64(arrow):
        return pa.date32()
    if pa.types.is_timestamp(arrow):
        return pa.timestamp("us", tz="UTC" if arrow.tz else None)
    if pa.types.is_list(arrow) or pa.types.is_large_list(arrow) or pa.types.is_fixed_size_list(arrow):
        return pa.list_(plain(arrow.value_type))
    if pa.types.is_map(arrow):
        return pa.map_(plain(arrow.key_type), plain(arrow.item_type))
    if pa.types.is_struct(arrow):
        return pa.struct([(field.name, plain(field.type)) for field in arrow])
    if pa.types.is_decimal(arrow):
        return pa.decimal128(min(arrow.precision, 38), arrow.scale)
    if pa.types.is_null(arrow):
        return pa.string()
    if arrow in _BY_TYPE:
        return arrow
    raise InvalidInput(
        f"Columns of type {arrow} cannot be described: no Spark column has that type. Convert the column before saving the model."
    )


def to_json(arrow: pa.DataType, *, for_mlflow: bool = False) -> dict[str, Any]:
    """A type as MLflow's JSON object, exact or (``for_mlflow``) in the names that MLflow knows."""
    if pa.types.is_list(arrow):
        return {"type": "array", "items": to_json(arrow.value_type, for_mlflow=for_mlflow)}
    if pa.types.is_struct(arrow):
        fields = {f.name: {**to_json(f.type, for_mlflow=for_mlflow), "required": not f.nullable} for f in arrow}
        return {"type": "object", "properties": fields}
    if pa.types.is_map(arrow):
        values = {"type": "map", "values": to_json(arrow.item_type, for_mlflow=for_mlflow)}
        return values if for_mlflow or arrow.key_type == pa.string() else {**values, "keys": to_json(arrow.key_type)}
    if pa.types.is_decimal(arrow):
        return {"type": "double" if for_mlflow else f"decimal({arrow.precision},{arrow.scale})"}
    if pa.types.is_null(arrow):
        return {"type": "any"}
    name = _BY_TYPE[arrow]
    return {"type": _FOR_MLFLOW.get(name, name) if for_mlflow else name}


def from_json(described: dict[str, Any]) -> pa.DataType:
    """The Arrow type of MLflow's or our JSON object.

    Raises
    ------
    FormatError
        For a type name that is not known.
    """
    name = described.get("type")
    if name == "array":
        return pa.list_(from_json(described["items"]))
    if name == "object":
        fields = described["properties"]
        return pa.struct(
            [pa.field(key, from_json(value), nullable=not value.get("required", True)) for key, value in fields.items()]
        )
    if name == "map":
        return pa.map_(from_json(described.get("keys", {"type": "string"})), from_json(described["values"]))
    if name == "any":
        return pa.null()
    if name == "sparkml_vector":
        return pa.list_(pa.float64())
    if isinstance(name, str) and (match := _DECIMAL.fullmatch(name)):
        return pa.decimal128(int(match[1]), int(match[2]))
    if name in _NAMES:
        return _NAMES[str(name)]
    raise FormatError(
        f"The signature has a column of the unknown type {name!r}. Known: {', '.join(_NAMES)}, decimal(p,s), array, object, map."
    )


def describe(arrow: pa.DataType) -> str:
    """A type in Spark's words, for messages: ``bigint``, ``array<double>``, ``struct<a:int>``."""
    spark = {"integer": "int", "long": "bigint", "byte": "tinyint", "short": "smallint", "datetime": "timestamp"}
    if pa.types.is_list(arrow) or pa.types.is_large_list(arrow):
        return f"array<{describe(arrow.value_type)}>"
    if pa.types.is_struct(arrow):
        return f"struct<{','.join(f'{f.name}:{describe(f.type)}' for f in arrow)}>"
    if pa.types.is_map(arrow):
        return f"map<{describe(arrow.key_type)},{describe(arrow.item_type)}>"
    if pa.types.is_decimal(arrow):
        return f"decimal({arrow.precision},{arrow.scale})"
    name = _BY_TYPE.get(arrow, str(arrow))
    return spark.get(name, name)


def name(arrow: pa.DataType) -> str:
    """A type in the words of ``MLmodel``, for short descriptions: ``long``, ``array<double>``."""
    return str(_BY_TYPE.get(arrow) or describe(arrow))


def pandas_name(arrow: pa.DataType) -> str | None:
    """The dtype that ``Series.astype`` takes to become a column of this type; None where no dtype does."""
    if pa.types.is_string(arrow):
        return "str"
    if pa.types.is_boolean(arrow) or pa.types.is_integer(arrow) or pa.types.is_floating(arrow):
        return str(np.dtype(arrow.to_pandas_dtype()).name)
    return "datetime64[us, UTC]" if pa.types.is_timestamp(arrow) and arrow.tz else None


def widens(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Whether every value of ``found`` is also one of ``wanted``; Arrow's null type fits all and takes all.

    An integer or a short decimal becoming a double counts as lossless.
    """
    if found == wanted or pa.types.is_null(found) or pa.types.is_null(wanted):
        return True
    if pa.types.is_integer(found) and pa.types.is_integer(wanted):
        return bool(found.bit_width <= wanted.bit_width)
    if wanted == pa.float64():
        short_decimal = pa.types.is_decimal(found) and found.precision <= 15
        return bool(pa.types.is_integer(found) or found == pa.float32() or short_decimal)
    if wanted == pa.float32():
        return found in (pa.int8(), pa.int16())
    if pa.types.is_timestamp(wanted):
        return bool(pa.types.is_timestamp(found) or pa.types.is_date(found))
    if pa.types.is_decimal(found) and pa.types.is_decimal(wanted):
        return bool(found.scale <= wanted.scale and found.precision - found.scale <= wanted.precision - wanted.scale)
    if pa.types.is_integer(found) and pa.types.is_decimal(wanted):
        return bool(wanted.precision - wanted.scale >= {8: 3, 16: 5, 32: 10, 64: 19}[found.bit_width])
    if pa.types.is_list(found) and pa.types.is_list(wanted):
        return widens(found.value_type, wanted.value_type)
    if pa.types.is_map(found) and pa.types.is_map(wanted):
        return widens(found.key_type, wanted.key_type) and widens(found.item_type, wanted.item_type)
    if pa.types.is_struct(found) and pa.types.is_struct(wanted):
        names = [f.name for f in wanted]
        return [f.name for f in found] == names and all(
            widens(found.field(n).type, wanted.field(n).type) for n in names
        )
    return False
