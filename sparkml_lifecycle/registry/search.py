"""Searching models and versions: the filter language over columns of the registry's rows, compared as Arrow arrays."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sparkml_lifecycle.entities import ModelStage, ModelVersion, PagedList, RegisteredModel
from sparkml_lifecycle.errors import FilterError
from sparkml_lifecycle.lake.order import as_array, codes_of, last_by, numbers
from sparkml_lifecycle.lake.rows import from_arrow, moment_of
from sparkml_lifecycle.lake.where import Where
from sparkml_lifecycle.registry.ledger import model_of, versions_of
from sparkml_lifecycle.registry.tables import RegistryRow, What
from sparkml_lifecycle.tracking import names, paging, search
from sparkml_lifecycle.tracking.select import compared, holding, in_milliseconds, placed

if TYPE_CHECKING:
    from sparkml_lifecycle.registry.store import Registry

# the UI of MLflow asks so for models that are no prompts, and here nothing is one
_NO_PROMPTS = ("mlflow.prompt.is_prompt", "true")
_STAGE = search.Field("attribute", "stage")
_MODELS_BY = ("name",)
_VERSIONS_BY = ("last_updated_timestamp desc", "name", "version_number desc")


def models(
    registry: "Registry", filter_string: str | None, size: int, order_by: Sequence[str], page_token: str | None
) -> PagedList[RegisteredModel]:
    """A page of the models that a filter lets through, by name where ``order_by`` does not decide."""
    asked = _Asked(filter_string, order_by, search.MODEL_ATTRIBUTES, _MODELS_BY)
    found = _Models(registry)
    rows, token = _page(found, asked, size, page_token)
    latest = found.grouped(rows["model_id"])
    pairs = zip(rows["model_id"].to_pylist(), rows["name"].to_pylist(), rows["created"].to_pylist(), strict=True)
    home = registry.home
    return PagedList([model_of(name, latest[one], moment_of(created), home) for one, name, created in pairs], token)


def versions(
    registry: "Registry", filter_string: str | None, size: int, order_by: Sequence[str], page_token: str | None
) -> PagedList[ModelVersion]:
    """A page of the versions that a filter lets through, the last changed first where ``order_by`` does not decide."""
    asked = _Asked(filter_string, order_by, search.VERSION_ATTRIBUTES, _VERSIONS_BY)
    found = _Versions(registry)
    rows, token = _page(found, asked, size, page_token)
    latest = found.grouped(rows["model_id"].unique(), rows["version"].unique())
    names_of = dict(zip(rows["model_id"].to_pylist(), rows["name"].to_pylist(), strict=True))
    made = {one: versions_of(name, latest[one], registry.home) for one, name in names_of.items()}
    pairs = zip(rows["model_id"].to_pylist(), rows["version"].to_pylist(), strict=True)
    return PagedList([made[model_id][version] for model_id, version in pairs], token)


class _Asked:
    """A search: what it wants, and in which order."""

    def __init__(
        self, filter_string: str | None, order_by: Sequence[str], attributes: tuple[str, ...], tie: Sequence[str]
    ) -> None:
        clauses = [_old_name(clause) for clause in names.several(order_by, "order_by")]
        self.wanted = _without_prompts(search.parse(filter_string, attributes))
        self.orders = [search.parse_order(clause, attributes) for clause in (*clauses, *tie)]
        self.key = (filter_string, tuple(clauses))
        for field in [*search.fields_of(self.wanted), *(order.field for order in self.orders)]:
            if field.kind not in ("attribute", "tag"):
                of_versions = attributes is search.VERSION_ATTRIBUTES
                raise FilterError(
                    f"A {'model version' if of_versions else 'registered model'} has no {field.kind} {field.key!r}; allowed: tags. and {', '.join(attributes)}."
                )


class _Columns:
    """Things of the registry as an Arrow table, one row each, with a ``mark`` that tells them apart."""

    table: Any
    # whether a tag's row names the same version
    of_versions = False

    def __init__(self, registry: "Registry") -> None:
        import pyarrow.compute as pc

        self.rows = registry.rows()
        self.latest = last_by(self.rows, RegistryRow.KEY, ("revision",))
        there = Where({"what": [What.MODEL]}).of(self.latest)
        there = there.filter(pc.is_valid(there["value"]))
        self.models = there.select(["model_id", "value"]).rename_columns(["model_id", "name"])

    def grouped(self, model_ids: Any, numbers: Any = None) -> dict[str, list[RegistryRow]]:
        """The rows that count of some models, all or those of some versions and of the models themselves, by model."""
        import pyarrow.compute as pc

        rows = self.latest.filter(pc.is_in(self.latest["model_id"], value_set=_whole(model_ids)))
        if numbers is not None:
            mine = pc.or_(pc.equal(rows["version"], ""), pc.is_in(rows["version"], value_set=_whole(numbers)))
            rows = rows.filter(mine)
        found: dict[str, list[RegistryRow]] = {}
        for row in from_arrow(RegistryRow, rows):
            found.setdefault(row.model_id, []).append(row)
        return found

    def values(self, field: search.Field) -> Any:
        """One value for each row of the table."""
        import pyarrow.compute as pc

        if field.kind == "tag":
            tags = Where({"what": [What.TAG], "key": [field.key]}).of(self.latest)
            tags = tags.filter((pc.not_equal if self.of_versions else pc.equal)(tags["version"], ""))
            return self.beside(tags, "value")
        return self.table[field.key].combine_chunks()

    def beside(self, rows: Any, column: str) -> Any:
        """A column of other rows, at the place of each row of the table."""
        import pyarrow.compute as pc

        places = pc.index_in(self.table["mark"], value_set=_whole(self.mark(rows)))
        return rows[column].combine_chunks().take(places.combine_chunks())

    def mark(self, rows: Any) -> Any:
        """What tells a row's model or version from all others."""
        return rows["model_id"]

    def _times(self, key: list[str], rows: Any) -> Any:
        """The first and the last change of each of something, in microseconds."""
        import numpy as np
        import pyarrow as pa

        codes, moments = codes_of([rows[name] for name in key]), numbers(rows["at"].cast(pa.int64()))
        count = int(codes.max()) + 1 if len(codes) else 0
        places, first, last = np.zeros(count, np.int64), np.full(count, 2**62), np.full(count, -(2**62))
        places[codes] = np.arange(len(codes))
        np.minimum.at(first, codes, moments)
        np.maximum.at(last, codes, moments)
        found = rows.select(key).take(as_array(places))
        return found.append_column("moment_min", as_array(first)).append_column("moment_max", as_array(last))


class _Models(_Columns):
    def __init__(self, registry: "Registry") -> None:
        super().__init__(registry)
        times = self._times(["model_id"], self.rows)
        self.table = self.models.append_column("mark", self.models["model_id"])
        created = self.beside(times, "moment_min")
        self.table = (
            self.table.append_column("created", created)
            .append_column("creation_timestamp", in_milliseconds(created))
            .append_column("last_updated_timestamp", in_milliseconds(self.beside(times, "moment_max")))
        )


class _Versions(_Columns):
    of_versions = True

    def __init__(self, registry: "Registry") -> None:
        import pyarrow as pa
        import pyarrow.compute as pc

        super().__init__(registry)
        made = Where({"what": [What.VERSION]}).of(self.latest)
        owner = pc.index_in(made["model_id"], value_set=_whole(self.models["model_id"]))
        there = pc.and_(pc.is_valid(made["value"]), pc.is_valid(owner))
        made, owner = made.filter(there), owner.filter(there).combine_chunks()
        times = self._times(["model_id", "version"], self.rows)
        self.table = pa.table(
            {
                "mark": self.mark(made), "model_id": made["model_id"], "version": made["version"],
                "name": self.models["name"].combine_chunks().take(owner),
                "version_number": made["version"].cast(pa.int64()), "run_id": made["run_id"], "digest": made["digest"],
                "user_id": made["by"], "source_path": made["source"],
                "creation_timestamp": in_milliseconds(made["at"].cast(pa.int64())),
            }
        )  # fmt: skip
        updated = in_milliseconds(self.beside(times, "moment_max"))
        stage = self.beside(Where({"what": [What.STAGE]}).of(self.latest), "value")
        place = placed(registry.home, self.table["source_path"])
        self.table = (
            self.table.append_column("last_updated_timestamp", updated)
            .append_column("stage", pc.fill_null(stage, ModelStage.NONE))
            .set_column(self.table.column_names.index("source_path"), "source_path", place)
        )

    def mark(self, rows: Any) -> Any:
        import pyarrow.compute as pc

        return pc.binary_join_element_wise(rows["model_id"], rows["version"], "/")


def _page(found: _Columns, asked: _Asked, size: int, page_token: str | None) -> tuple[Any, str | None]:
    keys = [found.values(order.field) for order in asked.orders]
    down = [order.descending for order in asked.orders]
    wanted = holding(asked.wanted, lambda part: _fits(found, part), len(found.table))
    rows, token = paging.page(keys, down, size, page_token, asked.key, wanted)
    return found.table.take(rows), token


def _fits(found: _Columns, part: search.Comparison) -> Any:
    import pyarrow.compute as pc

    column, value = found.values(part.field), part.value
    if part.field == _STAGE:
        # everywhere else stages may be written in small letters too
        column = pc.utf8_lower(column)
        stages = value if isinstance(value, tuple) else (str(value),)
        if part.operator in ("=", "!=", "IN", "NOT IN"):
            stages = tuple(map(ModelStage.of, stages))
        stages = tuple(map(str.lower, stages))
        value = stages if isinstance(value, tuple) else value and stages[0]
    return compared(column, part.operator, value)


def _without_prompts(node: search.And) -> search.And:
    def asks(part: search.Node) -> bool:
        return (
            isinstance(part, search.Comparison)
            and (part.field.key, part.value) == _NO_PROMPTS
            and part.operator == "!="
        )

    return search.And(tuple(part for part in node.parts if not asks(part)))


def _old_name(clause: str) -> str:
    # MLflow's order_by knows `timestamp` for the last change
    return (
        clause.replace("timestamp", "last_updated_timestamp", 1) if clause.strip().startswith("timestamp") else clause
    )


def _whole(column: Any) -> Any:
    return column.combine_chunks() if hasattr(column, "combine_chunks") else column
