"""Any PettingZoo environment by name: what is played, what is said of it, and what is refused in one line."""

from __future__ import annotations

import io
import json
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import analysis
from analysis.causal.audit.subjects import named_environment
from analysis.data.decisions import NotApplicable
from analysis.data.dialogue_text import table_of
from analysis.metrics.failure_modes import failure_kinds
from analysis.metrics.success import SuccessTally
from analysis.report.pipeline import QUICK, study
from analysis.report.run_comparison import compare
from analysis.report.write import render
from emcomm.a3c import Contribution, Learner, Worker, seed_of_worker
from emcomm.config import Config
from emcomm.dialogues import DialogueTable, DialogueWriter, concatenate, read_part
from emcomm.errors import BadInput
from emcomm.evaluation import Tally, evaluate
from emcomm.games import game_class, with_talk
from emcomm.progress import Course, LiveLine, duration
from emcomm.seat import Words
from emcomm.statistics import mean_of
from emcomm.train import main
from emcomm.worlds import make_negotiation, make_policy, notes_of_game
from envs import BadEnvironment, BadGame, Negotiation, ParallelGame, TalkRules, declared, negotiable
from envs.game import plain_declaration
from envs.moves import legal_of, moves_of, names_of
from tests.games import Plain, SameMove, changed
from tests.strangers import Lamps, Shift, lamps

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")

Call = Callable[..., Any]
MPE = "mpe2.simple_reference_v3:parallel_env"


def of(name: str) -> str:
    return f"tests.strangers:{name}"


def played(env: str, games: int = 4, steps: int = 60, channel: str = "off", **options: Any) -> tuple[Negotiation, list]:
    """A negotiation in which all act at random, and the dialogues of it."""
    rng = np.random.default_rng(0)
    game = game_class(env, options)(games, rng)
    talk = Negotiation(game, TalkRules(channel=channel, max_rounds=2), rng)
    talk.reset()
    dialogues = []
    for _ in range(steps):
        mask = talk.mask()
        step = talk.step((rng.random(mask.shape) * mask).argmax(axis=2))
        dialogues.append(step.dialogues)
        talk.reset(step.over)
    return talk, dialogues


# -- what can be named -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env", "options", "agents", "moves"),
    [
        (MPE, {}, ("agent_0", "agent_1"), 50),
        (MPE, {"max_cycles": 3}, ("agent_0", "agent_1"), 50),
        ("mpe2.simple_reference_v3:env", {}, ("agent_0", "agent_1"), 50),
        ("mpe2.simple_spread_v3:parallel_env", {"N": 4}, tuple(f"agent_{i}" for i in range(4)), 5),
        ("mpe2.simple_speaker_listener_v4:parallel_env", {}, ("speaker_0", "listener_0"), 5),
        ("mpe2.simple_tag_v3:parallel_env", {}, ("adversary_0", "adversary_1", "adversary_2", "agent_0"), 5),
        ("mpe2.simple_spread_v3:parallel_env", {"continuous_actions": True, "N": 2}, ("agent_0", "agent_1"), 3**5),
        ("pettingzoo.classic.rps_v2:parallel_env", {"max_cycles": 4}, ("player_0", "player_1"), 3),
        ("pettingzoo.classic.rps_v2:env", {}, ("player_0", "player_1"), 3),
        ("pettingzoo.classic.tictactoe_v3:env", {}, ("player_1", "player_2"), 9 + 1),
        (of("Lamps"), {"lamps": 5}, ("watcher", "worker"), 5),
        (of("lamps"), {"lamps": 5}, ("watcher", "worker"), 5),
        (of("needy"), {"size": 2}, ("watcher", "worker"), 2),
        (of("THE_LAMPS"), {}, ("watcher", "worker"), 4),
        (of("Shift"), {}, ("boss", "day_0", "night_0"), 6),
        (of("Unannounced"), {}, ("boss", "day_0"), 6),
        (of("Dials"), {"bins": 4}, ("watcher", "worker"), 16),
        (of("Cameras"), {}, ("watcher", "worker"), 3),
        (of("Turns"), {}, ("player_0", "player_1"), 2 + 1),
    ],
    ids=str,
)
def test_an_environment_is_played_by_its_name(env: str, options: dict, agents: tuple[str, ...], moves: int) -> None:
    talk, dialogues = played(env, 2, 12, **options)
    assert talk.declaration.agent_names == agents
    assert len(talk.declaration.move_names) == moves
    assert not talk.declaration.has_success
    assert sum(len(d.game) for d in dialogues) == 24
    assert all(not len(d.success) and not len(d.score) for d in dialogues)


def test_games_of_arrays_are_still_games() -> None:
    assert isinstance(game_class("tests.games:Signal")(2, np.random.default_rng(0)), Plain)
    assert game_class("emcomm/crossing-v1")(1, np.random.default_rng(0)).move_names == ("main", "detour")


@pytest.mark.parametrize(
    ("env", "options", "says"),
    [
        (of("Lamps"), {"lamp": 3}, "Lamps has no option 'lamp': its options are bonus, lamps"),
        (of("Lamps"), {"lamps": "many"}, "the option lamps of tests.strangers:Lamps cannot be 'many'"),
        (of("needy"), {}, "needy: it needs the option size: --game-options size=VALUE"),
        (MPE, {"colour": 3}, r"cannot be made: .*unexpected keyword argument 'colour'"),
        (of("THE_LAMPS"), {"lamps": 3}, "THE_LAMPS is made already, and takes no options: name what makes it"),
        ("collections:OrderedDict", {}, "cannot be built as a game like envs.game.Game"),
        ("os:getcwd", {}, "os:getcwd cannot be built as a game .*, and makes a str, which is no PettingZoo environ"),
        ("mpe2:simple_reference_v3", {}, "or make a PettingZoo environment, as module:parallel_env does"),
        ("mpe2.simple_v3:parallel_env", {}, "talk takes two: simple_v3 has 1 agent"),
        (of("Unbounded"), {}, r"the actions of watcher in .*: Box\(-inf, inf.* has no bounds to place moves between"),
        (of("Dials"), {"bins": 40}, r"Box.* with 40 values for each number has 1600 moves, more than 1,024: .*bins=2"),
        (of("Dials"), {"bins": 1}, "bins must be a whole number from 2 to 1000, not 1"),
        (of("LargeCameras"), {}, r"observations of watcher are 132,300 numbers .*, more than 10,000: .* resize_v1"),
        (of("Proud"), {}, "the success of .* must be a function from the rewards .*, not an int"),
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_played_is_refused_in_one_line(env: str, options: dict, says: str) -> None:
    with pytest.raises(BadInput, match=says) as refused:
        with_talk(Config(env=env, game_options=options))
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("env", "says"),
    [
        ("Broken", "the reward of worker in lamps_v0 is nan, and must be finite"),
        ("Blind", "worker sees 0 numbers in lamps_v0, and its observation_space has 1"),
        ("Guests", "night_0 comes to shift_v0, whose possible_agents do not name it"),
    ],
)
def test_an_environment_that_breaks_its_word_ends_the_training_in_one_line(
    call: Call, tmp_path: Path, env: str, says: str
) -> None:
    done = call(
        "train", "--env", of(env), "--workers", 0, "--episodes", 100, "--games", 4, "--log-dir", tmp_path,
        "--channel", "off", "--hidden-size", 8,
    )  # fmt: skip
    assert done.code == 2
    assert done.err == f"emcomm: {says}\n"


# -- moves -------------------------------------------------------------------------------------------------------------


def test_each_number_of_a_box_takes_evenly_spaced_values() -> None:
    box = spaces.Box(np.array([0.0, -1.0], np.float32), np.array([1.0, 1.0], np.float32))
    assert [a.tolist() for a in moves_of(box, 2)] == [[0, -1], [0, 1], [1, -1], [1, 1]]
    assert moves_of(box, 5)[1].tolist() == [0, -0.5]
    assert names_of(moves_of(box, 2)) == ("[0 -1]", "[0 1]", "[1 -1]", "[1 1]")
    whole = spaces.Box(0, 2, (1,), np.int32)
    assert [a.tolist() for a in moves_of(whole, 9)] == [[0], [1], [2]]  # no more values than there are
    assert moves_of(whole)[0].dtype == np.int32


def test_combinations_are_listed_with_the_last_part_changing_first() -> None:
    both = spaces.Tuple((spaces.Discrete(2), spaces.MultiDiscrete([1, 2], start=[5, 5])))
    assert [(a, b.tolist()) for a, b in moves_of(both)] == [(0, [5, 5]), (0, [5, 6]), (1, [5, 5]), (1, [5, 6])]
    named = moves_of(spaces.Dict({"go": spaces.Discrete(2), "say": spaces.MultiBinary(1)}))
    assert names_of(named) == ("go=0 say=[0]", "go=0 say=[1]", "go=1 say=[0]", "go=1 say=[1]")
    assert all(spaces.Dict({"go": spaces.Discrete(2), "say": spaces.MultiBinary(1)}).contains(a) for a in named)


def test_a_mask_over_values_is_a_mask_over_their_combinations() -> None:
    space = spaces.MultiDiscrete([2, 3])
    expected = [True, False, True, False, False, False]
    assert legal_of((np.array([1, 0]), np.array([1, 0, 1])), space, 6).tolist() == expected
    assert legal_of([1, 0, 1, 0, 1], space, 6).tolist() == expected
    with pytest.raises(ValueError, match="an action mask must have 3 entries, one for each action, not 4"):
        legal_of([1, 1, 1, 1], spaces.Discrete(3), 3)


def test_a_mask_over_the_parts_of_an_action_allows_their_combinations() -> None:
    pair = spaces.Tuple([spaces.Discrete(2), spaces.Discrete(2)])
    first, any_of_two = np.array([1, 0], np.int8), np.array([1, 1], np.int8)
    assert legal_of((first, any_of_two), pair, 4).tolist() == [True, True, False, False]
    assert legal_of((None, first), pair, 4).tolist() == [True, False, True, False]
    assert legal_of([1, 0, 1, 1], pair, 4).tolist() == [True, False, True, True]  # one over all combinations
    named = spaces.Dict({"grip": spaces.Discrete(2), "turn": spaces.Box(-1, 1, (1,))})
    assert legal_of({"grip": first, "turn": None}, named, 10, bins=5).tolist() == [True] * 5 + [False] * 5
    with pytest.raises(BadEnvironment, match="must have 2 parts, not 3"):
        legal_of((first, first, first), pair, 4)
    with pytest.raises(BadEnvironment, match="must have the parts grip, turn, not grip"):
        legal_of({"grip": first}, named, 10)


@pytest.mark.parametrize(
    "space",
    [
        spaces.Box(-np.inf, np.inf, (1,), np.int64),  # whole numbers have no infinity: it is their last one
        spaces.Box(0, 2**64 - 1, (1,), np.uint64),
        spaces.Box(-1.7e308, 1.7e308, (1,), np.float64),
    ],
)
def test_numbers_between_which_none_can_be_placed_are_no_actions(space: spaces.Box) -> None:
    with pytest.raises(BadEnvironment, match="has no bounds to place moves between"):
        moves_of(space)


class Numbered(Lamps):
    """Its agents are numbers, and one sees a number that the networks' numbers cannot hold."""

    def __init__(self, seen: float = 0.0) -> None:
        super().__init__()
        self.possible_agents, self.seen = [1, 2], seen  # type: ignore[list-item]

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        return spaces.Box(-np.inf, np.inf, (1,), np.float64)

    def action_space(self, agent: str) -> spaces.Space[Any]:
        return spaces.Discrete(2)

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        self.agents = list(self.possible_agents)
        return {agent: np.array([self.seen]) for agent in self.agents}, {agent: {"of": agent} for agent in self.agents}


def test_agents_that_are_numbers_keep_their_names_and_infos() -> None:
    env = negotiable(Numbered())
    observations, infos = env.reset(seed=0)
    assert env.agents == env.possible_agents == [*observations] == [1, 2]
    assert infos == {1: {"of": 1}, 2: {"of": 2}}


def test_the_state_lies_in_its_space_before_everybody_has_come() -> None:
    env = negotiable(Shift(), max_rounds=2)
    env.reset(seed=0)
    assert set(env.agents) < set(env.possible_agents)
    assert env.state() in env.state_space
    env = negotiable(LateAndHigh(), max_rounds=2)
    env.reset(seed=0)
    assert env.agents == [1]
    assert env.state() in env.state_space


class LateAndHigh(Numbered):
    """All that is seen is 1 or more, and one of two has not come yet."""

    def observation_space(self, agent: str) -> spaces.Space[Any]:
        return spaces.Box(1, 5, (1,), np.float64)

    def reset(self, seed: int | None = None, options: Any = None) -> Any:
        self.agents = [1]  # type: ignore[list-item]
        return {1: np.ones(1)}, {1: {}}


def test_a_number_beyond_float32_is_refused_as_infinite() -> None:
    with pytest.raises(BadEnvironment, match=r"1 sees inf in .*: observations must be finite numbers"):
        negotiable(Numbered(1e300)).reset(seed=0)


def test_who_waits_for_its_turn_can_only_pass() -> None:
    talk, dialogues = played(of("Turns"), 3, 30)
    assert talk.declaration.move_names == ("0", "1", "pass")
    moves = np.concatenate([d.moves for d in dialogues])
    assert ((moves == 2).sum(axis=1) == 1).all()
    env = talk.game.envs[0].aec_env  # type: ignore[attr-defined]
    assert env.by == [f"player_{i % 2}" for i in range(len(env.by))]
    rewards = np.concatenate([d.rewards[d.last] for d in dialogues])
    assert len(rewards) > 5
    assert (np.sort(rewards, axis=1) == [-1, 1]).all()


# -- agents ------------------------------------------------------------------------------------------------------------


def test_agents_that_die_or_arrive_late() -> None:
    """What the environment itself asserts: actions of those who are there, legal ones, and of nobody else."""
    talk, dialogues = played(of("Shift"), 3, 50, channel="open")
    moves, rewards = (np.concatenate([getattr(d, name) for d in dialogues]) for name in ("moves", "rewards"))
    last = np.concatenate([d.last for d in dialogues])
    assert last.sum() > 3
    present = {tuple(row) for row in (moves >= 0).tolist()}
    assert present == {(True, True, False), (True, True, True), (True, False, True)}
    assert (moves[:, 0] <= 1).all()  # the mask in its info
    assert set(np.unique(moves[:, 2])) == {-1, 1, 2}  # the mask in what it sees, which changes
    assert (rewards[moves < 0] == 0).all()
    spoken = np.concatenate([d.speaks for d in dialogues])
    assert (spoken == (moves >= 0)).all()
    assert all(set(actions) <= {"boss", "day_0", "night_0"} for env in talk.game.envs for actions in env.log)  # type: ignore[attr-defined]


def test_agents_of_one_kind_are_of_one_role() -> None:
    def roles(env: str, **options: Any) -> dict[str, list[str]]:
        game = declared(game_class(env, options)(1, np.random.default_rng(0)))
        return {
            role: [name for name, own in zip(game.agent_names, game.role_of, strict=True) if own == i]
            for i, role in enumerate(game.roles)
        }

    assert roles("mpe2.simple_tag_v3:parallel_env") == {
        "adversary": ["adversary_0", "adversary_1", "adversary_2"], "agent": ["agent_0"],
    }  # fmt: skip
    assert roles("mpe2.simple_speaker_listener_v4:parallel_env") == {
        "speaker": ["speaker_0"],
        "listener": ["listener_0"],
    }
    assert roles(MPE) == {"agent": ["agent_0", "agent_1"]}
    assert roles(of("Shift")) == {"boss": ["boss"], "day": ["day_0"], "night": ["night_0"]}


def test_what_was_made_of_the_actions_is_said_before_training() -> None:
    config = Config(env=of("Dials"), game_options={"bins": 4})
    assert notes_of_game(config) == [
        "actions MultiBinary(3) as 8 moves",
        "actions Box(-1.0, 1.0, (2,), float32) as 16 moves, 4 values for each number",
        "the game declares no success: what the agents gain is in the return",
    ]
    assert notes_of_game(Config()) == []


# -- success -----------------------------------------------------------------------------------------------------------


def test_success_is_what_the_environment_says() -> None:
    _, dialogues = played(of("LampsThatSay"), 8, 20)
    success, rewards = (np.concatenate([getattr(d, name) for d in dialogues]) for name in ("success", "rewards"))
    assert success.tolist() == (rewards[:, 0] == 1).tolist()
    assert 0 < success.mean() < 1


def test_the_example_of_the_page_declares_a_success() -> None:
    page = (Path(__file__).parents[1] / "docs" / "any-environment.md").read_text()
    [code] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    made: dict[str, Any] = {}
    exec(code, made)
    game = ParallelGame(2, np.random.default_rng(0), lambda: made["make_env"](max_cycles=3))
    game.reset(np.ones(2, np.bool_))
    outcome = game.play(np.zeros((2, 2), np.int64), np.arange(2))
    assert outcome.success is not None
    assert outcome.success.tolist() == (outcome.rewards.min(axis=1) > -0.1).tolist()


@pytest.mark.parametrize(("answer", "says"), [(None, "not None"), (0.5, "not 0.5")])
def test_a_success_that_is_neither_true_nor_false_is_named(answer: object, says: str) -> None:
    def make_env() -> Any:
        env = lamps()
        env.success = lambda rewards: answer  # type: ignore[attr-defined]
        return env

    game = ParallelGame(1, np.random.default_rng(0), make_env)
    game.reset(np.ones(1, np.bool_))
    with pytest.raises(BadEnvironment, match=rf"success\(rewards\) of lamps_v0 must return True or False, {says}"):
        game.play(np.zeros((1, 2), np.int64), np.arange(1))


class Mute(Plain):
    """A game of arrays that declares no success, with a score."""

    has_success = False

    def play(self, moves: np.ndarray, which: np.ndarray) -> Any:
        score = (moves == 0).mean(axis=1).astype(np.float32)
        ended = np.ones(moves.shape, np.bool_)
        return (
            changed(Plain, good=lambda self, moves, which: score > 2)(1, None)
            .play(moves, which)
            ._replace(  # type: ignore[arg-type]
                success=None, score=score, terminated=ended
            )
        )


def test_a_game_that_contradicts_itself_about_success_is_named() -> None:
    rng = np.random.default_rng(0)
    for base, says in (
        (changed(SameMove, has_success=False), "has_success is False, and play\\(\\) says what succeeded"),
        (changed(Mute, has_success=True), "play\\(\\) does not say what succeeded: declare has_success = False"),
    ):
        talk = Negotiation(base(2, rng), TalkRules(channel="off"), rng)  # type: ignore[arg-type]
        talk.reset()
        with pytest.raises(BadGame, match=says):
            talk.step(np.full((2, 2), 6))


def unjudged(table: DialogueTable, **columns: Any) -> DialogueTable:
    """The same dialogues of a game that declares no success."""
    return DialogueTable(
        **{**table.__dict__, "success": np.zeros(0, np.bool_), "score": np.zeros(0, np.float32), **columns}
    )


def test_a_log_without_outcomes_comes_back_as_it_was(tmp_path: Path) -> None:
    table = unjudged(table_of([[(4, 2), (5, 5)], [(1, 1)]], moves=[(0, 1), (1, 1)]))
    game = plain_declaration(2, ("main", "detour"))
    game = type(game)(**{**vars(game), "has_success": False})
    writer = DialogueWriter(tmp_path, 5, game.move_names, game=game)
    writer.add(table)
    writer.close()
    [part] = tmp_path.iterdir()
    back = read_part(part)
    assert not back.judged
    assert not back.scored
    assert back.moves.tolist() == table.moves.tolist()
    assert not back[1:].judged
    with pytest.raises(IndexError):
        _ = back[back.success]  # nobody takes it for a column of failures
    with pytest.raises(ValueError, match="have a success"):
        concatenate([table, table_of([[(4, 2), (5, 5)]])])


def test_a_log_that_contradicts_its_game_is_damaged(tmp_path: Path) -> None:
    writer = DialogueWriter(tmp_path, 5, ("main", "detour"), game=plain_declaration(2, ("main", "detour")))
    writer.add(unjudged(table_of([[(4, 2), (5, 5)]])))
    writer.close()
    [part] = tmp_path.iterdir()
    with pytest.raises(BadInput, match="its dialogues have no outcome, and its game says otherwise"):
        read_part(part)


def test_without_a_success_no_rate_is_made_up() -> None:
    table = unjudged(
        table_of([[(4, 2), (5, 5)]] * 6), episode=np.array([0, 0, 0, 1, 1, 1]), negotiation=np.array([0, 1, 2] * 2),
        rewards=np.array([[1, 3]] * 3 + [[2, 4]] * 3, np.float32), cut=np.array([True] + [False] * 5),
    )  # fmt: skip
    tally = Tally()
    tally.add(table)
    figures = tally.figures()
    assert figures.success is None
    assert (figures.games, figures.joint_moves, figures.returns) == (2, 6, (4.5, 10.5))
    assert figures.returned[:3] == pytest.approx(mean_of(np.array([6.0, 9.0]))[:3])
    assert figures.to_json()["success"] is None
    assert figures.to_json()["score"] is None
    report_of = SuccessTally()
    report_of.add(table)
    report = report_of.result()
    assert (report.judged, report.episodes, report.dialogues, report.n_cut) == (False, 2, 6, 1)
    assert (report.by_rounds, sum(report.failures.values()), report.overall.trials) == ({}, 0, 0)
    assert report.returned[:3] == figures.returned[:3]
    assert list(report.course_frame().columns) == [
        "first_episode", "dialogues", "episodes", "mean_rounds", "cut", "mean_return", "return_low", "return_high",
    ]  # fmt: skip
    assert report.course_frame().mean_return.tolist() == [6, 9]
    with pytest.raises(NotApplicable, match="declares no success"):
        failure_kinds(table)


def test_games_and_joint_moves_are_counted_apart() -> None:
    table = table_of([[(4, 2), (5, 5)]] * 4, moves=[(0, 1), (1, 1), (1, 1), (0, 1)])
    table = DialogueTable(
        **{**table.__dict__, "episode": np.array([0, 0, 1, 1]), "negotiation": np.array([0, 1, 0, 1])}
    )
    tally = SuccessTally()
    tally.add(table)
    report = tally.result()
    assert (report.episodes, report.dialogues) == (2, 4)
    rows = report.to_frame().set_index("group")
    assert rows.loc["all episodes", ["count", "success"]].tolist() == [2, 0.5]  # the last joint move of each
    assert rows.loc["all dialogues", ["count", "success"]].tolist() == [4, 0.5]
    assert report.returned.value == 0


# -- what a person sees ------------------------------------------------------------------------------------------------


def shown_by(course: Course, total: int = 100, width: int = 200) -> str:
    terminal = Console(file=io.StringIO(), force_terminal=True, width=width, height=24)
    line = LiveLine(terminal, 0, total)
    line.show(course)
    line.close()
    return terminal.file.getvalue()  # type: ignore[attr-defined]


def test_progress_before_the_first_episode_ends() -> None:
    config = Config(env=of("EndlessLamps"), workers=0, games=4, unroll=8, hidden_size=8, rules=TalkRules(channel="off"))
    worker, course = Worker(config, 0, seed_of_worker(config, 0)), Course(0, {})
    learner = Learner(config)
    for _ in range(3):
        contribution = worker.contribute(learner.assignment(0))
        assert contribution.dialogues is None
        course.add(contribution, 0, 0)
    assert (course.played, course.longest) == (3 * 8 * 4, 24)
    assert 24 * 0.25 <= course.return_so_far <= 24
    said = shown_by(course)
    assert "no episode has ended yet: 96 joint moves" in said
    assert f"the longest episode has 24, the mean return so far is {course.return_so_far:.3f}" in said
    assert "nan" not in said


def test_nothing_is_cut_on_a_narrow_terminal() -> None:
    table = table_of([[(4, 2), (5, 5)]] * 30)
    begun, course = Course(0, {}), Course(0, {})
    begun.add(Contribution(np.zeros(1), 0, None, 8, 0.0, 0.0, 1_000_000, 25_000, -1234.5), 0, 0)
    course.add(Contribution(np.zeros(1), 0, table, 8, 0.0, 0.0), 0, 999_000, 24_000_000)
    for one, last in ((begun, "-1234.500"), (course, "episodes/s")):
        said = shown_by(one, 1_000_000, 80)
        assert last in said
        assert "…" not in said


def test_no_time_left_is_told_before_anything_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Console(file=io.StringIO(), width=200)
    line = LiveLine(plain, 0, 1_000_000)
    line._next_line = 0.0
    course = Course(0, {})
    course.add(Contribution(np.zeros(1), 0, None, 8, 0.0, 0.0, 4, 4, -1.5), 0, 0)
    line.show(course)
    said = plain.file.getvalue()  # type: ignore[attr-defined]
    assert "the mean return so far is -1.500" in said
    assert "left" not in said
    assert [duration(s) for s in (5, 3600, 86_400, 1e9)] == ["5 s", "60 min", "24.0 h", "11,574 days"]


def test_what_is_under_way_is_known_after_a_resume() -> None:
    config = Config(env="tests.games:Trio", workers=0, games=4, unroll=6, hidden_size=8, rules=TalkRules(channel="off"))
    worker, learner = Worker(config, 0, seed_of_worker(config, 0)), Learner(config)
    worker.contribute(learner.assignment(0))
    worker.contribute(learner.assignment(0)._replace(version=1))
    again = Worker(config, 0, seed_of_worker(config, 0))
    again.restore(worker.state())  # type: ignore[arg-type]
    one, other = (w.contribute(learner.assignment(0)) for w in (worker, again))
    assert (one.longest, one.return_so_far) == (other.longest, pytest.approx(other.return_so_far))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on an environment with 7 joint moves and no success, of 40 episodes."""
    folder = tmp_path_factory.mktemp("logs")
    before, sys.argv = sys.argv, [
        "train", "--env", of("SevenLamps"), "--workers", "0", "--episodes", "40", "--games", "8", "--max-rounds", "2",
        "--evaluation-games", "30", "--hidden-size", "8", "--log-dir", str(folder), "--run-name", "many",
    ]  # fmt: skip
    try:
        assert main() == 0
    finally:
        sys.argv = before
    return folder / "many"


def test_summary_and_curves_of_a_run_without_a_success(trained: Path) -> None:
    summary = json.loads((trained / "summary.json").read_text())
    assert (summary["episodes"], summary["joint_moves"], summary["episodes_to_95"]) == (40, 280, None)
    assert summary["recent_success"] is None
    assert summary["recent_return_low"] < summary["recent_return"] < summary["recent_return_high"]
    sampled = summary["evaluation"]["sampled"]
    assert (sampled["games"], sampled["joint_moves"], sampled["success"]) == (30, 210, None)
    assert sampled["return_low"] < sampled["mean_return"] == np.mean(sampled["returns"]) < sampled["return_high"]
    curves = EventAccumulator(str(trained / "tensorboard")).Reload().Tags()["scalars"]
    assert {"mean return", "mean return (95 % low)", "mean return (95 % high)", "joint moves"} <= {*curves}
    assert not [name for name in curves if "success" in name]


def test_every_command_line_of_a_run_without_a_success(call: Call, trained: Path, tmp_path: Path) -> None:
    named = ("--env", of("SevenLamps"))
    refused = call("evaluate", trained)
    assert (refused.code, "is run only if you name it" in refused.err) == (2, True)
    done = call("evaluate", trained, *named, "--evaluation-games", 20)
    assert done.code == 0, done.err
    assert "20 games with 140 joint moves" in " ".join(done.out.split())
    assert re.search(r"sampled +│ \d+\.\d+ \[\d+\.\d+, \d+\.\d+\] +│", done.out)
    assert "the game declares no success" in done.out
    assert "success [95" not in done.out
    told = json.loads(call("evaluate", trained, *named, "--evaluation-games", 20, "--json").out)
    assert (told["sampled"]["games"], told["sampled"]["joint_moves"]) == (20, 140)
    played = call("play", trained, *named, "--games", 2)
    assert (played.code, played.out.count("in all\n")) == (0, 2), played.err
    assert call("verify", trained, *named).code == 0
    again = call("train", "--resume", trained, *named)
    assert (again.code, "is finished: 40 episodes, mean return" in again.out) == (0, True), again.err
    unnamed = call("train", "--resume", trained)
    assert (unnamed.code, "is run only if you name it" in unnamed.err) == (2, True)


def test_the_report_of_a_run_without_a_success(call: Call, trained: Path, tmp_path: Path) -> None:
    done = call("analyze", trained, "--env", of("SevenLamps"), "--quick", "--out", tmp_path / "report", "--json")
    assert done.code == 0, done.err
    [found] = json.loads(done.out)["runs"] if "runs" in json.loads(done.out) else [json.loads(done.out)]
    assert found["absent"]["success"] == found["absent"]["failures"] == "the game declares no success"
    assert found["problems"] == []
    assert (found["mean_return"]["episodes"], found["mean_return"]["joint_moves"]) == (30, 210)
    assert [row for row in found["tables"]["controls"] if "success" in row] == []
    assert {row["channel"] for row in found["tables"]["controls"]} >= {"open", "shuffled", "constant"}
    assert "mean return is" in found["sentence"]
    page = (tmp_path / "report" / "report.html").read_text()
    assert "What do they gain?" in page
    assert "The game declares no success: see the return." in page
    assert "40 games of training with 280 joint moves" in page
    assert '"success": ""' in page or '"success":""' in page


def test_mean_return_stands_beside_success(small_run: Path) -> None:
    summary = json.loads((small_run / "summary.json").read_text())
    sampled = summary["evaluation"]["sampled"]
    assert sampled["mean_return"] == pytest.approx(2 * sampled["success"] - 1)
    assert summary["recent_return"] == pytest.approx(2 * summary["recent_success"] - 1)
    assert (summary["joint_moves"], sampled["joint_moves"]) == (3000, 500)
    curves = EventAccumulator(str(small_run / "tensorboard")).Reload().Tags()["scalars"]
    assert {"success rate", "success rate (95 % low)", "mean return", "mean return (95 % high)"} <= {*curves}


def test_a_run_says_what_success_is(call: Call, tmp_path: Path) -> None:
    done = call(
        "train", "--env", of("LampsThatSay"), "--workers", 0, "--episodes", 300, "--games", 8, "--max-rounds", 2,
        "--evaluation-games", 100, "--hidden-size", 8, "--log-dir", tmp_path, "--run-name", "lamps",
    )  # fmt: skip
    assert done.code == 0, done.err
    assert re.search(r"sampled +│ \d+\.\d\d % \[\d+\.\d\d, \d+\.\d\d\]", done.out)
    sampled = json.loads((tmp_path / "lamps" / "summary.json").read_text())["evaluation"]["sampled"]
    assert sampled["mean_return"] == pytest.approx(0.25 + 0.75 * sampled["success"])
    assert sampled["success"] < 0.9  # every sum of rewards was above 0


def test_the_seeds_of_runs_without_a_success_are_compared_by_return(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    shutil.copytree(trained, other)
    config = json.loads((other / "config.json").read_text())
    config["config"]["seed"] = 1
    (other / "config.json").write_text(json.dumps(config))
    few = (
        [m for m in analysis.MEASURES.values() if m.name in ("success", "mean_return")]
        if hasattr(analysis, "MEASURES")
        else []
    )
    del few
    studied = [study(analysis.load(path), QUICK) for path in (trained, other)]
    comparison = compare(studied)
    assert comparison is not None
    [group] = comparison.groups
    assert group.seeds is None
    assert re.fullmatch(r"2 runs: mean return \d+\.\d+ \[.*\]", group.sentence)
    assert "success" not in group.sentence
    assert "mean return" in render(studied, comparison)


def test_moves_that_are_numbers_can_be_told_from_tokens() -> None:
    words = Words(tuple(map(str, range(4))), 5)
    assert [words.action(word) for word in ("3", "move 3", "move", "eot")] == [3, 9, None, 5]
    assert words.listed(np.array([5, 6, 7, 8, 9])) == "EOT or move 0 to move 3"
    assert words.listed(np.array([6, 9])) == "move 0 or move 3"


def test_a_person_plays_an_environment(call: Call, trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(["0", "move 0", "eot"] * 60)))
    done = call("play", trained, "--env", of("SevenLamps"), "--seat", 1, "--games", 8, "--seed", 3)
    assert done.code == 0, done.err
    assert re.search(r"8 joint moves \(1 whole game\), \+[\d.]+ for you\n$", done.out)


def test_an_audit_takes_environments_of_turns_too() -> None:
    arena = named_environment(of("Turns"), 20)
    assert arena.agents == ("player_0", "player_1")
    assert len(arena.random(0)) > 2


def test_figures_of_an_older_checkpoint_have_no_returns() -> None:
    older = {"success": np.array([True, False]), "rounds": np.array([2, 3])}
    course = Course(2, {}, older)
    assert (course.success, course.returned.n) == (0.5, 0)
    with pytest.raises(ValueError, match="the returns of the last episodes"):
        Course(2, {}, {**older, "returns": np.array([1, 2])})


def test_success_that_an_older_run_counted_is_forgotten_where_the_game_declares_none() -> None:
    config = Config(env=of("Lamps"), workers=0, games=4, unroll=6, hidden_size=8, rules=TalkRules(channel="off"))
    course = Course(2, {}, {"success": np.array([True, False]), "rounds": np.array([2, 3])})
    course.add(Worker(config, 0, seed_of_worker(config, 0)).contribute(Learner(config).assignment(0)), 0, 26)
    assert (course.succeeded.trials, course.returned.n) == (0, 24)
    assert np.isnan(course.success)


def test_an_evaluation_makes_no_thousands_of_environments(monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config(env=of("Lamps"), hidden_size=8, rules=TalkRules(channel="off"))
    made: list[int] = []
    first = Lamps.__init__
    monkeypatch.setattr(Lamps, "__init__", lambda self, *args: (made.append(1), first(self, *args))[1])
    evaluated = evaluate(make_policy(config), config, 600)
    assert (evaluated.figures.games, evaluated.figures.joint_moves) == (600, 600)
    assert len(made) < 300


def test_the_same_seed_gives_the_same_games() -> None:
    config = Config(env=of("Lamps"), rules=TalkRules(channel="off"))
    one, other = (make_negotiation(config, 3, np.random.SeedSequence(5)) for _ in range(2))
    for talk in (one, other):
        talk.reset()
    assert (one.observe().features == other.observe().features).all()
