"""Intervals by resampling."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]


def interval_of_means(scores: Reals, rng: np.random.Generator, replicates: int = 400) -> tuple[Reals, Reals]:
    """`[T]` both ends of the 95 % percentile interval of the mean of `scores` `[D, T]` over resampled dialogues.

    >>> low, high = interval_of_means(np.array([[0.0], [1.0]] * 50), np.random.default_rng(0))
    >>> bool(0.35 < low[0] < 0.45), bool(0.55 < high[0] < 0.65)
    (True, True)
    """
    count = len(scores)
    even = np.full(count, 1 / count)
    means = np.array([rng.multinomial(count, even) @ scores / count for _ in range(replicates)])
    low, high = np.quantile(means, [0.025, 0.975], axis=0)
    return low, high
