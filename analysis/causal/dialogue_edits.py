"""What changes when a dialogue is edited: finished dialogues are changed and replayed to the frozen network.

Its probabilities before and after are compared; no sampling is involved, so a network that ignores what it hears scores
exactly 0. A move counts where its agent has a choice, and a dialogue where the edit has changed it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from analysis.agents.policy_player import Situation, move_probabilities, plain_situation
from analysis.data.decisions import Decisions, NotApplicable
from emcomm.networks.policy import Policy
from emcomm.statistics import Rate, rate
from envs.channels import SILENT
from envs.game import Bools, Declaration, Floats, Ints
from envs.negotiation import TalkRules


@dataclass(frozen=True)
class Edit:
    """What an edit of the dialogue does to the moves."""

    name: str
    changed: Rate
    """Share of the views in which the likelier move is another one afterwards; a trial is a dialogue."""
    shift: float
    """Mean total variation between the move probabilities before and after (0 to 1)."""


@dataclass(frozen=True)
class Spoken:
    """Dialogues to be edited."""

    symbols: Ints
    """int8 `[D, R, N]`"""
    ends: Ints
    """`[D]` rounds that may be edited: all but one that closes the talk."""
    n_tokens: int
    """Of the agent whose symbols are edited."""
    speaker: int
    """Whose symbols are edited: the first agent of its role that may speak."""
    twin: int
    """Who may be taken for it: the next one of its role that may speak; itself where there is none."""


Change = Callable[[Spoken, np.random.Generator], Ints]
"""Dialogues -> edited symbols, a closing round untouched."""


def edits(
    policy: Policy, rules: TalkRules, decided: Decisions, seed: int = 0, situation: Situation | None = None
) -> tuple[Edit, ...]:
    """The effect of each edit in `EDITS` that changes a dialogue, and for each role that speaks.

    Where agents speak one after another rounds are not reordered: who speaks when is part of the talk. Raises
    NotApplicable where no edit changes anything that an agent with a choice of moves could notice, and where what was
    heard over a random channel does not follow from what is said.

    Parameters
    ----------
    policy : Policy
        The frozen network.
    rules : TalkRules
        Of its run.
    decided : Decisions
        Dialogues, of `analysis.data.decisions`.
    seed : int
        Of what is random in an edit.
    situation : Situation, optional
        What the dialogues began with (`analysis.agents.policy_player.situation_of`).

    Returns
    -------
    tuple of Edit
        `name`, with the role that speaks where there are several; `changed`, share of views whose likelier move
        changes; `shift`, mean total variation (0 to 1).

    Examples
    --------
    `{edit.name: edit.changed for edit in analysis.edits(policy, rules, decided)}`
    """
    situation = situation or plain_situation(policy, rules, len(decided))
    talked = np.flatnonzero(decided.n_rounds >= 1)
    decided, situation = decided[talked], situation[talked]
    before = move_probabilities(policy, rules, decided.symbols, decided.n_rounds, situation)
    found: dict[str, Edit] = {}
    speakers = _speakers(situation)
    for speaker, twin in speakers:
        spoken = _spoken(decided, situation.setting.game, speaker, twin)
        for name, change in EDITS.items():
            if (change is _swap and twin == speaker) or (change in REORDERING and rules.speaking == "sequential"):
                continue
            of_one = len(speakers) > 1 and change in (_replace, _swap)
            title = f"{name} (the {_role(situation, speaker)} speaks)" if of_one else name
            if title in found:
                continue
            edited = change(replace(spoken, symbols=decided.symbols.copy()), np.random.default_rng(seed))
            touched = (edited != decided.symbols).any(axis=(1, 2)) | (change is _nothing)
            views = touched[:, None] & situation.choosing() & _seats(name, speaker, situation)
            if views.any():
                after = move_probabilities(policy, rules, edited, decided.n_rounds, situation)
                found[title] = _compared(title, before, after, views)
    if not found.keys() - {"nothing"}:
        raise NotApplicable("no edit of the talk changes what an agent with a choice of moves hears")
    return tuple(found.values())


def _compared(name: str, before: Floats, after: Floats, views: Bools) -> Edit:
    """The edit's effect on the moves of the `views` `[D, N]`, each dialogue one trial."""
    switched = (before.argmax(axis=2) != after.argmax(axis=2)) & views
    distance = np.abs(before - after).sum(axis=2) / 2
    seats = views.sum(axis=1)
    share = (switched.sum(axis=1) / np.maximum(seats, 1)).sum()
    return Edit(name, rate(int(share), int((seats > 0).sum())), float(distance[views].mean()))


def _seats(name: str, speaker: int, situation: Situation) -> Bools:
    """`[D, N]` whose moves an edit is judged by."""
    dialogues, n_agents = situation.memory.shape[:2]
    own = np.tile(np.arange(n_agents) == speaker, (dialogues, 1))
    if name == "replace own":
        return own
    hears = situation.hearing(np.full(dialogues, speaker))
    return hears if name == "replace other's" else np.ones_like(own)


def _speakers(situation: Situation) -> list[tuple[int, int]]:
    """Of each role that speaks the first agent that may, and the next one (itself where there is none)."""
    may, role_of = situation.speaking().any(axis=0), np.array(situation.setting.game.role_of)
    those = [np.flatnonzero(may & (role_of == role)).tolist() for role in np.unique(role_of)]
    return [(agents[0], agents[min(1, len(agents) - 1)]) for agents in those if agents]


def _role(situation: Situation, agent: int) -> str:
    game = situation.setting.game
    return game.roles[game.role_of[agent]]


def _spoken(decided: Decisions, game: Declaration, speaker: int, twin: int) -> Spoken:
    own = game.tokens[speaker] if game.tokens else None
    return Spoken(decided.symbols, open_rounds(decided), decided.n_tokens if own is None else own, speaker, twin)


def open_rounds(decided: Decisions) -> Ints:
    """`[D]` rounds of the talk without the one that closes it: the last one, where anybody says EOT in it.

    >>> spoken = np.array([[[1, 0], [2, 2]], [[1, 0], [0, 1]]])  # 2: EOT; the second talk was cut
    >>> open_rounds(Decisions(spoken, np.array([2, 2]), np.zeros((2, 2), int), 2)).tolist()
    [1, 2]
    """
    last = decided.symbols[np.arange(len(decided)), np.maximum(decided.n_rounds - 1, 0)]
    return decided.n_rounds - (last == decided.n_tokens).any(axis=1)


def _nothing(spoken: Spoken, rng: np.random.Generator) -> Ints:
    return spoken.symbols


def _replace(spoken: Spoken, rng: np.random.Generator) -> Ints:
    """One symbol of the speaker, in a random round in which it speaks, becomes another token."""
    symbols, n_tokens = spoken.symbols, max(spoken.n_tokens, 1)
    at = drawn_round(where_said(symbols[..., spoken.speaker], spoken.ends), rng)
    row = np.flatnonzero(at >= 0)
    said = symbols[row, at[row], spoken.speaker]
    token = rng.integers(n_tokens, size=len(symbols))[row]
    symbols[row, at[row], spoken.speaker] = np.where(token == said, (token + 1) % n_tokens, token)
    return symbols


def where_said(said: Ints, ends: Ints) -> Bools:
    """`[D, R]` in which of the first `ends` `[D]` rounds something is `said` `[D, R]`."""
    there: Bools = (said != SILENT) & (np.arange(said.shape[1]) < ends[:, None])
    return there


def drawn_round(there: Bools, rng: np.random.Generator) -> Ints:
    """`[D]` one of the rounds that are `there` `[D, R]`; -1 where none is."""
    which = (rng.random(len(there)) * there.sum(axis=1)).astype(np.int64)
    at = (there.cumsum(axis=1) > which[:, None]).argmax(axis=1)
    return np.where(there.any(axis=1), at, -1)


def _swap(spoken: Spoken, rng: np.random.Generator) -> Ints:
    """Where both spoke; in a game with groups one of them may have had nobody to talk to."""
    pair = [spoken.speaker, spoken.twin]
    said = spoken.symbols[..., pair]
    both = (said != SILENT).any(axis=1).all(axis=1)
    spoken.symbols[..., pair] = np.where(both[:, None, None], said[..., ::-1], said)
    return spoken.symbols


def _reorder(keys: Floats, symbols: Ints, ends: Ints) -> Ints:
    """The first `ends` `[D]` rounds, sorted by `keys` `[D, R]`."""
    keys = np.where(np.arange(symbols.shape[1]) < ends[:, None], keys, np.inf)
    return np.take_along_axis(symbols, np.argsort(keys, axis=1, kind="stable")[..., None], 1)


def _shuffle(spoken: Spoken, rng: np.random.Generator) -> Ints:
    return _reorder(rng.random(spoken.symbols.shape[:2], np.float32), spoken.symbols, spoken.ends)


def _reverse(spoken: Spoken, rng: np.random.Generator) -> Ints:
    rounds = np.arange(spoken.symbols.shape[1], dtype=np.float32)
    return _reorder(-np.tile(rounds, (len(spoken.symbols), 1)), spoken.symbols, spoken.ends)


REORDERING: tuple[Change, ...] = (_shuffle, _reverse)
EDITS: dict[str, Change] = {
    "nothing": _nothing,
    "replace own": _replace,
    "replace other's": _replace,
    "swap own and other's": _swap,
    "shuffle rounds": _shuffle,
    "reverse rounds": _reverse,
}
"""`nothing` is the null. A replaced symbol is one of its own to the speaker, one of another's to all others."""
