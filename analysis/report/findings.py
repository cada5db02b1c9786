"""What is known about one run."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import pandas as pd

from analysis.causal.summary import Causes
from analysis.data.runs import LoadedRun, TrainedPolicy
from analysis.explanation.result import Explanation
from analysis.explanation.vote_drift import DriftPoint
from analysis.metrics.mutual_information import Information
from analysis.metrics.success import SuccessReport
from analysis.metrics.token_statistics import TokenReport
from analysis.report.browser_data import Excerpt
from analysis.report.tables import tables_of
from analysis.report.to_json import plain


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
