"""The four conditions under which a rule explains what somebody does, and does not only describe it.

1. It decides like the subject after random dialogues, in every stratum: at least 0.98 of what an antisymmetric rule
   can reach there, with an interval that includes the refit.
2. Exchange the memory that it says there is, and the decision follows: at least 0.95 of the pairs that must flip do.
3. Its machine plays within 0.5 points of the subject.
4. It was fitted on some queries, and does as well on fresh ones.

Prediction alone is not cause; a rule that meets fewer of them describes at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from analysis.agents.random_queries import MARGIN, Queries
from analysis.data.decisions import Scores

if TYPE_CHECKING:
    from analysis.causal.interchange import Interchange

OF_THE_CEILING = 0.98
"""Least share of the ceiling in every stratum."""
FLIPS = 0.95
"""Least share of the pairs that must flip."""
RANDOM_FLIPS = 0.5
"""Most of them that a random direction may flip."""
POINTS = 0.005
"""Most by which the machine's success may differ from the subject's."""
FRESH = 0.01
"""Most by which a rule may do worse on fresh queries than on those that it was fitted on."""
FEWEST = 30
"""Queries that a stratum must have to count."""


@dataclass(frozen=True)
class Stratum:
    """Random dialogues of one kind."""

    name: str
    queries: int
    named: float
    """Share of the subject's likelier moves that the rule names."""
    ceiling: float
    """Share that an antisymmetric rule can name at most: less than 1 where the subject's two views do not part."""

    @property
    def share(self) -> float:
        """Of the ceiling."""
        return self.named / self.ceiling


@dataclass(frozen=True)
class Condition:
    """One of the four, and whether it holds."""

    name: str
    figure: str
    needed: str
    holds: bool
    missing: str = ""
    """What to say where it does not hold."""


@dataclass(frozen=True)
class Evidence:
    """What the four conditions say of one rule."""

    strata: tuple[Stratum, ...]
    worst_low: float
    """Lower end of the 95 % interval of the worst stratum's share, over refits."""
    worst_high: float
    refits: int
    interchange: Interchange | None
    conditions: tuple[Condition, ...]

    @property
    def holds(self) -> bool:
        """All four."""
        return all(condition.holds for condition in self.conditions)

    @property
    def missing(self) -> tuple[str, ...]:
        """What stands in the way."""
        return tuple(condition.missing for condition in self.conditions if not condition.holds)


def strata_of(queries: Queries, scores: Scores, margin: Scores | None = None) -> tuple[Stratum, ...]:
    """How a rule does in each stratum.

    Small margins are the quarter of the dialogues for which `margin` `[D]` is least, the longest ones included.
    """
    right, ceiling = queries.right(scores), np.where(queries.parted, 1.0, 0.5)
    parts = {name: queries.stratum == i for i, name in enumerate(queries.strata)}
    if margin is not None and len(margin):
        parts[MARGIN] = np.abs(margin) <= np.quantile(np.abs(margin), 0.25)
    return tuple(
        Stratum(name, int(chosen.sum()), float(right[chosen].mean()), float(ceiling[chosen].mean()))
        for name, chosen in parts.items()
        if chosen.sum() >= FEWEST
    )


def worst(strata: Sequence[Stratum]) -> Stratum:
    """The stratum in which a rule does worst."""
    return min(strata, key=lambda stratum: stratum.share)


def conditions(
    strata: Sequence[Stratum], low: float, refits: int, exchanged: Interchange | str, gap: float | None, own: float,
    fresh: float,
) -> tuple[Condition, ...]:  # fmt: skip
    """The four conditions, from their figures.

    `exchanged` is a reason where no memory could be exchanged; `gap` None where nothing could play; `own` and `fresh`
    are the shares of moves named on the queries of the fit and on fresh ones.
    """
    least = worst(strata)
    return (
        Condition(
            "decides alike in every stratum",
            f"{100 * least.share:.1f} % of the ceiling in the worst ({least.name}); from {100 * low:.1f} % over "
            f"{refits} refits",
            f"{100 * OF_THE_CEILING:.0f} %",
            low >= OF_THE_CEILING,
            f"after random dialogues of the worst kind it may reach only {100 * low:.1f} % of what a rule can, not "
            f"{100 * OF_THE_CEILING:.0f} %",
        ),
        _exchange(exchanged),
        Condition(
            "plays alike",
            "not played" if gap is None else f"{100 * gap:.2f} points apart",
            f"{100 * POINTS:.1f} points",
            gap is not None and gap <= POINTS,
            "its machine cannot play" if gap is None else f"its machine plays {100 * gap:.1f} points apart",
        ),
        Condition(
            "holds on fresh queries",
            f"{100 * own:.1f} % on those of the fit, {100 * fresh:.1f} % on fresh ones",
            f"{100 * FRESH:.0f} point less",
            own - fresh <= FRESH,
            f"it was fitted to its queries ({100 * own:.1f} %, fresh ones {100 * fresh:.1f} %)",
        ),
    )


def _exchange(exchanged: Interchange | str) -> Condition:
    name, needed = "its variable is what the memory carries", f"{100 * FLIPS:.0f} % of the pairs that must flip"
    if isinstance(exchanged, str):
        return Condition(name, "not tested", needed, False, exchanged)
    first = exchanged.interventions[0]
    random = next((one for one in exchanged.interventions if one.part == "random direction"), None)
    count = first.directions if first.part == "direction" else 1
    part, at_random = (first.part, "a random direction") if count == 1 else (f"{count} directions", "random ones")
    beside = f", {at_random} {100 * random.flips.value:.1f} %" if random else ""
    holds = first.flips.trials >= FEWEST and first.flips.value >= FLIPS
    if random is not None:
        holds &= random.flips.value <= RANDOM_FLIPS
    return Condition(
        name,
        f"exchanging the {part} flips {100 * first.flips.value:.1f} % of {first.flips.trials:,} pairs{beside}",
        needed,
        holds,
        f"exchanging the {part} flips {100 * first.flips.value:.1f} % of the pairs that must flip, not "
        f"{100 * FLIPS:.0f} %",
    )
