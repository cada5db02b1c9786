"""Which of the fitted rules is named: the simplest that no other beats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from analysis.agents.random_queries import Queries
from analysis.data.decisions import Decisions, Scores
from analysis.explanation.candidates import Fitted, Method
from emcomm.statistics import Rate, rate

Family = Method | Literal["none"]


NAMED: tuple[Method, ...] = ("first difference", "last difference", "cyclic order", "vote", "integrator")
"""The rules that may be named, the simplest first."""


AT_LEAST = 0.9
"""A rule that names fewer of the held-out yielders than this is no description."""
HELD_OUT, RANDOM = 0.002, 0.02
"""Shares of held-out yielders, and of answers to random dialogues, by which a rule may be worse than another."""


def choose(fitted: Mapping[Method, Fitted], scoring: Decisions, asked: Queries | None = None) -> Family:
    """The simplest rule that no other beats, or "none".

    One rule beats a simpler one where it names more of the same held-out yielders, by more than 0.2 points and by
    three standard errors of the difference (McNemar's). Where the held-out dialogues do not tell two rules apart, the
    network's answers to random dialogues may: by more than 2 points and three standard errors.
    """
    if not len(scoring):
        return "none"
    if (scoring.n_rounds == 0).mean() >= AT_LEAST:
        return "silent"
    held = _held(fitted, scoring, asked)
    enough = [m for m in held.rules if held.accuracy(m).value >= AT_LEAST and held.accuracy(m).low > 0.5]

    def beaten(this: Method, other: Method) -> bool:
        if _beats(held.right[other], held.right[this], HELD_OUT):
            return True
        undecided = not _beats(held.right[this], held.right[other], HELD_OUT)
        return bool(held.elsewhere) and undecided and _beats(held.elsewhere[other], held.elsewhere[this], RANDOM)

    for method in enough:
        if not any(beaten(method, other) for other in enough):
            return method
    return "none"


def possible(fitted: Mapping[Method, Fitted], scoring: Decisions, asked: Queries | None = None) -> tuple[Method, ...]:
    """The rules that `choose` may come to name with more dialogues, the simplest first; one where they are separated.

    A rule is out where another one beats it by three standard errors more than is tolerated. It closes the list where
    no other can beat it: every gain over it, three standard errors added, is within what is tolerated.
    """
    held = _held(fitted, scoring, asked)
    enough = [m for m in held.rules if held.accuracy(m).high >= AT_LEAST and held.accuracy(m).low > 0.5]
    left: list[Method] = []
    for this in enough:
        others = [other for other in enough if other != this]
        if any(held.surely_beaten(this, other) for other in others):
            continue
        left.append(this)
        if held.accuracy(this).low >= AT_LEAST and all(held.surely_stands(this, other) for other in others):
            break
    return tuple(left)


@dataclass(frozen=True)
class _Held:
    """What each rule gets right: 1, or 0.5 where it is undecided."""

    right: dict[Method, np.ndarray]
    """Of the held-out dialogues that parted."""
    elsewhere: dict[Method, np.ndarray]
    """Of random dialogues; empty where nobody can be asked."""

    @property
    def rules(self) -> list[Method]:
        return list(self.right)

    def accuracy(self, method: Method) -> Rate:
        return rate(int(self.right[method].sum()), len(self.right[method]))

    def surely_beaten(self, this: Method, other: Method) -> bool:
        low, high = _gain(self.right[other], self.right[this])
        if low > HELD_OUT:
            return True
        return bool(self.elsewhere) and high >= -HELD_OUT and self._elsewhere(this, other)[0] > RANDOM

    def surely_stands(self, this: Method, other: Method) -> bool:
        _, high = _gain(self.right[other], self.right[this])
        if high > HELD_OUT:
            return False
        return not self.elsewhere or high < -HELD_OUT or self._elsewhere(this, other)[1] <= RANDOM

    def _elsewhere(self, this: Method, other: Method) -> tuple[float, float]:
        return _gain(self.elsewhere[other], self.elsewhere[this])


def _held(fitted: Mapping[Method, Fitted], scoring: Decisions, asked: Queries | None) -> _Held:
    parted = scoring[scoring.parted]
    rules = {m: rule for m in NAMED if m in fitted and (rule := fitted[m].rule) and len(parted)}
    return _Held(
        {m: _right(rule.scores(parted.symbols, parted.n_rounds), parted) for m, rule in rules.items()},
        {m: asked.right(rule.scores(asked.symbols, asked.n_rounds)) for m, rule in rules.items()} if asked else {},
    )


def _gain(other: np.ndarray, this: np.ndarray) -> tuple[float, float]:
    """How much more `other` gets right, less and plus three standard errors."""
    gain = other - this
    error = 3 * float(gain.std()) / np.sqrt(len(gain))
    return float(gain.mean()) - error, float(gain.mean()) + error


def _right(scores: Scores, parted: Decisions) -> np.ndarray:
    """`[D]` 1 where right, 0 where wrong, 0.5 where undecided."""
    return np.where(scores == 0, 0.5, np.sign(scores) == np.where(parted.moves[:, 0] == 1, 1, -1))


def _beats(other: np.ndarray, this: np.ndarray, tolerance: float) -> bool:
    gain = other - this
    return bool(gain.mean() > tolerance and gain.sum() > 3 * np.sqrt((gain**2).sum()))
