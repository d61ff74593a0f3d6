"""A job whose workers write the target's files: the direct and the dataframe engine, and the one commit of delta-rs after them."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from sparkml_lifecycle.errors import LifecycleError
from sparkml_lifecycle.scoring import failures, partitions, split
from sparkml_lifecycle.scoring.commit import Target
from sparkml_lifecycle.scoring.conf import JobConf
from sparkml_lifecycle.scoring.direct import FilePlan
from sparkml_lifecycle.scoring.layout import Layout
from sparkml_lifecycle.scoring.log import OURS
from sparkml_lifecycle.scoring.memory import first_identifier, identifier
from sparkml_lifecycle.scoring.output import Written
from sparkml_lifecycle.scoring.sink import Commit
from sparkml_lifecycle.scoring.worker import ModelReference
from sparkml_lifecycle.storage import open_storage


@dataclass(frozen=True)
class Files:
    """What workers have written and nobody has committed yet.

    Attributes
    ----------
    written : tuple of Written
    schema : pyarrow.Schema
        The target's columns.
    partition_by : tuple of str
    """

    written: tuple[Written, ...]
    schema: pa.Schema
    partition_by: tuple[str, ...]

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return sum(one.rows for one in self.written)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the workers have that the model was not saved with, and how many rows have no answer although nothing was raised."""
        nulls = sum(one.nulls for one in self.written) - self.errors
        missing = (
            (f"{nulls:,} rows have null for an answer, as where the model takes no missing value",) if nulls > 0 else ()
        )
        return (*notes_of({one for file in self.written for one in file.differs}), *missing)

    @property
    def evaluators(self) -> frozenset[str]:
        """What scored the rows, and why."""
        return frozenset(one.evaluator for one in self.written if one.evaluator)

    @property
    def errors(self) -> int:
        """How many of them have no answer."""
        return sum(one.errors for one in self.written)


def notes_of(differs: Collection[str]) -> tuple[str, ...]:
    """The note about workers whose versions are not the model's."""
    return (
        (f"workers have not the versions of the model: {', '.join(sorted(differs))}; its answers may differ",)
        if differs
        else ()
    )


def plan_of(
    found: pa.Schema, result: pa.DataType, layout: Layout, target: Target, reference: ModelReference, conf: JobConf
) -> FilePlan:
    """What workers do with each file or batch of a source with the columns ``found``; ``result`` is the answers' type.

    Raises
    ------
    InvalidInput, SchemaError
        If the rows have not the partitions of a target to which they are added.
    """
    stamps = [
        pa.field(name, pa.timestamp("us", "UTC") if hasattr(value, "tzinfo") else pa.string())
        for name, value in layout.stamps.items()
    ]
    reasons = [pa.field(layout.error, pa.string())] if layout.error else []
    kept = [pa.field(name, found.field(name).type) for name in layout.keep]
    return FilePlan(
        reference, layout.inputs, layout.keep,
        pa.schema([found.field(name) for name in dict.fromkeys((*layout.inputs, *layout.keep))]),
        pa.schema([*kept, pa.field(layout.prediction, result), *stamps, *reasons]), target.storage.uri, layout.prediction,
        layout.stamps, layout.predict_fn, layout.params, layout.error, layout.max_errors, _partition_by(target, conf, layout),
    )  # fmt: skip


def _partition_by(target: Target, conf: JobConf, layout: Layout) -> tuple[str, ...]:
    asked = tuple(conf.target.partition_by)
    if target.handle is None or conf.mode == "overwrite":
        return asked
    return partitions.wanted(target.partition_by, asked, layout.columns, target.storage.uri)


def made(plan: FilePlan, written: Sequence[Written]) -> Files:
    """What workers have written by a plan; nothing at all for a commit that only says something."""
    return Files(tuple(written), plan.target, plan.partition_by)


def commit(target: Target, files: Files, conf: JobConf, said: Mapping[str, Any]) -> Commit:
    """Commit what the workers wrote.

    Raises
    ------
    Conflict
        If another run of the job came first, or somebody else changed a target that was to be replaced.
    SchemaError
        If rows that are added have other columns than the target.
    ScoringError
        If the model raised for more rows than the conf puts up with.
    """
    failures.check_sum(files.errors, conf.max_errors)
    adds = said["mode"] != "overwrite"
    if adds:
        target = target.fitting(files.schema, conf.target.merge_schema)
    version = target.commit(
        files.written, files.schema, overwrite=not adds, identifiers=_identifiers(conf, said), metadata={OURS: said},
        partition_by=files.partition_by,
    )  # fmt: skip
    return Commit(version, files.rows, True, files.errors)


def discard(target: Target, files: Files) -> None:
    """Delete files that will not be committed; what stays is never read and waits for a vacuum."""
    for one in files.written:
        with suppress(LifecycleError, OSError):
            target.storage.delete(one.path)


def _identifiers(conf: JobConf, said: Mapping[str, Any]) -> dict[str, int]:
    """What a commit of this job raises: the job's own counter and its batch."""
    batch = {f"sparkml:batch:{conf.job}:{conf.batch}": said["counter"]} if conf.mode == "append" else {}
    first = {first_identifier(said["source"]["id"]): said["counter"]} if "first" in said else {}
    return {identifier(conf.job): said["counter"], **batch, **first}


def groups_of(piece: split.Piece) -> list[int]:
    """How many bytes each row group of a file has, unpacked."""
    import pyarrow.parquet as pq

    filesystem, place = open_storage(piece.path).arrow()
    with filesystem.open_input_file(place) as opened:
        found = pq.ParquetFile(opened).metadata
        return [found.row_group(number).total_byte_size for number in range(found.num_row_groups)]
