"""Does what is said go with what is done: by the speaker (speaker consistency), by another (coordination)?

Speaker consistency is the mutual information of a symbol and its speaker's own move (Lowe et al. 2019), and, as Jaques
et al. 2019 have it, the mean of 1 - H(symbol | move) / H_max and 1 - H(move | symbol) / H_max. Instantaneous
coordination is the same with the move of another agent. Both see co-occurrence only: an agent that heeds nothing scores
high where speaker and mover know the same thing. Beside them belongs an intervention (`analysis.causal.listening`).

Noise has 0 bits. Jaques's score it gives the mean of 1 - H(symbol) / H_max and 1 - H(move) / H_max: 0 only where all
symbols and all moves are taken equally often, and near 1 where one symbol and one move nearly always are.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.data.utterances import FEWEST, Utterances, numbered
from analysis.metrics.entropy import bits_of, require_counts
from analysis.metrics.resampling import Estimate, permuted_together, with_interval
from analysis.metrics.symbol_information import NULLS, SEEN, information
from emcomm.dialogues import DialogueTable
from envs.channels import SILENT
from envs.game import Declaration, Ints

RARE = 10
"""Uses below which a symbol or a move leaves Jaques's score open."""
SHUFFLES = 19
"""Permutations behind the null of Jaques's score, which is their mean."""


class Consistency(NamedTuple):
    """How the symbol of one round goes with one agent's move."""

    speaker: str
    mover: str
    """The speaker itself, or another agent."""
    own: bool
    """Whether it is the speaker's own move: speaker consistency; else instantaneous coordination."""
    round: int
    """From 1."""
    bits: Estimate
    jaques: float
    """0 to 1; high, too, where one symbol or one move is nearly always taken. H_max is that of the symbols that can be
    said, and of the moves that are ever legal for the mover."""
    jaques_low: float
    """Lower end of its 95 % bootstrap interval; 0 to 1 where a symbol or a move is rare (`RARE`)."""
    jaques_high: float
    jaques_null: float
    """The same with permuted moves: what noise gives."""
    utterances: int


def jaques(counts: Ints) -> float:
    """Speaker consistency as Jaques et al. 2019 have it, from counts `[symbol, move]`; H_max is that of all columns.

    >>> jaques(np.array([[5, 0], [0, 5]])), jaques(np.array([[5, 5], [5, 5]]))
    (1.0, 0.0)
    """
    require_counts(counts)
    sides = []
    for table in (counts, counts.T):
        seen = table[table.sum(axis=1) > 0]
        if table.shape[1] < 2 or not len(seen):
            return float("nan")
        spread = bits_of(seen / seen.sum(axis=1, keepdims=True)) / np.log2(table.shape[1])
        sides.append(1 - float(spread.mean()))
    return float(np.mean(sides))


def consistency(
    said: Utterances,
    table: DialogueTable,
    game: Declaration,
    seed: int = 0,
    nulls: int = NULLS,
    rounds: int = 4,
    fixed: bool = False,
) -> tuple[Consistency, ...]:
    """How the symbols of the first `rounds` go with the speaker's own move, and with the moves of the others.

    Agents whose move is always the same are left out, and rounds of fewer than `FEWEST` utterances.

    Parameters
    ----------
    said : Utterances
        Of one speaker, from `table`.
    table : DialogueTable
        The dialogues.
    game : Declaration
        What the game declares.
    seed, nulls, rounds : int
        What fixes the randomness, permutations behind the null, rounds that are looked at.
    fixed : bool
        Whether every talk has a fixed length, so that EOT cannot be said.

    Returns
    -------
    tuple of Consistency
        One for each mover and round.

    Examples
    --------
    `consistency(said, table, game)[0].bits.value`
    """
    rng, found = np.random.default_rng(seed), []
    row = np.arange(len(said))
    movers: list[tuple[str, bool, Ints, Ints]] = [
        (said.speaker, True, np.unique(said.agent), table.moves[said.dialogue, said.agent])
    ]
    for role, name in enumerate(game.roles):
        agents = np.flatnonzero(np.array(game.role_of) == role)
        others = agents[None] != said.agent[:, None]  # the first agent of the role that is not the speaker
        if not others.any(axis=1).all():
            continue
        movers.append((name, False, agents, table.moves[said.dialogue, agents[others.argmax(axis=1)]]))
    n_symbols = said.n_tokens + (not fixed)
    for name, own, those, moves in movers:
        legal = table.legal[:, those]
        n_moves = int(np.count_nonzero(legal.any(axis=(0, 1)))) if legal.shape[2] else len(game.move_names)
        for t in range(min(rounds, said.symbols.shape[1])):
            there = row[(said.symbols[:, t] != SILENT) & (moves >= 0)]
            if len(there) < max(SEEN * len(said), FEWEST) or len(np.unique(moves[there])) < 2:
                continue
            symbol = numbered(said.symbols[there, t, None])[1]
            move = numbered(moves[there, None].astype(np.int64))[1]
            bits = information(symbol, move, said.dialogue[there], rng, nulls)
            shape = (max(n_symbols, int(symbol.max()) + 1), max(n_moves, int(move.max()) + 1))
            null = _null(symbol, move, shape, said.dialogue[there], rng)
            score, low, high = _score(symbol, move, shape, said.dialogue[there], rng)
            found.append(Consistency(said.speaker, name, own, t + 1, bits, score, low, high, null, len(there)))
    return tuple(found)


def _null(symbol: Ints, move: Ints, shape: tuple[int, int], dialogue: Ints, rng: np.random.Generator) -> float:
    """Jaques's score of noise: the mean over permutations, in which moves of one dialogue stay together."""
    orders = [permuted_together(dialogue, rng) for _ in range(SHUFFLES)]
    return float(np.mean([jaques(_within(shape, symbol, move[order])) for order in orders]))


def _score(
    symbol: Ints, move: Ints, shape: tuple[int, int], dialogue: Ints, rng: np.random.Generator
) -> tuple[float, float, float]:
    """Jaques's score with its interval over resampled dialogues (95 %); all that is possible where a symbol or a move
    is rare, for each counts as much as a common one, and seems to go with what it went with once."""
    if any(0 < uses < RARE for side in (symbol, move) for uses in np.bincount(side)):
        return jaques(_within(shape, symbol, move)), 0.0, 1.0
    score, low, high = with_interval(lambda uses: jaques(_within(shape, symbol, move, uses)), dialogue, rng)
    return score, max(low, 0.0), min(high, 1.0)


def _within(shape: tuple[int, int], symbol: Ints, move: Ints, uses: Ints | None = None) -> Ints:
    """How often each symbol goes with each move, in a table of all of them; a row counts as often as `uses` says."""
    return np.bincount(symbol * shape[1] + move, uses, shape[0] * shape[1]).reshape(shape)


def to_frame(found: tuple[Consistency, ...]) -> pd.DataFrame:
    """One row per speaker, mover and round."""
    rows = [
        (
            c.speaker,
            "its own" if c.own else f"that of {c.mover}",
            c.round,
            *c.bits,
            c.jaques,
            c.jaques_low,
            c.jaques_high,
            c.jaques_null,
            c.utterances,
        )
        for c in found
    ]
    names = [
        "speaker",
        "move",
        "round",
        "bits",
        "low_bits",
        "high_bits",
        "null_bits",
        "p_value",
        "jaques",
        "low_jaques",
        "high_jaques",
        "jaques_null",
    ]
    return pd.DataFrame(rows, columns=[*names, "utterances"])
