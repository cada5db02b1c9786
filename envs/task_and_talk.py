"""Task & Talk (Kottur et al. 2017): Q-bot has a task, A-bot sees an object, and Q-bot must answer for it.

An object has three attributes with four values each. The task names two of the attributes, in an order. In each of two
rounds Q-bot asks with one of its tokens, and A-bot answers with one of its own, having heard the question. Then Q-bot
names the pair of values. Six tasks and 64 objects: 384 games. A part of the objects is kept from training.
"""

from __future__ import annotations

import math
from itertools import permutations, product
from typing import ClassVar, Literal

import numpy as np

from envs.game import MOST_MOVES, Attribute, BadOption, Bools, Decision, Floats, Ints, Outcome, Words
from envs.meanings import Drawn, Meanings
from envs.saving import fitting

Q_BOT, A_BOT = 0, 1


class TaskAndTalkGame:
    """`n_games` dialogues at once; one answer each, then the episode ends.

    Parameters
    ----------
    q_tokens, a_tokens : int
        Tokens of each role. Kottur et al.: overcomplete 64 and 64, attribute-value 3 and 12, minimal 3 and 4 (tokens).
    n_attributes, n_values : int
        Attributes of an object, and values of each (values).
    tasks : str
        ordered: the answer's first value is that of the task's first attribute, and there are P (P - 1) tasks, as in
        the paper; unordered: P (P - 1) / 2 tasks.
    naming : str
        How Q-bot names the pair. pair: as one of `n_values`² answers. values: each value by itself, so that what it
        learns of one does not depend on the other; in the paper Q-bot names one value after the other.
    reward : str
        To each bot. both: +1 where both values are right, otherwise minus `wrong_costs`; each: 1/2 for each right
        value, and minus half of `wrong_costs` for each wrong one.
    wrong_costs : float
        What being wrong costs (reward, at most 1e6). The paper: 10.
    retry : float
        Share of the games of a training whose object is drawn from those that were lost with some task when it was
        last asked (below 1); the task is drawn from all. At first all count as lost. It needs the `meanings` of
        training, which a training sets: an evaluation draws all alike. The paper: 0.8.
    held_out, split_seed, meanings, held_out_objects
        The share of the objects that training never draws, what fixes which, what this game draws, and, instead of a
        share, the numbers of the objects (`envs.meanings.Meanings`). Of the paper's 64 objects 80 % were for training.

    Q-bot sees its task, A-bot its object: one-hot each. The talk is two rounds, Q-bot first, without EOT. An A-bot that
    remembers nothing of the first round: `--policies by-role --torso gru,window --window 1`.

    The score is the share of the two values that are right; success needs both. Raises BadOption, naming the option
    that cannot be played with. Version history: v1, as `envs.NegotiationEnv`; v0.
    """

    n_agents = 2
    agent_names = ("q_bot", "a_bot")
    roles: ClassVar = {"questioner": (Q_BOT,), "answerer": (A_BOT,)}
    words = Words("bot", "right", "wrong answer", "The bots succeed when Q-bot names both values of its task.")

    def __init__(
        self,
        n_games: int,
        rng: np.random.Generator,
        q_tokens: int = 3,
        a_tokens: int = 4,
        n_attributes: int = 3,
        n_values: int = 4,
        tasks: Literal["ordered", "unordered"] = "ordered",
        naming: Literal["pair", "values"] = "pair",
        reward: Literal["both", "each"] = "both",
        wrong_costs: float = 1.0,
        retry: float = 0.0,
        held_out: float = 0.0,
        split_seed: int = 0,
        meanings: Drawn = "all",
        held_out_objects: str | int = "",
    ) -> None:
        for name, tokens in (("q_tokens", q_tokens), ("a_tokens", a_tokens)):
            if not 1 <= tokens <= 126:
                raise BadOption(f"{name} must be from 1 to 126, not {tokens}: a role needs tokens to talk")
        if n_attributes < 2:
            raise BadOption(f"n_attributes must be at least 2, not {n_attributes}: a task names two")
        if tasks not in ("ordered", "unordered"):
            raise BadOption(f"tasks must be ordered or unordered, not {tasks!r}")
        if naming not in ("pair", "values"):
            raise BadOption(f"naming must be pair or values, not {naming!r}")
        if reward not in ("both", "each"):
            raise BadOption(f"reward must be both or each, not {reward!r}")
        if not 0 <= wrong_costs <= 1e6:
            raise BadOption(f"wrong_costs must be from 0 to 1e6, not {wrong_costs}")
        if not 0 <= retry < 1:
            raise BadOption(f"retry must be at least 0 and less than 1, not {retry}")
        self.n_games, self._rng, self.reward, self.wrong_costs = n_games, rng, reward, wrong_costs
        self._retry = retry if meanings == "training" else 0.0
        again = f"retry {retry}: lost objects come more often, so that fewer succeed in training than of all alike"
        self.notes = (again,) if self._retry else ()
        self.objects = Meanings(
            n_attributes, n_values, held_out, split_seed, meanings, held_out_objects=held_out_objects
        )
        pairs = [pair for pair in permutations(range(n_attributes), 2) if tasks == "ordered" or pair[0] < pair[1]]
        self.tasks: Ints = np.array(pairs)
        """`[T, 2]` the two attributes that a task asks for."""
        n_tasks, answers = len(pairs), n_values**2
        if answers >= MOST_MOVES:
            most = math.isqrt(MOST_MOVES - 1)
            raise BadOption(f"n_values must be at most {most}, not {n_values}: a pair is one of n_values² answers")
        self.talk = {
            "n_tokens": max(q_tokens, a_tokens), "opening": "talk", "closing": "fixed", "max_rounds": 2,
            "speaking": "sequential", "order": "fixed",
        }  # fmt: skip
        self.tokens = {"questioner": q_tokens, "answerer": a_tokens}
        self.move_names: tuple[str, ...] = (*(f"{a} {b}" for a, b in product(range(n_values), repeat=2)), "wait")
        if naming == "values":
            self.move_parts = (*product(range(n_values), repeat=2), (-1, -1))
        values = self.objects.names
        self.attributes = (*(Attribute(name, n_values) for name in values), Attribute("task", n_tasks))
        self.decisions = (
            Decision("the answer", "move", agent=Q_BOT),
            *(Decision(f"the {name}", "attribute", agent=A_BOT, attribute=name) for name in values),
            Decision("the task", "attribute", agent=Q_BOT, attribute="task"),
        )

        features = n_tasks + n_attributes * n_values
        self.feature_bounds: tuple[Floats, Floats] = (np.zeros(features, np.float32), np.ones(features, np.float32))
        self.object, self.task = np.zeros(n_games, np.int64), np.zeros(n_games, np.int64)
        self._features = np.zeros((n_games, 2, features), np.float32)
        self._legal = np.zeros((n_games, 2, answers + 1), np.bool_)
        self._legal[:, A_BOT, answers] = self._legal[:, Q_BOT, :answers] = True
        self._everyone = np.ones((n_games, 2), np.bool_)
        self.lost = np.tile(self.objects.frequency[:, None] > 0, n_tasks if self._retry else 0)
        """`[O, T]` whether an object that is drawn here was lost when it was last played with a task; empty without
        `retry`."""

    def reset(self, which: Bools) -> None:
        """Draw objects and tasks."""
        count = int(which.sum())
        self.object[which] = self.objects.draw(self._rng, count)
        self.task[which] = self._rng.integers(len(self.tasks), size=count)
        if self.lost.any():
            again = which & (self._rng.random(self.n_games) < self._retry)
            self.object[again] = self._rng.choice(np.flatnonzero(self.lost.any(axis=1)), int(again.sum()))
        self._show(which)

    def _show(self, which: Bools) -> None:
        n_tasks = len(self.tasks)
        self._features[which, Q_BOT, :n_tasks] = self.task[which][:, None] == np.arange(n_tasks)
        self._features[which, A_BOT, n_tasks:] = self.objects.one_hot(self.object[which])

    def observe(self) -> Floats:
        return self._features

    def private(self) -> Floats:
        known = np.full((self.n_games, 2, len(self.attributes)), -1, np.float32)
        known[:, A_BOT, :-1] = self.objects.values[self.object]
        known[:, Q_BOT, -1] = self.task
        return known

    def held_out(self, private: Floats) -> Bools:
        """`[D]` whether A-bot's object was kept from training."""
        return self.objects.kept_from_training[self.objects.number(private[:, A_BOT, :-1])]

    def legal_moves(self) -> Bools:
        return self._legal

    def active(self) -> Bools:
        return self._everyone

    def right(self, moves: Ints, private: Floats) -> Bools:
        """`[D, 2]` which of the two values that the task asks for Q-bot names."""
        asked = self.tasks[private[:, Q_BOT, -1].astype(np.int64)]
        values = np.take_along_axis(private[:, A_BOT, :-1], asked, axis=1)
        return np.stack(np.divmod(moves[:, Q_BOT], self.objects.n_values), axis=1) == values

    def succeeds(self, moves: Ints, private: Floats) -> Bools:
        return np.asarray(self.right(moves, private).all(axis=1))

    def play(self, moves: Ints, which: Ints) -> Outcome:
        right = self.right(moves, self.private()[which])
        success = np.asarray(right.all(axis=1))
        score = right.mean(axis=1).astype(np.float32)
        if self._retry:
            self.lost[self.object[which], self.task[which]] = ~success
        share = score if self.reward == "each" else success.astype(np.float32)
        reward = share - np.float32(self.wrong_costs) * (1 - share)
        ended = np.ones((len(moves), 2), np.bool_)
        return Outcome(reward[:, None].repeat(2, axis=1), success, ended, ~ended, score)

    # -- saving ------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, np.ndarray]:
        """The games in progress."""
        lost = {"lost": self.lost.astype(np.int8)} if self._retry else {}
        return {"object": self.object, "task": self.task, **lost}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Go on from what `state` returned; raises ValueError where it does not fit."""
        self.object = fitting("object", state["object"], self.object, 0, len(self.objects) - 1)
        self.task = fitting("task", state["task"], self.task, 0, len(self.tasks) - 1)
        if self._retry:
            drawn = self.objects.frequency[:, None] > 0
            self.lost = drawn & fitting("lost", state["lost"], self.lost.astype(np.int8), 0, 1).astype(np.bool_)
        self._show(np.ones(self.n_games, np.bool_))
