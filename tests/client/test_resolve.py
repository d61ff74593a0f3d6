import pytest

from sparkml_lifecycle.client import resolve
from sparkml_lifecycle.errors import InvalidInput, NotFound


def test_what_is_here_is_used_where_it_lies(client, run_id, tmp_path):
    client.log_text(run_id, "flavors: {}", "model/MLmodel")
    place = f"{client.artifact_uri(run_id)}/model"
    assert str(resolve(f"runs:/{run_id}/model", client)) == place
    assert str(client.resolve(place)) == place
    assert str(resolve(f"file://{place}")) == place
    assert str(resolve(f"runs:/{run_id}", client)) == client.artifact_uri(run_id)
    copy = resolve(f"runs:/{run_id}/model", client, tmp_path / "out")
    assert (copy / "MLmodel").read_text() == "flavors: {}"
    assert copy == tmp_path / "out" / "model"


def test_a_download_below_the_working_directory_has_an_absolute_path(client, run_id, tmp_path, monkeypatch):
    client.log_text(run_id, "x", "d/a.txt")
    monkeypatch.chdir(tmp_path)
    assert client.download_artifacts(run_id, "d", "./") == str(tmp_path / "d")


def test_what_is_not_there_is_said(client, run_id, tmp_path):
    with pytest.raises(NotFound):
        resolve(tmp_path / "nothing")
    with pytest.raises(NotFound):
        resolve(f"runs:/{run_id}/nothing", client)
    with pytest.raises(NotFound, match="no run"):
        resolve(f"runs:/{'0' * 32}/model", client)
    with pytest.raises(NotFound, match="no registered model 'churn'"):
        resolve("models:/churn@champion", client)
    with pytest.raises(InvalidInput):
        resolve("ftp://host/x")
