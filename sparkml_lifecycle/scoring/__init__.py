"""Scoring: source, worker, engines, target, job.

:func:`score` gives a DataFrame with predictions, :func:`score_table` runs a job from table to table. Workers import
this package too, so it loads nothing until it is asked.
"""

from typing import Any

__all__ = ["Progress", "Report", "score", "score_table", "show_progress"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from sparkml_lifecycle.scoring import table

        return getattr(table, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *(name for name in globals() if name.startswith("__"))])
