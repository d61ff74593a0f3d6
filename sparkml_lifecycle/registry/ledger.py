"""The rows of one registered model, as they were read at one moment, and what they come to."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sparkml_lifecycle.entities import ModelStage, ModelVersion, RegisteredModel
from sparkml_lifecycle.errors import NotFound, did_you_mean
from sparkml_lifecycle.lake import Group
from sparkml_lifecycle.registry.names import check_version
from sparkml_lifecycle.registry.tables import RegistryRow, What
from sparkml_lifecycle.tracking.experiments import milliseconds
from sparkml_lifecycle.uris import placed

_EVER = datetime.min.replace(tzinfo=UTC)


class Ledger:
    """A registered model.

    Parameters
    ----------
    model_id, name : str
    group : Group
        All its rows, of whatever age, and those that count.
    home : str
        The URI of the lake, below which relative locations lie.
    before : Ledger, optional
        Its ledger of earlier, of which only what has come since is looked at: a model may have thousands of versions.

    Attributes
    ----------
    newest : datetime
        The time of its latest change.
    """

    def __init__(
        self, model_id: str, name: str, group: Group[RegistryRow], home: str, before: "Ledger | None" = None
    ) -> None:
        self.model_id, self.name, self.group, self.home = model_id, name, group, home
        self.newest, self._last_number = _EVER, 0
        self._index: dict[str, dict[str, dict[str, RegistryRow]]] = {}
        news = group.since(before.group) if before is not None else None
        if before is None or news is None:
            news = group.rows
        else:
            self.newest, self._last_number, self._index = before.newest, before._last_number, dict(before._index)
        self.newest = max([self.newest, *(row.at for row in news)])
        self._take([row for row in news if group.counting[row.key_of()] is row])

    def _take(self, rows: Sequence[RegistryRow]) -> None:
        copied: set[str] = set()
        for row in rows:
            if row.what not in copied:
                # what is shared with the ledger of before stays as it is
                self._index[row.what] = dict(self._index.get(row.what, {}))
                copied.add(row.what)
            versions = self._index[row.what]
            versions[row.version] = {**versions.get(row.version, {}), row.key: row}
            if row.what == What.VERSION:
                self._last_number = max(self._last_number, int(row.version))

    @property
    def rows(self) -> Sequence[RegistryRow]:
        """All its rows, of whatever age."""
        return self.group.rows

    def counting(self, what: str | None = None, version: str | Collection[str] | None = None) -> list[RegistryRow]:
        """The row of each key that counts, deleted values included: ``counting(What.ALIAS)``."""
        kinds = self._index.values() if what is None else [self._index.get(what, {})]
        numbers = [version] if isinstance(version, str) else version
        found: list[RegistryRow] = []
        for by_version in kinds:
            picked = by_version.values() if numbers is None else [by_version.get(number, {}) for number in numbers]
            for by_key in picked:
                found += by_key.values()
        return found

    def last(self, what: str, version: str = "", key: str = "") -> RegistryRow | None:
        """The row of one key that counts."""
        return self.group.counting.get((self.model_id, version, what, key))

    def value(self, what: str, version: str = "", key: str = "") -> str | None:
        """One value as it is now; None where there is none."""
        found = self.last(what, version, key)
        return found.value if found else None

    @property
    def next_version(self) -> str:
        """The number of the version that is made next: of deleted ones it is not used again."""
        return str(1 + self._last_number)

    def versions(self) -> list[str]:
        """The versions that are there, the oldest first."""
        there = (row.version for row in self.counting(What.VERSION) if row.value is not None)
        return sorted(there, key=int)

    def row(self, version: object) -> RegistryRow:
        """The row that made a version.

        Raises
        ------
        NotFound
            If there is no such version, or it is deleted.
        """
        number = check_version(version)
        found = self.last(What.VERSION, number)
        if found and found.value is not None:
            return found
        if found:
            raise NotFound(
                f"Version {number} of the model {self.name!r} was deleted on {found.at:%Y-%m-%d} by {found.by}. "
                f"as_of= shows it as it was."
            )
        there = self.versions()
        shown = ", ".join(there[-5:]) if there else "none"
        raise NotFound(f"The model {self.name!r} has no version {number}; the newest are: {shown}.")

    def holders(self, stage: str) -> list[str]:
        """The versions in a stage, the oldest first."""
        if stage == ModelStage.NONE:
            return [version for version in self.versions() if (self.value(What.STAGE, version) or stage) == stage]
        held = (row.version for row in self.counting(What.STAGE) if row.value == stage)
        return sorted((version for version in held if self.value(What.VERSION, version) is not None), key=int)

    def aliases(self) -> dict[str, str]:
        """Alias to version."""
        return dict(sorted((row.key, row.value) for row in self.counting(What.ALIAS) if row.value is not None))

    def held_by(self, alias: str) -> str:
        """The version that an alias names.

        Raises
        ------
        NotFound
            If there is no such alias.
        """
        found = self.value(What.ALIAS, key=alias)
        if found is None:
            known = self.aliases()
            shown = ", ".join(sorted(known)) or "none"
            raise NotFound(
                f"The model {self.name!r} has no alias {alias!r}. Its aliases: {shown}.{did_you_mean(alias, known)}"
            )
        return found

    def tags(self, version: str = "") -> dict[str, str]:
        """The tags of a version, or of the model itself."""
        found = self.counting(What.TAG, version)
        return {row.key: row.value for row in found if row.value is not None}

    def fields(self, version: object = None) -> dict[str, str]:
        """The fields of the model card, those of a version over those of the model."""
        numbers = ["", *([] if version is None else [self.row(version).version])]
        rows = sorted(self.counting(What.FIELD, numbers), key=lambda row: row.version != "")
        return {row.key: row.value for row in rows if row.value is not None}

    def version(self, version: object) -> ModelVersion:
        """A version as an entity; :class:`NotFound` as :meth:`row` says."""
        number = self.row(version).version
        rows = [*self.counting(version=number), *self.counting(What.ALIAS)]
        return versions_of(self.name, rows, self.home)[number]

    def model(self) -> RegisteredModel:
        """The model as an entity, with the newest version in each stage."""
        return model_of(self.name, self.counting(), min(row.at for row in self.rows), self.home)


def model_of(name: str, rows: Sequence[RegistryRow], created: datetime, home: str) -> RegisteredModel:
    """A registered model out of its rows that count."""
    mine = {(row.what, row.key): row for row in rows if not row.version}
    versions = versions_of(name, rows, home)
    newest = {version.current_stage: version for _, version in sorted(versions.items(), key=lambda item: int(item[0]))}
    latest = [newest[stage] for stage in ModelStage.ALL if stage in newest]
    description = mine.get((What.DESCRIPTION, ""))
    return RegisteredModel(
        name, milliseconds(created), milliseconds(max(row.at for row in rows)), (description and description.value) or "",
        latest, _values(mine, What.TAG), _values(mine, What.ALIAS),
    )  # fmt: skip


def versions_of(name: str, rows: Iterable[RegistryRow], home: str) -> dict[str, ModelVersion]:
    """The versions of a model that are there, by number, out of rows that count; those of aliases must be among them."""
    by_version: dict[str, dict[tuple[str, str], RegistryRow]] = {}
    named: dict[str, list[str]] = {}
    for row in rows:
        if row.version:
            by_version.setdefault(row.version, {})[row.what, row.key] = row
        elif row.what == What.ALIAS and row.value is not None:
            named.setdefault(row.value, []).append(row.key)
    return {
        number: _version_of(name, mine, sorted(named.get(number, [])), home)
        for number, mine in by_version.items()
        if (What.VERSION, "") in mine and mine[What.VERSION, ""].value is not None
    }


def _version_of(name: str, rows: Mapping[tuple[str, str], RegistryRow], aliases: list[str], home: str) -> ModelVersion:
    made = rows[What.VERSION, ""]
    details = details_of(made)

    def value(what: str) -> str:
        found = rows.get((what, ""))
        return (found and found.value) or ""

    return ModelVersion(
        name=name,
        version=made.version,
        creation_timestamp=milliseconds(made.at),
        last_updated_timestamp=milliseconds(max(row.at for row in rows.values())),
        description=value(What.DESCRIPTION),
        user_id=made.by,
        current_stage=value(What.STAGE) or ModelStage.NONE,
        source=placed(home, made.source or ""),
        run_id=made.run_id,
        run_link=details.get("run_link", ""),
        status=made.value or "",
        tags=_values(rows, What.TAG),
        aliases=aliases,
        digest=made.digest or "",
        model_digest=details.get("model_digest", ""),
        copied_from=details.get("copied_from"),
    )


def _values(rows: Mapping[tuple[str, str], RegistryRow], wanted: str) -> dict[str, str]:
    found = ((key, row.value) for (what, key), row in rows.items() if what == wanted and row.value is not None)
    return dict(sorted(found))


def details_of(row: RegistryRow) -> dict[str, Any]:
    """What else a row says."""
    found: dict[str, Any] = json.loads(row.details) if row.details else {}
    return found
