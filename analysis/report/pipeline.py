"""Everything that can be found out about one run, in one pass over its logs: `study(load("logs/run"))`.

A measure that cannot be taken here leaves a line in `Findings.problems` and the others go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from analysis.causal.summary import measure_causes
from analysis.data.decisions import NotApplicable, stretches
from analysis.data.runs import LoadedRun
from analysis.explanation.verdict import explain
from analysis.explanation.vote_drift import drift, vote_weights
from analysis.metrics.mutual_information import decision_information
from analysis.metrics.success import SuccessTally
from analysis.metrics.token_statistics import TokenTally
from analysis.report.browser_data import excerpt
from analysis.report.findings import Findings
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
        from analysis.agents.policy_player import move_probabilities

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
