"""The rows of one registered model, as they were read at one moment, and what they come to."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sparkml_lifecycle.entities import ModelStage, ModelVersion, RegisteredModel
from sparkml_lifecycle.errors import NotFound, did_you_mean
from sparkml_lifecycle.lake.order import last_by
from sparkml_lifecycle.lake.rows import from_arrow, moment_of
from sparkml_lifecycle.lake.where import Where
from sparkml_lifecycle.registry.names import check_version
from sparkml_lifecycle.registry.tables import RegistryRow, What
from sparkml_lifecycle.tracking.experiments import milliseconds
from sparkml_lifecycle.uris import placed

_BY = ("revision",)


@dataclass(frozen=True)
class Ledger:
    """A registered model.

    Attributes
    ----------
    model_id, name : str
    rows : pyarrow.Table
        All its rows, of whatever age.
    home : str
        The URI of the lake, below which relative locations lie.
    """

    model_id: str
    name: str
    rows: Any
    home: str

    def counting(self, **among: str | Sequence[str]) -> list[RegistryRow]:
        """The row of each key that counts, deleted values included: ``counting(what=What.ALIAS)``."""
        wanted = {column: [value] if isinstance(value, str) else list(value) for column, value in among.items()}
        return from_arrow(RegistryRow, last_by(Where(wanted).of(self.rows), RegistryRow.KEY, _BY))

    def value(self, what: str, version: str = "", key: str = "") -> str | None:
        """One value as it is now; None where there is none."""
        found = self.counting(what=what, version=version, key=key)
        return found[0].value if found else None

    @property
    def newest(self) -> datetime:
        """The time of its latest change."""
        import pyarrow as pa
        import pyarrow.compute as pc

        return moment_of(pc.max(self.rows["at"].cast(pa.int64())).as_py())

    @property
    def next_version(self) -> str:
        """The number of the version that is made next: of deleted ones it is not used again."""
        made = Where({"what": [What.VERSION]}).of(self.rows)["version"].to_pylist()
        return str(1 + max(map(int, made), default=0))

    def versions(self) -> list[str]:
        """The versions that are there, the oldest first."""
        there = (row.version for row in self.counting(what=What.VERSION) if row.value is not None)
        return sorted(there, key=int)

    def row(self, version: object) -> RegistryRow:
        """The row that made a version.

        Raises
        ------
        NotFound
            If there is no such version, or it is deleted.
        """
        number = check_version(version)
        found = self.counting(what=What.VERSION, version=number)
        if found and found[0].value is not None:
            return found[0]
        if found:
            raise NotFound(
                f"Version {number} of the model {self.name!r} was deleted on {found[0].at:%Y-%m-%d} by {found[0].by}. "
                f"as_of= shows it as it was."
            )
        there = self.versions()
        shown = ", ".join(there[-5:]) if there else "none"
        raise NotFound(f"The model {self.name!r} has no version {number}; the newest are: {shown}.")

    def holders(self, stage: str) -> list[str]:
        """The versions in a stage, the oldest first."""
        staged = {row.version: row.value for row in self.counting(what=What.STAGE)}
        return [version for version in self.versions() if (staged.get(version) or ModelStage.NONE) == stage]

    def aliases(self) -> dict[str, str]:
        """Alias to version."""
        return {row.key: row.value for row in self.counting(what=What.ALIAS) if row.value is not None}

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
        found = self.counting(what=What.TAG, version=version)
        return {row.key: row.value for row in found if row.value is not None}

    def fields(self, version: object = None) -> dict[str, str]:
        """The fields of the model card, those of a version over those of the model."""
        numbers = ["", *([] if version is None else [self.row(version).version])]
        rows = sorted(self.counting(what=What.FIELD, version=numbers), key=lambda row: row.version != "")
        return {row.key: row.value for row in rows if row.value is not None}

    def version(self, version: object) -> ModelVersion:
        """A version as an entity; :class:`NotFound` as :meth:`row` says."""
        number = self.row(version).version
        rows = [*self.counting(version=number), *self.counting(what=What.ALIAS)]
        return versions_of(self.name, rows, self.home)[number]

    def model(self) -> RegisteredModel:
        """The model as an entity, with the newest version in each stage."""
        import pyarrow.compute as pc

        return model_of(self.name, self.counting(), pc.min(self.rows["at"]).as_py(), self.home)


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
    return {key: row.value for (what, key), row in rows.items() if what == wanted and row.value is not None}


def details_of(row: RegistryRow) -> dict[str, Any]:
    """What else a row says."""
    found: dict[str, Any] = json.loads(row.details) if row.details else {}
    return found
