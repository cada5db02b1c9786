"""Proximal policy optimisation (Schulman et al. 2017): several steps on each trajectory, clipped."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from emcomm.algorithms import losses
from emcomm.algorithms.interface import Gradient, gradient_of
from emcomm.config import Config
from emcomm.networks.policy import Policy
from emcomm.rollout import Trajectory

EPOCHS = 3
"""Steps on each trajectory."""
CLIP = 0.2
"""How far the probability of an action may move before it counts no further."""
STEP = 1e-2
"""Length of a step between the epochs, along the gradient of length 1 at most."""


def ppo(
    policy: Policy, played: Trajectory, again: Callable[[], Trajectory], config: Config, entropy_bonus: float
) -> Gradient:
    """The mean gradient of the clipped objective along a short path of steps that the worker takes by itself.

    Returns and advantages are those of the weights that played, the λ-return less the critic, to unit variance. The
    learner applies the mean as one gradient, so that workers need no optimiser of their own.
    """
    value_t, value_tp1 = played.value[:-1].detach(), played.value[1:].detach()
    target_t = losses.returns(played.reward, played.ended, value_tp1, config.discount, config.trace)
    advantage_t = losses.normalised(target_t - value_t, played.choice)
    log_prob_then = played.log_prob.detach()
    start = parameters_to_vector(policy.parameters()).detach()
    total, now, figures = torch.zeros_like(start), played, (0.0, 0.0)
    for epoch in range(EPOCHS):
        entropy = losses.weighted_mean(now.entropy, now.choice)
        spread = losses.spread(now.entropy, now.choice, now.speech, config.token_entropy)
        value_error = losses.value_error(now.value[:-1], target_t, now.active)
        surrogate = losses.clipped_surrogate(now.log_prob - log_prob_then, advantage_t, now.choice, CLIP)
        floor = losses.floor_penalty(now.log_probs, config.rules.eot + 1, config.move_entropy_floor)
        loss = surrogate + config.value_weight * value_error - entropy_bonus * spread + floor
        step = gradient_of(policy, loss)
        total += step
        if epoch == 0:
            figures = entropy.item(), value_error.item()
        if epoch < EPOCHS - 1:
            length = STEP / max(1.0, float(step.norm()))
            vector_to_parameters(
                parameters_to_vector(policy.parameters()).detach() - length * step, policy.parameters()
            )
            now = again()
    vector_to_parameters(start, policy.parameters())
    return Gradient(total / EPOCHS, *figures)
