"""What stays of a job: the report that it returns, its run in the lake with what it read, and its line in ``scorings``."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sparkml_lifecycle import uris
from sparkml_lifecycle.client import LifecycleClient
from sparkml_lifecycle.entities import Dataset, DatasetInput, InputTag, Param
from sparkml_lifecycle.errors import LifecycleError
from sparkml_lifecycle.scoring import process
from sparkml_lifecycle.scoring.conf import JobConf

EXPERIMENT = "scoring"
# below either a rate says more about Spark's start than about the model
_ROWS_FOR_A_RATE, _SECONDS_FOR_A_RATE = 100_000, 10.0


@dataclass(frozen=True)
class Report:
    """What a job did.

    Attributes
    ----------
    rows : int
        Rows in the commit.
    seconds : float
        From reading the source to the commit.
    version : int
        The target's Delta version after the commit.
    committed : bool
        False where there was nothing new, so that nothing was written.
    model_uri, model_digest, target, mode : str
    source_version : int or None
        The version of a Delta source that was read.
    engine : str
        Which of :data:`sparkml_lifecycle.scoring.engine.ENGINES` did it.
    why : str
        Why not a faster one; empty for the fastest.
    errors : int
        Rows for which the model raised, with ``on_error: null``.
    notes : tuple of str
        What else is worth knowing, such as why there was nothing to do.
    run_id : str
    evaluator : str
        What scored the rows: ``native`` is the framework itself; ``native and trees`` where workers differ, empty where none were.
    evaluator_why : str
        Why.
    registered : tuple of str or None
        The name and version of the registered model that a ``models:/`` URI named.
    """

    rows: int
    seconds: float
    version: int
    committed: bool
    model_uri: str
    model_digest: str
    target: str
    engine: str
    why: str
    run_id: str
    mode: str = "overwrite"
    source_version: int | None = None
    notes: tuple[str, ...] = ()
    errors: int = 0
    evaluator: str = ""
    evaluator_why: str = ""
    registered: tuple[str, str] | None = None

    @property
    def rows_per_second(self) -> float:
        """Rows divided by seconds, the job's fixed seconds included."""
        return self.rows / self.seconds if self.seconds else 0.0

    @property
    def pace(self) -> str:
        """``336,776 rows in 12.0 s``, with the rate where the job took long enough for one."""
        telling = self.rows >= _ROWS_FOR_A_RATE and self.seconds >= _SECONDS_FOR_A_RATE
        rate = f" ({self.rows_per_second:,.0f} rows a second)" if telling else ""
        errors = f", {self.errors:,} of them with an error" if self.errors else ""
        return f"{self.rows:,} rows in {self.seconds:.1f} s{rate}{errors}"


@dataclass(frozen=True)
class Record:
    """The record of a job that runs.

    Attributes
    ----------
    client : LifecycleClient
    conf : JobConf
    model_digest : str
    run_id : str
    registered : tuple of str or None
        The name and version of a registered model.
    """

    client: LifecycleClient
    conf: JobConf
    model_digest: str
    run_id: str
    registered: tuple[str, str] | None = None

    def done(self, report: Report) -> None:
        """Say what became of it."""
        self.client.log_batch(self.run_id, params=_params(_done(report)))
        for name in ("rows", "seconds", "rows_per_second", *(["errors"] if self.conf.on_error == "null" else [])):
            self.client.log_metric(self.run_id, name, getattr(report, name))
        self.client.log_inputs(self.run_id, [_input(self.conf, report)])
        self._line(
            "FINISHED" if report.committed else "NOTHING", source_version=report.source_version, target_version=report.version,
            rows=report.rows, errors=report.errors, seconds=report.seconds, engine=report.engine,
            evaluator=report.evaluator, notes="; ".join(report.notes),
        )  # fmt: skip
        self.client.set_terminated(self.run_id)

    def failed(self, error: BaseException) -> None:
        """Say why it failed."""
        status = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
        self.client.set_tag(self.run_id, "sparkml.error", type(error).__name__)
        message = ""
        if isinstance(error, LifecycleError):
            # its messages never quote rows
            message = str(error).split("\n")[0][:1000]
            self.client.set_tag(self.run_id, "sparkml.error.message", message)
        self._line(status, notes=message or type(error).__name__)
        self.client.set_terminated(self.run_id, status)

    def _line(self, status: str, **said: Any) -> None:
        conf = self.conf
        self.client.store.log_scoring(
            run_id=self.run_id, job=conf.job, mode=conf.mode, batch=conf.batch, status=status, model_uri=conf.model,
            model_digest=self.model_digest, source=conf.source.path, source_format=conf.source.format,
            target=uris.normalise(conf.target.path), **self._named(), **said,
        )  # fmt: skip

    def _named(self) -> dict[str, str]:
        return dict(zip(("model_name", "model_version"), self.registered or (), strict=False))


def begin(
    client: LifecycleClient, conf: JobConf, model_digest: str, registered: tuple[str, str] | None = None
) -> Record:
    """Begin the record of a job; a lake that cannot be written is told before anything is scored."""
    # an experiment of their own, so that jobs never mix with trainings
    experiment_id = client.experiment_made(EXPERIMENT).experiment_id
    _end_dead_runs(client, experiment_id, conf.job)
    run = client.create_run(
        experiment_id, run_name=conf.job, tags={"sparkml.job": conf.job, process.TAG: process.this()}
    )
    client.log_batch(run.info.run_id, params=_params(_asked(conf, model_digest, registered)))
    client.flush()
    return Record(client, conf, model_digest, run.info.run_id, registered)


def _end_dead_runs(client: LifecycleClient, experiment_id: str, job: str) -> None:
    """Runs of this job whose process was killed, on this machine: nobody was left to end them."""
    for run in client.search_runs([experiment_id], f"status = 'RUNNING' and tags.`sparkml.job` = '{job}'"):
        if process.is_dead(run.data.tags.get(process.TAG, "")):
            client.set_tag(run.info.run_id, "sparkml.error", "its process ended without a word")
            client.set_terminated(run.info.run_id, "KILLED")


def _asked(conf: JobConf, model_digest: str, registered: tuple[str, str] | None) -> dict[str, str]:
    return {
        "model_version": "/".join(registered or ()),
        "model": conf.model, "model_digest": model_digest, "source": conf.source.path, "source_format": conf.source.format,
        "target": uris.normalise(conf.target.path), "mode": conf.mode, "batch": conf.batch or "", "where": conf.where or "",
    }  # fmt: skip


def _done(report: Report) -> dict[str, str]:
    return {
        "target_version": str(report.version),
        "source_version": "" if report.source_version is None else str(report.source_version),
        "notes": "; ".join(report.notes),
        "engine": report.engine,
        "why_not_faster": report.why,
        "evaluator": report.evaluator,
        "evaluator_why": report.evaluator_why,
        "committed": str(report.committed).lower(),
    }


def _params(said: Mapping[str, str]) -> list[Param]:
    return [Param(key, value[:6000]) for key, value in said.items() if value]


def _input(conf: JobConf, report: Report) -> DatasetInput:
    """The source as a data set of the run."""
    by_path = conf.source.format not in ("table", "sql")
    name = uris.normalise(conf.source.path).rstrip("/").rpartition("/")[2] if by_path else conf.source.path
    source: dict[str, Any] = {"path": conf.source.path, "format": conf.source.format}
    if report.source_version is not None:
        source["delta_table_version"] = report.source_version
    digest = f"version {report.source_version}" if report.source_version is not None else "unknown"
    kind = "delta" if report.source_version is not None else "spark"
    dataset = Dataset(name[:200], digest, kind, json.dumps(source))
    return DatasetInput(dataset, (InputTag("mlflow.data.context", "scoring"),))
