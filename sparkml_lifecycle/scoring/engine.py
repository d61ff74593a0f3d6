"""Which engine a job runs on that reads through Spark, and why not a faster one."""

import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from sparkml_lifecycle.errors import InvalidInput, LifecycleError
from sparkml_lifecycle.scoring import hadoop
from sparkml_lifecycle.scoring.by_path import CannotDo, open_target
from sparkml_lifecycle.scoring.commit import Target
from sparkml_lifecycle.scoring.conf import JobConf
from sparkml_lifecycle.scoring.layout import Layout
from sparkml_lifecycle.scoring.ship import is_local
from sparkml_lifecycle.storage import open_storage

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
    engine : {"dataframe", "column"}
    why : str
        Why not a faster one.
    target : Target or None
        Where delta-rs commits; None for the column engine.
    """

    engine: str
    why: str
    target: Target | None = None


def choose(spark: Any, conf: JobConf, rows: Any, layout: Layout, why: str) -> Choice:
    """The engine of a job that reads through Spark, as ``engine:`` of the conf asks for it; ``why`` it does.

    Raises
    ------
    InvalidInput
        If the conf asks for one that cannot do this job.
    """
    if conf.engine == "column":
        return Choice("column", "the conf asks for it")
    try:
        target = _target(spark, conf, rows, layout)
    except CannotDo as cannot:
        if conf.engine != "auto":
            raise InvalidInput(f"engine: {conf.engine} cannot do this job: {cannot}. Use engine: auto.") from None
        return Choice("column", str(cannot))
    return Choice("dataframe", "the conf asks for it" if conf.engine == "dataframe" else why, target)


def check_workers(spark: Any, conf: JobConf, *paths: str) -> None:
    """Raise :class:`CannotDo` where workers or the driver's Python do not reach the same places as Spark's file systems."""
    for path in paths:
        # without one there are seldom credentials either, and Python's clients look for those for minutes
        hadoop.check_connector(spark, path)
    if any(hadoop.is_default(spark, path) for path in paths):
        raise CannotDo("a path names no file system, and Spark's is not this machine's")
    if not is_local(spark) and not _workers_write(spark, conf.target.path):
        raise CannotDo("the workers cannot write the target by themselves")


def _target(spark: Any, conf: JobConf, rows: Any, layout: Layout) -> Target:
    """The target, where workers can write it and delta-rs can commit to it."""
    odd = [field.name for field in rows.schema if field.name in layout.keep and not _is_plain(field.dataType)]
    if odd:
        raise CannotDo(f"delta-rs writes {', '.join(odd)} with another type than Spark")
    target = open_target(conf)
    check_workers(spark, conf, conf.target.path)
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
