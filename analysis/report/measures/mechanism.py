"""Which rule turns a dialogue into a decision, and what does it need to remember?"""

from __future__ import annotations

from typing import Any

from analysis.explanation.result import Explanation
from analysis.explanation.verdict import explain
from analysis.report import figures
from analysis.report.html import shown
from analysis.report.measure import DIALOGUES, NETWORK, ONE_NETWORK, PLAYABLE, SIMULTANEOUS, WHO_YIELDS, Line, Measure
from analysis.report.study import Study
from analysis.report.tables import explanation_frame, flow_frame


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
    needs=(DIALOGUES, WHO_YIELDS, PLAYABLE),
    tables=lambda result: {"explanations": explanation_frame(result)},
    figure=lambda result, study: figures.explanations(result),
    line=_line,
)

WEIGHTS = Measure(
    "weights",
    lambda study: study.result("explanation"),
    "Weights of the vote",
    "Each symbol that a {agent} says adds its weight. The {agent} with the larger sum yields: it takes {yields}.",
    chapter="mechanism",
    needs=(DIALOGUES, WHO_YIELDS, PLAYABLE),
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
    "more dialogues pass. Orange states yield ({yields}), blue ones do not ({stays}).",
    chapter="mechanism",
    needs=(DIALOGUES, WHO_YIELDS, PLAYABLE),
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
    "KV puts membership queries about dialogues up to a length to the network, and learns the smallest automaton that "
    "answers alike. States that grow with the length are the sign of a counter.",
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
