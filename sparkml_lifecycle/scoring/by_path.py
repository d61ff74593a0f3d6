"""The direct engine: a source and a target by path, which driver and workers reach by themselves, so that Spark only runs the tasks.

A job without Spark is the same with processes of this machine in the place of tasks.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import unquote

import pyarrow as pa

from sparkml_lifecycle import uris
from sparkml_lifecycle.errors import InvalidInput, JobStopped, LifecycleError, NotFound, reason
from sparkml_lifecycle.loaded import PyFuncModel
from sparkml_lifecycle.scoring import files, formats, log, partitions
from sparkml_lifecycle.scoring.attempt import Attempt, ByFiles, Done
from sparkml_lifecycle.scoring.commit import Target
from sparkml_lifecycle.scoring.conf import BY_FILE, JobConf
from sparkml_lifecycle.scoring.direct import FilePlan
from sparkml_lifecycle.scoring.layout import layout_of
from sparkml_lifecycle.scoring.memory import Read
from sparkml_lifecycle.scoring.output import Written, is_output
from sparkml_lifecycle.scoring.reading import delta_gained, file_keys, files_gained, options_of
from sparkml_lifecycle.scoring.rules import REDO, Decision, SourceState
from sparkml_lifecycle.scoring.source import check_schema
from sparkml_lifecycle.scoring.split import Piece
from sparkml_lifecycle.scoring.worker import ModelReference
from sparkml_lifecycle.storage import Storage, open_storage


class CannotDo(Exception):
    """Why an engine cannot be used."""


@dataclass(frozen=True)
class Source:
    """A source as its files.

    Attributes
    ----------
    state : SourceState
    schema : pyarrow.Schema
    pieces : sequence of Piece
        Whole files.
    root : Storage or None
        The Delta table that they belong to.
    is_partitioned : bool
        Whether some columns are in the names of their directories.
    keys : mapping
        Files of a source without versions by the names under which jobs remember them.
    """

    state: SourceState
    schema: pa.Schema
    pieces: Sequence[Piece]
    root: Storage | None = None
    is_partitioned: bool = False
    keys: Mapping[str, Piece] = field(default_factory=dict)


@dataclass(frozen=True)
class Runner:
    """Who scores the files.

    Attributes
    ----------
    engine : str
    run : callable
        Scores files by a plan.
    result : callable
        The answers' Arrow type.
    reference : callable
        Brings the model to the workers.
    zone : str
        The session's time zone.
    """

    engine: str
    run: Callable[[FilePlan, Sequence[Piece]], list[Written]]
    result: Callable[[], pa.DataType]
    reference: Callable[[], ModelReference]
    zone: str = "UTC"


def score(conf: JobConf, model: PyFuncModel, runner: Runner, readable: Sequence[str], run_id: str) -> Done:
    """Run a job whose source has one of ``readable``.

    Raises
    ------
    CannotDo
        If only Spark can do it.
    """
    check(conf, readable)
    source = open_source(conf, runner.zone)
    target = open_target(conf)
    _check_types(source.schema, conf)
    check_schema(source.schema, model)
    layout = layout_of(source.schema.names, model, conf, runner.result())
    kinds = {**{one.name: _kind(one.type) for one in source.schema}, layout.prediction: _kind(layout.result)}
    partitions.check(conf.target.partition_by, kinds, layout)

    def work(decision: Decision) -> files.Files:
        plan = files.plan_of(source.schema, layout.result, layout, target, runner.reference(), conf)
        form = "parquet" if conf.source.format == "delta" else conf.source.format
        plan = replace(plan, format=form, options=conf.source.options)
        if decision.scores == "nothing":
            return files.made(plan, ())
        return files.made(plan, runner.run(plan, _pieces_of(source, decision)))

    way = ByFiles(conf, runner.engine, "", work, target)
    return Attempt(conf, model.digest, source.state, way, run_id).until_done(target)


def check(conf: JobConf, readable: Sequence[str]) -> None:
    """Raise :class:`CannotDo` where the conf alone says that only Spark can do the job."""
    if conf.source.format not in readable:
        raise CannotDo(f"the source is {conf.source.format}")
    if conf.where:
        raise CannotDo("where: is Spark's to judge")
    if conf.source.options and conf.source.format != "csv":
        raise CannotDo("the source has options of Spark's reader")


# -- the target ----------------------------------------------------------------------------------------------------------------


def open_target(conf: JobConf) -> Target:
    """The target, where delta-rs can commit to it.

    Raises
    ------
    CannotDo
        If it cannot.
    InvalidInput
        If it is a file, or a directory of something else than a Delta table.
    """
    try:
        storage = open_storage(conf.target.path)
        if not storage.speaks_arrow:
            raise CannotDo(f"workers cannot write {storage.scheme}: by themselves")
        if not storage.exists("_delta_log"):
            _check_empty(storage, conf.target.path)
        target = Target.open(storage)
        if not target.is_ours:
            raise CannotDo("Spark has made the target, and one engine commits to a table")
        if target.rules:
            raise CannotDo(f"the target has rules that delta-rs does not keep: {target.rules}")
        if conf.mode == "overwrite" and target.handle and target.partition_by != tuple(conf.target.partition_by):
            raise CannotDo("delta-rs cannot change the partitions of a table")
    except InvalidInput:
        raise
    except LifecycleError as error:
        raise CannotDo(f"delta-rs cannot reach the target ({error})") from None
    return target


def _check_empty(storage: Storage, shown: str) -> None:
    there = storage.stat()
    if there is not None and not there.is_dir:
        raise InvalidInput(f"The target {shown!r} is a file; a job writes a directory, a Delta table.")
    for one in storage.list(recursive=True) if there is not None else ():
        # what workers of a killed job have left is nobody's
        first, name = one.path.partition("/")[0], one.path.rpartition("/")[2]
        if first != "_sparkml" and not (is_output(name) or (one.is_dir and "=" in name)):
            raise InvalidInput(
                f"The target {shown!r} holds files and is no Delta table; a job would mix its own with them. Choose an empty place."
            )


# -- the source ----------------------------------------------------------------------------------------------------------------


def open_source(conf: JobConf, zone: str = "UTC") -> Source:
    """The files of a source.

    Raises
    ------
    CannotDo
        If files alone do not show its rows, or it cannot be reached without Spark.
    NotFound
        If nothing is there.
    """
    try:
        storage = open_storage(conf.source.path)
        if not storage.speaks_arrow:
            raise CannotDo(f"workers cannot read {storage.scheme}: by themselves")
        return _delta(conf, storage, zone) if conf.source.format == "delta" else _files(conf, storage)
    except (NotFound, InvalidInput):
        raise
    except (OSError, pa.ArrowException, LifecycleError) as error:
        raise CannotDo(f"the source {conf.source.path!r} cannot be read without Spark ({reason(error)})") from None


def _delta(conf: JobConf, storage: Storage, zone: str) -> Source:
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError, TableNotFoundError

    try:
        handle = DeltaTable(storage.delta_uri, storage_options=storage.delta_options())
        if handle.protocol().min_reader_version > 1:
            raise CannotDo(
                "the source uses features of Delta that files alone do not show (deletion vectors, renamed columns …)"
            )
        schema = pa.schema(handle.schema().to_arrow())
        pieces = pieces_of_table(storage, handle, schema, zone)
    except TableNotFoundError:
        there = storage.stat()
        what = (
            f"there is no Delta table. Name what it is with format:, one of {', '.join(BY_FILE)}"
            if there
            else "nothing is there"
        )
        raise NotFound(f"The source {conf.source.path!r} (delta) cannot be read: {what}.") from None
    except DeltaError as error:
        if (there := storage.stat()) is not None and not there.is_dir:
            raise NotFound(
                f"The source {conf.source.path!r} is a file and no Delta table. Name what it is with format:, one of {', '.join(BY_FILE)}."
            ) from None
        raise CannotDo(f"delta-rs cannot read the source ({type(error).__name__})") from None

    version = handle.version()
    state = SourceState(
        f"delta:{handle.metadata().id}", conf.source.path, Read(version, options=options_of(conf)),
        lambda read: delta_gained(log.reader(storage), read, version),
    )  # fmt: skip
    return Source(state, schema, pieces, storage, bool(handle.metadata().partition_columns))


def pieces_of_table(storage: Storage, handle: Any, schema: pa.Schema, zone: str) -> list[Piece]:
    """The files of a Delta table with the values of their partitions, as Spark would read them."""
    names = handle.metadata().partition_columns
    if names and any("" in partition.values() for partition in handle.partitions()):
        raise CannotDo("a partition of the source is the empty text, which delta-rs takes for null")
    if zone != "UTC" and any(pa.types.is_timestamp(schema.field(name).type) for name in names):
        raise CannotDo("the source has times for partitions, which Spark reads in the session's time zone")
    adds = pa.table(handle.get_add_actions(flatten=True))
    # the log spells a path as a URL does
    names_of_files = [unquote(path) for path in adds["path"].to_pylist()]
    if any(name.startswith("/") or "://" in name or name.startswith("file:") for name in names_of_files):
        raise CannotDo("files of the source lie elsewhere, as those of a shallow clone do")
    paths = [storage.child(name).uri for name in names_of_files]
    columns = [
        [None if one == partitions.NULL else one for one in adds[f"partition.{name}"].to_pylist()] for name in names
    ]
    values = zip(*columns, strict=True) if names else [()] * len(paths)
    return [
        Piece(path, int(size), values=dict(zip(names, found, strict=True)))
        for path, size, found in zip(paths, adds["size_bytes"].to_pylist(), values, strict=True)
    ]


def _files(conf: JobConf, storage: Storage) -> Source:
    shown = conf.source.path
    if storage.exists("_delta_log"):
        raise InvalidInput(
            f"The source {shown!r} is a Delta table, and source.format is {conf.source.format!r}: that would read the rows of files that were "
            "removed too. Use format: delta."
        )
    there = storage.stat()
    if there is None and any(one in shown for one in "*?[{"):
        raise CannotDo("the source is a pattern")
    if there is None:
        raise NotFound(f"There is no source at {shown!r}.")
    found = [there] if not there.is_dir else [one for one in storage.list(recursive=True) if not one.is_dir]
    visible = [one for one in found if not any(map(_is_hidden, one.path.split("/")))]
    if not visible:
        raise NotFound(f"There are no files at {shown!r}.")
    if any("=" in one.path.rpartition("/")[0] for one in visible):
        raise CannotDo("the source may have partitions")
    place = {one.path: (storage.child(one.path).uri if one.path else storage.uri) for one in visible}
    keys = list(file_keys([place[one.path] for one in visible]))
    now = {key: [one.size or 0, one.modified_ns // 1_000_000] for key, one in zip(keys, visible, strict=True)}
    pieces = [Piece(place[one.path], one.size or 0) for one in visible]
    schema = _as_spark_reads(formats.schema_of(pieces, conf.source.format, conf.source.options))
    read = Read(files=now, options=options_of(conf))
    state = SourceState(uris.real(shown), shown, read, lambda before: files_gained(now, before))
    return Source(state, schema, pieces, keys=dict(zip(keys, pieces, strict=True)))


def _is_hidden(part: str) -> bool:
    """Whether Spark passes over a file or directory of this name."""
    return part.startswith(".") or (part.startswith("_") and "=" not in part) or part.endswith("._COPYING_")


def _pieces_of(source: Source, decision: Decision) -> Sequence[Piece]:
    """What the decision scores.

    Raises
    ------
    CannotDo
        If a file that the source gained was compacted since, and its partition is not known any more.
    """
    if decision.gained is None:
        return source.pieces
    if decision.gained.files:
        return [source.keys[path] for path in decision.gained.files]
    known = {piece.path: piece for piece in source.pieces}
    assert source.root is not None
    pieces = []
    for path, size in decision.gained.sizes():
        place = source.root.child(path).uri
        if place not in known and source.is_partitioned:
            raise CannotDo("files that the source gained were compacted since")
        if place not in known and source.root.stat(path) is None:
            raise JobStopped(
                f"What the source {source.state.shown!r} has gained was compacted, and a vacuum has removed the file {path!r} since. "
                f"Choose: {REDO}; accept: true does not bring it back."
            )
        # a compaction has put its rows elsewhere since, and it is still there
        pieces.append(known.get(place) or Piece(place, size))
    return pieces


# -- types ---------------------------------------------------------------------------------------------------------------------


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
    """Refuse columns that delta-rs writes in another type than Spark."""
    kept = schema.names if conf.keep is None else conf.keep
    odd = [name for name in kept if name in schema.names and not _is_plain(schema.field(name).type)]
    if odd:
        raise CannotDo(f"delta-rs writes {', '.join(odd)} with another type than Spark")


def _is_plain(kind: pa.DataType) -> bool:
    if pa.types.is_list(kind):
        return _is_plain(kind.value_type)
    if pa.types.is_struct(kind):
        return all(_is_plain(one.type) for one in kind)
    if pa.types.is_timestamp(kind):
        return kind.tz is not None
    return bool(
        pa.types.is_string(kind) or pa.types.is_binary(kind) or pa.types.is_boolean(kind) or pa.types.is_signed_integer(kind)
        or pa.types.is_float32(kind) or pa.types.is_float64(kind) or pa.types.is_decimal128(kind) or pa.types.is_date32(kind)
    )  # fmt: skip


def _kind(kind: pa.DataType) -> str:
    """Spark's name for a type, as far as partitions ask for it."""
    if pa.types.is_list(kind):
        return "array"
    return "struct" if pa.types.is_nested(kind) else "binary" if pa.types.is_binary(kind) else str(kind)
