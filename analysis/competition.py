"""The competing explanations of a protocol: each fitted on one half of the dialogues and scored on the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple, get_args

import numpy as np

from analysis.active import Ask, ask_machine, learn
from analysis.automata import Automaton
from analysis.decisions import Decisions, Scores, decisions, split, who_yields
from analysis.machines import ProtocolMachine, fit_machine
from analysis.passive import alergia, ngram, rpni
from analysis.planted import Planted, plant, planted_dialogues
from analysis.rules import Rule, Silence, fit_difference, fit_vote
from analysis.tree import Tree, fit_tree
from emcomm.statistics import Rate, rate
from envs.game import Floats, Ints

Method = Literal[
    "silent", "first difference", "last difference", "cyclic order", "vote", "vote × clock",
    "n-gram", "decision tree", "RPNI", "ALERGIA", "KV",
]  # fmt: skip
METHODS: tuple[Method, ...] = get_args(Method)[:-1]
"""The explanations that are fitted on logs, the simplest rules first; KV needs a network to ask."""
CLOCK = 24
"""Rounds that a machine with a clock tells apart."""


class Fitted(NamedTuple):
    """A method fitted on dialogues."""

    method: Method
    rule: Rule | Tree | None
    """Who yields, in a nutshell; None for an automaton that was learned."""
    machine: ProtocolMachine | None
    """What plays and is judged; None for a decision tree."""
    n_states: int
    """States of the rule, without the clock; leaves of a tree."""

    def scores(self, symbols: Ints, n_rounds: Ints) -> Scores:
        """`[D]` above 0 where agent 0 of the dialogues `[D, R, 2]` is expected to yield, by the machine if any.

        It may be coarser than the rule: a counter of few levels is not the sum that it counts.
        """
        judge = self.rule if self.machine is None else self.machine
        assert judge is not None
        return judge.scores(symbols, n_rounds)


class Frame(NamedTuple):
    """What a machine must know of the game beside the dialogues."""

    move_names: tuple[str, ...] = ("main", "detour")
    opening: str = "free"


def fit(method: Method, decided: Decisions, frame: Frame = Frame()) -> Fitted:  # noqa: B008 (immutable)
    """Fit one explanation."""
    if method == "decision tree":
        tree = fit_tree(decided)
        return Fitted(method, tree, None, len(tree))
    rule = _RULES[method](decided) if method in _RULES else None
    automaton = rule.automaton() if rule else _AUTOMATA[method](decided)
    clock = CLOCK if rule and method != "vote" else 1
    leanings = rule.leanings() if rule else None
    machine = fit_machine(method, automaton, decided, frame.move_names, frame.opening, clock, leanings)
    return Fitted(method, rule, machine, len(machine) if method == "vote × clock" else len(automaton))


_RULES: dict[Method, Callable[[Decisions], Rule]] = {
    "silent": lambda decided: Silence(decided.n_kinds),
    "first difference": lambda decided: fit_difference(decided, "first"),
    "last difference": lambda decided: fit_difference(decided, "last"),
    "cyclic order": lambda decided: fit_difference(decided, "first", ranked=False),
    "vote": fit_vote,
    "vote × clock": fit_vote,
}
_AUTOMATA: dict[Method, Callable[[Decisions], Automaton]] = {"n-gram": ngram, "RPNI": rpni, "ALERGIA": alergia}


# -- self-check --------------------------------------------------------------------------------------------------------

_OWN_CASE: dict[Method, Planted] = {
    "first difference": "first difference",
    "last difference": "last difference",
    "cyclic order": "cyclic order",
    "vote": "vote",
    "vote × clock": "vote",
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
    found: list[Rate] = []
    cases: tuple[Planted, ...] = (_OWN_CASE[method], "noise")
    for family in cases:
        fitting, scoring = split(_planted(family, dialogues, n_tokens))
        scores = fit(method, fitting).scores(scoring.symbols, scoring.n_rounds)
        found.append(rate(*who_yields(scores, scoring)))
    return SelfCheck(method, found[0], found[1])


@lru_cache(maxsize=32)
def _planted(family: Planted, dialogues: int, n_tokens: int) -> Decisions:
    return decisions(planted_dialogues(family, 10**6, dialogues, n_tokens), n_tokens)


# -- choosing ----------------------------------------------------------------------------------------------------------

Family = Literal["first difference", "last difference", "vote", "cyclic order", "silent", "none"]
NAMED: tuple[Method, ...] = ("first difference", "last difference", "cyclic order", "vote")
"""The rules that may be named, the simplest first."""
AT_LEAST = 0.9
"""A rule that names fewer of the held-out yielders than this is no description."""


class Asked(NamedTuple):
    """What a network did after dialogues that nobody held."""

    symbols: Ints
    """int8 `[D, R, 2]`"""
    n_rounds: Ints
    """`[D]`"""
    yields: Floats
    """`[D, 2]` the probability that each agent yields."""

    def right(self, scores: Scores) -> np.ndarray:
        """`[D]` the share of the two greedy moves that a rule names; one that is undecided names half of them.

        The two views of a dialogue are one trial: an antisymmetric rule says the same in both.
        """
        expected = np.stack([scores, -scores], axis=1)
        return np.where(expected == 0, 0.5, (expected > 0) == (self.yields > 0.5)).mean(axis=1)


def choose(fitted: Mapping[Method, Fitted], scoring: Decisions, asked: Asked | None = None) -> Family:
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
            return method  # type: ignore[return-value]
    return "none"


def _right(scores: Scores, parted: Decisions) -> np.ndarray:
    """`[D]` 1 where right, 0 where wrong, 0.5 where undecided."""
    return np.where(scores == 0, 0.5, np.sign(scores) == np.where(parted.moves[:, 0] == 1, 1, -1))


def _beats(other: np.ndarray, this: np.ndarray, tolerance: float) -> bool:
    gain = other - this
    return bool(gain.mean() > tolerance and gain.sum() > 3 * np.sqrt((gain**2).sum()))
