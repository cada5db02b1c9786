"""One game with talk as a PettingZoo ParallelEnv: the view B = 1 of `Negotiation`, which alone knows the rules."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from operator import index
from typing import Any, Literal, NoReturn, TypeAlias, get_args, get_type_hints

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from pettingzoo import AECEnv, ParallelEnv
from pettingzoo.utils.conversions import parallel_to_aec
from pettingzoo.utils.deprecated_module import DeprecatedEnv

from envs.crossing import CrossingGame
from envs.game import BadGame, Declaration, Game, Ints
from envs.negotiation import (
    LONGEST_UNBOUNDED_TALK,
    PHASES,
    Dialogues,
    GameOver,
    IllegalAction,
    Negotiation,
    TalkRules,
    encoded,
)  # fmt: skip
from envs.rendering import RENDER_MODES, Picture, RenderMode, Scene, Window, text

GameFactory: TypeAlias = Callable[[int, np.random.Generator], Game]
"""Called as `make_game(n_games, rng)`; a `Game` class is one."""

Seen: TypeAlias = Any
"""The observation of one agent: a dictionary of arrays, or with `mask_in` infos one vector."""


@dataclass(frozen=True)
class View:
    """How the game is shown to an agent, and what becomes of an action that is illegal; the rules do not depend on it.

    Raises ValueError for an option of another value.
    """

    observation_parts: bool = False
    """Whether `observation` and `buffer` are apart, and the buffer holds symbols, not their one-hot codes."""
    mask_in: Literal["observations", "infos"] = "observations"
    """Where `action_mask` stands: in every observation, or in every info, where tools without masks overlook it."""
    illegal: Literal["raise", "penalise"] = "raise"
    """An illegal action raises IllegalAction; or it costs `penalty`, and the first legal action is taken instead."""
    penalty: float = 1.0
    """With `illegal="penalise"`: subtracted from the reward of the agent for each of its illegal actions (reward)."""

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(type(self)).items():
            value, choices = getattr(self, name), get_args(hint)
            if choices and value not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, not {value!r}")
        if not isinstance(self.observation_parts, bool):
            raise ValueError(f"observation_parts must be True or False, not {self.observation_parts!r}")
        if not isinstance(self.penalty, int | float) or not 0 <= self.penalty < float("inf"):
            raise ValueError(f"penalty must be a number from 0 up, not {self.penalty!r}")


class NegotiationEnv(ParallelEnv[str, Seen, int]):
    """A game in which the agents may talk before every joint move.

    ### Actions

    One `Discrete(n_tokens + 1 + n_moves)` for every agent: the tokens 0 … n_tokens-1, then EOT (end of talk,
    `n_tokens`), then the game's moves. With the crossing and five tokens: 0-4 tokens, 5 EOT, 6 main line, 7 detour.

    ### Phases

    OPEN: moves and symbols are legal. If all agents move, the moves are played; if any says a symbol, the talk is
    entered and moves chosen in that round are not played. TALK: only symbols are legal; it ends when all agents say EOT
    in the same round, or after `max_rounds`. ACT: only moves are legal; they are played at the same moment, and the
    game goes on in OPEN or ends.

    ### Observations

    A `Dict` for every agent; nothing in it tells identical agents apart but what has been said.

    - `observation`: float32 `[F + W * N * (n_tokens + 2)]`, all that the agent may know. First F numbers: the game's
      own features (none for the crossing), where there are several roles the agent's own, one-hot, and the phase,
      one-hot (OPEN, TALK, ACT). Then the buffer, the last W rounds as heard: round after round, the newest last; in
      each round a cell for each of the N agents, the own one first, the others by role, within a role permuted for
      each episode; in each cell one-hot the tokens, EOT, and last silence, where nothing was said (also the rounds
      before the talk). W is `window`, by default `max_rounds`, at most 8: what was said earlier has to be remembered.
    - `action_mask`: int8 `[n_actions]`, 1 for legal actions. With sequential speaking a step is one agent's turn, and
      the others' masks leave a single placeholder, which is neither written nor heard.

    The crossing by default: 3 + 8 · 2 · 7 = 115 numbers; `observation[0:3]` the phase, `observation[101:108]` the own
    symbol of the newest round, `observation[108:115]` the other's.

    With `observation_parts=True` the parts are apart: `observation` float32 `[F]`, and `buffer` int8 `[W, N]`, the
    symbols themselves, -1 for silence. With `mask_in="infos"` the mask stands in every agent's info, and the
    observation is the vector alone, a `Box`.

    ### State

    `state()` is the global view for a centralised critic, float32 `[N * (F + W * N * (n_tokens + 2) + n_actions) + 1]`:
    for each agent, in the order of `possible_agents`, its observation and its action mask, and last the rounds so far
    as a share of `max_rounds` (4 096 where there is no limit). In it the cells of a round are in the order of
    `possible_agents` as well, for every agent: nothing is permuted.

    ### Rewards

    The game's reward for a joint move, less `round_cost` for every round of talk. The crossing: +1 each if the trains
    part, -1 each if they crash; then the episode ends.

    ### Arguments

    The fields of `TalkRules`, which explains them: `n_tokens`, `max_rounds`, `opening`, `speaking`, `order`, `closing`,
    `channel`, `noise`, `round_cost`, `window`, with its defaults where the game has no `talk` of its own; what the game
    itself takes; the fields of `View`: `observation_parts`, `mask_in`, `illegal`, `penalty`; and `render_mode`: None,
    `ansi` (the dialogue as a table), `rgb_array` (a picture) or `human` (a window). Nothing is drawn unless `render` is
    called.

    ### Errors

    `IllegalAction` (a ValueError) for an action that the mask forbids, a missing or an unknown agent; `GameOver`
    (a RuntimeError) for a step before `reset` or after the end. Either leaves the environment as it was.

    With `illegal="penalise"`, for tools that know no masks, an integer that the mask forbids is no error. The first
    legal action is taken in its place (token 0 where symbols are legal, else the first legal move); the agent's reward
    is less by `penalty`, and its info holds `illegal_action`, what it gave. Where the mask leaves one action there is
    nothing to choose: it is taken whatever is given, and costs nothing. The dialogue holds what was taken.

    ### Version history

    v1: `observation` holds the buffer too, one-hot, for tools that keep `observation` and drop the rest. v0: the game
    of the 2022 talk, whose rules v1 keeps.
    """

    def __init__(
        self,
        make_game: GameFactory,
        rules: TalkRules | None = None,
        render_mode: RenderMode | None = None,
        view: View | None = None,
    ) -> None:
        if render_mode is not None and render_mode not in RENDER_MODES:
            raise ValueError(f"render_mode must be one of {', '.join(RENDER_MODES)}, or None, not {render_mode!r}")
        self._make_game, self._rules, self.render_mode = make_game, rules or TalkRules(), render_mode
        self._view = view or View()
        self._talk = self._start(np.random.default_rng())
        game = self._talk.game
        self.metadata = {"name": type(game).__name__, "render_modes": list(RENDER_MODES), "render_fps": 2}
        names = getattr(game, "agent_names", None) or self._talk.declaration.agent_names
        self.possible_agents = list(names)
        self.agents: list[str] = []
        self._started = False
        self._observation_spaces = {name: _observation_space(self._talk, self._view) for name in names}
        self._action_spaces = {name: Discrete(self._talk.n_actions) for name in names}
        self.state_space = self._state_space()
        """Of `state`: everything of all agents, in a fixed order."""
        self.dialogue: Scene | None = None
        """The last finished dialogue with its outcome; `print` shows it as a table."""
        self._has_just_moved = False
        self._window: Window | None = None

    def _start(self, rng: np.random.Generator) -> Negotiation:
        return Negotiation(self._make_game(1, rng), self._rules, rng)

    @property
    def rules(self) -> TalkRules:
        """The options of the talk."""
        return self._rules

    @property
    def declaration(self) -> Declaration:
        """What the game says of itself."""
        return self._talk.declaration

    @property
    def view(self) -> View:
        """How the game is shown to an agent."""
        return self._view

    @property
    def heard(self) -> tuple[slice, ...]:
        """Where in `observation` the words of the others stand, for each visible round, the oldest first."""
        cell = self._rules.eot + 2
        row = self._talk.n_agents * cell
        starts = [self._talk.n_features + row * i for i in range(self._rules.visible_rounds)]
        return tuple(slice(start + cell, start + row) for start in starts)

    def _state_space(self) -> Box:
        seen, mask, rounds = _vector_space(self._talk), Box(0, 1, (self._talk.n_actions,)), Box(0, 1, (1,))
        parts = [*[seen, mask] * self._talk.n_agents, rounds]
        low, high = (np.concatenate([getattr(part, end) for part in parts]) for end in ("low", "high"))
        return Box(np.minimum(low, 0), np.maximum(high, 0), dtype=np.float32)  # 0 for whoever has not come yet

    def state(self) -> np.ndarray:
        """The global view, as a vector in `state_space`; the class describes it."""
        seen, by_column = self._talk.observe(), self._talk.columns[0]
        in_order = np.take_along_axis(seen.buffer[0], by_column.argsort(axis=1)[:, None], 2)
        words = encoded(in_order, self._rules.eot + 1)
        each = np.concatenate([seen.features[0], words, seen.mask[0]], axis=1)
        limit = self._rules.max_rounds or LONGEST_UNBOUNDED_TALK
        return np.append(each.ravel(), self._talk.n_rounds[0] / limit).astype(np.float32)

    def observation_space(self, agent: str) -> gymnasium.Space[Any]:
        return self._observation_spaces[agent]

    def action_space(self, agent: str) -> gymnasium.Space[Any]:
        return self._action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Seen], dict[str, dict[str, Any]]]:
        """Start an episode. A `seed` fixes all that follows, whatever was played before; without one, chance goes on.

        `options` mean nothing to a plain game.
        """
        if seed is not None:
            self._talk = self._start(np.random.default_rng(seed))
        self._accept(options)
        self._talk.reset()
        self._started = True
        self._has_just_moved = False
        self.agents = []
        self.agents = self._present(np.zeros(len(self.possible_agents), np.bool_))
        return self._observations(self.agents), self._told(self.agents, news=True)

    def step(
        self, actions: dict[str, int]
    ) -> tuple[dict[str, Seen], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]:
        """Everyone in `agents` acts at once; those whose turn it is not give the placeholder that their mask leaves.

        After the end no actions bring nothing, as PettingZoo has it (SuperSuit's `black_death_v3` steps so once more).
        """
        if self._started and not self.agents and not actions:
            return {}, {}, {}, {}, {}
        phase = PHASES[self._talk.phase[0]]
        joint, illegal = self._joint(actions)
        result = self._talk.step(joint)
        result.rewards[0, [self.possible_agents.index(name) for name in illegal]] -= self._view.penalty
        self._has_just_moved = len(result.dialogues.game) > 0
        if self._has_just_moved:
            self.dialogue = self._finished(result.dialogues, phase)
        present = self._present((result.terminated | result.truncated)[0])
        told = [name for name in self.possible_agents if name in self.agents or name in present]
        self.agents = present

        def by_name(values: np.ndarray) -> dict[str, Any]:
            everyone = zip(self.possible_agents, values[0].tolist(), strict=True)
            return {name: value for name, value in everyone if name in told}

        rewards, terminated, truncated = map(by_name, (result.rewards, result.terminated, result.truncated))
        infos = self._told(told, news=self._has_just_moved)
        for name, action in illegal.items():
            infos[name]["illegal_action"] = action
        return self._observations(told), rewards, terminated, truncated, infos

    # -- from names to rows and back -----------------------------------------------------------------------------

    def _present(self, ended: np.ndarray) -> list[str]:
        """Who takes part, or has, and has not come to an end: until then it is here, with one action, a placeholder."""
        stays = zip(self.possible_agents, self._talk.game.active()[0], ended, strict=True)
        return [name for name, here, out in stays if (here or name in self.agents) and not out]

    def _observations(self, names: Sequence[str]) -> dict[str, Seen]:
        rows, seen = self._places(names), self._talk.observe()
        if self._view.observation_parts:
            parts: dict[str, Seen] = {
                name: {"observation": seen.features[0, i], "buffer": seen.buffer[0, i]} for name, i in rows.items()
            }
        else:
            vectors = np.concatenate([seen.features[0], encoded(seen.buffer[0], self._rules.eot + 1)], axis=1)
            parts = {name: {"observation": vectors[i]} for name, i in rows.items()}
        if self._view.mask_in == "observations":
            return {name: {**part, "action_mask": self._mask(rows[name])} for name, part in parts.items()}
        return parts if self._view.observation_parts else {name: part["observation"] for name, part in parts.items()}

    def _told(self, names: Sequence[str], news: bool) -> dict[str, dict[str, Any]]:
        """The infos, with the mask if it stands there."""
        infos = self._infos(names, news)
        if self._view.mask_in == "infos":
            for name, i in self._places(names).items():
                infos[name]["action_mask"] = self._mask(i)
        return infos

    def _places(self, names: Sequence[str]) -> dict[str, int]:
        return {name: self.possible_agents.index(name) for name in names}

    def _mask(self, agent: int) -> np.ndarray:
        return self._talk.mask()[0, agent].astype(np.int8)

    def _joint(self, actions: dict[str, int]) -> tuple[Ints, dict[str, int]]:
        """`[1, N]` the actions as a row, placeholders for those who have left; and the illegal ones that were given."""
        if self._talk.over[0]:
            raise GameOver("the episode has ended or was never started: call reset before step")
        for name in actions:
            if name not in self.agents:
                what = "has left the game" if name in self.possible_agents else "is unknown"
                raise IllegalAction(f"agent {name!r} {what}: the agents are {', '.join(map(str, self.agents))}")
        mask = self._talk.mask()[0]
        joint, illegal = mask.argmax(axis=1), {}
        for i, name in enumerate(self.possible_agents):
            if name in self.agents:
                action = self._given(name, actions, mask[i])
                if 0 <= action < len(mask[i]) and mask[i, action]:
                    joint[i] = action
                elif mask[i].sum() > 1:
                    illegal[name] = action
        return joint[None], illegal

    def _given(self, name: str, actions: dict[str, int], mask: np.ndarray) -> int:
        """The action of an agent; raises IllegalAction unless it is one that the mask allows, or costs a penalty."""
        legal = ", ".join(map(str, np.flatnonzero(mask)))
        where = f"in phase {PHASES[self._talk.phase[0]]}: legal are {legal}"
        if name not in actions:
            raise IllegalAction(f"the action of {name} is missing {where}")
        try:
            action = index(actions[name])
        except TypeError:
            raise IllegalAction(f"action {actions[name]!r} of {name} is no integer {where}") from None
        if self._view.illegal == "raise" and not (0 <= action < len(mask) and mask[action]):
            raise IllegalAction(f"action {action} ({self._meaning(action)}) of {name} is illegal {where}")
        return action

    def _meaning(self, action: int) -> str:
        eot, moves = self._rules.eot, self._talk.game.move_names
        if not 0 <= action <= eot + len(moves):
            return "no such action"
        return f"token {action}" if action < eot else "EOT" if action == eot else f"move {moves[action - eot - 1]}"

    # -- what a kind of game may add -----------------------------------------------------------------------------

    def _accept(self, options: dict[str, Any] | None) -> None:
        """Take the options of `reset`, if the game has a use for them."""

    def _infos(self, names: Sequence[str], news: bool) -> dict[str, dict[str, Any]]:
        """What is told besides the observations: nothing by a plain game. `news`: the game itself has gone on."""
        del news
        return {name: {} for name in names}

    # -- showing -------------------------------------------------------------------------------------------------

    def scene(self) -> Scene:
        """The negotiation as it stands or, right after the moves, as it ended."""
        if self._has_just_moved and self.dialogue is not None:
            return self.dialogue
        symbols, order = self._talk.so_far(0)
        return replace(
            self._empty_scene(),
            knows=self._talk.declaration.knows(self._talk.game.private()[0]),
            phase=PHASES[self._talk.phase[0]],
            symbols=_rows(symbols),
            order=_rows(order),
            cut=bool(self._talk.cut[0]),
        )

    def _finished(self, dialogues: Dialogues, phase: str) -> Scene:
        return replace(
            self._empty_scene(),
            knows=self._talk.declaration.knows(dialogues.private[0]),
            phase=phase,
            symbols=_rows(dialogues.symbols),
            order=_rows(dialogues.order),
            moves=tuple(dialogues.moves[0].tolist()),
            rewards=tuple(dialogues.rewards[0].tolist()),
            success=bool(dialogues.success[0]) if len(dialogues.success) else None,
            cut=bool(dialogues.cut[0]),
        )

    def _empty_scene(self) -> Scene:
        game = self._talk.declaration
        return Scene(tuple(map(str, self.possible_agents)), game.move_names, self._rules.n_tokens, words=game.words)

    def render(self) -> np.ndarray | str | None:
        """Show `scene()` in the way of `render_mode`; a step never does."""
        if self.render_mode is None:
            gymnasium.logger.warn("render was called without a render_mode: give one when making the environment")
            return None
        if self.render_mode == "ansi":
            return self._text()
        picture = self._picture()
        if self.render_mode == "rgb_array":
            return picture
        self._window = self._window or Window()
        self._window.show(picture)
        return None

    def _text(self) -> str:
        return text(self.scene())

    def _picture(self) -> Picture:
        from envs.pictures import draw  # Pillow is loaded by those who look, not by those who train

        return draw(self.scene())

    def close(self) -> None:
        """Close the window, if one is open."""
        if self._window is not None:
            self._window.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_window": None}  # a window stays on its screen


TALK_OPTIONS, VIEW_OPTIONS = ([field.name for field in fields(kind)] for kind in (TalkRules, View))


def talk_rules(options: dict[str, Any], others: Sequence[str] = ()) -> TalkRules:
    """The rules of talk with `options`; `others` are further keywords that the caller takes.

    Raises TypeError for an unknown option, listing the valid ones.
    """
    for name in options:
        if name not in TALK_OPTIONS:
            known = ", ".join([*TALK_OPTIONS, *others, *VIEW_OPTIONS, "render_mode"])
            raise TypeError(f"unknown option {name!r}: the options are {known}")
    return TalkRules(**options)


def taken_view(options: dict[str, Any]) -> View:
    """The view with those of `options` that are about it, which are taken out of them."""
    return View(**{name: options.pop(name) for name in VIEW_OPTIONS if name in options})


def parallel_env(
    game: Callable[..., Game] = CrossingGame, render_mode: RenderMode | None = None, **options: Any
) -> NegotiationEnv:
    """A game with talk, by default the crossing, as a ParallelEnv.

    `options` are those of the talk (`TalkRules`), of the view (`View`), and the game's own.
    """
    own = list(inspect.signature(game).parameters)[2:]
    if both := {*TALK_OPTIONS} & {*own}:
        raise BadGame(f"{', '.join(sorted(both))} is an option of the talk, and so cannot be one of the game")
    if both := {*VIEW_OPTIONS} & {*own}:
        raise BadGame(f"{', '.join(sorted(both))} is an option of the view, and so cannot be one of the game")
    make_game = partial(game, **{name: options.pop(name) for name in own if name in options})
    view = taken_view(options)
    rules = talk_rules(options, own)  # refuses unknown options before the game is made
    talk = getattr(make_game(1, np.random.default_rng(0)), "talk", None)
    return NegotiationEnv(make_game, talk_rules({**talk, **options}) if talk else rules, render_mode, view)


def env(**options: Any) -> AECEnv[str, Seen, int | None]:
    """The same as an AECEnv, through PettingZoo's own conversion."""
    return parallel_to_aec(parallel_env(**options))


def deprecated(message: str, **options: Any) -> NoReturn:
    """Stands for an environment that another one has replaced; raises PettingZoo's DeprecatedEnv with `message`."""
    del options
    raise DeprecatedEnv(message)


def _observation_space(talk: Negotiation, view: View) -> gymnasium.Space[Any]:
    rounds = talk.rules.visible_rounds if not view.observation_parts else 0
    vector = _vector_space(talk, rounds)
    if view.mask_in == "infos" and not view.observation_parts:
        return vector
    parts: dict[str, gymnasium.Space[Any]] = {"observation": vector}
    if view.observation_parts:
        parts["buffer"] = Box(-1, talk.rules.eot, (talk.rules.visible_rounds, talk.n_agents), np.int8)
    if view.mask_in == "observations":
        parts["action_mask"] = Box(0, 1, (talk.n_actions,), np.int8)
    return gymnasium.spaces.Dict(parts)


def _vector_space(talk: Negotiation, rounds: int | None = None) -> Box:
    """The features, then so many rounds of the buffer, one-hot; by default all that are visible."""
    low, high = talk.game.feature_bounds
    rounds = talk.rules.visible_rounds if rounds is None else rounds
    others = talk.n_features - len(low) + rounds * talk.n_agents * (talk.rules.eot + 2)  # the role and the phase, too
    zeros = np.zeros(others, np.float32)
    return Box(np.concatenate([low, zeros]), np.concatenate([high, zeros + 1]), dtype=np.float32)


def _rows(array: Ints) -> tuple[tuple[int, ...], ...]:
    return tuple(map(tuple, array.tolist()))
