"""The registry of measures, in the order in which they are taken and shown."""

from __future__ import annotations

from analysis.report.measure import Measure
from analysis.report.measures import causes, decision, meaning, mechanism, success, tokens
from envs.registry import Registry


def _no_measure(thing: object) -> str | None:
    return None if isinstance(thing, Measure) else "it must be an analysis.Measure"


MEASURES: Registry[Measure] = Registry(
    "measure",
    [
        (measure.name, measure)
        for measure in (
            success.SUCCESS,
            success.RETURN,
            success.SCORE,
            success.TRAINING_COURSE,
            success.BY_LENGTH,
            success.FAILURES,
            meaning.LEXICON,
            meaning.SYMBOLS,
            meaning.CAPACITY,
            meaning.UNITS,
            meaning.SIMILARITY,
            meaning.DISENTANGLEMENT,
            meaning.INDEPENDENCE,
            meaning.GENERALISATION,
            tokens.TOKENS,
            tokens.POSITIONS,
            decision.LENGTHS,
            decision.INFORMATION,
            decision.DECISION_BITS,
            tokens.RANKS,
            tokens.DIALOGUES_MEASURE,
            mechanism.EXPLANATION,
            mechanism.EVIDENCE,
            mechanism.INTERCHANGE,
            mechanism.SPEAKER,
            mechanism.GENERALISATION,
            mechanism.WEIGHTS,
            mechanism.INTEGRATORS,
            mechanism.NUMBERS_KEPT,
            mechanism.MACHINE,
            causes.LEAKS,
            causes.CONTROLS,
            causes.EDITS,
            causes.INFLUENCE,
            causes.SIGNALLING,
            causes.LISTENING,
            meaning.CONSISTENCY,
            mechanism.GROWTH,
            success.VOTE,
            success.DRIFT,
        )
    ],
    _no_measure,
)
"""Every registered measure."""
