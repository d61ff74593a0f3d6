"""The data files of a table: which there are, what is in them, and a new one."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sparkml_lifecycle.errors import StorageError
from sparkml_lifecycle.lake.rows import Row, moment_of, statistics_columns
from sparkml_lifecycle.storage import Storage

SMALL_BYTES = 8 * 1024 * 1024
_LONG_TEXT = 64
_ROW_GROUP = 65_536
_FEW_ROWS, _FLUSH = 10_000, 1_000
_HANDFUL = 20


def files_of(handle: Any) -> list[dict[str, Any]]:
    """The table's files, as (path, size_bytes, num_records, min.seq, max.seq); what a file's statistics do not say is None."""
    if handle is None:
        return []
    if hasattr(handle, "live"):
        live: list[dict[str, Any]] = handle.live()
        return live
    adds = handle.get_add_actions(flatten=True)
    there = set(adds.schema.names)
    kept = [name for name in ("path", "size_bytes", "num_records", "min.seq", "max.seq") if name in there]
    columns = [adds.column(name).to_pylist() for name in kept]
    return [dict(zip(kept, values, strict=True)) for values in zip(*columns, strict=True)]


def largest_seq(files: Sequence[dict[str, Any]]) -> int:
    """The largest ``seq`` of the rows of some files, by their statistics."""
    return max((file.get("max.seq") or 0 for file in files), default=0)


def is_small(size: int | None) -> bool:
    """Whether a file of that many bytes is one that compaction puts together with others."""
    return (size or 0) < SMALL_BYTES


def small_files(handle: Any) -> list[dict[str, Any]]:
    """The table's files below 8 MB."""
    return [file for file in files_of(handle) if is_small(file["size_bytes"])]


def name_of_new() -> str:
    """The name of a file that nobody has written yet."""
    return f"part-00000-{uuid.uuid4()}-c000.parquet"


def write(storage: Storage, path: str, content: Any) -> int:
    """Write rows as a file; returns its size in bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    # in a file that is read whole or not at all, dictionaries and statistics only take time, a quarter of writing and reading it;
    # and for each column zstd takes longer to begin than to compress a flush, half of both
    worth = content.num_rows > _FEW_ROWS
    options: dict[str, Any] = {
        "compression": "zstd" if content.num_rows > _FLUSH else "snappy", "row_group_size": _ROW_GROUP,
        "use_dictionary": worth, "write_statistics": worth,
    }  # fmt: skip
    if storage.is_local and not worth:
        made = pa.BufferOutputStream()
        pq.write_table(content, made, **options)
        return (storage.local_path / path).write_bytes(made.getvalue())
    filesystem, place = storage.arrow(path)
    pq.write_table(content, place, filesystem=filesystem, **options)
    written = storage.stat(path)
    return (written.size if written else 0) or 0


def read(storage: Storage, path: str, target: Any) -> Any:
    """The rows of one file with the columns of an Arrow schema; what the file has not is null."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with _opened(storage, path) as file:
            parquet = pq.ParquetFile(file)
            there = parquet.schema_arrow
            # of a small file threads would take longer to start than it takes to read; and one that holds an object of Python's
            # while the interpreter ends aborts the process
            part = parquet.read(
                columns=None if there.names == target.names else [name for name in target.names if name in there.names],
                use_threads=storage.is_local and parquet.metadata.num_rows > _FEW_ROWS,
            )
    except pa.ArrowException as error:
        raise damaged(storage.child(path), error) from None
    if part.schema.equals(target):
        return part
    arrays = [
        part[field.name].cast(field.type) if field.name in part.column_names else pa.nulls(part.num_rows, field.type)
        for field in target
    ]
    return pa.Table.from_arrays(arrays, schema=target)


def damaged(storage: Storage, error: Exception) -> StorageError:
    """What to say of a file that is there and is no Parquet."""
    return StorageError(f"A data file at {storage.uri!r} is damaged: {type(error).__name__}: {error}")


def _opened(storage: Storage, path: str) -> Any:
    import pyarrow as pa

    if storage.is_local:
        return pa.memory_map(str(storage.local_path / path))
    if not storage.speaks_arrow:
        return pa.BufferReader(storage.read_bytes(path))
    filesystem, place = storage.arrow(path)
    return filesystem.open_input_file(place)


def spelled(moment: datetime) -> str:
    """A time in UTC as a bound in Delta's log: milliseconds, cut, as delta-rs writes them; readers allow for that."""
    return f"{moment.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def statistics(rows: Any, row_type: type[Row]) -> dict[str, Any]:
    """What the log says of a file with these rows: their number, and of columns that are no floats the bounds and nulls."""
    import pyarrow as pa
    from pyarrow import types

    least: dict[str, Any] = {}
    most: dict[str, Any] = {}
    nulls: dict[str, int] = {}
    there = set(rows.column_names)
    for name in statistics_columns(row_type):
        if name not in there:
            continue
        column = rows[name]
        kind, nulls[name] = column.type, column.null_count
        if nulls[name] == len(column) or types.is_boolean(kind) or types.is_binary(kind):
            continue
        is_time = types.is_timestamp(kind)
        low, high = _bounds(column.cast(pa.int64()) if is_time else column)
        if is_time:
            low, high = spelled(moment_of(low)), spelled(moment_of(high))
        elif types.is_string(kind) and max(len(low), len(high)) > _LONG_TEXT:
            # a cut text would no longer be a bound; none at all is always right
            continue
        least[name], most[name] = low, high
    return {"numRecords": rows.num_rows, "minValues": least, "maxValues": most, "nullCount": nulls}


def _bounds(column: Any) -> tuple[Any, Any]:
    import pyarrow.compute as pc

    if len(column) > _HANDFUL:
        low, high = pc.min_max(column).as_py().values()
    else:
        # of a few rows Arrow takes longer to begin than to end; text is in the order of its code points, as UTF-8 is
        values = [value for value in column.to_pylist() if value is not None]
        low, high = min(values), max(values)
    return low, high
