"""Links as XGBoost and LightGBM compute them, with the C library's exponential, in place."""

import numpy as np

from sparkml_lifecycle.evaluators import compiled

_KERNEL = compiled.Kernel("sparkml_lifecycle.evaluators.trees.link_kernel")


def _run(name: str, values: np.ndarray, extra: float = 0.0) -> None:
    outputs, rows = values.shape
    call = _KERNEL.function("link", name, ("address", "whole", "whole", "real"))
    call(values.ctypes.data, outputs, rows, extra)


def sigmoid32(values: np.ndarray) -> None:
    """``1 / (exp(-x) + 1 + 1e-16)`` in float32, as XGBoost."""
    _run("sigmoid32", values)


def exp32(values: np.ndarray) -> None:
    """``exp(x)`` in float32."""
    _run("exp32", values)


def softmax32(values: np.ndarray) -> None:
    """Over outputs, (outputs, rows), in float32, as XGBoost."""
    _run("softmax32", values)


def sigmoid64(values: np.ndarray, slope: float) -> None:
    """``1 / (1 + exp(-slope * x))``, as LightGBM."""
    _run("sigmoid64", values, slope)


def softmax64(values: np.ndarray) -> None:
    """Over outputs, as LightGBM."""
    _run("softmax64", values)


def exp64(values: np.ndarray) -> None:
    """``exp(x)``, as LightGBM."""
    _run("exp64", values)
