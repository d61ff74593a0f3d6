"""A job with no Spark at all: the direct engine's own code, in processes of this machine."""

import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from sparkml_lifecycle import uris
from sparkml_lifecycle.errors import InvalidInput, NotFound
from sparkml_lifecycle.loaded import PyFuncModel
from sparkml_lifecycle.model.signature import Column, Signature, Tensor
from sparkml_lifecycle.scoring import direct, engine, files, log, split
from sparkml_lifecycle.scoring.attempt import Attempt, ByFiles, Done
from sparkml_lifecycle.scoring.commit import Target
from sparkml_lifecycle.scoring.conf import JobConf
from sparkml_lifecycle.scoring.direct import FilePlan
from sparkml_lifecycle.scoring.layout import layout_of
from sparkml_lifecycle.scoring.memory import Read
from sparkml_lifecycle.scoring.output import Written, is_output
from sparkml_lifecycle.scoring.reading import delta_gained, files_gained, options_of
from sparkml_lifecycle.scoring.rules import Decision, SourceState
from sparkml_lifecycle.scoring.source import check_schema
from sparkml_lifecycle.scoring.split import Piece
from sparkml_lifecycle.scoring.worker import ModelReference, be_a_worker
from sparkml_lifecycle.settings import Settings
from sparkml_lifecycle.storage import Storage, open_storage

_TYPES = {
    "double": pa.float64(), "float": pa.float32(), "int": pa.int32(), "bigint": pa.int64(), "long": pa.int64(),
    "string": pa.string(), "boolean": pa.bool_(), "array<double>": pa.list_(pa.float64()), "array<float>": pa.list_(pa.float32()),
}  # fmt: skip


@dataclass(frozen=True)
class _Source:
    state: SourceState
    schema: pa.Schema
    pieces: Sequence[Piece]
    root: Storage | None = None
    is_partitioned: bool = False


def written(conf: JobConf, model: PyFuncModel, reference: ModelReference, run_id: str) -> Done:
    """Run a job in processes of this machine.

    Raises
    ------
    InvalidInput
        If the job needs Spark: for ``where``, a table of the catalog, SQL, or features of Delta that files alone do not show.
    """
    _check(conf)
    target = _target(conf)
    source = _open(conf)
    check_schema(source.schema, model)
    _check_types(source.schema, conf)
    layout = layout_of(source.schema.names, model, conf, output_type(model, conf.result_type, conf.predict_fn))
    choice = engine.Choice("direct", "", target, source.pieces, source.schema, source.root, source.is_partitioned)

    def score(decision: Decision) -> files.Files:
        plan = files.plan_of(source.schema, layout.result, layout, target, reference, conf)
        plan = replace(
            plan, format="parquet" if conf.source.format == "delta" else conf.source.format, options=conf.source.options
        )
        if decision.scores == "nothing":
            return files.made(plan, (), "local")
        pieces = choice.pieces if decision.gained is None else files.pieces_of(choice, decision.gained)
        if pieces is None:
            raise InvalidInput("Files that the source gained were compacted since; run this job with Spark once.")
        return files.made(plan, run(plan, pieces), "local")

    return Attempt(conf, model.digest, source.state, ByFiles(conf, "local", "", score, target), run_id).until_done(
        target
    )


def run(plan: FilePlan, pieces: Sequence[Piece]) -> list[Written]:
    """Score files in as many processes as there are cores; little work is done in this one."""
    cores = os.cpu_count() or 1
    groups = files.groups_of if plan.format == "parquet" else _one_group
    parts = split.cut(pieces, split.task_count(sum(piece.size for piece in pieces), cores), groups)
    if len(parts) < 2:
        return [one for part in parts for one in direct.score_pieces(plan, part)]
    # a forked process would share this one's threads and locks
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(cores, len(parts)), context, be_a_worker, (1,)) as pool:
        return [one for done in pool.map(direct.score_pieces, [plan] * len(parts), parts) for one in done]


def _one_group(piece: Piece) -> list[int]:
    return [piece.size]


def reference_of(model: PyFuncModel, directory: Any, consent: bool) -> ModelReference:
    """Where processes of this machine find the model."""
    return ModelReference(model.digest, str(directory), False, consent, Settings.load().model_cache_size)


def output_type(model: PyFuncModel, result_type: str | None, predict_fn: str | None) -> pa.DataType:
    """The Arrow type of the answers, as :func:`sparkml_lifecycle.scoring.column.output_type` has Spark's.

    Raises
    ------
    InvalidInput
        If ``result_type`` is none of those that are known without Spark.
    """
    if result_type is not None:
        if result_type.replace(" ", "").lower() not in _TYPES:
            raise InvalidInput(f"result_type {result_type!r} needs Spark. Without it: {', '.join(_TYPES)}.")
        return _TYPES[result_type.replace(" ", "").lower()]
    if predict_fn not in (None, model.default_method):
        return pa.list_(pa.float64()) if "proba" in str(predict_fn) else pa.float64()
    outputs = (model.signature or Signature()).outputs
    if not outputs:
        return pa.float64()
    if isinstance(outputs[0], Tensor):
        value = pa.from_numpy_dtype(outputs[0].dtype)
        return pa.list_(value) if len(outputs[0].shape) > 1 else value
    columns = [one for one in outputs if isinstance(one, Column)]
    if len(columns) == 1:
        return columns[0].type
    return pa.struct([(str(one.name if one.name is not None else i), one.type) for i, one in enumerate(columns)])


# -- source and target ---------------------------------------------------------------------------------------------------------


def _check(conf: JobConf) -> None:
    needs = [
        *(["where:"] if conf.where else []),
        *([f"source.format: {conf.source.format}"] if conf.source.format in ("table", "sql") else []),
        *(["source.options"] if conf.source.options and conf.source.format != "csv" else []),
    ]
    if needs or conf.engine not in ("auto", "direct"):
        raise InvalidInput(f"{', '.join(needs) or f'engine: {conf.engine}'} needs Spark: run the job without --local.")


def _target(conf: JobConf) -> Target:
    storage = open_storage(conf.target.path)
    there = storage.stat()
    if there is not None and not there.is_dir:
        raise InvalidInput(f"The target {conf.target.path!r} is a file; a job writes a directory, a Delta table.")
    target = Target.open(storage)
    if target.handle is None and any(not is_output(one.path) and one.path != "_sparkml" for one in storage.list()):
        raise InvalidInput(
            f"The target {conf.target.path!r} holds files and is no Delta table; a job would mix its own with them. Choose an empty place."
        )
    if not target.is_ours:
        raise InvalidInput(
            f"Spark has made the target {conf.target.path!r}, and one engine commits to a table: run the job without --local."
        )
    return target


def _open(conf: JobConf) -> _Source:
    storage = open_storage(conf.source.path)
    if conf.source.format == "delta":
        return _delta(conf, storage)
    if storage.exists("_delta_log"):
        raise InvalidInput(
            f"The source {conf.source.path!r} is a Delta table, and source.format is {conf.source.format!r}. Use format: delta."
        )
    there = storage.stat()
    if there is None:
        raise NotFound(f"There is no source at {conf.source.path!r}.")
    found = [there] if not there.is_dir else [one for one in storage.list(recursive=True) if not one.is_dir]
    visible = [one for one in found if not any(part.startswith(("_", ".")) for part in one.path.split("/") if part)]
    if not visible:
        raise NotFound(f"There are no files at {conf.source.path!r}.")
    if any("=" in one.path.rpartition("/")[0] for one in visible):
        raise InvalidInput(f"The source {conf.source.path!r} may have partitions: run the job without --local.")
    place = {one.path: (storage.child(one.path).uri if one.path else storage.uri) for one in visible}
    now = {place[one.path]: [one.size or 0, int(one.modified * 1000)] for one in visible}
    pieces = [Piece(place[one.path], one.size or 0) for one in visible]
    schema = _as_spark_reads(direct.schema_of(pieces[0], conf.source.format, conf.source.options))
    read = Read(files=now, options=options_of(conf))
    state = SourceState(uris.real(conf.source.path), conf.source.path, read, lambda before: files_gained(now, before))
    return _Source(state, schema, pieces)


def _as_spark_reads(schema: pa.Schema) -> pa.Schema:
    """Columns of files in the types that Spark has for them."""
    return pa.schema([pa.field(one.name, _spark_type(one.type)) for one in schema])


def _spark_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_large_string(kind):
        return pa.string()
    if pa.types.is_large_binary(kind):
        return pa.binary()
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        return pa.timestamp("us", "UTC")
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(_spark_type(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([(one.name, _spark_type(one.type)) for one in kind])
    return kind


def _check_types(schema: pa.Schema, conf: JobConf) -> None:
    """Refuse columns that Delta has in other types than the files."""
    kept = [schema.field(name) for name in (conf.keep or schema.names) if schema.get_field_index(name) >= 0]
    odd = [
        f"{one.name} ({one.type})"
        for one in kept
        if pa.types.is_unsigned_integer(one.type)
        or pa.types.is_time(one.type)
        or pa.types.is_duration(one.type)
        or (pa.types.is_timestamp(one.type) and one.type.tz is None)
    ]
    if odd:
        raise InvalidInput(
            f"Delta has no such type as that of {', '.join(odd)}: leave them out of keep:, or run the job without --local."
        )


def _delta(conf: JobConf, storage: Storage) -> _Source:
    try:
        pieces, schema, handle = engine.delta_files(storage)
    except engine.CannotDo as why:
        raise InvalidInput(f"{why}: run the job without --local.") from None
    version = handle.version()
    state = SourceState(
        f"delta:{handle.metadata().id}", conf.source.path, Read(version, options=options_of(conf)),
        lambda read: delta_gained(log.reader(storage), read, version),
    )  # fmt: skip
    return _Source(state, schema, pieces, storage, bool(handle.metadata().partition_columns))
