"""What comes after what: clocks, ``seq`` and identifiers."""

import os
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

# so few rows are looked at one by one
_A_HANDFUL = 20
Clock = Callable[[], datetime]


def now() -> datetime:
    """The wall clock in UTC."""
    return datetime.now(UTC)


def latest(table: Any, key: Sequence[str], *, first: bool = False) -> Any:
    """The rows of an Arrow table that count: of each key the one with the largest (seq, at, writer), or the smallest.

    Parameters
    ----------
    table : pyarrow.Table
        With the columns of ``key``, ``seq``, ``at`` and ``writer``.
    key : sequence of str
    first : bool
        Whether the first row of a key counts instead of the last.

    Returns
    -------
    pyarrow.Table
        One row for each key, in no order.
    """
    return last_by(table, key, ("seq", "at", "writer"), first=first)


def last_by(table: Any, key: Sequence[str], by: Sequence[str], *, first: bool = False) -> Any:
    """Of each key the row that comes last (or first) in the order of the columns ``by``; numpy is four times DataFusion here."""
    import numpy as np
    import pyarrow as pa

    if table.num_rows < 2:
        return table
    if table.num_rows <= _A_HANDFUL and not any(pa.types.is_floating(table[name].type) for name in by):
        few = _places(table, key, by, first)
        return table.slice(few[0], 1) if len(few) == 1 else table.take(as_array(np.array(few, dtype=np.int64)))
    codes = codes_of([table[name] for name in key])
    count = int(codes.max()) + 1
    if count == table.num_rows:
        return table
    # lexsort takes its most important key last
    places = np.lexsort([part for name in reversed(by) for part in reversed(_sortable(table[name]))])
    picked = np.empty(count, dtype=np.int64)
    # where an index comes twice, the last assignment stays
    picked[codes[places[::-1] if first else places]] = places[::-1] if first else places
    return table.take(as_array(picked))


def _places(table: Any, key: Sequence[str], by: Sequence[str], first: bool) -> list[int]:
    """As :func:`last_by`, of a few rows where each of them counts: Arrow and numpy take longer to begin than to end."""
    import pyarrow as pa

    def values(name: str) -> list[Any]:
        column = table[name]
        found: list[Any] = (column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column).to_pylist()
        return found

    keys = zip(*map(values, key), strict=True)
    ranks = list(zip(*map(values, by), strict=True))
    best: dict[tuple[Any, ...], int] = {}
    for place, mine in enumerate(keys):
        there = best.setdefault(mine, place)
        if ranks[place] < ranks[there] if first else ranks[place] >= ranks[there]:
            best[mine] = place
    return list(best.values())


def codes_of(columns: Sequence[Any]) -> Any:
    """A number from 0 for each distinct combination of text columns, as an int64 array as long as they are."""
    import numpy as np

    codes: Any = 0
    parts = 0
    for column in columns:
        mine = column.combine_chunks().dictionary_encode()
        if len(mine.dictionary) > 1:
            codes = codes * len(mine.dictionary) + numbers(mine.indices).astype(np.int64)
            parts += 1
    if not parts:
        return np.zeros(len(columns[0]), dtype=np.int64)
    return codes if parts == 1 else np.unique(codes, return_inverse=True)[1]


def numbers(column: Any) -> Any:
    """An Arrow column of numbers as a numpy array, without a copy where it is whole; pyarrow's own way imports pandas, a quarter of a second."""
    import numpy as np

    array = column.combine_chunks() if hasattr(column, "combine_chunks") else column
    if array.null_count:
        return array.to_numpy(zero_copy_only=False)
    # numpy knows Arrow's int64, uint64 and double by these names
    return np.frombuffer(array.buffers()[1], np.dtype(str(array.type)))[array.offset : array.offset + len(array)]


def as_array(values: Any) -> Any:
    """A numpy array of int64 as an Arrow array; ``pa.array`` imports pandas."""
    import pyarrow as pa

    return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(values)])


def _sortable(column: Any) -> list[Any]:
    """A column as numpy arrays that sort like it; of a float NaN comes first, so that it is never the largest."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_string(column.type):
        return [numbers(pc.rank(column, sort_keys="ascending", tiebreaker="dense"))]
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    values = numbers(column)
    return [~np.isnan(values), values] if pa.types.is_floating(column.type) else [values]


_lock = threading.Lock()
_last_v7 = 0


def _unlock_in_child() -> None:
    # another thread of the parent may have held the lock when it forked
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_unlock_in_child)


def uuid7() -> str:
    """A UUIDv7 (RFC 9562) as 32 hex digits; growing within a process, also within a millisecond."""
    global _last_v7
    with _lock:
        # 48 bits of milliseconds and 12 bits of a fraction of one (RFC 9562, 6.2, method 3)
        nanoseconds = time.time_ns()
        stamp = (nanoseconds // 1_000_000) << 12 | (nanoseconds % 1_000_000) * 4096 // 1_000_000
        _last_v7 = stamp = max(stamp, _last_v7 + 1)
    random = int.from_bytes(os.urandom(8), "big") & (2**62 - 1)
    value = (stamp >> 12) << 80 | 0x7 << 76 | (stamp & 0xFFF) << 64 | 0b10 << 62 | random
    return uuid.UUID(int=value).hex
