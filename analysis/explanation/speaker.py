"""What is said, and when the talk is ended: how much of it follows from the running score and the round.

A speaker's rule says with what probability each symbol is said in each cell of what it looks at: nothing, the round,
the score, both, and both with what was said last. It is fitted on one half of the dialogues, as the network's mean
distribution in each cell, and scored on the other: the cross-entropy of the network's distribution, in bits for each
symbol. The network's own entropy is a lower bound for every rule.

Axes: `V` view of a dialogue, `R` round, `K` symbol.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.agents.policy_player import Situation, action_probabilities
from analysis.automata.integrator import TIE, Integrator
from analysis.data.decisions import Decisions
from analysis.metrics.entropy import bits_of
from emcomm.networks.policy import Policy
from envs.game import Ints
from envs.negotiation import TalkRules

BINS = 12
"""Cells of the score, beside that of a score of 0."""
ROUNDS = 8
"""Rounds that are told apart."""
PRIOR = 2.0
"""Weight of the distribution over all cells in that of one (symbols)."""


@dataclass(frozen=True)
class SpeakerRule:
    """One thing that a speaker may look at."""

    looks_at: str
    cells: int
    bits: float
    """Cross-entropy of the network's distribution over symbols (bits for each symbol)."""
    end_bits: float
    """The same for whether EOT is said."""


@dataclass(frozen=True)
class Speaker:
    """What is said, explained as far as it goes."""

    rules: tuple[SpeakerRule, ...]
    entropy: float
    """The network's own (bits for each symbol)."""
    end_entropy: float
    symbols: int
    """Symbols on which the rules were scored."""
    rounds: float
    """Mean rounds of the network against itself; NaN where it did not play."""
    machine_rounds: float
    """The same for the machine that speaks and decides by the score, or by the running numbers that are named."""

    def to_frame(self) -> pd.DataFrame:
        """One row for each rule, and the network last."""
        rows = [(r.looks_at, r.cells, r.bits, r.end_bits) for r in self.rules]
        rows.append(("the network itself", 0, self.entropy, self.end_entropy))
        return pd.DataFrame(rows, columns=["looks_at", "cells", "bits", "bits_about_the_end"])

    def share(self, looks_at: str) -> float:
        """How much of what can be told about the symbols a rule tells: 0 for looking at nothing, 1 for the network."""
        by_name = {rule.looks_at: rule.bits for rule in self.rules}
        most = by_name["nothing"] - self.entropy
        return (by_name["nothing"] - by_name[looks_at]) / most if most > 1e-9 else float("nan")


def speaker(
    policy: Policy, rules: TalkRules, decided: Decisions, score: Integrator, situation: Situation | None = None,
    rounds: float = float("nan"), machine_rounds: float = float("nan"), seed: int = 0,
) -> Speaker:  # fmt: skip
    """How much of what the network says in the dialogues `decided` follows from a score.

    Raises NotApplicable where the dialogues cannot be replayed.
    """
    every = action_probabilities(policy, rules, decided.symbols, decided.n_rounds, situation)[..., : rules.eot + 1]
    said = np.concatenate([every[:, :-1, 0], every[:, :-1, 1]]).astype(np.float64)
    symbols, n_rounds, _ = decided.views()
    spoken = (np.arange(said.shape[1]) < n_rounds[:, None]) & (said.sum(axis=2) > 0)
    view, at = np.nonzero(spoken)
    chosen = said[view, at] / said[view, at].sum(axis=1, keepdims=True)
    course = score.course(symbols, n_rounds)[view, at]
    last = np.where(at > 0, symbols[view, at - 1, 0].astype(np.int64) * (rules.eot + 2) + symbols[view, at - 1, 1], -99)
    cells = {
        "nothing": np.zeros_like(view),
        "the round": np.minimum(at, ROUNDS),
        "the score": _bins(course),
    }
    both = _joined(cells["the score"], cells["the round"])
    cells |= {"score and round": both, "score, round and the last round": _joined(both, last)}
    half = np.random.default_rng(seed).random(len(decided)) < 0.5
    fitting = half[view % len(decided)]
    found = tuple(
        SpeakerRule(name, len(np.unique(cell)), *_bits(cell, chosen, fitting, rules.eot))
        for name, cell in cells.items()
    )
    held_out = chosen[~fitting]
    ends = np.stack([held_out[:, rules.eot], 1 - held_out[:, rules.eot]], axis=1)
    return Speaker(
        found, float(bits_of(held_out).mean()), float(bits_of(ends).mean()), len(held_out), rounds, machine_rounds
    )


def _bins(score: np.ndarray) -> Ints:
    """`[·]` a number for each score: 0 for none, the others by quantiles, alike on both sides of 0."""
    away = np.abs(score) > TIE
    sizes = np.abs(score[away]) if away.any() else np.ones(1)
    edges = np.unique(np.quantile(sizes, np.linspace(0, 1, BINS // 2 + 1)[1:-1]))
    return np.where(away, np.sign(score).astype(np.int64) * (1 + np.searchsorted(edges, np.abs(score))), 0)


def _joined(one: Ints, other: Ints) -> Ints:
    """`[·]` a number for each pair."""
    return np.unique(np.stack([one, other], axis=1), axis=0, return_inverse=True)[1].reshape(-1)


def _bits(cell: Ints, chosen: np.ndarray, fitting: np.ndarray, eot: int) -> tuple[float, float]:
    """Held-out cross-entropy of a rule about the symbols, and about the end."""
    cell = np.unique(cell, return_inverse=True)[1].reshape(-1)
    overall = chosen[fitting].mean(axis=0)
    total = PRIOR * np.tile(overall, (int(cell.max()) + 1, 1))
    np.add.at(total, cell[fitting], chosen[fitting])
    rule = total / total.sum(axis=1, keepdims=True)
    told, wanted = rule[cell[~fitting]], chosen[~fitting]
    ends, wanted_end = told[:, eot], wanted[:, eot]
    about_end = -(wanted_end * np.log2(ends + 1e-12) + (1 - wanted_end) * np.log2(1 - ends + 1e-12))
    return float(-(wanted * np.log2(told + 1e-12)).sum(axis=1).mean()), float(about_end.mean())
