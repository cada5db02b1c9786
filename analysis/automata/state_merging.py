"""Automata learned from logs alone: n-grams, and the state merging of RPNI and ALERGIA (AALpy)."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections import Counter
from typing import Any

import numpy as np

from analysis.automata.automaton import Automaton, suffixes
from analysis.data.decisions import Decisions
from envs.game import Ints


def ngram(decided: Decisions, n: int = 3, at_least: int = 5) -> Automaton:
    """The states of an n-gram: the last `n - 1` rounds, shortened where they were heard fewer than `at_least` times.

    The closing EOT/EOT round changes nothing.
    """
    symbols, n_rounds, _ = decided.views()
    heard: Counter[tuple[int, ...]] = Counter()
    kinds, eot = decided.n_kinds, decided.n_tokens
    letters = symbols[..., 0] % kinds * kinds + symbols[..., 1] % kinds
    closing = np.zeros((kinds, kinds), np.bool_)
    closing[eot, eot] = True
    for length in range(1, n):
        for start in range(letters.shape[1] - length + 1):
            window = letters[n_rounds >= start + length, start : start + length]
            window = window[(window != eot * kinds + eot).all(axis=1)]
            contexts, times = np.unique(window, axis=0, return_counts=True)
            for context, count in zip(contexts.tolist(), times.tolist(), strict=True):
                heard[tuple(context)] += count
    return suffixes((context for context, count in heard.items() if count >= at_least), kinds, closing)


def rpni(decided: Decisions, dialogues: int = 1000) -> Automaton:
    """RPNI (Oncina & García 1992): the merged prefix tree that tells who yielded without a mistake on the data.

    Dialogues that ended both ways are labelled by the majority. Uses the first `dialogues` that parted.
    """
    from aalpy.learning_algs import run_RPNI

    parted = decided[decided.parted][:dialogues]
    balance: Counter[tuple[int, ...]] = Counter()
    for word, move in _words(parted):
        balance[word] += 1 if move else -1
    data = [[word, total > 0] for word, total in balance.items() if total]
    if not data:
        return Automaton(("any",), np.zeros((1, decided.n_kinds, decided.n_kinds), np.int64))
    with _quietly():
        return _from_aalpy(run_RPNI(data, "moore", print_info=False), decided.n_kinds)


def alergia(decided: Decisions, eps: float = 0.05, dialogues: int = 2500) -> Automaton:
    """ALERGIA (Carrasco & Oncina 1994) on rounds and the final move, as a stochastic automaton.

    Compatibility is tested on the counts accumulated by earlier merges: on those of the prefix tree alone, deep nodes
    have too few visits to differ from anything, and everything merges into one state.
    """
    from aalpy.learning_algs.general_passive.GsmAlgorithms import run_Alergia_GSM

    data = []
    for word, move in _words(decided[:dialogues]):
        data.append([("next", letter) for letter in word] + [("next", "yield" if move else "stay")])
    if not data:
        return Automaton(("any",), np.zeros((1, decided.n_kinds, decided.n_kinds), np.int64))
    with _quietly():
        learned = run_Alergia_GSM(data, "smm", eps, compat_on_pta_trans=False, compat_on_pta_count=False)
    states = list(learned.states)
    number = {id(state): i for i, state in enumerate(states)}
    transition = np.tile(np.arange(len(states))[:, None], (1, decided.n_kinds**2))
    for i, state in enumerate(states):
        for target, output, _ in state.transitions.get("next", ()):
            if isinstance(output, int):
                transition[i, output] = number[id(target)]
    return _numbered(transition, number[id(learned.initial_state)], decided.n_kinds)


def _words(decided: Decisions) -> list[tuple[tuple[int, ...], int]]:
    """Every view as its rounds (`own * K + other`) and own move."""
    symbols, n_rounds, moves = decided.views()
    letters = symbols[..., 0] % decided.n_kinds * decided.n_kinds + symbols[..., 1] % decided.n_kinds
    return [(tuple(row[:n].tolist()), int(m)) for row, n, m in zip(letters, n_rounds, moves, strict=True)]


def _from_aalpy(learned: Any, n_kinds: int) -> Automaton:
    """A deterministic automaton of AALpy; where it knows no transition, it stays."""
    states = list(learned.states)
    number = {id(state): i for i, state in enumerate(states)}
    transition = np.tile(np.arange(len(states))[:, None], (1, n_kinds**2))
    for i, state in enumerate(states):
        for letter, target in state.transitions.items():
            transition[i, letter] = number[id(target)]
    return _numbered(transition, number[id(learned.initial_state)], n_kinds)


def _numbered(transition: Ints, initial: int, n_kinds: int) -> Automaton:
    labels = tuple(f"state {i}" for i in range(len(transition)))
    return Automaton(labels, transition.reshape(-1, n_kinds, n_kinds), initial).reachable()


@contextlib.contextmanager
def _quietly() -> Any:
    """AALpy prints and warns about incomplete models."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        yield
