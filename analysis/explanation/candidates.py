"""The competing explanations of a protocol: each fitted on one half of the dialogues and scored on the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple, get_args

from analysis.automata.automaton import Automaton
from analysis.automata.decision_rules import Rule, Silence, fit_difference, fit_vote
from analysis.automata.decision_tree import Tree, fit_tree
from analysis.automata.protocol_machine import ProtocolMachine, fit_machine
from analysis.automata.state_merging import alergia, ngram, rpni
from analysis.data.decisions import Decisions, Scores
from envs.game import Ints

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


# -- choosing ----------------------------------------------------------------------------------------------------------
