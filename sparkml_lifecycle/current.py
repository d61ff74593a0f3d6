"""The process's current lake, experiment and run stack: the one ambient place, and plain text only.

MLflow's fluent API (``ml.log_metric(...)`` with no run in sight) cannot do without it. The tracking URI, its storage
options (which stay in memory) and the experiment belong to the process. Runs belong to a context (:mod:`contextvars`, so to a thread or an asyncio task); a thread or task that has
started none of its own logs to the run of the main thread. A notebook may run each cell in a context and task of its own; there
too the main thread's runs are the process's, once the cell is over. So a task never starts a run inside that of a task beside it.
A run stays in the lake in which it was started, whatever lake is current later.
"""

import os
import sys
import threading
import weakref
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

from sparkml_lifecycle.settings import Settings

_context_runs: ContextVar[tuple[str, ...] | None] = ContextVar("sparkml_runs", default=None)


@dataclass(frozen=True)
class _Started:
    # a forked child inherits its parent's runs, but they are not its to end
    pid: int
    lake: str
    # the asyncio task, while there is one
    task: Callable[[], Any] | None


class _Process:
    tracking_uri: str | None = None
    storage_options: Mapping[str, str] = MappingProxyType({})
    experiment_id: str | None = None
    runs: tuple[str, ...] = ()
    last_run: tuple[str, str | None] | None = None
    started: ClassVar[dict[str, _Started]] = {}
    # what was exported to the environment, and what stood there before
    exported: ClassVar[dict[str, tuple[str, str | None]]] = {}
    # a context cannot be changed from outside, so its runs that were ended there are left out when it is read
    ended_elsewhere: ClassVar[set[str]] = set()


def tracking_uri() -> str:
    """The current lake: what was set, else ``SPARKML_TRACKING_URI``, the conf file, or ``./mllake``."""
    return _Process.tracking_uri or Settings.load().tracking_uri


def chosen_uri() -> str | None:
    """The lake that :func:`set_tracking_uri` chose, if it did."""
    return _Process.tracking_uri


def is_tracking_uri_set() -> bool:
    """Whether somebody has chosen the lake: by a call, the environment or a conf file."""
    return _Process.tracking_uri is not None or Settings.load().tracking_uri != Settings().tracking_uri


def storage_options() -> dict[str, str]:
    """The options of the current lake's storage; they are never written, shown or logged."""
    return dict(_Process.storage_options)


def set_tracking_uri(uri: str | None, storage_options: Mapping[str, str] | None = None) -> None:
    """Choose the lake for this process and forget the experiment, which belonged to the lake before; None: back to the settings."""
    if uri != _Process.tracking_uri:
        set_experiment_id(None)
    _Process.tracking_uri = uri
    _export("SPARKML_TRACKING_URI", uri)
    _Process.storage_options = MappingProxyType(dict(storage_options or {}))


def experiment_id() -> str | None:
    """The experiment that was set, here or in the environment, if one was."""
    return _Process.experiment_id or Settings.load().experiment_id or None


def set_experiment_id(experiment_id: str | None) -> None:
    """Choose the experiment of the runs that this process starts."""
    _Process.experiment_id = experiment_id
    _export("SPARKML_EXPERIMENT_ID", experiment_id)


def _export(name: str, value: str | None) -> None:
    """For the processes that this one starts; the options of a storage stay here."""
    mine, before = _Process.exported.pop(name, (None, None))
    if os.environ.get(name) != mine:
        # somebody has set it since
        before = os.environ.get(name)
    elif before is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = before
    if value is not None:
        os.environ[name] = value
        _Process.exported[name] = (value, before)


def own_runs() -> tuple[str, ...]:
    """The ids of the runs that this context has started and not ended, the innermost last; none of a parent that was forked."""
    runs = _of_this_context()
    if runs is not None:
        return tuple(run_id for run_id in runs if _is_of_this_process(run_id))
    if not _Process.runs or not _in_main_thread():
        return ()
    return tuple(run_id for run_id in _Process.runs if _is_of_this_process(run_id) and not _is_of_a_task_beside(run_id))


def active_run_id() -> str | None:
    """The innermost run of this context, else of the process, else None."""
    runs = _of_this_context() or _Process.runs
    return runs[-1] if runs else None


def enclosing_run_id() -> str | None:
    """The run that a nested one is a child of: the innermost of this context, else that to which its values go."""
    runs = own_runs() or tuple(run_id for run_id in _Process.runs if not _is_of_a_task_beside(run_id))
    return runs[-1] if runs else None


def is_open(run_id: str) -> bool:
    """Whether a run was started by this process, in whatever context, and not ended."""
    return run_id in own_runs() or run_id in left_open()


def last_run_id() -> str | None:
    """The run that was started or ended last in this process."""
    return _Process.last_run[0] if _Process.last_run else None


def lake_of(run_id: str) -> str | None:
    """The lake of a run that was started here and is open, or was the last one; None for any other run."""
    if run_id in _Process.started:
        return _Process.started[run_id].lake
    return _Process.last_run[1] if _Process.last_run and _Process.last_run[0] == run_id else None


def push_run(run_id: str, lake: str) -> None:
    """A run was started here, in the lake of that normal URI."""
    runs = (*own_runs(), run_id)
    task = _task()
    _Process.started[run_id] = _Started(os.getpid(), lake, weakref.ref(task) if task else None)
    _Process.ended_elsewhere.discard(run_id)
    _context_runs.set(runs)
    _Process.last_run = run_id, lake
    if _in_main_thread():
        _Process.runs = (*_Process.runs, run_id)


def pop_run(run_id: str) -> None:
    """A run was ended here; it may have been started in another context."""
    lake = lake_of(run_id)
    _Process.started.pop(run_id, None)
    remaining = tuple(known for known in own_runs() if known != run_id)
    if run_id not in (_context_runs.get() or ()):
        _Process.ended_elsewhere.add(run_id)
    _context_runs.set(remaining or None)
    _Process.last_run = run_id, lake
    _Process.runs = tuple(known for known in _Process.runs if known != run_id)


def left_open() -> tuple[str, ...]:
    """The runs that this process has started and not ended, the innermost first."""
    return tuple(run_id for run_id in reversed(_Process.started) if _is_of_this_process(run_id))


def _is_of_this_process(run_id: str) -> bool:
    started = _Process.started.get(run_id)
    return started is None or started.pid == os.getpid()


def _of_this_context() -> tuple[str, ...] | None:
    runs = _context_runs.get()
    if runs and _Process.ended_elsewhere:
        return tuple(run_id for run_id in runs if run_id not in _Process.ended_elsewhere) or None
    return runs


def _is_of_a_task_beside(run_id: str) -> bool:
    started = _Process.started.get(run_id)
    task = started.task() if started and started.task else None
    return task is not None and not task.done() and task is not _task()


def _task() -> Any:
    """The asyncio task that this is called in, or None."""
    asyncio = sys.modules.get("asyncio")
    try:
        return asyncio.current_task() if asyncio else None
    except RuntimeError:
        return None


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
