"""Any PettingZoo ParallelEnv with discrete actions as a `Game`, and with the talk around it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from pettingzoo import ParallelEnv

from envs.game import Bools, Floats, Ints, Outcome
from envs.parallel import NegotiationEnv, taken_view, talk_rules
from envs.rendering import RENDER_MODES, Picture, RenderMode

Success: TypeAlias = Callable[[Floats], bool]
"""From the rewards `[N]` of a joint move to whether it did what the game asks for."""


def gained(rewards: Floats) -> bool:
    """The agents gained together: the sum of their rewards is above 0."""
    return bool(rewards.sum() > 0)


class ParallelGame:
    """`n_games` copies of a ParallelEnv, stepped one after the other behind the protocol of a batched game.

    `make_env` is called `n_games` times. Observations of any space that flattens to an array are flattened and padded
    with zeros to the longest over the agents; an `action_mask` in them (or in the info) becomes the legal moves
    instead. Agents with fewer actions than others have the surplus moves masked; one whose mask is empty may choose
    any, for it has nothing to choose. Agents that leave early, or have not come yet, are inactive.

    A foreign game has no notion of success: `success` gives it one, by default `gained`.
    Raises TypeError for an environment that is no ParallelEnv, ValueError for one whose spaces do not fit.
    """

    def __init__(
        self,
        n_games: int,
        rng: np.random.Generator,
        make_env: Callable[[], ParallelEnv[Any, Any, Any]],
        success: Success | None = None,
    ) -> None:
        self.envs = [make_env() for _ in range(n_games)]
        self._rng, self._success = rng, success or gained
        _require_parallel(self.envs[0])
        self.agent_names = tuple(self.envs[0].possible_agents)
        if len(self.agent_names) < 2:
            raise ValueError(f"talk takes two: {self.envs[0]} has {len(self.agent_names)} agent")
        actions = [_discrete(self.envs[0], agent) for agent in self.agent_names]
        self._first_action = [int(space.start) for space in actions]
        self._every_move = np.arange(max(space.n for space in actions)) < [[space.n] for space in actions]
        self.move_names = tuple(map(str, range(self._every_move.shape[1])))
        self._spaces = [_without_mask(self.envs[0].observation_space(agent)) for agent in self.agent_names]
        self.feature_bounds = _bounds(self._spaces, self.agent_names)
        self.n_games, self.n_agents = shape = n_games, len(self.agent_names)
        self._features = np.zeros((*shape, len(self.feature_bounds[0])), np.float32)
        self._legal = np.tile(self._every_move, (n_games, 1, 1))
        self._active = np.ones(shape, np.bool_)
        self._terminated, self._truncated = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
        self.infos: list[dict[Any, dict[str, Any]]] = [{} for _ in self.envs]
        """What each environment told last besides its observations."""
        self.reset_options: dict[str, Any] | None = None
        """Handed to the environments when they are reset."""

    def reset(self, which: Bools) -> None:
        """Start anew the marked games, each with a seed of its own."""
        for game in np.flatnonzero(which).tolist():
            env = self.envs[game]
            observations, infos = env.reset(seed=int(self._rng.integers(2**31)), options=self.reset_options)
            self._terminated[game], self._truncated[game] = False, False
            self._note(game, observations, infos)

    def observe(self) -> Floats:
        return self._features

    def private(self) -> Floats:
        """Nothing: which features are private to an agent, a foreign game does not say."""
        return self._features[..., :0]

    def legal_moves(self) -> Bools:
        return self._legal

    def active(self) -> Bools:
        return self._active

    def play(self, moves: Ints, which: Ints) -> Outcome:
        rewards = np.zeros(moves.shape, np.float32)
        for row, game in enumerate(which.tolist()):
            actions = {
                agent: int(moves[row, i]) + self._first_action[i]
                for i, agent in enumerate(self.agent_names)
                if self._active[game, i]
            }
            observations, gains, terminated, truncated, infos = self.envs[game].step(actions)
            rewards[row] = [gains.get(agent, 0.0) for agent in self.agent_names]
            self._terminated[game] |= [bool(terminated.get(agent)) for agent in self.agent_names]
            self._truncated[game] |= [bool(truncated.get(agent)) for agent in self.agent_names]
            self._note(game, observations, infos)
            if not self.envs[game].agents:  # also for whoever never came, or left without a sign
                self._truncated[game] |= ~self._terminated[game]
        success = np.array([self._success(reward) for reward in rewards], np.bool_)
        return Outcome(rewards, success, self._terminated[which], self._truncated[which])

    def _note(self, game: int, observations: dict[Any, Any], infos: dict[Any, dict[str, Any]]) -> None:
        """Keep what an environment told its agents."""
        here = [agent in self.envs[game].agents for agent in self.agent_names]
        self._active[game] = here & ~(self._terminated[game] | self._truncated[game])
        self.infos[game] = infos
        for i, agent in enumerate(self.agent_names):
            if agent not in observations:
                continue
            seen, mask = observations[agent], infos.get(agent, {}).get("action_mask")
            if isinstance(seen, dict) and "action_mask" in seen:
                mask = seen["action_mask"]
            flat = np.asarray(gymnasium.spaces.flatten(self._spaces[i], seen))
            self._features[game, i, : len(flat)] = flat
            self._legal[game, i] = self._every_move[i]
            if mask is not None and np.any(mask):
                self._legal[game, i, : len(mask)] &= np.asarray(mask, np.bool_)


class NegotiableEnv(NegotiationEnv):
    """A ParallelEnv with talk before every joint move; made by `negotiable`."""

    def __init__(self, wrapped: ParallelEnv[Any, Any, Any], success: Success | None, **kwargs: Any) -> None:
        self.wrapped = wrapped
        super().__init__(partial(ParallelGame, make_env=self._wrapped_env, success=success), **kwargs)
        self.metadata["name"] = f"negotiable {wrapped}"

    def _wrapped_env(self) -> ParallelEnv[Any, Any, Any]:
        return self.wrapped

    @property
    def _game(self) -> ParallelGame:
        game = self._talk.game
        assert isinstance(game, ParallelGame)
        return game

    def _accept(self, options: dict[str, Any] | None) -> None:
        self._game.reset_options = options

    def _infos(self, names: Sequence[str], news: bool) -> dict[str, dict[str, Any]]:
        told = self._game.infos[0] if news else {}
        # a mask over the wrapped actions would be mistaken for one over ours
        return {name: {key: v for key, v in told.get(name, {}).items() if key != "action_mask"} for name in names}

    def _text(self) -> str:
        wrapped = [str(self.wrapped.render())] if _mode(self.wrapped) == "ansi" else []
        return "\n".join([super()._text(), *wrapped])

    def _picture(self) -> Picture:
        dialogue = super()._picture()
        if _mode(self.wrapped) != "rgb_array":
            return dialogue
        from envs.pictures import side_by_side

        return side_by_side(np.asarray(self.wrapped.render()), dialogue)

    def _state_space(self) -> Box:
        own, wrapped = super()._state_space(), getattr(self.wrapped, "state_space", None)
        if not isinstance(wrapped, Box):
            return own
        low, high = np.append(own.low, wrapped.low), np.append(own.high, wrapped.high)
        return Box(low.astype(np.float32), high.astype(np.float32), dtype=np.float32)

    def state(self) -> np.ndarray:
        """The global view of the talk, and behind it that of the wrapped environment, flat, where it has one."""
        own = super().state()
        return own if self.state_space.shape == own.shape else np.append(own, self.wrapped.state()).astype(np.float32)

    def close(self) -> None:
        """Close the window and the wrapped environment."""
        super().close()
        self.wrapped.close()


def negotiable(
    env: ParallelEnv[Any, Any, Any],
    n_tokens: int = 5,
    *,
    success: Success | None = None,
    render_mode: RenderMode | None = None,
    **options: Any,
) -> NegotiableEnv:
    """Put the talk around a PettingZoo ParallelEnv with discrete actions.

    Agents keep their names, and their moves are the environment's own actions, counted from 0. See `NegotiationEnv` for
    the spaces, and `TalkRules` and `View` for `options`. `success` tells from the rewards `[N]` whether a joint move
    succeeded, for the record only (default: their sum is above 0). `render_mode` is by default that of `env`: `ansi`
    adds its text to the dialogue, `rgb_array` and `human` put its picture beside the dialogue where it makes pictures.
    Options given to `reset` are handed on.

    Raises TypeError if `env` is no ParallelEnv, or for an unknown option; ValueError if its spaces do not fit.
    """
    _require_parallel(env)
    view = taken_view(options)
    rules = talk_rules({"n_tokens": n_tokens, **options}, others=("success",))
    own_mode = _mode(env) if _mode(env) in RENDER_MODES else None
    return NegotiableEnv(env, success, rules=rules, render_mode=render_mode or own_mode, view=view)


def _mode(env: ParallelEnv[Any, Any, Any]) -> Any:
    return getattr(env, "render_mode", None)


def _require_parallel(env: Any) -> None:
    if not isinstance(env, ParallelEnv):
        raise TypeError(
            f"talk needs a PettingZoo ParallelEnv, not {type(env).__name__} (see PettingZoo's aec_to_parallel)"
        )


def _discrete(env: ParallelEnv[Any, Any, Any], agent: Any) -> Discrete:
    space = env.action_space(agent)
    if not isinstance(space, Discrete):
        raise ValueError(f"talk needs Discrete actions, but those of {agent} in {env} are {space}")
    if space.n > np.iinfo(np.int16).max:  # the type of moves in the record
        raise ValueError(f"{agent} in {env} has {space.n} actions, more than {np.iinfo(np.int16).max}")
    return space


def _without_mask(space: gymnasium.Space[Any]) -> gymnasium.Space[Any]:
    if not isinstance(space, gymnasium.spaces.Dict):
        return space
    return gymnasium.spaces.Dict({key: part for key, part in space.items() if key != "action_mask"})


def _bounds(spaces: Sequence[gymnasium.Space[Any]], agents: Sequence[Any]) -> tuple[Floats, Floats]:
    """`[F]`, `[F]` the bounds that hold for every agent, those of padding (0) included."""
    ends: list[tuple[np.ndarray, np.ndarray]] = []
    for agent, space in zip(agents, spaces, strict=True):
        box = gymnasium.spaces.flatten_space(space)
        if not isinstance(box, Box):
            raise ValueError(f"the observations of {agent} have no fixed length: {space}")
        ends.append((box.low, box.high))
    low, high = np.zeros((2, len(ends), max(len(lowest) for lowest, _ in ends)), np.float32)
    for i, (lowest, highest) in enumerate(ends):
        with np.errstate(over="ignore"):  # bounds beyond float32 become infinite
            low[i, : len(lowest)], high[i, : len(highest)] = lowest, highest
    return low.min(axis=0), high.max(axis=0)
