"""Registered models wherever a model's URI is taken: jobs with and without Spark, a conf file, Spark functions."""

import pandas as pd
import pyarrow as pa
import pytest
import yaml
from deltalake import DeltaTable, QueryBuilder, write_deltalake

import sparkml_lifecycle as ml
from sparkml_lifecycle import pyfunc, scoring
from sparkml_lifecycle.errors import IntegrityError
from sparkml_lifecycle.scoring.conf import read_conf
from sparkml_lifecycle.scoring.job import run_job
from tests.registry.models import save_mean


@pytest.fixture
def churn(client, tmp_path):
    """Two versions that answer 1 and 2; the first is the champion."""
    for value in (1.0, 2.0):
        client.register_model(save_mean(tmp_path / str(value), value), "churn")
    client.set_registered_model_alias("churn", "champion", 1)
    ml.set_tracking_uri(client.tracking_uri)
    return client


def rows_of(path):
    found = pa.table(QueryBuilder().register("t", DeltaTable(path)).execute("select * from t order by a").read_all())
    return found.select(["a", "prediction", "model_name", "model_version"]).to_pylist()


def test_a_job_stamps_the_version_that_the_alias_named(churn, tmp_path):
    source, target = str(tmp_path / "source"), str(tmp_path / "target")
    write_deltalake(source, pa.table({"a": [1.0], "b": [1.0]}))
    first = scoring.score_table(None, "models:/churn@champion", source, target)
    churn.set_registered_model_alias("churn", "champion", 2)
    write_deltalake(source, pa.table({"a": [2.0], "b": [2.0]}), mode="append")
    second = scoring.score_table(None, "models:/churn@champion", source, target)
    assert rows_of(target) == [
        {"a": 1.0, "prediction": 1.0, "model_name": "churn", "model_version": "1"},
        {"a": 2.0, "prediction": 2.0, "model_name": "churn", "model_version": "2"},
    ]
    assert first.model_digest != second.model_digest
    params = [churn.get_run(report.run_id).data.params for report in (first, second)]
    assert [one["model_version"] for one in params] == ["churn/1", "churn/2"]


def test_a_changed_model_scores_nothing(churn, tmp_path):
    write_deltalake(tmp_path / "source", pa.table({"a": [1.0], "b": [1.0]}))
    (tmp_path / "1.0" / "more").write_text("x")
    with pytest.raises(IntegrityError):
        scoring.score_table(None, "models:/churn/1", str(tmp_path / "source"), str(tmp_path / "target"))
    assert not (tmp_path / "target").exists()


@pytest.mark.spark
def test_spark_functions_and_the_jobs_conf_take_a_registered_model(churn, spark, tmp_path):
    frame = spark.createDataFrame(pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]}))
    for uri, expected in (("models:/churn@champion", 1.0), ("models:/churn/2", 2.0), ("models:/churn/latest", 2.0)):
        answers = frame.select(pyfunc.spark_udf(spark, uri)().alias("p")).toPandas()["p"]
        assert answers.tolist() == [expected] * 2
    scored = scoring.score(frame, "models:/churn@champion").toPandas()
    assert set(scored["model_version"]) == {"1"}
    assert set(scored["model_name"]) == {"churn"}
    frame.write.format("delta").save(str(tmp_path / "source"))
    conf = {
        "model": "models:/churn/2",
        "source": {"path": str(tmp_path / "source")},
        "target": {"path": str(tmp_path / "target")},
    }
    (tmp_path / "job.yml").write_text(yaml.safe_dump({**conf, "tracking_uri": churn.tracking_uri}))
    run_job(spark, read_conf(tmp_path / "job.yml"))
    assert [(one["prediction"], one["model_version"]) for one in rows_of(str(tmp_path / "target"))] == [(2.0, "2")] * 2
