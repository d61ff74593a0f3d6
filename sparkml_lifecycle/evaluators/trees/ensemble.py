"""One representation of a tree ensemble, whatever trained it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

Missing = Literal["missing", "zero", "zero is missing"]


@dataclass(frozen=True)
class Feature:
    """What a tree compares.

    Attributes
    ----------
    column : int
        The position of its column in the model's input.
    size : int, optional
        Of categories: how many codes there are. Code ``size`` stands for one that is not known, ``size + 1`` for missing.
    nan : {"missing", "zero", "zero is missing"}
        What the framework takes NaN and zero for.
    missing_value : float, optional
        Another number that means missing.
    refuses : set of {"missing", "infinite", "unknown"}
        What is left to the framework, if it is met in this column.
    most : float, optional
        The largest number, either way, that is not taken for infinite.
    """

    column: int
    size: int | None = None
    nan: Missing = "missing"
    missing_value: float | None = None
    refuses: frozenset[str] = frozenset()
    most: float | None = None


@dataclass(frozen=True)
class Trees:
    """The nodes of many trees, one after the other; node 0 of each is its root.

    Attributes
    ----------
    at : int64, (trees + 1,)
        Where each tree's nodes begin.
    left, right : int32, (nodes,)
        Children, counted from the tree's root; -1 at a leaf.
    feature : int32, (nodes,)
    cut : float64, (nodes,)
        A row goes right where its value is not below the cut; NaN: never.
    missing_right : bool, (nodes,)
        Where a missing value goes.
    group : int32, (nodes,)
        The number of a set of codes that go right, or -1.
    value : float32 or float64, (nodes, outputs of a tree)
        Of leaves.
    """

    at: np.ndarray
    left: np.ndarray
    right: np.ndarray
    feature: np.ndarray
    cut: np.ndarray
    missing_right: np.ndarray
    group: np.ndarray
    value: np.ndarray

    def __len__(self) -> int:
        return len(self.at) - 1

    def check(self, n_features: int) -> None:
        """Compiled code follows children and features without looking.

        Raises
        ------
        ValueError
            If a child lies before its parent or outside its tree, or a feature does not exist.
        """
        sizes = np.diff(self.at)
        position = np.arange(self.at[-1]) - np.repeat(self.at[:-1], sizes)
        size = np.repeat(sizes, sizes)
        leaf = (self.left < 0) & (self.right < 0)
        inner = (self.left > position) & (self.left < size) & (self.right > position) & (self.right < size)
        inner &= (self.feature >= 0) & (self.feature < n_features)
        if not (sizes > 0).all() or not (leaf | inner).all():
            raise ValueError("a tree has a child or a feature outside its bounds")


@dataclass(frozen=True)
class Ensemble:
    """A model of trees: for each output its base and the sum of its trees' leaves, in order.

    Attributes
    ----------
    features : sequence of Feature
    trees : Trees
    sets : sequence of bool arrays, (size + 2,)
        Which codes go right; the last two are for unknown and missing.
    base : float32 or float64, (outputs,)
    output : int32, (trees,)
        The (first) output that a tree adds to.
    real : numpy.dtype
        The precision in which the framework compares: float32 or float64.
    takes_missing, takes_infinite : bool
        Whether the framework answers such rows; where not, it is asked itself, for its own error.
    """

    features: Sequence[Feature]
    trees: Trees
    base: np.ndarray
    output: np.ndarray
    real: np.dtype = field(default_factory=lambda: np.dtype(np.float64))
    sets: Sequence[np.ndarray] = ()
    takes_missing: bool = True
    takes_infinite: bool = True


def stacked(trees: Sequence[Sequence[np.ndarray]], dtype: type) -> Trees:
    """Trees out of (left, right, feature, cut, missing_right, group, value) of each."""
    at = np.concatenate([[0], np.cumsum([len(tree[0]) for tree in trees])]).astype(np.int64)
    kinds = (np.int32, np.int32, np.int32, np.float64, np.bool_, np.int32, dtype)
    columns: list[np.ndarray] = [
        np.ascontiguousarray(np.concatenate([np.asarray(tree[i]) for tree in trees]), kind)
        for i, kind in enumerate(kinds)
    ]
    if columns[-1].ndim == 1:
        columns[-1] = columns[-1][:, None]
    return Trees(at, *columns)


def below_or_equal(threshold: np.ndarray, dtype: type) -> np.ndarray:
    """Cuts for frameworks that go left where ``x <= threshold``: the next number above it, among those that ``x`` can be.

    Parameters
    ----------
    threshold : float64 array
    dtype : float32 or float64
        What ``x`` is; a threshold of another precision is rounded down first.

    Returns
    -------
    float64 array
        NaN where nothing is above.
    """
    with np.errstate(over="ignore"):
        near: np.ndarray = threshold.astype(dtype)
    near = np.where(near > threshold, np.nextafter(near, dtype(-np.inf)), near)
    return np.where(threshold == np.inf, np.nan, np.nextafter(near, dtype(np.inf)).astype(np.float64))
