"""Clears up after a local Ray, whatever ends its driver: a small process that outlives it. Standard library only.

`python -I janitor.py FOLDER` waits until its standard input ends: the driver holds the other end, so that is the moment
when the driver closes it or dies. Then it kills what is left of the cluster, and removes its folder. Ray alone leaves
its agents behind for a minute, and its files for ever.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

_PATIENCE_S = 10


def token_file(folder: Path) -> Path:
    """The file of the secret that a cluster asks for; its path in the environment marks the cluster's processes."""
    return folder / "token"


def processes(folder: Path) -> Iterator[int]:
    """Ids of the processes of the cluster in `folder`."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if int(process.name) != os.getpid() and _belongs(process, folder):
                yield int(process.name)
        except OSError:  # it has just ended, or belongs to somebody else
            continue


def _belongs(process: Path, folder: Path) -> bool:
    """Whether it was started with the path of the token file. Ray's own titles (`ray::…`) may have overwritten that;
    a process with such a title has a log in the folder open."""
    mark = b"\0RAY_AUTH_TOKEN_PATH=" + os.fsencode(token_file(folder)) + b"\0"
    if mark in b"\0" + (process / "environ").read_bytes() + b"\0":
        return True
    if not (process / "cmdline").read_bytes().startswith(b"ray::"):
        return False
    return any(folder in file.parents for file in _open_files(process))


def _open_files(process: Path) -> Iterator[Path]:
    for file in (process / "fd").iterdir():
        with contextlib.suppress(OSError):  # closed meanwhile
            yield file.readlink()


def kill(folder: Path) -> None:
    """Kill all processes of the cluster in `folder`, also those that are being started."""
    end = time.monotonic() + _PATIENCE_S
    while (left := list(processes(folder))) and time.monotonic() < end:
        for process in left:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue
        time.sleep(0.02)


def clear(folder: Path) -> None:
    """Kill what is left of the cluster in `folder`, and remove the folder."""
    kill(folder)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.stdin.buffer.read()
    clear(Path(sys.argv[1]))
