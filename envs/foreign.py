"""Any PettingZoo environment as a `Game`, and with the talk around it.

An environment is played as it is; nothing in it has to know of emcomm. What it does not say is not made up: rewards are
no success. It has a success where it, or whoever wraps it, says so by a function `success(rewards) -> bool`:

    class MyEnv(ParallelEnv):
        def success(self, rewards):         # float32 [N], in the order of possible_agents, after each joint move
            return self.distance < 0.1

An episode succeeds if its last joint move does. Without it the mean return is what there is to see.
"""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, TypeAlias

import gymnasium
import numpy as np
from gymnasium.spaces import Box
from pettingzoo import AECEnv, ParallelEnv
from pettingzoo.utils import BaseParallelWrapper
from pettingzoo.utils.conversions import (
    aec_to_parallel,
    turn_based_aec_to_parallel,
    turn_based_aec_to_parallel_wrapper,
)

from envs.game import BadEnvironment, Bools, Floats, Ints, Outcome
from envs.moves import fresh, legal_of, moves_of, names_of, short, stated
from envs.parallel import NegotiationEnv, taken_view, talk_rules
from envs.rendering import RENDER_MODES, Picture, RenderMode

Success: TypeAlias = Callable[[Floats], bool]
"""From the rewards `[N]` of a joint move to whether it did what the game asks for."""

MakeEnv: TypeAlias = Callable[[], ParallelEnv[Any, Any, Any]]

BINS = 3
"""Values that each number of a Box of actions takes."""
MOST_FEATURES = 10_000
"""Longer observations are refused: every dialogue is logged with what its agents saw."""
PASS = "pass"
"""The move of whoever has to wait for its turn."""


# -- which environment -------------------------------------------------------------------------------------------------


def maker(thing: Any, options: Mapping[str, Any]) -> Callable[..., Any] | None:
    """What makes a new PettingZoo environment at each call with `options`; None where `thing` is a game of arrays.

    `thing` is a class of environments, a function that makes one, or an environment, of which copies are played.
    Raises BadEnvironment where it is none of these.
    """
    if isinstance(thing, ParallelEnv | AECEnv):
        if options:
            raise BadEnvironment("is made already, and takes no options: name what makes it")
        return partial(copy.deepcopy, thing)
    if inspect.isclass(thing):
        return thing if issubclass(thing, ParallelEnv | AECEnv) else None
    as_game = _fits(thing, 1, np.random.default_rng(0), **options)
    if not _fits(thing, **options):
        return None if as_game else thing
    try:
        made = thing(**options)
    except Exception as error:  # foreign code: it may raise anything
        if as_game:
            return None
        raise BadEnvironment(f"cannot be made: {type(error).__name__}: {error}") from error
    if isinstance(made, ParallelEnv | AECEnv):
        return thing
    if as_game:
        return None
    raise BadEnvironment(
        f"cannot be built as a game like envs.game.Game, and makes {_a(made)}, which is no PettingZoo environment"
    )


def _fits(thing: Any, *positional: Any, **options: Any) -> bool:
    """Whether `thing` can be called so, as far as its signature says."""
    try:
        inspect.signature(thing).bind(*positional, **options)
    except (TypeError, ValueError):
        return False
    return True


def as_parallel(env: Any) -> ParallelEnv[Any, Any, Any]:
    """A ParallelEnv as it is, an AECEnv by PettingZoo's own conversion.

    Where agents do not all act in each cycle (`is_parallelizable`), they take turns: whoever waits can only pass.
    Raises TypeError for anything else.
    """
    if isinstance(env, AECEnv):
        together = getattr(env, "metadata", {}).get("is_parallelizable", False)
        return aec_to_parallel(env) if together else turn_based_aec_to_parallel(env)
    _require_parallel(env)
    return env


def foreign_game(make_env: Callable[..., Any], options: Mapping[str, Any], bins: int = BINS) -> Callable[..., Any]:
    """`make_game(n_games, rng)` of the environments that `make_env(**options)` makes.

    Raises BadEnvironment where they cannot be made or played.
    """

    def made() -> ParallelEnv[Any, Any, Any]:
        try:
            return as_parallel(make_env(**options))
        except (TypeError, ValueError, AttributeError, AssertionError) as error:
            raise BadEnvironment(f"it cannot be made: {type(error).__name__}: {error}") from error

    return partial(ParallelGame, make_env=made, bins=bins)


# -- many at once ------------------------------------------------------------------------------------------------------


class ParallelGame:
    """`n_games` copies of a ParallelEnv, stepped one after the other behind the protocol of a batched game.

    `make_env` is called `n_games` times.

    - Observations of any space that flattens to an array are flattened and padded with zeros to the longest over the
      agents; an `action_mask` in them (or in the info) becomes the legal moves instead.
    - Moves are the actions as `envs.moves` lists them, `bins` values for each number of a Box. Agents with fewer
      actions than others have the surplus moves masked; one whose mask is empty may choose any, for it has nothing to
      choose. Where agents take turns (PettingZoo's `turn_based_aec_to_parallel`), who waits has one more move, `pass`.
    - Agents with the same spaces, and names that differ in their numbers only, are of one role.
    - Agents that leave early, or have not come yet, are inactive. Without `possible_agents` the agents are those of the
      first episode.
    - `success`, or a method of that name of the environment, says from the rewards `[N]` of a joint move whether it did
      what the game asks for. Without either the game has no success (`has_success`).

    Raises TypeError for an environment that is no ParallelEnv, BadEnvironment (a ValueError) for one that does not fit.
    """

    most_at_once = 256
    """Each game is an environment of its own, and stepped by itself: more at once would only take memory."""

    def __init__(
        self,
        n_games: int,
        rng: np.random.Generator,
        make_env: MakeEnv,
        success: Success | None = None,
        bins: int = BINS,
    ) -> None:
        if isinstance(bins, bool) or not isinstance(bins, int) or not 2 <= bins <= 1_000:
            raise BadEnvironment(f"bins must be a whole number from 2 to 1000, not {bins!r}")
        self.envs = [make_env() for _ in range(n_games)]
        self._rng, self._success, first = rng, success, self.envs[0]
        _require_parallel(first)
        if len({id(env) for env in self.envs}) < n_games:
            raise BadEnvironment("it is the same environment each time that it is made: many games need as many")
        self._names = _names(first)
        self.agent_names = tuple(self._names)
        if len(self._names) < 2:
            raise BadEnvironment(f"talk takes two: {first} has {len(self._names)} agent{'s' * (not self._names)}")
        self.has_success = success is not None or _own_success(first) is not None
        """Whether anybody says what success is."""
        self._turns = _turn_based(first) is not None
        self._bins = bins
        self._action_spaces = [first.action_space(agent) for agent in self._names]
        self._actions = [_moves(first, agent, bins) for agent in self._names]
        self.roles = _roles(first, self._names, tuple(map(str, self._names)))
        said = {stated(space, bins): None for space in self._action_spaces}
        self.notes = tuple(f"actions {words}" for words in said if words)
        """What a person should know of how the environment is played, one line each."""
        counts = [[len(actions)] for actions in self._actions]
        most = max(self._actions, key=len)
        alike = all(space == self._action_spaces[0] for space in self._action_spaces)
        names = names_of(most) if alike else tuple(map(str, range(len(most))))
        self.move_names = (*names, PASS) if self._turns else names
        self._every_move: Bools = np.arange(len(self.move_names)) < counts
        self._spaces = [_without_mask(first.observation_space(agent)) for agent in self._names]
        self.feature_bounds = _bounds(self._spaces, self._names)
        self._lengths = [gymnasium.spaces.flatdim(space) for space in self._spaces]
        self.n_games, self.n_agents = shape = n_games, len(self._names)
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
            self._features[game] = 0
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
        success = np.zeros(len(which), np.bool_)
        for row, game in enumerate(which.tolist()):
            env = self.envs[game]
            actions = {
                agent: self._action(i, int(moves[row, i]))
                for i, agent in enumerate(self._names)
                if self._active[game, i]
            }
            observations, gains, terminated, truncated, infos = env.step(actions)
            rewards[row] = [gains.get(agent, 0.0) for agent in self._names]
            self._require_finite(rewards[row], env)
            self._terminated[game] |= [bool(terminated.get(agent)) for agent in self._names]
            self._truncated[game] |= [bool(truncated.get(agent)) for agent in self._names]
            self._note(game, observations, infos)
            if not env.agents:  # also for whoever never came, or left without a sign
                self._truncated[game] |= ~self._terminated[game]
            if self.has_success:
                success[row] = self._judged(rewards[row], env)
        judged = success if self.has_success else None
        return Outcome(rewards, judged, self._terminated[which], self._truncated[which])

    def _judged(self, rewards: Floats, env: Any) -> bool:
        judge = self._success or _own_success(env)
        assert judge is not None
        succeeded = judge(rewards)
        if not isinstance(succeeded, bool | np.bool_):
            raise BadEnvironment(f"success(rewards) of {env} must return True or False, not {succeeded!r}")
        return bool(succeeded)

    def _action(self, agent: int, move: int) -> Any:
        """The environment's action; None for who waits."""
        actions = self._actions[agent]
        return fresh(actions[move]) if move < len(actions) else None

    def _require_finite(self, rewards: Floats, env: Any) -> None:
        if not np.isfinite(rewards).all():
            at = int(np.argmin(np.isfinite(rewards)))
            raise BadEnvironment(f"the reward of {self._names[at]} in {env} is {rewards[at]}, and must be finite")

    def _note(self, game: int, observations: dict[Any, Any], infos: dict[Any, dict[str, Any]]) -> None:
        """Keep what an environment told its agents."""
        env = self.envs[game]
        for agent in (*env.agents, *observations):
            if agent not in self._names:
                raise BadEnvironment(f"{agent} comes to {env}, whose possible_agents do not name it")
        here = [agent in env.agents for agent in self._names]
        self._active[game] = here & ~(self._terminated[game] | self._truncated[game])
        self.infos[game] = infos
        for i, agent in enumerate(self._names):
            if agent in observations:
                self._look(game, i, observations[agent], infos.get(agent, {}).get("action_mask"))
        if self._turns:
            aec = _turn_based(env)
            assert aec is not None
            waits = np.array([agent != getattr(aec, "agent_selection", None) for agent in self._names])
            self._legal[game, waits] = np.arange(len(self.move_names)) == len(self.move_names) - 1

    def _look(self, game: int, i: int, seen: Any, mask: Any) -> None:
        """Take what one agent sees, and which moves its mask allows."""
        agent = self._names[i]
        if isinstance(seen, dict) and "action_mask" in seen:
            mask = seen["action_mask"]
        with np.errstate(over="ignore"):  # numbers beyond float32 become infinite, and are refused
            flat = np.asarray(gymnasium.spaces.flatten(self._spaces[i], seen)).astype(np.float32)
        if len(flat) != self._lengths[i]:
            raise BadEnvironment(
                f"{agent} sees {len(flat)} numbers in {self.envs[game]}, and its observation_space has "
                f"{self._lengths[i]}"
            )
        if not np.isfinite(flat).all():
            bad = flat[~np.isfinite(flat)][0]
            raise BadEnvironment(f"{agent} sees {bad} in {self.envs[game]}: observations must be finite numbers")
        self._features[game, i, : len(flat)] = flat
        self._legal[game, i] = self._every_move[i]
        if mask is not None:
            try:
                legal = legal_of(mask, self._action_spaces[i], len(self._actions[i]), self._bins)
            except BadEnvironment as error:
                raise BadEnvironment(f"{agent} in {self.envs[game]}: {error}") from error
            if legal.any():
                self._legal[game, i, : len(legal)] &= legal


class NegotiableEnv(NegotiationEnv):
    """A ParallelEnv with talk before every joint move; made by `negotiable`."""

    def __init__(
        self, wrapped: ParallelEnv[Any, Any, Any], success: Success | None, bins: int = BINS, **kwargs: Any
    ) -> None:
        self.wrapped = wrapped
        super().__init__(partial(ParallelGame, make_env=self._wrapped_env, success=success, bins=bins), **kwargs)
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
    bins: int = BINS,
    render_mode: RenderMode | None = None,
    **options: Any,
) -> NegotiableEnv:
    """Put the talk around a PettingZoo ParallelEnv.

    Agents keep their names, and their moves are the environment's own actions, counted from 0 as `envs.moves` lists
    them, with `bins` values for each number of a Box. See `NegotiationEnv` for the spaces, and `TalkRules` and `View`
    for `options`. `success` tells from the rewards `[N]` whether a joint move succeeded, for the record only (default:
    what the method `success` of `env` says; without one, nothing is said of success). `render_mode` is by default that
    of `env`: `ansi` adds its text to the dialogue, `rgb_array` and `human` put its picture beside the dialogue where it
    makes pictures. Options given to `reset` are handed on.

    Raises TypeError if `env` is no ParallelEnv, or for an unknown option; BadEnvironment (a ValueError) if its
    spaces do not fit.
    """
    _require_parallel(env)
    view = taken_view(options)
    rules = talk_rules({"n_tokens": n_tokens, **options}, others=("success", "bins"))
    own_mode = _mode(env) if _mode(env) in RENDER_MODES else None
    return NegotiableEnv(env, success, bins, rules=rules, render_mode=render_mode or own_mode, view=view)


def _mode(env: ParallelEnv[Any, Any, Any]) -> Any:
    return getattr(env, "render_mode", None)


def _require_parallel(env: Any) -> None:
    if not isinstance(env, ParallelEnv):
        raise TypeError(
            f"talk needs a PettingZoo ParallelEnv, not {type(env).__name__} (see PettingZoo's aec_to_parallel)"
        )


def _a(thing: Any) -> str:
    name = type(thing).__name__
    return f"a{'n' * (name[:1].lower() in 'aeiou')} {name}"


def _names(env: ParallelEnv[Any, Any, Any]) -> list[Any]:
    """The agents that may ever take part; those of the first episode, where the environment does not say."""
    names = getattr(env, "possible_agents", None)
    if not names:
        env.reset(seed=0)
        names = env.agents
    return list(names)


def _turn_based(env: Any) -> Any | None:
    """The AECEnv behind an environment in which agents take turns; None for others."""
    while isinstance(env, BaseParallelWrapper):
        env = env.env
    return env.aec_env if isinstance(env, turn_based_aec_to_parallel_wrapper) else None


def _own_success(env: Any) -> Success | None:
    """What an environment says of success; raises BadEnvironment where that is no function."""
    judge = getattr(env, "success", None)
    if judge is None:
        judge = getattr(getattr(env, "unwrapped", env), "success", None)
    if judge is not None and not callable(judge):
        raise BadEnvironment(
            f"the success of {env} must be a function from the rewards of a joint move to True or False, not "
            f"{_a(judge)}: give it another name if it is something else"
        )
    return judge


def _moves(env: ParallelEnv[Any, Any, Any], agent: Any, bins: int) -> list[Any]:
    try:
        return moves_of(env.action_space(agent), bins)
    except BadEnvironment as error:
        raise BadEnvironment(f"the actions of {agent} in {env}: {error}") from error


def _roles(env: ParallelEnv[Any, Any, Any], agents: Sequence[Any], names: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Agents with the same spaces whose names differ in their numbers, by what their names have in common."""
    kinds: list[tuple[str, Any, Any]] = []
    members: list[list[int]] = []
    for i, (agent, name) in enumerate(zip(agents, names, strict=True)):
        kind = re.sub(r"\d+", "#", name), env.observation_space(agent), env.action_space(agent)
        known = next((k for k, other in enumerate(kinds) if other == kind), None)
        if known is None:
            kinds.append(kind)
            members.append([])
        members[-1 if known is None else known].append(i)
    common = [re.sub(r"[\d_\- ]+", " ", names[own[0]]).strip() for own in members]
    called = [
        base if base and common.count(base) == 1 else names[own[0]] for base, own in zip(common, members, strict=True)
    ]
    if len(set(called)) < len(called):
        called = [names[own[0]] for own in members]
    return {role: tuple(own) for role, own in zip(called, members, strict=True)}


def _without_mask(space: gymnasium.Space[Any]) -> gymnasium.Space[Any]:
    """The space of what is seen beside the mask."""
    if not isinstance(space, gymnasium.spaces.Dict):
        return space
    return gymnasium.spaces.Dict({key: part for key, part in space.items() if key != "action_mask"})


def _bounds(spaces: Sequence[gymnasium.Space[Any]], agents: Sequence[Any]) -> tuple[Floats, Floats]:
    """`[F]`, `[F]` the bounds that hold for every agent, those of padding (0) included."""
    ends: list[tuple[np.ndarray, np.ndarray]] = []
    for agent, space in zip(agents, spaces, strict=True):
        box = gymnasium.spaces.flatten_space(space)
        if not isinstance(box, Box):
            raise BadEnvironment(f"the observations of {agent} have no fixed length: {short(space)}")
        if len(box.low) > MOST_FEATURES:
            raise BadEnvironment(
                f"the observations of {agent} are {len(box.low):,} numbers ({short(space)}), more than "
                f"{MOST_FEATURES:,}: make them smaller first, as SuperSuit's resize_v1 does with images"
            )
        ends.append((box.low, box.high))
    low, high = np.zeros((2, len(ends), max(len(lowest) for lowest, _ in ends)), np.float32)
    for i, (lowest, highest) in enumerate(ends):
        with np.errstate(over="ignore"):  # bounds beyond float32 become infinite
            low[i, : len(lowest)], high[i, : len(highest)] = lowest, highest
    return low.min(axis=0), high.max(axis=0)
