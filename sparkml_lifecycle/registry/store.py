"""The registry of a lake: every change is decided on one state of the model and committed only if that is still the newest."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sparkml_lifecycle.entities import (
    ModelChange,
    ModelComment,
    ModelStage,
    ModelVersion,
    RegisteredModel,
    TransitionRequest,
)
from sparkml_lifecycle.errors import AlreadyExists, InvalidInput, NotAllowed, NotFound, did_you_mean
from sparkml_lifecycle.lake import Change, Group, Lake, Snapshot, Where
from sparkml_lifecycle.lake.order import last_by, uuid7
from sparkml_lifecycle.lake.rows import from_arrow
from sparkml_lifecycle.registry import history
from sparkml_lifecycle.registry.ledger import Ledger, details_of
from sparkml_lifecycle.registry.names import (
    MAX_TAG_VALUE,
    check_alias,
    check_model,
    check_note,
    is_stage,
)
from sparkml_lifecycle.registry.tables import RegistryRow, What
from sparkml_lifecycle.tracking.experiments import milliseconds, relative
from sparkml_lifecycle.tracking.names import check_key, check_value
from sparkml_lifecycle.uris import ModelUri, placed

LATEST = "latest"
_MOST_LEDGERS = 100


@dataclass(frozen=True)
class Files:
    """Where a version's files lie, and what they are.

    Attributes
    ----------
    place : str
        A normal URI.
    digest : str
        SHA-256 over all of them.
    model_digest : str
        The model's content digest.
    run_id : str or None
    run_link : str or None
    copied_from : str or None
    """

    place: str
    digest: str
    model_digest: str
    run_id: str | None = None
    run_link: str | None = None
    copied_from: str | None = None


@dataclass(frozen=True)
class Need:
    """What a version needs: where its files lie, as a normal URI, and the run that it came from."""

    version: str
    place: str
    run_id: str | None


@dataclass(frozen=True)
class Draft:
    """One row of a change, before it has a revision; ``before`` is looked up."""

    what: str
    value: str | None
    version: str = ""
    key: str = ""
    comment: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    files: Files | None = None


class Registry:
    """The registered models of a lake; safe beside any number of other writers.

    Parameters
    ----------
    lake : Lake
    """

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._table = lake.table(RegistryRow)
        # of a model that nobody has changed since, what its rows come to is not found out again
        self._ledgers: dict[str, Ledger] = {}
        self._named: dict[str, tuple[Group[RegistryRow], list[str]]] = {}

    @property
    def home(self) -> str:
        """The lake's normal URI, below which relative locations lie."""
        return self._lake.uri

    # -- reading ---------------------------------------------------------------------------------------------------------

    def rows(self) -> Any:
        """Every row, as an Arrow table."""
        return self._table.look(lambda seen: self._table.rows(Where(), snapshot=seen))

    def find(self, name: str, as_of: datetime | None = None, seen: Snapshot | None = None) -> Ledger:
        """The rows of the model that has a name now, or had it then.

        Raises
        ------
        NotFound
            If there is none; the message has the nearest name.
        """
        check_model(name)
        if seen is None:
            return self._table.look(lambda now: self.find(name, as_of, now))
        ids = self._ids(name, as_of, seen)
        for model_id in ids:
            mine = self._ledger(model_id, name, self._group("model_id", model_id, as_of, seen))
            if mine.value(What.MODEL) == name:
                return mine
        raise self._missing(name, ids, as_of, seen)

    def names(self, as_of: datetime | None = None, seen: Snapshot | None = None) -> dict[str, str]:
        """The name of each model that is there to its id."""
        if seen is None:
            return self._table.look(lambda now: self.names(as_of, now))
        rows = self._table.rows(Where({"what": [What.MODEL]}, as_of), ["model_id", "value", "revision"], snapshot=seen)
        found = last_by(rows, ("model_id",), ("revision",))
        pairs = zip(found["value"].to_pylist(), found["model_id"].to_pylist(), strict=True)
        return {name: model_id for name, model_id in pairs if name is not None}

    def version_of(self, uri: ModelUri, as_of: datetime | None = None) -> ModelVersion:
        """The version that ``models:/name/3``, ``/Production``, ``/latest`` or ``models:/name@alias`` names.

        Raises
        ------
        NotFound
            If there is none.
        """
        model = self.find(uri.name, as_of)
        if uri.is_alias:
            return model.version(model.held_by(uri.selector))
        if uri.selector.lower() == LATEST:
            return self._newest(model, model.versions(), "a version")
        if is_stage(uri.selector):
            stage = ModelStage.of(uri.selector)
            return self._newest(model, model.holders(stage), f"a version in {stage}")
        if not uri.selector.isdecimal():
            known = model.aliases()
            hint = f" Did you mean models:/{uri.name}@{uri.selector}?" if uri.selector in known else ""
            raise InvalidInput(
                f"models:/{uri.name}/{uri.selector}: {uri.selector!r} is no version, stage or 'latest'. Stages: "
                f"{', '.join(ModelStage.ALL)}.{hint or did_you_mean(uri.selector, (*ModelStage.ALL, LATEST))}"
            )
        return model.version(uri.selector)

    def needs(self) -> list[Need]:
        """What each version that is there needs of its lake."""
        names, made = self._table.look(self._versions_made)
        return [
            Need(f"models:/{names[row.model_id]}/{row.version}", placed(self.home, row.source or ""), row.run_id)
            for row in from_arrow(RegistryRow, made)
            if row.value is not None and row.model_id in names
        ]

    def history(self, name: str, version: str | None = None) -> list[ModelChange]:
        """Everything that happened to the models that have or had a name, the oldest first.

        With ``version`` only what happened to that one: of the model that has the name now, if it ever had such a version.
        """
        check_model(name)
        rows = self._table.look(lambda seen: self._of_all_that_were(name, seen))
        if version is not None:
            now = self.names().get(name)
            if any(row.model_id == now and row.version == version for row in rows):
                rows = [row for row in rows if row.model_id == now]
            rows = [row for row in rows if _concerns(row, version)]
        return history.changes(rows)

    def comments(self, name: str, version: object) -> list[ModelComment]:
        """The comments on a version, in order."""
        model = self.find(name)
        number = model.row(version).version
        return history.comments([row for row in model.rows if row.what == What.COMMENT and row.version == number])

    def requests(self, name: str | None = None, version: object = None) -> list[TransitionRequest]:
        """The requests that nobody has answered yet, the oldest first, of one model or of all."""
        if name is None:
            models = self._table.look(lambda seen: [self.find(one, seen=seen) for one in self._asked_of(seen)])
            found = [one for model in models for one in self._waiting(model, None)]
            return sorted(found, key=lambda one: one.creation_timestamp)
        model = self.find(name)
        return self._waiting(model, None if version is None else model.row(version).version)

    @staticmethod
    def _waiting(model: Ledger, number: str | None) -> list[TransitionRequest]:
        open_ones = [row for row in model.counting(What.REQUEST) if row.value is not None]
        there = set(model.versions())
        wanted = [row for row in open_ones if row.version in there and number in (None, row.version)]
        return [
            TransitionRequest(
                model.name, row.version, row.key, row.by, milliseconds(row.at), row.comment or "",
                bool(details_of(row).get("archive_existing_versions")),
            )
            for row in sorted(wanted, key=lambda row: row.revision)
        ]  # fmt: skip

    # -- models ----------------------------------------------------------------------------------------------------------

    def create(
        self, name: str, tags: Iterable[tuple[str, Any]] = (), description: str | None = None
    ) -> RegisteredModel:
        """Register a model without versions.

        Raises
        ------
        AlreadyExists
            If there is one with that name.
        """
        check_model(name)
        drafts = [Draft(What.MODEL, name), *_described(description), *_tagged(tags)]
        model_id = uuid7()

        def decide(seen: Snapshot) -> Change[RegistryRow]:
            if self._is_taken(name, seen):
                raise AlreadyExists(
                    f"There is a registered model {name!r} already. Add a version to it, or choose another name."
                )
            revision = seen.version_of(_claim_of(name)) + 1
            return Change(self._rows(model_id, name, revision, drafts), {_claim_of(name): revision})

        self._table.claim(decide)
        return self.find(name).model()

    def rename(self, name: str, new_name: str) -> RegisteredModel:
        """Give a model another name; its versions, history and the models that were loaded stay.

        Raises
        ------
        NotFound, AlreadyExists
        """
        check_model(new_name)

        def decide(seen: Snapshot) -> Change[RegistryRow]:
            model = self.find(name, seen=seen)
            if new_name == name:
                return Change((), {})
            if self._is_taken(new_name, seen):
                raise AlreadyExists(f"There is a registered model {new_name!r} already. Choose another name.")
            # one number for both names, so that a model's revisions grow whatever it is called
            revision = max(seen.version_of(_claim_of(name)), seen.version_of(_claim_of(new_name))) + 1
            draft = Draft(What.MODEL, new_name)
            rows = self._rows(model.model_id, new_name, revision, [draft], model)
            return Change(rows, {_claim_of(name): revision, _claim_of(new_name): revision})

        self._table.claim(decide)
        return self.find(new_name).model()

    def delete(self, name: str, comment: str | None = None) -> None:
        """Take a model with all its versions away; its history stays, and the name is free.

        Raises
        ------
        InvalidInput
            If versions are in Staging or Production, as in MLflow: archive them first.
        """
        note = check_note("comment", comment)

        def drafts(model: Ledger) -> list[Draft]:
            busy = {stage: model.holders(stage) for stage in (ModelStage.STAGING, ModelStage.PRODUCTION)}
            said = [f"version {', '.join(held)} is in {stage}" for stage, held in busy.items() if held]
            if said:
                raise InvalidInput(
                    f"The model {name!r} is in use: {' and '.join(said)}. Move it to Archived before deleting the model."
                )
            return [Draft(What.MODEL, None, comment=note or None)]

        self.change(name, drafts)

    def describe(self, name: str, description: str | None, version: object = None) -> None:
        """Set the description of a model or version."""
        text = check_note("description", description)
        self.change(name, lambda model: [Draft(What.DESCRIPTION, text, _number(model, version))])

    def set_tag(self, name: str, key: str, value: Any, version: object = None) -> None:
        """Set a tag of a model or version."""
        [draft] = _tagged([(key, value)])
        self.change(name, lambda model: [Draft(What.TAG, draft.value, _number(model, version), key)])

    def delete_tag(self, name: str, key: str, version: object = None) -> None:
        """Remove a tag; :class:`NotFound` if there is none with that key."""
        check_key("tag", key)

        def drafts(model: Ledger) -> list[Draft]:
            number = _number(model, version)
            there = model.tags(number)
            if key not in there:
                owner = f"version {number} of the model {name!r}" if number else f"model {name!r}"
                raise NotFound(f"The {owner} has no tag {key!r}.{did_you_mean(key, there)}")
            return [Draft(What.TAG, None, number, key)]

        self.change(name, drafts)

    # -- versions --------------------------------------------------------------------------------------------------------

    def create_version(
        self,
        name: str,
        files: Files,
        tags: Iterable[tuple[str, Any]] = (),
        description: str | None = None,
        new: bool = False,
        beside: Sequence[Draft] = (),
        of_model: Sequence[Draft] = (),
        number: int = 1,
    ) -> ModelVersion:
        """Make a version of a model, with the next number; with ``new`` the model too where it is not there.

        Its number is claimed in the commit that holds its rows, so it is there whole or not at all.

        Parameters
        ----------
        beside : sequence of Draft
            What else is said of the version in the same commit.
        of_model : sequence of Draft
            And of the model, where it is new.
        number : int
            At least this number.
        """
        check_model(name)
        beside = [*_described(description), *_tagged(tags), *beside]
        model_id = uuid7()
        made: list[str] = []

        def decide(seen: Snapshot) -> Change[RegistryRow]:
            try:
                model: Ledger | None = self.find(name, seen=seen)
            except NotFound:
                if not new:
                    raise
                model = None
            following = 1 if model is None else int(model.next_version)
            mine = str(max(following, number))
            drafts = [Draft(What.MODEL, name), *of_model] if model is None else []
            drafts += [replace(one, version=mine) for one in beside if one.what == What.ORIGIN]
            drafts += [Draft(What.VERSION, "READY", mine, files=files)]
            drafts += [replace(one, version=mine) for one in beside if one.what != What.ORIGIN]
            made[:] = [mine]
            revision = seen.version_of(_claim_of(name)) + 1
            rows = self._rows(model_id if model is None else model.model_id, name, revision, drafts, model)
            return Change(rows, {_claim_of(name): revision})

        self._table.claim(decide)
        return self.find(name).version(made[0])

    def delete_version(self, name: str, version: object, comment: str | None = None) -> None:
        """Take a version away; its aliases go with it, its number is not used again, and the history keeps it."""
        note = check_note("comment", comment) or None

        def drafts(model: Ledger) -> list[Draft]:
            number = model.row(version).version
            named = [alias for alias, held in model.aliases().items() if held == number]
            gone = [Draft(What.ALIAS, None, key=alias, comment=note) for alias in named]
            return [Draft(What.VERSION, None, number, comment=note), *gone]

        self.change(name, drafts)

    def transition(
        self,
        name: str,
        version: object,
        stage: str,
        archive_existing_versions: bool = False,
        comment: str | None = None,
    ) -> ModelVersion:
        """Move a version to a stage, and with ``archive_existing_versions`` those that are there to Archived, in one step."""
        wanted, note = _stage(stage, archive_existing_versions), check_note("comment", comment) or None

        def drafts(model: Ledger) -> list[Draft]:
            number = model.row(version).version
            return [*answered(model, number, wanted), *moved(model, number, wanted, archive_existing_versions, note)]

        self.change(name, drafts)
        return self.find(name).version(version)

    def set_alias(self, name: str, alias: str, version: object, comment: str | None = None) -> None:
        """Let an alias name a version; another that it named before no longer has it."""
        check_alias(alias)
        note = check_note("comment", comment) or None
        self.change(name, lambda model: [Draft(What.ALIAS, model.row(version).version, key=alias, comment=note)])

    def delete_alias(self, name: str, alias: str, comment: str | None = None) -> None:
        """Take an alias away; :class:`NotFound` if the model has none of that name."""
        note = check_note("comment", comment) or None

        def drafts(model: Ledger) -> list[Draft]:
            model.held_by(alias)
            return [Draft(What.ALIAS, None, key=alias, comment=note)]

        self.change(name, drafts)

    def set_field(self, name: str, key: str, value: str | None, version: object = None) -> None:
        """Fill in a field of the model card, or empty it with None; a version's own wins over its model's."""
        check_key("field", key)
        text = None if value is None else check_note("field", value)
        self.change(name, lambda model: [Draft(What.FIELD, text, _number(model, version), key)])

    # -- comments and requests -------------------------------------------------------------------------------------------

    def comment(self, name: str, version: object, text: str, comment_id: str | None = None) -> ModelComment:
        """Comment on a version, or change one's comment."""
        note = check_note("comment", text)
        if not note.strip():
            raise InvalidInput(
                "A comment must not be empty. delete_model_version_comment(), or --remove, takes one away."
            )
        chosen: list[str] = []

        def drafts(model: Ledger) -> list[Draft]:
            number = model.row(version).version
            rows = model.counting(What.COMMENT, number)
            if comment_id is not None:
                self._own_comment(name, rows, comment_id)
            chosen[:] = [comment_id or str(1 + max((int(row.key) for row in rows), default=0))]
            return [Draft(What.COMMENT, note, number, chosen[0])]

        made = self.change(name, drafts)
        there = next((one for one in self.comments(name, version) if one.comment_id == chosen[0]), None)
        # somebody may have removed it at once
        return there or ModelComment(chosen[0], note, self._lake.writer.by, *[milliseconds(made[0].at)] * 2)

    def delete_comment(self, name: str, version: object, comment_id: str) -> None:
        """Remove one's comment; the history keeps it."""

        def drafts(model: Ledger) -> list[Draft]:
            number = model.row(version).version
            self._own_comment(name, model.counting(What.COMMENT, number), comment_id)
            return [Draft(What.COMMENT, None, number, str(comment_id))]

        self.change(name, drafts)

    def request(
        self,
        name: str,
        version: object,
        stage: str,
        archive_existing_versions: bool = False,
        comment: str | None = None,
    ) -> TransitionRequest:
        """Ask for a version to be moved to a stage; somebody else approves it.

        Raises
        ------
        AlreadyExists
            If that is asked for already.
        InvalidInput
            If it is in that stage.
        """
        wanted, note = _stage(stage, archive_existing_versions), check_note("comment", comment) or None

        def drafts(model: Ledger) -> list[Draft]:
            number = model.row(version).version
            if number in model.holders(wanted):
                raise InvalidInput(f"Version {number} of the model {name!r} is in {wanted} already.")
            if model.value(What.REQUEST, number, wanted) is not None:
                raise AlreadyExists(f"Version {number} of the model {name!r} waits to be moved to {wanted} already.")
            details = {"archive_existing_versions": True} if archive_existing_versions else {}
            return [Draft(What.REQUEST, "pending", number, wanted, note, details)]

        [made] = self.change(name, drafts)
        return TransitionRequest(
            name, made.version, wanted, made.by, milliseconds(made.at), note or "", archive_existing_versions
        )

    def answer(
        self, name: str, version: object, stage: str | None, approve: bool, comment: str | None = None
    ) -> ModelVersion:
        """Approve a request, which moves the version, or reject it; ``stage`` where several wait.

        Raises
        ------
        NotFound
            If nobody has asked for it.
        NotAllowed
            If the one who has asked approves.
        """
        wanted, note = None if stage is None else ModelStage.of(stage), check_note("comment", comment) or None

        def drafts(model: Ledger) -> list[Draft]:
            number = model.row(version).version
            waiting = [row for row in model.counting(What.REQUEST, number) if row.value is not None]
            fitting = [row for row in waiting if wanted in (None, row.key)]
            if not fitting:
                raise NotFound(
                    f"Nobody has asked to move version {number} of the model {name!r}{f' to {wanted}' if wanted else ''}."
                )
            if len(fitting) > 1:
                raise InvalidInput(
                    f"Version {number} waits for {' and '.join(sorted(row.key for row in fitting))}: say which stage."
                )
            asked = fitting[0]
            if approve and asked.by == self._lake.writer.by:
                raise NotAllowed(f"{asked.by} has asked for this, and somebody else approves it.")
            said = {"answer": "approved" if approve else "rejected", "asked_by": asked.by}
            closed = Draft(What.REQUEST, None, number, asked.key, note, said)
            if not approve:
                return [closed]
            archive = bool(details_of(asked).get("archive_existing_versions"))
            return [closed, *moved(model, number, asked.key, archive, note, said)]

        self.change(name, drafts)
        return self.find(name).version(version)

    # -- inside ----------------------------------------------------------------------------------------------------------

    def change(self, name: str, drafts: Callable[[Ledger], Sequence[Draft]]) -> list[RegistryRow]:
        """Commit what ``drafts`` makes of the model as it is, but for what is so already; it is called again where somebody else was first."""

        def decide(seen: Snapshot) -> Change[RegistryRow]:
            model = self.find(name, seen=seen)
            wanted = drafts(model)
            news = [one for one in wanted if one.details or model.value(one.what, one.version, one.key) != one.value]
            revision = seen.version_of(_claim_of(name)) + 1
            return Change(self._rows(model.model_id, name, revision, news, model), {_claim_of(name): revision})

        return self._table.claim(decide)

    def _rows(
        self,
        model_id: str,
        name: str,
        revision: int,
        drafts: Sequence[Draft],
        model: Ledger | None = None,
    ) -> list[RegistryRow]:
        now = self._table.now()
        if model is not None:
            # who comes after has a later time too, whatever the clocks say: as-of answers go by it
            now = max(now, model.newest + timedelta(microseconds=1))
        return [
            RegistryRow(
                at=now,
                revision=revision,
                model_id=model_id,
                name=name,
                what=one.what,
                version=one.version,
                key=one.key,
                value=one.value,
                before=model.value(one.what, one.version, one.key) if model is not None else None,
                comment=one.comment,
                **self._said_of(one),
            )
            for one in drafts
        ]

    def _said_of(self, one: Draft) -> dict[str, Any]:
        details, files = dict(one.details), one.files
        if files is None:
            return {"details": json.dumps(details) if details else None}
        said = {"model_digest": files.model_digest, "run_link": files.run_link, "copied_from": files.copied_from}
        details |= {key: value for key, value in said.items() if value}
        place = relative(self._lake, files.place)
        return {"details": json.dumps(details), "run_id": files.run_id, "source": place, "digest": files.digest}

    def _own_comment(self, name: str, rows: Sequence[RegistryRow], comment_id: str) -> None:
        there = next((row for row in rows if row.key == str(comment_id) and row.value is not None), None)
        if there is None:
            raise NotFound(f"The model {name!r} has no comment {comment_id!r} on that version.")
        if there.by != self._lake.writer.by:
            raise NotAllowed(f"The comment {comment_id} is {there.by}'s, and a person changes only their own.")

    @staticmethod
    def _newest(model: Ledger, found: Sequence[str], what: str) -> ModelVersion:
        if not found:
            staged = {stage: model.holders(stage) for stage in ModelStage.ALL}
            shown = ", ".join(f"{stage}: {', '.join(held)}" for stage, held in staged.items() if held) or "none at all"
            raise NotFound(f"The model {model.name!r} has not {what}. Its versions by stage: {shown}.")
        return model.version(found[-1])

    def _versions_made(self, seen: Snapshot) -> tuple[dict[str, str], Any]:
        """The name of each model that is there, by its id, and the rows of versions that count."""
        rows = self._table.rows(Where({"what": [What.VERSION]}), snapshot=seen)
        names = {model_id: name for name, model_id in self.names(seen=seen).items()}
        return names, last_by(rows, RegistryRow.KEY, ("revision",))

    def _ledger(self, model_id: str, name: str, group: Group[RegistryRow]) -> Ledger:
        known = self._ledgers.get(model_id)
        if known is not None and known.group is group and known.name == name:
            return known
        if len(self._ledgers) >= _MOST_LEDGERS:
            self._ledgers.clear()
        made = self._ledgers[model_id] = Ledger(model_id, name, group, self._lake.uri, known)
        return made

    def _asked_of(self, seen: Snapshot) -> list[str]:
        """The models of which somebody has asked something."""
        asked = self._table.rows(Where({"what": [What.REQUEST]}), ["model_id"], snapshot=seen)["model_id"]
        ids = set(asked.to_pylist())
        return [name for name, model_id in self.names(seen=seen).items() if model_id in ids]

    def _ids(self, name: str, as_of: datetime | None, seen: Snapshot) -> list[str]:
        """The models that ever had a name."""
        named = self._group("name", name, as_of, seen)
        known, ids = self._named.get(name, (Group[RegistryRow](), []))
        news = named.since(known)
        if news is None:
            news, ids = named.rows, []
        found = list(dict.fromkeys([*ids, *(row.model_id for row in news if row.what == What.MODEL)]))
        if named.rows and as_of is None:
            if len(self._named) >= _MOST_LEDGERS:
                self._named.clear()
            self._named[name] = named, found
        return found

    def _is_taken(self, name: str, seen: Snapshot) -> bool:
        groups = (self._group("model_id", model_id, None, seen) for model_id in self._ids(name, None, seen))
        return any(row.what == What.MODEL and row.value == name for group in groups for row in group.counting.values())

    def _of_all_that_were(self, name: str, seen: Snapshot) -> list[RegistryRow]:
        named = self._group("name", name, None, seen).rows
        if not named:
            raise self._missing(name, [], None, seen)
        ids = dict.fromkeys(row.model_id for row in named)
        return [row for model_id in ids for row in self._group("model_id", model_id, None, seen).rows]

    def _group(self, column: str, value: str, as_of: datetime | None, seen: Snapshot) -> Group[RegistryRow]:
        Where(as_of=as_of)  # checks it
        found: Group[RegistryRow] = self._table.group(column, value, seen)
        if as_of is None:
            return found
        return Group[RegistryRow]().grown([row for row in found.rows if row.at <= as_of])

    def _missing(self, name: str, once: Sequence[str], as_of: datetime | None, seen: Snapshot) -> NotFound:
        known = self.names(as_of, seen)
        when = f" at {as_of}" if as_of else ""
        gone = ""
        if once and as_of is None:
            now = {model_id: other for other, model_id in known.items()}
            renamed = next((now[model_id] for model_id in once if model_id in now), None)
            gone = f" It is called {renamed!r} now." if renamed else " It was deleted; its history is there."
        return NotFound(
            f"There is no registered model {name!r} in the lake {self._lake.uri!r}{when}.{gone or did_you_mean(name, known)}"
        )


def _concerns(row: RegistryRow, version: str) -> bool:
    return row.version == version or (row.what == What.ALIAS and version in (row.before, row.value))


def _claim_of(name: str) -> str:
    return f"model:{name}"


def _stage(stage: str, archive: bool) -> str:
    wanted = ModelStage.of(stage)
    if archive and wanted not in (ModelStage.STAGING, ModelStage.PRODUCTION):
        raise InvalidInput(
            f"archive_existing_versions goes with Staging and Production, found the stage {wanted!r}: leave it out."
        )
    return wanted


def _number(model: Ledger, version: object) -> str:
    return "" if version is None else model.row(version).version


def moved(
    model: Ledger,
    number: str,
    stage: str,
    archive: bool,
    comment: str | None,
    details: Mapping[str, Any] | None = None,
) -> list[Draft]:
    """The rows that move a version to a stage, with ``archive`` those that are there to Archived."""
    others = [held for held in model.holders(stage) if held != number] if archive else []
    because = comment or f"version {number} came to {stage}"
    away = [Draft(What.STAGE, ModelStage.ARCHIVED, held, comment=because) for held in others]
    return [*away, Draft(What.STAGE, stage, number, comment=comment, details=details or {})]


def answered(model: Ledger, number: str, stage: str) -> list[Draft]:
    """What closes the request for a move that somebody makes without it."""
    if model.value(What.REQUEST, number, stage) is None:
        return []
    return [Draft(What.REQUEST, None, number, stage, details={"answer": "done"})]


def _described(description: str | None) -> list[Draft]:
    text = check_note("description", description)
    return [Draft(What.DESCRIPTION, text)] if text else []


def _tagged(tags: Iterable[tuple[str, Any]]) -> list[Draft]:
    checked = [(check_key("tag", key), check_value("tag", key, value, MAX_TAG_VALUE)) for key, value in tags]
    return [Draft(What.TAG, value, key=key) for key, value in checked]
