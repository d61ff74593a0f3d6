"""Which class H2O names where several are the likeliest: genmodel's ``GenModel.getPredictionMultinomial``, its oddities too."""

from collections.abc import Sequence

import numpy as np


def broken(likely: np.ndarray, prior: Sequence[float] | None, rows: np.ndarray) -> np.ndarray:
    """The class of each row.

    Parameters
    ----------
    likely : float64, (classes, rows)
        Whose greatest value of a row occurs more than once.
    prior : sequence of float, optional
        The distribution of classes in training.
    rows : float64, (rows, columns)
        As the model's own columns have them: they decide.
    """
    hashes = np.bitwise_xor.reduce(np.ascontiguousarray(rows).view(np.int64) >> 6, axis=1)
    chosen = [_class(of_row, prior, int(one)) for of_row, one in zip(likely.T.tolist(), hashes, strict=True)]
    return np.array(chosen, np.int64)


def _class(likely: Sequence[float], prior: Sequence[float] | None, hash_: int) -> int:
    best, count = 0, 0
    ties = [0]  # it stays among them, whatever is more likely later
    for number in range(1, len(likely)):
        if likely[best] < likely[number]:
            best, count = number, 0
        elif likely[best] == likely[number]:
            count += 1
            ties.append(number)
    if prior is not None:
        total, reached = sum((prior[one] for one in ties), 0.0), 0.0
        drawn = _drawn(hash_)
        for one in ties:
            reached += prior[one] / total if total else np.nan
            if drawn <= reached:
                return one
    return _counted(likely, best, count, hash_)


def _counted(likely: Sequence[float], best: int, count: int, hash_: int) -> int:
    low = (hash_ & 0xFFFFFFFF) - ((hash_ & 0x80000000) << 1)
    left = abs(low) % (count + 1) * (1 if low >= 0 else -1)
    for number, one in enumerate(likely):
        if one == likely[best]:
            left -= 1
            if left < 0:
                return number
    return best


def _drawn(seed: int) -> float:
    """``new java.util.Random(seed).nextDouble()``."""
    mask = (1 << 48) - 1
    state = (seed ^ 0x5DEECE66D) & mask
    state = (state * 0x5DEECE66D + 0xB) & mask
    high = state >> 22
    state = (state * 0x5DEECE66D + 0xB) & mask
    return ((high << 27) + (state >> 21)) * 2.0**-53
