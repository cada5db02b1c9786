"""From the settings of a run to its game: by name, with options and a talk of its own."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, get_args, get_type_hints

import numpy as np

from emcomm.config import Config
from emcomm.errors import BadInput
from emcomm.schemas import converted
from envs import GAMES
from envs.game import BadOption, Game
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

    Raises BadInput for a game that is unknown or no Python, and for an option that it lacks or of a wrong type.
    """
    game = named(GAMES, env)
    return partial(game, **_fitting(game, env, options)) if options else game


def _fitting(game: Callable[..., Game], env: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options as the constructor of the game has them; raises BadInput, which lists what there is."""
    parameters = [*inspect.signature(game).parameters.values()][2:]
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


def with_talk(config: Config) -> Config:
    """The settings with the game's own defaults of talk (`talk`); raises BadInput as `make_negotiation`."""
    make_game = game_class(config.env, config.game_options)
    try:
        own = getattr(make_game(1, np.random.default_rng(0)), "talk", {})
        return replace(config, rules=replace(config.rules, **own))
    except BadOption as error:
        raise BadInput(f"{config.env}: {error}") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise BadInput(f"{config.env} cannot be built as a game like envs.game.Game ({error})") from error
