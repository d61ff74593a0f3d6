"""Whether an evaluator answers as the framework does, tried on rows of edge cases."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from sparkml_lifecycle.evaluators.trees.ensemble import Ensemble

_MOST = 1500  # thresholds of a feature that are tried
_ROWS = 8192
TOLERANCE = 1e-12


def hurting_rows(
    ensemble: Ensemble, schema: pa.Schema, levels: Mapping[int, pa.Array], chance: np.random.Generator
) -> pa.Table:
    """Rows of the model's columns: each threshold, its neighbours, missing, infinities, zeros, unknown categories, random ones.

    Parameters
    ----------
    ensemble : Ensemble
    schema : pyarrow.Schema
        The types of the model's columns.
    levels : mapping of int to pyarrow.Array
        Categories by the position of their column.
    chance : numpy.random.Generator
    """
    by_column = {feature.column: number for number, feature in enumerate(ensemble.features)}
    columns = []
    for position, field in enumerate(schema):
        number = by_column.get(position)
        refused = set() if number is None else set(ensemble.features[number].refuses)
        refused |= set() if ensemble.takes_missing else {"missing"}
        refused |= set() if ensemble.takes_infinite else {"infinite"}
        if position in levels:
            columns.append(categories(levels[position], field.type, refused, chance))
        elif is_number(field.type):
            most = None if number is None else ensemble.features[number].most
            cuts = _cuts_of(ensemble, number, chance)
            columns.append(_numbers(cuts, field.type, ensemble.real, refused, most, chance))
        else:
            columns.append(pa.nulls(_ROWS, field.type))
    return pa.table(columns, schema=schema)


def _cuts_of(ensemble: Ensemble, number: int | None, chance: np.random.Generator) -> np.ndarray:
    if number is None:
        return np.zeros(1)
    trees = ensemble.trees
    cuts = np.unique(trees.cut[(trees.left >= 0) & (trees.feature == number) & (trees.group < 0)])
    cuts = cuts[np.isfinite(cuts)]
    return chance.choice(cuts, _MOST, replace=False) if len(cuts) > _MOST else cuts if len(cuts) else np.zeros(1)


def is_number(kind: pa.DataType) -> bool:
    """Whether a column of this type holds numbers or booleans."""
    return bool(pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind))


def _numbers(
    cuts: np.ndarray,
    kind: pa.DataType,
    precision: np.dtype[Any],
    refused: set[str],
    most: float | None,
    chance: np.random.Generator,
) -> pa.Array:
    real = precision.type
    near = cuts.astype(real)
    with np.errstate(over="ignore", invalid="ignore"):
        tried = [cuts, np.nextafter(cuts, np.inf), np.nextafter(cuts, -np.inf)]
        tried += [np.nextafter(near, real(end)).astype(np.float64) for end in (np.inf, -np.inf)]
        # halfway between two numbers of the model's precision, where rounding decides
        tried += [(near.astype(np.float64) + np.nextafter(near, real(end))) / 2 for end in (np.inf, -np.inf)]
    span = max(float(np.ptp(cuts)), 1.0)
    tried.append(chance.uniform(cuts.min() - span / 4, cuts.max() + span / 4, _MOST))
    tried.append(np.array([0.0, -0.0, 1e-36, -1e-36, 1.0, -1.0, 1e30, -1e30]))
    if "infinite" not in refused:
        tried.append(np.array([np.inf, -np.inf]))
    values = np.concatenate(tried)
    if most is not None:
        values = np.clip(values, -most, most)
    picked = np.concatenate([values, chance.choice(values, max(_ROWS - len(values), 0))])
    picked = chance.permutation(picked)[:_ROWS]
    mask = None if "missing" in refused else chance.random(_ROWS) < 0.08
    if pa.types.is_boolean(kind):
        return pa.array(picked > np.median(picked), mask=mask)
    if pa.types.is_integer(kind):
        whole = np.concatenate([np.floor(picked[: _ROWS // 2]), np.ceil(picked[_ROWS // 2 :])])
        ends = np.iinfo(kind.to_pandas_dtype())
        whole = np.clip(np.nan_to_num(whole), max(ends.min, -(2.0**53)), min(ends.max, 2.0**53))
        return pa.array(whole.astype(np.int64), mask=mask).cast(kind)
    return pa.array(picked, mask=mask).cast(kind, safe=False)


def categories(
    levels: pa.Array, kind: pa.DataType, refused: Collection[str], chance: np.random.Generator, rows: int = _ROWS
) -> pa.Array:
    """Values of a column of categories: all levels, and missing and unknown ones unless they are refused."""
    strange: list[Any] = []
    if "unknown" not in refused and not pa.types.is_boolean(levels.type):
        strange = [unseen(levels.to_pylist())] * max(1, len(levels) // 30)
    tried = pa.concat_arrays([levels, pa.array(strange, levels.type), *_odd_floats(levels, refused)])
    mask = None if "missing" in refused else chance.random(rows) < 0.05
    return tried.take(pa.array(chance.integers(0, len(tried), rows), mask=mask)).cast(kind)


def _odd_floats(levels: pa.Array, refused: Collection[str]) -> list[pa.Array]:
    """The other zero, NaN, and numbers beside and between the levels."""
    if not pa.types.is_floating(levels.type):
        return []
    known = levels.to_numpy()
    found = [-known[known == 0.0]]
    if "missing" not in refused:
        found.append(np.full(max(1, len(known) // 30), np.nan, known.dtype))
    if "unknown" not in refused:
        near = [np.nextafter(known, known.dtype.type(end)) for end in (np.inf, -np.inf)]
        found += [one[~np.isin(one, known)] for one in (*near, known / 3 + 0.1)]
    return [pa.array(one, levels.type, from_pandas=False) for one in found]


def unseen(values: Sequence[Any]) -> Any:
    """A category of the same type that is not among the values."""
    if isinstance(values[0], str):
        return max(values, key=len) + "?"
    if isinstance(values[0], bool):
        return not values[0]
    return max(values) + 1


def difference(expected: Any, found: Any, allowed: np.ndarray | None) -> str | None:
    """In which way two answers differ, as a sentence; None if they do not.

    Parameters
    ----------
    expected, found : array, or dict of arrays
    allowed : (rows,) array, optional
        How far an answer may be away, beside 1e-12 of itself; None: they must be equal to the last bit.
    """
    if isinstance(expected, Mapping) or isinstance(found, Mapping):
        if not isinstance(expected, Mapping) or not isinstance(found, Mapping) or list(expected) != list(found):
            return "the answers have other names"
        return next((d for name in expected if (d := difference(expected[name], found[name], allowed))), None)
    want, got = np.asarray(expected), np.asarray(found)
    if want.shape != got.shape or want.dtype != got.dtype:
        return f"{got.dtype} of shape {got.shape} instead of {want.dtype} of shape {want.shape}"
    if want.dtype.kind == "f":
        same = (want == got) | (np.isnan(want) & np.isnan(got))
        if allowed is not None:
            room = allowed if want.ndim == 1 else allowed[:, None]
            with np.errstate(invalid="ignore"):
                same |= np.abs(want - got) <= TOLERANCE * np.abs(want) + room
    else:
        same = want == got
    if same.all():
        return None
    wrong = int((~same).sum())
    row = tuple(np.argwhere(~same)[0])
    return f"{wrong} of {same.size} answers differ; in one of them the framework gives {want[row]} and the evaluator {got[row]}"


Ask = Callable[[pa.Table, str], Any]


def compared(methods: Sequence[str], table: pa.Table, native: Ask, fast: Ask, allowed: np.ndarray | None) -> str | None:
    """The first difference over methods; None if there is none. What the framework refuses must be left to it."""
    for method in methods:
        try:
            expected = native(table, method)
        except Exception as error:
            return f"the framework does not answer the rows that it is tried with ({type(error).__name__})"
        found = fast(table, method)
        if found is None:
            return f"it left the rows that it is tried with to the framework in {method}"
        if (different := difference(expected, found, allowed)) is not None:
            return f"{method}: {different}"
    return None
