"""Is a channel real? An audit of anyone's environment and policies, without training.

`audit` plays a PettingZoo ParallelEnv, at random and with policies, changes one thing at a time and plays the same
episode again. What it looks at is seen from outside: the observations and actions of the agents.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.causal.audit import agents, environment
from analysis.causal.audit.interface import Interface, Says, find_interface
from analysis.causal.audit.playing import Arena, CallableSeat, Episode, Seat, Team
from analysis.causal.audit.verdicts import LEVEL, Check, Row, decide

__all__ = ["LEVEL", "Arena", "Audit", "CallableSeat", "Check", "Episode", "Interface", "Row", "Seat", "Team", "audit"]


@dataclass(frozen=True)
class Audit:
    """What an audit found."""

    rows: tuple[Row, ...]
    message_part: str
    """Where messages stand in the observations."""
    games: int
    """Episodes played by each team (episodes)."""

    @property
    def faults(self) -> tuple[Row, ...]:
        """The rows in which something is wrong."""
        return tuple(row for row in self.rows if row.verdict == "FAULT")

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults


def audit(
    arena: Arena,
    teams: Mapping[str, Team] | None = None,
    *,
    games: int = 200,
    seed: int = 0,
    says: Says | None = None,
    hears: Sequence[str] = (),
    roles: Mapping[str, str] | None = None,
    turns: bool = False,
    more: Sequence[Check] = (),
    doing: Callable[[str], None] = lambda text: None,
) -> Audit:
    """Look for all that is wrong with a channel, and whether policies use it.

    Parameters
    ----------
    arena : Arena
        The environment, and how to make another one.
    teams : mapping of str to Team, optional
        Who plays, by name; none: the environment alone is audited.
    games, seed : int
        Episodes of each team and of random play, and what fixes all that is drawn.
    says : callable, optional
        `says(agent, action)`: whether an action is a symbol. None: found by intervention.
    hears : sequence of str
        The message part of the observations (`comm`, `observation[3:8]`). Empty: found by intervention.
    roles : mapping of str to str, optional
        The role of each agent; agents of one role should not be told apart. None: by their spaces and names.
    turns : bool
        Whether an agent may see by the rules what another has done, or it is known that none does: it is not looked at.
    more : sequence of Check
        Checks made elsewhere, to be judged with these.
    doing : callable
        Called with what is being done.

    Returns
    -------
    Audit
        `rows`, each with `question`, `check`, `verdict`, `evidence`, `p_value`; `faults`; `sound`; `message_part`.

    Examples
    --------
    `analysis.audit(Arena(make_env), {"mine": lambda agent, i, space: CallableSeat(policy, agent, i)}).faults`
    """
    rng = np.random.default_rng(seed)
    first = int(rng.integers(2**20)) * 2**10
    seeds = [first + i for i in range(games)]
    doing("playing seeds again")
    checks = environment.repeatable(arena, seeds[:8])
    repeats = checks[0].p_value == 1.0
    groups = environment.groups_of(arena, roles)
    doing("changing single actions")
    interface = find_interface(arena, games, first + games, groups, says, hears)
    if repeats:
        checks += environment.connected(arena, interface)
        checks.append(environment.in_time(arena, interface, rng))
        checks.append(environment.at_once(arena, interface, seeds[:40], rng, turns))
    else:
        checks.append(Check(environment.REAL, "what is said reaches another", "the seed is ignored", None))
        if not hears:  # what was found is chance
            interface = replace(interface, hears={a: np.zeros_like(mask) for a, mask in interface.hears.items()})
    doing("looking for roles")
    checks += environment.leaks(arena, interface, [*seeds, *(s + 2**25 for s in seeds)], groups)
    for name, team in (teams or {}).items():
        doing(f"playing {name}")
        played = agents.record(arena, team, interface, seeds)
        own = agents.fair_play(played, repeats)
        doing(f"changing what {name} sees and hears")
        follows = all(check.p_value == 1.0 for check in own[:2])  # what two replays differ in is then an effect
        own += agents.said(played, follows)
        own.append(agents.heard(played, follows))
        own += agents.matters(played)
        several = len(teams or {}) > 1
        checks += [Check(c.question, f"{name}: {c.name}", *_rest(c)) for c in own] if several else own
    if teams:
        doing("playing strangers together")
        checks += agents.strangers(arena, teams, seeds[: max(games // 2, 20)])
    order = [environment.REPEATED, environment.REAL, environment.LEAKS, agents.HONEST, agents.SAID, agents.HEARD,
             agents.MATTERS, agents.STRANGERS]  # fmt: skip
    checks += more
    rank = {question: i for i, question in enumerate(order)}
    checks.sort(key=lambda check: rank.get(check.question, len(rank)))
    return Audit(decide(checks), interface.described(), games)


def _rest(check: Check) -> tuple[str, float | None, bool]:
    return check.evidence, check.p_value, check.fault
