"""Page tokens: the place of a page's last item, and of which search; what others write in between moves nothing."""

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sparkml_lifecycle.entities import PagedList
from sparkml_lifecycle.errors import InvalidInput
from sparkml_lifecycle.tracking import names

T = TypeVar("T")


def token(place: Any, search: Any) -> str:
    """The token of the page that begins after ``place``, which JSON can hold."""
    return base64.urlsafe_b64encode(json.dumps([place, _digest(search)]).encode()).decode()


def place(page_token: str | None, search: Any) -> Any:
    """Where a token's page begins; None for the first one.

    Raises
    ------
    InvalidInput
        If it is no token, or one of another search.
    """
    if not page_token:
        return None
    try:
        found, digest = json.loads(base64.urlsafe_b64decode(page_token.encode()))
    except (ValueError, TypeError, AttributeError, RecursionError, binascii.Error):
        raise no_token() from None
    if digest != _digest(search):
        raise InvalidInput(
            "The page_token belongs to another search. Pass it with the same filter, order and experiments."
        )
    return found


def no_token() -> InvalidInput:
    """What is raised where a text is no page token."""
    return InvalidInput("The page_token is not one. Pass the .token of the page before, unchanged.")


def page(
    items: Sequence[T], size: int, page_token: str | None, search: Any, identity: Callable[[T], Any]
) -> PagedList[T]:
    """One page of what is all in memory, after the item that the page before ended with, wherever that is now.

    ``identity`` gives an item's lasting name, which JSON can hold.
    """
    if names.check_whole("max_results", size) < 1:
        raise InvalidInput(f"max_results must be 1 or more, found {size}.")
    before = place(page_token, search)
    start = 0
    if before is not None:
        if not isinstance(before, list) or len(before) != 2 or not isinstance(before[0], int):
            raise no_token()
        start, last = before
        if not 0 < start <= len(items) or identity(items[start - 1]) != last:
            start = next((i + 1 for i, item in enumerate(items) if identity(item) == last), min(start, len(items)))
    end = start + size
    following = token([end, identity(items[end - 1])], search) if end < len(items) else None
    return PagedList(items[start:end], following)


def _digest(search: Any) -> str:
    return hashlib.sha256(repr(search).encode()).hexdigest()[:12]
