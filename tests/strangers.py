"""PettingZoo environments as their authors write them: they know nothing of emcomm. Named as `tests.strangers:Name`."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from pettingzoo import AECEnv, ParallelEnv
from pettingzoo.utils import AgentSelector


class Lamps(ParallelEnv):
    """A watcher sees which of three lamps is lit, a worker presses a button; both get what the button is worth.

    Every reward is above 0, also that of the wrong button: a sum of rewards is no success.
    """

    metadata = {"name": "lamps_v0"}  # noqa: RUF012
    render_mode = None
    moves = 1

    def __init__(self, lamps: int = 3, bonus: float = 0.0) -> None:
        self.lamps, self.bonus = lamps, bonus
        self.possible_agents = ["watcher", "worker"]

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        return spaces.Box(0, 1, (self.lamps if agent == "watcher" else 1,), np.float32)

    def action_space(self, agent: str) -> spaces.Space[Any]:
        return spaces.Discrete(1 if agent == "watcher" else self.lamps)

    def _seen(self) -> dict[str, np.ndarray]:
        return {"watcher": np.eye(self.lamps, dtype=np.float32)[self.lit], "worker": np.zeros(1, np.float32)}

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        if seed is not None:
            self.rng = np.random.default_rng(seed)
        self.agents, self.time, self.lit = list(self.possible_agents), 0, int(self.rng.integers(self.lamps))
        return self._seen(), {agent: {} for agent in self.agents}

    def step(self, actions: dict[str, Any]) -> Any:
        self.right = actions["worker"] == self.lit
        self.time += 1
        agents, over = self.agents, self.time == self.moves
        self.lit = int(self.rng.integers(self.lamps))
        self.agents = [] if over else agents
        rewards = dict.fromkeys(agents, (1.0 if self.right else 0.25) + self.bonus)
        ends = dict.fromkeys(agents, over)
        return self._seen(), rewards, ends, dict.fromkeys(agents, False), {agent: {} for agent in agents}


class LampsThatSay(Lamps):
    """The same, and it says what success is."""

    def success(self, rewards: np.ndarray) -> bool:
        return bool(self.right)


class SevenLamps(Lamps):
    """The same for seven buttons in a row."""

    moves = 7


class EndlessLamps(Lamps):
    """The same for so long that nobody sees the end."""

    moves = 1_000_000


def lamps(**options: Any) -> Lamps:
    """What makes one; like `parallel_env` of PettingZoo it hands on whatever it is given."""
    return Lamps(**options)


def needy(size: int, name: str = "x") -> Lamps:
    """What makes one, and must be told a size."""
    return Lamps(lamps=size)


THE_LAMPS = Lamps(lamps=4)


class Shift(ParallelEnv):
    """Workers of different kinds come and go: day_0 dies after two steps, night_0 comes after one, boss stays for five.

    The spaces of all differ, and there is no `possible_agents` where `secret`. Masks stand in the infos of the boss and
    in the observation of night_0.
    """

    metadata = {"name": "shift_v0"}  # noqa: RUF012
    everyone = ("boss", "day_0", "night_0")

    def __init__(self) -> None:
        self.possible_agents = list(self.everyone)
        self.log: list[dict[str, Any]] = []

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        return {
            "boss": spaces.Dict({"clock": spaces.Discrete(6), "mood": spaces.Box(-1, 1, (2,))}),
            "day_0": spaces.MultiBinary(2),
            "night_0": spaces.Dict(
                {"observation": spaces.Box(0, 5, (1,)), "action_mask": spaces.Box(0, 1, (3,), np.int8)}
            ),
        }[agent]

    def action_space(self, agent: str) -> spaces.Space[Any]:
        return {"boss": spaces.Discrete(4), "day_0": spaces.MultiDiscrete([2, 3]), "night_0": spaces.Discrete(3)}[agent]

    def _told(self, agents: list[str]) -> Any:
        seen = {
            "boss": {"clock": self.time, "mood": np.array([0.5, -0.5], np.float32)},
            "day_0": np.array([1, 0], np.int8),
            "night_0": {
                "observation": np.array([self.time], np.float32),
                "action_mask": np.array([0, 1, self.time > 2], np.int8),
            },
        }
        infos: dict[str, Any] = {agent: {} for agent in agents}
        if "boss" in infos:
            infos["boss"]["action_mask"] = np.array([1, 1, 0, 0], np.int8)
        return {agent: seen[agent] for agent in agents}, infos

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        self.time, self.agents = 0, ["boss", "day_0"]
        return self._told(self.agents)

    def step(self, actions: dict[str, Any]) -> Any:
        assert set(actions) == set(self.agents), "actions of those who are there, and of nobody else"
        for agent, action in actions.items():
            assert self.action_space(agent).contains(action), (agent, action)
        self.log.append(dict(actions))
        self.time += 1
        told = [*self.agents, *(["night_0"] if self.time == 1 else [])]
        dies = {agent: agent == "day_0" and self.time == 2 for agent in told}
        cut = dict.fromkeys(told, self.time == 5)
        self.agents = [agent for agent in told if not (dies[agent] or cut[agent])]
        seen, infos = self._told(told)
        return seen, {agent: float(self.time) for agent in actions}, dies, cut, infos


class Unannounced(Shift):
    """The same agents from beginning to end, and no `possible_agents`."""

    everyone = ("boss", "day_0")

    def __init__(self) -> None:
        super().__init__()
        del self.possible_agents

    def step(self, actions: dict[str, Any]) -> Any:
        seen, rewards, dies, cut, infos = super().step(actions)
        for told in (seen, rewards, dies, cut, infos):
            told.pop("night_0", None)
        self.agents = [agent for agent in self.agents if agent != "night_0"]
        return seen, rewards, dies, cut, infos


class Guests(Shift):
    """Somebody comes whom `possible_agents` did not name."""

    def __init__(self) -> None:
        super().__init__()
        self.possible_agents = ["boss", "day_0"]


class Dials(Lamps):
    """The worker turns two dials, of which the first shows the lamp; the watcher sets three switches."""

    def action_space(self, agent: str) -> spaces.Space[Any]:
        return spaces.MultiBinary(3) if agent == "watcher" else spaces.Box(-1, 1, (2,), np.float32)

    def step(self, actions: dict[str, Any]) -> Any:
        turned = actions["worker"]
        assert turned.dtype == np.float32, turned.dtype
        assert self.action_space("worker").contains(turned)
        turned[:] = np.round(turned)  # it may do with an action what it likes
        return super().step({"worker": int(turned[0]) + 1})


class Unbounded(Dials):
    """Dials without an end."""

    def action_space(self, agent: str) -> spaces.Space[Any]:
        return spaces.Box(-np.inf, np.inf, (2,))


class Cameras(Lamps):
    """The watcher sees a picture."""

    size = 8

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        return spaces.Box(0, 255, (self.size, self.size, 3), np.uint8)

    def _seen(self) -> dict[str, np.ndarray]:
        return {agent: np.full((self.size, self.size, 3), 7, np.uint8) for agent in self.possible_agents}


class LargeCameras(Cameras):
    """The same with as many numbers as a video game has."""

    size = 210


class Broken(Lamps):
    """A reward that is no number, after a while."""

    moves = 5

    def step(self, actions: dict[str, Any]) -> Any:
        seen, rewards, *more = super().step(actions)
        return seen, {**rewards, "worker": float("nan")} if self.time == 3 else rewards, *more


class Blind(Lamps):
    """What the worker sees is shorter than it says."""

    def _seen(self) -> dict[str, np.ndarray]:
        return {**super()._seen(), "worker": np.zeros(0, np.float32)}


class Proud(Lamps):
    """Its `success` is something else."""

    success = 3


class Turns(AECEnv):
    """Two agents add 1 or 2 in turn to a heap of 7; who takes the last one wins. Not parallelizable."""

    metadata = {"name": "turns_v0", "is_parallelizable": False}  # noqa: RUF012
    render_mode = None

    def __init__(self) -> None:
        super().__init__()
        self.possible_agents = ["player_0", "player_1"]

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        return spaces.Box(0, 7, (1,), np.float32)

    def action_space(self, agent: str) -> spaces.Space[Any]:
        return spaces.Discrete(2)

    def observe(self, agent: str) -> np.ndarray:
        return np.array([self.left], np.float32)

    def reset(self, seed: int | None = None, options: Any = None) -> None:
        self.left, self.agents, self.by = 7, list(self.possible_agents), []
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
        self.terminations = dict.fromkeys(self.agents, False)
        self.truncations = dict.fromkeys(self.agents, False)
        self.infos = {agent: {} for agent in self.agents}
        self._turn = AgentSelector(self.agents)
        self.agent_selection = self._turn.reset()

    def step(self, action: int | None) -> None:
        agent = self.agent_selection
        if self.terminations[agent] or self.truncations[agent]:
            self._was_dead_step(action)
            return
        assert action in (0, 1), action
        self.by.append(agent)
        self.left = max(self.left - action - 1, 0)
        self._cumulative_rewards[agent] = 0
        if not self.left:
            self.rewards = {a: 1.0 if a == agent else -1.0 for a in self.agents}
            self.terminations = dict.fromkeys(self.agents, True)
        self._accumulate_rewards()
        self.agent_selection = self._turn.next()
