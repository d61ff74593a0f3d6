"""LightGBM's trees: of a Booster or a scikit-learn class, out of its own text."""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from sparkml_lifecycle.evaluators.trees import link
from sparkml_lifecycle.evaluators.trees.answers import Found, Unknown
from sparkml_lifecycle.evaluators.trees.ensemble import Ensemble, Feature, Missing, below_or_equal, stacked

_IDENTITY = (
    "", "custom", "none", "regression", "regression_l1", "huber", "fair", "quantile", "mape", "lambdarank", "rank_xendcg",
)  # fmt: skip
_EXPONENTIAL = ("poisson", "gamma", "tweedie")
_SIGMOID = ("binary", "multiclassova", "cross_entropy")
_ZERO = float(np.float32(1e-35))  # LightGBM takes what is not larger for zero
_NONE, _ZERO_MISSING = 0, 1  # kinds of missing; 2 is NaN


def read(model: Any, levels: Mapping[str, int], schema: Any) -> Found:
    """The trees that ``model`` predicts with: those up to its best iteration, where it has one.

    Parameters
    ----------
    model : Booster, LGBMRegressor, LGBMClassifier or LGBMRanker
    levels : mapping of str to int
        The categorical columns; how many levels each has is in the model.
    schema : pyarrow.Schema
        The columns in order.

    Raises
    ------
    Unknown
        For an objective, a tree or a column that is not known here.
    """
    is_booster = type(model).__name__ == "Booster"
    booster = model if is_booster else model.booster_
    if not is_booster and model.get_params().get("pred_early_stop"):
        raise Unknown("it stops before its last tree (pred_early_stop)")
    header, texts = _parts(booster.model_to_string())
    outputs = int(header["num_tree_per_iteration"])
    width = int(header["max_feature_idx"]) + 1
    if len(schema) != width:
        raise Unknown(f"it was trained on {width} columns and is asked with {len(schema)}")
    trees = [_Tree(text) for text in texts]
    if not trees:
        raise Unknown("it has no trees")
    known = _levels(booster, levels, schema)
    features = _features(trees, known)
    place = np.zeros(width, np.int64)
    place[[feature.column for feature in features]] = np.arange(len(features))
    sets: list[np.ndarray] = []
    nodes = [tree.nodes(features, place, sets) for tree in trees]
    order = np.arange(len(trees), dtype=np.int32) % outputs
    ensemble = Ensemble(features, stacked(nodes, np.float64), np.zeros(outputs), order, sets=sets)
    divisor = len(trees) // outputs if "average_output" in header else None
    value = _value(header.get("objective", ""), divisor)
    methods = {"predict": value} if is_booster else _own_methods(model, value)
    return Found(ensemble, methods, levels=known)


def _parts(text: str) -> tuple[dict[str, str], Iterator[dict[str, str]]]:
    """The keys of the header and of every tree."""
    header, *trees = text.partition("\nend of trees")[0].split("\nTree=")
    return _keys(header), map(_keys, trees)


def _keys(text: str) -> dict[str, str]:
    return {key: value for key, _, value in (line.partition("=") for line in text.splitlines()) if key}


def _levels(booster: Any, levels: Mapping[str, int], schema: Any) -> dict[int, Sequence[Any]]:
    """Of categorical columns, by position. LightGBM tells them apart by nothing but their order, too."""
    own = booster.pandas_categorical or []
    columns = [position for position, name in enumerate(schema.names) if name in levels]
    if len(columns) != len(own):
        raise Unknown(f"it was trained on {len(own)} categorical columns, and {len(columns)} are known")
    return dict(zip(columns, own, strict=True))


def _features(trees: Sequence["_Tree"], levels: Mapping[int, Sequence[Any]]) -> list[Feature]:
    """The columns that a tree asks for and the categorical ones."""
    asked = np.concatenate([tree.feature for tree in trees])
    kinds = np.concatenate([tree.missing for tree in trees])
    for column in np.unique(asked[np.concatenate([tree.categorical for tree in trees])]).tolist():
        if column not in levels:
            raise Unknown(f"column {column} holds whole numbers that are categories")
    used = sorted({*asked.tolist(), *levels}) or [0]
    features = []
    for column in used:
        size = len(levels[column]) if column in levels else None
        nan = "missing" if size is not None else _missing(set(kinds[asked == column].tolist()), column)
        features.append(Feature(column, size, nan))
    return features


def _missing(kinds: set[int], column: int) -> Missing:
    if kinds == {_ZERO_MISSING}:
        return "zero is missing"
    if _ZERO_MISSING in kinds:
        raise Unknown(f"zero is missing in some of the trees that ask for column {column}, and not in others")
    return "missing" if kinds - {_NONE} else "zero"


class _Tree:
    """One tree's text as arrays: of its inner nodes, and of its leaves."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        if keys.get("is_linear", "0") != "0":
            raise Unknown("its leaves hold linear models")

        def numbers(key: str, kind: type) -> np.ndarray:
            return np.array(keys.get(key, "").split(), kind)

        self.value = numbers("leaf_value", np.float64)
        inner = len(self.value) - 1
        decision = numbers("decision_type", np.int64)[:inner]
        self.feature = numbers("split_feature", np.int64)[:inner]
        self.threshold = numbers("threshold", np.float64)[:inner]
        children = (numbers(key, np.int64)[:inner] for key in ("left_child", "right_child"))
        # leaf 0 is -1, leaf 1 is -2
        self.left, self.right = (np.where(child < 0, inner + ~child, child) for child in children)
        self.categorical = (decision & 1) != 0
        self.default_right = (decision & 2) == 0
        self.missing = (decision >> 2) & 3
        self._bounds, self._words = numbers("cat_boundaries", np.int64), numbers("cat_threshold", np.uint32)

    def nodes(self, features: Sequence[Feature], place: np.ndarray, sets: list[np.ndarray]) -> list[np.ndarray]:
        """What :func:`~sparkml_lifecycle.evaluators.trees.ensemble.stacked` takes; sets of codes are added to ``sets``."""
        count, leaves = len(self.feature), len(self.value)
        feature = place[self.feature]
        cut = _cuts(self.threshold)
        is_none = self.missing == _NONE
        missing_right = np.where(is_none, cut <= 0, self.default_right)
        group = np.full(count, -1)
        for node, number in enumerate(feature.tolist()):
            size = features[number].size
            if size is not None:
                group[node] = len(sets)
                sets.append(self._codes_right(node, size, bool(missing_right[node])))
            elif features[number].nan == "zero":
                missing_right[node] = False
        of_nodes = (self.left, self.right, feature, cut, missing_right, group)
        of_leaves = (-1, -1, 0, np.nan, False, -1)
        nodes = [np.append(one, np.full(leaves, fill)) for one, fill in zip(of_nodes, of_leaves, strict=True)]
        return [*nodes, np.append(np.zeros(count), self.value)]

    def _codes_right(self, node: int, size: int, missing_right: bool) -> np.ndarray:
        """Which codes go right; a category that is not known is missing to LightGBM."""
        if not self.categorical[node]:
            # an ordered column's codes are numbers
            bits = np.append(np.arange(size) > self.threshold[node], [missing_right] * 2)
            if size and self.missing[node] == _ZERO_MISSING:
                bits[0] = missing_right
            return bits
        bits = np.ones(size + 2, bool)
        number = int(self.threshold[node])
        words = self._words[self._bounds[number] : self._bounds[number + 1]]
        left = np.flatnonzero(np.unpackbits(words.astype("<u4").view(np.uint8), bitorder="little"))
        bits[left[left < size]] = False
        return bits


def _cuts(threshold: np.ndarray) -> np.ndarray:
    """Cuts for ``x <= threshold`` where an ``x`` near zero is zero."""
    at_zero = np.where(threshold >= 0, np.nextafter(_ZERO, np.inf), -_ZERO)
    return np.where(np.abs(threshold) <= _ZERO, at_zero, below_or_equal(threshold, np.float64))


# -- answers -------------------------------------------------------------------------------------------------------------


def _value(objective: str, divisor: int | None) -> Callable[[np.ndarray], np.ndarray]:
    """What ``Booster.predict`` makes of the sums: (rows,) of one output, else (rows, outputs)."""
    name, *words = objective.split() or [""]
    options = {key: given for key, _, given in (word.partition(":") for word in words)}
    slope = _number(options.get("sigmoid", "1"))
    if name not in (*_IDENTITY, *_EXPONENTIAL, *_SIGMOID, "multiclass"):
        raise Unknown(f"its objective is {name}")

    def value(sums: np.ndarray) -> np.ndarray:
        if divisor is not None:
            sums /= divisor
        if name in _SIGMOID:
            link.sigmoid64(sums, slope)
        elif name in _EXPONENTIAL:
            link.exp64(sums)
        elif name == "multiclass":
            link.softmax64(sums)
        elif "sqrt" in options:
            sums = np.sign(sums) * sums * sums
        return sums[0] if len(sums) == 1 else np.ascontiguousarray(sums.T)

    return value


def _number(text: str) -> float:
    """A positive number as LightGBM reads those of its objectives, which is not always the nearest."""
    mantissa, _, power = text.lower().partition("e")
    whole, _, rest = mantissa.partition(".")
    value = float(whole or 0) + float(rest or 0) / 10.0 ** len(rest)
    exponent = int(power or 0)
    return value * 10.0**exponent if exponent >= 0 else value / 10.0**-exponent


def _own_methods(model: Any, value: Callable[[np.ndarray], np.ndarray]) -> dict[str, Callable[[np.ndarray], Any]]:
    """The estimator's own methods, with the sums in place of its booster."""
    import pandas as pd

    nothing = pd.DataFrame()

    def method(name: str) -> Callable[[np.ndarray], Any]:
        def answer(sums: np.ndarray) -> Any:
            own = copy.copy(model)
            own._Booster = SimpleNamespace(predict=lambda *rows, **options: value(sums))
            return getattr(own, name)(nothing, num_threads=1)

        return answer

    return {name: method(name) for name in ("predict", "predict_proba") if hasattr(model, name)}
