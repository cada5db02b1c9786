"""The two ways a command can fail without being wrong itself, and what the shell sees of them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable


class BadInput(ValueError):
    """What was asked for cannot be done; nothing was changed. Exit code 2."""


class Fault(RuntimeError):
    """Something outside broke while a run was under way. Exit code 1."""


def run_command(command: Callable[[], int | None]) -> None:
    """Call `command` and leave with its exit code; faults become one line on stderr, bugs keep their traceback."""
    try:
        code = command() or 0
    except BadInput as error:
        code = _say(error, 2)
    except Fault as error:
        code = _say(error, 1)
    except KeyboardInterrupt:
        code = _say("interrupted", 130)
    except BrokenPipeError:  # the reader of our output has gone, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    sys.exit(code)


def _say(message: object, code: int) -> int:
    print("emcomm: " + " ".join(str(message).split()), file=sys.stderr)
    return code
