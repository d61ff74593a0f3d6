"""A batch scoring job: reads its source, scores it with the engine that suits, writes Delta, and records itself as a run."""

import contextlib
import re
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sparkml_lifecycle import package, uris
from sparkml_lifecycle.client import LifecycleClient, find
from sparkml_lifecycle.errors import (
    InvalidInput,
    LifecycleError,
    SchemaError,
    ScoringError,
    reason,
)
from sparkml_lifecycle.loaded import PyFuncModel
from sparkml_lifecycle.scoring import by_path, dataframe, direct, engine, files, local, partitions, record, split
from sparkml_lifecycle.scoring.attempt import Attempt, ByFiles, BySpark, Done
from sparkml_lifecycle.scoring.by_path import CannotDo
from sparkml_lifecycle.scoring.column import output_type
from sparkml_lifecycle.scoring.conf import JobConf
from sparkml_lifecycle.scoring.direct import FilePlan
from sparkml_lifecycle.scoring.layout import Layout, layout_of
from sparkml_lifecycle.scoring.output import Written
from sparkml_lifecycle.scoring.predictions import counting_errors, with_predictions
from sparkml_lifecycle.scoring.progress import Progress, Watch, watching
from sparkml_lifecycle.scoring.reading import Reading, open_source
from sparkml_lifecycle.scoring.record import Report
from sparkml_lifecycle.scoring.rules import Decision
from sparkml_lifecycle.scoring.ship import asked_workers, is_local, ship
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
    evaluator : {"auto", "fast", "native"}
    """

    client: LifecycleClient
    model: PyFuncModel
    directory: Path
    consent: bool
    evaluator: str = "auto"


def find_model(conf: JobConf, client: LifecycleClient | None = None) -> Chosen:
    """Find and load the model of a job: needs no Spark session and writes nothing, so a wrong conf is told at once.

    Raises
    ------
    NotFound
        If there is no such run or model.
    ConsentRequired, MissingLibrary, FormatError
        If it cannot be loaded here.
    InvalidInput
        If ``evaluator: fast`` cannot be had for it.
    """
    client = client or LifecycleClient(conf.tracking_uri)
    found = find(conf.model, client)
    consent = Settings.load().allow_code if conf.allow_code is None else conf.allow_code
    model = package.read(found.path, allow_code=consent, evaluator=conf.evaluator)
    model.registered = found.registered
    return Chosen(client, model, found.path, consent, conf.evaluator)


def run_job(
    spark: Any,
    conf: JobConf,
    client: LifecycleClient | None = None,
    chosen: Chosen | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> Report:
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
    progress : callable, optional
        Given a :class:`sparkml_lifecycle.scoring.progress.Progress` about once a second while rows are scored.

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
    kept = record.begin(chosen.client, conf, chosen.model.digest, chosen.model.registered)
    try:
        with watching(spark, conf.job, progress) as watch:
            report = _score(spark, conf, chosen, kept.run_id, watch)
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


def _score(spark: Any, conf: JobConf, chosen: Chosen, run_id: str, watch: Watch) -> Report:
    started = time.perf_counter()
    try:
        done = _done(spark, conf, chosen, run_id, watch)
    except LifecycleError:
        raise
    except Exception as error:
        raise _explained(error, conf) from error
    seconds = time.perf_counter() - started
    return Report(
        rows=done.commit.rows, seconds=seconds, version=done.commit.version, committed=done.commit.made, model_uri=conf.model,
        model_digest=chosen.model.digest, source_version=done.source_version, target=uris.normalise(conf.target.path),
        mode=conf.mode, engine=done.engine, why=done.why, notes=done.notes, run_id=run_id,
        errors=done.commit.errors, evaluator=_named(done.evaluators), evaluator_why=_reasons(done.evaluators),
        registered=chosen.model.registered,
    )  # fmt: skip


def _named(evaluators: Collection[str]) -> str:
    return " and ".join(sorted({one.partition(": ")[0] for one in evaluators}))


def _reasons(evaluators: Collection[str]) -> str:
    several = len(evaluators) > 1
    return "; ".join(one if several else one.partition(": ")[2] for one in sorted(evaluators))


def _done(spark: Any, conf: JobConf, chosen: Chosen, run_id: str, watch: Watch) -> Done:
    if spark is None:
        return local.score(conf, chosen.model, chosen.directory, chosen.consent, run_id, watch)
    why = ""
    if conf.engine in ("auto", "direct"):
        try:
            return _direct(spark, conf, chosen, run_id, watch)
        except CannotDo as cannot:
            if conf.engine == "direct":
                raise InvalidInput(f"engine: direct cannot do this job: {cannot}. Use engine: auto.") from None
            why = str(cannot)
    return _through_spark(spark, conf, chosen, run_id, why, watch)


def _direct(spark: Any, conf: JobConf, chosen: Chosen, run_id: str, watch: Watch) -> Done:
    """A job whose rows never cross the JVM, and for which Delta's own classes are not even loaded."""
    from pyspark.sql.pandas.types import to_arrow_type

    by_path.check(conf, direct.FORMATS)
    engine.check_workers(spark, conf, conf.source.path, conf.target.path)

    def result() -> Any:
        kind = output_type(chosen.model, conf.result_type, conf.predict_fn)
        return to_arrow_type(kind, timezone="UTC", prefers_large_types=False)

    def run(plan: FilePlan, pieces: Sequence[split.Piece]) -> list[Written]:
        cores = int(spark.sparkContext.defaultParallelism)
        size = sum(piece.size for piece in pieces)
        # the cores of one machine are alike; elsewhere a slow one is not to be waited for
        tasks = split.task_count(size, cores, 1 if is_local(spark) else 2)
        watch.begin(size)
        return direct.run(spark, replace(plan, report_to=watch.address), split.cut(pieces, tasks, files.groups_of))

    runner = by_path.Runner(
        "direct", run, result, lambda: _shipped(spark, chosen), spark.conf.get("spark.sql.session.timeZone")
    )
    return by_path.score(conf, chosen.model, runner, direct.FORMATS, run_id)


def _through_spark(spark: Any, conf: JobConf, chosen: Chosen, run_id: str, why: str, watch: Watch) -> Done:
    """A job whose source Spark reads."""
    reading = open_source(spark, conf)
    rows = reading.rows
    check_target(spark, rows, conf.target.path)
    check_columns(rows, chosen.model)
    result = output_type(chosen.model, conf.result_type, conf.predict_fn)
    layout = layout_of(rows.columns, chosen.model, conf, result)
    kinds = {**{one.name: one.dataType.typeName() for one in rows.schema}, layout.prediction: result.typeName()}
    partitions.check(conf.target.partition_by, kinds, layout)
    choice = engine.choose(spark, conf, rows, layout, why)
    target = choice.target or SparkTarget.open(spark, conf.target.path)
    way = _way(spark, conf, chosen, reading, layout, choice, watch)
    return Attempt(conf, chosen.model.digest, reading.state, way, run_id).until_done(target)


def _way(
    spark: Any, conf: JobConf, chosen: Chosen, reading: Reading, layout: Layout, choice: engine.Choice, watch: Watch
) -> ByFiles | BySpark:
    """How the engine brings rows into the target."""
    from pyspark.sql.pandas.types import to_arrow_schema, to_arrow_type

    def rows(decision: Decision) -> Any:
        if decision.scores == "nothing":
            return reading.rows.limit(0)
        return reading.rows if decision.gained is None else reading.gained(decision.gained)

    def by_files(decision: Decision) -> files.Files:
        assert choice.target is not None
        found = to_arrow_schema(reading.rows.schema, timezone="UTC")
        result = to_arrow_type(layout.result, timezone="UTC", prefers_large_types=False)
        plan = files.plan_of(found, result, layout, choice.target, _shipped(spark, chosen), conf)
        if decision.scores == "nothing":
            return files.made(plan, ())
        watch.begin()
        return files.made(plan, dataframe.run(rows(decision), replace(plan, report_to=watch.address)))

    def by_spark(decision: Decision) -> Any:
        watch.begin()
        scored = with_predictions(rows(decision), chosen.model, layout, _shipped(spark, chosen), watch.address)
        return counting_errors(scored, layout)

    if choice.target is not None:
        return ByFiles(conf, choice.engine, choice.why, by_files, choice.target)
    differs, evaluators = set(chosen.model.differing_versions), {str(chosen.model.evaluator)}
    if not is_local(spark):
        differs, evaluators = asked_workers(spark, _shipped(spark, chosen))
    return BySpark(conf, choice.engine, choice.why, by_spark, files.notes_of(differs), evaluators)


def _shipped(spark: Any, chosen: Chosen) -> ModelReference:
    return ship(spark, chosen.directory, chosen.consent, chosen.model.digest, chosen.evaluator)


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
