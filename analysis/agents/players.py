"""Agents of any kind, playing through the real environment: one player per seat, each with a memory of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from analysis.automata.protocol_machine import ProtocolMachine
from analysis.data.decisions import NO_SUCCESS, NotApplicable
from emcomm.dialogues import DialogueTable, concatenate
from emcomm.loop import episodes, numbered
from emcomm.statistics import Rate, rate
from envs.crossing import CrossingGame
from envs.game import Bools, Floats, Game, Ints
from envs.negotiation import SILENT, Negotiation, Observation, TalkRules

MakeGame = Callable[[int, np.random.Generator], Game]


class Seen(NamedTuple):
    """What one seat sees in `B` games."""

    features: Floats
    """`[B, F]`"""
    buffer: Ints
    """int8 `[B, W, N]` own column first."""
    mask: Bools
    """`[B, A]`"""


class Player(Protocol):
    """One seat of `B` games."""

    def begin(self, games: int, rng: np.random.Generator) -> None:
        """Take the seat in `games` games."""

    def act(self, seen: Seen) -> Ints:
        """`[B]` an action for every game."""

    def forget(self, over: Bools) -> None:
        """The games marked in `over` `[B]` have started anew."""


class MachinePlayer:
    """A `ProtocolMachine` in a seat. It hears whole rounds, so it needs simultaneous speaking."""

    def __init__(self, machine: ProtocolMachine) -> None:
        self.machine = machine

    def begin(self, games: int, rng: np.random.Generator) -> None:
        self._rng = rng
        self._state: NDArray[np.int64] = np.full(games, self.machine.automaton.initial)

    def act(self, seen: Seen) -> Ints:
        newest = seen.buffer[:, -1].astype(np.int64)
        moved = self.machine.automaton.transition[self._state, newest[:, 0], newest[:, 1]]
        nothing_said = (newest == SILENT).all(axis=1)
        self._state = np.where(nothing_said, self.machine.automaton.initial, moved)
        return draw(np.where(seen.mask, self.machine.emission[self._state], 0), self._rng)

    def forget(self, over: Bools) -> None:
        self._state[over] = self.machine.automaton.initial


def draw(weights: NDArray[np.float64], rng: np.random.Generator) -> Ints:
    """`[B]` one column per row of `weights` `[B, A]`, in proportion; a row may sum to anything above 0."""
    total = np.cumsum(weights, axis=1)
    return (total <= rng.random((len(weights), 1)) * total[:, -1:]).sum(axis=1).clip(max=weights.shape[1] - 1)


def play_games(
    players: Sequence[Player],
    rules: TalkRules,
    games: int,
    seed: int = 0,
    make_game: MakeGame = CrossingGame,
    batch: int = 2048,
) -> DialogueTable:
    """The dialogues of the first `games` games to start, player i in seat i.

    Parameters
    ----------
    players : sequence of Player
        One for each agent.
    rules : TalkRules
        With simultaneous speaking; others raise ValueError.
    games, seed : int
        How many games, and what fixes their randomness.
    make_game : callable
        The game.
    batch : int
        Games that are stepped at once.

    Returns
    -------
    DialogueTable
        The dialogues.

    Examples
    --------
    `analysis.play_games([analysis.PolicyPlayer(policy)] * 2, rules, 1_000)`
    """
    if rules.speaking != "simultaneous":
        raise ValueError("players hear whole rounds: they need simultaneous speaking")
    world, *seats = (np.random.default_rng(s) for s in np.random.SeedSequence(seed).spawn(len(players) + 1))
    batch = min(batch, games)
    negotiation = Negotiation(make_game(batch, world), rules, world)
    for i, (player, rng) in enumerate(zip(players, seats, strict=True)):
        if (take_seat := getattr(player, "take_seat", None)) is not None:
            take_seat(i)
        player.begin(batch, rng)

    def act(seen: Observation) -> Ints:
        views = (Seen(seen.features[:, i], seen.buffer[:, i], seen.mask[:, i]) for i in range(len(players)))
        return np.stack([player.act(view) for player, view in zip(players, views, strict=True)], axis=1)

    def restart(over: Bools) -> None:
        for player in players:
            player.forget(over)

    def forget(gone: Bools) -> None:
        for player, of_seat in zip(players, gone.T, strict=True):
            player.forget(of_seat)

    return concatenate(numbered(episodes(negotiation, act, restart, games, forget=forget)))


def success_of(table: DialogueTable) -> Rate:
    """The share of episodes that succeeded, as their last dialogues say, with its Wilson interval."""
    if not table.judged:
        raise NotApplicable(NO_SUCCESS)
    return rate(int(table.success[table.last].sum()), int(table.last.sum()))
