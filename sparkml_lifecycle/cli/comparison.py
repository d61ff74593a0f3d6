"""Runs side by side: their params and metrics, and which of them differ."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from sparkml_lifecycle.cli import shown
from sparkml_lifecycle.entities import Run


@dataclass(frozen=True)
class Line:
    """One param or metric of several runs.

    Attributes
    ----------
    kind : {"param", "metric"}
    key : str
    values : tuple
        One for each run; None where it has none.
    """

    kind: Literal["param", "metric"]
    key: str
    values: tuple[str | float | None, ...]

    @property
    def differs(self) -> bool:
        """Whether not all runs have the same; NaN is the same as NaN."""
        return len({"NaN" if value != value else value for value in self.values}) > 1

    def texts(self) -> list[str]:
        """The values for people; numbers in more digits where six would hide that they differ."""
        numbers = [value for value in self.values if isinstance(value, float)]
        short = len({shown.number(value) for value in numbers}) < len({repr(value) for value in numbers})
        return [
            shown.number(value, exact=short) if isinstance(value, float) else shown.text(value) for value in self.values
        ]


def lines(runs: Sequence[Run]) -> Iterator[Line]:
    """All params, then all metrics, by key."""
    for key in sorted({key for run in runs for key in run.data.params}):
        yield Line("param", key, tuple(run.data.params.get(key) for run in runs))
    for key in sorted({key for run in runs for key in run.data.metrics}):
        yield Line("metric", key, tuple(run.data.metrics.get(key) for run in runs))
