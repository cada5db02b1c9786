"""What changes when the talk is interfered with: the causal measures, all on the same frozen network.

Channel controls play whole games with another channel. The others feed edited dialogues to the network and compare its
probabilities before and after; no sampling is involved, so a network that ignores what it hears scores exactly 0.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from analysis.agents.policy_player import Situation, move_probabilities
from analysis.data.decisions import Decisions
from emcomm.networks.policy import Policy
from emcomm.statistics import Rate, rate
from envs.channels import SILENT
from envs.game import Bools, Floats, Ints
from envs.negotiation import TalkRules

# -- channel controls --------------------------------------------------------------------------------------------------


# -- edited dialogues --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Edit:
    """What an edit of the dialogue does to the moves."""

    name: str
    changed: Rate
    """Share of the views in which the likelier move is another one afterwards; a trial is a dialogue."""
    shift: float
    """Mean total variation between the move probabilities before and after (0 to 1)."""


@dataclass(frozen=True)
class Spoken:
    """Dialogues to be edited."""

    symbols: Ints
    """int8 `[D, R, N]`"""
    n_rounds: Ints
    """`[D]`"""
    n_tokens: int
    """Of the agent whose symbols are edited."""
    speaker: int
    """Whose symbols are edited: the first agent that may speak."""
    twin: int
    """Who may be taken for it: the next one of its role that may speak; itself where there is none."""


Change = Callable[[Spoken, np.random.Generator], Ints]
"""Dialogues -> edited symbols, the closing round untouched."""


def edits(
    policy: Policy, rules: TalkRules, decided: Decisions, seed: int = 0, situation: Situation | None = None
) -> tuple[Edit, ...]:
    """The effect of each edit in `EDITS`; dialogues of fewer than two rounds, with nothing to edit, are left out.

    Raises NotApplicable where what was heard over a random channel does not follow from what is said.

    Parameters
    ----------
    policy : Policy
        The frozen network.
    rules : TalkRules
        Of its run.
    decided : Decisions
        Dialogues, of `analysis.data.decisions`.
    seed : int
        Of what is random in an edit.
    situation : Situation, optional
        What the dialogues began with (`analysis.agents.policy_player.situation_of`).

    Returns
    -------
    tuple of Edit
        `name`; `changed`, share of views whose likelier move changes; `shift`, mean total variation (0 to 1).

    Examples
    --------
    `{edit.name: edit.changed for edit in analysis.edits(policy, rules, decided)}`
    """
    chosen = np.flatnonzero(decided.n_rounds >= 2)
    decided = decided[chosen]
    situation = situation[chosen] if situation is not None else None
    n_agents = decided.symbols.shape[2]
    spoken = Spoken(decided.symbols, decided.n_rounds, *_who_speaks(decided, situation))
    before = move_probabilities(policy, rules, decided.symbols, decided.n_rounds, situation)
    changes = []
    for name, change in EDITS.items():
        if change is _swap and spoken.twin == spoken.speaker:
            continue
        copied = replace(spoken, symbols=decided.symbols.copy())
        edited = change(copied, np.random.default_rng(seed))
        after = move_probabilities(policy, rules, edited, decided.n_rounds, situation)
        others = [i for i in range(n_agents) if i != spoken.speaker]
        seats = {"replace own": [spoken.speaker], "replace other's": others}.get(name, [*range(n_agents)])
        switched: Bools = np.asarray(before.argmax(axis=2) != after.argmax(axis=2))[:, seats]
        distance = np.abs(before - after).sum(axis=2)[:, seats] / 2
        shift = float(distance.mean()) if len(before) else float("nan")
        changes.append(Edit(name, rate(int(switched.mean(axis=1).sum()), len(switched)), shift))
    return tuple(changes)


def _who_speaks(decided: Decisions, situation: Situation | None) -> tuple[int, int, int]:
    """Tokens, speaker and twin, as `Spoken` has them."""
    n_agents = decided.symbols.shape[2]
    if situation is None:
        return decided.n_tokens, 0, min(1, n_agents - 1)
    setting = situation.setting
    speaks = np.ones((1, n_agents), np.bool_) if setting.speaks is None else setting.speaks
    can = np.flatnonzero(speaks.any(axis=0)).tolist() or [0]
    speaker = can[0]
    role = setting.game.role_of
    twins = [i for i in can[1:] if role[i] == role[speaker]]
    own = setting.game.tokens[speaker] if setting.game.tokens else None
    return decided.n_tokens if own is None else own, speaker, twins[0] if twins else speaker


def _nothing(spoken: Spoken, rng: np.random.Generator) -> Ints:
    return spoken.symbols


def _replace(spoken: Spoken, rng: np.random.Generator) -> Ints:
    """One symbol of the speaker, in a random round but the last, becomes another token."""
    symbols, n_tokens = spoken.symbols, max(spoken.n_tokens, 1)
    row, at = np.arange(len(symbols)), (rng.random(len(symbols)) * (spoken.n_rounds - 1)).astype(np.int64)
    said = symbols[row, at, spoken.speaker]
    token = rng.integers(n_tokens, size=len(symbols))
    other = np.where(token == said, (token + 1) % n_tokens, token)
    symbols[row, at, spoken.speaker] = np.where(said == SILENT, said, other)
    return symbols


def _swap(spoken: Spoken, rng: np.random.Generator) -> Ints:
    """Where both spoke; in a game with groups one of them may have had nobody to talk to."""
    pair = [spoken.speaker, spoken.twin]
    said = spoken.symbols[..., pair]
    both = (said != SILENT).any(axis=1).all(axis=1)
    spoken.symbols[..., pair] = np.where(both[:, None, None], said[..., ::-1], said)
    return spoken.symbols


def _reorder(keys: Floats, symbols: Ints, n_rounds: Ints) -> Ints:
    """The rounds but the closing one, sorted by `keys` `[D, R]`."""
    keys = np.where(np.arange(symbols.shape[1]) < (n_rounds - 1)[:, None], keys, np.inf)
    return np.take_along_axis(symbols, np.argsort(keys, axis=1, kind="stable")[..., None], 1)


def _shuffle(spoken: Spoken, rng: np.random.Generator) -> Ints:
    return _reorder(rng.random(spoken.symbols.shape[:2], np.float32), spoken.symbols, spoken.n_rounds)


def _reverse(spoken: Spoken, rng: np.random.Generator) -> Ints:
    rounds = np.arange(spoken.symbols.shape[1], dtype=np.float32)
    return _reorder(-np.tile(rounds, (len(spoken.symbols), 1)), spoken.symbols, spoken.n_rounds)


EDITS: dict[str, Change] = {
    "nothing": _nothing,
    "replace own": _replace,
    "replace other's": _replace,
    "swap own and other's": _swap,
    "shuffle rounds": _shuffle,
    "reverse rounds": _reverse,
}
"""`nothing` is the null. A replaced symbol is one of its own to the speaker, one of another's to all others."""


# -- influence ---------------------------------------------------------------------------------------------------------


# -- signalling --------------------------------------------------------------------------------------------------------
