"""What a job reads: its source at one version, how far that is, and what came since an earlier reading."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sparkml_lifecycle import uris
from sparkml_lifecycle.scoring import hadoop, log
from sparkml_lifecycle.scoring.conf import BY_FILE, JobConf
from sparkml_lifecycle.scoring.memory import Read
from sparkml_lifecycle.scoring.rules import Gained, SourceState, options_digest
from sparkml_lifecycle.scoring.source import escaped, filtered, read_source
from sparkml_lifecycle.spark import delta_reads

# with one of these the source is at a version already
_TRAVEL = ("versionasof", "timestampasof")


@dataclass(frozen=True)
class Reading:
    """A source, opened once for a job: whatever is committed to it meanwhile is for the next one.

    Attributes
    ----------
    rows : DataFrame
        All of its rows, the job's condition applied.
    state : SourceState
    gained : callable
        The rows of what it has gained, the job's condition applied.
    """

    rows: Any
    state: SourceState
    gained: Callable[[Gained], Any]


def open_source(spark: Any, conf: JobConf) -> Reading:
    """Open the source of a job.

    Raises
    ------
    NotFound, InvalidInput
        As :func:`sparkml_lifecycle.scoring.source.read_source`; also where ``where`` cannot be read.
    """
    rows = read_source(spark, conf.source)
    found = delta_reads(rows) if conf.source.format in ("delta", "table") else []
    if len(found) == 1 and found[0] is not None:
        return _delta(spark, conf, rows, *found[0])
    if conf.source.format in BY_FILE:
        return _by_file(spark, conf, rows)
    state = SourceState("", conf.source.path, Read(options=options_of(conf)), lambda read: Gained())
    return Reading(_where(rows, conf), state, lambda gained: rows)


def _where(rows: Any, conf: JobConf) -> Any:
    return filtered(rows, conf.where) if conf.where else rows


def options_of(conf: JobConf) -> str:
    """What decides, beside the source, which rows come out and how."""
    names = ("where", "keep", "output", "prefix", "result_type", "predict_fn", "params", "on_error")
    inside = {"source.options": conf.source.options, "target.partition_by": conf.target.partition_by}
    return options_digest({**{name: getattr(conf, name) for name in names}, **inside})


# -- Delta -------------------------------------------------------------------------------------------------------------------


def _delta(spark: Any, conf: JobConf, rows: Any, path: str, version: int) -> Reading:
    given = {name.lower() for name in conf.source.options}
    if not given.intersection(_TRAVEL):
        # Spark would read the newest version at each of a job's queries
        rows = read_source(spark, conf.source, version)
    table = hadoop.delta_relation(rows)
    state = SourceState(
        f"delta:{table.id}", conf.source.path, Read(version, options=options_of(conf)),
        lambda read: delta_gained(lambda name: hadoop.read_text(spark, f"{path}/{name}"), read, version),
    )  # fmt: skip
    return Reading(_where(rows, conf), state, lambda gained: _where(table.only(gained.adds), conf))


def delta_gained(read_text: log.ReadText, read: Read, version: int) -> Gained:
    """What a Delta table has gained since it was read, by its log: each file that brought rows, once."""
    first = (-1 if read.version is None else read.version) + 1
    cleaned = None
    try:
        entries = log.entries(read_text, first, version)
    except log.Gap as gap:
        cleaned = gap.version
        entries = log.latest(read_text, first, version)
    adds: dict[str, str] = {}
    dropped, rewrote = [], []
    arrived: set[str] = set()
    gone: set[str] = set()
    for entry in entries:
        arrived.update(entry.arrived)
        gone.update((*entry.removed, *entry.moved))
        # files that nobody has read yet may be replaced by others
        old = [path for path in entry.removed if path not in adds]
        new = {log.path_of(add): add for add in entry.added}
        # rows that were there before come back
        back = entry.operation == "RESTORE" or not gone.isdisjoint(new)
        if (old and (new or not arrived.isdisjoint(old))) or (new and back):
            rewrote.append(entry.version)
            continue
        if old:
            dropped.append(entry.version)
        for path in entry.removed:
            adds.pop(path, None)
        adds.update(new)
    return Gained(tuple(adds.values()), dropped=tuple(dropped), rewrote=tuple(rewrote), cleaned=cleaned)


# -- files -------------------------------------------------------------------------------------------------------------------


def _by_file(spark: Any, conf: JobConf, rows: Any) -> Reading:
    found = hadoop.files_of(rows)
    path_of = file_keys(list(found))
    now = {key: found[path] for key, path in path_of.items()}
    read = Read(files=now, options=options_of(conf))
    state = SourceState(uris.real(conf.source.path), conf.source.path, read, lambda before: files_gained(now, before))

    def gained(new: Gained) -> Any:
        reader = spark.read.format(conf.source.format).schema(rows.schema).options(**conf.source.options)
        if hadoop.kind(spark, conf.source.path) == "directory":
            # the columns that the directories' names hold
            reader = reader.option("basePath", uris.for_spark(conf.source.path))
        return _where(reader.load([escaped(uris.for_spark(path_of[key])) for key in new.files]), conf)

    return Reading(_where(rows, conf), state, gained)


def file_keys(paths: Sequence[str]) -> dict[str, str]:
    """The name under which a job remembers each file: one, however its directory is spelled or linked; with the path to it."""
    real: dict[str, str] = {}
    found = {}
    for path in paths:
        directory, _, name = path.rpartition("/")
        if "://" not in path and directory not in real:
            real[directory] = uris.real(directory or "/").rstrip("/")
        found[path if "://" in path else f"{real[directory]}/{name}"] = path
    return found


def files_gained(now: Mapping[str, Sequence[int]], before: Read) -> Gained:
    """What a directory has gained, by its files' paths, sizes and times."""
    known = before.files or {}
    new = {path: stat for path, stat in now.items() if path not in known}
    changed = [path for path, stat in now.items() if path in known and list(known[path]) != list(stat)]
    return Gained(files=new, changed=tuple(changed))
