"""Rows for which a model raises: found by halving their batch, answered with null and a reason, counted, and too many of them refused.

A model that keeps state must know what is asked of it. Calls follow one another, never at once. An answer that is taken
comes from a call that did not raise, and is taken from one call alone; but rows that share a batch with a bad one are
given to the model again, in the halves, and what a raising call did to the model's state stays done.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from sparkml_lifecycle.errors import ScoringError
from sparkml_lifecycle.loaded import PyFuncModel

# a model that raises for each of so many rows, taken at random, would not answer half of all (once in 16 million jobs)
_ASKED = 24


@dataclass
class Failures:
    """The rows of one task for which the model raised.

    Parameters
    ----------
    most : int
        How many are put up with.
    count : int
    """

    most: int
    count: int = 0

    def answer(
        self, model: PyFuncModel, rows: pa.Table, kind: pa.DataType, params: Mapping[str, Any], predict_fn: str | None
    ) -> tuple[pa.Array, pa.Array]:
        """The answers, null where the model raises, and the reasons, null where it does not.

        Only :class:`ScoringError` is a row's own: columns that do not fit and a wrong number of answers are raised.

        Raises
        ------
        ScoringError
            If the model raised for more rows than are put up with.
        """

        def ask(start: int, count: int) -> pa.Array:
            return model.predict_as(rows.slice(start, count), kind, params, predict_fn=predict_fn)

        answers: list[pa.Array] = []
        reasons: list[pa.Array] = []
        left = [(0, rows.num_rows)]
        while left:
            start, count = left.pop()
            try:
                found, why = ask(start, count), None
            except ScoringError as error:
                if count > 1:
                    if count == rows.num_rows and count > 2 * (self.most - self.count):
                        self._refuse_hopeless(ask, count)
                    half = count // 2
                    left += [(start + half, count - half), (start, half)]
                    continue
                found, why = pa.nulls(1, kind), _reason(error)
                self._add(why)
            answers.append(found)
            reasons.append(pa.nulls(count, pa.string()) if why is None else pa.array([why]))
        return _joined(answers), _joined(reasons)

    def _add(self, why: str) -> None:
        self.count += 1
        if self.count > self.most:
            raise ScoringError(
                f"The model raised for more than {self.most:,} rows of one task, and max_errors is {self.most:,}. {why}"
            )

    def _refuse_hopeless(self, ask: Any, count: int) -> None:
        """Raise after a few calls where the model answers none of some rows of a batch of which it must answer half."""
        places = random.Random(count).sample(range(count), min(_ASKED, count))
        if len(places) < _ASKED:
            return
        why = ""
        for place in places:
            try:
                ask(place, 1)
            except ScoringError as error:
                why = _reason(error)
            else:
                return
        raise ScoringError(
            f"The model raised for each of {_ASKED} rows taken at random from {count:,}, and max_errors is {self.most:,}. {why}"
        )


def check_sum(errors: int, most: int) -> None:
    """Raise :class:`ScoringError` where the tasks together met more errors than a job puts up with."""
    if errors > most:
        raise ScoringError(
            f"The model raised for {errors:,} rows, and max_errors is {most:,}; nothing was committed. With on_error: null and a "
            "higher max_errors the column error says why."
        )


def _reason(error: ScoringError) -> str:
    """The error's first sentence, which names the model, the exception's type and the method; never its own text."""
    return str(error).partition(" Its ")[0]


def _joined(parts: list[pa.Array]) -> pa.Array:
    return parts[0] if len(parts) == 1 else pa.concat_arrays(parts)
