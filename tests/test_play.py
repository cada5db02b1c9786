"""`python -m emcomm.play RUN --seat 1`: a person against the network, by the keyboard."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from emcomm.config import Config
from emcomm.seat import Seat, Words
from emcomm.worlds import make_policy
from envs.negotiation import TalkRules

GOLDEN = Path(__file__).parent / "golden" / "run"


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch, call: Callable[..., Any]) -> Callable[..., Any]:
    def run(lines: bytes, *args: object) -> Any:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(lines)))
        return call("play", GOLDEN, *args)

    return run


def test_a_person_plays_a_game(typed: Callable[..., Any]) -> None:
    said = typed(b"2\n" + b"EOT\n" * 40 + b"main\n" * 3, "--seat", 1, "--games", 1, "--seed", 0)
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith("you are train_1: say something, or move at once\n")
    assert re.search(r"round 1: you said 2, and heard (\d|EOT|nothing)\n", said.out)
    assert re.search(r"move +(main|detour) +main\n", said.out)
    assert re.search(r"1 game, [01] × success\n$", said.out)


def test_the_seed_fixes_the_games(typed: Callable[..., Any]) -> None:
    lines = b"2\n" + b"EOT\nmain\n" * 60
    first, again, other = (typed(lines, "--seat", 0, "--games", 3, "--seed", seed).out for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize("line", [b"9", b"", b"\xff\xfe", b"m m", b"\x1b[2J", b"main5", b"x" * 9_000])
def test_bad_input_is_one_line_and_asks_again(typed: Callable[..., Any], line: bytes) -> None:
    said = typed(line + b"\n", "--seat", 0)
    complaint = re.findall(r".* is not possible now: 0 to 4, EOT, main or detour\n", said.out)
    assert len(complaint) == 1
    assert len(complaint[0]) < 150
    assert "\x1b" not in said.out
    assert said.out.count("train_0, 0 to 4, EOT, main or detour: ") == 2


def test_the_end_of_the_input_ends_politely(typed: Callable[..., Any]) -> None:
    said = typed(b"2\n", "--seat", 0, "--hints")
    assert (said.code, said.err) == (0, "")
    assert said.out.count("in your place the network: ") == 2
    assert said.out.endswith("0 games, 0 × success\n")


@pytest.mark.parametrize(("seat", "code"), [(2, 2), (-1, 2)])
def test_a_seat_that_there_is_not(typed: Callable[..., Any], seat: int, code: int) -> None:
    said = typed(b"", "--seat", seat)
    assert said.code == code
    assert said.err == (f"emcomm: --seat must be from 0 to 1, the agents of emcomm/crossing-v1, not {seat}\n")


def test_a_hint_is_what_the_network_would_do() -> None:
    """A network that always says EOT and yields: its bias says so."""
    config = Config(hidden_size=4)
    policy = make_policy(config)
    with_bias = policy.actor.bias.data
    with_bias[:] = np.nan_to_num(-20.0)
    with_bias[5] = with_bias[7] = 20.0
    policy.actor.weight.data.zero_()
    answers, heard = iter(["3", "EOT", "main"]), []
    (scene,) = islice(Seat(policy, config, 0, lambda prompt: next(answers), heard.append, 0, True).games(), 1)
    assert [line for line in heard if "in your place" in line][1:] == [
        "  in your place the network: EOT 100 %, 0 0 %, 1 0 %, 2 0 %",
        "  in your place the network: detour 100 %, main 0 %",
    ]
    assert scene.moves == (0, 1)
    assert scene.symbols[0][0] == 3


def test_agents_that_speak_in_turn_are_heard_before_the_answer() -> None:
    config = Config(rules=TalkRules(speaking="sequential", max_rounds=2, opening="talk"), hidden_size=4)
    heard: list[str] = []
    asked = iter(["1", "2", "main"])
    (scene,) = islice(Seat(make_policy(config), config, 1, lambda prompt: next(asked), heard.append, 0).games(), 1)
    first = scene.symbols[0][0]
    assert heard[1] == f"  in this round you have heard {'EOT' if first == 5 else first}"
    assert [round_[1] for round_ in scene.symbols] == [1, 2]


@pytest.mark.parametrize("env", ["emcomm/crossing-priority-v1", "emcomm/signalling-v1", "emcomm/matrix-v1"])
def test_a_seat_in_other_games(env: str) -> None:
    """Whatever is legal is taken, and a person is told what only it knows."""
    config = Config(env=env, hidden_size=4, rules=TalkRules(max_rounds=3))
    said: list[str] = []
    words = []

    def ask(prompt: str) -> str:
        words.append(prompt)
        return re.split(r",? or |, ", prompt.partition(", ")[2].rstrip(": "))[-1]

    seen = list(islice(Seat(make_policy(config), config, 0, ask, said.append, 0).games(), 3))
    assert len(seen) == 3
    assert said[0].startswith("you are ")
    assert words


def test_words_that_begin_alike_stand_for_nothing() -> None:
    words = Words(("left", "leap"), 12)
    assert [words.action(word) for word in ("le", "lea", "11", "1", "e", "12")] == [None, 14, 11, 1, 12, None]
