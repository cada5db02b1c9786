"""A run under study: what measures are given, each thing read or computed once."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from analysis.data.decisions import Decisions, NotApplicable, any_decisions
from analysis.data.runs import LoadedRun, TrainedPolicy
from analysis.data.utterances import Utterances, utterances
from analysis.metrics.failure_modes import JointMoves
from analysis.metrics.success import SuccessReport, SuccessTally
from analysis.metrics.token_statistics import TokenReport, TokenTally
from analysis.metrics.unseen_meanings import MetMeanings
from emcomm.dialogues import DialogueTable, LogFacts, concatenate
from emcomm.errors import BadInput
from envs.game import BadOption, Declaration, Game
from envs.negotiation import TalkRules

if TYPE_CHECKING:
    from analysis.agents.players import MakeGame
    from analysis.agents.policy_player import Situation


@dataclass(frozen=True)
class Depth:
    """How much work a study may be."""

    dialogues: int = 10_000
    """Dialogues that the estimators see (dialogues)."""
    nulls: int = 19
    """Permutations behind a null; fewer than 19 can never reach the level of 5 percent (permutations)."""
    games: int = 5_000
    """Games that each machine plays (games)."""
    shown: int = 20_000
    """Dialogues of the frozen policy in the browser (dialogues)."""
    asked: tuple[int, ...] = (1, 2, 3)
    """Maximum dialogue lengths for KV; the automaton of the second one plays too (rounds)."""
    failures_shown: int = 1_000
    """Failures among the dialogues shown, at most (dialogues)."""
    training_shown: int = 4_000
    """Dialogues of training in the browser (dialogues)."""
    budget: int = 600_000
    """Symbols in the browser, each log (characters)."""
    cautious: bool = False
    """Name a rule only where the data separate it from all others; else all that are left are named."""


FULL = Depth()
QUICK = Depth(
    dialogues=3_000,
    games=1_000,
    asked=(),
    shown=3_000,
    failures_shown=300,
    training_shown=500,
    budget=100_000,
    cautious=True,
)


class Computed(Protocol):
    """What a study needs of an `analysis.report.measure.Measure`."""

    @property
    def compute(self) -> Callable[[Study], Any]:
        """Makes the result."""

    def missing(self, study: Study) -> str | None:
        """Why there is none."""


class Study:
    """One run, opened for measures.

    Attributes that a measure may use: `run`, `depth`, `facts`, `game` (what the game declares), `rules`, `trained` (the
    network), `sample` (dialogues of the frozen policy), `training_sample`, `success`, `training`, `tokens`, `joint`
    (which joint moves succeed), `spoken` and `situation` (dialogues to be fed to the network), and `result(name)` of
    another measure.
    """

    def __init__(self, run: LoadedRun, depth: Depth, say: Callable[[str], None] = lambda text: None) -> None:
        assert run.facts is not None
        self.run, self.depth, self.say = run, depth, say
        self.facts: LogFacts = run.facts
        self.results: dict[str, Any] = {}
        self.measures: dict[str, Computed] = {}

    def result(self, name: str) -> Any:
        """The result of another measure, which is computed if need be; raises NotApplicable where there is none."""
        if name not in self.results:
            measure = self.measures.get(name)
            why = f"there is no measure {name!r}" if measure is None else measure.missing(self)
            if measure is None or why:
                raise NotApplicable(why or "")
            self.results[name] = measure.compute(self)
        return self.results[name]

    # -- the run -------------------------------------------------------------------------------------------------------

    @cached_property
    def game(self) -> Declaration:
        """What the game declares, as the log has it."""
        return self.run.declaration()

    @cached_property
    def make_game(self) -> MakeGame:
        """The game with its options; raises BadInput where it is code that nobody has named."""
        return self.run.game()

    @cached_property
    def unplayable(self) -> str | None:
        """Why the game cannot be played here; None where it can."""
        try:
            _ = self._one_game, self.run.rules()
        except (BadInput, BadOption) as error:
            return str(error)
        return None

    @cached_property
    def _one_game(self) -> Game:
        return self.make_game(1, np.random.default_rng(0))

    @cached_property
    def trained(self) -> TrainedPolicy | None:
        """The network behind the dialogues."""
        return self.run.checkpoint()

    @cached_property
    def rules(self) -> TalkRules | None:
        """The rules of talk; None where they are not known, or name a channel that nobody has named."""
        if self.trained:
            return self.trained.config.rules
        try:
            return self.run.rules()
        except BadInput:
            return None

    # -- its dialogues -------------------------------------------------------------------------------------------------

    @cached_property
    def sample(self) -> DialogueTable | None:
        """Dialogues of the frozen policy, drawn evenly; None where there are none."""
        return self.run.sample(max(self.depth.dialogues, self.depth.shown))

    @property
    def judged(self) -> bool:
        """Whether the game says what success is."""
        return self.game.has_success and all(
            table is None or table.judged for table in (self.sample, self.training_sample)
        )

    def frozen(self) -> Iterator[DialogueTable]:
        """All dialogues of one policy, or of what stands in for it."""
        any_read = False
        for table in self.run.evaluation():
            any_read = True
            yield table
        if not any_read and self.sample is not None:
            yield self.sample

    @cached_property
    def _training(self) -> tuple[SuccessReport | None, DialogueTable | None, MetMeanings]:
        tally, parts, rng = SuccessTally(), [], np.random.default_rng(0)
        wanted = max(self.depth.training_shown, 4 * self.depth.dialogues)
        met = MetMeanings(self.game)
        for table in self.run.training():
            tally.add(table, joint=self._plain_joint.learn(table))
            parts.append(table.drawn(-(-wanted // max(len(self.run.parts["dialogues"]), 1)), rng))
            with contextlib.suppress(NotApplicable):  # a log without attributes shows none
                met.add(table)
        return (tally.result(), concatenate(parts), met) if parts else (None, None, met)

    @property
    def training(self) -> SuccessReport | None:
        """Success and return over the course of training."""
        return self._training[0]

    @property
    def training_sample(self) -> DialogueTable | None:
        """Dialogues of training, drawn evenly over its course."""
        return self._training[1]

    @property
    def met(self) -> MetMeanings:
        """What the agents were shown in training."""
        return self._training[2]

    @cached_property
    def _plain_joint(self) -> JointMoves:
        """Knows only whether the same move may succeed, which is all that ties turn on."""
        return JointMoves(self.game.role_of, lambda moves, private: np.zeros(len(moves), np.bool_))

    @cached_property
    def joint(self) -> JointMoves:
        """Which joint moves succeed: as the game declares, or as the dialogues show."""
        succeeds = None if self.unplayable else getattr(self._one_game, "succeeds", None)
        joint = JointMoves(self.game.role_of, succeeds)
        for table in (self.training_sample, self.sample):
            if table is not None:
                joint.learn(table)
        return joint

    @cached_property
    def _frozen(self) -> tuple[SuccessReport, TokenReport, list[DialogueTable]]:
        """One pass over the dialogues of the frozen policy."""
        success, tokens = SuccessTally(), TokenTally(self.facts.n_tokens, self.facts.move_names, self.game)
        failures = []
        for table in self.frozen():
            success.add(table, self._moves_after_failures(table), self.joint)
            tokens.add(table)
            failed = ~table.success & table.last if table.judged else np.zeros(len(table), np.bool_)
            failures.append(table[failed][: self.depth.failures_shown])
        return success.result(), tokens.result(), failures

    @property
    def success(self) -> SuccessReport:
        """Of the frozen policy."""
        return self._frozen[0]

    @property
    def tokens(self) -> TokenReport:
        """Of the frozen policy."""
        return self._frozen[1]

    @property
    def failures(self) -> DialogueTable:
        """Some dialogues that failed."""
        return concatenate(self._frozen[2])[: self.depth.failures_shown]

    def _moves_after_failures(self, table: DialogueTable) -> np.ndarray | None:
        """`[D, N, M]` the network's move probabilities after the dialogues that failed; even ones after the others."""
        trained, n_moves = self.trained, len(self.facts.move_names)
        if trained is None or not table.judged or not self.run.parts["evaluation"]:
            return None
        from analysis.agents.policy_player import move_probabilities, situation_of

        out = np.full((*table.moves.shape, n_moves), 1 / n_moves, np.float32)
        needed = np.flatnonzero(np.isin(table.episode, table.episode[~table.success]))  # with what came before
        for rows in np.array_split(needed, len(needed) // 20_000 + 1) if not table.negotiation.any() else [needed]:
            chosen = table[rows]
            padded = chosen.padded(max(int(chosen.n_rounds.max(initial=0)), 1))
            rules = trained.config.rules
            try:
                situation = situation_of(trained.policy, rules, chosen, self.game)
                out[rows] = move_probabilities(trained.policy, rules, padded, chosen.n_rounds, situation)
            except NotApplicable:
                return None
        return out

    @cached_property
    def utterances(self) -> tuple[Utterances, ...]:
        """What each role said in some dialogues, and knew: each agent, where all have networks of their own.

        Raises NotApplicable where nobody speaks, or the log lacks the attributes of the game.
        """
        return utterances(self.language, self.game, self.facts.n_tokens, self._each_agent)

    @cached_property
    def language(self) -> DialogueTable:
        """The dialogues behind `utterances`, in whole episodes."""
        assert self.sample is not None
        if self.sample.negotiation.any():
            return self.sample
        return self.sample.drawn(self.depth.dialogues, np.random.default_rng(1))

    @property
    def _each_agent(self) -> bool:
        return (self.run.settings or {}).get("policies") == "separate"

    # -- dialogues for the network -------------------------------------------------------------------------------------

    @cached_property
    def _fed(self) -> tuple[Decisions, Situation]:
        from analysis.agents.policy_player import situation_of

        assert self.trained is not None
        assert self.sample is not None
        if self.sample.negotiation.any():  # the network remembers what came before
            sample = self.sample.whole_episodes(5_000)
        else:
            sample = self.sample.drawn(self.depth.dialogues, np.random.default_rng(1))
            sample = sample.drawn(5_000, np.random.default_rng(0))
        situation = situation_of(self.trained.policy, self.trained.config.rules, sample, self.game)
        return any_decisions(sample, self.facts.n_tokens), situation

    @property
    def spoken(self) -> Decisions:
        """Some dialogues, to be fed to the network; raises NotApplicable where the log lacks what it saw."""
        return self._fed[0]

    @property
    def situation(self) -> Situation:
        """What the dialogues of `spoken` began with."""
        return self._fed[1]
