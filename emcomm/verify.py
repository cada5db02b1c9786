"""Whether a run is whole: `python -m emcomm.verify RUN`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console
from rich.table import Table

from emcomm.cli import parse, run_command


@dataclass(frozen=True)
class VerifyOptions:
    """Check a run: every dialogue and checksum, the order of episodes, resumes, and that the checkpoint fits the log.

    Nothing is changed. The exit code is 0 for a whole run and 1 for one that is not.

    Example: python -m emcomm.verify logs/RUN
    """

    run: tyro.conf.Positional[Path]
    """The run's folder."""
    env: str | None = None
    """The game, where the run was trained on one outside emcomm (module:Name): only what is named here is executed."""
    code: tuple[str, ...] = ()
    """Channels, torsos and algorithms outside emcomm that the run uses (module:Name); nothing else is executed."""


def main() -> int:
    """The command line."""
    options = parse(VerifyOptions, sys.argv[1:], "emcomm.verify")

    from emcomm.verification import check_run

    console, report = Console(highlight=False), check_run(options.run, options.env, options.code)
    table = Table("holds", "figures", title=str(options.run), title_justify="left")
    for name, figures in report.passed:
        table.add_row(name, figures)
    console.print(table, markup=False)
    for note in report.notes:
        console.print(f"note: {note}", soft_wrap=True, markup=False)
    for problem in report.problems:
        console.print(f"problem: {problem}", soft_wrap=True, markup=False)
    verdict = f"not whole: {len(report.problems)} problems" if report.problems else "whole"
    console.print(f"{options.run} is {verdict}", soft_wrap=True, markup=False)
    return 1 if report.problems else 0


def run() -> None:
    """The console script."""
    run_command(main)


if __name__ == "__main__":
    run()
