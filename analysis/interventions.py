"""What changes when the talk is interfered with: the causal measures, all on the same frozen network.

Channel controls play whole games with another channel. The others feed edited dialogues to the network and compare its
probabilities before and after; no sampling is involved, so a network that ignores what it hears scores exactly 0.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch

from analysis.decisions import Decisions
from analysis.network import action_probabilities, yielding
from emcomm.config import Config
from emcomm.evaluation import evaluate
from emcomm.policy import Policy
from emcomm.statistics import Rate, rate
from envs.game import Floats, Ints
from envs.negotiation import Channel, Observation, TalkRules

CHANNELS: tuple[Channel, ...] = ("open", "off", "constant", "shuffled", "self", "noisy", "oracle")


# -- channel controls --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Control:
    """The same network with another channel."""

    channel: Channel
    success: Rate
    mean_rounds: float
    cut: float
    """Share of talks cut at `max_rounds`."""


def channel_controls(
    policy: Policy, config: Config, games: int = 5_000, channels: tuple[Channel, ...] = CHANNELS
) -> tuple[Control, ...]:
    """Success with each channel. That with `open` minus that with `constant` or `shuffled` is what the content does.

    The network has not been trained with the other channels: `oracle` is an upper bound only for one that has.
    """
    controls = []
    for channel in channels:
        changed = dataclasses.replace(config, rules=dataclasses.replace(config.rules, channel=channel))
        figures = evaluate(policy, changed, games).figures
        controls.append(Control(channel, figures.success, float(figures.mean_rounds), float(figures.cut)))
    return tuple(controls)


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


@dataclass(frozen=True)
class Influence:
    """Counterfactual influence of what one agent says on the other (Jaques et al. 2019, Lowe et al. 2019's CIC).

    For a random round, each symbol the speaker could have said is tried, and the hearer's distribution after what was
    said is compared with the mean over what could have been said, weighted by the speaker's own probabilities.
    """

    on_next: float
    """KL divergence in the hearer's next action (bits)."""
    on_move: float
    """KL divergence in the hearer's move, the rest of the dialogue kept (bits)."""
    shift_of_move: float
    """Total variation in the move (0 to 1)."""
    null: float
    """`on_move` for the same network made deaf, which hears token 0 whatever is said: 0 if the measure is right (bits).
    """


def influence(policy: Policy, rules: TalkRules, decided: Decisions, dialogues: int = 500, seed: int = 0) -> Influence:
    """Replace symbols of agent 0 in at most `dialogues`, watch agent 1; NaN where no dialogue has two rounds."""
    rng, n_symbols = np.random.default_rng(seed), decided.n_tokens + 1
    decided = decided[rng.permutation(np.flatnonzero(decided.n_rounds >= 2))[:dialogues]]
    if not len(decided):
        return Influence(*[float("nan")] * 4)
    row, at = np.arange(len(decided)), (rng.random(len(decided)) * (decided.n_rounds - 1)).astype(np.int64)
    # EOT against EOT would close the talk early: it is not tried.
    speaking = action_probabilities(policy, rules, decided.symbols, decided.n_rounds)[row, at, 0, :n_symbols]
    closes = decided.symbols[row, at, 1] == decided.n_tokens
    speaking = speaking * ~(closes[:, None] & (np.arange(n_symbols) == decided.n_tokens))
    weight = speaking.astype(np.float64) / np.maximum(speaking.sum(axis=1, keepdims=True), 1e-30)
    following, moves, deaf = [], [], []
    for symbol in [None, *range(n_symbols)]:
        tried = decided.symbols.copy()
        if symbol is not None:
            tried[row, at, 0] = symbol
        every = action_probabilities(policy, rules, tried, decided.n_rounds)
        following.append(every[row, at + 1, 1])
        moves.append(every[row, decided.n_rounds, 1, n_symbols:])
        unheard = action_probabilities(cast(Policy, _Deaf(policy)), rules, tried, decided.n_rounds)
        deaf.append(unheard[row, decided.n_rounds, 1, n_symbols:])
    on_next, _ = _divergence(following, weight)
    on_move, shift = _divergence(moves, weight)
    return Influence(on_next, on_move, shift, _divergence(deaf, weight)[0])


class _Deaf:
    """A network that hears token 0 whatever the other says."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def __getattr__(self, name: str) -> Any:
        return getattr(self._policy, name)

    def encode(self, seen: Observation) -> torch.Tensor:
        buffer = seen.buffer.copy()
        buffer[..., 1] = np.minimum(buffer[..., 1], 0)  # SILENT stays
        return self._policy.encode(seen._replace(buffer=buffer))


def _divergence(distributions: list[Floats], weight: np.ndarray) -> tuple[float, float]:
    """Mean KL (bits) and total variation between the first and the `weight` `[D, S]`ed mean of the others `[D, A]`."""
    actual, *others = (np.asarray(d, np.float64) for d in distributions)
    mean = (np.stack(others, axis=1) * weight[..., None]).sum(axis=1)
    actual, mean = actual / actual.sum(axis=1, keepdims=True), mean / mean.sum(axis=1, keepdims=True)
    kl = (actual * np.log2(np.maximum(actual, 1e-30) / np.maximum(mean, 1e-30))).sum(axis=1)
    return float(kl.mean()), float(np.abs(actual - mean).sum(axis=1).mean() / 2)


# -- signalling --------------------------------------------------------------------------------------------------------


def positive_signalling(policy: Policy, rules: TalkRules, decided: Decisions) -> tuple[float, ...]:
    """Bits of what a speaker says that depend on what it knows, per round: I(symbol; view so far) (Lowe et al. 2019).

    The entropy of the mean distribution over symbols less the mean of their entropies, both from the network's own
    probabilities. What an agent of the plain crossing knows is the talk so far: the first round is 0.
    """
    every = action_probabilities(policy, rules, decided.symbols, decided.n_rounds)[..., : rules.eot + 1]
    found = []
    for t in range(decided.symbols.shape[1]):
        said = every[decided.n_rounds > t, t].reshape(-1, rules.eot + 1).astype(np.float64)
        if not len(said):
            break
        said = said / said.sum(axis=1, keepdims=True)
        found.append(max(_entropy(said.mean(axis=0)) - float(np.mean([_entropy(p) for p in said])), 0.0))
    return tuple(found)


def _entropy(p: np.ndarray) -> float:
    return float(-(p * np.log2(np.maximum(p, 1e-30))).sum())
