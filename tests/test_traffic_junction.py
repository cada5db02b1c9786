"""The traffic junction against a second, naive implementation of its rules, and its published sizes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from emcomm.config import Config
from emcomm.games import with_talk
from emcomm.rollout import Rollout
from emcomm.worlds import make_negotiation, make_policy
from envs import BadOption, Negotiation, TalkRules, TrafficJunctionGame
from envs.traffic_junction import BRAKE, GO, LEVELS, roads


class Naive:
    """One game, car by car, cell by cell."""

    def __init__(self, game: TrafficJunctionGame, g: int) -> None:
        self.level, self.steps = game, game.steps
        table = roads({5: "easy", 10: "medium", 20: "hard"}[game.n_agents])
        self.ways = [
            [tuple(table.cells[c]) for c in path[:n]] for path, n in zip(table.path, table.length, strict=True)
        ]
        self.cars = {i: [int(game.route[g, i]), 0, 0, False] for i in np.flatnonzero(game.active()[g])}
        self.time, self.came, self.hit = 0, len(self.cars), 0

    def play(self, moves: list, arrivals: list, order: list) -> tuple[dict, set, bool, float]:
        """Rewards by car, cars that left, success, score; `arrivals`: routes of the cars that come."""
        self.time += 1
        left, there = set(), set(self.cars)
        for i in list(self.cars):
            self.cars[i][2] += 1
            if moves[i] == GO:
                self.cars[i][1] += 1
                if self.cars[i][1] == len(self.ways[self.cars[i][0]]):
                    del self.cars[i]
                    left.add(i)
        for route in arrivals:
            free = [i for i in range(len(order)) if i not in self.cars and i not in left]
            if route >= 0 and free:
                self.cars[max(free, key=lambda i: order[i])] = [route, 0, 0, False]
                self.came += 1
        rewards, new = {}, set(self.cars) - there
        for i, car in self.cars.items():
            collides = any(self.cell(i) == self.cell(j) for j in self.cars if j != i)
            self.hit += collides and not car[3]
            car[3] |= collides
            rewards[i] = 0.0 if i in new else -0.001 * car[2] - collides
        return rewards, left, self.hit == 0, 1 - self.hit / self.came

    def cell(self, i: int) -> tuple:
        return self.ways[self.cars[i][0]][self.cars[i][1]]


@pytest.mark.parametrize(("level", "rate"), [("easy", 0.0), ("easy", 1.0), ("medium", 0.0), ("hard", 0.3)])
def test_the_rules_are_those_of_a_naive_game(level: str, rate: float) -> None:
    rng, games = np.random.default_rng(5), 12
    game = TrafficJunctionGame(games, rng, level, vision=1, rate=rate)
    game.reset(np.ones(games, np.bool_))
    naive = [Naive(game, g) for g in range(games)]
    for step in range(1, game.steps + 1):
        moves = np.where(game.active(), rng.choice([GO, BRAKE], size=(games, game.n_agents), p=[0.7, 0.3]), -1)
        arrivals, order = game._next_route.tolist(), game._order.tolist()
        outcome = game.play(moves, np.arange(games))
        private, seen = game.private(), game.observe()
        for g, one in enumerate(naive):
            rewards, left, success, score = one.play(moves[g].tolist(), arrivals[g], order[g])
            expected = [rewards.get(i, 0.0) for i in range(game.n_agents)]
            np.testing.assert_allclose(outcome.rewards[g], expected, atol=1e-6)
            assert set(np.flatnonzero(outcome.left[g])) == left
            assert np.flatnonzero(game.active()[g]).tolist() == sorted(one.cars)
            assert outcome.success[g] == success
            assert outcome.score[g] == pytest.approx(score)
            for i in one.cars:
                assert tuple(game._cells[int(private[g, i, 0])]) == one.cell(i)
                around = seen[g, i, 4 + len(game._cells) :].reshape(3, 3)
                row, column = one.cell(i)
                for dr, dc in np.ndindex(3, 3):
                    there = sum(one.cell(j) == (row + dr - 1, column + dc - 1) for j in one.cars if j != i)
                    assert around[dr, dc] == there
            assert outcome.truncated[g].all() == (step == game.steps)
    assert any(one.hit for one in naive)


@pytest.mark.parametrize(
    ("level", "size", "cars", "steps", "rate", "routes", "entries", "cells"),
    [("easy", 7, 5, 20, 0.3, 2, 2, 13), ("medium", 14, 10, 40, 0.2, 12, 4, 52), ("hard", 18, 20, 80, 0.05, 56, 8, 128)],
)
def test_the_published_sizes(level, size, cars, steps, rate, routes, entries, cells) -> None:
    assert LEVELS[level] == (size, LEVELS[level].lanes, level == "easy", cars, steps, rate)
    table = roads(level)
    assert (len(table.length), len(table.first), len(table.cells)) == (routes, entries, cells)
    ends = set()
    for path, length in zip(table.path, table.length, strict=True):
        way = table.cells[path[:length]]
        assert (np.abs(np.diff(way, axis=0)).sum(axis=1) == 1).all()  # from cell to neighbour
        assert len(np.unique(way, axis=0)) == length
        assert all(0 in cell or size - 1 in cell for cell in way[[0, -1]])
        ends.add((tuple(way[0]), tuple(way[-1])))
    assert len(ends) == routes  # each entry is joined to each exit but its own by one route


def test_places_without_a_car_neither_speak_nor_move() -> None:
    rng = np.random.default_rng(0)
    game = TrafficJunctionGame(32, rng)
    talk = Negotiation(game, TalkRules(**TrafficJunctionGame.talk), rng)
    talk.reset()
    assert game.active().any(axis=1).all()
    came_back = np.zeros((32, 5), np.int64)
    for _ in range(200):
        away, mask = ~game.active(), talk.mask()
        assert (mask[away].sum(axis=1) == 1).all()
        step = talk.step((rng.random(mask.shape) * mask).argmax(axis=2))
        came_back += game.active() & away
        done = step.dialogues
        assert (done.symbols[np.repeat(~done.speaks, done.n_rounds, axis=0)] == -1).all()
        assert ((done.moves == -1) == ~done.speaks).all()
        talk.reset(step.over)
    assert came_back.max() > 2


def test_a_car_remembers_nothing_of_the_one_before_in_its_place() -> None:
    """What a place without a car remembers does not depend on who was there, nor on what is said around it."""
    config = with_talk(Config(env="emcomm/traffic-junction-v1", workers=0, hidden_size=8, games=16))
    config = replace(config, rules=replace(config.rules, closing="fixed"))  # each step of the game takes three
    policy = make_policy(config)
    play = Rollout(make_negotiation(config, 16, np.random.SeedSequence(0)), np.random.default_rng(0))
    game, compared = play.negotiation.game, 0
    empty = np.where(game.active(), -1, 0)  # steps since a place was left, or the episode began
    for step in range(1, 60):
        with torch.no_grad():
            trajectory, again, _ = play.play(policy, 3)
            np.testing.assert_allclose(again().log_probs, trajectory.log_probs, atol=1e-6)  # [T, B, N, A]
        assert play.memory is not None
        memory, away = play.memory.view(16, 5, -1).numpy(), ~game.active()
        empty = np.where(away, empty + 1 if step % 20 else 0, -1)  # every 20 steps all begin anew
        for steps in np.unique(empty[away]):
            places = memory[empty == steps]
            np.testing.assert_allclose(places, places[:1].repeat(len(places), 0), atol=1e-6)
            compared += len(places) - 1
    assert compared > 500


def test_nothing_of_a_car_that_leaves_passes_to_the_next_one() -> None:
    game = TrafficJunctionGame(64, np.random.default_rng(0), rate=1.0)
    game.reset(np.ones(64, np.bool_))
    seen = 0
    for _ in range(game.steps):
        outcome = game.play(np.where(game.active(), GO, -1), np.arange(64))
        assert outcome.left is not None
        seen += outcome.left.sum()
        assert not (game.active() & outcome.left).any()
        assert (outcome.rewards[outcome.left] == 0).all()
    assert seen > 100


@pytest.mark.parametrize("speaking", ["simultaneous", "sequential"])
@pytest.mark.parametrize("channel", ["constant", "self", "noisy", "shuffled", "delayed"])
def test_places_without_a_car_are_silent_over_every_channel(channel: str, speaking: str) -> None:
    rng = np.random.default_rng(0)
    game = TrafficJunctionGame(32, rng)
    rules = TalkRules(n_tokens=4, max_rounds=2, opening="talk", closing="fixed", channel=channel, speaking=speaking)
    talk = Negotiation(game, rules, rng)
    talk.reset()
    heard = 0
    for _ in range(30 if speaking == "simultaneous" else 150):
        seen, away = talk.observe(), ~game.active()
        there = np.take_along_axis(away[:, None], talk._columns[..., 1:], 2)[:, :, None].repeat(rules.visible_rounds, 2)
        assert (seen.buffer[..., 1:][there] == -1).all()
        heard += (seen.buffer[..., 1:] >= 0).sum()
        talk.reset(talk.step((rng.random(seen.mask.shape) * seen.mask).argmax(axis=2)).over)
    assert heard > 100


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"level": "simple"}, "level must be one of easy, medium, hard, not 'simple'"),
        ({"vision": -1}, "vision must be from 0 to 3 cells, not -1"),
        ({"vision": 1.5}, "vision must be from 0 to 3 cells, not 1.5"),
        ({"rate": 1.5}, "rate must be a probability from 0 to 1, not 1.5"),
        ({"rate": float("nan")}, "rate must be a probability from 0 to 1, not nan"),
    ],
)
def test_settings_that_cannot_be_played_are_one_line(options: dict, says: str) -> None:
    with pytest.raises(BadOption, match=f"^{says}$"):
        TrafficJunctionGame(1, np.random.default_rng(0), **options)
