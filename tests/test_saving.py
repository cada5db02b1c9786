"""Games in progress, saved and restored: exactly, or not at all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from envs.crossing import CrossingGame
from envs.saving import restore_game, save_game


def game(**attributes: Any) -> CrossingGame:
    made = CrossingGame(4, np.random.default_rng(0))
    vars(made).update(attributes)
    return made


def test_arrays_plain_values_tuples_and_generators_come_back() -> None:
    left, rng = np.arange(4), np.random.default_rng(5)
    rng.random(3)
    saved = save_game(game(left=left, day=7, name="x", seen=(1, (2, "a")), own=rng), np.random.default_rng(0))
    assert saved is not None
    expected = rng.random(2)
    left[:] = 9
    fresh = game(left=np.zeros(4, np.int64), day=0, name="", seen=(), own=np.random.default_rng(1))
    restore_game(fresh, {**saved, "seen": [1, [2, "a"]]})  # as JSON has it
    assert (fresh.left.tolist(), fresh.day, fresh.name, fresh.seen) == ([0, 1, 2, 3], 7, "x", (1, (2, "a")))
    np.testing.assert_array_equal(fresh.own.random(2), expected)


def test_an_attribute_called_state_is_an_attribute() -> None:
    saved = save_game(game(state=np.full(4, 2)), np.random.default_rng(0))
    assert saved is not None
    fresh = game(state=np.zeros(4, np.int64))
    restore_game(fresh, saved)
    assert fresh.state.tolist() == [2, 2, 2, 2]


def test_what_a_game_says_of_itself_need_not_be_saved() -> None:
    bounds = (np.zeros(1, np.float32), np.ones(1, np.float32))
    assert save_game(game(feature_bounds=bounds), np.random.default_rng(0)) is not None


@pytest.mark.parametrize("held", [object(), [1, 2], {"a": 1}, np.array([object()]), (np.zeros(2),), lambda: 0])
def test_a_game_that_holds_something_else_is_not_saved(held: Any) -> None:
    assert save_game(game(held=held), np.random.default_rng(0)) is None


def test_a_game_whose_arrays_share_their_memory_is_not_saved() -> None:
    """Restored, they would no longer change together."""
    seen = np.zeros((4, 2))
    assert save_game(game(seen=seen, mine=seen[:, 0]), np.random.default_rng(0)) is None
    assert save_game(game(seen=seen, same=seen), np.random.default_rng(0)) is None


def test_an_array_that_is_made_later_in_the_game() -> None:
    saved = save_game(game(later=np.arange(4)), np.random.default_rng(0))
    assert saved is not None
    fresh = game(later=None)
    restore_game(fresh, saved)
    assert fresh.later.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "wrong",
    [
        {"left": np.zeros(5, np.int64)}, {"left": np.zeros(4)}, {"left": 3}, {"day": "x"}, {"day": np.zeros(4)},
        {"play": 1}, {"n_games": 5},
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        restore_game(game(left=np.zeros(4, np.int64), day=0), wrong)
