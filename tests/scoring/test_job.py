"""The batch job: its conf, what it writes, and what it does when something is wrong."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import sparkml_lifecycle as ml
from sparkml_lifecycle import errors, package
from sparkml_lifecycle.package import Description
from sparkml_lifecycle.scoring.conf import check, read_conf
from sparkml_lifecycle.scoring.engine import ENGINES
from sparkml_lifecycle.scoring.job import Report, find_model, run_job
from tests.flavors.models import CASES

MINIMAL = {"model": "m", "source": {"path": "s"}, "target": {"path": "t"}}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"modle": "x"}, "unknown key 'modle'.*Allowed: model, source"),
        ({"source": {"path": "s", "fromat": "csv"}}, r"unknown key 'source\.fromat'.*Did you mean 'format'"),
        ({"source": {"path": "s", "format": "excel"}}, r"'source\.format' is 'excel'.*'delta'"),
        ({"keep": "a"}, "'keep' is 'a'.*list"),
        ({"mode": "append"}, "needs a batch name"),
        ({"batch": "x"}, "'batch' belongs to mode 'append'"),
        ({"model": 3}, "'model' is 3.*string"),
        ({"job": "a b"}, "'job' is 'a b'"),
        ({"on_error": "skip"}, "'on_error' is 'skip'.*'fail' or 'null'"),
        ({"max_errors": 3}, "'max_errors' belongs to on_error 'null'"),
        ({"on_error": None, "max_errors": -1}, "'max_errors' is -1"),
    ],
)
def test_a_wrong_conf_names_the_key_the_value_and_what_is_allowed(change, problem):
    with pytest.raises(errors.ConfigError, match=problem):
        check({**MINIMAL, **change})


def test_a_missing_key_and_a_missing_file_are_named(tmp_path):
    with pytest.raises(errors.ConfigError, match="'model' is missing"):
        check({key: value for key, value in MINIMAL.items() if key != "model"})
    with pytest.raises(errors.ConfigError, match="Cannot read the conf file"):
        read_conf(tmp_path / "none.yml")


def test_values_of_the_command_line_win(tmp_path):
    (tmp_path / "c.yml").write_text("model: m\nsource: {path: s}\ntarget: {path: t}\n")
    conf = read_conf(tmp_path / "c.yml", ["source.path=/data/x", "mode=append", "batch=2026-11-23"])
    assert (conf.source.path, conf.mode, conf.batch) == ("/data/x", "append", "2026-11-23")


@pytest.fixture
def work(spark, tmp_path, lake):
    """A source table and a model in the lake."""
    case = CASES["sklearn-pipeline"]
    ml.set_experiment("train")
    with ml.start_run() as run:
        info = ml.log_model(case.train(), "model", input_example=case.frame().head(3))
    spark.createDataFrame(case.frame()).write.format("delta").save(str(tmp_path / "source"))
    content = {
        "model": info.model_uri,
        "source": {"path": str(tmp_path / "source")},
        "target": {"path": str(tmp_path / "target")},
        "tracking_uri": str(lake),
        "mode": "overwrite",
    }
    return case, run, content


@pytest.mark.spark
def test_a_job_writes_predictions_and_stamps_and_a_run(spark, work, tmp_path):
    case, run, content = work
    report = run_job(spark, check({**content, "keep": ["speed", "carrier"], "job": "night"}))
    found = spark.read.format("delta").load(str(tmp_path / "target")).toPandas()
    assert list(found.columns) == [
        "speed",
        "carrier",
        "prediction",
        "model_name",
        "model_version",
        "model_run_id",
        "model_digest",
        "scored_at",
    ]
    assert len(found) == report.rows == len(case.frame())
    wanted = dict(
        zip(
            case.frame()["speed"],
            package.read(Path(run.info.artifact_uri) / "model").predict(case.frame()),
            strict=True,
        )
    )
    assert found["prediction"].tolist() == pytest.approx([wanted[speed] for speed in found["speed"]], rel=1e-12)
    assert set(found["model_run_id"]) == {run.info.run_id}
    assert set(found["model_digest"]) == {report.model_digest}
    job = ml.LifecycleClient().get_run(report.run_id)
    assert job.info.status == "FINISHED"
    assert job.data.metrics["rows"] == report.rows
    assert job.data.params["source"] == content["source"]["path"]
    assert ml.get_experiment(job.info.experiment_id).name != "train"


@pytest.mark.spark
def test_a_batch_is_written_once_and_an_overwrite_replaces(spark, work, tmp_path):
    case, _, content = work
    rows = len(case.frame())
    target = str(tmp_path / "target")
    assert run_job(spark, check({**content, "mode": "append", "batch": "monday"})).committed
    assert not run_job(spark, check({**content, "mode": "append", "batch": "monday"})).committed
    assert run_job(spark, check({**content, "mode": "append", "batch": "tuesday"})).committed
    assert spark.read.format("delta").load(target).count() == 2 * rows
    run_job(spark, check({**content, "where": "speed > 10"}))
    assert spark.read.format("delta").load(target).count() == int((case.frame()["speed"] > 10).sum())


@pytest.mark.spark
def test_columns_that_do_not_fit_stop_the_job_before_it_writes(spark, work, tmp_path):
    _, _, content = work
    spark.read.format("delta").load(content["source"]["path"]).selectExpr(
        "speed", "cast(gate as string) gate", "carrier"
    ).write.format("delta").save(str(tmp_path / "bad"))
    with pytest.raises(errors.SchemaError, match=r"'gate' is string.*'heat' .*is missing"):
        run_job(spark, check({**content, "source": {"path": str(tmp_path / "bad")}}))
    assert not (tmp_path / "target").exists()
    (failed,) = ml.search_runs(experiment_names=["scoring"], output_format="list")
    assert failed.info.status == "FAILED"
    # what the conf says is known from the start
    assert failed.data.params["model"] == content["model"]
    assert failed.data.params["source"] == str(tmp_path / "bad")
    assert failed.data.params["target"] == str(tmp_path / "target")
    assert failed.data.tags["sparkml.error"] == "SchemaError"
    assert "'gate' is string" in failed.data.tags["sparkml.error.message"]


@pytest.mark.spark
@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("sped > 1", "there is no column 'sped'.*It has: speed, gate, heat, carrier. Did you mean 'speed'"),
        ("speed >> > 1", "PARSE_SYNTAX_ERROR.*It has: speed"),
    ],
)
def test_a_wrong_condition_names_the_columns(spark, work, where, said, capfd):
    _, _, content = work
    with pytest.raises(errors.InvalidInput, match=said):
        run_job(spark, check({**content, "where": where}))
    # Spark prints nothing of its own
    assert capfd.readouterr().err == ""


@pytest.mark.spark
def test_an_error_of_sparks_is_one_line_that_quotes_no_row(spark, work, capfd):
    _, _, content = work
    with pytest.raises(errors.ScoringError, match=r"committed nothing: .*\[CAST_INVALID_INPUT\]") as caught:
        run_job(spark, check({**content, "where": "cast(carrier as int) > 1"}))
    assert "\n" not in str(caught.value)
    assert not {"'AA'", "'DL'", "'UA'"} & set(str(caught.value).split())
    assert "Aborting" not in capfd.readouterr().err


@pytest.mark.spark
def test_a_delta_table_is_not_read_as_its_files(spark, work):
    _, _, content = work
    with pytest.raises(errors.InvalidInput, match="is a Delta table, and source.format is 'parquet'.*format: delta"):
        run_job(spark, check({**content, "source": {**content["source"], "format": "parquet"}}))


def test_a_model_that_is_not_there_is_told_before_anything_is_made(tmp_path):
    conf = check({**MINIMAL, "model": f"runs:/{'0' * 32}/model", "tracking_uri": str(tmp_path / "lake")})
    with pytest.raises(errors.NotFound, match="There is no run"):
        find_model(conf)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("rows", "seconds", "said"),
    [
        (500_000, 9.9, "500,000 rows in 9.9 s"),
        (500, 20.0, "500 rows in 20.0 s"),
        (500_000, 20.0, "500,000 rows in 20.0 s (25,000 rows a second)"),
    ],
)
def test_a_rate_is_said_where_it_means_something(rows, seconds, said):
    assert Report(rows, seconds, 0, True, "m", "d", "t", "column", "", "r").pace == said


@pytest.mark.spark
def test_a_name_that_clashes_asks_for_a_prefix(spark, work):
    _, _, content = work
    with pytest.raises(errors.SchemaError, match="columns named speed"):
        run_job(spark, check({**content, "output": "speed"}))
    run_job(spark, check({**content, "output": "speed", "prefix": "p_"}))


@pytest.mark.spark
def test_a_model_that_raises_commits_nothing(spark, work, tmp_path):
    _, _, content = work

    def picky(frame):
        raise ValueError("secret 4711")

    package.save(picky, tmp_path / "picky", Description(allow_code=True))
    with pytest.raises(errors.ScoringError, match="raised ValueError in predict") as caught:
        run_job(spark, check({**content, "model": str(tmp_path / "picky"), "allow_code": True}))
    assert "4711" not in str(caught.value)
    assert not list((tmp_path / "target").glob("**/*.json"))


@pytest.mark.spark
@pytest.mark.slow
def test_spark_submit_runs_the_job_and_fails_in_one_line(work, tmp_path):
    import yaml

    from sparkml_lifecycle.spark import submit_arguments

    case, _, content = work
    ml.flush()
    (tmp_path / "job.yml").write_text(yaml.safe_dump(content))
    root = Path(__file__).parent.parent.parent
    command = [
        str(Path(sys.executable).with_name("spark-submit")),
        *submit_arguments("local[2]"),
        str(root / "jobs/score_batch.py"),
    ]
    environment = {
        **os.environ,
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
    }

    def submit(*arguments):
        return subprocess.run(
            [*command, "--config", str(tmp_path / "job.yml"), *arguments],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )

    done = submit()
    assert done.returncode == 0, done.stderr[-2000:]
    assert f"{len(case.frame())} rows in " in done.stdout
    assert ENGINES["direct"] in done.stdout
    wrong = submit("--set", "model=runs:/0123456789abcdef0123456789abcdef/model")
    assert wrong.returncode == 1
    # spark-submit sends a Python program's stderr to its own stdout
    said = wrong.stdout + wrong.stderr
    assert "score_batch: " in said
    assert "Traceback" not in said

    # Ctrl-C reaches Spark's JVM and the job, as in a terminal
    def slow(frame):
        open(f"{tmp_path}/scoring", "w").close()
        time.sleep(600)
        return frame["speed"]

    signature = ml.models.infer_signature(case.frame()[["speed"]], case.frame()["speed"])
    package.save(slow, tmp_path / "slow", Description(signature=signature, allow_code=True))
    arguments = (
        "--set",
        f"model={tmp_path / 'slow'}",
        "--set",
        "allow_code=true",
        "--set",
        f"target.path={tmp_path / 'never'}",
    )
    running = subprocess.Popen(
        [*command, "--config", str(tmp_path / "job.yml"), *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, start_new_session=True,
    )  # fmt: skip
    while running.poll() is None and not (tmp_path / "scoring").exists():
        time.sleep(0.1)
    os.killpg(running.pid, signal.SIGINT)
    said = running.communicate()[0]
    assert running.returncode == 130
    # the JVM passes on what the program says, and may be gone before it has said its line
    line = "score_batch: interrupted; a run that had begun is KILLED"
    assert {said for said in said.splitlines() if said and "incubator" not in said} <= {line}
    assert not list((tmp_path / "never").glob("_delta_log/*.json"))
    until = time.monotonic() + 60
    while (last := _last_run()).info.status == "RUNNING" and time.monotonic() < until:
        time.sleep(0.2)
    assert (last.info.status, last.data.params["target"]) == ("KILLED", str(tmp_path / "never"))


def _last_run():
    return ml.search_runs(experiment_names="scoring", order_by="start_time desc", output_format="list")[0]
