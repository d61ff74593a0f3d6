"""The direct engine: workers read the source's files, score them and write files of the target; no row crosses the JVM."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from sparkml_lifecycle.errors import InvalidInput
from sparkml_lifecycle.loaded import PyFuncModel
from sparkml_lifecycle.scoring.failures import Failures
from sparkml_lifecycle.scoring.output import Output, Written, from_rows
from sparkml_lifecycle.scoring.partitions import PartitionedOutput
from sparkml_lifecycle.scoring.progress import Address, Meter
from sparkml_lifecycle.scoring.split import Piece
from sparkml_lifecycle.scoring.worker import ModelReference, model_of
from sparkml_lifecycle.storage import open_storage

FORMATS = ("delta", "parquet")
_BATCH = 131_072
# what the names of a CSV file's columns may take
_LINE = 2**20


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
            for rows in _read(plan, piece):
                output.write(predicted(model, plan, rows, failures), rows.num_rows)
                meter.add(rows.num_rows)
            meter.done(piece.size)
    return by_model(output.written, model)


def by_model(written: Sequence[Written], model: PyFuncModel) -> list[Written]:
    """What a task has written, with what its worker has that the model was not saved with."""
    differs = model.differing_versions
    return [replace(one, differs=differs) for one in written] if differs else list(written)


def output_of(plan: FilePlan) -> Output | PartitionedOutput:
    """Where a task writes."""
    storage = open_storage(plan.place)
    if plan.partition_by:
        return PartitionedOutput(storage, plan.target, plan.constant, plan.partition_by, plan.error)
    return Output(storage, plan.target, plan.constant, plan.error)


def predicted(model: PyFuncModel, plan: FilePlan, rows: pa.Table, failures: Failures) -> dict[str, Any]:
    """The columns of the target that differ from row to row: what is kept, the answers and why there are none."""
    kind = plan.target.field(plan.prediction).type
    kept, given = {name: rows[name] for name in plan.keep}, rows.select(plan.inputs)
    if plan.error is None:
        answers = model.predict_as(given, kind, plan.params, predict_fn=plan.predict_fn)
        return {**kept, plan.prediction: answers}
    answers, reasons = failures.answer(model, given, kind, plan.params, plan.predict_fn)
    return {**kept, plan.prediction: answers, plan.error: reasons}


def _read(plan: FilePlan, piece: Piece) -> Iterator[pa.Table]:
    if plan.format != "parquet":
        # each file is read by the types of the first
        dataset = _dataset(piece, plan.format, plan.options, plan.source)
        for batch in dataset.to_batches(columns=plan.source.names, batch_size=_BATCH, use_threads=False):
            yield conformed(batch, plan.source, piece.values)
        return
    filesystem, place = open_storage(piece.path).arrow()
    with filesystem.open_input_file(place) as opened:
        file = pq.ParquetFile(opened, coerce_int96_timestamp_unit="us", pre_buffer=False)
        there = set(file.schema_arrow.names) - set(piece.values)
        columns = [name for name in plan.source.names if name in there]
        groups = range(*piece.groups) if piece.groups else range(file.metadata.num_row_groups)
        for batch in file.iter_batches(_BATCH, row_groups=list(groups), columns=columns, use_threads=False):
            yield conformed(batch, plan.source, piece.values)


def conformed(batch: pa.RecordBatch, wanted: pa.Schema, values: Mapping[str, Any] | None = None) -> pa.Table:
    """A batch with the columns and types that are wanted; what it has not is the same in all rows: its value, or null."""
    constant = {one.name: pa.scalar((values or {}).get(one.name), one.type) for one in wanted}
    arrays = [
        batch.column(one.name).cast(one.type)
        if one.name in batch.schema.names
        else pa.repeat(constant[one.name], batch.num_rows)
        for one in wanted
    ]
    return pa.table(arrays, names=wanted.names)


def schema_of(piece: Piece, form: str, options: Mapping[str, str]) -> pa.Schema:
    """The columns of a file of any format, as Spark would read it.

    Raises
    ------
    InvalidInput
        If an option of Spark's reader is not known here.
    """
    found = _dataset(piece, form, options, None).schema
    if form != "parquet":
        return found
    filesystem, place = open_storage(piece.path).arrow()
    with filesystem.open_input_file(place) as opened:
        columns = pq.ParquetFile(opened).metadata.schema
    # Spark's old times have no zone in the file and are UTC all the same
    old = {columns.column(i).path for i in range(len(columns)) if columns.column(i).physical_type == "INT96"}
    utc = pa.timestamp("us", "UTC")
    return pa.schema([pa.field(one.name, utc) if one.name in old else one for one in found])


def _dataset(piece: Piece, form: str, options: Mapping[str, str], schema: pa.Schema | None) -> Any:
    from pyarrow import dataset

    filesystem, place = open_storage(piece.path).arrow()
    if form != "csv":
        return dataset.dataset(place, format=form, filesystem=filesystem, schema=schema)
    given = {name.lower(): value for name, value in options.items()}
    unknown = sorted(given.keys() - {"header", "sep", "delimiter", "inferschema"})
    if unknown:
        raise InvalidInput(
            f"The option {', '.join(unknown)} of Spark's CSV reader needs Spark. Without it: header, sep, inferSchema."
        )
    separator = given.get("sep", given.get("delimiter", ","))
    named = given.get("header", "false").lower() == "true"
    with filesystem.open_input_stream(place) as stream:
        first = stream.read(_LINE).partition(b"\n")[0].decode("utf-8", "replace").rstrip("\r")
    names = [name.strip('"') for name in first.split(separator)]
    names = names if named else [f"_c{number}" for number in range(len(names))]
    texts = {} if given.get("inferschema", "false").lower() == "true" else dict.fromkeys(names, pa.string())
    form = dataset.CsvFileFormat(
        parse_options=csv.ParseOptions(delimiter=separator, newlines_in_values=False),
        read_options=csv.ReadOptions(column_names=names, skip_rows=int(named)),
        convert_options=csv.ConvertOptions(
            column_types=texts, strings_can_be_null=True, null_values=[""], quoted_strings_can_be_null=False
        ),
    )
    return dataset.dataset(place, format=form, filesystem=filesystem, schema=schema)
