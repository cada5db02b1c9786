"""The code that travels to the nodes of a cluster: emcomm itself, and modules of one's own.

It is what this process has imported and what is not installed: a game that is named on the command line is imported
before Ray is started. Of a package the whole folder travels, of a single file also the files beside it. What is
installed (in site-packages, or with Python) does not: torch, numpy and the like must be on the nodes.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from emcomm.runs import REVISION, git_revision

ROOMS = ("envs", "emcomm", "analysis", "experiments")
HOME = Path(__file__).resolve().parent.parent
_LEFT_OUT = ("__pycache__", ".*")
_RESULTS = ("results", "notebooks")  # of ours: no worker needs them
_INSTALLED = {"site-packages", "dist-packages"}


@contextlib.contextmanager
def runtime_env() -> Iterator[dict[str, Any]]:
    """What Ray is to bring to every node before it starts a worker there; it is read while the context is open."""
    with tempfile.TemporaryDirectory(prefix="emcomm-code-") as folder:
        for name, place in own_code().items():
            if place.is_dir():
                left_out = shutil.ignore_patterns(*_LEFT_OUT, *(_RESULTS if name in ROOMS else ()))
                shutil.copytree(place, Path(folder) / name, ignore=left_out, ignore_dangling_symlinks=True)
            else:
                shutil.copy(place, folder)
        yield {"working_dir": folder, "env_vars": {REVISION: git_revision() or ""}}


def own_code() -> dict[str, Path]:
    """The packages and single files that travel, by the names that they have on the way."""
    rooms = {room: HOME / room for room in ROOMS if (HOME / room).is_dir()}
    imported = list(_imported())
    beside = {file.name: file for place in imported if place.is_file() for file in sorted(place.parent.glob("*.py"))}
    return {**beside, **{place.name: place for place in imported}, **rooms}


def _imported() -> Iterator[Path]:
    """Modules of one's own, as packages or files."""
    python = [Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")]
    for name in {name.partition(".")[0] for name in list(sys.modules)} - {*ROOMS, "__main__", "__mp_main__"}:
        module = sys.modules.get(name)
        folders = [*getattr(module, "__path__", ())]
        file = getattr(module, "__file__", None)
        place = Path(folders[0] if folders else file or "").resolve()
        installed = _INSTALLED & set(place.parts) or any(place.is_relative_to(folder) for folder in python)
        if (folders or (file and place.suffix == ".py")) and place.exists() and not installed:
            yield place
