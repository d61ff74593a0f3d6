import json
import os
import subprocess
import sys

import pytest

import sparkml_lifecycle as ml
from sparkml_lifecycle import current
from sparkml_lifecycle.client import LifecycleClient, resolve
from sparkml_lifecycle.errors import InvalidInput, StorageError
from sparkml_lifecycle.lake import Lake
from sparkml_lifecycle.storage import open_storage, redacted
from sparkml_lifecycle.storage.options import TABLE
from tests.lake.points import Point, point
from tests.storage.conftest import SECRET
from tests.storage.s3server import DOMAIN


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    for name in [name for name in os.environ if name.startswith(("AWS_", "AZURE_", "GOOGLE_"))]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize("scheme", [scheme for scheme, options in TABLE.items() if options])
def test_every_spelling_of_an_option_means_the_same(scheme):
    for option in TABLE[scheme]:
        for spelling in (option.name, option.delta, option.delta.lower(), *option.also):
            assert open_storage(f"{scheme}://a/b", {spelling: "v"}).options == ((option.delta, "v"),)
        # what was understood once is understood again: a forked child and a second client are handed the normal names
        assert open_storage(f"{scheme}://a/b", {option.delta: "v"}).options == ((option.delta, "v"),)


def test_an_unknown_option_is_refused_without_its_value():
    with pytest.raises(InvalidInput, match="'secret_acces_key'.*Did you mean 'secret_access_key'") as caught:
        open_storage("s3://b/x", {"secret_acces_key": SECRET})
    assert SECRET not in str(caught.value)
    with pytest.raises(InvalidInput, match="'region' is not one of file:"):
        open_storage("/tmp/x", {"region": "eu-west-1"})


def test_what_delta_rs_knows_beyond_the_table_is_passed_on():
    storage = open_storage("s3://b", {"aws_sse_kms_key_id": "k", "timeout": "5s"})
    assert dict(storage.options) == {"AWS_SSE_KMS_KEY_ID": "k", "timeout": "5s"}
    assert storage.delta_options()["timeout"] == "5s"
    hadoop = open_storage("hdfs://nn:9000/x", {"dfs.client.use.datanode.hostname": "true"})
    assert hadoop.delta_options() == {"dfs.client.use.datanode.hostname": "true"}


def test_options_win_over_the_environment(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://everything:1")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://s3:1")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    found = open_storage("s3://b").delta_options()
    assert (found["AWS_ENDPOINT_URL"], found["AWS_REGION"], found["AWS_ALLOW_HTTP"]) == (
        "http://s3:1",
        "eu-west-1",
        "true",
    )
    given = open_storage("s3://b", {"endpoint": "https://mine", "region": "x"}).delta_options()
    assert (given["AWS_ENDPOINT_URL"], given["AWS_REGION"], "AWS_ALLOW_HTTP" in given) == ("https://mine", "x", False)


def test_each_storage_is_spelt_as_delta_rs_wants_it():
    virtual = {"endpoint_url": "http://s3.test", "virtual_hosted_style_request": "true"}
    assert open_storage("s3://b/x", virtual).delta_options()["AWS_ENDPOINT_URL"] == "http://b.s3.test"
    azure = open_storage(
        "wasbs://c@acct.blob.core.windows.net/x", {"account_key": "k", "endpoint_url": "http://127.0.0.1:1"}
    )
    assert azure.uri == "abfss://c@acct.dfs.core.windows.net/x"
    assert azure.delta_options()["AZURE_STORAGE_ACCOUNT_NAME"] == "acct"
    assert azure.delta_options()["AZURE_STORAGE_ENDPOINT"] == "http://127.0.0.1:1/acct"
    google = open_storage("gs://b", {"endpoint_url": "http://127.0.0.1:1", "anonymous": "true"}).delta_options()
    key = json.loads(google["GOOGLE_SERVICE_ACCOUNT_KEY"])
    assert (key["gcs_base_url"], key["disable_oauth"], google["allow_http"]) == ("http://127.0.0.1:1", True, "true")
    assert "single_writer" not in open_storage("s3://b", {"single_writer": "true"}).delta_options()


def test_spark_gets_the_same_options_by_hadoops_names():
    s3 = open_storage("s3://b/x", {"access_key_id": "it", "secret_access_key": "s", "endpoint_url": "http://h:1"})
    assert s3.spark_uri == "s3a://b/x"
    assert s3.spark_options() == {
        "fs.s3a.access.key": "it", "fs.s3a.secret.key": "s", "fs.s3a.endpoint": "http://h:1",
        "fs.s3a.path.style.access": "true", "fs.s3a.connection.ssl.enabled": "false",
    }  # fmt: skip
    azure = open_storage("abfss://c@a.dfs.core.windows.net/x", {"account_key": "k"})
    assert azure.spark_options() == {"fs.azure.account.key.a.dfs.core.windows.net": "k"}
    assert open_storage("/tmp/x").spark_options() == {}


def test_options_follow_to_places_of_the_same_kind_only():
    lake = open_storage("s3://b/lake", {"region": "r"})
    assert lake.at("s3a://other/x").options == lake.options
    assert lake.at("/tmp/x").options == lake.at("gs://b/x").options == ()
    azure = open_storage("abfss://c@mine.dfs.core.windows.net/lake", {"sas_token": "sig=s"})
    assert azure.at("abfss://d@mine.dfs.core.windows.net/x").options == azure.options
    assert azure.at("abfss://c@theirs.dfs.core.windows.net/x").options == ()


def test_a_message_keeps_the_place_and_loses_what_is_secret():
    text = "PUT http://h:1/a/b?sv=1&sig=abc%3D in 2s, 'https://u:pw@h/x?X-Amz-Signature=abc', s3://b/x"
    assert redacted(text) == "PUT http://h:1/a/b in 2s, 'https://h/x', s3://b/x"


def test_a_bucket_may_stand_in_the_host(s3_urls, tmp_path):
    """Virtual-hosted style for delta-rs, pyarrow and the signed put; names are found by the proxy, as there is no DNS here."""
    options = {
        "endpoint_url": f"http://{DOMAIN}", "virtual_hosted_style_request": "true", "proxy_url": s3_urls[1],
        "access_key_id": "it", "secret_access_key": SECRET,
    }  # fmt: skip
    storage = open_storage(f"s3://bucket/{tmp_path.name}", options)
    assert (storage.write_new("a", b"1"), storage.write_new("a", b"2")) == (True, False)
    assert storage.read_bytes("a") == b"1"
    table = Lake(storage.uri, options).table(Point)
    table.append([point("p")])
    assert table.to_arrow()["key"].to_pylist() == ["p"]
    assert {file.path for file in storage.list()} == {"a", "lake.json", "points"}


def test_options_reach_tables_and_artifacts_and_stay_in_memory(s3, tmp_path, caplog, capsys):
    caplog.set_level("DEBUG")
    uri = s3.storage(tmp_path.name).uri
    client = LifecycleClient(uri, storage_options=s3.options)
    try:
        run_id = client.create_run(client.create_experiment("e", artifact_location="s3://bucket/elsewhere")).info.run_id
        client.log_metric(run_id, "m", 1.5)
        client.log_text(run_id, "hello", "notes/a.txt")
        client.set_terminated(run_id)
        assert client.artifact_uri(run_id).startswith("s3://bucket/elsewhere/")
        assert [file.path for file in client.list_artifacts(run_id, "notes")] == ["notes/a.txt"]
        assert resolve(f"runs:/{run_id}/notes/a.txt", client).read_text() == "hello"
        assert resolve(f"{client.artifact_uri(run_id)}/notes/a.txt", client).read_text() == "hello"
        with pytest.raises(StorageError) as caught:
            LifecycleClient("s3://no-such-bucket/x", storage_options=s3.options).create_experiment("e")
    finally:
        client.close()
    said = "".join(
        [
            repr(client),
            repr(vars(client)),
            repr(client.store.lake.storage),
            str(caught.value),
            caplog.text,
            *capsys.readouterr(),
        ]
    )
    assert SECRET not in said
    bucket = open_storage("s3://bucket", s3.options)
    for file in bucket.list(recursive=True):
        if not file.is_dir:
            assert SECRET.encode() not in bucket.read_bytes(file.path), file.path


def test_the_current_lake_carries_its_options(s3, tmp_path):
    uri = s3.storage(tmp_path.name).uri
    ml.set_tracking_uri(uri.replace("s3:", "s3a:"), storage_options=s3.options)
    with ml.start_run() as run:
        ml.log_metric("m", 2.0)
        ml.log_text("hello", "a.txt")
    assert run.info.artifact_uri.startswith(uri)
    assert ml.get_run(run.info.run_id).data.metrics == {"m": 2.0}
    assert LifecycleClient(uri).store is LifecycleClient().store
    # a plain URI below the current lake, with no client in sight
    assert resolve(f"{run.info.artifact_uri}/a.txt").read_text() == "hello"
    ml.set_tracking_uri(tmp_path)
    assert current.storage_options() == {}


_CHILD = """
import json, os, sys
import sparkml_lifecycle as ml
uri, options = sys.argv[1], json.load(sys.stdin)
ml.set_tracking_uri(uri, storage_options=options)
with ml.start_run() as run:
    ml.log_param("who", "parent")
child = os.fork()
if child == 0:
    ml.LifecycleClient().store.log_metric(run.info.run_id, "forked", 1.0, synchronous=True)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
print(ml.get_run(run.info.run_id).data.metrics)
"""


def test_options_reach_the_rows_of_a_forked_child(s3, tmp_path):
    command = [sys.executable, "-W", "error", "-c", _CHILD, s3.storage(tmp_path.name).uri]
    done = subprocess.run(command, input=json.dumps(s3.options), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "{'forked': 1.0}"), done.stderr
