"""How values are shown: short texts for people in tables, plain JSON for programs."""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

NOTHING = "–"
_LONGEST = 300
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def number(value: float | None, exact: bool = False) -> str:
    """A metric's value in six digits, with ``exact`` in as many as it has; a dash where there is none."""
    if value is None:
        return NOTHING
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "inf" if value > 0 else "-inf"
    if value == int(value) and abs(value) < 1e15:
        return str(int(value))
    if exact:
        return repr(value)
    return f"{value:.1f}" if 1e6 <= abs(value) < 1e15 else f"{value:.6g}"


def text(value: str | None, longest: int = _LONGEST) -> str:
    """A param's or tag's value, cut where it is long; a dash where there is none."""
    if value is None:
        return NOTHING
    return value if len(value) <= longest else f"{value[:longest]}… ({len(value):,} characters)"


def line(value: str | None, longest: int = 60) -> str:
    """As :func:`text`, on one line."""
    if value is None:
        return NOTHING
    joined = " ".join(value.split())
    return joined if len(joined) <= longest else f"{joined[: longest - 1]}…"


def moment(milliseconds: int | None, seconds: bool = False) -> str:
    """Milliseconds since 1970 as a time of this machine's time zone; a dash where there is none."""
    if milliseconds is None:
        return NOTHING
    try:
        local = (_EPOCH + timedelta(milliseconds=milliseconds)).astimezone()
    except (OverflowError, OSError, ValueError):
        # a metric's time is whatever its caller said
        return str(milliseconds)
    return local.strftime("%Y-%m-%d %H:%M:%S" if seconds else "%Y-%m-%d %H:%M")


def iso(milliseconds: int | None) -> str | None:
    """Milliseconds since 1970 as ISO 8601 in UTC, for programs."""
    if milliseconds is None:
        return None
    try:
        return (_EPOCH + timedelta(milliseconds=milliseconds)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except OverflowError:
        return str(milliseconds)


def took(start: int, end: int | None) -> str:
    """How long something took, between two times in milliseconds; a dash where it goes on."""
    if end is None:
        return NOTHING
    seconds = max(0, end - start) / 1000
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def size(count: int | None) -> str:
    """A number of bytes; empty for a directory."""
    if count is None:
        return ""
    value, unit = float(count), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"


def several(count: int, noun: str) -> str:
    """``1 run``, ``2 runs``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def plain(value: Any) -> Any:
    """What JSON can hold: NaN and the infinities are the texts ``NaN``, ``Infinity`` and ``-Infinity``, as in MLflow's REST."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [plain(one) for one in value]
    return value
