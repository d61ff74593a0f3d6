"""A version from one lake to another, with its run and history, held against its digest."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sparkml_lifecycle import uris
from sparkml_lifecycle.client import LifecycleClient
from sparkml_lifecycle.entities import ModelChange, ModelVersion
from sparkml_lifecycle.errors import IntegrityError, InvalidInput
from sparkml_lifecycle.lake import MODEL_FILES, Row, Where, literal
from sparkml_lifecycle.lake.rows import from_arrow
from sparkml_lifecycle.model import digest
from sparkml_lifecycle.registry.history import lake_of
from sparkml_lifecycle.registry.ledger import Ledger
from sparkml_lifecycle.registry.store import Draft, Files
from sparkml_lifecycle.registry.tables import What
from sparkml_lifecycle.tracking.tables import InputRow, MetricRow, ParamRow, TagRow
from sparkml_lifecycle.transfer import runs

_LOGGED: tuple[tuple[type[Row], str], ...] = (
    (ParamRow, "run_id"), (TagRow, "owner"), (InputRow, "run_id"), (MetricRow, "run_id"),
)  # fmt: skip


def copy_version(
    source: LifecycleClient,
    name: str,
    version: str | int,
    target: LifecycleClient,
    new_name: str | None = None,
    with_artifacts: bool = False,
) -> ModelVersion:
    """Copy a version to another lake; its stage and aliases are the other lake's to give.

    Parameters
    ----------
    source : LifecycleClient
    name : str
    version : str
    target : LifecycleClient
        Of another lake.
    new_name : str, optional
        The model's name there; the same where it is not given.
    with_artifacts : bool
        Copy the other artifacts of its run too.

    Returns
    -------
    ModelVersion
        In the other lake. Copied again, it is the one that is there.

    Raises
    ------
    IntegrityError
        If its files are not those that were registered, here or after the copy.
    """
    if uris.real(source.tracking_uri) == uris.real(target.tracking_uri):
        raise InvalidInput(
            "The two lakes are one. Within a lake a version is copied by client.copy_model_version, and no file is copied then."
        )
    one = source.get_model_version(name, version)
    origin = f"{source.tracking_uri} models:/{one.name}/{one.version}"
    wanted = new_name or name
    for known in target.search_model_versions(f"name = {literal(wanted)} and digest = '{one.digest}'"):
        if known.copied_from == origin:
            return known
    directory = source.fetch_version(one)
    place, run_id = _placed(source, target, one, directory, with_artifacts)
    _check(target, place, one)
    files = Files(place, one.digest, one.model_digest, run_id, one.run_link or None, origin)
    told = source.get_model_history(name, one.version)
    past = [
        Draft(What.ORIGIN, change.after, key=str(number), details=_told(change, source))
        for number, change in enumerate(told)
    ]
    model = source.registry.find(one.name)
    fields = [Draft(What.FIELD, row.value, key=row.key) for row in model.counting(What.FIELD, one.version)]
    made = target.registry.create_version(
        wanted,
        files,
        one.tags.items(),
        one.description,
        new=True,
        beside=[*past, *fields],
        of_model=_said_of(model),
    )
    target.check_that_it_stays(made)
    return made


def _said_of(model: Ledger) -> list[Draft]:
    """What is said of a model at home, for where it is new."""
    description = model.value(What.DESCRIPTION)
    return [
        *([Draft(What.DESCRIPTION, description)] if description else []),
        *(Draft(What.TAG, value, key=key) for key, value in model.tags().items()),
        *(Draft(What.FIELD, text, key=key) for key, text in model.fields().items()),
    ]


def _placed(
    source: LifecycleClient, target: LifecycleClient, one: ModelVersion, directory: Path, with_artifacts: bool
) -> tuple[str, str | None]:
    """Where the files of a version lie in the other lake, and their run."""
    row = runs.find(source, one.run_id) if one.run_id else None
    if row is None:
        place = uris.join(target.tracking_uri, MODEL_FILES, one.digest)
        target.storage(place).upload(directory, "")
        return place, None
    home = source.store.absolute(row.location)
    logged: runs.Rows = {
        row_type: (column, _rows(source, row_type, column, row.run_id)) for row_type, column in _LOGGED
    }
    experiment_id = target.experiment_made(source.get_experiment(row.experiment_id).name).experiment_id
    inside = uris.below(one.source, home) or ""
    below = _free(target, runs.place_of(target, experiment_id, row.run_id), inside, one.digest)

    def files(place: str) -> None:
        if with_artifacts:
            target.storage(place).upload(source.resolve(home), "")
        # a version that is there may have these very files
        if not _has(target, uris.join(place, below), one.digest):
            target.storage(place).upload(directory, below)

    there = runs.put(target, row, experiment_id, logged, files)
    return uris.join(target.store.absolute(there.location), below), row.run_id


def _free(target: LifecycleClient, place: str, inside: str, wanted: str) -> str:
    """Where below a run's artifacts the files go: a version that is there may need what lies at their own path."""
    by_digest = f"{MODEL_FILES}/{wanted}"
    if not inside:
        return by_digest
    there = target.storage(place)
    if not there.exists(inside):
        return inside
    return inside if _has(target, uris.join(place, inside), wanted) else by_digest


def _has(target: LifecycleClient, place: str, wanted: str) -> bool:
    return target.storage(place).exists() and digest.digest_of_files(target.resolve(place)) == wanted


def _rows(client: LifecycleClient, row_type: type[Row], column: str, run_id: str) -> list[Any]:
    table = client.lake.table(row_type)
    where = Where({column: [run_id]})
    if row_type.KEEP == "every":
        return from_arrow(row_type, table.rows(where))
    return table.latest(where)


def _check(target: LifecycleClient, place: str, one: ModelVersion) -> None:
    found = digest.digest_of_files(target.resolve(place))
    if found != one.digest:
        raise IntegrityError(
            f"What arrived at {place!r} has the digest {found[:12]}…, and version {one.version} of the model {one.name!r} "
            f"{one.digest[:12]}…: something else lies there. Nothing was registered."
        )


def _told(change: ModelChange, source: LifecycleClient) -> dict[str, Any]:
    """An entry of the history as it is kept in the other lake; what came with an earlier copy is told of the lake where it was."""
    details = dict(change.details)
    return {
        "lake": lake_of(change) or source.tracking_uri,
        "at": datetime.fromtimestamp(change.timestamp / 1000, UTC).isoformat(),
        "by": change.user_id,
        "name": change.name,
        "version": details.pop("version_there", change.version),
        "what": change.what,
        "key": change.key,
        "before": change.before,
        "after": change.after,
        "comment": change.comment,
        "details": details,
    }
