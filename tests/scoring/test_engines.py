"""One suite holds the engines to equal answers, types and rows, and each job to the engine that can do it."""

import decimal
import json
import math
import shutil
from datetime import UTC, date, datetime
from itertools import pairwise
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from deltalake import DeltaTable, QueryBuilder, Schema, write_deltalake
from deltalake.transaction import AddAction, create_table_with_add_actions

import sparkml_lifecycle as ml
from sparkml_lifecycle import errors, package, pyfunc
from sparkml_lifecycle.package import Description
from sparkml_lifecycle.scoring import hadoop, split
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


def delta_of(place, schema, partition_by=(), *files):
    """A Delta table of Parquet files that somebody else wrote, each given as a path below it and its partition's values."""
    actions = [
        AddAction(path, (place / path).stat().st_size, values, 0, True, json.dumps({"numRecords": 1}))
        for path, values in files
    ]
    create_table_with_add_actions(
        str(place), Schema.from_arrow(schema), actions, mode="error", partition_by=list(partition_by)
    )


@pytest.mark.spark
@pytest.mark.parametrize("writer", ["delta-rs", "spark", "pyarrow", "int96", "duckdb"])
def test_the_engines_give_equal_rows_whoever_wrote_the_source(spark, conf, tmp_path, writer):
    rows = odd_rows()
    if writer == "spark":
        spark.createDataFrame(rows).repartition(2).write.format("delta").save(str(tmp_path / "source"))
    elif writer == "delta-rs":
        write_deltalake(str(tmp_path / "source"), rows.slice(0, 4))
        write_deltalake(str(tmp_path / "source"), rows.slice(4), mode="append")
    elif writer == "pyarrow":
        pq.write_table(rows, tmp_path / "source.parquet", use_deprecated_int96_timestamps=True)
    else:
        (tmp_path / "source").mkdir()
        if writer == "duckdb":
            duckdb.sql(f"copy (from rows) to '{tmp_path}/source/f.parquet' (format parquet)")
        else:
            pq.write_table(rows, tmp_path / "source/f.parquet", use_deprecated_int96_timestamps=True)
        delta_of(tmp_path / "source", rows.schema, (), ("f.parquet", {}))
    source = {"path": str(tmp_path / "source.parquet"), "format": "parquet"} if writer == "pyarrow" else None
    found = {}
    for engine in (*ENGINES, "local"):
        report = (
            run_job(None, conf("auto", source, to=engine))
            if engine == "local"
            else run_job(spark, conf(engine, source))
        )
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
    empty = pa.table({"id": [1, 2], "a": [1.0, 1.0], "b": [2.0, 1.0], "text": ["", None]})
    write_deltalake(str(tmp_path / "parts"), empty, partition_by=["text"])
    mapped = str(tmp_path / "mapped")
    spark.createDataFrame(odd_rows()).write.format("delta").option("delta.columnMapping.mode", "name").save(mapped)
    run_job(spark, conf("column", to="sparks"))
    naive = pa.table({"id": [1], "a": [1.0], "b": [2.0], "t": pa.array([datetime(2026, 1, 1)], pa.timestamp("us"))})
    write_deltalake(str(tmp_path / "naive"), naive)
    for number, (change, engine, why) in enumerate(
        [
            ({}, "direct", ""),
            ({"where": "id < 3"}, "dataframe", "where: is Spark's to judge"),
            ({"source": {"path": str(tmp_path / "parts")}}, "dataframe", "a partition of the source is the empty text"),
            ({"source": {"path": mapped}}, "dataframe", "features of Delta that files alone do not show"),
            ({"source": {"path": f"select * from delta.`{tmp_path}/source`", "format": "sql"}}, "dataframe", "the source is sql"),
            ({"to": "sparks"}, "column", "Spark has made the target"),
            ({"target": {"path": str(tmp_path / "p"), "partition_by": ["flag"]}}, "direct", ""),
            ({"target": {"path": str(tmp_path / "p"), "partition_by": ["id"]}}, "column", "cannot change the partitions"),
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
@pytest.mark.filterwarnings("ignore:The model .* was saved with")
def test_the_report_says_which_workers_have_not_the_versions_of_the_model(spark, conf, tmp_path, model):
    write_deltalake(str(tmp_path / "source"), odd_rows())
    other = tmp_path / "other"
    shutil.copytree(model, other)
    found = yaml.safe_load((other / "MLmodel").read_text())
    found["sparkml_lifecycle"]["versions"] = {"pyarrow": "1.2.3", "no-such-package": "4.5"}
    (other / "MLmodel").write_text(yaml.safe_dump(found))
    for engine in (*ENGINES, "local"):
        asked = conf("auto" if engine == "local" else engine, model=str(other), to=engine)
        notes = run_job(None if engine == "local" else spark, asked).notes
        said = [note for note in notes if "workers have not the versions of the model" in note]
        assert len(said) == 1, (engine, notes)
        assert f"pyarrow 1.2.3 (here {pa.__version__})" in said[0]
        assert "no-such-package 4.5 (here missing)" in said[0]
    assert not run_job(spark, conf("direct", to="same")).notes


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
    from sparkml_lifecycle.scoring import direct

    write_deltalake(str(tmp_path / "source"), odd_rows())
    run_job(spark, conf("direct"))
    score = direct.run

    def others_write_meanwhile(*arguments):
        done = score(*arguments)
        run_job(spark, conf("direct", mode="append", batch="b", job="other"))
        return done

    monkeypatch.setattr(direct, "run", others_write_meanwhile)
    with monkeypatch.context() as patch:
        calls = []
        patch.setattr(
            direct,
            "run",
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
    with pytest.raises(
        errors.SchemaError, match=r"Columns of the batch have other types .*: id \(string, there bigint\)"
    ):
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


# -- partitions ----------------------------------------------------------------------------------------------------------

PARTITIONS = ["text", "small", "long", "flag", "day", "time", "money", "double", "single"]
TEXTS = ["a b", "+-%/:=?&é\U0001f600", None, "2026-01-01", "a\nb'c\"\\", "#{x}[y]^~"]


def partition_rows():
    """A row for each partition, whose columns have every type that Delta has partitions of."""
    return pa.table(
        {
            "id": pa.array(range(6), pa.int64()),
            "a": [1.0, math.nan, 2.0, 3.0, 4.0, 5.0],
            "b": [1.0] * 6,
            "text": pa.array(TEXTS),
            "small": pa.array([1, None, -128, 127, 0, 1], pa.int8()),
            "long": pa.array([1, None, -(2**63), 2**63 - 1, 0, 1]),
            "flag": pa.array([True, False, None, True, False, True]),
            "day": pa.array([date(2026, 11, 26), None, date(1970, 1, 1), date(1969, 12, 31), date(9999, 12, 31), date(1, 1, 2)]),
            "time": pa.array(
                [
                    datetime(2026, 11, 26, 1, 2, 3, 999_999, UTC), None, datetime(1969, 12, 31, 23, 59, 59, 500_000, UTC),
                    datetime(2026, 3, 29, 1, 30, tzinfo=UTC), datetime(2200, 12, 31, tzinfo=UTC), datetime(1900, 1, 1, tzinfo=UTC),
                ],
                pa.timestamp("us", "UTC"),
            ),
            "money": pa.array([decimal.Decimal("1.10"), None, *[decimal.Decimal("0.01")] * 4], pa.decimal128(12, 2)),
            "double": pa.array([1.5, None, 0.25, 100.0, 3.0, -2.5]),
            "single": pa.array([1.5, None, 0.1, 100.0, 3.0, -2.5], pa.float32()),
        }
    )  # fmt: skip


def hard_numbers(rows):
    """Numbers by which delta-rs itself cannot write partitions."""
    money = pa.array(
        [
            decimal.Decimal("-0.01"),
            decimal.Decimal(0),
            None,
            decimal.Decimal("1234567890"),
            decimal.Decimal("1.1"),
            None,
        ]
    )
    double = pa.array([math.nan, -0.0, math.inf, 1e300, 1e-7, 12345678.9])
    for name, values in (("money", money), ("double", double), ("single", double.cast(pa.float32(), safe=False))):
        place = rows.column_names.index(name)
        rows = rows.set_column(place, name, values.cast(rows.schema.field(name).type))
    return rows  # fmt: skip


def by_spark(spark, place, condition="true"):
    found = spark.read.format("delta").load(str(place)).where(condition).orderBy("id").toArrow()
    return found.drop_columns([name for name in found.column_names if name == "scored_at"])


def partitions_of(place):
    """The partitions' values as the log of a table spells them, each once."""
    lines = [line for file in Path(place, "_delta_log").glob("*.json") for line in file.read_text().splitlines()]
    found = {
        json.dumps(json.loads(line)["add"]["partitionValues"], sort_keys=True) for line in lines if '"add"' in line
    }
    return sorted(found)


@pytest.mark.spark
@pytest.mark.parametrize("writer", ["delta-rs", "spark", "duckdb"])
def test_a_source_with_partitions_gives_equal_rows_by_all_engines(spark, conf, tmp_path, writer):
    rows, source = partition_rows(), tmp_path / "source"
    if writer == "delta-rs":
        write_deltalake(str(source), rows, partition_by=PARTITIONS)
    elif writer == "spark":
        rows = hard_numbers(rows)
        spark.createDataFrame(rows).write.format("delta").partitionBy(*PARTITIONS).save(str(source))
    else:
        # what a null is called in the directory, and a partition's column that is in the file too
        rows = rows.select(["id", "a", "b", "text", "day"])
        duckdb.sql(
            f"copy (from rows) to '{source}' (format parquet, partition_by (text, day), write_partition_columns true)"
        )
        files = [str(file.relative_to(source)) for file in sorted(source.rglob("*.parquet"))]
        held = [pq.ParquetFile(source / file).read().select(["text", "day"]).to_pylist()[0] for file in files]
        values = [{"text": one["text"], "day": one["day"] and one["day"].isoformat()} for one in held]
        delta_of(source, rows.schema, ["text", "day"], *zip(files, values, strict=True))
    found = {}
    for engine in ENGINES:
        report = run_job(spark, conf(engine))
        assert (report.engine, report.rows) == (engine, 6)
        found[engine] = read(report.target)
    for engine, table in found.items():
        assert text(table.select(rows.column_names)) == text(rows), engine
        assert table.drop_columns("scored_at").schema == found["column"].drop_columns("scored_at").schema, engine
        assert text(table.select(["prediction"])) == text(pa.table({"p": rows["a"].to_numpy() + 1})), engine
    assert text(by_spark(spark, source)) == text(rows)


@pytest.mark.spark
def test_a_target_with_partitions_is_the_same_by_all_engines(spark, conf, tmp_path):
    rows = hard_numbers(partition_rows())
    rows = pa.concat_tables([rows, rows.set_column(0, "id", pa.array(range(6, 12)))])
    # an empty text is null, as in Spark's own tables
    texts = [*TEXTS, *TEXTS[:5], ""]
    rows = rows.set_column(3, "text", pa.array(texts))
    write_deltalake(str(tmp_path / "source"), rows)
    wanted = rows.set_column(3, "text", pa.array([one or None for one in texts]))
    values = {}
    for engine in ENGINES:
        target = {"path": str(tmp_path / f"target-{engine}"), "partition_by": PARTITIONS}
        report = run_job(spark, conf(engine, target=target))
        assert (report.engine, report.rows) == (engine, 12)
        assert text(by_spark(spark, report.target).select(rows.column_names)) == text(wanted), engine
        assert text(read(report.target).select(rows.column_names)) == text(wanted), engine
        assert DeltaTable(report.target).metadata().partition_columns == PARTITIONS
        values[engine] = partitions_of(report.target)
        if engine != "column":  # Spark's own files have them
            file = next(Path(report.target).rglob("*.parquet"))
            assert not set(PARTITIONS) & set(pq.ParquetFile(file).schema_arrow.names)
    assert values["direct"] == values["dataframe"] == values["column"]
    # Spark leaves out the files of other partitions, and by their statistics those of other rows
    table = spark.read.format("delta").load(str(tmp_path / "target-direct"))
    for condition, files in (
        ("true", 7), ("text = 'a b'", 1), ("day = '1970-01-01'", 1), ("id > 10", 1), ("money < 0", 1), ("text is null", 2),
        ("time = timestamp '1969-12-31T23:59:59.5Z'", 1), ("double = double('NaN')", 1),
    ):  # fmt: skip
        assert len(table.where(condition).inputFiles()) == files, condition


@pytest.mark.spark
def test_a_batch_takes_the_partitions_of_its_table_and_no_others(spark, conf, tmp_path):
    write_deltalake(str(tmp_path / "source"), odd_rows())
    for engine in ("direct", "column"):
        place = str(tmp_path / f"t-{engine}")
        parts = {"path": place, "partition_by": ["flag", "model_name"]}
        run_job(spark, conf(engine, mode="append", batch="1", target=parts))
        report = run_job(spark, conf(engine, mode="append", batch="2", target={"path": place}))
        assert (report.engine, report.rows) == (engine, 6)
        assert {path.parent.parent.name for path in Path(place).rglob("*.parquet")} == {
            "flag=true", "flag=false", "flag=__HIVE_DEFAULT_PARTITION__",
        }  # fmt: skip
        with pytest.raises(
            errors.InvalidInput, match="is day, and the table at .* has the partitions flag, model_name"
        ):
            run_job(spark, conf(engine, mode="append", batch="3", target={"path": place, "partition_by": ["day"]}))
        assert by_spark(spark, place).num_rows == read(place).num_rows == 12
    report = run_job(
        spark, conf("direct", target={"path": str(tmp_path / "t-direct"), "partition_by": ["flag", "model_name"]})
    )
    assert (report.rows, read(report.target).num_rows, by_spark(spark, report.target).num_rows) == (6, 6, 6)
    with pytest.raises(
        errors.InvalidInput, match="engine: direct cannot do this job: delta-rs cannot change the partitions"
    ):
        run_job(spark, conf("direct", target={"path": str(tmp_path / "t-direct")}))
    for partition_by, error, said in (
        (["day"], errors.SchemaError, "names day, which the target does not have. It has: id, flag"),
        (["flag", "flag"], errors.InvalidInput, "names a column twice"),
        (["list"], errors.InvalidInput, r"names list \(array\)"),
    ):
        keep = ["id", "flag", "list"]
        with pytest.raises(error, match=said):
            run_job(spark, conf("auto", keep=keep, target={"path": str(tmp_path / "n"), "partition_by": partition_by}))
    assert not (tmp_path / "n").exists()


@pytest.mark.spark
def test_a_session_in_another_time_zone_changes_no_time(spark, conf, tmp_path):
    rows = partition_rows().select(["id", "a", "b", "day", "time"])
    write_deltalake(str(tmp_path / "source"), rows)
    spark.conf.set("spark.sql.session.timeZone", "America/New_York")
    try:
        write = spark.read.format("delta").load(str(tmp_path / "source")).write.format("delta").partitionBy("time")
        write.save(str(tmp_path / "times"))
        for engine, source in (*((one, "source") for one in ENGINES), ("auto", "times")):
            target = {"path": str(tmp_path / f"{engine}-{source}"), "partition_by": ["time"]}
            report = run_job(spark, conf(engine, {"path": str(tmp_path / source)}, target=target))
            assert ("read in" in report.why or "reads in" in report.why) == (source == "times")
            assert text(read(report.target).select(rows.column_names)) == text(rows), engine
            times = spark.read.format("delta").load(report.target).selectExpr("id", "unix_micros(time) t").orderBy("id")
            assert times.toArrow()["t"].to_pylist() == rows["time"].cast(pa.int64()).to_pylist(), engine
    finally:
        spark.conf.set("spark.sql.session.timeZone", "UTC")


# -- rows for which the model raises -------------------------------------------------------------------------------------


@pytest.mark.spark
@pytest.mark.parametrize("engine", ENGINES)
def test_rows_that_the_model_raises_for_are_null_with_a_reason(spark, conf, tmp_path, engine):
    a = np.arange(1000.0)
    bad = [0, 500, 501, 999]
    a[bad] = -1e10
    rows = pa.table({"id": np.arange(1000), "a": a, "b": np.ones(1000), "part": np.arange(1000) % 3})
    write_deltalake(str(tmp_path / "source"), rows.slice(0, 400))
    write_deltalake(str(tmp_path / "source"), rows.slice(400), mode="append")
    target = {"path": str(tmp_path / "t"), "partition_by": ["part"]}
    # an unquoted null in YAML
    report = run_job(spark, conf(engine, on_error=None, prefix="p_", target=target))
    assert (report.engine, report.rows, report.errors) == (engine, 1000, 4)
    assert "4 of them with an error" in report.pace
    assert ml.LifecycleClient().get_run(report.run_id).data.metrics["errors"] == 4
    for table in (read(report.target), by_spark(spark, report.target)):
        assert table.num_rows == 1000
        assert table.schema.field("p_prediction").type == pa.float64()
        assert [i for i, one in enumerate(table["p_prediction"].to_pylist()) if one is None] == bad
        assert table["p_prediction"].drop_null().to_pylist() == (np.delete(a, bad) + 1).tolist()
        reasons = table["p_error"].to_pylist()
        assert [i for i, one in enumerate(reasons) if one is not None] == bad
        assert "raised ValueError in predict" in reasons[0]
        assert "4711" not in reasons[0]
    table = spark.read.format("delta").load(report.target)
    assert len(table.where("part = 1").inputFiles()) < len(table.inputFiles())
    # a batch that is there already counts nothing
    if engine == "column":
        again = {"mode": "append", "batch": "b", "on_error": "null"}
        assert [run_job(spark, conf(engine, to="b", **again)).errors for _ in range(2)] == [4, 0]
    # one task alone
    few = {"path": str(tmp_path / "few"), "partition_by": ["part"]}
    with pytest.raises(errors.ScoringError, match="more than 1 rows of one task, and max_errors is 1"):
        run_job(spark, conf(engine, target=few, max_errors=1, on_error="null"))
    # nothing is there but what nobody reads, so the job can be run again
    assert not DeltaTable.is_deltatable(few["path"])
    if engine != "column":
        assert hadoop.kind(spark, few["path"]) == "nothing"


@pytest.mark.spark
@pytest.mark.parametrize("engine", ["direct", "dataframe"])
def test_the_sum_of_all_tasks_is_held_to_the_limit_before_the_commit(spark, conf, tmp_path, monkeypatch, engine):
    rows = pa.table({"id": [1, 2, 3, 4], "a": [-1e10, 1.0, 1.0, -1e10], "b": [1.0] * 4})
    write_deltalake(str(tmp_path / "source"), rows.slice(0, 2))
    write_deltalake(str(tmp_path / "source"), rows.slice(2), mode="append")
    # a task for each file
    monkeypatch.setattr(split, "task_count", lambda *given: 2)
    spark.conf.set("spark.sql.files.openCostInBytes", str(2**30))
    try:
        with pytest.raises(errors.ScoringError, match="raised for 2 rows, and max_errors is 1; nothing was committed"):
            run_job(spark, conf(engine, on_error="null", max_errors=1))
    finally:
        spark.conf.unset("spark.sql.files.openCostInBytes")
    assert not DeltaTable.is_deltatable(str(tmp_path / f"target-{engine}"))
    assert not list((tmp_path / f"target-{engine}").rglob("*.parquet"))


@pytest.mark.spark
def test_a_struct_of_answers_is_null_as_a_whole_by_all_engines(spark, lake, tmp_path):
    def two(frame):
        if (frame["a"] < 0).any():
            raise ValueError("4711")
        return frame.assign(b=frame["a"] * 2)

    frame = pa.table({"a": [1.0, 2.0]}).to_pandas()
    signature = ml.models.infer_signature(frame, frame.assign(b=frame["a"]))
    package.save(two, tmp_path / "two", Description(signature=signature, allow_code=True))
    write_deltalake(str(tmp_path / "source"), pa.table({"id": [1, 2], "a": [1.0, -1.0]}))
    content = {"model": str(tmp_path / "two"), "source": {"path": str(tmp_path / "source")}, "tracking_uri": str(lake)}
    for engine in ENGINES:
        change = {"engine": engine, "on_error": "null", "allow_code": True, "target": {"path": str(tmp_path / engine)}}
        report = run_job(spark, check({**content, **change}))
        assert report.errors == 1
        for table in (read(report.target), by_spark(spark, report.target)):
            assert table["prediction"].to_pylist() == [{"a": 1.0, "b": 2.0}, None]
            assert table["error"].is_null().to_pylist() == [True, False]


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
    ("size", "cores", "tasks"), [(0, 2, 1), (10**6, 8, 1), (10**8, 2, 4), (10**8, 8, 16), (10**12, 8, 936)]
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
