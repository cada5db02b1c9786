"""Can trains tell each other how late they are? The later one must get the main line, and a round has a price."""

from __future__ import annotations

import dataclasses
from typing import Any

from analysis.data.runs import LoadedRun
from experiments.experiment import TERSE, Conclusion, Experiment, Results, with_rules
from experiments.measures import evaluation_of
from experiments.running import main
from experiments.writing import by_condition, draw_seeds, mean_of, number, panels, percent, seeds_of

DELAYS = 5
GAME = dataclasses.replace(TERSE, env="emcomm/crossing-priority-v1", game_options={"n_delays": DELAYS}, cost_until=0.4)
PRICED = with_rules(GAME, opening="talk", round_cost=0.08)
OPEN, OFF = "with talk", "without talk"


def measure(run: LoadedRun, quick: bool) -> dict[str, Any]:
    """Success where both trains are equally late, and where one is later."""
    table = evaluation_of(run)
    delay = table.private[:, :, 0]
    equal = delay[:, 0] == delay[:, 1]
    return {"success_equal": float(table.success[equal].mean()), "success_later": float(table.success[~equal].mean())}


def conclude(results: Results) -> Conclusion:
    """Success and rounds, with talk and without, beside the optimum."""
    rows = results.rows
    talk, muted = rows[rows.condition == OPEN], rows[rows.condition == OFF]
    figure, (left, right) = panels(2, 5.6)
    draw_seeds(left, results)
    left.set(ylabel="success (%)", ylim=(0, 103))
    draw_seeds(right, results, "rounds", [OPEN], scale=1)
    right.set(ylabel="rounds of talk", ylim=(0, None))
    apart = mean_of(talk.success).low > mean_of(muted.success).high
    slower = talk.rounds.mean() - talk.best_rounds.iloc[0]
    return Conclusion(
        answer=f"Yes, {slower:.1f} rounds slower than the shortest talk." if apart else "That they can is not shown.",
        key=f"{seeds_of(muted).sentence} → {seeds_of(talk).sentence}",
        headline=f"With talk the more delayed train gets the main line in {seeds_of(talk).sentence}, after "
        f"{number(mean_of(talk.rounds))} rounds (least: {talk.best_rounds.iloc[0]:.2f}); without talk in "
        f"{seeds_of(muted).sentence}.",
        findings=f"Where one train is later, success is {percent(mean_of(talk.success_later))} with talk and "
        f"{percent(mean_of(muted.success_later))} without; where both are equally late, and any parting will do, "
        f"{percent(mean_of(talk.success_equal))} and {percent(mean_of(muted.success_equal))}. Without talk identical "
        "trains reach 50 % at most, however many delays there are. A pair that always parts and does not mind the "
        f"delays would succeed in {100 * (DELAYS + 1) / (2 * DELAYS):.0f} %.",
        table=by_condition(
            results,
            **{
                "one is later": lambda own: percent(mean_of(own.success_later)),
                "equally late": lambda own: percent(mean_of(own.success_equal)),
            },
        ),
        figure=figure,
    )


EXPERIMENT = Experiment(
    question="Can trains tell each other which is later?",
    expected="At least 99 % for five delays, in less than one round more than the least that two agents need "
    "(`analysis.agents.priority_pair`); 50 % without talk.",
    conditions={OPEN: PRICED, OFF: with_rules(PRICED, channel="off")},
    seeds=5,
    measure=measure,
    conclude=conclude,
)

if __name__ == "__main__":
    main(__file__)
