"""Compaction, folds, vacuum and copies of a table, beside rivals and readers."""

import os
import shutil
import threading
import time
from dataclasses import dataclass

import pytest
from deltalake import DeltaTable

from sparkml_lifecycle.errors import StorageError
from sparkml_lifecycle.lake import Lake, Where, compaction, recent, upkeep
from sparkml_lifecycle.lake.files import small_files
from sparkml_lifecycle.lake.order import now
from sparkml_lifecycle.settings import Settings
from sparkml_lifecycle.storage.filesystem import part
from sparkml_lifecycle.tracking.store import TrackingStore
from sparkml_lifecycle.tracking.tables import LatestMetricRow, MetricRow
from tests.lake.points import Point, point


def keys(uri):
    return sorted(Lake(uri).table(Point).to_arrow()["key"].to_pylist())


def files(uri):
    return {os.path.basename(path) for path in DeltaTable(str(uri / "points")).file_uris()}


@pytest.fixture
def points(tmp_path):
    """A table of five files."""
    table = Lake(tmp_path).table(Point)
    for number in range(5):
        table.append([point(str(number))])
    return table


# -- rewrite ---------------------------------------------------------------------------------------------------------------


def test_a_rewrite_that_loses_its_race_starts_again_from_what_the_winner_left(points, tmp_path):
    chosen = []

    def choose(handle):
        found = small_files(handle)
        chosen.append(len(found))
        if len(chosen) == 1:
            # a rival is quicker, and a writer goes on
            assert Lake(tmp_path).table(Point).compact() == 5
            Lake(tmp_path).table(Point).append([point("5")])
        return found

    done = compaction.rewrite(
        compaction.Content(points.storage, Point), choose, lambda content: content, compaction.no_summary
    )
    assert (done, chosen) == (2, [5, 2])
    assert keys(tmp_path) == list("012345")
    assert len(files(tmp_path)) == 1


def test_a_rewrite_whose_files_were_taken_starts_again(points, tmp_path):
    chosen = []

    def choose(handle):
        found = small_files(handle)
        chosen.append(len(found))
        if len(chosen) == 1:
            rival = Lake(tmp_path).table(Point)
            rival.compact()
            upkeep.vacuum(rival, 0, orphans=False)
        return found if len(found) > 1 else []

    assert (
        compaction.rewrite(
            compaction.Content(points.storage, Point), choose, lambda content: content, compaction.no_summary
        )
        == 0
    )
    assert chosen == [5, 1]
    assert keys(tmp_path) == list("01234")


def test_a_rewrite_whose_answer_was_lost_is_done(points, tmp_path, monkeypatch):
    replace = compaction._replace

    def replace_and_lose_the_answer(*arguments):
        replace(*arguments)
        raise OSError("the answer was lost")

    monkeypatch.setattr(compaction, "_replace", replace_and_lose_the_answer)
    assert compaction.compact(compaction.Content(points.storage, Point)) == 5
    assert keys(tmp_path) == list("01234")
    assert len(files(tmp_path)) == 1


def test_a_rewrite_that_never_wins_says_so_and_changes_nothing(points, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError("read-only")

    monkeypatch.setattr(compaction, "_replace", refuse)
    with pytest.raises(OSError, match="read-only"):
        compaction.rewrite(
            compaction.Content(points.storage, Point), small_files, lambda content: content, compaction.no_summary, 2
        )
    assert keys(tmp_path) == list("01234")


def test_erasing_takes_the_rows_of_one_value_and_nothing_else(points, tmp_path):
    points.append([point("2"), point("it's")])
    assert upkeep.erase(points, "key", "2") == 2
    assert upkeep.erase(points, "key", "it's") == 1
    assert upkeep.erase(points, "key", "nothing") == 0
    assert keys(tmp_path) == list("0134")
    # a file of which nothing stays is gone altogether
    assert len(files(tmp_path)) == 4


# -- vacuum ----------------------------------------------------------------------------------------------------------------


def test_a_vacuum_leaves_what_an_older_version_needs_for_as_long_as_it_was_told(points, tmp_path):
    held = points.snapshot(fresh=True)
    old = files(tmp_path)
    points.compact()
    upkeep.vacuum(points, 1)
    assert len(held.query("select key from points")) == 5
    assert old < set(os.listdir(tmp_path / "points"))
    upkeep.vacuum(points, 0, orphans=False)
    assert not old & set(os.listdir(tmp_path / "points"))
    with pytest.raises(StorageError):
        held.query("select key from points")
    assert points.to_arrow().num_rows == 5


def test_what_killed_commits_left_goes_after_an_hour(points, tmp_path):
    logs = tmp_path / "points/_delta_log"
    left = [logs / f"00000000000000000009.{end}" for end in ("json#1", "checkpoint.parquet#2")]
    left.append(logs / part("00000000000000000009.json"))
    orphan = tmp_path / "points/part-00000-orphan.snappy.parquet"
    for path in (*left, orphan):
        path.write_bytes(b"half")
    assert upkeep.keep_up(points).live_after == 1
    assert all(path.exists() for path in (*left, orphan))
    an_hour_ago = time.time() - 3700
    for path in left:
        os.utime(path, (an_hour_ago, an_hour_ago))
    upkeep.keep_up(points)
    assert not any(path.exists() for path in left)
    assert orphan.exists()
    os.utime(orphan, (an_hour_ago, an_hour_ago))
    upkeep.keep_up(points, retention_hours=0)
    assert not orphan.exists()
    assert keys(tmp_path) == list("01234")
    points.append([point("after")])
    assert len(keys(tmp_path)) == 6


def test_upkeep_of_a_table_that_is_not_there_is_nothing(tmp_path):
    table = Lake(tmp_path / "lake").table(Point)
    assert upkeep.keep_up(table) is None
    upkeep.checkpoint(table)
    upkeep.vacuum(table, 0)
    assert upkeep.erase(table, "key", "x") == 0
    assert not (tmp_path / "lake").exists()


# -- folds -----------------------------------------------------------------------------------------------------------------


def logged(store, run_id, start, stop):
    for step in range(start, stop):
        store.log_metric(run_id, "m", float(step), step=step, timestamp=step, synchronous=True)


def summary(uri, run_id):
    store = TrackingStore(Lake(uri))
    (found,) = store.metric_summaries(run_id)
    return found.smallest, found.largest, found.last


def test_a_folds_summaries_and_marks_survive_its_own_compaction(tmp_path):
    store = TrackingStore(Lake(tmp_path))
    run_id = store.create_run(store.experiments.create("e")).info.run_id
    metrics, fold = store.lake.table(MetricRow), store.lake.table(LatestMetricRow)
    for start in (0, 3, 6):
        logged(store, run_id, start, start + 3)
        metrics.compact()
    marks = metrics.covered()
    assert len(marks) == 3
    assert fold.compact() == 3
    assert Lake(tmp_path).table(MetricRow).covered() == marks
    assert fold.to_arrow().num_rows == 1 + 3
    # only the fold is read: the points could be gone
    assert metrics.uncovered(metrics.snapshot(fresh=True), marks) == []
    assert summary(tmp_path, run_id) == (0.0, 8.0, 8.0)
    logged(store, run_id, 9, 10)
    assert summary(tmp_path, run_id) == (0.0, 9.0, 9.0)
    store.close()


def test_without_its_fold_a_lake_answers_the_same_and_makes_it_again(tmp_path):
    store = TrackingStore(Lake(tmp_path))
    run_id = store.create_run(store.experiments.create("e")).info.run_id
    logged(store, run_id, 0, 4)
    store.lake.table(MetricRow).compact()
    store.close()
    shutil.rmtree(tmp_path / "latest_metrics")
    assert summary(tmp_path, run_id) == (0.0, 3.0, 3.0)
    again = TrackingStore(Lake(tmp_path))
    logged(again, run_id, 4, 6)
    again.lake.table(MetricRow).compact()
    assert (tmp_path / "latest_metrics").exists()
    assert summary(tmp_path, run_id) == (0.0, 5.0, 5.0)
    again.close()


# -- copies ----------------------------------------------------------------------------------------------------------------


def copy_table(source, target):
    """A table's log first: what it names is there still when the files are copied."""
    shutil.copytree(source / "_delta_log", target / "_delta_log", ignore=shutil.ignore_patterns("*#*"))
    for path in source.glob("*.parquet"):
        shutil.copy(path, target)


@pytest.mark.parametrize("first", ["latest_metrics", "metrics"])
def test_a_copy_made_while_a_writer_logs_and_compacts_answers(tmp_path, first):
    lake, copy = tmp_path / "lake", tmp_path / "copy"
    store = TrackingStore(Lake(lake), Settings(flush_seconds=0.01))
    run_id = store.create_run(store.experiments.create("e")).info.run_id
    logged(store, run_id, 0, 20)
    store.lake.table(MetricRow).compact()
    going, steps = threading.Event(), [20]

    def write():
        while not going.is_set():
            logged(store, run_id, steps[0], steps[0] + 3)
            steps[0] += 3
            store.lake.table(MetricRow).compact()

    writer = threading.Thread(target=write)
    writer.start()
    others = [path.name for path in lake.iterdir() if path.is_dir() and path.name not in ("latest_metrics", "metrics")]
    last = "metrics" if first == "latest_metrics" else "latest_metrics"
    for name in (first, *others, last):
        copy_table(lake / name, copy / name)
        time.sleep(0.3)
    going.set()
    writer.join()
    store.close()
    shutil.copy(lake / "lake.json", copy)
    again = TrackingStore(Lake(copy))
    history = [point.step for point in again.metric_history(run_id, "m")]
    assert history == list(range(len(history)))
    newest = history[-1]
    if first == "latest_metrics":
        # a fold older than its points hides nothing: what it does not cover is read
        assert summary(copy, run_id) == (0.0, float(newest), float(newest))
    else:
        # a fold newer than its points knows some that were logged after those were copied, and stays so
        assert summary(copy, run_id)[2] >= newest
        assert summary(copy, run_id)[2] < steps[0]
        shutil.rmtree(copy / "latest_metrics")
        assert summary(copy, run_id) == (0.0, float(newest), float(newest))
        again = TrackingStore(Lake(copy))
    logged(again, run_id, newest + 1, newest + 3)
    for _ in range(2):
        assert summary(copy, run_id) == (0.0, newest + 2.0, newest + 2.0)
        again.lake.table(MetricRow).compact()
    again.close()


def test_what_is_done_in_passing_rewrites_the_newest_and_leaves_what_is_much_beside_them(points):
    points.append([point("old") for _ in range(500)])
    for number in range(20):
        points.append([point(f"a-{number}")])
    assert points.compact(in_passing=True) == 20
    assert sorted(file["num_records"] for file in small_files(points.snapshot().handle)) == [*[1] * 5, 20, 500]
    # fewer than ten are left alone
    for number in range(8):
        points.append([point(f"b-{number}")])
    assert points.compact(in_passing=True) == 0
    for number in range(8):
        points.append([point(f"c-{number}")])
    assert points.compact(in_passing=True) == 17
    assert sorted(file["num_records"] for file in small_files(points.snapshot().handle)) == [*[1] * 5, 36, 500]
    assert points.to_arrow().num_rows == 541
    assert points.compact() == 7


def test_what_is_done_in_passing_reads_nothing_that_the_process_knows(points, tmp_path, monkeypatch):
    for number in range(20):
        points.append([point(f"a-{number}", float(number), "é" if number % 2 else None)])
    wanted = points.to_arrow().sort_by("seq")
    assert wanted.num_rows == 25
    Lake(tmp_path).table(Point).append([point("of another process")])
    read, asked = compaction.read, []
    monkeypatch.setattr(compaction, "read", lambda *arguments: (asked.append(arguments[1]), read(*arguments))[1])
    assert points.compact(in_passing=True) == 26
    assert len(asked) == 1
    monkeypatch.undo()
    assert len(files(tmp_path)) == 1
    there = Lake(tmp_path).table(Point).to_arrow().sort_by("seq")
    assert there.slice(0, 25).equals(wanted)
    assert points.to_arrow().sort_by("seq").equals(there)


def test_a_program_of_before_goes_on_reading_what_it_compacts_with_columns_that_it_does_not_know(tmp_path):
    @dataclass(frozen=True, kw_only=True)
    class Newer(Point):
        extra: str | None = None

    table = Lake(tmp_path).table(Point)
    table.append([point("first")])
    Lake(tmp_path).table(Newer).append([Newer(at=now(), key="newer", value=1.0, extra="kept")])
    table._tidying.compact_at = 20
    for number in range(45):
        table.append([point(str(number))])
        assert table.rows(Where({"key": ["first", "newer"]})).num_rows == 2
        assert table.to_arrow().num_rows == number + 3
    assert len(small_files(table.snapshot().handle)) < 45
    assert Lake(tmp_path).table(Newer).to_arrow()["extra"].drop_null().to_pylist() == ["kept"]


def test_a_process_that_only_writes_keeps_no_rows_in_memory(tmp_path):
    table = Lake(tmp_path).table(Point)
    table._tidying.compact_at = 20
    for number in range(60):
        table.append([point(str(number))] * 10)
    assert len(small_files(table.snapshot().handle)) < 60
    assert table._recent._pieces == {}


@pytest.mark.parametrize("sizes", [[100, 1, 1, 1, 1], [50, *[1] * 9], [1000, 100, 20, 4, 1], [1], [1, 1, 1, 1, 100]])
def test_whatever_the_flushes_look_like_small_files_stay_few(tmp_path, sizes):
    table = Lake(tmp_path).table(Point)
    table._tidying.compact_at = 30
    for number in range(150):
        table.append([point(str(number))] * sizes[number % len(sizes)])
    assert len(small_files(table.snapshot().handle)) < 45
    assert table.to_arrow().num_rows == sum(sizes[number % len(sizes)] for number in range(150))


def test_small_answers_are_not_remembered_and_large_ones_are_until_files_change(tmp_path, monkeypatch):
    monkeypatch.setattr(recent, "_MOST_ROWS", 5)
    monkeypatch.setattr(recent, "_WORTH_REMEMBERING", 10)
    table = Lake(tmp_path).table(Point)
    table.append([point(f"a-{number % 4}") for number in range(40)])
    assert table.rows(Where({"key": ["a-1"]})).num_rows == 10
    assert table.rows(Where({"key": ["none"]})).num_rows == 0
    assert len(table._recent._answers) == 1
    table.append([point("a-1")])
    assert table.rows(Where({"key": ["a-1"]})).num_rows == 11
    table.append([point("a-1") for _ in range(10)])
    assert table.rows(Where({"key": ["a-1"]})).num_rows == 21


def test_a_damaged_file_is_said(tmp_path):
    table = Lake(tmp_path).table(Point)
    table.append([point("a")])
    (data,) = (tmp_path / "points").glob("*.parquet")
    data.write_bytes(data.read_bytes()[:100])
    with pytest.raises(StorageError, match="is damaged"):
        Lake(tmp_path).table(Point).to_arrow()
