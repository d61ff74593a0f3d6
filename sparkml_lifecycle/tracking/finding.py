"""Finds the runs that a filter lets through: the texts of a search in, Arrow tables out, page by page."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sparkml_lifecycle.entities import ViewType
from sparkml_lifecycle.errors import InvalidInput
from sparkml_lifecycle.lake import Lake, Row
from sparkml_lifecycle.tracking import names, paging, search, select
from sparkml_lifecycle.tracking.fold import Latest
from sparkml_lifecycle.tracking.logged import Logged, logged
from sparkml_lifecycle.tracking.only import Only
from sparkml_lifecycle.tracking.tables import InputRow, LatestMetricRow, MetricRow, ParamRow, RunRow, TagRow

MAX_RESULTS = 50_000
_TABLES: dict[str, tuple[type[Row], ...]] = {
    "metric": (MetricRow, LatestMetricRow),
    "param": (ParamRow,),
    "tag": (TagRow,),
    "dataset": (InputRow,),
}


@dataclass(frozen=True)
class Query:
    """A search as a caller asks for it; see :meth:`sparkml_lifecycle.LifecycleClient.search_runs`.

    Attributes
    ----------
    experiment_ids : sequence of str
    filter_string : str or None
    view : ViewType
    max_results : int
    order_by : sequence of str
    page_token : str or None
    as_of : datetime or None
    """

    experiment_ids: Sequence[str]
    filter_string: str | None = None
    view: ViewType = ViewType.ACTIVE_ONLY
    max_results: int = 1000
    order_by: Sequence[str] = ()
    page_token: str | None = None
    as_of: datetime | None = None


@dataclass(frozen=True)
class Found:
    """A page of a search.

    Attributes
    ----------
    rows : pyarrow.Table
        Of ``runs``, in order.
    logged : Logged
    token : str or None
    named : frozenset of str
        See :class:`sparkml_lifecycle.tracking.select.Selection`.
    """

    rows: Any
    logged: Logged
    token: str | None
    named: frozenset[str]


def page(lake: Lake, latest: Latest, query: Query, only: Only, named: frozenset[str] | None = None) -> Found:
    """One page, with as much of what its runs logged as ``only`` asks for; ``named`` is what the page before had.

    Raises
    ------
    InvalidInput
        If ``max_results`` is not between 1 and ``MAX_RESULTS``, or the token is of another search.
    FilterError
        If the filter or the order cannot be read.
    """
    if not 0 < names.check_whole("max_results", query.max_results) <= MAX_RESULTS:
        raise InvalidInput(f"max_results must lie between 1 and {MAX_RESULTS}, found {query.max_results}.")
    order_by = names.several(query.order_by, "order_by")
    wanted = search.parse(query.filter_string)
    orders = [search.parse_order(clause) for clause in order_by]
    asked = (sorted(query.experiment_ids), query.filter_string, query.view, order_by, query.as_of)
    place = paging.place(query.page_token, asked)
    kinds = {
        field.kind for field in (*search.fields_of(wanted), *(order.field for order in orders), *(only.fields or ()))
    }
    lake.open_ahead(RunRow, *(one for kind, row in _TABLES.items() if only.everything or kind in kinds for one in row))
    asked_for = select.Asked(query.experiment_ids, wanted, orders, query.view, query.as_of, only.fields or (), named)
    selection = select.Selection(lake, latest, asked_for)
    rows, last = selection.page(query.max_results, place)
    following = paging.token(last, asked) if last is not None else None
    found = logged(lake, latest, rows["run_id"].to_pylist(), only, query.as_of)
    return Found(rows, found, following, selection.named)


def pages(lake: Lake, latest: Latest, query: Query, only: Only) -> Iterator[Found]:
    """All pages up to ``max_results`` runs, each of at most ``MAX_RESULTS``."""
    left, named = query.max_results, None
    while True:
        query = replace(query, max_results=min(left, MAX_RESULTS))
        found = page(lake, latest, query, only, named)
        named = found.named
        yield found
        left, query = left - query.max_results, replace(query, page_token=found.token)
        if found.token is None or left < 1:
            return
