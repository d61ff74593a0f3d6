"""A lake: a directory of tables and artifacts, with a small file that says which programs may read and write it."""

import json
from collections.abc import Mapping
from typing import Any

from sparkml_lifecycle.errors import FormatError, InvalidInput, StorageError, did_you_mean
from sparkml_lifecycle.lake.table import LakeTable
from sparkml_lifecycle.storage import Storage, open_storage

FILE = "lake.json"
FORMAT = 1


class Lake:
    """The tables of a lake. Opening one writes nothing.

    Parameters
    ----------
    uri : str
        A path or storage URI.
    tables : mapping of str to type
        Table name to its row class.
    options : mapping, optional
        Storage options.

    Raises
    ------
    FormatError
        If the lake was written by a newer version that this one cannot read.
    """

    def __init__(self, uri: str, tables: Mapping[str, type], options: Mapping[str, str] | None = None) -> None:
        self.storage: Storage = open_storage(uri, options)
        self._tables = {name: LakeTable(self.storage.child("tables"), name, row) for name, row in tables.items()}
        self._writable = False
        self._check("min_reader", "read")

    def __repr__(self) -> str:
        return f"Lake({self.storage.uri!r})"

    @property
    def uri(self) -> str:
        """Where it lies."""
        return self.storage.uri

    def table(self, name: str) -> LakeTable:
        """A table: ``.to_arrow()``, ``.to_pandas()``, ``.query(sql)``.

        Raises
        ------
        InvalidInput
            If there is no such table.
        """
        if name not in self._tables:
            raise InvalidInput(f"A lake has no table {name!r}. It has: {', '.join(self._tables)}.{did_you_mean(name, self._tables)}")
        return self._tables[name]

    def prepare(self) -> None:
        """Make the lake ready for a first write: ``lake.json``, and a storage that refuses to overwrite a commit."""
        if self._writable:
            return
        self._check("min_writer", "write")
        content = json.dumps({"format": FORMAT, "min_reader": FORMAT, "min_writer": FORMAT}, indent=1).encode()
        if self.storage.create(FILE, content) and not self.refuses_second_put():
            raise StorageError(
                f"The storage at {self.uri!r} lets a second writer overwrite a commit, so several writers would lose rows. Use a storage with conditional puts."
            )
        self._writable = True

    def refuses_second_put(self) -> bool:
        """Whether the storage refuses to write a file that is there; tries it with a small file."""
        if not self.storage.is_local:
            return _refuses_remotely(self.storage)
        self.storage.create(".probe", b"1")
        refused = not self.storage.create(".probe", b"2")
        self.storage.delete(".probe")
        return refused

    def _check(self, key: str, what: str) -> None:
        if not self.storage.exists(FILE):
            return
        try:
            found: dict[str, Any] = json.loads(self.storage.read_bytes(FILE))
            needed = int(found[key])
        except (ValueError, KeyError, TypeError) as error:
            raise FormatError(f"{FILE} in {self.uri!r} cannot be read: {type(error).__name__}.") from error
        if needed > FORMAT:
            raise FormatError(
                f"The lake at {self.uri!r} has format {found.get('format')}; this version can {what} up to format {FORMAT}: upgrade sparkml-lifecycle."
            )


def _refuses_remotely(storage: Storage) -> bool:
    """Create a table twice at one place: the second commit 0 must be refused."""
    import uuid

    import pyarrow as pa
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    probe = storage.child(f"probe-{uuid.uuid4().hex}")
    schema = pa.schema([("a", pa.int64())])
    try:
        DeltaTable.create(probe.uri, schema, mode="error", storage_options=probe.delta_options or None)
        try:
            DeltaTable.create(probe.uri, schema, mode="error", storage_options=probe.delta_options or None)
        except DeltaError:
            return True
        return False
    finally:
        probe.delete("")
