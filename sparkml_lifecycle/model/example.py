"""The input example that a model directory keeps: a few rows, and the parameters that go with them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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


def first_row(directory: Path) -> Any:
    """The first row of the stored example as a DataFrame; None where there is none that has columns.

    Raises
    ------
    ValueError, TypeError, KeyError
        If the file is not as it was written.
    """
    path = directory / FILE
    if not path.is_file():
        return None
    import pandas as pd

    stored = json.loads(path.read_text())
    stored = stored.get("inputs", stored) if isinstance(stored, dict) else stored
    return pd.DataFrame(stored["data"][:1], columns=stored["columns"]) if isinstance(stored, dict) else None


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)
