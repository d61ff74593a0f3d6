"""What a reader finds in a model: an ensemble, and how its sums become the answers of the framework's methods."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sparkml_lifecycle.evaluators.trees.ensemble import Ensemble


class Unknown(Exception):
    """The model has something that a reader does not know; its text says what."""


@dataclass(frozen=True)
class Found:
    """An ensemble with its methods.

    Attributes
    ----------
    ensemble : Ensemble
    methods : mapping of str to callable
        From sums, (outputs, rows), to what the framework's method of that name answers. The array may be changed.
    takes_rows : bool
        Whether the methods take the rows as well, a ``pyarrow.Table``.
    levels : mapping of int to sequence
        The categories of columns that the model encodes itself, by position of the column and in the order of their codes.
    magnitude : float
        How large the numbers are that are added up, where answers are not exact.
    exact : bool
        Whether answers must equal the framework's to the last bit; else to 1e-12.
    reads : callable, optional
        Whether a ``pyarrow.Schema`` has the types that it was read for; the framework answers rows of others.
    """

    ensemble: Ensemble
    methods: Mapping[str, Callable[..., Any]]
    levels: Mapping[int, Sequence[Any]] = field(default_factory=dict)
    magnitude: float = 0.0
    exact: bool = True
    takes_rows: bool = False
    reads: Callable[[Any], bool] | None = None
