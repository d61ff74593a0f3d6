"""The evaluator of one loaded model: chosen at its first rows, once, whichever thread comes first."""

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pyarrow as pa

from sparkml_lifecycle.errors import InvalidInput
from sparkml_lifecycle.evaluators import choice, compiled
from sparkml_lifecycle.evaluators.choice import Candidate, Choice


class Evaluation:
    """What scores a model.

    Parameters
    ----------
    candidate : callable
        Gives the model as an evaluator may look at it.
    wanted : {"auto", "fast", "native"}

    Raises
    ------
    InvalidInput
        For another name.
    """

    def __init__(self, candidate: Callable[[], Candidate], wanted: str) -> None:
        self._candidate, self._wanted = candidate, choice.check(wanted)
        self._choice: Choice | None = None
        self._lock = threading.RLock()
        self._threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    @property
    def choice(self) -> Choice:
        """The evaluator, with the reason.

        Raises
        ------
        InvalidInput
            If ``fast`` is wanted and cannot be had.
        """
        with self._lock:
            if self._choice is None:
                self._choice = choice.choose(self._candidate(), self._wanted)
                self.limit_threads(self._threads)
            return self._choice

    def limit_threads(self, threads: int) -> None:
        """Hold it to so many threads; all of the process's cores where nothing is said."""
        self._threads = threads
        if self._choice is not None and self._choice.scorer is not None:
            self._choice.scorer.threads = threads

    def prepare(self) -> None:
        """Choose now, rather than at the first rows; a reason against ``fast`` is left to those."""
        with suppress(InvalidInput):
            _ = self.choice

    def answer(self, table: pa.Table, method: str) -> Any:
        """What the framework's method would answer; None where it has to be asked itself."""
        if not table.num_rows or self._wanted == choice.NATIVE:
            return None
        scorer = self.choice.scorer
        if scorer is None or not scorer.has(method):
            return None
        try:
            return scorer.answer(table, method)
        except compiled.Unavailable as error:  # what is compiled at the first rows
            self._choice = Choice(None, str(error).rstrip("."), lasts=False)
            return None

    def record(self) -> dict[str, Any] | None:
        """What is kept of its trial when the model is saved, if anything."""
        return choice.record(self._candidate(), self.choice)
