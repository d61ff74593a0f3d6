"""Data sets that runs read: their name, digest, source and, for Delta, the version. ``ml.log_input(ml.data.from_pandas(df))``.

What is looked at is bounded: the first 10,000 rows of what is in memory, and of a Spark DataFrame or a Delta table only
its plan, schema and log. A full pass is made where ``profile=True`` asks for one.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sparkml_lifecycle import uris
from sparkml_lifecycle.entities import Dataset
from sparkml_lifecycle.errors import InvalidInput, NotFound
from sparkml_lifecycle.spark import delta_reads
from sparkml_lifecycle.tracking import names

__all__ = ["from_arrow", "from_numpy", "from_pandas", "from_spark", "load_delta"]

_SAMPLE = 10_000
_DIGEST = 12


def from_pandas(
    df: Any,
    source: str | Path | None = None,
    targets: str | None = None,
    name: str | None = None,
    digest: str | None = None,
    predictions: str | None = None,
) -> Dataset:
    """A pandas DataFrame; its digest is of its first 10,000 rows, its types and its length.

    Parameters
    ----------
    df : pandas.DataFrame
    source : str, optional
        Where it came from: a path or URI.
    targets, predictions : str, optional
        Columns.
    name, digest : str, optional
    """
    import pandas as pd

    _check_kind(df, pd.DataFrame)
    _check_columns(df.columns, targets, predictions)
    hashed = hashlib.sha256()
    sample = df.head(_SAMPLE)
    try:
        hashed.update(pd.util.hash_pandas_object(sample, index=False).to_numpy().tobytes())
    except TypeError:
        hashed.update(_unhashed(sample))
    types = {str(column): str(dtype) for column, dtype in zip(df.columns, df.dtypes, strict=True)}
    hashed.update(json.dumps([types, len(df)]).encode())
    return _dataset(name, digest, hashed, source, types, {"num_rows": len(df)}, targets, predictions)


def from_arrow(
    table: Any,
    source: str | Path | None = None,
    targets: str | None = None,
    name: str | None = None,
    digest: str | None = None,
    predictions: str | None = None,
) -> Dataset:
    """An Arrow table; its digest is of its first 10,000 rows, its types and its length."""
    import pyarrow as pa

    _check_kind(table, pa.Table)
    _check_columns(table.column_names, targets, predictions)
    sink = pa.BufferOutputStream()
    # taken, so that what lies under a null or before a slice is not part of it
    rows = pa.array(range(min(_SAMPLE, table.num_rows)), pa.int64())
    sample = table.take(rows).combine_chunks().replace_schema_metadata(None)
    with pa.ipc.new_stream(sink, sample.schema) as stream:
        for batch in sample.to_batches():
            stream.write_batch(batch)
    hashed = hashlib.sha256(sink.getvalue())
    hashed.update(str(table.num_rows).encode())
    types = {field.name: str(field.type) for field in table.schema}
    return _dataset(name, digest, hashed, source, types, {"num_rows": table.num_rows}, targets, predictions)


def from_numpy(
    features: Any,
    source: str | Path | None = None,
    targets: Any = None,
    name: str | None = None,
    digest: str | None = None,
) -> Dataset:
    """An array, or a dict of arrays by name; ``targets`` as well."""
    import numpy as np

    arrays: dict[str, Any] = {}
    for part, given in (("features", features), ("targets", targets)):
        if isinstance(given, Mapping):
            arrays |= {f"{part}.{key}": np.asarray(value) for key, value in given.items()}
        elif given is not None:
            arrays[part] = np.asarray(given)
    hashed = hashlib.sha256()
    for key, array in arrays.items():
        sample = array[:_SAMPLE] if array.ndim else array
        hashed.update(f"{key} {array.shape} {array.dtype}".encode())
        hashed.update(
            repr(sample.tolist()).encode() if array.dtype.hasobject else np.ascontiguousarray(sample).tobytes()
        )
    types = {key: f"{array.dtype} {list(array.shape)}" for key, array in arrays.items()}
    rows = {"features_shape": {key: list(array.shape) for key, array in arrays.items()}}
    return _dataset(name, digest, hashed, source, types, rows, None, None)


def from_spark(
    df: Any,
    path: str | None = None,
    table_name: str | None = None,
    version: int | str | None = None,
    sql: str | None = None,
    targets: str | None = None,
    name: str | None = None,
    digest: str | None = None,
    predictions: str | None = None,
    profile: bool = False,
) -> Dataset:
    """A Spark DataFrame. Where it reads one Delta table, that table's path and the very version that it reads are found out.

    Parameters
    ----------
    df : pyspark.sql.DataFrame
    path, table_name, sql : str, optional
        Where it came from.
    version : int, optional
        The Delta version, where the DataFrame itself does not tell.
    profile : bool
        Count the rows, which runs a Spark job.
    """
    if not hasattr(df, "schema") or not hasattr(df, "semanticHash"):
        raise InvalidInput(_KINDS.format("pyspark.sql.DataFrame", type(df).__name__))
    _check_columns(df.columns, targets, predictions)
    version = _check_version(version)
    reads = delta_reads(df)
    found = reads[0] if len(reads) == 1 else None
    if found is not None:
        path = path or found[0]
        version = found[1] if version is None else version
    source = _spark_source(path, table_name, version, sql)
    types = {field.name: field.dataType.simpleString() for field in df.schema.fields}
    hashed = hashlib.sha256(json.dumps([types, source], sort_keys=True).encode())
    # another plan over the same table is another data set
    hashed.update(_plan(df, alone=found is None).encode())
    kind = "delta" if version is not None else "spark"
    rows = {"num_rows": df.count()} if profile else None
    return _dataset(name, digest, hashed, source, types, rows, targets, predictions, kind, _short(path or table_name))


def load_delta(
    path: str | None = None,
    table_name: str | None = None,
    version: int | str | None = None,
    targets: str | None = None,
    name: str | None = None,
    digest: str | None = None,
    storage_options: Mapping[str, str] | None = None,
) -> Dataset:
    """A Delta table by path, at a version or as it is now; only its log is read, and no Spark is needed.

    Raises
    ------
    NotFound
        If there is no Delta table, or it has no such version.
    InvalidInput
        If a ``table_name`` is given: only Spark's catalog knows it, so read it there and use :func:`from_spark`.
    """
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError, TableNotFoundError

    from sparkml_lifecycle.storage import open_storage

    if path is None or table_name is not None:
        raise InvalidInput(
            "load_delta() takes a path. For a table of Spark's catalog: from_spark(spark.table(name), table_name=name)."
        )
    place = open_storage(path, storage_options)
    wanted = _check_version(version)
    try:
        table = DeltaTable(place.delta_uri, version=wanted, storage_options=place.delta_options())
    except TableNotFoundError:
        raise NotFound(f"There is no Delta table at {path!r}.") from None
    except DeltaError as error:
        raise NotFound(
            f"The Delta table at {path!r} has no version {version}: {str(error).splitlines()[0][:200]}"
        ) from None
    types = {field.name: str(field.type) for field in _arrow_schema(table)}
    _check_columns(types, targets, None)
    source = {"path": place.uri, "delta_table_version": table.version()}
    hashed = hashlib.sha256(json.dumps([str(table.metadata().id), table.version()]).encode())
    return _dataset(name, digest, hashed, source, types, None, targets, None, "delta", _short(path))


def _arrow_schema(table: Any) -> Any:
    import pyarrow as pa

    return pa.schema(table.schema().to_arrow())


def _dataset(
    name: str | None, digest: str | None, hashed: Any, source: Any, types: Mapping[str, str], profile: Any,
    targets: str | None, predictions: str | None, kind: str | None = None, short: str | None = None,
) -> Dataset:  # fmt: skip
    if not isinstance(source, dict):
        if source is not None and not isinstance(source, str | Path):
            raise InvalidInput(f"A source is a path or URI, found {type(source).__name__}.")
        text = uris.normalise(source) if source is not None else None
        kind = kind or ("local" if text and "://" not in text else text.partition(":")[0] if text else "code")
        short = short or _short(text)
        source = {"uri": text} if text else {}
    schema: dict[str, Any] = {"columns": dict(types)}
    schema |= {key: value for key, value in (("targets", targets), ("predictions", predictions)) if value is not None}
    shown = json.dumps(schema)
    if len(shown) > 1_000_000:
        shown = json.dumps({"columns": len(types)})
    return Dataset(
        name or short or "dataset",
        digest or hashed.hexdigest()[:_DIGEST],
        kind or "spark",
        json.dumps(source),
        shown,
        json.dumps(profile) if profile is not None else None,
    )


def _unhashed(sample: Any) -> bytes:
    """What lists and dicts, which have no hash, hold."""
    try:
        return bytes(sample.to_json(default_handler=str).encode())
    except UnicodeError:
        # JSON takes bytes for UTF-8, and a text may hold half of a surrogate pair
        return repr([sample.columns.tolist(), sample.to_numpy().tolist()]).encode(errors="backslashreplace")


_KINDS = (
    "Expected a {}, found {}. from_pandas, from_arrow, from_numpy and from_spark each take what their name says; "
    "load_delta takes a path."
)


def _check_kind(found: Any, kind: type) -> None:
    if not isinstance(found, kind):
        raise InvalidInput(_KINDS.format(f"{kind.__module__.split('.')[0]}.{kind.__name__}", type(found).__name__))


def _check_version(version: int | str | None) -> int | None:
    if version is None:
        return None
    number = names.check_whole("version", version)
    if number < 0:
        raise InvalidInput(f"A version of a Delta table is 0 or more, found {version!r}.")
    return number


def _check_columns(columns: Any, *wanted: str | None) -> None:
    for column in wanted:
        if column is not None and column not in list(columns):
            raise InvalidInput(f"There is no column {column!r}. Found: {', '.join(map(str, columns))}.")


def _spark_source(path: str | None, table_name: str | None, version: int | None, sql: str | None) -> dict[str, Any]:
    source = {
        "path": uris.normalise(path) if path else None,
        "delta_table_name" if version is not None else "table_name": table_name,
        "delta_table_version": version,
        "sql": sql,
    }
    return {key: value for key, value in source.items() if value is not None}


def _short(text: str | None) -> str | None:
    return text.rstrip("/").rpartition("/")[2] or None if text else None


def _plan(df: Any, alone: bool) -> str:
    plan = getattr(df, "_jdf", None)
    # expressions are numbered anew in each session
    text = re.sub(r"#\d+L?", "", plan.queryExecution().analyzed().toString()) if plan is not None else ""
    return f"{text} {df.semanticHash()}" if alone else text
