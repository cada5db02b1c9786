"""The policy gradient of the whole return (Williams 1992, "REINFORCE"), without a critic."""

from __future__ import annotations

from collections.abc import Callable

import torch

from emcomm.algorithms import losses
from emcomm.algorithms.interface import Gradient, gradient_of
from emcomm.config import Config
from emcomm.networks.policy import Policy
from emcomm.rollout import Trajectory


def reinforce(
    policy: Policy, played: Trajectory, again: Callable[[], Trajectory], config: Config, entropy_bonus: float
) -> Gradient:
    """Each action is made likelier in proportion to what followed: a loss makes it less likely, however usual it is.

    An episode that goes beyond the trajectory counts what came in it: choose an unroll that holds whole episodes.
    """
    nothing = torch.zeros_like(played.value[1:])
    return_t = losses.returns(played.reward, played.ended, nothing, config.discount, 1.0)
    entropy = losses.weighted_mean(played.entropy, played.choice)
    loss = (
        losses.policy_gradient(played.log_prob, return_t, played.choice)
        - entropy_bonus * entropy
        + losses.floor_penalty(played.log_probs, config.rules.eot + 1, config.move_entropy_floor)
    )
    return Gradient(gradient_of(policy, loss), entropy.item(), 0.0)
