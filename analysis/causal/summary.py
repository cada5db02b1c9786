"""What the talk causes, measured on the frozen network: channel controls, edits, influence, leaks, states asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.automata.query_learning import Learned
from analysis.causal.channel_controls import Control
from analysis.causal.dialogue_edits import Edit
from analysis.causal.influence import Influence, Signalled
from analysis.causal.role_leaks import Leak


@dataclass(frozen=True)
class Causes:
    """Interventions on one network; empty where one could not be made."""

    controls: tuple[Control, ...] = ()
    edits: tuple[Edit, ...] = ()
    influence: Influence | None = None
    signalling: tuple[Signalled, ...] = ()
    """Bits of what is said that depend on what is seen of the game and of the talk, per round."""
    leaks: tuple[Leak, ...] = ()
    growth: tuple[Learned, ...] = ()
    """Automata that answer like the network on dialogues up to some lengths."""

    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables behind the figures, by name."""
        tables = {
            "controls": [
                (c.channel, c.meaning, *_rate(c.success), c.mean_rounds, c.cut, *c.returned[:3]) for c in self.controls
            ],
            "edits": [(e.name, *_rate(e.changed), e.shift) for e in self.edits],
            "influence": [tuple(vars(self.influence).values())] if self.influence else [],
            "signalling": [(t + 1, *said) for t, said in enumerate(self.signalling)],
            "leaks": [(leak.source, *_rate(leak.accuracy), leak.null, leak.leaks) for leak in self.leaks],
            "growth": [(g.length, g.n_states, g.converged, g.accuracy, g.questions) for g in self.growth],
        }
        frames = {name: pd.DataFrame(rows, columns=COLUMNS[name]) for name, rows in tables.items() if rows}
        if any(c.success is None for c in self.controls):
            frames["controls"] = frames["controls"].drop(columns=["success", "low", "high"])
        return frames


COLUMNS = {
    "controls": [
        "channel",
        "meaning",
        "success",
        "low",
        "high",
        "mean_rounds",
        "cut",
        "mean_return",
        "return_low",
        "return_high",
    ],
    "edits": ["edit", "share_of_moves_changed", "low", "high", "shift_of_probability"],
    "influence": ["bits_on_next_action", "bits_on_move", "shift_of_move", "null_bits"],
    "signalling": ["round", "bits", "low", "high", "null"],
    "leaks": ["source", "accuracy", "low", "high", "null", "leaks"],
    "growth": ["rounds", "states", "converged", "accuracy", "questions"],
}


def _rate(rate: Any) -> tuple[float, float, float]:
    if rate is None:
        return float("nan"), float("nan"), float("nan")
    return rate.value, rate.low, rate.high
