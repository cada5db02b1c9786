"""Text, pictures and windows: what they show, and that they are drawn only on demand."""

import numpy as np
import pytest

from envs import Scene, TaskAndTalkGame, parallel_env
from envs.crossing import CrossingGame
from envs.pictures import AGENTS, draw, side_by_side
from envs.rendering import text

TRAINS, LINES = ("train_0", "train_1"), ("main", "detour")


def scene(**kwargs):
    return Scene(TRAINS, LINES, words=CrossingGame.words, **kwargs)


SCENES = {
    "open": scene(),
    "talk": scene(phase="TALK", symbols=((4, -1), (3, 0))),
    "more talk": scene(phase="TALK", symbols=((4, -1), (3, 0), (1, 5))),
    "last word": scene(phase="TALK", symbols=((4, -1), (3, 1))),
    "act": scene(phase="ACT", symbols=((5, 5),)),
    "cut": scene(phase="ACT", symbols=((5, 5),), cut=True),
    "parted": scene(phase="ACT", symbols=((5, 5),), moves=(0, 1), rewards=(1, 1), success=True),
    "parted the other way": scene(phase="ACT", symbols=((5, 5),), moves=(1, 0), rewards=(1, 1), success=True),
    "crash on the main line": scene(phase="ACT", symbols=((5, 5),), moves=(0, 0), rewards=(-1, -1), success=False),
    "crash on the detour": scene(phase="ACT", symbols=((5, 5),), moves=(1, 1), rewards=(-1, -1), success=False),
    "long": scene(phase="TALK", symbols=((1, 2),) * 100),
    "longer": scene(phase="TALK", symbols=((1, 2),) * 101),
    "in turn": scene(phase="TALK", symbols=((1, 2),), order=((0, 1),)),
    "in turn the other way": scene(phase="TALK", symbols=((1, 2),), order=((1, 0),)),
    "without rewards": scene(moves=(0, 1), success=True),
}
TABLES = {
    f"{agents} at a table": Scene(
        tuple(f"agent_{i}" for i in range(agents)),
        ("left", "right"),
        symbols=((*range(agents - 1), -1), (126,) * agents),
        n_tokens=126,
        moves=(1,) * (agents - 1) + (-1,),
        rewards=(0.123456,) * agents,
        success=False,
    )
    for agents in (2, 3, 7, 30)
}


# -- text --------------------------------------------------------------------------------------------------------


def test_text_of_a_talk_in_progress():
    assert text(SCENES["talk"]).splitlines() == [
        "timestep  train_0  train_1",
        "       1        4        -",
        "       2        3        0",
        "phase: TALK",
    ]


def test_text_of_a_crash_after_a_cut():
    told = scene(phase="ACT", symbols=((0, 1),), moves=(1, 1), rewards=(-1, -1), success=False, cut=True)
    assert str(told).splitlines() == [
        "timestep  train_0  train_1",
        "       1        0        1",
        "    move   detour   detour",
        "  reward       -1       -1",
        "the talk was cut after 1 round",
        "outcome: crash",
    ]


def test_text_and_pictures_show_what_each_agent_knew():
    known = Scene(("a", "b"), ("x", "y"), 2, symbols=((0, 1),), order=((1, 0),), knows=("delay 3", ""))
    assert str(known).splitlines() == [
        "timestep        a  b",
        "   knows  delay 3  -",
        "       1        0  1  spoke: b, a",
        "phase: OPEN",
    ]
    nobody = Scene(("a", "b"), ("x", "y"), 2, symbols=((0, 1),), order=((1, 0),))
    assert (draw(known) != draw(nobody)).any()
    assert (draw(scene(knows=("delay 3", "delay 1"))) != draw(scene())).any()


def test_a_declaration_says_what_agents_know():
    game = parallel_env(TaskAndTalkGame)._talk.declaration
    private = np.array([[-1, -1, -1, 4], [1, 0, 3, -1]], np.float32)
    assert game.knows(private) == ("task 4", "colour 1, shape 0, style 3")
    assert parallel_env()._talk.declaration.knows(np.zeros((2, 0), np.float32)) == ()


def test_text_of_another_game_with_speakers_in_turn():
    told = Scene(("a", "b", "c"), ("x", "y"), 2, "ACT", ((0, 2, -1),), ((1, 0, 2),), (0, 1, -1), (0.5, 2, 0), False)
    assert str(told).splitlines() == [
        "timestep     a   b   c",
        "       1     0   2   -  spoke: b, a, c",
        "    move     x   y   -",
        "  reward  +0.5  +2  +0",
        "outcome: failure",
    ]


# -- pictures ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shown", [*SCENES.values(), *TABLES.values()], ids=[*SCENES, *TABLES])
def test_a_picture_is_a_repeatable_array_of_one_size(shown):
    picture = draw(shown)
    assert picture.shape == (540, 960, 3)
    assert picture.dtype == np.uint8
    assert (draw(shown) == picture).all()
    assert len(np.unique(picture @ np.array([1, 256, 65536]))) > 50  # smooth edges


def test_different_scenes_give_different_pictures():
    pictures = {draw(shown).tobytes() for shown in [*SCENES.values(), *TABLES.values()]}
    assert len(pictures) == len(SCENES) + len(TABLES)


def shows(picture, agent, left, right, top, bottom):
    """Whether a part of a picture has the full colour of an agent."""
    return bool((picture[top:bottom, left:right] == AGENTS[agent]).all(axis=2).any())


@pytest.mark.parametrize(
    ("moves", "on_detour", "on_main_line"),
    [((0, 1), [1], [0]), ((1, 0), [0], [1]), ((0, 0), [], [0, 1]), ((1, 1), [0, 1], []), ((), [], [])],
)
def test_the_trains_are_where_they_moved(moves, on_detour, on_main_line):
    picture = draw(scene(moves=moves, success=len(set(moves)) == 2 if moves else None))
    assert [agent for agent in (0, 1) if shows(picture, agent, 350, 610, 330, 366)] == on_detour
    assert [agent for agent in (0, 1) if shows(picture, agent, 350, 610, 414, 450)] == on_main_line
    assert [agent for agent in (0, 1) if shows(picture, agent, 0, 960, 414, 450)] == (on_main_line if moves else [0, 1])


def test_the_newest_round_is_at_the_bottom_and_points_at_the_speaker():
    words = ((1, 1),) * 9 + ((5, 1),)
    talking, moved = draw(scene(symbols=words)), draw(scene(symbols=words, moves=(0, 1), success=True))
    assert shows(talking, 0, 120, 200, 362, 390)  # EOT is in full colour
    assert not shows(talking, 0, 120, 200, 60, 355)
    assert shows(talking, 0, 120, 200, 393, 402)  # the tail of the bubble
    assert shows(moved, 0, 120, 200, 362, 390)
    assert not shows(moved, 0, 120, 200, 393, 402)  # nothing is in the air any more


def test_pictures_side_by_side_have_one_height():
    assert side_by_side(np.zeros((100, 200, 3), np.uint8), draw(scene())).shape == (540, 1080 + 960, 3)


# -- the environment shows itself --------------------------------------------------------------------------------


def test_render_follows_the_game():
    env = parallel_env(render_mode="ansi", round_cost=0.5)
    env.reset()
    assert env.render().splitlines()[-1] == "phase: OPEN"
    env.step({"train_0": 2, "train_1": 7})
    assert env.render().splitlines()[1:] == ["       1        2        -", "phase: TALK"]
    env.step({"train_0": 5, "train_1": 5})
    assert env.render().splitlines()[-1] == "phase: ACT"
    env.step({"train_0": 6, "train_1": 7})
    assert env.render().splitlines()[1:] == [
        "       1        2        -",
        "       2        5        5",
        "    move     main   detour",
        "  reward       +1       +1",
        "outcome: success",
    ]
    env.reset()
    assert env.render().splitlines()[-1] == "phase: OPEN"


def test_a_round_in_progress_is_shown():
    env = parallel_env(render_mode="ansi", speaking="sequential")
    env.reset()
    env.step({"train_0": 2, "train_1": 5})
    assert env.render().splitlines()[1] == "       1        2        -  spoke: train_0, train_1"


def test_rgb_array_is_the_picture_of_the_scene():
    env = parallel_env(render_mode="rgb_array")
    env.reset()
    before = env.render()
    env.step({"train_0": 2, "train_1": 3})
    assert (env.render() == draw(env.scene())).all()
    assert (env.render() != before).any()


@pytest.mark.parametrize("mode", ["ansi", "rgb_array", "human"])
def test_stepping_never_renders(mode, monkeypatch):
    def fail(*args):
        raise AssertionError("drawn in a step")

    for place in ("envs.parallel.text", "envs.pictures.draw", "envs.rendering.Window.show"):
        monkeypatch.setattr(place, fail)
    env = parallel_env(render_mode=mode)
    env.reset()
    env.step({"train_0": 2, "train_1": 3})
    env.step({"train_0": 5, "train_1": 5})
    env.step({"train_0": 6, "train_1": 7})
    with pytest.raises(AssertionError, match="drawn in a step"):
        env.render()


def test_render_without_a_mode_warns_and_shows_nothing():
    env = parallel_env()
    env.reset()
    with pytest.warns(UserWarning, match="without a render_mode"):
        assert env.render() is None


@pytest.fixture
def plt(monkeypatch):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    yield plt
    plt.close("all")


def test_a_window_without_a_screen_is_a_clear_error(plt):
    env = parallel_env(render_mode="human")
    env.reset()
    with pytest.raises(
        RuntimeError, match=r"^render_mode 'human' needs a screen and there is none: use 'rgb_array' or"
    ):
        env.render()
    assert plt.get_fignums() == []
    env.close()


def test_a_toolkit_that_finds_no_screen_is_the_same_error(plt, monkeypatch):
    def no_display(*args, **kwargs):
        raise ImportError("Cannot load backend 'TkAgg'")

    monkeypatch.setattr(plt, "figure", no_display)
    env = parallel_env(render_mode="human")
    env.reset()
    with pytest.raises(RuntimeError, match="needs a screen"):
        env.render()


def test_a_window_shows_one_picture_after_another(plt, monkeypatch):
    monkeypatch.setattr(plt, "get_backend", lambda: "a screen")
    monkeypatch.setattr(plt, "show", lambda block: None)
    monkeypatch.setattr(plt, "pause", lambda seconds: None)
    env = parallel_env(render_mode="human")
    env.reset()
    for train_0 in (2, 3):
        env.step({"train_0": train_0, "train_1": 3})
        assert env.render() is None
        (number,) = plt.get_fignums()
        assert (plt.figure(number).axes[0].images[0].get_array() == draw(env.scene())).all()
    env.close()
    assert plt.get_fignums() == []
