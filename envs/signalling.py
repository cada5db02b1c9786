"""Signalling games: a sender knows a state, a receiver must act on it; and their referential form.

Lewis (1969): one of n states is drawn, the sender says one of n signals, the receiver picks one of n acts, and both
succeed where act and state agree. By default n = 4, and a talk is exactly one signal: without EOT, and one way. The
options of the talk allow others: `n_tokens` signals (n of them where nothing is said), `max_rounds` of them in a row,
and with `closing="mutual"` strings of different lengths.

With `n_attributes` a state is an object made of attributes. With `n_distractors` the game is referential (Lazaridou et
al. 2017): the receiver sees the sender's object among others, in random order, and picks one.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from envs.game import Attribute, BadOption, Bools, Decision, Floats, Ints, Outcome, Words
from envs.meanings import Drawn, Frequencies, Meanings
from envs.saving import fitting

SENDER, RECEIVER = 0, 1
MOST_ACTS = 4_096


class SignallingGame:
    """`n_games` signalling games at once; one act each, then the episode ends.

    Parameters
    ----------
    n_values : int
        Values of each attribute; with one attribute Lewis's number of states n (values).
    n_attributes : int
        Attributes of an object.
    n_distractors : int
        0: an act for each object; otherwise other objects among which the receiver finds the sender's (objects).
    both_speak : bool
        Whether the receiver speaks, too.
    frequencies : str
        uniform: all objects equally often; zipf: the r-th in proportion to 1 / r (Chaabouni et al. 2019).
    held_out, split_seed, meanings, held_out_objects
        The share of the objects that training never draws, what fixes which, what this game draws, and, instead of a
        share, the numbers of the objects (`envs.meanings.Meanings`). Distractors are drawn evenly from the same
        objects.

    The sender sees its object, the receiver the objects to choose from, in random order: each attribute one-hot.
    Raises BadOption, which names the option that cannot be played with.

    Success: +1 each; otherwise -1 each. Version history: v1, as `envs.NegotiationEnv`; v0.
    """

    n_agents = 2
    agent_names = ("sender", "receiver")
    roles: ClassVar = {"sender": (SENDER,), "receiver": (RECEIVER,)}

    def __init__(
        self,
        n_games: int,
        rng: np.random.Generator,
        n_values: int = 4,
        n_attributes: int = 1,
        n_distractors: int = 0,
        both_speak: bool = False,
        frequencies: Frequencies = "uniform",
        held_out: float = 0.0,
        split_seed: int = 0,
        meanings: Drawn = "all",
        held_out_objects: str | int = "",
    ) -> None:
        self.n_games, self._rng = n_games, rng
        self.objects = Meanings(n_attributes, n_values, held_out, split_seed, meanings, frequencies, held_out_objects)
        others = len(self.objects.pool) - 1
        if not 0 <= n_distractors <= others:
            drawn = "" if len(self.objects.pool) == len(self.objects) else f" of the {others + 1} that are drawn here"
            raise BadOption(f"n_distractors must be from 0 to {others}, the other objects{drawn}, not {n_distractors}")
        acts = n_distractors + 1 if n_distractors else len(self.objects)
        if acts > MOST_ACTS:
            raise BadOption(f"there would be {acts:,} acts, at most {MOST_ACTS:,}: give n_distractors")
        self.n_distractors = n_distractors
        self.talk = {"n_tokens": min(n_values, 126), "opening": "talk", "closing": "fixed", "max_rounds": 1}
        self._declare(acts)

        width = n_attributes * n_values
        features = width * (1 + n_distractors + 1) if n_distractors else width
        self.feature_bounds: tuple[Floats, Floats] = (np.zeros(features, np.float32), np.ones(features, np.float32))
        self.target = np.zeros(n_games, np.int64)
        self.shown = np.zeros((n_games, n_distractors + 1 if n_distractors else 0), np.int64)
        """`[B, C]` what the receiver chooses from; `C` is 0 where it names the object."""
        self._features = np.zeros((n_games, 2, features), np.float32)
        self._legal = np.zeros((n_games, 2, acts + 1), np.bool_)
        self._legal[:, SENDER, acts] = self._legal[:, RECEIVER, :acts] = True
        self._everyone = np.ones((n_games, 2), np.bool_)
        self._speakers = np.tile([True, both_speak], (n_games, 1))

    def _declare(self, acts: int) -> None:
        objects = self.objects
        self.attributes = tuple(Attribute(name, objects.n_values) for name in objects.names)
        self.decisions = (
            Decision("the act", "move", agent=RECEIVER),
            *(Decision(f"the {name}", "attribute", agent=SENDER, attribute=name) for name in objects.names),
        )
        what = "object" if objects.n_attributes > 1 or self.n_distractors else "state"
        kind = "place" if self.n_distractors else what if objects.n_attributes > 1 else "act"
        self.move_names = (*(f"{kind} {i}" for i in range(acts)), "wait")
        self.words = Words(
            "player", "right", f"wrong {what}", f"The players succeed when the receiver picks the sender's {what}."
        )

    def reset(self, which: Bools) -> None:
        """Draw objects and, in the referential form, what they stand among."""
        count = int(which.sum())
        self.target[which] = target = self.objects.draw(self._rng, count)
        if self.n_distractors:
            self.shown[which] = self._rng.permuted(self._with_distractors(target), axis=1)
        self._show(which)

    def _with_distractors(self, target: Ints) -> Ints:
        """`[D, C]` the objects and others, all different, drawn evenly without replacement from the pool."""
        pool = self.objects.pool
        chosen = np.searchsorted(pool, target)[:, None]
        for taken in range(1, self.n_distractors + 1):
            new = self._rng.integers(len(pool) - taken, size=len(target))
            for place in np.sort(chosen, axis=1).T:  # counts only those that are still free
                new += new >= place
            chosen = np.concatenate([chosen, new[:, None]], axis=1)
        return pool[chosen]

    def _show(self, which: Bools) -> None:
        one_hot, width = self.objects.one_hot, self.objects.n_attributes * self.objects.n_values
        self._features[which, SENDER, :width] = one_hot(self.target[which])
        if self.n_distractors:
            self._features[which, RECEIVER, width:] = one_hot(self.shown[which]).reshape(int(which.sum()), -1)

    def observe(self) -> Floats:
        return self._features

    def private(self) -> Floats:
        known = np.full((self.n_games, 2, self.objects.n_attributes), -1, np.float32)
        known[:, SENDER] = self.objects.values[self.target]
        return known

    def held_out(self, private: Floats) -> Bools:
        """`[D]` whether the sender's object was kept from training."""
        return self.objects.kept_from_training[self.objects.number(private[:, SENDER])]

    def may_speak(self) -> Bools:
        return self._speakers

    def legal_moves(self) -> Bools:
        return self._legal

    def active(self) -> Bools:
        return self._everyone

    @property
    def succeeds(self) -> Any:
        """Which joint moves succeed, where agents know `private`; the referential form has none: places are random."""
        if self.n_distractors:
            raise AttributeError("in the referential form success turns on places that nobody knows of")
        return lambda moves, private: moves[:, RECEIVER] == self.objects.number(private[:, SENDER])

    def play(self, moves: Ints, which: Ints) -> Outcome:
        act, target = moves[:, RECEIVER], self.target[which]
        picked = self.shown[which, act] if self.n_distractors else act
        success = np.asarray(picked == target)
        rewards = np.where(success, 1, -1).astype(np.float32)[:, None].repeat(2, axis=1)
        ended = np.ones((len(moves), 2), np.bool_)
        return Outcome(rewards, success, ended, ~ended)

    # -- saving ------------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, np.ndarray]:
        """The games in progress."""
        return {"target": self.target, "shown": self.shown}

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Go on from what `state` returned; raises ValueError where it does not fit."""
        last = len(self.objects) - 1
        self.target = fitting("target", state["target"], self.target, 0, last)
        self.shown = fitting("shown", state["shown"], self.shown, 0, last)
        self._show(np.ones(self.n_games, np.bool_))
