"""Dataclass rows in Delta tables, written by delta-rs, read by anything."""

from sparkml_lifecycle.lake.lake import Lake
from sparkml_lifecycle.lake.table import LakeTable, Writer

__all__ = ["Lake", "LakeTable", "Writer"]
