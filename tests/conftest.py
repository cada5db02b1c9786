"""Runs made by real processes, as a user makes them, and by the same command lines called in this process."""

from __future__ import annotations

import importlib
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from emcomm.cli import run_command
from emcomm.dialogues import DialogueTable, concatenate, read_part

collect_ignore = ["clients"]  # they need packages of their own: .ci/clients runs them

# A shell that runs the tests in the background has them ignore interrupts, and so would the processes they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

torch.set_num_threads(1)  # several tests run at once, and threads of networks this small wait for each other

Command = Callable[..., subprocess.CompletedProcess[str]]


class Said(NamedTuple):
    """How a command line ended that was called in this process."""

    code: int
    out: str
    err: str


def emcomm_command(module: str, *args: object) -> list[str]:
    return [sys.executable, "-m", f"emcomm.{module}", *map(str, args)]


@pytest.fixture(scope="session")
def emcomm() -> Command:
    """Run `python -m emcomm.MODULE ARGS` to its end."""

    def run(module: str, *args: object, **options: object) -> subprocess.CompletedProcess[str]:
        command = emcomm_command(module, *args)
        return subprocess.run(command, capture_output=True, text=True, timeout=300, **options)  # type: ignore[call-overload]

    return run


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """The same in this process, which saves the seconds of the imports."""

    def run(module: str, *args: object) -> Said:
        monkeypatch.setattr(sys, "argv", [module, *map(str, args)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as leaving:
            run_command(importlib.import_module(f"emcomm.{module}").main)
        return Said(int(leaving.value.code or 0), *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def whole_log() -> Callable[[Path], DialogueTable]:
    """Reads a log folder, and fails unless its episodes are numbered 0, 1, 2, … in order."""

    def read(folder: Path) -> DialogueTable:
        assert not list(folder.glob("*.tmp"))
        log = concatenate(read_part(part) for part in sorted(folder.glob("part-*.parquet")))
        np.testing.assert_array_equal(np.unique(log.episode), np.arange(log.episode.max() + 1))
        np.testing.assert_array_equal(np.unique(log.episode[log.negotiation == 0], return_counts=True)[1], 1)
        return log

    return read


@pytest.fixture(scope="session")
def small_run(emcomm: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 3 000 episodes of short talk, trained in one process; tests only read it."""
    folder = tmp_path_factory.mktemp("logs")
    done = emcomm(
        "train", "--workers", 0, "--episodes", 3000, "--games", 32, "--evaluation-games", 500, "--max-rounds", 8,
        "--log-dir", folder, "--run-name", "small",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "small"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--every-step", action="store_true", help="fail at every step of the file layer, not at some")
