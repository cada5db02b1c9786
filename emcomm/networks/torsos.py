"""The middle of a policy, between input and heads: one registry of torsos.

A torso of your own is a subclass of `Torso`; name it `--torso my_module:MyTorso`, or add it to `TORSOS`.
Axes: `R` row (game × agent), `I` input, `S` memory, `H` hidden units.
"""

from __future__ import annotations

import itertools
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from envs.negotiation import Negotiation
from envs.registry import Registry


class Sizes(NamedTuple):
    """What fixes the shapes of a policy."""

    n_features: int
    n_agents: int
    window: int
    """Rounds of the buffer that it reads, the newest."""
    n_symbols: int
    """Free tokens and EOT."""
    n_actions: int
    hidden_size: int
    move_parts: tuple[tuple[int, ...], ...] = ()
    """What the moves are made of (see `envs.Game`)."""

    @classmethod
    def of(cls, negotiation: Negotiation, hidden_size: int) -> Sizes:
        """The sizes that fit the observations and actions of `negotiation`."""
        rules = negotiation.rules
        return cls(
            negotiation.n_features, negotiation.n_agents, rules.visible_rounds, rules.n_tokens + 1,
            negotiation.n_actions, hidden_size, negotiation.move_parts,
        )  # fmt: skip

    @property
    def choices(self) -> np.ndarray | None:
        """`[A, C]` float32 1 where action a is made of choice c; None where each action is a choice of its own.

        >>> Sizes(0, 1, 1, 1, 5, 1, ((0, 0), (0, 1), (1, 0), (-1, -1))).choices.astype(int).tolist()
        [[1, 0, 0, 0, 0, 0], [0, 1, 1, 0, 0, 0], [0, 1, 0, 1, 0, 0], [0, 0, 1, 0, 1, 0], [0, 0, 0, 0, 0, 1]]
        """
        if not self.move_parts:
            return None
        # a choice is named (symbol,), (part, value) or (move,)
        made_of: list[list[tuple[int, ...]]] = [[(symbol,)] for symbol in range(self.n_symbols)]
        for move, parts in enumerate(self.move_parts, self.n_symbols):
            made_of.append([(part, value) for part, value in enumerate(parts) if value >= 0] or [(move,)])
        numbers = {choice: number for number, choice in enumerate(dict.fromkeys(itertools.chain(*made_of)))}
        choices = np.zeros((self.n_actions, len(numbers)), np.float32)
        for action, own in enumerate(made_of):
            choices[action, [numbers[choice] for choice in own]] = 1
        return choices

    @property
    def round_size(self) -> int:
        """Inputs of one round of the buffer: for each agent a symbol, one-hot, with one place more for silence."""
        return self.n_agents * (self.n_symbols + 1)

    @property
    def n_inputs(self) -> int:
        """`I`: the features, then the rounds of the window, the newest last."""
        return self.n_features + self.window * self.round_size


class Torso(nn.Module):
    """From the input and the memory to the memory after it, from which the heads read."""

    sees_talk: ClassVar[bool] = True
    """Whether it is shown the buffer."""
    recurrent: ClassVar[bool] = True
    """Whether what it does next depends on the memory."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes

    @property
    def memory_size(self) -> int:
        """`S`; the memory starts as zeros."""
        return self.sizes.hidden_size

    def forward(self, inputs: Tensor, memory: Tensor) -> Tensor:
        """`[R, S]` the memory after `inputs` `[R, I]`, given that before them."""
        raise NotImplementedError

    def read(self, memory: Tensor) -> Tensor:
        """`[..., H]` what the heads see of the memory `[..., S]`."""
        return memory


class Gru(Torso):
    """Recurrent: a gated recurrent unit (Cho et al. 2014)."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.cell = nn.GRUCell(sizes.n_inputs, sizes.hidden_size)

    def forward(self, inputs: Tensor, memory: Tensor) -> Tensor:
        return self.cell(inputs, memory)


class Lstm(Torso):
    """Recurrent: a long short-term memory (Hochreiter and Schmidhuber 1997); the heads see its output."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.cell = nn.LSTMCell(sizes.n_inputs, sizes.hidden_size)

    @property
    def memory_size(self) -> int:
        return 2 * self.sizes.hidden_size

    def forward(self, inputs: Tensor, memory: Tensor) -> Tensor:
        output, cell = memory.chunk(2, dim=-1)
        return torch.cat(self.cell(inputs, (output, cell)), dim=-1)

    def read(self, memory: Tensor) -> Tensor:
        return memory[..., : self.sizes.hidden_size]


class Window(Torso):
    """No memory: only the visible rounds of the buffer."""

    recurrent = False

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.cell = nn.Linear(sizes.n_inputs, sizes.hidden_size)

    def forward(self, inputs: Tensor, memory: Tensor) -> Tensor:
        return torch.tanh(self.cell(inputs))


class Nothing(Window):
    """No memory and no talk: the game's features and the phase."""

    sees_talk = False


class Transformer(Torso):
    """No memory: one layer of self-attention over the visible rounds of the buffer (Vaswani et al. 2017)."""

    recurrent = False

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        width = sizes.hidden_size
        self.features = nn.Linear(sizes.n_features, width)
        self.round = nn.Linear(sizes.round_size, width)
        self.position = nn.Parameter(torch.randn(sizes.window, width) / width**0.5)
        heads = next(heads for heads in (4, 2, 1) if width % heads == 0)
        self.layer = nn.TransformerEncoderLayer(width, heads, 2 * width, dropout=0.0, batch_first=True, norm_first=True)

    def forward(self, inputs: Tensor, memory: Tensor) -> Tensor:
        features, rounds = inputs.split([self.sizes.n_features, inputs.shape[1] - self.sizes.n_features], dim=1)
        rounds = self.round(rounds.unflatten(1, (self.sizes.window, -1))) + self.position
        return self.layer(torch.cat([self.features(features)[:, None], rounds], dim=1))[:, 0]


def _no_torso(thing: Any) -> str | None:
    fits = isinstance(thing, type) and issubclass(thing, Torso)
    return None if fits else "it must subclass emcomm.networks.torsos.Torso"


TORSOS: Registry[type[Torso]] = Registry(
    "torso",
    [
        ("gru", Gru),
        ("lstm", Lstm),
        ("window", Window),
        ("none", Nothing),
        ("transformer", Transformer),
    ],
    _no_torso,
)
"""Every registered torso."""
