"""The tables of tracking, one dataclass each; and which row counts."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Literal

from sparkml_lifecycle.entities import LifecycleStage
from sparkml_lifecycle.lake import ClaimedRow, Row


@dataclass(frozen=True, kw_only=True)
class ExperimentRow(ClaimedRow):
    """One revision of an experiment; ``location`` is relative where it lies in the lake."""

    TABLE: ClassVar[str] = "experiments"

    experiment_id: str
    name: str
    location: str
    lifecycle_stage: str = LifecycleStage.ACTIVE
    created: datetime


@dataclass(frozen=True, kw_only=True)
class RunRow(Row):
    """A run as it was at one moment; the latest row counts. ``location`` is relative where it lies in the lake."""

    TABLE: ClassVar[str] = "runs"
    KEY: ClassVar[tuple[str, ...]] = ("run_id",)
    KEEP: ClassVar[Literal["every", "first", "last"]] = "last"

    run_id: str
    experiment_id: str
    name: str
    user_id: str
    status: str
    start_time: datetime
    end_time: datetime | None = None
    lifecycle_stage: str = LifecycleStage.ACTIVE
    location: str


@dataclass(frozen=True, kw_only=True)
class ParamRow(Row):
    """A parameter of a run; the first row counts."""

    TABLE: ClassVar[str] = "params"
    KEY: ClassVar[tuple[str, ...]] = ("run_id", "key")
    KEEP: ClassVar[Literal["every", "first", "last"]] = "first"

    run_id: str
    key: str
    value: str


@dataclass(frozen=True, kw_only=True)
class TagRow(Row):
    """A tag of a run (``owner`` is its id) or of an experiment (``experiment:<id>``); the latest row counts, None deletes."""

    TABLE: ClassVar[str] = "tags"
    KEY: ClassVar[tuple[str, ...]] = ("owner", "key")
    KEEP: ClassVar[Literal["every", "first", "last"]] = "last"

    owner: str
    key: str
    value: str | None


@dataclass(frozen=True, kw_only=True)
class MetricRow(Row):
    """One point of a metric; every row counts. ``timestamp`` is the caller's, in milliseconds."""

    TABLE: ClassVar[str] = "metrics"

    run_id: str
    key: str
    value: float
    timestamp: int
    step: int = 0
    model_id: str | None = None
    dataset_name: str | None = None
    dataset_digest: str | None = None


# NaN is the least of equal (step, timestamp), so it is never taken for the largest value (MLflow's rule for "last")
LAST_METRIC = "last_value(value order by step, timestamp, case when isnan(value) then 0 else 1 end, value)"
FIRST_PARAM = "first_value(value order by seq, at, writer)"
LAST_TAG = "last_value(value order by seq, at, writer)"
