"""One filesystem for every kind of URI: local paths, ``s3:``, ``gs:``, ``abfss:`` and ``hdfs:``.

A :class:`Storage` is a place plus the options to reach it, plain text that pickles; the connection behind it is made when
it is first used. Files are streamed, a local file appears whole or not at all, and no error shows a credential.
"""

import os
import shutil
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sparkml_lifecycle import uris
from sparkml_lifecycle.errors import InvalidInput, NotFound, StorageError
from sparkml_lifecycle.storage import filesystem, signed, tree
from sparkml_lifecycle.storage import options as naming
from sparkml_lifecycle.storage.filesystem import HADOOP, explained

# a read of S3 is a request
_CHUNK = 16 * 1024 * 1024


@dataclass(frozen=True)
class StoredFile:
    """A file or directory of a storage.

    Attributes
    ----------
    path : str
        Relative to the storage.
    is_dir : bool
    size : int or None
        Bytes; None for a directory.
    modified_ns : int
        Nanoseconds since 1970; 0 where the storage does not say.
    """

    path: str
    is_dir: bool
    size: int | None
    modified_ns: int = 0

    @property
    def modified(self) -> float:
        """Seconds since 1970."""
        return self.modified_ns / 1e9


@dataclass(frozen=True)
class Storage:
    """A directory, bucket or prefix, and the options to reach it; made by :func:`open_storage`.

    Attributes
    ----------
    uri : str
        The one normal spelling: an absolute path, or ``s3://bucket/prefix``.
    options : tuple of (str, str)
        What was given, under delta-rs' names; the environment adds to it. Never shown, logged or written.
    """

    uri: str
    options: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    @property
    def is_local(self) -> bool:
        """Whether it is a path on this machine."""
        return "://" not in self.uri

    @property
    def local_path(self) -> Path:
        """The path on this machine.

        Raises
        ------
        InvalidInput
            If it is not on this machine.
        """
        if not self.is_local:
            raise InvalidInput(f"{self.uri!r} is not a path on this machine; download it first.")
        return Path(self.uri)

    @property
    def scheme(self) -> str:
        """``file`` for a local path, else ``s3``, ``gs``, ``abfss``, ``hdfs`` or ``viewfs``."""
        return uris.StorageUri(self.uri).scheme

    @property
    def single_writer(self) -> bool:
        """Whether the caller has said that nobody else writes here (the option ``single_writer``)."""
        return naming.is_true(dict(self.options).get(naming.SINGLE_WRITER))

    @property
    def delta_uri(self) -> str:
        """The URI as delta-rs spells it.

        Raises
        ------
        InvalidInput
            If delta-rs cannot take the path; see :func:`sparkml_lifecycle.uris.for_delta`.
        """
        return uris.for_delta(self.uri)

    def delta_options(self) -> dict[str, str]:
        """The ``storage_options`` that delta-rs takes: what was given and what the environment adds."""
        return naming.for_delta(self.scheme, self._parts(self.uri)[1], self.options)

    @property
    def spark_uri(self) -> str:
        """The URI as Spark spells it: ``s3a:`` for ``s3:``."""
        return f"s3a{self.uri.removeprefix('s3')}" if self.scheme == "s3" else self.uri

    def spark_options(self) -> dict[str, str]:
        """What was given, as options of a Spark reader or writer: ``spark.read.format("delta").options(**these)``.

        They belong there and not in the session's conf, which the Spark UI shows.
        """
        return naming.for_spark(self.scheme, self._parts(self.uri)[1], self.options)

    def at(self, uri: str | Path) -> "Storage":
        """The storage at another URI, with these options as far as they may be used there (the same kind of storage)."""
        place = open_storage(uri)
        return Storage(place.uri, naming.reach(self.options, self.uri, place.uri))

    def child(self, path: str) -> "Storage":
        """The storage below ``path``, a relative path."""
        return Storage(uris.join(self.uri, uris.check_relative(path)), self.options)

    def read_bytes(self, path: str) -> bytes:
        """A file's content.

        Raises
        ------
        NotFound
            If there is no such file.
        """
        files, place = self._place(path)
        with explained("read", self._shown(path)), files.open_input_stream(place) as stream:
            return bytes(stream.read())

    def write_bytes(self, path: str, data: bytes) -> None:
        """Write a file, whole or not at all; one that is there is replaced."""
        files, place = self._place(path)
        with explained("write", self._shown(path)), self._writing(files, place) as stream:
            stream.write(data)

    def write_new(self, path: str, data: bytes) -> bool:
        """Write a file unless one is there; False where one was.

        Two writers at once leave exactly one winner on local disks, on ``hdfs:`` and on S3 with keys (of the options or the
        environment). Elsewhere the file is looked for and then written.
        """
        if self.is_local:
            return filesystem.link_new(self.local_path / uris.check_relative(path), data)
        scheme, host, place = self._parts(self._shown(uris.check_relative(path)))
        if scheme in HADOOP:
            with explained("write", self._shown(path)):
                return filesystem.rename_new(filesystem.hadoop(scheme, host, self._connection()), place, data)
        if scheme == "s3":
            answer = signed.conditional_put(self.delta_options(), host, place, data)
            if answer is not None:
                return answer
        if self.exists(path):
            return False
        self.write_bytes(path, data)
        return True

    def exists(self, path: str = "") -> bool:
        """Whether a file or directory is there."""
        return self.stat(path) is not None

    def stat(self, path: str = "") -> StoredFile | None:
        """What is at ``path``, or None."""
        from pyarrow.fs import FileType

        files, place = self._place(path)
        with explained("look at", self._shown(path)):
            info = files.get_file_info(place)
        if info.type == FileType.NotFound:
            return None
        return StoredFile(path, info.type == FileType.Directory, info.size, info.mtime_ns or 0)

    def list(self, path: str = "", recursive: bool = False) -> list[StoredFile]:
        """What lies directly (or anywhere) below ``path``, sorted by path; empty where nothing is there."""
        from pyarrow.fs import FileType

        files, place = self._place(path)
        start = len(self._place("")[1].rstrip("/")) + 1
        try:
            with explained("list", self._shown(path)):
                found = filesystem.listed(files, place, recursive)
            listed = [
                StoredFile(info.path[start:], info.type == FileType.Directory, info.size, info.mtime_ns or 0)
                for info in found
            ]
        except UnicodeDecodeError as error:
            name = os.fsdecode(error.object).rpartition("/")[2]
            raise StorageError(
                f"Cannot list {self._shown(path)!r}: the name {name!r} in it is no UTF-8. Rename that file."
            ) from None
        except StorageError:
            # a file holds nothing; some storages say so and some raise
            there = self.stat(path)
            if there is None or there.is_dir:
                raise
            return []
        return sorted(listed, key=lambda file: file.path)

    def download(self, path: str, destination: str | Path) -> Path:
        """Copy a file, or a directory with all it holds, to this machine.

        Parameters
        ----------
        path : str
            Relative to the storage; empty means all of it.
        destination : path
            For a directory the directory to fill; for a file the file, or an existing directory to put it into.

        Returns
        -------
        Path
            The local file or directory.
        """
        found = self.stat(path)
        if found is None:
            raise NotFound(f"There is nothing at {self._shown(path)!r}.")
        target = Path(destination)
        if not found.is_dir:
            target = target / Path(path or self.uri).name if target.is_dir() else target
            self._fetch(path, target)
            return target
        target.mkdir(parents=True, exist_ok=True)
        for file in self.list(path, recursive=True):
            relative = file.path[len(path.rstrip("/")) + 1 :] if path else file.path
            if file.is_dir:
                (target / relative).mkdir(parents=True, exist_ok=True)
            else:
                self._fetch(file.path, target / relative)
        return target

    def upload(self, source: str | Path, path: str) -> None:
        """Copy a local file to ``path``, or a local directory's content below it; links are followed.

        Raises
        ------
        NotFound
            If there is nothing.
        InvalidInput
            If something can be copied by nobody, such as a link to nothing or a pipe; then nothing is copied.
        """
        local = Path(source)
        if local.is_dir():
            files = tree.files_below(local)
            targets = [uris.check_relative(uris.join(path, below) if path else below) for below, _ in files]
            for (_, file), target in zip(files, targets, strict=True):
                self._put(file, target)
        elif local.is_file():
            self._put(local, path)
        elif local.exists():
            raise InvalidInput(f"{str(local)!r} is a pipe, socket or device, and files and directories are copied.")
        else:
            raise NotFound(f"There is no file or directory {str(local)!r} on this machine.")

    def delete(self, path: str) -> None:
        """Remove a file, or a directory with all it holds; nothing happens where nothing is there."""
        found = self.stat(path)
        if found is None:
            return
        files, place = self._place(path)
        # somebody else may remove the same
        with suppress(NotFound), explained("delete", self._shown(path)):
            if found.is_dir:
                filesystem.delete_directory(files, place)
            else:
                files.delete_file(place)

    @property
    def speaks_arrow(self) -> bool:
        """Whether pyarrow's own threads may read here; ``hdfs:`` is reached through Python.

        Such a thread can be the last to hold a file, and aborts the process if it lets go of it while the interpreter ends.
        """
        return self.scheme not in HADOOP

    def arrow(self, path: str = "") -> tuple[Any, str]:
        """The ``pyarrow.fs`` file system and the path in it, for readers and writers of Parquet."""
        return self._place(path)

    def _put(self, file: Path, path: str) -> None:
        files, place = self._place(path)
        with (
            explained("write", self._shown(path)),
            file.open("rb") as content,
            self._writing(files, place) as stream,
        ):
            shutil.copyfileobj(content, stream, _CHUNK)

    def _fetch(self, path: str, target: Path) -> None:
        files, place = self._place(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(filesystem.part(target.name))
        try:
            with (
                explained("read", self._shown(path)),
                files.open_input_stream(place) as stream,
                beside.open("wb") as file,
            ):
                shutil.copyfileobj(stream, file, _CHUNK)
            os.replace(beside, target)
        finally:
            beside.unlink(missing_ok=True)

    def _place(self, path: str) -> tuple[Any, str]:
        full = self._shown(uris.check_relative(path)) if path else self.uri
        if self.is_local:
            return filesystem.connect("file", "", ()), full
        scheme, host, place = self._parts(full)
        # one connection for all buckets, and for all containers of an Azure account
        at = {"s3": "", "gs": "", "abfss": f"@{host.partition('@')[2]}"}.get(scheme, host)
        files = filesystem.connect(scheme, at, self._connection())
        return files, place if scheme in HADOOP else f"{host.partition('@')[0]}{place}"

    def _writing(self, files: Any, place: str) -> AbstractContextManager[Any]:
        if self.is_local:
            return filesystem.writing_local(place)
        if self.scheme in HADOOP:
            return filesystem.writing_hadoop(
                filesystem.hadoop(self.scheme, self._parts(self.uri)[1], self._connection()), place
            )
        return filesystem.writing_object(files, place)

    def _connection(self) -> naming.Options:
        return tuple(sorted(naming.effective(self.scheme, self.options).items()))

    def _parts(self, uri: str) -> tuple[str, str, str]:
        return ("file", "", uri) if self.is_local else uris.split(uri)

    def _shown(self, path: str) -> str:
        return uris.join(self.uri, path)


def open_storage(uri: str | Path, options: Mapping[str, str] | None = None) -> Storage:
    """The storage at a URI; nothing is read or written yet.

    Parameters
    ----------
    uri : str or path
        A path, ``file:``, ``s3://``, ``gs://``, ``abfss://``, ``hdfs://`` or ``viewfs://``, or one of Spark's and Hadoop's
        other spellings (``s3a:``, ``s3n:``, ``gcs:``, ``abfs:``, ``wasbs:``).
    options : mapping, optional
        The ``storage_options``, by the names of :data:`sparkml_lifecycle.storage.options.TABLE` or delta-rs' own, such as
        ``endpoint_url``, ``region``, ``access_key_id``, ``secret_access_key`` for S3. They win over the environment.

    Raises
    ------
    InvalidInput
        If the URI's scheme or an option is not known.
    """
    if not isinstance(uri, str | os.PathLike) or not str(uri).strip():
        found = "an empty one" if isinstance(uri, str) else type(uri).__name__
        raise InvalidInput(f"A place is named by a path or URI, found {found}.")
    place = uris.normalise(uri)
    scheme = uris.StorageUri(place).scheme
    if scheme not in naming.TABLE:
        known = ", ".join(f"{one}:" for one in naming.TABLE)
        raise InvalidInput(
            f"{str(uri)!r} has the scheme {scheme!r}. Known: a path, {known} (and s3a:, gcs:, wasbs: …)."
        )
    if scheme in ("s3", "gs", "abfss") and not uris.split(place)[1]:
        raise InvalidInput(f"{str(uri)!r} names no bucket or container. The form is {scheme}://<bucket>/<prefix>.")
    return Storage(place, naming.normal(scheme, options or {}))
