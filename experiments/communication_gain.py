"""Does talking help? The channel off against open, ten seeds of a million episodes each."""

from __future__ import annotations

from typing import Any

import numpy as np

from analysis.data.runs import LoadedRun
from experiments.experiment import TALK, Conclusion, Experiment, Results, with_rules
from experiments.measures import course
from experiments.running import main
from experiments.writing import (
    BLUE,
    GREEN,
    GREY,
    by_condition,
    draw_curve,
    draw_seeds,
    mean_of,
    median_to_95,
    number,
    panels,
    percent,
    seeds_of,
)


def measure(run: LoadedRun, quick: bool) -> dict[str, Any]:
    """The learning curve."""
    return course(run)


def conclude(results: Results) -> Conclusion:
    """What the talk is worth, and how fast it is learned."""
    rows = results.rows
    off, talk = (rows[rows.condition == name] for name in ("off", "open"))
    without, with_talk = seeds_of(off), seeds_of(talk)
    reached = talk.episodes_to_95.dropna()
    half_way = (
        f"95 % (over the last 1 000 episodes) is reached after {int(reached.median()):,} episodes in the median "
        f"({int(reached.min()):,} to {int(reached.max()):,}), in {len(reached)} of {len(talk)} seeds. "
        if len(reached)
        else "95 % is reached in no seed. "
    )
    closes = [date for date in map(_closes_from, talk.course_episodes, talk.course_closed) if date is not None]
    half_way += (
        f"The talk itself comes later: nine in ten talks are closed by EOT, and not by the limit, from episode "
        f"{int(np.median(closes)):,} on (median; {min(closes):,} to {max(closes):,}, {len(closes)} of {len(talk)} "
        f"seeds). Until then the agents part by talk that they do not know how to end. "
        if closes
        else "In no seed nine in ten talks are closed by EOT. "
    )
    lowest = [_lowest_after(curve) for curve in talk.course_success]
    half_way += (
        f"{sum(low < 0.6 for low in lowest)} of {len(talk)} seeds fell below 60 % again after they had been above "
        f"90 %, the deepest to {100 * min(lowest):.0f} % (mean over a stretch of the curve). "
    )
    figure, (curves, seeds) = panels(2)
    for condition, colour in (("off", GREY), ("open", BLUE)):
        own = rows[rows.condition == condition]
        edges = np.array(own.course_episodes.iloc[0])
        draw_curve(curves, edges[1:], 100 * np.array(own.course_success.tolist()), f"channel {condition}", colour)
    curves.axhline(100 * talk.best_success.iloc[0], color=GREEN, lw=1.5, ls="--", label="optimum with talk")
    curves.set(xscale="log", xlabel="training episodes", ylabel="success (%)", ylim=(-3, 103))
    curves.legend(frameon=False, loc="lower right")
    draw_seeds(seeds, results)
    seeds.set(ylabel="success of the frozen policy (%)", ylim=(45, 102), xlabel="channel")
    return Conclusion(
        answer="Talk lifts success from chance to almost always, in every seed.",
        key=f"{percent(without.mean)} → {percent(with_talk.mean, 3)}",
        headline=f"Without talk {percent(without.mean)}, with talk {percent(with_talk.mean, 3)} "
        f"(mean of {len(talk)} seeds, worst {100 * min(with_talk.success):.3f} %).",
        findings=f"Identical agents that nothing tells apart part in at most half of the games, and that is "
        f"what the baseline learns. With the talk a protocol forms in {with_talk.formed.successes} of "
        f"{with_talk.formed.trials} seeds. {half_way}The talk takes {number(mean_of(talk.rounds))} rounds; an optimal "
        f"pair needs {talk.best_rounds.iloc[0]:.2f}, so that what is left to gain is brevity, which nothing rewards "
        f"here but a discount of 0.99 per step. With greedy moves the policy without talk always crashes "
        f"({percent(mean_of(off.greedy_moves))}): identical agents that do not draw lots do the same.",
        table=by_condition(results, **{"95 % after (median episodes)": median_to_95}),
        figure=figure,
    )


def _closes_from(edges: list[int], closed: list[float]) -> int | None:
    """The first episode from which on nine in ten talks of every stretch are closed by EOT.

    >>> _closes_from([0, 10, 20, 30], [0.1, 0.95, 1.0]), _closes_from([0, 10], [0.5])
    (10, None)
    """
    below = np.flatnonzero(~(np.array(closed, float) >= 0.9))
    first = int(below[-1]) + 1 if len(below) else 0
    return int(edges[first]) if first < len(closed) else None


def _lowest_after(success: list[float]) -> float:
    """How low a curve falls after it was above 90 %; 1 if it never was."""
    curve = np.array(success)
    above = np.flatnonzero(curve > 0.9)
    return float(np.nanmin(curve[above[0] :])) if len(above) else 1.0


EXPERIMENT = Experiment(
    question="How much does the talk help, and how fast is it learned?",
    expected="50 ± 0.5 % without talk (identical agents without anything that tells them apart: at most 2p(1-p)); at "
    "least 99.9 % with it. The talk of 2022 reported 47 % and 95 %, after 100 000 and more episodes.",
    conditions={"off": with_rules(TALK, channel="off"), "open": TALK},
    seeds=10,
    measure=measure,
    conclude=conclude,
)

if __name__ == "__main__":
    main(__file__)
