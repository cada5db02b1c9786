"""What two trains that know their delays can reach at best, and how many rounds telling a fact takes.

**The priority crossing costs no round more than the plain one**, however many delays there are, and with any options of
the talk: `optimal_pair.optimum` holds for both.

No pair does better. A success is a parting. While nothing has told the trains apart, the next action of each is drawn
from one and the same distribution given the dialogue (over its delay, too, which is independent of the other's), and
that is all which the recursion of `optimum` assumes.

A pair does as well. Let a train's *place* be (delay + a uniform random number below 1) / k: uniform from 0 to 1, and
whoever has the higher place may have the main line, for of equal delays any order will do. Let a train spread the draws
of `optimum` over the places in an order of their own: the highest places for the action that yields least, and so on.
Equal actions leave two places that are uniform over the same interval, as before; different actions tell whose place is
higher, and so who yields. `PriorityPlayer` plays like that.

So with n tokens, no cut and no price a pair succeeds always, after 1 / (1 - 1/n) + 1 = (2n - 1) / (n - 1) rounds: 2.25
for five tokens. It need not *tell* its delay: that would take `rounds_to_tell(k, n)` rounds before the closing one.
"""

from __future__ import annotations

import numpy as np

from analysis.agents.optimal_pair import OptimalPlayer, Weights
from analysis.agents.players import Seen
from envs.game import Bools, Ints
from envs.negotiation import TalkRules


def rounds_to_tell(n_meanings: int, n_tokens: int) -> int:
    """The least rounds in which one agent can tell any of `n_meanings` apart, log2 of them bits, with `n_tokens` each.

    The closing round is not among them. Raises ValueError where no number of rounds is enough.

    >>> [rounds_to_tell(k, 5) for k in (1, 5, 6, 25, 26)]
    [0, 1, 2, 2, 3]
    """
    if n_meanings < 1 or n_tokens < 1:
        raise ValueError(f"n_meanings and n_tokens must be at least 1, not {n_meanings} and {n_tokens}")
    if n_tokens == 1 and n_meanings > 1:
        raise ValueError(f"one token tells nothing: {n_meanings} meanings need at least 2")
    rounds, told = 0, 1
    while told < n_meanings:
        rounds, told = rounds + 1, told * n_tokens
    return rounds


class PriorityPlayer(OptimalPlayer):
    """One of an optimal pair at the priority crossing with `n_delays`, written by hand."""

    def __init__(self, rules: TalkRules, n_delays: int) -> None:
        super().__init__(rules)
        self.n_delays = n_delays
        symbols = np.arange(self.eot + 1)
        self._order: Ints = np.concatenate([[self.eot + 1, self.eot + 2], symbols])
        """Actions, the highest places first: whoever is silent or says the smaller symbol has the main line."""

    def begin(self, games: int, rng: np.random.Generator) -> None:
        super().begin(games, rng)
        self._below = np.full(games, np.nan)  # 1 - place, within the interval that both places are known to lie in

    def _choose(self, weights: Weights, seen: Seen) -> Ints:
        delay = seen.features[:, : self.n_delays].argmax(axis=1)
        place = (delay + self._rng.random(len(delay))) / self.n_delays
        below = np.where(np.isnan(self._below), 1 - place, self._below)
        share = weights[:, self._order] / weights.sum(axis=1, keepdims=True)
        ends = np.minimum(share.cumsum(axis=1), 1)
        ends[:, -1] = 1
        chosen = np.minimum((ends <= below[:, None]).sum(axis=1), len(self._order) - 1)
        rows = np.arange(len(chosen))
        width = share[rows, chosen]
        self._below = np.clip((below - (ends[rows, chosen] - width)) / width, 0, 1)
        return self._order[chosen]

    def forget(self, over: Bools) -> None:
        super().forget(over)
        self._below[over] = np.nan
