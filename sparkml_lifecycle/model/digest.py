"""Digests of a model directory: of what decides its answers, and of every file."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from sparkml_lifecycle.model import manifest as manifests
from sparkml_lifecycle.storage import files_below

# Beside the model, these describe or document; none of them changes an answer.
_BESIDE = {
    manifests.FILE, "requirements.txt", "conda.yaml", "python_env.yaml", "constraints.txt", "input_example.json",
    "serving_input_example.json", "registered_model_meta", "environment_variables.txt",
}  # fmt: skip
_NO_ANSWER = {"env", "python_version"}


# written by whoever loads or downloads a model
_NOT_SAVED = {"registered_model_meta"}
_READ_AT_ONCE = 2**20


def digest(directory: Path, manifest: manifests.Manifest | None = None, known: Mapping[str, str] | None = None) -> str:
    """The content digest, the same after a copy or a download: 64 hex digits (SHA-256) over the model's files and those parts of ``MLmodel`` that decide its answers.

    Parameters
    ----------
    directory : path
    manifest : Manifest, optional
        What the ``MLmodel`` says, where it was read already.
    known : mapping of str to str, optional
        What :func:`of_each` said of the files.
    """
    found, known = manifest or manifests.read(directory), known or {}
    flavors = {name: {k: v for k, v in entry.items() if k not in _NO_ANSWER} for name, entry in found.flavors.items()}
    content = manifests.to_dict(found)
    deciding = {"flavors": flavors, "signature": content.get("signature"), "ours": content.get(manifests.OURS)}
    total = hashlib.sha256(json.dumps(deciding, sort_keys=True, default=str).encode())
    # a directory of files only is not listed again
    is_flat = bool(known) and not any("/" in name for name in known)
    paths = [directory / name for name in known] if is_flat else list(directory.rglob("*"))
    for name, path in sorted((path.relative_to(directory).as_posix(), path) for path in paths):
        if path.is_file() and name not in _BESIDE and "__pycache__" not in path.parts:
            total.update(f"\0{name}\0{known.get(name) or _of_file(path)}".encode())
    return total.hexdigest()


def of_each(files: Iterable[tuple[str, Path]]) -> dict[str, str]:
    """The SHA-256 of each of a directory's files by its relative path, but for bytecode and the note of a download."""
    return {
        name: _of_file(path) for name, path in files if name not in _NOT_SAVED and "__pycache__" not in name.split("/")
    }


def digest_of_files(directory: Path) -> str:
    """64 hex digits (SHA-256) over the names and bytes of all files, but for bytecode and the note of a download."""
    return over_all(of_each(files_below(directory)))


def over_all(files: Mapping[str, str]) -> str:
    """As :func:`digest_of_files`, of what :func:`of_each` said."""
    return hashlib.sha256("".join(f"{name}\0{one}\0" for name, one in files.items()).encode()).hexdigest()


def _of_file(path: Path) -> str:
    with path.open("rb", buffering=0) as file:
        if os.fstat(file.fileno()).st_size <= _READ_AT_ONCE:
            return hashlib.sha256(file.readall()).hexdigest()
        return hashlib.file_digest(file, "sha256").hexdigest()
