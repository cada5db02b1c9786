"""What actually happens in the dialogues? Which rule explains them, how large a machine it takes, how it comes about.

Ten seeds at each of three prices of a round. For every network: the competing explanations of `analysis.explain`, the
automata that KV learns about ever longer dialogues, and the vote over the course of training.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from analysis.active import ask_network, growth
from analysis.comparison import drift, vote_weights
from analysis.explain import explain
from analysis.study import stretches
from emcomm.dialogues import concatenate, iterate
from emcomm.runs import Run
from experiments.experiment import TALK, TERSE, Conclusion, Experiment, Results, with_rules
from experiments.measures import evaluation_of, network_of
from experiments.running import main
from experiments.writing import BLUE, GREEN, ORANGE, by_condition, draw_curve, mean_of, number, panels, percent

COSTS = {"no price": 0.0, "0.01 a round": 0.01, "0.05 a round": 0.05}
LENGTHS = (1, 2, 3, 4, 6)
"""Rounds before the closing one, of the dialogues about which KV asks."""
STATES = 60
"""KV stops beyond so many states."""
RULES = ("first difference", "last difference", "vote")
AUTOMATA = ("n-gram", "decision tree", "RPNI", "ALERGIA")


def measure(run: Run, quick: bool) -> dict[str, Any]:
    """Explanations, growth and drift."""
    policy, rules = network_of(run), run.config.rules
    table = evaluation_of(run)
    found = explain(
        table, rules.n_tokens, rules, policy,
        dialogues=1_000 if quick else 10_000, games=200 if quick else 5_000, kv_length=0,
    )  # fmt: skip
    figures: dict[str, Any] = {
        "family": found.family,
        "verdict": found.verdict,
        "own_entropy": found.network.entropy if found.network else np.nan,
        "own_success": found.network.play.success.value if found.network else np.nan,
    }
    for one in found.competitors:
        if not one.check.passed:
            continue
        figures |= {f"{one.method} accuracy": one.accuracy.value, f"{one.method} states": one.n_states}
        if one.random is not None:
            figures[f"{one.method} on random"] = one.random.value
        if one.bits is not None:
            figures[f"{one.method} bits"] = one.bits
        if one.self_play is not None:
            figures[f"{one.method} plays"] = one.self_play.success.value
    weights = vote_weights(table, rules.n_tokens)[: rules.n_tokens]
    extremes = [int(weights.argmin()), int(weights.argmax())]
    tokens = extremes if extremes[0] != extremes[1] else [0, 1]
    lengths = LENGTHS[:2] if quick else LENGTHS
    grown = growth(ask_network(policy, rules), rules.n_tokens, lengths, words=1_000, max_states=STATES, tokens=tokens)
    return {**figures, "kv_states": [g.n_states for g in grown], **_emergence(run)}


def _emergence(run: Run) -> dict[str, Any]:
    """The vote in stretches of training, each twice as long as the one before."""
    course = concatenate(iterate(run.dialogues, print))
    episodes = run.config.episodes
    points = drift(stretches(course, max(episodes // 1_000, 100)), run.config.rules.n_tokens, 4_000)
    return {
        "stretch_ends": [p.last_episode + 1 for p in points],
        "vote_accuracy": [round(p.accuracy.value, 4) for p in points],
        "agreement_with_end": [round(p.agreement, 4) for p in points],
    }


def conclude(results: Results) -> Conclusion:
    """Families, fidelity of each kind of explanation, growth, and emergence."""
    rows = results.rows
    figure, (fidelity, grown, emerging) = panels(3, 5.6, 4.8)
    colours = dict(zip(COSTS, (BLUE, GREEN, ORANGE), strict=True))
    methods = [m for m in (*RULES, *AUTOMATA) if f"{m} accuracy" in rows]
    for i, (condition, colour) in enumerate(colours.items()):
        own = rows[rows.condition == condition]
        places = np.arange(len(methods)) + (i - 1) * 0.2
        means = [mean_of(own[f"{m} accuracy"]) for m in methods]
        fidelity.plot(places, [100 * m.value for m in means], "o", color=colour, label=condition)
        fidelity.vlines(places, [100 * m.low for m in means], [100 * m.high for m in means], color=colour)
        states = np.array(own.kv_states.tolist(), float)
        draw_curve(grown, np.array(LENGTHS[: states.shape[1]]), states, condition, colour)
        ends = np.array(own.stretch_ends.iloc[0])
        draw_curve(emerging, ends, 100 * np.array(own.agreement_with_end.tolist()), condition, colour)
    fidelity.set_xticks(range(len(methods)), methods, rotation=30, ha="right")
    fidelity.set(ylabel="held-out yielders named (%)", title="which rule")
    fidelity.legend(frameon=False)
    grown.axhline(STATES, color="grey", ls=":")
    grown.set(xlabel="rounds that a dialogue may have", ylabel="states that KV needs", title="how large a machine")
    emerging.set(
        xscale="log", xlabel="training episodes", ylabel="decisions as at the end (%)", title="how it comes about"
    )
    families = {c: Counter(rows[rows.condition == c].family) for c in COSTS}
    verdicts = {c: Counter(rows[rows.condition == c].verdict) for c in COSTS}
    vote = {c: rows[rows.condition == c] for c in COSTS}
    named = "; ".join(f"{c}: {_counted(families[c])} ({_counted(verdicts[c])})" for c in COSTS)
    last = {c: np.array([s[-1] for s in vote[c].kv_states], float) for c in COSTS}
    stopped = sum(int((values > STATES).sum()) for values in last.values())
    return Conclusion(
        headline=f"They vote: a weight for each symbol, and the larger sum yields, names "
        f"{percent(mean_of(rows['vote accuracy']))} of held-out yielders over all {len(rows)} networks, the first "
        f"difference {percent(mean_of(rows['first difference accuracy']))}, the last one "
        f"{percent(mean_of(rows['last difference accuracy']))}.",
        findings=f"By price: {named}. On random dialogues, which nobody held, the vote names "
        f"{percent(mean_of(rows['vote on random']))} of the networks' decisions. The vote as a machine plays "
        f"{percent(mean_of(rows['vote plays']))} against itself, the networks "
        f"{percent(mean_of(rows.own_success))}. What KV needs to describe *all* dialogues of two tokens grows with "
        f"their length, from {number(mean_of([s[0] for s in rows.kv_states]), 0)} states for one round to "
        f"{number(mean_of(np.concatenate(list(last.values()))), 0)} at the longest (it was stopped beyond {STATES} in "
        f"{stopped} of {len(rows)}). That growth is the sign of a counter, not of a finite automaton: the network adds "
        f"up. What it is used for is small all the same, since most talks are over after the first difference: over "
        f"them a learned automaton (RPNI) with {number(mean_of(rows['RPNI states']), 1)} states names "
        f"{percent(mean_of(rows['RPNI accuracy']))}.",
        table=by_condition(
            results,
            **{
                "family": lambda own: _counted(Counter(own.family)),
                "verdict": lambda own: _counted(Counter(own.verdict)),
                **{m: _accuracy(m) for m in methods},
                "vote on random": lambda own: percent(mean_of(own["vote on random"]), 1),
                "KV states by length": lambda own: ", ".join(
                    f"{x:.0f}" for x in np.mean(own.kv_states.tolist(), axis=0)
                ),
            },
        ),
        figure=figure,
    )


def _accuracy(method: str) -> Any:
    return lambda own: percent(mean_of(own[f"{method} accuracy"]), 1)


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counter.most_common())


EXPERIMENT = Experiment(
    question="What actually happens in the dialogues: which rule decides, and is it a finite automaton or a counter?",
    expected="A vote (97.9 - 99.0 % of held-out moves in prototypes), with the first and the last difference at 72 "
    "- 90 %; in terse networks the last difference as good as the vote (98 %). States needed by KV grow with the "
    "length of the dialogues (17 at 10 rounds, 82 at 60 in a prototype): a counter.",
    conditions={name: with_rules(TERSE, round_cost=cost) if cost else TALK for name, cost in COSTS.items()},
    seeds=10,
    measure=measure,
    conclude=conclude,
)

if __name__ == "__main__":
    main(__file__)
