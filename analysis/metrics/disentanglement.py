"""Does each position, or each symbol, stand for one attribute (Chaabouni et al. 2020)?

For each position of the message: the information about the attribute that it tells most about, less that about the
second one, over the entropy of the position; their mean is positional disentanglement (posdis). With how often each
token occurs in place of positions it is bag-of-symbols disentanglement (bosdis). 1: each has one attribute to itself.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from analysis.data.decisions import NotApplicable
from analysis.data.utterances import Utterances, numbered, require_rows
from analysis.metrics.entropy import entropy, shared_information
from analysis.metrics.resampling import Estimate, estimated, permuted_together
from analysis.metrics.symbol_information import less_chance
from envs.channels import SILENT
from envs.game import Ints

MOST_UTTERANCES = 20_000
"""Of more so many are drawn."""
CHANCES = 9
"""Permutations behind what chance adds to the bits of one column about one attribute."""


def posdis(meanings: Ints, messages: Ints) -> float:
    """Positional disentanglement of the messages `[U, R]` of meanings `[U, P]`; NaN where no position varies.

    Parameters
    ----------
    meanings : array `[U, P]`
        Two attributes at least.
    messages : array `[U, R]`
        Symbols.

    Returns
    -------
    float
        0 to 1.

    Examples
    --------
    One symbol for each attribute:

    >>> meanings = np.array([(a, b) for a in range(4) for b in range(4)])
    >>> posdis(meanings, meanings)
    1.0

    The miniature language of Chaabouni et al. 2020, appendix 8.2 (as in EGG): its symbols tell, its positions do not.

    >>> language = "004 005 006 007 141 151 161 171 242 252 262 272 343 335 336 337".split()
    >>> messages = np.array([[int(symbol) for symbol in message] for message in language])
    >>> bosdis(meanings, messages, 8), posdis(meanings, messages) < 0.7
    (1.0, True)
    """
    require_rows(meanings, messages)
    return _mean_gap(numbers(messages), numbers(meanings))


def bosdis(meanings: Ints, messages: Ints, n_tokens: int) -> float:
    """Bag-of-symbols disentanglement; symbols from `n_tokens` on, and SILENT, do not count. Else as `posdis`."""
    require_rows(meanings, messages)
    if n_tokens < 1:
        raise ValueError(f"n_tokens must be at least 1, not {n_tokens}")
    return _mean_gap(numbers(bags(messages, n_tokens)), numbers(meanings))


def bags(messages: Ints, n_tokens: int) -> Ints:
    """`[U, n_tokens]` how often each token occurs in each message."""
    return np.stack([(messages == token).sum(axis=1) for token in range(n_tokens)], axis=1)


def numbers(rows: Ints) -> Ints:
    """Each column as numbers from 0."""
    return np.stack([numbered(column[:, None])[1] for column in rows.T], axis=1) if rows.shape[1] else rows


def _mean_gap(columns: Ints, meanings: Ints, counts: Ints | None = None) -> float:
    """The mean gap over the columns `[U, J]` that vary; rows count `counts` `[U]` times. All are numbers from 0."""
    if meanings.shape[1] < 2:
        raise NotApplicable("it takes two attributes to tell which of them a symbol stands for")
    gaps = []
    for column in columns.T:
        size = int(column.max(initial=0)) + 1
        tables = []
        for attribute in meanings.T:
            width = int(attribute.max(initial=0)) + 1
            tables.append(np.bincount(column * width + attribute, counts, size * width).reshape(size, width))
        uses = tables[0].sum(axis=1)
        if np.count_nonzero(uses) > 1:
            told = sorted(shared_information(table) for table in tables)
            gaps.append((told[-1] - told[-2]) / entropy(uses).plug_in)
    return float(np.mean(gaps)) if gaps else float("nan")


def _less_chance(columns: Ints, meanings: Ints, dialogue: Ints, rng: np.random.Generator) -> float:
    """As `_mean_gap`, less what chance adds: where values are many for the dialogues, an attribute of which a column
    says nothing seems to be told, too (`analysis.metrics.symbol_information`)."""
    gaps = []
    for column in columns.T:
        uses = np.bincount(column)
        if np.count_nonzero(uses) > 1:
            told = sorted(less_chance(column, attribute, dialogue, rng, CHANCES) for attribute in meanings.T)
            gaps.append((told[-1] - max(told[-2], 0)) / entropy(uses).bits)
    return float(np.clip(np.mean(gaps), 0, 1)) if gaps else float("nan")


def disentanglement_of(said: Utterances, seed: int = 0, replicates: int = 200, nulls: int = 99) -> dict[str, Estimate]:
    """posdis and bosdis of all utterances, with intervals over resampled dialogues and permuted meanings as null.

    The figures are less what chance adds, unlike those of `posdis` and `bosdis`, which are as published: right where
    every meaning is there, and too low where values are many for the dialogues. Raises NotApplicable where there are
    few dialogues.

    Parameters
    ----------
    said : Utterances
        Of one speaker (`analysis.data.utterances`).
    seed, replicates, nulls : int
        What fixes the randomness, resamplings behind the interval, permutations behind the null.

    Returns
    -------
    dict
        `posdis` and `bosdis`, each an `Estimate`.

    Examples
    --------
    `disentanglement_of(said)["posdis"].value`
    """
    rng = np.random.default_rng(seed)
    said.require_enough()
    said = said.drawn(MOST_UTTERANCES, rng)
    meanings = numbers(said.meanings)
    rounds = (said.symbols != SILENT).mean(axis=0) >= 0.01
    columns = {"posdis": numbers(said.symbols[:, rounds]), "bosdis": numbers(bags(said.symbols, said.n_tokens))}

    def statistic(of: Ints) -> Callable[[Ints], float]:
        return lambda counts: _mean_gap(of, meanings, counts)

    def permuted(of: Ints) -> Callable[[np.random.Generator], float]:
        return lambda rng: _mean_gap(of, meanings[permuted_together(said.dialogue, rng)])

    found = {}
    for name, of in columns.items():
        plain = estimated(statistic(of), permuted(of), said.dialogue, rng, replicates, nulls)
        value = _less_chance(of, meanings, said.dialogue, rng)
        low, high = np.clip([value + plain.low - plain.value, value + plain.high - plain.value], 0, 1).tolist()
        found[name] = plain._replace(value=value, low=low, high=high)
    return found
