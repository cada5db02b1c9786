"""Roth-Erev reinforcement in Lewis's signalling game: urns instead of networks.

The sender has an urn for each state with balls for the signals, the receiver one for each signal with balls for the
acts; at first one ball of each kind. They draw a signal and an act in proportion to the balls, and after a success put
one more ball of each that was drawn into its urn (Roth and Erev 1995; Skyrms 2010, ch. 7). With two states urns nearly
always come to signal perfectly; with more some end in partial pooling, where one signal stands for several states
(Barrett 2006; Argiento et al. 2009; Hu, Skyrms and Tarrès 2011).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class UrnLearners:
    """`n_learners` independent pairs of sender and receiver, all states equally often.

    Parameters
    ----------
    n_learners : int
        Pairs.
    n_states : int
        States, signals and acts.
    rng : numpy.random.Generator
        Of all draws.

    >>> pairs = UrnLearners(100, 2, np.random.default_rng(0))
    >>> pairs.success().tolist() == [0.5] * 100
    True
    >>> pairs.play(2_000)
    >>> bool(pairs.success().mean() > 0.9)
    True
    """

    def __init__(self, n_learners: int, n_states: int, rng: np.random.Generator) -> None:
        self.n_learners, self.n_states, self._rng = n_learners, n_states, rng
        self.signals = np.ones((n_learners, n_states, n_states))
        """`[L, S, M]` balls in the sender's urns."""
        self.acts = np.ones((n_learners, n_states, n_states))
        """`[L, M, A]` balls in the receiver's."""

    def play(self, plays: int) -> None:
        """Let every pair play `plays` times more."""
        count, n = self.n_learners, self.n_states
        senders, receivers = self.signals.reshape(-1, n), self.acts.reshape(-1, n)
        first = np.arange(count) * n
        for begin in range(0, plays, 1_024):
            length = min(1_024, plays - begin)
            states = first + self._rng.integers(n, size=(length, count))
            luck = self._rng.random((length, 2, count))
            for state, (for_signal, for_act) in zip(states, luck, strict=True):
                signal = first + _drawn(senders[state], for_signal)
                act = first + _drawn(receivers[signal], for_act)
                right = act == state
                senders[state[right], (signal - first)[right]] += 1
                receivers[signal[right], (act - first)[right]] += 1

    def success(self) -> NDArray[np.float64]:
        """`[L]` each pair's probability of success with its urns as they are."""
        says = self.signals / self.signals.sum(axis=2, keepdims=True)
        does = self.acts / self.acts.sum(axis=2, keepdims=True)
        return np.einsum("lsm,lms->l", says, does) / self.n_states


def _drawn(balls: NDArray[np.float64], luck: NDArray[np.float64]) -> NDArray[np.int64]:
    """`[L]` a ball of each urn `[L, K]`, by numbers `[L]` from 0 to 1."""
    filled = balls.cumsum(axis=1)
    return (filled <= (luck * filled[:, -1])[:, None]).sum(axis=1)
