"""Meanings: objects made of attributes, how often each is drawn, and which are kept from training."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from envs.game import BadOption, Floats, Ints

Drawn = Literal["all", "training", "held_out"]
"""Which meanings a game draws: all; only those of training; only those kept from it."""
Frequencies = Literal["uniform", "zipf"]
"""How often each meaning is drawn. uniform: all equally often; zipf: the r-th in proportion to 1 / r."""

MOST_MEANINGS = 2**16
"""More combinations of attribute values are refused."""


def _names(count: int) -> tuple[str, ...]:
    known = ("colour", "shape", "style", "size")
    return (*known[:count], *(f"attribute {p + 1}" for p in range(len(known), count)))


class Meanings:
    """All combinations of `n_attributes` attributes with `n_values` values each, by number.

    Parameters
    ----------
    n_attributes, n_values : int
        Attributes of an object, and values of each (values).
    held_out : float
        Share of the combinations that is kept from training (0 to 1), rounded to whole ones. Where there is more than
        one attribute, each value stays in training with some combination, so that what is new is the combination.
    split_seed : int
        Which combinations those are.
    held_out_objects : str or int
        The numbers of these combinations instead of a share, with spaces or commas between, as in "1 4 12": a split
        that somebody has published. Numbers go from 0 to `n_values` ** `n_attributes` - 1, the last attribute changing
        fastest: object 5 of 2 attributes with 3 values has values 1 and 2. Each comes once, and without `held_out`;
        here, too, each value stays in training with some combination.
    drawn : str
        What `draw` draws.
    frequencies : str
        How often each.

    Raises BadOption, which names the option, where a number is odd or no combination is left.

    >>> Meanings(n_attributes=2, n_values=3).values[5]
    array([1, 2])
    >>> int(Meanings(2, 3, held_out=0.34).kept_from_training.sum())
    3
    """

    def __init__(
        self,
        n_attributes: int,
        n_values: int,
        held_out: float = 0.0,
        split_seed: int = 0,
        drawn: Drawn = "all",
        frequencies: Frequencies = "uniform",
        held_out_objects: str | int = "",
    ) -> None:
        if n_attributes < 1:
            raise BadOption(f"n_attributes must be at least 1, not {n_attributes}")
        if n_values < 2:
            raise BadOption(f"n_values must be at least 2, not {n_values}: with one there is nothing to tell")
        if n_attributes > 16 or n_values**n_attributes > MOST_MEANINGS:
            raise BadOption(
                f"n_values {n_values} to the power of n_attributes {n_attributes} must be at most {MOST_MEANINGS:,}"
            )
        if drawn not in get_args(Drawn):
            raise BadOption(f"meanings must be one of {', '.join(get_args(Drawn))}, not {drawn!r}")
        if frequencies not in get_args(Frequencies):
            raise BadOption(f"frequencies must be one of {', '.join(get_args(Frequencies))}, not {frequencies!r}")
        if split_seed < 0:
            raise BadOption(f"split_seed must not be negative, not {split_seed}")
        self.n_attributes, self.n_values = n_attributes, n_values
        self.values = np.stack(np.unravel_index(np.arange(n_values**n_attributes), (n_values,) * n_attributes), axis=1)
        """`[O, P]` the attributes of each object."""
        named = str(held_out_objects)
        self.kept_from_training = self._named(named, held_out) if named else self._split(held_out, split_seed)
        """`[O]` whether a combination is held out."""
        weights = 1 / np.arange(1, len(self) + 1) if frequencies == "zipf" else np.ones(len(self))
        if drawn != "all":
            weights = weights * (self.kept_from_training == (drawn == "held_out"))
        if not weights.any():
            raise BadOption(
                f"held_out {held_out} holds no meaning out: with meanings=held_out give a larger share or objects"
            )
        self.frequency: NDArray[np.float64] = weights / weights.sum()
        """`[O]` how often each object is drawn."""
        self.pool: Ints = np.flatnonzero(weights)
        """The objects that are drawn at all."""
        self._even = frequencies == "uniform"
        self._cumulative = self.frequency.cumsum()

    @property
    def names(self) -> tuple[str, ...]:
        """`P` names of the attributes; one alone is a state."""
        return ("state",) if self.n_attributes == 1 else _names(self.n_attributes)

    def __len__(self) -> int:
        return len(self.values)

    def _split(self, share: float, seed: int) -> NDArray[np.bool_]:
        """`[O]` which are held out."""
        if not 0 <= share <= 1:
            raise BadOption(f"held_out is a share from 0 to 1, not {share}")
        count, least = round(share * len(self)), self.n_values if self.n_attributes > 1 else 1
        if share > 0 and not count:
            raise BadOption(f"held_out {share:g} of {len(self)} meanings is none: give at least {1 / len(self):.2g}")
        if count > len(self) - least:
            raise BadOption(
                f"held_out {share:g} of {len(self)} meanings leaves no training meaning"
                + (" with some value" if self.n_attributes > 1 else "")
                + f": at most {len(self) - least} can be held out"
            )
        rng, kept = np.random.default_rng(seed), np.zeros(len(self), np.bool_)
        uses = np.full((self.n_attributes, self.n_values), self.n_values ** (self.n_attributes - 1))
        columns = np.arange(self.n_attributes)
        for candidate in rng.permutation(len(self)):  # a value is never taken from training altogether
            if kept.sum() == count:
                return kept
            if self.n_attributes == 1 or (uses[columns, self.values[candidate]] > 1).all():
                kept[candidate] = True
                uses[columns, self.values[candidate]] -= 1
        if kept.sum() < count:  # a dead end: training gets one meaning for each value, and the others are drawn anew
            rows = np.stack([rng.permutation(self.n_values) for _ in columns], axis=1)
            rest = np.setdiff1d(np.arange(len(self)), self.number(rows))
            kept = np.isin(np.arange(len(self)), rng.permutation(rest)[:count])
        return kept

    def _named(self, objects: str, share: float) -> NDArray[np.bool_]:
        """`[O]` which are held out, given by their numbers."""
        if share:
            raise BadOption(f"held_out_objects says which meanings are held out: leave out held_out {share:g}")
        known, numbers = {str(number) for number in range(len(self))}, set[str]()
        for number in objects.replace(",", " ").split() or [objects]:
            if number in numbers or number not in known:
                raise BadOption(
                    f"held_out_objects must be different numbers from 0 to {len(self) - 1}, as in '0 3', "
                    f"not {number[:40]!r}"
                )
            numbers.add(number)
        kept = np.isin(np.arange(len(self)), [int(number) for number in numbers])
        for attribute, column in zip(self.names, self.values.T, strict=True):
            gone = np.setdiff1d(column, column[~kept])
            if len(gone) and (self.n_attributes > 1 or kept.all()):
                raise BadOption(f"held_out_objects leaves no training meaning with {attribute} {gone[0]}")
        return kept

    def draw(self, rng: np.random.Generator, count: int) -> Ints:
        """`[count]` objects."""
        if self._even:
            return self.pool[rng.integers(len(self.pool), size=count)]
        return np.minimum(np.searchsorted(self._cumulative, rng.random(count), side="right"), self.pool[-1])

    def one_hot(self, objects: Ints) -> Floats:
        """float32 `[…, P * V]` the attributes of objects `[…]`, each one-hot."""
        hot = np.zeros((*objects.shape, self.n_attributes, self.n_values), np.float32)
        np.put_along_axis(hot, self.values[objects][..., None], 1, axis=-1)
        return hot.reshape(*objects.shape, self.n_attributes * self.n_values)

    def number(self, values: Floats | Ints) -> Ints:
        """`[…]` the objects with attributes `[…, P]`."""
        powers = self.n_values ** np.arange(self.n_attributes)[::-1]
        return (values @ powers).astype(np.int64)
