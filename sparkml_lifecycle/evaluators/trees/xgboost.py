"""XGBoost's trees: ``gbtree`` of a Booster or a scikit-learn class, out of its own UBJSON."""

import ctypes
import ctypes.util
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from sparkml_lifecycle.evaluators.trees import link, ubjson
from sparkml_lifecycle.evaluators.trees.answers import Found, Unknown
from sparkml_lifecycle.evaluators.trees.ensemble import Ensemble, Feature, stacked

_IDENTITY = (
    "reg:squarederror", "reg:squaredlogerror", "reg:pseudohubererror", "reg:absoluteerror", "reg:quantileerror",
    "binary:logitraw", "rank:ndcg", "rank:pairwise", "rank:map", "reg:linear", "reg:expectileerror",
)  # fmt: skip
_LOGISTIC = ("binary:logistic", "reg:logistic")
_EXPONENTIAL = ("count:poisson", "reg:gamma", "reg:tweedie", "survival:cox")
_PER_CLASS = ("multi:softprob", "multi:softmax")


def read(model: Any, levels: Mapping[str, int], schema: Any) -> Found:
    """The trees that ``model`` predicts with.

    Parameters
    ----------
    model : Booster, XGBRegressor, XGBClassifier or XGBRanker
    levels : mapping of str to int
        How many levels each categorical column has.
    schema : pyarrow.Schema
        The columns in order.

    Raises
    ------
    Unknown
        For a booster, an objective or a tree that is not known here.
    """
    booster = model if type(model).__name__ == "Booster" else model.get_booster()
    learner = ubjson.decode(bytes(booster.save_raw("ubj")))["learner"]
    stored = learner["gradient_booster"]
    if stored["name"] != "gbtree":
        raise Unknown(f"its booster is {stored['name']}")
    objective, param = str(learner["objective"]["name"]), learner["learner_model_param"]
    used = _used_trees(booster, stored["model"])
    outputs = max(int(param.get("num_class", 0)), int(param.get("num_target", 1)), 1)
    base = _base(param["base_score"], objective, outputs)
    features = _features(int(param["num_feature"]), booster, model, levels, schema)
    sets: list[np.ndarray] = []
    trees = [_tree(tree, features, sets) for tree in stored["model"]["trees"][:used]]
    if not trees:
        raise Unknown("it has no trees")
    groups = np.array(stored["model"]["tree_info"][:used], np.int32)
    stack = stacked(trees, np.float32)
    ensemble = Ensemble(features, stack, base, groups, np.dtype(np.float32), sets, True, False)
    return Found(ensemble, _methods(model, objective))


def _used_trees(booster: Any, stored: Mapping[str, Any]) -> int:
    """How many trees predict: those up to the best iteration, as the flavor does it."""
    count = len(stored["trees"])
    attributes = booster.attributes()
    if "best_iteration" not in attributes:
        return count
    best = int(attributes["best_iteration"]) + 1
    bounds = stored.get("iteration_indptr")
    if bounds is not None:
        return int(bounds[min(best, len(bounds) - 1)])
    raise Unknown("its file does not say which trees belong to an iteration")


def _base(stored: str, objective: str, outputs: int) -> np.ndarray:
    """The base of each output before the link, as XGBoost computes it from the stored score."""
    found = json.loads(stored) if isinstance(stored, str) else stored
    scores = np.array(found if isinstance(found, list) else [found], np.float32)
    if objective in _LOGISTIC:
        one = np.float32(1)
        scores = np.array([-_logf(float(one / score - one)) for score in scores], np.float32)
    elif objective in _EXPONENTIAL:
        scores = np.array([_logf(float(score)) for score in scores], np.float32)
    elif objective not in _IDENTITY and objective not in _PER_CLASS and objective != "binary:hinge":
        raise Unknown(f"its objective is {objective}")
    if len(scores) not in (1, outputs):
        raise Unknown(f"it has {len(scores)} base scores for {outputs} outputs")
    return np.ascontiguousarray(np.broadcast_to(scores, outputs), np.float32)


def _logf(value: float) -> float:
    """The C library's logarithm in float32, which XGBoost calls."""
    try:
        function = ctypes.CDLL(ctypes.util.find_library("m") or None).logf
    except (OSError, AttributeError):
        return float(np.float32(math.log(value)))
    function.restype, function.argtypes = ctypes.c_float, [ctypes.c_float]
    return float(function(value))


def _features(count: int, booster: Any, model: Any, levels: Mapping[str, int], schema: Any) -> list[Feature]:
    kinds = booster.feature_types or ["q"] * count
    own = booster.feature_names or schema.names
    missing = None if type(model).__name__ == "Booster" else model.get_params().get("missing")
    missing = None if missing is None or np.isnan(missing) else float(missing)
    if missing is not None and any(not str(kind).startswith(("float", "double")) for kind in schema.types):
        # XGBoost looks for it in columns of floats alone
        raise Unknown(f"missing={missing} with columns of whole numbers")
    features = []
    for number in range(count):
        if kinds[number] != "c":
            features.append(Feature(number, missing_value=missing))
            continue
        name = str(own[number])
        if name not in levels or missing is not None:
            raise Unknown(f"the levels of its categorical column {name!r} are not known")
        features.append(Feature(number, size=levels[name]))
    return features


def _tree(tree: Mapping[str, Any], features: Sequence[Feature], sets: list[np.ndarray]) -> list[np.ndarray]:
    if int(tree["tree_param"].get("size_leaf_vector", 1)) > 1:
        raise Unknown("its trees have a vector in each leaf")
    left = np.array(tree["left_children"], np.int32)
    condition = np.array(tree["split_conditions"], np.float32)
    group = np.full(len(left), -1, np.int32)
    feature = np.array(tree["split_indices"], np.int32)
    missing_right = np.array(tree["default_left"]) == 0
    segments, sizes, nodes = (tree.get(f"categories_{one}", ()) for one in ("segments", "sizes", "nodes"))
    for node, start, size in zip(nodes, segments, sizes, strict=True):
        bits = np.zeros(int(features[feature[node]].size or 0) + 2, bool)
        codes = np.array(tree["categories"][start : start + size], np.int64)
        bits[codes[codes < len(bits) - 2]] = True
        bits[-1] = missing_right[node]
        group[node] = len(sets)
        sets.append(bits)
    inner = left >= 0
    categorical = np.array([f.size is not None for f in features], bool)
    if (categorical[feature[inner]] != (group[inner] >= 0)).any():
        raise Unknown("a categorical column has a split of numbers, or one of numbers a split of categories")
    return [left, np.array(tree["right_children"], np.int32), feature, condition, missing_right, group, condition]


def _methods(model: Any, objective: str) -> dict[str, Callable[[np.ndarray], Any]]:
    def value(sums: np.ndarray) -> np.ndarray:
        """What ``Booster.predict`` gives: (rows,) of one output, else (rows, outputs)."""
        if objective in _LOGISTIC:
            link.sigmoid32(sums)
        elif objective in _EXPONENTIAL:
            link.exp32(sums)
        elif objective == "binary:hinge":
            sums = (sums > 0).astype(np.float32)
        elif objective == "multi:softprob":
            link.softmax32(sums)
        elif objective == "multi:softmax":
            return np.argmax(sums, axis=0).astype(np.float32)
        return sums[0] if len(sums) == 1 else np.ascontiguousarray(sums.T)

    if not hasattr(model, "predict_proba"):
        return {"predict": value}

    def label(sums: np.ndarray) -> np.ndarray:
        if objective == "multi:softprob" and model.n_classes_ != 2:
            link.softmax32(sums)
            return np.argmax(sums, axis=0)
        answers = value(sums)
        if answers.ndim > 1:
            chosen = np.zeros(answers.shape)
            chosen[answers > 0.5] = 1
            return chosen
        if objective == "multi:softmax":
            return answers.astype(np.int32)
        return (answers > 0.5).astype(np.int64)

    def probabilities(sums: np.ndarray) -> np.ndarray:
        answers = value(sums)
        if answers.ndim > 1:
            return answers
        return np.vstack((1.0 - answers, answers)).transpose()

    return {"predict": label} if objective == "multi:softmax" else {"predict": label, "predict_proba": probabilities}
