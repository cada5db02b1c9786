"""Rules that say who yields, fitted on dialogues: first and last difference, cyclic order, weighted vote.

Each is antisymmetric: exchanging the two agents exchanges the answer. A rule scores dialogues, and is an automaton, to
which `analysis.automata.protocol_machine.fit_machine` adds when to say what, so that it can play. Axes as in
`analysis.data.decisions`.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from analysis.automata.automaton import Automaton, constant, counter, difference
from analysis.data.decisions import Decisions, Scores, counts
from envs.game import Bools, Floats, Ints

CHANCE = 0.2
"""A pair of symbols whose majority is smaller than this (60 to 40 %) decides nothing."""
LEVELS = 17
"""Values that a vote counter tells apart, -8 … 8."""


class Rule(Protocol):
    """An antisymmetric prediction of who yields."""

    def scores(self, symbols: Ints, n_rounds: Ints) -> Scores:
        """`[D]` above 0 where agent 0 of the dialogues `[D, R, 2]` is expected to yield, 0 where undecided."""

    def automaton(self) -> Automaton:
        """The states that the rule needs to keep."""

    def leanings(self) -> Ints:
        """`[S]` for each state 1 where it makes one yield, -1 where it makes one stay, 0 where undecided."""


@dataclass(frozen=True)
class Silence:
    """Nothing is said, nothing is decided."""

    n_kinds: int

    def scores(self, symbols: Ints, n_rounds: Ints) -> Scores:
        return np.zeros(len(symbols))

    def automaton(self) -> Automaton:
        return constant(self.n_kinds)

    def leanings(self) -> Ints:
        return np.zeros(1, np.int64)


@dataclass(frozen=True)
class Difference:
    """The first, or the last, round in which one symbol beats the other decides."""

    beats: Ints
    """`[K, K]` 1 where saying the row's symbol against the column's makes one yield, -1 where it makes one stay."""
    which: Literal["first", "last"] = "first"

    def scores(self, symbols: Ints, n_rounds: Ints) -> Scores:
        final = self.automaton().run(symbols, n_rounds)[:, -1]
        return self.leanings()[final].astype(np.float64)

    def automaton(self) -> Automaton:
        return difference(self.beats, self.which == "last")

    def leanings(self) -> Ints:
        return np.array([0, 1, -1])

    @property
    def above(self) -> Bools:
        """`[K, K]` whether the row's symbol beats the column's, directly or by way of others."""
        above = self.beats > 0
        for via in range(len(above)):
            above = above | above[:, [via]] & above[[via]]
        return above

    @property
    def cyclic(self) -> bool:
        """Whether some symbols beat each other in a circle, so that no ranking of them tells the same."""
        return bool(self.above.diagonal().any())


@dataclass(frozen=True)
class Vote:
    """Every symbol has a weight; the agent with the larger sum yields."""

    weights: Floats
    """`[K]` of tokens, EOT and SILENT; scaled so that the largest difference of two is 1, and centred."""
    highest: int = LEVELS // 2
    """The counter's largest value."""
    resolution: int = 4
    """Counter steps for the largest difference of two weights."""

    def scores(self, symbols: Ints, n_rounds: Ints) -> Scores:
        said = counts(symbols, np.arange(symbols.shape[1]) < n_rounds[:, None], len(self.weights))
        sums = (said[:, 0] - said[:, 1]) @ self.weights.astype(np.float64)
        return np.where(np.abs(sums) < 1e-6, 0, sums)

    def automaton(self) -> Automaton:
        return counter(np.round(self.weights * self.resolution).astype(np.int64), self.highest)

    def leanings(self) -> Ints:
        return np.sign([int(label.removeprefix("vote ")) for label in self.automaton().labels])


# -- fitting -----------------------------------------------------------------------------------------------------------


def fit_difference(decided: Decisions, which: Literal["first", "last"], ranked: bool = True) -> Difference:
    """What beats what in the first, or the last, round that tells: a ranking, or with `ranked=False` also circles.

    A round in which both said the same decides nothing, nor does a pair of symbols that tells no more than a coin
    would. Pairs that tell go by their majority, those too rare to tell by the ranking of a Bradley-Terry model; where
    majorities form a circle, `ranked` leaves those undecided that contradict the ranking.
    """
    parted = decided[decided.parted]
    pair, yielded, alive = _deciding(parted, which)
    one_hot = np.eye(decided.n_kinds)
    strength = _logistic(one_hot[pair[:, 0]] - one_hot[pair[:, 1]], yielded)
    ranking = np.sign(strength[:, None] - strength[None, :]).astype(np.int64)
    margin, trials = _margins(pair, yielded, decided.n_kinds)
    majority = np.sign(margin) * _tells(margin, trials)
    beats = np.where(majority != 0, majority, ranking) * alive
    if ranked and Difference(majority).cyclic:
        beats = np.where(beats == ranking, beats, 0)
    return Difference(beats, which)


def _deciding(parted: Decisions, which: Literal["first", "last"]) -> tuple[Ints, Ints, Bools]:
    """`[P, 2]` the deciding pairs, `[P]` whether the first of each yielded, and `[K, K]` the pairs that may decide.

    Which round decides depends on which pairs do: pairs near chance are dropped and the rest counted anew. What is near
    does not depend on how many dialogues there are, or the rule would become another with more of them; a pair of up to
    nine dialogues is kept.
    """
    kinds = parted.symbols % parted.n_kinds
    alive = ~np.eye(parted.n_kinds, dtype=np.bool_)
    while True:
        counting = alive[kinds[..., 0], kinds[..., 1]] & parted.spoken
        some = counting.any(axis=1)
        last = counting.shape[1] - 1 - counting[:, ::-1].argmax(axis=1)
        rounds = counting.argmax(axis=1) if which == "first" else last
        pair, yielded = kinds[np.arange(len(kinds)), rounds][some], parted.moves[some, 0]
        margin, trials = _margins(pair, yielded, parted.n_kinds)
        chance = alive & (np.abs(margin) < CHANCE * trials) & (trials > 9)
        if not chance.any():
            return pair, yielded, alive
        alive &= ~chance


def _margins(pair: Ints, yielded: Ints, n_kinds: int) -> tuple[Ints, Ints]:
    """`[K, K]` how much more often the row yielded against the column than the reverse, and how often they met."""
    won = np.zeros((n_kinds, n_kinds), np.int64)
    met = won.copy()
    np.add.at(won, (pair[:, 0], pair[:, 1]), np.where(yielded == 1, 1, -1))
    np.add.at(met, (pair[:, 0], pair[:, 1]), 1)
    return won - won.T, met + met.T


def _tells(margin: Ints, trials: Ints) -> Bools:
    """`[K, K]` whether a pair tells more than a coin would (three standard errors)."""
    return np.abs(margin) > 3 * np.sqrt(trials)


def fit_vote(decided: Decisions) -> Vote:
    """The weights by logistic regression of who yielded on own counts minus the other's; then a counter's resolution.

    Of several resolutions, the counter keeps the one whose automaton tells best who yields.
    """
    parted = decided[decided.parted]
    said = counts(parted.symbols, parted.spoken, decided.n_kinds)
    weights = _logistic(said[:, 0] - said[:, 1], parted.moves[:, 0])
    weights = weights - weights.mean()
    spread = float(np.ptp(weights))
    weights = (weights / spread if spread > 1e-9 else weights).astype(np.float32)
    candidates = [Vote(weights, LEVELS // 2, resolution) for resolution in range(1, LEVELS // 2 + 1)]
    return max(candidates, key=lambda vote: _agreement_of_counter(vote, parted))


def _agreement_of_counter(vote: Vote, parted: Decisions) -> float:
    final = vote.leanings()[vote.automaton().run(parted.symbols, parted.n_rounds)[:, -1]]
    right = final == np.where(parted.moves[:, 0] == 1, 1, -1)
    return float(right.mean() + 0.5 * (final == 0).mean()) if len(parted) else 0.0


def _logistic(features: Ints | Floats | Scores, yielded: Ints) -> Scores:
    """`[F]` weights without intercept, both views of every dialogue counted; zeros where there is nothing to learn."""
    from sklearn.linear_model import LogisticRegression

    if not len(features) or not np.any(features):
        return np.zeros(features.shape[1])
    both, labels = np.concatenate([features, -features]), np.concatenate([yielded, 1 - yielded])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return LogisticRegression(fit_intercept=False, C=100.0, max_iter=500).fit(both, labels).coef_[0]
