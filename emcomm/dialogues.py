"""The dialogue log: schema, writer, reader. Parquet; a reader needs neither torch nor ray.

One row per dialogue. Columns: `episode` (unique in the run), `negotiation` (index within the episode), `worker`,
`policy_version` (updates the weights had seen), `symbols` list<list<int8>> [rounds][agents], `speakers` (the agents in
the order in which they spoke; null where all speak at once), `moves` and `rewards` [agents], `outcome` (success or
failure; null in all rows where the game declares no success), `cut` (the talk ran into max_rounds), `n_rounds`,
`private` [agents][attributes]. What is not there, or is as a reader expects, is null in all rows of a part: `score`
(how well), `players` (which of several networks played), `features` [agents][features], `legal` [agents][moves],
`speaks` [agents] (who could speak), `columns` [agents][agents] (in which order each saw the others, from three agents
on) and `heard` [rounds + 1][agents × others] (before the talk and in each round, where it does not follow from what was
said): with them a dialogue can be replayed to a network.

Version history: 1 calls a failure "crash" and has no checksums. 2 checks every page, and each part names the SHA-256 of
the part before it, so that a log is one chain whose end a checkpoint names. 3 has the columns from `score` on, and its
metadata say what the game declares. 4: a game may declare no success, and then has no outcome.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from emcomm import files
from emcomm.errors import BadInput
from emcomm.footer import Extent, extent_of
from emcomm.schemas import PartFacts, decoded
from envs.game import Bools, Declaration, Floats, Ints
from envs.negotiation import LONGEST_TALK, SILENT, Dialogues
from envs.saving import fitting

SCHEMA_VERSION = 4
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
        "score": pa.float32(),
        "players": pa.list_(pa.int16()),
        "features": pa.list_(pa.list_(pa.float32())),
        "legal": pa.list_(pa.list_(pa.bool_())),
        "speaks": pa.list_(pa.bool_()),
        "columns": pa.list_(pa.list_(pa.int8())),
        "heard": pa.list_(pa.list_(pa.int8())),
    }
)
OLD_NAMES = SCHEMA.names[:12]
"""The columns of schemas 1 and 2."""


_NONE: Any = None

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
    """`[D]`, or 0 entries where the game declares no success (`judged`)"""
    cut: Bools
    """`[D]`"""
    private: Floats
    """`[D, N, P]`"""
    score: Floats = _NONE
    """`[D]`, or 0 entries where the game has neither a score nor a success"""
    players: Ints = _NONE
    """int16 `[D, N]`, or 0 columns where one network plays for all"""
    features: Floats = _NONE
    """`[D, N, F]`"""
    legal: Bools = _NONE
    """`[D, N, M]`, or 0 columns where every move is legal"""
    speaks: Bools = _NONE
    """`[D, N]`"""
    columns: Ints = _NONE
    """int8 `[D, N, N]`, or 0 columns for two agents"""
    heard: Ints = _NONE
    """int8 `[sum(n_rounds + 1), N * (N - 1)]`, or 0 rows where it follows from what was said"""

    def __post_init__(self) -> None:
        for name in _ABSENT:
            if getattr(self, name) is _NONE:
                object.__setattr__(self, name, _ABSENT[name](self))
        for name in ("success", "score"):
            if len(getattr(self, name)) not in (0, len(self)):
                raise ValueError(f"there are {len(self)} dialogues, and {len(getattr(self, name))} have a {name}")

    def __len__(self) -> int:
        return len(self.n_rounds)

    @property
    def judged(self) -> bool:
        """Whether the game says which dialogues succeeded."""
        return len(self.success) == len(self)

    @property
    def scored(self) -> bool:
        """Whether the game has a score, or a success that stands for it."""
        return len(self.score) == len(self)

    @property
    def starts(self) -> Ints:
        """`[D + 1]` where each dialogue's rounds start in `symbols`."""
        return np.concatenate([[0], np.cumsum(self.n_rounds)])

    def __getitem__(self, which: int | slice | Bools | Ints) -> DialogueTable:
        if isinstance(which, np.ndarray) and which.dtype == np.bool_ and len(which) != len(self):
            raise IndexError(f"there are {len(self)} dialogues, and {len(which)} were said to be chosen or not")
        rows = np.arange(len(self))[[which] if isinstance(which, (int, np.integer)) else which]
        rounds = {"symbols": 0, "speakers": 0, "heard": 1}  # rows beyond those of a dialogue's rounds
        may_be_empty = (*rounds, "success", "score")
        kept = {f.name: getattr(self, f.name) for f in fields(self)}
        chosen = {
            name: values[self._rounds_of(rows, rounds[name]) if name in rounds else rows]
            for name, values in kept.items()
            if name not in may_be_empty or len(values)
        }
        return DialogueTable(**{**kept, **chosen})

    def _rounds_of(self, rows: Ints, beyond: int) -> Ints:
        """Where the rounds of some dialogues lie, in an array that has `beyond` rows more for each dialogue."""
        counts = self.n_rounds[rows] + beyond
        starts = self.starts[rows] + beyond * rows
        return np.repeat(starts - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())

    def drawn(self, count: int, rng: np.random.Generator) -> DialogueTable:
        """At most `count` dialogues, drawn at random, in their order; the first of a log would be the shortest."""
        if len(self) <= count:
            return self
        return self[np.sort(rng.choice(len(self), count, replace=False))]

    def whole_episodes(self, count: int) -> DialogueTable:
        """All dialogues of the first episodes, as many as have at most `count` together; those of one at least."""
        episodes, sizes = np.unique(self.episode, return_counts=True)
        few = max(int(np.searchsorted(np.cumsum(sizes), count, "right")), 1)
        return self[np.isin(self.episode, episodes[:few])]

    @property
    def last(self) -> Bools:
        """`[D]` whether it is the last dialogue of its episode, of those in the table."""
        order = np.lexsort((self.negotiation, self.episode))
        ends = np.append(np.diff(self.episode[order]) != 0, True)[: len(order)]
        last = np.zeros(len(order), np.bool_)
        last[order] = ends
        return last

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


_ABSENT: dict[str, Callable[[DialogueTable], np.ndarray]] = {
    "score": lambda table: table.success.astype(np.float32),
    "players": lambda table: np.zeros((len(table), 0), np.int16),
    "features": lambda table: np.zeros((*table.moves.shape, 0), np.float32),
    "legal": lambda table: np.ones((*table.moves.shape, 0), np.bool_),
    "speaks": lambda table: np.ones(table.moves.shape, np.bool_),
    "columns": lambda table: np.zeros((*table.moves.shape, 0), np.int8),
    "heard": lambda table: np.zeros((0, table.moves.shape[1] * (table.moves.shape[1] - 1)), np.int8),
}
"""What a column is that was not given."""


def concatenate(tables: Iterable[DialogueTable]) -> DialogueTable:
    """One table of all; at least one is needed.

    Raises ValueError where some say which dialogues succeeded and some do not.
    """
    tables = list(tables)
    n_moves = max(t.legal.shape[2] for t in tables)
    columns = {f.name: [getattr(t, f.name) for t in tables] for f in fields(DialogueTable)}
    columns["legal"] = [
        legal if legal.shape[2] == n_moves else np.ones((*legal.shape[:2], n_moves), np.bool_)
        for legal in columns["legal"]
    ]
    return DialogueTable(**{name: np.concatenate(parts) for name, parts in columns.items()})


def returns_of(table: DialogueTable) -> NDArray[np.float64]:
    """`[E, N]` the sum of each agent's rewards in each episode of `table`, by their numbers; no cost of talk."""
    _, episode = np.unique(table.episode, return_inverse=True)
    returns = np.zeros((int(episode.max(initial=-1)) + 1, table.rewards.shape[1]))
    np.add.at(returns, episode, table.rewards)
    return returns


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
        self._gained = np.zeros(n_games)

    def add(self, done: Dialogues, policy_version: int, players: Ints | None = None) -> None:
        """Take the negotiations that ended in one step; `players` `[D, N]`: which of several networks held them."""
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
                done.score,
                _NONE if players is None else players,
                done.features,
                done.legal,
                done.speaks,
                done.columns,
                done.heard,
            )
        )
        self._negotiation[done.game] += 1
        ended = done.game[done.last]
        if len(ended) < count:
            self._gained += np.bincount(done.game, done.rewards.mean(axis=1), len(self._gained))
        self._gained[ended] = 0.0
        finished = self._episode[ended]
        if self._limit is not None and self._left is not None:
            finished = finished[finished < self._limit]
            self._left -= len(finished)
        self._ended.append(finished)
        self._negotiation[ended] = 0
        self._episode[ended] = self._begun + np.arange(len(ended))
        self._begun += len(ended)

    @property
    def under_way(self) -> tuple[int, float]:
        """Of the episodes under way: joint moves of the longest, and the mean return so far (over games and agents)."""
        return int(self._negotiation.max()), float(self._gained.mean())

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

    def state(self) -> dict[str, Any]:
        """The episodes under way, to be saved between two calls of `take`."""
        assert not sum(map(len, self._ended))
        waiting = concatenate(self._waiting).__dict__ if self._waiting else {}
        counts = {"episode": self._episode.copy(), "negotiation": self._negotiation.copy()}
        return {"counts": counts, "begun": self._begun, "waiting": waiting}

    def restore(self, state: dict[str, Any], agents: int) -> None:
        """Go on from what `state` returned, of games with `agents`; raises ValueError where it does not fit."""
        try:
            begun, waiting = int(state["begun"]), state["waiting"]
            episode = fitting("episode", state["counts"]["episode"], self._episode, 0, begun - 1)
            negotiation = fitting("negotiation", state["counts"]["negotiation"], self._negotiation, 0, 2**31 - 1)
            table = DialogueTable(**waiting) if waiting else None
        except (KeyError, TypeError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error
        if table is not None:
            _require_waiting(table, agents, begun)
        self._episode, self._negotiation, self._begun = episode, negotiation, begun
        self._waiting = [table] if table is not None else []
        self._gained[:] = 0.0
        if table is not None:
            own = episode[:, None] == table.episode
            self._gained[:] = own @ table.rewards.mean(axis=1)


def _require_waiting(table: DialogueTable, agents: int, begun: int) -> None:
    """Raise ValueError unless the dialogues of episodes under way are like those that a worker keeps."""
    for name, (kinds, *shape) in _WAITING.items():
        column = getattr(table, name)
        if not isinstance(column, np.ndarray) or column.dtype.kind not in kinds or column.ndim != len(shape):
            raise ValueError(f"{name} of the dialogues of episodes under way is of another type")
        if name in ("success", "score") and not len(column):
            continue
        sizes = {"D": len(table.n_rounds), "N": agents}
        if any(size != sizes.get(axis, size) for size, axis in zip(column.shape, shape, strict=True)):
            raise ValueError(f"{name} of the dialogues of episodes under way is of another shape")
    if table.n_rounds.min(initial=0) < 0 or len(table.symbols) != table.n_rounds.sum():
        raise ValueError("the dialogues of episodes under way do not fit their rounds")
    if len(table.heard) not in (0, len(table.symbols) + len(table)):
        raise ValueError("what was heard in the dialogues of episodes under way does not fit their rounds")
    if len(table.speakers) not in (0, len(table.symbols)):
        raise ValueError("the speakers of the dialogues of episodes under way do not fit their rounds")
    if table.episode.size and not 0 <= table.episode.min() <= table.episode.max() < begun:
        raise ValueError("the dialogues of episodes under way are of none that was begun")


_WAITING = {
    **dict.fromkeys(("n_rounds", "episode", "negotiation", "worker", "policy_version"), ("iu", "D")),
    "symbols": ("iu", "R", "N"),
    "speakers": ("iu", "R", "N"),
    "moves": ("iu", "D", "N"),
    "rewards": ("f", "D", "N"),
    "success": ("b", "D"),
    "cut": ("b", "D"),
    "private": ("f", "D", "N", "P"),
    "score": ("f", "D"),
    "players": ("i", "D", "K"),
    "features": ("f", "D", "N", "F"),
    "legal": ("b", "D", "N", "M"),
    "speaks": ("b", "D", "N"),
    "columns": ("i", "D", "N", "C"),
    "heard": ("i", "H", "E"),
}
"""Kinds of numbers and axes of each column."""


# -- dialogues on disk -----------------------------------------------------------------------------------------------


PART_ROWS = 131_072
"""Dialogues of a full part."""


class LogPosition(NamedTuple):
    """Where a log ends."""

    parts: int = 0
    rows: int = 0
    """Dialogues."""
    episodes: int = 0
    digest: str = ""
    """SHA-256 of the last part; empty where there is none."""


class DialogueWriter:
    """Writes dialogues as Parquet parts, in the order in which they come, in the background.

    A part appears whole or not at all, and then lies on the disk itself. `next_episode` is the number that the next
    episode gets, `dialogues` counts all in the log, `rows` those that wait for the next part. A failed write is raised,
    as OSError, by the next call. A part ends after `part_rows` dialogues, or where it is None, only with `end_part`. A
    folder that holds parts already is continued behind `start`, by default its end. `game` is what the game declares.
    """

    def __init__(
        self, folder: Path, n_tokens: int, move_names: tuple[str, ...], part_rows: int | None = PART_ROWS,
        start: LogPosition | None = None, game: Declaration | None = None,
    ) -> None:  # fmt: skip
        self._folder, self._part_rows = folder, part_rows
        files.make_folder(folder)
        for unfinished in folder.glob("*.tmp"):
            files.remove(unfinished)
        self._position = start or end_of(folder)
        self.next_episode, self.dialogues = self._position.episodes, self._position.rows
        self._facts = {
            "schema_version": SCHEMA_VERSION, "n_tokens": n_tokens, "move_names": move_names,
            "game": game and game.to_json(),
        }  # fmt: skip
        self._tables: list[DialogueTable] = []
        self.rows = self._values = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="dialogue-writer")
        self._writing: Future[None] | None = None

    def add(self, table: DialogueTable) -> None:
        """Append episodes, numbered from 0 within `table`."""
        self._tables.append(DialogueTable(**{**table.__dict__, "episode": table.episode + self.next_episode}))
        self.next_episode += int(table.episode.max()) + 1
        self.rows, self.dialogues = self.rows + len(table), self.dialogues + len(table)
        self._values += table.symbols.size + table.features.size + table.legal.size
        if self._part_rows is not None and (self.rows >= self._part_rows or self.full):
            self.end_part()

    @property
    def full(self) -> bool:
        """Whether as much waits as a part should hold."""
        return self.rows >= PART_ROWS or self._values >= MOST_VALUES // 4

    def end_part(self, then: Callable[[LogPosition], None] = lambda position: None) -> None:
        """Write all that was added since the last part, in the background, and call `then` with where the log ends."""
        self._wait()  # at most one part waits in memory
        tables, self._tables, self.rows, self._values = self._tables, [], 0, 0
        self._writing = self._thread.submit(self._write, tables, self.next_episode, then)

    def flush(self) -> LogPosition:
        """Return, when everything added lies on disk, where the log ends."""
        if self._tables:
            self.end_part()
        self._wait()
        return self._position

    def close(self) -> None:
        """Flush, and stop the background thread."""
        try:
            self.flush()
        finally:
            self._thread.shutdown()

    def _write(self, tables: list[DialogueTable], episodes: int, then: Callable[[LogPosition], None]) -> None:
        if tables:
            table, (parts, rows, _, digest) = concatenate(tables), self._position
            facts = {**self._facts, "part": parts, "previous": digest}
            content = _parquet(table, SCHEMA.with_metadata({"emcomm": sealed(facts)}))
            files.write(self._folder / part_name(parts), content)
            self._position = LogPosition(parts + 1, rows + len(table), episodes, hashlib.sha256(content).hexdigest())
        then(self._position)

    def _wait(self) -> None:
        if self._writing is not None:
            self._writing.result()  # a failure is raised anew by every call: a later part would follow a gap


def part_name(number: int) -> str:
    """The file name of a part."""
    return f"part-{number:06d}.parquet"


def _parquet(table: DialogueTable, schema: pa.Schema) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(to_arrow(table).cast(schema), sink, compression="zstd", write_page_checksum=True)
    return sink.getvalue().to_pybytes()


def to_arrow(table: DialogueTable) -> pa.Table:
    """The table in the schema of the log, without copying row by row."""
    rows, _ = table.moves.shape
    nothing = pa.nulls(rows, pa.null())
    columns = {
        "episode": table.episode,
        "negotiation": table.negotiation,
        "worker": table.worker,
        "policy_version": table.policy_version,
        "symbols": _nested(table.symbols, table.starts),
        "speakers": _nested(table.speakers, table.starts) if len(table.speakers) else nothing,
        "moves": _lists(table.moves),
        "rewards": _lists(table.rewards),
        "outcome": np.where(table.success, "success", "failure") if table.judged else nothing,
        "cut": table.cut,
        "n_rounds": table.n_rounds,
        "private": _per_agent(table.private),
        "score": nothing if not table.scored or np.array_equal(table.score, table.success) else table.score,
        "players": _lists(table.players) if table.players.size else nothing,
        "features": _per_agent(table.features),
        "legal": nothing if table.legal.all() else _per_agent(table.legal),
        "speaks": nothing if table.speaks.all() else _lists(table.speaks),
        "columns": _per_agent(table.columns),
        "heard": _nested(table.heard, table.starts + np.arange(rows + 1)) if len(table.heard) else nothing,
    }
    return pa.table([pa.array(columns[f.name]).cast(f.type) for f in SCHEMA], schema=SCHEMA)


def _per_agent(values: np.ndarray) -> pa.Array:
    """`[D, N, ·]` as D lists of lists; nulls where there is nothing."""
    dialogues, agents, width = values.shape
    if not values.size:
        return pa.nulls(dialogues, pa.null())
    return _nested(values.reshape(-1, width), agents * np.arange(dialogues + 1))


def _lists(rows: np.ndarray) -> pa.ListArray:
    """`[D, N]` as D lists."""
    offsets = np.arange(len(rows) + 1, dtype=np.int32) * rows.shape[1]
    return pa.ListArray.from_arrays(offsets, rows.ravel())


def _nested(rows: np.ndarray, starts: Ints) -> pa.ListArray:
    """`[R, N]` as D lists of lists; list d holds rows `starts[d]` to `starts[d + 1]`."""
    return pa.ListArray.from_arrays(starts.astype(np.int32), _lists(rows))


# -- reading parts -----------------------------------------------------------------------------------------------------

MOST_ROWS, MOST_BYTES, MOST_VALUES, MOST_GROUPS = 2**24, 2**31, 2**28, 256
"""A part of more dialogues, unpacked bytes, values or row groups is refused: it could fill the memory."""


class LogFacts(NamedTuple):
    """What a log says of itself."""

    schema_version: int
    n_tokens: int
    move_names: tuple[str, ...]
    game: Declaration | None = None
    """What the game declared; None before schema 3."""


def facts_of(part: Path) -> LogFacts:
    """What the log says of itself; raises BadInput naming a part that is damaged or of a newer schema."""
    facts = read_facts(part)
    return LogFacts(facts.schema_version, facts.n_tokens, facts.move_names, facts.game)


def read_facts(part: Path) -> PartFacts:
    """What a part says of itself, its place in the log included; raises BadInput where it is damaged."""
    with _reading(part) as file:
        return part_facts(file, part)


@contextmanager
def _reading(part: Path) -> Iterator[BinaryIO]:
    """An open part; whatever cannot be read in it raises BadInput naming it."""
    try:
        with files.opened(part, within=part.parent, largest=MOST_BYTES) as file:
            yield file
    except BadInput:
        raise
    except FileNotFoundError as error:
        raise BadInput(f"there is no {part}") from error
    except (OSError, pa.ArrowException, LookupError, TypeError, ValueError, ArithmeticError, AttributeError,
            MemoryError, RecursionError) as error:  # fmt: skip
        raise BadInput(f"{part} is damaged or no dialogue log: {error}") from error


def part_facts(file: BinaryIO, part: Path) -> PartFacts:
    """What an open part says of itself, its place in the log included; raises BadInput for a newer schema."""
    saved = (pq.read_schema(file).metadata or {})[b"emcomm"]
    plain = json.loads(saved)
    if isinstance(version := plain["schema_version"], int) and version > SCHEMA_VERSION:
        raise BadInput(
            f"{part} was written by a newer emcomm (schema {version}, this one reads {SCHEMA_VERSION}): "
            f"upgrade emcomm to read it"
        )
    facts = decoded(saved, PartFacts)
    if facts.schema_version > 1 and sealed(plain) != saved.decode():
        raise ValueError("its metadata does not fit its checksum")
    return facts


def sealed(facts: dict[str, Any]) -> str:
    """Metadata as JSON, with a checksum over itself: Parquet has none for its footer."""
    text = json.dumps({**facts, "seal": ""})
    return json.dumps({**facts, "seal": hashlib.sha256(text.encode()).hexdigest()[:16]})


def read_part(part: Path) -> DialogueTable:
    """One Parquet part; raises BadInput naming it if it is damaged, its values included."""
    with _reading(part) as file:
        facts = part_facts(file, part)
        _require_small(extent_of(file))
        file.seek(0)
        # a dictionary stays one: written out, a long string in it could fill the memory
        parquet = pq.ParquetFile(file, page_checksum_verification=True, read_dictionary=["outcome"])
        _require_schema(parquet.schema_arrow)
        table = from_arrow(parquet.read())
        check_values(table, facts)
        return table


def _require_small(extent: Extent) -> None:
    rows, row_groups, values, size = extent
    if rows > MOST_ROWS or values > MOST_VALUES or size > MOST_BYTES or row_groups > MOST_GROUPS:
        raise ValueError(
            f"it claims {rows:,} dialogues with {values:,} values in {size:,} bytes, more than any part may have"
        )


_ALSO = {"moves": pa.list_(pa.int8()), "outcome": pa.dictionary(pa.int32(), pa.string())}
"""Types besides those of the schema: moves of older logs, and how an outcome is read."""


def _require_schema(schema: pa.Schema) -> None:
    if schema.names not in (SCHEMA.names, OLD_NAMES):
        raise ValueError(f"its columns are not {', '.join(SCHEMA.names)}")
    for name in schema.names:
        field = SCHEMA.field(name)
        given = schema.field(field.name).type
        if given not in (field.type, _ALSO.get(field.name)):
            raise ValueError(f"{field.name} is {given}, not {field.type}")


def from_arrow(arrow: pa.Table) -> DialogueTable:
    """The inverse of `to_arrow`; raises ValueError for a table that is not in the schema of the log."""
    _require_schema(arrow.schema)
    columns = {name: arrow[name].combine_chunks() for name in arrow.column_names}
    rows = len(arrow)
    for name, column in columns.items():
        if column.null_count and (name not in _MAY_BE_ABSENT or column.null_count < rows):
            raise ValueError(f"it has empty cells in {name}")
    n_rounds = columns["n_rounds"].to_numpy()
    moves = _values(columns["moves"].cast(SCHEMA.field("moves").type), rows, "moves")
    agents = moves.shape[1]
    for name in ("symbols", "speakers"):
        lengths = pc.list_value_length(columns[name]).to_numpy(zero_copy_only=False)
        if not columns[name].null_count and not np.array_equal(lengths, n_rounds):
            raise ValueError(f"n_rounds and {name} do not agree")
    there = {name for name, column in columns.items() if not column.null_count and rows}
    known = pa.array(["success", "failure", "crash"])
    if "outcome" in there and not pc.all(pc.is_in(columns["outcome"].unique(), known)).as_py():
        raise ValueError("an outcome is neither success nor failure")
    if "heard" in there and not np.array_equal(pc.list_value_length(columns["heard"]).to_numpy(), n_rounds + 1):
        raise ValueError("n_rounds and heard do not agree")

    def per_agent(name: str, kind: Any) -> np.ndarray:
        """`[D, N, ·]`"""
        if name not in there:
            return np.zeros((rows, agents, 0), kind)
        column = columns[name]
        if (pc.list_value_length(column).to_numpy() != agents).any():
            raise ValueError(f"{name} does not have the same {agents} values everywhere")
        return _values(column.flatten(), rows * agents, name).reshape(rows, agents, -1)

    return DialogueTable(
        **{name: columns[name].to_numpy() for name in ("episode", "negotiation", "worker", "policy_version")},
        n_rounds=n_rounds,
        symbols=_values(columns["symbols"].flatten(), int(n_rounds.sum()), "symbols", agents),
        speakers=_values(columns["speakers"].flatten(), None, "speakers", agents),
        moves=moves,
        rewards=_values(columns["rewards"], rows, "rewards", agents),
        success=pc.equal(columns["outcome"], "success").to_numpy(zero_copy_only=False)
        if "outcome" in there or not rows
        else np.zeros(0, np.bool_),
        cut=columns["cut"].to_numpy(zero_copy_only=False),
        private=per_agent("private", np.float32),
        score=columns["score"].to_numpy() if "score" in there else _NONE,
        players=_values(columns["players"], rows, "players", agents) if "players" in there else _NONE,
        features=per_agent("features", np.float32),
        legal=per_agent("legal", np.bool_),
        speaks=_values(columns["speaks"], rows, "speaks", agents) if "speaks" in there else _NONE,
        columns=per_agent("columns", np.int8),
        heard=_values(columns["heard"].flatten(), None, "heard", agents * (agents - 1)) if "heard" in there else _NONE,
    )


_MAY_BE_ABSENT = ("speakers", "outcome", *SCHEMA.names[SCHEMA.names.index("private") :])
"""Columns that may be null in all rows."""


def _values(lists: pa.ListArray, count: int | None, name: str, width: int | None = None) -> np.ndarray:
    """`[count, width]` the values of lists of one length; raises ValueError where they are not that."""
    lengths = pc.list_value_length(lists).to_numpy(zero_copy_only=False)
    width = width if width is not None else int(lengths[0]) if len(lengths) else 2
    values = lists.flatten()
    if lists.null_count or values.null_count or (lengths != width).any() or count not in (None, len(lists)):
        raise ValueError(f"{name} does not have the same {width} values everywhere")
    return values.to_numpy(zero_copy_only=False).reshape(-1, width)


def check_values(table: DialogueTable, facts: PartFacts) -> None:
    """Raise ValueError for values that no training writes."""
    columns: dict[str, tuple[np.ndarray, int, int]] = {
        "episode": (table.episode, 0, 2**62),
        "negotiation": (table.negotiation, 0, 2**31),
        "worker": (table.worker, -1, 2**15),
        "policy_version": (table.policy_version, 0, 2**62),
        "n_rounds": (table.n_rounds, 0, LONGEST_TALK),
        "symbols": (table.symbols, SILENT, facts.n_tokens),
        "speakers": (table.speakers, 0, table.moves.shape[1] - 1),
        "moves": (table.moves, -1, len(facts.move_names) - 1),
        "players": (table.players, 0, 2**15),
        "columns": (table.columns, 0, table.moves.shape[1] - 1),
        "heard": (table.heard, SILENT, facts.n_tokens),
    }
    for name, (values, low, high) in columns.items():
        if values.size and not low <= values.min() <= values.max() <= high:
            raise ValueError(f"it has {name} outside {max(low, 0)} to {high}")
    for name in ("score", "features"):
        if not np.isfinite(getattr(table, name)).all():
            raise ValueError(f"it has {name} that are no finite numbers")
    declares = {table.judged} if facts.game is None else {facts.game.has_success}
    if len(table) and table.judged not in (declares if facts.schema_version > 3 else {True}):
        raise ValueError(f"its dialogues have {'an' if table.judged else 'no'} outcome, and its game says otherwise")
    agents, n_moves = table.moves.shape[1], len(facts.move_names)
    if len(table) and (table.columns.shape[2] not in (0, agents) or table.legal.shape[2] not in (0, n_moves)):
        raise ValueError("its columns or legal moves do not fit its agents and moves")
    if (
        len(table)
        and facts.game is not None
        and (facts.game.n_agents, facts.game.move_names) != (agents, facts.move_names)
    ):
        raise ValueError("its game declares other agents or moves")
    if not _numbered(table.episode, table.negotiation):
        raise ValueError("its episodes are not numbered one after the other, or one is there twice")


def _numbered(episode: Ints, negotiation: Ints) -> bool:
    """Whether the episodes have numbers without gaps, and each one's negotiations are 0, 1, …, once each."""
    if not len(episode) or (not negotiation.any() and (np.diff(episode) == 1).all()):
        return True
    order = np.lexsort([negotiation, episode])
    step, within = np.diff(episode[order]), np.diff(negotiation[order])
    starts = negotiation[order][np.concatenate([[True], step > 0])]
    return bool((step <= 1).all() and not starts.any() and (within[step == 0] == 1).all())


# -- a log as a whole --------------------------------------------------------------------------------------------------


def parts_of(folder: Path) -> list[Path]:
    """The parts of a log in their order; raises BadInput where the folder is a link that leads out of its run."""
    files.require_inside(folder, folder.parent)
    return sorted(folder.glob("part-*.parquet"))


def rows_of(part: Path) -> int:
    """How many dialogues a part says it holds; raises BadInput where it cannot be read."""
    with _reading(part) as file:
        return pq.read_metadata(file).num_rows


def digest_of(part: Path) -> str:
    """SHA-256 of a part's file; raises BadInput where it cannot be read."""
    with _reading(part) as file:
        return files.digest(file)


def end_of(folder: Path) -> LogPosition:
    """Where the log in `folder` ends; raises BadInput for a damaged part."""
    parts, rows, episodes = parts_of(folder), 0, 0
    for part in parts:
        if not re.fullmatch(r"part-[0-9]{6,18}\.parquet", part.name):
            raise BadInput(f"{part} is not the name of a part")
        table = read_part(part)
        rows, episodes = rows + len(table), max(episodes, int(table.episode.max(initial=-1)) + 1)
    last = int(parts[-1].stem.removeprefix("part-")) + 1 if parts else 0
    return LogPosition(last, rows, episodes, digest_of(parts[-1]) if parts else "")


def next_episode(folder: Path) -> int:
    """One more than the highest episode number in a log; 0 for an empty one. Damaged parts raise BadInput."""
    return end_of(folder).episodes
