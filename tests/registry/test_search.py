"""Searching registered models and versions: the filter language, orders and pages."""

import pytest

from sparkml_lifecycle.errors import FilterError, InvalidInput
from tests.registry.models import log_mean


@pytest.fixture
def models(client, source):
    """Three models: churn with three versions, churn-eu and fraud with one each."""
    for name, tags in (("churn", {"team": "crm"}), ("churn-eu", {"team": "crm"}), ("fraud", {})):
        client.create_registered_model(name, tags)
        client.register_model(source, name, {"of": name})
    client.register_model(source, "churn", {"data": "march"})
    client.register_model(source, "churn", {"data": "april"})
    client.transition_model_version_stage("churn", 2, "Production")
    return client


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (None, "churn churn-eu fraud"),
        ("name = 'churn'", "churn"),
        ("name LIKE 'churn%'", "churn churn-eu"),
        ("name ILIKE 'CHURN%' and name != 'churn'", "churn-eu"),
        ("tags.team = 'crm'", "churn churn-eu"),
        ("tags.team IS NULL", "fraud"),
        ("tag.`mlflow.prompt.is_prompt` != 'true'", "churn churn-eu fraud"),
        ("name = 'fraud' or tags.team = 'crm'", "churn churn-eu fraud"),
        ("name IN ('fraud', 'none')", "fraud"),
        ("creation_timestamp > 0 and last_updated_timestamp < 1000", ""),
    ],
)
def test_models_are_found(models, text, names):
    assert [one.name for one in models.search_registered_models(text)] == names.split()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("name = 'churn'", "churn/3 churn/2 churn/1"),
        ("name = 'churn' and version_number >= 2", "churn/3 churn/2"),
        ("tags.data = 'march'", "churn/2"),
        ("stage = 'Production'", "churn/2"),
        ("stage = 'production' or stage IN ('STAGING')", "churn/2"),
        ("stage != 'none'", "churn/2"),
        ("stage = 'None' and name LIKE 'churn-%'", "churn-eu/1"),
        ("tags.of = 'fraud' or tags.data IN ('april')", "fraud/1 churn/3"),
        ("run_id IS NULL and name = 'fraud'", "fraud/1"),
        ("run_id = 'x'", ""),
    ],
)
def test_versions_are_found(models, text, found):
    asked = ["name desc", "version_number desc"]
    assert [f"{one.name}/{one.version}" for one in models.search_model_versions(text, order_by=asked)] == found.split()


def test_what_is_found_is_whole(models):
    assert models.search_registered_models("name = 'churn'") == [models.get_registered_model("churn")]
    assert models.search_model_versions("name = 'churn' and version_number = 2") == [
        models.get_model_version("churn", 2)
    ]
    models.set_registered_model_alias("churn", "champion", 2)
    assert models.search_model_versions("stage = 'Production'")[0].aliases == ["champion"]


def test_versions_by_run_and_source(client):
    _uri, run_id = log_mean(client, 1.0, registered_model_name="churn")
    source = client.get_model_version("churn", 1).source
    assert [one.version for one in client.search_model_versions(f"run_id = '{run_id}'")] == ["1"]
    assert [one.version for one in client.search_model_versions(f"source_path = '{source}'")] == ["1"]
    assert client.search_model_versions(f"run_id IN ('{run_id}', 'x')", order_by=["timestamp desc"])[0].run_id == run_id


def test_pages_follow_one_another_whatever_is_written_between(models, source):
    seen, token = [], None
    while True:
        page = models.search_model_versions("name LIKE 'churn%'", 2, ["name", "version_number"], token)
        seen += [f"{one.name}/{one.version}" for one in page]
        models.register_model(source, "fraud")
        token = page.token
        if token is None:
            break
    assert seen == ["churn/1", "churn/2", "churn/3", "churn-eu/1"]
    first = models.search_registered_models(max_results=2)
    assert [one.name for one in first] == ["churn", "churn-eu"]
    last = models.search_registered_models(max_results=2, page_token=first.token)
    assert [one.name for one in last] == ["fraud"]
    assert last.token is None
    with pytest.raises(InvalidInput, match="belongs to another search"):
        models.search_registered_models("name = 'x'", page_token=first.token)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("metrics.auc > 1", "has no metric 'auc'"),
        ("nmae = 'x'", "Did you mean 'name'"),
        ("version_number = 1", "no attribute 'version_number'"),
        ("creation_timestamp > 1.5", "milliseconds, a whole number"),
        ("name = churn", "quotes"),
        ("name", "comparison"),
    ],
)
def test_a_filter_that_cannot_be_read_says_so(client, text, said):
    with pytest.raises(FilterError, match=said):
        client.search_registered_models(text)


@pytest.mark.parametrize("text", ["version_number = 1.5", "version_number < 1e30", "version_number = nan"])
def test_versions_are_whole_numbers(client, text):
    with pytest.raises(FilterError, match="version_number is compared with a whole number"):
        client.search_model_versions(text)


def test_a_stage_that_is_none_is_a_slip(client):
    for text in ("stage = 'Productoin'", "stage IN ('None', 'Productoin')"):
        with pytest.raises(InvalidInput, match="Did you mean 'Production'"):
            client.search_model_versions(text)
    with pytest.raises(FilterError, match="A model version has no metric 'mae'"):
        client.search_model_versions("metrics.mae < 1")


def test_an_empty_lake_has_no_models(client):
    assert client.search_registered_models() == []
    assert client.search_model_versions("name = 'x'") == []
