import csv
import shlex

import pyarrow.parquet as pq
import pytest
from typer.main import get_command

from sparkml_lifecycle import cli
from sparkml_lifecycle.client import LifecycleClient
from sparkml_lifecycle.tracking import finding


@pytest.fixture
def client(lake):
    """Two experiments: ``churn`` with a finished, a failed and a deleted run, and ``Größen [beta]`` without any."""
    client = LifecycleClient(lake)
    churn = client.create_experiment("churn", tags={"team": "crm"})
    for number, status in enumerate(("FINISHED", "FAILED", "FINISHED")):
        run = client.create_run(churn, run_name=f"run {number}")
        client.log_metric(run.info.run_id, f"m{number}", number)
        client.log_param(run.info.run_id, "a", number)
        client.set_terminated(run.info.run_id, status)
    client.delete_run(run.info.run_id)
    client.create_experiment("Größen [beta]")
    yield client
    client.close()


def test_the_list_counts_runs_that_are_not_deleted(client, sparkml):
    said = sparkml("experiments", "list")
    assert (said.code, said.err) == (0, "")
    rows = {line.split()[0]: line for line in said.out.splitlines() if line.strip()[:1].isdigit()}
    assert rows["1"].split()[:3] == ["1", "churn", "2"]
    assert "Größen [beta]" in rows["2"]
    listed = sparkml("experiments", "list", "--json").json["experiments"]
    assert [one["name"] for one in listed] == ["Größen [beta]", "churn"]
    assert listed[1]["runs"] == {"total": 2, "by_status": {"FINISHED": 1, "FAILED": 1}, "deleted": 1}


def test_filters_choose_and_their_mistakes_are_marked(client, sparkml):
    chosen = sparkml("experiments", "list", "--filter", "tags.team = 'crm'", "--json").json["experiments"]
    assert [one["name"] for one in chosen] == ["churn"]
    assert sparkml("experiments", "list", "--filter", "name = 'x'").out == "No experiments like that.\n"
    said = sparkml("experiments", "list", "--filter", "nmae = 'x'")
    assert (said.code, said.out) == (1, "")
    assert said.err.endswith("  nmae = 'x'\n  ^")


@pytest.mark.parametrize("name", ["churn", "1"])
def test_one_is_shown_by_name_or_id(client, sparkml, name):
    said = sparkml("experiments", "show", name)
    assert "2: 1 FAILED, 1 FINISHED" in said.out
    assert "crm" in said.out
    shown = sparkml("experiments", "show", name, "--json").json
    assert shown["artifact_location"] == f"{client.tracking_uri}/artifacts/1"
    assert shown["creation_time"].endswith("Z")


def test_a_name_that_is_another_ones_id_is_not_guessed(client, sparkml):
    client.create_experiment("1")
    said = sparkml("experiments", "delete", "1")
    assert said.code == 1
    assert "Say '3' or 'churn'" in said.err
    assert client.get_experiment("1").lifecycle_stage == "active"
    assert sparkml("experiments", "show", "3", "--json").json["name"] == "1"


def test_an_unknown_one_has_a_guess(client, sparkml):
    said = sparkml("experiments", "show", "chrun")
    assert (said.code, said.out) == (1, "")
    assert said.err.count("\n") == 0
    assert "Did you mean 'churn'?" in said.err


def test_create_makes_the_lake_and_rename_keeps_the_id(tmp_path, sparkml):
    place = tmp_path / "new"
    said = sparkml("experiments", "create", "churn", "--tag", "team=crm", "--lake", place)
    assert (said.code, said.out) == (0, "Created the experiment 'churn', id 1.\n")
    assert sparkml("experiments", "create", "churn", "--lake", place).code == 1
    assert sparkml("experiments", "rename", "churn", "left", "--lake", place).out.endswith("from 'churn' to 'left'.\n")
    assert sparkml("experiments", "show", "left", "--lake", place, "--json").json["tags"] == {"team": "crm"}
    assert sparkml("experiments", "create", "x", "--tag", "team", "--lake", place).code == 2
    assert [one["name"] for one in sparkml("experiments", "list", "--lake", place, "--json").json["experiments"]] == [
        "left"
    ]


def test_delete_tells_what_it_hides_and_restore_brings_it_back(client, sparkml):
    said = sparkml("experiments", "delete", "churn")
    assert said.out == "Deleted the experiment 'churn' with 2 runs. To bring it back: sparkml experiments restore 1\n"
    assert sparkml("experiments", "delete", "1").out == "The experiment 'churn' was deleted already.\n"
    assert "churn" not in sparkml("experiments", "list").out
    assert "churn" in sparkml("experiments", "list", "--deleted").out
    assert sparkml("runs", "list").out == "No runs yet.\n"
    assert "deleted" in sparkml("experiments", "list", "--all").out
    assert sparkml("experiments", "list", "--all", "--deleted").code == 2
    assert sparkml("experiments", "restore", "churn").out == "Restored the experiment 'churn' with 2 runs.\n"
    assert sparkml("experiments", "restore", "churn", "--json").json["changed"] is False
    assert len(sparkml("runs", "list", "--json").json["runs"]) == 2


@pytest.mark.parametrize("page", [1, 50_000])
def test_pages_with_other_columns_become_one_file(client, sparkml, tmp_path, monkeypatch, page):
    monkeypatch.setattr(finding, "MAX_RESULTS", page)
    target = tmp_path / "churn.parquet"
    said = sparkml("experiments", "export", "churn", target)
    assert said.out == f"Wrote 2 runs of 'churn' to {target}.\n"
    table = pq.read_table(target)
    assert [name for name in table.column_names if name.startswith(("metrics.", "params."))] == [
        "metrics.m0", "metrics.m1", "params.a",
    ]  # fmt: skip
    assert table.select(["metrics.m0", "metrics.m1", "params.a"]).to_pylist() == [
        {"metrics.m0": None, "metrics.m1": 1.0, "params.a": "1"},
        {"metrics.m0": 0.0, "metrics.m1": None, "params.a": "0"},
    ]


def test_an_export_replaces_the_file_whole_and_leaves_nothing_beside_it(client, sparkml, tmp_path, monkeypatch):
    target = tmp_path / "churn.csv"
    assert sparkml("experiments", "export", "churn", target).code == 0
    before = target.read_text()
    with target.open() as file:
        assert [row["params.a"] for row in csv.DictReader(file)] == ["1", "0"]

    def breaking(*arguments, **options):
        yield from client.store.__class__.table_pages(client.store, *arguments, **options)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(client.store, "table_pages", breaking)
    said = sparkml("experiments", "export", "churn", target)
    assert said.code == 1
    assert "No space left on device" in said.err
    assert target.read_text() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["churn.csv", "lake"]


def test_an_unknown_ending_or_directory_is_refused(client, sparkml, tmp_path):
    said = sparkml("experiments", "export", "churn", tmp_path / "churn.xlsx")
    assert said.code == 1
    assert ".csv or .parquet" in said.err
    assert sparkml("experiments", "export", "churn", tmp_path / "no" / "churn.csv").code == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lake"]


def test_a_mistyped_lake_is_an_error_and_is_not_made(sparkml, tmp_path):
    said = sparkml("experiments", "list", "--lake", tmp_path / "nolake")
    assert said.code == 1
    assert "There is no lake at" in said.err
    assert list(tmp_path.iterdir()) == []


def _commands():
    for noun in ("experiments", "runs"):
        group = get_command(cli.app()).commands[noun]
        yield from ((noun, name, command.epilog) for name, command in group.commands.items())


@pytest.mark.parametrize(("noun", "name", "epilog"), list(_commands()))
def test_every_commands_help_has_an_example_that_can_be_typed(noun, name, epilog, sparkml, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert epilog.startswith(f"Example: sparkml {noun} {name} ")
    said = sparkml(*shlex.split(epilog.removeprefix("Example: sparkml ")))
    # whatever can be parsed gets as far as the lake that is not there
    assert said.code == 0 if name == "create" else "There is no lake at" in said.err
