"""Compaction of a lake table: our own, fenced, because two native ones at once double every row."""

import json
import time
import uuid
from typing import Any

import pyarrow as pa

from sparkml_lifecycle.lake.table import LakeTable
from sparkml_lifecycle.storage import Storage

_SMALL = 8 << 20
_IDENTIFIER = "compactor"
_FEWEST_FILES = 100
_LOG_FILES_KEPT = 500
_LOG_AGE_SECONDS = 60


def compact(table: LakeTable, *, fewest: int = 2) -> int:
    """Join the small files of a table into one; gives how many files were replaced, 0 if another compactor was faster.

    Reads and commits through one handle with the next number of the identifier ``compactor``: of two that overlap, one
    commit fails, and what it wrote is never read.
    """
    from deltalake import CommitProperties, Transaction
    from deltalake.exceptions import DeltaError
    from deltalake.transaction import AddAction, RemoveAction

    with table._lock:
        table._handle = None
        handle = table.open()
        if handle is None:
            return 0
        number = (handle.transaction_version(_IDENTIFIER) or 0) + 1
        actions = pa.table(handle.get_add_actions(flatten=True))
        small = [(path, size) for path, size in zip(actions["path"].to_pylist(), actions["size_bytes"].to_pylist(), strict=True) if size < _SMALL]
        if len(small) < fewest:
            return 0
        rows = _read_files(table, [path for path, _ in small])
        path = f"part-{uuid.uuid4().hex}.parquet"
        size = _write_parquet(table._storage, path, rows)
        now = int(time.time() * 1000)
        stats = _statistics(rows, handle)
        change: list[Any] = [AddAction(path, size, {}, now, False, stats)]
        change += [RemoveAction(path=p, deletion_timestamp=now, data_change=False, size=s, partition_values={}) for p, s in small]
        try:
            handle.create_write_transaction(
                change, mode="append", schema=handle.schema(),
                commit_properties=CommitProperties({"compaction": len(small)}, 20, [Transaction(_IDENTIFIER, number)]),
            )  # fmt: skip
        except DeltaError:
            table._storage.delete(path)
            return 0
        finally:
            table._handle = None
        return len(small)


def compact_in_passing(table: LakeTable) -> int:
    """Compact if about a hundred small files have gathered, and keep the log short."""
    handle = table.open()
    if handle is None or len(handle.file_uris()) < _FEWEST_FILES:
        return 0
    replaced = compact(table)
    clean_log(table)
    return replaced


def clean_log(table: LakeTable) -> int:
    """Delete log files below the newest checkpoint where more than 500 have gathered and it is a minute old."""
    log = table._storage.child("_delta_log")
    try:
        version = int(json.loads(log.read_bytes("_last_checkpoint"))["version"])
    except (KeyError, ValueError):
        return 0
    names = [entry.path for entry in log.list() if entry.path[:20].isdigit()]
    old = [name for name in names if int(name[:20]) < version]
    if len(old) <= _LOG_FILES_KEPT or time.time() - _checkpoint_time(log, names, version) < _LOG_AGE_SECONDS:
        return 0
    for name in old:
        log.delete(name)
    return len(old)


def _checkpoint_time(log: Storage, names: list[str], version: int) -> float:
    from pyarrow import fs

    system, base = log._system()
    newest = [name for name in names if int(name[:20]) == version and "checkpoint" in name]
    found = system.get_file_info([f"{base}/{name}" for name in newest])
    return max((info.mtime.timestamp() for info in found if info.type == fs.FileType.File and info.mtime), default=time.time())


def _read_files(table: LakeTable, paths: list[str]) -> pa.Table:
    import pyarrow.parquet as pq

    system, base = table._storage._system()
    parts = [pq.read_table(f"{base}/{path}", filesystem=system) for path in paths]
    return pa.concat_tables(parts, promote_options="default")


def _write_parquet(storage: Storage, path: str, rows: pa.Table) -> int:
    import pyarrow.parquet as pq

    system, base = storage._system()
    pq.write_table(rows, f"{base}/{path}", filesystem=system, compression="zstd")
    return int(system.get_file_info(f"{base}/{path}").size)


def _statistics(rows: pa.Table, handle: Any) -> str:
    """Counts, smallest and largest of every column but the floats, as a Delta log holds them."""
    import pyarrow.compute as pc

    smallest: dict[str, Any] = {}
    largest: dict[str, Any] = {}
    nulls: dict[str, int] = {}
    for name in rows.column_names:
        values = rows.column(name)
        if pa.types.is_floating(values.type) or pa.types.is_boolean(values.type):
            continue
        nulls[name] = values.null_count
        found = pc.min_max(values).as_py()
        if found["min"] is None:
            continue
        smallest[name], largest[name] = (_plain(found["min"], values.type), _plain(found["max"], values.type))
        if pa.types.is_string(values.type) and max(len(found["min"]), len(found["max"])) > 32:
            del smallest[name], largest[name]
    return json.dumps({"numRecords": rows.num_rows, "minValues": smallest, "maxValues": largest, "nullCount": nulls})


def _plain(value: Any, arrow: pa.DataType) -> Any:
    return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if pa.types.is_timestamp(arrow) else value
