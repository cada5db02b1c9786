"""What can be audited: environments and policies by name, and the runs of emcomm."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.spaces import Discrete, Space
from pettingzoo import AECEnv, ParallelEnv
from scipy.stats import binomtest, fisher_exact, norm

from analysis.agents.players import Seen
from analysis.agents.policy_player import PolicyPlayer
from analysis.causal.audit.agents import MATTERS
from analysis.causal.audit.environment import LEAKS
from analysis.causal.audit.interface import Says
from analysis.causal.audit.playing import Arena, CallableSeat, Env, Seat, Team, mask_of
from analysis.causal.audit.verdicts import Check
from analysis.causal.channel_controls import channel_controls
from analysis.causal.role_leaks import role_leaks
from analysis.data.decisions import NotApplicable
from emcomm.config import Config
from emcomm.dialogues import concatenate
from emcomm.errors import BadInput
from emcomm.evaluation import evaluate, play
from emcomm.games import game_class, named
from emcomm.networks.policy import Policy
from emcomm.runs import Run
from emcomm.statistics import Z95, Mean
from emcomm.worlds import declaration, load_policy
from envs import GAMES
from envs.negotiation import decoded
from envs.parallel import NegotiationEnv, parallel_env
from envs.registry import Registry

ENVIRONMENTS: Registry[Any] = Registry("environment", {})
"""Only names of the form `module:Name`; the games of emcomm stand in `GAMES`."""
POLICIES: Registry[Any] = Registry(
    "policy", {}, lambda thing: None if callable(thing) else "it must be a function of an observation, or a class"
)
CONTROLS = ("constant", "shuffled", "tokens_shuffled", "ends_shuffled")
CONTROL_GAMES, FEWEST_GAMES = 2_000, 200


@dataclass(frozen=True)
class Subject:
    """What is audited, and what is known of it beforehand."""

    arena: Arena
    teams: Mapping[str, Team]
    says: Says | None = None
    hears: tuple[str, ...] = ()
    roles: Mapping[str, str] | None = None
    turns: bool = False
    """Whether moves in sight are not looked for: emcomm's talk plays all moves at once, and a game may take turns."""
    runs: Mapping[str, tuple[Policy, Config]] | None = None
    """The networks of runs, by the names of their teams."""


# -- environments and policies by name ---------------------------------------------------------------------------------


def named_environment(name: str, steps: int) -> Arena:
    """The environment behind a registered game or `module:Name`, which is called without arguments.

    Raises BadInput where there is none, it cannot be made, or it is no ParallelEnv.
    """
    if name in GAMES:
        return Arena(partial(parallel_env, GAMES[name]), steps)
    if ":" not in name:
        raise BadInput(f"unknown environment {name!r}: name a run's folder, module:Name, or one of {', '.join(GAMES)}")
    thing = named(ENVIRONMENTS, name)
    if isinstance(thing, ParallelEnv | AECEnv):
        return Arena(partial(copy.deepcopy, thing), steps)
    if inspect.isclass(thing) and hasattr(thing, "legal_moves"):  # a game of arrays, as for --env of a training
        game: Any = thing
        return Arena(partial(parallel_env, game), steps)
    if not callable(thing):
        raise BadInput(f"{name} must be a ParallelEnv or make one, and is a {type(thing).__name__}")
    return Arena(thing, steps)


def named_team(name: str, agents: Sequence[str]) -> Team:
    """Who plays: one `module:Name` for all agents, or one for each, with commas between them.

    Raises BadInput where there is none, or their number is not that of the agents.
    """
    things = [named(POLICIES, part) for part in name.split(",")]
    if len(things) not in (1, len(agents)):
        raise BadInput(
            f"{name} names {len(things)} policies, and there are {len(agents)} agents: give one for all or one for each"
        )

    made: dict[int, CallableSeat] = {}

    def team(agent: str, index: int, space: Space[Any]) -> Seat:
        seat = made.get(index) or CallableSeat(things[index % len(things)], agent, index)
        if seat.resets:  # it may have read its weights from a disk: once is enough
            made[index] = seat
        return seat

    return team


def symbols(given: str) -> Says:
    """`0-5,9` -> whether an action is one of these; raises BadInput for what is no list of actions.

    >>> symbols("0-2,7")("anyone", 7), symbols("0-2")("anyone", 3)
    (True, False)
    """
    try:
        ends = [part.partition("-") for part in given.split(",")]
        known = {a for low, dash, high in ends for a in range(int(low), int(high if dash else low) + 1)}
    except ValueError:
        raise BadInput(f"--says {given}: give actions as numbers and ranges, 0-5,9") from None
    return lambda agent, action: np.ndim(action) == 0 and int(action) in known


def of_environment(
    name: str, policies: Sequence[str], says: str | None = None, hears: Sequence[str] = (), roles: Sequence[str] = (),
    steps: int = 200, turns: bool = False,
) -> Subject:  # fmt: skip
    """An environment with policies. Raises BadInput where something does not fit."""
    arena = named_environment(name, steps)
    if says is not None and not all(isinstance(space, Discrete) for space in arena.spaces.values()):
        raise BadInput(f"--says {says} is for Discrete actions; without it what is talk is found by intervention")
    teams = {policy: named_team(policy, arena.agents) for policy in policies}
    own = declared_by(arena)
    chosen = symbols(says) if says is not None else own.says
    return Subject(
        arena, teams, chosen, tuple(hears) or own.hears, _roles(arena, roles) or own.roles, turns or own.turns
    )


def _roles(arena: Arena, roles: Sequence[str]) -> dict[str, str] | None:
    if not roles:
        return None
    if len(roles) != len(arena.agents):
        raise BadInput(f"--roles names {len(roles)} roles, and there are {len(arena.agents)} agents: one for each")
    return dict(zip(arena.agents, roles, strict=True))


def declared_by(arena: Arena) -> Subject:
    """What an environment of emcomm declares of itself; nothing for others."""
    env = arena.env
    if not isinstance(env, NegotiationEnv):
        return Subject(arena, {})
    eot, declared = env.rules.eot, env.declaration
    roles = {agent: declared.roles[role] for agent, role in zip(arena.agents, declared.role_of, strict=True)}
    hears = tuple(f"observation[{words.start}:{words.stop}]" for words in env.heard)
    if env.view.observation_parts:
        n_agents = len(arena.agents)
        hears = tuple(f"buffer[{i}]" for i in range(env.rules.visible_rounds * n_agents) if i % n_agents)
    return Subject(arena, {}, lambda agent, action: int(action) <= eot, hears, roles, turns=True)


# -- runs --------------------------------------------------------------------------------------------------------------


class NetworkSeat:
    """The network of a run in a seat of one game."""

    def __init__(self, policy: Policy, index: int) -> None:
        self._policy, self._player, self._index = policy, PolicyPlayer(policy), index
        self._player.take_seat(index)

    def begin(self, seed: int) -> None:
        self._player.begin(1, np.random.default_rng([seed, self._index]))

    def act(self, seen: Any, step: int) -> int:
        del step
        mask, sizes = mask_of(seen, None), self._policy.sizes
        assert mask is not None
        features, words = np.split(seen["observation"][None], [sizes.n_features], axis=1)
        return int(self._player.act(Seen(features, decoded(words, sizes.n_agents, sizes.n_symbols), mask[None]))[0])


def network_team(policy: Policy) -> Team:
    """A network that plays for all agents."""

    def team(agent: str, index: int, space: Space[Any]) -> Seat:
        return NetworkSeat(policy, index)

    return team


def of_runs(
    paths: Sequence[Path], policies: Sequence[str], env: str | None, code: Sequence[str], steps: int
) -> Subject:
    """Runs on one game with one talk. Raises BadInput where there is none, or they differ in these."""
    runs = [Run.open(path, env, code) for path in paths]
    config = runs[0].config
    for run in runs[1:]:
        for what in ("env", "game_options", "rules"):
            if getattr(run.config, what) != getattr(config, what):
                raise BadInput(f"{run.path} and {runs[0].path} differ in {what}: strangers need one game and one talk")
    networks = {str(run.path): (load_policy(run)[0], run.config) for run in runs}
    window = max(policy.sizes.window for policy, _ in networks.values())  # each network reads its own newest rounds
    arena = Arena(partial(_run_env, replace(config, rules=replace(config.rules, window=window))), steps)
    teams: dict[str, Team] = {}
    for name, (policy, _) in networks.items():
        try:
            network_team(policy)(arena.agents[0], 0, arena.spaces[arena.agents[0]])
        except NotApplicable as error:
            raise BadInput(f"{name}: {error}") from error
        teams[name] = network_team(policy)
    teams |= {policy: named_team(policy, arena.agents) for policy in policies}
    own = declared_by(arena)
    return Subject(arena, teams, own.says, own.hears, own.roles, own.turns, networks)


def _run_env(config: Config) -> Env:
    return NegotiationEnv(game_class(config.env, config.game_options), config.rules)


def checks_of_runs(subject: Subject, doing: Callable[[str], None] = lambda text: None) -> list[Check]:
    """What a run allows beside: its network with every control of the channel, and who yields told by anything else."""
    checks = []
    for name, (policy, config) in (subject.runs or {}).items():
        prefix = f"{name}: " if len(subject.teams) > 1 else ""
        doing(f"playing {name} with other channels")
        if config.rules.channel != "off":
            checks += _controls(policy, config, prefix)
        checks += _told_roles(policy, config, prefix)
    return checks


def _controls(policy: Policy, config: Config, prefix: str) -> list[Check]:
    games = _control_games(policy, config)
    own, *others = channel_controls(policy, config, games, (config.rules.channel, *CONTROLS))
    checks = []
    for control in others:
        if own.success is None or control.success is None:  # the game declares no success
            what, p = "mean return", _differ(own.returned, control.returned)
            evidence = f"{own.returned}, with {control.channel} {control.returned} ({control.meaning})"
        else:
            table = [[c.successes, c.trials - c.successes] for c in (own.success, control.success)]
            what, p = "success", float(fisher_exact(table).pvalue)
            evidence = f"{own.success}, with {control.channel} {control.success} ({control.meaning})"
        checks.append(Check(MATTERS, f"{prefix}{what} changes with channel {control.channel}", evidence, p, False))
    return checks


def _control_games(policy: Policy, config: Config) -> int:
    """Games for each control: 2 000, or fewer where a game has many joint moves, but at least 200."""
    few = evaluate(policy, config, 32).figures
    return max(FEWEST_GAMES, round(CONTROL_GAMES * few.games / few.joint_moves))


def _differ(one: Mean, other: Mean) -> float:
    """Two-sided p-value of the difference of two means (normal).

    >>> round(_differ(Mean(1.0, 0.8, 1.2, 500), Mean(1.0, 0.8, 1.2, 500)), 3)
    1.0
    >>> _differ(Mean(1.0, 0.9, 1.1, 500), Mean(2.0, 1.9, 2.1, 500)) < 1e-9
    True
    """
    spread = math.hypot(*((mean.high - mean.low) / 2 / Z95 for mean in (one, other)))
    if not spread:
        return 1.0 if one.value == other.value else 0.0
    return float(2 * norm.sf(abs(one.value - other.value) / spread))


def _told_roles(policy: Policy, config: Config, prefix: str) -> list[Check]:
    game = declaration(config)
    if (game.n_agents, len(game.move_names)) != (2, 2):
        return []
    table = concatenate(play(policy, config, 2 * CONTROL_GAMES))
    try:
        found = role_leaks(table, config.rules.n_tokens, config.rules.channel)
    except NotApplicable:
        return []
    checks = []
    for leak in found:
        if leak.source != "all":
            right, asked = leak.accuracy.successes, leak.accuracy.trials
            p = float(binomtest(right, asked, 0.5, alternative="greater").pvalue) if asked else 1.0
            name = f"{prefix}who yields is not told by {leak.source}"
            checks.append(Check(LEAKS, name, f"{leak.accuracy} of {asked} dialogues named right", p))
    return checks
