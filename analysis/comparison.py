"""Runs beside each other: distance between protocols, cross-play, and drift over training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from analysis.decisions import Scores, decisions, split, who_yields
from analysis.players import MakeGame, Player, play_games, success_of
from analysis.rules import Vote, fit_vote
from emcomm.dialogues import DialogueTable
from emcomm.statistics import Rate, rate
from envs.crossing import CrossingGame
from envs.game import Floats, Ints
from envs.negotiation import TalkRules

Yields = Callable[[Ints, Ints], Floats | Scores]
"""Dialogues `[D, R, 2]` and rounds `[D]` -> the probability `[D, 2]` that each agent yields."""


# -- distance ----------------------------------------------------------------------------------------------------------


def vote_weights(table: DialogueTable, n_tokens: int, dialogues: int = 10_000) -> Floats:
    """`[n_tokens + 1]` the weight by which each token and EOT counts for yielding, centred."""
    return _centred(fit_vote(decisions(table, n_tokens, dialogues)), n_tokens)


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


def behavioural_distances(protocols: Sequence[Yields], symbols: Ints, n_rounds: Ints) -> Scores:
    """`[P, P]` share of views of the dialogues `[D, R, 2]` after which two protocols move differently (greedily)."""
    yields = np.stack([protocol(symbols, n_rounds) > 0.5 for protocol in protocols])
    return (yields[:, None] != yields[None]).mean(axis=(2, 3))


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
    """Let every protocol play every other in both seatings; `seats` make a new player of each protocol."""
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


@dataclass(frozen=True)
class DriftPoint:
    """The protocol in one block of training."""

    first_episode: int
    last_episode: int
    success: Rate
    weights: Floats
    """`[n_tokens + 1]` the vote weights."""
    accuracy: Rate
    """Held-out yielders of the block that the vote names: whether there is a vote at all."""
    similarity: float
    """Cosine of the weights with those of the last block; NaN where nothing was said."""
    agreement: float
    """Share of the last block's dialogues after which this block's vote decides as the last block's does."""


def drift(blocks: Iterable[DialogueTable], n_tokens: int, dialogues: int = 10_000) -> tuple[DriftPoint, ...]:
    """The vote in each block of training, and how near it is to the last block's; up to `dialogues` of each count."""
    points: list[DriftPoint] = []
    votes: list[Vote] = []
    last = None
    for block in blocks:
        if not len(block):
            continue
        last = decisions(block, n_tokens, dialogues)
        fitting, scoring = split(last)
        votes.append(fit_vote(fitting))
        accuracy = rate(*who_yields(votes[-1].scores(scoring.symbols, scoring.n_rounds), scoring))
        episodes, success = block.episode, rate(int(block.success.sum()), len(block))
        weights = _centred(votes[-1], n_tokens)
        nan = float("nan")
        points.append(DriftPoint(int(episodes.min()), int(episodes.max()), success, weights, accuracy, nan, nan))
    if last is None:
        return ()
    decided = [np.sign(vote.scores(last.symbols, last.n_rounds)) for vote in votes]
    return tuple(
        replace(
            point,
            similarity=cosine(point.weights, points[-1].weights),
            agreement=float((signs == decided[-1]).mean()),
        )
        for point, signs in zip(points, decided, strict=True)
    )


def _centred(vote: Vote, n_tokens: int) -> Floats:
    weights = vote.weights[: n_tokens + 1]
    return weights - weights.mean()


def blocks_of(table: DialogueTable, count: int) -> list[DialogueTable]:
    """A table cut into `count` blocks of consecutive dialogues, about equally long."""
    edges = np.linspace(0, len(table), count + 1).astype(int)
    return [table[a:b] for a, b in pairwise(edges) if b > a]
