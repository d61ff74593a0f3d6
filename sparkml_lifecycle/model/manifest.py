"""``MLmodel``: read from MLflow's files and ours, written so that both read it; keys nobody here knows survive."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from sparkml_lifecycle.errors import FormatError, NotFound, reason
from sparkml_lifecycle.model import signature as signatures
from sparkml_lifecycle.model.signature import Signature

FILE = "MLmodel"
OURS = "sparkml_lifecycle"
FORMAT_VERSION = 1
PYTHON_FUNCTION = "python_function"
# a job reads it several times, and Python's own parser takes ten times as long as libyaml's; both make only plain values
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Manifest:
    """The content of an ``MLmodel`` file.

    Attributes
    ----------
    flavors : mapping
        Flavor name to its entry, ``python_function`` among them.
    signature : Signature or None
    ours : mapping
        Our own keys, ``format_version`` first.
    others : mapping
        Every other top-level key (``run_id``, ``utc_time_created``, what newer versions of MLflow write …).
    read : tuple
        The signature as it was read, and MLflow's entry for it: while the signature is that one it is written as it was,
        with whatever keys nobody here knows.
    """

    flavors: Mapping[str, Mapping[str, Any]]
    signature: Signature | None = None
    ours: Mapping[str, Any] = field(default_factory=dict)
    others: Mapping[str, Any] = field(default_factory=dict)
    read: tuple[Signature | None, Mapping[str, Any] | None] = field(default=(None, None), compare=False, repr=False)

    @property
    def python_function(self) -> Mapping[str, Any]:
        """The ``python_function`` entry; empty if there is none."""
        return self.flavors.get(PYTHON_FUNCTION, {})

    @property
    def run_id(self) -> str | None:
        """The run that logged the model."""
        return self.others.get("run_id")


def read(directory: Path) -> Manifest:
    """The manifest of a model directory.

    Raises
    ------
    NotFound
        If there is no ``MLmodel``.
    FormatError
        If it is not YAML, has no flavors, or was written by a newer version of this package.
    """
    path = directory / FILE
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise FormatError(f"{str(path)!r} is not a text file in UTF-8.") from None
    except (FileNotFoundError, NotADirectoryError):
        found = sorted(p.name for p in directory.iterdir())[:10] if directory.is_dir() else []
        where = f"it holds {', '.join(found) or 'nothing'}" if directory.is_dir() else "there is no such directory"
        raise NotFound(f"No model at {str(directory)!r}: no {FILE} file is there ({where}).") from None
    try:
        content = yaml.load(text, _LOADER)
    except yaml.YAMLError as error:
        raise FormatError(f"{str(path)!r} is not valid YAML: {reason(error)}.") from error
    if not isinstance(content, dict) or not isinstance(content.get("flavors"), dict):
        raise FormatError(f"{str(path)!r} has no 'flavors' section, so it is not a model's manifest.")
    return from_dict(content, str(path))


def from_dict(content: Mapping[str, Any], where: str = FILE) -> Manifest:
    """The manifest of a parsed ``MLmodel``; ``where`` names it in errors."""
    _check_shape(content, where)
    ours = content.get(OURS) or {}
    version = ours.get("format_version", FORMAT_VERSION)
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise FormatError(
            f"{where!r} has format {version!r}, this version reads up to {FORMAT_VERSION}: upgrade sparkml-lifecycle."
        )
    signature = None
    try:
        if content.get("signature"):
            signature = signatures.from_mlflow(content["signature"])
        if ours.get("signature"):
            signature = signatures.with_exact(signature or Signature(), ours["signature"])
    except FormatError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise FormatError(f"The signature in {where!r} cannot be read: {reason(error)}.") from error
    known = {"flavors", "signature", OURS}
    others = {k: v for k, v in content.items() if k not in known}
    return Manifest(content["flavors"], signature, ours, others, (signature, content.get("signature")))


def _check_shape(content: Mapping[str, Any], where: str) -> None:
    """Everything that is read as a mapping is one."""
    ours = content.get(OURS) or {}
    parts = {f"flavors.{name}": entry for name, entry in content["flavors"].items()}
    parts |= {"signature": content.get("signature") or {}, OURS: ours}
    if isinstance(ours, Mapping):
        parts |= {f"{OURS}.{key}": ours.get(key) or {} for key in ("versions", "tuning", "signature")}
    for name, entry in parts.items():
        if not isinstance(entry, Mapping):
            raise FormatError(
                f"{name!r} in {where!r} must be a mapping of keys to values, found {type(entry).__name__}."
            )


def to_dict(manifest: Manifest) -> dict[str, Any]:
    """The manifest as MLflow lays it out."""
    content: dict[str, Any] = {
        **manifest.others,
        "flavors": {name: dict(entry) for name, entry in manifest.flavors.items()},
    }
    ours = {key: value for key, value in manifest.ours.items() if key != "signature"}
    unchanged = manifest.signature == manifest.read[0] and manifest.read[1] is not None
    if manifest.signature is not None and unchanged:
        content["signature"] = dict(manifest.read[1] or {})
        if manifest.ours.get("signature"):
            ours["signature"] = manifest.ours["signature"]
    elif manifest.signature is not None:
        content["signature"] = signatures.to_mlflow(manifest.signature)
        if exact := signatures.to_exact(manifest.signature):
            ours["signature"] = exact
    if ours:
        content[OURS] = {"format_version": FORMAT_VERSION, **ours}
    return content


def write(manifest: Manifest, directory: Path) -> None:
    """Write ``MLmodel`` into a directory."""
    text = yaml.safe_dump(_plain(to_dict(manifest)), sort_keys=True, allow_unicode=True)
    (directory / FILE).write_text(text, encoding="utf-8")


def _plain(value: Any) -> Any:
    """Only what YAML's safe form knows: tuples and numpy scalars become lists and Python's own."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value.item() if hasattr(value, "item") and not isinstance(value, (str, bytes)) else value
