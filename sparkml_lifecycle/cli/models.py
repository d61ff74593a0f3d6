"""``sparkml models``: registered models and their versions, who put what where, and why."""

import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sparkml_lifecycle import uris
from sparkml_lifecycle.cli import named, shown, terminal
from sparkml_lifecycle.cli.experiments import tag_of
from sparkml_lifecycle.entities import ModelChange, ModelStage, ModelVersion, RegisteredModel
from sparkml_lifecycle.errors import LifecycleError
from sparkml_lifecycle.lake import literal
from sparkml_lifecycle.registry.history import lake_of

if TYPE_CHECKING:
    from sparkml_lifecycle.client import LifecycleClient
    from sparkml_lifecycle.promotion import Verdict

commands = typer.Typer(
    no_args_is_help=True,
    help="Register models, move their versions, ask what was where and when, promote, copy and describe them.",
)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The registered model's name.")]
VersionArgument = Annotated[
    str, typer.Argument(metavar="VERSION", help="A number, latest, a stage, or an alias with @: 3, latest, Production, @champion.")
]  # fmt: skip
StageArgument = Annotated[str, typer.Argument(metavar="STAGE", help="None, Staging, Production or Archived.")]
CommentOption = Annotated[str | None, typer.Option("--comment", metavar="TEXT", help="Why, for the history.")]
FilterOption = Annotated[str | None, typer.Option("--filter", metavar="TEXT", help="Which ones.")]
MostOption = Annotated[int, typer.Option("--max", metavar="N", help="How many at most.")]
AsOfOption = Annotated[
    str | None,
    typer.Option("--as-of", metavar="TIME", help="As it was then: 2026-03-03T12:00, of this machine's time zone, or …Z."),
]  # fmt: skip
OfVersionOption = Annotated[
    str | None, typer.Option("--version", metavar="VERSION", help="Of this version, not of the model itself.")
]
ArchiveOption = Annotated[
    bool, typer.Option("--archive-existing", help="Archive the versions that are in that stage, in the same step.")
]


@commands.command("list", epilog="Example: sparkml models list --filter \"name LIKE 'churn%' and tags.team = 'crm'\"")
def list_models(
    text: FilterOption = None, most: MostOption = 100, lake: named.LakeOption = None, as_json: named.JsonOption = False
) -> None:
    """List the registered models by name, with their newest version, stages and aliases."""
    client = named.client(lake)
    found = client.search_registered_models(text, most)
    if as_json:
        return terminal.print_json({"models": [_model(one) for one in found]})
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
    text: FilterOption = None,
    most: MostOption = 100,
    lake: named.LakeOption = None,
    as_json: named.JsonOption = False,
) -> None:
    """List versions, the last changed first."""
    client = named.client(lake)
    if name is not None:
        client.get_registered_model(name)
        text = f"{_named(name)} and ({text})" if text else _named(name)
    found = client.search_model_versions(text, most)
    if as_json:
        return terminal.print_json({"versions": [_version(one) for one in found]})
    if not found:
        return terminal.show(f"No versions{' like that' if text else ''}.")
    where = f"Versions of {name or 'all models'} in {client.tracking_uri}"
    terminal.show(_versions_table(where, found))
    if found.token:
        terminal.show("There are more: --max 1000, or --filter.")


@commands.command("show", epilog="Example: sparkml models show churn Production --as-of 2026-03-03T12:00")
def show(
    name: NameArgument,
    version: Annotated[
        str | None,
        typer.Argument(metavar="VERSION", help="One version: a number, latest, a stage, or an alias with @."),
    ] = None,
    as_of: AsOfOption = None,
    lake: named.LakeOption = None,
    as_json: named.JsonOption = False,
) -> None:
    """Show a model, or one version of it, as it is or as it was at a time."""
    client, when = named.client(lake), _when(as_of)
    if version is not None:
        one = _found(client, name, version, when)
        if as_json:
            return terminal.print_json(_version(one))
        return terminal.show(terminal.pairs(f"{one.name}, version {one.version}", *_rows_of(one)))
    model = client.get_registered_model(name, when)
    if as_json:
        return terminal.print_json(_model(model))
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
        terminal.show(_versions_table("The newest version in each stage", model.latest_versions))


@commands.command(
    "create", epilog='Example: sparkml models create churn --description "who leaves next month" --tag team=crm'
)
def create(
    name: NameArgument,
    description: Annotated[str | None, typer.Option(metavar="TEXT", help="What it is.")] = None,
    tag: Annotated[list[str] | None, typer.Option("--tag", metavar="KEY=VALUE", help="A tag; may be repeated.")] = None,
    lake: named.LakeOption = None,
    as_json: named.JsonOption = False,
) -> None:
    """Register a model without versions; `register` makes the model with its first version."""
    model = named.client(lake, new=True).create_registered_model(name, dict(map(tag_of, tag or ())), description)
    terminal.done(as_json, _model(model), f"Created the model {name!r}.")


@commands.command("register", epilog="Example: sparkml models register runs:/4f…/model churn --tag data=march")
def register(
    uri: Annotated[
        str, typer.Argument(metavar="URI", help="runs:/RUN/PATH, models:/NAME/VERSION, or a model's place.")
    ],
    name: NameArgument,
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
        _version(one),
        f"Registered {one.copied_from or uri} as version {one.version} of {name!r}, digest {one.digest[:12]}."
        + _outside(one, client.tracking_uri),
    )


@commands.command("rename", epilog="Example: sparkml models rename churn churn-eu")
def rename(
    name: NameArgument,
    new_name: Annotated[str, typer.Argument(metavar="NEW_NAME", help="A name that no other model has.")],
    lake: named.LakeOption = None,
    as_json: named.JsonOption = False,
) -> None:
    """Give a model another name; its versions and its history stay."""
    model = named.client(lake).rename_registered_model(name, new_name)
    terminal.done(as_json, _model(model), f"Renamed the model {name!r} to {new_name!r}.")


@commands.command("delete", epilog="Example: sparkml models delete churn 3 --comment 'trained on the wrong month'")
def delete(
    name: NameArgument,
    version: Annotated[str | None, typer.Argument(metavar="VERSION", help="Only this version.")] = None,
    comment: CommentOption = None,
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
    count = len(client.search_model_versions(_named(name)))
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
    name: NameArgument,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The new description.")],
    version: OfVersionOption = None,
    lake: named.LakeOption = None,
    as_json: named.JsonOption = False,
) -> None:
    """Describe a model or a version."""
    client = named.client(lake)
    if version is None:
        client.update_registered_model(name, text)
    else:
        version = _found(client, name, version).version
        client.update_model_version(name, version, text)
    terminal.done(as_json, {"name": name, "version": version, "description": text}, f"Described {_of(name, version)}.")


@commands.command("tag", epilog="Example: sparkml models tag churn validated yes --version 3")
def tag(
    name: NameArgument,
    key: Annotated[str, typer.Argument(metavar="KEY")],
    value: Annotated[str | None, typer.Argument(metavar="VALUE")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take the tag away.")] = False,
    version: OfVersionOption = None,
    lake: named.LakeOption = None,
    as_json: named.JsonOption = False,
) -> None:
    """Set a tag of a model or a version, or take it away."""
    if remove == (value is not None):
        raise typer.BadParameter("give a VALUE, or --remove.")
    client = named.client(lake)
    number = _number(client, name, version)
    if remove:
        client.registry.delete_tag(name, key, number)
    else:
        client.registry.set_tag(name, key, value, number)
    said = (
        f"Removed the tag {key!r} of {_of(name, number)}."
        if remove
        else f"Tagged {_of(name, number)}: {key} = {value}."
    )
    terminal.done(as_json, {"name": name, "version": number, "key": key, "value": value}, said)


@commands.command(
    "stage", epilog="Example: sparkml models stage churn 3 Production --archive-existing --comment 'march data'"
)
def stage(
    name: NameArgument,
    version: VersionArgument,
    to: StageArgument,
    archive: ArchiveOption = False,
    comment: CommentOption = None,
    lake: named.LakeOption = None,
    as_json: named.JsonOption = False,
) -> None:
    """Move a version to a stage."""
    client = named.client(lake)
    number = _found(client, name, version).version
    one = client.transition_model_version_stage(name, number, to, archive, comment)
    terminal.done(as_json, _version(one), f"Version {number} of {name!r} is in {one.current_stage} now.")


@commands.command("alias", epilog="Example: sparkml models alias churn champion 3")
def alias(
    name: NameArgument,
    given: Annotated[str, typer.Argument(metavar="ALIAS", help="A word, such as champion.")],
    version: Annotated[str | None, typer.Argument(metavar="VERSION", help="The version it names.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take the alias away.")] = False,
    comment: CommentOption = None,
    lake: named.LakeOption = None,
    as_json: named.JsonOption = False,
) -> None:
    """Let an alias name a version, or take it away."""
    if remove == (version is not None):
        raise typer.BadParameter("give a VERSION, or --remove.")
    client, word = named.client(lake), given.removeprefix("@")
    number = _number(client, name, version)
    if number is None:
        client.delete_registered_model_alias(name, word, comment)
    else:
        client.set_registered_model_alias(name, word, number, comment)
    said = f"models:/{name}@{word} is version {number} now." if number else f"The alias {word!r} of {name!r} is gone."
    terminal.done(as_json, {"name": name, "alias": word, "version": number}, said)


@commands.command("comment", epilog="Example: sparkml models comment churn 3 'scores the south too low'")
def comment(
    name: NameArgument,
    version: VersionArgument,
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
    number = _found(client, name, version).version
    if remove is not None:
        client.delete_model_version_comment(name, number, remove)
        return terminal.done(as_json, {"comment_id": remove}, f"Removed comment {remove} on {_of(name, number)}.")
    if text is not None:
        one = client.registry.comment(name, number, text, change)
        return terminal.done(as_json, _plain(vars(one)), f"Comment {one.comment_id} on {_of(name, number)}.")
    found = client.get_model_version_comments(name, number)
    if as_json:
        return terminal.print_json({"comments": [_plain(vars(one)) for one in found]})
    if not found:
        return terminal.show(f"No comments on {_of(name, number)}.")
    table = terminal.table(
        f"Comments on {_of(name, number)}", "id", "when", "who", "what", numbers=("id",), whole=("when",)
    )
    for one in found:
        terminal.row(table, one.comment_id, shown.moment(one.creation_timestamp), one.user_id, one.text)
    terminal.show(table)


@commands.command("request", epilog="Example: sparkml models request churn 3 Production --comment 'better on march'")
def request(
    name: NameArgument,
    version: VersionArgument,
    to: StageArgument,
    archive: ArchiveOption = False,
    comment: CommentOption = None,
    lake: named.LakeOption = None,
    as_json: named.JsonOption = False,
) -> None:
    """Ask for a version to be moved to a stage; somebody else approves it."""
    client = named.client(lake)
    one = client.request_transition(name, _found(client, name, version).version, to, archive, comment)
    said = f"Asked to move {_of(name, one.version)} to {one.stage}. Somebody else approves: sparkml models approve {name} {one.version}"
    terminal.done(as_json, _plain(vars(one)), said)


@commands.command("requests", epilog="Example: sparkml models requests")
def requests(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="A registered model; all where not given.")
    ] = None,
    lake: named.LakeOption = None,
    as_json: named.JsonOption = False,
) -> None:
    """List the requests that nobody has answered yet, of one model or of all."""
    found = named.client(lake).get_transition_requests(name)
    if as_json:
        return terminal.print_json({"requests": [_plain(vars(one)) for one in found]})
    if not found:
        return terminal.show(f"Nobody waits for an answer{f' about {name!r}' if name else ''}.")
    table = terminal.table(
        "Requests", "model", "version", "to", "who", "when", "why", numbers=("version",), whole=("when",), widest=60
    )
    for one in found:
        terminal.row(
            table, one.name, one.version, one.stage, one.user_id, shown.moment(one.creation_timestamp), one.comment
        )
    terminal.show(table)


@commands.command(
    "approve", epilog="Example: SPARKML_USER=ann sparkml models approve churn 3 --comment 'seen the report'"
)
def approve(
    name: NameArgument,
    version: VersionArgument,
    to: Annotated[str | None, typer.Option("--stage", metavar="STAGE", help="Which, where several wait.")] = None,
    comment: CommentOption = None,
    lake: named.LakeOption = None,
    as_json: named.JsonOption = False,
) -> None:
    """Approve a request, which moves the version; not one's own."""
    client = named.client(lake)
    one = client.approve(name, _found(client, name, version).version, to, comment)
    terminal.done(as_json, _version(one), f"Approved: {_of(name, one.version)} is in {one.current_stage} now.")


@commands.command("reject", epilog="Example: sparkml models reject churn 3 --comment 'worse in the south'")
def reject(
    name: NameArgument,
    version: VersionArgument,
    to: Annotated[str | None, typer.Option("--stage", metavar="STAGE", help="Which, where several wait.")] = None,
    comment: CommentOption = None,
    lake: named.LakeOption = None,
    as_json: named.JsonOption = False,
) -> None:
    """Reject a request."""
    client = named.client(lake)
    one = client.reject(name, _found(client, name, version).version, to, comment)
    terminal.done(as_json, _version(one), f"Rejected; {_of(name, one.version)} stays in {one.current_stage}.")


@commands.command("history", epilog="Example: sparkml models history churn --version 3")
def history(
    name: NameArgument,
    version: OfVersionOption = None,
    lake: named.LakeOption = None,
    as_json: named.JsonOption = False,
) -> None:
    """Tell everything that happened to a model, the oldest first; what was deleted is there too."""
    client = named.client(lake)
    if version is not None and not version.isdecimal():
        version = _found(client, name, version).version
    found = client.get_model_history(name, version)
    if version is not None and not found:
        _found(client, name, version)
    if as_json:
        return terminal.print_json({"history": [_change(one) for one in found]})
    # what happened in another lake, before the version was copied, says so
    elsewhere = ("lake",) if any(lake_of(one) for one in found) else ()
    table = terminal.table(
        f"History of {_of(name, version)}", "when", "who", *elsewhere, "version", "what", "from", "to", "why",
        numbers=("version",), whole=("when",), widest=40,
    )  # fmt: skip
    for one in found:
        there = (lake_of(one) or "here",) if elsewhere else ()
        number = one.details.get("version_there") or one.version or ""
        terminal.row(
            table, shown.moment(one.timestamp, seconds=True), one.user_id, *there, number, f"{one.what} {one.key}".strip(),
            shown.line(one.before, 40), shown.line(one.after, 40), shown.line(_why(one), 60),
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
        wanted: Sequence[ModelVersion] = [_found(client, name, version)]
    else:
        if name is not None:
            client.get_registered_model(name)
        which = None if name is None else _named(name)
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


@commands.command(
    "promote",
    epilog="Example: sparkml models promote churn 3 --to Production --to @champion --require 'metrics.mae <= champion.mae * 1.01' "
    "--check-signature --check-load --comment 'march data'",
)
def promote(
    name: NameArgument,
    version: VersionArgument,
    to: Annotated[
        list[str], typer.Option("--to", metavar="PLACE", help="A stage, or an alias with @; may be repeated: one step.")
    ],
    require: Annotated[
        list[str] | None,
        typer.Option("--require", metavar="TEXT", help="What must hold: 'metrics.mae <= 12.5'; may be repeated."),
    ] = None,
    check_signature: Annotated[
        bool, typer.Option("--check-signature", help="It takes and answers what the version there now does.")
    ] = False,
    check_load: Annotated[bool, typer.Option("--check-load", help="It loads here and answers its example.")] = False,
    evaluate: Annotated[
        str | None, typer.Option(metavar="TABLE", help="A Delta table: the metrics of all compared are computed on it.")
    ] = None,
    label: Annotated[str | None, typer.Option(metavar="COL", help="Its column with the truth.")] = None,
    keep_existing: Annotated[bool, typer.Option("--keep-existing", help="Do not archive the versions there.")] = False,
    comment: CommentOption = None,
    allow_code: Annotated[bool, typer.Option("--allow-code", help="Code out of the models may run.")] = False,
    lake: named.LakeOption = None,
    as_json: named.JsonOption = False,
) -> None:
    """Move a version if all that is required holds: exit code 0, or 1 and nothing moved. The history tells either way."""
    from sparkml_lifecycle import promotion

    verdict = promotion.promote(
        named.client(lake), name, version, to, require or (), check_signature=check_signature, check_load=check_load,
        evaluate=evaluate, label=label, comment=comment, keep_existing=keep_existing, allow_code=allow_code or None,
    )  # fmt: skip
    where = " and ".join(verdict.to)
    if as_json:
        checks = [_plain(vars(one)) for one in verdict.checks]
        terminal.print_json(
            {
                "name": name,
                "version": verdict.version,
                "to": list(verdict.to),
                "passed": verdict.passed,
                "checks": checks,
                "evaluated_on": verdict.evaluated_on,
                "metrics": {number: _plain(dict(found)) for number, found in verdict.metrics.items()},
            }
        )
    else:
        if verdict.checks:
            terminal.show(gate_table(verdict))
        if verdict.evaluated_on:
            terminal.show(f"Evaluated on {verdict.evaluated_on}:")
            for number, measured in sorted(verdict.metrics.items(), key=lambda item: int(item[0])):
                terminal.show(
                    f"  version {number}: {', '.join(f'{key} {value:.6g}' for key, value in measured.items())}"
                )
        moved = f"{_of(name, verdict.version)} is {where} now."
        kept = f"{_of(name, verdict.version)} was not moved to {where}."
        terminal.show(f"Passed: {moved}" if verdict.passed else f"Not passed: {kept}")
    if not verdict.passed:
        raise typer.Exit(1)


@commands.command("field", epilog="Example: sparkml models field churn owner 'CRM team, crm@example.org'")
def field(
    name: NameArgument,
    key: Annotated[str, typer.Argument(metavar="KEY", help="owner, intended_use, limits, or a word of your own.")],
    text: Annotated[str | None, typer.Argument(metavar="TEXT", help="What it says.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Empty it.")] = False,
    version: OfVersionOption = None,
    lake: named.LakeOption = None,
    as_json: named.JsonOption = False,
) -> None:
    """Fill in a field of the model card, of a model or of one version."""
    if remove == (text is not None):
        raise typer.BadParameter("give a TEXT, or --remove.")
    client = named.client(lake)
    number = _number(client, name, version)
    client.set_model_field(name, key, text, number)
    said = f"{key} of {_of(name, number)} is {'empty' if remove else 'filled in'} now."
    terminal.done(as_json, {"name": name, "version": number, "key": key, "value": text}, said)


@commands.command("card", epilog="Example: sparkml models card churn Production --out churn.md")
def card(
    name: NameArgument,
    version: VersionArgument,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Ends with .md; else NAME-VERSION.md.")
    ] = None,
    lake: named.LakeOption = None,
    as_json: named.JsonOption = False,
) -> None:
    """Write the model card of a version: Markdown, with plots of its metrics beside it."""
    from sparkml_lifecycle import card as cards

    client = named.client(lake)
    number = _found(client, name, version).version
    written = cards.write(client, name, number, out)
    terminal.done(
        as_json,
        {"name": name, "version": number, "file": str(written)},
        f"Wrote the card of {_of(name, number)}: {written}",
    )


@commands.command("copy", epilog="Example: sparkml models copy churn/3 --to s3://prod/lake")
def copy(
    which: Annotated[str, typer.Argument(metavar="NAME/VERSION", help="churn/3, churn/Production or churn@champion.")],
    to: Annotated[str, typer.Option("--to", metavar="URI", help="The other lake.")],
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="The model's name there; the same if not given.")
    ] = None,
    with_artifacts: Annotated[bool, typer.Option("--with-artifacts", help="The other files of its run too.")] = False,
    lake: named.LakeOption = None,
    as_json: named.JsonOption = False,
) -> None:
    """Copy a version to another lake, with its run and history, held against its digest."""
    from sparkml_lifecycle import transfer

    client, other = named.client(lake), named.client(to, new=True)
    one = client.get_version_of(which if which.startswith("models:") else f"models:/{which}")
    began = time.time_ns() // 1_000_000
    made = transfer.copy_version(client, one.name, one.version, other, name, with_artifacts)
    before = " It was there already." if made.creation_timestamp < began else ""
    said = f"{_of(one.name, one.version)} is {_of(made.name, made.version)} in {other.tracking_uri}, digest {made.digest[:12]}.{before}"
    terminal.done(as_json, _version(made), said)


@commands.command("import", epilog="Example: sparkml models import http://mlflow:5000 churn")
def bring(
    server: Annotated[str, typer.Argument(metavar="SERVER", help="An MLflow server, http(s)://host:port.")],
    names: Annotated[
        list[str] | None, typer.Argument(metavar="NAME", help="Of these models; of all if none is given.")
    ] = None,
    follow: Annotated[
        bool,
        typer.Option("--follow", help="Stages and aliases as on the server, also of models that were brought before."),
    ] = False,
    lake: named.LakeOption = None,
    as_json: named.JsonOption = False,
) -> None:
    """Bring models from an MLflow server, with versions, stages, aliases, tags, runs and files; exit code 1 where one failed."""
    from sparkml_lifecycle import transfer

    found = transfer.import_models(named.client(lake, new=True), server, names or (), follow)
    if as_json:
        terminal.print_json(
            {
                "versions": list(found.versions),
                "known": list(found.known),
                "failed": dict(found.failed),
                "different": list(found.different),
            }
        )
    else:
        terminal.show(
            *(f"brought {one}" for one in found.versions),
            *(f"{one}: {why}" for one, why in found.failed.items()),
            *found.different,
        )
        if found.different:
            terminal.show("--follow makes stages and aliases here as they are there.")
        terminal.show(
            f"{shown.several(len(found.versions), 'version')} brought, {len(found.known)} known before, {len(found.failed)} failed."
        )
    if found.failed:
        raise typer.Exit(1)


def gate_table(verdict: "Verdict") -> Any:
    """What was required, and what was found."""
    table = terminal.table(f"Gate for {_of(verdict.name, verdict.version)}", "", "required", "found", widest=70)
    for one in verdict.checks:
        terminal.row(table, "✓" if one.passed else "✗", one.what, one.found, style=None if one.passed else "red")
    return table


# -- inside ----------------------------------------------------------------------------------------------------------------


def _found(client: "LifecycleClient", name: str, version: str, as_of: datetime | None = None) -> ModelVersion:
    selected = uris.ModelUri(name, version.removeprefix("@"), is_alias=version.startswith("@"))
    return client.registry.version_of(selected, as_of)


def _number(client: "LifecycleClient", name: str, version: str | None) -> str | None:
    return None if version is None else _found(client, name, version).version


def _named(name: str) -> str:
    """The filter for the versions of a model."""
    return f"name = {literal(name)}"


def _when(text: str | None) -> datetime | None:
    return None if text is None else named.moment(text)


def _broken(client: "LifecycleClient", one: ModelVersion) -> str | None:
    try:
        client.fetch_version(one)
    except LifecycleError as error:
        return str(error)
    return None


def _of(name: str, version: str | None) -> str:
    return f"version {version} of {name!r}" if version else f"{name!r}"


def _outside(one: ModelVersion, lake: str) -> str:
    if uris.below(one.source, lake) is not None:
        return ""
    return f"\nIts files stay at {one.source}, outside of the lake: who moves or removes them breaks the version."


def _why(one: ModelChange) -> str | None:
    if one.what == "version" and one.after is not None and not one.comment:
        came = one.details.get("copied_from")
        return f"from {came}" if came else None
    if not one.details.get("checks"):
        return one.comment or None
    missed = [check["what"] for check in one.details["checks"] if not check["passed"]]
    found = f"not: {', '.join(missed)}" if missed else shown.several(len(one.details["checks"]), "check")
    return "; ".join([*([one.comment] if one.comment else []), f"to {' and '.join(one.details['to'])}, {found}"])


def _versions_table(title: str, versions: Sequence[ModelVersion]) -> Any:
    table = terminal.table(
        title, "name", "version", "stage", "aliases", "registered", "by", "run", numbers=("version",),
        whole=("registered", "run"), widest=40,
    )  # fmt: skip
    for one in versions:
        terminal.row(
            table, one.name, one.version, one.current_stage, ", ".join(f"@{alias}" for alias in one.aliases) or shown.NOTHING,
            shown.moment(one.creation_timestamp), one.user_id, one.run_id or shown.NOTHING,
        )  # fmt: skip
    return table


def _rows_of(one: ModelVersion) -> list[tuple[str, Any]]:
    return [
        ("stage", one.current_stage),
        ("aliases", ", ".join(f"@{alias}" for alias in one.aliases) or shown.NOTHING),
        ("description", shown.text(one.description or None)),
        ("registered", f"{shown.moment(one.creation_timestamp, seconds=True)} by {one.user_id}"),
        ("last change", shown.moment(one.last_updated_timestamp, seconds=True)),
        ("run", one.run_id or shown.NOTHING),
        ("source", one.source),
        *([("copied from", one.copied_from)] if one.copied_from else []),
        ("digest", one.digest),
        ("model digest", one.model_digest),
        *((f"tag {key}", shown.text(value)) for key, value in sorted(one.tags.items())),
    ]


def _model(model: RegisteredModel) -> dict[str, Any]:
    return {
        **_plain(dict(model)),
        "aliases": dict(model.aliases),
        "latest_versions": [_version(one) for one in model.latest_versions],
    }


def _version(one: ModelVersion) -> dict[str, Any]:
    return _plain(dict(one))


def _change(one: ModelChange) -> dict[str, Any]:
    return {**_plain(dict(one)), "timestamp": shown.iso(one.timestamp)}


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """With times as ISO 8601, as all documents of the command line have them."""
    return {
        key: shown.iso(value) if key.endswith("_timestamp") else shown.plain(value) for key, value in values.items()
    }
