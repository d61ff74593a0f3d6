"""Runs and what they log, over a lake. Logging costs microseconds; what is read includes what this process has logged."""

import functools
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sparkml_lifecycle import current, uris
from sparkml_lifecycle.entities import (
    DatasetInput,
    LifecycleStage,
    Metric,
    MetricSummary,
    PagedList,
    Run,
    RunData,
    RunStatus,
)
from sparkml_lifecycle.errors import InvalidInput, NotFound, StorageError
from sparkml_lifecycle.lake import Lake, Row, Where
from sparkml_lifecycle.lake.forked import renew_lock
from sparkml_lifecycle.lake.order import uuid7
from sparkml_lifecycle.settings import Settings
from sparkml_lifecycle.storage import Storage, open_storage
from sparkml_lifecycle.tracking import finding, frame, history, names
from sparkml_lifecycle.tracking.buffer import Buffer
from sparkml_lifecycle.tracking.experiments import Experiments, absolute
from sparkml_lifecycle.tracking.fold import Latest
from sparkml_lifecycle.tracking.logged import logged, run_of, runs_of
from sparkml_lifecycle.tracking.only import Only
from sparkml_lifecycle.tracking.params import Params
from sparkml_lifecycle.tracking.tables import MetricRow, ParamRow, RunRow, ScoringRow, TagRow
from sparkml_lifecycle.tracking.values import input_row, metric_row, moment, tag_row

_WAIT_SECONDS = 1.0
_MOST_RUNS = 10_000


class TrackingStore:
    """Experiments and runs of one lake.

    Parameters
    ----------
    lake : Lake
    settings : Settings, optional
        ``flush_seconds`` and ``flush_points``: how long and how many values may wait in memory.
    """

    def __init__(self, lake: Lake, settings: Settings | None = None) -> None:
        settings = settings or Settings.load()
        self.lake = lake
        self.experiments = Experiments(lake)
        self._latest = Latest(lake)
        self._buffer = Buffer(lake, settings.flush_seconds, settings.flush_points)
        self._runs: OrderedDict[str, RunRow] = OrderedDict()
        # where the files lie of runs that ended here
        self._ended: dict[str, str] = {}
        self._params = Params(lake, settings.flush_seconds, self._flush_before_reading)
        self._lock = threading.RLock()
        renew_lock(self)

    # -- runs ------------------------------------------------------------------------------------------------------------

    def create_run(
        self,
        experiment_id: str,
        run_name: str | None = None,
        tags: Mapping[str, Any] | None = None,
        start_time: int | None = None,
        user_id: str | None = None,
        synchronous: bool | None = None,
    ) -> Run:
        """Begin a run; its row is on its way at once, in the background."""
        experiment = self.experiments.row(experiment_id)
        if experiment.lifecycle_stage != LifecycleStage.ACTIVE:
            raise InvalidInput(
                f"The experiment {experiment.name!r} ({experiment_id}) is deleted. Restore it first: restore_experiment()."
            )
        run_id = uuid7()
        said = {str(key): value for key, value in (tags or {}).items()}
        name = run_name or said.get("mlflow.runName") or f"run-{run_id[-8:]}"
        said["mlflow.runName"] = name
        row = RunRow(
            at=self._now(),
            run_id=run_id,
            experiment_id=experiment.experiment_id,
            name=names.check_value("name of run", run_id, name, names.MAX_TAG),
            user_id=user_id or self.lake.writer.by,
            status=RunStatus.RUNNING.name,
            start_time=moment(start_time) if start_time is not None else self._now(),
            location=uris.join(experiment.location, run_id, "artifacts"),
        )
        rows: list[Row] = [tag_row(self._now(), run_id, key, value) for key, value in said.items()]
        with self._lock:
            self._keep(row)
            self._params.begin(run_id)
        # in a Spark task a run is mostly short, and all of it is committed at its end
        self._buffer.add([*rows, row], urgent=not _in_spark_task())
        if self._at_once(run_id, synchronous):
            self.flush()
        return run_of(self.lake, row, RunData({}, {}, {key: str(value) for key, value in said.items()}))

    def get_run(self, run_id: str, as_of: datetime | None = None) -> Run:
        """A run with its last metrics, its parameters and tags; with ``as_of`` as it was then.

        Raises
        ------
        NotFound
            If there is none; a run that was begun elsewhere within the last second is waited for.
        """
        self._flush_before_reading()
        self._wait_for(run_id, as_of)
        rows = self.lake.table(RunRow).counting(Where({"run_id": [run_id]}, as_of))
        if not rows.num_rows:
            # purged by another process
            raise self._missing(run_id)
        return runs_of(self.lake, rows, logged(self.lake, self._latest, [run_id], Only(), as_of))[0]

    def update_run(
        self,
        run_id: str,
        status: str | None = None,
        name: str | None = None,
        end_time: int | None = None,
        stage: str | None = None,
    ) -> Run:
        """Change a run's status, name or stage; returns when everything it logged is in the lake."""
        before = self._newest(run_id)
        if status is not None:
            status = RunStatus.from_string(status).name
        ended = moment(end_time) if end_time is not None else before.end_time
        if status is not None and end_time is None:
            ended = self._now() if RunStatus.is_terminated(status) else None
        rows: list[Row] = []
        if name:
            name = names.check_value("name of run", run_id, name, names.MAX_TAG)
            rows = [tag_row(self._now(), run_id, "mlflow.runName", name)]
        row = replace(
            before,
            at=self._now(),
            status=status or before.status,
            name=name or before.name,
            end_time=ended,
            lifecycle_stage=stage or before.lifecycle_stage,
        )
        self._keep(row)
        self._buffer.add([*rows, row])
        self.flush()
        if RunStatus.is_terminated(row.status):
            self._drop(row)
        return run_of(self.lake, row, RunData())

    def artifact_uri(self, run_id: str) -> str:
        """Where a run's artifacts lie, as an absolute path or URI."""
        return absolute(self.lake, self._known(run_id).location)

    def place_of_files(self, run_id: str) -> str:
        """As :meth:`artifact_uri`, of a run that ended here where they lay then: it may have been removed, or brought back elsewhere."""
        location = self._ended.get(run_id)
        return self.artifact_uri(run_id) if location is None else absolute(self.lake, location)

    def absolute(self, location: str) -> str:
        """A stored location as an absolute path or URI."""
        return absolute(self.lake, location)

    def remove_runs(self, run_ids: Sequence[str]) -> None:
        """Mark runs as removed for good; returns when that is in the lake."""
        rows = [replace(row, at=self._now(), lifecycle_stage=LifecycleStage.REMOVED) for row in self._rows(run_ids)]
        self._buffer.add(rows)
        self.flush()
        for run_id in run_ids:
            self.forget(run_id)

    def forget(self, run_id: str) -> None:
        """Drop what this process remembers of a run."""
        with self._lock:
            self._runs.pop(run_id, None)
            self._ended.pop(run_id, None)
            self._params.forget(run_id)

    # -- logging ---------------------------------------------------------------------------------------------------------

    def log_metric(
        self,
        run_id: str,
        key: str,
        value: float,
        timestamp: int | None = None,
        step: int | None = None,
        synchronous: bool | None = None,
        model_id: str | None = None,
        dataset_name: str | None = None,
        dataset_digest: str | None = None,
    ) -> None:
        """Log one point of a metric; ``timestamp`` in milliseconds, now where it is not given."""
        self.log_metrics(run_id, ((key, value),), timestamp, step, synchronous, model_id, dataset_name, dataset_digest)

    def log_metrics(
        self,
        run_id: str,
        metrics: Iterable[tuple[str, float]],
        timestamp: int | None = None,
        step: int | None = None,
        synchronous: bool | None = None,
        model_id: str | None = None,
        dataset_name: str | None = None,
        dataset_digest: str | None = None,
    ) -> None:
        """Log one point of several metrics, all or none of them."""
        self.require_active(run_id)
        at = self.lake.writer.clock()
        self._buffer.add(
            [
                metric_row(at, run_id, key, value, timestamp, step, model_id, dataset_name, dataset_digest)
                for key, value in metrics
            ]
        )
        if self._at_once(run_id, synchronous):
            self.flush()

    def log_batch(
        self,
        run_id: str,
        metrics: Sequence[Metric] = (),
        params: Iterable[tuple[str, Any]] = (),
        tags: Iterable[tuple[str, Any]] = (),
        synchronous: bool | None = None,
    ) -> None:
        """Log many things, all or none of them; a parameter that is there keeps its value.

        Raises
        ------
        InvalidInput
            If a key or value is not allowed, or a parameter has another value already; then nothing is logged.
        """
        self.require_active(run_id)
        now = self._now()
        rows: list[Row] = [
            metric_row(
                now, run_id, one.key, one.value, one.timestamp, one.step, one.model_id, one.dataset_name,
                one.dataset_digest,
            )
            for one in metrics
        ]  # fmt: skip
        said = [(key, value) for key, value in tags]
        if ("mlflow.runName", "") in said:
            raise InvalidInput(f"The tag 'mlflow.runName' is the name of the run {run_id} and must not be empty.")
        rows += [tag_row(now, run_id, key, value) for key, value in said]
        with self._lock:
            new = self._params.new(run_id, params)
            self._buffer.add(
                [*rows, *(ParamRow(at=now, run_id=run_id, key=key, value=value) for key, value in new.items())]
            )
            self._params.add(run_id, new)
        for key, value in said:
            if key == "mlflow.runName":
                self.update_run(run_id, name=str(value))
        if self._at_once(run_id, synchronous):
            self.flush()

    def log_params(self, run_id: str, params: Iterable[tuple[str, Any]], synchronous: bool | None = None) -> None:
        """Log parameters, all or none of them; see :meth:`log_batch`."""
        self.log_batch(run_id, params=params, synchronous=synchronous)

    def set_tags(self, run_id: str, tags: Iterable[tuple[str, Any]], synchronous: bool | None = None) -> None:
        """Set tags of a run; ``mlflow.runName`` renames it."""
        self.log_batch(run_id, tags=tags, synchronous=synchronous)

    def log_inputs(self, run_id: str, datasets: Iterable[DatasetInput]) -> None:
        """Log the data sets that a run read."""
        self.require_active(run_id)
        now = self._now()
        self._buffer.add([input_row(now, run_id, one) for one in datasets])
        if self._at_once(run_id, None):
            self.flush()

    def log_scoring(self, **said: Any) -> None:
        """Log what a scoring job did: the fields of :class:`sparkml_lifecycle.tracking.tables.ScoringRow`."""
        self._buffer.add([ScoringRow(at=self._now(), **said)])

    def delete_tag(self, run_id: str, key: str) -> None:
        """Remove a tag of a run.

        Raises
        ------
        NotFound
            If it has none with that key.
        """
        self.require_active(run_id)
        if key not in self.get_run(run_id).data.tags:
            raise NotFound(f"The run {run_id} has no tag {key!r}.")
        self._buffer.add([TagRow(at=self._now(), owner=run_id, key=key, value=None)])

    def flush(self) -> None:
        """Commit what waits in memory; returns when it is in the lake."""
        self._buffer.flush()

    def close(self) -> None:
        """Flush and end the background thread; the store stays usable."""
        self._buffer.close()

    # -- reading ---------------------------------------------------------------------------------------------------------

    def metric_history(
        self, run_id: str, key: str, max_results: int | None = None, page_token: str | None = None
    ) -> PagedList[Metric]:
        """The points of a metric in order of step and time: all of them, or a page."""
        names.check_key("metric", key)
        self._flush_before_reading()
        self._wait_for(run_id)
        found = self.lake.table(MetricRow).rows(Where({"run_id": [run_id], "key": [key]}))
        return history.page(found, max_results, page_token, (run_id, key))

    def metric_summaries(self, run_id: str, as_of: datetime | None = None) -> list[MetricSummary]:
        """The last, smallest and largest value of each metric of a run, by key; the history is not read."""
        self._flush_before_reading()
        self._wait_for(run_id, as_of)
        columns = ("key", "value", "step", "timestamp", "smallest", "largest")
        rows = self._latest.where(Where({"run_id": [run_id]}, as_of)).select(columns).sort_by("key")
        return [MetricSummary(*row.values()) for row in rows.to_pylist()]

    def search_runs(self, query: finding.Query) -> PagedList[Run]:
        """A page of the runs that a filter lets through, latest first where ``order_by`` says nothing else."""
        self._flush_before_reading()
        found = finding.page(self.lake, self._latest, query, Only())
        return PagedList(runs_of(self.lake, found.rows, found.logged), found.token)

    def table_pages(self, query: finding.Query, only: Only) -> Iterator[Any]:
        """Runs as wide Arrow tables of up to ``MAX_RESULTS``; see :func:`sparkml_lifecycle.tracking.frame.to_arrow`."""
        self._flush_before_reading()
        for found in finding.pages(self.lake, self._latest, query, only):
            yield frame.to_arrow(self.lake, found.rows, found.logged, only, found.named)

    # -- inside ----------------------------------------------------------------------------------------------------------

    def _now(self) -> datetime:
        return self.lake.writer.clock()

    def _rows(self, run_ids: Sequence[str]) -> list[RunRow]:
        return self.lake.table(RunRow).latest(Where({"run_id": run_ids}))

    def _wait_for(self, run_id: str, as_of: datetime | None = None) -> RunRow:
        if not isinstance(run_id, str) or not uris.RUN_ID.fullmatch(run_id):
            raise InvalidInput(f"{run_id!r} is not a run id; one has 32 hex digits.")
        patience = time.monotonic() + _WAIT_SECONDS
        while True:
            # in this order: what nobody changes and nothing waits for is in the table that is read next
            mine, settled = self._runs.get(run_id), self._buffer.is_empty
            found = self.lake.table(RunRow).latest(Where({"run_id": [run_id]}, as_of))
            if found and found[0].lifecycle_stage == LifecycleStage.REMOVED:
                self.forget(run_id)
                raise NotFound(f"The run {run_id!r} was removed for good (sparkml gc). as_of= shows it as it was.")
            if found:
                if as_of is None and (mine is None or settled) and self._runs.get(run_id) is mine:
                    # another process may have deleted it
                    self._keep(found[0])
                return found[0]
            if as_of is not None:
                raise NotFound(f"There was no run {run_id!r} in the lake {self.lake.uri!r} at {as_of}.")
            if mine is not None and not settled:
                return mine
            if time.monotonic() > patience:
                raise self._missing(run_id)
            time.sleep(0.1)

    def _missing(self, run_id: str) -> NotFound:
        self.forget(run_id)
        return NotFound(
            f"There is no run {run_id!r} in the lake {self.lake.uri!r}. search_runs() lists those that exist."
        )

    def _keep(self, row: RunRow) -> None:
        """Remember a run's newest row; of those that were read, which can be read again, the oldest are dropped."""
        with self._lock:
            self._runs[row.run_id] = row
            self._runs.move_to_end(row.run_id)
            # a row that was made here has no seq, and may still wait in memory
            if row.seq and len(self._runs) > _MOST_RUNS:
                self.forget(next(run_id for run_id, kept in self._runs.items() if kept.seq))

    def _drop(self, row: RunRow) -> None:
        """Drop a run that has ended, if nobody has changed it meanwhile."""
        with self._lock:
            if self._runs.get(row.run_id) is row:
                self.forget(row.run_id)
                self._ended[row.run_id] = row.location
                if len(self._ended) > _MOST_RUNS:
                    del self._ended[next(iter(self._ended))]

    def _newest(self, run_id: str) -> RunRow:
        # the row that this process wrote last may still wait in memory; what somebody else wrote in between counts
        mine = self._runs.get(run_id)
        if mine is not None and self._buffer.waits(mine):
            # begun here a moment ago: nobody else knows of it
            return mine
        try:
            found = self._wait_for(run_id)
            while (mine := self._runs.get(run_id)) is None:
                # another thread has ended it while the table was read
                found = self._wait_for(run_id)
        except StorageError:
            # the end of a run is kept through an outage, as what it logged is
            remembered = self._runs.get(run_id)
            if remembered is None:
                raise
            return remembered
        return mine if found.writer in ("", self.lake.writer.id) else found

    def _known(self, run_id: str) -> RunRow:
        try:
            return self._runs[run_id]
        except (KeyError, TypeError):
            return self._wait_for(run_id)

    def require_active(self, run_id: str) -> None:
        """Raise :class:`InvalidInput` where a run is deleted, :class:`NotFound` where there is none."""
        row = self._known(run_id)
        if row.lifecycle_stage != LifecycleStage.ACTIVE:
            raise InvalidInput(f"The run {run_id} is deleted. Restore it before logging to it: restore_run().")

    def _flush_before_reading(self) -> None:
        if not self._buffer.is_empty:
            self.flush()

    def _at_once(self, run_id: str, synchronous: bool | None) -> bool:
        if synchronous is not None:
            return synchronous
        # Spark's Python workers leave without exit handlers; only a `with start_run()` would flush in time
        return run_id not in current.own_runs() and _in_spark_task()


def _in_spark_task() -> bool:
    if "pyspark" not in sys.modules:
        return False
    from pyspark import TaskContext

    return TaskContext.get() is not None


def open_store(uri: str, storage_options: Mapping[str, str] | None = None) -> TrackingStore:
    """The process's one store of a lake and its options: clients of the same lake share what waits in memory."""
    return _store_at(open_storage(uri, storage_options))


@functools.lru_cache(maxsize=64)
def _store_at(storage: Storage) -> TrackingStore:
    return TrackingStore(Lake(storage.uri, dict(storage.options)))
