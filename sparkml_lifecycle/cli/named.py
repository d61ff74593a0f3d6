"""From what a person types to what it names: a lake, an experiment, a run, a time; and the options that all commands share."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from sparkml_lifecycle.entities import Experiment, ViewType
from sparkml_lifecycle.errors import InvalidInput, NotFound

if TYPE_CHECKING:
    from sparkml_lifecycle.client import LifecycleClient

LakeOption = Annotated[
    str | None,
    typer.Option("--lake", metavar="URI", help="The lake: a path or s3:// and the like; else $SPARKML_TRACKING_URI, else ./mllake."),
]  # fmt: skip
JsonOption = Annotated[
    bool,
    typer.Option(
        "--json", help='Print one JSON document: times in UTC; NaN and infinities as "NaN", "Infinity", "-Infinity".'
    ),
]
DeletedOption = Annotated[bool, typer.Option("--deleted", help="Only deleted ones.")]
AllOption = Annotated[bool, typer.Option("--all", help="Deleted ones too.")]
ExperimentArgument = Annotated[str, typer.Argument(metavar="NAME_OR_ID", help="The experiment's name or id.")]
RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="A run id, or four or more digits of its beginning or end.")
]
RunsArgument = Annotated[
    list[str], typer.Argument(metavar="RUN", help="Run ids, or four or more digits of the beginning or end of each.")
]
_LAKE_FILE = "lake.json"


def client(lake: str | None, new: bool = False) -> "LifecycleClient":
    """The client of a lake, the current one where none is named.

    Raises
    ------
    NotFound
        If there is no lake; not where ``new`` says that one may be made.
    """
    from sparkml_lifecycle.client import LifecycleClient
    from sparkml_lifecycle.storage import open_storage

    made = LifecycleClient(lake)
    place = made.tracking_uri
    # a mistyped place would look like a lake without runs; a server answers for itself
    if not new and not place.startswith(("http://", "https://")) and not open_storage(place).exists(_LAKE_FILE):
        raise NotFound(
            f"There is no lake at {place!r}. Name one with --lake or SPARKML_TRACKING_URI; the first run that is logged makes it."
        )
    return made


def experiment(of: "LifecycleClient", name_or_id: str) -> Experiment:
    """An experiment by its name or id, deleted ones included.

    Raises
    ------
    NotFound
        If there is none; the message has the nearest name.
    InvalidInput
        If it is the name of one and the id of another.
    """
    by_name = of.get_experiment_by_name(name_or_id)
    try:
        by_id = of.get_experiment(name_or_id) if name_or_id.isdecimal() else None
    except NotFound:
        by_id = None
    if by_name and by_id and by_name.experiment_id != by_id.experiment_id:
        raise InvalidInput(
            f"{name_or_id!r} is the name of the experiment {by_name.experiment_id} and the id of {by_id.name!r}. "
            f"Say {by_name.experiment_id!r} or {by_id.name!r}."
        )
    return by_name or by_id or of.experiment_named(name_or_id)


def view(deleted: bool, everything: bool) -> ViewType:
    """What ``--deleted`` and ``--all`` ask for."""
    if deleted and everything:
        raise typer.BadParameter("--deleted and --all exclude each other.")
    return ViewType.DELETED_ONLY if deleted else ViewType.ALL if everything else ViewType.ACTIVE_ONLY


def moment(text: str | datetime) -> datetime:
    """A time such as ``2026-11-23T10:00``, of this machine's time zone where it names none."""
    if isinstance(text, datetime):
        return text
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        raise typer.BadParameter(
            f"{text!r} is no time; write 2026-11-23T10:00, or 2026-11-23T10:00Z for UTC."
        ) from None
