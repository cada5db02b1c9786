"""The recurrent actor-critic: one network that all agents share, or a population of which two play each game."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import permutations
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from envs.game import Bools, Floats
from envs.negotiation import SILENT, Negotiation, Observation

Memory = Literal["gru", "window", "none"]


class Sizes(NamedTuple):
    """What fixes the shapes of a policy."""

    n_features: int
    n_agents: int
    window: int
    n_symbols: int
    """Free tokens and EOT."""
    n_actions: int
    hidden_size: int

    @classmethod
    def of(cls, negotiation: Negotiation, hidden_size: int) -> Sizes:
        """The sizes that fit the observations and actions of `negotiation`."""
        rules, features = negotiation.rules, len(negotiation.game.feature_bounds[0]) + 3
        return cls(features, negotiation.n_agents, rules.window, rules.n_tokens + 1, negotiation.n_actions, hidden_size)


class Policy(nn.Module):
    """Observation and memory in; logits over actions, value and new memory out. `R` rows are games × agents."""

    dealt = 0
    """The next pair of members to play, in a population (see `Population`)."""

    def __init__(self, sizes: Sizes, memory: Memory = "gru") -> None:
        super().__init__()
        self.sizes, self._kind = sizes, memory
        n_inputs = sizes.n_features + sizes.window * sizes.n_agents * (sizes.n_symbols + 1)
        core = nn.GRUCell if memory == "gru" else nn.Linear
        self.core = core(n_inputs, sizes.hidden_size)
        self.actor = nn.Linear(sizes.hidden_size, sizes.n_actions)
        self.critic = nn.Linear(sizes.hidden_size, 1)
        # Where both agents are undecided, E[reward] has a saddle: the gain of one agent's leaning is proportional to
        # the other's. Strong initial leanings leave it tens of thousands of episodes sooner than the usual small ones.
        nn.init.orthogonal_(self.actor.weight, gain=3.0)
        nn.init.zeros_(self.actor.bias)
        self._one_hot = np.eye(sizes.n_symbols + 1, dtype=np.float32)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.actor.weight.device

    def initial_memory(self, rows: int) -> Tensor:
        """`[R, H]` the memory at the start of an episode."""
        return torch.zeros(rows, self.sizes.hidden_size, device=self.device)

    def require_memory(self, memory: Floats) -> None:
        """Raise ValueError where `memory` `[R, H]` is none of this policy."""

    def restart(self, memory: Tensor, over: Bools) -> Tensor:
        """`[R, H]` the memory, with that at the start of an episode in the games marked in `over` `[B]`."""
        return torch.where(_rows_of(over, memory)[:, None], 0.0, memory)

    def encode(self, seen: Observation) -> Tensor:
        """`[R, I]` the input: the features, and the symbols of the window one-hot (the last column for SILENT = -1)."""
        rows = seen.features.shape[0] * seen.features.shape[1]
        buffer = np.full_like(seen.buffer, SILENT) if self._kind == "none" else seen.buffer
        symbols = self._one_hot[buffer.reshape(rows, -1)].reshape(rows, -1)
        inputs = np.concatenate([seen.features.reshape(rows, -1), symbols], axis=1)
        return torch.from_numpy(inputs).to(self.device)

    def remember(self, inputs: Tensor, memory: Tensor) -> Tensor:
        """`[R, H]` the memory after seeing `inputs` `[R, I]`."""
        return self.core(inputs, memory) if self._kind == "gru" else torch.tanh(self.core(inputs))

    def logits(self, memory: Tensor, mask: Tensor) -> Tensor:
        """`[..., A]` unnormalised log-probabilities of the actions; -1e9 where `mask` forbids one."""
        return torch.where(mask, self.actor(memory), -1e9)

    def log_probs(self, memory: Tensor, mask: Tensor) -> Tensor:
        """`[..., A]` log-probabilities of the actions; -1e9 or less where `mask` forbids one."""
        return torch.log_softmax(self.logits(memory, mask), dim=-1)

    def value(self, memory: Tensor) -> Tensor:
        """`[...]` the expected return."""
        return self.critic(memory).squeeze(-1)


def _rows_of(over: Bools, memory: Tensor) -> Tensor:
    """`[R]` the rows of `memory` that belong to the games marked in `over` `[B]`."""
    return torch.from_numpy(over.repeat(len(memory) // len(over))).to(memory.device)


class Population(Policy):
    """Several networks that play each other, as one policy.

    The ordered pairs of different members are dealt in turn to the games that start. Who plays is part of the memory:
    its last column, `[R, H + 1]`. Row r = 2·b + seat.
    """

    def __init__(self, members: Sequence[Policy]) -> None:
        nn.Module.__init__(self)
        self.sizes = members[0].sizes
        self.members = tuple(members)
        self._registered = nn.ModuleList(members)
        self._pairs = torch.tensor(list(permutations(range(len(members)), 2)), dtype=torch.float32)
        self.dealt = 0

    @property
    def device(self) -> torch.device:
        return self.members[0].device

    def initial_memory(self, rows: int) -> Tensor:
        """`[R, H + 1]` the memory at the start of an episode, with the members that play it."""
        empty = torch.zeros(rows, self.sizes.hidden_size + 1, device=self.device)
        return self.restart(empty, np.ones(rows // 2, np.bool_))

    def restart(self, memory: Tensor, over: Bools) -> Tensor:
        """`[R, H + 1]` the memory, with that at the start of an episode and the next pairs in the games in `over`."""
        games = int(over.sum())
        next_pairs = (self.dealt + torch.arange(games)) % len(self._pairs)
        self.dealt = (self.dealt + games) % len(self._pairs)
        owner = memory[:, -1].clone()
        owner[_rows_of(over, memory)] = self._pairs[next_pairs].flatten().to(self.device)
        return torch.cat([super().restart(memory[:, :-1], over), owner[:, None]], dim=1)

    def require_memory(self, memory: Floats) -> None:
        if not np.isin(memory[:, -1], np.arange(len(self.members))).all():
            raise ValueError("the memory names members that the population does not have")

    def encode(self, seen: Observation) -> Tensor:
        return self.members[0].encode(seen)

    def remember(self, inputs: Tensor, memory: Tensor) -> Tensor:
        kept = self._answer(lambda member, own, rows: member.remember(inputs.index_select(0, rows), own), memory)
        return torch.cat([kept, memory[:, -1:]], dim=1)

    def logits(self, memory: Tensor, mask: Tensor) -> Tensor:
        masks = mask.flatten(0, -2)
        return self._answer(lambda member, own, rows: member.logits(own, masks.index_select(0, rows)), memory)

    def value(self, memory: Tensor) -> Tensor:
        return self._answer(lambda member, own, rows: member.value(own)[:, None], memory)[..., 0]

    def _answer(self, answer: Callable[[Policy, Tensor, Tensor], Tensor], memory: Tensor) -> Tensor:
        """`[..., ·]` what each member answers, given its part of `memory` `[..., H + 1]` and where that lies in it."""
        owner, memories = memory[..., -1].flatten().long(), memory[..., :-1].flatten(0, -2)
        by_owner = owner.argsort(stable=True)
        rows = by_owner.split(owner.bincount(minlength=len(self.members)).tolist())
        answers = [answer(m, memories.index_select(0, own), own) for m, own in zip(self.members, rows, strict=True)]
        return torch.cat(answers).index_select(0, by_owner.argsort()).unflatten(0, memory.shape[:-1])
