"""Texts to the codes of their categories. It is imported where it is compiled, never to score."""

import numba
from numba import types

from sparkml_lifecycle.evaluators.trees.kernel import u8, u64

_SPREAD = numba.uint64(0x9E3779B97F4A7C15)
_MIX = numba.uint64(0xC2B2AE3D27D4EB4F)


@numba.njit(inline="always")
def _word(data, start, length, size):
    """Up to eight bytes as a number."""
    if start + 8 <= size:
        word = u64(data + numba.uint64(start))[0]
        if length < 8:
            word &= (numba.uint64(1) << numba.uint64(8 * length)) - numba.uint64(1)
        return word
    word = numba.uint64(0)
    place = u8(data)
    for i in range(min(length, 8)):
        word |= numba.uint64(place[start + i]) << numba.uint64(8 * i)
    return word


@numba.njit(error_model="numpy", nogil=True)
def _codes(offsets, data, size, validity, first_bit, n, slots, mask, count, out):
    valid = u8(validity)
    for r in range(n):
        if validity != 0 and valid[(first_bit + r) >> 3] & (1 << ((first_bit + r) & 7)) == 0:
            out[r] = -1
            continue
        start = numba.int64(offsets[r])
        length = numba.int64(offsets[r + 1]) - start
        code = numba.int32(count)
        if length <= 16:
            first = _word(data, start, length, size)
            last = _word(data, start + length - 8, 8, size) if length > 8 else numba.uint64(0)
            at = numba.int64(((first ^ (last * _MIX) ^ numba.uint64(length)) * _SPREAD) >> numba.uint64(40)) & mask
            while slots[3 * at + 2] != 0:
                found = slots[3 * at + 2]
                if (
                    slots[3 * at] == first
                    and slots[3 * at + 1] == last
                    and numba.int64(found >> numba.uint64(32)) == length
                ):
                    code = numba.int32(found & numba.uint64(0xFFFFFFFF)) - numba.int32(1)
                    break
                at = (at + 1) & mask
        out[r] = code
    return 0


def compiled(form):
    """The dispatcher and its signature."""
    pointer = types.CPointer
    return _codes, (
        pointer(types.int32), types.uint64, types.int64, types.uint64, types.int64, types.int64, pointer(types.uint64), types.int64,
        types.int64, pointer(types.int32),
    )  # fmt: skip
