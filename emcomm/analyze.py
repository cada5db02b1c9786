"""Find out what the talk does: `python -m emcomm.analyze logs/` writes a report and says the main things here.

It takes one run or a folder of runs. Nothing is written into them; the report lies beside the folder that was given.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from emcomm import require_room
from emcomm.cli import parse, run_command
from emcomm.errors import BadInput


@dataclass(frozen=True)
class AnalyzeOptions:
    """Token statistics, and what the talk does: from the logs and, where a checkpoint lies beside them, the network.

    Examples: python -m emcomm.analyze logs/ · python -m emcomm.analyze logs/RUN --tables positions dialogues ·
    python -m emcomm.analyze logs/ONE logs/OTHER --out both
    """

    logs: tyro.conf.Positional[tuple[Path, ...]]
    """Folders of runs, or above runs."""
    out: Path | None = None
    """Folder of the report. Default: beside the first, with -report after its name. Only a report is ever replaced."""
    json: bool = False
    """Print the findings as JSON instead of tables."""
    csv: bool = False
    """Write the table behind every figure as CSV, into tables/ of the report's folder."""
    machines: bool = False
    """Write the extracted machines as JSON, DOT and GraphML, into machines/ of the report's folder."""
    corpus: bool = False
    """Write the dialogues of the frozen policy in the layout of ELCC, into corpus/ of the report's folder."""
    tables: tuple[str, ...] = ()
    """Tables to print whole, by name (a wrong name lists them)."""
    measure: tuple[str, ...] = ()
    """Measures of your own to take as well (module:NAME of an analysis.Measure)."""
    env: str | None = None
    """A game outside emcomm (module:Name) on which runs were trained: only what is named here is executed."""
    code: tuple[str, ...] = ()
    """Channels, torsos and algorithms outside emcomm that the runs use (module:Name)."""
    quick: bool = False
    """A first look: fewer dialogues and games, wider intervals. A rule is named only where so little separates it from
    all others; else all that are left are named."""


def main() -> int:
    """The command line."""
    options = parse(AnalyzeOptions, sys.argv[1:], "emcomm.analyze")
    if not options.logs:
        raise BadInput("name a run, several, or a folder of runs: python -m emcomm.analyze logs/")
    require_room("analysis")

    from emcomm.analysing import analyse  # seconds of imports, of which --help needs none

    return analyse(options)


def run() -> None:
    """The console script."""
    run_command(main)


if __name__ == "__main__":
    run()
