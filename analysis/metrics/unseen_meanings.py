"""Generalisation: how well do the agents do with combinations of attributes that training never showed them?

A game may say which ones were kept from training. Otherwise the log of training does: a dialogue is about an unseen
meaning where what some agent knew was never known to its role in training. A meaning whose every value was met, each in
other company, is a new combination; one with a value that was never met has a new value.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import norm

from analysis.data.utterances import numbered, private_values
from emcomm.dialogues import DialogueTable
from emcomm.statistics import Rate, rate
from envs.game import Bools, Declaration, Ints

KINDS = ("met in training", "new combination", "new value")


class Generalisation(NamedTuple):
    """Success with meanings that were met in training, and with those that were not."""

    by_kind: dict[str, Rate]
    """Kind of the dialogue's meaning, of `KINDS` -> success."""
    scores: dict[str, float]
    """The same with the mean score, where the game has degrees of success; else empty."""
    meanings: dict[str, int]
    """How many different meanings there are of each kind."""

    @property
    def gap(self) -> tuple[float, float, float]:
        """Success with meanings met in training less that with new combinations, and its 95 % interval (Newcombe)."""
        met, new = self.by_kind[KINDS[0]], self.by_kind[KINDS[1]]
        difference = met.value - new.value
        below = np.hypot(met.value - met.low, new.high - new.value)
        above = np.hypot(met.high - met.value, new.value - new.low)
        return difference, float(difference - below), float(difference + above)

    @property
    def p_value(self) -> float:
        """Two-sided, that the two succeed alike (two proportions, normal approximation)."""
        met, new = self.by_kind[KINDS[0]], self.by_kind[KINDS[1]]
        if not met.trials or not new.trials:
            return float("nan")
        pooled = (met.successes + new.successes) / (met.trials + new.trials)
        spread = np.sqrt(pooled * (1 - pooled) * (1 / met.trials + 1 / new.trials))
        return float(2 * norm.sf(abs(met.value - new.value) / spread)) if spread > 0 else 1.0

    def to_frame(self) -> pd.DataFrame:
        """One row per kind: kind, meanings, dialogues, success, low, high, and the mean score where there is one."""
        rows = [
            (kind, self.meanings[kind], r.trials, r.value, r.low, r.high, self.scores.get(kind))
            for kind, r in self.by_kind.items()
            if r.trials
        ]
        names = ["meaning", "meanings", "dialogues", "success", "low", "high", "mean_score"]
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


def generalisation(table: DialogueTable, kinds: Ints, graded: bool | None = None) -> Generalisation:
    """Success of the dialogues of each kind.

    Parameters
    ----------
    table : DialogueTable
        Dialogues of one frozen policy, with all meanings.
    kinds : array `[D]`
        Of `MetMeanings.kinds`, or of what the game held out.
    graded : bool, optional
        Whether the game has degrees of success; by default where the scores say so.

    Returns
    -------
    Generalisation
        `by_kind`, `scores`, `meanings`, `gap`, `p_value`.

    Examples
    --------
    `generalisation(table, met.kinds(table)).by_kind["new combination"]`
    """
    graded = not np.array_equal(table.score, table.success) if graded is None else graded
    by_kind, scores, meanings = {}, {}, {}
    for k, name in enumerate(KINDS):
        those: Bools = kinds == k
        by_kind[name] = rate(int(table.success[those].sum()), int(those.sum()))
        meanings[name] = (
            len(numbered(table.private[those].astype(np.int64).reshape(int(those.sum()), -1))[0]) if those.any() else 0
        )
        if graded and those.any():
            scores[name] = float(table.score[those].mean())
    return Generalisation(by_kind, scores, meanings)
