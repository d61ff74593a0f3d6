"""Keeping ``_delta_log`` short: an append costs some 12 µs for each file in it."""

import re
import time

from sparkml_lifecycle.storage import Storage

MANY = 500
_SETTLED_SECONDS = 60.0
_VERSION = re.compile(r"_delta_log/(\d{20})\.(json|checkpoint\.parquet)")


def clean(table: Storage, many: int = MANY, settled_seconds: float = _SETTLED_SECONDS) -> int:
    """Delete the log files below the newest settled checkpoint, if there are more than ``many``; returns how many.

    A checkpoint is settled once it is a minute old, so that a reader that has just listed the log still finds what it saw.
    delta-rs' own cleaning goes by age (10 minutes at least) and leaves a busy table thousands of files.
    """
    files = {file.path: file for file in table.list("_delta_log")}
    versions = {path: int(match[1]) for path in files if (match := _VERSION.fullmatch(path))}
    before = time.time() - settled_seconds
    settled = [
        v for path, v in versions.items() if path.endswith(".checkpoint.parquet") and files[path].modified <= before
    ]
    old = [path for path, version in versions.items() if version < max(settled, default=0)]
    if len(old) <= many:
        return 0
    for path in sorted(old):
        table.delete(path)
    return len(old)
