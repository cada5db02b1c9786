"""Planted protocols: what they do is known, so it is checked by hand and by theory."""

import numpy as np
import pytest

from analysis.agents.players import MachinePlayer, draw, play_games
from analysis.agents.synthetic_protocols import PLANTED, plant, planted_dialogues
from analysis.automata.automaton import Automaton, constant
from analysis.automata.protocol_machine import ProtocolMachine
from envs.negotiation import SILENT, TalkRules


def test_first_difference_decides_in_every_dialogue():
    machine, table = plant("first difference", seed=3), planted_dialogues("first difference", seed=3, dialogues=300)
    beats = machine.automaton.transition[0]
    for row in range(300):
        said = table[row].symbols
        telling = [(a, b) for a, b in said if beats[a, b] != 0]
        if telling:
            agent_0_yields = beats[telling[0]] == 1
            assert table.moves[row].tolist() == ([1, 0] if agent_0_yields else [0, 1])


def test_last_difference_decides_in_every_dialogue():
    machine, table = plant("last difference", seed=3), planted_dialogues("last difference", seed=3, dialogues=300)
    beats = machine.automaton.transition[0]
    for row in range(300):
        telling = [(a, b) for a, b in table[row].symbols if beats[a, b] != 0]
        if telling:
            assert table.moves[row].tolist() == ([1, 0] if beats[telling[-1]] == 1 else [0, 1])


def test_the_larger_sum_yields():
    machine, table = plant("vote", seed=3), planted_dialogues("vote", seed=3, dialogues=300)
    label = np.array([int(text.removeprefix("vote ")) for text in machine.automaton.labels])
    weight = label[machine.automaton.transition[0]]  # [K, K] what one round adds
    decided = 0
    for row in range(300):
        total = sum(weight[a, b] for a, b in table[row].symbols)
        if 0 < abs(total) <= 10:  # well within the counter
            decided += 1
            assert table.moves[row].tolist() == ([1, 0] if total > 0 else [0, 1])
    assert decided > 200


def test_cyclic_order_is_a_circle():
    beats = plant("cyclic order", seed=0).automaton.transition[0][:5, :5]
    wins = beats == 1
    assert wins.sum(axis=1).tolist() == [2] * 5  # each of five tokens beats two others, and loses to two
    assert (wins != wins.T)[~np.eye(5, dtype=bool)].all()


def test_the_silent_succeed_half_the_time_without_a_word():
    table = planted_dialogues("silent", seed=0, dialogues=4000)
    assert table.n_rounds.max() == 0
    assert abs(table.success.mean() - 0.5) < 4 * np.sqrt(0.25 / 4000)


def test_noise_talks_and_moves_by_coin_flips():
    table = planted_dialogues("noise", seed=0, dialogues=4000)
    assert table.n_rounds.mean() > 1.5
    assert abs(table.moves.mean() - 0.5) < 4 * np.sqrt(0.25 / 8000)
    assert abs(table.success.mean() - 0.5) < 4 * np.sqrt(0.25 / 4000)


@pytest.mark.parametrize("family", PLANTED)
def test_a_seed_fixes_the_dialogues(family):
    one, same, other = (planted_dialogues(family, seed, 200) for seed in (5, 5, 6))
    assert np.array_equal(one.symbols, same.symbols)
    assert np.array_equal(one.moves, same.moves)
    assert not (np.array_equal(one.symbols, other.symbols) and np.array_equal(one.moves, other.moves))


@pytest.mark.parametrize("n_tokens", [1, 2, 4, 12])
@pytest.mark.parametrize("family", PLANTED)
def test_any_number_of_tokens(family, n_tokens):
    table = planted_dialogues(family, 0, 100, n_tokens)
    assert len(table) == 100
    assert table.symbols.size == 0 or table.symbols.max() <= n_tokens


def test_draw_follows_the_weights():
    drawn = draw(np.tile([0.0, 2.0, 0.0, 6.0, 0.0], (20_000, 1)), np.random.default_rng(0))
    share = np.bincount(drawn, minlength=5) / 20_000
    assert share[[0, 2, 4]].tolist() == [0, 0, 0]
    assert abs(share[1] - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 20_000)


def test_a_player_hears_what_the_environment_shows_it():
    """A parrot: it begins with token 0, then says what it heard; two of them say 0 until the talk is cut."""
    to = np.tile(np.arange(4), (4, 1))  # the next state is what the other said
    transition = np.stack([to] * 4)
    emission = np.zeros((4, 5))
    emission[0, [0, 3]] = emission[1, [1, 3]] = emission[2, [2, 3]] = emission[3, [2, 3]] = 1
    emission[:, 3] = 1e-12
    parrot = ProtocolMachine(
        "parrot", Automaton(("a", "b", "eot", "silent"), transition), emission, 2, ("m", "d"), np.zeros(4)
    )
    always_1 = ProtocolMachine("ones", constant(4), np.array([[0, 1, 0, 0, 1e-12]]), 2, ("m", "d"), np.zeros(1))
    rules = TalkRules(n_tokens=2, max_rounds=3, window=1, opening="talk")
    table = play_games((MachinePlayer(parrot), MachinePlayer(always_1)), rules, 5)
    assert table.padded(4)[0].tolist() == [[0, 1], [1, 1], [1, 1], [SILENT, SILENT]]
    assert table.cut.all()
    assert table.moves.tolist() == [[0, 1]] * 5


def test_machines_need_simultaneous_speaking():
    players = [MachinePlayer(plant("vote", 0)) for _ in range(2)]
    with pytest.raises(ValueError, match="simultaneous"):
        play_games(players, TalkRules(speaking="sequential"), 5)
