"""``sparkml maintain`` and ``sparkml gc`` as a person calls them."""

import pytest

from sparkml_lifecycle.client import LifecycleClient
from sparkml_lifecycle.errors import NotFound


@pytest.fixture
def lake_and_runs(tmp_path):
    client = LifecycleClient(tmp_path / "lake")
    experiment = client.create_experiment("e")
    runs = [client.create_run(experiment, run_name=name).info.run_id for name in ("kept", "deleted")]
    for run_id in runs:
        for step in range(3):
            client.log_metric(run_id, "m", step, step=step, synchronous=True)
        client.log_text(run_id, "x" * 1234, "a.txt")
    client.delete_run(runs[1])
    client.close()
    return client, *runs


def test_upkeep_shows_a_line_for_each_table(sparkml, lake_and_runs, tmp_path):
    said = sparkml("maintain", "--lake", tmp_path / "lake")
    assert said.code == 0, said.err
    assert "6 → 1" in next(line for line in said.out.splitlines() if " metrics " in line.replace("│", " "))
    assert "latest_metrics" in said.out
    assert sparkml("maintain", "--lake", tmp_path / "lake", "--retention-hours", 0).code == 0
    # what there was to do is done
    assert "→" not in sparkml("maintain", "--lake", tmp_path / "lake", "--retention-hours", 0).out
    assert "nothing in" in sparkml("maintain", "--lake", tmp_path / "other").out
    assert not (tmp_path / "other").exists()


def test_what_is_deleted_goes_after_its_time(sparkml, lake_and_runs, tmp_path, monkeypatch):
    client, kept, deleted = lake_and_runs
    lake = ("--lake", tmp_path / "lake")
    assert "0 runs, 0 experiments and 0 B" in sparkml("gc", *lake, "--older-than", "1d12h").out
    said = sparkml("gc", *lake, "--dry-run").out
    assert "1 run, 0 experiments and 1.2 kB of artifacts would go" in said
    assert client.get_run(deleted).info.lifecycle_stage == "deleted"
    monkeypatch.setattr("sys.stdin", open("/dev/null"))  # noqa: SIM115 - pytest closes nothing of it
    said = sparkml("gc", *lake)
    assert (said.code, "go for good" in said.out) == (1, True)
    assert client.get_run(deleted).info.lifecycle_stage == "deleted"
    assert "1 run, 0 experiments and 1.2 kB of artifacts removed" in sparkml("gc", *lake, "--older-than", "0s").out
    with pytest.raises(NotFound, match="removed for good"):
        LifecycleClient(tmp_path / "lake").get_run(deleted)
    assert client.get_run(kept).data.metrics == {"m": 2.0}


def test_a_purge_is_asked_about_and_erases(sparkml, lake_and_runs, tmp_path, monkeypatch):
    client, kept, deleted = lake_and_runs
    lake = ("--lake", tmp_path / "lake")
    monkeypatch.setattr("sys.stdin", open("/dev/null"))  # noqa: SIM115 - pytest closes nothing of it
    said = sparkml("gc", *lake, "--purge", kept)
    assert (said.code, "Erase" in said.out) == (1, True)
    assert client.get_run(kept).data.metrics == {"m": 2.0}
    said = sparkml("gc", *lake, "--purge", kept, "--purge", deleted, "--yes")
    assert said.code == 0, said.err
    assert "2 runs erased" in said.out
    assert "2.5 kB of artifacts" in said.out
    said = sparkml("gc", *lake, "--purge", kept, "--yes")
    assert (said.code, kept in said.err) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("gc", "--older-than", "soon"), "is not a time"),
        (("gc", "--older-than", "-1d"), "is not a time"),
        (("gc", "--older-than", "1d h"), "is not a time"),
        (("gc", "--older-than", "9999999999w"), "too long"),
        (("gc", "--purge", "../x", "--yes"), "32 hex digits"),
        (("gc", "--purge", "f" * 32, "--dry-run"), "do not go together"),
        (("gc", "--purge", "f" * 32, "--yes"), "nothing of"),
        (("maintain", "--retention-hours", "-1"), "0 or more"),
        (("maintain", "--retention-hours", "x"), "as an integer"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(sparkml, lake_and_runs, tmp_path, arguments, message):
    said = sparkml(*arguments, "--lake", tmp_path / "lake")
    assert said.code != 0
    assert message in " ".join((said.out + said.err).replace("│", " ").split())
    assert "Traceback" not in said.err
