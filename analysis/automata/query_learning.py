"""Active learning of who yields: KV (Kearns & Vazirani 1994, AALpy) asks the network about dialogues of its choice.

The automaton learned is right on random dialogues up to a length. If its number of states grows with that length, no
finite automaton of the size seen is the whole story: that is the sign of a counter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.automata.automaton import Automaton
from analysis.automata.protocol_machine import ProtocolMachine
from envs.game import Bools, Floats, Ints

if TYPE_CHECKING:
    pass

Ask = Callable[[Ints, Ints], Bools]
"""Dialogues `[D, R, 2]`, own symbol first, and rounds `[D]` -> `[D]` whether the agent yields."""
Word = tuple[int, ...]
"""Rounds, each as `own * (n_tokens + 1) + other`, without the closing one."""


@dataclass(frozen=True)
class Learned:
    """What active learning found at one length."""

    length: int
    """Rounds before the closing one, at most."""
    n_states: int
    converged: bool
    """No counterexample was left among the random dialogues; otherwise learning ran into its limits."""
    accuracy: float
    """Share of fresh random dialogues up to that length on which the automaton answers like the network."""
    questions: int
    """Dialogues that the network was asked about."""
    automaton: Automaton


def membership(answers: Callable[[Ints, Ints], Floats]) -> Ask:
    """Whether agent 0 yields and agent 1 does not, by `answers`: the probability `[D, 2]` that each does.

    Where nothing tells them apart both yield with the same probability, whatever it is: they would not part.
    """

    def ask(symbols: Ints, n_rounds: Ints) -> Bools:
        yields = answers(symbols, n_rounds)
        return yields[:, 0] - yields[:, 1] > 0.5

    return ask


def ask_machine(machine: ProtocolMachine) -> Ask:
    """The likelier decision of a machine, as something to ask."""
    yields = machine.yields() > 0.5
    return lambda symbols, n_rounds: yields[machine.automaton.run(symbols, n_rounds)[:, -1]]


def learn(
    ask: Ask,
    n_tokens: int,
    length: int,
    words: int = 2_000,
    max_states: int = 60,
    seed: int = 0,
    tokens: Sequence[int] | None = None,
) -> Learned:
    """Learn the decisions after all dialogues of up to `length` rounds and the closing one.

    An equivalence question is put by `words` random dialogues; learning stops beyond `max_states` states. With `tokens`
    only those (and EOT) are said: fewer dialogues to tell apart, so that longer ones can be asked about.
    """
    from aalpy.learning_algs import run_KV

    said = [*(range(n_tokens) if tokens is None else tokens), n_tokens]
    letters = [own * (n_tokens + 1) + other for own in said for other in said][:-1]  # EOT/EOT closes
    network = _Network(ask, n_tokens, letters)
    oracle = _RandomWords(network, letters, length, words, max_states, np.random.default_rng(seed))
    hypothesis = run_KV(letters, network.sul(), oracle.of(), "dfa", cache_and_non_det_check=False, print_level=0)
    automaton, accepts = _converted(hypothesis, n_tokens)
    fresh = _random_words(letters, length, words, np.random.default_rng([seed, 1]))
    symbols, n_rounds = network.dialogues(fresh)
    right = accepts[automaton.run(symbols, n_rounds)[:, -1]] == ask(symbols, n_rounds)
    return Learned(length, len(automaton), oracle.satisfied, float(right.mean()), len(network.known), automaton)


def growth(ask: Ask, n_tokens: int, lengths: Sequence[int] = (2, 4, 8), **limits: Any) -> tuple[Learned, ...]:
    """The number of states as a function of the allowed length; `limits` as in `learn`."""
    return tuple(learn(ask, n_tokens, length, **limits) for length in lengths)


# -- between AALpy and the network -------------------------------------------------------------------------------------


class _Network:
    """Remembers what was asked, and asks about many words at once."""

    def __init__(self, ask: Ask, n_tokens: int, letters: Sequence[int]) -> None:
        self._ask, self._n_tokens, self._letters = ask, n_tokens, letters
        self.known: dict[Word, bool] = {}

    def dialogues(self, words: Sequence[Word]) -> tuple[Ints, Ints]:
        """`[D, R, 2]` and `[D]`: the words as dialogues, the closing round added."""
        n_rounds = np.array([len(word) + 1 for word in words])
        symbols = np.full((len(words), int(n_rounds.max()), 2), self._n_tokens, np.int8)
        for row, word in zip(symbols, words, strict=True):
            letters = np.array(word, np.int64)
            row[: len(word), 0], row[: len(word), 1] = np.divmod(letters, self._n_tokens + 1)
        return symbols, n_rounds

    def answers(self, words: Sequence[Word]) -> list[bool]:
        """The network's decisions. What differs in one late letter from an unknown word is asked along with it:
        learning will want it soon, and many questions at once take little longer than one."""
        new = {word for word in words if word not in self.known}
        if new:
            alike = self._siblings(max(new, key=len)) if len(new) < len(self._letters) else set()
            asked = sorted(new | (alike - self.known.keys()))
            self.known.update(zip(asked, self._ask(*self.dialogues(asked)).tolist(), strict=True))
        return [self.known[word] for word in words]

    def _siblings(self, word: Word) -> set[Word]:
        return {
            (*word[:i], letter, *word[i + 1 :])
            for i in range(max(len(word) - 2, 0), len(word))
            for letter in self._letters
        }

    def sul(self) -> Any:
        """The network as AALpy's system under learning."""
        from aalpy.base import SUL

        network = self

        class Sul(SUL):
            def pre(self) -> None:
                self.word: Word = ()

            def post(self) -> None:
                pass

            def step(self, letter: int | None) -> bool:
                if letter is not None:
                    self.word = (*self.word, letter)
                return network.answers([self.word])[0]

            def query(self, word: Word) -> list[bool]:
                self.num_queries += 1
                return network.answers([word[: i + 1] for i in range(len(word))] or [()])

        return Sul()


class _RandomWords:
    """An equivalence oracle: random words up to a length, asked in one batch."""

    def __init__(
        self, network: _Network, letters: list[int], length: int, words: int, max_states: int, rng: np.random.Generator
    ) -> None:
        self._network, self._letters, self._length, self._words = network, letters, length, words
        self._max_states, self._rng = max_states, rng
        self.satisfied = False

    def of(self) -> Any:
        """As AALpy's oracle."""
        from aalpy.base import Oracle

        find, sul, letters = self.find, self._network.sul(), self._letters

        class RandomWords(Oracle):
            def find_cex(self, hypothesis: Any) -> Word | None:
                return find(hypothesis)

        return RandomWords(letters, sul)

    def find(self, hypothesis: Any) -> Word | None:
        """The shortest counterexample among the random words; None where there is none, or too many states."""
        if len(hypothesis.states) > self._max_states:
            return None
        words = _random_words(self._letters, self._length, self._words, self._rng)
        automaton, accepts = _converted(hypothesis, self._network._n_tokens)
        symbols, n_rounds = self._network.dialogues(words)
        told = accepts[automaton.run(symbols, n_rounds)[:, -1]]
        wrong = np.flatnonzero(told != np.array(self._network.answers(words)))
        self.satisfied = not len(wrong)
        return min((words[i] for i in wrong), key=len) if len(wrong) else None


def _random_words(letters: list[int], length: int, count: int, rng: np.random.Generator) -> list[Word]:
    return [tuple(rng.choice(letters, size).tolist()) for size in rng.integers(0, length + 1, count)]


def _converted(learned: Any, n_tokens: int) -> tuple[Automaton, Bools]:
    """The automaton over symbol kinds, and which states yield; silence and the closing round change nothing."""
    states = list(learned.states)
    number = {id(state): i for i, state in enumerate(states)}
    kinds = n_tokens + 2
    transition = np.tile(np.arange(len(states))[:, None, None], (1, kinds, kinds))
    for i, state in enumerate(states):
        for letter, target in state.transitions.items():
            own, other = divmod(letter, n_tokens + 1)
            transition[i, own, other] = number[id(target)]
    labels = tuple(f"{'yield' if state.is_accepting else 'stay'} {i}" for i, state in enumerate(states))
    accepts = np.array([bool(state.is_accepting) for state in states])
    return Automaton(labels, transition, number[id(learned.initial_state)]), accepts
