"""What happened to a model, told from its rows."""

from collections.abc import Sequence
from datetime import datetime

from sparkml_lifecycle.entities import ModelChange, ModelComment
from sparkml_lifecycle.registry.ledger import details_of
from sparkml_lifecycle.registry.tables import RegistryRow, What
from sparkml_lifecycle.tracking.experiments import milliseconds

_COPY_OF = "copy of "


def lake_of(change: ModelChange) -> str | None:
    """The lake where a change happened before the version was copied; None for this one."""
    return change.via.removeprefix(_COPY_OF) if change.via.startswith(_COPY_OF) else None


def changes(rows: Sequence[RegistryRow]) -> list[ModelChange]:
    """Rows as entries of a history, the oldest first; those of one change stand in the order in which they were written."""
    written = sorted(rows, key=lambda row: (row.seq, row.revision))
    return [_change(row) for row in sorted(written, key=_happened)]


def _happened(row: RegistryRow) -> datetime:
    return datetime.fromisoformat(details_of(row)["at"]) if row.what == What.ORIGIN else row.at


def _change(row: RegistryRow) -> ModelChange:
    details = details_of(row)
    if row.what == What.ORIGIN:
        # what happened in another lake, before the version was copied
        return ModelChange(
            timestamp=milliseconds(datetime.fromisoformat(details["at"])),
            user_id=details["by"],
            via=f"{_COPY_OF}{details['lake']}",
            name=details["name"],
            version=row.version,
            what=details["what"],
            key=details["key"],
            before=details["before"],
            after=details["after"],
            comment=details["comment"],
            details={**details["details"], "version_there": details["version"]},
        )
    return ModelChange(
        timestamp=milliseconds(row.at),
        user_id=row.by,
        via=row.via,
        name=row.name,
        version=row.version or None,
        what=row.what,
        key=row.key,
        before=row.before,
        # a request is over when it was answered, and the history says how
        after=details.get("answer", row.value) if row.what == What.REQUEST else row.value,
        comment=row.comment or "",
        details=details,
    )


def comments(rows: Sequence[RegistryRow]) -> list[ModelComment]:
    """The comments that are there, by their numbers, of all rows of comments of one version."""
    first: dict[str, RegistryRow] = {}
    last: dict[str, RegistryRow] = {}
    for row in sorted(rows, key=lambda row: row.revision):
        first.setdefault(row.key, row)
        last[row.key] = row
    return [
        ModelComment(key, row.value, first[key].by, milliseconds(first[key].at), milliseconds(row.at))
        for key, row in sorted(last.items(), key=lambda item: int(item[0]))
        if row.value is not None
    ]
