"""One game with talk as a PettingZoo ParallelEnv: the view B = 1 of `Negotiation`, which alone knows the rules."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from functools import partial
from operator import index
from typing import Any, TypeAlias

import gymnasium
import numpy as np
from gymnasium.spaces import Box, Discrete
from pettingzoo import AECEnv, ParallelEnv
from pettingzoo.utils.conversions import parallel_to_aec

from envs.crossing import CrossingGame
from envs.game import BadGame, Declaration, Game, Ints
from envs.negotiation import PHASES, Dialogues, GameOver, IllegalAction, Negotiation, TalkRules
from envs.rendering import RENDER_MODES, Picture, RenderMode, Scene, Window, text

GameFactory: TypeAlias = Callable[[int, np.random.Generator], Game]
"""Called as `make_game(n_games, rng)`; a `Game` class is one."""

Seen: TypeAlias = dict[str, np.ndarray]
"""The observation of one agent."""


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

    - `observation`: float32 `[F + 3]`, the game's own features (none for the crossing), where there are several roles
      the agent's own, one-hot, and the phase, one-hot;
    - `buffer`: int8 `[window, n_agents]`, the last rounds as heard, newest last, own column first, -1 where nothing
      was said;
    - `action_mask`: int8 `[n_actions]`, 1 for legal actions. With sequential speaking a step is one agent's turn, and
      the others' masks leave a single placeholder, which is neither written nor heard.

    ### Rewards

    The game's reward for a joint move, less `round_cost` for every round of talk. The crossing: +1 each if the trains
    part, -1 each if they crash; then the episode ends.

    ### Arguments

    The fields of `TalkRules`, which explains them: `n_tokens`, `max_rounds`, `opening`, `speaking`, `order`, `closing`,
    `channel`, `noise`, `round_cost`, `window`, with its defaults where the game has no `talk` of its own; what the game
    itself takes; and `render_mode`: None, `ansi` (the dialogue as a table), `rgb_array` (a picture) or `human` (a
    window). Nothing is drawn unless `render` is called.

    ### Errors

    `IllegalAction` (a ValueError) for an action that the mask forbids, a missing or an unknown agent; `GameOver`
    (a RuntimeError) for a step before `reset` or after the end. Either leaves the environment as it was.

    ### Version history

    v0: the game of the 2022 talk.
    """

    def __init__(
        self, make_game: GameFactory, rules: TalkRules | None = None, render_mode: RenderMode | None = None
    ) -> None:
        if render_mode is not None and render_mode not in RENDER_MODES:
            raise ValueError(f"render_mode must be one of {', '.join(RENDER_MODES)}, or None, not {render_mode!r}")
        self._make_game, self._rules, self.render_mode = make_game, rules or TalkRules(), render_mode
        self._talk = self._start(np.random.default_rng())
        game = self._talk.game
        self.metadata = {"name": type(game).__name__, "render_modes": list(RENDER_MODES), "render_fps": 2}
        names = getattr(game, "agent_names", None) or self._talk.declaration.agent_names
        self.possible_agents = list(names)
        self.agents: list[str] = []
        self._observation_spaces = {name: _observation_space(self._talk) for name in names}
        self._action_spaces = {name: Discrete(self._talk.n_actions) for name in names}
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
        self._has_just_moved = False
        self.agents = []
        self.agents = self._present(np.zeros(len(self.possible_agents), np.bool_))
        return self._observations(self.agents), self._infos(self.agents, news=True)

    def step(
        self, actions: dict[str, int]
    ) -> tuple[dict[str, Seen], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]:
        """Everyone in `agents` acts at once; those whose turn it is not give the placeholder that their mask leaves."""
        phase = PHASES[self._talk.phase[0]]
        result = self._talk.step(self._joint(actions))
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
        infos = self._infos(told, news=self._has_just_moved)
        return self._observations(told), rewards, terminated, truncated, infos

    # -- from names to rows and back -----------------------------------------------------------------------------

    def _present(self, ended: np.ndarray) -> list[str]:
        """Who takes part, or has, and has not come to an end: until then it is here, with one action, a placeholder."""
        stays = zip(self.possible_agents, self._talk.game.active()[0], ended, strict=True)
        return [name for name, here, out in stays if (here or name in self.agents) and not out]

    def _observations(self, names: Sequence[str]) -> dict[str, Seen]:
        seen = self._talk.observe()
        rows = {name: self.possible_agents.index(name) for name in names}
        return {
            name: {
                "observation": seen.features[0, i],
                "buffer": seen.buffer[0, i],
                "action_mask": seen.mask[0, i].astype(np.int8),
            }
            for name, i in rows.items()
        }

    def _joint(self, actions: dict[str, int]) -> Ints:
        """`[1, N]` the actions as a row; placeholders for those who have left."""
        if self._talk.over[0]:
            raise GameOver("the episode has ended or was never started: call reset before step")
        for name in actions:
            if name not in self.agents:
                what = "has left the game" if name in self.possible_agents else "is unknown"
                raise IllegalAction(f"agent {name!r} {what}: the agents are {', '.join(map(str, self.agents))}")
        mask = self._talk.mask()[0]
        joint = mask.argmax(axis=1)
        for i, name in enumerate(self.possible_agents):
            if name in self.agents:
                joint[i] = self._legal(name, actions, mask[i])
        return joint[None]

    def _legal(self, name: str, actions: dict[str, int], mask: np.ndarray) -> int:
        """The action of an agent; raises IllegalAction unless it is one that the mask allows."""
        legal = ", ".join(map(str, np.flatnonzero(mask)))
        where = f"in phase {PHASES[self._talk.phase[0]]}: legal are {legal}"
        if name not in actions:
            raise IllegalAction(f"the action of {name} is missing {where}")
        try:
            action = index(actions[name])
        except TypeError:
            raise IllegalAction(f"action {actions[name]!r} of {name} is no integer {where}") from None
        if not (0 <= action < len(mask) and mask[action]):
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


def talk_rules(options: dict[str, Any], others: Sequence[str] = ()) -> TalkRules:
    """The rules of talk with `options`; `others` are further keywords that the caller takes.

    Raises TypeError for an unknown option, listing the valid ones.
    """
    valid = [field.name for field in fields(TalkRules)]
    for name in options:
        if name not in valid:
            raise TypeError(f"unknown option {name!r}: the options are {', '.join([*valid, *others, 'render_mode'])}")
    return TalkRules(**options)


def parallel_env(
    game: Callable[..., Game] = CrossingGame, render_mode: RenderMode | None = None, **options: Any
) -> NegotiationEnv:
    """A game with talk, by default the crossing, as a ParallelEnv; `options` are the talk's and the game's own."""
    own = list(inspect.signature(game).parameters)[2:]
    if both := {field.name for field in fields(TalkRules)} & {*own}:
        raise BadGame(f"{', '.join(sorted(both))} is an option of the talk, and so cannot be one of the game")
    make_game = partial(game, **{name: options.pop(name) for name in own if name in options})
    rules = talk_rules(options, own)  # refuses unknown options before the game is made
    talk = getattr(make_game(1, np.random.default_rng(0)), "talk", None)
    return NegotiationEnv(make_game, talk_rules({**talk, **options}) if talk else rules, render_mode)


def env(**options: Any) -> AECEnv[str, Seen, int | None]:
    """The same as an AECEnv, through PettingZoo's own conversion."""
    return parallel_to_aec(parallel_env(**options))


def _observation_space(talk: Negotiation) -> gymnasium.spaces.Dict:
    low, high = talk.game.feature_bounds
    phase = np.zeros(talk.n_features - len(low), np.float32)  # and the role, where there are several
    return gymnasium.spaces.Dict(
        {
            "observation": Box(np.concatenate([low, phase]), np.concatenate([high, phase + 1]), dtype=np.float32),
            "buffer": Box(-1, talk.rules.eot, (talk.rules.window, talk.n_agents), np.int8),
            "action_mask": Box(0, 1, (talk.n_actions,), np.int8),
        }
    )


def _rows(array: Ints) -> tuple[tuple[int, ...], ...]:
    return tuple(map(tuple, array.tolist()))
