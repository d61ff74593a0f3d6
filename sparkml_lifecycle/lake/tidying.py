"""What a writer does for the table's next reader in passing: compaction, checkpoints, a short log."""

import random
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from sparkml_lifecycle.errors import LifecycleError
from sparkml_lifecycle.lake import forked, log
from sparkml_lifecycle.lake.files import small_files
from sparkml_lifecycle.lake.tail import Tail
from sparkml_lifecycle.storage import Storage

_LOOK_EVERY, _SHORTEN_EVERY = 10, 50
# what may be deleted was a minute old, so looking at every file again and again finds nothing
_CLEAN_SECONDS = 10.0


class Tidying:
    """Keeps one table small; called with the table's lock held.

    Parameters
    ----------
    storage : Storage
    compact_at : int
        About how many small files are put together.
    compact : callable
        Puts them together.
    opened : callable
        delta-rs' handle of the table as it is now, None where it is not there.
    """

    def __init__(
        self, storage: Storage, compact_at: int, compact: Callable[[], object], opened: Callable[[], Any]
    ) -> None:
        # writers that began together do not all do it at once
        self.compact_at = compact_at + random.randrange(compact_at // 2)
        self._storage, self._compact, self._opened = storage, compact, opened
        self._thread: threading.Thread | None = None
        self._cleaned = -_CLEAN_SECONDS

    def after(self, commits: int, end: Any, aside: bool) -> None:
        """Do what is due after so many commits of this process, the last through ``end``; ``aside`` while the caller goes on."""
        # a forked child leaves it to other processes; and what is due while a thread is at work is done with the next commit
        if forked.is_forked() or (aside and self._thread is not None and self._thread.is_alive()):
            return
        # by the table's commits, not this process's: programs that make one each keep it small too
        due = isinstance(end, Tail) and end.asks_for_checkpoint
        work: list[Callable[[], object]] = []
        if (due or commits % _LOOK_EVERY == 0) and end is not None:
            small = end.small if isinstance(end, Tail) else len(small_files(end))
            if small >= self.compact_at:
                work.append(self._compact)
        if due:
            end.asks_for_checkpoint = False
            work += [self._checkpoint, self._clean]
        if commits % _SHORTEN_EVERY == 0:
            work.append(self._shorten_log)
        if work:
            self._do(work, aside)

    def wait(self) -> None:
        """Until what goes on beside the callers is done."""
        if self._thread is not None:
            self._thread.join()

    def _do(self, work: Sequence[Callable[[], object]], aside: bool) -> None:
        from deltalake.exceptions import DeltaError

        def do_all() -> None:
            # tidying is a service to the next reader: the rows are there, and `sparkml maintain` does it again
            for one in work:
                with suppress(DeltaError, LifecycleError, OSError):
                    one()

        if not aside:
            return do_all()
        # the interpreter waits for it when it ends
        self._thread = threading.Thread(target=do_all, name="sparkml-tidy")
        try:
            self._thread.start()
        except RuntimeError:  # at the interpreter's end no thread starts any more
            do_all()

    def _checkpoint(self) -> None:
        if (handle := self._opened()) is not None:
            handle.create_checkpoint()

    def _shorten_log(self) -> None:
        self._clean()
        if (handle := self._opened()) is not None:
            handle.cleanup_metadata()

    def _clean(self) -> None:
        now = time.monotonic()
        if now - self._cleaned < _CLEAN_SECONDS:
            return
        self._cleaned = now
        log.clean(self._storage, in_passing=True)
