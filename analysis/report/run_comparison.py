"""Several runs beside each other: who can play whom, how alike the protocols are, and what the seeds amount to."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analysis.agents.cross_play import CrossPlay, Prediction, cosines, cross_play, predict_cross_play
from analysis.agents.players import MachinePlayer, Player
from analysis.data.decisions import NotApplicable, decisions
from analysis.explanation.vote_drift import Yields, behavioural_distances
from analysis.metrics.seed_aggregation import Interval, SeedSummary, forms_above, mean_over_seeds, over_seeds
from analysis.report.findings import Findings
from analysis.report.to_json import plain
from emcomm.dialogues import concatenate
from emcomm.printable import printable
from envs.negotiation import TalkRules

if TYPE_CHECKING:
    from emcomm.networks.policy import Policy


@dataclass(frozen=True)
class Group:
    """Runs of one configuration, whose seeds alone differ."""

    settings: str
    """What tells the group from the others; empty where there is only one."""
    runs: int
    seeds: SeedSummary | None
    """Their success; None where the game declares none."""
    returns: Interval
    """Their mean return, with its 95 % interval over seeds."""
    rounds: Interval | None = None
    """Mean rounds of a dialogue, over the seeds; None where they were not counted."""

    @property
    def sentence(self) -> str:
        """What the seeds amount to, in one line."""
        head = ", ".join(filter(None, (self.settings, f"{self.runs} run{'s' * (self.runs > 1)}")))
        returned = f"mean return {self.returns.text(3)}"
        if self.seeds is None:
            return f"{head}: {returned}"
        formed = self.formed
        told = f"; a protocol formed in {formed}" if formed else ""
        return f"{head}: success {self.seeds.sentence}; {returned}{told}"

    @property
    def formed(self) -> str:
        """In how many of the runs a protocol formed; empty where that is not known."""
        if self.seeds is None or not self.seeds.formed.trials:
            return ""
        return f"{self.seeds.formed.successes} of {self.seeds.formed.trials}"


@dataclass
class Comparison:
    """Several runs; None where they cannot be compared, and a line in `problems` says why."""

    names: tuple[str, ...]
    sentences: tuple[str, ...]
    groups: tuple[Group, ...]
    played: CrossPlay | None = None
    """Every network with every other."""
    prediction: Prediction | None = None
    """How well the vote weights predict it."""
    alike: np.ndarray | None = None
    """`[P, P]` cosine of the vote weights of the runs in `played`."""
    distances: np.ndarray | None = None
    """`[P, P]` share of views of their dialogues after which two of them move differently."""
    problems: list[str] = field(default_factory=list)

    @property
    def others(self) -> float:
        """Mean success in cross-play of different runs; NaN without it."""
        if self.played is None:
            return float("nan")
        rates = self.played.rates
        return float(rates[~np.eye(len(rates), dtype=np.bool_)].mean())

    def groups_frame(self) -> pd.DataFrame:
        """One row for each group: condition, runs, success and formed where they are declared, return, and rounds."""
        lines = []
        for group in self.groups:
            line: dict[str, Any] = {"condition": group.settings or "all", "runs": group.runs}
            if group.seeds is not None:
                line["success"] = group.seeds.sentence
            for name, interval, digits in (("return", group.returns, 3), ("rounds", group.rounds, 2)):
                if interval is not None:
                    line[name] = interval.text(digits)
            if group.formed:
                line["protocol formed"] = group.formed
            lines.append(line)
        return pd.DataFrame(lines)

    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables behind the figures, by name."""
        tables = {}
        if self.played is not None:
            tables["crossplay"] = _matrix(self.played.rates, self.played.names)
            for name, values in (("alike", self.alike), ("distances", self.distances)):
                if values is not None:
                    tables[name] = _matrix(values, self.played.names)
        return tables

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return plain(
            {
                "runs": self.names, "groups": self.groups, "others": self.others, "prediction": self.prediction,
                "problems": self.problems, "tables": self.tables(),
            }
        )  # fmt: skip


def compare(studied: Sequence[Findings], games: int = 2_000) -> Comparison | None:
    """What several runs amount to; None for a single one.

    Parameters
    ----------
    studied : sequence of Findings
        Of `study`, one for each run.
    games : int
        Games of each pair in cross-play, at most.

    Returns
    -------
    Comparison or None
        `names`, `sentences`, `groups` (runs of one configuration with their seeds), `played` (cross-play),
        `prediction`, `alike`, `distances` and `problems`; None for a single run.

    Examples
    --------
    `analysis.compare([analysis.study(analysis.load(path)) for path in analysis.find_runs("logs")])`
    """
    if len(studied) < 2:
        return None
    problems: list[str] = []
    independent = _independent(studied, problems)
    names = dict(zip(map(id, studied), distinct_names(studied), strict=True))
    sentences = tuple(f.sentence for f in studied)
    comparison = Comparison(tuple(names.values()), sentences, _groups(independent), problems=problems)
    playing = _who_can_play(independent, problems)
    if len(playing) < 2:
        return comparison
    rules = replace(_rules(playing[0]), window=max(_rules(f).visible_rounds for f in playing))
    try:
        world, game = playing[0].run.game(), playing[0].run.declaration()
        if game.n_agents != 2:
            raise NotApplicable(f"it is for two agents, and the game has {game.n_agents}")
        games = int(np.clip(20_000 // len(playing), 200, games))
        seats = [_seat(f) for f in playing]
        comparison.played = cross_play([names[id(f)] for f in playing], seats, rules, games, 0, world)
    except (NotApplicable, ValueError) as error:  # BadInput, too
        comparison.problems.append(f"no cross-play: {error}")
        return comparison
    weights = [_weights(f) for f in playing]
    if all(w is not None for w in weights):
        known = [w for w in weights if w is not None]
        comparison.alike = cosines(known)
        comparison.prediction = predict_cross_play(comparison.played, known)
    comparison.distances = _distances(playing, problems)
    return comparison


def distinct_names(studied: Sequence[Findings]) -> list[str]:
    """The names of the runs; all are numbered where two share one."""
    names = [printable(findings.name) for findings in studied]
    return names if len(set(names)) == len(names) else [f"{i}-{name}" for i, name in enumerate(names, 1)]


def _independent(studied: Sequence[Findings], problems: list[str]) -> list[Findings]:
    """The runs without those that repeat the configuration and the seed of another."""
    first: dict[str, Findings] = {}
    for findings in studied:
        config = findings.run.settings or {}
        repeatable = "seed" in config and findings.played
        same = first.setdefault(json.dumps(config, sort_keys=True) if repeatable else str(findings.run.path), findings)
        if same is not findings:
            problems.append(f"{findings.run.path} has the configuration and the seed of {same.run.path}: counted once")
    return list(first.values())


def _groups(studied: Sequence[Findings]) -> tuple[Group, ...]:
    """The runs that have dialogues, by configuration."""
    members: dict[str, list[Findings]] = {}
    for findings in studied:
        if findings.played:
            members.setdefault(json.dumps(_settings(findings), sort_keys=True), []).append(findings)
    settings = [_settings(group[0]) for group in members.values()]
    varied = [key for key in {k: 0 for s in settings for k in s} if len({repr(s.get(key)) for s in settings}) > 1]
    names = [", ".join(f"{key} {s[key]}" for key in varied if key in s) for s in settings]
    return tuple(
        Group(name, len(group), _success_over_seeds(group), mean_over_seeds(map(_mean_return, group)))
        for name, group in zip(names, members.values(), strict=True)
    )


def _success_over_seeds(group: Sequence[Findings]) -> SeedSummary | None:
    known = [f.success.overall for f in group if f.success is not None]
    lines = {forms_above(f.study.game) if f.study is not None else None for f in group}
    return over_seeds(known, lines.pop() if len(lines) == 1 else None) if known else None


def _mean_return(findings: Findings) -> float | None:
    returns = findings.results.get("mean_return")
    return returns.mean.value if returns is not None else None


def _settings(findings: Findings) -> dict[str, Any]:
    """The settings of a run but the seed, those of its rules among them; its path where they are not known."""
    config = findings.run.settings
    if config is None:
        return {"run": str(findings.run.path)}
    rules = config.get("rules")
    flat = {**config, **(rules if isinstance(rules, Mapping) else {})}
    return {key: value for key, value in flat.items() if key not in ("rules", "seed")}


def _distances(playing: Sequence[Findings], problems: list[str]) -> np.ndarray | None:
    """How differently they decide after as many dialogues of each."""
    tables = [table for f in playing if (table := f.run.sample(500)) is not None]
    if not tables:
        return None
    try:
        decided = decisions(concatenate(tables), _rules(playing[0]).n_tokens)
        return behavioural_distances([_yields(f) for f in playing], decided.symbols, decided.n_rounds)
    except NotApplicable as error:
        problems.append(f"no distances: {error}")
        return None


def _yields(findings: Findings) -> Yields:
    """The decisions of the network or, without one, of the machine."""
    policy = _network(findings)
    if policy is not None:
        from analysis.agents.policy_player import yielding

        return partial(yielding, policy, _rules(findings))
    machine = findings.explanation.machine if findings.explanation else None
    assert machine is not None
    return machine.yielding


def _who_can_play(studied: Sequence[Findings], problems: list[str]) -> list[Findings]:
    """The runs of the commonest game that have a network or a machine."""
    able = [f for f in studied if _network(f) is not None or (f.explanation and f.explanation.machine)]
    for other in studied:
        if other not in able:
            problems.append(f"{other.name} is left out of cross-play: it has neither one network nor a machine")
    kinds = [_game(f) for f in able]
    common = max(kinds, key=kinds.count, default=None)
    for other, kind in zip(able, kinds, strict=True):
        if kind != common:
            problems.append(f"{other.name} is left out of cross-play: it plays another game than most")
    return [f for f, kind in zip(able, kinds, strict=True) if kind == common]


def _network(findings: Findings) -> Policy | None:
    """The network that plays for all; None where there is none, or several that play each other."""
    from emcomm.networks.policy import Population

    trained = findings.trained
    return None if trained is None or isinstance(trained.policy, Population) else trained.policy


def _game(findings: Findings) -> str:
    """What two runs must share to play each other."""
    rules = _rules(findings)
    facts = findings.run.facts
    shared = replace(rules, window=1, round_cost=0.0)
    return repr((findings.run.env_name, facts.move_names if facts else None, shared))


def _rules(findings: Findings) -> TalkRules:
    facts, rules = findings.run.facts, findings.study.rules if findings.study else None
    return rules or TalkRules(n_tokens=facts.n_tokens if facts else 5, window=1)


def _seat(findings: Findings) -> Callable[[], Player]:
    policy = _network(findings)
    if policy is not None:
        from analysis.agents.policy_player import PolicyPlayer

        return lambda: PolicyPlayer(policy)
    machine = findings.explanation.machine if findings.explanation else None
    assert machine is not None
    return lambda: MachinePlayer(machine)


def _weights(findings: Findings) -> np.ndarray | None:
    """The vote weights, whether or not a vote is the best explanation."""
    return findings.vote


def _matrix(values: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    frame = pd.DataFrame(values, columns=list(names))
    frame.insert(0, "run", list(names))
    return frame
