"""Rank and frequency: a Zipf law fitted by maximum likelihood, and how well it fits.

p(rank r) is proportional to r^-exponent over the K outcomes that were seen. The fit is judged by the largest gap of
the cumulative shares (Kolmogorov–Smirnov distance) and by a parametric bootstrap, which draws samples from the fitted
law, ranks and refits each of them, and asks how often they lie further from their own fit (Clauset, Shalizi and
Newman 2009). With very many draws every law of nature is rejected: read the distance beside the p-value.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from analysis.metrics.entropy import require_counts

FEWEST_RANKS = 3
"""Fewer points lie on any curve."""
LARGEST = 20.0
"""Largest exponent that is looked for."""
BOOTSTRAP_RANKS = 5_000
"""Above as many ranks the bootstrap is left out."""


class ZipfFit(NamedTuple):
    """A Zipf law; NaN where fewer than `FEWEST_RANKS` outcomes were seen."""

    exponent: float
    distance: float
    """Largest difference of the cumulative shares (0 to 1)."""
    p_value: float
    """Share of samples from the fitted law at least as far from theirs; NaN beyond `BOOTSTRAP_RANKS` ranks."""
    ranks: int


def fit_zipf(counts: NDArray[np.integer], replicates: int = 200, seed: int = 0) -> ZipfFit:
    """The Zipf law that makes the counts of outcomes most probable; raises ValueError where they are none.

    >>> fit = fit_zipf(np.array([600, 300, 200, 150, 120]))  # 600 / rank
    >>> round(fit.exponent, 2), fit.distance < 0.01, fit.p_value > 0.5
    (1.0, True, True)
    """
    require_counts(counts)
    ranked = np.sort(counts[counts > 0])[::-1]
    if len(ranked) < FEWEST_RANKS:
        return ZipfFit(float("nan"), float("nan"), float("nan"), len(ranked))
    exponent = _exponent(ranked)
    distance = _distance(ranked, exponent)
    p_value = float("nan")
    if len(ranked) <= BOOTSTRAP_RANKS and replicates:
        drawn = np.random.default_rng(seed).multinomial(ranked.sum(), _law(len(ranked), exponent), replicates)
        further = sum(_own_distance(sample) >= distance for sample in np.sort(drawn)[:, ::-1])
        p_value = (1 + further) / (1 + replicates)
    return ZipfFit(exponent, distance, p_value, len(ranked))


def _own_distance(ranked: NDArray[np.integer]) -> float:
    ranked = ranked[ranked > 0]
    return _distance(ranked, _exponent(ranked))


def _exponent(ranked: NDArray[np.integer]) -> float:
    logs = np.log(np.arange(1, len(ranked) + 1))
    mean = ranked @ logs / ranked.sum()

    from scipy.optimize import minimize_scalar

    def loss(exponent: float) -> float:
        return float(exponent * mean + np.log(np.exp(-exponent * logs).sum()))

    return float(minimize_scalar(loss, bounds=(0, LARGEST), method="bounded").x)


def _distance(ranked: NDArray[np.integer], exponent: float) -> float:
    shares = np.cumsum(ranked) / ranked.sum()
    return float(np.abs(shares - np.cumsum(_law(len(ranked), exponent))).max())


def _law(ranks: int, exponent: float) -> NDArray[np.float64]:
    weights = np.arange(1, ranks + 1, dtype=np.float64) ** -exponent
    return weights / weights.sum()
