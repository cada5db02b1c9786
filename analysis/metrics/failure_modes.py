"""Why a negotiation failed, as far as its dialogue, and the network where there is one, can tell.

| kind | meaning |
|---|---|
| no talk | the moves were played without a word |
| cut while tied | the talk ran into `max_rounds`, and nothing had told the agents apart by then |
| cut | the talk ran into `max_rounds` |
| tie at the end | the talk was closed although nothing had told the agents apart, and they must move differently |
| slip of sampling | the most probable moves would have succeeded, the sampled ones did not |
| misreading | even the most probable moves fail: the agents understood the dialogue differently |
| slip or misreading | one of these two: without the network, or where more than moves decides, nobody can say |

A dialogue gets the first kind that fits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.data.decisions import NO_SUCCESS, NotApplicable
from emcomm.dialogues import DialogueTable
from envs.game import Bools, Floats, Ints

KINDS = (
    "no talk",
    "cut while tied",
    "cut",
    "tie at the end",
    "slip of sampling",
    "misreading",
    "slip or misreading",
)


class JointMoves:
    """Which joint moves do what the game asks for: as the game declares, or else as the dialogues at hand show.

    What agents know and see counts to what a joint move is made in. Nothing is known of a joint move that was never
    made, and nothing at all where the same one brought both success and failure: then something else matters, too.
    """

    def __init__(self, roles: Sequence[int], succeeds: Callable[[Ints, Floats], Bools] | None = None) -> None:
        self._roles, self._succeeds = tuple(roles), succeeds
        self._known: dict[bytes, bool] = {}
        self.consistent = True
        self._same_move: set[bool] = set()  # what it has brought

    def learn(self, table: DialogueTable) -> JointMoves:
        """Take in the outcomes of `table`; nothing where it says none."""
        if not table.judged:
            return self
        alike = np.zeros(len(table), np.bool_)
        for i, j in self._exchangeable():
            alike |= (table.moves[:, i] == table.moves[:, j]) & (table.moves[:, i] >= 0)
        self._same_move.update(np.unique(table.success[alike]).tolist())
        if self._succeeds is not None or not self.consistent or not len(table):
            return self
        keys = self._keys(table.moves, table)
        _, first, which = np.unique(keys, return_index=True, return_inverse=True)
        successes = np.bincount(which.reshape(-1), table.success)
        mixed = (successes > 0) & (successes < np.bincount(which.reshape(-1)))
        for row in first.tolist():
            known = self._known.setdefault(keys[row].tobytes(), bool(table.success[row]))
            mixed |= known != table.success[row]
        self.consistent = not mixed.any()
        return self

    def outcome(self, moves: Ints, table: DialogueTable) -> NDArray[np.int8]:
        """int8 `[D]` what `moves` `[D, N]` would have brought in the dialogues of `table`: 1, 0, or -1 for unknown."""
        if self._succeeds is not None:
            return self._succeeds(moves, table.private).astype(np.int8)
        if not self.consistent:
            return np.full(len(table), -1, np.int8)
        known = [self._known.get(key.tobytes()) for key in self._keys(moves, table)]
        return np.array([-1 if one is None else int(one) for one in known], np.int8)

    @property
    def must_differ(self) -> bool:
        """Whether agents that nothing tells apart cannot be sure to succeed: the same move was made, and never did."""
        return self._same_move == {False}

    def _exchangeable(self) -> list[tuple[int, int]]:
        agents = range(len(self._roles))
        return [(i, j) for i in agents for j in range(i) if self._roles[i] == self._roles[j]]

    def _keys(self, moves: Ints, table: DialogueTable) -> NDArray[Any]:
        """`[D]` one value for each joint move in its circumstances."""
        rows = len(moves)
        parts = [moves.astype(np.float32), table.private.reshape(rows, -1), table.features.reshape(rows, -1)]
        flat = np.ascontiguousarray(np.concatenate(parts, axis=1).astype(np.float32))
        return flat.view(np.dtype((np.void, flat.dtype.itemsize * flat.shape[1]))).ravel()


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
    table: DialogueTable, move_probs: NDArray[np.floating] | None = None, joint: JointMoves | None = None
) -> NDArray[np.int8]:
    """int8 `[D]` the index into `KINDS` for each failed dialogue, -1 for a success.

    `move_probs` `[D, N, M]`: the network's probability of each move after the dialogue; without it the last two causes
    stay together. `joint` says which joint moves the game asks for; by default, what the table itself shows.

    Parameters
    ----------
    table : DialogueTable
        Dialogues.
    move_probs : array, optional
        `[D, N, M]`
    joint : JointMoves, optional
        Which joint moves succeed.

    Returns
    -------
    array of int8
        `[D]`; raises NotApplicable where the game declares no success.

    Examples
    --------
    >>> from analysis.data.dialogue_text import table_of
    >>> table = table_of([[], [(3, 1), (5, 5)], [(3, 1), (5, 5)]], moves=[(0, 0), (1, 1), (1, 0)])
    >>> [KINDS[k] if k >= 0 else "success" for k in failure_kinds(table)]
    ['no talk', 'slip or misreading', 'success']
    >>> leaning = np.array([[[0.5, 0.5], [0.5, 0.5]], [[0.1, 0.9], [0.6, 0.4]], [[0.1, 0.9], [0.6, 0.4]]])
    >>> KINDS[failure_kinds(table, leaning)[1]]
    'slip of sampling'
    """
    if not table.judged:
        raise NotApplicable(NO_SUCCESS)
    joint = joint or JointMoves([0] * table.moves.shape[1]).learn(table)
    tie = tied(table) & joint.must_differ
    greedy = np.full(len(table), -1, np.int8)
    if move_probs is not None:
        assert move_probs.shape[:2] == table.moves.shape
        greedy = joint.outcome(np.where(table.moves < 0, -1, move_probs.argmax(axis=2)), table)
    conditions = [table.n_rounds == 0, table.cut & tie, table.cut, tie, greedy == 1, greedy == 0, greedy < 0]
    return np.where(table.success, -1, np.select(conditions, range(len(KINDS)))).astype(np.int8)
