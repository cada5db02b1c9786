"""A decision tree over what was said: who yields, without any idea of how it is computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.data.decisions import Decisions, Scores, counts
from envs.game import Ints

FIRST, LAST = 6, 3
"""Rounds from the start, and from the end, that the tree looks at one by one."""


@dataclass(frozen=True)
class Tree:
    """A fitted tree; antisymmetric because it is asked about both views."""

    model: Any
    """A scikit-learn classifier, or None where there was nothing to learn."""
    n_kinds: int

    def __len__(self) -> int:
        """The leaves."""
        return 1 if self.model is None else int(self.model.get_n_leaves())

    def scores(self, symbols: Ints, n_rounds: Ints) -> Scores:
        """`[D]` above 0 where agent 0 of the dialogues `[D, R, 2]` is expected to yield."""
        if self.model is None or not len(symbols):
            return np.zeros(len(symbols))
        own, other = (
            self.model.predict_proba(_features(view, n_rounds, self.n_kinds))[:, -1]
            for view in (symbols, symbols[..., ::-1])
        )
        return own - other


def fit_tree(decided: Decisions, leaf: int = 10) -> Tree:
    """A tree whose leaves hold at least `leaf` views."""
    from sklearn.tree import DecisionTreeClassifier

    parted = decided[decided.parted]
    if not len(parted):
        return Tree(None, decided.n_kinds)
    symbols, n_rounds, moves = parted.views()
    model = DecisionTreeClassifier(min_samples_leaf=leaf, random_state=0)
    return Tree(model.fit(_features(symbols, n_rounds, decided.n_kinds), moves), decided.n_kinds)


def _features(symbols: Ints, n_rounds: Ints, n_kinds: int) -> Ints:
    """Symbols of the first and last rounds one-hot, differences of counts, and the number of rounds."""
    views, rounds = symbols.shape[:2]
    places = np.concatenate([np.tile(np.arange(FIRST), (views, 1)), n_rounds[:, None] - 1 - np.arange(LAST)], axis=1)
    there = (places >= 0) & (places < n_rounds[:, None])
    picked = symbols[np.arange(views)[:, None], places.clip(0, rounds - 1)]
    kinds = np.where(there[..., None], picked % n_kinds, n_kinds)
    one_hot = np.eye(n_kinds + 1, dtype=np.int8)[kinds].reshape(views, -1)
    said = counts(symbols, np.arange(rounds) < n_rounds[:, None], n_kinds)
    return np.concatenate([one_hot, said[:, 0] - said[:, 1], n_rounds[:, None]], axis=1)
