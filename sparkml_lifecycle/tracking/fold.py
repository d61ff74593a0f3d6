"""The latest, smallest and largest values of metrics: out of the fold, and of the files that it does not cover yet."""

from typing import Any

from sparkml_lifecycle.errors import StorageError
from sparkml_lifecycle.lake import Lake, Snapshot, Where
from sparkml_lifecycle.lake.rows import empty, schema
from sparkml_lifecycle.tracking.tables import LatestMetricRow, MetricRow

_POINT = ["run_id", "key", "value", "step", "timestamp"]
_SUMMARY = [*_POINT, "smallest", "largest"]


class Latest:
    """The latest values of the metrics of one lake."""

    def __init__(self, lake: Lake) -> None:
        self._points = lake.table(MetricRow)
        self._fold = lake.table(LatestMetricRow)
        self._covered: tuple[int, set[str]] = (-1, set())

    def where(self, where: Where) -> Any:
        """One row for each run and key: its latest, smallest and largest value, as an Arrow table.

        With a time in ``where`` it is as it was then, which reads the history.
        """
        if where.is_nothing:
            return empty(schema(LatestMetricRow)).select(_SUMMARY)
        if where.as_of is not None:
            return LatestMetricRow.summarise(self._points.rows(where, _POINT))
        try:
            return self._read(where, fresh=False)
        except (StorageError, FileNotFoundError):
            # compaction may have removed what a handle of before stands on
            return self._read(where, fresh=True)

    def _read(self, where: Where, fresh: bool) -> Any:
        import pyarrow as pa
        import pyarrow.compute as pc

        points, fold = self._points.snapshot(fresh), self._fold.snapshot(fresh)
        parts = self._points.parts(points)
        found = [LatestMetricRow.summarise(parts.fitting(where).select(_POINT))]
        summaries = self._fold.rows(where, [*_SUMMARY, "covers"], fold)
        found.append(summaries.filter(pc.is_null(summaries["covers"])).select(_SUMMARY))
        since = parts.since
        rest = self._points.uncovered(points, self._covered_by(fold)) if since is not None else []
        # reading a covered file once more does no harm, so the smallest seq is enough to leave out most of them
        starts: list[Any] = [start for file in rest if (start := file.get("min.seq")) is None or start <= since]
        if starts:
            begin = "true" if None in starts else f"seq >= {min(starts)}"
            sql = f"select {', '.join(_POINT)} from metrics where {where.sql()} and {begin} and seq <= {since}"
            found.append(LatestMetricRow.summarise(where.of(points.query(sql))))
        return LatestMetricRow.summarise(pa.concat_tables([one.cast(found[0].schema) for one in found]))

    def _covered_by(self, fold: Snapshot) -> set[str]:
        if fold.handle is None:
            return set()
        version, covered = self._covered
        if version != fold.handle.version():
            version, covered = fold.handle.version(), self._points.covered(fold)
            self._covered = (version, covered)
        return covered
