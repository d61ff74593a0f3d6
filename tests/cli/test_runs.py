import csv
import json
import os
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from sparkml_lifecycle import data
from sparkml_lifecycle.client import LifecycleClient
from sparkml_lifecycle.entities import DatasetInput, InputTag

LONG = "a value of many words " * 40


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A lake with four runs of ``churn`` (see below) and one of ``Größen [beta]``: its place, and the run ids by name."""
    place = str(tmp_path_factory.mktemp("runs") / "lake")
    client = LifecycleClient(place)
    churn, other = client.create_experiment("churn"), client.create_experiment("Größen [beta]")
    ids = {}
    for name, experiment, auc, depth in (
        ("small", churn, 0.8, 3),
        ("large", churn, 0.9, 6),
        ("broken", churn, float("nan"), 6),
        ("endless", churn, float("inf"), 9),
        ("Übung", other, 0.85, 3),
    ):
        run_id = ids[name] = client.create_run(experiment, run_name=name).info.run_id
        client.log_param(run_id, "depth", depth)
        client.log_param(run_id, "rate", 0.1)
        client.log_metric(run_id, "auc", auc)
        for step, loss in enumerate((0.75, 0.25, 0.5)):
            client.log_metric(run_id, "loss", loss, step=step)
        client.set_terminated(run_id)
    large = ids["large"]
    client.log_param(large, "note", LONG)
    client.set_tag(large, "colour", "\x1b[31mred [bold]and bold")
    frame = pd.DataFrame({"a": [1, 2]})
    train = data.from_pandas(frame, source="s3://bucket/train.csv", name="train")
    client.log_inputs(large, [DatasetInput(train, (InputTag("mlflow.data.context", "training"),))])
    client.log_text(large, "hello", "model/MLmodel")
    client.log_text(large, "x" * 2000, "model/data/weights.bin")
    client.log_text(large, "ü", "notes.txt")
    client.close()
    return place, ids


@pytest.fixture
def ask(runs, sparkml):
    """``sparkml runs …`` on that lake."""
    return lambda command, *arguments: sparkml("runs", command, *arguments, "--lake", runs[0])


def _names(said):
    return [run["run_name"] for run in said.json["runs"]]


def test_the_list_has_the_latest_first_and_tells_of_more(runs, ask):
    said = ask("list", "--limit", 2)
    ids = [
        line.split()[0] for line in said.out.splitlines() if line.strip()[:3].isalnum() and len(line.split()[0]) == 32
    ]
    assert ids == [runs[1]["Übung"], runs[1]["endless"]]
    assert "2 runs shown, and there are more" in said.out
    assert "Größen [beta]" in said.out
    assert _names(ask("list", "--experiment", "churn", "--json")) == ["endless", "broken", "large", "small"]
    assert _names(ask("list", "-e", "1", "-e", "2", "--limit", 1, "--json")) == ["Übung"]
    assert ask("list", "--limit", 0).code == 2


def test_a_search_shows_what_it_compares(runs, ask):
    said = ask("search", "metrics.loss.min < 0.3 and params.depth = '6'", "--order-by", "metrics.auc desc")
    heading, large, broken = (said.out.splitlines()[row].split() for row in (2, 4, 5))
    assert heading[-4:] == ["loss.min", "depth", "auc", "loss"]
    assert [large[1], broken[1]] == ["large", "broken"]
    assert {"0.25", "0.9", "6"} <= set(large)
    assert "NaN" in broken


def test_order_and_columns_can_be_joined_by_commas(ask):
    said = ask(
        "search", "metrics.loss > 0", "--experiment", "churn", "--order-by", "params.depth desc, metrics.auc asc",
        "--only", "params.depth,metrics.loss.min", "--only", "metrics.nothing", "--json",
    )  # fmt: skip
    assert _names(said) == ["endless", "large", "broken", "small"]
    assert [(run["params"], run["metrics"]) for run in said.json["runs"]][1] == ({"depth": "6"}, {"loss.min": 0.25})
    assert "tags" not in said.json["runs"][0]


def test_a_column_that_no_run_has_is_there_and_empty(ask):
    said = ask("search", "metrics.auc = 0.9", "--only", "params.nothing,metrics.nothing,params.depth")
    heading, row = (said.out.splitlines()[place].split() for place in (2, 4))
    assert heading[-3:] == ["params.nothing", "metrics.nothing", "depth"]
    assert row[-3:] == ["–", "–", "6"]


def test_json_has_nan_and_infinities_as_text(ask):
    found = ask("search", "metrics.loss > 0", "--experiment", "churn", "--json").json
    assert found["more"] is False
    by_name = {run["run_name"]: run["metrics"]["auc"] for run in found["runs"]}
    assert by_name == {"small": 0.8, "large": 0.9, "broken": "NaN", "endless": "Infinity"}
    assert float(by_name["broken"]) != float(by_name["broken"])
    started = datetime.fromisoformat(found["runs"][0]["start_time"])
    assert (started.tzinfo, (datetime.now(UTC) - started).days) == (UTC, 0)


def test_a_filter_that_cannot_be_read_is_marked(ask):
    said = ask("search", "metrics.auc > 'x'")
    assert (said.code, said.out) == (1, "")
    assert said.err.splitlines()[1:] == ["  metrics.auc > 'x'", "                ^"]


def test_as_of_is_an_answer_of_then(ask, lake, sparkml):
    client = LifecycleClient(lake)
    run_id = client.create_run(client.create_experiment("churn"), run_name="a").info.run_id
    client.log_metric(run_id, "auc", 0.5, step=0)
    client.flush()
    then = datetime.now(UTC)
    client.log_metric(run_id, "auc", 0.75, step=1)
    client.flush()
    for moment in (then.isoformat(), then.astimezone().replace(tzinfo=None).isoformat()):
        assert sparkml("runs", "search", "metrics.auc > 0", "--as-of", moment, "--json").json["runs"][0]["metrics"] == {
            "auc": 0.5
        }
        table = sparkml("runs", "search", "metrics.auc > 0", "--as-of", moment).out
        assert "0.5" in table
        assert "0.75" not in table
    assert sparkml("runs", "search", "metrics.auc > 0", "--as-of", "2001-01-01").out == "No runs like that.\n"
    assert sparkml("runs", "search", "metrics.auc > 0", "--as-of", "yesterday").code == 2


def test_all_of_a_run_is_shown(runs, ask):
    run_id = runs[1]["large"]
    said = ask("show", run_id[-10:])
    assert said.code == 0
    for part in (run_id, "churn (id 1)", "FINISHED", "depth", "(880 characters)", "train", "s3://bucket/train.csv"):
        assert part in said.out
    assert next(line.split() for line in said.out.splitlines() if line.split()[:1] == ["loss"]) == [
        "loss", "0.5", "2", "0.25", "0.75",
    ]  # fmt: skip
    assert "\x1b" not in said.out
    assert "␛[31mred [bold]and bold" in said.out
    assert "weights.bin  2.0 kB" in said.out
    shown = ask("show", run_id, "--json").json
    assert shown["metrics"]["loss"] | {"timestamp": ""} == {
        "last": 0.5, "step": 2, "timestamp": "", "smallest": 0.25, "largest": 0.75,
    }  # fmt: skip
    assert shown["params"]["note"] == LONG
    assert shown["tags"]["colour"].startswith("\x1b")
    assert shown["inputs"][0]["tags"] == {"mlflow.data.context": "training"}
    assert {"path": "model/data/weights.bin", "size": 2000} in shown["artifacts"]
    broken = ask("show", runs[1]["broken"], "--json").json["metrics"]["auc"]
    assert (broken["last"], broken["smallest"]) == ("NaN", None)


def test_ids_are_completed_and_what_fits_several_is_not_guessed(runs, ask):
    first, second = runs[1]["small"], runs[1]["large"]
    assert ask("show", first[:31], "--json").json["run_id"] == first
    said = ask("show", first[:4])
    assert (said.code, said.out) == (1, "")
    assert said.err.count("\n") == 0
    assert f"{second} (large)" in said.err
    said = ask("show", "small")
    assert said.code == 1
    assert "run_name = 'small'" in said.err
    assert "There is no run whose id" in ask("show", "ffffffff").err


def test_a_history_has_every_point_with_every_digit(runs, ask, lake, sparkml):
    said = ask("history", runs[1]["large"], "loss")
    assert [line.split()[:2] for line in said.out.splitlines()[4:7]] == [["0", "0.75"], ["1", "0.25"], ["2", "0.5"]]
    last = ask("history", runs[1]["large"], "loss", "--limit", 1, "--json").json
    assert (last["total"], [point["step"] for point in last["points"]]) == (3, [2])
    assert "Did you mean 'loss'" in ask("history", runs[1]["large"], "lsos").err
    client = LifecycleClient(lake)
    run_id = client.create_run(client.create_experiment("long")).info.run_id
    for step in range(150):
        client.log_metric(run_id, "loss", step / 7, step=step)
    said = sparkml("runs", "history", run_id, "loss")
    assert "The last 100 of 150 points" in said.out
    assert repr(149 / 7) in said.out
    assert len(sparkml("runs", "history", run_id, "loss", "--json").json["points"]) == 150


def test_a_comparison_shows_what_differs(runs, ask):
    ids = [runs[1][name] for name in ("small", "large")]
    said = ask("compare", *ids)
    rows = [line.split() for line in said.out.splitlines() if line.startswith(" ≠")]
    assert ["≠", "param", "depth", "3", "6"] in rows
    assert ["≠", "metric", "auc", "0.8", "0.9"] in rows
    assert "rate" not in said.out
    assert "Equal: 2 params and metrics. --all shows them." in said.out
    everything = ask("compare", *ids, "--all")
    assert any(line.split() == ["param", "rate", "0.1", "0.1"] for line in everything.out.splitlines())
    found = ask("compare", *ids, "--json").json
    assert found["params"]["note"] == {"differs": True, "values": {ids[0]: None, ids[1]: LONG}}
    assert list(found["metrics"]) == ["auc"]
    assert ask("compare", ids[0], ids[0]).code == 2


def test_a_comparison_shows_the_digits_that_differ_and_nan_is_nan(lake, sparkml):
    client = LifecycleClient(lake)
    experiment = client.create_experiment("close")
    ids = []
    for value in (0.812345678, 0.812345679):
        ids.append(client.create_run(experiment).info.run_id)
        client.log_metric(ids[-1], "auc", value)
        client.log_metric(ids[-1], "loss", float("nan"))
    said = sparkml("runs", "compare", *ids)
    assert "0.812345678 " in said.out
    assert "0.812345679" in said.out
    assert "loss" not in said.out


def test_runs_are_deleted_and_restored(lake, sparkml):
    client = LifecycleClient(lake)
    experiment = client.create_experiment("churn")
    first, second = (client.create_run(experiment, run_name=name).info.run_id for name in ("a", "b"))
    client.flush()
    assert sparkml("runs", "delete", first, "ffffffff").code == 1
    assert client.get_run(first).info.lifecycle_stage == "active"
    said = sparkml("runs", "delete", first, second[-12:], first)
    assert said.out == (
        f"Deleted 2 runs: {first} (a), {second} (b). To bring them back: sparkml runs restore {first} {second}\n"
    )
    assert sparkml("runs", "delete", first).out == f"Deleted already: {first} (a).\n"
    assert sparkml("runs", "list").out == "No runs yet.\n"
    assert _names(sparkml("runs", "list", "--deleted", "--json")) == ["b", "a"]
    assert "RUNNING, deleted" in sparkml("runs", "list", "--all").out
    client.delete_experiment(experiment)
    said = sparkml("runs", "restore", second)
    assert said.out == (
        f"Restored 1 run: {second} (b). The experiment 'churn' is still deleted: sparkml experiments restore 1\n"
    )
    assert sparkml("runs", "restore", first, second, "--json").json == {"restored": [first], "unchanged": [second]}


def test_an_export_has_the_filtered_runs_with_the_chosen_columns_in_that_order(ask, tmp_path):
    target = tmp_path / "best.csv"
    said = ask(
        "export", target, "--filter", "metrics.loss > 0", "-e", "churn", "--order-by", "params.depth, metrics.auc desc",
        "--only", "metrics.loss.min,metrics.auc,params.depth",
    )  # fmt: skip
    assert said.out == f"Wrote 4 runs to {target}.\n"
    with target.open() as file:
        header, *rows = csv.reader(file)
    assert header == [
        "run_id", "experiment_id", "status", "artifact_uri", "start_time", "end_time", "metrics.loss.min", "metrics.auc",
        "params.depth",
    ]  # fmt: skip
    assert [row[-3:] for row in rows] == [
        ["0.25", "0.8", "3"], ["0.25", "0.9", "6"], ["0.25", "nan", "6"], ["0.25", "inf", "9"],
    ]  # fmt: skip
    whole = tmp_path / "all.parquet"
    assert ask("export", whole, "--limit", 4, "--json").json == {"file": str(whole), "runs": 4}
    table = pq.read_table(whole)
    assert (str(table.schema.field("start_time").type), table.num_rows) == ("timestamp[ms, tz=UTC]", 4)
    assert table["params.depth"].to_pylist() == ["3", "9", "6", "6"]


def test_names_of_files_and_directories_do_nothing_to_the_terminal(runs, ask):
    client = LifecycleClient(runs[0])
    client.log_text(runs[1]["endless"], "x", "\x1b[31mred/[bold]\x9b1m.txt")
    client.close()
    for command in ("show", "artifacts"):
        said = ask(command, runs[1]["endless"]).out
        assert not {"\x1b", "\x9b"} & set(said)
        assert "␛[31mred/" in said
        assert "[bold]�1m.txt" in said


def test_artifacts_are_listed_and_copied(runs, ask, tmp_path):
    run_id = runs[1]["large"]
    said = ask("artifacts", run_id)
    assert said.out.startswith(f"Artifacts of {run_id}: 3 files, 2.0 kB\n")
    below = ask("artifacts", run_id, "model/", "--json").json["files"]
    assert below == [{"path": "model/MLmodel", "size": 5}, {"path": "model/data/weights.bin", "size": 2000}]
    said = ask("artifacts", run_id, "model", "--download", tmp_path / "here")
    assert said.out == f"Copied 2 files, 2.0 kB, to {tmp_path / 'here' / 'model'}.\n"
    assert (tmp_path / "here" / "model" / "MLmodel").read_text() == "hello"
    one = ask("artifacts", run_id, "notes.txt", "--download", tmp_path, "--json").json
    assert one["downloaded_to"] == str(tmp_path / "notes.txt")
    said = ask("artifacts", run_id, "modle")
    assert said.code == 1
    assert "Did you mean 'model'?" in said.err
    assert ask("artifacts", runs[1]["small"]).out == f"The run {runs[1]['small']} has no artifacts.\n"
    assert ask("artifacts", runs[1]["small"], "--download", tmp_path).code == 0


@pytest.mark.parametrize("width", [40, 80, 200])
def test_ids_and_numbers_are_whole_on_every_terminal(runs, ask, monkeypatch, width):
    # rich takes an output that is no terminal for one
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", str(width))
    said = ask("search", "metrics.loss > 0", "--only", "metrics.auc,params.depth,params.note")
    for run_id in runs[1].values():
        assert any(run_id in line and "FINISHED" in line for line in said.out.splitlines())
    assert "Infinity" not in said.out
    assert sum("inf" in line for line in said.out.splitlines()) == 1
    assert runs[1]["large"] in ask("show", runs[1]["large"]).out


def test_a_pipe_that_closes_early_is_no_error_to_read(runs, lake):
    client = LifecycleClient(lake)
    run_id = client.create_run(client.create_experiment("long")).info.run_id
    for step in range(3000):
        client.log_metric(run_id, "loss", step / 7, step=step)
    client.close()
    code = "from sparkml_lifecycle.cli import main; main()"
    for more in (["--json"], ["--limit", "3000"]):
        command = [sys.executable, "-c", code, "runs", "history", run_id, "loss", "--lake", lake, *more]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.read(10)
            process.stdout.close()
            assert process.stderr.read() == b""
        assert process.returncode not in (0, None)


def test_what_an_encoding_cannot_say_is_escaped_in_json_and_replaced_in_tables(runs):
    def listed(*more: str) -> bytes:
        command = [sys.executable, "-c", "from sparkml_lifecycle.cli import main; main()", "runs", "list", *more]
        environment = {**os.environ, "PYTHONIOENCODING": "ascii", "SPARKML_TRACKING_URI": runs[0]}
        done = subprocess.run(command, env=environment, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b"")
        return done.stdout

    assert json.loads(listed("--json"))["runs"][0]["experiment_name"] == "Größen [beta]"
    assert b"Gr??en [beta]" in listed()


def _readme():
    section = (Path(__file__).parent.parent.parent / "README.md").read_text().split("## Command line")[1]
    block = section.split("```bash\n")[1].split("```")[0]
    # whether jq is installed is not ours to say
    return [shlex.split(line.partition(" | ")[0], comments=True) for line in block.splitlines()]


def test_the_readmes_commands_run(lake, sparkml, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    client = LifecycleClient(lake)
    experiment, ids = client.create_experiment("ATTRI_PRO"), {}
    for variable in ("$RUN", "$OTHER"):
        ids[variable] = run_id = client.create_run(experiment).info.run_id
        for key in ("mae", "november_mae"):
            client.log_metric(run_id, key, 13.5)
        client.log_text(run_id, "hello", "model/MLmodel")
        client.set_terminated(run_id)
    for command, *arguments in _readme():
        assert command == "sparkml"
        said = sparkml(*(ids.get(one, one) for one in arguments))
        assert (said.code, said.err) == (0, ""), arguments
        assert said.out
    assert (tmp_path / "here" / "model" / "MLmodel").is_file()
    assert pq.read_table(tmp_path / "best.parquet").num_rows == 2
