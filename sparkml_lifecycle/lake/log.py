"""Keeping ``_delta_log`` short: an append costs some 12 µs for each file in it."""

import json
import os
import re
import time
from contextlib import suppress

from sparkml_lifecycle.errors import NotFound
from sparkml_lifecycle.storage import Storage
from sparkml_lifecycle.storage.filesystem import explained

MANY = 500
_SETTLED_SECONDS = 60.0
_VERSION = re.compile(r"(\d{20})\.(json|checkpoint\.parquet)")
_LOG = "_delta_log"


def clean(table: Storage, many: int = MANY, settled_seconds: float = _SETTLED_SECONDS, in_passing: bool = False) -> int:
    """Delete the log files below the newest settled checkpoint, if there are more than ``many``; returns how many.

    ``in_passing`` of thousands only the oldest sixteenth: a writer that goes on meanwhile should not notice.
    A checkpoint is settled once it is a minute old, so that a reader that has just listed the log still finds what it saw.
    delta-rs' own cleaning goes by age (10 minutes at least) and leaves a busy table thousands of files.
    """
    times = _times(table)
    versions = {name: int(match[1]) for name in times if (match := _VERSION.fullmatch(name))}
    if len(versions) <= many:
        return 0
    before = time.time() - settled_seconds
    checkpoints = [name for name in versions if name.endswith(".checkpoint.parquet")]
    # one that is not named yet is not looked for: whoever commits takes the log for whole above the one that is
    named = _named(table)
    settled = [
        versions[name]
        for name in checkpoints
        if versions[name] <= named and _modified(table, name, times[name]) <= before
    ]
    old = [name for name, version in versions.items() if version < max(settled, default=0)]
    if len(old) <= many:
        return 0
    old = sorted(old)[: max(many, len(old) // 16)] if in_passing else sorted(old)
    for name in old:
        _delete(table, name)
    return len(old)


def _times(table: Storage) -> dict[str, float | None]:
    """The files of the log, each with the time of its last change where listing says it: of thousands on a disk only a few are asked for."""
    if not table.is_local:
        return {file.path.rpartition("/")[2]: file.modified for file in table.list(_LOG)}
    with suppress(FileNotFoundError):
        return dict.fromkeys(os.listdir(table.local_path / _LOG))
    return {}


def _named(table: Storage) -> int:
    try:
        return int(json.loads(table.read_bytes(f"{_LOG}/_last_checkpoint"))["version"])
    except (NotFound, ValueError, KeyError, TypeError):
        return -1


def _modified(table: Storage, name: str, known: float | None) -> float:
    if known is not None:
        return known
    try:
        return os.stat(table.local_path / _LOG / name).st_mtime
    except FileNotFoundError:
        # somebody else cleans
        return time.time()


def _delete(table: Storage, name: str) -> None:
    if not table.is_local:
        return table.delete(f"{_LOG}/{name}")
    place = table.local_path / _LOG / name
    with suppress(NotFound), explained("delete", str(place)):
        os.unlink(place)
