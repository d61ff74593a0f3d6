"""A run that comes from elsewhere: its rows are written once, whatever was killed on the way."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from sparkml_lifecycle import uris
from sparkml_lifecycle.client import LifecycleClient
from sparkml_lifecycle.entities import LifecycleStage
from sparkml_lifecycle.lake import Batch, Fence, Row, Table, Where
from sparkml_lifecycle.tracking.tables import RunRow

Rows = dict[type[Row], tuple[str, list[Any]]]


def find(client: LifecycleClient, run_id: str) -> RunRow | None:
    """A run's row in a lake, at once: no other process is waited for."""
    client.flush()
    found = client.lake.table(RunRow).latest(Where({"run_id": [run_id]}))
    return found[0] if found else None


def place_of(client: LifecycleClient, experiment_id: str, run_id: str) -> str:
    """Where the artifacts of a run lie in a lake, or would: as an absolute path or URI."""
    there = find(client, run_id)
    location = client.store.experiments.row(experiment_id).location
    return client.store.absolute(there.location if there else uris.join(location, run_id, "artifacts"))


def put(client: LifecycleClient, row: RunRow, experiment_id: str, logged: Rows, files: Callable[[str], None]) -> RunRow:
    """Write a run of elsewhere into a lake, its own row last; a run that is there is left as it is.

    Parameters
    ----------
    client : LifecycleClient
        Of the lake that gets it.
    row : RunRow
    experiment_id : str
        In that lake.
    logged : dict
        Of each table the column that holds the run's id, and the rows.
    files : callable
        Puts the run's files below a URI.
    """
    store = client.store
    place = store.experiments.row(experiment_id).location
    mine = replace(row, experiment_id=experiment_id, location=uris.join(place, row.run_id, "artifacts"))
    there = find(client, row.run_id)
    files(store.absolute((there or mine).location))
    if there is not None and there.lifecycle_stage != LifecycleStage.REMOVED:
        return there
    for row_type, (column, rows) in logged.items():
        if rows:
            _put_once(client.lake.table(row_type), column, row.run_id, rows)
    client.lake.table(RunRow).append(_fresh([mine]))
    store.forget(row.run_id)
    return mine


def _put_once(table: Table[Any], column: str, run_id: str, rows: Sequence[Any]) -> None:
    """Write the rows of a run where none are: of metrics every row counts, whoever was killed half way or copies it at the same time."""
    identifier = f"copied:{run_id}"
    seen = table.snapshot().version_of(identifier)
    if not table.rows(Where({column: [run_id]}), [column]).num_rows:
        table.commit(Batch(_fresh(rows)), Fence(identifier, seen, seen + 1))


def _fresh(rows: Sequence[Any]) -> list[Any]:
    return [replace(row, by="", writer="", seq=0) for row in rows]
