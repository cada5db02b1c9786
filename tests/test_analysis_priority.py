"""The optimum at the priority crossing: found by trying every protocol, and played in the engine."""

from __future__ import annotations

from functools import partial
from itertools import product

import pytest

from analysis.agents.optimal_pair import optimum
from analysis.agents.players import play_games
from analysis.agents.priority_pair import PriorityPlayer, rounds_to_tell
from envs import CrossingPriorityGame
from envs.negotiation import TalkRules


def best_of_all_protocols(n_delays: int, coins: int, n_symbols: int) -> float:
    """The highest success after one round that must be talked, over all protocols of identical trains.

    A train knows its delay and a private coin with `coins` sides. All maps from both to the symbols are tried and, for
    each pair of symbols, all maps to moves: one for both trains after equal symbols, one for each after different ones.
    """
    types = [(delay, coin) for delay in range(n_delays) for coin in range(coins)]

    def right(one: tuple[int, int], move: int, two: tuple[int, int], other: int) -> bool:
        return move != other and (one[0] == two[0] or (move == 0) == (one[0] > two[0]))

    def wins(ones: tuple, twos: tuple, moves: tuple, others: tuple) -> int:
        pairs = product(zip(ones, moves, strict=True), zip(twos, others, strict=True))
        return sum(right(one, move, two, other) for (one, move), (two, other) in pairs)

    best = 0.0
    for said in product(range(n_symbols), repeat=len(types)):
        groups = [tuple(t for t, s in zip(types, said, strict=True) if s == symbol) for symbol in range(n_symbols)]
        total = 0
        for i, ones in enumerate(groups):
            total += max(wins(ones, ones, moves, moves) for moves in product((0, 1), repeat=len(ones)))
            for twos in groups[i + 1 :]:
                both = product(product((0, 1), repeat=len(ones)), product((0, 1), repeat=len(twos)))
                total += 2 * max(wins(ones, twos, moves, others) for moves, others in both)
        best = max(best, total / len(types) ** 2)
    return best


@pytest.mark.parametrize(("n_delays", "coins", "n_tokens"), [(2, 2, 1), (4, 1, 1), (1, 4, 1), (3, 1, 2), (2, 1, 2)])
def test_no_protocol_of_one_round_beats_the_optimum(n_delays: int, coins: int, n_tokens: int) -> None:
    """With `optimum`'s even draws the coins come out even where types are twice as many as the symbols."""
    found, best = best_of_all_protocols(n_delays, coins, n_tokens + 1), optimum(n_tokens, 1, "talk").success
    assert found <= best + 1e-12
    if n_delays * coins == 2 * (n_tokens + 1):
        assert found == pytest.approx(best)


@pytest.mark.parametrize(
    ("n_delays", "n_tokens", "max_rounds", "opening", "cost"),
    [(5, 5, None, "talk", 0.0), (5, 5, 32, "free", 0.05), (2, 3, 2, "talk", 0.0), (7, 2, None, "talk", 0.1)],
)
def test_the_hand_written_pair_reaches_it(
    n_delays: int, n_tokens: int, max_rounds: int | None, opening: str, cost: float
) -> None:
    rules = TalkRules(n_tokens, max_rounds, opening, round_cost=cost)  # type: ignore[arg-type]
    game, pair = partial(CrossingPriorityGame, n_delays=n_delays), [PriorityPlayer(rules, n_delays) for _ in range(2)]
    table = play_games(pair, rules, 40_000, seed=1, make_game=game)
    best = optimum(n_tokens, max_rounds, opening, cost)  # type: ignore[arg-type]
    assert table.success.mean() == pytest.approx(best.success, abs=4 * 0.5 / 200)
    assert table.n_rounds.mean() == pytest.approx(best.rounds, abs=4 * table.n_rounds.std() / 200)


def test_five_tokens_need_two_and_a_quarter_rounds_for_any_delays() -> None:
    assert optimum(5, None, "talk").rounds == pytest.approx(2.25)
    rules = TalkRules(5, None, "talk")
    for n_delays in (2, 50):
        game = partial(CrossingPriorityGame, n_delays=n_delays)
        table = play_games([PriorityPlayer(rules, n_delays) for _ in range(2)], rules, 20_000, 2, game)
        assert table.success.all()
        assert table.n_rounds.mean() == pytest.approx(2.25, abs=0.03)


def test_rounds_to_tell() -> None:
    for n_meanings, n_tokens in product(range(1, 30), range(2, 6)):
        told = next(r for r in range(9) if len(set(product(range(n_tokens), repeat=r))) >= n_meanings)
        assert rounds_to_tell(n_meanings, n_tokens) == told
    with pytest.raises(ValueError, match="one token tells nothing"):
        rounds_to_tell(2, 1)
