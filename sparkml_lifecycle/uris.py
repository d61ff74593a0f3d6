"""Parses ``runs:/…``, ``models:/…`` and storage URIs; resolving them to files is the client's work."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sparkml_lifecycle.errors import InvalidInput, did_you_mean

RUN_ID = re.compile(r"[0-9a-f]{32}")
_SAME_PLACE = {"s3a": "s3", "s3n": "s3", "gcs": "gs", "abfs": "abfss", "wasb": "abfss", "wasbs": "abfss"}
_SCHEMES = ("file", "s3", "gs", "abfss", "hdfs", "viewfs")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
# delta-rs makes a URL's host of a local path and decodes it once more: it panics, or looks in another directory
_NOT_IN_DELTA = re.compile(r"[\[\]^|\\\x00-\x1f\x7f\ud800-\udfff]|%[0-9A-Fa-f]{2}")
# what MLflow's users give for a place that is no directory or bucket
_NO_LAKES = ("databricks", "databricks-uc", "uc")


@dataclass(frozen=True)
class RunUri:
    """``runs:/<run_id>/<path>``: a path below a run's artifacts."""

    run_id: str
    path: str


@dataclass(frozen=True)
class ModelUri:
    """``models:/<name>/<version>``, ``models:/<name>/<Stage>``, ``models:/<name>/latest`` or ``models:/<name>@<alias>``."""

    name: str
    selector: str
    is_alias: bool


@dataclass(frozen=True)
class StorageUri:
    """A path on this machine or on a storage; ``text`` is its one normal spelling."""

    text: str

    @property
    def scheme(self) -> str:
        """``file`` for a local path, else the URI's scheme."""
        return urlsplit(self.text).scheme if "://" in self.text else "file"

    @property
    def is_local(self) -> bool:
        """Whether it is a path on this machine."""
        return self.scheme == "file"


def parse(uri: str | Path) -> RunUri | ModelUri | StorageUri:
    """The parts of a URI.

    Raises
    ------
    InvalidInput
        If it is no text or path, is empty, begins with a scheme that nothing here reads, or its ``runs:`` or ``models:`` form
        is not complete.
    """
    text = _text(uri)
    if text.startswith("runs:"):
        return _run_uri(text)
    if text.startswith("models:"):
        return _model_uri(text)
    _check_scheme(text)
    return StorageUri(normalise(text))


def lake(uri: str | Path) -> str:
    """The normal URI of a lake.

    Raises
    ------
    InvalidInput
        If it is no directory or bucket (a server's, a database's or Databricks' URI), or a directory in which delta-rs cannot
        write tables.
    """
    text = _text(uri)
    scheme = _scheme(text)
    if scheme in ("http", "https"):
        raise InvalidInput(
            f"{text!r} is a server, and a lake is a directory or bucket: a path, {_known()}. Servers come with a later version."
        )
    if text in _NO_LAKES or scheme in (*_NO_LAKES, "runs", "models"):
        here = f" A directory of that name: './{text}'." if text in _NO_LAKES else ""
        raise InvalidInput(f"{text!r} is no lake: give a directory or bucket, a path, {_known()}.{here}")
    _check_scheme(text)
    return for_delta(text)


def _text(uri: object) -> str:
    if not isinstance(uri, (str, os.PathLike)):
        raise InvalidInput(f"A URI is a text or a path, found {type(uri).__name__}.")
    text = str(uri)
    if not text.strip():
        raise InvalidInput(
            "An empty URI was given; give a path, file:, s3://, runs:/<run_id>/<path> or models:/<name>/<version>."
        )
    return text


def _scheme(text: str) -> str | None:
    """What stands before the colon, in small letters; None for a path, a Windows drive among them."""
    match = _SCHEME.match(text)
    return match[1].lower() if match else None


def _known() -> str:
    return ", ".join(f"{scheme}:" for scheme in _SCHEMES)


def _check_scheme(text: str) -> None:
    scheme = _scheme(text)
    if scheme is not None and scheme not in (*_SCHEMES, *_SAME_PLACE):
        guess = did_you_mean(scheme, (*_SCHEMES, *_SAME_PLACE, "runs", "models"))
        raise InvalidInput(
            f"{text!r} begins with {scheme}:, which nothing here reads. Known: a path, {_known()}, runs:/<run_id>/<path>. "
            f"A file whose name has a colon: './{text}'.{guess}"
        )


def _run_uri(text: str) -> RunUri:
    run_id, _, path = text.removeprefix("runs:").strip("/").partition("/")
    if not RUN_ID.fullmatch(run_id):
        raise InvalidInput(f"{text!r} does not name a run. The form is runs:/<run_id of 32 hex digits>/<path>.")
    return RunUri(run_id, check_relative(path) if path else "")


def _model_uri(text: str) -> ModelUri:
    rest = text.removeprefix("models:").strip("/")
    name, at, alias = rest.rpartition("@")
    if at and name and alias and "/" not in rest:
        return ModelUri(name, alias, is_alias=True)
    name, _, selector = rest.partition("/")
    if not name or not selector or "/" in selector:
        raise InvalidInput(
            f"{text!r} does not name a model. The forms are models:/<name>/<version, stage or 'latest'> and models:/<name>@<alias>."
        )
    return ModelUri(name, selector, is_alias=False)


def normalise(uri: str | Path) -> str:
    """One spelling for one place.

    ``file:`` URIs and relative paths become absolute paths; ``s3a:`` and ``s3n:`` become ``s3:``, ``gcs:`` ``gs:``, and ``abfs:``,
    ``wasb:`` and ``wasbs:`` ``abfss:``; there is no slash at the end. Where a ``viewfs:`` leads, only Hadoop's conf knows, so it stays.
    """
    text = str(uri)
    if _scheme(text) is None:
        return str(Path(text).expanduser().absolute())
    parts = urlsplit(text)
    if parts.scheme != "file" and not text.partition(":")[2].startswith("/"):
        _check_scheme(text)
        raise InvalidInput(f"{text!r} names no place: the form is {parts.scheme}://<bucket or host>/<path>.")
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost"):
            raise InvalidInput(
                f"{text!r} names the host {parts.netloc!r}; a file: URI means this machine: file:///path."
            )
        if not parts.path:
            raise InvalidInput(f"{text!r} names no path: file:///path, or file:path below the working directory.")
        return str(Path(unquote(parts.path)).absolute())
    said, host, path = split(text)
    scheme = _SAME_PLACE.get(said, said)
    if scheme == "abfss":
        host = host.replace(".blob.core.", ".dfs.core.")
    return f"{scheme}://{host}{path.rstrip('/')}"


def real(uri: str | Path) -> str:
    """:func:`normalise`, with links and ``..`` of a local path followed: two spellings of one directory are equal."""
    text = normalise(uri)
    # a path with a null byte leads nowhere, and may not even be asked for
    return text if "://" in text or "\0" in text else os.path.realpath(text)


def is_within(uri: str, place: str) -> bool:
    """Whether a normal URI is ``place`` or lies below it."""
    return f"{uri}/".startswith(f"{place.rstrip('/')}/")


def split(uri: str) -> tuple[str, str, str]:
    """Scheme, host (bucket, ``container@account…``, ``namenode:port``) and path of a storage URI; ``?`` and ``#`` are part of a name."""
    scheme, _, rest = uri.partition(":")
    if not rest.startswith("//"):
        return scheme.lower(), "", rest
    host, slash, path = rest[2:].partition("/")
    return scheme.lower(), host, f"{slash}{path}"


def for_spark(uri: str | Path) -> str:
    """A storage URI as Spark's Hadoop file systems spell it."""
    text = normalise(uri)
    return f"s3a://{text.removeprefix('s3://')}" if text.startswith("s3://") else text


def for_delta(uri: str | Path) -> str:
    """The normal URI of a Delta table or a place for some, for delta-rs.

    Raises
    ------
    InvalidInput
        If it is a local path with something that delta-rs cannot take: ``[ ] ^ | \\``, a control character, ``%`` before two
        hexadecimal digits, or no UTF-8. Links are followed first, as delta-rs does.
    """
    text = normalise(uri)
    found = None if "://" in text else _NOT_IN_DELTA.search(Path(real(text)).as_posix())
    if found:
        raise InvalidInput(
            f"{text!r} cannot hold Delta tables: delta-rs takes no path with {found[0]!r} in it (nor with [ ] ^ | \\, control "
            "characters, % before two hexadecimal digits). Rename the directory, or choose another."
        )
    return text


def join(base: str, *parts: str) -> str:
    """``base`` and the parts with single slashes between them; an empty base leads nowhere, and to no root."""
    named = [part.strip("/") for part in parts if part.strip("/")]
    return "/".join([base.rstrip("/"), *named] if base else named)


def placed(home: str, location: str) -> str:
    """A stored location as an absolute path or URI: a relative one lies below ``home``."""
    return location if "://" in location or location.startswith("/") else join(home, location)


def below(place: str, home: str) -> str | None:
    """A place as a path below ``home``, with links of local paths followed: empty for ``home`` itself, None elsewhere."""
    real_home, real_place = real(home), real(place)
    return real_place[len(real_home) :].strip("/") if is_within(real_place, real_home) else None


def check_relative(path: str) -> str:
    """``path`` with forward slashes, if it stays below where it starts.

    Raises
    ------
    InvalidInput
        If it is absolute, empty, or leaves the directory by ``..``.
    """
    clean = path.replace("\\", "/").rstrip("/")
    if (
        not clean
        or clean.startswith("/")
        or "\0" in clean
        or re.match(r"[A-Za-z]:", clean)
        or any(part in ("..", ".", "") for part in clean.split("/"))
    ):
        raise InvalidInput(
            f"{path!r} is not a relative path below the artifacts (no leading '/', no '..', '.' or empty parts)."
        )
    return clean
