"""Success over seeds: mean, interquartile mean, and the share of seeds in which a protocol formed.

The interquartile mean and its percentile bootstrap over seeds follow Agarwal et al. 2021, "Deep reinforcement learning
at the edge of the statistical precipice".
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import trim_mean

from emcomm.statistics import Rate, rate

FORMED_ABOVE = 0.75
"""Half way from 0.5, the best that identical agents reach without talk, to 1."""


class Interval(NamedTuple):
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


class SeedSummary(NamedTuple):
    """Success over independent seeds; NaN where there is none."""

    success: tuple[float, ...]
    """Each seed's rate, failed seeds included."""
    mean: Interval
    """Bootstrap interval over seeds; for one seed it is the point itself and says nothing."""
    interquartile_mean: Interval
    """Mean of the middle half: a quarter of the seeds, rounded down, is left out at each end."""
    formed: Rate
    """Seeds in which a protocol formed."""


def over_seeds(rates: Sequence[Rate], formed_above: float = FORMED_ABOVE, seed: int = 0) -> SeedSummary:
    """What several seeds of one condition amount to.

    A protocol has formed where the lower Wilson bound of a seed's success is above `formed_above`. Seeds without
    dialogues are left out.

    Parameters
    ----------
    rates : sequence of Rate
        The success of each seed.
    formed_above : float
        Success above which a protocol has formed (0 to 1).
    seed : int
        Of the bootstrap.

    Returns
    -------
    SeedSummary
        `mean` and `interquartile_mean`, each with its 95 % bootstrap interval, and `formed`, the share of seeds.

    Examples
    --------
    >>> summary = over_seeds([rate(50, 100), rate(97, 100), rate(98, 100), rate(99, 100)])
    >>> round(summary.mean.value, 3), round(summary.interquartile_mean.value, 3), summary.formed.successes
    (0.86, 0.975, 3)
    """
    rates = [r for r in rates if r.trials]
    success = np.array([r.value for r in rates])
    formed = sum(r.low > formed_above for r in rates)
    nothing = Interval(*[float("nan")] * 3)
    if not len(success):
        return SeedSummary((), nothing, nothing, rate(0, 0))
    drawn = np.random.default_rng(seed).choice(success, (10_000, len(success)))
    return SeedSummary(
        tuple(success.tolist()),
        _interval(float(success.mean()), drawn.mean(axis=1)),
        _interval(float(trim_mean(success, 0.25)), trim_mean(drawn, 0.25, axis=1)),
        rate(formed, len(success)),
    )


def _interval(value: float, replicates: np.ndarray) -> Interval:
    low, high = np.quantile(replicates, [0.025, 0.975])
    return Interval(value, float(low), float(high))
