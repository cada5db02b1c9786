"""A cluster of several nodes, which share no disk: code reaches them, logs come back, one dies and the work goes on."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from emcomm.dialogues import concatenate, read_part
from emcomm.verification import check_run
from tests.nodes import ROOT, can_hide, cluster
from tests.processes import Running

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not can_hide(), reason="no process here may have a file system of its own"),
]

GAME = """
from colours import COLOURS
from envs import Words
from tests.games import SameMove


class Ships(SameMove):
    move_names = COLOURS
    words = Words("ship", success="met", failure="missed", goal="The ships meet when they take the same colour.")
"""
SMALL = (
    "--env", "ships:Ships", "--episodes", 40_000, "--games", 32, "--max-rounds", 4, "--evaluation-games", 300,
    "--hidden-size", 16, "--checkpoint-every", 0.5,
)  # fmt: skip


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder of the user's, with a game in it."""
    (tmp_path / "ships.py").write_text(GAME)
    (tmp_path / "colours.py").write_text('COLOURS = ("red", "blue")\n')
    return tmp_path


class Command(Running):
    """A command line of emcomm under way, in the user's folder."""

    def __init__(self, place: Path, module: str, *args: object, **environment: str) -> None:
        path = os.pathsep.join([str(place), str(ROOT)])
        command = [sys.executable, "-m", f"emcomm.{module}", *map(str, args)]
        environment = {**os.environ, **environment, "PYTHONPATH": path}
        super().__init__(command, place / f"{module}.txt", cwd=place, env=environment)

    def end(self) -> None:
        assert self.process.wait(150) == 0, self.said


def dialogues(run: Path, log: str = "dialogues") -> list[tuple]:
    """All of a run, in order."""
    table = concatenate(read_part(part) for part in sorted((run / log).glob("part-*.parquet")))
    return [(*one.symbols.ravel(), *one.moves.ravel()) for one in map(table.__getitem__, range(len(table)))]


def is_whole(run: Path) -> None:
    report = check_run(run, "ships:Ships")
    assert report.problems == []


def test_a_sweep_over_nodes_without_a_disk_in_common(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The head computes nothing. One of two others dies; its run goes on at the other, and all runs are what they are
    on one machine."""
    monkeypatch.syspath_prepend(place)
    with cluster([place], cores=0) as nodes:
        first = nodes.add()
        sweep = Command(
            place, "sweep", *SMALL, "--seeds", "0-1", "--report-runs", 0, "--log-dir", "over", "--address",
            nodes.address, **nodes.environment,
        )  # fmt: skip
        nodes.add()
        runs = [place / "over" / f"seed{seed}" for seed in (0, 1)]
        sweep.wait_for(lambda: all(len(list(run.glob("checkpoints/*"))) > 1 for run in runs))
        first.kill()
        sweep.end()
    assert sweep.said.count("its process or node has died; it goes on from its last checkpoint") == 1
    alone = Command(place, "train", *SMALL, "--workers", 0, "--device", "cpu", "--log-dir", "alone", "--run-name", "a")
    alone.end()
    for run in runs:
        is_whole(run)
    assert not list(place.glob("over/.seen*"))
    assert dialogues(runs[0]) == dialogues(place / "alone" / "a")
    assert dialogues(runs[0], "evaluation") == dialogues(place / "alone" / "a", "evaluation")
    print(
        [json.loads((run / "config.json").read_text())["git"] for run in runs],
        [json.loads((run / "summary.json").read_text())["resumes"] for run in runs],
    )


def test_a_training_goes_on_when_a_node_dies(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers live on the head and on another node, which dies; nothing that was logged is lost."""
    monkeypatch.syspath_prepend(place)
    with cluster([place], cores=1) as nodes:
        other = nodes.add()
        training = Command(
            place, "train", *SMALL, "--episodes", 10**8, "--workers", 4, "--workers-per-process", 2, "--log-dir",
            "logs", "--run-name", "a", "--ray-address", nodes.address, **nodes.environment,
        )  # fmt: skip
        run = place / "logs" / "a"
        training.wait_for(lambda: len(list(run.glob("checkpoints/*"))) > 2)
        training.wait_for(lambda: any(named(p).startswith("ray::_RayProcess") for p in other.processes()))
        seen = len(rows(run))
        training.wait_for(lambda: len(rows(run)) > seen + 2)  # both compute
        before = rows(run)
        other.kill()
        training.wait_for(lambda: "died and is being replaced" in training.said)
        seen = len(rows(run))
        training.wait_for(lambda: len(rows(run)) > seen + 2)
        training.process.send_signal(signal.SIGINT)
        assert training.process.wait(60) == 130, training.said
    summary = json.loads((run / "summary.json").read_text())
    assert summary["interrupted"]
    assert summary["workers_died"] >= 1
    assert summary["episodes"] == len(episodes(run))
    is_whole(run)
    assert rows(run)[: len(before)] == before
    assert {0, 1} <= {int(w) for part in run.glob("dialogues/part-*") for w in read_part(part).worker}


def episodes(run: Path) -> set[int]:
    """The numbers of those in a log."""
    return {int(e) for part in sorted(run.glob("dialogues/part-*")) for e in read_part(part).episode}


def rows(run: Path) -> list[str]:
    """The parts of a log, as they lie on disk."""
    return [hashlib.sha256(part.read_bytes()).hexdigest() for part in sorted(run.glob("dialogues/part-*.parquet"))]


def named(process: psutil.Process) -> str:
    """What a process calls itself; empty for one that has just ended."""
    try:
        return next(iter(process.cmdline()), "")
    except psutil.NoSuchProcess:
        return ""
