"""From the settings of a run to its game: by name, with options and a talk of its own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, get_args, get_type_hints

import numpy as np
from pettingzoo import AECEnv, ParallelEnv

from emcomm.config import Config
from emcomm.errors import BadInput
from emcomm.schemas import converted
from envs import GAMES
from envs.foreign import BINS, foreign_game, maker
from envs.game import BadEnvironment, BadGame, BadOption, Game
from envs.registry import Registry, Unknown


def named(registry: Registry[Any], name: str) -> Any:
    """The entry `name`; raises BadInput for an unknown one."""
    try:
        return registry.find(name)
    except Unknown as error:
        raise BadInput(str(error)) from error


MakeGame = Callable[[int, np.random.Generator], Game]
"""Called as `make_game(n_games, rng)`."""


def game_class(env: str, options: Mapping[str, Any] | None = None) -> MakeGame:
    """The game behind a registered id or `module:Name`, with settings of its own (`Config.game_options`).

    `module:Name` is a class like `envs.game.Game`, or a PettingZoo environment: its class, what makes it, or one. The
    settings of an environment are the arguments of what makes it, and `bins` (`envs.moves`).
    Raises BadInput for a game that is unknown or no Python, and for an option that it lacks or of a wrong type.
    """
    game, options = named(GAMES, env), dict(options or {})
    if env not in GAMES and (make_game := _foreign(game, env, options)) is not None:
        return make_game
    return partial(game, **_fitting(game, env, options)) if options else game


def _foreign(thing: Any, env: str, options: dict[str, Any]) -> MakeGame | None:
    """The game of a PettingZoo environment; None where `thing` is none."""
    own = {name: value for name, value in options.items() if name != "bins" or "bins" in _arguments(thing)}
    try:
        make_env = maker(thing, own)
        if make_env is None:
            return None
        fitting = _fitting(make_env, env, own, behind=0)
        if missing := [name for name, needed in _arguments(make_env).items() if needed and name not in own]:
            raise BadInput(f"{env}: it needs the option {missing[0]}: --game-options {missing[0]}=VALUE")
        bins = options["bins"] if "bins" not in own and "bins" in options else BINS
        return foreign_game(make_env, fitting, bins)
    except BadEnvironment as error:
        raise BadInput(f"{env} {error}") from error


def _arguments(thing: Any) -> dict[str, bool]:
    """The arguments that can be given by name, and whether they must be given."""
    try:
        parameters = inspect.signature(thing).parameters.values()
    except (TypeError, ValueError):
        return {}
    by_name = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {p.name: p.default is p.empty for p in parameters if p.kind in by_name}


def _fitting(game: Callable[..., Any], env: str, options: Mapping[str, Any], behind: int = 2) -> dict[str, Any]:
    """The options as the constructor of the game has them, `behind` its first arguments; raises BadInput, which lists
    what there is."""
    parameters = [*inspect.signature(game).parameters.values()][behind:]
    known = {p.name for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    any_name = any(p.kind == p.VAR_KEYWORD for p in parameters)
    hints, fitting = _hints(game), {}
    for name, value in options.items():
        if name not in known and not any_name:
            there = f"its options are {', '.join(sorted(known))}" if known else "it has none"
            raise BadInput(f"{env} has no option {name!r}: {there}")
        choices = get_args(hints.get(name))
        if choices and isinstance(choices[0], str) and value not in choices:
            raise BadInput(f"the option {name} of {env} must be one of {', '.join(choices)}, not {value!r}")
        try:
            fitting[name] = converted(value, hints.get(name, Any))
        except (TypeError, ValueError) as error:
            raise BadInput(f"the option {name} of {env} cannot be {value!r}: {error}") from error
    return fitting


def _hints(game: Callable[..., Game]) -> dict[str, Any]:
    """The types of the constructor's arguments, as far as they are said."""
    for constructor in (getattr(game, "__init__", None), getattr(game, "__new__", None), game):
        try:
            if hints := get_type_hints(constructor):
                return hints
        except (NameError, TypeError, AttributeError):
            continue
    return {}


def build(make_game: MakeGame, env: str, n_games: int, rng: np.random.Generator) -> Game:
    """The game that `make_game` makes; raises BadInput, which names `env`, where it cannot be built."""
    try:
        game = make_game(n_games, rng)
        if isinstance(game, ParallelEnv | AECEnv):  # its arguments were taken for those of a game
            needed = [name for name, must in _arguments(make_game).items() if must]
            raise BadEnvironment(f"it needs the option {needed[0]}: --game-options {needed[0]}=VALUE")
        return game
    except (BadOption, BadEnvironment) as error:
        raise BadInput(f"{env}: {error}") from error
    except BadGame as error:
        raise BadInput(f"the declarations of {env} contradict each other: {error}") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise BadInput(
            f"{env} cannot be built as a game like envs.game.Game, and makes no PettingZoo environment ({error})"
        ) from error


def with_talk(config: Config) -> Config:
    """The settings with the game's own defaults of talk (`talk`); raises BadInput where the game cannot be built."""
    make_game = game_class(config.env, config.game_options)
    own = getattr(build(make_game, config.env, 1, np.random.default_rng(0)), "talk", {})
    try:
        return replace(config, rules=replace(config.rules, **own))
    except (TypeError, ValueError) as error:
        raise BadInput(f"the talk of {config.env} is no talk: {error}") from error
