"""All settings of a run, each declared once with its help and unit.

A `Config` travels as one object from the command line to config.json to the Ray workers.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import shlex
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from emcomm import files
from emcomm.errors import BadInput
from emcomm.schemas import LONGEST_TEXT, RunFile, converted
from envs import GAMES
from envs.negotiation import TalkRules
from envs.registry import outside

CONFIG_VERSION = 6
"""6: token_gradient, token_entropy; 5: window None, v1; 4: game_options;
3: move_entropy_floor; 2: torso (1: memory), policies, algorithm, closing."""
_MOST = {"episodes": 2**53, "evaluation_games": 2**53, "workers": 2**15, "in_flight": 2**15, "games": 2**20}
"""What is larger would fill the memory, or a column of the log."""


READ_NEWEST = {"gru", "lstm", "none"}
"""The torsos of emcomm that read one round of the buffer where `window` is None (`emcomm.worlds.network_rules`)."""

GameOptions = dict[str, bool | int | float | str | None]
"""Settings of a game's own by name: the arguments of its constructor behind `n_games` and `rng`."""


@dataclass(frozen=True)
class Config:
    """Everything needed to repeat a run."""

    env: str = "emcomm/crossing-v1"
    """The game: a registered id, or module:Name of a class like envs.game.Game."""
    game_options: GameOptions = field(default_factory=dict)
    """Settings of the game's own, name=value; its class says which there are."""
    rules: TalkRules = field(default_factory=TalkRules)
    seed: int = 0
    """Fixes all randomness of the run, bit for bit with --workers 0 on the CPU of one machine."""
    episodes: int = 1_000_000
    """Length of the training (episodes)."""
    workers: int = os.cpu_count() or 1
    """Workers that play and compute gradients, in processes on Ray; 0 trains in this process, without Ray (workers)."""
    in_flight: int = 0
    """Gradients under way at the same time; fewer keep staleness low. 0: one for each core in use (gradients)."""
    games: int = 128
    """Games that a worker steps at once (games)."""
    unroll: int = 16
    """Steps of each game behind one gradient (steps)."""
    hidden_size: int = 64
    """Width of the network's memory (units)."""
    torso: str = "gru"
    """The middle of the network. gru, lstm: recurrent; window: only the visible rounds of the buffer (see --window);
    transformer: attention over them; none: not even those; or module:Name of an emcomm.networks.torsos.Torso. With
    --policies by-role or separate also several, gru,window: one for each role or agent."""
    policies: Literal["shared", "by-role", "separate"] = "shared"
    """shared: one network plays for all agents; by-role: one for each role; separate: one for each agent."""
    algorithm: str = "a3c"
    """From trajectory to gradient: a3c, ppo, reinforce; or module:Name of a function like emcomm.algorithms.a3c.a3c."""
    token_gradient: bool = False
    """Whether the loss of who hears a token also teaches who said it: in training the gradient passes through the
    tokens (straight-through Gumbel-softmax), as in DIAL and CommNet; what is said and heard stays whole tokens."""
    population: int = 1
    """Networks that play each other, two different ones in each game; 1: both agents share one (networks)."""
    learning_rate: float = 3e-3
    """Step size at the start; it falls linearly to 0 with the episodes."""
    discount: float = 0.99
    """γ, per step; values below 1 slightly favour short dialogues."""
    trace: float = 0.8
    """λ of the λ-returns of a3c and ppo: 1 is the n-step return, 0 bootstraps at every step."""
    entropy_bonus: float = 0.01
    """Weight of the policy's entropy at the start (reward per nat)."""
    entropy_until: float = 0.5
    """Share of the episodes over which the entropy bonus falls linearly to its last value (0 to 1)."""
    entropy_final: float = 0.0
    """Weight of the policy's entropy from then on (reward per nat)."""
    token_entropy: float = 1.0
    """Weight in the entropy bonus of the steps in which agents can only talk, beside that of the others, 1: with little
    of it tokens soon mean something, while moves are still explored. With --opening free the first round of a talk
    counts as a move (from 0 to 1)."""
    move_entropy_floor: float = 0.0
    """Below this entropy of the moves, over all agents and games together, the loss grows by ten times what is
    missing; it keeps agents from all settling on one move. Who has but one move counts, too (nats; 0: no floor)."""
    cost_until: float = 0.0
    """With --round-cost: share of the episodes over which it rises linearly from 0 to its value (0 to 1)."""
    value_weight: float = 0.5
    """Weight of the critic's error in the loss."""
    max_grad_norm: float = 1.0
    """Longer gradients are shortened to this norm."""
    checkpoint_every: float = 10.0
    """Time between checkpoints, and so the most play that a killed process loses (seconds)."""
    evaluation_games: int = 100_000
    """Games the frozen policy plays after training (games)."""
    device: str = "auto"
    """auto takes a GPU where there is one and the workers fit into it; or cpu, cuda, cuda:1 …"""

    def __post_init__(self) -> None:
        for name, value in self.game_options.items():
            if not name.isidentifier():
                raise ValueError(f"game_options are name=value, and {name!r} is no name")
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"game_options: {name} must be finite, not {value}")
            if isinstance(value, str) and len(value) > LONGEST_TEXT:
                raise ValueError(f"game_options: {name} must have at most {LONGEST_TEXT:,} characters")
        for name in ("episodes", "games", "unroll", "hidden_size", "evaluation_games", "population"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in (
            "seed", "workers", "in_flight", "entropy_bonus", "entropy_final", "value_weight", "move_entropy_floor",
        ):  # fmt: skip
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, not {getattr(self, name)}")
        for name in ("learning_rate", "max_grad_norm", "checkpoint_every"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, not {getattr(self, name)}")
        for name in ("discount", "trace", "entropy_until", "token_entropy", "cost_until"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, not {getattr(self, name)}")
        if self.algorithm == "reinforce" and (self.trace, self.value_weight) != (Config.trace, Config.value_weight):
            raise ValueError("algorithm reinforce has no critic: leave out trace and value_weight")
        for name, value in vars(self).items():
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{name} must be finite, not {value}")
        for name, most in _MOST.items():
            if getattr(self, name) > most:
                raise ValueError(f"{name} must be at most {most:,}, not {getattr(self, name):,}")
        if self.games * self.unroll > 2**24:
            raise ValueError(f"games times unroll must be at most {2**24}, not {self.games * self.unroll}")
        if self.population * self.hidden_size**2 > 2**24:
            raise ValueError(f"population times hidden_size² must be at most {2**24}: it would fill the memory")
        if self.seed >= 2**63:
            raise ValueError(f"seed must be below 2**63, not {self.seed}")
        if self.policies not in ("shared", "by-role", "separate"):
            raise ValueError(f"policies must be shared, by-role or separate, not {self.policies!r}")
        if self.policies == "shared" and len(self.torsos) > 1:
            raise ValueError(f"torso {self.torso} names {len(self.torsos)} torsos: give policies by-role or separate")
        if self.policies != "shared" and self.population > 1:
            raise ValueError("a population is of networks that each play for all agents: it goes with policies shared")

    @property
    def torsos(self) -> tuple[str, ...]:
        """The names in `torso`: one for all networks, or one for each."""
        return tuple(self.torso.split(","))

    def entropy_bonus_at(self, episodes: int) -> float:
        """The weight of the entropy after `episodes` episodes."""
        end = self.entropy_until * self.episodes
        left = max(0.0, 1 - episodes / end) if end else 0.0
        return self.entropy_final + (self.entropy_bonus - self.entropy_final) * left

    def round_cost_at(self, episodes: int) -> float:
        """The price of a round after `episodes` episodes. A full cost from the start prevents talk: it ramps up."""
        rise = self.cost_until * self.episodes
        return self.rules.round_cost * (min(1.0, episodes / rise) if rise else 1.0)

    def learning_rate_at(self, episodes: int) -> float:
        """The step size after `episodes` episodes."""
        return self.learning_rate * max(0.0, 1 - episodes / self.episodes)

    def to_json(self) -> dict[str, Any]:
        """As nested dictionaries of plain values."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, saved: dict[str, Any]) -> Config:
        """The inverse of `to_json`; raises BadInput for a setting that is missing, unknown, or of a wrong value."""
        try:
            _require_names(saved, cls)
            _require_names(saved["rules"], TalkRules)
            with contextlib.suppress(TypeError, AttributeError):  # names a value out of range better than the types do
                cls(**{**saved, "rules": TalkRules(**saved["rules"])})
            return converted(saved, cls)
        except ValueError as error:
            raise BadInput(f"not a configuration of this version of emcomm: {error}") from error


def upgraded(saved: dict[str, Any], version: int) -> dict[str, Any]:
    """The settings in a config.json of an older `version`; what was added is as it was before there was a choice."""
    if version >= CONFIG_VERSION or not isinstance(saved.get("rules"), dict):
        return saved
    saved = {"token_gradient": False, "token_entropy": 1.0, **saved}
    if version == 5:
        return saved
    saved = {"move_entropy_floor": 0.0, "game_options": {}, **saved}
    if version < 2:
        renamed = {("torso" if name == "memory" else name): value for name, value in saved.items()}
        saved = {"policies": "shared", "algorithm": "a3c", **renamed, "rules": {"closing": "mutual", **saved["rules"]}}
    if isinstance(env := saved.get("env"), str):
        saved["env"] = GAMES.present(env)
    reads_newest = isinstance(torso := saved.get("torso"), str) and {*torso.split(",")} <= READ_NEWEST
    if reads_newest and saved["rules"].get("window") == 1:  # what was the default, and is what None means for them
        saved["rules"] = {**saved["rules"], "window": None}
    return saved


def _require_names(saved: Any, settings: Any) -> None:
    """Raise ValueError where the settings that were saved are not those that there are."""
    names = {field.name for field in dataclasses.fields(settings)}
    if not isinstance(saved, dict):
        raise ValueError("its settings are no object")
    for name in names - saved.keys():
        raise ValueError(f"the setting {name!r} is missing")
    for name in saved.keys() - names:
        raise ValueError(f"there is no setting {name!r}")


def read_run_file(path: Path) -> RunFile:
    """The config.json of the run in `path`; raises BadInput where it is missing, damaged or newer."""
    try:
        saved = files.read_as(path / "config.json", path, RunFile)
    except (FileNotFoundError, NotADirectoryError) as error:
        if path.is_dir():
            raise BadInput(f"{path} is not a run: it has no config.json") from error
        raise files.no_folder(path, "run folder") from error
    if saved.version > CONFIG_VERSION:
        raise BadInput(f"{path} was written by a newer emcomm: upgrade emcomm to open it")
    return saved


def require_named(path: Path, name: str, named: Collection[str | None], flag: str = "--code") -> None:
    """Raise BadInput where `name`, used by the run in `path`, is code outside emcomm and not among those `named`.

    Nothing is imported here. `flag` is how the user names it.
    """
    if outside(name) and name not in named:
        raise BadInput(
            f"{path} uses {name}, which is code outside emcomm and is run only if you name it: "
            f"{flag} {shlex.quote(name)}"
        )


def named_code(config: Config) -> tuple[str, ...]:
    """The names in a configuration that may stand for code, besides that of the game."""
    return (config.rules.channel, config.algorithm, *config.torsos)


def naming_of(config: Config) -> str:
    """`naming` of a run's own configuration."""
    return naming(config.env, named_code(config))


def naming(env: str | None, code: Collection[str]) -> str:
    """What a command needs besides the run to execute its code outside emcomm; empty where it has none.

    >>> naming("my.games:Chess", ("open", "my.games:Whisper", "a3c", "gru"))
    ' --env my.games:Chess --code my.games:Whisper'
    >>> naming("emcomm/line-v1", ("open", "a3c", "gru"))
    ''
    """
    game = f" --env {shlex.quote(env)}" if env and outside(env) else ""
    others = shlex.join(dict.fromkeys(name for name in code if outside(name)))
    return game + (f" --code {others}" if others else "")


def read_config(path: Path) -> Config:
    """The configuration of the run in `path`; raises BadInput as `read_run_file`, and for one that is incomplete."""
    saved = read_run_file(path)
    return Config.from_json(upgraded(saved.config, saved.version))


PRESETS: dict[str, Config] = {
    "talk": Config(),
    # The price comes once there is a talk to shorten: from the start it often ends all talk. The bonus stays longer:
    # a round is saved only if both agents try EOT in it at the same time.
    "terse": Config(rules=TalkRules(round_cost=0.05), cost_until=0.1, entropy_bonus=0.02, entropy_until=0.7),
    "silent": Config(rules=TalkRules(channel="off")),
}
"""Named starting points for the command line: the talk's game, a price on talking, and the baseline without talk."""
