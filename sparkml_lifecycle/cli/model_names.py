"""From what a person types to a registered model or version: the arguments that the commands of models share."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from sparkml_lifecycle import uris
from sparkml_lifecycle.cli import named
from sparkml_lifecycle.entities import ModelVersion
from sparkml_lifecycle.lake import literal

if TYPE_CHECKING:
    from sparkml_lifecycle.client import LifecycleClient

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


def found(client: "LifecycleClient", name: str, version: str, as_of: datetime | None = None) -> ModelVersion:
    """The version that a person names by a number, ``latest``, a stage or an alias with @."""
    selected = uris.ModelUri(name, version.removeprefix("@"), is_alias=version.startswith("@"))
    return client.registry.version_of(selected, as_of)


def number(client: "LifecycleClient", name: str, version: str | None) -> str | None:
    """The number of the version that a person names; None where none is named."""
    return None if version is None else found(client, name, version).version


def named_like(name: str) -> str:
    """The filter for the versions of a model."""
    return f"name = {literal(name)}"


def when(text: str | None) -> datetime | None:
    """A time as a person types it."""
    return None if text is None else named.moment(text)
