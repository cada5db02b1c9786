"""The protocol of a batched game: reset some, observe all, play moves.

A game is the rules *without* talk; `envs.negotiation` puts the talk around it. Many games are stepped at once,
as arrays whose axes are `B` (game), `N` (agent), `M` (move), `F` (feature) and `P` (private feature).
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Ints = NDArray[np.integer]
Floats = NDArray[np.float32]


class Outcome(NamedTuple):
    """What the joint moves of `D` games brought."""

    rewards: Floats
    """`[D, N]` reward of the move, without any cost of talking."""
    success: Bools
    """`[D]` whether the joint move did what the game asks for."""
    terminated: Bools
    """`[D, N]` the agent has reached an end of the game."""
    truncated: Bools
    """`[D, N]` the agent was stopped by a limit outside the game."""


class Game(Protocol):
    """`B` games of `N` agents, stepped at once. Constructed as `Game(n_games, rng, **options)`.

    A game may also have `agent_names: tuple[str, ...]`; where it has none, they are `agent_0`, `agent_1`, …

    A run that goes on after an interruption needs the games in progress. By default all arrays among the attributes of
    a game are saved, its numbers, strings and generators too (`envs.saving`). A game that holds something else says how
    it is saved: `state() -> dict[str, np.ndarray]`, and `restore(state)`.
    """

    n_games: int
    n_agents: int
    move_names: tuple[str, ...]
    """The `M` regular actions."""
    feature_bounds: tuple[Floats, Floats]
    """`[F]`, `[F]`: the lowest and highest value of each feature."""

    def reset(self, which: Bools) -> None:
        """Start anew the games marked in `which` `[B]`."""

    def observe(self) -> Floats:
        """`[B, N, F]` features; swapping the agents of a game swaps the rows and changes nothing else."""

    def private(self) -> Floats:
        """`[B, N, P]` what only that agent knows (a part of its features); `P` may be 0."""

    def legal_moves(self) -> Bools:
        """`[B, N, M]`; every agent has at least one."""

    def active(self) -> Bools:
        """`[B, N]` agents that still take part. The others neither talk nor move."""

    def play(self, moves: Ints, which: Ints) -> Outcome:
        """Play `moves` `[D, N]` in the `D` games with indices `which`; the others stand still.

        The move of an agent that is not active is -1.
        """
