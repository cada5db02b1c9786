"""Verdicts of replications on planted figures, and the faults that their controls must name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from emcomm.games import game_class
from envs import Negotiation, SwitchRiddleGame, TalkRules
from experiments.experiment import Results
from experiments.replications import cao_2018, chaabouni_2019, das_2019, foerster_2016, lowe_2019


@pytest.fixture(autouse=True)
def no_figures_stay() -> Iterator[None]:
    yield
    plt.close("all")


def results(columns: tuple[str, ...], **conditions: tuple[float, ...]) -> Results:
    """Five seeds of each condition; a column is the figure that is given for it, a little different in each seed."""
    rows = [
        {"condition": name, "seed": seed, "success": 0.5, "episodes": 12_000}
        | {column: value + 0.001 * (seed - 2) for column, value in zip(columns, values, strict=True)}
        for name, values in conditions.items()
        for seed in range(5)
    ]
    return Results(pd.DataFrame(rows), {}, False)


def riddle(
    bulb: float, reward: float, four: float, shuffled: float = 0.2, cut: float = 0.52, cut_shuffled: float = 0.52,
) -> Results:  # fmt: skip
    columns, nan = ("return", "return_shuffled", "return_constant", "heeded_bits"), np.nan
    conditions: dict[str, Any] = {
        foerster_2016.BULB: (bulb, shuffled, shuffled, 0.3), foerster_2016.REWARD: (reward, shuffled, shuffled, 0.3),
        foerster_2016.NO_BULB: (0.52, nan, nan, nan), foerster_2016.CUT: (cut, cut_shuffled, cut, 0.0),
        foerster_2016.FOUR: (four, shuffled, shuffled, 0.3), foerster_2016.FOUR_REWARD: (0.57, 0.5, 0.5, 0.1),
        foerster_2016.FOUR_NO_BULB: (0.56, nan, nan, nan),
    }  # fmt: skip
    return results(columns, **conditions)


@pytest.mark.parametrize(
    ("found", "word", "says", "answers"),
    [
        (riddle(0.73, 0.72, 0.76), "reproduced", "names the cut wire", "Yes, up to the optimum."),
        (riddle(0.60, 0.73, 0.76), "reproduced", "names the cut wire", "Yes, up to the optimum."),
        (riddle(0.73, 0.52, 0.76), "partly", "With 3 the reward alone is not above no bulb", "Yes, up to the optimum."),
        (
            riddle(0.65, 0.60, 0.76),
            "partly",
            "With 3 the optimum is not reached",
            "4 prisoners; 88 % of the optimum with 3.",
        ),
        (riddle(0.73, 0.72, 0.72), "partly", "With 4 the optimum is not reached", "93 % of the optimum with 4."),
        (
            riddle(0.73, 0.72, 0.56),
            "partly",
            "With 4 the optimum is not reached",
            "3 prisoners; 74 % of the optimum with 4.",
        ),
        (riddle(0.73, 0.72, 0.76, cut=0.7, cut_shuffled=0.2), "partly", "does not tell the cut wire", "Yes, up to"),
        (
            riddle(0.52, 0.52, 0.50, 0.5),
            "not",
            "With 3 prisoners the bulb is not above no bulb",
            "Not all seeds",
        ),
    ],
)
def test_the_riddle_is_judged_and_a_cut_wire_named(found: Results, word: str, says: str, answers: str) -> None:
    if word == "not":
        found.rows.loc[found.rows.condition.str.startswith("4: bulb"), "return"] = 0.5
    verdict = foerster_2016.judge(found)
    assert verdict.word == word
    assert says in verdict.reason
    conclusion = foerster_2016.conclude(found)
    assert answers in conclusion.answer
    assert conclusion.table.shape[0] == 7


def test_seeds_that_learn_the_bulb_count_where_others_do_not() -> None:
    """Two kinds of seeds have no common mean: the intervals overlap, and yet some reach the optimum."""
    found = riddle(0.52, 0.52, 0.50)
    found.rows.loc[found.rows.condition.str.startswith("4: bulb"), "return"] = 0.5
    assert foerster_2016.judge(found).word == "not"
    found.rows.loc[found.rows.condition == foerster_2016.BULB, "return"] = [0.73, 0.53, 0.52, 0.73, 0.53]
    verdict = foerster_2016.judge(found)
    assert verdict.word == "partly"
    assert "gradients through the bulb (2 of 5 seeds reach 95 %)" in verdict.reason
    assert "not above no bulb" in verdict.reason
    assert foerster_2016.conclude(found).answer.startswith("Not all seeds")


def test_with_the_wire_cut_nobody_sees_the_bulb() -> None:
    for make, seen in (
        (game_class(foerster_2016.EXPERIMENT.conditions[foerster_2016.CUT].env), 0),
        (SwitchRiddleGame, 1),
    ):
        talk = Negotiation(make(20, np.random.default_rng(0)), TalkRules(**make.talk), np.random.default_rng(1))
        talk.reset()
        for _ in range(2):
            talk.step(talk.mask().argmax(axis=2))
        others = (talk.observe().buffer[..., 1:] >= 0).any(axis=(1, 2, 3))
        assert others.any() == bool(seen)


def bargains(words: float, shuffled: float, muted: float, silent: float, selfish: float) -> Results:
    own = (words, 0.5, 0.5, shuffled, shuffled)
    bars = ((muted, 0.5, 0.5, np.nan, np.nan), (silent, 0.5, 0.5, np.nan, np.nan))
    conditions = {}
    for motive in cao_2018.MOTIVES:
        first = own if motive == "prosocial" else (selfish, 0.9, 0.1, 0.75, 0.75)
        other = bars if motive == "prosocial" else ((0.75, *bars[0][1:]), (0.75, *bars[1][1:]))
        for name, values in zip(("", cao_2018.MUTED, cao_2018.SILENT), (first, *other), strict=True):
            conditions[motive + name] = values
    return results(("score", "first", "second", "score_shuffled", "score_constant"), **conditions)


@pytest.mark.parametrize(
    ("found", "word", "says"),
    [
        (bargains(0.95, 0.7, 0.8, 0.78, 0.75), "reproduced", "15.0 [15.0, 15.0] points above the same rounds"),
        (bargains(0.95, 0.7, 0.8, 0.78, 0.9), "partly", "selfish ones do too"),
        (bargains(0.89, 0.89, 0.89, 0.78, 0.75), "not", "no content, as both controls say"),
        (bargains(0.78, 0.78, 0.78, 0.78, 0.75), "not", "do not use the talk"),
    ],
)
def test_a_gain_without_content_is_no_talk(found: Results, word: str, says: str) -> None:
    verdict = cao_2018.judge(found)
    assert verdict.word == word
    assert says in verdict.reason
    if word == "reproduced":
        assert cao_2018.conclude(found).table.shape[0] == 6


def matrices(said: float, heard: float, scrambled: float, heard_in_8: float | None = None) -> Results:
    columns = (
        "score", "score_shuffled", "consistency_nats", "consistency_nats_null", "consistency_jaques",
        "consistency_jaques_null", "consistency_bits", "consistency_null", "heeded_bits", "heeded_null",
    )  # fmt: skip
    talk = (0.7, 0.66, said, 0.03, 0.2, 0.1, said, 0.001, heard, 0.0)
    in_8 = (*talk[:8], heard if heard_in_8 is None else heard_in_8, 0.0)
    silent = (0.7, *[np.nan] * 9)
    conditions: dict[str, Any] = {
        "2 × 2": talk, "4 × 4": talk, "8 × 8": in_8, "2 × 2, scrambled": (*talk[:6], scrambled, *talk[7:]),
        "2 × 2, no talk": silent, **{f"{size} × {size}, words a tenth": talk for size in (2, 4, 8)},
    }  # fmt: skip
    return results(columns, **conditions)


UNHEEDED = "No: what is said goes with what is done, and is hardly heeded."


@pytest.mark.parametrize(
    ("found", "word", "says", "answers"),
    [
        (matrices(0.3, 0.003, 0.2), "reproduced", "not because anybody listens", UNHEEDED),
        (matrices(0.3, 0.4, 0.2), "not", "5 of 5 seeds listen, and each of them loses", "8 × 8: consistent, heeded."),
        (matrices(0.1, 0.003, 0.2), "partly", "range, 0 of 5 seeds are inside", UNHEEDED),
        (matrices(0.3, 0.003, 0.0), "partly", "2 × 2, scrambled: not consistent", UNHEEDED),
        (
            matrices(0.3, 0.003, 0.2, 0.4),
            "partly",
            "not heeded is found in 2 × 2 and 4 × 4 games",
            "2 × 2 and 4 × 4: consistent, hardly heeded; 8 × 8: consistent, heeded.",
        ),
        (matrices(0.0, 0.003, 0.0), "not", "shares less than 0.05 bits", "8 × 8: not consistent, hardly heeded."),
        (matrices(0.0, 0.4, 0.0), "not", "shares less than 0.05 bits", "8 × 8: not consistent, heeded."),
    ],
)
def test_consistency_without_listening(found: Results, word: str, says: str, answers: str) -> None:
    verdict = lowe_2019.judge(found)
    assert verdict.word == word
    assert says in verdict.reason
    conclusion = lowe_2019.conclude(found)
    assert answers in conclusion.answer
    assert conclusion.table.shape == (8, 12)
    assert conclusion.table["null (bits)"].iloc[0] == "0.001 [-0.001, 0.003]"
    assert ("one network that makes both" in conclusion.findings) == (found.rows.consistency_bits[15] > 0.1)


@pytest.mark.parametrize(
    ("lost", "says"), [(0.2, "each of them loses by other games' words (0.200"), (0.0, "do not cost each of them")]
)
def test_what_some_seeds_do_is_not_said_of_all(lost: float, says: str) -> None:
    found = matrices(0.3, 0.003, 0.2)
    small = found.rows.condition == "2 × 2"
    found.rows.loc[small, "heeded_bits"] = [0.6, 0.003, 0.001, 0.002, 0.005]
    found.rows.loc[small, "score"], found.rows.loc[small, "score_shuffled"] = 0.7, 0.7 - lost
    verdict = lowe_2019.judge(found)
    assert verdict.word == "partly"
    assert f"2 × 2: 1 of 5 seeds listen{', and' if lost else ', though'}" in verdict.reason
    assert says in verdict.reason
    assert "2 × 2: consistent, heeding open; 4 × 4 and 8 × 8: consistent, hardly" in lowe_2019.conclude(found).answer


def test_counting_bias_is_no_consistency_and_few_seeds_settle_nothing() -> None:
    found = matrices(0.3, 0.003, 0.2)
    found.rows["consistency_bits"] = found.rows.consistency_null + 0.006 + 0.001 * (found.rows.seed - 2)
    assert lowe_2019.judge(found).word == "not"
    one = Results(matrices(0.3, 0.003, 0.2).rows.query("seed == 0"), {}, True)
    assert lowe_2019.judge(one).word == "not"
    assert "consistency open, heeding open" in lowe_2019.conclude(one).answer


@pytest.mark.parametrize(
    ("free", "priced", "word", "answers"),
    [
        (-0.5, 0.6, "reproduced", "longer without a price and shorter with one"),
        (-0.5, -0.3, "partly", "longer without a price and longer with one"),
        (0.5, 0.6, "partly", "shorter without a price and shorter with one"),
        (0.5, -0.5, "not", "shorter without a price and longer with one"),
        (0.0, 0.0, "not", "No difference beyond chance is shown"),
    ],
)
@pytest.mark.parametrize("tokens", chaabouni_2019.PAIRS)
def test_lengths_are_judged(tokens: int, free: float, priced: float, word: str, answers: str) -> None:
    columns = (
        "correlation", "under_open", "under_constant", "under_shuffled", "told", "length_of_token", "length_of_type",
    )  # fmt: skip
    rest = (0.99, 0.4, 0.3, 7.9, 3.0, 3.0)
    conditions: dict[str, Any] = dict.fromkeys(chaabouni_2019.CONDITIONS, (0.0, *rest))
    conditions |= dict(zip(chaabouni_2019.PAIRS[tokens], ((free, *rest), (priced, *rest)), strict=True))
    found = results(columns, **conditions)
    found.rows["lengths"] = [[3.0] * chaabouni_2019.STATES] * len(found.rows)
    verdict, concluded = chaabouni_2019.judge(found), chaabouni_2019.conclude(found)
    assert verdict.word == word
    assert "3.1 rounds in a speaker that is not trained and 3.00" in verdict.reason
    assert answers + (f" ({tokens} tokens)" if free else "") in concluded.answer
    assert "no state's message has room" not in verdict.reason
    found.rows.loc[found.rows.condition == chaabouni_2019.PAIRS[40][0], "length_of_type"] = 4.99
    assert "So with 40 tokens no state's message has room" in chaabouni_2019.judge(found).reason
    for name in chaabouni_2019.PAIRS[tokens]:
        found.rows.loc[found.rows.condition == name, "under_open"] = 0.5
    assert f"({tokens} tokens)" not in chaabouni_2019.conclude(found).answer
    found.rows["under_open"] = 0.5
    assert chaabouni_2019.conclude(found).answer.startswith("Not decided")


@pytest.mark.parametrize(
    ("talk", "shuffled", "word", "says"),
    [
        (0.95, 0.5, "reproduced", "5 of 5 seeds use them"),
        (0.8, 0.5, "partly", "episodes the published success with talk is not reached."),
        (0.58, 0.5, "partly", "0 of 5 seeds use them"),
        (0.95, 0.95, "not", "episodes it is not shown that the difference is content. The published runs"),
        (0.5, 0.55, "not", "other junctions cost -5.0 [-5.0, -5.0] points"),
    ],
)
def test_the_junction_is_judged(talk: float, shuffled: float, word: str, says: str) -> None:
    columns = ("success", "under_shuffled", "under_constant", "score", "return")
    silent = (0.5, *[np.nan] * 2, 0.9, -0.2)
    conditions: dict[str, Any] = {
        das_2019.TALK: (talk, shuffled, shuffled, 0.9, -0.1), das_2019.SILENT: silent, das_2019.SPARSE: silent,
    }  # fmt: skip
    found = results(columns, **conditions)
    found.rows["course_success"] = [[0.1, 0.2, 0.3]] * len(found.rows)
    verdict = das_2019.EASY.judge(found)
    assert verdict.word == word
    assert says in verdict.reason
    assert das_2019.EASY.conclude(found).table.shape[0] == 3
