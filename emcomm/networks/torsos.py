"""The middle of a policy, between input and heads: one registry of torsos.

A torso of your own is a subclass of `Torso`; name it `--torso my_module:MyTorso`, or add it to `TORSOS`.
Axes: `R` row (game × agent), `I` input, `S` memory, `H` hidden units.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from envs.negotiation import Negotiation
from envs.registry import Registry


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
        rules = negotiation.rules
        return cls(
            negotiation.n_features, negotiation.n_agents, rules.window, rules.n_tokens + 1, negotiation.n_actions,
            hidden_size,
        )  # fmt: skip

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


class GruStep(torch.autograd.Function):
    """A step of a gated recurrent unit, as `torch.nn.GRUCell` computes it, with its gradient in fewer operations.

    With x the input, h the memory and σ the logistic function: reset r = σ(W_r x + U_r h), update z = σ(W_z x + U_z h),
    new n = tanh(W_n x + r ∘ U_n h), all with biases; the memory becomes n + z ∘ (h - n).
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, h: Tensor, w_x: Tensor, w_h: Tensor, bias_x: Tensor, bias_h: Tensor
    ) -> Tensor:
        n_units = h.shape[1]
        of_x, of_h = torch.addmm(bias_x, x, w_x.t()), torch.addmm(bias_h, h, w_h.t())  # [R, 3S] for r, z, n
        rz = (of_x[:, : 2 * n_units] + of_h[:, : 2 * n_units]).sigmoid_()
        r, z = rz.chunk(2, dim=1)
        h_n = of_h[:, 2 * n_units :].clone()
        n = torch.addcmul(of_x[:, 2 * n_units :], r, h_n).mul_(2).sigmoid_().mul_(2).sub_(1)  # tanh a = 2 σ(2a) - 1
        ctx.save_for_backward(x, h, w_x, w_h, rz, n, h_n)
        return torch.lerp(n, h, z)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, h, w_x, w_h, rz, n, h_n = ctx.saved_tensors
        n_units, (r, z) = h.shape[1], rz.chunk(2, dim=1)
        d_n = (grad - grad * z) * (1 - n * n)
        d = torch.cat([d_n * h_n, grad * (h - n), d_n], dim=1)
        d[:, : 2 * n_units] *= rz - rz * rz
        d_x = d @ w_x if ctx.needs_input_grad[0] else None
        d_w_x, d_bias_x = d.t() @ x, d.sum(0)
        d[:, 2 * n_units :] *= r
        return d_x, torch.addmm(grad * z, d, w_h), d_w_x, d.t() @ h, d_bias_x, d.sum(0)


class Gru(Torso):
    """Recurrent: a gated recurrent unit (Cho et al. 2014)."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__(sizes)
        self.cell = nn.GRUCell(sizes.n_inputs, sizes.hidden_size)

    def forward(self, inputs: Tensor, memory: Tensor) -> Tensor:
        cell = self.cell
        return GruStep.apply(inputs, memory, cell.weight_ih, cell.weight_hh, cell.bias_ih, cell.bias_hh)


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
