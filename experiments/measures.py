"""What several experiments measure on a trained run."""

from __future__ import annotations

from typing import Any

import numpy as np

from emcomm.dialogues import DialogueTable, concatenate, iterate
from emcomm.networks.policy import Policy
from emcomm.runs import Run
from emcomm.worlds import load_policy


def network_of(run: Run) -> Policy:
    """The trained network (or population) of a run."""
    return load_policy(run)[0]


def evaluation_of(run: Run, dialogues: int | None = None) -> DialogueTable:
    """The dialogues of the frozen policy: all, or `dialogues` drawn at random (the first to end are the shortest)."""
    table = concatenate(iterate(run.evaluation, refuse))
    return table if dialogues is None else table[np.random.default_rng(0).permutation(len(table))[:dialogues]]


def refuse(error: Exception) -> None:
    """A damaged part of a log ends the measurement."""
    raise error


def course(run: Run, points: int = 48) -> dict[str, Any]:
    """Success and rounds over training, in stretches that grow with the episodes.

    `course_episodes` [points + 1] are the edges of the stretches, `course_success` and `course_rounds` their means.
    """
    episodes = run.config.episodes
    edges = np.unique(np.geomspace(max(episodes / 2_000, 20), episodes, points).astype(int))
    edges = np.concatenate([[0], edges])
    sums = np.zeros((3, len(edges) - 1))
    for table in iterate(run.dialogues, refuse):
        stretch = np.searchsorted(edges, table.episode, side="right") - 1
        for i, values in enumerate((np.ones(len(table)), table.success, table.n_rounds)):
            sums[i] += np.bincount(stretch, values, len(edges) - 1)[: len(edges) - 1]
    count, success, rounds = sums
    share = np.where(count > 0, 1 / np.maximum(count, 1), np.nan)
    return {
        "course_episodes": edges.tolist(),
        "course_success": (success * share).round(5).tolist(),
        "course_rounds": (rounds * share).round(4).tolist(),
    }
