"""Information about who yields, on planted protocols of known information and on noise."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.data.canonical_view import Oriented, orient
from analysis.data.dialogue_text import table_of
from analysis.metrics import mutual_information as module
from analysis.metrics.mutual_information import (
    Information,
    Planted,
    decision_information,
    known_at,
    plug_in_information,
)
from analysis.metrics.resampling import interval_of_means
from emcomm.dialogues import DialogueTable, EpisodeCollector
from envs.crossing import CrossingGame
from envs.negotiation import SILENT, TALK, Negotiation, TalkRules

N_TOKENS = 5


def first_difference_games(games: int, seed: int) -> DialogueTable:
    """The real game, played by hand: uniform tokens until they differ, then EOT; the larger token yields."""
    rng = np.random.default_rng(seed)
    world = Negotiation(CrossingGame(500, rng), TalkRules(n_tokens=N_TOKENS, opening="talk"), rng)
    world.reset()
    collector = EpisodeCollector(500, worker=0, limit=games)
    yields = np.zeros((500, 2), np.bool_)
    while not collector.complete:
        talking = world.phase == TALK
        token = rng.integers(N_TOKENS, size=(500, 2))
        told_apart = yields.any(axis=1)
        symbol = np.where(told_apart[:, None], N_TOKENS, token)
        step = world.step(np.where(talking[:, None], symbol, N_TOKENS + 1 + yields))
        collector.add(step.dialogues, 0)
        newly = talking & ~told_apart
        yields[newly] = token[newly] > token[newly][:, ::-1]
        yields[step.over] = False
        world.reset(step.over)
    table = collector.take()
    assert table is not None
    return table


def chatter(count: int, rng: np.random.Generator, mean: float = 11.0) -> list[np.ndarray]:
    """Dialogues of random length and random tokens, closed with EOT/EOT: nearly all of them are unique."""
    lengths = np.minimum(1 + rng.geometric(1 / mean, count), 31)
    return [np.concatenate([rng.integers(N_TOKENS, size=(n, 2)), [[5, 5]]]) for n in lengths]


def answered(dialogues: list[np.ndarray], first_yields: np.ndarray) -> DialogueTable:
    moves = np.stack([first_yields, ~first_yields], axis=1).astype(int)
    return table_of([d.tolist() for d in dialogues], moves=moves.tolist())


def vote(dialogues: list[np.ndarray], weight: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    balance = np.array([(weight[d[:, 0]] - weight[d[:, 1]]).sum() for d in dialogues])
    return np.where(np.abs(balance) < 1e-9, rng.random(len(balance)) < 0.5, balance > 0)


def test_first_difference_in_the_real_game() -> None:
    """The tie of round t survives with probability 5^-t: 1 - 5^-t bits are known after it."""
    table = first_difference_games(6000, seed=0)
    assert table.success.mean() > 0.99
    found = decision_information(table, N_TOKENS)
    assert found.trusted, found.why
    for t in (1, 2):
        assert found.bits[t - 1] == pytest.approx(1 - 5.0**-t, abs=0.02)
        assert found.low[t - 1] <= 1 - 5.0**-t <= found.high[t - 1] + 0.01
    assert found.median_known_at == 1
    assert found.known_at[1] / found.n_dialogues == pytest.approx(0.8, abs=0.02)
    assert found.informative.all()


def test_independent_noise_holds_nothing_where_plug_in_sees_everything() -> None:
    """The trap: most dialogues of three rounds are unique, so that the plug-in estimate is nearly a whole bit."""
    rng = np.random.default_rng(1)
    table = answered(chatter(4000, rng), rng.random(4000) < 0.5)
    assert plug_in_information(table, 3) > 0.85
    found = decision_information(table, N_TOKENS)
    assert found.trusted, found.why
    assert (np.abs(found.bits) < 0.01).all()
    assert found.known_share < 0.01
    assert not found.informative.any()
    assert found.null.mean() == pytest.approx(found.bits.mean(), abs=0.01)


def test_noise_is_rarely_called_informative() -> None:
    """Twelve logs of 600 random dialogues each, judged on their last round: about none is called informative."""
    called = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        table = answered(chatter(600, rng, mean=3), rng.random(600) < 0.5)
        called += bool(decision_information(table, N_TOKENS, seed=seed).informative[-1])
    assert called <= 2


def test_vote_of_two_tokens_against_its_exact_information() -> None:
    """Six rounds of two tokens, token 1 counts for yielding: after round t the balance is a sum of t steps of -1, 0, 1
    with chances 1/4, 1/2, 1/4, and the rest of the walk decides. Its information follows by adding up the chances."""
    rounds, step = 6, np.array([0.25, 0.5, 0.25])
    expected = []
    for t in range(1, rounds + 1):
        so_far, to_come = np.ones(1), np.ones(1)
        for _ in range(t):
            so_far = np.convolve(so_far, step)
        for _ in range(rounds - t):
            to_come = np.convolve(to_come, step)
        balance, rest = np.arange(-t, t + 1), np.arange(t - rounds, rounds - t + 1)
        total = balance[:, None] + rest
        chance = ((total > 0) + 0.5 * (total == 0)) @ to_come
        doubt = sum(-c * np.log2(np.maximum(c, 1e-300)) for c in (chance, 1 - chance))
        expected.append(1 - so_far @ doubt)
    assert expected[-1] == pytest.approx(1 - 924 / 4096)  # one bit unless the balance is 0: C(12, 6) / 2^12
    rng = np.random.default_rng(2)
    dialogues = list(rng.integers(2, size=(9000, rounds, 2)))
    found = decision_information(answered(dialogues, vote(dialogues, np.array([0.0, 1.0]), rng)), n_tokens=2, nulls=3)
    assert found.trusted, found.why
    np.testing.assert_allclose(found.bits, expected, atol=0.02)


@pytest.mark.parametrize("seed", range(3))
def test_vote_with_random_weights(seed: int) -> None:
    """Six weights drawn at random rarely tie: almost one bit at the end, less before, never more than there is."""
    rng = np.random.default_rng(seed)
    dialogues = chatter(5000, rng)
    found = decision_information(answered(dialogues, vote(dialogues, rng.normal(size=6), rng)), N_TOKENS, nulls=3)
    assert found.trusted, found.why
    assert 0.88 < found.bits[-1] < 1
    assert found.bits[0] < found.bits[3] < found.bits[-1]
    assert found.null.max() < 0.02
    assert found.known_share > 0.8


def test_a_cyclic_order_is_no_ranking_and_still_found() -> None:
    """At the first difference token a beats b where (a - b) mod 5 is 1 or 2: no order of the tokens says so."""
    rng = np.random.default_rng(3)
    dialogues = list(rng.integers(5, size=(4000, 4, 2)))
    gap = np.array([(d[:, 0] - d[:, 1]) % 5 for d in dialogues])
    first = gap[np.arange(4000), (gap != 0).argmax(axis=1)]
    yields = np.where(first == 0, rng.random(4000) < 0.5, np.isin(first, (1, 2)))
    found = decision_information(answered(dialogues, yields), N_TOKENS, nulls=3)
    np.testing.assert_allclose(found.bits, 1 - 5.0 ** -np.arange(1, 5), atol=0.03)


def test_swapping_the_agents_of_any_dialogue_changes_nothing() -> None:
    rng = np.random.default_rng(4)
    dialogues = chatter(1000, rng)
    table = answered(dialogues, vote(dialogues, np.arange(6.0), rng))
    swapped = DialogueTable(**{**table.__dict__, "symbols": table.symbols[:, ::-1], "moves": table.moves[:, ::-1]})
    np.testing.assert_array_equal(
        decision_information(table, N_TOKENS, nulls=1).bits, decision_information(swapped, N_TOKENS, nulls=1).bits
    )


def test_speaking_in_turn_counts_content_beyond_the_order() -> None:
    """The first speaker always yields: the order says it all and the content nothing. Then the content decides."""
    rng = np.random.default_rng(5)
    dialogues = list(rng.integers(2, size=(2000, 3, 2)))
    order = rng.permuted(np.tile(np.arange(2, dtype=np.int8), (2000, 1)), axis=1)
    speakers = order.repeat(3, axis=0)

    def spoken(first_yields: np.ndarray) -> DialogueTable:
        return DialogueTable(**{**answered(dialogues, first_yields).__dict__, "speakers": speakers})

    by_order = decision_information(spoken(order[:, 0] == 0), 2, nulls=3)
    assert np.abs(by_order.bits).max() < 0.02
    opener_said = np.array([d[0, o[0]] for d, o in zip(dialogues, order, strict=True)])
    by_content = decision_information(spoken((opener_said == 1) == (order[:, 0] == 0)), 2, nulls=3)
    assert by_content.bits[0] > 0.95


def test_who_is_seen_from_whom() -> None:
    table = table_of(
        [[(1, 3), (5, 5)], [(2, 2), (4, 0), (5, 5)], [(2, 2), (5, 5)], [(0, 1)]],
        moves=[(1, 0), (1, 0), (0, 1), (1, 1)],
    )
    seen = orient(table, rounds=3)
    assert seen.own.tolist() == [[3, 5, -1], [2, 4, 5], [2, 5, -1]]  # the crash is left out
    assert seen.yields.tolist()[:2] == [False, True]
    assert seen.first.tolist() == [0, 1, 3]


def test_known_from_a_round_on() -> None:
    probability = np.array([[0.95, 0.95, 0.95], [0.95, 0.2, 0.97], [0.05, 0.08, 0.5], [0.6, 0.3, 0.09]])
    assert known_at(probability).tolist() == [1, 3, 0, 3]


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (table_of([]), "0 dialogues in which exactly one"),
        (table_of([[(1, 0)]]), "1 dialogues in which exactly one"),
        (table_of([[(1, 0)]] * 300, moves=[(1, 1)] * 300), "0 dialogues in which exactly one"),
        (table_of([[]] * 300), "there is no talk"),
        (table_of([[(1, 0, 2)]] * 300), "two agents, not for 3"),
    ],
)
def test_what_cannot_be_estimated_says_so(table: DialogueTable, says: str) -> None:
    found = decision_information(table, N_TOKENS)
    assert not found.trusted
    assert says in found.why
    assert len(found.to_frame()) == 0
    assert np.isnan(found.median_known_at)


def test_one_dialogue_again_and_again() -> None:
    found = decision_information(table_of([[(1, 0), (5, 5)]] * 400), N_TOKENS, nulls=3)
    assert found.bits[-1] > 0.9  # agent 0 always says 1 and yields


def test_a_method_that_misses_its_planted_case_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A predictor that never leans finds no bit of the planted rules."""
    monkeypatch.setattr(
        module, "held_out", lambda seen, n, rng, last_only=False: np.full((len(seen.own), seen.own.shape[1]), 0.5)
    )
    rng = np.random.default_rng(6)
    found = decision_information(answered(chatter(400, rng), rng.random(400) < 0.5), N_TOKENS, nulls=1)
    assert not found.trusted
    assert "finds 0.00 bits of a planted first difference" in found.why


def test_plug_in_agrees_with_emlangkit() -> None:
    metrics = pytest.importorskip("emlangkit.metrics")
    rng = np.random.default_rng(7)
    dialogues = list(rng.integers(3, size=(200, 2, 2)))
    yields = rng.random(200) < 0.5
    theirs = metrics.compute_mutual_information(np.array(dialogues).reshape(200, 4), yields[:, None].astype(int))
    assert plug_in_information(answered(dialogues, yields), 2) == pytest.approx(theirs)


# -- the parts, on numbers small enough to work out by hand ------------------------------------------------------------

OWN, OTHER = np.array([[0, 2, 1], [1, 1, 1], [0, -1, -1]]), np.array([[0, 1, 2], [1, 1, 1], [2, -1, -1]])


def seen_as(yields: list[bool], ordered: bool = False) -> Oriented:
    """Dialogues of no content with these answers."""
    nothing = np.full((len(yields), 1), SILENT)
    return Oriented(nothing, nothing, np.array(yields), np.zeros(len(yields), np.int64), ordered)


def curve(**columns: list[float]) -> Information:
    """A curve of four rounds, on 20 dialogues; 5 are never known."""
    given = {"bits": [0.1] * 4, "low": [0.05] * 4, "high": [0.2] * 4, "p_value": [0.05] * 4, **columns}
    null = np.array([[0.0, 0.1, 0.0, 0.0], [0.2, 0.1, 0.0, 1.0]])
    arrays = {name: np.array(column) for name, column in given.items()}
    return Information(20, null=null, known_at=np.array([5, 8, 4, 0, 3]), planted=(), trusted=True, why="", **arrays)


def test_the_dialogue_is_informative_above_zero_and_above_the_null() -> None:
    found = curve(low=[0.0, 0.01, 0.01, 0.01], p_value=[0.05, 0.05, 0.06, 0.01])
    assert found.informative.tolist() == [False, True, False, True]


def test_when_decisions_become_known() -> None:
    found = curve()
    assert found.known_share == 0.75
    assert found.median_known_at == 1  # 8 of 15 in round 1
    assert curve().to_frame().to_dict("list") == {
        "round": [1, 2, 3, 4],
        "bits": [0.1] * 4,
        "low": [0.05] * 4,
        "high": [0.2] * 4,
        "null": [pytest.approx(0.19), pytest.approx(0.1), 0.0, pytest.approx(0.95)],  # 95 % of the way from one to two
        "p_value": [0.05] * 4,
        "known_at": [0.4, 0.2, 0.0, 0.15],
    }


def test_the_decision_is_known_from_ninety_percent_on() -> None:
    probability = np.array([[0.9, 0.9], [0.9, 0.89], [0.05, 0.95], [0.1, 0.1], [0.9, 0.5], [0.5, 0.11]])
    assert known_at(probability).tolist() == [1, 0, 2, 1, 0, 0]
    assert known_at(np.array([[0.5, 0.7, 0.8]]), known=0.7).tolist() == [2]
    assert known_at(np.array([[0.6], [0.4], [0.52]]), known=0.55).tolist() == [1, 1, 0]


def test_the_score_is_the_log_probability_above_that_of_a_coin() -> None:
    probability = np.array([[0.5, 0.25], [0.5, 0.25], [0.5, 1.0], [0.5, 0.5]])
    scores = module._scores(seen_as([False, True, True, False]), probability)
    assert scores == pytest.approx(np.array([[0, 0.58496], [0, -1], [0, 1], [0, 0]]), abs=1e-5)  # 1 + log2(¾) and so on
    ordered = module._scores(seen_as([True, False, False, False], ordered=True), np.full((4, 1), 0.5))
    assert ordered == pytest.approx(np.full((4, 1), 0.81128 - 1), abs=1e-5)  # one in four: 0.81128 bits


def test_the_interval_covers_the_mean_of_other_samples() -> None:
    """Of 400 scores spread evenly from 0 to 1, whose deviation is 1 / √12: ½ ± 1.96 / √(12 · 400) = ½ ± 0.0283."""
    scores = np.stack([np.linspace(0, 1, 400), np.ones(400)], axis=1)
    low, high = interval_of_means(scores, np.random.default_rng(0), replicates=5000)
    assert low == pytest.approx([0.4717, 1], abs=0.001)
    assert high == pytest.approx([0.5283, 1], abs=0.001)


def test_the_null_asks_coins_or_deals_the_answers_anew() -> None:
    answers = [True] * 600 + [False] * 400
    coins = module._permuted(seen_as(answers), np.random.default_rng(0)).yields
    assert 0.45 < coins.mean() < 0.55
    dealt = module._permuted(seen_as(answers, ordered=True), np.random.default_rng(0)).yields
    assert dealt.sum() == 600
    assert 0.55 < dealt[:600].mean() < 0.65


def test_the_difference_that_counts_is_the_first_or_the_last() -> None:
    rank = np.array([0, 10, 20, 30])  # of silence, and of the tokens 0, 1, 2
    seen = seen_as([True] * 3)._replace(own=OWN, other=OTHER)
    assert module._difference(seen, rank, last=False).tolist() == [10, 0, -20]
    assert module._difference(seen, rank, last=True).tolist() == [-10, 0, -20]


def test_a_vote_adds_up_what_each_has_said() -> None:
    seen = seen_as([True] * 3)._replace(own=OWN, other=OTHER)
    assert module._vote(seen, np.array([0.5, 1.0, 2.0, 4.0])).tolist() == [0, 0, -3]
    split = seen_as([True])._replace(own=np.array([[0, 1]]), other=np.array([[2, -1]]))
    assert module._vote(split, np.array([0.0, 0.1, 0.2, 0.3])).tolist() == [0]  # 0.1 + 0.2 against 0.3 is a tie
    assert module._vote(split, np.array([0.0, 0.1, 0.2, 0.4])) == pytest.approx([-0.1])


def test_a_planted_rule_decides_or_leaves_it_to_a_coin(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Oriented] = []

    def estimate(seen: Oriented, n_tokens: int, rng: np.random.Generator, last_only: bool = False) -> np.ndarray:
        assert last_only
        asked.append(seen)
        return np.array([0.75, 0.25])

    monkeypatch.setattr(module, "_estimate", estimate)
    leaning = np.array([0.1] * 100 + [-0.5] * 200 + [0.0] * 900)
    seen = seen_as([False] * 1200, ordered=True)
    planted = module._plant("vote", leaning, seen, 5, np.random.default_rng(0))
    assert planted == Planted("vote", 0.25, 0.25)  # 300 of 1200 decided; found after the last round
    assert not asked[0].ordered
    assert asked[0].yields[:100].all()
    assert not asked[0].yields[100:300].any()
    assert 0.45 < asked[0].yields[300:].mean() < 0.55


def test_what_is_planted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two dialogues that begin alike and end as mirror images, and a third of which nothing but silence differs."""
    monkeypatch.setattr(module, "_plant", lambda rule, leaning, *_: (rule, leaning))
    own, other = np.array([[0, 2, 5], [0, 3, 5], [5, -1, -1]]), np.array([[1, 3, 5], [1, 2, 5], [5, -1, -1]])
    seen = seen_as([True] * 3)._replace(own=own, other=other)
    planted = dict(module._planted(seen, 5, np.random.default_rng(0)))
    assert list(planted) == ["first difference", "last difference", "vote", "coin toss"]
    first, last, vote = (planted[rule] for rule in ("first difference", "last difference", "vote"))
    assert first[0] == first[1] != 0
    assert last[0] == -last[1] != 0
    assert abs(vote[0] - vote[1]) > 1e-3
    assert first[2] == last[2] == vote[2] == 0
    assert planted["coin toss"].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("true", "found", "passes"),
    [
        (1.0, 0.79, True),  # 0.8 · 1 - 0.02 = 0.78 are needed
        (1.0, 0.77, False),
        (1.0, 1.01, True),
        (1.0, 1.03, False),
        (0.5, 0.39, True),
        (0.5, 0.37, False),
        (0.0, 0.01, True),
        (0.0, 0.03, False),
        (0.0, -0.01, True),
        (0.0, -0.03, False),
    ],
)
def test_how_much_of_a_planted_rule_must_be_found(true: float, found: float, passes: bool) -> None:
    says = module._complaint((Planted("vote", 0.5, 0.5), Planted("last difference", true, found)), 300)
    assert (says == "") == passes
    assert passes or says == (
        f"on these 300 dialogues the method finds {found:.2f} bits of a planted last difference that holds {true:.2f}"
    )


def test_where_nothing_tells_the_agents_apart_there_is_no_bit() -> None:
    """Every figure is exact: the null is as high as the estimate in all cases."""
    found = decision_information(table_of([[(1, 1), (5, 5)]] * 300), N_TOKENS, nulls=3)
    assert found.n_dialogues == 300
    assert found.bits.tolist() == found.low.tolist() == found.high.tolist() == [0, 0]
    assert found.null.tolist() == [[0, 0]] * 3
    assert found.p_value.tolist() == [1, 1]
    assert found.known_at.tolist() == [300, 0, 0]
    assert found.known_share == 0
    assert found.trusted, found.why


def test_the_p_value_counts_the_figure_itself_in() -> None:
    found = decision_information(table_of([[(1, 0), (5, 5)]] * 300), N_TOKENS, nulls=3)
    assert found.null.shape == (3, 2)
    assert found.p_value.tolist() == [0.25, 0.25]
    assert found.known_at.tolist() == [0, 300, 0]


def test_without_a_null_nothing_is_beyond_it() -> None:
    found = decision_information(table_of([[(1, 0), (5, 5)]] * 300), N_TOKENS, nulls=0)
    assert found.null.shape == (0, 2)
    assert found.p_value.tolist() == [1, 1]
    assert not found.informative.any()
    assert found.to_frame()["null"].isna().all()


def test_two_hundred_dialogues_are_enough() -> None:
    assert len(decision_information(table_of([[(1, 0)]] * 200), N_TOKENS, nulls=1).bits) == 1
    too_few = decision_information(table_of([[(1, 0)]] * 199), N_TOKENS, nulls=1)
    assert too_few.n_dialogues == 199
    assert too_few.known_at.tolist() == [0]
    assert np.isnan(too_few.known_share)
    assert (len(too_few.bits), too_few.planted, too_few.trusted) == (0, (), False)


def test_no_more_dialogues_are_used_than_asked_for() -> None:
    table = table_of([[(1, 0)]] * 300)
    assert decision_information(table, N_TOKENS, max_dialogues=250, nulls=1).n_dialogues == 250


def test_the_curve_ends_where_hardly_any_dialogue_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    table = table_of([[(1, 0), (5, 5)]] * 300 + [[(1, 0)] * 9] * 2)
    assert len(decision_information(table, N_TOKENS, nulls=1).bits) == 2
    table = table_of([[(1, 0), (5, 5)]] * 300 + [[(1, 0)] * 9] * 6)
    assert len(decision_information(table, N_TOKENS, nulls=1).bits) == 9
    monkeypatch.setattr(module, "MOST_ROUNDS", 3)
    assert len(decision_information(table_of([[(1, 0)] * 5] * 300), N_TOKENS, nulls=1).bits) == 3


def test_the_move_asked_for_is_the_one_that_counts() -> None:
    """Three moves, of which 2 is to yield: the larger token takes it. Crashes, and who settled on 1, are left out."""
    talks = [[(1, 0)]] * 150 + [[(0, 1)]] * 150 + [[(1, 0)]] * 120
    moves = [(2, 0)] * 150 + [(0, 2)] * 150 + [(1, 0)] * 60 + [(2, 2)] * 40 + [(0, 0)] * 20
    table = table_of(talks, moves=moves)
    found = decision_information(table, N_TOKENS, move=2, nulls=1)
    assert found.n_dialogues == 300
    assert found.bits[0] > 0.9
    assert plug_in_information(table, rounds=1, move=2) == pytest.approx(1)
    assert decision_information(table, N_TOKENS, move=0, nulls=1).n_dialogues == 360


def test_plug_in_of_four_dialogues() -> None:
    """One beginning is answered both ways, the other one way: H(¼) + 1 - 1.5 = 0.3113 bits; to the end, all is told."""
    talks = [[(0, 1), (2, 3)], [(0, 1), (3, 2)], [(1, 0), (5, 5)], [(1, 0), (5, 5)]]
    for moves in ([(1, 0), (0, 1), (1, 0), (1, 0)], [(1, 0), (0, 1), (0, 1), (0, 1)]):
        table = table_of([*talks, [(0, 1)]], moves=[*moves, (1, 1)])  # the crash does not count
        assert plug_in_information(table, rounds=1) == pytest.approx(0.3113, abs=1e-4)
        assert plug_in_information(table, rounds=2) == pytest.approx(0.8113, abs=1e-4)
    assert np.isnan(plug_in_information(table_of([[(0, 1)]], moves=[(1, 1)]), rounds=1))
