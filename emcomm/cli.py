"""What the command lines share: flags from dataclasses, and tables for the terminal."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import tyro
from rich.console import Console
from rich.table import Table

from emcomm.dialogues import DialogueTable
from emcomm.errors import BadInput, Fault
from emcomm.evaluation import Figures
from emcomm.signals import Stopped, raise_stopped

Options = TypeVar("Options")


def parse(options: type[Options], args: Sequence[str], program: str, default: Options | None = None) -> Options:
    """Flags -> dataclass, flat; an unknown flag or a value out of range raises BadInput naming it."""
    given: dict[str, Any] = {} if default is None else {"default": default}
    try:
        with contextlib.redirect_stderr(io.StringIO()) as said:
            return tyro.cli(
                options, args=args, prog=f"python -m {program}", config=(tyro.conf.OmitArgPrefixes,), **given
            )  # fmt: skip
    except SystemExit as leaving:
        if not leaving.code:  # --help
            raise
        raise BadInput(_unboxed(said.getvalue())) from None


def _unboxed(said: str) -> str:
    """The first paragraph under the title of tyro's box, and the flag by the name that it has on the command line."""
    lines = [line.strip("│ ") for line in said.splitlines()[1:]]
    paragraphs = [
        list(group) for text, group in itertools.groupby(lines, lambda line: line.strip("─-╰╯") != "") if text
    ]
    message = " ".join(paragraphs[0]) if paragraphs else said
    return re.sub(r"^Error parsing [\w.]+: (\w+)", lambda m: "--" + m[1].replace("_", "-"), message)


def run_command(command: Callable[[], int | None]) -> None:
    """Call `command` and leave with its exit code; faults become one line on stderr, bugs keep their traceback."""
    raise_stopped()
    try:
        code = command() or 0
    except BadInput as error:
        code = _say(error, 2)
    except Fault as error:
        code = _say(error, 1)
    except KeyboardInterrupt as stopped:
        code = _say("interrupted", stopped.code if isinstance(stopped, Stopped) else 130)
    except BrokenPipeError:  # the reader of our output has gone, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    sys.exit(code)


def _say(message: object, code: int) -> int:
    with contextlib.suppress(OSError):  # the terminal may be gone
        print("emcomm: " + _one_line(str(message)), file=sys.stderr)
    return code


def _one_line(message: str) -> str:
    """A message on one line of a bearable length, in which what a file says cannot steer the terminal."""
    line = " ".join(message.split())
    if len(line) > 2000:
        line = f"{line[:1000]} […] {line[-900:]}"
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in line)


def print_figures(console: Console, rows: dict[str, Figures], title: str) -> None:
    """One line per condition: success with its interval, and what the talk looks like."""
    table = Table(
        "play", "success [95 % Wilson]", "mean rounds", "talks cut", "no talk", title=title, title_justify="left"
    )
    for name, figures in rows.items():
        table.add_row(
            name, str(figures.success), f"{figures.mean_rounds:.2f}",
            f"{100 * figures.cut:.2f} %", f"{100 * figures.silent:.2f} %",
        )  # fmt: skip
    console.print(table)


def print_dialogues(console: Console, table: DialogueTable, move_names: Sequence[str], eot: int) -> None:
    """Dialogues as in the talk's table: timestep, actions of each agent, outcome."""
    agents = table.moves.shape[1]
    shown = Table(
        "dialogue", "timestep", *(f"agent {i + 1}" for i in range(agents)), "outcome",
        title=f"{len(table)} dialogues ({eot} = EOT)", title_justify="left",
    )  # fmt: skip
    for d in range(len(table)):
        one = table[d]
        for t, said in enumerate(one.symbols):
            shown.add_row(str(d + 1) if t == 0 else "", str(t + 1), *("-" if s < 0 else str(s) for s in said), "")
        moves = ["-" if m < 0 else move_names[m] for m in one.moves[0]]
        outcome = "success" if one.success[0] else "crash"
        shown.add_row("" if len(one.symbols) else str(d + 1), "move", *moves, outcome, end_section=True)
    console.print(shown)
