"""The points of a metric in the order of their steps and times, and the pages of them."""

from typing import Any

from sparkml_lifecycle.entities import Metric, PagedList
from sparkml_lifecycle.lake.rows import from_arrow
from sparkml_lifecycle.tracking import paging
from sparkml_lifecycle.tracking.tables import MetricRow

# what a point is known by ends with all that it says, for points that were logged in one call
_ORDER = ("step", "timestamp", "seq", "at", "value", "writer", "model_id", "dataset_name", "dataset_digest")


def page(points: Any, max_results: int | None, page_token: str | None, search: Any) -> PagedList[Metric]:
    """The points of one metric as entities, all or a page of them; points that others log in between move nothing.

    Parameters
    ----------
    points : pyarrow.Table
        Rows of ``metrics``.
    max_results : int or None
    page_token : str or None
    search : object
        What tells this history from others.
    """
    keys = [_comparable(points[name].combine_chunks()) for name in _ORDER]
    keys.append(_numbered_among_equals(keys))
    size = max_results if max_results is not None else max(len(points), 1)
    rows, token = paging.page(keys, [False] * len(keys), size, page_token, search)
    return PagedList(map(_metric, from_arrow(MetricRow, points.take(rows))), token)


def _comparable(column: Any) -> Any:
    """A column in which equal values compare as equal and JSON holds each: NaN is null, -0.0 is 0.0, a time its microseconds."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_timestamp(column.type):
        return column.cast(pa.int64())
    if pa.types.is_floating(column.type):
        return pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), pc.add(column, 0.0))
    return column


def _numbered_among_equals(keys: list[Any]) -> Any:
    """Of each row how many before it have the same keys; a point that was logged twice in one call is two."""
    import numpy as np
    import pyarrow as pa

    names = [*map(str, range(len(keys)))]
    numbers = np.zeros(len(keys[0]), dtype=np.int64)
    table = pa.table([*keys, pa.array(range(len(numbers)), pa.int64())], names=[*names, "row"])
    groups = table.group_by(names, use_threads=False).aggregate([("row", "list")])["row_list"]
    if len(groups) < len(numbers):
        for rows in groups.to_pylist():
            numbers[rows] = range(len(rows))
    return pa.array(numbers)


def _metric(row: MetricRow) -> Metric:
    return Metric(
        row.key, row.value, row.timestamp, row.step, row.model_id, row.dataset_name, row.dataset_digest, row.run_id
    )
