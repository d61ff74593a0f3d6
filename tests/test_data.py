"""Data sets: equal data have equal digests, Delta ones their version, and what a run read is found by it."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from deltalake import write_deltalake

import sparkml_lifecycle as ml
from sparkml_lifecycle import data
from sparkml_lifecycle.errors import InvalidInput, NotFound


def frame(**changed):
    columns = {
        "x": [1.0, float("nan"), 3.0], "n": [1, 2, 3], "s": ["a", None, "c"],
        "t": pd.to_datetime(["2026-01-01", None, "2026-01-03"], utc=True), "b": [True, False, True],
    }  # fmt: skip
    return pd.DataFrame({**columns, **changed})


def digests(make, *given):
    return [make(one).digest for one in given]


def test_equal_frames_have_equal_digests_and_different_ones_different():
    same = digests(data.from_pandas, frame(), frame(), frame().set_index(pd.Index([7, 8, 9])))
    assert len(set(same)) == 1
    others = [
        frame(x=[1.0, 2.0, 3.0]), frame(x=[1.0, None, 4.0]), frame(s=["a", "b", "c"]), frame(n=[1.0, 2.0, 3.0]),
        frame().rename(columns={"x": "y"}), frame()[["n", "x", "s", "t", "b"]], frame().iloc[::-1], frame().head(2),
        frame().head(0), frame(n=pd.Series([1, 2, 3], dtype="int32")),
    ]  # fmt: skip
    assert len({*same, *digests(data.from_pandas, *others)}) == 1 + len(others)


def test_frames_of_lists_and_categories_have_digests_too():
    lists = [pd.DataFrame({"a": [[1, 2], value]}) for value in ([3], [3], [4], None)]
    assert [digests(data.from_pandas, *lists).count(one) for one in digests(data.from_pandas, *lists)] == [2, 2, 1, 1]
    categories = pd.DataFrame({"c": pd.Categorical(["a", "b"])})
    assert data.from_pandas(categories).digest == data.from_pandas(categories.copy()).digest
    assert data.from_pandas(pd.DataFrame({0: [1], 1: [2]}), targets=1).name == "dataset"


def test_frames_of_dicts_that_hold_bytes_have_digests_too():
    values = [{"x": b"\xff"}, {"x": b"\xff"}, {"x": b"\xfe"}, ["\ud800"]]
    found = digests(data.from_pandas, *(pd.DataFrame({"a": [value]}) for value in values))
    assert [found.count(one) for one in found] == [2, 2, 1, 1]


def test_a_single_number_is_an_array_too():
    found = digests(data.from_numpy, np.float64(3), 3.0, np.float64(4), np.array([3.0]), np.array(None))
    assert [found.count(one) for one in found] == [2, 2, 1, 1, 1]
    assert json.loads(data.from_numpy(np.float64(3), targets=1).profile) == {
        "features_shape": {"features": [], "targets": []}
    }


def test_the_length_counts_where_rows_are_no_longer_looked_at():
    long = pd.DataFrame({"a": np.zeros(20_000)})
    assert data.from_pandas(long).digest != data.from_pandas(long.head(19_999)).digest
    table = pa.Table.from_pandas(long)
    assert data.from_arrow(table).digest != data.from_arrow(table.slice(0, 19_999)).digest


def test_equal_arrow_tables_have_equal_digests_however_they_lie_in_memory():
    plain = pa.table({"n": [1, None, 3], "s": ["a", None, "c"], "l": [[1], None, [2, 3]], "b": [True, None, False]})
    beneath = pa.array(np.array([1, 99, 3]), mask=np.array([False, True, False]))
    same = [
        plain,
        plain.replace_schema_metadata({"a": "b"}),
        pa.concat_tables([plain.slice(0, 1), plain.slice(1)]),
        pa.concat_tables([plain, plain]).slice(3),
        pa.concat_tables([plain.slice(2), plain]).slice(1).combine_chunks(),
        plain.set_column(0, "n", beneath),
    ]
    assert len(set(digests(data.from_arrow, *same))) == 1
    others = [
        plain.slice(0, 2), plain.set_column(0, "n", pa.array([1, 99, 3])), plain.rename_columns(["m", "s", "l", "b"]),
        plain.set_column(0, "n", pa.array([1, None, 3], pa.int32())), plain.take([2, 1, 0]), plain.slice(0, 0),
    ]  # fmt: skip
    assert len(set(digests(data.from_arrow, plain, *others))) == 1 + len(others)


def test_equal_arrays_have_equal_digests_and_different_ones_different():
    array = np.arange(6.0).reshape(3, 2)
    same = [array, array.copy(), np.asfortranarray(array), np.arange(12.0).reshape(3, 4)[:, ::2] * 0 + array]
    assert len(set(digests(data.from_numpy, *same))) == 1
    others = [array + 1, array.T, array.reshape(6), array.astype("float32"), array.astype(object), {"a": array},
              {"b": array}, array[:2], array.astype(">f8")]  # fmt: skip
    assert len(set(digests(data.from_numpy, array, *others))) == 1 + len(others)
    with_targets = data.from_numpy(array, targets=[1, 2, 3])
    assert with_targets.digest != data.from_numpy(array, targets=[1, 2, 4]).digest != data.from_numpy(array).digest
    assert json.loads(with_targets.profile) == {"features_shape": {"features": [3, 2], "targets": [3]}}


def test_a_data_set_says_its_name_source_schema_and_size():
    found = data.from_pandas(frame(), source="s3a://bucket/in/train.parquet", targets="x", predictions="n")
    assert (found.name, found.source_type) == ("train.parquet", "s3")
    assert json.loads(found.source) == {"uri": "s3://bucket/in/train.parquet"}
    shown = json.loads(found.schema)
    assert (shown["targets"], shown["predictions"], shown["columns"]["n"]) == ("x", "n", "int64")
    assert json.loads(found.profile) == {"num_rows": 3}
    named = data.from_arrow(pa.table({"a": [1]}), name="mine", digest="v1")
    assert (named.name, named.digest, named.source_type, named.source) == ("mine", "v1", "code", "{}")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: data.from_pandas(frame(), targets="X"), "no column 'X'. Found: x, n, s"),
        (lambda: data.from_pandas(frame(), predictions="p"), "no column 'p'"),
        (lambda: data.from_arrow(pa.table({"a": [1]}), targets="b"), "no column 'b'. Found: a"),
        (lambda: data.from_pandas([1, 2]), "pandas.DataFrame, found list"),
        (lambda: data.from_pandas(pa.table({"a": [1]})), "from_arrow"),
        (lambda: data.from_arrow(frame()), "from_pandas"),
        (lambda: data.from_spark(frame()), "from_pandas"),
        (lambda: data.from_pandas(frame(), source=5), "a path or URI"),
        (lambda: data.load_delta(), "takes a path"),
        (lambda: data.load_delta(table_name="t"), "from_spark"),
        (lambda: data.load_delta("/nothing", version="x"), "whole number"),
        (lambda: data.load_delta("/nothing", version=-1), "0 or more"),
    ],
)
def test_what_cannot_be_described_is_said(call, message):
    with pytest.raises(InvalidInput, match=message):
        call()


def test_a_delta_table_is_described_by_its_log_at_a_version(tmp_path):
    place = str(tmp_path / "flights")
    for number in range(3):
        write_deltalake(place, pa.table({"a": [number]}), mode="append")
    for path in (tmp_path / "flights").glob("*.parquet"):
        # whoever read a row would notice
        path.write_bytes(b"")
    latest, first = data.load_delta(place, targets="a"), data.load_delta(place, version=0)
    assert (latest.name, latest.source_type) == ("flights", "delta")
    assert json.loads(latest.source) == {"path": place, "delta_table_version": 2}
    assert json.loads(first.source)["delta_table_version"] == 0
    assert data.load_delta(place, version="2").digest == latest.digest != first.digest
    with pytest.raises(NotFound, match="no version 9"):
        data.load_delta(place, version=9)
    with pytest.raises(NotFound, match="no Delta table"):
        data.load_delta(tmp_path / "nothing")
    with pytest.raises(InvalidInput, match="no column 'b'"):
        data.load_delta(place, targets="b")


def test_a_table_of_a_lake_is_a_data_set(lake):
    with ml.start_run():
        ml.log_metric("m", 1.0, synchronous=True)
        dataset = data.load_delta(f"{lake}/metrics")
        ml.log_input(dataset, context="analysis")
    read = ml.last_active_run().inputs.dataset_inputs[0].dataset
    assert read == dataset
    assert json.loads(read.source)["path"] == f"{lake}/metrics"


def test_inputs_come_back_with_context_and_tags_and_runs_are_found_by_them(lake, tmp_path):
    place = str(tmp_path / "flights")
    write_deltalake(place, pa.table({"a": [1]}))
    delta = data.load_delta(place, version=0)
    held_out = data.from_pandas(frame(), name="held out")
    with ml.start_run(run_name="both") as both:
        ml.log_input(delta, context="training", tags={"fold": "1", "n": 2})
        ml.log_inputs([held_out, held_out], ["test", None], [None, {"a": "b"}])
    with ml.start_run(run_name="one"):
        ml.log_input(held_out, context="test")
    with ml.start_run(run_name="none"):
        ml.log_metric("auc", 0.5)
    inputs = {
        (one.dataset.name, tuple((tag.key, tag.value) for tag in one.tags)): one.dataset
        for one in ml.get_run(both.info.run_id).inputs.dataset_inputs
    }
    assert inputs == {
        ("flights", (("mlflow.data.context", "training"), ("fold", "1"), ("n", "2"))): delta,
        ("held out", (("mlflow.data.context", "test"),)): held_out,
        ("held out", (("a", "b"),)): held_out,
    }

    def found(text):
        return [run.info.run_name for run in ml.search_runs(filter_string=text, output_format="list")]

    assert found("datasets.name = 'held out'") == ["one", "both"]
    assert found("dataset.name LIKE 'fl%'") == ["both"]
    assert found(f"datasets.digest = '{delta.digest}' and datasets.context = 'training'") == ["both"]
    assert found("datasets.context IN ('training', 'x') or metrics.auc = 0.5") == ["none", "both"]
    assert found("datasets.name = 'nothing'") == []
    table = ml.LifecycleClient().lake.table("inputs").to_pandas()
    assert table.loc[table["dataset_name"] == "flights", "version"].tolist() == [0]
    assert table.loc[table["dataset_name"] == "held out", "version"].isna().all()


def test_the_same_input_again_is_one_and_a_source_that_is_no_json_has_no_version(lake):
    plain = ml.entities.Dataset("d", "1", "code", "no JSON")
    odd = ml.entities.Dataset("d", "2", "delta", '{"delta_table_version": "7"}')
    with ml.start_run():
        for dataset in (plain, plain, odd):
            ml.log_input(dataset)
            ml.flush()
    assert {one.dataset for one in ml.last_active_run().inputs.dataset_inputs} == {plain, odd}
    assert ml.LifecycleClient().lake.table("inputs").to_pandas()["version"].isna().all()


@pytest.mark.spark
def test_a_spark_frame_is_described_without_computing_it(spark):
    # each row raises when it is computed
    df = spark.range(10).selectExpr("id", "assert_true(id < 0, 'computed') as checked").where("checked is null")
    found = data.from_spark(df, targets="id")
    assert (found.source_type, found.source, found.profile) == ("spark", "{}", None)
    assert json.loads(found.schema)["columns"]["id"] == "bigint"
    with pytest.raises(Exception, match="computed"):
        data.from_spark(df, profile=True)
    with pytest.raises(InvalidInput, match="no column 'nope'"):
        data.from_spark(df, targets="nope")


@pytest.mark.spark
def test_a_spark_frame_knows_the_delta_version_that_it_reads(spark, lake, tmp_path):
    place = str(tmp_path / "flights")
    for number in range(3):
        spark.range(number + 1).write.format("delta").mode("append").save(place)
    reader = spark.read.format("delta")
    latest, first = data.from_spark(reader.load(place)), data.from_spark(reader.option("versionAsOf", 0).load(place))
    assert json.loads(latest.source) == {"path": place, "delta_table_version": 2}
    assert json.loads(first.source) == {"path": place, "delta_table_version": 0}
    assert (latest.name, latest.source_type) == ("flights", "delta")
    again = spark.read.format("delta").load(place)
    assert data.from_spark(again).digest == latest.digest != first.digest
    few = data.from_spark(again.where("id > 0"), profile=True)
    assert json.loads(few.source)["delta_table_version"] == 2
    assert few.digest != latest.digest
    assert json.loads(few.profile) == {"num_rows": 3}
    with ml.start_run() as run:
        ml.log_input(first, context="training")
    assert ml.search_runs(filter_string="datasets.context = 'training'")["run_id"].tolist() == [run.info.run_id]
    assert ml.LifecycleClient().lake.table("inputs").to_pandas()["version"].tolist() == [0]
    joined = data.from_spark(again.crossJoin(spark.range(1).withColumnRenamed("id", "one")), path=place, version="1")
    assert json.loads(joined.source) == {"path": place, "delta_table_version": 1}
    with pytest.raises(InvalidInput, match="whole number"):
        data.from_spark(again, version="x")
