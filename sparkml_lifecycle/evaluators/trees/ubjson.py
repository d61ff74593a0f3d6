"""UBJSON, as XGBoost writes its models: typed arrays become numpy arrays without a Python object for each number."""

import struct
from typing import Any

import numpy as np

_NUMBERS = {b"i": ">i1", b"U": ">u1", b"I": ">i2", b"l": ">i4", b"L": ">i8", b"d": ">f4", b"D": ">f8"}
_CONSTANTS = {b"Z": None, b"T": True, b"F": False}
_SCALARS = {marker: struct.Struct(f">{code}") for marker, code in zip(_NUMBERS, "bBhiqfd", strict=True)}


def decode(content: bytes) -> Any:
    """The value of a document: dictionaries, lists, numpy arrays (big-endian, in place), texts and numbers.

    Raises
    ------
    ValueError
        If it is not UBJSON, or ends too early.
    """
    try:
        return _value(content, 0)[0]
    except (struct.error, IndexError, KeyError) as error:
        raise ValueError(f"no UBJSON: {error}") from error


def _value(content: bytes, at: int) -> tuple[Any, int]:
    marker, at = content[at : at + 1], at + 1
    if marker == b"{":
        return _object(content, at)
    if marker == b"[":
        return _array(content, at)
    if marker == b"S":
        return _text(content, at)
    if marker in _CONSTANTS:
        return _CONSTANTS[marker], at
    form = _SCALARS[marker]
    return form.unpack_from(content, at)[0], at + form.size


def _text(content: bytes, at: int) -> tuple[str, int]:
    size, at = _value(content, at)
    if not 0 <= size <= len(content) - at:
        raise IndexError("a text ends after the document")
    return content[at : at + size].decode(), at + size


def _object(content: bytes, at: int) -> tuple[dict[str, Any], int]:
    found = {}
    while content[at] != ord("}"):
        name, at = _text(content, at)
        found[name], at = _value(content, at)
    return found, at + 1


def _array(content: bytes, at: int) -> tuple[Any, int]:
    if content[at : at + 1] == b"$":
        kind = np.dtype(_NUMBERS[content[at + 1 : at + 2]])
        count, at = _value(content, at + 3)  # after the type and "#"
        end = at + count * kind.itemsize
        if not at <= end <= len(content):
            raise IndexError("an array ends after the document")
        return np.frombuffer(content, kind, count, at), end
    found: list[Any] = []
    count = None
    if content[at : at + 1] == b"#":
        count, at = _value(content, at + 1)
    while len(found) < count if count is not None else content[at] != ord("]"):
        value, at = _value(content, at)
        found.append(value)
    return found, at if count is not None else at + 1
