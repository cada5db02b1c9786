"""Protocols written by hand, whose true answer is known: what every estimator must find before its figures count.

Each family comes in random variants: the order or weights of the symbols, how talkative the agents are, and which
symbols they prefer are drawn from a seed. The agents are protocol machines and play in the real environment.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np

from analysis.agents.players import MachinePlayer, play_games
from analysis.automata.automaton import Automaton, constant, counter, difference
from analysis.automata.protocol_machine import Probabilities, ProtocolMachine
from emcomm.dialogues import DialogueTable
from envs.game import Ints
from envs.negotiation import TalkRules

Planted = Literal["first difference", "last difference", "vote", "cyclic order", "silent", "noise", "biased noise"]
PLANTED: tuple[Planted, ...] = get_args(Planted)


def plant(family: Planted, seed: int, n_tokens: int = 5) -> ProtocolMachine:
    """A random variant of a family.

    first difference: in the first round in which the two said different symbols, the higher in a random order yields;
    last difference: the last such round counts; vote: symbols have random whole weights and the larger sum yields;
    cyclic order: as the first difference, but token a beats the following half of the tokens, cyclically; silent: both
    move at once, by coin flips; noise: talk of random length, and moves that are coin flips; biased noise: the
    same with one move and one token that are much likelier than the others.

    >>> len(plant("first difference", seed=1))
    3
    """
    rng = np.random.default_rng([seed, PLANTED.index(family)])
    automaton, leaning = _BUILDERS[family](rng, n_tokens)
    emission = _talk(automaton, leaning, rng, n_tokens, silent=family == "silent")
    if family == "biased noise":
        emission[:, rng.integers(n_tokens)] *= 10
        emission[:, n_tokens + 1 + rng.integers(2)] *= rng.uniform(2, 6)
        emission /= emission.sum(axis=1, keepdims=True)
    return ProtocolMachine(
        f"planted {family}",
        automaton,
        emission,
        n_tokens,
        ("main", "detour"),
        np.zeros(len(automaton), np.float32),
    )


def planted_dialogues(family: Planted, seed: int, dialogues: int = 5000, n_tokens: int = 5) -> DialogueTable:
    """Dialogues of a planted protocol with itself, in the crossing."""
    machine = plant(family, seed, n_tokens)
    players = MachinePlayer(machine), MachinePlayer(machine)
    return play_games(players, TalkRules(n_tokens=n_tokens, window=1), dialogues, seed)


def _talk(automaton: Automaton, leaning: Ints, rng: np.random.Generator, n_tokens: int, silent: bool) -> Probabilities:
    """`[S, A]` tokens with random preferences, EOT more often once decided; moves as `leaning` `[S]` says."""
    eot_early, eot_late = rng.uniform(0.02, 0.1), rng.uniform(0.3, 0.7)
    tokens = rng.dirichlet(np.full(n_tokens, 5.0))
    eot = np.where((leaning == 0) & (len(automaton) > 1), eot_early, eot_late)
    symbols = np.concatenate([(1 - eot)[:, None] * tokens, eot[:, None]], axis=1)
    yields = np.where(leaning > 0, 1.0, np.where(leaning < 0, 0.0, 0.5))
    moves = np.stack([1 - yields, yields], axis=1)
    return np.concatenate([symbols * (0 if silent else 1), moves * (1 if silent else 1e-9)], axis=1)


def _ranked(rng: np.random.Generator, n_tokens: int) -> Ints:
    rank = np.append(rng.permutation(n_tokens + 1), -1)
    return np.sign(rank[:, None] - rank[None, :])


def _first(rng: np.random.Generator, n_tokens: int) -> tuple[Automaton, Ints]:
    return difference(_ranked(rng, n_tokens)), np.array([0, 1, -1])


def _last(rng: np.random.Generator, n_tokens: int) -> tuple[Automaton, Ints]:
    return difference(_ranked(rng, n_tokens), last=True), np.array([0, 1, -1])


def _cyclic(rng: np.random.Generator, n_tokens: int) -> tuple[Automaton, Ints]:
    place = rng.permutation(n_tokens)
    ahead = (place[:, None] - place[None, :]) % n_tokens
    beats = np.zeros((n_tokens + 2, n_tokens + 2), np.int64)
    beats[:n_tokens, :n_tokens] = np.where(ahead == 0, 0, np.where(2 * ahead <= n_tokens - n_tokens % 2, 1, -1))
    if n_tokens % 2 == 0:
        beats[:n_tokens, :n_tokens][2 * ahead == n_tokens] = 0  # opposite tokens decide nothing
    return difference(beats), np.array([0, 1, -1])


def _vote(rng: np.random.Generator, n_tokens: int) -> tuple[Automaton, Ints]:
    """Whole weights from -3 to 3, those of the tokens not all alike; EOT and silence count 0."""
    weights = np.zeros(n_tokens + 2, np.int64)
    while len(set(weights[:n_tokens].tolist())) < min(3, n_tokens):
        weights[:n_tokens] = rng.integers(-3, 4, n_tokens)
    automaton = counter(weights, highest=24)
    return automaton, np.array([int(np.sign(int(label.removeprefix("vote ")))) for label in automaton.labels])


def _nothing(rng: np.random.Generator, n_tokens: int) -> tuple[Automaton, Ints]:
    del rng
    return constant(n_tokens + 2), np.array([0])


_BUILDERS: dict[Planted, Callable[[np.random.Generator, int], tuple[Automaton, Ints]]] = {
    "first difference": _first,
    "last difference": _last,
    "vote": _vote,
    "cyclic order": _cyclic,
    "silent": _nothing,
    "noise": _nothing,
    "biased noise": _nothing,
}
