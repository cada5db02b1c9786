"""Rates with their uncertainty."""

from __future__ import annotations

from statistics import NormalDist
from typing import NamedTuple

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


def rate(successes: int, trials: int) -> Rate:
    """A rate with its 95 % Wilson interval; the interval is [0, 1] where there were no trials.

    >>> print(rate(95, 100))
    95.00 % [88.82, 97.85]
    """
    if not trials:
        return Rate(0, 0, 0.0, 1.0)
    share, squared = successes / trials, Z95**2
    middle = 2 * successes + squared
    half = Z95 * (squared + 4 * successes * (1 - share)) ** 0.5
    low, high = ((middle + sign * half) / (2 * (trials + squared)) for sign in (-1, 1))
    return Rate(successes, trials, low if successes else 0.0, high if successes < trials else 1.0)
