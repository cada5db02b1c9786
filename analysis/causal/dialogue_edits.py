"""What changes when the talk is interfered with: the causal measures, all on the same frozen network.

Channel controls play whole games with another channel. The others feed edited dialogues to the network and compare its
probabilities before and after; no sampling is involved, so a network that ignores what it hears scores exactly 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from analysis.agents.policy_player import yielding
from analysis.data.decisions import Decisions
from emcomm.policy import Policy
from emcomm.statistics import Rate, rate
from envs.game import Floats, Ints
from envs.negotiation import TalkRules

# -- channel controls --------------------------------------------------------------------------------------------------


# -- edited dialogues --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Edit:
    """What an edit of the dialogue does to the moves."""

    name: str
    changed: Rate
    """Share of the views in which the likelier move is another one afterwards; a trial is a dialogue."""
    shift: float
    """Mean total variation between the move probabilities before and after (0 to 1)."""


Change = Callable[[Ints, Ints, int, np.random.Generator], Ints]
"""Symbols `[D, R, 2]`, rounds `[D]`, number of tokens -> edited symbols, the closing round untouched."""


def edits(policy: Policy, rules: TalkRules, decided: Decisions, seed: int = 0) -> tuple[Edit, ...]:
    """The effect of each edit in `EDITS`; dialogues of fewer than two rounds, with nothing to edit, are left out."""
    decided = decided[decided.n_rounds >= 2]
    before = yielding(policy, rules, decided.symbols, decided.n_rounds)
    found = []
    for name, change in EDITS.items():
        edited = change(decided.symbols.copy(), decided.n_rounds, decided.n_tokens, np.random.default_rng(seed))
        after = yielding(policy, rules, edited, decided.n_rounds)
        seats = {"replace own": [0], "replace other's": [1]}.get(name, [0, 1])
        switched = (before[:, seats] > 0.5) != (after[:, seats] > 0.5)
        shift = float(np.abs(before - after)[:, seats].mean()) if len(before) else float("nan")
        found.append(Edit(name, rate(int(switched.mean(axis=1).sum()), len(switched)), shift))
    return tuple(found)


def _nothing(symbols: Ints, n_rounds: Ints, n_tokens: int, rng: np.random.Generator) -> Ints:
    return symbols


def _replace(symbols: Ints, n_rounds: Ints, n_tokens: int, rng: np.random.Generator) -> Ints:
    """One symbol of agent 0, in a random round but the last, becomes another token."""
    row, at = np.arange(len(symbols)), (rng.random(len(symbols)) * (n_rounds - 1)).astype(np.int64)
    said = symbols[row, at, 0]
    token = rng.integers(n_tokens, size=len(symbols))
    symbols[row, at, 0] = np.where(token == said, (token + 1) % n_tokens, token)
    return symbols


def _swap(symbols: Ints, n_rounds: Ints, n_tokens: int, rng: np.random.Generator) -> Ints:
    return symbols[..., ::-1].copy()


def _reorder(keys: Floats, symbols: Ints, n_rounds: Ints) -> Ints:
    """The rounds but the closing one, sorted by `keys` `[D, R]`."""
    keys = np.where(np.arange(symbols.shape[1]) < (n_rounds - 1)[:, None], keys, np.inf)
    return np.take_along_axis(symbols, np.argsort(keys, axis=1, kind="stable")[..., None], 1)


def _shuffle(symbols: Ints, n_rounds: Ints, n_tokens: int, rng: np.random.Generator) -> Ints:
    return _reorder(rng.random(symbols.shape[:2], np.float32), symbols, n_rounds)


def _reverse(symbols: Ints, n_rounds: Ints, n_tokens: int, rng: np.random.Generator) -> Ints:
    return _reorder(-np.tile(np.arange(symbols.shape[1], dtype=np.float32), (len(symbols), 1)), symbols, n_rounds)


EDITS: dict[str, Change] = {
    "nothing": _nothing,
    "replace own": _replace,
    "replace other's": _replace,
    "swap own and other's": _swap,
    "shuffle rounds": _shuffle,
    "reverse rounds": _reverse,
}
"""`nothing` is the null. A replaced symbol of agent 0 is one of its own to agent 0, one of the other's to agent 1."""


# -- influence ---------------------------------------------------------------------------------------------------------


# -- signalling --------------------------------------------------------------------------------------------------------
