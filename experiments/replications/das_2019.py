"""The traffic junction of IC3Net and TarMAC: cars that see nothing but themselves, with talk and without."""

from __future__ import annotations

from typing import Any

import pandas as pd

from analysis.data.runs import LoadedRun
from analysis.metrics.seed_aggregation import Interval
from emcomm.config import Config
from emcomm.games import with_talk
from experiments.experiment import Conclusion, Results, with_rules
from experiments.measures import course, under_channels
from experiments.replication import Paper, Published, Replication, Verdict
from experiments.running import main
from experiments.writing import draw_seeds, mean_of, number, panels, percent

TALK, SILENT = "two rounds", "no talk"
NEAR = 0.98
"""Success with talk that counts as the published one."""


def measure(run: LoadedRun, quick: bool) -> dict[str, Any]:
    """The learning curve, and success with the content taken away."""
    controls = {} if run.config.rules.channel == "off" else under_channels(run, quick, games=1_000)
    return {**course(run, points=16), **controls}


def _of(results: Results, condition: str, column: str = "success") -> Interval:
    return mean_of(results.rows[column][results.rows.condition == condition])


def judge(results: Results) -> Verdict:
    """Clearly above no talk, by content, and near the published figure."""
    talk, silent = _of(results, TALK), _of(results, SILENT)
    own = results.rows[results.rows.condition == TALK]
    content = mean_of(own.success - own.under_shuffled)
    told = (
        f"{percent(silent, 1)} without talk, {percent(talk, 1)} with two rounds; the words of other junctions cost "
        f"{percent(content, 1)}"
    )
    if talk.low > silent.high and content.low > 0:
        if talk.value >= NEAR:
            return Verdict("reproduced", f"{told}.")
        return Verdict("partly", f"{told}. {_short(results)}.")
    return Verdict("not", f"{told}. {_short(results)}.")


def _short(results: Results) -> str:
    last = [curve[-1] - curve[-3] for curve in results.rows.course_success[results.rows.condition == TALK]]
    still = "was still rising" if mean_of(last).value > 0 else "did not rise any more"
    return (
        f"The training was cut short at {EPISODES:,} episodes, and its success with talk {still} at the end; tokens "
        "that are drawn carry no gradient, unlike the published vectors of real numbers"
    )


def conclude(results: Results) -> Conclusion:
    """Success with and without talk."""
    figure, (axes,) = panels(1, 6.4, 4.6)
    draw_seeds(axes, results)
    axes.set(ylabel="episodes without a collision (%)")
    of = {name: percent(_of(results, name), 1) for name in EXPERIMENT.conditions}
    return Conclusion(
        answer={
            "reproduced": "Two rounds of talk nearly end the collisions.",
            "partly": "Talk helps; the published figure is not reached.",
            "not": "No gain by talk in this short training.",
        }[judge(results).word],
        key=f"{of[SILENT]} → {of[TALK]}",
        headline=f"At the easy junction {of[SILENT]} of the episodes pass without a collision where nobody talks, "
        f"{of[TALK]} with two rounds of talk before each step.",
        findings=f"With the words of other junctions the networks that talk succeed in "
        f"{percent(_of(results, TALK, 'under_shuffled'), 1)}, with token 0 alone in "
        f"{percent(_of(results, TALK, 'under_constant'), 1)}. Medium and hard are not run here: an episode of the hard "
        f"one has sixteen times the decisions of an easy one.",
        table=_table(results.rows),
        figure=figure,
    )


def _table(rows: pd.DataFrame) -> pd.DataFrame:
    lines = []
    for condition, own in rows.groupby("condition", sort=False):
        lines.append({
            "condition": condition, "seeds": len(own), "success": percent(mean_of(own.success), 1),
            "cars without a collision": percent(mean_of(own.score), 1), "return": number(mean_of(own["return"]), 2),
            "other junctions' words": percent(mean_of(own.under_shuffled), 1),
            "token 0 alone": percent(mean_of(own.under_constant), 1),
        })  # fmt: skip
    return pd.DataFrame(lines)


EPISODES = 8_000

JUNCTION = with_rules(
    with_talk(Config(env="emcomm/traffic-junction-v1", workers=0, episodes=EPISODES, evaluation_games=1_000, games=32)),
    closing="fixed",
)

EXPERIMENT = Replication(
    question="Does talk before each step prevent collisions at a junction?",
    expected="Easy junction: 84.9 % without talk, 99.9 % with two rounds of it.",
    paper=Paper("Das et al.", 2019, "TarMAC: targeted multi-agent communication", "https://arxiv.org/abs/1810.11187"),
    game="The easy junction of IC3Net (7 × 7 cells, up to five cars, 20 steps), also TarMAC's, at the arrival rate at "
    "which the published curriculum ends; cars see only their own place. Two rounds of one of 16 tokens each, heard by "
    "all, instead of vectors with attention; A3C; one network for all cars.",
    published=(
        Published(SILENT, "episodes without a collision", "84.9 %", "quoted for TarMAC, easy", "success"),
        Published(TALK, "episodes without a collision", "99.9 %", "quoted for TarMAC, easy", "success", "100 %"),
    ),
    conditions={SILENT: with_rules(JUNCTION, channel="off"), TALK: JUNCTION},
    measure=measure,
    judge=judge,
    conclude=conclude,
)

if __name__ == "__main__":
    main(__file__)
