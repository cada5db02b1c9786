"""How many meanings an agent can tell in the rounds that a talk may have."""

from __future__ import annotations

import numpy as np

from envs.negotiation import LONGEST_UNBOUNDED_TALK, Negotiation, TalkRules


def messages(rules: TalkRules, n_tokens: int, alone: bool) -> int:
    """The most messages of one agent with `n_tokens` tokens that a listener can tell apart.

    Alone, it says from 0 to R tokens, and EOT after fewer than R; R is `max_rounds`. With others it may say EOT among
    tokens, too, for the talk goes on until they agree. Without EOT it says R tokens. Where the opening is free, not to
    speak is one message more.

    >>> messages(TalkRules(n_tokens=4, max_rounds=1, opening="talk", closing="fixed"), 4, alone=True)
    4
    >>> messages(TalkRules(n_tokens=2, max_rounds=2, opening="talk"), 2, alone=True)  # E, 0E, 1E, 00, 01, 10, 11
    7
    >>> messages(TalkRules(n_tokens=2, max_rounds=2, opening="free"), 2, alone=False)
    10
    """
    rounds = rules.max_rounds or LONGEST_UNBOUNDED_TALK
    if rules.closing == "fixed":
        told = n_tokens**rounds
    elif alone or rules.closing == "any":
        told = rounds + 1 if n_tokens == 1 else (n_tokens ** (rounds + 1) - 1) // (n_tokens - 1)
    else:
        told = (n_tokens + 1) ** rounds
    return told + (rules.opening == "free")


def more_than_can_be_told(negotiation: Negotiation) -> list[str]:
    """A sentence for each role whose agents may know more than they can tell in one talk, with the bound.

    The games of `negotiation` must have been reset: what their agents know and who may speak is looked up in them.
    """
    game, rules = negotiation.declaration, negotiation.rules
    if not game.attributes or not negotiation.channel.talk:
        return []
    knows = np.any(negotiation.game.private() >= 0, axis=0)
    may_speak = getattr(negotiation.game, "may_speak", negotiation.game.active)()
    alone, sentences = bool((may_speak.sum(axis=1) <= 1).all()), []
    for role, name in enumerate(game.roles):
        agent = game.role_of.index(role)
        meanings = 1
        for attribute, known in zip(game.attributes, knows[agent], strict=True):
            meanings *= attribute.n_values if known else 1
        n_tokens = game.tokens[agent]
        told = messages(rules, rules.n_tokens if n_tokens is None else n_tokens, alone)
        if may_speak[:, agent].any() and meanings > told:
            rounds = "1 round" if rules.max_rounds == 1 else f"{rules.max_rounds} rounds"
            sentences.append(
                f"the {name} knows one of {meanings:,} meanings, and its symbols tell at most {told:,} apart in "
                f"{rounds}"
            )
    return sentences
