import json
import subprocess
import sys

HEAVY = (
    "pyspark", "delta", "py4j", "pandas", "numpy", "pyarrow", "deltalake", "sklearn", "skops", "xgboost", "lightgbm", "h2o", "jpype",
    "scipy", "matplotlib", "mlflow", "pydantic", "sqlglot", "typer", "rich",
)  # fmt: skip


def _loaded_by(statement: str) -> set[str]:
    code = f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


def test_importing_the_package_loads_no_heavy_library() -> None:
    assert _loaded_by("import sparkml_lifecycle") & set(HEAVY) == set()


def test_the_command_line_loads_no_framework_before_a_command_runs() -> None:
    frameworks = set(HEAVY) - {"typer", "rich"}
    assert _loaded_by("import sparkml_lifecycle.cli as cli; cli.app()") & frameworks == set()


def test_a_process_that_only_logs_imports_no_pandas(tmp_path) -> None:
    # a third of a second, which pyarrow takes as soon as it is given a list, a time or somebody else's table
    loaded = _loaded_by(
        f"import sparkml_lifecycle as ml\nml.set_tracking_uri({str(tmp_path / 'lake')!r})\n"
        "with ml.start_run():\n    ml.log_metric('m', 1.0); ml.log_param('p', 1); ml.set_tag('t', 'u')"
    )
    assert "pyarrow" in loaded
    assert "pandas" not in loaded
