"""A frozen policy plays: success and mean return with their intervals, sampled and with greedy moves."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

from emcomm.config import Config
from emcomm.dialogues import DialogueTable, concatenate, returns_of
from emcomm.loop import episodes
from emcomm.networks.policy import Policy
from emcomm.rollout import draw_races, players_of, sample
from emcomm.statistics import Mean, Rate, mean_from, rate
from emcomm.worlds import make_negotiation, most_at_once
from envs.game import Bools, Floats, Ints
from envs.negotiation import Dialogues, Observation


def play(
    policy: Policy,
    config: Config,
    games: int,
    greedy_moves: bool = False,
    batch: int = 4096,
    version: int = 0,
    tick: Callable[[int], None] = lambda joint_moves: None,
) -> Iterator[DialogueTable]:
    """The dialogues of exactly `games` games, a part at a time; `tick` as of `emcomm.loop.episodes`.

    Symbols are always sampled: identical agents that talk greedily say the same for ever and never part.
    """
    games_seed, action_seed = np.random.SeedSequence(config.seed, spawn_key=(2**32 - 1,)).spawn(2)
    batch = min(most_at_once(config, batch), games)
    negotiation = make_negotiation(config, batch, games_seed)
    rng = np.random.default_rng(action_seed)
    greedy_from = config.rules.eot + 1 if greedy_moves else None
    rows = batch * negotiation.n_agents
    memory = policy.initial_memory(rows)

    def act(seen: Observation) -> Ints:
        nonlocal memory
        memory = policy.remember(policy.encode(seen), memory)
        mask = torch.from_numpy(seen.mask).to(policy.device).view(rows, -1)
        race = draw_races((rows, negotiation.n_actions), rng).to(policy.device)
        return sample(policy, memory, mask, race, greedy_from).view(batch, -1).cpu().numpy()

    def restart(over: Bools) -> None:
        nonlocal memory
        memory = policy.restart(memory, over)

    def forget(gone: Bools) -> None:
        nonlocal memory
        memory = policy.forget(memory, gone)

    def players(done: Dialogues) -> Ints | None:
        return players_of(policy, memory, done, negotiation.n_agents)

    with torch.no_grad():
        yield from episodes(negotiation, act, restart, games, version, players, forget, tick)


@dataclass(frozen=True)
class Figures:
    """What a number of dialogues amounts to."""

    games: int
    """Games (episodes) that were played."""
    joint_moves: int
    """Joint moves in them, and so dialogues."""
    success: Rate | None
    """Of the games: what the last joint move of each has brought; None where the game declares no success."""
    mean_rounds: float
    cut: float
    """Share of talks cut at `max_rounds`."""
    silent: float
    """Share of decisions without talk."""
    returns: tuple[float, ...] = ()
    """For each agent its mean return: the rewards of an episode, without the cost of talking (reward)."""
    return_low: float = math.nan
    """The 95 % interval of the mean return over all agents (normal, games drawn)."""
    return_high: float = math.nan
    score: float = math.nan
    """Mean score of the last joint moves; the share of successes in a game that has no score, NaN without either."""
    held_out: Rate | None = None
    """Success of the games about what the game held out of training; None where there are none."""

    @property
    def mean_return(self) -> float:
        """Over all agents and games (reward)."""
        return float(np.mean(self.returns)) if self.returns else math.nan

    @property
    def returned(self) -> Mean:
        """The same with its interval."""
        return Mean(self.mean_return, self.return_low, self.return_high, self.games)

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "games": self.games, "joint_moves": self.joint_moves,
            "success": self.success and self.success.value, "success_low": self.success and self.success.low,
            "success_high": self.success and self.success.high,
            "mean_rounds": self.mean_rounds, "cut": self.cut, "silent": self.silent,
            "returns": list(self.returns) if np.isfinite(self.returns).all() else [],
            "mean_return": known(self.mean_return),
            "return_low": known(self.return_low), "return_high": known(self.return_high), "score": known(self.score),
            **({"held_out_games": self.held_out.trials, "held_out_success": self.held_out.value}
               if self.held_out else {}),
        }  # fmt: skip


def known(figure: float) -> float | None:
    """None for what is no finite number: JSON has none."""
    return figure if math.isfinite(figure) else None


class Tally:
    """Adds dialogues up to `Figures`, and keeps ten of them."""

    def __init__(self, held_out: Callable[[Floats], Bools] | None = None) -> None:
        """`held_out` says of what agents know privately whether the game held it out of training."""
        self._held_out = held_out
        self._sums, self._new = np.zeros(8), np.zeros(2, np.int64)
        self._returns = np.zeros(0)
        self._rng = np.random.default_rng(0)
        self._keys = np.zeros(0)
        self._shown: list[DialogueTable] = []
        self._judged, self._scored = True, True

    def add(self, table: DialogueTable) -> None:
        """Count in the dialogues of `table`."""
        keys = np.concatenate([self._keys, self._rng.random(len(table))])
        smallest = np.argsort(keys)[:10]
        self._keys, self._shown = keys[smallest], [concatenate([*self._shown, table])[smallest]]
        returns = returns_of(table)
        if not self._returns.size:
            self._returns = np.zeros(returns.shape[1])
        self._returns += returns.sum(axis=0)
        self._judged, self._scored = self._judged and table.judged, self._scored and table.scored
        self._sums += (
            len(table),
            table.last.sum(),
            table.success[table.last].sum() if table.judged else 0,
            table.n_rounds.sum(),
            table.cut.sum(),
            (table.n_rounds == 0).sum(),
            table.score[table.last].sum(dtype=float) if table.scored else 0,
            np.square(returns.mean(axis=1)).sum(),
        )
        if self._held_out and table.judged:
            new = self._held_out(table.private) & table.last
            self._new += (table.success[new].sum(), new.sum())

    def figures(self) -> Figures:
        """The figures over all dialogues so far."""
        count, episodes, successes, rounds, cut, silent, score, squares = self._sums.tolist()
        share, each = 1 / max(count, 1), 1 / max(episodes, 1)
        returns = self._returns * each
        mean = mean_from(float(returns.mean()) if returns.size else math.nan, squares * each, int(episodes))
        return Figures(
            int(episodes), int(count), rate(int(successes), int(episodes)) if self._judged else None,
            rounds * share, cut * share, silent * share, tuple(returns.tolist()), mean.low, mean.high,
            score * each if self._scored else math.nan,
            rate(*self._new.tolist()) if self._new[1] else None,
        )  # fmt: skip

    def shown(self) -> DialogueTable:
        """Ten of all dialogues so far, drawn at random and always the same ones; all where there are fewer."""
        return concatenate(self._shown)


class Evaluation(NamedTuple):
    """What a frozen policy did."""

    figures: Figures
    shown: DialogueTable
    """Ten dialogues drawn at random from all."""


def evaluate(
    policy: Policy, config: Config, games: int, greedy_moves: bool = False, version: int = 0,
    keep: Callable[[DialogueTable], None] = lambda table: None,
    tick: Callable[[int], None] = lambda joint_moves: None,
) -> Evaluation:  # fmt: skip
    """Play `games` games and add them up; every part of the dialogues is also handed to `keep`.

    `tick` is told the joint moves played so far.
    """
    held_out = getattr(make_negotiation(config, 1, np.random.SeedSequence(0)).game, "held_out", None)
    tally = Tally(held_out if callable(held_out) else None)
    for table in play(policy, config, games, greedy_moves, version=version, tick=tick):
        keep(table)
        tally.add(table)
    return Evaluation(tally.figures(), tally.shown())
