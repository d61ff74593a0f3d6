"""The parameters of runs as this process knows them, so that a second, different value is refused when it is logged."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sparkml_lifecycle.errors import InvalidInput
from sparkml_lifecycle.lake import Lake, Where
from sparkml_lifecycle.tracking import names
from sparkml_lifecycle.tracking.tables import ParamRow

_LOG = logging.getLogger(__name__)
_MOST_RUNS = 1000


@dataclass
class _Known:
    values: dict[str, str] = field(default_factory=dict)
    version: int = -1
    looked: float = field(default_factory=time.monotonic)


class Params:
    """What is known of the parameters of the runs that this process logged some to lately.

    A look at the table takes some milliseconds and logging takes microseconds, so for a new key it is looked at whether others
    have written only every ``seconds``. What two processes log within that time neither sees: the first row counts.

    Parameters
    ----------
    lake : Lake
    seconds : float
        As long as rows wait in the memory of those who log them.
    flush : callable
        Writes what waits in this process.
    """

    def __init__(self, lake: Lake, seconds: float, flush: Callable[[], None]) -> None:
        self._table = lake.table(ParamRow)
        self._seconds, self._flush = seconds, flush
        self._runs: dict[str, _Known] = {}

    def begin(self, run_id: str) -> None:
        """A run begins here, without parameters."""
        self._keep(run_id, _Known())

    def new(self, run_id: str, params: Iterable[tuple[str, Any]]) -> dict[str, str]:
        """The parameters as texts, without those that are there already.

        Raises
        ------
        InvalidInput
            If a key or value is not allowed, or a parameter has another value already.
        """
        said: dict[str, str] = {}
        for key, value in params:
            text = names.check_value("param", names.check_key("param", key), value, names.MAX_PARAM)
            _check_same(run_id, key, said.setdefault(key, text), text)
        if not said:
            return {}
        known = self._known(run_id)
        if not said.keys() <= known.values.keys() and time.monotonic() - known.looked > self._seconds:
            self._look(run_id, known)
        for key, text in said.items():
            _check_same(run_id, key, known.values.get(key, text), text)
        return {key: text for key, text in said.items() if key not in known.values}

    def add(self, run_id: str, new: Mapping[str, str]) -> None:
        """These are on their way to the lake."""
        known = self._runs.get(run_id)
        if known is not None:
            known.values.update(new)

    def forget(self, run_id: str) -> None:
        """Drop what is known of a run."""
        self._runs.pop(run_id, None)

    def _known(self, run_id: str) -> _Known:
        if run_id in self._runs:
            return self._runs[run_id]
        # what waits here may belong to this run
        self._flush()
        version = self._table.snapshot().version
        return self._keep(run_id, _Known(self._read(run_id), version))

    def _keep(self, run_id: str, known: _Known) -> _Known:
        self._runs[run_id] = known
        while len(self._runs) > _MOST_RUNS:
            # what is dropped is read again when it is needed
            self.forget(next(iter(self._runs)))
        return known

    def _look(self, run_id: str, known: _Known) -> None:
        known.looked = time.monotonic()
        try:
            version = self._table.snapshot().version
            found = self._read(run_id) if version != known.version else {}
        except OSError:
            # who logs is not held up by a lake that cannot be reached
            return
        for key, value in found.items():
            if known.values.get(key, value) != value:
                _LOG.warning(
                    "The param %r of run %s was logged here as %r, but another process had logged %r before: that counts.",
                    key, run_id, known.values[key], value,
                )  # fmt: skip
        known.version = version
        known.values.update(found)

    def _read(self, run_id: str) -> dict[str, str]:
        return {row.key: row.value for row in self._table.latest(Where({"run_id": [run_id]}))}


def _check_same(run_id: str, key: str, before: str, text: str) -> None:
    if before != text:
        raise InvalidInput(
            f"The param {key!r} of run {run_id} has the value {before!r} and cannot become {text!r}: params never change. "
            "Use a tag, another key or a new run."
        )
