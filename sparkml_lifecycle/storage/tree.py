"""The files of a local directory that is copied: links are followed, and what cannot be copied is said before anything is."""

import os
from collections.abc import Iterator
from pathlib import Path

from sparkml_lifecycle.errors import InvalidInput, StorageError


def files_below(directory: Path) -> list[tuple[str, Path]]:
    """Each file below a directory, in order, as its relative path with forward slashes and where it is.

    Raises
    ------
    InvalidInput
        If there is something that is no file or directory (a link to nothing, a pipe), a link leads back to where it lies, or a
        name cannot be kept.
    StorageError
        If a directory cannot be read.
    """
    return list(_below(str(directory), "", (os.path.realpath(directory),)))


def check_name(name: str) -> str:
    """A file's name, or its relative path, if every storage can keep it.

    Raises
    ------
    InvalidInput
        If it holds a backslash, which would be a directory elsewhere, or is no UTF-8.
    """
    if "\\" in name:
        raise InvalidInput(f"The name {name!r} holds a backslash, which parts directories elsewhere. Rename it first.")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InvalidInput(
            f"The name {name!r} is no UTF-8, so no storage but this one could keep it. Rename it first."
        ) from None
    return name


def _below(directory: str, inside: str, within: tuple[str, ...]) -> Iterator[tuple[str, Path]]:
    try:
        with os.scandir(directory) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise StorageError(f"Cannot read the directory {directory!r}: {error.strerror}.") from None
    for entry in found:
        path = check_name(f"{inside}{entry.name}")
        if os.path.isfile(entry.path):
            yield path, Path(entry.path)
        elif not os.path.isdir(entry.path):
            raise InvalidInput(
                f"{entry.path!r} is {_kind(entry)}, and files and directories are copied. Remove it first."
            )
        elif (real := os.path.realpath(entry.path)) in within:
            raise InvalidInput(f"The link {entry.path!r} leads back to {real!r}, in which it lies. Remove it first.")
        else:
            yield from _below(entry.path, f"{path}/", (*within, real))


def _kind(entry: "os.DirEntry[str]") -> str:
    return "a link to nothing" if entry.is_symlink() and not os.path.exists(entry.path) else "a pipe, socket or device"
