"""A batch scoring job: reads its source, scores it with the engine that suits, writes Delta, and records itself as a run."""

import contextlib
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sparkml_lifecycle import package, uris
from sparkml_lifecycle.client import LifecycleClient, resolve
from sparkml_lifecycle.errors import (
    InvalidInput,
    LifecycleError,
    SchemaError,
    ScoringError,
    reason,
)
from sparkml_lifecycle.loaded import PyFuncModel
from sparkml_lifecycle.scoring import attempt, engine, files, local, partitions, predictions, record
from sparkml_lifecycle.scoring.column import output_type
from sparkml_lifecycle.scoring.conf import JobConf
from sparkml_lifecycle.scoring.layout import Layout, layout_of
from sparkml_lifecycle.scoring.reading import Reading, open_source
from sparkml_lifecycle.scoring.record import Report
from sparkml_lifecycle.scoring.rules import Decision
from sparkml_lifecycle.scoring.ship import ship
from sparkml_lifecycle.scoring.sink import SparkTarget, check_target
from sparkml_lifecycle.scoring.source import check_columns
from sparkml_lifecycle.scoring.worker import ModelReference
from sparkml_lifecycle.settings import Settings


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
    spark : SparkSession or None
        With Delta on its class path; None runs the job in processes of this machine.
    conf : JobConf
    client : LifecycleClient, optional
        The lake that records the job; that of the conf's ``tracking_uri`` where it is not given.
    chosen : Chosen, optional
        What :func:`find_model` found, where it was asked before.

    Raises
    ------
    JobStopped
        If rows would be doubled, lost or erased unless somebody chooses; the message names the choices.
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
    kept = record.begin(chosen.client, conf, chosen.model.digest)
    try:
        report = _score(spark, conf, chosen, kept.run_id)
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            _cancel(spark)
        kept.failed(error)
        raise
    kept.done(report)
    return report


def _cancel(spark: Any) -> None:
    from py4j.protocol import Py4JError

    # under spark-submit the same Ctrl-C has ended the JVM, and with it the job
    with contextlib.suppress(Py4JError, OSError):
        spark.sparkContext.cancelAllJobs()


def _score(spark: Any, conf: JobConf, chosen: Chosen, run_id: str) -> Report:
    started = time.perf_counter()
    try:
        if spark is None:
            reference = local.reference_of(chosen.model, chosen.directory, chosen.consent)
            done = local.written(conf, chosen.model, reference, run_id)
        else:
            done = _written(spark, conf, chosen, run_id)
    except LifecycleError:
        raise
    except Exception as error:
        raise _explained(error, conf) from error
    seconds = time.perf_counter() - started
    return Report(
        rows=done.commit.rows, seconds=seconds, version=done.commit.version, committed=done.commit.made, model_uri=conf.model,
        model_digest=chosen.model.digest, source_version=done.source_version, target=uris.normalise(conf.target.path),
        mode=conf.mode, engine=done.engine, why=done.why, notes=done.notes, run_id=run_id,
        errors=done.commit.errors,
    )  # fmt: skip


def _written(spark: Any, conf: JobConf, chosen: Chosen, run_id: str) -> attempt.Done:
    reading = open_source(spark, conf)
    check_target(spark, reading.rows, conf.target.path)
    check_columns(reading.rows, chosen.model)
    layout = layout_of(
        reading.rows.columns, chosen.model, conf, output_type(chosen.model, conf.result_type, conf.predict_fn)
    )
    partitions.check(conf.target.partition_by, reading.rows, layout)
    choice = engine.choose(spark, conf, reading, layout)
    way, target = _way(spark, conf, chosen, reading, layout, choice)
    return attempt.Attempt(conf, chosen.model.digest, reading.state, way, run_id).until_done(target)


def _way(
    spark: Any, conf: JobConf, chosen: Chosen, reading: Reading, layout: Layout, choice: engine.Choice
) -> tuple[attempt.Way, Any]:
    """How this engine brings rows into the target, and the target as it commits to it."""
    from pyspark.sql.pandas.types import to_arrow_schema, to_arrow_type

    def rows(decision: Decision) -> Any:
        if decision.scores == "nothing":
            return reading.rows.limit(0)
        return reading.rows if decision.gained is None else reading.gained(decision.gained)

    def reference() -> ModelReference:
        return ship(spark, chosen.directory, chosen.consent)

    def by_files(decision: Decision) -> files.Files:
        assert choice.target is not None
        found = choice.source if choice.source is not None else to_arrow_schema(reading.rows.schema, timezone="UTC")
        result = to_arrow_type(layout.result, timezone="UTC", prefers_large_types=False)
        plan = files.plan_of(found, result, layout, choice.target, reference(), conf)
        if decision.scores == "nothing":
            return files.made(plan, (), choice.engine)
        return files.write(spark, rows(decision), plan, choice, decision.gained)

    if choice.target is not None:
        return attempt.ByFiles(conf, choice.engine, choice.why, by_files, choice.target), choice.target
    way = attempt.BySpark(
        conf,
        choice.engine,
        choice.why,
        lambda decision: predictions.counting_errors(
            predictions.with_predictions(rows(decision), chosen.model, layout, reference()), layout
        ),
    )
    return way, SparkTarget.open(spark, conf.target.path)


_RAISED = re.compile(r"^ *([A-Za-z_][\w.]*(?:Error|Exception|Interrupt))\b:? ?(.*)$", re.MULTILINE)
_OF_FILES = ("FileNotFoundError", "PermissionError", "OSError", "NotADirectoryError")
_CONDITION = re.compile(r"\[[A-Z][A-Z0-9_.]+\] [^\n]+")


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
