"""The two ways a command can fail without being wrong itself; `emcomm.cli.run_command` shows them as one line."""

from __future__ import annotations


class BadInput(ValueError):
    """What was asked for cannot be done; nothing was changed. Exit code 2."""


class Fault(RuntimeError):
    """Something outside broke while a run was under way. Exit code 1."""
