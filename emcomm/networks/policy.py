"""The actor-critic: one network that all agents share, one for each role or agent, or a population."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import permutations

import numpy as np
import torch
from torch import Tensor, nn

from emcomm.networks.torsos import Gru, Sizes, Torso
from envs.game import Bools, Floats, Ints
from envs.negotiation import SILENT, Observation, encoded


class Policy(nn.Module):
    """Observation and memory in; logits over actions, value and new memory out. `R` rows are games × agents."""

    dealt = 0
    """The next pair of members to play, in a population (see `Population`)."""

    def __init__(self, sizes: Sizes, torso: type[Torso] = Gru) -> None:
        super().__init__()
        self.sizes = sizes
        self.torso = torso(sizes)
        choices = sizes.choices
        self.actor = nn.Linear(sizes.hidden_size, sizes.n_actions if choices is None else choices.shape[1])
        self.choices: Tensor | None
        self.register_buffer("choices", None if choices is None else torch.from_numpy(choices))
        self.critic = nn.Linear(sizes.hidden_size, 1)
        # Where both agents are undecided, E[reward] has a saddle: the gain of one agent's leaning is proportional to
        # the other's. Strong initial leanings leave it tens of thousands of episodes sooner than the usual small ones.
        nn.init.orthogonal_(self.actor.weight, gain=3.0)
        nn.init.zeros_(self.actor.bias)

    @property
    def recurrent(self) -> bool:
        """Whether more is remembered than what is seen."""
        return self.torso.recurrent

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.actor.weight.device

    def seat(self, agent: int) -> Policy:
        """The network that plays for an agent."""
        return self

    def initial_memory(self, rows: int) -> Tensor:
        """`[R, S]` the memory at the start of an episode."""
        return torch.zeros(rows, self.torso.memory_size, device=self.device)

    def players(self, memory: Tensor) -> Ints | None:
        """`[R]` which of several networks plays each row; None where there is one."""
        return None

    def require_memory(self, memory: Floats) -> None:
        """Raise ValueError where `memory` `[R, S]` is none of this policy."""

    def restart(self, memory: Tensor, over: Bools) -> Tensor:
        """`[R, S]` the memory, with that at the start of an episode in the games marked in `over` `[B]`."""
        return memory.index_fill(0, _rows_of(over, memory), 0.0)

    def forget(self, memory: Tensor, gone: Bools) -> Tensor:
        """`[R, S]` the memory, empty for the agents marked in `gone` `[B, N]`."""
        return memory.index_fill(0, torch.from_numpy(np.flatnonzero(gone)).to(memory.device), 0.0)

    def encode(self, seen: Observation) -> Tensor:
        """`[R, I]` the input: the features, and the newest rounds that the network reads, as `encoded`."""
        buffer = seen.buffer[:, :, -self.sizes.window :]
        symbols = encoded(buffer if self.torso.sees_talk else np.full_like(buffer, SILENT), self.sizes.n_symbols)
        inputs = np.concatenate([seen.features, symbols], axis=2)
        return torch.from_numpy(inputs.reshape(-1, inputs.shape[2])).to(self.device)

    def remember(self, inputs: Tensor, memory: Tensor) -> Tensor:
        """`[R, S]` the memory after seeing `inputs` `[R, I]`."""
        return self.torso(inputs, memory)

    def logits(self, memory: Tensor, mask: Tensor) -> Tensor:
        """`[..., A]` unnormalised log-probabilities of the actions; -1e9 where `mask` forbids one."""
        weighed = self.actor(self.torso.read(memory))
        return torch.where(mask, weighed if self.choices is None else weighed @ self.choices.T, -1e9)

    def log_probs(self, memory: Tensor, mask: Tensor) -> Tensor:
        """`[..., A]` log-probabilities of the actions; -1e9 or less where `mask` forbids one."""
        actions_first = self.logits(memory, mask).movedim(-1, 0).contiguous()  # ten times faster than a short last axis
        return torch.log_softmax(actions_first, dim=0).movedim(0, -1)

    def value(self, memory: Tensor) -> Tensor:
        """`[...]` the expected return."""
        return self.critic(self.torso.read(memory)).squeeze(-1)


def _rows_of(over: Bools, memory: Tensor) -> Tensor:
    """The indices of the rows of `memory` that belong to the games marked in `over` `[B]`."""
    return torch.from_numpy(np.flatnonzero(over.repeat(len(memory) // len(over)))).to(memory.device)


class Ensemble(Policy):
    """Several networks as one policy. Which one plays is part of the memory: its last column, `[R, S + 1]`.

    Raises ValueError where their torsos remember in different sizes, or not all of them see the talk.
    """

    def __init__(self, members: Sequence[Policy]) -> None:
        nn.Module.__init__(self)
        if len({(member.torso.memory_size, member.torso.sees_talk) for member in members}) > 1:
            raise ValueError("the torsos of one run must have memories of one size, and all see the talk or none")
        self.sizes = members[0].sizes
        self.members = tuple(members)
        self._registered = nn.ModuleList(members)

    @property
    def torso(self) -> Torso:  # type: ignore[override]
        return self.members[0].torso

    @property
    def recurrent(self) -> bool:
        return all(member.recurrent for member in self.members)

    @property
    def device(self) -> torch.device:
        return self.members[0].device

    def players(self, memory: Tensor) -> Ints:
        return memory[:, -1].detach().cpu().numpy().astype(np.int16)

    def require_memory(self, memory: Floats) -> None:
        if not np.isin(memory[:, -1], np.arange(len(self.members))).all():
            raise ValueError("the memory names networks that there are not")

    def forget(self, memory: Tensor, gone: Bools) -> Tensor:
        return torch.cat([super().forget(memory[:, :-1], gone), memory[:, -1:]], dim=1)

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
        """`[..., ·]` what each member answers, given its part of `memory` `[..., S + 1]` and where that lies in it."""
        owner, memories = memory[..., -1].flatten().long(), memory[..., :-1].flatten(0, -2)
        by_owner = owner.argsort(stable=True)
        rows = by_owner.split(owner.bincount(minlength=len(self.members)).tolist())
        answers = [answer(m, memories.index_select(0, own), own) for m, own in zip(self.members, rows, strict=True)]
        return torch.cat(answers).index_select(0, by_owner.argsort()).unflatten(0, memory.shape[:-1])


class Population(Ensemble):
    """Networks that play each other, two different ones in each game.

    The ordered pairs of different members are dealt in turn to the games that start. Row r = 2·b + seat.
    """

    def __init__(self, members: Sequence[Policy]) -> None:
        super().__init__(members)
        self._pairs = torch.tensor(list(permutations(range(len(members)), 2)), dtype=torch.float32)
        self.dealt = 0

    def initial_memory(self, rows: int) -> Tensor:
        """`[R, S + 1]` the memory at the start of an episode, with the members that play it."""
        empty = torch.zeros(rows, self.torso.memory_size + 1, device=self.device)
        return self.restart(empty, np.ones(rows // 2, np.bool_))

    def restart(self, memory: Tensor, over: Bools) -> Tensor:
        """`[R, S + 1]` the memory, with that at the start of an episode and the next pairs in the games in `over`."""
        games = int(over.sum())
        next_pairs = (self.dealt + torch.arange(games)) % len(self._pairs)
        self.dealt = (self.dealt + games) % len(self._pairs)
        owner = memory[:, -1].clone()
        owner[_rows_of(over, memory)] = self._pairs[next_pairs].flatten().to(self.device)
        return torch.cat([super().restart(memory[:, :-1], over), owner[:, None]], dim=1)


class Cast(Ensemble):
    """One network for each role, or for each agent: agent i is played by member `owners[i]`."""

    def __init__(self, members: Sequence[Policy], owners: Sequence[int]) -> None:
        super().__init__(members)
        self.owners = tuple(owners)

    def seat(self, agent: int) -> Policy:
        return self.members[self.owners[agent]]

    def initial_memory(self, rows: int) -> Tensor:
        """`[R, S + 1]` the memory at the start of an episode; row r = N·b + agent."""
        owner = torch.tensor(self.owners, dtype=torch.float32).repeat(rows // len(self.owners))
        empty = torch.zeros(rows, self.torso.memory_size, device=self.device)
        return torch.cat([empty, owner[:, None].to(self.device)], dim=1)

    def restart(self, memory: Tensor, over: Bools) -> Tensor:
        return torch.cat([super().restart(memory[:, :-1], over), memory[:, -1:]], dim=1)
