"""Experiments and runs over the lake: what is written goes through the buffer, what is read flushes it first."""

import getpass
import os
import time
import uuid
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from sparkml_lifecycle import uris
from sparkml_lifecycle.entities import Experiment, LifecycleStage, Metric, Run, RunData, RunInfo, RunStatus, ViewType
from sparkml_lifecycle.errors import AlreadyExists, Conflict, InvalidInput, NotFound, did_you_mean
from sparkml_lifecycle.lake import Lake, Writer
from sparkml_lifecycle.lake.sql import LATEST, literal, one_of
from sparkml_lifecycle.lake.table import query
from sparkml_lifecycle.settings import Settings
from sparkml_lifecycle.tracking import limits, search
from sparkml_lifecycle.tracking.buffer import Buffer
from sparkml_lifecycle.tracking.rows import TABLES, ExperimentRow, MetricRow, ParamRow, RunRow, TagRow

_RUN = ("experiment_id", "run_name", "user_id", "status", "start_time", "end_time", "lifecycle_stage", "artifact_location")
_LATEST_RUNS = f"select run_id, {', '.join(f'last_value({c} {LATEST}) as {c}' for c in _RUN)} from runs where {{where}} group by run_id"
_EXPERIMENT = ("name", "artifact_location", "lifecycle_stage", "creation_time", "last_update_time", "revision")
_LATEST_EXPERIMENTS = (
    f"select experiment_id, {', '.join(f'last_value({c} order by revision) as {c}' for c in _EXPERIMENT)} from experiments group by experiment_id"
)
_CLAIMS = 100


def new_run_id() -> str:
    """A UUIDv7 as 32 hex digits: ids of the same time lie together, so statistics of files find a run."""
    milliseconds = int(time.time() * 1000)
    random = int.from_bytes(os.urandom(10), "big")
    value = (milliseconds & ((1 << 48) - 1)) << 80 | 0x7 << 76 | ((random >> 62) & 0xFFF) << 64 | 0b10 << 62 | (random & ((1 << 62) - 1))
    return f"{value:032x}"


def now() -> int:
    """Milliseconds since 1970, UTC."""
    return int(time.time() * 1000)


class TrackingStore:
    """The tracking tables of one lake.

    Parameters
    ----------
    uri : str
        The lake.
    settings : Settings
    writer : Writer, optional
        Who is recorded; this process and its user where it is not given.
    """

    def __init__(self, uri: str, settings: Settings | None = None, writer: Writer | None = None) -> None:
        self.settings = settings or Settings.load()
        self.writer = writer or Writer(self.settings.user or _login())
        self.lake = Lake(uri, TABLES)
        self.buffer = Buffer(self.lake, self.writer, self.settings)
        self._runs: dict[str, RunRow] = {}
        self._params: dict[str, dict[str, str]] = {}

    def _query(self, sql: str, *names: str) -> list[dict[str, Any]]:
        self.buffer.flush()
        rows: list[dict[str, Any]] = query([self.lake.table(name) for name in names], sql).to_pylist()
        return rows

    # -- experiments

    def experiments(self) -> list[Experiment]:
        """All experiments, deleted ones too, by id."""
        rows = self._query(_LATEST_EXPERIMENTS, "experiments")
        tags = self._tags("experiment", None)
        found = [self._experiment(row, tags.get(row["experiment_id"], {})) for row in rows]
        return sorted(found, key=lambda e: (len(e.experiment_id), e.experiment_id))

    def _experiment(self, row: dict[str, Any], tags: dict[str, str]) -> Experiment:
        location = row["artifact_location"] or f"artifacts/{row['experiment_id']}"
        return Experiment(
            row["experiment_id"], row["name"], self._absolute(location), row["lifecycle_stage"], tags, row["creation_time"], row["last_update_time"]
        )

    def _absolute(self, location: str) -> str:
        return location if "://" in location or location.startswith("/") else uris.join(self.lake.uri, location)

    def create_experiment(self, name: str, artifact_location: str | None = None, tags: dict[str, str] | None = None) -> str:
        """A new experiment; its id is the next small number.

        Raises
        ------
        AlreadyExists
            If there is one of that name; the message says whether it was deleted.
        """
        limits.check_name(name, "experiment")
        checked = [(limits.check_key(k, "tag"), limits.check_text(v, limits.TAG_LENGTH, "tag value")) for k, v in (tags or {}).items()]
        self.lake.prepare()
        table = self.lake.table("experiments")
        for attempt in range(_CLAIMS):
            known = self.experiments()
            if taken := next((e for e in known if e.name == name), None):
                state = "was deleted: restore it, or use another name" if taken.lifecycle_stage == LifecycleStage.DELETED else "exists already"
                raise AlreadyExists(f"The experiment {name!r} (id {taken.experiment_id}) {state}.")
            number = table.standing("experiment_ids") + 1
            moment, claim = now(), uuid.uuid4().hex
            row = ExperimentRow(str(number), name, artifact_location and uris.normalise(artifact_location), LifecycleStage.ACTIVE, moment, moment, 1, claim)
            try:
                identifiers = {f"experiment:{name}": table.standing(f"experiment:{name}") + 1, "experiment_ids": number}
                table.claim(identifiers, [row], self.writer, claim)
            except Conflict:
                time.sleep(0.002 * attempt)
                continue
            for key, value in checked:
                self.buffer.add("tags", TagRow("experiment", str(number), key, value))
            return str(number)
        raise Conflict(f"The experiment {name!r} could not be created: too many others create experiments at the same time. Try again.")

    def experiment(self, experiment_id: str) -> Experiment:
        """One experiment by id.

        Raises
        ------
        NotFound
        """
        found = next((e for e in self.experiments() if e.experiment_id == str(experiment_id)), None)
        if found is None:
            raise NotFound(f"There is no experiment with id {experiment_id!r} in {self.lake.uri!r}.")
        return found

    def experiment_by_name(self, name: str) -> Experiment | None:
        """One experiment by name, or None."""
        return next((e for e in self.experiments() if e.name == name), None)

    def change_experiment(self, experiment_id: str, **changes: str) -> None:
        """A new revision of an experiment with another name or lifecycle stage."""
        table = self.lake.table("experiments")
        for attempt in range(_CLAIMS):
            found = self.experiment(experiment_id)
            name = changes.get("name", found.name)
            if name != found.name and self.experiment_by_name(limits.check_name(name, "experiment")):
                raise AlreadyExists(f"The experiment {name!r} exists already.")
            revision = table.standing(f"experiment_id:{experiment_id}") + 1
            stored = self._query(f"{_LATEST_EXPERIMENTS} having experiment_id = {literal(found.experiment_id)}", "experiments")[0]
            claim = uuid.uuid4().hex
            row = ExperimentRow(
                found.experiment_id, name, stored["artifact_location"], changes.get("lifecycle_stage", found.lifecycle_stage),
                stored["creation_time"], now(), stored["revision"] + 1, claim,
            )  # fmt: skip
            identifiers = {f"experiment_id:{experiment_id}": revision}
            if name != found.name:
                identifiers[f"experiment:{name}"] = table.standing(f"experiment:{name}") + 1
            try:
                table.claim(identifiers, [row], self.writer, claim)
                return
            except Conflict:
                time.sleep(0.002 * attempt)
        raise Conflict(f"The experiment {experiment_id!r} could not be changed: others change it at the same time. Try again.")

    def set_experiment_tag(self, experiment_id: str, key: str, value: Any) -> None:
        """Set a tag of an experiment."""
        self.experiment(experiment_id)
        self.buffer.add("tags", TagRow("experiment", str(experiment_id), limits.check_key(key, "tag"), limits.check_text(value, limits.TAG_LENGTH, "tag value")))

    # -- runs

    def create_run(self, experiment_id: str, run_name: str | None, user_id: str | None, start_time: int | None, tags: dict[str, str]) -> Run:
        """A new run, handed over at once."""
        experiment = self.experiment(experiment_id)
        if experiment.lifecycle_stage != LifecycleStage.ACTIVE:
            raise InvalidInput(f"The experiment {experiment.name!r} was deleted; restore it before you start a run in it.")
        run_id = new_run_id()
        name = run_name or tags.get("mlflow.runName") or f"run-{run_id[-8:]}"
        limits.check_name(name, "run")
        tags = {"mlflow.runName": name, **tags}
        checked = [(limits.check_key(k, "tag"), limits.check_text(v, limits.TAG_LENGTH, "tag value")) for k, v in tags.items()]
        base = f"artifacts/{experiment_id}" if experiment.artifact_location.startswith(self.lake.uri) else experiment.artifact_location
        row = RunRow(
            run_id, str(experiment_id), name, user_id or self.writer.by, RunStatus.RUNNING, now() if start_time is None else start_time, None,
            LifecycleStage.ACTIVE, uris.join(base, run_id, "artifacts") if "://" in base or base.startswith("/") else f"{base}/{run_id}/artifacts",
        )  # fmt: skip
        self._params[run_id] = {}
        for key, value in checked:
            self.buffer.add("tags", TagRow("run", run_id, key, value))
        self._put_run(row)
        return Run(self._info(row), RunData({}, {}, dict(checked)))

    def _put_run(self, row: RunRow) -> None:
        self._runs[row.run_id] = row
        self.buffer.add("runs", row)

    def _info(self, row: RunRow) -> RunInfo:
        return RunInfo(
            row.run_id, row.experiment_id, row.run_name, row.user_id, row.status, row.start_time, row.end_time,
            self._absolute(row.artifact_location), row.lifecycle_stage,
        )  # fmt: skip

    def _row(self, run_id: str) -> RunRow:
        """The state of a run; one that another process has just made is waited for up to a second."""
        if not isinstance(run_id, str) or not uris.RUN_ID.fullmatch(run_id):
            raise InvalidInput(f"{run_id!r} is not a run id: those have 32 hex digits.")
        if run_id in self._runs:
            return self._runs[run_id]
        deadline = time.monotonic() + 1.0
        while True:
            rows = self._query(_LATEST_RUNS.format(where=f"run_id = {literal(run_id)}"), "runs")
            if rows:
                return RunRow(**rows[0])
            if time.monotonic() > deadline:
                raise NotFound(f"There is no run {run_id!r} in {self.lake.uri!r}.")
            time.sleep(0.1)

    def run(self, run_id: str) -> Run:
        """One run with its data.

        Raises
        ------
        NotFound
        """
        self._row(run_id)
        return self.runs([run_id])[0]

    def runs(self, run_ids: Sequence[str]) -> list[Run]:
        """Runs with their data, in the order of the ids."""
        if not run_ids:
            return []
        inside = f"run_id in {one_of(run_ids)}"
        infos = {row["run_id"]: RunRow(**row) for row in self._query(_LATEST_RUNS.format(where=inside), "runs")}
        data: dict[str, dict[str, dict[str, Any]]] = {}
        for entity in ("metrics", "params"):
            for row in self._query(search.LATEST[entity].format(where=inside), entity):
                data.setdefault(row["run_id"], {}).setdefault(entity, {})[row["key"]] = row["value"]
        tags = self._tags("run", run_ids)
        return [
            Run(self._info(infos[i]), RunData(data.get(i, {}).get("metrics", {}), data.get(i, {}).get("params", {}), tags.get(i, {})))
            for i in run_ids if i in infos
        ]  # fmt: skip

    def _tags(self, owner_type: str, owners: Sequence[str] | None) -> dict[str, dict[str, str]]:
        where = f"owner_type = {literal(owner_type)}" + (f" and owner in {one_of(owners)}" if owners is not None else "")
        rows = self._query(f"select owner, key, last_value(value {LATEST}) as value from tags where {where} group by owner, key", "tags")
        found: dict[str, dict[str, str]] = {}
        for row in rows:
            if row["value"] is not None:
                found.setdefault(row["owner"], {})[row["key"]] = row["value"]
        return found

    def change_run(self, run_id: str, **changes: Any) -> RunInfo:
        """A new state of a run: status, end_time, run_name or lifecycle_stage."""
        if "status" in changes and changes["status"] not in RunStatus.ALL:
            raise InvalidInput(f"A run's status is one of {', '.join(RunStatus.ALL)}; found {changes['status']!r}.")
        if "run_name" in changes:
            limits.check_name(changes["run_name"], "run")
            self.set_tag(run_id, "mlflow.runName", changes["run_name"])
        row = replace(self._row(run_id), **changes)
        self._put_run(row)
        return self._info(row)

    def _active(self, run_id: str) -> RunRow:
        row = self._row(run_id)
        if row.lifecycle_stage != LifecycleStage.ACTIVE:
            raise InvalidInput(f"The run {run_id} was deleted; restore it before you log to it.")
        return row

    def log_metric(self, run_id: str, metric: Metric) -> None:
        """One point; costs microseconds, committed within a second."""
        if run_id not in self._runs:
            self._runs[run_id] = self._active(run_id)
        self.buffer.add(
            "metrics",
            MetricRow(run_id, metric.key, metric.value, metric.step, metric.timestamp, metric.model_id, metric.dataset_name, metric.dataset_digest),
        )

    def log_param(self, run_id: str, key: str, value: Any) -> None:
        """One parameter.

        Raises
        ------
        InvalidInput
            If it has another value already.
        """
        text = limits.check_text(value, limits.PARAM_LENGTH, f"value of the param {key!r}")
        limits.check_key(key, "param")
        known = self._known_params(run_id)
        if key in known:
            if known[key] != text:
                raise InvalidInput(f"The param {key!r} of run {run_id} is {known[key]!r} and params do not change; found {text!r}. Use another name or a tag.")
            return
        known[key] = text
        self.buffer.add("params", ParamRow(run_id, key, text))

    def _known_params(self, run_id: str) -> dict[str, str]:
        self._active(run_id)
        if run_id not in self._params:
            rows = self._query(search.LATEST["params"].format(where=f"run_id = {literal(run_id)}"), "params")
            self._params[run_id] = {row["key"]: row["value"] for row in rows}
        return self._params[run_id]

    def set_tag(self, run_id: str, key: str, value: Any) -> None:
        """Set a tag of a run."""
        self._active(run_id)
        self.buffer.add("tags", TagRow("run", run_id, limits.check_key(key, "tag"), limits.check_text(value, limits.TAG_LENGTH, "tag value")))

    def delete_tag(self, run_id: str, key: str) -> None:
        """Remove a tag of a run.

        Raises
        ------
        NotFound
            If the run has no such tag.
        """
        found = self.run(run_id).data.tags
        if key not in found:
            raise NotFound(f"The run {run_id} has no tag {key!r}.{did_you_mean(key, found)}")
        self.buffer.add("tags", TagRow("run", run_id, key, None))

    def metric_history(self, run_id: str, key: str) -> list[Metric]:
        """Every point of a metric, by step and time."""
        self._row(run_id)
        where = f"run_id = {literal(run_id)} and key = {literal(key)}"
        rows = self._query(f"select * from metrics where {where} order by step, timestamp, value", "metrics")
        return [Metric(r["key"], r["value"], r["timestamp"], r["step"], r["model_id"], r["dataset_name"], r["dataset_digest"], run_id) for r in rows]

    def search(self, experiment_ids: Sequence[str], text: str | None, view: int, orders: Sequence[str] | None, limit: int, offset: int) -> list[str]:
        """The ids of the runs that a filter matches, in order."""
        terms = search.parse_filter(text)
        joins, items = search.ordering(search.parse_order(orders))
        stages = {ViewType.ACTIVE_ONLY: ("active",), ViewType.DELETED_ONLY: ("deleted",), ViewType.ALL: ("active", "deleted")}[view]
        conditions = [f"r.lifecycle_stage in {one_of(stages)}", *(search.condition(term) for term in terms)]
        runs = _LATEST_RUNS.format(where=f"experiment_id in {one_of(experiment_ids)}")
        sql = f"select r.run_id from ({runs}) r {joins} where {' and '.join(conditions)} order by {', '.join(items)} limit {limit} offset {offset}"
        return [row["run_id"] for row in self._query(sql, "runs", "metrics", "params", "tags")]


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
