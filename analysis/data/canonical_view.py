"""Each dialogue seen from one of its two agents, chosen by what was said alone, so that swapped dialogues coincide.

Identical, anonymous agents make a swapped dialogue as likely as the dialogue itself, with the other agent yielding.
Where all speak at once, a dialogue is seen from the agent that said the larger symbol in the first round in which the
two differed; before that round it is its own mirror image and cannot tell who yields. Where agents speak one after the
other, it is seen from the agent that spoke first. A protocol has then to be learned once, not for each orientation.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from emcomm.dialogues import DialogueTable
from envs.game import Bools, Ints


class Oriented(NamedTuple):
    """`D` dialogues of two agents that moved differently, each seen from one of them."""

    own: Ints
    """int8 `[D, T]` what that agent said in each round, SILENT after the end of the dialogue."""
    other: Ints
    """int8 `[D, T]` what the other one said."""
    yields: Bools
    """`[D]` whether that agent, and not the other, took the move asked for."""
    first: Ints
    """`[D]` the round, from 0, from which the two can be told apart; T where they never can."""
    ordered: bool
    """Whether agents spoke one after the other: then the order told them apart before the first symbol."""


def orient(table: DialogueTable, rounds: int, move: int = 1) -> Oriented:
    """The dialogues of `table` in which exactly one of two agents took `move`, up to round `rounds`.

    >>> from analysis.data.dialogue_text import table_of
    >>> seen = orient(table_of([[(2, 2), (0, 4), (5, 5)]], moves=[(1, 0)]), rounds=3)
    >>> seen.own.tolist(), seen.yields.tolist(), seen.first.tolist()
    ([[2, 4, 5]], [False], [1])
    """
    assert table.symbols.shape[1] == 2, "who yields is defined for two agents"
    table = table[(table.moves == move).sum(axis=1) == 1]
    said = table.padded(rounds)
    ordered = len(table.speakers) > 0
    differs = said[..., 0] != said[..., 1]
    if ordered:
        first = np.zeros(len(table), np.int64)
        opener = np.zeros(len(table), np.int64)
        talked = table.n_rounds > 0
        opener[talked] = table.speakers[table.starts[:-1][talked], 0]
    else:
        first = np.where(differs.any(axis=1), differs.argmax(axis=1), rounds)
        at = np.minimum(first, rounds - 1)
        opener = said[np.arange(len(table)), at].argmax(axis=1)
    own, other = (np.take_along_axis(said, agent[:, None, None], 2)[..., 0] for agent in (opener, 1 - opener))
    yields: Bools = table.moves[np.arange(len(table)), opener] == move
    return Oriented(own, other, yields, first, ordered)
