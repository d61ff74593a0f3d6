"""The compiled links. It is imported where it is compiled, never to score."""

import math

import numba
import numpy as np
from numba import types

_ONE, _TINY, _MOST = np.float32(1), np.float32(1e-16), np.float32(88.7)


@numba.njit(error_model="numpy", nogil=True)
def _sigmoid32(values, outputs, rows, extra):
    for i in range(outputs * rows):
        x = min(-values[i], _MOST)
        values[i] = _ONE / (np.float32(math.exp(x)) + _ONE + _TINY)
    return 0


@numba.njit(error_model="numpy", nogil=True)
def _exp32(values, outputs, rows, extra):
    for i in range(outputs * rows):
        values[i] = np.float32(math.exp(values[i]))
    return 0


@numba.njit(error_model="numpy", nogil=True)
def _softmax32(values, outputs, rows, extra):
    for r in range(rows):
        most = values[r]
        for o in range(1, outputs):
            most = max(values[o * rows + r], most)
        total = 0.0
        for o in range(outputs):
            x = np.float32(math.exp(np.float32(values[o * rows + r] - most)))
            values[o * rows + r] = x
            total += x
        for o in range(outputs):
            values[o * rows + r] /= np.float32(total)
    return 0


@numba.njit(error_model="numpy", nogil=True)
def _sigmoid64(values, outputs, rows, extra):
    for i in range(outputs * rows):
        values[i] = 1.0 / (1.0 + math.exp(-extra * values[i]))
    return 0


@numba.njit(error_model="numpy", nogil=True)
def _exp64(values, outputs, rows, extra):
    for i in range(outputs * rows):
        values[i] = math.exp(values[i])
    return 0


@numba.njit(error_model="numpy", nogil=True)
def _softmax64(values, outputs, rows, extra):
    for r in range(rows):
        most = values[r]
        for o in range(1, outputs):
            most = max(values[o * rows + r], most)
        total = 0.0
        for o in range(outputs):
            x = math.exp(values[o * rows + r] - most)
            values[o * rows + r] = x
            total += x
        for o in range(outputs):
            values[o * rows + r] /= total
    return 0


def compiled(form):
    """The dispatcher and the signature of a link."""
    real = types.float32 if form.endswith("32") else types.float64
    return globals()[f"_{form}"], (types.CPointer(real), types.int64, types.int64, types.float64)
