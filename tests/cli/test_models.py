"""``sparkml models``: every command as a person calls it, tables and JSON."""

import shlex

import pytest
import typer
from deltalake import write_deltalake
from typer.main import get_command

from sparkml_lifecycle import cli
from sparkml_lifecycle.client import LifecycleClient
from tests.registry.models import FRAME, log_mean, save_mean


@pytest.fixture
def client(lake):
    """churn with three versions of the mae 3, 2 and 4, the first in Production and the champion."""
    client = LifecycleClient(lake)
    for mae in (3.0, 2.0, 4.0):
        log_mean(client, mae, metrics={"mae": mae}.items(), registered_model_name="churn")
    client.transition_model_version_stage("churn", 1, "Production")
    client.set_registered_model_alias("churn", "champion", 1)
    yield client
    client.close()


def test_lists_and_what_is_shown(client, sparkml):
    said = sparkml("models", "list")
    assert (said.code, said.err) == (0, "")
    row = next(line for line in said.out.splitlines() if line.strip().startswith("churn"))
    assert row.split()[1:4] == ["3", "Production", "1"]
    assert "@champion 1" in row
    [model] = sparkml("models", "list", "--filter", "name = 'churn'", "--json").json["models"]
    assert model["aliases"] == {"champion": "1"}
    assert model["creation_timestamp"].endswith("Z")
    assert sparkml("models", "list", "--filter", "name = 'x'").out == "No registered models like that.\n"
    found = sparkml("models", "versions", "churn", "--filter", "stage = 'Production'", "--json").json["versions"]
    assert [one["version"] for one in found] == ["1"]
    assert "Archived" not in sparkml("models", "versions").out
    assert "@champion = 1" in sparkml("models", "show", "churn").out
    for selector in ("1", "Production", "@champion"):
        assert sparkml("models", "show", "churn", selector, "--json").json["version"] == "1"
    assert sparkml("models", "show", "churn", "latest", "--json").json["run_id"]
    before = sparkml("models", "show", "churn", "Production", "--as-of", "2020-01-01T00:00Z")
    assert (before.code, before.out) == (1, "")
    assert "at 2020-01-01" in before.err


def test_what_changes_models(client, sparkml, tmp_path, monkeypatch):
    place = save_mean(tmp_path / "saved", 1.0)
    assert sparkml("models", "create", "fraud", "--description", "who cheats", "--tag", "team=risk").code == 0
    assert "version 1 of 'fraud'" in sparkml("models", "register", place, "fraud", "--tag", "k=v").out
    assert sparkml("models", "rename", "fraud", "cheats", "--json").json["name"] == "cheats"
    assert sparkml("models", "describe", "cheats", "the first", "--version", "1").code == 0
    assert sparkml("models", "tag", "cheats", "a", "b").code == 0
    assert sparkml("models", "tag", "cheats", "k", "--remove", "--version", "latest").code == 0
    assert (
        sparkml("models", "stage", "cheats", "1", "staging", "--comment", "try").out
        == "Version 1 of 'cheats' is in Staging now.\n"
    )
    assert "models:/cheats@best is version 1 now" in sparkml("models", "alias", "cheats", "best", "1").out
    assert "is gone" in sparkml("models", "alias", "cheats", "best", "--remove").out
    one = client.get_model_version("cheats", 1)
    assert (one.description, one.tags, one.current_stage) == ("the first", {}, "Staging")
    assert client.get_registered_model("cheats").tags == {"team": "risk", "a": "b"}
    refused = sparkml("models", "delete", "cheats", "--yes")
    assert (refused.code, refused.out) == (1, "")
    assert "Move it to Archived" in refused.err
    asked = []
    monkeypatch.setattr(typer, "confirm", lambda text, **_: asked.append(text))
    assert sparkml("models", "delete", "cheats", "Staging").code == 1
    assert sparkml("models", "delete", "cheats", "1", "--comment", "wrong").code == 0
    assert asked == ["Version 1 of 'cheats' is Staging. Delete it?"]
    assert "with 0 versions" in sparkml("models", "delete", "cheats", "--yes").out


def test_comments_requests_and_answers(client, sparkml, monkeypatch):
    assert sparkml("models", "comment", "churn", "2", "better in the south").code == 0
    assert "better in the south" in sparkml("models", "comment", "churn", "2").out
    assert sparkml("models", "comment", "churn", "2", "better in the north", "--change", "1").code == 0
    assert [one["text"] for one in sparkml("models", "comment", "churn", "2", "--json").json["comments"]] == [
        "better in the north"
    ]
    assert sparkml("models", "comment", "churn", "2", "--remove", "1").code == 0
    assert sparkml("models", "comment", "churn", "2").out == "No comments on version 2 of 'churn'.\n"
    assert sparkml("models", "comment", "churn", "2", "--change", "1").code == 2
    assert (
        "Somebody else approves" in sparkml("models", "request", "churn", "2", "Production", "--archive-existing").out
    )
    assert sparkml("models", "requests", "churn", "--json").json["requests"][0]["stage"] == "Production"
    own = sparkml("models", "approve", "churn", "2")
    assert own.code == 1
    assert "somebody else approves it" in own.err
    assert "stays in None" in sparkml("models", "reject", "churn", "2", "--comment", "not yet").out
    assert sparkml("models", "requests", "churn").out == "Nobody waits for an answer about 'churn'.\n"


def test_the_history_tells_who_from_to_and_why(client, sparkml):
    client.transition_model_version_stage(
        "churn", 2, "Production", archive_existing_versions=True, comment="march data"
    )
    said = sparkml("models", "history", "churn")
    last = said.out.strip().splitlines()[-1]
    assert "stage" in last
    assert "march data" in last
    found = sparkml("models", "history", "churn", "--version", "1", "--json").json["history"]
    assert [(one["what"], one["before"], one["after"]) for one in found[-1:]] == [("stage", "Production", "Archived")]
    assert all(one["timestamp"].endswith("Z") for one in found)


def test_verify_ends_with_one_where_a_model_was_changed(client, sparkml):
    said = sparkml("models", "verify")
    assert (said.code, said.out.splitlines()[-1]) == (0, "3 versions, 0 not what was registered.")
    (client.resolve("models:/churn/2") / "more").write_text("x")
    said = sparkml("models", "verify", "churn")
    assert said.code == 1
    assert "Version 2 of the model 'churn' is not what was registered" in said.out
    documents = sparkml("models", "verify", "churn", "--json")
    assert [one["intact"] for one in documents.json["versions"]] == [True, False, True]
    assert sparkml("models", "verify", "churn", "@champion").code == 0


def test_a_gate_lets_through_or_not_by_exit_code(client, sparkml, tmp_path):
    import pandas as pd

    refused = sparkml(
        "models", "promote", "churn", "3", "--to", "Production", "--require", "metrics.mae <= champion.mae * 1.01"
    )
    assert refused.code == 1
    assert "✗" in refused.out
    assert refused.out.splitlines()[-1] == "Not passed: version 3 of 'churn' was not moved to Production."
    passed = sparkml(
        "models", "promote", "churn", "2", "--to", "Production", "--to", "@champion", "--require", "metrics.mae <= 12.5",
        "--require", "metrics.mae <= champion.mae * 1.01", "--check-signature", "--check-load", "--comment", "ci run 7",
    )  # fmt: skip
    assert passed.code == 0, passed
    assert passed.out.count("✓") == 4
    write_deltalake(tmp_path / "truth", pd.concat([FRAME, pd.DataFrame({"y": [2.0, 4.0]})], axis=1))
    measured = sparkml(
        "models", "promote", "churn", "3", "--to", "Production", "--require", "metrics.mae <= champion.mae", "--evaluate",
        tmp_path / "truth", "--label", "y", "--json",
    )  # fmt: skip
    assert measured.json["passed"] is True
    assert measured.json["checks"][0]["found"] == "metrics.mae = 1, champion.mae = 1"
    assert sparkml("models", "promote", "churn", "9", "--to", "Production").code == 1


def test_a_card_a_copy_and_back(client, sparkml, tmp_path):
    assert sparkml("models", "field", "churn", "owner", "CRM").code == 0
    said = sparkml("models", "card", "churn", "@champion", "--out", tmp_path / "card.md")
    assert said.code == 0
    assert "## Owner\n\n> CRM" in (tmp_path / "card.md").read_text()
    said = sparkml("models", "copy", "churn@champion", "--to", tmp_path / "other", "--name", "churn-prod")
    assert "is version 1 of 'churn-prod' in" in said.out
    assert sparkml("models", "verify", "--lake", tmp_path / "other").code == 0
    assert (
        sparkml("models", "copy", "churn-prod/1", "--lake", tmp_path / "other", "--to", client.tracking_uri).code == 0
    )
    assert sparkml("models", "import", "http://127.0.0.1:1").code == 1


def test_every_example_is_a_command_with_its_options(client):
    group = get_command(cli.app()).commands["models"]
    for name, command in group.commands.items():
        words = shlex.split(command.epilog.removeprefix("Example: "))
        words = [word for word in words if "=" not in word or not word.startswith("SPARKML_")]
        assert words[:3] == ["sparkml", "models", name]
        command.make_context(name, words[3:])
        assert {"lake", "as_json"} <= {parameter.name for parameter in command.params}
