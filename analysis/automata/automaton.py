"""Deterministic automata that read a dialogue round by round: (own symbol, other's symbol) -> next state.

Axes: `S` state, `K` symbol kinds (tokens, EOT, and last SILENT), `V` view, `R` round.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from envs.game import Bools, Ints


@dataclass(frozen=True)
class Automaton:
    """States and transitions, without emissions."""

    labels: tuple[str, ...]
    """`[S]` a name for each state."""
    transition: Ints
    """`[S, K, K]` next state, by own symbol and the other's."""
    initial: int = 0

    def __len__(self) -> int:
        return len(self.labels)

    def run(self, symbols: Ints, n_rounds: Ints) -> Ints:
        """`[V, R + 1]` the state before each round of `symbols` `[V, R, 2]`, and after the last."""
        states = np.full((len(symbols), symbols.shape[1] + 1), self.initial)
        for t in range(symbols.shape[1]):
            own, other = symbols[:, t, 0], symbols[:, t, 1]
            moved = self.transition[states[:, t], own, other]
            states[:, t + 1] = np.where(t < n_rounds, moved, states[:, t])
        return states

    def reachable(self) -> Automaton:
        """The same automaton without the states that no dialogue reaches."""
        seen = np.zeros(len(self), np.bool_)
        frontier = np.array([self.initial])
        while len(frontier):
            seen[frontier] = True
            following = np.unique(self.transition[frontier])
            frontier = following[~seen[following]]
        number = np.cumsum(seen) - 1
        return Automaton(
            tuple(label for label, kept in zip(self.labels, seen, strict=True) if kept),
            number[self.transition[seen]],
            int(number[self.initial]),
        )

    def with_clock(self, rounds: int) -> Automaton:
        """The product with a clock that counts the rounds up to `rounds - 1` and then stands still."""
        if rounds <= 1:
            return self
        labels = tuple(f"{label} @{t}" for label in self.labels for t in range(rounds))
        later = np.minimum(np.arange(rounds) + 1, rounds - 1)
        product = self.transition[:, None] * rounds + later[None, :, None, None]
        return Automaton(labels, product.reshape(-1, *self.transition.shape[1:]), self.initial * rounds).reachable()


def constant(n_kinds: int) -> Automaton:
    """The automaton of one state: it remembers nothing."""
    return Automaton(("any",), np.zeros((1, n_kinds, n_kinds), np.int64))


def difference(beats: Ints, last: bool = False) -> Automaton:
    """Three states: undecided, yield, stay; the first (or with `last` the last) round that decides, decides.

    `beats` `[K, K]` is antisymmetric: 1 where own symbol a against the other's b makes one yield, -1 where stay.
    """
    decided = np.where(beats > 0, 1, np.where(beats < 0, 2, 0))
    undone = [np.where(decided == 0, state, decided) if last else np.full_like(decided, state) for state in (1, 2)]
    return Automaton(("undecided", "yield", "stay"), np.stack([decided, *undone]))


def counter(weights: Ints, highest: int) -> Automaton:
    """A vote counter: the sum of own weights minus the other's, kept within `-highest … highest`.

    `weights` `[K]` are whole numbers.

    >>> counter(np.array([2, 0]), 3).labels
    ('vote +0', 'vote +2', 'vote -2', 'vote +3', 'vote -3', 'vote +1', 'vote -1')
    """
    steps = weights[:, None] - weights[None, :]
    values, number = [0], {0: 0}
    rows = []
    for value in values:  # grows while we walk
        following = np.clip(value + steps, -highest, highest)
        for v in sorted(set(following.ravel().tolist()), key=lambda v: (abs(v - value), -v)):
            if v not in number:
                number[v] = len(values)
                values.append(v)
        rows.append(following)
    transition = np.vectorize(number.__getitem__, otypes=[np.int64])(np.stack(rows))
    return Automaton(tuple(f"vote {value:+d}" for value in values), transition)


def suffixes(contexts: Iterable[tuple[int, ...]], n_kinds: int, closing: Bools) -> Automaton:
    """The automaton of an n-gram: the state is the longest of `contexts` that ends the dialogue so far.

    A context is a tuple of rounds, each as `own * K + other`; `closing` `[K, K]` marks rounds that change nothing.
    """
    known = sorted({(), *contexts}, key=lambda c: (len(c), c))
    number = {context: i for i, context in enumerate(known)}
    longest = max(map(len, known))
    transition = np.empty((len(known), n_kinds * n_kinds), np.int64)
    for context, i in number.items():
        for letter in range(n_kinds * n_kinds):
            if closing.ravel()[letter]:
                transition[i, letter] = i
                continue
            grown = (*context, letter)[-longest:] if longest else ()
            while grown not in number:
                grown = grown[1:]
            transition[i, letter] = number[grown]
    labels = tuple(" · ".join(f"{c // n_kinds} {c % n_kinds}" for c in context) or "start" for context in known)
    return Automaton(labels, transition.reshape(-1, n_kinds, n_kinds))
