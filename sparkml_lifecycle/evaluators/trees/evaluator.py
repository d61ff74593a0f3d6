"""Scoring an ensemble's plan with the compiled kernel."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sparkml_lifecycle.evaluators import compiled
from sparkml_lifecycle.evaluators.trees.ensemble import Ensemble
from sparkml_lifecycle.evaluators.trees.plan import BLOCK, Plan

_KERNEL = compiled.Kernel("sparkml_lifecycle.evaluators.trees.kernel")
_ARGUMENTS = ("address", "whole", "whole", "address", "address", "address", "address", "address")
_SHORT = {np.dtype(np.float32): "f32", np.dtype(np.float64): "f64"}
FLOAT64, FLOAT32, CODES = 0, 1, 2  # kinds of memory


@dataclass(frozen=True)
class ColumnData:
    """One column's memory: where it begins, what it is, and where the bits are that say which of its values are there.

    Attributes
    ----------
    address : int
    kind : int
        0: float64, 1: float32, 2: int32 codes.
    validity : int
        The address of an Arrow validity bitmap, or 0.
    first_bit : int
    keep : object
        What owns the memory.
    """

    address: int
    kind: int
    validity: int = 0
    first_bit: int = 0
    keep: object = None


class TreesEvaluator:
    """The raw sums of an ensemble, for columns of memory."""

    def __init__(self, ensemble: Ensemble) -> None:
        plan = Plan(ensemble)
        form = f"{_SHORT[plan.real]}-{_SHORT[plan.sum]}"
        self._call = _KERNEL.function("trees", form, _ARGUMENTS)
        self._ensemble, self._plan = ensemble, plan
        self._base = np.ascontiguousarray(ensemble.base)
        self._free: list[tuple[np.ndarray, np.ndarray]] = []
        self.features = ensemble.features
        self.outputs = len(ensemble.base)

    @property
    def nbytes(self) -> int:
        """The memory of its arrays."""
        return sum(array.nbytes for array in self._plan.arrays())

    def raw(self, columns: Sequence[ColumnData], rows: int) -> tuple[np.ndarray, bool]:
        """(outputs, rows), and whether a row has something that is left to the framework."""
        out = np.empty((self.outputs, rows), self._plan.sum)
        table = np.array([(c.address, c.kind, c.validity, c.first_bit) for c in columns], np.int64)
        try:
            spec, scratch = self._free.pop()
        except IndexError:
            spec, scratch = self._scratch()
        spec[16] = rows
        status = self._call(
            table.ctypes.data,
            0,
            rows,
            spec.ctypes.data,
            self._plan.cut_table.ctypes.data,
            self._plan.leaves.ctypes.data,
            out.ctypes.data,
            -(-scratch.ctypes.data // 64) * 64,
        )
        self._free.append((spec, scratch))
        return out, status != 0

    def _scratch(self) -> tuple[np.ndarray, np.ndarray]:
        plan, count = self._plan, len(self._ensemble.features)
        has_codes = any(feature.size is not None for feature in self._ensemble.features)
        tile = plan.tile
        sizes = (
            64 * plan.registers,
            tile * BLOCK * max(len(plan.planes), 1),
            4 * tile * BLOCK * count if plan.walks else 64,
            4 * tile * BLOCK * count if has_codes else 64,
            4 * BLOCK,
            BLOCK,
            8 * 64,
            4 * BLOCK,
            plan.sum.itemsize * tile * BLOCK * self.outputs,
            plan.real.itemsize * BLOCK,
        )
        starts = np.concatenate([[0], np.cumsum([-(-size // 64) * 64 for size in sizes])])
        for number in range(count):
            plan.features[number, 7] = plan.missing_values[number:].ctypes.data
        at = [
            array.ctypes.data
            for array in (
                plan.features, plan.planes, plan.segments, plan.conditions, plan.groups, plan.ops, plan.tree_rows,
                plan.exits, plan.nodes, plan.sets,
            )
        ]  # fmt: skip
        spec = np.array(
            [count, len(plan.planes), len(plan.segments), self.outputs, self._ensemble.trees.value.shape[1], *at, plan.walks, 0,
             plan.tables.ctypes.data, *starts[:-1].tolist(), self._base.ctypes.data, tile],
            np.int64,
        )  # fmt: skip
        return spec, np.zeros(int(starts[-1]) + 64, np.uint8)
