"""Feeding dialogues to a trained network: what would it do after hearing this?

The observations are exactly those that the network's own channel would show, as far as the log determines them.
Axes: `D` dialogue, `R` round, `N` agent, `A` action, `M` move.
"""

from __future__ import annotations

import numpy as np
import torch

from analysis.agents.players import Seen, draw
from analysis.automata.protocol_machine import Actions, Probabilities, actions_of, surprise
from analysis.automata.query_learning import Ask
from analysis.data.decisions import Decisions, NotApplicable
from emcomm.policy import Policy
from envs.game import Bools, Floats, Ints
from envs.negotiation import ACT, OPEN, SILENT, TALK, Channel, Observation, TalkRules

N_PHASES = 3


def action_probabilities(policy: Policy, rules: TalkRules, symbols: Ints, n_rounds: Ints) -> Floats:
    """float32 `[D, R + 1, N, A]` what each agent would do before each round and, at `n_rounds`, as its move.

    `symbols` is `[D, R, N]` with R ≥ `n_rounds`; after the move there is NaN. Raises NotApplicable where the
    observations cannot be rebuilt: features of the game's own, sequential speaking, more than two agents, or a channel
    over which agents hear what no log holds.
    """
    _check(policy, rules)
    games, rounds, agents = symbols.shape
    out = np.full((games, rounds + 1, agents, policy.sizes.n_actions), np.nan, np.float32)
    if not games:
        return out
    buffer: Ints = np.full((games, agents, rules.window, agents), SILENT, np.int8)
    memory = policy.initial_memory(games * agents)
    is_symbol = np.arange(policy.sizes.n_actions) <= rules.eot
    with torch.no_grad():
        for t in range(min(rounds, int(n_rounds.max(initial=0))) + 1):
            going = np.flatnonzero(t <= n_rounds)
            if t:
                buffer[going, :, :-1] = buffer[going, :, 1:]
                buffer[going, :, -1] = _heard(symbols[going, t - 1], rules.channel)
            phase = np.where((t == n_rounds[going]) & (t > 0), ACT, TALK)
            if t == 0 and rules.opening == "free":
                phase[:] = OPEN
            if rules.channel == "off":
                phase[:] = ACT
            mask = np.where((phase == ACT)[:, None], ~is_symbol, is_symbol) | (phase == OPEN)[:, None]
            mask = mask[:, None].repeat(agents, axis=1)
            features = np.eye(N_PHASES, dtype=np.float32)[phase][:, None].repeat(agents, axis=1)
            rows = torch.from_numpy((going[:, None] * agents + np.arange(agents)).ravel()).to(policy.device)
            seen = Observation(features, buffer[going], mask)
            kept = policy.remember(policy.encode(seen), memory[rows])
            memory[rows] = kept
            log_probs = policy.log_probs(kept, torch.from_numpy(mask.reshape(len(rows), -1)).to(policy.device))
            out[going, t] = log_probs.exp().cpu().numpy().reshape(len(going), agents, -1)
    return out


def _heard(said: Ints, channel: Channel) -> Ints:
    """`[D, 2, 2]` what each agent hears of a round `[D, 2]`, own column first."""
    heard = np.stack([said, said[:, ::-1]], axis=1)
    if channel == "constant":
        heard[..., 1] = 0
    elif channel == "self":
        heard[..., 1] = heard[..., 0]
    return heard


def _check(policy: Policy, rules: TalkRules) -> None:
    if policy.sizes.n_features != N_PHASES:
        raise NotApplicable("the network also sees features of the game, which a dialogue does not hold")
    if rules.speaking != "simultaneous" or policy.sizes.n_agents != 2:
        raise NotApplicable("dialogues are fed to networks of two agents that speak at the same time")
    if rules.channel in ("shuffled", "noisy", "oracle"):
        raise NotApplicable(f"what was heard over the channel {rules.channel!r} is not in the log")


def move_probabilities(policy: Policy, rules: TalkRules, symbols: Ints, n_rounds: Ints) -> Floats:
    """`[D, N, M]` the probabilities of the moves after the whole dialogues `[D, R, N]`."""
    every = action_probabilities(policy, rules, symbols, n_rounds)
    moves = every[np.arange(len(symbols)), n_rounds][..., rules.eot + 1 :]
    return moves / moves.sum(axis=-1, keepdims=True)


def yielding(policy: Policy, rules: TalkRules, symbols: Ints, n_rounds: Ints) -> Floats:
    """`[D, N]` the probability of the last move, to yield."""
    return move_probabilities(policy, rules, symbols, n_rounds)[..., -1]


def network_bits(policy: Policy, rules: TalkRules, decided: Decisions) -> tuple[float, float]:
    """The network's mean surprise at the actions of the dialogues, and its mean entropy there (bits per action)."""
    every = action_probabilities(policy, rules, decided.symbols, decided.n_rounds).astype(np.float64)
    actions = actions_of(decided, every.shape[-1] - rules.eot - 1, rules.opening)
    both: Probabilities = np.concatenate([every[:, :, 0], every[:, :, 1]])[actions.view, actions.round]
    return surprise(both, actions, rules.n_tokens), _entropy(both, actions)


def _entropy(probabilities: Probabilities, actions: Actions) -> float:
    p = np.where(actions.legal, probabilities, 0)
    return float(-(p * np.log2(np.maximum(p, 1e-30))).sum(axis=1).mean())


# -- random dialogues --------------------------------------------------------------------------------------------------


def random_dialogues(lengths: Ints, n_tokens: int, eot_share: float, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Dialogues that nobody held: `[D, R, 2]` and rounds `[D]`, one per entry of `lengths` (of at least 2 rounds).

    Tokens are uniform, EOT comes with probability `eot_share`, both say EOT in the last round and in no other. Where
    there are two tokens the agents differ in some round: identical views leave nothing to decide.
    """
    n_rounds = np.maximum(lengths, 2)
    rounds = int(n_rounds.max(initial=2))
    shape = (len(lengths), rounds, 2)
    symbols = rng.integers(n_tokens, size=shape, dtype=np.int8)
    eot = rng.random(shape) < eot_share
    eot &= ~eot.all(axis=2, keepdims=True)
    symbols[eot] = n_tokens
    alike = (symbols[:, :, 0] == symbols[:, :, 1]) | (np.arange(rounds) >= n_rounds[:, None] - 1)
    alike_rows = np.flatnonzero(alike.all(axis=1))
    symbols[alike_rows, 0, 1] = (symbols[alike_rows, 0, 0] + 1) % n_tokens
    symbols[np.arange(len(lengths)), n_rounds - 1] = n_tokens
    symbols[np.arange(rounds) >= n_rounds[:, None]] = SILENT
    return symbols, n_rounds


# -- a seat ------------------------------------------------------------------------------------------------------------


class PolicyPlayer:
    """A network in a seat, as `analysis.agents.players.Player`; with `greedy_moves` it takes its likeliest move.

    Where more rounds are in sight than it was trained with, it sees as many as in training.
    """

    def __init__(self, policy: Policy, greedy_moves: bool = False) -> None:
        self.policy, self._greedy = policy, greedy_moves

    def begin(self, games: int, rng: np.random.Generator) -> None:
        self._memory = self.policy.initial_memory(games)
        self._rng = rng

    def act(self, seen: Seen) -> Ints:
        with torch.no_grad():
            buffer = seen.buffer[:, None, -self.policy.sizes.window :]
            one_seat = Observation(seen.features[:, None], buffer, seen.mask[:, None])
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
    """Whether two of a network would part, agent 0 yielding, as something to ask.

    Where nothing tells them apart both yield with the same probability, whatever it is: they would not part.
    """
    from analysis.agents.policy_player import yielding

    def ask(symbols: Ints, n_rounds: Ints) -> Bools:
        yields = yielding(policy, rules, symbols, n_rounds)
        return yields[:, 0] - yields[:, 1] > 0.5

    return ask
