"""emcomm: a research sandbox for emergent communication. Training and the command lines live here."""

from __future__ import annotations

import importlib.util
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

try:
    __version__ = version("emcomm")
except PackageNotFoundError:  # run from a checkout that was not installed
    __version__ = "0+unknown"


def require_room(room: str) -> None:
    """Raise ImportError where another folder answers to the name of one of our top-level packages.

    Their names are generic; one that is not needed may be shadowed.
    """
    home = Path(__file__).resolve().parent.parent
    spec = importlib.util.find_spec(room)
    origin = Path(spec.origin).resolve().parent if spec and spec.origin else None
    if origin != home / room:
        raise ImportError(
            f"emcomm needs its own package {room!r} at {home / room}, but Python finds {origin or 'none'}: "
            f"start Python where that folder does not come first on sys.path, or rename it"
        )


require_room("envs")
