"""What ``sparkml runs list``, ``search`` and ``export`` ask for, and the runs and columns that they find."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sparkml_lifecycle.cli import named
from sparkml_lifecycle.entities import Run, ViewType

if TYPE_CHECKING:
    from sparkml_lifecycle.client import LifecycleClient

_PAGE = 10_000
_COLUMNS = 5
_KINDS = ("metrics", "params", "tags")


@dataclass(frozen=True)
class Asked:
    """One search.

    Attributes
    ----------
    experiments : dict of str to str
        Names by id: of those that are searched.
    text : str
        The filter.
    view : ViewType
    limit : int
    order_by : tuple of str
    only : tuple of str or None
        The columns that were named; None: nothing was said.
    as_of : datetime or None
    """

    experiments: Mapping[str, str]
    text: str
    view: ViewType
    limit: int
    order_by: tuple[str, ...] = ()
    only: tuple[str, ...] | None = None
    as_of: datetime | None = None


@dataclass(frozen=True)
class Found:
    """The runs of a search, and whether there are more."""

    runs: Sequence[Run]
    more: bool


def experiments(client: "LifecycleClient", names: Sequence[str], view: ViewType) -> dict[str, str]:
    """The names by id of the experiments that are named; of all where none is, of deleted ones only where deleted runs count."""
    if names:
        chosen = [named.experiment(client, one) for one in names]
    else:
        chosen = client.all_experiments(ViewType.ACTIVE_ONLY if view is ViewType.ACTIVE_ONLY else ViewType.ALL)
    return {one.experiment_id: one.name for one in chosen}


def items(texts: Sequence[str] | None) -> tuple[str, ...] | None:
    """``--only a --only b,c`` as ``("a", "b", "c")``: no key holds a comma; None where nothing was given."""
    if not texts:
        return None
    return tuple(part.strip() for one in texts for part in one.split(",") if part.strip())


def find(client: "LifecycleClient", asked: Asked) -> Found:
    """The runs, in order."""
    runs: list[Run] = []
    token: str | None = None
    while True:
        size = min(_PAGE, asked.limit - len(runs))
        page = client.search_runs(
            list(asked.experiments), asked.text, asked.view, size, asked.order_by, token, asked.as_of
        )
        runs += page
        token = page.token
        if token is None or len(runs) >= asked.limit:
            return Found(runs, token is not None)


def columns(client: "LifecycleClient", asked: Asked, runs: Sequence[Run]) -> dict[str, list[Any]]:
    """The logged values to show beside the runs, a value for each: those named by ``only``.

    Where nothing is said: those in the filter and the order, then further metrics.
    """
    wanted = asked.only if asked.only is not None else _worth_showing(asked, runs)
    if not wanted or not runs:
        return {}
    ids = [run.info.run_id for run in runs]
    among = ", ".join(f"'{one}'" for one in ids)
    table = client.search_table(
        list(asked.experiments), f"run_id IN ({among})", ViewType.ALL, len(ids), only=wanted, as_of=asked.as_of
    )
    place = {run_id: row for row, run_id in enumerate(table["run_id"].to_pylist())}
    rows = [place.get(run_id) for run_id in ids]
    there = [name for name in table.column_names if name.startswith(tuple(f"{kind}." for kind in _KINDS))]
    picked = {}
    for name in dict.fromkeys(name for text in wanted for name in _meant(text, there)):
        values = table[name].to_pylist()
        picked[name] = [None if row is None else values[row] for row in rows]
    return picked


def logged(columns: Mapping[str, Sequence[Any]], row: int) -> dict[str, dict[str, Any]]:
    """One run's values of columns such as ``metrics.auc``, by kind and key; what it does not have is left out."""
    by_kind: dict[str, dict[str, Any]] = {}
    for name, values in columns.items():
        kind, _, key = name.partition(".")
        if values[row] is not None:
            by_kind.setdefault(kind, {})[key] = values[row]
    return by_kind


def _worth_showing(asked: Asked, runs: Sequence[Run]) -> list[str]:
    from sparkml_lifecycle.tracking.search import fields_of, parse, parse_order

    fields = [*fields_of(parse(asked.text)), *(parse_order(one).field for one in asked.order_by)]
    picked = {
        field.spelled: None for field in fields if f"{field.kind}s" in _KINDS and not field.key.startswith("mlflow.")
    }
    metrics = sorted({key for run in runs for key in run.data.metrics})
    more = [f"metrics.`{key}`" for key in metrics if f"metrics.{key}" not in picked]
    return [*picked, *more[: max(0, _COLUMNS - len(picked))]]


def _meant(text: str, there: Sequence[str]) -> Iterator[str]:
    from sparkml_lifecycle.tracking.search import parse_columns

    field = parse_columns(text)
    prefix = f"{field.kind}s."
    yield from (name for name in there if (name.startswith(prefix) if not field.key else name == prefix + field.key))
