"""What fitting, scoring and playing the candidates gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from analysis.automata.integrator import Integrator
from analysis.automata.protocol_machine import ProtocolMachine
from analysis.automata.running_numbers import RunningNumbers
from analysis.explanation.candidates import NUMBERS, Method
from analysis.explanation.evidence import Evidence, Stratum
from analysis.explanation.selection import Family
from analysis.explanation.self_check import SelfCheck
from emcomm.statistics import Rate

Verdict = Literal["explained", "describes", "none"]


@dataclass(frozen=True)
class Play:
    """A pair playing in the real environment."""

    success: Rate
    mean_rounds: float
    cut: float
    """Share of talks cut at `max_rounds`."""


@dataclass(frozen=True)
class Competitor:
    """One explanation, fitted on one half of the dialogues and scored on the other, as its machine where it has one."""

    method: Method
    check: SelfCheck
    """Where `check.passed` is false, the figures below are no evidence and must not be shown."""
    accuracy: Rate
    """Held-out dialogues that parted, whose yielder it names."""
    random: Rate | None
    """The network's greedy moves after random dialogues that it names, all strata together; None without a network."""
    strata: tuple[Stratum, ...]
    """The same in each stratum."""
    bits: float | None
    """Mean surprise at the held-out actions (bits per action); None where it has no machine."""
    n_states: int
    """States of the rule or automaton (a machine with a clock counts them all), leaves of a tree."""
    self_play: Play | None
    """Its machine against itself; None where it has no machine or speaking is sequential."""
    network_play: Play | None
    """Its machine against the network, in both seats."""
    machine: ProtocolMachine | None


@dataclass(frozen=True)
class NetworkFigures:
    """The network that the machines are measured against."""

    play: Play
    surprise: float
    """The network's cross-entropy at the held-out actions (bits per action): a lower bound for any explanation."""
    entropy: float
    """Mean entropy in the same places (bits per action)."""


@dataclass(frozen=True)
class Explanation:
    """What the talk does, as far as the dialogues and the network tell."""

    family: Family
    verdict: Verdict
    sentence: str
    competitors: tuple[Competitor, ...]
    """All of them, the simplest first."""
    best: Competitor | None
    """Whose machine is that of the family; for a vote, the one with a clock where the plain counter plays too unlike.
    """
    weights: Mapping[str, float] | None
    """Of a vote, an integrator or running numbers: symbol -> weight, by which the larger sum yields; else None."""
    order: tuple[str, ...] | None
    """Of a first or last difference: the symbols, strongest first; whoever said the stronger one yields."""
    undecided: tuple[tuple[str, str], ...]
    """Pairs of different symbols that decide nothing, in that order; the talk goes on to the next difference."""
    network: NetworkFigures | None
    n_dialogues: int
    evidence: Evidence | None = None
    """The four conditions, for the best; None without a network."""
    members: tuple[tuple[Integrator, float], ...] = ()
    """The integrators with their held-out cross-entropy (nats), the simplest first."""
    rivals: tuple[Method, ...] = ()
    """Where no rule is named for want of data: those that the data do not separate, the simplest first."""
    numbers: tuple[RunningNumbers, ...] = ()
    """The running numbers that were fitted on the network's answers, the fewest first."""

    @property
    def chosen_numbers(self) -> RunningNumbers | None:
        """Those that are named or, where none are, the fewest; None where none were fitted."""
        named = [one for one in self.numbers if self.best and NUMBERS.get(self.best.method) == len(one)]
        return next(iter(named or self.numbers), None)

    @property
    def machine(self) -> ProtocolMachine | None:
        """The extracted machine."""
        return self.best.machine if self.best else None
