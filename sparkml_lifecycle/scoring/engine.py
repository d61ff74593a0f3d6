"""Which engine a job runs on: the fastest that its source, its target and its workers allow, and why not a faster one."""

import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from sparkml_lifecycle.errors import InvalidInput, LifecycleError
from sparkml_lifecycle.scoring.commit import Target
from sparkml_lifecycle.scoring.conf import JobConf
from sparkml_lifecycle.scoring.layout import Layout
from sparkml_lifecycle.scoring.reading import Reading
from sparkml_lifecycle.scoring.ship import is_local
from sparkml_lifecycle.scoring.split import Piece
from sparkml_lifecycle.storage import Storage, open_storage

ENGINES = {
    "direct": "by workers that read and write the files",
    "dataframe": "by workers that write the files",
    "column": "as a Spark function of columns",
}


@dataclass(frozen=True)
class Choice:
    """An engine and what it needs.

    Attributes
    ----------
    engine : {"direct", "dataframe", "column"}
    why : str
        Why not a faster one; empty for the fastest.
    target : Target or None
        Where delta-rs commits; None for the column engine.
    pieces : list of Piece
        What the direct engine reads.
    source : pyarrow.Schema or None
        The columns of those files.
    root : Storage or None
        The Delta table that they belong to.
    is_partitioned : bool
        Whether some columns are in the names of their directories.
    """

    engine: str
    why: str = ""
    target: Target | None = None
    pieces: Sequence[Piece] = ()
    source: pa.Schema | None = None
    root: Storage | None = None
    is_partitioned: bool = False


class _Not(Exception):
    """Why an engine cannot be used."""


def choose(spark: Any, conf: JobConf, reading: Reading, layout: Layout) -> Choice:
    """The engine of a job, as ``engine:`` of the conf asks for it.

    Raises
    ------
    InvalidInput
        If the conf asks for one that cannot do this job.
    """
    if conf.engine == "column":
        return Choice("column", "the conf asks for it")
    try:
        target = _target(spark, conf, reading.rows, layout)
    except _Not as why:
        if conf.engine != "auto":
            raise InvalidInput(f"engine: {conf.engine} cannot do this job: {why}. Use engine: auto.") from None
        return Choice("column", str(why))
    if conf.engine == "dataframe":
        return Choice("dataframe", "the conf asks for it", target)
    try:
        pieces, source, root = _files(conf, reading, layout)
    except _Not as why:
        if conf.engine == "direct":
            raise InvalidInput(f"engine: direct cannot do this job: {why}. Use engine: auto.") from None
        return Choice("dataframe", str(why), target)
    return Choice("direct", "", target, pieces, source, root)


def _target(spark: Any, conf: JobConf, rows: Any, layout: Layout) -> Target:
    """The target, where workers can write it and delta-rs can commit to it."""
    if conf.target.partition_by:
        raise _Not("the target has partitions")
    odd = [field.name for field in rows.schema if field.name in layout.keep and not _is_plain(field.dataType)]
    if odd:
        raise _Not(f"delta-rs writes {', '.join(odd)} with another type than Spark")
    try:
        storage = open_storage(conf.target.path)
        if not storage.speaks_arrow:
            raise _Not(f"workers cannot write {storage.scheme}: by themselves")
        target = Target.open(storage)
        if not target.is_ours:
            raise _Not("Spark has made the target, and one engine commits to a table")
        if target.handle is not None and target.handle.metadata().partition_columns:
            raise _Not("the target has partitions")
    except LifecycleError as error:
        raise _Not(f"delta-rs cannot reach the target ({error})") from None
    if not is_local(spark) and not _workers_write(spark, conf.target.path):
        raise _Not("the workers cannot write the target by themselves")
    return target


def _is_plain(kind: Any) -> bool:
    from pyspark.sql import types as T

    if isinstance(kind, T.ArrayType):
        return _is_plain(kind.elementType)
    if isinstance(kind, T.StructType):
        return all(_is_plain(one.dataType) for one in kind)
    plain = (
        T.StringType, T.BinaryType, T.BooleanType, T.ByteType, T.ShortType, T.IntegerType, T.LongType, T.FloatType,
        T.DoubleType, T.DecimalType, T.DateType, T.TimestampType,
    )  # fmt: skip
    return isinstance(kind, plain)


def _files(conf: JobConf, reading: Reading, layout: Layout) -> tuple[list[Piece], pa.Schema, Storage | None]:
    """The files that the direct engine reads, their columns, and the Delta table that they belong to."""
    if conf.source.format not in ("delta", "parquet"):
        raise _Not(f"the source is {conf.source.format}")
    if conf.where:
        raise _Not("where: is Spark's to judge")
    if conf.source.options:
        raise _Not("the source has options of Spark's reader")
    try:
        if conf.source.format == "parquet":
            pieces, schema = _parquet(reading)
            return pieces, schema, None
        storage = open_storage(conf.source.path)
        if not storage.speaks_arrow:
            raise _Not(f"workers cannot read {storage.scheme}: by themselves")
        pieces, schema = _delta(storage, reading.state.now.version)
    except (OSError, LifecycleError) as error:
        raise _Not(f"the driver cannot read the source by itself ({type(error).__name__})") from None
    other = [name for name in (*layout.inputs, *layout.keep) if schema.get_field_index(name) < 0]
    if other:
        raise _Not(f"the source spells {', '.join(other)} differently")
    return pieces, schema, storage


def _delta(storage: Storage, version: int | None) -> tuple[list[Piece], pa.Schema]:
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    try:
        handle = DeltaTable(storage.delta_uri, version=version, storage_options=storage.delta_options())
        if handle.protocol().min_reader_version > 1:
            raise _Not(
                "the source uses features of Delta that files alone do not show (deletion vectors, renamed columns …)"
            )
        if handle.metadata().partition_columns:
            raise _Not("the source has partitions")
        schema = pa.schema(handle.schema().to_arrow())
        adds = pa.table(handle.get_add_actions(flatten=True)).select(["path", "size_bytes"]).to_pylist()
    except DeltaError as error:
        raise _Not(f"delta-rs cannot read the source ({type(error).__name__})") from None
    return [Piece(storage.child(add["path"]).uri, int(add["size_bytes"])) for add in adds], schema


def _parquet(reading: Reading) -> tuple[list[Piece], pa.Schema]:
    from pyspark.sql.pandas.types import to_arrow_schema

    files = reading.state.now.files or {}
    if any("=" in place.rpartition("/")[0] for place in files):
        raise _Not("the source may have partitions")
    stores = [open_storage(place) for place in files]
    if not all(one.speaks_arrow for one in stores):
        raise _Not(f"workers cannot read {stores[0].scheme}: by themselves")
    pieces = [Piece(one.uri, size) for one, (size, _) in zip(stores, files.values(), strict=True)]
    return pieces, to_arrow_schema(reading.rows.schema, timezone="UTC")


def _workers_write(spark: Any, place: str) -> bool:
    """Whether a file that a worker writes beside the target's is there for the driver."""
    name = f"_sparkml/probe-{uuid.uuid4().hex}"

    def work(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from sparkml_lifecycle.storage import open_storage

        for batch in batches:
            open_storage(place).write_bytes(name, b"probe")
            yield batch

    storage = open_storage(place)
    try:
        spark.range(0, 1, 1, 1).mapInArrow(work, "id long").collect()
        return storage.stat(name) is not None
    except Exception:  # whatever keeps a worker from it, another engine does the job
        return False
    finally:
        with suppress(LifecycleError):
            storage.delete(name)
