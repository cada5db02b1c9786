"""Games in progress, saved as arrays and plain values and restored from them."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np

_PLAIN = (bool, int, float, str, type(None))
_DECLARED = (
    "n_agents", "move_names", "agent_names", "feature_bounds", "roles", "tokens", "attributes", "decisions", "words",
    "has_success", "move_parts",
    "most_at_once", "rules", "talk",
)  # fmt: skip
"""What a game or a channel says of itself, and so never changes."""


def save_game(game: Any, shared: np.random.Generator) -> dict[str, Any] | None:
    """The state of all games of a batch, or of a channel: arrays and plain values by name; None where it cannot be
    saved.

    A game with the methods `state()` and `restore(state)` says what that is. Of any other all attributes are taken:
    arrays of numbers, plain values, tuples of them, and generators. A game that holds anything else, such as an
    environment of another package or arrays that share their memory, cannot be saved. `shared` is the generator that
    the game was made with: its owner saves it.
    """
    if _saves_itself(game):
        return {name: np.array(value) for name, value in game.state().items()}
    state: dict[str, Any] = {}
    for name, value in vars(game).items() if hasattr(game, "__dict__") else [("", game)]:
        if value is shared or name in _DECLARED:
            continue
        if isinstance(value, np.random.Generator):
            state[name] = value.bit_generator.state
        elif isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
            state[name] = value.copy()
        elif isinstance(value, (*_PLAIN, np.bool_, np.integer, np.floating)) or _plain_tuple(value):
            state[name] = _plain(value)
        else:
            return None
    arrays = [getattr(game, name) for name, value in state.items() if isinstance(value, np.ndarray)]
    return None if any(np.may_share_memory(one, other) for one, other in combinations(arrays, 2)) else state


def _saves_itself(game: Any) -> bool:
    return callable(getattr(game, "state", None)) and callable(getattr(game, "restore", None))


def _plain_tuple(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(item, _PLAIN) or _plain_tuple(item) for item in value)


def _tuples(value: Any) -> Any:
    """Lists, as JSON has them, as tuples."""
    return tuple(map(_tuples, value)) if isinstance(value, (list, tuple)) else value


def restore_game(game: Any, state: dict[str, Any]) -> None:
    """The inverse of `save_game`, for a new game of the same size; raises ValueError where `state` does not fit."""
    if _saves_itself(game):
        game.restore(state)
        return
    for name, value in state.items():
        if name not in vars(game):
            raise ValueError(f"the game has no {name}")
        present, value = getattr(game, name), _tuples(value)
        if isinstance(present, np.random.Generator):
            present.bit_generator.state = value
        elif isinstance(present, np.ndarray) and present.dtype.kind in "iub":
            setattr(game, name, fitting(name, value, present))
        elif isinstance(present, np.ndarray):
            setattr(game, name, fitting(name, value, present, -np.inf, np.inf))
        elif isinstance(value, np.ndarray) and present is None:  # made later in the game
            setattr(game, name, value.copy())
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
