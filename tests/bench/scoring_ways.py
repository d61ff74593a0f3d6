"""The ways to do a job that ``tests.bench.scoring`` compares; each runs in a process of its own and scores when it is told to."""

import atexit
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from datetime import UTC, datetime
from pathlib import Path

from tests.bench.scoring_data import NUMBERS, columns_of, part_of, paths_of

STAMPS = ("model_name", "model_version", "model_run_id", "model_digest", "scored_at")
BEST = {
    "spark.sql.execution.arrow.pythonUDF.columnarInput.enabled": "false",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "100000",
    "spark.python.unix.domain.socket.enabled": "true",
}
_CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sparkml-tests"
_KEPT = "flight_id"
_PARTITIONS = int(os.environ.get("BENCH_TASKS", "1000"))


def session(way, master="local[2]"):
    """Ours as the package makes it; a plain session with Delta as it comes or with the settings that MLflow is fastest with."""
    if way == "ours":
        from sparkml_lifecycle.spark import get_spark

        return get_spark("bench", master=master)
    from pyspark.sql import SparkSession

    os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    os.environ["PYSPARK_PYTHON"] = sys.executable
    settings = {
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
        "spark.jars": os.environ["BENCH_JARS"],
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        **(BEST if way == "best" else {}),
    }
    builder = SparkSession.builder.appName("bench").master(master)
    for key, value in settings.items():
        builder = builder.config(key, value)
    made = builder.getOrCreate()
    made.sparkContext.setLogLevel("ERROR")
    return made


def _stamped(frame):
    """The same columns as ours: what is kept, the answer and the stamps."""
    from pyspark.sql import functions as F

    stamps = [F.lit("x" * 64 if name == "model_digest" else None).cast("string").alias(name) for name in STAMPS[:-1]]
    return frame.select(_KEPT, "prediction", *stamps, F.lit(datetime.now(UTC)).cast("timestamp").alias("scored_at"))


def _query(source, folder):
    joined = f"select r.* from delta.`{source}` r join delta.`{folder}/carriers` c on r.carrier = c.carrier"
    return f"{joined} where r.distance > 300"


# -- Spark's ways ----------------------------------------------------------------------------------------------------------


def ours(job, source, folder):
    """``run_job``, all of it: reading the conf, the record in the lake, the commit."""
    from sparkml_lifecycle.scoring.conf import check
    from sparkml_lifecycle.scoring.job import run_job

    spark = session("ours")
    model = "linear" if job == "dataframe" else job
    asked = {"path": str(source)}
    if job == "dataframe":
        asked = {"path": _query(source, folder), "format": "sql"}

    def work(target):
        conf = check(
            {
                "model": str(folder / f"ours-{model}"), "source": asked, "target": {"path": target}, "job": f"bench-{job}",
                "mode": "overwrite", "keep": [_KEPT], "result_type": "double", "tracking_uri": str(folder / "lake"),
            }
        )  # fmt: skip
        began = time.perf_counter()
        report = run_job(spark, conf)
        seconds = time.perf_counter() - began
        began = time.perf_counter()
        spark.range(0, 4, 1, 4).mapInArrow(lambda batches: batches, "id long").collect()
        empty = time.perf_counter() - began
        return {
            "rows": report.rows,
            "engine": report.engine,
            "seconds": seconds,
            "scored": report.seconds,
            "empty": empty,
            "peak": _peak(),
        }

    return work


def _peak():
    """The most memory that one of Spark's Python workers has had, in bytes; 0 where there is no /proc."""
    parents = {}
    for place in Path("/proc").glob("[0-9]*/status"):
        try:
            said = dict(line.split(":", 1) for line in place.read_text().splitlines() if ":" in line)
        except OSError:
            continue  # it has ended
        parents[int(place.parent.name)] = (
            int(said["PPid"]),
            said["Name"].strip(),
            int(said.get("VmHWM", "0 kB").split()[0]),
        )

    def is_mine(number):
        while number in parents:
            if number == os.getpid():
                return True
            number = parents[number][0]
        return False

    python = [
        most for one, (_, name, most) in parents.items() if one != os.getpid() and "python" in name and is_mine(one)
    ]
    return max(python, default=0) * 1024


def _frame(spark, job, source, folder):
    return spark.sql(_query(source, folder)) if job == "dataframe" else spark.read.format("delta").load(str(source))


def mlflow(way):
    """MLflow's ``spark_udf``, made once; Spark writes the Delta table."""

    def made(job, source, folder):
        import mlflow.pyfunc

        if job.startswith("h2o"):
            import h2o
            import pyarrow.parquet as pq

            # its workers send every batch to this server as CSV, which takes minutes for a million rows
            h2o.init(nthreads=2, max_mem_size="2G", verbose=False)
            source = part_of(source, folder, 1)
            files = (path.removeprefix("file://") for path in paths_of(source))
            rows = {"rows": sum(pq.read_metadata(file).num_rows for file in files)}
        else:
            rows = {}
        spark = session(way)
        model = str(folder / f"theirs-{job}")
        udf = mlflow.pyfunc.spark_udf(spark, model, "double", env_manager="local")

        def work(target):
            frame = spark.read.format("delta").load(str(source))
            answered = frame.withColumn("prediction", udf(*columns_of(job)))
            _stamped(answered).write.format("delta").mode("overwrite").save(target)
            return rows

        return work

    return made


def by_hand(way):
    """``mapInArrow`` as one writes it by hand; Spark writes the Delta table."""

    def made(job, source, folder):
        spark = session(way)
        model = "linear" if job == "dataframe" else job
        columns, place = columns_of(model), str(folder / f"ours-{model}")

        def score(batches):
            import pyarrow as pa

            from sparkml_lifecycle import package

            loaded = package.read(Path(place), evaluator="native", warn=False)
            loaded.limit_threads(1)
            framework = loaded.unwrap()
            for batch in batches:
                if model.startswith("h2o"):
                    found = framework.score(pa.Table.from_batches([batch]))["predict"]
                else:
                    found = framework.predict(batch.select(columns).to_pandas())
                answers = pa.array(found).cast("double")
                yield pa.RecordBatch.from_arrays([batch["flight_id"], answers], names=["flight_id", "prediction"])

        def work(target):
            frame = _frame(spark, job, source, folder).select("flight_id", *columns)
            scored = frame.mapInArrow(score, "flight_id long, prediction double")
            _stamped(scored).write.format("delta").mode("overwrite").save(target)

        return work

    return made


def xgboost_spark(job, source, folder):
    """The transform of ``xgboost.spark``'s own model, with Spark's best settings; Spark writes the Delta table."""
    import xgboost
    from xgboost.spark import SparkXGBRegressor

    spark = session("best")
    trained = xgboost.XGBRegressor(n_jobs=1)
    trained.load_model(folder / "xgboost.ubj")
    # what its fit does after training, so that the very same trees are asked
    estimator = SparkXGBRegressor(features_col=NUMBERS)
    model = estimator._copyValues(estimator._create_pyspark_model(trained, None))

    def work(target):
        frame = spark.read.format("delta").load(str(source))
        _stamped(model.transform(frame)).write.format("delta").mode("overwrite").save(target)

    return work


def column(kind):
    """A column of answers, summed: this package's ``spark_udf``, or an Arrow or pandas iterator UDF by hand."""

    def made(job, source, folder):
        from pyspark.sql import functions as F

        spark = session({"ours": "ours", "mlflow": "plain"}.get(kind, "best"))
        place = str(folder / "ours-linear")
        if kind == "ours":
            from sparkml_lifecycle import pyfunc

            udf = pyfunc.spark_udf(spark, place, "double")
        elif kind == "mlflow":
            import mlflow.pyfunc

            udf = mlflow.pyfunc.spark_udf(spark, str(folder / "theirs-linear"), "double", env_manager="local")
        else:
            udf = _nothing() if kind == "nothing" else _arrow_udf(place) if kind == "arrow" else _pandas_udf(place)

        def work(target):
            frame = spark.read.format("delta").load(str(source))
            frame.select(udf(*NUMBERS).alias("p")).agg(F.sum("p")).collect()

        return work

    return made


def _arrow_udf(place):
    from collections.abc import Iterator

    import pyarrow as pa
    from pyspark.sql.functions import arrow_udf

    def score(batches):
        import numpy as np

        from sparkml_lifecycle import package

        model = package.read(Path(place), warn=False).unwrap()
        steps = [step for _, step in model.steps]
        for arrays in batches:
            rows = np.empty((len(arrays), len(arrays[0])))
            for row, array in zip(rows, arrays, strict=True):
                row[:] = array.to_numpy(zero_copy_only=False)
            scaled = (rows.T - steps[0].mean_) / steps[0].scale_
            yield pa.array(steps[1].predict(scaled))

    score.__annotations__ = {"batches": Iterator[tuple[pa.Array, ...]], "return": Iterator[pa.Array]}
    return arrow_udf(score, "double")


def _nothing():
    """What Spark itself takes for a function of these columns that does nothing."""
    from collections.abc import Iterator

    import pyarrow as pa
    from pyspark.sql.functions import arrow_udf

    def first(batches):
        for arrays in batches:
            yield arrays[0]

    first.__annotations__ = {"batches": Iterator[tuple[pa.Array, ...]], "return": Iterator[pa.Array]}
    return arrow_udf(first, "double")


def _pandas_udf(place):
    from collections.abc import Iterator

    import pandas as pd
    from pyspark.sql.functions import pandas_udf

    def score(batches):
        from sparkml_lifecycle import package

        model = package.read(Path(place), warn=False).unwrap()
        for series in batches:
            yield pd.Series(model.predict(pd.concat(series, axis=1, keys=NUMBERS)))

    score.__annotations__ = {"batches": Iterator[tuple[pd.Series, ...]], "return": Iterator[pd.Series]}
    return pandas_udf(score, "double")


def tiny(kind, master):
    """A thousand partitions of ten rows: what a task costs."""

    def made(job, source, folder):
        from pyspark.sql import functions as F

        spark = session("ours" if kind == "ours" else "plain", master)
        if kind == "ours":
            from sparkml_lifecycle import pyfunc

            udf = pyfunc.spark_udf(spark, str(folder / "ours-linear"), "double")
        else:
            import mlflow.pyfunc

            udf = mlflow.pyfunc.spark_udf(spark, str(folder / "theirs-linear"), "double", env_manager="local")

        def work(target):
            numbers = spark.range(0, 10 * _PARTITIONS, 1, _PARTITIONS)
            frame = numbers.select(*(F.col("id").cast("double").alias(name) for name in NUMBERS))
            frame.select(udf(*NUMBERS).alias("p")).write.format("noop").mode("overwrite").save()

        return work

    return made


# -- without Spark ---------------------------------------------------------------------------------------------------------


def limit(job, source, folder):
    """Two warm bare processes, each with half of the files, that read, predict, stamp and write what ours writes."""
    paths = paths_of(source)
    halves = [
        Way(["-m", "tests.bench.scoring_ways", "half", job, str(folder), json.dumps(paths[number::2])])
        for number in range(2)
    ]

    def work(target):
        for number, one in enumerate(halves):
            one.begin(f"{target}/{number}")
        written = 0
        for one in halves:
            found = one.end()
            if found is None or "error" in found:
                raise RuntimeError(f"a bare process failed: {found}")
            written += found["written"]
        return {"written": written}

    return work


def genmodel(job, source, folder):
    """genmodel's own loop in Java, two threads, over rows that are in memory: nothing is read, written or stamped.

    Texts are already the numbers that genmodel has for them.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from sparkml_lifecycle.flavors.genmodel import GENMODEL, MOJO

    columns, table = columns_of(job), pq.read_table(paths_of(source)[0].removeprefix("file://"))
    rows = Path(folder) / f"rows-{os.getpid()}-{Path(source).name}.bin"
    atexit.register(rows.unlink, missing_ok=True)
    mojo, jar = (next((folder / f"ours-{job}").rglob(name)) for name in (MOJO, GENMODEL))
    domains = _domains(mojo)
    values = [
        pc.index_in(table[name], pa.array(domains[name])).cast("double") if name in domains else table[name]
        for name in columns
    ]
    np.concatenate([one.to_numpy() for one in values]).tofile(rows)
    program = str(Path(__file__).with_name("Genmodel.java"))
    running = subprocess.Popen(
        ["java", "-cp", str(jar), program, str(mojo), str(rows), ",".join(columns)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip

    def work(target):
        print(file=running.stdin, flush=True)
        line = running.stdout.readline()
        if not line:
            raise RuntimeError("Genmodel.java ended")
        return {"seconds": float(line.split()[0]), "rows": table.num_rows}

    return work


def _domains(mojo):
    """The categories of each column of a MOJO, in its order."""
    with zipfile.ZipFile(mojo) as file:
        text = file.read("model.ini").decode()
        columns = text.partition("[columns]\n")[2].partition("\n\n")[0].split("\n")
        lines = text.partition("[domains]\n")[2].split("\n")
        known = [(columns[int(line.split(":")[0])], line.split()[-1]) for line in lines if ":" in line]
        return {name: file.read(f"domains/{place}").decode().split() for name, place in known}


def half(job, folder, paths):
    """One of the two bare processes."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from sparkml_lifecycle import package
    from sparkml_lifecycle.scoring.output import _ROW_GROUP, Output, _repeated

    loaded = package.read(folder / f"ours-{job}", evaluator="native", warn=False)
    loaded.limit_threads(1)
    nothing = pq.ParquetFile(paths[0].removeprefix("file://")).read_row_group(0).slice(0, 1)
    model, columns = loaded.unwrap(), columns_of(job)
    named = [pa.field(name, pa.string()) for name in STAMPS[:-1]]
    schema = pa.schema(
        [(_KEPT, pa.int64()), ("prediction", pa.float64()), *named, ("scored_at", pa.timestamp("us", "UTC"))]
    )
    stamps = {**dict.fromkeys(STAMPS[:-1]), "model_digest": loaded.digest, "scored_at": datetime.now(UTC)}
    # the very encodings of ours
    options = Output(None, schema, stamps)._options

    def answered(rows):
        if job.startswith("h2o"):
            return model.score(rows)["predict"]
        if job == "onehot":
            return model.predict(rows.select(columns).to_pandas())
        # what the framework is fastest with
        matrix = np.empty((rows.num_rows, len(columns)), order="F" if job in ("linear", "histogram") else "C")
        for number, name in enumerate(columns):
            matrix[:, number] = rows[name].to_numpy()
        return model.predict(matrix).astype(np.float64, copy=False)

    def stamped(rows):
        found = {_KEPT: rows[_KEPT], "prediction": pa.array(answered(rows))}
        constant = {
            one.name: _repeated(stamps[one.name], one.type, rows.num_rows) for one in schema if one.name in stamps
        }
        return pa.table({**found, **constant})

    @contextlib.contextmanager
    def open_sink(path):
        # the writer's schema has the dictionaries of the stamps
        with pq.ParquetWriter(path, stamped(nothing).schema, **options) as writer:
            yield lambda table: writer.write_table(table, row_group_size=_ROW_GROUP)

    def work(target):
        Path(target).mkdir(parents=True)
        with open_sink(f"{target}/part.parquet") as write:
            for path in paths:
                file = pq.ParquetFile(path.removeprefix("file://"))
                for batch in file.iter_batches(131_072, columns=[_KEPT, *columns], use_threads=False):
                    write(stamped(pa.Table.from_batches([batch])))

    return work


_PINNED = ("mlflow", "pyspark", "scikit-learn", "xgboost", "lightgbm", "h2o", "duckdb")


def peers():
    """The Python of an environment that has the peers and nothing of ours; made once, by pip's own choice of their dependencies."""
    # a model needs the library that has saved it, and Spark is to be the same
    return environment_with(_PINNED, ("polars", "deltalake"))


def environment_with(pinned, others):
    """The Python of an environment with some packages of our versions and others; made once."""
    root = Path(__file__).parents[2]
    pins = dict(line.split("==") for line in (root / "conf/constraints.txt").read_text().splitlines() if "==" in line)
    asked = [*(f"{name}=={pins[name]}" for name in pinned), *others]
    place = _CACHE / f"peers-{hashlib.sha256(' '.join(asked).encode()).hexdigest()[:12]}"
    if not place.exists():
        beside = _CACHE / f"peers-{os.getpid()}.making"
        uv = str(Path(sys.executable).with_name("uv"))
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(beside)], check=True)
        install = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", f"{beside}/bin/python", *asked]
        subprocess.run(install, check=True)
        beside.rename(place)
    return str(place / "bin/python")


def _sum(folder):
    terms = json.loads((folder / "linear.json").read_text())
    return [*zip(NUMBERS, terms["weights"], strict=True)], terms["constant"]


def duckdb(job, source, folder):
    """The linear model's arithmetic as SQL."""
    import duckdb as module

    terms, constant = _sum(folder)
    connection = module.connect(config={"threads": 2, "preserve_insertion_order": False})
    formula = " + ".join([repr(constant), *(f"{name} * {weight!r}" for name, weight in terms)])
    stamps = ", ".join(
        f"{repr('x' * 64) if name == 'model_digest' else 'null::varchar'} as {name}" for name in STAMPS[:-1]
    )
    files = [path.removeprefix("file://") for path in paths_of(source)]

    def work(target):
        rows = f"select {_KEPT}, {formula} as prediction, {stamps}, now() as scored_at from read_parquet({files})"
        connection.execute(f"copy ({rows}) to '{target}.parquet' (format parquet, compression zstd)")

    return work


def polars(job, source, folder):
    """The linear model's arithmetic as a lazy query."""
    os.environ["POLARS_MAX_THREADS"] = "2"
    import polars as pl

    terms, constant = _sum(folder)
    files = [path.removeprefix("file://") for path in paths_of(source)]

    def work(target):
        answer = sum((pl.col(name) * weight for name, weight in terms), pl.lit(constant)).alias("prediction")
        stamps = [pl.lit("x" * 64 if name == "model_digest" else None, pl.String).alias(name) for name in STAMPS[:-1]]
        chosen = pl.scan_parquet(files).select(_KEPT, answer, *stamps, pl.lit(datetime.now(UTC)).alias("scored_at"))
        chosen.sink_parquet(f"{target}.parquet", compression="zstd")

    return work


WAYS = {
    "ours": ours, "MLflow as it comes": mlflow("plain"), "MLflow at its best": mlflow("best"),
    "mapInArrow as it comes": by_hand("plain"), "mapInArrow at its best": by_hand("best"),
    "xgboost.spark": xgboost_spark, "limit": limit, "genmodel in Java": genmodel, "DuckDB": duckdb, "Polars": polars,
    "ours, column": column("ours"), "MLflow, column": column("mlflow"), "arrow_udf by hand": column("arrow"), "pandas_udf by hand": column("pandas"),
    "an arrow_udf that does nothing": column("nothing"),
    "ours, local[2]": tiny("ours", "local[2]"), "MLflow, local[2]": tiny("mlflow", "local[2]"),
    "ours, local-cluster": tiny("ours", "local-cluster[2,1,1024]"),
    "MLflow, local-cluster": tiny("mlflow", "local-cluster[2,1,1024]"),
}  # fmt: skip
_ALL = ["ours", "MLflow as it comes", "MLflow at its best", "mapInArrow as it comes", "mapInArrow at its best", "limit"]
_BEST = ["ours", "MLflow at its best", "mapInArrow at its best", "limit"]
_H2O = ["ours", "MLflow as it comes", "mapInArrow at its best", "limit", "genmodel in Java"]
JOBS = {
    "linear": [*_ALL, "DuckDB", "Polars"],
    "xgboost": [*_ALL, "xgboost.spark"],
    "lightgbm": _BEST,
    "histogram": _BEST,
    "forest": _BEST,
    "onehot": _ALL,
    "h2o": _H2O,
    "h2o-texts": _H2O,
    "dataframe": ["ours", "mapInArrow as it comes", "mapInArrow at its best"],
    "column": [
        "ours, column",
        "MLflow, column",
        "arrow_udf by hand",
        "pandas_udf by hand",
        "an arrow_udf that does nothing",
    ],
    "tiny": ["ours, local[2]", "MLflow, local[2]", "ours, local-cluster", "MLflow, local-cluster"],
}


# they run in an environment of their own
PEERS = (
    "MLflow, column",
    "MLflow as it comes",
    "MLflow at its best",
    "MLflow, local[2]",
    "MLflow, local-cluster",
    "DuckDB",
    "Polars",
    "xgboost.spark",
)


class Way:
    """A process that has made itself ready and runs once for each line that it is sent."""

    def __init__(self, arguments, directory=None, python=sys.executable):
        environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "PYTHONWARNINGS": "ignore"}
        environment |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        root = str(Path(__file__).parents[2])
        environment["PYTHONPATH"] = root
        self._process = subprocess.Popen(
            [python, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            text=True, env=environment, cwd=directory,
        )  # fmt: skip

    def begin(self, target):
        """Let it start."""
        self._process.stdin.write(f"{target}\n")
        self._process.stdin.flush()

    def end(self):
        """Wait for it; what it found, or None if it failed."""
        for line in self._process.stdout:
            if line.startswith("FOUND "):
                return json.loads(line.removeprefix("FOUND "))
        return None

    def close(self):
        """End it."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.wait()


def serve(work, warm=lambda target: None):
    """Run ``work`` for each target that comes in, and say how long it took; ``warm`` right before, because Spark ends idle workers."""
    for number, line in enumerate(sys.stdin):
        target = line.strip()
        try:
            for _ in range(1 if number else 3):
                warm(f"{target}-warm")
                _remove(f"{target}-warm")
        except Exception as error:
            print("FOUND", json.dumps({"error": f"{type(error).__name__}: {error}"[:500]}), flush=True)
            continue
        finally:
            _remove(f"{target}-warm")
        began = time.perf_counter()
        try:
            found = work(target) or {}
        except Exception as error:
            found = {"error": f"{type(error).__name__}: {error}"[:500]}
        seconds = time.perf_counter() - began
        print("FOUND", json.dumps({"seconds": seconds, "written": _rows_in(target), **found}), flush=True)
        _remove(target)


def _rows_in(target):
    """How many rows are in the files that were written; 0 for a way that writes none."""
    import pyarrow.parquet as pq

    place = Path(target)
    files = (
        [Path(f"{target}.parquet")]
        if not place.exists()
        else [one for one in place.glob("**/*.parquet") if "_delta_log" not in one.parts]
    )
    return sum(pq.read_metadata(one).num_rows for one in files if one.exists())


def _remove(target):
    shutil.rmtree(target, ignore_errors=True)
    Path(f"{target}.parquet").unlink(missing_ok=True)


if __name__ == "__main__":
    what, job, folder, rest = sys.argv[1:]
    folder = Path(folder)
    if what == "half":
        serve(half(job, folder, json.loads(rest)))
    else:
        try:
            ready = WAYS[what](job, Path(rest), folder)
            # a thousand tasks are their own warming up
            warm = WAYS[what](job, part_of(rest, folder, 4), folder) if job != "tiny" else lambda target: None
        except ImportError as error:
            raise SystemExit(f"{what}: {error}") from error
        serve(ready, warm)
