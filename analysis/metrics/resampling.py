"""Intervals by resampling dialogues, and nulls by permutation."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from emcomm.statistics import Z95, Rate, rate

Reals = NDArray[np.float64]
Counts = NDArray[np.integer]


class Estimate(NamedTuple):
    """A figure with its interval over resampled dialogues, beside what the same estimate makes of noise."""

    value: float
    low: float
    """Lower end of the 95 % bootstrap interval."""
    high: float
    null: float
    """97.5 % quantile of the same with permuted meanings."""
    p_value: float
    """Share of permutations at least as high, the figure itself counted in."""

    @property
    def above_chance(self) -> bool:
        """Whether it is more than permuted meanings give."""
        return self.value > self.null and self.p_value <= 0.05


NO_ESTIMATE = Estimate(float("nan"), float("nan"), float("nan"), float("nan"), 1.0)
"""Of what cannot be estimated."""


def permuted_together(dialogue: Counts, rng: np.random.Generator) -> Counts:
    """`[U]` for each row the row whose meaning it gets in a permutation; rows of one `dialogue` `[U]` stay together.

    Agents of one dialogue may know the same, or say the same. Permuted one by one their rows would look like
    independent ones, and chance like little. Dialogues are permuted among those with as many rows; within one the rows
    keep their order.

    >>> permuted_together(np.array([7, 7, 9, 9, 3, 3]), np.random.default_rng(3)).tolist()
    [0, 1, 4, 5, 2, 3]
    >>> sorted(permuted_together(np.arange(5), np.random.default_rng(0)).tolist())
    [0, 1, 2, 3, 4]
    """
    order = np.argsort(dialogue, kind="stable")
    _, begins, sizes = np.unique(dialogue[order], return_index=True, return_counts=True)
    permuted = np.empty(len(dialogue), np.int64)
    for size in np.unique(sizes):
        those = begins[sizes == size][:, None] + np.arange(size)
        permuted[order[those]] = order[rng.permutation(those)]
    return permuted


def interval_of_means(scores: Reals, rng: np.random.Generator, replicates: int = 400) -> tuple[Reals, Reals]:
    """`[T]` both ends of the 95 % percentile interval of the mean of `scores` `[D, T]` over resampled dialogues.

    >>> low, high = interval_of_means(np.array([[0.0], [1.0]] * 50), np.random.default_rng(0))
    >>> bool(0.35 < low[0] < 0.45), bool(0.55 < high[0] < 0.65)
    (True, True)
    """
    count = len(scores)
    if scores.shape[1] == 1:  # rows of one value are drawn together: the same interval, in less time
        values, uses = np.unique(scores[:, 0], return_counts=True)
        again = rng.multinomial(count, uses / count, replicates) @ values / count
        low, high = np.quantile(again, [0.025, 0.975])
        return np.array([low]), np.array([high])
    even = np.full(count, 1 / count)
    means = np.array([rng.multinomial(count, even) @ scores / count for _ in range(replicates)])
    low, high = np.quantile(means, [0.025, 0.975], axis=0)
    return low, high


def rate_of_groups(good: Counts | Reals, uses: Counts | Reals, times: Counts | None = None) -> Rate:
    """A rate whose trials come in groups of such as resemble one another: `good` `[G]` of the `uses` `[G]` of each.

    Wilson's interval of as many independent trials as have the spread that is seen between groups, with the quantile of
    Student's t for their number (Korn and Graubard 1998); of groups of unequal size so many of equal size count as have
    the same sum of squares (Kish 1965). Where all trials end alike a group is one trial. A row stands for `times` `[G]`
    groups alike, by default for one.

    >>> print(rate_of_groups(np.array([100, 100, 100, 0]), np.full(4, 100)))
    75.00 % [13.07, 98.36]
    >>> print(rate_of_groups(np.array([1, 0]), np.array([1, 1]), times=np.array([300, 100])))
    75.00 % [70.51, 79.01]
    """
    times = np.ones(len(uses), np.int64) if times is None else times
    successes, trials, groups = int(times @ good), int(times @ uses), int(times[uses > 0].sum())
    if not trials:
        return rate(0, 0)
    share, alike = successes / trials, trials**2 / float(times @ uses.astype(np.float64) ** 2)
    if not 0 < share < 1 or groups < 2:
        return rate(successes, trials, alike)
    variance = groups / (groups - 1) * float(times @ (good - share * uses) ** 2) / trials**2
    quantiles = Z95 / float(student.ppf(0.975, max(alike - 1, 1)))
    worth = share * (1 - share) / variance * quantiles**2 if variance else trials
    return rate(successes, trials, min(worth, trials))


def rate_of_rows(good: NDArray[np.bool_], dialogue: Counts) -> Rate:
    """The share of rows that are `good` `[U]`; those of one `dialogue` `[U]` are no independent witnesses.

    Where each dialogue has one row they are: the interval is Wilson's.

    >>> print(rate_of_rows(np.array([True] * 6 + [False] * 2), np.repeat([3, 1, 7, 0], 2)))
    75.00 % [13.07, 98.36]
    >>> print(rate_of_rows(np.array([True, False]), np.array([3, 1])))
    50.00 % [9.45, 90.55]
    """
    _, which = np.unique(dialogue, return_inverse=True)
    uses = np.bincount(which)
    if uses.max(initial=0) <= 1:
        return rate(int(good.sum()), len(good))
    return rate_of_groups(np.bincount(which, good).astype(np.int64), uses)


def with_interval(
    statistic: Callable[[Counts], float], dialogue: Counts, rng: np.random.Generator, replicates: int = 200
) -> tuple[float, float, float]:
    """A statistic with both ends of the 95 % interval of its resampled values; NaN where it cannot be estimated.

    `statistic` takes `[U]` how often each row counts. Rows of one `dialogue` `[U]` are drawn together. A statistic of
    resampled rows is biased as that of the rows is: the interval is that of the replicates about their median, put
    around the figure itself.

    >>> rows = np.array([0.0, 1.0] * 50)
    >>> mean = lambda counts: float(counts @ rows / counts.sum())
    >>> value, low, high = with_interval(mean, np.arange(100), np.random.default_rng(0))
    >>> value, bool(0.35 < low < 0.45), bool(0.55 < high < 0.65)
    (0.5, True, True)
    """
    value = statistic(np.ones(len(dialogue), np.int64))
    _, which = np.unique(dialogue, return_inverse=True)
    count = int(which.max()) + 1
    even = np.full(count, 1 / count)
    again = np.array([statistic(rng.multinomial(count, even)[which]) for _ in range(replicates)])
    again = again[np.isfinite(again)]
    if not np.isfinite(value) or not len(again):
        return float("nan"), float("nan"), float("nan")
    low, high = value + np.quantile(again, [0.025, 0.975]) - np.median(again)
    return value, float(low), float(high)


def estimated(
    statistic: Callable[[Counts], float],
    permuted: Callable[[np.random.Generator], float],
    dialogue: Counts,
    rng: np.random.Generator,
    replicates: int = 200,
    nulls: int = 99,
) -> Estimate:
    """A statistic with the interval of its resampled values (`with_interval`), and with its null.

    `permuted` makes it anew of rows whose meanings were permuted.

    >>> rows = np.array([0.0, 1.0] * 50)
    >>> mean = lambda counts: float(counts @ rows / counts.sum())
    >>> found = estimated(mean, lambda rng: 0.0, np.arange(100), np.random.default_rng(0))
    >>> found.value, bool(0.35 < found.low < 0.45), found.p_value
    (0.5, True, 0.01)
    """
    value, low, high = with_interval(statistic, dialogue, rng, replicates)
    null = np.array([permuted(rng) for _ in range(nulls)])
    null = null[np.isfinite(null)]
    if np.isnan(value):
        return NO_ESTIMATE
    high_null = float(np.quantile(null, 0.975)) if len(null) else float("nan")
    p_value = float((1 + (null >= value - 1e-12).sum()) / (1 + len(null)))
    return Estimate(value, low, high, high_null, p_value)
