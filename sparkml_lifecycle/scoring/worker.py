"""Runs inside Spark's Python workers: loads a model once per process and scores Arrow batches.

Everything here is reached by importing this module, because only what an importable module holds survives from one task
to the next in a reused worker. What is pickled to it are strings and frozen dataclasses.
"""

import ctypes
import gc
import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from sparkml_lifecycle.errors import SchemaError
from sparkml_lifecycle.loaded import PyFuncModel
from sparkml_lifecycle.package import read
from sparkml_lifecycle.scoring.failures import Failures
from sparkml_lifecycle.scoring.progress import Address, Meter


@dataclass(frozen=True)
class ModelReference:
    """Where a worker finds a model.

    Attributes
    ----------
    digest : str
        The content digest, which is the key in the worker's cache.
    directory : str
        A directory that workers see, or where ``archive`` is given the name under the files that Spark ships.
    archive : bool
        Whether the directory was shipped by Spark.
    allow_code : bool
        The driver's consent to code out of the directory.
    cache_size : int
        How many models a worker keeps.
    evaluator : {"auto", "fast", "native"}
        What scores the model.
    """

    digest: str
    directory: str
    archive: bool = False
    allow_code: bool = False
    cache_size: int = 3
    evaluator: str = "auto"

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from other models in the worker's cache."""
        return self.digest, self.evaluator


@dataclass(frozen=True)
class Plan:
    """What a worker does with each batch.

    Attributes
    ----------
    model : ModelReference
    names : tuple of str or None
        The names of the argument columns; None where they have none.
    result : pyarrow.DataType
        The type of the answers.
    predict_fn : str or None
    params : mapping
    max_errors : int or None
        How many rows for which the model raises a task puts up with: then the answers are structs of the answer and the reason
        why there is none. None where an error of the model is raised.
    report_to : Address or None
        Who wants to know how far a task is.
    """

    model: ModelReference
    names: tuple[str, ...] | None
    result: pa.DataType
    predict_fn: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    max_errors: int | None = None
    report_to: Address | None = None


# the fields of an answer that may have a reason instead
ANSWERED = ("answer", "error")

_cache: OrderedDict[tuple[str, str], PyFuncModel] = OrderedDict()
_lock = threading.Lock()


def model_of(reference: ModelReference) -> PyFuncModel:
    """The loaded model; loaded at most once per process while it stays in the cache.

    After loading, all objects are frozen out of the garbage collector's sight: PySpark collects after every task, and
    walking the objects of an imported framework costs more than a small task. At a swap they are thawed first, so that a
    model with reference cycles is freed.
    """
    with _lock:
        if reference.key in _cache:
            _cache.move_to_end(reference.key)
            return _cache[reference.key]
        gc.unfreeze()
        while len(_cache) >= max(reference.cache_size, 1):
            _cache.popitem(last=False)
        gc.collect()
        _hold_gpus()
        model = read(
            _directory_of(reference),
            allow_code=reference.allow_code,
            warn=False,
            hide_errors=True,
            evaluator=reference.evaluator,
            known_digest=reference.digest,
        )
        model.limit_threads(_task_cpus() or 1)
        _hold_native_threads()
        model.evaluation.prepare()
        _keep_memory()
        _cache[reference.key] = model
        gc.collect()
        gc.freeze()
        return model


def _directory_of(reference: ModelReference) -> Path:
    if not reference.archive:
        return Path(reference.directory)
    from pyspark import SparkFiles

    return Path(SparkFiles.getRootDirectory()) / reference.directory


# the cores of a process that a job without Spark has started
_share: int | None = None


def be_a_worker(cpus: int) -> None:
    """This process is there for a job alone, and has so many cores."""
    global _share
    _share = cpus


def _task_cpus() -> int | None:
    """The cores of this task; None in a process that is no worker, whose threads are its owner's."""
    if _share is not None:
        return _share
    task = _task()
    return task.cpus() if task is not None else None


def _task() -> Any:
    """Spark's task, None outside of one; a process without Spark does not load it."""
    if "pyspark" not in sys.modules:
        return None
    from pyspark import TaskContext

    return TaskContext.get()


def _hold_gpus() -> None:
    """Show a framework the GPUs that Spark gave to this task and no others, before it is loaded: all tasks of a host would take the first."""
    task = _task()
    given = task.resources().get("gpu") if task is not None else None
    if given is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(given.addresses)


def _hold_native_threads() -> None:
    """Hold BLAS and OpenMP, once their libraries are loaded, to the task's cores: two tasks on two cores with two threads each wait for one another."""
    cpus = _task_cpus()
    if cpus is None:
        return
    try:
        import threadpoolctl
    except ImportError:
        # only frameworks that bring it along have such pools
        return
    threadpoolctl.threadpool_limits(cpus)


# glibc's M_TRIM_THRESHOLD and M_MMAP_THRESHOLD
_TRIM, _MMAP = -1, -3


def _keep_memory() -> None:
    """Let a worker keep up to half a gigabyte that it has freed: each batch takes as much as the one before, and the system would zero it anew."""
    if _task_cpus() is None:
        return
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_MMAP, 32 * 2**20)
        libc.mallopt(_TRIM, 512 * 2**20)


def score_columns(plan: Plan, batches: Iterator[tuple[pa.Array, ...] | pa.Array]) -> Iterator[pa.Array]:
    """Answers to batches of argument columns; runs once per task.

    Raises
    ------
    SchemaError
        If the columns' types do not fit the model's signature, at the first batch.
    ScoringError
        If the model raises; with ``max_errors``, if it raises for more rows.
    """
    model, failures = model_of(plan.model), Failures(plan.max_errors or 0)
    with Meter(plan.report_to, task_number()) as meter:
        for arrays in batches:
            # Spark gives a single argument bare
            table = _rows(arrays if isinstance(arrays, tuple) else (arrays,), plan.names, model)
            if plan.max_errors is None:
                yield model.predict_as(table, plan.result, plan.params, predict_fn=plan.predict_fn)
            else:
                answered = failures.answer(model, table, plan.result, plan.params, plan.predict_fn)
                yield pa.StructArray.from_arrays(answered, ANSWERED)
            meter.add(table.num_rows)


def task_number() -> int:
    """The number of this task's partition."""
    task = _task()
    return int(task.partitionId()) if task is not None else 0


def _rows(arrays: tuple[pa.Array, ...], names: tuple[str, ...] | None, model: PyFuncModel) -> pa.Table:
    """The arguments as a table; one struct stands for its fields unless the model takes a single struct."""
    if len(arrays) == 1 and pa.types.is_struct(arrays[0].type) and not _takes_struct(model):
        if [field.name for field in arrays[0].type] == ["type", "size", "indices", "values"]:
            raise SchemaError(
                "The column is a vector of Spark ML. Make it an array first: from pyspark.ml.functions import vector_to_array; "
                "udf(vector_to_array('features'))."
            )
        return pa.table(arrays[0].flatten(), names=[field.name for field in arrays[0].type])
    return pa.table(list(arrays), names=list(names) if names else [str(i) for i in range(len(arrays))])


def _takes_struct(model: PyFuncModel) -> bool:
    columns = model.signature.columns if model.signature else None
    return bool(columns and len(columns) == 1 and pa.types.is_struct(columns[0].type))
