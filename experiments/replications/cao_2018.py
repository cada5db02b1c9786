"""Cao et al. 2018: who uses cheap talk in a bargain, those who share the reward or those who do not?"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd

from analysis.data.runs import LoadedRun
from analysis.metrics.seed_aggregation import Interval
from emcomm.config import Config
from emcomm.games import with_talk
from experiments.experiment import Conclusion, Results, with_rules
from experiments.measures import played_under
from experiments.replication import Paper, Published, Replication, Verdict
from experiments.running import main
from experiments.writing import draw_seeds, mean_of, number, panels, percent

MOTIVES = ("prosocial", "selfish")
SILENT, MUTED = ", no talk", ", words muted"
GAIN = 0.02
"""What talk must add to the joint value to count as used (share of the largest possible one)."""


def measure(run: LoadedRun, quick: bool) -> dict[str, Any]:
    """The joint value with the content taken away, what each of the two gets."""
    first, second = json.loads((run.path / "summary.json").read_text())["evaluation"]["sampled"]["returns"]
    shares = {"first": first, "second": second}
    return shares if run.config.rules.channel != "open" else {**shares, **played_under(run, quick)}


def _gain(results: Results, motive: str, bar: str = MUTED) -> Interval:
    """What talk adds to the joint value, seed by seed, against a bar without words."""
    wide = results.rows.pivot_table(index="seed", columns="condition", values="score")
    return mean_of(wide[motive] - wide[motive + bar])


def _content(results: Results, motive: str) -> Interval:
    """What is lost, seed by seed, with the words of other bargains."""
    own = results.of(motive)
    return mean_of(own.score - own.score_shuffled)


def _uses(results: Results, motive: str) -> bool:
    """Words add something to the same turns without words, and it is their content that does."""
    return _gain(results, motive).low > GAIN and _content(results, motive).low > GAIN


def _points(interval: Interval) -> str:
    return f"{number(Interval(*(100 * np.array(interval))), 1)} points"


def judge(results: Results) -> Verdict:
    """Prosocial agents use cheap talk, selfish ones do not."""
    uses = {motive: _uses(results, motive) for motive in MOTIVES}
    told = "; ".join(
        f"{motive}: {_points(_gain(results, motive, SILENT))} above no talk, {_points(_gain(results, motive))} above "
        f"the same rounds with muted words, {_points(_content(results, motive))} lost with other bargains' words"
        for motive in MOTIVES
    )
    if uses["prosocial"] and not uses["selfish"]:
        return Verdict("reproduced", f"Of the largest joint value, {told}.")
    if uses["prosocial"]:
        return Verdict("partly", f"Prosocial agents use the talk, but selfish ones do too: {told}.")
    only_steps = _gain(results, "prosocial", SILENT).low > GAIN
    reason = (
        "What prosocial agents gain over no talk is no content, as both controls say: as many muted rounds, which also "
        "give the learner more steps in each bargain, bring as much"
        if only_steps
        else f"Prosocial agents do not use the talk in {results.rows.episodes.max():,} episodes"
    )
    return Verdict("not", f"{reason}. Of the largest joint value, {told}.")


def conclude(results: Results) -> Conclusion:
    """Joint value with and without talk, for both motives."""
    figure, (axes,) = panels(1, 8.0, 4.6)
    draw_seeds(axes, results, "score")
    axes.set(ylabel="joint value (% of the largest possible)")
    of = {name: percent(results.mean(name, "score"), 1) for name in EXPERIMENT.conditions}
    word = judge(results).word
    return Conclusion(
        answer={
            "reproduced": "Only those who share the reward use cheap talk.",
            "partly": "Both use cheap talk here.",
            "not": "Nobody uses the words; what talk seems to add comes without content.",
        }[word],
        key=f"prosocial: {of['prosocial']}, muted {of['prosocial' + MUTED]}, no talk {of['prosocial' + SILENT]}",
        headline=f"Prosocial agents reach {of['prosocial']} of the largest joint value with cheap talk and "
        f"{of['prosocial' + MUTED]} with muted words and {of['prosocial' + SILENT]} without any round of talk; selfish "
        f"ones {of['selfish']}, {of['selfish' + MUTED]} and {of['selfish' + SILENT]}.",
        findings=f"They agree in {percent(results.mean('prosocial', 'success'), 1)} (prosocial) and "
        f"{percent(results.mean('selfish', 'success'), 1)} (selfish) of the bargains. Of the pool's value to itself "
        f"the first selfish bargainer gets {percent(results.mean('selfish', 'first'), 1)}, the second "
        f"{percent(results.mean('selfish', 'second'), 1)}. With the words of other bargains the prosocial score "
        f"{percent(results.mean('prosocial', 'score_shuffled'), 1)}, the selfish "
        f"{percent(results.mean('selfish', 'score_shuffled'), 1)}. "
        f"Two bars stand beside the talk: no "
        f"talk at all, and rounds in which only token 0 is heard, trained at the same length.",
        table=_table(results.rows),
        figure=figure,
    )


def _table(rows: pd.DataFrame) -> pd.DataFrame:
    lines = []
    for condition, own in rows.groupby("condition", sort=False):
        line = {"condition": condition, "seeds": len(own), "agreements": percent(mean_of(own.success), 1)}
        for name, column in (
            ("joint value", "score"), ("first's share", "first"), ("second's share", "second"),
            ("with other bargains' words", "score_shuffled"), ("with token 0 alone", "score_constant"),
        ):  # fmt: skip
            line[name] = percent(mean_of(own[column]), 1)
        lines.append(line)
    return pd.DataFrame(lines)


EPISODES = 60_000


def _bargains(motive: str) -> Config:
    options: dict[str, bool | int | float | str | None] = {
        "rewards": motive, "show_proposals": False, "n_types": 2, "max_quantity": 2, "max_value": 4, "min_turns": 4,
        "max_turns": 6,
    }  # fmt: skip
    config = with_talk(
        Config(
            env="emcomm/item-split-v1", game_options=options, workers=0, episodes=EPISODES, evaluation_games=10_000,
            discount=1.0,
        )
    )  # fmt: skip
    return with_rules(config, n_tokens=5, max_rounds=2, closing="fixed")


def _told(motive: str) -> Any:
    return lambda results: (
        f"{percent(results.mean(motive + SILENT, 'score'), 1)} → {percent(results.mean(motive, 'score'), 1)}; muted "
        f"{percent(results.mean(motive + MUTED, 'score'), 1)}"
    )


EXPERIMENT = Replication(
    question="Do selfish agents use cheap talk in a bargain, and do prosocial ones?",
    expected="Selfish agents fail to use the ungrounded channel; prosocial ones learn to use it and come near the "
    "largest joint value. Always beside what is reached without any talk.",
    paper=Paper("Cao et al.", 2018, "Emergent communication through negotiation", "https://arxiv.org/abs/1804.03980"),
    game="The item split with hidden proposals, so that talk is all that the other learns. Smaller than in the paper, "
    "to be learned in a minute: two types of up to two items worth up to 4 instead of three of up to five worth up to "
    "10, two words of five tokens a turn instead of six of ten, 4 to 6 turns instead of 4 to 10. One network plays "
    "both sides and is told which; trained by A3C.",
    published=(
        Published("prosocial", "joint value, no talk → talk", "talk is used", "claim only (abstract)",
                  _told("prosocial"), "100 %"),
        Published("selfish", "joint value, no talk → talk", "talk is not used", "claim only (abstract)",
                  _told("selfish"), "100 %"),
    ),
    conditions={
        name: config
        for motive in MOTIVES
        for name, config in (
            (motive, _bargains(motive)),
            (motive + MUTED, with_rules(_bargains(motive), channel="constant")),
            (motive + SILENT, with_rules(_bargains(motive), channel="off")),
        )
    },
    measure=measure,
    judge=judge,
    conclude=conclude,
)  # fmt: skip

if __name__ == "__main__":
    main(__file__)
