"""The item split: its rules against a second, plain version, its rewards, its turns, and what is shown."""

from __future__ import annotations

import math

import numpy as np
import pytest

from emcomm.config import Config
from emcomm.errors import BadInput
from emcomm.worlds import make_negotiation
from envs import BadOption, ItemSplitGame, Negotiation, TalkRules


def split(games: int = 100, seed: int = 0, **options: object) -> ItemSplitGame:
    game = ItemSplitGame(games, np.random.default_rng(seed), **options)  # type: ignore[arg-type]
    game.reset(np.ones(games, np.bool_))
    return game


class Bargain:
    """One game, in plain Python."""

    def __init__(self, pool: list[int], values: list[list[int]], limit: int, selfish: bool) -> None:
        self.pool, self.values, self.limit, self.selfish = pool, values, limit, selfish
        self.turn, self.offer = 0, [0] * len(pool)

    def legal(self) -> set[str]:
        takes = {"take"}
        for have in self.pool:
            takes = {f"{take} {n}" for take in takes for n in range(have + 1)}
        return takes | ({"accept"} if self.turn else set())

    def move(self, name: str) -> tuple[list[float], bool, float, bool]:
        """Rewards, success, score, over."""
        mover, self.turn = self.turn % 2, self.turn + 1
        if name != "accept":
            self.offer = [int(n) for n in name.split()[1:]]
            return [0.0, 0.0], False, 0.0, self.turn == self.limit
        shares = [self.offer, self.offer]
        shares[mover] = [have - n for have, n in zip(self.pool, self.offer, strict=True)]
        got = [sum(n * v for n, v in zip(s, vs, strict=True)) for s, vs in zip(shares, self.values, strict=True)]
        best = sum(have * max(vs) for have, *vs in zip(self.pool, *self.values, strict=True))
        whole = [sum(n * v for n, v in zip(self.pool, vs, strict=True)) for vs in self.values]
        score = sum(got) / best
        return [g / w for g, w in zip(got, whole, strict=True)] if self.selfish else [score] * 2, True, score, True


@pytest.mark.parametrize("rewards", ["prosocial", "selfish"])
def test_the_rules_against_a_plain_version(rewards: str) -> None:
    game, rng = split(60, rewards=rewards, max_quantity=3), np.random.default_rng(1)
    plain: dict[int, Bargain] = {}
    ends = set()
    for _ in range(40):
        for g in range(60):
            if g not in plain:
                values, limit = game.value[g].tolist(), int(game.limit[g])
                plain[g] = Bargain(game.pool[g].tolist(), values, limit, rewards == "selfish")
                assert game.turn[g] == 0
        legal = game.legal_moves()
        moves = (rng.random(legal.shape) * legal * np.where(np.arange(legal.shape[2]) == 1, 3, 1)).argmax(axis=2)
        for g in range(60):
            mover = plain[g].turn % 2
            names = {game.move_names[m] for m in np.flatnonzero(legal[g, mover])}
            assert names == plain[g].legal()
            assert np.flatnonzero(legal[g, 1 - mover]).tolist() == [0]
        which = np.flatnonzero(rng.random(60) < 0.8)
        outcome = game.play(moves[which], which)
        for d, g in enumerate(which.tolist()):
            paid, success, score, over = plain[g].move(game.move_names[moves[g, plain[g].turn % 2]])
            assert outcome.rewards[d] == pytest.approx(paid)
            assert outcome.success[d] == success
            assert outcome.score is not None
            assert outcome.score[d] == pytest.approx(score)
            assert outcome.terminated[d].tolist() == [over] * 2
            if over:
                ends.add((success, plain[g].turn))
                del plain[g]
        over = np.zeros(60, np.bool_)
        over[which] = outcome.terminated[:, 0]
        game.reset(over)
    assert {success for success, _ in ends} == {True, False}


def test_the_best_split_scores_one() -> None:
    game = split(1)
    game.pool[0], game.value[0] = [5, 3, 1], [[10, 0, 2], [1, 6, 2]]
    game.play(np.array([[game.move_names.index("take 5 0 1"), 0]]), np.array([0]))
    outcome = game.play(np.array([[0, 1]]), np.array([0]))
    assert outcome.score is not None
    assert (outcome.score[0], outcome.rewards[0].tolist()) == (1.0, [1.0, 1.0])


def test_turns_are_a_truncated_poisson_and_pools_are_worth_something() -> None:
    game = split(20_000)
    weight = {t: 7**t / math.factorial(t) for t in range(4, 11)}
    for turns, share in weight.items():
        assert (game.limit == turns).mean() == pytest.approx(share / sum(weight.values()), abs=0.012)
    assert (game.value * game.pool[:, None]).sum(axis=2).min() > 0
    assert set(np.unique(game.pool)) == set(range(6))
    assert set(np.unique(game.value)) == set(range(11))
    assert set(split(50, min_turns=6, max_turns=6).limit) == {6}


def test_what_is_seen_of_a_proposal() -> None:
    for shown in (True, False):
        game = split(1, show_proposals=shown)
        game.pool[0], game.value[0] = [5, 3, 1], [[10, 0, 2], [1, 6, 2]]
        game.play(np.array([[game.move_names.index("take 5 1 0"), 0]]), np.array([0]))
        first, second = game.observe()[0]
        assert first[:3] == pytest.approx([1, 0.6, 0.2])
        assert second[3:6] == pytest.approx([0.1, 0.6, 0.2])
        assert first[6:9] == pytest.approx([1, 0.2, 0])  # what it takes itself
        assert second[6:9] == pytest.approx([0, 0.4, 0.2] if shown else [0, 0, 0])
        assert [first[9:11].tolist(), second[9:11].tolist()] == [[1, 0], [1, 1]]


@pytest.mark.parametrize("closing", ["mutual", "any"])
def test_only_the_one_whose_turn_it_is_speaks_and_its_eot_ends_the_talk(closing: str) -> None:
    game = split(5)
    talk = Negotiation(game, TalkRules(**{**game.talk, "closing": closing}), np.random.default_rng(0))
    talk.reset()
    for turn in range(2):
        speaker, eot = turn % 2, 10
        assert (talk.mask()[:, speaker, : eot + 1]).all()
        assert talk.mask()[:, 1 - speaker].sum() == 5
        for said in (3, eot):
            actions = np.full((5, 2), eot)
            actions[:, speaker] = said
            talk.step(actions)
        assert (talk.phase == 2).all()
        assert (talk.observe().buffer[:, 1 - speaker, -2:, 1] == [3, eot]).all()
        step = talk.step(talk.mask().argmax(axis=2) if turn == 0 else np.where(talk.mask()[..., 12], 12, 11))
    assert step.dialogues.success.all()
    assert talk.over.all()


@pytest.mark.parametrize("channel", ["shuffled", "noisy", "constant"])
def test_a_control_is_heard_where_something_is_said_and_nowhere_else(channel: str) -> None:
    game, rng = split(200), np.random.default_rng(0)
    rules = TalkRules(**{**game.talk, "channel": channel, "closing": "fixed", "max_rounds": 2})
    talk = Negotiation(game, rules, rng)
    talk.reset()
    for _ in range(30):
        mask, turn = talk.mask(), game.turn % 2
        talking = talk.phase == 1
        talk_over = talk.step((rng.random(mask.shape) * mask).argmax(axis=2)).over
        heard = talk.observe().buffer[..., -1, 1]
        g = np.flatnonzero(talking)
        assert (heard[g, 1 - turn[g]] >= 0).all()
        assert (heard[g, 1 - turn[g]] < 10).all()  # EOT cannot be said
        assert (heard[g, turn[g]] == -1).all()
        talk.reset(talk_over)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"rewards": "mean"}, "rewards must be prosocial or selfish, not 'mean'"),
        ({"n_types": 0}, "n_types must be from 1 to 12, not 0"),
        ({"max_quantity": 0}, "max_quantity must be from 1 to 1000, not 0"),
        ({"max_value": 0}, "max_value must be from 1 to 1000, not 0"),
        ({"min_turns": 1}, "min_turns must be from 2 to 1000, not 1"),
        ({"max_turns": 3}, "max_turns must be from 4 to 1000, not 3"),
        ({"n_types": 6}, "make 46,656 proposals, and 4,096 are the most"),
    ],
)
def test_bad_options_are_named(options: dict, says: str) -> None:
    with pytest.raises(BadOption, match=says):
        split(1, **options)
    with pytest.raises(BadInput, match=next(iter(options))):
        make_negotiation(Config(env="emcomm/item-split-v1", game_options=options), 1, np.random.SeedSequence(0))
