"""What a job reads through Spark: the rows of its source, the condition on them, and whether they fit the model."""

import re
from typing import Any

from sparkml_lifecycle import uris
from sparkml_lifecycle.errors import InvalidInput, NotFound, SchemaError, nearest, reason
from sparkml_lifecycle.loaded import PyFuncModel
from sparkml_lifecycle.model import batch
from sparkml_lifecycle.model.signature import Signature, from_spark_schema
from sparkml_lifecycle.scoring import hadoop
from sparkml_lifecycle.scoring.conf import BY_FILE, Source

# what Hadoop takes for a pattern
_GLOB = re.compile(r"([\[\]{}*?\\])")
_UNKNOWN_COLUMN = re.compile(r"UNRESOLVED_COLUMN.* with name `([^`.]+)` cannot be resolved")


def read_source(spark: Any, source: Source, version: int | None = None) -> Any:
    """The source as a DataFrame; a Delta table at a version, where it is given.

    Raises
    ------
    NotFound
        If there is no such path or table.
    InvalidInput
        If the path is a Delta table and the format says something else (its files are not its rows), or the SQL is wrong.
    """
    from pyspark.errors import AnalysisException

    if source.format not in ("delta", "table", "sql") and hadoop.is_delta(spark, source.path):
        raise InvalidInput(
            f"The source {source.path!r} is a Delta table, and source.format is {source.format!r}: that would read the rows of "
            "files that were removed too. Use format: delta."
        )
    place = source.path if source.format in ("table", "sql") else uris.for_spark(source.path)
    if source.format in BY_FILE and escaped(place) != place and hadoop.kind(spark, source.path) != "nothing":
        # what is there by this very name is no pattern
        place = escaped(place)
    pinned = {} if version is None else {"versionAsOf": str(version)}
    try:
        if source.format == "table":
            return spark.read.options(**pinned).table(source.path)
        if source.format == "sql":
            return spark.sql(source.path)
        return spark.read.format(source.format).options(**source.options, **pinned).load(place)
    except AnalysisException as error:
        if source.format == "sql":
            raise InvalidInput(f"The source {source.path!r} (sql) cannot be run: {reason(error)}.") from error
        if "NANOS" in str(error):
            raise InvalidInput(
                f"The source {source.path!r} has times in nanoseconds, which Spark does not read. Write them in microseconds, in pandas "
                "to_parquet(..., coerce_timestamps='us', allow_truncated_timestamps=True), or leave such columns out with keep:."
            ) from error
        raise NotFound(f"The source {source.path!r} ({source.format}) cannot be read: {reason(error)}.") from error


def escaped(path: str) -> str:
    """A path of which every character stands for itself."""
    return _GLOB.sub(r"\\\1", path)


def filtered(rows: Any, condition: str) -> Any:
    """The rows for which a SQL condition holds.

    Raises
    ------
    InvalidInput
        If it cannot be read, or names a column that is not there.
    """
    from pyspark.errors import AnalysisException

    try:
        return rows.where(condition)
    except AnalysisException as error:
        named = _UNKNOWN_COLUMN.search(str(error))
        near = nearest(named[1], rows.columns) if named else None
        why = f"there is no column {named[1]!r}" if named else reason(error)
        hint = f" Did you mean {near!r}?" if near else ""
        raise InvalidInput(
            f"where: {condition!r} cannot be applied to the source: {why}. It has: {', '.join(rows.columns)}.{hint}"
        ) from error


def check_columns(rows: Any, model: PyFuncModel) -> None:
    """Compare a DataFrame's columns with the model's signature, on the driver.

    Raises
    ------
    SchemaError
        Naming each column that is missing or has a type that would lose values.
    """
    import pyarrow as pa

    check_schema(pa.schema([pa.field(str(c.name), c.type) for c in from_spark_schema(rows.schema)]), model)


def check_schema(found: Any, model: PyFuncModel) -> None:
    """As :func:`check_columns`, for the columns of an Arrow schema."""
    try:
        batch.check_schema(found, model.signature or Signature())
    except SchemaError as error:
        if "_c0" not in found.names or "_c0" in (model.input_names or ()):
            raise
        raise SchemaError(
            f"{error} A CSV file's first line has the names with source.options: {{header: true, inferSchema: true}}."
        ) from None
    missing = [name for name in model.input_names or [] if name not in found.names]
    if model.signature is None and missing:
        raise SchemaError(f"The columns {', '.join(missing)} are missing. Found: {', '.join(found.names)}.")
