"""Entropies of counted symbols and their successions, with bias correction.

The plug-in entropy of K observed outcomes in N draws is too low by about (K - 1) / (2 N ln 2) bits; Miller and Madow
(Miller 1955) add that. It is enough while N is much larger than K, and `Entropy.trusted` says whether it is.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

TOLERANCE = 0.05
"""A correction above this says that there are too few draws for the correction itself (bits)."""


class Entropy(NamedTuple):
    """An entropy in bits; NaN where nothing was drawn."""

    bits: float
    """With the Miller–Madow correction."""
    plug_in: float
    """Without it."""
    draws: int
    outcomes: int
    """Different outcomes among the draws (for a conditional entropy: of context and outcome together)."""

    @property
    def trusted(self) -> bool:
        """Whether the correction is small enough to be one."""
        return self.draws > 0 and abs(self.bits - self.plug_in) <= TOLERANCE


def require_counts(counts: NDArray[np.integer]) -> None:
    """Raise ValueError where these are no counts: shares, say, whose number of draws is not known.

    >>> require_counts(np.array([0.5, 0.5]))
    Traceback (most recent call last):
    ValueError: counts must be whole numbers from 0, not 0.5: give how often each outcome was seen, not its share
    """
    if counts.dtype.kind == "u" or (counts.dtype.kind == "i" and counts.min(initial=0) >= 0):
        return
    wrong = counts[~((counts >= 0) & (counts == np.floor(counts)) & np.isfinite(counts))]
    if wrong.size:
        raise ValueError(
            f"counts must be whole numbers from 0, not {wrong.flat[0]}: give how often each outcome was seen, "
            f"not its share"
        )


def entropy(counts: NDArray[np.integer]) -> Entropy:
    """The entropy behind the counts of outcomes; raises ValueError where they are none.

    >>> entropy(np.array([2, 2])).plug_in
    1.0
    >>> round(entropy(np.array([2, 2])).bits, 4)  # 1 + 1 / (2 * 4 * ln 2)
    1.1803
    """
    require_counts(counts)
    seen = counts[counts > 0].astype(np.float64)
    draws, outcomes = seen.sum(), len(seen)
    if not outcomes:
        return Entropy(float("nan"), float("nan"), 0, 0)
    # of one outcome it is 0 exactly: rounding would leave a trace of uncertainty
    plug_in = float(np.log2(draws) - seen @ np.log2(seen) / draws) if outcomes > 1 else 0.0
    return Entropy(plug_in + float((outcomes - 1) / (2 * draws * np.log(2))), plug_in, int(draws), outcomes)


def conditional_entropy(counts: NDArray[np.integer]) -> Entropy:
    """The entropy of the last symbol given those before it, from the counts `[S, ..., S]` of successions.

    The difference of two Miller–Madow entropies: of the whole succession and of its context.

    >>> conditional_entropy(np.array([[50, 0], [0, 50]])).plug_in
    0.0
    """
    require_counts(counts)
    whole, context = entropy(counts.ravel()), entropy(counts.sum(axis=-1).ravel())
    return Entropy(whole.bits - context.bits, whole.plug_in - context.plug_in, whole.draws, whole.outcomes)


def shared_information(counts: NDArray[np.integer]) -> float:
    """The plug-in mutual information of the two axes of `counts` `[X, Y]` (bits); 0 where nothing was drawn.

    It is too high by about (X - 1)(Y - 1) / (2 N ln 2) where the two have nothing to do with each other.

    >>> shared_information(np.array([[5, 0], [0, 5]])), shared_information(np.array([[5, 5], [5, 5]]))
    (1.0, 0.0)
    """
    require_counts(counts)
    if not counts.sum():
        return 0.0
    parts = (counts.sum(axis=1), counts.sum(axis=0), counts.ravel())
    own, other, both = (entropy(part).plug_in for part in parts)
    return max(own + other - both, 0.0)


def bits_of(probabilities: ArrayLike) -> NDArray[np.float64]:
    """`[...]` the entropy of each distribution in `[..., K]` (bits).

    >>> bits_of(np.array([[0.5, 0.5], [1.0, 0.0]])).tolist()
    [1.0, 0.0]
    """
    p = np.asarray(probabilities, np.float64)
    return np.abs((p * np.log2(np.maximum(p, 1e-30))).sum(axis=-1))
