"""Positive listening: does what is heard change what is done (Lowe et al. 2019; Eccles et al. 2019)?

Each hearer moves again after the talk of other dialogues, its own knowledge, words and memory kept. Over `K` foreign
talks c, the causal influence of communication is I(move; talk) = H(mean p(move | do(c))) - mean H(p(move | do(c))), and
Eccles's distance is the total variation between the move after the talk and that after foreign ones.

K talks show fewer different moves than all do, so that the plain entropy is too low; the jackknife over them takes most
of that away (Zahl 1977). Where K talks would hardly suffice, `Listening.enough` says so.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd

from analysis.agents.policy_player import Situation, move_probabilities
from analysis.causal.influence import ROUNDING, Deaf
from analysis.data.decisions import Decisions, NotApplicable
from analysis.metrics.entropy import bits_of
from analysis.metrics.resampling import interval_of_means
from emcomm.networks.policy import Policy
from envs.game import Bools, Floats, Ints
from envs.negotiation import SILENT, TalkRules

TOLERANCE = 1 / 6
"""The jackknife takes away nearly all bias while that is a smaller share of the bits than this."""
DEAF_TALKS = 8
"""Foreign talks that are put to a deaf network, to which all are one."""


class Listening(NamedTuple):
    """How much the agents of one role heed what they hear, when they move."""

    hearer: str
    bits: float
    """Causal influence of communication: bits that the talk decides of the move."""
    low: float
    """Lower end of the 95 % bootstrap interval."""
    high: float
    null: float
    """The same for the network made deaf: 0 if the measure is right (bits)."""
    shift: float
    """Total variation between the move after the talk and the mean of those after foreign talks (0 to 1)."""
    changed: float
    """Share of foreign talks after which the likelier move is another."""
    dialogues: int
    enough: bool
    """Whether the foreign talks were enough: the jackknife adds at most `TOLERANCE` of the bits. Else they are more."""


def causal_influence(moves: np.ndarray) -> np.ndarray:
    """`[D]` bits that the talk decides, from `moves` `[D, K, M]`, the distributions after `K` equally likely talks.

    A hearer that does what it hears of two, and a deaf one:

    >>> causal_influence(np.array([[[1.0, 0.0], [0.0, 1.0]], [[0.3, 0.7], [0.3, 0.7]]])).round(9).tolist()
    [1.0, 0.0]
    """
    return bits_of(moves.mean(axis=1)) - bits_of(moves).mean(axis=1)


def _without_bias(moves: np.ndarray) -> np.ndarray:
    """The same, less the bias of first order in `K` of the entropy of the mean: the jackknife over the talks."""
    talks, total = moves.shape[1], moves.sum(axis=1)
    if talks < 2:
        return causal_influence(moves)
    left_out = np.mean([bits_of((total - moves[:, k]) / (talks - 1)) for k in range(talks)], axis=0)
    bits = causal_influence(moves) + (talks - 1) * (bits_of(total / talks) - left_out)
    return np.where(np.abs(bits) < ROUNDING, 0, bits)


def listening(
    policy: Policy, rules: TalkRules, decided: Decisions, situation: Situation | None = None, dialogues: int = 400,
    talks: int = 32, seed: int = 0,
) -> tuple[Listening, ...]:  # fmt: skip
    """Put foreign talks to the hearers of at most `dialogues`, and watch their moves.

    A hearer that never speaks hears a foreign talk whole; one that speaks keeps its own words, and the talk is one of
    the same length. Only dialogues count in which the hearer takes part, hears somebody and has a choice of moves.
    Raises NotApplicable where that leaves nothing to hear, or what is heard does not follow from what is said.

    Parameters
    ----------
    policy, rules, decided, situation, seed
        As for `analysis.edits`.
    dialogues, talks : int
        Dialogues that are looked at, and foreign talks put to each (`K`).

    Returns
    -------
    tuple of Listening
        One for each role with a choice of moves.

    Examples
    --------
    `analysis.listening(policy, rules, decided)[0].bits`
    """
    if rules.speaking == "sequential" and rules.order != "fixed":
        raise NotApplicable("agents speak in an order that changes, and who spoke when is part of the talk")
    rng = np.random.default_rng(seed)
    setting = situation.setting if situation is not None else None
    if setting is not None and setting.heard is not None:  # before it is found by chance that nothing else was said
        raise NotApplicable(f"what is heard over the channel {rules.channel!r} does not follow from what is said")
    n_agents = decided.symbols.shape[2]
    roles = np.array(setting.game.role_of if setting else [0] * n_agents)
    names = setting.game.roles if setting else ("agent",)
    speaks = situation.speaking() if situation is not None else np.ones((len(decided), n_agents), np.bool_)
    found = []
    for role, name in enumerate(names):
        agents = np.flatnonzero(roles == role)
        others = np.setdiff1d(np.arange(n_agents), agents[:1])
        if not speaks[:, others].any() or _one_move(setting, agents):
            continue
        whole = not speaks[:, agents].any()
        one = _of_role(policy, rules, decided, situation, int(agents[0]), whole, speaks, dialogues, talks, rng)
        if one is not None:
            plain, bits, deaf, shift, changed = one
            enough = bool(bits.mean() - plain.mean() <= max(TOLERANCE * bits.mean(), ROUNDING))
            (low,), (high,) = interval_of_means(bits[:, None], rng)
            found.append(
                Listening(
                    name, float(bits.mean()), float(low), float(high), float(deaf.mean()), float(shift.mean()),
                    float(changed.mean()), len(bits), enough,
                )
            )  # fmt: skip
    if not found:
        raise NotApplicable("nobody hears anything and has a choice in dialogues that leave something else to hear")
    return tuple(found)


def _one_move(setting: Any, agents: Ints) -> bool:
    """Whether these agents never have a choice."""
    return bool(setting is not None and setting.legal is not None and setting.legal.size
                and (setting.legal[:, agents].sum(axis=2) <= 1).all())  # fmt: skip


def _of_role(
    policy: Policy, rules: TalkRules, decided: Decisions, situation: Situation | None, hearer: int, whole: bool,
    speaks: np.ndarray, dialogues: int, talks: int, rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray] | None:  # fmt: skip
    """For each dialogue the plain bits, those without bias, those of a deaf network, the shift, and how often the
    likelier move changes."""
    donors = _donors(decided, rules, hearer, whole, speaks, talks, rng)
    possible = np.flatnonzero((donors >= 0).all(axis=1) & _may_heed(situation, len(decided), hearer))
    if len(possible) < 2:
        return None
    if len(possible) > dialogues:  # of several negotiations the first ones come first
        possible = np.sort(rng.permutation(possible)[:dialogues])
    donors = donors[possible]
    mine = situation[possible] if situation is not None else None
    actual = _moves(policy, rules, decided[possible], mine, hearer)
    after, deaf = [], []
    for k in range(talks):
        talk = decided[donors[:, k]]
        if not whole:
            talk = replace(talk, symbols=_with_own(talk.symbols, decided.symbols[possible], hearer))
        after.append(_moves(policy, rules, talk, mine, hearer))
        if k < DEAF_TALKS:
            own = _of_own(talk, decided[possible], hearer)
            deaf.append(_moves(cast(Policy, Deaf(policy)), rules, own, mine, hearer))
    moves = np.stack(after, axis=1).astype(np.float64)
    shift = np.abs(actual - moves.mean(axis=1)).sum(axis=1) / 2
    changed = (moves.argmax(axis=2) != actual.argmax(axis=1)[:, None]).mean(axis=1)
    null = _without_bias(np.stack(deaf, axis=1).astype(np.float64))
    return causal_influence(moves), _without_bias(moves), null, shift, changed


def _of_own(talk: Decisions, own: Decisions, hearer: int) -> Decisions:
    """The foreign talk in the length of the own one: a deaf hearer still hears how long it goes on."""
    same = talk.n_rounds == own.n_rounds
    symbols = np.where(same[:, None, None], talk.symbols, own.symbols)
    return replace(talk, symbols=symbols, n_rounds=own.n_rounds)


def _may_heed(situation: Situation | None, dialogues: int, hearer: int) -> Bools:
    """`[D]` whether the hearer takes part, hears somebody who speaks, and has a choice of moves."""
    may = np.ones(dialogues, np.bool_)
    if situation is None:
        return may
    setting, speaks = situation.setting, situation.speaking()
    may &= situation.choosing()[:, hearer]
    may &= np.delete(speaks if setting.active is None else speaks & setting.active, hearer, axis=1).any(axis=1)
    if setting.reaches is not None:
        may &= setting.reaches[:, hearer].any(axis=1)
    return may


def _donors(
    decided: Decisions, rules: TalkRules, hearer: int, whole: bool, speaks: np.ndarray, talks: int,
    rng: np.random.Generator,
) -> Ints:  # fmt: skip
    """`[D, K]` dialogues of the same speakers whose talk each one is given; -1 where too few fit.

    What the hearer said itself stays: unless it hears a talk `whole`, that has the same length, and does not end early.
    """
    alike = np.zeros_like(decided.n_rounds) if whole else decided.n_rounds
    kinds = np.unique(np.column_stack([alike, speaks]), axis=0, return_inverse=True)[1].ravel()
    drawn = np.full((len(decided), talks if whole else 4 * talks), -1)
    for kind in range(kinds.max(initial=-1) + 1):
        group = np.flatnonzero(kinds == kind)
        if len(group) > 1:
            drawn[group] = group[rng.integers(len(group), size=(len(group), drawn.shape[1]))]
    if whole:
        return drawn
    for column in drawn.T:
        mixed = _with_own(decided.symbols[column], decided.symbols, hearer)
        column[_ends_early(mixed, decided.n_rounds, rules)] = -1
    fitting_first = np.argsort(drawn < 0, axis=1, kind="stable")[:, :talks]
    return np.take_along_axis(drawn, fitting_first, axis=1)


def _with_own(foreign: Ints, own: Ints, hearer: int) -> Ints:
    """`[D, R, N]` foreign talks in which the hearer says what it said in its own."""
    mixed = foreign.copy()
    mixed[..., hearer] = own[..., hearer]
    return mixed


def _ends_early(symbols: Ints, n_rounds: Ints, rules: TalkRules) -> np.ndarray:
    """`[D]` whether talks of `symbols` `[D, R, N]` would have ended before their last round.

    >>> talks = np.array([[[5, 5], [0, 1]], [[5, 0], [5, 5]], [[-1, -1], [1, 5]]])
    >>> _ends_early(talks, np.array([2, 2, 2]), TalkRules(n_tokens=5)).tolist()
    [True, False, True]
    """
    ends, silent = symbols == rules.eot, symbols == SILENT
    over = {
        "mutual": (ends | silent).all(axis=2) & ends.any(axis=2), "any": ends.any(axis=2),
        "fixed": np.zeros(symbols.shape[:2], np.bool_),
    }[rules.closing]  # fmt: skip
    rounds, last = np.arange(symbols.shape[1]), n_rounds[:, None] - 1
    all_move = silent.all(axis=2) & (rounds <= last)  # in a free opening: then there is no talk
    return (over & (rounds < last) | all_move).any(axis=1)


def _moves(policy: Policy, rules: TalkRules, talk: Decisions, mine: Situation | None, hearer: int) -> Floats:
    """`[D, M]` the hearer's move after a talk."""
    return move_probabilities(policy, rules, talk.symbols, talk.n_rounds, mine)[:, hearer]


def to_frame(found: tuple[Listening, ...]) -> pd.DataFrame:
    """One row per role, to four digits; whether the talks were enough only where they were not for all."""
    names = ["hearer", "bits", "low_bits", "high_bits", "null_bits", "shift", "changed", "dialogues", "enough"]
    frame = pd.DataFrame([tuple(one) for one in found], columns=names).round(4)
    return frame.drop(columns="enough") if all(one.enough for one in found) else frame
