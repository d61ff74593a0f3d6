"""What commands print with: one console, and steps that say what they do and how long it took."""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_WIDTH_OF_A_FILE = 140


def console() -> "Console":
    """The terminal; wide enough for the tables where the output goes to a file or a log."""
    from rich.console import Console

    found = Console(highlight=False)
    return found if found.is_terminal else Console(highlight=False, width=_WIDTH_OF_A_FILE)


@contextmanager
def step(to: "Console", what: str) -> Iterator[Callable[[str], None]]:
    """A long step: a spinner with its seconds on a terminal, a plain line elsewhere, and at its end what came out.

    The function that it gives replaces the closing line's text.
    """
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    began, said = time.perf_counter(), [what]
    if to.is_terminal:
        columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
        with Progress(*columns, console=to, transient=True) as progress:
            progress.add_task(what, total=None)
            yield said.append
    else:
        to.print(f"… {what}", soft_wrap=True, markup=False)
        yield said.append
    tick(to, said[-1], time.perf_counter() - began)


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """What a process started inside writes to stderr is shown only if an error is raised inside: a JVM greets with warnings."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as said:
        shown = os.dup(2)
        os.dup2(said.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(shown, 2)
            said.seek(0)
            os.write(2, said.read())
            raise
        finally:
            os.dup2(shown, 2)
            os.close(shown)


def tick(to: "Console", what: str, seconds: float | None = None) -> None:
    """One line for something that is done."""
    from rich.text import Text

    took = f"  {seconds:.1f} s" if seconds is not None else ""
    to.print(Text.assemble(("✓ ", "green"), what, (took, "dim")), soft_wrap=True)


def table(title: str, *columns: str, numbers: tuple[str, ...] = (), whole: tuple[str, ...] = ()) -> "Table":
    """An empty table; the columns named in ``numbers`` are set to the right, those in ``whole`` are never broken."""
    from rich import box
    from rich.table import Table

    made = Table(title=f"\n{title}", title_justify="left", box=box.SIMPLE_HEAD, title_style="bold")
    for column in columns:
        made.add_column(column, justify="right" if column in numbers else "left", no_wrap=column in whole)
    return made


def row(to: "Table", *cells: Any) -> None:
    """Add a row of plain texts: a cell's own brackets are no markup."""
    from rich.text import Text

    to.add_row(*(Text(str(cell)) for cell in cells))
