"""The latest, smallest and largest values of metrics: out of the fold, and of the files that it does not cover yet."""

from datetime import datetime
from typing import Any

from sparkml_lifecycle.errors import StorageError
from sparkml_lifecycle.lake import Lake
from sparkml_lifecycle.lake.snapshot import Snapshot, query
from sparkml_lifecycle.lake.table import until
from sparkml_lifecycle.tracking.tables import LatestMetricRow, MetricRow

_NUMBER = "case when isnan(value) then null else value end"
_SUMMARY = "run_id, key, value, step, timestamp, smallest, largest"
_POINT = f"run_id, key, value, step, timestamp, {_NUMBER} as smallest, {_NUMBER} as largest"


class Latest:
    """The latest values of the metrics of one lake."""

    def __init__(self, lake: Lake) -> None:
        self._points = lake.table(MetricRow)
        self._fold = lake.table(LatestMetricRow)
        self._covered: tuple[int, set[str]] = (-1, set())

    def where(self, condition: str, as_of: datetime | None = None) -> Any:
        """One row for each run and key: its latest, smallest and largest value, as an Arrow table.

        Parameters
        ----------
        condition : str
            SQL over ``run_id`` and ``key``.
        as_of : datetime, optional
            As it was then; that reads the history.
        """
        try:
            found = self._read(condition, as_of, fresh=False)
        except StorageError:
            # compaction may have removed what a handle of before stands on
            found = self._read(condition, as_of, fresh=True)
        return LatestMetricRow.summarise(found)

    def _read(self, condition: str, as_of: datetime | None, fresh: bool) -> Any:
        points = self._points.snapshot(fresh)
        if as_of is not None:
            return query([points], f"select {_POINT} from metrics where {condition} and {until(as_of)}")
        fold = self._fold.snapshot(fresh)
        rest = self._points.uncovered(points, self._covered_by(fold))
        summaries = f"select {_SUMMARY} from latest_metrics where covers is null and {condition}"
        if not rest:
            return query([fold], summaries)
        # reading a covered file once more does no harm, so the smallest seq is enough to leave out most of them
        starts = [file.get("min.seq") for file in rest]
        since = "true" if None in starts else f"seq >= {min(starts)}"  # type: ignore[type-var]
        recent = f"select {_POINT} from metrics where {since} and {condition}"
        if fold.handle is None:
            return query([points], recent)
        return query([fold, points], f"{summaries} union all {recent}")

    def _covered_by(self, fold: Snapshot) -> set[str]:
        if fold.handle is None:
            return set()
        version, covered = self._covered
        if version != fold.handle.version():
            found = fold.query("select covers from latest_metrics where covers is not null")
            version, covered = fold.handle.version(), set(found["covers"].to_pylist())
            self._covered = (version, covered)
        return covered
