"""What do they say? The look of the language; it does not show what the talk does."""

from __future__ import annotations

from analysis.metrics.token_statistics import TokenReport
from analysis.metrics.zipf import FEWEST_RANKS
from analysis.report import figures
from analysis.report.html import shown
from analysis.report.measure import DIALOGUES, Line, Measure
from analysis.report.measures.success import of_joint_moves
from analysis.report.study import Study

TOKENS = Measure(
    "tokens",
    lambda study: study.tokens,
    "Symbols by role and decision",
    "How often those who then take each move say each symbol: a hint at meaning, not a proof.",
    chapter="tokens",
    needs=(DIALOGUES,),
    tables=lambda result: {"tokens": result.frequency_frame(), **result.role_tables()},
    figure=lambda result, study: figures.symbols_by_role(result),
)

POSITIONS = Measure(
    "positions",
    lambda study: study.tokens,
    "Symbols by round",
    "Percent of the symbols said in each round.",
    chapter="tokens",
    needs=(DIALOGUES,),
    tables=lambda result: {"positions": result.position_frame()},
    figure=lambda result, study: figures.symbols_by_round(result),
    in_json=False,
)


def _law(result: TokenReport, study: Study) -> str:
    fit = result.zipf["tokens"]
    if fit.ranks < FEWEST_RANKS:
        return f"{fit.ranks} different tokens are too few for a law."
    return f"Here the exponent is {shown(fit.exponent)}, and the largest gap to the fitted law {shown(fit.distance)}."


RANKS = Measure(
    "ranks",
    lambda study: study.tokens,
    "Rank and frequency",
    "In natural languages the share falls with the rank to the power -1 (Zipf's law).",
    chapter="tokens",
    needs=(DIALOGUES,),
    tables=lambda result: {
        "ranks": result.rank_frame(), "zipf": result.zipf_frame(), "entropies": result.entropy_frame(),
    },
    figure=lambda result, study: figures.rank_frequency(result),
    remark=_law,
    in_json=False,
)  # fmt: skip


def _distinct_line(result: TokenReport, study: Study) -> Line | None:
    distinct = result.dialogues
    if not distinct.dialogues:
        return None
    return Line("different dialogues", shown(distinct.distinct), f"{shown(distinct.distinct_share, share=True)} of all")


def _dialogues_say(result: TokenReport, study: Study) -> str:
    twins = "In the second curve a dialogue and its mirror image count as one." if result.joins_twins else ""
    return " ".join(filter(None, (twins, of_joint_moves(study.success) if study.judged else "")))


DIALOGUES_MEASURE = Measure(
    "dialogues",
    lambda study: study.tokens,
    "Most frequent dialogues",
    "What each {agent} says, round by round, a dot between the rounds; {eot} is EOT. The curve says how many different "
    "dialogues to expect among so many drawn at random, so that logs of different sizes can be compared.",
    chapter="tokens",
    needs=(DIALOGUES,),
    tables=lambda result: {
        "dialogues": result.dialogue_frame(), "twins": result.twin_frame(), "rarefaction": result.rarefaction_frame(),
    },
    figure=lambda result, study: figures.rarefaction(result),
    remark=_dialogues_say,
    line=_distinct_line,
    in_json=False,
)  # fmt: skip
