"""``sparkml runs``: what was tried, with which params, and what came out."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sparkml_lifecycle.cli import comparison, export, named, run_tables, search, shown, terminal
from sparkml_lifecycle.entities import FileInfo, LifecycleStage, Run
from sparkml_lifecycle.errors import NotFound, did_you_mean

if TYPE_CHECKING:
    from sparkml_lifecycle.client import LifecycleClient

commands = typer.Typer(
    no_args_is_help=True, help="List, search, show, compare, delete, restore and export runs and their artifacts."
)
_EVERY_RUN = 10**9
_SHOWN_POINTS, _SHOWN_FILES = 100, 200

ExperimentsOption = Annotated[
    list[str] | None,
    typer.Option("--experiment", "-e", metavar="NAME_OR_ID", help="Only runs of this one; may be given several times. Else of all."),
]  # fmt: skip
LimitOption = Annotated[int, typer.Option("--limit", min=1, metavar="N", help="At most so many runs.")]
OrderOption = Annotated[
    list[str] | None,
    typer.Option("--order-by", metavar="KEY [asc|desc]", help="Such as 'metrics.auc desc'; several, or joined by commas. Else the latest first."),
]  # fmt: skip
OnlyOption = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="COLUMN", help="Such as metrics.auc,metrics.loss.min,params: these columns and no others; several, or joined by commas."),
]  # fmt: skip
AsOfOption = Annotated[
    datetime | None,
    typer.Option("--as-of", parser=named.moment, metavar="TIME", help="As it was then: 2026-11-23T10:00, this machine's time; or with Z, +02:00."),
]  # fmt: skip


@commands.command("list", epilog="Example: sparkml runs list --experiment churn --limit 10")
def list_runs(
    experiment: ExperimentsOption = None,
    limit: LimitOption = 50,
    deleted: named.DeletedOption = False,
    everything: named.AllOption = False,
    lake: named.LakeOption = None,
    as_json: named.JsonOption = False,
) -> None:
    """List the runs, the latest first: name, status, when they began and how long they took."""
    view = named.view(deleted, everything)
    client = named.client(lake)
    asked = search.Asked(search.experiments(client, experiment or (), view), "", view, limit, only=())
    found = search.find(client, asked)
    if as_json:
        return _print_found(asked, found, [{} for _ in found.runs])
    _show_found(asked, found, {}, "No deleted runs." if deleted else "No runs yet.")


@commands.command(
    "search",
    epilog="Example: sparkml runs search \"metrics.auc > 0.9 and params.depth = '6'\" --order-by 'metrics.auc desc'",
)
def search_runs(
    text: Annotated[
        str,
        typer.Argument(metavar="FILTER", help="Compares metrics.…, params.…, tags.…, status, run_name, start_time …, joined by and, or, ()."),
    ],
    experiment: ExperimentsOption = None,
    order_by: OrderOption = None,
    only: OnlyOption = None,
    limit: LimitOption = 50,
    as_of: AsOfOption = None,
    deleted: named.DeletedOption = False,
    everything: named.AllOption = False,
    lake: named.LakeOption = None,
    as_json: named.JsonOption = False,
) -> None:  # fmt: skip
    """Find runs by what they logged. A metric's last value counts; metrics.loss.min and .max are its smallest and largest."""
    view = named.view(deleted, everything)
    client = named.client(lake)
    asked = search.Asked(
        search.experiments(client, experiment or (), view), text, view, limit,
        search.items(order_by) or (), search.items(only), as_of,
    )  # fmt: skip
    found = search.find(client, asked)
    if as_json and asked.only is None:
        return _print_found(asked, found, [run_tables.data(run) for run in found.runs])
    columns = search.columns(client, asked, found.runs)
    if as_json:
        return _print_found(asked, found, [search.logged(columns, row) for row in range(len(found.runs))])
    visible = _show_found(asked, found, columns, "No runs like that.")
    hidden = {key for run in found.runs for key in run.data.metrics if f"metrics.{key}" not in visible}
    if asked.only is None and hidden:
        terminal.show(f"Not shown: {shown.several(len(hidden), 'metric')}. --only chooses columns, --json gives all.")


@commands.command("show", epilog="Example: sparkml runs show 019ab3f2")
def show(run: named.RunArgument, lake: named.LakeOption = None, as_json: named.JsonOption = False) -> None:
    """Show all of one run: its params, metrics with their smallest and largest values, tags, inputs and files."""
    client = named.client(lake)
    found = client.get_run(client.complete_run_id(run))
    metrics = client.get_metric_summaries(found.info.run_id)
    experiment = client.get_experiment(found.info.experiment_id).name
    files = list(walk(client, found.info.run_id))
    if as_json:
        return terminal.print_json(shown.plain(run_tables.whole(found, experiment, metrics, files)))
    terminal.show(run_tables.infos_table(found, experiment))
    if found.data.params:
        terminal.show(run_tables.texts_table("Params", "param", found.data.params))
    if metrics:
        terminal.show(run_tables.metrics_table(metrics))
    if found.data.tags:
        terminal.show(run_tables.texts_table("Tags", "tag", found.data.tags))
    if found.inputs.dataset_inputs:
        terminal.show(run_tables.inputs_table(found))
    if files:
        terminal.show("Artifacts", run_tables.files_tree(files[:_SHOWN_FILES], found.info.artifact_uri))
    if len(files) > _SHOWN_FILES:
        rest = shown.several(len(files) - _SHOWN_FILES, "file")
        terminal.show(f"… and {rest} more: sparkml runs artifacts {found.info.run_id}")


@commands.command("history", epilog="Example: sparkml runs history 019ab3f2 loss")
def history(
    run: named.RunArgument,
    metric: Annotated[str, typer.Argument(metavar="METRIC", help="The metric's key.")],
    limit: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help=f"Only the last N points. Else {_SHOWN_POINTS}, and with --json all."),
    ] = None,
    lake: named.LakeOption = None,
    as_json: named.JsonOption = False,
) -> None:
    """Show the points of a metric in order of their step, each with every digit it has."""
    client = named.client(lake)
    run_id = client.complete_run_id(run)
    points = client.get_metric_history(run_id, metric)
    if not points:
        known = client.get_run(run_id).data.metrics
        said = (
            f" It has {', '.join(sorted(known)[:10])}{' …' if len(known) > 10 else ''}." if known else " It has none."
        )
        raise NotFound(f"The run {run_id} has no metric {metric!r}.{did_you_mean(metric, known)}{said}")
    last = points[-(limit or (len(points) if as_json else _SHOWN_POINTS)) :]
    if as_json:
        document = {"run_id": run_id, "metric": metric, "total": len(points), "points": run_tables.points(last)}
        return terminal.print_json(shown.plain(document))
    terminal.show(run_tables.points_table(f"{metric} of {run_id}", last))
    if len(last) < len(points):
        terminal.show(f"The last {len(last)} of {len(points):,} points; --limit {len(points)} shows all.")


@commands.command("compare", epilog="Example: sparkml runs compare 019ab3f2 019ab417")
def compare(
    runs: named.RunsArgument,
    everything: Annotated[bool, typer.Option("--all", help="Show what is equal too.")] = False,
    lake: named.LakeOption = None,
    as_json: named.JsonOption = False,
) -> None:
    """Put runs side by side: the params and last metrics in which they differ, marked with ≠."""
    client = named.client(lake)
    ids = list(dict.fromkeys(client.complete_run_id(one) for one in runs))
    if len(ids) < 2:
        raise typer.BadParameter("Name two different runs or more.", param_hint="RUN")
    found = [client.get_run(one) for one in ids]
    names = {one: client.get_experiment(one).name for one in {run.info.experiment_id for run in found}}
    lines = list(comparison.lines(found))
    picked = [line for line in lines if everything or line.differs]
    if as_json:
        return terminal.print_json(shown.plain(run_tables.compared(found, names, picked)))
    places = terminal.Column("#", "#", tuple(str(place) for place in range(1, len(found) + 1)), "number")
    terminal.show(terminal.lines("Runs", terminal.fitting([places, *run_tables.run_columns(found, names, {})])))
    if picked:
        title = "Params and metrics" if everything else "What differs"
        terminal.show(run_tables.comparison_table(title, found, picked))
    equal = len(lines) - len(picked)
    if not lines:
        terminal.show("None of them has a param or a metric.")
    elif equal:
        terminal.show(f"{'Equal' if picked else 'All equal'}: {equal} params and metrics. --all shows them.")


@commands.command("delete", epilog="Example: sparkml runs delete 019ab3f2 019ab417")
def delete(runs: named.RunsArgument, lake: named.LakeOption = None, as_json: named.JsonOption = False) -> None:
    """Hide runs; nothing is lost, and restore brings them back."""
    client = named.client(lake)
    found = [client.get_run(one) for one in dict.fromkeys(client.complete_run_id(one) for one in runs)]
    changed = [run for run in found if run.info.lifecycle_stage != LifecycleStage.DELETED]
    for run in changed:
        client.delete_run(run.info.run_id)
    before = [run for run in found if run not in changed]
    if as_json:
        return terminal.print_json({"deleted": _ids(changed), "unchanged": _ids(before)})
    said = []
    if changed:
        back = f"To bring {'it' if len(changed) == 1 else 'them'} back: sparkml runs restore {' '.join(_ids(changed))}"
        said = [f"Deleted {shown.several(len(changed), 'run')}: {_named(changed)}.", back]
    if before:
        said.insert(0, f"Deleted already: {_named(before)}.")
    terminal.show(" ".join(said))


@commands.command("restore", epilog="Example: sparkml runs restore 019ab3f2")
def restore(runs: named.RunsArgument, lake: named.LakeOption = None, as_json: named.JsonOption = False) -> None:
    """Bring deleted runs back."""
    client = named.client(lake)
    found = [client.get_run(one) for one in dict.fromkeys(client.complete_run_id(one) for one in runs)]
    changed = [run for run in found if run.info.lifecycle_stage == LifecycleStage.DELETED]
    for run in changed:
        client.restore_run(run.info.run_id)
    before = [run for run in found if run not in changed]
    if as_json:
        return terminal.print_json({"restored": _ids(changed), "unchanged": _ids(before)})
    said = [f"Restored {shown.several(len(changed), 'run')}: {_named(changed)}."] if changed else []
    if before:
        said.insert(0, f"Not deleted: {_named(before)}.")
    for experiment_id in dict.fromkeys(run.info.experiment_id for run in changed):
        one = client.get_experiment(experiment_id)
        if one.lifecycle_stage == LifecycleStage.DELETED:
            said.append(f"The experiment {one.name!r} is still deleted: sparkml experiments restore {experiment_id}")
    terminal.show(" ".join(said))


@commands.command(
    "export", epilog="Example: sparkml runs export best.csv --filter 'metrics.auc > 0.9' --only metrics.auc,params"
)
def export_runs(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Ends with .csv or .parquet; one that is there is replaced.")
    ],
    text: Annotated[str, typer.Option("--filter", metavar="FILTER", help="As of `sparkml runs search`.")] = "",
    experiment: ExperimentsOption = None,
    order_by: OrderOption = None,
    only: OnlyOption = None,
    limit: Annotated[int | None, typer.Option(min=1, metavar="N", help="At most so many runs. Else all.")] = None,
    as_of: AsOfOption = None,
    deleted: named.DeletedOption = False,
    everything: named.AllOption = False,
    lake: named.LakeOption = None,
    as_json: named.JsonOption = False,
) -> None:
    """Write runs to a file, a row for each: infos, then a column for each metric, param and tag; times are in UTC."""
    export.check_target(file)
    view = named.view(deleted, everything)
    client = named.client(lake)
    chosen = search.items(only)
    pages = client.search_table_pages(
        list(search.experiments(client, experiment or (), view)), text, view, limit or _EVERY_RUN,
        search.items(order_by), chosen, as_of,
    )  # fmt: skip
    count = export.write_table(pages, file, in_order=chosen is not None)
    if as_json:
        return terminal.print_json({"file": str(file), "runs": count})
    terminal.show(f"Wrote {shown.several(count, 'run')} to {file}.")


@commands.command("artifacts", epilog="Example: sparkml runs artifacts 019ab3f2 model --download ./here")
def artifacts(
    run: named.RunArgument,
    path: Annotated[
        str, typer.Argument(metavar="PATH", help="A file or directory among them.", show_default=False)
    ] = "",
    download: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Copy them into this directory, which is made if need be.")
    ] = None,
    lake: named.LakeOption = None,
    as_json: named.JsonOption = False,
) -> None:
    """List a run's files, or those below PATH, with their sizes; or copy them to this machine."""
    client = named.client(lake)
    run_id = client.complete_run_id(run)
    clean = path.strip("/")
    files = _files(client, run_id, clean)
    where = client.download_artifacts(run_id, clean, download) if download is not None and files else None
    if as_json:
        return terminal.print_json({"run_id": run_id, "files": run_tables.files(files), "downloaded_to": where})
    count, total = shown.several(len(files), "file"), shown.size(sum(one.file_size or 0 for one in files))
    if where is not None:
        return terminal.show(f"Copied {count}, {total}, to {where}.")
    if not files:
        return terminal.show(f"The run {run_id} has no artifacts{f' below {clean}' if clean else ''}.")
    table = terminal.table(
        f"Artifacts of {run_id}: {count}, {total}", "path", "size", numbers=("size",), widest=200
    )  # fmt: skip
    for one in files:
        terminal.row(table, one.path, shown.size(one.file_size))
    terminal.show(table)


def walk(client: "LifecycleClient", run_id: str, path: str = "") -> Iterator[FileInfo]:
    """A run's files, all that lie below ``path``."""
    for one in client.list_artifacts(run_id, path or None):
        if one.is_dir:
            yield from walk(client, run_id, one.path)
        else:
            yield one


def _files(client: "LifecycleClient", run_id: str, path: str) -> list[FileInfo]:
    if not path:
        return list(walk(client, run_id))
    beside = client.list_artifacts(run_id, path.rpartition("/")[0] or None)
    found = next((one for one in beside if one.path == path), None)
    if found is None:
        guess = did_you_mean(path, [one.path for one in beside])
        raise NotFound(f"The run {run_id} has no artifact {path!r}.{guess} To see all: sparkml runs artifacts {run_id}")
    return list(walk(client, run_id, path)) if found.is_dir else [found]


def _print_found(asked: search.Asked, found: search.Found, data: Sequence[dict[str, Any]]) -> None:
    runs = [
        {**run_tables.infos(run, asked.experiments.get(run.info.experiment_id)), **logged}
        for run, logged in zip(found.runs, data, strict=True)
    ]
    terminal.print_json(shown.plain({"runs": runs, "more": found.more}))


def _show_found(asked: search.Asked, found: search.Found, logged: dict[str, list[Any]], nothing: str) -> set[str]:
    """Print what was found; returns the columns for which there was room."""
    if not found.runs:
        terminal.show(nothing)
        return set()
    title = f"Runs of {next(iter(asked.experiments.values()))}" if len(asked.experiments) == 1 else "Runs"
    names = asked.experiments if len(asked.experiments) > 1 else {}
    columns = terminal.fitting(run_tables.run_columns(found.runs, names, logged, chosen=asked.only is not None))
    terminal.show(terminal.lines(title, columns))
    if found.more:
        terminal.show(f"{shown.several(len(found.runs), 'run')} shown, and there are more: --limit N.")
    return {column.name for column in columns}


def _ids(runs: Sequence[Run]) -> list[str]:
    return [run.info.run_id for run in runs]


def _named(runs: Sequence[Run]) -> str:
    return ", ".join(f"{run.info.run_id} ({run.info.run_name})" for run in runs)
