"""`emcomm.audit`: every planted fault is found, and sound systems raise no alarm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from analysis.causal.audit import Arena, Audit, audit
from analysis.causal.audit.subjects import named_team
from tests import audited

Call = Callable[..., Any]
GAMES = 40

CHANNEL = "what is said reaches another"
FAULTS = {
    # a planted fault: environment, policy, and the check that must name it
    "disconnected": ("Disconnected", "honest", CHANNEL),
    "echo": ("Echo", "honest", CHANNEL),
    "one of two is not heard": ("HalfDeaf", "honest", CHANNEL),
    "role by order": ("Order", "chance", "the role is not told by the order"),
    "role by reward": ("Reward", "honest", "the role is not told by rewards"),
    "role by mask": ("Mask", "chance", "the role is not told by the action mask"),
    "role by padding": ("Padding", "honest", "the role is not told by padding"),
    "role by observation": ("Position", "honest", "the role is not told by the rest"),
    "messages after the decision": ("Late", "silent", "messages come before the decision"),
    "seed ignored": ("OwnLuck", "honest", "the seed fixes an episode"),
    "seed ignored, global generator": ("GlobalLuck", "honest", "the seed fixes an episode"),
    "stale messages": ("Stale", "honest", "nothing stays of an episode before"),
    "environments share a state": ("Shared", "honest", "environments share no state"),
    "move in sight": ("Peek", "chance", "no move is seen before one's own"),
    "policy ignores its seed": ("Duet", "unseeded", "policies follow their seed"),
    "policies share a state": ("Duet", "Telepath", "policies know only what they see"),
    "probabilities in the buffer": ("Probabilities", "thinking", "what is heard follows from the actions"),
    "distributions as messages": ("Distributions", "gives_distributions", "what is heard follows from the actions"),
}
SOUND = {
    "honest": ("Duet", "honest"),
    "silent": ("Duet", "silent"),
    "deaf": ("Duet", "deaf"),
    "chance": ("Duet", "chance"),
    "global generator": ("Duet", "global_chance"),
    "memory": ("Duet", "Remembers"),
    "two policies": ("Duet", "honest,deaf"),
    "four in a ring": ("Quartet", "honest"),
    "one way": ("OneWay", "honest"),
    "two-part actions": ("Parts", "listless"),
    "noisy": ("NoisyLine", "Remembers"),
    "arrays written again": ("Sloppy", "honest"),
}


def audited_by(env: str, policy: str, games: int = GAMES, **options: Any) -> Audit:
    arena = Arena(getattr(audited, env))
    names = ",".join(f"tests.audited:{part}" for part in policy.split(","))
    return audit(arena, {policy: named_team(names, arena.agents)}, games=games, **options)


def verdicts(found: Audit) -> dict[str, str]:
    return {row.check: row.verdict for row in found.rows}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault: str) -> None:
    env, policy, check = FAULTS[fault]
    named = [row.check for row in audited_by(env, policy).faults]
    assert any(name.startswith(check) for name in named), named


@pytest.mark.parametrize("system", SOUND)
def test_a_sound_system_raises_no_alarm(system: str) -> None:
    assert audited_by(*SOUND[system]).faults == ()
