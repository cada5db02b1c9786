"""Let the frozen policy of a run play again: `python -m emcomm.evaluate RUN --channel shuffled`."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console

from emcomm.cli import parse, print_dialogues, print_figures, run_command
from emcomm.config import Config
from emcomm.errors import BadInput
from emcomm.runs import Run
from envs.negotiation import TalkRules


@dataclass(frozen=True)
class EvaluateOptions:
    """Repeat the evaluation of a run's frozen policy, with any option of the channel overridden. Writes nothing.

    Examples: python -m emcomm.evaluate logs/RUN · python -m emcomm.evaluate logs/RUN --channel shuffled
    """

    run: tyro.conf.Positional[Path]
    """The run's folder."""
    rules: TalkRules
    seed: int
    """Fixes the games that are played."""
    evaluation_games: int
    """Games to play, once with sampled and once with greedy moves (games)."""
    device: str
    """auto takes a GPU where there is one that can be used; or cpu, cuda, cuda:1 …"""
    json: bool = False
    """Print the figures as JSON instead of tables."""
    env: str | None = None
    """The game, where the run was trained on one outside emcomm (module:Name): only what is named here is executed."""
    code: tuple[str, ...] = ()
    """Channels, torsos and algorithms outside emcomm that the run uses (module:Name); nothing else is executed."""

    @classmethod
    def of(cls, run: Path, config: Config) -> EvaluateOptions:
        """The evaluation that `config` describes."""
        return cls(run, config.rules, config.seed, config.evaluation_games, config.device)


def options_from(args: list[str]) -> tuple[EvaluateOptions, Config]:
    """The flags, whose defaults come from the run; and the run's configuration with them."""
    if not args:
        raise BadInput("name a run: python -m emcomm.evaluate RUN")
    named = [arg for arg in args if arg not in ("-h", "--help")] or args
    first = parse(EvaluateOptions, named, "emcomm.evaluate", EvaluateOptions.of(tyro.MISSING, Config()))
    folder, saved = first.run, Run.open(first.run, first.env, first.code).config
    options = parse(EvaluateOptions, args, "emcomm.evaluate", EvaluateOptions.of(folder, saved))
    changed = {name: getattr(options, name) for name in ("rules", "seed", "evaluation_games", "device")}
    try:
        return options, dataclasses.replace(saved, **changed)
    except ValueError as error:
        raise BadInput(f"--{str(error).replace('_', '-')}") from error


def main() -> int:
    """The command line."""
    options, config = options_from(sys.argv[1:])

    import torch

    from emcomm.evaluation import evaluate
    from emcomm.worlds import choose_device, declaration, load_policy, network_rules

    if config.rules.window is None:  # the rounds that the network was trained to read, whatever the longest talk is now
        trained = network_rules(Run.open(options.run, options.env, options.code).config).visible_rounds
        config = dataclasses.replace(config, rules=dataclasses.replace(config.rules, window=trained))
    console, run = Console(highlight=False), Run.open(options.run, options.env, options.code)
    policy, checkpoint = load_policy(run, config, choose_device(config.device))
    torch.set_num_threads(os.cpu_count() or 1)
    sampled = evaluate(policy, config, config.evaluation_games)
    greedy = evaluate(policy, config, config.evaluation_games, greedy_moves=True)
    rows = {"sampled": sampled.figures, "greedy moves": greedy.figures}
    if options.json:
        print(json.dumps({name.replace(" ", "_"): figures.to_json() for name, figures in rows.items()}, indent=2))
        return 0
    print_dialogues(console, sampled.shown, declaration(config), config.rules.eot)
    print_figures(
        console, rows, f"{run.path}, channel {config.rules.channel}, {checkpoint.facts.get('episodes', 0):,} episodes"
    )
    return 0


def run() -> None:
    """The console script."""
    run_command(main)


if __name__ == "__main__":
    run()
