"""Rates with their uncertainty."""

from __future__ import annotations

from typing import NamedTuple


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
    from scipy.stats import binomtest

    if not trials:
        return Rate(0, 0, 0.0, 1.0)
    interval = binomtest(successes, trials).proportion_ci(method="wilson")
    return Rate(successes, trials, float(interval.low), float(interval.high))
