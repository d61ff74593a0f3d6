"""One commit of the files that workers wrote, by delta-rs on the driver, after checking what delta-rs does not check."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from sparkml_lifecycle.errors import Conflict, SchemaError, StorageError
from sparkml_lifecycle.model import types
from sparkml_lifecycle.scoring import log
from sparkml_lifecycle.scoring.layout import check_appends
from sparkml_lifecycle.scoring.output import Written, as_actions
from sparkml_lifecycle.storage import Storage, said

# Two engines can overwrite one another's commits on local disks and S3, so a table is told from those that Spark has made.
# delta-rs refuses to set a property that it does not know, so its description says so
# features of a table that rows added or replaced as whole files leave true; what nothing here knows is Spark's
_HARMLESS = {
    "appendOnly", "invariants", "changeDataFeed", "deletionVectors", "v2Checkpoint", "vacuumProtocolCheck", "timestampNtz",
    "checkConstraints", "generatedColumns", "columnMapping", "identityColumns",
}  # fmt: skip
WRITER_PROPERTY, DELTA_RS = "sparkml.writer", "delta-rs"
_DESCRIPTION = "Scored by sparkml_lifecycle; committed by delta-rs"


@dataclass(frozen=True)
class Target:
    """A scoring target as it was when its job began.

    Attributes
    ----------
    storage : Storage
    handle : deltalake.DeltaTable or None
        None where it is not there yet.
    """

    storage: Storage
    handle: Any

    @classmethod
    def open(cls, storage: Storage) -> "Target":
        """The table at a place.

        Raises
        ------
        StorageError
            If it cannot be opened.
        """
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError, TableNotFoundError

        try:
            return cls(storage, DeltaTable(storage.delta_uri, storage_options=storage.delta_options()))
        except TableNotFoundError:
            return cls(storage, None)
        except (DeltaError, OSError) as error:
            raise StorageError(
                f"Cannot open the target {storage.uri!r}: {type(error).__name__}: {said(error)}"
            ) from None

    @property
    def version(self) -> int:
        """The version; -1 of a table that is not there yet."""
        return -1 if self.handle is None else int(self.handle.version())

    @property
    def partition_by(self) -> tuple[str, ...]:
        """The partition columns; none of a table that is not there yet."""
        return () if self.handle is None else tuple(self.handle.metadata().partition_columns)

    def version_of(self, identifier: str) -> int | None:
        """What the last commit under an identifier made it."""
        return None if self.handle is None else self.handle.transaction_version(identifier)

    @property
    def table_id(self) -> str:
        """Delta's identifier of the table; empty where it is not there yet."""
        return "" if self.handle is None else str(self.handle.metadata().id)

    def rows(self) -> int:
        """How many rows it holds, by its files' statistics."""
        import pyarrow.compute as pc

        if self.handle is None:
            return 0
        return int(pc.sum(pa.table(self.handle.get_add_actions(flatten=True))["num_records"]).as_py() or 0)

    def read_text(self, path: str) -> str | None:
        """A file below the table's directory; None where there is none."""
        return log.reader(self.storage)(path)

    def write_text(self, path: str, text: str) -> None:
        """Put a file there, whole or not at all."""
        if self.storage.is_local:
            (self.storage.local_path / path).parent.mkdir(parents=True, exist_ok=True)
        self.storage.write_bytes(path, text.encode())

    def names(self, path: str) -> list[str]:
        """The names of the files of a directory."""
        return [one.path.rpartition("/")[2] for one in self.storage.list(path) if not one.is_dir]

    def again(self) -> "Target":
        """The target as it is now."""
        return Target.open(self.storage)

    @property
    def is_ours(self) -> bool:
        """Whether delta-rs commits to it: it is not there yet, says so, or was begun by delta-rs."""
        if self.handle is None:
            return True
        said_of_it = self.handle.metadata()
        named = said_of_it.configuration.get(WRITER_PROPERTY)
        if named is not None or said_of_it.description == _DESCRIPTION:
            return named in (None, DELTA_RS)
        known = self.handle.history()
        return bool(known) and str(known[-1].get("engineInfo", "")).startswith(DELTA_RS)

    @property
    def rules(self) -> str:
        """What the table asks of its writers that delta-rs does not see to when files are committed; empty where nothing."""
        if self.handle is None:
            return ""
        protocol, said_of_it = self.handle.protocol(), self.handle.metadata().configuration
        features = {*(protocol.reader_features or ()), *(protocol.writer_features or ())} - _HARMLESS
        on = {
            name.removeprefix("delta.").partition(".")[0] for name, value in said_of_it.items() if _binds(name, value)
        }
        for column in self.handle.schema().fields:
            on.update(name for name in column.metadata if name.startswith("delta.") or name == "CURRENT_DEFAULT")
        return ", ".join(sorted(features | on))

    def commit(
        self,
        written: Sequence[Written],
        schema: pa.Schema,
        *,
        overwrite: bool,
        identifiers: Mapping[str, int],
        metadata: Mapping[str, Any],
        partition_by: Sequence[str] = (),
    ) -> int:
        """Commit the files; returns the version that has them.

        Parameters
        ----------
        written : sequence of Written
        schema : pyarrow.Schema
            The table's columns.
        overwrite : bool
            Whether they replace all that was there when this was opened; else they are added.
        identifiers : mapping
            What this commit raises, each to its new version; a rival's commit under one of them makes it fail.
        metadata : mapping
            What the commit says of itself.
        partition_by : sequence of str
            The table's partition columns; delta-rs cannot change those of a table that is there.

        Raises
        ------
        Conflict
            If somebody else committed first.
        StorageError
            If a file is not as it was written.
        """
        from deltalake.exceptions import CommitFailedError, DeltaError

        self._check(written)
        if self.handle is not None and self.partition_by != tuple(partition_by):
            raise Conflict(
                f"Somebody else made the target {self.storage.uri!r} with other partitions meanwhile; nothing was committed."
            )
        actions = as_actions(written, int(time.time() * 1000))
        try:
            self._put(actions, schema, overwrite, identifiers, metadata, list(partition_by))
        except (DeltaError, OSError) as error:
            # an error does not say that nothing was committed: the answer may have been lost
            now = Target.open(self.storage)
            if (version := now.made(metadata, since=self.version)) is not None:
                return version
            if now.version > self.version or (isinstance(error, CommitFailedError) and self.handle is None):
                raise Conflict(
                    f"Somebody else changed the target {self.storage.uri!r} meanwhile; nothing was committed. Run the job again."
                ) from error
            raise StorageError(
                f"Cannot commit to the target {self.storage.uri!r}: {type(error).__name__}: {said(error)}"
            ) from None
        version = Target.open(self.storage).made(metadata, since=self.version)
        return self.version + 1 if version is None else version

    def _put(
        self,
        actions: list[Any],
        schema: pa.Schema,
        overwrite: bool,
        identifiers: Mapping[str, int],
        metadata: Mapping[str, Any],
        partition_by: list[str],
    ) -> None:
        from deltalake import Schema
        from deltalake.transaction import CommitProperties, Transaction, create_table_with_add_actions

        properties = CommitProperties(
            custom_metadata={"userMetadata": json.dumps(metadata), "isBlindAppend": not overwrite},
            # what replaces everything must not replace what it has not seen
            max_commit_retries=0 if overwrite else 100,
            app_transactions=[Transaction(name, version) for name, version in identifiers.items()],
        )
        columns = Schema.from_arrow(schema)
        if self.handle is None:
            create_table_with_add_actions(
                self.storage.delta_uri, columns, actions, mode="error", partition_by=partition_by, description=_DESCRIPTION,
                storage_options=self.storage.delta_options(), commit_properties=properties,
            )  # fmt: skip
            return
        self.handle.create_write_transaction(
            actions, "overwrite" if overwrite else "append", columns, partition_by or None, commit_properties=properties
        )

    def made(self, metadata: Mapping[str, Any], since: int) -> int | None:
        """The version of the commit after ``since`` that says this of itself; None where there is none."""
        wanted = json.dumps(metadata)
        commits = self.handle.history(self.version - since) if self.version > since else []
        return next((int(one["version"]) for one in commits if one.get("userMetadata") == wanted), None)

    def _check(self, written: Sequence[Written]) -> None:
        if len({one.path for one in written}) < len(written):
            raise StorageError(f"A file below {self.storage.uri!r} was written twice; nothing was committed.")
        for one in written:
            found = self.storage.stat(one.path)
            if found is None or found.size != one.size:
                raise StorageError(
                    f"The file {one.path!r} below {self.storage.uri!r} is not as it was written; nothing was committed."
                )

    def fitting(self, schema: pa.Schema, merge: bool) -> "Target":
        """The target, once rows with these columns can be added; with ``merge`` it is given the columns that it lacks.

        Raises
        ------
        SchemaError
            If they cannot.
        """
        from deltalake import Schema

        if self.handle is None:
            return self
        there = pa.schema(self.handle.schema().to_arrow())
        if not merge:
            check_appends(there.names, schema.names, self.storage.uri)
        spelled = {name.lower(): name for name in there.names}
        other = [one.name for one in schema if one.name not in there.names and one.name.lower() in spelled]
        if other:
            named = ", ".join(f"{name} (there {spelled[name.lower()]})" for name in other)
            raise SchemaError(
                f"Columns of the batch differ by their capitals alone from those of {self.storage.uri!r}: {named}."
            )
        odd = [one for one in schema if one.name in there.names and there.field(one.name).type != one.type]
        if odd:
            named = ", ".join(
                f"{one.name} ({types.describe(one.type)}, there {types.describe(there.field(one.name).type)})"
                for one in odd
            )
            raise SchemaError(
                f"Columns of the batch have other types than in the table at {self.storage.uri!r}: {named}. Cast them in the source "
                "(source.format: sql), or change keep:."
            )
        new = [one for one in schema if one.name not in there.names]
        if not new:
            return self
        self.handle.alter.add_columns(Schema.from_arrow(pa.schema([one.with_nullable(True) for one in new])).fields)
        return Target.open(self.storage)


def _binds(name: str, value: str) -> bool:
    """Whether a property of a table asks something of its writers."""
    if name == "delta.columnMapping.mode":
        return value != "none"
    asks = ("delta.appendOnly", "delta.enableRowTracking", "delta.enableInCommitTimestamps", "delta.enableTypeWidening")
    return name.startswith("delta.constraints.") or (name in asks and value.lower() == "true")
