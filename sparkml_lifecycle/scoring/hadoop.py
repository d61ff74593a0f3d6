"""Places as Spark's own file systems see them: the driver's Python may have no credentials, or other ones."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sparkml_lifecycle import uris
from sparkml_lifecycle.errors import StorageError, reason
from sparkml_lifecycle.scoring.output import is_output

_LOG = "_delta_log"
_NO_CONNECTOR = "No FileSystem for scheme"


def is_delta(spark: Any, path: str) -> bool:
    """Whether a path, or one of those that a pattern fits, is a Delta table."""
    with _explained(path):
        files, place = _place(spark, f"{uris.for_spark(path)}/{_LOG}")
        return bool(files.globStatus(place))


def kind(spark: Any, path: str) -> str:
    """What lies at a path: ``nothing`` (an empty directory as well), ``delta``, ``directory`` or ``file``."""
    with _explained(path):
        files, place = _place(spark, uris.for_spark(path))
        if not files.exists(place):
            return "nothing"
        if files.getFileStatus(place).isFile():
            return "file"
        found = files.listStatus(place)
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
