"""Protocols written by hand whose rule is none of those that may be named: no explanation may win with a wrong one.

Each is an automaton over rounds, terse or chatty, with random orders, weights and preferences from a seed, and plays in
the real environment. All are antisymmetric: exchanging the two agents exchanges the decision.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import numpy as np

from analysis.automata.automaton import Automaton
from analysis.automata.protocol_machine import Probabilities, ProtocolMachine
from envs.game import Ints

MOST_STATES = 4_000
"""States beyond which a family is not of this kind."""


class Foreign(NamedTuple):
    """What an agent remembers and how it decides."""

    start: Any
    step: Callable[[Any, int, int], Any]
    """State, own token or EOT, the other's -> state after the round."""
    leaning: Callable[[Any], int]
    """State -> 1 to yield, -1 to stay, 0 for a coin flip."""


def plant_foreign(family: str, seed: int, terse: bool = False, n_tokens: int = 5) -> ProtocolMachine:
    """A random variant of a family of `FOREIGN`; `terse` agents end the talk as soon as it is decided.

    >>> len(plant_foreign("second difference", 0))
    5
    """
    rng = np.random.default_rng([seed, list(FOREIGN).index(family), terse])
    automaton, leaning = _explored(FOREIGN[family](rng, n_tokens), n_tokens)
    visits = np.zeros(len(automaton), np.float32)
    emission = _talk(leaning, rng, n_tokens, terse)
    return ProtocolMachine(f"foreign {family}", automaton, emission, n_tokens, ("main", "detour"), visits)


def _explored(protocol: Foreign, n_tokens: int) -> tuple[Automaton, Ints]:
    """The automaton of all states that rounds of tokens and EOT lead to; silence and EOT/EOT change nothing."""
    states: list[Hashable] = [protocol.start]
    number: dict[Hashable, int] = {protocol.start: 0}
    rows = []
    for i, state in enumerate(states):  # grows while we walk
        row = np.full((n_tokens + 2, n_tokens + 2), i)
        for own in range(n_tokens + 1):
            for other in range(n_tokens + 1):
                if own == other == n_tokens:
                    continue
                after = protocol.step(state, own, other)
                if after not in number:
                    number[after] = len(states)
                    states.append(after)
                row[own, other] = number[after]
        rows.append(row)
        if len(states) > MOST_STATES:
            raise ValueError(f"more than {MOST_STATES} states")
    leaning = np.array([protocol.leaning(state) for state in states])
    return Automaton(tuple(f"state {i}" for i in range(len(states))), np.stack(rows)), leaning


def _talk(leaning: Ints, rng: np.random.Generator, n_tokens: int, terse: bool) -> Probabilities:
    """`[S, A]` tokens with random preferences; EOT rarely while undecided, then always (terse) or now and then."""
    tokens = rng.dirichlet(np.full(n_tokens, 5.0))
    eot = np.where(leaning == 0, 0.02, 0.95 if terse else rng.uniform(0.2, 0.4))
    symbols = np.concatenate([(1 - eot)[:, None] * tokens, eot[:, None]], axis=1)
    yields = (1 + np.sign(leaning)) / 2
    return np.concatenate([symbols, 1e-9 * np.stack([1 - yields, yields], axis=1)], axis=1)


# -- the families ------------------------------------------------------------------------------------------------------


def _sign(value: float) -> int:
    return int(np.sign(value))


def _ranks(rng: np.random.Generator, n_tokens: int) -> list[int]:
    return [int(rank) for rank in rng.permutation(n_tokens + 1)]


def _weights(rng: np.random.Generator, n_tokens: int) -> list[int]:
    weights = [0] * n_tokens
    while len(set(weights)) < min(3, n_tokens):
        weights = rng.integers(-3, 4, n_tokens).tolist()
    return [*weights, 0]


def _round_wins(rng: np.random.Generator, n_tokens: int) -> Foreign:
    """Who has won more rounds yields; the higher rank wins a round, however much higher it is."""
    rank = _ranks(rng, n_tokens)
    return Foreign(0, lambda s, a, b: int(np.clip(s + _sign(rank[a] - rank[b]), -12, 12)), _sign)


def _leaky_vote(rng: np.random.Generator, n_tokens: int) -> Foreign:
    """A vote that forgets half of its sum each round, in whole steps."""
    weight = _weights(rng, n_tokens)
    return Foreign(0, lambda s, a, b: int(np.clip(int(s / 2) + 2 * (weight[a] - weight[b]), -24, 24)), _sign)


def _second_difference(rng: np.random.Generator, n_tokens: int) -> Foreign:
    """The second round in which they differ decides; the first one does until then."""
    rank = _ranks(rng, n_tokens)

    def step(state: tuple[int, int], own: int, other: int) -> tuple[int, int]:
        seen, _ = state
        return (seen + 1, _sign(rank[own] - rank[other])) if own != other and seen < 2 else state

    return Foreign((0, 0), step, lambda s: s[1] if s[0] == 2 else 0)


def _alternating(rng: np.random.Generator, n_tokens: int) -> Foreign:
    """The first difference decides, by a ranking that is reversed in every other round."""
    rank = _ranks(rng, n_tokens)

    def step(state: tuple[int, int], own: int, other: int) -> tuple[int, int]:
        odd, lead = state
        return (1 - odd, lead or (1 - 2 * odd) * _sign(rank[own] - rank[other]))

    return Foreign((0, 0), step, lambda s: s[1])


def _alternating_vote(rng: np.random.Generator, n_tokens: int) -> Foreign:
    """A vote whose weights change their sign in every other round."""
    weight = _weights(rng, n_tokens)

    def step(state: tuple[int, int], own: int, other: int) -> tuple[int, int]:
        odd, total = state
        return (1 - odd, int(np.clip(total + (1 - 2 * odd) * (weight[own] - weight[other]), -18, 18)))

    return Foreign((0, 0), step, lambda s: _sign(s[1]))


def _veto(rng: np.random.Generator, n_tokens: int) -> Foreign:
    """The first difference decides, until somebody alone says the token of veto, who then yields."""
    rank, token = _ranks(rng, n_tokens), int(rng.integers(n_tokens))

    def step(state: tuple[int, int], own: int, other: int) -> tuple[int, int]:
        first, veto = state
        return (first or _sign(rank[own] - rank[other]), veto or (own == token) - (other == token))

    return Foreign((0, 0), step, lambda s: s[1] or s[0])


def _repeats(rng: np.random.Generator, n_tokens: int) -> Foreign:
    """Who first says again what it has just said, alone, yields."""

    def step(state: tuple[int, int, int], own: int, other: int) -> tuple[int, int, int]:
        last, others, lead = state
        return (own, other, lead or (own == last) - (other == others))

    return Foreign((-1, -1, 0), step, lambda s: s[2])


def _highest(rng: np.random.Generator, n_tokens: int) -> Foreign:
    """Who has said the highest token of all yields."""
    rank = _ranks(rng, n_tokens)
    return Foreign((-1, -1), lambda s, a, b: (max(s[0], rank[a]), max(s[1], rank[b])), lambda s: _sign(s[0] - s[1]))


def _variety(rng: np.random.Generator, n_tokens: int) -> Foreign:
    """Who has said more different tokens yields; where both have said as many, a vote of two weights decides."""
    favoured, bit = int(rng.integers(n_tokens)), [*(1 << token for token in range(n_tokens)), 0]

    def step(state: tuple[int, int, int], own: int, other: int) -> tuple[int, int, int]:
        mine, yours, lead = state
        mine, yours = (said | bit[symbol] for said, symbol in ((mine, own), (yours, other)))
        return (mine, yours, int(np.clip(lead + (own == favoured) - (other == favoured), -1, 1)))

    return Foreign((0, 0, 0), step, lambda s: _sign(s[0].bit_count() - s[1].bit_count()) or s[2])


def _modular(rng: np.random.Generator, n_tokens: int) -> Foreign:
    """The difference of the sums of what was said, modulo an odd number: the lower half yields."""
    modulus = 2 * n_tokens + 1

    def lean(state: int) -> int:
        return 0 if state == 0 else 1 if state <= modulus // 2 else -1

    return Foreign(0, lambda s, a, b: (s + a - b) % modulus, lean)


def _last_two(rng: np.random.Generator, n_tokens: int) -> Foreign:
    """A vote over the last two rounds in which they differed."""
    weight = _ranks(rng, n_tokens)

    def step(state: tuple[int, int], own: int, other: int) -> tuple[int, int]:
        return state if own == other else (state[1], weight[own] - weight[other])

    return Foreign((0, 0), step, lambda s: _sign(2 * s[1] + s[0]) if s[0] * s[1] >= 0 else _sign(s[0] + s[1]))


def _race(rng: np.random.Generator, n_tokens: int) -> Foreign:
    """Who first is two rounds ahead yields, for good."""
    rank = _ranks(rng, n_tokens)
    return Foreign(
        0, lambda s, a, b: s if abs(s) == 2 else s + _sign(rank[a] - rank[b]), lambda s: _sign(s) if abs(s) == 2 else 0
    )


def _reversing(rng: np.random.Generator, n_tokens: int) -> Foreign:
    """The first difference decides; it is reversed each time that both say the same afterwards."""
    rank = _ranks(rng, n_tokens)
    return Foreign(0, lambda s, a, b: s or _sign(rank[a] - rank[b]) if a != b else -s, lambda s: s)


def _echo(rng: np.random.Generator, n_tokens: int) -> Foreign:
    """Who first says what the other has just said, alone, yields."""

    def step(state: tuple[int, int, int], own: int, other: int) -> tuple[int, int, int]:
        last, others, lead = state
        return (own, other, lead or (own == others) - (other == last))

    return Foreign((-1, -1, 0), step, lambda s: s[2])


FOREIGN: dict[str, Callable[[np.random.Generator, int], Foreign]] = {
    "round wins": _round_wins,
    "leaky vote": _leaky_vote,
    "second difference": _second_difference,
    "first difference, alternating ranking": _alternating,
    "vote, alternating weights": _alternating_vote,
    "first difference with veto": _veto,
    "first repetition": _repeats,
    "highest token": _highest,
    "variety": _variety,
    "modular sum": _modular,
    "last two differences": _last_two,
    "race to two": _race,
    "reversed by agreement": _reversing,
    "first echo": _echo,
}
"""The families, each with what makes a random variant."""
