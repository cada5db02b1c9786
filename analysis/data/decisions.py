"""Dialogues as the decisions that ended them: what was said, seen from each of two agents, and who yielded.

Axes: `D` dialogue, `R` round (padded with SILENT), `V` view (two per dialogue: own symbol first), `K` symbol kinds: the
tokens, EOT and, last, SILENT (so that SILENT = -1 indexes it).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from emcomm.dialogues import DialogueTable
from envs.game import Bools, Ints

Scores = NDArray[np.float64]


NO_SUCCESS = "the game declares no success"
"""Why a measure that needs one does not apply."""


class NotApplicable(ValueError):
    """The dialogues are of a kind for which this measure has no meaning."""


@dataclass(frozen=True)
class Decisions:
    """`D` dialogues of two agents, each ended by one of two moves."""

    symbols: Ints
    """int8 `[D, R, 2]` what was said, SILENT after the end."""
    n_rounds: Ints
    """`[D]` rounds, the closing one included."""
    moves: Ints
    """`[D, 2]` 1 is to yield."""
    n_tokens: int

    def __len__(self) -> int:
        return len(self.n_rounds)

    def __getitem__(self, which: slice | Bools | Ints) -> Decisions:
        return Decisions(self.symbols[which], self.n_rounds[which], self.moves[which], self.n_tokens)

    @property
    def n_kinds(self) -> int:
        """`K`: tokens, EOT and SILENT."""
        return self.n_tokens + 2

    @property
    def parted(self) -> Bools:
        """`[D]` whether exactly one yielded."""
        return self.moves[:, 0] != self.moves[:, 1]

    @property
    def spoken(self) -> Bools:
        """`[D, R]` whether the round took place."""
        return np.arange(self.symbols.shape[1]) < self.n_rounds[:, None]

    def views(self) -> tuple[Ints, Ints, Ints]:
        """Own symbol first, agent 0 of every dialogue, then agent 1: `[2D, R, 2]`, rounds and own move `[2D]`."""
        symbols = np.concatenate([self.symbols, self.symbols[..., ::-1]])
        return symbols, np.tile(self.n_rounds, 2), self.moves.T.ravel()


def any_decisions(table: DialogueTable, n_tokens: int) -> Decisions:
    """The dialogues of a table, of any number of agents and moves; for those who do not ask who yields."""
    rounds = int(table.n_rounds.max(initial=0))
    return Decisions(table.padded(max(rounds, 1)), table.n_rounds, table.moves, n_tokens)


def decisions(table: DialogueTable, n_tokens: int, limit: int | None = None) -> Decisions:
    """At most `limit` dialogues of a table, drawn at random.

    Raises NotApplicable where there are not two agents and two moves.
    """
    if limit is not None:
        table = table.drawn(limit, np.random.default_rng(0))
    if table.moves.ndim != 2 or table.moves.shape[1] != 2:
        raise NotApplicable("who yields is defined for two agents")
    if len(table) and not np.isin(table.moves, (0, 1)).all():
        raise NotApplicable("who yields is defined for two moves")
    return any_decisions(table, n_tokens)


def split(everything: Decisions, seed: int = 0) -> tuple[Decisions, Decisions]:
    """Two random halves, by dialogue: one to fit on, one to score on."""
    order = np.random.default_rng(seed).permutation(len(everything))
    half = (len(order) + 1) // 2
    return everything[order[:half]], everything[order[half:]]


def counts(symbols: Ints, spoken: Bools, n_kinds: int) -> Ints:
    """`[D, 2, K]` how often each agent said each symbol in `symbols` `[D, R, 2]`.

    >>> counts(np.array([[[4, 2], [5, 5]]]), np.array([[True, True]]), 7)[0].tolist()
    [[0, 0, 0, 0, 1, 1, 0], [0, 0, 1, 0, 0, 1, 0]]
    """
    kinds = symbols % n_kinds if n_kinds else symbols
    return np.stack([((kinds == kind) & spoken[..., None]).sum(axis=1) for kind in range(n_kinds)], axis=-1)


def who_yields(scores: Scores, decided: Decisions) -> tuple[int, int]:
    """Right predictions and trials among the dialogues that parted; a score of 0 is a coin flip, counted as half.

    `scores` `[D]` are above 0 where agent 0 is expected to yield.
    """
    parted = decided.parted
    right = np.sign(scores[parted]) == np.where(decided.moves[parted, 0] == 1, 1, -1)
    ties = int((scores[parted] == 0).sum())
    return int(right.sum()) + ties // 2, int(parted.sum())


def stretches(table: DialogueTable, fewest: int = 300) -> list[DialogueTable]:
    """A table cut into consecutive stretches, each twice as long as the one before; the first has at least `fewest`."""
    edges = [len(table)]
    while edges[-1] // 2 >= fewest:
        edges.append(edges[-1] // 2)
    return [table[a:b] for a, b in pairwise(sorted({0, *edges}))]
