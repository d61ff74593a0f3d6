"""The rows of a table that have one text in a column, as objects: read once, and followed from one version of the table to the next."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from sparkml_lifecycle.lake.recent import Parts
from sparkml_lifecycle.lake.rows import ClaimedRow, from_arrow
from sparkml_lifecycle.lake.where import Where

C = TypeVar("C", bound=ClaimedRow)
_MOST_ROWS, _MOST_GROUPS, _FEW_ROWS = 200_000, 5_000, 1_000


@dataclass(frozen=True)
class Group(Generic[C]):
    """Rows of a table whose changes are compared and swapped.

    Attributes
    ----------
    rows : sequence of row
    counting : mapping of tuple of str to row
        Of each key the row with the largest revision.
    """

    rows: Sequence[C] = ()
    counting: Mapping[tuple[str, ...], C] = field(default_factory=dict)

    def grown(self, rows: Sequence[C]) -> "Group[C]":
        """Another group with more rows."""
        counting = dict(self.counting)
        for row in rows:
            key = row.key_of()
            there = counting.get(key)
            if there is None or there.revision <= row.revision:
                counting[key] = row
        return Group([*self.rows, *rows], counting)

    def since(self, earlier: "Group[C]") -> Sequence[C] | None:
        """The rows that have come to an earlier group of which this one has grown; None where it has not."""
        count = len(earlier.rows)
        if 0 < count <= len(self.rows) and self.rows[count - 1] is earlier.rows[-1] and self.rows[0] is earlier.rows[0]:
            return self.rows[count:]
        return None


class Groups(Generic[C]):
    """The groups that were asked for; not for several threads at once.

    Parameters
    ----------
    row_type : type
    """

    def __init__(self, row_type: type[C]) -> None:
        self._row_type = row_type
        self._parts: Parts | None = None
        self._known: OrderedDict[tuple[str, str], Group[C]] = OrderedDict()
        self._count = 0
        self._written: dict[str, Sequence[C]] = {}

    def remember(self, path: str, rows: Sequence[C]) -> None:
        """Take the rows of a file that was just written, so that they are not made again."""
        if self._known:
            self._written[path] = rows

    def of(self, parts: Parts, column: str, value: str, read: Callable[[Where], Any]) -> Group[C]:
        """The rows with ``value`` in a column, of a table in two parts; ``read`` gives all rows that fit, as an Arrow table."""
        if parts is not self._parts:
            self._follow(parts)
        group = self._known.get((column, value))
        if group is None:
            rows = read(Where({column: [value]}))
            group = self._twin(column, value, rows.num_rows) or Group[C]().grown(from_arrow(self._row_type, rows))
            if not group.rows:
                # what is not there is looked for again, so that names that nobody has fill no memory
                return group
            self._known[column, value] = group
            self._count += len(group.rows)
            while len(self._known) > 1 and (self._count > _MOST_ROWS or len(self._known) > _MOST_GROUPS):
                self._count -= len(self._known.popitem(last=False)[1].rows)
        self._known.move_to_end((column, value))
        return group

    def _twin(self, column: str, value: str, count: int) -> Group[C] | None:
        """The group of another column that has the very same rows, such as those of a name and of what is called so."""
        for group in self._known.values():
            if len(group.rows) == count and all(getattr(row, column) == value for row in group.rows):
                return group if count else None
        return None

    def _follow(self, parts: Parts) -> None:
        before, self._parts = self._parts, parts
        written, self._written = self._written, {}
        new = parts.pieces.keys() - before.pieces.keys() if before is not None else set()
        if (
            before is None
            or before.older != parts.older
            or not before.pieces.keys() <= parts.pieces.keys()
            or sum(parts.pieces[path].num_rows for path in new) > _FEW_ROWS
        ):
            # rows have moved to other files, or are gone
            self._known.clear()
            self._count = 0
            return
        if not self._known:
            return
        grown: dict[tuple[str, str], list[C]] = {}
        columns = {column for column, _ in self._known}
        for path in new:
            for row in written.get(path) or from_arrow(self._row_type, parts.pieces[path]):
                for column in columns:
                    grown.setdefault((column, getattr(row, column)), []).append(row)
        for key in self._known.keys() & grown.keys():
            self._known[key] = self._known[key].grown(grown[key])
            self._count += len(grown[key])
