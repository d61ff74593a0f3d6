"""The input example that a model directory keeps: a few rows, and the parameters that go with them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sparkml_lifecycle.model import batch

FILE = "input_example.json"
_ROWS = 20


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


def write(example: Example, directory: Path) -> Any:
    """Keep a few rows as MLflow does, and give them back: a DataFrame, Series or array; None where there is no example."""
    given = example.given
    if given is None:
        return None
    if type(given).__module__.startswith("pyspark."):
        given = given.limit(_ROWS).toPandas()
    if type(given).__module__.startswith("numpy"):
        rows = given[:_ROWS]
        content: dict[str, Any] = {"inputs": rows.tolist()}
    else:
        if isinstance(given, Mapping) and all(
            not isinstance(v, (list, tuple)) and not hasattr(v, "__len__") for v in given.values()
        ):
            given = [dict(given)]
        if not hasattr(given, "iloc"):
            given = batch.as_table(given, None).slice(0, _ROWS).to_pandas()
        rows = given.iloc[:_ROWS]
        frame = rows.to_frame() if rows.ndim == 1 else rows
        split = json.loads(frame.to_json(orient="split", date_format="iso", default_handler=str))
        content = {"columns": split["columns"], "data": split["data"]}
    if example.params:
        content = {"inputs": content.get("inputs", content), "params": dict(example.params)}
    (directory / FILE).write_text(json.dumps(content, default=_plain))
    return rows


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
