"""What a person sees of a training: a live line, plain lines where there is no terminal, TensorBoard curves."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from emcomm.a3c import Contribution, Learner
from emcomm.dialogues import DialogueTable

RECENT = 1000
"""Dialogues over which the running figures are taken."""

_COUNTS = ("agent_steps", "updates", "staleness_sum", "largest_staleness", "episodes_to_95", "wall_s")


class Course:
    """The running figures of a training that goes on after `episodes` episodes from its earlier `counts`."""

    def __init__(self, episodes: int, counts: dict[str, Any]) -> None:
        self.first_episode = self.episodes = episodes
        self.agent_steps = 0
        self.updates = 0
        self.staleness_sum = 0
        self.largest_staleness = 0
        self.episodes_to_95: int | None = None
        """Episodes after which the success over the last 1 000 dialogues first reached 95 %."""
        self.wall_s = 0.0
        """Time spent until the last checkpoint, that before a resume included (seconds)."""
        self._success = np.zeros(0, np.bool_)
        self._rounds = np.zeros(0, np.int64)
        vars(self).update(counts)

    @property
    def counts(self) -> dict[str, Any]:
        """What a resumed training goes on counting from, as plain values."""
        return {name: getattr(self, name) for name in _COUNTS}

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
        self._success = np.concatenate([self._success, table.success])[-RECENT:]
        self._rounds = np.concatenate([self._rounds, table.n_rounds])[-RECENT:]
        if self.episodes_to_95 is None and len(self._success) == RECENT and self.success >= 0.95:
            self.episodes_to_95 = self.episodes

    @property
    def success(self) -> float:
        """Success rate over the last 1 000 dialogues; NaN before the first."""
        return float(self._success.mean()) if len(self._success) else float("nan")

    @property
    def rounds(self) -> float:
        """Mean rounds over the last 1 000 dialogues; NaN before the first."""
        return float(self._rounds.mean()) if len(self._rounds) else float("nan")

    @property
    def staleness(self) -> float:
        """Mean staleness over all updates (updates)."""
        return self.staleness_sum / max(self.updates, 1)


class Curves:
    """TensorBoard curves over the number of episodes, at most one point per second and curve."""

    def __init__(self, folder: Path) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(folder)
        self._next = 0.0

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
        for name, value in points.items():
            self._writer.add_scalar(name, value, course.episodes)

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


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
            self._console.print(f"{line}  {left:,.0f} s left", soft_wrap=True)

    def note(self, text: str) -> None:
        """An event that a person should see, above the line."""
        self._console.print(text, soft_wrap=True)

    def close(self) -> None:
        """Leave the last state of the line on the screen."""
        self._bar.stop()
