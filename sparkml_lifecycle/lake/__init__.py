"""Dataclass rows in append-only Delta tables, written by delta-rs; a directory or bucket of them is a lake."""

from sparkml_lifecycle.lake.lake import FORMAT, Lake
from sparkml_lifecycle.lake.rows import ClaimedRow, Row
from sparkml_lifecycle.lake.sql import literal
from sparkml_lifecycle.lake.table import Change, Snapshot, Table

__all__ = ["FORMAT", "Change", "ClaimedRow", "Lake", "Row", "Snapshot", "Table", "literal"]
