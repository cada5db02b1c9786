"""The tables behind the figures of a report, by name: what a plot shows can be had as numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from analysis.automata.state_traffic import flow
from analysis.explanation.passed_over import why_not
from analysis.explanation.result import Explanation, Play
from analysis.explanation.vote_drift import DriftPoint
from emcomm.dialogues import DialogueTable

if TYPE_CHECKING:
    pass


def flow_frame(explanation: Explanation, table: DialogueTable | None) -> pd.DataFrame:
    """One row per arrow of the protocol graph: state, next, share of all rounds, rounds (the commonest, own first)."""
    columns = ["state", "next", "share", "rounds"]
    if explanation.machine is None or table is None or not len(table):
        return pd.DataFrame([], columns=columns)
    edges = flow(explanation.machine, table).edges(data=True)
    rows = [(a, b, d["share"], ", ".join(" ".join(map(str, s)) for s in d["said"])) for a, b, d in edges]
    return pd.DataFrame(sorted(rows, key=lambda row: -row[2]), columns=columns)


def drift_frame(points: tuple[DriftPoint, ...]) -> pd.DataFrame:
    """One row per stretch of training: episodes, success, held-out yielders named by its vote, likeness to the last."""
    rows = [
        (p.first_episode, p.last_episode, p.success.value, p.accuracy.value, p.similarity, p.agreement) for p in points
    ]
    return pd.DataFrame(
        rows,
        columns=["first_episode", "last_episode", "success", "accuracy", "cosine_with_last", "agreement_with_last"],
    )


def explanation_frame(explanation: Explanation) -> pd.DataFrame:
    """One row per explanation: what `analysis.explanation.verdict.Competitor` says of it.

    low and high are the 95 % interval of accuracy, random_low and random_high that of random. Where the method fails
    its planted case, its figures are left empty. why: what it fails, or why another one is named.
    """
    rows = []
    for one in explanation.competitors:
        row: dict[str, Any] = {
            "method": one.method,
            "trusted": one.check.passed,
            "states": one.n_states,
            "why": str(one.check) or ("named" if one is explanation.best else why_not(one, explanation)),
        }
        if one.check.passed:
            row |= {
                "accuracy": one.accuracy.value,
                "low": one.accuracy.low,
                "high": one.accuracy.high,
                "random": one.random.value if one.random else None,
                "random_low": one.random.low if one.random else None,
                "random_high": one.random.high if one.random else None,
                "bits": one.bits,
                "self_play": _success(one.self_play),
                "network_play": _success(one.network_play),
            }
        rows.append(row)
    names = [
        "method",
        "trusted",
        "accuracy",
        "low",
        "high",
        "random",
        "random_low",
        "random_high",
        "bits",
        "states",
        "self_play",
        "network_play",
        "why",
    ]
    return pd.DataFrame(rows, columns=names)


def _success(play: Play | None) -> float | None:
    return play.success.value if play else None


def strata_frame(explanation: Explanation) -> pd.DataFrame:
    """One row per stratum of random dialogues and explanation: share of the network's moves named, and the ceiling."""
    rows = [
        {
            "method": one.method, "stratum": part.name, "queries": part.queries, "named": part.named,
            "ceiling": part.ceiling, "of_the_ceiling": part.share,
        }
        for one in explanation.competitors
        if one.check.passed
        for part in one.strata
    ]  # fmt: skip
    names = ["method", "stratum", "queries", "named", "ceiling", "of_the_ceiling"]
    return pd.DataFrame(rows, columns=names)


def condition_frame(explanation: Explanation) -> pd.DataFrame:
    """The four conditions for the explanation that is named: figure, what is needed, whether it holds."""
    conditions = explanation.evidence.conditions if explanation.evidence else ()
    rows = [{"condition": c.name, "holds": c.holds, "figure": c.figure, "needed": c.needed} for c in conditions]
    return pd.DataFrame(rows, columns=["condition", "holds", "figure", "needed"])


def numbers_frame(explanation: Explanation) -> pd.DataFrame:
    """One column per running number: what a symbol adds to it, what it gets of each number, its log-odds to yield."""
    numbers = explanation.chosen_numbers
    if numbers is None:
        return pd.DataFrame()
    symbols = [*map(str, range(len(numbers.weights) - 2)), "EOT"]
    parts = [*symbols, *(f"number {i + 1}" for i in range(len(numbers))), "for yielding"]
    values = [*numbers.weights[:-1], *numbers.coupling.T, numbers.readout]
    return pd.DataFrame({"from": parts, **{f"number {i + 1}": [row[i] for row in values] for i in range(len(numbers))}})


def integrator_frame(explanation: Explanation) -> pd.DataFrame:
    """One row per integrator: its parameters beside the weights, and its held-out cross-entropy (nats)."""
    rows = [
        {
            "rule": member.name, "parameters": member.n_parameters, "loss": loss, "first": member.first,
            "diminish": member.diminish, "highest": member.highest, "keep": member.keep,
        }
        for member, loss in explanation.members
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=["rule", "parameters", "loss", "first", "diminish", "highest", "keep"])
