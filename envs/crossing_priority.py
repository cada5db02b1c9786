"""The priority crossing: two trains meet, each knows its own delay, and the more delayed one must get the main line.

Each train takes the main line or the detour, at the same moment. Where one is more delayed it must be on the main line
and the other on the detour; where both are equally delayed, any parting will do. Success: +1 each; otherwise -1 each.
Trains that always part, but do not mind their delays, succeed in (k + 1) / 2k of the games: 60 % for k = 5 delays.
"""

from __future__ import annotations

import numpy as np

from envs.crossing import MAIN
from envs.game import Attribute, BadOption, Bools, Decision, Floats, Ints, Outcome, Words


class CrossingPriorityGame:
    """`n_games` priority crossings at once; one move each, then the episode ends.

    Parameters
    ----------
    n_delays : int
        How late a train may be: 0 … n_delays - 1, all equally often (levels).

    A train sees its own delay, one-hot. Raises BadOption for fewer than 2 or more than 100 delays.

    Version history: v1, as `envs.NegotiationEnv`; v0.
    """

    n_agents = 2
    agent_names = ("train_0", "train_1")
    move_names: tuple[str, ...] = ("main", "detour")
    decisions = (
        Decision("who yields", "yields"),
        Decision("the delay of train_0", "attribute", agent=0, attribute="delay"),
    )
    words = Words(
        "train",
        failure="crash or wrong priority",
        goal="The trains part, and the more delayed one gets the main line.",
    )

    def __init__(self, n_games: int, rng: np.random.Generator, n_delays: int = 5) -> None:
        if not 2 <= n_delays <= 100:
            raise BadOption(f"n_delays must be from 2 to 100, not {n_delays}")
        self.n_games, self._rng, self.n_delays = n_games, rng, n_delays
        self.attributes = (Attribute("delay", n_delays),)
        self.feature_bounds: tuple[Floats, Floats] = (np.zeros(n_delays, np.float32), np.ones(n_delays, np.float32))
        self.delay = np.zeros((n_games, 2), np.int64)
        self._features = np.zeros((n_games, 2, n_delays), np.float32)
        self._every_move = np.ones((n_games, 2, 2), np.bool_)
        self._both = np.ones((n_games, 2), np.bool_)

    def reset(self, which: Bools) -> None:
        """Draw the delays."""
        self.delay[which] = self._rng.integers(self.n_delays, size=(int(which.sum()), 2))
        self._features[which] = self.delay[which][..., None] == np.arange(self.n_delays)

    def observe(self) -> Floats:
        return self._features

    def private(self) -> Floats:
        return self.delay[..., None].astype(np.float32)

    def legal_moves(self) -> Bools:
        return self._every_move

    def active(self) -> Bools:
        return self._both

    @staticmethod
    def succeeds(moves: Ints, private: Floats) -> Bools:
        first, second = private[:, 0, 0], private[:, 1, 0]
        in_order = ((first <= second) | (moves[:, 0] == MAIN)) & ((second <= first) | (moves[:, 1] == MAIN))
        return np.asarray((moves[:, 0] != moves[:, 1]) & in_order)

    def play(self, moves: Ints, which: Ints) -> Outcome:
        success = self.succeeds(moves, self.private()[which])
        rewards = np.where(success, 1, -1).astype(np.float32)[:, None].repeat(2, axis=1)
        ended = np.ones((len(moves), 2), np.bool_)
        return Outcome(rewards, success, ended, ~ended)
