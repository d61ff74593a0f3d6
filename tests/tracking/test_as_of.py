"""Answers as of a time: runs, tables and searches, through compaction and removal."""

import time
from datetime import UTC, datetime

import pytest

import sparkml_lifecycle as ml
from sparkml_lifecycle import maintenance
from sparkml_lifecycle.errors import NotFound


def moment():
    """A time between what was logged before and after it."""
    time.sleep(0.002)
    now = datetime.now(UTC)
    time.sleep(0.002)
    return now


@pytest.fixture
def history(lake):
    """A run that gets better, is renamed, tagged anew and deleted, with the moments in between."""
    client = ml.LifecycleClient()
    experiment = client.create_experiment("e")
    before = moment()
    run = client.create_run(experiment, run_name="first", tags={"team": "crm"}).info.run_id
    client.log_metric(run, "loss", 0.5, step=1)
    client.log_param(run, "depth", 6)
    begun = moment()
    client.log_metric(run, "loss", 0.1, step=2)
    client.set_tag(run, "team", "risk")
    client.set_terminated(run)
    ended = moment()
    client.delete_run(run)
    return client, experiment, run, before, begun, ended


def check(client, experiment, run, before, begun, ended):
    assert client.search_runs([experiment], as_of=before) == []
    with pytest.raises(NotFound, match="There was no run"):
        client.get_run(run, as_of=before)
    then = client.get_run(run, as_of=begun)
    assert (then.info.status, then.data.metrics, then.data.params, then.data.tags["team"]) == (
        "RUNNING",
        {"loss": 0.5},
        {"depth": "6"},
        "crm",
    )
    assert client.search_runs([experiment], "metrics.loss < 0.3", as_of=begun) == []
    found = client.search_runs([experiment], "metrics.loss < 0.3 and tags.team = 'risk'", as_of=ended)
    assert [(one.info.run_id, one.info.status) for one in found] == [(run, "FINISHED")]
    assert client.lake.table("metrics").to_pandas(as_of=begun)["value"].tolist() == [0.5]
    table = ml.search_runs(experiment_ids=[experiment], as_of=begun)
    assert table["metrics.loss"].tolist() == [0.5]


def test_answers_are_what_they_were(history):
    client, experiment, *_ = history
    check(*history)
    assert client.search_runs([experiment]) == []


def test_they_stay_so_through_upkeep_and_removal(history):
    client, experiment, run, *_ = history
    maintenance.maintain(client.lake, retention_hours=0)
    check(*history)
    removed = maintenance.collect(client)
    assert removed.runs == (run,)
    maintenance.maintain(client.lake, retention_hours=0)
    check(*history)
    with pytest.raises(NotFound, match="removed for good"):
        client.get_run(run)
    assert client.search_runs([experiment], run_view_type=3) == []


@pytest.mark.spark
def test_spark_reads_the_tables_as_of_a_time(spark, history):
    client, _, run, _, begun, _ = history
    metrics = client.lake.table("metrics")
    assert [row.value for row in metrics.to_spark(spark, as_of=begun).collect()] == [0.5]
    plain = spark.read.format("delta").load(metrics.storage.uri)
    assert sorted(row.value for row in plain.where(f"run_id = '{run}'").collect()) == [0.1, 0.5]
