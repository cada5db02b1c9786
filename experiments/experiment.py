"""What an experiment is: a question, conditions and seeds, what is measured on each run, and how it is concluded.

An experiment is one file with an `EXPERIMENT` like that, whose name is its id.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from analysis.data.runs import LoadedRun
from analysis.metrics.seed_aggregation import FORMED_ABOVE, Interval, mean_over_seeds
from emcomm.config import PRESETS, Config

Measure = Callable[[LoadedRun, bool], dict[str, Any]]
"""A trained run, and whether a quick look will do -> figures by name: numbers, or lists of numbers."""


TALK = Config(workers=0)
"""The talk's game at full length: 1 000 000 episodes, 100 000 games of evaluation, in one process."""

SHORT = Config(workers=0, episodes=200_000, evaluation_games=20_000)
"""A fifth of it, for questions that do not turn on the last tenth of a percent."""


TERSE = dataclasses.replace(PRESETS["terse"], workers=0)
"""A price on each round that comes in over the first tenth of the training, at full length."""

SHORT_TERSE = dataclasses.replace(TERSE, episodes=SHORT.episodes, evaluation_games=SHORT.evaluation_games)
"""The same in a fifth of the length."""


def with_rules(config: Config, **rules: Any) -> Config:
    """The same settings with other rules of talk."""
    return dataclasses.replace(config, rules=dataclasses.replace(config.rules, **rules))


class Results(NamedTuple):
    """What the runs of an experiment brought."""

    rows: pd.DataFrame
    """One row for each run: condition, seed, success, rounds …, the optimum, and what was measured."""
    runs: dict[tuple[str, int], LoadedRun]
    """Condition and seed -> the run."""
    quick: bool
    simulated: pd.DataFrame | None = None
    """One row for each of the experiment's simulations: `simulation`, and what it brought."""

    def of(self, condition: str) -> pd.DataFrame:
        """The rows of a condition, one for each seed."""
        return self.rows[self.rows.condition == condition]

    def mean(self, condition: str, column: str) -> Interval:
        """Of a condition's column, over seeds."""
        return mean_over_seeds(self.of(condition)[column])


class Conclusion(NamedTuple):
    """What an experiment found."""

    answer: str
    """The answer to the question, in fewer than 15 words: the author's reading, to be checked when figures change."""
    key: str
    """The one figure behind it, with its interval."""
    headline: str
    """One sentence with the figures that matter most."""
    findings: str
    """A paragraph."""
    table: pd.DataFrame
    """One row for each condition, ready to be read."""
    figure: Figure
    tables: dict[str, pd.DataFrame] = {}  # noqa: RUF012 (never changed)
    """Further tables, by file name."""


@dataclass(frozen=True)
class Experiment:
    """A question, what is tried to answer it, and what should come out."""

    question: str
    expected: str
    """The expected result, and who says so."""
    conditions: Mapping[str, Config]
    """Name -> settings; the seed is filled in."""
    conclude: Callable[[Results], Conclusion]
    seeds: int = 5
    """Runs of each condition, with the seeds 0, 1, …"""
    measure: Measure = lambda run, quick: {}
    """What is measured on each run once it is trained."""
    simulations: Mapping[str, Callable[[bool], dict[str, Any]]] = field(default_factory=dict)
    """What is no training run, such as learners without a network: name -> figures, quickly or in full."""
    legend: str = (
        "Green lines and the column *optimum*: what identical agents can reach at best "
        "(`analysis.agents.optimal_pair`).\nIntervals: 95 % over seeds, Student's below ten seeds and BCa from ten on; "
        "of pairs, a bootstrap of the seeds. *Formed*:\nseeds that succeed in more than "
        f"{100 * FORMED_ABOVE:.0f} % (lower Wilson bound); where only some do, the two kinds are\nnot averaged."
    )
    """Below the table of the page: what its columns mean."""

    def facts(self, results: Results) -> dict[str, Any]:
        """What its result.json holds besides the findings."""
        return {}

    def preface(self, results: Results) -> str:
        """What its page says before the headline, in paragraphs that each end with an empty line."""
        return ""
