"""Rows a second of ``spark_udf`` on the flights, MLflow's beside it: the same model, session settings and run.

``make bench-udf`` prints the table. Each figure is the median of several runs over a cached DataFrame of all flights,
replicated; the job sums the predictions. The spread is the smallest and largest run.
"""

import os
import statistics
import tempfile
import time
import warnings
from pathlib import Path

from sparkml_lifecycle.cli.flights import NUMBERS

REPEATS = int(os.environ.get("BENCH_REPEATS", "3"))
COPIES = int(os.environ.get("BENCH_COPIES", "2"))
COLUMNS = ["month", *NUMBERS]


def rate(frame, column, rows):
    from pyspark.sql import functions as F

    found = []
    for _ in range(REPEATS + 1):
        began = time.perf_counter()
        frame.select(column.alias("p")).agg(F.sum("p")).collect()
        found.append(rows / (time.perf_counter() - began))
    return found[1:]


def models(frame):
    import h2o
    import xgboost
    from h2o.estimators import H2OGradientBoostingEstimator
    from sklearn.linear_model import LinearRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from sparkml_lifecycle.cli.flights import TARGET

    inputs, wanted = frame[COLUMNS], frame[TARGET]
    yield (
        "scikit-learn linear",
        "sklearn",
        make_pipeline(StandardScaler(), LinearRegression()).fit(inputs, wanted),
        False,
    )
    yield (
        "XGBoost 100 x 6",
        "xgboost",
        xgboost.XGBRegressor(n_estimators=100, max_depth=6, n_jobs=2).fit(inputs, wanted),
        False,
    )
    yield "python function", "pyfunc", lambda model_input: model_input["dep_delay"] * 0.9, True
    h2o.init(nthreads=2, max_mem_size="2G", verbose=False, strict_version_check=False)
    h2o.no_progress()
    training = h2o.H2OFrame(frame[[*COLUMNS, TARGET]].sample(50_000, random_state=1))
    gbm = H2OGradientBoostingEstimator(ntrees=100, max_depth=5, seed=1)
    gbm.train(x=COLUMNS, y=TARGET, training_frame=training)
    yield "H2O GBM 100 x 5", "h2o", gbm, False
    h2o.cluster().shutdown()


def main():
    import mlflow
    from mlflow.models import infer_signature

    from sparkml_lifecycle import package, pyfunc
    from sparkml_lifecycle.cli import flights
    from sparkml_lifecycle.package import Description
    from sparkml_lifecycle.spark import get_spark

    warnings.simplefilter("ignore")
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    flights.write_flights(folder / "flights")
    training = flights.read_parts(folder / "flights").fit.dropna()
    spark = get_spark("bench", master="local[2]")
    once = spark.read.format("delta").load(str(folder / "flights")).dropna(subset=COLUMNS).select(*COLUMNS)
    frame = once
    for _ in range(COPIES - 1):
        frame = frame.union(once)
    frame = frame.repartition(8).cache()
    rows = frame.count()
    few = frame.limit(20_000).repartition(2).cache()
    print(
        f"{rows:,} flights, {len(COLUMNS)} doubles, local[2], median of {REPEATS} (smallest to largest), rows a second"
    )
    print(f"{'model':<22}{'sparkml_lifecycle':>36}{'MLflow':>36}{'ratio':>8}")
    for name, module, model, code in models(training):
        ours = folder / f"ours-{module}"
        package.save(model, ours, Description(input_example=training[COLUMNS].head(5), allow_code=code))
        theirs = str(folder / f"theirs-{module}")
        signature = infer_signature(training[COLUMNS].head(5))
        options = {"python_model": model, "pip_requirements": []} if module == "pyfunc" else {}
        saver = getattr(mlflow, module)
        saver.save_model(path=theirs, signature=signature, **options) if options else saver.save_model(
            model, theirs, signature=signature
        )
        # MLflow's H2O flavor sends every batch through an H2O server as CSV: fewer rows, the same measure
        slow = module == "h2o"
        fast_rates = rate(frame, pyfunc.spark_udf(spark, ours, "double", allow_code=True)(), rows)
        slow_frame, slow_rows = (few, few.count()) if slow else (frame, rows)
        slow_rates = rate(slow_frame, mlflow.pyfunc.spark_udf(spark, theirs, "double")(*COLUMNS), slow_rows)
        ratio = statistics.median(fast_rates) / statistics.median(slow_rates)
        print(f"{name:<22}{shown(fast_rates):>36}{shown(slow_rates):>36}{ratio:>8.1f}", flush=True)
    spark.stop()


def shown(rates):
    return f"{statistics.median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f})"


if __name__ == "__main__":
    main()
