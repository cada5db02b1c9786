"""What several experiments measure on a trained run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from analysis.causal.channel_controls import channel_controls
from analysis.causal.listening import listening
from analysis.data.decisions import NotApplicable
from analysis.data.runs import LoadedRun, TrainedPolicy
from analysis.report.study import QUICK, Study
from emcomm.dialogues import DialogueTable, concatenate
from emcomm.errors import BadInput
from emcomm.networks.policy import Policy


def trained(run: LoadedRun) -> TrainedPolicy:
    """The policy that played the evaluation of a run; raises BadInput where there is none."""
    policy = run.checkpoint()
    _require_whole(run)
    assert policy is not None
    return policy


def network_of(run: LoadedRun) -> Policy:
    """The trained network (or population) of a run."""
    return trained(run).policy


def evaluation_of(run: LoadedRun, dialogues: int | None = None) -> DialogueTable:
    """The dialogues of the frozen policy: all, or `dialogues` drawn at random (the first to end are the shortest)."""
    table = whole(run, run.evaluation())
    return table if dialogues is None else table.drawn(dialogues, np.random.default_rng(0))


def whole(run: LoadedRun, tables: Iterable[DialogueTable]) -> DialogueTable:
    """All dialogues of a log; raises BadInput where a part is damaged or there is none."""
    parts = list(tables)
    _require_whole(run)
    if not parts:
        raise BadInput(f"{run.path} has no dialogues")
    return concatenate(parts)


def _require_whole(run: LoadedRun) -> None:
    """Raise BadInput where something of the run could not be read: it ends a measurement."""
    if run.problems:
        raise BadInput(run.problems[0])


def under_channels(
    run: LoadedRun, quick: bool, channels: Sequence[str] = ("constant", "shuffled"), games: int = 20_000
) -> dict[str, float]:
    """The channel controls: success of the trained policy with each channel, by name, as `under_shuffled`."""
    controls = channel_controls(network_of(run), run.config, 300 if quick else games, channels)
    return {f"under_{c.channel}": c.success.value for c in controls if c.success is not None}


def played_under(
    run: LoadedRun, quick: bool, channels: Sequence[str] = ("constant", "shuffled"), games: int = 20_000
) -> dict[str, float]:
    """The channel controls in games where success does not say all: `return_shuffled`, `score_shuffled` … by channel.

    A channel outside emcomm has the name of its class, as `return_Disconnected`.
    """
    found: dict[str, float] = {}
    for control in channel_controls(network_of(run), run.config, 300 if quick else games, channels):
        name = control.channel.rpartition(":")[2]
        found |= {f"return_{name}": control.mean_return, f"score_{name}": control.score}
    return found


def heeded(run: LoadedRun, dialogues: int = 2_000) -> dict[str, float]:
    """Positive listening, mean over the roles that hear something: `heeded_bits` of a move that the talk decides, and
    the same for the network made deaf, `heeded_null`. NaN where there is no talk to heed."""
    study = Study(run, replace(QUICK, dialogues=dialogues))
    network = trained(run)
    try:
        found = listening(network.policy, network.config.rules, study.spoken, study.situation)
    except NotApplicable:
        return {"heeded_bits": float("nan"), "heeded_null": float("nan")}
    return {
        "heeded_bits": float(np.mean([one.bits for one in found])),
        "heeded_null": float(np.mean([one.null for one in found])),
    }


def stretches_of(table: DialogueTable, edges: np.ndarray) -> np.ndarray:
    """int `[D]` in which stretch of training each dialogue lies; `edges` are their first episodes, and the end."""
    return np.searchsorted(edges, table.episode, side="right") - 1


def course(run: LoadedRun, points: int = 48, longest: int | None = None) -> dict[str, Any]:
    """Success and rounds over training, in stretches that grow with the episodes, up to `longest` of them.

    `course_episodes` are the edges of the stretches, `course_success` and `course_rounds` their means, and
    `course_closed` the share of the talks that both closed with EOT, and that no limit cut.
    """
    episodes = run.config.episodes
    edges = np.unique(np.geomspace(max(episodes / 2_000, 20), episodes, points).astype(int))
    if longest is not None:
        grown = edges[np.append(True, np.diff(edges) <= longest)]
        edges = np.unique([*grown, *range(grown[-1], episodes, longest), episodes])
    edges = np.concatenate([[0], edges])
    sums = np.zeros((5, len(edges) - 1))
    for table in run.training():
        stretch = stretches_of(table, edges)
        talked = table.n_rounds > 0
        seen = np.ones(len(table)), table.success, table.n_rounds, talked, talked & ~table.cut
        for i, values in enumerate(seen):
            sums[i] += np.bincount(stretch, values, len(edges) - 1)[: len(edges) - 1]
    _require_whole(run)
    count, success, rounds, held, closed = sums
    share = np.where(count > 0, 1 / np.maximum(count, 1), np.nan)
    return {
        "course_episodes": edges.tolist(),
        "course_success": (success * share).round(5).tolist(),
        "course_rounds": (rounds * share).round(4).tolist(),
        "course_closed": np.where(held > 0, closed / np.maximum(held, 1), np.nan).round(5).tolist(),
    }
