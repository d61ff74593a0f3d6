"""The input example that a model directory keeps: a few rows, and the parameters that go with them."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sparkml_lifecycle.errors import InvalidInput
from sparkml_lifecycle.model import batch

FILE = "input_example.json"
_ROWS = 20
_NULLABLE = {
    pa.int8(): "Int8", pa.int16(): "Int16", pa.int32(): "Int32", pa.int64(): "Int64", pa.bool_(): "Boolean",
}  # fmt: skip


@dataclass(frozen=True)
class Example:
    """What a caller gave as an example, taken apart.

    Attributes
    ----------
    given : object
        The rows as they were given, whose types say more than those of the rows kept.
    params : mapping
        Parameters by name, where MLflow's form ``(rows, params)`` was given.
    """

    given: Any
    params: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, given: Any) -> "Example":
        """From rows alone, or from a pair of rows and a dict of parameters."""
        if isinstance(given, tuple) and len(given) == 2 and isinstance(given[1], Mapping):
            return cls(given[0], {str(name): value for name, value in given[1].items()})
        return cls(given)

    @property
    def is_schema_rich(self) -> bool:
        """Whether what was given says more about its types than the rows kept of it."""
        return type(self.given).__module__.partition(".")[0] in ("pandas", "pyarrow", "pyspark", "numpy")


def write(example: Example, directory: Path, names: Sequence[str] | None = None) -> Any:
    """Keep a few rows as MLflow does, and give them back: a DataFrame, Series, array or Arrow table; None where there is no example.

    Parameters
    ----------
    example : Example
    directory : Path
    names : sequence of str, optional
        The columns that the model was trained on, where it knows them; rows without names get them.

    Raises
    ------
    InvalidInput
        If the example has other columns.
    """
    import pandas as pd

    given = example.given
    if given is None:
        return None
    if type(given).__module__.startswith("pyspark."):
        given = given.limit(_ROWS).toArrow()
    if isinstance(given, np.ndarray) and given.dtype.names:
        given = pd.DataFrame.from_records(given)
    if isinstance(given, np.ndarray):
        rows = given[:_ROWS]
        content: dict[str, Any] = {"inputs": rows.tolist()}
    else:
        if isinstance(given, Mapping) and all(
            not isinstance(v, (list, tuple)) and not hasattr(v, "__len__") for v in given.values()
        ):
            given = [dict(given)]
        if not hasattr(given, "iloc"):
            nullable = {arrow: getattr(pd, f"{name}Dtype")() for arrow, name in _NULLABLE.items()}
            rows = batch.as_table(given, names).slice(0, _ROWS)
            # integers beside a null stay integers
            frame = rows.to_pandas(types_mapper=nullable.get)
        else:
            rows = given.iloc[:_ROWS]
            frame = rows.to_frame() if rows.ndim == 1 else rows
        _check_names(frame, names)
        content = _as_json(frame)
    if example.params:
        content = {"inputs": content.get("inputs", content), "params": dict(example.params)}
    (directory / FILE).write_text(json.dumps(content, default=_plain))
    return rows


def _check_names(frame: Any, names: Sequence[str] | None) -> None:
    found = [str(name) for name in frame.columns]
    if twice := sorted({name for name in found if found.count(name) > 1}):
        raise InvalidInput(
            f"Several columns of the input example are called {', '.join(map(repr, twice))}: rename them."
        )
    extra = [name for name in found if name not in (names or found)]
    if names is not None and extra:
        more = f"{', '.join(map(repr, extra))}: leave out what the model was not trained on"
        raise InvalidInput(
            f"The model was trained on the columns {', '.join(names)}; the input example also has {more}."
        )


def _as_json(frame: Any) -> dict[str, Any]:
    """MLflow's ``split`` form; bytes are base64 texts, as it writes them."""
    frame = frame.rename(columns=str)
    for name in frame.columns:
        if frame[name].dtype == object and any(isinstance(value, bytes) for value in frame[name]):
            frame[name] = [base64.b64encode(v).decode() if isinstance(v, bytes) else v for v in frame[name]]
    split = json.loads(frame.to_json(orient="split", date_format="iso", default_handler=str))
    return {"columns": split["columns"], "data": split["data"]}


def read(directory: Path, schema: pa.Schema) -> pa.Table:
    """The kept rows in the types of ``schema``; no rows if there are none, or JSON lost what they were."""
    try:
        stored = json.loads((directory / FILE).read_text())
        stored = stored["inputs"] if isinstance(stored, dict) and "inputs" in stored else stored
        rows, names = (stored["data"], stored["columns"]) if isinstance(stored, dict) else (stored, schema.names)
        by_name = {str(name): [row[i] for row in rows] for i, name in enumerate(names)}
        return pa.table([_typed(by_name[f.name], f.type) for f in schema], schema=schema)
    except (OSError, KeyError, TypeError, ValueError, IndexError, pa.ArrowException):
        return schema.empty_table()


def _typed(values: list[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_timestamp(kind):
        texts = pa.array([None if value is None else str(value).removesuffix("Z") for value in values], pa.string())
        times = texts.cast(pa.timestamp(kind.unit))
        return times if kind.tz is None else pc.assume_timezone(times, "UTC").cast(kind)
    if pa.types.is_date(kind) or pa.types.is_decimal(kind):
        return pa.array(
            [None if value is None else str(value)[:10] if pa.types.is_date(kind) else str(value) for value in values],
            pa.string(),
        ).cast(kind)
    return pa.array(values, from_pandas=True).cast(kind)


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)
