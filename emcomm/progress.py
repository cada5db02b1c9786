"""What a person sees of a training: a live line, plain lines where there is no terminal, TensorBoard curves."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from emcomm import files
from emcomm.a3c import Contribution, Learner
from emcomm.dialogues import DialogueTable

RECENT = 1000
"""Episodes, and dialogues, over which the running figures are taken."""

_COUNTS = ("agent_steps", "updates", "staleness_sum", "largest_staleness", "episodes_to_95", "wall_s")


class Course:
    """The running figures of a training that goes on after `episodes` episodes from its earlier `counts`.

    `recent` is the state of the figures over the last dialogues, as `recent` returned it.
    """

    def __init__(self, episodes: int, counts: dict[str, Any], recent: dict[str, np.ndarray] | None = None) -> None:
        self.first_episode = self.episodes = episodes
        self.agent_steps = 0
        self.updates = 0
        self.staleness_sum = 0
        self.largest_staleness = 0
        self.episodes_to_95: int | None = None
        """Episodes after which the success over the last 1 000 episodes first reached 95 %."""
        self.wall_s = 0.0
        """Time spent until the last checkpoint, that before a resume included (seconds)."""
        self._success = np.zeros(0, np.bool_)
        self._rounds = np.zeros(0, np.int64)
        vars(self).update(counts)
        if recent:
            success, rounds = recent["success"], recent["rounds"]
            if (success.dtype.kind, rounds.dtype.kind, success.ndim, rounds.ndim) != ("b", "i", 1, 1):
                raise ValueError("the figures of the last dialogues are of another type or shape")
            self._success, self._rounds = success.copy(), rounds.astype(np.int64)

    @property
    def counts(self) -> dict[str, Any]:
        """What a resumed training goes on counting from, as plain values."""
        return {name: getattr(self, name) for name in _COUNTS}

    @property
    def recent(self) -> dict[str, np.ndarray]:
        """Success of the last 1 000 episodes, rounds of the last 1 000 dialogues."""
        return {"success": self._success.copy(), "rounds": self._rounds.copy()}

    def add(self, contribution: Contribution, staleness: int, episodes: int) -> None:
        """Count in one update, after which `episodes` episodes lie in the log."""
        self.updates += 1
        self.agent_steps += contribution.agent_steps
        self.staleness_sum += staleness
        self.largest_staleness = max(self.largest_staleness, staleness)
        self.episodes = episodes
        if contribution.dialogues is not None:
            self._add_dialogues(contribution.dialogues)

    def _add_dialogues(self, table: DialogueTable) -> None:
        self._success = np.concatenate([self._success, table.success[table.last]])[-RECENT:]
        self._rounds = np.concatenate([self._rounds, table.n_rounds])[-RECENT:]
        if self.episodes_to_95 is None and len(self._success) == RECENT and self.success >= 0.95:
            self.episodes_to_95 = self.episodes

    @property
    def success(self) -> float:
        """Success rate over the last 1 000 episodes; NaN before the first."""
        return float(self._success.mean()) if len(self._success) else float("nan")

    @property
    def rounds(self) -> float:
        """Mean rounds over the last 1 000 dialogues; NaN before the first."""
        return float(self._rounds.mean()) if len(self._rounds) else float("nan")

    @property
    def staleness(self) -> float:
        """Mean staleness over all updates (updates)."""
        return self.staleness_sum / max(self.updates, 1)


Watch = Callable[[Course], int | None]
"""Told the running figures after each update; returns the number of a signal to have the training stop."""


class Curves:
    """TensorBoard curves over the number of episodes, at most one point per second and curve.

    One event file for each process that trains the run. It begins by withdrawing the points behind `first`, which a
    process that was killed may have drawn. Raises OSError.
    """

    def __init__(self, folder: Path, first: int) -> None:
        files.make_folder(folder)
        name = f"events.out.tfevents.{time.time_ns() // 10**9}.{socket.gethostname()}.{os.getpid()}"
        self._path = folder / name
        self._file = files.open_new(self._path)
        self._records = RecordWriter(self._file)
        self._next = 0.0
        self._write(file_version="brain.Event:2")
        self._write(step=first, session_log=SessionLog(status=SessionLog.START))

    def add(self, course: Course, contribution: Contribution, staleness: int, learner: Learner, rate: float) -> None:
        """A point on every curve, unless the last one is too fresh."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + 1.0
        points = {
            "success rate": course.success,
            "mean rounds": course.rounds,
            "entropy (nats)": contribution.entropy,
            "value error": contribution.value_error,
            "staleness (updates)": staleness,
            "learning rate": learner.config.learning_rate_at(course.episodes),
            "entropy bonus": learner.config.entropy_bonus_at(course.episodes),
            "episodes per second": rate,
            "gradients refused": learner.refused,
        }
        values = [Summary.Value(tag=name, simple_value=value) for name, value in points.items()]
        self._write(step=course.episodes, summary=Summary(value=values))

    def _write(self, **event: Any) -> None:
        files.before_step("write", self._path)
        self._records.write(Event(wall_time=time.time(), **event).SerializeToString())
        self._file.flush()

    def close(self) -> None:
        """Write what is left."""
        self._file.close()


class Sparingly:
    """Prints a line of progress every few seconds at most."""

    def __init__(self, console: Console, seconds: float = 5.0) -> None:
        self._console, self._seconds = console, seconds
        self._next = time.monotonic() + seconds

    def __call__(self, line: str) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self._seconds
            self._console.print(line, soft_wrap=True, markup=False)


class LiveLine:
    """Episodes, success rate, mean rounds, episodes/s and time left: live on a terminal, else a line now and then."""

    def __init__(self, console: Console, first: int, total: int) -> None:
        self._console, self._first, self._total = console, first, total
        self._begun = time.monotonic()
        self._next_line = self._begun + 2
        self._bar = Progress(
            TextColumn("{task.fields[line]}"), BarColumn(), TextColumn("left"), TimeRemainingColumn(),
            console=console, refresh_per_second=4, transient=False,
        )  # fmt: skip
        self._task = self._bar.add_task("", total=total, completed=first, line="starting workers")
        if console.is_terminal:
            self._bar.start()

    def rate(self, course: Course) -> float:
        """Episodes per second since the start."""
        return (course.episodes - self._first) / max(time.monotonic() - self._begun, 1e-9)

    def show(self, course: Course) -> None:
        """Bring the line up to date."""
        line = (
            f"{course.episodes:>9,} episodes  success {100 * course.success:6.2f} %  "
            f"{course.rounds:5.2f} rounds  {self.rate(course):6,.0f} episodes/s"
        )
        if self._console.is_terminal:
            self._bar.update(self._task, completed=course.episodes, line=line)
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + 5
            left = (self._total - course.episodes) / max(self.rate(course), 1e-9)
            self.note(f"{line}  {left:,.0f} s left")

    def note(self, text: str) -> None:
        """An event that a person should see, above the line."""
        with contextlib.suppress(OSError):  # whoever watched has gone: no reason to stop
            self._console.print(text, soft_wrap=True)

    def close(self) -> None:
        """Leave the last state of the line on the screen."""
        with contextlib.suppress(OSError):
            self._bar.stop()
