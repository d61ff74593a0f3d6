"""What names, keys and values may be (MLflow's limits)."""

import math
import re
from typing import Any

from sparkml_lifecycle.errors import InvalidInput

KEY_LENGTH = 250
PARAM_LENGTH = 6000
TAG_LENGTH = 8000
NAME_LENGTH = 500
_KEY = re.compile(r"[\w\-./: ]+")
_LARGEST = 2**63 - 1


def check_key(key: Any, what: str) -> str:
    """A key of a metric, param or tag: letters, digits, ``_ - . / :`` and spaces, at most 250 characters."""
    if not isinstance(key, str) or not key or not _KEY.fullmatch(key):
        raise InvalidInput(f"The {what} name {key!r} is not allowed. Use letters, digits, spaces and _ - . / : only.")
    parts = key.split("/")
    if key.startswith("/") or any(part in ("", ".", "..") for part in parts):
        raise InvalidInput(f"The {what} name {key!r} is not allowed: it reads as a path that leaves its place. Remove empty, '.' and '..' parts.")
    if len(key) > KEY_LENGTH:
        raise InvalidInput(f"The {what} name {key[:40]!r}… has {len(key)} characters, allowed are {KEY_LENGTH}.")
    return key


def check_text(value: Any, longest: int, what: str) -> str:
    """A value as text of at most ``longest`` characters."""
    text = value if isinstance(value, str) else str(value)
    if len(text) > longest:
        raise InvalidInput(f"The {what} has {len(text)} characters, allowed are {longest}.")
    return text


def check_number(value: Any, key: str) -> float:
    """A metric's value: any number, NaN and infinities too."""
    if isinstance(value, bool) or value is None or isinstance(value, (str, bytes)):
        raise InvalidInput(f"The metric {key!r} must be a number, found {value!r}.")
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInput(f"The metric {key!r} must be one number, found {type(value).__name__}.") from error


def check_integer(value: Any, what: str) -> int:
    """A step or a time in milliseconds: a whole number of 64 bits."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        if isinstance(value, float) and math.isfinite(value) and value == int(value):
            return int(value)
        raise InvalidInput(f"The {what} must be a whole number, found {value!r}.")
    number = int(value)
    if not -_LARGEST - 1 <= number <= _LARGEST:
        raise InvalidInput(f"The {what} {number} does not fit into 64 bits.")
    return number


def check_name(name: Any, what: str) -> str:
    """A name of an experiment or run: not empty, at most 500 characters."""
    if not isinstance(name, str) or not name.strip():
        raise InvalidInput(f"The {what} name must be a text that is not empty, found {name!r}.")
    if len(name) > NAME_LENGTH or "\0" in name:
        raise InvalidInput(f"The {what} name has {len(name)} characters, allowed are {NAME_LENGTH}, none of them NUL.")
    return name
