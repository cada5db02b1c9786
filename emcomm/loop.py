"""The loop in which anything plays: actions in, whole episodes out. It needs neither torch nor ray."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from emcomm.dialogues import DialogueTable, EpisodeCollector
from envs.game import Bools, Ints
from envs.negotiation import Dialogues, Negotiation, Observation

EVERY = 64
"""Steps after which the episodes that have ended are handed on."""


def episodes(
    negotiation: Negotiation,
    act: Callable[[Observation], Ints],
    restart: Callable[[Bools], None],
    count: int,
    version: int = 0,
    players: Callable[[Dialogues], Ints | None] = lambda done: None,
    forget: Callable[[Bools], None] = lambda gone: None,
    tick: Callable[[int], None] = lambda joint_moves: None,
) -> Iterator[DialogueTable]:
    """The dialogues of exactly `count` episodes, a part at a time.

    `act` gives everyone's actions `[B, N]`; `restart` is told the games `[B]` that start anew; `players` says which of
    several networks held the dialogues that have just ended; `forget` is told who takes part no more, `[B, N]`;
    `tick` is called at each step with the joint moves played so far, those of other episodes included. The
    episodes counted are the first that were *started*: to count the first that end would favour short talks.
    """
    collector = EpisodeCollector(negotiation.n_games, worker=-1, limit=count)
    negotiation.reset()
    steps = joint_moves = 0
    while not collector.complete:
        step = negotiation.step(act(negotiation.observe()))
        collector.add(step.dialogues, version, players(step.dialogues))
        negotiation.reset(step.over)
        restart(step.over)
        if step.gone.any():
            forget(step.gone)
        steps, joint_moves = steps + 1, joint_moves + len(step.dialogues.game)
        tick(joint_moves)
        if steps % EVERY == 0 and (table := collector.take()) is not None:
            yield table
    if (table := collector.take()) is not None:
        yield table


def numbered(tables: Iterator[DialogueTable]) -> Iterator[DialogueTable]:
    """The same with episodes numbered on from one part to the next."""
    first = 0
    for table in tables:
        yield DialogueTable(**{**table.__dict__, "episode": table.episode + first})
        first += int(np.max(table.episode, initial=-1)) + 1
