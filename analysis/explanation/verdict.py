"""Which explanation of the talk holds, and how far: "explains", "describes" or none, in one plain sentence.

Prediction is not cause. A rule counts as the explanation only if its machine names at least 90 % of the held-out
yielders, holds on random dialogues fed to the network (at least 90 % of its moves), and plays within 2 points of it:
all three are figures of the machine. Without a network a rule can only describe.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.agents.players import MachinePlayer, MakeGame, Player, play_games, success_of
from analysis.automata.decision_rules import Difference, Vote
from analysis.automata.protocol_machine import ProtocolMachine, bits_per_action, fit_machine
from analysis.automata.query_learning import learn
from analysis.data.decisions import Decisions, NotApplicable, decisions, split, who_yields
from analysis.explanation.candidates import METHODS, Fitted, Frame, Method, fit
from analysis.explanation.result import Competitor, Explanation, NetworkFigures, Play, Verdict
from analysis.explanation.selection import AT_LEAST, Asked, Family, choose
from analysis.explanation.self_check import self_check
from analysis.explanation.sentence import sentence_of
from emcomm.dialogues import DialogueTable
from emcomm.statistics import Rate, rate
from envs.crossing import CrossingGame
from envs.negotiation import TalkRules

if TYPE_CHECKING:
    from emcomm.networks.policy import Policy

WITHIN = 0.02
"""How far a machine's success may lie from the network's."""
RANDOM = 10_000
"""Random dialogues fed to the network."""


def explain(
    table: DialogueTable,
    n_tokens: int,
    rules: TalkRules | None = None,
    policy: Policy | None = None,
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
        Those of the run; without a policy a rule can only describe.
    move_names, make_game, methods, agents, untested
        The game, the candidates, what its agents are called, and why there is no policy.
    dialogues, games, seed, kv_length : int
        How much work, and what fixes its randomness.

    Returns
    -------
    Explanation
        `family`, `verdict`, `sentence`; `competitors`, every candidate with its figures; `best`; `weights`, `order` and
        `undecided` of the rule; `network`, the figures it is measured against; `n_dialogues`.

    Examples
    --------
    `analysis.explain(run.sample(10_000), 5).sentence`
    """
    rules = rules or TalkRules(n_tokens=n_tokens)
    rng = np.random.default_rng(seed)
    chosen = np.sort(rng.permutation(len(table))[:dialogues])
    fitting, scoring = split(decisions(table[chosen], n_tokens), seed)
    if not len(scoring):
        return Explanation(
            "none", "none", "Too few dialogues to explain anything.", (), None, None, None, (), None, len(table)
        )
    frame = Frame(move_names, "talk" if rules.opening == "talk" else "free")
    fitted = {method: fit(method, fitting, frame) for method in methods}
    arena = _Arena(rules, make_game, games, seed, policy)
    judge = _Judge(scoring, rules, policy, rng)
    if kv_length and judge.policy is not None:
        from analysis.agents.policy_player import ask_network

        asked = learn(ask_network(judge.policy, rules), n_tokens, kv_length, seed=seed)
        machine = fit_machine("KV", asked.automaton, fitting, move_names, frame.opening)
        fitted["KV"] = Fitted("KV", None, machine, asked.n_states)
    competitors = tuple(
        Competitor(
            method,
            self_check(method, len(chosen), n_tokens),
            judge.accuracy(one),
            judge.on_random(one),
            bits_per_action(one.machine, scoring, frame.opening) if one.machine else None,
            one.n_states,
            arena.self_play(one.machine),
            arena.network_play(one.machine),
            one.machine,
        )
        for method, one in fitted.items()
    )
    checked = {c.method: fitted[c.method] for c in competitors if c.check.passed}
    family = choose(checked, scoring, judge.asked)
    network = _network_figures(arena, judge)
    best = _best(family, competitors, network)
    verdict = _verdict(best, network)
    weights, order, undecided = _meaning(fitted[best.method].rule if best else None, family, n_tokens)
    untested = untested if policy is None else "with a network that could not be tested on such talk"
    sentence = sentence_of(family, verdict, best, weights, order, undecided, network, competitors, agents, untested)
    return Explanation(family, verdict, sentence, competitors, best, weights, order, undecided, network, len(table))


# -- measuring ---------------------------------------------------------------------------------------------------------


class _Judge:
    """Scores explanations on held-out dialogues and on random ones."""

    def __init__(self, scoring: Decisions, rules: TalkRules, policy: Policy | None, rng: np.random.Generator) -> None:
        self.scoring, self.rules, self.policy = scoring, rules, policy
        self.asked: Asked | None = None
        self.bits: tuple[float, float] | None = None
        if policy is None:
            return
        from analysis.agents.policy_player import network_bits, random_dialogues, yielding

        try:
            self.bits = network_bits(policy, rules, scoring)
            before_the_last = scoring.spoken[:, 1:]  # EOT as often as in real talk before its closing round
            said = scoring.symbols[:, :-1][before_the_last]
            share = float((said == scoring.n_tokens).mean()) if len(said) else 0.0
            talked = scoring.n_rounds[scoring.n_rounds > 0]
            lengths = rng.choice(talked, RANDOM) if len(talked) else np.full(RANDOM, 3)
            symbols, n_rounds = random_dialogues(lengths, scoring.n_tokens, share, rng)
            self.asked = Asked(symbols, n_rounds, yielding(policy, rules, symbols, n_rounds))
        except NotApplicable:
            self.policy = None

    def accuracy(self, one: Fitted) -> Rate:
        return rate(*who_yields(one.scores(self.scoring.symbols, self.scoring.n_rounds), self.scoring))

    def on_random(self, one: Fitted) -> Rate | None:
        if self.asked is None:
            return None
        right = self.asked.right(one.scores(self.asked.symbols, self.asked.n_rounds))
        return rate(int(right.sum()), len(right))


class _Arena:
    """Plays machines in the real environment."""

    def __init__(self, rules: TalkRules, make_game: MakeGame, games: int, seed: int, policy: Policy | None) -> None:
        self.rules, self.make_game, self.games, self.seed, self.policy = rules, make_game, games, seed, policy

    def play(self, pair: tuple[Player, Player], games: int) -> Play:
        table = play_games(pair, self.rules, games, self.seed, self.make_game)
        return Play(success_of(table), float(table.n_rounds.mean()), float(table.cut.mean()))

    def self_play(self, machine: ProtocolMachine | None) -> Play | None:
        if machine is None or self.rules.speaking != "simultaneous":
            return None
        return self.play((MachinePlayer(machine), MachinePlayer(machine)), self.games)

    def network_play(self, machine: ProtocolMachine | None) -> Play | None:
        if machine is None or self.policy is None or self.rules.speaking != "simultaneous":
            return None
        from analysis.agents.policy_player import PolicyPlayer

        half = max(self.games // 2, 1)
        seats = [
            self.play((MachinePlayer(machine), PolicyPlayer(self.policy)), half),
            self.play((PolicyPlayer(self.policy), MachinePlayer(machine)), half),
        ]
        success = rate(sum(s.success.successes for s in seats), sum(s.success.trials for s in seats))
        return Play(success, sum(s.mean_rounds for s in seats) / 2, sum(s.cut for s in seats) / 2)

    def network_alone(self) -> Play | None:
        if self.policy is None or self.rules.speaking != "simultaneous":
            return None
        from analysis.agents.policy_player import PolicyPlayer

        return self.play((PolicyPlayer(self.policy), PolicyPlayer(self.policy)), 2 * self.games)


def _network_figures(arena: _Arena, judge: _Judge) -> NetworkFigures | None:
    play = arena.network_alone()
    return NetworkFigures(play, *judge.bits) if play and judge.bits else None


# -- judging -----------------------------------------------------------------------------------------------------------


def _best(family: Family, competitors: tuple[Competitor, ...], network: NetworkFigures | None) -> Competitor | None:
    """The competitor of the family; of the vote's two machines the simpler, unless it plays too unlike the network."""
    named = [c for c in competitors if c.method == family or (family == "vote" and c.method == "vote × clock")]
    target = network.play.success.value if network else None
    return min(named, key=lambda c: _too_far(c, target), default=None)


def _too_far(competitor: Competitor, target: float | None) -> float:
    """How far a machine's success lies beyond what is tolerated; 0 within."""
    if competitor.self_play is None or target is None:
        return 0.0
    return max(abs(competitor.self_play.success.value - target) - WITHIN, 0.0)


def _verdict(best: Competitor | None, network: NetworkFigures | None) -> Verdict:
    if best is None:
        return "none"
    if network is None or best.self_play is None or _too_far(best, network.play.success.value) > 0:
        return "describes"
    if best.method == "silent":
        return "explained"
    holds = best.random is not None and best.random.value >= AT_LEAST
    return "explained" if holds and best.accuracy.value >= AT_LEAST else "describes"


def _meaning(
    rule: Any, family: Family, n_tokens: int
) -> tuple[dict[str, float] | None, tuple[str, ...] | None, tuple[tuple[str, str], ...]]:
    """Weights of a vote, or the order of a difference and the pairs that it leaves undecided."""
    names = [*map(str, range(n_tokens)), "EOT"]
    if isinstance(rule, Vote):
        return {name: round(float(w), 3) for name, w in zip(names, rule.weights, strict=False)}, None, ()
    if not isinstance(rule, Difference) or family == "cyclic order":
        return None, None, ()
    kinds = range(len(names))
    order = np.argsort(-rule.above[:, kinds].sum(axis=1)[kinds], kind="stable")
    undecided = ((names[a], names[b]) for a in kinds for b in kinds[a + 1 :] if rule.beats[a, b] == 0)
    return None, tuple(names[k] for k in order), tuple(undecided)
