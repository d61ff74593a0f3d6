"""Runs as tables and trees for people, and as JSON for programs."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from sparkml_lifecycle.cli import shown, terminal
from sparkml_lifecycle.cli.comparison import Line
from sparkml_lifecycle.cli.terminal import Column
from sparkml_lifecycle.entities import FileInfo, LifecycleStage, Metric, MetricSummary, Run

if TYPE_CHECKING:
    from rich.table import Table
    from rich.tree import Tree

_WIDEST, _WIDEST_VALUE, _WIDEST_HEADING = 60, 100, 20


def run_columns(
    runs: Sequence[Run], experiments: Mapping[str, str], logged: Mapping[str, Sequence[Any]], chosen: bool = False
) -> list[Column]:
    """What is shown of runs, a line for each.

    Parameters
    ----------
    runs : sequence of Run
    experiments : dict of str to str
        Names by id, shown where there is any.
    logged : dict of str to sequence
        Logged values, such as ``metrics.auc``, one for each run.
    chosen : bool
        Whether the user chose what is logged, so that none of it may be left out.
    """

    def column(
        name: str, cell: Callable[[Run], str], kind: Literal["whole", "text"] = "text", spare: int = 0
    ) -> Column:
        return Column(name, name, tuple(map(cell, runs)), kind, spare)

    columns = [
        column("run id", lambda run: run.info.run_id, "whole"),
        column("name", lambda run: shown.line(run.info.run_name)),
        column("experiment", lambda run: shown.line(experiments.get(run.info.experiment_id)), spare=1),
        column("status", status, "whole"),
        column("started", lambda run: shown.moment(run.info.start_time), "whole", spare=98),
        column("took", lambda run: shown.took(run.info.start_time, run.info.end_time), "whole", spare=99),
    ]
    if not experiments:
        del columns[2]
    for place, (heading, (name, values)) in enumerate(zip(_headings(list(logged)), logged.items(), strict=True)):
        spare = 0 if chosen else 2 + place
        if name.startswith("metrics."):
            columns.append(Column(name, heading, tuple(map(shown.number, values)), "number", spare))
        else:
            columns.append(Column(name, heading, tuple(map(shown.line, values)), "text", spare))
    return columns


def status(run: Run) -> str:
    """A run's status, and whether it is deleted."""
    return run.info.status + (", deleted" if run.info.lifecycle_stage == LifecycleStage.DELETED else "")


def infos_table(run: Run, experiment: str) -> "Table":
    """What a run is."""
    info = run.info
    return terminal.pairs(
        shown.line(info.run_name),
        ("run id", info.run_id),
        ("experiment", f"{experiment} (id {info.experiment_id})"),
        ("status", status(run)),
        ("started", shown.moment(info.start_time, seconds=True)),
        ("ended", shown.moment(info.end_time, seconds=True)),
        ("took", shown.took(info.start_time, info.end_time)),
        ("by", info.user_id),
    )


def texts_table(title: str, column: str, texts: Mapping[str, str]) -> "Table":
    """Params or tags, by key."""
    table = terminal.table(title, column, "value", widest=_WIDEST_VALUE)
    for key, value in sorted(texts.items()):
        terminal.row(table, key, shown.text(value))
    return table


def metrics_table(metrics: Sequence[MetricSummary]) -> "Table":
    """Metrics with their last, smallest and largest values."""
    numbers = ("last", "at step", "smallest", "largest")
    table = terminal.table("Metrics", "metric", *numbers, numbers=numbers, widest=_WIDEST)
    for one in metrics:
        extremes = shown.number(one.smallest), shown.number(one.largest)
        terminal.row(table, one.key, shown.number(one.last), one.step, *extremes)
    return table


def inputs_table(run: Run) -> "Table":
    """The data sets that a run read."""
    table = terminal.table("Inputs", "data set", "digest", "for", "type", "source", whole=("digest",), widest=_WIDEST)
    for one in run.inputs.dataset_inputs:
        context = next((tag.value for tag in one.tags if tag.key == "mlflow.data.context"), None)
        dataset = one.dataset
        terminal.row(
            table, dataset.name, dataset.digest, shown.line(context), dataset.source_type, shown.text(dataset.source)
        )
    return table


def files_tree(files: Sequence[FileInfo], uri: str) -> "Tree":
    """Files below the directories that they lie in."""
    from rich.text import Text
    from rich.tree import Tree

    root = Tree(terminal.plain(uri))
    branches = {"": root}
    for one in files:
        parts = one.path.split("/")
        for depth in range(1, len(parts)):
            here = "/".join(parts[:depth])
            if here not in branches:
                branches[here] = branches["/".join(parts[: depth - 1])].add(terminal.plain(f"{parts[depth - 1]}/"))
        branches["/".join(parts[:-1])].add(
            Text.assemble(terminal.plain(parts[-1]), (f"  {shown.size(one.file_size)}", "dim"))
        )
    return root


def points_table(title: str, points: Sequence[Metric]) -> "Table":
    """A metric's points, with every digit."""
    table = terminal.table(title, "step", "value", "time", numbers=("step", "value"), whole=("time",))
    for one in points:
        terminal.row(table, one.step, shown.number(one.value, exact=True), shown.moment(one.timestamp, seconds=True))
    return table


def comparison_table(title: str, runs: Sequence[Run], lines: Sequence[Line]) -> "Table":
    """Params and metrics, a column for each run."""
    names = [f"{place} {shown.line(run.info.run_name, _WIDEST_HEADING)}" for place, run in enumerate(runs, 1)]
    table = terminal.table(title, "", "kind", "key", *names, whole=("", "kind"), widest=_WIDEST)
    for line in lines:
        terminal.row(table, "≠" if line.differs else "", line.kind, line.key, *line.texts())
    return table


def infos(run: Run, experiment: str | None) -> dict[str, Any]:
    """What a run is, for JSON."""
    info = run.info
    return {
        "run_id": info.run_id,
        "run_name": info.run_name,
        "experiment_id": info.experiment_id,
        "experiment_name": experiment,
        "status": info.status,
        "lifecycle_stage": info.lifecycle_stage,
        "start_time": shown.iso(info.start_time),
        "end_time": shown.iso(info.end_time),
        "user_id": info.user_id,
        "artifact_uri": info.artifact_uri,
    }


def data(run: Run) -> dict[str, Any]:
    """What a run logged, for JSON."""
    return {"metrics": run.data.metrics, "params": run.data.params, "tags": run.data.tags}


def whole(run: Run, experiment: str, metrics: Sequence[MetricSummary], found: Sequence[FileInfo]) -> dict[str, Any]:
    """All of a run, for JSON."""
    by_key = {
        one.key: {
            "last": one.last, "step": one.step, "timestamp": shown.iso(one.timestamp),
            "smallest": one.smallest, "largest": one.largest,
        }
        for one in metrics
    }  # fmt: skip
    inputs = [
        {**vars(one.dataset), "tags": {tag.key: tag.value for tag in one.tags}} for one in run.inputs.dataset_inputs
    ]
    return {**infos(run, experiment), **data(run), "metrics": by_key, "inputs": inputs, "artifacts": files(found)}


def files(found: Sequence[FileInfo]) -> list[dict[str, Any]]:
    """Files, for JSON."""
    return [{"path": one.path, "size": one.file_size} for one in found]


def points(found: Sequence[Metric]) -> list[dict[str, Any]]:
    """A metric's points, for JSON."""
    return [
        {
            "step": one.step, "value": one.value, "timestamp": shown.iso(one.timestamp), "model_id": one.model_id,
            "dataset_name": one.dataset_name, "dataset_digest": one.dataset_digest,
        }
        for one in found
    ]  # fmt: skip


def compared(runs: Sequence[Run], experiments: Mapping[str, str], lines: Sequence[Line]) -> dict[str, Any]:
    """A comparison, for JSON."""
    by_kind: dict[str, dict[str, Any]] = {"params": {}, "metrics": {}}
    for line in lines:
        values = {run.info.run_id: value for run, value in zip(runs, line.values, strict=True)}
        by_kind[f"{line.kind}s"][line.key] = {"differs": line.differs, "values": values}
    return {"runs": [infos(run, experiments.get(run.info.experiment_id)) for run in runs], **by_kind}


def _headings(columns: Sequence[str]) -> list[str]:
    # keys alone are shorter; where a param and a metric have the same, both say their kind
    keys = [name.partition(".")[2] for name in columns]
    return [key if keys.count(key) == 1 else name for key, name in zip(keys, columns, strict=True)]
