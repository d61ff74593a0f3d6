import os
import subprocess
import sys
from pathlib import Path

import pytest

from sparkml_lifecycle import spark as spark_module
from sparkml_lifecycle.errors import MissingLibrary
from sparkml_lifecycle.spark import (
    check_installed,
    delta_jars,
    delta_package,
    get_spark,
    java_is_new_enough,
    java_version,
    settings,
    submit_arguments,
)

SCRIPT = """
import json, sys
from pathlib import Path
import pyarrow as pa
from pyspark.sql import functions as F
from sparkml_lifecycle.spark import get_spark

spark = get_spark(master="local[2]" if len(sys.argv) == 2 else None)
spark.range(1000).write.format("delta").save(sys.argv[1] + "/table")
who = F.arrow_udf(lambda a: pa.array([sys.executable] * len(a)), "string")
# rows that nobody wants any more end their worker without a word
spark.range(0, 500_000, 1, 1).select(who("id")).head()
answers = {
    "rows": spark.read.format("delta").load(sys.argv[1] + "/table").count(),
    "worker": spark.range(1).select(who("id")).first()[0],
    "zone": spark.conf.get("spark.sql.session.timeZone"),
    "sockets": spark.sparkContext.getConf().get("spark.python.unix.domain.socket.enabled"),
    "master": spark.sparkContext.master,
    "partitions": spark.conf.get("spark.sql.shuffle.partitions"),
}
Path(sys.argv[1], "answers.json").write_text(json.dumps(answers))
spark.stop()
"""


def _run(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    bare = {"HOME": os.environ["HOME"], "PATH": "/usr/local/bin:/usr/bin:/bin", **environment}
    bare |= {name: os.environ[name] for name in ("JAVA_HOME", "PYTHONPATH") if name in os.environ}
    return subprocess.run(command, env=bare, capture_output=True, text=True, check=False)


def _answers(directory: Path) -> dict[str, object]:
    import json

    found: dict[str, object] = json.loads((directory / "answers.json").read_text())
    return found


@pytest.mark.spark
@pytest.mark.slow
def test_a_session_starts_from_an_unactivated_environment_and_is_quiet(tmp_path: Path, spark: object) -> None:
    # the session of the fixture has downloaded the jars, which is the only noisy part
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    done = _run([sys.executable, str(script), str(tmp_path)])
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    # one line of Java's own about its vector module cannot be switched off
    assert [line for line in done.stderr.splitlines() if "incubator" not in line] == []
    answers = _answers(tmp_path)
    assert answers["rows"] == 1000
    assert answers["worker"] == sys.executable
    assert answers["zone"] == "UTC"
    assert answers["sockets"] == "true"


@pytest.mark.spark
@pytest.mark.slow
def test_under_spark_submit_its_master_and_conf_count(tmp_path: Path, spark: object) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    submit = Path(sys.executable).with_name("spark-submit")
    arguments = [*submit_arguments("local[1]"), "--conf", "spark.sql.shuffle.partitions=7"]
    done = _run([str(submit), *arguments, str(script), str(tmp_path), "submitted"], PYSPARK_PYTHON=sys.executable)
    assert done.returncode == 0, done.stderr
    assert (done.stdout, [line for line in done.stderr.splitlines() if "incubator" not in line]) == ("", [])
    answers = _answers(tmp_path)
    assert answers["rows"] == 1000
    assert answers["master"] == "local[1]"
    assert answers["partitions"] == "7"


@pytest.mark.spark
@pytest.mark.slow
def test_under_spark_submit_without_delta_one_line_says_what_to_add(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    submit = Path(sys.executable).with_name("spark-submit")
    done = _run(
        [str(submit), "--master", "local[1]", str(script), str(tmp_path), "submitted"], PYSPARK_PYTHON=sys.executable
    )
    assert done.returncode != 0
    assert f"spark-submit --packages {delta_package()}" in done.stdout


@pytest.mark.spark
def test_the_active_session_is_used_again(spark: object) -> None:
    assert get_spark("another name") is spark


@pytest.mark.spark
def test_the_jars_of_the_first_session_are_remembered(spark: object) -> None:
    jars = delta_jars()
    assert any("delta-spark" in jar for jar in jars)
    assert "--packages" not in submit_arguments()


@pytest.mark.spark
def test_jars_that_were_deleted_are_resolved_again(
    spark: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert delta_jars() == []
    assert submit_arguments()[2:4] == ["--packages", delta_package()]
    spark_module._remember_jars(f"file://{tmp_path}/delta-spark.jar")
    assert delta_jars() == []
    (tmp_path / "delta-spark.jar").touch()
    assert delta_jars() == [f"file://{tmp_path}/delta-spark.jar"]


def test_a_long_temporary_directory_does_not_make_the_sockets_path_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.gettempdir", lambda: "/var/folders/" + "x" * 80)
    assert settings()["spark.python.unix.domain.socket.dir"] == "/tmp"


def test_a_cluster_keeps_its_own_interpreter_and_partitions() -> None:
    assert not {"spark.pyspark.python", "spark.sql.shuffle.partitions", "spark.ui.enabled"} & set(settings(local=False))


def test_missing_java_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(MissingLibrary, match="Java 17 or newer is needed: install a JRE") as caught:
        check_installed()
    assert "\n" not in str(caught.value)
    assert java_version() is None


def test_a_java_home_without_java_is_missing_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # spark-class takes JAVA_HOME's java or none, whatever the path has
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    with pytest.raises(MissingLibrary, match="Java 17"):
        check_installed()


def test_missing_pyspark_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingLibrary, match=r"pip install 'sparkml-lifecycle\[spark\]'"):
        check_installed()


@pytest.mark.parametrize(
    ("version", "enough"), [("1.8.0_402", False), ("11.0.2", False), ("17.0.15", True), ("21", True)]
)
def test_java_versions_are_read(version: str, enough: bool) -> None:
    assert java_is_new_enough(version) is enough
