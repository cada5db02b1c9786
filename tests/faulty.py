"""Trainings in processes of their own that fail at the k-th step of the file layer, as SQLite tests its database.

A server process has imported everything and forks one process for each training, which saves the seconds of imports.
"""

from __future__ import annotations

import dataclasses
import errno
import multiprocessing
import os
import signal
import sys
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from emcomm.checkpoints import read_checkpoint
from emcomm.dialogues import DialogueTable, concatenate, read_part
from envs.crossing import CrossingGame

Kind = Literal["kill", "torn", "ENOSPC", "EIO"]


class Ended(NamedTuple):
    """How a training ended."""

    code: int
    steps: int
    """Steps of the file layer that were announced; only where it was not killed."""
    said: str


def train(folder: Path, *args: object, fault: tuple[Kind, int] | None = None) -> Ended:
    """`python -m emcomm.train ARGS` in a process of its own, which fails at the given step (counted from 1)."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["emcomm.train", "emcomm.training", "emcomm.worlds"])
    said, steps = folder / "said", folder / "steps"
    steps.write_text("0")
    process = context.Process(target=_train, args=([str(arg) for arg in args], fault, said, steps))
    process.start()
    process.join(120)
    assert process.exitcode is not None, f"it hangs: {said.read_text()}"
    return Ended(process.exitcode, int(steps.read_text()), said.read_text())


def _train(args: list[str], fault: tuple[Kind, int] | None, said: Path, steps: Path) -> None:
    from emcomm import files
    from emcomm.cli import run_command
    from emcomm.train import main

    out = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(out, 1)
    os.dup2(out, 2)
    count = 0

    def before_step(step: str, path: Path) -> None:
        nonlocal count
        count += 1
        if fault is None or count != fault[1]:
            return
        kind = fault[0]
        if kind == "torn" and step == "write":
            path.write_bytes(b"half of a fi")
        if kind in ("kill", "torn"):
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError(getattr(errno, kind), os.strerror(getattr(errno, kind)), str(path))

    files.before_step = before_step
    sys.argv = ["train", *args]
    try:
        run_command(main)
    finally:
        steps.write_text(str(count))


# -- what they leave ---------------------------------------------------------------------------------------------------


def log_of(folder: Path) -> DialogueTable:
    return concatenate(read_part(part) for part in sorted(folder.glob("part-*.parquet")))


def assert_equal_runs(one: Path, other: Path) -> None:
    """Row for row and bit for bit."""
    for folder in ("dialogues", "evaluation"):
        first, second = log_of(one / folder), log_of(other / folder)
        for field in dataclasses.fields(first):
            np.testing.assert_array_equal(getattr(first, field.name), getattr(second, field.name), field.name)
    checkpoints = [read_checkpoint(sorted(run.glob("checkpoints/*.safetensors"))[-1]) for run in (one, other)]
    mine, its = (checkpoint.tensors for checkpoint in checkpoints)
    assert mine.keys() == its.keys()
    for name in mine:
        np.testing.assert_array_equal(mine[name], its[name], name)
    counts = [{k: v for k, v in checkpoint.facts["course"].items() if k != "wall_s"} for checkpoint in checkpoints]
    assert counts[0] == counts[1]
    assert not [path for path in other.rglob("*.tmp") if "abandoned" not in path.parts]


# -- games to be interrupted -------------------------------------------------------------------------------------------


class Journey(CrossingGame):
    """Several decisions in each episode, a private number, and a generator of its own: all in its attributes."""

    feature_bounds = (np.zeros(1, np.float32), np.full(1, 9, np.float32))

    def __init__(self, n_games: int, rng: np.random.Generator) -> None:
        super().__init__(n_games, rng)
        self._rng, self._own = rng, np.random.default_rng(7)
        self._left = np.ones(n_games, np.int64)
        self._seen = np.zeros((n_games, 2, 1), np.float32)
        self._resets = 0

    def reset(self, which: np.ndarray) -> None:
        self._resets += 1
        self._left[which] = 1 + self._rng.integers(3, size=which.sum()) + self._resets % 2
        self._draw(which)

    def _draw(self, which: np.ndarray) -> None:
        self._seen[which] = self._own.integers(10, size=(*self._seen[which].shape,))

    def observe(self) -> np.ndarray:
        return self._seen

    private = observe

    def play(self, moves: np.ndarray, which: np.ndarray):
        outcome = super().play(moves, which)
        self._left[which] -= 1
        self._draw(np.isin(np.arange(self.n_games), which))
        ended = np.repeat(self._left[which] == 0, 2).reshape(-1, 2)
        return outcome._replace(terminated=ended)


class OwnState(Journey):
    """The same, in an object that only the game knows how to save."""

    class Box:
        """Neither an array nor a plain value."""

        left: np.ndarray

    def __init__(self, n_games: int, rng: np.random.Generator) -> None:
        super().__init__(n_games, rng)
        self._box = self.Box()
        self._box.left = np.zeros(n_games, np.int64)

    def play(self, moves: np.ndarray, which: np.ndarray):
        self._box.left[which] += 1
        return super().play(moves, which)

    def state(self) -> dict[str, np.ndarray]:
        own = np.frombuffer(repr(self._own.bit_generator.state).encode(), np.uint8)
        return {"box": self._box.left, "left": self._left, "seen": self._seen, "own": own, "resets": self._resets}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        import ast

        self._box.left, self._left, self._seen = (state[name].copy() for name in ("box", "left", "seen"))
        self._own.bit_generator.state = ast.literal_eval(bytes(state["own"]).decode())
        self._resets = int(state["resets"])


class Foreign(Journey):
    """Holds something that nobody knows how to save."""

    def __init__(self, n_games: int, rng: np.random.Generator) -> None:
        super().__init__(n_games, rng)
        self._environment = object()
