"""How fast do the games step without a policy? `python -m experiments.game_speed`.

Agent-steps per second of each registered game with its own talk, on one core: what its step and its observations take,
under random legal actions whose choice is not counted. Beside it the forward and backward pass of the network alone,
on the same core just before: ratios hold where single figures drift.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from emcomm.cli import parse, run_command
from emcomm.config import Config
from emcomm.games import with_talk
from emcomm.worlds import declaration, make_negotiation
from envs import GAMES
from experiments.throughput import bare_rate

LARGER: dict[str, tuple[dict[str, Any], ...]] = {
    "emcomm/line-v1": ({"trains": 8},),
    "emcomm/traffic-junction-v1": ({"level": "medium"}, {"level": "hard"}),
}
"""Options of a game with which it is measured, too."""


@dataclass(frozen=True)
class GameSpeedOptions:
    """Measure agent-steps per second of each game without a policy, on one core."""

    games: int = 1_024
    """Games that are played at once (games)."""
    seconds: float = 2.0
    """Time in which each is stepped, after a warm-up (seconds)."""

    def __post_init__(self) -> None:
        if not 1 <= self.games <= 2**20:
            raise ValueError(f"games must be from 1 to {2**20:,}, not {self.games}")
        if not 0 < self.seconds < float("inf"):
            raise ValueError(f"seconds must be above 0 and finite, not {self.seconds}")


def step_rate(config: Config, seconds: float) -> float:
    """Agent-steps per second: agents times steps, those included in which an agent can only wait."""
    rng = np.random.default_rng(0)
    talk = make_negotiation(config, config.games, np.random.SeedSequence(0))
    talk.reset()
    mask, taken, steps, warm = talk.observe().mask, 0.0, 0, 0.1 * seconds
    while taken < seconds:
        actions = np.where(mask, rng.random(mask.shape, np.float32), -1).argmax(axis=2)
        begun = time.perf_counter()
        over = talk.step(actions).over
        if over.any():
            talk.reset(over)
        mask = talk.observe().mask
        taken += time.perf_counter() - begun
        steps += actions.size
        if warm and taken > warm:
            warm, taken, steps = 0.0, 0.0, 0
    return steps / taken


def main() -> int:
    """The command line."""
    options = parse(GameSpeedOptions, sys.argv[1:], "experiments.game_speed")
    table = Table(
        "game", "agents", "agent-steps/s", "times the bare network", title=f"{options.games:,} games, one core"
    )
    console = Console(highlight=False)
    for env in GAMES:
        for own in ({}, *LARGER.get(env, ())):
            config = with_talk(Config(env=env, game_options=own, games=options.games, unroll=8, device="cpu"))
            bare = bare_rate(config, options.seconds / 2, 1)
            rate = step_rate(config, options.seconds)
            name = " ".join([env, *(f"{option}={value}" for option, value in own.items())])
            table.add_row(name, str(declaration(config).n_agents), f"{rate:,.0f}", f"{rate / bare:.1f}")
            console.print(f"{name}: {rate:,.0f} agent-steps/s")
    console.print(table)
    return 0


if __name__ == "__main__":
    run_command(main)
