"""The actions of a foreign environment as moves: a list of all that can be done, for any space that can be listed.

`Discrete`, `MultiDiscrete` and `MultiBinary` are listed as they are, `Tuple` and `Dict` as all combinations of their
parts. Each number of a `Box` takes `bins` values: evenly spaced from its lowest to its highest, both ends included
(whole numbers where the box has them). So `Box(-1, 1, (2,))` with 3 bins is the 9 moves of {-1, 0, 1}².
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Space, Tuple

from envs.game import MOST_MOVES, BadEnvironment, Bools

MOST_COMBINED = 1_024
"""More moves than this are refused where they are combinations: that many could hardly be told apart by trying."""
LONGEST_NAME = 60


def moves_of(space: Space[Any], bins: int = 3) -> list[Any]:
    """All actions of `space`, in order; raises BadEnvironment, which says what would be right, where there are none.

    >>> moves_of(Discrete(3, start=10))
    [10, 11, 12]
    >>> [action.tolist() for action in moves_of(MultiDiscrete([2, 2]))]
    [[0, 0], [0, 1], [1, 0], [1, 1]]
    >>> [action.tolist() for action in moves_of(Box(-1, 1, (1,)), bins=3)]
    [[-1.0], [0.0], [1.0]]
    """
    count = _count(space, bins)
    if isinstance(space, Discrete):
        if count > MOST_MOVES:
            raise BadEnvironment(f"there are {count:,} actions, more than {MOST_MOVES:,}")
    elif count > MOST_COMBINED:
        fewer = f"make it a smaller one{', or give fewer bins (bins=2)' if bins > 2 and _has_box(space) else ''}"
        each = f" with {bins} values for each number" if _has_box(space) else ""
        raise BadEnvironment(f"{short(space)}{each} has {count:.4g} moves, more than {MOST_COMBINED:,}: {fewer}")
    return list(_actions(space, bins))


def stated(space: Space[Any], bins: int) -> str:
    """How the actions of `space` were made moves, in words; empty for Discrete actions, which need nothing.

    >>> stated(Box(-1, 1, (2,)), 3)
    'Box(-1.0, 1.0, (2,), float32) as 9 moves, 3 values for each number'
    """
    if isinstance(space, Discrete):
        return ""
    values = f", {bins} values for each number" if _has_box(space) else ""
    return f"{short(space)} as {_count(space, bins):,} moves{values}"


def names_of(actions: list[Any]) -> tuple[str, ...]:
    """A name for each action: its number, or the values in it where these are short and tell all apart.

    >>> names_of(moves_of(Discrete(2, start=10))), names_of(moves_of(MultiBinary(1)))
    (('0', '1'), ('[0]', '[1]'))
    """
    numbers = tuple(map(str, range(len(actions))))
    if isinstance(actions[0], int):
        return numbers
    names = tuple(map(_text, actions))
    distinct = len(set(names)) == len(names) and max(map(len, names)) <= LONGEST_NAME
    return names if distinct else numbers


def legal_of(mask: Any, space: Space[Any], count: int, bins: int = 3) -> Bools:
    """`[count]` the moves that an action mask allows: one entry for each action; of MultiDiscrete, for each value.

    Of Tuple and Dict also, as gymnasium has it, a mask for each part, None where all of it is allowed. Raises
    BadEnvironment where it has another length.

    >>> legal_of([1, 0, 1, 1], MultiDiscrete([2, 2]), 4).tolist()
    [True, True, False, False]
    """
    if isinstance(space, Tuple | Dict) and (own := _masks_of_parts(mask, space)) is not None:
        each = [
            np.ones(_count(part, bins), np.bool_) if m is None else legal_of(m, part, _count(part, bins), bins)
            for m, part in own
        ]
        return np.array([all(choice) for choice in product(*each)], np.bool_)
    parts = mask if isinstance(mask, tuple | list) else [mask]
    flat = np.concatenate([np.asarray(part).reshape(-1) for part in parts]).astype(np.bool_)
    wanted, unit = count, "action"
    if isinstance(space, MultiDiscrete):
        sizes = np.asarray(space.nvec).reshape(-1)
        wanted, unit = int(sizes.sum()), "value of each number"
        if len(flat) == wanted:
            each = np.split(flat, np.cumsum(sizes)[:-1])
            return np.array([all(choice) for choice in product(*each)], np.bool_)
    if len(flat) != wanted:
        raise BadEnvironment(f"an action mask must have {wanted} entries, one for each {unit}, not {len(flat)}")
    return flat


def _masks_of_parts(mask: Any, space: Tuple | Dict) -> list[tuple[Any, Space[Any]]] | None:
    """The parts of a space with a mask for each; None where `mask` is one over all combinations."""
    if isinstance(space, Dict):
        if not isinstance(mask, dict):
            return None
        if {*mask} != {*space.spaces}:
            raise BadEnvironment(f"an action mask must have the parts {', '.join(space.spaces)}, not {', '.join(mask)}")
        return [(mask[key], part) for key, part in space.spaces.items()]
    by_part = isinstance(mask, tuple | list) and any(m is None or np.ndim(m) or isinstance(m, dict) for m in mask)
    if not by_part:
        return None
    if len(mask) != len(space.spaces):
        raise BadEnvironment(f"an action mask must have {len(space.spaces)} parts, not {len(mask)}")
    return list(zip(mask, space.spaces, strict=True))


def fresh(action: Any) -> Any:
    """An action to hand out: a copy, which whoever gets it may change."""
    return action if isinstance(action, int) else copy.deepcopy(action)


def short(space: Space[Any]) -> str:
    """A space in a line that can be read."""
    text = " ".join(str(space).split())
    return text if len(text) <= 200 else f"{text[:200]} …"


def _count(space: Space[Any], bins: int) -> int:
    match space:
        case Discrete():
            return int(space.n)
        case MultiDiscrete():
            return math.prod(np.asarray(space.nvec).reshape(-1).tolist())
        case MultiBinary():
            return 2 ** math.prod(space.shape)
        case Box():
            return math.prod(map(len, _values(space, bins)))
        case Tuple() | Dict():
            parts = space.spaces if isinstance(space, Tuple) else space.spaces.values()
            return math.prod(_count(part, bins) for part in parts)
    raise BadEnvironment(
        f"{short(space)} cannot be listed: actions must be Discrete, MultiDiscrete, MultiBinary, a Box with bounds, or "
        "a Tuple or Dict of these"
    )


def _actions(space: Space[Any], bins: int) -> Iterator[Any]:
    match space:
        case Discrete():
            yield from range(int(space.start), int(space.start) + int(space.n))
        case MultiDiscrete():
            sizes, start = np.asarray(space.nvec), np.asarray(space.start)
            for values in product(*map(range, sizes.reshape(-1).tolist())):
                yield (np.array(values).reshape(sizes.shape) + start).astype(space.dtype)
        case MultiBinary():
            for values in product((0, 1), repeat=math.prod(space.shape)):
                yield np.array(values, space.dtype).reshape(space.shape)
        case Box():
            for chosen in product(*_values(space, bins)):
                yield np.array(chosen, space.dtype).reshape(space.shape)
        case Tuple():
            yield from product(*(list(_actions(part, bins)) for part in space.spaces))
        case Dict():
            for combined in product(*(list(_actions(part, bins)) for part in space.spaces.values())):
                yield dict(zip(space.spaces, combined, strict=True))


def _values(space: Box, bins: int) -> list[list[float]]:
    """For each number of a box the values that it takes."""
    low, high = space.low.reshape(-1).astype(float), space.high.reshape(-1).astype(float)
    whole = np.issubdtype(space.dtype, np.integer)
    furthest = 2.0**53 if whole else np.finfo(np.float64).max / 2  # beyond it, what lies between cannot be counted
    if not (space.is_bounded() and (np.abs([low, high]) <= furthest).all()):
        raise BadEnvironment(f"{short(space)} has no bounds to place moves between: give its numbers finite ones")
    if len(low) * bins > 10 * MOST_COMBINED:  # far too many: they need not be made to be counted
        return [[0.0] * bins] * len(low)
    grids = [np.linspace(*ends, bins) for ends in zip(low, high, strict=True)]
    return [np.unique(np.round(grid) if whole else grid).tolist() for grid in grids]


def _has_box(space: Space[Any]) -> bool:
    if isinstance(space, Tuple | Dict):
        return any(map(_has_box, space.spaces if isinstance(space, Tuple) else space.spaces.values()))
    return isinstance(space, Box)


def _text(action: Any) -> str:
    if isinstance(action, dict):
        return " ".join(f"{key}={_text(part)}" for key, part in action.items())
    if isinstance(action, tuple):
        return " ".join(map(_text, action))
    if isinstance(action, np.ndarray):
        return "[" + " ".join(f"{value:g}" for value in action.reshape(-1).tolist()) + "]"
    return str(action)
