"""How often the agents succeed, over what lengths and when, and of what kind their failures are.

Rates carry Wilson intervals (Wilson 1927). `SuccessTally` adds up a log of any length part by part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.metrics.failure_modes import KINDS, JointMoves, failure_kinds
from emcomm.dialogues import DialogueTable
from emcomm.statistics import Rate, rate
from envs.game import Bools, Ints

Counts = NDArray[np.int64]


class CourseBin(NamedTuple):
    """A stretch of training."""

    first_episode: int
    """Number of its first episode; it ends where the next one starts."""
    success: Rate
    mean_rounds: float
    cut: float
    """Share of its talks that were cut."""


@dataclass(frozen=True)
class SuccessReport:
    """What a log says about success; a rate without dialogues is NaN with the interval [0, 1]."""

    overall: Rate
    """Of the episodes, by what their last dialogues brought."""
    by_rounds: dict[int, Rate]
    """Number of rounds of the dialogue -> success; 0 rounds: no talk."""
    uncut: Rate
    cut: Rate
    """Success of the dialogues whose talk ran into `max_rounds`; its trials are their number."""
    mean_rounds: float
    """Rounds per dialogue, the closing one included; NaN where there are no dialogues."""
    course: tuple[CourseBin, ...]
    """Success over training, by number of episode."""
    failures: dict[str, int]
    """Kind of failure (`analysis.metrics.failure_modes.KINDS`) -> number of dialogues."""

    def to_frame(self) -> pd.DataFrame:
        """One row per group of dialogues: columns group, dialogues, success, low, high."""
        groups = {"all": self.overall, "not cut": self.uncut, "cut": self.cut}
        groups |= {f"{rounds} rounds": rate for rounds, rate in self.by_rounds.items()}
        return _frame("group", groups)

    def course_frame(self) -> pd.DataFrame:
        """One row per stretch of training: first_episode, dialogues, success, low, high, mean_rounds, cut."""
        frame = _frame("first_episode", {b.first_episode: b.success for b in self.course})
        return frame.assign(mean_rounds=[b.mean_rounds for b in self.course], cut=[b.cut for b in self.course])

    def failures_frame(self) -> pd.DataFrame:
        """One row per kind of failure: kind, dialogues, share (of all failures; NaN where there are none)."""
        total = sum(self.failures.values())
        rows = [(kind, count, count / total if total else float("nan")) for kind, count in self.failures.items()]
        return pd.DataFrame(rows, columns=["kind", "dialogues", "share"])


class SuccessTally:
    """Adds dialogues up to a `SuccessReport`.

    >>> from analysis.data.dialogue_text import table_of
    >>> tally = SuccessTally()
    >>> tally.add(table_of([[(4, 2), (5, 5)], [(5, 5)]], moves=[(1, 0), (0, 0)]))
    >>> report = tally.result()
    >>> report.overall.successes, report.by_rounds[1].trials, report.failures["tie at the end"]
    (1, 1, 1)
    """

    def __init__(self, course_bins: int = 200) -> None:
        self._episodes = np.zeros(2, np.int64)  # episodes, successes
        self._by_rounds = np.zeros((0, 2), np.int64)  # [rounds, (dialogues, successes)]
        self._cut = np.zeros((2, 2), np.int64)  # [cut, (dialogues, successes)]
        self._failures = np.zeros(len(KINDS), np.int64)
        self._course = _Course(course_bins)

    def add(
        self,
        table: DialogueTable,
        move_probs: NDArray[np.floating] | None = None,
        joint: JointMoves | None = None,
    ) -> None:
        """Count in the dialogues of `table`; `move_probs` and `joint` as for `failure_kinds`."""
        if not len(table):
            return
        ends = table.success[table.last]
        self._episodes += len(ends), ends.sum()
        self._by_rounds = add_up(self._by_rounds, _pairs(table.n_rounds, table.success))
        self._cut += _pairs(table.cut.astype(np.int64), table.success, 2)
        kinds = failure_kinds(table, move_probs, joint)
        self._failures += np.bincount(kinds[kinds >= 0], minlength=len(KINDS))
        self._course.add(table)

    def result(self) -> SuccessReport:
        """The figures over all dialogues so far."""
        total, (episodes, successes) = self._by_rounds[:, 0].sum(), self._episodes
        rounds = np.arange(len(self._by_rounds)) @ self._by_rounds[:, 0]
        return SuccessReport(
            overall=rate(int(successes), int(episodes)),
            by_rounds={r: rate(int(s), int(n)) for r, (n, s) in enumerate(self._by_rounds) if n},
            uncut=rate(int(self._cut[0, 1]), int(self._cut[0, 0])),
            cut=rate(int(self._cut[1, 1]), int(self._cut[1, 0])),
            mean_rounds=float(rounds / total) if total else float("nan"),
            course=self._course.bins(),
            failures={kind: int(n) for kind, n in zip(KINDS, self._failures, strict=True)},
        )


class _Course:
    """Sums by number of episode, in at most `size` stretches of one width, which doubles as episodes come in."""

    def __init__(self, size: int) -> None:
        self._sums = np.zeros((size + size % 2, 5), np.int64)  # dialogues, episodes, successes, rounds, cut
        self._width = 1

    def add(self, table: DialogueTable) -> None:
        while table.episode.max() >= self._width * len(self._sums):
            merged = self._sums[::2] + self._sums[1::2]
            self._sums = np.concatenate([merged, np.zeros_like(merged)])
            self._width *= 2
        stretch, last = table.episode // self._width, table.last
        for column, values in enumerate((None, last, last & table.success, table.n_rounds, table.cut)):
            self._sums[:, column] += np.bincount(stretch, values, len(self._sums)).astype(np.int64)

    def bins(self) -> tuple[CourseBin, ...]:
        return tuple(
            CourseBin(i * self._width, rate(int(s), int(e)), float(r / n), float(c / n))
            for i, (n, e, s, r, c) in enumerate(self._sums)
            if n
        )


def add_up(total: Counts, more: Counts) -> Counts:
    """The sum of two arrays of counts of which either may be the shorter along the first axis."""
    if len(total) < len(more):
        total, more = more, total
    total = total.copy()
    total[: len(more)] += more
    return total


def _pairs(group: Ints, success: Bools, groups: int = 0) -> Counts:
    """`[groups, 2]` dialogues and successes of each group."""
    trials = np.bincount(group, minlength=groups)
    return np.stack([trials, np.bincount(group[success], minlength=len(trials))], axis=1)


def _frame(name: str, rates: dict[int, Rate] | dict[str, Rate]) -> pd.DataFrame:
    rows = [(key, r.trials, r.value, r.low, r.high) for key, r in rates.items()]
    return pd.DataFrame(rows, columns=[name, "dialogues", "success", "low", "high"])
