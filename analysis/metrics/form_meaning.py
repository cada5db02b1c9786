"""Form-meaning units: the dictionary of symbol strings and what they mean, after Boldt and Mortensen 2025.

Their algorithm, CSAR: *count* how often each string of symbols and each meaning occur together, *select* the pair that
shares the most information, *ablate* both where they stand together, *repeat*. A meaning is a value of an attribute or
several together; that an attribute is missing is one of its values. A string is of neighbouring rounds, and may be
bound to the one in which it begins. It ends where permuted meanings do as well.
Pairs in which the string nearly always has that meaning come first, then those in which it has it more often than not.
Units are those of one half of the dialogues, and their figures those of all of the other half, where they must occur.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.data.utterances import Utterances, numbered
from analysis.metrics.resampling import Reals, permuted_together, rate_of_groups, rate_of_rows
from emcomm.statistics import Rate
from envs.channels import SILENT
from envs.game import Attribute, Bools, Ints

LONGEST = 4
"""Symbols of a string."""
MOST_RECORDS, MOST_FORMS, MOST_MEANINGS, MOST_UNITS = 1_500, 600, 400, 200
"""Different pairs of message and meaning, strings, meanings and units that are looked for; the commonest are kept, of
pairs that occur equally often some at random."""
TOGETHER = 3
"""Attributes of one meaning."""
NULLS = 19
SURE, LIKELIER = 0.9, 0.5
"""Shares of the uses of a string in which it has its meaning: sure pairs are taken first, then likely ones."""
GONE = -2
"""Marks a symbol that a unit has explained."""


class Form(NamedTuple):
    """A string of symbols."""

    symbols: tuple[int, ...]
    """Empty: a message without a token."""
    round: int
    """The round in which it begins, from 1; 0: any."""


Meaning = tuple[tuple[int, int], ...]
"""Attributes and their values."""


class Unit(NamedTuple):
    """A string and what it means."""

    form: Form
    meaning: Meaning
    bits: float
    """That the two shared when they were selected."""
    means: Rate
    """Of all held-out utterances with the form, those with the meaning."""
    said: Rate
    """Of all held-out utterances with the meaning, those with the form."""


@dataclass(frozen=True)
class Dictionary:
    """Units in the order in which they were found; those found before are taken away first."""

    speaker: str
    attributes: tuple[Attribute, ...]
    units: tuple[Unit, ...]
    symbols: Rate
    """Held-out tokens that a unit explains; the interval is over dialogues."""
    meanings: Rate
    """Held-out values of attributes that a unit expresses."""
    null_bits: float
    """The most that a pair shares where meanings are permuted."""
    complete: bool = True
    """Whether nothing was left out: chance was reached; messages, strings, meanings and units were not too many to look
    at; no message has more than `LONGEST` tokens, or tokens with a gap between them; and no more than `TOGETHER`
    attributes are known."""

    def to_frame(self) -> pd.DataFrame:
        """One row per unit."""
        rows = [
            (self.speaker, form_text(u.form), unit_meaning(u.meaning, self.attributes), u.bits, u.means.value,
             u.means.low, u.means.high, u.said.value, u.means.trials)
            for u in self.units
        ]  # fmt: skip
        names = ["speaker", "form", "means", "bits", "share", "low", "high", "share_said_so", "uses"]
        return pd.DataFrame(rows, columns=names)


def form_text(form: Form) -> str:
    """A form for the reader.

    >>> form_text(Form((2, 0), 1)), form_text(Form((), 0))
    ('2 · 0 from round 1', 'no token')
    """
    if not form.symbols:
        return "no token"
    where = f" {'in' if len(form.symbols) == 1 else 'from'} round {form.round}" if form.round else ""
    return " · ".join(map(str, form.symbols)) + where


def unit_meaning(meaning: Meaning, attributes: tuple[Attribute, ...]) -> str:
    """A meaning for the reader."""
    return ", ".join(attributes[p].text(value) for p, value in meaning)


class _Corpus:
    """Pairs of message and meaning, from which units are taken away."""

    def __init__(self, messages: Ints, meanings: Ints, counts: Ints) -> None:
        self.messages, self.meanings, self.counts = messages.copy(), meanings.copy(), counts
        self.empty: Bools = np.logical_not((messages >= 0).any(axis=1))

    def has_form(self, form: Form) -> Bools:
        """`[K]`"""
        if not form.symbols:
            return self.empty.copy()
        has: Bools = np.logical_or.reduce(self.starts(form), axis=1)
        return has

    def starts(self, form: Form) -> Bools:
        """`[K, R]` where the form begins."""
        rounds, size = self.messages.shape[1], len(form.symbols)
        at = np.zeros(self.messages.shape, np.bool_)
        if size <= rounds:
            there = np.ones((len(self.messages), rounds - size + 1), np.bool_)
            for offset, symbol in enumerate(form.symbols):
                there &= self.messages[:, offset : offset + rounds - size + 1] == symbol
            at[:, : there.shape[1]] = there
        if form.round:
            at[:, np.arange(rounds) != form.round - 1] = False
        return at

    def has_meaning(self, meaning: Meaning) -> Bools:
        """`[K]`"""
        return np.asarray(np.stack([self.meanings[:, p] == value for p, value in meaning]).all(axis=0))

    def ablate(self, form: Form, meaning: Meaning) -> Bools:
        """Take both away where they stand together; `[K]` where."""
        both: Bools = self.has_form(form) & self.has_meaning(meaning)
        starts = self.starts(form) & both[:, None] if form.symbols else np.zeros(self.messages.shape, np.bool_)
        for offset in range(len(form.symbols)):
            rows, at = np.nonzero(starts)
            self.messages[rows, at + offset] = GONE
        if not form.symbols:
            self.empty &= ~both
        for p, _ in meaning:
            self.meanings[both, p] = GONE
        return both


def dictionary(said: Utterances, seed: int = 0) -> Dictionary:
    """The form-meaning units of one speaker.

    Parameters
    ----------
    said : Utterances
        Of one speaker (`analysis.data.utterances`).
    seed : int
        What fixes the halves and the permutations.

    Returns
    -------
    Dictionary
        `units`, each with `form`, `meaning`, `bits` and held-out `means` and `said`; `symbols` and `meanings`, the
        held-out coverage of both sides; `null_bits`.

    Examples
    --------
    A word for each colour, said first, and one for each shape, said second:

    >>> colour, shape = np.divmod(np.arange(400) % 4, 2)
    >>> none = np.zeros(400, np.bool_)
    >>> said = Utterances(
    ...     "sender", (Attribute("colour", 2), Attribute("shape", 2)), 4, 4, np.stack([colour, 2 + shape], axis=1),
    ...     np.stack([colour, shape], axis=1), np.arange(400), np.zeros(400, int), none, np.full(400, 2), none,
    ... )
    >>> found = dictionary(said)
    >>> sorted((form_text(unit.form), unit_meaning(unit.meaning, said.attributes)) for unit in found.units)
    [('0', 'colour 0'), ('1', 'colour 1'), ('2', 'shape 0'), ('3', 'shape 1')]
    >>> found.symbols.value, found.meanings.value
    (1.0, 1.0)
    """
    rng = np.random.default_rng(seed)
    half = rng.permutation(int(said.dialogue.max(initial=0)) + 1) % 2 == 0
    fitting, held_out = said[half[said.dialogue]], said[~half[said.dialogue]]
    messages = _messages(fitting)
    corpus = _thinned(_corpus(messages, fitting.meanings)[0], rng)
    forms, meanings = _forms(corpus), _meanings(corpus)
    null = 0.0
    for _ in range(NULLS):
        order = permuted_together(fitting.dialogue, rng)
        other = _thinned(_corpus(messages, fitting.meanings[order])[0], rng)
        null = max(null, float(_shared(other, forms, meanings).max(initial=0)))
    pairs = _selected(corpus, forms, meanings, null)
    few = len(corpus.counts) < MOST_RECORDS and len(forms) < MOST_FORMS and len(meanings) < MOST_MEANINGS
    complete = few and len(pairs) < MOST_UNITS and _are_short(said.is_token) and len(said.attributes) <= TOGETHER
    return _scored(held_out, pairs, null, complete)


def _messages(said: Utterances) -> Ints:
    """`[U, R]` the tokens, SILENT where none was said."""
    return np.where(said.is_token, said.symbols, SILENT)


def _are_short(tokens: Bools) -> bool:
    """Whether strings of `LONGEST` rounds hold all tokens of any utterance: of `[U, R]` where there are tokens.

    >>> _are_short(np.array([[0, 1, 1, 1, 1, 0]]) > 0), _are_short(np.array([[1, 1, 1, 1, 1]]) > 0)
    (True, False)
    >>> _are_short(np.array([[1, 0, 1]]) > 0)
    False
    """
    begun, to_come = np.cumsum(tokens, axis=1), np.cumsum(tokens[:, ::-1], axis=1)[:, ::-1]
    gap = ~tokens & (begun > 0) & (to_come > 0)
    return not gap.any() and int(tokens.sum(axis=1).max(initial=0)) <= LONGEST


def _corpus(messages: Ints, meanings: Ints) -> tuple[_Corpus, Ints]:
    """The different pairs of message and meaning, and `[U]` which of them each utterance is."""
    different, which = numbered(np.concatenate([messages, meanings], axis=1))
    rounds = messages.shape[1]
    return _Corpus(different[:, :rounds], different[:, rounds:], np.bincount(which, minlength=len(different))), which


def _thinned(corpus: _Corpus, rng: np.random.Generator) -> _Corpus:
    """At most `MOST_RECORDS` pairs: the commonest, of those that occur equally often some drawn at random."""
    counts = corpus.counts
    if len(counts) <= MOST_RECORDS:
        return corpus
    kept = np.sort(np.lexsort([rng.random(len(counts)), -counts])[:MOST_RECORDS])
    return _Corpus(corpus.messages[kept], corpus.meanings[kept], counts[kept])


def _forms(corpus: _Corpus) -> list[Form]:
    """The commonest strings: longer ones first, and those that may stand anywhere."""
    uses: dict[Form, int] = {}
    for message, count in zip(corpus.messages.tolist(), corpus.counts.tolist(), strict=True):
        forms = {Form((), 0)} if all(s < 0 for s in message) else set()
        for start in range(len(message)):
            for end in range(start + 1, min(start + LONGEST, len(message)) + 1):
                if message[end - 1] < 0:
                    break
                string = tuple(message[start:end])
                forms |= {Form(string, 0), Form(string, start + 1)}
        for form in forms:
            uses[form] = uses.get(form, 0) + count
    commonest = sorted(uses, key=lambda form: -uses[form])[:MOST_FORMS]
    return sorted(commonest, key=lambda form: (-len(form.symbols), form.round, form.symbols))


def _meanings(corpus: _Corpus) -> list[Meaning]:
    """The commonest meanings, those of several attributes first."""
    uses: dict[Meaning, int] = {}
    attributes = range(corpus.meanings.shape[1])
    for size in range(1, min(TOGETHER, len(attributes)) + 1):
        for chosen in combinations(attributes, size):
            different, which = numbered(corpus.meanings[:, chosen])
            counts = np.bincount(which, corpus.counts)
            for values, count in zip(different.tolist(), counts.tolist(), strict=True):
                uses[tuple(zip(chosen, values, strict=True))] = int(count)
    commonest = sorted(uses, key=lambda meaning: -uses[meaning])[:MOST_MEANINGS]
    return sorted(commonest, key=lambda meaning: (-len(meaning), meaning))


def _shared(corpus: _Corpus, forms: list[Form], meanings: list[Meaning]) -> Reals:
    """`[F, M]` bits that presence of a form and presence of a meaning share; 0 where they avoid each other."""
    if not forms or not meanings or not corpus.counts.sum():
        return np.zeros((len(forms), len(meanings)))
    has_form = np.stack([corpus.has_form(form) for form in forms], axis=1).astype(np.float64)
    has_meaning = np.stack([corpus.has_meaning(meaning) for meaning in meanings], axis=1).astype(np.float64)
    return _bits_of_presence(has_form, has_meaning, corpus.counts)


def _bits_of_presence(has_form: Reals, has_meaning: Reals, counts: Ints) -> Reals:
    total = counts.sum()
    both = (has_form * counts[:, None]).T @ has_meaning / total
    form, meaning = (counts @ has_form / total)[:, None], (counts @ has_meaning / total)[None]
    bits = np.zeros(both.shape)
    for p, a, b in (
        (both, form, meaning),
        (form - both, form, 1 - meaning),
        (meaning - both, 1 - form, meaning),
        (1 - form - meaning + both, 1 - form, 1 - meaning),
    ):
        with np.errstate(divide="ignore", invalid="ignore"):
            bits += np.where(p > 1e-12, p * np.log2(p / (a * b)), 0)
    return np.where(both > form * meaning, bits, 0)


def _selected(
    corpus: _Corpus, forms: list[Form], meanings: list[Meaning], null: float
) -> list[tuple[Form, Meaning, float]]:
    """Pairs of form and meaning with their bits, the most telling first."""
    if not forms or not meanings:
        return []
    has_form = np.stack([corpus.has_form(form) for form in forms], axis=1).astype(np.float64)
    has_meaning = np.stack([corpus.has_meaning(meaning) for meaning in meanings], axis=1).astype(np.float64)
    counts = corpus.counts
    intact = np.round(_bits_of_presence(has_form, has_meaning, counts), 9)  # decides between equals
    likely = _share(has_form, has_meaning, counts) >= LIKELIER
    found: list[tuple[Form, Meaning, float]] = []
    for least in (SURE, LIKELIER):
        while len(found) < MOST_UNITS:
            bits = np.round(_bits_of_presence(has_form, has_meaning, counts), 9)
            bits = np.where(likely & (_share(has_form, has_meaning, counts) >= least), bits, 0)
            f, m = np.unravel_index(int(np.where(bits == bits.max(), intact, -1).argmax()), bits.shape)
            if bits[f, m] <= null + 1e-9:
                break
            found.append((forms[f], meanings[m], float(bits[f, m])))
            rows = np.flatnonzero(corpus.ablate(forms[f], meanings[m]))
            changed = _Corpus(corpus.messages[rows], corpus.meanings[rows], corpus.counts[rows])
            changed.empty = corpus.empty[rows]
            has_form[rows] = np.stack([changed.has_form(form) for form in forms], axis=1)
            has_meaning[rows] = np.stack([changed.has_meaning(meaning) for meaning in meanings], axis=1)
    return found


def _share(has_form: Reals, has_meaning: Reals, counts: Ints) -> Reals:
    """`[F, M]` of the uses of each form, how many have each meaning."""
    share: Reals = (has_form * counts[:, None]).T @ has_meaning / np.maximum(counts @ has_form, 1)[:, None]
    return share


def _scored(held_out: Utterances, pairs: list[tuple[Form, Meaning, float]], null: float, complete: bool) -> Dictionary:
    """The units with what held-out utterances say of them: what each covers is what those before it have left."""
    corpus, which = _corpus(_messages(held_out), held_out.meanings)
    whole, dialogue = _Corpus(corpus.messages, corpus.meanings, corpus.counts), numbered(held_out.dialogue[:, None])[1]
    units = []
    for form, meaning, bits in pairs:
        if not corpus.ablate(form, meaning).any():  # chance in the other half
            continue
        has_form, has_meaning = whole.has_form(form)[which], whole.has_meaning(meaning)[which]
        means = rate_of_rows(has_meaning[has_form], dialogue[has_form])
        said = rate_of_rows(has_form[has_meaning], dialogue[has_meaning])
        units.append(Unit(form, meaning, bits, means, said))

    def covered(before: Ints, after: Ints, least: int) -> Rate:
        """Of the cells from `least` up those that are gone."""
        there, left = ((cells >= least).sum(axis=1)[which] for cells in (before, after))
        of_dialogue = [np.bincount(dialogue, counts).astype(np.int64) for counts in (there - left, there)]
        return rate_of_groups(*of_dialogue)

    return Dictionary(
        held_out.speaker, held_out.attributes, tuple(units), covered(whole.messages, corpus.messages, 0),
        covered(whole.meanings, corpus.meanings, GONE + 1), null, complete,
    )  # fmt: skip
