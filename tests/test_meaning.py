"""Measures for meaning on languages that are planted: compositional, holistic, noise; a deaf listener, a mute speaker.

Where EGG and emlangkit are right, the values are theirs. EGG is not installed: its published formula and examples are
written out here.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from analysis.causal import listening as module
from analysis.causal.listening import causal_influence, listening
from analysis.data.decisions import Decisions, NotApplicable
from analysis.data.dialogue_text import table_of
from analysis.data.runs import load
from analysis.data.utterances import Utterances, that_know, utterances
from analysis.metrics import form_meaning, lexicon
from analysis.metrics.context_independence import independence_of
from analysis.metrics.disentanglement import bosdis, disentanglement_of, posdis
from analysis.metrics.entropy import shared_information
from analysis.metrics.form_meaning import Form, dictionary
from analysis.metrics.resampling import estimated
from analysis.metrics.speaker_consistency import _score, consistency, jaques
from analysis.metrics.symbol_information import counted, information, symbol_information
from analysis.metrics.told_capacity import capacity, held_out_bits, least_rounds
from analysis.metrics.topographic_similarity import edit, hamming, similarity_of, topographic_similarity
from analysis.metrics.unseen_meanings import KINDS, MetMeanings, generalisation
from analysis.report.chapters import not_shown
from analysis.report.findings import Findings
from analysis.report.measures import MEASURES, causes, meaning
from analysis.report.study import QUICK, Study
from emcomm.dialogues import DialogueTable, DialogueWriter
from emcomm.networks.policy import Policy
from emcomm.networks.torsos import Sizes
from envs import Attribute, declared
from envs.game import Declaration
from envs.negotiation import Negotiation, TalkRules
from tests.games import Objects, SameMove, Signal, Trio, changed

FEWER = {"replicates": 40, "nulls": 39}
VALUES, TOKENS = 4, 8


def game_of(*sizes: int, moves: int = 2) -> Declaration:
    """A sender that knows attributes of these sizes, and a receiver."""
    attributes = tuple(Attribute(["colour", "shape", "size"][p], size) for p, size in enumerate(sizes))
    return Declaration(
        ("sender", "receiver"), tuple(map(str, range(moves))), ("sender", "receiver"), (0, 1), attributes,
        tokens=(TOKENS, TOKENS),
    )  # fmt: skip


def told(meanings: np.ndarray, messages: list[list[int]], eot: int = TOKENS, **columns: Any) -> DialogueTable:
    """The sender says a message and EOT; the receiver says nothing."""
    table = table_of([[(s, -1) for s in [*message, eot]] for message in messages], **columns)
    private = np.stack([meanings, np.full_like(meanings, -1)], axis=1).astype(np.float32)
    return replace(table, private=private)


def drawn(count: int, seed: int = 0, sizes: tuple[int, ...] = (VALUES, VALUES)) -> np.ndarray:
    return np.random.default_rng(seed).integers(sizes, size=(count, len(sizes)))


LANGUAGES = {
    "compositional": lambda m, rng: np.stack([m[:, 0], 4 + m[:, 1]], axis=1),
    "by position": lambda m, rng: m,
    "holistic": lambda m, rng: np.stack(np.divmod(rng.permutation(16)[m @ [4, 1]], 4), axis=1),
    "noise": lambda m, rng: rng.integers(4, size=m.shape),
}


def spoken(language: str, count: int = 1600, seed: int = 0) -> Utterances:
    meanings = drawn(count, seed)
    messages = LANGUAGES[language](meanings, np.random.default_rng(seed + 7))
    [said] = utterances(told(meanings, messages.tolist()), game_of(VALUES, VALUES), TOKENS)
    return said


# -- planted languages -------------------------------------------------------------------------------------------------


def test_a_compositional_language_has_every_mark_of_one() -> None:
    said = spoken("compositional")
    for one in (*similarity_of(said, **FEWER).values(), *disentanglement_of(said, **FEWER).values()):
        assert one.value == pytest.approx(1, abs=0.01)
        assert one.above_chance
    assert independence_of(said, **FEWER).value == pytest.approx(1, abs=0.01)
    units = dictionary(said).units
    assert {(unit.form.symbols, unit.meaning) for unit in units} == {
        *(((v,), ((0, v),)) for v in range(4)), *(((4 + v,), ((1, v),)) for v in range(4))
    }  # fmt: skip
    assert all(unit.form.round == 0 and unit.means.value == unit.said.value == 1 for unit in units)


def test_where_the_same_token_means_two_things_by_position_positions_tell_and_tokens_do_not() -> None:
    said = spoken("by position")
    found = disentanglement_of(said, **FEWER)
    assert found["posdis"].value == pytest.approx(1, abs=0.01)
    assert found["bosdis"].value < 0.1
    assert independence_of(said, **FEWER).value < 0.5
    units = dictionary(said)
    assert {unit.form for unit in units.units} == {Form((v,), r) for v in range(4) for r in (1, 2)}
    assert (units.symbols.value, units.meanings.value) == (1, 1)


def test_a_holistic_language_tells_all_and_is_not_compositional() -> None:
    said = spoken("holistic")
    assert capacity(said, alone=True).told == pytest.approx(4, abs=0.05)
    assert not any(one.above_chance for one in similarity_of(said, **FEWER).values())
    assert all(one.value < 0.3 for one in disentanglement_of(said, **FEWER).values())
    assert independence_of(said, **FEWER).value < 0.5
    found = dictionary(said)
    whole = [unit for unit in found.units if len(unit.meaning) == 2 and len(unit.form.symbols) == 2]
    assert len(whole) > len(found.units) / 2  # a few of 16 messages given out at random share a symbol by chance
    assert found.meanings.value > 0.9


def test_noise_means_nothing() -> None:
    said = spoken("noise")
    assert not any(one.bits.value > 0.02 or one.bits.low > 0.01 for one in symbol_information(said))
    assert abs(capacity(said, alone=True).told) < 0.05
    assert all(abs(one.value) < 0.15 for one in similarity_of(said, **FEWER).values())
    assert all(one.value < 0.02 for one in disentanglement_of(said, **FEWER).values())
    assert not dictionary(said).units


@pytest.mark.parametrize("message", [[], [3]])
def test_a_mute_speaker_tells_nothing(message: list[int]) -> None:
    meanings = drawn(600)
    [said] = utterances(told(meanings, [message] * 600), game_of(VALUES, VALUES), TOKENS)
    assert capacity(said, alone=True).told == pytest.approx(0, abs=0.05)
    assert all(math.isnan(one.value) for one in (*similarity_of(said, **FEWER).values(),))
    assert all(math.isnan(one.value) for one in disentanglement_of(said, **FEWER).values())
    assert not dictionary(said).units
    assert [entry.message for entry in lexicon.lexicon(said)] == [" · ".join([*map(str, message), "EOT"])] * 16


def test_who_never_speaks_is_no_speaker() -> None:
    silent = table_of([[(-1, -1)]] * 5)
    with pytest.raises(NotApplicable, match="nobody says anything"):
        utterances(replace(silent, private=np.zeros((5, 2, 1), np.float32)), game_of(2), TOKENS)
    with pytest.raises(NotApplicable, match="does not hold the attributes"):
        utterances(silent, game_of(2), TOKENS)


def test_symbols_tell_each_in_its_round() -> None:
    found = {(one.round, one.about): one for one in symbol_information(spoken("by position"))}
    assert found[1, "colour"].bits.value == pytest.approx(2, abs=0.02)
    assert found[2, "colour"].bits.value == pytest.approx(0, abs=0.02)
    assert found[2, "shape"].bits.above_chance
    assert not found[1, "shape"].bits.above_chance


def test_a_noisy_channel_by_hand() -> None:
    """One of two colours is named rightly in 90 %: 1 - H(0.1) = 0.531 bits; intervals cover it, refit included."""
    true, covered = 1 - 0.9 * math.log2(1 / 0.9) - 0.1 * math.log2(1 / 0.1), 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        colour = rng.integers(2, size=300)
        said = colour ^ (rng.random(300) < 0.1)
        found = information(said, colour, np.arange(300), rng, nulls=19)
        covered += found.low <= true <= found.high
    assert covered >= 34


def test_the_interval_of_a_statistic_covers() -> None:
    """Positional disentanglement of a language that slips in one of ten symbols; the truth is a large sample."""

    def sample(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        rng, meanings = np.random.default_rng(seed), drawn(count, seed)
        slips = rng.random(meanings.shape) < 0.1
        return meanings, np.where(slips, rng.integers(4, size=meanings.shape), meanings)

    true, covered = posdis(*sample(100_000, 99)), 0
    for seed in range(20):
        meanings, messages = sample(800, seed)
        [said] = utterances(told(meanings, messages.tolist()), game_of(VALUES, VALUES), TOKENS)
        found = disentanglement_of(said, replicates=60, nulls=0)["posdis"]
        covered += found.low <= true <= found.high
    assert covered >= 16


def test_dialogues_are_resampled_and_not_their_utterances() -> None:
    """Two utterances of one dialogue that say the same are one observation: the interval is wider by sqrt 2."""
    rows, rng = np.repeat(np.random.default_rng(0).random(200), 2), np.random.default_rng(0)
    mean = lambda counts: float(counts @ rows / counts.sum())  # noqa: E731
    apart = estimated(mean, lambda rng: 0.0, np.arange(400), rng, 400)
    together = estimated(mean, lambda rng: 0.0, np.repeat(np.arange(200), 2), rng, 400)
    assert (together.high - together.low) / (apart.high - apart.low) == pytest.approx(math.sqrt(2), rel=0.15)


def habits(episodes: int, turns: int, seed: int = 0) -> tuple[DialogueTable, np.ndarray]:
    """Episodes of several dialogues in which the sender knows one thing, and says one random token again and again."""
    rng = np.random.default_rng(seed)
    of = np.repeat(np.arange(episodes), turns)
    meanings, said = rng.integers(VALUES, size=(episodes, 2))[of], rng.integers(VALUES, size=episodes)[of]
    table = told(meanings, said[:, None].tolist())
    success = np.tile(np.arange(turns) == turns - 1, episodes)
    return replace(table, episode=of, negotiation=np.tile(np.arange(turns), episodes), success=success), meanings


def test_what_lasts_an_episode_counts_once() -> None:
    """Noise that is repeated all the episode tells nothing, however many dialogues the episode has."""
    above, told_bits = [], []
    for seed in range(5):
        table, meanings = habits(300, 6, seed)
        [said] = utterances(table, game_of(VALUES, VALUES), TOKENS)
        assert len(said) == len(np.unique(table.episode[said.dialogue])) == 300
        assert len(np.unique(table.negotiation[said.dialogue])) == 6
        assert (said.meanings == meanings[said.dialogue]).all()
        assert said.success.all()  # as the episode ended, whichever dialogue was drawn
        above += [one.bits.above_chance for one in symbol_information(said, nulls=39) if one.round == 1]
        told_bits.append(capacity(said, alone=True, nulls=1).told)
    assert sum(above) <= 2  # 10 asked at 5 %; all of them where dialogues were counted
    assert max(told_bits) < 0.05


def test_of_an_episode_a_dialogue_is_drawn_in_which_the_speaker_may_speak() -> None:
    table, _ = habits(50, 2)
    speaks = np.stack([table.negotiation == 0, table.negotiation == 1], axis=1)
    [said] = utterances(replace(table, speaks=speaks), game_of(VALUES, VALUES), TOKENS)
    assert said.dialogue.tolist() == list(range(0, 100, 2))


def test_a_speaker_that_is_silent_at_first_loses_nothing() -> None:
    meanings = drawn(400, sizes=(VALUES,))
    table = told(meanings, [[-1, int(m)] for m in meanings[:, 0]])
    [said] = utterances(table, game_of(VALUES), TOKENS)
    assert {one.round: round(one.bits.value) for one in symbol_information(said, nulls=9)} == {2: 2, 3: 0}
    cells = [(cell.meaning, cell.round, cell.symbol) for cell in lexicon.by_round(said)]
    assert cells[:2] == [("colour 0", 2, "0"), ("colour 0", 3, "EOT")]


def test_units_are_scored_on_all_records(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the messages name both attributes, half are noise: that the records are many does not cover more."""
    monkeypatch.setattr(form_meaning, "MOST_RECORDS", 200)
    rng, meanings = np.random.default_rng(0), drawn(4000)
    clean = np.stack([meanings[:, 0], 4 + meanings[:, 1]], axis=1)
    messages = np.where(rng.random((4000, 1)) < 0.5, clean, rng.integers(TOKENS, size=(4000, 2)))
    [said] = utterances(told(meanings, messages.tolist()), game_of(VALUES, VALUES), TOKENS)
    found = dictionary(said)
    assert found.symbols.trials == 4000  # two tokens of half of the dialogues
    assert found.symbols.value < 0.7


# -- the others' values ------------------------------------------------------------------------------------------------


def of_language(language: str, count: int = 200) -> tuple[np.ndarray, np.ndarray]:
    meanings = drawn(count, 3)
    return meanings, LANGUAGES[language](meanings, np.random.default_rng(1))


@pytest.mark.parametrize("language", LANGUAGES)
def test_disentanglement_is_that_of_emlangkit(language: str) -> None:
    metrics = pytest.importorskip("emlangkit.metrics")
    meanings, messages = of_language(language)
    assert posdis(meanings, messages) == pytest.approx(metrics.compute_posdis(messages, meanings))
    assert bosdis(meanings, messages, TOKENS) == pytest.approx(metrics.compute_bosdis(messages, meanings))


@pytest.mark.parametrize("language", LANGUAGES)
def test_topographic_similarity_is_that_of_emlangkit(language: str) -> None:
    metrics = pytest.importorskip("emlangkit.metrics")
    meanings, messages = of_language(language, 60)
    for name, distance in (("hamming", hamming), ("editdistance", edit)):
        theirs, _ = metrics.compute_topographic_similarity(messages, meanings, message_dist_metric=name)
        assert topographic_similarity(meanings, messages, distance) == pytest.approx(theirs)


def test_edits_of_messages_of_different_lengths_are_those_of_a_naive_recursion() -> None:
    def naive(a: tuple[int, ...], b: tuple[int, ...]) -> int:
        if not a or not b:
            return len(a) + len(b)
        return min(naive(a[1:], b) + 1, naive(a, b[1:]) + 1, naive(a[1:], b[1:]) + (a[0] != b[0]))

    rng = np.random.default_rng(0)
    rows = np.where(rng.random((40, 4)) < 0.7, rng.integers(3, size=(40, 4)), -1)
    a, b = rows[:20], rows[20:]
    words = [(tuple(x[x >= 0].tolist()), tuple(y[y >= 0].tolist())) for x, y in zip(a, b, strict=True)]
    expected = [naive(x, y) / max((len(x) + len(y)) / 2, 1) for x, y in words]
    np.testing.assert_allclose(edit(a, b), expected)


def test_information_is_that_of_emlangkit_but_for_its_bias() -> None:
    """Equal as a plug-in. On noise that is the trouble: of 4 equally likely colours, and messages of 3 symbols, it
    claims most of the 2 bits in 150 utterances, since nearly every message occurs once. Ours take chance off, or
    predict utterances that they have not met, and find none.
    """
    metrics = pytest.importorskip("emlangkit.metrics")
    rng = np.random.default_rng(0)
    colour, messages = rng.integers(4, size=150), rng.integers(5, size=(150, 3))
    message = messages @ [25, 5, 1]
    theirs = metrics.compute_mutual_information(messages, colour[:, None])
    assert shared_information(counted(message, colour)) == pytest.approx(theirs)
    assert theirs > 1.2
    assert abs(information(message, colour, np.arange(150), rng).value) < 0.1
    assert held_out_bits(message, colour, np.arange(150), rng).mean() < 0.02


def egg_gap(meanings: np.ndarray, representations: np.ndarray) -> float:
    """The formula that EGG publishes (`gap_mi_first_second`), written with nothing but counts."""

    def entropy(rows: list) -> float:
        return -sum(n / len(rows) * math.log2(n / len(rows)) for n in Counter(rows).values())

    gaps = []
    for symbol in representations.T.tolist():
        told = sorted(
            entropy(value) + entropy(symbol) - entropy([*zip(value, symbol, strict=True)])
            for value in meanings.T.tolist()
        )
        if entropy(symbol) > 0:
            gaps.append((told[-1] - told[-2]) / entropy(symbol))
    return sum(gaps) / len(gaps)


def test_disentanglement_is_that_of_egg() -> None:
    """On its published examples and on noise. Its callback never prints it: `print_message` calls `self.disent`, and
    the class has `posdis` and `bosdis` only. Its bosdis leaves out symbol 0, its end of sequence, and symbols from
    `vocab_size` on; with those left out ours is equal.
    """
    torch.manual_seed(0)
    columns = [torch.randint(low=0, high=10, size=(1000, 1)) for _ in range(2)]
    attributes = torch.cat(columns, dim=1).numpy()
    assert round(posdis(attributes, attributes), 6) == 0.978656
    padded = np.concatenate([attributes, np.zeros_like(attributes)], axis=1)
    assert round(posdis(attributes, padded), 6) == 0.978656
    language = [
        "004",
        "005",
        "006",
        "007",
        "141",
        "151",
        "161",
        "171",
        "242",
        "252",
        "262",
        "272",
        "343",
        "335",
        "336",
        "337",
    ]
    messages = np.array([[*map(int, message)] for message in language])
    meanings = np.array([(a, b) for a in range(4) for b in range(4)])
    without = np.where((messages > 0) & (messages < 3), messages, 9)
    assert bosdis(meanings, without, 3) == pytest.approx(1.0)
    histogram = np.stack([(messages == v).sum(axis=1) for v in (1, 2)], axis=1)
    assert bosdis(meanings, without, 3) == pytest.approx(egg_gap(meanings, histogram))
    for name in LANGUAGES:
        assert posdis(*of_language(name)) == pytest.approx(egg_gap(*of_language(name)))


# -- listening ---------------------------------------------------------------------------------------------------------


def public_cic(moves: np.ndarray, messages: np.ndarray) -> float:
    """The one-step causal influence as published with Lowe et al. 2019, in nats: p(a) is a mean where it is a sum."""
    joint = moves * messages[:, None]
    joint = joint / joint.sum()
    marginal = joint.mean(axis=0)
    return float((joint * np.log(joint / (messages[:, None] * marginal))).sum())


def test_a_deaf_listener_is_not_influenced() -> None:
    """The public code returns ln 4 for one that ignores four messages: dividing by their number adds its logarithm."""
    deaf = np.tile([0.3, 0.7], (4, 1))
    assert public_cic(deaf, np.full(4, 0.25)) == pytest.approx(math.log(4))
    assert causal_influence(deaf[None])[0] == pytest.approx(0, abs=1e-12)
    rng = np.random.default_rng(0)
    moves = rng.dirichlet([1, 1, 1], size=4)
    ours = math.log(2) * causal_influence(moves[None])[0]
    assert ours == pytest.approx(public_cic(moves, np.full(4, 0.25)) - math.log(4))


def heard(count: int = 60) -> tuple[Decisions, Any, Policy, TalkRules]:
    """Dialogues of a sender that says its colour, what they began with, and an untrained network."""
    from analysis.agents.policy_player import situation_of

    rng, rules = np.random.default_rng(0), TalkRules(n_tokens=2, opening="talk")
    negotiation = Negotiation(Signal(2, rng), rules, rng)
    torch.manual_seed(0)
    policy = Policy(Sizes.of(negotiation, 12))
    colour = rng.integers(3, size=count)
    table = table_of([[*[(int(c), -1)] * int(c < 2), (2, -1)] for c in colour], moves=[(0, int(c)) for c in colour])
    legal = np.ones((count, 2, 3), np.bool_)
    legal[:, 0, 1:] = False
    features = np.zeros((count, 2, 5), np.float32)
    features[np.arange(count), 0, colour] = features[:, 0, 3] = features[:, 1, 4] = 1
    private = np.stack([colour, np.full(count, -1)], axis=1)[..., None].astype(np.float32)
    table = replace(
        table, speaks=np.tile([True, False], (count, 1)), legal=legal, features=features[..., :3], private=private
    )
    decided = Decisions(table.padded(2), table.n_rounds, table.moves, 2)
    return decided, situation_of(policy, rules, table, negotiation.declaration), policy, rules


def test_a_hearer_is_asked_with_whole_foreign_talks() -> None:
    decided, situation, policy, rules = heard()
    [found] = listening(policy, rules, decided, situation, talks=6)
    assert found.hearer == "receiver"
    assert found.bits > 1e-6
    assert found.null == pytest.approx(0, abs=1e-6)


def test_over_a_channel_that_carries_nothing_nobody_listens() -> None:
    decided, situation, policy, rules = heard()
    same = replace(
        decided, n_rounds=np.full(len(decided), 2), symbols=np.where(decided.symbols < 0, 2, decided.symbols)
    )
    same.symbols[..., 1] = -1
    same.symbols[:, 1, 0] = 2
    same.symbols[:, 0, 0] = np.minimum(same.symbols[:, 0, 0], 1)
    [found] = listening(policy, replace(rules, channel="constant"), same, situation, talks=6)
    assert found.bits == pytest.approx(0, abs=1e-6)
    assert found.enough


def test_a_hearer_that_does_what_it_hears(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes the move of the first symbol: of three equally frequent messages log2 3 bits, and two of three talks
    change its move."""
    decided, situation, policy, rules = heard(300)
    monkeypatch.setattr(
        module, "move_probabilities", lambda policy, rules, symbols, *rest: np.eye(3)[symbols[:, 0, [0, 0]]]
    )
    [found] = listening(policy, rules, decided, situation, talks=200)
    assert found.bits == pytest.approx(math.log2(3), abs=0.03)
    assert found.changed == pytest.approx(2 / 3, abs=0.03)
    assert found.shift == pytest.approx(2 / 3, abs=0.03)


# -- consistency -------------------------------------------------------------------------------------------------------


def test_one_that_announces_its_move_is_consistent_though_nobody_listens() -> None:
    rng = np.random.default_rng(0)
    moves = rng.integers(2, size=(2000, 2))
    table = told(moves[:, :1], [[int(m)] for m in moves[:, 0]], moves=moves.tolist())
    game = game_of(2)
    [said] = utterances(table, game, TOKENS)
    found = {(one.own, one.round): one for one in consistency(said, table, game)}
    assert found[True, 1].bits.value == pytest.approx(1, abs=0.01)
    assert found[True, 1].bits.above_chance
    assert found[False, 1].bits.value == pytest.approx(0, abs=0.01)
    assert not found[False, 1].bits.above_chance
    assert found[True, 2].bits.value == pytest.approx(0, abs=0.01)  # EOT


def test_a_round_of_few_dialogues_has_no_consistency() -> None:
    moves = np.random.default_rng(0).integers(2, size=(400, 2))
    for longer, rounds in ((29, [1, 2]), (30, [1, 2, 3])):
        messages = [[int(m)] * (1 + (i < longer)) for i, m in enumerate(moves[:, 0])]
        table = told(moves[:, :1], messages, moves=moves.tolist())
        [said] = utterances(table, game_of(2), TOKENS)
        assert [one.round for one in consistency(said, table, game_of(2), nulls=19) if one.own] == rounds


def test_consistency_as_jaques_has_it_by_hand() -> None:
    """Each of two symbols goes with its move in 3 of 4: 1 - H(1/4) = 0.1887, seen from both sides."""
    assert jaques(np.array([[3, 1], [1, 3]])) == pytest.approx(0.18872, abs=1e-5)


def test_the_interval_of_jaques_score_covers_it() -> None:
    rng, within = np.random.default_rng(0), 0
    for _ in range(60):
        symbol = rng.integers(2, size=400)
        move = np.where(rng.random(400) < 0.75, symbol, 1 - symbol)
        _, low, high = _score(symbol, move, (2, 2), np.arange(400), rng)
        within += low <= 0.18872 <= high
        assert high - low < 0.2
    assert within >= 51


def test_jaques_counts_what_can_be_said_and_done() -> None:
    """Noise that takes both tokens and both legal moves equally often has 0, of a role that never has the other two."""
    rng = np.random.default_rng(0)
    moves, tokens = rng.integers(2, size=(4000, 2)), rng.integers(2, size=(4000, 1))
    table = table_of([[(t, -1)] for t in tokens[:, 0].tolist()], moves=moves.tolist())
    legal = np.tile([True, True, False, False], (4000, 2, 1))
    table = replace(table, private=np.zeros((4000, 2, 1), np.float32), legal=legal)
    game = replace(game_of(2, moves=4), tokens=(2, 2))
    [said] = utterances(table, game, 2)
    for one in consistency(said, table, game, nulls=9, fixed=True):
        assert (one.jaques, one.jaques_null) == (pytest.approx(0, abs=0.002), pytest.approx(0, abs=0.002))
        assert 0 <= one.jaques_low <= one.jaques <= one.jaques_high < 0.005
    either = 0.5 * (1 - 1 / math.log2(3))  # with an EOT that is never said
    assert consistency(said, table, game, nulls=9)[0].jaques == pytest.approx(either, abs=0.002)


# -- generalisation ----------------------------------------------------------------------------------------------------


def test_new_combinations_and_new_values_are_told_apart() -> None:
    game = game_of(3, 3)
    training = np.array([(0, 1), (1, 0), (0, 0)])
    met = MetMeanings(game)
    met.add(told(training, [[0]] * 3))
    shown = np.array([(0, 1), (1, 1), (2, 0), (1, 1)])
    table = replace(told(shown, [[0]] * 4), success=np.array([True, False, False, True]))
    kinds = met.kinds(table)
    assert [KINDS[k] for k in kinds] == [KINDS[0], KINDS[1], KINDS[2], KINDS[1]]
    found = generalisation(table, kinds, graded=False)
    assert {name: (r.successes, r.trials) for name, r in found.by_kind.items()} == {
        "met in training": (1, 1), "new combination": (1, 2), "new value": (0, 1),
    }  # fmt: skip
    assert found.meanings == {"met in training": 1, "new combination": 1, "new value": 1}


def test_the_gap_has_an_interval_and_a_null() -> None:
    kinds = np.repeat([0, 1], 1000)
    rng = np.random.default_rng(0)
    table = told(drawn(2000), [[0]] * 2000)
    alike = generalisation(replace(table, success=rng.random(2000) < 0.7), kinds, graded=False)
    assert alike.gap[1] < 0 < alike.gap[2]
    assert alike.p_value > 0.05
    worse = generalisation(replace(table, success=rng.random(2000) < np.where(kinds == 0, 0.9, 0.5)), kinds, False)
    assert worse.gap[0] == pytest.approx(0.4, abs=0.05)
    assert worse.gap[1] > 0.3
    assert worse.p_value == 0.001


def test_dialogues_of_one_meaning_are_one_observation() -> None:
    """Agents have 8 in 10 meanings right, whichever were held out: 5 % of the gaps are to seem real, not 79 %."""
    rng, seem, low = np.random.default_rng(0), 0, 0
    for _ in range(40):
        right, new = rng.random(64) < 0.8, rng.permutation(64) < 13
        meanings = rng.integers(8, size=(1000, 2))
        number = meanings @ [8, 1]
        table = replace(told(meanings, [[]] * 1000), success=right[number])
        found = generalisation(table, new[number].astype(np.int64), graded=False)
        seem += not found.gap[1] <= 0 <= found.gap[2]
        low += found.p_value <= 0.05
    assert (found.meanings["met in training"], found.meanings["new combination"]) == (51, 13)
    assert seem <= 5
    assert low <= 5


def test_an_episode_counts_as_it_ends() -> None:
    table, _ = habits(60, 3)  # only the last dialogue succeeds
    found = generalisation(table, (table.private[:, 0, 0] == 0).astype(np.int64), graded=False)
    assert sum(r.trials for r in found.by_kind.values()) == 60
    assert found.by_kind["new combination"].value == found.by_kind["met in training"].value == 1


# -- the theory --------------------------------------------------------------------------------------------------------


def test_the_least_rounds_are_those_of_a_search() -> None:
    """Against all ways to give 5 meanings one of the 1 + 2 + 4 messages of at most 3 rounds."""
    from itertools import permutations

    shares = np.array([0.4, 0.3, 0.15, 0.1, 0.05])
    lengths = [1, 2, 2, 3, 3, 3, 3]
    best = min(sum(s * n for s, n in zip(shares, given, strict=True)) for given in set(permutations(lengths, 5)))
    assert least_rounds(shares, n_tokens=2) == pytest.approx(best)
    assert least_rounds(shares, n_tokens=2, silence=True) == pytest.approx(0.3 + 2 * 0.25 + 3 * 0.05)
    assert math.isnan(least_rounds(shares, n_tokens=2, max_rounds=1))  # three symbols for five meanings
    assert math.isnan(least_rounds(shares, n_tokens=0))
    assert least_rounds(shares, n_tokens=3, max_rounds=2, fixed=True) == pytest.approx(2)
    assert math.isnan(least_rounds(shares, n_tokens=2, max_rounds=2, fixed=True))


def test_what_symbols_cannot_tell_is_said() -> None:
    """A speaker with three tokens, cut after one round, has 4 messages for 16 meanings."""
    meanings = drawn(1600)
    table = told(meanings, [[]] * 1600)
    table = replace(table, symbols=np.stack([meanings[:, 0] % 3, np.full(1600, -1)], axis=1).astype(np.int8))
    [said] = utterances(replace(table, cut=np.ones(1600, np.bool_)), replace(game_of(4, 4), tokens=(3, 3)), TOKENS)
    found = capacity(said, alone=True, max_rounds=1)
    assert (found.of_meanings, found.of_symbols) == (pytest.approx(4, abs=0.02), 2.0)
    assert found.told == pytest.approx(1.5, abs=0.03)  # colours 0 and 3 are one message
    assert found.told <= found.of_symbols


# -- speakers ----------------------------------------------------------------------------------------------------------


def test_agents_of_one_role_are_one_speaker_unless_each_has_a_network() -> None:
    game = declared(Trio(1, np.random.default_rng(0)))
    numbers = np.random.default_rng(0).integers(4, size=(50, 3))
    table = table_of([[tuple(n)] for n in numbers.tolist()], moves=[(0, 0, 0)] * 50)
    table = replace(table, private=numbers[..., None].astype(np.float32))
    [together] = utterances(table, game, 9)
    assert len(together) == 150
    assert (together.symbols == together.meanings).all()
    assert np.bincount(together.dialogue).tolist() == [3] * 50
    assert [said.speaker for said in utterances(table, game, 9, each_agent=True)] == ["agent_0", "agent_1", "agent_2"]


def test_one_attribute_is_too_few_to_be_compositional() -> None:
    meanings = drawn(100, sizes=(3,))
    said = utterances(told(meanings, [[int(m)] for m in meanings[:, 0]]), game_of(3), TOKENS)
    with pytest.raises(NotApplicable, match="no speaker has more than one"):
        that_know(said, 2)
    with pytest.raises(NotApplicable, match="it takes two attributes"):
        similarity_of(said[0])
    with pytest.raises(NotApplicable, match="it takes two attributes"):
        posdis(meanings, meanings)


# -- the report --------------------------------------------------------------------------------------------------------

OF_MEANING = [m for m in MEASURES.values() if m.chapter == "meaning"]


def written(
    folder: Path, table: DialogueTable, game: Any, n_tokens: int, training: DialogueTable | None = None
) -> Study:
    declaration = declared(game(1, np.random.default_rng(0)))
    for log, dialogues in (("evaluation", table), ("dialogues", training)):
        if dialogues is not None:
            writer = DialogueWriter(folder / log, n_tokens, declaration.move_names, game=declaration)
            writer.add(dialogues)
            writer.close()
    return Study(load(folder), QUICK)


def objects(count: int, kept: Any = lambda m: np.ones(len(m), np.bool_)) -> DialogueTable:
    """A compositional sender of `Objects`; the receiver errs with new combinations."""
    meanings = drawn(4 * count, sizes=(3, 3))
    meanings = meanings[kept(meanings)][:count]
    right = meanings[:, 0] != meanings[:, 1]
    moves = np.stack([np.zeros(count, np.int64), np.where(right, meanings @ [3, 1], 0)], axis=1)
    table = told(meanings, meanings.tolist(), eot=3, moves=moves.tolist())
    return replace(table, success=right, speaks=np.tile([True, False], (count, 1)))


def test_every_measure_of_meaning_is_found_in_a_log(tmp_path: Path) -> None:
    study = written(tmp_path, objects(600), Objects, 3, objects(400, lambda m: m[:, 0] != m[:, 1]))
    found = Findings(study.run, [], measures=tuple(OF_MEANING), study=study)
    for measure in OF_MEANING:
        assert measure.missing(study) is None
        result = found.results[measure.name] = measure.compute(study)
        assert all(len(frame) for frame in measure.tables_of(result).values()), measure.name
        if measure.figure is not None:
            assert measure.figure(result, study).startswith("<svg"), measure.name  # type: ignore[union-attr]
    tables = found.tables()
    says = dict(zip(tables["lexicon"].meaning, tables["lexicon"].says, strict=True))
    assert says["colour green, shape cone"] == "1 · 2 · EOT"
    assert tables["unseen_meanings"].set_index("meaning").success.to_dict() == {
        "met in training": 1.0, "new combination": 0.0,
    }  # fmt: skip
    [cell] = [c for c in meaning._lexicon(study).rounds if (c.meaning, c.round) == ("shape cone", 2)]
    assert (cell.symbol, cell.said.value) == ("2", 1.0)


def test_what_a_game_holds_out_is_asked_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = written(tmp_path, objects(400), Objects, 3)
    with pytest.raises(NotApplicable, match="no log of training"):
        meaning.GENERALISATION.compute(study)
    monkeypatch.setattr(Study, "make_game", Objects)
    monkeypatch.setattr(Study, "unplayable", None)
    assert meaning.GENERALISATION.compute(Study(study.run, QUICK)).by_kind["new combination"].value == 0


def test_a_value_that_was_never_met_is_no_new_combination(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the game says it holds out: the log of training tells what is new of it; so does a single attribute."""
    monkeypatch.setattr(Study, "make_game", Objects)
    monkeypatch.setattr(Study, "unplayable", None)
    study = written(tmp_path / "logged", objects(400), Objects, 3, objects(400, lambda m: m[:, 0] != 2))
    found = meaning.GENERALISATION.compute(study)
    assert (found.meanings["new combination"], found.meanings["new value"]) == (0, 3)
    values = drawn(300, sizes=(3,))
    table = replace(told(values, values.tolist(), eot=2), speaks=np.tile([True, False], (300, 1)))
    monkeypatch.setattr(Signal, "held_out", lambda self, private: private[:, 0, 0] == 2, raising=False)
    monkeypatch.setattr(Study, "make_game", Signal)
    found = meaning.GENERALISATION.compute(written(tmp_path / "declared", table, Signal, 2))
    assert (found.meanings["new combination"], found.meanings["new value"]) == (0, 1)


def test_a_meaning_that_was_met_is_no_generalisation(tmp_path: Path) -> None:
    study = written(tmp_path, objects(300), Objects, 3, objects(300))
    with pytest.raises(NotApplicable, match="every meaning of the evaluation was met in training"):
        meaning.GENERALISATION.compute(study)


def test_without_attributes_every_measure_is_named_once_with_the_reason(tmp_path: Path) -> None:
    study = written(tmp_path, table_of([[(1, 0), (5, 5)]] * 20), SameMove, 5)
    absent = {m.name: m.missing(study) or "" for m in OF_MEANING}
    [line] = not_shown(Findings(study.run, [], absent=absent, measures=tuple(OF_MEANING), study=study))
    assert line.endswith(": the game declares no attributes: no agent knows anything by itself")
    assert all(line.count(m.heading) == 1 for m in OF_MEANING)


def test_a_speaker_that_always_knows_the_same_is_said_so(tmp_path: Path) -> None:
    game = changed(Signal)
    table = told(np.zeros((50, 1), np.int64), [[1]] * 50, eot=2)
    study = written(tmp_path, replace(table, speaks=np.tile([True, False], (50, 1))), game, 2)
    with pytest.raises(NotApplicable, match="no speaker knows anything that is not always the same"):
        meaning.LEXICON.compute(study)


def test_listening_needs_a_network(tmp_path: Path) -> None:
    study = written(tmp_path, objects(50), Objects, 3)
    assert causes.LISTENING.missing(study) == "there is no network beside the log"
