"""What a person sees of a training: a live line, plain lines where there is no terminal, TensorBoard curves."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from emcomm import files
from emcomm.a3c import Contribution, Learner
from emcomm.dialogues import DialogueTable, returns_of
from emcomm.statistics import Mean, Rate, mean_of, rate

RECENT = 1000
"""Episodes, and dialogues, over which the running figures are taken."""

WIDE = 160
"""Columns of a terminal from which there is room for a bar; on a narrow one the words may take two lines."""

_COUNTS = ("agent_steps", "updates", "staleness_sum", "largest_staleness", "episodes_to_95", "wall_s")


class Course:
    """The running figures of a training that goes on after `episodes` episodes from its earlier `counts`.

    `recent` is the state of the figures over the last dialogues, as `recent` returned it.
    """

    def __init__(self, episodes: int, counts: dict[str, Any], recent: dict[str, np.ndarray] | None = None) -> None:
        self.first_episode = self.episodes = episodes
        self.joint_moves = 0
        """Joint moves in the episodes of the log."""
        self.played = 0
        """Joint moves played since this process began, those of episodes under way included."""
        self.longest = 0
        """Joint moves of the longest episode under way."""
        self.return_so_far = 0.0
        """Of the episodes under way (mean over games and agents)."""
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
        self._returns = np.zeros(0)
        vars(self).update(counts)
        if recent:
            success, rounds = recent["success"], recent["rounds"]
            if (success.dtype.kind, rounds.dtype.kind, success.ndim, rounds.ndim) != ("b", "i", 1, 1):
                raise ValueError("the figures of the last dialogues are of another type or shape")
            self._success, self._rounds = success.copy(), rounds.astype(np.int64)
            returns = recent.get("returns", self._returns)  # those of older runs have none
            if (returns.dtype.kind, returns.ndim) != ("f", 1):
                raise ValueError("the returns of the last episodes are of another type or shape")
            self._returns = returns.astype(np.float64)

    @property
    def counts(self) -> dict[str, Any]:
        """What a resumed training goes on counting from, as plain values."""
        return {name: getattr(self, name) for name in _COUNTS}

    @property
    def recent(self) -> dict[str, np.ndarray]:
        """Success and mean return of the last 1 000 episodes, rounds of the last 1 000 dialogues."""
        return {"success": self._success.copy(), "rounds": self._rounds.copy(), "returns": self._returns.copy()}

    def add(self, contribution: Contribution, staleness: int, episodes: int, joint_moves: int = 0) -> None:
        """Count in one update, after which `episodes` episodes with `joint_moves` lie in the log."""
        self.updates += 1
        self.agent_steps += contribution.agent_steps
        self.staleness_sum += staleness
        self.largest_staleness = max(self.largest_staleness, staleness)
        self.episodes, self.joint_moves = episodes, joint_moves or episodes
        self.played += contribution.joint_moves
        self.longest, self.return_so_far = contribution.longest, contribution.return_so_far
        if contribution.dialogues is not None:
            self._add_dialogues(contribution.dialogues)

    def _add_dialogues(self, table: DialogueTable) -> None:
        if table.judged:
            self._success = np.concatenate([self._success, table.success[table.last]])[-RECENT:]
        else:  # what an older run counted as success, before it was resumed, says nothing of these
            self._success = self._success[:0]
        self._returns = np.concatenate([self._returns, returns_of(table).mean(axis=1)])[-RECENT:]
        self._rounds = np.concatenate([self._rounds, table.n_rounds])[-RECENT:]
        if self.episodes_to_95 is None and len(self._success) == RECENT and self.success >= 0.95:
            self.episodes_to_95 = self.episodes

    @property
    def success(self) -> float:
        """Success rate over the last 1 000 episodes; NaN before the first, and where the game declares no success."""
        return float(self._success.mean()) if len(self._success) else float("nan")

    @property
    def succeeded(self) -> Rate:
        """The same with its interval."""
        return rate(int(self._success.sum()), len(self._success))

    @property
    def returned(self) -> Mean:
        """Mean return over the last 1 000 episodes and all agents, without the cost of talking (reward)."""
        return mean_of(self._returns)

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
        self._late: Callable[[], None] | None = None
        """Draws the last point, where it was too fresh."""
        self._write(file_version="brain.Event:2")
        self._write(step=first, session_log=SessionLog(status=SessionLog.START))

    def add(self, course: Course, contribution: Contribution, staleness: int, learner: Learner, rate: float) -> None:
        """A point on every curve, unless the last one is too fresh; the very last one is drawn in any case."""
        self._late = partial(self._draw, course, contribution, staleness, learner, rate)
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + 1.0
            self._late()
            self._late = None

    def _draw(self, course: Course, contribution: Contribution, staleness: int, learner: Learner, rate: float) -> None:
        success, returned = course.succeeded, course.returned
        points = {
            "success rate": success.value,
            "success rate (95 % low)": success.low,
            "success rate (95 % high)": success.high,
            "mean return": returned.value,
            "mean return (95 % low)": returned.low,
            "mean return (95 % high)": returned.high,
            "mean rounds": course.rounds,
            "entropy (nats)": contribution.entropy,
            "value error": contribution.value_error,
            "staleness (updates)": staleness,
            "learning rate": learner.config.learning_rate_at(course.episodes),
            "entropy bonus": learner.config.entropy_bonus_at(course.episodes),
            "episodes per second": rate,
            "gradients refused": learner.refused,
            "joint moves": course.joint_moves,
        }
        if not success.trials:  # before the first episode has ended, or where the game declares no success
            points = {name: value for name, value in points.items() if not name.startswith("success")}
        if not returned.n:
            points = {name: value for name, value in points.items() if not name.startswith("mean")}
        if np.isnan(contribution.value_error):  # an algorithm without a critic
            del points["value error"]
        values = [Summary.Value(tag=name, simple_value=value) for name, value in points.items()]
        self._write(step=course.episodes, summary=Summary(value=values))

    def _write(self, **event: Any) -> None:
        files.before_step("write", self._path)
        self._records.write(Event(wall_time=time.time(), **event).SerializeToString())
        self._file.flush()

    def close(self) -> None:
        """Write what is left."""
        if self._late is not None:
            self._late()
        self._file.close()


def duration(seconds: float) -> str:
    """A time to wait, in a unit in which it can be grasped.

    >>> duration(90), duration(600), duration(30_000), duration(1e6)
    ('90 s', '10 min', '8.3 h', '12 days')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7_200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:,.0f} days"


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
    """Episodes, success, mean return, mean rounds, speed and time left: live on a terminal, else a line now and then.

    Until the first episode ends: joint moves, and what the episodes under way have brought so far.
    """

    def __init__(self, console: Console, first: int, total: int) -> None:
        self._console, self._first, self._total = console, first, total
        self._begun = time.monotonic()
        self._next_line = self._begun + 2
        bar = [BarColumn()] if console.width >= WIDE else []
        words = TextColumn("{task.fields[line]}", table_column=Column(no_wrap=False))
        self._bar = Progress(
            words, *bar, TextColumn("left"), TimeRemainingColumn(),
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
        line = self._line(course)
        if self._console.is_terminal:
            self._bar.update(self._task, completed=course.episodes, line=line)
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + 5
            speed = self.rate(course)
            left = (self._total - course.episodes) / speed if speed else None
            self.note(line if left is None else f"{line}  {duration(left)} left")

    def _line(self, course: Course) -> str:
        if course.episodes == self._first:
            moves = course.played / max(time.monotonic() - self._begun, 1e-9)
            return (
                f"no episode has ended yet: {course.played:,} joint moves, {moves:,.0f} a second; "
                f"the longest episode has {course.longest:,}, the mean return so far is {course.return_so_far:.3f}"
            )
        several = f" ({course.joint_moves:,} joint moves)" if course.joint_moves > course.episodes else ""
        success = f"success {100 * course.success:6.2f} %  " if course.succeeded.trials else ""
        speed = self.rate(course)
        return (
            f"{course.episodes:>9,} episodes{several}  {success}"
            f"{course.rounds:5.2f} rounds  return {course.returned}  {speed:6,.{0 if speed >= 10 else 1}f} episodes/s"
        )

    def note(self, text: str) -> None:
        """An event that a person should see, above the line."""
        with contextlib.suppress(OSError):  # whoever watched has gone: no reason to stop
            self._console.print(text, soft_wrap=True)

    def close(self) -> None:
        """Leave the last state of the line on the screen."""
        with contextlib.suppress(OSError):
            self._bar.stop()
