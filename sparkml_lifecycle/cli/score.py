"""``sparkml score``: a model over a table, with Spark or without."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any

import typer

from sparkml_lifecycle.errors import ConfigError

_ANSWERS = (
    "redo=true scores everything again, accept=true leaves what is there, adopt=JOB, alongside=true, replace_all=true"
)


def score(
    model: Annotated[str | None, typer.Argument(help="the model's URI", show_default=False)] = None,
    source: Annotated[str | None, typer.Argument(help="a Delta table, or files with --format", show_default=False)] = None,
    target: Annotated[str | None, typer.Argument(help="a Delta table, made where it is not there", show_default=False)] = None,
    config: Annotated[Path | None, typer.Option(help="a job's YAML file in place of, or below, the arguments")] = None,
    format: Annotated[str | None, typer.Option(help="delta, parquet, csv, json, orc, table or sql", show_default="delta")] = None,
    mode: Annotated[str | None, typer.Option(help="incremental, overwrite or append", show_default="incremental")] = None,
    where: Annotated[str | None, typer.Option(help="a SQL condition on the source's rows")] = None,
    keep: Annotated[str | None, typer.Option(help="the source's columns to keep, with commas between")] = None,
    evaluator: Annotated[str | None, typer.Option(help="auto, fast or native: what scores the model", show_default="auto")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help=f"any other key of a job; once a job has stopped: {_ANSWERS}")] = None,
    local: Annotated[bool, typer.Option("--local", help="without Spark, in processes of this machine")] = False,
    master: Annotated[str, typer.Option(help="Spark's master")] = "local[*]",
    lake: Annotated[str | None, typer.Option("--lake", help="the lake that has the model and records the job; the current one where it is not given")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="the whole report")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="show where an error was raised")] = False,
) -> None:  # fmt: skip
    """Score a table with a model into a Delta table, in one commit; again, only what the source has gained: sparkml score runs:/RUN/model flights scored."""
    from sparkml_lifecycle.scoring.conf import check, read_content
    from sparkml_lifecycle.scoring.engine import ENGINES
    from sparkml_lifecycle.scoring.job import find_model, run_job
    from sparkml_lifecycle.scoring.progress import show_progress
    from sparkml_lifecycle.settings import Settings

    content = read_content(config) if config is not None else {}
    given = {
        "model": model,
        "source.path": source,
        "source.format": format,
        "target.path": target,
        "mode": mode,
        "where": where,
        "evaluator": evaluator,
    }
    for key, value in given.items():
        if value is not None:
            _put(content, key, value)
    if keep is not None:
        content["keep"] = [name.strip() for name in keep.split(",")]
    content.setdefault("tracking_uri", Settings.load().tracking_uri)
    conf = check(content, str(config) if config else "the command line", settings or ())
    chosen = find_model(conf)
    report = run_job(None if local else _spark(conf, master), conf, chosen=chosen, progress=show_progress)
    chosen.client.close()
    if as_json:
        typer.echo(json.dumps({**dataclasses.asdict(report), "rows_per_second": report.rows_per_second}, indent=2))
        return
    if not report.committed:
        typer.echo(f"nothing was written to {report.target}: {'; '.join(report.notes)}")
        return
    typer.echo(
        f"{report.pace}, {ENGINES[report.engine]} -> {report.target} version {report.version}, run {report.run_id}"
    )
    why = [f"not faster: {report.why}"] if report.why else []
    for note in (f"evaluator {report.evaluator}: {report.evaluator_why}", *why, *report.notes):
        typer.echo(f"  {note}")


def _put(content: dict[str, Any], key: str, value: str) -> None:
    first, _, last = key.partition(".")
    if not last:
        content[first] = value
        return
    inner = content.setdefault(first, {})
    if not isinstance(inner, dict):
        raise ConfigError(f"{first!r} holds a value in the conf file, not further keys.")
    inner[last] = value


def _spark(conf: Any, master: str) -> Any:
    from sparkml_lifecycle.spark import get_spark

    settings = {key: str(value) for key, value in conf.spark.items()}
    return get_spark(f"sparkml score {conf.job}", master, settings, is_program=True)
