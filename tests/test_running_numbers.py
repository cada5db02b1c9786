"""Running numbers: a few recurrent units that decide like a large network, on memories that are known."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from analysis.agents.players import MachinePlayer, play_games
from analysis.agents.random_queries import random_queries
from analysis.automata.integrator import Targets
from analysis.automata.protocol_machine import ProtocolMachine
from analysis.automata.running_numbers import RunningNumbers, fit_numbers
from analysis.data.decisions import decisions
from analysis.explanation.candidates import METHODS, NUMBERS, Frame, fit
from analysis.explanation.evidence import Stratum, strata_of
from analysis.explanation.passed_over import passed_over, why_not
from analysis.explanation.result import Competitor, Explanation
from analysis.explanation.self_check import SelfCheck
from analysis.explanation.subject import NetworkSubject
from analysis.explanation.verdict import explain
from analysis.report.measures import mechanism
from analysis.report.tables import numbers_frame
from analysis.report.to_json import plain
from emcomm.config import Config
from emcomm.statistics import rate
from emcomm.worlds import make_policy
from envs.negotiation import TalkRules

RULES = TalkRules(window=1)
SCORE = np.array([-0.3, 0.02, 0.33, 0.08, -0.1, -0.03, 0.0])
HARDENING = RunningNumbers(
    np.stack([SCORE, SCORE / 6], axis=1), np.array([[1.35, 8.5], [0.0, 0.75]]), np.array([10.0, 5.0]), np.zeros((0, 2))
)
"""A decision that adds up a leaky score: what was found in trained networks."""


def asked(rule, each: int, seed: int = 0):
    def answers(symbols, n_rounds):
        yields = 1 / (1 + np.exp(-np.clip(rule.scores(symbols, n_rounds), -30, 30)))
        return np.stack([yields, 1 - yields], axis=1).astype(np.float32)

    return random_queries(answers, RULES, each, seed)


def test_the_numbers_of_a_dialogue_are_those_of_the_formula():
    symbols = np.array([[[2, 0], [1, 1], [5, 5]]])
    memory, course = np.zeros(2), HARDENING.course(symbols, np.array([2]))
    for own, other in symbols[0, :2]:
        heard = [
            sum(HARDENING.coupling[i][j] * memory[j] for j in range(2))
            + HARDENING.weights[own][i] - HARDENING.weights[other][i]
            for i in range(2)
        ]  # fmt: skip
        memory = np.array([np.tanh(value) for value in heard])
    np.testing.assert_allclose(course[0, 2], memory)
    np.testing.assert_allclose(course[0, 3], memory)  # the third round was not held
    assert HARDENING.scores(symbols, np.array([2])) == pytest.approx([memory @ HARDENING.readout])


def test_exchanging_the_agents_exchanges_the_answer_exactly():
    queries = asked(HARDENING, 50)
    swapped = queries.symbols[..., ::-1]
    assert (HARDENING.scores(swapped, queries.n_rounds) == -HARDENING.scores(queries.symbols, queries.n_rounds)).all()


@pytest.mark.parametrize("units", [2, 3])
def test_a_planted_memory_is_told_on_fresh_dialogues(units: int):
    queries, fresh = asked(HARDENING, 700), asked(HARDENING, 700, 1)
    found = fit_numbers(units, Targets(queries.symbols, queries.n_rounds, queries.odds), 7)
    assert len(found) == units
    assert fresh.right(found.scores(fresh.symbols, fresh.n_rounds)).mean() > 0.99
    true = HARDENING.effect - HARDENING.effect[:-1].mean()
    assert np.corrcoef(true[:-1], found.effect[:-1])[0, 1] > 0.99
    assert (np.diff(found.readout) <= 0).all()
    np.testing.assert_allclose(found.weights[:-1].sum(axis=0), 0, atol=1e-6)  # only differences were fitted
    np.testing.assert_allclose(found.effect[:-1].sum(), 0, atol=1e-6)
    assert not found.weights[-1].any()
    assert found.readout[-1] >= 0


def test_noise_is_told_by_nothing():
    rng = np.random.default_rng(0)
    queries = asked(HARDENING, 300)
    coins = rng.random(len(queries)).round()
    found = fit_numbers(3, Targets(queries.symbols, queries.n_rounds, coins), 7)
    fresh = asked(HARDENING, 300, 1)
    told = (found.scores(fresh.symbols, fresh.n_rounds) > 0) == (rng.random(len(fresh)) > 0.5)
    assert abs(told.mean() - 0.5) < 0.05


def test_its_machine_decides_nearly_as_it_does():
    queries = asked(HARDENING, 500)
    found = fit_numbers(2, Targets(queries.symbols, queries.n_rounds, queries.odds), 7)
    automaton = found.automaton()
    final = automaton.run(queries.symbols, queries.n_rounds)[:, -1]
    short = queries.n_rounds <= 4
    assert (np.sign(found.leanings()[final]) == np.sign(found.scores(queries.symbols, queries.n_rounds)))[
        short
    ].mean() > 0.96
    tied = automaton.transition[0]
    assert (tied[np.arange(7), np.arange(7)] == 0).all()  # who says the same is still tied


def test_a_memory_of_two_numbers_is_explained_and_no_score_is():
    """A pair that plays by it: no running score comes near it where margins are small, and the numbers are named."""
    machine = machine_of(asked(HARDENING, 500))
    table = play_games([MachinePlayer(machine), MachinePlayer(machine)], RULES, 2_000, 1)
    methods = ("vote", "integrator", "two numbers", "three numbers")
    found = explain(table, 5, RULES, machine, methods=methods, games=1_500)
    worst = {one.method: min(part.share for part in one.strata) for one in found.competitors}
    assert worst["two numbers"] > worst["integrator"] + 0.02
    assert [len(one) for one in found.numbers] == [2, 3]
    assert not (found.verdict == "explained" and found.family in ("vote", "integrator")), found.sentence
    frame = numbers_frame(found)
    kept = len(found.chosen_numbers)
    assert list(frame.columns) == ["from", *(f"number {i + 1}" for i in range(kept))]
    assert frame["from"].tolist() == [*"01234", "EOT", *frame.columns[1:], "for yielding"]
    at = frame.set_index("from")["number 1"]
    assert at["number 2"] == found.chosen_numbers.coupling[0, 1]
    assert at["4"] == found.chosen_numbers.weights[4, 0]
    assert "seen" not in plain(found.numbers[0])


def test_what_is_named_is_scored_as_the_strata_are_and_others_say_how_far_they_are():
    """The machine of running numbers is coarser than they are, and here it can say nothing at all."""
    policy, rate_of = make_policy(Config(rules=RULES, hidden_size=8)).eval(), rate(99, 100)
    strata = (Stratum("4 rounds", 100, 0.9, 1.0),)
    check = SelfCheck("vote", rate_of, rate(50, 100))
    by_method = {
        method: Competitor(method, check, rate_of, rate_of, strata, None, 2, None, None, SimpleNamespace())
        for method in ("two numbers", "vote")
    }
    found = {
        best: Explanation(
            best, "explained", "", tuple(by_method.values()), by_method[best], None, None, (), None, 9,
            numbers=(HARDENING,),
        )
        for best in by_method
    }  # fmt: skip
    study = SimpleNamespace(
        trained=SimpleNamespace(policy=policy, config=SimpleNamespace(rules=RULES)), depth=SimpleNamespace(games=2_000),
        sample=SimpleNamespace(n_rounds=np.array([3])), result=lambda name: found["two numbers"],
    )  # fmt: skip
    table = mechanism.GENERALISATION.compute(study)
    queries = random_queries(NetworkSubject(policy, RULES).answers, RULES, 200, 3, lengths=mechanism.LONG)
    own = {part.name: part.named for part in strata_of(queries, HARDENING.scores(queries.symbols, queries.n_rounds))}
    assert {f"{row.rounds} rounds": row.named for row in table.itertuples()}.items() <= own.items()
    said = mechanism.NUMBERS_KEPT.remark
    assert said(found["two numbers"], study) == ""
    assert "two numbers decide like the network in 90.0 % of what a rule can" in said(found["vote"], study)


def machine_of(queries):
    """The planted memory as a machine: it talks until nobody is tied, closes, and moves as its numbers lean."""
    found = fit_numbers(2, Targets(queries.symbols, queries.n_rounds, queries.odds), 7)
    leaning = found.leanings()
    emission = np.full((len(leaning), 8), 0.1)
    emission[:, 5] = np.where(leaning == 0, 0.05, 1.5)
    emission[:, 6:] = np.stack([leaning < 0, leaning > 0], axis=1) + np.where(leaning == 0, 0.5, 0.001)[:, None]
    emission /= emission.sum(axis=1, keepdims=True)
    return ProtocolMachine("planted", found.automaton(), emission, 5, ("main", "detour"), np.zeros(len(leaning)))


def test_a_log_alone_is_not_enough_for_them():
    from analysis.agents.synthetic_protocols import planted_dialogues

    found = explain(planted_dialogues("vote", 1, 1_500), 5, RULES, methods=("vote", *NUMBERS), games=200)
    assert [one.method for one in found.competitors] == ["vote"]
    assert not found.numbers
    assert found.chosen_numbers is None
    assert numbers_frame(found).empty


def test_they_are_among_the_methods_and_fit_where_nothing_parted():
    assert set(NUMBERS) <= set(METHODS)
    table = play_games([MachinePlayer(machine_of(asked(HARDENING, 100)))] * 2, RULES, 10, 1)
    nobody = decisions(table, 5)
    crashes = nobody[nobody.moves[:, 0] == nobody.moves[:, 1]]
    assert np.isfinite(fit("three numbers", crashes, Frame()).scores(crashes.symbols, crashes.n_rounds)).all()


def test_more_numbers_than_needed_are_passed_over_for_that_and_not_for_falling_short():
    machine = machine_of(asked(HARDENING, 100))
    table = play_games([MachinePlayer(machine), MachinePlayer(machine)], RULES, 800, 1)
    found = explain(table, 5, RULES, machine, methods=("two numbers", "three numbers"), games=200)
    alike = (Stratum("2 rounds", 100, 1.0, 1.0),)
    two, three = (
        replace(one, strata=alike, accuracy=rate(100, 100), self_play=found.network.play) for one in found.competitors
    )
    found = replace(found, family="two numbers", verdict="explained", best=two, competitors=(two, three), rivals=())
    assert why_not(three, found) == "two numbers pass all four conditions, and are fewer"
    assert passed_over(found) == "three numbers: two numbers pass all four conditions, and are fewer"
