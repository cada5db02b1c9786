"""The dialogues of a frozen pair, enumerated instead of sampled: what it does, as intervals that surely hold.

Every dialogue that two agents may hold is a path from the root of a tree, and its probability a product of the
network's probabilities. The tree is walked down to a threshold: what is less likely is left open, and counts fully for
one end of an interval and not at all for the other. Agents of one network are exchangeable, so that a dialogue and its
twin (the same with the agents swapped) are one branch of twice the mass.

Axes: `D` node, `N` = 2 agents, `A` action, `S` memory, `W` window, `K` symbol kinds (tokens, EOT, and last SILENT).
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from analysis.agents.players import MakeGame
from analysis.data.decisions import NO_SUCCESS, NotApplicable
from emcomm.networks.policy import Policy, Population
from envs.game import Bools, Game, Ints
from envs.negotiation import ACT, SILENT, Negotiation, Observation, TalkRules

Reals = NDArray[np.float64]

AT_ONCE = 8_192
"""Nodes that are looked at together."""
CLOSED = 4
"""How many times less likely than others a branch may be that closes the talk."""
TRIALS = 200
"""Times that each joint move is played."""
LEAST_STEP = 1.5
"""A threshold is lowered by this factor at least: less is not worth walking the tree again."""
ROUNDING = 1e-9
"""By how much each end of an interval is moved outwards: far more than float64 loses in a sum of so many terms."""


@dataclass(frozen=True)
class Bounds:
    """An interval in which a figure surely lies."""

    low: float
    high: float

    @property
    def width(self) -> float:
        """Its length."""
        return self.high - self.low


@dataclass(frozen=True)
class Enumeration:
    """What a pair does, from all dialogues down to a threshold."""

    threshold: float
    """Branches less likely than this are open."""
    nodes: int
    """Nodes whose actions were computed."""
    seconds: float
    open: float
    """Probability of the branches left open."""
    success: Bounds
    rounds: Bounds
    """Expected rounds of talk; the upper end is infinite where talk may be."""
    cut: Bounds
    """Probability that a talk is cut at `max_rounds`."""
    closed_by_round: Reals
    """`[R + 1]` probability of the dialogues of so many rounds that were followed to their end."""


@dataclass(frozen=True)
class Nodes:
    """Places in the tree: dialogues that have begun, and what the agents remember of them."""

    mass: Reals
    """`[D]` probability, that of the twin included where there is one."""
    memory: torch.Tensor
    """float64 `[D, N, S]` before what is shown now."""
    phase: Ints
    """`[D]`"""
    n_rounds: Ints
    """`[D]`"""
    heard: Ints
    """int8 `[D, N, W, N]`"""
    tied: Bools
    """`[D]` whether nothing has told the agents apart."""
    cut: Bools
    """`[D]`"""

    def __len__(self) -> int:
        return len(self.mass)

    def __getitem__(self, which: Ints | Bools | slice) -> Nodes:
        rows = np.arange(len(self))[which]
        return Nodes(
            self.mass[rows], self.memory[torch.from_numpy(rows)], self.phase[rows], self.n_rounds[rows],
            self.heard[rows], self.tied[rows], self.cut[rows],
        )  # fmt: skip


class DialogueTree:
    """The tree of two agents that play the frozen `policy` against each other.

    Raises NotApplicable where the dialogues of a pair are not a tree of its actions alone: for other numbers of agents,
    populations, sequential speaking, channels that are random or remember, and games that show their agents anything
    or go on after the first moves.

    Parameters
    ----------
    policy : Policy
        One network for both, or one for each.
    rules : TalkRules
        Those of the run.
    make_game : callable
        The game.

    Examples
    --------
    `analysis.prove(analysis.DialogueTree(policy, rules, make_game), seconds=10)[-1].success`
    """

    def __init__(self, policy: Policy, rules: TalkRules, make_game: MakeGame) -> None:
        game = make_game(AT_ONCE, np.random.default_rng(0))
        _require_a_tree(policy, rules, game)
        self.rules = rules
        seats = [policy.seat(agent) for agent in range(2)]
        self._policies = [_in_float64(seat) for seat in dict.fromkeys(seats)]
        self.success = _success_by_moves(make_game)
        self.exchangeable = len(self._policies) == 1 and bool((self.success == self.success.T).all())
        self._talk = _Talk(game, rules)
        memory = [self._policies[agent % len(self._policies)].initial_memory(1).double() for agent in range(2)]
        self.root = self._talk.beginning(torch.stack(memory, dim=1), self.exchangeable)
        """Where all dialogues begin."""

    def act(self, nodes: Nodes) -> tuple[Reals, torch.Tensor]:
        """`[D, N, A]` the probability of each action, and `[D, N, S]` the memory that goes with it."""
        seen = self._talk.seen(nodes)
        inputs = self._policies[0].encode(seen).double().view(len(nodes), 2, -1)
        mask = torch.from_numpy(seen.mask)
        memory = torch.empty_like(nodes.memory)
        probabilities = np.empty((len(nodes), 2, seen.mask.shape[-1]))
        with torch.no_grad():
            for agents, policy in self._agents():
                kept = policy.remember(inputs[:, agents].flatten(0, 1), nodes.memory[:, agents].flatten(0, 1))
                chosen = policy.log_probs(kept, mask[:, agents].flatten(0, 1)).exp()
                memory[:, agents] = kept.view(len(nodes), len(agents), -1)
                probabilities[:, agents] = chosen.view(len(nodes), len(agents), -1).numpy()
        return probabilities, memory

    def legal(self, nodes: Nodes) -> Bools:
        """`[D, N, A]` which actions the rules allow."""
        return self._talk.seen(nodes).mask

    def _agents(self) -> Iterator[tuple[list[int], Policy]]:
        if len(self._policies) == 1:
            yield [0, 1], self._policies[0]
        else:
            yield from zip(([0], [1]), self._policies, strict=True)

    def said(self, nodes: Nodes, probabilities: Reals) -> Reals:
        """`[D, K, K]` the mass of each joint round of symbols; that of two moves, which end the talk, at SILENT."""
        kinds = self.rules.eot + 2
        each = np.concatenate(
            [probabilities[..., : kinds - 1], probabilities[..., kinds - 1 :].sum(axis=-1, keepdims=True)], axis=-1
        )
        joint = nodes.mass[:, None, None] * each[:, 0, :, None] * each[:, 1, None, :]
        twice = np.triu(np.full((kinds, kinds), 2.0), 1) + np.eye(kinds)
        return np.where(nodes.tied[:, None, None], joint * twice, joint)

    def children(self, nodes: Nodes, memory: torch.Tensor, mass: Reals, which: Bools) -> Nodes:
        """The nodes after the rounds marked in `which` `[D, K, K]`."""
        parent, own, other = np.nonzero(which)
        phase, n_rounds, heard, cut = self._talk.say(nodes, parent, np.stack([own, other], axis=1))
        return Nodes(
            mass[which], memory[torch.from_numpy(parent)], phase, n_rounds, heard,
            nodes.tied[parent] & (own == other), cut,
        )  # fmt: skip


def enumerate_dialogues(tree: DialogueTree, threshold: float) -> Enumeration:
    """All dialogues whose every beginning has at least the probability `threshold`."""
    begun, stack, nodes = time.perf_counter(), [tree.root], 0
    longest = tree.rules.max_rounds
    succeeded = cut_mass = open_mass = open_rounds = 0.0
    by_round = np.zeros(64)
    least = np.full((tree.rules.eot + 2, tree.rules.eot + 2), threshold)
    least[tree.rules.eot, tree.rules.eot] = threshold / CLOSED  # one more node, and nothing is left open
    while stack:
        batch = stack.pop()
        if len(batch) > AT_ONCE:
            stack.append(batch[AT_ONCE:])
            batch = batch[:AT_ONCE]
        nodes += len(batch)
        probabilities, memory = tree.act(batch)
        moves = probabilities[..., tree.rules.eot + 1 :]
        joint_moves = batch.mass[:, None, None] * moves[:, 0, :, None] * moves[:, 1, None, :]
        ended = joint_moves.sum(axis=(1, 2))  # in ACT everything, in OPEN the part of both moving
        succeeded += float((joint_moves * tree.success).sum())
        if (most := int(batch.n_rounds.max())) >= len(by_round):
            by_round = np.concatenate([by_round, np.zeros(max(len(by_round), most))])
        np.add.at(by_round, batch.n_rounds, ended)
        cut_mass += float(batch.mass[batch.cut].sum())
        talking = np.flatnonzero(batch.phase != ACT)
        if not len(talking):
            continue
        batch, memory = batch[talking], memory[torch.from_numpy(talking)]
        mass = tree.said(batch, probabilities[talking])
        mass[:, SILENT, SILENT] = 0
        followed = mass >= least
        left = np.where(followed, 0, mass).sum(axis=(1, 2))
        open_mass += float(left.sum())
        open_rounds += float((left * (batch.n_rounds + 1)).sum())
        if followed.any():
            stack.append(tree.children(batch, memory, mass, followed))
    rounds = float((by_round * np.arange(len(by_round))).sum())
    most_rounds = rounds + (open_mass * longest if longest else (np.inf if open_mass > 0 else 0.0))
    return Enumeration(
        threshold, nodes, time.perf_counter() - begun, open_mass,
        Bounds(max(succeeded - ROUNDING, 0.0), min(succeeded + open_mass + ROUNDING, 1.0)),
        Bounds(rounds + open_rounds - ROUNDING * 64, most_rounds + ROUNDING * 64),
        Bounds(cut_mass, cut_mass + open_mass),
        np.trim_zeros(by_round, "b"),
    )  # fmt: skip


# -- the rules of talk -------------------------------------------------------------------------------------------------


class _Talk(Negotiation):
    """The rules of talk at any place in the tree."""

    def __init__(self, game: Game, rules: TalkRules) -> None:
        super().__init__(game, rules, np.random.default_rng(0))
        self.reset()

    def beginning(self, memory: torch.Tensor, tied: bool) -> Nodes:
        """The one node from which all dialogues begin."""
        return Nodes(
            np.ones(1), memory, self.phase[:1].copy(), self.n_rounds[:1].copy(), self._heard[:1].copy(),
            np.array([tied]), np.zeros(1, np.bool_),
        )  # fmt: skip

    def _place(self, nodes: Nodes, rows: Ints) -> None:
        """Go to these nodes; the games that are not needed stand at the last one."""
        rows = np.concatenate([rows, np.full(self.n_games - len(rows), rows[-1])])
        self.phase[:], self.n_rounds[:] = nodes.phase[rows], nodes.n_rounds[rows]
        self._heard[:], self.cut[:] = nodes.heard[rows], False
        self._mask = None

    def seen(self, nodes: Nodes) -> Observation:
        """What the agents see."""
        self._place(nodes, np.arange(len(nodes)))
        seen, count = self.observe(), len(nodes)
        return Observation(seen.features[:count], seen.buffer[:count], seen.mask[:count])

    def say(self, nodes: Nodes, parent: Ints, symbols: Ints) -> tuple[Ints, Ints, Ints, Bools]:
        """Phase, rounds, buffers and whether it was cut after each of `symbols` `[D, N]`, SILENT for a move."""
        actions = np.where(symbols > self.rules.eot, self.rules.eot + 1, symbols)
        parts = []
        for start in range(0, len(parent), self.n_games):
            here = slice(start, start + self.n_games)
            self._place(nodes, parent[here])
            count = len(parent[here])
            chosen = np.concatenate([actions[here], np.repeat(actions[here][-1:], self.n_games - count, axis=0)])
            self.step(chosen)
            parts.append([a[:count].copy() for a in (self.phase, self.n_rounds, self._heard, self.cut)])
        phase, n_rounds, heard, cut = (np.concatenate(column) for column in zip(*parts, strict=True))
        return phase, n_rounds, heard, cut


def _require_a_tree(policy: Policy, rules: TalkRules, game: Game) -> None:
    """Raise NotApplicable where the dialogues are not a tree of the actions of two networks alone."""
    reasons = {
        "the game has other than two agents": game.n_agents != 2,
        "which networks of the population play is drawn": isinstance(policy, Population),
        "agents speak one after the other": rules.speaking != "simultaneous",
        f"what is heard over the channel {rules.channel!r} is not what was said": rules.channel not in ("open", "off"),
        "the game shows its agents something": len(game.feature_bounds[0]) > 0,
        "the game says who may speak or hear": hasattr(game, "may_speak") or hasattr(game, "hears"),
        "the game forbids moves": not game.legal_moves().all(),
    }
    for reason, holds in reasons.items():
        if holds:
            raise NotApplicable(f"the dialogues cannot be enumerated: {reason}")


def _success_by_moves(make_game: MakeGame) -> Reals:
    """`[M, M]` 1 where a joint move succeeds, 0 where it fails; each is played often, to see whether that is drawn."""
    n_moves = len(make_game(1, np.random.default_rng(0)).move_names)
    moves = np.tile(np.stack(np.divmod(np.arange(n_moves**2), n_moves), axis=1), (TRIALS, 1))
    game = make_game(len(moves), np.random.default_rng(0))
    game.reset(np.ones(len(moves), np.bool_))
    outcome = game.play(moves, np.arange(len(moves)))
    if not (outcome.terminated | outcome.truncated).all():
        raise NotApplicable("the dialogues cannot be enumerated: the game goes on after the first moves")
    if outcome.success is None:
        raise NotApplicable(NO_SUCCESS)
    first, *others = outcome.success.reshape(TRIALS, n_moves, n_moves)
    if (first != others).any():
        raise NotApplicable("the dialogues cannot be enumerated: what succeeds is drawn")
    return first.astype(np.float64)


def _in_float64(policy: Policy) -> Policy:
    """A copy of a network that computes in float64, on the CPU."""
    return copy.deepcopy(policy).cpu().double().eval()


def prove(
    tree: DialogueTree, seconds: float = 60.0, width: float = 1e-3, say: Callable[[Enumeration], None] = lambda e: None
) -> tuple[Enumeration, ...]:
    """Enumerate with ever lower thresholds, until the success is known to `width` or no time is left.

    Parameters
    ----------
    tree : DialogueTree
        The pair.
    seconds : float
        Time that all enumerations together may take, about (s): one is begun only if it is expected to end in time.
    width : float
        How narrow the interval for the success need be.
    say : callable
        Told each enumeration.

    Returns
    -------
    tuple of Enumeration
        One for each threshold; the last is the narrowest.

    Examples
    --------
    `analysis.prove(analysis.DialogueTree(policy, rules, make_game))[-1].success`
    """
    done: list[Enumeration] = []
    threshold, spent = 1e-3, 0.0
    while True:
        done.append(enumerate_dialogues(tree, threshold))
        say(done[-1])
        spent += done[-1].seconds
        if done[-1].success.width <= width or done[-1].open == 0:
            return tuple(done)
        factor = 10.0
        if len(done) > 1:
            last, before = done[-1], done[-2]
            lower = np.log(before.threshold / last.threshold)
            slower = max(np.log(last.nodes / before.nodes) / lower, 0.1)
            narrower = max(np.log(before.success.width / last.success.width) / lower, 0.05)
            rate = last.nodes / max(last.seconds, 1e-3)
            possible = max(seconds - spent, 0.0) * rate / last.nodes  # times as many nodes as there is time for
            if (affordable := min(10.0, possible ** (1 / slower))) < LEAST_STEP:
                return tuple(done)
            needed = 1.1 * (last.success.width / width) ** (1 / narrower)
            factor = min(affordable, max(needed, LEAST_STEP))
        threshold /= factor
