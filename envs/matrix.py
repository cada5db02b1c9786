"""The matrix game: two agents with new payoffs in every episode say one message each, then move at the same moment.

Both see both payoff matrices, so nothing needs to be told: talk can announce one's move, and hearing can follow it.
Source: Lowe et al. 2019, "On the pitfalls of measuring emergent communication"; there the payoffs of the two agents are
independent. Here their correlation is an option, from opposed interests (-1) to common ones (1).

One message each, a single token, is the game's own default of talk; with `speaking="sequential"` the second
hears the first before it speaks.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, get_args

import numpy as np

from envs.game import BadOption, Bools, Floats, Ints, Outcome, Words

Speakers = Literal["both", "one"]


class MatrixGame:
    """`n_games` pairs at once; one move each, then the episode ends.

    Payoffs are normal with mean 0 and variance 1. An agent is paid its own one. Features: the agent's payoffs, then the
    other's, each with the agent's own moves as rows. They succeed with the joint move of the largest sum of payoffs;
    the score is 0 for the smallest sum and 1 for the largest. Where all sums are equal, as with opposed interests,
    every joint move is as good as any: success, score 1.

    Version history: v1, as `envs.NegotiationEnv`; v0.
    """

    talk: ClassVar[dict[str, Any]] = {"max_rounds": 1, "opening": "talk", "closing": "fixed"}
    n_agents = 2
    words = Words(
        "player", "best joint move", "another joint move",
        goal="The players succeed when they make the joint move whose payoffs add up to most.",
    )  # fmt: skip

    def __init__(
        self, n_games: int, rng: np.random.Generator, n_moves: int = 2, alignment: float = 0.0,
        speakers: Speakers = "both",
    ) -> None:  # fmt: skip
        """`alignment` is the correlation of the two agents' payoffs: 1 common interest, 0 independent, -1 opposed.

        `speakers`: both have a message, or one, who then has a role of its own. Raises BadOption.
        """
        if not 2 <= n_moves <= 32:
            raise BadOption(f"n_moves must be from 2 to 32, not {n_moves}")
        if not -1 <= alignment <= 1:
            raise BadOption(f"alignment is a correlation from -1 to 1, not {alignment}")
        if speakers not in get_args(Speakers):
            raise BadOption(f"speakers must be both or one, not {speakers!r}")
        self.n_games, self._rng, self.alignment = n_games, rng, alignment
        self.move_names = tuple(f"move {m}" for m in range(n_moves))
        most = np.full(2 * n_moves**2, np.inf, np.float32)
        self.feature_bounds: tuple[Floats, Floats] = (-most, most)
        self.payoffs = np.zeros((n_games, 2, n_moves, n_moves), np.float32)
        """`[B, N, M, M]` of each agent, by the moves of agent 0 and agent 1."""
        self._speaks = np.ones((n_games, 2), np.bool_)
        if speakers == "one":
            self.roles = {"speaker": (0,), "listener": (1,)}
            self._speaks[:, 1] = False

    def reset(self, which: Bools) -> None:
        drawn = self._rng.standard_normal((int(which.sum()), *self.payoffs.shape[1:]), dtype=np.float32)
        drawn[:, 1] = self.alignment * drawn[:, 0] + np.float32(np.sqrt(1 - self.alignment**2)) * drawn[:, 1]
        self.payoffs[which] = drawn

    def observe(self) -> Floats:
        second = self.payoffs[:, ::-1].swapaxes(2, 3)
        seen = np.stack([self.payoffs, second], axis=1)
        return seen.reshape(self.n_games, 2, -1)

    def private(self) -> Floats:
        return np.zeros((self.n_games, 2, 0), np.float32)

    def legal_moves(self) -> Bools:
        return np.ones((self.n_games, 2, len(self.move_names)), np.bool_)

    def active(self) -> Bools:
        return np.ones((self.n_games, 2), np.bool_)

    def may_speak(self) -> Bools:
        return self._speaks

    def play(self, moves: Ints, which: Ints) -> Outcome:
        payoffs = self.payoffs[which]
        total = payoffs.sum(axis=1)
        cell = (np.arange(len(moves)), moves[:, 0], moves[:, 1])
        least, most = total.min(axis=(1, 2)), total.max(axis=(1, 2))
        span = most - least
        score = np.divide(total[cell] - least, span, out=np.ones_like(span), where=span > 0)
        ended = np.ones((len(moves), 2), np.bool_)
        rewards = np.stack([payoffs[:, i][cell] for i in (0, 1)], axis=1)
        return Outcome(rewards, total[cell] == most, ended, ~ended, score)
