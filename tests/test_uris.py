from pathlib import Path

import pytest

from sparkml_lifecycle import uris
from sparkml_lifecycle.errors import InvalidInput

RUN = "0123456789abcdef" * 2


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("s3a://b/x/", "s3://b/x"),
        ("s3n://b", "s3://b"),
        ("S3A://b/X?y#z", "s3://b/X?y#z"),
        ("gcs://b/x", "gs://b/x"),
        ("wasbs://c@a.blob.core.windows.net/x/", "abfss://c@a.dfs.core.windows.net/x"),
        ("hdfs://nn:9000/x/", "hdfs://nn:9000/x"),
        ("hdfs:///x", "hdfs:///x"),
        ("viewfs://cluster/x", "viewfs://cluster/x"),
        ("abfs://c@a.dfs.core.windows.net/x", "abfss://c@a.dfs.core.windows.net/x"),
        ("file:///tmp/a%20b", "/tmp/a b"),
        ("file:/tmp/a", "/tmp/a"),
        ("/tmp/a/", "/tmp/a"),
    ],
)
def test_one_place_has_one_spelling(text, wanted):
    assert uris.normalise(text) == wanted
    assert uris.normalise(wanted) == wanted


def test_a_relative_path_becomes_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert uris.normalise("mllake") == str(tmp_path / "mllake")
    assert uris.normalise(Path("mllake")) == str(tmp_path / "mllake")


def test_runs_and_models_are_parsed():
    assert uris.parse(f"runs:/{RUN}/model/x") == uris.RunUri(RUN, "model/x")
    assert uris.parse(f"runs:/{RUN}") == uris.RunUri(RUN, "")
    assert uris.parse("models:/churn@champion") == uris.ModelUri("churn", "champion", True)
    assert uris.parse("models:/churn/3") == uris.ModelUri("churn", "3", False)
    assert uris.parse("s3://b/x") == uris.StorageUri("s3://b/x")
    assert uris.parse("/tmp").is_local


@pytest.mark.parametrize(
    "text", ["", " ", "runs:/x/model", f"runs:/{RUN}/../x", "models:/churn", "models:/a/b/c", "file://host/x"]
)
def test_incomplete_uris_are_refused(text):
    with pytest.raises(InvalidInput):
        uris.parse(text)


def test_paths_that_leave_are_refused():
    assert uris.check_relative("a\\b/") == "a/b"
    for bad in ("..", "a/../b", "/a", "C:/a", "a//b", "./a", ""):
        with pytest.raises(InvalidInput):
            uris.check_relative(bad)
    assert uris.join("s3://b/", "/x/", "", "y") == "s3://b/x/y"
