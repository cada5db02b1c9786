"""How often the agents succeed, over what lengths and when, of what kind their failures are, and what they gain.

Rates carry Wilson intervals (Wilson 1927); those of dialogues allow for what the dialogues of one episode have in
common (`analysis.metrics.resampling.rate_of_groups`). `SuccessTally` adds up a log of any length part by part.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.metrics.failure_modes import KINDS, JointMoves, failure_kinds
from analysis.metrics.resampling import rate_of_groups
from emcomm.dialogues import DialogueTable, returns_of
from emcomm.statistics import Mean, Rate, mean_from, rate
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
    returned: Mean
    """Of its episodes the mean return (over episodes and agents), without the cost of talking."""
    dialogues: int


@dataclass(frozen=True)
class SuccessReport:
    """What a log says about success and return; a rate without dialogues is NaN with the interval [0, 1].

    So are all rates of success where the game declares none (not `judged`).
    """

    overall: Rate
    """Of the episodes, by what their last dialogues brought."""
    of_dialogues: Rate
    """Of the dialogues, by what each one brought."""
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
    """Kind of failure (`analysis.metrics.failure_modes.KINDS`) -> number of episodes, by their last dialogues."""
    judged: bool
    """Whether the game says what success is."""
    episodes: int
    """Games (episodes)."""
    dialogues: int
    """Joint moves, and so dialogues."""
    returned: Mean
    """Mean return over episodes and agents, without the cost of talking."""
    returns: tuple[float, ...]
    """The same for each agent."""
    n_cut: int
    """Dialogues whose talk was cut."""

    def to_frame(self) -> pd.DataFrame:
        """One row per group: columns group, count (of episodes, or dialogues), success, low, high.

        An episode succeeds if its last joint move does; of the dialogues each one's own joint move counts.
        """
        groups = {"all": self.overall}
        if self.dialogues > self.episodes:
            groups = {"all episodes": self.overall, "all dialogues": self.of_dialogues}
        groups |= {"not cut": self.uncut, "cut": self.cut}
        groups |= {f"{rounds} rounds": rate for rounds, rate in self.by_rounds.items()}
        several = self.dialogues > self.episodes
        return _frame("group", groups).rename(columns={"dialogues": "count"} if several else {})

    def course_frame(self) -> pd.DataFrame:
        """One row per stretch of training: first_episode, episodes, dialogues, success, low, high, mean_rounds, cut,
        mean_return, return_low, return_high; without success and its interval where the game declares none."""
        frame = _frame("first_episode", {b.first_episode: b.success for b in self.course})
        returned = [b.returned for b in self.course]
        frame = frame.assign(
            episodes=[r.n for r in returned], dialogues=[b.dialogues for b in self.course],
            mean_rounds=[b.mean_rounds for b in self.course], cut=[b.cut for b in self.course],
            mean_return=[r.value for r in returned], return_low=[r.low for r in returned],
            return_high=[r.high for r in returned],
        )  # fmt: skip
        return frame if self.judged else frame.drop(columns=["success", "low", "high"])

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
        self._every, self._by_rounds, self._cut = _Grouped(), _Grouped(), _Grouped()
        self._failures = np.zeros(len(KINDS), np.int64)
        self._dialogues = self._rounds = self._n_cut = 0
        self._judged = True
        self._returns, self._squares = np.zeros(0), 0.0
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
        returns = returns_of(table)
        self._returns = returns.sum(axis=0) + (self._returns if self._returns.size else 0)
        self._squares += float(np.square(returns.mean(axis=1)).sum())
        self._dialogues, self._rounds = self._dialogues + len(table), self._rounds + int(table.n_rounds.sum())
        self._n_cut += int(table.cut.sum())
        self._episodes[0] += len(returns)
        self._course.add(table, returns.mean(axis=1))
        self._judged = self._judged and table.judged
        if not table.judged:
            return
        self._episodes[1] += table.success[table.last].sum()
        self._every.add(np.zeros(len(table), np.int64), table)
        self._by_rounds.add(table.n_rounds, table)
        self._cut.add(table.cut, table)
        kinds = failure_kinds(table, move_probs, joint)[table.last]  # before, the episode goes on
        self._failures += np.bincount(kinds[kinds >= 0], minlength=len(KINDS))

    def result(self) -> SuccessReport:
        """The figures over all dialogues so far."""
        episodes, successes = map(int, self._episodes)
        returns = self._returns / max(episodes, 1)
        mean = float(returns.mean()) if returns.size else float("nan")
        return SuccessReport(
            overall=rate(successes, episodes) if self._judged else rate(0, 0),
            of_dialogues=self._every.rate(0),
            by_rounds={rounds: self._by_rounds.rate(rounds) for rounds in self._by_rounds.groups()},
            uncut=self._cut.rate(0),
            cut=self._cut.rate(1),
            mean_rounds=self._rounds / self._dialogues if self._dialogues else float("nan"),
            course=self._course.bins(),
            failures={kind: int(n) for kind, n in zip(KINDS, self._failures, strict=True)},
            judged=self._judged,
            episodes=episodes,
            dialogues=self._dialogues,
            returned=mean_from(mean, self._squares / max(episodes, 1), episodes),
            returns=tuple(returns.tolist()),
            n_cut=self._n_cut,
        )


class _Grouped:
    """Dialogues by group, and by how many of a group an episode has and how many of them succeed."""

    def __init__(self) -> None:
        self._episodes: Counter[tuple[int, int, int]] = Counter()
        """Group, dialogues, successes -> episodes."""

    def add(self, group: Ints | Bools, table: DialogueTable) -> None:
        """Count in the dialogues of `table`, `[D]` of which group each is, from 0."""
        _, episode = np.unique(table.episode, return_inverse=True)
        pairs, pair = np.unique(group.astype(np.int64) * len(episode) + episode, return_inverse=True)
        uses, good = np.bincount(pair), np.bincount(pair, table.success).astype(np.int64)
        shape = (int(group.max()) + 1, int(uses.max()) + 1, int(uses.max()) + 1)
        kind = np.ravel_multi_index((pairs // len(episode), uses, good), shape)
        different, episodes = np.unique(kind, return_counts=True)
        rows = np.stack([*np.unravel_index(different, shape), episodes], axis=1)
        for of, n_uses, n_good, count in rows.tolist():
            self._episodes[of, n_uses, n_good] += count

    def groups(self) -> list[int]:
        """Those that have dialogues."""
        return sorted({group for group, _, _ in self._episodes})

    def rate(self, group: int) -> Rate:
        """Success of the dialogues of a group."""
        rows = [(good, uses, count) for (of, uses, good), count in self._episodes.items() if of == group]
        good, uses, episodes = np.array(rows, np.int64).reshape(-1, 3).T
        if uses.max(initial=1) == 1:
            return rate(int(episodes @ good), int(episodes.sum()))
        return rate_of_groups(good, uses, episodes)


class _Course:
    """Sums by number of episode, in at most `size` stretches of one width, which doubles as episodes come in."""

    def __init__(self, size: int) -> None:
        self._sums = np.zeros((size + size % 2, 5), np.int64)  # dialogues, episodes, successes, rounds, cut
        self._returns = np.zeros((len(self._sums), 2))  # sum of the episodes' returns, and of their squares
        self._width, self._judged = 1, True

    def add(self, table: DialogueTable, returns: NDArray[np.float64]) -> None:
        """`returns` `[E]` of the episodes in `table`, by their numbers."""
        while table.episode.max() >= self._width * len(self._sums):
            self._sums, self._returns = _halved(self._sums), _halved(self._returns)
            self._width *= 2
        stretch, last = table.episode // self._width, table.last
        self._judged = self._judged and table.judged
        good = last & table.success if table.judged else np.zeros(len(table), np.bool_)
        for column, values in enumerate((None, last, good, table.n_rounds, table.cut)):
            self._sums[:, column] += np.bincount(stretch, values, len(self._sums)).astype(np.int64)
        of_episode = np.unique(table.episode) // self._width
        for column, gained in enumerate((returns, returns**2)):
            self._returns[:, column] += np.bincount(of_episode, gained, len(self._sums))

    def bins(self) -> tuple[CourseBin, ...]:
        return tuple(
            CourseBin(
                i * self._width, rate(int(s), int(e)) if self._judged else rate(0, 0), float(r / n), float(c / n),
                mean_from(gained / max(e, 1), squares / max(e, 1), int(e)), int(n),
            )
            for i, ((n, e, s, r, c), (gained, squares)) in enumerate(
                zip(self._sums.tolist(), self._returns.tolist(), strict=True)
            )
            if n
        )  # fmt: skip


def _halved(sums: NDArray[Any]) -> NDArray[Any]:
    """Neighbours added up, and as many zeros behind them."""
    merged = sums[::2] + sums[1::2]
    return np.concatenate([merged, np.zeros_like(merged)])


def add_up(total: Counts, more: Counts) -> Counts:
    """The sum of two arrays of counts of which either may be the shorter along the first axis."""
    if len(total) < len(more):
        total, more = more, total
    total = total.copy()
    total[: len(more)] += more
    return total


def _frame(name: str, rates: dict[int, Rate] | dict[str, Rate]) -> pd.DataFrame:
    rows = [(key, r.trials, r.value, r.low, r.high) for key, r in rates.items()]
    return pd.DataFrame(rows, columns=[name, "dialogues", "success", "low", "high"])
