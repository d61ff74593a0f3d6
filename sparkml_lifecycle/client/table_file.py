"""A table that a run logs, as a file: MLflow's JSON (``orient="split"``), or Parquet. A second table goes below the first.

pandas' own JSON cuts floats to ten digits, and guesses numbers and times from text when it reads; this keeps both as they are.
"""

import json
import uuid
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from sparkml_lifecycle.errors import FormatError, InvalidInput

KINDS = (".json", ".parquet")
# above, a double no longer holds every whole number
_EXACT = 2**53


def write(frame: Any, path: Path, before: Path | None = None) -> None:
    """Write a pandas frame, below the table of the file ``before`` where there is one; a column that either lacks is null there.

    Raises
    ------
    FormatError
        If ``before`` holds something other than a table.
    InvalidInput
        If the frame cannot be written so; the message shows no value of it.
    """
    put = _write_parquet if path.name.endswith(".parquet") else _write_json
    try:
        put(frame, path, before)
    except (FormatError, InvalidInput):
        raise
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        # the library's text holds values of the table
        raise InvalidInput(
            f"The table cannot be written as {path.name!r} ({type(error).__name__}): give each column one type and its own name."
        ) from None


def read(path: Path) -> Any:
    """The table of a file, as a pandas frame.

    Raises
    ------
    FormatError
        If the file holds none.
    """
    import pandas as pd

    if path.name.endswith(".parquet"):
        return _read_parquet(path).to_pandas()
    columns, rows = _read_json(path)
    values = zip(*rows, strict=True) if rows else [()] * len(columns)
    frame = pd.DataFrame(dict(enumerate(map(_column, values))))
    frame.columns = pd.Index(columns)
    return frame


# -- JSON ------------------------------------------------------------------------------------------------------------------


def _write_json(frame: Any, path: Path, before: Path | None) -> None:
    names = [name if isinstance(name, str | int) else str(name) for name in frame.columns.tolist()]
    if len(set(names)) < len(names):
        raise ValueError("two columns of one name")
    columns = [list(map(_plain, frame.iloc[:, place].tolist())) for place in range(len(names))]
    rows = [list(row) for row in zip(*columns, strict=True)]
    if before is not None:
        names, rows = _below(_read_json(before), (names, rows))
    path.write_text(_encoded({"columns": names, "data": rows}), encoding="utf-8")


def _below(upper: tuple[list[Any], list[Any]], lower: tuple[list[Any], list[Any]]) -> tuple[list[Any], list[Any]]:
    names = list(dict.fromkeys([*upper[0], *lower[0]]))
    rows = []
    for own, part in (upper, lower):
        place = {name: number for number, name in enumerate(own)}
        rows += [[row[place[name]] if name in place else None for name in names] for row in part]
    return names, rows


def _plain(value: Any) -> Any:
    """A value as JSON has it; what is missing is null, and a time is a text in ISO 8601."""
    import numpy as np
    import pandas as pd

    if isinstance(value, str | bool):
        return value
    if value is None or value is pd.NA or value is pd.NaT:
        return None
    if isinstance(value, np.datetime64 | np.timedelta64):
        return _plain(pd.Timestamp(value) if isinstance(value, np.datetime64) else pd.Timedelta(value))
    if isinstance(value, np.generic | Decimal):
        value = value.item() if isinstance(value, np.generic) else float(value)
    if isinstance(value, float):
        return None if value != value else value
    if isinstance(value, int):
        # pandas, and so MLflow, reads no greater ones
        if not -(2**63) <= value < 2**64:
            raise OverflowError("an integer beyond 64 bits")
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset | np.ndarray):
        return [_plain(one) for one in value]
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return value.decode() if isinstance(value, bytes) else str(value)


def _encoded(table: dict[str, Any]) -> str:
    text = json.dumps(table, ensure_ascii=False)
    if "Infinity" not in text:
        return text
    # JSON has no infinities, but numbers that every reader takes for one
    mark = uuid.uuid4().hex
    marked = json.dumps(_marked(table, mark), ensure_ascii=False)
    return marked.replace(f'"{mark}+"', "1e999").replace(f'"{mark}-"', "-1e999")


def _marked(value: Any, mark: str) -> Any:
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return f"{mark}{'+' if value > 0 else '-'}"
    if isinstance(value, dict):
        return {key: _marked(one, mark) for key, one in value.items()}
    return [_marked(one, mark) for one in value] if isinstance(value, list) else value


def _read_json(path: Path) -> tuple[list[Any], list[Any]]:
    try:
        content = json.loads(path.read_bytes())
        columns, rows = content["columns"], content["data"]
        if not all(isinstance(row, list) and len(row) == len(columns) for row in rows):
            raise ValueError
        return [name if isinstance(name, str | int) else str(name) for name in columns], rows
    except (ValueError, TypeError, KeyError, RecursionError):
        raise FormatError(
            f"The file {path.name!r} is there and holds no table: a JSON object with columns and data, a list for each row. "
            "Choose another name for the table."
        ) from None


def _column(values: tuple[Any, ...]) -> Any:
    import pandas as pd

    column = pd.Series(values)
    if column.isna().all():
        return column.astype(float) if len(column) else column
    if column.dtype.kind == "f" and any(isinstance(one, int) and abs(one) > _EXACT for one in values):
        whole = all(one is None or isinstance(one, int) for one in values)
        return pd.Series(values, dtype="Int64" if whole and max(filter(None, values)) < 2**63 else object)
    return column


# -- Parquet ---------------------------------------------------------------------------------------------------------------


def _write_parquet(frame: Any, path: Path, before: Path | None) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(frame, preserve_index=False)
    if before is not None:
        upper = _read_parquet(before)
        try:
            table = pa.concat_tables([upper, table], promote_options="permissive")
        except pa.ArrowException:
            raise InvalidInput(_other_types(path.name, upper.schema, table.schema)) from None
    pq.write_table(table, path)


def _other_types(name: str, upper: Any, lower: Any) -> str:
    there = dict(zip(upper.names, upper.types, strict=True))
    differ = [
        f"{one.name} ({there[one.name]}, now {one.type})"
        for one in lower
        if there.get(one.name) not in (None, one.type)
    ]
    return (
        f"The table {name!r} is there, and columns have another type: {', '.join(differ)}. "
        "Give them the same type, or log the table under another name."
    )


def _read_parquet(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(path).read()
    except pa.ArrowException:
        raise FormatError(
            f"The file {path.name!r} is there and is no Parquet. Choose another name for the table."
        ) from None
