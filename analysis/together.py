"""Several runs beside each other: who can play whom, how alike the protocols are, and what the seeds amount to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from analysis.comparison import CrossPlay, Prediction, cosines, cross_play, predict_cross_play
from analysis.decisions import NotApplicable
from analysis.plain import plain
from analysis.players import MachinePlayer, Player
from analysis.seeds import SeedSummary, over_seeds
from analysis.study import Findings
from emcomm.errors import BadInput
from emcomm.worlds import game_class
from envs.negotiation import TalkRules


@dataclass
class Comparison:
    """Several runs; None where they cannot be compared, and a line in `problems` says why."""

    names: tuple[str, ...]
    sentences: tuple[str, ...]
    seeds: SeedSummary
    played: CrossPlay | None = None
    """Every network with every other."""
    prediction: Prediction | None = None
    """How well the vote weights predict it."""
    alike: np.ndarray | None = None
    """`[P, P]` cosine of the vote weights of the runs in `played`."""
    problems: list[str] = field(default_factory=list)

    @property
    def others(self) -> float:
        """Mean success in cross-play of different runs; NaN without it."""
        if self.played is None:
            return float("nan")
        rates = self.played.rates
        return float(rates[~np.eye(len(rates), dtype=np.bool_)].mean())

    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables behind the figures, by name."""
        tables = {}
        if self.played is not None:
            tables["crossplay"] = _matrix(self.played.rates, self.played.names)
        if self.alike is not None and self.played is not None:
            tables["alike"] = _matrix(self.alike, self.played.names)
        return tables

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        seeds = {**self.seeds._asdict(), "success": list(self.seeds.success)}
        return plain(
            {
                "runs": list(self.names), "seeds": seeds, "others": self.others, "prediction": self.prediction,
                "problems": self.problems, "tables": self.tables(),
            }
        )  # fmt: skip


def compare(findings: Sequence[Findings], games: int = 2_000) -> Comparison | None:
    """What several runs amount to; None for a single one."""
    if len(findings) < 2:
        return None
    seeds = over_seeds([f.success.overall for f in findings if f.success is not None])
    found = Comparison(tuple(f.name for f in findings), tuple(f.sentence for f in findings), seeds)
    playing = _who_can_play(findings, found.problems)
    if len(playing) < 2:
        return found
    rules, world = _rules(playing[0]), _world(playing[0])
    try:
        games = int(np.clip(20_000 // len(playing), 200, games))
        found.played = cross_play([f.name for f in playing], [_seat(f) for f in playing], rules, games, 0, world)
    except (NotApplicable, ValueError) as error:
        found.problems.append(f"no cross-play: {error}")
        return found
    weights = [_weights(f) for f in playing]
    if all(w is not None for w in weights):
        known = [w for w in weights if w is not None]
        found.alike = cosines(known)
        found.prediction = predict_cross_play(found.played, known)
    return found


def _who_can_play(findings: Sequence[Findings], problems: list[str]) -> list[Findings]:
    """The runs of the commonest game that have a network or a machine."""
    able = [f for f in findings if f.trained is not None or (f.explanation and f.explanation.machine)]
    for other in findings:
        if other not in able:
            problems.append(f"{other.name} is left out of cross-play: it has neither network nor machine")
    kinds = [_game(f) for f in able]
    common = max(kinds, key=kinds.count, default=None)
    for other, kind in zip(able, kinds, strict=True):
        if kind != common:
            problems.append(f"{other.name} is left out of cross-play: it plays another game than most")
    return [f for f, kind in zip(able, kinds, strict=True) if kind == common]


def _game(found: Findings) -> str:
    """What two runs must share to play each other."""
    rules = _rules(found)
    facts = found.run.facts
    shared = (rules.n_tokens, rules.max_rounds, rules.opening, rules.speaking, rules.channel)
    return repr(((found.run.config or {}).get("env"), facts.move_names if facts else None, shared))


def _rules(found: Findings) -> TalkRules:
    if found.trained is not None:
        return found.trained.config.rules
    facts = found.run.facts
    try:
        return TalkRules(**(found.run.config or {})["rules"])
    except (KeyError, TypeError, ValueError):
        return TalkRules(n_tokens=facts.n_tokens if facts else 5, window=1)


def _world(found: Findings) -> Any:
    try:
        return game_class(str((found.run.config or {}).get("env", "emcomm/crossing-v0")))
    except BadInput:
        return game_class("emcomm/crossing-v0")


def _seat(found: Findings) -> Callable[[], Player]:
    if found.trained is not None:
        from analysis.network import PolicyPlayer

        policy = found.trained.policy
        return lambda: PolicyPlayer(policy)
    machine = found.explanation.machine if found.explanation else None
    assert machine is not None
    return lambda: MachinePlayer(machine)


def _weights(found: Findings) -> np.ndarray | None:
    """The vote weights, whether or not a vote is the best explanation."""
    return found.vote


def _matrix(values: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    frame = pd.DataFrame(values, columns=list(names))
    frame.insert(0, "run", list(names))
    return frame
