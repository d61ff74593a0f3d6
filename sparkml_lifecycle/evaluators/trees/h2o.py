"""H2O's trees: GBM, DRF and XGBoost out of the file that lies beside a MOJO, summed and linked as H2O's genmodel does it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from sparkml_lifecycle.evaluators.codes import Codes
from sparkml_lifecycle.evaluators.trees import link
from sparkml_lifecycle.evaluators.trees.answers import Found, Unknown
from sparkml_lifecycle.evaluators.trees.ensemble import Ensemble, Feature, Trees
from sparkml_lifecycle.evaluators.trees.h2o_ties import broken

# what a scorer of MOJOs reads a missing category as, and how it spells booleans
_MISSING = ("", "nan")
_BOOLEANS = (("False", "True"), ("false", "true"), ("FALSE", "TRUE"), ("0", "1"))
_TWO_CLASSES = ("bernoulli", "quasibinomial", "modified_huber")
_EXPONENTIAL = ("reg:gamma", "reg:tweedie", "count:poisson")
_IDENTITY = ("reg:squarederror", "reg:linear", "rank:pairwise", "rank:ndcg")
_PER_CLASS = ("multi:softprob",)


def read(model: Any, levels: Mapping[str, int], schema: pa.Schema) -> Found:
    """The trees of a loaded MOJO, which knows its levels itself.

    Parameters
    ----------
    model : H2OModel
    levels : mapping of str to int
    schema : pyarrow.Schema
        The columns in order.

    Raises
    ------
    Unknown
        For a model that was saved without its trees, an offset, or a column, a link or a calibration that is not known here.
    """
    if getattr(model, "trees", None) is None:
        raise Unknown(getattr(model, "without_trees", "it has no trees that are known"))
    if model.offset:
        raise Unknown("it has an offset column")
    facts = model.trees.facts
    inputs = [_input(model, schema, number) for number in range(len(facts["positions"]))]
    splits = _splits(facts, inputs)
    features, at = _features(model.trees.arrays, schema, inputs, splits)
    real = np.dtype(np.float32 if model.algorithm == "xgboost" else np.float64)
    trees, sets = _trees(model.trees.arrays, splits, at, real)
    outputs = facts["classes"] if int(model.trees.arrays["output"].max()) > 0 else 1
    base = np.full(outputs, facts["base"], real)
    ensemble = Ensemble(features, trees, base, model.trees.arrays["output"], real, sets)
    known = {one.column: one.levels for one in inputs if one.levels is not None}
    greatest = np.maximum.reduceat(np.abs(trees.value[:, 0]), trees.at[:-1])
    magnitude = float(np.abs(base).max() + greatest.sum())
    known |= _unread(schema, inputs)
    return Found(ensemble, _methods(model, inputs), known, magnitude, exact=False, takes_rows=True)


# -- columns -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Input:
    """A column that the model is given.

    Attributes
    ----------
    column : int
        Its position in the batch.
    levels : sequence, optional
        In the type of the batch; None for numbers.
    missing : int
        The code of a missing value: of a level that stands for it, or the number of levels.
    made : mapping of int to array
        What becomes of each code, and last of a missing value, at positions of the model's own row.
    """

    column: int
    levels: Sequence[Any] | None
    missing: int
    made: Mapping[int, np.ndarray]


def _input(model: Any, schema: pa.Schema, number: int) -> _Input:
    facts, name = model.trees.facts, model.features[number]
    column = schema.get_field_index(name)
    if column < 0:
        raise Unknown(f"its column {name!r} is not among those of the signature")
    kind, domain = schema.field(column).type, model.domains.get(name)
    position, encoded = facts["positions"][number], facts["encoded"][number]
    if domain is None:
        if not _is_number(kind):
            raise Unknown(f"its column {name!r} of numbers is given as {kind}")
        return _Input(column, None, 0, {position: np.zeros(0)})
    made = {position: np.append(np.arange(len(domain), dtype=np.float64), np.nan)}
    if encoded is not None:
        made = {}
        for level, (positions, values) in enumerate(zip(*encoded, strict=True)):
            for at, value in zip(positions, values, strict=True):
                made.setdefault(at, np.full(len(domain) + 1, np.nan))[level] = value
    missing = next((domain.index(level) for level in _MISSING if level in domain), len(domain))
    return _Input(column, _spelled(name, domain, kind), missing, made)


def _spelled(name: str, domain: Sequence[str], kind: pa.DataType) -> list[Any]:
    """The levels as a batch has them, so that a value and its level compare equal."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_boolean(kind):
        no, yes = next((pair for pair in _BOOLEANS if set(pair) & set(domain)), _BOOLEANS[0])
        return [{no: False, yes: True}.get(level) for level in domain]
    if _is_text(kind):
        return list(domain)
    if _is_number(kind):
        try:
            pa.array(domain).cast(kind)
        except pa.ArrowInvalid:
            raise Unknown(f"its column {name!r} has categories that are no {kind}, as which it is given") from None
        return list(domain)
    raise Unknown(f"its column {name!r} of categories is given as {kind}")


def _unread(schema: pa.Schema, inputs: Sequence[_Input]) -> dict[int, Sequence[Any]]:
    """Levels for columns of text that the model does not read."""
    own = {one.column for one in inputs}
    found: dict[int, Sequence[Any]] = {}
    for number, field in enumerate(schema):
        if number in own or _is_number(field.type):
            continue
        if not _is_text(field.type):
            raise Unknown(f"its column {field.name!r} is given as {field.type}")
        found[number] = [""]
    return found


def _is_number(kind: pa.DataType) -> bool:
    is_floating = pa.types.is_float32(kind) or pa.types.is_float64(kind)
    return bool(is_floating or pa.types.is_integer(kind) or pa.types.is_boolean(kind))


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


@dataclass(frozen=True)
class _Split:
    """What a column that trees compare is: a given column's numbers, or what its codes become.

    Attributes
    ----------
    input : int
        The number of the given column.
    made : array, optional
        By code, and last for missing; None for numbers.
    size : int
        How many codes the model's own column has, where its splits are sets.
    missing : int
        The code of a missing value.
    zero_is_missing : bool
    """

    input: int
    made: np.ndarray | None
    size: int
    missing: int
    zero_is_missing: bool = False


def _splits(facts: Mapping[str, Any], inputs: Sequence[_Input]) -> dict[int, _Split]:
    own = {
        position: _Split(number, made if one.levels is not None else None, facts["sizes"][position], one.missing)
        for number, one in enumerate(inputs)
        for position, made in one.made.items()
    }
    if facts["objective"] is None:
        return own
    return _one_hot(facts, own)


def _one_hot(facts: Mapping[str, Any], own: Mapping[int, _Split]) -> dict[int, _Split]:
    """H2O gives XGBoost a column for each level, categories first, then float32 numbers."""
    offsets, cold = facts["offsets"], np.nan if facts["sparse"] else 0.0
    categories, splits = len(offsets) - 1, {}
    for position, split in own.items():
        if position >= categories:
            splits[position - categories + offsets[-1]] = _number(split, facts["sparse"])
            continue
        if split.made is None:
            raise Unknown("XGBoost's columns of categories are not known")
        first, end = offsets[position], offsets[position + 1]
        hot = split.made + first - (0 if facts["all_levels"] else 1)
        hot = np.where(np.isnan(split.made), end - 1, np.minimum(hot, end - 1))
        for column in range(first, end):
            splits[column] = _Split(split.input, np.where(hot == column, 1.0, cold), -1, split.missing)
    return splits


def _number(split: _Split, sparse: bool) -> _Split:
    if split.made is None:
        return _Split(split.input, None, -1, 0, sparse)
    made = split.made.astype(np.float32).astype(np.float64)
    return _Split(split.input, np.where(made == 0, np.nan, made) if sparse else made, -1, split.missing)


def _features(
    arrays: Mapping[str, np.ndarray], schema: pa.Schema, inputs: Sequence[_Input], splits: Mapping[int, _Split]
) -> tuple[list[Feature], dict[int, int]]:
    """The features, and the number of each split column's."""
    used = np.unique(arrays["column"][arrays["left"] >= 0]).tolist()
    if set(used) - set(splits):
        raise Unknown("a tree compares a column that the model is not given")
    asked = {splits[column].input: splits[column] for column in used}
    features: list[Feature] = []
    numbers: dict[int, int] = {}
    for number, one in enumerate(inputs):
        if one.levels is not None:
            numbers[number] = len(features)
            features.append(Feature(one.column, size=len(one.levels)))
        elif number in asked:
            numbers[number] = len(features)
            features.append(Feature(one.column, missing_value=0.0 if asked[number].zero_is_missing else None))
    features += [Feature(column, size=1) for column in _unread(schema, inputs)]
    return features, {column: numbers[splits[column].input] for column in used}


# -- trees ---------------------------------------------------------------------------------------------------------------


def _trees(
    arrays: Mapping[str, np.ndarray], splits: Mapping[int, _Split], at: Mapping[int, int], real: np.dtype
) -> tuple[Trees, list[np.ndarray]]:
    inner = arrays["left"] >= 0
    feature = np.zeros(len(inner), np.int32)
    group = np.full(len(inner), -1, np.int32)
    sets: list[np.ndarray] = []
    for column, number in at.items():
        nodes = np.flatnonzero(inner & (arrays["column"] == column))
        feature[nodes] = number
        split = splits[column]
        if split.made is not None:
            found, which = _different(_goes_right(arrays, nodes, split))
            group[nodes] = np.array(which) + len(sets)
            sets.extend(found)
    starts = np.concatenate([[0], arrays["end"]])
    trees = Trees(
        starts,
        arrays["left"],
        arrays["right"],
        feature,
        arrays["cut"].astype(np.float64),
        arrays["missing_right"],
        group,
        arrays["value"].astype(real)[:, None],
    )
    return trees, sets


def _different(sets: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """The rows without repetition, and which of them each one is."""
    packed = np.packbits(sets, axis=1)
    numbers: dict[bytes, int] = {}
    which = [numbers.setdefault(one.tobytes(), len(numbers)) for one in packed]
    bits = np.frombuffer(b"".join(numbers), np.uint8).reshape(len(numbers), -1)
    return np.unpackbits(bits, axis=1, count=sets.shape[1]).astype(bool), which


def _goes_right(arrays: Mapping[str, np.ndarray], nodes: np.ndarray, split: _Split) -> np.ndarray:
    """(nodes, codes + 2): the last two are for a category that is not known, which H2O holds for NaN, and for a missing one."""
    made, missing_right = split.made, arrays["missing_right"][nodes, None]
    assert made is not None
    is_missing = np.isnan(made)
    if split.size >= 0:
        is_missing |= made >= split.size
        codes = np.where(is_missing, 0, made).astype(np.int64)
        at = arrays["set_at"][nodes, None]
        if len(nodes) and (at.min() < 0 or at.max() + (split.size + 7) // 8 > len(arrays["sets"])):
            raise Unknown("a set of categories lies outside of its file")
        goes = (arrays["sets"][at + (codes >> 3)] >> (codes & 7)) & 1 == 1
    else:
        with np.errstate(invalid="ignore"):
            goes = made >= arrays["cut"][nodes, None].astype(np.float64)
    goes = np.where(is_missing, missing_right, goes)
    return np.concatenate([goes, goes[:, [split.missing]]], axis=1)


# -- answers -------------------------------------------------------------------------------------------------------------


def _methods(model: Any, inputs: Sequence[_Input]) -> dict[str, Callable[[np.ndarray, pa.Table], Any]]:
    """``predict`` and, for a classifier, ``predict_proba``, as the flavor answers them."""
    facts, labels = model.trees.facts, model.labels
    if labels is None:
        value = _value(model)
        return {"predict": lambda sums, rows: {model.outputs[0]: value(sums)}}
    if facts["classes"] != len(labels) or facts["classes"] < 2:
        raise Unknown(f"it has {facts['classes']} classes and {len(labels)} labels")
    names = model.outputs[1:]
    if len(names) != len(labels) and (len(names) != 2 * len(labels) or facts["platt"] is None):
        raise Unknown("its calibration is not known")
    distribution, texts = _distribution(model), pa.array(labels, pa.string())

    def given(likely: list[np.ndarray]) -> dict[str, np.ndarray]:
        calibrated = _calibrated(facts["platt"], likely) if len(names) > len(labels) else []
        return dict(zip(names, [*likely, *calibrated], strict=True))

    def likeliest(likely: list[np.ndarray], rows: pa.Table) -> np.ndarray:
        best = np.argmax(likely, axis=0)
        tied = np.flatnonzero(np.sum(np.equal(likely, np.max(likely, axis=0)), axis=0) > 1)
        if len(tied):
            own = _own_rows(facts["width"], inputs, rows.take(pa.array(tied)))
            best[tied] = broken(np.array(likely)[:, tied], facts["prior"], own)
        return best

    def label(sums: np.ndarray, rows: pa.Table) -> dict[str, Any]:
        # a label is a matter of one bit at the threshold, and two exponentials differ by one
        is_second = sums[0] >= facts["least"]
        likely = distribution(sums)
        if len(labels) > 2:
            codes = likeliest(likely, rows)
        else:
            codes = is_second if facts["family"] is not None else likely[1] >= facts["threshold"]
        return {model.outputs[0]: texts.take(pa.array(codes.astype(np.int32))), **given(likely)}

    return {"predict": label, "predict_proba": lambda sums, rows: given(distribution(sums))}


def _value(model: Any) -> Callable[[np.ndarray], np.ndarray]:
    """From the sum to a number."""
    facts = model.trees.facts
    if model.algorithm == "xgboost":
        if facts["objective"] in _EXPONENTIAL:
            return lambda sums: np.exp(sums[0].astype(np.float64)).astype(np.float32).astype(np.float64)
        if facts["objective"] in _IDENTITY:
            return lambda sums: sums[0].astype(np.float64)
        raise Unknown(f"its objective is {facts['objective']}")
    if model.algorithm == "drf":
        return lambda sums: sums[0] / facts["groups"]
    if facts["link"] not in ("identity", "log", "logit") or facts["family"] == "multinomial":
        raise Unknown(f"its distribution is {facts['family']} with the link {facts['link']}")

    def value(sums: np.ndarray) -> np.ndarray:
        sums += facts["init"]
        if facts["link"] == "log":
            link.exp64(sums)
            np.minimum(sums, 1e19, out=sums)
        elif facts["link"] == "logit":
            link.sigmoid64(sums, 1.0)
        return sums[0]

    return value


def _distribution(model: Any) -> Callable[[np.ndarray], list[np.ndarray]]:
    """From the sums to the probability of each class; the sums may be changed."""
    facts = model.trees.facts
    find = {"gbm": _gbm, "drf": _drf, "xgboost": _xgboost}[model.algorithm](facts)
    prior, balanced = facts["prior"], facts["balanced"]
    if balanced is None or model.algorithm == "xgboost":
        return find

    def corrected(sums: np.ndarray) -> list[np.ndarray]:
        likely = find(sums)
        total = np.zeros(sums.shape[1])
        for one, was, seen in zip(likely, prior, balanced, strict=True):
            if was != 0 and seen != 0:
                one *= was / seen
            total += one
        return _divided(likely, total)

    return corrected


def _divided(likely: list[np.ndarray], total: np.ndarray) -> list[np.ndarray]:
    total = np.where(total > 0, total, 1.0)
    for one in likely:
        one /= total
    return likely


def _gbm(facts: Mapping[str, Any]) -> Callable[[np.ndarray], list[np.ndarray]]:
    def two(sums: np.ndarray) -> list[np.ndarray]:
        sums += facts["init"]
        link.sigmoid64(sums, 1.0)
        return [1.0 - sums[0], sums[0]]

    def several(sums: np.ndarray) -> list[np.ndarray]:
        link.softmax64(sums)
        return list(sums)

    if facts["family"] in _TWO_CLASSES and facts["link"] == "logit":
        return two
    if facts["family"] == "multinomial" and facts["classes"] > 2:
        return several
    raise Unknown(f"its distribution is {facts['family']} with the link {facts['link']}")


def _drf(facts: Mapping[str, Any]) -> Callable[[np.ndarray], list[np.ndarray]]:
    def two(sums: np.ndarray) -> list[np.ndarray]:
        sums /= facts["groups"]
        return [sums[0], 1.0 - sums[0]]

    def several(sums: np.ndarray) -> list[np.ndarray]:
        total = np.zeros(sums.shape[1])
        for one in sums:
            total += one
        return _divided(list(sums), total)

    return two if facts["classes"] == 2 and not facts["double_trees"] else several


def _xgboost(facts: Mapping[str, Any]) -> Callable[[np.ndarray], list[np.ndarray]]:
    one_ = np.float32(1)

    def two(sums: np.ndarray) -> list[np.ndarray]:
        with np.errstate(over="ignore"):
            likely = one_ / (one_ + np.exp(-sums[0].astype(np.float64)).astype(np.float32))
        return [(one_ - likely).astype(np.float64), likely.astype(np.float64)]

    def several(sums: np.ndarray) -> list[np.ndarray]:
        powers = np.exp((sums - sums.max(axis=0)).astype(np.float64)).astype(np.float32)
        total = np.zeros(sums.shape[1])
        for one in powers:
            total += one
        return list((powers / total.astype(np.float32)).astype(np.float64))

    if facts["objective"] == "binary:logistic" and facts["classes"] == 2:
        return two
    if facts["objective"] in _PER_CLASS and facts["classes"] > 2:
        return several
    raise Unknown(f"its objective is {facts['objective']}")


def _calibrated(platt: Sequence[float], likely: list[np.ndarray]) -> list[np.ndarray]:
    second = np.ascontiguousarray(likely[0] * platt[0] + platt[1])[None, :]
    link.sigmoid64(second, 1.0)
    return [1 - second[0], second[0]]


def _own_rows(width: int, inputs: Sequence[_Input], rows: pa.Table) -> np.ndarray:
    """(rows, width) float64: rows as the model's own columns have them."""
    own = np.full((rows.num_rows, width), np.nan)
    for one in inputs:
        values = rows.column(one.column).combine_chunks()
        if one.levels is None:
            if pa.types.is_boolean(values.type):
                values = values.cast(pa.int8())
            (position,) = one.made
            own[:, position] = values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
            continue
        codes = Codes(pa.array(list(one.levels))).of(values)
        assert codes is not None
        codes = np.where(codes < 0, one.missing, codes)
        for position, made in one.made.items():
            own[:, position] = made[codes]
    return own
