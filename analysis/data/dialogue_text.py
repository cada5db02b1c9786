"""Small tables of dialogues from plain lists, and a dialogue as one line of text."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from emcomm.dialogues import DialogueTable
from envs.game import Ints
from envs.negotiation import SILENT

Rounds = Sequence[Sequence[int]]
"""A dialogue as rounds of symbols: [(4, 2), (5, 5)]."""


def table_of(
    dialogues: Sequence[Rounds],
    moves: Sequence[Sequence[int]] | None = None,
    cut: Sequence[bool] | None = None,
) -> DialogueTable:
    """A table of simultaneous dialogues, one episode each; success is to move differently.

    `moves` default to agent 0 taking the detour (move 1) and all others the main line.

    >>> table_of([[(4, 2), (5, 5)]]).symbols.tolist()
    [[4, 2], [5, 5]]
    """
    count = len(dialogues)
    n_rounds = np.array([len(d) for d in dialogues], np.int32)
    rows = [row for dialogue in dialogues for row in dialogue]
    agents = len(rows[0]) if rows else len(moves[0]) if moves else 2
    joint = np.array([(1, *[0] * (agents - 1))] * count if moves is None else moves, np.int16).reshape(count, agents)
    ordered = np.sort(joint, axis=1)
    success = (ordered[:, 1:] != ordered[:, :-1]).all(axis=1)
    return DialogueTable(
        episode=np.arange(count),
        negotiation=np.zeros(count, np.int32),
        worker=np.zeros(count, np.int16),
        policy_version=np.zeros(count, np.int64),
        n_rounds=n_rounds,
        symbols=np.array(rows, np.int8).reshape(-1, agents),
        speakers=np.zeros((0, agents), np.int8),
        moves=joint,
        rewards=np.where(success, 1, -1).astype(np.float32)[:, None].repeat(agents, axis=1),
        success=success,
        cut=np.array(cut if cut is not None else [False] * count, np.bool_),
        private=np.zeros((count, agents, 0), np.float32),
    )


def line(symbols: Ints, eot: int | None = None) -> str:
    """A dialogue `[rounds, N]` as one line of the talk's table; a cell in which nothing was said is a dash.

    The symbol `eot` is written EOT; by default as the number that it is.

    >>> line(np.array([[4, 2], [5, 5]]))
    '4 2 · 5 5'
    >>> line(np.array([[4, 2], [5, 5]]), eot=5)
    '4 2 · EOT EOT'
    >>> line(np.array([[3, SILENT], [5, 5]]))
    '3 – · 5 5'
    >>> line(np.zeros((0, 2), np.int8))
    '(no talk)'
    """
    if not len(symbols):
        return "(no talk)"
    named = {SILENT: "–"} | ({} if eot is None else {eot: "EOT"})
    return " · ".join(" ".join(named.get(s, str(s)) for s in row) for row in symbols.tolist())
