"""Whether an evaluator answers as the framework does, tried on rows that are made to hurt."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from sparkml_lifecycle.evaluators.trees.ensemble import Ensemble

_MOST = 1500  # thresholds of a feature that are tried
_ROWS = 8192
_TOLERANCE = 1e-12


def hurting_rows(ensemble: Ensemble, schema: pa.Schema, levels: Mapping[int, pa.Array], seed: int = 0) -> pa.Table:
    """Rows of the model's columns: each threshold, its neighbours, missing, infinities, zeros, unknown categories, random ones.

    Parameters
    ----------
    ensemble : Ensemble
    schema : pyarrow.Schema
        The types of the model's columns.
    levels : mapping of int to pyarrow.Array
        Categories by the position of their column.
    seed : int
    """
    chance = np.random.default_rng(seed)
    by_column = {feature.column: number for number, feature in enumerate(ensemble.features)}
    columns = []
    for position, field in enumerate(schema):
        number = by_column.get(position)
        if position in levels:
            columns.append(_categories(levels[position], field.type, chance))
        else:
            cuts = _cuts_of(ensemble, number, chance)
            columns.append(_numbers(cuts, field.type, ensemble, chance))
    return pa.table(columns, schema=schema)


def _cuts_of(ensemble: Ensemble, number: int | None, chance: np.random.Generator) -> np.ndarray:
    if number is None:
        return np.zeros(1)
    trees = ensemble.trees
    cuts = np.unique(trees.cut[(trees.left >= 0) & (trees.feature == number) & (trees.group < 0)])
    cuts = cuts[np.isfinite(cuts)]
    return chance.choice(cuts, _MOST, replace=False) if len(cuts) > _MOST else cuts if len(cuts) else np.zeros(1)


def _numbers(cuts: np.ndarray, kind: pa.DataType, ensemble: Ensemble, chance: np.random.Generator) -> pa.Array:
    real = ensemble.real.type
    near = cuts.astype(real)
    with np.errstate(over="ignore", invalid="ignore"):
        tried = [cuts, np.nextafter(cuts, np.inf), np.nextafter(cuts, -np.inf)]
        tried += [np.nextafter(near, real(end)).astype(np.float64) for end in (np.inf, -np.inf)]
        # halfway between two numbers of the model's precision, where rounding decides
        tried += [(near.astype(np.float64) + np.nextafter(near, real(end))) / 2 for end in (np.inf, -np.inf)]
    span = max(float(np.ptp(cuts)), 1.0)
    tried.append(chance.uniform(cuts.min() - span / 4, cuts.max() + span / 4, _MOST))
    tried.append(np.array([0.0, -0.0, 1e-36, -1e-36, 1.0, -1.0, 1e30, -1e30]))
    if ensemble.takes_infinite:
        tried.append(np.array([np.inf, -np.inf]))
    values = np.concatenate(tried)
    picked = np.concatenate([values, chance.choice(values, max(_ROWS - len(values), 0))])[:]
    picked = chance.permutation(picked)[:_ROWS]
    mask = chance.random(_ROWS) < 0.08 if ensemble.takes_missing else None
    if pa.types.is_boolean(kind):
        return pa.array(picked > np.median(picked), mask=mask)
    if pa.types.is_integer(kind):
        whole = np.concatenate([np.floor(picked[: _ROWS // 2]), np.ceil(picked[_ROWS // 2 :])])
        ends = np.iinfo(kind.to_pandas_dtype())
        whole = np.clip(np.nan_to_num(whole), max(ends.min, -(2.0**53)), min(ends.max, 2.0**53))
        return pa.array(whole.astype(np.int64), mask=mask).cast(kind)
    return pa.array(picked, mask=mask).cast(kind, safe=False)


def _categories(levels: pa.Array, kind: pa.DataType, chance: np.random.Generator) -> pa.Array:
    indices = chance.integers(0, len(levels), _ROWS)
    return levels.take(pa.array(indices, mask=chance.random(_ROWS) < 0.05)).cast(kind)


def difference(expected: Any, found: Any, exact: bool) -> str | None:
    """In which way two answers differ, as a sentence; None if they do not.

    Parameters
    ----------
    expected, found : array, or dict of arrays
    exact : bool
        To the last bit, else to 1e-12 relative.
    """
    if isinstance(expected, Mapping) or isinstance(found, Mapping):
        if not isinstance(expected, Mapping) or not isinstance(found, Mapping) or list(expected) != list(found):
            return "the answers have other names"
        return next((d for name in expected if (d := difference(expected[name], found[name], exact))), None)
    want, got = np.asarray(expected), np.asarray(found)
    if want.shape != got.shape or want.dtype != got.dtype:
        return f"{got.dtype} of shape {got.shape} instead of {want.dtype} of shape {want.shape}"
    if want.dtype.kind == "f":
        same = (want == got) | (np.isnan(want) & np.isnan(got))
        if not exact:
            same |= np.isclose(want, got, rtol=_TOLERANCE, atol=1e-300)
    else:
        same = want == got
    if same.all():
        return None
    wrong = int((~same).sum())
    where = np.argwhere(~same)[0]
    return f"{wrong} of {same.size} answers differ, one of them {got[tuple(where)]!r} instead of {want[tuple(where)]!r}"


Ask = Callable[[pa.Table, str], Any]


def compared(methods: Sequence[str], table: pa.Table, native: Ask, fast: Ask, exact: bool) -> str | None:
    """The first difference over methods; None if there is none. What the framework refuses must be left to it."""
    for method in methods:
        try:
            expected = native(table, method)
        except Exception as error:
            return f"the framework does not answer the rows that it is tried with ({type(error).__name__})"
        found = fast(table, method)
        if found is None:
            return f"it left the rows that it is tried with to the framework in {method}"
        if (different := difference(expected, found, exact)) is not None:
            return f"{method}: {different}"
    return None
