"""When is it decided: how much has the dialogue told by each round, and how long does it go on?"""

from __future__ import annotations

import math

from analysis.data.decisions import NotApplicable
from analysis.metrics.decision_information import MOST_ANSWERS, Bits, decision_bits, to_frame
from analysis.metrics.mutual_information import Information, decision_information
from analysis.metrics.token_statistics import TokenReport
from analysis.report import figures
from analysis.report.measure import DIALOGUES, WHO_YIELDS, Line, Measure
from analysis.report.study import Study


def _informed(study: Study) -> Information:
    assert study.sample is not None
    move = len(study.facts.move_names) - 1
    depth = study.depth
    return decision_information(
        study.sample, study.facts.n_tokens, move, max_dialogues=depth.dialogues, nulls=depth.nulls
    )


def _line(result: Information, study: Study) -> Line | None:
    if not result.trusted or not len(result.bits):
        return None
    median = result.median_known_at
    rounds = "1 round" if median == 1 else f"{median:g} rounds"
    known = "never known for sure" if math.isnan(median) else f"{rounds} until known (median)"
    return Line("bits on who yields", f"{result.bits[-1]:.2f}", f"{result.bits[0]:.2f} after round 1, {known}")


INFORMATION = Measure(
    "information",
    _informed,
    "Information by round",
    "A predictor guesses who yields in dialogues that it has not met. The bits are a lower bound on what the talk "
    "tells; the dashed line is the same estimate with permuted answers.",
    chapter="decision",
    needs=(DIALOGUES, WHO_YIELDS),
    tables=lambda result: {"information": result.to_frame()} if len(result.bits) else {},
    figure=lambda result, study: figures.bits_by_round(result),
    remark=lambda result, study: "" if result.trusted else f"Not shown: {result.why}.",
    line=_line,
)


def _all_bits(study: Study) -> tuple[Bits, ...]:
    assert study.sample is not None
    asked = [decision for decision in study.game.decisions if decision.kind != "yields"]
    if not asked:
        raise NotApplicable("the game declares no decision besides who yields")
    estimates, reasons = [], []
    for decision in asked:
        try:
            estimates.append(
                decision_bits(
                    study.sample, decision, study.game, study.facts.n_tokens, min(study.depth.dialogues // 2, 4_000)
                )
            )
        except NotApplicable as error:
            reasons.append(f"{decision.name}: {error}")
    if not estimates:
        raise NotApplicable("; ".join(reasons))
    return tuple(estimates)


def _bits_line(result: tuple[Bits, ...], study: Study) -> Line | None:
    trusted = [one for one in result if one.trusted]
    if not trusted or study.game.decision("yields"):
        return None
    one = trusted[0]
    says = f"of {one.entropy:.2f}; {one.bits[0]:.2f} after round 1"
    return Line(f"bits on {one.decision}", f"{one.bits[-1]:.2f}", says + f"; {_grouped(one)}" * bool(_grouped(one)))


def _grouped(one: Bits) -> str:
    """What makes the bits too low where there are many answers."""
    if one.answers <= MOST_ANSWERS + 1:
        return ""
    return f"at least, since all but the {MOST_ANSWERS} commonest of {one.answers} answers are taken as one"


def _bits_says(result: tuple[Bits, ...], study: Study) -> str:
    lines = [f"{one.decision} is not shown: {one.why}." for one in result if not one.trusted]
    lines += [f"Of {one.decision}: {_grouped(one)}." for one in result if one.trusted and _grouped(one)]
    return " ".join(lines)


DECISION_BITS = Measure(
    "decisions",
    _all_bits,
    "What the dialogue tells about each decision",
    "A predictor guesses the answer in dialogues that it has not met. The bits are a lower bound on what the talk "
    "tells beyond who takes part; the dashed lines are the entropies of the answers, the most that can be told.",
    chapter="decision",
    needs=(DIALOGUES,),
    tables=lambda result: {"decisions": to_frame(tuple(one for one in result if one.trusted))},
    figure=lambda result, study: figures.decision_bits(tuple(one for one in result if one.trusted)),
    remark=_bits_says,
    line=_bits_line,
)


def _length_line(result: TokenReport, study: Study) -> Line | None:
    cut = study.success.n_cut
    return Line("rounds", f"{study.success.mean_rounds:.2f}", f"{cut:,} talk{'' if cut == 1 else 's'} cut")


LENGTHS = Measure(
    "lengths",
    lambda study: study.tokens,
    "Length of the dialogues",
    "Rounds, the closing one included. A dialogue ends as its rules say, with EOT or after so many rounds, or is cut.",
    chapter="decision",
    needs=(DIALOGUES,),
    tables=lambda result: {"lengths": result.length_frame()},
    figure=lambda result, study: figures.lengths(result),
    line=_length_line,
    in_json=False,
)
