"""Trainings in processes of their own that fail at the k-th step of the file layer, as SQLite tests its database.

A server process has imported everything and forks one process for each training, which saves the seconds of imports.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import signal
import sys
from pathlib import Path
from typing import Literal, NamedTuple

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
    context.set_forkserver_preload(["tests.faulty", "faulty", "emcomm.train"])
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
