"""A MOJO as it is loaded: what is known of it without Java, and Java for the first row that has to be scored there."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sparkml_lifecycle.flavors.genmodel import trees
from sparkml_lifecycle.flavors.genmodel.trees import MojoTrees, TreesError


class H2OModel:
    """One model with the attributes of a :class:`~sparkml_lifecycle.flavors.genmodel.sparkml_h2o_mojo.MojoScorer`.

    With a trees file Java starts when :meth:`score` is called, else at once.

    Parameters
    ----------
    directory : Path
        The model's.
    opened : callable
        Gives the MojoScorer; its errors are raised here, or by :meth:`score`.

    Attributes
    ----------
    features, domains, outputs, labels, category, algorithm, version, response, offset
        As the MojoScorer has them.
    trees : MojoTrees, optional
    without_trees : str
        Why there are none, as the end of a sentence.
    """

    features: list[str]
    domains: dict[str, list[str]]
    outputs: list[str]
    labels: list[str] | None
    category: str
    algorithm: str
    version: str
    response: str | None
    offset: str | None

    def __init__(self, directory: Path, opened: Callable[[], Any]) -> None:
        self._opened = opened
        self._scorer: Any = None
        self._lock = threading.Lock()
        self.trees: MojoTrees | None = None
        self.without_trees = f"it was saved without {trees.FILE}, which holds the trees of a GBM, DRF or XGBoost"
        try:
            self.trees = trees.read(directory)
        except TreesError as error:
            self.without_trees = str(error)
        known = self.trees.attributes if self.trees is not None else vars(self.scorer)
        for name in trees.ATTRIBUTES:
            setattr(self, name, known[name])

    @property
    def scorer(self) -> Any:
        """The MojoScorer; starts Java in this process."""
        if self._scorer is None:
            with self._lock:
                if self._scorer is None:
                    self._scorer = self._opened()
        return self._scorer

    @property
    def probabilities(self) -> list[str]:
        """The outputs that are probabilities of classes."""
        return self.outputs[1:] if self.labels is not None else []

    def score(self, table: Any) -> dict[str, Any]:
        """What genmodel answers, as :meth:`MojoScorer.score` says."""
        answers: dict[str, Any] = self.scorer.score(table)
        return answers
