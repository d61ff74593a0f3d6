"""Bad input: a named error that says what to do, and nothing written."""

import pytest

from sparkml_lifecycle.errors import AlreadyExists, InvalidInput, LifecycleError, NotFound
from sparkml_lifecycle.registry.tables import RegistryRow

GONE = "0" * 32
CASES = [
    # names of models
    (lambda c, s: c.create_registered_model(""), InvalidInput, "not empty"),
    (lambda c, s: c.create_registered_model("   "), InvalidInput, "not empty"),
    (lambda c, s: c.create_registered_model(None), InvalidInput, "found None"),
    (lambda c, s: c.create_registered_model(3), InvalidInput, "found 3"),
    (lambda c, s: c.create_registered_model("a/b"), InvalidInput, "'/'"),
    (lambda c, s: c.create_registered_model("a:b"), InvalidInput, "':'"),
    (lambda c, s: c.create_registered_model("a@b"), InvalidInput, "'@'"),
    (lambda c, s: c.create_registered_model("a\nb"), InvalidInput, "control"),
    (lambda c, s: c.create_registered_model(".."), InvalidInput, r"'\.\.'"),
    (lambda c, s: c.create_registered_model(" a"), InvalidInput, "begin or end with a space"),
    (lambda c, s: c.create_registered_model("a" * 257), InvalidInput, "at most 256"),
    (lambda c, s: c.create_registered_model("\ud800"), InvalidInput, "no valid Unicode"),
    (lambda c, s: c.create_registered_model("churn"), AlreadyExists, "'churn' already"),
    (lambda c, s: c.create_registered_model("x", {"": 1}), InvalidInput, "not empty"),
    (lambda c, s: c.create_registered_model("x", {"k": "v" * 100_001}), InvalidInput, "at most 100000"),
    (lambda c, s: c.create_registered_model("x", ["k"]), InvalidInput, "given as a dict"),
    (lambda c, s: c.create_registered_model("x", None, 3), InvalidInput, "must be a text"),
    (lambda c, s: c.create_registered_model("x", None, "d" * 65_536), InvalidInput, "at most 65535"),
    (lambda c, s: c.rename_registered_model("churn", "fraud"), AlreadyExists, "'fraud' already"),
    (lambda c, s: c.rename_registered_model("churn", "a/b"), InvalidInput, "'/'"),
    (lambda c, s: c.rename_registered_model("chrun", "x"), NotFound, "Did you mean 'churn'"),
    (lambda c, s: c.get_registered_model("chrun"), NotFound, "Did you mean 'churn'"),
    (lambda c, s: c.delete_registered_model("nobody"), NotFound, "no registered model 'nobody'"),
    (lambda c, s: c.delete_registered_model_tag("churn", "k"), NotFound, "has no tag 'k'"),
    (lambda c, s: c.set_registered_model_tag("churn", "../k", 1), InvalidInput, "looks like a path"),
    # versions
    (lambda c, s: c.get_model_version("churn", 0), InvalidInput, "whole number from 1, found 0"),
    (lambda c, s: c.get_model_version("churn", -1), InvalidInput, "found -1"),
    (lambda c, s: c.get_model_version("churn", 1.0), InvalidInput, "found 1.0"),
    (lambda c, s: c.get_model_version("churn", "01"), InvalidInput, "found '01'"),
    (lambda c, s: c.get_model_version("churn", "v1"), InvalidInput, "found 'v1'"),
    (lambda c, s: c.get_model_version("churn", True), InvalidInput, "found True"),
    (lambda c, s: c.get_model_version("churn", None), InvalidInput, "found None"),
    (lambda c, s: c.get_model_version("churn", 9), NotFound, "no version 9; the newest are: 1"),
    (lambda c, s: c.get_model_version("churn", 2), NotFound, "was deleted on"),
    (lambda c, s: c.delete_model_version("churn", 2), NotFound, "was deleted on"),
    (lambda c, s: c.update_model_version("churn", 2, "x"), NotFound, "was deleted on"),
    (lambda c, s: c.set_model_version_tag("churn", 9, "k", "v"), NotFound, "no version 9"),
    (lambda c, s: c.set_model_version_tag("churn", 1), InvalidInput, "key must be given"),
    (lambda c, s: c.set_model_version_tag("churn", key="k", value="v"), InvalidInput, "either version or stage"),
    (lambda c, s: c.set_model_version_tag("churn", 1, "k", "v", "Production"), InvalidInput, "either version or stage"),
    (lambda c, s: c.set_model_version_tag("churn", key="k", value="v", stage="Staging"), NotFound, "not a version in Staging"),
    # sources
    (lambda c, s: c.create_model_version("nobody", s), NotFound, "no registered model 'nobody'"),
    (lambda c, s: c.create_model_version("churn", ""), InvalidInput, "empty URI"),
    (lambda c, s: c.create_model_version("churn", None), InvalidInput, "found NoneType"),
    (lambda c, s: c.create_model_version("churn", f"{s}/../../etc"), InvalidInput, r"holds '\.\.'"),
    (lambda c, s: c.create_model_version("churn", "file:///tmp/../etc"), InvalidInput, r"holds '\.\.'"),
    (lambda c, s: c.create_model_version("churn", f"runs:/{GONE}/../x"), InvalidInput, r"'\.\.'"),
    (lambda c, s: c.create_model_version("churn", s.parent / "nothing"), NotFound, "nothing at"),
    (lambda c, s: c.create_model_version("churn", s.parent), InvalidInput, "is no model"),
    (lambda c, s: c.create_model_version("churn", s / "MLmodel"), InvalidInput, "is no model"),
    (lambda c, s: c.create_model_version("churn", f"runs:/{GONE}/model"), NotFound, f"no run '{GONE}'"),
    (lambda c, s: c.create_model_version("churn", "runs:/abc/model"), InvalidInput, "does not name a run"),
    (lambda c, s: c.create_model_version("churn", s, run_id=GONE), NotFound, f"no run '{GONE}'"),
    (lambda c, s: c.create_model_version("churn", s, run_id="abc"), InvalidInput, "not a run id"),
    (lambda c, s: c.create_model_version("churn", "htp://x/y"), InvalidInput, "nothing here reads"),
    (lambda c, s: c.create_model_version("churn", "models:/churn"), InvalidInput, "does not name a model"),
    (lambda c, s: c.create_model_version("churn", "models:/churn/7"), NotFound, "no version 7"),
    (lambda c, s: c.create_model_version("churn", s, model_id="m-1"), InvalidInput, "model_id"),
    (lambda c, s: c.register_model(s, "a/b"), InvalidInput, "'/'"),
    (lambda c, s: c.copy_model_version(str(s), "x"), InvalidInput, "src_model_uri"),
    (lambda c, s: c.copy_model_version("models:/churn@nobody", "x"), NotFound, "no alias 'nobody'"),
    # stages and aliases
    (lambda c, s: c.transition_model_version_stage("churn", 1, "Prodution"), InvalidInput, "Did you mean 'Production'"),
    (lambda c, s: c.transition_model_version_stage("churn", 1, 3), InvalidInput, "3 is no stage"),
    (lambda c, s: c.transition_model_version_stage("churn", 1, "Archived", True), InvalidInput, "goes with Staging"),
    (lambda c, s: c.transition_model_version_stage("churn", 2, "Staging"), NotFound, "was deleted on"),
    (lambda c, s: c.get_latest_versions("churn", ["Prod"]), InvalidInput, "no stage"),
    (lambda c, s: c.set_registered_model_alias("churn", "3", 1), InvalidInput, "looks like a version"),
    (lambda c, s: c.set_registered_model_alias("churn", "v3", 1), InvalidInput, "looks like a version"),
    (lambda c, s: c.set_registered_model_alias("churn", "Latest", 1), InvalidInput, "looks like a version"),
    (lambda c, s: c.set_registered_model_alias("churn", "a b", 1), InvalidInput, "letters, digits"),
    (lambda c, s: c.set_registered_model_alias("churn", "", 1), InvalidInput, "not empty"),
    (lambda c, s: c.set_registered_model_alias("churn", "a" * 256, 1), InvalidInput, "at most 255"),
    (lambda c, s: c.set_registered_model_alias("churn", "champion", 2), NotFound, "was deleted on"),
    (lambda c, s: c.delete_registered_model_alias("churn", "nobody"), NotFound, "no alias 'nobody'"),
    (lambda c, s: c.get_model_version_by_alias("churn", "champion"), NotFound, "no alias 'champion'"),
    # comments, requests, fields
    (lambda c, s: c.create_model_version_comment("churn", 1, "  "), InvalidInput, "must not be empty"),
    (lambda c, s: c.update_model_version_comment("churn", 1, "4", "x"), NotFound, "no comment '4'"),
    (lambda c, s: c.request_transition("churn", 1, "Gone"), InvalidInput, "no stage"),
    (lambda c, s: c.approve("churn", 1), NotFound, "Nobody has asked"),
    (lambda c, s: c.reject("churn", 1, "Staging"), NotFound, "to Staging"),
    (lambda c, s: c.set_model_field("churn", "", "x"), InvalidInput, "not empty"),
    # URIs
    (lambda c, s: c.resolve("models:/churn"), InvalidInput, "does not name a model"),
    (lambda c, s: c.resolve("models:/churn/Prodution"), InvalidInput, "Did you mean 'Production'"),
    (lambda c, s: c.resolve("models:/churn/Production"), NotFound, "has not a version in Production"),
    (lambda c, s: c.resolve("models:/fraud/latest"), NotFound, "has not a version. Its versions by stage: none at all"),
    (lambda c, s: c.resolve("models:/churn/1/x"), InvalidInput, "does not name a model"),
    (lambda c, s: c.get_version_of("runs:/x"), InvalidInput, "."),
    (lambda c, s: c.get_model_history("nobody"), NotFound, "no registered model"),
    (lambda c, s: c.search_model_versions(max_results=0), InvalidInput, "1 or more"),
    (lambda c, s: c.search_model_versions(page_token="x"), InvalidInput, "page_token"),
]  # fmt: skip


@pytest.fixture
def lake(client, source):
    client.register_model(source, "churn")
    client.register_model(source, "churn")
    client.delete_model_version("churn", 2)
    client.create_registered_model("fraud")
    return client


@pytest.mark.parametrize(("call", "error", "said"), CASES)
def test_bad_input_is_named_and_writes_nothing(lake, source, call, error, said):
    def rows():
        return lake.lake.table(RegistryRow).to_arrow().num_rows

    before = rows()
    with pytest.raises(error, match=said) as raised:
        call(lake, source)
    assert isinstance(raised.value, LifecycleError)
    assert rows() == before


def test_reading_writes_nothing(tmp_path):
    from sparkml_lifecycle.client import LifecycleClient

    client = LifecycleClient(tmp_path / "none")
    with pytest.raises(NotFound):
        client.get_registered_model("x")
    assert client.search_registered_models() == []
    assert not (tmp_path / "none").exists()
