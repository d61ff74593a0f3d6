"""MLflow's module-level API: ``ml.start_run()``, ``ml.log_metric(...)``; it logs to the current run of the current lake."""

import atexit
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from sparkml_lifecycle import current, origin, uris
from sparkml_lifecycle.client import LifecycleClient
from sparkml_lifecycle.entities import (
    Dataset,
    DatasetInput,
    Experiment,
    InputTag,
    LifecycleStage,
    Metric,
    Param,
    Run,
    RunStatus,
    RunTag,
    ViewType,
)
from sparkml_lifecycle.errors import InvalidInput
from sparkml_lifecycle.settings import Settings
from sparkml_lifecycle.tracking import names
from sparkml_lifecycle.tracking.frame import to_pandas
from sparkml_lifecycle.tracking.names import several

_PAGE = 10_000


class ActiveRun(Run):
    """A run that was started here; ``with start_run() as run:`` ends it, in whatever thread: FAILED after an error and KILLED after Ctrl-C."""

    def __enter__(self) -> "ActiveRun":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if current.is_open(self.info.run_id):
            _end(self.info.run_id, _status_after(kind))


# -- the lake and the experiment -----------------------------------------------------------------------------------------


def set_tracking_uri(uri: str | Path | None, storage_options: Mapping[str, str] | None = None) -> None:
    """Choose the lake: a path or storage URI, with the options of its storage as for :class:`LifecycleClient`.

    None: back to ``SPARKML_TRACKING_URI``, the conf file, or ``./mllake``. Runs that are open stay in the lake in which
    they were started.
    """
    place = None if uri is None else uris.lake(uri)
    if place is not None:
        _known.pop(place, None)
    current.set_tracking_uri(place, storage_options)


def get_tracking_uri() -> str:
    """The current lake's normal URI."""
    return uris.lake(current.tracking_uri())


def is_tracking_uri_set() -> bool:
    """Whether the lake was chosen, by :func:`set_tracking_uri`, the environment or a conf file."""
    return current.is_tracking_uri_set()


def set_experiment(experiment_name: str | None = None, experiment_id: str | None = None) -> Experiment:
    """Choose the experiment of the runs to come; one that does not exist is made.

    Raises
    ------
    InvalidInput
        If the experiment is deleted, or not exactly one of name and id is given.
    """
    if (experiment_name is None) == (experiment_id is None):
        raise InvalidInput("Give either experiment_name or experiment_id.")
    experiment = (
        _client().get_experiment(experiment_id)
        if experiment_id is not None
        else _client().experiment_made(str(experiment_name))
    )
    if experiment.lifecycle_stage != LifecycleStage.ACTIVE:
        raise InvalidInput(f"The experiment {experiment.name!r} is deleted. Restore it, or choose another name.")
    current.set_experiment_id(experiment.experiment_id)
    return experiment


def create_experiment(name: str, artifact_location: str | None = None, tags: Mapping[str, Any] | None = None) -> str:
    """Make an experiment and return its id; :class:`AlreadyExists` if the name is taken."""
    return _client().create_experiment(name, artifact_location, tags)


def get_experiment(experiment_id: str) -> Experiment:
    """An experiment by its id; :class:`NotFound` if there is none."""
    return _client().get_experiment(experiment_id)


def get_experiment_by_name(name: str) -> Experiment | None:
    """An experiment by its name, or None."""
    return _client().get_experiment_by_name(name)


def search_experiments(
    view_type: int = ViewType.ACTIVE_ONLY,
    max_results: int | None = None,
    filter_string: str | None = None,
    order_by: Sequence[str] | None = None,
) -> list[Experiment]:
    """The experiments that a filter lets through, the newest first."""
    most = sys.maxsize if max_results is None else max_results
    return list(_client().search_experiments(view_type, most, filter_string, order_by))


def delete_experiment(experiment_id: str) -> None:
    """Hide an experiment; the client's ``restore_experiment`` brings it back."""
    _client().delete_experiment(experiment_id)


def set_experiment_tag(key: str, value: Any) -> None:
    """Set a tag of the current experiment."""
    _client().set_experiment_tag(_experiment_id(), key, value)


def set_experiment_tags(tags: Mapping[str, Any]) -> None:
    """Set tags of the current experiment."""
    _client().store.experiments.set_tags(_experiment_id(), names.pairs("tags", tags))


def delete_experiment_tag(key: str) -> None:
    """Remove a tag of the current experiment."""
    _client().delete_experiment_tag(_experiment_id(), key)


def restore_experiment(experiment_id: str) -> None:
    """Bring a deleted experiment back."""
    _client().restore_experiment(experiment_id)


# -- runs ----------------------------------------------------------------------------------------------------------------


def start_run(
    run_id: str | None = None,
    experiment_id: str | None = None,
    run_name: str | None = None,
    nested: bool = False,
    parent_run_id: str | None = None,
    tags: Mapping[str, Any] | None = None,
    description: str | None = None,
    log_system_metrics: bool | None = None,
) -> ActiveRun:
    """Start a run, or with ``run_id`` go on with one.

    Parameters
    ----------
    nested : bool
        Needed where a run is active: the new one then is its child.
    description : str
        Shown with the run (the tag ``mlflow.note.content``).
    log_system_metrics : bool, optional
        MLflow's argument; only None and False are taken, since nothing here measures the machine.

    Raises
    ------
    InvalidInput
        If a run is active and ``nested`` is not said or the active run lies in another lake, or the run is deleted.
    """
    if log_system_metrics:
        raise InvalidInput(
            "log_system_metrics=True: system metrics are not measured here. Leave it out, or log them: ml.log_metric('cpu', …)."
        )
    active = current.own_runs()
    if active and not nested:
        raise InvalidInput(
            f"The run {active[-1]} is active. End it first (ml.end_run()), or start a child: start_run(nested=True)."
        )
    client = _client()
    # a thread or a forked child has none of its own, and nests in the one that its values go to
    around = current.enclosing_run_id() if nested else None
    if around and current.lake_of(around) != client.tracking_uri:
        raise InvalidInput(
            f"The active run {around} lies in the lake {current.lake_of(around)!r}, and the current lake is "
            f"{client.tracking_uri!r}: a child lies beside its parent. End that run first: ml.end_run()."
        )
    said = {str(key): value for key, value in names.pairs("tags", tags)}
    if description is not None:
        said["mlflow.note.content"] = description
    parent = parent_run_id or around
    if run_id is not None:
        run = _resumed(client, run_id, run_name, parent_run_id, experiment_id, said)
    else:
        context = origin.tags()
        if parent:
            context["mlflow.parentRunId"] = client.get_run(parent).info.run_id if parent_run_id else parent
        run = client.store.create_run(
            experiment_id or _experiment_id(), run_name, {**context, **said}, synchronous=False
        )
    current.push_run(run.info.run_id, client.tracking_uri)
    return ActiveRun(run.info, run.data, run.inputs)


def end_run(status: str = "FINISHED") -> None:
    """End the active run; returns when all that it logged is in the lake.

    Nothing happens where none is active, or where it is another's to end: of the main thread, or of the parent of a forked child.
    """
    active = current.own_runs()
    if active:
        _end(active[-1], RunStatus.from_string(status).name)


def active_run() -> ActiveRun | None:
    """The active run, as it was begun; None where none is. ``get_run`` reads what it has logged."""
    run_id = current.active_run_id()
    return _read(run_id) if run_id else None


def last_active_run() -> Run | None:
    """The active run, else the one that ended last in this process, with what it logged."""
    run_id = current.active_run_id() or current.last_run_id()
    return client_of(run_id).get_run(run_id) if run_id else None


def get_run(run_id: str) -> Run:
    """A run with its last metrics, parameters and tags; :class:`NotFound` if there is none."""
    return _client().get_run(run_id)


def get_parent_run(run_id: str) -> Run | None:
    """The run that a run is nested in, or None."""
    return _client().get_parent_run(run_id)


def delete_run(run_id: str) -> None:
    """Hide a run; the client's ``restore_run`` brings it back."""
    _client().delete_run(run_id)


def restore_run(run_id: str) -> None:
    """Bring a deleted run back."""
    _client().restore_run(run_id)


def search_runs(
    experiment_ids: Sequence[str] | None = None,
    filter_string: str = "",
    run_view_type: int = ViewType.ACTIVE_ONLY,
    max_results: int = 100_000,
    order_by: Sequence[str] | None = None,
    output_format: str = "pandas",
    search_all_experiments: bool = False,
    experiment_names: Sequence[str] | None = None,
    only: Sequence[str] | None = None,
    as_of: datetime | None = None,
) -> Any:
    """Runs as a pandas frame, or as a list, an Arrow table or a Spark DataFrame by ``output_format``.

    The columns are ``run_id, experiment_id, status, artifact_uri, start_time, end_time``, then ``metrics.…``, ``params.…``
    and ``tags.…``. The current experiment is searched where none is named.

    Parameters
    ----------
    filter_string, order_by, as_of
        See :meth:`LifecycleClient.search_runs`.
    output_format : {"pandas", "list", "arrow", "spark"}
        ``spark`` needs an active Spark session.
    only : sequence of str, optional
        Which of the logged values to give, such as ``["metrics.auc", "metrics.loss.min", "params"]``; the rest is not read.

    Raises
    ------
    NotFound
        If an experiment is named that does not exist (MLflow only warns).
    FilterError
        If the filter cannot be read; the message marks the place.
    """
    client = _client()
    if experiment_names and experiment_ids:
        raise InvalidInput("Give either experiment_ids or experiment_names.")
    if experiment_names:
        ids = [client.experiment_id_of(name) for name in several(experiment_names)]
    elif experiment_ids:
        ids = several(experiment_ids)
    elif search_all_experiments:
        ids = [one.experiment_id for one in search_experiments(ViewType.ACTIVE_ONLY)]
    else:
        ids = [_experiment_id()]
    if output_format == "list":
        if only is not None:
            raise InvalidInput("only= chooses columns of a table; output_format='list' gives whole runs.")
        return list(_all_pages(client, ids, filter_string, run_view_type, max_results, order_by, as_of))
    table = client.search_table(ids, filter_string, run_view_type, max_results, order_by, only, as_of)
    return _formatted(table, output_format)


# -- logging -------------------------------------------------------------------------------------------------------------


def log_metric(
    key: str,
    value: float,
    step: int | None = None,
    synchronous: bool | None = None,
    timestamp: int | None = None,
    run_id: str | None = None,
    model_id: str | None = None,
    dataset: Dataset | None = None,
) -> None:
    """Log one point of a metric to the active run; a run is started where none is active. It costs microseconds."""
    log_metrics({key: value}, step, synchronous, run_id, timestamp, model_id, dataset)


def log_metrics(
    metrics: Mapping[str, float],
    step: int | None = None,
    synchronous: bool | None = None,
    run_id: str | None = None,
    timestamp: int | None = None,
    model_id: str | None = None,
    dataset: Dataset | None = None,
) -> None:
    """Log one point of several metrics, all or none of them."""
    if dataset is not None and not isinstance(dataset, Dataset):
        raise InvalidInput(f"dataset= takes what ml.data.from_pandas(df) gives, found {type(dataset).__name__}.")
    name, digest = (dataset.name, dataset.digest) if dataset is not None else (None, None)
    pairs = names.pairs("metrics", metrics)
    client, run = _logging(run_id)
    client.store.log_metrics(run, pairs, timestamp, step, synchronous, model_id, name, digest)


def log_param(key: str, value: Any, synchronous: bool | None = None) -> Any:
    """Log a parameter and return its value; a second, different value raises :class:`InvalidInput`."""
    client, run = _logging()
    return client.log_param(run, key, value, synchronous)


def log_params(params: Mapping[str, Any], synchronous: bool | None = None, run_id: str | None = None) -> None:
    """Log parameters, all or none of them."""
    pairs = names.pairs("params", params)
    client, run = _logging(run_id)
    client.store.log_params(run, pairs, synchronous)


def set_tag(key: str, value: Any, synchronous: bool | None = None) -> None:
    """Set a tag of the active run."""
    client, run = _logging()
    client.set_tag(run, key, value, synchronous)


def set_tags(tags: Mapping[str, Any], synchronous: bool | None = None) -> None:
    """Set tags of the active run."""
    pairs = names.pairs("tags", tags)
    client, run = _logging()
    client.store.set_tags(run, pairs, synchronous)


def delete_tag(key: str) -> None:
    """Remove a tag of the active run."""
    client, run = _logging()
    client.delete_tag(run, key)


def log_input(
    dataset: Dataset, context: str | None = None, tags: Mapping[str, str] | None = None, run_id: str | None = None
) -> None:
    """Log a data set that the run reads: ``log_input(ml.data.from_pandas(df, source="s3://…"), context="training")``."""
    log_inputs([dataset], [context], [tags], run_id)


def log_inputs(
    datasets: Sequence[Dataset],
    contexts: Sequence[str | None] | None = None,
    tags_list: Sequence[Mapping[str, str] | None] | None = None,
    run_id: str | None = None,
) -> None:
    """Log several data sets that the run reads, each with what it is read for."""
    said = [*(contexts or [None] * len(datasets))], [*(tags_list or [None] * len(datasets))]
    if not len(datasets) == len(said[0]) == len(said[1]):
        raise InvalidInput(
            f"{len(datasets)} datasets, {len(said[0])} contexts and {len(said[1])} tags do not go together."
        )
    inputs = []
    for dataset, context, tags in zip(datasets, *said, strict=True):
        named = {"mlflow.data.context": context, **dict(names.pairs("tags", tags))}
        inputs.append(DatasetInput(dataset, tuple(InputTag(k, str(v)) for k, v in named.items() if v is not None)))
    client, run = _logging(run_id)
    client.log_inputs(run, inputs)


def log_batch(metrics: Sequence[Metric] = (), params: Sequence[Param] = (), tags: Sequence[RunTag] = ()) -> None:
    """Log many things at once to the active run."""
    client, run = _logging()
    client.log_batch(run, metrics, params, tags)


def flush() -> None:
    """Commit what waits in memory; returns when it is in the lake."""
    active = current.active_run_id()
    if active is not None:
        client_of(active).flush()
    _client().flush()


# -- artifacts -----------------------------------------------------------------------------------------------------------


def log_artifact(local_path: str | Path, artifact_path: str | None = None, run_id: str | None = None) -> None:
    """Copy a local file to the run's artifacts."""
    client, run = _logging(run_id)
    client.log_artifact(run, local_path, artifact_path)


def log_artifacts(local_dir: str | Path, artifact_path: str | None = None, run_id: str | None = None) -> None:
    """Copy what a local directory holds to the run's artifacts."""
    client, run = _logging(run_id)
    client.log_artifacts(run, local_dir, artifact_path)


def log_text(text: str, artifact_file: str, run_id: str | None = None) -> None:
    """Write a text file to the run's artifacts."""
    client, run = _logging(run_id)
    client.log_text(run, text, artifact_file)


def log_dict(dictionary: Any, artifact_file: str, run_id: str | None = None) -> None:
    """Write a dict or list as JSON, or as YAML where the file's name ends so."""
    client, run = _logging(run_id)
    client.log_dict(run, dictionary, artifact_file)


def log_figure(figure: Any, artifact_file: str, *, save_kwargs: Mapping[str, Any] | None = None) -> None:
    """Write a matplotlib or Plotly figure."""
    client, run = _logging()
    client.log_figure(run, figure, artifact_file, save_kwargs=save_kwargs)


def log_image(
    image: Any,
    artifact_file: str | None = None,
    key: str | None = None,
    step: int | None = None,
    timestamp: int | None = None,
    synchronous: bool | None = None,
) -> None:
    """Write a PIL image or an array: to a file of that name, or as one of the images of ``key`` at a ``step``."""
    client, run = _logging()
    client.log_image(run, image, artifact_file, key, step, timestamp)


def log_stream(stream: Any, artifact_file: str, run_id: str | None = None) -> None:
    """Write what a binary file object gives, without holding it in memory."""
    client, run = _logging(run_id)
    client.log_stream(run, stream, artifact_file)


def load_table(
    artifact_file: str, run_ids: Sequence[str] | None = None, extra_columns: Sequence[str] | None = None
) -> Any:
    """The tables of that name of the current experiment's runs, one below the other, as a pandas frame."""
    return _client().load_table(_experiment_id(), artifact_file, run_ids, extra_columns)


def log_table(data: Any, artifact_file: str, run_id: str | None = None) -> None:
    """Write a frame or a dict of columns as ``.json`` or ``.parquet``; a table of that name goes on with these rows."""
    client, run = _logging(run_id)
    client.log_table(run, data, artifact_file)


def get_artifact_uri(artifact_path: str | None = None) -> str:
    """Where the active run's artifacts, or one of them, lie."""
    client, run = _logging()
    base = client.artifact_uri(run)
    return uris.join(base, uris.check_relative(artifact_path)) if artifact_path else base


# -- inside --------------------------------------------------------------------------------------------------------------


def client_of(run_id: str) -> LifecycleClient:
    """The client of the lake in which a run was started here, of the current lake for any other run."""
    lake = current.lake_of(run_id)
    return _client() if lake is None else _known.get(lake) or LifecycleClient(lake)


def _client() -> LifecycleClient:
    chosen = current.chosen_uri()
    client = _known.get(chosen) if chosen is not None else None
    if client is None:
        client = LifecycleClient()
        if len(_known) > _MOST_KNOWN:
            _known.clear()
        _known[client.tracking_uri] = client
    return client


# making a client takes longer than logging a value
_known: dict[str, LifecycleClient] = {}
_MOST_KNOWN = 16


def _logging(run_id: str | None = None) -> tuple[LifecycleClient, str]:
    """Where a value goes: the run that was said, else the active one, else one that is started for it."""
    run = run_id or current.active_run_id() or start_run().info.run_id
    return client_of(run), run


def _experiment_id() -> str:
    chosen = current.experiment_id()
    return chosen if chosen is not None else set_experiment(Settings.load().experiment_name).experiment_id


def _read(run_id: str) -> ActiveRun:
    run = client_of(run_id).get_run(run_id)
    return ActiveRun(run.info, run.data, run.inputs)


def _resumed(
    client: LifecycleClient, run_id: str, run_name: str | None, parent: str | None, experiment_id: str | None,
    tags: Mapping[str, Any],
) -> Run:  # fmt: skip
    before = client.get_run(run_id)
    if experiment_id is not None and str(experiment_id) != before.info.experiment_id:
        raise InvalidInput(f"The run {run_id} is of experiment {before.info.experiment_id}, not of {experiment_id}.")
    if before.info.lifecycle_stage != LifecycleStage.ACTIVE:
        raise InvalidInput(f"The run {run_id} is deleted. Restore it first: restore_run().")
    if parent is not None and before.data.tags.get("mlflow.parentRunId") != parent:
        raise InvalidInput(f"The run {run_id} exists and its parent is not {parent}.")
    # the tags are checked, and refused, before anything is written
    client.store.set_tags(run_id, [*tags.items(), *([("mlflow.runName", run_name)] if run_name else [])])
    client.update_run(run_id, RunStatus.RUNNING.name)
    return client.get_run(run_id)


def _end(run_id: str, status: str) -> None:
    try:
        client_of(run_id).set_terminated(run_id, status)
    finally:
        current.pop_run(run_id)


def _status_after(kind: type[BaseException] | None) -> str:
    if kind is None:
        return RunStatus.FINISHED.name
    return (RunStatus.KILLED if issubclass(kind, KeyboardInterrupt) else RunStatus.FAILED).name


@atexit.register
def _end_at_exit() -> None:
    # the interpreter leaves the error that ended the program in sys.last_type
    status = _status_after(getattr(sys, "last_type", None))
    for run_id in current.left_open():
        try:
            _end(run_id, status)
        except Exception as error:  # nobody is left to catch it, so it is said
            print(f"sparkml_lifecycle: the run {run_id} could not be ended: {error}", file=sys.stderr)


def _all_pages(
    client: LifecycleClient, ids: Sequence[str], text: str, view: int, most: int, order_by: Sequence[str] | None,
    as_of: datetime | None,
) -> Iterator[Run]:  # fmt: skip
    token: str | None = None
    left = most
    while True:
        page = client.search_runs(ids, text, view, min(_PAGE, left), order_by, token, as_of)
        yield from page
        left, token = left - len(page), page.token
        if token is None or left < 1:
            return


def _formatted(table: Any, output_format: str) -> Any:
    if output_format == "pandas":
        return to_pandas(table)
    if output_format == "arrow":
        return table
    if output_format != "spark":
        raise InvalidInput(f"output_format must be 'pandas', 'list', 'arrow' or 'spark', found {output_format!r}.")
    from pyspark.sql import SparkSession

    spark = SparkSession.getActiveSession()
    if spark is None:
        raise InvalidInput("output_format='spark' needs an active Spark session: sparkml_lifecycle.spark.get_spark().")
    return spark.createDataFrame(table)
