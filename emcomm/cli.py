"""What the command lines share: flags from dataclasses, and tables for the terminal."""

from __future__ import annotations

import contextlib
import errno
import io
import itertools
import json
import math
import os
import re
import sys
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import tyro
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from emcomm.config import GameOptions
from emcomm.errors import BadInput, Fault
from emcomm.printable import printable
from emcomm.signals import Stopped, raise_stopped
from emcomm.statistics import rate

if TYPE_CHECKING:  # what the worlds and the networks import takes seconds, and --help needs none of it
    from emcomm.dialogues import DialogueTable
    from emcomm.evaluation import Figures
    from envs.game import Declaration

Options = TypeVar("Options")
MOST_SAID = 4_000
"""Characters of an error line: it may name two paths."""


def parse(options: type[Options], args: Sequence[str], program: str, default: Options | None = None) -> Options:
    """Flags -> dataclass, flat; an unknown flag or a value out of range raises BadInput naming it."""
    if sum(arg.partition("=")[0].replace("_", "-") == "--game-options" for arg in args) > 1:
        raise BadInput("--game-options is given twice: give all of them in one, --game-options a=1 b=2")
    given: dict[str, Any] = {} if default is None else {"default": default}
    try:
        with contextlib.redirect_stderr(io.StringIO()) as said:
            return tyro.cli(
                options, args=args, prog=f"python -m {program}", config=(tyro.conf.OmitArgPrefixes,),
                registry=_KINDS, **given,
            )  # fmt: skip
    except SystemExit as leaving:
        if not leaving.code:  # --help
            raise
        raise BadInput(_unboxed(said.getvalue())) from None


_KINDS = tyro.constructors.ConstructorRegistry()
"""How flags become values of our own types."""


@_KINDS.primitive_rule
def _game_options(
    info: tyro.constructors.PrimitiveTypeInfo,
) -> tyro.constructors.PrimitiveConstructorSpec[GameOptions] | None:
    """`n_states=8 shape=round` -> {"n_states": 8, "shape": "round"}."""
    if info.type != GameOptions:
        return None
    return tyro.constructors.PrimitiveConstructorSpec(
        nargs="*",
        metavar="NAME=VALUE ...",
        instance_from_str=game_options,
        is_instance=lambda value: isinstance(value, dict),
        str_from_instance=lambda options: [f"{name}={_told(value)}" for name, value in options.items()],
    )


def game_options(given: Sequence[str]) -> GameOptions:
    """What follows --game-options; raises ValueError for what is not name=value."""
    options: dict[str, bool | int | float | str | None] = {}
    for name, value in map(_option, given):
        if name in options:
            raise ValueError(f"gives {name} twice")
        options[name] = value
    return options


def _option(given: str) -> tuple[str, bool | int | float | str | None]:
    """A number, true, false or null as JSON has them; anything else is text."""
    name, equals, value = given.partition("=")
    if not equals or not name:
        raise ValueError(f"must be name=value, not {given}")
    with contextlib.suppress(ValueError):
        known = json.loads(value)
        if isinstance(known, float) and "e" in value.lower() and known.is_integer():
            with contextlib.suppress(ValueError):  # too large for a whole number that anybody means
                known = whole(value)
        return name, value if isinstance(known, dict | list) else known
    return name, value


def _told(value: bool | int | float | str | None) -> str:
    return value if isinstance(value, str) else json.dumps(value)


@_KINDS.primitive_rule
def _whole_numbers(
    info: tyro.constructors.PrimitiveTypeInfo,
) -> tyro.constructors.PrimitiveConstructorSpec[int] | None:
    """A million may be written 1e6."""
    if info.type is not int:
        return None
    return tyro.constructors.PrimitiveConstructorSpec(
        1, "INT", lambda args: whole(args[0]), lambda value: type(value) is int, lambda value: [str(value)]
    )


def whole(text: str) -> int:
    """A whole number, also one with an exponent; raises ValueError for anything else.

    >>> whole("1e6"), whole("2.5e3"), whole("-3"), whole("1_000")
    (1000000, 2500, -3, 1000)
    """
    try:
        number = Decimal(text)
        if number.is_finite() and abs(number.adjusted()) < 100 and number == number.to_integral_value():
            return int(number)
    except ArithmeticError:
        pass
    raise ValueError(f"{text!r} is no whole number")


def _unboxed(said: str) -> str:
    """The first paragraph under the title of tyro's box, with the flag as it is on the command line, and what tyro
    takes it for."""
    lines = [line.strip("│ ") for line in said.splitlines()[1:]]
    paragraphs = [
        list(group) for text, group in itertools.groupby(lines, lambda line: line.strip("─-╰╯") != "") if text
    ]
    message = " ".join(paragraphs[0]) if paragraphs else said
    similar = [p for p in paragraphs[1:] if p[0].startswith(("Perhaps you meant", "Arguments similar to"))]
    flags = sorted({line.split()[0] for paragraph in similar for line in paragraph if line.startswith("--")})
    if flags:
        message += f"; did you mean {' or '.join(flags)}?"
    return re.sub(r"^Error parsing [\w.]+: (\w+)", lambda m: "--" + m[1].replace("_", "-"), message)


def run_command(command: Callable[[], int | None]) -> None:
    """Call `command` and leave with its exit code; faults become one line on stderr, bugs keep their traceback."""
    raise_stopped()
    try:
        code = command() or 0
    except SystemExit:  # --help
        raise
    except _refusals() as error:
        code = _say(error, 2)
    except Fault as error:
        code = _say(error, 1)
    except KeyboardInterrupt as stopped:
        code = _say("interrupted", stopped.code if isinstance(stopped, Stopped) else 130)
    except OSError as error:
        code = _lost_output(error)
    except RuntimeError as error:  # of torch, which this module does not import
        if (full := re.search(r"CUDA\b[^.\n]*out of memory", str(error))) is None:
            raise
        code = _say(f"the GPU is full ({full[0]}): try fewer --games, a shorter --unroll, or --device cpu", 1)
    try:
        sys.stdout.flush()
    except OSError as error:
        _silence()
        code = code or _lost_output(error)
    sys.exit(code)


def _refusals() -> tuple[type[Exception], ...]:
    """Read when something was raised, and not before: the worlds take half a second to import."""
    from envs.game import BadEnvironment, BadGame
    from envs.registry import Unknown

    return BadInput, BadEnvironment, BadGame, Unknown


def _say(message: object, code: int) -> int:
    with contextlib.suppress(OSError):  # the terminal may be gone
        print("emcomm: " + printable(" ".join(str(message).split()), MOST_SAID), file=sys.stderr)
    return code


def _lost_output(error: OSError) -> int:
    """What to do where nobody takes our output: silence if its reader has gone, as with `| head`, else a line."""
    if error.filename or error.errno not in (errno.EPIPE, errno.EIO, errno.ENOSPC, errno.EDQUOT):
        raise error
    _silence()
    if error.errno in (errno.EPIPE, errno.EIO):
        return 1
    return _say(f"the output cannot be written: {error.strerror}. Free some space, and give the command again", 1)


def _silence() -> None:
    """Let go of what still waits to be printed."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_figures(console: Console, rows: dict[str, Figures], title: str) -> None:
    """One line per condition: success and mean return with their intervals, and what the talk looks like.

    Score stands there where success does not say it. Where the game declares no success, no column is of it.
    """
    judged = any(f.success is not None for f in rows.values())
    graded = any(abs(f.score - (f.success.value if f.success else math.inf)) > 1e-6 for f in rows.values())
    counts = {counted(f.games, f.joint_moves) for f in rows.values()}
    estimates = {
        "success [95 % Wilson]": [str(f.success) for f in rows.values()] if judged else [],
        "mean return [95 %]": list(map(_returns, rows.values())),
    }
    columns = {name: cells for name, cells in estimates.items() if cells}
    if console.width < WIDE:  # one below the other
        cells = ["\n".join(each) for each in zip(*columns.values(), strict=True)]
        columns = {"\n".join(columns): [cell.replace("] (", "]\n(") for cell in cells]}
    table = Table(
        "play", *columns, *["score"] * graded, "mean rounds", "talks cut", "no talk", title_justify="left",
        title=escape(printable(f"{title}, {' and '.join(sorted(counts))}")),
    )  # fmt: skip
    for i, (name, figures) in enumerate(rows.items()):
        table.add_row(
            name, *(escape(cells[i]) for cells in columns.values()), *[f"{figures.score:.3f}"] * graded,
            f"{figures.mean_rounds:.2f}", f"{100 * figures.cut:.2f} %", f"{100 * figures.silent:.2f} %",
        )  # fmt: skip
    console.print(table)
    for name, figures in rows.items():
        if figures.success and (new := figures.held_out):
            met = rate(figures.success.successes - new.successes, figures.success.trials - new.trials)
            others = f"of the other {met.trials:,} in {100 * met.value:.2f} %" if met.trials else "there are no others"
            console.print(
                f"{name}: of {new.trials:,} games about what was held out of training they succeed in "
                f"{100 * new.value:.2f} %, {others}",
                soft_wrap=True,
            )
    if not judged:
        console.print(NO_SUCCESS, soft_wrap=True)


NO_SUCCESS = "the game declares no success: what the agents gain is in the return"


def counted(games: int, joint_moves: int) -> str:
    """How many games were played and, where a game has more than one, how many joint moves.

    >>> counted(1000, 1000), counted(1, 25)
    ('1,000 games', '1 game with 25 joint moves')
    """
    many = f"{games:,} game{'s' * (games != 1)}"
    return many if joint_moves == games else f"{many} with {joint_moves:,} joint moves"


WIDE = 100
"""Columns of a terminal from which the mean return stands beside the success, and not below it."""


def _returns(figures: Figures) -> str:
    """The mean over the agents with its interval; where a few agents differ, what each one has."""
    apart = len(figures.returns) <= 4 and bool(np.ptp(figures.returns) > 1e-6) if figures.returns else False
    each = " (" + " / ".join(f"{mean:.3f}" for mean in figures.returns) + ")" if apart else ""
    return f"{figures.returned}{each}"


def print_dialogues(console: Console, table: DialogueTable, game: Declaration, eot: int) -> None:
    """One line for each dialogue: its rounds, the moves, the outcome in the game's words, or else the rewards.

    Where a game has several joint moves, also which of them it was about.
    """
    several, last = bool(table.negotiation.any()), table.last
    names = ", ".join(printable(name, 40) for name in game.agent_names)
    key = f"{eot} = EOT; " if (table.symbols == eot).any() else ""
    shown = Table(
        "", *["joint move"] * several, "talk", "moves", "outcome" if table.judged else "rewards", title_justify="left",
        title=escape(f"{len(table)} dialogues ({key}each round: {names})"),
    )  # fmt: skip
    for d in range(len(table)):
        one = table[d]
        moves = ["-" if m < 0 else printable(game.move_names[m], 40) for m in one.moves[0]]
        outcome = ", ".join(f"{reward:+.3g}" for reward in one.rewards[0].tolist())
        if table.judged:
            words = game.words
            outcome = printable(words.success if one.success[0] else words.failure if last[d] else "goes on", 40)
        number = [str(int(one.negotiation[0]) + 1)] * several
        shown.add_row(str(d + 1), *number, _talk([*one.symbols]), escape(", ".join(moves)), escape(outcome))
    console.print(shown)


def _talk(rounds: Sequence[Sequence[int]], most: int = 5) -> str:
    """A talk in one line; of a long one the beginning and the end.

    >>> _talk([(3, 0), (1, 5), (5, 5)])
    '3 0 · 1 5 · 5 5'
    >>> _talk([(1, -1)] * 20, 3)
    '1 - · 1 - · … · 1 - (20 rounds)'
    """
    said = [" ".join("-" if symbol < 0 else str(symbol) for symbol in symbols) for symbols in rounds]
    if len(said) > most:
        said = [*said[: most - 1], "…", f"{said[-1]} ({len(said)} rounds)"]
    return " · ".join(said)
