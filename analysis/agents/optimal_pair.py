"""What identical, anonymous agents can reach at best in a game for two with two moves that must differ.

While nothing has told the agents apart they draw their actions from one distribution, whatever protocol they use: they
are *tied*. The first difference between what they did unties them, an antisymmetric rule then says who yields, and one
EOT/EOT round closes the talk. All that can be chosen is the distribution in each tied round. It splits its mass over
choices, each of which keeps the agents tied with probability (mass)², so that the loss to be minimised is

    sum over choices of weight × mass²,    hence    mass ∝ 1 / weight    and    least loss = 1 / sum(1 / weight),

where the weight of a choice is what being untied is worth more than both having chosen the same.

`optimum` is this recursion; `optimise` finds the same numbers without it, by gradient ascent on the tree of all joint
actions; `OptimalPlayer` reaches them in the engine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from analysis.agents.players import Seen, draw
from envs.game import Bools, Ints
from envs.negotiation import SILENT, TalkRules

Weights = NDArray[np.float64]


@dataclass(frozen=True)
class Optimum:
    """The best that a pair can do, and how it draws while tied."""

    success: float
    """Probability that the agents part."""
    rounds: float
    """Expected rounds of talk, the closing round included."""
    reward: float
    """Expected reward: +1 or -1, less the cost of the rounds."""
    plan: Weights
    """`[T, n_tokens + 3]` what a tied agent draws in each round: tokens, EOT, and the two moves in a free opening. The
    last row holds for all later rounds."""


@dataclass(frozen=True)
class _Tied:
    """A tied pair before a round."""

    success: float
    rounds: float
    reward: float
    row: Weights


def optimum(
    n_tokens: int = 5,
    max_rounds: int | None = 32,
    opening: Literal["free", "talk"] = "free",
    round_cost: float = 0.0,
) -> Optimum:
    """The optimum for the channel options of the same names, by recursion over the rounds that are left.

    Raises ValueError for sizes below 1, or a cost at which talk can never pay (0.5 and more).

    Without a cost, success is 1 - 2/(5^(K+1) - 1) for five tokens after K rounds that must be talked:

    >>> [round(optimum(5, k, "talk").success, 4) for k in (1, 2, 3)]
    [0.9167, 0.9839, 0.9968]

    Without a cut it is 1, and takes 1/(1 - 1/5) + 1 rounds:

    >>> best = optimum(5, None, "talk")
    >>> round(best.success, 4), round(best.rounds, 4)
    (1.0, 2.25)
    """
    if n_tokens < 1 or (max_rounds is not None and max_rounds < 1):
        raise ValueError("n_tokens and max_rounds must be at least 1")
    if not 0 <= round_cost < 0.5:
        raise ValueError(f"round_cost must be from 0 up to, but not including, 0.5, not {round_cost}")
    tied = _Tied(0.5, 0.0, 0.0, np.zeros(n_tokens + 3))  # cut while tied: both must move
    rows: list[Weights] = []
    # Unbounded talk is the limit of long talk: so many rounds change nothing in the 12th digit, except with a single
    # token and no cost, where the failures fall as 1/rounds only.
    for left in range(1, (max_rounds or _LONG) + 1):
        first = left == (max_rounds or _LONG)
        tied = _before_round(tied, n_tokens, round_cost, closing=left > 1, moves=first and opening == "free")
        rows.append(tied.row)
    plan = np.array(rows[::-1])
    return Optimum(tied.success, tied.rounds, tied.reward, plan if max_rounds else plan[:2])


_LONG = 2_000


def _before_round(after: _Tied, n_tokens: int, cost: float, closing: bool, moves: bool) -> _Tied:
    """A tied pair before a round, from the one after it; `closing`: an untied talk needs a round more to end."""
    untied = 1 - cost * (1 + closing)
    # what being untied is worth more than having chosen the same: a token, EOT, or a move (then nothing is paid)
    weight = np.array([untied - (after.reward - cost)] * n_tokens + [untied + cost] + [untied] * moves)
    mass = _least_loss(weight)
    same = mass**2
    token, eot = float(same[:n_tokens].sum()), float(same[n_tokens])
    moved = float(same[n_tokens + 1 :].sum())
    row = np.zeros(n_tokens + 3)
    row[: n_tokens + 1] = mass[: n_tokens + 1]
    row[n_tokens + 1 :] = mass[n_tokens + 1 :].sum() / 2  # both moves alike: they part in half of the cases
    apart = 1 - token - eot - moved
    return _Tied(
        success=apart + token * after.success + (eot + moved) / 2,
        rounds=(1 - moved) + token * after.rounds + apart * closing,
        reward=untied - float((weight * same).sum()),
        row=row,
    )


def _least_loss(weight: Weights) -> Weights:
    """The masses that sum to 1 and make sum(weight · mass²) least; a choice that costs nothing takes all."""
    free = weight <= 1e-15
    share = free.astype(float) if free.any() else 1 / weight
    return share / share.sum()


# -- the same, by search -----------------------------------------------------------------------------------------------


def optimise(
    n_tokens: int, max_rounds: int, opening: Literal["free", "talk"], round_cost: float, starts: int = 3, seed: int = 0
) -> float:
    """The largest expected reward that gradient ascent finds, over a free distribution for every tied round.

    All pairs of actions are listed with what they lead to, no two actions are taken to be alike, and the search starts
    at random distributions. It shares with `optimum` that a tied pair is one state for each round, and that an untied
    pair closes at once.
    """
    from scipy.optimize import minimize
    from scipy.special import softmax

    shape = (max_rounds, n_tokens + 3)
    may_move = np.zeros(shape, bool)
    may_move[0, n_tokens + 1 :] = opening == "free"
    legal = may_move | (np.arange(n_tokens + 3) <= n_tokens)

    def loss(logits: Weights) -> float:
        reward = 0.0  # tied when the moves are due: the best two identical agents can do is to part in half the games
        for t in reversed(range(max_rounds)):
            p = softmax(np.where(legal[t], logits.reshape(shape)[t], -1e9))
            reward = float(p @ _rewards(n_tokens, round_cost, reward, last=t == max_rounds - 1) @ p)
        return -reward

    rng = np.random.default_rng(seed)
    ascents = [minimize(loss, rng.normal(size=np.prod(shape)), method="L-BFGS-B") for _ in range(starts)]
    return -min(float(f.fun) for f in ascents)


def _rewards(n_tokens: int, cost: float, tied: float, last: bool) -> Weights:
    """`[A, A]` the expected reward after each pair of actions of a tied pair."""
    eot, main, detour = n_tokens, n_tokens + 1, n_tokens + 2
    out = np.empty((n_tokens + 3, n_tokens + 3))
    for mine in range(n_tokens + 3):
        for other in range(n_tokens + 3):
            if mine > eot and other > eot:
                out[mine, other] = 1.0 if {mine, other} == {main, detour} else -1.0
            elif mine != other:
                out[mine, other] = 1.0 - cost if last else 1.0 - 2 * cost
            else:
                out[mine, other] = -cost if mine == eot else tied - cost
    return out


# -- and played --------------------------------------------------------------------------------------------------------


class OptimalPlayer:
    """One of an optimal pair, written by hand: it draws by `plan` while tied, then closes; the larger symbol yields."""

    def __init__(self, rules: TalkRules) -> None:
        self.plan = optimum(rules.n_tokens, rules.max_rounds, rules.opening, rules.round_cost).plan
        self.eot = rules.eot

    def begin(self, games: int, rng: np.random.Generator) -> None:
        self._rng = rng
        self._difference = np.zeros(games, np.int64)  # of the first round in which the symbols differed, own - other's
        self._round = np.zeros(games, np.int64)

    def act(self, seen: Seen) -> Ints:
        own, other = seen.buffer[:, -1].astype(np.int64).T
        self._round += (own != SILENT) | (other != SILENT)
        self._difference = np.where(self._difference == 0, own - other, self._difference)
        row = self.plan[np.minimum(self._round, len(self.plan) - 1)]
        drawn = self._choose(
            np.where(seen.mask, row, 0) + 1e-300 * seen.mask, seen
        )  # after a cut, an even draw of moves
        main, detour = self.eot + 1, self.eot + 2
        decided = np.where(self._difference > 0, detour, main)
        untied = np.where(seen.mask[:, self.eot], self.eot, decided)
        return np.where(self._difference != 0, untied, drawn)

    def _choose(self, weights: Weights, seen: Seen) -> Ints:
        """`[B]` an action while tied, in proportion to `weights` `[B, A]`."""
        return draw(weights, self._rng)

    def forget(self, over: Bools) -> None:
        self._difference[over] = 0
        self._round[over] = 0
