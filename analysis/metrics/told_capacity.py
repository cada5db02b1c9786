"""How much of what a speaker knows its messages tell, of what there is to tell, and of what symbols could tell.

The bits told are a lower bound: H(meaning) + E[log2 q(meaning | message)] for a predictor q that has not met the
utterance, a table of what each message has meant, shrunk towards the shares of the meanings. Noise gives 0 or less.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.data.utterances import Utterances
from analysis.metrics.entropy import entropy
from analysis.metrics.resampling import Reals, interval_of_means, permuted_together
from envs.game import Ints

FOLDS = 5
MOST_UTTERANCES = 50_000
"""Of more so many are drawn."""
SHRINKAGE = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0, 10_000.0)
"""Utterances that the shares of the meanings count for, beside those of a message."""


class Capacity(NamedTuple):
    """The bits of one speaker's messages."""

    speaker: str
    told: float
    """Lower bound on the bits that a message tells of the meaning."""
    low: float
    """Lower end of the 95 % bootstrap interval."""
    high: float
    null: float
    """The largest of the same with permuted meanings."""
    of_meanings: float
    """Entropy of the meanings (bits): there is no more to tell."""
    of_symbols: float
    """log2 of the number of messages that the speaker's symbols allow in the rounds used (bits)."""
    rounds: int
    """Rounds used: of 99 % of the dialogues no more."""
    mean_rounds: float
    """Of a dialogue."""
    least_rounds: float
    """Mean of the fewest rounds in which all meanings could be told; NaN where several agents speak."""
    utterances: int
    enough: bool
    """Whether the utterances are many enough for the entropy of the meanings."""

    @property
    def share_told(self) -> float:
        """Of what there is to tell, or could be said, whichever is less."""
        most = min(self.of_meanings, self.of_symbols)
        return self.told / most if most > 0 else float("nan")


def held_out_bits(message: Ints, meaning: Ints, dialogue: Ints, rng: np.random.Generator) -> Reals:
    """`[U]` H(meaning) + log2 q(meaning | message) of each utterance, from a table that has not met its dialogue.

    >>> rng = np.random.default_rng(0)
    >>> meaning = rng.integers(8, size=4000)
    >>> told = held_out_bits(meaning % 4, meaning, np.arange(4000), rng).mean()
    >>> noise = held_out_bits(rng.integers(4, size=4000), meaning, np.arange(4000), rng).mean()
    >>> round(float(told), 2), round(abs(float(noise)), 2)
    (2.0, 0.0)
    """
    n_meanings = int(meaning.max(initial=0)) + 1
    fold = (rng.permutation(int(dialogue.max(initial=0)) + 1) % FOLDS)[dialogue]
    out = np.zeros(len(meaning))
    for k in range(FOLDS):
        fitting, scored = fold != k, fold == k
        pairs, pair = np.unique(message[fitting] * n_meanings + meaning[fitting], return_inverse=True)
        together = np.bincount(pair.reshape(-1), minlength=len(pairs))
        alone = np.bincount(message[fitting], minlength=int(message.max(initial=0)) + 1)
        prior = (np.bincount(meaning[fitting], minlength=n_meanings) + 0.5) / (fitting.sum() + 0.5 * n_meanings)
        left_out = [
            np.log2(
                (together[pair.reshape(-1)] - 1 + a * prior[meaning[fitting]]) / (alone[message[fitting]] - 1 + a)
            ).mean()
            for a in SHRINKAGE
        ]
        a = SHRINKAGE[int(np.argmax(left_out))]
        wanted = message[scored] * n_meanings + meaning[scored]
        at = np.minimum(np.searchsorted(pairs, wanted), len(pairs) - 1)
        seen = np.where(pairs[at] == wanted, together[at], 0)
        out[scored] = np.log2((seen + a * prior[meaning[scored]]) / (alone[message[scored]] + a))
    return out + entropy(np.bincount(meaning)).plug_in


def messages_in(n_tokens: int, rounds: int, cut: bool, fixed: bool = False) -> Ints:
    """`[rounds]` how many messages of 1, 2, … rounds one speaker has: tokens, then EOT.

    `cut`: the last needs no EOT. `fixed`: there is no EOT, and all messages have that many rounds.

    >>> messages_in(3, 3, cut=False).tolist(), messages_in(3, 1, cut=True).tolist()
    ([1, 3, 9], [4])
    >>> messages_in(3, 2, cut=True, fixed=True).tolist()
    [0, 9]
    """
    counts = [0 if fixed else min(n_tokens**r, 2**62) for r in range(rounds)]
    if (cut or fixed) and rounds:
        counts[-1] = min(counts[-1] + n_tokens**rounds, 2**62)
    return np.array(counts, np.int64)


def least_rounds(
    shares: Reals, n_tokens: int, max_rounds: int | None = None, silence: bool = False, fixed: bool = False
) -> float:
    """Mean rounds of the shortest code for meanings with these `shares`, if one agent speaks; NaN where there is none.

    The commonest meaning gets the shortest message. `silence`: not to talk at all is a message of 0 rounds. `fixed`:
    every talk has `max_rounds` rounds.

    >>> least_rounds(np.full(4, 0.25), n_tokens=3)  # EOT alone, and three messages of a token and EOT
    1.75
    >>> least_rounds(np.full(4, 0.25), n_tokens=3, max_rounds=1)  # the talk is cut: no EOT is needed
    1.0
    """
    left, total, length = np.sort(shares)[::-1], 0.0, 0
    if silence:
        left = left[1:]
    while len(left):
        length += 1
        if max_rounds is not None and length > max_rounds:
            return float("nan")
        cut = length == max_rounds
        fit = int(messages_in(n_tokens, length, cut, fixed and cut)[-1]) if cut or not fixed else 0
        if n_tokens < 1 and length > 1:
            return float("nan")
        total, left = total + length * float(left[:fit].sum()), left[fit:]
    return total


def capacity(
    said: Utterances, alone: bool, max_rounds: int | None = None, silence: bool = False, fixed: bool = False,
    seed: int = 0, nulls: int = 19,
) -> Capacity:  # fmt: skip
    """What the messages of one speaker tell of its meaning, whole messages and all attributes together.

    Parameters
    ----------
    said : Utterances
        Of one speaker (`analysis.data.utterances`).
    alone : bool
        Whether it is the only agent that speaks.
    max_rounds : int, optional
        Rounds after which the talk is cut.
    silence : bool
        Whether agents may move without any talk, so that silence is a message.
    fixed : bool
        Whether there is no EOT, and every talk has `max_rounds` rounds.
    seed, nulls : int
        What fixes the randomness, and permutations.

    Returns
    -------
    Capacity
        All in bits; `least_rounds` of theory beside `mean_rounds`.

    Examples
    --------
    `capacity(said, alone=True).told`
    """
    rng = np.random.default_rng(seed)
    said.require_enough()
    said = said.drawn(MOST_UTTERANCES, rng)
    _, message = said.message_numbers()
    _, meaning = said.meaning_numbers()
    scores = held_out_bits(message, meaning, said.dialogue, rng)
    _, which = np.unique(said.dialogue, return_inverse=True)
    by_dialogue = np.bincount(which, scores) * (int(which.max()) + 1) / len(scores)
    (low,), (high,) = interval_of_means(by_dialogue[:, None], rng)
    null = max(
        float(held_out_bits(message, meaning[permuted_together(said.dialogue, rng)], said.dialogue, rng).mean())
        for _ in range(nulls)
    )
    rounds = int(np.quantile(said.n_rounds, 0.99, method="higher"))
    cut = bool(said.cut[said.n_rounds <= rounds].any())
    shares = np.bincount(meaning) / len(meaning)
    knows = entropy(np.bincount(meaning))
    values = [len(np.unique(column)) for column in said.meanings.T]
    if alone:
        possible = float(messages_in(said.n_tokens, rounds, cut, fixed).sum()) + bool((said.n_rounds == 0).any())
        could = float(np.log2(max(possible, 1)))
        least = least_rounds(shares, said.n_tokens, max_rounds, silence, fixed)
    else:
        symbols = max(said.n_tokens + (not fixed), 1)  # and silence, in the first round, where talk need not be opened
        opens = symbols + (silence and rounds > 0)
        could, least = math.log2(opens) + max(rounds - 1, 0) * math.log2(symbols), float("nan")
    return Capacity(
        said.speaker, float(scores.mean()), float(low), float(high), null,
        min(knows.bits, math.log2(math.prod(values))), could, rounds, float(said.n_rounds.mean()), least, len(said),
        knows.trusted,
    )  # fmt: skip


def to_frame(found: tuple[Capacity, ...]) -> pd.DataFrame:
    """One row per speaker."""
    rows = [
        (c.speaker, c.told, c.low, c.high, c.null, c.of_meanings, c.of_symbols, c.share_told, c.rounds, c.mean_rounds,
         c.least_rounds, c.utterances)
        for c in found
    ]  # fmt: skip
    names = [
        "speaker", "told_bits", "low_bits", "high_bits", "null_bits", "meanings_bits", "symbols_bits", "share_told",
        "rounds_used", "mean_rounds", "least_rounds", "utterances",
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=names)
