"""Rows on their way to the tables: logging costs microseconds, a thread commits them together.

A flush commits metrics, params and tags in parallel and the runs last, so whoever sees a run finished sees its metrics.
"""

import atexit
import os
import threading
import time
import warnings
from collections.abc import Sequence
from typing import Any

from sparkml_lifecycle.errors import StorageError
from sparkml_lifecycle.lake import Lake, Writer
from sparkml_lifecycle.lake.compaction import compact_in_passing
from sparkml_lifecycle.settings import Settings
from sparkml_lifecycle.tracking.rows import TagRow

_VALUES = ("metrics", "params", "tags")
_FLUSHES_BETWEEN_COMPACTIONS = 25


class Buffer:
    """Collects rows of a lake's tables and commits them: every second, at 1,000 rows, when asked, and at exit."""

    def __init__(self, lake: Lake, writer: Writer, settings: Settings) -> None:
        self._lake = lake
        self._writer = writer
        self._settings = settings
        self._rows: dict[str, list[Any]] = {name: [] for name in (*_VALUES, "runs")}
        self._waiting = 0
        self._lock = threading.Lock()
        self._flushing = threading.RLock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._problem: Exception | None = None
        self._flushes = 0
        self._pid = os.getpid()
        self._closed = False
        atexit.register(self._at_exit)

    def add(self, table: str, row: Any) -> None:
        """Take one row; it is committed within about a second."""
        if self._closed:
            raise StorageError("The client was closed; make a new one to log more.")
        rows = self._rows[table]
        with self._lock:
            rows.append(row)
            self._waiting += 1
            full = self._waiting >= self._settings.flush_points
        if self._thread is None:
            self._start()
        if full:
            self._wake.set()

    def flush(self) -> None:
        """Commit what was taken so far.

        Raises
        ------
        StorageError
            If the storage refuses; the rows are kept and tried again.
        """
        if os.getpid() != self._pid:
            raise StorageError("This process was forked from one that logs to the lake; start it by spawn, or make the client in the child.")
        with self._flushing:
            with self._lock:
                taken = {name: rows for name, rows in self._rows.items() if rows}
                self._rows = {name: [] if name in taken else self._rows[name] for name in self._rows}
                self._waiting = 0
            if not taken:
                return
            self._lake.prepare()
            left = self._commit_values({name: rows for name, rows in taken.items() if name != "runs"})
            if not left and "runs" in taken:
                left = self._commit_values({"runs": taken["runs"]})
            elif "runs" in taken:
                left["runs"] = taken["runs"]
            if left:
                with self._lock:
                    self._rows = {name: left.get(name, []) + rows for name, rows in self._rows.items()}
                    self._waiting = sum(map(len, self._rows.values()))
                raise self._problem or StorageError("The rows could not be written.")
            self._problem = None
            self._flushes += 1

    def _commit_values(self, taken: dict[str, list[Any]]) -> dict[str, list[Any]]:
        """Commit each table's rows, in parallel; gives the rows of the tables that failed."""
        left: dict[str, list[Any]] = {}

        def commit(name: str, rows: list[Any]) -> None:
            try:
                self._lake.table(name).append(_latest(name, rows), self._writer)
            except Exception as error:  # kept, and raised by flush
                left[name] = rows
                self._problem = error

        # plain threads: pools refuse to work while the interpreter exits
        others = [threading.Thread(target=commit, args=item) for item in list(taken.items())[1:]]
        for thread in others:
            thread.start()
        for item in list(taken.items())[:1]:
            commit(*item)
        for thread in others:
            thread.join()
        return left

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="sparkml-flush", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while not self._closed:
            self._wake.wait(self._settings.flush_seconds)
            self._wake.clear()
            try:
                self.flush()
                if self._flushes >= _FLUSHES_BETWEEN_COMPACTIONS:
                    self._flushes = 0
                    for name in (*_VALUES, "runs"):
                        compact_in_passing(self._lake.table(name))
            except Exception as error:  # the rows are kept; the next flush tries again, and flush() raises it
                self._problem = error
                time.sleep(0.2)

    def close(self) -> None:
        """Flush and stop."""
        try:
            self.flush()
        finally:
            self._closed = True
            self._wake.set()
            atexit.unregister(self._at_exit)

    def _at_exit(self) -> None:
        if os.getpid() != self._pid:
            return
        self._closed = True
        try:
            self.flush()
        except Exception as error:
            waiting = sum(map(len, self._rows.values()))
            warnings.warn(f"{waiting} logged values were lost: {error}", RuntimeWarning, stacklevel=2)


def _latest(name: str, rows: Sequence[Any]) -> list[Any]:
    """In a table where the latest row of a key counts, a commit holds one row for each key."""
    if name == "runs":
        return list({row.run_id: row for row in rows}.values())
    if name == "tags":
        return list({(row.owner_type, row.owner, row.key): row for row in rows if isinstance(row, TagRow)}.values())
    return list(rows)
