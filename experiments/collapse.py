"""How often does a network fall into crashing nearly always, why, and does a floor prevent it?

Thirty seeds at full length. A fall is a stretch of training below 30 %: agents who do not talk reach half, and only
agents who all make the same move lose nearly always. The floor keeps the entropy of all moves together above half a
nat; agents who always part have ln 2 = 0.69, so that it asks nothing of them.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pandas as pd

from analysis.data.runs import LoadedRun
from emcomm.statistics import Rate, rate
from experiments.experiment import TALK, Conclusion, Experiment, Results
from experiments.measures import course, stretches_of
from experiments.running import main
from experiments.writing import BLUE, GREEN, GREY, ORANGE, by_condition, mean_of, median_to_95, number, panels, seeds_of

AS_IS, FLOOR = "no floor", "floor of 0.5 nats"
RISEN, FALLEN = 0.9, 0.3
STRETCH = 5_000
"""Episodes of a stretch at most: shorter falls are averaged away."""
SETTLED = 1_000
"""Episodes after which a stretch is large enough to tell a fall from chance."""


def measure(run: LoadedRun, quick: bool) -> dict[str, Any]:
    """The learning curve; and over the same stretches the entropies of the moves and of the symbols (nats)."""
    curve = course(run, longest=STRETCH)
    del curve["course_closed"]
    edges = np.array(curve["course_episodes"])
    rules, moves = run.config.rules, len(run.declaration().move_names)
    counts = np.zeros((len(edges) - 1, moves))
    said = np.zeros((len(edges) - 1, rules.n_tokens + 1))
    for table in run.training():
        stretch = stretches_of(table, edges)
        np.add.at(counts, (stretch[:, None], table.moves), 1)
        spoken = table.padded(max(int(table.n_rounds.max(initial=1)), 1))
        heard = spoken >= 0
        where = np.broadcast_to(stretch[:, None, None], spoken.shape)
        np.add.at(said, (where[heard], spoken[heard]), 1)
    return {**curve, "move_entropy": _entropies(counts), "symbol_entropy": _entropies(said)}


def _entropies(counts: np.ndarray) -> list[float]:
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return (-(shares * np.log(np.maximum(shares, 1e-12))).sum(axis=1)).round(4).tolist()


def falls(edges: list[int], success: list[float]) -> tuple[int, int] | None:
    """The stretches from the first below `FALLEN` to the last before one is above `RISEN`; None where there is no fall.

    The first episodes are left out, in stretches of which chance alone goes so low. Where a network stays down, the
    second is the stretch of the end. `edges` are one more than `success`.

    >>> ends = [0, 1_000, 2_000, 3_000, 4_000, 5_000]
    >>> falls(ends, [0.1, 0.7, 0.2, 0.5, 0.99]), falls(ends, [0.5, 0.5, 0.5, 0.5, 0.2])
    ((2, 3), (4, 4))
    >>> falls(ends, [0.2, 0.4, 0.9, 1, 1])
    """
    curve, begins = np.array(success), np.array(edges[:-1])
    fallen = np.flatnonzero((curve < FALLEN) & (begins >= SETTLED))
    if not len(fallen):
        return None
    back = np.flatnonzero((curve > RISEN) & (np.arange(len(curve)) > fallen[0]))
    return int(fallen[0]), int(back[0] - 1 if len(back) else len(curve) - 1)


def conclude(results: Results) -> Conclusion:
    """How many fell, how long, what was left of talk and moves, and what the floor changes."""
    rows = results.rows
    rows = rows.assign(fall=list(map(falls, rows.course_episodes, rows.course_success)))
    groups = {name: rows[rows.condition == name] for name in EXPERIMENT.conditions}
    figure, (curves, inside) = panels(2)
    for (name, own), colour in zip(groups.items(), (BLUE, GREEN), strict=True):
        for i, curve in enumerate(own.course_success):
            edges = np.array(own.course_episodes.iloc[i])[1:]
            curves.plot(edges, 100 * np.array(curve), color=colour, lw=0.8, alpha=0.5, label=name if i == 0 else None)
    curves.set(xscale="log", xlabel="training episodes", ylabel="success (%)", title="every seed", ylim=(-3, 103))
    curves.legend(frameon=False, loc="lower right")
    deepest = rows[rows.fall.notna()]
    if len(deepest):
        one = deepest.loc[
            [min(deepest.index, key=lambda i: min(deepest.course_success[i][deepest.fall[i][0] :]))]
        ].iloc[0]
        edges = np.array(one.course_episodes)[1:]
        for label, values, colour in (
            ("success", one.course_success, GREY),
            ("entropy of the moves (nats)", one.move_entropy, ORANGE),
            ("entropy of the symbols (nats)", one.symbol_entropy, BLUE),
        ):
            inside.plot(edges, values, color=colour, lw=2, label=label)
        inside.axhline(np.log(2), color=ORANGE, lw=1, ls=":")
        inside.set(
            xscale="log", xlabel="training episodes", title=f"the deepest fall: {one.condition}, seed {one.seed}"
        )
        inside.legend(frameon=False)
    as_is, floor = groups[AS_IS], groups[FLOOR]
    return Conclusion(
        answer=_answer(as_is, floor),
        key=f"{_share(as_is)} fell, {_share(floor)} with a floor",
        headline=f"Of {len(as_is)} seeds {_fell(as_is).successes} fell below {100 * FALLEN:.0f} % "
        f"({_interval(_fell(as_is))}), and {_stayed(as_is)} of them stayed there; with a floor of 0.5 nats on the "
        f"entropy of the moves {_fell(floor).successes} of {len(floor)} ({_interval(_fell(floor))}) fell, and "
        f"{_stayed(floor)} stayed. The final success differs by {_paired(as_is, floor, 'success', 100)} points.",
        findings=f"{_why(as_is)} {_whether(as_is, floor)} Success is looked at in stretches of {STRETCH:,} episodes at "
        f"most: a fall that is much shorter is not seen. At the end the networks succeed in "
        f"{seeds_of(as_is).sentence} without a floor and in {seeds_of(floor).sentence} with it, in "
        f"{number(mean_of(as_is.rounds))} and {number(mean_of(floor.rounds))} rounds; they reach 95 % after "
        f"{median_to_95(as_is)} and {median_to_95(floor)} episodes (medians). Compared seed by seed, the floor changes "
        f"the final success by {_paired(as_is, floor, 'success', 100)} points and the rounds by "
        f"{_paired(as_is, floor, 'rounds', 1)}.",
        table=by_condition(
            results,
            **{
                "fell": lambda own: _share(groups[own.condition.iloc[0]]),
                "stayed down": lambda own: str(_stayed(groups[own.condition.iloc[0]])),
                "95 % after (median episodes)": median_to_95,
            },
        ),
        figure=figure,
        tables={"falls": _falls(rows)},
    )


def _fell(own: pd.DataFrame) -> Rate:
    return rate(int(own.fall.notna().sum()), len(own))


def _stayed(own: pd.DataFrame) -> int:
    return sum(
        fall is not None and fall[1] == len(curve) - 1 for fall, curve in zip(own.fall, own.course_success, strict=True)
    )


def _share(own: pd.DataFrame) -> str:
    found = _fell(own)
    return f"{found.successes} of {found.trials}"


def _interval(found: Rate) -> str:
    return f"{100 * found.value:.0f} % [{100 * found.low:.0f}, {100 * found.high:.0f}]"


def _falls(rows: pd.DataFrame) -> pd.DataFrame:
    """One line for each fall: when, how deep, and what was left there."""
    listed = []
    for one in rows[rows.fall.notna()].itertuples():
        first, last = one.fall
        inside = slice(first, last + 1)
        listed.append({
            "condition": one.condition, "seed": one.seed,
            "from_episode": one.course_episodes[first], "to_episode": one.course_episodes[last + 1],
            "lowest_success": np.nanmin(one.course_success[inside]),
            "move_entropy": np.mean(one.move_entropy[inside]), "symbol_entropy": np.mean(one.symbol_entropy[inside]),
            "rounds": np.nanmean(one.course_rounds[inside]), "final_success": one.success,
        })  # fmt: skip
    return pd.DataFrame(listed)


def _why(own: pd.DataFrame) -> str:
    found = _falls(own)
    if not len(found):
        return (
            f"In {own.episodes.iloc[0]:,} episodes nothing fell: falls are rarer than {100 * _fell(own).high:.0f} % of "
            "the seeds here."
        )
    return (
        f"In the falls success goes down to {100 * found.lowest_success.min():.0f} % (median "
        f"{100 * found.lowest_success.median():.0f} %), between episode {found.from_episode.min():,} and "
        f"{found.to_episode.max():,}. The talk lives on: the symbols keep {found.symbol_entropy.median():.2f} nats of "
        f"entropy (median), over {found.rounds.median():.1f} rounds. The moves do not: theirs is "
        f"{found.move_entropy.median():.2f} nats, where agents that part have {np.log(2):.2f}. Agents that all make "
        "the same move are rewarded alike whatever was said, and there is little left to learn from."
    )


def _whether(as_is: pd.DataFrame, floor: pd.DataFrame) -> str:
    """Whether the seeds tell that the floor prevents falls: Fisher's exact test."""
    from scipy.stats import fisher_exact

    fell = [[_fell(own).successes, len(own) - _fell(own).successes] for own in (as_is, floor)]
    p = float(fisher_exact(fell).pvalue)
    told = "the floor changes how many fall" if p < 0.05 else "that the floor changes how many fall is not shown"
    return f"With so many falls {told} (Fisher's exact test, p = {p:.2f})."


def _answer(as_is: pd.DataFrame, floor: pd.DataFrame) -> str:
    before, after = _fell(as_is).successes, _fell(floor).successes
    changed = mean_of(_differences(as_is, floor, "success"))
    cost = "at no visible cost" if changed.low <= 0 <= changed.high else "which changes the success"
    return f"{before or 'None'} of {len(as_is)} seeds fell, {after or 'none'} with a floor, {cost}."


def _paired(first: pd.DataFrame, second: pd.DataFrame, column: str, scale: float) -> str:
    return number(mean_of(scale * _differences(first, second, column)))


def _differences(first: pd.DataFrame, second: pd.DataFrame, column: str) -> pd.Series:
    """By how much the second is more, seed by seed."""
    return second.set_index("seed")[column] - first.set_index("seed")[column]


EXPERIMENT = Experiment(
    question="How often does a network fall into crashing nearly always, why, and does a floor prevent it?",
    expected="At full length one seed in ten fell to 0 % between 9 000 and 38 000 episodes: the talk lived on, all "
    "moves were the same one, the reward was constant and no gradient was left. A floor should prevent it at no cost.",
    conditions={AS_IS: TALK, FLOOR: dataclasses.replace(TALK, move_entropy_floor=0.5)},
    seeds=30,
    measure=measure,
    conclude=conclude,
)

if __name__ == "__main__":
    main(__file__)
