"""What a network decides after dialogues that nobody held, in strata: short and long, tied at first, hard to decide.

A log does not identify a rule: a decided talk avoids small margins and rare symbols. Random dialogues do. Those that
copy the lengths of a log do not, where the talk is terse: most of them have one round of content, in which every
ranking is right. So each length is a stratum of its own, and the worst one counts.

Axes: `D` dialogue, `R` round.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from analysis.data.decisions import Decisions, NotApplicable, Scores
from envs.game import Bools, Floats, Ints
from envs.negotiation import SILENT, TalkRules

Answers = Callable[[Ints, Ints], Floats]
"""Dialogues `[D, R, 2]` and rounds `[D]` -> `[D, 2]` the probability that each agent yields."""

LENGTHS = (2, 3, 4, 6, 8, 12)
"""Rounds of the strata, the closing one included."""
TIED = "tied in round 1"
MARGIN = "small margins"


@dataclass(frozen=True)
class Queries:
    """Random dialogues and the network's answers."""

    symbols: Ints
    """int8 `[D, R, 2]`"""
    n_rounds: Ints
    """`[D]`"""
    yields: Floats
    """`[D, 2]` the probability that each agent yields."""
    stratum: Ints
    """`[D]` index in `strata`."""
    strata: tuple[str, ...]
    n_tokens: int

    def __len__(self) -> int:
        return len(self.n_rounds)

    def __getitem__(self, which: Ints | Bools | slice) -> Queries:
        return Queries(
            self.symbols[which], self.n_rounds[which], self.yields[which], self.stratum[which], self.strata,
            self.n_tokens,
        )  # fmt: skip

    @property
    def parted(self) -> Bools:
        """`[D]` whether the network's likelier moves differ in its two views."""
        greedy = self.yields > 0.5
        return np.asarray(greedy[:, 0] != greedy[:, 1])

    @property
    def odds(self) -> Scores:
        """`[D]` the probability that agent 0 yields, given that exactly one does."""
        own, other = np.clip(self.yields.astype(np.float64), 1e-9, 1 - 1e-9).T
        alone, against = own * (1 - other), other * (1 - own)
        return np.asarray(alone / (alone + against))

    def decisions(self) -> Decisions:
        """As dialogues that ended in the network's likelier moves."""
        return Decisions(self.symbols, self.n_rounds, (self.yields > 0.5).astype(np.int64), self.n_tokens)

    def right(self, scores: Scores) -> Scores:
        """`[D]` the share of the two likelier moves that a rule names; one that is undecided names half of them.

        The two views of a dialogue are one trial: an antisymmetric rule says the same in both.
        """
        expected = np.stack([scores, -scores], axis=1)
        return np.where(expected == 0, 0.5, (expected > 0) == (self.yields > 0.5)).mean(axis=1)


def random_queries(
    answers: Answers, rules: TalkRules, each: int, seed: int, eot_share: float = 0.1, lengths: tuple[int, ...] = LENGTHS
) -> Queries:
    """`each` random dialogues of every stratum, and what is decided after them by whom `answers` stands for.

    Where a talk is cut at `max_rounds`, there are no strata beyond. Raises NotApplicable where it is cut before a token
    can be said and the talk closed.
    """
    rng = np.random.default_rng([seed, 17])
    longest = rules.max_rounds or max(lengths)
    named = {f"{rounds} rounds": np.full(each, rounds) for rounds in lengths if rounds <= longest}
    if longest >= 3:
        named[TIED] = rng.integers(3, min(longest, 6) + 1, each)
    if not named:
        raise NotApplicable(f"a talk of {longest} round has no room for a token and an end")
    wanted = np.concatenate(list(named.values()))
    symbols, n_rounds = random_dialogues(wanted, rules.n_tokens, eot_share, rng)
    stratum = np.repeat(np.arange(len(named)), each)
    if TIED in named:
        _tie(symbols, np.flatnonzero(stratum == list(named).index(TIED)), rules.n_tokens, rng)
    return Queries(symbols, n_rounds, answers(symbols, n_rounds), stratum, tuple(named), rules.n_tokens)


def random_dialogues(lengths: Ints, n_tokens: int, eot_share: float, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Dialogues that nobody held: `[D, R, 2]` and rounds `[D]`, one per entry of `lengths` (of at least 2 rounds).

    Tokens are uniform, EOT comes with probability `eot_share`, both say EOT in the last round and in no other. Where
    there are two tokens the agents differ in some round: identical views leave nothing to decide.
    """
    n_rounds = np.maximum(lengths, 2)
    rounds = int(n_rounds.max(initial=2))
    shape = (len(lengths), rounds, 2)
    symbols = rng.integers(n_tokens, size=shape, dtype=np.int8)
    eot = rng.random(shape) < eot_share
    eot &= ~eot.all(axis=2, keepdims=True)
    symbols[eot] = n_tokens
    alike = (symbols[:, :, 0] == symbols[:, :, 1]) | (np.arange(rounds) >= n_rounds[:, None] - 1)
    alike_rows = np.flatnonzero(alike.all(axis=1))
    symbols[alike_rows, 0, 1] = (symbols[alike_rows, 0, 0] + 1) % n_tokens
    symbols[np.arange(len(lengths)), n_rounds - 1] = n_tokens
    symbols[np.arange(rounds) >= n_rounds[:, None]] = SILENT
    return symbols, n_rounds


def _tie(symbols: Ints, rows: Ints, n_tokens: int, rng: np.random.Generator) -> None:
    """Let both say the same token in the first round, and different ones in the second."""
    symbols[rows, 0] = rng.integers(n_tokens, size=len(rows), dtype=np.int8)[:, None]
    alike = symbols[rows, 1, 0] == symbols[rows, 1, 1]
    symbols[rows[alike], 1, 1] = (symbols[rows[alike], 1, 0] + 1) % (n_tokens + 1)
