"""The newest end of a table's log on this machine's disks: followed commit by commit, and made longer by appends and claims.

For each append delta-rs replays the log since its checkpoint and the statistics of all files: 10 ms, and 0.2 ms more for
every small file. An append needs neither. It writes a file and then one commit, which must be new; a claim needs to know
besides that nobody has used its identifiers since. Everything else (compaction, checkpoints, tables on a remote storage)
goes through delta-rs. Both put a commit in its place by a hard link, which fails where one is, so they write one table side
by side.
"""

import copy
import json
import os
import random
import re
import time
import zlib
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from sparkml_lifecycle.errors import NotFound, StorageError
from sparkml_lifecycle.lake import rows
from sparkml_lifecycle.lake.files import files_of, is_small, largest_seq, name_of_new, statistics, write
from sparkml_lifecycle.lake.rows import Row
from sparkml_lifecycle.storage import Storage, said
from sparkml_lifecycle.storage.filesystem import link_new

CHECKPOINT_EVERY = 20
# a checkpoint that holds thousands of removed files takes as long as some thirty commits
_LARGE_CHECKPOINT, _EVERY_LARGE = 2**19, 100
_PATIENCE = 1000
_A_MOMENT = 5.0
_UNDERSTOOD = (1, 2)
# whole and in its place: one that is still being written has a name of another form
_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint\.parquet")


class Overtaken(StorageError):
    """Somebody else has claimed the same thing first, and nothing was committed."""


class Tail:
    """Where a table's log ends, as far as this process has followed it; it stands where delta-rs' ``DeltaTable`` does elsewhere.

    Attributes
    ----------
    largest_seq : int
        The largest ``seq`` of the rows up to there.
    small : int
        How many files below 8 MB the table has.
    asks_for_checkpoint : bool
        Whether a commit was made here at which a checkpoint is due.
    knows_all : bool
        Whether the table has no columns but those of the row class: a newer program may have added some.
    """

    def __init__(
        self,
        storage: Storage,
        row_type: type[Row],
        version: int,
        files: Sequence[dict[str, Any]],
        claimed: Callable[[str], int | None],
        columns: Collection[str],
    ) -> None:
        self._storage, self._row_type = storage, row_type
        self.knows_all = set(columns) == set(rows.schema(row_type).names)
        # the tables of a lake grow in step, and one checkpoint at a time is enough
        self._phase = zlib.crc32(row_type.TABLE.encode())
        self._log: Path = storage.local_path / "_delta_log"
        self._delta: Any = None
        self._version = version
        self._files = {file["path"]: file for file in files}
        self._look_up = claimed
        self._claimed: dict[str, int] = {}
        # what names the newest checkpoint, as it was when it was read, and the version of that
        self._checkpoint: tuple[Any, int] = (None, -1)
        self._checkpoint_every = CHECKPOINT_EVERY
        self._caught_up: tuple[float, float] | None = None
        self.largest_seq = largest_seq(files)
        self.small = sum(is_small(file["size_bytes"]) for file in files)
        self.asks_for_checkpoint = False

    @classmethod
    def of(cls, storage: Storage, row_type: type[Row], handle: Any) -> "Tail | None":
        """The tail of a table as delta-rs has just opened it; None where an append of these rows takes more than this module knows."""
        if not storage.is_local:
            return None
        protocol, metadata = handle.protocol(), handle.metadata()
        there = {column.name for column in handle.schema().fields}
        versions = (protocol.min_reader_version, protocol.min_writer_version)
        if not _is_understood(row_type, versions, metadata.partition_columns, there):
            return None
        return cls(storage, row_type, int(handle.version()), files_of(handle), handle.transaction_version, there)

    @classmethod
    def opened(cls, storage: Storage, row_type: type[Row]) -> "Tail | None":
        """The tail of a table, out of its newest checkpoint and the commits since; None where delta-rs should open it.

        delta-rs reads the tombstones too, a week of them: 25 ms after ten thousand commits, and this takes 5 ms.
        """
        log = storage.local_path / "_delta_log"
        try:
            checkpoint = json.loads((log / "_last_checkpoint").read_bytes())
            if "parts" in checkpoint or "v2Checkpoint" in checkpoint:
                return None
            version = int(checkpoint["version"])
            found = _state(row_type, (log / f"{version:020}.checkpoint.parquet").read_bytes())
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if found is None:
            return None
        files, claimed, columns = found
        tail = cls(storage, row_type, version, files, claimed.get, columns)
        return tail if tail.catch_up() and tail._is_newest() else None

    def twin(self) -> "Tail":
        """Another one at the same place, for another thread."""
        twin = copy.copy(self)
        twin._files, twin._claimed, twin._delta = dict(self._files), dict(self._claimed), None
        twin.asks_for_checkpoint = False
        return twin

    def _is_newest(self) -> bool:
        """Whether the log holds nothing newer: what lies between may have been cleaned away below a checkpoint that nobody names yet."""
        versions = [int(name[:20]) for name in os.listdir(self._log) if name.endswith((".json", ".checkpoint.parquet"))]
        return max(versions) <= self._version or (self.catch_up() and max(versions) <= self._version)

    def version(self) -> int:
        """The newest commit that was seen."""
        return self._version

    def transaction_version(self, identifier: str) -> int | None:
        """The last version under an identifier."""
        found = self._claimed.get(identifier)
        if found is None:
            found = self._look_up(identifier)
            if found is not None:
                self._claimed[identifier] = int(found)
        return found

    def remember(self, identifier: str) -> None:
        """Hold on to the last version under an identifier, as far as was followed: what is looked up later may be newer."""
        self._claimed[identifier] = self.transaction_version(identifier) or 0

    def live(self) -> list[dict[str, Any]]:
        """The table's files, as :func:`sparkml_lifecycle.lake.files.files_of` says."""
        return list(self._files.values())

    def delta(self) -> Any:
        """delta-rs' handle of the table, as new as this or newer."""
        from deltalake import DeltaTable

        with suppress(Exception):  # log cleaning may have taken what it stood on; a fresh one says what is wrong
            if self._delta is not None:
                self._delta.update_incremental()
                return self._delta
        self._delta = DeltaTable(self._storage.delta_uri, storage_options=self._storage.delta_options())
        return self._delta

    def catch_up(self) -> bool:
        """Follow the log to its end; False where that cannot be done from here, and the table must be opened anew."""
        self._caught_up = None
        try:
            while (commit := self._commit(self._version + 1)) is not None:
                actions = [json.loads(line) for line in commit.splitlines() if line]
                if any("metaData" in action or "protocol" in action for action in actions):
                    return False
                self._take(actions)
        except (OSError, ValueError, KeyError, TypeError):
            return False
        now = _clocks()
        # where the newest known commit has gone, those that came after it may have gone too; and below a checkpoint one alone may
        is_whole = self._is_there(self._version) and not self._is_behind_a_checkpoint()
        if is_whole:
            self._caught_up = now
        return is_whole

    def _is_behind_a_checkpoint(self) -> bool:
        try:
            mark = self._mark()
            if mark != self._checkpoint[0]:
                version = int(json.loads((self._log / "_last_checkpoint").read_bytes())["version"])
                self._checkpoint = mark, version
                self._checkpoint_every = self._interval(version)
        except FileNotFoundError:
            return False
        return self._checkpoint[1] > self._version

    def _interval(self, version: int) -> int:
        with suppress(FileNotFoundError):
            if os.stat(self._log / f"{version:020}.checkpoint.parquet").st_size > _LARGE_CHECKPOINT:
                return _EVERY_LARGE
        return CHECKPOINT_EVERY

    def _mark(self) -> tuple[int, int]:
        """What is another whenever a checkpoint was made."""
        found = os.stat(self._log / "_last_checkpoint")
        return found.st_mtime_ns, found.st_ino

    def _has_just_caught_up(self) -> bool:
        """Whether nobody can have cleaned the log since: there is no new checkpoint, and what is below an old one stays a minute."""
        if self._caught_up is None:
            return False
        with suppress(FileNotFoundError):
            return self._mark() == self._checkpoint[0] and all(
                abs(now - then) < _A_MOMENT for now, then in zip(_clocks(), self._caught_up, strict=True)
            )
        return False

    def append(self, data: Any, transactions: Sequence[tuple[str, int, int | None]]) -> str:
        """Commit rows under identifiers that nobody else has used since; returns the path of their file.

        Raises
        ------
        Overtaken
            If somebody has.
        StorageError
            If it is not certain that the rows are there.
        """
        path = name_of_new()
        try:
            size = write(self._storage, path, data)
        except BaseException:
            self._drop(path)
            raise
        try:
            self._put([_information(), self._added(path, size, data), *map(_transaction, transactions)])
        except Overtaken:
            self._drop(path)
            raise
        return path

    def replace(self, gone: Sequence[dict[str, Any]], path: str, size: int, content: Any, identifier: str) -> None:
        """Put one file, which is written already, in the place of others; without a path they are only removed.

        Raises
        ------
        Overtaken
            If somebody else has replaced files under that identifier since.
        StorageError
            If it is not certain that it is done.
        """
        now = int(time.time() * 1000)
        added = [self._added(path, size, content, changes=False)] if path else []
        removed = [
            {
                "remove": {
                    "path": file["path"],
                    "dataChange": False,
                    "deletionTimestamp": now,
                    "extendedFileMetadata": True,
                    "partitionValues": {},
                    "size": file["size_bytes"],
                }
            }
            for file in gone
        ]
        generation = (self.transaction_version(identifier) or 0) + 1
        self._put([_information(blind=False), *added, *removed, _transaction((identifier, generation, None))])

    def _added(self, path: str, size: int, content: Any, changes: bool = True) -> dict[str, Any]:
        return {
            "add": {
                "path": path,
                "partitionValues": {},
                "size": size,
                "modificationTime": int(time.time() * 1000),
                "dataChange": changes,
                "stats": json.dumps(statistics(content, self._row_type)),
            }
        }

    def _drop(self, path: str) -> None:
        with suppress(OSError):
            (self._storage.local_path / path).unlink(missing_ok=True)

    def _put(self, actions: list[dict[str, Any]]) -> None:
        identifiers = [action["txn"]["appId"] for action in actions if "txn" in action]
        before = [self.transaction_version(one) for one in identifiers]
        for attempt in range(_PATIENCE):
            version = self._version + 1
            content = "\n".join(map(json.dumps, actions))
            if self._link(version, content.encode()):
                self._check_place(version, actions)
                self._take(actions)
                self.asks_for_checkpoint |= (version + self._phase) % self._checkpoint_every == 0
                return
            time.sleep(random.random() * 0.001 * min(attempt, 20))
            if not self.catch_up():
                raise StorageError(f"The table {self._storage.uri!r} was changed under a commit.")
            if before != [self.transaction_version(one) for one in identifiers]:
                raise Overtaken(f"Somebody else was faster at the table {self._storage.uri!r}.")
        raise StorageError(f"Others were faster {_PATIENCE} times at the table {self._storage.uri!r}.")

    def _link(self, version: int, content: bytes) -> bool:
        try:
            return link_new(self._log / f"{version:020}.json", content, parents=False)
        except NotFound:
            raise StorageError(f"The table {self._storage.uri!r} was taken away under a commit.") from None

    def _check_place(self, version: int, actions: list[dict[str, Any]]) -> None:
        """Whether a commit that was just made counts; where it does not, it is taken back, and the caller looks for its rows.

        A process that slept may make one at a place that others made and cleaned away long ago. Whoever cleans, in whatever
        order, leaves a checkpoint of a later version, and that does not know the new file. One that knows it was made of this
        commit: taken back then, it would leave a hole, behind which others would not see what comes later.
        """
        if self._has_just_caught_up():
            return
        names = os.listdir(self._log)
        ends = ".checkpoint.parquet"
        checkpoints = [
            int(match[1]) for name in names if name.endswith(ends) and (match := _CHECKPOINT.fullmatch(name))
        ]
        later = [one for one in checkpoints if one >= version]
        if later and self._knows(max(later), actions):
            return
        if later or (not checkpoints and f"{version - 1:020}.json" not in names):
            # a commit alone is no table
            (self._log / f"{version:020}.json").unlink(missing_ok=True)
            raise StorageError(f"The log of {self._storage.uri!r} was shortened under a commit.")

    def _knows(self, version: int, actions: list[dict[str, Any]]) -> bool:
        """Whether a checkpoint has a file that these actions add, or removes one that they remove at that very time."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        place = self._log / f"{version:020}.checkpoint.parquet"
        try:
            found = pq.ParquetFile(pa.BufferReader(place.read_bytes())).read(
                ["add.path", "remove.path", "remove.deletionTimestamp"], use_threads=False
            )
        except (OSError, pa.ArrowException) as error:
            # it stays as it is: who looks for its rows finds them or not
            raise StorageError(f"A checkpoint of {self._storage.uri!r} cannot be read: {said(error)}") from None
        removed = {(one["path"], one["deletionTimestamp"]) for one in found["remove"].to_pylist() if one}
        added = {one["path"] for one in found["add"].to_pylist() if one} | {path for path, _ in removed}
        mine = [action["add"]["path"] for action in actions if "add" in action]
        gone = [
            (action["remove"]["path"], action["remove"]["deletionTimestamp"])
            for action in actions
            if "remove" in action
        ]
        return added.issuperset(mine) if mine else removed.issuperset(gone)

    def _take(self, actions: list[dict[str, Any]]) -> None:
        self._version += 1
        for action in actions:
            if "add" in action:
                file = _file(action["add"])
                self._files[file["path"]] = file
                self.small += is_small(file["size_bytes"])
                self.largest_seq = max(self.largest_seq, file["max.seq"] or 0)
            elif "remove" in action:
                self._files.pop(unquote(action["remove"]["path"]), None)
                self.small -= is_small(action["remove"].get("size"))
            elif "txn" in action:
                self._claimed[action["txn"]["appId"]] = action["txn"]["version"]

    def _commit(self, version: int) -> bytes | None:
        try:
            return (self._log / f"{version:020}.json").read_bytes()
        except FileNotFoundError:
            return None

    def _is_there(self, version: int) -> bool:
        return os.path.exists(self._log / f"{version:020}.json")


def _clocks() -> tuple[float, float]:
    # one stands still while the machine sleeps, and the other may be set back
    return time.monotonic(), time.time()


def _is_understood(row_type: type[Row], versions: tuple[int, int], partitions: Any, there: Collection[str]) -> bool:
    return versions == _UNDERSTOOD and not partitions and set(there).issuperset(rows.schema(row_type).names)


def _state(row_type: type[Row], checkpoint: bytes) -> tuple[list[dict[str, Any]], dict[str, int], list[str]] | None:
    """The files, the identifiers' versions and the columns of a table, out of a checkpoint; None where it is not understood."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        # by this thread: one of Arrow's own that lets go of Python's bytes while the interpreter ends would abort the process
        file = pq.ParquetFile(pa.BufferReader(checkpoint))
        if (
            "sidecar" in file.schema_arrow.names
            and file.read(["sidecar"], use_threads=False)["sidecar"].null_count < file.metadata.num_rows
        ):
            return None
        content = file.read(["add.path", "add.size", "add.stats", "txn", "metaData", "protocol"], use_threads=False)
    except (pa.ArrowException, OSError):
        return None

    def actions(kind: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = content[kind].filter(pc.is_valid(content[kind])).to_pylist()
        return found

    [metadata], [protocol] = actions("metaData"), actions("protocol")
    there = [field["name"] for field in json.loads(metadata["schemaString"])["fields"]]
    versions = (protocol["minReaderVersion"], protocol["minWriterVersion"])
    if not _is_understood(row_type, versions, metadata["partitionColumns"], there):
        return None
    return [_file(add) for add in actions("add")], {one["appId"]: one["version"] for one in actions("txn")}, there


def _file(add: dict[str, Any]) -> dict[str, Any]:
    stats = json.loads(add.get("stats") or "{}")
    bounds = {f"{least}.seq": stats.get(f"{least}Values", {}).get("seq") for least in ("min", "max")}
    return {"path": unquote(add["path"]), "size_bytes": add["size"], "num_records": stats.get("numRecords"), **bounds}


def _information(blind: bool = True) -> dict[str, Any]:
    return {
        "commitInfo": {
            "timestamp": int(time.time() * 1000),
            "operation": "WRITE",
            "operationParameters": {"mode": "Append"},
            "isBlindAppend": blind,
            "engineInfo": "sparkml_lifecycle",
        }
    }


def _transaction(one: tuple[str, int, int | None]) -> dict[str, Any]:
    identifier, version, updated = one
    return {"txn": {"appId": identifier, "version": version, "lastUpdated": updated}}
