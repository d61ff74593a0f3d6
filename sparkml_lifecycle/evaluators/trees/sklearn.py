"""scikit-learn's trees: histogram gradient boosting, gradient boosting, forests and single trees."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from sparkml_lifecycle.evaluators.trees.answers import Found, Unknown
from sparkml_lifecycle.evaluators.trees.ensemble import Ensemble, Feature, below_or_equal, stacked

_HISTOGRAM = ("HistGradientBoostingRegressor", "HistGradientBoostingClassifier")
_BOOSTED = ("GradientBoostingRegressor", "GradientBoostingClassifier")
_FORESTS = ("RandomForestRegressor", "RandomForestClassifier", "ExtraTreesRegressor", "ExtraTreesClassifier")
_SINGLE = ("DecisionTreeRegressor", "DecisionTreeClassifier", "ExtraTreeRegressor", "ExtraTreeClassifier")


def read(model: Any, levels: Mapping[str, int], schema: Any) -> Found:
    """The trees of a fitted estimator of scikit-learn's own, which knows its levels itself.

    Raises
    ------
    Unknown
        For another estimator, or something in it that is not known here.
    """
    name = type(model).__name__
    if not type(model).__module__.startswith("sklearn."):
        raise Unknown(f"{type(model).__module__}.{name} is no estimator of scikit-learn's own")
    if name in _HISTOGRAM:
        return _histogram(model)
    if name in _BOOSTED:
        return _boosted(model)
    if name in _FORESTS:
        return _forest(model)
    if name in _SINGLE:
        return _single(model)
    raise Unknown(f"there is none for {name}")


# -- histogram gradient boosting -----------------------------------------------------------------------------------------


def _histogram(model: Any) -> Found:
    order, levels = np.arange(model.n_features_in_), {}
    if getattr(model, "_preprocessor", None) is not None:
        mask = np.asarray(model.is_categorical_, bool)
        order = np.concatenate([np.flatnonzero(mask), np.flatnonzero(~mask)])
        encoder = model._preprocessor.named_transformers_["encoder"]
        # a missing value is the last category of an encoder that has seen one, and its code is NaN
        known = [values[: len(values) - missing_at_end(values)] for values in encoder.categories_]
        levels = {int(column): values for column, values in zip(np.flatnonzero(mask), known, strict=True)}
    features = [
        Feature(int(column), size=len(levels[column]) if column in levels else None) for column in order.tolist()
    ]
    known_codes = _known_codes(model)
    sets: list[np.ndarray] = []
    trees, outputs = [], []
    for iteration in model._predictors:
        for output, predictor in enumerate(iteration):
            nodes = predictor.nodes
            leaf = nodes["is_leaf"].astype(bool)
            left = np.where(leaf, -1, nodes["left"].astype(np.int64))
            right = np.where(leaf, -1, nodes["right"].astype(np.int64))
            cut = below_or_equal(nodes["num_threshold"], np.float64)
            missing_right = nodes["missing_go_to_left"] == 0
            group = np.full(len(nodes), -1)
            for node in np.flatnonzero(nodes["is_categorical"].astype(bool) & ~leaf).tolist():
                feature = int(nodes["feature_idx"][node])
                goes_left = _codes_in(predictor.raw_left_cat_bitsets[int(nodes["bitset_idx"][node])])
                bits = np.full(int(features[feature].size or 0) + 2, missing_right[node])
                bits[[code for code in known_codes[feature] if code < len(bits) - 2]] = True
                bits[[code for code in goes_left if code < len(bits) - 2]] = False
                group[node] = len(sets)
                sets.append(bits)
            trees.append([left, right, nodes["feature_idx"], cut, missing_right, group, nodes["value"]])
            outputs.append(output)
    base = np.ascontiguousarray(np.asarray(model._baseline_prediction, np.float64).ravel())
    ensemble = Ensemble(features, stacked(trees, np.float64), base, np.array(outputs, np.int32), sets=sets)
    methods = _own_methods(model, ("predict", "predict_proba", "predict_log_proba", "decision_function"))
    return Found(ensemble, methods, levels=levels)


def missing_at_end(values: np.ndarray) -> int:
    """1 if the last category of an encoder stands for missing, else 0."""
    last = values[-1] if len(values) else 0
    return int(last is None or last != last)


def _codes_in(bitset: np.ndarray) -> list[int]:
    """The codes of a bitset of eight words."""
    bits: list[int] = np.flatnonzero(np.unpackbits(bitset.astype("<u4").view(np.uint8), bitorder="little")).tolist()
    return bits


def _known_codes(model: Any) -> dict[int, list[int]]:
    if model.is_categorical_ is None or getattr(model, "_preprocessor", None) is None:
        return {}
    known, at = model._bin_mapper.make_known_categories_bitsets()
    return {int(feature): _codes_in(known[at[feature]]) for feature in np.flatnonzero(model._is_categorical_remapped)}


def _own_methods(model: Any, names: Sequence[str]) -> dict[str, Callable[[np.ndarray], Any]]:
    """The estimator's own methods, with the sums in place of its trees."""

    def method(name: str) -> Callable[[np.ndarray], Any]:
        def answer(sums: np.ndarray) -> Any:
            own = copy.copy(model)
            own._raw_predict = lambda rows: np.asfortranarray(sums.T)
            return getattr(own, name)(None)

        return answer

    return {name: method(name) for name in names if hasattr(model, name)}


# -- trees that compare float32 ------------------------------------------------------------------------------------------


def _nodes(tree: Any, value: np.ndarray) -> list[np.ndarray]:
    cut = below_or_equal(tree.threshold, np.float32)
    missing_right = tree.missing_go_to_left == 0
    return [
        tree.children_left,
        tree.children_right,
        np.maximum(tree.feature, 0),
        cut,
        missing_right,
        np.full(tree.node_count, -1),
        value,
    ]


def _ensemble(model: Any, trees: list[list[np.ndarray]], base: np.ndarray, outputs: list[int], takes: bool) -> Ensemble:
    features = [Feature(number) for number in range(model.n_features_in_)]
    stack = stacked(trees, np.float64)
    return Ensemble(features, stack, base, np.array(outputs, np.int32), np.dtype(np.float32), (), takes, False)


def _boosted(model: Any) -> Found:
    from sklearn.dummy import DummyClassifier, DummyRegressor

    if not isinstance(model.init_, (DummyClassifier, DummyRegressor)) and model.init_ != "zero":
        raise Unknown("it starts from the answers of another model (init)")
    trees, outputs = [], []
    for stage in model.estimators_:
        for output, estimator in enumerate(stage):
            tree = estimator.tree_
            trees.append(_nodes(tree, tree.value[:, 0, 0] * model.learning_rate))
            outputs.append(output)
    one = np.zeros((1, model.n_features_in_), np.float32)
    base = np.ascontiguousarray(model._raw_predict_init(one)[0], np.float64)
    ensemble = _ensemble(model, trees, base, outputs, False)

    def decision(sums: np.ndarray) -> np.ndarray:
        return sums[0] if len(sums) == 1 else np.ascontiguousarray(sums.T)

    if type(model).__name__ == "GradientBoostingRegressor":
        return Found(ensemble, {"predict": decision})

    def label(sums: np.ndarray) -> np.ndarray:
        raw = decision(sums)
        chosen = (raw >= 0).astype(int) if raw.ndim == 1 else np.argmax(raw, axis=1)
        return model.classes_[chosen]

    def probabilities(sums: np.ndarray) -> np.ndarray:
        return model._loss.predict_proba(decision(sums))

    return Found(ensemble, {"predict": label, "predict_proba": probabilities, "decision_function": decision})


def _forest(model: Any) -> Found:
    return _averaged(model, [estimator.tree_ for estimator in model.estimators_], len(model.estimators_))


def _single(model: Any) -> Found:
    return _averaged(model, [model.tree_], None)


def _averaged(model: Any, trees: Sequence[Any], count: int | None) -> Found:
    """Forests add the trees' answers up and divide; a single tree's answer is its leaf's."""
    if model.n_outputs_ != 1:
        raise Unknown("it has several outputs")
    first = model.estimators_[0] if count is not None else model
    takes = bool(first._support_missing_values(np.zeros((1, model.n_features_in_), np.float32)))
    is_classifier = hasattr(model, "classes_")
    width = int(model.n_classes_) if is_classifier else 1
    nodes = [_nodes(tree, tree.value[:, 0, :width]) for tree in trees]
    ensemble = _ensemble(model, nodes, np.zeros(width), [0] * len(trees), takes)

    def mean(sums: np.ndarray) -> np.ndarray:
        if count is not None:
            sums /= count
        return sums

    if not is_classifier:
        return Found(ensemble, {"predict": lambda sums: mean(sums)[0]})

    def probabilities(sums: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(mean(sums).T)

    def label(sums: np.ndarray) -> np.ndarray:
        return model.classes_.take(np.argmax(mean(sums), axis=0), axis=0)

    return Found(ensemble, {"predict": label, "predict_proba": probabilities})
