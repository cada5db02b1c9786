"""Runs beside each other: distance between protocols, cross-play, and drift over training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from analysis.agents.players import MakeGame, Player, play_games, success_of
from analysis.data.decisions import Scores
from emcomm.dialogues import DialogueTable
from emcomm.statistics import Rate
from envs.crossing import CrossingGame
from envs.game import Floats
from envs.negotiation import TalkRules

# -- distance ----------------------------------------------------------------------------------------------------------


def cosine(a: Floats, b: Floats) -> float:
    """The cosine of two weight vectors; NaN where one is zero.

    >>> round(cosine(np.array([1.0, -1.0, 0.0]), np.array([1.0, 0.0, -1.0])), 6)
    0.5
    """
    norm = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / norm if norm > 1e-12 else float("nan")


def cosines(weights: Sequence[Floats]) -> Scores:
    """`[P, P]` the cosine of every two weight vectors."""
    return np.array([[cosine(a, b) for b in weights] for a in weights])


# -- cross-play --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CrossPlay:
    """Every protocol with every other: `P` in rows take seat 0, in columns seat 1."""

    names: tuple[str, ...]
    success: tuple[tuple[Rate, ...], ...]
    mean_rounds: Scores
    """`[P, P]`"""

    @property
    def rates(self) -> Scores:
        """`[P, P]` success, both seatings of a pair in the two cells mirrored at the diagonal."""
        return np.array([[cell.value for cell in row] for row in self.success])


def cross_play(
    names: Sequence[str],
    seats: Sequence[Callable[[], Player]],
    rules: TalkRules,
    games: int = 2_000,
    seed: int = 0,
    make_game: MakeGame = CrossingGame,
) -> CrossPlay:
    """Let every protocol play every other in both seatings; `seats` make a new player of each protocol.

    Parameters
    ----------
    names : sequence of str
        Of the protocols.
    seats : sequence of callables
        Each makes a new player.
    rules, games, seed, make_game
        As for `play_games`.

    Returns
    -------
    CrossPlay
        `names`; `success[i][j]` with protocol i in seat 0 and j in seat 1; `mean_rounds`; `rates`.

    Examples
    --------
    `analysis.cross_play(["a", "b"], [lambda: player(a), lambda: player(b)], rules).rates`
    """
    tables = [[play_games((row(), column()), rules, games, seed, make_game) for column in seats] for row in seats]
    return CrossPlay(
        tuple(names),
        tuple(tuple(success_of(table) for table in row) for row in tables),
        np.array([[table.n_rounds.mean() for table in row] for row in tables]),
    )


@dataclass(frozen=True)
class Prediction:
    """How well the vote weights predict who can play whom."""

    correlation: float
    """Pearson's, of the cosine of two protocols' weights with their success; NaN with fewer than three pairs."""
    pairs: int
    """Pairs of different protocols."""


def predict_cross_play(played: CrossPlay, weights: Sequence[Floats]) -> Prediction:
    """Compare the cosines of `weights` with success in cross-play, both seatings averaged, self-play left out."""
    above = np.triu_indices(len(played.names), 1)
    success = ((played.rates + played.rates.T) / 2)[above]
    similar = cosines(weights)[above]
    known = np.isfinite(similar) & np.isfinite(success)
    if known.sum() < 3 or np.ptp(similar[known]) < 1e-12 or np.ptp(success[known]) < 1e-12:
        return Prediction(float("nan"), int(known.sum()))
    return Prediction(float(np.corrcoef(similar[known], success[known])[0, 1]), int(known.sum()))


# -- drift -------------------------------------------------------------------------------------------------------------


def blocks_of(table: DialogueTable, count: int) -> list[DialogueTable]:
    """A table cut into `count` blocks of consecutive dialogues, about equally long."""
    edges = np.linspace(0, len(table), count + 1).astype(int)
    return [table[a:b] for a, b in pairwise(edges) if b > a]
