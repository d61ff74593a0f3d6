"""The ``pyarrow.fs`` file system of each kind of storage, how a file is written on it, and what its errors may say."""

import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sparkml_lifecycle.errors import MissingLibrary, NotFound, StorageError
from sparkml_lifecycle.storage.options import Options, account, is_true, redacted

HADOOP = ("hdfs", "viewfs")
_PART = re.compile(r"\..+\.[0-9a-f]{8}\.part", re.DOTALL)


@lru_cache(maxsize=32)
def connect(scheme: str, host: str, options: Options) -> Any:
    """The file system of a storage; ``options`` are the effective ones, under delta-rs' names."""
    from pyarrow import fs

    said = dict(options)
    if scheme == "file":
        return fs.LocalFileSystem()
    if scheme == "s3":
        endpoint = urlsplit(said.get("AWS_ENDPOINT_URL", ""))
        return fs.S3FileSystem(
            access_key=said.get("AWS_ACCESS_KEY_ID"),
            secret_key=said.get("AWS_SECRET_ACCESS_KEY"),
            session_token=said.get("AWS_SESSION_TOKEN"),
            region=said.get("AWS_REGION"),
            endpoint_override=endpoint.netloc or None,
            scheme=endpoint.scheme or "https",
            force_virtual_addressing=is_true(said.get("AWS_VIRTUAL_HOSTED_STYLE_REQUEST")),
            proxy_options=said.get("proxy_url"),
            # in the background pyarrow would hold all of a file that is read faster than it is sent
            background_writes=False,
        )
    if scheme == "gs":
        endpoint = urlsplit(said.get("GOOGLE_BASE_URL", ""))
        return fs.GcsFileSystem(
            anonymous=is_true(said.get("GOOGLE_SKIP_SIGNATURE")),
            scheme=endpoint.scheme or None,
            endpoint_override=endpoint.netloc or None,
        )
    if scheme == "abfss":
        return _azure(fs, account(host), said)
    return fs.PyFileSystem(fs.FSSpecHandler(hadoop(scheme, host, options)))


@lru_cache(maxsize=32)
def hadoop(scheme: str, host: str, options: Options) -> Any:
    """The fsspec file system of ``hdfs:`` or ``viewfs:``; without a host the one that Hadoop's conf names."""
    try:
        from hdfs_native import fsspec  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        raise MissingLibrary("hdfs:// needs the library hdfs-native: pip install 'sparkml-lifecycle[hdfs]'.") from None
    kind = fsspec.HdfsFileSystem if scheme == "hdfs" else fsspec.ViewfsFileSystem

    class Files(kind):  # type: ignore[misc,valid-type,unused-ignore]
        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            # it is handed paths only; the library's own would cut a name at its "?" or "#"
            return path

    name, _, port = host.partition(":")
    return Files(host=name or None, port=int(port) if port else None, **dict(options))


def _azure(fs: Any, name: str, said: dict[str, str]) -> Any:
    endpoint = urlsplit(said.get("AZURE_STORAGE_ENDPOINT", ""))
    places = {}
    if endpoint.netloc:
        # pyarrow puts the account before an authority that begins with a point, else behind it
        blob = endpoint.netloc.removeprefix(name) if endpoint.netloc.startswith(f"{name}.") else endpoint.netloc
        places = {
            "blob_storage_authority": blob.replace(".dfs.", ".blob."),
            "dfs_storage_authority": blob.replace(".blob.", ".dfs."),
            "blob_storage_scheme": endpoint.scheme,
            "dfs_storage_scheme": endpoint.scheme,
        }
    return fs.AzureFileSystem(
        account_name=name,
        account_key=said.get("AZURE_STORAGE_ACCOUNT_KEY"),
        sas_token=said.get("AZURE_STORAGE_SAS_TOKEN"),
        client_id=said.get("AZURE_STORAGE_CLIENT_ID"),
        client_secret=said.get("AZURE_STORAGE_CLIENT_SECRET"),
        tenant_id=said.get("AZURE_STORAGE_TENANT_ID"),
        **places,
    )


def listed(files: Any, place: str, recursive: bool) -> list[Any]:
    """What lies directly or anywhere below a place, directories included, as pyarrow's ``FileInfo``."""
    from pyarrow.fs import FileInfo, FileSelector, FileType

    if files.type_name != "gcs":
        return list(files.get_file_info(FileSelector(place, allow_not_found=True, recursive=recursive)))
    # in gs: pyarrow knows a directory only by an object that marks it, and tools other than pyarrow leave none
    start = len(place.rstrip("/")) + 1
    below = files.get_file_info(FileSelector(place, allow_not_found=True, recursive=True))
    found = {one.path: one for one in below if recursive or "/" not in one.path[start:]}
    for one in below:
        names = one.path[start:].split("/")[:-1]
        for depth in range(1, len(names) + 1 if recursive else min(len(names), 1) + 1):
            directory = place.rstrip("/") + "/" + "/".join(names[:depth])
            found.setdefault(directory, FileInfo(directory, FileType.Directory))
    return list(found.values())


def delete_directory(files: Any, place: str) -> None:
    """Remove a directory with all it holds."""
    from pyarrow.fs import FileSelector, FileType

    if files.type_name != "gcs":
        return files.delete_dir(place)
    for one in files.get_file_info(FileSelector(place, allow_not_found=True, recursive=True)):
        if one.type != FileType.Directory:
            files.delete_file(one.path)
    # all that is left is the object that marks it, which need not be there
    with suppress(OSError):
        files.delete_dir(place)


def part(name: str) -> str:
    """What a file is called while it is written: beside ``name``, and of this writer alone."""
    return f".{name}.{uuid.uuid4().hex[:8]}.part"


def is_part(name: str) -> bool:
    """Whether :func:`part` made this name."""
    return _PART.fullmatch(name) is not None


@contextmanager
def writing_local(path: str) -> Iterator[Any]:
    """A stream into a local file, which appears whole or not at all."""
    parent, _, name = path.rpartition("/")
    os.makedirs(parent, exist_ok=True)
    beside = f"{parent}/{part(name)}"
    try:
        with open(beside, "wb") as file:
            yield file
        os.replace(beside, path)
    finally:
        Path(beside).unlink(missing_ok=True)


@contextmanager
def writing_hadoop(files: Any, path: str) -> Iterator[Any]:
    """A stream into a file of ``hdfs:``, where a file is seen while it grows: it is written beside and renamed."""
    parent, _, name = path.rpartition("/")
    beside = f"{parent}/{part(name)}"
    try:
        with files.open(beside, "wb") as stream:
            yield stream
        files.mv(beside, path, overwrite=True)
    except BaseException:
        with suppress(OSError):
            files.rm_file(beside)
        raise


@contextmanager
def writing_object(filesystem: Any, place: str) -> Iterator[Any]:
    """A stream into an object, which appears when the stream is closed."""
    try:
        with filesystem.open_output_stream(place) as stream:
            yield stream
    except BaseException:
        # closing the stream has made an object of what was written until then
        with suppress(OSError):
            filesystem.delete_file(place)
        raise


def link_new(path: Path, data: bytes, *, parents: bool = True) -> bool:
    """Write a local file unless one is there: False where one was. Its directory is made, if ``parents``."""
    beside = path.with_name(part(path.name))
    with explained("write", str(path)):
        if parents:
            path.parent.mkdir(parents=True, exist_ok=True)
        try:
            beside.write_bytes(data)
            os.link(beside, path)
        except FileExistsError:
            return False
        finally:
            beside.unlink(missing_ok=True)
    return True


def rename_new(files: Any, path: str, data: bytes) -> bool:
    """Write a file of ``hdfs:`` unless one is there: False where one was; the NameNode decides."""
    parent, _, name = path.rpartition("/")
    beside = f"{parent}/{part(name)}"
    try:
        with files.open(beside, "wb") as stream:
            stream.write(data)
        files.mv(beside, path)
    except FileExistsError:
        with suppress(OSError):
            files.rm_file(beside)
        return False
    return True


@contextmanager
def explained(what: str, shown: str) -> Iterator[None]:
    """Turns a library's errors into ours."""
    try:
        yield
    except FileNotFoundError:
        raise NotFound(f"There is nothing at {shown!r}.") from None
    except (OSError, RuntimeError) as error:
        if isinstance(error, StorageError):
            raise
        # the library's text may hold a signed URL, so only its kind and the local reason are shown
        reason = error.strerror if isinstance(error, OSError) and error.strerror else _reason(str(error))
        raise StorageError(
            f"Cannot {what} {shown!r}: {reason}. Check the place, the credentials and the network."
        ) from None


_KNOWN = ("ACCESS_DENIED", "NO_SUCH_BUCKET", "INVALID_ACCESS_KEY_ID", "SIGNATURE_DOES_NOT_MATCH", "NETWORK_CONNECTION")


def _reason(text: str) -> str:
    for word in _KNOWN:
        if word in text:
            return word.lower().replace("_", " ")
    if not text or "?" in text or "key" in text.lower():
        return "the storage refused"
    return redacted(text.splitlines()[0])[:300].rstrip(".")
