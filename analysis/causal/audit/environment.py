"""Is the channel what it seems? Checks of an environment alone, by random play and by interventions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import binomtest

from analysis.causal.audit.interface import Effect, Interface, differences, first_paid, intervene
from analysis.causal.audit.playing import Arena, Env, Episode, Hear, Reals, other_action, seed_globals
from analysis.causal.audit.verdicts import Check
from analysis.causal.role_leaks import held_out_right
from emcomm.statistics import rate
from envs.game import Bools

REPEATED = "Is it repeatable?"
REAL = "Is there a channel?"
LEAKS = "Does anything else give the role away?"
FEWEST = 6
"""Interventions from which something is concluded where none of them had an effect."""
MOST_PROBED = 16
"""Steps of an episode up to which all of them are changed, and other actions that are tried in one (steps, actions)."""
ENOUGH = 10
"""Games of one joint move that are looked at."""
OPENING_STEPS = 5
"""Steps of an episode in which a role is looked for."""
NOWHERE = -1e6
"""Stands for what an agent did not see."""


# -- repeatable --------------------------------------------------------------------------------------------------------


def repeatable(arena: Arena, seeds: Sequence[int]) -> list[Check]:
    """A seed fixes an episode, whatever was played before, and whatever else is being played."""
    said: dict[str, str | None] = {"a seed": None, "episodes before": None, "other environments": None}
    used = arena.new()
    for number, seed in enumerate(seeds):
        seed_globals((seed, 1))
        first = arena.random(seed, env=arena.new())
        seed_globals((seed, 2))
        again = arena.random(seed, env=arena.new())
        said["a seed"] = said["a seed"] or parting(first, again)
        _leave_halfway(arena, used, seed + 1000)
        later = arena.random(seed, env=used)
        said["episodes before"] = said["episodes before"] or parting(first, later)
        if number < 3:
            one, other = arena.new(), arena.new()
            meanwhile = arena.random(seed, env=one, hear=_beside(arena, other, seed + 2000))
            said["other environments"] = said["other environments"] or parting(first, meanwhile)
    if said["a seed"] is not None:
        said["episodes before"] = said["other environments"] = None
    names = {
        "a seed": ("the seed fixes an episode", f"{len(seeds)} seeds, twice each: the same episodes"),
        "episodes before": ("nothing stays of an episode before", "new and used environments play the same episodes"),
        "other environments": ("environments share no state", "one played alone and beside another: the same episodes"),
    }
    checks = []
    for key, (name, fine) in names.items():
        blocked = key != "a seed" and said["a seed"] is not None
        evidence = "its seed is ignored" if blocked else said[key] or fine
        checks.append(Check(REPEATED, name, evidence, None if blocked else 0.0 if said[key] else 1.0))
    return checks


def _leave_halfway(arena: Arena, env: Env, seed: int) -> None:
    """Play a whole episode, and leave another one after a few steps."""
    arena.random(seed, env=env)
    arena.random(seed + 1, env=env, steps=4)


def _beside(arena: Arena, other: Env, seed: int) -> Hear:
    """Play other episodes in another environment between the first steps of one."""
    done: set[int] = set()

    def hear(agent: str, step: int, seen: Any) -> Any:
        if step < 3 and step not in done:
            done.add(step)
            _leave_halfway(arena, other, seed + step)
        return seen

    return hear


def parting(one: Episode, other: Episode) -> str | None:
    """Where two episodes that should be one part, in words; None if they do not."""
    changes = differences(one, other)
    if changes:
        agent, (step, where) = min(changes.items(), key=lambda item: item[1][0])
        return f"seed {one.seed}: what {agent} sees differs from step {step} on, in {int(where.sum())} components"
    step_paid = first_paid(one, other)
    if step_paid is not None:
        return f"seed {one.seed}: rewards or the end differ in step {step_paid}"
    return None


# -- the channel -------------------------------------------------------------------------------------------------------


def connected(arena: Arena, interface: Interface) -> list[Check]:
    """What one says reaches another, not only oneself, before a decision that it can matter to."""
    if not interface.may_talk:
        return [Check(REAL, "what is said reaches another", "nobody may speak", None)]
    idle = [e for e in interface.talk if not e.heard]
    heard = [e for e in interface.talk if e.heard]
    if not heard and len(idle) < FEWEST:
        said = f"of {len(interface.effects)} changed actions {len(idle)} changed nothing that is paid"
        return [Check(REAL, "what is said reaches another", f"no action is only talk: {said}", None)]
    checks = [Check(REAL, "what is said reaches another", *_reach(arena, interface, heard, idle))]
    if not heard:
        return checks
    echoes = [e for e in interface.talk if _echoes(e, interface)]
    share = rate(len(echoes), len(interface.talk))
    checks.append(
        Check(REAL, "words come back as another's in no case", f"{share} of {len(interface.talk)} changed words did",
              0.0 if _always_echo(interface, echoes) else 1.0)
    )  # fmt: skip
    return checks


def _reach(arena: Arena, interface: Interface, heard: Sequence[Effect], idle: Sequence[Effect]) -> tuple[str, float]:
    """The evidence, and 0 where the channel is broken for all, or for one agent of a role and not for another."""
    if not heard:
        own = sum(bool(e.seen) for e in idle)
        echo = "; only the speaker's own observation changes: an echo" if own > len(idle) / 2 else ""
        return f"{len(idle)} words were changed, and nobody else ever saw another thing{echo}", 0.0
    for group in roles_of(arena):
        counts = {a: (sum(e.agent == a for e in heard), sum(e.agent == a for e in interface.talk)) for a in group}
        loud = [a for a, (reached, tried) in counts.items() if tried >= FEWEST and 2 * reached >= tried]
        mute = [a for a, (reached, tried) in counts.items() if tried >= FEWEST and not reached]
        if loud and mute:
            return f"of {counts[mute[0]][1]} changed words of {mute[0]} none was seen by another", 0.0
    how = "declared" if interface.declared else "found"
    return (
        f"{len(heard)} of {len(heard) + len(idle)} changed words were seen by another, in {interface.described()} "
        f"({how})", 1.0
    )  # fmt: skip


def _echoes(effect: Effect, interface: Interface) -> bool:
    """Whether the speaker's own message part shows its own words, and no one else's observation does."""
    if effect.agent not in effect.seen or effect.heard:
        return False
    where, hears = effect.seen[effect.agent][1], interface.hears[effect.agent]
    return len(where) == len(hears) and bool((where & hears).any())


def _always_echo(interface: Interface, echoes: Sequence[Effect]) -> bool:
    """Whether all that some agent says comes back to it, in the place of another's words."""
    for agent in interface.hears:
        own = [e for e in interface.talk if e.agent == agent]
        if len(own) >= FEWEST and sum(e.agent == agent for e in echoes) > len(own) / 2:
            return True
    return False


def in_time(arena: Arena, interface: Interface, rng: np.random.Generator) -> Check:
    """What is heard comes before a decision of the hearer that pays."""
    name = "messages come before the decision"
    if not any(e.heard for e in interface.talk):
        return Check(REAL, name, "nothing is heard", None)
    groups = {agent: group for group in roles_of(arena) for agent in group}
    deciding = {e.agent for e in interface.moves}
    tried: dict[tuple[str, ...], list[bool]] = {groups[agent]: [] for agent in deciding}
    for effect in interface.talk:
        for hearer, (arrival, _) in effect.heard.items():
            known = tried.get(groups[hearer], [])
            if hearer in deciding and len(known) < 24 and sum(known) < 3:
                known.append(_can_decide(arena, effect.seed, hearer, arrival, rng))
    late = [group for group, known in tried.items() if len(known) >= FEWEST and not any(known)]
    reached, looked = sum(map(sum, tried.values())), sum(map(len, tried.values()))
    if not looked:
        return Check(REAL, name, "whoever hears something has no decision that pays", None)
    evidence = f"after {reached} of {looked} messages the hearer still had a move that pays"
    if late:
        evidence = f"after none of {len(tried[late[0]])} messages had {' or '.join(late[0])} a move left that pays"
    return Check(REAL, name, evidence, 0.0 if late else 1.0)


def _can_decide(arena: Arena, seed: int, agent: str, start: int, rng: np.random.Generator) -> bool:
    """Whether another action of the agent, in any step from `start` on, pays otherwise."""
    episode = arena.random(seed)
    steps = [t for t in range(start, len(episode)) if agent in episode.actions[t]]
    for step in dict.fromkeys([*steps[::-1][:4], *steps[:4]]):
        before, mask = episode.actions[step][agent], episode.masks[step].get(agent)
        tried: dict[str, Any] = {}
        for _ in range(2 * MOST_PROBED):
            after = other_action(arena.spaces[agent], mask, before, rng)
            if after is not None:
                tried.setdefault(str(after), after)
        for after in [*tried.values()][:MOST_PROBED]:
            if intervene(arena, seed, step, agent, before, after, streams=1).paid is not None:
                return True
    return False


def at_once(arena: Arena, interface: Interface, seeds: Sequence[int], rng: np.random.Generator, turns: bool) -> Check:
    """In a game of one joint move nobody sees another's move before its own."""
    name = "no move is seen before one's own"
    if turns:
        return Check(REAL, name, "by the rules", None)
    one_shot, peeks = 0, []
    for seed in seeds:
        episode = arena.random(seed)
        if len(episode) > MOST_PROBED:
            continue
        paid = _paid_steps(arena, episode, interface, rng)
        if any(len(steps) > 1 for steps in paid.values()):
            return Check(REAL, name, "agents move more than once, and may see what was done", None)
        one_shot += len(paid) > 1
        for agent, steps in paid.items():
            (step, effects) = next(iter(steps.items()))
            for other in [a for a in paid if a != agent]:
                turn = next(iter(paid[other]))
                if step < turn and any(other in e.heard and e.heard[other][0] <= turn for e in effects):
                    peeks.append((seed, agent, other))
        if one_shot >= ENOUGH:
            break
    if not one_shot:
        return Check(REAL, name, "no game of one joint move", None)
    evidence = f"{one_shot} games of one joint move: no move was seen before another was made"
    if peeks:
        seed, agent, other = peeks[0]
        evidence = f"seed {seed}: {other} sees what {agent} does, and then makes its own move"
    return Check(REAL, name, evidence, 0.0 if peeks else 1.0)


def _paid_steps(
    arena: Arena, episode: Episode, interface: Interface, rng: np.random.Generator
) -> dict[str, dict[int, list[Effect]]]:
    """For each agent the steps in which another move of it pays otherwise, with the interventions that show it."""
    words = {(e.agent, str(a)) for e in interface.talk if e.heard for a in (e.before, e.after)}
    paid: dict[str, dict[int, list[Effect]]] = {}
    for step, actions in enumerate(episode.actions):
        for agent, before in actions.items():
            mask = episode.masks[step].get(agent)
            for _ in range(2):
                after = other_action(arena.spaces[agent], mask, before, rng)
                if after is None or any(
                    (agent, str(a)) in words or interface.is_word(agent, a) for a in (before, after)
                ):
                    continue
                effect = intervene(arena, episode.seed, step, agent, before, after, streams=1)
                if effect.paid is not None:
                    paid.setdefault(agent, {}).setdefault(step, []).append(effect)
    return paid


# -- roles -------------------------------------------------------------------------------------------------------------


def roles_of(arena: Arena) -> list[tuple[str, ...]]:
    """Agents that could be exchanged: of equal spaces, and of names that differ in their numbers only."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for agent in arena.agents:
        spaces = (str(arena.env.observation_space(agent)), str(arena.spaces[agent]))
        groups.setdefault((_kind(agent), *spaces), []).append(agent)
    return [tuple(group) for group in groups.values()]


def _kind(agent: str) -> str:
    """The name of an agent without its number.

    >>> _kind("train_0"), _kind("receiver"), _kind("b")
    ('train', 'receiver', '')
    """
    name = str(agent)
    return "" if len(name) == 1 else name.rstrip("0123456789").rstrip("_-")


class Sources(NamedTuple):
    """`[F]` of what may tell an agent from another, for one agent in one episode."""

    order: Reals
    mask: Reals
    reward: Reals
    padding: Reals
    observation: Reals


def leaks(arena: Arena, interface: Interface, seeds: Sequence[int], groups: Sequence[Sequence[str]]) -> list[Check]:
    """Which of two agents of one role an agent is, told by what it sees while all play at random.

    Random play treats all alike, so that whatever tells one agent from another was put there by the environment. A
    tree is fitted to half of the episodes and asked about the others; each is a fair coin where nothing tells.
    """
    pairs = [pair for group in groups for pair in pairwise(group)][:4]
    if not pairs:
        return [Check(LEAKS, "roles are told by nothing but talk", "no two agents are of one role", None)]
    episodes = [arena.random(seed, steps=OPENING_STEPS + 1) for seed in seeds]
    constant = {pair: _constant(episodes, *pair) for pair in pairs}
    rng = np.random.default_rng(seeds[0] if len(seeds) else 0)
    checks = []
    for source in Sources._fields:
        worst: tuple[float, str] = (1.0, "")
        for a, b in pairs:
            of = [
                [getattr(_sources(e, agent, interface.hears.get(agent), constant[a, b]), source) for agent in (a, b)]
                for e in episodes
            ]
            right, asked = _told(of, rng)
            p = float(binomtest(right, asked, 0.5, alternative="greater").pvalue) if asked else 1.0
            p = min(1.0, p * len(pairs))
            if not worst[1] or p < worst[0]:
                between = f" of {len(pairs)} pairs the worst, {a} and {b}:" if len(pairs) > 1 else f" {a} or {b}:"
                worst = (p, f"{between} {rate(right, asked)} of {asked} named right".strip())
        checks.append(Check(LEAKS, f"the role is not told by {_NAMES[source]}", worst[1], worst[0]))
    return checks


_NAMES = {
    "order": "the order of speaking and hearing",
    "mask": "the action mask",
    "reward": "rewards before the end",
    "padding": "padding: what never changes, and lengths",
    "observation": "the rest of the observation",
}


def _constant(episodes: Sequence[Episode], *agents: str) -> Bools:
    """`[F]` the components that are the same for each of the agents in all steps of all episodes."""
    seen = [
        [x for episode in episodes for step in range(len(episode.raw)) if (x := episode.flat(step, agent)) is not None]
        for agent in agents
    ]
    length = min(len(x) for own in seen for x in own) if all(seen) else 0
    same = np.ones(length, np.bool_)
    for own in seen:
        table = np.stack([x[:length] for x in own])
        same &= (table == table[:1]).all(axis=0)
    return same


def _sources(episode: Episode, agent: str, hears: Bools | None, constant: Bools) -> Sources:
    """What an agent sees in the first steps of an episode, by kind."""
    order, masks, rewards, padding, rest = [], [], [], [], []
    before: Reals | None = None
    for step in range(OPENING_STEPS):
        seen = episode.flat(step, agent)
        mask = episode.masks[step].get(agent) if step < len(episode.masks) else None
        gain = episode.rewards[step].get(agent, NOWHERE) if step < len(episode) - 1 else NOWHERE
        heard = seen is not None and before is not None and hears is not None and _differs(before, seen, hears)
        order.append([seen is not None, heard, -1 if mask is None else min(int(mask.sum()), 2)])
        masks.append(np.full(0, 0.0) if mask is None else mask.astype(np.float64))
        rewards.append(gain)
        own = np.zeros(0) if seen is None else seen
        fixed = np.resize(np.append(constant, np.zeros(len(own), np.bool_)), len(own))
        padding.append(np.where(fixed, own, NOWHERE))
        rest.append(np.where(fixed, NOWHERE, own))
        before = seen
    lengths = np.array([len(part) for part in padding], np.float64)
    return Sources(
        np.array(order, np.float64).reshape(-1), np.concatenate(masks), np.array(rewards, np.float64),
        np.concatenate([lengths, *padding]), np.concatenate(rest),
    )  # fmt: skip


def _differs(before: Reals, seen: Reals, hears: Bools) -> bool:
    return len(before) == len(seen) == len(hears) and bool((before != seen)[hears].any())


def _told(of: Sequence[Sequence[Reals]], rng: np.random.Generator) -> tuple[int, int]:
    """How often the first of two agents is recognised in episodes that were not fitted, and of how many."""
    width = max(len(x) for pair in of for x in pair)
    if not width or len(of) < 40:
        return 0, 0
    table = np.full((len(of), 2, width), NOWHERE)
    for e, pair in enumerate(of):
        for i, values in enumerate(pair):
            table[e, i, : len(values)] = values
    table = np.nan_to_num(table, nan=NOWHERE, posinf=-NOWHERE, neginf=NOWHERE)
    coins = rng.integers(2, size=len(of))
    seen = np.take_along_axis(table, np.stack([coins, 1 - coins], axis=1)[..., None], axis=1)
    seen = seen[..., (table != table[:1]).any(axis=(0, 1)) | (table[:, 0] != table[:, 1]).any(axis=0)]
    fitting = np.arange(len(of)) < len(of) // 2
    if not seen.shape[2]:
        return int((~fitting).sum()) // 2, int((~fitting).sum())
    return held_out_right(seen.reshape(len(of), -1).astype(np.float32), coins, fitting, leaf=5), int((~fitting).sum())


def groups_of(arena: Arena, roles: Mapping[str, str] | None) -> list[tuple[str, ...]]:
    """The agents of each role, as declared or else as `roles_of` has them."""
    if roles is None:
        return roles_of(arena)
    return [tuple(a for a in arena.agents if roles.get(a) == role) for role in sorted(set(roles.values()))]
