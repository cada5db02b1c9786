"""What the talk causes, measured on the frozen network: channel controls, edits, influence, leaks, states asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.agents.policy_player import ask_network
from analysis.automata.query_learning import Learned, growth
from analysis.causal.channel_controls import Control, channel_controls
from analysis.causal.dialogue_edits import Edit, edits
from analysis.causal.influence import Influence, influence, positive_signalling
from analysis.causal.role_leaks import Leak, role_leaks
from analysis.data.decisions import NotApplicable, decisions
from analysis.data.runs import TrainedPolicy
from emcomm.dialogues import DialogueTable
from emcomm.errors import BadInput
from envs.negotiation import Channel

CONTROLS: dict[Channel, str] = {
    "open": "all is heard",
    "off": "no talk",
    "constant": "all hear 0",
    "shuffled": "heard from another dialogue",
    "self": "own symbols heard back",
    "noisy": "a tenth replaced",
    "oracle": "the role is told",
}
"""What each control does to the channel, for the reader."""


@dataclass(frozen=True)
class Causes:
    """Interventions on one network; empty where one could not be made."""

    channel: Channel = "open"
    """The channel that the network was trained with."""
    controls: tuple[Control, ...] = ()
    edits: tuple[Edit, ...] = ()
    influence: Influence | None = None
    signalling: tuple[float, ...] = ()
    """Bits of what is said that depend on what was heard, per round."""
    leaks: tuple[Leak, ...] = ()
    growth: tuple[Learned, ...] = ()
    """Automata that answer like the network on dialogues up to some lengths."""

    def meaning(self, channel: Channel) -> str:
        """What a control does to the channel, for the reader."""
        return CONTROLS[channel] + (" (as trained)" if channel == self.channel else "")

    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables behind the figures, by name."""
        tables = {
            "controls": [
                (c.channel, self.meaning(c.channel), *_rate(c.success), c.mean_rounds, c.cut) for c in self.controls
            ],
            "edits": [(e.name, *_rate(e.changed), e.shift) for e in self.edits],
            "influence": [tuple(vars(self.influence).values())] if self.influence else [],
            "signalling": [(t + 1, bits) for t, bits in enumerate(self.signalling)],
            "leaks": [(leak.source, *_rate(leak.accuracy), leak.null, leak.leaks) for leak in self.leaks],
            "growth": [(g.length, g.n_states, g.converged, g.accuracy, g.questions) for g in self.growth],
        }
        return {name: pd.DataFrame(rows, columns=COLUMNS[name]) for name, rows in tables.items() if rows}


COLUMNS = {
    "controls": ["channel", "meaning", "success", "low", "high", "mean_rounds", "cut"],
    "edits": ["edit", "share_of_moves_changed", "low", "high", "shift_of_probability"],
    "influence": ["bits_on_next_action", "bits_on_move", "shift_of_move", "null_bits"],
    "signalling": ["round", "bits"],
    "leaks": ["source", "accuracy", "low", "high", "null", "leaks"],
    "growth": ["rounds", "states", "converged", "accuracy", "questions"],
}


def _rate(rate: Any) -> tuple[float, float, float]:
    return rate.value, rate.low, rate.high


def measure_causes(
    trained: TrainedPolicy | None,
    sample: DialogueTable,
    n_tokens: int,
    channel: Channel,
    games: int,
    lengths: tuple[int, ...],
    note: Callable[[str], None],
) -> Causes:
    """Everything that can be measured here; what cannot is noted, one line each.

    Without a network only the leaks are looked for. `channel` is the one over which the dialogues of `sample` were
    held; `lengths` are those of the dialogues that KV asks about (rounds).
    """
    found: dict[str, Any] = {"channel": channel}

    def attempt(name: str, measure: Callable[[], Any]) -> None:
        try:
            found[name] = measure()
        except (NotApplicable, BadInput, ValueError) as error:
            note(f"{name}: {' '.join(str(error).split())}")

    attempt("leaks", lambda: role_leaks(sample, n_tokens, channel))
    if trained is not None:
        policy, config = trained.policy, trained.config
        attempt("controls", lambda: channel_controls(policy, config, games))
        try:
            decided = decisions(sample, n_tokens, 5_000)
        except NotApplicable as error:
            note(f"edits and influence: {error}")
            return Causes(**found)
        attempt("edits", lambda: edits(policy, config.rules, decided))
        attempt("influence", lambda: influence(policy, config.rules, decided))
        attempt("signalling", lambda: positive_signalling(policy, config.rules, decided))
        if lengths:
            asked = ask_network(policy, config.rules)
            attempt("growth", lambda: growth(asked, n_tokens, lengths, words=500, max_states=MOST_STATES))
    return Causes(**found)


MOST_STATES = 40
"""States beyond which the network is asked no further."""
