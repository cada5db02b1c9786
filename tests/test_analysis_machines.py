"""Automata and protocol machines: known numbers of states, known surprise, play like the original."""

import json

import networkx as nx
import numpy as np
import pytest

from analysis.agents.players import MachinePlayer, play_games
from analysis.agents.synthetic_protocols import plant, planted_dialogues
from analysis.automata.automaton import Automaton, constant, counter, suffixes
from analysis.automata.graphs import dot, graph, save_graphml
from analysis.automata.protocol_machine import ProtocolMachine, actions_of, bits_per_action, fit_machine
from analysis.automata.query_learning import ask_machine, growth, learn
from analysis.automata.state_merging import alergia, ngram, rpni
from analysis.data.decisions import Decisions, decisions, split, who_yields
from envs.negotiation import SILENT, TalkRules


def halves(family, seed, dialogues=5000):
    return split(decisions(planted_dialogues(family, seed, dialogues), 5))


def self_play(machine, games=4000):
    return play_games((MachinePlayer(machine), MachinePlayer(machine)), TalkRules(window=1), games, seed=9)


def test_one_player_in_two_seats_has_two_memories():
    machine, rules = plant("first difference", 3), TalkRules(window=1)
    player = MachinePlayer(machine)
    alike = play_games([player] * 2, rules, 500, seed=9)
    own = play_games([MachinePlayer(machine), MachinePlayer(machine)], rules, 500, seed=9)
    np.testing.assert_array_equal(alike.symbols, own.symbols)
    np.testing.assert_array_equal(alike.moves, own.moves)
    assert alike.success.mean() > 0.95


# -- automata ----------------------------------------------------------------------------------------------------------


def test_a_counter_counts_and_saturates():
    automaton = counter(np.array([2, 0, 0, 0]), highest=3)
    symbols = np.array([[[0, 1], [0, 1], [1, 0]], [[1, 0], [2, 2], [0, 0]]], np.int8)
    states = automaton.run(symbols, np.array([3, 2]))
    assert [[automaton.labels[s] for s in row] for row in states] == [
        ["vote +0", "vote +2", "vote +3", "vote +1"],
        ["vote +0", "vote -2", "vote -2", "vote -2"],
    ]


def test_the_clock_multiplies_the_states_and_stands_still():
    timed = constant(4).with_clock(3)
    assert timed.labels == ("any @0", "any @1", "any @2")
    states = timed.run(np.zeros((1, 5, 2), np.int8), np.array([5]))
    assert states.tolist() == [[0, 1, 2, 2, 2, 2]]


def test_unreachable_states_are_dropped():
    transition = np.zeros((3, 4, 4), int)
    transition[0, 1, 0] = 2
    transition[1] = 1
    reached = Automaton(("a", "b", "c"), transition).reachable()
    assert reached.labels == ("a", "c")
    assert reached.transition[0, 1, 0] == 1


def test_an_ngram_remembers_the_longest_known_ending():
    closing = np.zeros((4, 4), bool)
    closing[2, 2] = True
    automaton = suffixes([(1,), (1, 4)], 4, closing)  # rounds 0 1, and 0 1 then 1 0
    said = np.array([[[0, 1], [1, 0], [2, 2], [0, 0]]], np.int8)
    labels = [automaton.labels[s] for s in automaton.run(said, np.array([4]))[0]]
    assert labels == ["start", "0 1", "0 1 · 1 0", "0 1 · 1 0", "start"]


# -- fitting -----------------------------------------------------------------------------------------------------------


def test_actions_and_what_was_legal():
    symbols = np.array([[[SILENT, 1], [2, 2]], [[SILENT, SILENT]] * 2], np.int8)
    held = Decisions(symbols, np.array([2, 0]), np.array([[0, 1], [1, 1]]), n_tokens=2)
    actions = actions_of(held)
    seen = sorted(zip(actions.view.tolist(), actions.round.tolist(), actions.action.tolist(), strict=True))
    # views: agent 0 of both dialogues, then agent 1; moves are 3 and 4; -1 is a move that was not played
    assert seen == [(0, 0, -1), (0, 1, 2), (0, 2, 3), (1, 0, 4), (2, 0, 1), (2, 1, 2), (2, 2, 4), (3, 0, 4)]
    legal = {(v, r): row.tolist() for v, r, row in zip(actions.view, actions.round, actions.legal, strict=True)}
    assert legal[0, 0] == [True] * 5
    assert legal[0, 1] == [True, True, True, False, False]
    assert legal[0, 2] == [False, False, False, True, True]
    assert legal[1, 0] == [True] * 5


def test_emissions_are_frequencies():
    said = np.array([[[0, 1], [2, 2]]] * 400, np.int8)
    held = Decisions(said, np.full(400, 2), np.array([[1, 0]] * 400), n_tokens=2)
    machine = fit_machine("m", constant(4), held, opening="talk")
    # 800 views: 400 say 0, 400 say 1, 800 say EOT, 400 move 0, 400 move 1
    assert np.allclose(machine.emission, np.array([[1, 1, 2, 1, 1]]) / 6, atol=1e-3)
    assert machine.visits.tolist() == [2400]
    # symbols: 1/4, 1/4, 1/2 -> 2, 2 and 1 bits; moves 1 bit: (2 + 1 + 1) / 3
    assert bits_per_action(machine, held, "talk") == pytest.approx(4 / 3, abs=1e-3)


def test_no_machine_beats_the_entropy_of_its_source():
    """The planted machine is surprised least; the fitted one is within 0.02 bits per action, one state is not."""
    fitting, scoring = halves("last difference", 2)
    source = plant("last difference", 2)
    best = bits_per_action(source, scoring)
    fitted = fit_machine("f", source.automaton, fitting)
    assert best - 0.01 < bits_per_action(fitted, scoring) < best + 0.02
    assert bits_per_action(fit_machine("one", constant(7), fitting), scoring) > best + 0.05


@pytest.mark.parametrize("family", ["first difference", "last difference", "cyclic order"])
def test_a_fitted_machine_plays_like_its_source(family):
    fitting, _ = halves(family, 4)
    source = plant(family, 4)
    machine = fit_machine(family, source.automaton, fitting, clock=24)
    theirs, ours = self_play(source), self_play(machine)
    assert abs(theirs.success.mean() - ours.success.mean()) < 0.01
    assert abs(theirs.n_rounds.mean() / ours.n_rounds.mean() - 1) < 0.1


# -- passive learning --------------------------------------------------------------------------------------------------


def accuracy(automaton, fitting, scoring):
    machine = fit_machine("m", automaton, fitting)
    right, trials = who_yields(machine.scores(scoring.symbols, scoring.n_rounds), scoring)
    return right / trials


def test_alergia_does_not_merge_everything_into_one_state():
    fitting, scoring = halves("last difference", 1)
    automaton = alergia(fitting)
    assert 3 <= len(automaton) <= 20
    assert accuracy(automaton, fitting, scoring) > 0.95


def test_rpni_finds_the_automaton_of_clean_data():
    """The last difference decides, without a slip: yield or stay, and no state for undecided, as all decide."""
    fitting, scoring = halves("last difference", 1)
    keep = accurate(fitting), accurate(scoring)
    automaton = rpni(keep[0])
    assert len(automaton) <= 3
    assert accuracy(automaton, *keep) == 1.0


def accurate(held):
    """The dialogues in which something decided, so that nothing was a coin flip."""
    scores = plant("last difference", 1).scores(held.symbols, held.n_rounds)
    return held[(scores != 0) & held.parted]


def test_an_ngram_knows_the_last_difference_better_than_the_first():
    found = {}
    for family in ("last difference", "first difference"):
        fitting, scoring = halves(family, 1)
        found[family] = accuracy(ngram(fitting), fitting, scoring)
    assert found["last difference"] > 0.95 > 0.85 > found["first difference"]


@pytest.mark.parametrize("learner", [alergia, rpni, ngram])
def test_on_noise_nothing_is_found(learner):
    fitting, scoring = halves("noise", 1, 3000)
    trials = int(scoring.parted.sum())
    assert abs(accuracy(learner(fitting), fitting, scoring) - 0.5) < 4 * np.sqrt(0.25 / trials)


# -- active learning ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("family", "states"), [("first difference", 3), ("last difference", 2), ("cyclic order", 3)])
def test_kv_finds_the_smallest_automaton(family, states):
    """Undecided agents of the planted machines stay, so that the last difference needs no third state."""
    learned = learn(ask_machine(plant(family, 0)), 5, length=5, words=500)
    assert (learned.n_states, learned.converged, learned.accuracy) == (states, True, 1.0)


def test_the_states_of_a_counter_grow_with_the_length():
    """Token 0 counts 1 and the larger sum yields. Within L rounds a sum of 1-L … L matters: growing without end."""
    automaton = counter(np.array([1, 0, 0, 0]), 40)
    value = np.array([int(label.removeprefix("vote ")) for label in automaton.labels])
    found = growth(lambda s, n: value[automaton.run(s, n)[:, -1]] > 0, 2, (1, 2, 4, 6))
    assert [learned.n_states for learned in found[:3]] == [2, 3, 5]
    assert found[3].n_states > 5
    assert all(learned.accuracy == 1.0 for learned in found)


def test_learning_stops_at_its_limit():
    automaton = counter(np.array([1, 0, 0, 0]), 40)
    value = np.array([int(label.removeprefix("vote ")) for label in automaton.labels])
    learned = learn(lambda s, n: value[automaton.run(s, n)[:, -1]] > 0, 2, 8, max_states=3)
    assert not learned.converged
    assert learned.n_states == 4


# -- on disk -----------------------------------------------------------------------------------------------------------


def test_a_machine_survives_json(tmp_path):
    machine = plant("vote", 3)
    machine.save(tmp_path / "machine.json")
    loaded = ProtocolMachine.load(tmp_path / "machine.json")
    assert loaded.automaton.labels == machine.automaton.labels
    assert np.array_equal(loaded.automaton.transition, machine.automaton.transition)
    assert np.allclose(loaded.emission, machine.emission, rtol=1e-8)
    assert np.isfinite(loaded.yields()).all()  # also where a move is as rare as 1e-9
    assert self_play(loaded, 200).success.mean() > 0.95


@pytest.mark.parametrize(
    "damage",
    [
        lambda saved: saved.update(format=99),
        lambda saved: saved.pop("emission"),
        lambda saved: saved.update(emission=[[1.0]]),
        lambda saved: saved["transition"][0][0].__setitem__(0, 99),
        lambda saved: saved["transition"][0][0].__setitem__(0, -1),
    ],
)
def test_what_is_no_machine_is_refused(damage):
    saved = json.loads(json.dumps(plant("first difference", 0).to_json()))
    damage(saved)
    with pytest.raises(ValueError, match="machine"):
        ProtocolMachine.from_json(saved)


def test_graphs(tmp_path):
    machine = fit_machine("protocol", plant("first difference", 0).automaton, halves("first difference", 0, 500)[0])
    drawn = graph(machine)
    assert drawn.number_of_nodes() == 3
    assert set(drawn.edges) == {(0, 0), (0, 1), (0, 2), (1, 1), (2, 2)}
    assert drawn.edges[1, 1]["rounds"] == 49
    assert drawn.nodes[1]["yields"] > 0.9
    save_graphml(machine, tmp_path / "machine.graphml")
    assert nx.read_graphml(tmp_path / "machine.graphml").number_of_edges() == 5
    text = dot(machine)
    assert text.startswith('digraph "protocol" {')
    assert text.count("doublecircle") == 1
    assert text.count("->") == 5
    assert graph(machine, minimum_share=1.1).number_of_nodes() == 1  # the initial state is always shown
