"""The switch riddle: prisoners who meet only through a bulb must tell when all of them have been in its room.

Each day one of N prisoners, drawn at random, is in the room. It sees the bulb, may announce "all have been here", and
leaves the bulb in one of its two states for the next one. A right announcement pays +1 to all, a wrong one -1, none
within T = 4N - 6 days 0. Source: Foerster et al. 2016, "Learning to communicate with deep multi-agent reinforcement
learning", section 6.2; there too each prisoner knows its own number.

The bulb is the channel. Each day is one negotiation: first yesterday's visitor says how it left the bulb, which only
today's visitor hears, then today's visitor moves. So what a channel does to symbols it does to the bulb: `off` takes it
away, with `constant` it never changes, with `shuffled` it is that of another prison. Who left it nobody sees. A
prisoner in the room on two days running sees what it left: it remembers that anyway. Yesterday's visitor learns nothing
between its visit and its symbol but whether it comes again, and then nobody else sees that bulb: the riddle is that of
the paper.

The game's own defaults of talk make the bulb one bit: one round of two tokens, without EOT. On the first day there is
nothing to see. What can be reached at best: `analysis.agents.optimal_prisoners`. A blind announcement on the last day
is right as often as the best protocol's, for N = 3 in 74 % of games: judge by the return, not by success alone.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from envs.game import Attribute, BadOption, Bools, Floats, Ints, Outcome, Words

NOTHING, TELL = 0, 1


class SwitchRiddleGame:
    """`n_games` prisons at once; a day is one joint move, and only today's visitor has a choice.

    Features: in the room today, was in the room yesterday, and the day, one-hot. The attribute `visited` says whether a
    prisoner has been in the room, today included.

    Version history: v1, as `envs.NegotiationEnv`; v0.
    """

    talk: ClassVar[dict[str, Any]] = {"n_tokens": 2, "max_rounds": 1, "opening": "talk", "closing": "fixed"}
    move_names: tuple[str, ...] = ("nothing", "tell")
    attributes = (Attribute("visited", 2),)
    unseen_speakers = True
    words = Words(
        "prisoner", "freed", "not freed",
        goal="The prisoners are freed when one announces that all have been in the room, and all have.",
    )  # fmt: skip

    def __init__(
        self, n_games: int, rng: np.random.Generator, n_prisoners: int = 3, days: int | None = None,
        numbered: bool = True,
    ) -> None:  # fmt: skip
        """`n_prisoners` is N, from 2 up; `days` T, by default 4N - 6.

        `numbered`: each prisoner knows its own number, as in the paper; otherwise they are exchangeable. Raises
        BadOption.
        """
        if not 2 <= n_prisoners <= 100:
            raise BadOption(f"n_prisoners must be from 2 to 100, not {n_prisoners}")
        if days is not None and not 1 <= days <= 10_000:
            raise BadOption(f"days must be from 1 to 10,000, not {days}")
        self.n_games, self.n_agents, self._rng = n_games, n_prisoners, rng
        self.n_days = max(4 * n_prisoners - 6, n_prisoners) if days is None else days
        self.agent_names = tuple(f"prisoner_{i}" for i in range(n_prisoners))
        if numbered:
            self.roles = {name: (i,) for i, name in enumerate(self.agent_names)}
        size = 2 + self.n_days
        self.feature_bounds: tuple[Floats, Floats] = (np.zeros(size, np.float32), np.ones(size, np.float32))
        self.day = np.zeros(n_games, np.int64)
        self.visitor = np.zeros(n_games, np.int64)
        self.yesterday = np.full(n_games, -1)
        self.visited = np.zeros((n_games, n_prisoners), np.bool_)

    def reset(self, which: Bools) -> None:
        self.day[which], self.yesterday[which], self.visited[which] = 0, -1, False
        self._enter(np.flatnonzero(which))

    def _enter(self, games: Ints) -> None:
        """The warden takes somebody to the room."""
        self.visitor[games] = self._rng.integers(self.n_agents, size=len(games))
        self.visited[games, self.visitor[games]] = True

    def _is(self, who: Ints) -> Bools:
        """`[B, N]` whether a prisoner is the one named."""
        return np.equal(who[:, None], np.arange(self.n_agents))

    def observe(self) -> Floats:
        seen = np.zeros((self.n_games, self.n_agents, 2 + self.n_days), np.float32)
        games = np.arange(self.n_games)
        seen[games, self.visitor, 0] = 1
        seen[..., 1] = self._is(self.yesterday)
        seen[games, :, 2 + np.minimum(self.day, self.n_days - 1)] = 1
        return seen

    def private(self) -> Floats:
        return self.visited[..., None].astype(np.float32)

    def legal_moves(self) -> Bools:
        return np.stack([np.ones_like(self.visited), self._is(self.visitor)], axis=2)

    def active(self) -> Bools:
        return np.ones((self.n_games, self.n_agents), np.bool_)

    def may_speak(self) -> Bools:
        return self._is(self.yesterday)

    def hears(self) -> Bools:
        return self._is(self.visitor)[:, :, None] & self._is(self.yesterday)[:, None]

    def play(self, moves: Ints, which: Ints) -> Outcome:
        tells = moves[np.arange(len(moves)), self.visitor[which]] == TELL
        freed = tells & self.visited[which].all(axis=1)
        reward = np.where(tells, np.where(freed, 1, -1), 0).astype(np.float32)
        self.day[which] += 1
        over = tells | (self.day[which] == self.n_days)
        goes_on = which[~over]
        self.yesterday[goes_on] = self.visitor[goes_on]
        self._enter(goes_on)
        ended = over[:, None].repeat(self.n_agents, axis=1)
        return Outcome(reward[:, None].repeat(self.n_agents, axis=1), freed, ended, np.zeros_like(ended))
