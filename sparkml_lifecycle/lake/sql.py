"""Values and names in SQL for DataFusion: the only place where text becomes SQL."""

import math
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def literal(value: Any) -> str:
    """A value as a SQL literal; text is escaped, floats keep their bits, times are microseconds UTC."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"cast({value} as bigint)"
    if isinstance(value, float):
        text = "NaN" if math.isnan(value) else repr(value)
        return f"cast('{text}' as double)"
    if isinstance(value, datetime):
        return f"arrow_cast({(value - _EPOCH) // timedelta(microseconds=1)}, 'Timestamp(Microsecond, Some(\"UTC\"))')"
    return "'" + str(value).replace("'", "''") + "'"


def literals(values: Iterable[Any]) -> str:
    """``('a', 'b')``, for ``in``; an empty list matches nothing."""
    return f"({', '.join(literal(value) for value in values) or 'null'})"


def name(text: str) -> str:
    """A column or table name in double quotes."""
    return '"' + text.replace('"', '""') + '"'
