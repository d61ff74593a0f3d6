"""``sparkml models``: registered models and their versions, who put what where, and why."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sparkml_lifecycle.cli import model_names, model_tables, moving, named, shown, terminal, transitions
from sparkml_lifecycle.cli.experiments import tag_of
from sparkml_lifecycle.entities import ModelStage, ModelVersion
from sparkml_lifecycle.errors import LifecycleError
from sparkml_lifecycle.registry.history import lake_of

if TYPE_CHECKING:
    from sparkml_lifecycle.client import LifecycleClient

commands = typer.Typer(
    no_args_is_help=True,
    help="Register models, move their versions, ask what was where and when, promote, copy and describe them.",
)

commands.add_typer(transitions.commands)
commands.add_typer(moving.commands)


@commands.command("list", epilog="Example: sparkml models list --filter \"name LIKE 'churn%' and tags.team = 'crm'\"")
def list_models(
    text: model_names.FilterOption = None,
    most: model_names.MostOption = 100,
    lake: named.LakeOption = None,
    as_json: named.JsonOption = False,
) -> None:
    """List the registered models by name, with their newest version, stages and aliases."""
    client = named.client(lake)
    found = client.search_registered_models(text, most)
    if as_json:
        return terminal.print_json({"models": [model_tables.model_document(one) for one in found]})
    if not found:
        return terminal.show(f"No registered models{' like that' if text else ''}.")
    table = terminal.table(
        f"Registered models of {client.tracking_uri}", "name", "newest", "stages", "aliases", "last change",
        numbers=("newest",), whole=("last change",), widest=60,
    )  # fmt: skip
    for one in found:
        newest = max((int(version.version) for version in one.latest_versions), default=0)
        stages = ", ".join(
            f"{v.current_stage} {v.version}" for v in one.latest_versions if v.current_stage != ModelStage.NONE
        )
        aliases = ", ".join(f"@{alias} {version}" for alias, version in sorted(one.aliases.items()))
        terminal.row(
            table, one.name, newest or shown.NOTHING, stages or shown.NOTHING, aliases or shown.NOTHING,
            shown.moment(one.last_updated_timestamp),
        )  # fmt: skip
    terminal.show(table)
    if found.token:
        terminal.show("There are more: --max 1000, or --filter.")


@commands.command("versions", epilog="Example: sparkml models versions --filter \"stage = 'Production'\"")
def list_versions(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Of this model; of all where it is not given.")
    ] = None,
    text: model_names.FilterOption = None,
    most: model_names.MostOption = 100,
    lake: named.LakeOption = None,
    as_json: named.JsonOption = False,
) -> None:
    """List versions, the last changed first."""
    client = named.client(lake)
    if name is not None:
        client.get_registered_model(name)
        text = f"{model_names.named_like(name)} and ({text})" if text else model_names.named_like(name)
    found = client.search_model_versions(text, most)
    if as_json:
        return terminal.print_json({"versions": [model_tables.version_document(one) for one in found]})
    if not found:
        return terminal.show(f"No versions{' like that' if text else ''}.")
    where = f"Versions of {name or 'all models'} in {client.tracking_uri}"
    terminal.show(model_tables.versions_table(where, found))
    if found.token:
        terminal.show("There are more: --max 1000, or --filter.")


@commands.command("show", epilog="Example: sparkml models show churn Production --as-of 2026-03-03T12:00")
def show(
    name: model_names.NameArgument,
    version: Annotated[
        str | None,
        typer.Argument(metavar="VERSION", help="One version: a number, latest, a stage, or an alias with @."),
    ] = None,
    as_of: model_names.AsOfOption = None,
    lake: named.LakeOption = None,
    as_json: named.JsonOption = False,
) -> None:
    """Show a model, or one version of it, as it is or as it was at a time."""
    client, when = named.client(lake), model_names.when(as_of)
    if version is not None:
        one = model_names.found(client, name, version, when)
        if as_json:
            return terminal.print_json(model_tables.version_document(one))
        return terminal.show(terminal.pairs(f"{one.name}, version {one.version}", *model_tables.rows_of(one)))
    model = client.get_registered_model(name, when)
    if as_json:
        return terminal.print_json(model_tables.model_document(model))
    aliases = ", ".join(f"@{alias} = {held}" for alias, held in sorted(model.aliases.items())) or shown.NOTHING
    rows = [
        ("description", shown.text(model.description or None)),
        ("aliases", aliases),
        ("created", shown.moment(model.creation_timestamp, seconds=True)),
        ("last change", shown.moment(model.last_updated_timestamp, seconds=True)),
        *((f"tag {key}", shown.text(value)) for key, value in sorted(model.tags.items())),
    ]
    terminal.show(terminal.pairs(model.name, *rows))
    if model.latest_versions:
        terminal.show(model_tables.versions_table("The newest version in each stage", model.latest_versions))


@commands.command(
    "create", epilog='Example: sparkml models create churn --description "who leaves next month" --tag team=crm'
)
def create(
    name: model_names.NameArgument,
    description: Annotated[str | None, typer.Option(metavar="TEXT", help="What it is.")] = None,
    tag: Annotated[list[str] | None, typer.Option("--tag", metavar="KEY=VALUE", help="A tag; may be repeated.")] = None,
    lake: named.LakeOption = None,
    as_json: named.JsonOption = False,
) -> None:
    """Register a model without versions; `register` makes the model with its first version."""
    model = named.client(lake, new=True).create_registered_model(name, dict(map(tag_of, tag or ())), description)
    terminal.done(as_json, model_tables.model_document(model), f"Created the model {name!r}.")


@commands.command("register", epilog="Example: sparkml models register runs:/4f…/model churn --tag data=march")
def register(
    uri: Annotated[
        str, typer.Argument(metavar="URI", help="runs:/RUN/PATH, models:/NAME/VERSION, or a model's place.")
    ],
    name: model_names.NameArgument,
    description: Annotated[str | None, typer.Option(metavar="TEXT", help="What is new in it.")] = None,
    tag: Annotated[list[str] | None, typer.Option("--tag", metavar="KEY=VALUE", help="A tag; may be repeated.")] = None,
    lake: named.LakeOption = None,
    as_json: named.JsonOption = False,
) -> None:
    """Make the next version of a model, and the model where it is not there."""
    client = named.client(lake)
    one = client.register_model(uri, name, dict(map(tag_of, tag or ())), description)
    terminal.done(
        as_json,
        model_tables.version_document(one),
        f"Registered {one.copied_from or uri} as version {one.version} of {name!r}, digest {one.digest[:12]}."
        + model_tables.outside(one, client.tracking_uri),
    )


@commands.command("rename", epilog="Example: sparkml models rename churn churn-eu")
def rename(
    name: model_names.NameArgument,
    new_name: Annotated[str, typer.Argument(metavar="NEW_NAME", help="A name that no other model has.")],
    lake: named.LakeOption = None,
    as_json: named.JsonOption = False,
) -> None:
    """Give a model another name; its versions and its history stay."""
    model = named.client(lake).rename_registered_model(name, new_name)
    terminal.done(as_json, model_tables.model_document(model), f"Renamed the model {name!r} to {new_name!r}.")


@commands.command("delete", epilog="Example: sparkml models delete churn 3 --comment 'trained on the wrong month'")
def delete(
    name: model_names.NameArgument,
    version: Annotated[str | None, typer.Argument(metavar="VERSION", help="Only this version.")] = None,
    comment: model_names.CommentOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    lake: named.LakeOption = None,
    as_json: named.JsonOption = False,
) -> None:
    """Delete a model with all its versions, or one version; the history keeps them."""
    client = named.client(lake)
    if version is not None:
        # by its number alone: what else names a version may name another in a moment
        one = client.get_model_version(name, version)
        in_use = [one.current_stage] if one.current_stage in (ModelStage.STAGING, ModelStage.PRODUCTION) else []
        held = [*(f"@{alias}" for alias in one.aliases), *in_use]
        if held and not yes:
            typer.confirm(
                f"Version {one.version} of {name!r} is {' and '.join(held)}. Delete it?", abort=True, err=True
            )
        client.delete_model_version(name, one.version, comment)
        lost = f", which was in {one.current_stage}" if one.current_stage != ModelStage.NONE else ""
        if one.aliases:
            lost += f", with its aliases {', '.join(f'@{alias}' for alias in one.aliases)}"
        document = {"name": name, "version": one.version, "aliases": list(one.aliases), "stage": one.current_stage}
        return terminal.done(as_json, document, f"Deleted version {one.version} of {name!r}{lost}.")
    client.get_registered_model(name)
    count = len(client.search_model_versions(model_names.named_like(name)))
    if not yes:
        typer.confirm(f"Delete the model {name!r} with {shown.several(count, 'version')}?", abort=True, err=True)
    client.delete_registered_model(name, comment)
    terminal.done(
        as_json,
        {"name": name, "versions": count},
        f"Deleted the model {name!r} with {shown.several(count, 'version')}.",
    )


@commands.command("describe", epilog='Example: sparkml models describe churn "who leaves next month" --version 3')
def describe(
    name: model_names.NameArgument,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The new description.")],
    version: model_names.OfVersionOption = None,
    lake: named.LakeOption = None,
    as_json: named.JsonOption = False,
) -> None:
    """Describe a model or a version."""
    client = named.client(lake)
    if version is None:
        client.update_registered_model(name, text)
    else:
        version = model_names.found(client, name, version).version
        client.update_model_version(name, version, text)
    terminal.done(
        as_json,
        {"name": name, "version": version, "description": text},
        f"Described {model_tables.titled(name, version)}.",
    )


@commands.command("tag", epilog="Example: sparkml models tag churn validated yes --version 3")
def tag(
    name: model_names.NameArgument,
    key: Annotated[str, typer.Argument(metavar="KEY")],
    value: Annotated[str | None, typer.Argument(metavar="VALUE")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take the tag away.")] = False,
    version: model_names.OfVersionOption = None,
    lake: named.LakeOption = None,
    as_json: named.JsonOption = False,
) -> None:
    """Set a tag of a model or a version, or take it away."""
    if remove == (value is not None):
        raise typer.BadParameter("give a VALUE, or --remove.")
    client = named.client(lake)
    number = model_names.number(client, name, version)
    if remove:
        client.registry.delete_tag(name, key, number)
    else:
        client.registry.set_tag(name, key, value, number)
    said = (
        f"Removed the tag {key!r} of {model_tables.titled(name, number)}."
        if remove
        else f"Tagged {model_tables.titled(name, number)}: {key} = {value}."
    )
    terminal.done(as_json, {"name": name, "version": number, "key": key, "value": value}, said)


@commands.command("comment", epilog="Example: sparkml models comment churn 3 'scores the south too low'")
def comment(
    name: model_names.NameArgument,
    version: model_names.VersionArgument,
    text: Annotated[str | None, typer.Argument(metavar="TEXT", help="The comment; without it they are listed.")] = None,
    change: Annotated[str | None, typer.Option("--change", metavar="ID", help="Change this one of yours.")] = None,
    remove: Annotated[str | None, typer.Option("--remove", metavar="ID", help="Take this one of yours away.")] = None,
    lake: named.LakeOption = None,
    as_json: named.JsonOption = False,
) -> None:
    """Comment on a version, change or remove one's comment, or list them in order."""
    if (change is not None and text is None) or (remove is not None and (text is not None or change is not None)):
        raise typer.BadParameter("--change ID goes with a TEXT, and --remove ID stands alone.")
    client = named.client(lake)
    number = model_names.found(client, name, version).version
    if remove is not None:
        client.delete_model_version_comment(name, number, remove)
        return terminal.done(
            as_json, {"comment_id": remove}, f"Removed comment {remove} on {model_tables.titled(name, number)}."
        )
    if text is not None:
        one = client.registry.comment(name, number, text, change)
        return terminal.done(
            as_json, model_tables.plain(vars(one)), f"Comment {one.comment_id} on {model_tables.titled(name, number)}."
        )
    found = client.get_model_version_comments(name, number)
    if as_json:
        return terminal.print_json({"comments": [model_tables.plain(vars(one)) for one in found]})
    if not found:
        return terminal.show(f"No comments on {model_tables.titled(name, number)}.")
    table = terminal.table(
        f"Comments on {model_tables.titled(name, number)}",
        "id",
        "when",
        "who",
        "what",
        numbers=("id",),
        whole=("when",),
    )
    for one in found:
        terminal.row(table, one.comment_id, shown.moment(one.creation_timestamp), one.user_id, one.text)
    terminal.show(table)


@commands.command("history", epilog="Example: sparkml models history churn --version 3")
def history(
    name: model_names.NameArgument,
    version: model_names.OfVersionOption = None,
    lake: named.LakeOption = None,
    as_json: named.JsonOption = False,
) -> None:
    """Tell everything that happened to a model, the oldest first; what was deleted is there too."""
    client = named.client(lake)
    if version is not None and not version.isdecimal():
        version = model_names.found(client, name, version).version
    found = client.get_model_history(name, version)
    if version is not None and not found:
        model_names.found(client, name, version)
    if as_json:
        return terminal.print_json({"history": [model_tables.change_document(one) for one in found]})
    # what happened in another lake, before the version was copied, says so
    elsewhere = ("lake",) if any(lake_of(one) for one in found) else ()
    table = terminal.table(
        f"History of {model_tables.titled(name, version)}", "when", "who", *elsewhere, "version", "what", "from", "to", "why",
        numbers=("version",), whole=("when",), widest=40,
    )  # fmt: skip
    for one in found:
        there = (lake_of(one) or "here",) if elsewhere else ()
        number = one.details.get("version_there") or one.version or ""
        terminal.row(
            table, shown.moment(one.timestamp, seconds=True), one.user_id, *there, number, f"{one.what} {one.key}".strip(),
            shown.line(one.before, 40), shown.line(one.after, 40), shown.line(model_tables.why(one), 60),
        )  # fmt: skip
    terminal.show(table)


@commands.command("verify", epilog="Example: sparkml models verify churn")
def verify(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Of this model; all where it is not given.")
    ] = None,
    version: Annotated[str | None, typer.Argument(metavar="VERSION", help="Only this version.")] = None,
    lake: named.LakeOption = None,
    as_json: named.JsonOption = False,
) -> None:
    """Hold the files of versions against their digests; exit code 1 where one is not what was registered."""
    client = named.client(lake)
    if name is not None and version is not None:
        wanted: Sequence[ModelVersion] = [model_names.found(client, name, version)]
    else:
        if name is not None:
            client.get_registered_model(name)
        which = None if name is None else model_names.named_like(name)
        wanted = client.search_model_versions(which, 10**9, ["name", "version_number"])
    found = [(one, _broken(client, one)) for one in wanted]
    broken = [problem for _, problem in found if problem]
    if as_json:
        documents = [
            {
                "name": one.name,
                "version": one.version,
                "digest": one.digest,
                "intact": problem is None,
                "problem": problem,
            }
            for one, problem in found
        ]
        terminal.print_json({"versions": documents})
    else:
        for one, problem in found:
            terminal.show(problem or f"{one.name} {one.version}: intact, digest {one.digest[:12]}")
        terminal.show(f"{shown.several(len(found), 'version')}, {len(broken)} not what was registered.")
    if broken:
        raise typer.Exit(1)


@commands.command("field", epilog="Example: sparkml models field churn owner 'CRM team, crm@example.org'")
def field(
    name: model_names.NameArgument,
    key: Annotated[str, typer.Argument(metavar="KEY", help="owner, intended_use, limits, or a word of your own.")],
    text: Annotated[str | None, typer.Argument(metavar="TEXT", help="What it says.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Empty it.")] = False,
    version: model_names.OfVersionOption = None,
    lake: named.LakeOption = None,
    as_json: named.JsonOption = False,
) -> None:
    """Fill in a field of the model card, of a model or of one version."""
    if remove == (text is not None):
        raise typer.BadParameter("give a TEXT, or --remove.")
    client = named.client(lake)
    number = model_names.number(client, name, version)
    client.set_model_field(name, key, text, number)
    said = f"{key} of {model_tables.titled(name, number)} is {'empty' if remove else 'filled in'} now."
    terminal.done(as_json, {"name": name, "version": number, "key": key, "value": text}, said)


@commands.command("card", epilog="Example: sparkml models card churn Production --out churn.md")
def card(
    name: model_names.NameArgument,
    version: model_names.VersionArgument,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Ends with .md; else NAME-VERSION.md.")
    ] = None,
    lake: named.LakeOption = None,
    as_json: named.JsonOption = False,
) -> None:
    """Write the model card of a version: Markdown, with plots of its metrics beside it."""
    from sparkml_lifecycle import card as cards

    client = named.client(lake)
    number = model_names.found(client, name, version).version
    written = cards.write(client, name, number, out)
    terminal.done(
        as_json,
        {"name": name, "version": number, "file": str(written)},
        f"Wrote the card of {model_tables.titled(name, number)}: {written}",
    )


def _broken(client: "LifecycleClient", one: ModelVersion) -> str | None:
    try:
        client.fetch_version(one)
    except LifecycleError as error:
        return str(error)
    return None
