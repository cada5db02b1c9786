"""Why an explanation that passes its planted case is not the one that is named."""

from __future__ import annotations

from analysis.explanation.candidates import NUMBERS
from analysis.explanation.evidence import OF_THE_CEILING, POINTS, worst
from analysis.explanation.result import Competitor, Explanation
from analysis.explanation.selection import AT_LEAST, NAMED


def why_not(one: Competitor, result: Explanation) -> str:
    """Why `one` is not named, in a few words; empty for the one that is, and for one that fails its planted case."""
    best = result.best
    if one is best or not one.check.passed:
        return ""
    if one.accuracy.trials and one.accuracy.value < AT_LEAST:
        return f"names {_percent(one.accuracy.value)} of held-out yielders, and {_percent(AT_LEAST)} are needed"
    if one.method == "silent":
        return "they talk" if result.n_dialogues else ""
    if one.method in result.rivals:
        return "cannot be told from its rivals with this many dialogues"
    if best is None:
        return "no rule is named"
    method = "vote" if one.method == "vote × clock" else one.method
    if method == ("vote" if best.method == "vote × clock" else best.method):
        return "the same rule as another machine"
    if method not in NAMED:
        return _unproven(one, result)
    if one.accuracy.value < best.accuracy.value and one.accuracy.high < best.accuracy.low:
        return f"{best.method} names more held-out yielders"
    if one.random is not None and best.random is not None and one.random.value < best.random.value:
        return f"names {_percent(one.random.value)} on random dialogues, {best.method} {_percent(best.random.value)}"
    if NAMED.index(method) > (NAMED.index(best.method) if best.method in NAMED else -1):
        return f"{best.method} is simpler and does as well"
    return f"{best.method} passes all four conditions"


def _unproven(one: Competitor, result: Explanation) -> str:
    """Why something learned without an idea is not named: that takes all four conditions."""
    if _falls_short(one):
        least = worst(one.strata)
        return (
            f"no rule, and decides like the network in {_percent(least.share)} of what a rule can ({least.name}); "
            f"{_percent(OF_THE_CEILING)} are needed"
        )
    if one.self_play is None:
        return "no rule, and no machine that plays"
    if result.network is not None and abs(one.self_play.success.value - result.network.play.success.value) > POINTS:
        return "no rule, and its machine plays unlike the network"
    if result.network is None:
        return "no rule, and there is no network to test it on"
    if one.method in NUMBERS and result.best is not None and result.best.method in NUMBERS:
        return f"{result.best.method} pass all four conditions, and are fewer"
    return "no rule, and a rule says the same"


def _falls_short(one: Competitor) -> bool:
    """Whether it decides unlike the network in some stratum."""
    return bool(one.strata) and worst(one.strata).share < OF_THE_CEILING


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %".replace(".0 %", " %")


def passed_over(result: Explanation) -> str:
    """All explanations that pass and are not named, with the reason; empty where there are none."""
    reasons: dict[str, list[str]] = {}
    for one in result.competitors:
        passes = one.check.passed and one.accuracy.trials and one.accuracy.value >= AT_LEAST
        if not passes or not (why := why_not(one, result)):
            continue
        named: str = one.method
        if why == _unproven(one, result) and _falls_short(one):  # one reason for all of them, each with its figure
            named, why = f"{one.method} ({_percent(worst(one.strata).share)})", NO_RULES
        reasons.setdefault(why, []).append(named)
    return ". ".join(f"{', '.join(methods)}: {why}" for why, methods in reasons.items())


NO_RULES = (
    f"no rules, and in their worst stratum they decide like the network in less than the {100 * OF_THE_CEILING:.0f} % "
    "of what a rule can that are needed"
)
