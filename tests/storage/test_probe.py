"""The probe against a real S3 server, and against one that ignores If-None-Match and so really overwrites."""

import json

import pytest
from typer.testing import CliRunner

from sparkml_lifecycle import cli
from sparkml_lifecycle.client import LifecycleClient
from sparkml_lifecycle.errors import StorageError
from sparkml_lifecycle.lake import Lake, probe
from sparkml_lifecycle.storage import open_storage
from tests.lake.points import Point, point
from tests.storage.conftest import s3_options, s3_server


def _environment(place, monkeypatch):
    for name in ("endpoint_url", "access_key_id", "secret_access_key", "region"):
        monkeypatch.setenv(f"AWS_{name.upper()}", place.options[name])


def _doctor(uri):
    result = CliRunner().invoke(cli.app(), ["doctor", "--lake", uri])
    return result.exit_code, " ".join(result.output.split())


def test_a_fair_storage_passes_and_nothing_is_left(tmp_path, s3):
    for storage in (open_storage(tmp_path / "lake"), s3.storage(tmp_path.name)):
        assert probe.one_winner(storage)
        assert storage.list(recursive=True) == []


def test_the_proxy_of_these_tests_is_fair_where_it_passes_the_header_on(s3_urls, tmp_path):
    assert probe.one_winner(open_storage(f"s3://bucket/{tmp_path.name}", s3_options(s3_urls[1])))


def test_a_storage_that_overwrites_is_found_and_its_lake_is_refused(overwriting_s3, tmp_path):
    storage = overwriting_s3.storage(tmp_path.name)
    assert storage.write_new("x", b"1")
    assert storage.write_new("x", b"2"), "this server is to overwrite"
    storage.delete("x")
    assert not probe.one_winner(storage)
    with pytest.raises(StorageError, match="single_writer"):
        Lake(storage.uri, overwriting_s3.options).table(Point).append([point("a")])
    assert storage.list(recursive=True) == []


def test_where_it_overwrites_one_writer_may_write_and_all_may_read(overwriting_s3, tmp_path):
    uri = overwriting_s3.storage(tmp_path.name).uri
    server = LifecycleClient(uri, storage_options={**overwriting_s3.options, "single_writer": "true"})
    try:
        run_id = server.create_run(server.create_experiment("e")).info.run_id
        server.log_metric(run_id, "m", 1.0)
        server.set_terminated(run_id)
    finally:
        server.close()
    assert json.loads(open_storage(uri, overwriting_s3.options).read_bytes("lake.json"))["single_writer"] is True
    other = LifecycleClient(uri, storage_options=overwriting_s3.options)
    assert other.get_run(run_id).data.metrics == {"m": 1.0}
    with pytest.raises(StorageError, match="let one process write the lake"):
        other.create_experiment("f")
    assert [one.name for one in other.search_experiments()] == ["e"]


def test_a_storage_without_conditional_writes_says_so(tmp_path):
    with s3_server("501") as (_, front), pytest.raises(StorageError, match="does not know conditional writes"):
        Lake(f"s3://bucket/{tmp_path.name}", {**s3_options(front), "max_retries": "1"}).table(Point).append(
            [point("a")]
        )


def test_doctor_tries_the_same(s3, overwriting_s3, tmp_path, monkeypatch):
    _environment(s3, monkeypatch)
    assert _doctor(f"s3a://bucket/{tmp_path.name}")[0] == 0
    _environment(overwriting_s3, monkeypatch)
    code, said = _doctor(f"s3://bucket/{tmp_path.name}")
    assert code == 1
    assert "two writers would lose" in said
    assert "single_writer" in said
