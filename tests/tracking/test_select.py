"""Searches against plain Python over the same runs, before and after the metrics are folded; paging while others write."""

import math
import re
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sparkml_lifecycle.data import from_pandas
from sparkml_lifecycle.entities import DatasetInput, InputTag, ViewType
from sparkml_lifecycle.errors import FilterError, InvalidInput
from sparkml_lifecycle.lake import Lake, files, recent
from sparkml_lifecycle.tracking.finding import Query
from sparkml_lifecycle.tracking.only import Only
from sparkml_lifecycle.tracking.search import And, Comparison, Field, Or, parse
from sparkml_lifecycle.tracking.store import TrackingStore
from sparkml_lifecycle.tracking.tables import MetricRow, ParamRow, RunRow, TagRow

TEXTS = ["a", "A", "ab", "it's", "%", "_", "\\", "ä.b", "", "a\nb"]
NUMBERS = [0.0, 1.0, 2.5, -1.0, math.nan, math.inf]


@dataclass
class Known:
    """A run as plain Python knows it."""

    name: str
    points: dict = field(default_factory=dict)
    params: dict = field(default_factory=dict)
    tags: dict = field(default_factory=dict)


def known_runs():
    runs = []
    for number in range(24):
        run = Known(f"run-{number:02}")
        if number % 3:
            # the values go up and down, and not every step comes in order
            values = [NUMBERS[(number + i) % len(NUMBERS)] for i in range(number % 4 + 1)]
            run.points["loss"] = [(step, value) for step, value in enumerate(values)][:: -1 if number % 2 else 1]
        if number % 5 == 0:
            run.points["loss.min"] = [(0, float(number))]
        if number % 4 == 0:
            run.points["only.max"] = [(0, 3.0)]
        if number % 2:
            run.params["p"] = TEXTS[number % len(TEXTS)]
        if number % 7:
            run.tags["t"] = TEXTS[(number * 3) % len(TEXTS)]
        runs.append(run)
    return runs


RUNS = known_runs()


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """The same runs three times: as they were logged, folded and compacted, and half of each."""
    made = []
    for kind in ("logged", "folded", "half"):
        store = TrackingStore(Lake(tmp_path_factory.mktemp(kind) / "lake"))
        experiment = store.experiments.create("e")
        for number, known in enumerate(RUNS):
            if kind == "half" and number == 12:
                fold_all(store)
            run_id = store.create_run(experiment, known.name).info.run_id
            for key, points in known.points.items():
                for step, value in points:
                    store.log_metric(run_id, key, value, timestamp=1, step=step)
                    if step % 2:
                        store.flush()
            store.log_batch(run_id, (), known.params.items(), known.tags.items())
        store.flush()
        if kind == "folded":
            fold_all(store)
            points = store.lake.table(MetricRow)
            assert not points.uncovered(points.snapshot(), points.covered())
        made.append(store)
    yield made
    for store in made:
        store.close()


def fold_all(store):
    store.flush()
    for row_type in (MetricRow, ParamRow, TagRow, RunRow):
        store.lake.table(row_type).compact()


def value_of(run, asked):
    """None where a run has no such value."""
    if asked.kind == "attribute":
        return run.name
    if asked.kind in ("param", "tag"):
        return getattr(run, f"{asked.kind}s").get(asked.key)
    if asked.key in run.points or asked.exact or asked.key[-4:] not in (".min", ".max"):
        points = run.points.get(asked.key)
        return max(points, key=lambda point: (point[0], not math.isnan(point[1]), point[1]))[1] if points else None
    if any(asked.key in other.points for other in RUNS):
        return None
    numbers = [value for _, value in run.points.get(asked.key[:-4], []) if not math.isnan(value)]
    return (min if asked.key.endswith(".min") else max)(numbers) if numbers else None


def holds(run, node):
    """SQL's three values: True, False and None."""
    if isinstance(node, Comparison):
        return compared(value_of(run, node.field), node.operator, node.value)
    found = [holds(run, part) for part in node.parts]
    decides = isinstance(node, Or)
    if decides in found:
        return decides
    return None if None in found else not decides


def compared(found, operator, value):
    if operator in ("IS NULL", "IS NOT NULL"):
        return (found is None) == (operator == "IS NULL")
    if found is None:
        return None
    if operator in ("IN", "NOT IN"):
        return (found in value) == (operator == "IN")
    if operator in ("LIKE", "ILIKE"):
        pattern = "".join({"%": ".*", "_": "."}.get(c) or re.escape(c) for c in value)
        return re.fullmatch(pattern, found, re.DOTALL | (re.IGNORECASE if operator == "ILIKE" else 0)) is not None
    if isinstance(value, float) and math.isnan(value) and operator in ("=", "!="):
        return math.isnan(found) == (operator == "=")
    return {
        "=": found == value, "!=": found != value, "<": found < value, "<=": found <= value, ">": found > value,
        ">=": found >= value,
    }[operator]  # fmt: skip


def shown(node):
    """A tree as the text that means it."""
    if not isinstance(node, Comparison):
        return "(" + (" or " if isinstance(node, Or) else " AND ").join(map(shown, node.parts)) + ")"
    name = f"`{node.field.key}`" if node.field.exact else node.field.key
    left = f"{node.field.kind}s.{name}"
    if node.operator.startswith("IS"):
        return f"{left} {node.operator}"
    if isinstance(node.value, tuple):
        return f"{left} {node.operator} ({', '.join(map(quoted, node.value))})"
    return f"{left} {node.operator} {quoted(node.value) if isinstance(node.value, str) else node.value}"


def quoted(text):
    return "'" + text.replace("'", "''") + "'"


numbers = st.builds(
    Comparison,
    st.builds(
        Field,
        st.just("metric"),
        st.sampled_from(["loss", "loss.min", "loss.max", "only.max", "none.min"]),
        st.booleans(),
    ),
    st.sampled_from(["=", "!=", "<", "<=", ">", ">="]),
    st.sampled_from([0.0, 1.0, 2.5, -1.0, math.inf, math.nan]),
)
text_fields = st.sampled_from(
    [Field("param", "p"), Field("tag", "t"), Field("attribute", "run_name"), Field("tag", "none")]
)
texts = st.one_of(
    st.builds(
        Comparison,
        text_fields,
        st.sampled_from(["=", "!=", "LIKE", "ILIKE"]),
        st.sampled_from([*TEXTS, "%b", "_", "RUN-1%"]),
    ),
    st.builds(
        Comparison,
        text_fields,
        st.sampled_from(["IN", "NOT IN"]),
        st.lists(st.sampled_from(TEXTS), min_size=1).map(tuple),
    ),
)
nothing = st.builds(
    Comparison,
    st.sampled_from([Field("metric", "loss"), Field("param", "p"), Field("tag", "t")]),
    st.sampled_from(["IS NULL", "IS NOT NULL"]),
    st.none(),
)
trees = st.recursive(
    numbers | texts | nothing,
    lambda inner: (
        st.builds(And, st.lists(inner, min_size=2, max_size=3).map(tuple))
        | st.builds(Or, st.lists(inner, min_size=2, max_size=3).map(tuple))
    ),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=trees)
def test_a_filter_finds_what_plain_python_finds(stores, tree):
    wanted = sorted(run.name for run in RUNS if holds(run, tree) is True)
    for store in stores:
        found = store.search_runs(Query(["1"], shown(tree), order_by=["run_name asc"]))
        assert [run.info.run_name for run in found] == wanted


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    key=st.sampled_from([Field("metric", "loss"), Field("metric", "loss.max"), Field("param", "p"), Field("tag", "t")]),
    descending=st.booleans(),
    size=st.integers(1, 9),
)
def test_an_order_puts_missing_values_last_and_pages_give_each_run_once(stores, key, descending, size):
    def sortable(run):
        value = value_of(run, key)
        return None if value is None or value != value else value

    there = [run for run in RUNS if sortable(run) is not None]
    there.sort(
        key=lambda run: sortable(run).encode() if isinstance(sortable(run), str) else sortable(run), reverse=descending
    )
    for store in stores:
        pages, token = [], None
        while True:
            page = store.search_runs(
                Query(
                    ["1"],
                    None,
                    max_results=size,
                    order_by=[f"{key.kind}s.{key.key} {'desc' if descending else 'asc'}"],
                    page_token=token,
                )
            )
            pages += page
            token = page.token
            if token is None:
                break
        by_name = {run.name: run for run in RUNS}
        values = [sortable(by_name[run.info.run_name]) for run in pages]
        assert values == [sortable(run) for run in there] + [None] * (len(RUNS) - len(there))
        assert sorted(run.info.run_name for run in pages) == sorted(by_name)


def test_what_is_read_of_a_run_is_the_same_however_it_lies(stores):
    first, *others = (store.search_runs(Query(["1"], None, order_by=["run_name asc"])) for store in stores)
    for runs in others:
        for one, other in zip(first, runs, strict=True):
            assert one.data.params == other.data.params
            assert {k: str(v) for k, v in one.data.metrics.items()} == {
                k: str(v) for k, v in other.data.metrics.items()
            }


def test_runs_begun_between_two_pages_neither_repeat_nor_hide_one(store):
    experiment = store.experiments.create("e")
    before = [store.create_run(experiment, f"r{i}").info.run_id for i in range(7)]
    found, token = [], None
    while True:
        page = store.search_runs(Query([experiment], None, max_results=2, page_token=token))
        found += [run.info.run_id for run in page]
        token = page.token
        if token is None:
            break
        store.create_run(experiment, "between")
        store.flush()
    assert found == before[::-1]


def test_a_token_of_another_search_is_refused(store):
    experiment = store.experiments.create("e")
    for _ in range(3):
        store.create_run(experiment)
    token = store.search_runs(Query([experiment], None, max_results=1)).token
    with pytest.raises(InvalidInput, match="another search"):
        store.search_runs(Query([experiment], "metrics.a > 1", max_results=1, page_token=token))
    for bad in ("x", "ä", token[:-3], "W10="):
        with pytest.raises(InvalidInput, match="page_token"):
            store.search_runs(Query([experiment], None, max_results=1, page_token=bad))


def test_data_sets_are_searched_by_name_digest_and_context(store):
    import pandas as pd

    experiment = store.experiments.create("e")
    sets = {
        name: from_pandas(pd.DataFrame({"a": [number]}), name=name) for number, name in enumerate(("train", "test"))
    }
    ids = []
    for names in (["train"], ["train", "test"], []):
        run_id = store.create_run(experiment).info.run_id
        inputs = [DatasetInput(sets[name], (InputTag("mlflow.data.context", f"for {name}"),)) for name in names]
        store.log_inputs(run_id, inputs)
        ids.append(run_id)

    def found(text):
        return {ids.index(run.info.run_id) for run in store.search_runs(Query([experiment], text))}

    assert found("datasets.name = 'train'") == {0, 1}
    assert found(f"dataset.digest = '{sets['test'].digest}'") == {1}
    assert found("datasets.context LIKE 'for t%' and datasets.name != 'train'") == {1}
    assert found("datasets.name = 'test' or run_id = '" + ids[2] + "'") == {1, 2}
    read = store.get_run(ids[1]).inputs.dataset_inputs
    assert {(one.dataset.name, one.tags[0].value) for one in read} == {("train", "for train"), ("test", "for test")}


def test_a_wide_table_has_the_chosen_columns(stores):
    from sparkml_lifecycle.tracking import frame
    from sparkml_lifecycle.tracking.only import Only

    for store in stores:
        (table,) = store.table_pages(
            Query(["1"], None, ViewType.ALL, 100, ["run_name asc"]),
            Only.of(["metrics.loss", "metrics.loss.max", "metrics.none", "params"]),
        )
        assert table.column_names[6:] == ["metrics.loss", "metrics.loss.max", "metrics.none", "params.p"]
        for run, value, largest, p in zip(
            RUNS, *(table[name].to_pylist() for name in ("metrics.loss", "metrics.loss.max", "params.p")), strict=True
        ):
            assert str(value) == str(value_of(run, Field("metric", "loss")))
            assert largest == value_of(run, Field("metric", "loss.max"))
            assert p == run.params.get("p")
        everything = frame.to_pandas(next(store.table_pages(Query(["1"], "params.p = 'A'", ViewType.ALL, 100), Only())))
        assert {"metrics.loss", "params.p", "tags.t", "tags.mlflow.runName"} <= set(everything.columns)
    with pytest.raises(FilterError, match="can be chosen"):
        Only.of(["status"])


def test_an_extreme_is_the_same_thing_for_every_run_of_a_search(store, monkeypatch):
    from sparkml_lifecycle.tracking import finding
    from sparkml_lifecycle.tracking.only import Only

    experiment = store.experiments.create("e")
    runs = [store.create_run(experiment, name).info.run_id for name in ("exact", "plain", "plain too")]
    store.log_metric(runs[0], "loss.min", 5.0)
    store.log_metric(runs[1], "loss", 1.0)
    elsewhere = store.create_run(store.experiments.create("f")).info.run_id
    store.log_metric(elsewhere, "loss", 1.0)
    only = Only.of(["metrics.loss.min", "metrics.loss.max"])

    def found(text="", experiments=(experiment,)):
        tables = store.table_pages(Query(experiments, text, max_results=100, order_by=["run_name"]), only)
        return [value for table in tables for value in table["metrics.loss.min"].to_pylist()]

    for size in (100, 1):
        monkeypatch.setattr(finding, "MAX_RESULTS", size)
        assert found() == [5.0, None, None]
        assert found("run_name = 'plain'") == [None]
        assert found("metrics.loss.min < 10") == [5.0]
        assert found("metrics.loss.max < 10") == [None]
        assert found(experiments=["2"]) == [1.0]
    # what is logged between two pages changes nothing
    pages = store.table_pages(Query(["2"], max_results=2, order_by=["run_name"]), only)
    store.create_run("2", "zz")
    assert next(pages)["metrics.loss.min"].to_pylist() == [1.0]
    store.log_metric(store.create_run("2", "zzz").info.run_id, "loss.min", 7.0)
    assert next(pages)["metrics.loss.min"].to_pylist() == [None]


def test_runs_of_any_year_are_found_and_ordered_to_the_millisecond(store):
    from sparkml_lifecycle.tracking import frame
    from sparkml_lifecycle.tracking.only import Only

    experiment = store.experiments.create("e")
    times = [-62_135_596_800_000, -9_100_000_000_001, -1, 0, 1_700_000_000_001, 9_100_000_000_001, 253_402_300_799_999]
    for at in times:
        store.create_run(experiment, str(at), start_time=at)
    found = store.search_runs(Query([experiment], order_by=["start_time asc"]))
    assert [run.info.start_time for run in found] == times
    for at in times:
        (run,) = store.search_runs(Query([experiment], f"start_time >= {at} and start_time < {at + 1}"))
        assert run.info.run_name == str(at)
    assert [len(store.search_runs(Query([experiment], f"start_time > {at}"))) for at in times] == [6, 5, 4, 3, 2, 1, 0]
    (table,) = store.table_pages(Query([experiment], order_by=["start_time"]), Only())
    assert [at.year for at in frame.to_pandas(table)["start_time"]] == [1, 1681, 1969, 1970, 2023, 2258, 9999]


def test_nothing_logged_is_an_empty_table(store):
    from sparkml_lifecycle.tracking.only import Only

    experiment = store.experiments.create("e")
    (table,) = store.table_pages(Query([experiment], "metrics.a > 1", ViewType.ALL, 10, ["params.x desc"]), Only())
    assert (table.num_rows, table.column_names[0]) == (0, "run_id")


def test_a_search_reads_no_history_once_it_is_folded(store, monkeypatch):
    # files of 200 rows count as large ones here
    monkeypatch.setattr(files, "SMALL_BYTES", 2000)
    monkeypatch.setattr(recent, "_MOST_ROWS_OF_A_FILE", 50)
    experiment = store.experiments.create("e")
    for _ in range(3):
        run_id = store.create_run(experiment).info.run_id
        for step in range(200):
            store.log_metric(run_id, "m", float(step), step=step)
        store.flush()
    points = store.lake.table(MetricRow)
    # files that are too large to be compacted are folded where they lie
    points.compact()
    assert not points.uncovered(points.snapshot(), points.covered())
    for file in files.files_of(points.snapshot().handle):
        points.storage.delete(file["path"])
    assert len(store.search_runs(Query([experiment], "metrics.m >= 199 and metrics.m.min = 0"))) == 3
    assert parse("metrics.m > 1")


def test_an_extreme_of_a_quoted_metric_is_said_behind_the_quotes(store):
    experiment_id = store.experiments.create("e")
    runs = []
    for name, key in (("plain", "valid loss"), ("odd", "loss.min")):
        runs.append(store.create_run(experiment_id, name).info.run_id)
        for step, value in enumerate((3.0, 1.0, 2.0)):
            store.log_metric(runs[-1], key, value, step=step)
            store.log_metric(runs[-1], "loss", value, step=step)

    def found(text, order_by=()):
        return [run.info.run_name for run in store.search_runs(Query([experiment_id], text, order_by=order_by))]

    assert found("metrics.`valid loss`.min = 1") == ["plain"]
    assert found("metrics.`valid loss`.MAX = 3") == ["plain"]
    assert found("metrics.`valid loss.min` = 1") == []
    # a metric of that very name wins, but for who says what is meant
    assert found("metrics.loss.min = 2") == ["odd"]
    assert found("metrics.`loss`.min = 1", ["run_name"]) == ["odd", "plain"]
    (table,) = store.table_pages(
        Query([experiment_id], order_by=["metrics.`valid loss`.max"]),
        Only.of(["metrics.`valid loss`.max", "metrics.`loss`.min"]),
    )
    assert table["metrics.valid loss.max"].to_pylist() == [3.0, None]
    assert table["metrics.loss.min"].to_pylist() == [1.0, 1.0]
    with pytest.raises(FilterError, match=r"\.min is of metrics, not of params"):
        found("params.`a`.min = 'x'")
