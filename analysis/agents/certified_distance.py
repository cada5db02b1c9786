"""How far a network is from its machine, for sure: the total variation distance of their dialogues, without sampling.

The two pairs hold every dialogue with some probability each, and the distance is half the sum of the differences: the
most by which the two can differ in the probability of anything that may happen in a dialogue, success included. The
tree of `analysis.agents.dialogue_tree` is walked with both probabilities at once. What is too unlikely for both is left
open: there the two may agree or differ in all of it.

Axes: `D` node, `A` action, `K` symbol kinds (tokens, EOT, and last SILENT).
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass

import numpy as np
import torch

from analysis.agents.dialogue_tree import AT_ONCE, ROUNDING, Bounds, DialogueTree, Nodes, Reals
from analysis.automata.protocol_machine import ProtocolMachine
from analysis.data.decisions import NotApplicable
from envs.game import Ints
from envs.negotiation import ACT, SILENT


@dataclass(frozen=True)
class Distance:
    """How far two pairs are apart, from all dialogues down to a threshold."""

    threshold: float
    """Branches less likely than this under both are open."""
    nodes: int
    seconds: float
    open: float
    """Probability of the branches left open, under the network."""
    machine_open: float
    """The same under the machine."""
    total_variation: Bounds
    merged: float | None = None
    """About how much of `open` would stay so if the network's places were merged into the machine's states (`_Cells`);
    None where that was not asked for."""


@dataclass(frozen=True)
class _Pair:
    """The same places in the tree, as the network and as the machine come there."""

    network: Nodes
    mass: Reals
    """`[D]` probability under the machine."""
    state: Ints
    """`[D, N]` of the machine in each seat, what was said last included."""

    def __len__(self) -> int:
        return len(self.mass)

    def part(self, which: Ints | slice) -> _Pair:
        return _Pair(self.network[which], self.mass[which], self.state[which])


class _Cells:
    """What it would cost to merge the network's places into the machine's states.

    Places of one state would share what follows, and only as much of an action's probability would be certain as all of
    them give it. The places that merging is to spare are not known. So what is found is no bound, but holds if they
    differ as much as those that were followed.
    """

    def __init__(self, machine: ProtocolMachine) -> None:
        self._machine = machine
        self._least = np.full((len(machine.emission), ACT + 1, machine.emission.shape[1]), np.inf)
        self._open: dict[int, float] = {}

    def visit(self, states: Ints, phase: Ints, probabilities: Reals) -> None:
        """Note what the network does, `[D, N, A]`, in each state `[D, N]` and phase `[D]`."""
        np.minimum.at(self._least, (states, phase[:, None]), probabilities)

    def leave(self, states: Ints, mass: Reals) -> None:
        """Note branches that are left open: their `mass` `[D, K, K]` after the states `[D, N]`."""
        after = _after(self._machine, states, *np.nonzero(mass))
        pairs, place = np.unique(after @ np.array([len(self._least), 1]), return_inverse=True)
        for pair, more in zip(pairs.tolist(), np.bincount(place, mass[mass > 0]).tolist(), strict=True):
            self._open[pair] = self._open.get(pair, 0.0) + more

    def cost(self) -> float:
        """The mass that would stay open, where the next round of both agents is no more certain than that.

        Of the phases in which a state was seen the most certain one counts; a state that was never seen costs nothing.
        """
        certain = self._least.sum(axis=2)
        certain = np.where(np.isfinite(certain), certain, -1.0).max(axis=1)
        certain = np.where(certain < 0, 1.0, certain)
        first, second = np.divmod(np.array([*self._open], np.int64), len(certain))
        return float(np.array([*self._open.values()]) @ (1 - certain[first] * certain[second]))


def certified_distance(
    tree: DialogueTree, machine: ProtocolMachine, threshold: float, merging: bool = False
) -> Distance:
    """Walk the tree of the network with the machine beside it.

    Parameters
    ----------
    tree : DialogueTree
        Of the network.
    machine : ProtocolMachine
        It sits in both seats. One for other symbols or moves raises NotApplicable, and so does one that comes to where
        it has nothing to do.
    threshold : float
        Branches less likely than this under both are left open.
    merging : bool
        Also find about what merging the network's places into the machine's states would leave open.

    Returns
    -------
    Distance
        `total_variation` lies surely between its bounds.

    Examples
    --------
    `analysis.certified_distance(tree, explanation.machine, 1e-6).total_variation`
    """
    eot, begun = tree.rules.eot, time.perf_counter()
    n_actions = eot + 1 + len(tree.success)
    if machine.emission.shape[1] != n_actions:
        raise NotApplicable(
            f"the machine {machine.name} has {machine.emission.shape[1]} actions, and the network {n_actions}"
        )
    initial = np.full((1, 2), machine.automaton.initial)
    stack = [_Pair(tree.root, tree.root.mass.copy(), initial)]
    nodes, apart, left_open, cells = 0, 0.0, np.zeros(2), _Cells(machine) if merging else None
    while stack:
        batch = stack.pop()
        if len(batch) > AT_ONCE:
            stack.append(batch.part(slice(AT_ONCE, None)))
            batch = batch.part(slice(0, AT_ONCE))
        nodes += len(batch)
        own, memory = tree.act(batch.network)
        if cells:
            likely = batch.network.mass >= threshold  # the others are here for the machine's sake
            cells.visit(batch.state[likely], batch.network.phase[likely], own[likely])
        emitted = np.where(tree.legal(batch.network), machine.emission[batch.state], 0)
        total = emitted.sum(axis=2, keepdims=True)
        if ((total[:, :, 0] == 0).any(axis=1) & (batch.mass > 0)).any():
            raise NotApplicable(f"the machine {machine.name} has no action that is legal in a place that it comes to")
        others = emitted / np.where(total > 0, total, 1)
        as_machine = dataclasses.replace(batch.network, mass=batch.mass)
        ended = [
            _joint_moves(at.mass, each[..., eot + 1 :]) for at, each in ((batch.network, own), (as_machine, others))
        ]
        apart += float(np.abs(ended[0] - ended[1]).sum())
        talking = np.flatnonzero(batch.network.phase != ACT)
        if not len(talking):
            continue
        masses = [tree.said(at[talking], each[talking]) for at, each in ((batch.network, own), (as_machine, others))]
        for mass in masses:
            mass[:, SILENT, SILENT] = 0
        followed = np.maximum(*masses) >= threshold
        left_open += [float(mass[~followed].sum()) for mass in masses]
        if cells:
            cells.leave(batch.state[talking], np.where(followed, 0, masses[0]))
        if followed.any():
            stack.append(
                _children(tree, machine, batch.part(talking), memory[torch.from_numpy(talking)], masses, followed)
            )
    low, high = apart / 2, (apart + left_open.sum()) / 2
    bounds = Bounds(max(float(low) - ROUNDING, 0.0), min(float(high) + ROUNDING, 1.0))
    seconds, (own_open, machine_open) = time.perf_counter() - begun, left_open.tolist()
    return Distance(threshold, nodes, seconds, own_open, machine_open, bounds, cells.cost() if cells else None)


def _joint_moves(mass: Reals, moves: Reals) -> Reals:
    """`[D, M, M]`"""
    return mass[:, None, None] * moves[:, 0, :, None] * moves[:, 1, None, :]


def _children(
    tree: DialogueTree, machine: ProtocolMachine, parents: _Pair, memory: torch.Tensor, masses: list[Reals],
    followed: np.ndarray,
) -> _Pair:  # fmt: skip
    after = _after(machine, parents.state, *np.nonzero(followed))
    return _Pair(tree.children(parents.network, memory, masses[0], followed), masses[1][followed], after)


def _after(machine: ProtocolMachine, states: Ints, parent: Ints, own: Ints, other: Ints) -> Ints:
    """`[·, N]` the machine's states after each round of symbols, from those of its parent in `states` `[D, N]`."""
    transition, (first, second) = machine.automaton.transition, states[parent].T
    return np.stack([transition[first, own, other], transition[second, other, own]], axis=1)


def certify(
    tree: DialogueTree,
    machine: ProtocolMachine,
    seconds: float = 30.0,
    merging: bool = False,
) -> tuple[Distance, ...]:
    """The distance with ever lower thresholds, as long as the next one is expected to end within `seconds`."""
    done: list[Distance] = []
    threshold, spent = 1e-3, 0.0
    while not done or (spent + 12 * done[-1].seconds < seconds and done[-1].open + done[-1].machine_open > 0):
        done.append(certified_distance(tree, machine, threshold, merging))
        spent += done[-1].seconds
        threshold /= 10
    return tuple(done)
