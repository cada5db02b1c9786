"""How fast does the learner learn, and how much of that is the bare network? `python -m experiments.throughput`.

Agent-steps per second with everything included (environment, sampling, gradient, Ray, dialogue log), for several
numbers of workers, each beside the forward and backward pass of the network alone on the same number of steps, in as
many processes as there are busy cores, measured just before and just after. Ratios hold where single figures drift.
`--against jax` measures it in turn with a rival: one compiled JAX program that learns the same and keeps no log.
"""

from __future__ import annotations

import contextlib
import cProfile
import dataclasses
import importlib.util
import multiprocessing
import os
import pstats
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from emcomm.a3c import InProcess, Learner, OnRay, use_one_core
from emcomm.cli import parse, run_command
from emcomm.cluster import start_ray
from emcomm.config import Config
from emcomm.dialogues import DialogueWriter
from emcomm.errors import BadInput
from emcomm.worlds import choose_device, declaration, make_negotiation, make_policy


@dataclass(frozen=True)
class ThroughputOptions:
    """Measure agent-steps per second of the learner, and of the bare network, for several numbers of workers."""

    config: Config = field(default_factory=lambda: Config(episodes=10**9))
    worker_counts: tuple[int, ...] = (0, 1, 2, 8, 32)
    """Numbers of workers to measure."""
    seconds: float = 10.0
    """Length of each measurement, after a warm-up (seconds)."""
    against: Literal["none", "jax"] = "none"
    """jax: also measure a compiled JAX learner of the crossing, in pairs (needs the extra `jax`)."""

    def __post_init__(self) -> None:
        if not self.worker_counts or min(self.worker_counts) < 0:
            raise ValueError(f"worker_counts must be numbers from 0 up, not {self.worker_counts}")
        if not 0 < self.seconds < float("inf"):
            raise ValueError(f"seconds must be above 0 and finite, not {self.seconds}")


def learner_rate(config: Config, seconds: float, log: bool = True) -> tuple[float, float]:
    """Agent-steps per second of the whole learner once all workers have joined, and the mean staleness (updates)."""
    use_one_core()
    learner = Learner(config)
    ray = start_ray() if config.workers else contextlib.nullcontext()
    with ray as cluster, tempfile.TemporaryDirectory() as folder:
        source = OnRay(config, 0, cluster, lambda _: None) if cluster else InProcess(config)
        game = declaration(config)
        writer = DialogueWriter(Path(folder), config.rules.n_tokens, game.move_names, game=game)
        joined: set[int] = set()
        steps = updates = staleness = 0
        begun: float | None = None
        try:
            for contribution in source.contributions(lambda: learner.assignment(writer.next_episode)):
                assert contribution is not None  # nobody asks for a pause
                late = learner.apply(contribution, writer.next_episode)
                if log and contribution.dialogues is not None:
                    writer.add(contribution.dialogues)
                if contribution.dialogues is not None:
                    joined.add(int(contribution.dialogues.worker[0]))
                if begun is None and len(joined) == max(config.workers, 1) and learner.version > 30:
                    begun = time.monotonic()
                elif begun is not None:
                    steps, updates, staleness = steps + contribution.agent_steps, updates + 1, staleness + late
                    if time.monotonic() - begun > seconds:
                        writer.flush()
                        return steps / (time.monotonic() - begun), staleness / updates
        finally:
            source.close()
            writer.close()
    raise AssertionError("contributions never end")


def bare_rate(config: Config, seconds: float, processes: int) -> float:
    """Agent-steps per second of the network's forward and backward pass alone, summed over `processes` at once."""
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        return sum(pool.starmap(_bare_rate_here, [(config, seconds)] * processes))


def _bare_rate_here(config: Config, seconds: float) -> float:
    use_one_core()
    policy = make_policy(config, choose_device(config.device))
    negotiation = make_negotiation(config, config.games, np.random.SeedSequence(config.seed))
    negotiation.reset()
    rows, width = policy.encode(negotiation.observe()).shape
    inputs = torch.rand(config.unroll, rows, width, device=policy.device)
    mask = torch.ones(policy.sizes.n_actions, dtype=torch.bool, device=policy.device).expand(config.unroll, rows, -1)
    steps, begun = 0, None
    while begun is None or time.monotonic() - begun < seconds:
        begun, steps = (time.monotonic(), 0) if begun is None else (begun, steps)
        memory, memories = policy.initial_memory(rows), []
        for seen in inputs:
            memory = policy.remember(seen, memory)
            memories.append(memory)
        both = torch.stack(memories)
        policy.zero_grad()
        (policy.logits(both, mask).square().mean() + policy.value(both).square().mean()).backward()
        steps += inputs.shape[0] * rows
    return steps / (time.monotonic() - begun)


def rival_rate(config: Config, seconds: float) -> float:
    """Agent-steps per second of the JAX learner, in a process of its own with all cores."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_rival_rate_here, (config, seconds))


def _rival_rate_here(config: Config, seconds: float) -> float:
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    from experiments.rivals import jax_a3c

    return jax_a3c.rate(config, seconds)


_RIVAL_FOLLOWS = {
    "seed", "episodes", "workers", "in_flight", "games", "unroll", "hidden_size", "learning_rate", "discount", "trace",
    "entropy_bonus", "value_weight", "max_grad_norm", "checkpoint_every", "evaluation_games", "device",
}  # fmt: skip
PAIRS = 5
"""Measurements of the learner and of its rival in turn."""


def require_rival(config: Config) -> None:
    """Raise BadInput where JAX is missing, or the rival does not know a setting."""
    if importlib.util.find_spec("jax") is None:
        raise BadInput('--against jax needs JAX: pip install -c constraints.txt -e ".[jax]"')
    for name, value in vars(config).items():
        if name not in _RIVAL_FOLLOWS and value != getattr(Config(), name):
            raise BadInput(f"--against jax: the rival learns the crossing with the default {name}, not {value}")


def compare(config: Config, seconds: float, console: Console) -> None:
    """Print how the learner's rate stands to its rival's, in pairs."""
    pairs = [(learner_rate(config, seconds)[0], rival_rate(config, seconds)) for _ in range(PAIRS)]
    ours, rivals = np.median(pairs, axis=0)
    ratios = sorted(our / rival for our, rival in pairs)
    console.print(
        f"{config.workers} workers: {ours:,.0f} agent-steps/s, JAX without a log {rivals:,.0f}; "
        f"ratio {np.median(ratios):.2f} (median of {PAIRS} pairs, {ratios[0]:.2f} to {ratios[-1]:.2f})"
    )


_PLACES = {
    "backward pass": ("~:<method 'run_backward' of 'torch._C._EngineBase' objects>",),
    "recurrent cell": ("~:<built-in method torch.gru_cell>",),
    "environment": ("negotiation.py:step", "negotiation.py:observe", "negotiation.py:reset"),
    "sampling": ("rollout.py:sample", "rollout.py:draw_races"),
    "encoding": ("policy.py:encode",),
    "actor and critic over the unroll": ("rollout.py:_evaluate",),
    "optimiser": ("a3c.py:apply",),
    "dialogue log": ("dialogues.py:add", "dialogues.py:take"),
}


def where_time_goes(config: Config, seconds: float) -> dict[str, float]:
    """Shares of the time of one in-process learner, by profile; the profiler inflates small Python calls a little."""
    profile = cProfile.Profile()
    profile.enable()
    learner_rate(dataclasses.replace(config, workers=0), seconds)
    profile.disable()
    stats = pstats.Stats(profile)
    whole = next(row[3] for key, row in stats.stats.items() if key[2] == "learner_rate")  # type: ignore[attr-defined]
    shares = dict.fromkeys(_PLACES, 0.0)
    for (file, _, function), row in stats.stats.items():  # type: ignore[attr-defined]
        name = f"{Path(file).name}:{function}"
        for place, names in _PLACES.items():
            if name in names:
                shares[place] += row[3] / whole
    return shares | {"everything else": 1 - sum(shares.values())}


def main() -> int:
    """The command line."""
    options = parse(ThroughputOptions, sys.argv[1:], "experiments.throughput")
    config, console = options.config, Console(highlight=False)
    if options.against == "jax":
        require_rival(config)
    cores = os.cpu_count() or 1
    table = Table(
        "workers", "agent-steps/s", "bare network/s", "ratio", "staleness", title=f"{cores} cores, {config.games} games"
    )
    for workers in options.worker_counts:
        busy = min(max(workers, 1), cores)
        before = bare_rate(config, options.seconds / 2, busy)
        rate, staleness = learner_rate(dataclasses.replace(config, workers=workers), options.seconds)
        bare = (before + bare_rate(config, options.seconds / 2, busy)) / 2
        table.add_row(str(workers), f"{rate:,.0f}", f"{bare:,.0f}", f"{rate / bare:.2f}", f"{staleness:.1f}")
        console.print(f"{workers} workers: {rate:,.0f} agent-steps/s, {rate / bare:.2f} of the bare network")
    console.print(table)
    if options.against == "jax":
        for workers in options.worker_counts:
            compare(dataclasses.replace(config, workers=workers), options.seconds / 2, console)
    in_process = dataclasses.replace(config, workers=0)
    pairs = [
        (learner_rate(in_process, options.seconds / 3)[0], learner_rate(in_process, options.seconds / 3, log=False)[0])
        for _ in range(3)
    ]
    ratios = sorted(logged / unlogged for logged, unlogged in pairs)
    console.print(
        f"with the dialogue log against without: {ratios[1]:.3f} (median of {ratios[0]:.3f} to {ratios[2]:.3f})"
    )
    places = Table("where the time of one process goes", "share")
    for place, share in where_time_goes(config, options.seconds / 2).items():
        places.add_row(place, f"{100 * share:.0f} %")
    console.print(places)
    return 0


if __name__ == "__main__":
    run_command(main)
