"""MLflow's module-level API: ``ml.start_run()``, ``ml.log_metric(...)``; it logs to the current run of the current lake."""

import atexit
import contextlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from sparkml_lifecycle import current, uris
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
from sparkml_lifecycle.errors import AlreadyExists, InvalidInput
from sparkml_lifecycle.settings import Settings
from sparkml_lifecycle.storage import open_storage
from sparkml_lifecycle.tracking import names
from sparkml_lifecycle.tracking.frame import to_pandas

_PAGE = 10_000


class ActiveRun(Run):
    """A run that was started here; ``with start_run() as run:`` ends it, FAILED after an error and KILLED after Ctrl-C."""

    def __enter__(self) -> "ActiveRun":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.info.run_id in current.own_runs():
            _end(self.info.run_id, _status_after(kind))


# -- the lake and the experiment -----------------------------------------------------------------------------------------


def set_tracking_uri(uri: str | Path, storage_options: Mapping[str, str] | None = None) -> None:
    """Choose the lake: a path or storage URI, with the options of its storage as for :class:`LifecycleClient`.

    An empty text goes back to the settings, as in MLflow.
    """
    current.set_tracking_uri(open_storage(uri).uri if uri else None, storage_options)


def get_tracking_uri() -> str:
    """The current lake's normal URI."""
    return uris.normalise(current.tracking_uri())


def set_experiment(experiment_name: str | None = None, experiment_id: str | None = None) -> Experiment:
    """Choose the experiment of the runs to come; one that does not exist is made.

    Raises
    ------
    InvalidInput
        If the experiment is deleted, or not exactly one of name and id is given.
    """
    if (experiment_name is None) == (experiment_id is None):
        raise InvalidInput("Give either experiment_name or experiment_id.")
    experiment = _client().get_experiment(experiment_id) if experiment_id is not None else _named(str(experiment_name))
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
) -> ActiveRun:
    """Start a run, or with ``run_id`` go on with one.

    Parameters
    ----------
    nested : bool
        Needed where a run is active: the new one then is its child.
    description : str
        Shown with the run (the tag ``mlflow.note.content``).

    Raises
    ------
    InvalidInput
        If a run is active and ``nested`` is not said, or the run is deleted.
    """
    active = current.own_runs()
    if active and not nested:
        raise InvalidInput(
            f"The run {active[-1]} is active. End it first (ml.end_run()), or start a child: start_run(nested=True)."
        )
    client = _client()
    said = {str(key): value for key, value in names.pairs("tags", tags)}
    if description is not None:
        said["mlflow.note.content"] = description
    parent = parent_run_id or (active[-1] if active else None)
    if run_id is not None:
        run = _resumed(client, run_id, run_name, parent_run_id, said)
    else:
        context = _context()
        if parent:
            context["mlflow.parentRunId"] = client.get_run(parent).info.run_id if parent_run_id else parent
        run = client.store.create_run(
            experiment_id or _experiment_id(), run_name, {**context, **said}, synchronous=False
        )
    current.push_run(run.info.run_id)
    return ActiveRun(run.info, run.data, run.inputs)


def end_run(status: str = "FINISHED") -> None:
    """End the active run; returns when all that it logged is in the lake. Nothing happens where none is active."""
    run_id = current.active_run_id()
    if run_id is not None:
        _end(run_id, RunStatus.from_string(status).name)


def active_run() -> ActiveRun | None:
    """The active run, as it was begun; None where none is. ``get_run`` reads what it has logged."""
    run_id = current.active_run_id()
    return _read(run_id) if run_id else None


def last_active_run() -> Run | None:
    """The active run, else the one that ended last in this process, with what it logged."""
    run_id = current.active_run_id() or current.last_run_id()
    return get_run(run_id) if run_id else None


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
    if isinstance(experiment_names, str):
        experiment_names = [experiment_names]
    if experiment_names:
        ids = [client.experiment_named(name).experiment_id for name in experiment_names]
    elif experiment_ids:
        ids = list(experiment_ids) if not isinstance(experiment_ids, str) else [experiment_ids]
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
    client, run = _client(), run_id or _run_id()
    client.store.log_metrics(run, pairs, timestamp, step, synchronous, model_id, name, digest)


def log_param(key: str, value: Any, synchronous: bool | None = None) -> Any:
    """Log a parameter and return its value; a second, different value raises :class:`InvalidInput`."""
    return _client().log_param(_run_id(), key, value, synchronous)


def log_params(params: Mapping[str, Any], synchronous: bool | None = None, run_id: str | None = None) -> None:
    """Log parameters, all or none of them."""
    pairs = names.pairs("params", params)
    _client().store.log_params(run_id or _run_id(), pairs, synchronous)


def set_tag(key: str, value: Any, synchronous: bool | None = None) -> None:
    """Set a tag of the active run."""
    _client().set_tag(_run_id(), key, value, synchronous)


def set_tags(tags: Mapping[str, Any], synchronous: bool | None = None) -> None:
    """Set tags of the active run."""
    pairs = names.pairs("tags", tags)
    _client().store.set_tags(_run_id(), pairs, synchronous)


def delete_tag(key: str) -> None:
    """Remove a tag of the active run."""
    _client().delete_tag(_run_id(), key)


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
    _client().log_inputs(run_id or _run_id(), inputs)


def log_batch(metrics: Sequence[Metric] = (), params: Sequence[Param] = (), tags: Sequence[RunTag] = ()) -> None:
    """Log many things at once to the active run."""
    _client().log_batch(_run_id(), metrics, params, tags)


def flush() -> None:
    """Commit what waits in memory; returns when it is in the lake."""
    _client().flush()


# -- artifacts -----------------------------------------------------------------------------------------------------------


def log_artifact(local_path: str | Path, artifact_path: str | None = None, run_id: str | None = None) -> None:
    """Copy a local file to the run's artifacts."""
    _client().log_artifact(run_id or _run_id(), local_path, artifact_path)


def log_artifacts(local_dir: str | Path, artifact_path: str | None = None, run_id: str | None = None) -> None:
    """Copy what a local directory holds to the run's artifacts."""
    _client().log_artifacts(run_id or _run_id(), local_dir, artifact_path)


def log_text(text: str, artifact_file: str, run_id: str | None = None) -> None:
    """Write a text file to the run's artifacts."""
    _client().log_text(run_id or _run_id(), text, artifact_file)


def log_dict(dictionary: Any, artifact_file: str, run_id: str | None = None) -> None:
    """Write a dict or list as JSON, or as YAML where the file's name ends so."""
    _client().log_dict(run_id or _run_id(), dictionary, artifact_file)


def log_figure(figure: Any, artifact_file: str, *, save_kwargs: Mapping[str, Any] | None = None) -> None:
    """Write a matplotlib or Plotly figure."""
    _client().log_figure(_run_id(), figure, artifact_file, save_kwargs=save_kwargs)


def log_image(
    image: Any,
    artifact_file: str | None = None,
    key: str | None = None,
    step: int | None = None,
    timestamp: int | None = None,
    synchronous: bool | None = None,
) -> None:
    """Write a PIL image or an array: to a file of that name, or as one of the images of ``key`` at a ``step``."""
    _client().log_image(_run_id(), image, artifact_file, key, step, timestamp)


def log_stream(stream: Any, artifact_file: str, run_id: str | None = None) -> None:
    """Write what a binary file object gives, without holding it in memory."""
    _client().log_stream(run_id or _run_id(), stream, artifact_file)


def load_table(
    artifact_file: str, run_ids: Sequence[str] | None = None, extra_columns: Sequence[str] | None = None
) -> Any:
    """The tables of that name of the current experiment's runs, one below the other, as a pandas frame."""
    return _client().load_table(_experiment_id(), artifact_file, run_ids, extra_columns)


def log_table(data: Any, artifact_file: str, run_id: str | None = None) -> None:
    """Write a frame or a dict of columns as ``.json`` or ``.parquet``."""
    _client().log_table(run_id or _run_id(), data, artifact_file)


def get_artifact_uri(artifact_path: str | None = None) -> str:
    """Where the active run's artifacts, or one of them, lie."""
    base = _client().artifact_uri(_run_id())
    return uris.join(base, uris.check_relative(artifact_path)) if artifact_path else base


# -- inside --------------------------------------------------------------------------------------------------------------


def _client() -> LifecycleClient:
    return LifecycleClient()


def _run_id() -> str:
    return current.active_run_id() or start_run().info.run_id


def _experiment_id() -> str:
    chosen = current.experiment_id()
    return chosen if chosen is not None else set_experiment(Settings.load().experiment_name).experiment_id


def _named(name: str) -> Experiment:
    client = _client()
    found = client.get_experiment_by_name(name)
    if found is not None:
        return found
    # somebody may make it in the meantime, which is what was wanted
    with contextlib.suppress(AlreadyExists):
        client.create_experiment(name)
    return client.experiment_named(name)


def _read(run_id: str) -> ActiveRun:
    run = _client().get_run(run_id)
    return ActiveRun(run.info, run.data, run.inputs)


def _resumed(
    client: LifecycleClient, run_id: str, run_name: str | None, parent: str | None, tags: Mapping[str, Any]
) -> Run:
    before = client.get_run(run_id)
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
        _client().set_terminated(run_id, status)
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


def _context() -> dict[str, str]:
    import getpass

    source = sys.argv[0] if sys.argv and sys.argv[0] else sys.executable
    notebook = "ipykernel" in sys.modules
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    tags = {
        "mlflow.user": Settings.load().user or user,
        "mlflow.source.name": source,
        "mlflow.source.type": "NOTEBOOK" if notebook else "LOCAL",
    }
    commit = _git_commit(Path.cwd() if notebook else Path(source).absolute().parent)
    return {**tags, "mlflow.source.git.commit": commit} if commit else tags


def _git_commit(directory: Path) -> str | None:
    # read from the files: asking git itself would take longer than starting the run
    for place in (directory, *directory.parents):
        git = place / ".git"
        if not git.is_dir():
            continue
        try:
            head = (git / "HEAD").read_text().strip()
            if not head.startswith("ref: "):
                return head
            loose = git / head[5:]
            if loose.is_file():
                return loose.read_text().strip()
            packed = (line.split(" ", 1) for line in (git / "packed-refs").read_text().splitlines() if " " in line)
            return next((commit for commit, name in packed if name == head[5:]), None)
        except OSError:
            return None
    return None


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
