"""Sources and targets as they are found: odd files, odd histories, odd names; every row is scored once, or the job says why not."""

import json
import os
import shutil
import threading
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from sparkml_lifecycle import errors, pyfunc, scoring
from sparkml_lifecycle.client import LifecycleClient
from sparkml_lifecycle.model.signature import infer_signature
from sparkml_lifecycle.scoring import attempt, memory


class Doubled(pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input["x"].astype(float) * 2


class Leaving(pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        raise SystemExit(0)


def saved(place, model):
    signature = infer_signature(pd.DataFrame({"x": [1.0, 2.0]}), [1.0, 2.0])
    pyfunc.save_model(str(place), python_model=model, allow_code=True, signature=signature)
    return str(place)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("model") / "doubled", Doubled())


@pytest.fixture
def job(tmp_path, model):
    """Runs a job without Spark from ``source`` to ``target``."""
    client = LifecycleClient(str(tmp_path / "lake"))

    def run(source=None, spark=None, target=None, **options):
        given = {"allow_code": True, "client": client, "result_type": "double", **options}
        target = target or tmp_path / "target"
        return scoring.score_table(spark, given.pop("model", model), source or tmp_path / "source", target, **given)

    yield run
    client.close()


def rows(*ids, **columns):
    return pa.table({"id": pa.array(ids, pa.int64()), "x": [float(one) for one in ids], **columns})


def add(place, *ids, mode="append"):
    write_deltalake(str(place), rows(*ids), mode=mode)


def ids(place):
    return sorted(DeltaTable(str(place)).to_pyarrow_table()["id"].to_pylist())


def by_id(place, name="prediction"):
    table = DeltaTable(str(place)).to_pyarrow_table()
    return dict(zip(table["id"].to_pylist(), table[name].to_pylist(), strict=True))


def files(form, place, **options):
    return {"path": str(place), "format": form, "options": options}


# -- what a Delta source has gained ----------------------------------------------------------------------------------------


def test_rows_that_come_back_are_not_new(job, tmp_path):
    source = tmp_path / "source"
    add(source, 1, 2)
    add(source, 3, 4)
    job()
    DeltaTable(str(source)).delete("id >= 3")
    DeltaTable(str(source)).restore(1)
    with pytest.raises(errors.JobStopped, match="were rewritten in its version 3"):
        job()
    assert ids(tmp_path / "target") == [1, 2, 3, 4]
    assert job(redo=True).rows == 4
    assert ids(tmp_path / "target") == [1, 2, 3, 4]


def test_rows_that_were_rewritten_before_anybody_read_them_are_just_new(job, tmp_path):
    source = tmp_path / "source"
    add(source, 1)
    job()
    add(source, 2, 3, 4, 5)
    DeltaTable(str(source)).update(predicate="id = 5", updates={"x": "1000.0"})
    DeltaTable(str(source)).delete("id = 4")
    assert job().rows == 3
    assert by_id(tmp_path / "target") == {1: 2.0, 2: 4.0, 3: 6.0, 5: 2000.0}


def test_new_rows_that_were_rewritten_with_old_ones_are_not_lost_where_that_is_accepted(job, tmp_path):
    source = tmp_path / "source"
    add(source, 1)
    job()
    add(source, 2)
    DeltaTable(str(source)).update(updates={"x": "x + 100"})
    with pytest.raises(errors.JobStopped, match="were rewritten in its version 2"):
        job()
    report = job(accept=True)
    assert (report.rows, "accepted: Rows of the source" in report.notes[0]) == (1, True)
    # as they were when they came
    assert by_id(tmp_path / "target") == {1: 2.0, 2: 4.0}


def test_what_was_compacted_and_vacuumed_before_the_job_came_stops_it(job, tmp_path):
    source = tmp_path / "source"
    add(source, 1)
    job()
    add(source, 2)
    handle = DeltaTable(str(source))
    handle.optimize.compact()
    handle.vacuum(0, dry_run=False, enforce_retention_duration=False)
    with pytest.raises(errors.JobStopped, match="a vacuum has removed the file .*redo: true"):
        job()
    assert job(redo=True).rows == 2


@pytest.mark.parametrize("odd", ["\x85", "\u2028", "\u2029"])
def test_a_line_of_the_log_ends_where_json_says(job, tmp_path, odd):
    source, target = tmp_path / "source", tmp_path / "target"
    for number in (1, 2):
        write_deltalake(str(source), rows(number, day=pa.array([f"a{odd}b"])), mode="append")
        assert job(target={"path": str(target), "partition_by": ["day"]}).rows == 1
    assert ids(target) == [1, 2]
    assert set(by_id(target, "day").values()) == {f"a{odd}b"}


# -- files -----------------------------------------------------------------------------------------------------------------


def test_a_directory_is_one_source_however_it_is_spelled(job, tmp_path):
    (tmp_path / "files").mkdir()
    pq.write_table(rows(1, 2), tmp_path / "files/a.parquet")
    (tmp_path / "link").symlink_to(tmp_path / "files")
    assert job(files("parquet", tmp_path / "files")).rows == 2
    for spelling in (tmp_path / "link", f"{tmp_path}/files/../files", f"file://{tmp_path}/files/"):
        assert job(files("parquet", spelling)).rows == 0
    pq.write_table(rows(3), tmp_path / "files/b.parquet")
    assert job(files("parquet", tmp_path / "link")).rows == 1
    assert ids(tmp_path / "target") == [1, 2, 3]


def test_a_file_that_is_being_copied_is_not_there_yet(job, tmp_path):
    place = tmp_path / "files"
    place.mkdir()
    pq.write_table(rows(1), place / "a.parquet")
    pq.write_table(rows(2), place / "b.parquet._COPYING_")
    assert job(files("parquet", place)).rows == 1
    (place / "b.parquet._COPYING_").rename(place / "b.parquet")
    assert job(files("parquet", place)).rows == 1
    assert ids(tmp_path / "target") == [1, 2]


def test_directories_of_partitions_may_begin_with_an_underscore(job, tmp_path):
    (tmp_path / "files/_day=1").mkdir(parents=True)
    pq.write_table(rows(1), tmp_path / "files/_day=1/a.parquet")
    with pytest.raises(errors.InvalidInput, match="may have partitions"):
        job(files("parquet", tmp_path / "files"))


def test_capitals_make_no_difference_between_files(job, tmp_path):
    place = tmp_path / "files"
    place.mkdir()
    pq.write_table(rows(1), place / "a.parquet")
    pq.write_table(rows(2).rename_columns(["ID", "X"]), place / "b.parquet")
    assert job(files("parquet", place)).rows == 2
    assert by_id(tmp_path / "target") == {1: 2.0, 2: 4.0}
    twice = pa.table({"id": pa.array([3], pa.int64()), "X": [1.0], "x ": [1.0], "xX": [1.0]}).rename_columns(
        ["id", "X", "y", "X"]
    )
    pq.write_table(twice, place / "c.parquet")
    with pytest.raises(errors.SchemaError, match="has X, X for the column 'x'"):
        job(files("parquet", place))


@pytest.mark.parametrize(
    ("first", "later"),
    [
        (pa.array([601], pa.int64()), pa.array(["00601"])),
        (pa.array([1.0], pa.float32()), pa.array([16777217.0])),
        (pa.array([1], pa.int32()), pa.array([1], pa.int64())),
        (pa.array(["1"]), pa.array([1], pa.int64())),
    ],
)
def test_a_later_file_of_a_type_that_would_lose_values_is_refused(job, tmp_path, first, later):
    place = tmp_path / "files"
    place.mkdir()
    pq.write_table(rows(1, z=first), place / "a.parquet")
    pq.write_table(rows(2, z=later), place / "b.parquet")
    with pytest.raises(
        errors.SchemaError, match=r"The column 'z' is .* in the file '.*b\.parquet' and .* it would lose values"
    ):
        job(files("parquet", place))
    assert not (tmp_path / "target").exists() or not list((tmp_path / "target").glob("*"))


def test_a_later_file_of_a_narrower_type_is_read(job, tmp_path):
    place = tmp_path / "files"
    place.mkdir()
    pq.write_table(rows(1, z=pa.array([2**40], pa.int64())), place / "a.parquet")
    pq.write_table(rows(2, z=pa.array([7], pa.int32())), place / "b.parquet")
    assert job(files("parquet", place)).rows == 2
    assert by_id(tmp_path / "target", "z") == {1: 2**40, 2: 7}


def test_times_below_a_microsecond_are_cut_and_far_dates_have_no_bounds(job, tmp_path):
    (tmp_path / "files").mkdir()
    times = pa.array([1_600_000_000_123_456_789], pa.timestamp("ns", "UTC"))
    pq.write_table(
        rows(1, at=times, day=pa.array([3_000_000], pa.int32()).cast(pa.date32())), tmp_path / "files/a.parquet"
    )
    assert job(files("parquet", tmp_path / "files")).rows == 1
    table = DeltaTable(str(tmp_path / "target")).to_pyarrow_table()
    assert table["at"].cast(pa.int64()).to_pylist() == [1_600_000_000_123_456]
    assert table["day"].cast(pa.int32()).to_pylist() == [3_000_000]


def test_json_whose_fields_come_late(job, tmp_path):
    place = tmp_path / "files"
    place.mkdir()
    (place / "a.json").write_text('{"id": 1, "t": "a"}\n')
    (place / "b.json").write_text(
        '{"id": 2, "t": "b"}\n\n{"id": 3, "x": 2.5, "t": "2026-11-26T10:00:00Z", "new": [1, null]}'
    )
    assert job(files("json", place)).rows == 3
    found = by_id(tmp_path / "target")
    assert found[3] == 5.0
    assert all(found[one] != found[one] for one in (1, 2))
    assert by_id(tmp_path / "target", "t")[3] == "2026-11-26T10:00:00Z"
    assert by_id(tmp_path / "target", "new") == {1: None, 2: None, 3: [1, None]}


def test_lines_that_are_cut_into_parts(job, tmp_path, monkeypatch):
    monkeypatch.setattr("sparkml_lifecycle.scoring.formats._LINES", 50)
    (tmp_path / "csv").mkdir()
    (tmp_path / "csv/a.csv").write_text(
        "id,x,t\n" + "".join(f"{i},{i}{'.5' if i == 99 else ''},a\n" for i in range(100))
    )
    (tmp_path / "csv/b.csv").write_text("id,x,t\n")
    (tmp_path / "csv/c.csv").write_text("t,id,x\nb,100,7")
    assert job(files("csv", tmp_path / "csv", header="true", inferSchema="true")).rows == 101
    found = by_id(tmp_path / "target")
    assert found == {**{i: 2.0 * i for i in range(99)}, 99: 199.0, 100: 14.0}
    (tmp_path / "lines.json").write_text("".join(f'{{"id": {i}, "x": {i}}}\n' for i in range(100)))
    assert job(files("json", tmp_path / "lines.json"), target=tmp_path / "other").rows == 100
    assert by_id(tmp_path / "other") == {i: 2.0 * i for i in range(100)}


def test_csv_with_a_byte_order_mark_and_quotes(job, tmp_path):
    text = '\ufeffid,x,t\r\n1,1,"a, b"\r\n2,2,"say ""x"""\r\n3,,\r\n'
    (tmp_path / "a.csv").write_bytes(text.encode())
    options = {"header": "true", "inferSchema": "true"}
    with pytest.raises(errors.InvalidInput, match="has a quote or a backslash inside a text.*escape"):
        job(files("csv", tmp_path / "a.csv", **options))
    assert job(files("csv", tmp_path / "a.csv", escape='"', **options)).rows == 3
    assert by_id(tmp_path / "target", "t") == {1: "a, b", 2: 'say "x"', 3: None}


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.csv", b"id,x\n1,1\n2,1,3\n", "cannot be read as CSV"),
        ("a.json", b'{"id": 1, "x": 1.0}\n{"id": 2, "x": "secret"}\n', "cannot be read as JSON"),
        ("a.json", b'{"id": 1, "x": \n', "cannot be read as JSON"),
        ("a.csv", b"id,x\n1,\xff\xfe\n", "is not UTF-8"),
    ],
)
def test_lines_of_another_form_are_told_without_their_values(job, tmp_path, name, content, says):
    (tmp_path / name).write_bytes(content)
    form = name.rpartition(".")[2]
    options = {"header": "true", "inferSchema": "true"} if form == "csv" else {}
    with pytest.raises(errors.LifecycleError, match=says) as caught:
        job(files(form, tmp_path / name, **options))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("x.parquet", "is a file and no Delta table. Name what it is with format:"),
        ("files", "there is no Delta table. Name what it is with format:"),
        ("nothing", "nothing is there"),
    ],
)
def test_what_is_no_delta_table_is_told(job, tmp_path, source, says):
    (tmp_path / "files").mkdir()
    pq.write_table(rows(1), tmp_path / "x.parquet")
    with pytest.raises(errors.NotFound, match=says):
        job(tmp_path / source)


def test_csv_without_its_header_says_what_is_missing(job, tmp_path):
    (tmp_path / "a.csv").write_text("id,x\n1,1\n")
    with pytest.raises(errors.SchemaError, match=r"source\.options: \{header: true, inferSchema: true\}"):
        job(files("csv", tmp_path / "a.csv"))


# -- targets ---------------------------------------------------------------------------------------------------------------


RULES = {
    "a constraint": lambda table: table.alter.add_constraint({"small": "prediction < 100"}),
    "column mapping": lambda table: with_properties(table, {"delta.columnMapping.mode": "name"}),
    "appendOnly": lambda table: table.alter.set_table_properties({"delta.appendOnly": "true"}),
    "row tracking": lambda table: with_properties(
        table, {"delta.enableRowTracking": "true"}, ["rowTracking", "domainMetadata"]
    ),
}


def with_properties(table, properties, features=()):
    """The commit that Spark makes for ALTER TABLE … SET TBLPROPERTIES."""
    log = Path(table.table_uri.removeprefix("file://")) / "_delta_log"
    metadata = next(
        json.loads(line)["metaData"]
        for line in (log / f"{0:020}.json").read_text().splitlines()
        if line.startswith('{"metaData"')
    )
    metadata["configuration"] |= properties
    lines = [{"metaData": metadata}]
    if features:
        lines.append(
            {"protocol": {"minReaderVersion": 1, "minWriterVersion": 7, "writerFeatures": [*features, "appendOnly"]}}
        )
    (log / f"{table.version() + 1:020}.json").write_text("\n".join(map(json.dumps, lines)) + "\n")


@pytest.mark.parametrize("rule", RULES)
def test_a_target_with_rules_of_its_own_is_not_written_past_them(job, tmp_path, rule):
    add(tmp_path / "source", 1)
    job()
    RULES[rule](DeltaTable(str(tmp_path / "target")))
    add(tmp_path / "source", 200)
    for options in ({}, {"mode": "overwrite", "replace_all": True}):
        with pytest.raises(errors.InvalidInput, match="the target has rules that delta-rs does not keep"):
            job(**options)
    assert ids(tmp_path / "target") == [1]


def test_an_overwrite_counts_no_foreign_rows_as_its_own(job, tmp_path):
    add(tmp_path / "source", 1, 2)
    job(mode="overwrite", keep=["id", "x"])
    target = DeltaTable(str(tmp_path / "target"))
    target.delete("id = 1")
    write_deltalake(target, target.to_pyarrow_table().set_column(0, "id", pa.array([999])), mode="append")
    with pytest.raises(errors.JobStopped, match="rows that this job did not write"):
        job(mode="overwrite", keep=["id", "x"])
    assert ids(tmp_path / "target") == [2, 999]


def test_an_overwrite_is_made_again_where_it_would_be_laid_out_otherwise(job, tmp_path):
    add(tmp_path / "source", 1, 2)
    job(mode="overwrite")
    assert job(mode="overwrite").rows == 0
    assert job(mode="overwrite", on_error="null").rows == 2
    assert "error" in DeltaTable(str(tmp_path / "target")).schema().to_arrow().names
    assert job(mode="overwrite", on_error="null").rows == 0


def test_a_job_whose_rows_are_erased_is_no_other_job_any_more(job, tmp_path):
    add(tmp_path / "source", 1)
    job(job="a")
    job(job="b", mode="overwrite", replace_all=True)
    add(tmp_path / "source", 2)
    assert job(job="b").rows == 1
    assert job(job="b", redo=True).rows == 2
    assert ids(tmp_path / "target") == [1, 2]


def test_a_commit_counts_although_its_memory_cannot_be_written(job, tmp_path, monkeypatch):
    add(tmp_path / "source", 1)

    def refuse(*given):
        raise errors.StorageError("no")

    monkeypatch.setattr(attempt.memory, "remember", refuse)
    report = job()
    assert report.rows == 1
    assert "will be read from the log" in report.notes[0]
    monkeypatch.undo()
    add(tmp_path / "source", 2)
    assert job().rows == 1
    assert ids(tmp_path / "target") == [1, 2]


def test_of_two_jobs_that_read_a_source_for_the_first_time_at_once_one_is_told(job, tmp_path, monkeypatch):
    add(tmp_path / "other", 0)
    job(tmp_path / "other", job="earlier")
    add(tmp_path / "source", *range(1, 6))
    both, recall = threading.Barrier(2), memory.recall

    def together(place, name):
        found = recall(place, name)
        if name in ("a", "b") and threading.current_thread() not in met:
            met.add(threading.current_thread())
            both.wait(60)
        return found

    met, found = set(), {}

    def run(name):
        try:
            found[name] = job(job=name).rows
        except errors.JobStopped as error:
            found[name] = str(error)

    monkeypatch.setattr(attempt.memory, "recall", together)
    threads = [threading.Thread(target=run, args=(name,)) for name in ("a", "b")]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert sorted(map(str, found.values()))[0] == "5"
    assert "holds rows of" in sorted(map(str, found.values()))[1]
    assert ids(tmp_path / "target") == [0, 1, 2, 3, 4, 5]


def test_rows_without_an_answer_are_counted(job, tmp_path):
    write_deltalake(str(tmp_path / "source"), rows(1, 2, 3).set_column(1, "x", pa.array([1.0, None, None])))

    class Silent(pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):
            return [None if one != one else one for one in model_input["x"]]

    silent = saved(tmp_path / "silent", Silent())
    for options in ({}, {"target": {"path": str(tmp_path / "apart"), "partition_by": ["id"]}}):
        report = job(model=silent, **options)
        assert report.notes == ("2 rows have null for an answer, as where the model takes no missing value",)


# -- models and confs ------------------------------------------------------------------------------------------------------


def test_a_model_that_leaves_fails_the_job(job, tmp_path):
    add(tmp_path / "source", 1)
    with pytest.raises(errors.ScoringError, match="raised SystemExit in predict"):
        job(model=saved(tmp_path / "leaving", Leaving()))
    assert not (tmp_path / "target/_delta_log").exists()


def test_a_bad_row_says_where_the_model_raised_and_not_why(job, tmp_path):
    class Picky(pyfunc.PythonModel):
        def predict(self, context, model_input, params=None):
            if (model_input["x"] == 2).any():
                raise ValueError("customer 4711")
            return model_input["x"]

    add(tmp_path / "source", 1, 2, 3)
    job(model=saved(tmp_path / "picky", Picky()), on_error="null")
    (reason,) = {one for one in by_id(tmp_path / "target", "error").values() if one}
    assert "raised ValueError in predict (test_odd_sources.py, line" in reason
    assert "4711" not in reason


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"output": "model_name"}, "output: 'model_name' is the name of another column"),
        ({"output": "error", "on_error": "null"}, "output: 'error' is the name of another column"),
        ({"keep": ["id", "id"]}, "more than once: id"),
        ({"keep": ["ID"]}, "Did you mean 'id'"),
    ],
)
def test_columns_that_cannot_be(job, tmp_path, options, says):
    add(tmp_path / "source", 1)
    with pytest.raises(errors.SchemaError, match=says):
        job(**options)


@pytest.mark.parametrize(
    ("later", "says"),
    [
        (rows(2).rename_columns(["ID", "x"]), r"differ by their capitals alone .*ID \(there id\)"),
        (rows(2).set_column(0, "id", pa.array(["2"])), r"other types .*id \(string, there bigint\)"),
    ],
)
def test_a_batch_of_other_columns_is_told(job, tmp_path, later, says):
    add(tmp_path / "source", 1)
    job(mode="append", batch="1", keep=None)
    write_deltalake(str(tmp_path / "later"), later)
    with pytest.raises(errors.SchemaError, match=says):
        job(tmp_path / "later", mode="append", batch="2")
    assert ids(tmp_path / "target") == [1]


def test_a_dataframe_for_a_path_is_told(spark, model):
    with pytest.raises(errors.InvalidInput, match="source is a path, found a DataFrame"):
        scoring.score_table(spark, model, spark.range(1), "/nowhere")


# -- with Spark ------------------------------------------------------------------------------------------------------------


@pytest.mark.spark
@pytest.mark.parametrize("engine", ["direct", "dataframe", "column"])
def test_names_with_dots(job, tmp_path, spark, engine):
    pq.write_table(rows(1, **{"a.b": pa.array(["t"])}), tmp_path / "dots.parquet")
    assert job(files("parquet", tmp_path / "dots.parquet"), spark, engine=engine).rows == 1
    assert by_id(tmp_path / "target", "a.b") == {1: "t"}


@pytest.mark.spark
@pytest.mark.parametrize("engine", ["direct", "dataframe", "column"])
def test_a_directory_whose_name_is_a_pattern_and_times_to_the_millisecond(job, tmp_path, spark, engine):
    place = tmp_path / "files[1]"
    place.mkdir()
    for number in range(3):
        pq.write_table(rows(number), place / f"{number}.parquet")
        os.utime(place / f"{number}.parquet", ns=(0, 1_764_100_000_000_000_000 + number * 1_001_000_000))
    assert job(files("parquet", place)).rows == 3
    # what one engine has read the next one knows
    assert job(files("parquet", place), spark, engine="dataframe" if engine == "column" else engine).rows == 0
    link = tmp_path / "link"
    link.symlink_to(place)
    pq.write_table(rows(7), place / "7.parquet")
    assert job(files("parquet", link), spark, engine="dataframe" if engine == "column" else engine).rows == 1
    assert job(files("parquet", link), spark, engine=engine, target=tmp_path / "other").rows == 4
    assert ids(tmp_path / "target") == [0, 1, 2, 7]


@pytest.mark.spark
def test_times_in_nanoseconds_are_told(job, tmp_path, spark):
    pq.write_table(rows(1, at=pa.array([1], pa.timestamp("ns"))), tmp_path / "a.parquet")
    with pytest.raises(errors.InvalidInput, match="nanoseconds.*keep:"):
        job(files("parquet", tmp_path / "a.parquet"), spark)
    assert job(files("parquet", tmp_path / "a.parquet"), spark, keep=["id"]).rows == 1


@pytest.mark.spark
def test_a_target_that_was_given_rules_goes_on_through_spark(job, tmp_path, spark):
    source, target = tmp_path / "source", tmp_path / "target"
    add(source, 1)
    assert job(None, spark).engine == "direct"
    mapped = "'delta.columnMapping.mode' = 'name', 'delta.minReaderVersion' = '2', 'delta.minWriterVersion' = '5'"
    spark.sql(f"alter table delta.`{target}` set tblproperties ({mapped})")
    add(source, 2)
    report = job(None, spark)
    assert (report.rows, report.engine) == (1, "column")
    assert "columnMapping" in report.why
    assert job(None, spark, mode="overwrite").rows == 2
    found = spark.read.format("delta").load(str(target)).select("id", "prediction").collect()
    assert sorted(map(tuple, found)) == [(1, 2.0), (2, 4.0)]
    spark.sql(f"alter table delta.`{target}` add constraint small check (prediction < 100)")
    add(source, 200)
    with pytest.raises(errors.LifecycleError, match="failed and committed nothing.*(CHECK|VIOLATE)"):
        job(None, spark)
    assert spark.read.format("delta").load(str(target)).count() == 2


@pytest.mark.spark
def test_a_shallow_clone_is_read_through_spark(job, tmp_path, spark):
    add(tmp_path / "original", 1, 2)
    spark.sql(f"create table delta.`{tmp_path}/source` shallow clone delta.`{tmp_path}/original`")
    report = job(None, spark)
    assert (report.rows, report.engine) == (2, "dataframe")
    shutil.rmtree(tmp_path / "target")
    with pytest.raises(errors.InvalidInput, match="lie elsewhere"):
        job()
