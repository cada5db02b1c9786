"""The optimum: recursion against numerical search, against known numbers, and played in the engine."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.agents.optimal_pair import OptimalPlayer, optimise, optimum
from analysis.agents.players import play_games, success_of
from envs.negotiation import TalkRules

GRID = [
    (5, 3, "talk", 0.0), (5, 3, "free", 0.0), (2, 4, "talk", 0.05), (3, 2, "free", 0.1),
    (1, 3, "free", 0.02), (1, 1, "talk", 0.0), (4, 4, "free", 0.3),
]  # fmt: skip


@pytest.mark.parametrize(("n_tokens", "max_rounds", "opening", "cost"), GRID)
def test_the_recursion_finds_what_a_search_finds(n_tokens: int, max_rounds: int, opening: str, cost: float) -> None:
    best = optimum(n_tokens, max_rounds, opening, cost)  # type: ignore[arg-type]
    found = optimise(n_tokens, max_rounds, opening, cost)  # type: ignore[arg-type]
    assert found == pytest.approx(best.reward, abs=2e-6)
    assert 2 * best.success - 1 - cost * best.rounds == pytest.approx(best.reward, abs=1e-12)


@pytest.mark.parametrize(("n_tokens", "max_rounds", "opening", "cost"), GRID)
def test_the_optimal_pair_plays_as_computed(n_tokens: int, max_rounds: int, opening: str, cost: float) -> None:
    rules = TalkRules(n_tokens, max_rounds, opening, round_cost=cost, window=1)  # type: ignore[arg-type]
    best = optimum(n_tokens, max_rounds, opening, cost)  # type: ignore[arg-type]
    table = play_games([OptimalPlayer(rules), OptimalPlayer(rules)], rules, 40_000, seed=3)
    # five standard errors
    error = (best.success * (1 - best.success) / 40_000) ** 0.5
    assert success_of(table).value == pytest.approx(best.success, abs=5 * error)
    assert table.n_rounds.mean() == pytest.approx(best.rounds, abs=5 * table.n_rounds.std() / 200)


@pytest.mark.parametrize("opening", ["free", "talk"])
def test_without_a_cut_the_pair_never_fails(opening: str) -> None:
    rules = TalkRules(max_rounds=None, opening=opening, window=1)  # type: ignore[arg-type]
    table = play_games([OptimalPlayer(rules), OptimalPlayer(rules)], rules, 40_000, seed=0)
    assert table.success.all()
    assert table.n_rounds.mean() == pytest.approx(2.25, abs=0.02)


@pytest.mark.parametrize("left", range(1, 7))
@pytest.mark.parametrize("n_tokens", [1, 2, 5])
def test_the_reciprocal_recursions(n_tokens: int, left: int) -> None:
    """1/L = 2 + n/L' for talk, 4 + n/L' for a free opening: derived by hand from p²/2 + n·q²·L' (+ s²/2)."""
    before = 1 - optimum(n_tokens, left - 1, "talk").success if left > 1 else 0.5
    assert 1 / (1 - optimum(n_tokens, left, "talk").success) == pytest.approx(2 + n_tokens / before)
    assert 1 / (1 - optimum(n_tokens, left, "free").success) == pytest.approx(4 + n_tokens / before)


def test_a_small_cost_approaches_the_free_limit() -> None:
    best = optimum(5, None, "talk", 1e-6)
    assert best.success == pytest.approx(1, abs=1e-6)
    assert best.rounds == pytest.approx(2.25, abs=1e-3)


def test_a_plan_is_a_distribution_of_what_is_legal() -> None:
    best = optimum(3, 4, "free", 0.05)
    np.testing.assert_allclose(best.plan.sum(axis=1), 1)
    assert (best.plan[0, 4:] > 0).all()
    assert (best.plan[1:, 4:] == 0).all()


@pytest.mark.parametrize(("wrong", "named"), [((0, 3, "talk", 0.0), "n_tokens"), ((5, 3, "talk", 0.5), "round_cost")])
def test_sizes_out_of_range_are_named(wrong: tuple, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        optimum(*wrong)
