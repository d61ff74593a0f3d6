"""Cuts the files of a source into pieces of work: one big file keeps every core busy, ten thousand small ones make few tasks."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

# below it a task's fixed cost shows, above it a task that has to be repeated hurts
_LEAST_BYTES, _MOST_BYTES = 4 * 2**20, 1024 * 2**20


@dataclass(frozen=True)
class Piece:
    """A Parquet file of a source, or some of its row groups.

    Attributes
    ----------
    path : str
        The path or storage URI.
    size : int
        Bytes.
    groups : (int, int) or None
        The first row group and the one after the last; None is the whole file.
    values : mapping
        Columns that are not in the file, because all its rows are of one partition.
    """

    path: str
    size: int
    groups: tuple[int, int] | None = None
    values: Mapping[str, Any] = field(default_factory=dict)


def task_count(size: int, cores: int, tasks_for_a_core: int = 2) -> int:
    """How many tasks ``size`` bytes are worth on so many cores: few and large ones, a multiple of the cores where there are several a core."""
    wanted = min(math.ceil(size / _LEAST_BYTES), cores * tasks_for_a_core)
    wanted = max(wanted, math.ceil(size / _MOST_BYTES), 1)
    return wanted if wanted < cores else math.ceil(wanted / cores) * cores


def cut(pieces: Sequence[Piece], tasks: int, groups_of: Callable[[Piece], Sequence[int]]) -> list[list[Piece]]:
    """The pieces in at most ``tasks`` parts of about equal size, in their order.

    Parameters
    ----------
    pieces : sequence of Piece
        Whole files.
    tasks : int
    groups_of : callable
        How large the row groups of a file are beside one another; asked only of files that are large beside a task's share.
    """
    share = max(sum(piece.size for piece in pieces) / tasks, 1)
    small = [part for piece in pieces for part in _parts(piece, share, groups_of)]
    parts: list[list[Piece]] = []
    done = 0.0
    for piece in small:
        # a piece belongs to the task in whose share its middle lies
        place = min(int((done + piece.size / 2) / share), tasks - 1)
        done += piece.size
        if not parts or (place >= len(parts) and (len(parts) < tasks)):
            parts.append([])
        parts[-1].append(piece)
    return parts


def _parts(piece: Piece, share: float, groups_of: Callable[[Piece], Sequence[int]]) -> list[Piece]:
    if piece.size <= share / 2:
        return [piece]
    sizes = groups_of(piece)
    if len(sizes) < 2:
        return [piece]
    # a few parts for each share, so that what is left over at the end is small
    wanted = max(share / 4, 1)
    parts: list[Piece] = []
    start, size, whole = 0, 0.0, sum(sizes) or 1
    for number, one in enumerate(sizes):
        size += piece.size * one / whole
        if size >= wanted or number == len(sizes) - 1:
            parts.append(replace(piece, size=round(size), groups=(start, number + 1)))
            start, size = number + 1, 0.0
    return parts
