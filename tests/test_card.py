"""Model cards: what they say, what they show as empty, and that nothing a person wrote runs in them."""

import pyarrow as pa
import pytest
from deltalake import write_deltalake

import sparkml_lifecycle as ml
from sparkml_lifecycle import card
from sparkml_lifecycle.errors import InvalidInput, NotFound
from tests.registry.conftest import client, source  # noqa: F401
from tests.registry.models import log_mean


def test_a_card_says_what_is_known(client, tmp_path):  # noqa: F811
    write_deltalake(tmp_path / "flights", pa.table({"a": [1.0]}))
    _, run_id = log_mean(client, 2.0, metrics={"mae": 3.0}.items(), registered_model_name="churn")
    for step in range(1, 5):
        client.log_metric(run_id, "mae", 3.0 / step, step=step)
    client.log_metric(run_id, "val/mae", 4.0)
    with ml.start_run(run_id=run_id):
        ml.log_input(ml.data.load_delta(path=str(tmp_path / "flights")), context="training")
    client.set_model_field("churn", "owner", "CRM team")
    client.set_model_field("churn", "limits", "flights within the US", version=1)
    client.set_model_field("churn", "reviewed_by", "Ann")
    client.set_registered_model_alias("churn", "champion", 1, comment="first of all")
    written = card.write(client, "churn", 1, tmp_path / "cards" / "churn.md")
    text = written.read_text()
    for said in (
        "# churn, version 1", "| aliases | @champion |", "## Owner\n\n> CRM team", "## Limits\n\n> flights within the US",
        "## Reviewed by\n\n> Ann", "## Intended use\n\n_(empty: what it is for)_", "pyfunc.load_model('models:/churn/1')",
        "| inputs | a | double |", "| training | ", "| value | 2.0 |", "| mae | 0.75 | 0.75 | 3 | 4 |", "scikit-learn==", "first of all",
        "![mae](churn_files/mae.png)",
    ):  # fmt: skip
        assert said in text, said
    assert "/flights | 0 |" in text
    assert (tmp_path / "cards" / "churn_files" / "mae.png").read_bytes().startswith(b"\x89PNG")
    assert "val_mae.png" not in text


def test_what_nobody_said_is_shown_as_empty(client, source, tmp_path, monkeypatch):  # noqa: F811
    client.register_model(source, "a model")
    monkeypatch.chdir(tmp_path)
    written = card.write(client, "a model", 1)
    assert written.name == "a_model-1.md"
    text = written.read_text()
    assert text.count("_(empty") == 7
    assert not (tmp_path / "a_model-1_files").exists()


def test_what_people_wrote_is_shown_and_not_run(client, source, tmp_path):  # noqa: F811
    client.register_model(source, "churn", {"t": "a|b\n# <script>x</script>"})
    client.update_model_version("churn", 1, "[x](javascript:1) `code`")
    text = card.write(client, "churn", 1, tmp_path / "c.md").read_text()
    assert "<script>" not in text
    assert "a\\|b # \\<script\\>" in text
    assert "\\[x\\](javascript:1) \\`code\\`" in text


def test_a_changed_model_has_a_card_that_says_so(client, source, tmp_path):  # noqa: F811
    client.register_model(source, "churn")
    (source / "more").write_text("x")
    assert (
        "The files cannot be read: Version 1 of the model 'churn' is not what was registered"
        in card.write(client, "churn", 1, tmp_path / "c.md").read_text()
    )


def test_bad_targets_and_versions(client, source, tmp_path):  # noqa: F811
    client.register_model(source, "churn")
    with pytest.raises(InvalidInput, match=r"ends with \.md"):
        card.write(client, "churn", 1, tmp_path / "c.html")
    with pytest.raises(NotFound):
        card.write(client, "churn", 2, tmp_path / "c.md")
