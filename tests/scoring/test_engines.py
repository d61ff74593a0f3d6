"""One suite holds the engines to equal answers, types and rows, and each job to the engine that can do it."""

import decimal
import json
import math
from datetime import UTC, date, datetime
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, QueryBuilder, write_deltalake

import sparkml_lifecycle as ml
from sparkml_lifecycle import errors, pyfunc
from sparkml_lifecycle.scoring import split
from sparkml_lifecycle.scoring.conf import check
from sparkml_lifecycle.scoring.job import run_job
from sparkml_lifecycle.scoring.output import Output
from sparkml_lifecycle.storage import open_storage
from tests.flavors.models import CASES

ENGINES = ("direct", "dataframe", "column")
STAMPS = ["model_name", "model_version", "model_run_id", "model_digest", "scored_at"]


class Sum(pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        if (model_input["a"] == -1e10).any():
            raise ValueError("a value of the customer 4711")
        return model_input["a"] + model_input["b"]


def odd_rows():
    """Columns of every type that both engines write, with nulls, NaN, infinities and times at the edges."""
    return pa.table(
        {
            "id": pa.array(range(6), pa.int64()),
            "a": pa.array([1.0, math.nan, math.inf, -math.inf, -0.0, 2.5]),
            "b": pa.array([1.0, 1.0, 1.0, 1.0, 1.0, 1e-300]),
            "text": pa.array(["x", None, "", "é ü %", "a" * 3000, "\U0001f600"]),
            "small": pa.array([1, None, -128, 127, 0, 1], pa.int8()),
            "short": pa.array([1, None, -32768, 32767, 0, 1], pa.int16()),
            "int": pa.array([1, None, -(2**31), 2**31 - 1, 0, 1], pa.int32()),
            "single": pa.array([1.5, None, math.nan, 3e38, -0.0, 1], pa.float32()),
            "flag": pa.array([True, False, None, True, False, True]),
            "bytes": pa.array([b"\0", None, b"", b"\xff", b"a", b"b"]),
            "day": pa.array([date(2026, 11, 26), None, date(1970, 1, 1), date(1969, 12, 31), date(9999, 12, 31), date(1, 1, 2)]),
            "time": pa.array(
                [
                    datetime(2026, 11, 26, 1, 2, 3, 999_999, UTC), None, datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC),
                    datetime(2026, 3, 29, 1, 30, tzinfo=UTC), datetime(2200, 12, 31, tzinfo=UTC),
                    datetime(1900, 1, 1, tzinfo=UTC),
                ],
                pa.timestamp("us", "UTC"),
            ),
            "money": pa.array([decimal.Decimal("1.10"), None, *[decimal.Decimal("-0.01")] * 4], pa.decimal128(12, 2)),
            "list": pa.array([[1.0], [], None, [math.nan, None], [2.0], [3.0]], pa.list_(pa.float64())),
            "struct": pa.array([{"x": 1, "y": "z"}, None, *[{"x": None, "y": "q"}] * 4], pa.struct([("x", pa.int64()), ("y", pa.string())])),
        }
    )  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    place = tmp_path_factory.mktemp("model") / "sum"
    frame = odd_rows().select(["a", "b"]).to_pandas()
    pyfunc.save_model(str(place), python_model=Sum(), input_example=frame.head(2), allow_code=True)
    return str(place)


@pytest.fixture
def conf(tmp_path, lake, model):
    def made(engine="auto", source=None, **change):
        source = source or {"path": str(tmp_path / "source")}
        target = {"path": str(tmp_path / f"target-{change.pop('to', engine)}")}
        content = {
            "model": model,
            "source": source,
            "target": target,
            "engine": engine,
            "tracking_uri": str(lake),
            "mode": "overwrite",
        }
        return check({**content, "allow_code": True, "result_type": "double", **change})

    return made


def read(place):
    """A Delta table's rows by DataFusion, in the order of ``id``."""
    builder = QueryBuilder().register("t", DeltaTable(str(place)))
    found = pa.table(builder.execute("select * from t order by id").read_all())
    plain = {pa.string_view(): pa.string(), pa.binary_view(): pa.binary()}
    return found.cast(pa.schema([pa.field(one.name, plain.get(one.type, one.type)) for one in found.schema]))


def text(table):
    """Every value as text, so that NaN is equal to itself and -0.0 differs from 0.0."""
    return [[repr(value) for value in table[name].to_pylist()] for name in table.column_names]


@pytest.mark.spark
@pytest.mark.parametrize("writer", ["delta-rs", "spark", "pyarrow"])
def test_the_engines_give_equal_rows_whoever_wrote_the_source(spark, conf, tmp_path, writer):
    rows = odd_rows()
    if writer == "spark":
        spark.createDataFrame(rows).repartition(2).write.format("delta").save(str(tmp_path / "source"))
    elif writer == "delta-rs":
        write_deltalake(str(tmp_path / "source"), rows.slice(0, 4))
        write_deltalake(str(tmp_path / "source"), rows.slice(4), mode="append")
    else:
        pq.write_table(rows, tmp_path / "source.parquet", use_deprecated_int96_timestamps=True)
    source = {"path": str(tmp_path / "source.parquet"), "format": "parquet"} if writer == "pyarrow" else None
    found = {}
    for engine in ENGINES if source is None else ENGINES[1:]:
        report = run_job(spark, conf(engine, source))
        assert (report.engine, report.rows) == (engine, 6)
        found[engine] = read(report.target)
    first = found["dataframe"]
    assert first.column_names == [*rows.column_names, "prediction", *STAMPS]
    wanted = rows["a"].to_numpy() + rows["b"].to_numpy()
    assert text(first.select(["prediction"])) == text(pa.table({"p": wanted}))
    for name in rows.column_names:
        assert text(first.select([name])) == text(rows.select([name])), name
    for engine, table in found.items():
        assert table.drop_columns("scored_at").schema == first.drop_columns("scored_at").schema, engine
        assert text(table.drop_columns("scored_at")) == text(first.drop_columns("scored_at")), engine
        by_spark = spark.read.format("delta").load(str(tmp_path / f"target-{engine}"))
        assert by_spark.schema == spark.read.format("delta").load(str(tmp_path / "target-column")).schema
        assert by_spark.where("scored_at > '2026-01-01' and single != 0").count() == 4
        assert by_spark.where("day <= '1970-01-01'").count() == 3
        assert by_spark.where("text = 'x' and small = 1").count() == 1


@pytest.mark.spark
def test_auto_takes_the_fastest_and_says_why_not_a_faster_one(spark, conf, tmp_path):
    write_deltalake(str(tmp_path / "source"), odd_rows())
    write_deltalake(str(tmp_path / "parts"), odd_rows(), partition_by=["flag"])
    mapped = str(tmp_path / "mapped")
    spark.createDataFrame(odd_rows()).write.format("delta").option("delta.columnMapping.mode", "name").save(mapped)
    run_job(spark, conf("column", to="sparks"))
    naive = pa.table({"id": [1], "a": [1.0], "b": [2.0], "t": pa.array([datetime(2026, 1, 1)], pa.timestamp("us"))})
    write_deltalake(str(tmp_path / "naive"), naive)
    for number, (change, engine, why) in enumerate(
        [
            ({}, "direct", ""),
            ({"where": "id < 3"}, "dataframe", "where: is Spark's to judge"),
            ({"source": {"path": str(tmp_path / "parts")}}, "dataframe", "the source has partitions"),
            ({"source": {"path": mapped}}, "dataframe", "features of Delta that files alone do not show"),
            ({"source": {"path": f"select * from delta.`{tmp_path}/source`", "format": "sql"}}, "dataframe", "the source is sql"),
            ({"to": "sparks"}, "column", "Spark has made the target"),
            ({"target": {"path": str(tmp_path / "p"), "partition_by": ["flag"]}}, "column", "the target has partitions"),
            ({"source": {"path": str(tmp_path / "naive")}}, "column", "delta-rs writes t with another type than Spark"),
        ]
    ):  # fmt: skip
        report = run_job(spark, conf(**{"to": str(number), **change}))
        assert (report.engine, why in report.why, bool(report.why)) == (engine, True, bool(why)), report
        said = ml.LifecycleClient().get_run(report.run_id).data.params
        assert said["engine"] == engine
        assert said.get("why_not_faster", "") == report.why
    for asked, change in (("direct", {"where": "id < 3"}), ("dataframe", {"to": "sparks"})):
        with pytest.raises(errors.InvalidInput, match=f"engine: {asked} cannot do this job: .* Use engine: auto"):
            run_job(spark, conf(asked, **change))


@pytest.mark.spark
@pytest.mark.parametrize("engine", ENGINES)
def test_modes_write_once_and_replace_in_one_commit(spark, conf, tmp_path, engine):
    write_deltalake(str(tmp_path / "source"), odd_rows())
    target = tmp_path / f"target-{engine}"

    def count():
        return DeltaTable(str(target)).to_pyarrow_dataset().count_rows()

    for batch, committed, rows in (("mon", True, 6), ("mon", False, 6), ("tue", True, 12)):
        report = run_job(spark, conf(engine, mode="append", batch=batch))
        assert (report.committed, report.rows, count()) == (committed, 6 if committed else 0, rows)
    with pytest.raises(errors.SchemaError, match="columns"):
        run_job(spark, conf(engine, mode="append", batch="wed", keep=["id"]))
    assert count() == 12
    report = run_job(spark, conf(engine, keep=["id"]))
    assert (report.rows, count(), report.version) == (6, 6, 2)
    assert read(target).column_names == ["id", "prediction", *STAMPS]
    assert spark.read.format("delta").load(str(target)).columns == ["id", "prediction", *STAMPS]


@pytest.mark.spark
@pytest.mark.parametrize("engine", ENGINES)
def test_a_model_that_raises_commits_nothing_and_quotes_no_row(spark, conf, tmp_path, engine):
    write_deltalake(str(tmp_path / "source"), pa.table({"id": [1, 2], "a": [1.0, -1e10], "b": [1.0, 1.0]}))
    with pytest.raises(errors.ScoringError, match="raised ValueError") as error:
        run_job(spark, conf(engine))
    assert "4711" not in str(error.value)
    assert not DeltaTable.is_deltatable(str(tmp_path / f"target-{engine}"))


@pytest.mark.spark
def test_an_overwrite_does_not_replace_what_it_has_not_seen(spark, conf, tmp_path, monkeypatch):
    from sparkml_lifecycle.scoring import files

    write_deltalake(str(tmp_path / "source"), odd_rows())
    run_job(spark, conf("direct"))
    score = files.write

    def others_write_meanwhile(*arguments):
        done = score(*arguments)
        run_job(spark, conf("direct", mode="append", batch="b", job="other"))
        return done

    monkeypatch.setattr(files, "write", others_write_meanwhile)
    with monkeypatch.context() as patch:
        calls = []
        patch.setattr(
            files,
            "write",
            lambda *a: (calls.append(1), (others_write_meanwhile if len(calls) == 1 else score)(*a))[1],
        )
        with pytest.raises(errors.Conflict, match="nothing was committed"):
            run_job(spark, conf("direct", redo=True, replace_all=True))
    assert read(tmp_path / "target-direct").num_rows == 12


@pytest.mark.spark
def test_a_batch_may_add_columns_where_it_is_asked_and_change_no_type(spark, conf, tmp_path):
    write_deltalake(str(tmp_path / "source"), odd_rows())
    target = {"path": str(tmp_path / "t"), "merge_schema": True}
    run_job(spark, conf("direct", mode="append", batch="1", keep=["id", "text"], target=target))
    run_job(spark, conf("direct", mode="append", batch="2", keep=["id", "money"], target=target))
    found = read(tmp_path / "t")
    assert found["text"].null_count == 7
    assert found["money"].null_count == 7
    assert spark.read.format("delta").load(str(tmp_path / "t")).where("text is null").count() == 7
    write_deltalake(str(tmp_path / "other"), pa.table({"id": ["1"], "a": [1.0], "b": [1.0]}))
    other = {"path": str(tmp_path / "other")}
    with pytest.raises(errors.SchemaError, match="The columns id of the batch have other types"):
        run_job(spark, conf("direct", other, mode="append", batch="3", keep=["id"], target=target))


@pytest.mark.spark
@pytest.mark.parametrize("engine", ENGINES)
def test_a_source_without_rows_gives_a_target_without_rows(spark, conf, tmp_path, engine):
    write_deltalake(str(tmp_path / "source"), odd_rows().slice(0, 0))
    report = run_job(spark, conf(engine, keep=["id"]))
    assert (report.rows, report.committed, report.version) == (0, True, 0)
    assert read(tmp_path / f"target-{engine}").num_rows == 0
    write_deltalake(str(tmp_path / "source"), odd_rows(), mode="append")
    assert run_job(spark, conf(engine, keep=["id"])).rows == 6


@pytest.mark.spark
def test_columns_that_came_later_and_other_types_in_old_files(spark, conf, tmp_path):
    source = str(tmp_path / "source")
    write_deltalake(source, pa.table({"id": [1], "a": [1.0], "b": [2.0]}))
    write_deltalake(
        source, pa.table({"id": [2], "a": [1.0], "b": [2.0], "new": ["x"]}), mode="append", schema_mode="merge"
    )
    for engine in ENGINES:
        report = run_job(spark, conf(engine))
        assert read(report.target)["new"].to_pylist() == [None, "x"]


@pytest.mark.spark
@pytest.mark.parametrize("name", ["sklearn-pipeline", "xgboost-classifier"])
def test_the_engines_agree_on_real_models(spark, lake, tmp_path, name):
    if name not in CASES:
        name = next(case for case in CASES if case.startswith("xgboost"))
    case = CASES[name]
    with ml.start_run():
        info = ml.log_model(case.train(), "model", input_example=case.frame().head(3))
    frame = case.frame()
    frame.insert(0, "id", np.arange(len(frame)))
    spark.createDataFrame(frame).write.format("delta").save(str(tmp_path / "source"))
    found = []
    for engine in ENGINES:
        content = {
            "model": info.model_uri,
            "source": {"path": str(tmp_path / "source")},
            "keep": ["id"],
            "engine": engine,
        }
        run_job(spark, check({**content, "target": {"path": str(tmp_path / engine)}, "tracking_uri": str(lake)}))
        found.append(read(tmp_path / engine).drop_columns("scored_at"))
    assert text(found[0]) == text(found[1]) == text(found[2])
    assert found[0].schema == found[1].schema == found[2].schema


# -- the pieces ----------------------------------------------------------------------------------------------------------


def test_one_big_file_uses_all_cores_and_many_small_ones_make_few_tasks():
    big = [split.Piece("big", 1000)]
    parts = split.cut(big, 4, lambda piece: [10] * 100)
    assert len(parts) == 4
    ranges = [piece.groups for part in parts for piece in part]
    assert ranges[0][0] == 0
    assert ranges[-1][1] == 100
    assert all(a[1] == b[0] for a, b in pairwise(ranges))
    # what row groups say of their size counts beside one another only: they are compressed in the file
    for said in (10, 100):
        parts = split.cut(big, 4, lambda piece, said=said: [said] * 100)
        assert [sum(piece.groups[1] - piece.groups[0] for piece in part) for part in parts] == [28, 21, 28, 23]
    many = [split.Piece(str(number), 10) for number in range(10_000)]
    parts = split.cut(many, 4, lambda piece: pytest.fail("a small file was opened"))
    assert [len(part) for part in parts] == [2500] * 4
    assert [piece for part in parts for piece in part] == many
    assert split.cut([], 1, lambda piece: []) == []


@pytest.mark.parametrize(
    ("size", "cores", "tasks"), [(0, 2, 1), (10**6, 8, 1), (10**8, 2, 4), (10**8, 8, 6), (10**12, 8, 936)]
)
def test_tasks_are_few_and_large(size, cores, tasks):
    assert split.task_count(size, cores) == tasks


def test_the_log_says_only_what_is_true_of_a_file(tmp_path):
    rows = odd_rows()
    schema = rows.schema.append(pa.field("none", pa.string())).append(pa.field("one", pa.string()))
    output = Output(open_storage(tmp_path), schema, {"none": None, "one": "v"})
    output.write({name: rows[name] for name in rows.column_names}, rows.num_rows)
    output.close()
    (written,) = output.written
    assert (tmp_path / written.path).stat().st_size == written.size

    said = json.loads(written.statistics)
    assert said["numRecords"] == 6
    assert said["nullCount"]["none"] == 6
    assert (said["minValues"]["one"], said["maxValues"]["one"]) == ("v", "v")
    assert (said["minValues"]["id"], said["maxValues"]["id"]) == (0, 5)
    # NaN has no place between bounds, an infinity none in JSON, and a cut text is no upper bound
    assert not {"a", "single", "none", "bytes", "list", "struct"} & set(said["maxValues"])
    assert said["maxValues"]["time"] == "2200-12-31T00:00:00.000Z"
    assert said["minValues"]["day"] == "0001-01-02"
    assert pq.read_table(tmp_path / written.path)["one"].to_pylist() == ["v"] * 6
