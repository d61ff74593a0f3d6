"""Runs as one wide table: infos, then ``metrics.…``, ``params.…`` and ``tags.…``, a column for each key."""

from collections.abc import Collection
from contextlib import suppress
from typing import Any

from sparkml_lifecycle.lake import Lake
from sparkml_lifecycle.tracking.experiments import absolute
from sparkml_lifecycle.tracking.logged import Logged
from sparkml_lifecycle.tracking.only import Only, extreme

_INFOS = ("run_id", "experiment_id", "status", "artifact_uri", "start_time", "end_time")


def to_arrow(lake: Lake, rows: Any, found: Logged, only: Only, named: Collection[str]) -> Any:
    """An Arrow table with a row for each run, in order; null where a run has no such metric, param or tag.

    Times are milliseconds UTC. A metric that is NaN stays NaN, which is another thing than null. ``named`` are the keys such as
    ``loss.min`` that are a metric's own.
    """
    import pyarrow as pa

    columns: dict[str, Any] = {name: rows[name] for name in ("run_id", "experiment_id", "status")}
    columns["artifact_uri"] = pa.array([absolute(lake, one) for one in rows["location"].to_pylist()], pa.string())
    for name in ("start_time", "end_time"):
        columns[name] = rows[name].cast(pa.timestamp("ms", "UTC"), safe=False)
    ids = rows["run_id"].combine_chunks()
    for kind, table in (("metric", found.metrics), ("param", found.params), ("tag", found.tags)):
        wide = _wide(ids, table, "value", pa.float64() if kind == "metric" else pa.string())
        if kind == "metric" and not only.everything:
            wide = _chosen(ids, table, wide, only, named)
        for field in only.fields or ():
            if field.kind == kind != "metric" and field.key:
                # who asks for a column by its name finds it, whether a run has it or not
                wide.setdefault(field.key, pa.nulls(len(ids), pa.string()))
        columns |= {f"{kind}s.{key}": column for key, column in wide.items()}
    return pa.table(columns)


def to_pandas(table: Any) -> Any:
    """The table of :func:`to_arrow` as a pandas frame: missing metrics are NaN, missing params and tags None."""
    from pandas.errors import OutOfBoundsDatetime

    frame = table.to_pandas()
    for name in ("start_time", "end_time"):
        # nanoseconds, as MLflow's, reach from 1677 to 2262; a column that goes further keeps its milliseconds
        with suppress(OutOfBoundsDatetime):
            frame[name] = frame[name].astype("datetime64[ns, UTC]")
    return frame


def _chosen(ids: Any, table: Any, wide: dict[str, Any], only: Only, named: Collection[str]) -> dict[str, Any]:
    """The metrics that were asked for, in that order."""
    asked = [field for field in only.fields or () if field.kind == "metric"]
    if any(not field.key for field in asked):
        return wide
    import pyarrow as pa

    picked = {}
    for field in asked:
        meant = extreme(field, named)
        column = wide.get(field.key) if meant is None else _wide(ids, table, meant[1], pa.float64()).get(meant[0])
        picked[field.key] = pa.nulls(len(ids), pa.float64()) if column is None else column
    return picked


def _wide(ids: Any, table: Any, column: str, kind: Any) -> dict[str, Any]:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if not table.num_rows:
        return {}
    places = pc.index_in(table["run_id"], value_set=ids).to_numpy()
    keys = table["key"].combine_chunks().dictionary_encode()
    codes = keys.indices.to_numpy(zero_copy_only=False)
    # where a value stands, as the row of the long table; -1 where a run has none
    where = np.full((len(keys.dictionary), len(ids)), -1, dtype=np.int64)
    where[codes, places] = np.arange(table.num_rows)
    values = table[column].combine_chunks()
    made = {}
    for code, key in sorted(enumerate(keys.dictionary.to_pylist()), key=lambda pair: str(pair[1])):
        rows = pa.array(where[code], mask=where[code] < 0)
        made[str(key)] = values.take(rows).cast(kind)
    return made
