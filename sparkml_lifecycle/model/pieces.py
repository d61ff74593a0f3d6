"""The answers of several calls put together in the container that the framework itself gives."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

Pieces = Sequence[tuple[Any, Any]]


def assemble(pieces: Pieces, rows: int) -> Any:
    """One container of ``rows`` answers.

    Parameters
    ----------
    pieces : sequence of (positions, answers)
        Where each answer belongs; a position of -1 belongs nowhere and tells the type alone.
    rows : int

    Returns
    -------
    numpy.ndarray, pandas.DataFrame, pandas.Series, pyarrow.Table, dict or list
        The kind of the pieces. Rows of no piece are NaN among numbers, else None.
    """
    first = pieces[0][1]
    if isinstance(first, Mapping):
        return {key: assemble([(at, given[key]) for at, given in pieces], rows) for key in first}
    if hasattr(first, "iloc"):
        return _frame(pieces, rows)
    if type(first).__module__.partition(".")[0] == "pyarrow":
        return _arrow(pieces, rows)
    if isinstance(first, (list, tuple)):
        found: list[Any] = [None] * rows
        for at, given in pieces:
            for place, value in zip(at, given, strict=True):
                if place >= 0:
                    found[place] = value
        return found
    return _array(
        [(at, np.asarray(given.toarray() if hasattr(given, "toarray") else given)) for at, given in pieces], rows
    )


def _array(pieces: Pieces, rows: int) -> np.ndarray:
    kept = sum(int((at >= 0).sum()) for at, _ in pieces)
    dtype = np.result_type(*(given.dtype for _, given in pieces))
    if kept < rows and dtype.kind in "iu":
        dtype = np.dtype(np.float64)
    elif kept < rows and dtype.kind not in "fcmM":
        dtype = np.dtype(object)
    shape = (rows, *pieces[0][1].shape[1:])
    missing = np.nan if dtype.kind in "fc" else None
    found = np.empty(shape, dtype) if kept == rows else np.full(shape, missing, dtype)
    for at, given in pieces:
        found[at[at >= 0]] = given[at >= 0]
    return found


def _frame(pieces: Pieces, rows: int) -> Any:
    import pandas as pd

    parts = [given.iloc[at >= 0].set_axis(at[at >= 0], axis=0) for at, given in pieces]
    return (parts[0] if len(parts) == 1 else pd.concat(parts)).reindex(pd.RangeIndex(rows))


def _arrow(pieces: Pieces, rows: int) -> Any:
    import pyarrow as pa

    from sparkml_lifecycle.model import answers

    tables = [(at[at >= 0], answers.to_columns(given, len(at)).filter(pa.array(at >= 0))) for at, given in pieces]
    joined = answers.joined(tables, rows)
    return joined if hasattr(pieces[0][1], "column_names") else joined.column(0)
