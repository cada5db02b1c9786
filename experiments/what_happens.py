"""What actually happens in the dialogues? Which rule decides, what carries it in the memory, what is said, and when.

Ten seeds at each of four prices of a round. The priced networks are trained with more entropy bonus, which is no
difference of its own: with it and no price, networks talk for 3.6 rounds instead of 3.5. For every network: the four
conditions under which a rule explains, the parameters of the running score and of the few numbers that do better, the
exchange of what they keep in the memory, the speaker's rule, and bounds on success that no game was sampled for.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from analysis.agents.certified_distance import certify
from analysis.agents.dialogue_tree import DialogueTree, prove
from analysis.data.decisions import NotApplicable, stretches
from analysis.data.runs import LoadedRun
from analysis.explanation.candidates import NUMBERS
from analysis.explanation.evidence import worst
from analysis.explanation.result import Competitor, Explanation
from analysis.explanation.selection import NAMED
from analysis.explanation.vote_drift import drift
from analysis.report.measures import MEASURES
from analysis.report.study import FULL, QUICK, Study
from experiments.experiment import TALK, TERSE, Conclusion, Experiment, Results, with_rules
from experiments.measures import trained, whole
from experiments.running import main
from experiments.writing import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    by_condition,
    draw_curve,
    mean_of,
    number,
    panels,
    percent,
    seeds_of,
)

FREE = "no price"
PRICES = {"0.01 a round": 0.01, "0.03 a round": 0.03, "0.05 a round": 0.05}
CONDITIONS = {FREE: TALK, **{name: with_rules(TERSE, round_cost=price) for name, price in PRICES.items()}}
COLOURS = dict(zip(CONDITIONS, (GREY, BLUE, GREEN, ORANGE), strict=True))
PARTS = {"direction": "direction", "probe": "linear probe", "random": "random direction", "whole": "whole memory"}
NEEDED = (
    *(f"flips_{name}" for name in PARTS), "worst", "worst_low", "worst_stratum", "missing", "first_counts",
    *(f"{rule} {what}" for rule in (*NAMED, *NUMBERS) for what in ("on logs", "worst")),
    "integrator distance low", "integrator distance high", "stretch_ends", "agreement_with_end", "directions",
    "score_keeps", "decision_grows", "decision_feeds_back",
)  # fmt: skip
"""What is said of the networks; where it could not be measured on any of them, it is empty."""
PROOF_S = 300.0
"""Time for the bounds of one network, about (s)."""
PROOF_WIDTH = 1e-3
"""Width of the interval for the success at which they are narrow enough."""


def measure(run: LoadedRun, quick: bool) -> dict[str, Any]:
    """The four conditions, the score, its direction, the speaker, the bounds, and the vote over training."""
    policy = trained(run)
    seen = Study(run, QUICK if quick else FULL)
    seen.measures.update(MEASURES)
    explanation: Explanation = seen.result("explanation")
    return {
        **_verdict(explanation), **_score(explanation), **_numbers(explanation), **_speaker(seen), **_emergence(run),
        **_bounds(DialogueTree(policy.policy, policy.config.rules, run.game()), explanation, quick),
    }  # fmt: skip


def _verdict(found: Explanation) -> dict[str, Any]:
    """Which rule is named, what it lacks, and how it and its rivals do."""
    figures: dict[str, Any] = {"family": found.family, "verdict": found.verdict}
    for one in found.competitors:
        if one.method in (*NAMED, *NUMBERS, "KV", "decision tree") and one.check.passed and one.strata:
            figures |= {f"{one.method} on logs": one.accuracy.value, f"{one.method} worst": worst(one.strata).share}
            figures[f"{one.method} plays"] = one.self_play.success.value if one.self_play else np.nan
    if (evidence := found.evidence) is None:
        return figures
    figures |= {
        "worst": worst(evidence.strata).share, "worst_low": evidence.worst_low,
        "worst_stratum": worst(evidence.strata).name, "missing": [c.name for c in evidence.conditions if not c.holds],
    }  # fmt: skip
    if evidence.interchange is not None:
        flips = {one.part: one.flips.value for one in evidence.interchange.interventions}
        figures |= {f"flips_{name}": flips.get(part, np.nan) for name, part in PARTS.items()}
        figures["directions"] = evidence.interchange.of("direction").directions
    return figures


def _score(found: Explanation) -> dict[str, Any]:
    """What the running score is like: the member that was chosen, and how many times the first difference counts."""
    if not found.members:
        return {}
    alone = next(member for member, _ in found.members if member.name == "vote, first round counts more")
    chosen: Competitor | None = next((c for c in found.competitors if c.method == "integrator"), None)
    weights = alone.weights / np.ptp(alone.weights)
    return {
        "first_counts": alone.first, "score_weights": weights.round(3).tolist(),
        "score_states": chosen.n_states if chosen else np.nan,
        "least_loss": min(found.members, key=lambda pair: pair[1])[0].name,
    }  # fmt: skip


def _numbers(found: Explanation) -> dict[str, Any]:
    """What two numbers are: a score, and a decision that adds it up; how much of each is left after a round."""
    two = next((one for one in found.numbers if len(one) == 2), None)
    if two is None:
        return {}
    score = int(np.argmin(np.abs(two.coupling).sum(axis=1)))  # the one that is fed less
    decision = 1 - score
    return {
        "score_keeps": float(two.coupling[score, score]), "decision_grows": float(two.coupling[decision, decision]),
        "decision_feeds_back": float(two.coupling[score, decision] / two.coupling[decision, score]),
    }  # fmt: skip


def _speaker(seen: Study) -> dict[str, Any]:
    said = seen.result("speaker")
    return {
        "told_by_score_and_round": said.share("score and round"), "told_by_score": said.share("the score"),
        "bits_nothing": said.rules[0].bits, "bits_network": said.entropy,
        "network_rounds": said.rounds, "machine_rounds": said.machine_rounds,
    }  # fmt: skip


def _bounds(tree: DialogueTree, found: Explanation, quick: bool) -> dict[str, Any]:
    """Success, and how far the machines are from the network, without sampling."""
    done = prove(tree, 0.5 if quick else PROOF_S, PROOF_WIDTH)
    last = done[-1]
    figures = {
        "proof_low": last.success.low, "proof_high": last.success.high, "proof_width": last.success.width,
        "proof_nodes": last.nodes, "proof_s": sum(one.seconds for one in done),
    }  # fmt: skip
    for one in found.competitors:
        if one.method in ("vote", "first difference", "integrator", "three numbers") and one.machine is not None:
            far = certify(tree, one.machine, 0.1 if quick else 8.0)[-1].total_variation
            figures |= {f"{one.method} distance low": far.low, f"{one.method} distance high": far.high}
    return figures


def _emergence(run: LoadedRun) -> dict[str, Any]:
    """The vote in stretches of training, each twice as long as the one before."""
    course = whole(run, run.training())
    try:
        points = drift(stretches(course, max(run.config.episodes // 1_000, 100)), run.config.rules.n_tokens, 4_000)
    except NotApplicable:
        return {}
    return {
        "stretch_ends": [p.last_episode + 1 for p in points],
        "agreement_with_end": [round(p.agreement, 4) for p in points],
    }


def conclude(results: Results) -> Conclusion:
    """The answer, condition by condition."""
    known = results.rows.columns
    rows = results.rows.reindex(columns=[*known, *(column for column in NEEDED if column not in known)])
    groups = {name: rows[rows.condition == name] for name in CONDITIONS}
    free = groups[FREE]
    flips = {name: percent(mean_of(rows[f"flips_{name}"]), 1) for name in PARTS}
    return Conclusion(
        answer=_answer(rows),
        key=f"{_explained_of(free)} without a price; in its worst case {_shares({FREE: free}, 'three numbers worst')}",
        headline="Each round adds to a score what one train said less what the other said; a decision adds up the "
        "score, so that what was said early counts again in every later round. Three such numbers decide "
        f"like the network in {_shares({FREE: free}, 'three numbers worst')} of what a rule can in the worst "
        f"kind of random dialogue, two in {_shares({FREE: free}, 'two numbers worst')}, a single score in "
        f"{_shares({FREE: free}, 'integrator worst')} ({FREE}). The memory carries them: as many of its directions as "
        f"there are numbers, exchanged between two dialogues, flip {flips['direction']} of the moves that must flip, "
        f"as many random ones {flips['random']}. By all four conditions {_explained(rows)} of {len(rows)} networks are "
        f"explained ({_each(groups, _explained_of)}); what is missing elsewhere: {_missing(rows)}.",
        findings="\n\n".join(_paragraphs(rows, groups)),
        table=by_condition(
            results._replace(rows=rows),
            **{
                "rule (explained)": _families,
                "worst stratum: one score": lambda own: percent(mean_of(own["integrator worst"]), 1),
                "two numbers": lambda own: percent(mean_of(own["two numbers worst"]), 1),
                "three": lambda own: percent(mean_of(own["three numbers worst"]), 1),
                "four": lambda own: percent(mean_of(own["four numbers worst"]), 1),
                "first difference counts": lambda own: number(mean_of(own.first_counts), 1),
                "exchanged, they flip": lambda own: percent(mean_of(own.flips_direction), 1),
                "score and round tell": lambda own: percent(mean_of(own.told_by_score_and_round), 1),
                "proof width": lambda own: number(mean_of(own.proof_width), 4),
            },
        ),
        figure=_figure(groups),
        tables={"networks": _networks(rows)},
    )


def _paragraphs(rows: pd.DataFrame, groups: dict[str, pd.DataFrame]) -> tuple[str, ...]:
    """Which rule, what the price does, what is said, the bounds, and how it comes about."""
    free, terse = groups[FREE], groups["0.05 a round"]
    return (
        f"**Which rule.** {_each(groups, _families)}. On held-out dialogues the running score names "
        f"{_shares(groups, 'integrator on logs')} of the yielders, the vote {_shares(groups, 'vote on logs')}, the "
        f"first difference {_shares(groups, 'first difference on logs')}. Random dialogues tell them apart: in its "
        f"worst stratum the running score reaches {_shares(groups, 'integrator worst')} of what a rule can, the vote "
        f"{_shares(groups, 'vote worst')}, the first difference {_shares(groups, 'first difference worst')} "
        f"({', '.join(groups)}). Two numbers reach {_shares(groups, 'two numbers worst')}, three "
        f"{_shares(groups, 'three numbers worst')}, four {_shares(groups, 'four numbers worst')}. The worst stratum is "
        f"most often that of {_commonest(rows.worst_stratum)}.",
        "**What two numbers are.** One is a score: each round adds to it, and of what it was "
        f"{percent(mean_of(free.score_keeps), 0)} are left. The other is the decision: the score feeds it, and what it "
        f"was is multiplied by {number(mean_of(free.decision_grows))} each round, so that an early lead grows by "
        "itself until it saturates: the decision hardens. From the decision back to the score goes next to nothing "
        f"({number(mean_of(free.decision_feeds_back), 3)} of the other way; {FREE}). That is why the first difference "
        "counts more, and why no single score tells it: one must know how much was said, and when.",
        "**Between a vote and a first difference.** Where the first difference counts once, the score is a vote; "
        "where it counts beyond all else, it is a first difference. It counts, in times: "
        f"{_each(groups, lambda own: number(mean_of(own.first_counts), 1))}.",
        f"**What is said.** Score and round tell {_shares(groups, 'told_by_score_and_round')} of what can be told "
        f"about the symbols, the score alone {_shares(groups, 'told_by_score')}. A symbol takes "
        f"{number(mean_of(free.bits_nothing))} bits for one who looks at nothing and "
        f"{number(mean_of(free.bits_network))} for the network itself ({FREE}). The machine that speaks and decides by "
        f"the score talks for {_rounds(groups, 'machine_rounds')} rounds, the networks for "
        f"{_rounds(groups, 'network_rounds')}.",
        f"**Without sampling.** The success of {(rows.proof_width <= PROOF_WIDTH).sum()} of the {len(rows)} frozen "
        f"pairs is known to {PROOF_WIDTH} (width of the interval); over all of them it is "
        f"{_each(groups, lambda own: number(mean_of(own.proof_width), 4))}, the widest {rows.proof_width.max():.4f}. "
        f"That takes {rows.proof_s.median():.0f} s of one core (median; at most {rows.proof_s.max():.0f} s, stopped "
        f"after about {PROOF_S:.0f} s), and {rows.proof_nodes.median():,.0f} places in the dialogues. "
        "What is left open are many unlikely dialogues. The machine of the running "
        "score differs from its network in the probability of whole dialogues by "
        f"{_shares(groups, 'integrator distance low')} to {_shares(groups, 'integrator distance high')} "
        f"(total variation, certified; {', '.join(groups)}): alike in "
        "what they decide, they are not yet alike in what they say.",
        "**How it comes about.** 97 % of the decisions at the end of training are already made alike after "
        f"{_settled(free)} episodes (median, {FREE}) and {_settled(terse)} (0.05 a round). At that price the networks "
        f"succeed in {seeds_of(terse).sentence} in {number(mean_of(terse.rounds))} rounds (optimum "
        f"{terse.best_rounds.iloc[0]:.2f}).",
    )


def _figure(groups: dict[str, pd.DataFrame]) -> Any:
    figure, (strata, flips, first, emerging) = panels(4, 5.0, 4.6)
    for axes, columns, title in (
        (strata, {"first\ndifference": "first difference worst", "vote": "vote worst", "running\nscore":
                  "integrator worst", "two\nnumbers": "two numbers worst", "three": "three numbers worst",
                  "four": "four numbers worst"}, "worst stratum of random dialogues"),
        (flips, {name: f"flips_{name}" for name in PARTS}, "exchanged in the memory"),
    ):  # fmt: skip
        for i, (name, own) in enumerate(groups.items()):
            places = np.arange(len(columns)) + (i - 1.5) * 0.15
            for place, column in zip(places, columns.values(), strict=True):
                values = own[column].to_numpy(float) if column in own else np.full(len(own), np.nan)
                label = name if place == places[0] else None
                axes.plot([place] * len(values), 100 * values, "o", color=COLOURS[name], ms=3.5, alpha=0.7, label=label)
        axes.set_xticks(range(len(columns)), list(columns))
        axes.set(ylim=(-3, 103), title=title)
    strata.set(ylabel="of what a rule can reach (%)")
    strata.axhline(98, color="black", lw=0.8, ls=":")
    strata.legend(frameon=False, loc="lower right")
    flips.set(ylabel="moves that flip, of those that must (%)")
    flips.axhline(95, color="black", lw=0.8, ls=":")
    for i, (name, own) in enumerate(groups.items()):
        first.plot([i] * len(own), own.first_counts, "o", color=COLOURS[name], alpha=0.7)
        if "stretch_ends" in own and own.stretch_ends.notna().all():
            ends = np.array(own.stretch_ends.iloc[0])
            draw_curve(emerging, ends, 100 * np.array(own.agreement_with_end.tolist()), name, COLOURS[name])
    first.set_xticks(range(len(groups)), [name.replace(" ", "\n", 1) for name in groups])
    first.axhline(1, color="black", lw=0.8, ls=":")
    first.set(
        yscale="log", ylabel="times that the first difference counts", title="vote (1) or first difference (large)"
    )
    emerging.set(
        xscale="log", xlabel="training episodes", ylabel="decisions as at the end (%)", title="how it comes about"
    )
    return figure


def _networks(rows: pd.DataFrame) -> pd.DataFrame:
    """One line for each network: the four conditions and what they rest on."""
    columns = (
        "condition", "seed", "family", "verdict", "worst", "worst_low", "worst_stratum", "first_counts",
        "flips_direction", "flips_probe", "flips_random", "flips_whole", "told_by_score_and_round", "network_rounds",
        "machine_rounds", "two numbers worst", "three numbers worst", "four numbers worst", "directions", "score_keeps",
        "decision_grows", "proof_low", "proof_high", "proof_width", "proof_s",
        "integrator distance low", "integrator distance high",
    )  # fmt: skip
    table = rows[[c for c in columns if c in rows]].copy()
    table["missing"] = ["; ".join(m) if isinstance(m, list) else "" for m in rows.missing]
    return table


def _answer(rows: pd.DataFrame) -> str:
    """By how many networks are explained."""
    return f"A score and a decision that hardens: explained in {_explained(rows)} of {len(rows)} networks."


def _explained(rows: pd.DataFrame) -> int:
    return int((rows.verdict == "explained").sum())


def _explained_of(own: pd.DataFrame) -> str:
    return f"{_explained(own)} of {len(own)}"


def _missing(rows: pd.DataFrame) -> str:
    """which condition, in how many networks"""
    lacking = Counter(name for names in rows.missing if isinstance(names, list) for name in names)
    return ", ".join(f"'{name}' in {count}" for name, count in lacking.most_common()) or "nothing"


def _families(own: pd.DataFrame) -> str:
    """vote 9 (6), …"""
    explained = Counter(own.family[own.verdict == "explained"])
    return ", ".join(f"{name} {count} ({explained[name]})" for name, count in Counter(own.family).most_common())


def _commonest(names: pd.Series) -> str:
    counted = Counter(names.dropna())
    return f"{counted.most_common(1)[0][0]} ({counted.most_common(1)[0][1]} of {len(names)})" if counted else "none"


def _each(groups: dict[str, pd.DataFrame], of: Any) -> str:
    return "; ".join(f"{name}: {of(own)}" for name, own in groups.items())


def _shares(groups: dict[str, pd.DataFrame], column: str) -> str:
    return ", ".join(f"{100 * own[column].mean():.1f}" if column in own else "–" for own in groups.values()) + " %"


def _rounds(groups: dict[str, pd.DataFrame], column: str) -> str:
    return ", ".join(f"{own[column].mean():.2f}" for own in groups.values())


def _settled(own: pd.DataFrame) -> str:
    """Episodes until the decisions are those of the end: the end of the first stretch from which 97 % agree."""
    ends = []
    for stretch, agreement in own[["stretch_ends", "agreement_with_end"]].dropna().itertuples(index=False):
        below = np.flatnonzero(np.array(agreement) < 0.97)
        ends.append(stretch[min(below[-1] + 1 if len(below) else 0, len(stretch) - 1)])
    return f"{np.median(ends):,.0f}" if ends else "–"


EXPERIMENT = Experiment(
    question="What actually happens: which rule decides, what carries it, and what is said?",
    expected="A running score in which the first difference counts 1.4 to 2 times (98 % of random dialogues in a "
    "prototype, 95 to 96 % in two more). One direction of the memory carries it: exchanged, it flips 96 to 97 % of the "
    "moves that must flip, a random direction 2 to 5 %, a linear probe hardly any. A price makes the first difference "
    "count more.",
    conditions=CONDITIONS,
    seeds=10,
    measure=measure,
    conclude=conclude,
)

if __name__ == "__main__":
    main(__file__)
