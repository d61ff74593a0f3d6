"""The rules of DESIGN.md section 5 about jobs, each a row: what was done before, what the job does then, and the rows there are."""

import shutil
from collections import Counter

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from sklearn.linear_model import LinearRegression

import sparkml_lifecycle as ml
from sparkml_lifecycle import errors
from sparkml_lifecycle.scoring import direct, job
from sparkml_lifecycle.scoring.conf import check
from sparkml_lifecycle.scoring.job import run_job


class Scene:
    """A source, a target and jobs between them; counts every row of the target."""

    def __init__(self, spark, place, models, engine="direct"):
        self.spark, self.place, self.models, self.engine = spark, place, models, engine
        self.source, self.target = place / "source", place / "target"
        self.next = 0
        self.report = None

    # -- the source ------------------------------------------------------------------------------------------------------

    def add(self, count=3, to="source", **columns):
        ids = list(range(self.next, self.next + count))
        self.next += count
        frame = self.models["frame"].slice(0, 1).take(pa.array([0] * count))
        rows = frame.append_column("id", pa.array(ids, pa.int64()))
        rows = rows.append_column("day", pa.array([columns.get("day", 1)] * count, pa.int64()))
        write_deltalake(str(self.place / to), rows, mode="append", partition_by=columns.get("partition_by"))

    def add_file(self, name, count=3):
        ids = list(range(self.next, self.next + count))
        self.next += count
        rows = self.models["frame"].slice(0, 1).take(pa.array([0] * count)).append_column("id", pa.array(ids))
        (self.place / "files").mkdir(exist_ok=True)
        pq.write_table(rows, self.place / "files" / name)

    def table(self, name="source"):
        return DeltaTable(str(self.place / name))

    def compact(self, name="source"):
        self.table(name).optimize.compact()

    def delete(self, where, name="source"):
        self.table(name).delete(where)

    def restore(self, version, name="target"):
        self.table(name).restore(version)

    def clean_log(self, name="source"):
        handle = self.table(name)
        handle.create_checkpoint()
        for version in range(handle.version()):
            (self.place / name / "_delta_log" / f"{version:020}.json").unlink(missing_ok=True)

    def replace_source(self):
        shutil.rmtree(self.source)
        self.add(2)

    def forget(self, job="default"):
        (self.target / "_sparkml" / "jobs" / f"{job}.json").unlink()

    def remake(self):
        shutil.rmtree(self.target)

    def vacuum(self, name="target"):
        self.table(name).vacuum(0, dry_run=False, enforce_retention_duration=False, full=True)

    # -- the job ---------------------------------------------------------------------------------------------------------

    def run(self, *, rows, total, twice=(), says="", model="model", source=None, engine=None, **change):
        """Run a job; it writes so many rows, then the target has so many, and only the ids in ``twice`` more than once."""
        self.report = run_job(self.spark, self.conf(model, source, engine, **change))
        notes = "; ".join(self.report.notes)
        assert says in notes, notes
        assert (self.report.rows, self.report.committed or rows == 0) == (rows, True)
        self.holds(total, twice)
        return self.report

    def stops(self, says, error=errors.JobStopped, model="model", source=None, engine=None, **change):
        before = self.ids(), self.table("target").version()
        with pytest.raises(error, match=says):
            run_job(self.spark, self.conf(model, source, engine, **change))
        assert (self.ids(), self.table("target").version()) == before

    def conf(self, model, source, engine, **change):
        source = source or {"path": str(self.source)}
        return check(
            {
                "model": str(self.models[model]), "source": source, "target": {"path": str(self.target)}, "keep": ["id"], "engine": engine or self.engine,
                "tracking_uri": str(self.place / "lake"), **change,
            }
        )  # fmt: skip

    def ids(self):
        return Counter(self.table("target").to_pyarrow_table(columns=["id"])["id"].to_pylist())

    def holds(self, total, twice):
        found = self.ids()
        assert sum(found.values()) == total
        assert {one for one, count in found.items() if count > 1} == set(twice)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    place = tmp_path_factory.mktemp("models")
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [3.0, 1.0, 2.0]})
    found = {"frame": pa.Table.from_pandas(frame, preserve_index=False)}
    for name, slope in (("model", 1.0), ("newer", 2.0)):
        found[name] = place / name
        ml.sklearn.save_model(LinearRegression().fit(frame, frame["a"] * slope), str(found[name]), input_example=frame)
    return found


def parquet(scene):
    return {"path": str(scene.place / "files"), "format": "parquet"}


# -- incremental -----------------------------------------------------------------------------------------------------------


def the_first_time_everything_then_what_came(s):
    s.add(3)
    s.run(rows=3, total=3)
    s.run(rows=0, total=3, says="no new rows since version 0")
    s.add(2)
    s.add(1)
    s.run(rows=3, total=6)
    assert s.report.source_version == 2


def a_compaction_adds_nothing(s):
    s.add(3)
    s.add(2)
    s.run(rows=5, total=5)
    s.compact()
    s.run(rows=0, total=5, says="no new rows")
    s.add(2)
    s.compact()
    s.run(rows=2, total=7)


def nothing_new_needs_no_old_log_the_next_time(s):
    s.add(3)
    s.add(3)
    s.run(rows=6, total=6)
    s.compact()
    s.run(rows=0, total=6)
    s.clean_log()
    s.run(rows=0, total=6, says="no new rows since version 2")


def partitions_that_were_dropped_pass_and_are_reported(s):
    s.add(3, day=1, partition_by=["day"])
    s.add(2, day=2, partition_by=["day"])
    s.run(rows=5, total=5, engine="auto")
    s.add(1, day=3, partition_by=["day"])
    s.delete("day = 1")
    s.add(1, day=4, partition_by=["day"])
    s.delete("day = 4")
    s.run(rows=1, total=6, engine="auto", says="version 3 of the source only took rows away")


def rows_that_were_rewritten_stop_it(s):
    s.add(3)
    s.run(rows=3, total=3)
    s.add(2)
    s.delete("id = 0")
    s.add(1)
    s.stops("rewritten in its version 2, .*redo: true.*accept: true")
    s.run(rows=3, total=6, accept=True, says="accepted: Rows of the source")
    s.run(rows=0, total=6)
    s.add(1)
    s.run(rows=1, total=7)


def rewritten_rows_can_be_scored_again(s):
    s.add(3)
    s.run(rows=3, total=3)
    s.delete("id = 0")
    s.run(rows=2, total=2, redo=True)
    s.run(rows=0, total=2)


def a_log_that_was_cleaned_stops_it(s):
    s.add(3)
    s.run(rows=3, total=3)
    s.add(2)
    s.add(2)
    s.clean_log()
    s.stops("since version 0 is not known: its log was cleaned up to version 1")
    s.run(rows=2, total=5, accept=True, says="accepted: What the source")
    s.run(rows=0, total=5)


def another_source_stops_it(s):
    s.add(3)
    s.add(2, to="other")
    s.run(rows=3, total=3)
    other = {"path": str(s.place / "other")}
    s.stops("has scored another source so far", source=other)
    s.run(rows=2, total=5, source=other, accept=True)
    s.run(rows=0, total=5, source=other)
    s.add(1)
    s.run(rows=1, total=6)


def a_source_made_anew_is_another(s):
    s.add(3)
    s.run(rows=3, total=3)
    s.replace_source()
    s.stops("may have been made anew")
    s.run(rows=2, total=2, redo=True)


def other_options_stop_it(s):
    s.add(3)
    s.run(rows=3, total=3)
    s.add(3)
    s.stops("with another where: so far", engine="auto", where="id > 3")
    s.run(rows=2, total=5, engine="auto", where="id > 3", accept=True, says="accepted: where: differs from")
    s.stops("another where:")
    s.run(rows=0, total=5, engine="auto", where="id > 3")


def a_new_model_applies_to_new_rows(s):
    s.add(3)
    s.run(rows=3, total=3)
    s.add(2)
    s.run(
        rows=2,
        total=5,
        model="newer",
        says="3 rows in the target are from other versions of the model; mode: overwrite",
    )
    s.run(rows=5, total=5, model="newer", mode="overwrite")
    s.add(1)
    assert s.run(rows=1, total=6, model="newer").notes == ()


def files_go_by_path_size_and_time(s):
    s.add_file("a.parquet")
    s.run(rows=3, total=3, source=parquet(s))
    s.run(rows=0, total=3, source=parquet(s), says="no new rows")
    s.add_file("b.parquet", 2)
    s.run(rows=2, total=5, source=parquet(s))
    s.add_file("a.parquet", 4)
    s.stops("are not as they were when they were scored: .*a.parquet", source=parquet(s))
    s.add_file("c.parquet", 1)
    s.run(rows=1, total=6, source=parquet(s), accept=True, says="accepted: Files of the source")
    s.run(rows=0, total=6, source=parquet(s))


def a_query_has_no_versions(s):
    s.add(3)
    s.run(rows=3, total=3)
    query = {"path": f"select * from delta.`{s.source}`", "format": "sql"}
    s.stops("incremental cannot be had", errors.InvalidInput, source=query, engine="auto")
    s.run(rows=3, total=3, source=query, engine="auto", mode="overwrite", redo=True)


# -- overwrite -------------------------------------------------------------------------------------------------------------


def an_overwrite_is_left_out_only_if_nothing_changed(s):
    s.add(3)
    s.run(rows=3, total=3, mode="overwrite")
    s.run(rows=0, total=3, mode="overwrite", says="as its last overwrite left them")
    s.run(rows=3, total=3, mode="overwrite", model="newer")
    s.run(rows=3, total=3, mode="overwrite", model="newer", output="p")
    s.add(1)
    s.run(rows=4, total=4, mode="overwrite", model="newer", output="p")
    s.delete("id = 1", "target")
    s.run(rows=4, total=4, mode="overwrite", model="newer", output="p")
    s.run(rows=4, total=4, mode="overwrite", model="newer", output="p", redo=True)


def a_compaction_of_the_target_is_no_change(s):
    s.add(3)
    s.run(rows=3, total=3, mode="overwrite")
    s.compact("target")
    s.vacuum()
    s.run(rows=0, total=3, mode="overwrite")


def an_overwrite_does_not_erase_what_others_wrote(s):
    s.add(3)
    s.run(rows=3, total=3, job="a")
    s.stops("rows of the jobs 'a', and an overwrite would erase them", mode="overwrite", job="b")
    s.run(rows=3, total=3, mode="overwrite", job="b", replace_all=True)
    s.stops("took rows away from the target", job="a")
    s.run(rows=3, total=3, mode="overwrite", job="b", redo=True)


def rows_that_no_job_wrote_are_not_erased(s):
    s.add(3)
    s.run(rows=3, total=3)
    rows = s.table("target").to_pyarrow_table().slice(0, 1)
    write_deltalake(str(s.target), rows, mode="append")
    s.stops("rows that this job did not write", mode="overwrite", model="newer")
    s.run(rows=3, total=3, mode="overwrite", model="newer", replace_all=True)


# -- append ----------------------------------------------------------------------------------------------------------------


def a_batch_is_written_once_in_any_order(s):
    s.add(3)
    s.run(rows=3, total=3, mode="append", batch="2")
    s.add(2)
    s.run(rows=0, total=3, mode="append", batch="2", says="batch '2' is there already")
    s.run(rows=5, total=8, mode="append", batch="1", twice=[0, 1, 2])
    s.run(rows=0, total=8, mode="append", batch="2", twice=[0, 1, 2])


def where_and_source_may_differ_by_batch(s):
    s.add(3)
    s.add(2, to="other")
    s.run(rows=1, total=1, mode="append", batch="1", where="id = 0", engine="auto")
    s.run(rows=2, total=3, mode="append", batch="2", where="id > 0", engine="auto")
    s.run(rows=2, total=5, mode="append", batch="3", source={"path": str(s.place / "other")})


def a_batch_can_be_written_again_when_asked(s):
    s.add(3)
    s.run(rows=3, total=3, mode="append", batch="1")
    s.delete("id >= 0", "target")
    s.stops("took rows away", mode="append", batch="1")
    s.run(rows=3, total=3, mode="append", batch="1", redo=True)
    s.run(rows=0, total=3, mode="append", batch="1")


# -- modes after one another -----------------------------------------------------------------------------------------------


def incremental_goes_on_after_an_overwrite(s):
    s.add(3)
    s.run(rows=3, total=3, mode="overwrite")
    s.run(rows=0, total=3)
    s.add(2)
    s.run(rows=2, total=5)
    s.run(rows=5, total=5, mode="overwrite")


def incremental_goes_on_after_a_batch(s):
    s.add(3)
    s.run(rows=3, total=3, mode="append", batch="1")
    s.run(rows=0, total=3)
    s.add(2)
    s.run(rows=2, total=5)
    s.run(rows=5, total=10, mode="append", batch="2", twice=range(5))
    s.run(rows=0, total=10, twice=range(5))


def an_overwrite_voids_earlier_batch_names(s):
    s.add(3)
    s.run(rows=3, total=3, mode="append", batch="1")
    s.run(rows=3, total=3, mode="overwrite")
    s.run(rows=3, total=6, mode="append", batch="1", twice=range(3))
    s.run(rows=0, total=6, mode="append", batch="1", twice=range(3))


# -- the target changed ----------------------------------------------------------------------------------------------------


def a_restored_target_stops_it(s):
    s.add(3)
    s.run(rows=3, total=3)
    s.add(2)
    s.run(rows=2, total=5)
    s.restore(0)
    s.stops(r"version 2 \(RESTORE\) took rows away.*redo: true.*accept: true")
    s.run(rows=5, total=5, redo=True)
    s.run(rows=0, total=5)


def rows_deleted_from_the_target_stop_it_until_accepted(s):
    s.add(3)
    s.run(rows=3, total=3)
    s.delete("id = 1", "target")
    s.add(2)
    s.stops("took rows away")
    s.run(rows=2, total=4, accept=True, says="took rows away from the target")
    s.run(rows=0, total=4)


def acceptance_without_new_rows_is_remembered(s):
    s.add(3)
    s.run(rows=3, total=3)
    s.delete("id = 1", "target")
    s.run(rows=0, total=2, accept=True)
    s.run(rows=0, total=2)


def a_target_made_anew_begins_again(s):
    s.add(3)
    s.run(rows=3, total=3)
    s.remake()
    s.run(rows=3, total=3)


def another_jobs_overwrite_stops_it(s):
    s.add(3)
    s.run(rows=3, total=3, job="a")
    s.run(rows=3, total=3, job="b", mode="overwrite", replace_all=True)
    s.stops(r"version 1 .*took rows away", job="a")


def others_may_add_rows(s):
    s.add(3)
    s.run(rows=3, total=3, job="a")
    s.run(rows=3, total=6, job="b", alongside=True, twice=range(3))
    s.add(1)
    s.run(rows=1, total=7, job="a", twice=range(3))
    s.run(rows=1, total=8, job="b", twice=range(4))


def another_jobs_rows_of_the_source_are_adopted(s):
    s.add(3)
    s.run(rows=3, total=3, job="a")
    s.add(2)
    s.stops("written by the job 'a'. Choose: adopt: a .*alongside: true", job="b")
    s.stops("has no rows of", errors.InvalidInput, job="b", adopt="c")
    s.run(rows=2, total=5, job="b", adopt="a")
    s.run(rows=0, total=5, job="b", adopt="a")
    s.run(rows=0, total=5, job="b")
    s.stops("The job 'b' has adopted the rows", job="a")
    s.forget("b")
    s.stops("The job 'b' has adopted the rows", job="a")
    s.run(rows=0, total=5, job="b")
    s.run(rows=5, total=5, job="b", mode="overwrite")


def other_jobs_are_known_when_all_memories_are_lost(s):
    s.add(3)
    s.run(rows=3, total=3, job="a")
    s.add(2)
    s.run(rows=2, total=5, job="b", adopt="a")
    s.add(1)
    shutil.rmtree(s.target / "_sparkml")
    s.stops("The job 'b' has adopted the rows", job="a")
    s.stops("written by the job 'b'. Choose: adopt: b ", job="c")
    s.run(rows=1, total=6, job="b")


# -- the memory file -------------------------------------------------------------------------------------------------------


def a_lost_memory_is_read_from_the_log(s):
    s.add(3)
    s.run(rows=3, total=3)
    s.add(1)
    s.run(rows=1, total=4, mode="append", batch="1", where="id = 3", engine="auto")
    s.forget()
    s.run(rows=0, total=4, mode="append", batch="1", where="id = 3", engine="auto")
    s.stops("another where:")


def a_lost_memory_of_files_is_read_from_the_log(s):
    s.add_file("a.parquet")
    s.run(rows=3, total=3, source=parquet(s))
    s.add_file("b.parquet", 2)
    s.run(rows=2, total=5, source=parquet(s))
    s.forget()
    s.run(rows=0, total=5, source=parquet(s))


def a_memory_that_is_behind_is_brought_up_to_date(s):
    s.add(3)
    s.run(rows=3, total=3)
    kept = (s.target / "_sparkml/jobs/default.json").read_text()
    s.add(2)
    s.run(rows=2, total=5)
    (s.target / "_sparkml/jobs/default.json").write_text(kept)
    s.run(rows=0, total=5)
    (s.target / "_sparkml/jobs/default.json").write_text(kept[:50])
    s.run(rows=0, total=5)


def a_memory_that_is_lost_with_the_log_stops_it(s):
    s.add(3)
    s.run(rows=3, total=3)
    s.add(2)
    s.run(rows=2, total=5)
    s.clean_log("target")
    s.run(rows=0, total=5)
    s.forget()
    s.stops("is not known any more: .*redo: true.*accept: true")
    s.stops("is not known any more", mode="append", batch="1")
    s.run(rows=0, total=5, accept=True, says="the source as read")
    s.add(1)
    s.run(rows=1, total=6)


def a_memory_that_is_lost_with_the_log_lets_an_overwrite_pass(s):
    s.add(3)
    s.run(rows=3, total=3)
    s.run(rows=3, total=3, mode="overwrite", model="newer")
    s.add(1)
    s.run(rows=1, total=4, model="newer")
    s.clean_log("target")
    s.forget()
    s.stops("rows that this job did not write", mode="overwrite")
    s.run(rows=4, total=4, mode="overwrite", replace_all=True)
    s.run(rows=0, total=4)


def a_vacuum_leaves_the_memory(s):
    s.add(3)
    s.run(rows=3, total=3)
    s.vacuum()
    assert (s.target / "_sparkml" / "jobs" / "default.json").exists()


RULES = [value for value in list(globals().values()) if getattr(value, "__code__", None) and value.__code__.co_varnames[:1] == ("s",)]  # fmt: skip


BY_SPARK = (
    the_first_time_everything_then_what_came, a_batch_is_written_once_in_any_order, an_overwrite_does_not_erase_what_others_wrote,
    acceptance_without_new_rows_is_remembered, a_memory_that_is_lost_with_the_log_stops_it,
)  # fmt: skip


WITHOUT_SPARK = (
    the_first_time_everything_then_what_came, a_compaction_adds_nothing, rows_that_were_rewritten_stop_it,
    a_log_that_was_cleaned_stops_it, another_source_stops_it, files_go_by_path_size_and_time,
    an_overwrite_is_left_out_only_if_nothing_changed, an_overwrite_does_not_erase_what_others_wrote,
    a_batch_is_written_once_in_any_order, a_restored_target_stops_it, another_jobs_rows_of_the_source_are_adopted,
    other_jobs_are_known_when_all_memories_are_lost,
    a_memory_that_is_lost_with_the_log_stops_it,
)  # fmt: skip


@pytest.mark.parametrize("rule", WITHOUT_SPARK, ids=lambda rule: rule.__name__)
def test_jobs_without_spark(tmp_path, models, rule):
    rule(Scene(None, tmp_path, models))


@pytest.mark.spark
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_jobs(spark, tmp_path, models, rule):
    rule(Scene(spark, tmp_path, models))


@pytest.mark.spark
@pytest.mark.parametrize("rule", BY_SPARK, ids=lambda rule: rule.__name__)
def test_jobs_that_spark_commits(spark, tmp_path, models, rule):
    rule(Scene(spark, tmp_path, models, "column"))


@pytest.mark.spark
@pytest.mark.parametrize("engine", ["dataframe", "column"])
def test_a_source_with_renamed_columns_and_deletion_vectors(spark, tmp_path, models, engine):
    s = Scene(spark, tmp_path, models, engine)
    features = "'delta.columnMapping.mode' = 'name', 'delta.enableDeletionVectors' = 'true'"
    spark.sql(
        f"create table delta.`{s.source}` (a double, b double, key bigint) using delta tblproperties ({features})"
    )

    def insert(count):
        spark.sql(f"insert into delta.`{s.source}` select 1.0, 2.0, id from range({s.next}, {s.next + count}, 1, 1)")
        s.next += count

    insert(3)
    spark.sql(f"alter table delta.`{s.source}` rename column key to id")
    s.run(rows=3, total=3)
    insert(2)
    s.run(rows=2, total=5)
    s.run(rows=0, total=5, says="no new rows")
    spark.sql(f"delete from delta.`{s.source}` where id = 1")
    assert list(s.source.glob("deletion_vector*.bin"))
    s.stops("were rewritten in its version 4, .*redo: true")
    s.run(rows=4, total=4, redo=True)
    insert(1)
    s.run(rows=1, total=5)


@pytest.mark.spark
@pytest.mark.parametrize("engine", ["direct", "column"])
@pytest.mark.parametrize("change", [{}, {"mode": "append", "batch": "1"}, {"mode": "overwrite"}], ids=str)
def test_of_two_runs_at_once_one_commits_and_the_other_leaves_nothing(
    spark, tmp_path, models, monkeypatch, engine, change
):
    s = Scene(spark, tmp_path, models, engine)
    s.add(3)
    place, name = (direct, "run") if engine == "direct" else (job, "with_predictions")
    score = getattr(place, name)

    def while_another_runs(*arguments):
        scored = score(*arguments)
        monkeypatch.undo()
        s.run(rows=3, total=3, **change)
        return scored

    monkeypatch.setattr(place, name, while_another_runs)
    s.run(rows=0, total=3, **change)
    assert {str(path) for path in s.target.glob("*.parquet")} == set(s.table("target").file_uris())
