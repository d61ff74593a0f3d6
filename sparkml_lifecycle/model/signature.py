"""A model's signature: the columns it takes, what it answers, and its parameters."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from sparkml_lifecycle.errors import FormatError, InvalidInput, SchemaError, did_you_mean
from sparkml_lifecycle.model import types


@dataclass(frozen=True)
class Column:
    """One named input or output.

    Attributes
    ----------
    name : str or None
        None for a single unnamed answer.
    type : pyarrow.DataType
        One of the types a Spark column can have.
    required : bool
        Whether the column must be there; one that is not required is filled with nulls.
    nullable : bool
        Whether nulls were seen or declared when the model was saved.
    categories : tuple or None
        The levels of a categorical column, in the order of their codes.
    ordered : bool
        Whether those levels have an order.
    unit, zone : str or None
        The unit (``s``, ``ms``, ``us``, ``ns``) and the time zone of a column of times at training; ``type`` has neither.
    """

    name: str | None
    type: pa.DataType
    required: bool = True
    nullable: bool = True
    categories: tuple[Any, ...] | None = None
    ordered: bool = False
    unit: str | None = None
    zone: str | None = None


@dataclass(frozen=True)
class Tensor:
    """One n-dimensional array; the first dimension (-1) counts the rows."""

    dtype: str
    shape: tuple[int, ...]
    name: str | None = None


@dataclass(frozen=True)
class Param:
    """One inference parameter with its default (MLflow, *ParamSchema*)."""

    name: str
    default: Any
    type: str
    shape: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Signature:
    """Inputs and outputs of a model; ``None`` where they are not known."""

    inputs: tuple[Column, ...] | tuple[Tensor, ...] | None = None
    outputs: tuple[Column, ...] | tuple[Tensor, ...] | None = None
    params: tuple[Param, ...] = ()

    def __repr__(self) -> str:
        declared = [f"{param.name}={param.default!r}" for param in self.params]
        parts = [_short(self.inputs), *([f"params {', '.join(declared)}"] if declared else [])]
        return f"{'; '.join(parts)} -> {_short(self.outputs)}"

    @property
    def columns(self) -> tuple[Column, ...] | None:
        """The named input columns, or None for tensors and unknown inputs."""
        if not self.inputs or isinstance(self.inputs[0], Tensor):
            return None
        return tuple(column for column in self.inputs if isinstance(column, Column))

    @property
    def names(self) -> list[str] | None:
        """The names of the input columns, or None where they have none."""
        columns = self.columns
        if columns is None or any(column.name is None for column in columns):
            return None
        return [str(column.name) for column in columns]

    def with_params(self, given: Mapping[str, Any] | None) -> dict[str, Any]:
        """The parameters of one call: the defaults, with what was given.

        Raises
        ------
        SchemaError
            For a parameter that the model does not have or a value of another type.
        """
        known = {param.name: param for param in self.params}
        for name, value in (given or {}).items():
            if name not in known:
                allowed = ", ".join(known) or "none"
                raise SchemaError(
                    f"The model has no parameter {name!r}. It has: {allowed}.{did_you_mean(name, known)} Parameters are declared "
                    f"when the model is saved: signature=infer_signature(X, y, params={{{name!r}: …}}) or input_example=(X, {{{name!r}: …}})."
                )
            if not _fits(value, known[name]):
                raise SchemaError(f"Parameter {name!r} must be {known[name].type}, found {type(value).__name__}.")
        return {**{name: param.default for name, param in known.items()}, **(given or {})}


def _short(items: tuple[Column, ...] | tuple[Tensor, ...] | None) -> str:
    """``age: long, plan: string``; the first eight where there are more."""
    if items is None:
        return "?"
    texts = []
    for item in items[:_SHOWN]:
        if isinstance(item, Tensor):
            kind = f"{item.dtype}{list(item.shape)}"
        else:
            kind = types.name(item.type) + ("" if item.required else " (optional)")
        texts.append(kind if item.name is None else f"{item.name}: {kind}")
    more = [f"… {len(items) - _SHOWN} more"] if len(items) > _SHOWN else []
    return ", ".join([*texts, *more])


_SHOWN = 8
_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "boolean": (bool,), "integer": (int,), "long": (int,), "float": (float, int), "double": (float, int), "string": (str,),
}  # fmt: skip


def _fits(value: Any, param: Param) -> bool:
    if param.shape is not None:
        return isinstance(value, (list, tuple, np.ndarray))
    allowed = _PYTHON_TYPES.get(param.type)
    return allowed is None or (isinstance(value, allowed) and (param.type == "boolean") == isinstance(value, bool))


# -- inference -----------------------------------------------------------------------------------------------------------


def infer_signature(inputs: Any, outputs: Any = None, params: Mapping[str, Any] | None = None) -> Signature:
    """The signature of a sample of inputs, of answers and of parameters.

    Parameters
    ----------
    inputs, outputs : pandas.DataFrame, Series, pyarrow.Table, Spark DataFrame, numpy array, dict of arrays, list of dicts, or None
        Spark DataFrames are read for their schema only. A two-dimensional numpy array becomes a tensor of shape (-1, n).
    params : mapping, optional
        Names and default values.
    """
    return Signature(
        _infer(inputs), _infer(outputs), tuple(_param(name, value) for name, value in (params or {}).items())
    )


def _infer(data: Any) -> tuple[Column, ...] | tuple[Tensor, ...] | None:
    if data is None:
        return None
    if isinstance(data, np.ndarray):
        if data.dtype.names:
            import pandas as pd

            return _infer_pandas(pd.DataFrame.from_records(data))
        if data.dtype == object or data.dtype.kind in "US":
            return _infer(data.tolist()) if data.ndim == 1 else (Column(None, pa.list_(pa.string())),)
        return (Tensor(data.dtype.name, (-1, *data.shape[1:])),)
    module = type(data).__module__
    if module.startswith("pyspark.") and hasattr(data, "schema"):
        return from_spark_schema(data.schema)
    if isinstance(data, (pa.Table, pa.RecordBatch)):
        return tuple(_column(name, data.column(name)) for name in data.schema.names)
    if isinstance(data, pa.Schema):
        return tuple(Column(field.name, types.plain(field.type), nullable=field.nullable) for field in data)
    return _infer_pandas(data)


def _infer_pandas(data: Any) -> tuple[Column, ...]:
    import pandas as pd

    if isinstance(data, pd.DataFrame):
        if not data.columns.is_unique:
            twice = sorted({str(name) for name in data.columns[data.columns.duplicated()]})
            raise InvalidInput(f"Several columns are called {', '.join(map(repr, twice))}: rename them.")
        return tuple(_from_series(str(name), data[name]) for name in data.columns)
    if isinstance(data, pd.Series):
        return (_from_series(None if data.name is None else str(data.name), data),)
    if isinstance(data, Mapping) and data and all(np.ndim(value) > 0 for value in data.values()):
        return tuple(_column(str(name), pa.array(value, from_pandas=True)) for name, value in data.items())
    if isinstance(data, list) and data and isinstance(data[0], Mapping):
        return _infer_pandas(pd.DataFrame(data))
    if isinstance(data, list):
        return (_column(None, pa.array(data)),)
    raise InvalidInput(
        f"No signature can be inferred from {type(data).__name__}: give a DataFrame, Arrow table, array, dict of arrays or list of dicts."
    )


def _from_series(name: str | None, series: Any) -> Column:
    try:
        values = pa.array(series, from_pandas=True)
    except OverflowError:
        raise InvalidInput(f"Column {name!r} holds integers of more than 64 bits: no column has that type.") from None
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        kinds = sorted({type(value).__name__ for value in series.head(1000) if value is not None})
        raise InvalidInput(
            f"Column {name!r} mixes values of the types {', '.join(kinds)}: a column has one type. Convert it first."
        ) from error
    column = _column(name, values)
    if pa.types.is_decimal(column.type):
        # Decimals of Python have no width: that of these few rows says nothing of the next ones
        whole = column.type.precision - column.type.scale
        column = replace(column, type=pa.decimal128(38, max(column.type.scale, min(18, 38 - whole))))
    if str(series.dtype) == "category":
        categories = tuple(value.item() if hasattr(value, "item") else value for value in series.cat.categories)
        if any(not isinstance(value, (str, int, float, bool)) for value in categories):
            raise InvalidInput(
                f"The categories of column {name!r} are of the type {type(categories[0]).__name__}; a model keeps texts, numbers and booleans. Convert the column first."
            )
        return Column(
            name, column.type, nullable=column.nullable, categories=categories, ordered=bool(series.cat.ordered)
        )
    return column


def _column(name: str | None, values: pa.Array | pa.ChunkedArray) -> Column:
    categories = None
    if pa.types.is_dictionary(values.type):
        chunk = (
            values.unify_dictionaries().chunk(0)
            if isinstance(values, pa.ChunkedArray) and values.num_chunks
            else values
        )
        categories = tuple(chunk.dictionary.to_pylist()) if isinstance(chunk, pa.DictionaryArray) else None
    kind = types.plain(values.type)
    unit, zone = (values.type.unit, values.type.tz) if pa.types.is_timestamp(values.type) else (None, None)
    return Column(name, kind, True, values.null_count > 0, categories, unit=unit, zone=zone)


def _param(name: str, value: Any) -> Param:
    shape = None
    if isinstance(value, (list, tuple, np.ndarray)):
        shape, value = (-1,), list(value)
    sample = value[0] if shape and value else value
    sample = sample.item() if isinstance(sample, np.generic) else sample
    names = {bool: "boolean", int: "long", float: "double", str: "string"}
    if type(sample) not in names:
        raise InvalidInput(
            f"Parameter {name!r} has the default {sample!r}; allowed are bool, int, float, str and lists of them."
        )
    return Param(name, value.item() if isinstance(value, np.generic) else value, names[type(sample)], shape)


def from_spark_schema(schema: Any) -> tuple[Column, ...]:
    """The columns of a Spark ``StructType``."""
    from pyspark.sql.pandas.types import to_arrow_schema

    return tuple(
        Column(field.name, types.plain(field.type), nullable=field.nullable)
        for field in to_arrow_schema(schema, timezone="UTC")
    )


# -- on disk -------------------------------------------------------------------------------------------------------------


def to_mlflow(signature: Signature) -> dict[str, str | None]:
    """MLflow's ``signature:`` entry: JSON texts under ``inputs``, ``outputs`` and ``params``.

    MLflow has no categorical type: it would turn such columns into texts on their way in, which XGBoost refuses. Inputs
    with categories are therefore not written for it.
    """

    def dump(part: tuple[Column, ...] | tuple[Tensor, ...] | None) -> str | None:
        return json.dumps([_item_to_json(item, for_mlflow=True) for item in part]) if part else None

    has_categories = any(isinstance(item, Column) and item.categories is not None for item in signature.inputs or ())
    params = [{"name": p.name, "default": p.default, "shape": p.shape, "type": p.type} for p in signature.params]
    return {
        "inputs": None if has_categories else dump(signature.inputs),
        "outputs": dump(signature.outputs),
        "params": json.dumps(params) if params else None,
    }


def from_mlflow(entry: Mapping[str, Any]) -> Signature:
    """The signature of MLflow's ``signature:`` entry."""

    def load(text: str | None) -> list[Any]:
        return json.loads(text) if text else []

    params = tuple(
        Param(p["name"], p["default"], p["type"], tuple(p["shape"]) if p.get("shape") else None)
        for p in load(entry.get("params"))
    )
    return Signature(_from_items(load(entry.get("inputs"))), _from_items(load(entry.get("outputs"))), params)


def to_exact(signature: Signature) -> dict[str, Any] | None:
    """What MLflow's entry cannot hold (exact types, nullability, categories), or None where it holds all."""
    exact = {
        part: [_item_to_json(item, for_mlflow=False) for item in items]
        for part in ("inputs", "outputs")
        if (items := getattr(signature, part))
    }
    return exact or None


def with_exact(signature: Signature, exact: Mapping[str, Any] | None) -> Signature:
    """``signature`` with the exact columns of our own entry in place of MLflow's nearest ones."""
    if not exact:
        return signature
    inputs = _from_items(exact["inputs"]) if "inputs" in exact else signature.inputs
    outputs = _from_items(exact["outputs"]) if "outputs" in exact else signature.outputs
    return Signature(inputs, outputs, signature.params)


def _item_to_json(item: Column | Tensor, *, for_mlflow: bool) -> dict[str, Any]:
    named = {} if item.name is None else {"name": item.name}
    if isinstance(item, Tensor):
        return {"type": "tensor", "tensor-spec": {"dtype": item.dtype, "shape": list(item.shape)}, **named}
    kind = types.to_json(item.type, for_mlflow=for_mlflow)
    described = {**kind, **named, "required": item.required and kind["type"] != "any"}
    if not for_mlflow:
        described["nullable"] = item.nullable
        if item.categories is not None:
            described |= {"categories": list(item.categories), "ordered": item.ordered}
        described |= {key: value for key in ("unit", "zone") if (value := getattr(item, key)) is not None}
    return described


def _from_items(items: list[dict[str, Any]]) -> tuple[Column, ...] | tuple[Tensor, ...] | None:
    if not items:
        return None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise FormatError("The signature in MLmodel cannot be read: inputs and outputs are lists of columns.")
    try:
        if items[0].get("type") == "tensor":
            return tuple(
                Tensor(i["tensor-spec"]["dtype"], tuple(i["tensor-spec"]["shape"]), i.get("name")) for i in items
            )
        return tuple(_column_from(item) for item in items)
    except (KeyError, TypeError, AttributeError) as error:
        raise FormatError(f"The signature in MLmodel cannot be read: {error!r}.") from error


def _column_from(item: dict[str, Any]) -> Column:
    required = bool(item.get("required", not item.get("optional", False)))
    categories = item.get("categories")
    return Column(
        item.get("name"), types.from_json(item), required, bool(item.get("nullable", True)),
        None if categories is None else tuple(categories), bool(item.get("ordered", False)), item.get("unit"), item.get("zone"),
    )  # fmt: skip
