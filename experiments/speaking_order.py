"""Does the order of speaking alone give the role away? Simultaneous against sequential, with content and without."""

from __future__ import annotations

from typing import Any

from analysis.causal.role_leaks import role_leaks
from analysis.data.runs import LoadedRun
from experiments.experiment import SHORT, Conclusion, Experiment, Results, with_rules
from experiments.measures import evaluation_of
from experiments.running import main
from experiments.writing import by_condition, draw_seeds, mean_of, panels, percent, seeds_of

ORDERS: dict[str, dict[str, str]] = {
    "simultaneous": {"speaking": "simultaneous"},
    "fixed": {"speaking": "sequential", "order": "fixed"},
    "shuffled per episode": {"speaking": "sequential", "order": "episode"},
    "shuffled per round": {"speaking": "sequential", "order": "round"},
}

CONTENT: dict[str, dict[str, Any]] = {
    "with content": {},
    "without content": {"channel": "constant"},
    "one round without content": {"channel": "constant", "max_rounds": 1},
}


def measure(run: LoadedRun, quick: bool) -> dict[str, Any]:
    """The role-leak audit: how well who yields is told by everything but the content, and the largest chance figure."""
    audit = role_leaks(evaluation_of(run), run.config.rules.n_tokens, run.config.rules.channel)
    return {f"leak_{leak.source}": leak.accuracy.value for leak in audit} | {
        f"chance_{leak.source}": leak.null for leak in audit
    }


def conclude(results: Results) -> Conclusion:
    """Success with and without content for each order, and what the order tells."""
    rows = results.rows
    figure, (left, right) = panels(2, 7.0, 5.2)
    draw_seeds(left, results)
    left.set(ylabel="success (%)", ylim=(0, 103))
    draw_seeds(right, results, "leak_all")
    right.axhline(50, color="grey", ls=":")
    right.set(ylabel="who yields, told without content (%)", ylim=(40, 103))
    mean = {name: seeds_of(rows[rows.condition == name]).sentence for name in EXPERIMENT.conditions}
    leak = {name: percent(mean_of(rows[rows.condition == name].leak_all), 1) for name in EXPERIMENT.conditions}
    return Conclusion(
        answer="Yes: a fixed order tells the agents apart without any content.",
        key=f"{mean['simultaneous, one round without content']} → {mean['fixed, one round without content']}",
        headline=f"In one round without content, agents that speak at the same time succeed in "
        f"{mean['simultaneous, one round without content']}, agents that speak in a fixed order in "
        f"{mean['fixed, one round without content']}.",
        findings="With an order shuffled for every episode that figure is "
        f"{mean['shuffled per episode, one round without content']}, shuffled for every round "
        f"{mean['shuffled per round, one round without content']}: an agent need not know beforehand who is first, "
        "the first of a round hears nothing of it. In up to 32 rounds without content it is "
        f"{mean['simultaneous, without content']} (simultaneous), {mean['fixed, without content']} (fixed), "
        f"{mean['shuffled per episode, without content']} and {mean['shuffled per round, without content']} "
        "(shuffled); there the end of the talk is a channel too, since who says EOT and finds the talk going on "
        f"knows that the other did not. With content: {mean['simultaneous, with content']} (simultaneous), "
        f"{mean['fixed, with content']} (fixed). The audit predicts who yields from who spoke first and last, the "
        "length of the talk and the index of the agent, but not from what was said; without content also from who "
        "said EOT alone first. Of the held-out games that parted it names "
        f"{leak['simultaneous, with content']} for networks that speak at the same time and hear each other, "
        f"{leak['fixed, with content']} for those in a fixed order, and {leak['simultaneous, without content']} for "
        "those that speak at the same time and hear nothing.",
        table=by_condition(results, **{"who yields, told without content": _leak}),
        figure=figure,
    )


def _leak(rows: Any) -> str:
    return percent(mean_of(rows.leak_all), 1)


EXPERIMENT = Experiment(
    question="Does the order of speaking alone give the role away?",
    expected="Yes: the second to speak hears something where the first hears silence. In the code behind the talk of "
    "2022 the trains parted in 92.1 % of games, and in as many with the buffers of other games. Simultaneous speaking, "
    "one round without content: at most 50 %.",
    conditions={
        f"{name}, {limits}": with_rules(SHORT, opening="talk", **order, **CONTENT[limits])
        for limits in CONTENT
        for name, order in ORDERS.items()
    },
    measure=measure,
    conclude=conclude,
)

if __name__ == "__main__":
    main(__file__)
