"""A forked child reaches its tables through a process of its own: delta-rs panics in a child once its parent has used it.

:class:`Handle` stands where delta-rs' ``DeltaTable`` does elsewhere. Behind it runs ``python -m sparkml_lifecycle.lake.forked``,
one for each child, from its first use (half a second) to its end; a call then takes about a millisecond.
"""

import os
import pickle
import secrets
import struct
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, ClassVar

from sparkml_lifecycle.errors import StorageError

_LENGTH = struct.Struct(">Q")


class _Process:
    """The process behind this one; ``forked`` once this process is a child of one that had loaded delta-rs."""

    forked = False
    running: "subprocess.Popen[bytes] | None" = None
    lock = threading.Lock()
    # tables that nobody here holds any more
    dropped: ClassVar[list[int]] = []


def is_forked() -> bool:
    """Whether this process may not use delta-rs itself."""
    return _Process.forked


def _after_fork() -> None:
    _Process.forked = _Process.forked or "deltalake" in sys.modules
    # the parent's process answers the parent alone
    _Process.running = None
    _Process.lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)


_locked: "weakref.WeakSet[Any]" = weakref.WeakSet()


def renew_lock(owner: Any) -> None:
    """In children forked from now on, give ``owner`` a new ``_lock``: another thread of the parent may hold the old one."""
    _locked.add(owner)


def _renew_locks() -> None:
    for owner in list(_locked):
        owner._lock = threading.RLock()


os.register_at_fork(after_in_child=_renew_locks)


class Handle:
    """A Delta table that another process has opened; what it takes and gives is what delta-rs' ``DeltaTable`` does."""

    def __init__(self, number: int) -> None:
        self._number = number

    @classmethod
    def open(cls, uri: str, options: Mapping[str, str]) -> "Handle | None":
        """The table at a URI, or None."""
        number = _call("open", uri, dict(options))
        return None if number is None else cls(number)

    @classmethod
    def create(cls, uri: str, schema: Any, options: Mapping[str, str], configuration: Mapping[str, str]) -> "Handle":
        """A new table, or the one that somebody has made in the meantime."""
        return cls(_call("create", uri, schema, dict(options), dict(configuration)))

    def version(self) -> int:
        """The version that it stands at."""
        return int(_call("version", self._number))

    def transaction_version(self, identifier: str) -> int | None:
        """The last version under an application's identifier."""
        found = _call("transaction_version", self._number, identifier)
        return None if found is None else int(found)

    def update_incremental(self) -> None:
        """Go on to the newest version."""
        _call("update_incremental", self._number)

    def get_add_actions(self, flatten: bool = False) -> Any:
        """The table's files, as an Arrow table."""
        return _call("get_add_actions", self._number)

    def schema(self) -> Any:
        """Something with ``fields`` that have a ``name``."""
        return SimpleNamespace(fields=[SimpleNamespace(name=name) for name in _call("columns", self._number)])

    def append(self, data: Any, transactions: Sequence[tuple[str, int, int | None]]) -> None:
        """Commit rows through this very handle."""
        _call("append", self._number, data, list(transactions))

    def __del__(self) -> None:
        _Process.dropped.append(self._number)


def query(handles: Mapping[str, Handle], sql: str) -> Any:
    """An Arrow table of a query over handles by their names."""
    return _call("query", {name: handle._number for name, handle in handles.items()}, sql)


def one_winner(storage: Any) -> bool:
    """As :func:`sparkml_lifecycle.lake.probe.one_winner`."""
    return bool(_call("one_winner", storage))


def _call(what: str, *arguments: Any) -> Any:
    with _Process.lock:
        process = _Process.running
        if process is None or process.poll() is not None:
            command = [sys.executable, "-c", f"from {__name__} import serve; serve()"]
            # in a session of its own: Ctrl-C in a terminal would end it before what waits here is written
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
            _Process.running = process
            _Process.dropped.clear()
        dropped = [_Process.dropped.pop() for _ in range(len(_Process.dropped))]
        try:
            _send(process.stdin, (what, arguments, dropped))
            kind, answer = _receive(process.stdout)
        except (OSError, EOFError):
            _Process.running = None
            raise StorageError(
                "The process through which a forked process reaches its tables has ended; it is started anew at the next call."
            ) from None
    if kind == "error":
        raise answer
    return answer


def _send(pipe: Any, message: Any) -> None:
    content = pickle.dumps(message, protocol=5)
    pipe.write(_LENGTH.pack(len(content)) + content)
    pipe.flush()


def _receive(pipe: Any) -> Any:
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    # both ends are this program, of one user, joined by a pipe that nobody else holds
    return pickle.loads(pipe.read(_LENGTH.unpack(head)[0]))


# -- the process behind ----------------------------------------------------------------------------------------------------


def serve() -> None:
    """Answer calls on standard input until it is closed."""
    calls, answers = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    # whatever prints must not get between the answers
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    tables = _Tables()
    while True:
        try:
            what, arguments, dropped = _receive(calls)
        except EOFError:
            return
        for number in dropped:
            tables.drop(number)
        try:
            answer = ("answer", getattr(tables, what)(*arguments))
        except Exception as error:  # it is raised where the call was made
            answer = ("error", _portable(error))
        _send(answers, answer)


def _portable(error: Exception) -> Exception:
    try:
        return pickle.loads(pickle.dumps(error))
    except Exception:  # whatever it is that does not pickle, its text does
        return StorageError(f"{type(error).__name__}: {error}")


class _Tables:
    def __init__(self) -> None:
        self._open: dict[int, Any] = {}
        # a number of the process before this one must not name a table of this one
        self._last = secrets.randbits(32) << 24

    def _keep(self, table: Any) -> int:
        self._last += 1
        self._open[self._last] = table
        return self._last

    def _table(self, number: int) -> Any:
        try:
            return self._open[number]
        except KeyError:
            raise StorageError("The process that had opened this table has ended; it is opened anew.") from None

    def drop(self, number: int) -> None:
        self._open.pop(number, None)

    def open(self, uri: str, options: dict[str, str]) -> int | None:
        from deltalake import DeltaTable
        from deltalake.exceptions import TableNotFoundError

        try:
            return self._keep(DeltaTable(uri, storage_options=options))
        except TableNotFoundError:
            return None

    def create(self, uri: str, schema: Any, options: dict[str, str], configuration: dict[str, str]) -> int:
        from deltalake import DeltaTable

        return self._keep(
            DeltaTable.create(uri, schema, mode="error", storage_options=options, configuration=configuration)
        )

    def version(self, number: int) -> int:
        return int(self._table(number).version())

    def transaction_version(self, number: int, identifier: str) -> int | None:
        found = self._table(number).transaction_version(identifier)
        return None if found is None else int(found)

    def update_incremental(self, number: int) -> None:
        self._table(number).update_incremental()

    def get_add_actions(self, number: int) -> Any:
        import pyarrow as pa

        return pa.table(self._table(number).get_add_actions(flatten=True))

    def columns(self, number: int) -> list[str]:
        return [column.name for column in self._table(number).schema().fields]

    def append(self, number: int, data: Any, transactions: list[tuple[str, int, int | None]]) -> None:
        from sparkml_lifecycle.lake.table import commit_rows

        commit_rows(self._table(number), data, transactions)

    def one_winner(self, storage: Any) -> bool:
        from sparkml_lifecycle.lake import probe

        return probe.one_winner(storage)

    def query(self, numbers: dict[str, int], sql: str) -> Any:
        import pyarrow as pa
        from deltalake import QueryBuilder

        builder = QueryBuilder()
        for name, number in numbers.items():
            builder.register(name, self._table(number))
        return pa.table(builder.execute(sql).read_all())
