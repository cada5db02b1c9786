"""Everything that can be found out about one run, in one pass over its logs: `study(load("logs/run"))`.

A measure that cannot be taken here leaves a line in `Findings.problems` and the others go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from analysis.causes import Causes, measure_causes
from analysis.comparison import DriftPoint, drift, vote_weights
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
    asked: tuple[int, ...] = (1, 2, 3)
    """Lengths of the dialogues about which KV asks the network; the second one's automaton plays too (rounds)."""
    failures_shown: int = 1_000
    """Failures among them, at most (dialogues)."""
    training_shown: int = 4_000
    """Dialogues of training in the browser (dialogues)."""
    budget: int = 600_000
    """Symbols in the browser, each log (characters)."""


FULL = Depth()
QUICK = Depth(
    dialogues=3_000, nulls=9, games=1_000, asked=(), shown=3_000, failures_shown=300, training_shown=500, budget=100_000
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
    causes: Causes = field(default_factory=Causes)
    vote: np.ndarray | None = None
    """`[n_tokens + 1]` the weight of each token and EOT in the vote that fits best, whether or not a vote explains."""
    drift: tuple[DriftPoint, ...] = ()
    """The vote over the course of training."""
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
            ("checking the log", self.run.check),
            ("opening the network", self._open_network),
            ("reading the dialogues of the frozen policy", self._read_evaluation),
            ("reading the dialogues of training", self._read_training),
            ("measuring information", self._inform),
            ("fitting explanations and letting them play", self._explain),
            ("interfering with the talk", self._interfere),
            ("following the protocol through training", self._follow),
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
        wanted = max(self.depth.training_shown, 4 * self.depth.dialogues)
        rng = np.random.default_rng(0)
        parts = []
        for table in self.run.training():
            success.add(table)
            parts.append(table.drawn(-(-wanted // max(len(self.run.parts["dialogues"]), 1)), rng))
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
            make_game=self.run.game(),
            kv_length=self.depth.asked[1] if len(self.depth.asked) > 1 else 0,
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

    def _interfere(self) -> None:
        facts = self.run.facts
        if self.sample is None or facts is None:
            return
        sample = self.sample.drawn(self.depth.dialogues, np.random.default_rng(1))
        problems, rules = self.found.problems, self._rules()
        self.found.causes = measure_causes(
            self.found.trained,
            sample,
            facts.n_tokens,
            rules.channel if rules else "open",
            self.depth.games,
            self.depth.asked,
            lambda line: problems.append(f"{self.run.path}: {line}"),
        )

    def _follow(self) -> None:
        facts = self.run.facts
        if self.sample is None or facts is None:
            return
        self.found.vote = vote_weights(self.sample, facts.n_tokens)
        if self.found.training is not None:
            self.found.drift = drift(stretches(self.course), facts.n_tokens, 5_000)

    def _choose(self) -> None:
        facts = self.run.facts
        assert facts is not None
        shown = []
        if self.sample is not None and self.found.success is not None:
            even = self.sample.drawn(self.depth.shown, np.random.default_rng(1))
            failed = concatenate(self.failures)[: self.depth.failures_shown]
            both = concatenate([failed, even[even.success]]) if len(failed) else even
            both = both[np.argsort(both.episode, kind="stable")]
            title = "frozen policy" if self.run.parts["evaluation"] else "end of training"
            of, trained = self.found.success.overall.trials, self.found.trained
            shown.append(excerpt(title, of, both, facts, trained, self.depth.budget))
        if self.found.training is not None:
            of = self.found.training.overall.trials
            course = self.course.drawn(self.depth.training_shown, np.random.default_rng(1))
            shown.append(excerpt("training", of, course, facts, None, self.depth.budget // 2))
        self.found.excerpts = tuple(shown)


def stretches(table: DialogueTable, fewest: int = 300) -> list[DialogueTable]:
    """A table cut into consecutive stretches, each twice as long as the one before; the first has at least `fewest`."""
    edges = [len(table)]
    while edges[-1] // 2 >= fewest:
        edges.append(edges[-1] // 2)
    return [table[a:b] for a, b in pairwise(sorted({0, *edges}))]
