"""What one agent says changes what the other does, and depends on what it heard."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import torch

from analysis.agents.policy_player import Situation, action_probabilities, plain_situation
from analysis.causal.dialogue_edits import drawn_round, open_rounds, where_said
from analysis.data.decisions import Decisions
from analysis.data.utterances import FEWEST
from analysis.metrics.entropy import bits_of
from analysis.metrics.resampling import Reals, with_interval
from emcomm.networks.policy import Policy
from envs.channels import SILENT
from envs.game import Bools, Floats, Ints
from envs.negotiation import Observation, TalkRules

ROUNDING = 1e-6
"""Bits that are no more than rounding in the network's probabilities."""


@dataclass(frozen=True)
class Influence:
    """Counterfactual influence of what one agent says on the other (Jaques et al. 2019, Lowe et al. 2019's CIC).

    For a random round, but one that closes the talk, each symbol the speaker could have said is tried, and the hearer's
    distribution after what was said is compared with the mean over what could have been said, weighted by the speaker's
    own probabilities: of a speaker that is sure of what it says it is near 0, however much it is heeded.
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


def influence(
    policy: Policy, rules: TalkRules, decided: Decisions, dialogues: int = 500, seed: int = 0,
    situation: Situation | None = None,
) -> Influence:  # fmt: skip
    """Replace one symbol of an agent in each of at most `dialogues`, and watch those who hear it.

    Of each role that speaks its first agent is taken, of several roles one by lot. NaN where nobody hears anything that
    could be another, and in the move where none that hears has a choice. Raises NotApplicable where what was heard over
    a random channel does not follow from what is said.

    Parameters
    ----------
    policy, rules, decided, seed, situation
        As for `edits`.
    dialogues : int
        How many are looked at.

    Returns
    -------
    Influence
        `on_next` and `on_move` (bits), `shift_of_move` (0 to 1), and `null`, the same for a deaf network (bits).

    Examples
    --------
    `analysis.influence(policy, rules, decided).on_move`
    """
    rng, n_symbols = np.random.default_rng(seed), decided.n_tokens + 1
    situation = situation or plain_situation(policy, rules, len(decided))
    speaker = _drawn_speaker(situation, rng)
    own = np.take_along_axis(decided.symbols, speaker[:, None, None], 2)[..., 0]
    there, heard = where_said(own, open_rounds(decided)), situation.hearing(speaker)
    chosen = rng.permutation(np.flatnonzero(there.any(axis=1) & heard.any(axis=1)))[:dialogues]
    decided, situation, speaker, heard = decided[chosen], situation[chosen], speaker[chosen], heard[chosen]
    at = drawn_round(there[chosen], rng)
    row = np.arange(len(decided))
    weight = _what_could_be_said(policy, rules, decided, situation, speaker, at)
    following, moves, deaf = [], [], []
    for symbol in [None, *range(n_symbols)]:
        tried = decided.symbols.copy()
        if symbol is not None:
            tried[row, at, speaker] = np.where(weight[:, symbol] > 0, symbol, tried[row, at, speaker])
        every = action_probabilities(policy, rules, tried, decided.n_rounds, situation)
        following.append(every[row, at + 1])
        moves.append(every[row, decided.n_rounds][..., n_symbols:])
        unheard = action_probabilities(cast(Policy, Deaf(policy)), rules, tried, decided.n_rounds, situation)
        deaf.append(unheard[row, decided.n_rounds][..., n_symbols:])
    choosing = heard & situation.choosing()
    on_next, _ = _divergence(following, weight, heard)
    on_move, shift = _divergence(moves, weight, choosing)
    return Influence(on_next, on_move, shift, _divergence(deaf, weight, choosing)[0])


def _drawn_speaker(situation: Situation, rng: np.random.Generator) -> Ints:
    """`[D]` in each dialogue the first agent that may speak, of a role drawn among those that speak."""
    may, role_of = situation.speaking(), np.array(situation.setting.game.role_of)
    found = [(may & (role_of == role)).argmax(axis=1) for role in np.unique(role_of) if may[:, role_of == role].any()]
    if len(found) < 2:
        return found[0] if found else np.zeros(len(may), np.int64)
    return np.stack(found)[rng.integers(len(found), size=len(may)), np.arange(len(may))]


def _what_could_be_said(
    policy: Policy, rules: TalkRules, decided: Decisions, situation: Situation, speaker: Ints, at: Ints
) -> np.ndarray:
    """`[D, S]` the speaker's probabilities in the rounds `at`, without an EOT that would close the talk."""
    row, n_tokens = np.arange(len(decided)), decided.n_tokens
    every = action_probabilities(policy, rules, decided.symbols, decided.n_rounds, situation)
    speaking = every[row, at, speaker, : n_tokens + 1].astype(np.float64)
    others, its_own = decided.symbols[row, at], np.arange(decided.symbols.shape[2]) == speaker[:, None]
    closes = ((others == n_tokens) | (others == SILENT) | its_own).all(axis=1) | (rules.closing == "any")
    speaking *= ~(closes[:, None] & (np.arange(n_tokens + 1) == n_tokens))
    said = decided.symbols[row, at, speaker]
    total = speaking.sum(axis=1, keepdims=True)
    nothing_else = (total[:, 0] <= 0) & (said != SILENT)
    speaking[nothing_else, said[nothing_else]] = 1
    return speaking / np.maximum(speaking.sum(axis=1, keepdims=True), 1e-30)


class _Numbed:
    """A network that does not notice all there is."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def __getattr__(self, name: str) -> Any:
        return getattr(self._policy, name)


class Blind(_Numbed):
    """A network that sees nothing, neither of the game nor of the talk: token 0 whatever anybody says."""

    def encode(self, seen: Observation) -> torch.Tensor:
        unheard = np.minimum(seen.buffer, 0)  # SILENT stays
        return self._policy.encode(seen._replace(features=np.zeros_like(seen.features), buffer=unheard))


class Deaf(_Numbed):
    """A network that hears token 0 whatever the other says."""

    def encode(self, seen: Observation) -> torch.Tensor:
        buffer = seen.buffer.copy()
        buffer[..., 1:] = np.minimum(buffer[..., 1:], 0)  # SILENT stays
        return self._policy.encode(seen._replace(buffer=buffer))


def _divergence(distributions: list[Floats], weight: np.ndarray, views: Bools) -> tuple[float, float]:
    """Mean KL (bits) and total variation between the first and the `weight` `[D, S]`ed mean of the others `[D, N, A]`,
    in the `views` `[D, N]` of those that act; NaN where nobody does."""
    views = views & np.isfinite(distributions[0]).all(axis=2)
    if not views.any():
        return float("nan"), float("nan")
    actual, *others = (np.asarray(d[views], np.float64) for d in distributions)
    mean = (np.stack(others, axis=1) * weight[np.nonzero(views)[0], :, None]).sum(axis=1)
    actual, mean = actual / actual.sum(axis=1, keepdims=True), mean / mean.sum(axis=1, keepdims=True)
    kl = (actual * np.log2(np.maximum(actual, 1e-30) / np.maximum(mean, 1e-30))).sum(axis=1)
    return float(kl.mean()), float(np.abs(actual - mean).sum(axis=1).mean() / 2)


class Signalled(NamedTuple):
    """How much of what is said in one round depends on what the speakers see: the game, and the talk so far."""

    bits: float
    low: float
    """Lower end of the 95 % bootstrap interval."""
    high: float
    null: float
    """The same for the network made blind, which sees and hears nothing (bits): 0 if the measure is right, but for what
    it may not say, who is silent or out of reach, and which of several networks speaks."""


def dependent_bits(said: np.ndarray, uses: np.ndarray | None = None) -> float:
    """I(symbol; view) (bits) of the distributions `said` `[V, S]` under the views, each as often as `uses` `[V]` says.

    The entropy of the mean distribution less the mean of the entropies. Two states that have a word each for sure, one
    word for both, and words by lot (the signalling, the pooling and the babbling equilibrium of Lewis 1969):

    >>> [dependent_bits(np.array(said)) for said in ([[1, 0], [0, 1]], [[1, 0], [1, 0]], [[0.5, 0.5], [0.5, 0.5]])]
    [1.0, 0.0, 0.0]
    """
    share = np.full(len(said), 1 / len(said)) if uses is None else uses / max(uses.sum(), 1)
    bits = float(bits_of(share @ said) - share @ bits_of(said))
    return bits if bits > ROUNDING else 0.0


def positive_signalling(
    policy: Policy, rules: TalkRules, decided: Decisions, situation: Situation | None = None, seed: int = 0
) -> tuple[Signalled, ...]:
    """Bits of what a speaker says that depend on what it knows, per round: I(symbol; view so far) (Lowe et al. 2019).

    The entropy of the mean distribution over symbols less the mean of their entropies, both from the network's own
    probabilities, so that nothing is to be taken away for chance; for each role of the game apart, and their mean. The
    talk so far holds the speaker's own words, too: to repeat a token drawn by lot counts. Of the plain crossing it is
    all that an agent sees: the first round is 0.

    Parameters
    ----------
    policy, rules, decided, situation, seed
        As for `edits`.

    Returns
    -------
    tuple of Signalled
        For round 1, 2, … as long as at least 30 dialogues reach it: `bits`, its interval over resampled dialogues, and
        `null`, the same for a blind network.

    Examples
    --------
    `analysis.positive_signalling(policy, rules, decided)[0].bits`
    """
    seen = _said(policy, rules, decided, situation)
    unseen = _said(cast(Policy, Blind(policy)), rules, decided, situation and situation.forgotten(policy))
    return tuple(_signalled(*both, np.random.default_rng(seed)) for both in zip(seen, unseen, strict=True))


class Voices(NamedTuple):
    """What the agents of one role would say in a round."""

    said: Reals
    """`[V, S]` distributions over symbols."""
    dialogue: Ints
    """`[V]`"""


def _said(policy: Policy, rules: TalkRules, decided: Decisions, situation: Situation | None) -> list[list[Voices]]:
    """For each round and each role that speaks in it: the distributions over symbols, and whose dialogues they are."""
    every = action_probabilities(policy, rules, decided.symbols, decided.n_rounds, situation)[..., : rules.eot + 1]
    setting = situation.setting if situation else None
    n_agents = decided.symbols.shape[2]
    roles = np.array(setting.game.role_of if setting else [0] * n_agents)
    speaks = situation.speaking() if situation is not None else np.ones((len(decided), n_agents), np.bool_)
    by_round = []
    for t in range(decided.symbols.shape[1]):
        if t and (decided.n_rounds > t).sum() < FEWEST:  # of so few the mean of the distributions is not known
            break
        voices = []
        for role in np.unique(roles):
            row, agent = np.nonzero((decided.n_rounds > t)[:, None] & speaks & (roles == role))
            said = every[row, t, agent].astype(np.float64)
            if len(said):
                voices.append(Voices(said / said.sum(axis=1, keepdims=True), row))
        if not voices:
            break
        by_round.append(voices)
    return by_round


def _signalled(seen: list[Voices], unseen: list[Voices], rng: np.random.Generator) -> Signalled:
    """The mean over roles, with its interval over resampled dialogues."""
    cuts = np.cumsum([len(voices.said) for voices in seen])[:-1]

    def bits(uses: Ints) -> float:
        return float(np.mean([dependent_bits(v.said, own) for v, own in zip(seen, np.split(uses, cuts), strict=True)]))

    value, low, high = with_interval(bits, np.concatenate([voices.dialogue for voices in seen]), rng)
    null, most = np.mean([dependent_bits(voices.said) for voices in unseen]), np.log2(seen[0].said.shape[1])
    return Signalled(value, max(low, 0.0), float(min(high, most)), float(null))
