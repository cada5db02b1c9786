"""What the clients share: the game, the command line, and the test of what was learned.

The game is the crossing with a short talk: two rounds of five tokens, then the moves. Two trains that learn one policy
succeed in 50 % of the games without talk. With it in 98 % at best: they cannot part where both say the same in both
rounds, which happens to them in one game of 25.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

import envs
from emcomm.statistics import rate

TALK: dict[str, Any] = {"n_tokens": 5, "opening": "talk", "closing": "fixed", "max_rounds": 2}
STEPS_PER_GAME = TALK["max_rounds"] + 1
Act = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""From the observations of all agents, with their masks, to an action for each."""


def make(channel: str, **view: Any) -> envs.NegotiationEnv:
    """The crossing over a channel; `view` are the options of `envs.parallel.View`."""
    return envs.parallel_env(channel=channel, **TALK, **view)


def arguments(steps: int, about: str | None) -> argparse.Namespace:
    """The flags of a client, whose budget is `steps` by default."""
    parser = argparse.ArgumentParser(description=(about or "").partition("\n")[0])
    parser.add_argument("--channel", default="open", help="open: words are heard; shuffled: those of other games")
    parser.add_argument("--seed", type=int, default=0, help="fixes the networks and the games")
    parser.add_argument("--steps", type=int, default=steps, help="length of the training (steps of one game)")
    parser.add_argument("--games", type=int, default=2_000, help="games of the test (games)")
    parser.add_argument("--at-least", type=float, default=0.0, help="fail below this success (0 to 1)")
    parser.add_argument("--at-most", type=float, default=1.0, help="fail above this success (0 to 1)")
    args = parser.parse_args()
    args.started = time.monotonic()
    return args


def tell(tool: str, act: Act, args: argparse.Namespace) -> None:
    """Play games with the learned policy, sampled as in training, and print the share that succeeded.

    Leaves with a line and code 1 where that is not what `--at-least` and `--at-most` ask for.
    """
    trained = time.monotonic() - args.started
    env, won = make(args.channel), 0
    observations, _ = env.reset(seed=args.seed + 1_000_000)
    for _ in range(args.games):
        while env.agents:
            observations, *_ = env.step(dict(act(observations)))
        assert env.dialogue is not None
        won += bool(env.dialogue.success)
        observations, _ = env.reset()
    success = rate(won, args.games)
    print(
        f"{tool}, channel {args.channel}, seed {args.seed}: success {success} in {args.games:,} games, "
        f"after {args.steps // STEPS_PER_GAME:,} games of training in {trained:.0f} s",
        flush=True,
    )
    if not args.at_least <= success.value <= args.at_most:
        sys.exit(f"{tool}: success must be from {100 * args.at_least:.0f} % to {100 * args.at_most:.0f} %")


def stacked(observations: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """`[N, F]` what the agents see, and `[N, A]` what they may do."""
    seen = [*observations.values()]
    return np.stack([s["observation"] for s in seen]), np.stack([s["action_mask"] for s in seen])
