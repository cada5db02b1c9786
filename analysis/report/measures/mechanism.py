"""Which rule turns a dialogue into a decision, and what does it need to remember?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.automata.integrator import Integrator
from analysis.data.decisions import NotApplicable
from analysis.explanation.candidates import NUMBERS
from analysis.explanation.evidence import worst
from analysis.explanation.passed_over import passed_over
from analysis.explanation.result import Explanation
from analysis.explanation.speaker import Speaker, speaker
from analysis.explanation.verdict import explain
from analysis.report import figures
from analysis.report.html import shown
from analysis.report.measure import DIALOGUES, NETWORK, ONE_NETWORK, PLAYABLE, SIMULTANEOUS, WHO_YIELDS, Line, Measure
from analysis.report.study import Study
from analysis.report.tables import (
    condition_frame,
    explanation_frame,
    flow_frame,
    integrator_frame,
    numbers_frame,
    strata_frame,
)

FITTED = (DIALOGUES, WHO_YIELDS, PLAYABLE)
"""What a rule needs."""
ASKED = (*FITTED, NETWORK, ONE_NETWORK, SIMULTANEOUS)
"""What questions about it need, that are put to the network."""


def _explained(study: Study) -> Explanation:
    assert study.sample is not None
    lone = study.trained.policy if study.trained and not ONE_NETWORK.missing(study) else None
    return explain(
        study.sample,
        study.facts.n_tokens,
        study.rules,
        lone,
        move_names=study.facts.move_names,
        make_game=study.make_game,
        kv_length=study.depth.asked[1] if len(study.depth.asked) > 1 else 0,
        dialogues=study.depth.dialogues,
        games=study.depth.games,
        agents=study.game.words.agents,
        untested="with several networks that play each other" if study.trained else "without a network",
        cautious=study.depth.cautious and (lone is not None or study.success.dialogues > study.depth.dialogues),
    )


def _line(result: Explanation, study: Study) -> Line | None:
    best = result.best
    if best is None or not best.accuracy.trials:
        return None
    random = f", {shown(best.random.value, share=True)} on random dialogues" if best.random else ""
    return Line(f"rule: {best.method}", shown(best.accuracy.value, share=True), f"of held-out yielders named{random}")


EXPLANATION = Measure(
    "explanation",
    _explained,
    "Explanations in competition",
    "Each rule or machine is fitted on one half of the dialogues and scored on the other. One that only correlates "
    "fails on random dialogues, or when it plays.",
    chapter="mechanism",
    needs=FITTED,
    tables=lambda result: {"explanations": explanation_frame(result)},
    figure=lambda result, study: figures.explanations(result),
    remark=lambda result, study: f"Not named: {others}." if (others := passed_over(result)) else "",
    line=_line,
)

EVIDENCE = Measure(
    "evidence",
    lambda study: study.result("explanation"),
    "Is it explained? Four conditions",
    "A rule explains only if all four hold. Random dialogues come in strata, and the worst one counts; the interval "
    "includes fitting the rule anew. The ceiling is below 100 % where the network itself has both {agents} make the "
    "same move.",
    chapter="mechanism",
    needs=(*FITTED, NETWORK, ONE_NETWORK),
    tables=lambda result: {"conditions": condition_frame(result), "strata": strata_frame(result)},
    figure=lambda result, study: figures.strata(result),
    rows=12,
    in_json=False,
)

INTEGRATORS = Measure(
    "integrators",
    lambda study: study.result("explanation"),
    "A family of running scores",
    "Each round adds what a {agent} said less what the other said, by weights. The members differ in what they have "
    "beside the weights: the first difference counts more, steps shrink as the score grows, the score has a limit, a "
    "share is forgotten. The loss is the cross-entropy of the network's answers on held-out queries; the simplest "
    "within a tenth of the least is taken.",
    chapter="mechanism",
    needs=FITTED,
    tables=lambda result: {"integrators": integrator_frame(result)} if result.members else {},
    rows=10,
    wide=True,
    in_json=False,
)


def _numbers_say(result: Explanation, study: Study) -> str:
    """How far they are from what they stand for, where they are not what is named."""
    numbers = result.chosen_numbers
    if numbers is None or (result.best and result.best.method in NUMBERS):
        return ""
    shown_here = next(c for c in result.competitors if NUMBERS.get(c.method) == len(numbers))
    least = worst(shown_here.strata)
    return (
        f"They are not what is named: {shown_here.method} decide like the network in {100 * least.share:.1f} % of what "
        f"a rule can in the worst kind of random dialogue ({least.name})."
    )


NUMBERS_KEPT = Measure(
    "numbers",
    lambda study: study.result("explanation"),
    "A few numbers that feed each other",
    "A recurrent network as small as can be, fitted on what the large one decides: after each round a number is tanh "
    "of what it gets of all numbers, plus what the {agent} said less what the other said. The {agent} whose readout is "
    "larger yields. A single score cannot tell how much was said from when it was said; two numbers can: one keeps the "
    "score, the other adds it up round by round, so that what was said early counts more, and a decision hardens.",
    chapter="mechanism",
    needs=ASKED,
    tables=lambda result: {"numbers": numbers_frame(result)} if result.numbers else {},
    remark=_numbers_say,
    rows=14,
    in_json=False,
)


def _exchanged(study: Study) -> Any:
    evidence = study.result("explanation").evidence
    if evidence is None or evidence.interchange is None:
        raise NotApplicable(_why_not_exchanged(study.result("explanation")))
    return evidence.interchange


def _why_not_exchanged(result: Explanation) -> str:
    if result.evidence is None:
        return "no rule is named whose variable could be looked for"
    return next(c.missing for c in result.evidence.conditions if c.figure == "not tested")


def _exchange_line(result: Any, study: Study) -> Line | None:
    flips, random = result.of("direction").flips, result.of("random direction").flips
    count = result.of("direction").directions
    return Line(
        "one direction of the memory" if count == 1 else f"{count} directions of the memory",
        shown(flips.value, share=True),
        f"of the pairs flip when exchanged; along random ones {shown(random.value, share=True)}",
    )


INTERCHANGE = Measure(
    "interchange",
    _exchanged,
    "Is the score in the memory, and used?",
    "Two dialogues are heard up to some round; then one direction of the memory, or as many as the rule keeps numbers, "
    "is exchanged between them. Where the rule says so, the move must flip. A probe may read the score from a "
    "direction that the network does not use: decoding is not use. Below, both memories are pushed along the first of "
    "them, and the {agents} yield.",
    chapter="mechanism",
    needs=ASKED,
    tables=lambda result: {"interchange": result.to_frame()},
    figure=lambda result, study: figures.interchange(result),
    line=_exchange_line,
    rows=6,
    wide=True,
)


def _score(result: Explanation) -> Integrator:
    """The running score that tells the network's answers best."""
    if not result.members:
        raise NotApplicable("no running score was fitted")
    return min(result.members, key=lambda pair: pair[1])[0]


def _said(study: Study) -> Speaker:
    assert study.trained is not None
    result: Explanation = study.result("explanation")
    named = result.best.method if result.best and result.best.method in NUMBERS else "integrator"
    machine = next((c for c in result.competitors if c.method == named), None)
    nan = float("nan")
    return speaker(
        study.trained.policy, study.trained.config.rules, study.spoken, _score(result), study.situation,
        result.network.play.mean_rounds if result.network else nan,
        machine.self_play.mean_rounds if machine and machine.self_play else nan,
    )  # fmt: skip


def _said_says(result: Speaker, study: Study) -> str:
    told = f"Score and round tell {shown(result.share('score and round'), share=True)} of what can be told. "
    if result.rounds != result.rounds or result.machine_rounds != result.machine_rounds:
        return told
    best = study.result("explanation").best
    by = f"{best.method} that feed each other" if best and best.method in NUMBERS else "the score"
    return told + (
        f"The machine that speaks and decides by {by} talks for {result.machine_rounds:.2f} rounds, the network "
        f"for {result.rounds:.2f}."
    )


SPEAKER = Measure(
    "speaker",
    _said,
    "What is said, and when it ends",
    "A speaker's rule predicts the next symbol from what it may look at: nothing, the round, the score, or more. Bits "
    "for each symbol, on held-out dialogues: fewer are better, and the network's own entropy is the least.",
    chapter="mechanism",
    needs=ASKED,
    tables=lambda result: {"speaker": result.to_frame()},
    figure=lambda result, study: figures.speaker(result),
    remark=_said_says,
)


def _lengths(study: Study) -> pd.DataFrame:
    from analysis.agents.random_queries import random_queries
    from analysis.explanation.evidence import strata_of
    from analysis.explanation.subject import NetworkSubject

    assert study.trained is not None
    assert study.sample is not None
    result: Explanation = study.result("explanation")
    best = result.best
    if best is None or best.machine is None:
        raise NotApplicable("no rule is named")
    numbers = result.chosen_numbers if best.method in NUMBERS else None
    judge = numbers or best.machine  # as in the strata: the machine of running numbers has their memory in cells
    subject = NetworkSubject(study.trained.policy, study.trained.config.rules)
    each = max(study.depth.games // 10, 100)
    queries = random_queries(subject.answers, subject.rules, each, 3, lengths=LONG)
    rows = [
        {"rounds": int(part.name.split()[0]), "method": best.method, "named": part.named, "ceiling": part.ceiling}
        for part in strata_of(queries, judge.scores(queries.symbols, queries.n_rounds))
        if part.name.endswith("rounds")
    ]
    held = study.sample.n_rounds
    frame = pd.DataFrame(rows)
    frame["longest_held"] = float(np.quantile(held, 0.99)) if len(held) else float("nan")
    return frame


LONG = (2, 3, 4, 6, 8, 12, 16, 24, 32)
"""Rounds of random dialogues, many of them longer than any that was held."""

GENERALISATION = Measure(
    "generalisation",
    _lengths,
    "Beyond the lengths that it held",
    "Random dialogues of each length. The upper line is what a rule can reach: it falls where the network itself no "
    "longer tells the {agents} apart. The dashed line: 99 % of its own dialogues are no longer than that.",
    chapter="mechanism",
    needs=ASKED,
    tables=lambda result: {"generalisation": result},
    figure=lambda result, study: figures.generalisation(result),
)

WEIGHTS = Measure(
    "weights",
    lambda study: study.result("explanation"),
    "Weights of the symbols",
    "Each symbol that a {agent} says adds its weight. The {agent} with the larger score yields: it takes {yields}. Of "
    "several running numbers it is what a symbol of the first round adds to the decision.",
    chapter="mechanism",
    needs=FITTED,
    tables=lambda result: {},
    figure=lambda result, study: figures.weights(result),
    in_json=False,
)


def _traffic(study: Study) -> tuple[Explanation, Any]:
    from analysis.report.browser_data import within

    assert study.sample is not None
    return study.result("explanation"), within(study.sample, study.depth.budget)


MACHINE = Measure(
    "machine",
    _traffic,
    "The protocol as a machine",
    "A circle is what a {agent} remembers; its size is how often it is there. Arrows are rounds of talk, thicker where "
    "more dialogues pass; on the busiest stands what was said most often, own symbol "
    "first (E is EOT). Orange states yield ({yields}), blue ones do not ({stays}).",
    chapter="mechanism",
    needs=FITTED,
    tables=lambda result: {"machine": flow_frame(*result)},
    figure=lambda result, study: figures.protocol_graph(*result),
    in_json=False,
)


def _grown(study: Study) -> Any:
    from analysis.agents.policy_player import ask_network
    from analysis.automata.query_learning import growth

    if not study.depth.asked or study.trained is None:
        return ()
    asked = ask_network(study.trained.policy, study.trained.config.rules)
    return growth(asked, study.facts.n_tokens, study.depth.asked, words=500, max_states=MOST_STATES)


MOST_STATES = 40
"""States beyond which no more membership queries are put."""

GROWTH = Measure(
    "growth",
    _grown,
    "States that the decision needs",
    "KV asks the network about dialogues up to a length, and learns the smallest automaton that answers alike. If the "
    "states keep growing with the length, the network counts.",
    chapter="mechanism",
    needs=(DIALOGUES, WHO_YIELDS, NETWORK, ONE_NETWORK, SIMULTANEOUS),
    tables=lambda result: growth_table(result),
    figure=lambda result, study: figures.growth(result),
    in_json=False,  # among the causes
)


def growth_table(result: Any) -> dict[str, Any]:
    """The states by length; none where no queries were put."""
    from analysis.causal.summary import Causes

    return {name: frame for name, frame in Causes(growth=result).tables().items() if name == "growth"}
