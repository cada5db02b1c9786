"""On a GPU: gradients as on the CPU, and a run that trains and is evaluated there. Skipped where there is none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from emcomm.a3c import Contribution, Learner, Worker, seed_of_worker
from emcomm.config import Config
from emcomm.games import with_talk
from envs import GAMES

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that torch can use")

BASE = Config(workers=0, games=16, unroll=12, hidden_size=16)
CONFIGS = {
    **{f"{game}, {policies}": with_talk(replace(BASE, env=game, policies=policies))
       for game in GAMES for policies in ("shared", "by-role")},
    **{f"{game}, token gradient": with_talk(replace(
        BASE, env=game, policies="by-role", token_gradient=True, token_entropy=0.3, move_entropy_floor=0.1))
       for game in GAMES},
    **{f"{algorithm}, {torso}": replace(BASE, algorithm=algorithm, torso=torso)
       for algorithm in ("a3c", "ppo", "reinforce") for torso in ("gru", "lstm", "window", "none", "transformer")},
    "population": replace(BASE, population=3),
}  # fmt: skip


def contributions(config: Config, device: str, n: int = 3) -> list[Contribution]:
    """Of the first weights, with the same games and draws on every device."""
    assignment = Learner(config).assignment(0)
    worker = Worker(replace(config, device=device), 0, seed_of_worker(config, 0))
    return [worker.contribute(assignment) for _ in range(n)]


@pytest.mark.parametrize("name", CONFIGS)
def test_gradients_are_those_of_the_cpu(name: str) -> None:
    config = CONFIGS[name]
    for here, there in zip(contributions(config, "cpu"), contributions(config, "cuda"), strict=True):
        np.testing.assert_allclose(there.gradient, here.gradient, rtol=1e-3, atol=1e-5 * np.abs(here.gradient).max())
        assert there.joint_moves == here.joint_moves
        assert there.entropy == pytest.approx(here.entropy, rel=1e-4)


def test_a_run_trains_and_is_evaluated_on_the_gpu(emcomm, tmp_path) -> None:
    place = tmp_path / "logs" / "run"
    short = ["--workers", 0, "--device", "cuda", "--episodes", 6_000, "--evaluation-games", 500]
    for done in (
        emcomm("train", *short, "--log-dir", place.parent, "--run-name", place.name),
        emcomm("evaluate", place, "--device", "cuda", "--channel", "shuffled"),
    ):
        assert done.returncode == 0, done.stderr
