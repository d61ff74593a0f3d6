"""Appends that go past delta-rs, beside those that go through it."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable, Field
from deltalake.schema import PrimitiveType

from sparkml_lifecycle.errors import StorageError
from sparkml_lifecycle.lake import Change, Lake, files, log, rows, tail
from sparkml_lifecycle.lake import table as table_module
from sparkml_lifecycle.lake.tail import Tail
from tests.lake.points import Point, Turn, point

ROOT = Path(__file__).parents[2]
NOW = int(time.time() * 1000)


@pytest.fixture
def points(tmp_path):
    return Lake(tmp_path).table(Point)


@pytest.fixture
def turns(tmp_path):
    return Lake(tmp_path).table(Turn)


def turn(number, name="a"):
    return Turn(at=datetime.now(UTC), name=name, number=number, revision=number)


def next_turn(seen, identifier="turns", name="a"):
    number = seen.version_of(identifier) + 1
    return Change((turn(number, name),), {identifier: number})


def by_path(found):
    return sorted((dict(sorted(file.items())) for file in found), key=lambda file: file["path"])


def handle_of(table):
    return DeltaTable(table.storage.delta_uri)


def tail_of(table):
    return Tail.of(table.storage, Point, handle_of(table))


def data(key, seq=1, value=0.5):
    return rows.to_arrow(Point, [point(key, value)], by="me", writer="w" * 32, seq=seq)


def keys(table):
    return sorted(pa.table(DeltaTable(table.storage.delta_uri).to_pyarrow_dataset().to_table())["key"].to_pylist())


def commits(table):
    return [
        [json.loads(line) for line in path.read_text().splitlines()]
        for path in sorted((table.storage.local_path / "_delta_log").glob("*.json"))
    ]


def test_the_log_says_of_a_file_what_delta_rs_would_say(points):
    points.append([point("first")])
    content = data("é", seq=7, value=float("nan"))
    tail_of(points).append(content, [("w" * 32, 7, NOW)])
    table_module.commit_rows(handle_of(points), content, [("w" * 32, 8, NOW)])
    ours, theirs = commits(points)[-2:]

    def of(commit, kind):
        return next(action[kind] for action in commit if kind in action)

    assert json.loads(of(ours, "add")["stats"]) == json.loads(of(theirs, "add")["stats"])
    assert {"partitionValues": {}, "dataChange": True}.items() <= of(ours, "add").items()
    assert of(ours, "txn") == {"appId": "w" * 32, "version": 7, "lastUpdated": NOW}
    assert of(ours, "commitInfo")["isBlindAppend"] is of(theirs, "commitInfo")["isBlindAppend"] is True
    assert DeltaTable(points.storage.delta_uri).transaction_version("w" * 32) == 8


def test_local_appends_and_claims_go_through_the_tail(points, turns, monkeypatch):
    appended = []
    append = Tail.append

    def counted(self, *arguments):
        appended.append(self.version())
        return append(self, *arguments)

    monkeypatch.setattr(Tail, "append", counted)
    for number in range(3):
        points.append([point(str(number))])
    for _ in range(3):
        turns.claim(next_turn)
    assert appended == [0, 1, 2] * 2
    assert keys(points) == ["0", "1", "2"]
    assert sorted(turns.to_arrow()["number"].to_pylist()) == [1, 2, 3]


@pytest.mark.parametrize("rival", [Lake.table, lambda lake, _: handle_of(lake.table(Turn))], ids=["tail", "delta-rs"])
def test_a_claim_that_was_overtaken_is_decided_again_and_leaves_no_file(turns, rival):
    turns.claim(next_turn)
    lake, seen = Lake(turns.storage.uri.removesuffix("/turns")), []

    def overtaken(now):
        seen.append(now.version_of("turns"))
        if len(seen) == 1:
            other = rival(lake, Turn)
            if hasattr(other, "claim"):
                other.claim(next_turn)
            else:
                content = rows.to_arrow(Turn, [turn(2)], by="me", writer="w" * 32, seq=9)
                table_module.commit_rows(other, content, [("turns", 2, None)])
        return next_turn(now)

    turns.claim(overtaken)
    assert seen == [1, 2]
    assert sorted(turns.to_arrow()["number"].to_pylist()) == [1, 2, 3]
    assert len(list(turns.storage.local_path.glob("*.parquet"))) == len(handle_of(turns).file_uris()) == 3
    assert handle_of(turns).transaction_version("turns") == 3


def test_a_claim_beside_another_of_something_else_is_not_decided_again(turns):
    turns.claim(next_turn)
    times = []

    def beside(now):
        times.append(now.version)
        content = rows.to_arrow(Turn, [turn(7)], by="me", writer="w" * 32, seq=9)
        table_module.commit_rows(handle_of(turns), content, [("other", len(times), None)])
        return next_turn(now)

    turns.claim(beside)
    assert times == [1]
    assert sorted(turns.to_arrow()["number"].to_pylist()) == [1, 2, 7]


def test_a_lost_race_of_tails_is_said_before_anything_is_there(turns):
    turns.claim(next_turn)
    late = Tail.of(turns.storage, Turn, handle_of(turns))
    assert late.transaction_version("turns") == 1
    turns.claim(next_turn)
    with pytest.raises(tail.Overtaken):
        late.append(rows.to_arrow(Turn, [turn(2)], by="me", writer="w" * 32, seq=9), [("turns", 2, None)])
    assert sorted(turns.to_arrow()["number"].to_pylist()) == [1, 2]


def test_a_tail_out_of_the_checkpoint_is_what_delta_rs_opens(turns):
    for number in range(130):
        turns.claim(lambda seen, n=number: next_turn(seen, f"turns {n % 7}"))
        if number % 9 == 5:
            turns._tidying.wait()
            opened, handle = Tail.opened(turns.storage, Turn), handle_of(turns)
            # a table that is younger than its first checkpoint is left to delta-rs
            assert (opened is None) == (not (turns.storage.local_path / "_delta_log/_last_checkpoint").exists())
            if opened is not None:
                assert opened.version() == handle.version()
                assert by_path(opened.live()) == by_path(files.files_of(handle))
                assert opened.largest_seq == files.largest_seq(files.files_of(handle))
                for n in range(8):
                    identifier = f"turns {n}"
                    assert opened.transaction_version(identifier) == handle.transaction_version(identifier)
    assert opened is not None
    assert handle.transaction_version("compactor") >= 1
    assert turns.to_arrow().num_rows == 130


@pytest.mark.parametrize("gone", [lambda index: True, lambda index: index > 1, lambda index: index == 2])
def test_a_checkpoint_that_is_not_the_newest_is_not_trusted(points, gone):
    for number in range(25):
        points.append([point(str(number))])
    last = points.storage.local_path / "_delta_log/_last_checkpoint"
    said = last.read_bytes()
    shorten(points, gone)
    # as a process leaves it that was killed between the checkpoint and what names it
    last.write_bytes(said)
    again = Lake(points.storage.uri.removesuffix("/points")).table(Point)
    assert again.look(lambda seen: seen.version) == handle_of(points).version()
    again.append([point("z")])
    assert len(keys(points)) == 29


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"version": "x"}', b'{"version": 9999}', b'{"version": 20, "parts": 2}']
)
def test_a_broken_name_of_the_checkpoint_leaves_it_to_delta_rs(points, content):
    for number in range(25):
        points.append([point(str(number))])
    log = points.storage.local_path / "_delta_log"
    (log / "_last_checkpoint").write_bytes(content)
    assert Tail.opened(points.storage, Point) is None
    [checkpoint] = log.glob("*.checkpoint.parquet")
    checkpoint.write_bytes(b"PAR1 half")
    (log / "_last_checkpoint").write_text(json.dumps({"version": int(checkpoint.name[:20])}))
    assert Tail.opened(points.storage, Point) is None


def test_a_commit_that_a_checkpoint_knows_stays_however_late_its_writer_looks(turns, monkeypatch):
    turns.claim(next_turn)
    reader = Lake(turns.storage.uri.removesuffix("/turns")).table(Turn)
    other = Lake(turns.storage.uri.removesuffix("/turns")).table(Turn)

    def numbers():
        return sorted(row.number for row in reader.look(lambda seen: reader.group("name", "a", seen)).rows)

    assert numbers() == [1]
    check, late = Tail._check_place, [True]

    def check_late(self, version, actions):
        if late and late.pop():
            for _ in range(45):
                other.claim(next_turn)
            other._tidying.wait()
            handle_of(turns).create_checkpoint()
        return check(self, version, actions)

    monkeypatch.setattr(Tail, "_check_place", check_late)
    turns.claim(next_turn)
    assert numbers() == list(range(1, 48))
    assert sorted(turns.to_arrow()["number"].to_pylist()) == list(range(1, 48))
    log = turns.storage.local_path / "_delta_log"
    assert (log / f"{2:020}.json").exists()


def test_a_hole_below_a_checkpoint_hides_nothing(turns):
    reader = Lake(turns.storage.uri.removesuffix("/turns")).table(Turn)
    turns.claim(next_turn)
    assert reader.look(lambda seen: seen.version_of("turns")) == 1
    for _ in range(30):
        turns.claim(next_turn)
    turns._tidying.wait()
    # as delta-rs' cleaning leaves it that was killed half way
    (turns.storage.local_path / "_delta_log" / f"{3:020}.json").unlink()
    assert reader.look(lambda seen: seen.version_of("turns")) == 31
    assert [row.number for row in reader.claim(next_turn)] == [32]


def test_compaction_that_a_checkpoint_knows_stays_too(points):
    for number in range(6):
        points.append([point(str(number))])
    check, late = Tail._check_place, [True]

    def check_late(self, version, actions):
        if any("remove" in action for action in actions) and late and late.pop():
            table_module.commit_rows(handle_of(points), data("late"), [("o", 1, None)])
            handle_of(points).create_checkpoint()
        return check(self, version, actions)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Tail, "_check_place", check_late)
        assert points.compact() == 8
    assert keys(points) == [*"012345", "late"]
    assert (points.storage.local_path / "_delta_log" / f"{7:020}.json").exists()


def test_what_is_not_there_fills_no_memory(turns):
    turns.claim(next_turn)
    for number in range(50):
        assert turns.look(lambda seen, n=number: turns.group("name", f"none {n}", seen)).rows == []
    assert len(turns.look(lambda seen: turns.group("name", "a", seen)).rows) == 1
    assert len(turns._groups._known) == 1
    # and what comes later is seen
    turns.claim(lambda seen: next_turn(seen, name="none 7"))
    assert len(turns.look(lambda seen: turns.group("name", "none 7", seen)).rows) == 1


def test_groups_follow_the_table_through_commits_compactions_and_removal(turns):
    other = Lake(turns.storage.uri.removesuffix("/turns")).table(Turn)

    def numbers(table):
        found = table.look(lambda seen: table.group("name", "a", seen))
        assert [row.number for row in found.counting.values()] == [max(row.number for row in found.rows)]
        return sorted(row.number for row in found.rows)

    wanted = []
    for number in range(1, 70):
        (turns, other)[number % 2].claim(lambda seen: next_turn(seen, "turns", "ab"[seen.version % 3 == 0]))
        there = turns.to_arrow()
        wanted = sorted(there.filter(pc.equal(there["name"], "a"))["number"].to_pylist())
        if wanted:
            assert numbers(turns) == numbers(other) == wanted
        if number % 20 == 0:
            other.compact()
    assert len(wanted) > 40
    shutil.rmtree(turns.storage.local_path)
    assert turns.look(lambda seen: turns.group("name", "a", seen)).rows == []


def test_four_threads_through_tails_and_two_through_delta_rs_keep_every_row_once(points):
    points.append([point("first")])
    failed = []

    def by_tail(name):
        mine = tail_of(points)
        for number in range(25):
            assert mine.catch_up()
            mine.append(data(f"{name}-{number}"), [(name, number, None)])

    def by_delta_rs(name):
        for number in range(25):
            table_module.commit_rows(handle_of(points), data(f"{name}-{number}"), [(name, number, None)])

    def tried(work, name):
        try:
            work(name)
        except BaseException as error:
            failed.append(error)

    named = [(by_tail, f"t{n}") for n in range(4)] + [(by_delta_rs, f"d{n}") for n in range(2)]
    threads = [threading.Thread(target=tried, args=one) for one in named]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert keys(points) == sorted(["first", *(f"{name}-{number}" for _, name in named for number in range(25))])


def test_a_tail_sees_the_seq_and_the_files_of_others(points):
    points.append([point("a")])
    mine = tail_of(points)
    other = tail_of(points)
    other.append(data("b", seq=90), [("w" * 32, 90, None)])
    assert mine.catch_up()
    assert (mine.version(), mine.largest_seq, mine.small) == (other.version(), 90, 2)
    Lake(points.storage.uri.removesuffix("/points")).table(Point).compact()
    assert mine.catch_up()
    assert mine.small == 1
    points.append([point("c")])
    assert points.to_arrow()["seq"].to_pylist().count(91) == 1


def test_a_checkpoint_is_made_where_it_is_due(points):
    for number in range(22):
        points.append([point(str(number))])
    log = points.storage.local_path / "_delta_log"
    assert len(list(log.glob("*.checkpoint.parquet"))) == 1
    assert len(keys(points)) == 22


def test_a_large_checkpoint_is_made_more_rarely(points, monkeypatch):
    for number in range(22):
        points.append([point(str(number))])
    monkeypatch.setattr(tail, "_LARGE_CHECKPOINT", 1000)
    for number in range(120):
        points.append([point(f"more {number}")])
    made = [int(path.name[:20]) for path in (points.storage.local_path / "_delta_log").glob("*.checkpoint.parquet")]
    # the process learns of it at the second one
    assert len(made) == 3
    assert max(made) - sorted(made)[1] > 20
    assert len(keys(points)) == 142


def shorten(points, gone):
    """Others commit and clean the log: of its JSON files those with an index that ``gone`` lets through are deleted."""
    for number in range(3):
        table_module.commit_rows(handle_of(points), data(f"other-{number}"), [(f"o{number}", 1, None)])
    handle_of(points).create_checkpoint()
    for index, path in enumerate(sorted((points.storage.local_path / "_delta_log").glob("*.json"))[:-1]):
        if gone(index):
            path.unlink()


# delta-rs cleans in an order of its own: the last commit that a process has seen may be there when the next has gone
@pytest.mark.parametrize(
    "gone", [lambda index: True, lambda index: index > 1, lambda index: index == 2], ids=["all", "later", "next"]
)
@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_commit_below_a_shortened_log_is_not_taken_for_one_that_counts(points, monkeypatch, when, gone):
    points.append([point("a")])
    link, late = tail.link_new, [when == "meanwhile"]
    assert points._end().catch_up()
    before = points._tail.version()

    def link_late(*arguments, **options):
        if late.pop() if late else False:
            shorten(points, gone)
        return link(*arguments, **options)

    if when == "before":
        shorten(points, gone)
    monkeypatch.setattr(tail, "link_new", link_late)
    points.append([point("mine")])
    points.append([point("next")])
    assert keys(points) == sorted(["a", "mine", "next", "other-0", "other-1", "other-2"])
    # what was made at a place of long ago has been taken back: it would lead others astray
    assert gone(before + 1) != (points.storage.local_path / "_delta_log" / f"{before + 1:020}.json").exists()


@pytest.mark.parametrize("clock", [0, 1], ids=["it waited", "the machine slept"])
def test_a_commit_after_a_long_wait_is_looked_at_even_where_no_checkpoint_is_named(points, monkeypatch, clock):
    points.append([point("a")])
    handle_of(points).create_checkpoint()
    assert points._end().catch_up()
    place = points.storage.local_path / "_delta_log" / f"{points._tail.version() + 1:020}.json"
    link, passed, late = tail.link_new, [0.0, 0.0], [True]
    clocks = tail._clocks
    monkeypatch.setattr(tail, "_clocks", lambda: tuple(map(sum, zip(clocks(), passed, strict=True))))

    def link_late(*arguments, **options):
        if late and late.pop():
            # killed between the checkpoint and what names it
            mark = points._tail._mark()
            monkeypatch.setattr(Tail, "_mark", lambda self: mark)
            shorten(points, lambda index: True)
            passed[clock] = 6.0
            assert not place.exists()
        return link(*arguments, **options)

    monkeypatch.setattr(tail, "link_new", link_late)
    points.append([point("mine")])
    monkeypatch.undo()
    assert keys(points) == sorted(["a", "mine", "other-0", "other-1", "other-2"])
    assert not place.exists()


def test_what_cleans_at_once_takes_nothing_above_the_checkpoint_that_is_named(points):
    for number in range(4):
        points.append([point(str(number))])
    log_of = points.storage.local_path / "_delta_log"
    handle_of(points).create_checkpoint()
    named = (log_of / "_last_checkpoint").read_bytes()
    points.append([point("later")])
    handle_of(points).create_checkpoint()
    (log_of / "_last_checkpoint").write_bytes(named)
    version = json.loads(named)["version"]
    assert log.clean(points.storage, many=0, settled_seconds=-1) == version
    assert (log_of / f"{version:020}.json").exists()
    (log_of / "_last_checkpoint").write_text("half")
    assert log.clean(points.storage, many=0, settled_seconds=-1) == 0
    assert len(keys(points)) == 5


def test_a_stray_commit_of_somebody_else_leads_nobody_astray(points):
    points.append([point("a")])
    mine = tail_of(points)
    shorten(points, lambda index: True)
    stray = [{"commitInfo": {}}, {"txn": {"appId": "x", "version": 1}}]
    place = points.storage.local_path / "_delta_log" / f"{mine.version() + 1:020}.json"
    place.write_text("\n".join(map(json.dumps, stray)))
    points._tail = mine
    points.append([point("mine")])
    assert keys(points) == sorted(["a", "mine", "other-0", "other-1", "other-2"])


def test_a_checkpoint_that_is_still_being_written_makes_no_commit_be_taken_back(points):
    points.append([point("a")])
    (points.storage.local_path / "_delta_log" / f"{2:020}.checkpoint.parquet#1").write_bytes(b"half")
    points.append([point("b")])
    assert (points.storage.local_path / "_delta_log" / f"{2:020}.json").exists()
    assert keys(points) == ["a", "b"]


def test_a_commit_that_others_have_put_into_a_checkpoint_at_once_counts(points, monkeypatch):
    points.append([point("a")])
    link = tail.link_new

    def link_and_checkpoint(*arguments, **options):
        done = link(*arguments, **options)
        handle_of(points).create_checkpoint()
        return done

    monkeypatch.setattr(tail, "link_new", link_and_checkpoint)
    for name in ("b", "c"):
        points.append([point(name)])
    monkeypatch.undo()
    points.append([point("d")])
    assert keys(points) == ["a", "b", "c", "d"]


@pytest.mark.parametrize("how", ["removed", "made anew", "in place"])
def test_a_lake_in_the_place_of_another_is_noticed(tmp_path, how):
    lake = tmp_path / "lake"
    points = Lake(lake).table(Point)
    for number in range(8):
        points.append([point(f"a-{number}")])
        assert points.to_arrow().num_rows == number + 1
    if how == "in place":
        other = Lake(tmp_path / "other").table(Point)
        for number in range(9):
            other.append([point(f"b-{number}")])
        for path in lake.rglob("*"):
            if path.is_file():
                path.unlink()
        shutil.copytree(tmp_path / "other", lake, dirs_exist_ok=True)
    else:
        shutil.rmtree(lake)
        if how == "made anew":
            other = Lake(lake).table(Point)
            for number in range(9):
                other.append([point(f"b-{number}")])
    wanted = [] if how == "removed" else [f"b-{number}" for number in range(9)]
    assert sorted(points.to_arrow()["key"].to_pylist()) == wanted
    points.append([point("c")])
    assert sorted(points.to_arrow()["key"].to_pylist()) == keys(points) == [*wanted, "c"]


def test_a_lake_that_is_removed_under_a_commit_is_made_anew(points, monkeypatch):
    points.append([point("a")])
    link, late = tail.link_new, [True]

    def link_late(*arguments, **options):
        if late.pop() if late else False:
            shutil.rmtree(points.storage.local_path.parent)
        return link(*arguments, **options)

    monkeypatch.setattr(tail, "link_new", link_late)
    points.append([point("b")])
    assert keys(points) == ["b"]


def test_a_table_that_was_changed_by_others_is_opened_anew(points):
    points.append([point("a")])
    mine = tail_of(points)
    handle_of(points).alter.add_columns([Field("extra", PrimitiveType("string"))])
    assert not mine.catch_up()
    points.append([point("b")])
    assert keys(points) == ["a", "b"]


def test_what_this_writer_does_not_know_is_left_to_delta_rs(points):
    points.append([point("a")])
    handle_of(points).alter.add_constraint({"named": "key != 'x'"})
    assert tail_of(points) is None
    points.append([point("b")])
    with pytest.raises(StorageError, match="validation check"):
        points.append([point("x")])
    assert keys(points) == ["a", "b"]


def test_what_could_not_be_written_leaves_no_file(points, monkeypatch):
    points.append([point("a")])
    mine = tail_of(points)
    before = set(os.listdir(points.storage.local_path))

    def full(storage, path, content):
        (storage.local_path / path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tail, "write", full)
    with pytest.raises(OSError, match="No space"):
        mine.append(data("b"), [("w" * 32, 1, None)])
    assert set(os.listdir(points.storage.local_path)) == before


def test_a_table_that_was_removed_and_made_anew_is_noticed(points):
    points.append([point("a")])
    shutil.rmtree(points.storage.local_path)
    other = Lake(points.storage.uri.removesuffix("/points")).table(Point)
    other.append([point("b")])
    points.append([point("c")])
    assert keys(points) == ["b", "c"]


def test_long_and_odd_values_have_statistics_that_are_true(points):
    content = pa.concat_tables([data("a"), data("k" * 5000)])
    said = files.statistics(content, Point)
    assert "key" not in said["maxValues"]
    assert said["nullCount"]["key"] == 0
    assert "value" not in said["minValues"]
    assert datetime.fromisoformat(said["minValues"]["at"]) <= content["at"][0].as_py().astimezone(UTC)
    first = rows.to_arrow(Point, [replace(point("a"), at=datetime(1, 1, 1, tzinfo=UTC))])
    assert files.statistics(first, Point)["minValues"]["at"] == "0001-01-01T00:00:00.000Z"


_COUNTING = """
import os, sys
import pyarrow.parquet
from sparkml_lifecycle.lake import Lake
from sparkml_lifecycle.lake.tail import Tail
from tests.lake.points import Turn
turns = Lake(sys.argv[1]).table(Turn)
before = len(os.listdir("/proc/self/task"))
tail = Tail.opened(turns.storage, Turn)
assert tail.version() == 31, tail.version()
assert not tail._knows(tail._checkpoint[1], [{"add": {"path": "none"}}])
print(before, len(os.listdir("/proc/self/task")))
"""


def test_reading_a_checkpoint_leaves_no_thread_behind_that_could_abort_the_process_at_its_end(turns):
    for _ in range(31):
        turns.claim(next_turn)
    turns._tidying.wait()
    command = [sys.executable, "-c", _COUNTING, turns.storage.uri.removesuffix("/turns")]
    before, after = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert before == after
