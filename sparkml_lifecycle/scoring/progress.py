"""How far a job is while it runs: workers send the driver a datagram now and then, and one that is lost does no harm."""

import json
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

# a worker says no more often how far it is, and the driver shows it no more often
_PAUSE, _TICK = 0.5, 1.0
# between two lines in a log, where a terminal's line is written over
_LOG_SECONDS = 10.0


@dataclass(frozen=True)
class Progress:
    """How far a job is.

    Attributes
    ----------
    job : str
    rows : int
        Rows scored so far.
    seconds : float
        Since the workers were told to score.
    total : int or None
        How many rows there will be, estimated by the bytes or tasks that are done; None while nothing is known.
    """

    job: str
    rows: int
    seconds: float
    total: int | None

    @property
    def rows_per_second(self) -> float:
        """Rows a second so far, the workers' start included."""
        return self.rows / self.seconds if self.seconds else 0.0

    @property
    def seconds_left(self) -> float | None:
        """How long it will go on at this rate; None while that is not known."""
        if self.total is None or not self.rows:
            return None
        return (self.total - self.rows) / self.rows_per_second

    def __str__(self) -> str:
        whole = f" of about {self.total:,}" if self.total is not None else ""
        left = f", {_spoken(self.seconds_left)} left" if self.seconds_left is not None else ""
        return f"{self.job}: {self.rows:,}{whole} rows, {self.rows_per_second:,.0f} rows/s{left}"


def _spoken(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, left = divmod(minutes, 60)
    return f"{hours} h {left} min" if hours else f"{minutes} min {rest} s"


@dataclass(frozen=True)
class Address:
    """Where a worker says how far it is.

    Attributes
    ----------
    host : str
    port : int
    token : str
        Datagrams without it are not heard.
    """

    host: str
    port: int
    token: str


# -- in a worker ---------------------------------------------------------------------------------------------------------------


@dataclass
class Meter:
    """Counts what one task has done; without an address it does nothing.

    Parameters
    ----------
    address : Address or None
    task : int
        A task that is tried again counts anew.
    """

    address: Address | None
    task: int
    rows: int = field(default=0, init=False)
    _known: tuple[int, int] = field(default=(0, 0), init=False)
    _said: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM) if self.address else None

    def add(self, rows: int) -> None:
        """Rows have their answers."""
        self.rows += rows
        if self._socket is not None and time.monotonic() - self._said >= _PAUSE:
            self._say()

    def done(self, size: int) -> None:
        """A piece of so many bytes is done with all rows that were added."""
        self._known = (self.rows, self._known[1] + size)

    def _say(self) -> None:
        assert self.address is not None
        assert self._socket is not None
        self._said = time.monotonic()
        said = json.dumps([self.address.token, self.task, self.rows, *self._known])
        with suppress(OSError):
            self._socket.sendto(said.encode(), (self.address.host, self.address.port))

    def __enter__(self) -> "Meter":
        return self

    def __exit__(self, *error: object) -> None:
        if self._socket is not None:
            self._say()
            self._socket.close()


# -- on the driver -------------------------------------------------------------------------------------------------------------


@dataclass
class Watch:
    """Hears the workers of a job and shows how far they are; without ``show`` it does nothing.

    Parameters
    ----------
    job : str
    show : callable or None
        Given a :class:`Progress` about once a second while rows are scored.
    host : str
        The name under which workers reach this process.
    share : callable
        The share of the tasks that are done, for a source whose bytes say nothing; None while it is not known.
    """

    job: str
    show: Callable[[Progress], None] | None
    host: str = "127.0.0.1"
    share: Callable[[], float | None] = lambda: None
    address: Address | None = field(default=None, init=False)
    _bytes: int = field(default=0, init=False)
    _began: float = field(default_factory=time.monotonic, init=False)
    _tasks: dict[int, tuple[int, int, int]] = field(default_factory=dict, init=False)

    def begin(self, size: int = 0) -> None:
        """The workers are told to score so many bytes; 0 where that is not known."""
        self._bytes, self._began = size, time.monotonic()
        self._tasks.clear()

    def now(self) -> Progress:
        """How far the job is."""
        tasks = list(self._tasks.values())
        rows, counted, done = (sum(one[i] for one in tasks) for i in range(3))
        total = round(counted * self._bytes / done) if self._bytes and done else None
        if not self._bytes and rows and (share := self.share()):
            total = round(rows / share)
        return Progress(self.job, rows, time.monotonic() - self._began, None if total is None else max(total, rows))

    def __enter__(self) -> "Watch":
        if self.show is not None:
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._socket.bind(("127.0.0.1" if self.host == "127.0.0.1" else "", 0))
            self._socket.settimeout(_TICK / 5)
            self.address = Address(self.host, self._socket.getsockname()[1], secrets.token_hex(8))
            self._over = threading.Event()
            self._thread = threading.Thread(target=self._listen, name="sparkml-progress", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.show is not None:
            self._over.set()
            self._thread.join()
            self._socket.close()

    def _listen(self) -> None:
        shown = time.monotonic()
        while not self._over.is_set():
            with suppress(TimeoutError, OSError):
                self._hear(self._socket.recv(4096))
            if self._tasks and time.monotonic() - shown >= _TICK:
                shown = time.monotonic()
                assert self.show is not None
                self.show(self.now())

    def _hear(self, datagram: bytes) -> None:
        try:
            token, task, *counts = json.loads(datagram)
            rows, known, size = (int(one) for one in counts)
        except (ValueError, TypeError):
            return
        assert self.address is not None
        if token == self.address.token:
            self._tasks[task] = (rows, known, size)


@dataclass
class _Screen:
    """Where :func:`show_progress` was last seen."""

    at: float = 0.0


_screen = _Screen()


def show_progress(progress: Progress) -> None:
    """Show it on stderr: in one line of a terminal, in a log every ten seconds."""
    if sys.stderr.isatty():
        # written over by whatever is printed next
        print(f"\r\x1b[K{progress}\r", end="", file=sys.stderr, flush=True)
    elif time.monotonic() - _screen.at >= _LOG_SECONDS:
        _screen.at = time.monotonic()
        print(progress, file=sys.stderr, flush=True)


@contextmanager
def watching(spark: Any, job: str, show: Callable[[Progress], None] | None) -> Iterator[Watch]:
    """Watch the job that this thread runs on a Spark session, or without Spark where ``spark`` is None."""
    if spark is None or show is None:
        with Watch(job, show) as watch:
            yield watch
        return
    context, tag = spark.sparkContext, f"sparkml-{secrets.token_hex(4)}"
    master = context.master
    host = "127.0.0.1" if master.startswith("local") else context.getConf().get("spark.driver.host", "127.0.0.1")
    context.addJobTag(tag)
    try:
        with Watch(job, show, host, lambda: _share(context, tag)) as watch:
            yield watch
    finally:
        with suppress(Exception):  # under spark-submit Ctrl-C has ended the JVM
            context.removeJobTag(tag)


def _share(context: Any, tag: str) -> float | None:
    """The share of the tasks of all stages that are done."""
    tracker = context._jsc.sc().statusTracker()
    done = whole = 0
    for job in tracker.getJobIdsForTag(tag):
        found = tracker.getJobInfo(job)
        for number in found.get().stageIds() if found.isDefined() else ():
            stage = tracker.getStageInfo(number)
            if stage.isDefined():
                done += stage.get().numCompletedTasks()
                whole += stage.get().numTasks()
    return done / whole if whole else None
