"""Trees over the columns before their transformers: splits of encoded categories become sets, thresholds move to the raw numbers."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from sparkml_lifecycle.evaluators.pipelines import Prefix, made_up
from sparkml_lifecycle.evaluators.trees.answers import Found, Unknown
from sparkml_lifecycle.evaluators.trees.ensemble import Ensemble, Feature


def before(found: Found, prefix: Prefix) -> Found:
    """The same trees, asking for the columns that the transformers take.

    Raises
    ------
    Unknown
        If the trees have categories of their own.
    """
    ensemble = found.ensemble
    if any(f.size is not None or f.missing_value is not None or f.nan != "missing" for f in ensemble.features):
        raise Unknown("its trees have categories, or another value for missing, behind a transformer")
    trees = ensemble.trees
    columns = sorted(prefix.outputs)
    place_of = {output: place for own in prefix.outputs.values() for place, output in enumerate(own)}
    number_of = {column: number for number, column in enumerate(columns)}
    output_of = np.array([feature.column for feature in ensemble.features])
    inner = trees.left >= 0
    output = output_of[trees.feature]
    source = np.array([trace.column for trace in prefix.traces])[output]
    feature = np.array([number_of.get(column, 0) for column in range(len(prefix.schema))], np.int32)[source]
    cut, missing_right = trees.cut.copy(), trees.missing_right.copy()
    group = np.full(len(cut), -1, np.int32)
    sets: dict[tuple[int, bytes], int] = {}
    shapes: list[np.ndarray] = []
    numeric = np.array([column not in prefix.levels for column in range(len(prefix.schema))], bool)[source] & inner
    known: dict[tuple[int, float, bool], int] = {}
    for node in np.flatnonzero(inner & ~numeric).tolist():
        asked = int(output[node]), float(trees.cut[node]), bool(trees.missing_right[node])
        if asked not in known:
            column = int(source[node])
            table = prefix.tables[column]
            values = table[:, place_of[asked[0]]].toarray().ravel()
            bits = _goes(values, trees.cut[node], trees.missing_right[node], ensemble.real)
            known[asked] = sets.setdefault((column, bits.tobytes()), len(shapes))
            if known[asked] == len(shapes):
                shapes.append(bits)
        group[node] = known[asked]
    _move(prefix, ensemble, numeric, output, source, place_of, cut, missing_right)
    # scalers compute in float32 where all columns are of it
    narrow = ensemble.real == np.float32 or pa.float32() in prefix.kinds
    most = float(np.finfo(np.float32 if narrow else np.float64).max) / 4
    features = [_feature(prefix, column, ensemble, most) for column in columns]
    moved = replace(
        ensemble,
        features=features,
        trees=replace(trees, feature=feature, cut=cut, missing_right=missing_right, group=group),
        sets=shapes,
        real=np.dtype(np.float64),
        takes_missing=True,
        takes_infinite=True,
    )
    levels: Mapping[int, Any] = {column: values.to_pylist() for column, values in prefix.levels.items()}
    return replace(found, ensemble=moved, levels=levels, reads=prefix.reads)


def _feature(prefix: Prefix, column: int, ensemble: Ensemble, most: float) -> Feature:
    refused = set(prefix.refused[column])
    levels = prefix.levels.get(column)
    missing = prefix.missing[column] if levels is None else prefix.tables[column][-1].toarray()
    if not ensemble.takes_missing and np.isnan(missing).any():
        refused.add("missing")
    if levels is not None:
        return Feature(column, len(levels), refuses=frozenset(refused))
    largest = min(prefix.traces[output].bound(most) for output in prefix.outputs[column])
    return Feature(column, refuses=frozenset(refused), most=largest)


def _goes(values: np.ndarray, cut: float, missing_right: bool, real: np.dtype[Any]) -> np.ndarray:
    """Which values go right."""
    with np.errstate(over="ignore"):
        seen = values.astype(real).astype(np.float64)
    return np.where(np.isnan(seen), missing_right, seen >= cut)


def _move(
    prefix: Prefix,
    ensemble: Ensemble,
    numeric: np.ndarray,
    output: np.ndarray,
    source: np.ndarray,
    place_of: Mapping[int, int],
    cut: np.ndarray,
    missing_right: np.ndarray,
) -> None:
    """Put the cut of numbers before the transformers: the least number whose image is not below it."""
    wanted = {column: np.flatnonzero(numeric & (source == column)) for column in np.unique(source[numeric]).tolist()}
    cuts = {}
    for column, nodes in wanted.items():
        pairs = np.unique(np.column_stack([output[nodes].astype(np.float64), cut[nodes]]), axis=0)
        cuts[column] = pairs[~np.isnan(pairs[:, 1])]
    moved = _least(prefix, cuts, ensemble.real)
    for column, nodes in wanted.items():
        known = {(int(o), c): x for (o, c), x in zip(cuts[column].tolist(), moved[column].tolist(), strict=True)}
        for node in nodes.tolist():
            image = prefix.missing[column][place_of[int(output[node])]]
            old = float(cut[node])
            if not np.isnan(image):
                missing_right[node] = bool(ensemble.real.type(image) >= old)
            cut[node] = known.get((int(output[node]), old), np.nan)


def _least(prefix: Prefix, cuts: Mapping[int, np.ndarray], real: np.dtype[Any]) -> dict[int, np.ndarray]:
    """For each (output, cut) of a column the least number of the column's type whose image is not below the cut; NaN: none."""
    if not cuts:
        return {}
    rows = max(map(len, cuts.values()))
    kinds = {column: prefix.kinds[column] for column in cuts}
    low = {column: np.full(len(pairs), _ends(kinds[column])[0]) for column, pairs in cuts.items()}
    high = {column: np.full(len(pairs), _ends(kinds[column])[1] + 1) for column, pairs in cuts.items()}
    base = made_up(prefix, [{}] * rows)
    names = prefix.schema.names
    columns = {name: base.column(name).combine_chunks() for name in names}
    while any((low[column] < high[column]).any() for column in cuts):
        for column in cuts:
            middle = _middle(low[column], high[column])
            middle = np.minimum(middle, _ends(kinds[column])[1])
            values = _values(middle, kinds[column])
            name = names[column]
            filled = pa.concat_arrays([values, columns[name].slice(0, rows - len(values)).cast(values.type)])
            columns[name] = filled
        images = prefix.given(pa.table(columns))
        images = images.tocsr() if hasattr(images, "tocsr") else np.asarray(images)
        for column, pairs in cuts.items():
            middle = _middle(low[column], high[column])
            with np.errstate(over="ignore"):
                seen = np.asarray(images[np.arange(len(pairs)), pairs[:, 0].astype(int)]).ravel()
                seen = seen.astype(real).astype(np.float64)
            is_open = low[column] < high[column]
            reached = seen >= pairs[:, 1]
            high[column] = np.where(is_open & reached, middle, high[column])
            low[column] = np.where(is_open & ~reached, middle + 1, low[column])
    found = {}
    for column in cuts:
        last = _ends(kinds[column])[1]
        numbers = (
            _values(np.minimum(low[column], last), kinds[column]).cast(pa.float64()).to_numpy(zero_copy_only=False)
        )
        first = _ends(kinds[column])[0]
        found[column] = np.where(low[column] > last, np.nan, np.where(low[column] == first, -np.inf, numbers))
    return found


def _middle(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Halfway, rounded down, where the sum of the two is too large for a whole number."""
    return (low >> 1) + (high >> 1) + (low & high & 1)


def _ends(kind: pa.DataType) -> tuple[int, int]:
    """The numbers of the least and the greatest finite value of a type, in their order."""
    if pa.types.is_float64(kind):
        most = int(np.array(np.finfo(np.float64).max).view(np.int64))
        return -most - 1, most
    if pa.types.is_float32(kind):
        most = int(np.array(np.finfo(np.float32).max).view(np.int32))
        return -most - 1, most
    if pa.types.is_boolean(kind):
        return 0, 1
    if pa.types.is_integer(kind):
        ends = np.iinfo(kind.to_pandas_dtype())
        return max(int(ends.min), -(2**53)), min(int(ends.max), 2**53)
    raise Unknown(f"a column of {kind} is split as a number")


def _values(numbers: np.ndarray, kind: pa.DataType) -> pa.Array:
    """The values with these numbers."""
    if pa.types.is_boolean(kind):
        return pa.array(numbers.astype(bool))
    if pa.types.is_integer(kind):
        return pa.array(numbers.astype(np.int64)).cast(kind)
    whole, real = (np.int64, np.float64) if pa.types.is_float64(kind) else (np.int32, np.float32)
    least = np.iinfo(whole).min
    numbers = numbers.astype(whole)
    bits = np.where(numbers >= 0, numbers, ~numbers | whole(least))
    return pa.array(bits.view(real))
