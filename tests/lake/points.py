"""Two tables for the tests, and what other processes do to them."""

import os
import sys
import time
from dataclasses import dataclass
from typing import ClassVar, Literal

from sparkml_lifecycle.lake import Change, ClaimedRow, Lake, Row
from sparkml_lifecycle.lake.order import now


@dataclass(frozen=True, kw_only=True)
class Point(Row):
    TABLE: ClassVar[str] = "points"
    KEY: ClassVar[tuple[str, ...]] = ()

    key: str
    value: float
    note: str | None = None


@dataclass(frozen=True, kw_only=True)
class Tag(Row):
    TABLE: ClassVar[str] = "marks"
    KEY: ClassVar[tuple[str, ...]] = ("key",)
    KEEP: ClassVar[Literal["every", "first", "last"]] = "last"

    key: str
    value: str


@dataclass(frozen=True, kw_only=True)
class Turn(ClaimedRow):
    TABLE: ClassVar[str] = "turns"

    name: str
    number: int


def point(key: str, value: float = 1.0, note: str | None = None) -> Point:
    return Point(at=now(), key=key, value=value, note=note)


def append_points(uri: str, name: str, count: int) -> None:
    table = Lake(uri).table(Point)
    for number in range(count):
        table.append([point(f"{name}-{number}")])


def append_and_acknowledge(uri: str, name: str) -> None:
    table = Lake(uri).table(Point)
    number = 0
    while True:
        table.append([point(f"{name}-{number}")])
        os.write(1, f"{name}-{number}\n".encode())
        number += 1


def compact_repeatedly(uri: str, rounds: int) -> None:
    table = Lake(uri).table(Point)
    for _ in range(rounds):
        table.compact()
        time.sleep(0.01)


def take_turns(uri: str, name: str, count: int) -> None:
    table = Lake(uri).table(Turn)
    for _ in range(count):
        table.claim(lambda seen: _turn(seen, name))


def _turn(seen, name: str) -> Change[Turn]:
    number = seen.version_of("turns") + 1
    return Change((Turn(at=now(), name=name, number=number),), {"turns": number})


if __name__ == "__main__":
    what, uri, *rest = sys.argv[1:]
    globals()[what](uri, *(int(one) if one.isdigit() else one for one in rest))
