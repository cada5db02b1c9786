"""How many bits of who yields the dialogue carries after each round, and from which round on the decision is known.

The plug-in estimate is useless here: almost every dialogue is unique, so that after a few rounds the log alone seems to
decide everything, independent noise included. Instead a predictor (`analysis.metrics.decision_predictor`) is scored on
dialogues it has not met. For any predictor q of the one that yields, Y, from the dialogue up to round t, X,

    I(X; Y)  >=  H(Y) + E[log2 q(Y | X)],

so the held-out score is a lower bound that no bias can push above the truth, and independent noise gives 0 or less.
H(Y) is 1 bit, for which of two identical agents is meant is a coin toss; where agents speak one after the other it is
the entropy of who yields, first or second speaker, and the bits are those of the content beyond the order.

Only dialogues in which exactly one of two agents took the move count: who yields is not defined in a crash. Beside the
figures stand their 95 % bootstrap interval (over scored dialogues), a null (the answers permuted between dialogues, the
whole estimate made anew), and a check on planted answers: the same dialogues, answered by rules whose information is
known (first difference, last difference, vote) and by coin tosses. Where the method misses those, it says so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.data.canonical_view import Oriented, orient
from analysis.metrics.decision_predictor import held_out
from analysis.metrics.entropy import shared_information
from analysis.metrics.resampling import interval_of_means
from emcomm.dialogues import DialogueTable
from envs.game import Bools, Ints
from envs.negotiation import SILENT

Reals = NDArray[np.float64]

FEWEST = 200
"""Fewer dialogues in which one agent yields are not enough to say anything."""
RECOVERED = 0.8
"""Share of the bits of a planted rule that the method must find."""
FALSE_BITS = 0.02
"""Bits by which it may be off where there is nothing to find, and by which it may be too high."""
KNOWN = 0.9
"""Probability from which a decision counts as known."""
MOST_ROUNDS = 64
"""Rounds after which the curve ends."""


@dataclass(frozen=True)
class Planted:
    """A rule of known information, answered on the dialogues at hand."""

    rule: str
    true_bits: float
    found_bits: float


@dataclass(frozen=True)
class Information:
    """Bits about who yields in the dialogue up to each of `T` rounds; `T` is 0 where nothing can be said."""

    n_dialogues: int
    """Dialogues scored, in each of which exactly one agent yields."""
    bits: Reals
    """`[T]` lower bound after rounds 1 to T; below 0 by chance where there is nothing to know."""
    low: Reals
    """`[T]` lower end of the 95 % bootstrap interval."""
    high: Reals
    """`[T]`"""
    null: Reals
    """`[replicates, T]` the same with permuted answers."""
    p_value: Reals
    """`[T]` share of nulls at least as high, the figure itself counted in."""
    known_at: Ints
    """`[T + 1]` dialogues by the first round from which the held-out probability of the answer it ends on stays at or
    above 0.9; entry 0: never. Round r stands at entry r."""
    planted: tuple[Planted, ...]
    trusted: bool
    """Whether the method passed its planted cases on these dialogues."""
    why: str
    """Why it is not trusted; empty where it is."""

    @property
    def informative(self) -> Bools:
        """`[T]` whether the dialogue tells something by then: interval above 0, and above the null."""
        return (self.low > 0) & (self.p_value <= 0.05)

    @property
    def known_share(self) -> float:
        """Share of dialogues whose decision becomes known; NaN where there are none."""
        total = int(self.known_at.sum())
        return 1 - float(self.known_at[0]) / total if total else float("nan")

    @property
    def median_known_at(self) -> float:
        """Median round at which it becomes known, among those where it does; NaN where there are none."""
        rounds = np.repeat(np.arange(1, len(self.known_at)), self.known_at[1:])
        return float(np.median(rounds)) if len(rounds) else float("nan")

    def to_frame(self) -> pd.DataFrame:
        """One row per round: round, bits, low, high, null (95 % quantile), p_value, known_at (share of dialogues)."""
        count = len(self.bits)
        null = np.quantile(self.null, 0.95, axis=0) if self.null.size else np.full(count, np.nan)
        return pd.DataFrame(
            {
                "round": np.arange(1, count + 1),
                "bits": self.bits,
                "low": self.low,
                "high": self.high,
                "null": null,
                "p_value": self.p_value,
                "known_at": self.known_at[1:] / max(int(self.known_at.sum()), 1),
            }
        )


def decision_information(
    table: DialogueTable,
    n_tokens: int,
    move: int = 1,
    max_dialogues: int = 10_000,
    nulls: int = 19,
    seed: int = 0,
) -> Information:
    """Bits about which of two agents takes `move` (default: the detour), after each round of talk.

    At most `max_dialogues` are used, drawn evenly. Rounds that fewer than 1 % of dialogues reach are left out.

    Parameters
    ----------
    table : DialogueTable
        Dialogues of two agents.
    n_tokens, move : int
        Free tokens, and the move of the one that yields.
    max_dialogues, nulls, seed : int
        Dialogues used at most, permutations, and what fixes the randomness.

    Returns
    -------
    Information
        `n_dialogues`; `bits`, `low`, `high`, `null`, `p_value` by round; `known_at`; `planted`, `trusted`, `why`.

    Examples
    --------
    >>> from analysis.data.dialogue_text import table_of
    >>> rng = np.random.default_rng(0)
    >>> firsts = rng.integers(5, size=(3000, 2))  # the larger of two uniform tokens yields; a tie is a coin toss
    >>> yields = np.where(firsts[:, 0] == firsts[:, 1], rng.integers(2, size=3000), firsts[:, 0] > firsts[:, 1])
    >>> table = table_of([[f, (5, 5)] for f in firsts.tolist()], moves=[(y, 1 - y) for y in yields])
    >>> found = decision_information(table, n_tokens=5)
    >>> bool(abs(found.bits[0] - 0.8) < 0.03), found.trusted, found.median_known_at
    (True, True, 1.0)
    """
    if table.moves.shape[1] != 2:
        return _nothing(0, f"who yields is defined for two agents, not for {table.moves.shape[1]}")
    rng = np.random.default_rng(seed)
    table = table[(table.moves == move).sum(axis=1) == 1]
    table = table.drawn(max_dialogues, rng)
    if len(table) < FEWEST:
        return _nothing(len(table), f"{len(table)} dialogues in which exactly one agent yields; {FEWEST} are needed")
    rounds = min(int(np.quantile(table.n_rounds, 0.99)), MOST_ROUNDS)
    if rounds == 0:
        return _nothing(len(table), "there is no talk")
    seen = orient(table, rounds, move)
    probability = held_out(seen, n_tokens + 1, rng)
    scores = _scores(seen, probability)
    bits = scores.mean(axis=0)
    low, high = interval_of_means(scores, rng)
    null = np.array([_estimate(_permuted(seen, rng), n_tokens, rng) for _ in range(nulls)]).reshape(nulls, rounds)
    planted = _planted(seen, n_tokens, rng)
    why = _complaint(planted, len(table))
    return Information(
        n_dialogues=len(table),
        bits=bits,
        low=low,
        high=high,
        null=null,
        p_value=(1 + (null >= bits).sum(axis=0)) / (1 + nulls),
        known_at=np.bincount(known_at(probability), minlength=rounds + 1),
        planted=planted,
        trusted=not why,
        why=why,
    )


def known_at(probability: Reals, known: float = KNOWN) -> Ints:
    """`[D]` the first round, from 1, from which the answer that each dialogue ends on stays known; 0 for never.

    `probability` `[D, T]` that the agent yields, after each round.

    >>> known_at(np.array([[0.95, 0.5, 0.1, 0.02], [0.5, 0.6, 0.7, 0.8]]))
    array([3, 0])
    """
    final = probability[:, -1:] >= 0.5
    sure = np.where(final, probability, 1 - probability) >= known
    stays = np.logical_and.accumulate(sure[:, ::-1], axis=1).sum(axis=1)
    return np.where(stays > 0, probability.shape[1] - stays + 1, 0)


def plug_in_information(table: DialogueTable, rounds: int, move: int = 1) -> float:
    """The plug-in mutual information of the first `rounds` rounds and who yields, in bits: for comparison only.

    Its bias grows with the number of different dialogues until it claims everything: four dialogues that were never
    met before and four coin tosses share, it says, a whole bit.

    >>> from analysis.data.dialogue_text import table_of
    >>> noise = [[(0, 1)], [(1, 0)], [(2, 0)], [(0, 2)]]
    >>> plug_in_information(table_of(noise, moves=[(0, 1), (0, 1), (1, 0), (1, 0)]), rounds=1)
    1.0
    """
    table = table[(table.moves == move).sum(axis=1) == 1]
    if not len(table):
        return float("nan")
    beginnings = np.unique(table.padded(rounds).reshape(len(table), -1), axis=0, return_inverse=True)[1].reshape(-1)
    joint = np.bincount(beginnings * 2 + (table.moves[:, 0] == move))
    return shared_information(np.pad(joint, (0, len(joint) % 2)).reshape(-1, 2))


# -- estimate, interval, null ------------------------------------------------------------------------------------------


def _estimate(seen: Oriented, n_tokens: int, rng: np.random.Generator, last_only: bool = False) -> Reals:
    """`[T]` the bits."""
    bits: Reals = _scores(seen, held_out(seen, n_tokens + 1, rng, last_only)).mean(axis=0)
    return bits


def _scores(seen: Oriented, probability: Reals) -> Reals:
    """`[D, T]` what each dialogue contributes: the entropy of the answer, and the log-probability it was given."""
    right = np.where(seen.yields[:, None], probability, 1 - probability)
    prior = _plug_in(np.array([seen.yields.mean(), 1 - seen.yields.mean()])) if seen.ordered else 1.0
    scores: Reals = prior + np.log2(right)
    return scores


def _plug_in(shares: Reals) -> float:
    shares = shares[shares > 0]
    return float(-(shares * np.log2(shares)).sum())


def _permuted(seen: Oriented, rng: np.random.Generator) -> Oriented:
    """The same dialogues with answers that have nothing to do with them."""
    if seen.ordered:
        return seen._replace(yields=rng.permutation(seen.yields))
    return seen._replace(yields=rng.random(len(seen.yields)) < 0.5)


# -- planted answers ---------------------------------------------------------------------------------------------------


def _planted(seen: Oriented, n_tokens: int, rng: np.random.Generator) -> tuple[Planted, ...]:
    """What the method finds, after the last round, where the same dialogues are answered by known rules."""
    leanings = {
        "first difference": _difference(seen, rng.permutation(n_tokens + 2), last=False),
        "last difference": _difference(seen, rng.permutation(n_tokens + 2), last=True),
        "vote": _vote(seen, rng.normal(size=n_tokens + 2)),
        "coin toss": np.zeros(len(seen.yields)),
    }
    return tuple(_plant(rule, leaning, seen, n_tokens, rng) for rule, leaning in leanings.items())


def _plant(rule: str, leaning: Reals, seen: Oriented, n_tokens: int, rng: np.random.Generator) -> Planted:
    """Let the sign of `leaning` `[D]` decide who yields, and a coin where it is 0: a bit for each one decided."""
    coins = rng.random(len(leaning)) < 0.5
    answered = seen._replace(yields=np.where(leaning == 0, coins, leaning > 0), ordered=False)
    bits = _estimate(answered, n_tokens, rng, last_only=True)
    return Planted(rule, float((leaning != 0).mean()), float(bits[-1]))


def _difference(seen: Oriented, rank: Ints, last: bool) -> Reals:
    """`[D]` by how much the agent outranks the other in the first or last round in which they differ."""
    gap = (rank[seen.own - SILENT] - rank[seen.other - SILENT]).astype(np.float64)
    gap = gap[:, ::-1] if last else gap
    differs: Bools = gap != 0
    first: Reals = gap[np.arange(len(gap)), differs.argmax(axis=1)]
    return first


def _vote(seen: Oriented, weight: Reals) -> Reals:
    """`[D]` by how much the agent's sum of weights is the larger."""
    balance: Reals = (weight[seen.own - SILENT] - weight[seen.other - SILENT]).sum(axis=1)
    balance[np.abs(balance) < 1e-9] = 0.0
    return balance


def _complaint(planted: tuple[Planted, ...], dialogues: int) -> str:
    for case in planted:
        if not RECOVERED * case.true_bits - FALSE_BITS <= case.found_bits <= case.true_bits + FALSE_BITS:
            return (
                f"on these {dialogues} dialogues the method finds {case.found_bits:.2f} bits of a planted "
                f"{case.rule} that holds {case.true_bits:.2f}"
            )
    return ""


def _nothing(dialogues: int, why: str) -> Information:
    none = np.zeros(0)
    return Information(dialogues, none, none, none, np.zeros((0, 0)), none, np.zeros(1, np.int64), (), False, why)
