"""Runs made by real processes, as a user makes them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]


def emcomm_command(module: str, *args: object) -> list[str]:
    return [sys.executable, "-m", f"emcomm.{module}", *map(str, args)]


@pytest.fixture(scope="session")
def emcomm() -> Command:
    """Run `python -m emcomm.MODULE ARGS` to its end."""

    def run(module: str, *args: object, **options: object) -> subprocess.CompletedProcess[str]:
        command = emcomm_command(module, *args)
        return subprocess.run(command, capture_output=True, text=True, timeout=300, **options)  # type: ignore[call-overload]

    return run


@pytest.fixture(scope="session")
def small_run(emcomm: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 3 000 episodes, trained in one process; tests only read it."""
    folder = tmp_path_factory.mktemp("logs")
    done = emcomm(
        "train", "--workers", 0, "--episodes", 3000, "--games", 32, "--evaluation-games", 500,
        "--log-dir", folder, "--run-name", "small",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder / "small"
