"""Games in progress, saved as arrays and plain values and restored from them."""

from __future__ import annotations

from typing import Any

import numpy as np

from envs.game import Game

_PLAIN = (bool, int, float, str, type(None))


def save_game(game: Game, shared: np.random.Generator) -> dict[str, Any] | None:
    """The state of all games of a batch: arrays and plain values by name; None where it cannot be saved.

    A game that has `state()` says what that is. Of any other all attributes are taken: arrays of numbers, plain values
    and generators; tuples of plain values are constants. A game that holds anything else, such as an environment of
    another package, cannot be saved. `shared` is the generator that the game was made with: its owner saves it.
    """
    if hasattr(game, "state"):
        return {name: np.array(value) for name, value in game.state().items()}
    state: dict[str, Any] = {}
    for name, value in vars(game).items() if hasattr(game, "__dict__") else [("", game)]:
        if value is shared or _constant(value):
            continue
        if isinstance(value, np.random.Generator):
            state[name] = value.bit_generator.state
        elif isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
            state[name] = value.copy()
        elif isinstance(value, (*_PLAIN, np.bool_, np.integer, np.floating)):
            state[name] = value.item() if isinstance(value, np.generic) else value
        else:
            return None
    return state


def _constant(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(item, _PLAIN) or _constant(item) for item in value)


def restore_game(game: Game, state: dict[str, Any]) -> None:
    """The inverse of `save_game`, for a new game of the same size; raises ValueError where `state` does not fit."""
    if hasattr(game, "restore"):
        game.restore(state)
        return
    for name, value in state.items():
        if name not in vars(game):
            raise ValueError(f"the game has no {name}")
        present = getattr(game, name)
        if isinstance(present, np.random.Generator):
            present.bit_generator.state = value
        elif isinstance(present, np.ndarray) and present.dtype.kind in "iub":
            setattr(game, name, fitting(name, value, present))
        elif isinstance(present, np.ndarray):
            setattr(game, name, fitting(name, value, present, -np.inf, np.inf))
        elif isinstance(value, np.ndarray) or (name == "n_games" and value != present):
            raise ValueError(f"{name} is of another type or size")
        elif present is not None and value is not None and type(value) is not type(_plain(present)):
            raise ValueError(f"{name} is of another type")
        else:
            setattr(game, name, value)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def fitting(
    name: str, saved: Any, present: np.ndarray, low: float | None = None, high: float | None = None,
    grows: int | None = None,
) -> np.ndarray:  # fmt: skip
    """A copy of `saved`; raises ValueError unless it is an array like `present` with values from `low` to `high`.

    Along the axis `grows` it may have any length.
    """
    if not isinstance(saved, np.ndarray) or saved.dtype != present.dtype or saved.ndim != present.ndim:
        raise ValueError(f"{name} is of another type")
    if any(a != b and axis != grows for axis, (a, b) in enumerate(zip(saved.shape, present.shape, strict=True))):
        raise ValueError(f"{name} is of another shape")
    if low is not None and high is not None and saved.size and not low <= saved.min() <= saved.max() <= high:
        raise ValueError(f"{name} has values that are not from {low} to {high}")
    return saved.copy()
