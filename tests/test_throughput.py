"""The measurement of speed: it takes every setting of a run, and refuses what it cannot measure."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from emcomm.cli import parse
from emcomm.config import Config
from emcomm.errors import BadInput
from emcomm.games import with_talk
from envs import GAMES, Negotiation
from envs.negotiation import TalkRules
from experiments.game_speed import GameSpeedOptions, step_rate
from experiments.throughput import ThroughputOptions, _bare_rate_here, learner_rate

SMALL = Config(episodes=10**9, workers=0, games=8, device="cpu")


@pytest.mark.parametrize(
    "settings",
    [{"torso": "window"}, {"torso": "none"}, {"population": 2}, {"env": "test_throughput_game:Spread"},
     {"rules": TalkRules(n_tokens=2, window=3, speaking="sequential")}],
    ids=str,
)  # fmt: skip
def test_every_setting_can_be_measured(settings, tmp_path, monkeypatch) -> None:
    (tmp_path / "test_throughput_game.py").write_text(
        "from functools import partial\n"
        "from mpe2 import simple_spread_v3\n"
        "from envs import ParallelGame\n"
        "Spread = partial(ParallelGame, make_env=simple_spread_v3.parallel_env)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = dataclasses.replace(SMALL, **settings)
    assert _bare_rate_here(config, 0.05) > 0
    assert learner_rate(config, 0.05)[0] > 0


@pytest.mark.parametrize("wrong", [{"worker_counts": (2, -1)}, {"worker_counts": ()}, {"seconds": 0.0}], ids=str)
def test_what_cannot_be_measured_is_named(wrong) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))} must be"):
        ThroughputOptions(**wrong)


def test_what_cannot_be_measured_ends_in_one_line() -> None:
    with pytest.raises(BadInput, match=r"^--worker-counts must be numbers from 0 up, not "):
        parse(ThroughputOptions, ["--worker-counts", "-1"], "experiments.throughput")


@pytest.mark.parametrize("env", GAMES)
def test_every_game_can_be_measured_without_a_policy(env: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the ends of its episodes."""
    resets: list[int] = []
    begin = Negotiation.reset

    def reset(talk: Negotiation, which: np.ndarray | None = None) -> None:
        resets.append(talk.game.n_games if which is None else int(which.sum()))
        begin(talk, which)

    monkeypatch.setattr(Negotiation, "reset", reset)
    assert step_rate(with_talk(dataclasses.replace(SMALL, env=env)), 0.1) > 0
    assert len(resets) > 1


@pytest.mark.parametrize("wrong", [{"games": 0}, {"seconds": float("nan")}], ids=str)
def test_what_cannot_be_measured_without_a_policy_is_named(wrong: dict) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))} must be"):
        GameSpeedOptions(**wrong)
