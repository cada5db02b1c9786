"""What becomes of a symbol between mouth and ear: one registry of channels.

A channel of your own is a subclass of `Channel`; name it `--channel my_module:MyChannel`, or add it to `CHANNELS`.
Axes: `b` the games in question, `N` agent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from envs.game import Bools, Ints
from envs.registry import Registry
from envs.saving import fitting

SILENT = -1
"""Marks a cell of the buffer in which nothing was said."""


class Rules(Protocol):
    """What a channel may know of `envs.negotiation.TalkRules`."""

    @property
    def n_tokens(self) -> int:
        """Free tokens."""

    @property
    def eot(self) -> int:
        """The end-of-talk symbol."""

    @property
    def n_sayable(self) -> int:
        """Symbols that can be said: the tokens and, unless every talk has a fixed length, EOT."""

    @property
    def max_rounds(self) -> int | None:
        """Rounds after which the talk is cut."""

    @property
    def noise(self) -> float:
        """Probability that a symbol is replaced."""


@dataclass(frozen=True)
class Round:
    """The round that is being heard, in `b` games."""

    games: Ints
    """`[b]` indices of the games."""
    number: Ints
    """`[b]` rounds completed before it."""
    others: Ints
    """`[b, N, N - 1]` whom each agent hears, in the order of its columns."""
    _log: Ints

    @property
    def previous(self) -> Ints:
        """int8 `[b, N]` what was said in the round before; SILENT in the first."""
        said = self._log[self.games, np.maximum(self.number - 1, 0)]
        return np.where(self.number[:, None] > 0, said, SILENT).astype(np.int8)


class Channel:
    """All is heard. Subclasses say what else may become of a symbol.

    `rng` is that of the negotiation. What an instance holds is saved with the games in progress (`envs.saving`).
    """

    name: ClassVar[str] = ""
    description: ClassVar[str] = ""
    """What is heard, for the reader."""
    has_content: ClassVar[bool] = True
    """Whether what is heard depends on the tokens that the other said."""
    random: ClassVar[bool] = False
    """Whether what is heard does not follow from what was said; then the log keeps it."""
    talk: ClassVar[bool] = True
    """Whether there is any talk."""
    echo: ClassVar[bool] = False
    """Whether something is heard when one has spoken oneself, and not when the other has."""

    def __init__(self, rules: Rules, n_games: int, n_agents: int, rng: np.random.Generator) -> None:
        self.rules, self.rng = rules, rng
        self.n_games, self.n_agents = n_games, n_agents

    def reset(self, which: Bools) -> None:
        """The games marked in `which` `[B]` start anew."""

    def begin(self, which: Bools) -> None:
        """A negotiation starts in the games marked in `which` `[B]`."""

    def before(self, games: Ints) -> Ints | None:
        """int8 `[b, N, N - 1]` or `[b, N, 1]`: what each agent hears before anything is said; None for nothing."""
        return None

    def hear(self, own: Ints, others: Ints, at: Round) -> Ints:
        """int8 `[b, N, N - 1]` what each agent hears; `own` `[b, N, 1]` and `others` `[b, N, N - 1]` were said.

        SILENT where nobody has spoken (yet).
        """
        return others

    def finished(self, said: Ints, n_rounds: Ints) -> None:
        """Negotiations have ended in which `said` `[d, R, N]` was said, in `n_rounds` `[d]` rounds."""


class Open(Channel):
    """The channel of the talk."""

    name = "open"
    description = "all is heard"


class Off(Channel):
    """The baseline without talk."""

    name = "off"
    description = "no talk"
    has_content = False
    talk = False


class Constant(Channel):
    """Rhythm without content."""

    name = "constant"
    description = "token 0 is heard, whatever is said"
    has_content = False

    def hear(self, own: Ints, others: Ints, at: Round) -> Ints:
        return np.zeros_like(others)


class Self(Channel):
    """An echo."""

    name = "self"
    description = "own symbols are heard as the other's"
    has_content = False
    echo = True

    def hear(self, own: Ints, others: Ints, at: Round) -> Ints:
        return np.broadcast_to(own, others.shape)


class Noisy(Channel):
    """Some symbols are replaced."""

    name = "noisy"
    description = "some symbols are replaced by random ones (--noise)"
    random = True

    def hear(self, own: Ints, others: Ints, at: Round) -> Ints:
        replaced = self.rng.random(others.shape) < self.rules.noise
        symbols = self.rng.integers(self.rules.n_sayable, size=others.shape, dtype=np.int8)
        return np.where(replaced, symbols, others)


class Oracle(Channel):
    """The role is told: an upper bound for agents that were trained with it."""

    name = "oracle"
    description = "each agent is told a number of its own instead of what is said"
    has_content = False
    random = True

    def __init__(self, rules: Rules, n_games: int, n_agents: int, rng: np.random.Generator) -> None:
        super().__init__(rules, n_games, n_agents, rng)
        self.number = np.zeros((n_games, n_agents), np.int8)

    def reset(self, which: Bools) -> None:
        numbers = self.rng.permuted(np.tile(np.arange(self.n_agents), (int(which.sum()), 1)), axis=1)
        self.number[which] = numbers % (self.rules.n_tokens + 1)

    def before(self, games: Ints) -> Ints:
        return self.number[games][..., None]

    def hear(self, own: Ints, others: Ints, at: Round) -> Ints:
        return np.broadcast_to(self.number[at.games][..., None], others.shape)


class Delayed(Channel):
    """Everything comes a round late; what was said last is never heard."""

    name = "delayed"
    description = "each symbol is heard one round late"

    def hear(self, own: Ints, others: Ints, at: Round) -> Ints:
        return at.previous[np.arange(len(at.games))[:, None, None], at.others]


class Shuffled(Channel):
    """Messages of other games: what is said there is like real talk, and about something else.

    The last finished dialogues are kept. Two agents of one game never hear the same one: hearing opposite sides of it
    would tell them apart.
    """

    name = "shuffled"
    description = "messages of other games are heard"
    has_content = False
    random = True

    def __init__(self, rules: Rules, n_games: int, n_agents: int, rng: np.random.Generator) -> None:
        super().__init__(rules, n_games, n_agents, rng)
        capacity = min(rules.max_rounds or 32, 32)  # grows where talks are longer
        size = (max(n_games, 64), capacity, n_agents)
        self.bank: Ints = rng.integers(rules.n_sayable, size=size, dtype=np.int8)  # until there is something better
        self.next = 0
        self.donated: Ints = np.zeros((n_games, n_agents, capacity, n_agents), np.int8)
        """`[B, N, R, N]` the dialogue that each agent will hear."""

    def begin(self, which: Bools) -> None:
        donated = self._drawn(int(which.sum()))
        while donated.shape[2] > self.donated.shape[2]:
            self.donated = doubled(self.donated, self.rules.eot)
        self.donated[which] = donated

    def _drawn(self, games: int) -> Ints:
        """`[games, N, R, N]` a whole dialogue for each agent, all different within a game; EOT after its end."""
        size = len(self.bank)
        first = self.rng.integers(size, size=(games, 1))
        step = self.rng.integers(1, max(size // self.n_agents, 2), size=(games, 1))
        return self.bank[(first + step * np.arange(self.n_agents)) % size]

    def foreign(self, at: Round) -> Ints:
        """int8 `[b, N, N - 1]` what was said in this round of the dialogue donated to each agent; EOT after its end."""
        rounds, capacity = at.number[:, None, None], self.donated.shape[2]
        listener = np.arange(self.n_agents)[:, None]
        heard = self.donated[at.games[:, None, None], listener, np.minimum(rounds, capacity - 1), at.others]
        return np.where(rounds < capacity, heard, self.rules.eot)

    def hear(self, own: Ints, others: Ints, at: Round) -> Ints:
        return self.foreign(at)

    def finished(self, said: Ints, n_rounds: Ints) -> None:
        talked = n_rounds > 0
        said, n_rounds = said[talked], n_rounds[talked]
        while said.shape[1] > self.bank.shape[1]:
            self.bank = doubled(self.bank, self.rules.eot)
        slots = (self.next + np.arange(len(said))) % len(self.bank)
        self.next = int(self.next + len(said)) % len(self.bank)
        self.bank[slots] = self.rules.eot  # also what is heard after a dialogue's end
        there = np.arange(said.shape[1]) < n_rounds[:, None]
        self.bank[slots, : said.shape[1]] = np.where(there[..., None], said, self.rules.eot)

    def state(self) -> dict[str, Any]:
        """The dialogues kept, and those donated."""
        return {"bank": self.bank.copy(), "next": np.array(self.next), "donated": self.donated.copy()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned; raises ValueError where it does not fit."""
        bank = fitting("the bank", state["bank"], self.bank, SILENT, self.rules.eot, 1)
        donated = fitting("the dialogues heard", state["donated"], self.donated, SILENT, self.rules.eot, 2)
        following = int(fitting("next", state["next"], np.array(self.next), 0, len(bank) - 1))
        self.bank, self.donated, self.next = bank, donated, following


class TokensShuffled(Shuffled):
    """The rhythm is real, the words are not."""

    name = "tokens_shuffled"
    description = "EOT is heard when it is said, tokens are those of other games"

    def hear(self, own: Ints, others: Ints, at: Round) -> Ints:
        foreign = self.foreign(at)
        any_token = self.rng.integers(self.rules.n_tokens, size=others.shape, dtype=np.int8)
        token = np.where((foreign == SILENT) | (foreign == self.rules.eot), any_token, foreign)
        return np.where((others == self.rules.eot) | (others == SILENT), others, token)


class EndsShuffled(Shuffled):
    """The words are real, the rhythm is not."""

    name = "ends_shuffled"
    description = "tokens are heard as they are said, EOT as in other games"
    has_content = True

    def hear(self, own: Ints, others: Ints, at: Round) -> Ints:
        foreign = self.foreign(at)
        ends, eot = foreign == self.rules.eot, self.rules.eot
        any_token = self.rng.integers(self.rules.n_tokens, size=others.shape, dtype=np.int8)
        token = np.where(others != eot, others, np.where(foreign == SILENT, any_token, foreign))
        return np.where(others == SILENT, SILENT, np.where(ends, eot, token))


def doubled(rounds: Ints, fill: int = SILENT) -> Ints:
    """A buffer `[..., R, N]` with room for twice as many rounds."""
    return np.concatenate([rounds, np.full_like(rounds, fill)], axis=-2)


def _no_channel(thing: Any) -> str | None:
    return None if isinstance(thing, type) and issubclass(thing, Channel) else "it must subclass envs.channels.Channel"


CHANNELS: Registry[type[Channel]] = Registry(
    "channel",
    [
        (channel.name, channel)
        for channel in (
            Open, Off, Constant, Shuffled, Self, Noisy, Oracle, TokensShuffled, EndsShuffled, Delayed,
        )
    ],
    _no_channel,
)  # fmt: skip
"""Every registered channel; `open` and `off` first, the controls after them."""
