"""Runs, experiments, metrics …: frozen dataclasses with MLflow's attribute names; times are milliseconds since 1970."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from enum import IntEnum
from typing import Any, Generic, TypeVar

from sparkml_lifecycle.errors import InvalidInput, did_you_mean

T = TypeVar("T")


class LifecycleStage:
    """Whether an experiment or run is ``active`` or ``deleted``, or ``removed`` for good: only as-of answers show it then."""

    ACTIVE = "active"
    DELETED = "deleted"
    REMOVED = "removed"


class RunStatus(IntEnum):
    """How far a run is; runs show it as text, ``"RUNNING"``."""

    RUNNING = 1
    SCHEDULED = 2
    FINISHED = 3
    FAILED = 4
    KILLED = 5

    @staticmethod
    def from_string(status: str) -> "RunStatus":
        """The status with that name.

        Raises
        ------
        InvalidInput
            If there is none.
        """
        names = [known.name for known in RunStatus]
        if status not in names:
            raise InvalidInput(
                f"{status!r} is not a run status. Allowed: {', '.join(names)}.{did_you_mean(str(status).upper(), names)}"
            )
        return RunStatus[status]

    @staticmethod
    def to_string(status: int) -> str:
        """The status's name."""
        return RunStatus(status).name

    @staticmethod
    def is_terminated(status: "int | str") -> bool:
        """Whether a run with this status is over."""
        known = RunStatus.from_string(status) if isinstance(status, str) else RunStatus(status)
        return known in (RunStatus.FINISHED, RunStatus.FAILED, RunStatus.KILLED)


class ViewType(IntEnum):
    """Which experiments or runs a search sees."""

    ACTIVE_ONLY = 1
    DELETED_ONLY = 2
    ALL = 3

    @classmethod
    def of(cls, view: Any) -> "ViewType":
        """The view with that number.

        Raises
        ------
        InvalidInput
            If there is none.
        """
        try:
            return cls(view)
        except ValueError:
            allowed = ", ".join(f"ViewType.{known.name} ({known.value})" for known in cls)
            raise InvalidInput(f"{view!r} is not a view of experiments or runs. Allowed: {allowed}.") from None

    def sees(self, lifecycle_stage: str) -> bool:
        """Whether the view has what is in that stage."""
        if self is ViewType.ALL:
            return lifecycle_stage != LifecycleStage.REMOVED
        return lifecycle_stage == (LifecycleStage.ACTIVE if self is ViewType.ACTIVE_ONLY else LifecycleStage.DELETED)


@dataclass(frozen=True)
class Metric:
    """One logged value; ``timestamp`` in milliseconds."""

    key: str
    value: float
    timestamp: int
    step: int = 0
    model_id: str | None = None
    dataset_name: str | None = None
    dataset_digest: str | None = None
    run_id: str | None = None


@dataclass(frozen=True)
class MetricSummary:
    """What the points of one metric of a run come to.

    Attributes
    ----------
    key : str
    last : float
        The value of the largest (step, timestamp, value), as in MLflow.
    step : int
        Its step.
    timestamp : int
        Its time, milliseconds since 1970.
    smallest, largest : float or None
        Over all points but NaN; None where all are NaN.
    """

    key: str
    last: float
    step: int
    timestamp: int
    smallest: float | None
    largest: float | None


@dataclass(frozen=True)
class Param:
    """One parameter of a run; it never changes."""

    key: str
    value: str


@dataclass(frozen=True)
class RunTag:
    """One tag of a run."""

    key: str
    value: str


@dataclass(frozen=True)
class ExperimentTag:
    """One tag of an experiment."""

    key: str
    value: str


@dataclass(frozen=True)
class Experiment:
    """A named group of runs; ``dict(experiment)`` gives its attributes.

    Attributes
    ----------
    experiment_id : str
        A small number as text.
    name : str
    artifact_location : str
        An absolute path or URI, made on reading.
    lifecycle_stage : {"active", "deleted"}
    creation_time, last_update_time : int
        Milliseconds since 1970.
    tags : dict of str to str
    """

    experiment_id: str
    name: str
    artifact_location: str
    lifecycle_stage: str = LifecycleStage.ACTIVE
    creation_time: int | None = None
    last_update_time: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return ((one.name, getattr(self, one.name)) for one in fields(self))


@dataclass(frozen=True)
class RunInfo:
    """What a run is: names, status and times; ``dict(run.info)`` gives them.

    Attributes
    ----------
    run_id : str
        UUIDv7 as 32 hex digits.
    run_name, experiment_id, user_id : str
    status : str
        The name of a :class:`RunStatus`.
    start_time : int
        Milliseconds since 1970.
    end_time : int or None
    artifact_uri : str
        An absolute path or URI, made on reading.
    lifecycle_stage : {"active", "deleted"}
    """

    run_id: str
    run_name: str
    experiment_id: str
    user_id: str
    status: str
    start_time: int
    end_time: int | None
    artifact_uri: str
    lifecycle_stage: str = LifecycleStage.ACTIVE

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return ((one.name, getattr(self, one.name)) for one in fields(self))

    @property
    def run_uuid(self) -> str:
        """MLflow's older name of ``run_id``."""
        return self.run_id


@dataclass(frozen=True)
class RunData:
    """What a run logged: the last value of each metric, its parameters and tags."""

    metrics: Mapping[str, float] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Dataset:
    """A data set, as far as a run remembers it.

    Attributes
    ----------
    name, digest : str
    source_type : str
        ``delta``, ``spark``, ``local``, ``code`` …
    source : str
        JSON: a path or table name, and for Delta the version that was read.
    schema, profile : str or None
        JSON: the columns and their types; the number of rows.
    """

    name: str
    digest: str
    source_type: str
    source: str
    schema: str | None = None
    profile: str | None = None


@dataclass(frozen=True)
class InputTag:
    """A tag of a run's input; ``mlflow.data.context`` says what it was read for."""

    key: str
    value: str


@dataclass(frozen=True)
class DatasetInput:
    """A data set that a run read, and for what."""

    dataset: Dataset
    tags: tuple[InputTag, ...] = ()


@dataclass(frozen=True)
class RunInputs:
    """The data sets and models that a run read."""

    dataset_inputs: tuple[DatasetInput, ...] = ()
    model_inputs: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Run:
    """A run: ``run.info``, ``run.data`` and ``run.inputs``."""

    info: RunInfo
    data: RunData = field(default_factory=RunData)
    inputs: RunInputs = field(default_factory=RunInputs)

    def to_dictionary(self) -> dict[str, Any]:
        """Plain dicts, as MLflow's method of that name gives."""
        return {
            "info": {**vars(self.info)},
            "data": {
                "metrics": dict(self.data.metrics),
                "params": dict(self.data.params),
                "tags": dict(self.data.tags),
            },
            "inputs": {
                "dataset_inputs": list(self.inputs.dataset_inputs),
                "model_inputs": list(self.inputs.model_inputs),
            },
        }


class ModelStage:
    """The stages of a model version, as MLflow has them."""

    NONE = "None"
    STAGING = "Staging"
    PRODUCTION = "Production"
    ARCHIVED = "Archived"
    ALL = (NONE, STAGING, PRODUCTION, ARCHIVED)

    @staticmethod
    def of(stage: object) -> str:
        """The stage of that name, whatever its capitals.

        Raises
        ------
        InvalidInput
            If there is none.
        """
        named = {known.lower(): known for known in ModelStage.ALL}
        found = named.get(str(stage).lower()) if isinstance(stage, str) or stage is None else None
        if found is None:
            raise InvalidInput(
                f"{stage!r} is no stage. Allowed: {', '.join(ModelStage.ALL)}.{did_you_mean(str(stage), ModelStage.ALL)}"
            )
        return found


@dataclass(frozen=True)
class ModelVersion:
    """One version of a registered model; ``dict(version)`` gives its attributes.

    Attributes
    ----------
    name : str
    version : str
        A whole number as text; numbers are never used twice.
    creation_timestamp, last_updated_timestamp : int
        Milliseconds since 1970.
    description : str
    user_id : str
        Who registered it.
    current_stage : str
        One of :class:`ModelStage`.
    source : str
        Where its files lie, as an absolute path or URI made on reading.
    run_id : str or None
        The run that logged it.
    run_link : str
    status : str
        ``READY``: a version is there when the call that makes it returns.
    status_message : str
    tags : dict of str to str
    aliases : list of str
    digest : str
        SHA-256 over all of its files; what is loaded by ``models:/`` is held against it.
    model_digest : str
        The model's content digest, as scoring stamps it on every row.
    copied_from : str or None
        ``models:/<name>/<version>`` of the version that it is a copy of.
    """

    name: str
    version: str
    creation_timestamp: int
    last_updated_timestamp: int
    description: str = ""
    user_id: str = ""
    current_stage: str = ModelStage.NONE
    source: str = ""
    run_id: str | None = None
    run_link: str = ""
    status: str = "READY"
    status_message: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: list[str] = field(default_factory=list)
    digest: str = ""
    model_digest: str = ""
    copied_from: str | None = None

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return ((one.name, getattr(self, one.name)) for one in fields(self))


@dataclass(frozen=True)
class RegisteredModel:
    """A registered model; ``dict(model)`` gives its attributes.

    Attributes
    ----------
    name : str
    creation_timestamp, last_updated_timestamp : int
        Milliseconds since 1970.
    description : str
    latest_versions : list of ModelVersion
        The newest version in each stage.
    tags : dict of str to str
    aliases : dict of str to str
        Alias to version.
    """

    name: str
    creation_timestamp: int
    last_updated_timestamp: int
    description: str = ""
    latest_versions: list[ModelVersion] = field(default_factory=list)
    tags: Mapping[str, str] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return ((one.name, getattr(self, one.name)) for one in fields(self))


@dataclass(frozen=True)
class ModelChange:
    """One entry in the history of a registered model.

    Attributes
    ----------
    timestamp : int
        Milliseconds since 1970.
    user_id : str
        Who did it: a claim on a lake, an authenticated name where ``via`` is ``server``.
    via : str
    name : str
        The model's name then.
    version : str or None
        None for a change of the model itself.
    what : str
        ``model``, ``version``, ``stage``, ``alias``, ``tag``, ``description``, ``comment``, ``field``, ``request`` or ``gate``.
    key : str
        The alias, the tag's or the field's name.
    before, after : str or None
        None before it was made, and after it was deleted.
    comment : str
    details : mapping
        What else is known: a gate's checks, a request's stage, where a copy comes from.
    """

    timestamp: int
    user_id: str
    via: str
    name: str
    version: str | None
    what: str
    key: str = ""
    before: str | None = None
    after: str | None = None
    comment: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return ((one.name, getattr(self, one.name)) for one in fields(self))


@dataclass(frozen=True)
class ModelComment:
    """A comment on a model version; ``comment_id`` changes or deletes it."""

    comment_id: str
    text: str
    user_id: str
    creation_timestamp: int
    last_updated_timestamp: int


@dataclass(frozen=True)
class TransitionRequest:
    """A request to move a version to a stage.

    Attributes
    ----------
    name, version, stage : str
    user_id : str
        Who asks.
    creation_timestamp : int
        Milliseconds since 1970.
    comment : str
    archive_existing_versions : bool
    """

    name: str
    version: str
    stage: str
    user_id: str
    creation_timestamp: int
    comment: str = ""
    archive_existing_versions: bool = False


@dataclass(frozen=True)
class FileInfo:
    """An artifact: its path below the run's artifacts, and its size in bytes (None for a directory)."""

    path: str
    is_dir: bool
    file_size: int | None


class PagedList(list[T], Generic[T]):
    """A page of a search; ``token`` asks for the next one and is None on the last."""

    def __init__(self, items: Iterable[T] = (), token: str | None = None) -> None:
        super().__init__(items)
        self.token = token

    def to_list(self) -> list[T]:
        """A plain list."""
        return list(self)
