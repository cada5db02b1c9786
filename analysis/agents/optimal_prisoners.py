"""What prisoners can reach at best in the switch riddle (`envs.switch_riddle`).

`all_visited` is the bound that no protocol passes: the chance that all have been in the room at all, for whoever knew
everything would announce then and only then.

`optimum` is the best *first-visit* protocol, in which a visitor acts by the day, the bulb, and whether it has been in
the room before. What matters before a day is how many prisoners have visited, `k`, and the bulb: a protocol for the
days to come is worth a vector α over (k, bulb), and the value of a belief is the largest product with one of them. The
dynamic program builds these vectors from the last day to the first (Smallwood and Sondik 1973; the planner's view of
Nayyar et al. 2013) and drops those that another one dominates. No prisoner needs its number for it.

For N = 3 the optimum meets the bound, 20/27: the bulb says whether one or two have visited. For N = 4 it is
203097/262144 = 0.7748 of at most 0.7806; prisoners that remember more than their first visit can gain no more than the
difference.
"""

from __future__ import annotations

from math import comb
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from envs.game import Ints

Vectors = NDArray[np.float64]

TELL = 2
"""Actions of a visitor: leave the bulb in state 0, in state 1, or announce."""
_SLACK = 1e-12


class Optimum(NamedTuple):
    """The best first-visit protocol."""

    reward: float
    """Expected reward of an episode: +1 for a right announcement, -1 for a wrong one."""
    bound: float
    """What no protocol of any kind can pass."""
    protocol: Ints
    """`[T, 2, 2]` the action on each day of a visitor that has been in the room before (1) or not (0) and sees the bulb
    in state 0 or 1; on the first day the bulb is in state 0."""


def all_visited(n_prisoners: int, days: int) -> float:
    """The chance that each prisoner is among the visitors of `days` days.

    >>> round(all_visited(3, 6), 6), round(all_visited(4, 10), 6)
    (0.740741, 0.780602)
    """
    n = n_prisoners
    return sum((-1) ** j * comb(n, j) * (1 - j / n) ** days for j in range(n + 1))


def optimum(n_prisoners: int, days: int | None = None) -> Optimum:
    """The best first-visit protocol for N prisoners and T days, by default 4N - 6.

    Exact; the number of vectors grows with N: seconds for 4, much longer for 5. Raises ValueError below 2 prisoners.

    >>> best = optimum(3)
    >>> round(best.reward * 27, 9), round(best.bound * 27, 9)
    (20.0, 20.0)
    """
    if n_prisoners < 2 or (days is not None and days < 1):
        raise ValueError(f"there must be at least 2 prisoners and 1 day, not {n_prisoners} and {days}")
    days = max(4 * n_prisoners - 6, n_prisoners) if days is None else days
    vectors = np.zeros((1, n_prisoners + 1, 2))
    plans: list[tuple[Ints, Ints]] = []
    for day in range(days, 0, -1):
        vectors, *plan = _day_before(vectors, n_prisoners, day)
        plans.append((plan[0], plan[1]))
    best, bulb = np.unravel_index(vectors[:, 0].argmax(), vectors[:, 0].shape)
    reward, protocol = float(vectors[best, 0, bulb]), []
    for rules, following in reversed(plans):
        protocol.append(rules[best])
        best = following[best]
    protocol[0] = protocol[0][:, [bulb, bulb]]
    return Optimum(reward, all_visited(n_prisoners, days), np.array(protocol))


def _day_before(after: Vectors, n: int, day: int) -> tuple[Vectors, Ints, Ints]:
    """From the vectors `[V, K, 2]` after a day to those before it; with the rule `[U, 2, 2]` of each, and which vector
    it goes on with `[U]`."""
    k = np.arange(n + 1)
    new, old = (n - k) / n, k / n  # who is taken to the room
    told_by_new, told_by_old = np.where(k >= n - 1, 1.0, -1.0), np.where(k == n, 1.0, -1.0)
    one_more = after[:, np.minimum(k + 1, n)]
    by_new = np.stack([one_more[..., 0], one_more[..., 1], np.broadcast_to(told_by_new, one_more.shape[:2])], axis=1)
    by_old = np.stack([after[..., 0], after[..., 1], np.broadcast_to(told_by_old, after.shape[:2])], axis=1)
    reached = (k == 0) if day == 1 else (k >= 1) & (k < day)
    choice = new * by_new[:, :, None] + old * by_old[:, None]  # [V, 3, 3, K] for one state of the bulb
    choice = np.where(reached, choice, 0.0).reshape(len(after), 9, n + 1)
    found, rules, following = [], [], []
    for v, options in enumerate(choice):
        options_left = _undominated(options)
        one, other = (part.ravel() for part in np.meshgrid(options_left, options_left))
        unordered = one <= other  # the states of the bulb may change names
        one, other = one[unordered], other[unordered]
        found.append(np.stack([options[one], options[other]], axis=2))
        actions = np.stack([np.divmod(one, 3), np.divmod(other, 3)], axis=2)  # [new or old, U, bulb]
        rules.append(actions.swapaxes(0, 1))
        following.append(np.full(len(one), v))
    vectors = np.concatenate(found)
    kept = _undominated(vectors.reshape(len(vectors), -1), vectors[..., ::-1].reshape(len(vectors), -1))
    return vectors[kept], np.concatenate(rules)[kept], np.concatenate(following)[kept]


def _undominated(rows: Vectors, mirrored: Vectors | None = None) -> Ints:
    """The rows that no other one, or its mirror image, equals or exceeds everywhere; of equal ones the first.

    >>> _undominated(np.array([[1.0, 2.0], [2.0, 1.0], [1.0, 1.0], [2.0, 1.0]])).tolist()
    [0, 1]
    """
    left = np.argsort(-rows.sum(axis=1), kind="stable")  # whoever comes later dominates nobody before
    kept: list[int] = []
    while len(left):
        first, left = left[0], left[1:]
        kept.append(first)
        covered = (rows[left] <= rows[first] + _SLACK).all(axis=1)
        if mirrored is not None:
            covered |= (rows[left] <= mirrored[first] + _SLACK).all(axis=1)
        left = left[~covered]
    return np.array(sorted(kept))
