"""Protocol machines from files: what is read is checked first, for a file may come from anywhere.

Time and memory are bounded by the limits below, whatever the file holds. Axes as in
`analysis.automata.protocol_machine`.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from emcomm.errors import BadInput
from emcomm.printable import printable
from envs.game import Floats, Ints

FORMAT = 1
MOST_BYTES = 64 * 2**20
MOST_CELLS = 1_000_000
"""Transitions (`S` × `K` × `K`) of a machine, and probabilities (`S` × `A`)."""
MOST_TOKENS = 126
MOST_MOVES = 1_000
MOST_LETTERS = 10_000
"""Characters of a name or a label."""
MOST_VISITS = 1e15


class Checked(NamedTuple):
    """The parts of a machine that keeps what `ProtocolMachine` promises."""

    name: str
    n_tokens: int
    move_names: tuple[str, ...]
    labels: tuple[str, ...]
    """`[S]`"""
    initial: int
    transition: Ints
    """`[S, K, K]`, each from 0 to S - 1."""
    emission: np.ndarray
    """`[S, A]`, each from 0 to 1, rows not all 0."""
    visits: Floats
    """`[S]`, finite, 0 or more."""


def read_json(path: Path) -> Any:
    """The plain values in a JSON file; raises BadInput where it cannot be read, is too large, or is no JSON."""
    text = _read(path)
    try:
        for sign, most in ((b"[", 2 * MOST_CELLS), (b"{", 1_000), (b",", 8 * MOST_CELLS)):
            if text.count(sign) > most:  # before parsing, which takes up to 30 times the memory of the text
                raise ValueError(f"more than {most:,} of {sign.decode()}")
        return json.loads(text.decode("utf-8"), parse_constant=_no_number)
    except RecursionError as error:
        raise BadInput(f"{path} is no protocol machine: it is nested too deeply") from error
    except ValueError as error:
        raise BadInput(f"{path} is no protocol machine: {printable(error, 200)}") from error


def checked(saved: Any) -> Checked:
    """Plain values as the parts of a machine; raises BadInput naming the first that is wrong."""
    if not isinstance(saved, dict):
        raise _bad("it is no object")
    for key in ("format", *Checked._fields):
        if key not in saved:
            raise _bad(f"it has no {key}")
    if type(saved["format"]) is not int or saved["format"] != FORMAT:
        raise _bad(f"its format is {_short(saved['format'])}, not {FORMAT}")
    labels = _strings(saved, "labels", MOST_CELLS)
    moves = _strings(saved, "move_names", MOST_MOVES)
    n_tokens = _whole(saved, "n_tokens", 1, MOST_TOKENS)
    states, kinds, actions = len(labels), n_tokens + 2, n_tokens + 1 + len(moves)
    if states * max(kinds**2, actions) > MOST_CELLS:
        raise _bad(f"{states:,} states with {n_tokens} tokens are more than {MOST_CELLS:,} transitions")
    emission = np.array(_cells(saved, "emission", (states, actions), _is_share), np.float64).reshape(states, actions)
    if not emission.any(axis=1).all():
        raise _bad("a row of emission is 0 everywhere")
    return Checked(
        _string(saved["name"], "name"),
        n_tokens,
        moves,
        labels,
        _whole(saved, "initial", 0, states - 1),
        np.array(
            _cells(saved, "transition", (states, kinds, kinds), lambda x: type(x) is int and 0 <= x < states), np.int64
        ).reshape(states, kinds, kinds),
        emission,
        np.array(_cells(saved, "visits", (states,), _is_count), np.float32),
    )


def _read(path: Path) -> bytes:
    """The bytes of a regular file that is not too large; a pipe or a device is not waited for."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise BadInput(f"{path} is no protocol machine: it is no regular file")
            text = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:  # a NUL in the path
        raise BadInput(f"{path} cannot be read: {error}") from error
    if len(text) > MOST_BYTES:
        raise BadInput(f"{path} is no protocol machine: it is larger than {MOST_BYTES // 2**20} MB")
    return text


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON")


def _cells(saved: dict[str, Any], key: str, shape: tuple[int, ...], allowed: Callable[[Any], bool]) -> list[Any]:
    """The numbers of nested lists of exactly `shape`, flat."""
    flat: list[Any] = [saved[key]]
    for size in shape:
        if not all(type(row) is list and len(row) == size for row in flat):
            raise _bad(f"{key} is no table of {' × '.join(map(str, shape))} numbers")
        flat = list(chain.from_iterable(flat))
    wrong = next((value for value in flat if not allowed(value)), flat)
    if wrong is not flat:
        raise _bad(f"{key} holds {_short(wrong)}")
    return flat


def _is_share(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= 1


def _is_count(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= MOST_VISITS


def _whole(saved: dict[str, Any], key: str, least: int, most: int) -> int:
    value = saved[key]
    if type(value) is not int or not least <= value <= most:
        raise _bad(f"{key} is {_short(value)}, not a whole number from {least} to {most}")
    return value


def _strings(saved: dict[str, Any], key: str, most: int) -> tuple[str, ...]:
    values = saved[key]
    if type(values) is not list or not 1 <= len(values) <= most:
        raise _bad(f"{key} is no list of 1 to {most:,} strings")
    return tuple(_string(value, key) for value in values)


def _string(value: Any, key: str) -> str:
    if type(value) is not str or len(value) > MOST_LETTERS:
        raise _bad(f"{key} is no string of at most {MOST_LETTERS:,} characters")
    return value


def _short(value: Any) -> str:
    """A wrong value, if it is short; a long one by its kind."""
    shown = type(value).__name__ if isinstance(value, (list, dict, str)) else None
    if isinstance(value, int) and not -(10**15) <= value <= 10**15:  # to write out an endless one takes endless time
        shown = "a number of many digits"
    return shown or repr(value)


def _bad(why: str) -> BadInput:
    return BadInput(f"not a protocol machine: {why}")
