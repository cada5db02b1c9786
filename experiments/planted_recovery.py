"""Is the right rule named, and never a wrong one? Protocols written by hand, whose rule is known.

Those on the menu, in random variants, and noise, with and without a favourite token and move, on which none may be
named. Expected: at least 95 % of the variants of each family, and "none" on noise. Then protocols whose rule is not on
the menu, terse and chatty: none of the rules that may be named may be said to explain them; a machine may that decides
and plays alike, as running numbers. Run with `python -m experiments.planted_recovery`.
"""

from __future__ import annotations

import multiprocessing
import os
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import groupby, product
from operator import attrgetter
from typing import NamedTuple

import tyro

from analysis.agents.foreign_protocols import FOREIGN, plant_foreign
from analysis.agents.players import MachinePlayer, play_games
from analysis.agents.synthetic_protocols import PLANTED, Planted, planted_dialogues
from analysis.data.decisions import decisions, split
from analysis.explanation.candidates import NUMBERS, Method, fit
from analysis.explanation.result import Explanation
from analysis.explanation.selection import NAMED, Family, choose
from analysis.explanation.verdict import explain
from emcomm.a3c import use_one_core
from envs.negotiation import TalkRules

RULES: tuple[Method, ...] = ("silent", *NAMED[:-1], "vote × clock", NAMED[-1], *NUMBERS)
"""The rules that may be named, the vote's second machine, and running numbers, which may only win by all conditions."""


@dataclass(frozen=True)
class Settings:
    """How much is tried."""

    variants: int = 20
    """Random variants of each family; their seeds are 0, 1, …"""
    dialogues: int = 5_000
    """Dialogues of each variant."""
    tokens: int = 5
    """Free symbols."""
    foreign_seeds: int = 5
    """Variants of each protocol that is not on the menu, terse and chatty each."""


def recover(family: Planted, seed: int, dialogues: int = 5_000, n_tokens: int = 5) -> Family:
    """The family named for one variant."""
    fitting, scoring = split(decisions(planted_dialogues(family, seed, dialogues, n_tokens), n_tokens))
    return choose({method: fit(method, fitting) for method in NAMED}, scoring)


def explain_foreign(family: str, seed: int, terse: bool, dialogues: int = 5_000, n_tokens: int = 5) -> Explanation:
    """What is said of one variant of a protocol that is not on the menu, which can be asked and plays."""
    machine, rules = plant_foreign(family, seed, terse, n_tokens), TalkRules(n_tokens=n_tokens, window=1)
    table = play_games((MachinePlayer(machine), MachinePlayer(machine)), rules, dialogues, seed)
    return explain(table, n_tokens, rules, machine, methods=RULES, dialogues=dialogues, games=1_000, seed=seed)


class _Variant(NamedTuple):
    """One protocol that is made and explained."""

    family: str
    talk: str
    """terse or chatty; empty for a protocol on the menu."""
    seed: int
    settings: Settings

    def named(self) -> str:
        """What is said of it."""
        use_one_core()
        settings = self.settings
        if not self.talk:
            return recover(self.family, self.seed, settings.dialogues, settings.tokens)  # type: ignore[arg-type]
        found = explain_foreign(self.family, self.seed, self.talk == "terse", settings.dialogues, settings.tokens)
        return f"{found.family} {found.verdict}" if found.verdict != "none" else "none"


def main(settings: Settings) -> None:
    """Print, for each planted family, how often which family was named."""
    variants = [_Variant(family, "", seed, settings) for family in PLANTED for seed in range(settings.variants)]
    for family, talk in product(FOREIGN, ("terse", "chatty")):
        variants += [_Variant(family, talk, seed, settings) for seed in range(settings.foreign_seeds)]
    by_row = attrgetter("family", "talk")
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), multiprocessing.get_context("spawn")) as pool:
        said = pool.map(_Variant.named, variants)
        for (family, talk), row in groupby(variants, by_row):
            named = Counter(next(said) for _ in row)
            told = ", ".join(f"{name} {count}" for name, count in named.most_common())
            print(f"{family}, {talk}: {told}" if talk else f"{family:>16}: {told}", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Settings))
