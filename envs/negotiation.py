"""The talk around any `Game`: many negotiations at once, as arrays.

Each game is in one of three phases. OPEN: moves and symbols are legal; if all agents move, the moves are played, if any
agent says a symbol, the talk is entered. TALK: only symbols are legal, until all agents say EOT in the same round or
`max_rounds` is reached. ACT: only moves are legal; they are played at the same moment, the buffer is emptied, and the
game goes on or ends. With `closing="any"` one EOT ends the talk, with `closing="fixed"` nobody can say EOT, and every
talk lasts `max_rounds`.

Agents that may not speak (`Game.may_speak`) only move. Where several roles exist, an agent sees its own. Where a game
says who hears whom (`Game.hears`), each group of agents that hear each other, directly or through others, ends its talk
by itself, says and hears nothing more, and moves when all groups have ended theirs.

What is done at every step selects rows by `take`, which is several times faster than indexing by an array.

Actions are one `Discrete(n_tokens + 1 + n_moves)`: the tokens, then EOT, then the moves.
Axes: `B` game, `N` agent, `W` window of rounds, `A` action, `D` games whose moves were played in a step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple, get_args, get_type_hints

import numpy as np

from envs.channels import CHANNELS, SILENT, Channel, Round, doubled
from envs.game import BadGame, Bools, Floats, Game, Ints, Outcome, declared, parts_of_moves, require_in_range
from envs.saving import fitting, restore_game, save_game

LONGEST_TALK = 32_767
"""The most rounds that `max_rounds` may allow (rounds)."""
MOST_VISIBLE = 8
"""Rounds of the buffer that an agent sees at most, where `window` does not say how many (rounds). Networks without
memory learn the crossing sooner with 8 rounds than with 32, and then talk for fewer."""
LONGEST_UNBOUNDED_TALK = 4_096
"""Rounds after which even a talk without `max_rounds` is cut, so that agents who never end it do not talk for ever."""

OPEN, TALK, ACT = 0, 1, 2
PHASES = ("OPEN", "TALK", "ACT")
_PHASE_FEATURES = np.eye(len(PHASES), dtype=np.float32)

Opening = Literal["free", "talk"]
Speaking = Literal["simultaneous", "sequential"]
Order = Literal["fixed", "episode", "round"]
Closing = Literal["mutual", "any", "fixed"]


class IllegalAction(ValueError):
    """An action that the agent's mask forbids."""


class GameOver(RuntimeError):
    """A step after the end of a game, or before the first reset."""


@dataclass(frozen=True)
class TalkRules:
    """The options of the channel; the defaults are the game of the 2022 talk."""

    n_tokens: int = 5
    """Free symbols an agent may say, besides EOT (symbols)."""
    max_rounds: int | None = 32
    """Rounds after which the talk is cut and the moves are due; None: only after 4 096 (rounds)."""
    opening: Opening = "free"
    """How a decision starts. free: agents may move at once or talk; talk: they must talk."""
    speaking: Speaking = "simultaneous"
    """simultaneous: all speak at once; sequential: one after the other, hearing what was said before."""
    order: Order = "fixed"
    """With --speaking sequential: the order, always the same, or shuffled for every episode or every round."""
    closing: Closing = "mutual"
    """What ends a talk. mutual: EOT of all who may speak, in the same round; any: the EOT of one; fixed: nothing but
    --max-rounds, EOT cannot be said."""
    channel: str = "open"
    """What is heard. open: what was said; off: no talk. Controls: constant (all is token 0), shuffled (messages of
    other games), self (one's own symbols as the other's), noisy (see noise), oracle (the role is told, upper bound),
    tokens_shuffled (own EOTs, tokens of other games), ends_shuffled (the reverse), delayed (a round late), relabelled
    (tokens under names drawn for each game: other-play); or module:Name of a subclass of envs.channels.Channel."""
    noise: float = 0.1
    """With --channel noisy: probability that a heard symbol is replaced by a random one (0 to 1)."""
    round_cost: float = 0.0
    """Subtracted from every agent's reward for each round of talk (reward)."""
    window: int | None = None
    """Rounds of the buffer that an agent sees (rounds). None: the whole talk, of a longer one its last 8 rounds; a
    recurrent network reads the newest of them, for it remembers the others."""

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(type(self)).items():
            value, choices = getattr(self, name), get_args(hint)
            if choices and isinstance(choices[0], str) and value not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, not {value!r}")
        if not isinstance(self.channel, str):
            raise ValueError(f"channel must be a name, not {self.channel!r}")
        CHANNELS.require(self.channel)
        for name in ("n_tokens", "max_rounds", "window"):
            value = getattr(self, name)
            unbounded = name in ("max_rounds", "window") and value is None
            if not unbounded and (isinstance(value, bool) or not isinstance(value, (int, np.integer))):
                raise ValueError(f"{name} must be a whole number, not {value!r}")
        if not 1 <= self.n_tokens <= 126:
            raise ValueError(f"n_tokens must be from 1 to 126, not {self.n_tokens}")
        if self.max_rounds is not None and not 1 <= self.max_rounds <= LONGEST_TALK:
            raise ValueError(
                f"max_rounds must be from 1 to {LONGEST_TALK}, or None for no limit, not {self.max_rounds}"
            )
        for name in ("noise", "round_cost"):
            if not isinstance(getattr(self, name), (int, float, np.number)):
                raise ValueError(f"{name} must be a number, not {getattr(self, name)!r}")
        if not 0 <= self.noise <= 1:
            raise ValueError(f"noise is a probability from 0 to 1, not {self.noise}")
        if not 0 <= self.round_cost < float("inf"):
            raise ValueError(f"round_cost must be a number from 0 up, not {self.round_cost}")
        if self.window is not None and not 1 <= self.window <= 1024:
            raise ValueError(f"window must be from 1 to 1024 rounds, not {self.window}")

    @property
    def eot(self) -> int:
        """The end-of-talk symbol."""
        return self.n_tokens

    @property
    def visible_rounds(self) -> int:
        """`W`: rounds of the buffer that an agent sees (rounds)."""
        return self.window or min(self.max_rounds or MOST_VISIBLE, MOST_VISIBLE)

    @property
    def n_sayable(self) -> int:
        """Symbols that can be said: the tokens and, unless closing is fixed, EOT."""
        return self.n_tokens + (self.closing != "fixed")


class Observation(NamedTuple):
    """What every agent sees; swapping two agents swaps their rows and nothing else."""

    features: Floats
    """`[B, N, F + 3]` the game's features, the agent's role where there are several, and the phase, one-hot."""
    buffer: Ints
    """int8 `[B, N, W, N]` the last rounds, newest last, own column first, then by role; SILENT where empty."""
    mask: Bools
    """`[B, N, A]` the legal actions."""


def encoded(buffer: Ints, n_symbols: int) -> Floats:
    """Rounds of the buffer `[..., W, N]` as one vector `[..., W * N * (n_symbols + 1)]`, one-hot.

    Round after round, the newest last, and in it column after column; in each cell the symbols, and last SILENT.

    >>> encoded(np.array([[0, 2], [SILENT, 1]], np.int8), 3).reshape(2, 2, 4).astype(int).tolist()
    [[[1, 0, 0, 0], [0, 0, 1, 0]], [[0, 0, 0, 1], [0, 1, 0, 0]]]
    """
    return _one_hot(n_symbols + 1).take(buffer, axis=0, mode="wrap").reshape(*buffer.shape[:-2], -1)


def decoded(vector: Floats, n_agents: int, n_symbols: int) -> Ints:
    """The inverse of `encoded`: int8 `[..., W, N]`."""
    cell = vector.reshape(*vector.shape[:-1], -1, n_agents, n_symbols + 1).argmax(axis=-1)
    return np.where(cell == n_symbols, SILENT, cell).astype(np.int8)


@lru_cache(maxsize=16)
def _one_hot(kinds: int) -> Floats:
    """`[K, K]`; its last row is that of SILENT = -1."""
    rows = np.eye(kinds, dtype=np.float32)
    rows.flags.writeable = False
    return rows


_ABSENT: Any = None


class Dialogues(NamedTuple):
    """`D` finished negotiations with the moves after them, in the order in which they finished."""

    game: Ints
    """`[D]` index of the game in the batch."""
    n_rounds: Ints
    """`[D]` rounds of the dialogue, the closing EOT/EOT round included; 0 where nothing was said."""
    symbols: Ints
    """int8 `[sum(n_rounds), N]` what was said, round after round, dialogue after dialogue."""
    order: Ints
    """int8 `[sum(n_rounds), N]` the agents in the order in which they spoke; 0 rows where all spoke at once."""
    moves: Ints
    """int16 `[D, N]` the joint move, counted from 0; -1 for an agent that takes no part any more."""
    rewards: Floats
    """`[D, N]` the game's rewards for it, without the cost of talking."""
    success: Bools
    """`[D]` whether the joint move did what the game asks for; 0 entries where the game declares no success."""
    cut: Bools
    """`[D]` the talk ran into `max_rounds`."""
    private: Floats
    """`[D, N, P]` what only that agent knew."""
    last: Bools
    """`[D]` the episode ended with this move."""
    score: Floats = _ABSENT
    """`[D]` how well, where the game has degrees of success; otherwise 1 for a success and 0 for a failure.
    0 entries where it has neither."""
    features: Floats = _ABSENT
    """`[D, N, F]` what the agents saw of the game while they talked."""
    legal: Bools = _ABSENT
    """`[D, N, M]` the moves that the game allowed; 0 columns where it allowed all."""
    speaks: Bools = _ABSENT
    """`[D, N]` who could speak."""
    columns: Ints = _ABSENT
    """int8 `[D, N, N]` in which order each agent saw the others, itself first; 0 columns for two agents."""
    heard: Ints = _ABSENT
    """int8 `[sum(n_rounds + 1), N * (N - 1)]` what each agent heard before the talk and in each round, where it does
    not follow from what was said; 0 rows for other channels."""


class Step(NamedTuple):
    """What one environment step brought."""

    rewards: Floats
    """`[B, N]` the game's reward less the cost of talking."""
    terminated: Bools
    """`[B, N]` the agent has reached an end of the game."""
    truncated: Bools
    """`[B, N]` the agent was stopped by a limit outside the game."""
    over: Bools
    """`[B]` the episode has ended; `reset` before the next step."""
    dialogues: Dialogues
    """The negotiations whose moves were played in this step."""
    left: Bools
    """`[B, N]` the agent leaves, though it may come back as another."""
    gone: Bools
    """`[B, N]` the agent takes part no more (`Game.active`); should it come back, it remembers nothing."""


class Negotiation:
    """`B` games with talk, stepped at once.

    Every method works on all games; `reset(which)` starts the marked ones anew. With sequential speaking a step is one
    agent's turn, and the mask of the others leaves a single placeholder action, neither written nor heard.
    """

    def __init__(
        self, game: Game, rules: TalkRules, rng: np.random.Generator, channel: type[Channel] | None = None
    ) -> None:
        self.game, self.rules, self._rng = game, rules, rng
        self.declaration = declared(game)
        games, agents = game.n_games, game.n_agents
        self.n_games, self.n_agents = games, agents
        self.n_actions = rules.n_tokens + 1 + len(game.move_names)
        self.move_parts = parts_of_moves(game)
        self._require_tokens()
        self.phase = np.full(games, OPEN)
        self.n_rounds = np.zeros(games, np.int64)
        self.round_cost = rules.round_cost
        """Subtracted for each round of talk; who trains may let it rise."""
        self.over = np.ones(games, np.bool_)
        self._time, self._dates = 0, np.zeros((0, 0, 0, 0), np.int64)
        """What is said now is of this time; `[B, N, W, N]` of what time it is that stands in the buffers; 0 games where
        nobody asks."""
        capacity = min(rules.max_rounds or 32, 32)  # grows where talks are longer
        self._said: Ints = np.full((games, capacity, agents), SILENT, np.int8)
        self._row = np.full((games, agents), SILENT, np.int8)  # the round in progress
        self._heard: Ints = np.full((games, agents, rules.visible_rounds, agents), SILENT, np.int8)  # own column first
        self.cut = np.zeros(games, np.bool_)
        self._role = np.array(self.declaration.role_of)
        self._columns = np.tile(_own_column_first(self._role), (games, 1, 1))
        self._first_action = np.arange(0, games * agents * self.n_actions, self.n_actions).reshape(games, agents)
        self._everyone = np.ones((games, agents), np.bool_)
        self._phase_mask = _legal_by_phase(rules, len(game.move_names))[:, None] & self._token_mask()  # [3, N, A]
        self._phase_features = self._constant_features()
        self._mask: Bools | None = None
        self._may_speak: Callable[[], Bools] | None = getattr(game, "may_speak", None)
        self._hears: Callable[[], Bools] | None = getattr(game, "hears", None)
        self._unseen = self._hears is not None and bool(getattr(game, "unseen_speakers", False))
        self._closed = np.zeros((games, agents), np.bool_)
        """`[B, N]` whose group has ended its talk while another group goes on."""
        self._groups: Bools = np.tile(np.eye(agents, dtype=np.bool_), (games if self._hears else 0, 1, 1))
        """`[B, N, N]` whether two agents are of one group."""
        if rules.speaking == "sequential":
            self._chosen = np.zeros((games, agents), np.int64)
            self._turn = np.zeros(games, np.int64)
            self._order = np.tile(np.arange(agents, dtype=np.int8), (games, 1))
            self._orders: Ints = np.zeros((games, capacity, agents), np.int8)
        self.channel = (channel or CHANNELS.find(rules.channel))(rules, games, agents, rng)
        self._records = self.channel.random or self._hears is not None
        if self._records:
            self._ears: Ints = np.full((games, capacity + 1, agents * (agents - 1)), SILENT, np.int8)

    def _require_tokens(self) -> None:
        for name, count in zip(self.declaration.agent_names, self.declaration.tokens, strict=True):
            if count is not None and count > self.rules.n_tokens:
                raise BadGame(f"{name} has {count} tokens, and there are {self.rules.n_tokens}: --n-tokens {count}")
            if count == 0 and self.rules.closing == "fixed":
                raise BadGame(f"{name} has no tokens, and with --closing fixed no EOT: give its role at least 1 token")

    @property
    def n_features(self) -> int:
        """Length of an agent's `features`."""
        return len(self.game.feature_bounds[0]) + self._phase_features.shape[2]

    @property
    def columns(self) -> Ints:
        """`[B, N, N]` whom an agent sees in each column of its buffer, itself first."""
        return self._columns

    def _constant_features(self) -> Floats:
        """float32 `[3, N, ·]` what the phase and the role add to the features."""
        phase = _PHASE_FEATURES[:, None].repeat(self.n_agents, axis=1)
        if len(self.declaration.roles) == 1:
            return phase
        role = np.eye(len(self.declaration.roles), dtype=np.float32)[self._role]
        return np.concatenate([np.tile(role, (len(PHASES), 1, 1)), phase], axis=2)

    def _token_mask(self) -> Bools:
        """`[N, A]` the actions that an agent's number of tokens leaves."""
        counts = self.declaration.tokens
        most = np.array([self.rules.n_tokens if count is None else count for count in counts])
        action = np.arange(self.n_actions)
        return (action < most[:, None]) | (action >= self.rules.eot)

    # -- what the agents see -------------------------------------------------------------------------------------

    def observe(self) -> Observation:
        """What every agent of every game sees now."""
        features, phase = self.game.observe(), self._phase_features.take(self.phase, axis=0)
        features = np.concatenate([features, phase], axis=2) if features.shape[2] else phase
        return Observation(features, self._heard.copy(), self.mask())

    def mask(self) -> Bools:
        """`[B, N, A]` the legal actions; never empty."""
        if self._mask is None:
            mask = self._phase_mask.take(self.phase, axis=0)
            mask[..., self.rules.eot + 1 :] &= self.game.legal_moves()
            taking_part = self._acting() & self.game.active()
            if self._may_speak is not None or self._closed.any():
                talking = self._talking()
                mask[..., : self.rules.eot + 1] &= talking[..., None]
                taking_part &= talking | (self.phase != TALK)[:, None]
            if not taking_part.all():
                waiting = ~taking_part
                placeholder = np.where(self.phase == ACT, self.rules.eot + 1, self.rules.eot)
                only = np.arange(self.n_actions) == placeholder[:, None]
                mask = np.where(waiting[..., None], only[:, None], mask)
            self._mask = mask
        return self._mask

    def so_far(self, game: int) -> tuple[Ints, Ints]:
        """What was said in one game since its last moves, and in which order, as in `Dialogues`: both `[rounds, N]`.

        A round in which not everyone has spoken yet is the last row.
        """
        rounds = self.n_rounds[game]
        said = self._said[game, :rounds]
        order = said[:0] if self.rules.speaking == "simultaneous" else self._orders[game, :rounds]
        if (self._row[game] != SILENT).any():
            said = np.concatenate([said, self._row[game][None]])
            order = np.concatenate([order, self._order[game][None]])
        return said.copy(), order.copy()

    def _speakers(self) -> Bools:
        """`[B, N]` who may speak in this negotiation."""
        active = self.game.active()
        return active if self._may_speak is None else self._may_speak() & active

    def _talking(self) -> Bools:
        """`[B, N]` who may still speak in this negotiation."""
        return self._speakers() & ~self._closed

    def _acting(self) -> Bools:
        """`[B, N]` whose turn it is: everyone's, unless agents speak one after the other."""
        if self.rules.speaking == "simultaneous":
            return self._everyone
        speaker = np.take_along_axis(self._order, self._turn[:, None], 1)
        return (np.arange(self.n_agents) == speaker) | (self.phase == ACT)[:, None]

    # -- starting ------------------------------------------------------------------------------------------------

    def reset(self, which: Bools | None = None) -> None:
        """Start anew the games marked in `which` `[B]` (default: all)."""
        which = np.ones(self.n_games, np.bool_) if which is None else which
        count = int(which.sum())
        if not count:
            return
        self.game.reset(which)
        if self.n_agents > 2:
            self._deal_columns(which)
        self.channel.reset(which)
        if self.rules.speaking == "sequential":
            self._turn[which] = 0  # a round may have been in progress
            if self.rules.order != "fixed":
                self._draw_order(np.flatnonzero(which))
        self._begin(which)
        self.over[which] = False  # last, for `which` may be `over` itself

    def _deal_columns(self, which: Bools) -> None:
        """Permute the columns of the others, within a role, so that a column is no identity."""
        others = self._columns[which][..., 1:]
        if len(self.declaration.roles) == 1:
            others = self._rng.permuted(others, axis=2)
        else:
            keys = self._role[others] + self._rng.random(others.shape)
            others = np.take_along_axis(others, keys.argsort(axis=2), 2)
        self._columns[which] = np.concatenate([self._columns[which][..., :1], others], axis=2)

    def _hide_speakers(self, which: Bools) -> None:
        """Whom an agent hears it sees in its first columns, in any order: so a column is no identity, nor a role."""
        assert self._hears is not None
        others = self._columns[which][..., 1:]
        deaf_to = np.logical_not(np.take_along_axis(self._hears()[which], others, 2))
        order = (deaf_to + self._rng.random(others.shape)).argsort(axis=2)
        self._columns[which, :, 1:] = np.take_along_axis(others, order, 2)

    def _draw_order(self, games: Ints) -> None:
        """Shuffle the order in which the agents speak."""
        self._order[games] = self._rng.permuted(self._order[games], axis=1)

    def _begin(self, which: Bools) -> None:
        """Empty the buffer: the next decision starts."""
        if self.declaration.attributes:
            require_in_range(self.game.private()[which], self.declaration)
        start = ACT if not self.channel.talk else TALK if self.rules.opening == "talk" else OPEN
        self.phase[which] = start
        speakers = self._speakers()
        if not speakers.all():
            self.phase[which & ~speakers.any(axis=1)] = ACT
        self._closed[which] = False
        if self._hears is not None:
            self._groups[which] = _groups(self._hears()[which], speakers[which])
        if self._unseen:
            self._hide_speakers(which)
        self.n_rounds[which] = 0
        self._row[which] = SILENT
        self._heard[which] = SILENT
        self._dates[which[: len(self._dates)]] = -1
        self.cut[which] = False
        self._mask = None
        self.channel.begin(which)
        games = np.flatnonzero(which)
        told = self.channel.before(games)
        if told is not None:
            self._heard[which, :, -1, 1:] = told
        if self._records:
            self._ears[which, 0] = self._heard[which, :, -1, 1:].reshape(len(games), -1)

    # -- stepping ------------------------------------------------------------------------------------------------

    def step(self, actions: Ints) -> Step:
        """All agents act at once: `actions` `[B, N]`.

        Raises IllegalAction where the mask forbids an action, GameOver where a game has ended.
        """
        self._check(actions)
        rules, turn = self.rules, self._acting()
        rewards = np.zeros((self.n_games, self.n_agents), np.float32)
        np.copyto(self._row, actions, "unsafe", where=turn & self._talking() & (actions <= rules.eot))
        self._hear(turn)
        joint, complete = self._take_turns(actions, turn)
        talks = complete & (self._row != SILENT).any(axis=1)
        if talks.any():
            if self.round_cost:
                rewards[talks] -= self.round_cost
            self._write(talks)
        self._mask = None
        return self._play(complete & ~talks, joint, rewards)

    def _check(self, actions: Ints) -> None:
        if self.over.any():
            raise GameOver(
                f"game {int(self.over.argmax())} has ended or was never started: reset it before the next step"
            )
        if actions.shape != (self.n_games, self.n_agents):
            raise IllegalAction(f"actions must have shape {(self.n_games, self.n_agents)}, not {actions.shape}")
        known = np.maximum(np.minimum(actions, self.n_actions - 1), 0).astype(np.int64)  # faster than np.clip
        legal = (known == actions) & self.mask().take(self._first_action + known)
        if not legal.all():
            game, agent = map(int, np.argwhere(~legal)[0])
            allowed = np.flatnonzero(self.mask()[game, agent]).tolist()
            raise IllegalAction(
                f"action {int(actions[game, agent])} of agent {agent} in game {game} is illegal in phase "
                f"{PHASES[self.phase[game]]}: legal are {allowed}"
            )

    def _take_turns(self, actions: Ints, turn: Bools) -> tuple[Ints, Bools]:
        """The joint action `[B, N]` of the round so far, and the games `[B]` in which everyone has had a turn."""
        if self.rules.speaking == "simultaneous":
            return actions, self._everyone[:, 0]
        self._chosen = np.where(turn, actions, self._chosen)
        self._turn += 1
        complete = (self._turn == self.n_agents) | (self.phase == ACT)
        self._turn[complete] = 0
        return self._chosen, complete

    def _write(self, talks: Bools) -> None:
        """Add the completed round to the buffers of the games in `talks`; some talks end with it."""
        rules = self.rules
        if self.n_rounds[talks].max() == self._said.shape[1]:
            self._said = doubled(self._said)
            if rules.speaking == "sequential":
                self._orders = doubled(self._orders)
            if self._records:
                self._ears = doubled(self._ears)[:, : self._said.shape[1] + 1]
        games = np.flatnonzero(talks)
        self._said[games, self.n_rounds[games]] = self._row[games]
        if rules.speaking == "sequential":
            self._orders[games, self.n_rounds[games]] = self._order[games]
            if rules.order == "round":
                self._draw_order(games)
        self.n_rounds += talks
        if self._records:
            self._ears[games, self.n_rounds[games]] = self._heard[games, :, -1, 1:].reshape(len(games), -1)
        full = self.n_rounds == (rules.max_rounds or LONGEST_UNBOUNDED_TALK)
        agreed = talks & full if rules.closing == "fixed" else self._agreed(talks)
        self.cut |= talks & ~agreed & full
        self.phase[talks] = TALK
        self.phase[agreed | self.cut] = ACT
        self._row[talks] = SILENT

    def _agreed(self, talks: Bools) -> Bools:
        """`[B]` the games in `talks` in which the round just said ends the talk; notes who has ended it before."""
        ends, talking = self._row == self.rules.eot, self._talking()
        anyone = self.rules.closing == "any"
        if self._hears is None:
            return talks & (ends.any(axis=1) if anyone else (ends | ~talking).all(axis=1))
        mute = self._row == SILENT  # a group in which all moved while another one opened a talk
        goes_on = (self._groups & (talking & ~ends)[:, None]).any(axis=2)
        ended = (self._groups & (talking & ends)[:, None]).any(axis=2) if anyone else ~goes_on
        moved = ~(self._groups & (talking & ~mute)[:, None]).any(axis=2)
        self._closed |= talks[:, None] & talking & (ended | moved)
        return talks & ~self._talking().any(axis=1)

    def _play(self, plays: Bools, joint: Ints, rewards: Floats) -> Step:
        """Play the joint moves of the games in `plays`, hand over their dialogues and empty their buffers."""
        terminated = np.zeros((self.n_games, self.n_agents), np.bool_)
        truncated, left = terminated.copy(), terminated.copy()
        games = np.flatnonzero(plays)
        there = self.game.active().copy()
        moves = np.where(there.take(games, axis=0), joint.take(games, axis=0) - (self.rules.eot + 1), -1)
        private, features, legal = self.game.private(), self.game.observe(), self.game.legal_moves()
        before = private.take(games, axis=0), features.take(games, axis=0), legal.take(games, axis=0)
        speaks = self._speakers().take(games, axis=0)
        outcome = self._judged(self.game.play(moves, games))
        rewards[games] += outcome.rewards
        terminated[games], truncated[games] = outcome.terminated, outcome.truncated
        if outcome.left is not None:
            left[games] = outcome.left
        last: Bools = np.all(outcome.terminated | outcome.truncated, axis=1)
        self.over[games] = last
        dialogues = self._dialogues(games, moves, outcome, before, speaks, last)
        if len(games):
            self.channel.finished(self._lent(games, speaks), self.n_rounds[games])
            self._begin(plays)
        gone = there & ~self.game.active()
        return Step(rewards, terminated, truncated, self.over.copy(), dialogues, left, gone)

    def _judged(self, outcome: Outcome) -> Outcome:
        """The outcome of joint moves; raises BadGame where it has a success and the game declares none, or no success
        and the game declares one."""
        if (outcome.success is not None) != self.declaration.has_success:
            raise BadGame(
                "has_success is False, and play() says what succeeded: let success be None, or leave has_success out"
                if outcome.success is not None
                else "play() does not say what succeeded: declare has_success = False, or give success"
            )
        return outcome

    def _lent(self, games: Ints, speaks: Bools) -> Ints:
        """int8 `[D, R, N]` what was said; where an agent could not speak, what one of the others said.

        The channel may let it be heard in a game in which that agent can.
        """
        said = self._said.take(games, axis=0)
        if speaks.all():
            return said
        first = (~speaks).argsort(axis=1, kind="stable")  # those who could speak, then the others
        turn = np.arange(self.n_agents) % np.maximum(speaks.sum(axis=1), 1)[:, None]
        lender = np.where(speaks, np.arange(self.n_agents), np.take_along_axis(first, turn, 1))
        return np.take_along_axis(said, lender[:, None], 2)

    def _dialogues(
        self, games: Ints, moves: Ints, outcome: Outcome, before: tuple[Floats, Floats, Bools], speaks: Bools,
        last: Bools,
    ) -> Dialogues:  # fmt: skip
        """The record of the negotiations that have just ended; `before`: what the game was before the moves."""
        rounds, (private, features, legal) = self.n_rounds[games], before
        in_use = np.arange(self._said.shape[1]) < rounds[:, None]
        symbols = self._said.take(games, axis=0)[in_use]
        order = symbols[:0] if self.rules.speaking == "simultaneous" else self._orders[games][in_use]
        columns: Ints = np.zeros((len(games), self.n_agents, 0), np.int8)
        if self.n_agents > 2:
            columns = self._columns[games].astype(np.int8)
        ears: Ints = np.zeros((0, self.n_agents * (self.n_agents - 1)), np.int8)
        if self._records:
            ears = self._ears[games][np.arange(self._ears.shape[1]) <= rounds[:, None]]
        return Dialogues(
            games, rounds, symbols, order, moves.astype(np.int16), outcome.rewards, _successes(outcome),
            self.cut[games], private, last, _scores(outcome), features, legal[..., :0] if legal.all() else legal,
            speaks, columns, ears,
        )  # fmt: skip

    # -- hearing -------------------------------------------------------------------------------------------------

    def _hear(self, turn: Bools) -> None:
        """Let every agent hear the cells of this round that were filled in this turn (all, unless sequential)."""
        games = np.flatnonzero(self.phase != ACT)
        if not len(games):
            return
        heard, columns = self._heard.take(games, axis=0), self._columns.take(games, axis=0)
        said: Ints = self._row.take(self.n_agents * games[:, None, None] + columns)  # [b, N, N]
        row = self._as_heard(said, games, columns)
        if self.rules.speaking == "simultaneous":
            heard[:, :, :-1] = heard[:, :, 1:]
            heard[:, :, -1] = row
        else:
            first = self._turn[games] == 0
            heard[first, :, :-1] = heard[first, :, 1:]
            heard[first, :, -1] = self._silence(games)[first]
            spoken = turn[games]
            filled = spoken[:, :, None] if self.channel.echo else np.take_along_axis(spoken[:, None], columns, 2)
            heard[:, :, -1] = np.where(filled, row, heard[:, :, -1])
        if self._closed.any():
            heard = np.where(self._closed[games][..., None, None], self._heard[games], heard)
        self._heard[games] = heard
        if len(self._dates):
            self._date(games, columns, turn)

    def date(self, time: int) -> Ints:
        """`[B, N, W, N]` at which time it was said what stands in the buffers; what is said next is of `time`.

        -1: before the first time, 0, or not at all. For the open channel; who trains asks before every step, at first
        with time 0, and copies what it keeps.
        """
        if time == 0:
            self._dates = np.full(self._heard.shape, -1)
        self._time = time
        return self._dates

    def _date(self, games: Ints, columns: Ints, turn: Bools) -> None:
        """Date the cells that were filled in this turn, as `_hear` moves and fills them."""
        dates = self._dates.take(games, axis=0)
        begins = self._turn[games] == 0 if self.rules.speaking == "sequential" else np.ones(len(games), np.bool_)
        dates[begins, :, :-1] = dates[begins, :, 1:]
        dates[begins, :, -1] = -1
        filled = np.take_along_axis((turn & (self._row != SILENT))[games][:, None], columns, 2)
        dates[:, :, -1] = np.where(filled, self._time, dates[:, :, -1])
        self._dates[games] = np.where(self._closed[games][..., None, None], self._dates[games], dates)

    def _silence(self, games: Ints) -> Ints:
        """A round in which nobody has spoken yet, as heard: `[b, N, N]`."""
        silence = np.full((len(games), self.n_agents, self.n_agents), SILENT, np.int8)
        told = self.channel.before(games)
        if told is not None:
            silence[..., 1:] = told
        return silence

    def _as_heard(self, row: Ints, games: Ints, columns: Ints) -> Ints:
        """Turn what was said into what is heard: `row` `[b, N, N]`, own column first, which is never touched."""
        at = Round(games, self.n_rounds[games], columns[..., 1:], self._said)
        row[..., 1:] = self.channel.hear(row[..., :1], row[..., 1:], at)
        active = self.game.active().take(games, axis=0)
        there = active if self.channel.echo else self._speakers().take(games, axis=0)
        if not there.all():  # whoever cannot speak is not heard; where nobody is, nothing is heard, and nothing echoes
            audible = active[..., None] & np.take_along_axis(there[:, None], columns[..., 1:], 2)
            row[..., 1:] = np.where(audible, row[..., 1:], SILENT)
        if self._hears is not None:
            reaches = np.take_along_axis(self._hears()[games], columns[..., 1:], 2)
            row[..., 1:] = np.where(reaches, row[..., 1:], SILENT)
        return row

    # -- saving --------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any] | None:
        """All that the next steps depend on, as nested dictionaries of arrays and plain values.

        None where the game cannot be saved (`envs.saving.save_game`).
        """
        game = save_game(self.game, self._rng)
        if game is None:
            return None
        talk = {name: getattr(self, name).copy() for name in self._ranges()}
        channel = save_game(self.channel, self._rng)
        if channel is None:
            return None
        return {"random": self._rng.bit_generator.state, "talk": talk, "channel": channel, "game": game}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned, in a new negotiation of the same size and rules.

        Raises ValueError where it does not fit.
        """
        try:
            talk = {k: fitting(k, state["talk"][k], getattr(self, k), *ends) for k, ends in self._ranges().items()}
            rooms = {talk[name].shape[1] - (name == "_ears") for name in ("_said", "_orders", "_ears") if name in talk}
            if len(rooms) != 1 or talk["n_rounds"].max() > min(rooms):
                raise ValueError("n_rounds and the symbols said do not agree")
            restore_game(self.channel, state.get("channel", {}))
            restore_game(self.game, state["game"])
            self._rng.bit_generator.state = state["random"]
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error
        vars(self).update(talk)
        if self._hears is not None:
            self._groups = _groups(self._hears(), self._speakers())
        self._mask = None

    def _ranges(self) -> dict[str, tuple[int, int, int | None]]:
        """The arrays of the talk in progress: lowest and highest value, and the axis that grows with long talks."""
        eot, last = self.rules.eot, self.n_agents - 1
        ranges: dict[str, tuple[int, int, int | None]] = {
            "phase": (OPEN, ACT, None),
            "n_rounds": (0, LONGEST_TALK, None),
            "over": (0, 1, None),
            "cut": (0, 1, None),
            "_closed": (0, 1, None),
            "_said": (SILENT, eot, 1),
            "_row": (SILENT, eot, None),
            "_heard": (SILENT, eot, None),
            "_columns": (0, last, None),
            "_chosen": (0, self.n_actions - 1, None),
            "_turn": (0, last, None),
            "_order": (0, last, None),
            "_orders": (0, last, 1),
            "_ears": (SILENT, eot, 1),
        }
        return {name: ends for name, ends in ranges.items() if hasattr(self, name)}


def _successes(outcome: Outcome) -> Bools:
    """`[D]` the successes; 0 entries where the game declares none."""
    return np.zeros(0, np.bool_) if outcome.success is None else outcome.success


def _scores(outcome: Outcome) -> Floats:
    """`[D]` the score; where a game has none, 1 for a success; 0 entries where it has neither."""
    return _successes(outcome).astype(np.float32) if outcome.score is None else np.asarray(outcome.score, np.float32)


def _own_column_first(role: Ints) -> Ints:
    """`[N, N]` the agents in the order in which agent i sees them: itself, then the others by their role."""
    agents = range(len(role))
    return np.array([[i, *sorted((j for j in agents if j != i), key=lambda j: (role[j], j))] for i in agents])


def _groups(hears: Bools, speakers: Bools) -> Bools:
    """`[B, N, N]` whether two agents hear each other, directly or through other speakers; each is of its own group.

    >>> _groups(np.array([[[0, 1, 0], [0, 0, 0], [0, 0, 0]]], bool), np.ones((1, 3), bool))[0].astype(int).tolist()
    [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    """
    agents = speakers.shape[1]
    joined = (hears | hears.transpose(0, 2, 1)) & speakers[:, :, None] & speakers[:, None]
    reach = (joined | np.eye(agents, dtype=np.bool_)).astype(np.float32)
    while True:
        further = ((reach @ reach) > 0).astype(np.float32)
        if np.array_equal(further, reach):
            return np.asarray(reach > 0)
        reach = further


def _legal_by_phase(rules: TalkRules, n_moves: int) -> Bools:
    """`[3, A]` symbols are legal in OPEN and TALK, moves in OPEN and ACT."""
    action = np.arange(rules.n_tokens + 1 + n_moves)
    symbol, move = action <= rules.eot - (rules.closing == "fixed"), action > rules.eot
    return np.stack([symbol | move, symbol, move])
