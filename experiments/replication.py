"""What a replication is: an experiment with a paper, its published figures, the theory's optimum and a verdict.

A replication is one file in `experiments/replications`, with an `EXPERIMENT` that is a `Replication`; its name is its
id. It is found, run and written like any other experiment (`experiments.experiment`, `experiments.running`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import pandas as pd

from experiments.experiment import Experiment, Results
from experiments.writing import markdown, mean_of, percent


class Paper(NamedTuple):
    """What is replicated."""

    authors: str
    """Kottur et al."""
    year: int
    title: str
    link: str = ""

    def __str__(self) -> str:
        """For a sentence."""
        title = f"[{self.title}]({self.link})" if self.link else self.title
        return f"{self.authors} {self.year}, {title}"


class Published(NamedTuple):
    """A figure of the paper, and what stands beside it here."""

    condition: str
    """As in `conditions` of the replication, where `ours` is a column."""
    quantity: str
    """What was measured: success on unseen objects."""
    figure: str
    """As published, with its unit; "–" where there is none."""
    place: str
    """Where it stands: "Table 1"; "quoted by …"; "claim only"; "from memory"."""
    ours: str | Callable[[Results], str]
    """A column of the runs, a share of which the mean over seeds is shown; or a function that says it in words."""
    optimum: str = "–"
    """The most, or the least, that theory allows."""

    def beside(self, results: Results) -> str:
        """Our figure, with its interval over seeds."""
        if callable(self.ours):
            return self.ours(results)
        rows = results.rows
        return percent(mean_of(rows[self.ours][rows.condition == self.condition]), 1)


class Verdict(NamedTuple):
    """Whether the published result came out."""

    word: Literal["reproduced", "partly", "not"]
    reason: str
    """One or two sentences: what agrees and what does not, and the cause that was found."""


@dataclass(frozen=True, kw_only=True)
class Replication(Experiment):
    """A published result, run again.

    `measure` should bring the channel controls of each run (`experiments.measures.under_channels`).
    """

    paper: Paper
    game: str
    """One or two sentences: the game, and what the paper leaves open or is done otherwise here."""
    published: tuple[Published, ...]
    """The figures to meet."""
    judge: Callable[[Results], Verdict]
    """From the runs to the verdict, by thresholds in the code."""
    legend: str = (
        "Intervals: 95 % over seeds, Student's below ten seeds and BCa from ten on. Played with another channel: the "
        "same trained networks; *shuffled*: with the messages of other games, *constant*: always token 0."
    )

    def beside(self, results: Results) -> pd.DataFrame:
        """Published figures and ours, side by side."""
        lines = [
            {
                "condition": p.condition, "figure": p.quantity, "published": p.figure, "place": p.place,
                "theory's optimum": p.optimum, "ours, mean [95 %]": p.beside(results),
            }
            for p in self.published
        ]  # fmt: skip
        return pd.DataFrame(lines)

    def facts(self, results: Results) -> dict[str, Any]:
        verdict = self.judge(results)
        return {
            "paper": str(self.paper), "verdict": verdict.word, "reason": verdict.reason,
            "published": self.beside(results).to_dict("records"),
        }  # fmt: skip

    def preface(self, results: Results) -> str:
        verdict = self.judge(results)
        return (
            f"Paper: {self.paper}.\n\nVerdict: **{verdict.word}**. {verdict.reason}\n\nGame: {self.game}\n\n"
            f"{markdown(self.beside(results))}\n\n"
        )
