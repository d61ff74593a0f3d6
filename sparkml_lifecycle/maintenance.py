"""Upkeep of a whole lake, and removing deleted runs and experiments for good."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from sparkml_lifecycle import uris
from sparkml_lifecycle.client import LifecycleClient
from sparkml_lifecycle.entities import LifecycleStage
from sparkml_lifecycle.errors import InvalidInput, NotFound
from sparkml_lifecycle.lake import MODEL_FILES, REMOVED, Lake, Row, Where, upkeep
from sparkml_lifecycle.lake.upkeep import Upkeep
from sparkml_lifecycle.registry.tables import RegistryRow
from sparkml_lifecycle.tracking import names
from sparkml_lifecycle.tracking.tables import (
    ExperimentRow,
    InputRow,
    LatestMetricRow,
    MetricRow,
    ParamRow,
    RunRow,
    ScoringRow,
    TagRow,
)

_UNDER_WAY = timedelta(hours=1)
# a folded table comes before its fold
TABLES: tuple[type[Row], ...] = (
    ExperimentRow, RunRow, ParamRow, TagRow, InputRow, ScoringRow, RegistryRow, MetricRow, LatestMetricRow,
)  # fmt: skip
# and is erased before it
_OF_A_RUN: tuple[tuple[type[Row], str], ...] = (
    (MetricRow, "run_id"), (LatestMetricRow, "run_id"), (ParamRow, "run_id"), (TagRow, "owner"), (InputRow, "run_id"), (ScoringRow, "run_id"),
    (RunRow, "run_id"),
)  # fmt: skip


@dataclass(frozen=True)
class Removed:
    """What a collection removed.

    Attributes
    ----------
    runs, experiments : tuple of str
        Their ids.
    kept : mapping of str to str
        Runs that stay, with their files and metrics, each with ``models:/<name>/<version>`` of a version that needs it.
    models : int
        Directories of model files, brought by copies and imports, that no version needs any more.
    artifact_bytes : int
        What all these held.
    rows : int
        Rows erased from the tables, by a purge.
    """

    runs: tuple[str, ...] = ()
    experiments: tuple[str, ...] = ()
    artifact_bytes: int = 0
    rows: int = 0
    kept: Mapping[str, str] = field(default_factory=dict)
    models: int = 0


def maintain(lake: Lake, retention_hours: int = upkeep.RETENTION_HOURS) -> list[Upkeep]:
    """Fold, compact, checkpoint, shorten the logs and vacuum every table; what each gained.

    Safe beside writers and readers, and beside another one. As-of answers stay what they were: no row is removed.

    Parameters
    ----------
    lake : Lake
    retention_hours : int
        How long files stay that no version of a table needs any more; readers of an older version may still read them.
    """
    if names.check_whole("retention_hours", retention_hours) < 0:
        raise InvalidInput(f"retention_hours must be 0 or more, found {retention_hours}.")
    done = (upkeep.keep_up(lake.table(row_type), retention_hours) for row_type in TABLES)
    return [one for one in done if one is not None]


def collect(client: LifecycleClient, older_than: timedelta = timedelta(0), dry_run: bool = False) -> Removed:
    """Remove deleted runs and experiments for good: their artifacts go, they can no longer be restored, names become free.

    What lies outside of the lake, by an ``artifact_location``, goes too, and in a copy of a lake that is the original's. A run
    that a registered model version came from stays as it is, deleted, and so does its experiment, until the version is deleted.
    Their rows stay, so that as-of answers stay true; :func:`purge` erases those too. Started again after it was killed, it
    finishes what is left.

    Parameters
    ----------
    client : LifecycleClient
    older_than : timedelta
        Only what was deleted longer ago.
    dry_run : bool
        Only say what would go.
    """
    if not isinstance(older_than, timedelta) or older_than < timedelta(0):
        raise InvalidInput(
            f"older_than must be a timedelta of 0 or more, such as timedelta(days=30), found {older_than!r}."
        )
    store = client.store
    try:
        before = store.lake.writer.clock() - older_than
    except OverflowError:
        # nothing is as old as that
        return Removed()
    experiments = {
        row.experiment_id: row
        for row in store.experiments.rows()
        if row.lifecycle_stage == LifecycleStage.REMOVED
        or (row.lifecycle_stage == LifecycleStage.DELETED and row.at <= before)
    }
    runs = [
        row
        for row in client.lake.table(RunRow).latest(Where())
        if row.experiment_id in experiments
        or row.lifecycle_stage == LifecycleStage.REMOVED
        or (row.lifecycle_stage == LifecycleStage.DELETED and row.at <= before)
    ]
    kept = _needed(client, [row for row in runs if row.lifecycle_stage != LifecycleStage.REMOVED])
    for row in runs:
        if row.run_id in kept:
            experiments.pop(row.experiment_id, None)
    runs = [row for row in runs if row.run_id not in kept]
    new_runs = [row.run_id for row in runs if row.lifecycle_stage != LifecycleStage.REMOVED]
    new_experiments = [key for key, row in experiments.items() if row.lifecycle_stage != LifecycleStage.REMOVED]
    size = 0
    if not dry_run:
        # marked first: whoever sees the run has its artifacts
        store.remove_runs(new_runs)
        for key in new_experiments:
            store.experiments.change(key, stage=LifecycleStage.REMOVED)
    # read after the runs were marked: who registers a model now finds its run removed
    pinned = _Pinned(client)
    for row in runs:
        size += _delete(client, store.absolute(row.location), row.run_id, dry_run, pinned)
    strays = _strays(client, pinned, older_than)
    if not dry_run:
        strays = {directory: held for directory, held in strays.items() if _delete_stray(client, directory)}
    return Removed(tuple(new_runs), tuple(new_experiments), size + sum(strays.values()), kept=kept, models=len(strays))


def purge(client: LifecycleClient, run_ids: Sequence[str]) -> Removed:
    """Erase runs without a trace: rows, artifacts, and what older versions of the tables held of them.

    Other rows stay as they are (a child's tag ``mlflow.parentRunId`` too); as-of answers lose these runs. Nobody may be
    logging to them. A compaction that is under way meanwhile may leave a file that belongs to no table, which holds them
    until :func:`maintain` removes it.

    Raises
    ------
    NotFound
        If there is nothing of one of them; then nothing is erased.
    InvalidInput
        If a registered model version has its files in one; then nothing is erased.
    """
    wanted = list(dict.fromkeys(names.several(run_ids, "run_ids")))
    for run_id in wanted:
        if not isinstance(run_id, str) or not uris.RUN_ID.fullmatch(run_id):
            raise InvalidInput(f"{run_id!r} is not a run id; one has 32 hex digits.")
    client.flush()
    store = client.store
    known = {run_id for run_id in wanted if _rows_of(store.lake, run_id)}
    unknown = [run_id for run_id in wanted if run_id not in known]
    for run_id in unknown:
        # a purge that was killed may have left files that hold it, which nobody reads
        _erase(store.lake, run_id, fenced=False)
    if unknown:
        raise NotFound(f"There is nothing of {', '.join(unknown)} in the lake {store.lake.uri!r}; nothing was erased.")
    size = rows = 0
    found = store.lake.table(RunRow).latest(Where({"run_id": wanted}))
    places = {row.run_id: store.absolute(row.location) for row in found}
    _refuse_pinned(_Pinned(client), places)
    # marked, then looked again: who registers a model meanwhile finds its run removed, or its version is found here
    store.remove_runs(list(places))
    pinned = _Pinned(client)
    try:
        _refuse_pinned(pinned, places)
    except InvalidInput:
        store.lake.table(RunRow).append([replace(row, at=store.lake.writer.clock()) for row in found])
        raise
    for run_id in wanted:
        size += _delete(client, places[run_id], run_id, False, pinned) if run_id in places else 0
        rows += _erase(store.lake, run_id)
        store.forget(run_id)
    return Removed(tuple(wanted), (), size, rows)


def _refuse_pinned(pinned: "_Pinned", places: Mapping[str, str]) -> None:
    for run_id, place in places.items():
        if held := pinned.within(place):
            raise InvalidInput(
                f"{', '.join(sorted(held.values()))} has its files in the run {run_id}: delete that version first. Nothing was erased."
            )


def _rows_of(lake: Lake, run_id: str) -> int:
    return sum(
        lake.table(row_type).rows(Where({column: [run_id]}), [column]).num_rows for row_type, column in _OF_A_RUN
    )


def _erase(lake: Lake, run_id: str, fenced: bool = True) -> int:
    return sum(upkeep.erase(lake.table(row_type), column, run_id, fenced) for row_type, column in _OF_A_RUN)


def _needed(client: LifecycleClient, rows: Sequence[RunRow]) -> dict[str, str]:
    """Of runs those that a registered model version came from, or has its files in, each with one of these versions."""
    pinned = _Pinned(client)
    found = {}
    for row in rows:
        within = pinned.within(client.store.absolute(row.location))
        if version := pinned.by_run.get(row.run_id) or next(iter(within.values()), None):
            found[row.run_id] = version
    return found


def _strays(client: LifecycleClient, pinned: "_Pinned", older_than: timedelta) -> dict[str, int]:
    """The directories of the lake's ``models`` that no version needs, with the bytes they hold; what is new may be a copy under way."""
    storage = client.lake.storage
    before = time.time() - max(older_than, _UNDER_WAY).total_seconds()
    found = {}
    for directory in storage.list(MODEL_FILES):
        place = uris.join(storage.uri, directory.path)
        if not directory.is_dir or pinned.within(place):
            continue
        files = [file for file in storage.list(directory.path, recursive=True) if not file.is_dir]
        # an empty one may be a copy that has just begun
        if files and all(file.modified <= before for file in files):
            found[directory.path] = sum(file.size or 0 for file in files)
    return found


def _delete_stray(client: LifecycleClient, directory: str) -> bool:
    """Delete model files, marked first: who registers them meanwhile sees the mark, or its version is seen here."""
    storage = client.lake.storage
    mark = f"{directory}{REMOVED}"
    storage.write_bytes(mark, b"")
    try:
        if _Pinned(client).within(uris.join(storage.uri, directory)):
            return False
        storage.delete(directory)
        return True
    finally:
        storage.delete(mark)


class _Pinned:
    """The runs and places of registered model versions, whose files stay."""

    def __init__(self, client: LifecycleClient) -> None:
        needs = client.registry.needs()
        self.by_run = {need.run_id: need.version for need in needs}
        self._places = {uris.real(need.place): need.version for need in needs}

    def within(self, place: str) -> dict[str, str]:
        """Those at, below or above a place, each with a version that needs it."""
        home = uris.real(place)
        return {
            held: version
            for held, version in self._places.items()
            if uris.is_within(held, home) or uris.is_within(home, held)
        }


def _delete(client: LifecycleClient, place: str, run_id: str, dry_run: bool, pinned: _Pinned) -> int:
    # the run's directory, with the `artifacts` in it
    directory = place.rpartition("/")[0]
    if directory.rpartition("/")[2] != run_id:
        raise InvalidInput(
            f"The artifacts of the run {run_id} lie at {place!r}, which is not a directory of its own: delete them by hand."
        )
    storage = client.storage(directory)
    if not storage.exists():
        return 0
    kept = pinned.within(directory)
    files = [file for file in storage.list(recursive=True) if not file.is_dir]
    going = [
        file
        for file in files
        if not any(uris.is_within(uris.real(uris.join(directory, file.path)), one) for one in kept)
    ]
    if not dry_run and kept:
        for file in going:
            storage.delete(file.path)
    elif not dry_run:
        storage.delete("")
    return sum(file.size or 0 for file in going)
