"""What do they say? The look of the language; it does not show what the talk does."""

from __future__ import annotations

from analysis.metrics.token_statistics import TokenReport
from analysis.report import figures
from analysis.report.html import shown
from analysis.report.measure import DIALOGUES, Line, Measure
from analysis.report.study import Study

TOKENS = Measure(
    "tokens",
    lambda study: study.tokens,
    "Symbols by role and decision",
    "How often those who then take each move say each symbol: a hint at meaning, not a proof.",
    chapter="tokens",
    needs=(DIALOGUES,),
    tables=lambda found: {"tokens": found.frequency_frame(), **found.role_tables()},
    figure=lambda found, study: figures.symbols_by_role(found),
)

POSITIONS = Measure(
    "positions",
    lambda study: study.tokens,
    "Symbols by round",
    "Percent of the symbols said in each round.",
    chapter="tokens",
    needs=(DIALOGUES,),
    tables=lambda found: {"positions": found.position_frame()},
    figure=lambda found, study: figures.symbols_by_round(found),
    in_json=False,
)


def _law(found: TokenReport, study: Study) -> str:
    fit = found.zipf["tokens"]
    return f"Here the exponent is {shown(fit.exponent)}, and the largest gap to the fitted law {shown(fit.distance)}."


RANKS = Measure(
    "ranks",
    lambda study: study.tokens,
    "Rank and frequency",
    "In natural languages the share falls with the rank to the power -1 (Zipf's law).",
    chapter="tokens",
    needs=(DIALOGUES,),
    tables=lambda found: {
        "ranks": found.rank_frame(), "zipf": found.zipf_frame(), "entropies": found.entropy_frame(),
    },
    figure=lambda found, study: figures.rank_frequency(found),
    remark=_law,
    in_json=False,
)  # fmt: skip


def _distinct_line(found: TokenReport, study: Study) -> Line | None:
    distinct = found.dialogues
    if not distinct.dialogues:
        return None
    return Line("different dialogues", shown(distinct.distinct), f"{shown(distinct.distinct_share, share=True)} of all")


DIALOGUES_MEASURE = Measure(
    "dialogues",
    lambda study: study.tokens,
    "Most frequent dialogues",
    "What each {agent} says, round by round, a dot between the rounds.",
    chapter="tokens",
    needs=(DIALOGUES,),
    tables=lambda found: {"dialogues": found.dialogue_frame(), "twins": found.twin_frame()},
    line=_distinct_line,
    rows=12,
    in_json=False,
)
