"""A killed and resumed run is the run: whenever it dies, log and weights are those of one that was never killed."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from emcomm.dialogues import DialogueTable, concatenate, read_part
from emcomm.runs import Run

sys.path.insert(0, str(Path(__file__).parent))
import faulty

TINY = (
    "--workers", 0, "--episodes", 120, "--games", 8, "--unroll", 8, "--hidden-size", 8, "--max-rounds", 4,
    "--evaluation-games", 20, "--checkpoint-every", 1e-9,
)  # fmt: skip
"""A run of a few updates, saved after each."""


def log_of(folder: Path) -> DialogueTable:
    return concatenate(read_part(part) for part in sorted(folder.glob("part-*.parquet")))


def assert_equal_runs(one: Path, other: Path) -> None:
    """Row for row and bit for bit."""
    for folder in ("dialogues", "evaluation"):
        first, second = log_of(one / folder), log_of(other / folder)
        for field in dataclasses.fields(first):
            np.testing.assert_array_equal(getattr(first, field.name), getattr(second, field.name), field.name)
    first, second = (Run.open(run).newest() for run in (one, other))
    assert first.tensors.keys() == second.tensors.keys()
    for name in first.tensors:
        np.testing.assert_array_equal(first.tensors[name], second.tensors[name], name)
    counts = [{k: v for k, v in run.facts["course"].items() if k != "wall_s"} for run in (first, second)]
    assert counts[0] == counts[1]
    assert not [path for path in other.rglob("*.tmp") if "abandoned" not in path.parts]


@pytest.fixture(scope="module")
def never_killed(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A run that nothing happens to, with its number of steps."""
    made: dict[tuple[object, ...], Path] = {}

    def run(*args: object) -> Path:
        if args not in made:
            folder = tmp_path_factory.mktemp("whole")
            done = faulty.train(folder, *TINY, *args, "--log-dir", folder, "--run-name", "run")
            assert done.code == 0, done.said
            made[args] = folder / "run"
        return made[args]

    return run


def steps_of(run: Path) -> int:
    return int((run.parent / "steps").read_text())


def until_done(folder: Path, args: tuple[object, ...], faults: list[tuple[faulty.Kind, int]]) -> list[faulty.Ended]:
    """Start the run, and resume it after each fault until it comes to its end."""
    ends = []
    for fault in [*faults, None, None]:
        start = ("--resume", folder / "run") if (folder / "run").exists() else (*TINY, *args)
        own = () if start[0] == "--resume" else ("--log-dir", folder, "--run-name", "run")
        ends.append(faulty.train(folder, *start, *own, fault=fault))
        if ends[-1].code == 0:
            return ends
    raise AssertionError(f"it does not come to its end: {ends[-1].said}")


@pytest.mark.parametrize("kind", ["kill", "torn", "ENOSPC", "EIO"])
def test_a_run_that_fails_at_any_step_of_the_file_layer_is_the_run(never_killed, tmp_path, kind, request) -> None:
    whole = never_killed()
    every = 1 if request.config.getoption("--every-step") else 7
    offset = {"kill": 1, "torn": 2, "ENOSPC": 3, "EIO": 4}[kind]
    for k in range(offset, steps_of(whole) + 1, every):
        folder = tmp_path / f"{kind}-{k}"
        folder.mkdir()
        first, *_ = ends = until_done(folder, (), [(kind, k)])
        if kind in ("ENOSPC", "EIO"):
            assert first.code in (1, 2), f"step {k}: {first.said}"
            assert first.said.splitlines()[-1].startswith("emcomm: "), f"step {k}: {first.said}"
            assert "Traceback" not in first.said, f"step {k}: {first.said}"
        assert len(ends) == 2, f"step {k}: {ends}"
        assert_equal_runs(whole, folder / "run")
