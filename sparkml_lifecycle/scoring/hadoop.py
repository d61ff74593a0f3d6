"""Places as Spark's own file systems see them: the driver's Python may have no credentials, or other ones."""

import re
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sparkml_lifecycle import uris
from sparkml_lifecycle.errors import InvalidInput, StorageError, reason
from sparkml_lifecycle.scoring.output import is_output

_LOG = "_delta_log"
_NO_CONNECTOR = "No FileSystem for scheme"


def is_delta(spark: Any, path: str) -> bool:
    """Whether a path, or one of those that a pattern fits, is a Delta table."""
    with _explained(path):
        files, place = _place(spark, f"{uris.for_spark(path)}/{_LOG}")
        return bool(files.globStatus(place))


def check_connector(spark: Any, path: str) -> None:
    """Raise :class:`StorageError` where Spark knows no file system of the path's kind; nothing is asked over a network."""
    with _explained(path):
        _place(spark, uris.for_spark(path))


def kind(spark: Any, path: str) -> str:
    """What lies at a path: ``nothing`` (an empty directory as well), ``delta``, ``directory`` or ``file``."""
    with _explained(path):
        files, place = _place(spark, uris.for_spark(path))
        if not files.exists(place):
            return "nothing"
        if files.getFileStatus(place).isFile():
            return "file"
        found = files.listStatus(place)
        if any(status.getPath().getName() == _LOG for status in found):
            return "delta"
        return "nothing" if all(_is_left(files, status) for status in found) else "directory"


def _is_left(files: Any, status: Any) -> bool:
    """Whether this is what workers of a killed job have left, which is nobody's: files, or partitions that hold nothing else."""
    name = status.getPath().getName()
    if "=" not in name or status.isFile():
        return is_output(name) or name == "_sparkml"
    below = files.listFiles(status.getPath(), True)
    while below.hasNext():
        if not is_output(below.next().getPath().getName()):
            return False
    return True


def read_text(spark: Any, uri: str) -> str | None:
    """The text of a file; None where there is none."""
    with _explained(uri):
        files, place = _place(spark, uris.for_spark(uri))
        if not files.exists(place):
            return None
        stream = files.open(place)
        try:
            return str(spark.sparkContext._jvm.org.apache.commons.io.IOUtils.toString(stream, "UTF-8"))
        finally:
            stream.close()


def write_text(spark: Any, uri: str, text: str) -> None:
    """Put a file there; on file systems that rename in one step whole or not at all."""
    jvm = spark.sparkContext._jvm
    with _explained(uri):
        files, place = _place(spark, uris.for_spark(uri))
        beside = place.suffix(f".{uuid.uuid4().hex}")
        stream = files.create(beside, True)
        stream.write(bytearray(text.encode()))
        stream.close()
        # the newer interface replaces a file in one step, the older one refuses to
        renamed = jvm.org.apache.hadoop.fs.Options.Rename
        how = spark.sparkContext._gateway.new_array(renamed, 1)
        how[0] = renamed.OVERWRITE
        jvm.org.apache.hadoop.fs.FileContext.getFileContext(
            place.toUri(), spark.sparkContext._jsc.hadoopConfiguration()
        ).rename(beside, place, how)


def names(spark: Any, uri: str) -> list[str]:
    """The names of what lies in a directory; empty where there is none."""
    with _explained(uri):
        files, place = _place(spark, uris.for_spark(uri))
        return [status.getPath().getName() for status in files.listStatus(place)] if files.exists(place) else []


_STATUS = re.compile(r"FileStatus\{path=(.*); isDirectory=false; length=(\d+); .*modification_time=(\d+);")


def files_of(rows: Any) -> dict[str, list[int]]:
    """The files that a DataFrame over files reads: size in bytes and time in milliseconds of each, by its URI."""
    leaves = rows._jdf.queryExecution().analyzed().collectLeaves()
    # one call for all: py4j takes a millisecond for each
    said = leaves.apply(0).relation().location().allFiles().mkString("\n")
    return {_plain(path): [int(size), int(modified)] for path, size, modified in _STATUS.findall(str(said))}


def _plain(uri: str) -> str:
    """The URI as this package spells it, so that a job without Spark knows a file by the same name."""
    if uri.startswith("file:"):
        # Hadoop writes the path as it is, with nothing encoded
        return f"/{uri.removeprefix('file:').lstrip('/')}"
    try:
        return uris.normalise(uri)
    except InvalidInput:
        return uri


@dataclass(frozen=True)
class DeltaRelation:
    """The one Delta table that a DataFrame reads, at the version that it reads.

    Attributes
    ----------
    id : str
        The table's identifier in its log.
    """

    id: str
    _spark: Any
    _snapshot: Any

    def only(self, adds: Sequence[str]) -> Any:
        """The rows of some of its files, given as the log's add actions; with the columns that the table has now."""
        from pyspark.sql import DataFrame

        jvm = self._spark.sparkContext._jvm
        action = jvm.org.apache.spark.sql.delta.actions.Action
        files = jvm.org.apache.spark.api.python.PythonUtils.toSeq([action.fromJson(add) for add in adds])
        made = self._snapshot.deltaLog().createDataFrame(self._snapshot, files, False, jvm.scala.Option.empty())
        return DataFrame(made, self._spark)


def delta_relation(rows: Any) -> DeltaRelation:
    """The Delta table of a DataFrame that reads one."""
    snapshot = rows._jdf.queryExecution().analyzed().collectLeaves().apply(0).relation().location().getSnapshot()
    return DeltaRelation(str(snapshot.metadata().id()), rows.sparkSession, snapshot)


def snapshot(spark: Any, path: str) -> Any:
    """The newest snapshot of a Delta table, as Delta's own code has it; of version -1 where there is none."""
    jvm = spark.sparkContext._jvm
    with _explained(path):
        table = jvm.org.apache.spark.sql.delta.DeltaLog.forTable(spark._jsparkSession, uris.for_spark(path))
        nothing = jvm.scala.Option.empty()
        return table.update(False, nothing, nothing)


def is_default(spark: Any, path: str) -> bool:
    """Whether Spark looks for a path on another file system than this machine's, because it names none."""
    default = str(spark.sparkContext._jsc.hadoopConfiguration().get("fs.defaultFS", "file:///"))
    return "://" not in uris.normalise(path) and not path.startswith("file:") and not default.startswith("file:")


def _place(spark: Any, uri: str) -> tuple[Any, Any]:
    place = spark.sparkContext._jvm.org.apache.hadoop.fs.Path(uri)
    return place.getFileSystem(spark.sparkContext._jsc.hadoopConfiguration()), place


@contextmanager
def _explained(path: str) -> Iterator[None]:
    from py4j.protocol import Py4JJavaError

    try:
        yield
    except Py4JJavaError as error:
        why = reason(Exception(error.java_exception.getMessage() or error.java_exception.getClass().getSimpleName()))
        if _NO_CONNECTOR in why or "ClassNotFound" in why:
            why += ". Its connector is a jar: name it in the conf, spark: {spark.jars.packages: …}"
        raise StorageError(f"Spark cannot reach {path!r}: {why}.") from None
