"""One training run from start to finish: gradients in, dialogues, curves, checkpoints and a summary out."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from rich.console import Console

from emcomm import files
from emcomm.a3c import Contribution, InProcess, Learner, OnRay, State, Worker, seed_of_worker, use_one_core
from emcomm.checkpoints import Checkpoint, checkpoint_of, load_weights
from emcomm.cluster import Cluster
from emcomm.config import Config, naming_of
from emcomm.dialogues import DialogueTable, DialogueWriter, LogPosition, rows_of
from emcomm.errors import BadInput, Fault
from emcomm.evaluation import Evaluation, evaluate, known
from emcomm.progress import Course, Curves, LiveLine, Sparingly, Watch
from emcomm.runs import Continuation, Run, command_line
from emcomm.signals import Stop, Stopped, postponed
from emcomm.worlds import choose_device, declaration


@dataclass
class Events:
    """What went wrong in a run without ending it."""

    workers_died: int = 0
    resumes: int = 0


class Training:
    """A run under way. Build it (which checks everything that can be refused), then let it `learn`.

    `device` is where the workers play: that of the configuration, or what is behind its `auto` (`emcomm.worlds.place`).
    `cluster` is what `start_ray` returned, None without workers; `launched` the time on the monotonic clock from which
    the run's wall time counts (seconds); `resume` where a run goes on that was interrupted; `per_process` the workers
    in each process, 0 for as many as it takes with one process for each core. `watch` is told the running figures
    after each update; where it returns the number of a signal, the training stops as after that signal.
    """

    def __init__(
        self,
        run: Run,
        config: Config,
        device: str,
        console: Console,
        launched: float,
        resume: Continuation | None,
        cluster: Cluster | None,
        per_process: int = 0,
        watch: Watch = lambda course: None,
    ) -> None:
        self._watch = watch
        self._launched, self._cluster, self._resume, self._per_process = launched, cluster, resume, per_process
        self.run_folder, self.config, self.device, self._console = run, config, device, console
        use_one_core()
        self.learner = Learner(config)
        self.game = declaration(config)
        self.events = Events()
        self._workers_started = 0
        self._states: dict[str, State] = {}
        self.notes: list[str] = []
        """What a person should know about a resume, one line each."""
        self._first_update: float | None = None
        self._evaluation_log: LogPosition | None = None
        self._disk_failed = False
        position = resume.position if resume else LogPosition()
        self.course = Course(position.episodes, {})
        self.course.joint_moves = position.rows
        if resume is not None and resume.checkpoint is not None:
            self._restore(resume.checkpoint)
        self._spent_before = self.course.wall_s
        with self._writing():
            self._clear(resume)
            self.writer = DialogueWriter(
                run.dialogues, config.rules.n_tokens, self.game.move_names, None, position, self.game
            )
        self._next_save, self._saved_updates = time.monotonic() + config.checkpoint_every, self.course.updates

    @property
    def resumed(self) -> bool:
        """Whether the run goes on from an interruption."""
        return self._resume is not None

    def _restore(self, checkpoint: Checkpoint) -> None:
        try:
            self._restore_from(checkpoint)
        except (KeyError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            if isinstance(error, BadInput):
                raise
            raise BadInput(
                f"the state in the newest checkpoint of {self.run_folder.path} is damaged: {error}"
            ) from error

    def _restore_from(self, checkpoint: Checkpoint) -> None:
        facts, state = checkpoint.facts, checkpoint.state
        load_weights(self.learner.policy, checkpoint.part("policy"), self.run_folder.path)
        self.learner.restore(checkpoint)
        self.events = Events(**facts["events"])
        self._workers_started = facts["workers_started"]
        self.course = Course(facts["episodes"], facts["course"], state.get("recent"))
        self.course.joint_moves = facts["log"]["rows"] if "log" in facts else facts["episodes"]
        if state.get("games") == self.config.games:
            self._states = dict(state.get("workers", {}))
            self._require_fitting()
        anew = min(max(self.config.workers, 1), facts["workers_started"]) - len(self._states)
        if anew > 0:
            self.notes.append(f"the games in progress of {anew} workers were not saved and start anew")

    def _require_fitting(self) -> None:
        """Raise BadInput, before anything is changed, where the games in progress do not fit the run."""
        if self._states:
            worker = Worker(dataclasses.replace(self.config, device="cpu"), 0, seed_of_worker(self.config, 0))
            for saved in self._states.values():
                worker.restore(saved)

    def _clear(self, resume: Continuation | None) -> None:
        """Set aside what a killed process left, and note the resume."""
        self.run_folder.remove_unfinished()
        if resume is None:
            return
        dialogues = 0
        for path in resume.beyond:
            if path.parent == self.run_folder.dialogues:
                try:
                    dialogues += rows_of(path)
                except BadInput:
                    self.notes.append(f"{path.name} is torn")
            files.set_aside(path, path.parent / "abandoned")
        if resume.beyond:
            self.notes.append(
                f"{dialogues:,} dialogues after the last checkpoint ({resume.position.episodes:,} episodes) were set "
                f"aside in {self.run_folder.dialogues / 'abandoned'}; their episodes are played again"
            )
        self.events.resumes = self.run_folder.note_resume(resume.position.episodes)

    # -- training ----------------------------------------------------------------------------------------------------

    def learn(self) -> None:
        """Apply gradients until all episodes are played. Whatever ends it, log and state are saved first.

        Raises `Stopped` after a signal, when everything is saved.
        """
        if self.course.episodes >= self.config.episodes:
            return
        line = LiveLine(self._console, self.course.episodes, self.config.episodes)
        source: InProcess | OnRay | None = None
        try:
            with postponed() as stop:
                if self._resume is None or self._resume.checkpoint is None:
                    self._save({})
                    self._flush()
                source = self._source(line)
                with self._curves() as curves:
                    self._learn_from(source, line, curves, stop)
                self._save(source.states())
                self._flush()
        except Exception:
            if source is not None and not self._disk_failed:  # what the workers were doing is lost, not what they sent
                with contextlib.suppress(Fault):
                    self._save({})
                    self._flush()
            raise
        finally:
            line.close()
            if source is not None:
                source.close()

    def _source(self, line: LiveLine) -> InProcess | OnRay:
        config = dataclasses.replace(self.config, device=self.device)
        if config.workers == 0:
            return InProcess(config, self._workers_started, self._states)

        def note_death(lost: list[int]) -> None:
            self.events.workers_died += len(lost)
            which = f"worker {lost[0]}" if len(lost) == 1 else f"a process with {len(lost)} workers"
            line.note(f"{which} died and is being replaced ({self.events.workers_died} workers so far)")

        assert self._cluster is not None
        return OnRay(
            config, self._workers_started, self._cluster, note_death, self._states, self._per_process
        )  # fmt: skip

    def _learn_from(self, source: InProcess | OnRay, line: LiveLine, curves: Curves, stop: Stop) -> None:
        """The loop of the learner."""

        def pause() -> bool:
            due = time.monotonic() >= self._next_save or self.writer.full
            return (due and self.course.updates > self._saved_updates) or stop.number is not None

        for contribution in source.contributions(lambda: self.learner.assignment(self.course.episodes), pause):
            self._workers_started = source.started
            if contribution is None:
                self._save(source.states())
                if stop.number is not None:
                    self._flush()
                    raise Stopped(stop.number)
                continue
            staleness = self.learner.apply(contribution, self.course.episodes)
            self._first_update = self._first_update or time.monotonic() - self._launched
            contribution = self._log(contribution)
            self.course.add(contribution, staleness, self.writer.next_episode, self.writer.dialogues)
            line.show(self.course)
            stop.number = stop.number or self._watch(self.course)
            with self._writing():
                curves.add(self.course, contribution, staleness, self.learner, line.rate(self.course))
            if self.course.episodes >= self.config.episodes:
                return

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

    def _save(self, states: dict[str, State]) -> None:
        """Write the log so far as a part and, behind it, the exact state that follows it; in the background.

        `states` holds the games in progress, by the index of the worker.
        """
        self.course.wall_s = self._wall_s()
        tensors = self.learner.tensors()
        facts = {
            "version": self.learner.version, "refused": self.learner.refused, "events": dict(vars(self.events)),
            "workers_started": self._workers_started, "course": self.course.counts,
        }  # fmt: skip
        state = {"workers": states, "recent": self.course.recent, "games": self.config.games}

        def behind(position: LogPosition) -> None:
            log = {"episodes": position.episodes, "log": position._asdict()}
            self.run_folder.save(checkpoint_of(tensors, {**facts, **log}, state))

        with self._writing():
            self.writer.end_part(behind)
        self._next_save = time.monotonic() + self.config.checkpoint_every
        self._saved_updates = self.course.updates

    def _flush(self) -> None:
        """Return when everything that was saved lies on disk."""
        with self._writing():
            self.writer.flush()

    def _wall_s(self) -> float:
        """Time spent on the run so far, that before a resume included (seconds)."""
        return self._spent_before + time.monotonic() - self._launched

    @contextlib.contextmanager
    def _curves(self) -> Iterator[Curves]:
        with self._writing():
            curves = Curves(self.run_folder.tensorboard, self.course.episodes)
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
            self._disk_failed = True
            raise Fault(
                f"writing to {where} failed ({error.strerror or error}) at episode {self.course.episodes:,}; "
                f"what lies there is intact: make room, then python -m emcomm.train --resume {where}"
                f"{naming_of(self.config)}"
            ) from error

    # -- afterwards --------------------------------------------------------------------------------------------------

    def evaluate(self) -> tuple[Evaluation, Evaluation]:
        """The frozen policy plays: sampled, into the log `evaluation/`, which appears when complete; and with greedy
        moves."""
        device = choose_device(self.device)
        torch.set_num_threads(max(1, min(self.config.workers, os.cpu_count() or 1)))  # the workers' cores are free now
        policy, config = self.learner.current_policy().to(device), self.config
        complete = self.run_folder.evaluation
        unfinished = complete.with_suffix(".tmp")
        with self._writing():
            files.remove(complete)  # by the policy before a resume
            files.remove(unfinished)
            writer = DialogueWriter(unfinished, config.rules.n_tokens, self.game.move_names, game=self.game)
        say = Sparingly(self._console)

        def keep(table: DialogueTable) -> None:
            with self._writing():
                writer.add(table)

        def tick(joint_moves: int) -> None:
            say(_played(writer.next_episode, config.evaluation_games, joint_moves))

        sampled = evaluate(policy, config, config.evaluation_games, False, self.learner.version, keep, tick)
        with self._writing():
            self._evaluation_log = writer.flush()
            writer.close()
            files.rename(unfinished, complete)
        played = 0

        def count(table: DialogueTable) -> None:
            nonlocal played
            played += len(np.unique(table.episode))

        def tick_greedy(joint_moves: int) -> None:
            say(_played(played, config.evaluation_games, joint_moves) + " with greedy moves")

        return sampled, evaluate(policy, config, config.evaluation_games, True, keep=count, tick=tick_greedy)

    def summarise(self, **more: Any) -> dict[str, Any]:
        """Write the final figures of the training into `summary.json`, and return them."""
        returned = self.course.returned
        summary = {
            "command": command_line(),
            "episodes": self.course.episodes,
            "joint_moves": self.course.joint_moves,
            "updates": self.learner.version,
            "agent_steps": self.course.agent_steps,
            "recent_success": known(self.course.success),
            "recent_return": known(returned.value),
            "recent_return_low": known(returned.low),
            "recent_return_high": known(returned.high),
            "recent_return_episodes": returned.n,
            "recent_rounds": known(self.course.rounds),
            "episodes_to_95": self.course.episodes_to_95,
            "staleness_mean": self.course.staleness,
            "staleness_max": self.course.largest_staleness,
            "gradients_refused": self.learner.refused,
            "device": self.device,
            **vars(self.events),
            "evaluation_log": self._evaluation_log and self._evaluation_log._asdict(),
            "first_update_s": self._first_update,
            **more,
            "wall_s": self._wall_s(),
        }
        with self._writing():
            self.run_folder.save_json("summary.json", summary)
        return summary


def _played(games: int, of: int, joint_moves: int) -> str:
    """How far an evaluation is; the joint moves, too, where a game has many."""
    several = f", {joint_moves:,} joint moves" if joint_moves > 2 * max(games, 1) else ""
    return f"{games:>9,} of {of:,} games{several}"
