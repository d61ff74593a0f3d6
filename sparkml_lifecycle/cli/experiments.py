"""``sparkml experiments``: the named groups that runs belong to."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sparkml_lifecycle.cli import export, named, shown, terminal
from sparkml_lifecycle.entities import Experiment, LifecycleStage, ViewType

if TYPE_CHECKING:
    from sparkml_lifecycle.client import LifecycleClient

commands = typer.Typer(no_args_is_help=True, help="List, show, create, rename, delete, restore and export experiments.")
_EVERY_RUN = 10**9


@dataclass(frozen=True)
class Runs:
    """How many runs an experiment has: by status, and the deleted ones."""

    by_status: Counter[str]
    deleted: int = 0

    @property
    def total(self) -> int:
        """Those that are not deleted."""
        return self.by_status.total()


@commands.command("list", epilog="Example: sparkml experiments list --filter \"name LIKE 'churn%'\"")
def list_experiments(
    text: Annotated[
        str | None,
        typer.Option("--filter", metavar="TEXT", help="Which ones: compares name, creation_time and tags.<key>."),
    ] = None,
    deleted: named.DeletedOption = False,
    everything: named.AllOption = False,
    lake: named.LakeOption = None,
    as_json: named.JsonOption = False,
) -> None:
    """List the experiments, the newest first, and how many runs each has."""
    view = named.view(deleted, everything)
    client = named.client(lake)
    found = client.all_experiments(view, text)
    runs = count_runs(client, found, deleted=as_json)
    if as_json:
        return terminal.print_json({"experiments": [_document(one, runs[one.experiment_id]) for one in found]})
    if not found:
        return terminal.show(f"No {'deleted ' if deleted else ''}experiments{' like that' if text else ''}.")
    state = () if view is ViewType.ACTIVE_ONLY else ("state",)
    table = terminal.table(
        f"Experiments of {client.tracking_uri}", "id", "name", "runs", "created", *state,
        numbers=("id", "runs"), whole=("created", "state"), widest=60,
    )  # fmt: skip
    for one in found:
        cells = (one.experiment_id, one.name, runs[one.experiment_id].total, shown.moment(one.creation_time))
        terminal.row(table, *cells, *((one.lifecycle_stage,) if state else ()))
    terminal.show(table)


@commands.command("show", epilog="Example: sparkml experiments show churn")
def show(
    name_or_id: named.ExperimentArgument, lake: named.LakeOption = None, as_json: named.JsonOption = False
) -> None:
    """Show one experiment: its runs by status, its tags, and where its artifacts lie."""
    client = named.client(lake)
    one = named.experiment(client, name_or_id)
    runs = count_runs(client, [one], deleted=True)[one.experiment_id]
    if as_json:
        return terminal.print_json(_document(one, runs))
    by_status = ", ".join(f"{count} {status}" for status, count in sorted(runs.by_status.items()))
    rows = [
        ("id", one.experiment_id),
        ("state", one.lifecycle_stage),
        ("runs", f"{runs.total:,}" + (f": {by_status}" if by_status else "")),
        *([("deleted runs", f"{runs.deleted:,}")] if runs.deleted else []),
        ("created", shown.moment(one.creation_time, seconds=True)),
        ("last change", shown.moment(one.last_update_time, seconds=True)),
        ("artifacts", one.artifact_location),
        *((f"tag {key}", shown.text(value)) for key, value in sorted(one.tags.items())),
    ]
    terminal.show(terminal.pairs(one.name, *rows))


@commands.command("create", epilog='Example: sparkml experiments create "churn 2026" --tag team=crm')
def create(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name that no other experiment has.")],
    tag: Annotated[
        list[str] | None, typer.Option("--tag", metavar="KEY=VALUE", help="A tag; may be given several times.")
    ] = None,
    artifact_location: Annotated[
        str | None, typer.Option(metavar="URI", help="Where its runs keep their files; in the lake if not given.")
    ] = None,
    lake: named.LakeOption = None,
    as_json: named.JsonOption = False,
) -> None:
    """Make an experiment; the first one makes the lake too."""
    tags = dict(tag_of(one) for one in tag or ())
    client = named.client(lake, new=True)
    experiment_id = client.create_experiment(name, artifact_location, tags)
    terminal.done(
        as_json, {"experiment_id": experiment_id, "name": name}, f"Created the experiment {name!r}, id {experiment_id}."
    )


@commands.command("rename", epilog='Example: sparkml experiments rename churn "churn, old features"')
def rename(
    name_or_id: named.ExperimentArgument,
    new_name: Annotated[str, typer.Argument(metavar="NEW_NAME", help="A name that no other experiment has.")],
    lake: named.LakeOption = None,
    as_json: named.JsonOption = False,
) -> None:
    """Give an experiment another name; its id, runs and files stay as they are."""
    client = named.client(lake)
    one = named.experiment(client, name_or_id)
    client.rename_experiment(one.experiment_id, new_name)
    document = {"experiment_id": one.experiment_id, "name": new_name, "before": one.name}
    terminal.done(as_json, document, f"Renamed the experiment {one.experiment_id} from {one.name!r} to {new_name!r}.")


@commands.command("delete", epilog="Example: sparkml experiments delete churn")
def delete(
    name_or_id: named.ExperimentArgument, lake: named.LakeOption = None, as_json: named.JsonOption = False
) -> None:
    """Hide an experiment and its runs; nothing is lost, and restore brings them back."""
    client = named.client(lake)
    one = named.experiment(client, name_or_id)
    before = one.lifecycle_stage == LifecycleStage.DELETED
    runs = count_runs(client, [one])[one.experiment_id].total
    if not before:
        client.delete_experiment(one.experiment_id)
    said = f"The experiment {one.name!r} was deleted already."
    if not before:
        hidden = f" with {shown.several(runs, 'run')}" if runs else ", which had no runs"
        said = f"Deleted the experiment {one.name!r}{hidden}. To bring it back: sparkml experiments restore {one.experiment_id}"
    terminal.done(
        as_json,
        {"experiment_id": one.experiment_id, "name": one.name, "hidden_runs": runs, "changed": not before},
        said,
    )


@commands.command("restore", epilog="Example: sparkml experiments restore churn")
def restore(
    name_or_id: named.ExperimentArgument, lake: named.LakeOption = None, as_json: named.JsonOption = False
) -> None:
    """Bring a deleted experiment back, with the runs it had."""
    client = named.client(lake)
    one = named.experiment(client, name_or_id)
    before = one.lifecycle_stage == LifecycleStage.ACTIVE
    runs = count_runs(client, [one])[one.experiment_id].total
    if not before:
        client.restore_experiment(one.experiment_id)
    said = f"Restored the experiment {one.name!r} with {shown.several(runs, 'run')}."
    if before:
        said = f"The experiment {one.name!r} is not deleted; nothing to do."
    terminal.done(
        as_json, {"experiment_id": one.experiment_id, "name": one.name, "runs": runs, "changed": not before}, said
    )


@commands.command("export", epilog="Example: sparkml experiments export churn churn.parquet")
def export_runs(
    name_or_id: named.ExperimentArgument,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Ends with .csv or .parquet; one that is there is replaced.")
    ],
    lake: named.LakeOption = None,
    as_json: named.JsonOption = False,
) -> None:
    """Write all runs of an experiment to a file, a row for each; `sparkml runs export` can choose among them."""
    export.check_target(file)
    client = named.client(lake)
    one = named.experiment(client, name_or_id)
    pages = client.search_table_pages([one.experiment_id], max_results=_EVERY_RUN)
    count = export.write_table(pages, file, in_order=False)
    terminal.done(
        as_json, {"file": str(file), "runs": count}, f"Wrote {shown.several(count, 'run')} of {one.name!r} to {file}."
    )


def count_runs(client: "LifecycleClient", experiments: Sequence[Experiment], deleted: bool = False) -> dict[str, Runs]:
    """How many runs each experiment has, by its id; nothing that they logged is read."""
    ids = [one.experiment_id for one in experiments]
    by_id: dict[str, Counter[str]] = {one: Counter() for one in ids}
    hidden: Counter[str] = Counter()
    if ids:
        for (experiment_id, status), count in _counted(client, ids, ViewType.ACTIVE_ONLY).items():
            by_id[experiment_id][status] += count
    if ids and deleted:
        for (experiment_id, _), count in _counted(client, ids, ViewType.DELETED_ONLY).items():
            hidden[experiment_id] += count
    return {one: Runs(counts, hidden[one]) for one, counts in by_id.items()}


def _counted(client: "LifecycleClient", ids: Sequence[str], view: ViewType) -> Counter[tuple[str, str]]:
    found: Counter[tuple[str, str]] = Counter()
    for page in client.search_table_pages(ids, run_view_type=view, max_results=_EVERY_RUN, only=[]):
        counts = page.group_by(["experiment_id", "status"]).aggregate([([], "count_all")])
        for row in counts.to_pylist():
            found[row["experiment_id"], row["status"]] += row["count_all"]
    return found


def _document(one: Experiment, runs: Runs) -> dict[str, Any]:
    return {
        "experiment_id": one.experiment_id,
        "name": one.name,
        "lifecycle_stage": one.lifecycle_stage,
        "creation_time": shown.iso(one.creation_time),
        "last_update_time": shown.iso(one.last_update_time),
        "artifact_location": one.artifact_location,
        "tags": dict(one.tags),
        "runs": {"total": runs.total, "by_status": dict(runs.by_status), "deleted": runs.deleted},
    }


def tag_of(text: str) -> tuple[str, str]:
    """The key and value of ``team=crm``."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise typer.BadParameter(f"{text!r} is no tag; write --tag team=crm.")
    return key, value
