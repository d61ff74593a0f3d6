"""``sparkml models``: versions from one lake to another, and out of an MLflow server."""

import time
from typing import Annotated

import typer

from sparkml_lifecycle.cli import model_tables, named, shown, terminal

commands = typer.Typer()


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
    said = f"{model_tables.titled(one.name, one.version)} is {model_tables.titled(made.name, made.version)} in {other.tracking_uri}, digest {made.digest[:12]}.{before}"
    terminal.done(as_json, model_tables.version_document(made), said)


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
