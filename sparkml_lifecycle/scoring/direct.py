"""The direct engine: workers read the source's files, score them and write files of the target; no row crosses the JVM."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from sparkml_lifecycle.loaded import PyFuncModel
from sparkml_lifecycle.scoring import formats
from sparkml_lifecycle.scoring.failures import Failures
from sparkml_lifecycle.scoring.output import Output, Written, from_rows
from sparkml_lifecycle.scoring.partitions import PartitionedOutput
from sparkml_lifecycle.scoring.progress import Address, Meter
from sparkml_lifecycle.scoring.split import Piece
from sparkml_lifecycle.scoring.worker import ModelReference, model_of
from sparkml_lifecycle.storage import open_storage

FORMATS = ("delta", "parquet")


@dataclass(frozen=True)
class FilePlan:
    """What a worker does with each file.

    Attributes
    ----------
    model : ModelReference
    inputs : tuple of str
        The columns that the model takes.
    keep : tuple of str
        The source's columns that go into the target.
    source : pyarrow.Schema
        The source's columns that are needed, in Arrow's types.
    target : pyarrow.Schema
        The target's columns.
    place : str
        The target's path or URI.
    prediction : str
        The name of the column with the answers.
    constant : mapping
        The stamps.
    predict_fn : str or None
    params : mapping
    error : str or None
        The name of the column with the reasons why rows have no answer; None where an error of the model ends the job.
    max_errors : int
        How many such rows a task puts up with.
    partition_by : tuple of str
        The target's partition columns.
    format : str
    options : mapping
        How the source's files are read.
    report_to : Address or None
        Who wants to know how far a task is.
    """

    model: ModelReference
    inputs: tuple[str, ...]
    keep: tuple[str, ...]
    source: pa.Schema
    target: pa.Schema
    place: str
    prediction: str
    constant: Mapping[str, Any]
    predict_fn: str | None
    params: Mapping[str, Any]
    error: str | None = None
    max_errors: int = 0
    partition_by: tuple[str, ...] = ()
    format: str = "parquet"
    options: Mapping[str, str] = field(default_factory=dict)
    report_to: Address | None = None


def run(spark: Any, plan: FilePlan, parts: Sequence[Sequence[Piece]]) -> list[Written]:
    """Score the parts, a task each; gives what was written."""

    if not parts:
        return []

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from sparkml_lifecycle.scoring.direct import score_pieces
        from sparkml_lifecycle.scoring.output import to_batch

        for batch in batches:
            for number in batch.column(0).to_pylist():
                yield to_batch(score_pieces(plan, parts[number], number))

    return from_rows(spark.range(0, len(parts), 1, len(parts)).mapInArrow(work, "written string").collect())


def score_pieces(plan: FilePlan, pieces: Sequence[Piece], number: int) -> list[Written]:
    """Score the files of the task of this number; gives what was written."""
    model, failures = model_of(plan.model), Failures(plan.max_errors)
    with Meter(plan.report_to, number) as meter, output_of(plan) as output:
        for piece in pieces:
            for rows in formats.read(piece, plan.format, plan.options, plan.source):
                output.write(predicted(model, plan, rows, failures), rows.num_rows)
                meter.add(rows.num_rows)
            meter.done(piece.size)
    return by_model(output.written, model)


def by_model(written: Sequence[Written], model: PyFuncModel) -> list[Written]:
    """What a task has written, with what scored it and what its worker has that the model was not saved with."""
    differs, evaluator = model.differing_versions, str(model.evaluator)
    return [replace(one, differs=differs, evaluator=evaluator) for one in written]


def output_of(plan: FilePlan) -> Output | PartitionedOutput:
    """Where a task writes."""
    storage = open_storage(plan.place)
    if plan.partition_by:
        return PartitionedOutput(
            storage, plan.target, plan.constant, plan.partition_by, plan.error, answer=plan.prediction
        )
    return Output(storage, plan.target, plan.constant, plan.error, answer=plan.prediction)


def predicted(model: PyFuncModel, plan: FilePlan, rows: pa.Table, failures: Failures) -> dict[str, Any]:
    """The columns of the target that differ from row to row: what is kept, the answers and why there are none."""
    kind = plan.target.field(plan.prediction).type
    kept, given = {name: rows[name] for name in plan.keep}, rows.select(plan.inputs)
    if plan.error is None:
        answers = model.predict_as(given, kind, plan.params, predict_fn=plan.predict_fn)
        return {**kept, plan.prediction: answers}
    answers, reasons = failures.answer(model, given, kind, plan.params, plan.predict_fn)
    return {**kept, plan.prediction: answers, plan.error: reasons}
