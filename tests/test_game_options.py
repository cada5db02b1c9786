"""Settings of a game's own: from the command line into config.json, and into every game that is built again."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from emcomm.config import Config, read_config, upgraded
from emcomm.errors import BadInput
from emcomm.runs import Run
from emcomm.worlds import make_negotiation
from envs import BadGame, BadOption, parallel_env
from tests.games import Plain

Call = Callable[..., Any]


class Doors(Plain):
    """Both succeed behind the last of `n_doors` doors."""

    def __init__(
        self,
        n_games: int,
        rng: np.random.Generator,
        n_doors: int = 2,
        price: float = 0.0,
        colour: Literal["red", "blue"] = "red",
        meanings: Literal["all", "training"] = "all",
    ) -> None:
        super().__init__(n_games, rng)
        if n_doors < 2:
            raise BadOption(f"n_doors must be at least 2, not {n_doors}")
        self.price, self.colour, self.meanings = price, colour, meanings
        self.talk = {"opening": "talk", "n_tokens": n_doors}
        self.move_names = tuple(f"door {i}" for i in range(n_doors))

    def good(self, moves: np.ndarray, which: np.ndarray) -> np.ndarray:
        return (moves == len(self.move_names) - 1).all(axis=1)

    def succeeds(self, moves: np.ndarray, private: np.ndarray) -> np.ndarray:
        return self.good(moves, np.arange(len(moves)))


DOORS = f"{__name__}:Doors"
SMALL = (
    "--env", DOORS, "--workers", 0, "--episodes", 300, "--games", 16, "--evaluation-games", 100, "--hidden-size", 8,
    "--max-rounds", 4, "--run-name", "doors",
)  # fmt: skip


def test_a_run_keeps_its_options_wherever_its_game_is_built_again(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = call("train", *SMALL, "--game-options", "n_doors=5", "price=1", "colour=blue")
    assert done.code == 0, done.err
    assert "n_doors=5 price=1 colour=blue" in done.out
    saved = json.loads((tmp_path / "logs/doors/config.json").read_text())["config"]
    assert saved["game_options"] == {"n_doors": 5, "price": 1, "colour": "blue"}
    rules = {name: saved["rules"][name] for name in ("opening", "n_tokens", "max_rounds")}
    assert rules == {"opening": "talk", "n_tokens": 5, "max_rounds": 4}  # the game's own, and the flag's
    run, named = "logs/doors", ("--env", DOORS)
    for command, says in (
        (("train", "--resume", run, *named, "--episodes", 400), "400 episodes"),
        (("evaluate", run, *named, "--evaluation-games", 20), "success"),
        (("play", run, *named, "--games", 1), "door "),
        (("verify", run, *named), "is whole"),
        (("prove", run, *named, "--seconds", 1), "success"),
        (("analyze", run, *named, "--quick"), "success"),
    ):
        said = call(*command)
        assert said.code == 0, said.err
        assert says in said.out
    other = call("train", "--resume", run, *named, "--game-options", "n_doors=3")
    assert (other.code, other.err.count("\n")) == (2, 1)
    assert "game_options is {'n_doors': 5" in other.err


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("doors=5",), f"{DOORS} has no option 'doors': its options are colour, meanings, n_doors, price"),
        (("n_doors=many",), f"the option n_doors of {DOORS} cannot be 'many': Expected `int`, got `str`"),
        (("n_doors=1.5",), "cannot be 1.5: Expected `int`, got `float`"),
        (("colour=green",), "must be one of red, blue, not 'green'"),
        (("n_doors=1",), "n_doors must be at least 2, not 1"),
        (("n_doors",), "--game-options: must be name=value, not n_doors"),
        (("n_doors=3", "n_doors=4"), "--game-options: gives n_doors twice"),
        (("price=Infinity",), "price must be finite"),
    ],
)
def test_an_option_that_does_not_fit_is_one_line(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = call("train", *SMALL, "--game-options", *options)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert says in done.err
    assert not (tmp_path / "logs").exists()


def test_an_environment_has_the_talk_of_its_game() -> None:
    assert parallel_env(Doors, n_doors=3).action_space("agent_0").n == 3 + 1 + 3
    assert parallel_env(Doors, n_doors=3, n_tokens=2).action_space("agent_0").n == 2 + 1 + 3


def test_a_game_without_options_says_so() -> None:
    with pytest.raises(BadInput, match="emcomm/crossing-v1 has no option 'k': it has none"):
        make_negotiation(Config(game_options={"k": 2}), 1, np.random.SeedSequence(0))


def test_training_asks_for_training_meanings() -> None:
    def drawn(training: bool, **options: Any) -> str:
        config = Config(env=DOORS, game_options=options)
        return make_negotiation(config, 1, np.random.SeedSequence(0), training).game.meanings  # type: ignore[attr-defined]

    assert drawn(training=True) == "training"
    assert drawn(training=False) == "all"
    with pytest.raises(BadInput, match="trained on the training meanings"):
        drawn(training=True, meanings="all")
    with pytest.raises(BadInput, match="trained on the training meanings"):  # its evaluation would be of these alone
        drawn(training=True, meanings="training")


def test_an_older_configuration_has_no_options(tmp_path: Path) -> None:
    saved = Config().to_json()
    del saved["game_options"]
    assert upgraded(saved, 3)["game_options"] == {}
    (tmp_path / "config.json").write_text(json.dumps({"version": 3, "config": saved}))
    assert read_config(tmp_path) == Config()


class Named(Plain):
    """An option that the talk has, too."""

    def __init__(self, n_games: int, rng: np.random.Generator, order: str = "up") -> None:
        super().__init__(n_games, rng)


def test_an_option_that_the_talk_has_too_is_refused() -> None:
    with pytest.raises(BadGame, match="order is an option of the talk"):
        parallel_env(Named, order="fixed")


def test_a_policy_is_trained_on_the_training_meanings() -> None:
    """Else the report would call meanings new that were trained."""
    seed = np.random.SeedSequence(0)
    config = Config(env="emcomm/signalling-v1", game_options={"held_out": 0.5, "meanings": "all"})
    with pytest.raises(BadInput, match="trained on the training meanings"):
        make_negotiation(config, 1, seed, training=True)
    make_negotiation(config, 1, seed)


def test_options_given_in_two_flags_are_not_lost_in_silence(call: Callable[..., Any]) -> None:
    """Flags that come twice keep their last value; of these each would be missed."""
    for command in ("train", "sweep"):
        done = call(command, "--game-options", "n_doors=5", "--game_options", "price=1")
        assert done.code == 2
        assert done.err.strip() == (
            "emcomm: --game-options is given twice: give all of them in one, --game-options a=1 b=2"
        )


def test_a_run_is_refused_whose_settings_could_not_be_read_again(tmp_path: Path) -> None:
    """A long split once trained to its end, and its run could never be opened."""

    def config(numbers: int) -> Config:
        split = {"held_out_objects": " ".join(map(str, range(numbers)))}
        return Config(env="emcomm/signalling-v1", game_options={"n_values": 126, "n_attributes": 2, **split})

    kept = Run.create(tmp_path, "long", config(5_000))
    assert Run.open(kept.path).config == config(5_000)
    with pytest.raises(ValueError, match="game_options: held_out_objects must have at most 100,000 characters"):
        config(40_000)
    with pytest.raises(BadInput, match="could not be opened again: Expected `str` of length <= 1000"):
        Run.create(tmp_path, "longer", dataclasses.replace(config(1), algorithm="x" * 2_000))
    many = dict.fromkeys([f"option{count}" for count in range(20)], "x" * 90_000)
    with pytest.raises(BadInput, match=r"could not be opened again: .*larger than"):
        Run.create(tmp_path, "longest", dataclasses.replace(config(1), game_options=many))
    assert [path.name for path in tmp_path.iterdir()] == ["long"]
