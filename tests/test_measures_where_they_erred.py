"""Measures in cases in which they once gave a wrong figure without a word: many values, few dialogues, rare shapes."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from analysis.causal.listening import _without_bias, causal_influence
from analysis.data.decisions import NotApplicable
from analysis.data.dialogue_text import table_of
from analysis.data.utterances import MOST_ROUNDS, Utterances, private_values
from analysis.metrics.context_independence import context_independence, independence_of
from analysis.metrics.decision_information import decision_bits
from analysis.metrics.disentanglement import bosdis, disentanglement_of, posdis
from analysis.metrics.entropy import conditional_entropy, entropy, shared_information
from analysis.metrics.form_meaning import Form, dictionary, form_text
from analysis.metrics.lexicon import by_round, lexicon
from analysis.metrics.speaker_consistency import _score, jaques
from analysis.metrics.symbol_information import information, symbol_information
from analysis.metrics.told_capacity import capacity
from analysis.metrics.topographic_similarity import similarity_of, topographic_similarity
from analysis.metrics.unseen_meanings import KINDS, MetMeanings, generalisation, rate_over_meanings, what_is_new
from analysis.metrics.zipf import fit_zipf
from analysis.report import meaning_figures
from analysis.report.html import table as html_table
from analysis.report.measures import meaning, tokens
from emcomm.dialogues import DialogueTable
from emcomm.terminal import print_table
from envs.game import Attribute, BadGame, Decision, Declaration, declared, plain_declaration


def of(meanings: np.ndarray, symbols: np.ndarray, n_tokens: int) -> Utterances:
    """What one sender said of its meanings."""
    count = len(symbols)
    attributes = tuple(Attribute(f"attribute {p}", int(column.max()) + 1) for p, column in enumerate(meanings.T))
    return Utterances(
        "sender", attributes, n_tokens, n_tokens, symbols, meanings, np.arange(count), np.zeros(count, int),
        np.ones(count, bool), (symbols >= 0).sum(axis=1), np.zeros(count, bool),
    )  # fmt: skip


# -- bits of a symbol --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "values"), [(200, 4), (200, 16), (1000, 64), (3000, 64)])
def test_a_perfect_code_has_all_bits(count: int, values: int) -> None:
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(20):
        value = rng.integers(values, size=count)
        found = information(rng.permutation(values)[value], value, np.arange(count), rng, 19)
        assert found.value == pytest.approx(np.log2(values), abs=0.08)
        assert found.above_chance
        covered.append(found.low <= np.log2(values) <= found.high)
    assert np.mean(covered) >= 0.8


@pytest.mark.parametrize("flipped", [0.02, 0.1, 0.3, 0.6])
@pytest.mark.parametrize(("count", "values"), [(200, 4), (1000, 16), (3000, 16), (1000, 64)])
def test_the_interval_of_a_noisy_code_holds_the_truth(count: int, values: int, flipped: float) -> None:
    rng = np.random.default_rng(1)
    joint = np.full((values, values), flipped / values**2) + np.eye(values) * (1 - flipped) / values
    true, covered = float((joint * np.log2(joint * values**2)).sum()), []
    for _ in range(20):
        value = rng.integers(values, size=count)
        said = np.where(rng.random(count) < flipped, rng.integers(values, size=count), value)
        found = information(said, value, np.arange(count), rng, 19)
        covered.append(found.low <= true <= found.high)
    assert np.mean(covered) >= 0.65


def test_noise_of_which_nearly_every_value_is_unique_has_no_bits() -> None:
    rng = np.random.default_rng(0)
    found = information(rng.integers(2, size=200), np.arange(200), np.arange(200), rng)
    assert found.value == pytest.approx(0, abs=0.02)


def test_what_never_varies_tells_nothing() -> None:
    same, other = np.zeros(50, int), np.arange(50) % 2
    for x, y in ((same, same), (same, other), (other, same)):
        assert information(x, y, np.arange(50), np.random.default_rng(0))[:2] == (0, 0)
        assert information(x, y, np.arange(50), np.random.default_rng(0)).p_value == 1


@pytest.mark.parametrize("count", [11, 29, 49, 98, 5000, 9900])
def test_what_is_always_the_same_has_no_entropy(count: int) -> None:
    assert entropy(np.array([count])).plug_in == 0


@pytest.mark.parametrize("values", [7, 11])
def test_a_position_that_never_varies_is_no_position(values: int) -> None:
    meanings = np.array([(a, b) for a in range(values) for b in range(values)])
    assert posdis(meanings, np.c_[meanings, np.zeros(len(meanings), int)]) == pytest.approx(1)
    assert bosdis(meanings, meanings + np.array([0, values]), 4 * values) == pytest.approx(1)
    assert np.isnan(posdis(meanings, np.zeros((len(meanings), 2), int)))


# -- units -------------------------------------------------------------------------------------------------------------


def test_the_shares_of_a_unit_are_those_of_all_its_uses() -> None:
    """A number said as that many zeros and a one: after the longer ones are taken out, `0` seems to mean 1 for sure."""
    rng = np.random.default_rng(0)
    number = rng.integers(4, size=2000)
    symbols = np.where(np.arange(4) < number[:, None], 0, np.where(np.arange(4) == number[:, None], 1, -1))
    said = of(number[:, None], symbols, 1)
    found = dictionary(said)
    assert found.units
    for unit in found.units:
        size = len(unit.form.symbols)
        uses = number >= max(size, 1) if size else number == 0
        [(_, value)] = unit.meaning
        assert unit.means.low <= (number[uses] == value).mean() <= unit.means.high, unit


def test_of_two_words_for_one_meaning_each_says_half() -> None:
    rng = np.random.default_rng(0)
    meaning = rng.integers(4, size=2000)
    found = dictionary(of(meaning[:, None], 2 * meaning[:, None] + rng.integers(2, size=(2000, 1)), 8))
    assert {unit.form.symbols for unit in found.units} == {(s,) for s in range(8)}
    assert all(0.4 < unit.said.value < 0.6 and unit.means.value == 1 for unit in found.units)


@pytest.mark.parametrize("values", [64, 100])
def test_a_code_of_many_words_is_found_whole(values: int) -> None:
    meaning = np.random.default_rng(0).integers(values, size=(10_000, 1))
    found = dictionary(of(meaning, meaning, values))
    assert (found.symbols.value, found.meanings.value, found.complete) == (1, 1, True)
    assert Form((0,), 0) in {unit.form for unit in found.units}


def test_that_units_are_left_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analysis.metrics.form_meaning.MOST_UNITS", 5)
    meaning = np.random.default_rng(0).integers(8, size=(2_000, 1))
    assert not dictionary(of(meaning, meaning, 8)).complete


# -- decisions ---------------------------------------------------------------------------------------------------------

MANY = Declaration(
    ("sender", "receiver"), tuple(map(str, range(64))), ("sender", "receiver"), (0, 1), (Attribute("state", 64),),
    decisions=(Decision("the act", "move", 1), Decision("the joint move", "joint")), tokens=(64, 64),
)  # fmt: skip


def spoken(said: np.ndarray, moves: np.ndarray, **columns: Any) -> DialogueTable:
    table = table_of([[(int(s), -1)] for s in said], moves=[tuple(map(int, m)) for m in moves])
    return replace(table, private=np.zeros((len(said), 2, 1), np.float32), **columns)


def test_the_entropy_of_a_decision_counts_all_answers() -> None:
    act = np.random.default_rng(0).integers(64, size=3000)
    table = spoken(act, np.stack([np.zeros(3000, int), act], axis=1))
    found = decision_bits(table, MANY.decisions[0], MANY, 64, nulls=1)
    assert found.entropy == pytest.approx(6, abs=0.05)
    assert found.answers == 64
    assert 0.5 < found.bits[-1] <= found.entropy


def test_who_takes_part_is_not_what_the_dialogue_tells() -> None:
    """One of two moves at random, the other is away and silent: nothing is told of the joint move."""
    rng = np.random.default_rng(0)
    away = rng.integers(2, size=2000)
    moves, speaks = rng.integers(2, size=(2000, 2)), np.ones((2000, 2), bool)
    moves[np.arange(2000), away] = -1
    speaks[np.arange(2000), away] = False
    symbols = [[(0, -1) if a else (-1, 0)] for a in away]
    game = replace(MANY, move_names=("go", "wait"), tokens=(2, 2))
    table = replace(
        table_of(symbols, moves=[tuple(map(int, m)) for m in moves]), speaks=speaks,
        private=np.zeros((2000, 2, 1), np.float32),
    )  # fmt: skip
    found = decision_bits(table, game.decisions[1], game, 2, nulls=1)
    assert found.entropy == pytest.approx(1, abs=0.01)
    assert abs(found.bits[-1]) < 0.02
    with pytest.raises(NotApplicable, match="in which the same agents take part"):
        decision_bits(table[:400], game.decisions[1], game, 2, nulls=1)


def test_bits_are_no_percent() -> None:
    shares = html_table(pd.DataFrame({"success": [0.5], "low": [0.25], "high": [0.75]}), "")
    bits = html_table(pd.DataFrame({"round": [1], "bits": [1.49], "low": [1.455], "high": [1.51]}), "")
    assert "25.0 %" in shares
    assert "%" not in bits
    console = Console(width=80, file=io.StringIO())
    print_table(console, "success", pd.DataFrame({"success": [0.5], "low": [0.25], "high": [0.75]}))
    assert "25.0 %" in console.file.getvalue()  # type: ignore[attr-defined]


# -- listening ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [2, 4, 8, 16, 32])
def test_who_does_what_it_hears_heeds_all_bits(values: int) -> None:
    moves = np.eye(values)[np.random.default_rng(0).integers(values, size=(400, 32))]
    assert _without_bias(moves).mean() == pytest.approx(np.log2(values), abs=0.07)
    np.testing.assert_array_equal(_without_bias(moves[:, :1]), causal_influence(moves[:, :1]))


def test_of_a_hearer_that_heeds_nothing_it_is_known() -> None:
    """A move that is always the same but for rounding: 0 bits, and no foreign talk is missing."""
    moves = np.full((400, 32, 5), 0.2) + np.random.default_rng(0).normal(size=(400, 32, 5)) * 1e-9
    assert (_without_bias(moves) == 0).all()


# -- topographic similarity --------------------------------------------------------------------------------------------


def test_the_interval_holds_the_similarity_of_all_meanings() -> None:
    """256 meanings, more than are compared at once; what is said has the first attribute, and a number of the rest."""
    rng = np.random.default_rng(0)
    every = np.array([(a, b) for a in range(16) for b in range(16)])
    words = np.stack([every[:, 0], 16 + rng.permutation(16)[(every[:, 0] + every[:, 1]) % 16]], axis=1)
    exact = topographic_similarity(every, words)
    which = rng.integers(256, size=8_000)
    found = similarity_of(of(every[which], words[which], 32), replicates=40, nulls=19)["edit"]
    assert found.low <= exact <= found.high
    assert 0 < found.high - found.low < 0.2
    assert found.value == pytest.approx(exact, abs=0.03)


def test_a_few_messages_that_deviate_are_not_none() -> None:
    """10 of 1,024 meanings have another message than all others: some of the meanings drawn have but one."""
    every = np.array([(a, b) for a in range(32) for b in range(32)])
    words = np.zeros((1024, 1), int)
    words[::103] = 1
    found = similarity_of(of(np.tile(every, (4, 1)), np.tile(words, (4, 1)), 2), replicates=20, nulls=19)["edit"]
    assert abs(found.value) < 0.1


# -- generalisation ----------------------------------------------------------------------------------------------------


def asked_about(count: int, held_out: set[int], seed: int) -> tuple[DialogueTable, MetMeanings, np.ndarray]:
    """One agent asks about one of 6 things, the other knows one of 16 objects, four of which training never showed."""
    rng = np.random.default_rng(seed)

    def shown(objects: np.ndarray) -> DialogueTable:
        table = table_of([[(0, 0)]] * len(objects), moves=[(0, 0)] * len(objects))
        task, none = rng.integers(6, size=len(objects)), np.full(len(objects), -1)
        private = np.stack([np.stack([task, none, none], 1), np.stack([none, objects // 4, objects % 4], 1)], axis=1)
        return replace(table, private=private.astype(np.float32))

    game = Declaration(
        ("asker", "knower"), ("go",), ("asker", "knower"), (0, 1),
        (Attribute("task", 6), Attribute("colour", 4), Attribute("shape", 4)), tokens=(2, 2),
    )  # fmt: skip
    met = MetMeanings(game)
    met.add(shown(np.repeat([o for o in range(16) if o not in held_out], 40)))
    objects = rng.integers(16, size=count)
    return shown(objects), met, objects


def test_what_another_agent_knows_makes_no_new_meanings() -> None:
    """Success by a random half of the objects, new or not: to other questions the same objects, not more of them."""
    held_out = {1, 6, 11, 12}
    small, covered = [], []
    for seed in range(40):
        table, met, objects = asked_about(1_000, held_out, seed)
        said = replace(table, success=(np.random.default_rng(seed).permutation(16) < 8)[objects])
        found = generalisation(said, met.kinds(said), meaning=what_is_new(said, met.kinds))
        assert found.meanings == {KINDS[0]: 12, KINDS[1]: 4, KINDS[2]: 0}
        small.append(found.p_value <= 0.05)
        covered.append(found.gap[1] <= 0 <= found.gap[2])
    assert np.mean(small) <= 0.15
    assert np.mean(covered) >= 0.85


# -- messages that are long --------------------------------------------------------------------------------------------


def test_that_a_message_goes_on_is_said() -> None:
    """The colour is said in the last round, after more than are looked at."""
    rounds = MOST_ROUNDS + 4
    for last, told in ((rounds, False), (MOST_ROUNDS - 1, True)):
        colour = np.random.default_rng(0).integers(4, size=600)
        symbols = np.zeros((600, last), int)
        symbols[:, -1] = colour
        said = replace(of(colour[:, None], symbols[:, :MOST_ROUNDS], 4), n_rounds=np.full(600, last))
        found = capacity(said, alone=True)
        assert (found.told > 1.9) == told
        assert said.longer == (0 if told else 1)
        study = SimpleNamespace(utterances=(said,), run=SimpleNamespace(settings={"population": 1}))
        assert ("rounds are looked at: 100.0 % go on" in meaning._capacity_says((found,), study)) != told  # type: ignore[arg-type]


# -- few utterances ----------------------------------------------------------------------------------------------------


def test_one_utterance_has_no_context_independence() -> None:
    symbols = np.full((500, 1), 4)
    symbols[0] = 2
    meanings = np.random.default_rng(0).integers(4, size=(500, 1))
    with pytest.raises(NotApplicable, match="the sender says a token in 1 dialogues: too few"):
        independence_of(of(meanings, symbols, 4))


def test_what_is_known_is_counted_without_the_bias_of_few_dialogues() -> None:
    """1 331 equally frequent meanings, log2 of which is 10.38; 3 000 dialogues show 1 190 of them."""
    meanings = np.random.default_rng(0).integers(11, size=(3_000, 3))
    found = capacity(of(meanings, np.zeros((3_000, 1), int), 2), alone=True)
    assert found.of_meanings == pytest.approx(np.log2(1331), abs=0.1)
    assert not found.enough
    few = np.random.default_rng(0).integers(4, size=(3_000, 1))
    perfect = capacity(of(few, few, 4), alone=True)
    assert perfect.enough
    assert perfect.told <= perfect.of_meanings <= 2


# -- agents of one dialogue, small samples, and many values ------------------------------------------------------------


def echoed(dialogues: int, agents: int, seed: int) -> Utterances:
    """All agents know one value and say one symbol, which tells nothing of it."""
    rng = np.random.default_rng(seed)
    value, symbol = rng.integers(4, size=dialogues), rng.integers(4, size=dialogues)
    of_each = np.repeat(np.arange(dialogues), agents)
    said = of(value[of_each, None], np.stack([symbol[of_each], np.full(len(of_each), 4)], axis=1), 4)
    return replace(said, dialogue=of_each, agent=np.tile(np.arange(agents), dialogues))


@pytest.mark.parametrize("agents", [1, 2, 4])
def test_agents_that_say_the_same_by_chance_are_no_independent_witnesses(agents: int) -> None:
    found, units = [], 0
    for seed in range(40):
        said = echoed(150, agents, seed)
        first = symbol_information(said, seed, nulls=39)[0]
        found.append((first.bits.above_chance, independence_of(said, seed, 2, 39).above_chance))
        units += seed < 10 and bool(dictionary(said, seed).units)
    assert (np.mean(found, axis=0) <= 0.15).all()
    assert units <= 2


def test_moves_of_one_dialogue_are_no_independent_witnesses() -> None:
    """One train says 0 and the other 1, one has the main line and the other not, by two lots."""
    rng = np.random.default_rng(0)
    significant = []
    for _ in range(60):
        says, takes = rng.integers(2, size=(2, 300))
        symbol, move = (np.stack([side, 1 - side], axis=1).ravel() for side in (says, takes))
        significant.append(information(symbol, move, np.repeat(np.arange(300), 2), rng, 39).above_chance)
    assert np.mean(significant) <= 0.1


@pytest.mark.parametrize(("values", "count"), [(5, 200), (16, 200), (64, 3_000)])
def test_a_compositional_code_of_many_values_is_disentangled(values: int, count: int) -> None:
    meanings = np.random.default_rng(0).integers(values, size=(count, 2))
    for found in disentanglement_of(of(meanings, meanings + np.array([0, values]), 2 * values), 0, 20, 9).values():
        assert found.value == pytest.approx(1, abs=0.04)
        assert found.high >= 0.98


def test_of_many_different_messages_not_only_the_first_are_read() -> None:
    """Two binary tokens name four values; nineteen coin tosses follow."""
    rng = np.random.default_rng(0)
    value = rng.integers(4, size=6_000)
    said = of(value[:, None], np.c_[value // 2, value % 2, rng.integers(2, size=(6_000, 19))], 2)
    found = dictionary(said)
    words = [f"{a} · {b} from round 1" for a in (0, 1) for b in (0, 1)]
    assert sorted(form_text(unit.form) for unit in found.units) == words
    assert found.meanings.value == 1
    assert not found.complete


def test_tokens_of_one_message_are_no_independent_trials() -> None:
    """Half of the meanings are one word said six times, half are noise: whole messages are explained, or none."""
    held = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        meaning = rng.integers(10, size=400)
        word = np.where(meaning[:, None] < 5, meaning[:, None], rng.integers(5, 15, size=(400, 6)))
        found = dictionary(of(meaning[:, None], word, 15), seed)
        held.append(found.symbols.low <= 0.5 <= found.symbols.high)
    assert np.mean(held) >= 0.85


def test_the_rates_of_meanings_of_very_unequal_use() -> None:
    held = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        chances, often = rng.beta(2, 1, 40), rng.pareto(1.2, 40) + 0.1
        meaning = rng.choice(40, 800, p=often / often.sum())
        found = rate_over_meanings(rng.random(800) < chances[meaning], meaning)
        held.append(found.low <= 2 / 3 <= found.high)
    assert np.mean(held) >= 0.91


def test_a_rare_symbol_leaves_the_score_of_jaques_open() -> None:
    symbol, move = np.repeat([0, 1, 2], [40, 40, 5]), np.tile([0, 1], 43)[:85]
    rng = np.random.default_rng(0)
    assert _score(symbol, move, (3, 2), np.arange(85), rng)[1:] == (0.0, 1.0)
    assert _score(symbol[:80], move[:80], (3, 2), np.arange(80), rng)[2] < 0.5


@pytest.mark.parametrize("count", [1, 2, 3, 29])
def test_of_few_utterances_nothing_is_said(count: int) -> None:
    few = np.random.default_rng(0).integers(3, size=(count, 2))
    for measure in (disentanglement_of, similarity_of, lambda said: capacity(said, alone=True)):
        with pytest.raises(NotApplicable, match="too few"):
            measure(of(few, few, 3))


def test_silence_in_the_first_round_is_a_symbol_where_the_opening_is_free() -> None:
    rng = np.random.default_rng(0)
    value = rng.integers(6, size=400)
    said = replace(of(value[:, None], np.stack([value % 3, value // 3], axis=1), 3), n_rounds=np.full(400, 2))
    assert capacity(said, alone=False, silence=True).of_symbols == pytest.approx(np.log2(5 * 4))
    assert capacity(said, alone=False).of_symbols == pytest.approx(np.log2(4 * 4))


@pytest.mark.parametrize(
    ("meanings", "messages", "says"),
    [
        (np.zeros((3, 2), int), np.zeros((4, 2), int), "not 3 and 4 rows"),
        (np.full((4, 2), np.nan), np.zeros((4, 2), int), "meanings must be an array .* of whole numbers, not float64"),
        (np.zeros((4, 2), int), np.zeros(4, int), r"messages must be .* of shape \[4\]"),
        ([[0, 1]], np.zeros((1, 2), int), "meanings must be .*, not list"),
    ],
)
def test_what_are_no_meanings_and_messages_is_refused(meanings: Any, messages: Any, says: str) -> None:
    for measure in (posdis, topographic_similarity, lambda *both: bosdis(*both, 3)):
        with pytest.raises(ValueError, match=says):
            measure(meanings, messages)


@pytest.mark.parametrize("value", [0.1, 7.0, -3.0, float("nan")])
def test_values_that_no_attribute_has_are_not_rounded(value: float) -> None:
    table = replace(table_of([[(0, 1)]]), private=np.array([[[0.0], [value]]], np.float32))
    game = replace(plain_declaration(2, ("main", "detour")), attributes=(Attribute("delay", 4),))
    with pytest.raises(NotApplicable, match="the log does not fit the game: the attribute 'delay' of agent 1 is"):
        private_values(table, game)


def test_a_speaker_that_says_too_little_takes_no_measure_from_the_other() -> None:
    rng = np.random.default_rng(0)
    much, little = (of(values, values, 3) for values in (rng.integers(3, size=(200, 2)), rng.integers(3, size=(9, 2))))
    study = SimpleNamespace(utterances=(much, replace(little, speaker="shy one")), depth=SimpleNamespace(cautious=True))
    study.run, study.rules = SimpleNamespace(settings={}), None
    for measure in (meaning.SIMILARITY, meaning.DISENTANGLEMENT, meaning.INDEPENDENCE):
        found = measure.compute(study)  # type: ignore[arg-type]
        assert list(found) == ["sender"]
        assert measure.remark is not None
        assert "The shy one is left out: it says too little" in measure.remark(found, study)  # type: ignore[arg-type]
    [one] = meaning.CAPACITY.compute(study)  # type: ignore[arg-type]
    assert one.speaker == "sender"
    assert "The shy one is left out" in meaning._capacity_says((one,), study)  # type: ignore[arg-type]
    study.utterances = study.utterances[1:]
    for each in (meaning.SIMILARITY, meaning.CAPACITY):
        with pytest.raises(NotApplicable, match="9 dialogues in which the shy one speaks: too few"):
            each.compute(study)  # type: ignore[arg-type]


def test_what_never_varied_in_few_dialogues_is_not_certain_to_tell_nothing() -> None:
    value, same = np.arange(40) % 4, np.zeros(40, int)
    found = information(same, value, np.arange(40), np.random.default_rng(0))
    assert (found.value, found.low, found.above_chance) == (0, 0, False)
    assert found.high == pytest.approx(0.384, abs=0.001)  # a share of 3 / 40 at most
    many = np.arange(30_000)
    assert information(many * 0, many % 4, many, np.random.default_rng(0)).high < 0.002


def test_a_round_of_few_dialogues_has_no_bits() -> None:
    value = np.random.default_rng(0).integers(3, size=(400, 1))
    said = of(value, np.c_[value, np.where(np.arange(400)[:, None] < 20, value, -1)], 3)
    assert [one.round for one in symbol_information(said)] == [1]


@pytest.mark.parametrize(
    ("counts", "says"),
    [([0.5, 0.5], "not 0.5"), ([3, -1], "not -1"), ([float("nan"), 2.0], "not nan"), ([2.0, float("inf")], "not inf")],
)
def test_what_are_no_counts_is_refused(counts: list[float], says: str) -> None:
    for measure in (entropy, fit_zipf, conditional_entropy, shared_information, jaques):
        of_those = np.array(counts if measure in (entropy, fit_zipf) else [counts, counts])
        with pytest.raises(ValueError, match=f"counts must be whole numbers from 0, {says}: give how often"):
            measure(of_those)
    assert entropy(np.array([2.0, 2.0])) == entropy(np.array([2, 2]))


# -- context independence ----------------------------------------------------------------------------------------------

THIN = {"replicates": 40, "nulls": 39}


@pytest.mark.parametrize("rare", [0, 8])
def test_how_tokens_are_numbered_does_not_matter(rare: int) -> None:
    """Each of four values is said once by a rare token of its own, and else by another."""
    meanings = np.random.default_rng(0).integers(4, size=(1000, 1))
    symbols = meanings + 4
    for value in range(4):
        symbols[np.flatnonzero(meanings[:, 0] == value)[0]] = rare + value
    found = independence_of(of(meanings, symbols, 20), **THIN)
    assert found.value == pytest.approx(0.996, abs=0.001)
    assert found.low > 0.98
    assert found.above_chance


def test_of_two_words_for_a_value_the_commoner_counts() -> None:
    rng = np.random.default_rng(0)
    meanings = rng.integers(4, size=(1000, 1))
    words = 2 * meanings + (rng.random(meanings.shape) < 0.1)
    values = [
        independence_of(of(meanings, rng.permutation(8)[words], 8), replicates=1, nulls=0).value for _ in range(10)
    ]
    assert min(values) == pytest.approx(max(values), abs=1e-9)
    assert values[0] == pytest.approx(0.9, abs=0.02)


@pytest.mark.parametrize("together", [0.8, 0.9, 0.95])
def test_attributes_that_go_together_have_tokens_of_their_own_all_the_same(together: float) -> None:
    rng = np.random.default_rng(0)
    colour = rng.integers(4, size=3000)
    shape = np.where(rng.random(3000) < together, colour, rng.integers(4, size=3000))
    meanings = np.stack([colour, shape], axis=1)
    found = independence_of(of(meanings, meanings + np.array([0, 4]), 10), **THIN)
    assert found.value == pytest.approx(1, abs=0.002)
    assert found.low > 0.99


def test_what_nearly_always_comes_together_is_not_told_apart() -> None:
    rng = np.random.default_rng(0)
    colour = rng.integers(4, size=3000)
    shape = np.where(rng.random(3000) < 0.999, colour, rng.integers(4, size=3000))
    meanings = np.stack([colour, shape], axis=1)
    with pytest.raises(NotApplicable, match="which token stands for which does not settle"):
        independence_of(of(meanings, meanings + np.array([0, 4]), 10), **THIN)


def test_what_no_token_names_and_what_is_missing_count() -> None:
    rng = np.random.default_rng(0)
    hat = rng.integers(-1, 1, size=(1000, 1))
    same = independence_of(of(hat, np.zeros_like(hat), 10), **THIN)
    assert not same.above_chance
    assert same.value == pytest.approx(0.5, abs=0.02)  # p(concept | symbol) is a half for both
    said = np.where(hat == 0, 0, rng.integers(2, size=hat.shape))
    worn_of_0, of_none_1 = (hat[said == 0] == 0).mean(), said[hat < 0].mean()
    assert independence_of(of(hat, said, 10), **THIN).value == pytest.approx((worn_of_0 + of_none_1) / 2)
    colour = rng.integers(4, size=(1000, 1))
    silent = independence_of(of(colour, np.where(colour == 0, 10, colour), 10), **THIN)  # 10: EOT
    assert silent.value == pytest.approx(0.75)
    assert context_independence(np.eye(2), np.array([[1.0], [0.0]])) == 0.5


def test_the_interval_of_noise_holds_what_noise_has() -> None:
    held = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        found = independence_of(of(rng.integers(4, size=(300, 1)), rng.integers(4, size=(300, 1)), 8), seed, 60, 39)
        held.append(found.low <= 1 / 16 <= found.high)
    assert np.mean(held) > 0.85


def test_the_interval_of_context_independence_stays_within_its_range() -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        value = rng.integers(4, size=(40, 1))
        said = np.where(rng.random((40, 1)) < 0.08, rng.integers(4, size=(40, 1)), value)
        found = independence_of(of(value, said, 4), seed, 60, 39)
        assert 0 <= found.low <= found.value <= found.high <= 1


def test_dialogues_and_not_their_agents_must_be_enough() -> None:
    rng = np.random.default_rng(0)
    value = rng.integers(3, size=(40, 1))
    one = replace(of(value, value, 5), dialogue=np.zeros(40, int))
    with pytest.raises(NotApplicable, match="there are 1 dialogues in which the sender speaks: too few"):
        independence_of(one, **THIN)
    rare = np.full((10_000, 1), -1)
    rare[7] = 0
    with pytest.raises(NotApplicable, match="what the sender knows is nearly always the same"):
        independence_of(of(rare, np.zeros_like(rare), 4), **THIN)


# -- lexicon and units -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("agents", [1, 4])
def test_agents_of_one_dialogue_do_not_narrow_the_intervals_of_the_lexicon_and_the_units(agents: int) -> None:
    """All agents of a dialogue know the same and say the same: the right word in 0.85 of the dialogues."""
    held: dict[str, list[bool]] = {name: [] for name in ("said", "cell", "means", "unit said", "coverage")}
    for seed in range(30):
        rng = np.random.default_rng(seed)
        dialogue, value = np.repeat(np.arange(200), agents), rng.integers(4, size=200)
        word = np.where(rng.random(200) < 0.2, rng.integers(4, size=200), value)
        said = replace(of(value[dialogue, None], word[dialogue, None], 8), dialogue=dialogue)
        held["said"] += [entry.said.low <= 0.85 <= entry.said.high for entry in lexicon(said)]
        held["cell"] += [cell.said.low <= 0.85 <= cell.said.high for cell in by_round(said)]
        units = dictionary(said, seed)
        held["means"] += [unit.means.low <= 0.85 <= unit.means.high for unit in units.units]
        held["unit said"] += [unit.said.low <= 0.85 <= unit.said.high for unit in units.units]
        held["coverage"] += [units.symbols.low <= 0.85 <= units.symbols.high] * (len(units.units) == 4)
    for within in held.values():
        assert np.mean(within) >= 0.88


def test_the_lexicon_says_where_it_is_not_settled_which_message_is_the_commonest() -> None:
    rng = np.random.default_rng(0)
    value = rng.integers(8, size=(240, 1))
    assert not any(entry.settled for entry in lexicon(of(value, rng.integers(64, size=(240, 1)), 64)))
    assert all(entry.settled for entry in lexicon(of(value, value, 8)))
    assert not any(entry.settled for entry in lexicon(of(value[:2], value[:2], 8)))


def units_say(said: Utterances) -> tuple[bool, str]:
    found = dictionary(said)
    study: Any = SimpleNamespace(utterances=(said,), run=SimpleNamespace(settings={}))
    return found.complete, meaning._units_say((found,), study)


def test_what_the_search_for_units_does_not_look_at_is_said() -> None:
    rng = np.random.default_rng(0)
    more = "There may be more: looked at are up to 4 neighbouring symbols and up to 3 attributes together"
    tokens = rng.integers(3, size=(6000, 5))
    complete, says = units_say(of(tokens.sum(axis=1, keepdims=True) % 3, tokens, 20))  # a parity of five
    assert not complete
    assert "No string of the sender's symbols that was looked at has one meaning" in says
    assert more in says
    known = rng.integers(2, size=(4000, 4))  # a word for each of 16 meanings
    complete, says = units_say(of(known, rng.permutation(16)[known @ [8, 4, 2, 1]][:, None], 20))
    assert not complete
    assert more in says
    value = rng.integers(9, size=(3000, 1))
    first, second = np.divmod(rng.permutation(9)[value[:, 0]], 3)
    for between in (20, -1):  # EOT, silence
        complete, says = units_say(of(value, np.stack([first, np.full(3000, between), second], axis=1), 20))
        assert not complete
        assert more in says
    complete, says = units_say(of(value, np.stack([first, second], axis=1), 20))
    assert complete
    assert "9 units explain 100.0 % of the tokens and express 100.0 % of what is known" in says
    assert "There may be more" not in says


def test_that_something_is_missing_is_a_meaning() -> None:
    hat = np.random.default_rng(0).integers(-1, 1, size=(1000, 1))
    found = dictionary(of(hat, hat + 1, 4))
    assert {(unit.form.symbols, unit.meaning) for unit in found.units} == {((0,), ((0, -1),)), ((1,), ((0, 0),))}
    assert (found.symbols.value, found.meanings.value) == (1, 1)
    assert "no attribute 0" in set(found.to_frame().means)


# -- what figures write ------------------------------------------------------------------------------------------------


def test_a_figure_writes_names_as_they_are() -> None:
    value = np.random.default_rng(0).integers(3, size=(300, 1))
    names = ("0.125", "0.127", "1.2999")
    said = replace(of(value, value, 9), attributes=(Attribute("price\x1b[2J", 3, names),))
    drawn = meaning_figures.lexicon(by_round(said))
    assert drawn is not None
    written = re.findall(r"<text[^>]*>([^<]*)</text>", drawn)
    assert all(any(text.endswith(name) for text in written) for name in names)
    assert "\x1b" not in drawn
    assert not re.search(r'x="\d+\.\d{3}', drawn)


def test_two_values_of_one_name_are_refused() -> None:
    game = type(
        "Prices", (), {"attributes": (("price", 3, ("red", "red", "blue")),), "n_agents": 2, "move_names": "ab"}
    )
    with pytest.raises(BadGame, match="the attribute 'price' has two values of one name, red, red, blue: give each"):
        declared(game)  # type: ignore[arg-type]


def test_commonest_messages_that_are_alike_are_not_all_messages() -> None:
    rng = np.random.default_rng(0)
    meanings, symbols = rng.integers(3, size=(300, 2)), rng.integers(9, size=(300, 2))
    symbols[rng.random(300) < 0.5] = 0
    study: Any = SimpleNamespace(utterances=(of(meanings, symbols, 9),), depth=SimpleNamespace(cautious=True))
    with pytest.raises(NotApplicable, match="the commonest message is the same for all meanings"):
        meaning.SIMILARITY.compute(study)


def test_two_symbols_are_too_few_for_a_law() -> None:
    report: Any = SimpleNamespace(zipf={"tokens": fit_zipf(np.array([5, 3]))})
    study: Any = None
    assert tokens._law(report, study) == "2 different tokens are too few for a law."
