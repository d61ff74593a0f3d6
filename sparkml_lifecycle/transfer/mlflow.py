"""Registered models out of a real MLflow server, over its REST protocol (MLflow, *REST API*), with runs and files."""

import base64
import http.client
import json
import os
import shutil
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sparkml_lifecycle import uris
from sparkml_lifecycle.client import LifecycleClient
from sparkml_lifecycle.client.integrity import taken
from sparkml_lifecycle.entities import LifecycleStage, ModelStage
from sparkml_lifecycle.errors import AlreadyExists, InvalidInput, LifecycleError, NotFound, StorageError, did_you_mean
from sparkml_lifecycle.lake import MODEL_FILES, literal
from sparkml_lifecycle.registry.names import check_version
from sparkml_lifecycle.registry.store import Draft, Files
from sparkml_lifecycle.registry.tables import What
from sparkml_lifecycle.tracking.tables import InputRow, MetricRow, ParamRow, RunRow, TagRow
from sparkml_lifecycle.transfer import runs

_API, _ARTIFACTS = "/api/2.0/mlflow/", "/api/2.0/mlflow-artifacts/artifacts"
_SECONDS = 120
# what is wrong with one thing of a server does not keep the others from coming
_WRONG = (LifecycleError, KeyError, TypeError, ValueError, AttributeError, OverflowError)
_PAGE = 25_000


@dataclass(frozen=True)
class Imported:
    """What came of an import.

    Attributes
    ----------
    versions : tuple of str
        ``name/version`` of those that were brought.
    known : tuple of str
        Those that were there from an import before.
    failed : mapping of str to str
        Those that could not be brought, each with why.
    different : tuple of str
        Stages and aliases that are others here than there.
    """

    versions: tuple[str, ...]
    known: tuple[str, ...]
    failed: Mapping[str, str]
    different: tuple[str, ...] = ()


def import_models(client: LifecycleClient, server: str, names: Sequence[str] = (), follow: bool = False) -> Imported:
    """Bring registered models from an MLflow server: versions with their numbers, stages, aliases, tags, runs and files.

    Parameters
    ----------
    client : LifecycleClient
        Of the lake that gets them.
    server : str
        Such as ``http://mlflow:5000``. ``MLFLOW_TRACKING_TOKEN``, or ``MLFLOW_TRACKING_USERNAME`` and ``MLFLOW_TRACKING_PASSWORD``,
        say who asks; they are sent to that server only and never kept.
    names : sequence of str, optional
        Of these models; of all where none is named.
    follow : bool
        Make stages and aliases here as they are there, also of models that were brought before.

    Raises
    ------
    NotFound
        If there is no model of that name.
    StorageError
        If the server does not answer.

    Notes
    -----
    Import again to bring what is new: a version that was brought is known by where it came from. A version whose files cannot be
    had is reported, and the others are brought. Stages and aliases of a model come along as long as nobody has given it any
    here; after that they stay, and what differs is said.
    """
    there = Server(server)
    found = there.pages("registered-models/search", "registered_models")
    # prompts are registered models to a server, and older ones cannot leave them out
    models = {one["name"]: one for one in found if _pairs(one.get("tags")).get("mlflow.prompt.is_prompt") != "true"}
    if unknown := [name for name in names if name not in models]:
        raise NotFound(
            f"The server {there.shown} has no registered model {unknown[0]!r}.{did_you_mean(unknown[0], models)}"
        )
    brought: list[str] = []
    known: list[str] = []
    failed: dict[str, str] = {}
    different: list[str] = []
    for name in names or sorted(models):
        try:
            work = _Model(client, there, models[name])
            versions = sorted(there.versions(name), key=lambda one: int(one["version"]))
        except _WRONG as error:
            failed[name] = _why(error)
            continue
        for one in versions:
            try:
                (brought if work.bring(one) else known).append(f"{name}/{one['version']}")
            except _WRONG as error:
                failed[f"{name}/{one['version']}"] = _why(error)
        try:
            different += work.finish(follow)
        except _WRONG as error:
            failed[f"{name}, stages and aliases"] = _why(error)
    return Imported(tuple(brought), tuple(known), failed, tuple(different))


class Server:
    """An MLflow server; only what it has is read."""

    def __init__(self, uri: str) -> None:
        parts = urllib.parse.urlsplit(str(uri))
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InvalidInput(f"An MLflow server is named by http(s)://host:port, found {str(uri)!r}.")
        if parts.username or parts.password:
            raise InvalidInput(
                "Give user and password by MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, not in the address."
            )
        self.shown = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"

    def call(self, path: str, **query: str) -> dict[str, Any]:
        """The JSON that an endpoint answers."""
        address = f"{self.shown}{_API}{path}" + (f"?{urllib.parse.urlencode(query)}" if query else "")
        with self._open(address) as answer:
            try:
                found = json.load(answer)
            except ValueError:
                raise StorageError(f"{self.shown} does not speak MLflow's protocol: {path} answered no JSON.") from None
        return found if isinstance(found, dict) else {}

    def pages(self, path: str, key: str, **query: str) -> Iterator[dict[str, Any]]:
        """What all pages of a list hold."""
        token = ""
        while True:
            page = self.call(path, **query, **({"page_token": token} if token else {}))
            yield from page.get(key, [])
            token = page.get("next_page_token") or ""
            if not token:
                return

    def versions(self, name: str) -> list[dict[str, Any]]:
        """The versions of a model."""
        # MLflow's filters know no doubled quotes
        quote = '"' if "'" in name else "'"
        return list(self.pages("model-versions/search", "model_versions", filter=f"name = {quote}{name}{quote}"))

    def download(self, uri: str, target: Path, storage: Callable[[str], Any]) -> None:
        """Copy the artifacts below a URI to a directory: through the server, or where they lie if this machine reaches that."""
        if not uri.startswith("mlflow-artifacts:"):
            storage(uri).download("", target)
            return
        path = urllib.parse.urlsplit(uri).path.strip("/")
        waiting = [path]
        while waiting:
            directory = waiting.pop()
            address = f"{self.shown}{_ARTIFACTS}?{urllib.parse.urlencode({'path': directory})}"
            with self._open(address) as answer:
                files = json.load(answer).get("files", [])
            for file in files:
                # the server names them below the directory that was asked for
                whole = f"{directory}/{str(file['path']).rpartition('/')[2]}"
                if file.get("is_dir"):
                    waiting.append(whole)
                    continue
                local = target / uris.check_relative(whole[len(path) + 1 :])
                local.parent.mkdir(parents=True, exist_ok=True)
                with (
                    self._open(f"{self.shown}{_ARTIFACTS}/{urllib.parse.quote(whole)}") as content,
                    local.open("wb") as copy,
                ):
                    shutil.copyfileobj(content, copy)

    def _open(self, address: str) -> http.client.HTTPResponse:
        request = urllib.request.Request(address, headers=_credentials())
        try:
            answer: http.client.HTTPResponse = _opener().open(request, timeout=_SECONDS)
            return answer
        except urllib.error.HTTPError as error:
            raise (NotFound if error.code == 404 else StorageError)(
                f"{self.shown} answered {error.code}: {_said(error)}"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or type(error).__name__
            raise StorageError(f"The server {self.shown} does not answer: {reason}.") from None


class _Model:
    """One model on its way into a lake."""

    def __init__(self, client: LifecycleClient, server: Server, model: Mapping[str, Any]) -> None:
        self._client, self._server, self._model = client, server, model
        self.name = str(model["name"])
        self._numbers: dict[str, str] = {}
        self._came: list[Mapping[str, Any]] = []
        with suppress(AlreadyExists):
            client.create_registered_model(self.name, _pairs(model.get("tags")), model.get("description"))
        found = client.search_model_versions(f"name = {literal(self.name)}", 10**6)
        self._known = {one.copied_from: one.version for one in found}
        told = client.get_model_history(self.name)
        self._gone = {str(one.version) for one in told if one.what == What.VERSION and one.after is None}

    def bring(self, one: Mapping[str, Any]) -> bool:
        """Bring a version, unless it is known; whether it was new."""
        number = check_version(one["version"])
        origin = f"{self._server.shown} models:/{self.name}/{number}"
        if origin in self._known:
            self._numbers[number] = self._known[origin]
            self._came.append(one)
            return False
        if number in self._gone:
            # somebody has deleted it here
            return False
        with tempfile.TemporaryDirectory(prefix="sparkml-") as folder:
            directory = Path(folder) / "model"
            answer = self._server.call("model-versions/get-download-uri", name=self.name, version=one["version"])
            self._server.download(answer["artifact_uri"], directory, self._client.storage)
            found = taken(directory, origin)
            place, run_id = self._placed(one.get("run_id"), directory, found.files)
        files = Files(place, found.files, found.model, run_id, one.get("run_link") or None, origin)
        told = {
            "lake": self._server.shown, "at": _moment(one["creation_timestamp"]).isoformat(), "by": one.get("user_id") or "",
            "name": self.name, "version": one["version"], "what": What.VERSION, "key": "", "before": None, "after": "READY",
            "comment": "", "details": {"source": one.get("source", "")},
        }  # fmt: skip
        past = Draft(What.ORIGIN, "READY", key="0", details=told)
        made = self._client.registry.create_version(
            self.name,
            files,
            _pairs(one.get("tags")).items(),
            one.get("description"),
            beside=[past],
            number=int(number),
        )
        self._client.check_that_it_stays(made)
        self._numbers[number] = made.version
        self._came.append(one)
        return True

    def finish(self, follow: bool) -> list[str]:
        """Give the versions their stages, and the model its aliases; or say what is another here than there.

        They are given where nobody here has given any yet, and with ``follow``.
        """
        told = self._client.get_model_history(self.name)
        follow = follow or not any(one.what in (What.STAGE, What.ALIAS) for one in told if one.via == "lake")
        because, different = f"as on {self._server.shown}", []
        for one in self._came:
            number, stage = self._numbers[one["version"]], one.get("current_stage") or ModelStage.NONE
            here = self._client.get_model_version(self.name, number).current_stage
            if here != stage and follow:
                self._client.transition_model_version_stage(self.name, number, stage, comment=because)
            elif here != stage:
                different.append(f"{self.name}/{number}: {here} here, {stage} there")
        held = self._client.get_registered_model(self.name).aliases
        for alias in self._model.get("aliases", []):
            wanted = self._numbers.get(str(alias["version"]))
            if wanted is None or held.get(alias["alias"]) == wanted:
                continue
            if follow:
                self._client.set_registered_model_alias(self.name, alias["alias"], wanted, because)
            else:
                there = held.get(alias["alias"], "none")
                different.append(f"{self.name}@{alias['alias']}: {there} here, {wanted} there")
        return different

    def _placed(self, run_id: str | None, directory: Path, digest: str) -> tuple[str, str | None]:
        below = f"{MODEL_FILES}/{digest}"
        if run_id and uris.RUN_ID.fullmatch(run_id):
            try:
                return self._with_run(run_id, directory, below), run_id
            except NotFound:
                # the server keeps the version and has lost its run
                pass
        place = uris.join(self._client.tracking_uri, below)
        self._client.storage(place).upload(directory, "")
        return place, None

    def _with_run(self, run_id: str, directory: Path, below: str) -> str:
        run = self._server.call("runs/get", run_id=run_id)["run"]
        info = run["info"]
        if info.get("run_id") != run_id:
            raise StorageError(f"{self._server.shown} was asked for the run {run_id} and answered another.")
        experiment = self._server.call("experiments/get", experiment_id=info["experiment_id"])["experiment"]
        row, logged = _rows_of(run_id, run, self._server)
        experiment_id = self._client.experiment_made(experiment["name"]).experiment_id
        there = runs.put(
            self._client, row, experiment_id, logged, lambda place: self._client.storage(place).upload(directory, below)
        )
        return uris.join(self._client.store.absolute(there.location), below)


def _rows_of(run_id: str, run: Mapping[str, Any], server: Server) -> tuple[RunRow, runs.Rows]:
    info, data = run["info"], run.get("data", {})
    now = datetime.now(UTC)
    tags = {**_pairs(data.get("tags")), "sparkml.imported_from": server.shown}
    row = RunRow(
        at=now, run_id=run_id, experiment_id="", name=info.get("run_name") or tags.get("mlflow.runName") or run_id,
        user_id=info.get("user_id") or tags.get("mlflow.user") or "unknown", status=info.get("status") or "FINISHED",
        start_time=_moment(info.get("start_time") or 0),
        end_time=_moment(info["end_time"]) if info.get("end_time") else None,
        lifecycle_stage=info.get("lifecycle_stage") or LifecycleStage.ACTIVE, location="",
    )  # fmt: skip
    points = [
        MetricRow(
            at=now, run_id=run_id, key=metric["key"], value=float(point["value"]), timestamp=int(point["timestamp"]),
            step=int(point.get("step") or 0),
        )
        for metric in data.get("metrics", [])
        for point in server.pages(
            "metrics/get-history", "metrics", run_id=run_id, metric_key=metric["key"], max_results=str(_PAGE)
        )
    ]  # fmt: skip
    logged: runs.Rows = {
        ParamRow: (
            "run_id",
            [ParamRow(at=now, run_id=run_id, key=k, value=v) for k, v in _pairs(data.get("params")).items()],
        ),
        TagRow: ("owner", [TagRow(at=now, owner=run_id, key=k, value=v) for k, v in tags.items()]),
        InputRow: ("run_id", [_input(run_id, one, now) for one in run.get("inputs", {}).get("dataset_inputs", [])]),
        MetricRow: ("run_id", points),
    }
    return row, logged


def _input(run_id: str, one: Mapping[str, Any], now: datetime) -> InputRow:
    dataset, tags = one["dataset"], _pairs(one.get("tags"))
    return InputRow(
        at=now, run_id=run_id, dataset_name=dataset["name"], dataset_digest=dataset["digest"],
        context=tags.get("mlflow.data.context", ""), source_type=dataset.get("source_type") or "unknown",
        source=dataset.get("source") or "", schema=dataset.get("schema"), profile=dataset.get("profile"),
    )  # fmt: skip


def _why(error: BaseException) -> str:
    if isinstance(error, LifecycleError):
        return " ".join(str(error).split())
    return f"the server's answer is not MLflow's ({type(error).__name__}: {' '.join(str(error).split())[:200]})"


def _pairs(given: Any) -> dict[str, str]:
    return {one["key"]: str(one.get("value") or "") for one in given or ()}


def _moment(milliseconds: Any) -> datetime:
    return datetime.fromtimestamp(int(milliseconds) / 1000, UTC)


def _credentials() -> dict[str, str]:
    if token := os.environ.get("MLFLOW_TRACKING_TOKEN"):
        return {"Authorization": f"Bearer {token}"}
    user, password = (os.environ.get(f"MLFLOW_TRACKING_{name}") for name in ("USERNAME", "PASSWORD"))
    if user and password:
        return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}
    return {}


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Credentials go to the server that was named, and to no other."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Never."""


def _opener() -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(_NoRedirect)


def _said(error: urllib.error.HTTPError) -> str:
    try:
        found = json.load(error)
        return str(found.get("message") or found.get("error_code"))[:300]
    except (ValueError, AttributeError, OSError):
        return str(error.reason)
