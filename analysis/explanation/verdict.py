"""Which explanation of the talk holds, and how far: "explained", "describes" or none, in one plain sentence.

Prediction is not cause. A rule that names at least 90 % of the held-out yielders describes. It explains only where all
four conditions of `analysis.explanation.evidence` hold as well; the simplest for which they do is named. Without a
network, or a protocol that can be asked and plays, a rule describes at most.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import stdtrit

from analysis.agents.players import MachinePlayer, MakeGame, Player, play_games, success_of
from analysis.agents.random_queries import Queries, random_queries
from analysis.automata.decision_rules import Difference, Vote
from analysis.automata.integrator import Integrator, Targets, fit_integrator
from analysis.automata.protocol_machine import ProtocolMachine, bits_per_action, fit_machine
from analysis.automata.query_learning import learn, membership
from analysis.automata.running_numbers import RunningNumbers, grow_numbers
from analysis.data.decisions import Decisions, NotApplicable, Scores, decisions, split, who_yields
from analysis.explanation.candidates import (
    METHODS,
    NUMBERS,
    REFERENCE,
    Fitted,
    Frame,
    Method,
    fit,
    fit_family,
    fit_rule,
)
from analysis.explanation.evidence import OF_THE_CEILING, POINTS, Evidence, Stratum, conditions, strata_of, worst
from analysis.explanation.result import Competitor, Explanation, NetworkFigures, Play, Verdict
from analysis.explanation.selection import AT_LEAST, Family, choose, possible
from analysis.explanation.self_check import self_check
from analysis.explanation.sentence import sentence_of, undecided_sentence
from analysis.explanation.subject import Subject, subject_of
from emcomm.dialogues import DialogueTable
from emcomm.statistics import Rate, rate
from envs.crossing import CrossingGame
from envs.negotiation import TalkRules

if TYPE_CHECKING:
    from analysis.causal.interchange import Interchange
    from emcomm.networks.policy import Policy

FEWEST_PAIRS = 400
"""Pairs of an interchange intervention, at least."""
REFITS = 5
"""Times that a rule is fitted and scored on fresh queries."""
SIMPLEST_FIRST: tuple[Method, ...] = (
    "first difference", "last difference", "cyclic order", "vote", "vote × clock", "integrator", *NUMBERS,
)  # fmt: skip
"""Rules go before what was learned without an idea, of which that of the fewest states goes first."""
MORE = 5
"""Times as many queries for running numbers, which have more parameters than a rule."""


def explain(
    table: DialogueTable,
    n_tokens: int,
    rules: TalkRules | None = None,
    policy: Policy | ProtocolMachine | None = None,
    *,
    move_names: tuple[str, ...] = ("main", "detour"),
    make_game: MakeGame = CrossingGame,
    methods: tuple[Method, ...] = METHODS,
    dialogues: int = 10_000,
    games: int = 5_000,
    seed: int = 0,
    kv_length: int = 0,
    agents: str = "trains",
    untested: str = "without a network",
    cautious: bool = False,
) -> Explanation:
    """Fit, score and play the competing explanations of the dialogues of one frozen policy.

    `dialogues` are taken from the table at random, half of them to fit; each machine plays `games` games. `rules` are
    those of the run (default: the talk's game). With a `kv_length` and a network, KV asks about random dialogues up to
    that many rounds, which takes some seconds. `agents` is what they are called. Raises NotApplicable where
    there are not two agents with two moves.

    Parameters
    ----------
    table : DialogueTable
        Dialogues of one frozen policy, of two agents with two moves, of which the last is to yield.
    n_tokens : int
        Free tokens.
    rules, policy
        Those of the run; without a policy a rule can only describe. A protocol written by hand may stand for it.
    move_names, make_game, methods, agents, untested
        The game, the candidates, what its agents are called, and why there is no policy.
    dialogues, games, seed, kv_length : int
        How much work, and what fixes its randomness.
    cautious : bool
        Name a rule only where these data separate it from all others, for a quick look: where they do not, none is
        named, and `rivals` lists them.

    Returns
    -------
    Explanation
        `family`, `verdict`, `sentence`; `competitors`, every candidate with its figures; `best`; `weights`, `order` and
        `undecided` of the rule; `network`, the figures it is measured against; `n_dialogues`; `rivals`.

    Examples
    --------
    `analysis.explain(run.sample(10_000), 5).sentence`
    """
    rules = rules or TalkRules(n_tokens=n_tokens)
    chosen = np.sort(np.random.default_rng(seed).permutation(len(table))[:dialogues])
    fitting, scoring = split(decisions(table[chosen], n_tokens), seed)
    if not len(scoring):
        return Explanation(
            "none", "none", "Too few dialogues to explain anything.", (), None, None, None, (), None, len(table)
        )
    frame = Frame(move_names, "talk" if rules.opening == "talk" else "free")
    arena = _Arena(rules, make_game, games, seed, subject_of(policy, rules))
    judge = _Judge(fitting, scoring, rules, frame, arena.subject, each=max(games // 5, 200), seed=seed)
    asked = judge.asked
    family_of = fit_family(fitting, asked) if "integrator" in methods else None
    member = family_of.best if family_of else None
    numbers = judge.numbers([method for method in methods if method in NUMBERS])
    fitted = {
        method: fit(method, fitting, frame, judge.asked_for(method), member, numbers.get(method))
        for method in methods
        if method not in NUMBERS or method in numbers
    }
    if kv_length and judge.subject is not None:
        learned = learn(membership(judge.subject.answers), n_tokens, kv_length, seed=seed)
        machine = fit_machine("KV", learned.automaton, fitting, move_names, frame.opening)
        fitted["KV"] = Fitted("KV", None, machine, learned.n_states)
    competitors = tuple(
        Competitor(
            method,
            self_check(method, len(chosen), n_tokens),
            judge.accuracy(one),
            judge.on_random(one),
            judge.strata(one),
            bits_per_action(one.machine, scoring, frame.opening) if one.machine else None,
            one.n_states,
            arena.self_play(one.machine),
            arena.network_play(one.machine),
            one.machine,
        )
        for method, one in fitted.items()
    )
    network = _network_figures(arena, judge)
    checked = {c.method: fitted[c.method] for c in competitors if c.check.passed}
    rivals = _rivals(fitted, competitors, judge, network) if cautious else ()
    if len(rivals) > 1:
        return Explanation(
            "none", "none", undecided_sentence(rivals), competitors, None, None, None, (), network,
            len(table), None, family_of.members if family_of else (), rivals,
        )  # fmt: skip
    explaining = _explaining(checked, competitors, judge, network)
    family: Family = explaining[0] if explaining else choose(checked, scoring, judge.fresh)
    best, evidence = explaining[1:] if explaining else (_best(family, competitors, network), None)
    if evidence is None and best is not None and best.method != "silent":
        evidence = judge.evidence(fitted[best.method], best, network)
    verdict: Verdict = "none" if best is None else _verdict(best, evidence, network)
    weights, order, undecided = _meaning(fitted[best.method].rule if best else None, family, n_tokens)
    untested = untested if policy is None else "with a network that could not be tested on such talk"
    sentence = sentence_of(
        family, verdict, best, weights, order, undecided, network, competitors, agents, untested, evidence,
        fitted[best.method].rule if best else None,
    )  # fmt: skip
    members = family_of.members if family_of else ()
    return Explanation(
        family, verdict, sentence, competitors, best, weights, order, undecided, network, len(table), evidence,
        members, (), tuple(numbers.values()),
    )  # fmt: skip


# -- measuring ---------------------------------------------------------------------------------------------------------


class _Judge:
    """Scores explanations on held-out dialogues and on random ones."""

    def __init__(
        self, fitting: Decisions, scoring: Decisions, rules: TalkRules, frame: Frame, subject: Subject | None,
        each: int, seed: int,
    ) -> None:  # fmt: skip
        self.fitting, self.scoring, self.rules, self.frame, self.subject = fitting, scoring, rules, frame, subject
        self.each, self.seed = each, seed
        self.asked: Queries | None = None
        self.many: Queries | None = None
        self.fresh: Queries | None = None
        self.bits: tuple[float, float] | None = None
        if subject is None:
            return
        before_the_last = scoring.spoken[:, 1:]  # EOT as often as in real talk before its closing round
        said = scoring.symbols[:, :-1][before_the_last]
        self.share = float(np.clip((said == scoring.n_tokens).mean(), 0.02, 0.5)) if len(said) else 0.1
        try:
            self.bits = subject.bits(scoring)
            self.asked, self.many, self.fresh = self._queries(0), self._queries(0, MORE), self._queries(1)
        except NotApplicable:
            self.subject = self.bits = None
            return
        self.margin = self._margin_of(self.asked, self.fresh)

    def asked_for(self, method: Method) -> Queries | None:
        """The queries on which a method is fitted."""
        return self.many if method in NUMBERS else self.asked

    def numbers(self, methods: Sequence[Method]) -> dict[Method, RunningNumbers]:
        """Running numbers of each size, the fewest first; none where nobody can be asked: a log identifies none."""
        if self.many is None or not methods:
            return {}
        by_size = {NUMBERS[method]: method for method in methods}
        targets = Targets(self.many.symbols, self.many.n_rounds, self.many.odds)
        grown = islice(grow_numbers(targets, self.scoring.n_kinds), max(by_size) - 1)
        return {by_size[len(found)]: found for found in grown if len(found) in by_size}

    def _queries(self, number: int, times: int = 1) -> Queries:
        assert self.subject is not None
        seed = 1_000 * self.seed + number
        return random_queries(self.subject.answers, self.rules, times * self.each, seed, self.share)

    def accuracy(self, one: Fitted) -> Rate:
        return rate(*who_yields(one.scores(self.scoring.symbols, self.scoring.n_rounds), self.scoring))

    def on_random(self, one: Fitted) -> Rate | None:
        if self.fresh is None:
            return None
        right = self.fresh.right(one.scores(self.fresh.symbols, self.fresh.n_rounds))
        return rate(int(right.sum()), len(right))

    def strata(self, one: Fitted) -> tuple[Stratum, ...]:
        if self.fresh is None:
            return ()
        return strata_of(self.fresh, one.scores(self.fresh.symbols, self.fresh.n_rounds), self.margin)

    def evidence(self, one: Fitted, best: Competitor, network: NetworkFigures | None) -> Evidence | None:
        """The four conditions for one explanation; None where nobody can be asked or nothing is left to ask."""
        if self.subject is None or self.asked is None or self.fresh is None or not best.strata:
            return None
        low, high = self._over_refits(one, best.strata)
        asked = self.asked_for(one.method) or self.asked
        own = float(asked.right(one.scores(asked.symbols, asked.n_rounds)).mean())
        fresh = float(self.fresh.right(one.scores(self.fresh.symbols, self.fresh.n_rounds)).mean())
        gap = None
        if network is not None and best.self_play is not None:
            gap = abs(best.self_play.success.value - network.play.success.value)
        pairs, held = max(self.each, FEWEST_PAIRS), self.fresh.n_rounds
        if (talked := self.scoring.n_rounds > 2).any():
            held = self.scoring.n_rounds[talked]
        exchanged: Interchange | str
        try:
            exchanged = self.subject.exchanged(
                best.method, one.scores, held, self.share, pairs, NUMBERS.get(one.method, 1)
            )
        except NotApplicable as error:
            exchanged = str(error)
        said = conditions(best.strata, low, REFITS, exchanged, gap, own, fresh)
        return Evidence(best.strata, low, high, REFITS, None if isinstance(exchanged, str) else exchanged, said)

    def _over_refits(self, one: Fitted, strata: tuple[Stratum, ...]) -> tuple[float, float]:
        """95 % t interval of the worst stratum's share, the rule fitted and scored on fresh queries each time.

        What was learned as an automaton stays as it is: only the queries that score it are fresh.
        """
        shares = [worst(strata).share]
        for again in range(1, REFITS):
            asked = self._queries(2 * again, MORE if one.method in NUMBERS else 1)
            fresh = self._queries(2 * again + 1)
            refitted = one if one.rule is None else self._fit_again(one, asked)
            margin = self._margin_of(asked, fresh)
            shares.append(worst(strata_of(fresh, refitted.scores(fresh.symbols, fresh.n_rounds), margin)).share)
        half = float(stdtrit(REFITS - 1, 0.975) * np.std(shares, ddof=1) / np.sqrt(REFITS))
        return float(np.mean(shares)) - half, float(np.mean(shares)) + half

    def _fit_again(self, one: Fitted, asked: Queries) -> Fitted:
        if one.method in NUMBERS:  # scored by the rule alone: a machine is not needed
            return one._replace(rule=fit_rule(one.method, self.fitting, asked), machine=None)
        member = one.rule.name if isinstance(one.rule, Integrator) else None
        return fit(one.method, self.fitting, self.frame, asked, member)

    def _margin_of(self, asked: Queries, fresh: Queries) -> Scores:
        """`[D]` how far an integrator's score is from 0: which dialogues are hard to decide."""
        targets = Targets(asked.symbols, asked.n_rounds, asked.odds)
        reference = fit_integrator(REFERENCE, targets, self.scoring.n_kinds)
        return np.asarray(reference.course(fresh.symbols, fresh.n_rounds)[:, -1])


class _Arena:
    """Plays machines in the real environment."""

    def __init__(self, rules: TalkRules, make_game: MakeGame, games: int, seed: int, subject: Subject | None) -> None:
        self.rules, self.make_game, self.games, self.seed, self.subject = rules, make_game, games, seed, subject

    def play(self, pair: tuple[Player, Player], games: int) -> Play:
        table = play_games(pair, self.rules, games, self.seed, self.make_game)
        return Play(success_of(table), float(table.n_rounds.mean()), float(table.cut.mean()))

    def self_play(self, machine: ProtocolMachine | None) -> Play | None:
        if machine is None or self.rules.speaking != "simultaneous":
            return None
        return self.play((MachinePlayer(machine), MachinePlayer(machine)), self.games)

    def network_play(self, machine: ProtocolMachine | None) -> Play | None:
        if machine is None or self.subject is None or self.rules.speaking != "simultaneous":
            return None
        half = max(self.games // 2, 1)
        seats = [
            self.play((MachinePlayer(machine), self.subject.player()), half),
            self.play((self.subject.player(), MachinePlayer(machine)), half),
        ]
        success = rate(sum(s.success.successes for s in seats), sum(s.success.trials for s in seats))
        return Play(success, sum(s.mean_rounds for s in seats) / 2, sum(s.cut for s in seats) / 2)

    def network_alone(self) -> Play | None:
        if self.subject is None or self.rules.speaking != "simultaneous":
            return None
        return self.play((self.subject.player(), self.subject.player()), 2 * self.games)


def _network_figures(arena: _Arena, judge: _Judge) -> NetworkFigures | None:
    play = arena.network_alone()
    return NetworkFigures(play, *judge.bits) if play and judge.bits else None


# -- judging -----------------------------------------------------------------------------------------------------------


def _explaining(
    checked: dict[Method, Fitted],
    competitors: tuple[Competitor, ...],
    judge: _Judge,
    network: NetworkFigures | None,
) -> tuple[Family, Competitor, Evidence] | None:
    """The simplest explanation for which all four conditions hold, and its evidence; None where there is none.

    The costly conditions are looked at only where the others may hold.
    """
    if network is None or judge.fresh is None:
        return None
    for one in sorted(competitors, key=simplicity):
        if one.method not in checked or one.method == "silent" or not one.strata:
            continue
        if not one.accuracy.value >= AT_LEAST:  # where the subject's own views hardly part, any rule is at the ceiling
            continue
        if worst(one.strata).share < OF_THE_CEILING - (0.005 if one.method in NUMBERS else 0.02):
            continue
        if one.self_play is None or abs(one.self_play.success.value - network.play.success.value) > POINTS:
            continue
        evidence = judge.evidence(checked[one.method], one, network)
        if evidence is not None and evidence.holds:
            return ("vote" if one.method == "vote × clock" else one.method), one, evidence
    return None


def simplicity(one: Competitor) -> tuple[int, int]:
    """What an explanation is sorted by, the simplest first."""
    rules = SIMPLEST_FIRST
    return rules.index(one.method) if one.method in rules else len(rules), one.n_states


def _rivals(
    fitted: dict[Method, Fitted], competitors: tuple[Competitor, ...], judge: _Judge, network: NetworkFigures | None
) -> tuple[Method, ...]:
    """What may come to be named with more dialogues: the rules that are not separated, and whatever may explain.

    A method that fails its planted case with so few dialogues may pass it with more: it is no less a rival.
    """
    if not len(judge.scoring) or (judge.scoring.n_rounds == 0).mean() >= AT_LEAST:
        return ()
    open_yet = set(possible(fitted, judge.scoring, judge.fresh))
    for one in competitors:
        if network is not None and one.strata and one.self_play is not None:
            reached = all(
                rate(round(s.named * s.queries), s.queries).high >= OF_THE_CEILING * s.ceiling for s in one.strata
            )
            alike = one.self_play.success.high >= network.play.success.low - POINTS
            describes = one.accuracy.high >= AT_LEAST and one.accuracy.low > 0.5
            if reached and alike and describes and one.method != "silent":
                open_yet.add("vote" if one.method == "vote × clock" else one.method)
    order = {method: i for i, method in enumerate((*SIMPLEST_FIRST, *fitted))}
    return tuple(sorted(open_yet, key=lambda method: order.get(method, len(order))))


def _best(family: Family, competitors: tuple[Competitor, ...], network: NetworkFigures | None) -> Competitor | None:
    """The competitor of the family; of the vote's two machines the simpler, unless it plays too unlike the network."""
    named = [c for c in competitors if c.method == family or (family == "vote" and c.method == "vote × clock")]
    target = network.play.success.value if network else None
    return min(named, key=lambda c: _too_far(c, target), default=None)


def _too_far(competitor: Competitor, target: float | None) -> float:
    """How far a machine's success lies beyond what is tolerated; 0 within."""
    if competitor.self_play is None or target is None:
        return 0.0
    return max(abs(competitor.self_play.success.value - target) - POINTS, 0.0)


def _verdict(best: Competitor, evidence: Evidence | None, network: NetworkFigures | None) -> Verdict:
    if best.method == "silent" and network is not None and best.self_play is not None:
        return "explained" if _too_far(best, network.play.success.value) == 0 else "describes"
    return "explained" if evidence is not None and evidence.holds else "describes"


def _meaning(
    rule: Any, family: Family, n_tokens: int
) -> tuple[dict[str, float] | None, tuple[str, ...] | None, tuple[tuple[str, str], ...]]:
    """Weights of a vote, or the order of a difference and the pairs that it leaves undecided."""
    names = [*map(str, range(n_tokens)), "EOT"]
    if isinstance(rule, RunningNumbers):
        return {name: round(float(w), 3) for name, w in zip(names, rule.effect, strict=False)}, None, ()
    if isinstance(rule, (Vote, Integrator)):
        return {name: round(float(w), 3) for name, w in zip(names, rule.weights, strict=False)}, None, ()
    if not isinstance(rule, Difference) or family == "cyclic order":
        return None, None, ()
    kinds = range(len(names))
    order = np.argsort(-rule.above[:, kinds].sum(axis=1)[kinds], kind="stable")
    undecided = ((names[a], names[b]) for a in kinds for b in kinds[a + 1 :] if rule.beats[a, b] == 0)
    return None, tuple(names[k] for k in order), tuple(undecided)
