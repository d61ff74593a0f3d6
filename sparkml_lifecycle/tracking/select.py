"""What a search means: the columns it needs out of the lake's tables, compared and ordered as Arrow arrays.

Only keys and ids become query text; values are compared in memory, with SQL's rules for null.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from string import punctuation
from typing import Any

from sparkml_lifecycle.entities import LifecycleStage, ViewType
from sparkml_lifecycle.lake import Lake, Where
from sparkml_lifecycle.tracking import paging
from sparkml_lifecycle.tracking.fold import Latest
from sparkml_lifecycle.tracking.only import extreme
from sparkml_lifecycle.tracking.search import Comparison, Field, Node, Or, Order, fields_of
from sparkml_lifecycle.tracking.tables import InputRow, ParamRow, RunRow, TagRow

_COLUMNS = {"run_name": "name", "artifact_uri": "location"}
_TIE = (Order(Field("attribute", "start_time"), True), Order(Field("attribute", "run_id"), True))


@dataclass(frozen=True)
class Asked:
    """One search.

    Attributes
    ----------
    experiment_ids : sequence of str
    wanted : Node
        The filter.
    orders : sequence of Order
    view : ViewType
    as_of : datetime or None
    columns : sequence of Field
        What is to be given of the runs.
    named : frozenset of str or None
        As :attr:`Selection.named` gave it for the page before; None where it is to be found out.
    """

    experiment_ids: Sequence[str]
    wanted: Node
    orders: Sequence[Order]
    view: ViewType
    as_of: datetime | None = None
    columns: Sequence[Field] = ()
    named: frozenset[str] | None = None


class Selection:
    """The runs that a search finds, and by which values they are ordered.

    Attributes
    ----------
    named : frozenset of str
        Of the keys such as ``loss.min`` that the search asks for, those that are a metric of a run in these experiments: there
        they mean that metric and no extreme, for every run and on every page.
    """

    def __init__(self, lake: Lake, latest: Latest, asked: Asked) -> None:
        import pyarrow.compute as pc

        self._lake, self._latest, self._asked = lake, latest, asked
        runs = lake.table(RunRow).counting(Where({"experiment_id": asked.experiment_ids}, asked.as_of))
        stage = runs["lifecycle_stage"]
        if asked.view is ViewType.ALL:
            seen = pc.not_equal(stage, LifecycleStage.REMOVED)
        else:
            active = asked.view is ViewType.ACTIVE_ONLY
            seen = pc.equal(stage, LifecycleStage.ACTIVE if active else LifecycleStage.DELETED)
        self._runs = runs.filter(seen)
        self._known: dict[Field, Any] = {}
        self.named = self._own_keys() if asked.named is None else asked.named

    def page(self, size: int, after: Sequence[Any] | None) -> tuple[Any, list[Any] | None]:
        """A page of the runs that the filter lets through, as rows of ``runs`` in order.

        Parameters
        ----------
        size : int
        after : sequence or None
            The place of the last run of the page before.

        Returns
        -------
        (pyarrow.Table, list or None)
            The rows, and the place of the last one; None where no more follow.
        """
        orders = [*self._asked.orders, *_TIE]
        keys = [self._sortable(order.field) for order in orders]
        wanted = holding(self._asked.wanted, self._compare, len(self._runs))
        rows, last = paging.pick(keys, [order.descending for order in orders], size, after, wanted)
        return self._runs.take(rows), last

    # -- the filter --------------------------------------------------------------------------------------------------------

    def _compare(self, part: Comparison) -> Any:
        import pyarrow.compute as pc

        if part.field.kind == "dataset":
            rows = self._datasets()
            column = rows[{"name": "dataset_name", "digest": "dataset_digest"}.get(part.field.key, part.field.key)]
            fit = pc.fill_null(compared(column, part.operator, part.value), False)
            return pc.is_in(self._runs["run_id"], value_set=rows["run_id"].filter(fit).combine_chunks())
        return compared(self._values(part.field), part.operator, part.value)

    # -- columns, one value for each run -----------------------------------------------------------------------------------

    def _values(self, field: Field) -> Any:
        if field not in self._known:
            read: dict[str, Callable[[Field], Any]] = {
                "attribute": self._attribute, "metric": self._metric, "param": self._logged, "tag": self._logged,
            }  # fmt: skip
            self._known[field] = read[field.kind](field)
        return self._known[field]

    def _sortable(self, field: Field) -> Any:
        import pyarrow as pa
        import pyarrow.compute as pc

        values = self._values(field)
        if pa.types.is_floating(values.type):
            values = pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
        return values

    def _attribute(self, field: Field) -> Any:
        import pyarrow as pa

        column = self._runs[_COLUMNS.get(field.key, field.key)]
        if field.is_number:
            return in_milliseconds(column.cast(pa.int64()))
        if field.key == "artifact_uri":
            return placed(self._lake.uri, column)
        return column

    def _own_keys(self) -> frozenset[str]:
        import pyarrow.compute as pc

        compared = [
            *fields_of(self._asked.wanted),
            *(order.field for order in self._asked.orders),
            *self._asked.columns,
        ]
        keys = sorted({field.key for field in compared if extreme(field)})
        found = self._latest.where(self._keys(*keys))
        mine = pc.is_in(found["run_id"], value_set=self._runs["run_id"].combine_chunks())
        return frozenset(found.filter(mine)["key"].to_pylist())

    def _metric(self, field: Field) -> Any:
        key, column = extreme(field, self.named) or (field.key, "value")
        return self._beside(self._latest.where(self._keys(key)), column)

    def _logged(self, field: Field) -> Any:
        condition = self._keys(field.key)
        if field.kind == "param":
            return self._beside(self._lake.table(ParamRow).counting(condition, ["run_id", "key", "value"]), "value")
        found = self._lake.table(TagRow).counting(condition, ["owner", "key", "value"])
        return self._beside(found.rename_columns({"owner": "run_id"}), "value")

    def _datasets(self) -> Any:
        return self._lake.table(InputRow).counting(Where(as_of=self._asked.as_of))

    def _keys(self, *keys: str) -> Where:
        return Where({"key": keys}, self._asked.as_of)

    def _beside(self, table: Any, column: str) -> Any:
        import pyarrow.compute as pc

        places = pc.index_in(self._runs["run_id"], value_set=table["run_id"].combine_chunks())
        return table[column].combine_chunks().take(places)


def holding(node: Node, compare: Callable[[Comparison], Any], count: int) -> Any:
    """Which of ``count`` rows a filter lets through, as an Arrow array; ``compare`` gives the mask of a comparison, null for unknown."""
    import pyarrow as pa
    import pyarrow.compute as pc

    def mask(part: Node) -> Any:
        if isinstance(part, Comparison):
            return compare(part)
        join = pc.or_kleene if isinstance(part, Or) else pc.and_kleene
        masks = [mask(inner) for inner in part.parts]
        return reduce(join, masks) if masks else pa.array([True] * count, pa.bool_())

    return pc.fill_null(mask(node), False)


def placed(home: str, column: Any) -> Any:
    """An Arrow column of stored locations as absolute paths or URIs, as :func:`sparkml_lifecycle.uris.placed` says."""
    import pyarrow.compute as pc

    elsewhere = pc.or_(pc.match_substring(column, "://"), pc.starts_with(column, "/"))
    return pc.if_else(elsewhere, column, pc.binary_join_element_wise(home.rstrip("/"), column, "/"))


def in_milliseconds(microseconds: Any) -> Any:
    """Whole milliseconds, cut towards the past also before 1970; floats would not hold them beyond the year 2255."""
    import pyarrow as pa
    import pyarrow.compute as pc

    cut = pc.divide(microseconds, 1000)
    return pc.subtract(cut, pc.less(microseconds, pc.multiply(cut, 1000)).cast(pa.int64()))


def compared(column: Any, operator: str, value: Any) -> Any:
    """Which values of an Arrow column fit a comparison; null where the value is."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if operator == "IS NULL":
        return pc.is_null(column)
    if operator == "IS NOT NULL":
        return pc.is_valid(column)
    if operator in ("IN", "NOT IN"):
        found = pc.is_in(column, value_set=pa.array(value, pa.string()))
        found = pc.invert(found) if operator == "NOT IN" else found
        return pc.if_else(pc.is_valid(column), found, pa.scalar(None, pa.bool_()))
    if isinstance(value, float) and value != value and operator in ("=", "!="):
        # the only way to ask for the runs that diverged
        return pc.is_nan(column) if operator == "=" else pc.invert(pc.is_nan(column))
    if operator in ("LIKE", "ILIKE"):
        return pc.match_substring_regex(column, _pattern(str(value)), ignore_case=operator == "ILIKE")
    compare = {
        "=": pc.equal, "!=": pc.not_equal, "<": pc.less, "<=": pc.less_equal, ">": pc.greater, ">=": pc.greater_equal,
    }  # fmt: skip
    return compare[operator](column, pa.scalar(value, column.type))


def _pattern(text: str) -> str:
    # only % and _ are special to MLflow's LIKE
    parts = {"%": ".*", "_": "."}
    return r"(?s)\A" + "".join(parts.get(c) or (f"\\{c}" if c in punctuation else c) for c in text) + r"\z"
