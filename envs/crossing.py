"""The crossing: two identical trains meet and must part.

Each takes the main line or the detour, at the same moment. Same choice: crash (-1 each); otherwise +1 each.
A train sees nothing that tells it from the other, so without talk no pair of identical trains succeeds more than half
the time.
"""

from __future__ import annotations

import numpy as np

from envs.game import Bools, Decision, Floats, Ints, Outcome, Words

MAIN, DETOUR = 0, 1


class CrossingGame:
    """`n_games` crossings at once; one move each, then the episode ends.

    Version history: v1, as `envs.NegotiationEnv`; v0, the game of the 2022 talk.
    """

    n_agents = 2
    agent_names = ("train_0", "train_1")
    move_names: tuple[str, ...] = ("main", "detour")
    decisions = (Decision("who yields", "yields"),)
    words = Words("train", failure="crash", goal="The trains part when one takes the main line and one the detour.")
    feature_bounds: tuple[Floats, Floats] = (np.zeros(0, np.float32), np.zeros(0, np.float32))

    def __init__(self, n_games: int, rng: np.random.Generator) -> None:
        del rng  # nothing in the crossing is random
        self.n_games = n_games
        self._nothing = np.zeros((n_games, 2, 0), np.float32)
        self._every_move = np.ones((n_games, 2, 2), np.bool_)
        self._both = np.ones((n_games, 2), np.bool_)

    def reset(self, which: Bools) -> None:
        """All crossings are alike: nothing to draw."""

    def observe(self) -> Floats:
        return self._nothing

    def private(self) -> Floats:
        return self._nothing

    def legal_moves(self) -> Bools:
        return self._every_move

    def active(self) -> Bools:
        return self._both

    @staticmethod
    def succeeds(moves: Ints, private: Floats) -> Bools:
        return np.asarray(moves[:, 0] != moves[:, 1])

    def play(self, moves: Ints, which: Ints) -> Outcome:
        parted = self.succeeds(moves, self._nothing[which])
        rewards = np.where(parted, 1, -1).astype(np.float32)[:, None].repeat(2, axis=1)
        ended = np.ones((len(moves), 2), np.bool_)
        return Outcome(rewards, parted, ended, ~ended)
