"""Logged rows wait in memory for a moment; a thread commits them, first the values, then the runs."""

import _thread
import atexit
import logging
import os
import signal
import sys
import threading
import time
import weakref
from collections.abc import Sequence
from typing import Any

from sparkml_lifecycle.errors import InvalidInput, LifecycleError, StorageError
from sparkml_lifecycle.lake import Lake, Row
from sparkml_lifecycle.lake.rows import fitting
from sparkml_lifecycle.lake.table import Batch
from sparkml_lifecycle.tracking.tables import RunRow

_LOG = logging.getLogger(__name__)
_SLOWEST = 10.0
# a run that is over by then is one commit to its table, not two
_HANDOVER = 0.1
_PATIENCE_AT_THE_END = 5.0
_open: "weakref.WeakSet[Buffer]" = weakref.WeakSet()


class Buffer:
    """Rows on their way to a lake.

    ``add`` costs microseconds. Whoever sees a run's last row sees its metrics, because ``runs`` is committed after all
    else. Rows whose commit failed are kept and tried again, with the same identity, so that they count once.

    Parameters
    ----------
    lake : Lake
    seconds : float
        How long a row may wait; more as the process grows old or commits are slow, up to 10 s.
    points : int
        How many rows may wait.
    """

    def __init__(self, lake: Lake, seconds: float, points: int) -> None:
        self._lake, self._seconds, self._points = lake, seconds, points
        self._started = time.monotonic()
        self._last_commit = 0.0
        self._fresh()
        _open.add(self)

    def _fresh(self) -> None:
        self._waiting: dict[type[Row], list[Row]] = {}
        self._failed: list[tuple[type[Row], Batch[Any]]] = []
        self._count = 0
        self._thread: threading.Thread | None = None
        self._closed = False
        self._condition = threading.Condition()
        self._flushing = threading.Lock()
        self._urgent_at: float | None = None

    def add(self, rows: Sequence[Row], urgent: bool = False) -> None:
        """Hand rows over; ``urgent`` ones are committed in a tenth of a second, in the background."""
        with self._condition:
            for row in rows:
                waiting = self._waiting.get(type(row))
                if waiting is None:
                    waiting = self._waiting[type(row)] = []
                waiting.append(row)
            was_empty = not self._count
            self._count += len(rows)
            if self._thread is None:
                self._closed = False
                _flush_when_multiprocessing_ends()
                self._thread = threading.Thread(target=self._run, name="sparkml-flusher", daemon=True)
                self._thread.start()
            if was_empty or urgent or self._count >= self._points:
                if urgent and self._urgent_at is None:
                    self._urgent_at = time.monotonic() + _HANDOVER
                self._condition.notify()

    def waits(self, row: Row) -> bool:
        """Whether this very row is still in memory and on its way to nobody."""
        with self._condition:
            return any(one is row for one in self._waiting.get(type(row), ()))

    def flush(self) -> None:
        """Commit what waits; returns when it is there.

        The work is done in a thread of its own: Ctrl-C, or what else a signal raises, ends the waiting and never the flush.

        Raises
        ------
        StorageError
            If something could not be written; it is kept and tried again with the next flush.
        InvalidInput
            If rows do not fit their table; those are dropped, and all others are there.
        """
        raised: list[BaseException] = []

        def work() -> None:
            try:
                self._flush()
            except BaseException as error:  # it is raised where the flush was asked for
                raised.append(error)

        if (thread := _started(work)) is not None:
            thread.join()
        if raised:
            raise raised[0]

    def _flush(self) -> None:
        with self._flushing:
            batches = self._take()
            values = [one for one in batches if one[0] is not RunRow]
            runs = [one for one in batches if one[0] is RunRow]
            started = time.monotonic()
            failed, why = self._commit(values)
            if failed:
                failed += runs
            else:
                failed, more = self._commit(runs)
                why = why or more
            self._last_commit = time.monotonic() - started
            self._failed = failed
        if failed:
            count = sum(len(batch.rows) for _, batch in failed)
            raise StorageError(f"{count} logged rows are not written yet; they are kept and tried again. {why}")
        if why:
            raise InvalidInput(f"Some logged rows can never be written and were dropped. {why}")

    def close(self) -> None:
        """Flush and end the thread; a later ``add`` starts another."""
        try:
            self.flush()
        finally:
            with self._condition:
                self._closed = True
                thread, self._thread = self._thread, None
                self._condition.notify_all()
            if thread is not None and thread is not threading.current_thread():
                thread.join()

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits and nothing is being written."""
        return not self._count and not self._failed and not self._flushing.locked()

    def _take(self) -> list[tuple[type[Row], Batch[Any]]]:
        with self._condition:
            waiting, self._waiting, self._count, self._urgent_at = self._waiting, {}, 0, None
        return [*self._failed, *((row_type, Batch(rows)) for row_type, rows in waiting.items())]

    def _commit(self, batches: list[tuple[type[Row], Batch[Any]]]) -> tuple[list[tuple[type[Row], Batch[Any]]], str]:
        by_table: dict[type[Row], list[Batch[Any]]] = {}
        for row_type, batch in batches:
            by_table.setdefault(row_type, []).append(batch)
        failed: list[tuple[type[Row], Batch[Any]]] = []
        reasons: list[str] = []

        def commit(row_type: type[Row]) -> None:
            left = by_table[row_type]
            while left:
                try:
                    reasons.extend(self._commit_fitting(row_type, left[0]))
                except BaseException as error:  # whatever it was, the rows are kept
                    # in their order: a later batch that overtook this one would be the older of the two for good
                    failed.extend((row_type, batch) for batch in left)
                    reasons.append(str(error))
                    return
                left.pop(0)

        _each_in_a_thread(commit, list(by_table))
        return failed, reasons[0] if reasons else ""

    def _commit_fitting(self, row_type: type[Row], batch: Batch[Any]) -> list[str]:
        """Commit a batch without the rows that do not fit their table, and say why those do not."""
        table = self._lake.table(row_type)
        try:
            table.commit(batch)
        except InvalidInput as error:
            # kept, they would hold up every flush to come; the others are somebody else's
            batch.rows, problems = fitting(row_type, batch.rows)
            if not problems:
                return [str(error)]
            table.commit(batch)
            return problems
        return []

    def _pause(self) -> float:
        age = 1 + (time.monotonic() - self._started) / 600
        return min(_SLOWEST, max(self._seconds * age, 4 * self._last_commit))

    def _wait_until_due(self) -> None:
        latest = time.monotonic() + self._pause()
        while not self._closed and self._count < self._points:
            left = min(latest, self._urgent_at or latest) - time.monotonic()
            if left <= 0:
                return
            self._condition.wait(left)

    def _run(self) -> None:
        while True:
            with self._condition:
                while not self._count and not self._failed and not self._closed:
                    self._condition.wait()
                self._wait_until_due()
                if self._closed:
                    return
            try:
                self._flush()
            except LifecycleError as error:
                _LOG.warning("%s", error)
                with self._condition:
                    self._condition.wait_for(lambda: self._closed, min(_SLOWEST, self._seconds))


def _each_in_a_thread(work: Any, items: list[Any]) -> None:
    threads = [_started(work, item) for item in items[1:]]
    for item in items[:1]:
        work(item)
    for thread in threads:
        if thread is not None:
            thread.join()


def _started(work: Any, *arguments: Any) -> threading.Thread | None:
    """A thread that does the work; None where it is done already, since at the interpreter's end no thread starts any more."""
    thread = threading.Thread(target=work, args=arguments, name="sparkml-commit", daemon=True)
    try:
        thread.start()
    except RuntimeError:
        work(*arguments)
        return None
    return thread


@atexit.register
def _flush_at_exit() -> None:
    for buffer in list(_open):
        if buffer.is_empty:
            continue
        try:
            buffer.flush()
        except Exception as error:  # nobody is left to catch it, so it is said
            print(f"sparkml_lifecycle: not everything that was logged is in the lake. {error}", file=sys.stderr)


def _flush_when_multiprocessing_ends() -> None:
    # its children leave without exit handlers, but run their finalizers; those of a `with Pool()` are terminated
    multiprocessing = sys.modules.get("multiprocessing")
    if multiprocessing is not None and multiprocessing.parent_process() is not None:
        from multiprocessing import util

        util.Finalize(None, _flush_at_exit, exitpriority=100)
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, _flush_and_end)


def _flush_and_end(number: int, frame: Any) -> None:
    # in a thread and not for long: the main thread may have been stopped while it held a lock, one of `threading` even
    done = _thread.allocate_lock()
    done.acquire()

    def work() -> None:
        try:
            _flush_at_exit()
        finally:
            done.release()

    _thread.start_new_thread(work, ())
    done.acquire(timeout=_PATIENCE_AT_THE_END)
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _forget_in_child() -> None:
    # what waits here is the parent's to write; its thread and locks do not exist in the child
    for buffer in list(_open):
        buffer._fresh()


os.register_at_fork(after_in_child=_forget_in_child)
