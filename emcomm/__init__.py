"""emcomm: a research sandbox for emergent communication. Training and the command lines live here."""

from __future__ import annotations

import importlib.util
from pathlib import Path


def _refuse_shadowed_rooms() -> None:
    """The rooms are top-level packages with generic names: make sure that no other folder answers to them."""
    home = Path(__file__).resolve().parent.parent
    for room in ("envs", "analysis", "experiments"):
        spec = importlib.util.find_spec(room)
        found = Path(spec.origin).resolve().parent if spec and spec.origin else None
        if found != home / room:
            raise ImportError(
                f"emcomm needs its own package {room!r} at {home / room}, but Python finds {found or 'none'}: "
                f"start Python where that folder does not come first on sys.path, or rename it"
            )


_refuse_shadowed_rooms()
