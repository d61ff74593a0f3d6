"""The tree of a search as SQL over the tables of tracking."""

import re
from collections.abc import Sequence

from sparkml_lifecycle.entities import LifecycleStage, ViewType
from sparkml_lifecycle.lake import literal
from sparkml_lifecycle.lake.sql import latest, literals
from sparkml_lifecycle.tracking.search import And, Comparison, Field, Order
from sparkml_lifecycle.tracking.tables import FIRST_PARAM, LAST_METRIC, LAST_TAG

_RUN_COLUMNS = (
    "run_id", "experiment_id", "name", "user_id", "status", "start_time", "end_time", "lifecycle_stage", "location",
)  # fmt: skip
_ATTRIBUTE_COLUMNS = {"run_name": "name", "artifact_uri": "location"}


def search_sql(
    experiment_ids: Sequence[str], wanted: And, view: ViewType, orders: Sequence[Order], limit: int, offset: int
) -> str:
    """The ids of the runs of a page, in order: experiments, the filter's comparisons, then ``order_by``, latest first."""
    fields = {order.field for order in orders} | {part.field for part in wanted.parts}
    logged = sorted((field for field in fields if field.kind != "attribute"), key=lambda f: (f.kind, f.key))
    columns = {field: f"c{number}.v" for number, field in enumerate(logged)}
    inside = f"experiment_id in {literals(experiment_ids)}"
    ctes = [f"r as (select {latest(_RUN_COLUMNS, 'run_id')} from runs where {inside} group by run_id)"]
    joins = ""
    for number, field in enumerate(logged):
        ctes.append(f"c{number} as ({_values_of(field)})")
        joins += f" left join c{number} on c{number}.run_id = r.run_id"
    conditions = [_stage(view), *(_condition(part, columns) for part in wanted.parts)]
    keys = [_order(order, columns) for order in orders]
    ordering = ", ".join([*keys, "r.start_time desc", "r.run_id desc"])
    return (
        f"with {', '.join(ctes)} select r.run_id from r{joins} where {' and '.join(conditions)} "
        f"order by {ordering} limit {int(limit)} offset {int(offset)}"
    )


def tables_of(wanted: And, orders: Sequence[Order]) -> set[str]:
    """The kinds of tables that a search reads beside ``runs``."""
    return {field.kind for field in [*(part.field for part in wanted.parts), *(order.field for order in orders)]}


def _values_of(field: Field) -> str:
    key = literal(field.key)
    if field.kind == "metric":
        return f"select run_id, {LAST_METRIC} as v from metrics where key = {key} group by run_id"
    if field.kind == "param":
        return f"select run_id, {FIRST_PARAM} as v from params where key = {key} group by run_id"
    return f"select owner as run_id, {LAST_TAG} as v from tags where key = {key} group by owner"


def _stage(view: ViewType) -> str:
    if view is ViewType.ALL:
        return "true"
    sign = "=" if view is ViewType.ACTIVE_ONLY else "!="
    return f"r.lifecycle_stage {sign} {literal(LifecycleStage.ACTIVE)}"


def _column(field: Field, columns: dict[Field, str]) -> str:
    if field.kind != "attribute":
        return columns[field]
    column = f"r.{_ATTRIBUTE_COLUMNS.get(field.key, field.key)}"
    # times are compared as MLflow's milliseconds
    return f"date_part('epoch', {column}) * 1000" if field.is_number else column


def _condition(part: Comparison, columns: dict[Field, str]) -> str:
    column = _column(part.field, columns)
    if part.field.kind == "attribute" and part.field.is_number and part.value is not None:
        return f"round({column}) {part.operator} {literal(float(part.value))}"  # type: ignore[arg-type]
    if part.value is None:
        return f"{column} {part.operator.lower()}"
    if isinstance(part.value, tuple):
        return f"{column} {part.operator.lower()} {literals(part.value)}"
    if part.operator in ("LIKE", "ILIKE"):
        return f"{column} {part.operator.lower()} {literal(_pattern(str(part.value)))}"
    condition = f"{column} {part.operator} {literal(part.value)}"
    if part.field.kind == "metric" and part.operator in (">", ">="):
        # DataFusion holds NaN for greater than everything
        condition += f" and not isnan({column})"
    return f"({condition})"


def _pattern(text: str) -> str:
    # only % and _ are special to MLflow's LIKE; DataFusion's also knows the backslash
    return re.sub(r"\\", r"\\\\", text)


def _order(order: Order, columns: dict[Field, str]) -> str:
    column = _column(order.field, columns)
    if order.field.kind == "metric":
        column = f"case when isnan({column}) then null else {column} end"
    return f"{column} {'desc' if order.descending else 'asc'} nulls last"
