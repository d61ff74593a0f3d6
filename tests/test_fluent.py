import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path

import pandas as pd
import pytest

from sparkml_lifecycle import current
from sparkml_lifecycle import fluent as ml
from sparkml_lifecycle.client import LifecycleClient
from sparkml_lifecycle.errors import AlreadyExists, InvalidInput, NotFound

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def lake(tmp_path):
    before = current.tracking_uri()
    ml.set_tracking_uri(tmp_path / "mllake")
    yield tmp_path / "mllake"
    while ml.active_run():
        ml.end_run()
    LifecycleClient().close()
    ml.set_tracking_uri(before)
    current.set_tracking_uri(None)


def test_the_calls_that_notebooks_are_built_on(tmp_path):
    (tmp_path / "roc.txt").write_text("x")
    ml.set_experiment("churn")
    with ml.start_run(run_name="gbm", description="first try", tags={"a": 1}) as run:
        assert ml.active_run().info.run_id == run.info.run_id
        ml.log_params({"depth": 6})
        ml.log_param("rate", 0.1)
        ml.log_metric("auc", 0.91, step=3)
        ml.log_metrics({"loss": 1.0, "f1": 0.5}, step=1)
        ml.set_tag("team", "crm")
        ml.set_tags({"x": 1, "y": 2})
        ml.delete_tag("x")
        ml.log_artifact(tmp_path / "roc.txt")
        ml.log_text("t", "a/t.txt")
        ml.log_dict({}, "d.json")
        ml.log_table({"c": [1]}, "t.json")
        ml.log_artifacts(tmp_path / "mllake" / "experiments", "tables")
        assert ml.get_artifact_uri("a") == f"{run.info.artifact_uri}/a"
    assert ml.active_run() is None
    found = ml.get_run(run.info.run_id)
    assert found.info.status == "FINISHED"
    assert found.data.metrics == {"auc": 0.91, "loss": 1.0, "f1": 0.5}
    assert found.data.params == {"depth": "6", "rate": "0.1"}
    tags = found.data.tags
    assert (tags["team"], tags["mlflow.runName"], tags["mlflow.note.content"], tags["a"], tags["y"]) == (
        "crm",
        "gbm",
        "first try",
        "1",
        "2",
    )
    assert {"mlflow.user", "mlflow.source.name", "mlflow.source.type"} <= set(tags)
    assert "x" not in tags
    assert ml.last_active_run().info.run_id == run.info.run_id
    frame = ml.search_runs(experiment_names=["churn"], filter_string="metrics.auc > 0.9", order_by=["metrics.auc desc"])
    assert frame.columns[:6].tolist() == ["run_id", "experiment_id", "status", "artifact_uri", "start_time", "end_time"]
    row = frame.iloc[0]
    assert (row["run_id"], row["metrics.auc"], row["params.depth"], row["tags.team"]) == (
        run.info.run_id,
        0.91,
        "6",
        "crm",
    )
    assert isinstance(row["start_time"], pd.Timestamp)
    assert ml.search_runs(filter_string="metrics.auc > 0.95").empty
    assert [one.info.run_id for one in ml.search_runs(output_format="list")] == [run.info.run_id]
    assert len(ml.search_runs(search_all_experiments=True)) == 1


def test_a_search_gives_no_more_than_asked_over_pages(monkeypatch):
    monkeypatch.setattr(ml, "_PAGE", 2)
    ml.set_experiment("e")
    for number in range(5):
        with ml.start_run(run_name=str(number)):
            pass
    assert ml.search_runs()["tags.mlflow.runName"].tolist() == list("43210")
    assert ml.search_runs(max_results=3)["tags.mlflow.runName"].tolist() == list("432")


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError, "FAILED"), (KeyboardInterrupt, "KILLED"), (SystemExit, "FAILED")]
)
def test_a_run_that_fails_says_so(error, status):
    with pytest.raises(error), ml.start_run() as run:
        raise error
    assert ml.get_run(run.info.run_id).info.status == status
    assert ml.active_run() is None


def test_runs_nest(lake):
    with ml.start_run() as outer:
        with pytest.raises(InvalidInput, match="nested=True"):
            ml.start_run()
        with ml.start_run(nested=True) as inner:
            ml.log_metric("m", 1)
        ml.log_metric("m", 2)
    assert ml.get_parent_run(inner.info.run_id).info.run_id == outer.info.run_id
    assert ml.get_run(inner.info.run_id).data.metrics == {"m": 1.0}
    assert ml.get_run(outer.info.run_id).data.metrics == {"m": 2.0}
    with ml.start_run(parent_run_id=outer.info.run_id) as other:
        pass
    assert ml.get_parent_run(other.info.run_id).info.run_id == outer.info.run_id


def test_a_run_goes_on():
    with ml.start_run() as run:
        ml.log_param("a", 1)
    with ml.start_run(run_id=run.info.run_id, tags={"again": "yes"}) as same:
        assert same.info.status == "RUNNING"
        ml.log_param("a", 1)
        ml.log_param("b", 2)
    found = ml.get_run(run.info.run_id)
    assert (found.info.status, found.data.params, found.data.tags["again"]) == ("FINISHED", {"a": "1", "b": "2"}, "yes")
    ml.delete_run(run.info.run_id)
    with pytest.raises(InvalidInput, match="deleted"):
        ml.start_run(run_id=run.info.run_id)


def test_a_value_starts_a_run_in_the_default_experiment():
    ml.log_metric("m", 1)
    run = ml.active_run()
    assert run.info.experiment_id == "0"
    ml.end_run("KILLED")
    assert ml.get_run(run.info.run_id).info.status == "KILLED"
    assert ml.get_experiment("0").name == "Default"


def test_a_thread_logs_to_the_run_of_the_main_thread_or_to_its_own():
    ids = []

    def work():
        ml.log_metric("from_thread", 1)
        with ml.start_run(run_name="thread") as own:
            ml.log_metric("mine", 1)
        ids.append(own.info.run_id)
        ml.log_metric("after", 1)

    with ml.start_run() as run:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert set(ml.get_run(run.info.run_id).data.metrics) == {"from_thread", "after"}
    assert set(ml.get_run(ids[0]).data.metrics) == {"mine"}


@pytest.mark.parametrize("nested", [False, True])
def test_tasks_side_by_side_are_not_each_others_children(nested):
    async def job(name):
        with ml.start_run(run_name=name, nested=nested) as run:
            await asyncio.sleep(0.01)
            ml.log_param("name", name)
            with ml.start_run(nested=True) as child:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.01)
            ml.log_metric("m", 1)
        return run.info.run_id, child.info.run_id

    async def main():
        return await asyncio.gather(*map(job, "abc"))

    ids = asyncio.run(main())
    assert ml.active_run() is None
    for (run_id, child), name in zip(ids, "abc", strict=True):
        run = ml.get_run(run_id)
        assert (run.info.status, run.data.params, run.data.metrics) == ("FINISHED", {"name": name}, {"m": 1.0})
        assert ml.get_parent_run(run_id) is None
        assert ml.get_parent_run(child).info.run_id == run_id


def test_tasks_inside_a_run_are_its_children():
    async def job():
        with ml.start_run(nested=True) as run:
            await asyncio.sleep(0.01)
        return run.info.run_id

    async def main():
        with ml.start_run() as run:
            return run.info.run_id, await asyncio.gather(job(), job())

    outer, inner = asyncio.run(main())
    assert [ml.get_parent_run(one).info.run_id for one in inner] == [outer, outer]


def test_a_run_that_a_task_left_open_belongs_to_the_process_once_the_task_is_over():
    async def cell():
        return ml.start_run().info.run_id

    async def notebook():
        # a cell runs in a task and context of its own
        run_id = await asyncio.create_task(cell())
        return run_id, await asyncio.create_task(after())

    async def after():
        with pytest.raises(InvalidInput, match="nested=True"):
            ml.start_run()
        ml.log_metric("m", 1)
        return ml.active_run().info.run_id

    run_id, active = asyncio.run(notebook())
    assert run_id == active
    ml.end_run()
    assert ml.get_run(run_id).data.metrics == {"m": 1.0}
    assert ml.active_run() is None


def _in_a_thread(work):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def test_a_with_that_is_left_in_another_thread_ends_the_run():
    def values():
        with ml.start_run():
            yield

    generator = values()
    next(generator)
    run_id = ml.active_run().info.run_id
    _in_a_thread(lambda: next(generator, None))
    assert ml.get_run(run_id).info.status == "FINISHED"
    assert ml.active_run() is None
    with ml.start_run() as other:
        assert other.data.tags.get("mlflow.parentRunId") is None
    with ml.start_run(run_id=run_id):
        assert ml.active_run().info.run_id == run_id


def test_a_run_that_was_ended_by_hand_is_not_ended_again():
    with ml.start_run() as run:
        ml.end_run("KILLED")
    assert ml.get_run(run.info.run_id).info.status == "KILLED"
    with ml.start_run() as run:
        # a thread that has begun none leaves the others' alone
        _in_a_thread(lambda: ml.end_run("KILLED"))
        assert ml.active_run().info.status == "RUNNING"
    assert ml.get_run(run.info.run_id).info.status == "FINISHED"


def test_threads_that_go_on_with_one_run_do_not_take_it_from_each_other():
    with ml.start_run() as run:
        pass
    first, second = threading.Event(), threading.Event()

    def early():
        with ml.start_run(run_id=run.info.run_id):
            second.wait(30)
        first.set()

    def late():
        with ml.start_run(run_id=run.info.run_id):
            second.set()
            first.wait(30)
            ml.log_metric("late", 1)
            assert ml.active_run().info.run_id == run.info.run_id

    threads = [threading.Thread(target=work) for work in (early, late)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ml.get_run(run.info.run_id).data.metrics == {"late": 1.0}
    assert len(ml.search_runs()) == 1


def test_experiments():
    first = ml.create_experiment("churn", tags={"a": 1})
    assert ml.set_experiment("churn").experiment_id == first
    assert ml.set_experiment(experiment_id=first).name == "churn"
    ml.set_experiment_tag("b", 2)
    assert ml.get_experiment(first).tags == {"a": "1", "b": "2"}
    assert [one.name for one in ml.search_experiments(filter_string="name LIKE 'ch%'")] == ["churn"]
    with pytest.raises(AlreadyExists):
        ml.create_experiment("churn")
    with pytest.raises(NotFound, match="Did you mean 'churn'"):
        ml.search_runs(experiment_names=["chrun"])
    with pytest.raises(InvalidInput, match="either"):
        ml.set_experiment()
    ml.delete_experiment(first)
    with pytest.raises(InvalidInput, match="deleted"):
        ml.set_experiment("churn")
    assert ml.get_experiment_by_name("other") is None


def test_another_lake_has_its_own_experiments(tmp_path):
    ml.set_experiment("here")
    ml.set_tracking_uri(f"file://{tmp_path}/other")
    assert ml.get_tracking_uri() == f"{tmp_path}/other"
    with ml.start_run() as run:
        pass
    assert run.info.experiment_id == "0"
    LifecycleClient().close()


def test_no_uri_goes_back_to_the_settings(tmp_path, monkeypatch):
    monkeypatch.setenv("SPARKML_TRACKING_URI", str(tmp_path / "chosen"))
    ml.set_tracking_uri(None)
    assert ml.get_tracking_uri() == str(tmp_path / "chosen")
    assert ml.is_tracking_uri_set()
    monkeypatch.delenv("SPARKML_TRACKING_URI")
    assert not ml.is_tracking_uri_set()
    assert ml.get_tracking_uri().endswith("/mllake")


@pytest.mark.parametrize("uri", ["http://localhost:5000", "sqlite:///mlruns.db", "databricks"])
def test_a_lake_that_is_none_is_refused_at_once(uri, lake, monkeypatch):
    with pytest.raises(InvalidInput):
        ml.set_tracking_uri(uri)
    assert ml.get_tracking_uri() == str(lake)
    with pytest.raises(InvalidInput):
        LifecycleClient(uri)


def test_a_run_stays_in_its_lake(tmp_path, lake):
    with ml.start_run() as run:
        ml.set_tracking_uri(tmp_path / "other")
        ml.log_metric("m", 1)
        ml.log_param("p", 1)
        ml.set_tag("t", 1)
        ml.log_text("x", "a.txt")
        assert ml.get_artifact_uri("a.txt").startswith(str(lake))
        assert ml.active_run().info.run_id == run.info.run_id
        with pytest.raises(InvalidInput, match="a child lies beside its parent"):
            ml.start_run(nested=True)
    found = LifecycleClient(lake).get_run(run.info.run_id)
    assert (found.info.status, found.data.metrics, found.data.params) == ("FINISHED", {"m": 1.0}, {"p": "1"})
    assert ml.last_active_run().info.run_id == run.info.run_id
    assert not (tmp_path / "other").exists()


def test_a_relative_lake_does_not_move_with_the_working_directory(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    ml.set_tracking_uri(None)
    with ml.start_run() as run:
        monkeypatch.chdir(tmp_path / "b")
        ml.log_metric("m", 1)
    assert LifecycleClient(tmp_path / "a" / "mllake").get_run(run.info.run_id).data.metrics == {"m": 1.0}
    assert not (tmp_path / "b" / "mllake").exists()
    LifecycleClient(tmp_path / "a" / "mllake").close()


def test_a_text_is_a_list_of_one():
    ids = [ml.create_experiment(f"e{number}") for number in range(12)]
    with ml.start_run(experiment_id=ids[11]) as run:
        ml.log_metric("auc", 0.9)
        ml.log_table({"a": [1]}, "t.json")
    ml.set_experiment(experiment_id=ids[11])
    client, wanted = LifecycleClient(), run.info.run_id
    assert ml.search_runs(experiment_ids=ids[11], order_by="metrics.auc", only="metrics.auc")["run_id"].tolist() == [
        wanted
    ]
    assert ml.search_runs(experiment_names="e11")["metrics.auc"].tolist() == [0.9]
    assert client.search_runs(ids[11], order_by="metrics.auc desc")[0].info.run_id == wanted
    assert client.search_table(ids[11], order_by="metrics.auc", only="params").num_rows == 1
    assert ml.search_experiments(order_by="name desc")[0].name == "e9"
    assert ml.load_table("t.json", run_ids=wanted, extra_columns="run_id")["run_id"].tolist() == [wanted]


def test_system_metrics_are_not_promised():
    with pytest.raises(InvalidInput, match="not measured"):
        ml.start_run(log_system_metrics=True)
    with ml.start_run(log_system_metrics=False):
        pass


@pytest.mark.parametrize(("ending", "status"), [("", "FINISHED"), ("raise ValueError('x')", "FAILED")])
def test_a_script_that_forgets_to_end_its_run(lake, ending, status):
    code = f"from sparkml_lifecycle import fluent as ml\nml.log_metric('m', 1)\nprint(ml.active_run().info.run_id, flush=True)\n{ending}"
    environment = {"SPARKML_TRACKING_URI": str(lake), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    run = ml.get_run(done.stdout.strip())
    assert run.info.status == status
    assert run.data.metrics == {"m": 1.0}


def test_a_user_and_a_script_whose_names_are_no_utf8_can_log(lake, tmp_path):
    script = os.fsencode(tmp_path) + b"/tr\xff.py"
    with open(script, "w") as file:
        file.write(
            "from sparkml_lifecycle import fluent as ml\nwith ml.start_run() as run:\n    print(run.info.run_id)"
        )
    for variable in (b"LOGNAME", b"SPARKML_USER"):
        environment = {b"SPARKML_TRACKING_URI": os.fsencode(lake), variable: b"a\xff", b"PYTHONPATH": os.fsencode(ROOT)}
        done = subprocess.run(
            [sys.executable, script], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.stderr == ""
        run = ml.get_run(done.stdout.strip())
        assert (run.info.user_id, run.data.tags["mlflow.user"]) == ("a?", "a?")
        assert run.data.tags["mlflow.source.name"] == f"{tmp_path}/tr?.py"


def test_a_script_that_forgets_its_run_and_changes_the_lake_ends_it_where_it_is(lake, tmp_path):
    code = (
        "from sparkml_lifecycle import fluent as ml\nml.log_metric('m', 1)\nprint(ml.active_run().info.run_id)\n"
        f"ml.set_tracking_uri({str(tmp_path / 'other')!r})"
    )
    environment = {"SPARKML_TRACKING_URI": str(lake), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == ""
    assert ml.get_run(done.stdout.strip()).info.status == "FINISHED"


def test_the_commit_is_read_from_git(tmp_path, lake):
    from sparkml_lifecycle.origin import _git_commit

    git = tmp_path / "repo" / ".git"
    (git / "refs" / "heads").mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    (tmp_path / "repo" / "deep").mkdir()
    assert _git_commit(tmp_path / "repo" / "deep") is None
    (git / "packed-refs").write_text("# pack-refs\n" + "a" * 40 + " refs/heads/main\n")
    assert _git_commit(tmp_path / "repo" / "deep") == "a" * 40
    (git / "refs" / "heads" / "main").write_text("b" * 40 + "\n")
    assert _git_commit(tmp_path / "repo") == "b" * 40


def test_a_nested_run_of_a_thread_is_a_child_of_the_run_that_its_values_go_to(lake):
    def work():
        with ml.start_run(nested=True) as child:
            children.append(child.info.run_id)
        ml.end_run()

    children = []
    with ml.start_run() as run:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert ml.active_run().info.run_id == run.info.run_id
        assert ml.get_run(run.info.run_id).info.status == "RUNNING"
    assert ml.get_run(children[0]).data.tags["mlflow.parentRunId"] == run.info.run_id


def test_what_was_chosen_is_in_the_environment_of_children_and_goes_again(lake, tmp_path, monkeypatch):
    monkeypatch.setenv("SPARKML_TRACKING_URI", "./elsewhere")
    ml.set_tracking_uri(tmp_path / "here")
    experiment = ml.set_experiment("e")
    assert os.environ["SPARKML_TRACKING_URI"] == str(tmp_path / "here")
    assert os.environ["SPARKML_EXPERIMENT_ID"] == experiment.experiment_id
    ml.set_tracking_uri(tmp_path / "there")
    assert "SPARKML_EXPERIMENT_ID" not in os.environ
    ml.set_tracking_uri(None)
    assert os.environ["SPARKML_TRACKING_URI"] == "./elsewhere"


def test_what_contradicts_itself_is_refused(lake):
    with ml.start_run() as run:
        pass
    with pytest.raises(InvalidInput, match="is of experiment 0, not of 7"):
        ml.start_run(run_id=run.info.run_id, experiment_id="7")
    with pytest.raises(InvalidInput, match="either experiment_ids or experiment_names"):
        ml.search_runs(experiment_ids=["0"], experiment_names=["Default"])
    assert dict(run.info)["run_id"] == run.info.run_id
    assert dict(ml.get_experiment("0"))["name"] == "Default"
