"""One job from its decision to its commit, begun again where another run of the job comes first."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from sparkml_lifecycle.errors import Conflict, LifecycleError
from sparkml_lifecycle.scoring import files, memory, rules, sink
from sparkml_lifecycle.scoring.commit import Target
from sparkml_lifecycle.scoring.conf import JobConf
from sparkml_lifecycle.scoring.log import Entry, Gap, entries
from sparkml_lifecycle.scoring.memory import Memory
from sparkml_lifecycle.scoring.rules import Decision, SourceState, TargetState
from sparkml_lifecycle.scoring.sink import Commit, SparkTarget

# other runs of the job may come first again and again
_ATTEMPTS = 5


@dataclass(frozen=True)
class Done:
    """What became of a job.

    Attributes
    ----------
    commit : Commit
    source_version : int or None
    engine, why : str
    notes : tuple of str
    evaluators : collection of str
        What scored the rows, each with the reason.
    """

    commit: Commit
    source_version: int | None
    engine: str
    why: str
    notes: tuple[str, ...]
    evaluators: Collection[str] = ()


class Way(Protocol):
    """How a job's rows come into its target."""

    engine: str
    why: str

    @property
    def notes(self) -> tuple[str, ...]:
        """What is worth knowing of how the rows were scored."""

    @property
    def evaluators(self) -> Collection[str]:
        """What scored the rows, each with the reason."""

    def commit(self, target: Any, decision: Decision, said: dict[str, Any]) -> Commit:
        """Score and commit; :class:`Conflict` where somebody else came first."""

    def forget(self) -> None:
        """Delete what was written and will not be committed."""


@dataclass
class ByFiles:
    """Workers write files, and delta-rs commits them.

    Parameters
    ----------
    conf : JobConf
    engine, why : str
    score : callable
        Lets the workers write what a decision asks for.
    target : Target
    """

    conf: JobConf
    engine: str
    why: str
    score: Callable[[Decision], files.Files]
    target: Target
    _files: files.Files | None = field(default=None, init=False)
    _scored: Decision | None = field(default=None, init=False)

    @property
    def notes(self) -> tuple[str, ...]:
        """What is worth knowing of the files."""
        return self._files.notes if self._files is not None else ()

    @property
    def evaluators(self) -> Collection[str]:
        """What scored the rows, each with the reason."""
        return self._files.evaluators if self._files is not None else ()

    def commit(self, target: Any, decision: Decision, said: dict[str, Any]) -> Commit:
        """Score and commit; what an attempt before has written is as good."""
        before = self._scored
        if (
            self._files is None
            or before is None
            or (before.scores, before.gained) != (decision.scores, decision.gained)
        ):
            self.forget()
            self._files = self.score(decision)
            self._scored = decision
        said["rows"] = self._files.rows
        return files.commit(target, self._files, self.conf, said)

    def forget(self) -> None:
        """Delete the files."""
        if self._files is not None:
            files.discard(self.target, self._files)
            self._files = None


@dataclass
class BySpark:
    """Spark scores by a function of columns, and its own Delta writer commits.

    Parameters
    ----------
    conf : JobConf
    engine, why : str
    score : callable
        The DataFrame with what a decision asks for, and what counts its errors once it is written.
    notes : tuple of str
        What is worth knowing of the workers.
    evaluators : collection of str
        What scores the rows, each with the reason.
    """

    conf: JobConf
    engine: str
    why: str
    score: Callable[[Decision], tuple[Any, Callable[[], int]]]
    notes: tuple[str, ...] = ()
    evaluators: Collection[str] = ()

    def commit(self, target: Any, decision: Decision, said: dict[str, Any]) -> Commit:
        """Score and commit."""
        scored, errors = self.score(decision)
        done = sink.write(target, scored, self.conf, said)
        return replace(done, errors=errors())

    def forget(self) -> None:
        """Spark deletes nothing that it has not committed; a vacuum does."""


@dataclass
class Attempt:
    """A job whose source is open and whose engine is chosen.

    Parameters
    ----------
    conf : JobConf
    model_digest : str
    source : SourceState
    way : Way
    run_id : str
        The run that records the job.
    """

    conf: JobConf
    model_digest: str
    source: SourceState
    way: Way
    run_id: str

    def until_done(self, target: Target | SparkTarget) -> Done:
        """Decide, score and commit.

        Raises
        ------
        JobStopped
            Where somebody has to choose.
        Conflict
            If somebody else changed a target that was to be replaced.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            state = state_of(target, self.conf)
            decision = rules.decide(self.conf, self.model_digest, self.source, state)
            if not decision.commits:
                self.way.forget()
                self._note_position(target, decision)
                return self._done(Commit(target.version, 0, False), decision)
            said = self._said(decision, state)
            try:
                done = self.way.commit(target, decision, said)
            except Conflict:
                target = target.again()
                rival = (target.version_of(memory.identifier(self.conf.job)) or 0) >= said["counter"]
                if attempt == _ATTEMPTS or not (rival or "first" in said):
                    self.way.forget()
                    raise
            except BaseException:
                self.way.forget()
                raise
            else:
                notes = self._remember(target, decision.memory, said, done)
                return self._done(done, replace(decision, notes=(*decision.notes, *notes)))
        raise AssertionError("the last attempt returns or raises")

    def _done(self, commit: Commit, decision: Decision) -> Done:
        notes = (*decision.notes, *self.way.notes)
        evaluators = self.way.evaluators if commit.made else ()
        return Done(commit, self.source.now.version, self.way.engine, self.way.why, notes, evaluators)

    # -- what is remembered -------------------------------------------------------------------------------------------------------

    def _said(self, decision: Decision, state: TargetState) -> dict[str, Any]:
        """What the commit says of itself, out of which the job's memory can be made again."""
        source = self.source
        read: dict[str, Any] = {"id": source.id, "options": source.now.options}
        if source.now.version is not None:
            read["version"] = source.now.version
        if source.now.files is not None:
            known = decision.memory.sources.get(source.id)
            older = {} if decision.gained is None or self.conf.adopt or known is None else known.files or {}
            read["files"] = {
                path: list(stat) for path, stat in source.now.files.items() if list(older.get(path, ())) != list(stat)
            }
        said: dict[str, Any] = {
            "job": self.conf.job, "mode": "overwrite" if decision.overwrites else self.conf.mode, "batch": self.conf.batch,
            "run_id": self.run_id, "counter": _counter(state, decision) + 1, "seen": state.version,
            "model_digest": self.model_digest,
        }  # fmt: skip
        if source.id:
            said["source"] = read
            if self.conf.mode == "incremental" and not decision.overwrites and not decision.memory.sources:
                said["first"] = True
        if self.conf.adopt and self.conf.adopt not in decision.memory.adopted:
            adopted = next(one for one in state.others if one.job == self.conf.adopt)
            said["adopted"] = {adopted.job: dict(adopted.rows)}
        return said

    def _remember(
        self, target: Target | SparkTarget, known: Memory, said: Mapping[str, Any], done: Commit
    ) -> Sequence[str]:
        """Copy what is remembered beside the table; gives what is to be said where that fails, for the rows are committed."""
        try:
            now = target.again()
            base = replace(known, job=self.conf.job, table_id=now.table_id)
            memory.remember(now, base.after(said, done.version, done.rows))
        except LifecycleError as error:
            return (f"what the job remembers was not written beside the table ({error}); it will be read from the log",)
        return ()

    def _note_position(self, target: Target | SparkTarget, decision: Decision) -> None:
        """Where a source has new versions and no new rows: so that its old log is not needed the next time."""
        source = self.source
        known = decision.memory.sources.get(source.id)
        if decision.gained is not None and known is not None and known.version != source.now.version:
            moved = {**decision.memory.sources, source.id: replace(known, version=source.now.version)}
            memory.remember(target, replace(decision.memory, sources=moved))


def _counter(state: TargetState, decision: Decision) -> int:
    return max(decision.memory.counter, state.counter)


def state_of(target: Target | SparkTarget, conf: JobConf) -> TargetState:
    """A target as the rules see it."""
    counter = target.version_of(memory.identifier(conf.job)) or 0
    try:
        known: Memory | None = memory.recall(target, conf.job)
    except memory.Forgotten:
        known = None
    others = memory.others(target, conf.job, known) if target.version >= 0 else []
    since = _since(target, known)

    def has_foreign_rows() -> bool:
        own = sum(known.rows.values()) if known is not None else 0
        # where rows were deleted too, what is left of their files is added again
        came = any(entry.added and not entry.removed for entry in _changes(since, conf) or ())
        return bool(others) or came or target.rows() > own

    return TargetState(
        conf.target.path, target.version, counter, known, others, _changes(since, conf), has_foreign_rows,
        _adopter(others, since, conf),
    )  # fmt: skip


def _since(target: Target | SparkTarget, known: Memory | None) -> Sequence[Entry] | None:
    """What was committed since the job looked; None where the log does not say any more."""
    if known is None or known.counter == 0:
        return ()
    try:
        return entries(target.read_text, known.seen + 1, target.version)
    except Gap:
        return None


def _changes(since: Sequence[Entry] | None, conf: JobConf) -> Sequence[Entry] | None:
    if since is None:
        return None
    return [entry for entry in since if entry.changes_rows and entry.said.get("job") != conf.job]


def _adopter(others: Sequence[Memory], since: Sequence[Entry] | None, conf: JobConf) -> str | None:
    """Who goes on from this job's rows, by its memory or, where that is lost, by what it committed."""
    by_memory = [one.job for one in others if conf.job in one.adopted]
    by_log = [str(entry.said["job"]) for entry in since or () if conf.job in entry.said.get("adopted", {})]
    return next(iter([*by_memory, *by_log]), None)
