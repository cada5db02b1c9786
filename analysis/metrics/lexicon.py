"""The lexicon: what is said for which meaning, whole messages and round by round, with shares.

A share is that of the utterances with a meaning in which the message, or the symbol, is said; its interval is Wilson's,
over dialogues. It is a share of the same utterances in which the message was found to be the commonest: where others
are about as common, it and its interval are too high, and so is `Entry.means`. `Entry.settled` says where they are not.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.data.utterances import Utterances, meaning_text, message_text, symbol_text
from analysis.metrics.resampling import rate_of_rows
from emcomm.statistics import Z95, Rate
from envs.channels import SILENT
from envs.game import Bools, Ints

MOST_ENTRIES = 200
"""Meanings with an entry; of more only the commonest."""
FEW = 24
"""Meanings that are shown round by round; of more only the values of the attributes are."""
REACHED = 0.05
"""A round in which a smaller share of utterances has a symbol is left out."""

NONE = -1
"""The number of no message."""


class Entry(NamedTuple):
    """What is said for one meaning."""

    speaker: str
    meaning: str
    message: str
    """The commonest message, a dot between rounds."""
    said: Rate
    """How often that is said for this meaning."""
    means: Rate
    """How often the message stands for this meaning, of all its uses."""
    second: str
    """The second commonest message, with its share."""
    success: Rate | None
    """How the episodes ended in which it was said for this meaning; None where the game declares no success."""
    settled: bool
    """Whether it is ahead of the second commonest by more than chance."""


class Cell(NamedTuple):
    """What is said in one round for one meaning, or for one value of an attribute whatever else is meant."""

    speaker: str
    attribute: str
    """Empty for a whole meaning."""
    meaning: str
    round: int
    """From 1."""
    symbol: str
    """The commonest one; a dash where the talk is mostly over, or others speak."""
    said: Rate
    """How often it is said, of all utterances with this meaning."""


def lexicon(said: Utterances) -> tuple[Entry, ...]:
    """One entry for each meaning, in the order of the values; of very many meanings the commonest.

    Parameters
    ----------
    said : Utterances
        Of one speaker (`analysis.data.utterances`).

    Returns
    -------
    tuple of Entry
        `speaker`, `meaning`, `message`, `said`, `means`, `second`, `success`.

    Examples
    --------
    `[(entry.meaning, entry.message, entry.said.value) for entry in lexicon(said)]`
    """
    meanings, meaning = said.meaning_numbers()
    messages, message = said.message_numbers()
    uses = np.bincount(meaning, minlength=len(meanings))
    kept = np.sort(np.argsort(-uses, kind="stable")[:MOST_ENTRIES])
    found = []
    for v in kept:
        own, told = said[meaning == v], message[meaning == v]
        count = np.bincount(told, minlength=len(messages))
        order = np.argsort(-count, kind="stable")
        best, other = int(order[0]), int(order[1]) if len(order) > 1 else NONE
        says, everywhere = told == best, message == best
        second = ""
        if other != NONE and count[other]:
            second = f"{message_text(messages[other], said.eot)} ({100 * count[other] / uses[v]:.0f} %)"
        found.append(
            Entry(
                said.speaker, meaning_text(meanings[v], said.attributes), message_text(messages[best], said.eot),
                rate_of_rows(says, own.dialogue), rate_of_rows(meaning[everywhere] == v, said.dialogue[everywhere]),
                second, rate_of_rows(own.success[says], own.dialogue[says]) if said.judged else None,
                _is_ahead(says, told == other, own.dialogue),
            )
        )  # fmt: skip
    return tuple(found)


def _is_ahead(says: Bools, other: Bools, dialogue: Ints) -> bool:
    """Whether more utterances have the one than the other, by more than chance (two-sided, 5 %), over dialogues."""
    _, which = np.unique(dialogue, return_inverse=True)
    gaps = np.bincount(which, says) - np.bincount(which, other)
    return bool(gaps.sum() > Z95 * np.sqrt(gaps @ gaps))


def by_round(said: Utterances) -> tuple[Cell, ...]:
    """What is said in each round for each meaning, where there are few, and for each value of several attributes.

    Rounds in which fewer than 5 % of the utterances have a symbol are left out.

    Examples
    --------
    `[(cell.meaning, cell.round, cell.symbol) for cell in by_round(said)]`
    """
    meanings, meaning = said.meaning_numbers()
    rounds = np.flatnonzero((said.symbols != SILENT).mean(axis=0) >= REACHED)
    several = len(said.attributes) > 1
    cells = []
    if len(meanings) <= FEW or not several:
        for v, values in enumerate(meanings):
            cells += _cells(said, "", meaning_text(values, said.attributes), meaning == v, rounds)
    for p, attribute in enumerate(said.attributes if several else ()):
        for value in np.unique(said.meanings[:, p]).tolist():
            those = said.meanings[:, p] == value
            cells += _cells(said, attribute.name, attribute.text(value), those, rounds)
    return tuple(cells)


def _cells(said: Utterances, attribute: str, meaning: str, those: Bools, rounds: Ints) -> list[Cell]:
    cells = []
    for t in rounds.tolist():
        symbols = said.symbols[those, t]
        best = int(np.bincount(symbols - SILENT).argmax()) + SILENT
        share = rate_of_rows(symbols == best, said.dialogue[those])
        cells.append(Cell(said.speaker, attribute, meaning, t + 1, symbol_text(best, said.eot), share))
    return cells


def entry_frame(entries: tuple[Entry, ...]) -> pd.DataFrame:
    """One row per meaning: who says what for it, how often, and how surely it stands for it."""
    rows = [
        (e.speaker, e.meaning, e.message, e.said.value, e.said.low, e.said.high, e.second, e.means.value,
         e.success.value if e.success else None, e.said.trials, e.settled)
        for e in entries
    ]  # fmt: skip
    names = [
        "speaker", "meaning", "says", "share", "low", "high", "or", "share_of_its_uses", "success", "utterances",
        "settled",
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=names)
    return frame if all(e.success for e in entries) else frame.drop(columns="success")


def cell_frame(cells: tuple[Cell, ...]) -> pd.DataFrame:
    """One row per value and round: the commonest symbol, its share, and the interval."""
    rows = [
        (c.speaker, c.meaning, c.round, c.symbol, c.said.value, c.said.low, c.said.high, c.said.trials) for c in cells
    ]
    return pd.DataFrame(rows, columns=["speaker", "meaning", "round", "symbol", "share", "low", "high", "utterances"])
