"""The line against a second, naive implementation of its rules; its planner, its references and its talk in groups."""

import numpy as np
import pytest

from emcomm.dialogues import EpisodeCollector
from emcomm.evaluation import Tally
from emcomm.progress import Course
from envs import BadOption, LineGame, Negotiation, TalkRules
from envs.line import GO, WAIT, evaluate, first_come, planner, random_moves


def legal(rng: np.random.Generator, mask: np.ndarray) -> np.ndarray:
    """Random legal actions."""
    return (rng.random(mask.shape) * mask).argmax(axis=-1)


class Naive:
    """One game, train by train, node by node."""

    def __init__(self, game: LineGame, g: int) -> None:
        net = game.network
        self.capacity, self.blocks = net.capacity.tolist(), game.passing - 1
        self.routes = [net.routes[k].tolist() for k in game.route[g]]
        self.departs, self.due, self.time = game.departs[g].tolist(), game.due[g].tolist(), 0
        self.at, self.late = [0] * game.n_agents, [False] * game.n_agents

    def there(self, i: int) -> bool:
        return self.departs[i] <= self.time and self.at[i] < len(self.capacity) - 1

    def place(self, i: int) -> int:
        return self.routes[i][self.at[i]]

    def room(self, node: int) -> int:
        return self.capacity[node] - sum(self.there(i) and self.place(i) == node for i in range(len(self.at)))

    def play(self, moves: list) -> tuple[list, bool, bool, float]:
        """Rewards, success, whether it is over, and the score."""
        trains = range(len(self.at))
        wish = {i: (self.place(i), self.routes[i][self.at[i] + 1]) for i in trains if self.there(i) and moves[i] == GO}
        going = [
            i for i, (here, ahead) in wish.items()
            if sum(other[1] == ahead for other in wish.values()) <= self.room(ahead)
            and (ahead, here) not in wish.values()
        ]  # fmt: skip
        on = [self.there(i) for i in trains]
        for i in going:
            self.at[i] += 1
        self.time += 1
        own = [0.0] * len(self.at)
        end = len(self.capacity) - 1
        for i in trains:
            if i in going and self.at[i] == end and not self.late[i]:
                own[i] += 1
            earliest = max(self.time, self.departs[i]) + end - self.at[i]
            if self.at[i] < end and not self.late[i] and earliest > self.due[i]:
                self.late[i], own[i] = True, -1
        stuck = self.stuck()
        for i in stuck:
            own[i] -= 1
        mean = sum(own) / len(own)
        rewards = [(x + mean) / 2 if here else 0 for x, here in zip(own, on, strict=True)]
        arrived = [self.at[i] == end for i in trains]
        over = bool(stuck) or all(a or b for a, b in zip(arrived, self.late, strict=True))
        in_time = [a and not late for a, late in zip(arrived, self.late, strict=True)]
        return rewards, not stuck and not any(self.late), over, sum(in_time) / len(in_time)

    def stuck(self) -> set:
        """Take away every train that has room ahead, again and again; those that stay are stuck."""
        here = {i for i in range(len(self.at)) if self.there(i)}
        while True:
            left = {
                i for i in here
                if sum(self.place(j) == self.routes[i][self.at[i] + 1] for j in here)
                >= self.capacity[self.routes[i][self.at[i] + 1]]
            }  # fmt: skip
            if left == here:
                return here
            here = left


@pytest.mark.parametrize(
    "options", [{}, {"trains": 8, "tracks": 2}, {"trains": 3, "sidings": 0, "blocks": 1, "sight": 0}]
)
@pytest.mark.parametrize("goes", [0.5, 0.9])
def test_the_rules_are_those_of_a_naive_game(options: dict, goes: float) -> None:
    rng, games = np.random.default_rng(3), 40
    game = LineGame(games, rng, **options)
    every = np.ones(games, np.bool_)
    game.reset(every)
    naive, ends = [Naive(game, g) for g in range(games)], 0
    for _ in range(60):
        moves = np.where((rng.random((games, game.n_agents)) < goes) & game.legal_moves()[..., GO], GO, WAIT)
        for g, one in enumerate(naive):
            for i in range(game.n_agents):
                assert game.active()[g, i] == one.there(i)
                if one.there(i):
                    assert game.legal_moves()[g, i, GO] == (one.room(one.routes[i][one.at[i] + 1]) > 0)
        outcome = game.play(np.where(game.active(), moves, -1), np.arange(games))
        over = outcome.terminated.all(axis=1)
        for g, one in enumerate(naive):
            rewards, success, ended, score = one.play(moves[g].tolist())
            np.testing.assert_allclose(outcome.rewards[g], rewards, atol=1e-6)
            assert (outcome.success[g], over[g]) == (success, ended)
            assert outcome.score[g] == pytest.approx(score)
        game.reset(over)
        ends += int(over.sum())
        for g in np.flatnonzero(over):
            naive[g] = Naive(game, g)
    assert ends > games


@pytest.mark.parametrize("trains", range(2, 9))
@pytest.mark.parametrize("options", [{}, {"sidings": 1, "blocks": 3, "tracks": 2, "margin": 0}, {"sidings": 0}])
def test_the_planner_brings_all_trains_in_time(trains: int, options: dict) -> None:
    rng = np.random.default_rng(trains)
    assert evaluate(LineGame(100, rng, trains=trains, **options), planner, rng) == (1.0, 1.0)


def test_the_references_are_in_their_order() -> None:
    rng = np.random.default_rng(0)
    game = LineGame(500, rng)
    scores = [evaluate(game, reference, rng)[1] for reference in (random_moves, first_come, planner)]
    assert scores[0] < 0.1 < 0.75 < scores[1] < 0.95 < scores[2] == 1


def test_two_trains_that_face_each_other_are_a_deadlock() -> None:
    game = LineGame(1, np.random.default_rng(0), trains=2, sidings=0)
    game.reset(np.ones(1, np.bool_))
    game.route[:], game.departs[:], game.due[:] = [[0, 1]], 0, 99
    game._look(np.array([0]))
    outcome = game.play(np.array([[GO, GO]]), np.array([0]))
    assert outcome.rewards.tolist() == [[-1, -1]]
    assert outcome.terminated.all()
    assert not outcome.success[0]


def test_trains_that_are_not_on_the_line_neither_speak_nor_move() -> None:
    rng = np.random.default_rng(1)
    game = LineGame(64, rng)
    talk = Negotiation(game, TalkRules(**LineGame.talk), rng)
    talk.reset()
    absent_once = arrived_once = False
    for _ in range(150):
        away, mask = ~game.active(), talk.mask()
        arrived_once |= bool(game.arrived.any())
        absent_once |= bool((away & ~game.arrived).any())
        assert (mask[away].sum(axis=1) == 1).all()
        assert (game.may_speak() <= game.active()).all()
        step = talk.step(legal(rng, mask))
        dialogues = step.dialogues
        assert (dialogues.moves[~dialogues.speaks & (dialogues.moves < 0)] == -1).all()
        silent = np.repeat(~dialogues.speaks, dialogues.n_rounds, axis=0)
        assert (dialogues.symbols[silent] == -1).all()
        talk.reset(step.over)
    assert absent_once
    assert arrived_once


def test_success_is_that_of_the_episode() -> None:
    """Also in the running figures of a training, which a resumed one goes on counting from."""
    rng = np.random.default_rng(0)
    talk, collector = Negotiation(LineGame(50, rng), TalkRules(channel="off"), rng), EpisodeCollector(50, 0, limit=80)
    talk.reset()
    first_move = talk.rules.eot + 1
    while not collector.complete:
        moves = first_come(talk.game, rng)  # type: ignore[arg-type]
        step = talk.step(first_move + np.where(talk.game.active(), moves, GO))
        collector.add(step.dialogues, 0)
        talk.reset(step.over)
    table = collector.take()
    assert table is not None
    assert table.last.sum() == len(np.unique(table.episode)) == 80
    tally, course = Tally(), Course(0, {})
    tally.add(table)
    course._add_dialogues(table)
    last = [table.episode == episode for episode in range(80)]
    in_time = np.mean([table.score[rows][-1] == 1 for rows in last])
    assert tally.figures().success.value == course.success == in_time
    assert 0.3 < in_time < table.success.mean()
    again = Course(0, {}, course.recent)
    assert (again.success, again.rounds) == (course.success, course.rounds)


def test_a_conflict_group_is_of_trains_that_want_one_section() -> None:
    game = LineGame(200, np.random.default_rng(0), trains=8)
    game.reset(np.ones(200, np.bool_))
    rng, groups = np.random.default_rng(0), 0
    for _ in range(12):
        wanted, hears = game._tables.wanted[game.route, game.at], game.hears()
        assert (hears == hears.transpose(0, 2, 1)).all()
        first, second = np.nonzero(hears.any(axis=0))
        for g, i, j in np.argwhere(hears):
            assert wanted[g, i] == wanted[g, j] >= 0
            assert game.active()[g, [i, j]].all()
        groups += len(first) + len(second)
        moves = np.where(game.active(), legal(rng, game.legal_moves()), -1)
        game.play(moves, np.arange(200))
    assert groups


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"trains": 1}, "trains must be a whole number from 2 to 8, not 1"),
        ({"trains": 9}, "trains must be a whole number from 2 to 8, not 9"),
        ({"trains": True}, "trains must be a whole number from 2 to 8, not True"),
        ({"sidings": -1}, "sidings must be a whole number from 0 to 16, not -1"),
        ({"blocks": 0}, "blocks must be a whole number from 1 to 16, not 0"),
        ({"tracks": 1}, "tracks must be a whole number from 2 to 8, not 1"),
        ({"margin": 0.5}, "margin must be a whole number from 0 to 64, not 0.5"),
        ({"sight": 3}, "sight must be a whole number from 0 to 2, not 3"),
    ],
)
def test_settings_that_cannot_be_played_are_one_line(options: dict, says: str) -> None:
    with pytest.raises(BadOption, match=f"^{says}$"):
        LineGame(1, np.random.default_rng(0), **options)
