"""The dialogues that a report carries: a sample, what the network would have done after each round, all of it packed.

Axes: `D` dialogue, `R` round, `N` agent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.data.canonical_view import orient
from analysis.data.decisions import NotApplicable
from analysis.data.runs import TrainedPolicy
from analysis.metrics.decision_predictor import held_out
from analysis.metrics.mutual_information import known_at
from emcomm.dialogues import DialogueTable, LogFacts
from envs.game import Declaration, Floats, Ints
from envs.negotiation import SILENT

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_" + "".join(map(chr, range(256, 320)))
"""A character for each of 128 values; none of them needs an escape in JSON or HTML."""
LEVELS = 63
"""Steps in which a probability is packed."""
SURE = 0.9
"""Probability from which a decision counts as taken."""
UNKNOWN = -1


@dataclass(frozen=True)
class Excerpt:
    """Some dialogues of a log."""

    title: str
    """Where they come from, for the reader."""
    of: int
    """Dialogues in the log."""
    table: DialogueTable
    yielding: Floats | None
    """`[D, R + 1, N]` probability of the last move, had the talk been cut after that many rounds; None: no network."""
    decided: Ints
    """`[D]` rounds after which the decision stands; -1 where it never does, or nobody knows."""


def excerpt(
    title: str, of: int, table: DialogueTable, facts: LogFacts, trained: TrainedPolicy | None, budget: int,
    game: Declaration,
) -> Excerpt:  # fmt: skip
    """The dialogues of `table`, as far as their symbols stay within `budget` characters."""
    table = within(table, budget)
    yielding = None
    if trained is not None and len(facts.move_names) == 2:
        try:
            yielding = yielding_by_round(trained, table, game)
        except NotApplicable:
            yielding = None
    if yielding is not None:
        decided = decided_by_network(yielding, table.n_rounds)
    else:
        decided = decided_by_log(table, facts if game.decision("yields") else None)
    return Excerpt(title, of, table, yielding, decided)


def within(table: DialogueTable, budget: int, seed: int = 0) -> DialogueTable:
    """Dialogues of `table`, drawn evenly, that take at most `budget` cells (rounds × agents), in their order."""
    order = np.random.default_rng(seed).permutation(len(table))
    cells = np.cumsum((table.n_rounds[order] + 1) * table.moves.shape[1])
    return table[np.sort(order[cells <= budget])]


def yielding_by_round(trained: TrainedPolicy, table: DialogueTable, game: Declaration) -> Floats:
    """float32 `[D, R + 1, N]` what each agent would do if the talk were cut after 0, 1, … rounds; NaN after the end."""
    from analysis.agents.policy_player import action_probabilities, move_probabilities, situation_of

    policy, rules = trained.policy, trained.config.rules
    rounds = int(table.n_rounds.max(initial=0))
    symbols = table.padded(max(rounds, 1))
    out = np.full((len(table), rounds + 1, table.moves.shape[1]), np.nan, np.float32)
    situation = situation_of(policy, rules, table, game)
    before = action_probabilities(policy, rules, symbols[:, :1], np.zeros(len(table), np.int64), situation)
    opening = before[:, 0, :, rules.eot + 1 :]
    with np.errstate(invalid="ignore"):
        out[:, 0] = opening[..., -1] / opening.sum(axis=2)  # nothing to say where agents may not move before they talk
    for t in range(1, rounds + 1):
        there = np.flatnonzero(table.n_rounds >= t)
        cut_here = np.full(len(there), t)
        out[there, t] = move_probabilities(policy, rules, symbols[there, :t], cut_here, situation[there])[..., -1]
    return out


def decided_by_network(yielding: Floats, n_rounds: Ints) -> Ints:
    """`[D]` rounds after which every agent keeps its final answer with probability 0.9; -1 for never.

    >>> decided_by_network(np.array([[[0.5, 0.5], [0.9, 0.05], [0.99, 0.01]]]), np.array([2])).tolist()
    [1]
    """
    rows = np.arange(len(n_rounds))
    final = yielding[rows, n_rounds][:, None] >= 0.5
    sure = (np.where(final, yielding, 1 - yielding) >= SURE - 1e-6).all(axis=2)
    sure |= np.arange(sure.shape[1]) > n_rounds[:, None]
    stays = np.logical_and.accumulate(sure[:, ::-1], axis=1).sum(axis=1)
    first = sure.shape[1] - stays
    return np.where(first <= n_rounds, first, UNKNOWN)


def decided_by_log(table: DialogueTable, facts: LogFacts | None, rounds: int = 64, seed: int = 0) -> Ints:
    """`[D]` rounds after which a predictor that has not met the dialogue knows who yields; -1 for never or unknown.

    `facts` is None where nobody is said to yield.
    """
    decided = np.full(len(table), UNKNOWN)
    if facts is None or table.moves.shape[1] != 2:
        return decided
    parted = np.flatnonzero((table.moves == len(facts.move_names) - 1).sum(axis=1) == 1)
    longest = min(int(table.n_rounds[parted].max(initial=0)), rounds)
    if not longest or len(parted) < 30:
        return decided
    seen = orient(table, longest, len(facts.move_names) - 1)
    known = known_at(held_out(seen, facts.n_tokens + 1, np.random.default_rng(seed)), SURE)
    decided[parted] = np.where(known > 0, np.minimum(known, table.n_rounds[parted]), UNKNOWN)
    return decided


def pack(part: Excerpt, attributes: int = 0) -> dict[str, Any]:
    """The excerpt as short strings, one character for each value, for the dialogue browser.

    `attributes` is how many the game declares. `knows` holds two characters for each agent and attribute, `moves` two
    for each agent, `talk` the dialogues one after the other, `N` characters a round, and `lengths` their rounds.
    `success` is empty where the game declares none; then `gains` has the mean reward of each joint move. `joint` is the
    joint move's number in its episode, where there are several.
    """
    table = part.table
    return {
        "title": part.title,
        "of": part.of,
        "lengths": table.n_rounds.tolist(),
        "talk": _characters(table.symbols - SILENT),
        "speakers": _characters(table.speakers),
        "moves": _characters(_two_signs(table.moves)),
        "success": _characters(table.success) if table.judged else "",
        "gains": [] if table.judged else [round(gain, 4) for gain in table.rewards.mean(axis=1).tolist()],
        "joint": table.negotiation.tolist() if table.negotiation.any() else [],
        "cut": _characters(table.cut),
        "decided": part.decided.tolist(),
        "episodes": table.episode.tolist(),
        "versions": sorted(
            {int(v) for v in (table.policy_version.min(initial=2**62), table.policy_version.max(initial=0))}
        )
        if len(table)
        else [],
        "knows": _characters(_two_signs(table.private)) if attributes else "",
        "yielding": "" if part.yielding is None else _packed_probabilities(part.yielding, table.n_rounds),
    }


def _two_signs(values: NDArray[Any]) -> Ints:
    """`[..., 2]` each value, counted from 1 so that 0 is none, as two digits to the base of the alphabet.

    >>> _two_signs(np.array([-1, 0, 200])).tolist()
    [[0, 0], [0, 1], [1, 73]]
    """
    values = np.clip(values.astype(np.int64) + 1, 0, len(ALPHABET) ** 2 - 1)
    return np.stack([values // len(ALPHABET), values % len(ALPHABET)], axis=-1)


def _packed_probabilities(yielding: Floats, n_rounds: Ints) -> str:
    """`R + 1` times `N` characters for each dialogue; the last character of the alphabet where nothing is known."""
    there = np.arange(yielding.shape[1]) <= n_rounds[:, None]
    values = yielding[there]
    return _characters(np.where(np.isnan(values), len(ALPHABET) - 1, np.round(np.nan_to_num(values) * LEVELS)))


def _characters(values: NDArray[Any]) -> str:
    table = np.array(list(ALPHABET))
    return "".join(table[np.asarray(values, np.int64).ravel()].tolist())
