"""A job with no Spark at all: the direct engine, with processes of this machine."""

import multiprocessing
import os
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing import connection
from typing import Any

import pyarrow as pa

from sparkml_lifecycle.errors import InvalidInput, ScoringError
from sparkml_lifecycle.loaded import PyFuncModel
from sparkml_lifecycle.model.signature import Column, Signature, Tensor
from sparkml_lifecycle.scoring import by_path, direct, files, split
from sparkml_lifecycle.scoring.attempt import Done
from sparkml_lifecycle.scoring.conf import BY_PATH, JobConf
from sparkml_lifecycle.scoring.direct import FilePlan
from sparkml_lifecycle.scoring.output import Written
from sparkml_lifecycle.scoring.progress import Watch
from sparkml_lifecycle.scoring.split import Piece
from sparkml_lifecycle.scoring.worker import ModelReference, be_a_worker
from sparkml_lifecycle.settings import Settings

_TYPES = {
    "double": pa.float64(), "float": pa.float32(), "int": pa.int32(), "bigint": pa.int64(), "long": pa.int64(),
    "string": pa.string(), "boolean": pa.bool_(), "array<double>": pa.list_(pa.float64()), "array<float>": pa.list_(pa.float32()),
}  # fmt: skip


def score(conf: JobConf, model: PyFuncModel, directory: Any, consent: bool, run_id: str, watch: Watch) -> Done:
    """Run a job in processes of this machine.

    Raises
    ------
    InvalidInput
        If the job needs Spark: for ``where``, a table of the catalog, SQL, or features of Delta that files alone do not show.
    """
    reference = ModelReference(
        model.digest, str(directory), False, consent, Settings.load().model_cache_size, conf.evaluator
    )

    def run(plan: FilePlan, pieces: Sequence[Piece]) -> list[Written]:
        watch.begin(sum(piece.size for piece in pieces))
        try:
            return _run(replace(plan, report_to=watch.address), pieces)
        except BrokenProcessPool:
            raise ScoringError(
                f"The job {conf.job!r} failed and committed nothing: a worker process ended without a word; it was killed, perhaps because memory ran out."
            ) from None

    runner = by_path.Runner(
        "local", run, lambda: output_type(model, conf.result_type, conf.predict_fn), lambda: reference
    )
    try:
        if conf.engine not in ("auto", "direct"):
            raise by_path.CannotDo(f"engine: {conf.engine} is Spark's")
        return by_path.score(conf, model, runner, BY_PATH, run_id)
    except by_path.CannotDo as why:
        raise InvalidInput(f"This job cannot be run without Spark: {why}. Run it without --local.") from None


def _run(plan: FilePlan, pieces: Sequence[Piece]) -> list[Written]:
    """Score files in as many processes as there are cores; little work is done in this one."""
    cores = os.cpu_count() or 1
    groups = files.groups_of if plan.format == "parquet" else _one_group
    parts = split.cut(pieces, split.task_count(sum(piece.size for piece in pieces), cores), groups)
    if len(parts) < 2:
        return [one for part in parts for one in direct.score_pieces(plan, part, 0)]
    # a forked process would share this one's threads and locks
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(cores, len(parts)), context, _begin, (1,)) as pool:
        return [
            one for done in pool.map(direct.score_pieces, [plan] * len(parts), parts, range(len(parts))) for one in done
        ]


def _begin(cpus: int) -> None:
    """This process is a worker of so many cores, and ends when the job's process is killed: nobody else would end it."""
    be_a_worker(cpus)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def end_with_it() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=end_with_it, name="sparkml-parent", daemon=True).start()


def _one_group(piece: Piece) -> list[int]:
    return [piece.size]


def output_type(model: PyFuncModel, result_type: str | None, predict_fn: str | None) -> pa.DataType:
    """The Arrow type of the answers, as :func:`sparkml_lifecycle.scoring.column.output_type` has Spark's.

    Raises
    ------
    InvalidInput
        If ``result_type`` is none of those that are known without Spark.
    """
    if result_type is not None:
        if result_type.replace(" ", "").lower() not in _TYPES:
            raise InvalidInput(f"result_type {result_type!r} needs Spark. Without it: {', '.join(_TYPES)}.")
        return _TYPES[result_type.replace(" ", "").lower()]
    if predict_fn not in (None, model.default_method):
        return pa.list_(pa.float64()) if "proba" in str(predict_fn) else pa.float64()
    outputs = (model.signature or Signature()).outputs
    if not outputs:
        return pa.float64()
    if isinstance(outputs[0], Tensor):
        value = pa.from_numpy_dtype(outputs[0].dtype)
        return pa.list_(value) if len(outputs[0].shape) > 1 else value
    columns = [one for one in outputs if isinstance(one, Column)]
    if len(columns) == 1:
        return columns[0].type
    return pa.struct([(str(one.name if one.name is not None else i), one.type) for i, one in enumerate(columns)])
