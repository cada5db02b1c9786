"""Dialogues as utterances: what an agent said in one dialogue, and what it knew.

Agents of one role are exchangeable, so their utterances are those of one speaker. Where every agent has a network of
its own, each agent is a speaker. What is known, and what was said before, may last a whole episode: of an episode with
several dialogues one is drawn, so that those of different episodes can be permuted and resampled as independent.

Axes: `U` utterance, `R` round (padded with SILENT), `P` attribute.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from analysis.data.decisions import NotApplicable
from emcomm.dialogues import DialogueTable
from envs.channels import SILENT
from envs.game import Attribute, BadGame, Bools, Declaration, Ints, require_in_range

MOST_ROUNDS = 32
"""Rounds of which the symbols are looked at; `Utterances.longer` is the share of those that go on."""
FEWEST = 30
"""Of fewer dialogues no figure says anything."""
SEED = 0
"""Fixes which dialogue of an episode is drawn."""


@dataclass(frozen=True)
class Utterances:
    """What one speaker said in `U` dialogues, and what it knew of `P` attributes."""

    speaker: str
    """The role, or the agent where each has a network of its own."""
    attributes: tuple[Attribute, ...]
    """`P`, those that this speaker has and that are not always the same."""
    n_tokens: int
    """Tokens that the speaker has; its EOT is `eot`."""
    eot: int
    """The symbol that ends the talk."""
    symbols: Ints
    """`[U, R]` what it said round by round, SILENT where nothing."""
    meanings: Ints
    """`[U, P]` the values of its attributes; -1 where it had none."""
    dialogue: Ints
    """`[U]` number of the dialogue; agents of one role share it."""
    agent: Ints
    """`[U]` which agent spoke."""
    success: Bools
    """`[U]` how its episode ended; False everywhere where the game declares no success (not `judged`)."""
    n_rounds: Ints
    """`[U]` rounds of the dialogue, the closing one included."""
    cut: Bools
    """`[U]` whether its talk was cut."""
    judged: bool = True
    """Whether the game says what success is."""

    def __len__(self) -> int:
        return len(self.symbols)

    def __getitem__(self, which: slice | Bools | Ints) -> Utterances:
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        rows: dict[str, Any] = {name: v[which] for name, v in values.items() if isinstance(v, np.ndarray)}
        return replace(self, **rows)

    def drawn(self, count: int, rng: np.random.Generator) -> Utterances:
        """The utterances of some dialogues drawn at random, of about `count` utterances."""
        if len(self) <= count:
            return self
        dialogues = np.unique(self.dialogue)
        chosen = rng.choice(dialogues, max(len(dialogues) * count // len(self), 1), replace=False)
        return self[np.isin(self.dialogue, chosen)]

    def require_enough(self) -> None:
        """Raise NotApplicable where there are fewer than `FEWEST` dialogues."""
        if (count := len(np.unique(self.dialogue))) < FEWEST:
            raise NotApplicable(f"there are {count} dialogues in which the {self.speaker} speaks: too few")

    @property
    def is_token(self) -> Bools:
        """`[U, R]` whether a token was said, not EOT and not nothing."""
        tokens: Bools = (self.symbols != SILENT) & (self.symbols != self.eot)
        return tokens

    @property
    def longer(self) -> float:
        """Share of the utterances in dialogues that go on after the rounds that are looked at."""
        return float((self.n_rounds > self.symbols.shape[1]).mean()) if len(self) else 0.0

    def message_numbers(self) -> tuple[Ints, Ints]:
        """`[K, R]` the different messages, and `[U]` which one each utterance is."""
        return numbered(self.symbols)

    def meaning_numbers(self) -> tuple[Ints, Ints]:
        """`[V, P]` the different meanings in order, and `[U]` which one each utterance has."""
        return numbered(self.meanings)


def numbered(rows: Ints) -> tuple[Ints, Ints]:
    """The different rows of `[U, C]`, sorted, and `[U]` which of them each row is.

    >>> numbered(np.array([[1, 0], [0, 2], [1, 0]]))[1].tolist()
    [1, 0, 1]
    """
    if not rows.shape[1]:
        return rows[:1], np.zeros(len(rows), np.int64)
    different, which = np.unique(rows, axis=0, return_inverse=True)
    return different, which.reshape(-1)


def require_rows(meanings: Ints, messages: Ints) -> None:
    """Raise ValueError where these are no meanings `[U, P]` and messages `[U, R]` of whole numbers.

    >>> require_rows(np.zeros((3, 2), int), np.zeros((4, 2), int))
    Traceback (most recent call last):
    ValueError: meanings and messages must have one row each for every utterance, not 3 and 4 rows
    """
    for name, rows in (("meanings", meanings), ("messages", messages)):
        shape = getattr(rows, "shape", ())
        if len(shape) != 2 or rows.dtype.kind not in "iub":
            kind = getattr(rows, "dtype", type(rows).__name__)
            raise ValueError(f"{name} must be an array [U, …] of whole numbers, not {kind} of shape {list(shape)}")
    if len(meanings) != len(messages):
        raise ValueError(
            "meanings and messages must have one row each for every utterance, "
            f"not {len(meanings)} and {len(messages)} rows"
        )


def utterances(
    table: DialogueTable, game: Declaration, n_tokens: int, each_agent: bool = False, rounds: int = MOST_ROUNDS
) -> tuple[Utterances, ...]:
    """For each speaker its utterances, whether or not it knows anything; those who never spoke are left out.

    Of an episode with several dialogues in which the speaker may speak, one is drawn at random, by a fixed seed.
    Raises NotApplicable where the log does not hold the attributes that the game declares, or nobody spoke.

    Parameters
    ----------
    table : DialogueTable
        Dialogues of one frozen policy, in whole episodes.
    game : Declaration
        What the game declares.
    n_tokens : int
        Free tokens.
    each_agent : bool
        Whether each agent has a language of its own, and not each role.
    rounds : int
        Rounds that are looked at, at most.

    Returns
    -------
    tuple of Utterances
        One for each role, or for each agent, that says something.

    Examples
    --------
    >>> from analysis.data.dialogue_text import table_of
    >>> from envs.game import plain_declaration
    >>> [said] = utterances(table_of([[(4, 2), (5, 5)]]), plain_declaration(2, ("main", "detour")), 5)
    >>> said.speaker, said.symbols.tolist()
    ('agent', [[4, 5], [2, 5]])
    """
    private = private_values(table, game)
    longest = max(min(int(table.n_rounds.max(initial=0)), rounds), 1)
    padded = table.padded(longest)
    lot = np.random.default_rng(SEED).permutation(len(table))
    episode = np.unique(table.episode, return_inverse=True)[1].reshape(-1)
    succeeded = np.zeros(int(episode.max(initial=-1)) + 1, np.bool_)
    if table.judged:
        succeeded[episode[table.last]] = table.success[table.last]
    found = []
    for name, agents in speakers(game, each_agent):
        spoken = one_of_each(episode, lot, np.logical_or.reduce(table.speaks[:, agents], axis=1))
        rows = [np.flatnonzero(spoken & table.speaks[:, agent]) for agent in agents]
        which = np.repeat(agents, [len(r) for r in rows])
        at = np.concatenate(rows)
        said = padded[at, :, which]
        if not (said != SILENT).any():
            continue
        order = np.argsort(at, kind="stable")
        at, which, said = at[order], which[order], said[order]
        known = private[at, which]
        varied = [p for p in range(known.shape[1]) if (known[:, p] != known[0, p]).any()]
        own = game.tokens[agents[0]] if game.tokens else None
        found.append(
            Utterances(
                name, tuple(game.attributes[p] for p in varied), n_tokens if own is None else own, n_tokens,
                said.astype(np.int64), known[:, varied], at, which, succeeded[episode[at]],
                table.n_rounds[at],
                table.cut[at],
                table.judged,
            )
        )  # fmt: skip
    if not found:
        raise NotApplicable("nobody says anything")
    return tuple(found)


def one_of_each(group: Ints, lot: Ints, among: Bools) -> Bools:
    """`[D]` the row with the first `lot` `[D]` of each `group` `[D]`, of the rows in question.

    >>> one_of_each(np.array([0, 0, 1]), np.array([1, 0, 2]), np.array([True, True, True])).tolist()
    [False, True, True]
    """
    rows = np.flatnonzero(among)
    rows = rows[np.argsort(lot[rows])]
    one = np.zeros(len(group), np.bool_)
    one[rows[np.unique(group[rows], return_index=True)[1]]] = True
    return one


def private_values(table: DialogueTable, game: Declaration) -> Ints:
    """`[D, N, P]` the values of the declared attributes, -1 for none; raises NotApplicable where the log lacks
    them, or holds others."""
    if not game.attributes:
        return np.zeros((*table.moves.shape, 0), np.int64)
    if table.private.shape[2] != len(game.attributes):
        raise NotApplicable("the log does not hold the attributes")
    try:
        require_in_range(table.private, game)
    except BadGame as error:
        raise NotApplicable(f"the log does not fit the game: {error}") from error
    return table.private.astype(np.int64)


def speakers(game: Declaration, each_agent: bool) -> list[tuple[str, list[int]]]:
    """The name and the agents of each speaker."""
    if each_agent:
        return [(name, [agent]) for agent, name in enumerate(game.agent_names)]
    return [(name, [i for i, r in enumerate(game.role_of) if r == role]) for role, name in enumerate(game.roles)]


def that_know(every: tuple[Utterances, ...], attributes: int = 1) -> tuple[Utterances, ...]:
    """The speakers with at least so many attributes; raises NotApplicable where there is none."""
    knowing = tuple(said for said in every if len(said.attributes) >= attributes)
    if knowing:
        return knowing
    if attributes > 1 and any(said.attributes for said in every):
        raise NotApplicable("it takes two attributes, and no speaker has more than one")
    raise NotApplicable("no speaker knows anything that is not always the same")


def message_text(symbols: Ints, eot: int) -> str:
    """A message `[R]` for the reader: its symbols with a dot between rounds, nothing after its end.

    >>> message_text(np.array([2, 0, 5, -1]), 5)
    '2 · 0 · EOT'
    >>> message_text(np.array([-1, -1]), 5)
    '(nothing)'
    """
    said = np.flatnonzero(symbols != SILENT)
    if not len(said):
        return "(nothing)"
    return " · ".join(symbol_text(s, eot) for s in symbols[: said[-1] + 1].tolist())


def symbol_text(symbol: int, eot: int) -> str:
    """A symbol for the reader."""
    return "–" if symbol == SILENT else "EOT" if symbol == eot else str(symbol)


def meaning_text(values: Ints, attributes: tuple[Attribute, ...]) -> str:
    """A meaning for the reader.

    >>> meaning_text(np.array([2, -1]), (Attribute("colour", 3), Attribute("shape", 3)))
    'colour 2, no shape'
    """
    return ", ".join(a.text(v) for v, a in zip(values.tolist(), attributes, strict=True)) or "(nothing)"
