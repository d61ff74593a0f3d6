"""``sparkml demo`` as a newcomer runs it: real flights, three frameworks, a real spark-submit; then once more."""

import subprocess
import sys
from pathlib import Path

import pytest
from deltalake import DeltaTable

import sparkml_lifecycle as ml
from sparkml_lifecycle import current

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.spark
@pytest.mark.h2o
@pytest.mark.slow
def test_the_demo_trains_scores_and_does_not_start_over(tmp_path):
    for name in ("jobs", "conf"):
        (tmp_path / name).symlink_to(ROOT / name)
    command = [str(Path(sys.executable).with_name("sparkml")), "demo"]

    def demo() -> str:
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stderr == ""
        return done.stdout

    first = demo()
    assert "336,776 flights with models:/flight-delay@champion in " in first
    assert (
        "Spark and delta-rs read the same 336,776 rows; 1,000 compared with the framework's own predict, all " in first
    )
    assert "rows a second with Spark's warm-up in it, by circuits of its trees" in first
    assert first.count(" 2013-12-") == 10
    assert "registered runs:/" in first
    assert "version 1 is in Production and models:/flight-delay@champion now" in first
    runs, carriers = (
        subprocess.run(line.strip(), shell=True, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        for line in first.splitlines()
        if ' -c "' in line
    )
    [history] = (
        subprocess.run(line.strip(), shell=True, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        for line in first.splitlines()
        if " models history " in line
    )
    assert "the best of the demo" in history
    # every run's column and every carrier asked for, none cut by dots
    assert {"sklearn", "xgboost", "h2o"} <= set(runs.split())
    assert "..." not in runs + carriers
    current.set_tracking_uri(str(tmp_path / "mllake"))
    runs = ml.search_runs(experiment_names=["ATTRI_PRO"], order_by=["metrics.mae ASC"])
    assert set(runs["tags.mlflow.runName"]) == {"sklearn", "xgboost", "h2o"}
    # taking each of December's flights to arrive as late as it left is 13.69 minutes off
    assert (runs["metrics.mae"] < 13.5).all()
    assert DeltaTable(str(tmp_path / "demo-data" / "flight_predictions")).count() == 336_776

    scored = DeltaTable(str(tmp_path / "demo-data" / "flight_predictions")).to_pyarrow_dataset()
    names = scored.head(1, columns=["model_name", "model_version"]).to_pylist()
    assert names == [{"model_name": "flight-delay", "model_version": "1"}]

    second = demo()
    assert "models:/flight-delay@champion is version 1 already" in second
    assert second.count("is trained already") == 3
    assert "are scored with" in second
    assert "joining" not in second
    assert len(ml.search_runs(experiment_names=["ATTRI_PRO"])) == 3
