"""On a GPU: gradients as on the CPU, and a run that trains and is evaluated there. Skipped where there is none."""

from __future__ import annotations

import json
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
    short = ["--workers", 0, "--episodes", 6_000, "--evaluation-games", 500]  # `auto` takes the GPU
    trained = emcomm("train", *short, "--log-dir", place.parent, "--run-name", place.name)
    for done in (trained, emcomm("evaluate", place, "--device", "cuda", "--channel", "shuffled")):
        assert done.returncode == 0, done.stderr
    assert "in this process on cuda\n" in trained.stdout
    assert json.loads((place / "summary.json").read_text())["device"] == "cuda"


@pytest.mark.parametrize("device", ["auto", "cuda:0"])
def test_workers_on_ray_share_the_gpu(device: str, emcomm, tmp_path) -> None:
    short = ["--workers", 3, "--device", device, "--episodes", 3_000, "--evaluation-games", 200]
    done = emcomm("train", *short, "--log-dir", tmp_path, "--run-name", "run")
    assert done.returncode == 0, done.stderr
    name = device.replace("auto", "cuda")
    assert f"3 workers on {name}\n" in done.stdout
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["device"], summary["workers_died"]) == (name, 0)


def test_a_run_goes_on_on_another_device(emcomm, tmp_path) -> None:
    run = tmp_path / "run"
    short = ["--workers", 0, "--evaluation-games", 200]
    begun = emcomm("train", *short, "--device", "cpu", "--episodes", 2_000, "--log-dir", tmp_path, "--run-name", "run")
    gone_on = emcomm("train", "--resume", run, "--device", "cuda", "--episodes", 4_000)
    for done in (begun, gone_on, emcomm("verify", run)):
        assert done.returncode == 0, done.stdout + done.stderr
    assert "on cuda" in gone_on.stdout


def test_what_does_not_fit_into_the_gpu_is_refused_or_left_aside(call, tmp_path) -> None:
    vast = ["--workers", 0, "--games", 2**14, "--unroll", 2**10, "--hidden-size", 4096, "--log-dir", tmp_path]
    done = call("train", "--device", "cuda", *vast)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert done.err.endswith(" free on the GPU\n")
    assert not list(tmp_path.iterdir())


def test_a_gpu_that_fills_up_is_one_line(call, tmp_path) -> None:
    short = ["--workers", 0, "--device", "cuda", "--episodes", 300, "--evaluation-games", 20, "--log-dir", tmp_path]
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e-9)
    try:
        done = call("train", *short)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert done.code in (1, 2)  # full from the start, or as soon as more is taken than torch still holds
    assert "out of memory" in done.err
    assert done.err.count("\n") == 1
