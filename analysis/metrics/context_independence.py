"""Context independence: is each concept named by a symbol of its own, whatever else is meant (Bogin et al. 2018)?

A concept is one value of one attribute. Which symbol stands for which concept is aligned by IBM Model 1 (Brown et al.
1993) in both directions: p(symbol | concept) and p(concept | symbol). For each concept the product of the two is taken
at the symbol that the concept is likeliest for, of several such at the commonest; their mean is 1 where each concept
has one symbol, and that symbol nothing else to say. A concept that no symbol names counts 0.

As published, how common the symbol is plays no part in which is taken: a rare one, said once for one concept, comes
before one that is nearly always said for it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from analysis.data.decisions import NotApplicable
from analysis.data.utterances import FEWEST, Utterances, numbered
from analysis.metrics.resampling import Estimate, Reals, estimated, permuted_together
from envs.game import Ints

MOST_STEPS, SETTLED = 2_000, 1e-6
"""Steps of expectation-maximisation at most, and the change of a probability in a step below which they end."""
EQUAL = 1e-3
"""Probabilities that differ by less are equal."""
MOST_UTTERANCES = 3_000
"""Of more so many are drawn: each is aligned in every step of every resampling."""
LEAST = 1e-12


def context_independence(concepts: Reals, symbols: Reals, counts: NDArray[np.number] | None = None) -> float:
    """Context independence of messages as bags of symbols; NaN where nothing is said, or the alignment does not settle.

    Parameters
    ----------
    concepts : array `[U, C]`
        How often each concept is in the meaning of a message.
    symbols : array `[U, S]`
        How often each symbol is in the message.
    counts : array `[U]`, optional
        How often each row counts.

    Returns
    -------
    float
        0 to 1.

    Examples
    --------
    Two attributes of two values, a symbol for each value; then the same symbol for all:

    >>> concepts = np.array([[1, 0, 1, 0], [1, 0, 0, 1], [0, 1, 1, 0], [0, 1, 0, 1.0]])
    >>> round(context_independence(concepts, concepts), 3)
    1.0
    >>> round(context_independence(concepts, np.ones((4, 1))), 3)  # p(symbol | concept) = 1, p(concept | symbol) = 1/4
    0.25
    """
    weight = np.ones(len(concepts)) if counts is None else counts.astype(np.float64)
    occur = (weight @ concepts) > 0
    kept = (symbols.sum(axis=1) > 0) & (weight > 0)
    concepts, symbols, weight = concepts[kept], symbols[kept], weight[kept]
    if not len(weight) or not occur.any():
        return float("nan")
    named = _translation(concepts, symbols, weight)  # [C, S] p(symbol | concept)
    meant = _translation(symbols, concepts, weight).T  # [C, S] p(concept | symbol)
    if not np.isfinite([named.sum(), meant.sum()]).all():
        return float("nan")
    likeliest = meant >= meant.max(axis=1, keepdims=True) - EQUAL
    return float(np.where(likeliest, named * meant, 0).max(axis=1)[occur].mean())


def _translation(given: Reals, produced: Reals, weight: Reals) -> Reals:
    """`[G, T]` the probability that one of `given` `[U, G]` produces each of `produced` `[U, T]`: IBM Model 1.

    Where each message has one value of each attribute several tables are as likely: taken is the one that steps from
    even probabilities lead to. NaN where they do not settle, as where two of `given` nearly always come together.
    """
    table = np.where((given.T @ produced) > 0, 1.0, 0.0)
    table /= np.maximum(table.sum(axis=1, keepdims=True), LEAST)
    for _ in range(MOST_STEPS):
        before = table
        explained = weight[:, None] * produced / np.maximum(given @ table, LEAST)  # [U, T]
        table = table * (given.T @ explained)
        table /= np.maximum(table.sum(axis=1, keepdims=True), LEAST)
        if np.abs(table - before).max() < SETTLED:
            return table
    return np.full_like(table, np.nan)


def concepts_of(said: Utterances) -> tuple[Reals, list[tuple[int, int]]]:
    """`[U, C]` which concepts each utterance means, and of each the attribute and the value, -1 where it has none.

    Attributes that are always the same are left out; raises NotApplicable where all are.
    """
    columns, names = [], []
    for p, attribute in enumerate(said.meanings.T):
        values = np.unique(attribute)
        for value in values if len(values) > 1 else ():
            columns.append(attribute == value)
            names.append((p, int(value)))
    if not columns:
        raise NotApplicable(f"what the {said.speaker} knows is nearly always the same")
    return np.stack(columns, axis=1).astype(np.float64), names


def independence_of(said: Utterances, seed: int = 0, replicates: int = 60, nulls: int = 39) -> Estimate:
    """Context independence of all utterances, with its interval over resampled dialogues and permuted meanings as null.

    Where an utterance has no token, EOT and silence do not count either: it names nothing. That an attribute is missing
    is a concept like its values. Chance makes the figure too high, the more the fewer utterances: where it is not above
    chance the interval reaches down to 0. Raises NotApplicable where fewer than `FEWEST` dialogues have a token, or the
    alignment does not settle.

    Parameters
    ----------
    said : Utterances
        Of one speaker (`analysis.data.utterances`).
    seed, replicates, nulls : int
        What fixes the randomness, resamplings behind the interval, permutations behind the null.

    Returns
    -------
    Estimate
        `value`, `low`, `high`, `null`, `p_value`.

    Examples
    --------
    `independence_of(said).value`
    """
    said.require_enough()
    rng = np.random.default_rng(seed)
    said = said.drawn(MOST_UTTERANCES, rng)
    dialogues = np.unique(said.dialogue[said.is_token.any(axis=1)])
    if 0 < len(dialogues) < FEWEST:
        raise NotApplicable(f"the {said.speaker} says a token in {len(dialogues)} dialogues: too few")
    concepts, _ = concepts_of(said)
    tokens = np.unique(said.symbols[said.is_token])
    symbols = np.stack([(said.symbols == t).sum(axis=1) for t in tokens] or [np.zeros(len(said))], axis=1).astype(float)
    numbers_of = [numbered(rows.astype(np.int64)) for rows in (concepts, symbols)]
    (meanings, meaning), (bags, bag) = numbers_of

    def of(meaning: Ints, counts: Ints) -> float:
        pair, which = np.unique(meaning * len(bags) + bag, return_inverse=True)
        weight = np.bincount(which.reshape(-1), counts, len(pair))
        return context_independence(meanings[pair // len(bags)] * 1.0, bags[pair % len(bags)] * 1.0, weight)

    def permuted(rng: np.random.Generator) -> float:
        return of(meaning[permuted_together(said.dialogue, rng)], np.ones(len(said), np.int64))

    if len(dialogues) and np.isnan(of(meaning, np.ones(len(said), np.int64))):
        raise NotApplicable(
            f"some of what the {said.speaker} knows nearly always comes together: which token stands for which does "
            f"not settle in {MOST_STEPS:,} steps"
        )
    found = estimated(lambda counts: of(meaning, counts), permuted, said.dialogue, rng, replicates, nulls)
    low, high = np.clip([0 if found.value <= found.null else found.low, found.high], 0, 1)
    return found._replace(low=float(low), high=float(high))
