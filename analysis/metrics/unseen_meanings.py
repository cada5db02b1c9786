"""Generalisation: how well do the agents do with combinations of attributes that training never showed them?

A game may say which ones were kept from training. Otherwise the log of training does: a dialogue is about an unseen
meaning where what some agent knew was never known to its role in training. A meaning whose every value was met, each in
other company, is a new combination; one with a value that was never met has a new value.

An episode counts as it ended. What is drawn at random are meanings: agents that know a word for one say it whenever it
is meant, so its dialogues are no independent trials. Intervals allow for how much meanings differ, and the null is that
others might as well have been held out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.data.decisions import NO_SUCCESS, NotApplicable
from analysis.data.utterances import numbered, private_values
from analysis.metrics.resampling import rate_of_groups
from emcomm.dialogues import DialogueTable
from emcomm.statistics import Rate
from envs.game import Bools, Declaration, Ints

KINDS = ("met in training", "new combination", "new value")
PERMUTATIONS = 999
DEALT = 3
"""Times that an attribute is dealt to other dialogues, to see whether it matters."""


class Generalisation(NamedTuple):
    """Success with meanings that were met in training, and with those that were not."""

    by_kind: dict[str, Rate]
    """Kind of the meaning, of `KINDS` -> episodes that ended well; the 95 % interval is over meanings."""
    scores: dict[str, float]
    """The same with the mean score, where the game has degrees of success; else empty."""
    meanings: dict[str, int]
    """How many different meanings there are of each kind."""
    p_value: float
    """Two-sided, that others might as well be the new combinations: permuted meanings; NaN where there are none."""

    @property
    def gap(self) -> tuple[float, float, float]:
        """Success with meanings met in training less that with new combinations, and its 95 % interval (Newcombe)."""
        met, new = self.by_kind[KINDS[0]], self.by_kind[KINDS[1]]
        difference = met.value - new.value
        below = np.hypot(met.value - met.low, new.high - new.value)
        above = np.hypot(met.high - met.value, new.value - new.low)
        return difference, float(difference - below), float(difference + above)

    def to_frame(self) -> pd.DataFrame:
        """One row per kind: kind, meanings, episodes, success, low, high, and the mean score where there is one."""
        rows = [
            (kind, self.meanings[kind], r.trials, r.value, r.low, r.high, self.scores.get(kind))
            for kind, r in self.by_kind.items()
            if r.trials
        ]
        names = ["meaning", "meanings", "episodes", "success", "low", "high", "mean_score"]
        frame = pd.DataFrame(rows, columns=names)
        return frame if self.scores else frame.drop(columns="mean_score")


class MetMeanings:
    """Adds up which meanings a log has shown to the agents of each role, part by part.

    >>> from analysis.data.dialogue_text import table_of
    >>> from envs.game import Attribute, plain_declaration
    >>> from dataclasses import replace
    >>> game = replace(plain_declaration(1, ("go",)), attributes=(Attribute("colour", 2), Attribute("shape", 2)))
    >>> def shows(*pairs):
    ...     table = table_of([[(0,)]] * len(pairs), moves=[(0,)] * len(pairs))
    ...     return replace(table, private=np.array(pairs, np.float32)[:, None])
    >>> met = MetMeanings(game)
    >>> met.add(shows((0, 0), (0, 1), (1, 0)))
    >>> [KINDS[kind] for kind in met.kinds(shows((0, 0), (1, 1)))]
    ['met in training', 'new combination']
    """

    def __init__(self, game: Declaration) -> None:
        self._game = game
        self._met: list[set[tuple[int, ...]]] = [set() for _ in game.roles]

    def add(self, table: DialogueTable) -> None:
        """Count in the dialogues of `table`; raises NotApplicable where they lack the attributes."""
        private = private_values(table, self._game)
        for agent, role in enumerate(self._game.role_of):
            self._met[role].update(map(tuple, numbered(private[:, agent])[0].tolist()))

    def kinds(self, table: DialogueTable) -> Ints:
        """`[D]` the index into `KINDS` of each dialogue: the newest of what its agents know."""
        private = private_values(table, self._game)
        kind = np.zeros(len(table), np.int64)
        for agent, role in enumerate(self._game.role_of):
            met = self._met[role]
            values = [{m[p] for m in met} for p in range(len(self._game.attributes))]
            different, which = numbered(private[:, agent])
            of = [
                0 if row in met else 1 if all(v in values[p] for p, v in enumerate(row)) else 2
                for row in map(tuple, different.tolist())
            ]
            kind = np.maximum(kind, np.array(of)[which])
        return kind


def rate_over_meanings(success: Bools, meaning: Ints) -> Rate:
    """A rate whose interval is over meanings: `success` `[D]` of trials, and the number of the `meaning` `[D]` of each.

    See `analysis.metrics.resampling.rate_of_groups`.

    >>> right = np.repeat([True, True, True, False], 100)  # three of four meanings
    >>> print(rate_over_meanings(right, np.repeat(np.arange(4), 100)))
    75.00 % [13.07, 98.36]
    >>> print(rate_over_meanings(right, np.arange(400)))
    75.00 % [70.51, 79.01]
    """
    uses = np.bincount(meaning)
    return rate_of_groups(np.bincount(meaning, success)[uses > 0], uses[uses > 0])


def permuted_p_value(success: Bools, meaning: Ints, new: Bools, seed: int = 0) -> float:
    """Two-sided p-value of the difference in success, where the meanings that are `new` `[D]` might be any others.

    >>> rng = np.random.default_rng(0)
    >>> meaning = rng.integers(40, size=2000)
    >>> permuted_p_value(meaning < 30, meaning, meaning >= 30), permuted_p_value(meaning % 2 == 0, meaning, meaning < 8)
    (0.001, 0.724)
    """
    if new.all() or not new.any():
        return float("nan")
    pairs, which = numbered(np.stack([new, meaning], axis=1).astype(np.int64))
    uses, good = np.bincount(which), np.bincount(which, success)

    def difference(new: Ints) -> float:
        return abs(float(good @ new / (uses @ new) - good @ (1 - new) / (uses @ (1 - new))))

    rng, found = np.random.default_rng(seed), difference(pairs[:, 0])
    as_much = sum(difference(rng.permutation(pairs[:, 0])) >= found - 1e-12 for _ in range(PERMUTATIONS))
    return (1 + as_much) / (1 + PERMUTATIONS)


def what_is_new(table: DialogueTable, kinds_of: Callable[[DialogueTable], Ints], seed: int = 0) -> Ints:
    """`[D]` numbers of the meanings that `kinds_of` calls met or new: what those agents know on whom it depends.

    What others know besides, a question perhaps, is found by dealing it to other dialogues: the kinds stay as they are.
    """
    rng, kinds = np.random.default_rng(seed), kinds_of(table)
    matters = np.zeros(table.private.shape[1], np.bool_)
    for agent, attribute, _ in np.ndindex(*table.private.shape[1:], DEALT):
        if not matters[agent]:
            dealt = table.private.copy()
            dealt[:, agent, attribute] = rng.permutation(dealt[:, agent, attribute])
            matters[agent] = (kinds_of(replace(table, private=dealt)) != kinds).any()
    known = table.private[:, matters if matters.any() else slice(None)]  # else all are of one kind
    return numbered(known.reshape(len(table), -1).astype(np.int64))[1]


def generalisation(
    table: DialogueTable, kinds: Ints, graded: bool | None = None, meaning: Ints | None = None
) -> Generalisation:
    """Success with the meanings of each kind, at the end of the episode.

    Parameters
    ----------
    table : DialogueTable
        Dialogues of one frozen policy, with all meanings, in whole episodes.
    kinds : array `[D]`
        Of `MetMeanings.kinds`, or of what the game held out.
    graded : bool, optional
        Whether the game has degrees of success; by default where the scores say so.
    meaning : array `[D]`, optional
        Numbers of what is met or new (`what_is_new`); by default of all that all agents know.

    Returns
    -------
    Generalisation
        `by_kind`, `scores`, `meanings`, `gap`, `p_value`.

    Examples
    --------
    `generalisation(table, met.kinds(table)).by_kind["new combination"]`
    """
    if not table.judged:
        raise NotApplicable(NO_SUCCESS)
    graded = not np.array_equal(table.score, table.success) if graded is None else graded
    if meaning is None:
        meaning = numbered(table.private.astype(np.int64).reshape(len(table), -1))[1]
    table, kinds, meaning = table[table.last], kinds[table.last], meaning[table.last]
    by_kind, scores, meanings = {}, {}, {}
    for k, name in enumerate(KINDS):
        those: Bools = kinds == k
        by_kind[name] = rate_over_meanings(table.success[those], meaning[those])
        meanings[name] = len(np.unique(meaning[those]))
        if graded and those.any():
            scores[name] = float(table.score[those].mean())
    two = kinds < 2
    p_value = permuted_p_value(table.success[two], meaning[two], kinds[two] == 1)
    return Generalisation(by_kind, scores, meanings, p_value)
