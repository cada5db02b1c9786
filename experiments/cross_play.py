"""Are protocols private? Networks of different seeds play each other; and populations: does one convention emerge?"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns

from analysis.comparison import CrossPlay, cosines, cross_play, predict_cross_play, vote_weights
from analysis.network import PolicyPlayer
from emcomm.policy import Policy, Population
from emcomm.runs import Run
from experiments.experiment import SHORT, TALK, Conclusion, Experiment, Results
from experiments.measures import evaluation_of, network_of
from experiments.running import main
from experiments.writing import BLUE, GREY, ORANGE, by_condition, mean_of, panels, percent

SIZES = (2, 3, 5)
ALONE = "one network"


def measure(run: Run, quick: bool) -> dict[str, Any]:
    """Play within a population: with the others, as in training, and with a copy of itself, which is new to it."""
    network = network_of(run)
    if not isinstance(network, Population):
        weights = vote_weights(evaluation_of(run), run.config.rules.n_tokens)
        return {"vote_weights": weights.round(4).tolist()}
    rates = _play(network.members, run, 200 if quick else 4_000).rates
    others = ~np.eye(len(rates), dtype=bool)
    return {"with_others": float(rates[others].mean()), "with_itself": float(rates.diagonal().mean())}


def _play(networks: Sequence[Policy], run: Run, games: int) -> CrossPlay:
    seats = [lambda policy=policy: PolicyPlayer(policy) for policy in networks]
    return cross_play([str(i) for i in range(len(networks))], seats, run.config.rules, games)


def conclude(results: Results) -> Conclusion:
    """The matrix of independent networks with its prediction, and what becomes of populations."""
    rows, games = results.rows, 200 if results.quick else 4_000
    alone = rows[rows.condition == ALONE]
    runs = [results.runs[ALONE, seed] for seed in alone.seed]
    played = _play([network_of(run) for run in runs], runs[0], games)
    weights = [np.array(w) for w in alone.vote_weights]
    predicted = predict_cross_play(played, weights)
    above = np.triu_indices(len(runs), 1)
    both = ((played.rates + played.rates.T) / 2)[above]
    strangers = _strangers(results, games)
    everyone = pd.concat([rows, strangers])
    figure, (matrix, prediction, populations) = panels(3, 5.6, 4.8)
    sns.heatmap(100 * played.rates, annot=True, fmt=".0f", cmap="viridis", vmin=0, vmax=100, ax=matrix, cbar=False)
    matrix.set(xlabel="seed in seat 2", ylabel="seed in seat 1", title="success of independent networks (%)")
    prediction.plot(cosines(weights)[above], 100 * both, "o", color=ORANGE)
    prediction.set(xlabel="cosine of the vote weights", ylabel="success in cross-play (%)")
    prediction.set_title(f"r = {predicted.correlation:.2f}, {predicted.pairs} pairs")
    sizes = [_size(k) for k in SIZES]
    for shift, column, colour in ((-0.25, "with_others", BLUE), (0, "with_itself", ORANGE), (0.25, "strangers", GREY)):
        for i, size in enumerate(sizes):
            values = 100 * everyone[everyone.condition == size][column].dropna()
            label = column.replace("_", " ") if i == 0 else None
            populations.plot([i + shift] * len(values), values, "o", color=colour, ms=4, alpha=0.6, label=label)
    populations.set_xticks(range(len(sizes)), sizes)
    populations.set(ylabel="success (%)", ylim=(-3, 103), title="populations")
    populations.legend(frameon=False)
    sns.despine(ax=prediction)
    sns.despine(ax=populations)
    of = {
        size: {c: percent(mean_of(own[c]), 1) for c in ("with_others", "with_itself", "strangers")}
        for size, own in everyone.groupby("condition")
    }
    spread = f"{100 * both.min():.0f} to {100 * both.max():.0f} %"
    return Conclusion(
        headline=f"Networks trained apart succeed with each other in {percent(mean_of(both), 1)} of games "
        f"({spread}), with themselves in {100 * played.rates.diagonal().mean():.2f} %; the cosine of their vote "
        f"weights predicts it (r = {predicted.correlation:.2f}, {predicted.pairs} pairs).",
        findings=" ".join(
            f"{size}: {of[size]['with_others']} with its other members, {of[size]['with_itself']} of a member with a "
            "copy "
            f"of itself, {of[size]['strangers']} with members of other populations."
            for size in sizes
        )
        + " Two networks that always meet each other need not talk at all: being different networks tells them "
        "apart, and copies of one then crash. From three members on no fixed division of roles fits all pairs.",
        table=by_condition(
            results,
            **{
                "with other members": lambda own: percent(mean_of(own.with_others), 1),
                "with a copy of itself": lambda own: percent(mean_of(own.with_itself), 1),
            },
        ),
        figure=figure,
        tables={
            "matrix": pd.DataFrame(played.rates, columns=[f"seed {s}" for s in alone.seed]),
            "strangers": strangers,
        },
    )


def _strangers(results: Results, games: int) -> pd.DataFrame:
    """Success of the first members of populations of one size with each other: one row for each pair of populations."""
    found = []
    for size in (_size(k) for k in SIZES):
        runs = [run for (condition, _), run in results.runs.items() if condition == size]
        populations = [network_of(run) for run in runs]
        firsts = [p.members[0] for p in populations if isinstance(p, Population)]
        rates = _play(firsts, runs[0], games // 4).rates
        pairs = ((rates + rates.T) / 2)[np.triu_indices(len(runs), 1)]
        found += [{"condition": size, "strangers": float(rate)} for rate in pairs]
    return pd.DataFrame(found)


def _size(members: int) -> str:
    return f"population of {members}"


EXPERIMENT = Experiment(
    question="Are protocols private to those who trained together, and do populations agree on one?",
    expected="About 50 % between independent runs, spread widely (53 % on average, 13 - 89 %, in prototypes), "
    "predicted by the cosine of the vote weights (r = 0.95). In a population a convention that serves all pairs.",
    conditions={
        ALONE: TALK,
        **{_size(k): dataclasses.replace(SHORT, population=k) for k in SIZES},
    },
    seeds=10,
    measure=measure,
    conclude=conclude,
)

if __name__ == "__main__":
    main(__file__)
