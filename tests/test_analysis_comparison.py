"""Comparison of runs: distances, cross-play and drift of protocols whose answer is known."""

import dataclasses

import numpy as np
import pytest

from analysis.agents.cross_play import CrossPlay, blocks_of, cosine, cosines, cross_play, predict_cross_play
from analysis.agents.players import MachinePlayer
from analysis.agents.random_queries import random_dialogues
from analysis.agents.synthetic_protocols import plant, planted_dialogues
from analysis.automata.protocol_machine import ProtocolMachine
from analysis.explanation.vote_drift import behavioural_distances, drift, vote_weights
from emcomm.dialogues import concatenate
from emcomm.statistics import rate
from envs.crossing import CrossingGame
from envs.negotiation import TalkRules


def contrary(machine: ProtocolMachine) -> ProtocolMachine:
    """The same machine with its moves exchanged."""
    emission = machine.emission.copy()
    emission[:, -2:] = emission[:, [-1, -2]]
    return dataclasses.replace(machine, emission=emission)


def as_yields(machine):
    probability = machine.yields()

    def yields(symbols, n_rounds):
        views = (symbols, symbols[..., ::-1])
        return np.stack([probability[machine.automaton.run(v, n_rounds)[:, -1]] for v in views], axis=1)

    return yields


def test_cosine():
    assert cosine(np.array([1.0, -1.0]), np.array([2.0, -2.0])) == pytest.approx(1)
    assert cosine(np.array([1.0, -1.0]), np.array([-3.0, 3.0])) == pytest.approx(-1)
    assert np.isnan(cosine(np.zeros(2), np.array([1.0, -1.0])))
    assert np.allclose(cosines([np.array([1.0, 0]), np.array([0, 1.0])]), np.eye(2))


def test_weights_of_contrary_protocols_are_opposite():
    table = planted_dialogues("vote", 1)
    flipped = dataclasses.replace(table, moves=1 - table.moves)
    assert cosine(vote_weights(table, 5), vote_weights(flipped, 5)) == pytest.approx(-1, abs=1e-4)
    assert abs(vote_weights(table, 5).sum()) < 1e-5


def test_behavioural_distance():
    """None to itself; to the contrary protocol all views of decided dialogues."""
    machine = plant("first difference", 1)
    symbols, n_rounds = random_dialogues(np.full(500, 4), 5, 0.1, np.random.default_rng(0))
    decided = (machine.automaton.run(symbols, n_rounds)[:, -1] != 0).mean()
    found = behavioural_distances([as_yields(machine), as_yields(contrary(machine))], symbols, n_rounds)
    assert found.diagonal().tolist() == [0, 0]
    assert found[0, 1] == found[1, 0] == pytest.approx(decided)


def test_cross_play_of_contrary_protocols():
    """Two who agree on who wins part; with its contrary, both yield or both stay."""
    machine = plant("first difference", 1)
    seats = [lambda: MachinePlayer(machine), lambda: MachinePlayer(contrary(machine))]
    played = cross_play(["a", "b"], seats, TalkRules(window=1), games=500)
    assert played.rates.shape == (2, 2)
    assert played.rates.diagonal().min() > 0.98
    assert played.rates[0, 1] < 0.02
    assert played.rates[1, 0] < 0.02
    assert played.success[0][1].trials == 500
    assert (played.mean_rounds > 2).all()


def test_seats_are_taken_as_said():
    """Row in seat 0, column in seat 1, in a game that succeeds where seat 0 yields."""

    class SeatZero(CrossingGame):
        def play(self, moves, which):
            return super().play(moves, which)._replace(success=moves[:, 0] == 1)

    stay = dataclasses.replace(plant("silent", 0), emission=np.array([[0, 0, 0, 0, 0, 0, 1.0, 0]]))
    play = [lambda: MachinePlayer(stay), lambda: MachinePlayer(contrary(stay))]
    played = cross_play(["stay", "yield"], play, TalkRules(window=1), games=10, make_game=SeatZero)
    assert played.rates.tolist() == [[0, 0], [1, 1]]


def test_cross_play_is_predicted_by_weights():
    """Success that is (1 + cosine) / 2 correlates perfectly; the diagonal does not count."""
    weights = [np.array([1.0, 0.0]), np.array([0.0, 1.0]), np.array([-1.0, 0.0])]
    success = (1 + cosines(weights)) / 2
    cells = tuple(tuple(rate(round(100 * s), 100) for s in row) for row in success)
    prediction = predict_cross_play(CrossPlay(("a", "b", "c"), cells, success), weights)
    assert prediction.pairs == 3
    assert prediction.correlation == pytest.approx(1)


def test_two_runs_are_too_few_for_a_correlation():
    cells = ((rate(1, 1), rate(0, 1)), (rate(0, 1), rate(1, 1)))
    prediction = predict_cross_play(CrossPlay(("a", "b"), cells, np.ones((2, 2))), [np.ones(3), np.zeros(3)])
    assert np.isnan(prediction.correlation)


def test_blocks_keep_every_dialogue():
    table = planted_dialogues("vote", 0, 103)
    blocks = blocks_of(table, 4)
    assert [len(b) for b in blocks] == [25, 26, 26, 26]
    assert np.array_equal(np.concatenate([b.symbols for b in blocks]), table.symbols)
    assert len(blocks_of(table[:2], 10)) == 2


def test_drift_sees_a_protocol_turn_over():
    """Noise, then the contrary of a vote, then the vote: cosines about anything, -1 and 1."""
    vote = planted_dialogues("vote", 1, 3000)
    flipped = dataclasses.replace(planted_dialogues("vote", 1, 3000), moves=1 - vote.moves)
    points = drift([planted_dialogues("noise", 0, 3000), flipped, vote, vote[:0]], 5)
    assert len(points) == 3
    assert points[0].accuracy.value < 0.56
    assert points[1].accuracy.value > 0.98
    assert points[1].similarity == pytest.approx(-1, abs=0.02)
    assert points[1].agreement < 0.03
    assert (points[2].similarity, points[2].agreement) == (pytest.approx(1), 1)
    assert (points[2].first_episode, points[2].last_episode) == (0, 2999)


def test_drift_of_nothing():
    assert drift([], 5) == ()
    silent = drift(blocks_of(concatenate([planted_dialogues("silent", 0, 100)]), 2), 5)
    assert len(silent) == 2
    assert np.isnan(silent[0].similarity)
