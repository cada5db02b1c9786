"""How the vote of a protocol changes over training, and how differently two networks decide."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.agents.cross_play import cosine
from analysis.automata.decision_rules import Vote, fit_vote
from analysis.data.decisions import NO_SUCCESS, NotApplicable, Scores, decisions, split, who_yields
from emcomm.dialogues import DialogueTable
from emcomm.statistics import Rate, rate
from envs.game import Floats, Ints

Yields = Callable[[Ints, Ints], Floats | Scores]
"""Dialogues `[D, R, 2]` and rounds `[D]` -> the probability `[D, 2]` that each agent yields."""


def vote_weights(table: DialogueTable, n_tokens: int, dialogues: int = 10_000) -> Floats:
    """`[n_tokens + 1]` the weight by which each token and EOT counts for yielding, centred."""
    return _centred(fit_vote(decisions(table, n_tokens, dialogues)), n_tokens)


def behavioural_distances(protocols: Sequence[Yields], symbols: Ints, n_rounds: Ints) -> Scores:
    """`[P, P]` share of views of the dialogues `[D, R, 2]` after which two protocols move differently (greedily)."""
    yields = np.stack([protocol(symbols, n_rounds) > 0.5 for protocol in protocols])
    return (yields[:, None] != yields[None]).mean(axis=(2, 3))


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
        if not block.judged:
            raise NotApplicable(NO_SUCCESS)
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
