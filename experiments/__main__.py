"""All experiments with their state: `python -m experiments`. One of them, or your own: `python -m experiments NAME`."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from emcomm.cli import parse, run_command
from experiments.running import RESULTS, RunOptions, jobs, load, module_of, names, run


@dataclass(frozen=True)
class ListOptions:
    """List the experiments, their state and what they found."""

    log_dir: Path = Path("logs/experiments")
    """Folder of the runs."""
    out: Path = RESULTS
    """Folder of the results."""
    markdown: bool = False
    """As the README's section instead."""


def result_of(name: str, out: Path = RESULTS) -> dict[str, Any] | None:
    """What an experiment found, from its folder of results; None where there is nothing yet."""
    path = out / name / "result.json"
    return json.loads(path.read_text()) if path.exists() else None


def state_of(name: str, log_dir: Path, result: dict[str, Any] | None) -> str:
    """How far an experiment is: what was run, and whether its result is of these runs."""
    todo = jobs(name, log_dir)
    there = sum(job.measured.exists() for job in todo)
    state = f"{there} of {len(todo)} runs" if there else "not run"
    if not result:
        return state
    return f"done: {result['runs']} runs" if result["runs"] == len(todo) else f"outdated: {state}"


def section(out: Path = RESULTS) -> str:
    """The README's table: for each question the answer, the figure behind it, and its page."""
    lines = ["| question | answer | figure |", "|---|---|---|"]
    for name in names():
        result = result_of(name, out)
        if result is not None:
            page = f"[{result['question']}](experiments/results/{name}/README.md)"
            lines.append(f"| {page} | {result['answer']} | {result['key']} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """The command line."""
    if sys.argv[1:] and not sys.argv[1].startswith("-"):
        said, *flags = sys.argv[1:]
        name = module_of(said)
        load(name)
        return run(name, parse(RunOptions, flags, f"experiments {said}"), Console(highlight=False))
    options = parse(ListOptions, sys.argv[1:], "experiments")
    if options.markdown:
        print(section(options.out), end="")
        return 0
    table = Table("experiment", "question", "state", "found", show_lines=True)
    for name in names():
        result = result_of(name, options.out)
        state, found = state_of(name, options.log_dir, result), escape(result["headline"]) if result else "–"
        table.add_row(f"[bold]{name}[/]", escape(load(name).question), state, found)
    console = Console(highlight=False)
    console.print(table)
    console.print(
        "run one with: python -m experiments NAME (--quick for a small version), or a module or file of your own"
    )
    return 0


if __name__ == "__main__":
    run_command(main)
