"""``sparkml score``: a table scored with no Spark at all, and what a user reads."""

import json
import re
import subprocess
import sys

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from sklearn.linear_model import LinearRegression

import sparkml_lifecycle as ml

NO_SPARK = """
import sys

class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("pyspark", "py4j", "delta"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Refused())
from sparkml_lifecycle.cli import main

if __name__ == "__main__":
    main()
"""


@pytest.fixture
def place(tmp_path, lake):
    frame = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [3.0, 1.0, 2.0]})
    ml.set_experiment("train")
    with ml.start_run():
        info = ml.sklearn.log_model(
            LinearRegression().fit(frame, frame["a"] + frame["b"]), "model", input_example=frame
        )
    ml.flush()
    rows = pa.table({"id": range(3), "a": [1.0, 2.0, None], "b": [3.0, 1.0, 2.0]})
    write_deltalake(str(tmp_path / "source"), rows.slice(0, 2))
    pq.write_table(rows.slice(0, 2), tmp_path / "rows.parquet")
    rows.slice(0, 2).to_pandas().to_csv(tmp_path / "rows.csv", index=False)
    return tmp_path, info.model_uri, lake


def score(place, *arguments):
    """The command in a process that cannot import pyspark."""
    folder, model, lake = place
    command = [sys.executable, "-c", NO_SPARK, "score", model, *arguments, "--local", "--set", f"tracking_uri={lake}"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_a_table_is_scored_without_spark_and_only_once(place):
    folder, _, lake = place
    done = score(place, "source", "scored", "--keep", "id")
    assert done.returncode == 0, done.stderr
    assert "2 rows in" in done.stdout
    assert "by processes of this machine, without Spark" in done.stdout
    found = DeltaTable(str(folder / "scored")).to_pyarrow_table().sort_by("id")
    assert found["prediction"].to_pylist() == pytest.approx([4.0, 3.0])
    again = score(place, "source", "scored", "--keep", "id")
    assert "nothing was written" in again.stdout
    assert "no new rows since version 0" in again.stdout
    asked = json.loads(score(place, "source", "scored", "--keep", "id", "--mode", "overwrite", "--json").stdout)
    assert (asked["rows"], asked["mode"], asked["engine"], asked["version"]) == (2, "overwrite", "local", 1)
    lines = ml.LifecycleClient(lake).lake.table("scorings").to_arrow().sort_by("at").to_pylist()
    assert [(one["status"], one["rows"]) for one in lines] == [("FINISHED", 2), ("NOTHING", 0), ("FINISHED", 2)]
    assert {one["source_version"] for one in lines} == {0}


@pytest.mark.parametrize(
    "arguments",
    [
        ["rows.parquet", "--format", "parquet"],
        ["rows.csv", "--format", "csv", "--set", "source.options.header=true", "--set", "source.options.inferSchema=true"],
    ],
    ids=["parquet", "csv"],
)  # fmt: skip
def test_a_file_is_scored(place, arguments):
    done = score(place, arguments[0], "scored", *arguments[1:])
    assert done.returncode == 0, done.stderr
    found = DeltaTable(str(place[0] / "scored")).to_pyarrow_table().sort_by("id")
    assert found["prediction"].to_pylist() == pytest.approx([4.0, 3.0])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["source", "scored", "--where", "a > 1"], "cannot be run without Spark: where: is Spark's to judge"),
        (["nothing", "scored", "--format", "parquet"], "There is no source at"),
        (["source", "rows.parquet"], "is a file; a job writes a directory"),
        (["source", "scored", "--keep", "idd"], "'keep' names idd, which the source does not have"),
        (["rows.csv", "scored", "--format", "csv"], "'a' .*is missing"),
        (["source"], "In the command line: .*target.*missing"),
        (["source", "scored", "--mode", "append"], "In the command line: .*needs a batch name"),
    ],
)
def test_what_cannot_be_is_one_line(place, arguments, said):
    done = score(place, *arguments)
    # what is wrong with the conf alone is told as a wrong option is
    assert done.returncode == (2 if "command line" in done.stderr else 1)
    assert "Traceback" not in done.stderr
    assert re.search(said, done.stderr), done.stderr
