"""Settings and their schedules."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from emcomm.a3c import Learner, Worker, seed_of_worker
from emcomm.config import PRESETS, Config
from emcomm.errors import BadInput
from envs.negotiation import TalkRules


def test_the_entropy_bonus_falls_to_its_last_value_and_stays() -> None:
    config = Config(episodes=1_000, entropy_bonus=0.03, entropy_final=0.01, entropy_until=0.5)
    assert [config.entropy_bonus_at(n) for n in (0, 250, 500, 900)] == pytest.approx([0.03, 0.02, 0.01, 0.01])
    assert dataclasses.replace(config, entropy_until=0.0).entropy_bonus_at(0) == 0.01


def test_the_round_cost_rises_to_its_value_and_stays() -> None:
    config = Config(episodes=1_000, rules=TalkRules(round_cost=0.2), cost_until=0.4)
    assert [config.round_cost_at(n) for n in (0, 100, 400, 900)] == pytest.approx([0, 0.05, 0.2, 0.2])
    assert dataclasses.replace(config, cost_until=0.0).round_cost_at(0) == 0.2


def test_the_step_size_falls_to_zero() -> None:
    config = Config(episodes=1_000, learning_rate=0.01)
    assert [config.learning_rate_at(n) for n in (0, 500, 1_000, 1_100)] == pytest.approx([0.01, 0.005, 0, 0])


def test_workers_play_at_the_price_of_the_moment() -> None:
    config = Config(
        rules=TalkRules(round_cost=1.0, opening="talk", window=1), episodes=1_000, cost_until=1.0, games=8, workers=0
    )
    worker, learner = Worker(config, 0, seed_of_worker(config, 0)), Learner(config)
    values = []
    for episodes in (0, 500):
        step_rewards: list[np.ndarray] = []
        original = worker._negotiation.step
        worker._negotiation.step = lambda a, of=original, to=step_rewards: to.append(s := of(a)) or s  # type: ignore
        worker.contribute(learner.assignment(episodes))
        worker._negotiation.step = original  # type: ignore[method-assign]
        values.append(max(-step.rewards.max() for step in step_rewards if not len(step.dialogues.game)))  # type: ignore
    assert values == [0, 0.5]


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_a_configuration_comes_back_from_json(preset: str) -> None:
    assert Config.from_json(PRESETS[preset].to_json()) == PRESETS[preset]


@pytest.mark.parametrize(
    ("wrong", "named"),
    [({"policies": "own"}, "policies must be shared, by-role or separate"),
     ({"population": 0}, "population must be at least 1"),
     ({"cost_until": 2.0}, "cost_until must be from 0 to 1"), ({"entropy_final": -1.0}, "entropy_final"),
     ({"entropy_bonus": float("inf")}, "entropy_bonus must be finite"), ({"seed": 2**63}, "seed must be below")],
)  # fmt: skip
def test_what_is_out_of_range_is_named(wrong: dict, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Config(**wrong)
    with pytest.raises(BadInput, match=named):
        Config.from_json({**Config().to_json(), **wrong})
