"""Is the right family named? Planted protocols in random variants, and noise, on which none may be named.

Expected: at least 95 % of the variants of each family, and "none" on noise.
Run with `python -m experiments.planted_recovery`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import tyro

from analysis.agents.synthetic_protocols import PLANTED, Planted, planted_dialogues
from analysis.data.decisions import decisions, split
from analysis.explanation.candidates import fit
from analysis.explanation.selection import NAMED, Family, choose


@dataclass(frozen=True)
class Settings:
    """How much is tried."""

    variants: int = 20
    """Random variants of each family; their seeds are 0, 1, …"""
    dialogues: int = 5_000
    """Dialogues of each variant."""
    tokens: int = 5
    """Free symbols."""


def recover(family: Planted, seed: int, dialogues: int = 5_000, n_tokens: int = 5) -> Family:
    """The family named for one variant."""
    fitting, scoring = split(decisions(planted_dialogues(family, seed, dialogues, n_tokens), n_tokens))
    return choose({method: fit(method, fitting) for method in NAMED}, scoring)


def main(settings: Settings) -> None:
    """Print, for each planted family, how often which family was named."""
    for family in PLANTED:
        named = Counter(recover(family, seed, settings.dialogues, settings.tokens) for seed in range(settings.variants))
        print(f"{family:>16}: " + ", ".join(f"{name} {count}" for name, count in named.most_common()))


if __name__ == "__main__":
    main(tyro.cli(Settings))
