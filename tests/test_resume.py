"""A killed and resumed run is the run: whenever it dies, log and weights are those of one that was never killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))
import faulty
from faulty import assert_equal_runs, log_of

ROOT = Path(__file__).resolve().parent.parent
COMMAND = [sys.executable, "-m", "emcomm.train"]
TINY = (
    "--workers", 0, "--episodes", 120, "--games", 8, "--unroll", 8, "--hidden-size", 8, "--max-rounds", 4,
    "--evaluation-games", 20, "--checkpoint-every", 1e-9,
)  # fmt: skip
"""A run of a few updates, saved after each."""


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
        env = args[:2] if args[:1] == ("--env",) else ()  # a game that is not emcomm's is named again
        again = ("--resume", folder / "run", *env)
        new = (*TINY, *args, "--log-dir", folder, "--run-name", "run")
        ends.append(faulty.train(folder, *(again if (folder / "run").exists() else new), fault=fault))
        if ends[-1].code == 0:
            return ends
    raise AssertionError(f"it does not come to its end: {ends[-1].said}")


@pytest.mark.parametrize("kind", ["kill", "torn", "ENOSPC", "EIO"])
def test_a_run_that_fails_at_any_step_of_the_file_layer_is_the_run(never_killed, tmp_path, kind, request) -> None:
    whole = never_killed()
    every = 1 if request.config.getoption("--every-step") else 18
    offset = {"kill": 1, "torn": 5, "ENOSPC": 10, "EIO": 14}[kind]
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


@pytest.mark.parametrize(
    "args",
    [
        ("--speaking", "sequential", "--order", "round"),
        ("--speaking", "sequential", "--order", "episode", "--channel", "self"),
        ("--channel", "shuffled", "--max-rounds", 3),
        ("--channel", "noisy", "--opening", "talk"),
        ("--channel", "oracle"),
        ("--max-rounds", "None", "--window", 3, "--torso", "window"),
        ("--population", 3, "--round-cost", 0.1),
        ("--env", "faulty:Journey", "--max-rounds", 2),
        ("--env", "faulty:OwnState", "--max-rounds", 2),
    ],
)
def test_whatever_is_played_goes_on_exactly_where_it_was(never_killed, tmp_path, args) -> None:
    """Killed twice, while a part is written and while a checkpoint is."""
    whole = never_killed(*args)
    ends = until_done(tmp_path, args, [("kill", steps_of(whole) // 2), ("torn", 21)])
    assert len(ends) == 3
    assert_equal_runs(whole, tmp_path / "run")
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["resumes"] == 2


def test_games_that_cannot_be_saved_start_anew_and_the_resume_says_so(tmp_path) -> None:
    args = ("--env", "faulty:Foreign")
    _, second = until_done(tmp_path, args, [("kill", 60)])
    assert "the games in progress of 1 workers were not saved and start anew" in second.said
    log = log_of(tmp_path / "run" / "dialogues")
    np.testing.assert_array_equal(np.unique(log.episode), np.arange(120))
    assert (np.diff(log.policy_version) >= 0).all()


def test_a_torn_last_part_is_set_aside_and_played_again(never_killed, tmp_path) -> None:
    """Its disk lost power; the checkpoint before it is the newest that fits."""
    whole = never_killed()
    faulty.train(tmp_path, *TINY, "--log-dir", tmp_path, "--run-name", "run")
    for content in (b"", b"PAR1 half of a part"):
        *_, last = sorted((tmp_path / "run" / "dialogues").glob("part-*.parquet"))
        last.write_bytes(content)
        done = faulty.train(tmp_path, "--resume", tmp_path / "run")
        assert done.code == 0, done.said
        assert f"{last.name} is torn" in done.said
        assert "set aside in" in done.said
        assert_equal_runs(whole, tmp_path / "run")
    aside = sorted(path.name for path in (tmp_path / "run" / "dialogues" / "abandoned").iterdir())
    assert aside == [last.name.replace(".parquet", "-2.parquet"), last.name]


def test_a_second_resume_of_a_finished_run_changes_nothing(tmp_path) -> None:
    faulty.train(tmp_path, *TINY, "--log-dir", tmp_path, "--run-name", "run")
    run = tmp_path / "run"
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in run.rglob("*") if path.is_file()}
    done = faulty.train(tmp_path, "--resume", run)
    assert done.code == 0
    assert f"{run} is finished: 120 episodes" in done.said
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in run.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_saves_everything(never_killed, tmp_path, number) -> None:
    """Not a game is lost: what the run shows last is what lies on disk, and it goes on exactly from there."""
    args = ("--episodes", 4000, "--checkpoint-every", 1000)
    whole = never_killed(*args)
    with (tmp_path / "said").open("w") as said:
        process = subprocess.Popen(
            [*COMMAND, *map(str, (*TINY, *args)), "--log-dir", tmp_path, "--run-name", "run"],
            stdout=said, stderr=said, cwd=ROOT, start_new_session=True,
            preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # under nohup it would be ignored
        )  # fmt: skip
    while not list((tmp_path / "run").glob("tensorboard/*")):
        time.sleep(0.02)
        assert process.poll() is None
    time.sleep(0.5)
    process.send_signal(number)
    assert process.wait(60) == 128 + number
    said = (tmp_path / "said").read_text()
    *_, last = said.splitlines()
    episodes = len(log_of(tmp_path / "run" / "dialogues"))
    assert 0 < episodes < 4000
    assert last == (
        f"interrupted after {episodes:,} episodes; continue with: python -m emcomm.train --resume {tmp_path / 'run'}"
    )
    done = faulty.train(tmp_path, "--resume", tmp_path / "run")
    assert done.code == 0, done.said
    assert "set aside" not in done.said
    assert_equal_runs(whole, tmp_path / "run")


@pytest.mark.slow
def test_one_worker_on_ray_goes_on_exactly_where_it_was(never_killed, tmp_path) -> None:
    """Its games in progress are saved, too: it trains the network of a run in one process that nobody killed."""
    args = ("--episodes", 6000, "--checkpoint-every", 0.2)
    whole = never_killed(*args)
    start = (*map(str, (*TINY, *args)), "--log-dir", tmp_path, "--run-name", "run", "--workers", "1")
    process = subprocess.Popen([*COMMAND, *start], stdout=subprocess.DEVNULL, cwd=ROOT)
    while len(list((tmp_path / "run").glob("dialogues/part-*"))) < 2:
        time.sleep(0.02)
        assert process.poll() is None
    process.kill()
    process.wait()
    done = subprocess.run(
        [*COMMAND, "--resume", tmp_path / "run"], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert_equal_runs(whole, tmp_path / "run")
