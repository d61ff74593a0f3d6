"""Where a job may write, which commit it reports, and what it does when two write at once."""

import subprocess
import sys
import threading

import pytest
from deltalake import DeltaTable

import sparkml_lifecycle as ml
from sparkml_lifecycle import errors
from sparkml_lifecycle.scoring import process
from sparkml_lifecycle.scoring.conf import check, read_conf
from sparkml_lifecycle.scoring.job import run_job
from tests.flavors.models import CASES

MINIMAL = {"model": "m", "source": {"path": "s"}, "target": {"path": "t"}}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"target": {"path": ""}}, r"'target\.path' is empty"),
        ({"source": {"path": " "}}, r"'source\.path' is empty"),
        ({"model": ""}, "'model' is empty"),
        ({"output": ""}, "'output' is empty"),
        ({"target": {"path": "./x/../s"}}, "'target.path' './x/../s' is the source"),
        ({"target": {"path": "s/scored"}}, "lies in the source"),
        ({"source": {"path": "t/in", "format": "parquet"}}, "holds the source"),
        ({"target": {"path": "s3a://b/x"}, "source": {"path": "s3://b/x/"}}, "is the source"),
        (
            {"target": {"path": "t", "merge_schema": True}, "mode": "overwrite"},
            "'target.merge_schema' belongs to the modes that add rows",
        ),
        ({"target": {"path": "s3:x"}}, "names no place"),
    ],
)
def test_places_that_cannot_be_meant_are_refused(change, said):
    with pytest.raises(errors.ConfigError, match=said):
        check({**MINIMAL, **change})


def test_places_that_only_look_alike_are_taken():
    assert check({**MINIMAL, "source": {"path": "data/flights"}, "target": {"path": "data/flights_scored"}})
    assert check({**MINIMAL, "source": {"path": "t", "format": "table"}})


def test_a_link_to_the_source_is_the_source(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "source")
    with pytest.raises(errors.ConfigError, match="is the source"):
        check({**MINIMAL, "source": {"path": str(tmp_path / "source")}, "target": {"path": str(tmp_path / "link")}})


def test_a_conf_that_is_no_text_and_a_setting_that_is_no_yaml(tmp_path):
    (tmp_path / "c.yml").write_bytes("model: m\nsource: {path: é}\n".encode("latin-1"))
    with pytest.raises(errors.ConfigError, match=r"c\.yml' is not UTF-8: byte 24"):
        read_conf(tmp_path / "c.yml")
    (tmp_path / "c.yml").write_text("model: m\nsource: {path: s}\ntarget: {path: t}\n")
    with pytest.raises(errors.ConfigError, match=r"--set 'keep=\[a': the value is not valid YAML"):
        read_conf(tmp_path / "c.yml", ["keep=[a"])


def test_a_process_is_dead_only_when_it_is():
    assert not process.is_dead(process.this())
    gone = subprocess.Popen([sys.executable, "-c", "pass"])
    gone.wait()
    host, pid, start = process.this().split(" ")
    assert process.is_dead(f"{host} {gone.pid} 1")
    # a later process has got its number
    assert process.is_dead(f"{host} {pid} {int(start) - 1}")
    assert not process.is_dead(f"elsewhere {gone.pid} 1")
    assert not process.is_dead("")


@pytest.fixture
def work(spark, tmp_path, lake):
    """The conf of a job over a source table and a model in the lake."""
    case = CASES["sklearn-pipeline"]
    with ml.start_run():
        info = ml.log_model(case.train(), "model", input_example=case.frame().head(3))
    spark.createDataFrame(case.frame()).write.format("delta").save(str(tmp_path / "source"))
    return {
        "model": info.model_uri,
        "source": {"path": str(tmp_path / "source")},
        "target": {"path": str(tmp_path / "target")},
        "tracking_uri": str(lake),
        "mode": "overwrite",
    }


def length(path):
    return len(DeltaTable(str(path)).to_pyarrow_table())


@pytest.mark.spark
def test_what_is_no_delta_table_is_not_written_into(spark, work, tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "photo.jpg").write_text("x")
    # partitions of somebody else, where those that a killed job has left are nobody's
    (tmp_path / "parts" / "k=1").mkdir(parents=True)
    (tmp_path / "parts" / "k=1" / "f.parquet").write_text("x")
    no_table = "holds files and is no Delta table"
    for name, said in (("file", "is a file"), ("other", no_table), ("parts", no_table)):
        with pytest.raises(errors.InvalidInput, match=said):
            run_job(spark, check({**work, "target": {"path": str(tmp_path / name)}}))
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["photo.jpg"]
    (tmp_path / "empty").mkdir()
    run_job(spark, check({**work, "target": {"path": str(tmp_path / "empty")}}))


@pytest.mark.spark
def test_a_query_over_the_target_is_not_written_over_it(spark, work, tmp_path):
    before = length(tmp_path / "source")
    query = {"format": "sql", "path": f"select * from delta.`{tmp_path / 'source'}` where speed > 0"}
    with pytest.raises(errors.InvalidInput, match="The source reads the target"):
        run_job(spark, check({**work, "source": query, "target": {"path": str(tmp_path / "source")}}))
    assert length(tmp_path / "source") == before
    with pytest.raises(errors.InvalidInput, match=r"\(sql\) cannot be run: .*PARSE_SYNTAX_ERROR"):
        run_job(spark, check({**work, "source": {"format": "sql", "path": "selekt 1"}}))


@pytest.mark.spark
def test_odd_names_are_places_and_columns_too(spark, work, tmp_path):
    target = tmp_path / "it`s a target"
    source = spark.read.format("delta").load(work["source"]["path"]).selectExpr("*", "1 as `a``b`")
    source.write.format("delta").save(str(tmp_path / "odd"))
    conf = {**work, "source": {"path": str(tmp_path / "odd")}, "target": {"path": str(target)}}
    report = run_job(spark, check(conf))
    assert (report.version, report.rows) == (0, length(target))
    assert "a`b" in DeltaTable(str(target)).to_pyarrow_table().column_names


@pytest.mark.spark
def test_the_files_of_delta_tables_are_not_read_by_a_pattern(spark, work, tmp_path):
    with pytest.raises(errors.InvalidInput, match="is a Delta table"):
        run_job(spark, check({**work, "source": {"path": f"{tmp_path}/sour*", "format": "parquet"}}))


@pytest.mark.spark
def test_a_place_that_spark_has_no_connector_for_is_named(spark, work):
    with pytest.raises(errors.StorageError, match=r"Spark cannot reach 'gs://bucket/x': .*spark\.jars\.packages"):
        run_job(spark, check({**work, "target": {"path": "gs://bucket/x"}}))


@pytest.mark.spark
def test_a_parameter_that_the_model_has_not_is_told_on_the_driver(spark, work, tmp_path):
    with pytest.raises(errors.SchemaError, match="no parameter 'temperature'"):
        run_job(spark, check({**work, "params": {"temperature": 1}}))
    assert not (tmp_path / "target").exists()


@pytest.mark.spark
def test_a_batch_with_other_columns_is_refused_unless_asked(spark, work):
    run_job(spark, check({**work, "mode": "append", "batch": "1", "keep": ["speed", "carrier"]}))
    narrower = {**work, "mode": "append", "batch": "2", "keep": ["speed", "gate"]}
    with pytest.raises(errors.SchemaError, match=r"lacks its columns carrier and brings gate.*target\.merge_schema"):
        run_job(spark, check(narrower))
    report = run_job(spark, check({**narrower, "target": {**work["target"], "merge_schema": True}}))
    assert report.committed
    assert length(work["target"]["path"]) == 2 * report.rows


@pytest.mark.spark
def test_jobs_at_once_report_their_own_commits(spark, work):
    """Four batches, two of them the same: each is there once, and each job says what it wrote."""
    conf = {**work, "mode": "append"}
    run_job(spark, check({**conf, "batch": "first"}))
    whole = length(work["target"]["path"])
    asked = [("a", "speed > 10"), ("a", "speed > 10"), ("b", "speed <= 10"), ("c", "speed > 1e9")]
    reports = [None] * len(asked)

    def run(place, batch, where):
        reports[place] = run_job(spark, check({**conf, "batch": batch, "where": where}))

    threads = [threading.Thread(target=run, args=(place, *one)) for place, one in enumerate(asked)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(report.committed for report in reports[:2]) == [False, True]
    made = [report for report in reports if report.committed]
    assert sorted(report.version for report in made) == [1, 2, 3]
    assert sum(report.rows for report in made) == whole
    assert reports[3].rows == 0
    assert length(work["target"]["path"]) == 2 * whole


@pytest.mark.spark
def test_a_run_whose_process_was_killed_is_ended_by_the_next(spark, work):
    client = ml.LifecycleClient()
    run_job(spark, check(work))
    (done,) = ml.search_runs(experiment_names=["scoring"], output_format="list")
    gone = subprocess.Popen([sys.executable, "-c", "pass"])
    gone.wait()
    host = process.this().split(" ")[0]
    left = []
    for job, where in (
        ("default", f"{host} {gone.pid} 1"),
        ("default", process.this()),
        ("other", f"{host} {gone.pid} 1"),
    ):
        tags = {"sparkml.job": job, process.TAG: where}
        left.append(client.create_run(done.info.experiment_id, tags=tags).info.run_id)
    run_job(spark, check(work))
    assert [client.get_run(run_id).info.status for run_id in left] == ["KILLED", "RUNNING", "RUNNING"]
    for run_id in left[1:]:
        client.set_terminated(run_id)
