"""Games that are not the crossing, for tests: also named on command lines as `games:Name`."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

import numpy as np

from envs import Attribute, Decision, Outcome, Words

NOTHING = (np.zeros(0, np.float32), np.zeros(0, np.float32))


class Plain:
    """Two agents with two moves; what succeeds is left to subclasses. It declares nothing."""

    n_agents = 2
    move_names: tuple[str, ...] = ("left", "right")
    feature_bounds = NOTHING

    def __init__(self, n_games: int, rng: np.random.Generator) -> None:
        self.n_games = n_games

    def reset(self, which: np.ndarray) -> None:
        pass

    def observe(self) -> np.ndarray:
        return np.zeros((self.n_games, self.n_agents, 0), np.float32)

    def private(self) -> np.ndarray:
        return np.zeros((self.n_games, self.n_agents, 0), np.float32)

    def legal_moves(self) -> np.ndarray:
        return np.ones((self.n_games, self.n_agents, len(self.move_names)), np.bool_)

    def active(self) -> np.ndarray:
        return np.ones((self.n_games, self.n_agents), np.bool_)

    def good(self, moves: np.ndarray, which: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def play(self, moves: np.ndarray, which: np.ndarray) -> Outcome:
        good = self.good(moves, which)
        rewards = np.where(good, 1.0, -1.0).astype(np.float32)[:, None].repeat(self.n_agents, axis=1)
        ended = np.ones(moves.shape, np.bool_)
        return Outcome(rewards, good, ended, ~ended)


class SameMove(Plain):
    """The same one of three moves succeeds."""

    move_names = ("red", "green", "blue")

    def good(self, moves: np.ndarray, which: np.ndarray) -> np.ndarray:
        return moves[:, 0] == moves[:, 1]


class First(Plain):
    """The first of two moves succeeds where both make it."""

    def good(self, moves: np.ndarray, which: np.ndarray) -> np.ndarray:
        return (moves == 0).all(axis=1)


class Signal(Plain):
    """A sender sees one of three colours, a receiver picks one; only the sender speaks, two tokens and EOT."""

    agent_names = ("sender", "receiver")
    move_names = ("red", "green", "blue")
    roles: ClassVar = {"sender": (0,), "receiver": (1,)}
    tokens: ClassVar = {"sender": 2}
    attributes = (Attribute("colour", 3, ("red", "green", "blue")),)
    decisions = (
        Decision("the pick", "move", agent=1),
        Decision("the colour", "attribute", agent=0, attribute="colour"),
    )
    words = Words("player", "right", "wrong colour", "The players succeed when the receiver picks the sender's colour.")
    feature_bounds = (np.zeros(3, np.float32), np.ones(3, np.float32))

    def __init__(self, n_games: int, rng: np.random.Generator) -> None:
        super().__init__(n_games, rng)
        self._rng, self.colour = rng, np.zeros(n_games, np.int64)

    def reset(self, which: np.ndarray) -> None:
        self.colour[which] = self._rng.integers(3, size=int(which.sum()))

    def observe(self) -> np.ndarray:
        features = np.zeros((self.n_games, 2, 3), np.float32)
        features[np.arange(self.n_games), 0, self.colour] = 1
        return features

    def private(self) -> np.ndarray:
        return np.stack([self.colour, np.full(self.n_games, -1)], axis=1)[..., None].astype(np.float32)

    def may_speak(self) -> np.ndarray:
        return np.tile([True, False], (self.n_games, 1))

    def legal_moves(self) -> np.ndarray:
        legal = super().legal_moves()
        legal[:, 0, 1:] = False
        return legal

    def good(self, moves: np.ndarray, which: np.ndarray) -> np.ndarray:
        return moves[:, 1] == self.colour[which]

    @staticmethod
    def succeeds(moves: np.ndarray, private: np.ndarray) -> np.ndarray:
        return moves[:, 1] == private[:, 0, 0]


class Objects(Plain):
    """A sender sees an object of two attributes, a receiver names it; equal values are kept from training."""

    agent_names = ("sender", "receiver")
    move_names = tuple(f"{colour} {shape}" for colour in ("red", "green", "blue") for shape in ("disc", "box", "cone"))
    roles: ClassVar = {"sender": (0,), "receiver": (1,)}
    tokens: ClassVar = {"sender": 3}
    attributes = (Attribute("colour", 3, ("red", "green", "blue")), Attribute("shape", 3, ("disc", "box", "cone")))
    decisions = (Decision("the pick", "move", agent=1),)
    words = Words("player", "right", "wrong object", "The players succeed when the receiver picks the sender's object.")
    feature_bounds = (np.zeros(6, np.float32), np.ones(6, np.float32))

    def __init__(
        self, n_games: int, rng: np.random.Generator, meanings: Literal["all", "training", "held_out"] = "all"
    ) -> None:
        super().__init__(n_games, rng)
        self._rng, self.meanings, self.object = rng, meanings, np.zeros((n_games, 2), np.int64)

    def reset(self, which: np.ndarray) -> None:
        every = np.stack(np.divmod(np.arange(9), 3), axis=1)
        equal = every[:, 0] == every[:, 1]
        kept = {"all": every, "training": every[~equal], "held_out": every[equal]}[self.meanings]
        self.object[which] = kept[self._rng.integers(len(kept), size=int(which.sum()))]

    def observe(self) -> np.ndarray:
        features = np.zeros((self.n_games, 2, 6), np.float32)
        features[:, 0] = np.eye(3)[self.object].reshape(self.n_games, 6)
        return features

    def private(self) -> np.ndarray:
        return np.stack([self.object, np.full_like(self.object, -1)], axis=1).astype(np.float32)

    def may_speak(self) -> np.ndarray:
        return np.tile([True, False], (self.n_games, 1))

    def legal_moves(self) -> np.ndarray:
        legal = super().legal_moves()
        legal[:, 0, 1:] = False
        return legal

    def good(self, moves: np.ndarray, which: np.ndarray) -> np.ndarray:
        return moves[:, 1] == self.object[which] @ [3, 1]

    @staticmethod
    def succeeds(moves: np.ndarray, private: np.ndarray) -> np.ndarray:
        return moves[:, 1] == private[:, 0] @ [3, 1]

    @staticmethod
    def held_out(private: np.ndarray) -> np.ndarray:
        return private[:, 0, 0] == private[:, 0, 1]


class Trio(Plain):
    """Three agents play three times; each must take the move of its own, changing number, and hears its neighbours."""

    n_agents = 3
    move_names = ("a", "b", "c", "d")
    attributes = (Attribute("number", 4),)
    feature_bounds = (np.zeros(1, np.float32), np.full(1, 3, np.float32))

    def __init__(self, n_games: int, rng: np.random.Generator) -> None:
        super().__init__(n_games, rng)
        self._rng = rng
        self.number, self.time = np.zeros((n_games, 3), np.int64), np.zeros(n_games, np.int64)

    def reset(self, which: np.ndarray) -> None:
        self.number[which], self.time[which] = self._rng.integers(4, size=(int(which.sum()), 3)), 0

    def observe(self) -> np.ndarray:
        return self.number[..., None].astype(np.float32)

    def private(self) -> np.ndarray:
        return self.observe()

    def hears(self) -> np.ndarray:
        return np.tile(np.array([[1, 1, 0], [1, 1, 1], [0, 1, 1]], np.bool_), (self.n_games, 1, 1))

    def play(self, moves: np.ndarray, which: np.ndarray) -> Outcome:
        right = moves == self.number[which]
        self.time[which] += 1
        self.number[which] = self._rng.integers(4, size=moves.shape)
        ended = np.repeat(self.time[which, None] == 3, 3, axis=1)
        score = right.mean(axis=1).astype(np.float32)
        return Outcome(right.astype(np.float32), right.all(axis=1), ended, np.zeros_like(ended), score)


def changed(base: type, **attributes: object) -> Callable[[int, np.random.Generator], Plain]:
    """A game like `base` that declares something else."""
    return type(base.__name__, (base,), attributes)
