"""The switch riddle of Foerster et al. 2016: with the bulb, without it, and with a wire that is cut."""

from __future__ import annotations

from dataclasses import replace
from math import comb
from typing import Any

import numpy as np
import pandas as pd

from analysis.agents.optimal_prisoners import optimum
from analysis.data.runs import LoadedRun
from analysis.metrics.seed_aggregation import Interval
from emcomm.config import Config
from emcomm.games import with_talk
from envs.game import Bools
from envs.switch_riddle import SwitchRiddleGame
from experiments.experiment import Conclusion, Results, with_rules
from experiments.measures import heeded, played_under
from experiments.replication import Paper, Published, Replication, Verdict
from experiments.running import main
from experiments.writing import GREEN, GREY, draw_seeds, mean_of, number, panels

BULB, NO_BULB, CUT = "bulb", "no bulb", "wire cut"
BEST = optimum(3).reward
"""20/27: for three prisoners the bound that no protocol passes is reached."""
NEAR = 0.95
"""Share of the optimum that counts as reached."""
CONTENT = 0.02
"""A network whose return changes less when it sees other prisons' bulbs does not use what it sees (reward)."""


class WireCut(SwitchRiddleGame):
    """A planted fault: nobody sees how the bulb was left, and nothing says so."""

    def hears(self) -> Bools:
        return np.zeros_like(super().hears())


def alone(prisoners: int, days: int) -> float:
    """What the last visitor wins who only knows on how many days it has itself been in the room.

    It announces where the others have more probably been there than not; nobody else announces.

    >>> round(alone(3, 6), 4)
    0.5267
    """
    total = 0.0
    for own in range(1, days + 1):
        chance = comb(days - 1, own - 1) * (1 / prisoners) ** (own - 1) * (1 - 1 / prisoners) ** (days - own)
        others = prisoners - 1
        all_others = sum((-1) ** j * comb(others, j) * (1 - j / others) ** (days - own) for j in range(others + 1))
        total += chance * max(2 * all_others - 1, 0)
    return total


SILENT_BEST = alone(3, 6)


def measure(run: LoadedRun, quick: bool) -> dict[str, Any]:
    """Return with the content of the channel taken away, and how far what is seen decides the move."""
    if run.config.rules.channel == "off":
        return {}
    return {**played_under(run, quick, ("constant", "shuffled"), 10_000), **heeded(run)}


def _seeds(results: Results, condition: str, column: str = "return") -> pd.Series:
    return results.rows[column][results.rows.condition == condition]


def _of(results: Results, condition: str, column: str = "return") -> Interval:
    return mean_of(_seeds(results, condition, column))


def _lost(results: Results, condition: str) -> Interval:
    """What is lost, seed by seed, where the bulbs of other prisons are seen."""
    own = results.rows[results.rows.condition == condition]
    return mean_of(own["return"] - own.return_shuffled)


def _unused(results: Results, condition: str) -> bool:
    """Whether the control says that what is seen does not matter."""
    lost = _lost(results, condition)
    return abs(lost.value) < CONTENT


def _in_order(results: Results) -> bool:
    """Whether the bulb is above no bulb, by intervals over seeds."""
    return _of(results, BULB).low > _of(results, NO_BULB).high


def judge(results: Results) -> Verdict:
    """The order of methods, how near the optimum the best comes, and whether the control names the cut wire."""
    best, silent = _of(results, BULB), _of(results, NO_BULB)
    in_order = _in_order(results)
    reached = best.value >= NEAR * BEST
    named = _unused(results, CUT) and not _unused(results, BULB)
    fault = (
        "the channel control names the cut wire"
        if named
        else "the channel control does not tell the cut wire from a bulb that is used"
    )
    figures = f"{100 * best.value / BEST:.0f} % of the optimum with the bulb, {100 * silent.value / BEST:.0f} % without"
    if in_order and reached and named:
        return Verdict("reproduced", f"{figures}; {fault}.")
    if in_order:
        short = "" if reached else f"; the optimum is not reached in {EPISODES:,} episodes of A3C"
        return Verdict("partly", f"{figures}, in the published order{short}; {fault}.")
    with_it, without = (_seeds(results, name) >= NEAR * BEST for name in (BULB, NO_BULB))
    if with_it.any() and not without.any():
        return Verdict(
            "partly",
            f"{with_it.sum()} of {len(with_it)} seeds with the bulb reach {100 * NEAR:.0f} % of the optimum or more, "
            f"none without it; the others have not learned to use it in {EPISODES:,} episodes of A3C, so that the "
            f"means ({figures}) are not apart; {fault}.",
        )
    return Verdict("not", f"{figures}: not apart after {EPISODES:,} episodes; {fault}.")


def conclude(results: Results) -> Conclusion:
    """Returns of all conditions against the optimum."""
    rows = results.rows
    figure, (axes,) = panels(1, 9.0, 4.8)
    draw_seeds(axes, results, "return", scale=1)
    axes.axhline(BEST, color=GREEN, lw=1.5, ls="--", label="optimum with the bulb")
    axes.axhline(SILENT_BEST, color=GREY, lw=1.5, ls=":", label="the last visitor alone")
    axes.set(ylabel="return (of at most 20/27)")
    axes.legend(frameon=False)
    of = {name: number(_of(results, name), 3) for name in EXPERIMENT.conditions}
    verdict = judge(results)
    return Conclusion(
        answer={
            "reproduced": "The bulb frees more prisoners; the controls name a wire that is cut.",
            "partly": "The published order holds, not every figure."
            if _in_order(results)
            else "Some seeds learn to use the bulb and reach the optimum.",
            "not": "The published order does not come out.",
        }[verdict.word],
        key=f"{of[NO_BULB]} → {of[BULB]} of 0.741",
        headline=f"Return {of[BULB]} with the bulb and shared networks, {of[NO_BULB]} without a bulb; the optimum is "
        f"{BEST:.3f}, and a last visitor who goes by its own visits wins {SILENT_BEST:.3f}.",
        findings=f"With the bulbs of other prisons the networks that were trained with their own "
        f"lose {number(_lost(results, BULB), 3)}. **The planted fault.** The wire is cut in one game "
        f"(`WireCut`): everything runs, a bulb is set every day, the return is {of[CUT]}. Seeing other prisons' bulbs "
        f"instead costs {number(_lost(results, CUT), 3)}. The bulb decides "
        f"{number(_of(results, BULB, 'heeded_bits'), 3)} bits of the move with the wire, and "
        f"{_heeded_when_cut(results)}: "
        + (
            "the control says that nothing which is said arrives."
            if _unused(results, CUT)
            else "the control does not settle it."
        ),
        table=_table(rows),
        figure=figure,
    )


def _heeded_when_cut(results: Results) -> str:
    bits = _of(results, CUT, "heeded_bits")
    return "nothing is heard without" if np.isnan(bits.value) else f"{number(bits, 3)} without"


def _table(rows: pd.DataFrame) -> pd.DataFrame:
    lines = []
    for condition, own in rows.groupby("condition", sort=False):
        mean = mean_of(own["return"])
        lines.append({
            "condition": condition, "seeds": len(own), "return, mean [95 %]": number(mean, 3),
            "share of the optimum": f"{100 * mean.value / BEST:.0f} %", "worst seed": f"{own['return'].min():.3f}",
            "other prisons' bulbs": number(mean_of(own.return_shuffled), 3),
            "bulb always the same": number(mean_of(own.return_constant), 3),
            "bits heeded": number(mean_of(own.heeded_bits), 3),
        })  # fmt: skip
    return pd.DataFrame(lines)


def _share(condition: str) -> Any:
    return lambda results: f"{_of(results, condition).value / BEST:.2f} (return {number(_of(results, condition), 3)})"


EPISODES = 400_000

PRISON = with_talk(
    Config(
        env="emcomm/switch-riddle-v1",
        workers=0,
        episodes=EPISODES,
        evaluation_games=20_000,
        discount=1.0,
        entropy_bonus=0.03,
    )
)

EXPERIMENT = Replication(
    question="Do prisoners learn to tell by the bulb of one room that all have been in it?",
    expected="With shared networks the optimum, without a bulb less (the paper's figure for three prisoners). A public "
    "reproduction scored 0.000 with a disconnected channel: such a fault must show in the channel controls.",
    paper=Paper(
        "Foerster et al.", 2016, "Learning to communicate with deep multi-agent reinforcement learning",
        "https://arxiv.org/abs/1605.06676",
    ),
    game="Three prisoners, six days, one bulb; +1 for a right announcement, -1 for a wrong one. The paper trains by "
    "deep Q-learning (RIAL) and by gradients through the channel (DIAL); here A3C and symbols that are "
    "drawn, without gradients through the channel, so that what is compared is the order: bulb above no bulb. Networks "
    "that are not shared, and four prisoners, are left out for the time that they take.",
    published=(
        Published(BULB, "share of the optimum", "1.0", "claim only (figure for n = 3)", _share(BULB), f"{BEST:.3f}"),
        Published(
            NO_BULB, "share of the optimum", "below all with the bulb", "claim only", _share(NO_BULB),
            f"{SILENT_BEST:.3f} (last visitor alone)",
        ),
    ),
    conditions={
        BULB: PRISON,
        NO_BULB: with_rules(PRISON, channel="off"),
        CUT: replace(PRISON, env="experiments.replications.foerster_2016:WireCut"),
    },
    measure=measure,
    judge=judge,
    conclude=conclude,
)  # fmt: skip

if __name__ == "__main__":
    main(__file__)
