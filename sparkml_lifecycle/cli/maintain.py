"""``sparkml maintain`` and ``sparkml gc``: upkeep of a lake's tables, and removing what was deleted."""

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from sparkml_lifecycle.cli import shown, terminal
from sparkml_lifecycle.errors import InvalidInput

if TYPE_CHECKING:
    from sparkml_lifecycle.maintenance import Removed

_LakeOption = Annotated[
    str | None, typer.Option("--lake", help="The lake's path or URI; the current lake where it is not given.")
]
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def maintain(
    lake: _LakeOption = None,
    retention_hours: Annotated[
        int, typer.Option(help="How long files stay that no version needs any more, for readers of an older version.")
    ] = 168,
) -> None:
    """Fold, compact, checkpoint, shorten the logs and vacuum all tables. Safe beside writers, at any time: sparkml maintain --lake mllake."""
    from sparkml_lifecycle import maintenance
    from sparkml_lifecycle.client import LifecycleClient

    client = LifecycleClient(lake)
    done = maintenance.maintain(client.lake, retention_hours)
    if not done:
        typer.echo(f"There is nothing in {client.tracking_uri} yet.")
        return
    numbers = ("files", "log files", "size", "saved")
    table = terminal.table(f"{client.tracking_uri}", "table", *numbers, numbers=numbers)
    for one in done:
        terminal.row(
            table, one.table, _change(one.live_before, one.live_after), _change(one.log_before, one.log_after),
            _size(one.bytes_after), _size(max(one.bytes_before - one.bytes_after, 0)),
        )  # fmt: skip
    terminal.console().print(table)


def gc(
    lake: _LakeOption = None,
    older_than: Annotated[
        str | None,
        typer.Option(help="Only what was deleted longer ago: 30d, 12h, 1d12h; else you are asked.", metavar="TIME"),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    purge: Annotated[
        list[str] | None,
        typer.Option(help="Erase this run without a trace, rows and history too (may be repeated).", metavar="RUN"),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove deleted runs and experiments for good, with their artifacts: sparkml gc --older-than 30d.

    Their rows stay for as-of answers. --purge RUN erases those as well, of a run that need not be deleted before.
    """
    from sparkml_lifecycle import maintenance
    from sparkml_lifecycle.client import LifecycleClient

    age = duration(older_than or "0s")
    client = LifecycleClient(lake)
    if not purge:
        asks = older_than is None and not yes
        found = maintenance.collect(client, age, dry_run or asks)
        if asks and not dry_run and (found.runs or found.experiments or found.models):
            typer.confirm(f"{_count(found)} go for good; no restore brings them back. Remove them?", abort=True)
            found = maintenance.collect(client, age)
        typer.echo(f"{_count(found)} {'would go' if dry_run else 'removed'}")
        for run_id, version in found.kept.items():
            typer.echo(f"kept: run {run_id}, from which {version} came; delete that version first")
        return
    if dry_run:
        raise InvalidInput("--purge and --dry-run do not go together: a purge names its runs.")
    if not yes:
        typer.confirm(f"Erase {', '.join(purge)} from {client.tracking_uri}, with all history?", abort=True)
    erased = maintenance.purge(client, purge)
    typer.echo(
        f"{shown.several(len(erased.runs), 'run')} erased: {erased.rows} rows and {_size(erased.artifact_bytes)} of artifacts"
    )


def duration(text: str) -> timedelta:
    """A time such as ``30d`` or ``1d12h``.

    Raises
    ------
    InvalidInput
        If it is not one.
    """
    if not re.fullmatch(r"(\d+[smhdw])+", text):
        raise InvalidInput(f"--older-than {text!r} is not a time. Examples: 30d, 12h, 1d12h (s, m, h, d, w).")
    parts: dict[str, int] = {}
    for number, unit in re.findall(r"(\d+)([smhdw])", text):
        parts[_UNITS[unit]] = parts.get(_UNITS[unit], 0) + int(number)
    try:
        return timedelta(**parts)
    except OverflowError:
        raise InvalidInput(f"--older-than {text!r} is too long a time.") from None


def _count(found: "Removed") -> str:
    experiments = shown.several(len(found.experiments), "experiment")
    counted = [shown.several(len(found.runs), "run"), experiments]
    if found.models:
        counted.append(f"the files of {shown.several(found.models, 'model')} that no version needs")
    return f"{', '.join(counted)} and {_size(found.artifact_bytes)} of artifacts"


def _change(before: int, after: int) -> str:
    return f"{before:,} → {after:,}" if before != after else f"{after:,}"


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return ""
