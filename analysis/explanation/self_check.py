"""What a method does on dialogues whose rule is known, and on noise."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from analysis.agents.synthetic_protocols import Planted, plant, planted_dialogues
from analysis.automata.query_learning import Ask, ask_machine, learn
from analysis.data.decisions import Decisions, decisions, split, who_yields
from analysis.explanation.candidates import REFERENCE, Method, fit
from emcomm.statistics import Rate, rate

_OWN_CASE: dict[Method, Planted] = {
    "first difference": "first difference",
    "last difference": "last difference",
    "cyclic order": "cyclic order",
    "vote": "vote",
    "vote × clock": "vote",
    "integrator": "vote",
    "two numbers": "vote",
    "three numbers": "vote",
    "four numbers": "vote",
    "n-gram": "last difference",
    "decision tree": "first difference",
    "RPNI": "last difference",
    "ALERGIA": "last difference",
}


@dataclass(frozen=True)
class SelfCheck:
    """How a method does on planted dialogues, as many as there are in the data."""

    method: Method
    planted: Rate
    """Held-out dialogues of its own planted case whose yielder it names; must reach `needed`."""
    noise: Rate
    """The same on noise, where 50 % is right: its interval must not lie above 52 %."""
    needed: float = 0.9

    @property
    def passed(self) -> bool:
        """Whether its figures may be shown as evidence."""
        if self.method == "silent":
            return True
        return self.planted.value >= self.needed and self.noise.low <= 0.52

    def __str__(self) -> str:
        if self.passed:
            return ""
        what = f"{100 * self.planted.value:.1f} % of a planted case, {100 * self.noise.value:.1f} % of noise"
        return f"fails its planted case with this many dialogues ({what})"


def self_check(method: Method, dialogues: int, n_tokens: int = 5) -> SelfCheck:
    """Fit and score `method` on its planted case and on noise, with `dialogues` dialogues rounded down to two digits.

    Planted dialogues have no more than 20 tokens.
    """
    size = 10 ** max(len(str(max(dialogues, 1))) - 2, 0)
    return _self_check(method, max(dialogues // size * size, 1), min(n_tokens, 20))


@lru_cache(maxsize=512)
def _self_check(method: Method, dialogues: int, n_tokens: int) -> SelfCheck:
    if method == "silent":
        return SelfCheck(method, rate(0, 0), rate(0, 0))
    if method == "KV":
        machine = plant("first difference", 10**6, n_tokens)
        coins = np.random.default_rng(0)
        asked: tuple[Ask, ...] = ask_machine(machine), lambda symbols, n_rounds: coins.random(len(symbols)) < 0.5
        planted, noise = (learn(ask, n_tokens, length=3, words=500, max_states=20).accuracy for ask in asked)
        return SelfCheck(method, rate(round(500 * planted), 500), rate(round(500 * noise), 500))
    rates: list[Rate] = []
    cases: tuple[Planted, ...] = (_OWN_CASE[method], "noise")
    for family in cases:
        fitting, scoring = split(_planted(family, dialogues, n_tokens))
        scores = fit(method, fitting, member=REFERENCE).scores(scoring.symbols, scoring.n_rounds)
        rates.append(rate(*who_yields(scores, scoring)))
    return SelfCheck(method, rates[0], rates[1])


@lru_cache(maxsize=32)
def _planted(family: Planted, dialogues: int, n_tokens: int) -> Decisions:
    return decisions(planted_dialogues(family, 10**6, dialogues, n_tokens), n_tokens)
