"""Success, its course, kinds of failure, and the summary over seeds."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from analysis.data.dialogue_text import line, table_of
from analysis.metrics.failure_modes import KINDS, failure_kinds, tied
from analysis.metrics.seed_aggregation import forms_above, mean_over_seeds, over_seeds
from analysis.metrics.success import SuccessReport, SuccessTally, _Grouped
from analysis.report.measures.success import of_joint_moves
from analysis.report.run_comparison import Group
from emcomm.dialogues import DialogueTable
from emcomm.statistics import rate
from envs.crossing import CrossingGame
from envs.crossing_priority import CrossingPriorityGame
from envs.game import declared
from envs.negotiation import Negotiation, TalkRules
from envs.signalling import SignallingGame

TALK = [  # the table of the 2022 talk
    ([(4, 2), (5, 5)], True),
    ([(3, 0), (1, 5), (5, 5)], True),
    ([(3, 5), (5, 5)], True),
    ([(3, 1), (3, 2), (5, 0), (5, 5)], False),
    ([(3, 2), (5, 3), (5, 4), (2, 5), (5, 5)], True),
    ([(4, 3), (3, 1), (5, 5)], True),
]


def talk_table() -> DialogueTable:
    return table_of([d for d, _ in TALK], moves=[(1, 0) if ok else (0, 0) for _, ok in TALK])


def tally(*tables: DialogueTable) -> SuccessReport:
    adding = SuccessTally()
    for table in tables:
        adding.add(table)
    return adding.result()


def test_the_talks_own_table() -> None:
    report = tally(talk_table())
    assert report.overall[:2] == (5, 6)
    # Wilson, by hand: (5/6 + z²/12 ± z √(5/36/6 + z²/144)) / (1 + z²/6), z = 1.959964
    assert report.overall.low == pytest.approx(0.43650, abs=1e-4)
    assert report.overall.high == pytest.approx(0.96995, abs=1e-4)
    assert {r: found[:2] for r, found in report.by_rounds.items()} == {2: (2, 2), 3: (2, 2), 4: (0, 1), 5: (1, 1)}
    assert report.mean_rounds == pytest.approx(19 / 6)
    assert report.failures["slip or misreading"] == 1
    assert [line(np.array(d)) for d, _ in TALK][4] == "3 2 · 5 3 · 5 4 · 2 5 · 5 5"
    assert report.to_frame().iloc[0]["success"] == pytest.approx(5 / 6)
    assert report.failures_frame()["share"].sum() == 1


def test_adding_part_by_part_changes_nothing() -> None:
    table = talk_table()
    assert repr(tally(table[:1], table[1:1], table[1:5], table[5:])) == repr(tally(table))  # NaN is not NaN


def test_nothing_divides_by_zero() -> None:
    report = tally()
    assert report.overall == (0, 0, 0.0, 1.0)
    assert np.isnan(report.overall.value)
    assert np.isnan(report.mean_rounds)
    assert report.course == ()
    assert len(report.to_frame()) == 3
    assert len(report.course_frame()) == 0
    assert report.failures_frame()["share"].isna().all()


@pytest.mark.parametrize(
    ("dialogues", "moves", "kind"),
    [([[]] * 3, [(0, 0)] * 3, "no talk"), ([[(1, 2), (5, 5)]] * 3, [(1, 1)] * 3, "slip or misreading")],
)
def test_only_failures_and_only_silence(dialogues: list, moves: list, kind: str) -> None:
    report = tally(table_of(dialogues, moves))
    assert report.overall[:2] == (0, 3)
    assert report.failures[kind] == 3


def test_every_kind_of_failure() -> None:
    dialogues = [[], [(1, 1), (2, 2)], [(1, 1), (2, 0)], [(1, 1), (5, 5)], [(1, 0), (5, 5)], [(1, 0), (5, 5)], [(1, 0)]]
    moves = [(0, 0), (1, 1), (0, 0), (1, 1), (0, 0), (1, 1), (0, 1)]
    table = table_of(dialogues, moves, cut=[False, True, True, False, False, False, False])
    probabilities = np.full((7, 2, 2), 0.5)
    probabilities[4] = [[0.6, 0.4], [0.3, 0.7]]  # the most probable moves part
    probabilities[5] = [[0.4, 0.6], [0.3, 0.7]]  # they crash
    with_network = [KINDS[k] if k >= 0 else "" for k in failure_kinds(table, probabilities)]
    assert with_network == [
        "no talk", "cut while tied", "cut", "tie at the end", "slip of sampling", "misreading", "",
    ]  # fmt: skip
    without = [KINDS[k] if k >= 0 else "" for k in failure_kinds(table)]
    assert without == [*with_network[:4], "slip or misreading", "slip or misreading", ""]


def test_what_tells_agents_apart() -> None:
    table = table_of([[(1, 1), (5, 5)]] * 2)
    plain = table.__dict__
    assert tied(table).tolist() == [True, True]
    assert tied(DialogueTable(**{**plain, "private": np.array([[[0.0], [1]], [[2], [2]]])})).tolist() == [False, True]
    assert tied(DialogueTable(**{**plain, "negotiation": np.array([0, 1])})).tolist() == [True, False]
    speakers = np.array([[0, 1]] * 4, np.int8)
    assert tied(DialogueTable(**{**plain, "speakers": speakers})).tolist() == [False, False]


def test_the_course_doubles_its_stretches() -> None:
    """1 000 episodes in at most 8 stretches: of 128 episodes each, the last one of 104. The second half succeeds."""
    table = table_of([[(1, 0), (5, 5)]] * 1000, moves=[(0, 0)] * 500 + [(1, 0)] * 500)
    adding = SuccessTally(course_bins=8)
    for start in range(0, 1000, 90):
        adding.add(table[start : start + 90])
    course = adding.result().course
    assert [b.first_episode for b in course] == list(range(0, 1000, 128))
    assert [b.success.trials for b in course] == [128] * 7 + [104]
    assert [b.success.successes for b in course] == [0, 0, 0, 12, 128, 128, 128, 104]
    assert course[0].mean_rounds == 2
    assert adding.result().course_frame()["cut"].sum() == 0


def test_failures_of_a_planted_tie_in_the_real_game() -> None:
    """Two agents that say the same token of 2 and then EOT part only by luck: every failure is a tie."""
    games, rng = 400, np.random.default_rng(0)
    world = Negotiation(CrossingGame(games, rng), TalkRules(n_tokens=2, opening="talk"), rng)
    world.reset()
    same = rng.integers(2, size=(games, 1)).repeat(2, axis=1)
    world.step(same)
    world.step(np.full((games, 2), 2))
    done = world.step(rng.integers(3, 5, size=(games, 2))).dialogues
    table = DialogueTable(
        episode=done.game, negotiation=np.zeros(games, np.int32), worker=done.game, policy_version=done.game,
        n_rounds=done.n_rounds, symbols=done.symbols, speakers=done.order, moves=done.moves, rewards=done.rewards,
        success=done.success, cut=done.cut, private=done.private,
    )  # fmt: skip
    report = tally(table)
    assert report.failures["tie at the end"] == games - report.overall.successes > 100
    assert report.overall.low < 0.5 < report.overall.high


def test_over_seeds_by_hand() -> None:
    """Eight seeds: the middle half is .8 .9 .9 .9; two failed seeds pull the mean, not the interquartile mean."""
    rates = [rate(int(1000 * s), 1000) for s in (0.2, 0.5, 0.8, 0.9, 0.9, 0.9, 1.0, 1.0)]
    summary = over_seeds(rates)
    assert summary.mean.value == pytest.approx(6.2 / 8)
    assert summary.interquartile_mean.value == pytest.approx(3.5 / 4)
    assert summary.formed[:2] == (6, 8)
    assert summary.mean.low < summary.mean.value < summary.mean.high
    # the standard error of the mean over seeds is 0.272 / √8 = 0.0993, and t of 7 degrees of freedom 2.365
    assert summary.mean.low == pytest.approx(6.2 / 8 - 2.365 * 0.0993, abs=0.01)
    assert summary.mean.high == 1


@pytest.mark.parametrize("trials", [1, 2, 7, 100, 10**6, 2**40])
def test_rates_have_the_wilson_interval_of_scipy(trials: int) -> None:
    for successes in {0, 1, trials // 3, trials - 1, trials}:
        theirs = binomtest(successes, trials).proportion_ci(method="wilson")
        ours = rate(successes, trials)
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), rel=1e-12, abs=1e-15)
        assert 0 <= ours.low <= ours.high <= 1


@pytest.mark.parametrize("cut", [0.0, 0.25])
@pytest.mark.parametrize("seeds", [5, 10])
def test_intervals_over_seeds_cover_what_they_say(seeds: int, cut: float) -> None:
    """Of normal seeds; the percentile bootstrap of five covered 84 %."""
    rng = np.random.default_rng(seeds)
    found = [mean_over_seeds(rng.normal(size=seeds), cut) for _ in range(200)]
    assert np.mean([one.low <= 0 <= one.high for one in found]) > 0.89


def test_what_is_said_of_equal_seeds_of_one_and_of_two_kinds() -> None:
    assert mean_over_seeds([0.9] * 10) == (0.9, 0.9, 0.9)
    assert mean_over_seeds([0.9]).text() == "0.90"
    assert mean_over_seeds([float("nan"), None]).text() == "–"
    nearly = mean_over_seeds([1.0] * 9 + [0.5], cut=0.25, bounds=(0, 1))
    assert nearly.low <= nearly.value == nearly.high == 1
    mixed = over_seeds([rate(1000, 1000)] * 3 + [rate(500, 1000)] * 2)
    assert (
        mixed.sentence == "100.00 % [100.00, 100.00] where a protocol formed (3 of 5), 50.00 % [50.00, 50.00] where not"
    )
    assert over_seeds([rate(500, 1000)] * 2).sentence == "50.00 % [50.00, 50.00]"


def test_few_games_do_not_prove_a_protocol() -> None:
    assert over_seeds([rate(9, 10)]).formed.successes == 0  # 0.9, but the interval reaches below 0.75
    assert over_seeds([rate(900, 1000)]).formed.successes == 1
    assert np.isnan(over_seeds([]).mean.value)
    assert over_seeds([rate(0, 0), rate(3, 4)]).success == (0.75,)


def test_dialogues_of_one_episode_do_not_narrow_the_intervals() -> None:
    """Eight dialogues of an episode end alike; half of the episodes succeed."""
    held = []
    for seed in range(40):
        good = np.repeat(np.random.default_rng(seed).random(100) < 0.5, 8)
        table = table_of([[(0, 0)] * (1 + i % 2) for i in range(800)], moves=[(int(one), 0) for one in good])
        table = replace(table, episode=np.repeat(np.arange(100), 8), cut=np.arange(800) % 2 == 0)
        first, second = (table[:400], table[400:])  # in two parts
        report = tally(first, second)
        rates = (report.of_dialogues, report.uncut, report.cut, report.by_rounds[1], report.by_rounds[2])
        held += [one.low <= 0.5 <= one.high for one in rates]
        assert report.of_dialogues[:2] == (int(good.sum()), 800)
        assert report.by_rounds[1].trials == report.cut.trials == 400
        assert report.overall.trials == 100
    assert np.mean(held) > 0.9


def test_an_episode_fails_by_its_last_dialogue_only() -> None:
    """Two games of three joint moves each: one ends well; the other is cut at the end, and was silent before."""
    rounds = [[], [(0, 0)], [(0, 1)], [], [(0, 0)], [(0, 1)] * 4]
    moves = [(0, 0), (0, 0), (1, 0), (0, 0), (0, 0), (0, 0)]
    table = table_of(rounds, moves=moves, cut=[False] * 5 + [True])
    table = replace(table, episode=np.array([0, 0, 0, 1, 1, 1]), negotiation=np.array([0, 1, 2, 0, 1, 2], np.int32))
    report = tally(table)
    assert (report.overall.successes, report.overall.trials) == (1, 2)
    assert {kind: count for kind, count in report.failures.items() if count} == {"cut": 1}
    assert "the joint move after a dialogue" in of_joint_moves(report)
    assert of_joint_moves(tally(talk_table())) == ""


def test_where_episodes_have_one_dialogue_the_intervals_are_wilsons() -> None:
    report = tally(table_of([[(0, 0)]] * 10, moves=[(1, 0)] * 8 + [(0, 0)] * 2))
    assert report.of_dialogues == report.by_rounds[1] == report.overall == rate(8, 10)


def test_where_the_best_without_talk_is_not_known_no_protocol_is_said_to_form() -> None:
    rng = np.random.default_rng(0)
    assert forms_above(declared(CrossingGame(1, rng))) == 0.75
    for game in (SignallingGame, CrossingPriorityGame):
        assert forms_above(declared(game(1, rng))) is None
    unknown = over_seeds([rate(99, 100), rate(50, 100)], formed_above=None)
    assert unknown.formed.trials == 0
    assert "formed" not in unknown.sentence
    group = Group("", 2, unknown, mean_over_seeds([0.9, 0.5]))
    assert "protocol" not in group.sentence
    known = replace(group, seeds=over_seeds([rate(990, 1000), rate(500, 1000)]))
    assert "a protocol formed in 1 of 2" in known.sentence


def test_rounds_may_be_as_many_as_a_log_can_count() -> None:
    """The log has them as int32: their product with the number of episodes needs more."""
    table: Any = SimpleNamespace(episode=np.arange(4), success=np.array([True, False, True, True]))
    grouped = _Grouped()
    grouped.add(np.full(4, 2**30, np.int32), table)
    assert grouped.groups() == [2**30]
    assert grouped.rate(2**30) == rate(3, 4)
