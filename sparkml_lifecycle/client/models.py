"""The registry's part of ``LifecycleClient``, by MLflow's names; what MLflow has not is at the end."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from sparkml_lifecycle import uris
from sparkml_lifecycle.client import integrity
from sparkml_lifecycle.client.artifacts import copied, fetch
from sparkml_lifecycle.entities import (
    LifecycleStage,
    ModelChange,
    ModelComment,
    ModelStage,
    ModelVersion,
    PagedList,
    RegisteredModel,
    TransitionRequest,
)
from sparkml_lifecycle.errors import InvalidInput, NotFound
from sparkml_lifecycle.lake import MODEL_FILES, REMOVED, Where
from sparkml_lifecycle.model import manifest
from sparkml_lifecycle.registry import Registry
from sparkml_lifecycle.registry import search as searching
from sparkml_lifecycle.registry.store import Files
from sparkml_lifecycle.tracking import names
from sparkml_lifecycle.tracking.store import TrackingStore
from sparkml_lifecycle.tracking.tables import RunRow


class RegisteredModels:
    """Registered models and their versions. Names, arguments and meanings are those of ``MlflowClient``."""

    _store: TrackingStore

    @cached_property
    def registry(self) -> Registry:
        """The registry behind the client."""
        return Registry(self._store.lake)

    # -- models ----------------------------------------------------------------------------------------------------------

    def create_registered_model(
        self, name: str, tags: Mapping[str, Any] | None = None, description: str | None = None
    ) -> RegisteredModel:
        """Register a model without versions; :class:`AlreadyExists` if there is one of that name."""
        return self.registry.create(name, names.pairs("tags", tags), description)

    def get_registered_model(self, name: str, as_of: datetime | None = None) -> RegisteredModel:
        """A registered model, with ``as_of`` as it was then; :class:`NotFound` if there is none."""
        return self.registry.find(name, as_of).model()

    def rename_registered_model(self, name: str, new_name: str) -> RegisteredModel:
        """Give a model another name; :class:`AlreadyExists` if that is taken."""
        return self.registry.rename(name, new_name)

    def update_registered_model(self, name: str, description: str | None = None) -> RegisteredModel:
        """Change a model's description."""
        self.registry.describe(name, description)
        return self.get_registered_model(name)

    def delete_registered_model(self, name: str, comment: str | None = None) -> None:
        """Take a model with its versions away; its history stays, and the name may be used again.

        Raises
        ------
        InvalidInput
            If versions are in Staging or Production: archive them first.
        """
        self.registry.delete(name, comment)

    def search_registered_models(
        self,
        filter_string: str | None = None,
        max_results: int = 100,
        order_by: Sequence[str] | None = None,
        page_token: str | None = None,
    ) -> PagedList[RegisteredModel]:
        """A page of models by name: ``name ILIKE 'churn%' and tags.team = 'crm'``.

        Parameters
        ----------
        filter_string : str, optional
            ``name``, ``creation_timestamp``, ``last_updated_timestamp`` and ``tags.``.
        """
        return searching.models(self.registry, filter_string, max_results, order_by or (), page_token)

    def set_registered_model_tag(self, name: str, key: str, value: Any) -> None:
        """Set a tag of a model."""
        self.registry.set_tag(name, key, value)

    def delete_registered_model_tag(self, name: str, key: str) -> None:
        """Remove a tag of a model; :class:`NotFound` if it has none with that key."""
        self.registry.delete_tag(name, key)

    # -- versions --------------------------------------------------------------------------------------------------------

    def create_model_version(
        self,
        name: str,
        source: str | Path,
        run_id: str | None = None,
        tags: Mapping[str, Any] | None = None,
        run_link: str | None = None,
        description: str | None = None,
        await_creation_for: int | None = None,
        model_id: str | None = None,
    ) -> ModelVersion:
        """Make the next version of a model; it is there when the call returns.

        Parameters
        ----------
        name : str
        source : str
            ``runs:/<run_id>/<path>``, ``models:/<name>/<version>``, or the place of a model directory, absolute or below the
            working directory. Its files are not copied: the version refers to them with their digest, and ``gc`` leaves them.
        run_id : str, optional
            Of the run that logged it; from ``source``, or from the model itself where that run is in this lake.
        await_creation_for : int, optional
            MLflow's argument; there is nothing to wait for.
        model_id : str, optional
            MLflow's argument; here models have no id of their own, so it must not be given.

        Raises
        ------
        NotFound
            If there is no such model, run or source.
        InvalidInput, FormatError
            If the source is no model, or a path with ``..`` in it.
        """
        if model_id is not None:
            raise InvalidInput(
                "model_id is not known here: name the model by its source, such as runs:/<run_id>/model."
            )
        return self._register(name, source, run_id, tags, run_link, description, new=False)

    def register_model(
        self,
        model_uri: str | Path,
        name: str,
        tags: Mapping[str, Any] | None = None,
        description: str | None = None,
        run_id: str | None = None,
    ) -> ModelVersion:
        """As :meth:`create_model_version`, and make the model of that name in the same step where it is not there."""
        return self._register(name, model_uri, run_id, tags, None, description, new=True)

    def copy_model_version(self, src_model_uri: str, dst_name: str) -> ModelVersion:
        """Make a version of a model, which is made too if need be, that has the files, tags and description of another's."""
        parsed = uris.parse(src_model_uri)
        if not isinstance(parsed, uris.ModelUri):
            raise InvalidInput(
                f"src_model_uri must be models:/<name>/<version> or models:/<name>@<alias>, found {src_model_uri!r}."
            )
        original = self.registry.version_of(parsed)
        return self._register(
            dst_name, src_model_uri, None, original.tags, original.run_link or None, original.description, new=True
        )

    def get_model_version(self, name: str, version: str | int, as_of: datetime | None = None) -> ModelVersion:
        """A version, with ``as_of`` as it was then; :class:`NotFound` if there is none."""
        return self.registry.find(name, as_of).version(version)

    def get_model_version_download_uri(self, name: str, version: str | int) -> str:
        """Where the files of a version lie, as an absolute path or URI."""
        return self.get_model_version(name, version).source

    def get_model_version_stages(self, name: str, version: str | int) -> list[str]:
        """The stages that there are."""
        self.get_model_version(name, version)
        return list(ModelStage.ALL)

    def get_latest_versions(
        self, name: str, stages: Sequence[str] | None = None, as_of: datetime | None = None
    ) -> list[ModelVersion]:
        """The newest version in each stage, or in those named; with ``as_of`` what was there then."""
        wanted = [ModelStage.of(stage) for stage in names.several(stages, "stages")] or list(ModelStage.ALL)
        found = self.registry.find(name, as_of).model().latest_versions
        return [version for version in found if version.current_stage in wanted]

    def search_model_versions(
        self,
        filter_string: str | None = None,
        max_results: int = 10_000,
        order_by: Sequence[str] | None = None,
        page_token: str | None = None,
    ) -> PagedList[ModelVersion]:
        """A page of versions, the last changed first: ``name = 'churn' and stage = 'Production'``.

        Parameters
        ----------
        filter_string : str, optional
            ``name``, ``version_number``, ``run_id``, ``source_path``, ``stage``, ``user_id``, ``digest``, ``creation_timestamp``,
            ``last_updated_timestamp`` and ``tags.``.
        """
        return searching.versions(self.registry, filter_string, max_results, order_by or (), page_token)

    def update_model_version(self, name: str, version: str | int, description: str | None = None) -> ModelVersion:
        """Change a version's description."""
        self.registry.describe(name, description, version)
        return self.get_model_version(name, version)

    def delete_model_version(self, name: str, version: str | int, comment: str | None = None) -> None:
        """Take a version away, with its aliases; its number is not used again, and the history keeps it."""
        self.registry.delete_version(name, version, comment)

    def transition_model_version_stage(
        self,
        name: str,
        version: str | int,
        stage: str,
        archive_existing_versions: bool = False,
        comment: str | None = None,
    ) -> ModelVersion:
        """Move a version to None, Staging, Production or Archived.

        Parameters
        ----------
        archive_existing_versions : bool
            Archive the versions that are in that stage, in the same step: exactly one is there before and after it.
        comment : str, optional
            Why, for the history.
        """
        return self.registry.transition(name, version, stage, archive_existing_versions, comment)

    def set_model_version_tag(
        self,
        name: str,
        version: str | int | None = None,
        key: str | None = None,
        value: Any = None,
        stage: str | None = None,
    ) -> None:
        """Set a tag of a version, or of the newest version in a stage."""
        self.registry.set_tag(name, _given("key", key), value, self._version(name, version, stage))

    def delete_model_version_tag(
        self, name: str, version: str | int | None = None, key: str | None = None, stage: str | None = None
    ) -> None:
        """Remove a tag of a version; :class:`NotFound` if it has none with that key."""
        self.registry.delete_tag(name, _given("key", key), self._version(name, version, stage))

    # -- aliases ---------------------------------------------------------------------------------------------------------

    def set_registered_model_alias(self, name: str, alias: str, version: str | int, comment: str | None = None) -> None:
        """Let an alias name a version; one that it named before loses it in the same step."""
        self.registry.set_alias(name, alias, version, comment)

    def delete_registered_model_alias(self, name: str, alias: str, comment: str | None = None) -> None:
        """Take an alias away; :class:`NotFound` if the model has none of that name."""
        self.registry.delete_alias(name, alias, comment)

    def get_model_version_by_alias(self, name: str, alias: str, as_of: datetime | None = None) -> ModelVersion:
        """The version that an alias names, with ``as_of`` named then; :class:`NotFound` if there is no such alias."""
        model = self.registry.find(name, as_of)
        return model.version(model.held_by(alias))

    # -- beyond MLflow ---------------------------------------------------------------------------------------------------

    def get_version_of(self, model_uri: str, as_of: datetime | None = None) -> ModelVersion:
        """The version that a ``models:/`` URI names, with ``as_of`` named then: ``models:/churn/Production``, ``models:/churn@champion``.

        Raises
        ------
        NotFound
            If there is none.
        """
        parsed = uris.parse(model_uri)
        if not isinstance(parsed, uris.ModelUri):
            raise InvalidInput(f"{model_uri!r} is no models:/ URI, such as models:/churn/3 or models:/churn@champion.")
        return self.registry.version_of(parsed, as_of)

    def fetch_version(self, version: ModelVersion, destination: str | Path | None = None) -> Path:
        """The local directory with the files of a version, which are held against its digest.

        Raises
        ------
        IntegrityError
            If they are not those that were registered.
        """
        directory = integrity.verified(self._fetched, version)
        # held against the digest before it is copied: where it goes to, other files may lie
        return directory if destination is None else copied(directory, destination)

    def get_model_history(self, name: str, version: str | int | None = None) -> list[ModelChange]:
        """Everything that happened to a model, or to one of its versions, the oldest first: who, when, from, to and why.

        What is deleted is there too, and models that had the name before.
        """
        return self.registry.history(name, None if version is None else str(version))

    def create_model_version_comment(self, name: str, version: str | int, comment: str) -> ModelComment:
        """Comment on a version."""
        return self.registry.comment(name, version, comment)

    def update_model_version_comment(
        self, name: str, version: str | int, comment_id: str, comment: str
    ) -> ModelComment:
        """Change one's own comment; the history keeps what it said before."""
        return self.registry.comment(name, version, comment, comment_id)

    def delete_model_version_comment(self, name: str, version: str | int, comment_id: str) -> None:
        """Remove one's own comment; the history keeps it."""
        self.registry.delete_comment(name, version, comment_id)

    def get_model_version_comments(self, name: str, version: str | int) -> list[ModelComment]:
        """The comments on a version, in order."""
        return self.registry.comments(name, version)

    def request_transition(
        self,
        name: str,
        version: str | int,
        stage: str,
        archive_existing_versions: bool = False,
        comment: str | None = None,
    ) -> TransitionRequest:
        """Ask for a version to be moved to a stage; somebody else approves it."""
        return self.registry.request(name, version, stage, archive_existing_versions, comment)

    def get_transition_requests(
        self, name: str | None = None, version: str | int | None = None
    ) -> list[TransitionRequest]:
        """The requests that nobody has answered yet, the oldest first; of all models where no name is given."""
        return self.registry.requests(name, version)

    def approve(
        self, name: str, version: str | int, stage: str | None = None, comment: str | None = None
    ) -> ModelVersion:
        """Approve a request, which moves the version; :class:`NotAllowed` for the one who has asked."""
        return self.registry.answer(name, version, stage, approve=True, comment=comment)

    def reject(
        self, name: str, version: str | int, stage: str | None = None, comment: str | None = None
    ) -> ModelVersion:
        """Reject a request."""
        return self.registry.answer(name, version, stage, approve=False, comment=comment)

    def set_model_field(self, name: str, key: str, value: str | None, version: str | int | None = None) -> None:
        """Fill in a field of the model card (``owner``, ``intended_use``, ``limits`` …), of a model or of one version."""
        self.registry.set_field(name, key, value, version)

    def get_model_fields(self, name: str, version: str | int | None = None) -> dict[str, str]:
        """The fields of a model card that somebody has filled in; a version's own win over its model's."""
        return self.registry.find(name).fields(version)

    def verify_model_version(self, name: str, version: str | int) -> None:
        """Hold the files of a version against the digest that was taken when it was registered.

        Raises
        ------
        IntegrityError
            If a file is missing, new or another.
        """
        integrity.verified(self._fetched, self.get_model_version(name, version))

    # -- inside ----------------------------------------------------------------------------------------------------------

    def _fetched(self, place: str) -> Path:
        return fetch(self._store.lake.storage.at(place), "", None)

    def _register(
        self,
        name: str,
        source: str | Path,
        run_id: str | None,
        tags: Mapping[str, Any] | None,
        run_link: str | None,
        description: str | None,
        new: bool,
    ) -> ModelVersion:
        files = self._files_of(source, run_id, run_link)
        made = self.registry.create_version(name, files, names.pairs("tags", tags), description, new)
        self.check_that_it_stays(made)
        return made

    def check_that_it_stays(self, made: ModelVersion) -> None:
        """Take a version that was just made away again where its run was removed meanwhile.

        A collection marks runs before it asks which files are needed, so it sees this version, or its mark is seen here.

        Raises
        ------
        NotFound
            If its run was removed.
        """
        self._check_that_no_stray(made)
        within = uris.RUN_ID.findall(made.source)
        if not within:
            return
        found = self._store.lake.table(RunRow).counting(Where({"run_id": within})).select(["run_id", "lifecycle_stage"])
        stages = zip(*(column.to_pylist() for column in found.columns), strict=True)
        gone = [run_id for run_id, stage in stages if stage == LifecycleStage.REMOVED]
        if gone:
            self.registry.delete_version(made.name, made.version, f"its run {gone[0]} was removed meanwhile")
            raise NotFound(f"The run {gone[0]}, in which the files lie, was removed for good meanwhile (sparkml gc).")

    def _check_that_no_stray(self, made: ModelVersion) -> None:
        storage = self._store.lake.storage
        if MODEL_FILES not in made.source:
            return
        inside = uris.below(made.source, storage.uri) or ""
        if not inside.startswith(f"{MODEL_FILES}/"):
            return
        if storage.exists(f"{inside}{REMOVED}") or not storage.exists(f"{inside}/{manifest.FILE}"):
            self.registry.delete_version(made.name, made.version, "its files were removed meanwhile")
            raise NotFound(f"The files at {made.source!r} were removed meanwhile (sparkml gc). Try again.")

    def _files_of(self, source: str | Path, run_id: str | None, run_link: str | None) -> Files:
        if not isinstance(source, (str, Path)):
            raise InvalidInput(f"The source of a version is a URI or path, found {type(source).__name__}.")
        if ".." in unquote(str(source)).replace("\\", "/").split("/"):
            raise InvalidInput(f"The source {str(source)!r} holds '..': name the place itself.")
        parsed = uris.parse(source)
        if isinstance(parsed, uris.ModelUri):
            original = self.registry.version_of(parsed)
            integrity.verified(self._fetched, original)
            copied = f"models:/{original.name}/{original.version}"
            return Files(original.source, original.digest, original.model_digest, original.run_id, run_link, copied)
        if run_id is not None and not (isinstance(parsed, uris.RunUri) and parsed.run_id == run_id):
            self._store.artifact_uri(run_id)
        if isinstance(parsed, uris.RunUri):
            place, found = self._taken_of_run(parsed)
            return Files(place, found.files, found.model, run_id or parsed.run_id, run_link)
        place = parsed.text
        found = integrity.taken(self._fetched(place), place)
        return Files(place, found.files, found.model, run_id or self._run_of(found.run_id), run_link)

    def _taken_of_run(self, source: uris.RunUri) -> tuple[str, integrity.Taken]:
        place = uris.join(self._store.place_of_files(source.run_id), source.path)
        try:
            return place, integrity.taken(self._fetched(place), place)
        except (InvalidInput, NotFound):
            # another process may have removed the run since it ended here, or brought it back elsewhere
            now = uris.join(self._store.artifact_uri(source.run_id), source.path)
            if now == place:
                raise
        return now, integrity.taken(self._fetched(now), now)

    def _run_of(self, run_id: str | None) -> str | None:
        """The run that a model says it is from, if that is in this lake."""
        there = self._store.lake.table(RunRow).rows(Where({"run_id": [run_id]}), ["run_id"]) if run_id else ()
        return run_id if len(there) else None

    def _version(self, name: str, version: str | int | None, stage: str | None) -> str | int:
        if (version is None) == (stage is None):
            raise InvalidInput("Give either version or stage.")
        if version is not None:
            return version
        return self.registry.version_of(uris.ModelUri(name, ModelStage.of(stage), is_alias=False)).version


def _given(what: str, value: str | None) -> str:
    if value is None:
        raise InvalidInput(f"{what} must be given.")
    return value
