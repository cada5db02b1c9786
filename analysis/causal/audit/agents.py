"""Is anything said, is it heard, does it matter? Policies played against themselves with other words in their ears.

Every intervention is made at the interface: the policies are shown other observations, or put on another seat's.
Two replays of an episode that differ in nothing else are paired, and where nothing depends on what was changed they are
the same, action for action.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import entropy, fisher_exact

from analysis.causal.audit.environment import parting
from analysis.causal.audit.interface import Interface, with_message
from analysis.causal.audit.playing import Arena, Episode, Seat, Team, changed, flat, seed_globals
from analysis.causal.audit.verdicts import Check, sign_test
from analysis.metrics.resampling import interval_of_means
from emcomm.statistics import rate
from envs.game import Bools

HONEST = "Do the agents play fair?"
SAID = "Is anything said?"
HEARD = "Is it heard?"
MATTERS = "Does it matter?"
STRANGERS = "Is it private?"
IGNORED = "replays cannot be compared: a seed is ignored, or a state is shared"
KINDS = 64
"""Numbers heard in one place from which tokens are no longer the likeliest explanation."""


@dataclass(frozen=True)
class Record:
    """Episodes of one team with itself."""

    arena: Arena
    team: Team
    interface: Interface
    episodes: tuple[Episode, ...]

    def donor(self, number: int) -> Episode:
        """The episode whose words are lent to another."""
        return self.episodes[(number + 1 + number % 3) % len(self.episodes)]

    def returns(self) -> list[float]:
        """Of each episode."""
        return [episode.total for episode in self.episodes]


def record(arena: Arena, team: Team, interface: Interface, seeds: Sequence[int]) -> Record:
    """Let a team play."""
    return Record(arena, team, interface, tuple(arena.play(team, seed) for seed in seeds))


# -- fair play ---------------------------------------------------------------------------------------------------------


def fair_play(played: Record, env_repeats: bool) -> list[Check]:
    """Policies follow their seed, know what they see and nothing else, and say actions and nothing else."""
    names = ("policies follow their seed", "policies know only what they see", "what is heard follows from the actions")
    if not env_repeats:
        return [Check(HONEST, name, "the environment ignores its seed", None) for name in names]
    again = [played.arena.play(played.team, e.seed) for e in played.episodes[:10]]
    parted = next((p for e, a in zip(played.episodes, again, strict=False) if (p := _acts_parting(e, a))), None)
    checks = [Check(HONEST, names[0], parted or f"{len(again)} episodes played twice: the same actions",
                    0.0 if parted else 1.0)]  # fmt: skip
    if parted:
        checks.append(Check(HONEST, names[1], "a policy ignores its seed", None))
    else:
        alone = _alone(played)
        checks.append(
            Check(HONEST, names[1], alone or "alone, shown the same, they act the same", 0.0 if alone else 1.0)
        )
    script = _scripted(played)
    said = script or _probabilities(played)
    checks.append(Check(HONEST, names[2], said or "the same actions without policies: the same is heard",
                        0.0 if said else 1.0))  # fmt: skip
    return checks


def _acts_parting(one: Episode, other: Episode) -> str | None:
    for step, (mine, its) in enumerate(zip(one.actions, other.actions, strict=False)):
        for agent in mine:
            if not _same(mine[agent], its.get(agent)):
                return f"seed {one.seed}: played again, {agent} acts otherwise in step {step}"
    return parting(one, other)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, Mapping):
        return all(_same(one[key], other[key]) for key in one)
    if isinstance(one, tuple):
        return all(map(_same, one, other))
    return bool(np.array_equal(np.asarray(one), np.asarray(other)))


def _alone(played: Record) -> str | None:
    """Each policy by itself, shown what it saw: where it acts otherwise; None if it never does."""
    for episode in played.episodes[:12][::-1]:
        for agent in played.arena.agents[::-1]:
            acts = replay(played, episode, agent)
            for step, action in acts.items():
                if not _same(action, episode.actions[step][agent]):
                    return f"seed {episode.seed}: {agent} alone, shown the same, acts otherwise in step {step}"
    return None


def replay(
    played: Record, episode: Episode, agent: str, shown: Mapping[int, Any] | None = None, until: int | None = None
) -> dict[int, Any]:
    """What the policy of one agent does by step, by itself, shown what it saw, or `shown` in some steps.

    A step in which it acts otherwise than in the episode is the last: what it saw after it belongs to what it did.
    """
    index = played.arena.agents.index(agent)
    seat: Seat = played.team(agent, index, played.arena.spaces[agent])
    seat.begin(episode.seed)
    acts: dict[int, Any] = {}
    for step, actions in enumerate(episode.actions[:until]):
        if agent not in actions:
            continue
        seen = episode.raw[step][agent]
        acts[step] = seat.act((shown or {}).get(step, changed(seen, flat(seen))), step)
        if not _same(acts[step], actions[agent]):
            break
    return acts


def _scripted(played: Record) -> str | None:
    """Recorded actions taken again while no policy is there: where something else is seen; None if nowhere."""
    for episode in played.episodes[:12][::-1]:
        seed_globals((episode.seed, 3))
        say = {(t, agent): a for t, actions in enumerate(episode.actions) for agent, a in actions.items()}
        again = played.arena.random(episode.seed, say=say)
        if (where := parting(episode, again)) is not None:
            return f"{where}, though the actions are the same: more reaches the others than what is done"
    return None


def _probabilities(played: Record) -> str | None:
    """Whether distributions stand where tokens are heard; None if not."""
    for agent, hears in played.interface.hears.items():
        rows = _heard_rows(played.episodes, agent, hears)
        if not len(rows) or rows.shape[1] < 2:
            continue
        fractions = rows[(rows != np.round(rows)).any(axis=1)]
        if not len(fractions) or fractions.min() < 0 or not _sums_to_one(fractions):
            continue
        kinds = max(len(np.unique(column)) for column in rows.T)
        if kinds > KINDS or played.interface.whole.get(agent):
            return f"{agent} hears probabilities and not tokens: fractions that sum to 1, {kinds} in one place"
    return None


def _sums_to_one(rows: np.ndarray) -> bool:
    """Whether the message part is made of equal pieces that sum to 1 each, or to 0 where nothing was said."""
    for pieces in range(1, rows.shape[1] // 2 + 1):
        if rows.shape[1] % pieces == 0:
            sums = rows.reshape(len(rows), pieces, -1).sum(axis=2)
            if (np.isclose(sums, 1, atol=1e-3) | np.isclose(sums, 0, atol=1e-6)).all():
                return True
    return False


def _heard_rows(episodes: Sequence[Episode], agent: str, hears: Bools) -> np.ndarray:
    """`[·, H]` all message parts that an agent saw."""
    rows = [
        seen[hears]
        for episode in episodes
        for step in range(len(episode.raw))
        if (seen := episode.flat(step, agent)) is not None and len(seen) == len(hears)
    ]
    return np.array(rows).reshape(len(rows), int(hears.sum()))


# -- said --------------------------------------------------------------------------------------------------------------


def said(played: Record, follows: bool) -> list[Check]:
    """Whether different things are heard in different episodes, and whether they tell what their speaker knows.

    `follows`: whether all follow their seed, so that replays can be compared.
    """
    listeners = {agent: hears for agent, hears in played.interface.hears.items() if hears.any()}
    if not listeners:
        return [Check(SAID, name, "no message part is known", None, fault=False)
                for name in ("words vary", "words tell what their speaker knows")]  # fmt: skip
    talked = sum(_talked(e, listeners) for e in played.episodes)
    share = rate(talked, len(played.episodes))
    evidence = f"something is heard in {share} of {len(played.episodes)} episodes"
    bits = 0.0
    for step in range(1, max(map(len, played.episodes)) + 1):
        bits, agent = max((_bits(played.episodes, agent, hears, step), agent) for agent, hears in listeners.items())
        if bits:
            evidence += f"; the first that varies has {bits:.2f} bits ({agent}, step {step})"
            break
    return [Check(SAID, "words vary", evidence, 0.0 if bits > 0 else 1.0, fault=False), _signalling(played, follows)]


def _bits(episodes: Sequence[Episode], agent: str, hears: Bools, step: int) -> float:
    """The plug-in entropy of what an agent hears in a step (bits)."""
    heard = Counter(
        seen[hears].tobytes() for e in episodes if (seen := e.flat(step, agent)) is not None and len(seen) == len(hears)
    )
    return float(entropy([*heard.values()], base=2)) if heard else 0.0


def _talked(episode: Episode, listeners: Mapping[str, Bools]) -> bool:
    """Whether the message part of any agent ever changes."""
    for agent, hears in listeners.items():
        first = episode.flat(0, agent)
        for step in range(1, len(episode.raw)):
            seen = episode.flat(step, agent)
            if first is not None and seen is not None and len(seen) == len(first) == len(hears):
                if (seen != first)[hears].any():
                    return True
            elif first is None:
                first = seen
    return False


def _signalling(played: Record, follows: bool) -> Check:
    """Positive signalling: what a speaker knows is exchanged, and what others hear of it changes."""
    name = "words tell what their speaker knows"
    if not follows:
        return Check(SAID, name, IGNORED, None, fault=False)
    changes, tried = 0, 0
    for number, episode in enumerate(played.episodes):
        donor = played.donor(number)
        for agent in played.arena.agents:
            shown = _other_knowledge(episode, donor, agent, played.interface.hears.get(agent))
            if not shown:
                continue
            tried += 1
            acts = replay(played, episode, agent, shown)
            step = max(acts, default=0)
            if acts and not _same(acts[step], episode.actions[step][agent]):
                changes += _others_hear(played, episode, step, agent, acts[step])
    if not tried:
        return Check(SAID, name, "agents know nothing before they speak that could be exchanged", 1.0, fault=False)
    share = rate(changes, tried)
    p = _against_nothing(changes, tried)
    return Check(SAID, name, f"knowledge exchanged {tried} times: what others hear changed in {share}", p, fault=False)


def _other_knowledge(episode: Episode, donor: Episode, agent: str, hears: Bools | None) -> dict[int, Any]:
    """For each step, until the agent has heard something, its observation with what it knew in another episode.

    Empty where both knew the same.
    """
    shown: dict[int, Any] = {}
    first: np.ndarray | None = None
    differs = False
    for step in range(min(len(episode), len(donor))):
        mine, its = episode.flat(step, agent), donor.flat(step, agent)
        if mine is None or its is None or mine.shape != its.shape or hears is None or len(hears) != len(mine):
            break
        first = mine if first is None else first
        masks = episode.masks[step].get(agent), donor.masks[step].get(agent)
        if not _same(*masks) or (step and (mine != first)[hears].any()):
            break
        if step and not _same(episode.actions[step - 1].get(agent), donor.actions[step - 1].get(agent)):
            break  # own deeds are in sight, and no knowledge
        differs = differs or bool((mine != its)[~hears].any())
        shown[step] = changed(episode.raw[step][agent], np.where(hears, mine, its))
    return shown if differs else {}


def _others_hear(played: Record, episode: Episode, step: int, agent: str, action: Any) -> bool:
    """Whether others hear something else where an agent takes another action."""
    say = {(t, a): x for t, actions in enumerate(episode.actions[: step + 1]) for a, x in actions.items()}
    arena = played.arena
    one, other = (arena.random(episode.seed, say=s) for s in (say, {**say, (step, agent): action}))
    for hearer, hears in played.interface.hears.items():
        mine, its = one.flat(step + 1, hearer), other.flat(step + 1, hearer)
        if hearer == agent or mine is None or its is None or not len(mine) == len(its) == len(hears):
            continue
        if (mine != its)[hears].any():
            return True
    return False


def _against_nothing(changes: int, tried: int) -> float:
    """How likely a share is, against none in as many unchanged replays, which are the same by their seeds."""
    return float(fisher_exact([[changes, tried - changes], [0, tried]], alternative="greater").pvalue)


# -- heard, and to what end --------------------------------------------------------------------------------------------


def heard(played: Record, follows: bool) -> Check:
    """Positive listening: what an agent has heard is exchanged, and what it does changes."""
    name = "what is heard changes what is done"
    if not follows:
        return Check(HEARD, name, IGNORED, None, fault=False)
    tried: Counter[str] = Counter()
    changes: Counter[str] = Counter()
    for number, episode in enumerate(played.episodes):
        donor = played.donor(number)
        for agent, hears in played.interface.hears.items():
            shown = {
                step: changed(episode.raw[step][agent], values)
                for step in range(len(episode))
                if (values := _foreign(episode, donor, agent, step, hears)) is not None
            }
            if not shown:
                continue
            tried[agent] += 1
            acts = replay(played, episode, agent, shown)
            step = max(acts, default=0)
            changes[agent] += bool(acts) and not _same(acts[step], episode.actions[step][agent])
    if not tried:
        return Check(HEARD, name, "no two episodes in which different things are heard", 1.0, fault=False)
    agent = max(tried, key=lambda a: changes[a] / tried[a])
    share = rate(changes[agent], tried[agent])
    evidence = f"other words in {agent}'s ear {tried[agent]} times: it acts otherwise in {share}"
    p = min(1.0, _against_nothing(changes[agent], tried[agent]) * len(tried))
    return Check(HEARD, name, evidence, p, fault=False)


def _foreign(episode: Episode, donor: Episode, agent: str, step: int, hears: Bools) -> np.ndarray | None:
    """`[F]` what an agent saw with what it heard in another episode; None where that is the same."""
    mine, its = episode.flat(step, agent), donor.flat(min(step, len(donor) - 1), agent)
    if mine is None or its is None or len(mine) != len(its) or len(mine) != len(hears):
        return None
    new = np.where(hears, its, mine)
    return None if (new == mine).all() else new


def matters(played: Record) -> list[Check]:
    """What is gained with one's own words, with those of other episodes, and with none."""
    controls = {"messages of other episodes": _shuffled, "no messages": _silent}
    own = played.returns()
    checks = []
    for name, control in controls.items():
        called = f"return changes with {name}"
        if not any(hears.any() for hears in played.interface.hears.values()):
            checks.append(Check(MATTERS, called, "no message part is known", None, fault=False))
            continue
        other = [
            played.arena.play(played.team, e.seed, hear=control(played, number)).total
            for number, e in enumerate(played.episodes)
        ]
        evidence = f"{_mean(own)} with own words, {_mean(other)} with {name} ({len(own)} games)"
        checks.append(Check(MATTERS, called, evidence, sign_test(own, other), fault=False))
    return checks


def _shuffled(played: Record, number: int) -> Any:
    """Hear what was heard in the same step of another episode."""
    donor = played.donor(number)

    def hear(agent: str, step: int, seen: Any) -> Any:
        hears, its = played.interface.hears.get(agent), donor.flat(min(step, len(donor) - 1), agent)
        return seen if hears is None or its is None else changed(seen, with_message(seen, hears, its))

    return hear


def _silent(played: Record, number: int) -> Any:
    """Hear for ever what is heard before anything is said."""
    del number
    first: dict[str, np.ndarray] = {}

    def hear(agent: str, step: int, seen: Any) -> Any:
        del step
        hears = played.interface.hears.get(agent)
        before = first.setdefault(agent, flat(seen))
        return seen if hears is None else changed(seen, with_message(seen, hears, before))

    return hear


def _mean(values: Sequence[float]) -> str:
    """The mean with its interval over resampled games."""
    column = np.asarray(values, np.float64)[:, None]
    (low,), (high,) = interval_of_means(column, np.random.default_rng(0))
    return f"{column.mean():.3f} [{low:.3f}, {high:.3f}]"


def strangers(arena: Arena, teams: Mapping[str, Team], seeds: Sequence[int]) -> list[Check]:
    """Cross-play: what teams gain with themselves and with each other, the first agent of one and the rest of another.

    Both ways round.
    """
    if len(teams) < 2:
        return [Check(STRANGERS, "return changes with strangers", "one team; name more to play them together", None,
                      fault=False)]  # fmt: skip
    names = [*teams]

    def mixed(one: str, other: str) -> list[float]:
        def team(agent: str, index: int, space: Any) -> Seat:
            return teams[one if index == 0 else other](agent, index, space)

        return [arena.play(team, seed).total for seed in seeds]

    own = {name: mixed(name, name) for name in names}
    checks = []
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            both = np.mean([mixed(one, other), mixed(other, one)], axis=0).tolist()
            selves = np.mean([own[one], own[other]], axis=0).tolist()
            checks.append(
                Check(STRANGERS, f"return changes: {one} with {other}",
                      f"{_mean(selves)} with themselves, {_mean(both)} with each other ({len(both)} games)",
                      sign_test(selves, both), fault=False)
            )  # fmt: skip
    return checks
