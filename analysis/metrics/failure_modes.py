"""Why a negotiation failed, as far as its dialogue, and the network where there is one, can tell.

| kind | meaning |
|---|---|
| no talk | the moves were played without a word |
| cut while tied | the talk ran into `max_rounds`, and nothing had told the agents apart by then |
| cut | the talk ran into `max_rounds` |
| tie at the end | the talk was closed although nothing had told the agents apart |
| slip of sampling | the most probable moves would have succeeded, the sampled ones did not |
| misreading | even the most probable moves fail: the agents understood the dialogue differently |
| slip or misreading | one of these two; without the network nobody can say which |

A dialogue gets the first kind that fits.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from emcomm.dialogues import DialogueTable
from envs.game import Bools, Ints

KINDS = (
    "no talk",
    "cut while tied",
    "cut",
    "tie at the end",
    "slip of sampling",
    "misreading",
    "slip or misreading",
)


def parted(moves: Ints) -> Bools:
    """`[D]` whether all agents moved differently, `moves` `[D, N]`: what the crossing asks for.

    >>> parted(np.array([[0, 1], [1, 1]]))
    array([ True, False])
    """
    ordered = np.sort(moves, axis=1)
    return np.asarray((ordered[:, 1:] != ordered[:, :-1]).all(axis=1))


def tied(table: DialogueTable) -> Bools:
    """`[D]` whether two agents have seen the same up to swapping them: nothing tells them apart.

    True where the columns of two agents are the same in every round, and what they know privately too. Never true where
    agents speak one after the other, for the order tells them apart, nor after the first negotiation of an episode,
    for earlier moves may. What a noisy or distorted channel made of the symbols is not in the log.

    >>> from analysis.data.dialogue_text import table_of
    >>> tied(table_of([[(3, 3), (5, 5)], [(3, 1), (5, 5)], []]))
    array([ True, False,  True])
    """
    same = np.zeros(len(table), np.bool_)
    if len(table.speakers):
        return same
    agents = table.symbols.shape[1]
    for i in range(agents):
        for j in range(i):
            alike = np.concatenate([[0], np.cumsum(table.symbols[:, i] != table.symbols[:, j])])[table.starts]
            knows_alike = (table.private[:, i] == table.private[:, j]).all(axis=1)
            same |= (alike[1:] == alike[:-1]) & knows_alike
    return same & (table.negotiation == 0)


def failure_kinds(
    table: DialogueTable,
    move_probs: NDArray[np.floating] | None = None,
    succeeds: Callable[[Ints], Bools] = parted,
) -> NDArray[np.int8]:
    """int8 `[D]` the index into `KINDS` for each failed dialogue, -1 for a success.

    `move_probs` `[D, N, M]`: the network's probability of each move after the dialogue; without it the last two causes
    stay together. `succeeds` says which joint moves `[D, N]` the game asks for.

    >>> from analysis.data.dialogue_text import table_of
    >>> table = table_of([[], [(3, 1), (5, 5)], [(3, 1), (5, 5)]], moves=[(0, 0), (1, 1), (1, 0)])
    >>> [KINDS[k] if k >= 0 else "success" for k in failure_kinds(table)]
    ['no talk', 'slip or misreading', 'success']
    >>> leaning = np.array([[[0.5, 0.5], [0.5, 0.5]], [[0.1, 0.9], [0.6, 0.4]], [[0.1, 0.9], [0.6, 0.4]]])
    >>> KINDS[failure_kinds(table, leaning)[1]]
    'slip of sampling'
    """
    tie = tied(table)
    unknown = np.ones(len(table), np.bool_)
    slip = np.zeros(len(table), np.bool_)
    if move_probs is not None:
        assert move_probs.shape[:2] == table.moves.shape
        greedy = np.where(table.moves < 0, -1, move_probs.argmax(axis=2))
        slip, unknown = succeeds(greedy), ~unknown
    conditions = [table.n_rounds == 0, table.cut & tie, table.cut, tie, slip, ~unknown, unknown]
    return np.where(table.success, -1, np.select(conditions, range(len(KINDS)))).astype(np.int8)
