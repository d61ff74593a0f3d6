"""A batch scoring job: reads its source, scores it with the engine that suits, writes Delta, and records itself as a run."""

import contextlib
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sparkml_lifecycle import package, uris
from sparkml_lifecycle.client import LifecycleClient, resolve
from sparkml_lifecycle.errors import (
    AlreadyExists,
    InvalidInput,
    LifecycleError,
    SchemaError,
    ScoringError,
    reason,
)
from sparkml_lifecycle.loaded import PyFuncModel
from sparkml_lifecycle.scoring import column, engine, files, partitions, process, sink
from sparkml_lifecycle.scoring.conf import JobConf
from sparkml_lifecycle.scoring.layout import Layout, layout_of
from sparkml_lifecycle.scoring.ship import ship
from sparkml_lifecycle.scoring.source import check_columns, filtered, read_source
from sparkml_lifecycle.scoring.worker import ANSWERED, ModelReference
from sparkml_lifecycle.settings import Settings

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
        False where the batch was written before, so that nothing was.
    model_uri, model_digest, target : str
    engine : str
        Which of :data:`sparkml_lifecycle.scoring.engine.ENGINES` did it.
    why : str
        Why not a faster one; empty for the fastest.
    run_id : str
    errors : int
        Rows without an answer because the model raised, with ``on_error: null``.
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
    errors: int = 0

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
class Chosen:
    """The model of a job, found and loaded on the driver.

    Attributes
    ----------
    client : LifecycleClient
        The lake that records the job.
    model : PyFuncModel
    directory : Path
    consent : bool
        Whether code may run out of the model directory.
    """

    client: LifecycleClient
    model: PyFuncModel
    directory: Path
    consent: bool


def find_model(conf: JobConf, client: LifecycleClient | None = None) -> Chosen:
    """Find and load the model of a job: needs no Spark session and writes nothing, so a wrong conf is told at once.

    Raises
    ------
    NotFound
        If there is no such run or model.
    ConsentRequired, MissingLibrary, FormatError
        If it cannot be loaded here.
    """
    client = client or LifecycleClient(conf.tracking_uri)
    directory = resolve(conf.model, client)
    consent = Settings.load().allow_code if conf.allow_code is None else conf.allow_code
    return Chosen(client, package.read(directory, allow_code=consent), directory, consent)


def run_job(spark: Any, conf: JobConf, client: LifecycleClient | None = None, chosen: Chosen | None = None) -> Report:
    """Run one batch scoring job.

    Parameters
    ----------
    spark : SparkSession
        With Delta on its class path.
    conf : JobConf
    client : LifecycleClient, optional
        The lake that records the job; that of the conf's ``tracking_uri`` where it is not given.
    chosen : Chosen, optional
        What :func:`find_model` found, where it was asked before.

    Raises
    ------
    NotFound
        If there is no such model (then no run is made), or no such source.
    InvalidInput
        If ``where`` cannot be read, or the source is a Delta table and ``format`` says something else.
    SchemaError
        If the source's columns do not fit the model: before anything is read.
    ScoringError
        If the model raises; nothing is committed.
    """
    chosen = chosen or find_model(conf, client)
    client = chosen.client
    experiment_id = _experiment_id(client)
    _end_dead_runs(client, experiment_id, conf.job)
    run = client.create_run(
        experiment_id, run_name=conf.job, tags={"sparkml.job": conf.job, process.TAG: process.this()}
    )
    run_id = run.info.run_id
    client.log_batch(run_id, params=_params(_asked(conf, chosen)))
    # a lake that cannot be written is told before anything is scored
    client.flush()
    try:
        report = _score(spark, conf, chosen, run_id)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            _cancel(spark)
        _record_failure(client, run_id, error)
        raise
    client.log_batch(run_id, params=_params(_done(report)))
    for name, value in (
        ("rows", report.rows),
        ("seconds", report.seconds),
        ("rows_per_second", report.rows_per_second),
        *([("errors", report.errors)] if conf.on_error == "null" else []),
    ):
        client.log_metric(run_id, name, value)
    client.set_terminated(run_id)
    return report


def _experiment_id(client: LifecycleClient) -> str:
    """The experiment of the jobs, so that they never mix with trainings; two jobs that start at once get the same one."""
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is None:
        try:
            return client.create_experiment(EXPERIMENT)
        except AlreadyExists:
            found = client.experiment_named(EXPERIMENT)
    return found.experiment_id


def _end_dead_runs(client: LifecycleClient, experiment_id: str, job: str) -> None:
    """Runs of this job whose process was killed, on this machine: nobody was left to end them."""
    for run in client.search_runs([experiment_id], f"status = 'RUNNING' and tags.`sparkml.job` = '{job}'"):
        if process.is_dead(run.data.tags.get(process.TAG, "")):
            client.set_tag(run.info.run_id, "sparkml.error", "its process ended without a word")
            client.set_terminated(run.info.run_id, "KILLED")


def _cancel(spark: Any) -> None:
    from py4j.protocol import Py4JError

    # under spark-submit the same Ctrl-C has ended the JVM, and with it the job
    with contextlib.suppress(Py4JError, OSError):
        spark.sparkContext.cancelAllJobs()


def _record_failure(client: LifecycleClient, run_id: str, error: BaseException) -> None:
    client.set_tag(run_id, "sparkml.error", type(error).__name__)
    if isinstance(error, LifecycleError):
        # its messages never quote rows
        client.set_tag(run_id, "sparkml.error.message", str(error).split("\n")[0][:1000])
    client.set_terminated(run_id, "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")


def _asked(conf: JobConf, chosen: Chosen) -> dict[str, str]:
    return {
        "model": conf.model, "model_digest": chosen.model.digest, "source": conf.source.path, "source_format": conf.source.format,
        "target": uris.normalise(conf.target.path), "mode": conf.mode, "batch": conf.batch or "", "where": conf.where or "",
    }  # fmt: skip


def _done(report: Report) -> dict[str, str]:
    return {
        "target_version": str(report.version),
        "engine": report.engine,
        "why_not_faster": report.why,
        "committed": str(report.committed).lower(),
    }


def _params(said: Mapping[str, str]) -> list[Any]:
    from sparkml_lifecycle.entities import Param

    return [Param(key, value[:6000]) for key, value in said.items() if value]


def _score(spark: Any, conf: JobConf, chosen: Chosen, run_id: str) -> Report:
    started = time.perf_counter()
    target = uris.normalise(conf.target.path)
    try:
        choice, done = _written(spark, conf, chosen, run_id)
    except LifecycleError:
        raise
    except Exception as error:
        raise _explained(error, conf) from error
    seconds = time.perf_counter() - started
    return Report(
        done.rows, seconds, done.version, done.made, conf.model, chosen.model.digest, target, choice.engine, choice.why,
        run_id, done.errors,
    )  # fmt: skip


def _written(spark: Any, conf: JobConf, chosen: Chosen, run_id: str) -> tuple[engine.Choice, sink.Commit]:
    rows = read_source(spark, conf.source)
    sink.check_target(spark, rows, conf.target.path)
    if conf.where:
        rows = filtered(rows, conf.where)
    check_columns(rows, chosen.model)
    layout = layout_of(rows.columns, chosen.model, conf)
    partitions.check(conf.target.partition_by, rows, layout)
    choice = engine.choose(spark, conf, rows, layout)
    reference = ship(spark, chosen.directory, chosen.consent)
    if choice.target is not None:
        return choice, files.score(spark, conf, rows, layout, choice, reference, run_id)
    scored, errors = _counted(with_predictions(rows, chosen.model, layout, reference), layout)
    before = sink.write(spark, scored, conf, run_id)
    done = sink.commit_of(spark, conf.target.path, before, run_id)
    return choice, replace(done, errors=errors.get["errors"]) if errors is not None and done.made else done


def _counted(scored: Any, layout: Layout) -> tuple[Any, Any]:
    """Rows whose errors are counted as they are written: Spark knows the sum only after its commit."""
    from pyspark.sql import Observation
    from pyspark.sql import functions as F

    if layout.error is None:
        return scored, None
    errors = Observation()
    return scored.observe(errors, F.count(F.col(column.quoted(layout.error))).alias("errors")), errors


_RAISED = re.compile(r"^ *([A-Za-z_][\w.]*(?:Error|Exception|Interrupt))\b:? ?(.*)$", re.MULTILINE)
_OF_FILES = ("FileNotFoundError", "PermissionError", "OSError", "NotADirectoryError")
_CONDITION = re.compile(r"\[[A-Z][A-Z0-9_.]+\] [^\n]+")


def with_predictions(rows: Any, model: PyFuncModel, layout: Layout, reference: ModelReference) -> Any:
    """``rows`` with the prediction and its stamps, by the column engine; of the source only the columns to keep."""
    from pyspark.sql import functions as F

    udf = column.ModelUdf(
        reference, model.input_names, model.optional_names, layout.result, layout.predict_fn, layout.params,
        layout.max_errors if layout.error else None,
    )  # fmt: skip
    taken = [F.col(column.quoted(name)) for name in layout.inputs]
    answer = udf(*taken) if layout.by_position else udf(F.struct(*taken))
    kept = [F.col(column.quoted(name)) for name in layout.keep]
    stamps = [F.lit(value).cast(_spark_type(value)).alias(name) for name, value in layout.stamps.items()]
    rows = rows.select(*kept, answer.alias(layout.prediction))
    if layout.error is None:
        return rows.select("*", *stamps)
    given, why = (F.col(column.quoted(layout.prediction)).getField(name) for name in ANSWERED)
    return rows.select(*kept, given.alias(layout.prediction), *stamps, why.alias(layout.error))


def _spark_type(value: Any) -> str:
    return "timestamp" if isinstance(value, datetime) else "string"


def _explained(error: Exception, conf: JobConf) -> LifecycleError:
    """One line for the errors that a job meets: what the worker raised, without the rows that Spark might quote."""
    text = str(error)
    for line in reversed(text.splitlines()):
        for kind in (SchemaError, ScoringError, InvalidInput):
            marker = f"errors.{kind.__name__}: "
            if marker in line:
                return kind(line.split(marker, 1)[1])
    in_worker = _RAISED.findall(text) if "Traceback (most recent call last)" in text else []
    if in_worker:
        kind_of_error, said = in_worker[-1]
        # only what the system says of files is sure to quote no row
        said = said[:500] if kind_of_error in _OF_FILES else "its text is left out because it may quote the data"
        return ScoringError(
            f"The job {conf.job!r} failed and committed nothing: a worker raised {kind_of_error}: {said}."
        )
    # Java's own first line says only that something happened; the innermost error with a name of Spark's says what
    named = _CONDITION.findall(text)
    # Spark quotes the values of rows in single quotes
    first = re.sub(r"'[^']*'", "'…'", named[-1].rstrip(". ") if named else reason(error))[:500]
    return ScoringError(f"The job {conf.job!r} failed and committed nothing: {type(error).__name__}: {first}.")
