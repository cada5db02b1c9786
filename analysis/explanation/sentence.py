"""An explanation in one plain sentence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from analysis.automata.integrator import Integrator
from analysis.automata.running_numbers import RunningNumbers
from analysis.explanation.candidates import NUMBERS
from analysis.explanation.evidence import Evidence, worst
from analysis.explanation.result import Competitor, Explanation, NetworkFigures, Verdict
from analysis.explanation.selection import Family


def sentence_of(
    family: Family,
    verdict: Verdict,
    best: Competitor | None,
    weights: Mapping[str, float] | None,
    order: tuple[str, ...] | None,
    undecided: tuple[tuple[str, str], ...],
    network: NetworkFigures | None,
    competitors: tuple[Competitor, ...],
    agents: str = "agents",
    untested: str = "without a network",
    evidence: Evidence | None = None,
    rule: Any = None,
) -> str:
    """What the talk does; `agents` is the game's own word, `untested` why no network was tested, where none was.

    `evidence` are the four conditions, of which those that do not hold are named, and `rule` the rule that was fitted.
    """
    if best is None:
        return _no_family(competitors)
    ranks = f"the agent who says the earlier of {' '.join(order or ())} yields{_passed_over(undecided)}"
    parts = {
        "vote": f"The {agents} vote: {_for_and_against(weights or {})}",
        "integrator": f"The {agents} keep a running score: {_for_and_against(weights or {})}{_beside(rule)}",
        "first difference": f"The first difference decides: {ranks}",
        "last difference": f"The last difference decides: {ranks}",
        "cyclic order": "The first telling pair of symbols decides, and symbols beat each other in a circle",
        "silent": f"The {agents} do not talk",
    }
    if isinstance(rule, RunningNumbers):
        parts[family] = f"The {agents} keep {family} that feed each other: {_for_and_against(weights or {})}"
    says = parts.get(family, f"An automaton of {best.n_states} states ({family}) tells who yields")
    claims = []
    if family != "silent":
        claims.append(f"this describes {100 * best.accuracy.value:.1f} % of held-out moves")
    if network is not None and best.self_play is not None:
        gap = 100 * abs(best.self_play.success.value - network.play.success.value)
        claims.append(f"plays within {gap:.1f} points of the network")
    if evidence is not None:
        least = worst(evidence.strata)
        claims.append(f"decides like it in at least {100 * least.share:.1f} % of what a rule can ({least.name})")
    listed = ", ".join(claims[:-1]) + (", and " if len(claims) > 2 else " and ") if len(claims) > 1 else ""
    listed += claims[-1] if claims else ""
    end = ": explained." if verdict == "explained" else ": describes, not explained."
    if evidence is not None and evidence.missing:
        end = f": describes, not explained, for {'; '.join(evidence.missing)}."
    if network is None:
        end = f"; {untested} this only describes."
    return says + (f"; {listed}" if listed else "") + end


def undecided_sentence(rivals: tuple[str, ...]) -> str:
    """That several rules are possible.

    >>> undecided_sentence(("vote", "integrator"))
    'Vote and integrator tell who yields, and these dialogues do not separate them: the full analysis takes more.'
    >>> undecided_sentence(("integrator", "two numbers", "three numbers"))[:46]
    'Integrator and a few running numbers tell who '
    """
    named = listed(_rivals(rivals))
    return (
        f"{named[0].upper()}{named[1:]} tell who yields, and these dialogues do not separate them: the full "
        "analysis takes more."
    )


def _rivals(rivals: tuple[str, ...]) -> list[str]:
    """Their names; two numbers, three and four are one idea."""
    return list(dict.fromkeys("a few running numbers" if name in NUMBERS else name for name in rivals))


def lead_of(result: Explanation, agent: str = "agent", agents: str = "agents", yields: str = "") -> str:
    """What the talk does in one short sentence, without figures: for a reader who knows the game and nothing else.

    `yields` is the move of the one that yields.
    """
    takes = f"takes {yields}" if yields else "yields"
    if result.rivals:
        either = " or ".join(_rivals(result.rivals))
        return f"The talk tells which {agent} {takes}; this quick look leaves open by which rule ({either})."
    if result.best is None:
        return f"The talk tells which {agent} {takes}, but no single rule can be named for how."
    if result.family in ("vote", "integrator", *NUMBERS):
        pro, con = _strong(result.weights or {})
        more, less = f"more {listed(pro)}" if pro else "", f"less {listed(con)}" if con else ""
        return f"The {agent} that has said {' and '.join(filter(None, (more, less))) or 'more'} {takes}."
    order = " ".join(result.order or ())
    first = f"in which the {agents} differ decides: whoever says the earlier of {order} {takes}."
    return {
        "silent": f"The {agents} do not talk.",
        "first difference": f"The first round {first}",
        "last difference": f"The last round {first}",
        "cyclic order": f"The first telling round decides who {takes}, and symbols beat each other in a circle.",
    }.get(result.family, f"A machine of {result.best.n_states} states tells from the talk which {agent} {takes}.")


def _beside(rule: Any) -> str:
    """What an integrator has beside the weights.

    >>> _beside(Integrator("", np.zeros(3), 1.0, first=1.64, keep=0.9))
    ', the first difference counts 1.6 times, and a tenth is forgotten each round'
    """
    if not isinstance(rule, Integrator):
        return ""
    parts = []
    if abs(rule.first - 1) >= 0.05:
        parts.append(f"the first difference counts {rule.first:.1f} times")
    if rule.diminish:
        parts.append("steps shrink as the score grows")
    if np.isfinite(rule.highest):
        parts.append(f"the score stops at {rule.highest:.1f}")
    if abs(rule.keep - 1) >= 0.01:
        lost = 1 - rule.keep
        share = "a tenth" if round(lost, 2) == 0.1 else f"{100 * abs(lost):.0f} %"
        parts.append(f"{share} is {'forgotten' if lost > 0 else 'added'} each round")
    listed = f"{', '.join(parts[:-1])}, and {parts[-1]}" if len(parts) > 1 else "".join(parts)
    return f", {listed}" if listed else ""


def _passed_over(undecided: tuple[tuple[str, str], ...]) -> str:
    """What an order leaves open, by name where it is little.

    >>> _passed_over((("1", "3"), ("2", "EOT")))
    ', but 1 against 3 and 2 against EOT decide nothing'
    """
    if not undecided:
        return ""
    few = len(undecided) <= 3
    named = listed([f"{a} against {b}" for a, b in undecided]) if few else f"{len(undecided)} pairs"
    return f", but {named} decide{'s' if len(undecided) == 1 else ''} nothing"


def _no_family(competitors: tuple[Competitor, ...]) -> str:
    checked = [c for c in competitors if c.check.passed and c.accuracy.trials]
    if not checked:
        return "No rule can be named: with this few dialogues every method fails its planted case."
    closest = max(checked, key=lambda c: c.accuracy.value)
    return (
        f"No rule tells who yields: the closest, {closest.method}, names {100 * closest.accuracy.value:.1f} % "
        "of held-out yielders (50 % is chance)."
    )


def _for_and_against(weights: Mapping[str, float]) -> str:
    """Which symbols count: those beyond a quarter of the largest weight.

    >>> _for_and_against({"0": -0.6, "1": 0.02, "2": 0.3, "3": -0.1, "4": 0.4, "EOT": 0.0})
    '4 and 2 count for yielding, 0 against'
    """
    pro, con = _strong(weights)
    pros = f"{listed(pro)} {'count' if len(pro) > 1 else 'counts'} for yielding" if pro else ""
    cons = f"{listed(con)} {'' if pro else 'count ' if len(con) > 1 else 'counts '}against" if con else ""
    return ", ".join(filter(None, (pros, cons)))


def _strong(weights: Mapping[str, float]) -> tuple[list[str], list[str]]:
    """The symbols that count for yielding and those that count against it, strongest first."""
    strongest = max(map(abs, weights.values()), default=0.0)
    pro = [s for s, w in sorted(weights.items(), key=lambda item: -item[1]) if w >= strongest / 4 and w > 0]
    con = [s for s, w in sorted(weights.items(), key=lambda item: item[1]) if w <= -strongest / 4 and w < 0]
    return pro, con


def listed(names: list[str]) -> str:
    """a, b and c."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
