"""The code that travels to the nodes of a cluster: emcomm itself, and modules of one's own.

What is installed (in site-packages, or with Python) does not travel: torch, numpy and the like must be on the nodes.
"""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOMS = ("envs", "emcomm", "analysis", "experiments")
HOME = Path(__file__).resolve().parent.parent
LEFT_OUT = ("__pycache__", ".*", "/results", "/golden", "/logs")
"""Within a package (as in .gitignore): what no worker needs, and results and logs may be large."""
_INSTALLED = {"site-packages", "dist-packages"}


def runtime_env() -> dict[str, Any]:
    """What Ray is to bring to every node before it starts a worker there."""
    return {"py_modules": sorted(map(str, own_code())), "excludes": list(LEFT_OUT)}


def own_code() -> set[Path]:
    """The packages and single files that travel: the rooms of emcomm, and whatever else this process has imported that
    is not installed. A game named on the command line is imported before Ray is started."""
    rooms = {HOME / room for room in ROOMS if (HOME / room).is_dir()}
    return rooms | set(_imported())


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
