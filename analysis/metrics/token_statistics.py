"""Token statistics: what is said, where, by whom, and how much one symbol tells about the next.

They describe the look of the language and say nothing about what it does. `TokenTally` adds up a log of any length part
by part; its memory is that of the counts and of the different dialogues (`analysis.metrics.dialogue_diversity`).
Axes: `M` moves, `R` rounds, `S` symbols: the tokens and EOT last.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.data.dialogue_text import line
from analysis.metrics.dialogue_diversity import DistinctReport, DistinctTally, one_of_twins
from analysis.metrics.entropy import Entropy, conditional_entropy, entropy
from analysis.metrics.success import add_up
from analysis.metrics.zipf import ZipfFit, fit_zipf
from emcomm.dialogues import DialogueTable
from emcomm.printable import printable
from envs.game import Declaration, Ints
from envs.negotiation import SILENT

Counts = NDArray[np.int64]

TRIGRAMS_UP_TO = 127
"""Symbols for which all trigrams are counted: 2 million cells, 16 MB."""


@dataclass(frozen=True)
class TokenReport:
    """What a log says about the use of symbols. A succession is what *one* agent says round after round."""

    move_names: tuple[str, ...]
    by_move: Counts
    """`[M, R, S]` how often an agent that was to take move m said symbol s in round r; absent agents are left out."""
    silent: int
    """Cells in which nothing was said: the agent had chosen a move while another spoke."""
    bigrams: Counts
    """`[S, S]` successions of two symbols"""
    trigrams: Counts
    """`[S, S, S]` successions of three symbols"""
    unigram: Entropy
    """Of a symbol, EOT included."""
    bigram: Entropy
    """Of two symbols in succession, jointly."""
    trigram: Entropy
    given_one: Entropy
    """Of a symbol, given the one that the agent said before."""
    given_two: Entropy
    """Of a symbol, given the two before."""
    zipf: dict[str, ZipfFit]
    """The fit for "tokens" (without EOT), "bigrams" and "trigrams"."""
    n_rounds: Counts
    """`[R + 1]` dialogues by number of rounds, the closing EOT/EOT round included."""
    tokens_said: Counts
    """`[R + 1]` agents by number of tokens they said in a dialogue: length without EOT."""
    dialogues: DistinctReport
    twins: DistinctReport
    """The same with a dialogue and its mirror image as one, where agents are exchangeable."""
    roles: tuple[str, ...] = ("agent",)
    by_role: Counts | None = None
    """`[Q, S]` how often the agents of each role said each symbol."""

    @property
    def counts(self) -> Counts:
        """`[S]` how often each symbol was said."""
        total: Counts = self.by_move.sum(axis=(0, 1))
        return total

    def frequency_frame(self) -> pd.DataFrame:
        """One row per symbol: symbol, count, share, and a share for each move that its speaker was to take."""
        by_move = self.by_move.sum(axis=1)
        names = [printable(name, 200) for name in self.move_names]
        columns = {f"share before {name}": _shares(by_move[m]) for m, name in enumerate(names)}
        return pd.DataFrame({"symbol": self._symbols(), "count": self.counts, "share": _shares(self.counts), **columns})

    def position_frame(self) -> pd.DataFrame:
        """One row per round and symbol: round (from 1), symbol, count, share (of the symbols of that round)."""
        by_round = self.by_move.sum(axis=0)
        rounds, symbols = np.indices(by_round.shape)
        shares = np.concatenate([_shares(row) for row in by_round]) if len(by_round) else np.zeros(0)
        names = np.array(self._symbols(), object)
        return pd.DataFrame(
            {
                "round": rounds.ravel() + 1,
                "symbol": names[symbols.ravel()],
                "count": by_round.ravel(),
                "share": shares,
            }
        )

    def entropy_frame(self) -> pd.DataFrame:
        """One row per entropy: entropy, bits, plug_in, draws, trusted."""
        named = {
            "symbol": self.unigram,
            "two in succession": self.bigram,
            "three in succession": self.trigram,
            "symbol given one before": self.given_one,
            "symbol given two before": self.given_two,
        }
        rows = [(name, e.bits, e.plug_in, e.draws, e.trusted) for name, e in named.items()]
        return pd.DataFrame(rows, columns=["entropy", "bits", "plug_in", "draws", "trusted"])

    def rank_frame(self) -> pd.DataFrame:
        """One row per token by falling frequency: rank, symbol, count, share, zipf (the share that the fit expects)."""
        tokens = self.counts[:-1]
        order = np.argsort(-tokens, kind="stable")[: int((tokens > 0).sum())]
        ranks = np.arange(1, len(order) + 1)
        weights = ranks ** -self.zipf["tokens"].exponent
        return pd.DataFrame(
            {
                "rank": ranks,
                "symbol": order,
                "count": tokens[order],
                "share": _shares(tokens[order]),
                "zipf": weights / weights.sum(),
            }
        )

    def zipf_frame(self) -> pd.DataFrame:
        """One row per kind of outcome: of, exponent, distance, p_value, ranks; the fields of a ZipfFit."""
        return pd.DataFrame([{"of": name, **fit._asdict()} for name, fit in self.zipf.items()])

    def length_frame(self) -> pd.DataFrame:
        """One row per length: length, dialogues (rounds with the closing one), agents (tokens said, without EOT)."""
        size = max(len(self.n_rounds), len(self.tokens_said))
        columns = {"dialogues": self.n_rounds, "agents": self.tokens_said}
        padded = {name: np.pad(c, (0, size - len(c))) for name, c in columns.items()}
        return pd.DataFrame({"length": np.arange(size), **padded})

    def dialogue_frame(self) -> pd.DataFrame:
        """The most frequent dialogues as the talk's table: dialogue, count, share, success (share of its uses).

        Without success where the game declares none.
        """
        return _frequent(self.dialogues)

    def rarefaction_frame(self) -> pd.DataFrame:
        """Different dialogues to expect among so many, a dialogue and its mirror image as two and as one."""
        if not self.dialogues.dialogues:
            return pd.DataFrame({"dialogues": [], "different": [], "twins_joined": []})
        sizes = np.unique(np.geomspace(1, self.dialogues.dialogues, 25).round().astype(np.int64))
        return pd.DataFrame({
            "dialogues": sizes, "different": self.dialogues.rarefied(sizes), "twins_joined": self.twins.rarefied(sizes),
        })  # fmt: skip

    @property
    def joins_twins(self) -> bool:
        """Whether any dialogue and its mirror image were counted as one."""
        return self.twins.distinct < self.dialogues.distinct

    def twin_frame(self) -> pd.DataFrame:
        """The same as `dialogue_frame`, a dialogue and its mirror image counted as one."""
        return _frequent(self.twins)

    def role_tables(self) -> dict[str, pd.DataFrame]:
        """One row per symbol and a share for each role; nothing where there is one role."""
        if len(self.roles) < 2 or self.by_role is None:
            return {}
        shares = {f"share of {printable(name, 200)}": _shares(self.by_role[q]) for q, name in enumerate(self.roles)}
        return {"roles": pd.DataFrame({"symbol": self._symbols(), **shares})}

    def _symbols(self) -> list[str]:
        return [*map(str, range(len(self.counts) - 1)), "EOT"]


class TokenTally:
    """Adds dialogues up to a `TokenReport`.

    >>> from analysis.data.dialogue_text import table_of
    >>> tally = TokenTally(n_tokens=5, move_names=("main", "detour"))
    >>> tally.add(table_of([[(4, 2), (5, 5)], [(3, 0), (1, 5), (5, 5)]]))
    >>> report = tally.result()
    >>> report.counts.tolist()
    [1, 1, 1, 1, 1, 5]
    >>> report.dialogue_frame()["dialogue"].tolist()
    ['4 2 · 5 5', '3 0 · 1 5 · 5 5']
    """

    def __init__(
        self, n_tokens: int, move_names: tuple[str, ...] = ("main", "detour"), game: Declaration | None = None
    ) -> None:
        self._roles = game.roles if game else ("agent",)
        self._role_of = game.role_of if game else ()
        self._by_role = np.zeros((len(self._roles), n_tokens + 1), np.int64)
        self._n_tokens, self._move_names = n_tokens, move_names
        size = n_tokens + 1
        if size > TRIGRAMS_UP_TO:
            raise ValueError(f"n_tokens must be at most {TRIGRAMS_UP_TO - 1}, not {n_tokens}")
        self._by_move = np.zeros((0, len(move_names) + 1, size + 1), np.int64)  # with absent agents and silence
        self._bigrams = np.zeros(size**2, np.int64)
        self._trigrams = np.zeros(size**3, np.int64)
        self._n_rounds = np.zeros(0, np.int64)
        self._tokens_said = np.zeros(0, np.int64)
        self._distinct, self._twins = DistinctTally(), DistinctTally()

    def add(self, table: DialogueTable) -> None:
        """Count in the dialogues of `table`."""
        if not len(table):
            return
        within = np.arange(len(table.symbols)) - np.repeat(table.starts[:-1], table.n_rounds)
        moves, longest = len(self._move_names) + 1, int(table.n_rounds.max())
        cells = self._n_tokens + 2
        for agent in range(table.symbols.shape[1]):
            said: Ints = table.symbols[:, agent].astype(np.int64)
            move = np.repeat(table.moves[:, agent].astype(np.int64) + 1, table.n_rounds)
            cell = (within * moves + move) * cells + said + 1
            counted = np.bincount(cell, minlength=longest * moves * cells).reshape(longest, moves, cells)
            self._by_move = add_up(self._by_move, counted)
            self._add_successions(said, within)
            role = self._role_of[agent] if self._role_of else 0
            self._by_role[role] += np.bincount(said[said != SILENT], minlength=self._n_tokens + 1)
        said_by_each = table.n_tokens_said(self._n_tokens)
        self._tokens_said = add_up(self._tokens_said, np.bincount(said_by_each.ravel()))
        self._n_rounds = add_up(self._n_rounds, np.bincount(table.n_rounds))
        self._distinct.add(table)
        self._twins.add(table if len(self._roles) > 1 else one_of_twins(table))

    def result(self, top: int = 20) -> TokenReport:
        """The statistics over all dialogues so far, with the `top` most frequent dialogues."""
        size = self._n_tokens + 1
        by_move = np.moveaxis(self._by_move, 0, 1)[1:, :, 1:]
        bigrams, trigrams = self._bigrams.reshape(size, size), self._trigrams.reshape(size, size, size)
        counts = by_move.sum(axis=(0, 1))
        return TokenReport(
            move_names=self._move_names,
            by_move=by_move,
            silent=int(self._by_move[:, 1:, 0].sum()),
            bigrams=bigrams,
            trigrams=trigrams,
            unigram=entropy(counts),
            bigram=entropy(bigrams.ravel()),
            trigram=entropy(trigrams.ravel()),
            given_one=conditional_entropy(bigrams),
            given_two=conditional_entropy(trigrams),
            zipf={
                "tokens": fit_zipf(counts[:-1]),
                "bigrams": fit_zipf(bigrams[:-1, :-1].ravel()),
                "trigrams": fit_zipf(trigrams[:-1, :-1, :-1].ravel()),
            },
            n_rounds=self._n_rounds,
            tokens_said=self._tokens_said,
            dialogues=self._distinct.result(top),
            twins=self._twins.result(top),
            roles=self._roles,
            by_role=self._by_role,
        )

    def _add_successions(self, said: Ints, within: Ints) -> None:
        """Count two and three symbols of one agent in succession, within a dialogue and without silence between."""
        size = self._n_tokens + 1
        pair = said[:-1] * size + said[1:]
        paired = (within[1:] > 0) & (said[:-1] != SILENT) & (said[1:] != SILENT)
        self._bigrams += np.bincount(pair[paired], minlength=size**2)
        tripled = paired[:-1] & paired[1:]
        triple = pair[:-1] * size + said[2:]
        self._trigrams += np.bincount(triple[tripled], minlength=size**3)


def _frequent(report: DistinctReport) -> pd.DataFrame:
    shown = report.frequent
    columns = {
        "dialogue": [line(f.symbols) for f in shown],
        "count": [f.uses for f in shown],
        "share": [f.uses / max(report.dialogues, 1) for f in shown],
    }
    if all(f.successes is not None for f in shown):
        columns["success"] = [(f.successes or 0) / f.uses for f in shown]
    return pd.DataFrame(columns)


def _shares(counts: Counts) -> NDArray[np.float64]:
    return counts / max(int(counts.sum()), 1)
