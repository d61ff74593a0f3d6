"""One filesystem for every kind of URI: local paths, ``s3:``, ``gs:``, ``abfss:`` and ``hdfs:``.

A :class:`Storage` is a place plus the options to reach it, plain text that pickles; the connection behind it is made when
it is first used. Files are streamed, a local file appears whole or not at all, and no error shows a credential.
"""

import hashlib
import hmac
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlsplit
from urllib.request import Request, urlopen

from sparkml_lifecycle import uris
from sparkml_lifecycle.errors import InvalidInput, MissingLibrary, NotFound, StorageError

_CHUNK = 4 * 1024 * 1024
_S3_OPTIONS = (
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_ENDPOINT_URL", "AWS_ALLOW_HTTP",
)  # fmt: skip
_ALSO_NAMED = {"AWS_REGION": ("AWS_DEFAULT_REGION",), "AWS_ENDPOINT_URL": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT")}
_SCHEMES = ("file", "s3", "gs", "abfss", "hdfs")


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
    modified : float
        Seconds since 1970; 0 where the storage does not say.
    """

    path: str
    is_dir: bool
    size: int | None
    modified: float = 0.0


@dataclass(frozen=True)
class Storage:
    """A directory, bucket or prefix, and the options to reach it; made by :func:`open_storage`.

    Attributes
    ----------
    uri : str
        The one normal spelling: an absolute path, or ``s3://bucket/prefix``.
    options : tuple of (str, str)
        Options as delta-rs names them, beside those of the environment; never shown.
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
    def delta_uri(self) -> str:
        """The URI as delta-rs spells it."""
        return self.uri

    def delta_options(self) -> dict[str, str]:
        """The storage options that delta-rs needs: for S3 those of :func:`open_storage` and of the environment."""
        if urlsplit(self.uri).scheme != "s3":
            return dict(self.options)
        return {**dict(self.options), **_s3_options(self.options)}

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
        filesystem, place = self._place(path)
        with _explained("read", self._shown(path)), filesystem.open_input_stream(place) as stream:
            return bytes(stream.read())

    def write_bytes(self, path: str, data: bytes) -> None:
        """Write a file, whole or not at all; one that is there is replaced."""
        filesystem, place = self._place(path)
        with _explained("write", self._shown(path)), _writing(filesystem, place, self.is_local) as stream:
            stream.write(data)

    def write_new(self, path: str, data: bytes) -> bool:
        """Write a file unless one is there; False where one was.

        Where the storage can (local disks, S3 with keys), two writers at once leave exactly one winner.
        """
        if self.is_local:
            return _link_new(self.local_path / uris.check_relative(path), data)
        if urlsplit(self.uri).scheme == "s3":
            answer = self.conditional_put(path, data)
            if answer is not None:
                return answer
        if self.exists(path):
            return False
        self.write_bytes(path, data)
        return True

    def conditional_put(self, path: str, data: bytes) -> bool | None:
        """Put an S3 object with ``If-None-Match: *``: True if it was written, False if one was there, None if it cannot be tried.

        It cannot be tried without an access key in the options or the environment (roles of the machine), or on another storage.
        """
        options = _s3_options(self.options)
        if urlsplit(self.uri).scheme != "s3" or "AWS_SECRET_ACCESS_KEY" not in options:
            return None
        _, place = self._place(path)
        request = _signed_put(options, place, data)
        try:
            with urlopen(request, timeout=30):
                return True
        except HTTPError as error:
            error.close()
            if error.code in (409, 412):
                return False
            if error.code == 501:
                return None
            raise StorageError(
                f"Cannot write {self._shown(path)!r}: the storage answered {error.code} {error.reason}."
            ) from None
        except URLError as error:
            raise StorageError(f"Cannot write {self._shown(path)!r}: {error.reason}.") from None

    def exists(self, path: str = "") -> bool:
        """Whether a file or directory is there."""
        return self.stat(path) is not None

    def stat(self, path: str = "") -> StoredFile | None:
        """What is at ``path``, or None."""
        from pyarrow.fs import FileType

        filesystem, place = self._place(path)
        with _explained("look at", self._shown(path)):
            info = filesystem.get_file_info(place)
        if info.type == FileType.NotFound:
            return None
        return StoredFile(path, info.type == FileType.Directory, info.size, (info.mtime_ns or 0) / 1e9)

    def list(self, path: str = "", recursive: bool = False) -> list[StoredFile]:
        """What lies directly (or anywhere) below ``path``, sorted by path; empty where nothing is there."""
        from pyarrow.fs import FileSelector, FileType

        filesystem, place = self._place(path)
        with _explained("list", self._shown(path)):
            found = filesystem.get_file_info(FileSelector(place, allow_not_found=True, recursive=recursive))
        start = len(self._place("")[1].rstrip("/")) + 1
        files = [
            StoredFile(info.path[start:], info.type == FileType.Directory, info.size, (info.mtime_ns or 0) / 1e9)
            for info in found
        ]
        return sorted(files, key=lambda file: file.path)

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
        """Copy a local file to ``path``, or a local directory's content below it."""
        local = Path(source)
        if local.is_dir():
            for file in sorted(local.rglob("*")):
                if file.is_file():
                    self.upload(
                        file,
                        uris.join(path, file.relative_to(local).as_posix())
                        if path
                        else file.relative_to(local).as_posix(),
                    )
            return
        if not local.is_file():
            raise NotFound(f"There is no file or directory {str(local)!r} on this machine.")
        filesystem, place = self._place(path)
        with (
            _explained("write", self._shown(path)),
            local.open("rb") as content,
            _writing(filesystem, place, self.is_local) as stream,
        ):
            shutil.copyfileobj(content, stream, _CHUNK)

    def delete(self, path: str) -> None:
        """Remove a file, or a directory with all it holds; nothing happens where nothing is there."""
        found = self.stat(path)
        if found is None:
            return
        filesystem, place = self._place(path)
        with _explained("delete", self._shown(path)):
            (filesystem.delete_dir if found.is_dir else filesystem.delete_file)(place)

    def arrow(self, path: str = "") -> tuple[Any, str]:
        """The ``pyarrow.fs`` file system and the path in it, for readers and writers of Parquet."""
        return self._place(path)

    def _fetch(self, path: str, target: Path) -> None:
        filesystem, place = self._place(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.part")
        try:
            with (
                _explained("read", self._shown(path)),
                filesystem.open_input_stream(place) as stream,
                beside.open("wb") as file,
            ):
                shutil.copyfileobj(stream, file, _CHUNK)
            os.replace(beside, target)
        finally:
            beside.unlink(missing_ok=True)

    def _place(self, path: str) -> tuple[Any, str]:
        full = uris.join(self.uri, uris.check_relative(path)) if path else self.uri
        if self.is_local:
            return _filesystem("file", "", ()), full
        parts = urlsplit(full)
        filesystem = _filesystem(parts.scheme, parts.netloc, self._connection())
        if parts.scheme == "hdfs":
            return filesystem, parts.path
        return filesystem, f"{parts.netloc.partition('@')[0]}{parts.path}"

    def _connection(self) -> tuple[tuple[str, str], ...]:
        if urlsplit(self.uri).scheme == "s3":
            return tuple(sorted(_s3_options(self.options).items()))
        return self.options

    def _shown(self, path: str) -> str:
        return uris.join(self.uri, path)


def open_storage(uri: str | Path, options: Mapping[str, str] | None = None) -> Storage:
    """The storage at a URI; nothing is read or written yet.

    Parameters
    ----------
    uri : str or path
        A path, ``file:``, ``s3://`` (or ``s3a:``), ``gs://``, ``abfss://`` or ``hdfs://``.
    options : mapping, optional
        Options as delta-rs and the ``AWS_*`` environment name them, the prefix may be left out: ``endpoint_url``, ``region``,
        ``access_key_id``, ``secret_access_key``, ``session_token``, ``allow_http``. They win over the environment.

    Raises
    ------
    InvalidInput
        If the URI's scheme is not one of those.
    """
    place = uris.normalise(uri)
    scheme = uris.StorageUri(place).scheme
    if scheme not in _SCHEMES:
        raise InvalidInput(
            f"{str(uri)!r} has the scheme {scheme!r}. Known: a path, {', '.join(f'{s}:' for s in _SCHEMES)} (and s3a:)."
        )
    named = {_full_name(scheme, key): str(value) for key, value in (options or {}).items()}
    return Storage(place, tuple(sorted(named.items())))


def _full_name(scheme: str, key: str) -> str:
    if scheme != "s3":
        return key
    name = key.upper() if key.upper().startswith("AWS_") else f"AWS_{key.upper()}"
    return next((known for known, others in _ALSO_NAMED.items() if name in others), name)


def _s3_options(options: tuple[tuple[str, str], ...]) -> dict[str, str]:
    given = dict(options)
    found = {}
    for name in _S3_OPTIONS:
        sources = (
            given.get(name),
            os.environ.get(name),
            *(os.environ.get(other) for other in _ALSO_NAMED.get(name, ())),
        )
        value = next((source for source in sources if source), None)
        if value:
            found[name] = value
    if found.get("AWS_ENDPOINT_URL", "").startswith("http://"):
        found["AWS_ALLOW_HTTP"] = "true"
    if "AWS_ENDPOINT_URL" in found:
        found.setdefault("AWS_REGION", "us-east-1")
    return found


@lru_cache(maxsize=32)
def _filesystem(scheme: str, host: str, options: tuple[tuple[str, str], ...]) -> Any:
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
        )
    if scheme == "gs":
        return fs.GcsFileSystem()
    if scheme == "abfss":
        return fs.AzureFileSystem(
            account_name=host.partition("@")[2].partition(".")[0], account_key=said.get("account_key")
        )
    return fs.PyFileSystem(fs.FSSpecHandler(_hdfs(host)))


def _hdfs(host: str) -> Any:
    try:
        from hdfs_native.fsspec import HdfsFileSystem  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        raise MissingLibrary("hdfs:// needs the library hdfs-native: pip install 'sparkml-lifecycle[hdfs]'.") from None
    name, _, port = host.partition(":")
    return HdfsFileSystem(host=name, port=int(port) if port else None)


@contextmanager
def _writing(filesystem: Any, place: str, is_local: bool) -> Iterator[Any]:
    parent, _, name = place.rpartition("/")
    if not is_local:
        try:
            with filesystem.open_output_stream(place) as stream:
                yield stream
        except BaseException:
            # closing the stream has made an object of what was written until then
            _delete_quietly(filesystem, place)
            raise
        return
    os.makedirs(parent, exist_ok=True)
    beside = f"{parent}/.{name}.{uuid.uuid4().hex[:8]}.part"
    try:
        with open(beside, "wb") as file:
            yield file
        os.replace(beside, place)
    finally:
        Path(beside).unlink(missing_ok=True)


def _delete_quietly(filesystem: Any, place: str) -> None:
    try:
        filesystem.delete_file(place)
    except OSError:
        return


def _link_new(path: Path, data: bytes) -> bool:
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
    with _explained("write", str(path)):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            beside.write_bytes(data)
            os.link(beside, path)
        except FileExistsError:
            return False
        finally:
            beside.unlink(missing_ok=True)
    return True


@contextmanager
def _explained(what: str, shown: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise NotFound(f"There is nothing at {shown!r}.") from None
    except (OSError, RuntimeError) as error:
        # the library's text may hold a signed URL, so only its kind and the local reason are shown
        reason = error.strerror if isinstance(error, OSError) and error.strerror else _reason(str(error))
        raise StorageError(
            f"Cannot {what} {shown!r}: {reason}. Check the place, the credentials and the network."
        ) from None


def _reason(text: str) -> str:
    for word in (
        "ACCESS_DENIED",
        "NO_SUCH_BUCKET",
        "INVALID_ACCESS_KEY_ID",
        "SIGNATURE_DOES_NOT_MATCH",
        "NETWORK_CONNECTION",
    ):
        if word in text:
            return word.lower().replace("_", " ")
    return "the storage refused" if "?" in text or "key" in text.lower() else text.splitlines()[0][:300].rstrip(".")


def _signed_put(options: Mapping[str, str], place: str, data: bytes) -> Request:
    """AWS Signature Version 4 of one conditional PUT (docs.aws.amazon.com, *Signature Version 4 signing process*)."""
    region = options.get("AWS_REGION", "us-east-1")
    endpoint = options.get("AWS_ENDPOINT_URL") or f"https://s3.{region}.amazonaws.com"
    host, path = urlsplit(endpoint).netloc, quote(f"/{place}")
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(data).hexdigest()
    headers = {"host": host, "if-none-match": "*", "x-amz-content-sha256": digest, "x-amz-date": now}
    if token := options.get("AWS_SESSION_TOKEN"):
        headers["x-amz-security-token"] = token
    names = ";".join(sorted(headers))
    canonical = "\n".join(
        ["PUT", path, "", *(f"{name}:{headers[name]}" for name in sorted(headers)), "", names, digest]
    )
    scope = f"{now[:8]}/{region}/s3/aws4_request"
    to_sign = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = f"AWS4{options['AWS_SECRET_ACCESS_KEY']}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.new(key, to_sign.encode(), "sha256").hexdigest()
    credential = f"{options.get('AWS_ACCESS_KEY_ID', '')}/{scope}"
    headers["authorization"] = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={signature}"
    del headers["host"]
    headers["content-type"] = "application/octet-stream"
    return Request(f"{endpoint.rstrip('/')}{path}", data=data, headers=headers, method="PUT")
