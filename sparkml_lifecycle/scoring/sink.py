"""The Delta table that a job writes through Spark: as it is before, and the commit."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sparkml_lifecycle import uris
from sparkml_lifecycle.errors import Conflict, InvalidInput
from sparkml_lifecycle.scoring import hadoop, partitions
from sparkml_lifecycle.scoring.conf import JobConf
from sparkml_lifecycle.scoring.layout import check_appends
from sparkml_lifecycle.scoring.log import OURS, latest
from sparkml_lifecycle.scoring.memory import identifier
from sparkml_lifecycle.spark import delta_reads


@dataclass(frozen=True)
class Commit:
    """What a job left in its target.

    Attributes
    ----------
    version : int
        The table's version that the job made, or the newest where it made none.
    rows : int
    made : bool
        False where nothing was written.
    errors : int
        Rows without an answer because the model raised.
    """

    version: int
    rows: int
    made: bool
    errors: int = 0


def check_target(spark: Any, rows: Any, target: str) -> None:
    """Refuse a place that a job must not write to, before anything is read.

    Parameters
    ----------
    rows : DataFrame
        The source.
    target : str
        A path or storage URI.

    Raises
    ------
    InvalidInput
        If it is a file, a directory of something else than a Delta table, or a table that the source reads.
    StorageError
        If Spark cannot reach it.
    """
    found = hadoop.kind(spark, target)
    if found == "file":
        raise InvalidInput(f"The target {target!r} is a file; a job writes a directory, a Delta table.")
    if found == "directory":
        raise InvalidInput(
            f"The target {target!r} holds files and is no Delta table; a job would mix its own with them. Choose an empty place."
        )
    where = uris.real(target)
    if any(read is not None and uris.real(read[0]) == where for read in delta_reads(rows)):
        raise InvalidInput(f"The source reads the target {target!r}: the job would write over what it reads.")


@dataclass(frozen=True)
class SparkTarget:
    """A target that Spark commits to, as it was when its job began."""

    spark: Any
    path: str
    snapshot: Any

    @classmethod
    def open(cls, spark: Any, path: str) -> "SparkTarget":
        """The table at a place."""
        return cls(spark, path, hadoop.snapshot(spark, path))

    def again(self) -> "SparkTarget":
        """The target as it is now."""
        return SparkTarget.open(self.spark, self.path)

    @property
    def version(self) -> int:
        """The version; -1 of a table that is not there yet."""
        return int(self.snapshot.version())

    @property
    def table_id(self) -> str:
        """Delta's identifier of the table; empty where it is not there yet."""
        return "" if self.version < 0 else str(self.snapshot.metadata().id())

    @property
    def partition_by(self) -> tuple[str, ...]:
        """The partition columns of a table that is there."""
        names = self.snapshot.metadata().partitionColumns()
        return tuple(names.apply(i) for i in range(names.size()))

    def version_of(self, name: str) -> int | None:
        """What the last commit under a transaction identifier made it."""
        found = self.snapshot.transactions().get(name)
        return int(found.get()) if found.isDefined() else None

    def rows(self) -> int:
        """How many rows it holds; Delta counts by its files' statistics."""
        if self.version < 0:
            return 0
        return int(self.spark.read.format("delta").load(uris.for_spark(self.path)).count())

    def read_text(self, path: str) -> str | None:
        """A file below the table's directory; None where there is none."""
        return hadoop.read_text(self.spark, uris.join(self.path, path))

    def write_text(self, path: str, text: str) -> None:
        """Put a file there."""
        hadoop.write_text(self.spark, uris.join(self.path, path), text)

    def names(self, path: str) -> list[str]:
        """The names of the files of a directory."""
        return hadoop.names(self.spark, uris.join(self.path, path))


def write(target: SparkTarget, scored: Any, conf: JobConf, said: Mapping[str, Any]) -> Commit:
    """Write a job's rows in one commit.

    Parameters
    ----------
    target : SparkTarget
    scored : DataFrame
    conf : JobConf
    said : mapping
        What the commit says of itself.

    Raises
    ------
    SchemaError
        If the rows leave out columns that the table has, and the conf does not say ``merge_schema``.
    Conflict
        If somebody else changed the table while it was being replaced, or another run of the job came first.
    """
    rivals = _exceptions_of_rivals()
    adds = said["mode"] != "overwrite"
    place = uris.for_spark(conf.target.path)
    if target.version >= 0 and adds and not conf.target.merge_schema:
        there = target.spark.read.format("delta").load(place).schema
        check_appends([field.name for field in there], scored.columns, place)
    if target.version >= 0 and adds and conf.target.partition_by:
        partitions.wanted(target.partition_by, conf.target.partition_by, scored.columns, place)
    try:
        _writer(scored, conf, said, adds).save(place)
    except rivals as error:
        raise _conflict(conf, type(error).__name__) from error
    made = _commit_of(target.again(), target.version + 1, said["run_id"])
    if made is None:
        # Delta leaves out a transaction whose number it has seen
        raise _conflict(conf, "another run of the job came first")
    return made


def _conflict(conf: JobConf, why: str) -> Conflict:
    return Conflict(
        f"Somebody else changed the target {conf.target.path!r} while the job {conf.job!r} wrote; nothing of it was committed "
        f"({why}). Run it again."
    )


def _commit_of(target: SparkTarget, first: int, run_id: str) -> Commit | None:
    """The commit of a run since a version, among those that others made meanwhile."""
    for entry in reversed(latest(target.read_text, first, target.version)):
        if entry.said.get("run_id") == run_id:
            return Commit(entry.version, entry.rows or 0, True)
    return None


def _exceptions_of_rivals() -> tuple[type[Exception], ...]:
    from delta import exceptions

    # they have no parent of their own, and cover all that Delta raises where another commit came first
    return tuple(getattr(exceptions, name) for name in exceptions.__all__)


def _writer(scored: Any, conf: JobConf, said: Mapping[str, Any], adds: bool) -> Any:
    writer = scored.write.format("delta").mode("append" if adds else "overwrite")
    writer = writer.option("userMetadata", json.dumps({OURS: said}))
    writer = writer.option("txnAppId", identifier(conf.job)).option("txnVersion", str(said["counter"]))
    if conf.target.partition_by:
        writer = writer.partitionBy(*conf.target.partition_by)
    if not adds:
        return writer.option("overwriteSchema", "true")
    return writer.option("mergeSchema", "true") if conf.target.merge_schema else writer
