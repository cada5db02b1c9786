"""The figures of one small run of the crossing stay what they are, whatever else changes.

`tests/golden/run` was trained by `python -m emcomm.train --workers 0 --episodes 60000 --evaluation-games 3000 --seed 1`
before games declared anything; `expected.json` holds what the quick analysis then said of it.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.data.runs import load
from analysis.report.pipeline import QUICK, study
from envs.crossing import CrossingGame
from envs.negotiation import Negotiation, TalkRules

GOLDEN = Path(__file__).parent / "golden"
EXPECTED = json.loads((GOLDEN / "expected.json").read_text())


FITTED_ON_LOGS = ("silent", "n-gram", "RPNI", "ALERGIA")


def test_the_figures_are_what_they_were() -> None:
    """Counts exactly; what the network's arithmetic has a part in, to a thousandth. One test, for one study."""
    found = study(load(GOLDEN / "run"), QUICK).to_json()
    assert [line for line in found["problems"] if "dialogues" not in line] == []
    assert found["sentence"].startswith("Integrator and a few running numbers tell who yields")  # in so few dialogues
    wrong = [name for name in EXPECTED["tables"] if not alike(name, EXPECTED["tables"][name], found["tables"][name])]
    assert not wrong, {name: (EXPECTED["tables"][name], found["tables"][name]) for name in wrong}


def alike(name: str, then: list[dict[str, Any]], now: list[dict[str, Any]]) -> bool:
    if name == "controls":  # there are more channels now
        now = [row for row in now if row["channel"] in [known["channel"] for known in then]]
    if name == "information":  # 19 permutations for the null, where 9 could never reach 0.05
        then = [{k: v for k, v in row.items() if k not in ("null", "p_value")} for row in then]
    if name == "signalling":  # rounds that fewer than 30 dialogues reach are left out
        then = then[: max(len(now), 6)]
    if name == "explanations":  # rules are now fitted on the network's answers, and random dialogues come in strata
        then, now = (
            [{k: v for k, v in row.items() if "random" not in k} for row in rows if row["method"] in FITTED_ON_LOGS]
            for rows in (then, now)
        )
    within = 3e-3 if name == "edits" else 2e-3  # dialogues that an edit leaves as they are do not count any more
    return len(now) == len(then) and all(
        row_now[key] == (pytest.approx(value, abs=within, nan_ok=True) if isinstance(value, float) else value)
        for row_then, row_now in zip(then, now, strict=True)
        for key, value in row_then.items()
        if key not in ("meaning", "why")  # words for the reader
    )


@pytest.mark.parametrize(
    ("options", "digest"),
    [
        ({}, "01463271a0b6f2c6"),
        ({"speaking": "sequential", "order": "round"}, "4545f9ee0d57499f"),
        ({"channel": "shuffled"}, "6639d1986c7f7585"),
        ({"channel": "noisy", "noise": 0.3}, "91bd83364351460f"),
        ({"channel": "oracle"}, "f346864b414a1bc7"),
        ({"channel": "self", "opening": "talk"}, "330c23f5bfe0926e"),
        ({"channel": "off"}, "eaf268f5ecc6a79d"),
    ],
)
def test_the_rules_of_the_crossing_are_what_they_were(options, digest):
    """600 steps of 8 games with random legal actions: all that the agents saw and got."""
    rng = np.random.default_rng(7)
    talk = Negotiation(CrossingGame(8, rng), TalkRules(max_rounds=6, window=8, **options), rng)
    choose = np.random.default_rng(8)
    talk.reset()
    seen_and_got = hashlib.sha256()
    for _ in range(600):
        seen = talk.observe()
        for part in seen:
            seen_and_got.update(np.ascontiguousarray(part).tobytes())
        step = talk.step((choose.random(seen.mask.shape) * seen.mask).argmax(axis=2))
        seen_and_got.update(step.rewards.tobytes() + step.dialogues.symbols.tobytes() + step.dialogues.moves.tobytes())
        talk.reset(step.over)
    assert seen_and_got.hexdigest()[:16] == digest
