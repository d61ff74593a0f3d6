"""Every error the package raises, as one tree.

::

    LifecycleError
    ├── InvalidInput (ValueError)          a bad name, key, value, URI or argument
    │   ├── FilterError                    a search filter that cannot be read
    │   ├── ConfigError                    a conf file or environment variable that cannot be read
    │   └── SchemaError                    columns or types that do not fit the model's signature
    ├── NotFound (KeyError)                no such experiment, run, artifact, model or file
    ├── AlreadyExists (FileExistsError)    the name or directory is taken
    ├── Conflict (RuntimeError)            somebody else committed first and the change no longer applies
    ├── JobStopped (RuntimeError)          a scoring job that would double, lose or erase rows, with the choices
    ├── ConsentRequired (PermissionError)  code would run out of a model directory
    ├── NotAllowed (PermissionError)       a person may not do this, such as approve their own request
    ├── MissingLibrary (ImportError)       a framework, jar or Java that is not installed
    ├── FormatError (ValueError)           a broken MLmodel, a lake of a newer format
    │   └── IntegrityError                 a registered model whose files are not those that were registered
    ├── StorageError (OSError)             the storage refused to read or write
    └── ScoringError (RuntimeError)        a model raised while it predicted

A user who wants to handle everything writes ``except LifecycleError``; one who knows Python's own exceptions may catch
those. Each carries exactly one message, so each pickles and crosses from Spark's executors to the driver.
"""

import difflib
from collections.abc import Iterable
from typing import ClassVar


class LifecycleError(Exception):
    """Base of every error of this package; ``str(error)`` says what was asked, what was found and what to do.

    ``error_code`` is MLflow's name for the kind of error, which scripts written for it ask for.
    """

    error_code: ClassVar[str] = "INTERNAL_ERROR"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message


class InvalidInput(LifecycleError, ValueError):
    """An argument, name, key, value or URI that is not allowed."""

    error_code = "INVALID_PARAMETER_VALUE"


class FilterError(InvalidInput):
    """A search filter that cannot be read; the message marks the place."""


class ConfigError(InvalidInput):
    """A conf file or environment variable with an unknown key or a value of the wrong type."""


class SchemaError(InvalidInput):
    """Columns or types that do not fit a model's signature."""


class NotFound(LifecycleError, KeyError):
    """Something that was asked for by name or id does not exist."""

    error_code = "RESOURCE_DOES_NOT_EXIST"


class AlreadyExists(LifecycleError, FileExistsError):
    """A name or directory that is taken."""

    error_code = "RESOURCE_ALREADY_EXISTS"


class Conflict(LifecycleError, RuntimeError):
    """Somebody else committed first, and the change no longer applies."""

    error_code = "RESOURCE_CONFLICT"


class JobStopped(LifecycleError, RuntimeError):
    """A scoring job would double, lose or erase rows unless somebody chooses; the message names the choices."""


class ConsentRequired(LifecycleError, PermissionError):
    """Code would run out of a model directory, and nobody has agreed to that."""

    error_code = "PERMISSION_DENIED"


class NotAllowed(LifecycleError, PermissionError):
    """A person may not do this, such as approve what they have asked for themselves."""

    error_code = "PERMISSION_DENIED"


class MissingLibrary(LifecycleError, ImportError):
    """A library, jar or Java that the call needs is not installed."""


class FormatError(LifecycleError, ValueError):
    """Files that are broken, or written by a newer version of this package."""

    error_code = "BAD_REQUEST"


class IntegrityError(FormatError):
    """The files of a registered model are not those that were registered."""


class StorageError(LifecycleError, OSError):
    """The storage refused to read or write."""

    error_code = "TEMPORARILY_UNAVAILABLE"


class ScoringError(LifecycleError, RuntimeError):
    """A model raised while it predicted; the message names the model and the method, never the row."""


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """``" Did you mean 'x'?"`` for the nearest known name, whatever its capitals, else an empty text."""
    near = nearest(wrong, known)
    return f" Did you mean {near!r}?" if near else ""


def nearest(wrong: str, known: Iterable[str]) -> str | None:
    """The known name that is most like ``wrong``, whatever its capitals; None where none is."""
    names = {name.lower(): name for name in reversed(list(known))}
    near = difflib.get_close_matches(wrong.lower(), list(names), n=1)
    return names[near[0]] if near else None


def reason(error: BaseException) -> str:
    """The first line of somebody else's error, without the full stop at its end, to stand inside a sentence."""
    text = str(getattr(error, "strerror", None) or error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(". ")
