"""Games that carry knowledge: the priority crossing, signalling and its referential form, Task & Talk."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emcomm.cli import game_options
from emcomm.config import Config
from emcomm.errors import BadInput
from emcomm.games import with_talk
from emcomm.worlds import bounds_of_talk, make_negotiation, make_policy
from envs import BadOption, CrossingPriorityGame, Negotiation, SignallingGame, TalkRules, TaskAndTalkGame, parallel_env
from envs.capacity import messages
from envs.game import BadGame, declared
from envs.meanings import Meanings

Call = Callable[..., Any]


def reset(game: Any, games: int = 2_000, seed: int = 0, **options: Any) -> Any:
    made = game(games, np.random.default_rng(seed), **options)
    made.reset(np.ones(games, np.bool_))
    return made


# -- priority crossing -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moves", "delays", "succeeds"),
    [
        ((0, 1), (3, 1), True),  # the more delayed one has the main line
        ((1, 0), (3, 1), False),
        ((1, 0), (0, 4), True),
        ((0, 1), (0, 4), False),
        ((0, 1), (2, 2), True),  # of equal delays any parting
        ((1, 0), (2, 2), True),
        ((0, 0), (3, 1), False),
        ((1, 1), (2, 2), False),
    ],
)
def test_the_more_delayed_train_must_have_the_main_line(moves: tuple, delays: tuple, succeeds: bool) -> None:
    game = reset(CrossingPriorityGame, 1)
    game.delay[0] = delays
    outcome = game.play(np.array([moves]), np.array([0]))
    assert outcome.success.tolist() == [succeeds]
    assert outcome.rewards.tolist() == [[1, 1] if succeeds else [-1, -1]]


def test_a_train_sees_its_own_delay_and_no_other() -> None:
    game = reset(CrossingPriorityGame, n_delays=7)
    assert (game.observe().argmax(axis=2) == game.private()[..., 0]).all()
    assert (game.observe().sum(axis=2) == 1).all()
    assert np.bincount(game.delay.ravel()).min() > 4_000 / 7 * 0.8


# -- meanings ----------------------------------------------------------------------------------------------------------


def test_every_value_stays_in_training() -> None:
    for seed in range(20):
        meanings = Meanings(3, 4, held_out=0.5, split_seed=seed)
        assert meanings.kept_from_training.sum() == 32
        trained = meanings.values[~meanings.kept_from_training]
        assert all(len(np.unique(trained[:, p])) == 4 for p in range(3))
    same, other = Meanings(3, 4, 0.2, split_seed=1), Meanings(3, 4, 0.2, split_seed=2)
    assert (same.kept_from_training == Meanings(3, 4, 0.2, split_seed=1, drawn="held_out").kept_from_training).all()
    assert (same.kept_from_training != other.kept_from_training).any()


def test_what_is_drawn() -> None:
    rng = np.random.default_rng(0)
    for drawn, expected in (("all", {True, False}), ("training", {False}), ("held_out", {True})):
        meanings = Meanings(2, 3, held_out=0.3, drawn=drawn)  # type: ignore[arg-type]
        objects = meanings.draw(rng, 3_000)
        assert set(meanings.kept_from_training[objects].tolist()) == expected
        assert len(np.unique(objects)) == {"all": 9, "training": 6, "held_out": 3}[drawn]
    zipf = Meanings(1, 4, frequencies="zipf").draw(rng, 100_000)
    shares = np.bincount(zipf) / 100_000
    assert shares == pytest.approx(np.array([12, 6, 4, 3]) / 25, abs=0.01)  # 1, 1/2, 1/3, 1/4
    rare = Meanings(2, 3, held_out=0.3, drawn="training", frequencies="zipf")
    assert not rare.kept_from_training[rare.draw(rng, 3_000)].any()


def test_a_published_split_is_given_by_its_objects() -> None:
    """Of the paper's code of Task & Talk, in its words: no object of another split, none twice."""
    meanings = Meanings(3, 4, drawn="held_out", held_out_objects="1 4 12, 25,28 29")
    assert np.flatnonzero(meanings.kept_from_training).tolist() == meanings.pool.tolist() == [1, 4, 12, 25, 28, 29]
    assert not np.isin(meanings.pool, Meanings(3, 4, drawn="training", held_out_objects="1 4 12 25 28 29").pool).any()
    for one in (0, np.int64(0), "0"):  # of one attribute a value may be new
        assert np.flatnonzero(Meanings(1, 4, held_out_objects=one).kept_from_training).tolist() == [0]
    assert not Meanings(1, 4, held_out_objects="").kept_from_training.any()


def test_numbers_and_values_are_inverse() -> None:
    meanings = Meanings(3, 4)
    assert meanings.number(meanings.values.astype(np.float32)).tolist() == list(range(64))
    assert meanings.one_hot(np.array([27])).reshape(3, 4).argmax(axis=1).tolist() == meanings.values[27].tolist()


# -- signalling --------------------------------------------------------------------------------------------------------


def test_a_lewis_game_is_one_signal_and_one_act() -> None:
    env = parallel_env(SignallingGame, n_values=3, observation_parts=True)
    seen, _ = env.reset(seed=0)
    assert np.flatnonzero(seen["sender"]["action_mask"]).tolist() == [0, 1, 2]  # three signals, no EOT
    assert seen["receiver"]["action_mask"].sum() == 1
    assert not seen["receiver"]["observation"][:3].any()
    state = int(seen["sender"]["observation"][:3].argmax())
    seen, *_ = env.step({"sender": 1, "receiver": 3})
    assert seen["receiver"]["buffer"][-1].tolist() == [-1, 1]
    assert np.flatnonzero(seen["receiver"]["action_mask"]).tolist() == [4, 5, 6]  # three acts
    _, rewards, *_ = env.step({"sender": 7, "receiver": 4 + state})
    assert rewards == {"sender": 1.0, "receiver": 1.0}
    assert env.agents == []


def test_the_receiver_finds_the_object_among_different_others() -> None:
    game = reset(SignallingGame, n_values=3, n_attributes=2, n_distractors=4)
    assert all(len(set(row)) == 5 for row in game.shown.tolist())
    where = game.shown == game.target[:, None]
    assert (where.sum(axis=1) == 1).all()
    assert where.mean(axis=0) == pytest.approx(np.full(5, 0.2), abs=0.04)  # in random order
    others = np.bincount(game.shown[~where], minlength=9) / (4 * 2_000)
    assert others == pytest.approx(np.full(9, 1 / 9), abs=0.02)  # drawn evenly
    seen = game.observe()
    assert (seen[:, 0, :6] == game.objects.one_hot(game.target)).all()
    assert (seen[:, 1, 6:] == game.objects.one_hot(game.shown).reshape(2_000, -1)).all()
    assert not seen[:, 0, 6:].any()
    assert not seen[:, 1, :6].any()
    moves = np.stack([np.full(2_000, 5), where.argmax(axis=1)], axis=1)
    assert game.play(moves, np.arange(2_000)).success.all()
    moves[:, 1] = (moves[:, 1] + 1) % 5
    assert not game.play(moves, np.arange(2_000)).success.any()
    assert not hasattr(game, "succeeds")


def test_in_training_neither_objects_nor_distractors_are_held_out() -> None:
    game = reset(SignallingGame, n_values=4, n_attributes=2, n_distractors=3, held_out=0.25, meanings="training")
    assert not game.objects.kept_from_training[game.shown].any()
    assert not game.held_out(game.private()).any()
    held = reset(SignallingGame, n_values=4, n_attributes=2, held_out=0.25)
    assert held.held_out(held.private()).mean() == pytest.approx(0.25, abs=0.05)


# -- Task & Talk -------------------------------------------------------------------------------------------------------


def test_q_bot_asks_and_a_bot_answers_twice() -> None:
    env = parallel_env(TaskAndTalkGame, q_tokens=3, a_tokens=4, observation_parts=True)
    seen, _ = env.reset(seed=0)
    game = env.unwrapped._talk.game
    for _ in range(2):
        assert np.flatnonzero(seen["q_bot"]["action_mask"]).tolist() == [0, 1, 2]
        seen, *_ = env.step({"q_bot": 2, "a_bot": 4})
        assert seen["a_bot"]["buffer"][-1].tolist() == [-1, 2]  # the question was heard
        assert np.flatnonzero(seen["a_bot"]["action_mask"]).tolist() == [0, 1, 2, 3]
        seen, *_ = env.step({"q_bot": 4, "a_bot": 3})
    asked = game.objects.values[game.object[0]][game.tasks[game.task[0]]]
    _, rewards, *_ = env.step({"q_bot": 5 + 4 * asked[0] + asked[1], "a_bot": 5 + 16})
    assert rewards == {"q_bot": 1.0, "a_bot": 1.0}


def test_three_questions_and_four_answers_are_enough() -> None:
    """The protocol that the paper hopes for: Q-bot asks for an attribute by its token, A-bot says the value."""
    rng = np.random.default_rng(0)
    game = TaskAndTalkGame(500, rng)
    talk = Negotiation(game, TalkRules(**game.talk), rng)  # type: ignore[arg-type]
    talk.reset()
    rows, placeholder, asked = np.arange(500), np.full(500, 4), game.tasks[game.task]
    for turn in range(2):
        talk.step(np.stack([asked[:, turn], placeholder], axis=1))
        question = talk.observe().buffer[:, 1, -1, 1]
        talk.step(np.stack([placeholder, game.objects.values[game.object][rows, question]], axis=1))
    first, second = talk.observe().buffer[:, 0, -2:, 1].T.astype(np.int64)
    step = talk.step(np.stack([5 + 4 * first + second, np.full(500, 5 + 16)], axis=1))
    assert step.dialogues.success.all()


def test_the_score_is_the_share_of_right_values() -> None:
    game = reset(TaskAndTalkGame, 1)
    game.object[0], game.task[0] = 0b011011, 1  # the values 1, 2, 3; the task asks for the first and the third
    assert game.tasks[1].tolist() == [0, 2]
    for answer, score in ((4 * 1 + 3, 1.0), (4 * 1 + 2, 0.5), (4 * 0 + 3, 0.5), (4 * 3 + 1, 0.0)):
        outcome = game.play(np.array([[answer, 16]]), np.array([0]))
        assert (outcome.score.tolist(), outcome.success.tolist()) == ([score], [score == 1])
        assert outcome.rewards.tolist() == [[1.0 if score == 1 else -1.0] * 2]
        game.reward = "each"
        assert game.play(np.array([[answer, 16]]), np.array([0])).rewards.tolist() == [[2 * score - 1] * 2]
        game.reward = "both"
    assert len(reset(TaskAndTalkGame, 1, tasks="unordered").tasks) == 3


def test_how_the_pair_is_named_changes_no_rule() -> None:
    """The same moves, observations and outcomes; the parts of an answer are its two values."""
    whole, apart = (reset(TaskAndTalkGame, 64, naming=naming) for naming in ("pair", "values"))
    assert whole.move_names == apart.move_names
    np.testing.assert_array_equal(whole.observe(), apart.observe())
    moves = np.stack([np.arange(64) % 16, np.full(64, 16)], axis=1)
    assert whole.play(moves, np.arange(64)).success.tolist() == apart.play(moves, np.arange(64)).success.tolist()
    assert not hasattr(whole, "move_parts")
    assert [*apart.move_names[:-1]] == ["{} {}".format(*parts) for parts in apart.move_parts[:-1]]
    assert apart.move_parts[-1] == (-1, -1)


def test_a_wrong_answer_may_cost_more_than_a_right_one_gains() -> None:
    game = reset(TaskAndTalkGame, 1, wrong_costs=10.0)
    game.object[0], game.task[0] = 0b011011, 1
    assert game.play(np.array([[4 * 1 + 3, 16]]), np.array([0])).rewards.tolist() == [[1.0] * 2]
    assert game.play(np.array([[4 * 1 + 2, 16]]), np.array([0])).rewards.tolist() == [[-10.0] * 2]
    game.reward = "each"
    assert game.play(np.array([[4 * 1 + 2, 16]]), np.array([0])).rewards.tolist() == [[-4.5] * 2]


@pytest.mark.parametrize(
    ("retry", "meanings", "again"), [(0.8, "training", 0.8), (0.8, "all", 0.0), (0.0, "training", 0.0)]
)
def test_lost_objects_of_a_training_come_more_often(retry: float, meanings: str, again: float) -> None:
    game = reset(TaskAndTalkGame, 4_000, retry=retry, meanings=meanings)
    everyone = np.ones(4_000, np.bool_)
    for _ in range(2):  # each object comes with each task; wrong where the colour is 0 and the task is the first
        wanted = np.take_along_axis(game.objects.values[game.object], game.tasks[game.task], axis=1)
        wrong = (game.object < 16) & (game.task == 0)
        answers = (4 * wanted[:, 0] + wanted[:, 1] + wrong) % 16
        outcome = game.play(np.stack([answers, np.full(4_000, 16)], axis=1), np.arange(4_000))
        assert (outcome.success == ~wrong).all()
        game.reset(everyone)
    known = game.objects.values[game.object]
    is_lost = known[:, 0] == 0
    assert is_lost.mean() == pytest.approx(again + (1 - again) / 4, abs=0.03)
    shares = np.bincount(game.task[is_lost]) / is_lost.sum()  # with any task, not with the one alone
    assert shares == pytest.approx(np.full(6, 1 / 6), abs=0.04)
    shown = game.observe()[:, 1, -12:].reshape(-1, 3, 4).argmax(axis=2)
    np.testing.assert_array_equal(shown, known)
    before = game.private()
    game.reset(~everyone)
    np.testing.assert_array_equal(game.private(), before)


def test_lost_objects_are_never_those_that_are_held_out() -> None:
    game = reset(TaskAndTalkGame, 2_000, retry=0.9, meanings="training", held_out=0.2)
    for _ in range(5):
        assert not game.held_out(game.private()).any()
        game.play(np.zeros((2_000, 2), np.int64), np.arange(2_000))
        game.reset(np.ones(2_000, np.bool_))


def test_where_nothing_was_lost_all_games_are_drawn_alike() -> None:
    game = reset(TaskAndTalkGame, 6_000, retry=0.9, meanings="training")
    game.lost[:] = False
    game.reset(np.ones(6_000, np.bool_))
    assert len(np.unique(game.object * 6 + game.task)) == 384


def test_who_draws_all_alike_does_not_say_otherwise() -> None:
    assert "lost objects come more often" in reset(TaskAndTalkGame, 1, retry=0.9, meanings="training").notes[0]
    assert reset(TaskAndTalkGame, 1, retry=0.9).notes == ()


def test_which_games_were_lost_is_restored() -> None:
    game, other = (reset(TaskAndTalkGame, 4, retry=0.9, meanings="training") for _ in range(2))
    game.lost[:60] = False
    other.restore(game.state())
    np.testing.assert_array_equal(other.lost, game.lost)
    with pytest.raises(ValueError, match="lost"):
        other.restore({**game.state(), "lost": np.zeros(4, np.int64)})
    kept = reset(TaskAndTalkGame, 4, retry=0.9, meanings="training", held_out=0.2)
    kept.restore({**kept.state(), "lost": np.ones((64, 6), np.int8)})
    assert (kept.lost.all(axis=1) == ~kept.objects.kept_from_training).all()
    plain = reset(TaskAndTalkGame, 4, meanings="training")
    plain.restore({**plain.state(), "lost": np.zeros(4, np.int64)})  # as runs without retries were saved before


def test_games_in_progress_are_restored() -> None:
    for game, options in (
        (TaskAndTalkGame, {}), (SignallingGame, {"n_attributes": 2, "n_distractors": 2}), (CrossingPriorityGame, {}),
    ):  # fmt: skip
        rng = np.random.default_rng(0)
        talk = Negotiation(game(5, rng, **options), TalkRules(), rng)
        talk.reset()
        other = np.random.default_rng(9)
        copy = Negotiation(game(5, other, **options), TalkRules(), other)
        copy.reset()
        copy.restore(talk.state())  # type: ignore[arg-type]
        assert (copy.observe().features == talk.observe().features).all()
        assert (copy.game.private() == talk.game.private()).all()
        for each in (talk, copy):
            each.reset()
        assert (copy.game.private() == talk.game.private()).all()


# -- bounds and bad input ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("closing", ["mutual", "any", "fixed"])
@pytest.mark.parametrize("opening", ["talk", "free"])
@pytest.mark.parametrize(("n_tokens", "rounds"), [(1, 3), (2, 1), (2, 3), (3, 2)])
def test_a_sender_alone_has_as_many_messages(n_tokens: int, rounds: int, opening: str, closing: str) -> None:
    """All that it can say, tried in the engine."""
    rules = TalkRules(n_tokens, rounds, opening, closing=closing)  # type: ignore[arg-type]
    open_talks, heard = [()], set()
    while open_talks:
        said = open_talks.pop()
        rng = np.random.default_rng(0)
        talk = Negotiation(SignallingGame(1, rng, n_values=4), rules, rng)
        talk.reset()
        for symbol in said:
            waits = int(talk.mask()[0, 1].argmax()) if talk.phase[0] else rules.eot + 1
            talk.step(np.array([[symbol, waits]]))
        sender = np.flatnonzero(talk.mask()[0, 0])
        if (sender > rules.eot).any():  # it may move: the receiver acts on what it has heard
            heard.add(said)
        open_talks += [(*said, int(s)) for s in sender[sender <= rules.eot]]
    assert len(heard) == messages(rules, n_tokens, alone=True)


@pytest.mark.parametrize("closing", ["mutual", "any", "fixed"])
@pytest.mark.parametrize("opening", ["talk", "free"])
@pytest.mark.parametrize(("n_tokens", "rounds"), [(1, 2), (2, 2), (1, 3)])
def test_with_others_silence_in_the_first_round_may_be_followed_by_more(
    n_tokens: int, rounds: int, opening: str, closing: str
) -> None:
    """All that one train can say to one that keeps talking, tried in the engine: what the other sees at its move."""
    rules = TalkRules(n_tokens, rounds, opening, closing=closing)  # type: ignore[arg-type]
    heard = set()
    for script in product(range(rules.eot + 2), repeat=rounds + 1):
        rng = np.random.default_rng(0)
        talk = Negotiation(CrossingPriorityGame(1, rng), rules, rng)
        talk.reset()
        for action in script:
            mask = talk.mask()[0]
            if talk.phase[0] == 2:  # both move
                heard.add(talk.observe().buffer[0, 1].tobytes())
                break
            if not mask[0, action]:
                break
            talk.step(np.array([[action, int(mask[1].argmax())]]))
    assert len(heard) == messages(rules, n_tokens, alone=False)


def test_what_cannot_be_told_is_said_with_the_bound() -> None:
    def says(env: str, rules: TalkRules, **options: Any) -> list[str]:
        return bounds_of_talk(Config(env=f"emcomm/{env}-v1", rules=rules, game_options=options))

    one = TalkRules(n_tokens=4, max_rounds=1, opening="talk", closing="fixed")
    assert says("signalling", one) == []
    assert says("signalling", one, n_attributes=2) == [
        "the sender knows one of 16 meanings, and its symbols tell at most 4 apart in 1 round"
    ]
    two = TalkRules(n_tokens=4, max_rounds=2, opening="talk", closing="fixed")
    assert says("signalling", two, n_attributes=2) == []
    assert says("task-and-talk", two)[0].startswith("the answerer knows one of 64 meanings")
    assert says("crossing", one) == says("crossing-priority", TalkRules()) == []
    assert says("signalling", TalkRules(n_tokens=1, max_rounds=1, channel="off")) == []


@pytest.mark.parametrize(
    ("game", "options", "says"),
    [
        (CrossingPriorityGame, {"n_delays": 1}, "n_delays must be from 2 to 100, not 1"),
        (SignallingGame, {"held_out": 1.0}, "held_out 1 of 4 meanings leaves no training meaning: at most 3 can be"),
        (SignallingGame, {"n_attributes": 2, "held_out": 0.9}, "leaves no training meaning with some value: at most"),
        (SignallingGame, {"held_out": -0.1}, "held_out is a share from 0 to 1, not -0.1"),
        (SignallingGame, {"meanings": "held_out"}, "held_out 0.0 holds no meaning out"),
        (SignallingGame, {"meanings": "some"}, "meanings must be one of all, training, held_out, not 'some'"),
        (SignallingGame, {"split_seed": -1}, "split_seed must not be negative"),
        (SignallingGame, {"held_out_objects": "1 4"}, "different numbers from 0 to 3, as in '0 3', not '4'"),
        (SignallingGame, {"held_out_objects": "1 x"}, "different numbers from 0 to 3, as in '0 3', not 'x'"),
        (SignallingGame, {"held_out_objects": "1, 2, 1"}, "different numbers from 0 to 3, as in '0 3', not '1'"),
        (SignallingGame, {"held_out_objects": "01"}, "not '01'"),
        (SignallingGame, {"held_out_objects": "²"}, "not '²'"),
        (SignallingGame, {"held_out_objects": "9" * 5_000}, "different numbers from 0 to 3"),
        (SignallingGame, {"held_out_objects": ","}, "different numbers from 0 to 3, as in '0 3', not ','"),
        (SignallingGame, {"held_out_objects": False}, "not 'False'"),
        (SignallingGame, {"held_out_objects": 1.0}, "not '1.0'"),
        (SignallingGame, {"held_out_objects": [0, 1]}, r"not '\[0'"),
        (SignallingGame, {"held_out_objects": b"1"}, """not "b'1'\""""),
        (SignallingGame, {"held_out_objects": np.array([0, 1])}, r"not '\[0'"),
        (SignallingGame, {"held_out_objects": "0 1 2 3"}, "leaves no training meaning with state 0"),
        (SignallingGame, {"held_out_objects": "1", "held_out": 0.5}, "leave out held_out 0.5"),
        (TaskAndTalkGame, {"n_values": 2, "held_out_objects": "2 3 6 7"}, "no training meaning with shape 1"),
        (SignallingGame, {"frequencies": "even"}, "frequencies must be one of uniform, zipf, not 'even'"),
        (SignallingGame, {"n_values": 1}, "n_values must be at least 2, not 1"),
        (SignallingGame, {"n_attributes": 0}, "n_attributes must be at least 1, not 0"),
        (SignallingGame, {"n_values": 100, "n_attributes": 9}, "100 to the power of n_attributes 9 must be at most"),
        (SignallingGame, {"n_values": 20, "n_attributes": 3}, "there would be 8,000 acts, at most 4,096"),
        (SignallingGame, {"n_distractors": 4}, "n_distractors must be from 0 to 3, the other objects, not 4"),
        (
            SignallingGame,
            {"n_values": 4, "held_out": 0.5, "meanings": "training", "n_distractors": 2},
            "from 0 to 1, the other objects of the 2 that are drawn here, not 2",
        ),
        (TaskAndTalkGame, {"n_attributes": 2, "n_values": 182}, "n_values must be at most 181, not 182: a pair is one"),
        (TaskAndTalkGame, {"q_tokens": 0}, "q_tokens must be from 1 to 126, not 0: a role needs tokens to talk"),
        (TaskAndTalkGame, {"a_tokens": 127}, "a_tokens must be from 1 to 126, not 127"),
        (TaskAndTalkGame, {"n_attributes": 1}, "n_attributes must be at least 2, not 1: a task names two"),
        (TaskAndTalkGame, {"reward": "none"}, "reward must be both or each, not 'none'"),
        (TaskAndTalkGame, {"wrong_costs": -1.0}, "wrong_costs must be from 0 to 1e6, not -1.0"),
        (TaskAndTalkGame, {"wrong_costs": 1e39}, r"wrong_costs must be from 0 to 1e6, not 1e\+39"),
        (TaskAndTalkGame, {"wrong_costs": float("nan")}, "wrong_costs must be from 0 to 1e6, not nan"),
        (TaskAndTalkGame, {"retry": 1}, "retry must be at least 0 and less than 1, not 1"),
        (TaskAndTalkGame, {"naming": "one"}, "naming must be pair or values, not 'one'"),
        (TaskAndTalkGame, {"tasks": "all"}, "tasks must be ordered or unordered, not 'all'"),
    ],
)
def test_an_option_that_cannot_be_played_with_is_named(game: type, options: dict, says: str) -> None:
    with pytest.raises(BadOption, match=says):
        game(2, np.random.default_rng(0), **options)


def test_a_game_with_more_moves_than_a_log_can_count_is_refused() -> None:
    game = CrossingPriorityGame(1, np.random.default_rng(0))
    game.move_names = tuple(map(str, range(40_000)))
    with pytest.raises(BadGame, match="there are 40,000 moves: at most 32,767 fit into a log"):
        declared(game)


def test_objects_of_many_values_take_no_square_of_memory() -> None:
    game = reset(SignallingGame, 1, n_values=65_536, n_distractors=3)
    hot = game.objects.one_hot(np.array([0, 65_535]))
    assert hot.shape == (2, 65_536)
    assert [row.nonzero()[0].tolist() for row in hot] == [[0], [65_535]]


@pytest.mark.parametrize("value", ["1e308", "1E300"])
def test_a_vast_number_is_a_number(value: str) -> None:
    assert game_options([f"wrong_costs={value}"]) == {"wrong_costs": float(value)}


def test_a_role_with_more_tokens_than_there_are_is_one_line() -> None:
    config = Config(env="emcomm/task-and-talk-v1", rules=TalkRules(n_tokens=3))
    with pytest.raises(BadInput, match="a_bot has 4 tokens, and there are 3: --n-tokens 4"):
        make_negotiation(config, 1, np.random.SeedSequence(0))


# -- trained -----------------------------------------------------------------------------------------------------------


def test_training_never_draws_what_evaluation_is_asked_about(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole_log: Callable
) -> None:
    monkeypatch.chdir(tmp_path)
    done = call(
        "train", "--env", "emcomm/task-and-talk-v1", "--game-options", "held_out=0.2", "--workers", 0,
        "--episodes", 600, "--games", 32, "--evaluation-games", 600, "--hidden-size", 8, "--run-name", "talk",
        "--policies", "by-role", "--torso", "gru,window", "--window", 1,
    )  # fmt: skip
    assert done.code == 0, done.err
    assert "the answerer knows one of 64 meanings, and its symbols tell at most 16 apart in 2 rounds" in done.out
    config = json.loads((tmp_path / "logs/talk/config.json").read_text())["config"]
    assert config["game_options"] == {"held_out": 0.2}
    assert {n: config["rules"][n] for n in ("n_tokens", "max_rounds", "closing", "speaking")} == {
        "n_tokens": 4, "max_rounds": 2, "closing": "fixed", "speaking": "sequential",
    }  # fmt: skip
    game = TaskAndTalkGame(1, np.random.default_rng(0), held_out=0.2)
    trained, evaluated = (whole_log(tmp_path / "logs/talk" / log) for log in ("dialogues", "evaluation"))
    assert not game.held_out(trained.private).any()
    assert game.held_out(evaluated.private).mean() == pytest.approx(0.2, abs=0.07)
    said = call("play", "logs/talk", "--games", 1)
    assert "task" in said.out
    assert "colour" in said.out


def test_each_role_has_a_torso_of_its_own() -> None:
    rules = TalkRules(n_tokens=4, max_rounds=2)
    config = Config(env="emcomm/task-and-talk-v1", rules=rules, policies="by-role", torso="gru,window")
    policy = make_policy(config)
    assert [policy.seat(agent).recurrent for agent in range(2)] == [True, False]
    assert not policy.recurrent
    for torso, policies, says in (
        ("gru,window,gru", "by-role", "names 3 torsos, and with --policies by-role there are 2 networks"),
        ("gru,lstm", "by-role", "must have memories of one size"),
        ("window,none", "separate", "all see the talk or none"),
        ("gru,windo", "by-role", "unknown torso 'windo'"),
    ):
        with pytest.raises(BadInput, match=says):
            make_policy(Config(env="emcomm/task-and-talk-v1", rules=rules, policies=policies, torso=torso))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="names 2 torsos: give policies by-role or separate"):
        Config(torso="gru,window")


def test_the_bound_counts_what_is_known_by_those_who_come_to_speak() -> None:
    """Nobody speaks at once on the line; the second bargainer speaks second; a car's place leaves it few routes."""

    def says(env: str, n_tokens: int, rounds: int, **options: Any) -> list[str]:
        rules = with_talk(Config(env=f"emcomm/{env}-v1")).rules
        rules = replace(rules, n_tokens=n_tokens, max_rounds=rounds)
        return bounds_of_talk(Config(env=f"emcomm/{env}-v1", rules=rules, game_options=options))

    assert says("line", 1, 1)[0].startswith("the agent knows one of 8 meanings")
    assert ["1,331 meanings" in line for line in says("item-split", 2, 1)] == [True, True]
    assert "to 1,331 meanings" in says("item-split", 1, 40)[0]  # a talk that takes most of the steps
    assert says("traffic-junction", 16, 1) == []  # 14 pairs of place and route, 17 symbols
    assert says("traffic-junction", 12, 1)[0].startswith("the agent knows one of 14 meanings")
    assert says("traffic-junction", 16, 2, level="hard")[0].endswith(
        "to 7,168 meanings, and its symbols tell at most 289 apart in 2 rounds"
    )


@pytest.mark.parametrize(("attributes", "values"), [(2, 3), (3, 4), (2, 2), (1, 5)])
def test_as_much_as_possible_can_be_held_out(attributes: int, values: int) -> None:
    """All but one meaning for each value, whatever the seed; of one attribute all but one."""
    every = values**attributes
    most = every - values if attributes > 1 else every - 1
    for seed in range(60):
        meanings = Meanings(attributes, values, most / every, seed)
        assert meanings.kept_from_training.sum() == most
        left = meanings.values[~meanings.kept_from_training]
        assert attributes == 1 or all(len(set(column)) == values for column in left.T.tolist())
    with pytest.raises(BadOption, match=f"at most {most} can be held out"):
        Meanings(attributes, values, (most + 1) / every)
    with pytest.raises(BadOption, match="is none: give at least"):
        Meanings(attributes, values, 0.4 / every)
