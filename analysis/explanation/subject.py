"""Who is explained: anyone that can be asked about dialogues that nobody held, and that plays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from analysis.agents.players import MachinePlayer, Player
from analysis.automata.protocol_machine import ProtocolMachine, bits_per_action
from analysis.data.decisions import Decisions
from envs.game import Floats, Ints
from envs.negotiation import TalkRules

if TYPE_CHECKING:
    from analysis.causal.interchange import Interchange, RuleScores
    from emcomm.networks.policy import Policy


class Subject(Protocol):
    """What is explained."""

    def answers(self, symbols: Ints, n_rounds: Ints) -> Floats:
        """`[D, 2]` the probability that each agent yields after the dialogues `[D, R, 2]` of `[D]` rounds."""

    def player(self) -> Player:
        """The subject in a seat."""

    def bits(self, decided: Decisions) -> tuple[float, float]:
        """Its mean surprise at the actions of the dialogues, and its mean entropy there (bits per action)."""

    def exchanged(
        self, name: str, scores: RuleScores, lengths: Ints, eot_share: float, pairs: int, directions: int = 1
    ) -> Interchange:
        """What interchange interventions say of a rule that keeps `directions` numbers.

        Raises NotApplicable where there is no memory to exchange.
        """


@dataclass(frozen=True)
class NetworkSubject:
    """A trained network."""

    policy: Policy
    rules: TalkRules

    def answers(self, symbols: Ints, n_rounds: Ints) -> Floats:
        from analysis.agents.policy_player import yielding

        return yielding(self.policy, self.rules, symbols, n_rounds)

    def player(self) -> Player:
        from analysis.agents.policy_player import PolicyPlayer

        return PolicyPlayer(self.policy)

    def bits(self, decided: Decisions) -> tuple[float, float]:
        from analysis.agents.policy_player import network_bits

        return network_bits(self.policy, self.rules, decided)

    def exchanged(
        self, name: str, scores: RuleScores, lengths: Ints, eot_share: float, pairs: int, directions: int = 1
    ) -> Interchange:
        from analysis.causal.interchange import interchange

        return interchange(
            self.policy, self.rules, name, scores, lengths, eot_share, pairs=pairs, directions=directions
        )


@dataclass(frozen=True)
class MachineSubject:
    """A protocol written by hand, whose true rule is known."""

    machine: ProtocolMachine
    opening: str = "free"

    def answers(self, symbols: Ints, n_rounds: Ints) -> Floats:
        return np.asarray(self.machine.yielding(symbols, n_rounds), np.float32)

    def player(self) -> Player:
        return MachinePlayer(self.machine)

    def bits(self, decided: Decisions) -> tuple[float, float]:
        surprise = bits_per_action(self.machine, decided, self.opening)
        return surprise, surprise

    def exchanged(
        self, name: str, scores: RuleScores, lengths: Ints, eot_share: float, pairs: int, directions: int = 1
    ) -> Interchange:
        from analysis.causal.interchange import spliced_machine

        return spliced_machine(self.answers, self.machine.n_tokens, name, scores, lengths, eot_share, pairs)


def subject_of(policy: Policy | ProtocolMachine | None, rules: TalkRules) -> Subject | None:
    """Who is explained; None where there are only dialogues."""
    if policy is None:
        return None
    if isinstance(policy, ProtocolMachine):
        return MachineSubject(policy, rules.opening)
    return NetworkSubject(policy, rules)
