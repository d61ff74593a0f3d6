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


@pytest.mark.parametrize("text", ["file:zzz", "file:./zzz"])
def test_a_relative_file_uri_lies_below_the_working_directory(monkeypatch, tmp_path, text):
    monkeypatch.chdir(tmp_path)
    assert uris.normalise(text) == str(tmp_path / "zzz")


@pytest.mark.parametrize("text", ["zip:a.zip", "file:", "s3:bucket/x", "notes:1.txt"])
def test_a_word_before_a_colon_is_never_taken_for_a_path(text):
    with pytest.raises(InvalidInput):
        uris.normalise(text)
    assert uris.normalise(f"./{text}").endswith(f"/{text}")
    assert uris.normalise("C:\\data").endswith("C:\\data")


def test_a_scheme_that_is_not_known_gets_the_nearest_one():
    with pytest.raises(InvalidInput, match=r"begins with run:.*runs:/<run_id>.* Did you mean 'runs'\?$"):
        uris.parse(f"run:/{RUN}/model")
    with pytest.raises(InvalidInput, match="text or a path, found object"):
        uris.parse(object())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("http://localhost:5000", "is a server.*later version"),
        ("https://host", "is a server"),
        ("sqlite:///mlruns.db", "begins with sqlite:"),
        ("databricks", "is no lake.*'./databricks'"),
        ("databricks://profile", "is no lake"),
        (f"runs:/{RUN}", "is no lake"),
    ],
)
def test_a_lake_is_a_directory_or_a_bucket(text, said):
    with pytest.raises(InvalidInput, match=said):
        uris.lake(text)


def test_a_lake_has_the_same_spelling_as_any_place(tmp_path):
    assert uris.lake(tmp_path) == uris.lake(f"file://{tmp_path}") == str(tmp_path)
    assert uris.lake("s3a://b/lake/") == "s3://b/lake"


@pytest.mark.parametrize(
    "name", ["a[1]", "a]", "a^b", "a|b", "a\\b", "a%20b", "a%E9", "x\ny", "x\x7fy", "x\0y", "a\udcff"]
)
def test_a_lake_lies_where_delta_rs_can_write(tmp_path, name):
    with pytest.raises(InvalidInput, match="cannot hold Delta tables.*Rename the directory"):
        uris.lake(tmp_path / name / "lake")
    # objects have such names without harm
    assert uris.lake(f"s3://bucket/{name}") == f"s3://bucket/{name}"


def test_what_a_link_leads_to_counts(tmp_path):
    (tmp_path / "a[1]").mkdir()
    (tmp_path / "plain").symlink_to("a[1]")
    (tmp_path / "b[2]").symlink_to(".")
    with pytest.raises(InvalidInput, match="cannot hold"):
        uris.lake(tmp_path / "plain" / "lake")
    assert uris.lake(tmp_path / "b[2]" / "lake") == str(tmp_path / "b[2]" / "lake")


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
