"""Feeding dialogues to a trained network: what would it do after hearing this?

Dialogues are replayed through the rules of talk (`envs.replay`), so the network sees exactly what it saw.
Axes: `D` dialogue, `R` round, `N` agent, `A` action, `M` move, `S` memory.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from analysis.agents.players import Seen, draw
from analysis.automata.protocol_machine import Probabilities, actions_of, surprise
from analysis.automata.query_learning import Ask, membership
from analysis.data.decisions import Decisions, NotApplicable
from analysis.metrics.entropy import bits_of
from emcomm.dialogues import DialogueTable
from emcomm.networks.policy import Ensemble, Policy, Population
from envs.channels import CHANNELS
from envs.game import Bools, Declaration, Floats, Ints
from envs.negotiation import SILENT, Observation, TalkRules
from envs.replay import NotReplayable, Replay, Setting, plain_setting

AT_ONCE = 8_192
"""Dialogues that are replayed at once."""


@dataclass(frozen=True)
class Situation:
    """What `D` dialogues began with: what stood around them, and what the network remembered."""

    setting: Setting
    memory: torch.Tensor
    """`[D, N, S]`"""

    def __getitem__(self, which: Ints | Bools | slice) -> Situation:
        rows = np.arange(len(self.memory))[which]
        return Situation(self.setting[rows], self.memory[torch.from_numpy(rows)])

    def speaking(self) -> Bools:
        """`[D, N]` who may speak."""
        setting = self.setting
        return np.ones(self.memory.shape[:2], np.bool_) if setting.speaks is None else setting.speaks

    def choosing(self) -> Bools:
        """`[D, N]` who takes part and has a choice of moves."""
        setting, there = self.setting, np.ones(self.memory.shape[:2], np.bool_)
        if setting.active is not None:
            there &= setting.active
        if setting.legal is not None and setting.legal.size:
            there &= setting.legal.sum(axis=2) > 1
        return there

    def hearing(self, speaker: Ints) -> Bools:
        """`[D, N]` who takes part and can hear the `speaker` `[D]`, another agent."""
        setting, (dialogues, n_agents) = self.setting, self.memory.shape[:2]
        hears: Bools = np.arange(n_agents) != speaker[:, None]
        if setting.active is not None:
            hears &= setting.active
        if setting.reaches is not None:
            columns = setting.columns if setting.columns is not None else np.tile([[0, 1], [1, 0]], (dialogues, 1, 1))
            is_it = columns[..., 1:] == speaker[:, None, None]
            hears &= (is_it & setting.reaches).any(axis=2)
        return hears

    def forgotten(self, policy: Policy) -> Situation:
        """The same with nothing remembered of what came before, each agent played by the network that played it."""
        everyone = np.ones(self.memory.shape[:2], np.bool_)
        return Situation(self.setting, policy.forget(self.memory.flatten(0, 1), everyone).view(self.memory.shape))


def plain_situation(policy: Policy, rules: TalkRules, dialogues: int) -> Situation:
    """Dialogues that nobody held: first of their episode, in a game that shows its agents nothing."""
    n_agents, n_moves = policy.sizes.n_agents, policy.sizes.n_actions - rules.eot - 1
    if isinstance(policy, Population):
        raise NotApplicable("which networks of the population would play is open")
    memory = policy.initial_memory(dialogues * n_agents)
    setting = plain_setting(dialogues, n_agents, tuple(map(str, range(n_moves))))
    return Situation(setting, memory.view(dialogues, n_agents, memory.shape[-1]))


def situation_of(policy: Policy, rules: TalkRules, table: DialogueTable, game: Declaration) -> Situation:
    """What the dialogues of `table` began with, as the log has it.

    Of an episode with several negotiations all that came before must be in the table. Raises NotApplicable where the
    log lacks what the network saw or who of several networks played.
    """
    dialogues, n_agents = table.moves.shape
    memory = policy.initial_memory(dialogues * n_agents)
    memory = memory.view(dialogues, n_agents, memory.shape[-1])
    if isinstance(policy, Population):
        if not table.players.size:
            raise NotApplicable("which networks of the population played is not in the log")
        memory[..., -1] = torch.from_numpy(table.players.astype(np.float32)).to(memory.device)
    situation = Situation(_setting_of(table, game, rules), memory)
    before = _rows_before(table)
    for number in range(1, int(table.negotiation.max(initial=0)) + 1):
        later = np.flatnonzero(table.negotiation == number)
        earlier = table[before[later]]
        _, after = _replayed(
            policy, rules, earlier.padded(max(int(earlier.n_rounds.max(initial=0)), 1)), earlier.n_rounds,
            situation[before[later]],
        )  # fmt: skip
        if (gone := (earlier.moves >= 0) & (table.moves[later] < 0)).any():
            after = policy.forget(after.flatten(0, 1), gone).view(after.shape)
        memory[torch.from_numpy(later)] = after
    return situation


def _rows_before(table: DialogueTable) -> Ints:
    """`[D]` the row of the negotiation before each one, in its episode; -1 for the first."""
    rows = {key: row for row, key in enumerate(zip(table.episode.tolist(), table.negotiation.tolist(), strict=True))}
    before = np.full(len(table), -1)
    for (episode, negotiation), row in rows.items() if table.negotiation.any() else ():
        if negotiation:
            if (episode, negotiation - 1) not in rows:
                raise NotApplicable("an episode lacks the negotiations before one of its dialogues")
            before[row] = rows[episode, negotiation - 1]
    return before


def _setting_of(table: DialogueTable, game: Declaration, rules: TalkRules) -> Setting:
    rounds, n_agents = int(table.n_rounds.max(initial=0)), table.moves.shape[1]
    heard = said = order = reaches = None
    if len(table.heard):
        heard = np.full((len(table), rounds + 1, n_agents, n_agents - 1), SILENT, np.int8)
        heard[np.arange(rounds + 1) <= table.n_rounds[:, None]] = table.heard.reshape(-1, n_agents, n_agents - 1)
        if not CHANNELS.find(rules.channel).random:  # then it is on record because not all hear all
            heard, reaches = None, np.any(heard != SILENT, axis=1)
        else:
            said = table.padded(rounds)
    if rules.speaking == "sequential":
        order = np.tile(np.arange(n_agents, dtype=np.int8), (len(table), max(rounds, 1), 1))
        if rules.order != "fixed":  # in whose order they moved without talk, nobody has noted
            order[table.n_rounds == 0] = -1
    if order is not None and len(table.speakers):
        order[:, :rounds][np.arange(rounds) < table.n_rounds[:, None]] = table.speakers
    return Setting(
        game, table.features, table.legal, table.speaks, table.moves >= 0,
        table.columns if table.columns.size else None, heard, said, order, reaches,
    )  # fmt: skip


def action_probabilities(
    policy: Policy, rules: TalkRules, symbols: Ints, n_rounds: Ints, situation: Situation | None = None
) -> Floats:
    """float32 `[D, R + 1, N, A]` what each agent would do before each round and, at `n_rounds`, as its move.

    `symbols` is `[D, R, N]` with R ≥ `n_rounds`; after the move there is NaN. Without a `situation` the dialogues are
    the first of their episode, in a game that shows its agents nothing. Raises NotApplicable where that does not fit.
    """
    situation = situation or plain_situation(policy, rules, len(symbols))
    return _replayed(policy, rules, symbols, n_rounds, situation)[0]


def _replayed(
    policy: Policy, rules: TalkRules, symbols: Ints, n_rounds: Ints, situation: Situation
) -> tuple[Floats, torch.Tensor]:
    """The probabilities of `action_probabilities`, and `[D, N, S]` what the network remembers after its move."""
    dialogues, rounds, n_agents = symbols.shape
    out = np.full((dialogues, rounds + 1, n_agents, policy.sizes.n_actions), np.nan, np.float32)
    after = situation.memory.clone()
    by_length = np.argsort(n_rounds, kind="stable")
    for rows in _portions(by_length, n_rounds):
        length = max(int(n_rounds[rows].max(initial=0)), 1)
        _replay(policy, rules, symbols[rows, :length], n_rounds[rows], situation[rows], rows, out, after)
    order = situation.setting.order
    if order is not None:
        out[(order[:, 0] < 0).any(axis=1) & (n_rounds == 0)] = np.nan
    return out, after


def _portions(by_length: Ints, n_rounds: Ints) -> list[Ints]:
    """Dialogues of about the same length, so that few wait for the longest."""
    portions, start = [], 0
    while start < len(by_length):
        most = 1.25 * n_rounds[by_length[start]] + 1
        end = start + int(np.searchsorted(n_rounds[by_length[start : start + AT_ONCE]], most, "right"))
        portions.append(by_length[start:end])
        start = end
    return portions


def _replay(
    policy: Policy, rules: TalkRules, symbols: Ints, n_rounds: Ints, situation: Situation, rows: Ints, out: Floats,
    after: torch.Tensor,
) -> None:  # fmt: skip
    """Fill `out` and `after` in the `rows` of these dialogues."""
    n_agents = symbols.shape[2]
    try:
        replay = Replay(symbols, n_rounds, rules, situation.setting)
        if (replay.n_features, replay.n_agents) != (policy.sizes.n_features, policy.sizes.n_agents):
            raise NotApplicable("the network sees other features or agents than the dialogues hold")
        memory = situation.memory.clone()
        with torch.no_grad():
            for moment in replay.moments():
                at = torch.from_numpy(moment.rows).to(memory.device)
                kept = policy.remember(policy.encode(moment.seen), memory[at].flatten(0, 1))
                memory[at] = kept.view(len(at), n_agents, -1)
                mask = torch.from_numpy(moment.seen.mask.reshape(len(kept), -1)).to(policy.device)
                probabilities = policy.log_probs(kept, mask).exp().cpu().numpy().reshape(len(at), n_agents, -1)
                dialogue, agent = np.nonzero(moment.acting)
                out[rows[moment.rows[dialogue]], moment.round[dialogue], agent] = probabilities[dialogue, agent]
        after[torch.from_numpy(rows)] = memory
    except NotReplayable as error:
        raise NotApplicable(str(error)) from error


def move_probabilities(
    policy: Policy, rules: TalkRules, symbols: Ints, n_rounds: Ints, situation: Situation | None = None
) -> Floats:
    """`[D, N, M]` the probabilities of the moves after the whole dialogues `[D, R, N]`."""
    every = action_probabilities(policy, rules, symbols, n_rounds, situation)
    moves = every[np.arange(len(symbols)), n_rounds][..., rules.eot + 1 :]
    return moves / moves.sum(axis=-1, keepdims=True)


def yielding(
    policy: Policy, rules: TalkRules, symbols: Ints, n_rounds: Ints, situation: Situation | None = None
) -> Floats:
    """`[D, N]` the probability of the last move, to yield."""
    return move_probabilities(policy, rules, symbols, n_rounds, situation)[..., -1]


def network_bits(
    policy: Policy, rules: TalkRules, decided: Decisions, situation: Situation | None = None
) -> tuple[float, float]:
    """The network's mean surprise at the actions of the dialogues, and its mean entropy there (bits per action)."""
    every = action_probabilities(policy, rules, decided.symbols, decided.n_rounds, situation).astype(np.float64)
    actions = actions_of(decided, every.shape[-1] - rules.eot - 1, rules.opening)
    both: Probabilities = np.concatenate([every[:, :, 0], every[:, :, 1]])[actions.view, actions.round]
    return surprise(both, actions, rules.n_tokens), float(bits_of(np.where(actions.legal, both, 0)).mean())


# -- memories ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tape:
    """All that a network sees in `P` dialogues that nobody held, so that it can be run from any place in them."""

    inputs: torch.Tensor
    """`[R + 1, N, P, I]` after 0, 1, … rounds."""
    n_rounds: torch.Tensor
    """`[P]`"""

    def __getitem__(self, which: torch.Tensor) -> Tape:
        """The tape of some of the dialogues."""
        return Tape(self.inputs[:, :, which], self.n_rounds[which])

    def run(
        self, policy: Policy, start: Ints | None = None, memory: torch.Tensor | None = None, until: Ints | None = None
    ) -> torch.Tensor:
        """`[N, P, S]` the memory after `until` `[P]` rounds (default: all), from that after `start` `[P]` (or none)."""
        _, agents, dialogues, _ = self.inputs.shape
        first = torch.full((dialogues,), -1) if start is None else torch.from_numpy(start)
        last = self.n_rounds if until is None else torch.from_numpy(until)
        if memory is None:
            memory = policy.initial_memory(agents * dialogues).view(agents, dialogues, -1)
        for heard, inputs in enumerate(self.inputs[: int(last.max()) + 1]):
            now = (first < heard) & (heard <= last)
            if now.any():
                kept = policy.remember(inputs.flatten(0, 1), memory.flatten(0, 1)).view(memory.shape)
                memory = torch.where(now[:, None], kept, memory)
        return memory

    def odds(self, policy: Policy, memory: torch.Tensor) -> torch.Tensor:
        """`[N, P]` the log-odds of the last of two moves, to yield."""
        flat = memory.flatten(0, 1)
        moves = torch.arange(policy.sizes.n_actions) >= policy.sizes.n_symbols
        log_probs = policy.log_probs(flat, moves.expand(len(flat), -1)).view(*memory.shape[:2], -1)
        return log_probs[..., -1] - log_probs[..., policy.sizes.n_symbols]


def tape_of(policy: Policy, rules: TalkRules, symbols: Ints, n_rounds: Ints) -> Tape:
    """The tape of the dialogues `[P, R, N]`; raises NotApplicable where one network does not play for all."""
    if isinstance(policy, Ensemble):
        raise NotApplicable("several networks play, and memories can be exchanged within one")
    dialogues, rounds, n_agents = symbols.shape
    try:
        replay = Replay(symbols, n_rounds, rules, plain_situation(policy, rules, dialogues).setting)
    except NotReplayable as error:
        raise NotApplicable(str(error)) from error
    inputs: torch.Tensor | None = None
    for moment in replay.moments():
        seen = policy.encode(moment.seen).cpu().view(len(moment.rows), n_agents, -1)
        if inputs is None:
            inputs = seen.new_zeros(rounds + 1, n_agents, dialogues, seen.shape[-1])
        inputs[torch.from_numpy(moment.round), :, torch.from_numpy(moment.rows)] = seen
    assert inputs is not None
    return Tape(inputs, torch.from_numpy(n_rounds))


# -- a seat ------------------------------------------------------------------------------------------------------------


class PolicyPlayer:
    """A network in a seat, as `analysis.agents.players.Player`; with `greedy_moves` it takes its likeliest move.

    Where more rounds are in sight than it was trained with, it sees as many as in training.
    """

    def __init__(self, policy: Policy, greedy_moves: bool = False) -> None:
        if isinstance(policy, Population):
            raise NotApplicable("several networks play each other, and a seat takes one")
        self._whole = self.policy = policy
        self._greedy = greedy_moves

    def take_seat(self, agent: int) -> None:
        """Play for an agent; where each role has a network of its own, with that of its role."""
        self.policy = self._whole.seat(agent) if isinstance(self._whole, Policy) else self._whole

    def begin(self, games: int, rng: np.random.Generator) -> None:
        self._memory = self.policy.initial_memory(games)
        self._rng = rng

    def act(self, seen: Seen) -> Ints:
        with torch.no_grad():
            one_seat = Observation(seen.features[:, None], seen.buffer[:, None], seen.mask[:, None])
            self._memory = self.policy.remember(self.policy.encode(one_seat), self._memory)
            log_probs = self.policy.log_probs(self._memory, torch.from_numpy(seen.mask).to(self.policy.device))
        probabilities = log_probs.exp().cpu().numpy().astype(np.float64)
        action = draw(probabilities, self._rng)
        first_move = self.policy.sizes.n_symbols
        if self._greedy:
            best = probabilities[:, first_move:].argmax(axis=1) + first_move
            action = np.where(action >= first_move, best, action)
        return action

    def forget(self, over: Bools) -> None:
        self._memory[torch.from_numpy(over)] = 0


def ask_network(policy: Policy, rules: TalkRules) -> Ask:
    """A membership oracle for a network."""
    return membership(partial(yielding, policy, rules))
