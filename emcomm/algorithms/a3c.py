"""The loss of the asynchronous advantage actor-critic (Mnih et al. 2016), with λ-returns."""

from __future__ import annotations

from collections.abc import Callable

from emcomm.algorithms import losses
from emcomm.algorithms.interface import Gradient, gradient_of
from emcomm.config import Config
from emcomm.networks.policy import Policy
from emcomm.rollout import Trajectory


def a3c(
    policy: Policy, played: Trajectory, again: Callable[[], Trajectory], config: Config, entropy_bonus: float
) -> Gradient:
    """Policy gradient with the advantage of the λ-return over the critic, one step on each trajectory."""
    value_t, value_tp1 = played.value[:-1], played.value[1:].detach()
    target_t = losses.returns(played.reward, played.ended, value_tp1, config.discount, config.trace)
    entropy = losses.weighted_mean(played.entropy, played.choice)
    spread = losses.spread(played.entropy, played.choice, played.speech, config.token_entropy)
    value_error = losses.value_error(value_t, target_t, played.active)
    loss = (
        losses.policy_gradient(played.log_prob, target_t - value_t, played.choice)
        + config.value_weight * value_error
        - entropy_bonus * spread
        + losses.floor_penalty(played.log_probs, config.rules.eot + 1, config.move_entropy_floor)
    )
    return Gradient(gradient_of(policy, loss), entropy.item(), value_error.item())
