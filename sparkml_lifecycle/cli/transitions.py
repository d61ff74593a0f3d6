"""``sparkml models``: stages and aliases, moved at once, on request or through a gate."""

from typing import Annotated

import typer

from sparkml_lifecycle.cli import model_names, model_tables, named, shown, terminal

commands = typer.Typer()
WaitingOption = Annotated[str | None, typer.Option("--stage", metavar="STAGE", help="Which, where several wait.")]


@commands.command(
    "stage", epilog="Example: sparkml models stage churn 3 Production --archive-existing --comment 'march data'"
)
def stage(
    name: model_names.NameArgument,
    version: model_names.VersionArgument,
    to: model_names.StageArgument,
    archive: model_names.ArchiveOption = False,
    comment: model_names.CommentOption = None,
    lake: named.LakeOption = None,
    as_json: named.JsonOption = False,
) -> None:
    """Move a version to a stage."""
    client = named.client(lake)
    number = model_names.found(client, name, version).version
    one = client.transition_model_version_stage(name, number, to, archive, comment)
    terminal.done(
        as_json, model_tables.version_document(one), f"Version {number} of {name!r} is in {one.current_stage} now."
    )


@commands.command("alias", epilog="Example: sparkml models alias churn champion 3")
def alias(
    name: model_names.NameArgument,
    given: Annotated[str, typer.Argument(metavar="ALIAS", help="A word, such as champion.")],
    version: Annotated[str | None, typer.Argument(metavar="VERSION", help="The version it names.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Take the alias away.")] = False,
    comment: model_names.CommentOption = None,
    lake: named.LakeOption = None,
    as_json: named.JsonOption = False,
) -> None:
    """Let an alias name a version, or take it away."""
    if remove == (version is not None):
        raise typer.BadParameter("give a VERSION, or --remove.")
    client, word = named.client(lake), given.removeprefix("@")
    number = model_names.number(client, name, version)
    if number is None:
        client.delete_registered_model_alias(name, word, comment)
    else:
        client.set_registered_model_alias(name, word, number, comment)
    said = f"models:/{name}@{word} is version {number} now." if number else f"The alias {word!r} of {name!r} is gone."
    terminal.done(as_json, {"name": name, "alias": word, "version": number}, said)


@commands.command("request", epilog="Example: sparkml models request churn 3 Production --comment 'better on march'")
def request(
    name: model_names.NameArgument,
    version: model_names.VersionArgument,
    to: model_names.StageArgument,
    archive: model_names.ArchiveOption = False,
    comment: model_names.CommentOption = None,
    lake: named.LakeOption = None,
    as_json: named.JsonOption = False,
) -> None:
    """Ask for a version to be moved to a stage; somebody else approves it."""
    client = named.client(lake)
    one = client.request_transition(name, model_names.found(client, name, version).version, to, archive, comment)
    said = f"Asked to move {model_tables.titled(name, one.version)} to {one.stage}. Somebody else approves: sparkml models approve {name} {one.version}"
    terminal.done(as_json, model_tables.plain(vars(one)), said)


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
        return terminal.print_json({"requests": [model_tables.plain(vars(one)) for one in found]})
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
    name: model_names.NameArgument,
    version: model_names.VersionArgument,
    to: WaitingOption = None,
    comment: model_names.CommentOption = None,
    lake: named.LakeOption = None,
    as_json: named.JsonOption = False,
) -> None:
    """Approve a request, which moves the version; not one's own."""
    client = named.client(lake)
    one = client.approve(name, model_names.found(client, name, version).version, to, comment)
    terminal.done(
        as_json,
        model_tables.version_document(one),
        f"Approved: {model_tables.titled(name, one.version)} is in {one.current_stage} now.",
    )


@commands.command("reject", epilog="Example: sparkml models reject churn 3 --comment 'worse in the south'")
def reject(
    name: model_names.NameArgument,
    version: model_names.VersionArgument,
    to: WaitingOption = None,
    comment: model_names.CommentOption = None,
    lake: named.LakeOption = None,
    as_json: named.JsonOption = False,
) -> None:
    """Reject a request."""
    client = named.client(lake)
    one = client.reject(name, model_names.found(client, name, version).version, to, comment)
    terminal.done(
        as_json,
        model_tables.version_document(one),
        f"Rejected; {model_tables.titled(name, one.version)} stays in {one.current_stage}.",
    )


@commands.command(
    "promote",
    epilog="Example: sparkml models promote churn 3 --to Production --to @champion --require 'metrics.mae <= champion.mae * 1.01' "
    "--check-signature --check-load --comment 'march data'",
)
def promote(
    name: model_names.NameArgument,
    version: model_names.VersionArgument,
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
    comment: model_names.CommentOption = None,
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
        checks = [model_tables.plain(vars(one)) for one in verdict.checks]
        terminal.print_json(
            {
                "name": name,
                "version": verdict.version,
                "to": list(verdict.to),
                "passed": verdict.passed,
                "checks": checks,
                "evaluated_on": verdict.evaluated_on,
                "metrics": {number: model_tables.plain(dict(found)) for number, found in verdict.metrics.items()},
            }
        )
    else:
        if verdict.checks:
            terminal.show(model_tables.gate_table(verdict))
        if verdict.evaluated_on:
            terminal.show(f"Evaluated on {verdict.evaluated_on}:")
            for number, measured in sorted(verdict.metrics.items(), key=lambda item: int(item[0])):
                terminal.show(
                    f"  version {number}: {', '.join(f'{key} {value:.6g}' for key, value in measured.items())}"
                )
        moved = f"{model_tables.titled(name, verdict.version)} is {where} now."
        kept = f"{model_tables.titled(name, verdict.version)} was not moved to {where}."
        terminal.show(f"Passed: {moved}" if verdict.passed else f"Not passed: {kept}")
    if not verdict.passed:
        raise typer.Exit(1)
