"""What names, keys and values may be; the limits are MLflow's (``utils/validation.py`` of 3.17)."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from sparkml_lifecycle.errors import InvalidInput

MAX_KEY, MAX_PARAM, MAX_TAG, MAX_EXPERIMENT, MAX_DIGEST = 250, 6000, 8000, 500, 36
MAX_METRICS, MAX_PARAMS, MAX_TAGS = 1000, 100, 100
_LEAST, _MOST = -(2**63), 2**63 - 1
_KEY = re.compile(r"[\w.\-:/ ]+")


def check_key(kind: str, key: str) -> str:
    """A metric's, parameter's or tag's key: letters, digits, ``_ - . : /`` and spaces, at most 250, never a path out of its place.

    Raises
    ------
    InvalidInput
        If it is not.
    """
    if not isinstance(key, str) or not key:
        raise InvalidInput(f"The key of a {kind} must be a text that is not empty, found {key!r}.")
    return _checked_key(kind, key)


@lru_cache(maxsize=4096)
def _checked_key(kind: str, key: str) -> str:
    if len(key) > MAX_KEY:
        raise InvalidInput(
            f"The key of a {kind} has {len(key)} characters, at most {MAX_KEY} are allowed: {key[:40]!r}…"
        )
    if not _KEY.fullmatch(key):
        raise InvalidInput(
            f"The key {key!r} of a {kind} may hold letters, digits, '_', '-', '.', ':', '/' and spaces only."
        )
    if key.startswith("/") or any(part in ("..", ".", "") for part in key.split("/")):
        raise InvalidInput(
            f"The key {key!r} of a {kind} looks like a path that leaves its place (no '..', '.', '//' or '/' at the ends)."
        )
    return key


def several(given: Any, what: str = "names") -> list[str]:
    """Names or ids as a list of texts: one alone is a list of one, as a person who writes it means, and None is an empty one."""
    if given is None:
        return []
    if isinstance(given, (str, int)):
        return [str(given)]
    if isinstance(given, bytes) or not hasattr(given, "__iter__"):
        raise InvalidInput(f"{what} must be a list of texts, found {given!r}.")
    return [str(one) for one in given]


def check_value(kind: str, key: str, value: object, limit: int) -> str:
    """A parameter's or tag's value as text, at most ``limit`` characters long."""
    text = str(value)
    if len(text) > limit:
        raise InvalidInput(f"The value of the {kind} {key!r} has {len(text)} characters, at most {limit} are allowed.")
    return _check_unicode(f"value of the {kind} {key!r}", text)


def check_text(what: str, text: object) -> str:
    """A text that can be written as UTF-8."""
    if not isinstance(text, str):
        raise InvalidInput(f"The {what} must be a text, found {type(text).__name__}.")
    return _check_unicode(what, text)


def pairs(what: str, given: Any) -> Iterable[tuple[Any, Any]]:
    """The keys and values of the dict in which ``what`` (params, tags or metrics) are given; none of None."""
    if given is None:
        return ()
    if not hasattr(given, "items"):
        raise InvalidInput(f"The {what} are given as a dict, {{key: value}}, found {type(given).__name__}.")
    found: Iterable[tuple[Any, Any]] = given.items()
    return found


def check_all(what: str, given: Sequence[Any] | None, kind: type, *fields: str) -> Sequence[Any]:
    """What has at least the fields of an entity, such as ``key`` and ``value`` of a metric."""
    for one in () if given is None else given:
        if not isinstance(one, kind) and not all(hasattr(one, field) for field in fields):
            shown = ", ".join(fields)
            raise InvalidInput(f"The {what} are a list of {kind.__name__}({shown} …), found {type(one).__name__}.")
    return () if given is None else given


def check_whole(what: str, value: Any, cut: bool = False) -> int:
    """A whole number of 64 bits; ``cut`` takes one with a fraction too, and cuts that off."""
    if type(value) is int and _LEAST <= value <= _MOST:
        return value
    try:
        number = int(value)
    except (TypeError, ValueError, OverflowError):
        raise InvalidInput(f"{what} must be a whole number, found {value!r}.") from None
    if not cut and isinstance(value, float) and value != number:
        raise InvalidInput(f"{what} must be a whole number, found {value!r}.")
    if not _LEAST <= number <= _MOST:
        raise InvalidInput(f"{what} does not fit 64 bits: {number}.")
    return number


def check_experiment_name(name: object) -> str:
    """An experiment's name: text that is not empty, of at most 500 characters, on one line."""
    if not isinstance(name, str) or not name.strip():
        raise InvalidInput(f"An experiment's name must be a text that is not empty, found {name!r}.")
    if len(name) > MAX_EXPERIMENT:
        raise InvalidInput(f"The experiment's name has {len(name)} characters, at most {MAX_EXPERIMENT} are allowed.")
    if any(ord(character) < 32 for character in name):
        raise InvalidInput(f"The experiment's name {name!r} holds a line break or another control character.")
    return _check_unicode("experiment's name", name)


def _check_unicode(what: str, text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidInput(f"The {what} is no valid Unicode text (half of a surrogate pair).") from None
    return text
