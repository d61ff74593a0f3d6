"""A job whose workers write the target's files: the direct and the dataframe engine, and the one commit of delta-rs after them."""

from contextlib import suppress
from typing import Any

import pyarrow as pa

from sparkml_lifecycle.errors import Conflict, LifecycleError, ScoringError
from sparkml_lifecycle.scoring import dataframe, direct, failures, partitions, split
from sparkml_lifecycle.scoring.commit import Target
from sparkml_lifecycle.scoring.conf import JobConf
from sparkml_lifecycle.scoring.direct import FilePlan
from sparkml_lifecycle.scoring.engine import Choice
from sparkml_lifecycle.scoring.layout import Layout
from sparkml_lifecycle.scoring.output import Written
from sparkml_lifecycle.scoring.sink import Commit
from sparkml_lifecycle.scoring.worker import ModelReference
from sparkml_lifecycle.storage import open_storage

# a batch that a rival writes at the same moment is looked for again
_ATTEMPTS = 5


def score(
    spark: Any, conf: JobConf, rows: Any, layout: Layout, choice: Choice, reference: ModelReference, run_id: str
) -> Commit:
    """Score a source and commit what the workers wrote; a batch that is there already is left as it is.

    Raises
    ------
    Conflict
        If somebody else changed the target meanwhile.
    SchemaError
        If a batch has other columns than the target.
    """
    target = choice.target
    assert target is not None
    appends = conf.mode == "append"
    if appends and _is_there(target, conf):
        return Commit(target.version, 0, False)
    plan = _plan(rows, layout, choice, reference, target, _partition_by(target, conf, layout))
    if appends:
        target = target.fitting(plan.target, conf.target.merge_schema)
    written = _written(spark, rows, plan, choice)
    errors = _errors(written, target, conf)
    said = {"sparkml_lifecycle": {"job": conf.job, "batch": conf.batch, "run_id": run_id}}
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            version = target.commit(
                written, plan.target, overwrite=not appends, identifiers=_identifiers(target, conf), metadata=said,
                partition_by=plan.partition_by,
            )  # fmt: skip
            return Commit(version, sum(one.rows for one in written), True, errors)
        except Conflict:
            if not appends or attempt == _ATTEMPTS:
                raise
            target = Target.open(target.storage)
            if _is_there(target, conf):
                return Commit(target.version, 0, False)
            target = target.fitting(plan.target, conf.target.merge_schema)
    raise AssertionError("the last attempt returns or raises")


def _identifiers(target: Target, conf: JobConf) -> dict[str, int]:
    """What a commit of this job raises: the job's own counter and, once, its batch."""
    job = f"sparkml:job:{conf.job}"
    batch = {_batch(conf): 1} if conf.mode == "append" else {}
    return {job: (target.version_of(job) or 0) + 1, **batch}


def _is_there(target: Target, conf: JobConf) -> bool:
    return target.version_of(_batch(conf)) is not None


def _batch(conf: JobConf) -> str:
    return f"sparkml:batch:{conf.job}:{conf.batch}"


def _partition_by(target: Target, conf: JobConf, layout: Layout) -> tuple[str, ...]:
    asked = tuple(conf.target.partition_by)
    if target.handle is None or conf.mode == "overwrite":
        return asked
    return partitions.wanted(target.partition_by, asked, layout.columns, target.storage.uri)


def _errors(written: list[Written], target: Target, conf: JobConf) -> int:
    """Rows that have no answer; where they are too many the files are removed, as nobody would ever read them."""
    found = sum(one.errors for one in written)
    try:
        failures.check_sum(found, conf.max_errors)
    except ScoringError:
        for one in written:
            with suppress(LifecycleError, OSError):
                target.storage.delete(one.path)
        raise
    return found


def _plan(
    rows: Any, layout: Layout, choice: Choice, reference: ModelReference, target: Target, partition_by: tuple[str, ...]
) -> FilePlan:
    from pyspark.sql.pandas.types import to_arrow_schema, to_arrow_type

    found = choice.source if choice.source is not None else to_arrow_schema(rows.schema, timezone="UTC")
    result = to_arrow_type(layout.result, timezone="UTC", prefers_large_types=False)
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
        layout.stamps, layout.predict_fn, layout.params, layout.error, layout.max_errors, partition_by,
    )  # fmt: skip


def _written(spark: Any, rows: Any, plan: FilePlan, choice: Choice) -> list[Written]:
    if choice.engine == "dataframe":
        return dataframe.run(rows, plan)
    cores = int(spark.sparkContext.defaultParallelism)
    tasks = split.task_count(sum(piece.size for piece in choice.pieces), cores)
    return direct.run(spark, plan, split.cut(choice.pieces, tasks, _groups))


def _groups(piece: split.Piece) -> list[int]:
    import pyarrow.parquet as pq

    filesystem, place = open_storage(piece.path).arrow()
    with filesystem.open_input_file(place) as opened:
        found = pq.ParquetFile(opened).metadata
        return [found.row_group(number).total_byte_size for number in range(found.num_row_groups)]
