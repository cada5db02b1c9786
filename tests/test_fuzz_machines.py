"""Machines from files that may hold anything: a machine, or one clear line; never endless time or memory."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analysis.agents.synthetic_protocols import plant
from analysis.automata.graphs import dot
from analysis.automata.machine_files import MOST_BYTES
from analysis.automata.protocol_machine import ProtocolMachine
from emcomm.errors import BadInput

ROOT = Path(__file__).resolve().parent.parent
VALID = json.loads(json.dumps(plant("first difference", 0, n_tokens=2).to_json()))

ODD = (10**400, -1, 2**31, 2**63, 1e308, float("nan"), float("inf"), "\ud800", "\x1b[2J", "")

# a training in this process flushes subnormal numbers to 0, which hypothesis refuses
floats = st.floats(allow_subnormal=False)
scalars = st.none() | st.booleans() | st.integers() | floats | st.sampled_from(ODD)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=6,
)
fuzz = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
"""Time is not judged here: the machine may be busy."""


def paths_in(value: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in nested lists and objects."""
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [above, *(path for key, inner in below for path in paths_in(inner, (*above, key)))][bool(not above) :]


PLACES = paths_in(VALID)


def tried(read: Callable[[], ProtocolMachine]) -> ProtocolMachine | None:
    """The machine, which then is a whole one, or None where it was refused in one line."""
    try:
        machine = read()
    except BadInput as error:
        said = str(error)
    else:
        return whole(machine)
    assert "\n" not in said
    assert len(said) < 1_000
    return None


def whole(machine: ProtocolMachine) -> ProtocolMachine:
    states = len(machine)
    assert machine.automaton.transition.shape[0] == machine.emission.shape[0] == machine.visits.shape[0] == states
    assert machine.automaton.run(np.zeros((1, 2, 2), np.int8), np.array([2])).max() < states
    dot(machine).encode()
    return machine


@fuzz
@given(values)
def test_anything_is_a_machine_or_refused(saved: Any) -> None:
    tried(lambda: ProtocolMachine.from_json(saved))


@fuzz
@given(st.dictionaries(st.sampled_from(sorted(VALID)), values))
def test_any_object_with_the_right_names_is_a_machine_or_refused(changed: dict[str, Any]) -> None:
    tried(lambda: ProtocolMachine.from_json({**VALID, **changed}))


@fuzz
@given(st.lists(st.tuples(st.sampled_from(PLACES), values, st.booleans()), min_size=1, max_size=3))
def test_a_changed_machine_is_a_machine_or_refused(changes: list[tuple[tuple[Any, ...], Any, bool]]) -> None:
    saved = copy.deepcopy(VALID)
    for path, value, drop in changes:
        place = saved
        try:
            for key in path[:-1]:
                place = place[key]
            if drop:
                del place[path[-1]]
            else:
                place[path[-1]] = value
        except (KeyError, IndexError, TypeError):
            continue  # an earlier change took the place away
    tried(lambda: ProtocolMachine.from_json(saved))


@fuzz
@given(
    st.lists(st.tuples(st.integers(0, 2_000), st.binary(max_size=6), st.integers(0, 40)), min_size=1, max_size=4),
    st.booleans(),
)
def test_changed_bytes_are_a_machine_or_refused(
    tmp_path: Path, changes: list[tuple[int, bytes, int]], alone: bool
) -> None:
    text = b"" if alone else json.dumps(VALID).encode()
    for at, put, dropped in changes:
        text = text[:at] + put + text[at + dropped :]
    path = tmp_path / "machine.json"
    path.write_bytes(text)
    tried(lambda: ProtocolMachine.load(path))


def test_the_unchanged_machine_is_one() -> None:
    assert tried(lambda: ProtocolMachine.from_json(VALID)) is not None


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"format": True}, "its format is True"),
        ({"format": 10**5000}, "many digits"),
        ({"n_tokens": 2.0}, "n_tokens is 2.0"),
        ({"n_tokens": "2"}, "n_tokens is str"),
        ({"n_tokens": 127}, "from 1 to 126"),
        ({"initial": 3}, "from 0 to 2"),
        ({"labels": "abc"}, "labels is no list"),
        ({"labels": []}, "labels is no list"),
        ({"labels": ["a", "b", 3]}, "labels is no string"),
        ({"move_names": ["a"]}, "emission is no table of 3 × 4"),
        ({"name": None}, "name is no string"),
        ({"visits": [0, 0, float("inf")]}, "visits holds inf"),
        ({"visits": [0, 0, -1]}, "visits holds -1"),
        ({"emission": [[0.2, 0.2, 0.2, 0.2, float("nan")]] * 3}, "emission holds nan"),
        ({"emission": [[0.2, 0.2, 0.2, 0.2, 1.5]] * 3}, "emission holds 1.5"),
        ({"emission": [[0, 0, 0, 0, 0]] * 3}, "0 everywhere"),
        ({"emission": [[1, 0, 0, 0, True]] * 3}, "emission holds True"),
        ({"transition": [[[0.5] * 4] * 4] * 3}, "transition holds 0.5"),
        ({"transition": [[[10**400] * 4] * 4] * 3}, "many digits"),
        ({"labels": ["x"] * 100_000}, "more than 1,000,000 transitions"),
    ],
)
def test_what_is_wrong_is_named(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInput, match="not a protocol machine: ") as refused:
        ProtocolMachine.from_json({**VALID, **changed})
    assert words in str(refused.value)


def test_what_is_no_machine_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "machine.json"
    for content, words in (
        (b"", "Expecting value"),
        (b"\xff\xfe", "utf-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 900, "Expecting value"),
        (b'{"visits": NaN}', "NaN is no number"),
        (b"1" * 10_000, "digits"),
        (b"[" + b"[]," * 3_000_000 + b"[]]", "more than 2,000,000 of ["),
        (b"[" + b"0," * 9_000_000 + b"0]", "more than 8,000,000 of ,"),
        (b" " * (MOST_BYTES + 1), "larger than 64 MB"),
    ):
        path.write_bytes(content)
        with pytest.raises(BadInput, match="is no protocol machine") as refused:
            ProtocolMachine.load(path)
        assert words in str(refused.value)
        assert "\n" not in str(refused.value)


def test_only_a_regular_file_is_read(tmp_path: Path) -> None:
    """Nobody writes into the pipe: to open it for reading would wait for ever."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero"), tmp_path / "missing", tmp_path / ("n" * 300)):
        with pytest.raises(BadInput, match=r"no regular file|cannot be read|Is a directory"):
            ProtocolMachine.load(path)


def test_the_worst_file_needs_bounded_memory(tmp_path: Path) -> None:
    """As many brackets, commas and bytes as are let through to the parser: within 1.5 GB and 60 seconds."""
    (tmp_path / "worst.json").write_bytes(b"[" + b"[]," * 1_999_000 + b'"ab",' * 5_900_000 + b"[]]")
    command = (
        "import resource, sys; from pathlib import Path\n"
        "from analysis.automata.protocol_machine import ProtocolMachine\n"
        "resource.setrlimit(resource.RLIMIT_DATA, (1500 * 2**20,) * 2)\n"
        "try: ProtocolMachine.load(Path(sys.argv[1]))\n"
        "except ValueError as error: print(error)"
    )
    done = subprocess.run(
        [sys.executable, "-c", command, tmp_path / "worst.json"], capture_output=True, text=True, timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    assert done.stdout == "not a protocol machine: it is no object\n", done.stderr
