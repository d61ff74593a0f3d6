"""A lake: a directory or bucket of tables with one small file, ``lake.json``, that says which programs may use it."""

import getpass
import json
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, overload

from sparkml_lifecycle import uris
from sparkml_lifecycle.errors import FormatError, NotFound, StorageError, did_you_mean
from sparkml_lifecycle.lake import forked, order, probe
from sparkml_lifecycle.lake.rows import R, Row, row_type_of
from sparkml_lifecycle.lake.table import LAKE_FILE as _FILE
from sparkml_lifecycle.lake.table import Table, Writer, read_again
from sparkml_lifecycle.settings import Settings
from sparkml_lifecycle.storage import Storage, open_storage

# below it lie model files that came without a run, each directory named after their digest
MODEL_FILES = "models"
# beside such a directory while it is being removed
REMOVED = ".removed"
FORMAT = 1
_PATIENCE = 20
_ONE_WRITER = (
    "The storage of {uri!r} overwrites a commit that must be new (it ignores If-None-Match), so two writers would lose one another's rows. "
    "Use a storage with conditional writes, or let one process write the lake, the server, and say so there: "
    "storage_options={{'single_writer': 'true'}}. Any number may read."
)


class Lake:
    """The tables under one URI.

    Opening reads ``lake.json`` if it is there and writes nothing; the first write makes it.

    Parameters
    ----------
    uri : str or path
        A directory, ``s3://bucket/prefix`` …; it need not exist.
    storage_options : mapping, optional
        See :func:`sparkml_lifecycle.storage.open_storage`; they stay in memory. ``single_writer`` says that this process alone
        writes the lake, which a storage without conditional writes needs.
    clock : callable, optional
        The wall clock, in UTC.

    Raises
    ------
    FormatError
        If the lake needs a newer version of this package.
    InvalidInput
        If delta-rs cannot reach a directory of that name.
    """

    def __init__(
        self, uri: str | Path, storage_options: Mapping[str, str] | None = None, clock: order.Clock = order.now
    ) -> None:
        self.storage: Storage = open_storage(uri, storage_options)
        uris.for_delta(self.storage.uri)
        self.writer = Writer(_user(), clock)
        self._tables: dict[type[Row], Table[Any]] = {}
        self._lock = threading.RLock()
        self._ready = False
        self._check(for_writing=False)
        forked.renew_lock(self)

    @property
    def uri(self) -> str:
        """The lake's normal URI."""
        return self.storage.uri

    @overload
    def table(self, row_type: type[R]) -> Table[R]: ...

    @overload
    def table(self, row_type: str) -> Table[Row]: ...

    def table(self, row_type: type[Row] | str) -> Table[Any]:
        """The table that a row class describes, which need not exist yet; or the one of that name, with all its columns.

        Raises
        ------
        NotFound
            If there is no table of that name.
        """
        if isinstance(row_type, str):
            row_type = self._row_type_of(row_type)
        with self._lock:
            if row_type not in self._tables:
                place = self.storage.child(row_type.TABLE)
                fold = self.table(row_type.FOLD) if row_type.FOLD is not None else None
                self._tables[row_type] = Table(row_type, place, self.writer, self._prepare, fold)
            return self._tables[row_type]

    def open_ahead(self, *row_types: type[Row]) -> None:
        """Open several tables side by side where this thread has not read them yet; what fails is said when they are read."""
        new = [table for table in map(self.table, row_types) if not table.is_open]
        if len(new) < 2 or forked.is_forked():
            return

        def work(table: Table[Any]) -> None:
            with suppress(Exception):  # whatever it is, the reading itself says it
                table.open_ahead()

        threads = [threading.Thread(target=work, args=(table,), name="sparkml-open", daemon=True) for table in new]
        with suppress(RuntimeError):  # at the interpreter's end no thread starts any more
            for thread in threads:
                thread.start()
        for thread in threads:
            if thread.ident is not None:
                thread.join()

    def query(self, sql: str, *row_types: type[Row]) -> Any:
        """An Arrow table of a query over several tables, by their names."""
        return read_again([self.table(row_type) for row_type in row_types], sql)

    def _row_type_of(self, name: str) -> type[Row]:
        if forked.is_forked():
            raise StorageError(
                "A forked process cannot read a table by its name; read it in the parent, or in a process that was spawned."
            )
        from deltalake import DeltaTable
        from deltalake.exceptions import TableNotFoundError

        place = self.storage.child(name)
        try:
            columns = DeltaTable(place.delta_uri, storage_options=place.delta_options()).schema()
        except TableNotFoundError:
            there = [one.path for one in self.storage.list() if one.is_dir and one.path != "artifacts"]
            raise NotFound(f"The lake {self.uri!r} has no table {name!r}.{did_you_mean(name, there)}") from None
        return row_type_of(name, columns.to_arrow())

    def _check(self, for_writing: bool) -> bool:
        try:
            said = json.loads(self._content())
            needed = said["min_writer" if for_writing else "min_reader"]
        except NotFound:
            if self.storage.is_local and self.storage.local_path.is_file():
                raise StorageError(f"{self.storage.uri!r} is a file; a lake is a directory.") from None
            return False
        except (ValueError, KeyError, TypeError):
            raise FormatError(
                f"{self.storage.uri}/{_FILE} is broken. It should be a JSON object with format, min_reader and min_writer."
            ) from None
        if not isinstance(needed, int):
            raise FormatError(
                f"{self.storage.uri}/{_FILE} is broken. It should hold whole numbers for min_reader and min_writer, found {needed!r}."
            )
        if needed > FORMAT:
            raise FormatError(
                f"The lake {self.storage.uri!r} has format {said.get('format')} and can be {'written' if for_writing else 'read'} by programs of "
                f"format {needed} or newer; this one knows {FORMAT}. Upgrade: pip install -U sparkml-lifecycle."
            )
        if for_writing and said.get("single_writer") and not self.storage.single_writer:
            raise StorageError(_ONE_WRITER.format(uri=self.storage.uri))
        return True

    def _content(self) -> bytes:
        # on Azure a file is there, and empty, while it is being written
        for _ in range(_PATIENCE):
            if content := self.storage.read_bytes(_FILE):
                return content
            time.sleep(0.1)
        return b""

    def _prepare(self) -> None:
        with self._lock:
            # somebody may have removed the directory under a process that goes on
            if self._ready and not (self.storage.is_local and not (self.storage.local_path / _FILE).exists()):
                return
            if not self._check(for_writing=True):
                content = {"format": FORMAT, "min_reader": FORMAT, "min_writer": FORMAT, **self._try_storage()}
                self.storage.write_new(_FILE, json.dumps(content).encode())
                self._check(for_writing=True)
            self._ready = True

    def _try_storage(self) -> dict[str, bool]:
        """What ``lake.json`` is to say of the storage."""
        fair = forked.one_winner if forked.is_forked() else probe.one_winner
        if fair(self.storage):
            return {}
        if not self.storage.single_writer:
            raise StorageError(_ONE_WRITER.format(uri=self.storage.uri))
        return {"single_writer": True}


def _user() -> str:
    configured = Settings.load().user
    if configured:
        return configured
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        # a container may run under a user id without a name
        return "unknown"
