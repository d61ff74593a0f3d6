"""Digests of a model directory: of what decides its answers, and of every file."""

import hashlib
import json
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


def digest(directory: Path) -> str:
    """The content digest, the same after a copy or a download: 64 hex digits (SHA-256) over the model's files and those parts of ``MLmodel`` that decide its answers."""
    found = manifests.read(directory)
    flavors = {name: {k: v for k, v in entry.items() if k not in _NO_ANSWER} for name, entry in found.flavors.items()}
    content = manifests.to_dict(found)
    deciding = {"flavors": flavors, "signature": content.get("signature"), "ours": content.get(manifests.OURS)}
    total = hashlib.sha256(json.dumps(deciding, sort_keys=True, default=str).encode())
    for path in sorted(directory.rglob("*"), key=lambda p: p.relative_to(directory).as_posix()):
        name = path.relative_to(directory).as_posix()
        if path.is_file() and name not in _BESIDE and "__pycache__" not in path.parts:
            with path.open("rb") as file:
                total.update(f"\0{name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}".encode())
    return total.hexdigest()


def digest_of_files(directory: Path) -> str:
    """64 hex digits (SHA-256) over the names and bytes of all files, but for bytecode and the note of a download."""
    total = hashlib.sha256()
    for name, path in files_below(directory):
        if name in _NOT_SAVED or "__pycache__" in name.split("/"):
            continue
        with path.open("rb") as file:
            total.update(f"{name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\0".encode())
    return total.hexdigest()
