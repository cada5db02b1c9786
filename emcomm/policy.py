"""The recurrent actor-critic: one network, shared by all agents."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from envs.negotiation import Negotiation, Observation


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

    def __init__(self, sizes: Sizes, recurrent: bool = True) -> None:
        super().__init__()
        self.sizes, self.recurrent = sizes, recurrent
        n_inputs = sizes.n_features + sizes.window * sizes.n_agents * (sizes.n_symbols + 1)
        self.core = nn.GRUCell(n_inputs, sizes.hidden_size) if recurrent else nn.Linear(n_inputs, sizes.hidden_size)
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

    def encode(self, seen: Observation) -> Tensor:
        """`[R, I]` the input: the features, and the symbols of the window one-hot (the last column for SILENT = -1)."""
        rows = seen.features.shape[0] * seen.features.shape[1]
        symbols = self._one_hot[seen.buffer.reshape(rows, -1)].reshape(rows, -1)
        inputs = np.concatenate([seen.features.reshape(rows, -1), symbols], axis=1)
        return torch.from_numpy(inputs).to(self.device)

    def remember(self, inputs: Tensor, memory: Tensor) -> Tensor:
        """`[R, H]` the memory after seeing `inputs` `[R, I]`."""
        return self.core(inputs, memory) if self.recurrent else torch.tanh(self.core(inputs))

    def logits(self, memory: Tensor, mask: Tensor) -> Tensor:
        """`[..., A]` unnormalised log-probabilities of the actions; -1e9 where `mask` forbids one."""
        return torch.where(mask, self.actor(memory), -1e9)

    def log_probs(self, memory: Tensor, mask: Tensor) -> Tensor:
        """`[..., A]` log-probabilities of the actions; -1e9 or less where `mask` forbids one."""
        return torch.log_softmax(self.logits(memory, mask), dim=-1)

    def value(self, memory: Tensor) -> Tensor:
        """`[...]` the expected return."""
        return self.critic(memory).squeeze(-1)
