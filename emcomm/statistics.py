"""Rates and means with their uncertainty."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Z95 = NormalDist().inv_cdf(0.975)
"""Standard errors on each side of a 95 % interval."""


class Rate(NamedTuple):
    """A share of a number of trials, with its 95 % Wilson interval."""

    successes: int
    trials: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """The share itself; NaN where there were no trials."""
        return self.successes / self.trials if self.trials else float("nan")

    def __str__(self) -> str:
        return f"{100 * self.value:.2f} % [{100 * self.low:.2f}, {100 * self.high:.2f}]"


class Mean(NamedTuple):
    """A mean of a number of values, with its 95 % interval (normal); of one value NaN."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        digits = _decimals((self.high - self.low) / 2)
        if math.isnan(self.low):
            return f"{self.value:.{digits}f} [–, –]"
        return f"{self.value:.{digits}f} [{self.low:.{digits}f}, {self.high:.{digits}f}]"


NO_MEAN = Mean(math.nan, math.nan, math.nan, 0)
"""Of no values."""


def mean_of(values: NDArray[np.floating]) -> Mean:
    """The mean of `values` `[V]` that are independent of one another; NaN where there are none.

    >>> print(mean_of(np.array([1.0, -1.0] * 50)))
    0.00 [-0.20, 0.20]
    """
    if not len(values):
        return NO_MEAN
    return mean_from(float(values.mean(dtype=float)), float(np.square(values, dtype=float).mean()), len(values))


def mean_from(mean: float, squares: float, count: int) -> Mean:
    """The same from the mean and the mean of the squares.

    >>> print(mean_from(2.0, 4.0, 1))
    2.000 [–, –]
    """
    half = Z95 * math.sqrt(max(squares - mean**2, 0.0) / (count - 1)) if count > 1 else math.nan
    return Mean(mean, mean - half, mean + half, count)


def _decimals(half: float) -> int:
    """Decimals that an interval so wide on each side deserves."""
    return next((digits for digits, least in ((0, 30), (1, 3), (2, 0.1)) if half >= least), 3)


def rate(successes: int, trials: int, worth: float | None = None) -> Rate:
    """A rate with its 95 % Wilson interval; the interval is [0, 1] where there were no trials.

    `worth`: of how many independent trials the interval is, where some trials resemble one another.

    >>> print(rate(95, 100))
    95.00 % [88.82, 97.85]
    >>> print(rate(95, 100, worth=20))
    95.00 % [76.39, 99.11]
    """
    if not trials:
        return Rate(0, 0, 0.0, 1.0)
    share, squared = successes / trials, Z95**2
    counted, count = (successes, trials) if worth is None else (share * worth, worth)
    middle = 2 * counted + squared
    half = Z95 * (squared + 4 * counted * (1 - share)) ** 0.5
    low, high = ((middle + sign * half) / (2 * (count + squared)) for sign in (-1, 1))
    return Rate(successes, trials, low if successes else 0.0, high if successes < trials else 1.0)
