"""Page tokens: where the next page begins, and of which search."""

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence
from typing import Any, TypeVar

from sparkml_lifecycle.entities import PagedList
from sparkml_lifecycle.errors import InvalidInput

T = TypeVar("T")


def token(offset: int, search: Any) -> str:
    """The token of the page that begins at ``offset``."""
    return base64.urlsafe_b64encode(json.dumps([offset, _digest(search)]).encode()).decode()


def offset(page_token: str | None, search: Any) -> int:
    """Where a token's page begins.

    Raises
    ------
    InvalidInput
        If it is no token, or one of another search.
    """
    if not page_token:
        return 0
    try:
        start, digest = json.loads(base64.urlsafe_b64decode(page_token.encode()))
        start = int(start)
    except (ValueError, TypeError, binascii.Error):
        raise InvalidInput("The page_token is not one. Pass the .token of the page before, unchanged.") from None
    if digest != _digest(search) or start < 0:
        raise InvalidInput(
            "The page_token belongs to another search. Pass it with the same filter, order and experiments."
        )
    return start


def page(items: Sequence[T], size: int, page_token: str | None, search: Any) -> PagedList[T]:
    """One page of what is all in memory."""
    start = offset(page_token, search)
    following = token(start + size, search) if start + size < len(items) else None
    return PagedList(items[start : start + size], following)


def _digest(search: Any) -> str:
    return hashlib.sha256(repr(search).encode()).hexdigest()[:12]
