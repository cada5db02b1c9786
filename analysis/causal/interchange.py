"""Interchange interventions: does a network's memory carry a rule's variable, and does the network use it?

Two dialogues, a base and a source, are heard up to some round. Then a part of the memory of the agent that heard the
base is replaced by that part of the other's, and the base goes on to its end. A rule says what must come of it: it
decides as after the source's first rounds, followed by the base's last ones. Where that differs from the base's own
decision the move must flip, elsewhere it must stay (Geiger et al. 2021).

The part is a direction (or a few) of the memory, found by distributed alignment search (Geiger et al. 2024): the one
that makes most pairs do as the rule says, on pairs of its own. Beside it stand what must fail if the claim is right,
and what bounds it: a random direction, the first principal component, a linear probe, and the whole memory. A probe
may decode the variable although the network does not use the direction that it reads: decoding is not use.

Axes: `P` pair, `R` round, `I` input, `S` memory, `k` direction.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from analysis.agents.policy_player import Tape, tape_of
from analysis.agents.random_queries import random_dialogues
from analysis.data.decisions import NotApplicable, Scores
from emcomm.networks.policy import Policy
from emcomm.statistics import Rate, rate
from envs.game import Bools, Floats, Ints
from envs.negotiation import TalkRules

RuleScores = Callable[[Ints, Ints], Scores]
"""Dialogues `[D, R, 2]` and rounds `[D]` -> `[D]` above 0 where agent 0 is to yield, 0 where undecided."""

PAIRS = 2_000
"""Pairs to fit a direction on, and as many fresh ones to score it on."""
STEPS, AT_ONCE = 100, 256
"""Steps of the search, and pairs in each."""
LONGEST = 8
"""Rounds of the pairs, at most, where there are such: the search goes through each of them."""


class Pairs(NamedTuple):
    """Base and source, heard up to a round."""

    base: Tape
    source: Tape
    at: Ints
    """`[P]` rounds heard before the intervention; at least 1, and less than the base has."""
    expected: Bools
    """`[P]` whether agent 0 is to yield after it, by the rule."""
    flips: Bools
    """`[P]` whether that differs from the base's own decision, by the rule."""
    variable: Scores
    """`[P, 2]` the rule's score of base and source at that round."""


@dataclass(frozen=True)
class Intervention:
    """What became of the pairs when one part of the memory was replaced."""

    part: str
    directions: int
    flips: Rate
    """Of the pairs that must flip, those that did."""
    stays: Rate
    """Of the pairs that must stay, those that did."""
    by_round: tuple[Rate, ...]
    """Flips after 1, 2, … rounds."""
    r2: float = float("nan")
    """How well the part tells the rule's score, by a line (share of its variance); NaN where that was not looked at."""


@dataclass(frozen=True)
class Interchange:
    """The direction that carries a rule's variable, and what stands beside it."""

    rule: str
    interventions: tuple[Intervention, ...]
    direction: Floats
    """`[S, k]` orthonormal; of an automaton, nothing."""
    steering: tuple[tuple[float, float], ...]
    """Push along the first direction (standard deviations of the memory along it) -> mean probability to yield."""

    def of(self, part: str) -> Intervention:
        """One of the interventions."""
        return next(one for one in self.interventions if one.part == part)

    @property
    def accuracy(self) -> float:
        """Of the pairs that must flip, those that did when the direction (of an automaton: the state) was replaced."""
        return self.interventions[0].flips.value

    def to_frame(self) -> pd.DataFrame:
        """One row for each part."""
        rows = []
        for one in self.interventions:
            rounds = {f"after round {i}": r.value for i, r in enumerate(one.by_round, 1) if r.trials}
            rows.append({
                "part": one.part, "directions": one.directions, "flips": one.flips.value, "flips_low": one.flips.low,
                "flips_high": one.flips.high, "must_flip": one.flips.trials, "stays": one.stays.value,
                "must_stay": one.stays.trials, "r2": one.r2, **rounds,
            })  # fmt: skip
        return pd.DataFrame(rows)


def interchange(
    policy: Policy, rules: TalkRules, name: str, scores: RuleScores, lengths: Ints, eot_share: float, seed: int = 0,
    pairs: int = PAIRS, directions: int = 1,
) -> Interchange:  # fmt: skip
    """Find the direction that carries a rule's variable, and score it on fresh pairs.

    Parameters
    ----------
    policy : Policy
        One network for all agents, with a memory: others raise NotApplicable.
    rules : TalkRules
        Those of the run, with simultaneous speaking.
    name : str
        What the rule is called.
    scores : callable
        The rule.
    lengths : array `[·]`
        Rounds of the dialogues, of which those of the pairs are drawn.
    eot_share : float
        How often EOT is said before the last round.
    seed, pairs, directions : int
        What fixes the randomness, how many pairs, and of how many dimensions the part is.

    Returns
    -------
    Interchange
        `interventions` by part, `direction` and `steering`.

    Examples
    --------
    `analysis.interchange(policy, rules, "vote", rule.scores, table.n_rounds, 0.1).accuracy`
    """
    if not policy.recurrent:
        raise NotApplicable("the network keeps no memory from round to round, so none can be exchanged")
    fitting, scoring = (
        _pairs(
            policy, rules, scores,
            _draw(scores, rules.n_tokens, lengths, eot_share, pairs, np.random.default_rng([seed, i])),
        )
        for i in (1, 2)
    )  # fmt: skip
    memories = _memories(policy, fitting.base, fitting.at).flatten(0, 1)
    variable = np.concatenate([fitting.variable[:, 0], -fitting.variable[:, 0]])
    probe, r2 = _probe(memories, variable)
    torch.manual_seed(seed)
    size = memories.shape[1]
    parts = {
        "direction": _search(policy, fitting, directions, probe),
        "linear probe": probe,
        "first principal component": torch.linalg.svd(memories - memories.mean(dim=0), full_matrices=False)[2][:1].T,
        "random direction": torch.linalg.qr(torch.randn(size, directions))[0],
        "whole memory": torch.eye(size),
    }
    interventions = tuple(
        _intervened(policy, scoring, part, basis, r2 if part == "linear probe" else float("nan"))
        for part, basis in parts.items()
    )
    steering = _steer(policy, scoring, parts["direction"], memories)
    return Interchange(name, interventions, parts["direction"].numpy(), steering)


def spliced_machine(
    answers: Callable[[Ints, Ints], Floats], n_tokens: int, name: str, scores: RuleScores, lengths: Ints,
    eot_share: float, pairs: int,
) -> Interchange:  # fmt: skip
    """The same for an automaton, whose memory is its state: to exchange that is to exchange the first rounds."""
    drawn = _draw(scores, n_tokens, lengths, eot_share, pairs, np.random.default_rng([0, 2]))
    yields = answers(drawn.spliced, drawn.n_rounds)
    done = (yields[:, 0] > yields[:, 1]) == drawn.expected
    whole = _intervention("whole memory", 1, done, drawn.flips, drawn.at, float("nan"))
    return Interchange(name, (whole,), np.zeros((0, 0), np.float32), ())


# -- pairs -------------------------------------------------------------------------------------------------------------


class _Drawn(NamedTuple):
    """Random dialogues for pairs."""

    base: Ints
    """int8 `[P, R, 2]`"""
    source: Ints
    spliced: Ints
    """The source up to `at`, the base from there on."""
    n_rounds: Ints
    """`[P]` of base and source alike."""
    at: Ints
    expected: Bools
    flips: Bools


def _draw(
    scores: RuleScores, n_tokens: int, lengths: Ints, eot_share: float, count: int, rng: np.random.Generator
) -> _Drawn:
    """Pairs of random dialogues, half of which must flip as far as there are such; undecided ones are left out."""
    usable = lengths[lengths >= 3]
    if not len(usable):
        raise NotApplicable("no dialogue is longer than two rounds, so no memory stands between two rounds of content")
    usable = usable[usable <= max(LONGEST, usable.min())]
    base, n_rounds = random_dialogues(rng.choice(usable, 6 * count), n_tokens, eot_share, rng)
    source, _ = random_dialogues(n_rounds, n_tokens, eot_share, rng)
    at = rng.integers(1, n_rounds - 1)
    early = (np.arange(base.shape[1]) < at[:, None])[..., None]
    spliced = np.where(early, source, base)
    own, after = scores(base, n_rounds), scores(spliced, n_rounds)
    decided, flips = (own != 0) & (after != 0), np.sign(own) != np.sign(after)
    half = count // 2
    chosen = np.concatenate([np.flatnonzero(decided & flips)[:half], np.flatnonzero(decided & ~flips)[:half]])
    if not len(chosen):
        raise NotApplicable("the rule decides nothing")
    return _Drawn(
        base[chosen], source[chosen], spliced[chosen], n_rounds[chosen], at[chosen], after[chosen] > 0, flips[chosen]
    )


def _pairs(policy: Policy, rules: TalkRules, scores: RuleScores, drawn: _Drawn) -> Pairs:
    """The pairs as a network sees them."""
    base, source = (tape_of(policy, rules, said, drawn.n_rounds) for said in (drawn.base, drawn.source))
    variable = np.stack([scores(said, drawn.at) for said in (drawn.base, drawn.source)], axis=1)
    return Pairs(base, source, drawn.at, drawn.expected, drawn.flips, variable)


def _memories(policy: Policy, tape: Tape, at: Ints) -> torch.Tensor:
    """`[2, P, S]` what each agent remembers after `at` rounds."""
    with torch.no_grad():
        return tape.run(policy, until=at)


# -- intervening -------------------------------------------------------------------------------------------------------


def _decisions(
    policy: Policy, pairs: Pairs, basis: torch.Tensor, states: tuple[torch.Tensor, torch.Tensor]
) -> torch.Tensor:
    """`[P]` log-odds that agent 0 yields less agent 1's, after the part in `basis` `[S, k]` was replaced in both."""
    own, other = states
    changed = own + (other - own) @ basis @ basis.T
    odds = pairs.base.odds(policy, pairs.base.run(policy, start=pairs.at, memory=changed))
    return odds[0] - odds[1]


def _search(policy: Policy, pairs: Pairs, directions: int, start: torch.Tensor) -> torch.Tensor:
    """`[S, k]` the directions that make most pairs do as the rule says (Adam on the cross-entropy)."""
    states = _memories(policy, pairs.base, pairs.at), _memories(policy, pairs.source, pairs.at)
    wanted = torch.from_numpy(pairs.expected.astype(np.float32))
    begin = torch.cat([start, torch.randn(len(start), directions - 1) / len(start) ** 0.5], dim=1)
    free = begin.clone().requires_grad_()
    optimiser = torch.optim.Adam([free], lr=0.03)
    order = torch.randperm(len(wanted))
    for step in range(STEPS):
        some = order[torch.arange(step * AT_ONCE, step * AT_ONCE + min(AT_ONCE, len(order))) % len(order)]
        chosen = pairs._replace(base=pairs.base[some], at=pairs.at[some.numpy()])
        odds = _decisions(policy, chosen, torch.linalg.qr(free)[0], (states[0][:, some], states[1][:, some]))
        loss = torch.nn.functional.binary_cross_entropy_with_logits(odds.clamp(-8, 8), wanted[some])
        optimiser.zero_grad()
        loss.backward()
        if free.grad is not None and free.grad.isfinite().all():
            optimiser.step()
    ends = [torch.linalg.qr(end.detach())[0] for end in (free, begin)]
    with torch.no_grad():
        wrong = [((_decisions(policy, pairs, end, states) > 0) != (wanted > 0)).float().mean().item() for end in ends]
    return ends[int(np.argmin(wrong))]


def _intervened(policy: Policy, pairs: Pairs, part: str, basis: torch.Tensor, r2: float) -> Intervention:
    states = _memories(policy, pairs.base, pairs.at), _memories(policy, pairs.source, pairs.at)
    with torch.no_grad():
        yields = (_decisions(policy, pairs, basis, states) > 0).numpy()
    return _intervention(part, basis.shape[1], yields == pairs.expected, pairs.flips, pairs.at, r2)


def _intervention(part: str, directions: int, done: Bools, must_flip: Bools, at: Ints, r2: float) -> Intervention:
    """What became of pairs, of which those in `done` `[P]` did as the rule says."""
    by_round = tuple(
        rate(int(done[chosen].sum()), int(chosen.sum()))
        for t in range(1, int(at.max()) + 1)
        for chosen in [must_flip & (at == t)]
    )
    flips, stays = (rate(int(done[chosen].sum()), int(chosen.sum())) for chosen in (must_flip, ~must_flip))
    return Intervention(part, directions, flips, stays, by_round, r2)


def _probe(memories: torch.Tensor, variable: Scores) -> tuple[torch.Tensor, float]:
    """`[S, 1]` the direction from which a line reads the variable best (ridge), and its share of the variance."""
    wanted = torch.from_numpy(variable.astype(np.float32))
    centred = memories - memories.mean(dim=0)
    gram = centred.T @ centred + 1e-3 * len(centred) * torch.eye(centred.shape[1])
    line = torch.linalg.solve(gram, centred.T @ (wanted - wanted.mean()))
    left = wanted - wanted.mean() - centred @ line
    r2 = 1 - float(left.square().sum() / (wanted - wanted.mean()).square().sum().clamp(min=1e-12))
    return (line / line.norm().clamp(min=1e-12))[:, None], r2


def _steer(
    policy: Policy, pairs: Pairs, basis: torch.Tensor, memories: torch.Tensor, steps: int = 9
) -> tuple[tuple[float, float], ...]:
    """Push the memory of both along the first direction, before the base goes on: how likely they are to yield."""
    direction = basis[:, 0]
    spread = float((memories @ direction).std())
    own = _memories(policy, pairs.base, pairs.at)
    curve = []
    with torch.no_grad():
        for push in np.linspace(-3, 3, steps):
            odds = pairs.base.odds(
                policy, pairs.base.run(policy, start=pairs.at, memory=own + float(push) * spread * direction)
            )
            curve.append((float(push), float(torch.sigmoid(odds).mean())))
    low, high = curve[0][1], curve[-1][1]
    return tuple(curve) if high >= low else tuple((-push, value) for push, value in reversed(curve))
