"""A few running numbers that feed each other: the smallest recurrent network that decides like a large one.

After each round h ← tanh(A h + W[own symbol] - W[other's]); whoever has the larger readout o · h yields. Exchanging the
two agents changes every sign and nothing else, so the rule is antisymmetric by its form. An integrator is one such
number; two can tell how much was said from when it was said, which no single score can.

Axes: `D` dialogue, `R` round, `K` symbol kinds (tokens, EOT, and last SILENT), `U` number, `S` state.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from analysis.automata.automaton import Automaton
from analysis.automata.integrator import TIE, Targets, fit_integrator
from analysis.data.decisions import Scores
from envs.game import Ints

MOST_TARGETS, STEPS = 40_000, 400
"""Dialogues on which the numbers are fitted, and steps of the search, at most."""
CELLS = 400
"""States of the machine beside the tie: so many cells of the memory are told apart."""
RIDGE = 1e-5
"""Weight of the parameters' squares in the loss."""


@dataclass(frozen=True)
class RunningNumbers:
    """A recurrent network of `U` units."""

    weights: Scores
    """`[K, U]` what a symbol adds to each number: of tokens and EOT the mean is 0, and silence adds nothing."""
    coupling: Scores
    """`[U, U]` what each number (row) gets of the others (column) in the next round."""
    readout: Scores
    """`[U]` log-odds to yield for each number, at least 0; the largest first."""
    seen: Scores = field(repr=False)
    """`[·, U]` the numbers in the course of the dialogues of the fit, of which the cells of the machine are made."""

    def __len__(self) -> int:
        return len(self.readout)

    @property
    def n_parameters(self) -> int:
        """Weights of tokens and EOT but one, coupling and readout."""
        return len(self) * (len(self.weights) - 2 + len(self) + 1)

    @property
    def effect(self) -> Scores:
        """`[K]` what a symbol of the first round adds to the readout one round later, as long as nothing saturates;
        in units in which the largest difference of two is 1."""
        effect = self.weights @ self.coupling.T @ self.readout
        return np.asarray(effect / max(float(np.ptp(effect[:-1])), 1e-9))

    def after(self, memory: Scores, steps: Scores) -> Scores:
        """`[·, U]` the numbers after a round that adds `steps` to them."""
        return np.asarray(np.tanh(memory @ self.coupling.T + steps))

    def course(self, symbols: Ints, n_rounds: Ints) -> Scores:
        """`[D, R + 1, U]` the numbers of agent 0 before each round of the dialogues `[D, R, 2]`, and after the last."""
        memory = np.zeros((len(symbols), symbols.shape[1] + 1, len(self)))
        for t in range(symbols.shape[1]):
            moved = self.after(memory[:, t], self.weights[symbols[:, t, 0]] - self.weights[symbols[:, t, 1]])
            memory[:, t + 1] = np.where((t < n_rounds)[:, None], moved, memory[:, t])
        return memory

    def scores(self, symbols: Ints, n_rounds: Ints) -> Scores:
        """`[D]` as `analysis.automata.decision_rules.Rule` has it."""
        final = self.course(symbols, n_rounds)[:, -1] @ self.readout
        return np.where(np.abs(final) < TIE, 0.0, final)

    # -- as a machine --------------------------------------------------------------------------------------------------

    @cached_property
    def cells(self) -> Scores:
        """`[S, U]` the tie, then the middles of cells of the memory (k-means), and their mirror images."""
        from sklearn.cluster import MiniBatchKMeans

        moved = self.seen[np.abs(self.seen).max(axis=1, initial=0) > TIE]
        both = np.concatenate([moved, -moved])
        count = min(CELLS // 2, len(np.unique(both.round(6), axis=0)))
        if not count:
            return np.zeros((1, len(self)))
        middles = MiniBatchKMeans(count, random_state=0, n_init=1).fit(both).cluster_centers_
        return np.concatenate([np.zeros((1, len(self))), middles, -middles])

    def automaton(self) -> Automaton:
        """The memory in cells: from the middle of each, whose nearest follows. Coarser than the rule itself."""
        from scipy.spatial import cKDTree

        cells, kinds = self.cells, len(self.weights)
        own, other = np.divmod(np.arange(kinds * kinds), kinds)
        steps = self.weights[own] - self.weights[other]
        moved = self.after(cells[:, None], steps)
        nearest = cKDTree(cells).query(moved.reshape(-1, len(self)))[1].astype(np.int64)
        leans = cells[1:] @ self.readout
        labels = ("tied", *(f"{i}: leans {lean:+.1f}" for i, lean in enumerate(leans, 1)))
        return Automaton(labels, nearest.reshape(-1, kinds, kinds))

    def leanings(self) -> Ints:
        """`[S]` as `analysis.automata.decision_rules.Rule` has it."""
        return np.sign(self.cells @ self.readout).astype(np.int64)


# -- fitting -----------------------------------------------------------------------------------------------------------


def fit_numbers(units: int, targets: Targets, n_kinds: int) -> RunningNumbers:
    """The `units` (at least 2) numbers that tell the targets with the least cross-entropy."""
    return next(found for found in grow_numbers(targets, n_kinds) if len(found) == units)


def grow_numbers(targets: Targets, n_kinds: int) -> Iterator[RunningNumbers]:
    """Two numbers, then three, and so on, that tell the targets with the least cross-entropy (L-BFGS).

    Two begin as a running score and a decision that adds it up; each further one is added to those that were found.
    """
    targets = targets.few(MOST_TARGETS)
    score = fit_integrator("vote", targets, n_kinds).weights.astype(np.float64)
    weights, coupling = np.stack([0.3 * score, 0.05 * score], axis=1), np.array([[1.3, 8.0], [0.0, 0.75]])
    readout, rng = np.array([8.0, 5.0]), np.random.default_rng(0)
    while True:
        if len(targets.n_rounds):
            weights, coupling, readout = _descend(weights, coupling, readout, targets)
        yield _ordered(weights, coupling, readout, targets.few())
        weights = np.pad(weights, ((0, 0), (0, 1)))
        weights[:, -1] = 0.3 * np.abs(weights).max() * rng.standard_normal(n_kinds)
        coupling = np.pad(coupling, (0, 1)) + 0.1 * rng.standard_normal((len(readout) + 1,) * 2)
        coupling[-1, -1] += 0.5
        readout = np.append(readout, rng.standard_normal())


def _ordered(weights: Scores, coupling: Scores, readout: Scores, targets: Targets) -> RunningNumbers:
    """The same numbers with weights centred and the largest readout first, none below 0."""
    weights = weights - weights[:-1].mean(axis=0)  # only differences are fitted, and of silence nothing is
    weights[-1] = 0.0
    sign = np.where(readout < 0, -1.0, 1.0)
    order = np.argsort(-np.abs(readout), kind="stable")
    fed = (sign[:, None] * coupling * sign)[np.ix_(order, order)]
    found = RunningNumbers((weights * sign)[:, order], fed, (readout * sign)[order], np.zeros((0, len(order))))
    heard = np.arange(1, targets.symbols.shape[1] + 1) <= targets.n_rounds[:, None]
    return replace(found, seen=found.course(targets.symbols, targets.n_rounds)[:, 1:][heard])


def _descend(weights: Any, coupling: Any, readout: Any, targets: Targets) -> tuple[Any, Any, Any]:
    """Weights, coupling and readout of the least loss, from those given."""
    import torch
    from scipy.optimize import minimize

    order = np.argsort(-targets.n_rounds, kind="stable")  # the longest first: those that are over need not be followed
    n_rounds, (n_kinds, units) = targets.n_rounds[order], weights.shape
    kinds = targets.symbols[order].astype(np.int64) % n_kinds
    pair = torch.from_numpy(np.ascontiguousarray((kinds[..., 0] * n_kinds + kinds[..., 1]).T))
    left = [int((n_rounds > t).sum()) for t in range(len(pair))]
    wanted = torch.from_numpy(np.asarray(targets.yields, np.float32)[order])
    sizes = weights.size, coupling.size, readout.size

    def split(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        said, fed, told = values.split(sizes)
        said = said.view(n_kinds, units)
        return said - said.mean(dim=0), fed.view(units, units), told

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        free = torch.from_numpy(values.astype(np.float32)).requires_grad_()
        said, fed, told = split(free)
        steps = (said[:, None] - said[None]).flatten(0, 1)
        memory, over = torch.zeros(len(wanted), units), []
        for heard, still in zip(pair, left, strict=True):
            over.append(memory[still:])
            memory = torch.tanh(torch.addmm(steps[heard[:still]], memory[:still], fed.T))
        memory = torch.cat([memory, *reversed(over)])
        error = torch.nn.functional.binary_cross_entropy_with_logits(memory @ told, wanted)
        error = error + RIDGE * free.square().sum()
        error.backward()
        assert free.grad is not None
        return float(error.detach()), free.grad.numpy().astype(np.float64)

    begin = np.concatenate([part.ravel() for part in (weights, coupling, readout)])
    options = {"maxiter": STEPS, "maxfun": STEPS + 100, "maxcor": 20}
    best = minimize(loss, begin, jac=True, method="L-BFGS-B", options=options).x
    return tuple(part.numpy() for part in split(torch.from_numpy(best)))  # type: ignore[return-value]
