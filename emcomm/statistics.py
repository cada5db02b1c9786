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
