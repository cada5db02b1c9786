"""What agents can say to each other, found by intervening: one action is changed, all else is played again.

Two actions differ in *talk* if, whatever the others do then, nobody's rewards and nobody's end depend on which of them
was taken. What another agent sees otherwise after it is where it hears: the message part of its observation. Actions
that differ in what is paid are moves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from analysis.causal.audit.playing import Arena, Episode, flat, other_action, places
from emcomm.errors import BadInput
from envs.game import Bools

WATCHED = 20
"""Episodes of random play in which the numbers that are heard are looked at."""
STREAMS = 2
"""Ways in which the others go on after a changed action."""

Says = Callable[[str, Any], bool]
"""Whether an action of an agent is a symbol."""


class Effect(NamedTuple):
    """What became otherwise when one agent took another action in one step."""

    seed: int
    step: int
    agent: str
    before: Any
    after: Any
    paid: int | None
    """The first step whose rewards differ, or in which only one of the two episodes goes on; None if none does."""
    seen: Mapping[str, tuple[int, Bools]]
    """For each agent that saw something else the first such step, and `[F]` the components that ever differ."""

    @property
    def heard(self) -> dict[str, tuple[int, Bools]]:
        """What others saw of it."""
        return {agent: what for agent, what in self.seen.items() if agent != self.agent}


@dataclass(frozen=True)
class Interface:
    """Where messages stand."""

    effects: tuple[Effect, ...]
    """All interventions."""
    talk: tuple[Effect, ...]
    """Those in which only the words differ."""
    moves: tuple[Effect, ...]
    """Those in which something else is paid, and no word differs, as far as it is known which actions are words."""
    hears: Mapping[str, Bools]
    """For each agent `[F]` the components of its observation that carry messages."""
    names: Mapping[str, Sequence[str]]
    """For each agent `[F]` their names."""
    whole: Mapping[str, bool]
    """For each agent whether only whole numbers were heard in random play."""
    declared: bool
    """Whether the message part was declared, and not found."""
    may_talk: bool
    """Whether any action was, by declaration, a symbol; True where nothing was declared."""

    says: Says | None = None
    """Whether an action is a symbol, where that is declared."""

    def is_word(self, agent: str, action: Any) -> bool:
        """Whether an action is declared to be a symbol."""
        return self.says is not None and self.says(agent, action)

    def described(self) -> str:
        """The message parts in words."""
        parts = {}
        for agent, mask in self.hears.items():
            parts[agent] = _ranges([name for name, hears in zip(self.names[agent], mask, strict=False) if hears])
        if len(set(parts.values())) == 1:
            return next(iter(parts.values())) or "nothing"
        return "; ".join(f"{agent}: {part or 'nothing'}" for agent, part in parts.items())


def _ranges(names: Sequence[str]) -> str:
    """Names of neighbouring components in one.

    >>> _ranges(["a[0]", "a[1]", "a[2]", "a[5]", "b[0]"])
    'a[0:3], a[5], b[0]'
    """
    runs: list[tuple[str, int, int]] = []
    for name in names:
        path, _, number = name.rstrip("]").rpartition("[")
        index = int(number)
        if runs and runs[-1][0] == path and runs[-1][2] == index:
            runs[-1] = (path, runs[-1][1], index + 1)
        else:
            runs.append((path, index, index + 1))
    return ", ".join(f"{path}[{a}]" if b == a + 1 else f"{path}[{a}:{b}]" for path, a, b in runs)


def find_interface(
    arena: Arena, interventions: int, seed: int, groups: Sequence[Sequence[str]], says: Says | None = None,
    hears: Sequence[str] = (),
) -> Interface:  # fmt: skip
    """Change `interventions` single actions of random play, and look who sees it and what it pays.

    Parameters
    ----------
    arena : Arena
        The environment.
    interventions, seed : int
        How many actions are changed, and what fixes which.
    groups : sequence of sequences of str
        The agents of each role: what one of them hears in, the others hear in.
    says : callable, optional
        Whether an action is a symbol, where that is known.
    hears : sequence of str
        The declared message part: names of components (`a[3]`), ranges (`a[3:8]`) or whole parts (`a`); empty: found.

    Raises BadInput for a part that no observation has.
    """
    rng = np.random.default_rng(seed)
    effects: list[Effect] = []
    names: dict[str, list[str]] = {}
    heard: list[Episode] = []
    symbols = 0
    for trial in range(3 * interventions):  # steps without a choice are passed over
        episode = arena.random(seed + trial)
        for seen in episode.raw:
            names.update({agent: places(what) for agent, what in seen.items() if agent not in names})
        if not len(episode):
            continue
        if len(heard) < WATCHED:
            heard.append(episode)
        step = int(rng.integers(len(episode)))
        agent = str(rng.choice([*episode.actions[step]]))
        before = episode.actions[step][agent]
        symbols += says is not None and says(agent, before)
        after = _alternative(arena, episode, step, agent, says, rng)
        if after is not None:
            effects.append(intervene(arena, episode.seed, step, agent, before, after))
        if len(effects) >= interventions:
            break
    pays = {_pair(e, groups) for e in effects if e.paid is not None}  # it need not pay each time
    words = [says is not None and says(e.agent, e.before) for e in effects]
    only_talk = [e.paid is None if says is not None else _pair(e, groups) not in pays for e in effects]
    talk = tuple(e for e, word, only in zip(effects, words, only_talk, strict=True) if only and (word or says is None))
    moves = tuple(e for e, word in zip(effects, words, strict=True) if e.paid is not None and not word)
    found = {agent: np.zeros(len(of), np.bool_) for agent, of in names.items()}
    for effect in talk:
        for agent, (_, where) in effect.heard.items():
            found[agent][: len(where)] |= where[: len(found[agent])]
    for group in groups:
        alike = [found[a] for a in group if a in found]
        if len({len(mask) for mask in alike}) == 1:
            found.update({a: np.logical_or.reduce(alike) for a in group if a in found})
    if hears:
        found = declared_parts(names, hears)
    whole = {agent: all(_whole(e, agent, mask) for e in heard) for agent, mask in found.items()}
    return Interface(tuple(effects), talk, moves, found, names, whole, bool(hears), says is None or symbols > 0, says)


def _pair(effect: Effect, groups: Sequence[Sequence[str]]) -> tuple[Any, frozenset[str]]:
    """Two actions, and whose they are: those of agents of one role mean the same."""
    who = next((tuple(group) for group in groups if effect.agent in group), effect.agent)
    return who, frozenset((str(effect.before), str(effect.after)))


def _whole(episode: Episode, agent: str, hears: Bools) -> bool:
    """Whether an agent heard only whole numbers."""
    seen = [episode.flat(step, agent) for step in range(len(episode.raw))]
    heard = [x[hears] for x in seen if x is not None and len(x) == len(hears)]
    return all((x == np.round(x)).all() for x in heard)


def declared_parts(names: Mapping[str, Sequence[str]], hears: Sequence[str]) -> dict[str, Bools]:
    """For each agent `[F]` whether a component is one of `hears`; raises BadInput for one that no agent has."""
    found = {agent: np.zeros(len(of), np.bool_) for agent, of in names.items()}
    for wanted in hears:
        path, _, numbers = wanted.rstrip("]").partition("[")
        low, _, high = numbers.partition(":")
        try:
            first = int(low or 0)
            last = first + 1 if numbers and ":" not in numbers else int(high or 2**31)
        except ValueError:
            raise BadInput(f"--hears {wanted}: give a part of the observations as NAME, NAME[3] or NAME[3:8]") from None
        hits = 0
        for agent, of in names.items():
            for i, name in enumerate(of):
                own, _, number = name.rstrip("]").rpartition("[")
                if (own == path or own.startswith(f"{path}.")) and first <= int(number) < last:
                    found[agent][i] = True
                    hits += 1
        if not hits:
            parts = sorted({name.rpartition("[")[0] for of in names.values() for name in of})
            raise BadInput(f"--hears {wanted}: no observation has such a part; there are {', '.join(parts)}")
    return found


def _alternative(
    arena: Arena, episode: Episode, step: int, agent: str, says: Says | None, rng: np.random.Generator
) -> Any:
    """Another action of the same kind; None where there is none."""
    before, mask = episode.actions[step][agent], episode.masks[step].get(agent)
    for _ in range(8):
        after = other_action(arena.spaces[agent], mask, before, rng)
        if after is None or says is None or says(agent, after) == says(agent, before):
            return after
    return None


def intervene(
    arena: Arena, seed: int, step: int, agent: str, before: Any, after: Any, streams: int = STREAMS
) -> Effect:
    """Play an episode with one action and with the other, while the rest goes on alike in `streams` ways."""
    paid: int | None = None
    seen: dict[str, tuple[int, Bools]] = {}
    for stream in range(streams):
        one, other = (
            arena.random(seed, turn=step, stream=stream, say={(step, agent): action}) for action in (before, after)
        )
        first = first_paid(one, other)
        if first is not None:
            paid = first if paid is None else min(paid, first)
        for who, (when, where) in differences(one, other, step + 1).items():
            known = seen.get(who, (when, where))
            same = len(known[1]) == len(where)
            seen[who] = (min(known[0], when), known[1] | where if same else where)
    return Effect(seed, step, agent, before, after, paid, seen)


def first_paid(one: Episode, other: Episode) -> int | None:
    """The first step whose rewards differ, or in which only one episode goes on; None if there is none."""
    for step, (mine, its) in enumerate(zip(one.rewards, other.rewards, strict=False)):
        if mine != its:
            return step
    return None if len(one) == len(other) else min(len(one), len(other)) - 1


def differences(one: Episode, other: Episode, start: int = 0) -> dict[str, tuple[int, Bools]]:
    """For each agent whose observations differ the first step from `start` on, and `[F]` the components."""
    found: dict[str, tuple[int, Bools]] = {}
    for step in range(start, min(len(one.raw), len(other.raw))):
        for agent in {**one.raw[step], **other.raw[step]}:  # in an order that no hash decides
            mine, its = one.flat(step, agent), other.flat(step, agent)
            if mine is None and its is None:
                continue
            if mine is None or its is None or mine.shape != its.shape:
                length = max(len(x) for x in (mine, its) if x is not None)
                where = np.ones(length, np.bool_)
            else:
                where = ~((mine == its) | (np.isnan(mine) & np.isnan(its)))
            if where.any():
                when, known = found.get(agent, (step, where))
                found[agent] = (when, known | where if len(known) == len(where) else where)
    return found


def with_message(seen: Any, hears: Bools, values: np.ndarray) -> np.ndarray:
    """`[F]` an observation with the message part of `values` `[F]`."""
    own = flat(seen)
    if len(own) != len(values) or len(own) != len(hears):
        return own
    return np.where(hears, values, own)
