"""A model's second evaluator: from a batch of Arrow columns to what the framework's method answers."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from sparkml_lifecycle.evaluators import verification
from sparkml_lifecycle.evaluators.codes import codes_of
from sparkml_lifecycle.evaluators.trees.answers import Found
from sparkml_lifecycle.evaluators.trees.columns import batch_data
from sparkml_lifecycle.evaluators.trees.ensemble import Feature
from sparkml_lifecycle.evaluators.trees.evaluator import TreesEvaluator

_ROWS = 65_536  # of a batch that is split over threads


class TreesScorer:
    """An ensemble of trees over Arrow columns.

    Parameters
    ----------
    found : Found
    levels : mapping of int to pyarrow.Array
        The categories of categorical columns, by position.
    width : int
        How many columns a batch has.
    takes_unknown : bool
        Whether a category that is not known has an answer.
    """

    name = "trees"

    def __init__(self, found: Found, levels: Mapping[int, pa.Array], width: int, *, takes_unknown: bool) -> None:
        self._width = width
        self.exact = found.exact
        self.ensemble = found.ensemble
        self._found, self.levels = found, levels
        if not takes_unknown:
            features = [_refusing_unknown(feature) for feature in found.ensemble.features]
            self.ensemble = replace(found.ensemble, features=features)
        self._trees = TreesEvaluator(self.ensemble)
        self._codes = codes_of(levels)
        self._asked = {feature.column for feature in self.ensemble.features}
        self.threads = 1

    @property
    def nbytes(self) -> int:
        """The memory of its arrays."""
        return self._trees.nbytes

    def trial_rows(self, schema: pa.Schema, chance: np.random.Generator) -> pa.Table:
        """Rows of edge cases."""
        return verification.hurting_rows(self.ensemble, schema, self.levels, chance)

    def magnitude(self, table: pa.Table) -> np.ndarray:
        """(rows,) of how large the numbers are that are added up: rounding is as large as these."""
        return np.full(table.num_rows, self._found.magnitude)

    @property
    def methods(self) -> list[str]:
        """The framework's methods that it knows."""
        return list(self._found.methods)

    def has(self, method: str) -> bool:
        """Whether it knows the framework's method."""
        return method in self._found.methods

    def answer(self, table: pa.Table, method: str) -> Any:
        """What the framework's method answers; None where these rows are left to the framework."""
        is_known = table.num_columns == self._width and (self._found.reads is None or self._found.reads(table.schema))
        sums = self._sums(table) if is_known else None
        if sums is None:
            return None
        call = self._found.methods[method]
        return call(sums, table) if self._found.takes_rows else call(sums)

    def _sums(self, table: pa.Table) -> np.ndarray | None:
        batches = table.combine_chunks().to_batches()
        if len(batches) > 1 or self.threads > 1:
            batches = [batch.slice(start, _ROWS) for batch in batches for start in range(0, batch.num_rows, _ROWS)]
        if self.threads > 1 and len(batches) > 1:
            with ThreadPoolExecutor(self.threads) as pool:
                parts = list(pool.map(self._of_batch, batches))
        else:
            parts = [self._of_batch(batch) for batch in batches]
        known = [part for part in parts if part is not None]
        if len(known) < len(parts):
            return None
        return known[0] if len(known) == 1 else np.concatenate(known, axis=1)

    def _of_batch(self, batch: pa.RecordBatch) -> np.ndarray | None:
        columns = batch_data(batch, self._asked, self._codes)
        if columns is None:
            return None
        sums, is_refused = self._trees.raw(columns, batch.num_rows)
        return None if is_refused else sums


def _refusing_unknown(feature: Feature) -> Feature:
    return replace(feature, refuses=feature.refuses | {"unknown"})
