"""``LifecycleClient``: MLflow's client, by MLflow's names, over a lake."""

import re
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from sparkml_lifecycle import current, uris
from sparkml_lifecycle.client.artifacts import Artifacts
from sparkml_lifecycle.client.models import RegisteredModels
from sparkml_lifecycle.client.resolve import resolve
from sparkml_lifecycle.entities import (
    DatasetInput,
    Experiment,
    FileInfo,
    LifecycleStage,
    Metric,
    MetricSummary,
    PagedList,
    Param,
    Run,
    RunInfo,
    RunStatus,
    RunTag,
    ViewType,
)
from sparkml_lifecycle.errors import AlreadyExists, InvalidInput, NotFound
from sparkml_lifecycle.lake import Lake
from sparkml_lifecycle.storage import Storage
from sparkml_lifecycle.tracking import names
from sparkml_lifecycle.tracking.finding import Query
from sparkml_lifecycle.tracking.only import Only
from sparkml_lifecycle.tracking.store import TrackingStore, open_store

_SHORTEST_PART, _CANDIDATES = 4, 5
_PART_OF_RUN_ID = re.compile(f"[0-9a-f]{{{_SHORTEST_PART},31}}")


class LifecycleClient(RegisteredModels):
    """Experiments, runs, artifacts and registered models of a lake. Names, arguments and meanings are those of ``MlflowClient``.

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
        place = uris.lake(tracking_uri or current.tracking_uri())
        if registry_uri is not None and uris.lake(registry_uri) != place:
            raise InvalidInput(
                f"The registry lies in the same lake as the runs, {place!r}; found registry_uri={str(registry_uri)!r}."
            )
        self._uri = place
        if storage_options is None and place == uris.normalise(current.tracking_uri()):
            storage_options = current.storage_options()
        self._store: TrackingStore = open_store(place, storage_options)

    def __repr__(self) -> str:
        return f"LifecycleClient({self._uri!r})"

    def __reduce__(self) -> tuple[type["LifecycleClient"], tuple[str]]:
        # the options of the storage stay here: where it is read, the environment has them
        return LifecycleClient, (self._uri,)

    @property
    def tracking_uri(self) -> str:
        """The lake's normal URI."""
        return self._uri

    @property
    def store(self) -> TrackingStore:
        """The store behind the client; ``client.store.lake`` gives its tables."""
        return self._store

    @property
    def lake(self) -> Lake:
        """The lake's tables: ``client.lake.table("metrics").to_pandas()``, ``.to_arrow()`` or ``.to_spark(spark)``."""
        self._store.flush()
        return self._store.lake

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
        return self._store.experiments.create(name, artifact_location, names.pairs("tags", tags))

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
            ViewType.of(view_type), filter_string, order_by or (), max_results, page_token
        )

    def all_experiments(
        self, view_type: int = ViewType.ACTIVE_ONLY, filter_string: str | None = None
    ) -> list[Experiment]:
        """As :meth:`search_experiments`, all pages."""
        found: list[Experiment] = []
        token: str | None = None
        while True:
            page = self.search_experiments(view_type, filter_string=filter_string, page_token=token)
            found += page
            token = page.token
            if token is None:
                return found

    def delete_experiment(self, experiment_id: str) -> None:
        """Hide an experiment; its runs stay and :meth:`restore_experiment` brings it back."""
        self._store.experiments.change(str(experiment_id), stage=LifecycleStage.DELETED)

    def restore_experiment(self, experiment_id: str) -> None:
        """Bring a deleted experiment back."""
        self._store.experiments.change(str(experiment_id), stage=LifecycleStage.ACTIVE)

    def rename_experiment(self, experiment_id: str, new_name: str) -> None:
        """Give an experiment another name."""
        names.check_experiment_name(new_name)
        self._store.experiments.change(str(experiment_id), name=new_name)

    def set_experiment_tag(self, experiment_id: str, key: str, value: Any) -> None:
        """Set a tag of an experiment."""
        self._store.experiments.set_tag(str(experiment_id), key, value)

    def delete_experiment_tag(self, experiment_id: str, key: str) -> None:
        """Remove a tag of an experiment; :class:`NotFound` if it has none with that key."""
        self._store.experiments.delete_tag(str(experiment_id), key)

    # -- runs ------------------------------------------------------------------------------------------------------------

    def create_run(
        self,
        experiment_id: str,
        start_time: int | None = None,
        tags: Mapping[str, Any] | None = None,
        run_name: str | None = None,
    ) -> Run:
        """Begin a run; ``start_time`` in milliseconds since 1970."""
        return self._store.create_run(str(experiment_id), run_name, dict(names.pairs("tags", tags)), start_time)

    def get_run(self, run_id: str, as_of: datetime | None = None) -> Run:
        """A run with its last metrics, parameters and tags, with ``as_of`` as it was then; :class:`NotFound` if there is none."""
        return self._store.get_run(run_id, as_of)

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
        as_of: datetime | None = None,
    ) -> PagedList[Run]:
        """A page of runs, such as ``filter_string="metrics.auc > 0.9 and (params.depth = '6' or tags.team = 'crm')"``.

        Parameters
        ----------
        experiment_ids : sequence of str
        filter_string : str
            MLflow's language with OR and parentheses: ``metrics.``, ``params.``, ``tags.``, ``datasets.`` and attributes.
            ``metrics.loss.min`` and ``.max`` are a metric's smallest and largest value; ``metrics.loss = nan`` finds NaN.
        run_view_type : ViewType
        max_results : int
            At most 50,000.
        order_by : sequence of str, optional
            Such as ``["metrics.loss.min asc"]``; the latest first where it does not decide. Missing values come last.
        page_token : str, optional
            The ``.token`` of the page before. What others write in between neither repeats nor hides a run.
        as_of : datetime, optional
            Answer as it was at that time.

        Raises
        ------
        FilterError
            If the filter cannot be read; the message marks the place.
        """
        ids, view = _experiment_ids(experiment_ids), ViewType.of(run_view_type)
        return self._store.search_runs(Query(ids, filter_string, view, max_results, order_by or (), page_token, as_of))

    def search_table(
        self,
        experiment_ids: Sequence[str],
        filter_string: str = "",
        run_view_type: int = ViewType.ACTIVE_ONLY,
        max_results: int = 100_000,
        order_by: Sequence[str] | None = None,
        only: Sequence[str] | None = None,
        as_of: datetime | None = None,
    ) -> Any:
        """Runs as one wide Arrow table: infos, then ``metrics.…``, ``params.…`` and ``tags.…``; null where a run has no such value.

        Parameters
        ----------
        only : sequence of str, optional
            Which of the logged values to give, such as ``["metrics.auc", "metrics.loss.min", "params"]``; the rest is not read.

        Returns
        -------
        pyarrow.Table
        """
        import pyarrow as pa

        pages = self.search_table_pages(
            experiment_ids, filter_string, run_view_type, max_results, order_by, only, as_of
        )
        return pa.concat_tables(pages, promote_options="default")

    def search_table_pages(
        self,
        experiment_ids: Sequence[str],
        filter_string: str = "",
        run_view_type: int = ViewType.ACTIVE_ONLY,
        max_results: int = 100_000,
        order_by: Sequence[str] | None = None,
        only: Sequence[str] | None = None,
        as_of: datetime | None = None,
    ) -> Iterator[Any]:
        """As :meth:`search_table`, in tables of up to 50,000 runs, for more than memory holds; each has its own runs' columns.

        Yields
        ------
        pyarrow.Table
        """
        ids, view, columns = _experiment_ids(experiment_ids), ViewType.of(run_view_type), Only.of(only)
        query = Query(ids, filter_string, view, max_results, order_by or (), as_of=as_of)
        return self._store.table_pages(query, columns)

    def complete_run_id(self, part: str) -> str:
        """The run id that begins or ends with ``part``; deleted runs count, and a whole id is given back as it is.

        Ids begin with the time, so those of one minute begin alike: their ends tell them apart.

        Parameters
        ----------
        part : str
            At least four hex digits.

        Raises
        ------
        NotFound
            If there is none.
        InvalidInput
            If there are several, which the message names, or ``part`` cannot be one of an id.
        """
        text = part.strip().lower()
        if uris.RUN_ID.fullmatch(text):
            return text
        if not _PART_OF_RUN_ID.fullmatch(text):
            raise InvalidInput(
                f"{part!r} is no run id: that has 32 hex digits, and at least {_SHORTEST_PART} from its beginning or end are "
                f"needed. To find a run by its name: search for run_name = '{part}'."
            )
        ids = [one.experiment_id for one in self.all_experiments(ViewType.ALL)]
        fitting = f"run_id LIKE '{text}%' OR run_id LIKE '%{text}'"
        found = self.search_runs(ids, fitting, ViewType.ALL, max_results=_CANDIDATES)
        if not found:
            raise NotFound(f"There is no run whose id begins or ends with {part!r} in the lake {self._uri!r}.")
        if len(found) > 1:
            named = ", ".join(f"{run.info.run_id} ({run.info.run_name})" for run in found)
            more = " and others" if found.token else ""
            raise InvalidInput(f"{part!r} fits several runs: {named}{more}. Give more digits, or those at the end.")
        return found[0].info.run_id

    def get_metric_summaries(self, run_id: str, as_of: datetime | None = None) -> list[MetricSummary]:
        """The last, smallest and largest value of each metric of a run, by key."""
        return self._store.metric_summaries(run_id, as_of)

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
        """Log many things at once, all or none of them: up to 1,000 metrics, 100 params and 100 tags, as in MLflow."""
        metrics = names.check_all("metrics", metrics, Metric, "key", "value", "timestamp", "step")
        params = names.check_all("params", params, Param, "key", "value")
        tags = names.check_all("tags", tags, RunTag, "key", "value")
        limits = (
            (metrics, names.MAX_METRICS, "metrics"),
            (params, names.MAX_PARAMS, "params"),
            (tags, names.MAX_TAGS, "tags"),
        )
        for found, limit, what in limits:
            if len(found) > limit:
                raise InvalidInput(f"A batch holds at most {limit} {what}, found {len(found)}. Split it.")
        self._store.log_batch(
            run_id, metrics, [(p.key, p.value) for p in params], [(t.key, t.value) for t in tags], synchronous
        )

    def set_tag(self, run_id: str, key: str, value: Any, synchronous: bool | None = None) -> None:
        """Set a tag of a run."""
        self._store.set_tags(run_id, [(key, value)], synchronous)

    def delete_tag(self, run_id: str, key: str) -> None:
        """Remove a tag of a run; :class:`NotFound` if it has none with that key."""
        self._store.delete_tag(run_id, key)

    def get_metric_history(
        self, run_id: str, key: str, max_results: int | None = None, page_token: str | None = None
    ) -> PagedList[Metric]:
        """The points of a metric in order of step and time: all of them, or with ``max_results`` a page with its ``.token``."""
        return self._store.metric_history(run_id, key, max_results, page_token)

    def log_inputs(self, run_id: str, datasets: Sequence[DatasetInput] | None = None) -> None:
        """Log the data sets that a run read; :mod:`sparkml_lifecycle.data` makes them."""
        self._store.log_inputs(run_id, datasets or ())

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
        self._to_write(run_id).put(local_path, artifact_path)

    def log_artifacts(self, run_id: str, local_dir: str | Path, artifact_path: str | None = None) -> None:
        """Copy what a local directory holds to the run's artifacts; links are followed.

        Raises
        ------
        InvalidInput
            If it holds what nobody can copy, such as a link to nothing or a pipe; then nothing is copied.
        """
        self._to_write(run_id).put_content(local_dir, artifact_path)

    def log_text(self, run_id: str, text: str, artifact_file: str) -> None:
        """Write a text file."""
        self._to_write(run_id).put_text(text, artifact_file)

    def log_dict(self, run_id: str, dictionary: Any, artifact_file: str) -> None:
        """Write a dict or list as JSON, or as YAML where the file's name ends so."""
        self._to_write(run_id).put_dict(dictionary, artifact_file)

    def log_figure(
        self, run_id: str, figure: Any, artifact_file: str, *, save_kwargs: Mapping[str, Any] | None = None
    ) -> None:
        """Write a matplotlib or Plotly figure."""
        self._to_write(run_id).put_figure(figure, artifact_file, **(save_kwargs or {}))

    def log_image(
        self,
        run_id: str,
        image: Any,
        artifact_file: str | None = None,
        key: str | None = None,
        step: int | None = None,
        timestamp: int | None = None,
        synchronous: bool | None = None,
    ) -> None:
        """Write a PIL image or an array: to a file of that name, or as one of the images of ``key`` at a ``step``."""
        if (artifact_file is None) == (key is None):
            raise InvalidInput("Give either artifact_file or key (with step).")
        self._to_write(run_id).put_image(image, artifact_file or _image_file(str(key), step, timestamp))

    def log_stream(self, run_id: str, stream: Any, artifact_file: str) -> None:
        """Write what a binary file object gives, without holding it in memory."""
        self._to_write(run_id).put_stream(stream, artifact_file)

    def log_table(self, run_id: str, data: Any, artifact_file: str) -> None:
        """Write a frame or a dict of columns as ``.json`` or ``.parquet``; a table of that name goes on, as in MLflow.

        A column that the rows before or the new ones lack is null there. Of two processes that do so at once, one's rows are
        lost. JSON has numbers and texts only, so a time comes back as ISO 8601 and NaN as null; Parquet keeps all types.

        Raises
        ------
        FormatError
            If a file of that name holds no table.
        InvalidInput
            If it is no table, the name ends otherwise, or a Parquet column has another type than before.
        """
        self._to_write(run_id).put_table(data, artifact_file)

    def load_table(
        self,
        experiment_id: str,
        artifact_file: str,
        run_ids: Sequence[str] | None = None,
        extra_columns: Sequence[str] | None = None,
    ) -> Any:
        """The tables of that name of an experiment's runs, one below the other.

        Parameters
        ----------
        extra_columns : sequence of str, optional
            Attributes of the run to add as columns, such as ``run_id``.

        Returns
        -------
        pandas.DataFrame
        """
        import pandas as pd

        for name in names.several(extra_columns):
            if name not in RunInfo.__dataclass_fields__:
                allowed = ", ".join(RunInfo.__dataclass_fields__)
                raise InvalidInput(f"A run has no attribute {name!r} to add as a column. Allowed: {allowed}.")
        runs = (
            self.search_runs([experiment_id])
            if run_ids is None
            else [self.get_run(one) for one in names.several(run_ids)]
        )
        frames = []
        for run in runs:
            frame = Artifacts(self.storage(run.info.artifact_uri)).table(artifact_file)
            if frame is not None:
                frames.append(frame.assign(**{name: getattr(run.info, name) for name in names.several(extra_columns)}))
        if not frames:
            raise NotFound(f"No run of the experiment {experiment_id} has the table {artifact_file!r}.")
        return pd.concat(frames, ignore_index=True)

    def list_artifacts(self, run_id: str, path: str | None = None) -> list[FileInfo]:
        """What lies directly below ``path`` in the run's artifacts."""
        return self._artifacts(run_id).list(path)

    def download_artifacts(self, run_id: str, path: str = "", dst_path: str | Path | None = None) -> str:
        """The local path of an artifact; copied where it is not on this machine or ``dst_path`` is given."""
        return str(self._artifacts(run_id).download(path, dst_path))

    def storage(self, uri: str | Path) -> Storage:
        """The storage at a URI, reached with this lake's options where they fit."""
        return self._store.lake.storage.at(uri)

    def resolve(self, uri: str | Path, destination: str | Path | None = None, as_of: datetime | None = None) -> Path:
        """The local path of anything a URI names; see :func:`sparkml_lifecycle.client.resolve`."""
        return resolve(uri, self, destination, as_of)

    def experiment_named(self, name: str) -> Experiment:
        """An experiment by its name.

        Raises
        ------
        NotFound
            If there is none; the message has the nearest name.
        """
        return self._store.experiments.get(self.experiment_id_of(name))

    def experiment_made(self, name: str) -> Experiment:
        """An experiment by its name, made where it is not there; who makes it at the same time gets the same one."""
        found = self.get_experiment_by_name(name)
        if found is not None:
            return found
        # somebody may make it in the meantime, which is what was wanted
        with suppress(AlreadyExists):
            self.create_experiment(name)
        return self.experiment_named(name)

    def experiment_id_of(self, name: str) -> str:
        """The id of an experiment by its name; :class:`NotFound` as in :meth:`experiment_named`."""
        found = self._store.experiments.id_of(name)
        if found is None:
            raise NotFound(
                f"There is no experiment {name!r} in the lake {self._uri!r}.{self._store.experiments.nearest(name)}"
            )
        return found

    def _to_write(self, run_id: str) -> Artifacts:
        self._store.require_active(run_id)
        return self._artifacts(run_id)

    def _artifacts(self, run_id: str) -> Artifacts:
        return Artifacts(self.storage(self._store.artifact_uri(run_id)))


def _experiment_ids(given: Any) -> list[str]:
    if given is None:
        raise InvalidInput("experiment_ids must be a list of ids, such as ['1', '2'], found None.")
    return names.several(given, "experiment_ids")


def _image_file(key: str, step: int | None, timestamp: int | None) -> str:
    # MLflow's UI finds the images of a key by this name
    at = names.check_whole("timestamp", timestamp if timestamp is not None else time.time() * 1000, cut=True)
    safe = names.check_key("image", key).replace("/", "#")
    return f"images/{safe}%step%{names.check_whole('step', step or 0)}%timestamp%{at}%{uuid.uuid4()}.png"
