"""What comes after what: clocks, ``seq`` and identifiers."""

import os
import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

Clock = Callable[[], datetime]


def now() -> datetime:
    """The wall clock in UTC."""
    return datetime.now(UTC)


def next_seq(handle: Any, last: int) -> int:
    """One more than whatever could have been read: the handle's version, its files' ``seq`` and the writer's own last."""
    import pyarrow as pa
    import pyarrow.compute as pc

    adds = pa.table(handle.get_add_actions(flatten=True))
    largest = pc.max(adds["max.seq"]).as_py() if "max.seq" in adds.column_names else None
    return 1 + max(handle.version(), largest or 0, last)


_lock = threading.Lock()
_last_v7 = 0


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
