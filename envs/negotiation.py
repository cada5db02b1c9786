"""The talk around any `Game`: many negotiations at once, as arrays.

Each game is in one of three phases. OPEN: moves and symbols are legal; if all agents move, the moves are played, if any
agent says a symbol, the talk is entered. TALK: only symbols are legal, until all agents say EOT in the same round or
`max_rounds` is reached. ACT: only moves are legal; they are played at the same moment, the buffer is emptied, and the
game goes on or ends.

Actions are one `Discrete(n_tokens + 1 + n_moves)`: the tokens, then EOT, then the moves.
Axes: `B` game, `N` agent, `W` window of rounds, `A` action, `D` games whose moves were played in a step.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args, get_type_hints

import numpy as np

from envs.game import Bools, Floats, Game, Ints
from envs.saving import fitting, restore_game, save_game

SILENT = -1
"""Marks a cell of the buffer in which nothing was said."""

LONGEST_TALK = 32_767
"""The most rounds that `max_rounds` may allow (rounds)."""
LONGEST_UNBOUNDED_TALK = 4_096
"""Rounds after which even a talk without `max_rounds` is cut, so that agents who never end it do not talk for ever."""

OPEN, TALK, ACT = 0, 1, 2
PHASES = ("OPEN", "TALK", "ACT")
_PHASE_FEATURES = np.eye(len(PHASES), dtype=np.float32)

Opening = Literal["free", "talk"]
Speaking = Literal["simultaneous", "sequential"]
Order = Literal["fixed", "episode", "round"]
Channel = Literal["open", "off", "constant", "shuffled", "self", "noisy", "oracle"]


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
    channel: Channel = "open"
    """What is heard. open: what was said; off: no talk. Controls: constant (all is token 0), shuffled (from another
    dialogue), self (one's own symbols as the other's), noisy (see noise), oracle (the role is told, upper bound)."""
    noise: float = 0.1
    """With --channel noisy: probability that a heard symbol is replaced by a random one (0 to 1)."""
    round_cost: float = 0.0
    """Subtracted from every agent's reward for each round of talk (reward)."""
    window: int = 8
    """Rounds of the buffer that an agent sees (rounds)."""

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(type(self)).items():
            value, choices = getattr(self, name), get_args(hint)
            if choices and isinstance(choices[0], str) and value not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, not {value!r}")
        for name in ("n_tokens", "max_rounds", "window"):
            value = getattr(self, name)
            unbounded = name == "max_rounds" and value is None
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
        if not 1 <= self.window <= 1024:
            raise ValueError(f"window must be from 1 to 1024 rounds, not {self.window}")

    @property
    def eot(self) -> int:
        """The end-of-talk symbol."""
        return self.n_tokens


class Observation(NamedTuple):
    """What every agent sees; swapping two agents swaps their rows and nothing else."""

    features: Floats
    """`[B, N, F + 3]` the game's features and the phase, one-hot."""
    buffer: Ints
    """int8 `[B, N, W, N]` the last rounds, newest last, own column first, SILENT where empty."""
    mask: Bools
    """`[B, N, A]` the legal actions."""


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
    """`[D]` whether the joint move did what the game asks for."""
    cut: Bools
    """`[D]` the talk ran into `max_rounds`."""
    private: Floats
    """`[D, N, P]` what only that agent knew."""
    last: Bools
    """`[D]` the episode ended with this move."""


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


class Negotiation:
    """`B` games with talk, stepped at once.

    Every method works on all games; `reset(which)` starts the marked ones anew. With sequential speaking a step is one
    agent's turn, and the mask of the others leaves a single placeholder action, neither written nor heard.
    """

    def __init__(self, game: Game, rules: TalkRules, rng: np.random.Generator) -> None:
        self.game, self.rules, self._rng = game, rules, rng
        games, agents = game.n_games, game.n_agents
        self.n_games, self.n_agents = games, agents
        self.n_actions = rules.n_tokens + 1 + len(game.move_names)
        self.phase = np.full(games, OPEN)
        self.n_rounds = np.zeros(games, np.int64)
        self.round_cost = rules.round_cost
        """Subtracted for each round of talk; who trains may let it rise."""
        self.over = np.ones(games, np.bool_)
        capacity = min(rules.max_rounds or 32, 32)  # grows where talks are longer
        self._said: Ints = np.full((games, capacity, agents), SILENT, np.int8)
        self._row = np.full((games, agents), SILENT, np.int8)  # the round in progress
        self._heard: Ints = np.full((games, agents, rules.window, agents), SILENT, np.int8)  # own column first
        self.cut = np.zeros(games, np.bool_)
        self._columns = np.tile(_own_column_first(agents), (games, 1, 1))
        self._game_index, self._agent_index = np.arange(games)[:, None], np.arange(agents)
        self._everyone = np.ones((games, agents), np.bool_)
        self._phase_mask = _legal_by_phase(rules, len(game.move_names))
        self._mask: Bools | None = None
        if rules.speaking == "sequential":
            self._chosen = np.zeros((games, agents), np.int64)
            self._turn = np.zeros(games, np.int64)
            self._order = np.tile(np.arange(agents, dtype=np.int8), (games, 1))
            self._orders: Ints = np.zeros((games, capacity, agents), np.int8)
        if rules.channel == "oracle":
            self._role = np.zeros((games, agents), np.int8)
        if rules.channel == "shuffled":
            self._bank = _DialogueBank(rules, agents, max(games, 64), capacity, rng)
            self._donated: Ints = np.zeros((games, agents, capacity, agents), np.int8)  # what each agent will hear

    # -- what the agents see -------------------------------------------------------------------------------------

    def observe(self) -> Observation:
        """What every agent of every game sees now."""
        phase = _PHASE_FEATURES[self.phase][:, None].repeat(self.n_agents, axis=1)
        features = np.concatenate([self.game.observe(), phase], axis=2)
        return Observation(features, self._heard.copy(), self.mask())

    def mask(self) -> Bools:
        """`[B, N, A]` the legal actions; never empty."""
        if self._mask is None:
            mask = self._phase_mask[self.phase][:, None].repeat(self.n_agents, axis=1)
            mask[..., self.rules.eot + 1 :] &= self.game.legal_moves()
            taking_part = self._acting() & self.game.active()
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
        if self.n_agents > 2:  # so that a column is no identity
            others = self._rng.permuted(self._columns[which][..., 1:], axis=2)
            self._columns[which] = np.concatenate([self._columns[which][..., :1], others], axis=2)
        if self.rules.channel == "oracle":
            roles = self._rng.permuted(np.tile(np.arange(self.n_agents), (count, 1)), axis=1)
            self._role[which] = roles % (self.rules.n_tokens + 1)
        if self.rules.speaking == "sequential":
            self._turn[which] = 0  # a round may have been in progress
            if self.rules.order != "fixed":
                self._order[which] = self._rng.permuted(self._order[which], axis=1)
        self._begin(which)
        self.over[which] = False  # last, for `which` may be `over` itself

    def _begin(self, which: Bools) -> None:
        """Empty the buffer: the next decision starts."""
        start = ACT if self.rules.channel == "off" else TALK if self.rules.opening == "talk" else OPEN
        self.phase[which] = start
        self.n_rounds[which] = 0
        self._row[which] = SILENT
        self._heard[which] = SILENT
        self.cut[which] = False
        self._mask = None
        if self.rules.channel == "oracle":
            self._heard[which, :, -1, 1:] = self._role[which][..., None]
        if self.rules.channel == "shuffled":
            donated = self._bank.draw(int(which.sum()))
            while donated.shape[2] > self._donated.shape[2]:
                self._donated = _doubled(self._donated, self.rules.eot)
            self._donated[which] = donated

    # -- stepping ------------------------------------------------------------------------------------------------

    def step(self, actions: Ints) -> Step:
        """All agents act at once: `actions` `[B, N]`.

        Raises IllegalAction where the mask forbids an action, GameOver where a game has ended.
        """
        self._check(actions)
        rules, turn = self.rules, self._acting()
        rewards = np.zeros((self.n_games, self.n_agents), np.float32)
        spoken = turn & self.game.active() & (actions <= rules.eot)
        self._row[spoken] = actions[spoken]
        self._hear(turn)
        joint, complete = self._take_turns(actions, turn)
        talks = complete & (self._row != SILENT).any(axis=1)
        if talks.any():
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
        known = np.clip(actions, 0, self.n_actions - 1)
        legal = (known == actions) & self.mask()[self._game_index, self._agent_index, known]
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
            self._said = _doubled(self._said)
            if rules.speaking == "sequential":
                self._orders = _doubled(self._orders)
        games = np.flatnonzero(talks)
        self._said[games, self.n_rounds[games]] = self._row[games]
        if rules.speaking == "sequential":
            self._orders[games, self.n_rounds[games]] = self._order[games]
            if rules.order == "round":
                self._order[games] = self._rng.permuted(self._order[games], axis=1)
        self.n_rounds += talks
        agreed = talks & ((self._row == rules.eot) | ~self.game.active()).all(axis=1)
        self.cut |= talks & ~agreed & (self.n_rounds == (rules.max_rounds or LONGEST_UNBOUNDED_TALK))
        self.phase[talks] = TALK
        self.phase[agreed | self.cut] = ACT
        self._row[talks] = SILENT

    def _play(self, plays: Bools, joint: Ints, rewards: Floats) -> Step:
        """Play the joint moves of the games in `plays`, hand over their dialogues and empty their buffers."""
        terminated = np.zeros((self.n_games, self.n_agents), np.bool_)
        truncated = terminated.copy()
        games = np.flatnonzero(plays)
        moves = np.where(self.game.active()[games], joint[games] - (self.rules.eot + 1), -1)
        private = self.game.private()[games]
        outcome = self.game.play(moves, games)
        rewards[games] += outcome.rewards
        terminated[games], truncated[games] = outcome.terminated, outcome.truncated
        last: Bools = np.all(outcome.terminated | outcome.truncated, axis=1)
        self.over[games] = last
        rounds = self.n_rounds[games]
        in_use = np.arange(self._said.shape[1]) < rounds[:, None]
        symbols = self._said[games][in_use]
        order = symbols[:0] if self.rules.speaking == "simultaneous" else self._orders[games][in_use]
        cut = self.cut[games]
        dialogues = Dialogues(
            games, rounds, symbols, order, moves.astype(np.int16), outcome.rewards, outcome.success, cut, private, last
        )
        if len(games):
            if self.rules.channel == "shuffled":
                self._bank.add(self._said[games], rounds)
            self._begin(plays)
        return Step(rewards, terminated, truncated, self.over.copy(), dialogues)

    # -- hearing -------------------------------------------------------------------------------------------------

    def _hear(self, turn: Bools) -> None:
        """Let every agent hear the cells of this round that were filled in this turn (all, unless sequential)."""
        games = np.flatnonzero(self.phase != ACT)
        if not len(games):
            return
        heard, columns = self._heard[games], self._columns[games]
        said: Ints = self._row[games[:, None, None], columns]  # [b, N, N]
        row = self._distort(said, games, columns)
        if self.rules.speaking == "simultaneous":
            heard[:, :, :-1] = heard[:, :, 1:]
            heard[:, :, -1] = row
        else:
            first = self._turn[games] == 0
            heard[first, :, :-1] = heard[first, :, 1:]
            heard[first, :, -1] = self._silence(games)[first]
            own = self.rules.channel == "self"
            filled = turn[games][:, :, None] if own else np.take_along_axis(turn[games][:, None], columns, 2)
            heard[:, :, -1] = np.where(filled, row, heard[:, :, -1])
        self._heard[games] = heard

    def _silence(self, games: Ints) -> Ints:
        """A round in which nobody has spoken yet, as heard: `[b, N, N]`."""
        silence = np.full((len(games), self.n_agents, self.n_agents), SILENT, np.int8)
        if self.rules.channel == "oracle":
            silence[..., 1:] = self._role[games][..., None]
        return silence

    def _distort(self, row: Ints, games: Ints, columns: Ints) -> Ints:
        """Turn what was said into what is heard: `row` `[b, N, N]`, own column first, which is never touched."""
        rules, others = self.rules, row[..., 1:]
        if rules.channel == "constant":
            others[...] = 0
        elif rules.channel == "self":
            others[...] = row[..., :1]
        elif rules.channel == "noisy":
            replaced = self._rng.random(others.shape) < rules.noise
            random = self._rng.integers(rules.n_tokens + 1, size=others.shape, dtype=np.int8)
            others[...] = np.where(replaced, random, others)
        elif rules.channel == "oracle":
            others[...] = self._role[games][..., None]
        elif rules.channel == "shuffled":
            others[...] = self._recall(games, columns[..., 1:])
        return row

    def _recall(self, games: Ints, columns: Ints) -> Ints:
        """`[b, N, N - 1]` what each agent hears in `columns` of the dialogue donated to it; EOT after its end."""
        rounds, capacity = self.n_rounds[games, None, None], self._donated.shape[2]
        heard = self._donated[
            games[:, None, None], self._agent_index[:, None], np.minimum(rounds, capacity - 1), columns
        ]
        return np.where(rounds < capacity, heard, self.rules.eot)

    # -- saving --------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any] | None:
        """All that the next steps depend on, as nested dictionaries of arrays and plain values.

        None where the game cannot be saved (`envs.saving.save_game`).
        """
        game = save_game(self.game, self._rng)
        if game is None:
            return None
        talk = {name: getattr(self, name).copy() for name in self._ranges()}
        bank = self._bank.state() if self.rules.channel == "shuffled" else {}
        return {"random": self._rng.bit_generator.state, "talk": talk, "bank": bank, "game": game}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned, in a new negotiation of the same size and rules.

        Raises ValueError where it does not fit.
        """
        try:
            talk = {k: fitting(k, state["talk"][k], getattr(self, k), *ends) for k, ends in self._ranges().items()}
            rooms = {talk[name].shape[1] for name in ("_said", "_orders") if name in talk}
            if len(rooms) != 1 or talk["n_rounds"].max() > min(rooms):
                raise ValueError("n_rounds and the symbols said do not agree")
            if self.rules.channel == "shuffled":
                self._bank.restore(state["bank"])
            restore_game(self.game, state["game"])
            self._rng.bit_generator.state = state["random"]
        except (KeyError, TypeError, AttributeError, OverflowError) as error:
            raise ValueError(f"{type(error).__name__}: {error}") from error
        vars(self).update(talk)
        self._mask = None

    def _ranges(self) -> dict[str, tuple[int, int, int | None]]:
        """The arrays of the talk in progress: lowest and highest value, and the axis that grows with long talks."""
        eot, last = self.rules.eot, self.n_agents - 1
        ranges: dict[str, tuple[int, int, int | None]] = {
            "phase": (OPEN, ACT, None),
            "n_rounds": (0, LONGEST_TALK, None),
            "over": (0, 1, None),
            "cut": (0, 1, None),
            "_said": (SILENT, eot, 1),
            "_row": (SILENT, eot, None),
            "_heard": (SILENT, eot, None),
            "_columns": (0, last, None),
            "_chosen": (0, self.n_actions - 1, None),
            "_turn": (0, last, None),
            "_order": (0, last, None),
            "_orders": (0, last, 1),
            "_role": (0, eot, None),
            "_donated": (SILENT, eot, 2),
        }
        return {name: ends for name, ends in ranges.items() if hasattr(self, name)}


class _DialogueBank:
    """The last finished dialogues, from which `--channel shuffled` lets agents hear.

    Two agents of one game never share a donor dialogue: hearing opposite sides of the same one would tell them apart.
    """

    def __init__(self, rules: TalkRules, agents: int, size: int, capacity: int, rng: np.random.Generator) -> None:
        self._rng, self._eot, self._next = rng, rules.eot, 0
        shape = (size, capacity, agents)
        # until there is something better
        self._symbols: Ints = rng.integers(rules.n_tokens + 1, size=shape, dtype=np.int8)

    def state(self) -> dict[str, Any]:
        """The dialogues of the bank."""
        return {"symbols": self._symbols.copy(), "next": self._next}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned; raises ValueError where it does not fit."""
        symbols = fitting("the bank", state["symbols"], self._symbols, SILENT, self._eot, 1)
        if type(state["next"]) is not int or not 0 <= state["next"] < len(symbols):
            raise ValueError("the bank has no such place")
        self._symbols, self._next = symbols, state["next"]

    def add(self, said: Ints, n_rounds: Ints) -> None:
        talked = n_rounds > 0
        said, n_rounds = said[talked], n_rounds[talked]
        while said.shape[1] > self._symbols.shape[1]:
            self._symbols = _doubled(self._symbols, self._eot)
        slots = (self._next + np.arange(len(said))) % len(self._symbols)
        self._next = int(self._next + len(said)) % len(self._symbols)
        self._symbols[slots] = self._eot  # also what is heard after a dialogue's end
        self._symbols[slots, : said.shape[1]] = np.where(
            (np.arange(said.shape[1]) < n_rounds[:, None])[..., None], said, self._eot
        )

    def draw(self, games: int) -> Ints:
        """`[games, N, rounds, N]` a whole dialogue for each agent, all different within a game; EOT after its end."""
        size, agents = len(self._symbols), self._symbols.shape[2]
        first = self._rng.integers(size, size=(games, 1))
        step = self._rng.integers(1, max(size // agents, 2), size=(games, 1))
        return self._symbols[(first + step * np.arange(agents)) % size]


def _own_column_first(agents: int) -> Ints:
    """`[N, N]` the agents in the order in which agent i sees them: itself, then the others."""
    return np.array([[i, *(j for j in range(agents) if j != i)] for i in range(agents)])


def _legal_by_phase(rules: TalkRules, n_moves: int) -> Bools:
    """`[3, A]` symbols are legal in OPEN and TALK, moves in OPEN and ACT."""
    symbol = np.arange(rules.n_tokens + 1 + n_moves) <= rules.eot
    return np.stack([np.ones_like(symbol), symbol, ~symbol])


def _doubled(rounds: Ints, fill: int = SILENT) -> Ints:
    """A buffer `[..., rounds, N]` with room for twice as many rounds."""
    return np.concatenate([rounds, np.full_like(rounds, fill)], axis=-2)
