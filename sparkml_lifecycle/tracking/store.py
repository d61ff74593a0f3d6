"""Runs and what they log, over a lake. Logging costs microseconds; what is read includes what this process has logged."""

import functools
import sys
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sparkml_lifecycle import current, uris
from sparkml_lifecycle.entities import (
    LifecycleStage,
    Metric,
    PagedList,
    Run,
    RunData,
    RunInfo,
    RunStatus,
    ViewType,
)
from sparkml_lifecycle.errors import InvalidInput, NotFound
from sparkml_lifecycle.lake import Lake, Row, literal
from sparkml_lifecycle.lake.order import uuid7
from sparkml_lifecycle.lake.rows import from_arrow
from sparkml_lifecycle.lake.sql import literals
from sparkml_lifecycle.settings import Settings
from sparkml_lifecycle.storage import Storage, open_storage
from sparkml_lifecycle.tracking import names, paging, search, select
from sparkml_lifecycle.tracking.buffer import Buffer
from sparkml_lifecycle.tracking.experiments import Experiments, absolute, milliseconds
from sparkml_lifecycle.tracking.tables import FIRST_PARAM, LAST_METRIC, LAST_TAG, MetricRow, ParamRow, RunRow, TagRow

MAX_RESULTS = 50_000
_WAIT_SECONDS = 1.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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
        self._buffer = Buffer(lake, settings.flush_seconds, settings.flush_points)
        self._runs: dict[str, RunRow] = {}
        self._params: dict[str, dict[str, str]] = {}
        self._lock = threading.RLock()

    # -- runs ------------------------------------------------------------------------------------------------------------

    def create_run(
        self,
        experiment_id: str,
        run_name: str | None = None,
        tags: Mapping[str, Any] | None = None,
        start_time: int | None = None,
        user_id: str | None = None,
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
        rows: list[Row] = [self._tag_row(run_id, key, value) for key, value in said.items()]
        self._runs[run_id] = row
        self._params[run_id] = {}
        self._buffer.add([*rows, row], urgent=True)
        if self._at_once(run_id, None):
            self.flush()
        return self._run(row, RunData({}, {}, {key: str(value) for key, value in said.items()}))

    def get_run(self, run_id: str) -> Run:
        """A run with its last metrics, its parameters and tags.

        Raises
        ------
        NotFound
            If there is none; a run that was begun elsewhere within the last second is waited for.
        """
        self._flush_before_reading()
        row = self._wait_for(run_id)
        return self._run(row, self._data([run_id])[run_id])

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
        row = replace(
            before,
            at=self._now(),
            status=status or before.status,
            name=name or before.name,
            end_time=ended,
            lifecycle_stage=stage or before.lifecycle_stage,
        )
        rows: list[Row] = [self._tag_row(run_id, "mlflow.runName", name)] if name else []
        self._runs[run_id] = row
        self._buffer.add([*rows, row])
        self.flush()
        return self._run(row, RunData())

    def artifact_uri(self, run_id: str) -> str:
        """Where a run's artifacts lie, as an absolute path or URI."""
        return absolute(self.lake, (self._runs.get(run_id) or self._wait_for(run_id)).location)

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
        if run_id not in self._runs:
            self._wait_for(run_id)
        self._require_active(run_id)
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            raise InvalidInput(
                f"The metric {key!r} must be a number, found {type(value).__name__}. Pass float(value)."
            ) from None
        for name in (model_id, dataset_name, dataset_digest):
            if name is not None:
                names.check_value("metric", key, name, names.MAX_EXPERIMENT)
        row = MetricRow(
            at=self.lake.writer.clock(),
            run_id=run_id,
            key=names.check_key("metric", key),
            value=number,
            timestamp=int(time.time() * 1000) if timestamp is None else _whole("timestamp", timestamp),
            step=0 if step is None else _whole("step", step),
            model_id=model_id,
            dataset_name=dataset_name,
            dataset_digest=dataset_digest,
        )
        self._buffer.add((row,))
        if self._at_once(run_id, synchronous):
            self.flush()

    def log_params(self, run_id: str, params: Iterable[tuple[str, Any]], synchronous: bool | None = None) -> None:
        """Log parameters; one that is there keeps its value.

        Raises
        ------
        InvalidInput
            If one of them has another value already; then none of them is logged.
        """
        self._require_active(run_id)
        with self._lock:
            known = self._known_params(run_id)
            new: dict[str, str] = {}
            for key, value in params:
                text = names.check_value("param", names.check_key("param", key), value, names.MAX_PARAM)
                before = known.get(key, new.get(key))
                if before is not None and before != text:
                    raise InvalidInput(
                        f"The param {key!r} of run {run_id} has the value {before!r} and cannot become {text!r}: params never change. "
                        "Use a tag, another key or a new run."
                    )
                if before is None:
                    new[key] = text
            now = self._now()
            self._buffer.add([ParamRow(at=now, run_id=run_id, key=key, value=value) for key, value in new.items()])
            known.update(new)
        if self._at_once(run_id, synchronous):
            self.flush()

    def set_tags(self, run_id: str, tags: Iterable[tuple[str, Any]], synchronous: bool | None = None) -> None:
        """Set tags of a run; ``mlflow.runName`` renames it."""
        self._require_active(run_id)
        said = list(tags)
        rows = [self._tag_row(run_id, key, value) for key, value in said]
        self._buffer.add(rows)
        for key, value in said:
            if key == "mlflow.runName":
                self.update_run(run_id, name=str(value))
        if self._at_once(run_id, synchronous):
            self.flush()

    def delete_tag(self, run_id: str, key: str) -> None:
        """Remove a tag of a run.

        Raises
        ------
        NotFound
            If it has none with that key.
        """
        self._require_active(run_id)
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

    def metric_history(self, run_id: str, key: str) -> list[Metric]:
        """Every point of a metric, in order of step and time."""
        self._flush_before_reading()
        self._wait_for(run_id)
        sql = f"select * from metrics where run_id = {literal(run_id)} and key = {literal(key)} order by step, timestamp, seq, at"
        rows = from_arrow(MetricRow, self.lake.table(MetricRow).query(sql))
        return [
            Metric(
                row.key,
                row.value,
                row.timestamp,
                row.step,
                row.model_id,
                row.dataset_name,
                row.dataset_digest,
                row.run_id,
            )
            for row in rows
        ]

    def search_runs(
        self,
        experiment_ids: Sequence[str],
        filter_string: str | None = None,
        view: ViewType = ViewType.ACTIVE_ONLY,
        max_results: int = 1000,
        order_by: Sequence[str] = (),
        page_token: str | None = None,
    ) -> PagedList[Run]:
        """A page of the runs that a filter lets through, latest first where ``order_by`` says nothing else."""
        if not 0 < max_results <= MAX_RESULTS:
            raise InvalidInput(f"max_results must lie between 1 and {MAX_RESULTS}, found {max_results}.")
        self._flush_before_reading()
        wanted = search.parse(filter_string)
        orders = [search.parse_order(clause) for clause in order_by]
        asked = (sorted(experiment_ids), filter_string, view, list(order_by))
        start = paging.offset(page_token, asked)
        sql = select.search_sql(experiment_ids, wanted, view, orders, max_results + 1, start)
        by_kind: dict[str, type[Row]] = {"metric": MetricRow, "param": ParamRow, "tag": TagRow}
        kinds = select.tables_of(wanted, orders)
        tables: list[type[Row]] = [RunRow, *(by_kind[kind] for kind in sorted(kinds) if kind in by_kind)]
        ids = self.lake.query(sql, *tables)["run_id"].to_pylist()
        following = paging.token(start + max_results, asked) if len(ids) > max_results else None
        ids = ids[:max_results]
        rows = {row.run_id: row for row in self._rows(ids)}
        data = self._data(ids)
        return PagedList([self._run(rows[run_id], data[run_id]) for run_id in ids], following)

    # -- inside ----------------------------------------------------------------------------------------------------------

    def _now(self) -> datetime:
        return self.lake.writer.clock()

    def _tag_row(self, run_id: str, key: str, value: Any) -> TagRow:
        text = names.check_value("tag", names.check_key("tag", key), value, names.MAX_TAG)
        return TagRow(at=self._now(), owner=run_id, key=key, value=text)

    def _run(self, row: RunRow, data: RunData) -> Run:
        ended = milliseconds(row.end_time) if row.end_time else None
        info = RunInfo(
            row.run_id, row.name, row.experiment_id, row.user_id, row.status, milliseconds(row.start_time), ended,
            absolute(self.lake, row.location), row.lifecycle_stage,
        )  # fmt: skip
        return Run(info, data)

    def _rows(self, run_ids: Sequence[str]) -> list[RunRow]:
        return self.lake.table(RunRow).latest("run_id", f"run_id in {literals(run_ids)}") if run_ids else []

    def _wait_for(self, run_id: str) -> RunRow:
        if not isinstance(run_id, str) or not uris.RUN_ID.fullmatch(run_id):
            raise InvalidInput(f"{run_id!r} is not a run id; one has 32 hex digits.")
        until = time.monotonic() + _WAIT_SECONDS
        while True:
            found = self._rows([run_id])
            if found:
                self._runs.setdefault(run_id, found[0])
                return found[0]
            if run_id in self._runs:
                return self._runs[run_id]
            if time.monotonic() > until:
                raise NotFound(
                    f"There is no run {run_id!r} in the lake {self.lake.uri!r}. search_runs() lists those that exist."
                )
            time.sleep(0.1)

    def _newest(self, run_id: str) -> RunRow:
        # the row that this process wrote last may still wait in memory; what somebody else wrote in between counts
        found, mine = self._wait_for(run_id), self._runs[run_id]
        return mine if found.writer in ("", self.lake.writer.id) else found

    def _require_active(self, run_id: str) -> None:
        row = self._runs.get(run_id) or self._wait_for(run_id)
        if row.lifecycle_stage != LifecycleStage.ACTIVE:
            raise InvalidInput(f"The run {run_id} is deleted. Restore it before logging to it: restore_run().")

    def _known_params(self, run_id: str) -> dict[str, str]:
        if run_id not in self._params:
            self._flush_before_reading()
            self._params[run_id] = dict(self._data([run_id])[run_id].params)
        return self._params[run_id]

    def _data(self, run_ids: Sequence[str]) -> dict[str, RunData]:
        found: dict[str, tuple[dict[str, float], dict[str, str], dict[str, str]]] = {
            one: ({}, {}, {}) for one in run_ids
        }
        if not run_ids:
            return {}
        wanted = literals(run_ids)
        queries: tuple[tuple[type[Row], str, str, str], ...] = (
            (MetricRow, "metrics", "run_id", LAST_METRIC),
            (ParamRow, "params", "run_id", FIRST_PARAM),
            (TagRow, "tags", "owner", LAST_TAG),
        )
        for place, (row_type, table, owner, value) in enumerate(queries):
            sql = f"select {owner} as o, key, {value} as v from {table} where {owner} in {wanted} group by {owner}, key"
            answer = self.lake.query(sql, row_type)
            for run_id, key, one in zip(*(answer[name].to_pylist() for name in ("o", "key", "v")), strict=True):
                if one is not None:
                    found[run_id][place][key] = one
        return {run_id: RunData(*parts) for run_id, parts in found.items()}

    def _flush_before_reading(self) -> None:
        if not self._buffer.is_empty:
            self.flush()

    def _at_once(self, run_id: str, synchronous: bool | None) -> bool:
        if synchronous is not None:
            return synchronous
        # Spark's Python workers leave without exit handlers; only a `with start_run()` would flush in time
        return "pyspark" in sys.modules and run_id not in current.own_runs() and _in_spark_task()


def _in_spark_task() -> bool:
    from pyspark import TaskContext

    return TaskContext.get() is not None


def _whole(what: str, value: Any) -> int:
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        raise InvalidInput(f"The {what} must be a whole number, found {value!r}.") from None
    if not -(2**63) <= number < 2**63:
        raise InvalidInput(f"The {what} {number} does not fit 64 bits.")
    return number


def moment(milliseconds_since_1970: int) -> datetime:
    """MLflow's milliseconds as a time in UTC."""
    try:
        return _EPOCH + timedelta(milliseconds=_whole("time", milliseconds_since_1970))
    except OverflowError:
        raise InvalidInput(f"{milliseconds_since_1970} milliseconds lie beyond the year 9999.") from None


def open_store(uri: str, storage_options: Mapping[str, str] | None = None) -> TrackingStore:
    """The process's one store of a lake and its options: clients of the same lake share what waits in memory."""
    return _store_at(open_storage(uri, storage_options))


@functools.lru_cache(maxsize=64)
def _store_at(storage: Storage) -> TrackingStore:
    return TrackingStore(Lake(storage.uri, dict(storage.options)))
