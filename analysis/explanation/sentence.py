"""An explanation in one plain sentence."""

from __future__ import annotations

from collections.abc import Mapping

from analysis.explanation.result import Competitor, NetworkFigures, Verdict
from analysis.explanation.selection import AT_LEAST, Family
from emcomm.statistics import Rate, rate  # noqa: F401 (rate: the doctest)


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
) -> str:
    """What the talk does; `agents` is the game's own word, `untested` why no network was tested, where none was."""
    if best is None:
        return _no_family(competitors)
    ranks = f"the agent who says the earlier of {' '.join(order or ())} yields{_passed_over(undecided)}"
    parts = {
        "vote": f"The {agents} vote: {_for_and_against(weights or {})}",
        "first difference": f"The first difference decides: {ranks}",
        "last difference": f"The last difference decides: {ranks}",
        "cyclic order": "The first telling pair of symbols decides, and symbols beat each other in a circle",
        "silent": f"The {agents} do not talk",
    }
    claims = []
    if family != "silent":
        claims.append(f"this describes {100 * best.accuracy.value:.1f} % of held-out moves")
    if network is not None and best.self_play is not None:
        gap = 100 * abs(best.self_play.success.value - network.play.success.value)
        claims.append(f"plays within {gap:.1f} points of the network")
    if network is not None and best.random is not None and family != "silent":
        claims.append(f"{_holds(best.random)} on random dialogues ({best.random})")
    listed = ", ".join(claims[:-1]) + (", and " if len(claims) > 2 else " and ") if len(claims) > 1 else ""
    listed += claims[-1] if claims else ""
    end = ": explained." if verdict == "explained" else ": describes, not explained."
    if network is None:
        end = f"; {untested} this only describes."
    return parts[family] + (f"; {listed}" if listed else "") + end


def _holds(random: Rate) -> str:
    """Whether enough of the moves on random dialogues are named, and whether that is sure.

    >>> _holds(rate(93, 100)), _holds(rate(89, 100)), _holds(rate(850, 1000))
    ('holds', 'just misses 90 %', 'does not hold')
    """
    if random.value >= AT_LEAST:
        return "holds"
    return f"just misses {100 * AT_LEAST:.0f} %" if random.high >= AT_LEAST else "does not hold"


def _passed_over(undecided: tuple[tuple[str, str], ...]) -> str:
    """What an order leaves open, by name where it is little.

    >>> _passed_over((("1", "3"), ("2", "EOT")))
    ', but 1 against 3 and 2 against EOT decide nothing'
    """
    if not undecided:
        return ""
    few = len(undecided) <= 3
    named = _listed([f"{a} against {b}" for a, b in undecided]) if few else f"{len(undecided)} pairs"
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
    strongest = max(map(abs, weights.values()), default=0.0)
    pro = [s for s, w in sorted(weights.items(), key=lambda item: -item[1]) if w >= strongest / 4 and w > 0]
    con = [s for s, w in sorted(weights.items(), key=lambda item: item[1]) if w <= -strongest / 4 and w < 0]
    pros = f"{_listed(pro)} {'count' if len(pro) > 1 else 'counts'} for yielding" if pro else ""
    cons = f"{_listed(con)} {'' if pro else 'count ' if len(con) > 1 else 'counts '}against" if con else ""
    return ", ".join(filter(None, (pros, cons)))


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
