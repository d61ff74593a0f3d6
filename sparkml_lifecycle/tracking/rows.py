"""The rows of the tracking tables; each class is a table of the lake."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ExperimentRow:
    """A revision of an experiment; the one with the largest ``revision`` counts."""

    experiment_id: str
    name: str
    artifact_location: str | None
    lifecycle_stage: str
    creation_time: int
    last_update_time: int
    revision: int
    claim: str


@dataclass(frozen=True)
class RunRow:
    """A state of a run; the latest counts."""

    run_id: str
    experiment_id: str
    run_name: str
    user_id: str
    status: str
    start_time: int
    end_time: int | None
    lifecycle_stage: str
    artifact_location: str


@dataclass(frozen=True)
class ParamRow:
    """A parameter of a run; the first counts."""

    run_id: str
    key: str
    value: str


@dataclass(frozen=True)
class TagRow:
    """A tag of a run or experiment (``owner_type``); the latest counts, and no value means that it was deleted."""

    owner_type: str
    owner: str
    key: str
    value: str | None


@dataclass(frozen=True)
class MetricRow:
    """A point of a metric; every one counts."""

    run_id: str
    key: str
    value: float
    step: int
    timestamp: int
    model_id: str | None = None
    dataset_name: str | None = None
    dataset_digest: str | None = None


TABLES: dict[str, type] = {"experiments": ExperimentRow, "runs": RunRow, "params": ParamRow, "tags": TagRow, "metrics": MetricRow}
