"""The item split: two agents bargain in turns over a pool of items that they value differently.

The pool holds 0 to 5 items of each of three types; each agent knows what an item of each type is worth to itself, 0 to
10. In its turn an agent may talk, then proposes what it takes itself, or accepts what the other proposed last, and the
other gets the rest. Without agreement nobody gets anything. The number of turns, 4 to 10, is drawn from a truncated
Poisson distribution with mean 7, and nobody knows it: the last turn would be an ultimatum.
Source: Cao et al. 2018, "Emergent communication through negotiation", section 2.

A turn is one negotiation, in which only the agent whose turn it is speaks: it ends its talk with its own EOT, under
either `closing`. Talk costs nothing and binds nobody; with `show_proposals` off it is all that the other learns, as in
the paper's linguistic channel, and with `channel="off"` proposals are all, as in its proposal channel.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from envs.game import Attribute, BadOption, Bools, Floats, Ints, Outcome, Words

Rewards = Literal["prosocial", "selfish"]
WAIT, ACCEPT, FIRST_PROPOSAL = 0, 1, 2
MEAN_TURNS = 7
MOST_PROPOSALS = 4096


class ItemSplitGame:
    """`n_games` bargains at once; a turn is one joint move, in which only one agent has a choice.

    Moves: wait (for the one whose turn it is not), accept, and `take a b c`: a items of the first type for oneself and
    so on. Features: the pool, what an item is worth to oneself, one's share in the proposal on the table, whether there
    is one, whether it is one's turn, and the turn.

    Each turn's dialogue has its outcome: success is an agreement, the score the sum of both agents' values as a share
    of the largest possible sum. Rewards come with the agreement. `prosocial`: that share, to both; `selfish`: to each
    the value of what it gets, as a share of its value of the whole pool.

    Version history: v1, as `envs.NegotiationEnv`; v0.
    """

    talk: ClassVar[dict[str, Any]] = {"n_tokens": 10, "max_rounds": 6, "opening": "talk"}
    n_agents = 2
    agent_names = ("bargainer_0", "bargainer_1")
    roles: ClassVar[dict[str, tuple[int, ...]]] = {"first": (0,), "second": (1,)}
    words = Words(
        "bargainer", "agreement", "no agreement",
        goal="The bargainers agree on who takes which items; best, each takes those that it values more.",
    )  # fmt: skip

    def __init__(
        self, n_games: int, rng: np.random.Generator, rewards: Rewards = "prosocial", show_proposals: bool = True,
        n_types: int = 3, max_quantity: int = 5, max_value: int = 10, min_turns: int = 4, max_turns: int = 10,
    ) -> None:  # fmt: skip
        """`max_quantity` items of each type at most, each worth at most `max_value`; `min_turns` to `max_turns` turns.

        `show_proposals`: the other sees what is proposed. Raises BadOption.
        """
        if rewards not in get_args(Rewards):
            raise BadOption(f"rewards must be prosocial or selfish, not {rewards!r}")
        for name, value, least, most in (
            ("n_types", n_types, 1, 12), ("max_quantity", max_quantity, 1, 1000), ("max_value", max_value, 1, 1000),
            ("min_turns", min_turns, 2, 1000), ("max_turns", max_turns, min_turns, 1000),
        ):  # fmt: skip
            if not least <= value <= most:
                raise BadOption(f"{name} must be from {least} to {most}, not {value}")
        if (n_proposals := (max_quantity + 1) ** n_types) > MOST_PROPOSALS:
            raise BadOption(
                f"n_types {n_types} and max_quantity {max_quantity} make {n_proposals:,} proposals, and "
                f"{MOST_PROPOSALS:,} are the most"
            )
        self.n_games, self._rng = n_games, rng
        self.rewards, self.show_proposals = rewards, show_proposals
        self.max_quantity, self.max_value, self.max_turns = max_quantity, max_value, max_turns
        self.attributes = tuple(Attribute(f"value of item {k}", max_value + 1) for k in range(n_types))
        self._proposals = np.indices((max_quantity + 1,) * n_types).reshape(n_types, -1).T
        """`[216, 3]` every proposal, the last type counting fastest."""
        self.move_names = ("wait", "accept", *(f"take {' '.join(map(str, p))}" for p in self._proposals.tolist()))
        size = 3 * n_types + 3
        self.feature_bounds: tuple[Floats, Floats] = (np.zeros(size, np.float32), np.ones(size, np.float32))
        self._turns = np.arange(min_turns, max_turns + 1)
        log_weight = [t * math.log(MEAN_TURNS) - math.lgamma(t + 1) for t in self._turns.tolist()]
        weight = np.exp(np.array(log_weight) - max(log_weight))
        self._turns_up_to = np.cumsum(weight / weight.sum())
        self.pool = np.zeros((n_games, n_types), np.int64)
        self.value = np.zeros((n_games, 2, n_types), np.int64)
        """`[B, N, K]` of one item of each type."""
        self.offer = np.zeros((n_games, n_types), np.int64)
        """`[B, K]` what the proposer takes."""
        self.turn = np.zeros(n_games, np.int64)
        self.limit = np.zeros(n_games, np.int64)
        """`[B]` turns that there will be."""

    def reset(self, which: Bools) -> None:
        games = np.flatnonzero(which)
        drawn = self._turns_up_to[:-1].searchsorted(self._rng.random(len(games)), side="right")
        self.limit[games], self.turn[games], self.offer[games] = self._turns[drawn], 0, 0
        while len(games):  # until there is something in the pool that each of them values
            shape = (len(games), self.pool.shape[1])
            self.pool[games] = self._rng.integers(self.max_quantity + 1, size=shape)
            self.value[games] = self._rng.integers(self.max_value + 1, size=(len(games), 2, shape[1]))
            worth = (self.value[games] * self.pool[games, None]).sum(axis=2)
            games = games[(worth == 0).any(axis=1)]

    def _has_turn(self) -> Bools:
        """`[B, N]`"""
        return np.equal((self.turn % 2)[:, None], np.arange(2))

    def _shares(self) -> Ints:
        """`[B, N, K]` what each gets if the proposal on the table is accepted by the one whose turn it is."""
        rest = self.pool - self.offer
        return np.where(self._has_turn()[..., None], rest[:, None], self.offer[:, None])

    def observe(self) -> Floats:
        mine, there = self._has_turn(), self.turn > 0
        seen_offer = there[:, None] & (self.show_proposals | ~mine)
        k = self.pool.shape[1]
        seen = np.empty((self.n_games, 2, 3 * k + 3), np.float32)
        seen[..., :k] = self.pool[:, None] / self.max_quantity
        seen[..., k : 2 * k] = self.value / self.max_value
        seen[..., 2 * k : 3 * k] = np.where(seen_offer[..., None], self._shares(), 0) / self.max_quantity
        seen[..., -3] = there[:, None]
        seen[..., -2] = mine
        seen[..., -1] = (self.turn / self.max_turns)[:, None]
        return seen

    def private(self) -> Floats:
        return self.value.astype(np.float32)

    def legal_moves(self) -> Bools:
        legal = np.zeros((self.n_games, 2, len(self.move_names)), np.bool_)
        mine = self._has_turn()
        legal[..., WAIT] = ~mine
        legal[..., ACCEPT] = mine & (self.turn > 0)[:, None]
        fits = (self._proposals <= self.pool[:, None]).all(axis=2)
        legal[np.arange(self.n_games), self.turn % 2, FIRST_PROPOSAL:] = fits
        return legal

    def active(self) -> Bools:
        return np.ones((self.n_games, 2), np.bool_)

    def may_speak(self) -> Bools:
        return self._has_turn()

    def play(self, moves: Ints, which: Ints) -> Outcome:
        move = moves[np.arange(len(moves)), self.turn[which] % 2]
        agreed = move == ACCEPT
        value, pool = self.value[which], self.pool[which]
        got = (value * self._shares()[which]).sum(axis=2)
        best = (pool * value.max(axis=1)).sum(axis=1)
        score = np.where(agreed, got.sum(axis=1) / best, 0).astype(np.float32)
        if self.rewards == "prosocial":
            rewards = score[:, None].repeat(2, axis=1)
        else:
            rewards = np.where(agreed[:, None], got / (value * pool[:, None]).sum(axis=2), 0).astype(np.float32)
        proposes = which[~agreed]
        self.offer[proposes] = self._proposals[move[~agreed] - FIRST_PROPOSAL]
        self.turn[which] += 1
        over = agreed | (self.turn[which] == self.limit[which])
        ended = over[:, None].repeat(2, axis=1)
        return Outcome(rewards, agreed, ended, np.zeros_like(ended), score)
