"""Signalling games without a meaning to begin with: urns that are reinforced, and networks trained with A3C.

Whoever signals perfectly has one signal for each state. Both kinds of learners can also end in partial pooling, where
one signal stands for two states: each of the two is then better off staying than changing alone. How often they do is
the figure to meet.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from analysis.agents.urn_learners import UrnLearners
from analysis.data.runs import LoadedRun
from emcomm.config import Config
from emcomm.games import with_talk
from emcomm.statistics import Rate, rate
from experiments.experiment import Conclusion, Results
from experiments.measures import under_channels
from experiments.replication import Paper, Published, Replication, Verdict
from experiments.running import main
from experiments.writing import BLUE, GREEN, ORANGE, panels, percent, seeds_of
from experiments.writing import mean_of as mean_over

PERFECT = 0.95
"""Success from which a pair signals (all but) perfectly; with n = 8 states the best partial pooling has 0.875."""
LEARNERS = 1_000
URNS: dict[str, tuple[int, int]] = {
    "n = 2, 100k plays": (2, 100_000),
    "n = 3, 100k plays": (3, 100_000),
    "n = 4, 100k plays": (4, 100_000),
    "n = 8, 60k plays": (8, 60_000),
    "n = 3, 1M plays": (3, 1_000_000),
    "n = 4, 1M plays": (4, 1_000_000),
    "n = 8, 1M plays": (8, 1_000_000),
}
"""States, and plays of each pair."""
TWO = "n = 2, 100k plays"
SHARES: dict[str, tuple[float, str]] = {
    TWO: (0.5, "measured for this project by other code, 1 000 pairs"),
    "n = 3, 100k plays": (11.1, "as above"),
    "n = 4, 100k plays": (26.3, "as above"),
    "n = 8, 60k plays": (71.4, "as above"),
}
"""Sub-optimal pairs (%), and where that stands."""
BARRETT: dict[str, float] = {"n = 3, 1M plays": 9.6, "n = 4, 1M plays": 21.9, "n = 8, 1M plays": 59.4}
"""The paper's shares (%)."""
NEAR = 0.05
"""How far a share may lie from the paper's, and from one measured by other code where the two differ beyond chance."""
ON_THE_WAY = 0.8
"""Success below which a pair with two states is not nearly there."""


def urns(quick: bool, states: int, plays: int) -> dict[str, Any]:
    """How often `LEARNERS` pairs of urns are sub-optimal, and how their success is spread."""
    pairs = UrnLearners(50 if quick else LEARNERS, states, np.random.default_rng(states))
    pairs.play(500 if quick else plays)
    success = pairs.success()
    counts, _ = np.histogram(success, bins=40, range=(0, 1))
    return {
        "states": states, "plays": plays, "pairs": len(success), "suboptimal": int((success < PERFECT).sum()),
        "mean_success": float(success.mean()), "spread": counts.tolist(),
    }  # fmt: skip


def measure(run: LoadedRun, quick: bool) -> dict[str, Any]:
    """The channel controls."""
    return dict(under_channels(run, quick, ("open", "constant", "shuffled"), 5_000))


def _share(results: Results, simulation: str) -> Rate:
    assert results.simulated is not None
    [row] = results.simulated[results.simulated.simulation == simulation].to_dict("records")
    return rate(int(row["suboptimal"]), int(row["pairs"]))


def _urns_are(simulation: str) -> Callable[[Results], str]:
    return lambda results: f"{_share(results, simulation)}"


def _perfect(rows: pd.DataFrame) -> Rate:
    return rate(int((rows.success >= PERFECT).sum()), len(rows))


def _networks_are(condition: str) -> Callable[[Results], str]:
    def share(results: Results) -> str:
        seeds = _perfect(results.of(condition))
        return f"{seeds.successes} of {seeds.trials} seeds [{100 * seeds.low:.0f}, {100 * seeds.high:.0f}] %"

    return share


def _away(results: Results) -> dict[str, tuple[float, Rate]]:
    """The simulations that differ from the share to meet, also one of `LEARNERS` pairs, by Fisher's exact test (5 %,
    Bonferroni's correction): that share, and ours."""
    from scipy.stats import fisher_exact

    away = {}
    for name, (published, _) in SHARES.items():
        ours, theirs = _share(results, name), round(published / 100 * LEARNERS)
        both = [[ours.successes, ours.trials - ours.successes], [theirs, LEARNERS - theirs]]
        if fisher_exact(both).pvalue < 0.05 / len(SHARES):
            away[name] = (published, ours)
    return away


def judge(results: Results) -> Verdict:
    """Reproduced where the shares grow with n and none is further than 5 points from the paper's, nor beyond chance
    from that of other code."""
    away = _away(results)
    said = "; ".join(f"{name}: {100 * r.value:.1f} against {published} %" for name, (published, r) in away.items())
    inside = f"{len(SHARES) - len(away)} of {len(SHARES)} shares measured by other code differ by no more than chance"
    inside += f" (not: {said})." if away else "."
    if TWO in away:
        inside += f" {_two_states(results)}"
    off = {name: _share(results, name).value - share / 100 for name, share in BARRETT.items()}
    points = ", ".join(f"{100 * by:+.1f}" for by in off.values())
    paper = f"Against the paper's, after 1 000 000 plays as there, ours are off by {points} points."
    lengths = [[_share(results, name).value for name in names] for names in (SHARES, BARRETT)]
    grows = all(shares == sorted(shares) for shares in lengths)
    if not grows:
        return Verdict("not", f"Partial pooling does not grow with n: {inside}")
    distances = [*off.values(), *(r.value - published / 100 for published, r in away.values())]
    if all(abs(by) < NEAR for by in distances):
        return Verdict("reproduced", f"Partial pooling grows with n, within 5 points: {inside} {paper}")
    return Verdict("partly", f"Partial pooling grows with n, but not as much: {inside} {paper}")


def _two_states(results: Results) -> str:
    """How much the share of two states depends on where the line is drawn."""
    assert results.simulated is not None
    [row] = results.simulated[results.simulated.simulation == TWO].to_dict("records")
    below = sum(row["spread"][: round(ON_THE_WAY * len(row["spread"]))]) / row["pairs"]
    return (
        "Two states are always learned in the end, so that their share depends on where the line is drawn: "
        f"{100 * below:.1f} % succeed in less than {100 * ON_THE_WAY:.0f} %."
    )


def conclude(results: Results) -> Conclusion:
    """Shares of sub-optimal urns, and of perfect networks."""
    rows, simulated = results.rows, results.simulated
    assert simulated is not None
    figure, (left, right) = panels(2, 6.6)
    names, to_meet = list(URNS), {**{name: share for name, (share, _) in SHARES.items()}, **BARRETT}
    for place, name in enumerate(names):
        ours = _share(results, name)
        left.plot([place, place], [100 * ours.low, 100 * ours.high], color=BLUE, lw=9, alpha=0.25)
        left.plot(place, 100 * ours.value, "o", color=BLUE, label="urns" if place == 0 else None)
        left.plot(place, to_meet[name], "_", color=ORANGE, ms=18, mew=2, label="to meet" if place == 0 else None)
    left.set_xticks(range(len(names)), [name.replace(", ", "\n") for name in names], fontsize=8)
    left.set(ylabel="sub-optimal pairs (%)", ylim=(-3, 100), title=f"{LEARNERS} pairs of urns each")
    left.legend(frameon=False)
    groups = {name: rows[rows.condition == name] for name in CONDITIONS}
    for place, (name, own) in enumerate(groups.items()):
        states = STATES[name]
        for pooled in range(1, states + 1):
            right.plot([place - 0.35, place + 0.35], [100 * pooled / states] * 2, color=GREEN, lw=0.7)
        jitter = np.linspace(-0.2, 0.2, len(own)) if len(own) > 1 else np.zeros(1)
        right.plot(place + jitter, 100 * own.success, "o", color=BLUE, ms=4)
    right.set_xticks(range(len(groups)), [name.replace(", ", "\n", 1) for name in groups], fontsize=8)
    right.set(ylabel="success (%)", ylim=(0, 103), title="networks, each seed; green: k of n states told")
    weak, strong = _networks_are(WEAK)(results), _networks_are(STRONG)(results)
    four, eight = (_share(results, f"n = {states}, 1M plays") for states in (4, 8))
    return Conclusion(
        answer="Urns pool more often the more states; an entropy bonus frees most networks.",
        key=f"n = 4: {four} of the urns are sub-optimal; {strong} of A3C perfect",
        headline=f"With four states {four} of the urns are sub-optimal after 1 000 000 plays, with eight {eight}. "
        f"A3C with four states signals perfectly in {weak} with an entropy bonus of 0.01 and in {strong} with one of "
        "0.2.",
        findings="Urns that are sub-optimal mostly share one signal between two states, and one signal has "
        "lost its use (the spread of their success is in simulated.csv, in 40 bins from 0 to 1). Theory says that two "
        "states are learned with probability 1 (Argiento et al. 2009), so that what is sub-optimal there is on its "
        "way; from three states on partial pooling is stable with positive probability (Huttegger 2007; Hu et al. "
        "2011). In the replicator dynamics mutation removes it (Hofbauer and Huttegger 2008); the entropy bonus is to "
        "A3C what mutation is to them: it keeps signals in use until one is free for each state. With the messages of "
        f"other games the same networks succeed in {percent(mean_over(groups[STRONG].under_shuffled), 1)} (four "
        f"states; chance is 25 %), and with token 0 only in {percent(mean_over(groups[STRONG].under_constant), 1)}.",
        table=_table(groups),
        figure=figure,
    )


def _table(groups: dict[str, pd.DataFrame]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "condition": name, "seeds": len(own), "success, mean [95 %]": percent(seeds_of(own).mean),
            "perfect": f"{_perfect(own).successes}/{len(own)}", "optimum": "100 %",
            "chance": f"{100 / STATES[name]:.1f} %",
            "shuffled": percent(mean_over(own.under_shuffled), 1),
            "constant": percent(mean_over(own.under_constant), 1),
        }
        for name, own in groups.items()
    )  # fmt: skip


def _a3c(states: int, bonus: float) -> Config:
    return with_talk(
        Config(
            workers=0, env="emcomm/signalling-v1", game_options={"n_values": states}, policies="by-role",
            episodes=50_000, evaluation_games=5_000, games=32, unroll=4, discount=1.0, learning_rate=1e-2,
            entropy_bonus=bonus, entropy_until=0.8,
        )
    )  # fmt: skip


WEAK, STRONG, EIGHT = "A3C, n = 4, bonus 0.01", "A3C, n = 4, bonus 0.2", "A3C, n = 8, bonus 0.2"
STATES = {WEAK: 4, STRONG: 4, EIGHT: 8}
CONDITIONS = {WEAK: _a3c(4, 0.01), STRONG: _a3c(4, 0.2), EIGHT: _a3c(8, 0.2)}

PUBLISHED_URNS = (
    Published(
        f"urns, {name}", "sub-optimal pairs", f"{SHARES[name][0]} %", SHARES[name][1], _urns_are(name),
        "0 % in the limit" if name == TWO else "above 0 %",
    )
    for name in SHARES
)  # fmt: skip
QUOTED = (
    Published(
        f"urns, {name}", "sub-optimal pairs", f"{share} %", "Barrett 2006, from memory", _urns_are(name),
        "above 0 %",
    )
    for name, share in BARRETT.items()
)  # fmt: skip
NETWORKS = (Published(name, "perfect seeds", "–", "–", _networks_are(name), "100 %") for name in CONDITIONS)

EXPERIMENT = Replication(
    question="How often do learners of Lewis's signalling game end in partial pooling?",
    expected="Never in the long run with two states, and more often the more states there are. A stronger entropy "
    "bonus should free networks from partial pooling, as mutation frees populations.",
    conditions=CONDITIONS,
    seeds=10,
    measure=measure,
    simulations={name: partial(urns, states=n, plays=plays) for name, (n, plays) in URNS.items()},
    conclude=conclude,
    paper=Paper("Barrett", 2006, "Numerical simulations of the Lewis signaling game"),
    game=f"`emcomm/signalling-v1` (Lewis 1969): n states, all equally often, n signals and n acts. Urns: one ball of "
    "each kind at first, one more after each success (Roth and Erev 1995). Sub-optimal: a pair that succeeds in less "
    f"than {100 * PERFECT:.0f} % with its urns as they are; the criterion of the paper is not known here, and its "
    "shares are quoted from memory.",
    published=(*PUBLISHED_URNS, *QUOTED, *NETWORKS),
    judge=judge,
)

if __name__ == "__main__":
    main(__file__)
