"""Experiments: created, renamed and deleted by compare and swap, so that two people never make the same one twice."""

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sparkml_lifecycle import uris
from sparkml_lifecycle.entities import Experiment, LifecycleStage, PagedList, ViewType
from sparkml_lifecycle.errors import AlreadyExists, FilterError, InvalidInput, NotFound, did_you_mean
from sparkml_lifecycle.lake import Change, Lake, Snapshot, Where
from sparkml_lifecycle.lake.order import last_by
from sparkml_lifecycle.lake.rows import from_arrow
from sparkml_lifecycle.storage import open_storage
from sparkml_lifecycle.tracking import names, paging, search
from sparkml_lifecycle.tracking.tables import ExperimentRow, TagRow
from sparkml_lifecycle.tracking.values import tag_row

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DEFAULT_NAME, DEFAULT_ID = "Default", "0"
_TIE = (
    search.Order(search.Field("attribute", "creation_time"), True),
    search.Order(search.Field("attribute", "experiment_id"), True),
)


class Experiments:
    """The experiments of a lake."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._table = lake.table(ExperimentRow)

    def create(self, name: str, artifact_location: str | None = None, tags: Iterable[tuple[str, Any]] = ()) -> str:
        """Make an experiment; returns its id.

        Raises
        ------
        AlreadyExists
            If there is one with that name, deleted ones included.
        """
        names.check_experiment_name(name)
        chosen = relative(self._lake, open_storage(artifact_location).uri) if artifact_location else None
        said = [tag_row(self._table.now(), "", key, value) for key, value in tags]

        def decide(seen: Snapshot) -> Change[ExperimentRow]:
            known = self._current(Where(), seen)
            _refuse_taken(name, known)
            by_name = f"experiment:{name}"
            identifiers = {by_name: seen.version_of(by_name) + 1}
            # renamed or removed, the first one of that name keeps its id
            if name == DEFAULT_NAME and all(row.experiment_id != DEFAULT_ID for row in known):
                number = DEFAULT_ID
            else:
                identifiers["experiment_ids"] = seen.version_of("experiment_ids") + 1
                number = str(identifiers["experiment_ids"])
            location = f"artifacts/{number}" if chosen is None else chosen
            now = self._table.now()
            row = ExperimentRow(at=now, experiment_id=number, name=name, location=location, created=now)
            return Change((row,), identifiers)

        experiment_id = self._table.claim(decide)[0].experiment_id
        self._lake.table(TagRow).append([replace(row, owner=f"experiment:{experiment_id}") for row in said])
        return experiment_id

    def change(self, experiment_id: str, name: str | None = None, stage: str | None = None) -> None:
        """Rename, delete or restore an experiment."""
        if name is not None:
            names.check_experiment_name(name)

        def decide(seen: Snapshot) -> Change[ExperimentRow]:
            known = self._current(Where(), seen)
            before = next((row for row in known if row.experiment_id == experiment_id), None)
            if before is None or before.lifecycle_stage == LifecycleStage.REMOVED:
                raise _missing(experiment_id)
            identifiers = {f"experiment_revision:{experiment_id}": before.revision + 1}
            if name is not None and name != before.name:
                if before.lifecycle_stage != LifecycleStage.ACTIVE:
                    raise InvalidInput(f"The experiment {before.name!r} is deleted. Restore it before renaming it.")
                _refuse_taken(name, known)
                identifiers[f"experiment:{name}"] = seen.version_of(f"experiment:{name}") + 1
            row = ExperimentRow(
                at=self._table.now(),
                revision=before.revision + 1,
                experiment_id=experiment_id,
                name=name or before.name,
                location=before.location,
                lifecycle_stage=stage or before.lifecycle_stage,
                created=before.created,
            )
            return Change((row,), identifiers)

        self._table.claim(decide)

    def rows(self) -> list[ExperimentRow]:
        """The current revision of every experiment, deleted and removed ones included."""
        return self._current(Where())

    def row(self, experiment_id: str) -> ExperimentRow:
        """The current revision of an experiment.

        Raises
        ------
        NotFound
            If there is none.
        """
        found = self._current(Where({"experiment_id": [str(experiment_id)]}))
        if not found or found[0].lifecycle_stage == LifecycleStage.REMOVED:
            raise _missing(experiment_id)
        return found[0]

    def get(self, experiment_id: str) -> Experiment:
        """An experiment by its id."""
        row = self.row(experiment_id)
        return self._entity(row, self._tags([row]).get(row.experiment_id, {}))

    def by_name(self, name: str) -> Experiment | None:
        """An experiment by its name, deleted ones included; None if there is none."""
        found = self._named(name)
        return self._entity(found, self._tags([found]).get(found.experiment_id, {})) if found else None

    def id_of(self, name: str) -> str | None:
        """The id of an experiment by its name, as :meth:`by_name` finds it."""
        found = self._named(name)
        return found.experiment_id if found else None

    def nearest(self, name: str) -> str:
        """A "did you mean" for a name that does not exist."""
        return did_you_mean(name, [row.name for row in self.rows() if row.lifecycle_stage != LifecycleStage.REMOVED])

    def search(
        self,
        view: ViewType,
        filter_string: str | None,
        order_by: Sequence[str],
        max_results: int,
        page_token: str | None,
    ) -> PagedList[Experiment]:
        """The experiments that a filter lets through, the newest first."""
        wanted = search.parse(filter_string, search.EXPERIMENT_ATTRIBUTES)
        order_by = names.several(order_by, "order_by")
        orders = [search.parse_order(clause, search.EXPERIMENT_ATTRIBUTES) for clause in order_by]
        for field in [*search.fields_of(wanted), *(order.field for order in orders)]:
            if field.kind not in ("attribute", "tag"):
                raise FilterError(
                    f"An experiment has no {field.kind} {field.key!r}; allowed: tags. and {', '.join(search.EXPERIMENT_ATTRIBUTES)}."
                )
        rows = [row for row in self.rows() if view.sees(row.lifecycle_stage)]
        tags = self._tags(rows)
        found = [self._entity(row, tags.get(row.experiment_id, {})) for row in rows]
        found = [one for one in found if _matches(one, wanted)]
        orders += _TIE
        keys = [_column(found, order.field) for order in orders]
        down = [order.descending for order in orders]
        picked, token = paging.page(keys, down, max_results, page_token, (view, filter_string, order_by))
        return PagedList([found[place] for place in picked.to_pylist()], token)

    def set_tag(self, experiment_id: str, key: str, value: Any) -> None:
        """Set a tag of an experiment."""
        self.set_tags(experiment_id, [(key, value)])

    def set_tags(self, experiment_id: str, tags: Iterable[tuple[str, Any]]) -> None:
        """Set tags of an experiment, all or none of them."""
        owner = f"experiment:{self.row(experiment_id).experiment_id}"
        self._lake.table(TagRow).append([tag_row(self._table.now(), owner, key, value) for key, value in tags])

    def delete_tag(self, experiment_id: str, key: str) -> None:
        """Remove a tag of an experiment; :class:`NotFound` if it has none with that key."""
        row = self.row(experiment_id)
        if key not in self._tags([row]).get(row.experiment_id, {}):
            raise NotFound(f"The experiment {row.name!r} has no tag {key!r}.")
        owner = f"experiment:{row.experiment_id}"
        self._lake.table(TagRow).append([TagRow(at=self._table.now(), owner=owner, key=key, value=None)])

    def location(self, row: ExperimentRow) -> str:
        """Where an experiment's artifacts lie, as an absolute path or URI."""
        return absolute(self._lake, row.location)

    def _current(self, where: Where, seen: Snapshot | None = None) -> list[ExperimentRow]:
        found = last_by(self._table.rows(where, snapshot=seen), ("experiment_id",), ("revision",))
        return from_arrow(ExperimentRow, found.sort_by("created"))

    def _named(self, name: str) -> ExperimentRow | None:
        there = (row for row in self.rows() if row.name == name and row.lifecycle_stage != LifecycleStage.REMOVED)
        return next(there, None)

    def _tags(self, rows: Sequence[ExperimentRow]) -> dict[str, dict[str, str]]:
        owners = [f"experiment:{row.experiment_id}" for row in rows]
        found: dict[str, dict[str, str]] = {}
        for tag in self._lake.table(TagRow).latest(Where({"owner": owners})):
            if tag.value is not None:
                found.setdefault(tag.owner.removeprefix("experiment:"), {})[tag.key] = tag.value
        return found

    def _entity(self, row: ExperimentRow, tags: Mapping[str, str]) -> Experiment:
        created, updated = milliseconds(row.created), milliseconds(row.at)
        return Experiment(row.experiment_id, row.name, self.location(row), row.lifecycle_stage, created, updated, tags)


def absolute(lake: Lake, location: str) -> str:
    """A stored location as an absolute path or URI: relative ones lie in the lake, wherever that has been copied to."""
    return uris.placed(lake.uri, location)


def relative(lake: Lake, place: str) -> str:
    """A location as it is stored: relative where it lies in the lake, so that a copy of the lake has artifacts of its own."""
    inside = uris.below(place, lake.uri)
    return place if inside is None else inside


def milliseconds(moment: datetime) -> int:
    """Whole milliseconds since 1970, as in MLflow."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def _refuse_taken(name: str, known: Sequence[ExperimentRow]) -> None:
    taken = next((row for row in known if row.name == name and row.lifecycle_stage != LifecycleStage.REMOVED), None)
    if taken is None:
        return
    if taken.lifecycle_stage == LifecycleStage.ACTIVE:
        raise AlreadyExists(
            f"The experiment {name!r} exists already, with the id {taken.experiment_id}. Use it, or choose another name."
        )
    raise AlreadyExists(
        f"The name {name!r} belongs to the deleted experiment {taken.experiment_id}. Restore that one, or choose another name."
    )


def _missing(experiment_id: str) -> NotFound:
    return NotFound(
        f"There is no experiment with the id {experiment_id!r}. search_experiments() lists those that exist."
    )


def _value(one: Experiment, field: search.Field) -> str | int | None:
    return one.tags.get(field.key) if field.kind == "tag" else getattr(one, field.key, None)


def _column(found: Sequence[Experiment], field: search.Field) -> Any:
    import pyarrow as pa

    if field.kind == "attribute" and field.key == "experiment_id":
        # ids are numbers, and as texts 10 would come before 9
        return pa.array([int(one.experiment_id) for one in found], pa.int64())
    return pa.array([_value(one, field) for one in found], pa.int64() if field.is_number else pa.string())


_COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _matches(one: Experiment, part: search.Node) -> bool:
    if isinstance(part, search.And):
        return all(_matches(one, inner) for inner in part.parts)
    if isinstance(part, search.Or):
        return any(_matches(one, inner) for inner in part.parts)
    found, wanted = _value(one, part.field), part.value
    if part.operator in ("IS NULL", "IS NOT NULL"):
        return (found is None) == (part.operator == "IS NULL")
    if found is None:
        return False
    if part.operator in ("LIKE", "ILIKE"):
        pattern = "".join({"%": ".*", "_": "."}.get(c, re.escape(c)) for c in str(wanted))
        return (
            re.fullmatch(pattern, str(found), re.DOTALL | (re.IGNORECASE if part.operator == "ILIKE" else 0))
            is not None
        )
    if isinstance(wanted, tuple):
        return (found in wanted) == (part.operator == "IN")
    return bool(_COMPARED[part.operator](found, wanted))
