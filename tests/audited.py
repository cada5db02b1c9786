"""A small game with talk, sound or with one fault planted, and policies: what an audit must find, and what not."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete
from pettingzoo import ParallelEnv

TOKENS, MOVES = 3, 2


class Duet(ParallelEnv):
    """Each of two players has a secret bit, says `rounds` tokens, and then guesses the other's bit, at the same moment.

    Actions: 0-2 tokens, 3-4 guesses. An observation is the step, one's secret, and the last token heard, one-hot.
    """

    metadata = {"name": "duet_v0"}  # noqa: RUF012
    rounds = 2

    def __init__(self) -> None:
        self.possible_agents = ["player_0", "player_1"]
        self.agents: list[str] = []

    def observation_space(self, agent: str) -> Any:
        return Dict(observation=Box(-9, 9, (2 + TOKENS + 1,)), action_mask=Box(0, 1, (TOKENS + MOVES,), np.int8))

    def action_space(self, agent: str) -> Any:
        return Discrete(TOKENS + MOVES)

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        self.agents = list(self.possible_agents)
        self.time = 0
        self.secret = self.drawn(np.random.default_rng(seed))
        self.clear()
        return self.seen(), {agent: {} for agent in self.agents}

    def step(self, actions: dict[str, int]) -> Any:
        told = list(self.agents)
        self.history.append(actions)
        rewards = {agent: self.pay(agent, actions) for agent in told}
        self.time += 1
        over = self.time > self.last()
        self.agents = [] if over else told
        ends = dict.fromkeys(told, over)
        return self.seen(), rewards, ends, dict.fromkeys(told, False), {agent: {} for agent in told}

    def seen(self) -> dict[str, Any]:
        return {
            agent: {
                "observation": np.array(
                    [self.time, self.secret[agent], *self.heard(agent), self.extra(agent)], np.float32
                ),
                "action_mask": self.mask(agent).astype(np.int8),
            }
            for agent in self.possible_agents
        }

    def other(self, agent: str) -> str:
        return self.possible_agents[1 - self.possible_agents.index(agent)]

    # -- what a fault may change -----------------------------------------------------------------------------------

    def drawn(self, rng: np.random.Generator) -> dict[str, int]:
        return {agent: int(rng.integers(2)) for agent in self.possible_agents}

    def clear(self) -> None:
        self.history: list[dict[str, int]] = []

    def last(self) -> int:
        return self.rounds

    def one_hot(self, token: int | None) -> np.ndarray:
        return np.eye(TOKENS)[token] if token is not None and token < TOKENS else np.zeros(TOKENS)

    def heard(self, agent: str) -> np.ndarray:
        return self.one_hot(self.history[-1].get(self.other(agent)) if self.history else None)

    def mask(self, agent: str) -> np.ndarray:
        return (np.arange(TOKENS + MOVES) < TOKENS) == (self.time < self.rounds)

    def extra(self, agent: str) -> float:
        return 0.0

    def pay(self, agent: str, actions: dict[str, int]) -> float:
        if self.time != self.rounds:
            return 0.0
        right = [actions[a] - TOKENS == self.secret[self.other(a)] for a in self.possible_agents]
        return 1.0 if all(right) else -1.0


# -- faults ------------------------------------------------------------------------------------------------------------


class Disconnected(Duet):
    def heard(self, agent):
        return np.zeros(TOKENS)


class Echo(Duet):
    def heard(self, agent):
        return self.one_hot(self.history[-1].get(agent) if self.history else None)


class HalfDeaf(Duet):
    """Only one of two players is ever heard."""

    def heard(self, agent):
        return super().heard(agent) if agent == "player_1" else np.zeros(TOKENS)


class Order(Duet):
    """Player 0 speaks first, then player 1."""

    def mask(self, agent):
        mask = super().mask(agent)
        if self.time < self.rounds and self.possible_agents.index(agent) != self.time % 2:
            mask[1:] = False
        return mask

    def heard(self, agent):
        spoke = (self.time - 1) % 2 == self.possible_agents.index(self.other(agent))
        return super().heard(agent) if spoke else np.zeros(TOKENS)


class Reward(Duet):
    """Player 1 pays for talking."""

    def pay(self, agent, actions):
        return super().pay(agent, actions) - 0.01 * (agent == "player_1" and self.time == 0)


class Mask(Duet):
    """Player 1 has a token less."""

    def mask(self, agent):
        mask = super().mask(agent)
        mask[2] &= agent == "player_0"
        return mask


class Padding(Duet):
    def extra(self, agent):
        return float(agent == "player_1")


class Position(Duet):
    """A component that differs from step to step, and between the players."""

    def extra(self, agent):
        return float(self.time + (agent == "player_1"))


class Late(Duet):
    """What is said is heard after the guesses, in a step in which nothing pays."""

    def last(self):
        return self.rounds + 1

    def heard(self, agent):
        said = self.history[0].get(self.other(agent)) if self.time > self.rounds else None
        return self.one_hot(said)


class OwnLuck(Duet):
    """Its seed is ignored."""

    def drawn(self, rng):
        return super().drawn(np.random.default_rng())


class GlobalLuck(Duet):
    """So it is by one that draws from the global generator."""

    def drawn(self, rng):
        return {agent: int(np.random.randint(2)) for agent in self.possible_agents}  # noqa: NPY002


class Stale(Duet):
    """The last words of an episode are heard in the next."""

    kept: tuple = ()

    def clear(self):
        self.kept = tuple(getattr(self, "history", ()))[:1]
        super().clear()

    def heard(self, agent):
        if not self.history and self.kept:
            return self.one_hot(self.kept[0].get(self.other(agent)))
        return super().heard(agent)


class Shared(Duet):
    """All environments hear each other."""

    board: list = []  # noqa: RUF012

    def clear(self):
        super().clear()
        self.board.clear()

    def step(self, actions):
        self.board.append(actions)
        return super().step(actions)

    def heard(self, agent):
        at = self.time - 1
        return self.one_hot(self.board[at].get(self.other(agent)) if 0 <= at < len(self.board) else None)


class Peek(Duet):
    """Player 0 guesses first, and player 1 sees it."""

    def last(self):
        return self.rounds + 1

    def mask(self, agent):
        mask = super().mask(agent)
        waits = (self.time == self.rounds) == (agent == "player_1")
        if self.time >= self.rounds and waits:
            mask[TOKENS + 1 :] = False
        return mask

    def extra(self, agent):
        seen = self.time > self.rounds and agent == "player_1"
        return float(self.history[self.rounds]["player_0"]) if seen else 0.0

    def pay(self, agent, actions):
        if self.time != self.rounds + 1:
            return 0.0
        guesses = {"player_0": self.history[self.rounds]["player_0"], "player_1": actions["player_1"]}
        return 1.0 if all(g - TOKENS == self.secret[self.other(a)] for a, g in guesses.items()) else -1.0


THOUGHTS: dict[int, np.ndarray] = {}
"""What policies were about to do, where an environment should not look."""


class Probabilities(Duet):
    """What is heard is how likely each token was."""

    def heard(self, agent):
        if not self.history or self.time > self.rounds:
            return np.zeros(TOKENS)
        thought = THOUGHTS.get(self.secret[self.other(agent)])
        return super().heard(agent) if thought is None else thought


class Distributions(ParallelEnv):
    """Players hand over distributions over tokens, with a guess, and they are heard as they are."""

    metadata = {"name": "distributions_v0"}  # noqa: RUF012

    def __init__(self) -> None:
        self.possible_agents = ["player_0", "player_1"]
        self.agents: list[str] = []

    def observation_space(self, agent):
        return Box(-1, 1, (1 + TOKENS,))

    def action_space(self, agent):
        return Box(0, 1, (TOKENS + 1,))

    def reset(self, seed=None, options=None):
        self.agents, self.time = list(self.possible_agents), 0
        rng = np.random.default_rng(seed)
        self.secret = {a: int(rng.integers(2)) for a in self.agents}
        self.said = {a: np.zeros(TOKENS) for a in self.agents}
        return self.seen(), {a: {} for a in self.agents}

    def seen(self):
        heard = {"player_0": self.said["player_1"], "player_1": self.said["player_0"]}
        return {a: np.array([self.secret[a], *heard[a]], np.float32) for a in self.possible_agents}

    def step(self, actions):
        told, self.time = list(self.agents), self.time + 1
        self.said = {a: actions[a][:TOKENS] / max(actions[a][:TOKENS].sum(), 1e-9) for a in told}
        right = [(actions[a][TOKENS] > 0.5) == self.secret[o] for a, o in zip(told, told[::-1], strict=True)]
        over = self.time == 2
        self.agents = [] if over else told
        gain = float(all(right)) if over else 0.0
        return (
            self.seen(),
            dict.fromkeys(told, gain),
            dict.fromkeys(told, over),
            dict.fromkeys(told, False),
            {a: {} for a in told},
        )


# -- sound variants ----------------------------------------------------------------------------------------------------


class Quartet(Duet):
    """Four players in a ring; each guesses the secret of the one before it."""

    def __init__(self) -> None:
        self.possible_agents = [f"player_{i}" for i in range(4)]
        self.agents = []

    def other(self, agent):
        return self.possible_agents[self.possible_agents.index(agent) - 1]


class OneWay(Duet):
    """Only the sender has a secret and speaks; the receiver guesses."""

    def __init__(self) -> None:
        self.possible_agents = ["sender", "receiver"]
        self.agents = []

    def mask(self, agent):
        mask = super().mask(agent)
        if (agent == "sender") != (self.time < self.rounds):
            mask[[*range(1, TOKENS), TOKENS + 1]] = False
        return mask

    def drawn(self, rng):
        return {"sender": int(rng.integers(2)), "receiver": 0}

    def heard(self, agent):
        return super().heard(agent) if agent == "receiver" else np.zeros(TOKENS)

    def pay(self, agent, actions):
        return float(self.time == self.rounds and actions["receiver"] - TOKENS == self.secret["sender"])


class Parts(Duet):
    """An action has two parts: a guess and a token."""

    def observation_space(self, agent):
        return Box(-9, 9, (2 + TOKENS + 1,))

    def action_space(self, agent):
        return MultiDiscrete([MOVES, TOKENS])

    def seen(self):
        return {agent: seen["observation"] for agent, seen in super().seen().items()}

    def heard(self, agent):
        return self.one_hot(int(self.history[-1][self.other(agent)][1]) if self.history else None)

    def pay(self, agent, actions):
        if self.time != self.rounds:
            return 0.0
        return 1.0 if all(actions[a][0] == self.secret[self.other(a)] for a in self.possible_agents) else -1.0


class NoisyLine(Duet):
    """One word in five is lost, by the environment's own seed."""

    def drawn(self, rng):
        self.luck = rng
        return super().drawn(rng)

    def clear(self):
        super().clear()
        self.lost = self.luck.random((self.rounds + 2, 2)) < 0.2

    def heard(self, agent):
        lost = self.lost[self.time, self.possible_agents.index(agent)]
        return np.zeros(TOKENS) if lost else super().heard(agent)


class Sloppy(Duet):
    """Hands out the same arrays again and again, and writes into them; its infos are empty."""

    def seen(self):
        new = super().seen()
        if not hasattr(self, "handed"):
            self.handed = new
        for agent, seen in new.items():
            for key, values in seen.items():
                self.handed[agent][key][...] = values
        return self.handed


# -- policies ----------------------------------------------------------------------------------------------------------


def honest(seen):
    """Says its secret, and guesses what it has heard last."""
    step, secret, *heard = seen["observation"][: 2 + TOKENS]
    if step < Duet.rounds:
        return int(secret)
    return TOKENS + int(heard[1] == 1)


def silent(seen):
    """Always says token 2, and guesses 0."""
    return 2 if seen["observation"][0] < Duet.rounds else TOKENS


def contrary(seen):
    """Says the opposite, and understands the opposite."""
    step, secret, *heard = seen["observation"][: 2 + TOKENS]
    return 1 - int(secret) if step < Duet.rounds else TOKENS + int(heard[1] == 0)


def deaf(seen):
    """Says its secret, and does not listen."""
    return honest(seen) if seen["observation"][0] < Duet.rounds else TOKENS


def chance(seen, rng):
    """Anything."""
    return int(rng.choice(np.flatnonzero(seen["action_mask"])))


def global_chance(seen):
    """Anything, by the global generator."""
    return int(np.random.choice(np.flatnonzero(seen["action_mask"])))  # noqa: NPY002


def any_action(seen, rng):
    """Anything, where no mask says what is legal: five actions."""
    return int(rng.integers(5))


def listless(seen, rng):
    """For two-part actions: a random guess, and its secret."""
    return np.array([int(seen[3] == 1), int(seen[1])])


class Remembers:
    """Says its secret once and noise after it, and remembers what it heard first."""

    def reset(self, seed):
        self.rng, self.first = np.random.default_rng(seed), None

    def __call__(self, seen):
        step, secret, *heard = seen["observation"][: 2 + TOKENS]
        if step == 1:
            self.first = int(heard[1] == 1)
        if step >= Duet.rounds:
            return TOKENS + self.first
        return int(secret) if step == 0 else int(self.rng.integers(TOKENS))


STUBBORN = np.random.default_rng()


def unseeded(seen):
    """Follows no seed."""
    return int(STUBBORN.choice(np.flatnonzero(seen["action_mask"])))


BOARD: dict[str, float] = {}


class Telepath:
    """Writes its secret where the other policy reads it."""

    def __init__(self, agent):
        self.agent, self.partner = agent, "player_1" if agent == "player_0" else "player_0"

    def __call__(self, seen):
        step, secret = seen["observation"][:2]
        BOARD[self.agent] = secret
        return 0 if step < Duet.rounds else TOKENS + int(BOARD.get(self.partner, 0))


def thinking(seen, rng):
    """Draws a token, and leaves its probabilities lying about."""
    secret, mask = int(seen["observation"][1]), seen["action_mask"]
    THOUGHTS[secret] = np.array([0.6, 0.3, 0.1]) if secret else np.array([0.1, 0.3, 0.6])
    if mask[0]:
        return int(rng.choice(TOKENS, p=THOUGHTS[secret]))
    return TOKENS + int(seen["observation"][2] > 0.5)


def gives_distributions(seen, rng):
    """A distribution that leans to its secret, and a guess."""
    leaning = rng.dirichlet([4.0, 1.0, 1.0] if seen[0] else [1.0, 1.0, 4.0])
    return np.array([*leaning, float(seen[1] > 0.4)])


def any_of_three(seen, rng):
    """Anything, where there are three actions."""
    return int(rng.integers(3))
