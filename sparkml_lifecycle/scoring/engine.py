"""Which engine a job runs on: the fastest that its source, its target and its workers allow, and why not a faster one."""

import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

import pyarrow as pa

from sparkml_lifecycle.errors import InvalidInput, LifecycleError
from sparkml_lifecycle.scoring.commit import Target
from sparkml_lifecycle.scoring.conf import JobConf
from sparkml_lifecycle.scoring.layout import Layout
from sparkml_lifecycle.scoring.partitions import NULL
from sparkml_lifecycle.scoring.reading import Reading
from sparkml_lifecycle.scoring.ship import is_local
from sparkml_lifecycle.scoring.split import Piece
from sparkml_lifecycle.storage import Storage, open_storage

ENGINES = {
    "direct": "by workers that read and write the files",
    "dataframe": "by workers that write the files",
    "column": "as a Spark function of columns",
    "local": "by processes of this machine, without Spark",
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


class CannotDo(Exception):
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
    except CannotDo as why:
        if conf.engine != "auto":
            raise InvalidInput(f"engine: {conf.engine} cannot do this job: {why}. Use engine: auto.") from None
        return Choice("column", str(why))
    if conf.engine == "dataframe":
        return Choice("dataframe", "the conf asks for it", target)
    try:
        pieces, source, root, partitioned = _files(spark, conf, reading, layout)
    except CannotDo as why:
        if conf.engine == "direct":
            raise InvalidInput(f"engine: direct cannot do this job: {why}. Use engine: auto.") from None
        return Choice("dataframe", str(why), target)
    return Choice("direct", "", target, pieces, source, root, partitioned)


def _target(spark: Any, conf: JobConf, rows: Any, layout: Layout) -> Target:
    """The target, where workers can write it and delta-rs can commit to it."""
    odd = [field.name for field in rows.schema if field.name in layout.keep and not _is_plain(field.dataType)]
    if odd:
        raise CannotDo(f"delta-rs writes {', '.join(odd)} with another type than Spark")
    try:
        storage = open_storage(conf.target.path)
        if not storage.speaks_arrow:
            raise CannotDo(f"workers cannot write {storage.scheme}: by themselves")
        target = Target.open(storage)
        if not target.is_ours:
            raise CannotDo("Spark has made the target, and one engine commits to a table")
        if conf.mode == "overwrite" and target.handle and target.partition_by != tuple(conf.target.partition_by):
            raise CannotDo("delta-rs cannot change the partitions of a table")
    except LifecycleError as error:
        raise CannotDo(f"delta-rs cannot reach the target ({error})") from None
    if not is_local(spark) and not _workers_write(spark, conf.target.path):
        raise CannotDo("the workers cannot write the target by themselves")
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


def _files(
    spark: Any, conf: JobConf, reading: Reading, layout: Layout
) -> tuple[list[Piece], pa.Schema, Storage | None, bool]:
    """The files that the direct engine reads, their columns, the Delta table that they belong to, and whether it has partitions."""
    if conf.source.format not in ("delta", "parquet"):
        raise CannotDo(f"the source is {conf.source.format}")
    if conf.where:
        raise CannotDo("where: is Spark's to judge")
    if conf.source.options:
        raise CannotDo("the source has options of Spark's reader")
    try:
        if conf.source.format == "parquet":
            pieces, schema = _parquet(reading)
            return pieces, schema, None, False
        storage = open_storage(conf.source.path)
        if not storage.speaks_arrow:
            raise CannotDo(f"workers cannot read {storage.scheme}: by themselves")
        pieces, schema, handle = delta_files(
            storage, reading.state.now.version, spark.conf.get("spark.sql.session.timeZone")
        )
    except (OSError, LifecycleError) as error:
        raise CannotDo(f"the driver cannot read the source by itself ({type(error).__name__})") from None
    other = [name for name in (*layout.inputs, *layout.keep) if schema.get_field_index(name) < 0]
    if other:
        raise CannotDo(f"the source spells {', '.join(other)} differently")
    return pieces, schema, storage, bool(handle.metadata().partition_columns)


def delta_files(storage: Storage, version: int | None = None, zone: str = "UTC") -> tuple[list[Piece], pa.Schema, Any]:
    """The files of a Delta table that can be read without Spark, its columns, and delta-rs' handle of it."""
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    try:
        handle = DeltaTable(storage.delta_uri, version=version, storage_options=storage.delta_options())
        if handle.protocol().min_reader_version > 1:
            raise CannotDo(
                "the source uses features of Delta that files alone do not show (deletion vectors, renamed columns …)"
            )
        schema = pa.schema(handle.schema().to_arrow())
        return _pieces(storage, handle, schema, zone), schema, handle
    except DeltaError as error:
        raise CannotDo(f"delta-rs cannot read the source ({type(error).__name__})") from None


def _pieces(storage: Storage, handle: Any, schema: pa.Schema, zone: str) -> list[Piece]:
    """The files of a Delta table with the values of their partitions, as Spark would read them."""
    names = handle.metadata().partition_columns
    if names and any("" in partition.values() for partition in handle.partitions()):
        raise CannotDo("a partition of the source is the empty text, which delta-rs takes for null")
    if zone != "UTC" and any(pa.types.is_timestamp(schema.field(name).type) for name in names):
        raise CannotDo("the source has times for partitions, which Spark reads in the session's time zone")
    adds = pa.table(handle.get_add_actions(flatten=True))
    # the log spells a path as a URL does
    paths = [storage.child(unquote(path)).uri for path in adds["path"].to_pylist()]
    columns = [[None if one == NULL else one for one in adds[f"partition.{name}"].to_pylist()] for name in names]
    values = zip(*columns, strict=True) if names else [()] * len(paths)
    return [
        Piece(path, int(size), values=dict(zip(names, found, strict=True)))
        for path, size, found in zip(paths, adds["size_bytes"].to_pylist(), values, strict=True)
    ]


def _parquet(reading: Reading) -> tuple[list[Piece], pa.Schema]:
    from pyspark.sql.pandas.types import to_arrow_schema

    files = reading.state.now.files or {}
    if any("=" in place.rpartition("/")[0] for place in files):
        raise CannotDo("the source may have partitions")
    stores = [open_storage(place) for place in files]
    if not all(one.speaks_arrow for one in stores):
        raise CannotDo(f"workers cannot read {stores[0].scheme}: by themselves")
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
