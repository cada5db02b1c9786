"""Which of the fitted rules is named: the simplest that no other beats."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from analysis.agents.random_queries import Queries
from analysis.data.decisions import Decisions, Scores
from analysis.explanation.candidates import Fitted, Method
from emcomm.statistics import rate

Family = Method | Literal["none"]


NAMED: tuple[Method, ...] = ("first difference", "last difference", "cyclic order", "vote", "integrator")
"""The rules that may be named, the simplest first."""


AT_LEAST = 0.9
"""A rule that names fewer of the held-out yielders than this is no description."""


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
    parted = scoring[scoring.parted]
    rules = {method: rule for method in NAMED if method in fitted and (rule := fitted[method].rule)}
    right = {m: _right(rule.scores(parted.symbols, parted.n_rounds), parted) for m, rule in rules.items()}
    enough = [m for m in rules if len(parted) and right[m].mean() >= AT_LEAST]
    enough = [m for m in enough if rate(int(right[m].sum()), len(parted)).low > 0.5]
    elsewhere = {m: asked.right(rules[m].scores(asked.symbols, asked.n_rounds)) for m in enough} if asked else {}

    def beaten(this: Method, other: Method) -> bool:
        if _beats(right[other], right[this], 0.002):
            return True
        undecided = not _beats(right[this], right[other], 0.002)
        return bool(elsewhere) and undecided and _beats(elsewhere[other], elsewhere[this], 0.02)

    for method in enough:
        if not any(beaten(method, other) for other in enough):
            return method
    return "none"


def _right(scores: Scores, parted: Decisions) -> np.ndarray:
    """`[D]` 1 where right, 0 where wrong, 0.5 where undecided."""
    return np.where(scores == 0, 0.5, np.sign(scores) == np.where(parted.moves[:, 0] == 1, 1, -1))


def _beats(other: np.ndarray, this: np.ndarray, tolerance: float) -> bool:
    gain = other - this
    return bool(gain.mean() > tolerance and gain.sum() > 3 * np.sqrt((gain**2).sum()))
