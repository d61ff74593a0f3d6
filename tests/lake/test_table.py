import json
import math
import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pytest
from deltalake import DeltaTable, QueryBuilder
from deltalake.exceptions import CommitFailedError
from hypothesis import given, settings
from hypothesis import strategies as st

from sparkml_lifecycle.errors import FormatError, InvalidInput, NotFound, StorageError
from sparkml_lifecycle.lake import Change, Lake, Row, Where, literal, log
from sparkml_lifecycle.lake import table as table_module
from sparkml_lifecycle.lake.order import now
from sparkml_lifecycle.lake.sql import name
from tests.lake.points import Point, Tag, Turn, point

ROOT = Path(__file__).parents[2]


def started(what, uri, *arguments):
    command = [sys.executable, "-m", "tests.lake.points", what, str(uri), *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finished(processes):
    for process in processes:
        _, error = process.communicate(timeout=120)
        assert process.returncode == 0, error.decode()


def test_opening_for_reading_writes_nothing(tmp_path):
    lake = Lake(tmp_path / "lake")
    assert lake.table(Point).to_arrow().num_rows == 0
    assert lake.table(Tag).latest(Where()) == []
    assert lake.query("select count(*) as n from points, marks", Point, Tag)["n"].to_pylist() == [0]
    assert not (tmp_path / "lake").exists()


def test_a_table_has_the_protocol_and_properties_that_everybody_reads(tmp_path):
    table = Lake(tmp_path).table(Point)
    table.append([point("a")])
    delta = DeltaTable(str(tmp_path / "points"))
    protocol, said = delta.protocol(), delta.metadata().configuration
    assert (protocol.min_reader_version, protocol.min_writer_version) == (1, 2)
    assert said["delta.checkpointInterval"] == "20"
    assert said["delta.logRetentionDuration"] == "interval 10 minutes"
    assert said["delta.setTransactionRetentionDuration"] == "interval 7 days"
    assert "value" not in said["delta.dataSkippingStatsColumns"].split(",")
    commit = [
        json.loads(line) for line in (tmp_path / "points/_delta_log/00000000000000000001.json").read_text().splitlines()
    ]
    assert next(one["commitInfo"] for one in commit if "commitInfo" in one)["isBlindAppend"] is True
    assert all("lastUpdated" in one["txn"] for one in commit if "txn" in one)


def test_a_lake_that_another_process_is_just_making_is_waited_for(tmp_path):
    Lake(tmp_path).table(Point).append([point("a")])
    content = (tmp_path / "lake.json").read_bytes()
    (tmp_path / "lake.json").write_bytes(b"")
    threading.Timer(0.3, (tmp_path / "lake.json").write_bytes, [content]).start()
    assert Lake(tmp_path).table(Point).to_arrow().num_rows == 1


def test_nan_and_infinity_come_back_beside_filters(tmp_path):
    table = Lake(tmp_path).table(Point)
    for value in (math.nan, math.inf, -math.inf, -0.0):
        table.append([point("a", value)])
    for _ in range(2):
        found = table.query("select value from points where value is not null and key = 'a' order by seq")[
            "value"
        ].to_pylist()
        assert math.isnan(found[0])
        assert found[1:3] == [math.inf, -math.inf]
        assert math.copysign(1, found[3]) == -1
        assert table.query("select count(*) as n from points where value > 0.5 and not isnan(value)")[
            "n"
        ].to_pylist() == [1]
        table.compact()


def test_a_lost_answer_leaves_the_rows_there_once(tmp_path, monkeypatch):
    table = Lake(tmp_path).table(Point)
    commit, calls = table_module.commit_rows, []

    def commit_and_lose_the_answer(handle, data, transactions):
        commit(handle, data, transactions)
        calls.append(1)
        if len(calls) % 2:
            raise CommitFailedError("the answer was lost")

    monkeypatch.setattr(table_module, "commit_rows", commit_and_lose_the_answer)
    for number in range(6):
        table.append([point(str(number)), point(str(number))])
    assert sorted(table.to_arrow()["key"].to_pylist()) == sorted(str(number) for number in range(6) for _ in range(2))
    assert len(calls) == 6


def test_a_lost_answer_to_a_claim_is_a_success(tmp_path, monkeypatch):
    table = Lake(tmp_path).table(Turn)
    commit, lose = table_module.commit_rows, [True]

    def commit_and_lose_the_answer(handle, data, transactions):
        commit(handle, data, transactions)
        if lose.pop():
            raise CommitFailedError("Concurrent transaction failed")

    monkeypatch.setattr(table_module, "commit_rows", commit_and_lose_the_answer)
    done = table.claim(
        lambda seen: Change((Turn(at=now(), name="a", number=1),), {"turns": seen.version_of("turns") + 1})
    )
    assert [row.number for row in done] == [1]
    assert table.to_arrow().num_rows == 1


def test_an_error_before_the_commit_is_tried_again_and_one_that_stays_is_said(tmp_path, monkeypatch):
    table = Lake(tmp_path).table(Point)
    commit, fail = table_module.commit_rows, [True]

    def fail_first(handle, data, transactions):
        if fail and fail.pop():
            raise OSError("no route to host")
        commit(handle, data, transactions)

    monkeypatch.setattr(table_module, "commit_rows", fail_first)
    table.append([point("a")])
    assert table.to_arrow().num_rows == 1

    def always(handle, data, transactions):
        raise PermissionError("read-only")

    monkeypatch.setattr(table_module, "commit_rows", always)
    with pytest.raises(StorageError, match="read-only"):
        table.append([point("b")])


def test_two_compactors_beside_writers_keep_every_row_once(tmp_path):
    table = Lake(tmp_path).table(Point)
    for number in range(10):
        table.append([point(f"before-{number}")])
    writers = [started("append_points", tmp_path, f"w{n}", 25) for n in range(2)]
    compactors = [started("compact_repeatedly", tmp_path, 12) for _ in range(2)]
    finished(writers + compactors)
    expected = [f"before-{n}" for n in range(10)] + [f"w{w}-{n}" for w in range(2) for n in range(25)]
    assert sorted(table.to_arrow()["key"].to_pylist()) == sorted(expected)
    assert DeltaTable(str(tmp_path / "points")).transaction_version("compactor") >= 2
    table.compact()
    assert len(DeltaTable(str(tmp_path / "points")).file_uris()) == 1
    assert table.to_arrow().num_rows == 60


def test_compaction_keeps_statistics_that_skip_nothing_wrong(tmp_path):
    table = Lake(tmp_path).table(Point)
    long = "k" * 300
    for key, note in ((long + "a", None), (long + "b", "x"), ("short", "")):
        table.append([point(key, math.nan, note)])
    assert table.compact() == 3
    for key in (long + "a", long + "b", "short"):
        assert table.query(f"select count(*) as n from points where key = {literal(key)}")["n"].to_pylist() == [1]
    assert table.query("select count(*) as n from points where note is null")["n"].to_pylist() == [1]
    assert table.query("select count(*) as n from points where seq >= 3")["n"].to_pylist() == [1]
    table.append([point("later")])
    assert max(table.to_arrow()["seq"].to_pylist()) > 3


def test_a_writer_compacts_and_keeps_the_log_short_in_passing(tmp_path, monkeypatch):
    table = Lake(tmp_path).table(Point)
    table._tidying.compact_at = 20
    for number in range(45):
        table.append([point(str(number))])
    assert len(DeltaTable(str(tmp_path / "points")).file_uris()) < 25
    assert table.to_arrow().num_rows == 45
    DeltaTable(str(tmp_path / "points")).create_checkpoint()
    before = len(os.listdir(tmp_path / "points/_delta_log"))
    assert log.clean(table.storage, many=10) == 0
    # a little at a time, the oldest first, and what is left is read
    assert 10 <= log.clean(table.storage, many=10, settled_seconds=-60, in_passing=True) < 15
    assert not (tmp_path / "points/_delta_log" / f"{0:020}.json").exists()
    assert Lake(tmp_path).table(Point).to_arrow().num_rows == 45
    assert log.clean(table.storage, many=10, settled_seconds=-60) > 20
    assert len(os.listdir(tmp_path / "points/_delta_log")) < before
    assert table.to_arrow().num_rows == 45
    table.append([point("after")])
    assert Lake(tmp_path).table(Point).to_arrow().num_rows == 46


def test_who_writes_after_reading_wins_whatever_the_clocks_say(tmp_path):
    lakes = [Lake(tmp_path, clock=lambda s=skew: now() + timedelta(seconds=s)) for skew in (-2, 0, 2)]
    last = ""
    for number in range(30):
        table = lakes[(number * 7) % 3].table(Tag)
        assert [tag.value for tag in table.latest(Where())] == ([last] if last else [])
        last = str(number)
        table.append([Tag(at=table.now(), key="k", value=last)])
    assert [tag.value for tag in lakes[0].table(Tag).latest(Where())] == ["29"]


def test_claims_of_several_processes_leave_no_gap_and_no_double(tmp_path):
    finished([started("take_turns", tmp_path, f"p{n}", 12) for n in range(3)])
    found = Lake(tmp_path).table(Turn).to_arrow()
    assert sorted(found["number"].to_pylist()) == list(range(1, 37))
    assert len(set(found["claim"].to_pylist())) == 36


def test_what_a_killed_writer_acknowledged_is_there_once(tmp_path):
    acknowledged: list[str] = []
    for round_number in range(3):
        process = started("append_and_acknowledge", tmp_path, f"r{round_number}")
        acknowledged.append(process.stdout.readline().decode().strip())
        time.sleep(0.1 + 0.13 * round_number)
        process.kill()
        rest, _ = process.communicate()
        acknowledged += [line for line in rest.decode().split("\n")[:-1] if line]
        keys = Lake(tmp_path).table(Point).to_arrow()["key"].to_pylist()
        assert set(acknowledged) <= set(keys)
        assert len(keys) == len(set(keys))
    assert len(acknowledged) > 3


def test_threads_share_a_table(tmp_path):
    table = Lake(tmp_path).table(Point)
    threads = [
        threading.Thread(target=lambda n=n: [table.append([point(f"{n}-{i}")]) for i in range(8)]) for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = table.to_arrow()
    assert found.num_rows == 32
    assert len(set(found["seq"].to_pylist())) == 32


def test_a_column_of_a_newer_writer_is_left_alone_and_one_of_an_older_writer_is_null(tmp_path):
    @dataclass(frozen=True, kw_only=True)
    class Newer(Row):
        TABLE: ClassVar[str] = "points"

        key: str
        value: float
        note: str | None = None
        unit: str | None = None

    Lake(tmp_path).table(Point).append([point("old")])
    Lake(tmp_path).table(Newer).append([Newer(at=now(), key="new", value=1.0, unit="s")])
    Lake(tmp_path).table(Point).append([point("old again")])
    assert "unit" not in Lake(tmp_path).table(Point).to_arrow().column_names
    assert Lake(tmp_path).table(Point).compact() == 3
    found = Lake(tmp_path).table(Newer).query("select key, unit from points order by seq").to_pylist()
    assert [(row["key"], row["unit"]) for row in found] == [("old", None), ("new", "s"), ("old again", None)]
    shutil.rmtree(tmp_path / "points")
    Lake(tmp_path).table(Point).append([point("old")])
    assert Lake(tmp_path).table(Newer).to_arrow()["unit"].to_pylist() == [None]
    Lake(tmp_path).table(Newer).compact()


@pytest.mark.parametrize("name", ["a[1]b", "a%20b", "a\\b", "a\nb", "a^b", "a|b", "a%5B"])
def test_a_directory_that_delta_rs_cannot_reach_is_refused_in_words(tmp_path, name):
    with pytest.raises(InvalidInput, match="cannot hold Delta tables"):
        Lake(tmp_path / name / "lake")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a b#?{}<>", "%zz 100%", "ü\U0001f600~", "a:;&+=@!$',()*`"])
def test_a_lake_lies_in_a_directory_of_any_other_name(tmp_path, name):
    Lake(tmp_path / name).table(Point).append([point("a")])
    assert Lake(tmp_path / name).table(Point).to_arrow()["key"].to_pylist() == ["a"]
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("needed", ["1", None, [1], 1.5])
def test_a_format_that_is_no_number_is_said(tmp_path, needed):
    (tmp_path / "lake.json").write_text(json.dumps({"format": 1, "min_reader": needed, "min_writer": 1}))
    with pytest.raises(FormatError, match=r"lake.json is broken.*whole numbers"):
        Lake(tmp_path)


def test_a_newer_format_is_refused(tmp_path):
    Lake(tmp_path).table(Point).append([point("a")])
    content = json.loads((tmp_path / "lake.json").read_text())
    assert content == {"format": 1, "min_reader": 1, "min_writer": 1}
    (tmp_path / "lake.json").write_text(json.dumps({"format": 3, "min_reader": 1, "min_writer": 3}))
    lake = Lake(tmp_path)
    assert lake.table(Point).to_arrow().num_rows == 1
    (tmp_path / "lake.json").write_text(json.dumps({"format": 3, "min_reader": 3, "min_writer": 3}))
    with pytest.raises(FormatError, match="Upgrade"):
        Lake(tmp_path)
    (tmp_path / "lake.json").write_text("{")
    with pytest.raises(FormatError, match="broken"):
        Lake(tmp_path)


def test_a_reader_whose_files_were_taken_reads_again(tmp_path):
    reader, writer = Lake(tmp_path).table(Point), Lake(tmp_path).table(Point)
    for number in range(3):
        writer.append([point(str(number))])
    stale = reader.snapshot()
    old = set((tmp_path / "points").glob("*.parquet"))
    assert writer.compact() == 3
    for path in old:
        path.unlink()
    assert stale.handle is not None
    assert reader.to_arrow().num_rows == 3
    shutil.rmtree(tmp_path / "points")
    with pytest.raises(StorageError):
        stale.query("select * from points")
    assert reader.to_arrow().num_rows == 0


def test_a_lake_that_may_only_be_read_is_not_written(tmp_path):
    Lake(tmp_path).table(Point).append([point("a")])
    (tmp_path / "lake.json").write_text(json.dumps({"format": 3, "min_reader": 1, "min_writer": 3}))
    for row_type, row in ((Point, point("a")), (Tag, Tag(at=now(), key="k", value="v"))):
        with pytest.raises(FormatError, match="can be written"):
            Lake(tmp_path).table(row_type).append([row])


def test_a_forked_child_writes_through_a_process_of_its_own(tmp_path):
    code = f"""
import os, sys
from sparkml_lifecycle.lake import Lake
from tests.lake.points import Point, point
table = Lake({str(tmp_path)!r}).table(Point)
table.append([point("parent")])
if os.fork() == 0:
    try:
        table.append([point("child", float("nan"), "it's")])
        os._exit(0)
    except BaseException as error:
        print(error, file=sys.stderr, flush=True)
        os._exit(1)
sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert sorted(Lake(tmp_path).table(Point).to_arrow()["key"].to_pylist()) == ["child", "parent"]


def test_a_forked_child_does_not_wait_for_a_lock_that_another_thread_held(tmp_path):
    code = f"""
import os, signal, sys, threading
from sparkml_lifecycle import model_code
from sparkml_lifecycle.lake import Lake, order
from tests.lake.points import Point
lake, held = Lake({str(tmp_path)!r}), threading.Event()
def hold():
    with lake._lock, order._lock, model_code._lock:
        held.set()
        threading.Event().wait()
threading.Thread(target=hold, daemon=True).start()
held.wait()
if os.fork() == 0:
    signal.alarm(20)
    lake.table(Point)
    order.uuid7()
    with model_code._lock:
        os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, (done.returncode, done.stderr.decode())


def test_a_table_is_read_by_its_name(tmp_path):
    Lake(tmp_path).table(Point).append([point("a", math.nan, None)])
    table = Lake(tmp_path).table("points")
    assert set(table.to_pandas().columns) == {"at", "by", "writer", "seq", "key", "value", "note"}
    assert table.to_arrow()["key"].to_pylist() == ["a"]
    with pytest.raises(NotFound, match="Did you mean 'points'"):
        Lake(tmp_path).table("pionts")


def test_only_rows_with_claims_can_be_claimed(tmp_path):
    with pytest.raises(TypeError, match="ClaimedRow"):
        Lake(tmp_path).table(Point).claim(lambda seen: Change((), {}))


def test_bad_rows_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(InvalidInput):
        Lake(tmp_path).table(Point).append([point("\ud800")])
    assert Lake(tmp_path).table(Point).to_arrow().num_rows == 0


@settings(max_examples=60, deadline=None)
@given(value=st.text() | st.floats(allow_nan=False) | st.integers(-(2**63), 2**63 - 1) | st.booleans() | st.none())
def test_a_literal_means_its_value(value):
    found = pa.table(QueryBuilder().execute(f"select {literal(value)} as v").read_all())["v"].to_pylist()[0]
    assert found == value


def test_names_are_quoted():
    assert name('a"b') == '"a""b"'


def test_a_lake_that_is_removed_under_a_process_begins_anew(tmp_path):
    lake = Lake(tmp_path / "lake")
    table = lake.table(Point)
    for number in range(3):
        table.append([point(str(number))])
    assert table.to_arrow().num_rows == 3
    shutil.rmtree(tmp_path / "lake")
    assert table.to_arrow().num_rows == 0
    table.append([point("new")])
    assert table.to_arrow()["key"].to_pylist() == ["new"]
    assert Lake(tmp_path / "lake").table(Point).to_arrow()["key"].to_pylist() == ["new"]
    assert (tmp_path / "lake" / "lake.json").exists()
