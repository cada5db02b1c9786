"""Everything that can be found out about one run, in one pass over its logs: `study(load("logs/run"))`.

A measure that cannot be taken here leaves a line in `Findings.problems` and the others go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import pandas as pd

from analysis.decisions import NotApplicable
from analysis.excerpt import Excerpt, excerpt
from analysis.explain import Explanation, explain
from analysis.frames import tables_of
from analysis.information import Information, decision_information
from analysis.loading import LoadedRun, TrainedPolicy
from analysis.plain import plain
from analysis.success import SuccessReport, SuccessTally
from analysis.tokens import TokenReport, TokenTally
from emcomm.dialogues import DialogueTable, concatenate
from emcomm.errors import BadInput
from envs.negotiation import TalkRules

Say = Callable[[str], None]
"""Told what is being done."""


@dataclass(frozen=True)
class Depth:
    """How much work a study may be."""

    dialogues: int = 10_000
    """Dialogues that the estimators see (dialogues)."""
    nulls: int = 19
    """Permutations behind a null (permutations)."""
    games: int = 5_000
    """Games that each machine plays (games)."""
    shown: int = 20_000
    """Dialogues of the frozen policy in the browser (dialogues)."""
    failures_shown: int = 1_000
    """Failures among them, at most (dialogues)."""
    training_shown: int = 4_000
    """Dialogues of training in the browser (dialogues)."""
    budget: int = 600_000
    """Symbols in the browser, each log (characters)."""


FULL = Depth()
QUICK = Depth(
    dialogues=3_000, nulls=9, games=1_000, shown=3_000, failures_shown=300, training_shown=500, budget=100_000
)


@dataclass
class Findings:
    """What is known about one run; None where it could not be found out, and a line in `problems` says why."""

    run: LoadedRun
    problems: list[str]
    success: SuccessReport | None = None
    """Of the frozen policy."""
    training: SuccessReport | None = None
    """Over the course of training."""
    tokens: TokenReport | None = None
    """Of the frozen policy."""
    information: Information | None = None
    explanation: Explanation | None = None
    trained: TrainedPolicy | None = None
    excerpts: tuple[Excerpt, ...] = ()
    """Dialogues for the browser."""
    seconds: dict[str, float] = field(default_factory=dict)
    """What each step took."""

    @property
    def name(self) -> str:
        """The name of the run."""
        return self.run.name

    @property
    def sentence(self) -> str:
        """What the talk does, in one sentence."""
        if self.explanation is not None:
            return self.explanation.sentence
        if self.success is None:
            return "There are no dialogues that can be read."
        return "What the talk does could not be found out."

    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables behind the figures, by name."""
        return tables_of(self)

    def to_json(self) -> dict[str, Any]:
        """As plain values, without dialogues."""
        skipped = ("run", "excerpts", "trained", "seconds")
        parts = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in skipped}
        config = self.run.config
        head = {"name": self.name, "path": str(self.run.path), "sentence": self.sentence, "config": config}
        return plain({**head, **parts, "tables": self.tables()})


def study(run: LoadedRun, depth: Depth = FULL, say: Say = lambda text: None) -> Findings:
    """Find out everything about one run."""
    return _Study(run, depth, say).made()


class _Study:
    """The steps, in order; each leaves its result in `found`."""

    def __init__(self, run: LoadedRun, depth: Depth, say: Say) -> None:
        self.run, self.depth, self.say = run, depth, say
        self.found = Findings(run, [])
        self.sample: DialogueTable | None = None

    def made(self) -> Findings:
        if self.run.facts is None:
            self.found.problems = self.run.problems
            return self.found
        for title, step in (
            ("opening the network", self._open_network),
            ("reading the dialogues of the frozen policy", self._read_evaluation),
            ("reading the dialogues of training", self._read_training),
            ("measuring information", self._inform),
            ("fitting explanations and letting them play", self._explain),
            ("choosing dialogues to show", self._choose),
        ):
            self.say(title)
            begun = time.perf_counter()
            with self._noting(title):
                step()
            self.found.seconds[title] = time.perf_counter() - begun
        own, read = self.found.problems, self.run.problems
        self.found.problems = [*read, *(line for line in own if line not in read)]
        return self.found

    @contextmanager
    def _noting(self, title: str) -> Iterator[None]:
        try:
            yield
        except (NotApplicable, BadInput) as error:
            self.found.problems.append(f"{self.run.path}: {title}: {' '.join(str(error).split())}")

    def _open_network(self) -> None:
        self.found.trained = self.run.checkpoint()

    def _read_evaluation(self) -> None:
        facts = self.run.facts
        assert facts is not None
        success, tokens = SuccessTally(), TokenTally(facts.n_tokens, facts.move_names)
        self.failures: list[DialogueTable] = []
        self.sample = self.run.sample(max(self.depth.dialogues, self.depth.shown))
        for table in self._frozen():
            success.add(table, self._moves_after_failures(table))
            tokens.add(table)
            self.failures.append(table[~table.success][: self.depth.failures_shown])
        if self.sample is not None:
            self.found.success, self.found.tokens = success.result(), tokens.result()

    def _frozen(self) -> Iterator[DialogueTable]:
        """The dialogues of one policy, or of what stands in for it."""
        any_read = False
        for table in self.run.evaluation():
            any_read = True
            yield table
        if not any_read and self.sample is not None:
            yield self.sample

    def _moves_after_failures(self, table: DialogueTable) -> np.ndarray | None:
        """`[D, N, M]` the network's move probabilities after the dialogues that failed; even ones after the others."""
        trained, facts = self.found.trained, self.run.facts
        assert facts is not None
        if trained is None or not self.run.parts["evaluation"]:
            return None
        from analysis.network import move_probabilities

        out = np.full((*table.moves.shape, len(facts.move_names)), 1 / len(facts.move_names), np.float32)
        failed = np.flatnonzero(~table.success)
        for rows in np.array_split(failed, len(failed) // 20_000 + 1):
            chosen = table[rows]
            padded = chosen.padded(max(int(chosen.n_rounds.max(initial=0)), 1))
            try:
                out[rows] = move_probabilities(trained.policy, trained.config.rules, padded, chosen.n_rounds)
            except NotApplicable:
                return None
        return out

    def _read_training(self) -> None:
        success = SuccessTally()
        wanted = self.depth.training_shown
        rng = np.random.default_rng(0)
        parts = []
        for table in self.run.training():
            success.add(table)
            take = min(len(table), -(-wanted // max(len(self.run.parts["dialogues"]), 1)))
            parts.append(table[np.sort(rng.choice(len(table), take, replace=False))])
        if parts:
            self.found.training = success.result()
            self.course = concatenate(parts)

    def _inform(self) -> None:
        facts = self.run.facts
        if self.sample is None or facts is None:
            return
        move = len(facts.move_names) - 1
        self.found.information = decision_information(
            self.sample, facts.n_tokens, move, max_dialogues=self.depth.dialogues, nulls=self.depth.nulls
        )

    def _explain(self) -> None:
        facts, trained = self.run.facts, self.found.trained
        if self.sample is None or facts is None:
            return
        self.found.explanation = explain(
            self.sample,
            facts.n_tokens,
            self._rules(),
            trained.policy if trained else None,
            move_names=facts.move_names,
            dialogues=self.depth.dialogues,
            games=self.depth.games,
        )

    def _rules(self) -> TalkRules | None:
        if self.found.trained:
            return self.found.trained.config.rules
        try:
            return TalkRules(**(self.run.config or {})["rules"])
        except (KeyError, TypeError, ValueError):
            return None

    def _choose(self) -> None:
        facts = self.run.facts
        assert facts is not None
        shown = []
        if self.sample is not None and self.found.success is not None:
            even = self.sample[: self.depth.shown] if len(self.sample) <= self.depth.shown else self._even(self.sample)
            failed = concatenate(self.failures)[: self.depth.failures_shown]
            both = concatenate([failed, even[even.success]]) if len(failed) else even
            title = "frozen policy" if self.run.parts["evaluation"] else "end of training"
            of, trained = self.found.success.overall.trials, self.found.trained
            shown.append(excerpt(title, of, both, facts, trained, self.depth.budget))
        if self.found.training is not None:
            of = self.found.training.overall.trials
            shown.append(excerpt("training", of, self.course, facts, None, self.depth.budget // 2))
        self.found.excerpts = tuple(shown)

    def _even(self, table: DialogueTable) -> DialogueTable:
        rows = np.random.default_rng(1).choice(len(table), self.depth.shown, replace=False)
        return table[np.sort(rows)]
