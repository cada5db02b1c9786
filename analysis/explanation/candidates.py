"""The competing explanations of a protocol: each fitted on one half of the dialogues and scored on the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import numpy as np

from analysis.automata.automaton import Automaton
from analysis.automata.decision_rules import Rule, Silence, fit_difference, fit_vote
from analysis.automata.decision_tree import Tree, fit_tree
from analysis.automata.integrator import MEMBERS, Integrator, Targets, cross_entropy, fit_integrator, targets_of
from analysis.automata.protocol_machine import ProtocolMachine, fit_machine
from analysis.automata.running_numbers import RunningNumbers, fit_numbers
from analysis.automata.state_merging import alergia, ngram, rpni
from analysis.data.decisions import Decisions, Scores
from envs.game import Ints

if TYPE_CHECKING:
    from analysis.agents.random_queries import Queries

Method = Literal[
    "silent", "first difference", "last difference", "cyclic order", "vote", "vote × clock", "integrator",
    "two numbers", "three numbers", "four numbers", "n-gram", "decision tree", "RPNI", "ALERGIA", "KV",
]  # fmt: skip
METHODS: tuple[Method, ...] = get_args(Method)[:-1]
"""The explanations that are fitted on dialogues, the simplest rules first; KV asks a network by itself."""
NUMBERS: dict[Method, int] = {"two numbers": 2, "three numbers": 3, "four numbers": 4}
"""Running numbers that feed each other, and how many: machines of few parts, for which a log holds too little."""
REFERENCE = "vote, first round counts more"
"""The integrator that stands for the family where one must do."""
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
    """States of the rule, without the clock; leaves of a tree; of running numbers, how many."""

    def scores(self, symbols: Ints, n_rounds: Ints) -> Scores:
        """`[D]` above 0 where agent 0 of the dialogues `[D, R, 2]` is expected to yield, by the machine if any.

        It may be coarser than the rule: a counter of few levels is not the sum that it counts. Running numbers are
        judged as such; the machine that plays for them has their memory in cells.
        """
        judge = self.rule if self.machine is None or isinstance(self.rule, RunningNumbers) else self.machine
        assert judge is not None
        return judge.scores(symbols, n_rounds)


class Frame(NamedTuple):
    """What a machine must know of the game beside the dialogues."""

    move_names: tuple[str, ...] = ("main", "detour")
    opening: str = "free"


def fit(
    method: Method,
    decided: Decisions,
    frame: Frame = Frame(),  # noqa: B008 (immutable)
    asked: Queries | None = None,
    member: str | None = None,
    rule: Rule | None = None,
) -> Fitted:
    """Fit one explanation of the dialogues `decided`; of the integrators the best, or that called `member`.

    A `rule` that is fitted already is taken as it is.

    Where somebody can be asked, its rule is fitted on the answers to `asked`: a log does not identify the weights.
    """
    if method == "decision tree":
        tree = fit_tree(decided if asked is None else asked.decisions())
        return Fitted(method, tree, None, len(tree))
    rule = rule or fit_rule(method, decided, asked, member)
    automaton = rule.automaton() if rule else _AUTOMATA[method](decided)
    clock = CLOCK if rule and method != "vote" else 1
    leanings = rule.leanings() if rule else None
    machine = fit_machine(method, automaton, decided, frame.move_names, frame.opening, clock, leanings)
    n_states = len(machine) if method == "vote × clock" else NUMBERS.get(method, len(automaton))
    return Fitted(method, rule, machine, n_states)


def fit_rule(
    method: Method, decided: Decisions, asked: Queries | None = None, member: str | None = None
) -> Rule | None:
    """The rule of a method; None for one that learns an automaton."""
    if method == "integrator":
        every = _targets(decided, asked)
        return fit_integrator(member or fit_family(decided, asked).best, every, decided.n_kinds)
    if method in NUMBERS:
        return fit_numbers(NUMBERS[method], _targets(decided, asked), decided.n_kinds)
    return _RULES[method](decided if asked is None else asked.decisions()) if method in _RULES else None


def _targets(decided: Decisions, asked: Queries | None) -> Targets:
    return targets_of(decided) if asked is None else Targets(asked.symbols, asked.n_rounds, asked.odds)


class Integrators(NamedTuple):
    """The integrators, fitted: the simplest first."""

    members: tuple[tuple[Integrator, float], ...]
    """Each with its held-out cross-entropy (nats)."""
    best: str
    """The simplest whose loss is within a tenth of the least."""


def fit_family(decided: Decisions, asked: Queries | None = None) -> Integrators:
    """Every member fitted on one half of the targets, and its loss on the other."""
    every = _targets(decided, asked).few()
    order = np.random.default_rng(0).permutation(len(every.n_rounds))
    half = (len(order) + 1) // 2
    fitting, held_out = (every.of(rows) for rows in (order[:half], order[half:]))
    vote = fit_integrator("vote", fitting, decided.n_kinds)
    members = []
    for name in MEMBERS:
        member = fit_integrator(name, fitting, decided.n_kinds, vote)
        members.append((member, float(cross_entropy(member, held_out).mean()) if len(held_out.n_rounds) else 0.0))
    least = min(loss for _, loss in members)
    simple = sorted(members, key=lambda pair: (pair[0].n_parameters, pair[1]))
    best = next(member.name for member, loss in simple if loss <= 1.1 * least + 1e-3)
    return Integrators(tuple(simple), best)


_RULES: dict[Method, Callable[[Decisions], Rule]] = {
    "silent": lambda decided: Silence(decided.n_kinds),
    "first difference": lambda decided: fit_difference(decided, "first"),
    "last difference": lambda decided: fit_difference(decided, "last"),
    "cyclic order": lambda decided: fit_difference(decided, "first", ranked=False),
    "vote": fit_vote,
    "vote × clock": fit_vote,
}
_AUTOMATA: dict[Method, Callable[[Decisions], Automaton]] = {"n-gram": ngram, "RPNI": rpni, "ALERGIA": alergia}
