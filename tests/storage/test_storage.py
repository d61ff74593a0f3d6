import os
import pickle
import sys
import threading

import pytest

from sparkml_lifecycle.client import LifecycleClient, resolve
from sparkml_lifecycle.errors import InvalidInput, MissingLibrary, NotFound, StorageError
from sparkml_lifecycle.storage import open_storage
from tests.storage.conftest import KINDS


@pytest.fixture(params=KINDS)
def storage(request, tmp_path):
    if request.param == "local":
        return open_storage(tmp_path / "store")
    return request.getfixturevalue(request.param).storage(tmp_path.name)


def test_bytes_come_back(storage):
    storage.write_bytes("a/b c.txt", b"one")
    storage.write_bytes("a/b c.txt", b"two")
    assert storage.read_bytes("a/b c.txt") == b"two"
    assert storage.child("a").read_bytes("b c.txt") == b"two"
    assert storage.exists("a")
    assert not storage.exists("b")
    with pytest.raises(NotFound, match="nothing"):
        storage.read_bytes("nothing")


def test_names_may_hold_signs(storage):
    for name in ("a?b#c.txt", "50%25 größe+1.txt", "x=1/y&z.txt"):
        storage.write_bytes(name, name.encode())
        assert storage.read_bytes(name).decode() == name
        assert storage.write_new(f"new/{name}", b"1")
        assert not storage.write_new(f"new/{name}", b"2")
    assert [file.path for file in storage.list()] == ["50%25 größe+1.txt", "a?b#c.txt", "new", "x=1"]


def test_files_are_listed_and_deleted(storage):
    for path in ("x", "d/y", "d/e/z"):
        storage.write_bytes(path, path.encode())
    assert [(one.path, one.is_dir, one.size) for one in storage.list()] == [("d", True, None), ("x", False, 1)]
    assert [one.path for one in storage.list("d", recursive=True)] == ["d/e", "d/e/z", "d/y"]
    assert storage.list("nothing") == []
    storage.delete("d")
    storage.delete("nothing")
    assert [one.path for one in storage.list()] == ["x"]
    storage.delete("x")
    assert storage.list() == []


def test_files_and_directories_go_up_and_come_down(storage, tmp_path):
    source = tmp_path / "source"
    (source / "deep").mkdir(parents=True)
    big = os.urandom(9_000_000)
    (source / "big").write_bytes(big)
    (source / "deep" / "small").write_bytes(b"s")
    storage.upload(source, "up")
    storage.upload(source / "deep" / "small", "one")
    assert storage.download("up", tmp_path / "down") == tmp_path / "down"
    assert (tmp_path / "down" / "big").read_bytes() == big
    assert (tmp_path / "down" / "deep" / "small").read_bytes() == b"s"
    assert storage.download("one", tmp_path).name == "one"
    assert storage.download("one", tmp_path / "renamed").read_bytes() == b"s"
    with pytest.raises(NotFound):
        storage.download("nothing", tmp_path / "x")
    with pytest.raises(NotFound):
        storage.upload(tmp_path / "nothing", "x")


@pytest.mark.parametrize("storage", ["local", "s3", pytest.param("hdfs", marks=pytest.mark.slow)], indirect=True)
def test_a_new_file_has_one_winner(storage):
    won = []
    threads = [threading.Thread(target=lambda n=n: won.append(storage.write_new("new", b"%d" % n))) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == [False] * 5 + [True]
    assert len(storage.read_bytes("new")) == 1


def test_paths_stay_below(storage):
    for path in ("../x", "/x", "a/../../x"):
        with pytest.raises(InvalidInput):
            storage.write_bytes(path, b"")


def test_a_failed_write_leaves_the_old_file(tmp_path):
    storage = open_storage(tmp_path)
    storage.write_bytes("a", b"old")
    with pytest.raises(TypeError):
        storage.write_bytes("a", "no bytes")
    assert storage.read_bytes("a") == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_credentials_are_never_shown(s3):
    storage = open_storage("s3://no-such-bucket/x", s3.options)
    with pytest.raises(StorageError) as caught:
        storage.write_bytes("a", b"")
    unreachable = open_storage("s3://bucket/x", {**s3.options, "endpoint_url": "http://127.0.0.1:9"})
    with pytest.raises(StorageError) as also:
        unreachable.exists("a")
    for shown in (repr(storage), str(storage), str(caught.value), str(also.value)):
        assert "sesame" not in shown
    assert pickle.loads(pickle.dumps(storage)) == storage


def test_options_come_from_the_environment(s3, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.options["endpoint_url"])
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "it")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "sesame-open")
    monkeypatch.delenv("AWS_REGION", raising=False)
    storage = open_storage("s3://bucket/env")
    storage.write_bytes("a", b"x")
    assert storage.read_bytes("a") == b"x"
    assert storage.delta_options()["AWS_ALLOW_HTTP"] == "true"
    assert storage.options == ()


def test_a_lake_lives_in_a_bucket(s3, monkeypatch, tmp_path):
    for name, value in (
        ("AWS_ENDPOINT_URL", "endpoint_url"),
        ("AWS_ACCESS_KEY_ID", "access_key_id"),
        ("AWS_SECRET_ACCESS_KEY", "secret_access_key"),
    ):
        monkeypatch.setenv(name, s3.options[value])
    client = LifecycleClient("s3a://bucket/lake")
    try:
        run_id = client.create_run(client.create_experiment("e")).info.run_id
        client.log_metric(run_id, "m", 1.5)
        client.log_text(run_id, "hello", "model/MLmodel")
        client.set_terminated(run_id)
        assert client.artifact_uri(run_id) == f"s3://bucket/lake/artifacts/1/{run_id}/artifacts"
        assert client.search_runs(["1"], "metrics.m > 1")[0].info.run_id == run_id
        directory = resolve(f"runs:/{run_id}/model", client)
        assert (directory / "MLmodel").read_text() == "hello"
        assert (resolve(client.artifact_uri(run_id) + "/model", destination=tmp_path / "m") / "MLmodel").exists()
    finally:
        client.close()


def test_other_schemes(tmp_path):
    with pytest.raises(InvalidInput, match="scheme 'ftp'"):
        open_storage("ftp://host/x")
    with pytest.raises(InvalidInput, match="not a path on this machine"):
        _ = open_storage("s3://bucket/x").local_path
    assert open_storage(f"file://{tmp_path}/a").local_path == tmp_path / "a"


def test_hdfs_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "hdfs_native", None)
    monkeypatch.setitem(sys.modules, "hdfs_native.fsspec", None)
    with pytest.raises(MissingLibrary, match="pip install"):
        open_storage("hdfs://namenode:9000/x").exists("a")
