"""``LifecycleClient``: experiments, runs and artifacts of one lake."""

import base64
import functools
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from sparkml_lifecycle import current, uris
from sparkml_lifecycle.entities import (
    Experiment, FileInfo, LifecycleStage, Metric, PagedList, Param, Run, RunStatus, RunTag, ViewType,
)  # fmt: skip
from sparkml_lifecycle.errors import AlreadyExists, InvalidInput, NotFound, did_you_mean
from sparkml_lifecycle.lake import LakeTable
from sparkml_lifecycle.storage import Storage, open_storage
from sparkml_lifecycle.tracking import limits
from sparkml_lifecycle.tracking.store import TrackingStore, now


@functools.lru_cache(maxsize=8)
def _store(uri: str) -> TrackingStore:
    """One store for each lake of a process, so that every reader sees what any client of the process has logged."""
    return TrackingStore(uri)


class LifecycleClient:
    """The tracking calls of MLflow's client over a lake.

    Parameters
    ----------
    tracking_uri : str, optional
        The lake; the current one (``set_tracking_uri``, ``SPARKML_TRACKING_URI``, ``./mllake``) where it is not given.
    registry_uri : str, optional
        Taken for MLflow's sake; a lake holds both.
    """

    def __init__(self, tracking_uri: str | None = None, registry_uri: str | None = None) -> None:
        uri = uris.normalise(tracking_uri) if tracking_uri else current.tracking_uri()
        if uri.startswith(("http://", "https://")):
            raise InvalidInput(f"{uri!r} is a server; this version reads lakes: a path or storage URI.")
        self._store = _store(uri)

    def __repr__(self) -> str:
        return f"LifecycleClient({self.tracking_uri!r})"

    @property
    def tracking_uri(self) -> str:
        """The lake."""
        return self._store.lake.uri

    def table(self, name: str) -> LakeTable:
        """A table of the lake: ``client.table("metrics").to_pandas()``."""
        self.flush()
        return self._store.lake.table(name)

    def flush(self) -> None:
        """Commit everything that was logged.

        Raises
        ------
        StorageError
            If the storage refuses; the values are kept and tried again.
        """
        self._store.buffer.flush()

    # -- experiments

    def create_experiment(self, name: str, artifact_location: str | None = None, tags: Mapping[str, str] | None = None) -> str:
        """A new experiment; gives its id. Raises :class:`AlreadyExists` if the name is taken."""
        return self._store.create_experiment(name, artifact_location, dict(tags or {}))

    def get_experiment(self, experiment_id: str) -> Experiment:
        """One experiment by id. Raises :class:`NotFound`."""
        return self._store.experiment(experiment_id)

    def get_experiment_by_name(self, name: str) -> Experiment | None:
        """One experiment by name, or None."""
        return self._store.experiment_by_name(name)

    def get_or_create_experiment(self, name: str) -> Experiment:
        """The experiment of that name; of two processes that create it at once, both get the same one."""
        for _ in range(3):
            found = self.get_experiment_by_name(name)
            if found is not None:
                return found
            try:
                return self.get_experiment(self.create_experiment(name))
            except AlreadyExists:
                continue
        raise NotFound(f"The experiment {name!r} is created and renamed by others at this moment. Try again.")

    def search_experiments(self, view_type: int = ViewType.ACTIVE_ONLY, max_results: int = 1000) -> PagedList:
        """Experiments, newest first."""
        wanted = {ViewType.ACTIVE_ONLY: (LifecycleStage.ACTIVE,), ViewType.DELETED_ONLY: (LifecycleStage.DELETED,)}
        stages = wanted.get(view_type, (LifecycleStage.ACTIVE, LifecycleStage.DELETED))
        found = [e for e in self._store.experiments() if e.lifecycle_stage in stages]
        return PagedList(sorted(found, key=lambda e: -(e.creation_time or 0))[:max_results])

    def rename_experiment(self, experiment_id: str, new_name: str) -> None:
        """Another name for an experiment."""
        self._store.change_experiment(experiment_id, name=new_name)

    def delete_experiment(self, experiment_id: str) -> None:
        """Mark an experiment as deleted; nothing is removed."""
        self._store.change_experiment(experiment_id, lifecycle_stage=LifecycleStage.DELETED)

    def restore_experiment(self, experiment_id: str) -> None:
        """Take a deletion back."""
        self._store.change_experiment(experiment_id, lifecycle_stage=LifecycleStage.ACTIVE)

    def set_experiment_tag(self, experiment_id: str, key: str, value: Any) -> None:
        """Set a tag of an experiment."""
        self._store.set_experiment_tag(experiment_id, key, value)

    # -- runs

    def create_run(self, experiment_id: str, start_time: int | None = None, tags: Mapping[str, str] | None = None, run_name: str | None = None) -> Run:
        """A new run, in state RUNNING."""
        return self._store.create_run(experiment_id, run_name, None, start_time, {k: str(v) for k, v in (tags or {}).items()})

    def get_run(self, run_id: str) -> Run:
        """A run with its latest metrics, params and tags. Raises :class:`NotFound`."""
        return self._store.run(run_id)

    def get_parent_run(self, run_id: str) -> Run | None:
        """The run that a nested run belongs to, or None."""
        parent = self.get_run(run_id).data.tags.get("mlflow.parentRunId")
        return None if parent is None else self.get_run(parent)

    def update_run(self, run_id: str, status: str | None = None, name: str | None = None) -> None:
        """Another status or name."""
        changes = {key: value for key, value in (("status", status), ("run_name", name)) if value is not None}
        self._store.change_run(run_id, **changes)

    def set_terminated(self, run_id: str, status: str | None = None, end_time: int | None = None) -> None:
        """End a run; everything logged before is committed when the call returns."""
        self._store.change_run(run_id, status=status or RunStatus.FINISHED, end_time=now() if end_time is None else end_time)
        self.flush()

    def delete_run(self, run_id: str) -> None:
        """Mark a run as deleted; nothing is removed."""
        self._store.change_run(run_id, lifecycle_stage=LifecycleStage.DELETED)

    def restore_run(self, run_id: str) -> None:
        """Take a deletion back."""
        self._store.change_run(run_id, lifecycle_stage=LifecycleStage.ACTIVE)

    def log_metric(self, run_id: str, key: str, value: float, timestamp: int | None = None, step: int | None = None, synchronous: bool | None = None) -> None:
        """One point of a metric; costs microseconds and is committed within a second, or at once if ``synchronous``."""
        point = Metric(
            limits.check_key(key, "metric"), limits.check_number(value, key), now() if timestamp is None else limits.check_integer(timestamp, "timestamp"),
            0 if step is None else limits.check_integer(step, "step"),
        )  # fmt: skip
        self._store.log_metric(run_id, point)
        if synchronous:
            self.flush()

    def log_param(self, run_id: str, key: str, value: Any, synchronous: bool | None = None) -> Any:
        """One parameter; a second different value is an error."""
        self._store.log_param(run_id, key, value)
        if synchronous:
            self.flush()
        return value

    def set_tag(self, run_id: str, key: str, value: Any, synchronous: bool | None = None) -> None:
        """Set a tag of a run."""
        self._store.set_tag(run_id, key, value)
        if synchronous:
            self.flush()

    def delete_tag(self, run_id: str, key: str) -> None:
        """Remove a tag of a run. Raises :class:`NotFound`."""
        self._store.delete_tag(run_id, key)

    def log_batch(
        self, run_id: str, metrics: Sequence[Metric] = (), params: Sequence[Param] = (), tags: Sequence[RunTag] = (), synchronous: bool | None = None
    ) -> None:
        """Metrics, params and tags together; all are checked before the first is taken."""
        points = [
            Metric(
                limits.check_key(m.key, "metric"), limits.check_number(m.value, m.key), limits.check_integer(m.timestamp, "timestamp"),
                limits.check_integer(m.step, "step"), m.model_id, m.dataset_name, m.dataset_digest,
            ) for m in metrics
        ]  # fmt: skip
        for param in params:
            limits.check_key(param.key, "param")
        for tag in tags:
            limits.check_key(tag.key, "tag")
            limits.check_text(tag.value, limits.TAG_LENGTH, "tag value")
        for param in params:
            self._store.log_param(run_id, param.key, param.value)
        for tag in tags:
            self._store.set_tag(run_id, tag.key, tag.value)
        for point in points:
            self._store.log_metric(run_id, point)
        if synchronous:
            self.flush()

    def get_metric_history(self, run_id: str, key: str) -> PagedList:
        """Every point of a metric, by step and time."""
        return PagedList(self._store.metric_history(run_id, key))

    def search_runs(
        self, experiment_ids: Sequence[str], filter_string: str = "", run_view_type: int = ViewType.ACTIVE_ONLY,
        max_results: int = 1000, order_by: Sequence[str] | None = None, page_token: str | None = None,
    ) -> PagedList:  # fmt: skip
        """Runs that a filter matches.

        Parameters
        ----------
        experiment_ids : sequence of str
        filter_string : str
            Comparisons joined by AND: ``metrics.auc > 0.9 AND params.depth = '6' AND tags.team LIKE 'c%'``.
        order_by : sequence of str, optional
            ``"metrics.auc DESC"``; newest first where it is not given. Runs without the value come last.
        max_results : int
            At most 50,000.
        page_token : str, optional
            The ``token`` of the page before.

        Raises
        ------
        FilterError
            Marking the place in the text.
        """
        if not 1 <= max_results <= 50_000:
            raise InvalidInput(f"max_results must lie between 1 and 50000, found {max_results}.")
        offset = _offset(page_token)
        found = self._store.search([str(i) for i in experiment_ids], filter_string, run_view_type, order_by, max_results + 1, offset)
        token = base64.urlsafe_b64encode(str(offset + max_results).encode()).decode() if len(found) > max_results else None
        return PagedList(self._store.runs(found[:max_results]), token)

    # -- artifacts

    def _artifacts(self, run_id: str) -> Storage:
        return open_storage(self._store._info(self._store._row(run_id)).artifact_uri)

    def log_artifact(self, run_id: str, local_path: str | Path, artifact_path: str | None = None) -> None:
        """Copy a file or directory of this machine into the run's artifacts, below ``artifact_path``."""
        source = Path(local_path)
        target = uris.join(uris.check_relative(artifact_path), source.name) if artifact_path else source.name
        self._artifacts(run_id).upload(source, target)

    def log_artifacts(self, run_id: str, local_dir: str | Path, artifact_path: str | None = None) -> None:
        """Copy the content of a directory into the run's artifacts, at ``artifact_path``."""
        if not Path(local_dir).is_dir():
            raise NotFound(f"There is no directory {str(local_dir)!r}.")
        self._artifacts(run_id).upload(Path(local_dir), uris.check_relative(artifact_path) if artifact_path else "")

    def log_text(self, run_id: str, text: str, artifact_file: str) -> None:
        """Write a text as an artifact."""
        self._artifacts(run_id).write_bytes(uris.check_relative(artifact_file), text.encode())

    def log_dict(self, run_id: str, dictionary: Any, artifact_file: str) -> None:
        """Write a dictionary as JSON, or as YAML if the file's name says so."""
        if artifact_file.endswith((".yml", ".yaml")):
            import yaml

            text = yaml.safe_dump(dictionary, sort_keys=False)
        else:
            text = json.dumps(dictionary, indent=2, default=str)
        self.log_text(run_id, text, artifact_file)

    def log_figure(self, run_id: str, figure: Any, artifact_file: str) -> None:
        """Write a matplotlib or plotly figure; the file's ending chooses the format."""
        name = uris.check_relative(artifact_file)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / Path(name).name
            if hasattr(figure, "savefig"):
                figure.savefig(path, bbox_inches="tight")
            elif hasattr(figure, "write_html"):
                figure.write_html(path) if path.suffix == ".html" else figure.write_image(path)
            else:
                raise InvalidInput(f"{type(figure).__name__} is no figure: give one of matplotlib or plotly.")
            self._artifacts(run_id).upload(path, name)

    def list_artifacts(self, run_id: str, path: str | None = None) -> list[FileInfo]:
        """What lies in the run's artifacts, or in a directory of them."""
        entries = self._artifacts(run_id).list(uris.check_relative(path) if path else "")
        return [FileInfo(entry.path, entry.is_dir, entry.size) for entry in entries]

    def download_artifacts(self, run_id: str, path: str, dst_path: str | Path | None = None) -> str:
        """Copy an artifact to a directory of this machine; gives its path there. Raises :class:`NotFound`."""
        storage = self._artifacts(run_id)
        clean = uris.check_relative(path)
        if not storage.exists(clean):
            known = [entry.path for entry in storage.list()]
            raise NotFound(f"The run {run_id} has no artifact {path!r}.{did_you_mean(path, known)}")
        target = Path(dst_path or tempfile.mkdtemp(prefix="sparkml-")) / Path(clean).name
        return str(storage.download(clean, target))


def _offset(token: str | None) -> int:
    if not token:
        return 0
    try:
        return int(base64.urlsafe_b64decode(token.encode()).decode())
    except (ValueError, UnicodeError) as error:
        raise InvalidInput(f"{token!r} is not a page token of this search.") from error
