"""Train agents that talk: `python -m emcomm.train --workers 32`."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import math
import os
import shlex
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.console import Console

from emcomm.cli import game_options, parse, print_dialogues, print_figures, run_command
from emcomm.cluster import Cluster, start_ray
from emcomm.config import PRESETS, Config, naming_of
from emcomm.errors import BadInput
from emcomm.runs import Run
from emcomm.schemas import PlayFigures, Summary
from emcomm.signals import Stopped
from emcomm.statistics import Mean
from envs import GAMES

if TYPE_CHECKING:  # torch takes seconds to import, and neither --help nor a wrong flag needs it
    from emcomm.progress import Watch
    from emcomm.training import Training


@dataclass(frozen=True)
class TrainOptions:
    """Train actor-critics on games with talk, by A3C or another algorithm, and log every dialogue.

    Examples: python -m emcomm.train --workers 32 · python -m emcomm.train --workers 0 --episodes 2e4 --seed 1 ·
    python -m emcomm.train --env emcomm/signalling-v1 --game-options n_values=8 ·
    python -m emcomm.train --resume logs/RUN
    """

    config: Config = field(default_factory=Config)
    preset: Literal["talk", "terse", "silent"] = "talk"
    """Starting point for all other flags. talk: the game of the 2022 talk; terse: a price on each round, up to 0.05;
    silent: no talk at all, the baseline."""
    log_dir: Path = Path("logs")
    """Folder for runs."""
    run_name: str = ""
    """Name of the run's folder; by default made of env, seed and start time."""
    resume: Path | None = None
    """Continue the run in this folder from its last checkpoint, with its settings."""
    ray_address: str | None = None
    """Ray cluster to join (address, or auto); by default a local one is started and stopped."""
    workers_per_process: int = 0
    """Workers that share a process on Ray. 0: as many as it takes with one process for each core (workers)."""
    code: tuple[str, ...] = ()
    """With --resume: channels, torsos and algorithms outside emcomm that the run uses (module:Name); nothing else is
    executed."""

    @property
    def processes(self) -> int:
        """How many will compute gradients on this machine."""
        workers = self.config.workers
        if self.workers_per_process:
            return math.ceil(workers / self.workers_per_process) or 1
        return max(1, min(workers, os.cpu_count() or 1))


def options_from(args: list[str]) -> TrainOptions:
    """The flags; their defaults come from --preset, or from the run given to --resume."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--preset", nargs="?")
    first.add_argument("--log-dir", "--log_dir", nargs="?")
    first.add_argument("--run-name", "--run_name", nargs="?")
    first.add_argument("--resume", type=Path, nargs="?")
    first.add_argument("--env", nargs="?")
    first.add_argument("--game-options", "--game_options", nargs="*", default=[])
    for flag in ("--channel", "--torso", "--algorithm"):
        first.add_argument(flag, nargs="?")
    first.add_argument("--code", nargs="*", default=[])
    start, _ = first.parse_known_args(args)
    saved = PRESETS.get(start.preset, Config())
    if start.resume is not None:
        for name in ("preset", "log_dir", "run_name"):
            if getattr(start, name) is not None:
                flag = name.replace("_", "-")
                raise BadInput(f"--{flag} and --resume exclude each other: a resumed run keeps its settings and folder")
        named = [*start.code, start.channel, *(start.torso or "").split(","), start.algorithm]
        saved = Run.open(start.resume, start.env, named).config
    elif start.env is not None and start.env != saved.env and not {"-h", "--help"} & {*args}:
        with contextlib.suppress(ValueError):  # `parse` says what is wrong with a flag
            saved = dataclasses.replace(saved, env=start.env, game_options=game_options(start.game_options))
        saved = _with_talk(saved)
    options = parse(TrainOptions, args, "emcomm.train", TrainOptions(saved))
    if options.ray_address is not None and not options.config.workers:
        raise BadInput("--ray-address and --workers 0 exclude each other: in one process there is no Ray")
    if options.workers_per_process < 0:
        raise BadInput(f"--workers-per-process must not be negative, not {options.workers_per_process}")
    if start.resume is None:
        return options
    config = dataclasses.replace(options.config, env=GAMES.present(options.config.env))
    options = dataclasses.replace(options, config=config)
    for name in ("env", "game_options", "rules", "hidden_size", "torso", "policies", "algorithm", "population", "seed"):
        if getattr(options.config, name) != getattr(saved, name):
            raise BadInput(
                f"the checkpoint in {start.resume} does not fit: {name} is {getattr(saved, name)} there, "
                f"not {getattr(options.config, name)}; a resumed run keeps its game, talk, network and seed"
            )
    return options


def _with_talk(config: Config) -> Config:
    """The game's own defaults of talk; those of the configuration, where the game is none or not to be built."""
    from emcomm.games import with_talk  # the worlds take half a second to import, and a wrong flag needs none

    return with_talk(config)


def default_name(config: Config) -> str:
    """Env, seed and start time."""
    env = config.env.rpartition("/")[2].replace(":", "-")
    return f"{env}-seed{config.seed}-{time.strftime('%Y%m%d-%H%M%S')}"


def train(options: TrainOptions, console: Console, watch: Watch = lambda course: None) -> int:
    """Train, evaluate, and say what was made; the exit code. `watch` is that of `emcomm.training.Training`."""
    from numpy.random import SeedSequence

    from emcomm.checkpoints import load_weights
    from emcomm.worlds import choose_device, make_algorithm, make_negotiation, make_policy, place

    config, launched = options.config, time.monotonic()
    # what cannot be built or reached is refused before anything lies on disk
    make_algorithm(config)
    make_negotiation(config, 1, SeedSequence(0), training=True)
    device, note = config.device, None
    if options.ray_address is None:
        device, note = place(config, options.processes)
    else:  # its nodes may differ from this machine: there each process looks for itself
        choose_device(device)
    policy = make_policy(config)
    if options.resume is not None and (run := Run(options.resume, config)).checkpoints():
        load_weights(policy, run.newest().part("policy"), options.resume)
    if note:
        console.print(note, soft_wrap=True, markup=False)
    if not config.workers:
        return _train(options, device, console, launched, None, watch)
    if options.resume is None and options.run_name:
        Run.require_free(options.log_dir / options.run_name)  # before Ray, which takes seconds to start
    with start_ray(options.ray_address) as cluster:
        return _train(options, device, console, launched, cluster, watch)


def _train(
    options: TrainOptions, device: str, console: Console, launched: float, cluster: Cluster | None, watch: Watch
) -> int:
    from emcomm.training import Training

    config = options.config
    if options.resume is not None:
        run = Run(options.resume, config)
    else:
        name = options.run_name or default_name(config)
        run = Run.create(options.log_dir, name, config, another=not options.run_name)
    with run.lock():
        resume = run.continuation() if options.resume is not None else None
        if resume is not None and (done := run.finished(resume)) is not None:
            _print_finished(console, done, run)
            return 0
        training = Training(run, config, device, console, launched, resume, cluster, options.workers_per_process, watch)
        return _finish(training, console)


def _finish(training: Training, console: Console) -> int:
    from emcomm.worlds import bounds_of_talk, declaration, notes_of_game

    run, config = training.run_folder, training.config
    where, named = shlex.quote(str(run.path)), naming_of(config)
    does = "resuming" if training.resumed else "training"
    console.print(f"{does} {where}: {_headline(config, training.device)}", soft_wrap=True)
    for note in (*training.notes, *notes_of_game(config), *bounds_of_talk(config)):
        console.print(note, soft_wrap=True, markup=False)
    try:
        training.learn()
        console.print(f"playing {config.evaluation_games:,} games with the frozen policy", soft_wrap=True)
        sampled, greedy = training.evaluate()
    except KeyboardInterrupt as stopped:
        training.summarise(interrupted=True)
        with contextlib.suppress(OSError):  # the terminal may be gone
            console.print(
                f"interrupted after {training.course.episodes:,} episodes; "
                f"continue with: python -m emcomm.train --resume {where}{named}", soft_wrap=True,
            )  # fmt: skip
        return stopped.code if isinstance(stopped, Stopped) else 130
    summary = training.summarise(
        interrupted=False,
        evaluation={"sampled": sampled.figures.to_json(), "greedy_moves": greedy.figures.to_json()},
    )
    print_dialogues(console, sampled.shown, declaration(config), config.rules.eot)
    print_figures(console, {"sampled": sampled.figures, "greedy moves": greedy.figures}, "the frozen policy")
    _print_end(console, summary, where, named)
    return 0


def _print_finished(console: Console, done: Summary, run: Run) -> None:
    where, figures = shlex.quote(str(run.path)), done.evaluation
    named = naming_of(run.config)
    assert figures is not None
    console.print(
        f"{where} is finished: {done.episodes:,} episodes, {_reached(figures.sampled)}; nothing was changed. More "
        f"episodes: --resume {where} --episodes N{named}; next: python -m emcomm.analyze {where}{named}",
        soft_wrap=True,
    )


def _reached(figures: PlayFigures) -> str:
    """Success and mean return of the frozen policy, as far as its summary has them."""
    parts = []
    if figures.success is not None and figures.success_low is not None and figures.success_high is not None:
        low, high = 100 * figures.success_low, 100 * figures.success_high
        parts.append(f"success {100 * figures.success:.2f} % [{low:.2f}, {high:.2f}]")
    if figures.mean_return is not None:
        returned = _mean(figures.mean_return, figures.return_low, figures.return_high, figures.games)
        parts.append(f"mean return {returned}")
    return ", ".join(parts) or "without figures"


def _headline(config: Config, device: str) -> str:
    workers = f"{config.workers} workers" if config.workers else "in this process"
    gpu = f" on {device}" if device not in ("cpu", "auto") else ""
    game = " ".join([config.env, *(f"{name}={value}" for name, value in config.game_options.items())])
    channel = f"channel {config.rules.channel}{', gradients through tokens' if config.token_gradient else ''}"
    return f"{game}, {channel}, {config.episodes:,} episodes, seed {config.seed}, {workers}{gpu}"


def _print_end(console: Console, summary: dict, where: str, named: str) -> None:
    reached, episodes, joint_moves = (summary[key] for key in ("episodes_to_95", "episodes", "joint_moves"))
    several = f" ({joint_moves:,} joint moves)" if joint_moves > episodes else ""
    success = f"95 % success after {reached:,} episodes" if reached else "95 % success not reached during training"
    console.print(
        f"{episodes:,} episodes{several} in {summary['wall_s']:.0f} s; "
        + (f"{success}; " if summary["recent_success"] is not None else "")
        + f"return of the last {summary['recent_return_episodes']:,} {_recent(summary)}"
        + f"; staleness {summary['staleness_mean']:.1f} updates (at most {summary['staleness_max']})"
        + "".join(f"; {label} {summary[key]}" for key, label in _COUNTED.items() if summary[key]),
        soft_wrap=True,
    )
    console.print(f"the run lies in {where}; next: python -m emcomm.analyze {where}{named}", soft_wrap=True)


def _recent(summary: dict) -> str:
    """The mean return at the end of training."""
    value, low, high = (summary[f"recent_return{end}"] for end in ("", "_low", "_high"))
    return _mean(value, low, high, 0) if value is not None else "unknown"


def _mean(value: float, low: float | None, high: float | None, count: int) -> str:
    """A mean with its interval, None where it has none."""
    return str(Mean(value, math.nan if low is None else low, math.nan if high is None else high, count))


_COUNTED = {
    "workers_died": "workers that died and were replaced:",
    "gradients_refused": "gradients refused:",
    "resumes": "resumes:",
}


def main() -> int:
    """The command line."""
    return train(options_from(sys.argv[1:]), Console(highlight=False))


def run() -> None:
    """The console script."""
    run_command(main)


if __name__ == "__main__":
    run()
