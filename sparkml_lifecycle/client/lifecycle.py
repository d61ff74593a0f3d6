"""``LifecycleClient``: MLflow's client, by MLflow's names, over a lake."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sparkml_lifecycle import current, uris
from sparkml_lifecycle.client.artifacts import Artifacts
from sparkml_lifecycle.client.resolve import resolve
from sparkml_lifecycle.entities import (
    Experiment,
    FileInfo,
    LifecycleStage,
    Metric,
    PagedList,
    Param,
    Run,
    RunStatus,
    RunTag,
    ViewType,
)
from sparkml_lifecycle.errors import InvalidInput, NotFound
from sparkml_lifecycle.storage import Storage
from sparkml_lifecycle.tracking import names
from sparkml_lifecycle.tracking.store import TrackingStore, open_store


class LifecycleClient:
    """Experiments, runs and artifacts of a lake. Names, arguments and meanings are those of ``MlflowClient``.

    Clients of one lake in one process share what waits in memory, so one reads what the other logged.

    Parameters
    ----------
    tracking_uri : str, optional
        A path or storage URI; the current lake where it is not given (``set_tracking_uri``, ``SPARKML_TRACKING_URI``,
        ``./mllake``).
    registry_uri : str, optional
        The same lake as ``tracking_uri``; MLflow's argument is taken and must agree.
    storage_options : mapping, optional
        How to reach the storage: see :func:`sparkml_lifecycle.storage.open_storage`. They stay in memory. Without them those of
        ``set_tracking_uri`` count where it is the same lake, and the environment.
    """

    def __init__(
        self,
        tracking_uri: str | Path | None = None,
        registry_uri: str | Path | None = None,
        storage_options: Mapping[str, str] | None = None,
    ) -> None:
        place = uris.normalise(tracking_uri or current.tracking_uri())
        if registry_uri is not None and uris.normalise(registry_uri) != place:
            raise InvalidInput(
                f"The registry lies in the same lake as the runs, {place!r}; found registry_uri={str(registry_uri)!r}."
            )
        self._uri = place
        if storage_options is None and place == uris.normalise(current.tracking_uri()):
            storage_options = current.storage_options()
        self._store: TrackingStore = open_store(place, storage_options)

    def __repr__(self) -> str:
        return f"LifecycleClient({self._uri!r})"

    @property
    def tracking_uri(self) -> str:
        """The lake's normal URI."""
        return self._uri

    @property
    def store(self) -> TrackingStore:
        """The store behind the client; ``client.store.lake`` gives its tables."""
        return self._store

    # -- experiments -----------------------------------------------------------------------------------------------------

    def create_experiment(
        self, name: str, artifact_location: str | None = None, tags: Mapping[str, Any] | None = None
    ) -> str:
        """Make an experiment and return its id.

        Raises
        ------
        AlreadyExists
            If there is one with that name, deleted ones included.
        """
        experiment_id = self._store.experiments.create(name, artifact_location)
        for key, value in (tags or {}).items():
            self._store.experiments.set_tag(experiment_id, key, value)
        return experiment_id

    def get_experiment(self, experiment_id: str) -> Experiment:
        """An experiment by its id; :class:`NotFound` if there is none."""
        return self._store.experiments.get(str(experiment_id))

    def get_experiment_by_name(self, name: str) -> Experiment | None:
        """An experiment by its name, deleted ones included; None if there is none."""
        return self._store.experiments.by_name(name)

    def search_experiments(
        self,
        view_type: int = ViewType.ACTIVE_ONLY,
        max_results: int = 1000,
        filter_string: str | None = None,
        order_by: Sequence[str] | None = None,
        page_token: str | None = None,
    ) -> PagedList[Experiment]:
        """A page of experiments, the newest first; ``filter_string`` knows ``name``, ``creation_time`` and ``tags.``."""
        return self._store.experiments.search(
            ViewType(view_type), filter_string, order_by or (), max_results, page_token
        )

    def delete_experiment(self, experiment_id: str) -> None:
        """Hide an experiment; its runs stay and :meth:`restore_experiment` brings it back."""
        self._store.experiments.change(str(experiment_id), stage=LifecycleStage.DELETED)

    def restore_experiment(self, experiment_id: str) -> None:
        """Bring a deleted experiment back."""
        self._store.experiments.change(str(experiment_id), stage=LifecycleStage.ACTIVE)

    def rename_experiment(self, experiment_id: str, new_name: str) -> None:
        """Give an experiment another name."""
        self._store.experiments.change(str(experiment_id), name=new_name)

    def set_experiment_tag(self, experiment_id: str, key: str, value: Any) -> None:
        """Set a tag of an experiment."""
        self._store.experiments.set_tag(str(experiment_id), key, value)

    # -- runs ------------------------------------------------------------------------------------------------------------

    def create_run(
        self,
        experiment_id: str,
        start_time: int | None = None,
        tags: Mapping[str, Any] | None = None,
        run_name: str | None = None,
    ) -> Run:
        """Begin a run; ``start_time`` in milliseconds since 1970."""
        return self._store.create_run(str(experiment_id), run_name, tags, start_time)

    def get_run(self, run_id: str) -> Run:
        """A run with its last metrics, parameters and tags; :class:`NotFound` if there is none."""
        return self._store.get_run(run_id)

    def get_parent_run(self, run_id: str) -> Run | None:
        """The run that this one is nested in, or None."""
        parent = self.get_run(run_id).data.tags.get("mlflow.parentRunId")
        return self.get_run(parent) if parent else None

    def update_run(self, run_id: str, status: str | None = None, name: str | None = None) -> None:
        """Change a run's status or name."""
        self._store.update_run(run_id, status=status, name=name)

    def set_terminated(self, run_id: str, status: str | None = None, end_time: int | None = None) -> None:
        """End a run (``FINISHED`` where nothing else is said); returns when all that it logged is in the lake."""
        self._store.update_run(run_id, status=status or RunStatus.FINISHED.name, end_time=end_time)

    def delete_run(self, run_id: str) -> None:
        """Hide a run; :meth:`restore_run` brings it back."""
        self._store.update_run(run_id, stage=LifecycleStage.DELETED)

    def restore_run(self, run_id: str) -> None:
        """Bring a deleted run back."""
        self._store.update_run(run_id, stage=LifecycleStage.ACTIVE)

    def search_runs(
        self,
        experiment_ids: Sequence[str],
        filter_string: str = "",
        run_view_type: int = ViewType.ACTIVE_ONLY,
        max_results: int = 1000,
        order_by: Sequence[str] | None = None,
        page_token: str | None = None,
    ) -> PagedList[Run]:
        """A page of runs, such as ``filter_string="metrics.auc > 0.9 and params.depth = '6'"``.

        Raises
        ------
        FilterError
            If the filter cannot be read; the message marks the place.
        """
        ids = [str(one) for one in ([experiment_ids] if isinstance(experiment_ids, str) else experiment_ids)]
        return self._store.search_runs(
            ids, filter_string, ViewType(run_view_type), max_results, order_by or (), page_token
        )

    # -- logging ---------------------------------------------------------------------------------------------------------

    def log_metric(
        self,
        run_id: str,
        key: str,
        value: float,
        timestamp: int | None = None,
        step: int | None = None,
        synchronous: bool | None = None,
        dataset_name: str | None = None,
        dataset_digest: str | None = None,
        model_id: str | None = None,
    ) -> None:
        """Log one point of a metric; it waits in memory for a moment unless ``synchronous``."""
        self._store.log_metric(run_id, key, value, timestamp, step, synchronous, model_id, dataset_name, dataset_digest)

    def log_param(self, run_id: str, key: str, value: Any, synchronous: bool | None = None) -> Any:
        """Log a parameter and return its value; a second, different value raises :class:`InvalidInput`."""
        self._store.log_params(run_id, [(key, value)], synchronous)
        return value

    def log_batch(
        self,
        run_id: str,
        metrics: Sequence[Metric] = (),
        params: Sequence[Param] = (),
        tags: Sequence[RunTag] = (),
        synchronous: bool | None = None,
    ) -> None:
        """Log many things at once: up to 1,000 metrics, 100 params and 100 tags, as in MLflow."""
        limits = (
            (metrics, names.MAX_METRICS, "metrics"),
            (params, names.MAX_PARAMS, "params"),
            (tags, names.MAX_TAGS, "tags"),
        )
        for found, limit, what in limits:
            if len(found) > limit:
                raise InvalidInput(f"A batch holds at most {limit} {what}, found {len(found)}. Split it.")
        self._store.log_params(run_id, [(param.key, param.value) for param in params])
        for one in metrics:
            self._store.log_metric(
                run_id,
                one.key,
                one.value,
                one.timestamp,
                one.step,
                None,
                one.model_id,
                one.dataset_name,
                one.dataset_digest,
            )
        self._store.set_tags(run_id, [(tag.key, tag.value) for tag in tags])
        if synchronous:
            self.flush()

    def set_tag(self, run_id: str, key: str, value: Any, synchronous: bool | None = None) -> None:
        """Set a tag of a run."""
        self._store.set_tags(run_id, [(key, value)], synchronous)

    def delete_tag(self, run_id: str, key: str) -> None:
        """Remove a tag of a run; :class:`NotFound` if it has none with that key."""
        self._store.delete_tag(run_id, key)

    def get_metric_history(self, run_id: str, key: str) -> list[Metric]:
        """Every point of a metric, in order of step and time."""
        return self._store.metric_history(run_id, key)

    def flush(self) -> None:
        """Commit what waits in memory; returns when it is in the lake."""
        self._store.flush()

    def close(self) -> None:
        """Flush and end the background thread; the client stays usable."""
        self._store.close()

    # -- artifacts -------------------------------------------------------------------------------------------------------

    def artifact_uri(self, run_id: str) -> str:
        """Where a run's artifacts lie, as an absolute path or URI."""
        return self._store.artifact_uri(run_id)

    def log_artifact(self, run_id: str, local_path: str | Path, artifact_path: str | None = None) -> None:
        """Copy a local file (or a directory, under its name) to the run's artifacts."""
        self._artifacts(run_id).put(local_path, artifact_path)

    def log_artifacts(self, run_id: str, local_dir: str | Path, artifact_path: str | None = None) -> None:
        """Copy what a local directory holds to the run's artifacts."""
        self._artifacts(run_id).put_content(local_dir, artifact_path)

    def log_text(self, run_id: str, text: str, artifact_file: str) -> None:
        """Write a text file."""
        self._artifacts(run_id).put_text(text, artifact_file)

    def log_dict(self, run_id: str, dictionary: Any, artifact_file: str) -> None:
        """Write a dict or list as JSON, or as YAML where the file's name ends so."""
        self._artifacts(run_id).put_dict(dictionary, artifact_file)

    def log_figure(
        self, run_id: str, figure: Any, artifact_file: str, *, save_kwargs: Mapping[str, Any] | None = None
    ) -> None:
        """Write a matplotlib or Plotly figure."""
        self._artifacts(run_id).put_figure(figure, artifact_file, **(save_kwargs or {}))

    def log_image(self, run_id: str, image: Any, artifact_file: str) -> None:
        """Write a PIL image or an array."""
        self._artifacts(run_id).put_image(image, artifact_file)

    def log_table(self, run_id: str, data: Any, artifact_file: str) -> None:
        """Write a frame or a dict of columns as ``.json`` or ``.parquet``."""
        self._artifacts(run_id).put_table(data, artifact_file)

    def list_artifacts(self, run_id: str, path: str | None = None) -> list[FileInfo]:
        """What lies directly below ``path`` in the run's artifacts."""
        return self._artifacts(run_id).list(path)

    def download_artifacts(self, run_id: str, path: str = "", dst_path: str | Path | None = None) -> str:
        """The local path of an artifact; copied where it is not on this machine or ``dst_path`` is given."""
        return str(self._artifacts(run_id).download(path, dst_path))

    def storage(self, uri: str | Path) -> Storage:
        """The storage at a URI, reached with this lake's options where they fit."""
        return self._store.lake.storage.at(uri)

    def resolve(self, uri: str | Path, destination: str | Path | None = None) -> Path:
        """The local path of anything a URI names; see :func:`sparkml_lifecycle.client.resolve`."""
        return resolve(uri, self, destination)

    def experiment_named(self, name: str) -> Experiment:
        """An experiment by its name.

        Raises
        ------
        NotFound
            If there is none; the message has the nearest name.
        """
        found = self.get_experiment_by_name(name)
        if found is None:
            raise NotFound(
                f"There is no experiment {name!r} in the lake {self._uri!r}.{self._store.experiments.nearest(name)}"
            )
        return found

    def _artifacts(self, run_id: str) -> Artifacts:
        return Artifacts(self.storage(self._store.artifact_uri(run_id)))
