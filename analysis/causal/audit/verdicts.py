"""What a check asks, what it found, and the verdict once all checks of an audit are corrected for each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.stats import binomtest

LEVEL = 0.001
"""Probability that an audit of a sound system raises any alarm at all."""

Verdict = Literal["ok", "FAULT", "yes", "no", "not tested"]


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    `p_value` is the probability of evidence this strong where there is nothing; 0 where the evidence is two replays of
    one episode that differ, and cannot be chance; None where it could not be looked at, and `evidence` says why.
    """

    question: str
    name: str
    evidence: str
    p_value: float | None
    fault: bool = True
    """Whether finding something is a fault; otherwise it is an answer."""


@dataclass(frozen=True)
class Row:
    """A check with its verdict."""

    question: str
    check: str
    verdict: Verdict
    evidence: str
    p_value: float | None
    """Corrected for the number of tests (Holm 1979)."""

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return dict(vars(self))


def decide(checks: Sequence[Check]) -> tuple[Row, ...]:
    """The verdicts. Only what may be chance is corrected for; a check whose null fails at `LEVEL` has found something.

    >>> [row.verdict for row in decide([Check("?", "a", "", 0.0004), Check("?", "b", "", 0.0006), Check("?", "c", "",
    ... 0.0), Check("?", "d", "", None)])]
    ['FAULT', 'FAULT', 'FAULT', 'not tested']
    >>> [row.p_value for row in decide([Check("?", "a", "", 0.01), Check("?", "b", "", 0.5)])]
    [0.02, 0.5]
    """
    uncertain = [i for i, check in enumerate(checks) if check.p_value is not None and 0 < check.p_value < 1]
    corrected = {i: check.p_value for i, check in enumerate(checks)}
    highest = 0.0
    for rank, i in enumerate(sorted(uncertain, key=lambda i: checks[i].p_value or 0.0)):
        highest = max(highest, min(1.0, (len(uncertain) - rank) * (checks[i].p_value or 0.0)))
        corrected[i] = highest
    return tuple(_row(check, corrected[i]) for i, check in enumerate(checks))


def _row(check: Check, p_value: float | None) -> Row:
    found = p_value is not None and p_value <= LEVEL
    verdict: Verdict = "not tested" if p_value is None else "ok" if check.fault else "no"
    if found:
        verdict = "FAULT" if check.fault else "yes"
    return Row(check.question, check.name, verdict, check.evidence, p_value)


def sign_test(one: Sequence[float], other: Sequence[float]) -> float:
    """Two-sided p-value of pairs that differ as often one way as the other; 1 where none differ.

    >>> round(sign_test([1, 1, 1, 1, 0], [0, 0, 0, 0, 0]), 3)
    0.125
    """
    differences = np.sign(np.asarray(one, np.float64) - np.asarray(other, np.float64))
    up, pairs = int((differences > 0).sum()), int((differences != 0).sum())
    return float(binomtest(up, pairs).pvalue) if pairs else 1.0
