"""Anyone's ParallelEnv played by anyone's policies, one episode at a time, so that it can be played again and changed.

Whatever is random is fixed by the seed of the episode: the environment's by `reset(seed=…)`, that of a policy by its
`reset`, by the generator that it is handed, and by the global generators, which are seeded before each of its calls.
"""

from __future__ import annotations

import copy
import inspect
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np
from gymnasium.spaces import Dict, Discrete, MultiDiscrete, Space, Tuple
from numpy.typing import NDArray
from pettingzoo import ParallelEnv

from emcomm.errors import BadInput
from envs.foreign import as_parallel
from envs.game import Bools

Reals = NDArray[np.float64]
Env: TypeAlias = ParallelEnv[Any, Any, Any]
MASK = "action_mask"
MOST_STEPS = 200
"""Steps after which an episode is left, whether it has ended or not."""


# -- observations as vectors -------------------------------------------------------------------------------------------


def leaves(seen: Any, path: str = "") -> Iterator[tuple[str, Reals]]:
    """The arrays of an observation, flat, with their places in it; the action mask is left out.

    >>> [(name, values.tolist()) for name, values in leaves({"a": 1, "b": (np.zeros(2), 3)})]
    [('a', [1.0]), ('b.0', [0.0, 0.0]), ('b.1', [3.0])]
    """
    if isinstance(seen, Mapping):
        for key, part in seen.items():
            if key != MASK:
                yield from leaves(part, f"{path}.{key}" if path else str(key))
    elif isinstance(seen, (tuple, list)):
        for i, part in enumerate(seen):
            yield from leaves(part, f"{path}.{i}" if path else str(i))
    else:
        yield path or "observation", np.asarray(seen, np.float64).reshape(-1)


def flat(seen: Any) -> Reals:
    """`[F]` an observation as one vector."""
    return np.concatenate([values for _, values in leaves(seen)] or [np.zeros(0)])


def places(seen: Any) -> list[str]:
    """`[F]` the name of each component of `flat`.

    >>> places({"a": np.zeros((2, 2))})[2]
    'a[2]'
    """
    return [f"{name}[{i}]" for name, values in leaves(seen) for i in range(len(values))]


def changed(seen: Any, values: Reals) -> Any:
    """The observation with `values` `[F]` in place of its own, of the same types and shapes.

    >>> changed({"a": np.zeros(2, np.int8), "action_mask": 5}, np.array([1.0, 2.0]))["a"].tolist()
    [1, 2]
    """
    rest = iter(values.tolist())

    def rebuilt(part: Any) -> Any:
        if isinstance(part, Mapping):
            return {key: copy.copy(value) if key == MASK else rebuilt(value) for key, value in part.items()}
        if isinstance(part, (tuple, list)):
            return type(part)(rebuilt(value) for value in part)
        array = np.asarray(part)
        new = np.array([next(rest) for _ in range(array.size)]).reshape(array.shape).astype(array.dtype)
        return new if isinstance(part, np.ndarray) else new[()]

    return rebuilt(seen)


def copied(seen: Any) -> Any:
    """The observation in arrays of its own: an environment may go on writing into those that it handed out."""
    if isinstance(seen, Mapping):
        return {key: copied(part) for key, part in seen.items()}
    if isinstance(seen, (tuple, list)):
        return type(seen)(map(copied, seen))
    return seen.copy() if isinstance(seen, np.ndarray) else seen


def mask_of(seen: Any, info: Mapping[str, Any] | None) -> Bools | None:
    """`[A]` the legal actions, from the observation or from the info; None where all are."""
    mask = seen.get(MASK) if isinstance(seen, Mapping) else None
    mask = (info or {}).get(MASK) if mask is None else mask
    if mask is None or not np.any(mask):
        return None
    return np.array(mask, np.bool_)


# -- who plays ---------------------------------------------------------------------------------------------------------


class Seat(Protocol):
    """Who plays for one agent."""

    def begin(self, seed: int) -> None:
        """An episode starts, whose randomness `seed` fixes."""

    def act(self, seen: Any, step: int) -> Any:
        """An action for an observation."""


Team = Callable[[str, int, Space[Any]], Seat]
"""Called as `team(agent, index, action_space)`: who plays for an agent."""


class CallableSeat:
    """A policy from outside: a function of the observation (and of a numpy generator), or an object that is called so.

    A class is instantiated for each agent, with the agent's name where its constructor takes one. `reset(seed)` or
    `reset()`, where there is one, is called when an episode starts; without it a new instance is made.
    """

    def __init__(self, policy: Any, agent: str, index: int) -> None:
        self._index = index
        made: Any = policy
        if inspect.isclass(policy):
            make: Any = policy
            made = make(agent) if _takes(make, 1, required=True) else make()
        self._policy, self._with_rng = made, _takes(made, 2, required=True)
        self._reset = getattr(made, "reset", None)
        self._rng = np.random.default_rng()

    @property
    def resets(self) -> bool:
        """Whether it can be used for one episode after another."""
        return self._reset is not None

    def begin(self, seed: int) -> None:
        self._seed = seed
        self._rng = np.random.default_rng([seed, self._index, 1])
        seed_globals((seed, self._index))
        if self._reset is not None:
            own = int(np.random.SeedSequence((seed, self._index)).generate_state(1)[0]) >> 1  # 31 bits suit everyone
            self._reset(own) if _takes(self._reset, 1) else self._reset()

    def act(self, seen: Any, step: int) -> Any:
        seed_globals((self._seed, self._index, step))
        return self._policy(seen, self._rng) if self._with_rng else self._policy(seen)


def _takes(function: Any, count: int, required: bool = False) -> bool:
    """Whether it can be called with so many positional arguments; `required`: whether the last has no default."""
    try:
        given = [*inspect.signature(function).parameters.values()]
    except (TypeError, ValueError):
        return False
    if any(p.kind == p.VAR_POSITIONAL for p in given) and not required:
        return True
    positional = [p for p in given if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return len(positional) >= count and (not required or positional[count - 1].default is inspect.Parameter.empty)


def seed_globals(seed: Sequence[int]) -> None:
    """Seed the generators that a policy may use without having been handed one."""
    number = int(np.random.SeedSequence(seed).generate_state(1)[0])
    random.seed(number)
    np.random.seed(number)  # noqa: NPY002  # it is the global one that is meant
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(number)


class RandomSeat:
    """Any legal action, evenly: what is taken follows from the seed, the agent and the step, and from nothing else.

    Two episodes of one seed take the same actions wherever the same ones are legal. From step `turn` on another stream
    is followed.
    """

    def __init__(self, agent: str, index: int, space: Space[Any], turn: int = MOST_STEPS, stream: int = 0) -> None:
        self._index, self._space, self._turn, self._stream = index, space, turn, stream

    def begin(self, seed: int) -> None:
        self._seed = seed

    def act(self, seen: Any, step: int, mask: Bools | None = None) -> Any:
        rng = np.random.default_rng([self._seed, self._index, step, self._stream if step >= self._turn else 0])
        return drawn(self._space, mask if mask is not None else mask_of(seen, None), rng)


def drawn(space: Space[Any], mask: Bools | None, rng: np.random.Generator) -> Any:
    """An action, evenly over the legal ones; the same for two masks that both allow it."""
    if isinstance(space, Discrete):
        order = rng.random(int(space.n))
        if mask is not None:
            order[: len(mask)] -= ~mask[: len(order)]
        return int(space.start) + int(order.argmax())
    space.seed(int(rng.integers(2**31)))
    return space.sample()


def other_action(space: Space[Any], mask: Bools | None, action: Any, rng: np.random.Generator) -> Any:
    """Another legal action that differs in one part of it, where it has parts; None where there is none."""
    if isinstance(space, Discrete):
        legal = np.ones(int(space.n), np.bool_) if mask is None else mask[: int(space.n)].copy()
        legal[int(action) - int(space.start)] = False
        return int(space.start) + int(rng.choice(np.flatnonzero(legal))) if legal.any() else None
    if isinstance(space, MultiDiscrete):
        new, part = np.array(action), int(rng.integers(len(space.nvec)))
        if space.nvec[part] < 2:
            return None
        new[part] = (new[part] - space.start[part] + rng.integers(1, space.nvec[part])) % space.nvec[part]
        new[part] += space.start[part]
        return new
    if isinstance(space, Tuple):
        part = int(rng.integers(len(space.spaces)))
        one = other_action(space.spaces[part], None, action[part], rng)
        return None if one is None else (*action[:part], one, *action[part + 1 :])
    if isinstance(space, Dict):
        key = str(rng.choice([*space.spaces]))
        one = other_action(space.spaces[key], None, action[key], rng)
        return None if one is None else {**action, key: one}
    space.seed(int(rng.integers(2**31)))
    return space.sample()


# -- episodes ----------------------------------------------------------------------------------------------------------


@dataclass
class Episode:
    """What happened in one episode; the lists have an entry for each step, and `seen` and `masks` one more."""

    seed: int
    raw: list[dict[str, Any]] = field(default_factory=list)
    """What each agent observed, as it was."""
    masks: list[dict[str, Bools | None]] = field(default_factory=list)
    actions: list[dict[str, Any]] = field(default_factory=list)
    rewards: list[dict[str, float]] = field(default_factory=list)
    ended: bool = False
    _flat: dict[tuple[int, str], Reals] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.actions)

    @property
    def total(self) -> float:
        """The mean over the agents of what they gained."""
        agents = self.rewards[0] if self.rewards else {}
        return sum(sum(step.values()) for step in self.rewards) / max(len(agents), 1)

    def flat(self, step: int, agent: str) -> Reals | None:
        """`[F]` what an agent saw before it acted in `step`; None where it was not there."""
        if step >= len(self.raw) or agent not in self.raw[step]:
            return None
        if (step, agent) not in self._flat:
            self._flat[step, agent] = flat(self.raw[step][agent])
        return self._flat[step, agent]


Hear = Callable[[str, int, Any], Any]
"""`hear(agent, step, seen)`: what an agent is shown instead of what it saw."""


def play(
    env: Env, seats: Mapping[str, Seat], seed: int, say: Mapping[tuple[int, str], Any] | None = None,
    hear: Hear | None = None, steps: int = MOST_STEPS,
) -> Episode:  # fmt: skip
    """One episode. `say` puts other actions into agents' mouths, `hear` shows agents other things than they see."""
    observations, infos = env.reset(seed=seed)
    episode = Episode(seed)
    for seat in seats.values():
        seat.begin(seed)
    while True:
        masks = {agent: mask_of(seen, infos.get(agent)) for agent, seen in observations.items()}
        episode.raw.append({agent: copied(seen) for agent, seen in observations.items()})
        episode.masks.append(masks)
        step = len(episode)
        if not env.agents or step >= steps:
            episode.ended = not env.agents
            return episode
        actions = {}
        for agent in env.agents:
            seen = observations[agent]
            if hear is not None:
                seen = hear(agent, step, seen)
            seat = seats[agent]
            action = seat.act(seen, step, masks[agent]) if isinstance(seat, RandomSeat) else seat.act(seen, step)
            actions[agent] = say.get((step, agent), action) if say else action
        episode.actions.append(copy.deepcopy(actions))
        observations, rewards, _, _, infos = env.step(actions)
        episode.rewards.append({agent: float(gain) for agent, gain in rewards.items()})


class Arena:
    """An environment that can be made as often as needed, and what its agents are.

    Parameters
    ----------
    make_env : callable
        Makes a new ParallelEnv, or an AECEnv, which PettingZoo converts.
    steps : int
        At which an episode is left (steps).

    Raises BadInput for what is no ParallelEnv of two agents or more.
    """

    def __init__(self, make_env: Callable[[], Env], steps: int = MOST_STEPS) -> None:
        self.make_env, self.steps = make_env, steps
        self.env = self.new()
        self.agents: tuple[str, ...] = tuple(self.env.possible_agents)
        if len(self.agents) < 2:
            raise BadInput(f"talk takes two: {_name(self.env)} has {len(self.agents)} agent")
        self.spaces = {agent: self.env.action_space(agent) for agent in self.agents}

    def new(self) -> Env:
        """Another environment of the same kind."""
        try:
            env = self.make_env()
        except BadInput:
            raise
        except Exception as error:  # foreign code may raise anything
            raise BadInput(f"the environment cannot be made: {type(error).__name__}: {error}") from error
        try:
            return as_parallel(env)
        except TypeError as error:
            raise BadInput(f"an audit needs a PettingZoo ParallelEnv, not {type(env).__name__}") from error

    def seats(self, team: Team) -> dict[str, Seat]:
        """Newly made seats of a team."""
        return {agent: team(agent, i, self.spaces[agent]) for i, agent in enumerate(self.agents)}

    def play(self, team: Team, seed: int, env: Env | None = None, steps: int | None = None, **changes: Any) -> Episode:
        """One episode of a team, or its first `steps`; raises BadInput where the environment or a policy fails."""
        try:
            return play(env or self.env, self.seats(team), seed, steps=steps or self.steps, **changes)
        except BadInput:
            raise
        except Exception as error:  # foreign code may raise anything
            where = _where(error)
            raise BadInput(f"an episode failed{where}: {type(error).__name__}: {error}") from error

    def random(self, seed: int, turn: int = MOST_STEPS, stream: int = 0, **changes: Any) -> Episode:
        """One episode of random play, on another stream from step `turn` on."""
        return self.play(lambda agent, i, space: RandomSeat(agent, i, space, turn, stream), seed, **changes)


def _name(env: Any) -> str:
    return str(getattr(env, "metadata", {}).get("name", type(env).__name__))


def _where(error: Exception) -> str:
    """The last place of the error that is not here."""
    trace, place = error.__traceback__, ""
    while trace is not None:
        code = trace.tb_frame.f_code
        if code.co_filename != __file__:
            place = f" in {code.co_name} ({code.co_filename}, line {trace.tb_lineno})"
        trace = trace.tb_next
    return place
