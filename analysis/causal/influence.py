"""What one agent says changes what the other does, and depends on what it heard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch

from analysis.agents.policy_player import action_probabilities
from analysis.data.decisions import Decisions
from emcomm.policy import Policy
from envs.game import Floats
from envs.negotiation import Observation, TalkRules


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
