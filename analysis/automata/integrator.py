"""The family of integrators: a running score of what was said, of which vote and first difference are the two ends.

Each round adds to the score what the agent said less what the other said, by weights. What a member may have beside
the weights: the first round in which the weights differ counts `first` times; steps shrink as the score grows
(`diminish`); the score stays within `highest`; and it is forgotten by a share each round (`keep`). Whoever has the
larger score at the end yields. With first = 1 and nothing else it is a vote, with first → ∞ a first difference.

Axes: `D` dialogue, `R` round, `K` symbol kinds (tokens, EOT, and last SILENT), `S` state.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from analysis.automata.automaton import Automaton
from analysis.data.decisions import Decisions, Scores
from envs.game import Bools, Floats, Ints

Extra = Literal["first", "diminish", "highest", "keep"]
MEMBERS: dict[str, tuple[Extra, ...]] = {
    "vote, first round counts more": ("first",),
    "vote with diminishing steps": ("diminish",),
    "vote with saturation": ("highest",),
    "vote with leak": ("keep",),
    "vote, first round more, diminishing steps": ("first", "diminish"),
    "vote, first round more, saturation": ("first", "highest"),
    "vote, first round more, leak": ("first", "keep"),
    "vote with everything": ("first", "diminish", "highest", "keep"),
}
"""Name -> what it has beside the weights; a vote has none of them."""
TIE = 1e-6
"""Scores nearer to 0 than this are even."""
MOST_TARGETS, LONG, ENOUGH = 6_000, 12, 500
"""Dialogues on which a member is fitted, at most; those of more rounds are left out where so many others are there."""
LEVELS = 100
"""Steps of the score in a machine, on each side of 0."""


@dataclass(frozen=True)
class Integrator:
    """A member of the family."""

    name: str
    weights: Floats
    """`[K]` centred; in units in which the largest difference of two is 1."""
    slope: float
    """Log-odds for each unit of the score."""
    first: float = 1.0
    """How many times the first round counts in which the two weights differ."""
    diminish: float = 0.0
    """A step is divided by 1 + diminish · |score|."""
    highest: float = np.inf
    """The score stays between -highest and highest."""
    keep: float = 1.0
    """Share of the score that is left after each round."""

    @property
    def n_parameters(self) -> int:
        """Weights of tokens and EOT but one (their mean is nothing), and what is beside them; the slope is a unit."""
        return len(self.weights) - 2 + len(MEMBERS.get(self.name, ()))

    def course(self, symbols: Ints, n_rounds: Ints) -> Scores:
        """`[D, R + 1]` the score of agent 0 of the dialogues `[D, R, 2]` before each round and after the last."""
        score = np.zeros((len(symbols), symbols.shape[1] + 1))
        begun = np.zeros(len(symbols), np.bool_)
        weights = self.weights.astype(np.float64)
        for t in range(symbols.shape[1]):
            step = weights[symbols[:, t, 0]] - weights[symbols[:, t, 1]]
            after = self.after(score[:, t], step, begun)
            spoken = t < n_rounds
            begun |= spoken & (np.abs(step) > TIE)
            score[:, t + 1] = np.where(spoken, after, score[:, t])
        return score

    def after(self, score: Scores, step: Scores, begun: Bools) -> Scores:
        """The score after a step; `begun` where one that is not 0 has gone before."""
        counted = np.where(begun, step, self.first * step) / (1 + self.diminish * np.abs(score))
        return np.clip(self.keep * score + counted, -self.highest, self.highest)

    def scores(self, symbols: Ints, n_rounds: Ints) -> Scores:
        final = self.course(symbols, n_rounds)[:, -1]
        return np.where(np.abs(final) < TIE, 0.0, final)

    # -- as a machine --------------------------------------------------------------------------------------------------

    @property
    def unit(self) -> float:
        """What one level of the machine's score is worth."""
        largest = float(np.ptp(self.weights)) * max(self.first, 1.0)
        return min(self.highest, 4.0 * max(largest, 1e-9)) / LEVELS

    def automaton(self) -> Automaton:
        """The score in `LEVELS` steps on each side, and beside it the tie before the first difference.

        State 0 is that tie; state 1 + LEVELS + v is the level v, reached after a difference.
        """
        weights = self.weights.astype(np.float64)
        step = weights[:, None] - weights[None, :]
        level = np.arange(-LEVELS, LEVELS + 1)
        begun = np.concatenate([[False], np.ones(len(level), np.bool_)])
        score = np.concatenate([[0.0], level * self.unit])
        moved = self.after(score[:, None, None], step[None], begun[:, None, None])
        nearest = np.round(moved / self.unit).clip(-LEVELS, LEVELS).astype(np.int64)
        away = np.where((nearest == 0) & (np.abs(moved) > TIE), np.sign(moved).astype(np.int64), nearest)
        transition = 1 + LEVELS + away
        transition[0] = np.where(np.abs(step) > TIE, transition[0], 0)
        labels = ("tied", *(f"score {v * self.unit:+.3f}" for v in level))
        return Automaton(labels, transition)

    def leanings(self) -> Ints:
        """`[S]` as `analysis.automata.decision_rules.Rule` has it."""
        return np.concatenate([[0], np.sign(np.arange(-LEVELS, LEVELS + 1))])


# -- fitting -----------------------------------------------------------------------------------------------------------


class Targets(NamedTuple):
    """Dialogues with what is to be told of them: `[D, R, 2]`, `[D]`, and `[D]` the probability that agent 0 yields."""

    symbols: Ints
    n_rounds: Ints
    yields: Scores

    def of(self, rows: Ints) -> Targets:
        """Some of them."""
        return Targets(self.symbols[rows], self.n_rounds[rows], self.yields[rows])

    def few(self, most: int = MOST_TARGETS) -> Targets:
        """At most `most` of them, without the longest where there are enough that are shorter."""
        rows = np.random.default_rng(0).permutation(len(self.n_rounds))
        short = rows[self.n_rounds[rows] <= LONG]
        chosen = self.of((short if len(short) >= ENOUGH else rows)[:most])
        return chosen._replace(symbols=chosen.symbols[:, : max(int(chosen.n_rounds.max(initial=1)), 1)])


def targets_of(decided: Decisions) -> Targets:
    """The dialogues that parted, and who yielded in them."""
    parted = decided[decided.parted]
    return Targets(parted.symbols, parted.n_rounds, (parted.moves[:, 0] == 1).astype(np.float64))


def fit_integrator(name: str, targets: Targets, n_kinds: int, start: Integrator | None = None) -> Integrator:
    """The member of this name that tells the targets with the least cross-entropy (L-BFGS)."""
    import torch
    from scipy.optimize import minimize

    extras = MEMBERS.get(name, ())
    targets = targets.few()
    if start is None and extras:
        start = fit_integrator("vote", targets, n_kinds)
    if not len(targets.n_rounds):
        return Integrator(name, np.zeros(n_kinds, np.float32), 1.0)
    kinds = torch.from_numpy(targets.symbols.astype(np.int64) % n_kinds)
    spoken = torch.from_numpy(np.arange(targets.symbols.shape[1]) < targets.n_rounds[:, None])
    wanted = torch.from_numpy(np.asarray(targets.yields, np.float64))

    def split(values: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        return values[:n_kinds] - values[:n_kinds].mean(), dict(zip(extras, values[n_kinds:].exp(), strict=True))

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        free = torch.from_numpy(values).requires_grad_()
        weights, extra = split(free)
        score = _course(weights, extra, kinds, spoken)
        error = torch.nn.functional.binary_cross_entropy_with_logits(score, wanted)
        error = error + 1e-6 * free.square().sum()
        error.backward()
        assert free.grad is not None
        return float(error.detach()), free.grad.numpy().copy()

    begin = np.zeros(n_kinds) if start is None else start.weights.astype(np.float64) * start.slope
    high = np.log(max(1.5 * np.ptp(begin), 1.5))
    starts = {"first": np.log(1.5), "diminish": np.log(0.1), "highest": high, "keep": -0.05}
    given = np.concatenate([begin, [starts[extra] for extra in extras]])
    ends: dict[str, tuple[float, float]] = {
        "first": (-1, 4),
        "diminish": (-9, 3),
        "highest": (-2, 6),
        "keep": (-3, 0.3),
    }
    bounds = [(-30.0, 30.0)] * n_kinds + [ends[extra] for extra in extras]
    best = minimize(loss, given, jac=True, method="L-BFGS-B", bounds=bounds, options={"maxiter": 150}).x
    weights, extra = split(torch.from_numpy(best))
    slope = float(weights.max() - weights.min()) or 1.0
    fitted: dict[str, Any] = {key: float(value) for key, value in extra.items()}
    if "diminish" in fitted:
        fitted["diminish"] *= slope
    if "highest" in fitted:
        fitted["highest"] /= slope
    return Integrator(name, (weights.numpy() / slope).astype(np.float32), slope, **fitted)


def _course(weights: Any, extra: dict[str, Any], kinds: Any, spoken: Any) -> Any:
    """`[D]` the final score, in log-odds, so that it can be differentiated."""
    import torch

    score = torch.zeros(len(kinds), dtype=torch.float64)
    begun = torch.zeros(len(kinds), dtype=torch.bool)
    steps = weights[kinds[..., 0]] - weights[kinds[..., 1]]
    for t in range(kinds.shape[1]):
        step = steps[:, t]
        counted = torch.where(begun, step, extra["first"] * step) if "first" in extra else step
        if "diminish" in extra:
            counted = counted / (1 + extra["diminish"] * score.abs())
        after = (extra["keep"] * score if "keep" in extra else score) + counted
        if "highest" in extra:
            after = after.clamp(-extra["highest"], extra["highest"])
        begun = begun | (spoken[:, t] & (kinds[:, t, 0] != kinds[:, t, 1]))
        score = torch.where(spoken[:, t], after, score)
    return score


def cross_entropy(rule: Integrator, targets: Targets) -> Scores:
    """`[D]` the rule's loss at each target (nats)."""
    logits = rule.slope * rule.course(targets.symbols, targets.n_rounds)[:, -1]
    return np.logaddexp(0, logits) - targets.yields * logits
