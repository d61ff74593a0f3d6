"""The tables of tracking, one dataclass each."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, Literal

from sparkml_lifecycle.entities import LifecycleStage
from sparkml_lifecycle.lake import ClaimedRow, Fold, Row
from sparkml_lifecycle.lake.order import last_by


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
    STEPS: ClassVar[bool] = True

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
    STEPS: ClassVar[bool] = True

    owner: str
    key: str
    value: str | None


@dataclass(frozen=True, kw_only=True)
class InputRow(Row):
    """A data set that a run read; the latest row of each counts.

    Attributes
    ----------
    run_id, dataset_name, dataset_digest : str
    context : str
        What it was read for, such as ``training``; empty where nobody said.
    source_type : str
        ``delta``, ``spark``, ``local``, ``code`` …
    source : str
        JSON: a path or table name, and for Delta the version.
    version : int or None
        The Delta table's version that was read.
    schema, profile : str or None
        JSON: the columns and their types; the number of rows.
    tags : str or None
        JSON: what else was said of this input.
    """

    TABLE: ClassVar[str] = "inputs"
    KEY: ClassVar[tuple[str, ...]] = ("run_id", "dataset_name", "dataset_digest", "context")
    KEEP: ClassVar[Literal["every", "first", "last"]] = "last"

    run_id: str
    dataset_name: str
    dataset_digest: str
    context: str = ""
    source_type: str
    source: str
    version: int | None = None
    schema: str | None = None
    profile: str | None = None
    tags: str | None = None


@dataclass(frozen=True, kw_only=True)
class ScoringRow(Row):
    """What a scoring job did, successful or not; every row counts.

    Attributes
    ----------
    run_id, job, mode : str
    batch : str or None
    status : str
        ``FINISHED``, ``NOTHING`` (there was nothing new), ``FAILED`` or ``KILLED``.
    model_uri, model_digest : str
    model_name, model_version : str or None
        The registered model's version that a ``models:/`` URI named then.
    source, source_format, target : str
    source_version, target_version : int or None
        Of Delta tables: what was read, and what has the rows.
    rows, errors : int
    seconds : float
        From reading the source to the commit.
    engine, evaluator : str
        Who read and wrote, and whose code evaluated the model.
    notes : str
    profile : str or None
        JSON: what is known of the rows' values; nothing yet.
    """

    TABLE: ClassVar[str] = "scorings"
    SORTED_BY: ClassVar[tuple[str, ...]] = ("job", "run_id")

    run_id: str
    job: str
    mode: str
    batch: str | None = None
    status: str
    model_uri: str
    model_digest: str
    source: str
    source_format: str
    source_version: int | None = None
    target: str
    target_version: int | None = None
    rows: int = 0
    errors: int = 0
    seconds: float = 0.0
    engine: str = ""
    evaluator: str = ""
    notes: str = ""
    profile: str | None = None
    model_name: str | None = None
    model_version: str | None = None


@dataclass(frozen=True, kw_only=True)
class LatestMetricRow(Fold):
    """The latest, smallest and largest value of a metric of a run, as far as the covered files of ``metrics`` go.

    The latest value is that of the largest (step, timestamp, value), as in MLflow; NaN is never the smallest or largest.
    """

    TABLE: ClassVar[str] = "latest_metrics"
    KEY: ClassVar[tuple[str, ...]] = ("run_id", "key")

    run_id: str
    key: str
    value: float | None = None
    step: int | None = None
    timestamp: int | None = None
    smallest: float | None = None
    largest: float | None = None

    @classmethod
    def summarise(cls, table: Any) -> Any:
        """One row for each run and key, of points or of summaries."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if "smallest" not in table.column_names:
            number = pc.if_else(pc.is_nan(table["value"]), pa.scalar(None, pa.float64()), table["value"])
            table = table.append_column("smallest", number).append_column("largest", number)
        columns = ["run_id", "key", "value", "step", "timestamp", "smallest", "largest"]
        last = last_by(table, cls.KEY, ("step", "timestamp", "value")).select(columns)
        if len(last) == len(table):
            return last
        extremes = table.group_by(list(cls.KEY)).aggregate([("smallest", "min"), ("largest", "max")])
        return last.select(columns[:5]).join(extremes, list(cls.KEY)).rename_columns(columns)


@dataclass(frozen=True, kw_only=True)
class MetricRow(Row):
    """One point of a metric; every row counts. ``timestamp`` is the caller's, in milliseconds."""

    TABLE: ClassVar[str] = "metrics"
    SORTED_BY: ClassVar[tuple[str, ...]] = ("run_id", "key", "step")
    FOLD: ClassVar[type[Fold] | None] = LatestMetricRow

    run_id: str
    key: str
    value: float
    timestamp: int
    step: int = 0
    model_id: str | None = None
    dataset_name: str | None = None
    dataset_digest: str | None = None
