"""The newest small files of a table, kept in memory: a file never changes, so each is read once by a process.

Opening a hundred small files costs DataFusion a tenth of a second, again at each query. What is newer than every large
file of a table is therefore read here, and DataFusion reads the rest; ``seq`` divides the two exactly.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sparkml_lifecycle.lake.files import damaged, files_of, read
from sparkml_lifecycle.lake.rows import Row, empty, schema
from sparkml_lifecycle.lake.where import Where
from sparkml_lifecycle.storage import Storage

_MOST_ROWS_OF_A_FILE, _MOST_ROWS = 50_000, 200_000
_AFTER_ALL = 2**62
# of answers to queries over the older rows of one table; small ones are quick to find again
_MOST_BYTES, _WORTH_REMEMBERING = 64 * 2**20, 10_000
_FILE = "__filename"
_WORTH_A_DATA_SET, _WORTH_A_THREAD = 4, 8
_WORTH_AN_INDEX, _MOST_ROWS_OF_AN_INDEX, _A_HANDFUL = 8, 1_000, 20


@dataclass(frozen=True)
class Parts:
    """A table at one version in two parts.

    Attributes
    ----------
    pieces : mapping of str to pyarrow.Table
        The rows of the newest files, by their paths.
    since : int or None
        All other rows have at most this ``seq``; None where there are none.
    older : frozenset of str
        The paths of the files with the other rows.
    places : mapping of (str, str) to mapping of str to sequence of int
        Of a small piece, by its path, the rows with each value of a text column, as far as it was asked for.
    """

    pieces: Mapping[str, Any]
    since: int | None
    older: frozenset[str]
    schema: Any
    places: dict[tuple[str, str], dict[str, list[int]]] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def recent(self) -> Any:
        """The rows of the newest files, as an Arrow table."""
        import pyarrow as pa

        return pa.concat_tables(self.pieces.values()) if self.pieces else empty(self.schema)

    def fitting(self, where: Where) -> Any:
        """The rows of the newest files that fit, exactly; of many files those are left out that hold none."""
        import pyarrow as pa

        if len(self.pieces) < _WORTH_AN_INDEX or not where.among:
            return where.of(self.recent)
        column, wanted = next(iter(where.among.items()))
        is_one = len(where.among) == len(wanted) == 1 and where.as_of is None
        found, rows = [], []
        for path, piece in self.pieces.items():
            held = self._places(path, piece, column)
            if held is None or not held.keys().isdisjoint(wanted):
                found.append(piece)
                is_one = is_one and held is not None
            if is_one and held is not None:
                rows += [(piece, place) for place in held.get(wanted[0], ())]
                is_one = len(rows) <= _A_HANDFUL
        if not found:
            return empty(self.schema)
        # a slice each is quick to cut, and slow to use where they are many
        return (
            pa.concat_tables([piece.slice(place, 1) for piece, place in rows])
            if is_one
            else where.of(pa.concat_tables(found))
        )

    def _places(self, path: str, piece: Any, column: str) -> Mapping[str, Sequence[int]] | None:
        """Of each value of a text column of a piece the rows with it; None of a large one."""
        if piece.num_rows > _MOST_ROWS_OF_AN_INDEX:
            return None
        found = self.places.get((path, column))
        if found is None:
            found = {}
            for place, value in enumerate(piece[column].to_pylist()):
                found.setdefault(value, []).append(place)
            self.places[path, column] = found
        return found


class Recent:
    """The rows of the newest small files of one table, for all threads of a process."""

    def __init__(self, row_type: type[Row], storage: Storage) -> None:
        self._schema = schema(row_type)
        self._storage = storage
        self._lock = threading.Lock()
        self._pieces: dict[str, Any] = {}
        self._last: tuple[int, Parts | None] = (-1, None)
        self._places: dict[tuple[str, str], dict[str, list[int]]] = {}
        self._older: frozenset[str] = frozenset()
        self._answers: OrderedDict[str, Any] = OrderedDict()

    def parts(self, handle: Any) -> Parts:
        """The two parts of a table as a handle sees it."""
        version = -1 if handle is None else int(handle.version())
        seen, parts = self._last
        if parts is None or seen != version:
            files = files_of(handle)
            recent, since = divided(files)
            older = frozenset(file["path"] for file in files).difference(recent)
            pieces = self._read(recent)
            self._places = {key: found for key, found in self._places.copy().items() if key[0] in pieces}
            parts = Parts(pieces, since, older, self._schema, self._places)
            self._last = version, parts
        return parts

    def remember(self, path: str, rows: Any) -> None:
        """Take the rows of a file that was just written, so that it is not read."""
        with self._lock:
            self._pieces[path] = rows

    def replace(self, gone: Sequence[str], path: str, rows: Any) -> None:
        """Take the rows of a file that stands for others, if all of those are in memory: who only writes remembers nothing."""
        with self._lock:
            there = [one for one in gone if self._pieces.pop(one, None) is not None]
            if len(there) == len(gone) and rows.num_rows <= _MOST_ROWS_OF_A_FILE:
                self._pieces[path] = rows

    def known(self, path: str) -> Any:
        """The rows of a file, if they are in memory, as an Arrow table; else None."""
        with self._lock:
            return self._pieces.get(path)

    def older(self, parts: Parts, sql: str, read: Callable[[str], Any]) -> Any:
        """What a query over the older rows gives; the last ones are remembered until a compaction makes other files of them."""
        with self._lock:
            if parts.older != self._older:
                self._older = parts.older
                self._answers.clear()
            if sql in self._answers:
                self._answers.move_to_end(sql)
                return self._answers[sql]
        found = read(sql)
        with self._lock:
            if parts.older == self._older and found.num_rows >= _WORTH_REMEMBERING:
                self._answers[sql] = found
                while self._answers and sum(map(_bytes_of, self._answers.values())) > _MOST_BYTES:
                    self._answers.popitem(last=False)
        return found

    def _read(self, paths: Sequence[str]) -> Mapping[str, Any]:
        with self._lock:
            kept = {path: self._pieces[path] for path in paths if path in self._pieces}
            self._pieces = kept | self._load([path for path in paths if path not in kept])
            return self._pieces.copy()

    def _load(self, paths: Sequence[str]) -> dict[str, Any]:
        # a data set reads from a distance side by side; its import brings pandas along
        if self._storage.is_local or not self._storage.speaks_arrow or len(paths) < _WORTH_A_DATA_SET:
            return self._read_each(paths)
        import pyarrow as pa
        import pyarrow.compute as pc
        import pyarrow.dataset as ds

        filesystem, _ = self._storage.arrow()
        places = [str(self._storage.arrow(path)[1]) for path in paths]
        # raw rows, no filter: nothing is left out by statistics
        files = ds.dataset(places, self._schema, format="parquet", filesystem=filesystem)
        try:
            found = files.to_table(columns=[*self._schema.names, _FILE])
        except pa.ArrowException as error:
            raise damaged(self._storage, error) from None
        rows = found.select(self._schema.names).cast(self._schema)
        return {path: rows.filter(pc.equal(found[_FILE], place)) for path, place in zip(paths, places, strict=True)}

    def _read_each(self, paths: Sequence[str]) -> dict[str, Any]:
        """The rows of files, of many those of every second one by another thread: half of the time Python waits for Arrow."""
        found: dict[str, Any] = {}

        def work(mine: Sequence[str]) -> None:
            for path in mine:
                found[path] = read(self._storage, path, self._schema)

        def help_out() -> None:
            with suppress(Exception):  # whatever it is, the other thread meets it again and says it
                work(paths[1::2])

        helper = threading.Thread(target=help_out, name="sparkml-read", daemon=True)
        if len(paths) >= _WORTH_A_THREAD:
            with suppress(RuntimeError):  # at the interpreter's end no thread starts any more
                helper.start()
                work(paths[::2])
                helper.join()
        work([path for path in paths if path not in found])
        return found


def _bytes_of(answer: Any) -> int:
    # whole buffers: a slice holds all of what it was cut from
    return int(answer.get_total_buffer_size())


def divided(files: Sequence[dict[str, Any]]) -> tuple[list[str], int | None]:
    """The paths of the newest small files, and the largest ``seq`` of all others.

    A small file that does not lie wholly after the others is one of them.
    """
    if any(file.get("min.seq") is None or file.get("max.seq") is None for file in files):
        return [], _AFTER_ALL
    newest = sorted(files, key=lambda file: file["max.seq"], reverse=True)
    rows = count = 0
    for file in newest:
        rows += file["num_records"]
        if file["num_records"] > _MOST_ROWS_OF_A_FILE or rows > _MOST_ROWS:
            break
        count += 1
    recent, others = newest[:count], newest[count:]
    while others:
        since = max(file["max.seq"] for file in others)
        overlapping = [file for file in recent if file["min.seq"] <= since]
        if not overlapping:
            return [file["path"] for file in recent], since
        recent = [file for file in recent if file["min.seq"] > since]
        others += overlapping
    return [file["path"] for file in recent], None
