"""Token statistics, entropies, the Zipf fit and distinct dialogues."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from analysis.data.dialogue_text import table_of
from analysis.metrics.dialogue_diversity import DistinctReport, DistinctTally, dialogue_hashes
from analysis.metrics.entropy import conditional_entropy, entropy
from analysis.metrics.token_statistics import TokenReport, TokenTally
from analysis.metrics.zipf import fit_zipf
from emcomm.dialogues import DialogueTable
from envs.game import Declaration

TALK = [
    [(4, 2), (5, 5)],
    [(3, 0), (1, 5), (5, 5)],
    [(3, 5), (5, 5)],
    [(3, 1), (3, 2), (5, 0), (5, 5)],
    [(3, 2), (5, 3), (5, 4), (2, 5), (5, 5)],
    [(4, 3), (3, 1), (5, 5)],
]


def tally(*tables: DialogueTable, n_tokens: int = 5) -> TokenReport:
    adding = TokenTally(n_tokens)
    for table in tables:
        adding.add(table)
    return adding.result()


def distinct(*tables: DialogueTable) -> DistinctReport:
    adding = DistinctTally()
    for table in tables:
        adding.add(table)
    return adding.result()


def random_table(count: int, rng: np.random.Generator, n_symbols: int = 3, longest: int = 4) -> DialogueTable:
    dialogues = [rng.integers(n_symbols, size=(rng.integers(longest + 1), 2)).tolist() for _ in range(count)]
    return table_of(dialogues, moves=rng.permuted([[0, 1]] * count, axis=1).tolist())


def test_the_talks_own_table_by_hand() -> None:
    report = tally(table_of(TALK))  # agent 0, whose symbols come first, takes the detour each time
    assert report.counts.tolist() == [2, 3, 4, 8, 3, 18]
    main, detour = report.by_move.sum(axis=1)
    assert detour.tolist() == [0, 1, 1, 6, 2, 9]
    assert main.tolist() == [2, 2, 3, 2, 1, 9]
    assert report.by_move[1, 0].tolist() == [0, 0, 0, 4, 2, 0]  # what agent 0 opens with
    assert report.n_rounds.tolist() == [0, 0, 2, 2, 1, 1]
    # tokens said by each agent: 1 1, 2 1, 1 0, 2 3, 2 3, 2 2
    assert report.tokens_said.tolist() == [1, 4, 5, 2]
    assert report.bigrams.sum() == 2 * (19 - 6)
    assert report.bigrams[3, 5] == 4  # agent 0 in the last four dialogues
    assert report.trigrams.sum() == 2 * (19 - 12)
    assert report.dialogue_frame()["dialogue"].tolist().count("4 2 · 5 5") == 1
    assert (report.dialogues.distinct_share, report.dialogues.coverage) == (1.0, 0.0)


def test_adding_part_by_part_changes_nothing() -> None:
    table = random_table(200, np.random.default_rng(0))
    whole, parts = tally(table), tally(table[:70], table[70:70], table[70:71], table[71:])
    for name in ("by_move", "bigrams", "trigrams", "n_rounds", "tokens_said"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(parts, name))
    assert whole.unigram == parts.unigram
    assert whole.dialogues[:3] == parts.dialogues[:3]
    assert [f.uses for f in whole.dialogues.frequent] == [f.uses for f in parts.dialogues.frequent]


def test_silence_is_no_symbol_and_breaks_a_succession() -> None:
    report = tally(table_of([[(1, -1), (2, 0), (5, 5)]]))
    assert report.silent == 1
    assert report.counts.tolist() == [1, 1, 1, 0, 0, 2]
    assert report.bigrams.sum() == 3  # 1 2, 2 5 and 0 5
    assert report.trigrams.sum() == 1
    assert report.tokens_said.tolist() == [0, 1, 1]


@pytest.mark.parametrize("dialogues", [[], [[]], [[], []]])
def test_nothing_said_divides_by_nothing(dialogues: list) -> None:
    report = tally(table_of(dialogues))
    assert np.isnan(report.unigram.bits)
    assert not report.unigram.trusted
    assert report.counts.sum() == 0
    assert report.frequency_frame()["share"].sum() == 0
    assert len(report.rank_frame()) == 0
    assert report.position_frame().empty
    assert len(report.length_frame()) == (1 if dialogues else 0)
    assert len(report.dialogue_frame()) == (1 if dialogues else 0)
    assert len(report.entropy_frame()) == 5


def test_one_dialogue() -> None:
    report = tally(table_of([[(4, 2), (5, 5)]]))
    assert report.dialogue_frame().to_dict("records") == [
        {"dialogue": "4 2 · 5 5", "count": 1, "share": 1.0, "success": 1.0}
    ]
    assert np.isnan(report.zipf["tokens"].exponent)
    assert report.position_frame().query("count > 0")["round"].tolist() == [1, 1, 2]
    assert report.position_frame().query("symbol == 'EOT' and round == 2")["share"].tolist() == [1.0]


# -- entropies --------------------------------------------------------------------------------------------------------


def test_entropies_of_independent_uniform_tokens() -> None:
    """log2 5 bits for a token, twice and three times that in succession, and nothing learned from the one before."""
    rng = np.random.default_rng(0)
    rounds = 10
    report = tally(table_of(rng.integers(5, size=(3000, rounds, 2)).tolist()))
    bits = np.log2(5)
    assert report.unigram.bits == pytest.approx(bits, abs=1e-3)
    assert report.bigram.bits == pytest.approx(2 * bits, abs=2e-3)
    assert report.trigram.bits == pytest.approx(3 * bits, abs=5e-3)
    assert report.given_one.bits == pytest.approx(bits, abs=2e-3)
    assert report.given_two.bits == pytest.approx(bits, abs=5e-3)
    assert all(report.entropy_frame()["trusted"])


def test_entropies_of_a_planted_chain() -> None:
    """Each agent repeats its symbol with probability 3/4, else says the other of two: h(1/4) = 0.8113 bits."""
    rng = np.random.default_rng(1)
    turns = rng.random((4000, 8, 2)) < 0.25
    turns[:, 0] = rng.random((4000, 2)) < 0.5
    report = tally(table_of((np.cumsum(turns, axis=1) % 2).tolist()))
    assert report.unigram.bits == pytest.approx(1.0, abs=1e-3)
    assert report.given_one.bits == pytest.approx(0.8113, abs=4e-3)
    assert report.given_two.bits == pytest.approx(0.8113, abs=4e-3)


def test_the_correction_removes_most_of_the_bias() -> None:
    """2 000 samples of 100 draws from 8 equally likely outcomes: 3 bits, of which plug-in misses 7/(200 ln 2) = .05."""
    samples = np.random.default_rng(2).multinomial(100, [1 / 8] * 8, 2000)
    found = [entropy(s) for s in samples]
    assert np.mean([e.plug_in for e in found]) == pytest.approx(3 - 0.0505, abs=0.003)
    assert np.mean([e.bits for e in found]) == pytest.approx(3.0, abs=0.003)


def test_too_few_draws_are_said() -> None:
    assert not entropy(np.ones(40, int)).trusted  # corrected by 39 / (80 ln 2) = 0.70 bits
    assert entropy(np.array([500, 500])).trusted
    assert conditional_entropy(np.zeros((3, 3), int)).trusted is False


def test_plain_entropies_agree_with_emlangkit() -> None:
    metrics = pytest.importorskip("emlangkit.metrics")
    rng = np.random.default_rng(3)
    table = random_table(300, rng)
    report = tally(table, n_tokens=2)
    words = [w[:, a] for d in range(300) for w in [table[d].symbols] for a in (0, 1)]
    symbols = np.concatenate(words)
    bigrams = np.concatenate([np.column_stack([w[:-1], w[1:]]) for w in words if len(w) > 1])
    trigrams = np.concatenate([np.column_stack([w[:-2], w[1:-1], w[2:]]) for w in words if len(w) > 2])
    assert report.unigram.plug_in == pytest.approx(metrics.compute_entropy(symbols))
    assert report.bigram.plug_in == pytest.approx(metrics.compute_entropy(bigrams))
    assert report.trigram.plug_in == pytest.approx(metrics.compute_entropy(trigrams))


# -- Zipf -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
def test_a_planted_zipf_law_is_found_and_not_rejected(exponent: float) -> None:
    law = np.arange(1, 31) ** -exponent
    fits = [
        fit_zipf(np.random.default_rng(s).multinomial(5000, law / law.sum()), replicates=40, seed=s) for s in range(20)
    ]
    assert np.mean([f.exponent for f in fits]) == pytest.approx(exponent, abs=0.05)
    assert sum(f.p_value <= 0.05 for f in fits) <= 4  # 1 expected


def test_what_is_no_zipf_law_is_rejected() -> None:
    straight = np.arange(30, 0, -1) * 100  # falls by the same amount at each rank
    fit = fit_zipf(straight)
    assert fit.distance > 0.05
    assert fit.p_value < 0.01


def test_uniform_use_has_exponent_near_zero_and_two_ranks_none() -> None:
    assert fit_zipf(np.array([1000] * 10)).exponent == pytest.approx(0, abs=1e-3)
    assert np.isnan(fit_zipf(np.array([7, 3, 0])).exponent)
    assert np.isnan(fit_zipf(np.zeros(5, int)).p_value)


# -- distinct dialogues -----------------------------------------------------------------------------------------------


def test_distinct_dialogues_agree_with_counting_them() -> None:
    rng = np.random.default_rng(4)
    tables = [random_table(400, rng) for _ in range(7)]
    counts = Counter(t.padded(4)[d].tobytes() for t in tables for d in range(400))
    report = distinct(*tables)
    assert report.dialogues == 2800
    assert report.distinct == len(counts)
    assert report.once == sum(n == 1 for n in counts.values())
    assert [f.uses for f in report.frequent] == [n for _, n in counts.most_common(20)]
    for frequent in report.frequent:
        whole = np.full((4, 2), -1, np.int8)
        whole[: len(frequent.symbols)] = frequent.symbols
        assert counts[whole.tobytes()] == frequent.uses


def test_dialogues_that_look_alike_have_different_hashes() -> None:
    alike = [[], [(0, 1)], [(1, 0)], [(0, 0)], [(0, 1), (0, 0)], [(0, 0), (0, 1)], [(-1, 1)], [(0, 1), (0, 1)]]
    assert len(set(dialogue_hashes(table_of(alike)).tolist())) == len(alike)
    assert len(set(dialogue_hashes(table_of([[(2, 3)], [(2, 3)]])).tolist())) == 1


def test_successes_of_a_frequent_dialogue() -> None:
    table = table_of([[(1, 0)]] * 4, moves=[(1, 0), (0, 0), (1, 0), (0, 1)])
    assert distinct(table[:2], table[2:]).frequent[0][1:] == (4, 3)


def test_coverage_foretells_the_next_dialogues() -> None:
    """Good (1953): the share of later dialogues that came up before is 1 - once / dialogues."""
    rng = np.random.default_rng(5)
    first, later = random_table(1500, rng), random_table(1500, rng)
    seen = set(dialogue_hashes(first).tolist())
    known = np.mean([h in seen for h in dialogue_hashes(later).tolist()])
    assert distinct(first).coverage == pytest.approx(known, abs=0.04)


def test_rarefaction_is_the_mean_over_all_draws() -> None:
    """Against every draw of three among seven, one by one; a dialogue and its twin are joined."""
    dialogues = [[(0, 1), (5, 5)]] * 3 + [[(1, 0), (5, 5)]] * 2 + [[(2, 2), (5, 5)], [(3, 4), (5, 5)]]
    tally = TokenTally(5, ("main", "detour"))
    tally.add(table_of(dialogues))
    report = tally.result()
    joined = [tuple(sorted(dialogue[0])) for dialogue in dialogues]
    for names, found in ((list(map(str, dialogues)), report.dialogues), (joined, report.twins)):
        draws = [len(set(draw)) for draw in combinations(names, 3)]
        assert found.rarefied(np.array([1, 3, 7])).tolist() == pytest.approx([1, np.mean(draws), len(set(names))])
    frame = report.rarefaction_frame()
    assert frame.dialogues.iloc[[0, -1]].tolist() == [1, 7]
    assert (frame.twins_joined <= frame.different + 1e-9).all()


def test_mirror_images_are_joined_only_where_agents_are_alike() -> None:
    twins = table_of([[(1, 2)], [(2, 1)]])
    assert tally(twins).joins_twins
    roles = Declaration(("ann", "bob"), ("main", "detour"), ("sender", "receiver"), (0, 1), tokens=(5, 5))
    apart = TokenTally(5, ("main", "detour"), roles)
    apart.add(twins)
    assert not apart.result().joins_twins
    assert not tally(table_of([[(1, 2)], [(1, 2)]])).joins_twins
