"""All replications with their verdicts: `python -m experiments.replications`; one: `… NAME`."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from emcomm.cli import parse, run_command
from emcomm.errors import BadInput
from experiments.__main__ import ListOptions, result_of, state_of
from experiments.replication import Replication
from experiments.running import RESULTS, RunOptions, load, run
from experiments.running import names as names_in


class ReplicationsOptions(ListOptions):
    """List the replications of published results, their state and verdicts."""


def names() -> list[str]:
    """The ids of all replications, the oldest paper first."""
    import experiments.replications

    return sorted(names_in(experiments.replications), key=lambda name: (replication(name).paper.year, name))


def replication(name: str) -> Replication:
    """The replication with this id; raises BadInput where there is none."""
    import experiments.replications

    there = names_in(experiments.replications)
    if name not in there:
        raise BadInput(f"there is no replication {name!r}: give one of {', '.join(there)}")
    found = load(f"replications.{name}")
    if not isinstance(found, Replication):
        raise BadInput(
            f"EXPERIMENT in experiments/replications/{name}.py must be an experiments.replication.Replication"
        )
    return found


def section(out: Path = RESULTS) -> str:
    """The table of the page of results: for each paper what it asks, what came out here, and the verdict."""
    lines = ["| paper | question | ours | verdict |", "|---|---|---|---|"]
    for name in names():
        result = result_of(f"replications/{name}", out)
        if result is not None:
            paper = replication(name).paper
            page = f"[{paper.authors} {paper.year}]({name}/README.md)"
            lines.append(f"| {page} | {result['question']} | {result['key']} | {result['verdict']} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """The command line."""
    console = Console(highlight=False)
    if sys.argv[1:] and not sys.argv[1].startswith("-"):
        name, *flags = sys.argv[1:]
        replication(name)
        return run(f"replications.{name}", parse(RunOptions, flags, f"experiments.replications {name}"), console)
    options = parse(ReplicationsOptions, sys.argv[1:], "experiments.replications")
    if options.markdown:
        print(section(options.out), end="")
        return 0
    table = Table("replication", "paper", "state", "verdict", show_lines=True)
    for name in names():
        result, paper = result_of(f"replications/{name}", options.out), replication(name).paper
        verdict = f"[bold]{result['verdict']}[/]: {escape(result['reason'])}" if result else "–"
        state = state_of(f"replications.{name}", options.log_dir, result)
        table.add_row(f"[bold]{name}[/]", escape(f"{paper.authors} {paper.year}: {paper.title}"), state, verdict)
    console.print(table)
    console.print("run one with: python -m experiments.replications NAME (--quick for a small version)")
    return 0


if __name__ == "__main__":
    run_command(main)
