"""``sparkml demo``: real flights, three models, tracked in Delta, the best one scored by spark-submit."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sparkml_lifecycle as ml
from sparkml_lifecycle.cli import flights
from sparkml_lifecycle.errors import ScoringError
from sparkml_lifecycle.spark import get_spark, submit_arguments

LAKE = Path("mllake")
DATA = Path("demo-data")
CONF = Path("conf/score_flights.yml")
_SAMPLE = 1000


def demo() -> None:
    """Train three models on the flights of New York 2013, compare them, and score all flights with the best."""
    from rich.console import Console

    console = Console()
    began = time.perf_counter()
    source, target = DATA / "flights", DATA / "flight_predictions"
    with step(console, "joining flights and weather") as done:
        DATA.mkdir(exist_ok=True)
        done(f"{flights.write_flights(source):,} flights in {source}")
    ml.set_tracking_uri(str(LAKE))
    ml.set_experiment(flights.EXPERIMENT)
    train_missing(console, source)
    best = show_runs(console)
    uri = f"runs:/{best.run_id}/{'h2oModel' if best['tags.mlflow.runName'] == 'h2o' else 'model'}"
    score(console, uri)
    check(console, uri, source, target)
    say_where(console, uri, source, target)
    console.print(f"\n[dim]{time.perf_counter() - began:.0f} seconds in all[/dim]")


@contextmanager
def step(console: Any, what: str) -> Iterator[Any]:
    """A long step: a spinner on a terminal, then one line with what came out and the seconds."""
    began, said = time.perf_counter(), [what]
    with console.status(f"{what} …"):
        yield said.append
    console.print(
        f"[green]✓[/green] {said[-1]} [dim]{time.perf_counter() - began:.1f} s[/dim]", highlight=False, soft_wrap=True
    )


def train_missing(console: Any, source: Path) -> None:
    """Train each model that has no finished run of this demo yet."""
    known = ml.search_runs(
        experiment_names=[flights.EXPERIMENT],
        filter_string=f"tags.`{flights.DEMO_TAG}` = '{flights.DEMO_VERSION}' AND attributes.status = 'FINISHED'",
        output_format="list",
    )
    names = {run.info.run_name for run in known}
    parts = None
    for name, (train, note) in flights.TRAININGS.items():
        if name in names:
            console.print(f"[green]✓[/green] {name}: trained before")
            continue
        with step(console, f"training {name}") as done:
            parts = parts or flights.training_rows(source)
            tags = {flights.DEMO_TAG: flights.DEMO_VERSION, "framework": name, "held_out": "December"}
            with ml.start_run(run_name=name, tags=tags, description=note):
                train(*parts)
            done(f"trained {name}")


def show_runs(console: Any) -> Any:
    """A table of the runs, best first; gives the best."""
    from rich.table import Table

    found = ml.search_runs(
        experiment_names=[flights.EXPERIMENT],
        filter_string=f"tags.`{flights.DEMO_TAG}` = '{flights.DEMO_VERSION}' AND attributes.status = 'FINISHED' AND metrics.mae < 100",
        order_by=["metrics.mae ASC"],
    ).drop_duplicates("tags.mlflow.runName")
    table = Table(title="\nArrival delay of December's flights, never seen in training", title_justify="left")
    table.add_column("model")
    table.add_column("mae, min", justify="right")
    table.add_column("rmse, min", justify="right")
    table.add_column("what it is")
    table.add_column("run", no_wrap=True)
    for _, run in found.iterrows():
        note = run["tags.mlflow.note.content"]
        table.add_row(
            run["tags.mlflow.runName"], f"{run['metrics.mae']:.2f}", f"{run['metrics.rmse']:.2f}", note, run.run_id
        )
    console.print(table)
    return found.iloc[0]


def score(console: Any, uri: str) -> None:
    """Run the batch job by a real spark-submit."""
    command = [
        str(Path(sys.executable).with_name("spark-submit")), *submit_arguments("local[*]"),
        "jobs/score_batch.py", "--config", str(CONF), "--set", f"model={uri}",
    ]  # fmt: skip
    with step(console, "spark-submit jobs/score_batch.py scores all flights") as done:
        environment = {
            **os.environ,
            "PYSPARK_PYTHON": sys.executable,
            "PYSPARK_DRIVER_PYTHON": sys.executable,
            "SPARK_LOCAL_IP": "127.0.0.1",
        }
        found = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        lines = [line for line in found.stdout.splitlines() if line.startswith("score_batch:")]
        if found.returncode != 0 or not lines:
            raise ScoringError(
                f"spark-submit ended with {found.returncode}: {(found.stderr or found.stdout).strip()[-2000:]}"
            )
        done(lines[-1])


def check(console: Any, uri: str, source: Path, target: Path) -> None:
    """Read the predictions with Spark and with delta-rs, and compare a sample with the model's own."""
    import numpy as np
    import pyarrow as pa
    from deltalake import DeltaTable, QueryBuilder

    with step(console, "reading the predictions with Spark and with delta-rs") as done:
        spark = get_spark("demo")
        by_spark = spark.read.format("delta").load(str(target.absolute())).count()
        builder = (
            QueryBuilder().register("scored", DeltaTable(str(target))).register("flights", DeltaTable(str(source)))
        )
        by_delta = int(pa.table(builder.execute("select count(*) as n from scored").read_all())["n"][0].as_py())
        sql = f"select f.*, s.prediction from flights f join scored s on f.flight_id = s.flight_id order by f.flight_id % 7919, f.flight_id limit {_SAMPLE}"
        sample = pa.table(builder.execute(sql).read_all()).to_pandas()
        own = ml.pyfunc.load_model(uri).predict(sample)
        own = np.asarray(next(iter(own.values())) if isinstance(own, dict) else own, dtype=float)
        apart = float(np.nanmax(np.abs(own - sample["prediction"].to_numpy(dtype=float))))
        done(
            f"Spark reads {by_spark:,} rows, delta-rs {by_delta:,}; {_SAMPLE:,} of them beside the model's own predict: at most {apart:.1e} apart"
        )
        spark.stop()
    if by_spark != by_delta or apart > 1e-6:
        raise ScoringError(
            f"The table does not hold the model's answers: {by_spark} and {by_delta} rows, {apart} apart."
        )
    show_flights(console, sample.dropna(subset=["arr_delay"]).head(10))


def show_flights(console: Any, rows: Any) -> None:
    """A table of flights with their predicted and real delays."""
    from rich.table import Table

    table = Table(title="\nTen flights", title_justify="left")
    for column in ("date", "carrier", "from", "to"):
        table.add_column(column)
    for column in ("left late by", "predicted arrival delay", "real arrival delay"):
        table.add_column(column, justify="right")
    for _, row in rows.iterrows():
        numbers = [f"{row[name]:+.0f} min" for name in ("dep_delay", "prediction", "arr_delay")]
        table.add_row(str(row["date"]), row["carrier"], row["origin"], row["dest"], *numbers)
    console.print(table)


def say_where(console: Any, uri: str, source: Path, target: Path) -> None:
    """Where everything lies, and what to try next."""
    from rich.table import Table

    table = Table(title="\nWhere it lies", title_justify="left", show_header=False)
    for what, where in (("runs, metrics, models", LAKE), ("flights", source), ("predictions", target)):
        table.add_row(what, str(where))
    table.add_row("the best model", uri)
    console.print(table)
    console.print("\nTry next:")
    for line in (
        ".venv/bin/sparkml doctor",
        f""".venv/bin/python -c "import sparkml_lifecycle as ml; print(ml.pyfunc.load_model('{uri}').input_names)\"""",
        f""".venv/bin/python -c "from deltalake import *; print(QueryBuilder().register('p', DeltaTable('{target}'))"""
        """.execute('select carrier, avg(prediction) late from p group by 1 order by 2').read_all())\"""",
    ):
        console.print(f"  {line}", highlight=False, soft_wrap=True, markup=False)
