"""How many bits one symbol shares with something else: what its speaker knows, or what is then done.

The plug-in mutual information of independent symbols is above 0 by chance, by what the same estimate gives for permuted
answers, which is the null. Where one follows from the other it is a little too low instead (Miller 1955). In between
the share of chance that is subtracted grows with the pairs that occur, from the fewest that there could be to as many
as in permuted answers: its square root, which is near the truth in simulated channels; for the ends of the interval the
share itself and its fourth root, which are seldom too much and too little. Else the interval is that of the mean
pointwise information log2 p(x, y) / p(x) p(y), its influence function, over resampled dialogues.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import random_table

from analysis.data.utterances import FEWEST, Utterances, numbered
from analysis.metrics.entropy import bits_of, entropy, shared_information
from analysis.metrics.resampling import NO_ESTIMATE, Estimate, Reals, interval_of_means, permuted_together
from envs.channels import SILENT
from envs.game import Ints

SEEN = 0.01
"""A round in which a smaller share of utterances has a symbol is left out, or fewer than `FEWEST`."""
NULLS = 99


class SymbolBits(NamedTuple):
    """What the symbol of one round shares with something."""

    speaker: str
    round: int
    """From 1."""
    about: str
    bits: Estimate
    entropy: float
    """Of what it is about (bits): no symbol can tell more."""
    utterances: int


def counted(x: Ints, y: Ints) -> Ints:
    """`[X, Y]` how often each pair of numbers from 0 occurs together.

    >>> counted(np.array([0, 1, 1]), np.array([0, 2, 2])).tolist()
    [[1, 0, 0], [0, 0, 2]]
    """
    width = int(y.max(initial=-1)) + 1
    size = (int(x.max(initial=-1)) + 1) * width
    return np.bincount(x * width + y, minlength=size).reshape(-1, width) if size else np.zeros((0, 0), np.int64)


def pointwise(x: Ints, y: Ints) -> Reals:
    """`[U]` log2 p(x, y) / p(x) p(y) of each row; its mean is the plug-in mutual information."""
    joint = counted(x, y).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        by_pair = np.log2(joint) - np.log2(joint.sum(axis=1, keepdims=True)) - np.log2(joint.sum(axis=0))
    return by_pair[x, y] + np.log2(len(x))


def information(x: Ints, y: Ints, dialogue: Ints, rng: np.random.Generator, nulls: int = NULLS) -> Estimate:
    """Bits that `x` `[U]` and `y` `[U]`, numbers from 0, share: on average 0 of noise.

    `dialogue` `[U]` says which rows are resampled together.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> colour = rng.integers(4, size=4000)
    >>> tells = information((colour + 1) % 4, colour, np.arange(4000), rng)
    >>> noise = information(rng.integers(4, size=4000), colour, np.arange(4000), rng)
    >>> round(tells.value, 2), tells.above_chance, round(abs(noise.value), 2), noise.above_chance
    (2.0, True, 0.0, False)
    """
    if not len(x):
        return NO_ESTIMATE
    x, y = (np.unique(side, return_inverse=True)[1] for side in (x, y))
    most = _most(x, y)
    if not most:  # what is always the same tells nothing, and there is nothing to tell of it
        return Estimate(0.0, 0.0, _of_unseen(len(np.unique(dialogue))), 0.0, 1.0)
    plug_in, null, (most_bias, bias, least_bias) = _beside_chance(x, y, dialogue, rng, nulls)
    _, which = np.unique(dialogue, return_inverse=True)
    sums = np.bincount(which, pointwise(x, y)) * (int(which.max()) + 1) / len(x)
    (low,), (high,) = interval_of_means(sums[:, None], rng)
    p_value = float((1 + (null >= plug_in - 1e-12).sum()) / (1 + nulls))
    high_null = float(np.quantile(null, 0.975) - null.mean()) if nulls else float("nan")
    value, low, high = (min(float(x), most) for x in (plug_in - bias, low - most_bias, high - least_bias))
    return Estimate(value, low, high, high_null, p_value)


def less_chance(x: Ints, y: Ints, dialogue: Ints, rng: np.random.Generator, nulls: int = NULLS) -> float:
    """The value of `information` alone, without interval and null."""
    x, y = (np.unique(side, return_inverse=True)[1] for side in (x, y))
    most = _most(x, y)
    if not most:
        return 0.0
    plug_in, _, (_, bias, _) = _beside_chance(x, y, dialogue, rng, nulls)
    return min(plug_in - bias, most)


def _most(x: Ints, y: Ints) -> float:
    """The most bits that the two could share."""
    return math.log2(min(int(side.max(initial=0)) + 1 for side in (x, y)))


def _of_unseen(draws: int) -> float:
    """The bits that something may have which never occurred in so many draws: its share is 3 / draws at most (95 %)."""
    share = min(3 / draws, 0.5)
    return float(bits_of([share, 1 - share]))


def _beside_chance(
    x: Ints, y: Ints, dialogue: Ints, rng: np.random.Generator, nulls: int
) -> tuple[float, Reals, tuple[float, float, float]]:
    """The plug-in, `[nulls]` what it is of permuted answers, and how much too high it is: at most, likely, at least."""
    joint, tables = counted(x, y), _permuted(x, y, dialogue, nulls, rng)
    null = np.array([shared_information(table) for table in tables])
    chance = float(null.mean()) if nulls else 0.0
    share, too_low = _share_of_chance(joint, tables), (min(joint.shape) - 1) / (2 * len(x) * math.log(2))
    most, likely, least = (of * chance - (1 - of) * too_low for of in (share**0.25, share**0.5, share))
    return shared_information(joint), null, (most, likely, least)


def _share_of_chance(joint: Ints, permuted: Ints) -> float:
    """How far the pairs that occur are from as few as there could be, towards as many as in the permuted tables.

    Where nearly every row is the only one of its kind, the two are one: then all of it is chance.
    """
    fewest, by_chance = max(joint.shape), np.count_nonzero(permuted, axis=(1, 2)).mean() if len(permuted) else 0
    if by_chance < 1.1 * fewest:
        return 1.0
    return float(np.clip((np.count_nonzero(joint) - fewest) / (by_chance - fewest), 0, 1))


def _permuted(x: Ints, y: Ints, dialogue: Ints, nulls: int, rng: np.random.Generator) -> Ints:
    """`[nulls, X, Y]` the tables of permuted answers; those of one dialogue stay together (`permuted_together`)."""
    joint = counted(x, y)
    if not nulls:
        return np.zeros((0, *joint.shape), np.int64)
    if len(np.unique(dialogue)) < len(dialogue):
        return np.stack([counted(x, y[permuted_together(dialogue, rng)]) for _ in range(nulls)])
    tables: Ints = random_table(joint.sum(axis=1), joint.sum(axis=0)).rvs(nulls, random_state=rng)
    return tables.reshape(nulls, *joint.shape).astype(np.int64)


def symbol_information(said: Utterances, seed: int = 0, nulls: int = NULLS) -> tuple[SymbolBits, ...]:
    """Bits about each attribute in the symbol of each round; utterances without one are left out.

    Parameters
    ----------
    said : Utterances
        Of one speaker (`analysis.data.utterances`).
    seed, nulls : int
        What fixes the randomness, and permutations behind the null.

    Returns
    -------
    tuple of SymbolBits
        One for each round and attribute.

    Examples
    --------
    `symbol_information(said)[0].bits.value`
    """
    columns = {attribute.name: said.meanings[:, p] + 1 for p, attribute in enumerate(said.attributes)}
    return by_round(said, columns, np.random.default_rng(seed), nulls)


def by_round(
    said: Utterances, columns: dict[str, Ints], rng: np.random.Generator, nulls: int = NULLS
) -> tuple[SymbolBits, ...]:
    """Bits that the symbol of each round shares with each column `[U]` of numbers from 0."""
    found = []
    for t in range(said.symbols.shape[1]):
        there = said.symbols[:, t] != SILENT
        if there.mean() < SEEN or there.sum() < FEWEST:
            continue
        symbol = numbered(said.symbols[there, t, None])[1]
        for name, column in columns.items():
            y = numbered(column[there, None])[1]
            bits = information(symbol, y, said.dialogue[there], rng, nulls)
            most = min(entropy(np.bincount(y)).bits, math.log2(int(y.max()) + 1))
            found.append(SymbolBits(said.speaker, t + 1, name, bits, most, int(there.sum())))
    return tuple(found)


def to_frame(found: tuple[SymbolBits, ...]) -> pd.DataFrame:
    """One row per speaker, round and attribute: bits, low, high, null, p_value, of_bits (the most that can be told)."""
    rows = [(s.speaker, s.round, s.about, *s.bits, s.entropy, s.utterances) for s in found]
    names = ["speaker", "round", "about", "bits", "low_bits", "high_bits", "null_bits", "p_value", "of_bits"]
    return pd.DataFrame(rows, columns=[*names, "utterances"])
