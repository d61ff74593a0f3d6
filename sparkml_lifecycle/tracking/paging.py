"""Page tokens: the place of a page's last item, and of which search; what others write in between moves nothing."""

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence
from typing import Any

from sparkml_lifecycle.errors import InvalidInput
from sparkml_lifecycle.tracking import names


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
    keys: Sequence[Any], descending: Sequence[bool], size: int, page_token: str | None, search: Any, wanted: Any = None
) -> tuple[Any, str | None]:
    """One page of what is all in memory: the numbers of its rows in order, as Arrow, and the token of the page that follows.

    Parameters
    ----------
    keys, descending : sequence
        As in :func:`pick`.
    size : int
    page_token : str or None
    search : object
        What tells this search from others.
    wanted : Arrow array, optional
        Which rows may be picked.

    Raises
    ------
    InvalidInput
        If the size is below 1, or the token is none of this search.
    """
    if names.check_whole("max_results", size) < 1:
        raise InvalidInput(f"max_results must be 1 or more, found {size}.")
    rows, last = pick(keys, descending, size, place(page_token, search), wanted)
    return rows, None if last is None else token(last, search)


def pick(
    keys: Sequence[Any], descending: Sequence[bool], size: int, after: Any, wanted: Any = None
) -> tuple[Any, list[Any] | None]:
    """The rows of a page in order, by their numbers, and the place of the last one; None where no more follow.

    What others write or remove in between moves nothing: a page begins after a place in the order, wherever its row is now.

    Parameters
    ----------
    keys : sequence of Arrow arrays
        What the rows are ordered by; no two rows agree in all of them, and JSON holds their values. Null comes last,
        whichever way the order runs; there is no NaN.
    descending : sequence of bool
        Of each key, which way it runs.
    size : int
    after : list or None
        The place of the last row of the page before.
    wanted : Arrow array, optional
        Which rows may be picked.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = [*map(str, range(len(keys)))]
    table = pa.table([*keys, pa.array(range(len(keys[0])), pa.int64())], names=[*columns, "row"])
    further = pa.array([True] * len(table), pa.bool_()) if after is None else _comes_after(keys, descending, after)
    table = table.filter(further if wanted is None else pc.and_(wanted, further))
    by = [(name, "descending" if down else "ascending") for name, down in zip(columns, descending, strict=True)]
    picked = table.take(pc.sort_indices(table, sort_keys=by)[: size + 1])
    more = len(picked) > size
    picked = picked.slice(0, size)
    return picked["row"], [picked[name][-1].as_py() for name in columns] if more else None


def _digest(search: Any) -> str:
    return hashlib.sha256(repr(search).encode()).hexdigest()[:12]


def _comes_after(keys: Sequence[Any], descending: Sequence[bool], place: Any) -> Any:
    """Whether each row comes after a place in the order."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not isinstance(place, list) or len(place) != len(keys):
        raise no_token()
    after = pa.array([False] * len(keys[0]), pa.bool_())
    equal = pa.array([True] * len(keys[0]), pa.bool_())
    for column, down, found in zip(keys, descending, place, strict=True):
        if found is None:
            equal = pc.and_(equal, pc.is_null(column))
            continue
        try:
            value = pa.scalar(found, column.type)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            raise no_token() from None
        further = (pc.less if down else pc.greater)(column, value)
        after = pc.or_(after, pc.and_(equal, pc.fill_null(further, True)))
        equal = pc.and_(equal, pc.fill_null(pc.equal(column, value), False))
    return after
