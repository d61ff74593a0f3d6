"""Values and names as SQL text: the only place where a value becomes part of a query."""

import math
from datetime import UTC, datetime
from typing import Any

from sparkml_lifecycle.errors import InvalidInput

# Latest is the largest (seq, at, writer): who wrote after having read wins, whatever the clocks say.
LATEST = "order by seq, at, writer"


def literal(value: Any) -> str:
    """A value as a SQL literal.

    Raises
    ------
    InvalidInput
        For a type that no column has.
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return f"cast('{value!r}' as double)" if not math.isfinite(value) else repr(value)
    if isinstance(value, datetime):
        return f"cast('{value.astimezone(UTC).isoformat()}' as timestamp)"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    raise InvalidInput(f"A value of type {type(value).__name__} cannot be compared with a column.")


def name(column: str) -> str:
    """A column's name as a SQL identifier."""
    return '"' + column.replace('"', '""') + '"'


def one_of(values: Any) -> str:
    """``(a, b, c)`` for an IN condition; matches nothing if there are no values."""
    items = [literal(value) for value in values]
    return f"({', '.join(items)})" if items else "(null)"
