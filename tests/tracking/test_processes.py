"""Children of every kind log: forked after the parent has used the lake, spawned, of a pre-forking server, and Spark's workers."""

import subprocess
import sys
from pathlib import Path

import pytest

import sparkml_lifecycle as ml

ROOT = Path(__file__).parents[2]


def run_process(what: str, lake: str) -> None:
    command = [sys.executable, "-m", "tests.tracking.processes", what, lake]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "not everything" not in done.stderr


def test_a_pool_of_forked_children_logs_runs_and_values(lake):
    run_process("pool-fork", lake)
    runs = ml.search_runs(experiment_names=["pool"], output_format="list")
    by_name = {run.info.run_name: run for run in runs}
    assert set(by_name) == {"parent", *(f"child-{i}" for i in range(6))}
    assert {run.info.status for run in runs} == {"FINISHED"}
    parent = by_name["parent"].info.run_id
    for number in range(6):
        child = by_name[f"child-{number}"].data
        assert (child.params["number"], child.metrics["loss"]) == (str(number), 1.0 / (number + 1))
        assert child.tags["mlflow.parentRunId"] == parent
    history = ml.LifecycleClient().get_metric_history(parent, "children")
    assert [point.step for point in history] == list(range(6))


def test_spawned_children_flush_at_their_end(lake):
    run_process("pool-spawn", lake)
    parent = ml.search_runs(experiment_names=["pool"], output_format="list")[0]
    history = ml.LifecycleClient().get_metric_history(parent.info.run_id, "children")
    assert [point.step for point in history] == [0, 1]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_what_the_workers_of_a_terminated_pool_logged_is_there(lake, method):
    run_process(f"terminated-{method}", lake)
    parent = ml.search_runs(experiment_names=["pool"], output_format="list")[0]
    history = ml.LifecycleClient().get_metric_history(parent.info.run_id, "children")
    assert [point.step for point in history] == list(range(20))


@pytest.mark.parametrize("method", ["fork", "spawn", "loky"])
def test_children_begin_runs_where_their_parent_does(lake, method):
    run_process(f"inherited-{method}", lake)
    runs = ml.search_runs(experiment_names=["pool"], output_format="list")
    assert sorted(run.info.run_name for run in runs) == [*(f"child-{number}" for number in range(4)), "parent"]
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert all("mlflow.parentRunId" not in run.data.tags for run in runs)


def test_a_pre_forking_servers_children_do_everything(lake):
    run_process("prefork", lake)
    experiments = ml.search_experiments()
    assert {one.name for one in experiments} == {"server", "renamed 0", "renamed 1"}
    for one in experiments:
        assert ml.search_runs(experiment_ids=[one.experiment_id], output_format="list") == []


def test_a_forked_child_leaves_its_parents_run_alone(lake):
    run_process("leave", lake)
    run = ml.search_runs(search_all_experiments=True, output_format="list")[0]
    assert run.info.status == "FINISHED"
    assert run.data.metrics == {"a": 1.0, "b": 2.0}


@pytest.mark.spark
def test_a_model_per_group_logs_from_sparks_workers(spark, lake):
    groups = 12
    experiment_id = ml.create_experiment("groups")
    frame = spark.range(groups * 10).selectExpr("id % 12 as g", "cast(id as double) as x").repartition(4, "g")

    def train(key, rows):
        import sparkml_lifecycle as ml

        ml.set_tracking_uri(lake)
        with ml.start_run(experiment_id=experiment_id, run_name=f"group-{key[0]}") as run:
            ml.log_params({"g": key[0]})
            for step in range(5):
                ml.log_metric("mean", float(rows.x.mean()) + step, step=step)
        rows["run_id"] = run.info.run_id
        return rows[["g", "run_id"]].head(1)

    found = frame.groupBy("g").applyInPandas(train, "g long, run_id string").collect()
    runs = ml.search_runs(experiment_ids=[experiment_id], output_format="list")
    assert {run.info.run_id for run in runs} == {row.run_id for row in found}
    assert len(runs) == groups
    for run in runs:
        assert run.info.status == "FINISHED"
        group = int(run.data.params["g"])
        points = ml.LifecycleClient().get_metric_history(run.info.run_id, "mean")
        mean = sum(range(group, groups * 10, 12)) / 10
        assert [point.value for point in points] == [mean + step for step in range(5)]
    # a short run is one commit of each table it wrote to, and at most two of `runs`
    client = ml.LifecycleClient()
    assert client.lake.table("runs").snapshot().handle.version() <= 2 * groups
    assert client.lake.table("metrics").snapshot().handle.version() < 2 * groups
