import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sparkml_lifecycle import cli
from sparkml_lifecycle.cli import doctor
from sparkml_lifecycle.errors import LifecycleError, StorageError


def _doctor(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli.app(), ["doctor", *arguments])
    return result.exit_code, result.output


def test_a_whole_machine_is_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, said = _doctor()
    assert code == 0, said
    assert "All that is needed is here." in said
    for part in ("Java", "pyspark", "delta-spark", "flavor h2o", "flavor xgboost", "second evaluators", "the lake"):
        assert part in said
    assert list(tmp_path.iterdir()) == []


def test_no_java_is_exit_code_1_and_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", "/nonexistent")
    code, said = _doctor()
    assert code == 1
    assert "apt-get install openjdk-17-jre-headless" in said
    assert "Needed, and not in order: Java" in said


def test_an_old_java_is_not_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "java_version", lambda: "11.0.2")
    code, said = _doctor()
    assert (code, "11.0.2" in said) == (1, True)


def test_a_missing_framework_is_named_with_its_pip_line_and_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    real = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name == "xgboost" else real(name))
    code, said = _doctor()
    assert code == 0
    assert "pip install 'sparkml-lifecycle[xgboost]'" in said


@pytest.mark.parametrize(
    ("spark", "delta", "good"),
    [
        ("4.2.0", "4.4.0", True),
        ("4.1.1", "4.4.0", False),
        ("4.2.0", "4.3.0", False),
        (None, "4.4.0", True),
        ("4.2.0", None, False),
    ],
)
def test_delta_and_spark_must_fit(spark: str | None, delta: str | None, good: bool) -> None:
    found = {finding.part: finding for finding in doctor.spark_and_delta(spark, delta)}
    assert found["delta-spark"].good is good
    assert found["pyspark"].good is (spark is not None)


def test_a_lake_is_tried_and_the_try_leaves_nothing(tmp_path: Path) -> None:
    code, _ = _doctor("--lake", str(tmp_path))
    assert code == 0
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_lake_that_is_a_file_is_not_in_order(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    assert not doctor.lake_at(str(tmp_path / "file")).good


def test_errors_of_the_package_are_one_line_and_debug_shows_the_rest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> LifecycleError:
        raise StorageError("the disk is gone")

    monkeypatch.setattr(doctor, "lake_here", broken)
    with pytest.raises(SystemExit) as ended:
        cli.main(["doctor"])
    assert ended.value.code == "sparkml: the disk is gone"
    with pytest.raises(StorageError):
        cli.main(["--debug", "doctor"])


def test_the_installed_command_says_one_line_without_typer(tmp_path: Path) -> None:
    # an import hook stands for an environment without the extra
    code = "import sys; sys.modules['typer'] = None; from sparkml_lifecycle.cli import main; main(['doctor'])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=dict(os.environ), check=False
    )
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "sparkml: The command line needs typer and rich, which are not installed: pip install 'sparkml-lifecycle[cli]'."
    )
