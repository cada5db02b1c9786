"""What is known about one run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis.causal.summary import Causes
from analysis.data.runs import LoadedRun, TrainedPolicy
from analysis.explanation.result import Explanation
from analysis.explanation.sentence import lead_of
from analysis.explanation.vote_drift import DriftPoint
from analysis.metrics.mutual_information import Information
from analysis.metrics.success import SuccessReport
from analysis.metrics.token_statistics import TokenReport
from analysis.report.browser_data import Excerpt
from analysis.report.measure import Measure
from analysis.report.to_json import plain
from emcomm.printable import printable
from envs.crossing import CrossingGame

if TYPE_CHECKING:
    from analysis.report.study import Study


@dataclass
class Findings:
    """What the measures made of one run."""

    run: LoadedRun
    problems: list[str]
    """What was missing, damaged or failed, one line each."""
    results: dict[str, Any] = field(default_factory=dict)
    """By the names of the measures."""
    absent: dict[str, str] = field(default_factory=dict)
    """Measures that do not apply, by name, and why."""
    measures: tuple[Measure, ...] = ()
    """All that were tried, in their order."""
    study: Study | None = None
    """The run as the measures saw it; None where nothing could be read."""
    excerpts: tuple[Excerpt, ...] = ()
    """Dialogues for the browser."""
    seconds: dict[str, float] = field(default_factory=dict)
    """What each measure took."""

    @property
    def name(self) -> str:
        """The name of the run."""
        return self.run.name

    @property
    def sentence(self) -> str:
        """What the talk does, in one sentence."""
        if self.explanation is not None:
            return self.explanation.sentence
        if not self.played:
            return "There are no dialogues that can be read."
        return _without_a_rule(self.results) or "What the talk does could not be found out."

    @property
    def lead(self) -> str:
        """The same in a few words, for the top of a page; the sentence where there are none."""
        if self.explanation is None or self.study is None or not self.played:
            return self.sentence
        words = self.study.game.words
        moves = self.study.facts.move_names
        yields = "the detour" if moves == CrossingGame.move_names else printable(moves[-1], 60)
        return lead_of(self.explanation, printable(words.agent, 60), printable(words.agents, 60), yields)

    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables behind the figures, by name."""
        tables: dict[str, pd.DataFrame] = {}
        for measure in self.measures:
            if measure.name in self.results:
                tables |= measure.tables_of(self.results[measure.name])
        return tables

    def to_json(self) -> dict[str, Any]:
        """As plain values, without dialogues."""
        shown = {m.name: self.results[m.name] for m in self.measures if m.in_json and m.name in self.results}
        head = {
            "name": self.name, "path": str(self.run.path), "sentence": self.sentence, "config": self.run.settings,
            "game": self.study.game.to_json() if self.study else None, "problems": self.problems,
            "absent": self.absent,
        }  # fmt: skip
        return plain({**head, **shown, "causes": self.causes, "tables": self.tables()})

    # -- the results that have a name of their own ---------------------------------------------------------------------

    @property
    def trained(self) -> TrainedPolicy | None:
        """The network behind the dialogues."""
        return self.study.trained if self.study else None

    @property
    def played(self) -> bool:
        """Whether there are dialogues that can be read."""
        return bool({"success", "mean_return"} & self.results.keys())

    @property
    def success(self) -> SuccessReport | None:
        """Of the frozen policy; None where there are no dialogues, or the game declares no success."""
        return self.results.get("success")

    @property
    def training(self) -> SuccessReport | None:
        """Over the course of training."""
        return self.results.get("training")

    @property
    def tokens(self) -> TokenReport | None:
        """Of the frozen policy."""
        return self.results.get("tokens")

    @property
    def information(self) -> Information | None:
        """Bits on who yields."""
        return self.results.get("information")

    @property
    def explanation(self) -> Explanation | None:
        """Which rule decides who yields."""
        return self.results.get("explanation")

    @property
    def vote(self) -> Any:
        """`[n_tokens + 1]` the weight of each token and EOT in the vote that fits best, whether or not it explains."""
        return self.results.get("vote")

    @property
    def drift(self) -> tuple[DriftPoint, ...]:
        """The vote over the course of training."""
        return self.results.get("drift", ())

    @property
    def causes(self) -> Causes:
        """The interventions and the audit of leaks."""
        names = ("controls", "edits", "influence", "signalling", "leaks", "growth")
        causes = {name: self.results[name] for name in names if name in self.results}
        return Causes(**causes)


def _without_a_rule(results: dict[str, Any]) -> str:
    """What is known of a talk for which no rule is looked for; empty where that is nothing."""
    claims = []
    told = next((one for one in results.get("decisions", ()) if one.trusted), None)
    if told is not None:
        claims.append(
            f"the dialogue tells {max(told.bits[-1], 0):.2f} of {told.entropy:.2f} bits about {told.decision}"
        )
    controls = {c.channel: c for c in results.get("controls", ())}
    own, shuffled = next((c for c in controls.values() if c.as_trained), None), controls.get("shuffled")
    if own is not None and shuffled is not None and own is not shuffled:
        if own.success is not None and shuffled.success is not None:
            before, after = 100 * own.success.value, 100 * shuffled.success.value
            claims.append(f"success is {before:.1f} %, and {after:.1f} % with messages of other games")
        else:
            claims.append(f"the mean return is {own.returned}, and {shuffled.returned} with messages of other games")
    sentence = "; ".join(claims)
    return f"{sentence[0].upper()}{sentence[1:]}." if sentence else ""
