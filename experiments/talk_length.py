"""What does a round of talk cost, and buy? Prices and caps, beside the frontier of the theory."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.agents.optimal_pair import optimum
from envs.negotiation import Opening
from experiments.experiment import SHORT, SHORT_TERSE, TERSE, Conclusion, Experiment, Results, with_rules
from experiments.running import main
from experiments.writing import (
    BLUE,
    GREY,
    ORANGE,
    above_the_bound,
    by_condition,
    mean_of,
    number,
    panels,
    seeds_of,
)

COSTS = (0.0, 0.01, 0.03, 0.05, 0.1)
CAPS = range(1, 9)
START = (0.05, 0.1)
"""Prices that are also tried from the first episode on."""
FLOOR = 94
"""Lowest success that the figure tells apart (%)."""
OPENINGS: tuple[Opening, ...] = ("free", "talk")
AT_ONCE = dataclasses.replace(SHORT_TERSE, cost_until=0.0)


def conclude(results: Results) -> Conclusion:
    """Success against rounds for every price, and success for every cap."""
    rows = results.rows
    figure, (frontier, capped) = panels(2, 6.0)
    for opening, colour in zip(OPENINGS, (BLUE, ORANGE), strict=True):
        best = [optimum(5, 32, opening, cost) for cost in np.linspace(0, 0.45, 60)]
        frontier.plot([b.rounds for b in best], [100 * b.success for b in best], color=colour, lw=1.2, ls="--")
        for cost in COSTS:
            own = rows[rows.condition == _priced(cost, opening)]
            _draw_pairs(frontier, own, "o", colour)
            middle = own.rounds.mean(), max(100 * own.success.mean(), FLOOR)
            beside = (0, 8 if opening == "talk" else -14)
            frontier.annotate(f"{cost:g}", middle, beside, textcoords="offset points", color=colour, ha="center")
        means = [(cap, rows[rows.condition == _capped(cap, opening)]) for cap in CAPS]
        for cap, own in means:
            capped.plot([cap] * len(own), 1 - own.success, "o", color=colour, ms=4, alpha=0.7)
        bound = [1 - own.best_success.iloc[0] for _, own in means]
        capped.plot(CAPS, bound, color=colour, ls="--", label=f"{opening}, optimum")
    for cost in START:
        _draw_pairs(frontier, rows[rows.condition == _at_once(cost)], "x", GREY)
    frontier.set(
        ylim=(FLOOR - 0.4, 100.6), xlabel="rounds of talk", ylabel=f"success (%; {FLOOR} or less on the lower edge)"
    )
    frontier.set_title("price of a round (number); optimum dashed; x: from the start")
    capped.set(xlabel="rounds until the cut", ylabel="share of failures", yscale="log", title="cap, no price")
    capped.legend(frameon=False, title="opening")
    terse, free = (rows[rows.condition == _priced(cost, "free")] for cost in (0.05, 0.0))
    caps = pd.concat([rows[rows.condition == _capped(cap, o)] for cap in CAPS for o in OPENINGS])
    gap = (caps.best_success - caps.success).groupby(caps.condition).mean()
    formed = {cost: seeds_of(rows[rows.condition == _at_once(cost)]).formed for cost in START}
    priced = {cost: seeds_of(rows[rows.condition == _priced(cost, "free")]).formed for cost in START}
    return Conclusion(
        answer="A price shortens talk by a third and costs little success.",
        key=f"{number(mean_of(free.rounds))} → {number(mean_of(terse.rounds))} rounds",
        headline=f"A price of 0.05 on each round shortens the talk from {number(mean_of(free.rounds))} to "
        f"{number(mean_of(terse.rounds))} rounds at {seeds_of(terse).sentence} success after "
        f"{terse.episodes.iloc[0]:,} episodes (optimum {terse.best_rounds.iloc[0]:.2f} rounds, "
        f"{100 * terse.best_success.iloc[0]:.2f} %; the preset `terse`, after {TERSE.episodes:,}, in `what_happens`).",
        findings="The price comes in over the first tenth of the training: a protocol forms in "
        f"{priced[0.05].successes} of {priced[0.05].trials} seeds at 0.05 and in {priced[0.1].successes} of "
        f"{priced[0.1].trials} at 0.1. Where it is due from the first episode, in {formed[0.05].successes} of "
        f"{formed[0.05].trials} and in {formed[0.1].successes} of {formed[0.1].trials}. Under a cap the learned "
        f"success lies {100 * gap.mean():.2f} points below the optimum on average; the widest gap is "
        f"{100 * gap.max():.2f} ({gap.idxmax()}). {above_the_bound(results)} Where the opening is free a move "
        "against a symbol parts the agents too: with one round that takes the optimum from "
        f"{_best(rows, 1, 'talk')} to {_best(rows, 1, 'free')}, and the learned success from "
        f"{_learned(rows, 1, 'talk')} to {_learned(rows, 1, 'free')}.",
        table=by_condition(results),
        figure=figure,
    )


def _draw_pairs(axes: Axes, rows: pd.DataFrame, marker: str, colour: str) -> None:
    """One point for each seed; what lies below the figure is drawn on its edge."""
    axes.plot(rows.rounds, np.maximum(100 * rows.success, FLOOR), marker, color=colour, ms=4.5, alpha=0.7)


def _at_once(cost: float) -> str:
    return f"price {cost:g} from the start"


def _priced(cost: float, opening: str) -> str:
    return f"price {cost:g}, opening {opening}"


def _capped(cap: int, opening: str) -> str:
    return f"cap {cap}, opening {opening}"


def _best(rows: pd.DataFrame, cap: int, opening: str) -> str:
    return f"{100 * rows[rows.condition == _capped(cap, opening)].best_success.iloc[0]:.2f} %"


def _learned(rows: pd.DataFrame, cap: int, opening: str) -> str:
    return seeds_of(rows[rows.condition == _capped(cap, opening)]).sentence


EXPERIMENT = Experiment(
    question="What does a round of talk buy, and cost?",
    expected="Points near, and never rewarded above, the frontier of `analysis.agents.optimal_pair` (at 0.05 the "
    "optimum is 99.98 % in 2.23 rounds). Prototypes talked for 12 to 13 rounds without a price and 3.4 at 0.05.",
    conditions={
        **{_priced(cost, o): with_rules(SHORT_TERSE, round_cost=cost, opening=o) for o in OPENINGS for cost in COSTS},
        **{_at_once(cost): with_rules(AT_ONCE, round_cost=cost) for cost in START},
        **{_capped(cap, o): with_rules(SHORT, max_rounds=cap, opening=o) for o in OPENINGS for cap in CAPS},
    },
    conclude=conclude,
)

if __name__ == "__main__":
    main(__file__)
