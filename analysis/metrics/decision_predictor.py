"""Who yields, predicted from the dialogue up to a round, always on dialogues that the prediction was not fitted on.

The predictor is a logistic regression on four views of the dialogue so far, all seen from one agent (`orientation`):

- how much more often the agent said each symbol than the other did (a vote);
- the log-odds that the first round in which the two differed gives;
- the log-odds that the last such round gives;
- the log-odds that the dialogue itself gives, word for word, shrunk towards those of its beginnings (a context tree).

Tables of log-odds are counted on one third of the dialogues, weights are fitted on the second, the third is scored; the
thirds change places, so that each dialogue is scored once. Every round has its own weights.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analysis.data.canonical_view import Oriented
from envs.game import Bools, Ints
from envs.negotiation import SILENT

Reals = NDArray[np.float64]

SHRINKAGE = 1.0
"""Weight of the shorter beginning in the context tree (dialogues)."""
RIDGE = 0.01
"""Penalty on the squared weights of the regression, whose inputs have unit variance."""
STEPS = 12
"""Newton steps at most."""


def held_out(seen: Oriented, n_symbols: int, rng: np.random.Generator, last_only: bool = False) -> Reals:
    """`[D, T]` the probability that the agent yields, after each round, from a predictor that has not met the dialogue.

    1/2 while nothing has told the agents apart. With `last_only`, `[D, 1]` after the last round.
    """
    dialogues, rounds = seen.own.shape
    third = rng.permutation(dialogues) % 3
    views = _Views(seen, n_symbols)
    probability = np.full((dialogues, rounds), 0.5)
    weights: list[Reals | None] = [None] * 3
    contexts = [_ContextTree(seen.yields, third == k) for k in range(3)]
    for t in range(rounds):
        views.hear(t)
        apart = seen.first <= t
        for k, context in enumerate(contexts):
            context.descend(views.beginnings, apart)
            if last_only and t < rounds - 1:
                continue
            counted, fitted = apart & (third == k), apart & (third == (k + 1) % 3)
            scored = apart & (third == (k + 2) % 3)
            inputs = np.column_stack([views.tables(seen.yields, counted), context.log_odds, views.votes])
            if seen.ordered:
                inputs = np.column_stack([inputs, np.ones(dialogues)])
            predicted, weights[k] = _fit_and_predict(inputs, seen.yields, fitted, scored, weights[k])
            probability[scored, t] = predicted
    return probability[:, -1:] if last_only else probability


class _Views:
    """The four views of the dialogues, as they grow round by round."""

    def __init__(self, seen: Oriented, n_symbols: int) -> None:
        self._own, self._other = seen.own.astype(np.int64), seen.other.astype(np.int64)
        self._size = n_symbols + 1  # silence is one more, at 0
        count = len(self._own)
        self.votes = np.zeros((count, self._size))
        """`[D, S + 1]` own minus other's uses of each symbol, silence first."""
        self.beginnings: Ints = np.zeros(count, np.int64)
        """`[D]` a number for each different beginning of a dialogue."""
        self._first = np.full(count, -1)
        self._last = np.full(count, -1)
        self._sign = np.ones(count)

    def hear(self, t: int) -> None:
        own, other = self._own[:, t] - SILENT, self._other[:, t] - SILENT
        rows = np.arange(len(own))
        self.votes[rows, own] += 1
        self.votes[rows, other] -= 1
        pair = np.maximum(own, other) * self._size + np.minimum(own, other)
        differs = own != other
        self._first = np.where(differs & (self._first < 0), pair, self._first)
        self._last = np.where(differs, pair, self._last)
        self._sign = np.where(differs, np.where(own > other, 1.0, -1.0), self._sign)
        code = self.beginnings * self._size**2 + own * self._size + other
        self.beginnings = np.unique(code, return_inverse=True)[1].reshape(-1)

    def tables(self, yields: Bools, counted: Bools) -> Reals:
        """`[D, 2]` the log-odds of the first and of the last difference, as counted on some of the dialogues."""
        first = self._log_odds(self._first, yields, counted)
        larger_yields: Bools = yields == (self._sign > 0)
        return np.column_stack([first, self._sign * self._log_odds(self._last, larger_yields, counted)])

    def _log_odds(self, pair: Ints, yields: Bools, counted: Bools) -> Reals:
        index = pair + 1  # 0: no difference yet
        cells = self._size**2 + 1
        for_it = np.bincount(index[counted & yields], minlength=cells)
        against = np.bincount(index[counted & ~yields], minlength=cells)
        odds: Reals = np.log((for_it + 0.5) / (against + 0.5))[index]
        return np.where(pair < 0, 0.0, odds)


class _ContextTree:
    """The share of yielding after each beginning of a dialogue, shrunk towards that of the beginning one shorter."""

    def __init__(self, yields: Bools, counted: Bools) -> None:
        self._yields, self._counted = yields, counted
        self._share = np.full(len(yields), 0.5)

    def descend(self, beginnings: Ints, apart: Bools) -> None:
        """One round further; before the agents can be told apart the share stays 1/2."""
        nodes, counted = int(beginnings.max()) + 1, self._counted & apart
        total = np.bincount(beginnings[counted], minlength=nodes)[beginnings]
        for_it = np.bincount(beginnings[counted & self._yields], minlength=nodes)[beginnings]
        self._share = (for_it + SHRINKAGE * self._share) / (total + SHRINKAGE)

    @property
    def log_odds(self) -> Reals:
        """`[D]`"""
        share = np.clip(self._share, 1e-3, 1 - 1e-3)
        odds: Reals = np.log(share / (1 - share))
        return odds


def _fit_and_predict(
    inputs: Reals, yields: Bools, fitted: Bools, scored: Bools, start: Reals | None
) -> tuple[Reals, Reals | None]:
    """Logistic regression by Newton's method, without a constant: mirrored dialogues have mirrored odds."""
    count = int(fitted.sum())
    if count < 10:
        return np.full(int(scored.sum()), 0.5), start
    x, y = inputs[fitted], yields[fitted].astype(np.float64)
    scale = np.sqrt((x**2).mean(axis=0))
    scale[scale == 0] = 1.0
    x = x / scale
    w = np.zeros(x.shape[1]) if start is None else start * scale
    penalty = RIDGE * np.eye(len(w))
    for _ in range(STEPS):
        p = _sigmoid(x @ w)
        gradient = x.T @ (p - y) + RIDGE * w
        step = np.linalg.solve((x.T * (p * (1 - p))) @ x + penalty, gradient)
        w = w - step * min(1.0, 4.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-3:
            break
    surest = 1 / (count + 2)  # as much as `count` dialogues can teach
    return np.clip(_sigmoid(inputs[scored] / scale @ w), surest, 1 - surest), w / scale


def _sigmoid(x: Reals) -> Reals:
    return 1 / (1 + np.exp(-np.clip(x, -30, 30)))
