"""What runs logged, as Arrow tables and as entities."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sparkml_lifecycle.entities import Dataset, DatasetInput, InputTag, Run, RunData, RunInfo, RunInputs
from sparkml_lifecycle.lake import Lake, Where
from sparkml_lifecycle.lake.rows import from_arrow
from sparkml_lifecycle.tracking.experiments import absolute, milliseconds
from sparkml_lifecycle.tracking.fold import Latest
from sparkml_lifecycle.tracking.only import Only
from sparkml_lifecycle.tracking.tables import InputRow, ParamRow, RunRow, TagRow


@dataclass(frozen=True)
class Logged:
    """What runs logged.

    Attributes
    ----------
    metrics : pyarrow.Table
        ``run_id``, ``key``, ``value``, ``smallest``, ``largest``; of each metric one row.
    params, tags : pyarrow.Table
        ``run_id``, ``key``, ``value``.
    inputs : pyarrow.Table
        As the table ``inputs``.
    """

    metrics: Any
    params: Any
    tags: Any
    inputs: Any


def logged(lake: Lake, latest: Latest, run_ids: Sequence[str], only: Only, as_of: datetime | None = None) -> Logged:
    """What the runs logged, as far as ``only`` asks for it."""
    import pyarrow.compute as pc

    def wanted(kind: str, owner: str) -> Where:
        keys = only.keys(kind)
        return Where({owner: run_ids, **({} if keys is None else {"key": keys})}, as_of)

    def pairs(kind: str, row_type: Any, owner: str) -> Any:
        table = lake.table(row_type).counting(wanted(kind, owner), [owner, "key", "value"])
        table = table.select([owner, "key", "value"]).rename_columns(["run_id", "key", "value"])
        return table.filter(pc.is_valid(table["value"]))

    inputs = Where({"run_id": run_ids if only.everything else ()}, as_of)
    return Logged(
        latest.where(wanted("metric", "run_id")),
        pairs("param", ParamRow, "run_id"),
        pairs("tag", TagRow, "owner"),
        lake.table(InputRow).counting(inputs),
    )


def runs_of(lake: Lake, rows: Any, found: Logged) -> list[Run]:
    """Entities of the rows of ``runs`` and what they logged, in the order of the rows."""
    parts: dict[str, tuple[dict[str, float], dict[str, str], dict[str, str]]] = {
        run_id: ({}, {}, {}) for run_id in rows["run_id"].to_pylist()
    }
    for place, table in enumerate((found.metrics, found.params, found.tags)):
        columns = (table[name].to_pylist() for name in ("run_id", "key", "value"))
        for run_id, key, value in zip(*columns, strict=True):
            parts[run_id][place][key] = value
    inputs: dict[str, list[DatasetInput]] = {}
    for row in from_arrow(InputRow, found.inputs):
        inputs.setdefault(row.run_id, []).append(_input(row))
    return [
        Run(_info(lake, row), RunData(*parts[row.run_id]), RunInputs(tuple(inputs.get(row.run_id, ()))))
        for row in from_arrow(RunRow, rows)
    ]


def run_of(lake: Lake, row: RunRow, data: RunData) -> Run:
    """The entity of one row of ``runs``."""
    return Run(_info(lake, row), data)


def _info(lake: Lake, row: RunRow) -> RunInfo:
    ended = milliseconds(row.end_time) if row.end_time else None
    return RunInfo(
        row.run_id, row.name, row.experiment_id, row.user_id, row.status, milliseconds(row.start_time), ended,
        absolute(lake, row.location), row.lifecycle_stage,
    )  # fmt: skip


def _input(row: InputRow) -> DatasetInput:
    dataset = Dataset(row.dataset_name, row.dataset_digest, row.source_type, row.source, row.schema, row.profile)
    tags = [InputTag("mlflow.data.context", row.context)] if row.context else []
    tags += [InputTag(key, value) for key, value in json.loads(row.tags or "{}").items()]
    return DatasetInput(dataset, tuple(tags))
