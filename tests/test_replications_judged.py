"""Verdicts of replications on planted figures, and the faults that their controls must name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from emcomm.games import game_class
from envs import Negotiation, SwitchRiddleGame, TalkRules
from experiments.experiment import Results
from experiments.replications import cao_2018, das_2019, foerster_2016, lowe_2019


def results(columns: tuple[str, ...], **conditions: tuple[float, ...]) -> Results:
    """Five seeds of each condition; a column is the figure that is given for it, a little different in each seed."""
    rows = [
        {"condition": name, "seed": seed, "success": 0.5}
        | {column: value + 0.001 * (seed - 2) for column, value in zip(columns, values, strict=True)}
        for name, values in conditions.items()
        for seed in range(5)
    ]
    return Results(pd.DataFrame(rows), {}, False)


def riddle(bulb: float, shuffled: float, silent: float, cut: float, cut_shuffled: float) -> Results:
    columns, nan = ("return", "return_shuffled", "return_constant", "heeded_bits"), np.nan
    with_it, without = (bulb, shuffled, shuffled, 0.3), (silent, nan, nan, nan)
    conditions: dict[str, Any] = {
        foerster_2016.BULB: with_it, foerster_2016.REWARD: with_it, foerster_2016.NO_BULB: without,
        foerster_2016.CUT: (cut, cut_shuffled, cut, 0.0), foerster_2016.FOUR: (bulb + 0.03, *with_it[1:]),
        foerster_2016.FOUR_REWARD: with_it, foerster_2016.FOUR_NO_BULB: (silent + 0.03, nan, nan, nan),
    }  # fmt: skip
    return results(columns, **conditions)


@pytest.mark.parametrize(
    ("found", "word", "says"),
    [
        (riddle(0.73, 0.2, 0.52, 0.52, 0.52), "reproduced", "the channel control names the cut wire"),
        (riddle(0.65, 0.2, 0.52, 0.52, 0.52), "partly", "the optimum is not reached"),
        (riddle(0.73, 0.2, 0.52, 0.7, 0.2), "partly", "does not tell the cut wire"),
        (riddle(0.52, 0.52, 0.52, 0.52, 0.52), "not", "does not tell the cut wire"),
    ],
)
def test_the_riddle_is_judged_and_a_cut_wire_named(found: Results, word: str, says: str) -> None:
    verdict = foerster_2016.judge(found)
    assert verdict.word == word
    assert says in verdict.reason
    if word == "reproduced":
        assert foerster_2016.conclude(found).table.shape[0] == 7


def test_seeds_that_learn_the_bulb_count_where_others_do_not() -> None:
    """Two kinds of seeds have no common mean: the intervals overlap, and yet some reach the optimum."""
    found = riddle(0.53, 0.3, 0.53, 0.53, 0.53)
    assert foerster_2016.judge(found).word == "not"
    found.rows.loc[found.rows.condition == foerster_2016.BULB, "return"] = [0.73, 0.53, 0.62, 0.73, 0.53]
    verdict = foerster_2016.judge(found)
    assert verdict.word == "partly"
    assert "gradients through the bulb (2 of 5 seeds reach 95 %)" in verdict.reason
    assert "not apart" in verdict.reason


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


def matrices(said: float, heard: float, scrambled: float) -> Results:
    columns = (
        "score", "score_shuffled", "consistency_nats", "consistency_nats_null", "consistency_jaques",
        "consistency_jaques_null", "consistency_bits", "consistency_null", "heeded_bits", "heeded_null",
    )  # fmt: skip
    talk = (0.7, 0.7, said, 0.03, 0.2, 0.1, said, 0.001, heard, 0.0)
    silent = (0.7, *[np.nan] * 9)
    conditions: dict[str, Any] = {
        "2 × 2": talk, "4 × 4": talk, "2 × 2, scrambled": (*talk[:6], scrambled, *talk[7:]), "2 × 2, no talk": silent,
        "2 × 2, words a tenth": talk, "4 × 4, words a tenth": talk,
    }  # fmt: skip
    return results(columns, **conditions)


@pytest.mark.parametrize(
    ("found", "word", "says"),
    [
        (matrices(0.3, 0.003, 0.2), "reproduced", "not because anybody listens"),
        (matrices(0.3, 0.4, 0.2), "partly", "The talk is heeded"),
        (matrices(0.1, 0.003, 0.2), "partly", "(of 0 of 5 seeds it lies inside), but what is claimed holds"),
        (matrices(0.3, 0.003, 0.0), "partly", "Scrambling takes the consistency away"),
        (matrices(0.0, 0.4, 0.0), "not", "not above its null"),
    ],
)
def test_consistency_without_listening(found: Results, word: str, says: str) -> None:
    verdict = lowe_2019.judge(found)
    assert verdict.word == word
    assert says in verdict.reason
    if word == "reproduced":
        assert lowe_2019.conclude(found).table.shape[0] == 6


@pytest.mark.parametrize(
    ("talk", "shuffled", "word", "says"),
    [
        (0.95, 0.5, "reproduced", "5 of 5 seeds use them"),
        (0.8, 0.5, "partly", "the published figure with talk is not reached"),
        (0.5, 0.5, "not", "0 of 5 seeds use them"),
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
    verdict = das_2019.judge(found)
    assert verdict.word == word
    assert says in verdict.reason
    assert das_2019.conclude(found).table.shape[0] == 3
