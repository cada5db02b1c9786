"""One training run from start to finish: gradients in, dialogues, curves, checkpoints and a summary out."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from rich.console import Console

from emcomm.a3c import Contribution, InProcess, Learner, OnRay, use_one_core
from emcomm.config import Config
from emcomm.dialogues import DialogueTable, DialogueWriter
from emcomm.errors import BadInput, Fault
from emcomm.evaluation import Figures, Tally, play, ten_of
from emcomm.progress import Course, Curves, LiveLine
from emcomm.runs import Checkpoint, Run, command_line, load_weights
from emcomm.worlds import choose_device, game_class


@dataclass
class Events:
    """What went wrong in a run without ending it."""

    workers_died: int = 0
    resumes: int = 0


class Training:
    """A run under way. Build it (which checks everything that can be refused), then `run` it."""

    def __init__(self, run: Run, config: Config, console: Console, resume: Checkpoint | None = None) -> None:
        self.launched = time.monotonic()
        self.run_folder, self.config, self._console = run, config, console
        choose_device(config.device)
        use_one_core()
        self.learner = Learner(config)
        self.events = Events()
        self._workers_started = 0
        self._random: dict[str, Any] = {}
        self._first_update: float | None = None
        move_names = game_class(config.env)(1, np.random.default_rng(0)).move_names
        if resume is not None:
            self._restore(resume)
        self.writer = DialogueWriter(run.dialogues, config.rules.n_tokens, move_names)
        self._move_names = move_names
        self.course = Course(self.writer.next_episode)

    def _restore(self, checkpoint: Checkpoint) -> None:
        load_weights(self.learner.policy, checkpoint.part("policy"), self.run_folder.path)
        try:
            self.learner.restore(checkpoint)
            self.events = Events(**checkpoint.facts["events"])
            self._workers_started = checkpoint.facts["workers_started"]
            self._random = checkpoint.facts["random"]
        except (KeyError, TypeError) as error:
            raise BadInput(f"the checkpoint in {self.run_folder.path} lacks {error}") from error
        self.events.resumes += 1

    # -- training ----------------------------------------------------------------------------------------------------

    def learn(self, address: str | None) -> None:
        """Apply gradients until all episodes are played. Whatever ends it, the log and a checkpoint are written first."""
        line = LiveLine(self._console, self.course.episodes, self.config.episodes)
        source: InProcess | OnRay | None = None
        try:
            source = self._source(address, line)
            self._checkpoint(source)
            with contextlib.closing(Curves(self.run_folder.tensorboard)) as curves:
                self._learn_from(source, line, curves)
        except OSError as error:
            self._save_what_can_be_saved(source)
            raise Fault(self._stopped_by(error)) from error
        except BaseException:
            self._save_what_can_be_saved(source)
            raise
        else:
            self._checkpoint(source)
        finally:
            line.close()
            if source is not None:
                source.close()

    def _source(self, address: str | None, line: LiveLine) -> InProcess | OnRay:
        if self.config.workers == 0:
            source = InProcess(self.config)
            if self._random:
                source.worker.random_state = self._random
            return source

        def note_death(index: int) -> None:
            self.events.workers_died += 1
            line.note(f"worker {index} died and is being replaced ({self.events.workers_died} so far)")

        return OnRay(self.config, self._workers_started, address, note_death)

    def _learn_from(self, source: InProcess | OnRay, line: LiveLine, curves: Curves) -> None:
        """The loop of the learner."""
        next_checkpoint = time.monotonic() + self.config.checkpoint_every
        if self.course.episodes >= self.config.episodes:
            return
        for contribution in source.contributions(lambda: self.learner.assignment(self.course.episodes)):
            staleness = self.learner.apply(contribution, self.course.episodes)
            self._first_update = self._first_update or time.monotonic() - self.launched
            contribution = self._log(contribution)
            self.course.add(contribution, staleness, self.writer.next_episode)
            line.show(self.course)
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
        self.writer.add(table)
        return contribution._replace(dialogues=table)

    def _checkpoint(self, source: InProcess | OnRay) -> None:
        """First the log, then the weights: what a checkpoint counts lies on disk."""
        self.writer.flush()
        state = self.learner.checkpoint()
        facts = {
            **state.facts, "episodes": self.writer.next_episode, "workers_started": source.started,
            "events": self.events.__dict__, "random": source.worker.random_state if isinstance(source, InProcess) else {},
        }  # fmt: skip
        self.run_folder.save(Checkpoint(state.tensors, facts))

    def _save_what_can_be_saved(self, source: InProcess | OnRay | None) -> None:
        if source is not None:
            with contextlib.suppress(OSError):
                self._checkpoint(source)

    def _stopped_by(self, error: OSError) -> str:
        return (
            f"writing to {self.run_folder.path} failed ({error.strerror or error}) at episode {self.writer.next_episode:,}; "
            f"what lies there is intact: make room, then python -m emcomm.train --resume {self.run_folder.path}"
        )

    # -- afterwards --------------------------------------------------------------------------------------------------

    def evaluate(self) -> tuple[Figures, Figures, DialogueTable]:
        """The frozen policy plays: sampled (into the log `evaluation/`) and with greedy moves; and ten dialogues."""
        device = choose_device(self.config.device)
        torch.set_num_threads(os.cpu_count() or 1)  # the workers are gone: all cores for this
        policy, config = self.learner.current_policy().to(device), self.config
        sampled, greedy, shown = Tally(), Tally(), None
        try:
            writer = DialogueWriter(self.run_folder.evaluation, self.config.rules.n_tokens, self._move_names)
            for table in play(policy, config, config.evaluation_games, version=self.learner.version):
                writer.add(table)
                sampled.add(table)
                shown = shown if shown is not None else ten_of(table)
            writer.close()
        except OSError as error:
            raise Fault(self._stopped_by(error)) from error
        for table in play(policy, config, config.evaluation_games, greedy_moves=True):
            greedy.add(table)
        assert shown is not None
        return sampled.figures(), greedy.figures(), shown

    def summary(self, **more: Any) -> dict[str, Any]:
        """The final figures of the training."""
        return {
            "command": command_line(),
            "episodes": self.course.episodes,
            "updates": self.learner.version,
            "agent_steps": self.course.agent_steps,
            "recent_success": self.course.success,
            "recent_rounds": self.course.rounds,
            "episodes_to_95": self.course.episodes_to_95,
            "staleness_mean": self.course.staleness,
            "staleness_max": self.course.largest_staleness,
            "gradients_refused": self.learner.refused,
            **self.events.__dict__,
            "first_update_s": self._first_update,
            **more,
            "wall_s": time.monotonic() - self.launched,
        }

