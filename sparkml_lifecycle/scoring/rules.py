"""What a job does this time: everything, what its source gained, or nothing; or it stops and says what can be chosen.

Nothing here reads or writes a table; the rules are those of the README's section on jobs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from sparkml_lifecycle.errors import InvalidInput, JobStopped
from sparkml_lifecycle.scoring import log
from sparkml_lifecycle.scoring.conf import JobConf
from sparkml_lifecycle.scoring.log import Entry
from sparkml_lifecycle.scoring.memory import Memory, Read

REDO = "redo: true scores the whole source again in place of what the target holds"


@dataclass(frozen=True)
class Gained:
    """What a source has that it had not when it was read.

    Attributes
    ----------
    adds : tuple of str
        A Delta table's add actions.
    files : mapping
        Size and time of each new file of a source without versions.
    dropped, rewrote : tuple of int
        Versions that only took rows away, and those that put others in their place.
    changed : tuple of str
        Files of a source without versions that are not as they were read.
    cleaned : int or None
        The newest version whose commit is not in the log any more.
    """

    adds: tuple[str, ...] = ()
    files: Mapping[str, Sequence[int]] = field(default_factory=dict)
    dropped: tuple[int, ...] = ()
    rewrote: tuple[int, ...] = ()
    changed: tuple[str, ...] = ()
    cleaned: int | None = None

    def sizes(self) -> list[tuple[str, int]]:
        """Path and bytes of each file that a Delta table has gained."""
        return [log.path_and_size(add) for add in self.adds]

    @property
    def is_empty(self) -> bool:
        """Whether there is no new row."""
        return not self.adds and not self.files


@dataclass(frozen=True)
class SourceState:
    """A source as a job finds it.

    Attributes
    ----------
    id : str
        What it is, whatever it is called: a Delta table's identifier or a normal URI; empty where nothing tells whether it
        has changed, as with a query.
    shown : str
        What it is called.
    now : Read
        How far it can be read now.
    gained : callable
        What came since it was read so far.
    """

    id: str
    shown: str
    now: Read
    gained: Callable[[Read], Gained]


@dataclass(frozen=True)
class TargetState:
    """A target as a job finds it.

    Attributes
    ----------
    shown : str
    version : int
        -1 where it is not there yet.
    counter : int
        How many commits of the job the table counts.
    memory : Memory or None
        None where it is lost.
    others : sequence of Memory
        The other jobs with rows in it.
    changes : sequence of Entry or None
        What others have done to its rows since the job looked; None where the log does not say any more.
    has_foreign_rows : callable
        Whether it holds rows that this job did not write.
    adopted_by : str or None
        The job that goes on from this one's rows.
    """

    shown: str
    version: int
    counter: int
    memory: Memory | None
    others: Sequence[Memory]
    changes: Sequence[Entry] | None
    has_foreign_rows: Callable[[], bool]
    adopted_by: str | None = None


@dataclass(frozen=True)
class Decision:
    """What the job does.

    Attributes
    ----------
    scores : {"all", "gained", "nothing"}
    overwrites : bool
        Whether all rows of the target are replaced.
    memory : Memory
        What the job knows before.
    gained : Gained or None
        With ``gained``, what it scores.
    commits : bool
        Whether there is a commit: also without a row where a choice has to be remembered.
    notes : tuple of str
        What the report says beside the figures.
    """

    scores: Literal["all", "gained", "nothing"]
    overwrites: bool
    memory: Memory
    gained: Gained | None = None
    commits: bool = True
    notes: tuple[str, ...] = ()


def decide(conf: JobConf, model_digest: str, source: SourceState, target: TargetState) -> Decision:
    """What a job does.

    Raises
    ------
    JobStopped
        Where somebody has to choose, with the choices.
    InvalidInput
        If the mode cannot be had with this source.
    """
    if conf.mode == "overwrite" or (conf.redo and conf.mode == "incremental"):
        return _overwrite(conf, model_digest, source, target)
    memory = _known(conf, target)
    _check_adopted(conf, target)
    if conf.mode == "append":
        return _append(conf, memory)
    return _incremental(conf, model_digest, source, target, memory)


# -- overwrite -----------------------------------------------------------------------------------------------------------------


def _overwrite(conf: JobConf, model_digest: str, source: SourceState, target: TargetState) -> Decision:
    memory = target.memory
    if memory is not None and not conf.redo and _is_as_left(memory, model_digest, source, target):
        return Decision(
            "nothing",
            True,
            memory,
            commits=False,
            notes=("source, model, options and target are as its last overwrite left them",),
        )
    if target.version >= 0 and not conf.replace_all and target.has_foreign_rows():
        named = ", ".join(repr(one.job) for one in target.others)
        whose = f"rows of the jobs {named}" if named else "rows that this job did not write"
        raise JobStopped(
            f"The target {target.shown!r} holds {whose}, and an overwrite would erase them. replace_all: true does that; "
            "otherwise choose a target of its own."
        )
    return Decision("all", True, memory or Memory(conf.job))


def _is_as_left(memory: Memory, model_digest: str, source: SourceState, target: TargetState) -> bool:
    return (
        memory.mode == "overwrite" and bool(source.id) and dict(memory.sources) == {source.id: source.now}
        and memory.model_digest == model_digest and target.changes is not None and not target.changes
    )  # fmt: skip


# -- what append and incremental share -----------------------------------------------------------------------------------------


def _known(conf: JobConf, target: TargetState) -> Memory:
    """The job's memory, where the target still holds what it wrote."""
    memory = target.memory
    if memory is None:
        if conf.accept:
            return Memory(conf.job)
        raise JobStopped(
            f"What the job {conf.job!r} did to the target {target.shown!r} is not known any more: its file in _sparkml/jobs is lost and "
            f"the target's log was cleaned. {_choice(conf)}, or accept: true takes the target as it is and counts the source as read."
        )
    if memory.counter == 0 or conf.accept or conf.redo:
        return memory
    if why := _disturbed(target):
        raise JobStopped(
            f"{why} the target {target.shown!r} since the job {conf.job!r} last wrote to it. {_choice(conf)}, or accept: true leaves it "
            "as it is and goes on with what is new."
        )
    return memory


def _disturbed(target: TargetState) -> str:
    """What others did to the target that matters, as the beginning of a sentence; empty where it is as it was."""
    taken = [entry for entry in target.changes or () if entry.removed]
    if taken:
        return f"{_listed(taken)} took rows away from"
    return "The log does not say any more what others did to" if target.changes is None else ""


def _choice(conf: JobConf) -> str:
    return "Choose: redo: true writes this batch again" if conf.mode == "append" else f"Choose: {REDO}"


def _listed(taken: Sequence[Entry]) -> str:
    return ", ".join(f"version {entry.version} ({entry.operation})" for entry in taken[:3])


def _check_adopted(conf: JobConf, target: TargetState) -> None:
    if target.adopted_by is not None and not conf.alongside:
        raise JobStopped(
            f"The job {target.adopted_by!r} has adopted the rows that {conf.job!r} wrote to {target.shown!r} and goes on from there. Run that one, or say "
            "alongside: true to write rows of both."
        )


# -- append --------------------------------------------------------------------------------------------------------------------


def _append(conf: JobConf, memory: Memory) -> Decision:
    if conf.batch in memory.batches and not conf.redo:
        return Decision("nothing", False, memory, commits=False, notes=(f"batch {conf.batch!r} is there already",))
    return Decision("all", False, memory)


# -- incremental ---------------------------------------------------------------------------------------------------------------


def _incremental(
    conf: JobConf, model_digest: str, source: SourceState, target: TargetState, memory: Memory
) -> Decision:
    if not source.id:
        raise InvalidInput(
            f"Nothing tells what the source {source.shown!r} has gained, so mode: incremental cannot be had: it takes a Delta table, or files "
            "by path. Use mode: overwrite, or mode: append with a batch name."
        )
    if target.memory is None:
        return Decision("nothing", False, memory, notes=("the target is taken as it is, and the source as read",))
    if conf.adopt:
        memory = _adopted(conf, source, target, memory)
    if not memory.sources:
        return _first(conf, source, target, memory)
    read = memory.sources.get(source.id)
    if read is None:
        return _another_source(conf, source, target, memory)
    other = ", ".join(f"{name}:" for name in _differing(read.options, source.now.options))
    if other and not conf.accept:
        raise JobStopped(
            f"The job {conf.job!r} has scored {source.shown!r} with another {other} so far. Choose: put back what it was; "
            f"{REDO}; accept: true goes on with the new one from here."
        )
    decision = _since(conf, model_digest, source, memory, read)
    if not conf.accept:
        return decision
    passed = [
        f"{why} the target" if (why := _disturbed(target)) else "",
        _passed_over(source, read, decision.gained),
        f"{other} differs from what earlier rows were scored with" if other else "",
    ]
    accepted = [f"accepted: {one.rstrip('.')}" for one in passed if one] or [
        "accept: true had nothing to accept; leave it out"
    ]
    return replace(decision, notes=(*accepted, *decision.notes))


def _first(conf: JobConf, source: SourceState, target: TargetState, memory: Memory) -> Decision:
    same = [one.job for one in target.others if source.id in one.sources]
    if same and not conf.alongside:
        raise JobStopped(
            f"The target {target.shown!r} holds rows of {source.shown!r} already, written by the job {same[0]!r}. Choose: adopt: {same[0]} goes "
            "on from where that job stopped; alongside: true scores the whole source and adds its rows to those."
        )
    return Decision("all", False, memory)


def _another_source(conf: JobConf, source: SourceState, target: TargetState, memory: Memory) -> Decision:
    if conf.accept:
        return Decision("all", False, memory)
    raise JobStopped(
        f"The job {conf.job!r} has scored another source so far than {source.shown!r} (one of that name may have been made anew). Choose: give this "
        f"one a job: of its own; {REDO}; accept: true adds all rows of the new source."
    )


def _adopted(conf: JobConf, source: SourceState, target: TargetState, memory: Memory) -> Memory:
    if conf.adopt in memory.adopted:
        return memory
    other = next((one for one in target.others if one.job == conf.adopt), None)
    if other is None or source.id not in other.sources:
        raise InvalidInput(
            f"adopt: the job {conf.adopt!r} has no rows of {source.shown!r} in the target {target.shown!r}."
        )
    return replace(
        memory, sources={**other.sources, **memory.sources}, model_digest=memory.model_digest or other.model_digest
    )


def _since(conf: JobConf, model_digest: str, source: SourceState, memory: Memory, read: Read) -> Decision:
    if source.now.version is not None and read.version is not None and source.now.version < read.version:
        raise JobStopped(
            f"The source {source.shown!r} is at version {source.now.version}, and the job {conf.job!r} has read it up to {read.version}. Choose: read "
            f"a newer version; {REDO}."
        )
    gained = source.gained(read)
    if not conf.accept:
        why = _passed_over(source, read, gained)
        if why:
            raise JobStopped(
                f"{why} Choose: {REDO}; accept: true leaves those as they were scored and goes on with what came new."
            )
    notes = []
    if gained.dropped:
        notes.append(f"{_versions(gained.dropped)} of the source only took rows away; their predictions stay")
    old = sum(count for digest, count in memory.rows.items() if digest != model_digest)
    if old:
        notes.append(
            f"{old:,} rows in the target are from other versions of the model; mode: overwrite scores them again"
        )
    if gained.is_empty and not conf.accept and not conf.adopt:
        since = f" since version {read.version}" if read.version is not None else ""
        return Decision("nothing", False, memory, gained, False, (f"the source has no new rows{since}", *notes))
    return Decision("nothing" if gained.is_empty else "gained", False, memory, gained, notes=tuple(notes))


def _passed_over(source: SourceState, read: Read, gained: Gained | None) -> str:
    """What of a source's changes cannot be told apart from new rows; empty where nothing."""
    if gained is None:
        return ""
    if gained.cleaned is not None:
        return f"What the source {source.shown!r} gained since version {read.version} is not known: its log was cleaned up to version {gained.cleaned}."
    if gained.rewrote:
        return f"Rows of the source {source.shown!r} were rewritten in its {_versions(gained.rewrote[:5])}, and which are new cannot be told."
    if gained.changed:
        some = ", ".join(gained.changed[:3])
        return f"Files of the source {source.shown!r} are not as they were when they were scored: {some}."
    return ""


def _versions(some: Sequence[int]) -> str:
    return f"version{'s' * (len(some) > 1)} {', '.join(map(str, some))}"


def options_digest(content: Mapping[str, Any]) -> str:
    """The options that decide which rows come out, and how, as ``name:digest`` of each that is set."""
    import hashlib
    import json

    def digest(value: Any) -> str:
        return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]

    return " ".join(f"{name}:{digest(value)}" for name, value in sorted(content.items()) if value not in (None, "", {}))


# rows that are added may be laid out in another way than those before
_OF_A_COMMIT = {"on_error", "target.partition_by"}


def _differing(before: str, now: str) -> list[str]:
    """The options of which the values differ, or which only one has."""
    return sorted({one.rpartition(":")[0] for one in {*before.split()} ^ {*now.split()}} - _OF_A_COMMIT)
