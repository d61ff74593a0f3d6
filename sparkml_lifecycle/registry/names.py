"""What names of models, aliases and versions may be; where MLflow is stricter than it needs to be for a URI, so are we."""

import re
from typing import Any

from sparkml_lifecycle.entities import ModelStage
from sparkml_lifecycle.errors import InvalidInput
from sparkml_lifecycle.tracking.names import check_text

MAX_NAME, MAX_ALIAS, MAX_TEXT, MAX_TAG_VALUE = 256, 255, 65_535, 100_000
_ALIAS = re.compile(r"[\w.\-]+")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")
_LOOKS_LIKE_A_VERSION = re.compile(r"v?\d+|latest", re.IGNORECASE)


def check_model(name: object) -> str:
    """A registered model's name: text of at most 256 characters that a ``models:/`` URI can hold.

    Raises
    ------
    InvalidInput
    """
    if not isinstance(name, str) or not name.strip():
        raise InvalidInput(f"A model's name must be a text that is not empty, found {name!r}.")
    check_text("model's name", name)
    if len(name) > MAX_NAME:
        raise InvalidInput(f"The model's name has {len(name)} characters, at most {MAX_NAME} are allowed.")
    if found := re.search(r"[/:@\x00-\x1f\x7f]", name):
        raise InvalidInput(
            f"The model's name {name!r} holds {found[0]!r}. '/', ':' and '@' have a meaning in models:/ URIs, and control "
            "characters are not allowed."
        )
    if name != name.strip() or name in (".", ".."):
        raise InvalidInput(f"The model's name {name!r} may not be '.' or '..', nor begin or end with a space.")
    return name


def check_alias(alias: object) -> str:
    """An alias: letters, digits, ``_ - .``, and nothing that a URI would take for a version.

    Raises
    ------
    InvalidInput
    """
    if not isinstance(alias, str) or not alias:
        raise InvalidInput(f"An alias must be a text that is not empty, found {alias!r}.")
    if len(alias) > MAX_ALIAS:
        raise InvalidInput(f"The alias has {len(alias)} characters, at most {MAX_ALIAS} are allowed.")
    if not _ALIAS.fullmatch(alias):
        raise InvalidInput(f"The alias {alias!r} may hold letters, digits, '_', '-' and '.' only.")
    if _LOOKS_LIKE_A_VERSION.fullmatch(alias):
        raise InvalidInput(f"The alias {alias!r} looks like a version. Choose a word, such as 'champion'.")
    return alias


def check_version(version: object) -> str:
    """A version as text: a whole number from 1, or its digits.

    Raises
    ------
    InvalidInput
    """
    text = str(version) if isinstance(version, (int, str)) and not isinstance(version, bool) else ""
    if not _VERSION.fullmatch(text):
        raise InvalidInput(f"A model version is a whole number from 1, found {version!r}.")
    return text


def check_note(what: str, text: Any) -> str:
    """A description or comment; None is an empty one.

    Raises
    ------
    InvalidInput
        If it is no text, or longer than 65,535 characters.
    """
    if text is None:
        return ""
    check_text(what, text)
    if len(text) > MAX_TEXT:
        raise InvalidInput(f"The {what} has {len(text)} characters, at most {MAX_TEXT} are allowed.")
    return str(text)


def is_stage(selector: str) -> bool:
    """Whether a URI's selector names a stage, whatever its capitals."""
    return selector.lower() in {stage.lower() for stage in ModelStage.ALL}
