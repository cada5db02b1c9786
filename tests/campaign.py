"""A crash campaign: real trainings are killed at random moments and resumed, and must come out whole.

    python -m tests.campaign --trials 60 --seed 0

Each trial starts a small `python -m emcomm.train` with 0, 1 or 2 workers, waits for a random moment (while it starts,
trains, writes, or evaluates), and kills one random process of it: the driver, a worker, a server or an agent of Ray, or
the janitor. Then it resumes until the training comes to its end. What must hold is listed at `Trial.check`, `judge` and
`check_that_nothing_stays`. A table by victim is printed at the end; the exit code is 1 where anything did not hold, and
the folders of those trials are kept.

On two busy cores 60 trials, two at a time, take about 35 minutes. Only processes that the campaign started are killed.
Not a test that pytest collects.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil

from emcomm.dialogues import digest_of, parts_of, rows_of
from emcomm.errors import BadInput
from emcomm.runs import Run
from emcomm.verification import check_run

sys.path.insert(0, str(Path(__file__).parent))
from faulty import assert_equal_runs, log_of

ROOT = Path(__file__).resolve().parent.parent
EPISODES, EPISODES_ON_RAY = 4000, 12_000
"""The second so many that a server of Ray dies well before the end."""
SETTINGS = (
    "--games", 32, "--unroll", 8, "--hidden-size", 16, "--max-rounds", 4,
    "--evaluation-games", 1000, "--checkpoint-every", 0.5,
)  # fmt: skip
VICTIMS = {
    "driver": (),
    "driver twice": (),
    "worker": ("ray::_RayProcess",),
    "worker stopped": ("ray::_RayProcess",),
    "raylet": ("raylet/raylet",),
    "gcs_server": ("gcs/gcs_server",),
    "agent": ("ray::DashboardAgent", "ray::RuntimeEnvAgent", "dashboard/agent.py", "runtime_env/agent/main.py",
              "log_monitor.py", "monitor.py"),
    "janitor": ("janitor.py",),
}  # fmt: skip
"""Who is killed (stopped: gets a SIGSTOP), and parts of the command lines by which it is found among the processes."""
SERVERS = ("raylet", "gcs_server", "agent")
HUNG_S = 120
"""Not a word, not a file and no end for so long: it hangs."""
LONGEST_S = 600
"""No process of a trial may take longer, whatever it does."""
RAY_DEATH_S = 60
"""So soon after the death of a server of Ray a training that cannot go on has ended."""
CLEARED_S = 15
"""So soon after the end of a driver nothing of its cluster is left."""
TRIES = 5


class Plan(NamedTuple):
    """What is to happen in a trial."""

    number: int
    workers: int
    victim: str
    moment: str
    """start, training, writing or evaluation."""


def plans(trials: int, seed: int) -> list[Plan]:
    """0, 1 and 2 workers in turn; each victim and each moment about equally often."""
    rng = random.Random(seed)
    victims = {ray: _in_shuffled_rounds(list(VICTIMS) if ray else list(VICTIMS)[:2], rng) for ray in (False, True)}
    moments = {
        driver: _in_shuffled_rounds(["start", "training", "writing", *["evaluation"][: int(driver)]], rng)
        for driver in (False, True)
    }
    made = []
    for number in range(trials):
        workers = number % 3
        victim = next(victims[workers > 0])
        made.append(Plan(number, workers, victim, next(moments[victim.startswith("driver")])))
    return made


def _in_shuffled_rounds(values: list[str], rng: random.Random) -> Iterator[str]:
    while True:
        yield from rng.sample(values, len(values))


# -- a trial -----------------------------------------------------------------------------------------------------------


class Cancelled(Exception):
    """The campaign was interrupted."""


@dataclass
class Trial:
    """One training, killed and resumed, in a folder of its own."""

    plan: Plan
    rng: random.Random
    folder: Path
    whole: Future[Path] | None
    """A run of the same settings that was never killed, where this one has to be equal to it."""
    cancelled: threading.Event
    ends: list[str] = field(default_factory=list)
    """How each process ended."""
    violations: list[str] = field(default_factory=list)
    outcome: str = "missed"
    """What the kill led to: survived, line, killed or hung; missed where the training had ended before."""
    lost: int = 0
    doubled: int = 0
    seconds: float = 0.0
    ended_after: float | None = None
    """From the death of a server of Ray to the end of the driver (seconds)."""

    def __post_init__(self) -> None:
        self.run, self.temp = self.folder / "run", self.folder / "t"
        self.episodes = EPISODES if self.whole else EPISODES_ON_RAY
        self._everyone: set[psutil.Process] = set()
        self._surviving: dict[str, tuple[str, int]] = {}
        self._struck = ""

    def play(self) -> Trial:
        """Kill, resume, check."""
        begun = time.monotonic()
        self.temp.mkdir(parents=True)
        try:
            if self._until_done():
                self.check()
        finally:
            self._kill_all()
            self.seconds = time.monotonic() - begun
        return self

    def _until_done(self) -> bool:
        """Whether the training came to its end."""
        for attempt in range(TRIES):
            self._note_surviving()
            driver = self._start(attempt)
            twice = self.plan.victim == "driver twice"
            struck = None
            if attempt == 0:
                struck = self._strike(driver)
            elif attempt == 1 and twice:
                struck = self._strike_resume(driver)
            code = self._wait(driver)
            if code is None:
                self.ends.append("hung")
                self.outcome = "hung"
                self.violations.append(f"try {attempt} hangs")
                return False
            if struck is not None:
                self.outcome = {0: "survived", 1: "line"}.get(code, "killed")
                if self.plan.victim in SERVERS and code != 0:
                    self.ended_after = time.monotonic() - struck
                    if self.ended_after > RAY_DEATH_S:
                        self.violations.append(f"{self.ended_after:.0f} s from the death in Ray to the end")
            self.judge(attempt, code, driver_was_killed=struck is not None and self.plan.victim.startswith("driver"))
            if code == 0:
                self.check_that_nothing_stays()
                return True
            if not (twice and attempt == 0):  # then the resume comes while the old cluster is still being cleared
                self.check_that_nothing_stays()
        self.violations.append(f"no end after {TRIES} tries")
        return False

    # -- processes ---------------------------------------------------------------------------------------------------

    def _start(self, attempt: int) -> subprocess.Popen[bytes]:
        """The training, or its resume where the killed one had got as far as making a folder."""
        new = ("--log-dir", self.folder, "--run-name", "run", "--workers", self.plan.workers, *SETTINGS)
        args = ("--resume", self.run) if self.run.exists() else (*new, "--episodes", self.episodes)
        with self._said(attempt, "out").open("w") as out, self._said(attempt, "err").open("w") as err:
            return subprocess.Popen(
                [sys.executable, "-m", "emcomm.train", *map(str, args)], cwd=ROOT, stdout=out, stderr=err,
                start_new_session=True, env={**os.environ, "TMPDIR": str(self.temp)},
            )  # fmt: skip

    def _said(self, attempt: int, stream: str) -> Path:
        return self.folder / f"{stream}-{attempt}"

    def _until(
        self, driver: subprocess.Popen[bytes], condition: Callable[[], object], seconds: float, pause: float = 0.05
    ) -> bool:
        """Whether the condition became true before the driver ended and the time was over."""
        end, look = time.monotonic() + seconds, 0.0
        while time.monotonic() < end:
            if self.cancelled.is_set():
                raise Cancelled
            if condition():
                return True
            if driver.poll() is not None:
                return False
            if time.monotonic() > look:
                self._look(driver)
                look = time.monotonic() + 0.5
            time.sleep(pause)
        return False

    def _wait(self, driver: subprocess.Popen[bytes]) -> int | None:
        """The exit code; None where it hangs."""
        begun = seen = time.monotonic()
        before = self._signs()
        while driver.poll() is None and time.monotonic() - seen < HUNG_S and time.monotonic() - begun < LONGEST_S:
            self._until(driver, lambda: driver.poll() is not None, 2)
            if (now := self._signs()) != before:
                before, seen = now, time.monotonic()
        return driver.poll()

    def _signs(self) -> set[tuple[Path, int]]:
        """What the driver has said and written: files and when they changed."""
        signs = set()
        for file in (*self.folder.glob("*-?"), *self.run.rglob("*")):
            with contextlib.suppress(OSError):  # removed meanwhile
                signs.add((file, file.stat().st_mtime_ns))
        return signs

    def _look(self, driver: subprocess.Popen[bytes]) -> list[psutil.Process]:
        """The processes under the driver; they are remembered."""
        try:
            found = psutil.Process(driver.pid).children(recursive=True)
        except psutil.Error:
            return []
        self._everyone.update(found)
        return found

    def _victim(self, driver: subprocess.Popen[bytes]) -> psutil.Process | None:
        names = VICTIMS[self.plan.victim]
        if not names:
            return psutil.Process(driver.pid) if driver.poll() is None else None
        found = [p for p in self._look(driver) if any(named(p, name) for name in names)]
        return self.rng.choice(sorted(found, key=lambda p: p.pid)) if found else None

    def _strike(self, driver: subprocess.Popen[bytes]) -> float | None:
        """Wait for the moment, and kill; returns when (monotonic clock), None where the training ended before it."""
        moment, victim = self.plan.moment, None

        def there() -> bool:
            nonlocal victim
            victim = self._victim(driver)
            return victim is not None

        def waited(seconds: float) -> Callable[[], bool]:
            end = time.monotonic() + seconds
            return lambda: time.monotonic() > end

        def began() -> bool:
            if moment == "evaluation":
                return (self.run / "evaluation.tmp").exists()
            return len(list(self.run.glob("dialogues/part-*.parquet"))) >= 2

        if moment != "start" and not self._until(driver, began, LONGEST_S):
            return None
        if not self._until(driver, there, LONGEST_S):
            return None
        if moment == "writing":
            self._until(driver, self._writes, 10, pause=0.001)
        else:
            longest = {"start": 3.0 if VICTIMS[self.plan.victim] else 20.0, "training": 3.0, "evaluation": 2.0}[moment]
            self._until(driver, waited(self.rng.uniform(0, longest)), 60, pause=0.02)
        if (victim is None or not victim.is_running()) and not self._until(driver, there, 5):
            return None
        return self._kill(driver, victim)

    def _writes(self) -> bool:
        folders = (self.run / "dialogues", self.run / "checkpoints")
        return any(name.endswith(".tmp") for folder in folders for name in os.listdir(folder))  # noqa: PTH208 (faster)

    def _strike_resume(self, driver: subprocess.Popen[bytes]) -> float | None:
        end = time.monotonic() + self.rng.uniform(0, 20)
        self._until(driver, lambda: time.monotonic() > end, 60)
        return self._kill(driver, self._victim(driver))

    def _kill(self, driver: subprocess.Popen[bytes], victim: psutil.Process | None) -> float | None:
        if victim is None or driver.poll() is not None:
            return None
        self._struck = next((name for name in VICTIMS[self.plan.victim] if named(victim, name)), "")
        try:
            victim.send_signal(signal.SIGSTOP if self.plan.victim == "worker stopped" else signal.SIGKILL)
        except psutil.Error:
            return None
        struck = time.monotonic()
        self._look(driver)
        return struck

    def _left(self) -> set[psutil.Process]:
        """Processes of this trial: seen under a driver, or with its folder for temporary files in hand."""
        found = {p for p in self._everyone if alive(p)}
        for process in psutil.process_iter():
            if process.pid != os.getpid() and holds(process.pid, self.temp) and alive(process):
                found.add(process)
        return found

    def _kill_all(self) -> None:
        end = time.monotonic() + 10
        while (left := self._left()) and time.monotonic() < end:
            for process in left:
                with contextlib.suppress(psutil.Error):
                    process.kill()
            time.sleep(0.1)

    # -- what must hold ----------------------------------------------------------------------------------------------

    def judge(self, attempt: int, code: int, driver_was_killed: bool) -> None:
        """A driver ends by the signal that was sent to it, with 0, or with 1 and one line."""
        out, err = (self._said(attempt, stream).read_text() for stream in ("out", "err"))
        self.ends.append(str(code) if code != 1 else err.strip()[:200])
        if "Traceback" in out + err:
            self.violations.append(f"try {attempt}: a traceback")
        if code == 1 and not (err.startswith("emcomm: ") and err.count("\n") == 1):
            self.violations.append(f"try {attempt}: exit 1 with {err!r}")
        if code not in (0, 1) and not (driver_was_killed and code == -signal.SIGKILL):
            self.violations.append(f"try {attempt}: ended with {code}: {err!r}")

    def check_that_nothing_stays(self) -> None:
        """Neither processes nor a folder of the cluster outlive a driver for long."""
        end = time.monotonic() + CLEARED_S
        while (processes := self._left()) or list(self.temp.glob("emcomm-*")):
            if time.monotonic() > end:
                names = [" ".join(command_of(p)[:3])[-80:] for p in processes]
                folders = [path.name for path in self.temp.glob("emcomm-*")]
                self.violations.append(f"{CLEARED_S} s after the end there are still {names} {folders}")
                return
            time.sleep(0.2)

    def _note_surviving(self) -> None:
        """Remember the parts from which the run will go on: nothing of them may be lost."""
        if not self.run.exists():
            return
        try:
            position = Run.open(self.run).continuation().position
        except BadInput as error:
            self.violations.append(f"it cannot be resumed: {error}")
            return
        for part in parts_of(self.run / "dialogues")[: position.parts]:
            self._surviving[part.name] = (digest_of(part), rows_of(part))

    def check(self) -> None:
        """The log holds each episode once and what survived a kill; the run is whole, and equal to one never killed."""
        self.violations += check_run(self.run).problems
        there = {part.name: digest_of(part) for part in parts_of(self.run / "dialogues")}
        self.lost = sum(rows for name, (digest, rows) in self._surviving.items() if there.get(name) != digest)
        if self.lost:
            self.violations.append(f"{self.lost} dialogues lost")
        log = log_of(self.run / "dialogues")
        episodes, counts = np.unique(log.episode, return_counts=True)
        self.doubled = int((counts - 1).sum())
        if self.doubled or not np.array_equal(episodes, np.arange(self.episodes)):
            self.violations.append(f"{len(episodes)} different episodes, {self.doubled} twice")
        for worker in np.unique(log.worker):
            if (np.diff(log.policy_version[log.worker == worker]) < 0).any():
                self.violations.append(f"the policy version of worker {worker} falls")
        if self.whole is not None:
            try:
                assert_equal_runs(self.whole.result(), self.run)
            except AssertionError as error:
                self.violations.append("not the run that was never killed: " + " ".join(str(error).split())[:200])

    def __str__(self) -> str:
        plan = self.plan
        after = f", {self.ended_after:.0f} s after the death" if self.ended_after is not None else ""
        head = f"{plan.number:>3}  workers {plan.workers}  {plan.victim:<14} {plan.moment:<10} {self.outcome:<8}"
        what = f" ({self._struck})" if plan.victim == "agent" else ""
        return f"{head} {self.seconds:4.0f} s  {' | '.join(self.ends)}{after}{what}" + "".join(
            f"\n     VIOLATION {each}" for each in self.violations
        )


def command_of(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def named(process: psutil.Process, name: str) -> bool:
    return name in " ".join(command_of(process)[:4])


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def holds(pid: int, folder: Path) -> bool:
    """Whether a process has `folder` in its command line or environment, or a file in it open."""
    process, mark = Path("/proc") / str(pid), os.fsencode(folder)
    try:
        if any(mark in (process / name).read_bytes() for name in ("cmdline", "environ")):
            return True
        return any(mark in os.fsencode(os.readlink(file)) for file in (process / "fd").iterdir())  # noqa: PTH115
    except OSError:  # it has just ended, or belongs to somebody else
        return False


# -- the campaign ------------------------------------------------------------------------------------------------------


def never_killed(folder: Path) -> Path:
    """A run of the same settings that nothing happens to."""
    subprocess.run(
        [sys.executable, "-m", "emcomm.train", *map(str, SETTINGS), "--episodes", str(EPISODES), "--workers", "0",
         "--log-dir", folder, "--run-name", "whole"],
        cwd=ROOT, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return folder / "whole"


def table(trials: list[Trial]) -> str:
    """By victim: how the trials went."""
    head = f"{'victim':<15}" + "".join(f"{name:>11}" for name in _COLUMNS)
    rows = [head, "-" * len(head)]
    for victim in (*VICTIMS, "all"):
        those = [trial for trial in trials if victim in (trial.plan.victim, "all")]
        if those:
            rows.append(f"{victim:<15}" + "".join(f"{count(those):>11}" for count in _COLUMNS.values()))
    return "\n".join(rows)


def _with(outcome: str) -> Callable[[list[Trial]], int]:
    return lambda trials: sum(trial.outcome == outcome for trial in trials)


_COLUMNS: dict[str, Callable[[list[Trial]], int]] = {
    "trials": len,
    "survived": _with("survived"),
    "a line": _with("line"),
    "killed": _with("killed"),
    "missed": _with("missed"),
    "hung": _with("hung"),
    "lost": lambda trials: sum(trial.lost for trial in trials),
    "doubled": lambda trials: sum(trial.doubled for trial in trials),
    "violations": lambda trials: sum(len(trial.violations) for trial in trials),
}
_LEGEND = """survived: it went on by itself; a line: it ended with one line and was resumed; killed: the driver was the
victim, and was resumed; missed: it ended before the kill; lost: dialogues that had survived the kill; doubled: episodes
that are twice in the log"""


def main() -> int:
    """The command line; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0, help="of victims and moments")
    parser.add_argument("--jobs", type=int, default=2, help="trials at a time")
    parser.add_argument("--only", type=int, nargs="*", help="numbers of trials to play, instead of all")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)  # SIGINT may be ignored, as in the background
    base, cancelled, begun = Path(tempfile.mkdtemp(prefix="c-", dir="/tmp")), threading.Event(), time.monotonic()
    print(f"the trials lie in {base}", flush=True)
    chosen = [
        plan for plan in plans(options.trials, options.seed) if options.only is None or plan.number in options.only
    ]
    done: list[Trial] = []
    with ThreadPoolExecutor(options.jobs) as pool:
        whole = pool.submit(never_killed, base)
        futures = []
        for plan in chosen:
            exact = plan.workers == 0 or (plan.workers == 1 and plan.victim.startswith("driver"))
            rng = random.Random(f"{options.seed} {plan.number}")
            trial = Trial(plan, rng, base / str(plan.number), whole if exact else None, cancelled)
            futures.append(pool.submit(trial.play))
        try:
            for future in as_completed(futures):
                done.append(future.result())
                print(done[-1], flush=True)
                if not done[-1].violations:
                    shutil.rmtree(done[-1].folder)
        except KeyboardInterrupt:  # the trials so far still count
            cancelled.set()
            pool.shutdown(cancel_futures=True)
    print(f"\n{table(done)}\n\n{_LEGEND}")
    times = [trial.ended_after for trial in done if trial.ended_after is not None]
    print(
        f"\n{len(done)} trials in {(time.monotonic() - begun) / 60:.0f} minutes, "
        f"{np.median([trial.seconds for trial in done]) if done else 0:.0f} s each (median)"
        + (f"; from a death in Ray to the end at most {max(times):.0f} s" if times else "")
    )
    failed = any(trial.violations for trial in done) or len(done) < len(chosen)
    if failed:
        print(f"folders of failed trials are kept in {base}")
    else:
        shutil.rmtree(base)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
