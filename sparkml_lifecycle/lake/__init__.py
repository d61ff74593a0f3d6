"""Dataclass rows in append-only Delta tables, written by delta-rs; a directory or bucket of them is a lake."""

from sparkml_lifecycle.lake.groups import Group
from sparkml_lifecycle.lake.lake import FORMAT, MODEL_FILES, REMOVED, Lake
from sparkml_lifecycle.lake.rows import ClaimedRow, Fold, Row
from sparkml_lifecycle.lake.snapshot import Snapshot
from sparkml_lifecycle.lake.sql import literal
from sparkml_lifecycle.lake.table import Batch, Change, Fence, Table
from sparkml_lifecycle.lake.where import Where

__all__ = [
    "FORMAT",
    "MODEL_FILES",
    "REMOVED",
    "Batch",
    "Change",
    "ClaimedRow",
    "Fence",
    "Fold",
    "Group",
    "Lake",
    "Row",
    "Snapshot",
    "Table",
    "Where",
    "literal",
]
