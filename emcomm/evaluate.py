"""Let the frozen policy of a run play again: `python -m emcomm.evaluate RUN --channel shuffled`."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from rich.console import Console

from emcomm.cli import parse, print_dialogues, print_figures, run_command
from emcomm.config import Config
from emcomm.errors import BadInput
from emcomm.evaluation import Tally, play, ten_of
from emcomm.runs import Run, load_weights
from emcomm.worlds import choose_device, make_policy, move_names


@dataclass(frozen=True)
class EvaluateOptions:
    """Repeat the evaluation of a run's frozen policy, with any option of the channel overridden. Writes nothing."""

    run: tyro.conf.Positional[Path]
    """The run's folder."""
    config: Config
    json: bool = False
    """Print the figures as JSON instead of tables."""


def options_from(args: list[str]) -> EvaluateOptions:
    """The flags; their defaults come from the run."""
    folder = next((Path(a) for a in args if not a.startswith("-") and (Path(a) / "config.json").exists()), None)
    if folder is None and not {"-h", "--help"} & set(args):
        named = next((a for a in args if not a.startswith("-")), None)
        Run.open(Path(named)) if named else None
        raise BadInput("name a run: python -m emcomm.evaluate RUN")
    config = Run.open(folder).config if folder else Config()
    return parse(EvaluateOptions, args, "emcomm.evaluate", EvaluateOptions(folder or Path("RUN"), config))


def main() -> int:
    """The command line."""
    options = options_from(sys.argv[1:])
    config, console = options.config, Console(highlight=False)
    run = Run.open(options.run)
    checkpoint = run.newest()
    policy = make_policy(config, choose_device(config.device))
    load_weights(policy, checkpoint.part("policy"), run.path)
    torch.set_num_threads(os.cpu_count() or 1)
    sampled, greedy, shown = Tally(), Tally(), None
    for table in play(policy, config, config.evaluation_games):
        sampled.add(table)
        shown = shown if shown is not None else ten_of(table)
    for table in play(policy, config, config.evaluation_games, greedy_moves=True):
        greedy.add(table)
    rows = {"sampled": sampled.figures(), "greedy moves": greedy.figures()}
    if options.json:
        print(json.dumps({name.replace(" ", "_"): figures.to_json() for name, figures in rows.items()}, indent=2))
        return 0
    if shown is not None:
        print_dialogues(console, shown, move_names(config), config.rules.eot)
    print_figures(
        console, rows, f"{run.path}, channel {config.rules.channel}, {checkpoint.facts['episodes']:,} episodes"
    )
    return 0


if __name__ == "__main__":
    run_command(main)
