"""The dialogue log: schema, writer, reader. Parquet; a reader needs neither torch nor ray.

One row per dialogue. Columns: `episode` (unique in the run), `negotiation` (index within the episode), `worker`,
`policy_version` (updates the weights had seen), `symbols` list<list<int8>> [rounds][agents], `speakers` (the agents in
the order in which they spoke; null where all speak at once), `moves` and `rewards` [agents], `outcome` (success or
crash), `cut` (the talk ran into max_rounds), `n_rounds`, `private` [agents][features] (null where there is nothing).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from emcomm.errors import BadInput
from envs.game import Bools, Floats, Ints
from envs.negotiation import SILENT, Dialogues

SCHEMA_VERSION = 1
SCHEMA = pa.schema(
    {
        "episode": pa.int64(),
        "negotiation": pa.int32(),
        "worker": pa.int16(),
        "policy_version": pa.int64(),
        "symbols": pa.list_(pa.list_(pa.int8())),
        "speakers": pa.list_(pa.list_(pa.int8())),
        "moves": pa.list_(pa.int16()),
        "rewards": pa.list_(pa.float32()),
        "outcome": pa.string(),
        "cut": pa.bool_(),
        "n_rounds": pa.int32(),
        "private": pa.list_(pa.list_(pa.float32())),
    }
)


# -- dialogues in memory ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DialogueTable:
    """`D` dialogues of `N` agents as columns; the symbols of all of them lie in one array.

    `table[7]` is a table of one dialogue, `table[mask]` and `table[10:20]` of several.
    """

    episode: Ints
    """`[D]`"""
    negotiation: Ints
    """`[D]`"""
    worker: Ints
    """`[D]`"""
    policy_version: Ints
    """`[D]`"""
    n_rounds: Ints
    """`[D]` rounds, the closing EOT/EOT round included."""
    symbols: Ints
    """int8 `[sum(n_rounds), N]`"""
    speakers: Ints
    """int8 `[sum(n_rounds), N]`, or 0 rows where all speak at once."""
    moves: Ints
    """int16 `[D, N]`"""
    rewards: Floats
    """`[D, N]`"""
    success: Bools
    """`[D]`"""
    cut: Bools
    """`[D]`"""
    private: Floats
    """`[D, N, P]`"""

    def __len__(self) -> int:
        return len(self.n_rounds)

    @property
    def starts(self) -> Ints:
        """`[D + 1]` where each dialogue's rounds start in `symbols`."""
        return np.concatenate([[0], np.cumsum(self.n_rounds)])

    def __getitem__(self, which: int | slice | Bools | Ints) -> DialogueTable:
        rows = np.arange(len(self))[[which] if isinstance(which, (int, np.integer)) else which]
        counts = self.n_rounds[rows]
        first = np.repeat(self.starts[rows] - (np.cumsum(counts) - counts), counts)
        rounds = first + np.arange(counts.sum())
        chosen = {
            f.name: getattr(self, f.name)[rounds if f.name in ("symbols", "speakers") else rows]
            for f in fields(self)
            if f.name != "speakers" or len(self.speakers)
        }
        return DialogueTable(**{"speakers": self.speakers, **chosen})

    def drawn(self, count: int, rng: np.random.Generator) -> DialogueTable:
        """At most `count` dialogues, drawn at random, in their order; the first of a log would be the shortest."""
        if len(self) <= count:
            return self
        return self[np.sort(rng.choice(len(self), count, replace=False))]

    def padded(self, rounds: int) -> Ints:
        """int8 `[D, rounds, N]` the first rounds of every dialogue, SILENT after its end."""
        within = np.arange(rounds) < self.n_rounds[:, None]
        grid = np.full((len(self), rounds, self.symbols.shape[1]), SILENT, np.int8)
        kept = np.arange(len(self.symbols)) - np.repeat(self.starts[:-1], self.n_rounds) < rounds
        grid[within] = self.symbols[kept]
        return grid

    def n_tokens_said(self, n_tokens: int) -> Ints:
        """`[D, N]` tokens that each agent said in each dialogue; EOT and silence do not count."""
        is_token = (self.symbols != SILENT) & (self.symbols < n_tokens)
        so_far = np.concatenate([np.zeros((1, is_token.shape[1]), np.int64), is_token.cumsum(axis=0)])
        return np.diff(so_far[self.starts], axis=0)


def concatenate(tables: Iterable[DialogueTable]) -> DialogueTable:
    """One table of all; at least one is needed."""
    tables = list(tables)
    return DialogueTable(
        **{f.name: np.concatenate([getattr(t, f.name) for t in tables]) for f in fields(DialogueTable)}
    )


class EpisodeCollector:
    """Turns the negotiations of `B` endless games into tables of whole episodes.

    With a `limit`, only the first `limit` episodes to *start* are kept; `complete` tells when all of them have ended.
    """

    def __init__(self, n_games: int, worker: int, limit: int | None = None) -> None:
        self._worker, self._limit = worker, limit
        self._left = limit
        self._episode = np.arange(n_games)  # which of this worker's episodes each game is playing
        self._negotiation = np.zeros(n_games, np.int32)
        self._begun = n_games
        self._waiting: list[DialogueTable] = []
        self._ended: list[Ints] = []

    def add(self, done: Dialogues, policy_version: int) -> None:
        """Take the negotiations that ended in one step."""
        episode, negotiation = self._episode[done.game], self._negotiation[done.game]
        count = len(done.game)
        self._waiting.append(
            DialogueTable(
                episode,
                negotiation,
                np.full(count, self._worker, np.int16),
                np.full(count, policy_version),
                done.n_rounds,
                done.symbols,
                done.order,
                done.moves,
                done.rewards,
                done.success,
                done.cut,
                done.private,
            )
        )
        self._negotiation[done.game] += 1
        ended = done.game[done.last]
        finished = self._episode[ended]
        if self._limit is not None and self._left is not None:
            finished = finished[finished < self._limit]
            self._left -= len(finished)
        self._ended.append(finished)
        self._negotiation[ended] = 0
        self._episode[ended] = self._begun + np.arange(len(ended))
        self._begun += len(ended)

    @property
    def complete(self) -> bool:
        """Whether the first `limit` episodes to start have all ended."""
        return self._left == 0

    def take(self) -> DialogueTable | None:
        """The episodes that have ended since the last call, numbered from 0; None if there are none."""
        if not sum(map(len, self._ended)):
            return None
        waiting, ended = concatenate(self._waiting), np.concatenate(self._ended)
        self._ended = []
        whole = np.isin(waiting.episode, ended)
        self._waiting = [] if whole.all() else [waiting[~whole]]
        table = waiting if whole.all() else waiting[whole]
        order = np.argsort(ended)
        rank = order[np.searchsorted(ended[order], table.episode)]
        return DialogueTable(**{**table.__dict__, "episode": rank})


# -- dialogues on disk -----------------------------------------------------------------------------------------------


class DialogueWriter:
    """Writes dialogues as Parquet parts, in the order in which they come, in the background.

    A part appears whole or not at all: it is written under another name, then renamed. `next_episode` is the number
    that the next episode gets. A failed write is raised, as OSError, by the next call.
    """

    def __init__(self, folder: Path, n_tokens: int, move_names: tuple[str, ...], part_rows: int = 131_072) -> None:
        self._folder, self._part_rows = folder, part_rows
        folder.mkdir(parents=True, exist_ok=True)
        for unfinished in folder.glob("*.tmp"):
            unfinished.unlink()
        parts = sorted(folder.glob("part-*.parquet"))
        self._part = int(parts[-1].stem.removeprefix("part-")) + 1 if parts else 0
        self.next_episode = next_episode(folder)
        facts = {"schema_version": SCHEMA_VERSION, "n_tokens": n_tokens, "move_names": move_names}
        self._schema = SCHEMA.with_metadata({"emcomm": json.dumps(facts)})
        self._rows: list[DialogueTable] = []
        self._count = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="dialogue-writer")
        self._writing: Future[None] | None = None

    def add(self, table: DialogueTable) -> None:
        """Append episodes, numbered from 0 within `table`."""
        self._rows.append(DialogueTable(**{**table.__dict__, "episode": table.episode + self.next_episode}))
        self.next_episode += int(table.episode.max()) + 1
        self._count += len(table)
        if self._count >= self._part_rows:
            self._write()

    def flush(self) -> None:
        """Return when everything added lies on disk."""
        if self._rows:
            self._write()
        self._wait()

    def close(self) -> None:
        """Flush, and stop the background thread."""
        try:
            self.flush()
        finally:
            self._thread.shutdown()

    def _write(self) -> None:
        self._wait()  # at most one part waits in memory
        rows, self._rows, self._count = self._rows, [], 0
        path = self._folder / f"part-{self._part:06d}.parquet"
        self._part += 1
        self._writing = self._thread.submit(_write_part, rows, path, self._schema)

    def _wait(self) -> None:
        if self._writing is not None:
            self._writing.result()  # a failure is raised anew by every call: a later part would follow a gap


def _write_part(tables: list[DialogueTable], path: Path, schema: pa.Schema) -> None:
    unfinished = path.with_suffix(".tmp")
    pq.write_table(to_arrow(concatenate(tables)).cast(schema), unfinished, compression="zstd")
    unfinished.rename(path)


def to_arrow(table: DialogueTable) -> pa.Table:
    """The table in the schema of the log, without copying row by row."""
    rows, agents = table.moves.shape
    columns = {
        "episode": table.episode,
        "negotiation": table.negotiation,
        "worker": table.worker,
        "policy_version": table.policy_version,
        "symbols": _nested(table.symbols, table.starts),
        "speakers": _nested(table.speakers, table.starts) if len(table.speakers) else pa.nulls(rows, pa.null()),
        "moves": _lists(table.moves),
        "rewards": _lists(table.rewards),
        "outcome": np.where(table.success, "success", "crash"),
        "cut": table.cut,
        "n_rounds": table.n_rounds,
        "private": _nested(table.private.reshape(rows * agents, -1), agents * np.arange(rows + 1))
        if table.private.size
        else pa.nulls(rows, pa.null()),
    }
    return pa.table([pa.array(columns[f.name]).cast(f.type) for f in SCHEMA], schema=SCHEMA)


def _lists(rows: np.ndarray) -> pa.ListArray:
    """`[D, N]` as D lists."""
    offsets = np.arange(len(rows) + 1, dtype=np.int32) * rows.shape[1]
    return pa.ListArray.from_arrays(offsets, rows.ravel())


def _nested(rows: np.ndarray, starts: Ints) -> pa.ListArray:
    """`[R, N]` as D lists of lists; list d holds rows `starts[d]` to `starts[d + 1]`."""
    return pa.ListArray.from_arrays(starts.astype(np.int32), _lists(rows))


class LogFacts(NamedTuple):
    """What a log says of itself."""

    schema_version: int
    n_tokens: int
    move_names: tuple[str, ...]


def facts_of(part: Path) -> LogFacts:
    """What the log says of itself; raises BadInput naming a part that is damaged or of a newer schema."""
    try:
        facts = json.loads(pq.read_schema(part).metadata[b"emcomm"])
        if facts["schema_version"] > SCHEMA_VERSION:
            raise BadInput(
                f"{part} was written by a newer emcomm (schema {facts['schema_version']}, this one reads "
                f"{SCHEMA_VERSION}): upgrade emcomm to read it"
            )
        return LogFacts(**{**facts, "move_names": tuple(facts["move_names"])})
    except BadInput:
        raise
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{part} is damaged or no dialogue log: {error}") from error


def read_part(part: Path) -> DialogueTable:
    """One Parquet part; raises BadInput naming it if it is damaged."""
    facts_of(part)
    try:
        return from_arrow(pq.read_table(part))
    except (OSError, pa.ArrowException, KeyError, ValueError) as error:
        raise BadInput(f"{part} is damaged: {error}") from error


def iterate(folder: Path, on_damage: Callable[[BadInput], Any]) -> Iterator[DialogueTable]:
    """The parts of a log in order; a damaged one is handed to `on_damage` and passed over."""
    for part in sorted(folder.glob("part-*.parquet")):
        try:
            yield read_part(part)
        except BadInput as error:
            on_damage(error)


def from_arrow(arrow: pa.Table) -> DialogueTable:
    """The inverse of `to_arrow`."""
    columns = {name: arrow[name].combine_chunks() for name in arrow.column_names}
    moves = _values(columns["moves"].cast(SCHEMA.field("moves").type))  # older logs have int8
    rows = len(arrow)
    agents = len(moves) // rows if rows else 2
    speakers, private = columns["speakers"], columns["private"]
    return DialogueTable(
        **{
            name: columns[name].to_numpy()
            for name in ("episode", "negotiation", "worker", "policy_version", "n_rounds")
        },
        symbols=_values(columns["symbols"]).reshape(-1, agents),
        speakers=_values(speakers).reshape(-1, agents),
        moves=moves.reshape(-1, agents),
        rewards=_values(columns["rewards"]).reshape(-1, agents),
        success=columns["outcome"].to_numpy(zero_copy_only=False) == "success",
        cut=columns["cut"].to_numpy(zero_copy_only=False),
        private=_values(private).reshape(rows, agents, -1)
        if private.null_count < rows
        else np.zeros((rows, agents, 0), np.float32),
    )


def _values(column: pa.Array) -> np.ndarray:
    """The innermost values of a (nested) list column, as one flat array."""
    while pa.types.is_list(column.type):
        column = column.flatten()
    return column.to_numpy(zero_copy_only=False)


def next_episode(folder: Path) -> int:
    """One more than the highest episode number in a log; 0 for an empty one. Damaged parts raise BadInput."""
    highest = -1
    for part in folder.glob("part-*.parquet"):
        facts_of(part)
        groups = pq.read_metadata(part)
        for g in range(groups.num_row_groups):
            highest = max(highest, groups.row_group(g).column(0).statistics.max)
    return highest + 1
