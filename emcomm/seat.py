"""A person in a seat: games against the agents of a run, one at a time, through the rules of talk themselves."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import numpy as np
import torch

from emcomm.config import Config
from emcomm.networks.policy import Policy
from emcomm.rollout import draw_races, sample
from emcomm.worlds import make_negotiation
from envs.game import Declaration, Ints
from envs.negotiation import OPEN, SILENT, Dialogues, Negotiation
from envs.rendering import Scene

Ask = Callable[[str], str]
"""Asks for a line, after a prompt; raises EOFError where there is none."""
Say = Callable[[str], None]


class Words:
    """Actions by the words for them: the number of a token, EOT, the name of a move, or how it begins.

    A move whose name is a number, or EOT, is called by "move" and its name.

    >>> Words(("0", "1"), 5).of(7)
    'move 1'
    >>> words = Words(("main", "detour"), 5)
    >>> words.of(7), words.action("d"), words.action("EOT"), words.action("9")
    ('detour', 7, 5, None)
    """

    def __init__(self, move_names: tuple[str, ...], n_tokens: int) -> None:
        taken = {*map(str, range(n_tokens)), "eot"}
        clear = not any(name.casefold() in taken or name.isdigit() for name in move_names)
        self._first_move, self._numbered = n_tokens + 1, not clear
        self._names = [*map(str, range(n_tokens)), "EOT", *(name if clear else f"move {name}" for name in move_names)]

    def of(self, action: int) -> str:
        """The word for an action."""
        return self._names[action]

    def action(self, word: str) -> int | None:
        """The action that a word stands for; None where it stands for none, or for several."""
        folded = [name.casefold() for name in self._names]
        word = word.strip().casefold()
        if word in folded:
            return folded.index(word)
        begins = [a for a, name in enumerate(folded) if word and not word.isdigit() and name.startswith(word)]
        return begins[0] if len(begins) == 1 else None

    def listed(self, legal: Ints) -> str:
        """What is possible, in words: `legal` are the actions.

        >>> Words(("main", "detour"), 5).listed(np.arange(8))
        '0 to 4, EOT, main or detour'
        >>> Words(tuple(map(str, range(50))), 5).listed(np.arange(6, 56))
        'move 0 to move 49'
        """
        tokens = [a for a in legal.tolist() if self._names[a].isdigit()]
        first = [f"{tokens[0]} to {tokens[-1]}"] if len(tokens) > 2 else [str(a) for a in tokens]
        others = [a for a in legal.tolist() if a not in tokens]
        moves = [a for a in others if a >= self._first_move]
        names = first + [self._names[a] for a in others]
        if self._numbered and len(moves) > 3 and moves[-1] - moves[0] == len(moves) - 1:
            names[len(names) - len(moves) :] = [f"{self._names[moves[0]]} to {self._names[moves[-1]]}"]
        return f"{', '.join(names[:-1])} or {names[-1]}" if len(names) > 1 else names[0]


class Seat:
    """Agent `seat` is a person, who is asked; all others are played by the policy, which also gives the hints."""

    def __init__(
        self,
        policy: Policy,
        config: Config,
        seat: int,
        ask: Ask,
        say: Say,
        seed: int | None = None,
        hints: bool = False,
    ) -> None:
        worlds, draws = np.random.SeedSequence(seed).spawn(2)
        self._policy, self._seat, self._ask, self._say, self._hints = policy, seat, ask, say, hints
        self._negotiation = make_negotiation(config, 1, worlds)
        self._game, self._rng = self._negotiation.declaration, np.random.default_rng(draws)
        self.finished = 0
        """Games that have come to their end."""
        self._words = Words(self._game.move_names, config.rules.n_tokens)

    @torch.no_grad()
    def games(self) -> Iterator[Scene]:
        """Each negotiation of each game as it ended, for ever; raises EOFError where nobody answers any more."""
        negotiation, agents = self._negotiation, self._negotiation.n_agents
        memory = self._policy.initial_memory(agents)
        negotiation.reset()
        self._tell_what_is_known()
        while True:
            seen = negotiation.observe()
            memory = self._policy.remember(self._policy.encode(seen), memory)
            mask = torch.from_numpy(seen.mask[0])
            race = draw_races((agents, negotiation.n_actions), self._rng)
            actions = sample(self._policy, memory.cpu(), mask, race).numpy()
            odds = self._policy.log_probs(memory.cpu(), mask)[self._seat].exp().numpy()
            actions[self._seat] = self._asked(
                np.flatnonzero(seen.mask[0, self._seat]), odds, seen.buffer[0, self._seat, -1]
            )
            before = int(negotiation.n_rounds[0])
            step = negotiation.step(actions[None])
            if int(negotiation.n_rounds[0]) > before:
                self._tell_what_is_heard(negotiation)
            self.finished += int(step.over[0])
            if len(step.dialogues.game):
                yield self._scene(step.dialogues)
            if step.over[0]:
                negotiation.reset(step.over)
                memory = self._policy.restart(memory, step.over)
            if step.gone.any():
                memory = self._policy.forget(memory, step.gone)
            if len(step.dialogues.game):
                self._tell_what_is_known()

    def _asked(self, legal: Ints, odds: np.ndarray, row: Ints) -> int:
        """The person's action; there is no question where only one is legal."""
        if len(legal) == 1:
            return int(legal[0])
        self._tell_what_was_said_before(row)
        if self._hints:
            likely = sorted(legal.tolist(), key=lambda a: -odds[a])[:4]
            named = ", ".join(f"{self._words.of(a)} {100 * odds[a]:.0f} %" for a in likely)
            self._say(f"  in your place the network: {named}")
        while True:
            given = self._ask(f"{self._game.agent_names[self._seat]}, {self._words.listed(legal)}: ")
            action = self._words.action(given)
            if action is not None and action in legal:
                return action
            self._say(f"{_quoted(given)} is not possible now: {self._words.listed(legal)}")

    def _tell_what_is_known(self) -> None:
        """Who the person is, and what it alone knows."""
        private = self._negotiation.game.private()[0]
        known = self._game.knows(private)
        knows = f"; you know {known[self._seat]}" if known and known[self._seat] else ""
        opening = "say something, or move at once" if self._negotiation.phase[0] == OPEN else "the game begins"
        self._say(f"you are {self._game.agent_names[self._seat]}{knows}: {opening}")

    def _tell_what_is_heard(self, negotiation: Negotiation) -> None:
        """The round that was just said, as the person's seat hears it."""
        row = negotiation.observe().buffer[0, self._seat, -1]
        own, *others = ("nothing" if s == SILENT else self._words.of(int(s)) for s in row.tolist())
        did = f"you said {own}" if row[0] != SILENT else "you did not speak"
        self._say(f"round {int(negotiation.n_rounds[0])}: {did}, and heard {' '.join(others)}")

    def _tell_what_was_said_before(self, row: Ints) -> None:
        """Where agents speak in turn: what was said in this round already."""
        if self._negotiation.rules.speaking == "sequential" and row[0] == SILENT and (row[1:] != SILENT).any():
            self._say(
                f"  in this round you have heard {' '.join(self._words.of(int(s)) for s in row[1:] if s != SILENT)}"
            )

    def _scene(self, done: Dialogues) -> Scene:
        game: Declaration = self._game
        return Scene(
            game.agent_names, game.move_names, self._negotiation.rules.n_tokens, "ACT", words=game.words,
            symbols=tuple(map(tuple, done.symbols.tolist())), order=tuple(map(tuple, done.order.tolist())),
            moves=tuple(done.moves[0].tolist()), rewards=tuple(done.rewards[0].tolist()),
            success=bool(done.success[0]) if len(done.success) else None, cut=bool(done.cut[0]),
            knows=game.knows(done.private[0]),
        )  # fmt: skip


def _quoted(given: str) -> str:
    """What was typed, fit to be shown again.

    >>> _quoted(" \\x1b[2J "), _quoted("")
    ("'[2J'", 'an empty line')
    """
    kept = re.sub(r"[^\w .,;:!?\[\]()+-]", "", given).strip()[:40]
    return f"{kept!r}" if kept else "an empty line"
