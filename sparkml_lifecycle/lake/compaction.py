"""Many small files into one, fenced: of two compactors at once one commits and the other starts again.

delta-rs' own ``optimize.compact`` doubles every row when two processes run it at once, so it is never used on a lake.
"""

import json
import time
import uuid
from typing import Any

from sparkml_lifecycle.lake.rows import Row, statistics_columns
from sparkml_lifecycle.storage import Storage

SMALL_BYTES = 8 * 1024 * 1024
IDENTIFIER = "compactor"
_LONG_TEXT = 64


def small_files(handle: Any) -> list[dict[str, Any]]:
    """The table's files below 8 MB, as (path, size_bytes, num_records)."""
    import pyarrow as pa

    adds = pa.table(handle.get_add_actions(flatten=True))
    kept = [name for name in ("path", "size_bytes", "num_records") if name in adds.column_names]
    return [file for file in adds.select(kept).to_pylist() if file["size_bytes"] < SMALL_BYTES]


def compact(storage: Storage, row_type: type[Row], attempts: int = 20) -> int:
    """Rewrite the small files of a table as one; returns how many files were replaced.

    What a concurrent writer appends stays as it is. What a lost race wrote is never read and removed by maintenance.
    """
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    written: dict[str, int] = {}
    for attempt in range(attempts):
        try:
            handle = DeltaTable(storage.delta_uri, storage_options=storage.delta_options())
            files = small_files(handle)
            landed = [count for path, count in written.items() if path in {file["path"] for file in files}]
            if landed:
                return landed[0]
            if len(files) < 2:
                return 0
            path = f"part-00000-{uuid.uuid4()}-c000.zstd.parquet"
            written[path] = len(files)
            _replace(storage, handle, row_type, files, path)
            return len(files)
        except (DeltaError, OSError):
            # an error does not say whether the commit landed; the next round looks
            if attempt == attempts - 1:
                raise
            time.sleep(0.02 * (attempt + 1))
    return 0


def _replace(storage: Storage, handle: Any, row_type: type[Row], files: list[dict[str, Any]], path: str) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from deltalake.transaction import AddAction, CommitProperties, RemoveAction, Transaction

    generation = (handle.transaction_version(IDENTIFIER) or 0) + 1
    target = pa.schema(handle.schema().to_arrow())
    filesystem, _ = storage.arrow()
    parts = [_read(storage, file["path"], target) for file in files]
    rows = pa.concat_tables(parts)
    place = storage.arrow(path)[1]
    pq.write_table(rows, place, filesystem=filesystem, compression="zstd")
    size = storage.stat(path)
    now = int(time.time() * 1000)
    add = AddAction(path, (size.size if size else 0) or 0, {}, now, False, json.dumps(_statistics(rows, row_type)))
    removes = [RemoveAction(file["path"], False, now, file["size_bytes"], {}) for file in files]
    properties = CommitProperties(app_transactions=[Transaction(IDENTIFIER, generation)], max_commit_retries=100)
    handle.create_write_transaction([add, *removes], "append", handle.schema(), commit_properties=properties)


def _read(storage: Storage, path: str, target: Any) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    filesystem, place = storage.arrow(path)
    with filesystem.open_input_file(place) as file:
        part = pq.ParquetFile(file).read()
    arrays = [
        part[field.name].cast(field.type) if field.name in part.column_names else pa.nulls(part.num_rows, field.type)
        for field in target
    ]
    return pa.Table.from_arrays(arrays, schema=target)


def _statistics(rows: Any, row_type: type[Row]) -> dict[str, Any]:
    import pyarrow as pa
    import pyarrow.compute as pc

    least: dict[str, Any] = {}
    most: dict[str, Any] = {}
    nulls: dict[str, int] = {}
    for name in statistics_columns(row_type):
        if name not in rows.column_names:
            continue
        column = rows[name]
        nulls[name] = column.null_count
        if column.null_count == len(column) or pa.types.is_boolean(column.type) or pa.types.is_binary(column.type):
            continue
        low, high = pc.min_max(column).as_py().values()
        if pa.types.is_timestamp(column.type):
            # milliseconds, cut, as delta-rs writes them; readers allow for that
            low, high = (f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z" for moment in (low, high))
        elif pa.types.is_string(column.type) and max(len(low), len(high)) > _LONG_TEXT:
            # a cut text would no longer be a bound; none at all is always right
            continue
        least[name], most[name] = low, high
    return {"numRecords": rows.num_rows, "minValues": least, "maxValues": most, "nullCount": nulls}
