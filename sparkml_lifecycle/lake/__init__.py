"""Dataclass rows in append-only Delta tables, written by delta-rs; a directory or bucket of them is a lake."""

from sparkml_lifecycle.lake.groups import Group
from sparkml_lifecycle.lake.lake import FORMAT, Lake
from sparkml_lifecycle.lake.rows import ClaimedRow, Fold, Row
from sparkml_lifecycle.lake.snapshot import Snapshot
from sparkml_lifecycle.lake.sql import literal
from sparkml_lifecycle.lake.table import Change, Table
from sparkml_lifecycle.lake.where import Where

__all__ = ["FORMAT", "Change", "ClaimedRow", "Fold", "Group", "Lake", "Row", "Snapshot", "Table", "Where", "literal"]
