"""``spark_udf`` on a real session: how columns are matched, types are asked for, nulls answer."""

import numpy as np
import pandas as pd
import pytest

from sparkml_lifecycle import errors, package, pyfunc
from sparkml_lifecycle.package import Description
from tests.flavors.models import CASES

pytestmark = pytest.mark.spark


@pytest.fixture(
    scope="module",
    params=["sklearn-pipeline", "sklearn-histogram", "xgboost-regressor", "xgboost-categories", "function"],
)
def saved(request, tmp_path_factory):
    case = CASES[request.param]
    path = tmp_path_factory.mktemp("udf") / "model"
    model = case.train()
    package.save(model, path, Description(input_example=case.frame().head(5), allow_code=case.needs_consent))
    return case, path


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    case = CASES["sklearn-pipeline"]
    path = tmp_path_factory.mktemp("pipeline") / "model"
    package.save(case.train(), path, Description(input_example=case.frame().head(5)))
    return case, path


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    case = CASES["sklearn-histogram"]
    path = tmp_path_factory.mktemp("classifier") / "model"
    package.save(case.train(), path, Description(input_example=case.frame().head(5)))
    return case, path


@pytest.fixture(scope="module")
def h2o():
    """A real H2O server, ended with this module."""
    import h2o

    h2o.init(nthreads=2, max_mem_size="2G", strict_version_check=False, verbose=False)
    h2o.no_progress()
    yield h2o
    h2o.cluster().shutdown()


def frame_of(spark, case):
    plain = case.frame()
    return spark.createDataFrame(plain.assign(carrier=plain["carrier"].astype(str)) if case.categorical else plain)


def answers(frame, column):
    return frame.select(column.alias("p")).toPandas()["p"].to_numpy()


def test_columns_by_name_in_any_order_as_a_struct_or_none_at_all_answer_alike(spark, saved):
    from pyspark.sql import functions as F

    case, path = saved
    udf = pyfunc.spark_udf(spark, path, allow_code=case.needs_consent)
    frame = frame_of(spark, case)
    wanted = np.asarray(package.read(path, allow_code=case.needs_consent).predict(case.frame()))
    for column in (
        udf(*case.columns),
        udf(*reversed(case.columns)),
        udf(*(F.col(c) for c in case.columns)),
        udf(F.struct(*reversed(case.columns))),
        udf(),
    ):
        found = answers(frame, column)
        if case.exact or found.dtype == object:
            np.testing.assert_array_equal(found, wanted)
        else:
            np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_expressions_are_matched_by_position(spark, pipeline):
    from pyspark.sql import functions as F

    case, path = pipeline
    udf = pyfunc.spark_udf(spark, path)
    names = udf._names
    doubled = answers(frame_of(spark, case), udf(*[F.col(n) * 2 if n == "speed" else F.col(n) for n in names]))
    model = package.read(path)
    np.testing.assert_allclose(doubled, model.predict(case.frame().assign(speed=case.frame()["speed"] * 2)), rtol=1e-12)


def test_a_column_in_another_inputs_place_is_an_error(spark, pipeline):
    from pyspark.sql import functions as F

    udf = pyfunc.spark_udf(spark, pipeline[1])
    message = r"Argument 1 is the column 'gate', but 'speed' belongs there\. Argument 2, the expression .*speed.*\.alias\('speed'\)"
    with pytest.raises(errors.SchemaError, match=message):
        udf("gate", F.col("speed") + 1, "heat", "carrier")
    with pytest.raises(errors.SchemaError, match="Argument 2, 'fast', bears no name"):
        udf("gate", "fast", "heat", "carrier")
    with pytest.raises(errors.SchemaError, match="all by position"):
        udf("gate", F.lit(1), F.lit(2), "carrier")


def test_an_alias_makes_an_expression_match_by_name(spark, pipeline):
    from pyspark.sql import functions as F

    case, path = pipeline
    udf = pyfunc.spark_udf(spark, path)
    found = answers(frame_of(spark, case), udf("gate", (F.col("speed") + 1).alias("speed"), "heat", "carrier"))
    wanted = package.read(path).predict(case.frame().assign(speed=case.frame()["speed"] + 1))
    np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_the_number_of_columns_is_checked(spark, pipeline):
    udf = pyfunc.spark_udf(spark, pipeline[1])
    with pytest.raises(errors.SchemaError, match=r"takes 4 columns.* 2 were given"):
        udf("speed", "gate")


def test_a_wider_type_is_taken_and_a_lossy_one_refused(spark, pipeline):
    from pyspark.errors import PythonException
    from pyspark.sql import functions as F

    case, path = pipeline
    udf = pyfunc.spark_udf(spark, path)
    frame = frame_of(spark, case)
    widened = frame.withColumn("gate", F.col("gate").cast("int")).withColumn("speed", F.col("speed").cast("int"))
    assert len(answers(widened, udf())) == len(case.frame())
    with pytest.raises(PythonException, match="'gate' is double, the model takes bigint"):
        answers(frame.withColumn("gate", F.col("gate").cast("double")), udf())


@pytest.mark.parametrize(
    ("result_type", "first"),
    [
        ("array<double>", list),
        ("struct<early:double,late:double>", tuple),
        ("map<string,double>", dict),
        ("array<string>", list),
        ("double", float),
        ("string", str),
    ],
)
def test_probabilities_take_every_shape(spark, classifier, result_type, first):
    case, path = classifier
    udf = pyfunc.spark_udf(spark, path, result_type, predict_fn="predict_proba")
    found = frame_of(spark, case).select(udf().alias("p")).head()["p"]
    assert isinstance(found, first)
    wanted = package.read(path).predict(case.frame().head(1), predict_fn="predict_proba")["early"][0]
    early = {list: lambda: float(found[0]), tuple: lambda: found.early, dict: lambda: found["early"]}.get(
        first, lambda: float(found)
    )()
    assert early == pytest.approx(wanted, rel=1e-12)


def test_an_answer_that_cannot_become_the_type_says_what_there_is(spark, classifier):
    from pyspark.errors import PythonException

    case, path = classifier
    udf = pyfunc.spark_udf(spark, path, "timestamp")
    with pytest.raises(PythonException, match=r"prediction string\) cannot become timestamp|cannot become timestamp"):
        answers(frame_of(spark, case), udf())


def test_a_null_answers_null_where_the_model_refuses_it_and_what_it_says_where_not(spark, pipeline, classifier):
    from pyspark.sql import functions as F

    for case, path in (pipeline, classifier):
        udf = pyfunc.spark_udf(spark, path)
        gaps = frame_of(spark, case).withColumn("gate", F.when(F.col("gate") > 4, F.col("gate")))
        found = answers(gaps.coalesce(1), udf())
        alone = answers(gaps.repartition(20).sortWithinPartitions("speed"), udf())
        empty = case.frame()["gate"] <= 4
        if case.flavor == "sklearn" and case.columns[-1] == "carrier":
            assert np.isnan(found.astype(float)[empty]).all()
            assert not np.isnan(found.astype(float)[~empty]).any()
        else:
            assert set(found) <= {"early", "late"}
        assert sorted(map(str, found)) == sorted(map(str, alone)) or case.flavor == "sklearn"


def test_a_model_is_loaded_once_per_worker(spark, tmp_path):
    import os

    counts = tmp_path / "counts"
    counts.mkdir()

    class Counting(pyfunc.PythonModel):
        def load_context(self, context):
            open(f"{counts}/{os.getpid()}-{os.urandom(4).hex()}", "w").close()

        def predict(self, context, model_input, params=None):
            return model_input["x"]

    sample = pd.DataFrame({"x": [1.0]})
    package.save(Counting(), tmp_path / "m", Description(input_example=sample, allow_code=True))
    udf = pyfunc.spark_udf(spark, tmp_path / "m", allow_code=True)
    for file in counts.iterdir():
        file.unlink()
    for _ in range(3):
        assert spark.range(64).selectExpr("cast(id as double) as x").repartition(16).select(udf("x")).count() == 64
        spark.range(64).selectExpr("cast(id as double) as x").repartition(16).select(udf("x").alias("p")).agg(
            {"p": "sum"}
        ).collect()
    loads = [file.name.split("-")[0] for file in counts.iterdir()]
    assert loads
    assert len(loads) == len(set(loads))


def test_a_model_that_raises_names_itself_and_not_the_row(spark, tmp_path):
    from pyspark.errors import PythonException

    def picky(frame):
        if (frame["x"] == 7.0).any():
            raise ValueError("the secret 4711")
        return frame["x"]

    package.save(picky, tmp_path / "m", Description(input_example=pd.DataFrame({"x": [1.0]}), allow_code=True))
    udf = pyfunc.spark_udf(spark, tmp_path / "m", allow_code=True)
    with pytest.raises(PythonException, match="raised ValueError in predict") as caught:
        spark.range(20).selectExpr("cast(id as double) as x").select(udf("x").alias("p")).collect()
    assert "4711" not in str(caught.value)


def test_sql_knows_a_registered_model(spark, pipeline):
    case, path = pipeline
    spark.udf.register("delay", pyfunc.spark_udf(spark, path))
    frame_of(spark, case).createOrReplaceTempView("rows")
    found = spark.sql("select delay(speed, gate, heat, carrier) as p from rows").toPandas()["p"]
    np.testing.assert_allclose(found, package.read(path).predict(case.frame()), rtol=1e-12)


def test_only_the_local_environment_and_known_evaluators_are_taken(spark, pipeline):
    with pytest.raises(errors.InvalidInput, match="env_manager='conda'"):
        pyfunc.spark_udf(spark, pipeline[1], env_manager="conda")
    with pytest.raises(errors.InvalidInput, match="evaluator"):
        pyfunc.spark_udf(spark, pipeline[1], evaluator="warp")
    with pytest.raises(errors.InvalidInput, match="has no 'predict_proba'"):
        pyfunc.spark_udf(spark, pipeline[1], predict_fn="predict_proba")
    with pytest.raises(errors.InvalidInput, match="not a Spark type"):
        pyfunc.spark_udf(spark, pipeline[1], "dubble")


@pytest.fixture(scope="module")
def tenfold(tmp_path_factory):
    """Saves a model that answers ten times its first column plus its second: swapped columns show."""
    from sklearn.linear_model import LinearRegression

    def save(*names):
        frame = pd.DataFrame(np.random.default_rng(0).normal(size=(50, 2)), columns=list(names))
        model = LinearRegression().fit(frame, frame.iloc[:, 0] * 10 + frame.iloc[:, 1])
        path = tmp_path_factory.mktemp("tenfold") / "model"
        package.save(model, path, Description(input_example=frame.head()))
        return path

    return save


@pytest.mark.parametrize(
    "names", [("my a", "my b"), ("x-a", "x-b"), ("a`b", "a`c"), ("a.b", "a.c"), ("é", "ü"), ("1a", "2b")]
)
def test_columns_of_every_name_are_matched_by_name(spark, tenfold, names):
    from pyspark.sql import functions as F
    from pyspark.sql import types as T

    udf = pyfunc.spark_udf(spark, tenfold(*names))
    schema = T.StructType([T.StructField(name, T.DoubleType()) for name in names])
    frame = spark.createDataFrame([(1.0, 2.0)], schema)
    quoted = [f"`{name.replace('`', '``')}`" for name in names]
    first, second = (F.col(name) for name in quoted)
    ways = [
        udf(),
        udf(*reversed(names)),
        udf(second, first),
        udf(*reversed(quoted)),
        udf(*(frame[name] for name in reversed(quoted))),
        udf(second, (first * 1).alias(names[0])),
        udf(F.struct(second, first)),
        udf(first * 1, second * 1),
    ]
    # one after the other, and to the end: each call in one row would have a worker of its own, and head() ends one
    np.testing.assert_allclose([frame.select(way).collect()[0][0] for way in ways], [12.0] * len(ways), rtol=1e-9)
    aliased = frame.alias("t").select(udf(*(F.col(f"t.{name}") for name in reversed(quoted))))
    np.testing.assert_allclose(aliased.collect()[0], [12.0], rtol=1e-9)


def test_names_are_compared_as_the_session_has_it(spark, tenfold):
    from pyspark.sql import functions as F

    udf = pyfunc.spark_udf(spark, tenfold("a", "b"))
    frame = spark.createDataFrame([(1.0, 2.0)], "a double, b double")
    np.testing.assert_allclose(
        frame.select(udf("B", "A"), udf(F.col("B"), F.col("a"))).collect()[0], [12.0, 12.0], rtol=1e-9
    )
    with pytest.raises(errors.SchemaError, match="is the column 'b', but 'a' belongs there"):
        udf(F.col("B"), F.lit(1.0))
    spark.conf.set("spark.sql.caseSensitive", "true")
    try:
        upper = frame.toDF("A", "B")
        np.testing.assert_allclose(upper.select(udf("B", "A")).collect()[0], [21.0], rtol=1e-9)
    finally:
        spark.conf.unset("spark.sql.caseSensitive")


def test_a_text_that_is_a_literal_or_sql_is_no_name_by_chance(spark, tenfold):
    from pyspark.sql import functions as F

    udf = pyfunc.spark_udf(spark, tenfold("a", "b"))
    frame = spark.createDataFrame([(1.0, 2.0)], "a double, b double")
    found = frame.select(
        udf(F.expr("b"), F.expr("`a`")), udf(F.expr("a + 0"), F.expr("b + 0")), udf(F.lit(1.0), F.lit(2.0))
    )
    np.testing.assert_allclose(found.collect()[0], [12.0] * 3, rtol=1e-9)


@pytest.mark.parametrize(
    "result_type", [None, "array<double>", "struct<early:double,late:double>", "map<string,double>", "double"]
)
def test_a_batch_of_left_out_rows_is_nulls_of_the_type(spark, tmp_path, result_type):
    from sklearn.linear_model import LogisticRegression

    case = CASES["sklearn-histogram"]
    frame = case.frame()
    model = LogisticRegression(max_iter=1000).fit(frame, np.where(frame["speed"] > 10, "late", "early"))
    package.save(model, tmp_path / "m", Description(input_example=frame.head()))
    udf = pyfunc.spark_udf(spark, tmp_path / "m", result_type, predict_fn="predict_proba")
    rows = frame_of(spark, case).limit(2)
    gaps = rows.selectExpr("cast(null as double) as speed", "gate", "heat")
    assert [row["p"] for row in gaps.select(udf().alias("p")).collect()] == [None, None]
    mixed = gaps.union(rows).coalesce(1).select(udf().alias("p")).collect()
    assert [row["p"] is None for row in mixed] == [True, True, False, False]


def test_a_function_without_a_signature_keeps_the_name_of_its_one_column(spark, tmp_path):
    package.save(lambda frame: frame["x"].astype(str), tmp_path / "m", Description(allow_code=True))
    udf = pyfunc.spark_udf(spark, tmp_path / "m", "string", allow_code=True)
    frame = spark.createDataFrame([(1,), (None,)], "x int")
    found = {row["x"]: row["p"] for row in frame.coalesce(1).select("x", udf("x").alias("p")).collect()}
    assert found == {1: "1", None: "<NA>"}


def test_arrays_for_a_model_of_arrays(spark, tmp_path):
    import xgboost
    from pyspark.errors import PythonException
    from pyspark.ml.linalg import Vectors

    inputs = np.random.default_rng(0).normal(size=(100, 2))
    model = xgboost.XGBRegressor(n_estimators=3, n_jobs=1).fit(inputs, inputs[:, 0])
    package.save(model, tmp_path / "m", Description(input_example=inputs[:5]))
    udf = pyfunc.spark_udf(spark, tmp_path / "m")
    frame = spark.createDataFrame([([1.0, 2.0],), (None,), ([1.0, None],)], "f array<double>").coalesce(1)
    found = [row["p"] for row in frame.select(udf("f").alias("p")).collect()]
    assert found == [float(model.predict([[1.0, 2.0]])[0]), None, float(model.predict([[1.0, np.nan]])[0])]
    with pytest.raises(PythonException, match="takes arrays of 2 values; the array column also holds arrays of 1"):
        spark.createDataFrame([([1.0],), ([2.0],)], "f array<double>").coalesce(1).select(udf("f")).collect()
    with pytest.raises(PythonException, match=r"vector_to_array\('features'\)"):
        spark.createDataFrame([(Vectors.dense([1.0, 2.0]),)], ["f"]).select(udf("f")).collect()


@pytest.mark.h2o
@pytest.mark.filterwarnings("ignore::h2o.exceptions.H2ODependencyWarning")
def test_the_snippet_of_the_slides_works_with_the_modules_name_changed(spark, h2o, lake):
    from pyspark.sql.types import ArrayType, DoubleType

    import sparkml_lifecycle as mlflow
    from sparkml_lifecycle import pyfunc

    frame = CASES["sklearn-pipeline"].frame()
    training = h2o.H2OFrame(frame.assign(target=frame["speed"] * 2 - frame["gate"]))
    training["carrier"] = training["carrier"].asfactor()
    model = h2o.estimators.H2OGradientBoostingEstimator(ntrees=5, seed=1)
    model.train(x=list(frame.columns), y="target", training_frame=training)
    mlflow.set_experiment("ATTRI_PRO")
    with mlflow.start_run() as run:
        mlflow.log_model(model, "h2oModel", input_example=frame.head(3))
    modelRunId = run.info.run_id

    c = mlflow.tracking.MlflowClient()
    experiment = c.get_experiment_by_name("ATTRI_PRO")
    run = c.get_run(run_id=modelRunId)
    path_to_model = run.info.artifact_uri + "/h2oModel"
    model_udf = pyfunc.spark_udf(spark, path_to_model, ArrayType(DoubleType()))

    assert experiment.experiment_id == run.info.experiment_id
    found = spark.createDataFrame(frame).select(model_udf(*frame.columns).alias("p")).toPandas()["p"]
    wanted = model.predict(training).as_data_frame(use_pandas=True)["predict"]
    np.testing.assert_allclose([row[0] for row in found], wanted, rtol=1e-9)
    assert {len(row) for row in found} == {1}
