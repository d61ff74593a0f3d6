"""The codes of categories: which level of a column each value is."""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from sparkml_lifecycle.evaluators import compiled

MISSING = -1
_KERNEL = compiled.Kernel("sparkml_lifecycle.evaluators.codes_kernel")
_LONGEST = 16  # bytes of a text that the kernel compares
_SPREAD, _MIX, _ALL = 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 2**64 - 1
_ARGUMENTS = ("address", "address", "whole", "address", "whole", "whole", "address", "whole", "whole", "address")


class Codes:
    """The categories of a column in the order of their codes.

    Parameters
    ----------
    levels : pyarrow.Array
        Without nulls.
    """

    def __init__(self, levels: pa.Array) -> None:
        self.levels = levels
        self._slots: np.ndarray | None = None
        self._sorted: tuple[np.ndarray, np.ndarray] | None = None  # numbers and their codes
        if pa.types.is_string(levels.type):
            texts = [text.encode() for text in levels.to_pylist()]
            # a longer level needs a longer comparison, which pyarrow does
            if texts and max(map(len, texts)) <= _LONGEST and compiled.missing() is None:
                self._slots = _slots(texts)
        elif pa.types.is_floating(levels.type):
            numbers = levels.to_numpy()
            order = np.argsort(numbers)
            self._sorted = numbers[order], order

    def __len__(self) -> int:
        return len(self.levels)

    def of(self, values: pa.Array) -> np.ndarray | None:
        """int32 codes; -1 is missing, ``len(self)`` is not known. None where the types cannot be compared.

        Parameters
        ----------
        values : pyarrow.Array
            Of the levels' type, or a dictionary of it.
        """
        if isinstance(values, pa.DictionaryArray):
            known = self.of(values.dictionary)
            if known is None:
                return None
            if not values.null_count:
                return known[values.indices.to_numpy(zero_copy_only=False)]
            indices = values.indices.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
            return np.append(known, np.int32(MISSING))[indices]
        if values.type != self.levels.type:
            try:
                values = values.cast(self.levels.type)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
                return None
        if self._slots is not None and len(values):
            return self._of_texts(values, self._slots)
        if self._sorted is not None:
            return self._of_floats(values.to_numpy(zero_copy_only=False), *self._sorted)
        codes = pc.index_in(values, value_set=self.levels).fill_null(len(self.levels))
        found: np.ndarray = codes.to_numpy(zero_copy_only=False).astype(np.int32)
        if values.null_count:
            found[values.is_null().to_numpy(zero_copy_only=False)] = MISSING
        return found

    def _of_floats(self, values: np.ndarray, levels: np.ndarray, codes: np.ndarray) -> np.ndarray:
        """NaN is missing, and both zeros are one."""
        place = np.minimum(np.searchsorted(levels, values), len(levels) - 1)
        found: np.ndarray = np.where(levels[place] == values, codes[place], len(levels)).astype(np.int32)
        found[np.isnan(values)] = MISSING
        return found

    def _of_texts(self, values: pa.Array, slots: np.ndarray) -> np.ndarray:
        call = _KERNEL.function("codes", "texts", _ARGUMENTS)
        validity, offsets, data = values.buffers()
        has_nulls = values.null_count > 0 and validity is not None
        out = np.empty(len(values), np.int32)
        call(
            offsets.address + 4 * values.offset,
            data.address if data is not None else 0,
            data.size if data is not None else 0,
            validity.address if has_nulls else 0,
            values.offset,
            len(values),
            slots.ctypes.data,
            len(slots) // 3 - 1,
            len(self.levels),
            out.ctypes.data,
        )
        return out


def _slots(texts: list[bytes]) -> np.ndarray:
    """A table of three words to a slot: the first and the last eight bytes; length and code, 0 where the slot is empty."""
    size = 1 << max(4, (4 * len(texts) - 1).bit_length())
    slots = [0] * (3 * size)
    for code, text in enumerate(texts):
        first = int.from_bytes(text[:8], "little")
        last = int.from_bytes(text[-8:], "little") if len(text) > 8 else 0
        at = (((first ^ (last * _MIX & _ALL) ^ len(text)) * _SPREAD & _ALL) >> 40) & (size - 1)
        while slots[3 * at + 2]:
            at = (at + 1) & (size - 1)
        slots[3 * at : 3 * at + 3] = [first, last, len(text) << 32 | (code + 1)]
    return np.array(slots, np.uint64)


def codes_of(levels: Any) -> dict[int, Codes]:
    """The categories of several columns, by position."""
    return {position: Codes(values) for position, values in levels.items()}
