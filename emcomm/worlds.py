"""From a configuration to the objects it names: games with talk, policy, device."""

from __future__ import annotations

import inspect
import os
from dataclasses import replace

import numpy as np
import torch

from emcomm.algorithms import ALGORITHMS, Algorithm
from emcomm.checkpoints import Checkpoint, load_weights
from emcomm.cli import NO_SUCCESS
from emcomm.config import Config
from emcomm.errors import BadInput
from emcomm.games import build, game_class, named
from emcomm.networks.policy import Cast, Policy, Population
from emcomm.networks.torsos import TORSOS, Sizes
from emcomm.runs import Run
from envs.capacity import more_than_can_be_told
from envs.channels import CHANNELS
from envs.game import BadGame, Declaration
from envs.negotiation import Negotiation, TalkRules


def make_algorithm(config: Config) -> Algorithm:
    """What turns trajectories into gradients; raises BadInput where it is unknown."""
    return named(ALGORITHMS, config.algorithm)


def make_negotiation(config: Config, n_games: int, seed: np.random.SeedSequence, training: bool = False) -> Negotiation:
    """`n_games` games with talk, all their randomness from `seed`. Raises BadInput for what is no game.

    In `training` a game that holds meanings out draws only the others, and the channel must carry token gradients.
    """
    options = config.game_options
    if training and "meanings" in options:  # which the evaluation would play with, too
        raise BadInput("a policy is trained on the training meanings: leave out meanings, and give held_out=0 for all")
    if training and config.token_gradient and config.rules.channel not in ("open", "off"):
        raise BadInput(
            f"--token-gradient trains on a channel that carries what is said, open, not on {config.rules.channel}: "
            "leave out one of the two"
        )
    if training and "meanings" in inspect.signature(game_class(config.env, options)).parameters:
        options = {"meanings": "training", **options}
    make_game, channel = game_class(config.env, options), named(CHANNELS, config.rules.channel)
    rules = network_rules(config)
    rng = np.random.default_rng(seed)
    game = build(make_game, config.env, n_games, rng)
    try:
        return Negotiation(game, rules, rng, channel)
    except BadGame as error:
        raise BadInput(f"the declarations of {config.env} contradict each other: {error}") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise BadInput(f"{config.env} cannot be built as a game like envs.game.Game ({error})") from error


def network_rules(config: Config) -> TalkRules:
    """The rules of talk with the rounds that the networks of a run read.

    Where `window` does not say how many: the newest, if all of them remember the others or see no talk; else all.
    Raises BadInput where a torso is unknown.
    """
    rules = config.rules
    if rules.window is None:
        torsos = [named(TORSOS, name) for name in config.torsos]
        if all(torso.recurrent or not torso.sees_talk for torso in torsos):
            return replace(rules, window=1)
    return rules


def declaration(config: Config) -> Declaration:
    """What the game declares; raises BadInput for what is no game."""
    return make_negotiation(config, 1, np.random.SeedSequence(0)).declaration


def most_at_once(config: Config, games: int) -> int:
    """`games`, or as many as the game lets an evaluation play at once."""
    make_game = game_class(config.env, config.game_options)
    return min(games, getattr(getattr(make_game, "func", make_game), "most_at_once", games))


def notes_of_game(config: Config) -> list[str]:
    """What a person should know of how the game is played in a training, one line each (`notes` of the game)."""
    negotiation = make_negotiation(config, 1, np.random.SeedSequence(0), training=True)
    undeclared = [] if negotiation.declaration.has_success else [NO_SUCCESS]
    return [*map(str, getattr(negotiation.game, "notes", ())), *undeclared]


def bounds_of_talk(config: Config) -> list[str]:
    """A sentence for each role that knows more than it can tell in the allowed rounds; allowed, but to be said."""
    if not declaration(config).attributes:
        return []
    return more_than_can_be_told(make_negotiation(config, most_at_once(config, 64), np.random.SeedSequence(0)))


def make_policy(config: Config, device: torch.device | None = None) -> Policy:
    """A new policy, its weights drawn from the configuration's seed. Raises BadInput where the game does not fit it."""
    negotiation = make_negotiation(config, 1, np.random.SeedSequence(0))
    declaration, torsos = negotiation.declaration, [named(TORSOS, name) for name in config.torsos]
    if config.population > 1 and negotiation.n_agents != 2:
        raise BadInput(f"a population plays in pairs: {config.env} has {negotiation.n_agents} agents, not 2")
    if config.population > 1 and len(declaration.roles) > 1:
        raise BadInput(
            f"in a population everyone plays every part, and {config.env} has {len(declaration.roles)} roles"
        )
    most = np.log(len(declaration.move_names))
    if config.move_entropy_floor > most:
        raise BadInput(
            f"--move-entropy-floor must be at most {most:.3f}, the entropy of the {len(declaration.move_names)} moves "
            f"of {config.env}, not {config.move_entropy_floor}"
        )
    owners = {"by-role": declaration.role_of, "separate": tuple(range(negotiation.n_agents))}.get(config.policies)
    count = max(owners) + 1 if owners else config.population
    if len(torsos) not in (1, count):
        raise BadInput(
            f"--torso {config.torso} names {len(torsos)} torsos, and with --policies {config.policies} "
            f"there are {count} networks: name one, or one for each"
        )
    torsos = torsos * count if len(torsos) == 1 else torsos
    sizes = Sizes.of(negotiation, config.hidden_size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        try:
            members = [Policy(sizes, torso) for torso in torsos]
            policy = Cast(members, owners) if owners else members[0] if len(members) == 1 else Population(members)
        except (TypeError, ValueError, AttributeError, NotImplementedError, RuntimeError) as error:
            raise BadInput(f"the torso {config.torso} cannot be built: {error}") from error
    return policy.to(device or torch.device("cpu"))


GPU_PROCESS = 2**30
"""What a process takes of a GPU before it computes anything, rounded up: 0.8 GiB with an H200 (bytes)."""


def place(config: Config, processes: int = 1) -> tuple[str, str | None]:
    """The device for `processes` of this machine that each compute a gradient, and what a person should know of it.

    `auto` is a GPU where there is one, it can be used and they fit into it; else the CPU. Raises BadInput where a
    device cannot be used or they do not fit into its memory, instead of being killed later.
    """
    name = config.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        _require_memory(config, choose_device(name), processes)
    except BadInput as refused:
        if config.device != "auto" or name == "cpu":
            raise
        _require_memory(config, torch.device("cpu"), processes)
        return "cpu", f"on the CPU, although there is a GPU: {refused}"
    return name, None


def _require_memory(config: Config, device: torch.device, processes: int) -> None:
    negotiation = make_negotiation(config, 1, np.random.SeedSequence(0))
    sizes = Sizes.of(negotiation, config.hidden_size)
    inputs = sizes.n_inputs
    weights = 3 * sizes.hidden_size * (inputs + sizes.hidden_size) * config.population
    rows = config.games * sizes.n_agents * (config.unroll + 1)
    numbers = 6 * weights + rows * (8 * sizes.hidden_size + inputs + 2 * sizes.n_actions)  # what a gradient needs
    on_gpu = device.type == "cuda"
    needed = (4 * numbers + GPU_PROCESS * on_gpu) * processes
    there = free_on_gpu(device) if on_gpu else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there:
        raise BadInput(
            f"--games {config.games:,}, --unroll {config.unroll:,} and --hidden-size {config.hidden_size:,} need about "
            f"{needed / 2**30:,.0f} GiB in {processes} processes, and here are {there / 2**30:,.0f}"
            + " free on the GPU"
            * on_gpu
        )


def free_on_gpu(device: torch.device) -> int:
    """Memory that nobody has taken yet: of this GPU, or of all where none is named (bytes)."""
    indices = range(torch.cuda.device_count()) if device.index is None else [device.index]
    return sum(torch.cuda.mem_get_info(index)[0] for index in indices)


def load_policy(
    run: Run, config: Config | None = None, device: torch.device | None = None, version: int | None = None
) -> tuple[Policy, Checkpoint]:
    """The newest policy of a run, on `device` (default: the CPU), and the checkpoint behind it.

    `config` may change what the policy does not depend on; `version` asks for the policy after so many updates. Raises
    BadInput where there is none, it is damaged, or it does not fit.
    """
    checkpoint = run.newest() if version is None else run.checkpoint(version)
    policy = make_policy(config or run.config, device)
    load_weights(policy, checkpoint.part("policy"), run.path)
    return policy.eval(), checkpoint


def choose_device(name: str) -> torch.device:
    """The device called `name`; `auto` takes a GPU where there is one that can be used. Raises BadInput where the
    device cannot be used."""
    if name == "auto":
        try:
            return choose_device("cuda") if torch.cuda.is_available() else torch.device("cpu")
        except BadInput:  # filled by somebody else, or too old for this torch
            return torch.device("cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # `meta` is a device whose tensors have no values
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = str(error).splitlines()[0]
        raise BadInput(f"the device {name!r} cannot be used here ({reason}): try --device cpu or auto") from error
    return device
