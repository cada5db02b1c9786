"""What an algorithm is given, and what it returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector

from emcomm.config import Config
from emcomm.networks.policy import Policy
from emcomm.rollout import Trajectory


class Gradient(NamedTuple):
    """What a worker learned from one trajectory."""

    vector: Tensor
    """float32 `[P]`, to be subtracted from all weights in one vector, times the learning rate."""
    entropy: float
    """Of the policy where there was a choice (nats)."""
    value_error: float
    """Mean of half the squared error of the critic; NaN where there is none."""


class Algorithm(Protocol):
    """From a trajectory to a gradient."""

    def __call__(
        self, policy: Policy, played: Trajectory, again: Callable[[], Trajectory], config: Config, entropy_bonus: float
    ) -> Gradient:
        """The gradient for the weights that `policy` has when this is called.

        `played` carries gradients to them. `again()` evaluates the same observations and actions with the weights that
        the policy has then; whoever changes them leaves them as they please, for the next trajectory brings fresh ones.
        """


def gradient_of(policy: Policy, loss: Tensor) -> Tensor:
    """float32 `[P]` the gradient of `loss`; zeros for weights that have no part in it."""
    policy.zero_grad()
    loss.backward()
    return parameters_to_vector(p.grad if p.grad is not None else torch.zeros_like(p) for p in policy.parameters())
