"""How many different dialogues there are, and which are the most frequent, over a log of any length.

A dialogue is known by a 64-bit hash of its rounds. Counts are exact but for collisions, whose chance at D different
dialogues is about D² / 2^65: 3 in a million at 10 million. Memory is 24 bytes for each different dialogue.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emcomm.dialogues import DialogueTable
from envs.game import Ints

EXAMPLES = 256
"""Frequent dialogues of each part of which the text is kept."""


class FrequentDialogue(NamedTuple):
    """A dialogue, and how often it came up."""

    symbols: Ints
    """int8 `[rounds, N]`"""
    uses: int
    successes: int | None
    """None where the game declares no success."""


class DistinctReport(NamedTuple):
    """How various the dialogues are; a dialogue and its mirror image count as two."""

    dialogues: int
    distinct: int
    once: int
    """Different dialogues that came up a single time."""
    frequent: tuple[FrequentDialogue, ...]
    """The most frequent ones, most frequent first."""
    spectrum: tuple[tuple[int, int], ...] = ()
    """How many different dialogues came up so often: (uses, dialogues), by uses."""

    @property
    def distinct_share(self) -> float:
        """Different dialogues per dialogue; NaN where there are none."""
        return self.distinct / self.dialogues if self.dialogues else float("nan")

    @property
    def coverage(self) -> float:
        """Chance that the next dialogue has come up before: 1 - once / dialogues (Good 1953)."""
        return 1 - self.once / self.dialogues if self.dialogues else float("nan")

    def rarefied(self, dialogues: NDArray[np.integer]) -> NDArray[np.float64]:
        """How many different ones to expect among so many of these dialogues, drawn at random (Hurlbert 1971).

        Runs with logs of different sizes are compared at one size.

        >>> DistinctReport(4, 2, 0, (), ((2, 2),)).rarefied(np.array([1, 2, 4])).round(3).tolist()
        [1.0, 1.667, 2.0]
        """
        from scipy.special import gammaln

        drawn = np.asarray(dialogues)[:, None].astype(np.float64)
        uses, of_them = np.array(self.spectrum, np.float64).reshape(-1, 2).T
        left = self.dialogues - uses - drawn  # to choose the draw from all others
        ways = gammaln(self.dialogues - uses + 1) - gammaln(np.maximum(left, 0) + 1)
        every = gammaln(self.dialogues + 1) - gammaln(self.dialogues - drawn + 1)
        missed = np.where(left < 0, 0.0, np.exp(ways - every))
        return np.asarray(((1 - missed) * of_them).sum(axis=1))


class DistinctTally:
    """Adds dialogues up to a `DistinctReport`.

    >>> from analysis.data.dialogue_text import table_of
    >>> tally = DistinctTally()
    >>> tally.add(table_of([[(4, 2), (5, 5)], [(2, 4), (5, 5)], [(4, 2), (5, 5)]]))
    >>> report = tally.result()
    >>> report.distinct, report.once, report.frequent[0].uses, report.frequent[0].symbols.tolist()
    (2, 1, 2, [[4, 2], [5, 5]])
    """

    def __init__(self) -> None:
        self._runs: list[_Counted] = []  # each sorted by hash; longest first, lengths about halving
        self._dialogues = 0
        self._examples: dict[int, Ints] = {}
        self._judged = True

    def add(self, table: DialogueTable) -> None:
        """Count in the dialogues of `table`."""
        if not len(table):
            return
        self._dialogues += len(table)
        hashes = dialogue_hashes(table)
        order = np.argsort(hashes)
        ordered = hashes[order]
        first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
        counts = np.diff(np.append(first, len(ordered)))
        self._judged = self._judged and table.judged
        good = table.success[order].astype(np.int64) if table.judged else np.zeros(len(order), np.int64)
        successes = np.add.reduceat(good, first)
        self._keep_examples(table, ordered[first], counts, order[first])
        self._push(_Counted(ordered[first], counts, successes))

    def result(self, top: int = 20) -> DistinctReport:
        """The figures over all dialogues so far, with the `top` most frequent."""
        while len(self._runs) > 1:
            self._runs.append(_merge(self._runs.pop(), self._runs.pop()))
        if not self._runs:
            return DistinctReport(0, 0, 0, ())
        hashes, counts, successes = self._runs[0]
        known = np.searchsorted(hashes, np.array(list(self._examples), np.uint64))
        order = np.lexsort((hashes[known], -counts[known]))[:top]
        frequent = tuple(
            FrequentDialogue(
                self._examples[int(hashes[i])], int(counts[i]), int(successes[i]) if self._judged else None
            )
            for i in known[order]
        )
        spectrum = tuple(zip(*(values.tolist() for values in np.unique(counts, return_counts=True)), strict=True))
        return DistinctReport(self._dialogues, len(hashes), int((counts == 1).sum()), frequent, spectrum)

    def _push(self, run: _Counted) -> None:
        """Merge like a binary counter, so that every dialogue is merged log(parts) times."""
        while self._runs and len(self._runs[-1].hashes) <= 2 * len(run.hashes):
            run = _merge(self._runs.pop(), run)
        self._runs.append(run)

    def _keep_examples(self, table: DialogueTable, hashes: NDArray[np.uint64], counts: Ints, at: Ints) -> None:
        """Keep the text of the most frequent dialogues of a part: one of them is the most frequent of all."""
        top = np.argpartition(-counts, EXAMPLES)[:EXAMPLES] if len(counts) > EXAMPLES else np.arange(len(counts))
        starts = table.starts
        for key, dialogue in zip(hashes[top].tolist(), at[top].tolist(), strict=True):
            if key not in self._examples:
                self._examples[key] = table.symbols[starts[dialogue] : starts[dialogue + 1]].copy()


def one_of_twins(table: DialogueTable) -> DialogueTable:
    """The dialogues of two agents, each as it or its mirror image is: first whoever says the larger symbol at the first
    difference. Those of more agents, or of agents that speak one after the other, as they are.

    >>> from analysis.data.dialogue_text import table_of
    >>> one_of_twins(table_of([[(1, 1), (2, 4)], [(1, 1), (4, 2)]])).symbols.tolist()
    [[1, 1], [4, 2], [1, 1], [4, 2]]
    """
    if table.symbols.shape[1] != 2 or len(table.speakers) or not len(table.symbols):
        return table
    difference = np.sign(table.symbols[:, 1].astype(np.int64) - table.symbols[:, 0])
    told = np.flatnonzero(difference)
    starts = table.starts
    first = told[np.minimum(np.searchsorted(told, starts[:-1]), max(len(told) - 1, 0))] if len(told) else starts[:-1]
    swapped = (first >= starts[:-1]) & (first < starts[1:])
    swapped[swapped] = difference[first[swapped]] > 0
    symbols = np.where(np.repeat(swapped, table.n_rounds)[:, None], table.symbols[:, ::-1], table.symbols)
    return replace(table, symbols=symbols)


class _Counted(NamedTuple):
    """Different dialogues, sorted by hash."""

    hashes: NDArray[np.uint64]
    counts: NDArray[np.int64]
    successes: NDArray[np.int64]


def _merge(a: _Counted, b: _Counted) -> _Counted:
    hashes = np.concatenate([a.hashes, b.hashes])
    order = np.argsort(hashes, kind="stable")  # two sorted runs: one merge
    ordered = hashes[order]
    first = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
    counts, successes = (np.add.reduceat(np.concatenate(c)[order], first) for c in zip(a[1:], b[1:], strict=True))
    return _Counted(ordered[first], counts, successes)


def dialogue_hashes(table: DialogueTable) -> NDArray[np.uint64]:
    """uint64 `[D]` one hash for each different dialogue: the sum over its rounds of a hash of round and symbols."""
    within = np.arange(len(table.symbols)) - np.repeat(table.starts[:-1], table.n_rounds)
    code = within.astype(np.uint64)
    for agent in range(table.symbols.shape[1]):
        code = code * np.uint64(131) + (table.symbols[:, agent].astype(np.int64) + 2).astype(np.uint64)
    sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(_scramble(code), dtype=np.uint64)])
    hashes: NDArray[np.uint64] = np.diff(sums[table.starts])
    return hashes


def _scramble(code: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The mixing function of SplitMix64 (Steele, Lea and Flood 2014): bijective and well spread."""
    code = code + np.uint64(0x9E3779B97F4A7C15)
    code = (code ^ (code >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    code = (code ^ (code >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return code ^ (code >> np.uint64(31))
