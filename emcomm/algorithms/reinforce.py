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

    What followed is known of an episode that ends within the trajectory, and the actions of others are left out. Long
    episodes are left out more often, so that an unroll should be several times as long as an episode, or hold a whole
    number of episodes that are all equally long. Without a critic `trace` and `value_weight` mean nothing; the
    `discount` does.
    """
    nothing = torch.zeros_like(played.value[1:])
    return_t = losses.returns(played.reward, played.ended, nothing, config.discount, 1.0)
    known_t = played.ended.flip(0).cummax(0).values.flip(0)
    entropy = losses.weighted_mean(played.entropy, played.choice)
    spread = losses.spread(played.entropy, played.choice, played.speech, config.token_entropy)
    loss = (
        losses.policy_gradient(played.log_prob, return_t, played.choice * known_t)
        - entropy_bonus * spread
        + losses.floor_penalty(played.log_probs, config.rules.eot + 1, config.move_entropy_floor)
    )
    return Gradient(gradient_of(policy, loss), entropy.item(), float("nan"))
