"""Topographic similarity: do like meanings have like messages (Brighton and Kirby 2006)?

The Spearman correlation of two distances over all pairs: of meanings, and of messages. It is 1 where the farther
meanings have the farther messages, and 0 where the messages are given out at random.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.stats import rankdata

from analysis.data.decisions import NotApplicable
from analysis.data.utterances import Utterances, require_rows
from analysis.metrics.resampling import Estimate, Reals, estimated
from envs.channels import SILENT
from envs.game import Ints

MOST_MEANINGS = 120
"""Meanings that are compared at once; of more so many are drawn, again and again."""
DRAWS = 8
"""Draws of meanings whose mean is the figure. Each resampling behind the interval has one of its own."""
MOST_UTTERANCES = 20_000
"""Of more so many are drawn."""

Distance = Callable[[Ints, Ints], Reals]
"""`[K]` how far apart the rows of two arrays `[K, C]` are."""


def hamming(a: Ints, b: Ints) -> Reals:
    """Share of the places in which two rows differ.

    >>> hamming(np.array([[1, 2, 3, 4]]), np.array([[1, 2, 4, 3]])).tolist()
    [0.5]
    """
    return np.asarray((a != b).mean(axis=1), np.float64)


def edit(a: Ints, b: Ints) -> Reals:
    """Insertions, deletions and replacements between two rows, over their mean length; SILENT is no symbol.

    Levenshtein 1966, divided as EGG and emlangkit do.

    >>> edit(np.array([[1, 2, 3, -1]]), np.array([[2, 3, 4, 5]])).round(4).tolist()  # 3 edits, lengths 3 and 4
    [0.8571]
    """
    (a, n), (b, m) = _pushed(a), _pushed(b)
    rows, rounds = a.shape
    before = np.tile(np.arange(rounds + 1), (rows, 1))
    table = [before]
    for i in range(rounds):
        now = np.empty_like(before)
        now[:, 0] = i + 1
        for j in range(rounds):
            replaced = before[:, j] + (a[:, i] != b[:, j])
            now[:, j + 1] = np.minimum(np.minimum(before[:, j + 1], now[:, j]) + 1, replaced)
        before = now
        table.append(now)
    edits = np.stack(table, axis=1)[np.arange(rows), n, m]
    return edits / np.maximum((n + m) / 2, 1)


def bag(a: Ints, b: Ints) -> Reals:
    """Symbols of either row that the other lacks, whatever their order, over the lengths of both; 0 to 1.

    >>> bag(np.array([[1, 2, 2]]), np.array([[2, 1, 3]])).round(4).tolist()  # one 2 and one 3 of six
    [0.3333]
    """
    both = np.concatenate([a, b], axis=1)
    kinds = np.arange(SILENT + 1, int(both.max(initial=0)) + 1)
    ours, theirs = ((rows[:, :, None] == kinds).sum(axis=1) for rows in (a, b))
    lengths = (both != SILENT).sum(axis=1)
    return np.abs(ours - theirs).sum(axis=1) / np.maximum(lengths, 1)


def _pushed(rows: Ints) -> tuple[Ints, Ints]:
    """The rows with their SILENT cells at the end, and `[K]` their lengths."""
    order = np.argsort(rows == SILENT, axis=1, kind="stable")
    return np.take_along_axis(rows, order, axis=1), (rows != SILENT).sum(axis=1)


DISTANCES: dict[str, Distance] = {"edit": edit, "hamming": hamming, "bag": bag}
"""Distances of messages."""


def topographic_similarity(
    meanings: Ints, messages: Ints, message_distance: Distance = edit, meaning_distance: Distance = hamming
) -> float:
    """The Spearman correlation of the distances of meanings and of messages over all pairs of rows.

    NaN where all pairs are equally far apart.

    Parameters
    ----------
    meanings : array `[V, P]`
        One row for each meaning.
    messages : array `[V, R]`
        What is said for it, SILENT after the end.
    message_distance, meaning_distance : callable
        How far rows are apart.

    Returns
    -------
    float
        -1 to 1.

    Examples
    --------
    EGG's published example: what is said is what is meant.

    >>> words = np.array([[ord(c) for c in word] for word in ("cat", "dog", "pen", "ben", "ten")])
    >>> topographic_similarity(words, words, hamming), topographic_similarity(words, words, edit)
    (1.0, 1.0)
    """
    require_rows(meanings, messages)
    first, second = np.triu_indices(len(meanings), 1)
    apart = meaning_distance(meanings[first], meanings[second])
    return _correlation(apart, message_distance(messages[first], messages[second]))


def _correlation(a: Reals, b: Reals) -> float:
    """Spearman's, of values rounded to where they are equal."""
    a, b = (rankdata(np.round(x, 9)) for x in (a, b))
    a, b = a - a.mean(), b - b.mean()
    size = np.sqrt((a @ a) * (b @ b))
    return float(np.round(a @ b / size, 12)) if size > 0 else float("nan")


def similarity_of(said: Utterances, seed: int = 0, replicates: int = 100, nulls: int = 99) -> dict[str, Estimate]:
    """Topographic similarity of the commonest message of each meaning, by distance of messages.

    The interval resamples dialogues, and takes the commonest messages anew; the null gives the messages to other
    meanings (a Mantel test). Raises NotApplicable where meanings differ in one attribute only: all pairs are alike.

    Parameters
    ----------
    said : Utterances
        Of one speaker (`analysis.data.utterances`).
    seed, replicates, nulls : int
        What fixes the randomness, resamplings behind the interval, permutations behind the null.

    Returns
    -------
    dict
        For each of `DISTANCES` an `Estimate`.

    Examples
    --------
    `similarity_of(said)["edit"].value`
    """
    if len(said.attributes) < 2:
        raise NotApplicable("it takes two attributes: of one attribute, all values are equally far apart")
    said.require_enough()
    rng = np.random.default_rng(seed)
    said = said.drawn(MOST_UTTERANCES, rng)
    meanings, meaning = said.meaning_numbers()
    messages, message = said.message_numbers()
    pairs = meaning * len(messages) + message
    different, pair = np.unique(pairs, return_inverse=True)
    of, what = different // len(messages), different % len(messages)

    def commonest(counts: Ints) -> tuple[Ints, Ints]:
        """The meanings that occur, and the number of the commonest message of each."""
        uses = np.bincount(pair.reshape(-1), counts, len(different))
        order = np.lexsort([-uses, of])
        order = order[uses[order] > 0]
        _, first = np.unique(of[order], return_index=True)
        return of[order][first], what[order][first]

    def compared(there: Ints, says: Ints, distance: Distance) -> float:
        """Of all these meanings, or of as many as can be compared at once."""
        if len(there) > MOST_MEANINGS:
            drawn = rng.permutation(len(there))[:MOST_MEANINGS]
            there, says = there[drawn], says[drawn]
        return topographic_similarity(meanings[there], messages[says], distance)

    every, usual = commonest(np.ones(len(pair), np.int64))
    found = {}
    for name, distance in DISTANCES.items():

        def statistic(counts: Ints, distance: Distance = distance) -> float:
            draws = DRAWS if len(meanings) > MOST_MEANINGS and (counts == 1).all() else 1
            there, says = commonest(counts)
            found = np.array([compared(there, says, distance) for _ in range(draws)])
            return float(found[np.isfinite(found)].mean()) if np.isfinite(found).any() else float("nan")

        def permuted(rng: np.random.Generator, distance: Distance = distance) -> float:
            return compared(every, rng.permutation(usual), distance)

        found[name] = estimated(statistic, permuted, said.dialogue, rng, replicates, nulls)
    return found
