"""Are protocols private? Networks of different seeds play each other; and populations: does one convention emerge?"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns

from analysis.agents.cross_play import CrossPlay, cosines, cross_play, predict_cross_play
from analysis.agents.policy_player import PolicyPlayer
from analysis.data.runs import LoadedRun
from analysis.explanation.vote_drift import vote_weights
from emcomm.networks.policy import Policy, Population
from experiments.experiment import SHORT, TALK, Conclusion, Experiment, Results, with_rules
from experiments.measures import evaluation_of, network_of
from experiments.running import main
from experiments.writing import (
    BLUE,
    GREY,
    ORANGE,
    by_condition,
    mean_of,
    mean_of_pairs,
    number,
    over_pairs,
    panels,
    percent,
)

SIZES = (2, 3, 5)
ALONE, OTHER_PLAY = "one network", "one network, other-play"
MEMBER_GAMES = SHORT.episodes
"""Games that each member of a population plays in training, however many they are."""


def measure(run: LoadedRun, quick: bool) -> dict[str, Any]:
    """Play within a population: with the others, as in training, and with a copy of itself, which is new to it."""
    network = network_of(run)
    if not isinstance(network, Population):
        weights = vote_weights(evaluation_of(run), run.config.rules.n_tokens)
        return {"vote_weights": weights.round(4).tolist()}
    rates = _play(network.members, run, 200 if quick else 4_000).rates
    others = ~np.eye(len(rates), dtype=bool)
    return {"with_others": float(rates[others].mean()), "with_itself": float(rates.diagonal().mean())}


def _play(networks: Sequence[Policy], run: LoadedRun, games: int) -> CrossPlay:
    seats = [lambda policy=policy: PolicyPlayer(policy) for policy in networks]
    return cross_play([str(i) for i in range(len(networks))], seats, run.config.rules, games)


def conclude(results: Results) -> Conclusion:
    """The matrix of independent networks with its prediction, other-play, and what becomes of populations."""
    rows, games = results.rows, 200 if results.quick else 4_000
    alone = rows[rows.condition == ALONE]
    runs = [results.runs[ALONE, seed] for seed in alone.seed]
    played = _play([network_of(run) for run in runs], runs[0], games)
    others = [network_of(run) for (condition, _), run in results.runs.items() if condition == OTHER_PLAY]
    other_play = _play(others, runs[0], games)
    weights = [np.array(w) for w in alone.vote_weights]
    predicted = predict_cross_play(played, weights)
    above = np.triu_indices(len(runs), 1)
    both, similar = (played.rates + played.rates.T) / 2, cosines(weights)
    correlation = over_pairs(_pearson, similar, both)
    strangers = _strangers(results, games)
    figure, (matrix, matrix_other, prediction, populations) = panels(4, 5.2, 4.8)
    for axes, cells, title in (
        (matrix, played, "independent networks (%)"), (matrix_other, other_play, "trained by other-play (%)"),
    ):  # fmt: skip
        sns.heatmap(100 * cells.rates, annot=True, fmt=".0f", cmap="viridis", vmin=0, vmax=100, ax=axes, cbar=False)
        axes.set(xlabel="seed in seat 2", ylabel="seed in seat 1", title=f"success of {title}")
    prediction.plot(similar[above], 100 * both[above], "o", color=ORANGE)
    prediction.set(xlabel="cosine of the vote weights", ylabel="success in cross-play (%)")
    prediction.set_title(f"r = {predicted.correlation:.2f}, {predicted.pairs} pairs")
    sizes = [_size(k) for k in SIZES]
    for i, size in enumerate(sizes):
        own, pairs = rows[rows.condition == size], np.triu_indices(len(strangers[size]), 1)
        groups = {"other members": own.with_others, "itself": own.with_itself, "strangers": strangers[size][pairs]}
        for (label, values), colour, shift in zip(groups.items(), (BLUE, ORANGE, GREY), (-0.25, 0, 0.25), strict=True):
            known = label if i == 0 else None
            populations.plot([i + shift] * len(values), 100 * values, "o", color=colour, ms=4, alpha=0.6, label=known)
    populations.set_xticks(range(len(sizes)), sizes)
    populations.set(ylabel="success (%)", ylim=(-3, 103), title="populations")
    populations.legend(frameon=False, title="with", loc="center left")
    sns.despine(ax=prediction)
    sns.despine(ax=populations)
    spread = f"{100 * both[above].min():.0f} to {100 * both[above].max():.0f} %"
    return Conclusion(
        answer="Protocols are private: strangers play at chance on average.",
        key=f"{percent(mean_of_pairs(both), 1)} with strangers",
        headline=f"Networks trained apart succeed with each other in {percent(mean_of_pairs(both), 1)} of games "
        f"({spread}), with themselves in {100 * played.rates.diagonal().mean():.2f} %; the cosine of their vote "
        f"weights predicts it (r = {number(correlation)}, {predicted.pairs} pairs). {_relabelled(other_play)} "
        + " ".join(_agreement(rows[rows.condition == size], size) for size in sizes),
        findings=" ".join(_told(rows[rows.condition == size], size, strangers[size]) for size in sizes)
        + " Members of a population differ, and may part by who they are instead of by what they say: then a member "
        f"crashes with its copy. Every member of a population played {MEMBER_GAMES:,} games in training; a single "
        f"network played both seats of {TALK.episodes:,}. Other-play: what the other says is heard under names that "
        "are drawn anew for each game, so that only what does not depend on them can be agreed on (who says EOT "
        "first, who repeats itself), and not which of the two trains then yields; played with the open channel, as the "
        "others.",
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
            "other_play": pd.DataFrame(other_play.rates),
            **{f"strangers_{size.split()[-1]}": pd.DataFrame(strangers[size]) for size in sizes},
        },
    )


def _relabelled(played: CrossPlay) -> str:
    """What strangers reach who could not agree on the names of tokens."""
    both = (played.rates + played.rates.T) / 2
    return (
        f"Networks trained by other-play reach {percent(mean_of_pairs(both), 1)} with each other "
        f"({_extreme(both)} of the pairs nearly always or nearly never) and "
        f"{100 * played.rates.diagonal().mean():.2f} % with themselves.{_camps(both)}"
    )


def _camps(both: np.ndarray) -> str:
    """Whether all pairs of one side play well and all others badly; nothing is said where that is not so.

    >>> _camps(np.array([[1.0, 0.98, 0.0], [0.98, 1.0, 0.02], [0.0, 0.02, 1.0]]))
    ' They fall into two camps, 2 and 1: 98 % within a camp, 1 % across.'
    """
    side = both[0] > 0.5
    same, pairs = side[:, None] == side, np.triu(np.ones(both.shape, bool), 1)
    within, across = both[same & pairs], both[~same & pairs]
    if not len(within) or not len(across) or within.min() <= 0.5 or across.max() >= 0.5:
        return ""
    return (
        f" They fall into two camps, {side.sum()} and {(~side).sum()}: {100 * within.mean():.0f} % within a camp, "
        f"{100 * across.mean():.0f} % across."
    )


def _agreement(own: pd.DataFrame, size: str) -> str:
    """A convention that all share also serves a member and its copy; one that tells members apart does not."""
    return (
        f"In a {size} they succeed in {percent(mean_of(own.with_others), 1)} of games, "
        f"{percent(mean_of(own.silent), 0)} of them without any talk; a member with a copy of itself "
        f"in {percent(mean_of(own.with_itself), 1)}."
    )


def _told(own: pd.DataFrame, size: str, strangers: np.ndarray) -> str:
    return (
        f"{size.capitalize()}: {percent(mean_of(own.with_others), 1)} with its other members, "
        f"{percent(mean_of(own.with_itself), 1)} of a member with a copy of itself, "
        f"{percent(mean_of_pairs(strangers), 1)} with members of other populations ({_extreme(strangers)} of these "
        f"pairs nearly always or nearly never), in {number(mean_of(own.rounds), 1)} rounds, "
        f"{percent(mean_of(own.silent), 1)} of the games without any talk."
    )


def _extreme(rates: np.ndarray) -> str:
    """Share of pairs that succeed in less than 5 % or more than 95 % of their games: roles that are fixed."""
    pairs = rates[np.triu_indices(len(rates), 1)]
    return f"{100 * ((pairs < 0.05) | (pairs > 0.95)).mean():.0f} %"


def _pearson(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one, other)[0, 1]) if np.ptp(one) > 1e-12 and np.ptp(other) > 1e-12 else np.nan


def _strangers(results: Results, games: int) -> dict[str, np.ndarray]:
    """Success of the first members of populations of one size with each other, both seatings averaged."""
    by_size = {}
    for size in (_size(k) for k in SIZES):
        runs = [run for (condition, _), run in results.runs.items() if condition == size]
        populations = [network_of(run) for run in runs]
        firsts = [p.members[0] for p in populations if isinstance(p, Population)]
        rates = _play(firsts, runs[0], games // 4).rates
        by_size[size] = (rates + rates.T) / 2
    return by_size


def _size(members: int) -> str:
    return f"population of {members}"


EXPERIMENT = Experiment(
    question="Are protocols private to those who trained together, and do populations agree on one?",
    expected="About 50 % between independent runs, spread widely (53 % on average, 13 - 89 %, in prototypes), "
    "predicted by the cosine of the vote weights (r = 0.95). By other-play (Hu et al. 2020) strangers share what does "
    "not depend on the names of tokens, but may still differ in who of the two yields. In a population a convention "
    "that serves all pairs; two networks that only meet each other may instead tell themselves apart by being "
    "different.",
    conditions={
        ALONE: TALK,
        OTHER_PLAY: with_rules(TALK, channel="relabelled"),
        **{_size(k): dataclasses.replace(SHORT, population=k, episodes=MEMBER_GAMES * k // 2) for k in SIZES},
    },
    seeds=10,
    measure=measure,
    conclude=conclude,
)

if __name__ == "__main__":
    main(__file__)
