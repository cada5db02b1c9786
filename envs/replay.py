"""Dialogues played again through the rules of talk, so that whoever is asked sees what an agent saw in them.

Axes: `D` dialogue, `R` round (padded), `N` agent, `M` move.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from envs.channels import CHANNELS, SILENT, Channel, Round
from envs.game import Bools, Declaration, Floats, Ints, Outcome, plain_declaration
from envs.negotiation import ACT, TALK, IllegalAction, Negotiation, Observation, TalkRules


class NotReplayable(ValueError):
    """The record lacks what an agent saw, or breaks the rules of talk."""


@dataclass(frozen=True)
class Setting:
    """What stood around `D` dialogues, as the log has it; what is None was as a reader would expect."""

    game: Declaration
    features: Floats
    """`[D, N, F]` what the agents saw of the game."""
    legal: Bools | None = None
    """`[D, N, M]`"""
    speaks: Bools | None = None
    """`[D, N]`"""
    active: Bools | None = None
    """`[D, N]`"""
    columns: Ints | None = None
    """int8 `[D, N, N]` in which order each agent saw the others, itself first."""
    heard: Ints | None = None
    """int8 `[D, R + 1, N, N - 1]` what each agent heard, before the talk and in each round."""
    said: Ints | None = None
    """int8 `[D, R, N]` what was said when they `heard` that: nothing else can be put in its place."""
    order: Ints | None = None
    """int8 `[D, R, N]` in which order they spoke; -1 where that is not known."""
    reaches: Bools | None = None
    """`[D, N, N - 1]` whom each agent could hear, in the order of its columns; None where all hear all, or where what
    they heard is in `heard`."""

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, which: Ints | Bools | slice) -> Setting:
        arrays = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "game"}
        chosen: dict[str, Any] = {name: None if a is None else a[which] for name, a in arrays.items()}
        return Setting(self.game, **chosen)


def plain_setting(dialogues: int, n_agents: int, move_names: tuple[str, ...]) -> Setting:
    """Around dialogues of a game that shows its agents nothing."""
    return Setting(plain_declaration(n_agents, move_names), np.zeros((dialogues, n_agents, 0), np.float32))


class Moment(NamedTuple):
    """One step of `d` dialogues."""

    rows: Ints
    """`[d]` which dialogues."""
    round: Ints
    """`[d]` rounds completed."""
    acting: Bools
    """`[d, N]` whose turn it is."""
    seen: Observation
    """What the agents see, `d` games."""


class _Script:
    """A `Game` that shows what is on record; each game ends with its first moves."""

    def __init__(self, setting: Setting) -> None:
        game, (self.n_games, self.n_agents, n_features) = setting.game, setting.features.shape
        self._setting, self.move_names = setting, game.move_names
        self.feature_bounds = (np.full(n_features, -np.inf, np.float32), np.full(n_features, np.inf, np.float32))
        self.agent_names = game.agent_names
        by_role = {game.roles[role]: count for role, count in zip(game.role_of, game.tokens, strict=True)}
        self.tokens = {name: count for name, count in by_role.items() if count is not None}
        self.roles = {name: np.flatnonzero(np.array(game.role_of) == r) for r, name in enumerate(game.roles)}
        shape = (self.n_games, self.n_agents)
        self._legal = _given(setting.legal, np.ones((*shape, len(game.move_names)), np.bool_))
        self._active = _given(setting.active, np.ones(shape, np.bool_))
        self._nothing = np.zeros((*shape, 0), np.float32)
        if setting.speaks is not None and not setting.speaks.all():
            speaks = setting.speaks
            self.may_speak = lambda: speaks

    def reset(self, which: Bools) -> None:
        """What is on record does not change."""

    def observe(self) -> Floats:
        return self._setting.features

    def private(self) -> Floats:
        return self._nothing

    def legal_moves(self) -> Bools:
        return self._legal

    def active(self) -> Bools:
        return self._active

    def play(self, moves: Ints, which: Ints) -> Outcome:
        ended = np.ones(moves.shape, np.bool_)
        return Outcome(np.zeros(moves.shape, np.float32), np.zeros(len(moves), np.bool_), ended, ~ended)


class _OnRecord(Channel):
    """What was heard is on record."""

    heard: Ints

    def before(self, games: Ints) -> Ints:
        return self.heard[games, 0]

    def hear(self, own: Ints, others: Ints, at: Round) -> Ints:
        return self.heard[at.games, at.number + 1]


def _reaching(channel: type[Channel], reaches: Bools) -> type[Channel]:
    """The channel, heard by those whom it reaches."""

    def hear(self: Channel, own: Ints, others: Ints, at: Round) -> Ints:
        return np.where(reaches[at.games], channel.hear(self, own, others, at), SILENT).astype(np.int8)

    return type("Reaching", (channel,), {"hear": hear})


class Replay(Negotiation):
    """`D` dialogues, spoken again as `symbols` `[D, R, N]` say, in `n_rounds` `[D]` rounds.

    Raises NotReplayable where the channel is random and what was heard is not in `setting`, or something else was said.
    """

    def __init__(self, symbols: Ints, n_rounds: Ints, rules: TalkRules, setting: Setting) -> None:
        self._symbols, self._length, self._setting = symbols, n_rounds, setting
        channel: type[Channel] = CHANNELS.find(rules.channel)
        if channel.random and setting.heard is None:
            raise NotReplayable(f"what was heard over the channel {rules.channel!r} is not in the log")
        if setting.heard is not None:
            self._require_as_said(rules.channel)
            kept = {"name": rules.channel, "heard": setting.heard, "talk": channel.talk, "echo": channel.echo}
            channel = type("OnRecord", (_OnRecord,), kept)
        elif setting.reaches is not None:
            channel = _reaching(channel, setting.reaches)
        if rules.speaking == "sequential" and setting.order is None:
            raise NotReplayable("in which order the agents spoke is not in the log")
        may = np.ones(setting.features.shape[:2], np.bool_) if setting.speaks is None else setting.speaks
        may = may if setting.active is None else may & setting.active
        later = np.arange(symbols.shape[1])[:, None] < n_rounds[:, None, None]
        self._ended = later & may[:, None] & (symbols == SILENT)
        """`[D, R, N]` who could speak, and had ended its talk while others went on."""
        self._ended[:, :1] = False  # there it moved
        super().__init__(_Script(setting), _endless(rules), np.random.default_rng(0), channel)
        self.reset()

    def _require_as_said(self, channel: str) -> None:
        """What was heard answers to what was said then, and to nothing else."""
        if (said := self._setting.said) is None:
            return
        rounds = min(self._symbols.shape[1], said.shape[1])
        other = (self._symbols[:, :rounds] != said[:, :rounds]).any(axis=2)
        if (other & (np.arange(rounds) < self._length[:, None])).any() or self._length.max(initial=0) > said.shape[1]:
            raise NotReplayable(f"what is heard over the channel {channel!r} does not follow from what is said")

    def _deal_columns(self, which: Bools) -> None:
        if self._setting.columns is None:
            raise NotReplayable("in which order an agent saw the others is not in the log")
        self._columns[which] = self._setting.columns[which]

    def _draw_order(self, games: Ints) -> None:
        order = self._setting.order
        assert order is not None
        known = order[games, np.minimum(self.n_rounds[games], order.shape[1] - 1)]
        self._order[games] = np.where(known < 0, np.arange(self.n_agents, dtype=np.int8), known)

    def _write(self, talks: Bools) -> None:
        super()._write(talks)
        if self.rules.speaking == "sequential":  # the round is complete: the next one's order
            self._draw_order(np.flatnonzero(talks))

    def _agreed(self, talks: Bools) -> Bools:
        return super()._agreed(talks) & ~self._ended.any(axis=(1, 2))  # the record says when those end

    def _close(self) -> None:
        """Note who has ended its talk, as the record has it."""
        at = np.minimum(self.n_rounds, self._ended.shape[1] - 1)
        self._closed = self._ended[np.arange(self.n_games), at] & (self.phase == TALK)[:, None]
        self._mask = None

    def moments(self) -> Iterator[Moment]:
        """Every step of every dialogue, the moves included; raises NotReplayable for one that breaks the rules."""
        going = np.ones(self.n_games, np.bool_)
        while going.any():
            self._end_talk(going & (self.n_rounds == self._length) & (self.phase == TALK) & (self._length > 0))
            if (early := going & (self.phase == ACT) & (self.n_rounds < self._length) & self.channel.talk).any():
                raise NotReplayable(f"dialogue {int(early.argmax())} ends before its last round")
            if self._ended.any():
                self._close()
            seen, rows = self.observe(), np.flatnonzero(going)
            shown = Observation(seen.features[rows], seen.buffer[rows], seen.mask[rows])
            yield Moment(rows, self.n_rounds[rows].copy(), self._acting()[rows], shown)
            silent_opening = going & (self.phase == TALK) & (self._length == 0)  # nothing more is on record
            try:
                step = self.step(self._actions())
            except IllegalAction as error:
                raise NotReplayable(str(error)) from error
            going &= ~step.over & ~silent_opening
            self.reset(step.over)

    def _end_talk(self, which: Bools) -> None:
        """The record ends here: the moves are due."""
        if which.any():
            self.cut |= which
            self.phase[which] = ACT
            self._mask = None

    def _actions(self) -> Ints:
        """`[D, N]` what was said; a move or a placeholder where that is nothing."""
        mask, first_move = self.mask(), self.rules.eot + 1
        moves = mask[..., first_move:]
        otherwise = np.where(moves.any(axis=2), first_move + moves.argmax(axis=2), mask.argmax(axis=2))
        at = np.minimum(self.n_rounds, self._symbols.shape[1] - 1)
        said = self._symbols[np.arange(self.n_games), at].astype(np.int64)
        speaking = self._acting() & (said != SILENT) & (self.n_rounds < self._length)[:, None]
        return np.where(speaking & (self.phase != ACT)[:, None], said, otherwise)


@lru_cache(maxsize=64)
def _endless(rules: TalkRules) -> TalkRules:
    """The rules for a replay: the record says when a talk ends, and in which order agents speak."""
    order = "round" if rules.speaking == "sequential" else rules.order
    return replace(rules, max_rounds=None, window=rules.visible_rounds, order=order)


def _given(array: Bools | None, otherwise: Bools) -> Bools:
    return otherwise if array is None or not array.size else array
