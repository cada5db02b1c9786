"""Protocol machines: automata with, in every state, a distribution over what an agent says or does next.

A machine is executable (`analysis.agents.players` lets it play in the real environment), can be scored on held-out
dialogues, and is kept as JSON; `analysis.automata.graphs` draws it. Axes: `S` state, `A` action (tokens, EOT, moves),
`K` symbol kinds, `V` view (own symbol first), `R` round.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.automata.automaton import Automaton
from analysis.automata.machine_files import FORMAT, checked, read_json
from analysis.data.decisions import Decisions, Scores
from analysis.data.writing import write_whole
from envs.game import Bools, Floats, Ints

Probabilities = NDArray[np.float64]


@dataclass(frozen=True)
class ProtocolMachine:
    """An agent as a finite-state machine."""

    name: str
    automaton: Automaton
    emission: Probabilities
    """`[S, A]` over all actions; what the phase forbids is left out and the rest scaled to 1."""
    n_tokens: int
    move_names: tuple[str, ...]
    visits: Floats
    """`[S]` how often the dialogues behind the machine were in each state; 0 everywhere in one written by hand."""

    def __len__(self) -> int:
        return len(self.automaton)

    @property
    def eot(self) -> int:
        """The end-of-talk symbol."""
        return self.n_tokens

    def yields(self) -> Probabilities:
        """`[S]` the probability of the last move, given that a move is made."""
        moves = self.emission[:, self.eot + 1 :]
        return moves[:, -1] / moves.sum(axis=1)

    def yielding(self, symbols: Ints, n_rounds: Ints) -> Probabilities:
        """`[D, 2]` the probability that each agent yields after the dialogues `[D, R, 2]`."""
        final = [self.automaton.run(view, n_rounds)[:, -1] for view in (symbols, symbols[..., ::-1])]
        return self.yields()[np.stack(final, axis=1)]

    def scores(self, symbols: Ints, n_rounds: Ints) -> Scores:
        """`[D]` log-odds that agent 0 of the dialogues `[D, R, 2]` yields, less agent 1's."""
        yields = np.clip(self.yielding(symbols, n_rounds), 1e-9, 1 - 1e-9)
        odds = np.log(yields) - np.log1p(-yields)
        return odds[:, 0] - odds[:, 1]

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "format": FORMAT,
            "name": self.name,
            "n_tokens": self.n_tokens,
            "move_names": list(self.move_names),
            "labels": list(self.automaton.labels),
            "initial": self.automaton.initial,
            "transition": self.automaton.transition.tolist(),
            "emission": [[float(f"{p:.9g}") for p in row] for row in self.emission.tolist()],
            "visits": self.visits.tolist(),
        }

    @classmethod
    def from_json(cls, saved: Any) -> ProtocolMachine:
        """The inverse of `to_json`; raises BadInput, a ValueError, for what is not a machine."""
        parts = checked(saved)
        automaton = Automaton(parts.labels, parts.transition, parts.initial)
        return cls(parts.name, automaton, parts.emission, parts.n_tokens, parts.move_names, parts.visits)

    def save(self, path: Path) -> None:
        """Write the machine as JSON, whole or not at all; raises OSError."""
        write_whole(path, json.dumps(self.to_json()) + "\n")

    @classmethod
    def load(cls, path: Path) -> ProtocolMachine:
        """A machine from a JSON file of at most 64 MB; raises BadInput, a ValueError, for what is not one."""
        return cls.from_json(read_json(path))


# -- actions as they were taken ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Actions:
    """`E` actions taken in dialogues, seen by the agent that took them."""

    view: Ints
    """`[E]` which view."""
    round: Ints
    """`[E]` how many rounds had been heard."""
    action: Ints
    """`[E]` the action; -1 for a move of the opening round that was not played because the other spoke."""
    legal: Bools
    """`[E, A]` what the phase allowed."""


def actions_of(decided: Decisions, n_moves: int = 2, opening: str = "free") -> Actions:
    """All actions of all views, `view` counting as in `Decisions.views`."""
    symbols, n_rounds, moves = decided.views()
    views, rounds = symbols.shape[:2]
    taken = np.concatenate([symbols.astype(np.int64), np.full((views, 1, 2), -1)], axis=1)[..., 0]
    taken[np.arange(views), n_rounds] = moves + decided.n_tokens + 1
    view, t = np.nonzero(np.arange(rounds + 1) <= n_rounds[:, None])
    is_move = np.arange(decided.n_tokens + 1 + n_moves) > decided.n_tokens
    acts = t == n_rounds[view]
    both = (t == 0) & (opening == "free") & ~(acts & (n_rounds[view] > 0))
    legal = np.where(acts[:, None], is_move, ~is_move) | both[:, None]
    return Actions(view, t, taken[view, t], legal)


# -- fitting and scoring -----------------------------------------------------------------------------------------------


def fit_machine(
    name: str,
    automaton: Automaton,
    decided: Decisions,
    move_names: tuple[str, ...] = ("main", "detour"),
    opening: str = "free",
    clock: int = 1,
    leanings: Ints | None = None,
) -> ProtocolMachine:
    """Fill in the emissions of `automaton` × `clock` with the frequencies in the dialogues.

    A cell that was rarely visited leans on the same state without the clock, and that where `leanings` `[S]` say: 1
    yields, -1 stays, 0 (the default) does either.
    """
    whole = automaton.with_clock(clock)
    symbols, n_rounds, _ = decided.views()
    actions = actions_of(decided, len(move_names), opening)
    counted = _count(whole, symbols, n_rounds, actions)
    prior = np.full((len(automaton), counted.shape[1]), 0.05)
    if leanings is not None:
        stay, give_way = decided.n_tokens + 1, decided.n_tokens + 2
        prior[leanings > 0, stay] = prior[leanings < 0, give_way] = 0.001
    if clock > 1:
        coarse = _count(automaton, symbols, n_rounds, actions)
        base = dict(zip(automaton.labels, _frequencies(coarse, prior), strict=True))
        prior = np.stack([base[label.rpartition(" @")[0]] for label in whole.labels])
    emission = _frequencies(counted, prior)
    return ProtocolMachine(name, whole, emission, decided.n_tokens, move_names, counted.sum(axis=1).astype(np.float32))


def _count(automaton: Automaton, symbols: Ints, n_rounds: Ints, actions: Actions) -> Probabilities:
    """`[S, A]` how often each action was taken in each state; a move not played counts for all moves alike."""
    states = automaton.run(symbols, n_rounds)[actions.view, actions.round]
    counted = np.zeros((len(automaton), actions.legal.shape[1]))
    known = actions.action >= 0
    np.add.at(counted, (states[known], actions.action[known]), 1)
    n_symbols = automaton.transition.shape[1] - 1
    n_moves = counted.shape[1] - n_symbols
    for move in range(n_symbols, counted.shape[1]):
        np.add.at(counted[:, move], states[~known], 1 / n_moves)
    return counted


def _frequencies(counted: Probabilities, prior: Probabilities | float) -> Probabilities:
    """Rows that sum to 1, with `prior` pseudo-counts."""
    padded = counted + prior
    return padded / padded.sum(axis=1, keepdims=True)


def bits_per_action(machine: ProtocolMachine, decided: Decisions, opening: str = "free") -> float:
    """Mean surprise of the machine at the actions of the dialogues (bits); NaN where there are none."""
    symbols, n_rounds, _ = decided.views()
    actions = actions_of(decided, len(machine.move_names), opening)
    states = machine.automaton.run(symbols, n_rounds)[actions.view, actions.round]
    return surprise(machine.emission[states], actions, decided.n_tokens)


def surprise(probabilities: Probabilities, actions: Actions, n_tokens: int) -> float:
    """Mean surprise (bits) at `actions` under `probabilities` `[E, A]`; 0 bits where only one action was legal."""
    legal = np.where(actions.legal, probabilities, 0)
    legal = legal / legal.sum(axis=1, keepdims=True)
    taken = legal[np.arange(len(legal)), actions.action]
    taken = np.where(actions.action < 0, legal[:, n_tokens + 1 :].sum(axis=1), taken)
    return float(-np.log2(np.maximum(taken, 1e-12)).mean()) if len(taken) else float("nan")
