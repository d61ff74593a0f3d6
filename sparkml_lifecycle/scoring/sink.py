"""The Delta table that a job writes through Spark: what is there before, the commit, and which commit was the job's own."""

import json
from dataclasses import dataclass
from typing import Any

from sparkml_lifecycle import uris
from sparkml_lifecycle.errors import Conflict, InvalidInput
from sparkml_lifecycle.scoring import hadoop, partitions
from sparkml_lifecycle.scoring.conf import JobConf
from sparkml_lifecycle.scoring.layout import check_appends
from sparkml_lifecycle.spark import delta_reads

# a batch that a rival writes at the same moment is looked for again
_ATTEMPTS = 3
# commits that are looked at first
_LATEST = 8


@dataclass(frozen=True)
class Commit:
    """What a job left in its target.

    Attributes
    ----------
    version : int
        The table's version that the job made, or the newest where it made none.
    rows : int
    made : bool
        False where the batch was there already, so that nothing was written.
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


def write(spark: Any, scored: Any, conf: JobConf, run_id: str) -> int | None:
    """Write a job's rows in one commit; a batch that is there already is left as it is.

    Returns
    -------
    int or None
        The table's version before, for :func:`commit_of`; None where it was not there.

    Raises
    ------
    SchemaError
        If a batch leaves out columns that the table has, and the conf does not say ``merge_schema``.
    Conflict
        If somebody else changed the table while it was being replaced.
    """
    rivals = _exceptions_of_rivals()
    target = uris.for_spark(conf.target.path)
    before = _newest(spark, target)
    if before is not None and conf.mode == "append" and not conf.target.merge_schema:
        check_appends([field.name for field in spark.read.format("delta").load(target).schema], scored.columns, target)
    if before is not None and conf.mode == "append" and conf.target.partition_by:
        partitions.wanted(_partition_by(spark, target), conf.target.partition_by, scored.columns, target)
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            _writer(scored, conf, run_id).save(target)
            break
        except rivals as error:
            if conf.mode == "append" and attempt < _ATTEMPTS:
                continue
            raise Conflict(
                f"Somebody else changed the target {conf.target.path!r} while the job {conf.job!r} wrote; nothing of it was "
                f"committed ({type(error).__name__}). Run it again."
            ) from error
    return before


def commit_of(spark: Any, target: str, before: int | None, run_id: str) -> Commit:
    """The commit of a run since ``before``, among those that others made meanwhile."""
    from delta.tables import DeltaTable

    target = uris.for_spark(target)
    if not DeltaTable.isDeltaTable(spark, target):
        return Commit(0, 0, False)
    count, first = _LATEST, 0 if before is None else before + 1
    while True:
        # counted from the newest, which others move meanwhile
        entries = _history(spark, target, count)
        for entry in entries:
            if f'"run_id": "{run_id}"' in (entry["userMetadata"] or ""):
                return Commit(int(entry["version"]), int(entry["operationMetrics"].get("numOutputRows", 0)), True)
        if len(entries) < count or entries[-1]["version"] <= first:
            return Commit(int(entries[0]["version"]), 0, False)
        count *= 4


def _exceptions_of_rivals() -> tuple[type[Exception], ...]:
    from delta import exceptions

    # they have no parent of their own, and cover all that Delta raises where another commit came first
    return tuple(getattr(exceptions, name) for name in exceptions.__all__)


def _writer(scored: Any, conf: JobConf, run_id: str) -> Any:
    said = {"job": conf.job, "batch": conf.batch, "run_id": run_id}
    writer = (
        scored.write.format("delta").mode(conf.mode).option("userMetadata", json.dumps({"sparkml_lifecycle": said}))
    )
    if conf.target.partition_by:
        writer = writer.partitionBy(*conf.target.partition_by)
    if conf.mode == "overwrite":
        return writer.option("overwriteSchema", "true")
    if conf.target.merge_schema:
        writer = writer.option("mergeSchema", "true")
    # Delta skips a transaction that it has seen, so a batch that runs again writes nothing
    return writer.option("txnAppId", f"sparkml:batch:{conf.job}:{conf.batch}").option("txnVersion", "1")


def _partition_by(spark: Any, target: str) -> list[str]:
    from delta.tables import DeltaTable

    return list(DeltaTable.forPath(spark, target).detail().first()["partitionColumns"])


def _history(spark: Any, target: str, count: int) -> list[Any]:
    from delta.tables import DeltaTable

    columns = ("version", "userMetadata", "operationMetrics")
    return list(DeltaTable.forPath(spark, target).history(count).select(*columns).collect())


def _newest(spark: Any, target: str) -> int | None:
    from delta.tables import DeltaTable

    return int(_history(spark, target, 1)[0]["version"]) if DeltaTable.isDeltaTable(spark, target) else None
