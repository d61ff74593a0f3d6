"""Which rows a model cannot answer: those with a null in a column in which the framework refuses one.

What a framework says itself is taken (:meth:`~sparkml_lifecycle.flavors.Flavor.answers_missing`). Of others, and those are
scikit-learn's pipelines, it is found out by asking the model about one row that it answers, once without and then with a
null in each column. That row is the first that works of: the rows of the input example without a null, a made-up one, and
the first rows of the batch without a null. Where none works nothing is known of the columns, and then each row with a null
is asked by itself.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from sparkml_lifecycle.model import batch, example

_TRIED = 5  # rows of the example, and of a batch


class NullRule:
    """The columns that take no null, by method; found out at the first null and once, whichever thread comes first.

    Parameters
    ----------
    directory : Path
        Where the input example lies.
    levels : callable
        Gives a value that the model knows, by column: for the made-up row.
    """

    def __init__(self, directory: Path, levels: Callable[[], Mapping[str, Any]]) -> None:
        self._directory = directory
        self._levels = levels
        self._found: dict[str, tuple[str, ...] | None] = {}
        self._base: dict[str, Any] = {}
        self._lock = threading.RLock()

    def refusing(self, table: Any, method: str, ask: Callable[[Any], Any]) -> tuple[str, ...] | None:
        """The columns in which a null is refused; None where nothing is known of them."""
        found = self._found.get(method, ())
        if method in self._found and found is not None:
            return found
        with self._lock:
            if method not in self._found or self._found[method] is None:
                self._found[method] = self._probe(table, method, ask)
            return self._found[method]

    def base(self, table: Any, method: str, ask: Callable[[Any], Any]) -> Any:
        """A row that the model answers, as a table; None if none was found."""
        with self._lock:
            if self._base.get(method) is None:
                self._base[method] = next((row for row in self._candidates(table) if _works(ask, row)), None)
            return self._base[method]

    def _probe(self, table: Any, method: str, ask: Callable[[Any], Any]) -> tuple[str, ...] | None:
        base = self.base(table, method, ask)
        if base is None:
            return None
        refused = []
        for i, name in enumerate(base.column_names):
            kind = base.schema.field(i).type
            gap = base.set_column(i, base.schema.field(i), pa.nulls(base.num_rows, kind))
            if pa.types.is_nested(kind) or not _works(ask, gap):
                refused.append(name)
        return tuple(refused)

    def _candidates(self, table: Any) -> Iterator[Any]:
        complete = without_nulls(table.schema, example.read(self._directory, table.schema))
        yield from (complete.slice(i, 1) for i in range(min(complete.num_rows, _TRIED)))
        yield _made_up(table.schema, self._levels())
        complete = without_nulls(table.schema, table)
        yield from (complete.slice(i, 1) for i in range(min(complete.num_rows, _TRIED)))


def without_nulls(schema: Any, table: Any) -> Any:
    """The rows of a table in which nothing is missing."""
    mask = batch.null_rows(table, schema.names) if table.num_rows else None
    return table if mask is None else table.filter(pa.array(~mask))


def _works(ask: Callable[[Any], Any], row: Any) -> bool:
    try:
        ask(row)
    except Exception:  # any refusal of a trial row means: not this row
        return False
    return True


def _made_up(schema: Any, levels: Mapping[str, Any]) -> Any:
    """One harmless row: known levels, else zeros and empty strings."""
    arrays = []
    for item in schema:
        kind = item.type
        try:
            if levels.get(item.name) is not None:
                arrays.append(pa.array([levels[item.name]]).cast(kind))
            elif pa.types.is_string(kind):
                arrays.append(pa.array([""], type=kind))
            elif pa.types.is_date32(kind) or pa.types.is_time32(kind):
                arrays.append(pa.array([0], pa.int32()).cast(kind))
            elif pa.types.is_temporal(kind):
                arrays.append(pa.array([0], pa.int64()).cast(kind))
            else:
                arrays.append(pa.array([0]).cast(kind))
        except pa.ArrowException:
            arrays.append(pa.nulls(1, kind))
    return pa.table(arrays, schema=schema)


def rows_one_by_one(table: Any, mask: np.ndarray, ask: Callable[[Any], Any]) -> np.ndarray:
    """Of the rows that ``mask`` marks, those that the model refuses; of a model of which nothing is known."""
    refused = np.zeros(table.num_rows, dtype=bool)
    for i in np.flatnonzero(mask):
        refused[i] = not _works(ask, table.slice(int(i), 1))
    return refused
