"""How many meanings an agent can tell in the rounds that a talk may have."""

from __future__ import annotations

import math

import numpy as np

from envs.game import Bools, Declaration, Ints
from envs.negotiation import LONGEST_UNBOUNDED_TALK, Negotiation, TalkRules

STEPS = 64
"""Steps for which games are played to see what is known, and who speaks."""


def messages(rules: TalkRules, n_tokens: int, alone: bool) -> int:
    """The most messages of one agent with `n_tokens` tokens that a listener can tell apart.

    Alone, it says from 0 to R tokens, and EOT after fewer than R; R is `max_rounds`. With others it may say EOT among
    tokens, too, for the talk goes on until they agree. Without EOT it says R tokens. Where the opening is free, it may
    also be silent in the first round: alone that is one message more; with others, who may open the talk, one symbol
    more for the first round, after which all others may follow.

    >>> messages(TalkRules(n_tokens=4, max_rounds=1, opening="talk", closing="fixed"), 4, alone=True)
    4
    >>> messages(TalkRules(n_tokens=2, max_rounds=2, opening="talk"), 2, alone=True)  # E, 0E, 1E, 00, 01, 10, 11
    7
    >>> messages(TalkRules(n_tokens=2, max_rounds=2, opening="free"), 2, alone=False)  # 4 first symbols, 3 second ones
    12
    """
    rounds = rules.max_rounds or LONGEST_UNBOUNDED_TALK

    def after(spoken: int) -> int:
        """Messages that may follow so many rounds."""
        left = rounds - spoken
        if rules.closing == "fixed":
            return n_tokens**left
        if alone or rules.closing == "any":
            return left + 1 if n_tokens == 1 else (n_tokens ** (left + 1) - 1) // (n_tokens - 1)
        return (n_tokens + 1) ** left

    silence = 0 if rules.opening == "talk" else 1 if alone else after(1)
    return after(0) + silence


def more_than_can_be_told(negotiation: Negotiation, seed: int = 0) -> list[str]:
    """A sentence for each role whose agents may know more than they can tell in one talk, with the bound.

    Some games are played at random, each talk as short as it may be: what agents know and who speaks is seen in them.
    """
    game, rules = negotiation.declaration, negotiation.rules
    if not game.attributes or not negotiation.channel.talk:
        return []
    known, speaks, alone = _played(negotiation, np.random.default_rng(seed))
    sentences = []
    for role, name in enumerate(game.roles):
        agents = [agent for agent, of in enumerate(game.role_of) if of == role]
        n_tokens = game.tokens[agents[0]]
        told = messages(rules, rules.n_tokens if n_tokens is None else n_tokens, alone)
        seen, every = _different(known[:, :, agents], game)
        if speaks[agents].any() and every > told:
            rounds = "1 round" if rules.max_rounds == 1 else f"{rules.max_rounds} rounds"
            meanings = f"{every:,}" if seen == every else f"{seen:,} to {every:,}"
            sentences.append(
                f"the {name} knows one of {meanings} meanings, and its symbols tell at most {told:,} apart in {rounds}"
            )
    return sentences


def _played(negotiation: Negotiation, rng: np.random.Generator) -> tuple[Ints, Bools, bool]:
    """`[T, B, N, P]` what agents know as games go on, -1 where they may not speak; `[N]` who ever speaks; whether two
    never may at once."""
    known, speaks, alone = [], np.zeros(negotiation.n_agents, np.bool_), True
    negotiation.reset()
    for _ in range(STEPS):
        game = negotiation.game
        speakers = getattr(game, "may_speak", game.active)() & game.active()
        known.append(np.where(speakers[..., None], game.private(), -1).astype(np.int64))
        speaks |= speakers.any(axis=0)
        alone &= bool((speakers.sum(axis=1) <= 1).all())
        mask, eot = negotiation.mask(), negotiation.rules.eot
        chance = rng.random(mask.shape) * mask
        chance[..., eot] += mask[..., eot]  # whoever may end the talk does
        negotiation.step(chance.argmax(axis=2))
        negotiation.reset(negotiation.over)
    return np.stack(known), speaks, alone


def _different(known: Ints, game: Declaration) -> tuple[int, int]:
    """How many meanings `[T, B, A, P]` of `A` agents were seen, and how many there are: no more, if half of the games
    showed them all; else at most all combinations of the attributes."""
    half, seen = (
        len(np.unique(part[(part >= 0).any(axis=-1)], axis=0)) for part in (known[:, : known.shape[1] // 2], known)
    )
    if half == seen:
        return seen, seen
    has = np.flatnonzero((known >= 0).any(axis=(0, 1, 2)))
    return seen, math.prod(game.attributes[p].n_values for p in has)
