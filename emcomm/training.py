"""One training run from start to finish: gradients in, dialogues, curves, checkpoints and a summary out."""

from __future__ import annotations

import contextlib
import math
import os
import shlex
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from rich.console import Console

from emcomm.a3c import Contribution, InProcess, Learner, OnRay, use_one_core
from emcomm.config import Config
from emcomm.dialogues import DialogueTable, DialogueWriter, next_episode
from emcomm.errors import BadInput, Fault
from emcomm.evaluation import Evaluation, evaluate
from emcomm.progress import Course, Curves, LiveLine
from emcomm.runs import Checkpoint, Run, command_line, load_weights
from emcomm.worlds import choose_device, move_names


@dataclass
class Events:
    """What went wrong in a run without ending it."""

    workers_died: int = 0
    resumes: int = 0


class Training:
    """A run under way. Build it (which checks everything that can be refused), then let it `learn`.

    `ray` is the module, of a cluster that was started, None without workers; `launched` the time on the monotonic
    clock from which the run's wall time counts (seconds).
    """

    def __init__(
        self, run: Run, config: Config, console: Console, launched: float, resume: Checkpoint | None, ray: Any
    ) -> None:
        self._launched, self._ray, self._resumed = launched, ray, resume is not None
        self.run_folder, self.config, self._console = run, config, console
        choose_device(config.device)
        use_one_core()
        self.learner = Learner(config)
        self.events = Events()
        self._workers_started = 0
        self._random: dict[str, Any] = {}
        self._counts: dict[str, Any] = {}
        self._first_update: float | None = None
        if resume is not None:
            self._restore(resume)
        self.course = Course(next_episode(run.dialogues), self._counts)
        self._spent_before = self.course.wall_s
        with self._writing():
            run.remove_unfinished()
            self.writer = DialogueWriter(run.dialogues, config.rules.n_tokens, move_names(config))

    def _restore(self, checkpoint: Checkpoint) -> None:
        load_weights(self.learner.policy, checkpoint.part("policy"), self.run_folder.path)
        try:
            self.learner.restore(checkpoint)
            self.events = Events(**checkpoint.facts["events"])
            self._workers_started = checkpoint.facts["workers_started"]
            self._random, self._counts = checkpoint.facts["random"], checkpoint.facts["course"]
        except (KeyError, TypeError) as error:
            raise BadInput(f"the checkpoint in {self.run_folder.path} lacks {error}") from error
        self.events.resumes += 1

    # -- training ----------------------------------------------------------------------------------------------------

    def learn(self) -> None:
        """Apply gradients until all episodes are played. Whatever ends it, log and checkpoint are written first."""
        line = LiveLine(self._console, self.course.episodes, self.config.episodes)
        source: InProcess | OnRay | None = None
        try:
            if self._resumed:
                with self._writing():
                    self.run_folder.save_resume(self.course.episodes)
            self._checkpoint(source)
            source = self._source(line)
            with self._curves() as curves:
                self._learn_from(source, line, curves)
            self._checkpoint(source)
        except BaseException:
            with contextlib.suppress(Fault):
                self._checkpoint(source)
            raise
        finally:
            line.close()
            if source is not None:
                source.close()

    def _source(self, line: LiveLine) -> InProcess | OnRay:
        if self.config.workers == 0:
            source = InProcess(self.config)
            if self._random:
                source.worker.random_state = self._random
            return source

        def note_death(index: int) -> None:
            self.events.workers_died += 1
            line.note(f"worker {index} died and is being replaced ({self.events.workers_died} so far)")

        return OnRay(self.config, self._workers_started, self._ray, note_death)

    def _learn_from(self, source: InProcess | OnRay, line: LiveLine, curves: Curves) -> None:
        """The loop of the learner."""
        if self.course.episodes >= self.config.episodes:
            return
        next_checkpoint = time.monotonic() + self.config.checkpoint_every
        for contribution in source.contributions(lambda: self.learner.assignment(self.course.episodes)):
            staleness = self.learner.apply(contribution, self.course.episodes)
            self._first_update = self._first_update or time.monotonic() - self._launched
            contribution = self._log(contribution)
            self.course.add(contribution, staleness, self.writer.next_episode)
            line.show(self.course)
            with self._writing():
                curves.add(self.course, contribution, staleness, self.learner, line.rate(self.course))
            if self.course.episodes >= self.config.episodes:
                return
            if time.monotonic() >= next_checkpoint:
                self._checkpoint(source)
                next_checkpoint = time.monotonic() + self.config.checkpoint_every

    def _log(self, contribution: Contribution) -> Contribution:
        """Write its dialogues; those beyond the last episode asked for are left out."""
        table = contribution.dialogues
        if table is None:
            return contribution
        left = self.config.episodes - self.writer.next_episode
        if table.episode.max() >= left:
            table = table[table.episode < left]
        with self._writing():
            self.writer.add(table)
        return contribution._replace(dialogues=table)

    def _checkpoint(self, source: InProcess | OnRay | None) -> None:
        """First the log, then the weights: what a checkpoint counts lies on disk."""
        state = self.learner.checkpoint()
        self.course.wall_s = self._wall_s()
        if source is not None:
            self._workers_started = max(self._workers_started, source.started)
            self._random = source.worker.random_state if isinstance(source, InProcess) else {}
        facts = {
            **state.facts, "episodes": self.writer.next_episode, "workers_started": self._workers_started,
            "random": self._random, "events": self.events.__dict__, "course": self.course.counts,
        }  # fmt: skip
        with self._writing():
            self.writer.flush()
            self.run_folder.save(Checkpoint(state.tensors, facts))

    def _wall_s(self) -> float:
        """Time spent on the run so far, that before a resume included (seconds)."""
        return self._spent_before + time.monotonic() - self._launched

    @contextlib.contextmanager
    def _curves(self) -> Iterator[Curves]:
        with self._writing():
            curves = Curves(self.run_folder.tensorboard)
        try:
            yield curves
        finally:
            with self._writing():
                curves.close()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Turns a failed write into a Fault that says what to do."""
        where = shlex.quote(str(self.run_folder.path))
        try:
            yield
        except OSError as error:
            raise Fault(
                f"writing to {where} failed ({error.strerror or error}) at episode {self.course.episodes:,}; "
                f"what lies there is intact: make room, then python -m emcomm.train --resume {where}"
            ) from error

    # -- afterwards --------------------------------------------------------------------------------------------------

    def evaluate(self) -> tuple[Evaluation, Evaluation]:
        """The frozen policy plays: sampled, into the log `evaluation/`, which appears when complete; and with greedy
        moves."""
        device = choose_device(self.config.device)
        torch.set_num_threads(max(1, min(self.config.workers, os.cpu_count() or 1)))  # the workers' cores are free now
        policy, config = self.learner.current_policy().to(device), self.config
        complete = self.run_folder.evaluation
        unfinished = complete.with_suffix(".tmp")
        shutil.rmtree(complete, ignore_errors=True)  # by the policy before a resume
        with self._writing():
            writer = DialogueWriter(unfinished, config.rules.n_tokens, move_names(config))

        def keep(table: DialogueTable) -> None:
            with self._writing():
                writer.add(table)

        sampled = evaluate(policy, config, config.evaluation_games, version=self.learner.version, keep=keep)
        with self._writing():
            writer.close()
            unfinished.rename(complete)
        return sampled, evaluate(policy, config, config.evaluation_games, greedy_moves=True)

    def summarise(self, **more: Any) -> dict[str, Any]:
        """Write the final figures of the training into `summary.json`, and return them."""
        summary = {
            "command": command_line(),
            "episodes": self.course.episodes,
            "updates": self.learner.version,
            "agent_steps": self.course.agent_steps,
            "recent_success": _known(self.course.success),
            "recent_rounds": _known(self.course.rounds),
            "episodes_to_95": self.course.episodes_to_95,
            "staleness_mean": self.course.staleness,
            "staleness_max": self.course.largest_staleness,
            "gradients_refused": self.learner.refused,
            **self.events.__dict__,
            "first_update_s": self._first_update,
            **more,
            "wall_s": self._wall_s(),
        }
        with self._writing():
            self.run_folder.save_json("summary.json", summary)
        return summary


def _known(figure: float) -> float | None:
    """JSON has no NaN."""
    return None if math.isnan(figure) else figure
