"""Bad inputs: each is an error of errors.py that says what is wrong, and nothing of the call is written."""

import base64
import io
import json
import pickle
from datetime import date, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pytest

import sparkml_lifecycle as ml
from sparkml_lifecycle import artifacts, current, data, maintenance
from sparkml_lifecycle.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from sparkml_lifecycle.errors import (
    AlreadyExists,
    FilterError,
    FormatError,
    InvalidInput,
    LifecycleError,
    NotFound,
    StorageError,
)

BUILTIN = {
    InvalidInput: ValueError, FilterError: ValueError, NotFound: KeyError, AlreadyExists: FileExistsError,
    FormatError: ValueError, StorageError: OSError,
}  # fmt: skip
NOBODY = "f" * 32
LONG = "x" * 10_000
HALF = "\ud800"
DATASET = Dataset("d", "1", "code", "{}")
LOOP: list[object] = []
LOOP.append(LOOP)


def of_a_dataset(**changed):
    return DatasetInput(Dataset(**{**vars(DATASET), **changed}))


def forged(token, place):
    """A page token with the digest of its search, but another place."""
    digest = json.loads(base64.urlsafe_b64decode(token))[1]
    return base64.urlsafe_b64encode(json.dumps([place, digest]).encode()).decode()


EXPERIMENTS = [
    ("no name", lambda c: c.client.create_experiment(""), InvalidInput, "not empty"),
    ("a name of blanks", lambda c: c.client.create_experiment("  "), InvalidInput, "not empty"),
    ("None for a name", lambda c: c.client.create_experiment(None), InvalidInput, "not empty"),
    ("a number for a name", lambda c: ml.create_experiment(5), InvalidInput, "found 5"),
    ("a long name", lambda c: c.client.create_experiment("x" * 501), InvalidInput, "at most 500"),
    ("a name on two lines", lambda c: c.client.create_experiment("a\nb"), InvalidInput, "line break"),
    ("half a character in a name", lambda c: c.client.create_experiment(HALF), InvalidInput, "Unicode"),
    ("a name that is taken", lambda c: c.client.create_experiment("churn"), AlreadyExists, "exists already"),
    ("a deleted one's name", lambda c: c.client.create_experiment("deleted"), AlreadyExists, "Restore that one"),
    ("a bad tag", lambda c: c.client.create_experiment("e", tags={"ok": 1, "a\nb": 2}), InvalidInput, "key 'a"),
    ("tags that are a list", lambda c: ml.create_experiment("e", tags=["a"]), InvalidInput, "a dict"),
    ("an unknown scheme", lambda c: c.client.create_experiment("e", "ftp://h/x"), InvalidInput, "scheme 'ftp'"),
    ("an id that is not there", lambda c: c.client.get_experiment("77"), NotFound, "'77'"),
    ("None for an id", lambda c: c.client.get_experiment(None), NotFound, "no experiment"),
    ("deleting nothing", lambda c: c.client.delete_experiment("77"), NotFound, "'77'"),
    ("restoring nothing", lambda c: ml.restore_experiment("../1"), NotFound, "'../1'"),
    ("renaming nothing", lambda c: c.client.rename_experiment("77", "x"), NotFound, "'77'"),
    ("renaming to nothing", lambda c: c.client.rename_experiment("1", None), InvalidInput, "not empty"),
    ("renaming to a taken name", lambda c: c.client.rename_experiment("1", "other"), AlreadyExists, "exists"),
    ("renaming a deleted one", lambda c: c.client.rename_experiment("2", "x"), InvalidInput, "Restore it"),
    ("a tag of nothing", lambda c: c.client.set_experiment_tag("77", "a", 1), NotFound, "'77'"),
    ("a tag's bad key", lambda c: c.client.set_experiment_tag("1", "../a", 1), InvalidInput, "leaves its place"),
    ("a late bad tag", lambda c: ml.set_experiment_tags({"a": 1, "b": LONG}), InvalidInput, "at most 8000"),
    ("a tag that is not there", lambda c: c.client.delete_experiment_tag("1", "x"), NotFound, "no tag 'x'"),
    ("neither name nor id", lambda c: ml.set_experiment(), InvalidInput, "either"),
    ("name and id", lambda c: ml.set_experiment("churn", "1"), InvalidInput, "either"),
    ("choosing a deleted one", lambda c: ml.set_experiment("deleted"), InvalidInput, "is deleted"),
]  # fmt: skip

RUNS = [
    ("a run in no experiment", lambda c: c.client.create_run("77"), NotFound, "'77'"),
    ("a run in a deleted experiment", lambda c: c.client.create_run("2"), InvalidInput, "Restore it"),
    ("a start that is no time", lambda c: c.client.create_run("1", "today"), InvalidInput, "whole number"),
    ("a start after the year 9999", lambda c: c.client.create_run("1", 10**18), InvalidInput, "9999"),
    ("a run's bad tag", lambda c: c.client.create_run("1", tags={"a": 1, "b;": 1}), InvalidInput, "'b;'"),
    ("a run's tags in a list", lambda c: c.client.create_run("1", tags=["a"]), InvalidInput, "a dict"),
    ("a run's long name", lambda c: c.client.create_run("1", run_name=LONG), InvalidInput, "at most 8000"),
    ("a name that is half a character", lambda c: c.client.update_run(c.run, name=HALF), InvalidInput, "Unicode"),
    ("a run that is not there", lambda c: c.client.get_run(NOBODY), NotFound, "no run"),
    ("no run id", lambda c: c.client.get_run("../../etc"), InvalidInput, "32 hex digits"),
    ("None for a run id", lambda c: c.client.get_run(None), InvalidInput, "32 hex digits"),
    ("a list for a run id", lambda c: c.client.log_metric([c.run], "m", 1), InvalidInput, "32 hex digits"),
    ("a run as of a naive time", lambda c: c.client.get_run(c.run, datetime.now()), InvalidInput, "time zone"),
    ("a run as of a text", lambda c: c.client.get_run(c.run, "2026-01-01"), InvalidInput, "datetime"),
    ("a run as of before it", lambda c: c.client.get_run(c.run, c.long_ago), NotFound, "There was no run"),
    ("an unknown status", lambda c: c.client.set_terminated(c.run, "DONE"), InvalidInput, "FINISHED"),
    ("a number for a status", lambda c: c.client.update_run(c.run, 3), InvalidInput, "FINISHED"),
    ("a near status", lambda c: c.client.update_run(c.run, "finished"), InvalidInput, "Did you mean 'FINISHED'"),
    ("an end that is no time", lambda c: c.client.set_terminated(c.run, end_time="x"), InvalidInput, "whole"),
    ("deleting no run", lambda c: c.client.delete_run(NOBODY), NotFound, "no run"),
    ("restoring no run", lambda c: ml.restore_run("abc"), InvalidInput, "32 hex digits"),
    ("a part that fits nothing", lambda c: c.client.complete_run_id("ffff"), NotFound, "begins or ends"),
    ("starting beside an active run", lambda c: ml.start_run(), InvalidInput, "is active"),
    ("going on with a deleted run", lambda c: ml.start_run(c.deleted, nested=True), InvalidInput, "is deleted"),
    ("going on with a bad tag", lambda c: ml.start_run(c.run, nested=True, tags={"": 1}), InvalidInput, "empty"),
    ("a child of nothing", lambda c: ml.start_run(nested=True, parent_run_id=NOBODY), NotFound, "no run"),
    ("ending with an unknown status", lambda c: ml.end_run("DONE"), InvalidInput, "Allowed"),
]  # fmt: skip

LOGGED = [
    ("no metric key", lambda c: ml.log_metric("", 1), InvalidInput, "not empty"),
    ("a metric key that climbs", lambda c: ml.log_metric("../../x", 1), InvalidInput, "leaves its place"),
    ("a metric key with a quote", lambda c: c.client.log_metric(c.run, "a'b", 1), InvalidInput, "letters"),
    ("a metric key that is a number", lambda c: ml.log_metrics({5: 1.0}), InvalidInput, "found 5"),
    ("a metric key that is a list", lambda c: c.client.log_metric(c.run, ["m"], 1), InvalidInput, "found .'m'"),
    ("a metric that is a word", lambda c: ml.log_metric("m", "high"), InvalidInput, "found str"),
    ("a metric that is None", lambda c: ml.log_metric("m", None), InvalidInput, "found NoneType"),
    ("a metric that is an array", lambda c: ml.log_metric("m", np.zeros(2)), InvalidInput, "found ndarray"),
    ("a metric too large for a float", lambda c: ml.log_metric("m", 10**400), InvalidInput, "number"),
    ("half a step", lambda c: ml.log_metric("m", 1, step=1.5), InvalidInput, "whole number"),
    ("a step that is NaN", lambda c: ml.log_metric("m", 1, step=float("nan")), InvalidInput, "whole"),
    ("a step of 65 bits", lambda c: ml.log_metric("m", 1, step=2**63), InvalidInput, "64 bits"),
    ("a time that is a word", lambda c: ml.log_metric("m", 1, timestamp="now"), InvalidInput, "timestamp"),
    ("a bad metric among others", lambda c: ml.log_metrics({"ok": 1, "no": "x"}), InvalidInput, "'no'"),
    ("metrics in a list", lambda c: ml.log_metrics(["auc"]), InvalidInput, "a dict"),
    ("a metric's long model id", lambda c: ml.log_metric("m", 1, model_id=LONG), InvalidInput, "at most 500"),
    ("a metric of a frame", lambda c: ml.log_metric("m", 1, dataset=c.frame), InvalidInput, "from_pandas"),
    ("a metric of a deleted run", lambda c: c.client.log_metric(c.deleted, "m", 1), InvalidInput, "deleted"),
    ("a metric of no run", lambda c: c.client.log_metric(NOBODY, "m", 1), NotFound, "no run"),
    ("a param that changes", lambda c: ml.log_param("depth", 7), InvalidInput, "never change"),
    ("a param that changes late", lambda c: ml.log_params({"n": 1, "depth": 7}), InvalidInput, "never change"),
    ("a long param", lambda c: ml.log_param("p", LONG), InvalidInput, "at most 6000"),
    ("a param's bad key", lambda c: ml.log_params({"ok": 1, "a//b": 2}), InvalidInput, "leaves its place"),
    ("params in a list", lambda c: ml.log_params([("a", 1)]), InvalidInput, "a dict"),
    ("a long tag", lambda c: ml.set_tag("t", LONG), InvalidInput, "at most 8000"),
    ("half a character in a tag", lambda c: ml.set_tags({"a": 1, "b": HALF}), InvalidInput, "Unicode"),
    ("a tag's long key", lambda c: ml.set_tag("k" * 251, 1), InvalidInput, "at most 250"),
    ("tags in a text", lambda c: ml.set_tags("a=1"), InvalidInput, "a dict"),
    ("a tag that is not there", lambda c: ml.delete_tag("t"), NotFound, "no tag 't'"),
    ("1,001 metrics", lambda c: c.client.log_batch(c.run, [Metric("m", 1.0, 1)] * 1001), InvalidInput, "1000 metr"),
    ("101 params", lambda c: c.client.log_batch(c.run, params=[Param("p", "1")] * 101), InvalidInput, "100 params"),
    ("101 tags", lambda c: c.client.log_batch(c.run, tags=[RunTag("t", "1")] * 101), InvalidInput, "100 tags"),
    ("a late bad metric", lambda c: ml.log_batch([Metric("m", 1.0, 1), Metric("n", None, 1)]), InvalidInput, "'n'"),
    ("a late bad param", lambda c: c.batch(params=[Param("new", "1"), Param("depth", "9")]), InvalidInput, "never"),
    ("a late bad tag", lambda c: c.batch(tags=[RunTag("new", "1"), RunTag("..", "1")]), InvalidInput, "'..'"),
    ("a tuple for a metric", lambda c: c.batch(metrics=[("m", 1.0)]), InvalidInput, "Metric"),
    ("a dict of params", lambda c: c.batch(params={"a": 1}), InvalidInput, "Param"),
    ("a tuple for a tag", lambda c: c.batch(tags=[("a", 1)]), InvalidInput, "RunTag"),
    ("a batch of a deleted run", lambda c: c.client.log_batch(c.deleted), InvalidInput, "deleted"),
    ("a frame for a data set", lambda c: ml.log_input(c.frame), InvalidInput, "ml.data.from_pandas"),
    ("a data set without its input", lambda c: c.client.log_inputs(c.run, [DATASET]), InvalidInput, "DatasetInput"),
    ("a long digest", lambda c: c.client.log_inputs(c.run, [of_a_dataset(digest="x" * 37)]), InvalidInput, "36"),
    ("a late long name", lambda c: c.inputs(of_a_dataset(), of_a_dataset(name=LONG)), InvalidInput, "at most 500"),
    ("a source that is no text", lambda c: c.inputs(of_a_dataset(source=5)), InvalidInput, "source"),
    ("a schema that is no text", lambda c: c.inputs(of_a_dataset(schema={})), InvalidInput, "schema"),
    ("half a character in a profile", lambda c: c.inputs(of_a_dataset(profile=HALF)), InvalidInput, "Unicode"),
    ("a long context", lambda c: ml.log_input(DATASET, LONG), InvalidInput, "at most 500"),
    ("a tag that is no tag", lambda c: c.inputs(DatasetInput(DATASET, ("a",))), InvalidInput, "InputTag"),
    ("an input's bad key", lambda c: c.inputs(DatasetInput(DATASET, (InputTag("", "1"),))), InvalidInput, "empty"),
    ("more contexts than data sets", lambda c: ml.log_inputs([DATASET], ["a", "b"]), InvalidInput, "go together"),
    ("no such Delta table", lambda c: ml.log_input(data.load_delta("/nothing")), NotFound, "no Delta table"),
]  # fmt: skip

FILES = [
    ("a file that is not there", lambda c: ml.log_artifact("/nothing"), NotFound, "no file"),
    ("None for a file", lambda c: ml.log_artifact(None), InvalidInput, "a path"),
    ("a file for a directory", lambda c: ml.log_artifacts(c.here / "note.txt"), NotFound, "log_artifact()"),
    ("a place that climbs", lambda c: ml.log_artifact(c.here / "note.txt", "a/../../b"), InvalidInput, "relative"),
    ("an absolute place", lambda c: ml.log_artifacts(c.here, "/etc"), InvalidInput, "relative"),
    ("a drive", lambda c: ml.log_text("x", "C:/x"), InvalidInput, "relative"),
    ("a backslash that climbs", lambda c: ml.log_text("x", "..\\x"), InvalidInput, "relative"),
    ("no name of a text", lambda c: ml.log_text("x", ""), InvalidInput, "relative"),
    ("None for a name", lambda c: ml.log_text("x", None), InvalidInput, "text"),
    ("a number for a text", lambda c: ml.log_text(5, "x.txt"), InvalidInput, "text"),
    ("half a character in a text", lambda c: ml.log_text(HALF, "x.txt"), InvalidInput, "Unicode"),
    ("a text below a file", lambda c: ml.log_text("x", "note.txt/x"), StorageError, "note.txt"),
    ("a text in a directory's place", lambda c: ml.log_text("x", "deep"), StorageError, "deep"),
    ("a text of a deleted run", lambda c: ml.log_text("x", "x.txt", run_id=c.deleted), InvalidInput, "deleted"),
    ("a text of no run", lambda c: ml.log_text("x", "x.txt", run_id="x"), InvalidInput, "32 hex"),
    ("a dict that holds itself", lambda c: ml.log_dict(LOOP, "x.json"), InvalidInput, "JSON"),
    ("a dict with keys JSON has not", lambda c: ml.log_dict({(1, 2): 3}, "x.json"), InvalidInput, "JSON"),
    ("YAML of an object", lambda c: ml.log_dict({"a": object()}, "x.yaml"), InvalidInput, "YAML"),
    ("a dict named None", lambda c: ml.log_dict({}, None), InvalidInput, "text"),
    ("a figure that is none", lambda c: ml.log_figure(object(), "x.png"), InvalidInput, "matplotlib"),
    ("a figure's unknown format", lambda c: ml.log_figure(c.figure(), "x.xyz"), InvalidInput, "x.xyz"),
    ("a figure that climbs", lambda c: ml.log_figure(c.figure(), "../x.png"), InvalidInput, "relative"),
    ("an image of one dimension", lambda c: ml.log_image([1, 2], "x.png"), InvalidInput, "shape"),
    ("an image of five channels", lambda c: ml.log_image(np.zeros((2, 2, 5)), "x.png"), InvalidInput, "shape"),
    ("an image of words", lambda c: ml.log_image([["a"]], "x.png"), InvalidInput, "numbers"),
    ("an image's unknown format", lambda c: ml.log_image(np.zeros((2, 2)), "x.xyz"), InvalidInput, "x.xyz"),
    ("an image of large numbers", lambda c: ml.log_image(np.full((2, 2), 300), "x.png"), InvalidInput, "0 to 255"),
    ("an image without a name", lambda c: ml.log_image(np.zeros((2, 2))), InvalidInput, "either"),
    ("an image's bad key", lambda c: ml.log_image(np.zeros((2, 2)), key="../x", step=1), InvalidInput, "leaves"),
    ("an image's step in words", lambda c: ml.log_image(np.zeros((2, 2)), key="k", step="/x"), InvalidInput, "step"),
    ("a table in CSV", lambda c: ml.log_table({"a": [1]}, "x.csv"), InvalidInput, ".parquet"),
    ("a table that is a number", lambda c: ml.log_table(5, "x.json"), InvalidInput, "table"),
    ("columns of two lengths", lambda c: ml.log_table({"a": [1], "b": [1, 2]}, "x.json"), InvalidInput, "table"),
    ("a mixed column in Parquet", lambda c: ml.log_table({"a": [1, "x", b"y"]}, "x.parquet"), InvalidInput, "one type"),
    ("a stream that is a text", lambda c: ml.log_stream("x", "x.bin"), InvalidInput, "binary"),
    ("a stream of text", lambda c: ml.log_stream(io.StringIO("x"), "x.bin"), InvalidInput, "binary"),
    ("a listing that climbs", lambda c: c.client.list_artifacts(c.run, "../.."), InvalidInput, "relative"),
    ("a download of nothing", lambda c: c.client.download_artifacts(c.run, "none"), NotFound, "nothing at"),
    ("a download that climbs", lambda c: c.client.download_artifacts(c.run, "../../x"), InvalidInput, "relative"),
    ("a download into a file", lambda c: c.client.download_artifacts(c.run, "deep", c.here / "note.txt"),
     StorageError, "note.txt"),
    ("a table that nobody logged", lambda c: ml.load_table("t.json"), NotFound, "'t.json'"),
    ("an unknown extra column", lambda c: ml.load_table("x.json", [c.run], ["nope"]), InvalidInput, "'nope'"),
    ("neither URI nor run", lambda c: artifacts.download_artifacts(), InvalidInput, "either"),
    ("a URI of no run", lambda c: artifacts.load_text("runs:/abc/x"), InvalidInput, "32 hex digits"),
    ("a URI that climbs", lambda c: artifacts.list_artifacts(f"runs:/{c.run}/../x"), InvalidInput, "relative"),
    ("a text that is no JSON", lambda c: artifacts.load_dict(f"runs:/{c.run}/note.txt"), FormatError, "JSON"),
    ("a text that is no image", lambda c: artifacts.load_image(f"runs:/{c.run}/note.txt"), FormatError, "image"),
    ("bytes that are no text", lambda c: artifacts.load_text(f"runs:/{c.run}/deep/b.bin"), FormatError, "UTF-8"),
    ("a directory for a text", lambda c: artifacts.load_text(f"runs:/{c.run}/deep"), StorageError, "deep"),
]  # fmt: skip

SEARCHES = [
    ("an empty list", lambda c: c.search("params.a IN ()"), FilterError, "at least one value"),
    ("a NOT of its own", lambda c: c.search("NOT metrics.a < 1"), FilterError, "before IN and NULL"),
    ("a time in words", lambda c: c.search("start_time > '2020-01-01'"), FilterError, "milliseconds since 1970"),
    ("an integer beyond a double", lambda c: c.client.log_metric(c.run, "m", 10**400), InvalidInput, "401 digits"),
    ("a filter that ends early", lambda c: c.search("metrics.auc >"), FilterError, "ends where a value"),
    ("an open quote", lambda c: c.search("params.a = 'x"), FilterError, "not closed"),
    ("an unknown attribute", lambda c: c.search("statsu = 'x'"), FilterError, "Did you mean 'status'"),
    ("an unknown prefix", lambda c: c.search("metrcis.a > 1"), FilterError, "metrcis"),
    ("a text for a metric", lambda c: c.search("metrics.a > 'x'"), FilterError, "number"),
    ("a number for a param", lambda c: c.search("params.a = 5"), FilterError, "quotes"),
    ("an order for a text", lambda c: c.search("params.a > '5'"), FilterError, "does not go"),
    ("an open parenthesis", lambda c: c.search("(params.a = '5'"), FilterError, "ends where"),
    ("51 parentheses", lambda c: c.search("(" * 51 + "status = 'x'" + ")" * 51), FilterError, "50 deep"),
    ("a time that is infinite", lambda c: c.search("start_time > inf"), FilterError, "whole number"),
    ("a time of 70 bits", lambda c: c.search(f"start_time > {2**70}"), FilterError, "64 bits"),
    ("an attribute of no data set", lambda c: c.search("datasets.size = 'x'"), FilterError, "digest"),
    ("a filter that is a number", lambda c: c.search(5), FilterError, "text"),
    ("an order that is a number", lambda c: c.search(order_by=[5]), FilterError, "order_by cannot be read"),
    ("an unknown order", lambda c: c.search(order_by=["metrics.auc down"]), FilterError, "ASC or DESC"),
    ("two orders in one", lambda c: c.search(order_by=["metrics.a, metrics.b"]), FilterError, "ASC or DESC"),
    ("an order by a data set", lambda c: c.search(order_by=["datasets.name"]), FilterError, "datasets"),
    ("no result", lambda c: c.search(max_results=0), InvalidInput, "between 1 and"),
    ("too many results", lambda c: c.search(max_results=50_001), InvalidInput, "50000"),
    ("results in words", lambda c: c.search(max_results="ten"), InvalidInput, "whole number"),
    ("a view that is none", lambda c: c.search(run_view_type=9), InvalidInput, "ACTIVE_ONLY"),
    ("a view in words", lambda c: c.search(run_view_type="all"), InvalidInput, "ACTIVE_ONLY"),
    ("a token that is none", lambda c: c.search(page_token="abc"), InvalidInput, "not one"),
    ("a token that is a number", lambda c: c.search(page_token=5), InvalidInput, "not one"),
    ("another search's token", lambda c: c.search("status = 'x'", page_token=c.token), InvalidInput, "another"),
    ("a token of a short place", lambda c: c.page(forged(c.token, ["x"])), InvalidInput, "not one"),
    ("a token of no place", lambda c: c.page(forged(c.token, 7)), InvalidInput, "not one"),
    ("a token of wrong types", lambda c: c.page(forged(c.token, ["x", 5])), InvalidInput, "not one"),
    ("as of a naive time", lambda c: c.search(as_of=datetime(2026, 1, 1)), InvalidInput, "time zone"),
    ("as of a day", lambda c: c.search(as_of=date(2026, 1, 1)), InvalidInput, "datetime"),
    ("as of a number", lambda c: ml.search_runs(["1"], as_of=1.0), InvalidInput, "datetime"),
    ("no experiment ids", lambda c: c.client.search_runs(None), InvalidInput, "list"),
    ("an experiment that is not there", lambda c: ml.search_runs(experiment_names=["chrun"]), NotFound, "'churn'"),
    ("an unknown form", lambda c: ml.search_runs(["1"], output_format="csv"), InvalidInput, "'pandas'"),
    ("columns of a list", lambda c: ml.search_runs(["1"], output_format="list", only=["tags"]), InvalidInput, "only"),
    ("a column that cannot be chosen", lambda c: ml.search_runs(["1"], only=["status"]), FilterError, "status"),
    ("a column that is a number", lambda c: ml.search_runs(["1"], only=[5]), FilterError, "only cannot be read"),
    ("more pages than none", lambda c: list(c.client.search_table_pages(["1"], max_results=-1)), InvalidInput, "-1"),
    ("an experiment's metric", lambda c: ml.search_experiments(filter_string="metrics.a > 1"), FilterError, "metric"),
    ("an experiment's order", lambda c: ml.search_experiments(order_by=["params.a"]), FilterError, "param"),
    ("no experiment", lambda c: ml.search_experiments(max_results=0), InvalidInput, "1 or more"),
    ("experiments in words", lambda c: ml.search_experiments(max_results="x"), InvalidInput, "whole number"),
    ("a view of experiments", lambda c: ml.search_experiments(view_type="x"), InvalidInput, "ACTIVE_ONLY"),
    ("a token of experiments", lambda c: c.client.search_experiments(page_token="x"), InvalidInput, "not one"),
    ("no point", lambda c: c.history(max_results=0), InvalidInput, "1 or more"),
    ("points in words", lambda c: c.history(max_results="x"), InvalidInput, "whole number"),
    ("a token of points", lambda c: c.history(max_results=1, page_token="x"), InvalidInput, "not one"),
    ("a token of runs for points", lambda c: c.history(max_results=1, page_token=c.token), InvalidInput, "another"),
    ("a forged token of points", lambda c: c.history(max_results=1, page_token=forged(c.points, "x")),
     InvalidInput, "not one"),
    ("the history of None", lambda c: c.client.get_metric_history(c.run, None), InvalidInput, "key of a metric"),
    ("summaries of no run", lambda c: c.client.get_metric_summaries("x"), InvalidInput, "32 hex"),
    ("a table as of a naive time", lambda c: c.client.lake.table("runs").to_arrow(datetime.now()), InvalidInput,
     "time zone"),
    ("a table that is not there", lambda c: c.client.lake.table("run"), NotFound, "Did you mean 'runs'"),
    ("a table that climbs", lambda c: c.client.lake.table("../lake/runs"), InvalidInput, "relative"),
]  # fmt: skip

UPKEEP = [
    ("less than no retention", lambda c: maintenance.maintain(c.client.lake, -1), InvalidInput, "0 or more"),
    ("retention in words", lambda c: maintenance.maintain(c.client.lake, "7 days"), InvalidInput, "whole number"),
    ("half an hour's retention", lambda c: maintenance.maintain(c.client.lake, 0.5), InvalidInput, "whole number"),
    ("older than the future", lambda c: maintenance.collect(c.client, timedelta(-1)), InvalidInput, "older_than"),
    ("older than a word", lambda c: maintenance.collect(c.client, "30d"), InvalidInput, "timedelta"),
    ("a purge of no run id", lambda c: maintenance.purge(c.client, ["../x"]), InvalidInput, "32 hex"),
    ("a purge of None", lambda c: maintenance.purge(c.client, [None]), InvalidInput, "32 hex"),
    ("a purge of nothing", lambda c: maintenance.purge(c.client, [NOBODY]), NotFound, "nothing of"),
    ("a purge that ends in nothing", lambda c: maintenance.purge(c.client, [c.run, NOBODY]), NotFound, NOBODY),
    ("an unknown scheme", lambda c: ml.LifecycleClient("ftp://host/lake"), InvalidInput, "begins with ftp:"),
    ("a database", lambda c: ml.LifecycleClient("sqlite:///x.db"), InvalidInput, "begins with sqlite:"),
    ("another machine's file", lambda c: ml.set_tracking_uri("file://host/lake"), InvalidInput, "this machine"),
    ("a scheme that is set", lambda c: ml.set_tracking_uri("ftp://host/lake"), InvalidInput, "begins with ftp:"),
    ("a bucket without a name", lambda c: ml.LifecycleClient("s3:///lake"), InvalidInput, "bucket"),
    ("a number for a lake", lambda c: ml.LifecycleClient(5), InvalidInput, "a text or a path"),
    ("a number that is set", lambda c: ml.set_tracking_uri(5), InvalidInput, "a text or a path"),
    ("a lake of blanks", lambda c: ml.set_tracking_uri("  "), InvalidInput, "empty"),
    ("a file for a lake", lambda c: ml.LifecycleClient(c.here / "note.txt"), StorageError, "note.txt"),
    ("another registry", lambda c: ml.LifecycleClient(c.uri, c.here), InvalidInput, "same lake"),
]  # fmt: skip

CASES = EXPERIMENTS + RUNS + LOGGED + FILES + SEARCHES + UPKEEP


@pytest.fixture(scope="module")
def c(tmp_path_factory):
    """A lake with a little of everything, and what the cases need of it."""
    import pandas as pd
    from matplotlib.figure import Figure

    here = tmp_path_factory.mktemp("here")
    (here / "note.txt").write_text("no JSON")
    (here / "b.bin").write_bytes(b"\xff\xfe\0")
    uri = str(tmp_path_factory.mktemp("bad") / "lake")
    client = ml.LifecycleClient(uri)
    for name in ("churn", "deleted", "other"):
        client.create_experiment(name)
    client.delete_experiment("2")
    run, deleted = (client.create_run("1", run_name=name).info.run_id for name in ("run", "deleted"))
    client.log_param(run, "depth", 6)
    for step in range(3):
        client.log_metric(run, "m", step, step=step)
    client.log_artifact(run, here / "note.txt")
    client.log_artifact(run, here / "b.bin", "deep")
    client.log_table(run, {"a": [1]}, "x.json")
    client.log_inputs(run, [DatasetInput(DATASET)])
    client.create_run("1", run_name="next")
    client.delete_run(deleted)
    client.flush()

    def search(text="", **asked):
        return client.search_runs(["1"], text, **asked)

    return SimpleNamespace(
        uri=uri, client=client, run=run, deleted=deleted, here=here, frame=pd.DataFrame({"a": [1]}), figure=Figure,
        long_ago=datetime.fromisoformat("2001-01-01T00:00:00+00:00"), search=search,
        page=lambda token: search(max_results=1, page_token=token), token=search(max_results=1).token,
        history=lambda **asked: client.get_metric_history(run, "m", **asked),
        points=client.get_metric_history(run, "m", 1).token,
        batch=lambda **more: client.log_batch(run, **{"metrics": [Metric("fine", 1.0, 1)], **more}),
        inputs=lambda *datasets: client.log_inputs(run, datasets),
    )  # fmt: skip


def written(c):
    """The versions of all tables, and all files below the artifacts."""
    c.client.flush()
    tables = {kind.TABLE: c.client.lake.table(kind).snapshot(fresh=True).handle for kind in maintenance.TABLES}
    versions = {name: handle.version() for name, handle in tables.items() if handle is not None}
    assert len(versions) >= 6
    files = c.client.storage(c.uri).list("artifacts", recursive=True)
    return versions, [(file.path, file.size, file.modified) for file in files if not file.is_dir]


@pytest.mark.parametrize(("call", "kind", "message"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_bad_input_is_a_named_error_and_writes_nothing(c, call, kind, message):
    current.set_tracking_uri(c.uri)
    current.set_experiment_id("1")
    current.push_run(c.run, c.uri)
    before = written(c)
    with pytest.raises(LifecycleError, match=message) as caught:
        call(c)
    error = caught.value
    assert type(error) is kind, type(error)
    assert isinstance(error, BUILTIN[kind])
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (kind, str(error))
    assert current.tracking_uri() == c.uri
    assert current.own_runs() == (c.run,)
    assert written(c) == before


def test_after_all_of_them_the_run_goes_on(c):
    c.client.log_metric(c.run, "m", 9.0, step=9)
    c.client.update_run(c.run, name="renamed")
    c.client.set_terminated(c.run)
    run = c.client.get_run(c.run)
    assert (run.info.status, run.info.run_name, run.data.metrics) == ("FINISHED", "renamed", {"m": 9.0})
    assert run.data.params == {"depth": "6"}
    assert set(run.data.tags) == {"mlflow.runName"}
