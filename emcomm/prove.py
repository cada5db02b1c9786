"""Success and rounds of a frozen pair as intervals without sampling: `python -m emcomm.prove RUN`."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from emcomm.cli import parse, run_command
from emcomm.errors import BadInput
from emcomm.printable import printable

if TYPE_CHECKING:
    from analysis.agents.dialogue_tree import Enumeration


@dataclass(frozen=True)
class ProveOptions:
    """Follow every dialogue that a run's frozen pair may hold, down to a probability, and bound what it does.

    No game is sampled: the interval holds for sure, and not with a probability. Branches too unlikely to be followed
    are left open, and count for one end of the interval and not for the other. Nothing is written.

    Examples: python -m emcomm.prove logs/RUN · python -m emcomm.prove logs/RUN --seconds 300 --width 0.001
    """

    run: tyro.conf.Positional[Path]
    """The run's folder."""
    seconds: float = 60.0
    """Time to spend, about (s)."""
    width: float = 1e-3
    """Width of the interval for the success at which to stop (share of the games)."""
    machine: Path | None = None
    """A machine of `python -m emcomm.analyze RUN --machines` (a JSON file): also bound how far the pair is from it."""
    json: bool = False
    """Print the figures as JSON instead of a table."""
    env: str | None = None
    """The game, where the run was trained on one outside emcomm (module:Name): only what is named here is executed."""
    code: tuple[str, ...] = ()
    """Channels, torsos and algorithms outside emcomm that the run uses (module:Name); nothing else is executed."""

    def __post_init__(self) -> None:
        if not 0 < self.seconds < float("inf"):
            raise ValueError(f"seconds must be above 0 and finite, not {self.seconds}")
        if not 0 < self.width <= 1:
            raise ValueError(f"width must be above 0 and at most 1, not {self.width}")


def main() -> int:
    """The command line."""
    options = parse(ProveOptions, sys.argv[1:], "emcomm.prove")

    import torch

    from analysis.agents.certified_distance import certify
    from analysis.agents.dialogue_tree import DialogueTree, prove
    from analysis.automata.protocol_machine import ProtocolMachine
    from analysis.data.decisions import NotApplicable
    from analysis.data.runs import load

    console = Console(highlight=False)
    run = load(options.run, options.env, options.code)
    trained = run.checkpoint()
    if trained is None:
        raise BadInput(run.problems[-1])
    torch.set_num_threads(os.cpu_count() or 1)
    machine = ProtocolMachine.load(options.machine) if options.machine else None
    try:
        tree = DialogueTree(trained.policy, trained.config.rules, run.game())
        far = certify(tree, machine, options.seconds / 3, merging=True)[-1] if machine else None
    except NotApplicable as error:
        raise BadInput(f"{options.run}: {error}") from error

    def say(one: Enumeration) -> None:
        if not options.json:
            console.print(
                f"{one.nodes:>12,} nodes in {one.seconds:6.1f} s: success within {one.success.width:.5f}, "
                f"{100 * one.open:.3f} % of the dialogues open",
                soft_wrap=True,
            )

    done = prove(tree, options.seconds * (2 / 3 if machine else 1), options.width, say)
    last = done[-1]
    if options.json:
        figures = [_plain(one) for one in done]
        print(json.dumps({"enumerations": figures, "distance": asdict(far)} if far else figures, indent=2))
        return 0
    table = Table("what", "at least", "at most", title=escape(printable(f"{options.run}, {trained.version:,} updates")))
    table.title_justify = "left"
    for name, bounds, scale in (("success (%)", last.success, 100), ("talks cut (%)", last.cut, 100)):
        table.add_row(name, f"{scale * bounds.low:.4f}", f"{scale * bounds.high:.4f}")
    table.add_row("rounds", f"{last.rounds.low:.4f}", f"{last.rounds.high:.4f}")
    if far is not None:
        table.add_row("distance from the machine", f"{far.total_variation.low:.4f}", f"{far.total_variation.high:.4f}")
    console.print(table)
    if far is not None:
        console.print(
            "the distance is in total variation over whole dialogues: by so much, at most, the two differ in the "
            "probability of anything that may happen in one",
            soft_wrap=True,
        )
        if far.open > 0 and far.merged is not None:
            console.print(
                f"merging: {100 * far.open:.3f} % of the dialogues were open there after {far.nodes:,} nodes; with the "
                f"network's places merged into the machine's states it would be about {100 * far.merged:.3f} %, if "
                "those that were not followed differ as much as those that were: no bound, and so not used",
                soft_wrap=True,
            )
    if last.success.width > options.width:
        console.print(
            f"the interval is {last.success.width:.5f} wide, not {options.width}: what is left are many unlikely "
            "dialogues; more --seconds make it narrower, about as one over the root of the nodes",
            soft_wrap=True,
        )
    return 0


def _plain(one: Enumeration) -> dict[str, object]:
    """As plain values; a bound that is infinite becomes None."""
    values = asdict(one) | {"closed_by_round": one.closed_by_round.tolist()}
    if one.rounds.high == float("inf"):
        values["rounds"]["high"] = None
    return values


def run() -> None:
    """The console script."""
    run_command(main)


if __name__ == "__main__":
    run()
