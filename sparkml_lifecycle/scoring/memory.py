"""What a job remembers of its earlier commits: how far it read which source, with which model, and which batches it wrote.

Every commit of a job raises the job's counter, the transaction identifier ``sparkml:job:<job>``, and says what it did. A
checkpoint of the log keeps the counter alone, so the sum of what the commits said is copied to ``_sparkml/jobs/<job>.json``
after each; where the copy is behind the counter, the commits that it lacks are read from the log.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

from sparkml_lifecycle.scoring.log import Entry, latest

DIRECTORY = "_sparkml/jobs"
# what the target held before is gone, and with it what is remembered of it
REPLACES = "overwrite"


class Place(Protocol):
    """A target as the job's bookkeeping sees it, whoever commits to it."""

    @property
    def version(self) -> int:
        """The table's version; -1 where it is not there yet."""

    @property
    def table_id(self) -> str:
        """Delta's identifier of the table; empty where it is not there yet."""

    def version_of(self, identifier: str) -> int | None:
        """What the last commit under a transaction identifier made it."""

    def read_text(self, path: str) -> str | None:
        """A file below the table's directory; None where there is none."""

    def write_text(self, path: str, text: str) -> None:
        """Put a file there, whole or not at all."""

    def names(self, path: str) -> list[str]:
        """The names of the files of a directory; empty where there is none."""


@dataclass(frozen=True)
class Read:
    """How far a job has read one source.

    Attributes
    ----------
    version : int or None
        Of a Delta table.
    files : mapping or None
        Size and time of each file of a source without versions.
    options : str
        What else decides which rows come out, and how: each option that is set, with the digest of its value.
    """

    version: int | None = None
    files: Mapping[str, Sequence[int]] | None = None
    options: str = ""


@dataclass(frozen=True)
class Memory:
    """What a job remembers.

    Attributes
    ----------
    job : str
    table_id : str
        The target's; in a table that was made anew nothing of it holds.
    counter : int
        How many commits there are; 0 for none.
    version : int
        The target's version that the last one made.
    seen : int
        The target's version up to which others' commits were looked at.
    mode : str
        Of the last commit.
    sources : mapping of str to Read
    model_digest : str
        Of the last commit.
    batches : tuple of str
        The names that were written since the last overwrite.
    rows : mapping of str to int
        Rows written since then, by the model's digest.
    adopted : tuple of str
        The jobs whose rows this one has taken over.
    replaced : int
        The target's version that its last overwrite made; -1 for none.
    """

    job: str
    table_id: str = ""
    counter: int = 0
    version: int = -1
    seen: int = -1
    mode: str = ""
    sources: Mapping[str, Read] = field(default_factory=dict)
    model_digest: str = ""
    batches: tuple[str, ...] = ()
    rows: Mapping[str, int] = field(default_factory=dict)
    adopted: tuple[str, ...] = ()
    replaced: int = -1

    def after(self, said: Mapping[str, Any], version: int, rows: int) -> "Memory":
        """What the job remembers after one more commit, of which :func:`said_of` gave ``said``."""
        anew = said["mode"] == REPLACES
        source, digest = said.get("source"), said["model_digest"]
        sources = {} if anew else dict(self.sources)
        if source is not None:
            read = Read(source.get("version"), source.get("files"), source.get("options", ""))
            before = sources.get(source["id"])
            if before is not None and before.files is not None and read.files is not None:
                read = replace(read, files={**before.files, **read.files})
            sources[source["id"]] = read
        written = {} if anew else dict(self.rows)
        adopted = said.get("adopted", {})
        for job, theirs in adopted.items():
            if job not in self.adopted:
                written = {name: written.get(name, 0) + theirs.get(name, 0) for name in {**written, **theirs}}
        written[digest] = written.get(digest, 0) + rows
        batch = [said["batch"]] if said.get("batch") else []
        return replace(
            self, counter=said["counter"], version=version, seen=said.get("seen", version), mode=said["mode"], sources=sources,
            model_digest=digest, batches=tuple(dict.fromkeys([*(() if anew else self.batches), *batch])),
            rows={name: count for name, count in written.items() if count},
            adopted=() if anew else tuple(dict.fromkeys([*self.adopted, *adopted])), replaced=version if anew else self.replaced,
        )  # fmt: skip

    def to_json(self) -> str:
        """The copy's text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Memory":
        """The memory out of its copy.

        Raises
        ------
        ValueError
            If it is no copy, or half of one.
        """
        try:
            content = json.loads(text)
            sources = {name: Read(**read) for name, read in content.pop("sources").items()}
            return cls(
                **{
                    **content,
                    "sources": sources,
                    "batches": tuple(content["batches"]),
                    "adopted": tuple(content["adopted"]),
                }
            )
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError("no memory of a job") from error


class Forgotten(Exception):
    """Neither the copy nor the log says what the job's commits did."""


def identifier(job: str) -> str:
    """The transaction identifier of a job's counter."""
    return f"sparkml:job:{job}"


def first_identifier(source: str) -> str:
    """What a job raises that reads a source for the first time: of two that do so at once, one is told."""
    return f"sparkml:source:{source}"


def recall(place: Place, job: str) -> Memory:
    """What a job remembers of this target.

    Raises
    ------
    Forgotten
        If the copy is missing or behind, and the log was cleaned.
    """
    counter = place.version_of(identifier(job)) or 0
    kept = _copy(place, job)
    if kept is not None and kept.table_id != place.table_id:
        kept = None
    known = kept or Memory(job, place.table_id)
    if known.counter == counter:
        return known
    if known.counter > counter:
        # the table's log was put back, or says nothing of old commits any more
        raise Forgotten
    mine = [entry for entry in latest(place.read_text, 0, place.version) if entry.said.get("job") == job]
    return _with(known, mine, counter)


def _with(known: Memory, mine: Sequence[Entry], counter: int) -> Memory:
    """The memory with the commits that it lacks; an overwrite needs nothing that was before it."""
    start = next((n for n in range(len(mine) - 1, -1, -1) if mine[n].said.get("mode") == REPLACES), 0)
    if mine and mine[start].said.get("mode") == REPLACES and mine[start].said["counter"] > known.counter:
        known = Memory(known.job, known.table_id, counter=mine[start].said["counter"] - 1)
    for entry in mine:
        if entry.said.get("counter", 0) == known.counter + 1:
            known = known.after(entry.said, entry.version, entry.said.get("rows", entry.rows or 0))
    if known.counter != counter:
        raise Forgotten
    return known


def remember(place: Place, memory: Memory) -> None:
    """Put the copy beside the table; what is lost of it is read from the log the next time."""
    place.write_text(_path(memory.job), memory.to_json())


def others(place: Place, job: str, known: Memory | None = None) -> list[Memory]:
    """What other jobs remember of this target, as far as rows of theirs are in it.

    Rows that a job has adopted are that job's. Where this job's own copy is not there (``known`` is what it remembers all the
    same), others' may be lost too, and the log is asked for what they did.
    """
    names = [name.removesuffix(".json") for name in place.names(DIRECTORY) if name.endswith(".json")]
    kept = [memory for name in names if (memory := _copy(place, name)) is not None]
    if job not in names:
        said = {str(entry.said["job"]) for entry in latest(place.read_text, 0, place.version) if "job" in entry.said}
        for name in sorted(said - {job, *names}):
            with suppress(Forgotten):
                kept.append(recall(place, name))
    everybody = [*kept, known] if known is not None else kept
    replaced = max((memory.replaced for memory in everybody), default=-1)
    taken = {name for memory in everybody for name in memory.adopted}
    return [
        memory
        for memory in kept
        if memory.job not in (job, *taken)
        and memory.table_id == place.table_id
        and memory.version >= replaced
        and memory.rows
    ]


def _copy(place: Place, job: str) -> Memory | None:
    text = place.read_text(_path(job))
    if text is None:
        return None
    try:
        return Memory.from_json(text)
    except ValueError:
        return None


def _path(job: str) -> str:
    return f"{DIRECTORY}/{job}.json"
