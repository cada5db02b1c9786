"""How does the way of training matter? Numbers of A3C workers, and the schedule of the entropy bonus."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd

from analysis.data.runs import LoadedRun
from experiments.experiment import SHORT, Conclusion, Experiment, Results
from experiments.measures import course
from experiments.running import main
from experiments.writing import (
    by_condition,
    compared,
    draw_curve,
    draw_seeds,
    mean_of,
    median_to_95,
    number,
    panels,
    percent,
    seeds_of,
)

WORKERS = (1, 2, 8, 32)
HALF = dataclasses.replace(SHORT, episodes=100_000)
COLOURS = ("#0072b2", "#009e73", "#e69f00", "#d55e00")


def measure(run: LoadedRun, quick: bool) -> dict[str, Any]:
    """The learning curve."""
    return course(run)


def conclude(results: Results) -> Conclusion:
    """Quality and staleness for each number of workers, and what the entropy bonus does."""
    rows = results.rows
    by_name = {name: rows[rows.condition == name] for name in EXPERIMENT.conditions}
    figure, (curves, final) = panels(2, 7.0, 5.0)
    for workers, colour in zip(WORKERS, COLOURS, strict=True):
        own = by_name[_workers(workers)]
        edges = np.array(own.course_episodes.iloc[0])
        draw_curve(curves, edges[1:], 100 * np.array(own.course_success.tolist()), _workers(workers), colour)
    curves.set(xscale="log", xlabel="training episodes", ylabel="success (%)", ylim=(20, 103))
    curves.legend(frameon=False)
    draw_seeds(final, results)
    final.set(ylabel="success of the frozen policy (%)")
    summary = "; ".join(
        f"{w}: {seeds_of(own).sentence}, 95 % after {median_to_95(own)} episodes, staleness "
        f"{number(mean_of(own.staleness), 1)} updates" for w, own in ((w, by_name[_workers(w)]) for w in WORKERS)
    )  # fmt: skip
    against = compared(rows, "bonus annealed")
    differ = [f"{one.condition} ({one.difference} points)" for one in against.itertuples() if one.p < 0.05]
    return Conclusion(
        answer="Workers hardly matter at equal episodes; a bonus that stays costs 0.2 points.",
        key=f"{seeds_of(by_name[_workers(1)]).sentence} with 1, {seeds_of(by_name[_workers(32)]).sentence} with 32",
        headline=f"After the same {HALF.episodes:,} episodes: {seeds_of(by_name[_workers(1)]).sentence} with 1 "
        f"worker, {seeds_of(by_name[_workers(32)]).sentence} with 32. With an entropy bonus that falls to 0 "
        f"{seeds_of(by_name['bonus annealed']).sentence}, with one that stays "
        f"{seeds_of(by_name['bonus kept']).sentence}, with none {seeds_of(by_name['no bonus']).sentence}.",
        findings="Seed by seed against the process itself with its annealed bonus, and corrected for "
        f"{len(against)} comparisons (Holm), the success of {' and '.join(differ) or 'no condition'} differs. By "
        f"number of workers: {summary}. At most one gradient more than there are cores is under way at "
        "once, which bounds the mean staleness; single gradients are older, up to "
        f"{results.rows.staleness_max.max():.0f} updates. The schedules of the bonus are compared in the process "
        f"itself, without Ray. One worker on Ray trains the network that the process "
        f"itself trains (*bonus annealed*): {_same(by_name[_workers(1)], by_name['bonus annealed'])} play alike to the "
        f"last game. Without any entropy bonus a protocol formed in "
        f"{seeds_of(by_name['no bonus']).formed.successes} of {len(by_name['no bonus'])} seeds, and "
        f"{_to_the_cut(by_name['no bonus'])} of them talk until they are cut off; so do "
        f"{_to_the_cut(by_name[_workers(32)])} of {len(by_name[_workers(32)])} with "
        f"{_workers(32)}.",
        table=by_condition(
            results,
            **{
                "95 % after (median episodes)": median_to_95,
                "talks cut": lambda rows: percent(mean_of(rows.cut), 1),
                "staleness": lambda rows: number(mean_of(rows.staleness), 1),
            },
        ),
        figure=figure,
        tables={"comparisons": against},
    )


def _same(one: pd.DataFrame, other: pd.DataFrame) -> str:
    both = one.merge(other, on="seed", suffixes=("", "_other"))
    return f"{int(((both.success == both.success_other) & (both.rounds == both.rounds_other)).sum())} of {len(both)}"


def _to_the_cut(rows: pd.DataFrame) -> int:
    return int((rows.cut > 0.5).sum())


def _workers(count: int) -> str:
    return f"{count} worker{'s' * (count > 1)}"


EXPERIMENT = Experiment(
    question="Do the number of workers and the entropy bonus matter?",
    expected="The same quality on the same number of episodes as long as gradients are a few updates old (Mnih et al. "
    "2016); annealing the entropy bonus closes most of the gap between 98.1 - 99.7 % and the optimum (prototypes).",
    conditions={
        **{_workers(w): dataclasses.replace(HALF, workers=w) for w in WORKERS},
        "bonus annealed": HALF,
        "bonus kept": dataclasses.replace(HALF, entropy_final=HALF.entropy_bonus),
        "no bonus": dataclasses.replace(HALF, entropy_bonus=0.0),
    },
    measure=measure,
    conclude=conclude,
)

if __name__ == "__main__":
    main(__file__)
