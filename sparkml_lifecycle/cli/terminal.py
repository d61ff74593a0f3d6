"""What commands print with: one console, and steps that say what they do and how long it took."""

import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text
    from rich.tree import Tree

_WIDTH_OF_A_FILE = 140
_WIDEST = 100_000
_NARROWEST, _BETWEEN = 10, 3
# a tag's value could move the cursor or colour the terminal; line breaks and tabs are harmless
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


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


def table(
    title: str, *columns: str, numbers: tuple[str, ...] = (), whole: tuple[str, ...] = (), widest: int | None = None
) -> "Table":
    """An empty table.

    Parameters
    ----------
    title : str
    columns : str
        Their headings.
    numbers : tuple of str
        The columns that are set to the right and never broken.
    whole : tuple of str
        The columns that are never broken, such as ids.
    widest : int, optional
        How wide the other columns may grow before their texts take several lines.
    """
    from rich import box
    from rich.table import Table

    made = Table(
        title=plain(f"\n{title}"),
        title_justify="left",
        box=box.SIMPLE_HEAD,
        title_style="bold",
        pad_edge=False,
    )
    for column in columns:
        unbroken = column in whole or column in numbers
        made.add_column(
            plain(column), justify="right" if column in numbers else "left", no_wrap=unbroken, overflow="fold",
            max_width=None if unbroken else widest,
        )  # fmt: skip
    return made


def row(to: "Table", *cells: Any, style: str | None = None) -> None:
    """Add a row of :func:`plain` texts."""
    texts = [plain(str(cell)) for cell in cells]
    for column, text in zip(to.columns, texts, strict=True):
        if column.no_wrap:
            column.min_width = max(column.min_width or 0, text.cell_len)
    to.add_row(*texts, style=style)


@dataclass(frozen=True)
class Column:
    """A column of a table with a line for each row.

    Attributes
    ----------
    name : str
        What it is, for :func:`fitting`'s caller.
    heading : str
    cells : tuple of str
    kind : {"whole", "number", "text"}
        Texts are cut where there is too little room; the others never are.
    spare : int
        On a terminal that is too narrow the largest is left out first; 0 never is.
    """

    name: str
    heading: str
    cells: tuple[str, ...]
    kind: Literal["whole", "number", "text"] = "text"
    spare: int = 0

    @property
    def widest(self) -> int:
        """How many characters it would like to have."""
        from rich.cells import cell_len

        return max(map(cell_len, (self.heading, *self.cells)))

    @property
    def narrowest(self) -> int:
        """How many characters it needs."""
        return min(self.widest, _NARROWEST) if self.kind == "text" else self.widest


def fitting(columns: Sequence[Column]) -> list[Column]:
    """The columns for which the terminal is wide enough; all of them in a file or pipe."""
    to, kept = console(), list(columns)
    while to.is_terminal and sum(column.narrowest + _BETWEEN for column in kept) > to.width:
        least = max(kept, key=lambda column: column.spare)
        if not least.spare:
            break
        kept.remove(least)
    return kept


def lines(title: str, columns: Sequence[Column]) -> "Table":
    """A table of columns; each row takes one line, and texts are cut where the terminal is too narrow."""
    to, made = console(), table(title)
    widths = [column.widest for column in columns]
    while to.is_terminal and sum(widths) + _BETWEEN * len(widths) > to.width:
        place = max(range(len(widths)), key=lambda i: widths[i] if widths[i] > columns[i].narrowest else 0)
        if widths[place] == columns[place].narrowest:
            break
        widths[place] -= 1
    for column, width in zip(columns, widths, strict=True):
        made.add_column(
            plain(column.heading), justify="right" if column.kind == "number" else "left", no_wrap=True,
            overflow="ellipsis", width=width, min_width=width,
        )  # fmt: skip
    for cells in zip(*(column.cells for column in columns), strict=True):
        made.add_row(*map(plain, cells))
    return made


def pairs(title: str, *rows: tuple[str, Any]) -> "Table":
    """A table of names and values without headings; the values are never broken."""
    made = table(title, "", " ", whole=("", " "))
    made.show_header = False
    for cells in rows:
        row(made, *cells)
    return made


def show(*parts: "Table | Tree | str") -> None:
    """Print tables and lines; in a file or pipe as wide as they are, on a terminal never narrower than their ids and numbers."""
    from rich.measure import Measurement
    from rich.table import Table
    from rich.text import Text

    for part in parts:
        to = console()
        if isinstance(part, str):
            to.print(_visible(part), soft_wrap=True, markup=False)
            continue
        if isinstance(part, Table) and isinstance(part.title, Text):
            # a title would be broken where the table is narrower
            to.print(Text(part.title.plain.strip(), "bold"), soft_wrap=True)
            part.title = None
        if to.is_terminal:
            if isinstance(part, Table):
                to.width = max(to.width, sum((column.min_width or _NARROWEST) + _BETWEEN for column in part.columns))
            to.print(part)
            continue
        to.width = max(to.width, Measurement.get(to, to.options.update(max_width=_WIDEST), part).maximum)
        with to.capture() as printed:
            to.print(part)
        to.print("\n".join(map(str.rstrip, printed.get().splitlines())), soft_wrap=True, markup=False)


def print_json(document: Any) -> None:
    """Print one JSON document and nothing else; what is no number in it must be text already."""
    unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    print(json.dumps(document, indent=2, ensure_ascii=not unicode, allow_nan=False), flush=True)


def done(as_json: bool, document: dict[str, Any], said: str) -> None:
    """What a command did: one JSON document, or a line for a person."""
    if as_json:
        return print_json(document)
    show(said)


def plain(text: str) -> "Text":
    """A text as it is: its own brackets are no markup, and its control characters do nothing."""
    from rich.text import Text

    return Text(_visible(text))


def _visible(text: str) -> str:
    return _CONTROL.sub(lambda found: chr(0x2400 + ord(found[0])) if ord(found[0]) < 32 else "�", text)
