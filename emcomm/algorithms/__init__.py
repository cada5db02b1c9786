"""From trajectory to gradient: one registry of algorithms.

An algorithm of your own is a function like those here; name it `--algorithm my_module:my_algorithm`, or add it to
`ALGORITHMS`.
"""

from __future__ import annotations

from emcomm.algorithms.a3c import a3c
from emcomm.algorithms.interface import Algorithm, Gradient
from emcomm.algorithms.ppo import ppo
from emcomm.algorithms.reinforce import reinforce
from envs.registry import Registry

ALGORITHMS: Registry[Algorithm] = Registry(
    "algorithm",
    [
        ("a3c", a3c),
        ("ppo", ppo),
        ("reinforce", reinforce),
    ],
    lambda thing: None if callable(thing) else "it must be a function like emcomm.algorithms.a3c.a3c",
)
"""Every registered algorithm."""

__all__ = ["ALGORITHMS", "Algorithm", "Gradient"]
